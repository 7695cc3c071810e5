//! Values on their way between SQLite and the port: problem ids as text and back, shared columns in canonical form.

use std::collections::BTreeSet;

use landbridge_core::value::{hex, iso_timestamp, sql_timestamp, unhex};
use landbridge_core::{ProblemId, WorkId};
use rusqlite::types::{Value, ValueRef};

/// The values that a problem column may hold for the id `problem`.
///
/// A column with a type turns a text into its own kind when it compares, so one form is enough. A column without one
/// keeps 17 and '17' apart, and both read as the id `17`.
pub(super) fn forms(problem: &ProblemId, untyped: bool) -> Vec<Value> {
    let text = problem.as_str();
    let mut forms = vec![Value::Text(text.to_owned())];
    if untyped {
        if let Ok(n) = text.parse::<i64>()
            && n.to_string() == text
        {
            forms.push(Value::Integer(n));
        } else if text.bytes().all(|b| b.is_ascii_digit() || b"+-.e".contains(&b))
            && let Ok(x) = text.parse::<f64>()
            && x.is_finite()
        {
            forms.push(Value::Real(x));
        }
    }
    forms
}

/// The forms of all of `problems` as a JSON array, for `json_each`; none twice.
pub(super) fn problems_json<'p>(problems: impl IntoIterator<Item = &'p ProblemId>, untyped: bool) -> String {
    let problems: BTreeSet<&ProblemId> = problems.into_iter().collect();
    array(problems.into_iter().flat_map(|p| forms(p, untyped)).map(|v| json(&v)))
}

/// Pairs of problem and number as a JSON array of arrays.
pub(super) fn pairs_json(rows: &[(ProblemId, WorkId)], untyped: bool) -> String {
    array(rows.iter().flat_map(|(problem, work)| {
        forms(problem, untyped).into_iter().map(move |form| format!("[{},{work}]", json(&form)))
    }))
}

/// Rows to delete as a JSON array of arrays: problem, number, text.
pub(super) fn removals_json<'r>(
    rows: impl IntoIterator<Item = (&'r ProblemId, i64, &'r str)>,
    untyped: bool,
) -> String {
    array(rows.into_iter().flat_map(|(problem, work, text)| {
        forms(problem, untyped).into_iter().map(move |form| format!("[{},{work},{}]", json(&form), json_string(text)))
    }))
}

/// Numbers as a JSON array.
pub(super) fn works_json(works: impl IntoIterator<Item = i64>) -> String {
    array(works.into_iter().map(|work| work.to_string()))
}

/// Texts as a JSON array.
pub(super) fn texts_json<'t>(texts: impl IntoIterator<Item = &'t str>) -> String {
    array(texts.into_iter().map(json_string))
}

fn array(items: impl Iterator<Item = String>) -> String {
    let items: Vec<String> = items.collect();
    format!("[{}]", items.join(","))
}

fn json(value: &Value) -> String {
    match value {
        Value::Integer(n) => n.to_string(),
        Value::Real(x) => format!("{x:?}"),
        Value::Text(text) => json_string(text),
        Value::Null | Value::Blob(_) => "null".to_owned(),
    }
}

fn json_string(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A text as SQLite hands it out; nothing where it is null or its bytes are no UTF-8.
pub(super) fn text(value: ValueRef<'_>) -> Option<String> {
    match value {
        ValueRef::Text(bytes) => std::str::from_utf8(bytes).ok().map(str::to_owned),
        _ => None,
    }
}

/// A problem id as SQLite hands it out; nothing where it is empty, too long or no UTF-8.
pub(super) fn problem(value: ValueRef<'_>) -> Option<ProblemId> {
    text(value)?.parse().ok()
}

/// What a shared column keeps, by its declared type: SQLite itself has neither booleans nor a difference between a text
/// and its bytes in such a column.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Keeps {
    /// Every value as it comes.
    #[default]
    Anything,
    /// 0 and 1 for false and true.
    Booleans,
    /// Bytes.
    Bytes,
    /// Timestamps as SQLite's own functions and most applications write them: `2026-11-22 13:09:09.25`.
    Timestamps,
}

/// A shared column in the form in which it travels: a whole number as digits, another number in the fewest digits
/// that read back as the same number, bytes and texts that are no UTF-8 as `\x` and hexadecimal digits.
pub(super) fn canonical(value: ValueRef<'_>, keeps: Keeps) -> Option<String> {
    match (value, keeps) {
        (ValueRef::Null, _) => None,
        (ValueRef::Integer(n @ (0 | 1)), Keeps::Booleans) => Some((n == 1).to_string()),
        (ValueRef::Integer(n), _) => Some(n.to_string()),
        (ValueRef::Real(x), _) => Some(real(x)),
        (ValueRef::Text(bytes), _) => Some(match std::str::from_utf8(bytes) {
            Ok(text) if keeps == Keeps::Timestamps => iso_timestamp(text, false),
            Ok(text) => text.to_owned(),
            Err(_) => hex(bytes),
        }),
        (ValueRef::Blob(bytes), _) => Some(hex(bytes)),
    }
}

/// A received value as such a column keeps it. What does not look like one of its values stays a text, and is judged
/// when it is read back.
pub(super) fn kept(value: Option<&str>, keeps: Keeps) -> Value {
    match (value, keeps) {
        (None, _) => Value::Null,
        (Some("true"), Keeps::Booleans) => Value::Integer(1),
        (Some("false"), Keeps::Booleans) => Value::Integer(0),
        (Some(text), Keeps::Timestamps) => Value::Text(sql_timestamp(text).unwrap_or_else(|| text.to_owned())),
        (Some(text), Keeps::Bytes) => unhex(text).map_or_else(|| Value::Text(text.to_owned()), Value::Blob),
        (Some(text), _) => Value::Text(text.to_owned()),
    }
}

/// Without an exponent where a person would write none.
fn real(x: f64) -> String {
    let plain = x == 0.0 || (1e-6..1e17).contains(&x.abs()) || !x.is_finite();
    if plain { format!("{x}") } else { format!("{x:e}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_travel_in_the_fewest_digits_that_read_back_as_the_same_number() {
        for (x, written) in [(0.1, "0.1"), (17.0, "17"), (-2.5, "-2.5"), (1e300, "1e300"), (1.5e-9, "1.5e-9")] {
            assert_eq!(canonical(ValueRef::Real(x), Keeps::Anything).unwrap(), written);
        }
        for x in [1.0 / 3.0, f64::MAX, f64::MIN_POSITIVE, 123_456_789.123_456_78] {
            assert_eq!(real(x).parse::<f64>().unwrap(), x);
        }
        assert_eq!(canonical(ValueRef::Integer(i64::MIN), Keeps::Booleans).unwrap(), "-9223372036854775808");
    }

    #[test]
    fn bytes_travel_as_hexadecimal_digits_and_texts_as_they_are() {
        for keeps in [Keeps::Anything, Keeps::Bytes] {
            assert_eq!(canonical(ValueRef::Blob(b"caf\xc3\xa9"), keeps).unwrap(), "\\x636166c3a9");
            assert_eq!(canonical(ValueRef::Text(b"caf\xc3\xa9"), keeps).unwrap(), "café");
            assert_eq!(canonical(ValueRef::Text(b"\xff\x00"), keeps).unwrap(), "\\xff00");
            assert_eq!(canonical(ValueRef::Null, keeps), None);
        }
        assert_eq!(kept(Some("\\xff00"), Keeps::Bytes), Value::Blob(vec![255, 0]));
        assert_eq!(kept(Some("\\xff00"), Keeps::Anything), Value::Text("\\xff00".into()));
    }

    #[test]
    fn a_timestamp_column_keeps_what_applications_write() {
        let keeps = Keeps::Timestamps;
        assert_eq!(kept(Some("2026-11-22T13:09:09.25Z"), keeps), Value::Text("2026-11-22 13:09:09.25".into()));
        assert_eq!(canonical(ValueRef::Text(b"2026-11-22 13:09:09.250"), keeps).unwrap(), "2026-11-22T13:09:09.25");
        for other in ["yesterday", "2026-11-22", "1700000000"] {
            assert_eq!(kept(Some(other), keeps), Value::Text(other.into()));
        }
    }

    #[test]
    fn a_boolean_column_keeps_0_and_1() {
        for (text, number) in [("true", 1), ("false", 0)] {
            assert_eq!(kept(Some(text), Keeps::Booleans), Value::Integer(number));
            assert_eq!(canonical(ValueRef::Integer(number), Keeps::Booleans).unwrap(), text);
        }
        assert_eq!(kept(Some("1"), Keeps::Booleans), Value::Text("1".into()));
        assert_eq!(canonical(ValueRef::Integer(2), Keeps::Booleans).unwrap(), "2");
        assert_eq!(kept(None, Keeps::Booleans), Value::Null);
    }

    #[test]
    fn an_untyped_column_is_asked_for_every_form_of_an_id() {
        let id = |s: &str| s.parse::<ProblemId>().unwrap();
        assert_eq!(problems_json(&[id("17"), id("A\"\\\n")], false), r#"["17","A\"\\\u000a"]"#);
        assert_eq!(
            problems_json(&[id("17"), id("017"), id("17"), id("1.5"), id("inf")], true),
            r#"["017",17.0,"1.5",1.5,"17",17,"inf"]"#
        );
        assert_eq!(pairs_json(&[(id("7"), WorkId::MIN)], true), r#"[["7",1],[7,1]]"#);
    }
}
