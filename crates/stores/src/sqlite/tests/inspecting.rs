//! Which mappings are refused, and in which words.

use super::*;
use crate::sqlite::{Inspection, inspect};

fn inspected(desk: &Desk, mapping: &Mapping) -> Inspection {
    inspect(&desk.path(), mapping).unwrap()
}

/// Asserts that this is the only fault and that it names all of `parts`.
fn only_fault(desk: &Desk, mapping: &Mapping, parts: &[&str]) {
    let faults = inspected(desk, mapping).faults;
    assert_eq!(faults.len(), 1, "{faults:#?}");
    for part in parts {
        assert!(faults[0].contains(part), "{part:?} is not in {:?}", faults[0]);
    }
    let refused = open(&desk.path(), mapping.clone()).err();
    assert!(matches!(&refused, Some(StoreError::Mapping(said)) if said.contains(&faults[0])), "{refused:?}");
}

#[test]
fn a_table_as_mapped_has_no_faults() {
    for (schema, mapping) in [(HISTORY, mapping()), (GENERATED, generated())] {
        assert_eq!(inspected(&Desk::with(schema), &mapping).faults, [""; 0]);
    }
}

#[test]
fn what_is_missing_is_named_with_what_is_there() {
    let desk = Desk::with(HISTORY);
    only_fault(
        &desk,
        &with(mapping(), |table| table.name = TableName::plain("HISTORY")),
        &["[history] table", "HISTORY", "WORK_HISTORY"],
    );
    only_fault(
        &desk,
        &Mapping { text: "NOTE".into(), ..mapping() },
        &["[history] text", "NOTE", "PROBLEM_ID, WORK_ID"],
    );
    only_fault(&desk, &Mapping { fields: map([("author", "WHO")]), ..mapping() }, &["[history] fields, author", "WHO"]);
    let problems = |table: &str, id: &str| Mapping { problems: Some(problem_table(table, id, None)), ..mapping() };
    only_fault(&desk, &problems("TICKET", "ID"), &["[problem] table", "TICKET"]);
    only_fault(&desk, &problems("work_history", "ID"), &["[problem] id", "ID", "WORK_HISTORY"]);
}

#[test]
fn every_fault_is_reported_at_once() {
    let desk = Desk::with(HISTORY);
    let m = Mapping {
        text: "NOTE".into(),
        within: Some("KIND = \"work\"".into()),
        share: Some("SEVERITY <".into()),
        problems: Some(problem_table("WORK_HISTORY", "PROBLEM_ID", Some("X"))),
        peers: [(site("N"), Some("count(*) > 1".into())), (site("C"), Some("KIND = :kind".into()))].into(),
        ..mapping()
    };
    let m = with(m, |table| {
        table.insert = map([("KIND", "\"work\""), ("NOWHERE", "1"), ("SECRET", ":author"), ("OPERATOR", "?")]);
        table.marker = map([("WORK_ID", "1"), ("SEVERITY", "1; drop table WORK_HISTORY")]);
    });
    let faults = inspected(&desk, &m).faults;
    for key in [
        "[history] text",
        "[history] where",
        "[history] share",
        "[problem] share",
        "[[peer]] N share",
        "[[peer]] C share",
        "[history.insert] KIND",
        "[history.insert] NOWHERE",
        "[history.insert] SECRET",
        "[history.insert] OPERATOR",
        "[history.marker] WORK_ID",
        "[history.marker] SEVERITY",
    ] {
        assert_eq!(faults.iter().filter(|f| f.starts_with(key)).count(), 1, "{key}\n{faults:#?}");
    }
    assert_eq!(faults.len(), 12, "{faults:#?}");
    assert_eq!(desk.ask("select count(*) from WORK_HISTORY"), "Integer(0)");
}

#[test]
fn numbers_per_problem_need_a_unique_index_on_exactly_problem_and_number() {
    let columns = "PROBLEM_ID text, WORK_ID integer, WORK_HISTORY text, SITE text";
    for index in [
        "",
        "create index I on WORK_HISTORY (PROBLEM_ID, WORK_ID)",
        "create unique index I on WORK_HISTORY (PROBLEM_ID, WORK_ID, SITE)",
        "create unique index I on WORK_HISTORY (PROBLEM_ID, WORK_ID) where SITE = 1",
    ] {
        let desk = Desk::with(&format!("create table WORK_HISTORY ({columns}); {index}"));
        only_fault(
            &desk,
            &mapping(),
            &["per-problem", "create unique index \"WORK_HISTORY_WORK_ID\" on \"WORK_HISTORY\""],
        );
    }
    let desk = Desk::with(&format!(
        "create table WORK_HISTORY ({columns}); create unique index I on WORK_HISTORY (WORK_ID, PROBLEM_ID)"
    ));
    assert_eq!(inspected(&desk, &mapping()).faults, [""; 0]);
    only_fault(&Desk::with(GENERATED), &mapping(), &["per-problem", "numbering = \"generated\""]);
}

#[test]
fn generated_numbers_need_a_column_that_sqlite_numbers() {
    only_fault(&Desk::with(HISTORY), &generated(), &["generated", "no `integer primary key`", "WORK_ID"]);
    for key in ["WORK_ID int primary key", "WORK_ID integer primary key desc", "WORK_ID integer unique"] {
        let desk = Desk::with(&format!("create table WORK_HISTORY ({key}, PROBLEM_ID text, WORK_HISTORY text)"));
        only_fault(&desk, &generated(), &["no `integer primary key`"]);
    }
    let desk = Desk::with(
        "create table WORK_HISTORY (WORK_ID integer primary key, PROBLEM_ID text, WORK_HISTORY text) without rowid",
    );
    only_fault(&desk, &generated(), &["without rowid"]);
    let desk = Desk::with(
        "create table WORK_HISTORY (PROBLEM_ID text, WORK_ID text, WORK_HISTORY text, unique (PROBLEM_ID, WORK_ID))",
    );
    only_fault(&desk, &mapping(), &["[history] work", "declared as TEXT", "integer column"]);
}

#[test]
fn a_view_is_refused_and_the_table_beneath_asked_for() {
    let desk = Desk::with(&HISTORY.replace("create table WORK_HISTORY", "create table T"));
    desk.run("create view WORK_HISTORY as select * from T where KIND = 'work'");
    only_fault(&desk, &mapping(), &["WORK_HISTORY is a view", "[history] where"]);
}

#[test]
fn a_column_that_must_not_be_null_needs_a_value() {
    let schema = "create table WORK_HISTORY (ID integer primary key not null, PROBLEM_ID text not null, WORK_ID integer not null,
        WORK_HISTORY text not null, AUTHOR text not null, KIND text not null default 'work', STATE text not null,
        DOUBLE as (WORK_ID * 2), unique (PROBLEM_ID, WORK_ID))";
    let desk = Desk::with(schema);
    let m = Mapping { fields: map([("author", "AUTHOR")]), ..mapping() };
    let faults = inspected(&desk, &m).faults;
    assert_eq!(faults.len(), 2, "{faults:#?}");
    assert!(faults[0].contains("AUTHOR") && faults[0].contains("[history.marker] AUTHOR"), "{faults:#?}");
    assert!(faults[1].contains("STATE") && faults[1].contains("[history.insert] STATE"), "{faults:#?}");
    let m = with(m, |table| {
        (table.insert, table.marker) = (map([("state", "'open'")]), map([("AUTHOR", "'bridge'")]));
    });
    assert_eq!(inspected(&desk, &m).faults, [""; 0]);
    let m = Mapping { fields: map([("double", "DOUBLE")]), ..mapping() };
    let m = with(m, |table| table.insert = map([("STATE", "1"), ("AUTHOR", "1")]));
    only_fault(&desk, &m, &["[history] fields, double", "computed"]);
}

#[test]
fn a_value_for_markers_only_leaves_the_entries_without_one() {
    let desk = Desk::with(
        "create table WORK_HISTORY (PROBLEM_ID text, WORK_ID integer, WORK_HISTORY text, STATE text not null, primary key (PROBLEM_ID, WORK_ID))",
    );
    only_fault(&desk, &with(mapping(), |table| table.marker = map([("STATE", "1")])), &["[history.insert] STATE"]);
}

#[test]
fn what_works_but_badly_is_noted() {
    let desk = Desk::with("create table WORK_HISTORY (WORK_ID integer primary key, PROBLEM_ID, WORK_HISTORY string)");
    let seen = inspected(&desk, &generated());
    assert_eq!(seen.faults, [""; 0]);
    assert!(seen.notes.iter().any(|n| n.contains("create index \"WORK_HISTORY_PROBLEM_ID\"")), "{:#?}", seen.notes);
    assert!(seen.notes.iter().any(|n| n.contains("007")), "{:#?}", seen.notes);
}

#[test]
fn a_database_in_another_encoding_is_refused() {
    let desk = Desk::with("create table EMPTY (X)");
    let path = desk.folder.0.join("utf16.db");
    let app = Connection::open(&path).unwrap();
    app.execute_batch(&format!("pragma encoding = 'UTF-16le'; {HISTORY}")).unwrap();
    let faults = inspect(&path, &mapping()).unwrap().faults;
    assert!(faults.len() == 1 && faults[0].contains("UTF-16le"), "{faults:#?}");
}
