//! Compares a file with the known keys and takes everything out that is unknown or has a wrong form.
//!
//! What stays can be read into [`super::file::ConfigFile`], so that the values of a file with a mistyped key are
//! checked in the same run. What was taken out is remembered, or it would be reported again as missing.

use std::collections::BTreeSet;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::fault::Finding;
use super::keys::{Key, Shape, advice};
use super::units::{A_DURATION, A_SIZE};

/// What the comparison found.
#[derive(Debug, Default)]
pub(super) struct Walk {
    /// Every unknown key and every value of a wrong form.
    pub findings: Vec<Finding>,
    /// The keys that were taken out: where their section begins, and the key.
    pub spoiled: BTreeSet<(usize, String)>,
}

impl Walk {
    /// Takes out of `table`, which begins at `at` and is called `section`, what `keys` does not know.
    pub(super) fn prune(&mut self, table: &mut DeTable<'_>, keys: &[Key], section: &str, at: usize) {
        retain(table, |key, value| {
            let (from, to) = (key.span().start, value.span().start);
            let name = key.get_ref().as_ref();
            let kept = match keys.iter().find(|k| k.name == name) {
                Some(key) => self.fits(key, value.get_mut(), section, from, to),
                None => {
                    let place = place(section);
                    self.fault(from, format!("unknown key `{}`{place}", shorten(name)), advice(name, keys))
                }
            };
            if !kept {
                self.spoiled.insert((at, name.to_owned()));
            }
            kept
        });
    }

    /// Whether `value` has the form that `key` wants. `from`: where the key stands; `to`: where the value does.
    fn fits(&mut self, key: &Key, value: &mut DeValue<'_>, section: &str, from: usize, to: usize) -> bool {
        let name = key.name;
        let form = form(value);
        match (&key.shape, value) {
            (Shape::Later(words), _) => self.fault(
                from,
                format!("`{name}`{} ({words}) comes with a later version of Landbridge", place(section)),
                "take it out",
            ),
            (Shape::Text | Shape::Duration | Shape::Size, DeValue::String(_)) | (Shape::Flag, DeValue::Boolean(_)) => {
                true
            }
            (Shape::Count | Shape::Size, DeValue::Integer(n)) => {
                // The file's type holds 64 bits; the values that make sense are far below.
                i64::from_str_radix(n.as_str(), n.radix()).is_ok()
                    || self.fault(to, format!("`{name}`{} is too large", place(section)), "write a smaller number")
            }
            (Shape::Texts | Shape::Durations, DeValue::Array(list)) => {
                let odd = list.iter().find(|v| !v.get_ref().is_str());
                odd.is_none_or(|odd| {
                    let what = format!("`{name}`{} has {} in its list", place(section), self::form(odd.get_ref()));
                    self.fault(odd.span().start, what, wanted(key))
                })
            }
            (Shape::Map, DeValue::Table(map)) => {
                let section = format!("[{}.{name}]", section.trim_matches(['[', ']']));
                retain(map, |name, value| {
                    value.get_ref().is_str() || {
                        let what =
                            format!("`{}` in {section} is {}", shorten(name.get_ref()), self::form(value.get_ref()));
                        self.fault(value.span().start, what, "write it in quotes, as in \"...\"")
                    }
                });
                true
            }
            (Shape::Table(keys), DeValue::Table(table)) => {
                self.prune(table, keys, &format!("[{name}]"), to);
                true
            }
            (Shape::Tables(keys), DeValue::Array(list)) if list.iter().all(|v| v.get_ref().is_table()) => {
                for element in list.iter_mut() {
                    let at = element.span().start;
                    if let DeValue::Table(table) = element.get_mut() {
                        self.prune(table, keys, &format!("[[{name}]]"), at);
                    }
                }
                true
            }
            _ => self.fault(to, format!("`{name}`{} is {form}", place(section)), wanted(key)),
        }
    }

    /// Notes a fault; always false.
    fn fault(&mut self, at: usize, what: impl Into<String>, instead: impl Into<String>) -> bool {
        self.findings.push(Finding { at, what: what.into(), instead: instead.into() });
        false
    }
}

/// Keeps in `table` what `keep` says.
fn retain<'i>(
    table: &mut DeTable<'i>,
    mut keep: impl FnMut(&Spanned<DeString<'i>>, &mut Spanned<DeValue<'i>>) -> bool,
) {
    for (key, mut value) in std::mem::take(table) {
        if keep(&key, &mut value) {
            table.insert(key, value);
        }
    }
}

/// What to write for a value of a wrong form.
fn wanted(key: &Key) -> String {
    let name = key.name;
    match key.shape {
        Shape::Text => format!("write a text in quotes, as in `{name} = \"...\"`"),
        Shape::Texts => format!("write a list of texts, as in `{name} = [\"...\"]`"),
        Shape::Flag => format!("write `{name} = true` or `{name} = false`, without quotes"),
        Shape::Count => format!("write a whole number without quotes, as in `{name} = 500`"),
        Shape::Duration => A_DURATION.to_owned(),
        Shape::Durations => format!("write `{name} = [\"1s\", \"5m\"]`; {A_DURATION}"),
        Shape::Size => A_SIZE.to_owned(),
        Shape::Map => format!("write a section with names and texts, as in `{name} = {{ NAME = \"...\" }}`"),
        Shape::Table(_) => format!("it is a section: write `[{name}]` in a line of its own"),
        Shape::Tables(_) => format!("write `[[{name}]]` with two brackets, once for each {name}"),
        Shape::Later(_) => "take it out".to_owned(),
    }
}

/// The form of `value`, in words.
fn form(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a point",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a section",
    }
}

fn place(section: &str) -> String {
    if section.is_empty() { String::new() } else { format!(" in {section}") }
}

/// A key of the file, short enough for a message.
fn shorten(name: &str) -> String {
    name.escape_debug().take(60).collect()
}
