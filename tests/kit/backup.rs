//! The history of a desk put back to what it was some time ago, as a database administrator does it after an accident: what
//! was written since is gone, and the numbers are given out again.

use std::sync::atomic::{AtomicU32, Ordering};

use super::desk::Desk;
use super::sql::{Value, Vendor};

/// What a desk's history had.
#[derive(Debug)]
pub struct Backup {
    table: String,
    /// The last number that the database gave out, where it says so.
    last: Option<i64>,
}

/// The table of the history, and whether the database numbers it.
fn history(desk: &Desk) -> (&'static str, bool) {
    match (desk.schema.name, desk.schema.vendor) {
        ("helpdesk", Vendor::Postgres) => ("\"WORK_HISTORY\"", false),
        ("helpdesk", _) => ("WORK_HISTORY", false),
        ("comments", _) => ("comments", true),
        (other, vendor) => panic!("nobody backs up {other} on {vendor:?}"),
    }
}

impl Backup {
    /// A copy of the history, from one snapshot.
    pub fn of(desk: &Desk) -> Self {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let (history, generated) = history(desk);
        let table = format!("backup_{}", MADE.fetch_add(1, Ordering::Relaxed));
        let last = match desk.schema.vendor {
            Vendor::Sqlite if generated => Some("select seq from sqlite_sequence where name = 'comments'"),
            Vendor::Postgres if generated => Some("select last_value from comments_id_seq"),
            _ => None,
        };
        let last = last.and_then(|select| desk.with(|sql| sql.query(select, &[])).first().map(|row| row[0].int()));
        desk.with(|sql| sql.batch(&format!("create table {table} as select * from {history}")));
        Self { table, last }
    }

    /// Puts it back.
    pub fn restore(&self, desk: &Desk) {
        let ((history, _), table) = (history(desk), &self.table);
        let overriding = if desk.schema.vendor == Vendor::Postgres { "overriding system value" } else { "" };
        desk.transact(|sql| {
            sql.execute(&format!("delete from {history}"), &[])?;
            sql.execute(&format!("insert into {history} {overriding} select * from {table}"), &[])
        });
        let set = match (desk.schema.vendor, self.last) {
            (Vendor::Sqlite, Some(last)) => {
                format!("update sqlite_sequence set seq = {last} where name = 'comments'")
            }
            (Vendor::Postgres, Some(last)) => format!("select setval('comments_id_seq', {last})"),
            (Vendor::MariaDb, _) if desk.schema.name == "comments" => {
                "alter table comments auto_increment = 1".to_owned()
            }
            _ => return,
        };
        desk.with(|sql| sql.batch(&set));
    }
}

/// Deletes every row of a problem's history, markers too.
pub fn purge(desk: &Desk, problem: &str) {
    let (history, _) = history(desk);
    let column = if history == "comments" { "issue" } else { "problem_id" };
    let delete = format!("delete from {history} where {column} = ?1");
    desk.transact(|sql| sql.execute(&delete, &[Value::from(problem)]));
}
