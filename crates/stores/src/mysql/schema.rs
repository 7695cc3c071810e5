//! What the server's own catalogue says of a table: its engine, its columns and their types, its indices. A user with
//! rights on some columns sees only those there; whether another one is missing or only hidden, `inspect` finds out.

use mysql_async::Value;

use super::fault::Trouble;
use super::pool::Session;
use super::values::{self, IdClass};
use crate::mapping::TableName;

/// A table or a view.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Table {
    /// The database that it is in.
    pub(super) database: String,
    /// Its name.
    pub(super) name: String,
    /// Whether it is a view.
    pub(super) is_view: bool,
    /// The engine; empty for a view.
    pub(super) engine: String,
    /// Whether the engine has transactions.
    pub(super) has_transactions: bool,
    /// About how many rows it has.
    pub(super) rows: Option<u64>,
    /// Whether it is partitioned.
    pub(super) is_partitioned: bool,
    /// The columns that the user can see, in their order.
    pub(super) columns: Vec<ColumnInfo>,
    /// Its indices, the primary key among them.
    pub(super) indices: Vec<Index>,
    /// Its triggers on inserts, as far as the user can see them.
    pub(super) insert_triggers: Vec<String>,
}

/// A column.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ColumnInfo {
    /// Its name.
    pub(super) name: String,
    /// The type without width: `varchar`.
    pub(super) data_type: String,
    /// The type as it is declared: `varchar(80)`.
    pub(super) column_type: String,
    /// The character set of a text.
    pub(super) charset: Option<String>,
    /// The collation of a text.
    pub(super) collation: Option<String>,
    /// The width in characters, of texts.
    pub(super) chars: Option<u64>,
    /// The digits behind the point, of numbers.
    pub(super) scale: u32,
    /// Whether null is allowed.
    pub(super) nullable: bool,
    /// Whether a value comes where none is given.
    pub(super) has_default: bool,
    /// Whether it has an auto-increment.
    pub(super) auto_increment: bool,
    /// Whether it is computed from others.
    pub(super) computed: bool,
    /// What the user may do to it, in lower case.
    pub(super) rights: Vec<String>,
}

/// An index.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Index {
    /// Its name.
    pub(super) name: String,
    /// Whether it is unique.
    pub(super) unique: bool,
    /// Its columns; nothing for an expression, or where only the beginning of the column is in it.
    pub(super) columns: Vec<Option<String>>,
}

impl Table {
    /// The column of this name. The server tells column names apart without regard to case.
    pub(super) fn column(&self, name: &str) -> Option<&ColumnInfo> {
        let alike = |c: &&ColumnInfo| c.name.to_lowercase() == name.to_lowercase();
        self.columns.iter().find(|c| c.name == name).or_else(|| self.columns.iter().find(alike))
    }

    /// The names of the unique indices on exactly these columns.
    pub(super) fn unique_on(&self, columns: [&str; 2]) -> Vec<String> {
        let on = |i: &&Index| {
            let covers = |c: &str| i.columns.iter().flatten().any(|of| of.eq_ignore_ascii_case(c));
            i.unique && i.columns.len() == columns.len() && columns.iter().all(|c| covers(c))
        };
        self.indices.iter().filter(on).map(|i| i.name.clone()).collect()
    }

    /// Whether some index begins with this column.
    pub(super) fn is_indexed(&self, column: &str) -> bool {
        let begins = |i: &Index| matches!(i.columns.first(), Some(Some(of)) if of.eq_ignore_ascii_case(column));
        self.indices.iter().any(begins)
    }
}

impl ColumnInfo {
    /// Whether the column keeps texts.
    pub(super) fn is_text(&self) -> bool {
        self.charset.is_some() && !matches!(self.data_type.as_str(), "enum" | "set" | "json")
    }

    /// Whether the column keeps bytes.
    pub(super) fn is_bytes(&self) -> bool {
        self.is_blob() || matches!(self.data_type.as_str(), "binary" | "varbinary")
    }

    /// Whether the column keeps bytes of any length.
    pub(super) fn is_blob(&self) -> bool {
        self.data_type.ends_with("blob")
    }

    /// Whether the column is what the server calls a boolean.
    pub(super) fn is_boolean(&self) -> bool {
        self.column_type.to_ascii_lowercase().starts_with("tinyint(1)")
    }

    /// Whether the column keeps whole numbers.
    pub(super) fn is_integer(&self) -> bool {
        matches!(self.data_type.as_str(), "tinyint" | "smallint" | "mediumint" | "int" | "bigint")
            || self.data_type == "decimal" && self.scale == 0
    }

    /// How many characters fit for sure: `text` counts bytes, and a character has up to four.
    pub(super) fn chars_max(&self) -> Option<usize> {
        let bytes_max = match self.data_type.as_str() {
            "char" | "varchar" => return self.chars.and_then(|n| usize::try_from(n).ok()),
            "tinytext" | "tinyblob" => 255,
            "text" | "blob" => 65_535,
            "mediumtext" | "mediumblob" => 16_777_215,
            "binary" | "varbinary" => self.chars.and_then(|n| usize::try_from(n).ok())?,
            _ => return None,
        };
        let bytes_a_char = match self.charset.as_deref() {
            Some("utf8mb3" | "utf8") => 3,
            Some("latin1" | "ascii") => 1,
            _ => 4,
        };
        Some(bytes_max / bytes_a_char)
    }

    /// How the column keeps problem ids; nothing where it keeps none that are bridged.
    pub(super) fn id_class(&self) -> Option<IdClass> {
        match self.data_type.as_str() {
            "uuid" => Some(IdClass::Uuid),
            "decimal" => Some(IdClass::Decimal(self.scale)),
            _ if self.is_integer() => Some(IdClass::Integer),
            _ if self.is_text() || self.data_type == "enum" => Some(match (&self.charset, &self.collation) {
                (Some(charset), Some(collation))
                    if is_word(charset) && is_word(collation) && !charset.starts_with("utf8") =>
                {
                    IdClass::Narrow(charset.clone(), collation.clone())
                }
                _ => IdClass::Text,
            }),
            _ => None,
        }
    }
}

/// The table of this name; nothing where there is none that the user can see.
pub(super) async fn find(session: &mut Session, name: &TableName, database: &str) -> Result<Option<Table>, Trouble> {
    let wanted = name.schema.as_deref().unwrap_or(database);
    Ok(load(session, Some((wanted, &name.name))).await?.into_iter().next())
}

/// One table, or all that the user can see.
pub(super) async fn load(session: &mut Session, one: Option<(&str, &str)>) -> Result<Vec<Table>, Trouble> {
    let (which, bound): (_, Vec<Value>) = match one {
        Some((schema, table)) => (
            "x.table_schema = ? and x.table_name = ?",
            vec![Value::Bytes(schema.as_bytes().to_vec()), Value::Bytes(table.as_bytes().to_vec())],
        ),
        None => ("x.table_schema not in ('mysql', 'information_schema', 'performance_schema', 'sys')", Vec::new()),
    };
    let tables = format!(
        "select x.table_schema, x.table_name, x.table_type, x.engine, e.transactions, x.table_rows, x.create_options\n\
         from information_schema.tables x\nleft join information_schema.engines e on e.engine = x.engine\n\
         where {which}\norder by x.table_schema, x.table_name"
    );
    let mut found = Vec::new();
    for r in session.ask(&tables, bound.clone()).await?.rows {
        found.push(Table {
            database: said(&r, 0),
            name: said(&r, 1),
            is_view: said(&r, 2).to_ascii_uppercase().contains("VIEW"),
            engine: said(&r, 3),
            has_transactions: said(&r, 4).eq_ignore_ascii_case("yes"),
            rows: r.get(5).and_then(values::number).and_then(|n| u64::try_from(n).ok()),
            is_partitioned: said(&r, 6).contains("partitioned"),
            ..Table::default()
        });
    }
    let columns = format!(
        "select x.table_schema, x.table_name, x.column_name, x.data_type, x.column_type, x.character_set_name,\n       \
         x.collation_name, x.character_maximum_length, x.numeric_scale, x.is_nullable, x.column_default, x.extra,\n       \
         x.generation_expression, x.privileges\nfrom information_schema.columns x\nwhere {which}\n\
         order by x.table_schema, x.table_name, x.ordinal_position"
    );
    for r in session.ask(&columns, bound.clone()).await?.rows {
        let (charset, collation, extra) = (said(&r, 5), said(&r, 6), said(&r, 11).to_ascii_lowercase());
        let (nullable, auto_increment) = (said(&r, 9) == "YES", extra.contains("auto_increment"));
        let column = ColumnInfo {
            name: said(&r, 2),
            data_type: said(&r, 3).to_ascii_lowercase(),
            column_type: said(&r, 4),
            charset: (!charset.is_empty()).then_some(charset),
            collation: (!collation.is_empty()).then_some(collation),
            chars: r.get(7).and_then(values::number).and_then(|n| u64::try_from(n).ok()),
            scale: r.get(8).and_then(values::number).and_then(|n| u32::try_from(n).ok()).unwrap_or(0),
            nullable,
            has_default: nullable || auto_increment || !matches!(r.get(10), Some(Value::NULL) | None),
            auto_increment,
            computed: !said(&r, 12).is_empty(),
            rights: said(&r, 13).split(',').map(|p| p.trim().to_ascii_lowercase()).filter(|p| !p.is_empty()).collect(),
        };
        with(&mut found, &r, |table| table.columns.push(column));
    }
    let indices = format!(
        "select x.table_schema, x.table_name, x.index_name, x.non_unique, x.column_name, x.sub_part\n\
         from information_schema.statistics x\nwhere {which}\n\
         order by x.table_schema, x.table_name, x.index_name, x.seq_in_index"
    );
    for r in session.ask(&indices, bound.clone()).await?.rows {
        let name = said(&r, 2);
        let whole = matches!(r.get(5), Some(Value::NULL) | None);
        let column = Some(said(&r, 4)).filter(|c| whole && !c.is_empty());
        let unique = r.get(3).and_then(values::number) == Some(0);
        with(&mut found, &r, |table| match table.indices.last_mut() {
            Some(index) if index.name == name => index.columns.push(column),
            _ => table.indices.push(Index { name, unique, columns: vec![column] }),
        });
    }
    let triggers = format!(
        "select x.event_object_schema, x.event_object_table, x.trigger_name\nfrom information_schema.triggers x\n\
         where {} and x.event_manipulation = 'INSERT'\norder by 1, 2, 3",
        which.replace("x.table_schema", "x.event_object_schema").replace("x.table_name", "x.event_object_table")
    );
    for r in session.ask(&triggers, bound).await?.rows {
        let name = said(&r, 2);
        with(&mut found, &r, |table| table.insert_triggers.push(name));
    }
    Ok(found)
}

/// A value of the catalogue as text; empty where it is null.
pub(super) fn said(row: &[Value], at: usize) -> String {
    row.get(at).and_then(values::text).unwrap_or_default()
}

/// Does `what` to the table that a row of the catalogue speaks of in its first two columns.
fn with(tables: &mut [Table], row: &[Value], what: impl FnOnce(&mut Table)) {
    let (database, name) = (said(row, 0), said(row, 1));
    if let Some(table) = tables.iter_mut().find(|t| t.database == database && t.name == name) {
        what(table);
    }
}

/// The names of the tables of a database that the user can see, for a message.
pub(super) async fn table_names(session: &mut Session, database: &str) -> Result<Vec<String>, Trouble> {
    let sql = "select table_name from information_schema.tables where table_schema = ? order by table_name";
    let answer = session.ask(sql, vec![Value::Bytes(database.as_bytes().to_vec())]).await?;
    Ok(answer.rows.iter().map(|r| said(r, 0)).collect())
}

/// Whether a name of the catalogue can stand in a statement as it is.
pub(super) fn is_word(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}
