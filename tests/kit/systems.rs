//! Real ticket systems: their schema made by their own code in a database server of the kit, seeded by their own code, and
//! read back through what they themselves show (`tests/systems`). Which SQL a bridge uses on them is not decided here.
//!
//! A seeded database is made once per machine and copied for each test. The system runs beside it as one process that
//! answers questions until the test ends.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use super::folder::Folder;
use super::server::{MariaDb, Postgres, made_once, missing};

/// Set to `1`, tests of real systems are skipped even where nothing else may be.
pub const WITHOUT: &str = "LANDBRIDGE_WITHOUT_SYSTEMS";
/// The status with which a script says that its system is not installed.
const ABSENT: i32 = 3;

/// Which system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Redmine 5.
    Redmine,
    /// Request Tracker 5.
    Rt,
    /// django-helpdesk 2.
    DjangoHelpdesk,
    /// Trac 1.6.
    Trac,
}

/// On which vendor's database it runs.
#[derive(Clone, Copy)]
pub enum On<'a> {
    /// In a database of this server.
    Postgres(&'a Postgres),
    /// In a database of this server.
    MariaDb(&'a MariaDb),
    /// In a file.
    Sqlite,
}

/// Says [`On::Sqlite`] where a server could stand.
#[derive(Debug, Clone, Copy)]
pub struct Sqlite;

impl<'a> From<&'a Postgres> for On<'a> {
    fn from(server: &'a Postgres) -> Self {
        Self::Postgres(server)
    }
}

impl<'a> From<&'a MariaDb> for On<'a> {
    fn from(server: &'a MariaDb) -> Self {
        Self::MariaDb(server)
    }
}

impl From<Sqlite> for On<'_> {
    fn from(_: Sqlite) -> Self {
        Self::Sqlite
    }
}

/// An entry as the system shows it. Changes without a text are not entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Its number: that of the mapping's `work`.
    pub work: i64,
    /// Its text.
    pub text: String,
    /// Whether the system shows it to outsiders.
    pub public: bool,
    /// The login of who wrote it.
    pub author: Option<String>,
}

/// One installation. It does not hold on to its server, which a test may kill and start again.
pub struct System {
    url: String,
    /// Write out the schema and the rows; none with SQLite, whose file can be read.
    dumps: Option<[Command; 2]>,
    folder: Folder,
    child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Kind {
    /// Its name: the folder in `tests/systems`, and the preset.
    pub fn name(self) -> &'static str {
        match self {
            Self::Redmine => "redmine",
            Self::Rt => "rt",
            Self::DjangoHelpdesk => "django-helpdesk",
            Self::Trac => "trac",
        }
    }

    fn scripts(self) -> PathBuf {
        scripts().join(self.name())
    }

    fn script(self, verb: &str) -> Command {
        let mut command = Command::new(self.scripts().join("run"));
        command.arg(verb).stdin(Stdio::null());
        command.env_remove("RUBYOPT").env_remove("PERL5OPT").env_remove("PYTHONPATH");
        command
    }
}

impl System {
    /// Redmine. None, and a line that says so, where it is not installed; so with the others.
    pub fn redmine<'a>(on: impl Into<On<'a>>) -> Option<Self> {
        Self::start(Kind::Redmine, on, "redmine")
    }

    /// Request Tracker.
    pub fn rt<'a>(on: impl Into<On<'a>>) -> Option<Self> {
        Self::start(Kind::Rt, on, "rt5")
    }

    /// django-helpdesk.
    pub fn django_helpdesk<'a>(on: impl Into<On<'a>>) -> Option<Self> {
        Self::start(Kind::DjangoHelpdesk, on, "helpdesk")
    }

    /// Trac.
    pub fn trac<'a>(on: impl Into<On<'a>>) -> Option<Self> {
        Self::start(Kind::Trac, on, "trac")
    }

    /// A system in a new database of this name.
    pub fn start<'a>(kind: Kind, on: impl Into<On<'a>>, database: &str) -> Option<Self> {
        let on = on.into();
        let version = kind.script("version").output().unwrap();
        let why = String::from_utf8_lossy(&version.stderr).trim().to_owned();
        if std::env::var(WITHOUT).as_deref() == Ok("1") {
            eprintln!("SKIPPED: {WITHOUT}=1: no test with {}", kind.name());
            return None;
        }
        if version.status.code() == Some(ABSENT) {
            return missing(kind.name(), why.trim_start_matches("apt-get install "));
        }
        let version = String::from_utf8(version.stdout).unwrap();
        let cache =
            made_once(&format!("{}-{:x}", version.trim(), hash(&[kind.scripts().join("run"), shared()])), |cache| {
                finish(kind.script("prepare").env("SYSTEM_CACHE", cache), kind);
                // A Python environment knows its own path.
                relocate(cache);
            });
        let seeded = format!("{}-{}-{:x}", version.trim(), on.version(), hash(&[kind.scripts(), shared()]));
        let seeded = made_once(&seeded, |making| install(kind, on, &cache, making));

        let folder = Folder::new(kind.name());
        let copied =
            Command::new("cp").args(["-a", "--reflink=auto"]).arg(seeded.join(".")).arg(folder.path()).status();
        assert!(copied.unwrap().success());
        if let Ok(dump) = std::fs::read_to_string(folder.path().join("dump.sql")) {
            on.create(database);
            on.sql(database, &dump);
        }
        let mut serve = kind.script("serve");
        surround(&mut serve, on, database, folder.path(), &cache);
        let log = std::fs::File::create(folder.path().join("serve.log")).unwrap();
        let mut child = serve.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let (questions, answers) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let (url, dumps) = (on.url(database, folder.path()), on.dumps(database));
        let mut system = Self { url, dumps, folder, child, questions, answers };
        assert_eq!(system.answer(), "ready");
        Some(system)
    }

    /// The URL of its database, for a bridge.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its process's number.
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// The entries of a ticket as the system itself shows them, in its order.
    pub fn read(&mut self, ticket: i64) -> Vec<Shown> {
        let shown = self.ask(&json!({"do": "read", "ticket": ticket}));
        let entry = |entry: &Value| Shown {
            work: entry["work"].as_i64().unwrap(),
            text: entry["text"].as_str().unwrap().into(),
            public: entry["public"].as_bool().unwrap(),
            author: entry["author"].as_str().map(Into::into),
        };
        shown.as_array().unwrap().iter().map(entry).collect()
    }

    /// Somebody (alice) writes an entry. Returns its number.
    pub fn add(&mut self, ticket: i64, text: &str, public: bool) -> i64 {
        self.ask(&json!({"do": "add", "ticket": ticket, "text": text, "public": public})).as_i64().unwrap()
    }

    /// Makes a confidential entry public, the way its people do.
    pub fn publish(&mut self, ticket: i64, work: i64) {
        self.ask(&json!({"do": "publish", "ticket": ticket, "work": work}));
    }

    /// A new ticket without entries (RT: with no text in its first). Returns its number.
    pub fn new_ticket(&mut self, subject: &str) -> i64 {
        self.ask(&json!({"do": "new_ticket", "subject": subject})).as_i64().unwrap()
    }

    /// The schema, to compare before and after.
    pub fn schema(&mut self) -> String {
        let dump = match &mut self.dumps {
            Some([schema, _]) => said(schema),
            None => {
                let sql = rusqlite::Connection::open(file(self.folder.path())).unwrap();
                sql.busy_timeout(super::wait::PATIENCE).unwrap();
                let mut all =
                    sql.prepare("select sql || ';' from sqlite_master where sql is not null order by name").unwrap();
                let lines: Result<Vec<String>, _> = all.query_map((), |row| row.get(0)).unwrap().collect();
                lines.unwrap().join("\n")
            }
        };
        // Rows are no schema, and neither is a number that is new with each dump.
        let lines = dump.lines().filter(|line| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict"));
        let plain = lines.map(|line| match line.find(" AUTO_INCREMENT=") {
            Some(at) => format!("{}{}", &line[..at], line[at + 16..].trim_start_matches(|c: char| c.is_ascii_digit())),
            None => line.to_owned(),
        });
        plain.collect::<Vec<_>>().join("\n")
    }

    /// Every row of every table.
    pub fn rows(&mut self) -> String {
        let Some([_, rows]) = &mut self.dumps else { return every_value(&file(self.folder.path())) };
        let done = rows.output().unwrap();
        assert!(done.status.success(), "{rows:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).into_owned()
    }

    /// When the ticket was last changed, as the system says it: seconds since 1970.
    pub fn changed(&mut self, ticket: i64) -> f64 {
        self.ask(&json!({"do": "changed", "ticket": ticket})).as_f64().unwrap()
    }

    /// Whether an entry of the ticket says this; quicker than [`System::read`], and without a look at the pages.
    pub fn has(&mut self, ticket: i64, text: &str) -> bool {
        self.ask(&json!({"do": "has", "ticket": ticket, "text": text})).as_bool().unwrap()
    }

    /// The ticket with this subject.
    pub fn find(&mut self, subject: &str) -> Option<i64> {
        self.ask(&json!({"do": "find", "subject": subject})).as_i64()
    }

    #[track_caller]
    fn ask(&mut self, question: &Value) -> Value {
        writeln!(self.questions, "{question}").unwrap();
        let answer = self.answer();
        assert!(answer.get("error").is_none(), "{question}: {answer}");
        answer
    }

    #[track_caller]
    fn answer(&mut self) -> Value {
        loop {
            let mut line = String::new();
            if self.answers.read_line(&mut line).unwrap() == 0 {
                let log = std::fs::read_to_string(self.folder.path().join("serve.log")).unwrap_or_default();
                panic!("the system has ended:\n{log}");
            }
            // Whatever else its libraries print is no answer.
            if let Some(answer) = line.strip_prefix("=> ") {
                return serde_json::from_str(answer).unwrap();
            }
        }
    }
}

impl Drop for System {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl On<'_> {
    fn version(self) -> String {
        match self {
            Self::Postgres(server) => server.version(),
            Self::MariaDb(server) => server.version(),
            Self::Sqlite => "sqlite".into(),
        }
    }

    fn url(self, database: &str, folder: &Path) -> String {
        match self {
            Self::Postgres(server) => server.url(database),
            Self::MariaDb(server) => server.url(database),
            Self::Sqlite => format!("sqlite:{}", file(folder).display()),
        }
    }

    fn dumps(self, database: &str) -> Option<[Command; 2]> {
        match self {
            Self::Postgres(server) => Some(["--schema-only", "--data-only"].map(|what| {
                let mut dump = Command::new(server.program("pg_dump"));
                dump.args([what, "--dbname", &server.url(database)]);
                dump
            })),
            Self::MariaDb(server) => {
                Some([["--no-data", "--routines"], ["--no-create-info", "--single-transaction"]].map(|what| {
                    let mut dump = server.client_program("mariadb-dump");
                    dump.args(what).args(["--skip-dump-date", database]);
                    dump
                }))
            }
            Self::Sqlite => None,
        }
    }

    fn create(self, database: &str) {
        match self {
            Self::Postgres(server) => drop(server.create_database(database)),
            Self::MariaDb(server) => drop(server.create_database(database)),
            Self::Sqlite => {}
        }
    }

    fn sql(self, database: &str, script: &str) {
        match self {
            Self::Postgres(server) => server.sql(database, script),
            Self::MariaDb(server) => server.sql(database, script),
            Self::Sqlite => {}
        }
    }
}

/// Where SQLite's file is in a system's folder.
fn file(folder: &Path) -> PathBuf {
    folder.join("desk.db")
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/systems").canonicalize().unwrap()
}

fn shared() -> PathBuf {
    scripts().join("shared.sh")
}

/// Installs and seeds into `making`, by way of a database that goes away again.
fn install(kind: Kind, on: On<'_>, cache: &Path, making: &Path) {
    const SEED: &str = "being_seeded";
    std::fs::create_dir(making).unwrap();
    on.create(SEED);
    let mut install = kind.script("install");
    surround(&mut install, on, SEED, making, cache);
    finish(&mut install, kind);
    let dump = match on {
        On::Postgres(server) => {
            let mut dump = Command::new(server.program("pg_dump"));
            said(dump.args(["--no-owner", "--no-privileges", "--dbname", &server.url(SEED)]))
        }
        On::MariaDb(server) => {
            said(server.client_program("mariadb-dump").args(["--hex-blob", "--routines", "--skip-dump-date", SEED]))
        }
        On::Sqlite => return,
    };
    std::fs::write(making.join("dump.sql"), dump).unwrap();
    on.sql(if matches!(on, On::MariaDb(_)) { "mysql" } else { "postgres" }, &format!("drop database {SEED}"));
}

/// Tells a script where everything is.
fn surround(script: &mut Command, on: On<'_>, database: &str, folder: &Path, cache: &Path) {
    script.env("SYSTEM_DATABASE", on.url(database, folder)).env("SYSTEM_FOLDER", folder).env("SYSTEM_CACHE", cache);
    for name in ["PGOPTIONS", "PGSERVICE", "PGTZ", "PGPASSWORD", "MYSQL_PWD", "TZ", "DATABASE_URL"] {
        script.env_remove(name);
    }
}

/// Writes the path that a Python environment will have where it has the one it was made under.
fn relocate(cache: &Path) {
    let (Some(name), Ok(programs)) = (cache.to_str(), std::fs::read_dir(cache.join("bin"))) else { return };
    let future = name.strip_suffix(".making").unwrap();
    for program in programs.flatten().filter(|program| program.file_type().is_ok_and(|kind| kind.is_file())) {
        if let Ok(text) = std::fs::read_to_string(program.path()) {
            std::fs::write(program.path(), text.replace(name, future)).unwrap();
        }
    }
}

#[track_caller]
fn finish(script: &mut Command, kind: Kind) {
    let done = script.output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{} could not be installed, {}:\n{out}\n{err}", kind.name(), done.status);
}

/// Every value that an SQLite file has, one a line.
fn every_value(file: &Path) -> String {
    let sql = rusqlite::Connection::open(file).unwrap();
    sql.busy_timeout(super::wait::PATIENCE).unwrap();
    let mut tables = sql.prepare("select name from sqlite_master where type = 'table'").unwrap();
    let tables: Result<Vec<String>, _> = tables.query_map((), |row| row.get(0)).unwrap().collect();
    let mut all = String::new();
    for table in tables.unwrap() {
        let mut select = sql.prepare(&format!("select * from \"{table}\"")).unwrap();
        let columns = select.column_count();
        let mut rows = select.query(()).unwrap();
        while let Some(row) = rows.next().unwrap() {
            for value in (0..columns).map(|at| row.get_ref(at).unwrap()) {
                if let Ok(bytes) = value.as_bytes() {
                    all.push_str(&String::from_utf8_lossy(bytes));
                    all.push('\n');
                }
            }
        }
    }
    all
}

#[track_caller]
fn said(command: &mut Command) -> String {
    let done = command.output().unwrap();
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

/// A number that changes with what a database is made from. How it is asked afterwards does not count.
fn hash(paths: &[PathBuf]) -> u64 {
    fn add(path: &Path, hasher: &mut DefaultHasher) {
        if path.is_dir() {
            let mut inside: Vec<_> = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
            inside.retain(|path| path.file_stem().is_some_and(|stem| stem != "serve"));
            inside.sort();
            inside.iter().for_each(|path| add(path, hasher));
        } else {
            path.file_name().hash(hasher);
            std::fs::read(path).unwrap().hash(hasher);
        }
    }
    let mut hasher = DefaultHasher::new();
    paths.iter().for_each(|path| add(path, &mut hasher));
    hasher.finish()
}
