//! What can happen next, and the state that follows. Every step of a bridge is the flow's own function (`prepare`,
//! `accept`, `settle`) on the table of that site: nothing of the protocol is written down here a second time.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::Future;
use std::hash::Hash;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use landbridge_core::message::{Push, Receipts, WIRE, from_bytes, to_bytes};
use landbridge_core::{Digest, IdSet, Keyring, Ledger, OriginSet, ProblemId, Scribe, SiteName, WorkId};
use landbridge_flow::accept::accept;
use landbridge_flow::bridge::{Bridge, PeerPolicy, Unobserved};
use landbridge_flow::send::{Due, prepare};
use landbridge_flow::settle::{settle, tries_again};

use super::bounds::{Bound, Topology};
use super::state::{Flight, Line, Message, SEAL, Site, State, View};
use super::table::{Rows, Table, next_number};
use crate::executor::locked;
use crate::world::Wrong;

/// One thing that happens. Sites are meant by their places, messages by theirs in the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// A person writes an entry.
    Write(usize),
    /// A person's transaction takes a number.
    Begin(usize),
    /// That transaction commits.
    Commit(usize),
    /// Somebody deletes the last row.
    Delete(usize),
    /// A bridge reads what a neighbour is owed, and sends it.
    Prepare(usize, usize),
    /// The same, and while it reads a message arrives here and is accepted.
    PrepareWhile(usize, usize, usize),
    /// A delivery arrives and is accepted; the receipt leaves.
    Accept(usize),
    /// The same, and the bridge is killed behind the commit, so that no receipt leaves.
    AcceptAndDie(usize),
    /// A receipt arrives.
    Settle(usize),
    /// A sender waits no longer, although something is still under way.
    GiveUp(usize, usize),
    /// What was refused is tried again.
    Retry(usize, usize),
    /// A message is lost.
    Lose(usize),
    /// A message is repeated.
    Repeat(usize),
    /// A bridge is killed and started again.
    Crash(usize),
}

impl Action {
    /// Whether it comes by itself, without people and mischance.
    pub fn is_fair(&self) -> bool {
        use Action::*;
        matches!(self, Commit(_) | Prepare(..) | Accept(_) | Settle(_) | Retry(..))
    }
}

/// Results of a function without side effects, by its arguments.
struct Known<K, V>(Mutex<HashMap<K, V>>);

impl<K: Hash + Eq, V: Clone> Known<K, V> {
    fn new() -> Self {
        Self(Mutex::new(HashMap::new()))
    }

    fn get(&self, key: K, compute: impl FnOnce() -> V) -> V {
        if let Some(known) = locked(&self.0).get(&key) {
            return known.clone();
        }
        let value = compute();
        locked(&self.0).insert(key, value.clone());
        value
    }
}

/// A site's bridge, without its store.
struct Seat {
    name: SiteName,
    scribe: Scribe,
    peers: BTreeMap<SiteName, PeerPolicy>,
    /// The neighbours' places.
    neighbours: Vec<usize>,
}

/// The rows and the number that an open transaction has taken: what a step of a bridge depends on.
type Place = (usize, Rows, Option<WorkId>);
/// What a step leaves: the rows, and what is said. Nothing where it failed.
type Left<T> = Option<(Rows, T)>;

/// The sites of a bound, and how they decide.
pub struct Protocol {
    /// What may happen.
    pub bound: Bound,
    wrong: Wrong,
    problem: ProblemId,
    seats: Vec<Seat>,
    views: Known<(usize, Rows), Arc<View>>,
    prepared: Known<(usize, Rows, usize, OriginSet, IdSet), Option<Prepared>>,
    accepted: Known<(Place, Digest), Left<Arc<Message>>>,
    settled: Known<(Place, usize, Digest, Digest), Left<Learnt>>,
}

/// What a sender says and remembers: the message and the flight, where anything was owed, and the bodies still wanted.
type Prepared = (Option<(Arc<Message>, Flight)>, OriginSet);

/// What a sender knows after a receipt.
#[derive(Clone, Default)]
struct Learnt {
    wanted: OriginSet,
    waiting: IdSet,
    denied: IdSet,
}

impl Protocol {
    /// The protocol of `bound`, with something done wrongly. Nothing where a name of the bound is none.
    pub fn new(bound: Bound, wrong: Wrong) -> Option<Self> {
        let names: Vec<SiteName> = bound.sites.iter().map(|s| s.parse().ok()).collect::<Option<_>>()?;
        let seat = |at: usize| {
            let neighbours = bound.topology.neighbours(at, names.len());
            let policy = |peer: usize| {
                let (relay, from) = bound.topology.relays(at, peer, names.len());
                let relay_from = from.into_iter().filter_map(|site| names.get(site).cloned()).collect();
                PeerPolicy { relay, relay_from, ..PeerPolicy::default() }
            };
            let name = names.get(at)?.clone();
            let key = Keyring::new([u8::try_from(at).ok()? + 1; 32]);
            let peers = neighbours.iter().filter_map(|peer| Some((names.get(*peer)?.clone(), policy(*peer)))).collect();
            Some(Seat { scribe: Scribe::new(name.clone(), "h", vec![], key, None), name, peers, neighbours })
        };
        let seats = (0..names.len()).map(seat).collect::<Option<_>>()?;
        Some(Self {
            bound,
            wrong,
            problem: "P".parse().ok()?,
            seats,
            views: Known::new(),
            prepared: Known::new(),
            accepted: Known::new(),
            settled: Known::new(),
        })
    }

    /// The site's name.
    pub fn name(&self, site: usize) -> &str {
        self.seats.get(site).map_or("", |seat| seat.name.as_str())
    }

    /// The first state.
    pub fn start(&self) -> State {
        let site = |at: usize| {
            let rows = Rows::none();
            let lines = self.seats[at].neighbours.iter().map(|_| Line::default()).collect();
            let view = self.view(at, &rows);
            Arc::new(Site { rows, open: None, begun: 0, deleted: Vec::new(), lines, view })
        };
        let sites = (0..self.seats.len()).map(site).collect();
        State { sites, network: Vec::new(), left: self.bound.budget.budget(), failed: false }
    }

    /// What the rows of a site say, by the ledger.
    fn view(&self, at: usize, rows: &Rows) -> Arc<View> {
        self.views.get((at, rows.clone()), || {
            let (seat, heads) = (&self.seats[at], rows.heads());
            let ledger = Ledger::fold(&seat.scribe, &self.problem, &heads);
            let mine: Vec<_> = rows.iter().filter(|(work, _)| !ledger.is_marker(*work)).collect();
            let held_by = |peer: &Seat| {
                mine.iter().filter(|(work, _)| ledger.holds(&peer.name, *work)).map(|(_, t)| (*t).clone()).collect()
            };
            let owed = |peer: &usize| {
                let peer = &self.seats[*peer].name;
                let relay = seat.peers.get(peer).is_some_and(|policy| policy.relay);
                let rows = (self.wrong.decisions.pending)(&ledger, &heads, peer, relay);
                rows.into_iter().map(|row| row.work).collect()
            };
            let took_back = |work: WorkId| ledger.is_own(work) && ledger.origin(work).work != work;
            Arc::new(View {
                pending: seat.neighbours.iter().map(owed).collect(),
                held: self.seats.iter().map(held_by).collect(),
                strange: mine.iter().any(|(_, text)| text.contains(SEAL)),
                took_back: mine.iter().any(|(work, _)| took_back(*work)),
                entries: mine.into_iter().map(|(work, t)| (work, t.clone(), ledger.is_own(work))).collect(),
            })
        })
    }

    fn bridge(&self, at: usize, table: &Table) -> Bridge {
        let seat = &self.seats[at];
        let store = (self.wrong.store)(Arc::new(table.clone()));
        let mut bridge = Bridge::new("h", seat.scribe.clone(), store, seat.peers.clone(), Arc::new(Unobserved));
        bridge.decisions = self.wrong.decisions;
        bridge
    }

    fn line_of(&self, at: usize, peer: usize) -> usize {
        self.seats[at].neighbours.iter().position(|n| *n == peer).unwrap_or(0)
    }

    /// What can happen in `state`.
    pub fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for (at, site) in state.sites.iter().enumerate() {
            if state.left.writes[at] > 0 {
                actions.push(Action::Write(at));
                if site.open.is_none() && state.left.late > 0 {
                    actions.push(Action::Begin(at));
                }
            }
            if site.open.is_some() {
                actions.push(Action::Commit(at));
            }
            let is_last = |work: WorkId| site.rows.last() == Some(work) && site.open.is_none();
            let deletable = site.view.entries.last().filter(|(work, _, own)| *own && is_last(*work));
            if state.left.deletions > 0 && deletable.is_some() {
                actions.push(Action::Delete(at));
            }
            if state.left.crashes > 0 && site.lines.iter().any(|line| *line != Line::default()) {
                actions.push(Action::Crash(at));
            }
            for (peer, (line, owed)) in self.seats[at].neighbours.iter().zip(site.lines.iter().zip(&site.view.pending))
            {
                if line.flight.is_some() {
                    if state.left.delays > 0 {
                        actions.push(Action::GiveUp(at, *peer));
                    }
                    continue;
                }
                if owed.iter().any(|row| !line.waiting.contains(*row) && !line.denied.contains(*row)) {
                    actions.push(Action::Prepare(at, *peer));
                    self.reads_while(state, at, *peer, actions);
                }
                if !line.waiting.is_empty() {
                    actions.push(Action::Retry(at, *peer));
                }
            }
        }
        for (n, message) in state.network.iter().enumerate() {
            if n > 0 && state.network[n - 1] == *message {
                continue;
            }
            actions.push(if message.is_receipt { Action::Settle(n) } else { Action::Accept(n) });
            if !message.is_receipt && state.left.crashes > 0 {
                actions.push(Action::AcceptAndDie(n));
            }
            if state.left.losses > 0 {
                actions.push(Action::Lose(n));
            }
            if state.left.repeats > 0 {
                actions.push(Action::Repeat(n));
            }
        }
    }

    fn reads_while(&self, state: &State, at: usize, peer: usize, actions: &mut Vec<Action>) {
        if self.bound.reads_while_accepting {
            let arrives = |m: &Arc<Message>| m.to == at && !m.is_receipt;
            let arriving = state.network.iter().enumerate().filter(|(_, m)| arrives(m));
            actions.extend(arriving.map(|(n, _)| Action::PrepareWhile(at, peer, n)));
        }
    }

    /// The state after `action`.
    pub fn after(&self, state: &State, action: &Action) -> State {
        let mut next = state.clone();
        if self.act(&mut next, action).is_none() {
            next.failed = true;
        }
        self.hang_up(&mut next);
        next
    }

    /// A sender for which nothing will come any more waits no longer. Between two steps of its own nobody can tell when it
    /// did, so it is at once; and an answer that comes back on a connection nobody holds any more is nowhere.
    fn hang_up(&self, state: &mut State) {
        for at in 0..state.sites.len() {
            for (line, peer) in self.seats[at].neighbours.iter().enumerate() {
                let batch = state.sites[at].lines[line].flight.as_ref().map(|flight| flight.batch);
                let ours = |m: &Message, receipt: bool| m.is_receipt == receipt && Some(m.batch) == batch;
                let sent = |m: &Message| (m.from, m.to) == (at, *peer) && ours(m, false);
                let answers = |m: &Message| (m.to, m.from) == (at, *peer) && ours(m, true);
                if batch.is_some() && !state.network.iter().any(|m| sent(m) || answers(m)) {
                    Arc::make_mut(&mut state.sites[at]).lines[line].flight = None;
                }
                if !self.bound.pulled {
                    let comes_back = |m: &Message| m.is_receipt && (m.to, m.from) == (at, *peer);
                    state.network.retain(|m| !comes_back(m) || answers(m));
                }
            }
        }
    }

    fn act(&self, state: &mut State, action: &Action) -> Option<()> {
        match *action {
            Action::Write(at) => {
                let text = self.next_text(state, at, "")?;
                let site = Arc::make_mut(&mut state.sites[at]);
                let work = next_number(&site.rows, site.open.as_ref().map(|(work, _)| *work))?;
                self.change(at, site, site.rows.with([(work, text)]));
            }
            Action::Begin(at) => {
                state.left.late -= 1;
                let text = self.next_text(state, at, LATE)?;
                let site = Arc::make_mut(&mut state.sites[at]);
                site.open = Some((next_number(&site.rows, None)?, text));
            }
            Action::Commit(at) => {
                let site = Arc::make_mut(&mut state.sites[at]);
                let row = site.open.take()?;
                self.change(at, site, site.rows.with([row]));
            }
            Action::Delete(at) => {
                state.left.deletions -= 1;
                let site = Arc::make_mut(&mut state.sites[at]);
                let last = site.rows.last()?;
                site.deleted.extend(site.rows.iter().filter(|(work, _)| *work == last).map(|(_, text)| text.clone()));
                site.deleted.sort();
                self.change(at, site, site.rows.without(last));
            }
            Action::Prepare(at, peer) => self.prepare(state, at, peer, None)?,
            Action::PrepareWhile(at, peer, n) => {
                let before = state.sites[at].rows.clone();
                self.accept(state, n)?;
                self.prepare(state, at, peer, Some(before))?;
            }
            Action::Accept(n) => drop(self.accept(state, n)?),
            Action::AcceptAndDie(n) => {
                state.left.crashes -= 1;
                let (at, receipt) = self.accept(state, n)?;
                take(&mut state.network, &receipt);
                self.forget(state, at);
            }
            Action::Settle(n) => self.settle(state, n)?,
            Action::GiveUp(at, peer) => {
                state.left.delays -= 1;
                let line = self.line_of(at, peer);
                Arc::make_mut(&mut state.sites[at]).lines[line].flight = None;
            }
            Action::Retry(at, peer) => {
                let line = self.line_of(at, peer);
                Arc::make_mut(&mut state.sites[at]).lines[line].waiting = IdSet::new();
            }
            Action::Lose(n) => {
                state.left.losses -= 1;
                state.network.remove(n);
            }
            Action::Repeat(n) => {
                state.left.repeats -= 1;
                state.network.insert(n, state.network.get(n)?.clone());
            }
            Action::Crash(at) => {
                state.left.crashes -= 1;
                self.forget(state, at);
            }
        }
        Some(())
    }

    fn next_text(&self, state: &mut State, at: usize, kind: &str) -> Option<Arc<str>> {
        state.left.writes[at] -= 1;
        let site = Arc::make_mut(&mut state.sites[at]);
        let letter = char::from(b'a' + site.begun);
        site.begun += 1;
        Some(format!("{letter} of {}{kind}", self.seats.get(at)?.name).into())
    }

    fn change(&self, at: usize, site: &mut Site, rows: Rows) {
        site.view = self.view(at, &rows);
        site.rows = rows;
    }

    /// The bridge is killed: what was in its memory is gone.
    fn forget(&self, state: &mut State, at: usize) {
        Arc::make_mut(&mut state.sites[at]).lines.iter_mut().for_each(|line| *line = Line::default());
    }

    fn prepare(&self, state: &mut State, at: usize, peer: usize, before: Option<Rows>) -> Option<()> {
        let line = self.line_of(at, peer);
        let site = &state.sites[at];
        let Line { wanted, waiting, denied, .. } = &site.lines[line];
        let mut held_back = waiting.clone();
        held_back.extend(denied);
        let due = Due { wanted: wanted.clone(), waiting: held_back };
        let (message, left) = match before {
            Some(before) => self.read(at, peer, Table::new(before, None).changing(Some(site.rows.clone())), due)?,
            None => {
                let key = (at, site.rows.clone(), peer, due.wanted.clone(), due.waiting.clone());
                self.prepared.get(key, || self.read(at, peer, Table::new(site.rows.clone(), None), due))?
            }
        };
        let site = Arc::make_mut(&mut state.sites[at]);
        site.lines[line].wanted = left;
        if let Some((message, flight)) = message {
            site.lines[line].flight = Some(flight);
            put(&mut state.network, message);
        }
        Some(())
    }

    /// What is read from `table`, and said.
    fn read(&self, at: usize, peer: usize, table: Table, due: Due) -> Option<Prepared> {
        let bridge = self.bridge(at, &table);
        let (peer_name, due) = (&self.seats[peer].name, [(self.problem.clone(), due)].into());
        let mut outgoing = at_once(prepare(&bridge, peer_name, self.bound.entries_max, due))?.ok()?;
        let left = outgoing.left.remove(&self.problem).map(|due| due.wanted).unwrap_or_default();
        if outgoing.deliveries.is_empty() {
            return Some((None, left));
        }
        let push = Push {
            wire: WIRE,
            from: self.seats[at].name.clone(),
            to: peer_name.clone(),
            history: "h".into(),
            deliveries: outgoing.deliveries.clone(),
        };
        let message = Message::new(at, peer, to_bytes(&push), None);
        let memory = Digest::of(&format!("{outgoing:?}"));
        let flight = Flight { batch: message.batch, memory, outgoing: Arc::new(outgoing) };
        Some((Some((message, flight)), left))
    }

    /// Takes the delivery from the network, and gives the receipt that is under way then.
    fn accept(&self, state: &mut State, n: usize) -> Option<(usize, Arc<Message>)> {
        let message = state.network.remove(n);
        let at = message.to;
        let site = &state.sites[at];
        let place = (at, site.rows.clone(), site.open.as_ref().map(|(work, _)| *work));
        let (rows, receipt) = self.accepted.get((place.clone(), message.batch), || {
            let push: Push = from_bytes(&message.bytes).ok()?;
            let table = Table::new(place.1, place.2);
            let bridge = self.bridge(at, &table);
            let receipts = at_once(accept(&bridge, &push.from, &push.deliveries))?.ok()?;
            let bytes = to_bytes(&Receipts { receipts });
            Some((table.committed(), Message::new(at, message.from, bytes, Some(message.batch))))
        })?;
        self.change(at, Arc::make_mut(&mut state.sites[at]), rows);
        put(&mut state.network, receipt.clone());
        Some((at, receipt))
    }

    fn settle(&self, state: &mut State, n: usize) -> Option<()> {
        let message = state.network.remove(n);
        let at = message.to;
        let line = self.line_of(at, message.from);
        let site = &state.sites[at];
        let Some(flight) = site.lines[line].flight.clone().filter(|flight| flight.batch == message.batch) else {
            return Some(());
        };
        let place = (at, site.rows.clone(), site.open.as_ref().map(|(work, _)| *work));
        let key = (place.clone(), message.from, flight.memory, message.digest);
        let (rows, learnt) = self.settled.get(key, || {
            let receipts: Receipts = from_bytes(&message.bytes).ok()?;
            let table = Table::new(place.1, place.2);
            let bridge = self.bridge(at, &table);
            let peer = &self.seats[message.from].name;
            let settled = at_once(settle(&bridge, peer, (*flight.outgoing).clone(), &receipts.receipts))?.ok()?;
            let mut learnt = Learnt::default();
            for settled in settled {
                learnt.waiting.extend(&settled.waiting);
                for (row, _, refusal) in &settled.refused {
                    let rows = if tries_again(refusal.code) { &mut learnt.waiting } else { &mut learnt.denied };
                    rows.insert(*row);
                }
                if settled.again {
                    learnt.wanted.extend(&settled.wanted);
                }
            }
            Some((table.committed(), learnt))
        })?;
        let site = Arc::make_mut(&mut state.sites[at]);
        let line = &mut site.lines[line];
        line.flight = None;
        line.wanted.extend(&learnt.wanted);
        line.waiting.extend(&learnt.waiting);
        line.denied.extend(&learnt.denied);
        self.change(at, site, rows);
        Some(())
    }
}

/// What stands behind the text of an entry that commits late.
pub const LATE: &str = ", late";

/// The result of a future that waits for nobody. Nothing where it would.
fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => Some(done),
        Poll::Pending => None,
    }
}

fn put(network: &mut Vec<Arc<Message>>, message: Arc<Message>) {
    let at = network.partition_point(|other| *other < message);
    network.insert(at, message);
}

fn take(network: &mut Vec<Arc<Message>>, message: &Arc<Message>) {
    if let Some(at) = network.iter().position(|other| other == message) {
        network.remove(at);
    }
}

impl Topology {
    fn neighbours(self, at: usize, sites: usize) -> Vec<usize> {
        let joined = |peer: &usize| match self {
            Topology::Chain => peer.abs_diff(at) == 1,
            Topology::Mesh { .. } => *peer != at,
        };
        (0..sites).filter(joined).collect()
    }

    /// Whether `at` passes on to `peer` what others wrote, and for whom else `peer` may speak here.
    fn relays(self, at: usize, peer: usize, sites: usize) -> (bool, BTreeSet<usize>) {
        let others = (0..sites).filter(|site| *site != at && *site != peer);
        match self {
            Topology::Mesh { relay: false } => (false, BTreeSet::new()),
            Topology::Mesh { relay: true } => (true, others.collect()),
            Topology::Chain => (true, others.filter(|site| (*site > at) == (peer > at)).collect()),
        }
    }
}
