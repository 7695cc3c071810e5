//! What happens between a delivery and its receipt, and what appears where nobody looks any more: numbers given out
//! again, rows changed, rows made public late, rows that come in below what was sent.

use serde_json::json;

use crate::kit::command::PERSON;
use crate::kit::pair::Pair;
use crate::kit::schema::{COMMENTS, HELPDESK, TICKETS};
use crate::kit::wait::wait_until;

#[test]
fn a_number_given_out_again_while_its_receipt_travels_hides_no_entry() {
    let pair = Pair::new("reused", &HELPDESK, &TICKETS, &["ABC"]);
    let (_one, _n) = pair.start();
    pair.to_n.hold_answers();
    assert_eq!(pair.one.append("ABC", &["the first text of row 1"]), [1]);
    pair.to_n.wait_for_answer();

    // Site N has committed; site 1 does not know it yet. Its application takes the row away, and writes another.
    assert_eq!(pair.n.entries("ABC"), ["the first text of row 1"]);
    pair.one.delete("ABC", 1);
    assert_eq!(pair.one.append("ABC", &["the second text of row 1"]), [1]);
    pair.to_n.heal();

    wait_until("the second text is at site N", || pair.n.entries("ABC").len() > 1);
    wait_until("site 1 owes nothing", || pair.one.pending() == 0);
    assert_eq!(pair.n.entries("ABC"), ["the first text of row 1", "the second text of row 1"]);
    assert_eq!(pair.one.entries("ABC"), ["the second text of row 1"], "nothing came back");

    // Both texts claim to be entry 1/1, and a person is told.
    let status = pair.n.run(&["status", "--json"]).ends(PERSON).json();
    assert_eq!(status["differs"]["count"], 1);
    assert_eq!(status["differs"]["first"][0]["origin"], "1/1");
    assert_eq!(pair.n.pending(), 0, "site N would send nothing of it back");

    // Once they have looked, it stays in the table and no longer asks for them.
    pair.n.run(&["status", "--acknowledge"]).ends(0);
    let status = pair.n.run(&["status", "--json"]).ends(0).json();
    assert_eq!((&status["differs"]["count"], &status["differs_unseen"]), (&json!(1), &json!(0)));
    assert_eq!(status["differs"]["first"][0]["seen"], true);
}

#[test]
fn a_row_changed_between_a_lost_receipt_and_the_next_try_is_sent_as_it_is_now() {
    let pair = Pair::new("edited", &HELPDESK, &COMMENTS, &["ABC"]);
    let (_one, _n) = pair.start();
    pair.to_n.lose_answers();
    pair.one.append("ABC", &["before the receipt", "untouched"]);
    pair.to_n.wait_for_answer();
    pair.to_n.cut();
    assert_eq!(pair.n.entries("ABC"), ["before the receipt", "untouched"]);
    pair.one.edit("ABC", 1, "after the receipt");
    pair.to_n.heal();

    wait_until("the changed text is at site N", || pair.n.entries("ABC").len() > 2);
    wait_until("site 1 owes nothing", || pair.one.pending() == 0);
    assert_eq!(pair.n.entries("ABC"), ["before the receipt", "untouched", "after the receipt"]);
    assert_eq!(pair.one.entries("ABC"), ["after the receipt", "untouched"], "nothing came back");
    assert_eq!(pair.n.status()["differs"]["count"], 1);
}

#[test]
fn a_lost_receipt_is_an_entry_sent_again_and_appended_once() {
    let pair = Pair::new("lost", &COMMENTS, &TICKETS, &["ABC"]);
    let (_one, n) = pair.start();
    pair.to_n.lose_answers();
    pair.one.append("ABC", &["one", "two"]);
    pair.to_n.wait_for_answer();
    pair.to_n.cut();
    n.kill();
    let _n = pair.start_n();
    pair.to_n.heal();
    pair.wait_until_in_step();
    assert_eq!(pair.n.entries("ABC"), ["one", "two"]);
    assert_eq!(pair.n.table("ABC").len(), 3, "one marker");
    assert_eq!(pair.one.table("ABC").len(), 3, "one marker");
}

#[test]
fn an_entry_made_public_after_others_were_sent_is_sent() {
    let pair = Pair::new("public", &HELPDESK, &COMMENTS, &["ABC"]);
    let (_one, _n) = pair.start();
    let row = pair.one.append_internal("ABC", "not yet for others");
    pair.one.append("ABC", &["for everybody"]);
    pair.wait_until_in_step();
    assert_eq!(pair.n.entries("ABC"), ["for everybody"]);
    pair.one.publish("ABC", row);
    wait_until("it arrives", || pair.n.entries("ABC").len() > 1);
    pair.wait_until_in_step();
    assert_eq!(pair.n.entries("ABC"), ["for everybody", "not yet for others"]);
    assert_eq!(pair.one.entries("ABC"), ["not yet for others", "for everybody"]);
}

#[test]
fn a_problem_shared_later_is_sent_whole() {
    let pair = Pair::new("shared", &HELPDESK, &COMMENTS, &["ABC", "XYZ"]);
    pair.one.administer("update PROBLEM set SHARED = 0 where PROBLEM_ID = 'XYZ'");
    let (_one, _n) = pair.start();
    pair.one.append("XYZ", &["of a problem that is not shared"]);
    pair.one.append("ABC", &["of one that is"]);
    pair.wait_until_in_step();
    assert_eq!(pair.n.entries("XYZ"), [""; 0]);
    pair.one.administer("update PROBLEM set SHARED = 1 where PROBLEM_ID = 'XYZ'");
    wait_until("it arrives", || !pair.n.entries("XYZ").is_empty());
    pair.wait_until_in_step();
    assert_eq!(pair.n.entries("XYZ"), ["of a problem that is not shared"]);
}

#[test]
fn a_row_that_comes_in_below_what_was_sent_is_sent() {
    let pair = Pair::new("below", &COMMENTS, &HELPDESK, &["ABC"]);
    let (_one, _n) = pair.start();
    pair.one.append_as("ABC", 100, "written last, committed first");
    pair.wait_until_in_step();
    assert_eq!(pair.n.entries("ABC"), ["written last, committed first"]);
    // The hole below is filled, as by a transaction that took its number early and committed late.
    pair.one.append_as("ABC", 50, "written first, committed last");
    wait_until("it arrives", || pair.n.entries("ABC").len() > 1);
    pair.wait_until_in_step();
    assert_eq!(pair.n.entries("ABC"), ["written last, committed first", "written first, committed last"]);
    assert_eq!(pair.one.entries("ABC"), ["written first, committed last", "written last, committed first"]);
}

#[test]
fn what_is_written_while_the_network_is_cut_arrives_when_it_heals() {
    let pair = Pair::new("cut", &HELPDESK, &TICKETS, &["ABC"]);
    let (_one, _n) = pair.start();
    pair.to_one.cut();
    pair.to_n.cut();
    pair.one.append("ABC", &["from 1"]);
    pair.n.append("ABC", &["from N"]);
    wait_until("site 1 notices", || !pair.one.status()["peers"][0]["last_error"].is_null());
    wait_until("site N notices", || !pair.n.status()["peers"][0]["last_error"].is_null());
    pair.to_one.heal();
    pair.to_n.heal();
    pair.wait_until_in_step();
    assert_eq!(pair.one.entries("ABC"), ["from 1", "from N"]);
    assert_eq!(pair.n.entries("ABC"), ["from N", "from 1"]);
}

#[test]
fn a_bridge_ends_in_order_on_sigterm_and_begins_where_it_ended() {
    let pair = Pair::new("stopped", &HELPDESK, &TICKETS, &["ABC"]);
    let (one, n) = pair.start();
    pair.one.append("ABC", &["before"]);
    pair.wait_until_in_step();
    assert!(one.stop().success());
    assert!(n.stop().success());
    pair.one.append("ABC", &["between"]);
    let (_one, _n) = pair.start();
    pair.wait_until_in_step();
    assert_eq!(pair.n.entries("ABC"), ["before", "between"]);
}
