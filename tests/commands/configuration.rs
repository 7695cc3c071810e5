//! What is wrong with the files: the configuration, the mapping, the address.

use std::net::TcpListener;

use super::lonely::{Lonely, fails_clearly};
use crate::kit::command::{CONFIGURATION, DATABASE, DONE, LEFT, PEER, PERSON, USAGE, run};
use crate::kit::pair::{Pair, TOKEN};
use crate::kit::schema::{COMMENTS, HELPDESK, TICKETS};

const ALL: [&[&str]; 8] = [
    &["run"],
    &["sync"],
    &["status"],
    &["history", "ABC"],
    &["append", "ABC", "text"],
    &["preview", "--peer", "N"],
    &["adopt", "--peer", "N", "--all", "--yes"],
    &["rekey", "--yes"],
];

#[test]
fn no_configuration_file() {
    for verb in ["run", "status"] {
        let ran = run(["--config", "/nowhere/landbridge.toml", verb]).ends(CONFIGURATION);
        fails_clearly(&ran, CONFIGURATION, &["/nowhere/landbridge.toml", "landbridge init"]);
    }
}

#[test]
fn a_wrong_column_name_names_the_columns_that_there_are() {
    let site = Lonely::new("column", &HELPDESK);
    site.desk.reconfigure("text = \"WORK_HISTORY\"", "text = \"WORK_TEXT\"");
    site.each_fails(&ALL, CONFIGURATION, &["WORK_TEXT", "WORK_HISTORY", "OPERATOR", "landbridge check"]);
    let check = site.desk.run(&["check", "--offline"]).ends(CONFIGURATION).out;
    assert!(check.contains("FAULT") && check.contains("no column WORK_TEXT"), "{check}");
}

#[test]
fn a_table_without_a_usable_number_is_told_the_index_that_it_needs() {
    let site = Lonely::new("number", &TICKETS);
    site.desk.administer(
        "create table copy as select * from ticket_comments; drop table ticket_comments;
         alter table copy rename to ticket_comments",
    );
    let words = ["no primary key or unique index on exactly (ticket, no)", "create unique index", "landbridge check"];
    site.each_fails(&ALL, CONFIGURATION, &words);
    // Doing what it says helps.
    let said = site.desk.run(&["status"]).err;
    let index = said.split_once("create unique index ").unwrap().1.lines().next().unwrap();
    site.desk.administer(&format!("create unique index {index}"));
    site.desk.run(&["check", "--offline"]).ends(DONE);
}

#[test]
fn all_faults_of_a_configuration_are_told_at_once_each_with_its_line() {
    let site = Lonely::new("faults", &HELPDESK);
    site.desk.reconfigure("site = \"1\"", "site = \"no good name\"");
    site.desk.reconfigure("numbering = \"per-problem\"", "numbering = \"by-hand\"");
    site.desk.reconfigure("gather = \"20ms\"", "gather = \"soon\"\nhurry = true");
    let text = std::fs::read_to_string(&site.desk.config).unwrap();
    let line = |of: &str| text.lines().position(|line| line.starts_with(of)).unwrap() + 1;
    let before = site.desk.bytes();
    let said = site.desk.run(&["status"]).ends(CONFIGURATION).err;
    let expected = [("site =", "no good name"), ("numbering", "by-hand"), ("gather", "soon"), ("hurry", "hurry")];
    assert_eq!(said.lines().count(), expected.len(), "{said}");
    for (of, what) in expected {
        let place = format!("landbridge.toml:{}:", line(of));
        assert!(
            said.lines().any(|fault| fault.contains(&place) && fault.contains(what)),
            "no {what} at {place} in: {said}"
        );
    }
    assert!(site.desk.bytes() == before);
}

#[test]
fn a_port_that_is_in_use() {
    let site = Lonely::new("port", &TICKETS);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    site.desk.reconfigure("[[peer]]", &format!("[listen]\naddress = \"{address}\"\n[[peer]]"));
    site.each_fails(&[&["run"]], CONFIGURATION, &[&address, "already", "another port"]);
    let check = site.desk.run(&["check", "--offline"]).ends(CONFIGURATION).out;
    assert!(check.contains("FAULT") && check.contains(&address), "{check}");
}

#[test]
fn a_peer_that_is_not_there() {
    let site = Lonely::new("peer", &HELPDESK);
    site.desk.append("ABC", &["to nobody"]);
    let before = site.desk.bytes();
    let sync = site.desk.run(&["sync"]).ends(PEER);
    assert!(sync.out.contains("did not answer"), "{}", sync.out);
    assert!(
        sync.err.contains("N cannot be reached") && sync.err.contains("next: start the peer's bridge"),
        "{}",
        sync.err
    );
    let check = site.desk.run(&["check"]).ends(PEER).out;
    assert!(check.contains("peer N") && check.contains("cannot be reached"), "{check}");
    assert!(site.desk.bytes() == before);
    site.desk.run(&["status"]).ends(LEFT);
}

#[test]
fn a_peer_that_does_not_accept_this_site() {
    let pair = Pair::new("token", &HELPDESK, &TICKETS, &["ABC"]);
    let _n = pair.start_n();
    pair.one.append("ABC", &["to a stranger"]);
    let before = pair.one.bytes();
    pair.one.reconfigure(TOKEN, "a-token-that-the-other-site-does-not-have");
    let sync = pair.one.run(&["sync"]).ends(PEER);
    let next = "compare site names, history name, certificates and tokens on both sides";
    assert!(sync.err.contains("N does not accept this site") && sync.err.contains(next), "{}", sync.err);
    let check = pair.one.run(&["check"]).ends(PEER).out;
    assert!(check.contains("FAULT") && check.contains(next), "{check}");
    pair.one.reconfigure("a-token-that-the-other-site-does-not-have", TOKEN);
    pair.one.reconfigure("name = \"work_history\"", "name = \"another_history\"");
    let sync = pair.one.run(&["sync"]).ends(PEER);
    assert!(sync.err.contains("another_history"), "{}", sync.err);
    assert!(!sync.said().contains("a-token"), "{}", sync.said());
    assert!(pair.one.bytes() == before);
    assert_eq!(pair.n.rows("ABC"), []);
}

#[test]
fn a_peer_or_a_problem_that_nobody_knows() {
    let site = Lonely::new("unknown", &HELPDESK);
    site.each_fails(
        &[&["preview", "--peer", "X"], &["retry", "--peer", "X"]],
        USAGE,
        &["X is no peer", "the peers are: N"],
    );
    let mistyped: [&[&str]; 5] = [
        &["history", "NONE"],
        &["explain", "NONE", "1"],
        &["preview", "--peer", "N", "ABC", "NONE"],
        &["adopt", "--peer", "N", "ABC", "NONE", "--yes"],
        &["retry", "NONE"],
    ];
    site.each_fails(&mistyped, USAGE, &["problem NONE has no rows", "as it stands in the mapped problem column"]);
    // A problem without an entry yet is no mistake.
    site.desk.run(&["preview", "--peer", "N", "ABC"]).ends(DONE);
    site.each_fails(&[&["append", "ABC", "text", "--field", "colour=red"]], USAGE, &["colour", "author"]);
}

#[test]
fn a_mistyped_problem_does_not_agree_with_a_peer_and_one_that_is_gone_here_is_found() {
    let pair = Pair::new("mistyped", &HELPDESK, &COMMENTS, &["ABC", "XYZ"]);
    let (one, n) = pair.start();
    pair.one.append("ABC", &["open ticket"]);
    pair.wait_until_in_step();
    for peer in [&["--peer", "N"][..], &[]] {
        fails_clearly(
            &pair.one.run(&[&["verify", "ABC", "NONE"], peer].concat()),
            USAGE,
            &["problem NONE has no rows"],
        );
    }
    fails_clearly(&pair.one.run(&["repair", "--peer", "N", "NONE", "--yes"]), USAGE, &["problem NONE has no rows"]);
    one.stop();
    // As after a restore: neither the ticket nor its history is here any more.
    pair.one.administer("delete from WORK_HISTORY; delete from PROBLEM");
    let said = pair.one.run(&["verify", "--peer", "N", "ABC"]).ends(PERSON).out;
    assert!(said.contains("ABC") && !said.contains("has no rows"), "{said}");
    n.stop();
}

#[test]
fn a_row_that_the_table_does_not_take() {
    let site = Lonely::new("row", &TICKETS);
    site.each_fails(&[&["append", "ABC", "forbidden"]], DATABASE, &["constraint"]);
    site.each_fails(&[&["append", "ABC", "an alarm"]], DATABASE, &["trigger"]);
}
