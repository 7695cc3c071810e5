//! Which problems one peer is to be looked at for, and what it refused lately. Nothing here decides what is owed: a
//! problem that is due and owes nothing costs one read.
//!
//! The memory is bounded. What does not fit is forgotten, and found again by going through all problems once more.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use landbridge_core::{IdSet, OriginSet, ProblemId, WorkId};

use crate::bridge::Pauses;
use crate::pace::Backoff;
use crate::send::Due;
use crate::settle::{Settled, concerns_problem, tries_again};

/// The problems due for one peer.
#[derive(Debug)]
pub struct Outbox {
    problems_max: usize,
    retry: (Duration, Duration),
    due: BTreeMap<ProblemId, OriginSet>,
    flying: BTreeSet<ProblemId>,
    refused: BTreeMap<ProblemId, Waiting>,
    pass: Pass,
}

/// Where a pass through all problems stands.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Pass {
    /// At its end.
    Done,
    /// Everything up to this problem has been looked at.
    Behind(Option<ProblemId>),
}

#[derive(Debug)]
struct Waiting {
    /// Rows that are tried again by themselves, all at one time.
    rows: IdSet,
    until: Option<Duration>,
    backoff: Backoff,
    /// Rows that only an operator's word frees.
    denied: IdSet,
    /// How many deliveries in a row were answered with nothing but a wish for bodies, and for which.
    fruitless: u32,
    wanted: OriginSet,
}

/// Deliveries in a row that a peer may answer with a wish for bodies and take nothing of, before the next one waits: the
/// bodies go with the second.
const FRUITLESS_MAX: u32 = 2;

impl Outbox {
    /// An outbox at the beginning of a pass through all problems.
    pub fn new(problems_max: usize, pauses: &Pauses) -> Self {
        Self {
            problems_max: problems_max.max(1),
            retry: (pauses.retry_first, pauses.retry_longest),
            due: BTreeMap::new(),
            flying: BTreeSet::new(),
            refused: BTreeMap::new(),
            pass: Pass::Behind(None),
        }
    }

    /// Something changed in this problem.
    pub fn touch(&mut self, problem: &ProblemId) {
        self.put(problem.clone(), OriginSet::new());
    }

    /// Begins a pass through all problems.
    pub fn start_pass(&mut self) {
        self.pass = Pass::Behind(None);
    }

    /// Where to read the next problems of the pass from, once nothing else is due. Nothing where there is no pass.
    pub fn next_page(&self) -> Option<Option<ProblemId>> {
        match &self.pass {
            Pass::Behind(after) if self.due.is_empty() => Some(after.clone()),
            _ => None,
        }
    }

    /// The problems of the page; an empty one ends the pass.
    pub fn page(&mut self, problems: Vec<ProblemId>) {
        self.pass = match problems.last() {
            Some(last) => Pass::Behind(Some(last.clone())),
            None => Pass::Done,
        };
        for problem in problems {
            self.due.entry(problem).or_default();
        }
    }

    /// Takes up to `count` problems to look at. Until [`Outbox::landed`] they are on their way and not taken again.
    pub fn take(&mut self, now: Duration, count: usize) -> BTreeMap<ProblemId, Due> {
        // A clock that was set back must not make a pause longer than the longest.
        let is_ripe = |until: Duration| until <= now || until - now > self.retry.1;
        let ripe: Vec<_> =
            self.refused.iter().filter(|(_, w)| w.until.is_some_and(is_ripe)).map(|(p, _)| p.clone()).collect();
        for problem in ripe {
            // What is tried again waits no more; how often it was refused is kept until it is known to be taken.
            if let Some(waiting) = self.refused.get_mut(&problem) {
                (waiting.rows, waiting.until) = (IdSet::new(), None);
            }
            self.put(problem, OriginSet::new());
        }
        let next: Vec<_> = self.due.keys().filter(|p| !self.flying.contains(*p)).take(count).cloned().collect();
        let mut taken = BTreeMap::new();
        for problem in next {
            let mut wanted = self.due.remove(&problem).unwrap_or_default();
            let mut waiting = IdSet::new();
            if let Some(refused) = self.refused.get_mut(&problem) {
                // Once: where no receipt comes back, the next try asks again whether they are still wanted.
                if refused.until.is_none() {
                    wanted.extend(&std::mem::take(&mut refused.wanted));
                }
                waiting.extend(&refused.rows);
                waiting.extend(&refused.denied);
            }
            self.flying.insert(problem.clone());
            taken.insert(problem, Due { wanted, waiting });
        }
        taken
    }

    /// Whether this problem is on its way.
    pub fn is_flying(&self, problem: &ProblemId) -> bool {
        self.flying.contains(problem)
    }

    /// These problems are no longer on their way.
    pub fn landed(&mut self, problems: impl IntoIterator<Item = ProblemId>) {
        for problem in problems {
            self.flying.remove(&problem);
            self.forget_if_nothing_waits(&problem);
        }
    }

    /// There is more to send of these problems than what is on its way now.
    pub fn left(&mut self, left: BTreeMap<ProblemId, Due>) {
        for (problem, due) in left {
            self.put(problem, due.wanted);
        }
    }

    /// What the receipt of a problem changes: refused entries wait, wanted bodies go next.
    pub fn settled(&mut self, settled: &Settled, now: Duration) {
        self.flying.remove(&settled.problem);
        let (tried, denied): (Vec<_>, Vec<_>) =
            settled.refused.iter().partition(|(_, _, refusal)| tries_again(refusal.code));
        let whole = tried.iter().any(|(_, _, refusal)| concerns_problem(refusal.code));
        let mut rows: IdSet = if whole { IdSet::all() } else { tried.into_iter().map(|(row, ..)| *row).collect() };
        rows.extend(&settled.waiting);
        self.wait(&settled.problem, &rows, now);
        if !denied.is_empty() {
            self.waiting(&settled.problem).denied.extend(&denied.into_iter().map(|(row, ..)| *row).collect());
        }
        let fruitless = self.is_fruitless(settled, now);
        self.forget_if_nothing_waits(&settled.problem);
        if settled.again && !fruitless {
            self.put(settled.problem.clone(), settled.wanted.clone());
        }
    }

    /// The peer fetched these problems and gave no receipt. Once is an answer that was lost; again and again, the problem waits
    /// with growing pauses, or a peer could have the same handed out, and recorded, as fast as it asks.
    pub fn unreceipted(&mut self, problems: impl IntoIterator<Item = ProblemId>, now: Duration) {
        for problem in problems {
            self.flying.remove(&problem);
            let waiting = self.waiting(&problem);
            waiting.fruitless = waiting.fruitless.saturating_add(1);
            if waiting.fruitless > FRUITLESS_MAX {
                waiting.rows = IdSet::all();
                waiting.until = Some(now.saturating_add(waiting.backoff.failed()));
            } else {
                self.put(problem, OriginSet::new());
            }
        }
    }

    /// Whether the peer asks for bodies again and again and neither takes nor refuses them: then the problem waits with growing
    /// pauses, all of it, or what did not fit into the batch would go on without them.
    fn is_fruitless(&mut self, settled: &Settled, now: Duration) -> bool {
        if settled.marked > 0 || !settled.refused.is_empty() {
            if let Some(waiting) = self.refused.get_mut(&settled.problem) {
                (waiting.fruitless, waiting.wanted) = (0, OriginSet::new());
            }
            return false;
        }
        if !settled.again {
            return false;
        }
        let waiting = self.waiting(&settled.problem);
        waiting.fruitless = waiting.fruitless.saturating_add(1);
        // Kept here, since what is due may be forgotten where there is too much of it.
        waiting.wanted.extend(&settled.wanted);
        if waiting.fruitless <= FRUITLESS_MAX {
            return false;
        }
        waiting.rows = IdSet::all();
        waiting.until = Some(now.saturating_add(waiting.backoff.failed()));
        true
    }

    /// A row that cannot be sent waits as one that was refused does.
    pub fn withhold(&mut self, problem: ProblemId, row: WorkId, now: Duration) {
        self.wait(&problem, &IdSet::from_iter([row]), now);
    }

    fn wait(&mut self, problem: &ProblemId, rows: &IdSet, now: Duration) {
        if !rows.is_empty() {
            let waiting = self.waiting(problem);
            waiting.rows.extend(rows);
            waiting.until = Some(now.saturating_add(waiting.backoff.failed()));
        }
    }

    fn waiting(&mut self, problem: &ProblemId) -> &mut Waiting {
        let (first, longest) = self.retry;
        self.refused.entry(problem.clone()).or_insert_with(|| Waiting {
            rows: IdSet::new(),
            until: None,
            backoff: Backoff::new(first, longest),
            denied: IdSet::new(),
            fruitless: 0,
            wanted: OriginSet::new(),
        })
    }

    /// An operator's word: what was refused is tried now.
    pub fn retry(&mut self) {
        for problem in std::mem::take(&mut self.refused).into_keys() {
            self.put(problem, OriginSet::new());
        }
    }

    /// The same for one problem.
    pub fn retry_of(&mut self, problem: &ProblemId) {
        self.refused.remove(problem);
        self.put(problem.clone(), OriginSet::new());
    }

    /// When the next refused entry is to be tried again.
    pub fn next_retry(&self) -> Option<Duration> {
        self.refused.values().filter_map(|w| w.until).min()
    }

    fn forget_if_nothing_waits(&mut self, problem: &ProblemId) {
        let nothing = |w: &Waiting| w.rows.is_empty() && w.denied.is_empty() && w.fruitless == 0;
        if self.refused.get(problem).is_some_and(nothing) {
            self.refused.remove(problem);
        }
    }

    fn put(&mut self, problem: ProblemId, wanted: OriginSet) {
        if self.due.len() >= self.problems_max && !self.due.contains_key(&problem) {
            self.start_pass();
            return;
        }
        self.due.entry(problem).or_default().extend(&wanted);
    }
}

#[cfg(test)]
mod tests {
    use landbridge_core::WorkId;
    use landbridge_core::message::{Code, Refusal};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn problem(p: &str) -> ProblemId {
        p.parse().unwrap()
    }

    fn outbox(problems_max: usize) -> Outbox {
        let mut outbox = Outbox::new(problems_max, &Pauses::default());
        outbox.page(vec![]);
        outbox
    }

    fn settled(refused: &[(&str, Code)]) -> Settled {
        let refused = refused.iter().map(|(o, code)| (WorkId::MIN, o.parse().unwrap(), Refusal::of(*code))).collect();
        Settled {
            problem: problem("A"),
            wanted: OriginSet::new(),
            refused,
            waiting: IdSet::new(),
            marked: 0,
            again: false,
        }
    }

    #[test]
    fn a_problem_on_its_way_is_not_taken_again_until_it_landed() {
        let mut outbox = outbox(10);
        outbox.touch(&problem("A"));
        assert_eq!(outbox.take(SECOND, 9).len(), 1);
        outbox.touch(&problem("A"));
        assert!(outbox.take(SECOND, 9).is_empty());
        outbox.landed([problem("A")]);
        assert_eq!(outbox.take(SECOND, 9).len(), 1);
    }

    #[test]
    fn what_does_not_fit_is_found_by_another_pass() {
        let mut outbox = outbox(1);
        outbox.touch(&problem("A"));
        outbox.touch(&problem("B"));
        assert_eq!(outbox.take(SECOND, 9).into_keys().collect::<Vec<_>>(), [problem("A")]);
        assert_eq!(outbox.next_page(), Some(None));
    }

    #[test]
    fn a_refused_entry_waits_and_the_others_do_not() {
        let mut outbox = outbox(10);
        outbox.settled(&settled(&[("1/4", Code::Constraint)]), SECOND);
        outbox.touch(&problem("A"));
        let due = outbox.take(SECOND, 9).remove(&problem("A")).unwrap();
        assert!(due.waiting.contains(WorkId::MIN));
        outbox.landed([problem("A")]);
        assert_eq!(outbox.next_retry(), Some(2 * SECOND));
        let due = outbox.take(2 * SECOND, 9).remove(&problem("A")).unwrap();
        assert!(due.waiting.is_empty());
    }

    #[test]
    fn a_peer_that_fetches_and_gives_no_receipt_is_handed_out_less_and_less() {
        let mut outbox = outbox(10);
        outbox.touch(&problem("A"));
        for _ in 0..FRUITLESS_MAX {
            assert_eq!(outbox.take(SECOND, 9).len(), 1, "an answer may be lost");
            outbox.unreceipted([problem("A")], SECOND);
        }
        outbox.take(SECOND, 9);
        outbox.unreceipted([problem("A")], SECOND);
        assert!(outbox.take(SECOND, 9).is_empty());
        assert_eq!(outbox.next_retry(), Some(2 * SECOND));
        assert_eq!(outbox.take(2 * SECOND, 9).len(), 1);
        outbox.unreceipted([problem("A")], 2 * SECOND);
        assert_eq!(outbox.next_retry(), Some(4 * SECOND), "the pauses grow");
        outbox.take(4 * SECOND, 9);
        outbox.settled(&Settled { marked: 1, ..settled(&[]) }, 4 * SECOND);
        outbox.touch(&problem("A"));
        outbox.take(4 * SECOND, 9);
        outbox.unreceipted([problem("A")], 4 * SECOND);
        assert_eq!(outbox.take(4 * SECOND, 9).len(), 1, "what was taken at last is forgotten");
    }

    #[test]
    fn a_peer_that_wants_bodies_for_ever_is_sent_them_less_and_less() {
        let mut outbox = outbox(10);
        let mut wants = Settled { again: true, ..settled(&[]) };
        wants.wanted.insert(&"C/9".parse().unwrap());
        for _ in 0..FRUITLESS_MAX {
            outbox.settled(&wants, SECOND);
            assert!(outbox.take(SECOND, 9)[&problem("A")].wanted.contains(&"C/9".parse().unwrap()));
        }
        outbox.settled(&wants, SECOND);
        assert!(outbox.take(SECOND, 9).is_empty());
        outbox.touch(&problem("A"));
        let all = outbox.take(SECOND, 9).remove(&problem("A")).unwrap().waiting;
        assert_eq!(all, IdSet::all(), "nothing of it goes without them");
        outbox.landed([problem("A")]);
        assert_eq!(outbox.next_retry(), Some(2 * SECOND));
        let due = outbox.take(2 * SECOND, 9).remove(&problem("A")).unwrap();
        assert!(due.wanted.contains(&"C/9".parse().unwrap()), "the bodies go with the next try");
        outbox.settled(&wants, 2 * SECOND);
        assert_eq!(outbox.next_retry(), Some(4 * SECOND), "the pauses grow");
        outbox.settled(&Settled { marked: 1, ..settled(&[]) }, 4 * SECOND);
        outbox.settled(&wants, 4 * SECOND);
        assert_eq!(outbox.take(4 * SECOND, 9).len(), 1, "what was taken at last is forgotten");
        for _ in 0..9 {
            outbox.settled(&wants, 4 * SECOND);
            outbox.settled(&settled(&[("C/9", Code::Constraint)]), 4 * SECOND);
        }
        outbox.settled(&wants, 4 * SECOND);
        let due = outbox.take(4 * SECOND, 9).remove(&problem("A")).unwrap();
        assert_ne!(due.waiting, IdSet::all(), "what is refused with its body stops nothing else");
    }

    #[test]
    fn a_clock_that_is_set_back_makes_no_pause_longer() {
        let mut outbox = outbox(10);
        outbox.settled(&settled(&[("1/4", Code::Constraint)]), 100_000 * SECOND);
        let due = outbox.take(SECOND, 9).remove(&problem("A")).unwrap();
        assert!(due.waiting.is_empty());
    }

    #[test]
    fn what_is_not_allowed_waits_for_an_operator() {
        let mut outbox = outbox(10);
        outbox.settled(&settled(&[("1/4", Code::NotAllowed)]), SECOND);
        assert_eq!(outbox.next_retry(), None);
        assert!(outbox.take(1000 * SECOND, 9).is_empty());
        outbox.retry();
        assert_eq!(outbox.take(SECOND, 9).len(), 1);
    }
}
