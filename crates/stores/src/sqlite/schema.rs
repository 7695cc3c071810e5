//! What SQLite's own catalogue says of a table: its kind, its columns and their types, its unique indices.

use rusqlite::{Connection, OptionalExtension};

use super::fault::Trouble;
use super::values::Keeps;

/// A table or a view.
#[derive(Debug)]
pub(super) struct Table {
    /// The name as the catalogue has it.
    pub(super) name: String,
    /// `table`, `view` or `virtual`.
    pub(super) kind: String,
    /// Whether it was made `without rowid`.
    pub(super) without_rowid: bool,
    /// Whether its numbers are never given out again.
    pub(super) autoincrement: bool,
    /// Its columns.
    pub(super) columns: Vec<Column>,
    /// Its indices that are not partial.
    pub(super) indices: Vec<Index>,
}

/// A column.
#[derive(Debug)]
pub(super) struct Column {
    /// The name as the catalogue has it.
    pub(super) name: String,
    /// The declared type; empty where there is none.
    pub(super) declared: String,
    /// Whether null is refused.
    pub(super) not_null: bool,
    /// Whether a default stands in where no value is given.
    pub(super) has_default: bool,
    /// The place in the primary key, from 1; 0 outside it.
    pub(super) key: i64,
    /// Whether the column is computed from others.
    pub(super) computed: bool,
}

/// An index.
#[derive(Debug)]
pub(super) struct Index {
    /// Whether it is unique.
    pub(super) unique: bool,
    /// Whether it is that of the primary key.
    pub(super) primary: bool,
    /// Its columns; nothing for an expression.
    pub(super) columns: Vec<Option<String>>,
}

/// How SQLite treats the values of a column, by its declared type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Affinity {
    Integer,
    Text,
    /// None: every value stays as it came.
    Blob,
    Real,
    Numeric,
}

impl Column {
    /// SQLite's rules, in their order.
    pub(super) fn affinity(&self) -> Affinity {
        let declared = self.declared.to_ascii_uppercase();
        let has = |words: &[&str]| words.iter().any(|w| declared.contains(w));
        if has(&["INT"]) {
            Affinity::Integer
        } else if has(&["CHAR", "CLOB", "TEXT"]) {
            Affinity::Text
        } else if declared.is_empty() || has(&["BLOB"]) || declared == "ANY" {
            Affinity::Blob
        } else if has(&["REAL", "FLOA", "DOUB"]) {
            Affinity::Real
        } else {
            Affinity::Numeric
        }
    }

    /// Whether null is refused and no default stands in.
    pub(super) fn needs_value(&self) -> bool {
        self.not_null && !self.has_default
    }

    /// Which values it keeps in another form than they travel in.
    pub(super) fn keeps(&self) -> Keeps {
        let declared: String = self.declared.to_ascii_uppercase().split_whitespace().collect();
        let (name, width) = declared.split_once('(').unwrap_or((&declared, ""));
        match (name, width) {
            ("BOOL" | "BOOLEAN", _) | ("TINYINT", "1)") => Keeps::Booleans,
            ("BLOB" | "BYTEA" | "BINARY" | "VARBINARY", _) => Keeps::Bytes,
            ("DATETIME" | "TIMESTAMP", _) => Keeps::Timestamps,
            _ => Keeps::Anything,
        }
    }

    /// The declared width in characters, as in `varchar(80)`. SQLite does not enforce it; other readers of the table
    /// rely on it.
    pub(super) fn width(&self) -> Option<usize> {
        if self.affinity() != Affinity::Text {
            return None;
        }
        let (_, width) = self.declared.split_once('(')?;
        let digits: String = width.trim_start().chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok().filter(|n| *n > 0)
    }
}

impl Table {
    /// The table of this name, if there is one. SQLite tells names apart without regard to ASCII case.
    pub(super) fn find(connection: &Connection, name: &str) -> Result<Option<Self>, Trouble> {
        let found = connection
            .query_row(
                "select l.name, l.type, l.wr, s.sql
                 from pragma_table_list as l left join sqlite_schema as s on s.name = l.name
                 where l.schema = 'main' and lower(l.name) = lower(?1)",
                [name],
                |r| Ok((r.get::<_, String>(0)?, r.get(1)?, r.get(2)?, r.get::<_, Option<String>>(3)?)),
            )
            .optional()?;
        let Some((name, kind, without_rowid, sql)) = found else {
            return Ok(None);
        };
        let columns = columns(connection, &name)?;
        let indices = indices(connection, &name)?;
        let autoincrement = words(&sql.unwrap_or_default()).iter().any(|w| w == "autoincrement");
        Ok(Some(Self { name, kind, without_rowid, autoincrement, columns, indices }))
    }

    /// The column of this name, if there is one.
    pub(super) fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|c| c.name.eq_ignore_ascii_case(name))
    }

    /// Whether SQLite gives out the numbers of `column`: an `integer primary key` that is another name of the rowid.
    pub(super) fn gives_out(&self, column: &Column) -> bool {
        !self.without_rowid
            && column.declared.eq_ignore_ascii_case("integer")
            && column.key == 1
            && self.columns.iter().filter(|c| c.key > 0).count() == 1
            && !self.indices.iter().any(|i| i.primary)
    }

    /// Whether some unique index is on exactly these columns.
    pub(super) fn is_unique(&self, columns: [&str; 2]) -> bool {
        self.indices.iter().any(|i| {
            let covers = |c: &str| i.columns.iter().flatten().any(|of| of.eq_ignore_ascii_case(c));
            i.unique && i.columns.len() == columns.len() && columns.iter().all(|c| covers(c))
        })
    }

    /// Whether some index begins with this column, or the column is the rowid.
    pub(super) fn is_indexed(&self, column: &Column) -> bool {
        let begins = |i: &Index| matches!(i.columns.first(), Some(Some(of)) if *of == column.name);
        self.gives_out(column) || self.indices.iter().any(begins)
    }
}

/// The names of all tables and views, for a message.
pub(super) fn table_names(connection: &Connection) -> Result<Vec<String>, Trouble> {
    let sql = "select name from pragma_table_list
               where schema = 'main' and type in ('table', 'view', 'virtual') and name not like 'sqlite\\_%' escape '\\'
               order by name";
    Ok(connection.prepare(sql)?.query_map([], |r| r.get(0))?.collect::<rusqlite::Result<_>>()?)
}

/// The names of the triggers of `table` that fire on inserts. SQLite's catalogue has only their text; the first of three
/// reserved words in it says on what they fire.
pub(super) fn insert_triggers(connection: &Connection, table: &str) -> Result<Vec<String>, Trouble> {
    let sql =
        "select name, sql from sqlite_schema where type = 'trigger' and tbl_name = ?1 collate nocase order by name";
    let all: Vec<(String, String)> = connection
        .prepare(sql)?
        .query_map([table], |r| Ok((r.get(0)?, r.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let on_insert = |sql: &str| {
        let first = words(sql).into_iter().find(|w| ["insert", "update", "delete"].contains(&w.as_str()));
        first.is_some_and(|w| w == "insert")
    };
    Ok(all.into_iter().filter(|(_, sql)| on_insert(sql)).map(|(name, _)| name).collect())
}

/// The bare words of a statement, in lower case: without what stands in quotes and comments.
fn words(sql: &str) -> Vec<String> {
    let (mut words, mut rest) = (Vec::new(), sql);
    let behind =
        |text: &'_ str, end: &str, from: usize| text[from..].find(end).map_or(text.len(), |at| from + at + end.len());
    while let Some(first) = rest.chars().next() {
        let len = match first {
            '\'' | '"' | '`' => behind(rest, first.encode_utf8(&mut [0; 4]), 1),
            '[' => behind(rest, "]", 1),
            _ if rest.starts_with("--") => behind(rest, "\n", 2),
            _ if rest.starts_with("/*") => behind(rest, "*/", 2),
            c if c.is_alphanumeric() || c == '_' => {
                let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_' && c != '$').unwrap_or(rest.len());
                words.push(rest[..end].to_ascii_lowercase());
                end
            }
            c => c.len_utf8(),
        };
        rest = &rest[len..];
    }
    words
}

fn columns(connection: &Connection, table: &str) -> Result<Vec<Column>, Trouble> {
    // hidden: 1 belongs to a virtual table, 2 and 3 are computed.
    let sql = "select name, type, \"notnull\", dflt_value is not null, pk, hidden >= 2 from pragma_table_xinfo(?1)
               where hidden <> 1";
    let column = |r: &rusqlite::Row<'_>| {
        let (name, declared, not_null, has_default) = (r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?);
        Ok(Column { name, declared, not_null, has_default, key: r.get(4)?, computed: r.get(5)? })
    };
    Ok(connection.prepare(sql)?.query_map([table], column)?.collect::<rusqlite::Result<_>>()?)
}

fn indices(connection: &Connection, table: &str) -> Result<Vec<Index>, Trouble> {
    let sql = "select name, \"unique\", origin = 'pk' from pragma_index_list(?1) where not partial";
    let listed: Vec<(String, bool, bool)> = connection
        .prepare(sql)?
        .query_map([table], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let mut indices = Vec::new();
    for (name, unique, primary) in listed {
        let sql = "select name from pragma_index_info(?1) order by seqno";
        let columns = connection.prepare(sql)?.query_map([name], |r| r.get(0))?.collect::<rusqlite::Result<_>>()?;
        indices.push(Index { unique, primary, columns });
    }
    Ok(indices)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared(declared: &str) -> Column {
        Column {
            name: "C".into(),
            declared: declared.into(),
            not_null: false,
            has_default: false,
            key: 0,
            computed: false,
        }
    }

    #[test]
    fn a_declared_width_counts_only_for_texts() {
        for (ty, width) in [
            ("VARCHAR(80)", Some(80)),
            ("nchar( 55 )", Some(55)),
            ("VARCHAR2(80 CHAR)", Some(80)),
            ("TEXT", None),
            ("DECIMAL(10,2)", None),
            ("VARCHAR(max)", None),
        ] {
            assert_eq!(declared(ty).width(), width, "{ty}");
        }
    }

    #[test]
    fn the_affinity_of_a_column_follows_sqlite() {
        for (ty, affinity) in [
            ("BIGINT", Affinity::Integer),
            ("CHARINT", Affinity::Integer),
            ("varchar(3)", Affinity::Text),
            ("", Affinity::Blob),
            ("BLOB", Affinity::Blob),
            ("DOUBLE PRECISION", Affinity::Real),
            ("DECIMAL(10,0)", Affinity::Numeric),
            ("STRING", Affinity::Numeric),
        ] {
            assert_eq!(declared(ty).affinity(), affinity, "{ty}");
        }
    }
}
