//! From the file as written to the checked value: the site, pauses and limits.
//!
//! A [`Checker`] collects faults and goes on; a value is nothing where it has a fault. `database`, `history`,
//! `statements`, `problem`, `tls` and `peers` do the same for their sections.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use landbridge_core::{Bounds, SiteName};
use landbridge_http::Allowance;
use toml::Spanned;

use super::checked::{Audit, Config, Limits, Pace};
use super::env::{EnvFault, expand};
use super::fault::Finding;
use super::file::{ConfigFile, LimitsFile, PaceFile, ShareFile, SizeText, Text};
use super::units::{self, A_DURATION, A_SIZE};
use super::walk::Walk;

/// What a site may be called.
pub(super) const A_SITE: &str = "write 1 to 64 of the characters A-Z a-z 0-9 . _ -, the first a letter or a digit";

/// Collects faults.
pub(super) struct Checker<'a> {
    env: &'a dyn Fn(&str) -> Option<String>,
    spoiled: BTreeSet<(usize, String)>,
    /// What was found so far.
    pub findings: Vec<Finding>,
}

/// A section of the file, for messages about what it lacks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Section {
    /// As it is written, with brackets.
    pub label: &'static str,
    /// Where it begins.
    pub at: usize,
}

/// The top of the file, before any section.
pub(super) const TOP: Section = Section { label: "", at: 0 };

/// A text with everything from the environment in it.
#[derive(Clone)]
pub(super) struct Value {
    /// The text.
    pub text: String,
    /// Where it stands.
    pub at: usize,
    written: String,
}

impl Value {
    /// The value for a message: as written in the file, so that nothing from the environment shows.
    pub fn shown(&self) -> String {
        format!("\"{}\"", self.plain())
    }

    /// The same without quotes.
    pub fn plain(&self) -> String {
        let mut short: String = self.written.chars().take(60).collect();
        if short.len() < self.written.len() {
            short.push_str("...");
        }
        short.escape_debug().to_string()
    }
}

impl<'a> Checker<'a> {
    /// Goes on from what the walk found.
    pub fn new(env: &'a dyn Fn(&str) -> Option<String>, walk: Walk) -> Self {
        Self { env, spoiled: walk.spoiled, findings: walk.findings }
    }

    /// Notes a fault.
    pub fn fault(&mut self, at: usize, what: impl Into<String>, instead: impl Into<String>) {
        self.findings.push(Finding { at, what: what.into(), instead: instead.into() });
    }

    /// Whether `key` was in the section before the walk took it out.
    pub fn is_spoiled(&self, section: Section, key: &str) -> bool {
        self.spoiled.contains(&(section.at, key.to_owned()))
    }

    /// The text with everything from the environment in it.
    pub fn value(&mut self, written: &Text) -> Option<Value> {
        let at = written.span().start;
        match expand(written.get_ref(), self.env) {
            Ok(text) => Some(Value { text, at, written: written.get_ref().clone() }),
            Err(faults) => {
                for fault in faults {
                    match fault {
                        EnvFault::Missing(name) => self.fault(
                            at,
                            format!("the environment has no variable {name} (or it is no UTF-8)"),
                            format!("set it before the start, or write $${{{name}}} where these characters are meant"),
                        ),
                        EnvFault::Form => self.fault(
                            at,
                            "`${` is not followed by the name of a variable and `}`",
                            "write `${NAME}`, or `$${` where these characters are meant",
                        ),
                    }
                }
                None
            }
        }
    }

    /// A value that may be absent.
    pub fn optional(&mut self, written: Option<&Text>) -> Option<Value> {
        written.and_then(|w| self.value(w))
    }

    /// A value that must be there; `instead` says what to write where it is not.
    pub fn required(&mut self, written: Option<&Text>, section: Section, key: &str, instead: &str) -> Option<Value> {
        match written {
            Some(written) => self.value(written),
            None => {
                self.missing(section, key, instead);
                None
            }
        }
    }

    /// Notes that `key` is absent from the section.
    pub fn missing(&mut self, section: Section, key: &str, instead: &str) {
        if !self.is_spoiled(section, key) {
            let place = if section.label.is_empty() {
                "at the top of the file".into()
            } else {
                format!("in {}", section.label)
            };
            self.fault(section.at, format!("`{key}` is missing {place}"), instead);
        }
    }

    /// A site's name.
    pub fn site(&mut self, value: &Value) -> Option<SiteName> {
        let site = value.text.parse().ok();
        if site.is_none() {
            self.fault(value.at, format!("{} is no name of a site", value.shown()), A_SITE);
        }
        site
    }

    /// The whole configuration; nothing where there is a fault.
    pub fn config(&mut self, file: &ConfigFile, path: &Path) -> Option<Config> {
        let folder = path.parent().unwrap_or(Path::new(""));
        let site =
            self.required(file.site.as_ref(), TOP, "site", "write `site = \"NAME\"`, unique among all bridged sites");
        let site = site.and_then(|s| self.site(&s));
        let key_file = self.key_file(file, folder);
        let (database, password_file) = self.database(file, folder);
        let problem = self.problem(file);
        let markers = self.markers(file);
        let history = self.history(file);
        let tls = self.tls(file, folder, key_file.as_deref());
        let listen = self.listen(file);
        let share = self.allowance(&file.limits.share(), &Allowance::default());
        let peers = self.peers(file, site.as_ref(), listen, folder, &share);
        let pace = self.pace(&file.pace);
        let limits = self.limits(&file.limits);
        let audit = self.audit(file, path);

        let (history, mut mapping) = history?;
        let (peers, conditions) = peers?;
        let (problems, pairing) = problem?;
        mapping.peers = conditions;
        mapping.problems = problems;
        mapping.markers = markers?;
        mapping.compact = file.markers.as_ref().is_some_and(|markers| markers.get_ref().compact == Some(true));
        self.tables_differ(file, &mapping);
        Some(Config {
            path: path.to_owned(),
            site: site?,
            key_file: key_file?,
            database: database?,
            password_file,
            history,
            mapping,
            pairing,
            listen,
            tls,
            peers,
            pace,
            limits,
            audit: audit?,
        })
    }

    fn key_file(&mut self, file: &ConfigFile, folder: &Path) -> Option<PathBuf> {
        const INSTEAD: &str = "write `key_file = \"landbridge.key\"`; `landbridge init` makes the file";
        let value = self.required(file.key_file.as_ref(), TOP, "key_file", INSTEAD)?;
        self.file(value, "key_file", folder, INSTEAD)
    }

    /// The name of a file, which begins at `folder`.
    pub(super) fn file(&mut self, value: Value, key: &str, folder: &Path, instead: &str) -> Option<PathBuf> {
        if value.text.is_empty() || value.text.contains('\0') {
            self.fault(value.at, format!("`{key}` is not the name of a file"), instead);
            return None;
        }
        Some(folder.join(value.text))
    }

    /// Nothing where there is a fault; nothing inside where there is no `[audit]`.
    fn audit(&mut self, file: &ConfigFile, path: &Path) -> Option<Option<Audit>> {
        const INSTEAD: &str = "write `file = \"egress.audit\"`, a file of its own";
        let Some(written) = &file.audit else { return Some(None) };
        let section = Section { label: "[audit]", at: written.span().start };
        let value = self.required(written.get_ref().file.as_ref(), section, "file", INSTEAD)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let record = folder.join(&value.text);
        if value.text.is_empty() || value.text.ends_with('/') || value.text.contains('\0') {
            self.fault(value.at, "[audit] `file` is not the name of a file", INSTEAD);
            return None;
        }
        let beside = |end: &str| {
            let mut name = path.as_os_str().to_owned();
            name.push(end);
            PathBuf::from(name)
        };
        let key_file = file.key_file.as_ref().map(|key| folder.join(key.get_ref()));
        let taken = [path.to_owned(), beside(".cache"), beside(".lock")].into_iter().chain(key_file);
        if taken.into_iter().any(|taken| taken == record) {
            let what = format!("[audit] `file` = {} is a file that this site needs for something else", value.shown());
            self.fault(value.at, what, INSTEAD);
            return None;
        }
        Some(Some(Audit { file: record, texts: written.get_ref().texts.unwrap_or(false) }))
    }

    fn pace(&mut self, file: &PaceFile) -> Pace {
        let default = Pace::default();
        let (retry_first, retry_longest) = self.retry(file.retry.as_ref(), &default);
        Pace {
            gather: self.duration(file.gather.as_ref(), "gather", default.gather, Duration::ZERO..=HOUR),
            retry_first,
            retry_longest,
            sweep: self.duration(file.sweep.as_ref(), "sweep", default.sweep, SECOND..=30 * DAY),
            poll: self.duration(file.poll.as_ref(), "poll", default.poll, MILLI..=HOUR),
        }
    }

    fn retry(&mut self, written: Option<&Spanned<Vec<Text>>>, default: &Pace) -> (Duration, Duration) {
        const INSTEAD: &str = "write the first and the longest pause, as in `retry = [\"1s\", \"5m\"]`";
        let defaults = (default.retry_first, default.retry_longest);
        let Some(written) = written else { return defaults };
        let [first, longest] = written.get_ref().as_slice() else {
            let parts = written.get_ref().len();
            let what = format!("`retry` has two parts, and there {} {parts}", if parts == 1 { "is" } else { "are" });
            self.fault(written.span().start, what, INSTEAD);
            return defaults;
        };
        let before = self.findings.len();
        let first = self.duration(Some(first), "retry", defaults.0, MILLI..=DAY);
        let longest = self.duration(Some(longest), "retry", defaults.1, MILLI..=DAY);
        if first > longest && self.findings.len() == before {
            self.fault(written.span().start, "the first pause of `retry` is longer than the longest", INSTEAD);
        }
        (first, longest)
    }

    fn limits(&mut self, file: &LimitsFile) -> Limits {
        let default = Limits::default();
        let before = self.findings.len();
        let push = Bounds {
            entries_max: self.count(
                file.push_entries_max.as_ref(),
                "push_entries_max",
                default.push.entries_max,
                1_000_000,
            ),
            deliveries_max: self.count(
                file.push_deliveries_max.as_ref(),
                "push_deliveries_max",
                default.push.deliveries_max,
                100_000,
            ),
        };
        let all = file.all_bytes_at_once_max.as_ref();
        let limits = Limits {
            push,
            all_bytes_at_once_max: self.size(all, "all_bytes_at_once_max", default.all_bytes_at_once_max),
            batch_entries_max: self.count(
                file.batch_entries_max.as_ref(),
                "batch_entries_max",
                default.batch_entries_max,
                1_000_000,
            ),
            batch_bytes_max: self.size(file.batch_bytes_max.as_ref(), "batch_bytes_max", default.batch_bytes_max),
            entry_bytes_max: self.size(file.entry_bytes_max.as_ref(), "entry_bytes_max", default.entry_bytes_max),
            batch_problems_max: self.count(
                file.batch_problems_max.as_ref(),
                "batch_problems_max",
                default.batch_problems_max,
                100_000,
            ),
        };
        if limits.entry_bytes_max > limits.batch_bytes_max && self.findings.len() == before {
            let entry = file.entry_bytes_max.as_ref().map(Spanned::span);
            let at = entry.or(file.batch_bytes_max.as_ref().map(Spanned::span)).map_or(0, |s| s.start);
            let what = format!(
                "`entry_bytes_max` ({}) is more than `batch_bytes_max` ({}): such an entry would fit in no batch",
                size_shown(file.entry_bytes_max.as_ref(), "1MiB"),
                size_shown(file.batch_bytes_max.as_ref(), "8MiB")
            );
            self.fault(at, what, "raise `batch_bytes_max` or lower `entry_bytes_max`");
        }
        limits
    }

    /// How much a peer may ask; what is not written is as in `default`.
    pub(super) fn allowance(&mut self, file: &ShareFile, default: &Allowance) -> Allowance {
        const MANY: usize = 1_000_000_000;
        let mut count = |written: &Option<Spanned<i64>>, name, default: u32| {
            let count = self.count(written.as_ref(), name, usize::try_from(default).unwrap_or(MANY), MANY);
            u32::try_from(count).unwrap_or(u32::MAX)
        };
        let requests_per_minute_max =
            count(&file.requests_per_minute_max, "requests_per_minute_max", default.requests_per_minute_max);
        let entries_per_minute_max =
            count(&file.entries_per_minute_max, "entries_per_minute_max", default.entries_per_minute_max);
        let entries_burst_max = count(&file.entries_burst_max, "entries_burst_max", default.entries_burst_max);
        let at_once = file.requests_at_once_max.as_ref();
        let bytes_at_once = default.bytes_at_once_max as u64;
        let bytes_at_once = self.size(file.bytes_at_once_max.as_ref(), "bytes_at_once_max", bytes_at_once);
        let per_minute = file.bytes_per_minute_max.as_ref();
        Allowance {
            requests_per_minute_max,
            entries_per_minute_max,
            entries_burst_max,
            requests_at_once_max: self.count(at_once, "requests_at_once_max", default.requests_at_once_max, 10_000),
            bytes_per_minute_max: self.size(per_minute, "bytes_per_minute_max", default.bytes_per_minute_max),
            bytes_at_once_max: usize::try_from(bytes_at_once).unwrap_or(usize::MAX),
        }
    }

    pub(super) fn duration(
        &mut self,
        written: Option<&Text>,
        name: &str,
        default: Duration,
        allowed: RangeInclusive<Duration>,
    ) -> Duration {
        let Some(value) = self.optional(written) else { return default };
        match units::duration(&value.text) {
            None => self.fault(value.at, format!("`{name}` = {} is no duration", value.shown()), A_DURATION),
            Some(duration) if allowed.contains(&duration) => return duration,
            Some(_) => self.fault(
                value.at,
                format!("`{name}` = {} is out of bounds", value.shown()),
                format!("write {:?} to {}h", allowed.start(), allowed.end().as_secs() / 3600),
            ),
        }
        default
    }

    fn count(&mut self, written: Option<&Spanned<i64>>, name: &str, default: usize, max: usize) -> usize {
        let Some(written) = written else { return default };
        match usize::try_from(*written.get_ref()) {
            Ok(count) if (1..=max).contains(&count) => count,
            _ => {
                let what = format!("`{name}` = {} is out of bounds", written.get_ref());
                self.fault(written.span().start, what, format!("write 1 to {max}"));
                default
            }
        }
    }

    fn size(&mut self, written: Option<&Spanned<SizeText>>, name: &str, default: u64) -> u64 {
        let Some(written) = written else { return default };
        let at = written.span().start;
        let (bytes, shown) = match written.get_ref() {
            SizeText::Bytes(n) => (u64::try_from(*n).unwrap_or(0), n.to_string()),
            SizeText::Text(text) => {
                let Some(value) = self.value(&Spanned::new(written.span(), text.clone())) else { return default };
                let Some(bytes) = units::size(&value.text) else {
                    self.fault(at, format!("`{name}` = {} is no size", value.shown()), A_SIZE);
                    return default;
                };
                (bytes, value.shown())
            }
        };
        if !(1..=1 << 30).contains(&bytes) {
            self.fault(at, format!("`{name}` = {shown} is out of bounds"), "write \"1B\" to \"1GiB\"");
            return default;
        }
        bytes
    }
}

pub(super) const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_hours(1);
pub(super) const DAY: Duration = Duration::from_hours(24);

/// A size as written, for a message.
fn size_shown(written: Option<&Spanned<SizeText>>, default: &str) -> String {
    match written.map(Spanned::get_ref) {
        Some(SizeText::Bytes(n)) => n.to_string(),
        Some(SizeText::Text(text)) => text.escape_debug().to_string(),
        None => format!("{default} where nothing is written"),
    }
}
