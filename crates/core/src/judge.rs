//! The receiver's decision: what each entry of a delivery is (DESIGN §5).
//!
//! It is taken in two steps, because texts are only read where they are needed: [`lookups`] names the rows whose text
//! decides, [`judge`] decides. [`record`] says what the sender's marker has to state afterwards.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::account::View;
use crate::entry::{Digest, Row};
use crate::id::{ProblemId, SiteName, WorkId};
use crate::id_set::{IdSet, OriginSet};
use crate::ledger::Ledger;
use crate::marker::{Group, Marker};
use crate::message::{Code, Delivery, Entry, Missing, Refusal, Text};
use crate::scribe::Scribe;

/// Who delivers, and what this site lets it do.
#[derive(Debug, Clone)]
pub struct Deliverer<'a> {
    /// The sender.
    pub from: &'a SiteName,
    /// The origins for which it may speak, besides itself.
    pub relay_from: &'a BTreeSet<SiteName>,
    /// The longest text taken, in bytes.
    pub entry_bytes_max: u64,
    /// What an operator repairs of the exchange with it right now.
    pub repair: &'a Repair,
}

/// What an operator repairs of the exchange with a peer (DESIGN §5): what the comparison found lacking here, and nothing
/// besides, or the peer could put words into this site's mouth meanwhile.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Repair {
    /// Of each problem; the texts in order.
    lacking: BTreeMap<ProblemId, Missing>,
    recognises: bool,
}

impl Repair {
    /// What is `lacking` is taken from the peer, also what this site wrote itself. `recognises`: a row here that no marker
    /// names is such an entry, where it has the very text; its marker is gone.
    pub fn new(lacking: impl IntoIterator<Item = (ProblemId, Missing)>, recognises: bool) -> Self {
        let mut lacking: BTreeMap<_, _> = lacking.into_iter().collect();
        lacking.values_mut().for_each(|missing: &mut Missing| missing.texts.sort_unstable());
        Self { lacking, recognises }
    }

    /// Whether this entry of the problem is one that is lacking, by its number or its text.
    fn names(&self, problem: &ProblemId, entry: &Entry) -> bool {
        let by_number = |missing: &Missing| missing.origins.contains(&entry.origin);
        self.lacking.get(problem).is_some_and(by_number) || self.names_text(problem, entry)
    }

    /// The same by its text alone: one number that is lacking is one entry.
    fn names_text(&self, problem: &ProblemId, entry: &Entry) -> bool {
        let text = || Some(Text { origin: entry.origin.clone(), digest: entry.digest()? });
        let by_text = |missing: &Missing| text().is_some_and(|text| missing.texts.binary_search(&text).is_ok());
        self.lacking.get(problem).is_some_and(by_text)
    }
}

/// What an entry of a delivery is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is here, or was: the row that carries or carried it.
    Known(WorkId),
    /// It is not here and is to be appended.
    Fresh,
    /// Its origin is here with another text, in this row. It is appended once more.
    Differs(WorkId),
    /// Its body is to be sent first; or it stands behind such an entry.
    Wanted,
    /// It is here, in this row, and the marker that said so is gone: one is written again.
    Recognised(WorkId),
    /// It is not taken.
    Refused(Refusal),
}

/// The rows of this problem whose texts [`judge`] needs.
pub fn lookups(ledger: &Ledger, rows: &[Row], deliverer: &Deliverer<'_>, entries: &[Entry]) -> BTreeSet<WorkId> {
    let carriers = entries.iter().flat_map(|entry| ledger.rows_of(&entry.origin).into_iter().map(move |w| (entry, w)));
    let compared = carriers
        .filter(|(entry, work)| here(rows, *work).is_some_and(|row| may_compare(ledger, deliverer, row, entry)));
    compared.map(|(_, work)| work).collect()
}

/// Whether the answer may tell that the row carries the very text. A peer that neither has the entry nor may see it
/// would otherwise find out a text by guessing digests; with the body sent, right and wrong are answered alike. A row that it
/// holds counts though it is internal by now: a sender whose receipts were lost is known by what it sends once more
/// ([`crate::pairing::is_remembered`]), and would be refused for ever (simulator seed 290).
fn may_compare(ledger: &Ledger, deliverer: &Deliverer<'_>, row: &Row, entry: &Entry) -> bool {
    let is_back = || entry.origin.site != *ledger.site() || deliverer.repair.names(ledger.problem(), entry);
    row.open || ledger.holds(deliverer.from, row.work) || (entry.text.is_some() && is_back())
}

/// What each of `entries` is. `texts` has the digests of the rows that [`lookups`] named.
///
/// The order is the sender's. Nothing behind the first entry whose body is missing is appended, so that a cause stands
/// before its effect along every path.
pub fn judge(
    scribe: &Scribe,
    deliverer: &Deliverer<'_>,
    ledger: &Ledger,
    rows: &[Row],
    texts: &BTreeMap<WorkId, Digest>,
    entries: &[Entry],
) -> Vec<Verdict> {
    let mut body_missing = false;
    let verdict = |entry: &Entry| {
        if let Some(refusal) = refusal(scribe, deliverer, ledger, entry) {
            return Verdict::Refused(refusal);
        }
        let place = place(ledger, rows, texts, deliverer, entry);
        if let Place::Same(row) = place {
            return Verdict::Known(row);
        }
        if entry.origin.site == *scribe.site() && !is_taken_back(ledger, rows, deliverer.repair, entry) {
            return Verdict::Refused(Refusal::of(Code::NotAllowed));
        }
        body_missing |= entry.text.is_none();
        match place {
            _ if body_missing => Verdict::Wanted,
            Place::Other(row) => Verdict::Differs(row),
            _ => Verdict::Fresh,
        }
    };
    entries.iter().map(verdict).collect()
}

/// Whether what this site wrote itself is taken back: only where a repair names it, and beside another text of it that the
/// sender knows of only by its text.
fn is_taken_back(ledger: &Ledger, rows: &[Row], repair: &Repair, entry: &Entry) -> bool {
    let is_known = |row: WorkId| here(rows, row).is_some_and(|there| there.open || ledger.is_named(row));
    match ledger.rows_of(&entry.origin).into_iter().any(is_known) {
        true => repair.names_text(ledger.problem(), entry),
        false => repair.names(ledger.problem(), entry),
    }
}

enum Place {
    Same(WorkId),
    Other(WorkId),
    Nowhere,
}

/// Where the entry is here, if it is. Identity is the origin *and* the text: a number that was given out again is
/// another entry. A row that is gone cannot be compared, and its marker is believed.
fn place(
    ledger: &Ledger,
    rows: &[Row],
    texts: &BTreeMap<WorkId, Digest>,
    deliverer: &Deliverer<'_>,
    entry: &Entry,
) -> Place {
    let mut place = Place::Nowhere;
    for row in ledger.rows_of(&entry.origin) {
        let named_by_a_marker = entry.origin.site != *ledger.site() || row != entry.origin.work || ledger.is_named(row);
        match here(rows, row) {
            None if named_by_a_marker => return Place::Same(row),
            None => {}
            Some(there) if !may_compare(ledger, deliverer, there, entry) => {}
            Some(_) if texts.get(&row).copied() == entry.digest() => return Place::Same(row),
            Some(_) => place = Place::Other(row),
        }
    }
    place
}

fn refusal(scribe: &Scribe, deliverer: &Deliverer<'_>, ledger: &Ledger, entry: &Entry) -> Option<Refusal> {
    let site = &entry.origin.site;
    let may_speak = site == deliverer.from || site == scribe.site() || deliverer.relay_from.contains(site);
    if !may_speak {
        Some(Refusal::of(Code::NotAllowed))
    } else if !ledger.unverified().is_empty() {
        Some(Refusal::of(Code::Suspended))
    } else if entry.text.as_deref().is_some_and(|text| scribe.is_complete(text)) {
        Some(Refusal::of(Code::MarkerText))
    } else if entry.bytes() > deliverer.entry_bytes_max {
        Some(Refusal { code: Code::TextTooLong, limit: Some(deliverer.entry_bytes_max) })
    } else {
        None
    }
}

fn here(rows: &[Row], work: WorkId) -> Option<&Row> {
    rows.binary_search_by_key(&work, |row| row.work).ok().and_then(|at| rows.get(at))
}

/// The rows whose texts [`refuse_echoes`] and [`recognise`] need, besides those of [`lookups`]. `echoes`: whether the sender
/// may not know what this site gave it.
pub fn more_lookups(ledger: &Ledger, rows: &[Row], deliverer: &Deliverer<'_>, echoes: bool) -> BTreeSet<WorkId> {
    let mut wanted = BTreeSet::new();
    let works = || rows.iter().map(|row| row.work);
    if echoes {
        wanted.extend(works().filter(|row| is_given(ledger, deliverer.from, *row)));
    }
    if deliverer.repair.recognises {
        wanted.extend(works().filter(|row| ledger.is_nameless(*row)));
    }
    wanted
}

/// Whether the sender got the entry in `row` from this site, by this site's records, though it may have lost it: it did not
/// write it, or it was given back what it wrote.
fn is_given(ledger: &Ledger, from: &SiteName, row: WorkId) -> bool {
    let is_exchanged = ledger.exchanged_row(from, row) || ledger.lost_by(from, row);
    is_exchanged && (ledger.origin(row).site != *from || ledger.given_back(from, row))
}

/// Refuses what is fresh and has the very text of something that this site gave the sender, where the sender's belief is not
/// what this site knows: somebody deleted its markers, so that its copies look like its own entries, and the whole history
/// would come back. The same while the sender says that it lost something: it is about to recognise it. Where a person really
/// wrote the same text, a later delivery has the right belief.
pub fn refuse_echoes(
    ledger: &Ledger,
    from: &SiteName,
    texts: &BTreeMap<WorkId, Digest>,
    entries: &[Entry],
    verdicts: &mut [Verdict],
) {
    let given: BTreeSet<_> =
        texts.iter().filter(|(row, _)| is_given(ledger, from, **row)).map(|(_, digest)| *digest).collect();
    for (entry, verdict) in entries.iter().zip(verdicts) {
        let new =
            matches!(verdict, Verdict::Fresh | Verdict::Wanted | Verdict::Differs(_)) && entry.origin.site == *from;
        if new && entry.digest().is_some_and(|digest| given.contains(&digest)) {
            *verdict = Verdict::Refused(Refusal::of(Code::Echo));
        }
    }
}

/// Takes rows that no marker names for the fresh entries that the repair names and whose very texts they have, each for one:
/// rows that the sender may see anyway, and texts that it sends whole, since a digest can be guessed.
pub fn recognise(
    repair: &Repair,
    ledger: &Ledger,
    rows: &[Row],
    texts: &BTreeMap<WorkId, Digest>,
    entries: &[Entry],
    verdicts: &mut [Verdict],
) {
    if !repair.recognises {
        return;
    }
    let mut nameless: BTreeMap<Digest, Vec<WorkId>> = BTreeMap::new();
    let may_see = |row: WorkId| ledger.is_nameless(row) && here(rows, row).is_some_and(|row| row.open);
    for (row, digest) in texts.iter().rev().filter(|(row, _)| may_see(**row)) {
        nameless.entry(*digest).or_default().push(*row);
    }
    for (entry, verdict) in entries.iter().zip(verdicts) {
        let fresh = *verdict == Verdict::Fresh && entry.text.is_some() && entry.origin.site != *ledger.site();
        let fresh = fresh && repair.names(ledger.problem(), entry);
        let mut row = || nameless.get_mut(&entry.digest()?)?.pop();
        if let Some(row) = fresh.then(&mut row).flatten() {
            *verdict = Verdict::Recognised(row);
        }
    }
}

/// What became of one entry, once the appended rows have their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was here before.
    Known(WorkId),
    /// It was appended as this row, or is this row again.
    Appended(WorkId),
    /// It was neither.
    Absent,
}

/// The marker for the sender: which rows are copies of its entries, which of our rows it turns out to hold, and which
/// may not be passed on. `keep`: whether this site passes on nothing that this sender sends. `heard`: those of the
/// delivery's names that this site believes. The marker may say nothing.
pub fn record(
    ledger: &Ledger,
    from: &SiteName,
    delivery: &Delivery,
    outcomes: &[Outcome],
    keep: bool,
    heard: &BTreeMap<SiteName, ProblemId>,
) -> Marker {
    let mut marker = ledger.marker_for(from, heard);
    let (mut copies, mut held, mut stay) = (Vec::new(), IdSet::new(), IdSet::new());
    for (entry, outcome) in delivery.entries.iter().zip(outcomes) {
        match outcome {
            Outcome::Appended(row) => {
                copies.push((*row, entry.origin.clone()));
                if keep || !entry.onward {
                    stay.insert(*row);
                }
            }
            Outcome::Known(row) if !ledger.exchanged_row(from, *row) => {
                held.insert(*row);
            }
            Outcome::Known(_) | Outcome::Absent => {}
        }
    }
    marker.say_copies(&copies);
    marker.say(Group::Held, held);
    marker.say(Group::Stay, stay);
    marker
}

/// What this site holds among the entries that `peer` gave it or may see: the answer to a belief that is not met.
/// `rows` tell what is open to the peer.
pub fn knows(ledger: &Ledger, rows: &[Row], peer: &SiteName, relay: bool) -> OriginSet {
    let (mut set, view) = (ledger.exchanged(peer), View { ledger, rows, peer, relay });
    rows.iter().filter(|row| view.tells(row)).for_each(|row| set.insert(&ledger.origin(row.work)));
    set
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Belief;
    use crate::seal::Keyring;

    fn site(s: &str) -> SiteName {
        s.parse().unwrap()
    }

    fn id(n: i64) -> WorkId {
        WorkId::new(n).unwrap()
    }

    fn scribe() -> Scribe {
        Scribe::new(site("N"), "h", vec![], Keyring::new([1; 32]), None)
    }

    /// Rows of a problem at site N, numbered from 1; texts that read as markers are sealed, `gone` ones left out.
    fn rows(texts: &[&str]) -> Vec<Row> {
        let (p, scribe) = ("ABC".parse().unwrap(), scribe());
        let row = |(i, text): (usize, &&str)| {
            let marker = Marker::parse(text, "copy in system")
                .map(|m| scribe.write(&p, m, &Default::default()).unwrap().remove(0));
            Row { work: id(i as i64 + 1), marker, open: !text.starts_with("internal"), bytes: text.len() as u64 }
        };
        texts.iter().enumerate().filter(|(_, t)| **t != "gone").map(row).collect()
    }

    fn entry(origin: &str, text: &str) -> Entry {
        let (text, digest) = match text.strip_prefix('#') {
            Some(left_out) => (None, Some(Digest::of(left_out))),
            None => (Some(text.to_owned()), None),
        };
        Entry { origin: origin.parse().unwrap(), text, digest, fields: Default::default(), onward: true }
    }

    fn judged(texts: &[&str], from: &str, entries: &[Entry]) -> Vec<Verdict> {
        judged_in(texts, from, entries, &Repair::default())
    }

    fn judged_in(texts: &[&str], from: &str, entries: &[Entry], repair: &Repair) -> Vec<Verdict> {
        let (scribe, rows) = (scribe(), rows(texts));
        let ledger = Ledger::fold(&scribe, &"ABC".parse().unwrap(), &rows);
        let relay_from = [site("C")].into();
        let deliverer = Deliverer { from: &site(from), relay_from: &relay_from, entry_bytes_max: 20, repair };
        let found = lookups(&ledger, &rows, &deliverer, entries);
        let digests = found.iter().map(|w| (*w, Digest::of(texts[w.get() as usize - 1]))).collect();
        judge(&scribe, &deliverer, &ledger, &rows, &digests, entries)
    }

    fn missing(origins: &str) -> Missing {
        Missing { origins: origins.parse().unwrap(), ..Missing::default() }
    }

    /// Of problem ABC.
    fn repair(origins: &str) -> Repair {
        Repair::new([("ABC".parse().unwrap(), missing(origins))], false)
    }

    const REFUSED: fn(Code) -> Verdict = |code| Verdict::Refused(Refusal { code, limit: None });

    #[test]
    fn a_repeated_delivery_is_known_and_the_rest_is_fresh() {
        let here = ["a", "copy in system 1: 1 from 4"];
        assert_eq!(
            judged(&here, "1", &[entry("1/4", "a"), entry("1/5", "b")]),
            [Verdict::Known(id(1)), Verdict::Fresh]
        );
    }

    #[test]
    fn a_number_given_out_again_differs() {
        let here = ["a", "copy in system 1: 1 from 4"];
        assert_eq!(judged(&here, "1", &[entry("1/4", "another")]), [Verdict::Differs(id(1))]);
        assert_eq!(judged(&here, "1", &[entry("1/4", "#another")]), [Verdict::Wanted]);
    }

    #[test]
    fn a_copy_that_was_deleted_here_does_not_come_back() {
        assert_eq!(judged(&["gone", "copy in system 1: 1 from 4"], "1", &[entry("1/4", "a")]), [Verdict::Known(id(1))]);
    }

    #[test]
    fn nothing_is_appended_past_a_missing_body() {
        let here = ["a", "copy in system 1: 1 from C/4"];
        let entries = [entry("C/4", "#a"), entry("C/5", "#b"), entry("1/6", "c"), entry("C/4", "#a")];
        let wanted = [Verdict::Known(id(1)), Verdict::Wanted, Verdict::Wanted, Verdict::Known(id(1))];
        assert_eq!(judged(&here, "1", &entries), wanted);
    }

    #[test]
    fn a_peer_speaks_for_itself_and_for_whom_it_may() {
        let entries = [entry("1/1", "a"), entry("C/1", "b"), entry("D/1", "c"), entry("N/1", "x")];
        let verdicts = judged(&["own"], "1", &entries);
        assert_eq!(verdicts, [Verdict::Fresh, Verdict::Fresh, REFUSED(Code::NotAllowed), REFUSED(Code::NotAllowed)]);
        assert_eq!(judged(&["own"], "1", &[entry("N/1", "own")]), [Verdict::Known(id(1))]);
    }

    #[test]
    fn an_own_entry_that_is_gone_is_not_taken_back_without_a_repair() {
        assert_eq!(judged(&["gone", "b"], "1", &[entry("N/1", "a")]), [REFUSED(Code::NotAllowed)]);
    }

    #[test]
    fn during_a_repair_an_own_entry_that_is_lost_comes_back_and_one_that_was_deleted_does_not() {
        let here = ["gone", "gone", "b", "copy in system 1: 2-3"];
        let entries = [entry("N/1", "a"), entry("N/2", "deleted"), entry("N/3", "b"), entry("N/3", "b of old")];
        let verdicts = judged_in(&here, "1", &entries, &repair("N/1-3"));
        let refused = REFUSED(Code::NotAllowed);
        assert_eq!(verdicts, [Verdict::Fresh, Verdict::Known(id(2)), Verdict::Known(id(3)), refused]);
    }

    #[test]
    fn one_number_that_is_lacking_lets_in_one_text() {
        let lost = ["internal, given out since"];
        let entries = [entry("N/1", "of old")];
        assert_eq!(judged_in(&lost, "1", &entries, &repair("N/1")), [Verdict::Differs(id(1))]);
        let back = ["internal, given out since", "of old", "copy in system 1: 2 from N/1"];
        let entries = [entry("N/1", "of old"), entry("N/1", "put into its mouth")];
        let verdicts = judged_in(&back, "1", &entries, &repair("N/1"));
        assert_eq!(verdicts, [Verdict::Known(id(2)), REFUSED(Code::NotAllowed)]);
    }

    #[test]
    fn during_a_repair_nothing_of_this_site_is_taken_that_the_comparison_did_not_name() {
        let here = ["gone", "b", "copy in system 1: 2"];
        let entries = [entry("N/1", "a"), entry("N/9", "put into its mouth"), entry("N/2", "b, changed")];
        let refused = REFUSED(Code::NotAllowed);
        assert_eq!(judged_in(&here, "1", &entries, &repair("N/1")), [Verdict::Fresh, refused, refused]);
        let text = Text { origin: "N/2".parse().unwrap(), digest: Digest::of("b, changed") };
        let repair = Repair::new([("ABC".parse().unwrap(), Missing { texts: vec![text], ..missing("N/1") })], false);
        assert_eq!(judged_in(&here, "1", &entries, &repair), [Verdict::Fresh, refused, Verdict::Differs(id(2))]);
        let elsewhere = Repair::new([("XYZ".parse().unwrap(), missing("N/1"))], true);
        assert_eq!(judged_in(&here, "1", &entries, &elsewhere), [refused; 3]);
    }

    #[test]
    fn what_a_site_without_its_markers_gives_back_as_its_own_is_refused_as_an_echo() {
        let here = ["given", "of 1", "copy in system 1: 1; 2 from 7"];
        let (scribe, rows) = (scribe(), rows(&here));
        let ledger = Ledger::fold(&scribe, &"ABC".parse().unwrap(), &rows);
        let (one, nobody) = (site("1"), BTreeSet::new());
        let deliverer = Deliverer { from: &one, relay_from: &nobody, entry_bytes_max: 20, repair: &Repair::default() };
        assert!(more_lookups(&ledger, &rows, &deliverer, false).is_empty());
        let looked_at = more_lookups(&ledger, &rows, &deliverer, true);
        assert_eq!(looked_at, [id(1)].into());
        let texts = [(id(1), Digest::of("given"))].into();
        let entries = [entry("1/3", "given"), entry("1/4", "#given"), entry("1/5", "another"), entry("1/7", "of 1")];
        let mut verdicts = vec![Verdict::Fresh, Verdict::Wanted, Verdict::Fresh, Verdict::Known(id(2))];
        refuse_echoes(&ledger, &one, &texts, &entries, &mut verdicts);
        let echo = REFUSED(Code::Echo);
        assert_eq!(verdicts, [echo, echo, Verdict::Fresh, Verdict::Known(id(2))]);
    }

    #[test]
    fn a_row_whose_marker_is_gone_is_recognised_by_its_text_once() {
        let here = ["of 1", "own", "of 1 too", "of 1", "copy in system 1: 2", "internal"];
        let (scribe, rows) = (scribe(), rows(&here));
        let ledger = Ledger::fold(&scribe, &"ABC".parse().unwrap(), &rows);
        let (one, nobody) = (site("1"), BTreeSet::new());
        let repair = Repair::new([("ABC".parse().unwrap(), missing("1/3-6; N/2"))], true);
        let deliverer = Deliverer { from: &one, relay_from: &nobody, entry_bytes_max: 20, repair: &repair };
        let looked_at = more_lookups(&ledger, &rows, &deliverer, false);
        assert_eq!(looked_at, [id(1), id(3), id(4), id(6)].into());
        let texts = looked_at.into_iter().map(|row| (row, Digest::of(here[row.get() as usize - 1]))).collect();
        let entries = [
            entry("1/3", "of 1"),
            entry("1/4", "#of 1"),
            entry("1/5", "of 1"),
            entry("N/2", "of 1 too"),
            entry("1/6", "internal"),
        ];
        let mut verdicts = vec![Verdict::Fresh, Verdict::Wanted, Verdict::Fresh, Verdict::Fresh, Verdict::Fresh];
        recognise(&repair, &ledger, &rows, &texts, &entries, &mut verdicts);
        // A digest may be guessed, the entry of N is its own word, and what the sender may not see is taken for nothing.
        let expected =
            [Verdict::Recognised(id(1)), Verdict::Wanted, Verdict::Recognised(id(4)), Verdict::Fresh, Verdict::Fresh];
        assert_eq!(verdicts, expected);
    }

    #[test]
    fn a_peer_learns_nothing_of_a_hidden_row_by_guessing_its_digest() {
        let right = judged(&["internal PIN 8342"], "1", &[entry("N/1", "#internal PIN 8342")]);
        let wrong = judged(&["internal PIN 8342"], "1", &[entry("N/1", "#internal PIN 0000")]);
        assert_eq!((&right, &wrong), (&vec![REFUSED(Code::NotAllowed)], &vec![REFUSED(Code::NotAllowed)]));
        let here = ["internal of C", "copy in system D: 1 from C/4"];
        assert_eq!(judged(&here, "1", &[entry("C/4", "#internal of C")]), [Verdict::Wanted]);
        assert_eq!(judged(&here, "1", &[entry("C/4", "#a wrong guess")]), [Verdict::Wanted]);
        assert_eq!(judged(&here, "1", &[entry("C/4", "internal of C")]), [Verdict::Known(id(1))]);
    }

    #[test]
    fn markers_and_long_texts_are_refused_alone() {
        let marker = rows(&["copy in system 1: 1"]).remove(0).marker.unwrap();
        let long = "x".repeat(21);
        let scribe_limit = judged(&[], "1", &[entry("1/1", &marker), entry("1/2", &long), entry("1/3", "c")]);
        let too_long = Verdict::Refused(Refusal { code: Code::TextTooLong, limit: Some(20) });
        assert_eq!(scribe_limit, [REFUSED(Code::MarkerText), too_long, Verdict::Fresh]);
    }

    #[test]
    fn the_record_names_copies_newly_known_holders_and_what_must_stay() {
        let rows = rows(&["own", "from C", "copy in system C: 2 from 3"]);
        let ledger = Ledger::fold(&scribe(), &"ABC".parse().unwrap(), &rows);
        let stay = Entry { onward: false, ..entry("1/9", "d") };
        let delivery = Delivery {
            home: None,
            names: [(site("1"), "ABC".parse().unwrap())].into(),
            fields: Default::default(),
            belief: Belief::default(),
            entries: vec![entry("C/3", "from C"), entry("1/8", "c"), stay, entry("1/10", "e")],
        };
        let outcomes = [Outcome::Known(id(2)), Outcome::Appended(id(4)), Outcome::Appended(id(5)), Outcome::Absent];
        let marker = record(&ledger, &site("1"), &delivery, &outcomes, false, &delivery.names);
        assert_eq!(marker.to_string(), "1: 4-5 from 8-9; 2; stay 5");
        let again = record(&ledger, &site("C"), &delivery, &[Outcome::Known(id(2))], false, &delivery.names);
        assert!(again.says_nothing());
    }
}
