//! Texts that look like markers, and texts that are: typed by people, pasted by people, sent by a peer. No entry is ever
//! hidden by one, and `status` shows each.

use serde_json::json;

use crate::kit::ask::post;
use crate::kit::command::{DONE, LEFT, PERSON, USAGE};
use crate::kit::desk::{Desk, is_marker};
use crate::kit::pair::{Pair, TOKEN};
use crate::kit::schema::{COMMENTS, HELPDESK, TICKETS};
use crate::kit::wait::wait_until;

#[test]
fn the_text_of_a_marker_typed_without_a_seal_is_an_ordinary_entry() {
    let pair = Pair::new("typed", &HELPDESK, &TICKETS, &["ABC"]);
    let (_one, _n) = pair.start();
    let typed =
        ["copy in system N: 1-9", "copy in system N: 1-9; seal 0000", "copy in system N: everything; seal 0000000000"];
    pair.one.append("ABC", &typed);
    pair.n.append("ABC", &["copy in system 1: 1-9"]);
    let has = |desk: &Desk, text: &str| desk.rows("ABC").iter().any(|row| row.text == text);
    wait_until("all arrive at site N", || typed.iter().all(|text| has(&pair.n, text)));
    wait_until("the one arrives at site 1", || has(&pair.one, "copy in system 1: 1-9"));
    pair.wait_until_in_step();
    assert_eq!(pair.one.status()["suspended"]["count"], 0);
}

#[test]
fn a_marker_pasted_again_into_its_own_problem_changes_nothing() {
    let pair = Pair::new("pasted", &HELPDESK, &COMMENTS, &["ABC"]);
    let (_one, _n) = pair.start();
    pair.one.append("ABC", &["first"]);
    pair.wait_until_in_step();
    let marker = marker_of(&pair.one);
    pair.one.append("ABC", &[&marker, "second"]);
    wait_until("what follows arrives", || pair.n.entries("ABC").len() > 1);
    pair.wait_until_in_step();
    assert_eq!(pair.n.entries("ABC"), ["first", "second"]);
    assert_eq!(pair.one.entries("ABC"), ["first", "second"]);
    assert_eq!(pair.one.status()["suspended"]["count"], 0);
}

#[test]
fn a_marker_pasted_into_another_problem_suspends_that_until_it_is_disowned() {
    let pair = Pair::new("foreign", &HELPDESK, &TICKETS, &["ABC", "XYZ"]);
    let (_one, _n) = pair.start();
    pair.one.append("ABC", &["of another problem"]);
    pair.one.append("XYZ", &["of this problem"]);
    pair.wait_until_in_step();
    let rows_before = pair.n.rows("XYZ").len();
    let [pasted, behind] = pair.one.append("XYZ", &[&marker_of(&pair.one), "behind it"])[..] else { panic!() };

    let status = pair.one.run(&["status", "--json"]).ends(PERSON).json();
    assert_eq!(status["suspended"]["first"], json!([{"problem": "XYZ", "rows": [pasted]}]));
    let human = pair.one.run(&["status"]).ends(PERSON).out;
    assert!(human.contains("Suspended") && human.contains("XYZ"), "{human}");
    let explained = pair.one.run(&["explain", "XYZ", &behind.to_string()]).ends(PERSON).out;
    assert!(explained.contains("suspended") && explained.contains("disown"), "{explained}");

    // Nothing of the suspended problem leaves or is taken; other problems flow.
    pair.n.append("XYZ", &["to a suspended problem"]);
    pair.one.append("ABC", &["flows"]);
    wait_until("the other problem flows", || pair.n.entries("ABC").len() == 2);
    let refused = || pair.n.status()["peers"][0]["refused"]["first"].clone();
    wait_until("site N is told", || refused().as_array().is_some_and(|r| !r.is_empty()));
    assert_eq!(refused()[0]["reason"], "suspended at the peer");
    assert_eq!(pair.n.rows("XYZ").len(), rows_before + 1);
    assert!(!pair.one.entries("XYZ").contains(&"to a suspended problem".to_owned()));

    // A row that is no suspicious marker cannot be disowned.
    pair.one.run(&["disown", "XYZ", "1"]).ends(USAGE);
    pair.one.run(&["disown", "XYZ", &pasted.to_string()]).ends(DONE);
    wait_until("what stood behind it arrives", || pair.n.entries("XYZ").contains(&"behind it".to_owned()));
    wait_until("what came from N arrives", || pair.one.entries("XYZ").contains(&"to a suspended problem".to_owned()));

    // The disowned row is an entry now, and as every text that is a complete marker it is refused by the peer.
    wait_until("the pasted text is refused", || pair.one.status()["peers"][0]["refused"]["count"] == 1);
    let refused = pair.one.status()["peers"][0]["refused"]["first"][0].clone();
    assert_eq!((&refused["row"], &refused["reason"]), (&json!(pasted), &json!("marker text")));
    assert_eq!(pair.one.status()["suspended"]["count"], 0);
    assert!(!pair.n.rows("XYZ").iter().any(|row| row.text == marker_of(&pair.one)));
}

#[test]
fn a_complete_marker_that_a_peer_sends_as_text_is_refused() {
    let pair = Pair::new("sent", &HELPDESK, &TICKETS, &["ABC"]);
    let (_one, _n) = pair.start();
    pair.one.append("ABC", &["an entry"]);
    pair.wait_until_in_step();
    let before = pair.n.rows("ABC");

    // Whoever has the token of site 1 sends the receiver's own marker, and a harmless entry beside it.
    let own = marker_of(&pair.n);
    let entry = |origin: &str, text: &str| json!({"origin": origin, "text": text});
    let push = json!({
        "wire": 1, "from": "1", "to": "N", "history": "work_history",
        "deliveries": [{
            "names": {"1": "ABC"}, "belief": {"count": 1, "sum": "0000000000000000"},
            "entries": [entry("1/100", &own), entry("1/101", "copy in system N: 1; seal 0123456789"), entry("1/102", "harmless")],
        }],
    });
    let (status, answer) = post(pair.to_n.address, TOKEN, "/v1/push", &push);
    assert_eq!(status, 200, "{answer}");
    let receipt = &answer["receipts"][0];
    assert_eq!(
        receipt["refused"],
        json!([{"origin": "1/100", "code": "marker_text"}, {"origin": "1/101", "code": "marker_text"}]),
        "{answer}"
    );
    let after = pair.n.rows("ABC");
    let appended: Vec<_> = after[before.len()..].iter().map(|row| row.text.as_str()).collect();
    assert_eq!((appended[0], appended.len(), is_marker(appended[1])), ("harmless", 2, true));
    wait_until("status at site N shows both", || pair.n.status()["refused_here"]["count"] == 2);
    assert!(pair.n.run(&["status"]).out.contains("marker text"));
}

#[test]
fn nobody_at_the_command_line_can_append_a_marker() {
    let pair = Pair::new("appended", &HELPDESK, &TICKETS, &["ABC"]);
    let ran = pair.one.run(&["append", "ABC", "copy in system N: 1; seal 0123456789"]).ends(USAGE);
    assert!(ran.err.contains("only the bridge writes markers"), "{}", ran.err);
    assert_eq!(pair.one.rows("ABC"), []);
    pair.one.run(&["append", "ABC", "copy in system N: 1"]).ends(DONE);
    pair.one.run(&["status"]).ends(LEFT);
}

/// The first marker of a desk's first problem.
fn marker_of(desk: &Desk) -> String {
    desk.rows("ABC").into_iter().map(|row| row.text).find(|text| is_marker(text)).unwrap()
}
