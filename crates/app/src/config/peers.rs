//! From the file as written to the neighbours: `[listen]` and every `[[peer]]`.
//!
//! Plain HTTP never leaves the machine: another one is reached, and reaches us, with `[tls]` only. Peers are told apart by
//! their certificates or tokens.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use landbridge_core::SiteName;
use landbridge_http::Allowance;
use toml::Spanned;

use super::check::{Checker, Section, TOP, Value};
use super::checked::Peer;
use super::file::{ConfigFile, PeerFile};
use super::secret::Secret;

/// The least length of a token.
const TOKEN_CHARS_MIN: usize = 16;
const TOKEN_CHARS_MAX: usize = 1024;
const ADDRESS: &str = "write `address = \"127.0.0.1:7420\"`";
const URL: &str =
    "write `url = \"https://HOST:PORT\"`, or for a bridge on this machine `url = \"http://127.0.0.1:PORT\"`";
/// What [tls] needs, for messages.
const TLS: &str =
    "write a section `[tls]` with `cert`, `key` and `ca`; `landbridge cert --help` says how they are made";

/// The condition of each peer: the rows that it may see.
type Conditions = BTreeMap<SiteName, Option<String>>;

impl Checker<'_> {
    /// Where peers reach this bridge.
    pub(super) fn listen(&mut self, file: &ConfigFile) -> Option<SocketAddr> {
        let listen = file.listen.as_ref()?;
        let section = Section { label: "[listen]", at: listen.span().start };
        let value = self.required(listen.get_ref().address.as_ref(), section, "address", ADDRESS)?;
        let Ok(address) = value.text.parse::<SocketAddr>() else {
            let what = format!("`address` = {} is no address with a port", value.shown());
            self.fault(value.at, what, ADDRESS);
            return None;
        };
        if !is_loopback(address.ip()) && !self.has_tls(file) {
            let what =
                format!("`address` = {} can be reached from other machines, and there is no [tls]", value.shown());
            self.fault(value.at, what, format!("{TLS}; or {ADDRESS}"));
            return None;
        }
        Some(address)
    }

    /// All peers and their conditions; nothing where one of them has a fault.
    pub(super) fn peers(
        &mut self,
        file: &ConfigFile,
        site: Option<&SiteName>,
        listen: Option<SocketAddr>,
        folder: &Path,
        share: &Allowance,
    ) -> Option<(Vec<Peer>, Conditions)> {
        let listens = file.listen.is_some() || self.is_spoiled(TOP, "listen");
        let house = House { site, listen, listens, has_tls: self.has_tls(file), folder };
        let mut seen = Seen::default();
        let (mut peers, mut conditions, mut whole) = (Vec::new(), BTreeMap::new(), true);
        for written in &file.peer {
            let allowance = self.allowance(&written.get_ref().limits, share);
            match self.peer(written, &house, &mut seen) {
                Some((peer, share)) => {
                    conditions.insert(peer.name.clone(), share);
                    peers.push(Peer { allowance, ..peer });
                }
                None => whole = false,
            }
        }
        whole.then_some((peers, conditions))
    }

    fn peer(
        &mut self,
        written: &Spanned<PeerFile>,
        house: &House<'_>,
        seen: &mut Seen,
    ) -> Option<(Peer, Option<String>)> {
        let section = Section { label: "[[peer]]", at: written.span().start };
        let file = written.get_ref();
        let called =
            self.required(file.name.as_ref(), section, "name", "write `name = \"SITE\"`, the peer's own `site`");
        let who = called.as_ref().map_or("this peer".to_owned(), |n| format!("peer {}", n.plain()));
        let name = called.and_then(|called| self.peer_name(&called, house.site, seen));

        let dialled = file.url.is_some() || self.is_spoiled(section, "url");
        if !dialled && !house.listens {
            self.fault(
                section.at,
                format!("{who} has no `url`, so it has to dial us, and there is no [listen]"),
                "write its `url`, or `[listen]` with `address = \"127.0.0.1:7420\"`",
            );
        }
        if let Some(pull) = file.pull.as_ref().filter(|p| *p.get_ref() && !dialled) {
            let what = format!("{who} has `pull = true` and no `url` to pull from");
            self.fault(pull.span().start, what, "write its `url`, or take `pull` out: it pulls from us");
        }
        let url = self.optional(file.url.as_ref()).and_then(|url| self.url(&url, &who, house, seen));
        let relay_from = self.relay_from(file, &who, house.site, name.as_ref());
        let share = self.condition(file.share.as_ref(), "share");
        let over_tls = house.has_tls && url.as_ref().is_none_or(|url| url.starts_with("https://"));
        let token = match &file.token {
            None if over_tls => None,
            _ => Some(self.token(file, section, &who, seen)?),
        };
        let ca = match self.optional(file.ca.as_ref()) {
            None => None,
            Some(value) if !house.has_tls => {
                self.fault(value.at, format!("{who} has `ca`, and there is no [tls]"), TLS);
                None
            }
            Some(value) => {
                let instead = "write `ca = \"FILE.crt\"`, the authority that alone may vouch for this peer";
                Some(self.file(value, "ca", house.folder, instead)?)
            }
        };
        let peer = Peer {
            name: name?,
            url,
            pull: file.pull.as_ref().is_some_and(|p| *p.get_ref()),
            relay: file.relay.unwrap_or(false),
            relay_from,
            onward: file.onward.unwrap_or(true),
            paused: file.paused.unwrap_or(false),
            token,
            ca,
            allowance: Allowance::default(),
        };
        Some((peer, share))
    }

    fn peer_name(&mut self, value: &Value, site: Option<&SiteName>, seen: &mut Seen) -> Option<SiteName> {
        let name = self.site(value)?;
        if Some(&name) == site {
            let what = format!("the peer {} has the name of this site itself", value.shown());
            self.fault(value.at, what, "write the other site's name, or take this [[peer]] out");
        } else if !seen.names.insert(name.clone()) {
            let what = format!("there are two peers of the name {}", value.shown());
            self.fault(value.at, what, "keep one of them");
        }
        Some(name)
    }

    fn url(&mut self, value: &Value, who: &str, house: &House<'_>, seen: &mut Seen) -> Option<String> {
        match url_of_a_bridge(&value.text, house.has_tls) {
            Err((what, instead)) => {
                self.fault(value.at, format!("the `url` of {who} {what}"), instead);
                None
            }
            Ok(url) => {
                if house.listen.is_some_and(|l| url == format!("http://{l}") || url == format!("https://{l}")) {
                    self.fault(value.at, format!("the `url` of {who} is this bridge's own [listen] address"), URL);
                } else if !seen.urls.insert(url.clone()) {
                    let what = format!("the `url` of {who} is that of another peer too");
                    self.fault(value.at, what, "write the address of each peer's own bridge");
                }
                Some(url)
            }
        }
    }

    fn relay_from(
        &mut self,
        file: &PeerFile,
        who: &str,
        site: Option<&SiteName>,
        name: Option<&SiteName>,
    ) -> BTreeSet<SiteName> {
        let mut origins = BTreeSet::new();
        for written in &file.relay_from {
            let Some(value) = self.value(written) else { continue };
            let Some(origin) = self.site(&value) else { continue };
            if Some(&origin) == site {
                let what =
                    format!("`relay_from` of {who} names this site itself, whose entries come back only in a `repair`");
                self.fault(value.at, what, "take it out");
            } else if Some(&origin) == name {
                let what = format!("`relay_from` of {who} names the peer itself, which may always speak for itself");
                self.fault(value.at, what, "take it out");
            }
            origins.insert(origin);
        }
        origins
    }

    fn token(&mut self, file: &PeerFile, section: Section, who: &str, seen: &mut Seen) -> Option<Secret> {
        const INSTEAD: &str =
            "write `token = \"${NAME}\"`, the same random text at both sites, such as `openssl rand -hex 32` gives";
        let value = self.required(file.token.as_ref(), section, "token", INSTEAD)?;
        let chars = value.text.chars().count();
        if !(TOKEN_CHARS_MIN..=TOKEN_CHARS_MAX).contains(&chars) || !value.text.chars().all(|c| c.is_ascii_graphic()) {
            let what = format!(
                "the `token` of {who} is not {TOKEN_CHARS_MIN} to {TOKEN_CHARS_MAX} letters, digits and signs without \
                 spaces"
            );
            self.fault(value.at, what, INSTEAD);
            return None;
        }
        if !seen.tokens.insert(value.text.clone()) {
            let what = format!("the `token` of {who} is that of another peer too: each could speak as the other");
            self.fault(value.at, what, "write a token of its own for each peer");
        }
        Some(Secret::new(value.text))
    }
}

/// What is known of this site.
struct House<'a> {
    site: Option<&'a SiteName>,
    listen: Option<SocketAddr>,
    listens: bool,
    has_tls: bool,
    folder: &'a Path,
}

/// What the peers before had.
#[derive(Default)]
struct Seen {
    names: BTreeSet<SiteName>,
    urls: BTreeSet<String>,
    tokens: BTreeSet<String>,
}

fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

/// `https://HOST[:PORT]`, or `http://HOST[:PORT]` on this machine; otherwise what is wrong and what to write. A url may
/// hold a password: not quoted.
fn url_of_a_bridge(url: &str, has_tls: bool) -> Result<String, (&'static str, &'static str)> {
    let encrypted = url.strip_prefix("https://");
    if encrypted.is_some() && !has_tls {
        return Err(("is https, and there is no [tls]", TLS));
    }
    let rest = encrypted.or_else(|| url.strip_prefix("http://"));
    let rest = rest.ok_or(("does not begin with https:// or http://", URL))?;
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.contains('@') {
        let what = "take them out; certificates or the `token` are what the sites know each other by";
        return Err(("has a user or a password in it", what));
    }
    if authority.contains(['/', '?', '#']) {
        return Err(("has a path", "write host and port only; the bridge knows its own paths"));
    }
    let bare = match authority.strip_prefix('[').and_then(|a| a.strip_suffix(']')) {
        Some(v6) => v6.parse().map(IpAddr::V6),
        None => authority.parse().map(IpAddr::V4),
    };
    let ip = authority.parse().map(|a: SocketAddr| a.ip()).or(bare);
    let (host, port) = authority.split_once(':').unwrap_or((authority, "80"));
    let is_host = |host: &str| host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'));
    match ip {
        Ok(ip) if encrypted.is_some() && !ip.is_unspecified() => {}
        Ok(ip) if is_loopback(ip) => {}
        Err(_) if host.is_empty() || port.parse::<u16>().is_err() || !is_host(host) => {
            return Err(("has no host or no valid port", URL));
        }
        Err(_) if encrypted.is_some() || host.eq_ignore_ascii_case("localhost") => {}
        _ if encrypted.is_some() => return Err(("leads to no machine", URL)),
        _ => {
            let what = "leads to another machine over plain HTTP, where others could hear and speak";
            return Err((what, "write `url = \"https://HOST:PORT\"`, which needs a section `[tls]`"));
        }
    }
    let scheme = if encrypted.is_some() { "https" } else { "http" };
    Ok(format!("{scheme}://{authority}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_url_stays_on_this_machine() {
        for good in
            ["http://127.0.0.1:7420", "http://localhost:1", "http://[::1]:7420", "http://127.9.9.9", "http://[::1]"]
        {
            assert_eq!(url_of_a_bridge(good, false).as_deref(), Ok(good));
            assert_eq!(url_of_a_bridge(&format!("{good}/"), true).as_deref(), Ok(good));
        }
        for bad in [
            "",
            "http://",
            "127.0.0.1:7420",
            "http://10.0.0.1:7420",
            "http://bridge.example",
            "http://localhost:99999",
            "http://localhost.example:1",
            "http://127.0.0.1:7420/x",
            "http://127.0.0.1@evil.example:1",
            "http://u:p@127.0.0.1:1",
            "http://::1",
            "http://[[::1]]",
            "http://0.0.0.0:1",
            "http://127.0.0.1:7420?x",
            "http://127.0.0.1 :1",
            "http://127.1:7420",
        ] {
            assert!(url_of_a_bridge(bad, true).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_encrypted_url_leads_anywhere_and_needs_tls() {
        for good in ["https://bridge.n.example:7420", "https://10.0.0.1", "https://[2001:db8::1]:7420", "https://n_1"] {
            assert_eq!(url_of_a_bridge(good, true).as_deref(), Ok(good));
            assert!(url_of_a_bridge(good, false).is_err(), "{good}");
        }
        for bad in [
            "https://",
            "https://:1",
            "https://n:x",
            "https://n/x",
            "https://u:p@n",
            "https://0.0.0.0:1",
            "https://a b",
        ] {
            assert!(url_of_a_bridge(bad, true).is_err(), "{bad}");
        }
    }
}
