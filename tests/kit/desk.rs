//! A desk: one site's database, configuration and key in a folder of its own, and its application at work.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior, params};

use super::command::{self, Ran};
use super::schema::Schema;

/// How long an application waits for a lock.
const BUSY: Duration = Duration::from_secs(60);
/// Pauses that suit a test; nothing else depends on them.
pub const QUICK: &str = "[pace]\ngather = \"20ms\"\npoll = \"20ms\"\nretry = [\"50ms\", \"500ms\"]\n";

/// What is in every value of `site` that must never be found in another site's files.
pub fn secret(site: &str) -> String {
    format!("SECRET-of-{site}")
}

/// One site.
#[derive(Debug, Clone)]
pub struct Desk {
    /// Its name.
    pub site: &'static str,
    /// Its application.
    pub schema: &'static Schema,
    /// Its folder.
    pub folder: PathBuf,
    /// Its database.
    pub database: PathBuf,
    /// Its configuration.
    pub config: PathBuf,
    /// Its key file.
    pub key: PathBuf,
}

/// A row of the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The problem.
    pub problem: String,
    /// The number.
    pub work: i64,
    /// The text.
    pub text: String,
    /// The shared column.
    pub author: Option<String>,
    /// Whether the conditions let it out.
    pub public: bool,
}

impl Desk {
    /// A new desk in a new folder below `folder`, with these problems. `network` is the end of its configuration:
    /// `[listen]`, peers, pauses.
    pub fn make(folder: &Path, site: &'static str, schema: &'static Schema, problems: &[&str], network: &str) -> Self {
        let folder = folder.join(format!("site-{site}"));
        std::fs::create_dir(&folder).unwrap();
        let (database, config) = (folder.join("desk.db"), folder.join("landbridge.toml"));
        let desk = Self { site, schema, database, config, key: folder.join("landbridge.key"), folder };
        let mut sql = Connection::open(&desk.database).unwrap();
        sql.execute_batch(schema.tables).unwrap();
        let txn = sql.transaction().unwrap();
        for problem in problems {
            execute(&txn, schema.make_problem, &[problem, &secret(site)]);
        }
        txn.commit().unwrap();
        let key = format!("landbridge-key-1 {}0\n", site.to_lowercase().repeat(51));
        private(&desk.key, &key);
        desk.configure(network);
        desk
    }

    /// Writes the configuration, with `network` as its end.
    pub fn configure(&self, network: &str) {
        let Self { site, schema, .. } = self;
        let head = format!("site = \"{site}\"\nkey_file = \"landbridge.key\"\n[database]\nurl = \"sqlite:desk.db\"\n");
        private(&self.config, &format!("{head}{}{network}", schema.mapping));
    }

    /// Changes the configuration: every `from` becomes `to`.
    pub fn reconfigure(&self, from: &str, to: &str) {
        let text = std::fs::read_to_string(&self.config).unwrap();
        assert!(text.contains(from), "{text}");
        private(&self.config, &text.replace(from, to));
    }

    /// A connection as the application has it.
    pub fn sql(&self) -> Connection {
        let sql = Connection::open(&self.database).unwrap();
        sql.busy_timeout(BUSY).unwrap();
        sql.execute_batch("pragma foreign_keys = on; pragma synchronous = off").unwrap();
        sql
    }

    /// The application appends entries to `problem`, all in one transaction. Their numbers.
    pub fn append(&self, problem: &str, texts: &[&str]) -> Vec<i64> {
        let mut sql = self.sql();
        let txn = sql.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
        let numbers = texts.iter().map(|text| append(&txn, self, problem, text, true)).collect();
        txn.commit().unwrap();
        numbers
    }

    /// The application appends a row that no condition lets out. Its number.
    pub fn append_internal(&self, problem: &str, text: &str) -> i64 {
        let mut sql = self.sql();
        let txn = sql.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
        let number = append(&txn, self, problem, text, false);
        txn.commit().unwrap();
        number
    }

    /// The application appends an entry under a number of its own choice.
    pub fn append_as(&self, problem: &str, number: i64, text: &str) {
        let values = params![problem, number, text, "anna", true, secret(self.site)];
        assert_eq!(self.sql().execute(self.schema.append, values).unwrap(), 1);
    }

    /// The application makes a row shareable.
    pub fn publish(&self, problem: &str, number: i64) {
        assert_eq!(self.sql().execute(self.schema.publish, params![problem, number]).unwrap(), 1);
    }

    /// The application deletes a row.
    pub fn delete(&self, problem: &str, number: i64) {
        assert_eq!(self.sql().execute(self.schema.delete, params![problem, number]).unwrap(), 1);
    }

    /// The application changes the text of a row.
    pub fn edit(&self, problem: &str, number: i64, text: &str) {
        assert_eq!(self.sql().execute(self.schema.edit, params![problem, number, text]).unwrap(), 1);
    }

    /// A problem comes into being.
    pub fn make_problem(&self, problem: &str) {
        execute(&self.sql(), self.schema.make_problem, &[problem, &secret(self.site)]);
    }

    /// The database administrator at work.
    pub fn administer(&self, batch: &str) {
        let sql = self.sql();
        sql.execute_batch("pragma foreign_keys = off").unwrap();
        sql.execute_batch(batch).unwrap();
    }

    /// Every row of the history, from one snapshot.
    pub fn all(&self) -> Vec<Row> {
        rows(&self.sql(), self.schema.rows, &[])
    }

    /// The rows of one problem, from one snapshot.
    pub fn rows(&self, problem: &str) -> Vec<Row> {
        let select = format!("{WITH} as ({}) {SELECT} where problem = ?1", self.schema.rows);
        rows(&self.sql(), &select, &[problem])
    }

    /// How many texts of the history begin like this.
    pub fn count(&self, beginning: &str) -> usize {
        let count = format!(
            "{WITH} as ({}) select count(*) from history where substr(text, 1, length(?1)) = ?1",
            self.schema.rows
        );
        self.sql().query_row(&count, [beginning], |r| r.get::<_, isize>(0)).unwrap().unsigned_abs()
    }

    /// Number and text of each row of a problem, without the seals of markers: the tables of DESIGN §10.
    pub fn table(&self, problem: &str) -> Vec<(i64, String)> {
        self.rows(problem).into_iter().map(|row| (row.work, bare(&row.text).to_owned())).collect()
    }

    /// The texts of a problem's entries, without markers, in their order.
    pub fn entries(&self, problem: &str) -> Vec<String> {
        self.rows(problem).into_iter().map(|row| row.text).filter(|text| !is_marker(text)).collect()
    }

    /// Every byte that the database has on the disk, its journals included. Another process reads them: where this one
    /// closed the file, it would lose the locks that its own connections have on it.
    pub fn bytes(&self) -> Vec<u8> {
        let read = "for end in '' -wal -journal; do test ! -e \"$0$end\" || cat \"$0$end\" || exit 1; done";
        let read = Command::new("sh").args(["-c", read]).arg(&self.database).output().unwrap();
        assert!(read.status.success() && self.database.exists());
        read.stdout
    }

    /// `landbridge` with this site's configuration.
    pub fn run(&self, args: &[&str]) -> Ran {
        command::run(["--config", self.config.to_str().unwrap()].iter().chain(args))
    }

    /// `landbridge status --json`.
    pub fn status(&self) -> serde_json::Value {
        self.run(&["status", "--json"]).json()
    }

    /// How many entries of this site its first peer is owed.
    pub fn pending(&self) -> u64 {
        self.status()["peers"][0]["pending"].as_u64().unwrap()
    }
}

/// A row that an application appends.
#[derive(Debug)]
pub struct New<'a> {
    /// The problem.
    pub problem: &'a str,
    /// The text.
    pub text: &'a str,
    /// The shared column.
    pub author: Option<&'a str>,
    /// Whether the conditions let it out.
    pub public: bool,
    /// A value of a column that is not mapped.
    pub confidential: &'a str,
}

impl New<'_> {
    /// Appends it inside a transaction of the application. Its number.
    pub fn append(&self, sql: &Connection, schema: &Schema) -> rusqlite::Result<i64> {
        let number: Option<i64> = sql.query_row(schema.next, [self.problem], |r| r.get(0))?;
        let values = params![self.problem, number, self.text, self.author, self.public, self.confidential];
        sql.prepare_cached(schema.append)?.execute(values)?;
        Ok(number.unwrap_or_else(|| sql.last_insert_rowid()))
    }
}

fn append(sql: &Connection, desk: &Desk, problem: &str, text: &str, public: bool) -> i64 {
    let confidential = &secret(desk.site);
    New { problem, text, author: Some("anna"), public, confidential }.append(sql, desk.schema).unwrap()
}

const WITH: &str = "with history (problem, work, text, author, public)";
const SELECT: &str = "select problem, work, text, author, public from history";

fn rows(sql: &Connection, select: &str, values: &[&str]) -> Vec<Row> {
    let mut statement = sql.prepare(select).unwrap();
    let row = |r: &rusqlite::Row<'_>| {
        Ok(Row { problem: r.get(0)?, work: r.get(1)?, text: r.get(2)?, author: r.get(3)?, public: r.get(4)? })
    };
    statement.query_map(rusqlite::params_from_iter(values), row).unwrap().collect::<rusqlite::Result<_>>().unwrap()
}

/// A text without the seal at its end.
pub fn bare(text: &str) -> &str {
    text.rsplit_once("; seal ").map_or(text, |(body, _)| body)
}

/// Whether a text has the form of a marker.
pub fn is_marker(text: &str) -> bool {
    text.starts_with("copy in system ") && text.contains("; seal ")
}

fn execute(sql: &Connection, statement: &str, values: &[&str]) {
    let mut statement = sql.prepare_cached(statement).unwrap();
    // A statement that yields no rows is run to its end as well.
    let mut rows = statement.query(rusqlite::params_from_iter(values)).unwrap();
    while rows.next().unwrap().is_some() {}
}

/// Writes a file that only its owner may read.
pub fn private(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}
