//! What has to hold of any text and any bytes that come from outside. The fuzz targets call these functions with
//! whatever libFuzzer makes up, and `crates/core/tests/hostile.rs` includes this file and calls them with a few thousand
//! mutations of good input, so that a machine without a fuzzer runs them too.

use std::collections::BTreeSet;
use std::fmt::Debug;

use landbridge_core::compaction::{Folded, fold};
use landbridge_core::entry::Row;
use landbridge_core::message::{Checked, Deliveries, Pull, Push, Receipts, from_bytes, to_bytes};
use landbridge_core::pending::pending;
use landbridge_core::scribe::DEFAULT_PHRASE;
use landbridge_core::{Group, IdSet, Keyring, Ledger, Marker, ProblemId, Reading, Scribe, SiteName, WorkId};
use serde::{Serialize, de::DeserializeOwned};

/// The site, the history, the problem and the key of `testdata/marker`.
fn scribe() -> Option<(Scribe, ProblemId)> {
    let scribe = Scribe::new("1".parse().ok()?, "work_history", vec![], Keyring::new([7; 32]), None);
    Some((scribe, "ABC".parse().ok()?))
}

/// Any text is an entry or a marker, and a marker's text reads back as the same marker, with white space behind it too.
pub fn marker(text: &str) {
    let Some((scribe, problem)) = scribe() else { return };
    let reading = scribe.read(&problem, text);
    assert_eq!(scribe.is_complete(text), reading != Reading::Entry);
    assert_eq!(scribe.read(&problem, &format!("{text} \n")), reading);
    let bare = Marker::parse(text, DEFAULT_PHRASE);
    if let (Reading::Marker(marker) | Reading::Unverified(marker), _) | (_, Some(marker)) = (reading, bare) {
        assert_eq!(Marker::parse(&marker.body(DEFAULT_PHRASE), DEFAULT_PHRASE), Some(marker.clone()));
        for part in marker.split(DEFAULT_PHRASE, 200).into_iter().flatten() {
            let body = part.body(DEFAULT_PHRASE);
            assert!(body.chars().count() <= 200, "{body}");
            assert_eq!(Marker::parse(&body, DEFAULT_PHRASE), Some(part));
        }
    }
}

/// Whatever reads as a set of ids reads back as the same set, and the set's arithmetic agrees with itself.
pub fn id_set(text: &str) {
    let (left, right) = text.trim_end().split_once(';').unwrap_or((text, "2-5,7"));
    let (Ok(a), Ok(b)) = (left.parse::<IdSet>(), right.parse::<IdSet>()) else { return };
    assert_eq!(a.to_string().parse(), Ok(a.clone()));
    let (mut both, mut rest, common) = (a.clone(), a.clone(), a.intersection(&b));
    both.extend(&b);
    rest.subtract(&b);
    assert_eq!(u128::from(both.len()), u128::from(a.len()) + u128::from(b.len()) - u128::from(common.len()));
    rest.extend(&common);
    assert_eq!(rest, a);
}

/// Whatever is taken as a message goes out again as a message that is equal.
pub fn message(bytes: &[u8]) {
    fn check<T: DeserializeOwned + Serialize + Checked + PartialEq + Debug>(bytes: &[u8]) {
        let Ok(message) = from_bytes::<T>(bytes) else { return };
        let again = from_bytes::<T>(&to_bytes(&message));
        assert!(again.as_ref().is_ok_and(|again| *again == message), "{message:?}\nread back as {again:?}");
    }
    check::<Push>(bytes);
    check::<Receipts>(bytes);
    check::<Pull>(bytes);
    check::<Deliveries>(bytes);
}

/// The lines of `text` are the rows of a problem. A line that reads as a marker's body, with numbers that a history
/// could have, is a row with its seal besides, so that the fold is reached and not only the refusal.
pub fn ledger(text: &str) {
    let Some((scribe, problem)) = scribe() else { return };
    let (mut texts, mut taken) = (Vec::new(), BTreeSet::new());
    for line in text.lines() {
        let marker = Marker::parse(line, DEFAULT_PHRASE).filter(is_small);
        match marker.and_then(|marker| scribe.write(&problem, marker, &taken).ok()) {
            Some(sealed) => {
                taken.extend(sealed.iter().cloned());
                texts.extend(sealed);
            }
            None => texts.push(line.to_owned()),
        }
    }
    let row = |(n, text): (i64, &String)| {
        Some(Row { work: WorkId::new(n)?, marker: Some(text.clone()), open: true, bytes: text.len() as u64 })
    };
    let rows: Vec<Row> = (1..).zip(&texts).filter_map(row).collect();
    let ledger = Ledger::fold(&scribe, &problem, &rows);
    let peers: Vec<SiteName> = ledger.peers().into_iter().cloned().collect();
    for row in &rows {
        let suspends = ledger.unverified().iter().any(|(work, _)| *work == row.work);
        assert!(!(suspends && ledger.is_marker(row.work)), "{row:?} is trusted and not trusted");
    }
    for peer in &peers {
        let owed = pending(&ledger, &rows, peer, true);
        assert!(owed.is_empty() || ledger.unverified().is_empty(), "a suspended problem owes nothing");
        assert!(owed.iter().all(|row| !ledger.is_marker(row.work)), "a marker never leaves its site");
    }
    // The same texts once more behind all others, as if somebody had pasted every one of them, change nothing.
    let pasted: Vec<Row> = (1..).zip(texts.iter().chain(&texts)).filter_map(row).collect();
    let again = Ledger::fold(&scribe, &problem, &pasted);
    for peer in &peers {
        assert_eq!(again.exchanged(peer), ledger.exchanged(peer));
    }
    assert_eq!(again.names(), ledger.names());
    folds(&scribe, &ledger, &rows);
    // And under a lost key nothing of it is believed.
    let lost = Ledger::fold(&scribe.with_keys(Keyring::new([8; 32])), &problem, &rows);
    assert!(lost.peers().is_empty() && lost.marker_rows().is_empty());
}

/// Folded, the markers say what they said, and those that are gone say nothing when somebody pastes them.
fn folds(scribe: &Scribe, ledger: &Ledger, rows: &[Row]) {
    // No bridge disowns a row that is not there yet.
    let of_future = ledger.said_disowned().last().is_some_and(|last| last.get() > rows.len() as i64);
    if !ledger.unverified().is_empty() || of_future {
        return;
    }
    let Folded { markers, delete } = fold(ledger, false);
    let mut taken = ledger.marker_texts().clone();
    let mut then: Vec<Row> = rows.iter().filter(|row| !delete.contains(row.work)).cloned().collect();
    let gone = rows.iter().filter(|row| delete.contains(row.work)).filter_map(|row| row.marker.clone());
    let mut next = rows.len() as i64;
    let mut append = |text: String, then: &mut Vec<Row>| {
        next += 1;
        let Some(work) = WorkId::new(next) else { return };
        then.push(Row { work, marker: Some(text), open: true, bytes: 1 });
    };
    for marker in markers {
        let Ok(texts) = scribe.write(ledger.problem(), marker, &taken) else { return };
        taken.extend(texts.iter().cloned());
        texts.into_iter().for_each(|text| append(text, &mut then));
    }
    let after = Ledger::fold(scribe, ledger.problem(), &then);
    assert!(after.says_the_same(ledger), "{rows:?}\nfolded into\n{then:?}");
    gone.for_each(|text| append(text, &mut then));
    let pasted = Ledger::fold(scribe, ledger.problem(), &then);
    assert!(pasted.says_the_same(ledger), "{rows:?}\nfolded and pasted\n{then:?}");
}

fn is_small(marker: &Marker) -> bool {
    marker.groups.iter().all(|group| {
        let rows = match group {
            Group::Held(ids) | Group::Lost(ids) | Group::Adopted(ids) | Group::Stay(ids) => ids,
            Group::Copies(copies) => copies.rows(),
        };
        rows.last().is_none_or(|last| last.get() < 100)
    })
}
