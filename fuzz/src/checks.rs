//! What has to hold of any text and any bytes that come from outside. The fuzz targets call these functions with
//! whatever libFuzzer makes up, and `crates/core/tests/hostile.rs` includes this file and calls them with a few thousand
//! mutations of good input, so that a machine without a fuzzer runs them too.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Debug, Display};
use std::str::FromStr;

use landbridge_core::account::View;
use landbridge_core::compaction::{Folded, fold};
use landbridge_core::entry::Row;
use landbridge_core::judge::{self, Deliverer, Outcome, Repair, Verdict, judge, lookups};
use landbridge_core::message::{
    Account, Beliefs, Checked, Compare, Compared, Deliveries, Delivery, LossRecorded, Lost, Missing, Pull, Push,
    Receipt, Receipts, Verify, from_bytes, to_bytes,
};
use landbridge_core::pending::{Sent, confirm, diverged, pending};
use landbridge_core::scribe::DEFAULT_PHRASE;
use landbridge_core::value::{hex, iso_timestamp, same, sql_timestamp, unhex};
use landbridge_core::{
    Digest, Group, IdSet, Keyring, Ledger, Marker, Origin, ProblemId, ProblemName, Reading, Scribe, SiteName, WorkId,
};
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
    check::<Verify>(bytes);
    check::<Beliefs>(bytes);
    check::<Compare>(bytes);
    check::<Compared>(bytes);
    check::<Lost>(bytes);
    check::<LossRecorded>(bytes);
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
    // One under a lost key, replaced and now gone, suspends when it comes back, as any marker does that nobody here knows.
    let is_ours = |text: &String| matches!(scribe.read(ledger.problem(), text), Reading::Marker(_));
    let gone = rows.iter().filter(|row| delete.contains(row.work)).filter_map(|row| row.marker.clone()).filter(is_ours);
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

/// The rows of a problem, by number: entries, and bodies of markers, which are sealed here.
struct History {
    scribe: Scribe,
    problem: ProblemId,
    rows: BTreeMap<WorkId, String>,
}

impl History {
    fn new(site: &str, lines: &[&str]) -> Option<Self> {
        let scribe = Scribe::new(site.parse().ok()?, "work_history", vec![], Keyring::new([7; 32]), None);
        let mut history = History { scribe, problem: "ABC".parse().ok()?, rows: BTreeMap::new() };
        for line in lines {
            match Marker::parse(line, DEFAULT_PHRASE) {
                Some(marker) => history.write(marker),
                None => {
                    history.append((*line).to_owned())?;
                }
            }
        }
        Some(history)
    }

    fn append(&mut self, text: String) -> Option<WorkId> {
        let work = WorkId::new(self.rows.keys().next_back().map_or(1, |last| last.get() + 1))?;
        self.rows.insert(work, text);
        Some(work)
    }

    /// Every text that a bridge writes is a marker of its own that verifies.
    fn write(&mut self, marker: Marker) {
        let texts = self.ledger().write(&self.scribe, marker);
        for text in texts.into_iter().flatten() {
            assert!(matches!(self.scribe.read(&self.problem, &text), Reading::Marker(_)), "{text}");
            self.append(text);
        }
    }

    fn heads(&self) -> Vec<Row> {
        let begins = |text: &String| text.starts_with(DEFAULT_PHRASE);
        let head = |(work, text): (&WorkId, &String)| Row {
            work: *work,
            marker: begins(text).then(|| text.clone()),
            open: work.get() % 5 != 2,
            bytes: text.len() as u64,
        };
        self.rows.iter().map(head).collect()
    }

    fn ledger(&self) -> Ledger {
        Ledger::fold(&self.scribe, &self.problem, &self.heads())
    }

    fn digests(&self, rows: impl IntoIterator<Item = WorkId>) -> BTreeMap<WorkId, Digest> {
        rows.into_iter().filter_map(|work| Some((work, Digest::of(self.rows.get(&work)?)))).collect()
    }
}

/// Whatever is delivered is judged; what is appended is what the marker then says, and the same delivery once more appends
/// nothing.
pub fn exchange(bytes: &[u8]) {
    let (from, deliveries) = match (from_bytes::<Push>(bytes), from_bytes::<Deliveries>(bytes)) {
        (Ok(push), _) => (push.from, push.deliveries),
        (_, Ok(answer)) => match "1".parse() {
            Ok(from) => (from, answer.deliveries),
            Err(_) => return,
        },
        _ => return,
    };
    let lines = [
        "open ticket for analysis",
        "an internal note of N",
        "written at N",
        "copy in system 1: 1 from 1; 3",
        "written at C",
        "copy in system 1: 5 from C/3",
        "gone",
        "copy in system 1: 7 from 2; 90 from 90; stay 7",
    ];
    let (nothing, given_back) = (Repair::default(), gives_back_everything());
    let ways = deliveries.iter().flat_map(|delivery| [(delivery, &nothing), (delivery, &given_back)]);
    for (delivery, repair) in ways {
        let Some(mut here) = History::new("N", &lines) else { return };
        if from == *here.scribe.site() {
            return;
        }
        let first = take(&mut here, &from, delivery, repair);
        let after = here.rows.clone();
        let second = take(&mut here, &from, delivery, repair);
        for (first, second) in first.iter().zip(&second) {
            match first {
                Verdict::Known(_) | Verdict::Fresh | Verdict::Differs(_) => {
                    assert!(matches!(second, Verdict::Known(_)), "{first:?}, then {second:?}");
                }
                Verdict::Wanted | Verdict::Recognised(_) | Verdict::Refused(_) => assert_eq!(first, second),
            }
        }
        assert_eq!(here.rows, after, "the same delivery twice");
    }
}

/// The repair of a site that lost all that it ever wrote.
fn gives_back_everything() -> Repair {
    let all: BTreeMap<SiteName, IdSet> = "N".parse().into_iter().map(|n| (n, IdSet::all())).collect();
    let missing = Missing { origins: all.into(), ..Missing::default() };
    Repair::new("ABC".parse().map(|problem| (problem, missing)), false)
}

/// As the flow does it, `repair` aside.
fn take(here: &mut History, from: &SiteName, delivery: &Delivery, repair: &Repair) -> Vec<Verdict> {
    let relay_from: BTreeSet<SiteName> = ["C".parse()].into_iter().flatten().collect();
    let deliverer = Deliverer { from, relay_from: &relay_from, entry_bytes_max: 1000, repair };
    let (ledger, rows) = (here.ledger(), here.heads());
    let asked = lookups(&ledger, &rows, &deliverer, &delivery.entries);
    assert!(asked.iter().all(|work| here.rows.contains_key(work)), "only rows that are here are read");
    let texts = here.digests(asked);
    let verdicts = judge(&here.scribe, &deliverer, &ledger, &rows, &texts, &delivery.entries);
    assert_eq!(verdicts.len(), delivery.entries.len());
    let (mut outcomes, mut behind) = (Vec::new(), false);
    for (entry, verdict) in delivery.entries.iter().zip(&verdicts) {
        let is_back = *repair != Repair::default() && entry.origin.site == *here.scribe.site();
        let speaks = entry.origin.site == *from || relay_from.contains(&entry.origin.site) || is_back;
        outcomes.push(match (verdict, &entry.text) {
            (Verdict::Known(row), _) => Outcome::Known(*row),
            (Verdict::Fresh | Verdict::Differs(_), text) => {
                assert!(speaks && !behind, "{entry:?} is {verdict:?}");
                assert!(entry.bytes() <= 1000);
                let text = text.clone().filter(|text| !here.scribe.is_complete(text));
                match text.and_then(|text| here.append(text)) {
                    Some(work) => Outcome::Appended(work),
                    None => unreachable!("{entry:?} is {verdict:?}"),
                }
            }
            (Verdict::Wanted | Verdict::Recognised(_) | Verdict::Refused(_), _) => Outcome::Absent,
        });
        behind |= *verdict == Verdict::Wanted;
    }
    let marker = judge::record(&ledger, from, delivery, &outcomes, false, &BTreeMap::new());
    if !marker.says_nothing() {
        here.write(marker);
    }
    let now = here.ledger();
    assert!(now.unverified().is_empty());
    for (entry, outcome) in delivery.entries.iter().zip(&outcomes) {
        if let Outcome::Appended(work) = outcome {
            assert_eq!(now.origin(*work), entry.origin);
            assert!(now.exchanged_row(from, *work) && now.stays(*work) != entry.onward);
            assert_eq!(now.is_own(*work), entry.origin.site == *here.scribe.site());
        }
        if let Outcome::Known(work) = outcome {
            assert!(now.exchanged_row(from, *work));
        }
    }
    verdicts
}

/// A receipt, forged or not, marks no more than was sent to that peer and is still as it was sent; once.
pub fn receipts(bytes: &[u8]) {
    let receipts = match (from_bytes::<Receipts>(bytes), from_bytes::<Pull>(bytes)) {
        (Ok(answer), _) => answer.receipts,
        (_, Ok(pull)) => pull.receipts,
        _ => return,
    };
    receipts.iter().for_each(receipt);
}

fn receipt(receipt: &Receipt) {
    let lines = ["a", "b", "copy in system N: 1", "c", "from C", "copy in system C: 5 from 9", "not sent"];
    let (Some(mut here), Ok(peer)) = (History::new("1", &lines), "N".parse::<SiteName>()) else { return };
    let before = here.ledger();
    let row = |n: &i64| {
        let work = WorkId::new(*n)?;
        Some(Sent { work, origin: before.origin(work), digest: Digest::of(here.rows.get(&work)?) })
    };
    let mut sent: Vec<Sent> = [1, 2, 4, 5].iter().filter_map(row).collect();
    if let Some(edited) = sent.iter_mut().find(|s| s.work.get() == 4) {
        edited.digest = Digest::of("what it was when it was sent");
    }
    let now = here.digests(sent.iter().map(|s| s.work));
    let marked = confirm(&before, &peer, &sent, &now, receipt);
    for work in marked.iter() {
        let is_claimed = receipt.holds.contains(&before.origin(work));
        assert!(is_claimed && [2, 5].contains(&work.get()), "{work} is marked by {receipt:?}");
    }
    let believed = before.exchanged(&peer);
    let missing = diverged(&believed, receipt);
    for (site, ids) in missing.by_site() {
        assert!(ids.iter().all(|work| believed.contains(&Origin::new(site.clone(), work))));
    }
    let mut marker = before.marker_for(&peer, &BTreeMap::new());
    marker.say(Group::Held, marked.clone());
    if !marker.says_nothing() {
        here.write(marker);
    }
    let after = here.ledger();
    for work in here.rows.keys() {
        assert_eq!(after.holds(&peer, *work), before.holds(&peer, *work) || marked.contains(*work));
    }
    assert!(confirm(&after, &peer, &sent, &now, receipt).is_empty(), "a receipt that comes twice");
}

/// The first two lines are values of a column. Each has one form, which is the same value and does not change any more.
pub fn value(text: &str) {
    let (a, b) = text.split_once('\n').unwrap_or((text, ""));
    assert_eq!(same(Some(a), Some(b)), same(Some(b), Some(a)), "{a:?} {b:?}");
    assert!(same(Some(a), Some(a)) && !same(Some(a), None));
    for zoned in [true, false] {
        let iso = iso_timestamp(a, zoned);
        assert_eq!(iso_timestamp(&iso, zoned), iso, "{a:?}");
        assert!(same(Some(a), Some(&iso)), "{a:?} {iso:?}");
        assert_eq!(sql_timestamp(&iso), sql_timestamp(a));
    }
    assert_eq!(unhex(&hex(a.as_bytes())).as_deref(), Some(a.as_bytes()));
    if let Some(bytes) = unhex(a) {
        assert!(hex(&bytes).eq_ignore_ascii_case(a), "{a:?}");
    }
}

/// Whatever is taken as a name or a number reads back as the same.
pub fn name(text: &str) {
    fn check<T: FromStr + Display + PartialEq>(text: &str) {
        let Ok(name) = text.parse::<T>() else { return };
        let again = name.to_string();
        assert!(again.parse::<T>().is_ok_and(|same| same == name), "{text:?} reads back as {again:?}");
    }
    check::<SiteName>(text);
    check::<ProblemId>(text);
    check::<ProblemName>(text);
    check::<Origin>(text);
    check::<WorkId>(text);
    check::<Digest>(text);
}

/// A key file reads back as it is written, and what is none is refused without a word of what it says.
pub fn key_file(text: &str) {
    match Keyring::parse(text) {
        Ok(keys) => {
            assert!(Keyring::parse(&keys.to_file()).is_ok_and(|again| again == keys));
            assert!(!format!("{keys:?}").contains("0w3ge1r7"));
        }
        Err(why) => {
            let (shown, debug) = (why.to_string(), format!("{why:?}"));
            let words = text.split_whitespace().filter(|word| word.len() > 16 && !word.contains("landbridge-key-1"));
            assert!(words.into_iter().all(|word| !shown.contains(word) && !debug.contains(word)), "{shown}");
        }
    }
}

/// What a peer says that it has, or that it lost, changes no more than what is recorded of that peer; and it is told of
/// nothing that it may not see.
pub fn comparison(bytes: &[u8]) {
    if let Ok(compare) = from_bytes::<Compare>(bytes) {
        compare.problems.iter().for_each(lacking);
    }
    if let Ok(compared) = from_bytes::<Compared>(bytes) {
        for answered in compared.problems.iter().flatten() {
            lacking(&answered.account);
            lost(&answered.lacks);
        }
    }
    if let Ok(said) = from_bytes::<Lost>(bytes) {
        said.problems.iter().for_each(|of| lost(&of.lost));
    }
}

/// Site N, where row 2 is not open to site 1, row 7 is gone, and row 9 is of an origin that is here with another text.
fn compared_history() -> Option<(History, SiteName)> {
    let lines = [
        "open ticket for analysis",
        "an internal note of N",
        "written at N",
        "copy in system 1: 1 from 1; 3",
        "written at C",
        "copy in system 1: 5 from C/3",
        "gone",
        "copy in system 1: 7 from 2; adopted 2",
        "another under the same number",
        "copy in system 1: 9 from 1",
    ];
    let mut history = History::new("N", &lines)?;
    history.rows.remove(&WorkId::new(7)?);
    Some((history, "1".parse().ok()?))
}

fn lacking(theirs: &Account) {
    let Some((here, peer)) = compared_history() else { return };
    let (ledger, rows) = (here.ledger(), here.heads());
    let view = View { ledger: &ledger, rows: &rows, peer: &peer, relay: false };
    let digests = here.digests(view.lookups(Some(theirs)));
    let missing = view.lacks(theirs, &digests);
    let mut claimed = theirs.exchanged.clone();
    theirs.texts.iter().for_each(|text| claimed.insert(&text.origin));
    let mut unclaimed = missing.all();
    unclaimed.subtract(&claimed);
    assert!(unclaimed.is_empty(), "{missing:?} of {theirs:?}");
    for (work, _) in here.rows.iter().filter(|(work, _)| !ledger.is_marker(**work)) {
        let told = rows.iter().any(|row| row.work == *work && view.tells(row));
        assert!(!told || !missing.origins.contains(&ledger.origin(*work)), "{work} is here");
    }
    let account = view.account(&digests);
    assert!(account.texts.iter().all(|text| text.digest != Digest::of("an internal note of N")));
}

fn lost(missing: &Missing) {
    let Some((mut here, peer)) = compared_history() else { return };
    let (before, rows) = (here.ledger(), here.heads());
    let view = View { ledger: &before, rows: &rows, peer: &peer, relay: false };
    let digests = here.digests(view.lost_lookups(missing));
    let gone = view.lost_rows(missing, &digests);
    for work in gone.iter() {
        assert!(before.holds(&peer, work) && missing.all().contains(&before.origin(work)), "{work} of {missing:?}");
    }
    let mut marker = before.marker_for(&peer, &BTreeMap::new());
    marker.say(Group::Lost, gone.clone());
    if !marker.says_nothing() {
        here.write(marker);
    }
    let (after, rows) = (here.ledger(), here.heads());
    for work in here.rows.keys() {
        assert_eq!(after.holds(&peer, *work), before.holds(&peer, *work) && !gone.contains(*work), "{work}");
        assert_eq!(after.origin(*work), before.origin(*work));
    }
    let again = View { ledger: &after, rows: &rows, peer: &peer, relay: false }.lost_rows(missing, &digests);
    assert!(again.is_empty(), "{missing:?} is lost twice");
}
