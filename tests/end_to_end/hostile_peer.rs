//! A hostile peer that dials a bridge: it can at worst have its own entries refused. Each test plays one attack of
//! `tests/hostile/attacks.py`, then looks at the database, at the bridge, at what the attacker was told, and at another
//! peer, who is served all the while.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::kit::bridge::Bridge;
use crate::kit::command::PERSON;
use crate::kit::desk::{Desk, QUICK, is_marker};
use crate::kit::folder::Folder;
use crate::kit::host::{At, Host};
use crate::kit::hostile::{Hostile, play};
use crate::kit::schema::postgres::QUEUE;
use crate::kit::schema::{COMMENTS, HELPDESK, TICKETS};
use crate::kit::wait::wait_until;

const OF_N: &str = "a-token-of-the-hostile-peer";
const OF_M: &str = "a-token-of-the-honest-peer";
const OF_C: &str = "a-token-of-a-third-peer";
/// What no answer and no log may ever have in it.
const SECRET: &str = "SECRET";
/// More than a bridge takes whatever is tried, in MiB.
const MEMORY_MAX: u64 = 400;

/// A site with a hostile peer N, an honest one M that dials it, and a third one C that is not there.
pub struct House {
    pub one: Desk,
    pub m: Desk,
    pub bridge: Bridge,
    _m: Bridge,
    _folder: Folder,
}

impl House {
    fn new(name: &str) -> Self {
        Self::with(name, &HELPDESK, "", "")
    }

    /// `of_n` stands in the [[peer]] section of the hostile peer, `rest` at the end of the configuration.
    fn with(name: &str, at: impl Into<At>, of_n: &str, rest: &str) -> Self {
        let folder = Folder::new(name);
        let peer =
            |name: &str, token: &str, more: &str| format!("[[peer]]\nname = \"{name}\"\ntoken = \"{token}\"\n{more}\n");
        let peers = [peer("N", OF_N, of_n), peer("M", OF_M, ""), peer("C", OF_C, "")].concat();
        let network = format!("[listen]\naddress = \"127.0.0.1:0\"\n{peers}{QUICK}{rest}");
        let one = Desk::make(folder.path(), "1", at, &["ABC", "XYZ"], &network);
        let bridge = Bridge::start(&one);
        let url = format!("url = \"http://{}\"\npull = true", bridge.address.unwrap());
        let m = Desk::make(folder.path(), "M", &TICKETS, &["ABC", "XYZ"], &format!("{}{QUICK}", peer("1", OF_M, &url)));
        let of_m = Bridge::start(&m);
        Self { one, m, bridge, _m: of_m, _folder: folder }
    }

    fn facts(&self, more: Value) -> Value {
        let mut facts = json!({
            "address": self.bridge.address.unwrap().to_string(), "token": OF_N, "from": "N", "to": "1",
            "history": "work_history", "problem": "ABC", "other": "XYZ", "third": "M",
        });
        facts.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        facts
    }

    /// Plays an attack. Whatever it was, the bridge lives in bounded memory, told nothing of the house, and serves others.
    fn attacked(&self, attack: &str, more: Value) -> Value {
        let got = play(attack, &self.facts(more));
        self.is_unharmed();
        assert!(!got.to_string().contains(SECRET), "{got}");
        got
    }

    fn is_unharmed(&self) {
        self.serves_another();
        let peak = self.bridge.memory_peak();
        assert!(peak < MEMORY_MAX, "the bridge took {peak} MiB");
        let log = self.bridge.log();
        assert!(!log.contains(SECRET) && !log.contains("panicked"), "{log}");
        assert!(log.chars().all(|c| c == '\n' || !c.is_control()), "{log:?}");
        assert!(log.lines().count() < 300, "the log is flooded");
    }

    /// An entry goes to the honest peer and another comes from there.
    fn serves_another(&self) {
        let mark = format!("still serving after {} entries", self.m.entries("XYZ").len());
        self.one.append("XYZ", &[&format!("{mark}, from 1")]);
        self.m.append("XYZ", &[&format!("{mark}, from M")]);
        let both = |desk: &Desk| desk.entries("XYZ").iter().filter(|text| text.starts_with(&mark)).count() == 2;
        wait_until("another peer is served", || both(&self.one) && both(&self.m));
    }

    /// What the status says that the hostile peer did, and how often.
    fn violations(&self) -> BTreeMap<String, u64> {
        counted(&self.one.status()["peers"][0]["violations"])
    }

    fn shows(&self, violation: &str) {
        wait_until(&format!("{violation} is shown"), || self.violations().contains_key(violation));
    }

    /// Every text of a problem that the attacker gave.
    fn of_attacker(&self, problem: &str) -> Vec<String> {
        let ours = ["still serving", "ours"];
        self.one.entries(problem).into_iter().filter(|text| !ours.iter().any(|o| text.starts_with(o))).collect()
    }
}

fn counted(violations: &Value) -> BTreeMap<String, u64> {
    let word = |v: &Value| (v["kind"].as_str().unwrap().to_owned(), v["count"].as_u64().unwrap());
    violations.as_array().unwrap().iter().map(word).collect()
}

/// The statuses of named answers.
fn statuses(got: &Value) -> BTreeMap<String, u64> {
    let answers = got["answers"].as_object().unwrap();
    answers.iter().map(|(name, answer)| (name.clone(), answer["status"].as_u64().unwrap())).collect()
}

#[track_caller]
fn all_are(got: &Value, allowed: &[u64], but: &[&str]) {
    let odd: Vec<_> =
        statuses(got).into_iter().filter(|(name, s)| !allowed.contains(s) && !but.contains(&name.as_str())).collect();
    assert!(odd.is_empty(), "{odd:?}");
}

fn refused(receipt: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let refused = receipt["refused"].as_array().cloned().unwrap_or_default();
    refused.iter().map(|r| (text(&r["origin"]), text(&r["code"]))).collect()
}

fn converses_in_order(house: &House) {
    house.one.append("ABC", &["ours, to be pulled"]);
    let got = house.attacked("ordinary", json!({}));
    assert_eq!(got["faults"], json!([]));
    let document: Value = serde_json::from_str(include_str!("../../docs/openapi.json")).unwrap();
    assert_eq!(got["document"], document);
    assert_eq!(got["first"]["body"]["receipts"][0]["holds"], json!({"N": "1-2"}));
    let holds = |answer: &str| got[answer]["body"]["receipts"][0]["holds"].clone();
    assert_eq!(holds("first"), holds("again"), "a repeated delivery is known");
    assert_eq!(house.of_attacker("ABC"), ["first of the peer", "second of the peer"]);
    assert!(got["pulled"]["body"].to_string().contains("ours, to be pulled"), "{got}");
    wait_until("what it holds is marked", || house.one.count("copy in system N: ") > 0);
}

#[test]
fn a_peer_written_from_the_documents_converses_in_order() {
    converses_in_order(&House::new("hostile-order"));
}

#[test]
fn a_peer_written_from_the_documents_converses_in_order_with_servers() {
    let (Some(postgres), Some(mariadb)) = (Host::postgres(), Host::mariadb()) else { return };
    converses_in_order(&House::with("hostile-order-pg", HELPDESK.on(&postgres), "", ""));
    converses_in_order(&House::with("hostile-order-my", COMMENTS.on(&mariadb), "", ""));
}

#[test]
fn nobody_speaks_for_a_site_that_did_not_ask_for_it() {
    let house = House::new("hostile-origins");
    let got = house.attacked("origins", json!({}));
    let receipt = &got["answer"]["body"]["receipts"][0];
    let denied = |origin: &str| (origin.to_owned(), "not_allowed".to_owned());
    assert_eq!(refused(receipt), [denied("1/1"), denied("C/5"), denied("C/6"), denied("1/77")]);
    assert_eq!(receipt["holds"], json!({"N": "1"}));
    assert_eq!(house.of_attacker("ABC"), ["its own"]);
    house.shows("origin");

    // A person sees it, and says so; what comes afterwards is new again.
    let shown = house.one.run(&["status"]).ends(PERSON).out;
    assert!(shown.contains("N violated") && shown.contains("may not speak"), "{shown}");
    let unseen = || house.one.status()["peers"][0]["violations"][0]["unseen"].as_u64().unwrap();
    house.one.run(&["status", "--acknowledge"]);
    assert_eq!(unseen(), 0);
    house.attacked("origins", json!({}));
    wait_until("the next one is unseen", || unseen() == 1);
}

#[test]
fn what_is_hidden_answers_as_what_is_not_there() {
    let house = House::new("hostile-scope");
    house.one.make_problem("HIDDEN");
    house.one.append("HIDDEN", &["ours, and SECRET"]);
    house.one.administer("update PROBLEM set SHARED = 0 where PROBLEM_ID = 'HIDDEN'");
    let problems = ["HIDDEN", "NONE", "hidden", "ABC ", "' or 1=1 --", "%", "\u{1b}[2J", "1", "💥"];
    let got = house.attacked("scope", json!({ "problems": problems }));
    let mut answers = got["answers"].as_array().unwrap().clone();
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert!(answers[0].to_string().contains("unknown_problem"));
    assert_eq!(house.one.entries("HIDDEN"), ["ours, and SECRET"]);
    assert!(house.one.rows("HIDDEN").iter().all(|row| !is_marker(&row.text)));
}

#[test]
fn forged_receipts_mark_nothing_that_was_not_delivered() {
    let house = House::new("hostile-receipts");
    house.one.append("ABC", &["ours, one", "ours, two"]);
    let internal = house.one.append_internal("ABC", "ours, SECRET");
    let got = house.attacked("receipts", json!({}));
    assert!(
        got["answers"].as_array().unwrap().iter().all(|a| [200, 400, 413].contains(&a["status"].as_u64().unwrap()))
    );
    house.shows("receipt");
    let owed = || house.one.status()["peers"][0]["pending"].as_u64().unwrap();
    let before = owed();
    house.one.append("ABC", &["ours, later"]);
    house.one.publish("ABC", internal);
    assert_eq!(owed(), before + 2, "what it claimed and never got is owed");
    let said = house.one.run(&["status"]).ends(PERSON).out;
    assert!(said.chars().all(|c| c == '\n' || !c.is_control()));
    assert_eq!(house.one.entries("ABC").len(), 4);
}

#[test]
fn a_recorded_message_sent_thousands_of_times_is_taken_once() {
    let house = House::new("hostile-replays");
    let got = house.attacked("replays", json!({"times": 800}));
    assert_eq!(got["statuses"], json!({"200": 3200}));
    assert_eq!(house.of_attacker("ABC"), ["said once, 1", "said once, 2", "said once, 3"]);
    assert_eq!(house.one.count("copy in system N"), 1);
    house.one.run(&["status"]);
    assert_eq!(house.violations(), BTreeMap::new(), "the network repeats messages too");
}

#[test]
fn bodies_that_lie_are_refused_in_bounded_memory() {
    let house = House::new("hostile-bodies");
    let got = house.attacked("bodies", json!({"mib": 400}));
    all_are(&got, &[0, 400, 401, 408, 413], &[]);
    assert_eq!(got["answers"][format!("large, {}", "a-wrong-token-of-a-stranger")]["status"], 401, "{got}");
    let got = house.attacked("bombs", json!({}));
    all_are(&got, &[400, 413, 415], &[]);
    house.shows("size");
    let strangers = || counted(&house.one.status()["strangers"]);
    wait_until("strangers are counted too", || strangers().contains_key("stranger"));
    assert_eq!(house.of_attacker("ABC"), [] as [&str; 0]);
}

#[test]
fn json_that_is_deep_wide_or_broken_is_refused_in_bounded_memory() {
    let house = House::new("hostile-json");
    let got = house.attacked("jsons", json!({}));
    all_are(&got, &[400, 413], &["a long number"]);
    house.shows("form");
    assert_eq!(house.of_attacker("ABC"), [] as [&str; 0]);
}

#[test]
fn a_nul_character_is_refused_alone_whatever_the_database() {
    let mut places = vec![("files", At::from(&HELPDESK))];
    if let (Some(postgres), Some(mariadb)) = (Host::postgres(), Host::mariadb()) {
        places.extend([
            ("pg", HELPDESK.on(&postgres)),
            ("pg-any", COMMENTS.on(&postgres)),
            ("my", COMMENTS.on(&mariadb)),
        ]);
    }
    for (name, at) in places {
        let house = House::with(&format!("hostile-nul-{name}"), at, "", "");
        let got = house.attacked("nuls", json!({}));
        all_are(&got, &[200], &[]);
        let beside = house.of_attacker("XYZ");
        assert_eq!(beside.iter().filter(|text| text.starts_with("in order beside")).count(), 7, "{name}: {beside:?}");
        let texts = house.of_attacker("ABC");
        assert!(
            texts.contains(&"beside the text".to_owned()) && texts.contains(&"beside a field".to_owned()),
            "{texts:?}"
        );
    }
}

#[test]
fn numbers_and_names_at_their_ends_are_taken_or_refused() {
    let house = House::new("hostile-edges");
    let got = house.attacked("edges", json!({}));
    all_are(&got, &[200, 400], &[]);
    let status = |name: &str| got["answers"][name]["status"].as_u64().unwrap();
    for taken in ["origin 9223372036854775807", "problem of 1024", "a thousand sites", "ids 1-9223372036854775807"] {
        assert_eq!(status(taken), 200, "{taken}");
    }
    for bad in [
        "origin 0",
        "origin -1",
        "origin 9223372036854775808",
        "origin 1e30",
        "problem of 1025",
        "too many sites",
        "the same twice",
        "ids 1-3,2-4",
        "ids 5-1",
        "site '../x'",
        "wait -1",
    ] {
        assert_eq!(status(bad), 400, "{bad}");
    }
    assert!(house.of_attacker("ABC").contains(&"believed".to_owned()));
    assert_eq!(house.of_attacker("ABC").iter().filter(|text| *text == "once").count(), 1);
}

#[test]
fn texts_that_are_markers_sql_html_or_orders_to_a_terminal_do_no_harm() {
    let house = House::new("hostile-texts");
    house.one.append("ABC", &["ours"]);
    wait_until("a marker of ours is there", || house.one.count("copy in system M: 1") == 1);
    let ours = house.one.rows("ABC").into_iter().map(|row| row.text).find(|text| is_marker(text)).unwrap();
    let texts = [
        &ours,
        &format!("{ours}  \n"),
        "copy in system N: 1-5; seal 0123456789",
        "copy in system 1: lost 1-9; seal zzzzzzzzzz",
        "copy in system M: 1-9",
        "'; drop table WORK_HISTORY; --",
        "\" or 1=1",
        "<script>alert(1)</script>",
        "\u{1b}[2J\u{1b}]0;title\u{7}",
        "\u{9b}31m\u{202e}txt",
        "a\rb\n\n* c",
        "%s%n$(id)`id`${jndi:x}",
        "=1+1",
        "",
    ];
    let got = house.attacked("texts", json!({ "texts": texts }));
    let refused = refused(&got["answer"]["body"]["receipts"][0]);
    let markers: Vec<_> =
        refused.iter().filter(|(_, code)| code == "marker_text").map(|(origin, _)| origin.as_str()).collect();
    assert_eq!(markers, ["N/1", "N/2", "N/3", "N/4"], "{got}");
    assert_eq!(house.one.status()["suspended"]["count"], 0);
    for wanted in ["'; drop table WORK_HISTORY; --", "<script>alert(1)</script>", "copy in system M: 1-9"] {
        assert!(house.one.rows("ABC").iter().any(|row| row.text == wanted), "{wanted}");
    }
    for args in [
        &["status"][..],
        &["status", "--json"],
        &["history", "ABC"],
        &["history", "ABC", "--json"],
        &["preview", "--peer", "M"],
    ] {
        let ran = house.one.run(args);
        let acts = |c: char| c != '\n' && (c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c));
        assert!(!ran.said().contains(acts), "{args:?}: {}", ran.said());
    }
}

#[test]
fn shared_columns_that_nobody_mapped_change_nothing() {
    let house = House::new("hostile-fields");
    let got = house.attacked("fields", json!({}));
    all_are(&got, &[200, 400], &[]);
    for bad in ["ten thousand", "a long name", "no text"] {
        assert_eq!(got["answers"][bad]["status"], 400, "{bad}");
    }
    let texts = house.of_attacker("ABC");
    assert!(texts.contains(&"with fields 1".to_owned()) && texts.contains(&"with fields 2".to_owned()), "{texts:?}");
    let odd = house.one.query("select count(*) from WORK_HISTORY where CUSTOMER_PHONE = '1' or KIND <> 'work'");
    assert_eq!(odd, [[Some("0".to_owned())]]);
}

#[test]
fn a_hundred_thousand_of_everything_is_to_be_halved() {
    let house = House::new("hostile-many");
    let got = house.attacked("many", json!({}));
    all_are(&got, &[413], &[]);
    assert_eq!(house.of_attacker("ABC"), [] as [&str; 0]);
}

#[test]
fn a_peer_beyond_its_share_is_told_when_to_come_again_and_others_are_served() {
    let limits = "[peer.limits]\nrequests_per_minute_max = 600\nentries_per_minute_max = 60\nentries_burst_max = 1000";
    let house = House::with("hostile-flood", &HELPDESK, limits, "");
    let got = house.attacked("grow", json!({"times": 30}));
    assert_eq!(got["taken"], 1000, "{got}");
    assert_eq!(house.of_attacker("ABC").len(), 1000);
    assert_eq!(got["told"]["status"], 429);
    house.shows("entries");
    let got = house.attacked("flood", json!({"times": 1000}));
    assert_eq!(got["faults"], json!([]));
    assert!(got["statuses"]["429"].as_u64().unwrap() > 200, "{got}");
    assert_eq!(got["after"]["status"], 200, "it waited as it was told");
    house.shows("requests");
    house.one.run(&["status"]).ends(PERSON);
}

#[test]
fn many_large_bodies_at_once_take_no_more_memory_than_one_peers_share() {
    let house = House::new("hostile-memory");
    let got = house.attacked("memory", json!({"mib": 60, "connections": 12}));
    let refused = got["statuses"].as_array().unwrap().iter().filter(|s| **s == 429).count();
    assert!(refused >= 8, "{got}");
    house.shows("at_once");
}

#[test]
fn whoever_says_nothing_or_half_of_something_keeps_nobody_out() {
    let house = House::new("hostile-crowd");
    let mut crowd = Hostile::start("crowd", &house.facts(json!({"connections": 300, "seconds": 20})));
    assert!(crowd.next()["standing"].as_u64().unwrap() > 100);
    let mut slow = Hostile::start("slow", &house.facts(json!({"bodies": 10, "heads": 40, "seconds": 45})));
    slow.next();
    house.is_unharmed();
    let got = slow.next();
    assert!(
        got["ended"].as_array().unwrap().iter().filter(|s| s.as_str().unwrap().contains("408")).count() >= 1,
        "{got}"
    );
    house.is_unharmed();
    house.shows("time");
}

#[test]
fn answers_that_nobody_reads_are_bounded_too() {
    let house = House::new("hostile-unread");
    let long = format!("ours {}", "x".repeat(900_000));
    house.one.append("ABC", &[long.as_str(); 7]);
    let mut unread = Hostile::start("unread", &house.facts(json!({"streams": 120, "seconds": 1})));
    unread.next();
    house.serves_another();
    let got = unread.next();
    assert!(got["answered"].as_u64().unwrap() > 10 && got["refused"].as_u64().unwrap() > 10, "{got}");
    house.is_unharmed();
}

#[test]
fn comparing_tells_nothing_of_what_is_hidden_and_losses_that_were_none_are_no_losses() {
    let house = House::new("hostile-compares");
    house.one.make_problem("HIDDEN");
    house.one.append("HIDDEN", &["ours, and SECRET"]);
    house.one.administer("update PROBLEM set SHARED = 0 where PROBLEM_ID = 'HIDDEN'");
    house.one.append("ABC", &["ours"]);
    house.one.append_internal("ABC", "ours, SECRET");
    let got = house.attacked("compares", json!({"problems": ["HIDDEN", "NONE", "\u{1b}[2J"]}));
    all_are(&got, &[200, 400], &["many"]);
    assert_eq!(got["answers"]["many"]["status"], 413, "{}", got["answers"]["many"]);
    // Where a page begins it says itself, and nobody reads there what the last ticket of it is called.
    let pages: Vec<_> = statuses(&got).into_iter().filter(|(name, _)| name.starts_with("verify")).collect();
    assert!(pages.iter().all(|(name, status)| *status == if name == "verify None" { 200 } else { 400 }), "{got}");
    let after = got["answers"]["verify None"]["body"]["after"].as_str().unwrap().strip_prefix("\\x").unwrap();
    assert!(after.bytes().all(|digit| digit.is_ascii_hexdigit()) && pages.len() == 5, "{after}");
    let mut alike = got["alike"].as_array().unwrap().clone();
    alike.dedup();
    assert_eq!(alike.len(), 1, "{alike:?}");
    assert_eq!(house.one.count("copy in system N"), 0, "nothing was exchanged, so nothing was lost");
}

#[test]
fn guessing_at_every_long_text_takes_the_memory_of_a_batch() {
    let house = House::new("hostile-guesses");
    let long = format!("ours {}", "x".repeat(900_000));
    house.one.append("ABC", &[long.as_str(); 120]);
    house.serves_another();
    let before = house.bridge.memory_peak();
    let got = house.attacked("guesses", json!({"entries": 120}));
    all_are(&got, &[200], &[]);
    let peak = house.bridge.memory_peak();
    // All texts at once are 108 MiB, and as many again while they are read.
    assert!(peak < before + 100, "it took {before} MiB before and {peak} MiB at most");
}

#[test]
fn requests_that_are_none_or_two_in_one_do_no_harm() {
    let house = House::new("hostile-requests");
    let got = house.attacked("requests", json!({}));
    let odd: Vec<_> = statuses(&got).into_iter().filter(|(_, s)| *s >= 500).collect();
    assert!(odd.is_empty(), "{odd:?}");
    for (name, status) in
        [("from a page", 403), ("two tokens", 401), ("expects", 200), ("a pipeline", 200), ("PUT /v1/push", 405)]
    {
        assert_eq!(got["answers"][name]["status"], status, "{name}: {}", got["answers"][name]);
    }
    let got = house.attacked("http2", json!({"times": 3000}));
    for name in ["in order", "in order again"] {
        assert_eq!(got["said"][name]["last"], 1, "an answer's headers: {got}");
    }
}

#[test]
fn messages_in_anothers_name_or_to_another_are_refused() {
    let house = House::new("hostile-names");
    let got = house.attacked("names", json!({}));
    all_are(&got, &[400, 401, 403], &[]);
    assert_eq!(got["answers"]["another version"]["status"], 400);
    assert_eq!(got["answers"]["to another"]["status"], 403);
    assert_eq!(house.of_attacker("ABC"), [] as [&str; 0]);
    house.shows("name");
}

#[test]
fn names_lead_no_entry_into_a_ticket_of_somebody_else() {
    let Some(postgres) = Host::postgres() else { return };
    let folder = Folder::new("hostile-pairs");
    let network = format!("[listen]\naddress = \"127.0.0.1:0\"\n[[peer]]\nname = \"N\"\ntoken = \"{OF_N}\"\n{QUICK}");
    let one = Desk::make(folder.path(), "1", QUEUE.on(&postgres), &["17", "18"], &network);
    one.append("17", &["ours, of a customer"]);
    let bridge = Bridge::start(&one);
    let facts = json!({
        "address": bridge.address.unwrap().to_string(), "token": OF_N, "from": "N", "to": "1",
        "history": "work_history", "tickets": ["17", "18"],
    });
    let got = play("pairs", &facts);
    all_are(&got, &[200], &[]);
    assert!(!got.to_string().contains(SECRET) && !got.to_string().contains("ours"), "{got}");
    for answer in got["answers"].as_object().unwrap().values() {
        assert!(!refused(&answer["body"]["receipts"][0]).is_empty(), "{answer}");
    }
    assert_eq!(one.entries("17"), ["ours, of a customer"]);
    assert_eq!(one.rows("17").len() + one.rows("18").len(), 1, "not even a marker");
}
