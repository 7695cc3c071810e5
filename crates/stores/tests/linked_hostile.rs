//! What a hostile review of linked tickets tried: names in a peer's mouth, restarts, links replaced and keys changed.
//! Played on memory stores, delivery by delivery, as a peer on the other end of the wire could.
#![allow(clippy::unwrap_used, clippy::panic, reason = "what cannot be built is a failed test")]

use std::collections::BTreeMap;
use std::sync::Arc;

use landbridge_core::message::{Belief, Code, Delivery, Entry, Receipt};
use landbridge_core::{Keyring, ProblemId, Scribe, SiteName};
use landbridge_flow::accept::accept;
use landbridge_flow::bridge::Unobserved;
use landbridge_flow::operator::{LinkOutcome, Pair, link, resign};
use landbridge_flow::pairing::learn_links;
use landbridge_flow::{Bridge, Pairing, PeerPolicy};
use landbridge_stores::memory::{Linked, MemoryOptions, MemoryProblem, MemoryStore};

fn s(name: &str) -> SiteName {
    name.parse().unwrap()
}

fn p(id: &str) -> ProblemId {
    id.parse().unwrap()
}

/// Site N, whose peers are A and C; C's relay A may speak for C.
fn bridge(store: &MemoryStore, create: bool) -> Bridge {
    let scribe = Scribe::new(s("N"), "h", vec![], Keyring::new([7; 32]), None);
    let a = PeerPolicy { relay_from: [s("C")].into(), ..PeerPolicy::default() };
    let peers = [(s("A"), a), (s("C"), PeerPolicy::default())].into();
    let mut bridge = Bridge::new("h", scribe, Arc::new(store.clone()), peers, Arc::new(Unobserved));
    bridge.pairing = Pairing::Linked { create };
    bridge
}

fn store(create: bool) -> MemoryStore {
    MemoryStore::new(MemoryOptions {
        phrases: vec!["copy in system".into()],
        linked: Some(Linked { prefix: "N-".into(), create }),
        ..MemoryOptions::default()
    })
}

fn names(names: &[(&str, &str)]) -> BTreeMap<SiteName, ProblemId> {
    names.iter().map(|(site, problem)| (s(site), p(problem))).collect()
}

/// A delivery of entries `origin text`, of a sender that thinks that `exchanged` entries are there already.
fn delivery(said: &[(&str, &str)], exchanged: u64, entries: &[(&str, &str)]) -> Delivery {
    let entry = |(origin, text): &(&str, &str)| Entry {
        origin: origin.parse().unwrap(),
        text: Some((*text).into()),
        digest: None,
        fields: Default::default(),
        onward: true,
    };
    Delivery {
        names: names(said),
        home: None,
        fields: Default::default(),
        belief: Belief { count: exchanged, sum: exchanged },
        entries: entries.iter().map(entry).collect(),
    }
}

async fn take(bridge: &Bridge, from: &str, delivery: Delivery) -> Receipt {
    accept(bridge, &s(from), &[delivery]).await.unwrap().remove(0)
}

fn codes(receipt: &Receipt) -> Vec<Code> {
    receipt.refused.iter().map(|r| r.refusal.code).collect()
}

fn entries(store: &MemoryStore, ticket: &str) -> Vec<String> {
    let rows = store.committed(&p(ticket)).into_values();
    rows.map(|row| row.text).filter(|text| !text.contains("; seal ")).collect()
}

fn tickets(store: &MemoryStore) -> Vec<String> {
    store.linked_problems().keys().map(|p| p.as_str().to_owned()).collect()
}

fn ticket(store: &MemoryStore, id: &str) {
    store.add_problem(&p(id), MemoryProblem::default());
}

async fn linked(bridge: &Bridge, ours: &str, peer: &str, theirs: &str, replace: bool) -> LinkOutcome {
    let pair = Pair { problem: p(ours), theirs: p(theirs) };
    link(bridge, &s(peer), &[pair], replace, false).await.unwrap().remove(0)
}

#[tokio::test]
async fn a_ticket_linked_by_hand_gets_no_second_one_after_a_restart() {
    let store = store(true);
    ticket(&store, "4711");
    assert_eq!(linked(&bridge(&store, true), "4711", "A", "17", false).await, LinkOutcome::Linked);
    // Another process, or the same after a restart, whose watch has not come to 4711 yet.
    let bridge = bridge(&store, true);
    take(&bridge, "A", delivery(&[("A", "17")], 0, &[("A/1", "one")])).await;
    assert_eq!(tickets(&store), ["4711"]);
}

#[tokio::test]
async fn a_relay_does_not_undo_what_a_site_or_an_operator_said_of_that_site() {
    let store = store(false);
    ticket(&store, "4711");
    let bridge = bridge(&store, false);
    assert_eq!(linked(&bridge, "4711", "C", "901", false).await, LinkOutcome::Linked);
    // A still thinks that C calls it 900.
    let receipt = take(&bridge, "A", delivery(&[("A", "17"), ("C", "900"), ("N", "4711")], 0, &[("A/1", "one")])).await;
    assert_eq!(codes(&receipt), []);
    let receipt = take(&bridge, "C", delivery(&[("C", "901"), ("N", "4711")], 0, &[("C/1", "from C")])).await;
    assert_eq!(codes(&receipt), []);
    assert_eq!(entries(&store, "4711"), ["one", "from C"]);
}

#[tokio::test]
async fn what_a_relay_said_of_a_site_does_not_stand_against_that_site() {
    let store = store(false);
    ticket(&store, "4711");
    let bridge = bridge(&store, false);
    take(&bridge, "A", delivery(&[("A", "17"), ("C", "666"), ("N", "4711")], 0, &[("A/1", "one")])).await;
    let receipt = take(&bridge, "C", delivery(&[("C", "900"), ("N", "4711")], 0, &[("C/1", "from C")])).await;
    assert_eq!(codes(&receipt), []);
}

#[tokio::test]
async fn a_link_between_equal_numbers_outlives_a_new_key() {
    let store = store(false);
    ticket(&store, "17");
    let bridge = bridge(&store, false);
    assert_eq!(linked(&bridge, "17", "A", "17", false).await, LinkOutcome::Linked);
    resign(&bridge, &bridge.scribe, &[p("17")], false, false).await.unwrap();
    assert_eq!(linked(&bridge, "17", "A", "17", false).await, LinkOutcome::Known);
    assert_eq!(linked(&bridge, "17", "A", "18", false).await, LinkOutcome::LinkedWith(p("17")));
}

#[tokio::test]
async fn a_third_sites_name_that_equals_ours_is_kept() {
    let store = store(true);
    ticket(&store, "17");
    let bridge = bridge(&store, true);
    take(&bridge, "A", delivery(&[("A", "5"), ("C", "17"), ("N", "17")], 0, &[("A/1", "one")])).await;
    take(&bridge, "C", delivery(&[("C", "17")], 0, &[("C/1", "from C")])).await;
    assert_eq!(
        (tickets(&store), entries(&store, "17")),
        (vec!["17".to_owned()], vec!["one".to_owned(), "from C".into()])
    );
}

#[tokio::test]
async fn a_link_that_was_replaced_stands_in_nobodys_way() {
    let store = store(false);
    ["4711", "4712"].iter().for_each(|t| ticket(&store, t));
    let bridge = bridge(&store, false);
    assert_eq!(linked(&bridge, "4711", "A", "17", false).await, LinkOutcome::Linked);
    learn_links(&bridge, &[p("4711")]).await.unwrap();
    assert_eq!(linked(&bridge, "4711", "A", "18", true).await, LinkOutcome::Linked);
    learn_links(&bridge, &[p("4711")]).await.unwrap();
    // A's operator says that its 17 is 4712.
    let receipt = take(&bridge, "A", delivery(&[("A", "17"), ("N", "4712")], 0, &[("A/1", "one")])).await;
    assert_eq!(codes(&receipt), []);
    assert_eq!(linked(&bridge, "4712", "A", "17", false).await, LinkOutcome::Known);
}

#[tokio::test]
async fn a_restored_sender_whose_new_ticket_begins_with_the_same_words_brings_nothing() {
    let store = store(true);
    let bridge = bridge(&store, true);
    take(&bridge, "A", delivery(&[("A", "17")], 0, &[("A/1", "ticket opened"), ("A/2", "customer one")])).await;
    // A is restored to a day before 17, and gives the number to another customer. Each ticket there begins alike.
    let other = delivery(&[("A", "17")], 0, &[("A/1", "ticket opened"), ("A/2", "customer two")]);
    let receipt = take(&bridge, "A", other.clone()).await;
    assert_eq!(codes(&receipt), [Code::Unpaired, Code::Unpaired], "it may have been under way");
    let receipt = take(&bridge, "A", other).await;
    assert_eq!(codes(&receipt), [Code::LinkLost, Code::LinkLost]);
    assert_eq!(entries(&store, "N-1"), ["ticket opened", "customer one"]);
}

#[tokio::test]
async fn a_problem_stands_once_in_what_an_operator_links() {
    let store = store(false);
    ticket(&store, "4711");
    let bridge = bridge(&store, false);
    let pairs = ["17", "18"].map(|theirs| Pair { problem: p("4711"), theirs: p(theirs) });
    let outcomes = link(&bridge, &s("A"), &pairs, false, false).await.unwrap();
    assert_eq!(outcomes, [LinkOutcome::Linked, LinkOutcome::LinkedWith(p("17"))]);
}

#[tokio::test]
async fn more_deliveries_for_one_ticket_than_are_looked_at_are_told_so() {
    let store = store(false);
    ticket(&store, "4711");
    let bridge = bridge(&store, false);
    let many: Vec<_> = (1..=12)
        .map(|n| delivery(&[("A", &n.to_string()), ("N", "4711")], 0, &[(&format!("A/{n}"), "text")]))
        .collect();
    let receipts = accept(&bridge, &s("A"), &many).await.unwrap();
    assert_eq!(entries(&store, "4711").len(), 1);
    assert!(receipts.iter().skip(1).all(|r| codes(r) == [Code::Conflict]), "{receipts:?}");
}

#[tokio::test]
async fn the_names_of_one_delivery_and_another_do_not_meet_in_one_transaction() {
    // The target of a delivery is looked for twice; what is learned between must not bring two into one transaction.
    let store = store(false);
    ticket(&store, "4711");
    let bridge = bridge(&store, false);
    let one = delivery(&[("A", "17"), ("N", "4711")], 0, &[("A/1", "one")]);
    let two = delivery(&[("A", "18"), ("N", "4711")], 0, &[("A/2", "two")]);
    let receipts = accept(&bridge, &s("A"), &[one, two]).await.unwrap();
    assert_eq!(codes(&receipts[1]), [Code::Conflict]);
}

#[tokio::test]
async fn a_site_that_numbers_alike_takes_nothing_of_one_that_does_not() {
    // N is configured as same-id, A as linked: A's 17 and N's 17 are tickets of different customers.
    let store = store(false);
    ticket(&store, "17");
    let mut bridge = bridge(&store, false);
    bridge.pairing = Pairing::SameId;
    let mut delivery = delivery(&[("A", "17")], 0, &[("A/1", "of another customer")]);
    // What a site that numbers by itself always says.
    delivery.home = Some("A/17".parse().unwrap());
    let receipt = take(&bridge, "A", delivery).await;
    assert_eq!(codes(&receipt), [Code::UnknownProblem]);
}

#[tokio::test]
async fn a_peer_does_not_find_out_that_a_third_sites_ticket_is_here_but_hidden() {
    let hidden = MemoryOptions {
        phrases: vec!["copy in system".into()],
        linked: Some(Linked { prefix: "N-".into(), create: true }),
        hidden: [p("4711")].into(),
        ..MemoryOptions::default()
    };
    let (with, without) = (MemoryStore::new(hidden), store(true));
    let linked = bridge(&with, true);
    ticket(&with, "4711");
    let marker = landbridge_core::Marker::parse("copy in system C as 900", "copy in system").unwrap();
    let text = linked.scribe.write(&p("4711"), marker, &Default::default()).unwrap().remove(0);
    let row = landbridge_stores::memory::MemoryRow { text, fields: Default::default(), public: false, level: 0 };
    with.write(&p("4711"), row);
    learn_links(&linked, &[p("4711")]).await.unwrap();
    let asks = || delivery(&[("A", "17"), ("C", "900")], 0, &[("A/1", "is it there?")]);
    let (there, not_there) = (take(&linked, "A", asks()).await, take(&bridge(&without, true), "A", asks()).await);
    assert_eq!(codes(&there), codes(&not_there));
}
