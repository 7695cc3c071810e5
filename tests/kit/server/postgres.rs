//! A throwaway PostgreSQL. Commits are as durable as in production against the death of processes (`synchronous_commit`),
//! not against that of the machine (`fsync`). The superuser `postgres` needs no password, everybody else does.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::place::{self, Place};
use super::process::{self, wait_for};

const USER: &str = "postgres";
const PACKAGES: &str = "postgresql";
/// Part of the template's name. Counts up when what `template` does changes.
const TEMPLATE: u32 = 1;
const ACCESS: &str = "local all all trust\nhost all postgres 127.0.0.1/32 trust\nhost replication postgres 127.0.0.1/32 trust\n\
                      host all all 127.0.0.1/32 scram-sha-256\n";
const FIELD: &str = "\u{1f}";
const ROW: &str = "\u{1e}";

/// A server of its own.
pub struct Postgres {
    programs: PathBuf,
    options: Vec<String>,
    place: Place,
    child: Option<Child>,
    paused: Vec<u32>,
}

impl Postgres {
    /// Starts one. None, and a line that says so, where PostgreSQL is not installed.
    pub fn start() -> Option<Self> {
        Self::start_with(&[])
    }

    /// Starts one with further settings, each `name=value`.
    pub fn start_with(settings: &[&str]) -> Option<Self> {
        let Some(programs) = programs() else { return super::missing("PostgreSQL", PACKAGES) };
        let template = template(&programs);
        let place = Place::new("postgres");
        place::copy(&template, &place.folder().join("data"));
        let options = settings.iter().flat_map(|setting| ["-c".into(), (*setting).into()]).collect();
        let mut server = Self { programs, options, place, child: None, paused: Vec::new() };
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

    /// A program of the same version, such as `pg_dump`.
    pub fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    /// What the server is: `postgres (PostgreSQL) 15.1`.
    pub fn version(&self) -> String {
        version(&self.programs)
    }

    /// The URL of a database, as superuser.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{USER}@127.0.0.1:{}/{database}", self.port())
    }

    /// The URL of a database for a user whom the test has created.
    pub fn url_as(&self, user: &str, password: &str, database: &str) -> String {
        format!("postgres://{user}:{password}@127.0.0.1:{}/{database}", self.port())
    }

    /// Creates a database and returns its URL.
    pub fn create_database(&self, name: &str) -> String {
        self.sql("postgres", &format!("create database \"{}\"", name.replace('"', "\"\"")));
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
        client.args(["-A", "-t", "-F", FIELD, "-R", ROW, "-P", "null=NULL", "-c", sql]);
        let said = process::run(client, "").unwrap_or_else(|said| panic!("{said}\n--- in\n{sql}"));
        match said.strip_suffix('\n').unwrap_or(&said) {
            "" => Vec::new(),
            rows => rows.split(ROW).map(|row| row.split(FIELD).map(Into::into).collect()).collect(),
        }
    }

    /// Kills all processes of the server at once, as a crash would.
    pub fn kill(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        // Stopped first, so that it starts no further child meanwhile.
        process::signal("STOP", &[child.id()]);
        process::wait_until_stopped(child.id());
        let children = process::children(child.id());
        process::signal("KILL", &[child.id()]);
        process::signal("KILL", &children);
        process::reap(&mut child);
        // Its successor refuses to start while one of them is attached to the shared memory.
        wait_for(&|| "PostgreSQL's processes do not die".into(), || {
            children.iter().all(|child| process::ended(*child)).then_some(())
        });
        self.paused.clear();
    }

    /// Starts again after [`Postgres::kill`], or stops in order and starts again; same port, same data.
    pub fn restart(&mut self) {
        self.stop("INT");
        self.run();
    }

    /// Stops all processes where they are: connections stay open and nothing answers.
    pub fn pause(&mut self) {
        let Some(child) = &self.child else { return };
        process::signal("STOP", &[child.id()]);
        process::wait_until_stopped(child.id());
        self.paused = process::children(child.id());
        process::signal("STOP", &self.paused);
        self.paused.push(child.id());
    }

    /// Lets them go on.
    pub fn resume(&mut self) {
        process::signal("CONT", &self.paused);
        self.paused.clear();
    }

    fn client(&self, database: &str) -> Command {
        let mut client = Command::new(self.programs.join("psql"));
        for name in ["PGOPTIONS", "PGSERVICE", "PGSSLMODE", "PGTZ", "PGHOSTADDR", "PGPASSWORD"] {
            client.env_remove(name);
        }
        client.env("PGCLIENTENCODING", "UTF8").args(["-X", "-q", "-v", "ON_ERROR_STOP=1"]);
        client.args(["-h", "127.0.0.1", "-p", &self.port().to_string(), "-U", USER, "-d", database]);
        client
    }

    fn run(&mut self) {
        let (data, log) = (self.folder().join("data"), self.log());
        let mut server = process::mortal(&self.programs.join("postgres"), Some(USER));
        server.current_dir(self.folder()).arg("-D").arg(&data).args(["-p", &self.port().to_string()]);
        for setting in [
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "fsync=off",
            "synchronous_commit=on",
            "dynamic_shared_memory_type=mmap", // Goes with the folder.
            "timezone=UTC",
            "max_connections=200",
        ] {
            server.args(["-c", setting]);
        }
        let output = std::fs::File::options().create(true).append(true).open(&log).unwrap();
        server.args(&self.options).stdout(Stdio::null()).stderr(output);
        let mut child = process::spawn(server);
        let number = child.id().to_string();
        wait_for(&|| format!("PostgreSQL is not ready:\n{}", process::last_words(&log)), || {
            if let Some(status) = child.try_wait().unwrap() {
                panic!("PostgreSQL ended, {status}:\n{}", process::last_words(&log));
            }
            // Its own statement, in the last line of the file; after a crash the file of its predecessor is still there.
            let stated = std::fs::read_to_string(data.join("postmaster.pid")).ok()?;
            let own = stated.lines().next() == Some(&number);
            (own && stated.lines().last().is_some_and(|line| line.trim() == "ready")).then_some(())
        });
        self.child = Some(child);
    }

    fn stop(&mut self, signal: &str) {
        self.resume();
        if let Some(mut child) = self.child.take() {
            process::signal(signal, &[child.id()]);
            process::reap(&mut child);
        }
    }

    fn log(&self) -> PathBuf {
        self.folder().join("log")
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // At once, without writing out what goes away anyway.
        self.stop("QUIT");
        free_memory(self.folder());
        if std::thread::panicking() {
            eprintln!("PostgreSQL's last words:\n{}", process::last_words(&self.log()));
        }
    }
}

/// Gives back the small piece of shared memory that a killed server leaves. Its number stands in the seventh line.
pub(super) fn free_memory(folder: &Path) {
    let stated = std::fs::read_to_string(folder.join("data/postmaster.pid")).unwrap_or_default();
    if let Some(memory) = stated.lines().nth(6).and_then(|line| line.split_whitespace().nth(1)) {
        let _ = Command::new("ipcrm").args(["-m", memory]).stderr(Stdio::null()).status();
    }
}

/// The folder of the newest version's programs. Debian keeps it off the path.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok();
    let newest =
        versions.into_iter().flatten().flatten().filter(|version| version.path().join("bin/postgres").is_file());
    let newest = newest.max_by_key(|version| version.file_name().to_string_lossy().parse::<u32>().ok());
    let folder = newest.map(|version| version.path().join("bin"));
    folder.or_else(|| Some(super::program("postgres", &["/usr/local/pgsql/bin"])?.parent()?.to_path_buf()))
}

fn version(programs: &Path) -> String {
    let output = Command::new(programs.join("postgres")).arg("--version").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().into()
}

/// The data of a new server, which was never started.
fn template(programs: &Path) -> PathBuf {
    place::made_once(&format!("{}-{TEMPLATE}", version(programs)), |data| {
        std::fs::create_dir(data).unwrap();
        if place::user() == 0 {
            let owner = |kind| -> u32 {
                let output = Command::new("id").args([kind, USER]).output().unwrap();
                let said = String::from_utf8(output.stdout).unwrap();
                said.trim().parse().expect("PostgreSQL refuses to run as root, and there is no user postgres")
            };
            std::os::unix::fs::chown(data, Some(owner("-u")), Some(owner("-g"))).unwrap();
        }
        let mut make = process::mortal(&programs.join("initdb"), Some(USER));
        make.current_dir("/").arg("-D").arg(data).args(["-U", USER, "-A", "trust", "-E", "UTF8"]);
        // Small write-ahead files, because they are copied for every server.
        make.args(["--locale=C.UTF-8", "--no-sync", "--no-instructions", "--wal-segsize=1"]);
        let made = make.output().unwrap();
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        std::fs::write(data.join("pg_hba.conf"), ACCESS).unwrap();
    })
}
