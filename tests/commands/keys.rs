//! Keys: lost, readable by others, replaced.

use std::os::unix::fs::PermissionsExt;

use super::lonely::Lonely;
use crate::kit::command::{CONFIGURATION, DONE, PERSON, USAGE};
use crate::kit::desk::is_marker;
use crate::kit::pair::Pair;
use crate::kit::schema::{COMMENTS, HELPDESK, TICKETS};
use crate::kit::wait::wait_until;

const ALL: [&[&str]; 8] = [
    &["run"],
    &["sync"],
    &["status"],
    &["append", "ABC", "text"],
    &["preview", "--peer", "N"],
    &["adopt", "--peer", "N", "--all", "--yes"],
    &["compact"],
    &["rekey", "--yes"],
];

#[test]
fn a_lost_key_file_is_never_made_anew_silently() {
    let site = Lonely::new("lost-key", &HELPDESK);
    site.desk.append("ABC", &["an entry"]);
    std::fs::remove_file(&site.desk.key).unwrap();
    site.each_fails(&ALL, CONFIGURATION, &["no key file", "backup", "rekey --lost-key"]);
    assert!(!site.desk.key.exists());
    let check = site.desk.run(&["check", "--offline"]).ends(CONFIGURATION).out;
    assert!(check.contains("FAULT") && check.contains("rekey --lost-key"), "{check}");
}

#[test]
fn a_key_file_that_others_can_read_is_refused() {
    let site = Lonely::new("open-key", &HELPDESK);
    std::fs::set_permissions(&site.desk.key, std::fs::Permissions::from_mode(0o644)).unwrap();
    site.each_fails(&ALL, CONFIGURATION, &["open to other users (mode 0644)", "chmod 600"]);
}

#[test]
fn a_key_file_with_something_else_in_it_is_refused_and_never_quoted() {
    let site = Lonely::new("spoiled-key", &HELPDESK);
    crate::kit::desk::private(&site.desk.key, "hunter2\n");
    site.each_fails(&ALL, CONFIGURATION, &["line 1 is no key", "backup"]);
    assert!(!site.desk.run(&["status"]).said().contains("hunter2"));
}

#[test]
fn after_rekey_everything_is_still_in_step_and_the_old_key_is_not_needed() {
    let pair = exchanged("rekey");
    let (before, old) = (pair.one.rows("ABC"), std::fs::read_to_string(&pair.one.key).unwrap());
    pair.one.run(&["rekey", "--dry-run"]).ends(DONE);
    pair.one.run(&["rekey"]).ends(USAGE);
    assert_eq!(pair.one.rows("ABC"), before, "nothing was changed by asking");

    pair.one.run(&["rekey", "--yes"]).ends(DONE);
    let new = std::fs::read_to_string(&pair.one.key).unwrap();
    assert!(!new.contains(old.trim()) && new.lines().count() == 1);
    let after = pair.one.rows("ABC");
    assert_eq!(after[..before.len()], before, "nothing was taken away");
    assert!(after[before.len()..].iter().all(|row| is_marker(&row.text)));
    goes_on(&pair);
}

#[test]
fn a_lost_key_is_recovered_from_without_an_echo() {
    let pair = exchanged("lost");
    std::fs::remove_file(&pair.one.key).unwrap();
    pair.one.run(&["status"]).ends(CONFIGURATION);
    let asked = pair.one.run(&["rekey", "--lost-key", "--dry-run"]).ends(PERSON).out;
    assert!(asked.contains("do not verify") && asked.contains("ABC"), "{asked}");
    pair.one.run(&["rekey", "--lost-key", "--yes"]).ends(DONE);
    goes_on(&pair);
}

#[test]
fn with_another_key_the_problems_are_suspended_and_nothing_is_sent_twice() {
    let pair = exchanged("other");
    crate::kit::desk::private(&pair.one.key, &format!("landbridge-key-1 {}0\n", "z".repeat(51)));
    pair.one.append("ABC", &["written under the wrong key"]);
    let status = pair.one.run(&["status", "--json"]).ends(PERSON).json();
    assert_eq!(status["suspended"]["count"], 1);
    let before = pair.n.rows("ABC");
    let n = pair.start_n();
    pair.one.run(&["sync"]).ends(PERSON);
    assert_eq!(pair.n.rows("ABC"), before);
    drop(n);
    pair.one.run(&["rekey", "--lost-key", "--yes"]).ends(DONE);
    let _bridges = pair.start();
    pair.wait_until_in_step();
    assert_eq!(pair.n.entries("ABC"), ["from 1", "from N", "written under the wrong key"]);
}

#[test]
fn no_key_is_changed_while_a_bridge_runs() {
    let pair = Pair::new("rekey-running", &HELPDESK, &TICKETS, &["ABC"]);
    let _one = pair.start_one();
    let ran = pair.one.run(&["rekey", "--yes"]).ends(CONFIGURATION);
    super::lonely::fails_clearly(&ran, CONFIGURATION, &["a bridge runs", "stop the bridge"]);
}

/// Two sites that exchanged an entry each, their bridges stopped.
fn exchanged(name: &str) -> Pair {
    let pair = Pair::new(name, &HELPDESK, &COMMENTS, &["ABC"]);
    let (one, n) = pair.start();
    pair.one.append("ABC", &["from 1"]);
    wait_until("it arrives", || !pair.n.entries("ABC").is_empty());
    pair.n.append("ABC", &["from N"]);
    pair.wait_until_in_step();
    one.stop();
    n.stop();
    pair
}

/// Everything is in step, and stays so when the bridges run again: nothing comes twice.
fn goes_on(pair: &Pair) {
    pair.one.run(&["status"]).ends(DONE);
    let _bridges = pair.start();
    pair.one.append("ABC", &["later"]);
    wait_until("it arrives", || pair.n.entries("ABC").len() > 2);
    pair.wait_until_in_step();
    assert_eq!(pair.one.entries("ABC"), ["from 1", "from N", "later"]);
    assert_eq!(pair.n.entries("ABC"), ["from 1", "from N", "later"]);
}
