//! A desk: one site's database, configuration and key in a folder of its own, and its application at work. The database
//! is a file or one on a server; the words are the same.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use rusqlite::Connection;

use super::command::{self, Ran};
use super::host::{At, Host};
use super::schema::Schema;
use super::sql::{Done, Fault, Sql, Value, Vendor};
use super::wait::{LOOK, PATIENCE};

/// Pauses that suit a test; nothing else depends on them.
pub const QUICK: &str = "[pace]\ngather = \"20ms\"\npoll = \"20ms\"\nretry = [\"50ms\", \"500ms\"]\n";

/// What is in every value of `site` that must never be found in another site's files.
pub fn secret(site: &str) -> String {
    format!("SECRET-of-{site}")
}

/// One site.
#[derive(Clone)]
pub struct Desk {
    /// Its name.
    pub site: &'static str,
    /// Its application.
    pub schema: &'static Schema,
    /// Where its database is.
    pub host: Host,
    /// Its folder.
    pub folder: PathBuf,
    /// The URL of its database, for applications.
    pub url: String,
    /// Its database, where that is a file.
    pub database: PathBuf,
    /// Its configuration.
    pub config: PathBuf,
    /// Its key file.
    pub key: PathBuf,
    /// A connection to a server is used again.
    connection: Arc<Mutex<Option<Sql>>>,
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the desk of site {} at {}", self.site, self.url)
    }
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
    pub fn make(folder: &Path, site: &'static str, at: impl Into<At>, problems: &[&str], network: &str) -> Self {
        let At { schema, host } = at.into();
        let folder = folder.join(format!("site-{site}"));
        std::fs::create_dir(&folder).unwrap();
        let (name, url) = host.make_database(&folder);
        let (database, config) = (folder.join(name), folder.join("landbridge.toml"));
        let key = folder.join("landbridge.key");
        let desk = Self { site, schema, host, url, database, config, key, folder, connection: Arc::default() };
        desk.with(|sql| sql.batch(schema.tables));
        desk.transact(|sql| {
            for problem in problems {
                sql.execute(schema.make_problem, &[(*problem).into(), secret(site).as_str().into()])?;
            }
            Ok(())
        });
        let key = format!("landbridge-key-1 {}0\n", site.to_lowercase().repeat(51));
        private(&desk.key, &key);
        desk.configure(network);
        desk
    }

    /// Writes the configuration, with `network` as its end.
    pub fn configure(&self, network: &str) {
        let Self { site, schema, .. } = self;
        let url = if schema.vendor == Vendor::Sqlite { "sqlite:desk.db" } else { &self.url };
        let head = format!("site = \"{site}\"\nkey_file = \"landbridge.key\"\n[database]\nurl = \"{url}\"\n");
        private(&self.config, &format!("{head}{}{network}", schema.mapping));
    }

    /// A second bridge of the same site on the same database: its configuration, key file and cache are in a folder of
    /// their own.
    pub fn second_bridge(&self) -> Self {
        assert_ne!(self.schema.vendor, Vendor::Sqlite, "the configuration names the file from its own folder");
        let folder = self.folder.with_extension("second");
        std::fs::create_dir(&folder).unwrap();
        let (config, key) = (folder.join("landbridge.toml"), folder.join("landbridge.key"));
        for (from, to) in [(&self.config, &config), (&self.key, &key)] {
            private(to, &std::fs::read_to_string(from).unwrap());
        }
        Self { folder, config, key, ..self.clone() }
    }

    /// Changes the configuration: every `from` becomes `to`.
    pub fn reconfigure(&self, from: &str, to: &str) {
        let text = std::fs::read_to_string(&self.config).unwrap();
        assert!(text.contains(from), "{text}");
        private(&self.config, &text.replace(from, to));
    }

    /// A connection to a database in a file, as the application has it.
    pub fn sql(&self) -> Connection {
        assert_eq!(self.schema.vendor, Vendor::Sqlite);
        let sql = Connection::open(&self.database).unwrap();
        sql.busy_timeout(PATIENCE).unwrap();
        sql.execute_batch("pragma foreign_keys = on; pragma synchronous = off").unwrap();
        sql
    }

    /// A connection as the application has it. Waits for a server that is coming up.
    pub fn connect(&self) -> Sql {
        connect(&self.url)
    }

    /// Does something with a connection. On a server it is the last one where that still stands.
    pub fn with<T>(&self, act: impl FnOnce(&mut Sql) -> Done<T>) -> T {
        if self.schema.vendor == Vendor::Sqlite {
            return act(&mut self.connect()).unwrap();
        }
        // It is put back after a success only: whatever a failed one is in the middle of ends with it.
        let kept = self.connection.lock().unwrap().take();
        let mut sql = kept.and_then(|mut sql| sql.is_alive().then_some(sql)).unwrap_or_else(|| self.connect());
        let done = act(&mut sql).unwrap();
        *self.connection.lock().unwrap() = Some(sql);
        done
    }

    /// Does something in one transaction, and again where another one was in the way.
    pub fn transact<T>(&self, mut act: impl FnMut(&mut Sql) -> Done<T>) -> T {
        let begun = Instant::now();
        self.with(|sql| {
            loop {
                let done = sql.begin().and_then(|()| act(sql)).and_then(|done| sql.commit().map(|()| done));
                match done {
                    Err(Fault::Again(_)) if begun.elapsed() < PATIENCE => sql.rollback()?,
                    done => return done,
                }
            }
        })
    }

    /// The application appends entries to `problem`, all in one transaction. Their numbers.
    pub fn append(&self, problem: &str, texts: &[&str]) -> Vec<i64> {
        self.transact(|sql| texts.iter().map(|text| self.new_row(problem, text, true, sql)).collect())
    }

    /// The application appends a row that no condition lets out. Its number.
    pub fn append_internal(&self, problem: &str, text: &str) -> i64 {
        self.transact(|sql| self.new_row(problem, text, false, sql))
    }

    fn new_row(&self, problem: &str, text: &str, public: bool, sql: &mut Sql) -> Done<i64> {
        let confidential = &secret(self.site);
        New { problem, text, author: Some("anna"), public, confidential }.append(sql, self.schema)
    }

    /// The application appends an entry under a number of its own choice.
    pub fn append_as(&self, problem: &str, number: i64, text: &str) {
        let secret = secret(self.site);
        let values = [problem.into(), number.into(), text.into(), "anna".into(), true.into(), secret.as_str().into()];
        self.one_row(self.schema.append, &values);
    }

    /// The application makes a row shareable.
    pub fn publish(&self, problem: &str, number: i64) {
        self.one_row(self.schema.publish, &[problem.into(), number.into()]);
    }

    /// The application deletes a row.
    pub fn delete(&self, problem: &str, number: i64) {
        self.one_row(self.schema.delete, &[problem.into(), number.into()]);
    }

    /// The application changes the text of a row.
    pub fn edit(&self, problem: &str, number: i64, text: &str) {
        self.one_row(self.schema.edit, &[problem.into(), number.into(), text.into()]);
    }

    fn one_row(&self, statement: &str, values: &[Value]) {
        assert_eq!(self.transact(|sql| sql.execute(statement, values)), 1);
    }

    /// A problem comes into being.
    pub fn make_problem(&self, problem: &str) {
        self.transact(|sql| {
            sql.execute(self.schema.make_problem, &[problem.into(), secret(self.site).as_str().into()])
        });
    }

    /// The database administrator at work.
    pub fn administer(&self, batch: &str) {
        self.with(|sql| {
            if sql.vendor() == Vendor::Sqlite {
                sql.batch("pragma foreign_keys = off")?;
            }
            sql.batch(batch)
        });
    }

    /// A query of the administrator.
    pub fn query(&self, select: &str) -> Vec<Vec<Option<String>>> {
        let rows = self.with(|sql| sql.query(select, &[]));
        rows.into_iter().map(|row| row.into_iter().map(Value::text).collect()).collect()
    }

    /// Every row of the history, from one snapshot.
    pub fn all(&self) -> Vec<Row> {
        self.select(self.schema.rows, &[])
    }

    /// The rows of one problem, from one snapshot.
    pub fn rows(&self, problem: &str) -> Vec<Row> {
        let select = format!("{WITH} as ({}) {SELECT} where problem = ?1 order by work", self.schema.rows);
        self.select(&select, &[problem.into()])
    }

    fn select(&self, select: &str, values: &[Value]) -> Vec<Row> {
        self.with(|sql| sql.query(select, values)).into_iter().map(Row::of).collect()
    }

    /// How many texts of the history begin like this.
    pub fn count(&self, beginning: &str) -> usize {
        let rows = self.schema.rows;
        let count = format!("{WITH} as ({rows}) select count(*) from history where substr(text, 1, ?2) = ?1");
        let values = [beginning.into(), i64::try_from(beginning.chars().count()).unwrap().into()];
        usize::try_from(self.with(|sql| sql.query(&count, &values))[0][0].int()).unwrap()
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
    /// closed the file, it would lose the locks that its own connections have on it. Of a database on a server, every
    /// value of every table.
    pub fn bytes(&self) -> Vec<u8> {
        if self.schema.vendor != Vendor::Sqlite {
            return self.with(every_value);
        }
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
    pub fn append(&self, sql: &mut Sql, schema: &Schema) -> Done<i64> {
        let next = sql.query(schema.next, &[self.problem.into()])?;
        let given = next[0][0].clone();
        let values = [
            self.problem.into(),
            given.clone(),
            self.text.into(),
            self.author.into(),
            self.public.into(),
            self.confidential.into(),
        ];
        let number = sql.insert(schema.append, &values)?;
        Ok(if given == Value::Null { number } else { given.int() })
    }
}

impl Row {
    fn of(row: Vec<Value>) -> Self {
        let [problem, work, text, author, public] = <[Value; 5]>::try_from(row).unwrap();
        let public = public == Value::Int(1);
        Self {
            problem: problem.text().unwrap(),
            work: work.int(),
            text: text.text().unwrap(),
            author: author.text(),
            public,
        }
    }
}

const WITH: &str = "with history (problem, work, text, author, public)";
const SELECT: &str = "select problem, work, text, author, public from history";

/// Connects, and waits for a server that is coming up.
pub fn connect(url: &str) -> Sql {
    let begun = Instant::now();
    loop {
        match Sql::connect(url) {
            Err(Fault::Lost(_)) if begun.elapsed() < PATIENCE => std::thread::sleep(LOOK),
            connected => return connected.unwrap(),
        }
    }
}

/// Every value of every table of a database on a server.
fn every_value(sql: &mut Sql) -> Done<Vec<u8>> {
    let (here, quote) = match sql.vendor() {
        Vendor::Postgres => ("table_schema = 'public'", '"'),
        _ => ("table_schema = database()", '`'),
    };
    let columns = format!("select table_name, column_name from information_schema.columns where {here}");
    let mut bytes = Vec::new();
    for names in sql.query(&columns, &[])? {
        let [table, column] =
            [&names[0], &names[1]].map(|name| format!("{quote}{}{quote}", name.clone().text().unwrap()));
        for row in sql.query(&format!("select concat({column}, '') from {table}"), &[])? {
            bytes.extend(row[0].clone().text().unwrap_or_default().into_bytes());
            bytes.push(b'\n');
        }
    }
    Ok(bytes)
}

/// A text without the seal at its end.
pub fn bare(text: &str) -> &str {
    text.rsplit_once("; seal ").map_or(text, |(body, _)| body)
}

/// Whether a text has the form of a marker.
pub fn is_marker(text: &str) -> bool {
    text.starts_with("copy in system ") && text.contains("; seal ")
}

/// Writes a file that only its owner may read.
pub fn private(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}
