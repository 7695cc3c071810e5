//! A throwaway MariaDB. Commits are as durable as in production against the death of the process
//! (`innodb_flush_log_at_trx_commit`), not against that of the machine. `root` needs no password.

use std::io::Read;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::place::{self, Place};
use super::process::{self, wait_for};

const PACKAGES: &str = "mariadb-server-core mariadb-client-core";
/// Part of the template's name. Counts up when what `template` does changes.
const TEMPLATE: u32 = 1;
/// Small, because it is copied for every server.
const LOG_SIZE: &str = "--innodb-log-file-size=8M";
/// The greeting's version of the protocol, after the packet's length and number.
const GREETING: u8 = 10;

/// A server of its own.
pub struct MariaDb {
    programs: Programs,
    options: Vec<String>,
    place: Place,
    child: Option<Child>,
    paused: bool,
}

impl MariaDb {
    /// Starts one. None, and a line that says so, where MariaDB is not installed.
    pub fn start() -> Option<Self> {
        Self::start_with(&[])
    }

    /// Starts one with further options, each `--name=value`.
    pub fn start_with(options: &[&str]) -> Option<Self> {
        let Some(programs) = Programs::find() else { return super::missing("MariaDB", PACKAGES) };
        let template = programs.template();
        let place = Place::new("mariadb");
        place::copy(&template, &place.folder().join("data"));
        let options = options.iter().map(|option| (*option).into()).collect();
        let mut server = Self { programs, options, place, child: None, paused: false };
        server.run();
        Some(server)
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.place.port()
    }

    /// The server's folder: `data`, `log`. For files that the server is to read.
    pub fn folder(&self) -> &Path {
        self.place.folder()
    }

    /// What the server is: `mariadb-10.11.1-MariaDB`.
    pub fn version(&self) -> String {
        self.programs.version()
    }

    /// The URL of a database, as root.
    pub fn url(&self, database: &str) -> String {
        format!("mysql://root@127.0.0.1:{}/{database}", self.port())
    }

    /// The URL of a database for a user whom the test has created.
    pub fn url_as(&self, user: &str, password: &str, database: &str) -> String {
        format!("mysql://{user}:{password}@127.0.0.1:{}/{database}", self.port())
    }

    /// Creates a database for any text and returns its URL.
    pub fn create_database(&self, name: &str) -> String {
        self.sql("mysql", &format!("create database `{}` character set utf8mb4", name.replace('`', "``")));
        self.url(name)
    }

    /// Runs a script. Fails with what the server said about its first fault.
    #[track_caller]
    pub fn sql(&self, database: &str, script: &str) {
        self.try_sql(database, script).unwrap_or_else(|said| panic!("{said}\n--- in\n{script}"));
    }

    /// Runs a script, up to its first fault.
    pub fn try_sql(&self, database: &str, script: &str) -> Result<(), String> {
        process::run(self.client(database), script).map(drop)
    }

    /// The rows of one query, values as text; null is `NULL`.
    #[track_caller]
    pub fn query(&self, database: &str, sql: &str) -> Vec<Vec<String>> {
        let mut client = self.client(database);
        client.args(["--batch", "--skip-column-names", "-e", sql]);
        let said = process::run(client, "").unwrap_or_else(|said| panic!("{said}\n--- in\n{sql}"));
        said.lines().map(|row| row.split('\t').map(unescape).collect()).collect()
    }

    /// Kills the server, as a crash would.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            process::reap(&mut child);
        }
        self.paused = false;
    }

    /// Starts again after [`MariaDb::kill`], or stops in order and starts again; same port, same data.
    pub fn restart(&mut self) {
        self.resume();
        if let Some(mut child) = self.child.take() {
            process::signal("TERM", &[child.id()]);
            process::reap(&mut child);
        }
        self.run();
    }

    /// Stops the process where it is: connections stay open and nothing answers.
    pub fn pause(&mut self) {
        if let Some(child) = &self.child {
            process::signal("STOP", &[child.id()]);
            self.paused = true;
        }
    }

    /// Lets it go on.
    pub fn resume(&mut self) {
        if let (Some(child), true) = (&self.child, self.paused) {
            process::signal("CONT", &[child.id()]);
        }
        self.paused = false;
    }

    /// A client program of this server, connected as root: `mariadb`, `mariadb-dump`.
    pub fn client_program(&self, program: &str) -> Command {
        let mut client = Command::new(program);
        client.args(["--no-defaults", "--protocol=tcp", "--host=127.0.0.1", "--user=root"]);
        client.args([&format!("--port={}", self.port()), "--default-character-set=utf8mb4"]);
        client.env_remove("MYSQL_PWD");
        client
    }

    fn client(&self, database: &str) -> Command {
        let mut client = self.client_program(&self.programs.client.to_string_lossy());
        client.arg(database);
        client
    }

    fn run(&mut self) {
        let (folder, log, port) = (self.folder().to_path_buf(), self.folder().join("log"), self.port());
        let mut server = process::mortal(&self.programs.server, None);
        let named = |option: &str, file: &str| format!("--{option}={}", folder.join(file).display());
        server.current_dir(&folder).arg("--no-defaults").args(as_root());
        server.args([
            named("datadir", "data"),
            named("socket", "socket"),
            named("pid-file", "pid"),
            named("tmpdir", ""),
        ]);
        server.args(["--bind-address=127.0.0.1", &format!("--port={port}"), "--skip-name-resolve", LOG_SIZE]);
        server.args(["--character-set-server=utf8mb4", "--innodb-buffer-pool-size=64M", "--default-time-zone=+00:00"]);
        server.args(["--innodb-flush-log-at-trx-commit=1", "--sync-binlog=1", "--debug-no-sync"]);
        let output = std::fs::File::options().create(true).append(true).open(&log).unwrap();
        server.args(&self.options).stdout(Stdio::null()).stderr(output);
        let mut child = process::spawn(server);
        wait_for(&|| format!("MariaDB is not ready:\n{}", process::last_words(&log)), || {
            if let Some(status) = child.try_wait().unwrap() {
                panic!("MariaDB ended, {status}:\n{}", process::last_words(&log));
            }
            let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
            stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            let mut greeting = [0; 5];
            stream.read_exact(&mut greeting).ok()?;
            (greeting[4] == GREETING).then_some(())
        });
        self.child = Some(child);
    }
}

impl Drop for MariaDb {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("MariaDB's last words:\n{}", process::last_words(&self.folder().join("log")));
        }
    }
}

/// MariaDB runs as root only if it is told to.
fn as_root() -> Option<&'static str> {
    (place::user() == 0).then_some("--user=root")
}

/// Undoes what the client does to a value in batch mode.
fn unescape(value: &str) -> String {
    let mut plain = String::with_capacity(value.len());
    let mut rest = value.chars();
    while let Some(c) = rest.next() {
        plain.push(match c {
            '\\' => match rest.next() {
                Some('n') => '\n',
                Some('t') => '\t',
                Some('0') => '\0',
                other => other.unwrap_or('\\'),
            },
            c => c,
        });
    }
    plain
}

struct Programs {
    server: PathBuf,
    client: PathBuf,
    install: PathBuf,
}

impl Programs {
    fn find() -> Option<Self> {
        Some(Self {
            server: super::program("mariadbd", &["/usr/sbin", "/usr/libexec"])?,
            client: super::program("mariadb", &[])?,
            install: super::program("mariadb-install-db", &[])?,
        })
    }

    fn version(&self) -> String {
        let output = Command::new(&self.server).args(["--no-defaults", "--version"]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let number = said.split_once("Ver ").and_then(|(_, number)| number.split_whitespace().next());
        format!("mariadb-{}", number.unwrap_or(said.trim()))
    }

    /// The data of a new server that was stopped in order.
    fn template(&self) -> PathBuf {
        place::made_once(&format!("{}-{TEMPLATE}", self.version()), |data| {
            let mut make = process::mortal(&self.install, None);
            make.arg("--no-defaults").args(as_root()).arg(format!("--datadir={}", data.display()));
            make.args(["--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve", LOG_SIZE]);
            let made = make.output().unwrap();
            assert!(made.status.success(), "mariadb-install-db: {}", String::from_utf8_lossy(&made.stdout));
        })
    }
}
