//! The demonstration and the operator's verbs, run as an operator runs them: the executable, its files, its exit status.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use rusqlite::Connection;

/// The two help desks of `landbridge demo`, in a folder that is removed at the end.
struct Desks(PathBuf);

impl Desks {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("landbridge-operator-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        let out = landbridge(&["demo", "--dir", &folder.display().to_string()]);
        assert_eq!(out.status.code(), Some(0), "{out:?}");
        Self(folder)
    }

    /// Runs a verb at site 1.
    fn run(&self, args: &[&str]) -> (i32, String) {
        let config = self.0.join("site-1/landbridge.toml").display().to_string();
        let out = landbridge(&[&["--config", &config], args].concat());
        let text = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
        (out.status.code().unwrap_or(-1), text)
    }

    fn key_file(&self) -> PathBuf {
        self.0.join("site-1/landbridge.key")
    }

    /// A person at site 1 appends a public entry.
    fn append(&self, problem: &str, text: &str) {
        self.database()
            .execute(
                "insert into WORK_HISTORY select ?1, coalesce(max(WORK_ID), 0) + 1, ?2, 'anna', 'work', 'public', null
                 from WORK_HISTORY where PROBLEM_ID = ?1",
                [problem, text],
            )
            .unwrap();
    }

    /// A marker of ABC is pasted into XYZ.
    fn paste_marker(&self) {
        let marker = "select WORK_HISTORY from WORK_HISTORY where PROBLEM_ID = 'ABC' and WORK_ID = 3";
        let text: String = self.database().query_row(marker, [], |row| row.get(0)).unwrap();
        self.append("XYZ", &text);
    }

    fn database(&self) -> Connection {
        Connection::open(self.0.join("site-1/helpdesk.db")).unwrap()
    }
}

impl Drop for Desks {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn landbridge(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_landbridge")).args(args).output().unwrap()
}

fn keys(file: &Path) -> usize {
    std::fs::read_to_string(file).unwrap().lines().count()
}

#[test]
fn the_demonstration_proves_itself_and_leaves_nothing_behind() {
    let out = landbridge(&["demo", "--json"]);
    assert_eq!(out.status.code(), Some(0), "{out:?}");
    let outcome: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(outcome["holds"], true);
    for site in outcome["sites"].as_array().unwrap() {
        assert_eq!(site["rows"].as_array().unwrap().len(), 9);
    }
}

#[test]
fn a_folder_with_something_in_it_is_left_alone() {
    let desks = Desks::new("twice");
    let out = landbridge(&["demo", "--dir", &desks.0.display().to_string()]);
    assert_eq!(out.status.code(), Some(2), "{out:?}");
    assert_eq!(desks.run(&["history", "ABC"]).0, 0);
}

#[test]
fn history_and_explain_tell_why_an_entry_is_where_it_is() {
    let desks = Desks::new("explain");
    let (exit, text) = desks.run(&["history", "ABC"]);
    assert!(exit == 0 && text.contains("from N/6") && text.contains("held by N"), "{text}");
    assert!(desks.run(&["explain", "ABC", "4"]).1.contains("its receipt says so: marker in row 5"));
    assert!(desks.run(&["explain", "ABC", "6"]).1.contains("it wrote the entry: marker in row 7"));

    let (exit, text) = desks.run(&["explain", "XYZ", "1"]);
    assert!(exit == 0 && text.contains("the condition `share` (VISIBILITY = 'public') does not let it out"), "{text}");
    assert!(!text.contains("40 percent"), "{text}");
    assert_eq!((desks.run(&["explain", "ABC", "99"]).0, desks.run(&["history", "NONE"]).0), (2, 2));

    desks.append("ABC", "hostile \u{1b}[2J text");
    let (exit, text) = desks.run(&["explain", "ABC", "10"]);
    assert!(exit == 1 && text.contains("is owed it") && !text.contains('\u{1b}'), "{text}");
}

#[test]
fn what_is_adopted_is_no_longer_in_the_preview() {
    let desks = Desks::new("adopt");
    desks.append("ABC", "copied by hand");
    let (exit, text) = desks.run(&["preview", "--peer", "N", "--json"]);
    let delivery: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((exit, &delivery["entries"][0]["text"]), (1, &"copied by hand".into()));

    assert_eq!(desks.run(&["adopt", "--peer", "N", "--all"]).0, 2, "nobody can be asked");
    assert_eq!(desks.run(&["adopt", "--peer", "N", "--all", "--dry-run"]).0, 0);
    assert_eq!(desks.run(&["preview", "--peer", "N"]).0, 1);
    assert_eq!(desks.run(&["adopt", "--peer", "N", "--all", "--yes"]).0, 0);
    assert_eq!(desks.run(&["preview", "--peer", "N"]).0, 0);
    assert!(desks.run(&["explain", "ABC", "10"]).1.contains("an operator said so"));
    assert_eq!(desks.run(&["preview", "--peer", "Q"]).0, 2);
}

#[test]
fn a_pasted_marker_suspends_its_problem_until_it_is_disowned() {
    let desks = Desks::new("disown");
    desks.paste_marker();
    let (exit, text) = desks.run(&["history", "XYZ"]);
    assert!(exit == 6 && text.contains("landbridge disown XYZ 3"), "{text}");
    assert_eq!((desks.run(&["explain", "XYZ", "1"]).0, desks.run(&["preview", "--peer", "N"]).0), (6, 6));
    assert_eq!(desks.run(&["disown", "ABC", "3"]).0, 2);
    assert_eq!(desks.run(&["disown", "XYZ", "3"]).0, 0);
    let (exit, text) = desks.run(&["history", "XYZ"]);
    assert!(exit == 0 && text.contains("owed to N"), "{text}");
}

#[test]
fn a_new_key_replaces_the_old_ones_once_nothing_needs_them() {
    let desks = Desks::new("rekey");
    let before = std::fs::read(desks.key_file()).unwrap();
    assert_eq!(desks.run(&["rekey", "--dry-run"]).0, 0);
    assert_eq!(desks.run(&["rekey"]).0, 2, "nobody can be asked");
    assert_eq!(std::fs::read(desks.key_file()).unwrap(), before);

    desks.paste_marker();
    assert_eq!((desks.run(&["rekey", "--yes"]).0, keys(&desks.key_file())), (6, 2));
    assert_eq!(desks.run(&["disown", "XYZ", "3"]).0, 0);
    assert_eq!((desks.run(&["rekey", "--yes"]).0, keys(&desks.key_file())), (0, 1));
    assert_eq!(desks.run(&["preview", "--peer", "N", "ABC"]).0, 0, "nothing is owed because of the new key");
    assert_eq!(desks.run(&["history", "XYZ"]).0, 0);
}

#[test]
fn a_lost_key_is_replaced_on_the_operators_word_alone() {
    let desks = Desks::new("lost");
    std::fs::remove_file(desks.key_file()).unwrap();
    assert_eq!((desks.run(&["history", "ABC"]).0, desks.run(&["rekey", "--yes"]).0), (3, 3));
    let (exit, text) = desks.run(&["rekey", "--lost-key", "--dry-run"]);
    assert!(exit == 6 && text.contains("3,5,7,9") && !desks.key_file().exists(), "{text}");
    assert_eq!((desks.run(&["rekey", "--lost-key", "--yes"]).0, keys(&desks.key_file())), (0, 1));
    let (exit, text) = desks.run(&["history", "ABC"]);
    assert!(exit == 0 && text.contains("from N/6"), "{text}");
    assert_eq!(desks.run(&["preview", "--peer", "N"]).0, 0, "nothing is sent again");
}
