//! The record of what left as an auditor and an operator use it: checked with and without the key, shown, moved on, and what
//! wrong input says.

use std::path::PathBuf;

use super::lonely::{Lonely, fails_clearly};
use crate::kit::command::{CONFIGURATION, DONE, PERSON, USAGE, run};
use crate::kit::desk::Desk;
use crate::kit::pair::Pair;
use crate::kit::schema::{COMMENTS, HELPDESK, TICKETS};
use crate::kit::wait::wait_until;

const RECORD: &str = "[audit]\nfile = \"egress.audit\"\n";

fn record(desk: &Desk) -> PathBuf {
    desk.folder.join("egress.audit")
}

/// Two sites of which the first keeps a record, after three entries left it one by one.
fn recorded(name: &str, texts: bool) -> Pair {
    let pair = Pair::new(name, &HELPDESK, &COMMENTS, &["ABC", "XYZ"]);
    let kept = if texts { "texts = true\n" } else { "" };
    pair.one.reconfigure("[pace]", &format!("{RECORD}{kept}[pace]"));
    let (one, n) = pair.start();
    for (problem, text) in [("ABC", "the PIN is 8342"), ("XYZ", "of another ticket"), ("ABC", "solved")] {
        pair.one.append(problem, &[text]);
        wait_until("it arrives", || pair.n.entries(problem).contains(&text.to_owned()));
    }
    pair.wait_until_in_step();
    one.stop();
    n.stop();
    pair
}

#[test]
fn a_site_without_a_record_says_how_to_keep_one() {
    let site = Lonely::new("audit-none", &HELPDESK);
    let commands: [&[&str]; 4] = [&["audit", "verify"], &["audit", "show"], &["audit", "head"], &["audit", "rotate"]];
    site.each_fails(&commands, CONFIGURATION, &["keeps no record", "[audit]"]);
    site.desk.reconfigure("[pace]", &format!("{RECORD}[pace]"));
    site.each_fails(&commands[..3], CONFIGURATION, &["egress.audit", "is begun with the first entry"]);
    assert!(!record(&site.desk).exists(), "asking makes no file");
    let check = site.desk.run(&["check", "--offline"]).out;
    assert!(check.contains("is begun with the first entry that leaves"), "{check}");
}

#[test]
fn wrong_input_is_told_apart_from_a_wrong_record() {
    let site = Lonely::new("audit-wrong", &HELPDESK);
    site.desk.reconfigure("[pace]", &format!("{RECORD}[pace]"));
    for args in
        [&["audit"][..], &["audit", "verfy"], &["audit", "verify", "--head", "7"], &["audit", "show", "--peer", "?"]]
    {
        site.desk.run(args).ends(USAGE);
    }
    let none = site.desk.run(&["audit", "verify", "/nowhere/at/all"]);
    fails_clearly(&none, CONFIGURATION, &["/nowhere/at/all", "cannot be opened", "name a file that is there"]);
    let folder = site.desk.folder.to_str().unwrap();
    fails_clearly(&site.desk.run(&["audit", "verify", folder]), CONFIGURATION, &["no regular file"]);
}

#[test]
fn without_texts_the_record_holds_none_and_with_texts_it_does() {
    let pair = recorded("audit-digests", false);
    let kept = std::fs::read_to_string(record(&pair.one)).unwrap();
    assert!(!kept.contains("PIN") && !kept.contains("anna"), "{kept}");
    assert!(kept.contains("\"fields\":[\"author\"]"), "{kept}");
    // Nor can it be guessed by whoever has the file alone.
    let guessed = blake3::hash(b"the PIN is 8342").to_hex();
    assert!(!kept.contains(guessed.as_str()) && !kept.contains(&guessed.as_str()[..32]), "{kept}");

    let shown = pair.one.run(&["audit", "show", "--problem", "ABC"]).ends(DONE).out;
    assert!(shown.contains("1/1") && shown.contains("15 bytes") && !shown.contains("XYZ"), "{shown}");
    assert!(shown.contains("2 entries left"), "{shown}");
    let nobody = pair.one.run(&["audit", "show", "--peer", "C"]).ends(USAGE);
    assert!(nobody.out.contains("0 entries left for C") && nobody.err.contains("C is no peer"), "{}", nobody.err);
    let lines = pair.one.run(&["audit", "show", "--json"]).ends(DONE).out;
    assert_eq!(lines.lines().count(), 3);

    let pair = recorded("audit-texts", true);
    let kept = std::fs::read_to_string(record(&pair.one)).unwrap();
    assert!(kept.contains("the PIN is 8342") && kept.contains("\"values\":{\"author\":\"anna\"}"), "{kept}");
    let shown = pair.one.run(&["audit", "show"]).ends(DONE).out;
    assert!(shown.contains("the PIN is 8342"), "{shown}");
}

#[test]
fn an_auditor_checks_with_the_files_alone_and_with_the_key() {
    let pair = recorded("audit-alone", false);
    let file = record(&pair.one);
    let file = file.to_str().unwrap();
    let head = pair.one.run(&["audit", "head"]).ends(DONE).out.trim().to_owned();
    let alone = run(["audit", "verify", "--chain-only", file, "--head", &head]).ends(DONE).out;
    assert!(alone.contains("4 lines are as written") && alone.contains("No seal was checked"), "{alone}");
    let keyed = pair.one.run(&["audit", "verify"]).ends(DONE).out;
    assert!(keyed.contains("vouch for everything up to number 4"), "{keyed}");
    // The other site's key vouches for none of it.
    let other = pair.n.run(&["audit", "verify", file]).ends(PERSON).out;
    assert!(other.contains("NOTHING VOUCHES") && other.contains("not at hand"), "{other}");
    // Without the key nothing is claimed.
    std::fs::rename(&pair.one.key, pair.one.folder.join("aside")).unwrap();
    fails_clearly(&pair.one.run(&["audit", "verify"]), CONFIGURATION, &["no key file"]);
    pair.one.run(&["audit", "verify", "--chain-only"]).ends(DONE);
}

#[test]
fn a_changed_line_is_named() {
    let pair = recorded("audit-changed", false);
    let kept = std::fs::read_to_string(record(&pair.one)).unwrap();
    std::fs::write(record(&pair.one), kept.replacen("\"problem\":\"XYZ\"", "\"problem\":\"XYY\"", 1)).unwrap();
    let said = pair.one.run(&["audit", "verify"]).ends(PERSON).out;
    assert!(said.starts_with("WRONG:") && said.contains("line 3 (number 3): changed"), "{said}");
    let said = pair.one.run(&["audit", "verify", "--json"]).ends(PERSON).json();
    assert_eq!((&said["wrong"]["how"], &said["wrong"]["line"]), (&"changed".into(), &3.into()));
    let head = pair.one.run(&["audit", "head"]).ends(DONE).out;
    std::fs::write(record(&pair.one), kept.lines().take(3).map(|l| format!("{l}\n")).collect::<String>()).unwrap();
    forget(&pair.one);
    pair.one.run(&["audit", "verify"]).ends(DONE);
    let said = pair.one.run(&["audit", "verify", "--head", head.trim()]).ends(PERSON).out;
    assert!(said.contains("line 4 (number 4): missing") && said.contains("ends with number 3"), "{said}");
    assert!(said.contains("Before it 3 lines are as written"), "{said}");
    let third = said.lines().find_map(|line| line.strip_prefix("Head: ")).map(str::to_owned);
    assert_eq!(third, None, "no head is offered of a record that is wrong");
    let other = format!("3:{}", "0".repeat(64));
    let said = pair.one.run(&["audit", "verify", "--head", &other]).ends(PERSON).out;
    assert!(said.contains("line 3 (number 3): changed") && said.contains("Before it 2 lines are"), "{said}");
}

/// The record without its last line.
fn cut(desk: &Desk) {
    let kept = std::fs::read_to_string(record(desk)).unwrap();
    let lines: Vec<_> = kept.lines().map(|line| format!("{line}\n")).collect();
    std::fs::write(record(desk), lines[..lines.len() - 1].concat()).unwrap();
}

/// What is in no table of the site is forgotten.
fn forget(desk: &Desk) {
    std::fs::remove_file(desk.folder.join("landbridge.toml.cache")).unwrap();
}

#[test]
fn a_record_that_was_cut_while_no_bridge_ran_stops_what_leaves_until_the_operator_accepts() {
    let pair = recorded("audit-cut", false);
    let left = pair.one.run(&["audit", "head"]).ends(DONE).out.trim().to_owned();
    cut(&pair.one);
    pair.one.append("ABC", &["after the cut"]);
    let n = pair.start_n();
    let said = pair.one.run(&["sync"]).ends(PERSON).said();
    for words in ["egress.audit was replaced or cut", &left, "it ends with 3:", "rotate --accept"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let bridge = pair.start_one();
    wait_until("a daemon says so, too", || pair.one.run(&["status"]).said().contains("replaced or cut"));
    bridge.stop();
    assert_eq!(pair.n.entries("ABC").len(), 2, "nothing left");
    fails_clearly(&pair.one.run(&["audit", "head"]), PERSON, &["replaced or cut"]);
    fails_clearly(&pair.one.run(&["audit", "rotate"]), PERSON, &["replaced or cut"]);
    assert!(pair.one.run(&["check"]).ends(CONFIGURATION).out.contains("replaced or cut"));
    let said = pair.one.run(&["audit", "verify"]).ends(PERSON).out;
    assert!(said.contains("line 4 (number 4): missing") && said.contains("went on to 4 once"), "{said}");

    pair.one.run(&["audit", "rotate", "--accept"]).ends(DONE);
    pair.one.run(&["sync"]).ends(DONE);
    assert_eq!(pair.n.entries("ABC").len(), 3);
    let (aside, new) = (pair.one.folder.join("egress.audit.3.unchecked"), record(&pair.one));
    let begin = std::fs::read_to_string(&new).unwrap();
    assert!(begin.lines().next().unwrap().contains(&format!("left it with {left}")), "it stays visible: {begin}");
    let files = [aside.to_str().unwrap(), new.to_str().unwrap()];
    let said = pair.one.run(&["audit", "verify", files[0], files[1]]).ends(DONE).out;
    assert!(said.contains("on an operator's word"), "{said}");
    drop(n);
}

#[test]
fn a_record_that_is_gone_or_empty_is_told_from_one_that_never_was() {
    let pair = recorded("audit-gone", false);
    let left = pair.one.run(&["audit", "head"]).ends(DONE).out.trim().to_owned();
    let _n = pair.start_n();
    std::fs::remove_file(record(&pair.one)).unwrap();
    pair.one.append("ABC", &["after the loss"]);
    for verb in [&["audit", "head"][..], &["audit", "verify"], &["sync"]] {
        let said = pair.one.run(verb).ends(PERSON).said();
        assert!(said.contains(&left) && said.contains("it has no line now"), "{verb:?}: {said}");
    }
    assert!(!record(&pair.one).exists(), "one that is gone is not found empty later");

    std::fs::write(record(&pair.one), "").unwrap();
    let said = pair.one.run(&["audit", "verify"]).ends(PERSON).out;
    assert!(said.contains("The record is empty, and went on to number 4 once"), "{said}");
    pair.one.run(&["sync"]).ends(PERSON);
    pair.one.run(&["audit", "rotate", "--accept"]).ends(DONE);
    let said = pair.one.run(&["audit", "verify"]).ends(DONE).out;
    assert!(said.contains("Numbers 5 to 5") && said.contains("on an operator's word"), "{said}");
    pair.one.run(&["sync"]).ends(DONE);

    // The cache is best effort: without it only this check is lost.
    std::fs::write(record(&pair.one), "").unwrap();
    forget(&pair.one);
    let said = pair.one.run(&["audit", "verify"]).ends(PERSON).out;
    assert!(said.starts_with("EMPTY:") && !said.contains("as written"), "{said}");
    pair.one.append("ABC", &["once more"]);
    pair.one.run(&["sync"]).ends(DONE);
}

#[test]
fn a_record_that_was_rotated_while_no_bridge_ran_is_gone_on_with() {
    let pair = recorded("audit-moved", false);
    let _n = pair.start_n();
    std::fs::rename(record(&pair.one), pair.one.folder.join("egress.audit.1")).unwrap();
    // As logrotate does with `create`.
    std::fs::write(record(&pair.one), "").unwrap();
    pair.one.append("ABC", &["after rotation"]);
    pair.one.run(&["sync"]).ends(DONE);
    let said = pair.one.run(&["audit", "verify"]).ends(DONE).out;
    assert!(said.contains("Numbers 5 to 6") && said.contains("egress.audit.1"), "{said}");
}

#[test]
fn what_was_edited_or_deleted_since_is_told_and_is_no_fault() {
    let pair = recorded("audit-database", false);
    let compare = || pair.one.run(&["audit", "verify", "--against-database", "--json"]).ends(DONE).json();
    assert_eq!(compare()["database"]["same"], 3);
    pair.one.edit("ABC", 1, "the PIN is gone");
    pair.one.delete("XYZ", 1);
    let found = compare();
    assert_eq!((&found["database"]["changed"], &found["database"]["gone"]), (&1.into(), &1.into()), "{found}");
    let said = pair.one.run(&["audit", "verify", "--against-database"]).ends(DONE).out;
    assert!(said.contains("changed since") && said.contains("XYZ"), "{said}");
}

#[test]
fn after_rekey_old_lines_verify_by_the_key_that_is_kept_and_without_it_that_is_told() {
    let pair = recorded("audit-rekey", false);
    pair.one.run(&["rekey", "--yes"]).ends(DONE);
    let kept = pair.one.folder.join("egress.audit.keys");
    assert!(kept.exists());
    {
        let _bridges = pair.start();
        pair.one.append("ABC", &["under the new key"]);
        pair.wait_until_in_step();
    }
    let all = pair.one.run(&["audit", "verify", "--json"]).ends(DONE).json();
    assert_eq!((&all["sealed"], &all["lines"]), (&5.into(), &5.into()), "{all}");
    pair.one.run(&["audit", "verify", "--against-database"]).ends(DONE);
    std::fs::remove_file(kept).unwrap();
    let said = pair.one.run(&["audit", "verify"]).ends(DONE).out;
    assert!(said.contains("vouch for everything up to number 5"), "{said}");
    assert!(said.contains("among numbers 1 to 4") && said.contains("4 lines"), "{said}");
}

#[test]
fn a_lost_key_stops_what_leaves_until_the_operator_accepts() {
    let pair = recorded("audit-lost-key", false);
    std::fs::remove_file(&pair.one.key).unwrap();
    pair.one.run(&["rekey", "--lost-key", "--yes"]).ends(DONE);
    pair.one.append("ABC", &["after the loss"]);
    let n = pair.start_n();
    let said = pair.one.run(&["sync"]).ends(PERSON).said();
    assert!(said.contains("is not at hand") && said.contains("rotate --accept"), "{said}");
    assert_eq!(pair.n.entries("ABC").len(), 2, "nothing left");
    pair.one.run(&["audit", "rotate"]).ends(PERSON);
    pair.one.run(&["audit", "rotate", "--accept"]).ends(DONE);
    pair.one.run(&["sync"]).ends(DONE);
    assert_eq!(pair.n.entries("ABC").len(), 3);
    drop(n);
    let aside = std::fs::read_dir(&pair.one.folder).unwrap().flatten().map(|e| e.path());
    let aside: Vec<_> = aside.filter(|path| path.to_str().unwrap().ends_with(".unchecked")).collect();
    let (old, new) = (aside[0].to_str().unwrap(), record(&pair.one));
    let said = pair.one.run(&["audit", "verify", old, new.to_str().unwrap()]).ends(DONE).out;
    assert!(said.contains("on an operator's word") && said.contains("not at hand"), "{said}");
}

#[test]
fn a_preview_passes_a_row_that_is_no_text_and_ends() {
    let pair = Pair::new("preview-bad-row", &HELPDESK, &TICKETS, &["ABC"]);
    pair.one.reconfigure("[pace]", "[limits]\nbatch_entries_max = 1\n[pace]");
    pair.one.append("ABC", &["spoiled below", "behind it"]);
    pair.one.administer("update WORK_HISTORY set WORK_HISTORY = cast(x'6dfc7374' as text) where WORK_ID = 1");
    let shown = pair.one.run(&["preview", "--peer", "N", "--json"]).out;
    assert!(shown.contains("behind it") && shown.lines().count() == 1, "{shown}");
}
