//! The configuration file exactly as it is written: which keys it has and where they stand.
//!
//! Nothing is checked here beyond the form, and every key may be absent; [`super::checked::Config`] is what the rest of
//! the program sees. There is no `Debug`, because the file may hold secrets in many places.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

/// A text and where it stands.
pub type Text = Spanned<String>;
/// Names and texts, and where both stand.
pub type Map = BTreeMap<Text, Text>;

/// The whole file.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigFile {
    /// This site's name.
    pub site: Option<Text>,
    /// The file with the keys that seal markers.
    pub key_file: Option<Text>,
    /// `[database]`
    pub database: Option<Spanned<DatabaseFile>>,
    /// `[history]`
    pub history: Option<Spanned<HistoryFile>>,
    /// `[problem]`
    pub problem: Option<Spanned<ProblemFile>>,
    /// `[markers]`
    pub markers: Option<Spanned<MarkersFile>>,
    /// `[listen]`
    pub listen: Option<Spanned<ListenFile>>,
    /// `[tls]`
    pub tls: Option<Spanned<TlsFile>>,
    /// `[[peer]]`
    #[serde(default)]
    pub peer: Vec<Spanned<PeerFile>>,
    /// `[pace]`
    #[serde(default)]
    pub pace: PaceFile,
    /// `[limits]`
    #[serde(default)]
    pub limits: LimitsFile,
    /// `[audit]`
    pub audit: Option<Spanned<AuditFile>>,
}

/// `[database]`: where the history is.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatabaseFile {
    /// Which database.
    pub url: Option<Text>,
    /// The file with the password.
    pub password_file: Option<Text>,
    /// How long a command waits for a lock.
    pub busy: Option<Text>,
}

/// `[history]`: the table of the entries.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HistoryFile {
    /// The history's name, equal at all sites.
    pub name: Option<Text>,
    /// The table.
    pub table: Option<Text>,
    /// The column with the problem's id.
    pub problem: Option<Text>,
    /// The column with the row's number.
    pub work: Option<Text>,
    /// The column with the text.
    pub text: Option<Text>,
    /// Who gives out the numbers.
    pub numbering: Option<Text>,
    /// Condition: the rows that belong to the history.
    #[serde(rename = "where")]
    pub within: Option<Text>,
    /// Condition: the rows that may leave.
    pub share: Option<Text>,
    /// Further shared columns.
    #[serde(default)]
    pub fields: Map,
    /// Expressions for further columns of an appended entry.
    #[serde(default)]
    pub insert: Map,
    /// The same for markers.
    #[serde(default)]
    pub marker: Map,
    /// The query, where the history is mapped by statements.
    pub read: Option<Text>,
    /// The statements that append a row.
    pub append: Option<Spanned<Vec<Text>>>,
    /// The number of the row that the first of them appended.
    pub work_from: Option<Text>,
    /// What `:kind` stands for.
    pub append_kind: Option<Spanned<Map>>,
    /// The column that names the encoding of the text.
    pub text_encoding: Option<Text>,
    /// The statements that delete a marker.
    pub remove: Option<Spanned<Vec<Text>>>,
    /// Statements that run once for each problem appended to.
    #[serde(default)]
    pub also: Vec<Text>,
    /// How a marker begins.
    pub phrase: Option<Text>,
    /// How markers began in former times.
    #[serde(default)]
    pub former_phrases: Vec<Text>,
}

/// `[problem]`: the table of the problems.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProblemFile {
    /// The table.
    pub table: Option<Text>,
    /// The column with the id.
    pub id: Option<Text>,
    /// Condition: the problems that are bridged.
    pub share: Option<Text>,
    /// Shared columns of the problem.
    pub fields: Option<Spanned<Map>>,
    /// How problems of two sites are matched.
    pub pairing: Option<Text>,
    /// The column with the home name.
    pub link: Option<Text>,
    /// Whether problems are created.
    pub create: Option<Spanned<bool>>,
    /// Expressions for further columns of a created problem.
    pub insert: Option<Spanned<Map>>,
}

/// `[markers]`: a table of their own, and what may be done with them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MarkersFile {
    /// The table.
    pub table: Option<Text>,
    /// Whether the bridge may delete its own.
    pub compact: Option<bool>,
}

/// `[listen]`: where peers reach this bridge.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListenFile {
    /// Address and port.
    pub address: Option<Text>,
}

/// `[tls]`: what this site shows to others, and who vouches for it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsFile {
    /// The file with its certificate.
    pub cert: Option<Text>,
    /// The file with the key of that.
    pub key: Option<Text>,
    /// The file with the authority.
    pub ca: Option<Text>,
    /// How long before an end people are warned.
    pub warn: Option<Text>,
    /// How often the files are looked at.
    pub watch: Option<Text>,
}

/// `[[peer]]`: another site.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerFile {
    /// Its name.
    pub name: Option<Text>,
    /// Where its bridge is reached.
    pub url: Option<Text>,
    /// Whether deliveries are fetched from it.
    pub pull: Option<Spanned<bool>>,
    /// Whether it is sent what other sites wrote.
    pub relay: Option<bool>,
    /// Condition: the rows that it may see.
    pub share: Option<Text>,
    /// The origins for which it may speak.
    #[serde(default)]
    pub relay_from: Vec<Text>,
    /// Whether entries exchanged with it may go further.
    pub onward: Option<bool>,
    /// Whether nothing is exchanged with it.
    pub paused: Option<bool>,
    /// The secret shared with it.
    pub token: Option<Text>,
    /// The file with the authority that vouches for it.
    pub ca: Option<Text>,
    /// How much it may ask, where that is another share than the others'.
    #[serde(default)]
    pub limits: ShareFile,
}

/// `[audit]`: the record of what left to whom.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditFile {
    /// The file.
    pub file: Option<Text>,
    /// Whether the texts themselves are recorded.
    pub texts: Option<bool>,
}

/// `[pace]`: pauses.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PaceFile {
    /// How long more entries are waited for.
    pub gather: Option<Text>,
    /// First and longest pause after a failure.
    pub retry: Option<Spanned<Vec<Text>>>,
    /// How often everything is looked through.
    pub sweep: Option<Text>,
    /// How often the database is asked whether it changed.
    pub poll: Option<Text>,
}

/// `[limits]`: how much at once.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitsFile {
    /// Entries of one batch.
    pub batch_entries_max: Option<Spanned<i64>>,
    /// Bytes of one batch.
    pub batch_bytes_max: Option<Spanned<SizeText>>,
    /// Bytes of one entry.
    pub entry_bytes_max: Option<Spanned<SizeText>>,
    /// Problems of one transaction.
    pub batch_problems_max: Option<Spanned<i64>>,
    /// Entries that a peer may push at once.
    pub push_entries_max: Option<Spanned<i64>>,
    /// Deliveries that a peer may push at once.
    pub push_deliveries_max: Option<Spanned<i64>>,
    /// Bytes of bodies of all peers in memory.
    pub all_bytes_at_once_max: Option<Spanned<SizeText>>,
    /// Requests in a minute.
    pub requests_per_minute_max: Option<Spanned<i64>>,
    /// Requests at the same time.
    pub requests_at_once_max: Option<Spanned<i64>>,
    /// Bytes in a minute.
    pub bytes_per_minute_max: Option<Spanned<SizeText>>,
    /// Bytes at the same time.
    pub bytes_at_once_max: Option<Spanned<SizeText>>,
    /// Entries in a minute.
    pub entries_per_minute_max: Option<Spanned<i64>>,
    /// Entries without a pause.
    pub entries_burst_max: Option<Spanned<i64>>,
}

impl LimitsFile {
    /// How much each peer may ask.
    pub fn share(&self) -> ShareFile {
        ShareFile {
            requests_per_minute_max: self.requests_per_minute_max.clone(),
            requests_at_once_max: self.requests_at_once_max.clone(),
            bytes_per_minute_max: self.bytes_per_minute_max.clone(),
            bytes_at_once_max: self.bytes_at_once_max.clone(),
            entries_per_minute_max: self.entries_per_minute_max.clone(),
            entries_burst_max: self.entries_burst_max.clone(),
        }
    }
}

/// How much a peer may ask: in `[limits]` each, in `[peer.limits]` this one.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShareFile {
    /// Requests in a minute.
    pub requests_per_minute_max: Option<Spanned<i64>>,
    /// Requests at the same time.
    pub requests_at_once_max: Option<Spanned<i64>>,
    /// Bytes in a minute.
    pub bytes_per_minute_max: Option<Spanned<SizeText>>,
    /// Bytes at the same time.
    pub bytes_at_once_max: Option<Spanned<SizeText>>,
    /// Entries in a minute.
    pub entries_per_minute_max: Option<Spanned<i64>>,
    /// Entries without a pause.
    pub entries_burst_max: Option<Spanned<i64>>,
}

/// A size as written.
#[derive(Clone, Deserialize)]
#[serde(untagged)]
pub enum SizeText {
    /// A plain number of bytes.
    Bytes(i64),
    /// A number and a unit.
    Text(String),
}
