//! From the file as written to the neighbours: `[listen]` and every `[[peer]]`.
//!
//! This version speaks plain HTTP and therefore never leaves the machine. Peers are told apart by their tokens.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

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
const URL: &str = "write `url = \"http://127.0.0.1:PORT\"`, for instance the near end of a tunnel";

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
        if !is_loopback(address.ip()) {
            self.fault(
                value.at,
                format!(
                    "`address` = {} can be reached from other machines, and this version has no TLS",
                    value.shown()
                ),
                format!("{ADDRESS}, and let other machines in through a tunnel"),
            );
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
        share: &Allowance,
    ) -> Option<(Vec<Peer>, Conditions)> {
        let listens = file.listen.is_some() || self.is_spoiled(TOP, "listen");
        let mut seen = Seen::default();
        let (mut peers, mut conditions, mut whole) = (Vec::new(), BTreeMap::new(), true);
        for written in &file.peer {
            let allowance = self.allowance(&written.get_ref().limits, share);
            match self.peer(written, site, listen, listens, &mut seen) {
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
        site: Option<&SiteName>,
        listen: Option<SocketAddr>,
        listens: bool,
        seen: &mut Seen,
    ) -> Option<(Peer, Option<String>)> {
        let section = Section { label: "[[peer]]", at: written.span().start };
        let file = written.get_ref();
        let called =
            self.required(file.name.as_ref(), section, "name", "write `name = \"SITE\"`, the peer's own `site`");
        let who = called.as_ref().map_or("this peer".to_owned(), |n| format!("peer {}", n.plain()));
        let name = called.and_then(|called| self.peer_name(&called, site, seen));

        let dialled = file.url.is_some() || self.is_spoiled(section, "url");
        if !dialled && !listens {
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
        let url = self.optional(file.url.as_ref()).and_then(|url| self.url(&url, &who, listen, seen));
        let relay_from = self.relay_from(file, &who, site, name.as_ref());
        let share = self.condition(file.share.as_ref(), "share");
        let token = self.token(file, section, &who, seen);
        let peer = Peer {
            name: name?,
            url,
            pull: file.pull.as_ref().is_some_and(|p| *p.get_ref()),
            relay: file.relay.unwrap_or(false),
            relay_from,
            onward: file.onward.unwrap_or(true),
            paused: file.paused.unwrap_or(false),
            token: token?,
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

    fn url(&mut self, value: &Value, who: &str, listen: Option<SocketAddr>, seen: &mut Seen) -> Option<String> {
        match loopback_url(&value.text) {
            Err((what, instead)) => {
                self.fault(value.at, format!("the `url` of {who} {what}"), instead);
                None
            }
            Ok(url) => {
                if listen.is_some_and(|l| url == format!("http://{l}")) {
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

/// `http://HOST[:PORT]` on this machine, or what is wrong and what to write. A url may hold a password: not quoted.
fn loopback_url(url: &str) -> Result<String, (&'static str, &'static str)> {
    if url.starts_with("https://") {
        return Err(("is https, and TLS between sites comes with a later version of Landbridge", URL));
    }
    let rest = url.strip_prefix("http://").ok_or(("does not begin with http://", URL))?;
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.contains('@') {
        return Err(("has a user or a password in it", "take them out; `token` is what the sites know each other by"));
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
    match ip {
        Ok(ip) if is_loopback(ip) => {}
        Err(_) if host.eq_ignore_ascii_case("localhost") && port.parse::<u16>().is_ok() => {}
        Err(_) if host.is_empty() || port.parse::<u16>().is_err() => return Err(("has no host or no valid port", URL)),
        _ => return Err(("leads to another machine, and this version has no TLS", URL)),
    }
    Ok(format!("http://{authority}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_stays_on_this_machine() {
        for good in
            ["http://127.0.0.1:7420", "http://localhost:1", "http://[::1]:7420", "http://127.9.9.9", "http://[::1]"]
        {
            assert_eq!(loopback_url(good).as_deref(), Ok(good));
            assert_eq!(loopback_url(&format!("{good}/")).as_deref(), Ok(good));
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
            "https://127.0.0.1:1",
            "http://::1",
            "http://[[::1]]",
            "http://0.0.0.0:1",
            "http://127.0.0.1:7420?x",
            "http://127.0.0.1 :1",
            "http://127.1:7420",
        ] {
            assert!(loopback_url(bad).is_err(), "{bad}");
        }
    }
}
