//! What `init` and `check` ask of SQLite itself: which tables there are, a look at some of their rows, and whether the
//! file can be written. The bridge at work has no use for these.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use landbridge_flow::StoreError;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension};

use super::fault::Trouble;
use super::lane::{FLAGS, FileMark};
use super::schema::{Affinity, Column, Table, insert_triggers, table_names};
use super::{session, statements, values};
use crate::catalog::{Catalog, ColumnInfo, ColumnKind, Reference, TableInfo, Vendor};
use crate::mapping::TableName;

/// How long a locked database is waited for.
const BUSY: Duration = Duration::from_secs(5);

/// The tables and views of the database at `path`. SQLite knows no users: whoever can open the file may do everything.
///
/// # Errors
/// Where the file is missing, is no database, or does not answer.
pub fn catalog(path: &Path) -> Result<Catalog, StoreError> {
    let look = |connection: &Connection| {
        let mut tables = Vec::new();
        for name in table_names(connection)? {
            if let Some(table) = Table::find(connection, &name)? {
                tables.push(info(connection, &table)?);
            }
        }
        Ok(Catalog { user: None, is_superuser: true, vendor: Vendor::Sqlite, database: None, tables })
    };
    with(path, look)
}

/// These columns of the first `limit` rows of a table, in the form in which they would travel.
///
/// # Errors
/// As [`catalog`]; [`StoreError::Mapping`] where there is no such table or column.
pub fn sample(
    path: &Path,
    table: &TableName,
    columns: &[String],
    limit: usize,
) -> Result<Vec<Vec<Option<String>>>, StoreError> {
    with(path, |connection| {
        let found = Table::find(connection, &table.name)?;
        let missing = || StoreError::Mapping(format!("there is no table {table} with these columns"));
        let found = found.ok_or_else(missing)?;
        let known: Option<Vec<&Column>> = columns.iter().map(|c| found.column(c)).collect();
        let known = known.ok_or_else(missing)?;
        let named: Vec<String> = known.iter().map(|c| statements::column(&found.name, &c.name)).collect();
        let named = if named.is_empty() { "null".to_owned() } else { named.join(", ") };
        let sql = format!("select {named} from {} limit ?1", statements::quoted(&found.name));
        let mut statement = connection.prepare(&sql)?;
        let mut rows = statement.query([i64::try_from(limit).unwrap_or(i64::MAX)])?;
        let mut sampled = Vec::new();
        while let Some(row) = rows.next()? {
            let value = |(at, column): (usize, &&Column)| Ok(values::canonical(row.get_ref(at)?, column.keeps()));
            sampled.push(known.iter().enumerate().map(value).collect::<rusqlite::Result<_>>()?);
        }
        Ok(sampled)
    })
}

/// The rows of an administrator's query, each value in canonical form, on a connection that writes nothing.
///
/// # Errors
/// What SQLite says against the query.
pub fn query(path: &Path, sql: &str) -> Result<Vec<Vec<Option<String>>>, StoreError> {
    with(path, |connection| {
        connection.execute_batch("pragma query_only = on")?;
        let mut statement = connection.prepare(sql)?;
        let columns = statement.column_count();
        let mut rows = statement.query([])?;
        let mut all = Vec::new();
        while let Some(row) = rows.next()? {
            let value = |at| Ok(values::canonical(row.get_ref(at)?, values::Keeps::Anything));
            all.push((0..columns).map(value).collect::<rusqlite::Result<_>>()?);
        }
        Ok(all)
    })
}

/// Begins to write, writes what is there already, and takes it back. A transaction that only begins would be granted on a
/// file that cannot be written; this also makes the journal, which needs the folder. No trigger sees it.
///
/// # Errors
/// [`StoreError::ReadOnly`], or what else stands against writing.
pub fn writable(path: &Path, busy: Duration) -> Result<(), StoreError> {
    let attempt = || {
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        connection.busy_timeout(busy)?;
        connection.execute_batch("begin immediate")?;
        let version: i64 = connection.query_row("pragma user_version", [], |r| r.get(0))?;
        let written = connection.execute_batch(&format!("pragma user_version = {version}"));
        // Where the disk is full, SQLite has taken it back by itself. In any case closing does.
        let _ = connection.execute_batch("rollback");
        written
    };
    attempt().map_err(|e: rusqlite::Error| match e.sqlite_error_code() {
        Some(ErrorCode::CannotOpen) => StoreError::ReadOnly(format!("{}: {e}", path.display())),
        _ => Trouble::from(e).translate(path),
    })
}

fn with<T>(path: &Path, look: impl FnOnce(&Connection) -> Result<T, Trouble>) -> Result<T, StoreError> {
    let file = FileMark::of(path)?;
    let connected = session::connect(file.path(), FLAGS, BUSY);
    connected.and_then(|connection| look(&connection)).map_err(|e| e.translate(path))
}

fn info(connection: &Connection, table: &Table) -> Result<TableInfo, Trouble> {
    let is_table = table.kind != "view";
    let every = |rights: &[&str]| rights.iter().map(|r| (*r).to_owned()).collect::<BTreeSet<_>>();
    let column = |column: &Column| ColumnInfo {
        name: column.name.clone(),
        sql_type: column.declared.clone(),
        kind: kind(column),
        not_null: column.not_null || table.gives_out(column),
        has_default: column.has_default || table.gives_out(column),
        is_generated_number: table.gives_out(column),
        sequence: None,
        is_computed: column.computed,
        rights: every(&["select", "insert", "update"]),
    };
    let mut key: Vec<&Column> = table.columns.iter().filter(|c| c.key > 0).collect();
    key.sort_by_key(|c| c.key);
    let mut unique: Vec<Vec<String>> = Vec::new();
    unique.extend((!key.is_empty()).then(|| key.iter().map(|c| c.name.clone()).collect()));
    for index in table.indices.iter().filter(|i| i.unique && !i.primary) {
        unique.extend(index.columns.iter().cloned().collect::<Option<Vec<_>>>());
    }
    Ok(TableInfo {
        name: TableName::plain(&table.name),
        is_table,
        columns: table.columns.iter().map(column).collect(),
        unique,
        references: references(connection, &table.name)?,
        insert_triggers: insert_triggers(connection, &table.name)?,
        rows: rows(connection, &table.name)?,
        rights: every(&["delete", "drop", "alter", "trigger"]),
    })
}

/// Roughly what a column is for, by the words of its declared type.
fn kind(column: &Column) -> ColumnKind {
    let declared = column.declared.to_ascii_uppercase();
    let has = |words: &[&str]| words.iter().any(|w| declared.contains(w));
    match (column.keeps(), column.affinity()) {
        (values::Keeps::Booleans, _) => ColumnKind::Boolean,
        (values::Keeps::Bytes, _) => ColumnKind::Bytes,
        (values::Keeps::Timestamps, _) => ColumnKind::Time,
        (_, Affinity::Integer) => ColumnKind::Integer,
        (_, Affinity::Text) => ColumnKind::Text(column.width().map(|width| width as u64)),
        _ if has(&["DATE", "TIME"]) => ColumnKind::Time,
        (_, Affinity::Real) => ColumnKind::Number,
        (_, Affinity::Numeric) if has(&["NUM", "DEC"]) => ColumnKind::Number,
        (_, Affinity::Blob) if has(&["BLOB"]) => ColumnKind::Bytes,
        _ => ColumnKind::Other,
    }
}

/// A foreign key of one column; where it does not say which column it refers to, that is the other table's key.
fn references(connection: &Connection, table: &str) -> Result<Vec<Reference>, Trouble> {
    let sql =
        "select \"from\", \"table\", coalesce(\"to\", (select name from pragma_table_info(f.\"table\") where pk = 1))
               from pragma_foreign_key_list(?1) as f
               where not exists (select 1 from pragma_foreign_key_list(?1) as g where g.id = f.id and g.seq > 0)
               order by id desc";
    let mut statement = connection.prepare(sql)?;
    let row = |r: &rusqlite::Row<'_>| Ok((r.get(0)?, r.get::<_, String>(1)?, r.get::<_, Option<String>>(2)?));
    let all: Vec<(String, String, Option<String>)> =
        statement.query_map([table], row)?.collect::<rusqlite::Result<_>>()?;
    let reference = |(column, table, to): (String, String, Option<String>)| {
        Some(Reference { column, table: TableName::plain(table), to: to? })
    };
    Ok(all.into_iter().filter_map(reference).collect())
}

/// What the last `analyze` counted.
fn rows(connection: &Connection, table: &str) -> Result<Option<u64>, Trouble> {
    let known = "select 1 from sqlite_schema where name = 'sqlite_stat1'";
    if connection.query_row(known, [], |_| Ok(())).optional()?.is_none() {
        return Ok(None);
    }
    let sql = "select max(cast(stat as integer)) from sqlite_stat1 where tbl = ?1";
    let counted: Option<i64> = connection.query_row(sql, [table], |r| r.get(0))?;
    Ok(counted.and_then(|n| u64::try_from(n).ok()))
}
