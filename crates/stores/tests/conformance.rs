//! Every store passes the suite of `flow`, and the worked example of DESIGN §10 comes out on every pair of them.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a harness that cannot be built is a failed test")]

mod local;

use landbridge_flow::conformance::{CASES, Harness, LINKED_CASES, WORKED_EXAMPLE, linked_case, worked_example};
use landbridge_stores::Numbering;

use local::{InMemory, OnDisk};

type Make = fn(Numbering) -> Box<dyn Harness>;

const STORES: [(&str, Make); 2] = [
    ("memory", |numbering| Box::new(InMemory::new(numbering))),
    ("SQLite", |numbering| Box::new(OnDisk::new(numbering))),
];

/// The same with numbers from the database.
const GENERATED_ONLY: [(&str, Make); 2] = [
    ("SQLite by statements", |numbering| Box::new(OnDisk::by_statements(numbering))),
    ("SQLite with markers apart", |numbering| Box::new(OnDisk::apart(numbering))),
];

#[tokio::test]
async fn every_store_passes_the_suite() {
    let both = [Numbering::PerProblem, Numbering::Generated];
    let all = STORES.iter().flat_map(|store| both.map(|numbering| (store, numbering)));
    for ((name, make), numbering) in all.chain(GENERATED_ONLY.iter().map(|store| (store, Numbering::Generated))) {
        for (case, check) in CASES {
            if let Err(found) = check(make(numbering).as_ref()).await {
                panic!("{name}, {numbering:?}: {case}: {found}");
            }
        }
    }
}

#[tokio::test]
async fn however_a_history_is_mapped_every_entry_is_there_once_and_in_order() {
    for (name, make) in GENERATED_ONLY {
        let (a, b) = (make(Numbering::Generated), InMemory::new(Numbering::PerProblem));
        let tables = worked_example(a.as_ref(), &b).await.unwrap();
        for table in tables {
            let texts = table.iter().filter_map(|row| row.split_once(' ')).map(|(_, text)| text.to_owned());
            let entries: Vec<_> = texts.filter(|text| !text.starts_with("copy in system")).collect();
            let expected = ["open ticket for analysis", "solve ticket ABC", "reopen ABC for review"];
            let expected = [&expected[..], &["do not bother will work on ABC at N", "solved!"]].concat();
            assert_eq!(entries, expected, "{name}");
        }
    }
}

#[tokio::test]
async fn every_store_with_a_link_column_passes_the_cases_of_linked_problems() {
    for (name, make) in STORES {
        for (case, check) in LINKED_CASES {
            match linked_case(make(Numbering::PerProblem).as_ref(), check).await {
                Ok(None) => {}
                Ok(Some(why)) => eprintln!("skipped: {name}: {case}: {why}"),
                Err(found) => panic!("{name}: {case}: {found}"),
            }
        }
    }
}

#[tokio::test]
async fn the_worked_example_comes_out_on_every_pair_of_stores() {
    for (one, make_one) in STORES {
        for (n, make_n) in STORES {
            let (a, b) = (make_one(Numbering::PerProblem), make_n(Numbering::PerProblem));
            let tables = worked_example(a.as_ref(), b.as_ref()).await.unwrap();
            assert_eq!(tables[0], WORKED_EXAMPLE[0], "site 1 on {one}, site N on {n}");
            assert_eq!(tables[1], WORKED_EXAMPLE[1], "site 1 on {one}, site N on {n}");
        }
    }
}
