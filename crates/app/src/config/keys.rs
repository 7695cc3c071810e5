//! Every key of the configuration: where it stands and what form its value has.
//!
//! `walk` compares a file with this list, so that all unknown keys and wrong types are found in one go; `file` has the
//! same keys as types. Keys of the design that a later version brings are listed too and are told apart from typing
//! errors.

use Shape::{Count, Duration, Durations, Flag, Later, Map, Size, Table, Tables, Text, Texts};

/// A key and what may stand behind it.
#[derive(Debug)]
pub(super) struct Key {
    /// The key.
    pub name: &'static str,
    /// The form of its value.
    pub shape: Shape,
}

/// The form of a value.
#[derive(Debug)]
pub(super) enum Shape {
    /// A text.
    Text,
    /// A list of texts.
    Texts,
    /// True or false.
    Flag,
    /// A whole number.
    Count,
    /// A text such as "1s".
    Duration,
    /// A list of such texts.
    Durations,
    /// A text such as "8MiB", or a whole number.
    Size,
    /// Any keys, each with a text.
    Map,
    /// A section with these keys.
    Table(&'static [Key]),
    /// A section that may be repeated.
    Tables(&'static [Key]),
    /// Something that comes with a later version, in words.
    Later(&'static str),
}

const fn key(name: &'static str, shape: Shape) -> Key {
    Key { name, shape }
}

/// The keys of the whole file.
pub(super) static ROOT: &[Key] = &[
    key("site", Text),
    key("key_file", Text),
    key("database", Table(&[key("url", Text), key("password_file", Text), key("busy", Duration)])),
    key("history", Table(HISTORY)),
    key("problem", Table(PROBLEM)),
    key("markers", Table(&[key("table", Text), key("compact", Flag)])),
    key("listen", Table(&[key("address", Text)])),
    key(
        "tls",
        Table(&[key("cert", Text), key("key", Text), key("ca", Text), key("warn", Duration), key("watch", Duration)]),
    ),
    key("peer", Tables(PEER)),
    key(
        "pace",
        Table(&[key("gather", Duration), key("retry", Durations), key("sweep", Duration), key("poll", Duration)]),
    ),
    key(
        "limits",
        Table(&[
            key("batch_entries_max", Count),
            key("batch_bytes_max", Size),
            key("entry_bytes_max", Size),
            key("batch_problems_max", Count),
            key("push_entries_max", Count),
            key("push_deliveries_max", Count),
            key("all_bytes_at_once_max", Size),
            key("requests_per_minute_max", Count),
            key("requests_at_once_max", Count),
            key("bytes_per_minute_max", Size),
            key("bytes_at_once_max", Size),
            key("entries_per_minute_max", Count),
            key("entries_burst_max", Count),
        ]),
    ),
    key("hooks", Later("a command after a commit")),
    key("pages", Later("the operator's pages")),
    key("audit", Table(&[key("file", Text), key("texts", Flag)])),
];

static HISTORY: &[Key] = &[
    key("name", Text),
    key("table", Text),
    key("problem", Text),
    key("work", Text),
    key("text", Text),
    key("numbering", Text),
    key("where", Text),
    key("share", Text),
    key("fields", Map),
    key("insert", Map),
    key("marker", Map),
    key("phrase", Text),
    key("former_phrases", Texts),
    key("read", Text),
    key("append", Texts),
    key("work_from", Text),
    key("append_kind", Map),
    key("text_encoding", Text),
    key("remove", Texts),
    key("also", Texts),
];

static PROBLEM: &[Key] = &[
    key("table", Text),
    key("id", Text),
    key("share", Text),
    key("pairing", Text),
    key("fields", Map),
    key("link", Text),
    key("create", Flag),
    key("insert", Map),
];

static PEER: &[Key] = &[
    key("name", Text),
    key("url", Text),
    key("pull", Flag),
    key("relay", Flag),
    key("share", Text),
    key("relay_from", Texts),
    key("onward", Flag),
    key("paused", Flag),
    key("token", Text),
    key("ca", Text),
    key(
        "limits",
        Table(&[
            key("requests_per_minute_max", Count),
            key("requests_at_once_max", Count),
            key("bytes_per_minute_max", Size),
            key("bytes_at_once_max", Size),
            key("entries_per_minute_max", Count),
            key("entries_burst_max", Count),
        ]),
    ),
];

/// What to write instead of the unknown key `name`, which stands among `known`.
pub(super) fn advice(name: &str, known: &[Key]) -> String {
    let usable = || known.iter().filter(|k| !matches!(k.shape, Later(_)));
    let near = usable().map(|k| (distance(&name.to_lowercase(), k.name), k.name)).min();
    if let Some((steps, near)) = near
        && steps <= 1 + near.len() / 4
    {
        return format!("did you mean `{near}`?");
    }
    let sections = sections_with(name);
    if !sections.is_empty() {
        return format!("it belongs {}", sections.join(" or "));
    }
    let names: Vec<String> = usable().map(|k| format!("`{}`", k.name)).collect();
    format!("what may stand here is {}", names.join(", "))
}

/// Where a key of this name is known.
fn sections_with(name: &str) -> Vec<String> {
    let has = |keys: &[Key]| keys.iter().any(|k| k.name == name && !matches!(k.shape, Later(_)));
    let mut sections = Vec::new();
    if has(ROOT) {
        sections.push("at the top of the file".to_owned());
    }
    for section in ROOT {
        match section.shape {
            Table(keys) if has(keys) => sections.push(format!("under [{}]", section.name)),
            Tables(keys) if has(keys) => sections.push(format!("under [[{}]]", section.name)),
            _ => {}
        }
    }
    sections
}

/// How many characters have to be added, taken out, replaced or swapped with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    // Whoever writes hundreds of characters meant no key of ours; the work stays bounded.
    let a: Vec<char> = a.chars().take(64).collect();
    let b: Vec<char> = b.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let other = usize::from(a[i - 1] != b[j - 1]);
            let mut steps = (last[j] + 1).min(row[j - 1] + 1).min(last[j - 1] + other);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                steps = steps.min(before[j - 2] + 1);
            }
            row.push(steps);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_what_fingers_do_wrong() {
        for (a, b, steps) in
            [("share", "share", 0), ("shre", "share", 1), ("sahre", "share", 1), ("", "ab", 2), ("ü", "u", 1)]
        {
            assert_eq!(distance(a, b), steps, "{a} {b}");
        }
    }

    #[test]
    fn advice_names_the_nearest_key_or_the_right_section() {
        assert_eq!(advice("shre", HISTORY), "did you mean `share`?");
        assert_eq!(advice("Numbring", HISTORY), "did you mean `numbering`?");
        assert_eq!(advice("sweep", PEER), "it belongs under [pace]");
        assert_eq!(advice("table", PEER), "it belongs under [history] or under [problem] or under [markers]");
        assert_eq!(advice("key_file", PEER), "it belongs at the top of the file");
        assert_eq!(
            advice("frobnicate", PROBLEM),
            "what may stand here is `table`, `id`, `share`, `pairing`, `fields`, `link`, `create`, `insert`"
        );
    }
}
