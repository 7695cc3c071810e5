//! What an operator does on an ordinary day: look, append, sync, adopt.

use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

use serde_json::Value;

use super::lonely::Lonely;
use crate::kit::command::{DONE, LEFT, PEER, USAGE, landbridge, run_with_input};
use crate::kit::pair::{Dialling, Pair};
use crate::kit::schema::{COMMENTS, HELPDESK, TICKETS};

#[test]
fn append_writes_a_row_as_the_application_would_and_prints_its_number() {
    let site = Lonely::new("append", &HELPDESK);
    site.desk.append("ABC", &["by the application"]);
    let ran = site.desk.run(&["append", "ABC", "by a script", "--field", "author=otto"]).ends(DONE);
    assert_eq!(ran.out, "2\n");
    let row = site.desk.rows("ABC").pop().unwrap();
    assert_eq!((row.text.as_str(), row.author.as_deref(), row.public), ("by a script", Some("otto"), true));

    let args = ["--config", site.desk.config.to_str().unwrap(), "append", "ABC", "-"];
    run_with_input(args, "from a pipe\nin two lines 🚒\n").ends(DONE);
    assert_eq!(site.desk.rows("ABC").pop().unwrap().text, "from a pipe\nin two lines 🚒");
    super::lonely::fails_clearly(&run_with_input(args, ""), USAGE, &["no text"]);
}

#[test]
fn history_tells_entries_copies_and_markers_apart_and_reads_no_internal_text() {
    let pair = exchanged("history");
    let internal = pair.one.append_internal("ABC", "SECRET-of-1 note");
    let history = pair.one.run(&["history", "ABC", "--json"]).ends(DONE);
    assert!(!history.said().contains("SECRET"), "{}", history.out);
    let rows = history.json()["rows"].as_array().unwrap().clone();
    let kinds: Vec<_> = rows.iter().map(|row| row["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["own", "marker", "copy", "marker", "own"]);
    assert_eq!((&rows[2]["origin"], &rows[2]["text"]), (&"N/3".into(), &"from N".into()));
    let human = pair.one.run(&["history", "ABC"]).ends(DONE).out;
    for words in ["from N/3", "marker", "copy in system N: 1; seal ", "(not shared, not read)"] {
        assert!(human.contains(words), "no {words:?} in:\n{human}");
    }
    assert!(human.lines().any(|line| line.trim_start().starts_with(&internal.to_string())), "{human}");
    assert!(!human.contains('\x1b'));
}

#[test]
fn explain_names_the_condition_that_keeps_a_row_and_the_marker_that_says_who_holds_it() {
    let pair = exchanged("explain");
    let internal = pair.one.append_internal("ABC", "SECRET-of-1 note").to_string();
    let kept = pair.one.run(&["explain", "ABC", &internal]).ends(DONE).out;
    assert!(kept.contains("does not get it") && kept.contains("`share` (VISIBILITY = 'public')"), "{kept}");
    assert!(!kept.contains("SECRET"), "{kept}");
    let held = pair.one.run(&["explain", "ABC", "1"]).ends(DONE).out;
    assert!(held.contains("holds it") && held.contains("marker in row 2"), "{held}");
    let copy = pair.one.run(&["explain", "ABC", "3"]).ends(DONE).out;
    assert!(copy.contains("a copy of entry 3 of site N"), "{copy}");
    let owed = pair.one.append("ABC", &["not sent yet"])[0].to_string();
    let owed = pair.one.run(&["explain", "ABC", &owed, "--json"]).ends(LEFT).json();
    assert_eq!(owed["peers"][0]["state"], "owed");
    pair.one.run(&["explain", "ABC", "99"]).ends(USAGE);
}

#[test]
fn preview_shows_what_would_leave_and_nothing_else() {
    let site = Lonely::new("preview", &HELPDESK);
    site.desk.append("ABC", &["for others", "for others too"]);
    site.desk.append_internal("ABC", "SECRET-of-1 note");
    site.desk.administer(
        "insert into WORK_HISTORY values ('ABC', 4, 'SECRET-of-1 state', 'anna', 'state', 1, 'public', null)",
    );
    let before = site.desk.bytes();
    let human = site.desk.run(&["preview", "--peer", "N"]).ends(LEFT).out;
    assert!(
        human.contains("for others too") && human.contains("author=anna") && human.contains("2 entries"),
        "{human}"
    );
    let json = site.desk.run(&["preview", "--peer", "N", "--json"]).ends(LEFT);
    let entries = json.json()["entries"].as_array().unwrap().clone();
    let texts: Vec<_> = entries.iter().map(|entry| entry["text"].as_str().unwrap()).collect();
    assert_eq!(texts, ["for others", "for others too"]);
    assert!(!human.contains("SECRET") && !json.said().contains("SECRET"));
    assert!(site.desk.bytes() == before, "preview changed the database");
}

#[test]
fn sync_exchanges_everything_once_in_both_directions() {
    let pair = Pair::with("sync", &HELPDESK, &COMMENTS, &["ABC"], Dialling::OnlyN, "");
    pair.one.append("ABC", &["from 1"]);
    pair.n.append("XYZ", &["of a problem that site 1 does not have"]);
    pair.n.append("ABC", &["from N"]);
    let _one = pair.start_one();
    pair.n.run(&["sync"]).ends(crate::kit::command::PERSON);
    pair.one.make_problem("XYZ");
    let synced = pair.n.run(&["sync", "--json"]).ends(DONE).json();
    assert_eq!((&synced[0]["state"], &synced[0]["pending"]), (&"in_step".into(), &0.into()));
    pair.wait_until_in_step();
    assert_eq!(sorted(pair.one.entries("ABC")), ["from 1", "from N"]);
    assert_eq!(sorted(pair.n.entries("ABC")), ["from 1", "from N"]);
    // Another pass finds nothing to do.
    let again = pair.n.run(&["sync", "--json"]).ends(DONE).json();
    assert_eq!((&again[0]["sent"], &again[0]["received"]), (&0.into(), &0.into()));
}

#[test]
fn a_peer_that_was_never_reached_is_not_in_step() {
    let pair = Pair::new("unheard", &HELPDESK, &COMMENTS, &["ABC"]);
    let shown = pair.one.run(&["status"]).ends(DONE).out;
    assert!(shown.contains("not reached yet") && !shown.contains("in step"), "{shown}");
    // Nothing is owed, and nobody is there.
    let synced = pair.one.run(&["sync", "--json"]).ends(PEER);
    assert_eq!(synced.json()[0]["state"], "failed", "{}", synced.said());
    let n = pair.start_n();
    let synced = pair.one.run(&["sync", "--json"]).ends(DONE).json();
    assert_eq!(synced[0]["state"], "in_step", "{synced}");
    assert!(pair.one.run(&["status"]).ends(DONE).out.contains("in step"));
    // Who was reached once is called where there is something to say.
    n.stop();
    pair.one.run(&["sync"]).ends(DONE);
}

#[test]
fn what_was_lost_here_and_given_back_by_another_peer_is_no_longer_shown() {
    let pair = exchanged("given-back");
    let learnt = |sql: &str| {
        let cache = rusqlite::Connection::open(pair.one.folder.join("landbridge.toml.cache")).unwrap();
        cache.execute_batch(sql).unwrap();
    };
    let lost = || pair.one.status()["peers"][0]["lost_here"].clone();
    // A copy of N/3 is here, and row 1 is this site's own: after a restore it may have got the number of what is lost.
    learnt("insert into diverged values ('N', 'ABC', 1, '1/1; N/3,9', '[]', '[]')");
    assert_eq!(lost()["first"][0]["entries"], "1/1; N/9");
    learnt("update diverged set missing = 'N/3'");
    assert_eq!(lost()["count"], 0);

    learnt("insert into refused_here values ('N', 'ABC', '1/7', 'not allowed', 'this site wrote it')");
    let shown = pair.one.run(&["status"]).out;
    assert!(shown.contains("taken back only while `landbridge repair --peer N` runs here"), "{shown}");
    let narrow = crate::kit::command::landbridge(["--config", pair.one.config.to_str().unwrap(), "status"])
        .env("COLUMNS", "40")
        .output()
        .unwrap();
    let narrow = String::from_utf8(narrow.stdout).unwrap();
    assert!(narrow.contains("peer:      N\npending:   0\n"), "{narrow}");
}

#[test]
fn adopt_records_that_a_peer_has_what_was_copied_by_other_means() {
    let pair = Pair::new("adopt", &HELPDESK, &TICKETS, &["ABC"]);
    let copied = ["first", "second", "third"];
    pair.one.append("ABC", &copied);
    pair.n.append("ABC", &copied);
    let before = pair.one.rows("ABC");
    let counted = pair.one.run(&["adopt", "--peer", "N", "--all", "--dry-run"]).ends(DONE).out;
    assert!(counted.contains("3 entries"), "{counted}");
    pair.one.run(&["adopt", "--peer", "N", "--all"]).ends(USAGE);
    assert_eq!(pair.one.rows("ABC"), before);
    pair.one.run(&["adopt", "--peer", "N", "--all", "--yes"]).ends(DONE);
    pair.n.run(&["adopt", "--peer", "1", "ABC", "--yes"]).ends(DONE);
    pair.one.run(&["status"]).ends(DONE);

    let _bridges = pair.start();
    pair.one.append("ABC", &["fourth"]);
    crate::kit::wait::wait_until("what is new arrives", || pair.n.entries("ABC").len() > 3);
    pair.wait_until_in_step();
    assert_eq!(pair.n.entries("ABC"), ["first", "second", "third", "fourth"]);
    assert_eq!(pair.one.entries("ABC"), ["first", "second", "third", "fourth"]);
    assert_eq!(pair.n.status()["peers"][0]["diverged"]["count"], 0);
    assert_eq!(pair.one.status()["peers"][0]["diverged"]["count"], 0);
}

#[test]
fn check_says_which_columns_are_never_read_and_changes_nothing() {
    let pair = Pair::new("check", &HELPDESK, &TICKETS, &["ABC"]);
    let _n = pair.start_n();
    let before = pair.one.bytes();
    let check = pair.one.run(&["check"]).ends(DONE).out;
    for words in ["CUSTOMER_PHONE", "peer N", "answers", "private", "writable"] {
        assert!(check.contains(words), "no {words:?} in:\n{check}");
    }
    let json = pair.one.run(&["check", "--json"]).ends(DONE).json();
    assert!(json.as_array().unwrap().iter().all(|finding| finding["result"] != "fault"));
    assert!(pair.one.bytes() == before, "check changed the database");
}

#[test]
fn a_pipe_that_is_closed_early_is_no_error() {
    let site = Lonely::new("pipe", &COMMENTS);
    let text = "a line that is long enough to fill the pipe between two programs ".repeat(4);
    let texts: Vec<_> = (0..2000).map(|_| text.as_str()).collect();
    site.desk.append("ABC", &texts);
    for verb in [&["history", "ABC"][..], &["history", "ABC", "--json"], &["preview", "--peer", "N"]] {
        let config = ["--config", site.desk.config.to_str().unwrap()];
        let mut command = landbridge(config.iter().chain(verb));
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(!line.is_empty());
        let mut err = String::new();
        child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        let status = child.wait().unwrap();
        assert_eq!(err, "", "{verb:?}");
        assert!(matches!(status.code(), Some(DONE | LEFT)), "{verb:?}: {status}");
    }
}

#[test]
fn status_says_the_same_to_people_and_to_programs() {
    let pair = exchanged("status");
    pair.one.append("ABC", &["one more"]);
    let json: Value = pair.one.run(&["status", "--json"]).ends(LEFT).json();
    assert_eq!((&json["site"], &json["own"], &json["copies"]), (&"1".into(), &2.into(), &1.into()));
    assert_eq!((&json["peers"][0]["pending"], &json["peers"][0]["held"]), (&1.into(), &2.into()));
    let human = pair.one.run(&["status"]).ends(LEFT).out;
    assert!(human.contains("Site 1, history work_history") && human.contains("pending"), "{human}");
}

/// Two sites that exchanged an entry each, their bridges stopped.
fn exchanged(name: &str) -> Pair {
    let pair = Pair::new(name, &HELPDESK, &TICKETS, &["ABC"]);
    let (one, n) = pair.start();
    pair.one.append("ABC", &["from 1"]);
    pair.wait_until_in_step();
    crate::kit::wait::wait_until("it arrives", || pair.n.rows("ABC").len() == 2);
    pair.n.append("ABC", &["from N"]);
    crate::kit::wait::wait_until("both have all", || pair.one.rows("ABC").len() + pair.n.rows("ABC").len() == 8);
    one.stop();
    n.stop();
    pair
}

fn sorted(mut texts: Vec<String>) -> Vec<String> {
    texts.sort();
    texts
}
