//! What `check` asks of SQLite itself: whether the file can be written, and which columns are outside the mapping
//! (DESIGN §9). The bridge at work has no use for either.

use std::path::Path;
use std::time::Duration;

use landbridge_flow::StoreError;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::Report;
use crate::config::{Config, DatabaseUrl};

/// Begins to write, writes what is there already, and takes it back. A transaction that only begins would be granted on a
/// file that cannot be written; this also makes the journal, which needs the folder. No trigger sees it.
pub(super) fn writable(path: &Path, busy: Duration) -> Result<(), StoreError> {
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

/// Says it of the tables of the mapping.
pub(super) fn report(report: &mut Report, config: &Config) {
    let DatabaseUrl::Sqlite(path) = &config.database;
    report.note(
        "rights",
        "SQLite has no rights on columns: whoever can open the file can read and write everything in it",
    );
    let mapping = &config.mapping;
    let Some(history) = mapping.table() else { return };
    let mut tables = vec![(history.name.name.as_str(), vec![mapping.problem.as_str(), &mapping.work, &mapping.text])];
    if let Some(problems) = &mapping.problems {
        tables.push((&problems.name.name, vec![&problems.id]));
    }
    for (i, (table, mut named)) in tables.into_iter().enumerate() {
        let conditions: Vec<&str> = if i == 0 {
            named.extend(mapping.fields.values().map(String::as_str));
            named.extend(history.insert.keys().chain(history.marker.keys()).map(String::as_str));
            [&mapping.within, &mapping.share]
                .into_iter()
                .chain(mapping.peers.values())
                .flatten()
                .map(String::as_str)
                .collect()
        } else {
            mapping.problems.iter().filter_map(|p| p.share.as_deref()).collect()
        };
        let is_named = |column: &str| {
            named.iter().any(|n| n.eq_ignore_ascii_case(column)) || conditions.iter().any(|sql| mentions(sql, column))
        };
        // The database was inspected a moment ago; what cannot be listed now is not worth a fault.
        let Ok(columns) = columns(path, table) else { continue };
        let outside: Vec<_> = columns.into_iter().filter(|column| !is_named(column)).collect();
        if outside.is_empty() {
            report.ok("columns", format!("every column of {table} is in the mapping"));
        } else {
            report.ok("columns", format!("never read or written in {table}: {}", outside.join(", ")));
        }
    }
}

fn columns(path: &Path, table: &str) -> rusqlite::Result<Vec<String>> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let mut statement = connection.prepare("select name from pragma_table_xinfo(?1) where hidden <> 1")?;
    statement.query_map([table], |r| r.get(0))?.collect()
}

/// Whether the word `column` occurs in `sql`, in whatever case. Rather one column too few is called unread.
fn mentions(sql: &str, column: &str) -> bool {
    let (sql, column) = (sql.to_ascii_lowercase(), column.to_ascii_lowercase());
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
    sql.match_indices(&column).any(|(at, _)| {
        let before = sql[..at].chars().next_back();
        let behind = sql[at + column.len()..].chars().next();
        !before.is_some_and(is_word) && !behind.is_some_and(is_word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_is_mentioned_as_a_whole_word() {
        assert!(mentions("Visibility = 'public'", "VISIBILITY"));
        assert!(mentions("\"kind\" = 'work' and x(KIND)", "KIND"));
        assert!(!mentions("KINDNESS > 1 or my_kind = 2", "KIND"));
    }
}
