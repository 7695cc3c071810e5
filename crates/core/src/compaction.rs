//! What `compact` makes of a problem's markers (DESIGN §3, §9): one for each peer that says what all said, in a new era,
//! and the rows that it stands for.
//!
//! Nothing is written here. A deleted marker's text may come back by somebody's hand, and verifies; that it says nothing
//! then is the era's business (`ledger`).

use crate::id_set::IdSet;
use crate::ledger::Ledger;
use crate::marker::{Group, Marker};

/// What becomes of a problem's markers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folded {
    /// The markers to append first, in their order, of the era that begins with them.
    pub markers: Vec<Marker>,
    /// The rows to delete then: markers that the bridge wrote here.
    pub delete: IdSet,
}

/// Folds the markers of a problem. `apart`: markers have a table of their own, and only rows of it are deleted.
///
/// What somebody pasted stays where it is, and so do markers in the history from before they had a table of their own. They
/// are named as replaced, so that they say nothing even when their key is retired.
pub fn fold(ledger: &Ledger, apart: bool) -> Folded {
    let own = ledger.own_marker_rows();
    let delete: IdSet = own.iter().filter(|row| row.apart_number().is_some() == apart).collect();
    let mut kept = ledger.marker_rows().clone();
    kept.subtract(&delete);
    let mut markers = ledger.summary();
    let mut of_rows = Marker::for_peer(ledger.site().clone());
    of_rows.say(Group::Held, ledger.said_disowned().clone());
    of_rows.say(Group::Lost, kept);
    // Something of the new era must stand there, or the old markers would count again when they are pasted.
    if !of_rows.says_nothing() || markers.is_empty() {
        markers.push(of_rows);
    }
    let era = ledger.next_era();
    markers.iter_mut().for_each(|marker| marker.era = era);
    Folded { markers, delete }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::entry::Row;
    use crate::id::{ProblemId, SiteName, WorkId};
    use crate::marker::tests::group_strategy;
    use crate::scribe::{DEFAULT_PHRASE, Scribe};
    use crate::seal::Keyring;

    fn id(n: i64) -> WorkId {
        WorkId::new(n).unwrap()
    }

    fn site(s: &str) -> SiteName {
        s.parse().unwrap()
    }

    fn scribe(key: u8, width: Option<usize>) -> Scribe {
        Scribe::new(site("1"), "h", vec![], Keyring::new([key; 32]), width)
    }

    fn problem() -> ProblemId {
        "ABC".parse().unwrap()
    }

    fn row(work: i64, text: &str) -> Row {
        Row { work: id(work), marker: Some(text.to_owned()), open: true, bytes: 1 }
    }

    /// A table of markers as the bridge appends them.
    struct Table {
        scribe: Scribe,
        rows: Vec<Row>,
    }

    impl Table {
        fn new(scribe: Scribe) -> Self {
            Self { scribe, rows: Vec::new() }
        }

        /// Markers of these bodies, such as `N: 1-2`, one behind the other, in rows from 100 on.
        fn of(bodies: &[&str]) -> Self {
            let mut table = Self::new(scribe(1, None));
            bodies.iter().for_each(|body| table.say(body));
            table
        }

        fn ledger(&self) -> Ledger {
            Ledger::fold(&self.scribe, &problem(), &self.rows)
        }

        fn next(&self) -> i64 {
            self.rows.last().map_or(100, |row| row.work.get() + 1)
        }

        fn paste(&mut self, text: &str) {
            self.rows.push(row(self.next(), text));
        }

        fn say(&mut self, body: &str) {
            let marker = Marker::parse(&format!("{DEFAULT_PHRASE} {body}"), DEFAULT_PHRASE).unwrap();
            let texts = self.ledger().write(&self.scribe, marker).unwrap();
            texts.iter().for_each(|text| self.paste(text));
        }

        /// As `flow` does it: the new markers first, then the old rows are deleted. Their texts.
        fn compact(&mut self) -> Vec<String> {
            let ledger = self.ledger();
            let Folded { markers, delete } = fold(&ledger, false);
            let mut taken = ledger.marker_texts().clone();
            for marker in markers {
                for text in self.scribe.write(&problem(), marker, &taken).unwrap() {
                    self.paste(&text);
                    taken.insert(text);
                }
            }
            let gone: Vec<_> = self.rows.iter().filter(|row| delete.contains(row.work)).cloned().collect();
            self.rows.retain(|row| !delete.contains(row.work));
            gone.into_iter().filter_map(|row| row.marker).collect()
        }

        fn texts(&self) -> Vec<&str> {
            self.rows.iter().filter_map(|row| row.marker.as_deref()?.split("; seal ").next()).collect()
        }
    }

    #[test]
    fn the_worked_example_folds_into_one_marker() {
        let mut table = Table::of(&["N: 1-2", "N: 4", "N: 6 from 6", "N: 8"]);
        let before = table.ledger();
        assert_eq!(table.compact().len(), 4);
        assert_eq!(table.texts(), ["copy in system N: 6 from 6; 1-2,4,8 era 1"]);
        assert!(before.says_the_same(&table.ledger()));
        table.say("N: 9");
        assert_eq!(table.texts()[1], "copy in system N: 9 era 1");
    }

    #[test]
    fn a_marker_from_before_says_nothing_when_it_is_pasted_and_is_still_no_entry() {
        let mut table = Table::of(&["N: 1-3", "N: lost 2", "1: 40"]);
        let gone = table.compact();
        let after = table.ledger();
        assert!(after.lost_by(&site("N"), id(2)));
        for text in &gone {
            table.paste(text);
            let pasted = table.ledger();
            assert!(pasted.says_the_same(&after), "{text}");
            assert!(pasted.is_marker(table.rows.last().unwrap().work));
        }
        // And what is folded later takes nothing away that a person put there.
        table.say("N: 2");
        let pasted: BTreeSet<_> = gone.iter().cloned().collect();
        let deleted = table.compact();
        assert!(deleted.iter().all(|text| !pasted.contains(text)), "{deleted:?}");
        assert!(table.texts().iter().any(|text| text.contains(": 40; lost 10")), "{:?}", table.texts());
    }

    #[test]
    fn a_marker_of_an_era_that_did_not_begin_here_suspends_until_it_is_disowned() {
        let mut table = Table::of(&["N: 1-3", "N: 4"]);
        let backup = table.rows.clone();
        table.compact();
        table.say("N: 9");
        let later = table.rows.last().unwrap().marker.clone().unwrap();
        // The table is restored from the backup, and somebody pastes what was written after it.
        table.rows = backup;
        let restored = table.ledger();
        table.paste(&later);
        let pasted = table.ledger();
        assert_eq!(pasted.unverified().len(), 1);
        assert!(pasted.holds(&site("N"), id(1)) && pasted.era() == 0);
        table.say(&format!("1: {}", table.rows.last().unwrap().work));
        assert!(table.ledger().unverified().is_empty());
        let pasted: IdSet = [id(102)].into_iter().collect();
        assert_eq!(table.ledger().disowned(), &pasted);
        // The next era is none that ever was.
        table.compact();
        assert!(table.texts().iter().all(|text| text.ends_with(" era 2") || text.ends_with("N: 9 era 1")));
        assert!(table.ledger().holds(&site("N"), id(1)) && restored.holds(&site("N"), id(1)));
        assert!(table.ledger().unverified().is_empty() && !table.ledger().holds(&site("N"), id(9)));
    }

    #[test]
    fn under_a_lost_key_a_forged_era_is_not_vouched_for_and_takes_nothing_back() {
        let mut table = Table::of(&["N: 1-3", "C: 5 from 6"]);
        table.compact();
        table.say("N: 9");
        let after = table.ledger();
        table.paste("copy in system N: 1 era 99; seal 0000000000");
        let lost = scribe(2, None);
        let vouched = Ledger::fold_vouched(&lost, &problem(), &table.rows);
        assert_eq!(vouched.unverified().len(), 1);
        assert!(vouched.holds(&site("N"), id(9)) && vouched.holds(&site("C"), id(5)));
        // An old one says as little as it did under the key.
        table.rows.pop();
        table.paste(&Table::of(&["N: 50"]).rows[0].marker.clone().unwrap());
        assert!(Ledger::fold_vouched(&lost, &problem(), &table.rows).says_the_same(&after));
    }

    #[test]
    fn an_old_key_that_speaks_no_more_does_not_stand_against_what_is_vouched_for() {
        let mut table = Table::of(&["N: 1-3"]);
        let old = table.rows[0].marker.clone().unwrap();
        table.scribe = scribe(2, None);
        table.rows.clear();
        table.say("N: 4");
        table.compact();
        table.paste(&old);
        // The key file was restored from a day on which it held the first key alone.
        let vouched = Ledger::fold_vouched(&scribe(1, None), &problem(), &table.rows);
        assert!(vouched.unverified().is_empty());
        assert!(vouched.holds(&site("N"), id(4)) && !vouched.holds(&site("N"), id(1)));
    }

    #[test]
    fn where_markers_have_a_table_of_their_own_no_row_of_the_history_is_deleted() {
        let mut table = Table::of(&["N: 1-3", "N: lost 2"]);
        let first = table.rows[0].marker.clone().unwrap();
        table.paste(&first);
        let (mut moved, before) = (Table::new(scribe(1, None)), table.ledger());
        for (n, row) in (1..).zip(&table.rows[..2]) {
            moved.rows.push(Row { work: WorkId::apart(n).unwrap(), ..row.clone() });
        }
        moved.rows.insert(0, table.rows[2].clone());
        assert!(moved.ledger().says_the_same(&before));
        let Folded { markers, delete } = fold(&moved.ledger(), true);
        assert_eq!(delete, (1..3).filter_map(WorkId::apart).collect());
        assert!(markers.last().unwrap().to_string().ends_with("1: lost 102 era 1"), "{markers:?}");
        let texts: Vec<_> =
            markers.into_iter().flat_map(|m| moved.scribe.write(&problem(), m, &BTreeSet::new()).unwrap()).collect();
        moved.rows.truncate(1);
        for (n, text) in (3..).zip(&texts) {
            moved.rows.push(Row { work: WorkId::apart(n).unwrap(), ..row(1, text) });
        }
        assert!(moved.ledger().says_the_same(&before));
    }

    /// What markers say of a peer, or of rows of this site.
    fn bodies() -> impl Strategy<Value = Vec<String>> {
        let peer = prop_oneof![
            Just("N"),
            Just("C as 900"),
            Just("N as 4711, D as \"x y\""),
            Just("D as 5, C as 901"),
            Just("N as 4711"),
        ];
        let of_peer = (peer, proptest::option::of(group_strategy()))
            .prop_map(|(peer, group)| group.map_or(peer.to_owned(), |group| format!("{peer}: {group}")));
        // Rows that are entries by a word, rows that are replaced, and a marker pasted once more.
        let of_rows = prop_oneof![
            (1_i64..60).prop_map(|row| format!("1: {row}")),
            (100_i64..104).prop_map(|row| format!("1: lost {row}")),
            (100_i64..106).prop_map(|row| format!("paste {row}")),
        ];
        proptest::collection::vec(prop_oneof![3 => of_peer, 1 => of_rows], 1..12)
    }

    fn say_all(table: &mut Table, bodies: &[String]) {
        for body in bodies {
            // No bridge says of a row that does not stand there yet that it is replaced.
            let replaced = body.strip_prefix("1: lost ").and_then(|row| row.parse::<i64>().ok());
            if replaced.is_some_and(|row| row >= table.next()) {
                continue;
            }
            match body.strip_prefix("paste ").and_then(|row| row.parse::<usize>().ok()) {
                Some(row) => {
                    if let Some(text) = table.rows.get(row - 100).and_then(|row| row.marker.clone()) {
                        table.paste(&text);
                    }
                }
                None => table.say(body),
            }
        }
    }

    proptest! {
        #[test]
        fn folded_markers_say_what_all_said_and_the_old_ones_say_nothing_more(
            first in bodies(), later in bodies(), last in bodies(), width in prop_oneof![Just(None), (140_usize..240).prop_map(Some)],
        ) {
            let mut plain = Table::new(scribe(1, width));
            say_all(&mut plain, &first);
            let before = plain.ledger();
            let mut table = Table::new(scribe(1, width));
            table.rows = plain.rows.clone();
            let gone = table.compact();
            let after = table.ledger();
            prop_assert!(after.says_the_same(&before), "{:#?}\n{:#?}", plain.texts(), table.texts());
            prop_assert_eq!(after.era(), 1);
            prop_assert!(table.rows.iter().all(|row| after.is_marker(row.work)));

            // Old markers come back wherever somebody puts them.
            for text in &gone {
                table.paste(text);
            }
            let pasted = table.ledger();
            prop_assert!(pasted.says_the_same(&before), "{:#?}", table.texts());
            prop_assert!(table.rows.iter().all(|row| pasted.is_marker(row.work)));

            // What is said later counts as it would have; `1: lost` and pasting speak of rows, which are others now.
            let said: Vec<_> = later.into_iter().filter(|body| !body.starts_with("paste") && !body.starts_with("1:")).collect();
            say_all(&mut plain, &said);
            say_all(&mut table, &said);
            prop_assert!(table.ledger().says_the_same(&plain.ledger()), "{:#?}\n{:#?}", plain.texts(), table.texts());

            // Once more, beside what was pasted.
            table.compact();
            prop_assert!(table.ledger().says_the_same(&plain.ledger()), "{:#?}", table.texts());
            let said: Vec<_> = last.into_iter().filter(|body| !body.starts_with("paste") && !body.starts_with("1:")).collect();
            say_all(&mut plain, &said);
            say_all(&mut table, &said);
            gone.iter().for_each(|text| table.paste(text));
            prop_assert!(table.ledger().says_the_same(&plain.ledger()), "{:#?}\n{:#?}", plain.texts(), table.texts());

            // And under a key that is lost, on an operator's word.
            let vouched = Ledger::fold_vouched(&scribe(2, width), &problem(), &table.rows);
            prop_assert!(vouched.says_the_same(&table.ledger()), "{:#?}", table.texts());
        }
    }
}
