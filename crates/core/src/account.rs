//! What two sites lack of what they exchanged (DESIGN §5): the account that one gives of a problem, what the other lacks
//! of it, and which rows are therefore to be recorded as lost.
//!
//! A site says itself what it lacks, since only it knows what it deleted on purpose: a row that is gone while a marker
//! still names it is no loss. Nothing here decides whether anything is sent again; that is an operator's word.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};

use crate::entry::{Digest, Row};
use crate::id::{Origin, ProblemId, SiteName, WorkId};
use crate::id_set::{IdSet, OriginSet};
use crate::ledger::Ledger;
use crate::message::{Account, Belief, Believed, Missing, Text, TextSum};

/// One problem at this site, as far as one peer is concerned.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// What the markers say.
    pub ledger: &'a Ledger,
    /// All rows in ascending order; `open` speaks of the peer.
    pub rows: &'a [Row],
    /// The peer.
    pub peer: &'a SiteName,
    /// Whether the peer is also sent what other sites wrote.
    pub relay: bool,
}

impl View<'_> {
    /// Whether the peer may be told of this row: it holds it, wrote it, or may see it.
    pub fn tells(&self, row: &Row) -> bool {
        let Self { ledger, peer, relay, .. } = self;
        if ledger.is_marker(row.work) {
            return false;
        }
        let may_see = row.open && (ledger.is_own(row.work) || (*relay && !ledger.stays(row.work)));
        may_see || ledger.exchanged_row(peer, row.work) || ledger.origin(row.work).site == **peer
    }

    /// What this site believes that the two exchanged, without its texts; nothing where there is nothing to compare.
    pub fn belief(&self) -> Option<Believed> {
        let exchanged = self.ledger.exchanged(self.peer);
        let compare = !self.doubles().is_empty() || self.is_unreceipted();
        let any = compare || !exchanged.is_empty();
        any.then(|| Believed { names: self.names(), belief: Belief::of(&exchanged), compare, texts: None })
    }

    /// The sum of what was exchanged. `digests` has the rows of [`View::exchanged_texts`].
    pub fn text_sum(&self, digests: &BTreeMap<WorkId, Digest>) -> TextSum {
        TextSum::of(&self.texts(self.exchanged_texts(), digests))
    }

    /// The rows of exchanged entries whose texts may leave. One that was edited and is internal now may not, not even as a
    /// digest, which can be guessed.
    pub fn exchanged_texts(&self) -> BTreeSet<WorkId> {
        let is_exchanged = |row: &&Row| row.open && self.ledger.exchanged_row(self.peer, row.work);
        self.rows.iter().filter(is_exchanged).map(|row| row.work).collect()
    }

    fn texts(&self, rows: impl IntoIterator<Item = WorkId>, digests: &BTreeMap<WorkId, Digest>) -> Vec<Text> {
        let text = |row: WorkId| Some(Text { origin: self.ledger.origin(row), digest: *digests.get(&row)? });
        rows.into_iter().filter_map(text).collect()
    }

    /// What the two sites call the problem.
    pub fn names(&self) -> BTreeMap<SiteName, ProblemId> {
        let mut names = self.ledger.names();
        names.retain(|site, _| site == self.peer || site == self.ledger.site());
        names
    }

    /// Whether the peer may compare the text of this row. What may not leave does so not even as a digest, nor by an answer to
    /// one: it can be guessed, and the text may have been edited since it was exchanged.
    fn compares(&self, row: &Row) -> bool {
        row.open && self.tells(row)
    }

    /// Rows with more than one text of an origin, all of which the peer may compare.
    fn doubles(&self) -> HashSet<WorkId> {
        let compares = |work: &WorkId| self.row(*work).is_some_and(|row| self.compares(row) && !self.is_given_up(row));
        let of_origin =
            self.ledger.doubles(self.rows).map(|(_, rows)| rows.into_iter().filter(compares).collect::<Vec<_>>());
        of_origin.filter(|rows| rows.len() > 1).flatten().collect()
    }

    /// Whether an entry that the peer wrote is here without a receipt between the two.
    fn is_unreceipted(&self) -> bool {
        let is_unreceipted = |row: &Row| self.is_theirs(row) && !self.ledger.exchanged_row(self.peer, row.work);
        self.rows.iter().any(|row| self.compares(row) && is_unreceipted(row))
    }

    /// Whether the peer wrote the entry in `row`, and has not lost it on purpose.
    fn is_theirs(&self, row: &Row) -> bool {
        self.ledger.origin(row.work).site == *self.peer && !self.is_given_up(row)
    }

    /// Whether it is only by an operator's word that the peer has the entry in `row`: it lost it on purpose, say.
    fn is_given_up(&self, row: &Row) -> bool {
        self.ledger.adopted(self.peer, row.work) && !self.ledger.exchanged_row(self.peer, row.work)
    }

    /// The rows whose digests belong into the account.
    fn accounted(&self) -> BTreeSet<WorkId> {
        let mut rows = self.told();
        rows.append(&mut self.exchanged_texts());
        rows
    }

    /// The rows that are compared by their texts however the origins stand.
    fn told(&self) -> BTreeSet<WorkId> {
        let doubles = self.doubles();
        let is_told = |row: &&Row| self.compares(row) && (doubles.contains(&row.work) || self.is_theirs(row));
        self.rows.iter().filter(is_told).map(|row| row.work).collect()
    }

    /// The rows whose texts are needed for the account of this site and, where `theirs` is given, for what it lacks of
    /// that.
    pub fn lookups(&self, theirs: Option<&Account>) -> BTreeSet<WorkId> {
        let mut rows = self.accounted();
        if theirs.is_some() {
            rows.extend(self.nameless());
        }
        for text in theirs.iter().flat_map(|account| &account.texts) {
            rows.extend(self.here(&text.origin).filter(|row| self.compares(row)).map(|row| row.work));
        }
        rows
    }

    /// The account of this site. `digests` has the rows that [`View::lookups`] named.
    pub fn account(&self, digests: &BTreeMap<WorkId, Digest>) -> Account {
        let texts = self.texts(self.accounted(), digests);
        Account { names: self.names(), exchanged: self.ledger.exchanged(self.peer), texts }
    }

    /// What of the peer's account this site lacks. A row that the peer may not be told of answers as one that is not here.
    pub fn lacks(&self, theirs: &Account, digests: &BTreeMap<WorkId, Digest>) -> Missing {
        let gone = self.gone();
        let mut known = gone.clone();
        let told = self.rows.iter().filter(|row| self.tells(row));
        told.for_each(|row| known.insert(&self.ledger.origin(row.work)));
        let mut origins = theirs.exchanged.clone();
        origins.subtract(&known);

        let has = |text: &Text| {
            // A row that may not leave answers to every text alike, or the peer could guess what it says now.
            let same = |row: &Row| self.tells(row) && (!row.open || digests.get(&row.work) == Some(&text.digest));
            gone.contains(&text.origin) || self.here(&text.origin).any(same)
        };
        let mut told = BTreeMap::<_, usize>::new();
        theirs.texts.iter().for_each(|text| *told.entry(&text.origin).or_default() += 1);
        // Of an origin with more than one text each is named: a repair takes back what is named.
        let is_named = |text: &&Text| !origins.contains(&text.origin) || told.get(&text.origin) > Some(&1);
        let lacked = theirs.texts.iter().filter(|text| is_named(text) && !has(text));
        // Exchanged by what both say, and each has one text of it.
        let is_other = |text: &Text| {
            let is_single = told.get(&text.origin) == Some(&1) && theirs.exchanged.contains(&text.origin);
            let mut here = self.here(&text.origin);
            let is_exchanged = |row: &Row| self.tells(row) && self.ledger.exchanged_row(self.peer, row.work);
            is_single && here.next().is_some_and(is_exchanged) && here.next().is_none()
        };
        let (differing, texts) = lacked.cloned().partition(is_other);
        let mut missing = Missing { origins, texts, differing, ..Missing::default() };
        missing.alike = self.alike(theirs, &missing, digests);
        missing
    }

    /// Of what this site lacks, the texts that stand in rows which no marker names, each for one.
    fn alike(&self, theirs: &Account, missing: &Missing, digests: &BTreeMap<WorkId, Digest>) -> Vec<Text> {
        let mut rows = BTreeMap::<_, usize>::new();
        self.nameless().filter_map(|row| digests.get(&row)).for_each(|digest| *rows.entry(digest).or_default() += 1);
        let texts: HashSet<_> = missing.texts.iter().collect();
        let is_lacked = |text: &&Text| missing.origins.contains(&text.origin) || texts.contains(text);
        let mut has_row = |text: &&Text| match rows.get_mut(&text.digest) {
            Some(left) if *left > 0 => {
                *left -= 1;
                true
            }
            _ => false,
        };
        theirs.texts.iter().filter(is_lacked).filter(|text| has_row(text)).cloned().collect()
    }

    /// The rows for these texts of [`Missing::alike`], each for one, in the order of both.
    pub fn rows_alike(&self, alike: &[Text], digests: &BTreeMap<WorkId, Digest>) -> Vec<(WorkId, Origin)> {
        let mut rows = BTreeMap::<_, VecDeque<_>>::new();
        for row in self.nameless() {
            if let Some(digest) = digests.get(&row) {
                rows.entry(digest).or_default().push_back(row);
            }
        }
        let (mut texts, carried) = (alike.iter().collect::<Vec<_>>(), |row| self.ledger.origin(row));
        texts.sort_unstable();
        let row = |text: &Text| Some((rows.get_mut(&text.digest)?.pop_front()?, text.origin.clone()));
        texts.into_iter().filter_map(row).filter(|(row, origin)| carried(*row) != *origin).collect()
    }

    /// The rows that the peer may see and that no marker names.
    pub fn nameless(&self) -> impl Iterator<Item = WorkId> {
        self.rows.iter().filter(|row| row.open && self.ledger.is_nameless(row.work)).map(|row| row.work)
    }

    /// The rows that the peer is recorded to hold and says that it lost. Only what receipts cover or what it wrote itself
    /// counts: an operator's word that it holds an entry is not taken back by it. `digests` as in [`View::lost_lookups`].
    pub fn lost_rows(&self, missing: &Missing, digests: &BTreeMap<WorkId, Digest>) -> IdSet {
        let texts: HashSet<_> = missing.texts.iter().collect();
        let of_texts: HashSet<_> = missing.texts.iter().map(|text| &text.origin).collect();
        let is_lost = |row: &WorkId| {
            let origin = self.ledger.origin(*row);
            // A row that may not leave answers to every text alike.
            let is_hidden = self.row(*row).is_some_and(|row| !row.open);
            missing.origins.contains(&origin)
                || (is_hidden && of_texts.contains(&origin))
                || digests.get(row).is_some_and(|digest| texts.contains(&Text { origin, digest: *digest }))
        };
        self.held().iter().filter(is_lost).collect()
    }

    /// The rows of these entries that the peer is recorded to hold, in the sense of [`View::lost_rows`].
    pub fn held_of(&self, entries: &OriginSet) -> IdSet {
        self.held().iter().filter(|row| entries.contains(&self.ledger.origin(*row))).collect()
    }

    fn held(&self) -> IdSet {
        let mut rows: IdSet = self.rows.iter().map(|row| row.work).filter(|row| self.is_held(*row)).collect();
        rows.extend(&self.ledger.exchanged_rows(self.peer));
        rows.iter().filter(|row| !self.ledger.is_marker(*row)).collect()
    }

    /// The rows whose texts [`View::lost_rows`] needs.
    pub fn lost_lookups(&self, missing: &Missing) -> BTreeSet<WorkId> {
        let here = missing.texts.iter().flat_map(|text| self.here(&text.origin));
        here.filter(|row| row.open).map(|row| row.work).filter(|row| self.is_held(*row)).collect()
    }

    fn is_held(&self, row: WorkId) -> bool {
        let wrote = self.ledger.origin(row).site == *self.peer && self.ledger.holds(self.peer, row);
        self.ledger.exchanged_row(self.peer, row) || (wrote && !self.ledger.adopted(self.peer, row))
    }

    fn here(&self, origin: &Origin) -> impl Iterator<Item = &Row> {
        self.ledger.rows_of(origin).into_iter().filter_map(|work| self.row(work))
    }

    fn row(&self, work: WorkId) -> Option<&Row> {
        self.rows.binary_search_by_key(&work, |row| row.work).ok().and_then(|at| self.rows.get(at))
    }

    /// The origins of rows that are not here any more although a marker names them: they were deleted, not lost.
    fn gone(&self) -> OriginSet {
        let mut rows = self.ledger.named_rows();
        rows.subtract(&self.rows.iter().map(|row| row.work).collect());
        let mut gone = OriginSet::new();
        rows.iter().for_each(|row| gone.insert(&self.ledger.origin(row)));
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::marker::Marker;
    use crate::message::Word;
    use crate::scribe::Scribe;
    use crate::seal::Keyring;

    fn site(s: &str) -> SiteName {
        s.parse().unwrap()
    }

    struct Desk {
        ledger: Ledger,
        rows: Vec<Row>,
        digests: BTreeMap<WorkId, Digest>,
    }

    /// Problem ABC at `name`, its rows numbered from 1. Texts that read as markers are sealed, `-` ones are not open,
    /// `gone` ones are not here.
    fn desk(name: &str, texts: &[&str]) -> Desk {
        let (p, scribe) = ("ABC".parse().unwrap(), Scribe::new(site(name), "h", vec![], Keyring::new([1; 32]), None));
        let (mut rows, mut digests) = (Vec::new(), BTreeMap::new());
        for (i, text) in texts.iter().enumerate().filter(|(_, text)| **text != "gone") {
            let work = WorkId::new(i as i64 + 1).unwrap();
            let marker = Marker::parse(text, "copy in system")
                .map(|m| scribe.write(&p, m, &Default::default()).unwrap().remove(0));
            digests.insert(work, Digest::of(text.trim_start_matches('-')));
            rows.push(Row { work, marker, open: !text.starts_with('-'), bytes: text.len() as u64 });
        }
        Desk { ledger: Ledger::fold(&scribe, &p, &rows), rows, digests }
    }

    impl Desk {
        fn view<'a>(&'a self, peer: &'a SiteName) -> View<'a> {
            View { ledger: &self.ledger, rows: &self.rows, peer, relay: true }
        }

        /// What this site lacks of what `other` tells it.
        fn lacks(&self, other: &Desk) -> Missing {
            let (me, you) = (self.ledger.site(), other.ledger.site());
            let theirs = other.view(me).account(&other.digests);
            self.view(you).lacks(&theirs, &self.digests)
        }

        fn lost_rows(&self, other: &Desk, missing: &Missing) -> String {
            self.view(other.ledger.site()).lost_rows(missing, &self.digests).to_string()
        }
    }

    fn shown(missing: &Missing) -> String {
        let texts: Vec<_> = missing.texts.iter().map(|text| text.origin.to_string()).collect();
        format!("{}|{}", missing.origins, texts.join(" "))
    }

    #[test]
    fn two_sites_that_agree_lack_nothing() {
        let one = desk("1", &["a", "copy in system N: 1", "b", "copy in system N: 3 from 3"]);
        let n = desk("N", &["a", "copy in system 1: 1 from 1", "b", "copy in system 1: 3"]);
        assert!(one.lacks(&n).is_empty() && n.lacks(&one).is_empty());
        assert_eq!(one.view(&site("N")).belief().unwrap().belief, n.view(&site("1")).belief().unwrap().belief);
    }

    #[test]
    fn a_restored_receiver_lacks_what_it_got_and_what_it_wrote_since() {
        let one = desk("1", &["a", "b", "copy in system N: 1-2", "c", "copy in system N: 4 from 4"]);
        let n = desk("N", &["a", "copy in system 1: 1 from 1"]);
        let missing = n.lacks(&one);
        assert_eq!(shown(&missing), "1/2; N/4|");
        assert_eq!(one.lost_rows(&n, &missing), "2,4");
        assert!(one.lacks(&n).is_empty());
    }

    #[test]
    fn a_number_that_was_given_out_again_after_a_restore_does_not_hide_the_old_text() {
        let one = desk("1", &["old", "copy in system N: 1 from 7", "new", "copy in system N: 3 from 7"]);
        let texts = ["gone", "gone", "gone", "gone", "gone", "gone", "new", "copy in system 1: 7"];
        let n = desk("N", &texts);
        let missing = n.lacks(&one);
        assert_eq!(shown(&missing), "|N/7");
        assert_eq!(one.lost_rows(&n, &missing), "1");
        assert!(one.view(&site("N")).belief().unwrap().compare, "though the beliefs agree");
    }

    #[test]
    fn one_number_with_another_text_at_each_site_is_told_and_is_no_loss() {
        let one = desk("1", &["old", "copy in system N: 1 from 7"]);
        let n = desk("N", &["gone", "gone", "gone", "gone", "gone", "gone", "new", "copy in system 1: 7"]);
        assert_eq!(one.view(&site("N")).belief(), n.view(&site("1")).belief());
        assert_ne!(one.view(&site("N")).text_sum(&one.digests), n.view(&site("1")).text_sum(&n.digests));
        for (here, there) in [(&one, &n), (&n, &one)] {
            let missing = here.lacks(there);
            assert_eq!((shown(&missing).as_str(), missing.differing.len(), missing.is_complete()), ("|", 1, true));
            assert_eq!(there.lost_rows(here, &missing).as_str(), "");
            let row = if there.ledger.site() == &site("1") { "1" } else { "7" };
            assert_eq!(there.lost_rows(here, &missing.to_repair(Word { texts: true, ..Word::default() })), row);
        }
    }

    #[test]
    fn what_stands_in_rows_whose_markers_somebody_deleted_is_told_and_left_to_a_person() {
        let texts = ["gone", "gone", "of N", "gone", "-of N", "gone", "of N"];
        let one = desk("1", &[&texts[..], &["copy in system N: 7 from 9"]].concat());
        let n = desk(
            "N",
            &["of N", "gone", "of N", "gone", "of N", "gone", "gone", "gone", "of N", "copy in system 1: 1,3,5,9"],
        );
        let missing = one.lacks(&n);
        // Row 3 is one of three that are lacking; row 5 may not leave, and row 7 is known.
        assert_eq!((shown(&missing).as_str(), missing.alike.len()), ("N/1,3,5|", 1));
        assert_eq!(missing.alike[0].origin.to_string(), "N/1");
        let origins = |word| missing.to_repair(word).origins.to_string();
        assert_eq!(origins(Word::default()), "N/3,5");
        assert_eq!(origins(Word { distinct: true, ..Word::default() }), "N/1,3,5");
        let peer = site("N");
        let rows = one.view(&peer).rows_alike(&missing.alike, &one.digests);
        assert_eq!(rows, [(WorkId::new(3).unwrap(), "N/1".parse().unwrap())]);
    }

    #[test]
    fn two_texts_of_a_number_that_were_given_up_on_purpose_are_in_no_account() {
        let n = desk("N", &["old", "new", "copy in system 1: 1-2 from 3", "copy in system 1: lost 1-2; adopted 1-2"]);
        let one = site("1");
        let view = n.view(&one);
        assert_eq!((view.belief(), view.account(&n.digests).texts), (None, vec![]));
    }

    #[test]
    fn a_text_that_became_internal_is_not_even_summed_up() {
        let shown = desk("N", &["a", "-PIN 8342", "copy in system 1: 1-2"]);
        let one = site("1");
        assert_eq!(shown.view(&one).exchanged_texts(), [WorkId::MIN].into());
        assert_eq!(shown.view(&one).account(&shown.digests).texts.len(), 1);
    }

    #[test]
    fn what_a_peer_wrote_and_is_internal_here_by_now_tells_it_nothing_of_its_text() {
        let n = desk("N", &["-x1, PIN 8342", "copy in system 1: 1 from 7"]);
        let one = site("1");
        assert!(n.view(&one).account(&n.digests).texts.is_empty());
        let guess = |text: &str| Account {
            exchanged: "1/7".parse().unwrap(),
            texts: vec![Text { origin: "1/7".parse().unwrap(), digest: Digest::of(text) }],
            ..Account::default()
        };
        let answer = |text: &str| n.view(&one).lacks(&guess(text), &n.digests);
        assert_eq!(answer("x1, PIN 8342"), answer("x1, PIN 0000"));
        assert!(answer("x1, PIN 8342").is_empty() && n.view(&one).lookups(Some(&guess("x1"))).is_empty());
    }

    #[test]
    fn an_entry_that_came_by_another_way_is_missed_by_who_wrote_it() {
        let one = desk("1", &["by way of C", "copy in system C: 1 from N/4"]);
        let n = desk("N", &[]);
        assert!(one.view(&site("N")).belief().unwrap().compare);
        let missing = n.lacks(&one);
        assert_eq!(shown(&missing), "|N/4");
        assert_eq!(one.lost_rows(&n, &missing), "1");
    }

    #[test]
    fn what_was_deleted_on_purpose_is_no_loss() {
        let one = desk("1", &["a", "copy in system N: 1", "b", "copy in system N: 3 from 3"]);
        let n = desk("N", &["gone", "copy in system 1: 1 from 1", "gone", "copy in system 1: 3"]);
        assert!(n.lacks(&one).is_empty(), "its markers are still there");
    }

    #[test]
    fn a_loss_that_is_meant_is_told_no_more() {
        let one = desk("1", &["a", "copy in system N: 1 from 4", "copy in system N: lost 1; adopted 1"]);
        let n = desk("N", &[]);
        assert!(n.lacks(&one).is_empty());
        assert!(one.view(&site("N")).belief().is_none());
    }

    #[test]
    fn a_guessed_digest_of_a_hidden_row_answers_as_a_wrong_one() {
        let n = desk("N", &["-PIN 8342"]);
        let guess = |text: &str| Account {
            texts: vec![Text { origin: "N/1".parse().unwrap(), digest: Digest::of(text) }],
            ..Account::default()
        };
        let one = site("1");
        let answer = |text| n.view(&one).lacks(&guess(text), &n.digests);
        assert_eq!(shown(&answer("PIN 8342")), shown(&answer("PIN 0000")));
        assert!(!n.view(&one).lookups(Some(&guess("PIN 8342"))).contains(&WorkId::MIN));
    }

    #[test]
    fn a_peer_that_claims_everything_costs_a_range() {
        let n = desk("N", &["a", "copy in system 1: 1"]);
        let all: BTreeMap<_, _> = [(site("N"), IdSet::all()), (site("1"), IdSet::all())].into();
        let claim = Account { exchanged: all.into(), ..Account::default() };
        let lacked = n.view(&site("1")).lacks(&claim, &n.digests);
        assert_eq!(shown(&lacked), "1/1-9223372036854775807; N/2-9223372036854775807|");
        assert_eq!(n.view(&site("1")).lost_rows(&lacked, &n.digests).to_string(), "");
    }

    #[test]
    fn an_operators_word_is_not_taken_back_by_the_peer() {
        let n = desk("N", &["a", "copy in system 1: adopted 1"]);
        let all = Missing {
            origins: [(site("N"), IdSet::all())].into_iter().collect::<BTreeMap<_, _>>().into(),
            ..Missing::default()
        };
        assert_eq!(n.view(&site("1")).lost_rows(&all, &n.digests).to_string(), "");
    }
}
