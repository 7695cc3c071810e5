//! The configuration as the rest of the program sees it: every value valid, every default filled in.
//!
//! Made only by [`super::check()`]. What the database and the peers have to say about it is not known here.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use landbridge_core::{Bounds, SiteName};
use landbridge_flow::Pairing;
use landbridge_http::Allowance;
use landbridge_http::quota::ALL_BYTES_AT_ONCE_MAX;
use landbridge_stores::Database;
use landbridge_stores::mapping::Mapping;

use super::password::{self, PasswordError};
use super::secret::Secret;

/// The configuration of one site.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file that it was read from.
    pub path: PathBuf,
    /// This site.
    pub site: SiteName,
    /// The file with the keys that seal markers.
    pub key_file: PathBuf,
    /// The database with the history. Where there is a `password_file`, still without what stands in it:
    /// [`Config::connectable`] is what is used to reach it.
    pub database: Database,
    /// The file with the database's password.
    pub password_file: Option<PathBuf>,
    /// The history's name, equal at all its sites.
    pub history: String,
    /// Which table and columns the history is.
    pub mapping: Mapping,
    /// How problems of two sites are matched.
    pub pairing: Pairing,
    /// Where peers reach this bridge; nothing where it only dials out. Loopback, unless there is TLS.
    pub listen: Option<SocketAddr>,
    /// What this site shows to others over TLS; nothing where it speaks plain HTTP on loopback.
    pub tls: Option<TlsFiles>,
    /// The other sites, in the order of the file. Their `share` conditions are in the mapping.
    pub peers: Vec<Peer>,
    /// Pauses.
    pub pace: Pace,
    /// How much at once.
    pub limits: Limits,
    /// The record of what left to whom; nothing where none is kept.
    pub audit: Option<Audit>,
}

/// The record of what left to whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    /// The file.
    pub file: PathBuf,
    /// Whether the texts themselves are recorded, not only their digests.
    pub texts: bool,
}

/// The files of TLS, and when they are looked at. What is in them is not known here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate of this site, and what stands between it and its authority.
    pub cert: PathBuf,
    /// The key of that.
    pub key: PathBuf,
    /// The authority that vouches for this site, and for every peer that has none of its own.
    pub ca: PathBuf,
    /// How long before a certificate ends people are warned.
    pub warn: Duration,
    /// How often a running bridge looks whether one of the files has changed.
    pub watch: Duration,
}

/// How long before a certificate ends people are warned, where the configuration does not say.
pub const WARN_DEFAULT: Duration = Duration::from_hours(30 * 24);
/// How often the files are looked at, where the configuration does not say.
pub const WATCH_DEFAULT: Duration = Duration::from_mins(1);

/// Another site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its name.
    pub name: SiteName,
    /// Where its bridge is reached, `https://HOST[:PORT]` or on this machine `http://HOST[:PORT]`, without a path; nothing
    /// where it dials us.
    pub url: Option<String>,
    /// Whether deliveries are fetched from it, over connections that this site opens.
    pub pull: bool,
    /// Whether it is also sent what other sites wrote.
    pub relay: bool,
    /// The origins for which it may speak, besides itself.
    pub relay_from: BTreeSet<SiteName>,
    /// Whether entries exchanged with it may go further.
    pub onward: bool,
    /// Nothing is sent to it or taken from it.
    pub paused: bool,
    /// The secret that both sides show each other. Where certificates are shown it may be absent.
    pub token: Option<Secret>,
    /// The authority that alone may vouch for it; nothing where that is the one of this site.
    pub ca: Option<PathBuf>,
    /// How much it may ask.
    pub allowance: Allowance,
}

/// Pauses. No outcome depends on them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pace {
    /// How long more entries are waited for, before a marker is spent on one.
    pub gather: Duration,
    /// The first pause after a failure.
    pub retry_first: Duration,
    /// The longest.
    pub retry_longest: Duration,
    /// How often everything is looked through.
    pub sweep: Duration,
    /// How often the database is asked whether it changed.
    pub poll: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            gather: Duration::from_millis(200),
            retry_first: Duration::from_secs(1),
            retry_longest: Duration::from_mins(5),
            sweep: Duration::from_hours(1),
            poll: Duration::from_millis(200),
        }
    }
}

/// How much at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Entries of one batch.
    pub batch_entries_max: usize,
    /// Bytes of text of one batch.
    pub batch_bytes_max: u64,
    /// Bytes of one entry's text.
    pub entry_bytes_max: u64,
    /// Problems that one transaction looks at.
    pub batch_problems_max: usize,
    /// The most that a peer may push at once.
    pub push: Bounds,
    /// Bytes of bodies of all peers together that are in memory at the same time.
    pub all_bytes_at_once_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            batch_entries_max: 5000,
            batch_bytes_max: 8 << 20,
            entry_bytes_max: 1 << 20,
            batch_problems_max: 500,
            push: Bounds::default(),
            all_bytes_at_once_max: ALL_BYTES_AT_ONCE_MAX as u64,
        }
    }
}

/// How long a command waits for a lock where the configuration does not say.
pub const BUSY_DEFAULT: Duration = Duration::from_secs(30);

impl Config {
    /// The database with its password, which is read now.
    pub fn connectable(&self) -> Result<Database, PasswordError> {
        match &self.password_file {
            None => Ok(self.database.clone()),
            Some(path) => Ok(self.database.clone().with_password(password::load(path)?)),
        }
    }

    /// The peer of this name.
    pub fn peer(&self, name: &SiteName) -> Option<&Peer> {
        self.peers.iter().find(|p| p.name == *name)
    }

    /// Every file of TLS.
    pub fn tls_files(&self) -> impl Iterator<Item = &Path> {
        let own = self.tls.iter().flat_map(|tls| [&tls.cert, &tls.key, &tls.ca]);
        own.chain(self.peers.iter().filter_map(|peer| peer.ca.as_ref())).map(PathBuf::as_path)
    }

    /// What is allowed and yet worth a sentence to the operator.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.peers.is_empty() {
            notes.push("there is no [[peer]], so nothing is exchanged with anybody".to_owned());
        }
        let problem_share = self.mapping.problems.as_ref().and_then(|p| p.share.as_ref());
        if self.mapping.share.is_none() && problem_share.is_none() {
            for peer in self.peers.iter().filter(|p| self.mapping.peers.get(&p.name).is_none_or(Option::is_none)) {
                notes.push(format!(
                    "no `share` holds anything back from {}: every row of the history goes there",
                    peer.name
                ));
            }
        }
        for peer in self.peers.iter().filter(|p| p.paused) {
            notes.push(format!("{} is paused: nothing is exchanged with it", peer.name));
        }
        notes
    }
}
