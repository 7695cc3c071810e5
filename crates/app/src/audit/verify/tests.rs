use proptest::prelude::*;

use super::super::chain::tests::{file, keys, leaving, write};
use super::super::chain::{After, Torn};
use super::*;

const TEXTS: [&str; 6] = ["open ticket", "solve ticket", "reopen", "waiting", "solved!", "closed"];

fn verify(bytes: &[u8], keys: Option<&Keys>, heads: Vec<Head>) -> Report {
    verify_files(&[bytes], keys, heads)
}

fn verify_files(files: &[&[u8]], keys: Option<&Keys>, heads: Vec<Head>) -> Report {
    let mut verifier = Verifier::new(keys, heads);
    for (n, bytes) in files.iter().enumerate() {
        verifier.begin_file(&format!("file {n}"));
        for line in bytes.split_inclusive(|b| *b == b'\n') {
            let whole = line.strip_suffix(b"\n");
            verifier.line(whole.unwrap_or(line), whole.is_some());
        }
    }
    verifier.finish()
}

fn lines(bytes: &[u8]) -> Vec<Vec<u8>> {
    bytes.split_inclusive(|b| *b == b'\n').map(<[u8]>::to_vec).collect()
}

fn wrong(report: &Report) -> (How, u64) {
    let wrong = report.wrong.as_ref().unwrap_or_else(|| panic!("nothing is wrong: {report:?}"));
    (wrong.how, wrong.line)
}

#[test]
fn what_was_written_is_genuine() {
    let keys = keys(1);
    let (bytes, head) = file(&TEXTS, &keys);
    let report = verify(&bytes, Some(&keys), vec![head]);
    assert_eq!((report.wrong, report.lines, report.entries, report.sealed), (None, 7, 6, 7));
    assert_eq!((report.head, report.vouched, report.heads_met), (Some(head), Some(7), 1));
}

#[test]
fn each_kind_of_tampering_has_its_name() {
    let keys = keys(1);
    let all = lines(&file(&TEXTS, &keys).0);
    let (other, _) = file(&["written by somebody else"], &self::keys(2));
    let other = lines(&other).remove(1);
    let with = |change: &dyn Fn(&mut Vec<Vec<u8>>)| {
        let mut all = all.clone();
        change(&mut all);
        wrong(&verify(&all.concat(), Some(&keys), vec![]))
    };
    assert_eq!(with(&|all| all[3][40] ^= 1), (How::Changed, 4));
    assert_eq!(with(&|all| drop(all.remove(3))), (How::Missing, 4));
    assert_eq!(with(&|all| drop(all.remove(0))), (How::Missing, 1));
    assert_eq!(with(&|all| all.swap(3, 4)), (How::Reordered, 4));
    assert_eq!(with(&|all| all.insert(5, all[2].clone())), (How::Inserted, 6));
    assert_eq!(with(&|all| all.insert(3, other.clone())), (How::Inserted, 4));
    assert_eq!(with(&|all| all.insert(3, b"hello\n".to_vec())), (How::Inserted, 4));
    assert_eq!(with(&|all| all[3] = other.clone()), (How::Changed, 4));
    assert_eq!(with(&|all| all[3].truncate(60)), (How::Changed, 4));
    assert_eq!(
        with(&|all| {
            all[3].truncate(60);
            all[3].push(b'\n');
            drop(all.remove(4))
        }),
        (How::Torn, 4)
    );
}

#[test]
fn without_the_key_a_line_cannot_be_rewritten_and_with_an_unknown_one_nothing_vouches_for_it() {
    let (keys, other) = (keys(1), keys(2));
    let mut all = lines(&file(&TEXTS, &keys).0);
    // Whoever has no key can compute hashes all the same.
    let (forged, _) = file(&["open ticket", "something else", "a", "b", "c", "d"], &other);
    let report = verify(&forged, Some(&keys), vec![]);
    assert_eq!((report.wrong, report.vouched, report.sealed), (None, None, 0));
    assert_eq!(report.unchecked.values().map(|u| (u.first, u.last, u.lines)).collect::<Vec<_>>(), [(1, 7, 7)]);
    let id = |keys: &Keys| keys.signing().unwrap().id().to_string();
    let forged = String::from_utf8(forged).unwrap().replace(&id(&other), &id(&keys));
    let rehashed: Vec<u8> = lines(forged.as_bytes()).into_iter().flat_map(rehash(Hash256::ZERO)).collect();
    assert_eq!(wrong(&verify(&rehashed, Some(&keys), vec![])), (How::Changed, 1));
    assert_eq!(verify(&rehashed, None, vec![]).wrong, None, "the chain alone is whole");
    all[6] = lines(&rehashed).remove(6);
    assert_eq!(wrong(&verify(&all.concat(), None, vec![])), (How::Changed, 7));
}

/// Computes the hashes of changed lines anew, as somebody without the key would.
fn rehash(mut before: Hash256) -> impl FnMut(Vec<u8>) -> Vec<u8> {
    move |line| {
        let text = String::from_utf8(line).unwrap();
        let (body, tail) = text.split_once(",\"hash\":\"").unwrap();
        let (body, _) = body.rsplit_once("\"prev\":\"").unwrap();
        let body = format!("{body}\"prev\":\"{before}\"");
        before = Hash256::of(body.as_bytes());
        format!("{body},\"hash\":\"{before}{}", &tail[64..]).into_bytes()
    }
}

#[test]
fn a_torn_write_is_explained_by_the_line_behind_it_and_by_nothing_else() {
    let keys = keys(1);
    let (mut bytes, mut head) = file(&TEXTS[..2], &keys);
    let good = bytes.clone();
    // Of a batch of three lines the first is whole and the second is not.
    write(&mut bytes, &mut head, &keys, vec![leaving(&["a"], (1, 3), &keys)]);
    let (mut rest, mut lost) = (Vec::new(), head);
    write(&mut rest, &mut lost, &keys, vec![leaving(&["b"], (2, 3), &keys)]);
    bytes.extend(&rest[..70]);
    let report = verify(&bytes, Some(&keys), vec![]);
    assert_eq!((&report.wrong, report.torn, report.not_left), (&None, 1, 1));
    assert_eq!(report.torn_first[0].said_by, None);

    let mut whole = bytes.clone();
    whole.push(b'\n');
    let torn = Torn { bytes: 71, blake3: Hash256::of(&[&rest[..70], b"\n"].concat()) };
    write(&mut whole, &mut head, &keys, vec![What::Torn(torn.clone()), leaving(&["a", "b"], (1, 1), &keys)]);
    let report = verify(&whole, Some(&keys), vec![head]);
    assert_eq!((&report.wrong, report.torn, report.not_left), (&None, 1, 1), "{report:?}");
    assert_eq!(report.torn_first[0].said_by, Some(5));

    // Another end is not what the line speaks of; nor may it speak of nothing.
    let mut other = whole.clone();
    other[bytes.len() - 3] ^= 1;
    assert_eq!(wrong(&verify(&other, Some(&keys), vec![])).1, 5);
    let mut none = good;
    let mut head = verify(&none, Some(&keys), vec![]).head.unwrap();
    write(&mut none, &mut head, &keys, vec![What::Torn(torn)]);
    assert_eq!(wrong(&verify(&none, Some(&keys), vec![])), (How::Missing, 4));
}

#[test]
fn files_continue_each_other_in_their_order_and_a_missing_one_is_named() {
    let keys = keys(1);
    let (one, mut head) = file(&TEXTS[..2], &keys);
    let mut rotate = |texts: &[&str]| {
        let mut out = Vec::new();
        let after = Some(After { file: Some("before".into()), seq: head.seq, hash: head.hash });
        let begin = What::Begin { after, torn: None, accepted: None };
        let whats = std::iter::once(begin).chain(texts.iter().map(|text| leaving(&[text], (1, 1), &keys))).collect();
        write(&mut out, &mut head, &keys, whats);
        out
    };
    let (two, three) = (rotate(&["c"]), rotate(&["d"]));
    let report = verify_files(&[&one, &two, &three], Some(&keys), vec![]);
    assert_eq!((&report.wrong, report.lines, report.entries, &report.after), (&None, 7, 4, &None));
    let report = verify_files(&[&two, &three], Some(&keys), vec![]);
    assert_eq!((&report.wrong, report.after.unwrap().seq, report.first), (&None, 3, Some(4)));
    let missing = verify_files(&[&one, &three], Some(&keys), vec![]).wrong.unwrap();
    assert_eq!((missing.how, missing.file.as_str(), missing.seq), (How::Missing, "file 1", 4));
    let order = verify_files(&[&two, &one], Some(&keys), vec![]).wrong.unwrap();
    assert!(order.how == How::Reordered && order.why.contains("oldest first"), "{order:?}");
    assert_eq!(verify(&[one, two, three].concat(), Some(&keys), vec![]).wrong, None, "joined, they are one");
}

#[test]
fn a_cut_end_is_seen_by_a_head_that_was_kept_and_not_without() {
    let keys = keys(1);
    let (bytes, head) = file(&TEXTS, &keys);
    let cut: Vec<u8> = lines(&bytes)[..4].concat();
    assert_eq!(verify(&cut, Some(&keys), vec![]).wrong, None);
    let wrong = verify(&cut, Some(&keys), vec![head]).wrong.unwrap();
    assert_eq!((wrong.how, wrong.seq), (How::Missing, 5), "the first that is missing");
    let (other, _) = file(&["another history", "of", "the", "same", "length", "x", "y"], &keys);
    let report = verify(&other, Some(&keys), vec![head]);
    let wrong = report.wrong.unwrap();
    assert_eq!((wrong.how, wrong.line, report.lines), (How::Changed, 7, 6), "six are as written before the seventh");
    let wrong = verify(b"", Some(&keys), vec![head]).wrong.unwrap();
    assert!(wrong.seq == 1 && wrong.why.contains("is empty"), "{wrong:?}");
    let early = verify(&bytes, Some(&keys), vec![]).head.map(|h| Head { seq: 3, ..h }).unwrap();
    assert_eq!(verify(&bytes, Some(&keys), vec![early]).wrong.unwrap().line, 3);
}

#[derive(Debug, Clone)]
enum Edit {
    Flip(usize, u8),
    Delete(usize, usize),
    Insert(usize, Vec<u8>),
    Swap(usize, usize),
    Copy(usize, usize),
    Cut(usize),
}

fn edits() -> impl Strategy<Value = Edit> {
    let n = any::<proptest::sample::Index>().prop_map(|n| n.index(1 << 20));
    prop_oneof![
        (n.clone(), 1..=255_u8).prop_map(|(at, with)| Edit::Flip(at, with)),
        (n.clone(), 1..400_usize).prop_map(|(at, bytes)| Edit::Delete(at, bytes)),
        (n.clone(), proptest::collection::vec(any::<u8>(), 1..40)).prop_map(|(at, what)| Edit::Insert(at, what)),
        (n.clone(), n.clone()).prop_map(|(a, b)| Edit::Swap(a, b)),
        (n.clone(), n.clone()).prop_map(|(a, b)| Edit::Copy(a, b)),
        n.prop_map(Edit::Cut),
    ]
}

fn apply(bytes: &mut Vec<u8>, edit: &Edit) {
    let lines_of = |bytes: &[u8]| lines(bytes);
    match edit {
        _ if bytes.is_empty() => {}
        Edit::Flip(at, with) => {
            let at = at % bytes.len();
            bytes[at] ^= with;
        }
        Edit::Delete(at, many) => {
            let at = at % bytes.len();
            bytes.drain(at..bytes.len().min(at + many));
        }
        Edit::Insert(at, what) => {
            let at = at % bytes.len();
            bytes.splice(at..at, what.iter().copied());
        }
        Edit::Swap(a, b) => {
            let mut all = lines_of(bytes);
            let (a, b) = (a % all.len(), b % all.len());
            all.swap(a, b);
            *bytes = all.concat();
        }
        Edit::Copy(a, b) => {
            let mut all = lines_of(bytes);
            let copy = all[a % all.len()].clone();
            let b = b % (all.len() + 1);
            all.insert(b, copy);
            *bytes = all.concat();
        }
        Edit::Cut(at) => bytes.truncate(at % bytes.len()),
    }
}

proptest! {
    #[test]
    fn no_edit_goes_unnoticed(edits in proptest::collection::vec(edits(), 1..4)) {
        let keys = keys(1);
        let (written, head) = file(&TEXTS, &keys);
        let mut bytes = written.clone();
        edits.iter().for_each(|edit| apply(&mut bytes, edit));
        let report = verify(&bytes, Some(&keys), vec![head]);
        // What was appended behind the head, and is no line, is what a torn write leaves; so is a line end too few.
        let whole = bytes.starts_with(&written[..written.len() - 1]);
        let nothing = bytes.len() >= written.len() - 1 && bytes.len() <= written.len();
        prop_assert_eq!(report.wrong.is_none(), whole && (nothing || report.torn > 0), "{:?}", report);
        if let Some(wrong) = &report.wrong {
            // A last line without its end says the same.
            let text = |line: &[u8]| line.strip_suffix(b"\n").unwrap_or(line).to_vec();
            let (now, then) = (lines(&bytes), lines(&written));
            let same = now.iter().zip(&then).take_while(|(a, b)| text(a) == text(b)).count() as u64;
            prop_assert!(wrong.line <= same + 1 , "the first wrong line is {}, not {:?}", same + 1, wrong);
        }
    }
}
