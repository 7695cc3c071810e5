//! A hostile peer that a bridge dials: whatever it answers, the bridge asks it less and less, records nothing that is not
//! so, and serves others. Each test is dialled by `tests/hostile/answers.py` in one mode.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::kit::bridge::Bridge;
use crate::kit::command::PERSON;
use crate::kit::desk::{Desk, QUICK};
use crate::kit::folder::Folder;
use crate::kit::hostile::Hostile;
use crate::kit::schema::{HELPDESK, TICKETS};
use crate::kit::wait::wait_until;

const TOKEN: &str = "a-token-for-tests-and-nothing-else";
const OF_M: &str = "a-token-of-the-honest-peer";

/// A site that dials a hostile peer N, and an honest one M that dials the site.
struct Caller {
    one: Desk,
    m: Desk,
    bridge: Bridge,
    _m: Bridge,
    program: Hostile,
    _folder: Folder,
}

impl Caller {
    fn new(mode: &str, more: &str, texts: &[&str]) -> Self {
        let folder = Folder::new(&format!("answers-{mode}"));
        let (program, url) = Hostile::serve(mode);
        let peers = format!(
            "[[peer]]\nname = \"N\"\ntoken = \"{TOKEN}\"\nurl = \"{url}\"\npull = true\n{more}\n\
             [[peer]]\nname = \"M\"\ntoken = \"{OF_M}\"\n"
        );
        let network = format!("[listen]\naddress = \"127.0.0.1:0\"\n{peers}{QUICK}");
        let one = Desk::make(folder.path(), "1", &HELPDESK, &["ABC", "XYZ"], &network);
        if !texts.is_empty() {
            one.append("ABC", texts);
        }
        let bridge = Bridge::start(&one);
        let url = format!("url = \"http://{}\"\npull = true", bridge.address.unwrap());
        let peer = format!("[[peer]]\nname = \"1\"\ntoken = \"{OF_M}\"\n{url}\n{QUICK}");
        let m = Desk::make(folder.path(), "M", &TICKETS, &["ABC", "XYZ"], &peer);
        let of_m = Bridge::start(&m);
        Self { one, m, bridge, _m: of_m, program, _folder: folder }
    }

    fn asked(&mut self, what: &str) -> u64 {
        self.program.counts()[what].as_u64().unwrap()
    }

    /// Another peer is served, in bounded memory, and nothing was drawn upon a terminal.
    fn is_unharmed(&self) {
        let text = format!("served {}", self.m.entries("XYZ").len());
        self.one.append("XYZ", &[&text]);
        wait_until("another peer is served", || self.m.entries("XYZ").contains(&text));
        assert!(self.bridge.memory_peak() < 400, "{} MiB", self.bridge.memory_peak());
        let said = self.one.run(&["status"]).said() + &self.bridge.log();
        assert!(said.chars().all(|c| c == '\n' || !c.is_control()), "{said:?}");
        assert!(!said.contains("panicked"), "{said}");
    }

    fn violated(&self, kind: &str) {
        let shown =
            || self.one.status()["peers"][0]["violations"].as_array().unwrap().iter().any(|v| v["kind"] == kind);
        wait_until(&format!("{kind} is shown"), shown);
        self.one.run(&["status"]).ends(PERSON);
    }

    fn pending(&self) -> u64 {
        self.one.status()["peers"][0]["pending"].as_u64().unwrap()
    }
}

#[test]
fn a_peer_that_claims_everything_has_only_what_it_was_sent() {
    let mut caller = Caller::new("forged", "", &["sent"]);
    let internal = caller.one.append_internal("ABC", "never sent");
    wait_until("it was asked", || caller.asked("pushes") > 0);
    caller.violated("receipt");
    wait_until("what it was sent is marked", || caller.one.count("copy in system N: 1;") == 1);
    caller.one.publish("ABC", internal);
    wait_until("what it was not is sent", || caller.one.count("copy in system N: ") == 2);
    caller.is_unharmed();
}

#[test]
fn answers_that_are_none_are_asked_for_less_and_less() {
    for mode in ["too_few", "too_many", "garbage", "deep", "wide", "wide_refusals", "bomb", "endless"] {
        let mut caller = Caller::new(mode, "", &["sent"]);
        wait_until("it was asked again", || caller.asked("pushes") > 2);
        caller.violated("answer");
        caller.is_unharmed();
        assert!(caller.pending() > 0 && caller.one.count("copy in system N") == 0, "{mode}");
        let (asked, begun) = (caller.asked("requests"), Instant::now());
        wait_until("it is asked again after a pause", || caller.asked("requests") > asked + 3);
        assert!(begun.elapsed() > Duration::from_millis(400), "{mode}: without a pause");
    }
}

#[test]
fn what_is_no_bridge_gets_no_more_than_a_pause() {
    for mode in ["redirect", "pause", "odd_pause", "continues", "slow"] {
        let mut caller = Caller::new(mode, "", &["sent"]);
        wait_until("it was asked", || caller.asked("pushes") > 0);
        caller.is_unharmed();
        if mode == "pause" {
            // It asks for three thousand years, and the longest pause of this site is half a second.
            wait_until("it is asked again", || caller.asked("pushes") > 3);
        }
        assert_eq!(caller.one.count("copy in system N"), 0, "{mode}");
    }
}

#[test]
fn a_peer_that_wants_every_body_for_ever_is_sent_them_less_and_less() {
    let mut caller = Caller::new("wanting", "relay = true", &["sent"]);
    caller.m.append("ABC", &["passed on"]);
    wait_until("what is passed on is here", || caller.one.entries("ABC").len() == 2);
    caller.one.append("ABC", &["behind it"]);
    wait_until("it was asked again and again", || caller.asked("pushes") > 8);
    caller.is_unharmed();
    let (asked, begun) = (caller.asked("pushes"), Instant::now());
    wait_until("they are sent again", || caller.asked("pushes") > asked + 6);
    assert!(begun.elapsed() > Duration::from_millis(800), "without a pause");
    assert_eq!(caller.one.count("copy in system N"), 0);
}

#[test]
fn a_peer_that_says_that_it_lost_everything_is_shown_and_sent_nothing() {
    let mut caller = Caller::new("denying", "", &["one", "two"]);
    wait_until("it is marked", || caller.one.count("copy in system N: 1-2;") == 1);
    caller.one.append("ABC", &["three"]);
    wait_until("what it says is shown", || caller.one.status()["peers"][0]["diverged"]["count"] == 1);
    let texts = |seen: &Value, text: &str| seen.as_array().unwrap().iter().filter(|s| **s == text).count();
    let seen = caller.program.counts()["seen"].clone();
    assert_eq!((texts(&seen, "one"), texts(&seen, "two")), (1, 1), "nothing is resurrected on a peer's word: {seen}");
    caller.is_unharmed();
}

#[test]
fn a_peer_that_takes_nothing_of_any_size_is_given_up_for_a_while() {
    let mut caller = Caller::new("too_large", "", &["one", "two", "three"]);
    wait_until("it was asked one by one", || caller.asked("pushes") > 4);
    wait_until("it is shown", || caller.one.status()["peers"][0]["refused"]["count"].as_u64().unwrap() > 0);
    caller.is_unharmed();
    assert_eq!(caller.one.count("copy in system N"), 0);
}

#[test]
fn a_peer_that_hands_out_the_same_for_ever_is_asked_less_and_less() {
    let mut caller = Caller::new("same", "", &[]);
    wait_until("it is here", || caller.one.entries("ABC") == ["the same for ever"]);
    wait_until("it came again", || caller.asked("pulls") > 5);
    let (asked, begun) = (caller.asked("pulls"), Instant::now());
    wait_until("it is asked again", || caller.asked("pulls") > asked + 3);
    assert!(begun.elapsed() > Duration::from_millis(900), "without a pause");
    assert_eq!(caller.one.entries("ABC"), ["the same for ever"]);
    // One pass does not go on for ever either.
    caller.one.run(&["sync"]);
    caller.is_unharmed();
}

#[test]
fn what_a_peer_hands_out_of_others_is_refused_as_when_it_pushes_it() {
    let mut caller = Caller::new("foreign", "", &[]);
    wait_until("its own is here", || caller.one.entries("ABC") == ["its own"]);
    caller.violated("origin");
    wait_until("it was told", || caller.asked("receipts") > 0);
    assert_eq!(caller.one.entries("ABC"), ["its own"]);
    caller.is_unharmed();
}

#[test]
fn a_peer_that_hands_out_ever_more_is_kept_to_its_share() {
    let share = "[peer.limits]\nentries_per_minute_max = 60\nentries_burst_max = 3000";
    let mut caller = Caller::new("ever_more", share, &[]);
    wait_until("its share is used up", || {
        caller.one.status()["peers"][0]["last_error"].to_string().contains("entries")
    });
    caller.is_unharmed();
    let here = caller.one.entries("ABC").len();
    assert!((3000..=5000).contains(&here), "{here}");
    assert!(caller.asked("pulls") <= 6);
}
