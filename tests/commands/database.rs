//! What is wrong with the database itself: not there, locked, read-only, on a full disk.

use std::os::unix::fs::PermissionsExt;

use super::lonely::{Lonely, fails_clearly};
use crate::kit::command::{CONFIGURATION, DATABASE, DONE, LEFT};
use crate::kit::mounts::{is_root, with_mounts};
use crate::kit::schema::{HELPDESK, TICKETS};

#[test]
fn a_database_that_is_not_there_is_never_created() {
    let site = Lonely::new("missing", &HELPDESK);
    std::fs::remove_file(&site.desk.database).unwrap();
    for command in [&["run"][..], &["sync"], &["status"], &["history", "ABC"], &["append", "ABC", "text"]] {
        fails_clearly(&site.desk.run(command), DATABASE, &["desk.db", "not created", "[database] url"]);
    }
    let check = site.desk.run(&["check", "--offline"]).ends(DATABASE).out;
    assert!(check.contains("FAULT") && check.contains("desk.db"), "{check}");
    assert!(!site.desk.database.exists());
}

#[test]
fn a_file_that_is_no_database() {
    let site = Lonely::new("no-database", &HELPDESK);
    std::fs::write(&site.desk.database, "this is a text file, and a rather long one. ".repeat(100)).unwrap();
    let words = ["desk.db", "no SQLite database"];
    site.each_fails(&[&["run"], &["status"], &["append", "ABC", "text"]], CONFIGURATION, &words);
}

#[test]
fn a_database_that_another_program_keeps_locked() {
    let site = Lonely::new("locked", &TICKETS);
    site.desk.append("ABC", &["an entry"]);
    site.desk.reconfigure("url = \"sqlite:desk.db\"\n", "url = \"sqlite:desk.db\"\nbusy = \"200ms\"\n");
    let other = site.desk.sql();
    other.execute_batch("begin exclusive").unwrap();
    let commands: [&[&str]; 5] = [
        &["append", "ABC", "text"],
        &["status"],
        &["sync"],
        &["adopt", "--peer", "N", "--all", "--yes"],
        &["rekey", "--yes"],
    ];
    site.each_fails(
        &commands,
        DATABASE,
        &["locked by another program", "desk.db", "end the program that holds the lock"],
    );
    other.execute_batch("rollback").unwrap();
    site.desk.run(&["status"]).ends(LEFT);
}

#[test]
fn a_locked_database_is_waited_for() {
    let site = Lonely::new("waited", &TICKETS);
    let other = site.desk.sql();
    other.execute_batch("begin immediate").unwrap();
    std::thread::scope(|scope| {
        let append = scope.spawn(|| site.desk.run(&["append", "ABC", "after the lock"]));
        // The lock goes once the command certainly runs into it or has not come so far: both must do.
        other.execute_batch("select count(*) from ticket_comments; rollback").unwrap();
        append.join().unwrap().ends(DONE);
    });
    assert_eq!(site.desk.entries("ABC"), ["after the lock"]);
}

#[test]
fn a_database_that_cannot_be_written() {
    let site = Lonely::new("read-only", &TICKETS);
    site.desk.append("ABC", &["an entry"]);
    let words = ["cannot be written", "desk.db", "give this user the right to write"];
    let commands = ["append ABC text", "adopt --peer N --all --yes"];
    let before = site.desk.bytes();
    if is_root() {
        // Nothing is forbidden to root, except by the file system.
        for command in commands {
            let script = format!(
                "mount --bind \"$1/site-1\" \"$1/site-1\" && mount -o remount,bind,ro \"$1/site-1\" || exit 77
                 \"$0\" --config \"$1/site-1/landbridge.toml\" {command} > \"$1/out\""
            );
            let Some(mut ran) = with_mounts(site.folder.path(), &script) else { return };
            // Before it writes, `adopt` says what it counted.
            ran.out = String::new();
            let err: Vec<_> = ran.err.lines().filter(|line| !line.contains(" WARN ")).collect();
            ran.err = err.join("\n");
            fails_clearly(&ran, DATABASE, &words);
        }
    } else {
        let may = |mode| std::fs::set_permissions(&site.desk.database, std::fs::Permissions::from_mode(mode)).unwrap();
        may(0o444);
        site.each_fails(&[&["append", "ABC", "text"]], DATABASE, &words);
        may(0o600);
    }
    assert!(site.desk.bytes() == before);
}

#[test]
fn a_full_disk() {
    let site = Lonely::new("full", &TICKETS);
    site.desk.append("ABC", &["an entry"]);
    for command in ["append ABC text", "adopt --peer N --all --yes"] {
        let script = format!(
            "mkdir -p \"$1/small\" && mount -t tmpfs -o size=1m tmpfs \"$1/small\" || exit 77
             cp -p \"$1\"/site-1/* \"$1/small\" && dd if=/dev/zero of=\"$1/small/filler\" bs=4096 2> /dev/null
             \"$0\" --config \"$1/small/landbridge.toml\" {command} > \"$1/out\"
             code=$?
             cmp \"$1/small/desk.db\" \"$1/site-1/desk.db\" || exit 99
             exit $code"
        );
        let Some(mut ran) = with_mounts(site.folder.path(), &script) else { return };
        ran.err = ran.err.lines().filter(|line| !line.contains(" WARN ")).collect::<Vec<_>>().join("\n");
        fails_clearly(&ran, DATABASE, &["no room left", "desk.db", "free room on the disk"]);
    }
}
