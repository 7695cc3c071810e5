//! What a stranger, a careless person or a broken peer may put into a text or a message. The checks are the fuzz
//! targets' own (`fuzz/src/checks.rs`); here they get a few thousand mutations of good input from a fixed seed, so that
//! they run where no fuzzer is. `LANDBRIDGE_SOAK=1` makes a hundred times as many.
//!
//! Beside it the published test vectors of `docs/marker.md`, which another implementation has to read alike.

#![allow(clippy::panic, reason = "what is not expected is a failed test, in its helpers too")]

use std::collections::BTreeSet;

use landbridge_core::bounds::{Bounds, DEPTH_MAX, Excess, FIELDS_MAX, SITES_MAX};
use landbridge_core::message::{Deliveries, MessageError, Pull, Push, Receipts, from_bytes, from_bytes_within};
use landbridge_core::scribe::DEFAULT_PHRASE;
use landbridge_core::{Keyring, Ledger, Marker, ProblemId, Reading, Scribe, entry::Row};

#[path = "../../../fuzz/src/checks.rs"]
mod checks;
#[path = "../../../fuzz/src/mutate.rs"]
mod mutate;

use mutate::mutations;

const WORKED_EXAMPLE: &str = include_str!("../../../testdata/marker/worked-example.txt");
const FORMS: &str = include_str!("../../../testdata/marker/forms.txt");
const MESSAGES: [&str; 4] = [
    include_str!("../../../fuzz/seeds/message/push.json"),
    include_str!("../../../fuzz/seeds/message/receipts.json"),
    include_str!("../../../fuzz/seeds/message/pull.json"),
    include_str!("../../../fuzz/seeds/message/deliveries.json"),
];
const IDS: [&str; 4] = ["1-2,4", "1-9223372036854775807", "3,5-7;1-9223372036854775807", "2,4,6-8;1,3,5-9"];
const EXCHANGE: &str = include_str!("../../../fuzz/seeds/exchange/known.json");
const COMPARISONS: [&str; 3] = [
    include_str!("../../../fuzz/seeds/comparison/compare.json"),
    include_str!("../../../fuzz/seeds/comparison/compared.json"),
    include_str!("../../../fuzz/seeds/comparison/lost.json"),
];
const FORGED: &str = include_str!("../../../fuzz/seeds/receipts/forged.json");
const VALUES: [&str; 6] = [
    "2026-11-22 13:09:09.250+00\n2026-11-22T13:09:09.25Z",
    "1.50\n15e-1",
    "true\n1",
    "\\x00ff10\n\\x00FF10",
    "-0\n0.0",
    "infinity\n007",
];

/// The scribe of the site, the problem and the text of each line.
fn lines(file: &str) -> impl Iterator<Item = (Scribe, ProblemId, &str)> {
    file.lines().filter_map(|line| {
        let (site, rest) = line.split_once('\t')?;
        let (problem, text) = rest.split_once('\t')?;
        let scribe = Scribe::new(site.parse().ok()?, "work_history", vec![], Keyring::new([7; 32]), None);
        Some((scribe, problem.parse().ok()?, text))
    })
}

#[test]
fn the_published_markers_verify_and_are_what_this_scribe_writes() {
    for file in [WORKED_EXAMPLE, FORMS] {
        let (mut written, mut taken) = (String::new(), BTreeSet::new());
        for (scribe, problem, text) in lines(file) {
            let (body, _) = text.split_at(text.len() - "; seal 0123456789".len());
            let marker = Marker::parse(body, DEFAULT_PHRASE).unwrap_or_else(|| panic!("{text}"));
            let marker = Marker { number: 1, ..marker };
            let texts = scribe.write(&problem, marker, &taken).unwrap();
            written.extend(texts.iter().map(|text| format!("{}\t{problem}\t{text}\n", scribe.site())));
            taken.extend(texts);
        }
        assert_eq!(file, written);
        for (scribe, problem, text) in lines(file) {
            assert!(matches!(scribe.read(&problem, text), Reading::Marker(_)), "{text}");
            let elsewhere: ProblemId = format!("{problem}'").parse().unwrap();
            assert!(matches!(scribe.read(&elsewhere, text), Reading::Unverified(_)), "{text}");
        }
    }
}

#[test]
fn the_published_messages_are_messages() {
    from_bytes::<Push>(MESSAGES[0].as_bytes()).unwrap();
    from_bytes::<Receipts>(MESSAGES[1].as_bytes()).unwrap();
    from_bytes::<Pull>(MESSAGES[2].as_bytes()).unwrap();
    from_bytes::<Deliveries>(MESSAGES[3].as_bytes()).unwrap();
}

#[test]
fn a_mutated_marker_is_an_entry_or_a_marker_that_reads_back() {
    let good: Vec<_> = lines(WORKED_EXAMPLE).chain(lines(FORMS)).map(|(_, _, text)| text).collect();
    mutations(&good, 4000, checks::marker);
    let bodies: Vec<_> = good.iter().filter_map(|text| text.split("; seal ").next()).collect();
    mutations(&bodies, 4000, checks::marker);
}

#[test]
fn a_mutated_set_of_ids_is_refused_or_reads_back() {
    mutations(&IDS, 4000, checks::id_set);
}

#[test]
fn a_mutated_message_is_refused_or_goes_out_again_equal() {
    mutations(&MESSAGES, 8000, |text| checks::message(text.as_bytes()));
}

#[test]
fn a_mutated_history_folds() {
    let lines: Vec<_> = lines(WORKED_EXAMPLE).chain(lines(FORMS)).map(|(_, _, text)| text).collect();
    let bodies: Vec<_> = lines.iter().map(|text| text.split("; seal ").next().unwrap_or_default()).collect();
    let histories = [bodies.join("\n"), lines.join("\n"), [bodies, lines].concat().join("\n")];
    mutations(&histories.each_ref().map(String::as_str), 1500, checks::ledger);
}

#[test]
fn a_mutated_delivery_is_taken_once_and_its_marker_says_so() {
    mutations(&[MESSAGES[0], MESSAGES[3], EXCHANGE], 4000, |text| checks::exchange(text.as_bytes()));
}

#[test]
fn what_a_peer_says_that_it_lost_changes_only_what_is_recorded_of_it() {
    mutations(&COMPARISONS, 4000, |text| {
        checks::message(text.as_bytes());
        checks::comparison(text.as_bytes());
    });
}

#[test]
fn a_forged_receipt_marks_only_what_was_sent() {
    mutations(&[MESSAGES[1], MESSAGES[2], FORGED], 4000, |text| checks::receipts(text.as_bytes()));
}

#[test]
fn a_mutated_value_has_one_form() {
    mutations(&VALUES, 4000, checks::value);
}

#[test]
fn a_mutated_name_is_refused_or_reads_back() {
    mutations(&["N/4711", "eu-1/a b/c", "1/9223372036854775807", "help.desk_2/ABC"], 2000, checks::name);
}

#[test]
fn a_mutated_key_file_is_refused_without_being_quoted() {
    let file = include_str!("../../../fuzz/seeds/key_file/two");
    mutations(&[file], 2000, checks::key_file);
}

#[test]
fn a_range_that_nobody_could_hold_costs_nothing_while_its_seal_does_not_verify() {
    let (scribe, problem, _) = lines(WORKED_EXAMPLE).next().unwrap();
    let all = "1-9223372036854775807";
    let texts =
        [format!("N: {all} from {all}"), format!("1: lost {all}"), format!("N: {all}"), format!("N: lost {all}")];
    let row = |text: &String| Row {
        work: "1".parse().unwrap(),
        marker: Some(format!("{DEFAULT_PHRASE} {text}; seal 0123456789")),
        open: true,
        bytes: 1,
    };
    let ledger = Ledger::fold(&scribe, &problem, &texts.iter().map(row).collect::<Vec<_>>());
    assert_eq!(ledger.unverified().len(), texts.len());
    assert!(ledger.peers().is_empty() && ledger.marker_rows().is_empty());
}

fn excess(error: MessageError) -> Excess {
    match error {
        MessageError::Excess(excess) => excess,
        other => unreachable!("{other}"),
    }
}

#[test]
fn a_message_of_too_many_parts_is_refused_by_what_it_has_too_many_of() {
    let push =
        |deliveries: &str| format!(r#"{{"wire":1,"from":"N","to":"1","history":"h","deliveries":[{deliveries}]}}"#);
    let delivery = |names: &str, entries: &str| {
        format!(r#"{{"names":{{{names}}},"belief":{{"count":0,"sum":"0"}},"entries":[{entries}]}}"#)
    };
    let few = Bounds { entries_max: 2, deliveries_max: 2 };
    let read =
        |deliveries: &str| from_bytes_within::<Push>(push(deliveries).as_bytes(), few).map(|_| ()).map_err(excess);
    let entry = |n: usize| format!(r#"{{"origin":"N/{}","text":"x"}}"#, n + 1);
    let listed = |part: &dyn Fn(usize) -> String, n: usize| (0..n).map(part).collect::<Vec<_>>().join(",");
    let one = |_: usize| delivery("", "");
    assert_eq!(read(&listed(&one, 2)), Ok(()));
    assert_eq!(read(&listed(&one, 3)), Err(Excess::Deliveries(3, 2)));
    assert_eq!(read(&delivery("", &listed(&entry, 3))), Err(Excess::Entries(3, 2)));
    let name = |n: usize| format!(r#""S{n}":"x""#);
    assert_eq!(read(&delivery(&listed(&name, SITES_MAX), "")), Ok(()));
    assert_eq!(read(&delivery(&listed(&name, SITES_MAX + 1), "")), Err(Excess::Sites(SITES_MAX + 1)));
    let field = |n: usize| format!(r#""{n}":null"#);
    let with = |n: usize| format!(r#"{{"origin":"N/1","text":"x","fields":{{{}}}}}"#, listed(&field, n));
    assert_eq!(read(&delivery("", &with(FIELDS_MAX))), Ok(()));
    assert_eq!(read(&delivery("", &with(FIELDS_MAX + 1))), Err(Excess::Fields(FIELDS_MAX + 1)));
    let deep = format!(r#"{{"later":{}{}}}"#, "[".repeat(DEPTH_MAX), "]".repeat(DEPTH_MAX));
    assert_eq!(excess(from_bytes::<Push>(deep.as_bytes()).unwrap_err()), Excess::Depth);
    let receipt = format!(
        r#"{{"receipts":[{{"names":{{}},"holds":{{{}}}}}]}}"#,
        listed(&|n| format!(r#""S{n}":"1-9""#), SITES_MAX + 1)
    );
    assert_eq!(excess(from_bytes::<Receipts>(receipt.as_bytes()).unwrap_err()), Excess::Sites(SITES_MAX + 1));
}

#[test]
fn what_a_later_version_says_beside_a_refusal_is_passed_over() {
    let said = |more: &str| {
        let refused = format!(r#"{{"origin":"1/4","code":"constraint","limit":7{more}}}"#);
        let text = format!(r#"{{"receipts":[{{"names":{{}},"holds":{{}},"refused":[{refused}]}}]}}"#);
        from_bytes::<Receipts>(text.as_bytes()).unwrap()
    };
    assert_eq!(said(r#","later":[1,{"a":[[]]},"x"]"#), said(""));
}
