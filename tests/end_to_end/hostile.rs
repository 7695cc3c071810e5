//! What a mistake in a mapping, a bad row or a hostile peer can do at worst: have its own entries wait, and be shown.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::kit::command::PERSON;
use crate::kit::desk::QUICK;
use crate::kit::pair::{Dialling, Pair, TOKEN};
use crate::kit::schema::{HELPDESK, TICKETS};
use crate::kit::wait::wait_until;

#[test]
fn a_row_that_is_no_text_stands_in_nobodys_way_even_one_by_one() {
    let limits = format!("{QUICK}[limits]\nbatch_entries_max = 1\n");
    let pair = Pair::with("bad-row", &HELPDESK, &TICKETS, &["ABC", "XYZ"], Dialling::Both, &limits);
    pair.one.append("ABC", &["spoiled below", "behind it"]);
    pair.one.append("XYZ", &["of another ticket"]);
    pair.one.administer(
        "update WORK_HISTORY set WORK_HISTORY = cast(x'6dfc7374' as text) where PROBLEM_ID = 'ABC' and WORK_ID = 1",
    );
    let (_one, _n) = pair.start();
    wait_until("what stands behind it arrives", || pair.n.entries("ABC") == ["behind it"]);
    wait_until("the other ticket's arrives", || pair.n.entries("XYZ") == ["of another ticket"]);
    pair.one.edit("ABC", 1, "müst");
    wait_until("it arrives once it is mended", || pair.n.entries("ABC") == ["behind it", "müst"]);
    pair.wait_until_in_step();
}

#[test]
fn a_ticket_that_takes_no_marker_stands_in_nobodys_way() {
    let pair = Pair::new("no-marker", &HELPDESK, &TICKETS, &["AAA", "BBB"]);
    pair.one.administer(
        "create trigger closed before insert on WORK_HISTORY
         when new.PROBLEM_ID = 'AAA' and new.WORK_HISTORY like 'copy in system%'
         begin select raise(abort, 'the ticket is closed'); end",
    );
    pair.one.append("AAA", &["first"]);
    pair.one.append("BBB", &["second"]);
    let (_one, _n) = pair.start();
    wait_until("the other ticket is marked", || pair.one.count("copy in system N: 1") == 1);
    wait_until("the closed one is shown", || pair.one.status()["withheld"]["count"] == 1);
    pair.one.run(&["status"]).ends(PERSON);
    assert_eq!(pair.n.entries("AAA"), ["first"], "and it is at N once, however often it was sent");
    pair.one.administer("drop trigger closed");
    pair.wait_until_in_step();
    assert_eq!(pair.n.entries("AAA"), ["first"]);
}

#[test]
fn a_marker_that_where_hides_is_not_taken_and_multiplies_nothing() {
    let pair = Pair::new("hidden-markers", &HELPDESK, &TICKETS, &["ABC"]);
    // A natural mistake: the history is what is public, and the markers are internal.
    pair.n.reconfigure("share = \"is_internal = 0\"", "where = \"is_internal = 0\"");
    let (_one, _n) = pair.start();
    pair.one.append("ABC", &["once"]);
    wait_until("it is refused", || pair.one.status()["peers"][0]["refused"]["count"] == 1);
    let says = |what: &str| pair.n.status()["refused_here"]["first"].to_string().contains(what);
    wait_until("site N says why", || says("[history] where") && says("[history.marker]"));
    assert!(pair.n.rows("ABC").is_empty(), "{:?}", pair.n.table("ABC"));
    assert_eq!(pair.one.rows("ABC").len(), 1);
}

#[test]
fn a_peer_finds_out_no_internal_note_by_guessing() {
    let pair = Pair::new("guessing", &HELPDESK, &TICKETS, &["ABC"]);
    let note = pair.one.append_internal("ABC", "the PIN is 8342");
    let (one, _n) = pair.start();
    let ask = |pin: &str| {
        let digest = landbridge_core::Digest::of(&format!("the PIN is {pin}"));
        let entry = format!(r#"{{"origin":"1/{note}","digest":"{digest}"}}"#);
        push(one.address.unwrap(), &entry)
    };
    let (right, wrong) = (ask("8342"), ask("0000"));
    assert!(right.contains("not_allowed"), "{right}");
    assert_eq!(right, wrong);
    assert_eq!(pair.one.count("copy in system"), 0, "and nothing was recorded of it");
}

#[test]
fn a_received_row_that_collides_is_refused_and_ours_stays() {
    let pair = Pair::new("replace", &HELPDESK, &TICKETS, &["ABC"]);
    pair.one.administer("create unique index one_of_each on WORK_HISTORY (PROBLEM_ID, WORK_HISTORY)");
    pair.one.append("ABC", &["thanks"]);
    pair.n.append("ABC", &["thanks", "and more"]);
    let (_one, _n) = pair.start();
    wait_until("the other arrives", || pair.one.entries("ABC") == ["thanks", "and more"]);
    wait_until("the sender is told", || pair.n.status()["peers"][0]["refused"]["count"] == 1);
}

/// Speaks as site N to the bridge there, with an entry of its own making. The body of the answer.
fn push(address: SocketAddr, entry: &str) -> String {
    let body = format!(
        r#"{{"wire":1,"from":"N","to":"1","history":"work_history","deliveries":[{{"names":{{"N":"ABC"}},
            "belief":{{"count":0,"sum":"0000000000000000"}},"entries":[{entry}]}}]}}"#
    );
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!(
        "POST /v1/push HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {TOKEN}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}
