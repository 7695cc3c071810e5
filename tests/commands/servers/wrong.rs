//! A server that is not there, does not let us in, or is not as described: one clear sentence each, the status that the
//! help tells, and never a password on any screen.

use std::os::unix::fs::PermissionsExt;

use super::{PASSWORD, Server, Site};
use crate::kit::command::{CONFIGURATION, DATABASE, DONE, PERSON, Ran, landbridge, run};
use crate::kit::desk::private;
use crate::kit::folder::Folder;
use crate::lonely::fails_clearly;

/// A password that opens nothing.
const WRONG: &str = "wr0ng-passw0rd";
/// Nobody is there.
const PEER: &str =
    "[[peer]]\nname = \"N\"\nurl = \"http://127.0.0.1:9\"\ntoken = \"a-token-for-tests-and-nothing-else\"\n";
const MAPPING: &str = r#"
[history]
name = "h"
table = "work_history"
problem = "problem"
work = "work"
text = "body"
numbering = "per-problem"
[problem]
table = "problem"
id = "id"
pairing = "linked"
"#;
const SCHEMA: &str = "create table problem (id varchar(40) primary key);
    insert into problem values ('ABC');
    create table work_history (problem varchar(40) not null, work int not null, body varchar(2000) not null,
        primary key (problem, work));
    create table salary (amount int);";

/// Every command that opens the database.
const COMMANDS: [&[&str]; 7] = [
    &["run"],
    &["sync"],
    &["status"],
    &["history", "ABC"],
    &["grants"],
    &["link", "ABC", "N", "4711"],
    &["append", "ABC", "text"],
];

/// A database with a user who may do what the bridge needs.
fn desk(server: &Server) {
    server.create("desk", SCHEMA);
    server.create_user("bridge");
    let to = server.grantee("bridge");
    let all = "grant select, insert, update on work_history to TO; grant select on problem to TO;";
    server.sql("desk", &all.replace("TO", &to));
}

#[track_caller]
fn never_shown(ran: &Ran) {
    for secret in [PASSWORD, WRONG] {
        assert!(!ran.said().contains(secret), "a password is on the screen: {ran:?}");
    }
}

/// Each command fails with `code` and these words; `check` lists the same as a fault.
#[track_caller]
fn each_fails(site: &Site, code: i32, words: &[&str]) {
    for command in COMMANDS {
        let ran = site.run(command);
        never_shown(&ran);
        fails_clearly(&ran, code, words);
    }
    let check = site.run(&["check", "--json"]).ends(code);
    never_shown(&check);
    let found = site.findings();
    let is_it = |f: &String| f.starts_with("fault database: ") && words.iter().all(|w| f.contains(w));
    assert_eq!(found.iter().filter(|f| is_it(f)).count(), 1, "{words:?}: {found:#?}");
}

fn both(test: fn(Server)) {
    [Server::postgres(), Server::mariadb()].into_iter().flatten().for_each(test);
}

#[test]
fn a_login_that_the_server_does_not_take() {
    both(|server| {
        desk(&server);
        let folder = Folder::new("login");
        let url = server.url_as("bridge", "desk");
        let site = Site::new(folder.path(), &url, MAPPING, PEER);
        site.run(&["status"]).ends(DONE);

        let denied = match server {
            Server::Postgres(_) => "password authentication failed for user \"bridge\"",
            Server::MariaDb(_) => "Access denied for user 'bridge'",
        };
        let words = [denied, "correct the user and the password"];
        site.configure(&url.replace(PASSWORD, WRONG), MAPPING, PEER);
        each_fails(&site, DATABASE, &words);
        site.configure(&url.replace("bridge:", "nobody:"), MAPPING, PEER);
        each_fails(&site, DATABASE, &[&words[0].replace("bridge", "nobody"), words[1]]);

        // The password from elsewhere.
        let bare = url.replace(&format!(":{PASSWORD}"), "");
        let file = folder.path().join("password");
        site.configure(&format!("url = \"{bare}\"\npassword_file = \"password\"\n"), MAPPING, PEER);
        private(&file, &format!("{PASSWORD}\n"));
        site.run(&["status"]).ends(DONE);
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
        each_fails_on_file(&site, &["password is open to other users (mode 0644); `chmod 600 "]);
        private(&file, WRONG);
        each_fails(&site, DATABASE, &words);
        std::fs::remove_file(&file).unwrap();
        each_fails_on_file(&site, &["password cannot be read", "password_file names a text file"]);

        site.configure(&url.replace(PASSWORD, "${DESK_PASSWORD}"), MAPPING, PEER);
        for (password, code) in [(PASSWORD, DONE), (WRONG, DATABASE)] {
            let mut command = landbridge(["--config", site.config.to_str().unwrap(), "status"]);
            let ran: Ran = command.env("DESK_PASSWORD", password).output().unwrap().into();
            never_shown(&ran);
            ran.ends(code);
        }
        fails_clearly(&site.run(&["status"]), CONFIGURATION, &["DESK_PASSWORD"]);
    });
}

/// The file of the password is a matter of the configuration.
#[track_caller]
fn each_fails_on_file(site: &Site, words: &[&str]) {
    for command in COMMANDS {
        let ran = site.run(command);
        never_shown(&ran);
        fails_clearly(&ran, CONFIGURATION, words);
    }
    site.run(&["check"]).ends(CONFIGURATION);
}

#[test]
fn a_server_or_a_database_that_is_not_there() {
    both(|mut server| {
        desk(&server);
        let folder = Folder::new("nowhere");
        let (url, other) = (server.url_as("bridge", "desk"), server.url_as("bridge", "desktop"));
        let site = Site::new(folder.path(), &other, MAPPING, PEER);
        let missing = match server {
            Server::Postgres(_) => "database \"desktop\" does not exist",
            // Who may not see a database is not told whether it is there.
            Server::MariaDb(_) => "Access denied for user 'bridge'@'127.0.0.1' to database 'desktop'",
        };
        each_fails(&site, DATABASE, &[missing, "[database] url"]);
        if let Server::MariaDb(_) = server {
            site.configure(&server.url("desktop"), MAPPING, PEER);
            each_fails(&site, DATABASE, &["Unknown database 'desktop'", "[database] url"]);
        }

        // A port on which nobody listens.
        let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let port = url.rsplit_once('/').unwrap().0.rsplit_once(':').unwrap().1.to_owned();
        site.configure(&url.replace(&format!(":{port}/"), &format!(":{nobody}/")), MAPPING, PEER);
        each_fails(&site, DATABASE, &["the database does not answer", &nobody.to_string(), "start the database"]);

        site.configure(&url, MAPPING, PEER);
        site.run(&["status"]).ends(DONE);
        server.stop();
        each_fails(&site, DATABASE, &["the database does not answer", &port, "start the database"]);
    });
}

#[test]
fn a_table_that_is_not_there_and_what_is_there_instead() {
    both(|server| {
        desk(&server);
        let folder = Folder::new("no-table");
        let site = Site::new(folder.path(), &server.url("desk"), &MAPPING.replace("work_history", "workhistory"), PEER);
        let words = ["[history] table: there is no table workhistory. The tables", "salary", "work_history"];
        for command in COMMANDS.iter().filter(|command| command[0] != "grants") {
            fails_clearly(&site.run(command), CONFIGURATION, &words);
        }
        let check = site.run(&["check", "--json"]).ends(CONFIGURATION);
        assert!(words.iter().all(|word| check.out.contains(word)), "{}", check.out);
        let grants = site.run(&["grants"]).ends(PERSON).said();
        assert!(grants.contains("cannot be told: [history] table: there is no table workhistory"), "{grants}");
    });
}

#[test]
fn a_user_who_may_only_read_and_a_server_that_takes_no_rows() {
    both(|server| {
        desk(&server);
        let folder = Folder::new("read-only");
        let url = server.url_as("reader", "desk");
        server.create_user("reader");
        let to = server.grantee("reader");
        let reads = "grant select on work_history to TO; grant select on problem to TO";
        server.sql("desk", &reads.replace("TO", &to));
        let site = Site::new(folder.path(), &url, MAPPING, PEER);
        for command in [&["sync"][..], &["status"], &["append", "ABC", "text"], &["link", "ABC", "N", "4711"]] {
            let ran = site.run(command);
            never_shown(&ran);
            fails_clearly(&ran, CONFIGURATION, &["work_history", "body", "`landbridge grants` prints"]);
        }
        let found = site.findings();
        let lacks = |f: &String| {
            f.starts_with("fault rights: reader") && f.contains(" lacks insert on work_history (body, problem, work)")
        };
        assert!(found.iter().any(lacks), "{found:#?}");
        site.run(&["check"]).ends(CONFIGURATION);

        // As on a standby: everything can be read and nothing written.
        let (setting, back) = match server {
            Server::Postgres(_) => (
                "alter database desk set default_transaction_read_only = on",
                "alter database desk reset default_transaction_read_only",
            ),
            Server::MariaDb(_) => ("set global read_only = on", "set global read_only = off"),
        };
        site.configure(&server.url_as("bridge", "desk"), MAPPING, PEER);
        server.sql(database_of(&server), setting);
        site.run(&["status"]).ends(DONE);
        for command in [&["append", "ABC", "text"][..], &["link", "ABC", "N", "4711"]] {
            fails_clearly(&site.run(command), DATABASE, &["the database cannot be written", "only"]);
        }
        let found = site.findings();
        let says =
            |f: &String| f.starts_with("fault writable: the database cannot be written: ") && f.contains("read_only");
        assert!(found.iter().any(says), "{found:#?}");
        site.run(&["check"]).ends(DATABASE);
        server.sql(database_of(&server), back);
        site.run(&["append", "ABC", "text"]).ends(DONE);
    });
}

/// A database of the server's own.
fn database_of(server: &Server) -> &'static str {
    match server {
        Server::Postgres(_) => "postgres",
        Server::MariaDb(_) => "mysql",
    }
}

#[test]
fn init_says_the_same_and_writes_no_password_but_the_one_it_was_given() {
    both(|mut server| {
        desk(&server);
        let folder = Folder::new("init-server");
        let config = folder.path().join("landbridge.toml");
        let url = server.url_as("bridge", "desk");
        let init = |url: &str, more: &[&str]| {
            let base =
                ["--config", config.to_str().unwrap(), "init", "--yes", "--force", "--site", "1", "--database", url];
            let table = ["--table", "work_history", "--problem", "problem", "--work", "work", "--text", "body"];
            let ran = run(base.iter().chain(table.iter().filter(|_| more.is_empty())).chain(more));
            never_shown(&ran);
            ran
        };
        let ran = init(&url, &[]).ends(DONE);
        assert!(ran.out.contains("check"), "{ran:?}");
        // Found by its shape.
        let ran = init(&url, &["--peer", "N=http://127.0.0.1:9"]).ends(DONE);
        assert!(ran.err.contains("Taken: table work_history"), "{}", ran.err);
        let wrong = init(&url.replace(PASSWORD, WRONG), &[]).ends(DATABASE);
        assert!(wrong.said().contains("correct the user and the password"), "{wrong:?}");
        private(&folder.path().join("pw"), PASSWORD);
        let bare = url.replace(&format!(":{PASSWORD}"), "");
        init(&bare, &["--password-file", "pw"]).ends(DONE);
        assert!(!std::fs::read_to_string(&config).unwrap().contains(PASSWORD));
        std::fs::set_permissions(folder.path().join("pw"), std::fs::Permissions::from_mode(0o644)).unwrap();
        let open = init(&bare, &["--password-file", "pw"]).ends(CONFIGURATION);
        assert!(open.said().contains("open to other users (mode 0644)"), "{open:?}");
        server.stop();
        let stopped = init(&url, &[]).ends(DATABASE);
        assert!(stopped.said().contains("the database does not answer"), "{stopped:?}");
    });
}
