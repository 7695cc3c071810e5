//! What a peer's table does not take is refused alone, with the reason, and delivered once the cause is gone.

use serde_json::Value;

use crate::kit::command::{DONE, PERSON};
use crate::kit::desk::QUICK;
use crate::kit::pair::{Dialling, Pair};
use crate::kit::schema::{HELPDESK, TICKETS};
use crate::kit::wait::wait_until;

/// Nothing refused is tried again by itself, so that it is `retry` which is seen to deliver it.
const PATIENT: &str = "[pace]\ngather = \"20ms\"\npoll = \"20ms\"\nretry = [\"1h\", \"1h\"]\n";

#[test]
fn what_the_peers_table_does_not_take_is_refused_alone_and_delivered_on_retry() {
    let pair = Pair::with("refusals", &HELPDESK, &TICKETS, &["ABC"], Dialling::Both, PATIENT);
    pair.one.make_problem("UNKNOWN");
    let (_one, n) = pair.start();
    let too_long = "ä".repeat(2001);
    let fits = "ä".repeat(2000);
    pair.one.append("ABC", &["before", &too_long, &fits, "a forbidden word", "between", "an alarm", "after"]);
    pair.one.append("UNKNOWN", &["of a problem that site N does not have"]);

    let flowing = ["before", &fits, "between", "after"];
    wait_until("the others arrive and four are refused", || refused(&pair).len() == 4);
    assert_eq!(pair.n.entries("ABC"), flowing);
    assert_eq!(
        reasons(&pair),
        [
            ("ABC".to_owned(), 2, "text too long (limit 2000)".to_owned()),
            ("ABC".to_owned(), 4, "constraint".to_owned()),
            ("ABC".to_owned(), 6, "trigger".to_owned()),
            ("UNKNOWN".to_owned(), 1, "unknown problem".to_owned()),
        ]
    );
    pair.one.run(&["status"]).ends(PERSON);
    let explained = pair.one.run(&["explain", "ABC", "4"]).ends(PERSON).out;
    assert!(explained.contains("refuses it") && explained.contains("constraint"), "{explained}");

    // What is appended later flows past them.
    pair.one.append("ABC", &["still flowing"]);
    wait_until("it arrives", || pair.n.entries("ABC").len() == 5);

    // Site N sees what it refused, with what its own database said; that stays in its house.
    let here = || pair.n.status()["refused_here"]["first"].to_string();
    wait_until("site N sees why", || here().contains("alarms are not for tickets"));
    assert!(!pair.one.status().to_string().contains("alarms are not for tickets"));

    // A retry while the causes are there changes nothing but the number of tries.
    let tries = |problem: &str| refused(&pair).iter().filter(|r| r["problem"] == problem).map(tries).max().unwrap_or(0);
    pair.one.run(&["retry"]).ends(DONE);
    wait_until("all four are refused again", || refused(&pair).iter().all(|r| self::tries(r) >= 2));
    assert_eq!((refused(&pair).len(), tries("UNKNOWN") >= 2), (4, true));

    // The causes go. A bridge looks at the width of its column when it starts.
    n.stop();
    pair.n.make_problem("UNKNOWN");
    let comments =
        "update sqlite_schema set sql = replace(replace(sql, 'varchar(2000)', 'text'), 'forbidden', 'nothing')
                    where name = 'ticket_comments'";
    pair.n.administer(&format!(
        "drop trigger no_alarms; pragma writable_schema = on; {comments}; pragma writable_schema = reset"
    ));
    let _n = pair.start_n();
    pair.one.run(&["retry", "--peer", "N"]).ends(DONE);
    pair.wait_until_in_step();
    assert_eq!(
        pair.n.entries("ABC"),
        ["before", &fits, "between", "after", "still flowing", &too_long, "a forbidden word", "an alarm"]
    );
    assert_eq!(pair.n.entries("UNKNOWN"), ["of a problem that site N does not have"]);
    assert_eq!(pair.one.entries("ABC").len(), 8, "nothing came back");
}

#[test]
fn a_refused_entry_is_tried_again_by_itself_with_growing_pauses() {
    let pair = Pair::new("refusals-again", &HELPDESK, &TICKETS, &["ABC"]);
    let (_one, _n) = pair.start();
    pair.one.append("ABC", &["an alarm", "no matter"]);
    wait_until("it was refused several times", || refused(&pair).iter().any(|r| tries(r) > 2));
    assert_eq!(pair.n.entries("ABC"), ["no matter"]);
    pair.n.administer("drop trigger no_alarms");
    pair.wait_until_in_step();
    assert_eq!(pair.n.entries("ABC"), ["no matter", "an alarm"]);
}

#[test]
fn what_cannot_be_sent_is_withheld_alone_and_shown() {
    let limits = format!("{QUICK}[limits]\nentry_bytes_max = \"1KiB\"\n");
    let pair = Pair::with("withheld", &HELPDESK, &TICKETS, &["ABC"], Dialling::Both, &limits);
    pair.one.append("ABC", &[&"x".repeat(1025), "spoiled below", "flows"]);
    // Bytes of another encoding, as some applications leave them behind.
    pair.one.administer("update WORK_HISTORY set WORK_HISTORY = cast(x'6dfc7374' as text) where WORK_ID = 2");
    let (_one, _n) = pair.start();
    wait_until("the other arrives", || pair.n.entries("ABC") == ["flows"]);
    wait_until("both are shown", || pair.one.status()["withheld"]["count"] == 2);
    let status = pair.one.run(&["status", "--json"]).ends(PERSON).json();
    let withheld = status["withheld"]["first"].as_array().unwrap();
    let why: Vec<_> = withheld.iter().map(|w| (w["row"].as_i64().unwrap(), w["why"].as_str().unwrap())).collect();
    assert!(why[0].0 == 1 && why[0].1.contains("entry_bytes_max"), "{why:?}");
    assert!(why[1].0 == 2 && why[1].1.contains("UTF-8"), "{why:?}");

    pair.one.edit("ABC", 1, "short now");
    pair.one.edit("ABC", 2, "müst");
    pair.one.run(&["retry"]).ends(DONE);
    wait_until("the mended ones arrive", || pair.n.entries("ABC").len() == 3);
    let mut texts = pair.n.entries("ABC");
    texts.sort();
    assert_eq!(texts, ["flows", "müst", "short now"]);
    pair.wait_until_in_step();
}

fn refused(pair: &Pair) -> Vec<Value> {
    pair.one.status()["peers"][0]["refused"]["first"].as_array().unwrap().clone()
}

fn tries(refused: &Value) -> u64 {
    refused["tries"].as_u64().unwrap()
}

fn reasons(pair: &Pair) -> Vec<(String, i64, String)> {
    let words = |value: &Value| value.as_str().unwrap().to_owned();
    let mut reasons: Vec<_> =
        refused(pair).iter().map(|r| (words(&r["problem"]), r["row"].as_i64().unwrap(), words(&r["reason"]))).collect();
    reasons.sort();
    reasons
}
