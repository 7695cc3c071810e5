//! The ledger of a problem: the fold of its verified markers in work-id order (DESIGN §3). It says who holds which
//! rows, and which local row is a copy of which origin.
//!
//! The ledger is never stored. It is folded from the rows of one snapshot, used for one decision and dropped.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::entry::Row;
use crate::id::{Origin, ProblemId, SiteName, WorkId};
use crate::id_set::{IdSet, OriginSet};
use crate::marker::{Copies, Group, Marker, Name};
use crate::scribe::{Reading, Scribe, TooNarrow};

/// What the markers of one problem say.
#[derive(Debug, Clone)]
pub struct Ledger {
    site: SiteName,
    problem: ProblemId,
    /// Of the markers that count.
    era: u64,
    /// Of any believed marker.
    highest_era: u64,
    markers: IdSet,
    /// The markers that somebody else put there: pasted copies, and what is left of eras before.
    pasted: IdSet,
    disowned: IdSet,
    /// Every row that a marker disowns, whether it is there or not.
    said_disowned: IdSet,
    held: BTreeMap<SiteName, IdSet>,
    adopted: BTreeMap<SiteName, IdSet>,
    lost: BTreeMap<SiteName, IdSet>,
    /// What was lost, and then held again.
    given_back: BTreeMap<SiteName, IdSet>,
    stay: IdSet,
    copies: BTreeMap<WorkId, Origin>,
    rows_by_origin: HashMap<Origin, Vec<WorkId>>,
    names: BTreeMap<SiteName, ProblemId>,
    /// The sites whose name a marker of their own says: no third site's word stands against it.
    named_itself: BTreeSet<SiteName>,
    texts: BTreeSet<String>,
    unverified: Vec<(WorkId, Marker)>,
}

/// A text that has the whole form of a marker.
struct Read {
    work: WorkId,
    text: String,
    marker: Marker,
    verified: bool,
    /// It verifies, or an operator vouches for it.
    believed: bool,
}

impl Read {
    fn is_of(&self, era: u64) -> bool {
        self.believed && self.marker.era == era
    }
}

/// What a marker says of this very site: the rows that are entries, and the rows that are replaced markers.
fn said_of_rows<'r>(read: impl Iterator<Item = &'r Read>, site: &SiteName) -> (IdSet, IdSet) {
    let (mut disowned, mut retired) = (IdSet::new(), IdSet::new());
    for group in read.filter(|r| r.marker.peer.site == *site).flat_map(|own| &own.marker.groups) {
        match group {
            Group::Held(rows) => disowned.extend(rows),
            Group::Lost(rows) => retired.extend(rows),
            _ => {}
        }
    }
    (disowned, retired)
}

/// Whether the era began in these rows: when markers are folded into a new era, those before it are deleted or said to be
/// replaced. Where one still stands before the first of the era, that first one was not written after it: it comes from a
/// table that was since restored from a backup, or from somebody's hand.
fn has_begun(read: &[Read], site: &SiteName, era: u64) -> bool {
    let (entries, replaced) = said_of_rows(read.iter().filter(|r| r.is_of(era)), site);
    // Numbers of the two tables are not comparable.
    [true, false].into_iter().all(|apart| {
        let here = || read.iter().filter(|r| r.work.apart_number().is_some() == apart);
        let first = here().filter(|r| r.is_of(era)).map(|r| r.work).min();
        let before = |r: &&Read| r.believed && r.marker.era < era && first.is_some_and(|first| r.work < first);
        here().filter(before).all(|r| replaced.contains(r.work) || entries.contains(r.work))
    })
}

/// The era whose markers count: the highest that began here.
fn era_of(read: &[Read], site: &SiteName) -> (u64, u64) {
    let eras: BTreeSet<u64> = read.iter().filter(|r| r.believed).map(|r| r.marker.era).collect();
    let begun = eras.iter().rev().find(|era| has_begun(read, site, **era));
    (begun.copied().unwrap_or(0), eras.last().copied().unwrap_or(0))
}

impl Ledger {
    /// Folds the markers among `rows`, which are all rows of `problem` in ascending order.
    pub fn fold(scribe: &Scribe, problem: &ProblemId, rows: &[Row]) -> Self {
        Self::fold_by(scribe, problem, rows, false)
    }

    /// The same where an operator vouches for the markers that do not verify (`rekey --lost-key`): they are taken for
    /// true, in their places. One that names rows behind itself no bridge has written; it stays unverified.
    pub fn fold_vouched(scribe: &Scribe, problem: &ProblemId, rows: &[Row]) -> Self {
        Self::fold_by(scribe, problem, rows, true)
    }

    fn fold_by(scribe: &Scribe, problem: &ProblemId, rows: &[Row], vouched: bool) -> Self {
        let mut ledger = Self::empty(scribe.site(), problem);
        let read = |row: &'_ Row| {
            let text = row.marker.as_deref()?.trim_end();
            let (marker, verified) = match scribe.read(problem, text) {
                Reading::Entry => return None,
                Reading::Marker(marker) => (marker, true),
                Reading::Unverified(marker) => (marker, false),
            };
            let believed = verified || (vouched && marker.rows_before(row.work));
            Some(Read { work: row.work, text: text.to_owned(), marker, verified, believed })
        };
        // Markers in a table of their own speak first: a copy of one that somebody pasted into the history changes nothing.
        let (apart, rest): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row.work.apart_number().is_some());
        let read: Vec<_> = apart.into_iter().chain(rest).filter_map(read).collect();

        (ledger.era, ledger.highest_era) = era_of(&read, &ledger.site);
        let era = ledger.era;
        // What a marker says of this very site is about rows that stand before it, so it is looked up first.
        let (disowned, retired) = said_of_rows(read.iter().filter(|r| r.is_of(era)), &ledger.site);
        for Read { work, text, marker, verified, believed } in read {
            // A marker of an era that did not begin here is as doubtful as one without its seal.
            let (verified, believed) = if marker.era > era { (false, false) } else { (verified, believed) };
            if retired.contains(work) {
                ledger.markers.insert(work);
                // Known, so that a copy of it that somebody pastes further down is not a new statement.
                if !ledger.texts.insert(text) || marker.era < era {
                    ledger.pasted.insert(work);
                }
            } else if (!verified || marker.era < era) && disowned.contains(work) {
                ledger.disowned.insert(work);
            } else if believed || ledger.texts.contains(&text) {
                ledger.markers.insert(work);
                if !ledger.texts.insert(text) || marker.era < era {
                    ledger.pasted.insert(work);
                } else {
                    ledger.apply(&marker);
                }
            } else {
                ledger.unverified.push((work, marker));
            }
        }
        ledger.said_disowned = disowned;
        ledger
    }

    fn empty(site: &SiteName, problem: &ProblemId) -> Self {
        Self {
            site: site.clone(),
            problem: problem.clone(),
            era: 0,
            highest_era: 0,
            markers: IdSet::new(),
            pasted: IdSet::new(),
            disowned: IdSet::new(),
            said_disowned: IdSet::new(),
            held: BTreeMap::new(),
            adopted: BTreeMap::new(),
            lost: BTreeMap::new(),
            given_back: BTreeMap::new(),
            stay: IdSet::new(),
            copies: BTreeMap::new(),
            rows_by_origin: HashMap::new(),
            names: BTreeMap::new(),
            named_itself: BTreeSet::new(),
            texts: BTreeSet::new(),
            unverified: Vec::new(),
        }
    }

    fn apply(&mut self, marker: &Marker) {
        let peer = &marker.peer.site;
        if *peer == self.site {
            return;
        }
        self.named_itself.insert(peer.clone());
        for name in std::iter::once(&marker.peer).chain(&marker.others) {
            if name.site == *peer || !self.named_itself.contains(&name.site) {
                let problem = name.problem.clone().unwrap_or_else(|| self.problem.clone());
                self.names.insert(name.site.clone(), problem);
            }
        }
        for group in &marker.groups {
            match group {
                Group::Held(rows) => self.holds_from_now(peer, rows, false),
                Group::Adopted(rows) => self.holds_from_now(peer, rows, true),
                Group::Stay(rows) => self.stay.extend(rows),
                Group::Lost(rows) => {
                    for sets in [&mut self.held, &mut self.adopted] {
                        if let Some(ids) = sets.get_mut(peer) {
                            ids.subtract(rows);
                        }
                    }
                    self.lost.entry(peer.clone()).or_default().extend(rows);
                }
                Group::Copies(copies) => {
                    self.holds_from_now(peer, copies.rows(), false);
                    self.copy(copies, peer);
                }
            }
        }
    }

    fn holds_from_now(&mut self, peer: &SiteName, rows: &IdSet, adopted: bool) {
        let sets = if adopted { &mut self.adopted } else { &mut self.held };
        sets.entry(peer.clone()).or_default().extend(rows);
        if let Some(lost) = self.lost.get_mut(peer) {
            if !adopted {
                self.given_back.entry(peer.clone()).or_default().extend(&lost.intersection(rows));
            }
            lost.subtract(rows);
        }
    }

    fn copy(&mut self, copies: &Copies, peer: &SiteName) {
        let source = copies.source.as_ref().unwrap_or(peer);
        for (row, work) in copies.pairs() {
            let origin = Origin::new(source.clone(), work);
            if let Some(before) = self.copies.insert(row, origin.clone())
                && let Some(rows) = self.rows_by_origin.get_mut(&before)
            {
                rows.retain(|r| *r != row);
            }
            self.rows_by_origin.entry(origin).or_default().push(row);
        }
    }

    /// The site whose ledger this is.
    pub fn site(&self) -> &SiteName {
        &self.site
    }

    /// The problem that this is the ledger of.
    pub fn problem(&self) -> &ProblemId {
        &self.problem
    }

    /// Whether `row` is a marker.
    pub fn is_marker(&self, row: WorkId) -> bool {
        self.markers.contains(row)
    }

    /// The complete markers that do not verify. While there is one the problem is suspended.
    pub fn unverified(&self) -> &[(WorkId, Marker)] {
        &self.unverified
    }

    /// Where the entry in `row` was first written: here, unless a marker says that the row is a copy.
    pub fn origin(&self, row: WorkId) -> Origin {
        self.copies.get(&row).cloned().unwrap_or_else(|| Origin::new(self.site.clone(), row))
    }

    /// Whether `row` was written at this site (or is this site's own entry, recovered from a peer).
    pub fn is_own(&self, row: WorkId) -> bool {
        self.copies.get(&row).is_none_or(|origin| origin.site == self.site)
    }

    /// The rows that carry, or carried, the entry of `origin`, as far as markers say so. For an own origin also the
    /// row of that number, which is there or not.
    pub fn rows_of(&self, origin: &Origin) -> Vec<WorkId> {
        let mut rows = self.rows_by_origin.get(origin).cloned().unwrap_or_default();
        let own = origin.site == self.site && !self.copies.contains_key(&origin.work) && !self.is_marker(origin.work);
        if own {
            rows.push(origin.work);
        }
        // Not in the order in which markers said it: that is another after they were folded.
        rows.sort_unstable();
        rows
    }

    /// Whether `peer` holds the entry in `row`, by a receipt, by an operator's word, or because it wrote it.
    pub fn holds(&self, peer: &SiteName, row: WorkId) -> bool {
        let wrote = || self.copies.get(&row).is_some_and(|o| o.site == *peer) && !self.lost_by(peer, row);
        self.exchanged_row(peer, row) || contains(&self.adopted, peer, row) || wrote()
    }

    /// Whether a receipt between this site and `peer` covers `row`.
    pub fn exchanged_row(&self, peer: &SiteName, row: WorkId) -> bool {
        contains(&self.held, peer, row)
    }

    /// The rows that receipts between this site and `peer` cover, whether they are still here or not.
    pub fn exchanged_rows(&self, peer: &SiteName) -> IdSet {
        self.held.get(peer).cloned().unwrap_or_default()
    }

    /// Whether `peer` holds the entry in `row` by an operator's word.
    pub fn adopted(&self, peer: &SiteName, row: WorkId) -> bool {
        contains(&self.adopted, peer, row)
    }

    /// The rows that a marker names, for whatever peer: each was here once.
    pub fn named_rows(&self) -> IdSet {
        let mut named: IdSet = self.copies.keys().copied().collect();
        let sets = self.held.values().chain(self.adopted.values()).chain(self.lost.values());
        sets.for_each(|rows| named.extend(rows));
        named
    }

    /// Whether a marker names `row`: then it was here, and where it is no more somebody deleted it.
    pub fn is_named(&self, row: WorkId) -> bool {
        let sets = [&self.held, &self.adopted, &self.lost].into_iter().flat_map(BTreeMap::values);
        self.copies.contains_key(&row) || sets.into_iter().any(|rows| rows.contains(row))
    }

    /// Whether `row` is an entry that no marker names: nobody is known to hold it.
    pub fn is_nameless(&self, row: WorkId) -> bool {
        !self.is_marker(row) && !self.is_named(row)
    }

    /// Whether `peer` lost the entry in `row` and has not got it again.
    pub fn lost_by(&self, peer: &SiteName, row: WorkId) -> bool {
        contains(&self.lost, peer, row)
    }

    /// Whether `peer` lost the entry in `row` and got it again from here, as far as the markers of this era tell.
    pub fn given_back(&self, peer: &SiteName, row: WorkId) -> bool {
        contains(&self.given_back, peer, row)
    }

    /// Whether `peer` lost anything that it has not got again.
    pub fn has_losses(&self, peer: &SiteName) -> bool {
        self.lost.get(peer).is_some_and(|rows| !rows.is_empty())
    }

    /// Whether `row` may not be passed on.
    pub fn stays(&self, row: WorkId) -> bool {
        self.stay.contains(row)
    }

    /// Every entry that receipts between this site and `peer` cover: what the two should agree on. Entries that a
    /// peer holds by an operator's word, or only because it wrote them, are no receipts and not counted.
    pub fn exchanged(&self, peer: &SiteName) -> OriginSet {
        let mut set = OriginSet::new();
        for row in self.held.get(peer).into_iter().flat_map(IdSet::iter) {
            set.insert(&self.origin(row));
        }
        set
    }

    /// The peers that a marker names.
    pub fn peers(&self) -> BTreeSet<&SiteName> {
        self.held.keys().chain(self.adopted.keys()).chain(self.lost.keys()).collect()
    }

    /// What each site calls the problem, this site first of all.
    pub fn names(&self) -> BTreeMap<SiteName, ProblemId> {
        let mut names = self.names.clone();
        names.insert(self.site.clone(), self.problem.clone());
        names
    }

    /// What the markers say that `peer` calls the problem; nothing where no marker names that site.
    pub fn name_of(&self, peer: &SiteName) -> Option<&ProblemId> {
        self.names.get(peer)
    }

    /// The same where that site said so itself, or an operator: what a third site says is a hint that may be wrong.
    pub fn own_name_of(&self, peer: &SiteName) -> Option<&ProblemId> {
        self.names.get(peer).filter(|_| self.named_itself.contains(peer))
    }

    /// The texts of the markers, for the scribe to write none of them again.
    pub fn marker_texts(&self) -> &BTreeSet<String> {
        &self.texts
    }

    /// The era of the markers that count: how often they were folded. What is written now belongs to it.
    pub fn era(&self) -> u64 {
        self.era
    }

    /// The era that begins when the markers are folded: higher than that of any marker that is here, whether it counts or
    /// not.
    pub fn next_era(&self) -> u64 {
        self.highest_era.saturating_add(1)
    }

    /// The texts of `marker`, sealed by `scribe`, as they are appended now: of the era that counts, and unlike every text
    /// before.
    pub fn write(&self, scribe: &Scribe, marker: Marker) -> Result<Vec<String>, TooNarrow> {
        scribe.write(&self.problem, Marker { era: self.era, ..marker }, &self.texts)
    }

    /// The markers that stand where the bridge put them, of the era that counts: neither copies that somebody pasted nor
    /// what is left of former eras.
    pub fn own_marker_rows(&self) -> IdSet {
        let mut rows = self.markers.clone();
        rows.subtract(&self.pasted);
        rows
    }

    /// Every row that a marker says to be an entry, whether it is still there or not.
    pub fn said_disowned(&self) -> &IdSet {
        &self.said_disowned
    }

    /// Whether the markers of both say the same: who holds, lost and adopted what, what is a copy of what, what may not be
    /// passed on, what is disowned, what sites call the problem, and that none is in doubt.
    pub fn says_the_same(&self, other: &Ledger) -> bool {
        fn same(a: &BTreeMap<SiteName, IdSet>, b: &BTreeMap<SiteName, IdSet>) -> bool {
            let said = |sets: &BTreeMap<SiteName, IdSet>| -> Vec<(SiteName, IdSet)> {
                sets.iter().filter(|(_, ids)| !ids.is_empty()).map(|(peer, ids)| (peer.clone(), ids.clone())).collect()
            };
            said(a) == said(b)
        }
        same(&self.held, &other.held)
            && same(&self.adopted, &other.adopted)
            && same(&self.lost, &other.lost)
            && self.stay == other.stay
            && self.copies == other.copies
            && self.disowned == other.disowned
            && self.names == other.names
            && self.named_itself == other.named_itself
            && self.unverified == other.unverified
    }

    /// The rows that are markers.
    pub fn marker_rows(&self) -> &IdSet {
        &self.markers
    }

    /// An empty marker for `peer` that carries `peer`'s name of the problem, and those third names which no marker
    /// said yet.
    pub fn marker_for(&self, peer: &SiteName, heard: &BTreeMap<SiteName, ProblemId>) -> Marker {
        let name = |site: &SiteName, problem: &ProblemId| Name {
            site: site.clone(),
            problem: (*problem != self.problem).then(|| problem.clone()),
        };
        let own = heard.get(peer).or_else(|| self.names.get(peer)).unwrap_or(&self.problem);
        let news = heard.iter().filter(|(site, problem)| {
            let is_third = **site != self.site && *site != peer && !self.named_itself.contains(*site);
            is_third && self.names.get(site) != Some(problem)
        });
        Marker {
            peer: name(peer, own),
            others: news.map(|(site, problem)| name(site, problem)).collect(),
            groups: Vec::new(),
            era: self.era,
            number: 1,
        }
    }

    /// The rows that are entries by an operator's word, although their text is a marker's.
    pub fn disowned(&self) -> &IdSet {
        &self.disowned
    }

    /// Everything that the markers say, in one marker for each peer: what `rekey` signs again and `compact` keeps.
    pub fn summary(&self) -> Vec<Marker> {
        let mut told = BTreeSet::new();
        let none = IdSet::new();
        let mut markers = Vec::new();
        // A link alone is a statement too: what other sites call the problem.
        let sites: BTreeSet<_> = self.peers().into_iter().chain(&self.named_itself).collect();
        for peer in sites {
            let (held, lost) = (self.held.get(peer).unwrap_or(&none), self.lost.get(peer).unwrap_or(&none));
            let adopted = self.adopted.get(peer).unwrap_or(&none);
            let mut copies = Vec::new();
            let mut not_held = lost.clone();
            for (row, origin) in &self.copies {
                let named = [held, lost, adopted].iter().any(|rows| rows.contains(*row));
                if named && told.insert(*row) {
                    copies.push((*row, origin.clone()));
                    if !held.contains(*row) {
                        not_held.insert(*row);
                    }
                }
            }
            let mut marker = self.marker_for(peer, &self.names);
            let third = self.names.iter().filter(|(site, _)| *site != peer && !self.named_itself.contains(*site));
            let name = |(site, problem): (&SiteName, &ProblemId)| Name {
                site: site.clone(),
                problem: (*problem != self.problem).then(|| problem.clone()),
            };
            marker.others = third.map(name).collect();
            marker.say_copies(&copies);
            let mut plain = held.clone();
            plain.subtract(&copies.iter().map(|(row, _)| *row).collect());
            marker.say(Group::Held, plain);
            marker.say(Group::Stay, copies.iter().map(|(row, _)| *row).filter(|row| self.stays(*row)).collect());
            // A copy is held by the peer whose marker names it, so what is not held is taken back behind it.
            marker.say(Group::Lost, not_held);
            marker.say(Group::Adopted, adopted.clone());
            markers.push(marker);
        }
        // What stays and is no copy, whichever marker said so.
        let mut stay = self.stay.clone();
        stay.subtract(&told.into_iter().collect());
        if let Some(marker) = markers.first_mut() {
            marker.say(Group::Stay, stay);
        }
        markers
    }

    /// Pairs of rows that carry the same origin and are both still here: entries under *differs* (DESIGN §5).
    pub fn doubles<'a>(&'a self, rows: &'a [Row]) -> impl Iterator<Item = (Origin, Vec<WorkId>)> + 'a {
        let here = |row: &WorkId| rows.binary_search_by_key(row, |r| r.work).is_ok();
        self.rows_by_origin.keys().filter_map(move |origin| {
            let rows: Vec<_> = self.rows_of(origin).into_iter().filter(here).collect();
            (rows.len() > 1).then(|| (origin.clone(), rows))
        })
    }
}

fn contains(sets: &BTreeMap<SiteName, IdSet>, peer: &SiteName, row: WorkId) -> bool {
    sets.get(peer).is_some_and(|ids| ids.contains(row))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::marker::tests::group_strategy;
    use crate::scribe::DEFAULT_PHRASE;
    use crate::seal::Keyring;

    fn site(s: &str) -> SiteName {
        s.parse().unwrap()
    }

    fn id(n: i64) -> WorkId {
        WorkId::new(n).unwrap()
    }

    fn scribe(key: u8) -> Scribe {
        Scribe::new(site("1"), "h", vec![], Keyring::new([key; 32]), None)
    }

    fn problem() -> ProblemId {
        "ABC".parse().unwrap()
    }

    /// Rows numbered from 100, each the marker of a body such as `N: 1-2`.
    fn rows(scribe: &Scribe, bodies: &[&str]) -> Vec<Row> {
        let mut taken = BTreeSet::new();
        let text = |body: &&str| {
            let marker = Marker::parse(&format!("{DEFAULT_PHRASE} {body}"), DEFAULT_PHRASE).unwrap();
            let text = scribe.write(&problem(), marker, &taken).unwrap().remove(0);
            taken.insert(text.clone());
            text
        };
        let texts: Vec<_> = bodies.iter().map(text).collect();
        number(texts)
    }

    fn number(texts: Vec<String>) -> Vec<Row> {
        let row = |(i, text)| Row { work: id(100 + i as i64), marker: Some(text), open: true, bytes: 1 };
        texts.into_iter().enumerate().map(row).collect()
    }

    fn fold(bodies: &[&str]) -> Ledger {
        let s = scribe(1);
        Ledger::fold(&s, &problem(), &rows(&s, bodies))
    }

    #[test]
    fn a_copy_is_held_by_the_peer_that_sent_it_and_by_the_site_that_wrote_it() {
        let ledger = fold(&["N: 6 from 6; 7 from C/3"]);
        assert!(ledger.holds(&site("N"), id(6)) && ledger.holds(&site("N"), id(7)) && ledger.holds(&site("C"), id(7)));
        assert!(!ledger.holds(&site("C"), id(6)));
        assert_eq!(ledger.origin(id(7)), "C/3".parse().unwrap());
        assert!(ledger.is_own(id(1)) && !ledger.is_own(id(6)));
    }

    #[test]
    fn lost_ends_and_a_later_group_begins_again() {
        let n = site("N");
        assert!(!fold(&["N: 1-3", "N: lost 2"]).holds(&n, id(2)));
        assert!(fold(&["N: 1-3", "N: lost 2"]).lost_by(&n, id(2)));
        let again = fold(&["N: 1-3", "N: lost 2", "N: 2"]);
        assert!(again.holds(&n, id(2)) && !again.lost_by(&n, id(2)));
        assert!(!fold(&["N: 6 from 6", "N: lost 6"]).holds(&n, id(6)));
    }

    #[test]
    fn a_pasted_copy_of_a_marker_changes_nothing() {
        let s = scribe(1);
        let mut all = rows(&s, &["N: 1-3", "N: lost 2"]);
        let again = Row { work: id(200), ..all[0].clone() };
        all.push(again);
        let ledger = Ledger::fold(&s, &problem(), &all);
        assert!(!ledger.holds(&site("N"), id(2)));
        assert!(ledger.is_marker(id(200)), "and it is not sent as an entry");
    }

    #[test]
    fn a_pasted_copy_of_a_replaced_marker_changes_nothing() {
        let s = scribe(1);
        let mut all = rows(&s, &["N: 1-3", "1: lost 100", "N: 1"]);
        all.push(Row { work: id(200), ..all[0].clone() });
        let ledger = Ledger::fold(&s, &problem(), &all);
        assert!(ledger.holds(&site("N"), id(1)) && !ledger.holds(&site("N"), id(2)));
        assert!(ledger.is_marker(id(200)));
    }

    #[test]
    fn a_marker_under_a_lost_key_suspends_until_it_is_vouched_for() {
        let all = rows(&scribe(1), &["N: 1-3"]);
        let ledger = Ledger::fold(&scribe(2), &problem(), &all);
        assert_eq!(ledger.unverified().len(), 1);
        assert!(!ledger.holds(&site("N"), id(1)));
        let vouched = Ledger::fold_vouched(&scribe(2), &problem(), &all);
        assert!(vouched.holds(&site("N"), id(1)) && vouched.unverified().is_empty());
    }

    #[test]
    fn what_is_vouched_for_reads_as_it_did_under_the_lost_key() {
        let (lost, new) = (scribe(1), scribe(2));
        let bodies = ["N: 1-3", "N: lost 2", "1: lost 100", "C: 7 from 9", "N: 90", "1: 104"];
        let mut all = rows(&lost, &bodies);
        // Pasted again, and from another problem but disowned by the marker in row 105.
        all.push(Row { work: id(106), ..all[1].clone() });
        all[4].marker = all[4].marker.as_ref().map(|_| foreign());
        let (before, after) = (Ledger::fold(&lost, &problem(), &all), Ledger::fold_vouched(&new, &problem(), &all));
        assert!(before.unverified().is_empty() && after.unverified().is_empty());
        assert_eq!(state(&before), state(&after));
        assert_eq!(before.disowned(), after.disowned());
    }

    /// A marker of another problem.
    fn foreign() -> String {
        let marker = Marker::parse("copy in system N: 90", DEFAULT_PHRASE).unwrap();
        scribe(1).write(&"XYZ".parse().unwrap(), marker, &BTreeSet::new()).unwrap().remove(0)
    }

    #[test]
    fn a_marker_that_no_bridge_has_written_is_not_vouched_for() {
        let hostile = "copy in system N: 1-9223372036854775807 from 1-9223372036854775807; seal 0000000000";
        let ledger = Ledger::fold_vouched(&scribe(1), &problem(), &number(vec![hostile.into()]));
        assert_eq!(ledger.unverified().len(), 1);
    }

    #[test]
    fn a_replaced_marker_that_is_pasted_again_without_its_key_changes_nothing() {
        let (old, new) = (scribe(1), scribe(2));
        let mut texts: Vec<_> = rows(&old, &["N: 1-3"]).into_iter().filter_map(|r| r.marker).collect();
        texts.extend(rows(&new, &["N: 1", "1: lost 100"]).into_iter().filter_map(|r| r.marker));
        texts.push(texts[0].clone());
        let ledger = Ledger::fold(&new, &problem(), &number(texts));
        assert!(ledger.unverified().is_empty() && !ledger.holds(&site("N"), id(2)));
    }

    #[test]
    fn a_disowned_row_is_an_entry_and_a_retired_one_is_nothing() {
        let (old, new) = (scribe(1), scribe(2));
        let mut texts: Vec<_> = rows(&old, &["N: 1", "N: 2"]).into_iter().filter_map(|r| r.marker).collect();
        texts.extend(rows(&new, &["1: 100", "1: lost 101"]).into_iter().filter_map(|r| r.marker));
        let ledger = Ledger::fold(&new, &problem(), &number(texts));
        assert!(ledger.unverified().is_empty());
        assert!(!ledger.is_marker(id(100)) && ledger.is_marker(id(101)));
        assert!(ledger.peers().is_empty());
    }

    #[test]
    fn the_names_of_all_sites_are_known() {
        let ledger = fold(&["B as 4711, C as 900: 7-8 from 4,9; 9 from C/3"]);
        let names: Vec<_> = ledger.names().into_iter().map(|(s, p)| format!("{s}={p}")).collect();
        assert_eq!(names, ["1=ABC", "B=4711", "C=900"]);
        let heard = [(site("B"), "4711".parse().unwrap()), (site("D"), "x".parse().unwrap())].into();
        assert_eq!(ledger.marker_for(&site("B"), &heard).to_string(), "B as 4711, D as x");
    }

    #[test]
    fn an_operators_word_is_no_receipt() {
        let ledger = fold(&["N: adopted 1-3; 5"]);
        assert!(ledger.holds(&site("N"), id(2)));
        assert_eq!(ledger.exchanged(&site("N")).to_string(), "1/5");
    }

    fn state(ledger: &Ledger) -> String {
        let kept = |sets: &BTreeMap<SiteName, IdSet>| {
            sets.iter().filter(|(_, s)| !s.is_empty()).map(|(p, s)| format!("{p}={s} ")).collect::<String>()
        };
        let (held, adopted, lost) = (kept(&ledger.held), kept(&ledger.adopted), kept(&ledger.lost));
        format!("{held}|{adopted}|{lost}|{}|{:?}|{:?}", ledger.stay, ledger.copies, ledger.names)
    }

    proptest! {
        #[test]
        fn the_fold_does_not_depend_on_how_statements_were_batched(
            groups in proptest::collection::vec((prop_oneof![Just("N"), Just("C")], group_strategy()), 1..8),
            width in 80_usize..300,
        ) {
            let s = scribe(1);
            let marker = |peer: &str, groups| Marker { groups, ..Marker::for_peer(site(peer)) };
            // Batched: neighbours for one peer share a marker. Apart: a marker a group, split to a narrow column.
            let mut batched: Vec<Marker> = Vec::new();
            for (peer, group) in &groups {
                match batched.last_mut() {
                    Some(last) if last.peer.site.as_str() == *peer => last.groups.push(group.clone()),
                    _ => batched.push(marker(peer, vec![group.clone()])),
                }
            }
            let apart = groups.iter().flat_map(|(peer, g)| marker(peer, vec![g.clone()]).split(DEFAULT_PHRASE, width).unwrap());
            let write = |markers: Vec<Marker>| {
                let mut taken = BTreeSet::new();
                for m in markers {
                    let fresh = s.write(&problem(), m, &taken).unwrap();
                    taken.extend(fresh.iter().cloned());
                    for text in fresh { TEXTS.with_borrow_mut(|t| t.push(text)); }
                }
                number(TEXTS.take())
            };
            let one = Ledger::fold(&s, &problem(), &write(batched));
            let two = Ledger::fold(&s, &problem(), &write(apart.collect()));
            prop_assert_eq!(state(&one), state(&two));
        }

        #[test]
        fn a_summary_says_what_all_markers_said(
            groups in proptest::collection::vec((prop_oneof![Just("N"), Just("C")], group_strategy()), 1..8),
        ) {
            let s = scribe(1);
            let bodies: Vec<_> = groups.iter()
                .map(|(peer, g)| format!("{peer}: {g}")).collect();
            let bodies: Vec<_> = bodies.iter().map(String::as_str).collect();
            let before = Ledger::fold(&s, &problem(), &rows(&s, &bodies));
            let summary: Vec<_> = before.summary().iter().map(ToString::to_string).collect();
            let summary: Vec<_> = summary.iter().map(String::as_str).collect();
            let after = Ledger::fold(&s, &problem(), &rows(&s, &summary));
            prop_assert_eq!(state(&before), state(&after));
        }
    }

    thread_local! {
        static TEXTS: std::cell::RefCell<Vec<String>> = const { std::cell::RefCell::new(Vec::new()) };
    }
}
