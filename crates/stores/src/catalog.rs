//! What a database says of its own tables and of what its user may do, in one form for all vendors: `init` proposes a
//! mapping from it, `grants` and `check` compare it with one.

use std::collections::BTreeSet;

use crate::mapping::TableName;

/// The tables that the database user can see, without those of the database system itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Catalog {
    /// As whom the bridge is connected; nothing where the database knows no users.
    pub user: Option<String>,
    /// Whether that user may do anything anyway.
    pub is_superuser: bool,
    /// Which vendor's SQL is spoken.
    pub vendor: Vendor,
    /// The database, where it has a name in SQL.
    pub database: Option<String>,
    /// The tables and views, in the order of their names.
    pub tables: Vec<TableInfo>,
}

/// Which vendor's SQL a database speaks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Vendor {
    /// SQLite.
    #[default]
    Sqlite,
    /// PostgreSQL.
    Postgres,
    /// MySQL and MariaDB.
    Mysql,
}

/// A table or a view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableInfo {
    /// Its name. The schema is there where the database's own search would not find the table.
    pub name: TableName,
    /// Whether rows are kept in it: no view.
    pub is_table: bool,
    /// Its columns, in their order.
    pub columns: Vec<ColumnInfo>,
    /// Primary key and unique indices that hold for all rows: the columns of each.
    pub unique: Vec<Vec<String>>,
    /// Columns that refer to another table's.
    pub references: Vec<Reference>,
    /// The triggers that fire on inserts, by name.
    pub insert_triggers: Vec<String>,
    /// About how many rows it has, where the database can say so without counting.
    pub rows: Option<u64>,
    /// What the user may do to the table as a whole, beyond its columns: `delete`, `truncate`, `trigger`, `drop`, ...
    pub rights: BTreeSet<String>,
}

/// A column.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ColumnInfo {
    /// Its name.
    pub name: String,
    /// Its type as the vendor writes it.
    pub sql_type: String,
    /// What kind of values it has.
    pub kind: ColumnKind,
    /// Whether null is refused.
    pub not_null: bool,
    /// Whether a value comes where none is given: a default, an identity, an auto-increment.
    pub has_default: bool,
    /// Whether the database gives out ascending numbers in it.
    pub is_generated_number: bool,
    /// The sequence behind that, where using it is a right of its own (PostgreSQL).
    pub sequence: Option<TableName>,
    /// Whether it is computed from other columns.
    pub is_computed: bool,
    /// What the user may do to it: `select`, `insert`, `update`.
    pub rights: BTreeSet<String>,
}

/// Roughly what kind of values a column has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ColumnKind {
    /// Whole numbers.
    Integer,
    /// Other numbers.
    Number,
    /// Texts of up to so many characters; nothing where there is no limit.
    Text(Option<u64>),
    /// True and false.
    Boolean,
    /// Dates and times.
    Time,
    /// Bytes.
    Bytes,
    /// UUID, JSON, enumerations and everything else.
    #[default]
    Other,
}

/// A column that refers to another table's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// The column.
    pub column: String,
    /// The other table.
    pub table: TableName,
    /// The other table's column.
    pub to: String,
}

impl Catalog {
    /// The table of this name, as the database finds it: names are compared exactly first, then without case.
    pub fn table(&self, name: &TableName) -> Option<&TableInfo> {
        let same = |t: &&TableInfo| t.name == *name;
        let alike = |t: &&TableInfo| {
            let schema = (t.name.schema.as_deref(), name.schema.as_deref());
            let schema = matches!(schema, (Some(a), Some(b)) if a.eq_ignore_ascii_case(b)) || schema == (None, None);
            schema && t.name.name.eq_ignore_ascii_case(&name.name)
        };
        self.tables.iter().find(same).or_else(|| self.tables.iter().find(alike))
    }
}

impl TableInfo {
    /// The column of this name; exactly first, then without case.
    pub fn column(&self, name: &str) -> Option<&ColumnInfo> {
        let alike = || self.columns.iter().find(|c| c.name.eq_ignore_ascii_case(name));
        self.columns.iter().find(|c| c.name == name).or_else(alike)
    }
}
