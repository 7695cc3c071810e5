//! How long certificates are still good: of this site, of the authorities, and of each peer as it last showed it. One list
//! for `status`, `check` and the log, so that they cannot disagree.

use std::time::Duration;

use landbridge_core::SiteName;
use landbridge_http::certificate::{Certificate, Validity, day};
use serde::Serialize;

use crate::cache::Learnt;
use crate::config::{Config, TlsFiles};
use crate::tls;

const DAY: u64 = 86_400;

/// Whose certificate it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Whose {
    /// This site's.
    Own,
    /// An authority's, from a file of this site.
    Authority,
    /// A peer's.
    Peer,
}

/// Whether it is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It is, for longer than people are to be warned.
    Good,
    /// It ends within the time of `[tls] warn`.
    EndsSoon,
    /// It has ended.
    Ended,
    /// It has not begun.
    NotYet,
    /// The files of `[tls]` have a fault.
    Fault,
}

/// One certificate, and what is to be said of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Dated {
    /// Whose it is.
    pub whose: Whose,
    /// The peer, where it is that of a peer or of a peer's authority.
    pub peer: Option<SiteName>,
    /// The name in it: the site's, or what the authority is called.
    pub name: String,
    /// The file it is in, where it is one of this site's.
    pub file: Option<String>,
    /// When it ends, as a day in UTC.
    pub ends: Option<String>,
    /// Whole days until then; negative when it has ended.
    pub days_left: Option<i64>,
    /// Whether it is good.
    pub state: State,
    /// What is wrong and what is to be done; nothing where it is good.
    pub advice: Option<String>,
}

impl Dated {
    /// Whether somebody should look at it.
    pub fn wants_a_person(&self) -> bool {
        self.state != State::Good
    }

    /// Whose it is, for people.
    pub fn called(&self) -> String {
        match (self.whose, &self.peer) {
            (Whose::Own, _) => "this site".to_owned(),
            (Whose::Authority, None) => format!("authority {:?}", self.name),
            (Whose::Authority, Some(peer)) => format!("authority {:?} of {peer}", self.name),
            (Whose::Peer, _) => format!("peer {}", self.name),
        }
    }
}

/// Every certificate that the exchange of this site depends on, at `now` (seconds since 1970). None without `[tls]`.
pub fn all(config: &Config, learnt: &Learnt, now: u64) -> Vec<Dated> {
    let Some(files) = &config.tls else { return Vec::new() };
    let mut all = Vec::new();
    match tls::read(config) {
        Ok(None) => {}
        Ok(Some(tls)) => {
            let site = config.site.as_str();
            all.push(dated(
                Whose::Own,
                None,
                site,
                Some(files.cert.display().to_string()),
                tls.certificate(),
                files,
                now,
            ));
            for root in tls.ca().certificates() {
                let file = Some(tls.ca().file().to_owned());
                all.push(dated(Whose::Authority, None, &root.subject, file, root, files, now));
            }
            for peer in config.peers.iter().filter(|peer| peer.ca.is_some()) {
                let Some(authority) = tls.authority(&peer.name) else { continue };
                for root in authority.certificates() {
                    let file = Some(authority.file().to_owned());
                    all.push(dated(Whose::Authority, Some(&peer.name), &root.subject, file, root, files, now));
                }
            }
        }
        Err(faults) => all.extend(faults.into_iter().map(|fault| Dated {
            whose: Whose::Own,
            peer: None,
            name: config.site.to_string(),
            file: None,
            ends: None,
            days_left: None,
            state: State::Fault,
            advice: Some(fault),
        })),
    }
    for peer in &config.peers {
        if let Some(seen) = learnt.certificates.get(&peer.name) {
            let times = Times { begins: seen.begins, ends: seen.ends };
            all.push(at(Whose::Peer, Some(&peer.name), peer.name.as_str(), None, times, files.warn, now));
        }
    }
    all
}

#[derive(Clone, Copy)]
struct Times {
    begins: u64,
    ends: u64,
}

fn dated(
    whose: Whose,
    peer: Option<&SiteName>,
    name: &str,
    file: Option<String>,
    certificate: &Certificate,
    files: &TlsFiles,
    now: u64,
) -> Dated {
    let times = Times { begins: certificate.begins, ends: certificate.ends };
    at(whose, peer, name, file, times, files.warn, now)
}

fn at(
    whose: Whose,
    peer: Option<&SiteName>,
    name: &str,
    file: Option<String>,
    times: Times,
    warn: Duration,
    now: u64,
) -> Dated {
    let Times { begins, ends } = times;
    let state = match validity(times, now) {
        Validity::NotYet => State::NotYet,
        Validity::Ended => State::Ended,
        Validity::Days(_) if ends - now <= warn.as_secs() => State::EndsSoon,
        Validity::Days(_) => State::Good,
    };
    let days_left = |seconds: u64| i64::try_from(seconds / DAY).unwrap_or(i64::MAX);
    let days_left = if now > ends { -days_left(now - ends) } else { days_left(ends - now) };
    let step = match (whose, peer) {
        (Whose::Own, _) => format!("`landbridge cert renew {name}` with its --dir and --out"),
        (Whose::Authority, None) => {
            "make a new authority (`landbridge cert authority`), put both into `ca` at every site, then renew each \
             certificate"
                .to_owned()
        }
        (Whose::Authority, Some(peer)) => format!("ask the operator of {peer} for the file of its new authority"),
        (Whose::Peer, _) => format!("at site {name}: `landbridge cert renew {name}` with its --dir and --out"),
    };
    let clock = format!("today is {} by this machine's clock", day(now));
    let advice = match state {
        State::Good | State::Fault => None,
        State::EndsSoon => Some(format!("ends on {} ({clock}); {step}", day(ends))),
        State::Ended => Some(format!("ended on {} ({clock}); {step}", day(ends))),
        State::NotYet => Some(format!("begins on {} ({clock}); wait, or correct the clock that is wrong", day(begins))),
    };
    Dated {
        whose,
        peer: peer.cloned(),
        name: name.to_owned(),
        file,
        ends: Some(day(ends).to_string()),
        days_left: Some(days_left),
        state,
        advice,
    }
}

fn validity(times: Times, now: u64) -> Validity {
    if now < times.begins {
        Validity::NotYet
    } else if now > times.ends {
        Validity::Ended
    } else {
        Validity::Days((times.ends - now) / DAY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_warned_in_time_and_told_what_to_do() {
        let state = |whose, days: i64| {
            let now = 20_000 * DAY;
            let ends = now.checked_add_signed(days * DAY as i64).unwrap();
            let times = Times { begins: 10 * DAY, ends };
            at(whose, None, "N", None, times, Duration::from_secs(30 * DAY), now)
        };
        assert_eq!((state(Whose::Own, 31).state, state(Whose::Own, 31).advice), (State::Good, None));
        let soon = state(Whose::Own, 30);
        assert_eq!((soon.state, soon.days_left), (State::EndsSoon, Some(30)));
        assert!(
            soon.advice
                .unwrap()
                .ends_with("by this machine's clock); `landbridge cert renew N` with its --dir and --out")
        );
        let ended = state(Whose::Peer, -3);
        assert_eq!((ended.state, ended.days_left), (State::Ended, Some(-3)));
        assert!(ended.advice.unwrap().contains("at site N: `landbridge cert renew N`"));
    }
}
