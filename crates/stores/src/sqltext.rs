//! Parameters in the administrator's SQL: `:name` outside of quotes and comments, replaced by whatever the vendor calls
//! a parameter. Quotes are read as standard SQL has them: a backslash is no escape.

/// Replaces every `:name` of `sql` by what `bind` says. `::type` and everything in quotes and comments stays.
pub fn bind(sql: &str, mut bind: impl FnMut(&str) -> String) -> String {
    let mut out = String::with_capacity(sql.len());
    let mut rest = sql;
    while let Some(at) = rest.find(['\'', '"', '`', ':', '-', '/', '#']) {
        let (before, found) = rest.split_at(at);
        out.push_str(before);
        let (taken, behind) = match piece(found) {
            Piece::Parameter(name, behind) => {
                out.push_str(&bind(name));
                ("", behind)
            }
            Piece::Other(len) => found.split_at(len),
        };
        out.push_str(taken);
        rest = behind;
    }
    out.push_str(rest);
    out
}

/// The names of the parameters of `sql`, each once, in the order of their first use.
pub fn parameters(sql: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    bind(sql, |name| {
        if !names.iter().any(|n| n == name) {
            names.push(name.to_owned());
        }
        String::new()
    });
    names
}

enum Piece<'a> {
    /// A parameter of this name, and what stands behind it.
    Parameter(&'a str, &'a str),
    /// So many bytes that are copied.
    Other(usize),
}

/// What begins here, at one of the characters that [`bind`] stops at.
fn piece(text: &str) -> Piece<'_> {
    let until = |end: &str, from: usize| text[from..].find(end).map_or(text.len(), |at| from + at + end.len());
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        // A doubled quote ends one string and begins the next, which comes to the same.
        (Some(quote @ ('\'' | '"' | '`')), _) => Piece::Other(until(quote.encode_utf8(&mut [0; 4]), 1)),
        (Some('-'), Some('-')) => Piece::Other(until("\n", 2)),
        (Some('/'), Some('*')) => Piece::Other(until("*/", 2)),
        (Some(':'), Some(':')) => Piece::Other(2),
        (Some(':'), Some(c)) if c.is_ascii_alphabetic() || c == '_' => {
            let name = &text[1..];
            let end = name.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(name.len());
            let (name, behind) = name.split_at(end);
            Piece::Parameter(name, behind)
        }
        (first, _) => Piece::Other(first.map_or(0, char::len_utf8)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_replaced_where_it_is_one() {
        let sql =
            "coalesce(:author, ':no', \"a:b\", `c:d`) || :site::text || 'it''s :x' /* :y */ -- :z\n|| :author_2 > 1";
        let mut numbers = Vec::new();
        let bound = bind(sql, |name| {
            numbers.push(name.to_owned());
            format!("${}", numbers.len())
        });
        let expected = "coalesce($1, ':no', \"a:b\", `c:d`) || $2::text || 'it''s :x' /* :y */ -- :z\n|| $3 > 1";
        assert_eq!(bound, expected);
        assert_eq!(parameters(":b + :a + :b"), ["b", "a"]);
    }

    #[test]
    fn what_is_never_closed_is_left_as_it_is() {
        for sql in ["'a :b", "/* :b", "a:", ":", ":1", "-- :b", "ä:"] {
            assert_eq!(bind(sql, |_| "?".into()), sql);
        }
    }
}
