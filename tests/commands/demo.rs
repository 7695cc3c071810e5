//! The demonstration: the first command that anybody tries.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rusqlite::Connection;

use crate::kit::command::{DONE, landbridge, run};
use crate::kit::folder::Folder;
use crate::kit::wait::{PATIENCE, wait_until};

const ROWS: [&str; 9] = [
    "open ticket for analysis",
    "solve ticket ABC",
    "copy in system N: 1-2; seal ",
    "reopen ABC for review",
    "copy in system N: 4; seal ",
    "do not bother will work on ABC at N",
    "copy in system N: 6 from 6; seal ",
    "solved!",
    "copy in system N: 8; seal ",
];

#[test]
fn the_demo_shows_both_tables_and_a_proof_plain_in_a_pipe() {
    let demo = run(["demo"]).ends(DONE);
    assert!(!demo.out.contains('\x1b'), "colours in a pipe: {}", demo.out);
    assert_eq!(demo.err, "");
    let lines: Vec<_> = demo.out.lines().collect();
    for (n, row) in ROWS.iter().enumerate() {
        let begins = format!("{} ", n + 1);
        let shown = lines.iter().any(|line| line.trim_start().starts_with(&begins) && line.contains(row));
        assert!(shown, "no row {} with {row:?} in:\n{}", n + 1, demo.out);
    }
    assert!(demo.out.contains("copy in system 1: 1-2 from 1-2; seal "), "{}", demo.out);
    assert!(demo.out.contains("0 of 12 confidential values"), "{}", demo.out);
    assert!(!demo.out.contains("WRONG"), "{}", demo.out);
}

#[test]
fn the_demo_is_the_same_as_json() {
    let json = run(["demo", "--json"]).ends(DONE).json();
    assert_eq!(json["holds"], true);
    for site in 0..2 {
        let rows = json["sites"][site]["rows"].as_array().unwrap();
        let works: Vec<_> = rows.iter().map(|row| row["work"].as_i64().unwrap()).collect();
        assert_eq!(works, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
    }
    assert!(json["proof"]["findings"].as_array().unwrap().iter().all(|finding| finding["holds"] == true));
}

#[test]
fn the_demo_has_colours_on_a_terminal_unless_they_are_not_wanted() {
    let on_a_terminal = |env: &str| {
        let demo = format!("{env} {} demo", env!("CARGO_BIN_EXE_landbridge"));
        Command::new("script").args(["-qec", &demo, "/dev/null"]).env("TERM", "xterm").stdin(Stdio::null()).output()
    };
    let Ok(coloured) = on_a_terminal("") else {
        println!("SKIPPED: there is no `script` here to make a terminal with");
        return;
    };
    assert!(coloured.status.success());
    assert!(String::from_utf8_lossy(&coloured.stdout).contains("\x1b[32mok\x1b[0m"));
    let plain = on_a_terminal("NO_COLOR=1").unwrap();
    assert!(!String::from_utf8_lossy(&plain.stdout).contains("\x1b[32m"));
}

#[test]
fn a_served_demo_works_on_with_any_sqlite_client_until_it_is_interrupted() {
    let folder = Folder::new("demo");
    let kept = folder.path().join("two-desks");
    let mut demo = landbridge(["demo", "--serve", "--dir", kept.to_str().unwrap()]);
    let mut demo = Served(demo.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
    let mut lines = BufReader::new(demo.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("until Ctrl-C")), "it does not say how it ends");

    // Clients that come and go while the bridges have the databases open.
    let (one, n) = (kept.join("site-1/helpdesk.db"), kept.join("site-N/tickets.db"));
    let has = |text: &str| client(&n, &format!("select count(*) from ticket_comments where body = '{text}'")) == "1";
    assert!(has("solved!"));
    client(
        &one,
        "insert into WORK_HISTORY (PROBLEM_ID, WORK_ID, WORK_HISTORY, OPERATOR, KIND, VISIBILITY)
         values ('ABC', 10, 'by a client', 'otto', 'work', 'public') returning WORK_ID",
    );
    wait_until("it arrives", || has("by a client"));
    let config = kept.join("site-1/landbridge.toml");
    run(["--config", config.to_str().unwrap(), "append", "ABC", "by a command"]).ends(DONE);
    wait_until("that arrives, too", || has("by a command"));

    let pid = demo.0.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    lines.for_each(drop);
    assert!(demo.0.wait().unwrap().success());
    assert_eq!([client(&one, "pragma integrity_check"), client(&n, "pragma integrity_check")], ["ok", "ok"]);
}

/// A demonstration that does not outlive a test that fails.
struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whatever client for SQLite there is, of whatever version; ours, where there is none. The first value of its answer.
fn client(database: &Path, statement: &str) -> String {
    match Command::new("sqlite3").args(["-cmd", ".timeout 60000"]).arg(database).arg(statement).output() {
        Ok(ran) => {
            assert!(ran.status.success(), "{ran:?}");
            String::from_utf8(ran.stdout).unwrap().trim().to_owned()
        }
        Err(_) => {
            let sql = Connection::open(database).unwrap();
            sql.busy_timeout(PATIENCE).unwrap();
            let value: rusqlite::types::Value = sql.query_row(statement, [], |r| r.get(0)).unwrap();
            match value {
                rusqlite::types::Value::Integer(number) => number.to_string(),
                rusqlite::types::Value::Text(text) => text,
                other => panic!("{other:?}"),
            }
        }
    }
}
