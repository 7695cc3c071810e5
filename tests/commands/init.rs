//! Setting up a site from flags.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::kit::command::{CONFIGURATION, DATABASE, DONE, Ran, USAGE, run, run_with_input};
use crate::kit::desk::{Desk, private};
use crate::kit::folder::Folder;
use crate::kit::pair::TOKEN;
use crate::kit::schema::{COMMENTS, HELPDESK, TICKETS};

const HELPDESK_FLAGS: &[&str] = &[
    "--table",
    "WORK_HISTORY",
    "--problem",
    "PROBLEM_ID",
    "--work",
    "WORK_ID",
    "--text",
    "WORK_HISTORY",
    "--where",
    "KIND = 'work'",
    "--share",
    "VISIBILITY = 'public'",
    "--field",
    "author=OPERATOR",
    "--insert",
    "KIND='work'",
    "--insert",
    "PRIORITY=3",
    "--insert",
    "VISIBILITY='public'",
    "--insert",
    "OPERATOR=coalesce(:author, 'bridge')",
    "--marker",
    "VISIBILITY='internal'",
    "--problem-table",
    "PROBLEM",
    "--problem-id",
    "PROBLEM_ID",
    "--problem-share",
    "SHARED = 1",
];
const TICKETS_FLAGS: &[&str] = &[
    "--table",
    "ticket_comments",
    "--problem",
    "ticket",
    "--work",
    "no",
    "--text",
    "body",
    "--share",
    "is_internal = 0",
    "--insert",
    "cost_centre='external'",
    "--marker",
    "is_internal=1",
];
const COMMENTS_FLAGS: &[&str] = &["--table", "comments", "--problem", "issue", "--work", "id", "--text", "comment"];

#[test]
fn what_init_writes_is_accepted_by_check_and_used_by_every_command() {
    for (schema, flags) in [(&HELPDESK, HELPDESK_FLAGS), (&TICKETS, TICKETS_FLAGS), (&COMMENTS, COMMENTS_FLAGS)] {
        let folder = Folder::new("init");
        let desk = Desk::make(folder.path(), "1", schema, &["ABC"], "");
        let before = desk.bytes();
        let config = desk.folder.join("new.toml");
        let made =
            init(&config, flags, &["--listen", "127.0.0.1:0", "--peer", "N=http://127.0.0.1:7421", "--peer", "C"]);
        made.ends(DONE);
        assert!(desk.bytes() == before, "init changed the database");
        for file in ["new.toml", "new.key"] {
            let mode = std::fs::metadata(desk.folder.join(file)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{file} is not private");
        }
        let with = |args: &[&str]| run(["--config", config.to_str().unwrap()].iter().chain(args));
        with(&["check", "--offline"]).ends(DONE);
        with(&["append", "ABC", "an entry"]).ends(DONE);
        assert!(with(&["history", "ABC"]).ends(DONE).out.contains("an entry"));
        assert_eq!(with(&["preview", "--peer", "N", "--json"]).out.lines().count(), 1);
    }
}

#[test]
fn init_overwrites_neither_a_configuration_nor_a_key() {
    let folder = Folder::new("init-again");
    let desk = Desk::make(folder.path(), "1", &COMMENTS, &[], "");
    let (before, key) = (std::fs::read(&desk.config).unwrap(), std::fs::read(&desk.key).unwrap());
    let ran = init(&desk.config, COMMENTS_FLAGS, &[]);
    super::lonely::fails_clearly(&ran, USAGE, &["is there already", "--force"]);
    assert_eq!(std::fs::read(&desk.config).unwrap(), before);
    init(&desk.config, COMMENTS_FLAGS, &["--force"]).ends(DONE);
    assert_ne!(std::fs::read(&desk.config).unwrap(), before);
    assert_eq!(std::fs::read(&desk.key).unwrap(), key, "the key is kept even then");
}

#[test]
fn init_takes_the_secret_of_a_peer_from_a_file_or_from_standard_input() {
    let folder = Folder::new("init-token");
    let desk = Desk::make(folder.path(), "1", &COMMENTS, &[], "");
    let token = folder.path().join("token");
    private(&token, &format!("{TOKEN}\n"));
    for (given, input) in [(token.to_str().unwrap(), ""), ("-", TOKEN)] {
        let config = desk.folder.join("new.toml");
        let flags = ["--peer", "N=http://127.0.0.1:7421", "--token-file", &format!("N={given}"), "--force", "--yes"];
        let base = ["--config", config.to_str().unwrap(), "init", "--site", "1", "--database", "sqlite:desk.db"];
        run_with_input(base.iter().chain(COMMENTS_FLAGS).chain(&flags), input).ends(DONE);
        assert!(std::fs::read_to_string(&config).unwrap().contains(TOKEN));
    }
}

#[test]
fn init_names_everything_that_is_missing_or_wrong_and_then_writes_nothing() {
    let folder = Folder::new("init-wrong");
    let config = folder.path().join("landbridge.toml");
    let ran = run(["--config", config.to_str().unwrap(), "init", "--yes", "--site", "1"]);
    super::lonely::fails_clearly(&ran, USAGE, &["--database", "--table", "--problem", "--work", "--text"]);
    let ran =
        run(["--config", config.to_str().unwrap(), "init", "--yes", "--site", "no good name", "--database", "nosql:x"]
            .iter()
            .chain(COMMENTS_FLAGS));
    assert!(ran.err.contains("no good name") && ran.err.contains("kind of database"), "{}", ran.err);
    ran.ends(CONFIGURATION);
    assert!(!config.exists());
}

#[test]
fn init_says_where_the_database_is_not_as_described() {
    let folder = Folder::new("init-fault");
    let desk = Desk::make(folder.path(), "1", &TICKETS, &[], "");
    let config = desk.folder.join("new.toml");
    let flags: Vec<_> = TICKETS_FLAGS.iter().map(|flag| if *flag == "body" { "bodi" } else { flag }).collect();
    let ran = init(&config, &flags, &[]).ends(CONFIGURATION);
    assert!(ran.out.contains("FAULT") && ran.out.contains("no column bodi") && config.exists(), "{}", ran.out);
    std::fs::remove_file(&desk.database).unwrap();
    init(&config, TICKETS_FLAGS, &["--force"]).ends(DATABASE);
}

fn init(config: &Path, flags: &[&str], more: &[&str]) -> Ran {
    let base = ["--config", config.to_str().unwrap(), "init", "--yes", "--site", "1", "--database", "sqlite:desk.db"];
    run(base.iter().chain(flags).chain(more))
}

#[test]
fn init_finds_the_history_by_its_shape_and_says_what_it_took() {
    let folder = Folder::new("init-finds");
    let desk = Desk::make(folder.path(), "1", &TICKETS, &["ABC"], "");
    let config = desk.folder.join("new.toml");
    let ran = init(&config, &[], &[]).ends(DONE);
    assert!(ran.err.contains("Taken: table ticket_comments, because no counts within ticket"), "{}", ran.err);
    let written = std::fs::read_to_string(&config).unwrap();
    for line in
        ["share = \"is_internal = 0\"", "numbering = \"per-problem\"", "table = \"tickets\"", "is_internal = \"1\""]
    {
        assert!(written.contains(line), "{line}\n{written}");
    }
}

#[test]
fn init_proposes_which_problems_are_bridged_and_says_how_they_are_matched() {
    let folder = Folder::new("init-problems");
    let desk = Desk::make(folder.path(), "1", &HELPDESK, &["ABC"], "");
    let config = desk.folder.join("new.toml");
    let ran = init(&config, &[], &["--peer", "N=http://127.0.0.1:7421", "--relay-from", "N=C", "--relay-from", "N=D"]);
    let ran = ran.ends(DONE);
    assert!(ran.err.contains("Only problems with SHARED <> 0 are bridged"), "{}", ran.err);
    assert!(ran.out.contains("an id must mean the same ticket at both sites"), "{}", ran.out);
    let written = std::fs::read_to_string(&config).unwrap();
    for line in ["share = \"SHARED <> 0\"", "pairing = \"same-id\"", "relay_from = [\"C\", \"D\"]"] {
        assert!(written.contains(line), "{line}\n{written}");
    }
    let ran = init(&config, &[], &["--pairing", "linked", "--force"]).ends(DONE);
    assert!(ran.out.contains("landbridge link 17 N 4711"), "{}", ran.out);
    assert!(std::fs::read_to_string(&config).unwrap().contains("pairing = \"linked\""));
    let ran = init(&config, &[], &["--relay-from", "X=C", "--force"]);
    super::lonely::fails_clearly(&ran, USAGE, &["X is no peer"]);
}

#[test]
fn init_decides_nothing_where_nobody_asked_it_to() {
    let folder = Folder::new("init-undecided");
    let desk = Desk::make(folder.path(), "1", &TICKETS, &["ABC"], "");
    let config = desk.folder.join("new.toml");
    let ran = run(["--config", config.to_str().unwrap(), "init", "--site", "1", "--database", "sqlite:desk.db"]);
    super::lonely::fails_clearly(&ran, USAGE, &["--table ticket_comments --problem ticket --work no --text body"]);
    assert!(!config.exists());
}

#[test]
fn grants_says_that_sqlite_has_no_users() {
    let folder = Folder::new("grants");
    let desk = Desk::make(folder.path(), "1", &TICKETS, &["ABC"], "");
    assert!(desk.run(&["grants"]).ends(DONE).out.contains("SQLite has no users"));
}
