//! Markers in a table of their own, values in canonical form, problems that are found and created, the catalogue.

use landbridge_core::message::Code;
use landbridge_core::{Fields, ProblemName};
use landbridge_flow::ports::{NewProblem, Store};

use super::*;
use crate::catalog::{ColumnKind, Reference};
use crate::sqlite::{catalog, inspect, sample, writable};

const APART: &str = "create table MARKER (problem text not null, number integer primary key autoincrement, text text);
    create index MARKER_problem on MARKER (problem)";

fn fields<const N: usize>(of: [(&str, Option<&str>); N]) -> Fields {
    of.into_iter().map(|(name, value)| (name.to_owned(), value.map(str::to_owned))).collect()
}

#[tokio::test]
async fn markers_in_a_table_of_their_own_are_rows_that_never_leave() {
    let desk = Desk::with(&format!("{GENERATED}; {APART}"));
    let also = vec!["update WORK_HISTORY set SEVERITY = coalesce(SEVERITY, 0) + 1 where PROBLEM_ID = :problem".into()];
    let store = desk.store(Mapping { markers: Some(TableName::plain("MARKER")), also, ..generated() });
    assert!(store.capabilities().markers_apart);
    let marker = |text: &str| Append { kind: Kind::Marker, ..entry("A", text) };
    append(&store, &[entry("A", "a")]).await.unwrap();
    let before = sweep_all(&store, 10).await;
    let texts = ["copy in system N: 1", "copy in system C: 1"];
    let works_of_markers = append(&store, &texts.map(marker)).await.unwrap();
    assert_eq!(works_of_markers, [WorkId::APART + 1, WorkId::APART + 2]);
    assert_ne!(sweep_all(&store, 10).await, before);
    let rows = read(&store, "A", None).await;
    assert_eq!(open_works(&rows), [1]);
    let seen: Vec<_> = rows.rows.iter().map(|r| (r.work.get(), r.marker.as_deref())).collect();
    assert_eq!(seen, [(1, None), (WorkId::APART + 1, Some(texts[0])), (WorkId::APART + 2, Some(texts[1]))]);
    let mut txn = store.begin(Mode::Read).await.unwrap();
    let asked = [(p("A"), w(WorkId::APART + 2)), (p("B"), w(WorkId::APART + 1)), (p("A"), w(1))];
    let bodies: Vec<_> = txn.bodies(&asked).await.unwrap().into_iter().map(|b| b.and_then(|b| b.text)).collect();
    assert_eq!(bodies, [Some(texts[1].to_owned()), None, Some("a".to_owned())]);
    assert_eq!(desk.ask("select count(*) || '|' || max(SEVERITY) from WORK_HISTORY"), "Text(\"1|1\")");
}

#[test]
fn markers_stay_in_the_history_where_they_keep_numbers_from_being_given_out_again() {
    let markers = Some(TableName::plain("MARKER"));
    let only = |schema: &str, m: Mapping, part: &str| {
        let faults = inspect(&Desk::with(&format!("{schema}; {APART}")).path(), &m).unwrap().faults;
        assert!(faults.len() == 1 && faults[0].contains(part), "{part}: {faults:#?}");
    };
    only(HISTORY, Mapping { markers: markers.clone(), ..mapping() }, "numbering = \"per-problem\"");
    let again = GENERATED.replace("autoincrement", "/* autoincrement */");
    only(&again, Mapping { markers: markers.clone(), ..generated() }, "keeps the number of a deleted last row");
    for (table, part) in [
        ("create table MARKER (problem text, number integer primary key)", "columns problem, number and text"),
        ("create table MARKER (problem text, number int unique, text text)", "integer primary key"),
        ("create table MARKER (problem text, number integer primary key, text varchar(9))", "9 characters"),
        ("create table MARKER (problem text, number integer primary key, text text, x not null)", "column x"),
    ] {
        let desk = Desk::with(&format!("{GENERATED}; {table}"));
        let faults = inspect(&desk.path(), &Mapping { markers: markers.clone(), ..generated() }).unwrap().faults;
        assert!(faults.len() == 1 && faults[0].contains(part), "{part}: {faults:#?}");
    }
}

#[tokio::test]
async fn booleans_and_bytes_travel_in_one_form_and_are_kept_in_theirs() {
    let desk = Desk::with(
        "create table WORK_HISTORY (PROBLEM_ID text, WORK_ID integer, WORK_HISTORY text, OPEN boolean, FLAG tinyint(1),
             SCAN blob, NOTE text, COUNT integer, primary key (PROBLEM_ID, WORK_ID))",
    );
    let names = map([("open", "OPEN"), ("flag", "FLAG"), ("scan", "SCAN"), ("note", "NOTE"), ("count", "COUNT")]);
    let store = desk.store(with(Mapping { fields: names, ..mapping() }, |t| t.insert = map([("count", "1")])));
    let kept: Vec<_> = store.capabilities().fields_kept.iter().map(String::as_str).collect();
    assert_eq!(kept, ["flag", "note", "open", "scan"]);
    let mut sent = entry("A", "x");
    sent.fields =
        fields([("open", Some("true")), ("flag", Some("false")), ("scan", Some("\\x6162")), ("note", Some("\\x6162"))]);
    append(&store, &[sent.clone()]).await.unwrap();
    let kinds = "select OPEN || typeof(OPEN) || FLAG || typeof(FLAG) || typeof(SCAN) || typeof(NOTE) from WORK_HISTORY";
    assert_eq!(desk.ask(kinds), "Text(\"1integer0integerblobtext\")");
    let mut txn = store.begin(Mode::Read).await.unwrap();
    let body = txn.bodies(&[(p("A"), w(1))]).await.unwrap().remove(0).unwrap();
    sent.fields.insert("count".into(), Some("1".into()));
    assert_eq!(body.fields, sent.fields);
}

fn tickets(id: &str) -> Desk {
    Desk::with(&format!(
        "{HISTORY}; create table TICKET ({id}, REF text, TITLE text, RATING integer, STATE text not null);
         create index TICKET_REF on TICKET (REF)"
    ))
}

fn linked<const N: usize>(create: [(&str, &str); N]) -> Mapping {
    let table = ProblemTable {
        fields: map([("title", "TITLE"), ("rating", "RATING")]),
        link: Some("REF".into()),
        create: Some(map(create)),
        ..problem_table("TICKET", "ID", Some("STATE <> 'hidden'"))
    };
    Mapping { problems: Some(table), ..mapping() }
}

fn new(home: &str, title: Option<&str>) -> NewProblem {
    NewProblem { home: home.parse().unwrap(), fields: fields([("title", title)]) }
}

async fn create(store: &SqliteStore, new: &[NewProblem]) -> Result<Vec<String>, StoreError> {
    let mut txn = store.begin(Mode::Write).await?;
    let ids = txn.create(new).await?;
    txn.commit().await?;
    Ok(ids.iter().map(ToString::to_string).collect())
}

#[tokio::test]
async fn a_problem_is_created_with_link_fields_and_expressions() {
    let expressions = [("STATE", "'from ' || :site || ' as ' || :home || ', ' || coalesce(:title, '-')")];
    let desk = tickets("ID integer primary key");
    desk.run(
        "insert into TICKET (ID, REF, STATE) values (40, 'n/17', 'x'), (41, 'N/017', 'hidden'), (42, 'no name', 'x')",
    );
    let store = desk.store(linked(expressions));
    assert_eq!(create(&store, &[new("N/17", Some("a ' title")), new("N/18", None)]).await.unwrap(), ["43", "44"]);
    assert_eq!(desk.ask("select STATE from TICKET where ID = 43"), "Text(\"from N as N/17, a ' title\")");
    let mut txn = store.begin(Mode::Read).await.unwrap();
    let homes: Vec<ProblemName> = ["N/17", "N/017", "N/19", "N/17"].map(|h| h.parse().unwrap()).into();
    let found = txn.find(&homes).await.unwrap();
    assert_eq!(found, [vec![p("43")], vec![p("41")], vec![], vec![p("43")]]);
    let rows = txn.rows(&[p("43"), p("41"), p("42"), p("99")], None).await.unwrap();
    let homes: Vec<_> = rows.iter().map(|r| (r.visible, r.home.as_ref().map(ToString::to_string))).collect();
    let home = |s: &str| Some(s.to_owned());
    assert_eq!(homes, [(true, home("N/17")), (false, home("N/017")), (true, None), (false, None)]);
    assert_eq!(rows[0].fields, fields([("title", Some("a ' title")), ("rating", None)]));
    assert_eq!(rows[1].fields, fields([]));
}

#[tokio::test]
async fn an_expression_can_give_the_id() {
    let desk = tickets("ID text primary key");
    let store = desk.store(linked([("ID", "'T-' || (select count(*) + 1 from TICKET)"), ("STATE", "'new'")]));
    assert_eq!(create(&store, &[new("N/17", None), new("N/18", None)]).await.unwrap(), ["T-1", "T-2"]);
}

#[tokio::test]
async fn a_problem_that_would_be_kept_otherwise_is_not_created() {
    let desk = tickets("ID integer primary key");
    let store = desk.store(linked([("STATE", "'new'")]));
    let mut rated = new("N/17", Some("007"));
    rated.fields.insert("rating".into(), Some("007".into()));
    let refused = create(&store, &[rated.clone()]).await;
    let named = |said: &str| said.contains("rating") && !said.contains("007");
    assert!(
        matches!(&refused, Err(StoreError::Row { refusal, detail }) if refusal.code == Code::Value && named(detail)),
        "{refused:?}"
    );
    rated.fields.insert("rating".into(), Some("7".into()));
    assert_eq!(create(&store, &[rated]).await.unwrap(), ["1"]);
    desk.run("create trigger T after insert on TICKET begin update TICKET set REF = lower(REF); end");
    assert!(matches!(create(&store, &[new("N/18", None)]).await, Err(StoreError::Row { .. })));
    assert_eq!(desk.ask("select count(*) from TICKET"), "Integer(1)");
    let store = desk.store(mapping());
    assert!(matches!(create(&store, &[new("N/18", None)]).await, Err(StoreError::Mapping(_))));
}

#[test]
fn what_stands_against_creating_problems_is_named() {
    let desk = tickets("ID text primary key");
    let faults = |m: &Mapping| inspect(&desk.path(), m).unwrap().faults;
    let found = faults(&linked([("REF", "1"), ("TITLE", ":author"), ("NOWHERE", "1")]));
    for key in [
        "[problem.insert] REF: the bridge",
        "[problem.insert] TITLE: :author",
        "[problem.insert] NOWHERE",
        "column ID of table TICKET",
        "column STATE of table TICKET",
    ] {
        assert_eq!(found.iter().filter(|f| f.starts_with(key)).count(), 1, "{key}\n{found:#?}");
    }
    assert_eq!(found.len(), 5, "{found:#?}");
    let change = |change: fn(&mut ProblemTable)| {
        let mut m = linked([("STATE", "1"), ("ID", "1")]);
        m.problems.iter_mut().for_each(change);
        faults(&m)
    };
    assert_eq!(change(|_| {}), [""; 0]);
    let found = change(|t| t.link = None);
    assert!(found.len() == 1 && found[0].contains("[problem] create needs [problem] link"), "{found:#?}");
    let found = change(|t| t.link = Some("RATING".into()));
    assert!(found.iter().any(|f| f.starts_with("[problem] link") && f.contains("texts")), "{found:#?}");
    desk.run("drop index TICKET_REF");
    let notes = inspect(&desk.path(), &linked([("STATE", "1"), ("ID", "1")])).unwrap().notes;
    assert!(notes.iter().any(|n| n.contains("create index \"TICKET_REF\"")), "{notes:#?}");
}

#[test]
fn the_schema_main_is_the_only_one_and_triggers_are_noted() {
    let desk = Desk::with(HISTORY);
    desk.run(
        "create trigger \"on update\" before insert on WORK_HISTORY begin select 1; end;
         create trigger insert_log after update of WORK_ID on WORK_HISTORY begin delete from WORK_HISTORY where 0; end",
    );
    let named = |name: &str| with(mapping(), |table| table.name = name.parse().unwrap());
    let seen = inspect(&desk.path(), &named("MAIN.WORK_HISTORY")).unwrap();
    assert_eq!(seen.faults, [""; 0]);
    assert!(seen.notes.len() == 1 && seen.notes[0].contains("(on update)"), "{:#?}", seen.notes);
    let faults = inspect(&desk.path(), &named("desk.WORK_HISTORY")).unwrap().faults;
    assert!(faults.len() == 1 && faults[0].contains("only the schema main"), "{faults:#?}");
}

#[test]
fn the_catalogue_tells_what_there_is() {
    let desk = tickets("ID integer primary key");
    desk.run(
        "pragma foreign_keys = off;
         create table LINK (A integer references TICKET, B text references TICKET (REF), OPEN bool, AT timestamp,
             DATA blob, WIDTH varchar(80) default 'x', primary key (B, A));
         create view V as select ID from TICKET; create trigger T instead of insert on V begin select 1; end;
         insert into LINK values (1, 'x', 1, '2026-11-22', x'6162', 'w'), (2, 'y', null, null, null, null); analyze",
    );
    let all = catalog(&desk.path()).unwrap();
    let names: Vec<_> = all.tables.iter().map(|t| (t.name.to_string(), t.is_table)).collect();
    let expected = [("LINK", true), ("TICKET", true), ("V", false), ("WORK_HISTORY", true)];
    assert_eq!(names, expected.map(|(name, is_table)| (name.to_owned(), is_table)));
    let link = all.table(&TableName::plain("link")).unwrap();
    let kinds: Vec<_> = link.columns.iter().map(|c| c.kind).collect();
    use ColumnKind::*;
    assert_eq!(kinds, [Integer, Text(None), Boolean, Time, Bytes, Text(Some(80))]);
    assert_eq!((link.unique.clone(), link.rows), (vec![vec!["B".to_owned(), "A".to_owned()]], Some(2)));
    let refers =
        |column: &str, to: &str| Reference { column: column.into(), table: TableName::plain("TICKET"), to: to.into() };
    assert_eq!(link.references, [refers("A", "ID"), refers("B", "REF")]);
    assert!(link.column("WIDTH").unwrap().has_default);
    let id = all.table(&TableName::plain("TICKET")).unwrap().column("ID").unwrap();
    assert!(id.is_generated_number && id.rights.contains("select"));
    assert_eq!(all.table(&TableName::plain("V")).unwrap().insert_triggers, ["T"]);

    let columns = ["OPEN".to_owned(), "data".to_owned(), "A".to_owned()];
    let sampled = sample(&desk.path(), &TableName::plain("LINK"), &columns, 1).unwrap();
    assert_eq!(sampled, [[Some("true"), Some("\\x6162"), Some("1")].map(|v| v.map(str::to_owned))]);
    let missing = sample(&desk.path(), &TableName::plain("LINK"), &["NO".to_owned()], 1);
    assert!(matches!(missing, Err(StoreError::Mapping(_))), "{missing:?}");
    writable(&desk.path(), Duration::from_millis(10)).unwrap();
    desk.run("begin immediate");
    assert!(matches!(writable(&desk.path(), Duration::from_millis(10)), Err(StoreError::Busy(_))));
}
