//! The throwaway servers of the tests are themselves what tests rely on: private, quick, durable against a crash, gone
//! with the process. Everything else about a vendor is tested elsewhere.
#![allow(clippy::unwrap_used, reason = "a server that does not answer is a failed test")]

#[path = "../../../tests/kit/server/mod.rs"]
mod server;

use std::io::Read;
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use server::{MariaDb, Postgres};

const TABLE: &str = "create table notes (id int primary key, text text)";

#[test]
fn two_postgres_servers_do_not_know_each_other() {
    let (Some(one), Some(other)) = (Postgres::start(), Postgres::start()) else { return };
    one.create_database("desk");
    other.create_database("desk");
    one.sql("desk", TABLE);
    one.sql("desk", "insert into notes values (1, E'Überprüfung\\n日本語\\t💻'), (2, null), (3, '')");
    let rows = one.query("desk", "select id, text from notes order by id");
    assert_eq!(rows, [["1", "Überprüfung\n日本語\t💻"], ["2", "NULL"], ["3", ""]]);
    assert!(other.try_sql("desk", "select * from notes").is_err());
}

#[test]
fn two_mariadb_servers_do_not_know_each_other() {
    let (Some(one), Some(other)) = (MariaDb::start(), MariaDb::start()) else { return };
    one.create_database("desk");
    other.create_database("desk");
    one.sql("desk", TABLE);
    one.sql("desk", "insert into notes values (1, 'Überprüfung\\n日本語\\t💻\\\\'), (2, null), (3, '')");
    let rows = one.query("desk", "select id, text from notes order by id");
    assert_eq!(rows, [["1", "Überprüfung\n日本語\t💻\\"], ["2", "NULL"], ["3", ""]]);
    assert!(other.try_sql("desk", "select * from notes").is_err());
}

#[test]
fn a_killed_postgres_has_what_was_committed() {
    let Some(mut server) = Postgres::start() else { return };
    server.create_database("desk");
    server.sql("desk", TABLE);
    server.sql("desk", "insert into notes values (1, 'kept')");
    server.kill();
    assert!(server.try_sql("desk", "select 1").is_err());
    server.restart();
    assert_eq!(server.query("desk", "select * from notes"), [["1", "kept"]]);
    server.restart();
    assert_eq!(server.query("desk", "select * from notes"), [["1", "kept"]]);
}

#[test]
fn a_killed_mariadb_has_what_was_committed() {
    let Some(mut server) = MariaDb::start() else { return };
    server.create_database("desk");
    server.sql("desk", TABLE);
    server.sql("desk", "insert into notes values (1, 'kept')");
    server.kill();
    assert!(server.try_sql("desk", "select 1").is_err());
    server.restart();
    assert_eq!(server.query("desk", "select * from notes"), [["1", "kept"]]);
    server.restart();
    assert_eq!(server.query("desk", "select * from notes"), [["1", "kept"]]);
}

/// Whether a server says anything to a new connection within a quarter of a second.
fn answers(port: u16, question: &[u8]) -> bool {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    std::io::Write::write_all(&mut stream, question).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(250))).unwrap();
    stream.read(&mut [0; 1]).is_ok_and(|n| n == 1)
}

#[test]
fn a_paused_server_is_there_and_does_not_answer() {
    // PostgreSQL speaks when it is spoken to: this asks whether it can do TLS.
    let (Some(mut postgres), Some(mut mariadb)) = (Postgres::start(), MariaDb::start()) else { return };
    let tls = [0, 0, 0, 8, 4, 210, 22, 47];
    postgres.pause();
    mariadb.pause();
    assert!(!answers(postgres.port(), &tls));
    assert!(!answers(mariadb.port(), &[]));
    postgres.resume();
    mariadb.resume();
    assert_eq!(postgres.query("postgres", "select 1"), [["1"]]);
    assert_eq!(mariadb.query("mysql", "select 1"), [["1"]]);
}

#[test]
fn a_password_is_asked_for() {
    let (Some(postgres), Some(mariadb)) = (Postgres::start(), MariaDb::start()) else { return };
    postgres.sql("postgres", "create role bridge login password 'right'");
    mariadb.sql("mysql", "create user bridge@'127.0.0.1' identified by 'right'");
    for (password, let_in) in [("right", true), ("wrong", false)] {
        let client = Command::new(postgres.program("psql"))
            .args(["-w", "-X", "-c", "select 1", &postgres.url_as("bridge", password, "postgres")])
            .output();
        assert_eq!(client.unwrap().status.success(), let_in);
        let client = mariadb
            .client_program("mariadb")
            .args(["--user=bridge", "-e", "select 1"])
            .env("MYSQL_PWD", password)
            .output();
        assert_eq!(client.unwrap().status.success(), let_in);
    }
}

/// Not a test: what `a_killed_test_leaves_no_server_behind` runs and kills.
#[test]
fn the_one_who_is_killed() {
    if std::env::var_os("LANDBRIDGE_TEST_TO_BE_KILLED").is_none() {
        return;
    }
    // On a thread that ends at once: what keeps a server alive is the process.
    let servers = std::thread::spawn(|| (Postgres::start(), MariaDb::start())).join().unwrap();
    let (Some(postgres), Some(mariadb)) = servers else { return println!("none here") };
    // A connection of somebody else, so that PostgreSQL has a child that is busy.
    let mut busy = Command::new(postgres.program("psql"));
    busy.args(["-X", "-c", "select pg_sleep(600)", &postgres.url("postgres")])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let _busy = busy.spawn().unwrap();
    while postgres
        .query("postgres", "select 1 from pg_stat_activity where query like '%sleep(600)%' and pid <> pg_backend_pid()")
        .is_empty()
    {}
    println!("ports {} {} {}", postgres.port(), mariadb.port(), postgres.folder().display());
    std::thread::sleep(Duration::from_secs(600));
}

#[test]
fn a_killed_test_leaves_no_server_behind() {
    let mut test = Command::new(std::env::current_exe().unwrap());
    test.args(["--exact", "the_one_who_is_killed", "--nocapture"]).env("LANDBRIDGE_TEST_TO_BE_KILLED", "1");
    let mut child = test.stdout(Stdio::piped()).spawn().unwrap();
    let lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    let said = lines.map_while(Result::ok).find_map(|line| {
        let said = line.find("ports ").map(|at| line[at + 6..].to_owned());
        if line.contains("none here") { Some(String::new()) } else { said }
    });
    child.kill().unwrap();
    child.wait().unwrap();
    let said = said.unwrap();
    let mut said = said.split(' ');
    let (Some(postgres), Some(mariadb), Some(folder)) = (said.next(), said.next(), said.next()) else { return };
    let open = |port: &str| TcpStream::connect(format!("127.0.0.1:{port}")).is_ok();
    // Every process of PostgreSQL stands in its folder.
    let inhabited = || {
        let all = std::fs::read_dir("/proc").unwrap().flatten();
        let mut folders = all.filter_map(|process| std::fs::read_link(process.path().join("cwd")).ok());
        folders.any(|at| at.to_string_lossy().starts_with(folder))
    };
    let begun = Instant::now();
    while open(postgres) || open(mariadb) || inhabited() {
        assert!(begun.elapsed() < Duration::from_secs(60), "a server has outlived its test");
        std::thread::sleep(Duration::from_millis(10));
    }
}
