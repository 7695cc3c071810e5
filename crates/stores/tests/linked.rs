//! Tickets that each site numbers by itself (DESIGN §5): one ticket each, never a foreign one. Played on memory stores,
//! without a network, so that a receipt can be lost and a database restored between any two steps.
#![allow(clippy::unwrap_used, clippy::panic, reason = "what cannot be built is a failed test")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use landbridge_core::message::{Code, Deliveries, Pull, Push, Receipts};
use landbridge_core::{Keyring, ProblemId, ProblemName, Scribe, SiteName};
use landbridge_flow::accept::accept;
use landbridge_flow::exchange::deliver_once;
use landbridge_flow::line::Line;
use landbridge_flow::operator::{LinkOutcome, Pair, link};
use landbridge_flow::pairing::learn_links;
use landbridge_flow::ports::{Clock, Peer};
use landbridge_flow::send::{Due, prepare};
use landbridge_flow::{Bridge, Event, Observer, Pairing, PeerError, PeerPolicy};
use landbridge_stores::memory::{Linked, MemoryOptions, MemoryProblem, MemoryRow, MemoryStore};

/// One site: its table of tickets, its bridge, and what peers refused.
struct Site {
    name: SiteName,
    store: MemoryStore,
    bridge: Bridge,
    refused: Arc<Refused>,
}

/// The reasons of the last refusals by peers.
#[derive(Default)]
struct Refused(Mutex<Vec<Code>>);

impl Observer for Refused {
    fn event(&self, event: &Event<'_>) {
        if let Event::RefusedByPeer { refused, .. } = event {
            self.0.lock().unwrap().extend(refused.iter().map(|(_, _, refusal)| refusal.code));
        }
    }
}

impl Site {
    /// A site whose own new tickets begin with `prefix`, among these others.
    fn new(name: &str, prefix: &str, create: bool, peers: &[&str]) -> Self {
        let options = MemoryOptions {
            phrases: vec!["copy in system".into()],
            linked: Some(Linked { prefix: prefix.into(), create }),
            ..MemoryOptions::default()
        };
        Self::over(name, MemoryStore::new(options), create, peers)
    }

    fn over(name: &str, store: MemoryStore, create: bool, peers: &[&str]) -> Self {
        let site: SiteName = name.parse().unwrap();
        let scribe = Scribe::new(site.clone(), "h", vec![], Keyring::new([7; 32]), None);
        let peers = peers.iter().map(|p| (p.parse().unwrap(), PeerPolicy::default())).collect();
        let refused = Arc::<Refused>::default();
        let mut bridge = Bridge::new("h", scribe, Arc::new(store.clone()), peers, refused.clone());
        bridge.pairing = Pairing::Linked { create };
        Self { name: site, store, bridge, refused }
    }

    fn ticket(&self, id: &str) {
        self.store.add_problem(&p(id), MemoryProblem::default());
    }

    fn write(&self, ticket: &str, text: &str) {
        let row = MemoryRow { text: text.into(), fields: Default::default(), public: true, level: 0 };
        self.store.write(&p(ticket), row);
    }

    /// The texts of a ticket's entries.
    fn entries(&self, ticket: &str) -> Vec<String> {
        let rows = self.store.committed(&p(ticket)).into_values();
        rows.map(|row| row.text).filter(|text| !text.contains("; seal ")).collect()
    }

    /// The tickets there are.
    fn tickets(&self) -> Vec<String> {
        self.store.linked_problems().keys().map(|p| p.as_str().to_owned()).collect()
    }

    fn other(&self, other: &Site) -> PeerPolicy {
        self.bridge.peers.get(&other.name).cloned().unwrap_or_default()
    }

    /// Delivers everything that is owed. What was refused.
    async fn deliver_to(&self, to: &Site) -> Vec<Code> {
        self.deliver(&Direct { to, lose_receipts: false, from: self.name.clone() }, to).await
    }

    /// Delivers once, and the receipts get lost.
    async fn deliver_in_vain_to(&self, to: &Site) {
        self.deliver(&Direct { to, lose_receipts: true, from: self.name.clone() }, to).await;
    }

    async fn deliver(&self, peer: &Direct<'_>, to: &Site) -> Vec<Code> {
        self.refused.0.lock().unwrap().clear();
        to.watch().await;
        let line = Line::new(&self.bridge, to.name.clone());
        while let Ok(true) = deliver_once(&self.bridge, &line, peer, &Standing).await {}
        self.refused.0.lock().unwrap().clone()
    }

    /// The watch of this site's bridge reads what changed.
    async fn watch(&self) {
        let all: Vec<_> = self.store.linked_problems().into_keys().collect();
        learn_links(&self.bridge, &all).await.unwrap();
    }

    async fn link(&self, ticket: &str, peer: &Site, theirs: &str, replace: bool) -> LinkOutcome {
        self.watch().await;
        let pair = Pair { problem: p(ticket), theirs: p(theirs) };
        link(&self.bridge, &peer.name, &[pair], replace, false).await.unwrap().remove(0)
    }

    /// The same site after its bridge was started again: it remembers nothing but its table.
    fn started_again(&self, create: bool) -> Site {
        let peers: Vec<_> = self.bridge.peers.keys().map(SiteName::as_str).collect();
        Site::over(self.name.as_str(), self.store.clone(), create, &peers)
    }
}

/// The bridge of the other site, called without a network.
struct Direct<'a> {
    to: &'a Site,
    lose_receipts: bool,
    from: SiteName,
}

#[async_trait]
impl Peer for Direct<'_> {
    async fn push(&self, push: Push) -> Result<Receipts, PeerError> {
        let receipts = accept(&self.to.bridge, &self.from, &push.deliveries).await;
        let receipts = receipts.map_err(|e| PeerError::NotNow(e.to_string()))?;
        if self.lose_receipts { Err(PeerError::Unreachable("lost".into())) } else { Ok(Receipts { receipts }) }
    }

    async fn pull(&self, _pull: Pull) -> Result<Deliveries, PeerError> {
        Err(PeerError::Protocol("nobody pulls here".into()))
    }
}

/// A clock that stands still.
struct Standing;

#[async_trait]
impl Clock for Standing {
    fn now(&self) -> Duration {
        Duration::ZERO
    }

    async fn sleep(&self, _pause: Duration) {}
}

fn p(id: &str) -> ProblemId {
    id.parse().unwrap()
}

/// Two sites; N creates tickets where `create`.
fn two(create: bool) -> (Site, Site) {
    (Site::new("A", "A-", create, &["N"]), Site::new("N", "N-", create, &["A"]))
}

#[tokio::test]
async fn a_ticket_is_created_once_and_both_sides_write_in_it() {
    let (a, n) = two(true);
    a.ticket("17");
    a.write("17", "does not boot");
    assert_eq!(a.deliver_to(&n).await, []);
    assert_eq!(n.tickets(), ["N-1"]);
    assert_eq!(n.store.linked_problems()[&p("N-1")].home, Some("A/17".parse::<ProblemName>().unwrap()));
    n.write("N-1", "looking at it");
    assert_eq!(n.deliver_to(&a).await, []);
    a.write("17", "thank you");
    assert_eq!(a.deliver_to(&n).await, []);
    let all = ["does not boot", "looking at it", "thank you"];
    assert_eq!((a.entries("17"), n.entries("N-1")), (all.map(str::to_owned).to_vec(), all.map(str::to_owned).to_vec()));
    assert_eq!((a.tickets(), n.tickets()), (vec!["17".to_owned()], vec!["N-1".to_owned()]));
}

#[tokio::test]
async fn a_lost_receipt_creates_no_second_ticket() {
    let (a, n) = two(true);
    a.ticket("17");
    a.write("17", "does not boot");
    a.deliver_in_vain_to(&n).await;
    let n = n.started_again(true);
    a.write("17", "still not");
    a.deliver_in_vain_to(&n).await;
    let n = n.started_again(true);
    assert_eq!(a.deliver_to(&n).await, []);
    assert_eq!((n.tickets(), n.entries("N-1")), (vec!["N-1".to_owned()], a.entries("17")));
}

#[tokio::test]
async fn a_lost_receipt_of_a_ticket_that_was_linked_by_hand_links_no_other() {
    let (a, n) = two(false);
    a.ticket("17");
    n.ticket("4711");
    a.write("17", "one");
    assert_eq!(a.deliver_to(&n).await, [Code::Unpaired]);
    assert_eq!(n.link("4711", &a, "17", false).await, LinkOutcome::Linked);
    a.deliver_in_vain_to(&n).await;
    a.write("17", "two");
    assert_eq!(a.deliver_to(&n).await, []);
    assert_eq!(n.entries("4711"), ["one", "two"]);
}

#[tokio::test]
async fn a_link_that_one_side_says_is_enough() {
    let (a, n) = two(false);
    a.ticket("17");
    n.ticket("4711");
    n.write("4711", "from N");
    assert_eq!(a.link("17", &n, "4711", false).await, LinkOutcome::Linked);
    a.write("17", "from A");
    assert_eq!(a.deliver_to(&n).await, []);
    assert_eq!(n.deliver_to(&a).await, []);
    assert_eq!(n.entries("4711"), ["from N", "from A"]);
    assert_eq!(a.entries("17"), ["from A", "from N"]);
}

#[tokio::test]
async fn three_sites_that_link_in_a_triangle_have_one_ticket_each() {
    let a = Site::new("A", "A-", true, &["B", "C"]);
    let b = Site::new("B", "B-", true, &["A", "C"]);
    let c = Site::new("C", "C-", true, &["A", "B"]);
    a.ticket("17");
    a.write("17", "from A");
    assert_eq!(a.deliver_to(&b).await, []);
    b.write("B-1", "from B");
    // C hears of it from B first, and A is a peer of C: it waits for A.
    assert_eq!(b.deliver_to(&c).await, [Code::Unpaired]);
    assert!(c.tickets().is_empty());
    assert_eq!(a.deliver_to(&c).await, []);
    assert_eq!(b.deliver_to(&c).await, []);
    c.write("C-1", "from C");
    for (from, to) in [(&c, &a), (&c, &b), (&b, &a), (&a, &b), (&a, &c)] {
        assert_eq!(from.deliver_to(to).await, [], "{} to {}", from.name, to.name);
    }
    for (site, ticket) in [(&a, "17"), (&b, "B-1"), (&c, "C-1")] {
        let mut entries = site.entries(ticket);
        entries.sort();
        assert_eq!(
            (site.tickets().len(), entries.join(", ")),
            (1, "from A, from B, from C".to_owned()),
            "{}",
            site.name
        );
    }
}

#[tokio::test]
async fn a_number_that_a_restored_receiver_gives_to_another_customer_gets_nothing() {
    let (a, n) = two(false);
    a.ticket("17");
    n.ticket("4711");
    assert_eq!(a.link("17", &n, "4711", false).await, LinkOutcome::Linked);
    a.write("17", "customer one");
    assert_eq!(a.deliver_to(&n).await, []);
    // N is restored to a day before 4711, and gives that number to somebody else.
    assert!(n.store.delete_problem(&p("4711")));
    n.ticket("4711");
    n.write("4711", "customer two");
    let n = n.started_again(false);
    a.write("17", "more of customer one");
    assert_eq!(a.deliver_to(&n).await, [Code::LinkLost]);
    assert_eq!(n.deliver_to(&a).await, [Code::Unpaired], "it may have been under way when N heard A's name for it");
    assert_eq!(n.deliver_to(&a).await, [Code::LinkLost]);
    assert_eq!(n.entries("4711"), ["customer two"]);
    assert_eq!(a.entries("17"), ["customer one", "more of customer one"]);
}

#[tokio::test]
async fn a_number_that_a_restored_sender_gives_to_another_customer_brings_nothing() {
    for create in [false, true] {
        let (a, n) = two(create);
        a.ticket("17");
        a.write("17", "customer one");
        if !create {
            n.ticket("4711");
            assert_eq!(n.link("4711", &a, "17", false).await, LinkOutcome::Linked);
        }
        assert_eq!(a.deliver_to(&n).await, []);
        let theirs = n.tickets().remove(0);
        // A is restored to a day before 17, and gives that number to somebody else, whose first row has the same number.
        assert!(a.store.delete_problem(&p("17")));
        a.ticket("17");
        a.write("17", "customer two");
        let a = a.started_again(create);
        assert_eq!(a.deliver_to(&n).await, [Code::Unpaired], "it may have been under way when A heard N's name for it");
        assert_eq!(a.deliver_to(&n).await, [Code::LinkLost]);
        n.write(&theirs, "more of customer one");
        assert_eq!(n.deliver_to(&a).await, [Code::LinkLost]);
        assert_eq!(n.entries(&theirs), ["customer one", "more of customer one"]);
        assert_eq!(a.entries("17"), ["customer two"]);
    }
}

#[tokio::test]
async fn a_delivery_that_was_under_way_when_the_link_became_known_raises_no_alarm() {
    let (a, n) = two(false);
    a.ticket("17");
    n.ticket("4711");
    assert_eq!(n.link("4711", &a, "17", false).await, LinkOutcome::Linked);
    a.write("17", "from A");
    let due = [(p("17"), Due::default())].into();
    let under_way = prepare(&a.bridge, &n.name, 100, due).await.unwrap().deliveries;
    n.write("4711", "from N");
    assert_eq!(n.deliver_to(&a).await, []);
    // It was prepared before A knew what N calls the ticket, and N has heard from A since.
    let receipt = accept(&n.bridge, &a.name, &under_way).await.unwrap().remove(0);
    assert_eq!(receipt.refused.iter().map(|r| r.refusal.code).collect::<Vec<_>>(), [Code::Unpaired]);
    assert_eq!(a.deliver_to(&n).await, []);
    assert_eq!(n.entries("4711"), ["from N", "from A"]);
}

#[tokio::test]
async fn a_contradicting_link_is_a_conflict_until_it_is_replaced_at_both_sides() {
    let (a, n) = two(false);
    ["17", "18"].iter().for_each(|t| a.ticket(t));
    n.ticket("4711");
    assert_eq!(a.link("17", &n, "4711", false).await, LinkOutcome::Linked);
    a.write("17", "seventeen");
    assert_eq!(a.deliver_to(&n).await, []);
    assert_eq!(a.link("17", &n, "4712", false).await, LinkOutcome::LinkedWith(p("4711")));
    assert_eq!(a.link("18", &n, "4711", false).await, LinkOutcome::Taken(p("17")));
    assert_eq!(a.link("18", &n, "4711", true).await, LinkOutcome::Linked);
    a.write("18", "eighteen");
    assert_eq!(a.deliver_to(&n).await, [Code::Conflict]);
    assert_eq!(n.entries("4711"), ["seventeen"]);
    assert_eq!(n.link("4711", &a, "18", false).await, LinkOutcome::LinkedWith(p("17")));
    assert_eq!(n.link("4711", &a, "18", true).await, LinkOutcome::Linked);
    a.write("17", "seventeen again");
    assert_eq!(a.deliver_to(&n).await, [Code::Conflict], "now it is 17 that is linked with nothing");
    assert_eq!(n.entries("4711"), ["seventeen", "eighteen"]);
}

#[tokio::test]
async fn both_of_two_tickets_for_one_are_told_in_the_same_batch() {
    let (a, n) = two(false);
    for ticket in ["17", "18"] {
        a.ticket(ticket);
        a.write(ticket, ticket);
    }
    n.ticket("4711");
    a.link("17", &n, "4711", false).await;
    a.link("18", &n, "4711", true).await;
    assert_eq!(a.deliver_to(&n).await, [Code::Conflict]);
    assert_eq!(n.entries("4711").len(), 1);
}

#[tokio::test]
async fn a_hidden_ticket_answers_as_one_that_is_not_there() {
    let (a, n) = two(false);
    a.ticket("17");
    a.write("17", "one");
    a.link("17", &n, "4711", false).await;
    assert_eq!(a.deliver_to(&n).await, [Code::UnknownProblem]);
    let hidden = MemoryOptions {
        phrases: vec!["copy in system".into()],
        linked: Some(Linked::default()),
        hidden: [p("4711")].into(),
        ..MemoryOptions::default()
    };
    let n = Site::over("N", MemoryStore::new(hidden), false, &["A"]);
    n.ticket("4711");
    assert_eq!(a.deliver_to(&n).await, [Code::UnknownProblem]);
}

#[tokio::test]
async fn a_peer_cannot_lead_anothers_entries_into_a_foreign_ticket() {
    // N says that its ticket is A's 17. C may keep N's name and no other: what C writes must not go to A's 17.
    let a = Site::new("A", "A-", false, &["C"]);
    let n = Site::new("N", "N-", false, &["C"]);
    let c = Site::new("C", "C-", true, &["N", "A"]);
    assert!(c.other(&n).relay_from.is_empty());
    a.ticket("17");
    a.write("17", "of another customer");
    n.ticket("4711");
    n.write("4711", "hello");
    n.store.write(
        &p("4711"),
        MemoryRow {
            text: n
                .bridge
                .scribe
                .write(
                    &p("4711"),
                    {
                        let mut marker = landbridge_core::Marker::for_peer("A".parse().unwrap());
                        marker.peer.problem = Some(p("17"));
                        marker
                    },
                    &Default::default(),
                )
                .unwrap()
                .remove(0),
            fields: Default::default(),
            public: false,
            level: 0,
        },
    );
    assert_eq!(n.deliver_to(&c).await, []);
    c.write("C-1", "secret of N's customer");
    assert_eq!(c.deliver_to(&a).await, [Code::Unpaired]);
    assert_eq!(a.entries("17"), ["of another customer"]);
}

#[tokio::test]
async fn of_a_ticket_that_the_peer_does_not_have_no_text_leaves() {
    let (a, n) = two(false);
    a.ticket("17");
    a.write("17", "for nobody's eyes yet");
    let line = Line::new(&a.bridge, n.name.clone());
    let overheard =
        Overheard { inner: Direct { to: &n, lose_receipts: false, from: a.name.clone() }, texts: Mutex::default() };
    deliver_once(&a.bridge, &line, &overheard, &Standing).await.unwrap();
    assert_eq!(*overheard.texts.lock().unwrap(), [None], "only a digest crosses");
    n.ticket("4711");
    n.link("4711", &a, "17", false).await;
    assert_eq!(a.deliver_to(&n).await, []);
    assert_eq!(n.entries("4711"), ["for nobody's eyes yet"]);
}

/// Notes the texts that cross.
struct Overheard<'a> {
    inner: Direct<'a>,
    texts: Mutex<Vec<Option<String>>>,
}

#[async_trait]
impl Peer for Overheard<'_> {
    async fn push(&self, push: Push) -> Result<Receipts, PeerError> {
        let entries = push.deliveries.iter().flat_map(|d| &d.entries);
        self.texts.lock().unwrap().extend(entries.map(|e| e.text.clone()));
        self.inner.push(push).await
    }

    async fn pull(&self, pull: Pull) -> Result<Deliveries, PeerError> {
        self.inner.pull(pull).await
    }
}
