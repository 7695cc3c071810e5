//! A stand-in for what the adapter for SQLite says of a database, which is written elsewhere and takes its place.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use landbridge_flow::StoreError;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::lane::{FLAGS, FileMark};
use super::schema::{Affinity, Table, table_names};
use super::{session, statements};
use crate::catalog::{Catalog, ColumnInfo, ColumnKind, Reference, TableInfo, Vendor};
use crate::mapping::TableName;

/// What the database says of its tables.
///
/// # Errors
/// Where it does not answer.
pub fn catalog(path: &Path) -> Result<Catalog, StoreError> {
    let file = FileMark::of(path)?;
    let broken = |e: rusqlite::Error| StoreError::Broken(format!("{}: {e}", path.display()));
    let connection = session::connect(file.path(), FLAGS, Duration::from_secs(5)).map_err(|e| e.translate(path))?;
    let mut catalog = Catalog { vendor: Vendor::Sqlite, ..Catalog::default() };
    for name in table_names(&connection).map_err(|e| e.translate(path))? {
        let Some(table) = Table::find(&connection, &name).map_err(|e| e.translate(path))? else { continue };
        let mut unique = Vec::new();
        let mut keys = connection
            .prepare("select name from pragma_index_list(?1) where \"unique\" and not partial")
            .map_err(broken)?;
        let keys: Vec<String> =
            keys.query_map([&name], |r| r.get(0)).and_then(|found| found.collect()).map_err(broken)?;
        for key in keys {
            let mut columns = connection.prepare("select name from pragma_index_info(?1)").map_err(broken)?;
            let columns: Vec<Option<String>> =
                columns.query_map([&key], |r| r.get(0)).and_then(|found| found.collect()).map_err(broken)?;
            unique.extend(columns.into_iter().collect::<Option<Vec<String>>>());
        }
        let mut columns = Vec::new();
        for column in &table.columns {
            let generated = table.gives_out(column);
            if generated {
                unique.push(vec![column.name.clone()]);
            }
            let declared = column.declared.to_ascii_lowercase();
            columns.push(ColumnInfo {
                name: column.name.clone(),
                sql_type: column.declared.clone(),
                kind: match column.affinity() {
                    _ if declared.contains("bool") => ColumnKind::Boolean,
                    _ if declared.contains("date") || declared.contains("time") => ColumnKind::Time,
                    Affinity::Integer => ColumnKind::Integer,
                    Affinity::Text => ColumnKind::Text(column.width().map(|w| w as u64)),
                    Affinity::Real | Affinity::Numeric => ColumnKind::Number,
                    Affinity::Blob => ColumnKind::Other,
                },
                not_null: column.needs_value,
                has_default: !column.needs_value,
                is_generated_number: generated,
                is_computed: column.computed,
                ..ColumnInfo::default()
            });
        }
        let mut references = connection
            .prepare("select \"from\", \"table\", coalesce(\"to\", '') from pragma_foreign_key_list(?1)")
            .map_err(broken)?;
        let references = references
            .query_map([&name], |r| {
                let (table, to): (String, String) = (r.get(1)?, r.get(2)?);
                Ok(Reference { column: r.get(0)?, table: TableName::plain(table), to })
            })
            .and_then(|found| found.collect())
            .map_err(broken)?;
        catalog.tables.push(TableInfo {
            name: TableName::plain(&name),
            is_table: table.kind == "table",
            columns,
            unique,
            references,
            insert_triggers: Vec::new(),
            rows: None,
            rights: BTreeSet::new(),
        });
    }
    // A reference without a column means the other table's key.
    let keys: Vec<_> = catalog.tables.iter().map(|t| (t.name.clone(), t.unique.first().cloned())).collect();
    for reference in catalog.tables.iter_mut().flat_map(|t| &mut t.references).filter(|r| r.to.is_empty()) {
        let key = keys.iter().find(|(name, _)| name.name.eq_ignore_ascii_case(&reference.table.name));
        if let Some((_, Some(columns))) = key
            && let [column] = columns.as_slice()
        {
            reference.to.clone_from(column);
        }
    }
    Ok(catalog)
}

/// Some rows of a table.
///
/// # Errors
/// Where it does not answer.
pub fn sample(
    path: &Path,
    table: &TableName,
    columns: &[String],
    rows: usize,
) -> Result<Vec<Vec<Option<String>>>, StoreError> {
    let file = FileMark::of(path)?;
    let broken = |e: rusqlite::Error| StoreError::Broken(format!("{}: {e}", path.display()));
    let connection = session::connect(file.path(), FLAGS, Duration::from_secs(5)).map_err(|e| e.translate(path))?;
    let columns: Vec<String> =
        columns.iter().map(|c| format!("cast({} as text)", statements::column(&table.name, c))).collect();
    let sql = format!("select {} from {} limit {rows}", columns.join(", "), statements::quoted(&table.name));
    let mut statement = connection.prepare(&sql).map_err(broken)?;
    statement
        .query_map([], |r| (0..columns.len()).map(|i| r.get(i)).collect())
        .and_then(|found| found.collect())
        .map_err(broken)
}

/// Begins to write, writes what is there already, and takes it back. A transaction that only begins would be granted on a
/// file that cannot be written; this also makes the journal, which needs the folder. No trigger sees it.
///
/// # Errors
/// Why it cannot be written.
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
    attempt().map_err(|e: rusqlite::Error| {
        let said = format!("{}: {e}", path.display());
        match e.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Busy(said),
            Some(ErrorCode::DiskFull) => StoreError::Full(said),
            Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
                StoreError::ReadOnly(said)
            }
            _ => StoreError::Broken(said),
        }
    })
}
