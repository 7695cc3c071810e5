//! Looks at SQL that the administrator wrote, just closely enough to see that it stays where it is pasted.
//!
//! Conditions and expressions become parts of statements. Quotes and parentheses must close, nothing may end the
//! statement, and a parameter must be one that is bound. Whether the SQL means something is for the database to say.

use std::collections::BTreeSet;

use super::env::is_name;

/// What was seen in a text of SQL.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Scan {
    /// What is wrong, and what to write instead.
    pub faults: Vec<(String, &'static str)>,
    /// The names of the parameters, as in `:name`.
    pub parameters: Vec<String>,
    /// Every name and key word in lower case, without strings and comments.
    pub words: BTreeSet<String>,
    /// Whether there is nothing but white space and comments.
    pub empty: bool,
}

/// Reads a whole statement, which may end with `;`: what stands before that, and what was seen in it.
pub(super) fn scan_statement(sql: &str) -> (&str, Scan) {
    let sql = sql.trim_end_matches(|c: char| c.is_whitespace() || c == ';');
    let mut found = scan(sql);
    for (what, instead) in &mut found.faults {
        if what == END {
            (*what, *instead) =
                ("`;` ends a statement, and another one follows".to_owned(), "write one statement in each text");
        }
    }
    (sql, found)
}

const END: &str = "`;` ends a statement, and this is only a part of one";

/// Reads `sql` from beginning to end.
pub(super) fn scan(sql: &str) -> Scan {
    let mut scan = Scan { empty: true, ..Scan::default() };
    let (mut rest, mut open) = (sql, 0_usize);
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        if rest.starts_with("/*") {
            match after[1..].split_once("*/") {
                Some((_, behind)) => rest = behind,
                None => {
                    scan.fault("a comment `/*` is never closed", "close it with `*/`");
                    break;
                }
            }
            continue;
        }
        if c.is_whitespace() {
            rest = after;
            continue;
        }
        scan.empty = false;
        rest = match c {
            '\'' | '"' | '`' | '[' => match after_quote(after, if c == '[' { ']' } else { c }) {
                Some(behind) => {
                    if c != '\'' {
                        let name = &after[..after.len() - behind.len()];
                        scan.words.insert(name[..name.len() - 1].to_lowercase());
                    }
                    behind
                }
                None => {
                    scan.fault(format!("a quote `{c}` is never closed"), "close it; inside a quote it is doubled");
                    return scan;
                }
            },
            '(' => {
                open += 1;
                after
            }
            ')' => {
                if open == 0 {
                    scan.fault("a parenthesis is closed that was never opened", "take it out, or open it");
                }
                open = open.saturating_sub(1);
                after
            }
            ';' => {
                scan.fault(END, "take it out");
                after
            }
            '-' if after.starts_with('-') => {
                scan.fault(
                    "a comment `--` would hide the rest of the statement",
                    "write comments with `#` outside of the quotes",
                );
                after.find('\n').map_or("", |i| &after[i..])
            }
            ':' if after.starts_with(':') => &after[1..],
            ':' | '@' | '$' | '?' => scan.parameter(c, after),
            '\0' => {
                scan.fault("there is a character of code 0 in it", "take it out");
                after
            }
            c if is_word(c) => {
                let behind = after.trim_start_matches(is_word);
                scan.words.insert(rest[..rest.len() - behind.len()].to_lowercase());
                behind
            }
            _ => after,
        };
    }
    if open > 0 {
        scan.fault("a parenthesis is never closed", "close it");
    }
    scan
}

impl Scan {
    fn fault(&mut self, what: impl Into<String>, instead: &'static str) {
        let fault = (what.into(), instead);
        if !self.faults.contains(&fault) {
            self.faults.push(fault);
        }
    }

    /// A parameter that begins with `sign`; what comes behind it.
    fn parameter<'a>(&mut self, sign: char, after: &'a str) -> &'a str {
        let behind = after.trim_start_matches(is_word);
        let name = &after[..after.len() - behind.len()];
        if sign == ':' && is_name(name) {
            if !self.parameters.iter().any(|p| p == name) {
                self.parameters.push(name.to_owned());
            }
        } else if sign == '?' || !name.is_empty() {
            self.fault(
                format!("`{sign}{name}` is a parameter that nobody binds"),
                "write the value itself, or `:name` where one may be used",
            );
        }
        behind
    }
}

/// A character of a name, a key word or a number.
fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

/// What comes behind the end of a quote; a doubled `end` is a part of it, save for `]`.
fn after_quote(text: &str, end: char) -> Option<&str> {
    let mut rest = text;
    loop {
        let (_, behind) = rest.split_once(end)?;
        match behind.strip_prefix(end) {
            Some(more) if end != ']' => rest = more,
            _ => return Some(behind),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(sql: &str) -> Vec<String> {
        scan(sql).faults.into_iter().map(|f| f.0).collect()
    }

    #[test]
    fn sql_that_stays_in_its_place_is_left_alone() {
        for good in [
            "VISIBILITY = 'public'",
            "a = ';)' and (b in (1, 2) or \"odd;)name\" is null)",
            "name = 'O''Brien -- not a comment' /* ; ) */",
            "[odd'name] = `odd'name`",
            "x::text = 'a' and y - -1 < 2 and z$1 = 'ä'",
            "a = 'x'\n  and b = 2",
        ] {
            assert_eq!(Scan { words: BTreeSet::new(), ..scan(good) }, Scan::default(), "{good}");
        }
    }

    #[test]
    fn sql_that_would_change_the_statement_is_found() {
        for (bad, what) in [
            ("a = 1; drop table x", "`;` ends a statement, and this is only a part of one"),
            ("(a = 1", "a parenthesis is never closed"),
            ("a = 1) or (1 = 1", "a parenthesis is closed that was never opened"),
            ("a = 'x", "a quote `'` is never closed"),
            ("\"a = 1", "a quote `\"` is never closed"),
            ("[a = 1", "a quote `[` is never closed"),
            ("a = 1 -- all", "a comment `--` would hide the rest of the statement"),
            ("a = 1 /* all", "a comment `/*` is never closed"),
            ("/*", "a comment `/*` is never closed"),
            ("/*/", "a comment `/*` is never closed"),
            ("a = ?1", "`?1` is a parameter that nobody binds"),
            ("a = @b", "`@b` is a parameter that nobody binds"),
            ("a = $b", "`$b` is a parameter that nobody binds"),
            ("a = \0", "there is a character of code 0 in it"),
        ] {
            assert!(faults(bad).iter().any(|f| f == what), "{bad}: {:?}", faults(bad));
        }
    }

    #[test]
    fn parameters_are_found_outside_of_quotes_only() {
        assert_eq!(scan("coalesce(:author, ':nobody', :author) || :site").parameters, ["author", "site"]);
    }

    #[test]
    fn names_are_told_from_strings_and_comments() {
        let words = scan("select a.id as share, \"Odd x\", 'no' /* nor this */ from t2").words;
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        assert_eq!(words, ["a", "as", "from", "id", "odd x", "select", "share", "t2"]);
    }

    #[test]
    fn a_statement_may_end_with_a_semicolon_and_no_other_may_follow() {
        let (sql, found) = scan_statement("update t set a = ';' where b = :problem ;\n");
        assert_eq!((sql, found.faults), ("update t set a = ';' where b = :problem", vec![]));
        let said = scan_statement("update t set a = 1; delete from t;").1.faults;
        assert_eq!(
            said,
            [("`;` ends a statement, and another one follows".to_owned(), "write one statement in each text")]
        );
    }

    #[test]
    fn nothing_but_comments_is_nothing() {
        assert!(scan(" /* all */ \n").empty);
        assert!(!scan("1").empty);
    }
}
