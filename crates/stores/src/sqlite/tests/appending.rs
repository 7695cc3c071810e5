//! What is appended, under which number, and what SQLite refuses.

use landbridge_core::message::{Code, Refusal};
use landbridge_flow::ports::Store;

use super::*;

/// The refusal of an append, or of the commit after it.
async fn refused(store: &SqliteStore, rows: &[Append]) -> Refusal {
    match append(store, rows).await {
        Err(StoreError::Row { refusal, detail }) => {
            assert!(!detail.contains("bad"), "a value is in {detail:?}");
            refusal
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn numbers_go_on_behind_the_highest_of_the_whole_table() {
    let desk = Desk::with(HISTORY);
    desk.run("insert into WORK_HISTORY (PROBLEM_ID, WORK_ID, WORK_HISTORY, KIND) values ('A', 4, 'hidden', 'mail')");
    let store = desk.store(Mapping { within: Some("KIND = 'work'".into()), ..mapping() });
    let mut txn = store.begin(Mode::Write).await.unwrap();
    let first = txn.append(&[entry("A", "x"), entry("B", "y"), entry("A", "z")]).await.unwrap();
    assert_eq!(first, [w(5), w(1), w(6)]);
    assert_eq!(txn.append(&[entry("A", "more")]).await.unwrap(), [w(7)]);
    assert_eq!(works(&txn.rows(&[p("A")], None).await.unwrap()[0]), [5, 6, 7]);
    txn.commit().await.unwrap();
}

#[tokio::test]
async fn generated_numbers_come_back_in_the_order_of_the_rows() {
    let desk = Desk::with(GENERATED);
    desk.run("insert into WORK_HISTORY (WORK_ID, PROBLEM_ID, WORK_HISTORY) values (41, 'A', 'a')");
    let store = desk.store(generated());
    let rows: Vec<Append> = (0..500).map(|n| entry(["A", "B", "C"][n % 3], &format!("text {n}"))).collect();
    let works = append(&store, &rows).await.unwrap();
    assert_eq!(works, (42..542).collect::<Vec<_>>());
    let asked: Vec<_> = rows.iter().zip(&works).map(|(row, n)| (row.problem.clone(), w(*n))).collect();
    let mut txn = store.begin(Mode::Read).await.unwrap();
    for (row, body) in rows.iter().zip(txn.bodies(&asked).await.unwrap()) {
        assert_eq!(body.unwrap().text.as_ref(), Some(&row.text));
    }
    assert_eq!(txn.bodies(&[(p("B"), w(42))]).await.unwrap(), [None]);
}

#[tokio::test]
async fn a_trigger_that_appends_rows_of_its_own_takes_no_number_from_ours() {
    let desk = Desk::with(HISTORY);
    desk.run(
        "create trigger REPLY after insert on WORK_HISTORY when new.KIND = 'work' begin
            insert into WORK_HISTORY (PROBLEM_ID, WORK_ID, WORK_HISTORY, KIND)
            values (new.PROBLEM_ID, new.WORK_ID + 1, 'received, thank you', 'auto'); end",
    );
    let store = desk.store(mapping());
    assert_eq!(append(&store, &[entry("A", "x"), entry("A", "y")]).await.unwrap(), [1, 3]);
}

#[tokio::test]
async fn expressions_are_sql_and_what_they_name_is_bound() {
    let desk = Desk::with(HISTORY);
    let fields = map([("author", "OPERATOR"), ("severity", "SEVERITY")]);
    let store = desk.store(with(Mapping { fields, ..mapping() }, |table| {
        table.insert = map([
            ("KIND", "':site' || '/' || :site -- not :this"),
            ("SECRET", "upper(:author) || length(:text)"),
            ("SEVERITY", "1 + 1"),
        ]);
        table.marker = map([("kind", "'internal'"), ("SECRET", "'marker of ' || :site")]);
    }));
    let mut received = entry("A", "it's; drop table WORK_HISTORY --");
    received.fields = [("author".to_owned(), Some("o'neil".to_owned())), ("severity".into(), Some("9".into()))].into();
    let mut marker = Append { kind: Kind::Marker, ..received.clone() };
    marker.text = "copy in system N: 1".into();
    append(&store, &[received, entry("A", "no author"), marker]).await.unwrap();
    let kept = |n| {
        desk.ask(&format!(
            "select KIND || '|' || coalesce(SECRET, '-') || '|' || SEVERITY || '|' || coalesce(OPERATOR, '-')
         from WORK_HISTORY where WORK_ID = {n}"
        ))
    };
    assert_eq!(kept(1), "Text(\":site/N|O'NEIL32|2|o'neil\")");
    assert_eq!(kept(2), "Text(\":site/N|-|2|-\")");
    assert_eq!(kept(3), "Text(\"internal|marker of N|2|-\")");
}

#[tokio::test]
async fn a_field_that_did_not_come_leaves_its_column_to_the_default() {
    let desk = Desk::with(HISTORY);
    let store = desk.store(Mapping { fields: map([("kind", "KIND")]), ..mapping() });
    let mut null = entry("A", "null");
    null.fields = [("kind".to_owned(), None)].into();
    append(&store, &[entry("A", "none"), null]).await.unwrap();
    assert_eq!(desk.ask("select KIND from WORK_HISTORY where WORK_ID = 1"), "Text(\"work\")");
    assert_eq!(desk.ask("select KIND from WORK_HISTORY where WORK_ID = 2"), "Null");
}

#[tokio::test]
async fn a_row_that_the_table_does_not_take_is_refused_with_its_reason() {
    for (schema, code) in [
        ("check (WORK_HISTORY <> 'b' || 'ad')", Code::Constraint),
        ("unique (WORK_HISTORY)", Code::Constraint),
        ("unique (WORK_HISTORY) on conflict replace", Code::Constraint),
        ("check (WORK_HISTORY = 'good' or json_extract(WORK_HISTORY, '$.a') is null)", Code::Trigger),
        ("foreign key (PROBLEM_ID) references PROBLEM (ID)", Code::Constraint),
        ("foreign key (PROBLEM_ID) references PROBLEM (ID) deferrable initially deferred", Code::Constraint),
    ] {
        let desk = Desk::with(&format!(
            "create table PROBLEM (ID text primary key); insert into PROBLEM values ('A'), ('B');
             create table WORK_HISTORY (PROBLEM_ID text, WORK_ID integer, WORK_HISTORY text,
                 primary key (PROBLEM_ID, WORK_ID), {schema})"
        ));
        if schema.starts_with("unique") {
            desk.run("insert into WORK_HISTORY values ('B', 1, 'bad')");
        }
        let store = desk.store(mapping());
        let problem = if schema.starts_with("foreign") { "Z" } else { "A" };
        assert_eq!(refused(&store, &[entry("A", "good"), entry(problem, "bad")]).await.code, code, "{schema}");
        assert_eq!(desk.ask("select count(*) from WORK_HISTORY where WORK_HISTORY = 'good'"), "Integer(0)");
        let ours = if schema.starts_with("unique") { "Integer(1)" } else { "Integer(0)" };
        assert_eq!(desk.ask("select count(*) from WORK_HISTORY"), ours, "a row of ours is gone: {schema}");
        append(&store, &[entry("A", "good")]).await.unwrap();
    }
}

#[tokio::test]
async fn null_in_a_column_wrong_types_and_triggers_each_have_their_code() {
    let desk = Desk::with(
        "create table WORK_HISTORY (PROBLEM_ID text, WORK_ID integer, WORK_HISTORY text, AUTHOR text not null,
             RATING int default 0, primary key (PROBLEM_ID, WORK_ID)) strict;
         create trigger NO_SWEARING before insert on WORK_HISTORY when new.WORK_HISTORY = 'damn' begin
             select raise(abort, 'not in this house'); end;
         create trigger SWALLOW before insert on WORK_HISTORY when new.WORK_HISTORY = 'ssh' begin
             select raise(ignore); end",
    );
    let fields = map([("author", "AUTHOR"), ("rating", "RATING")]);
    let store = desk.store(with(Mapping { fields, ..mapping() }, |t| t.marker = map([("AUTHOR", "'bridge'")])));
    let by = |text: &str, fields: &[(&str, Option<&str>)]| {
        let mut row = entry("A", text);
        row.fields = fields.iter().map(|(k, v)| ((*k).to_owned(), v.map(str::to_owned))).collect();
        row
    };
    let anna = ("author", Some("anna"));
    assert_eq!(refused(&store, &[entry("A", "nobody")]).await.code, Code::NullInColumn);
    assert_eq!(refused(&store, &[by("x", &[anna, ("rating", Some("many"))])]).await.code, Code::Value);
    assert_eq!(refused(&store, &[by("damn", &[anna])]).await.code, Code::Trigger);
    assert_eq!(refused(&store, &[by("ssh", &[anna])]).await.code, Code::Trigger);
    assert_eq!(append(&store, &[by("x", &[anna, ("rating", Some("5"))])]).await.unwrap(), [1]);
}

#[tokio::test]
async fn a_savepoint_takes_a_refused_row_back_and_keeps_the_others() {
    let desk = Desk::with(HISTORY);
    desk.run("create trigger T before insert on WORK_HISTORY when new.WORK_HISTORY = 'bad' begin select raise(fail, 'no'); end");
    let store = desk.store(mapping());
    let mut txn = store.begin(Mode::Write).await.unwrap();
    txn.append(&[entry("A", "first")]).await.unwrap();
    txn.savepoint().await.unwrap();
    txn.savepoint().await.unwrap();
    assert!(matches!(txn.append(&[entry("A", "second"), entry("A", "bad")]).await, Err(StoreError::Row { .. })));
    txn.rollback_to().await.unwrap();
    assert_eq!(txn.append(&[entry("A", "third")]).await.unwrap(), [w(2)]);
    txn.release().await.unwrap();
    assert!(matches!(txn.rollback_to().await, Err(StoreError::Broken(_))));
    txn.commit().await.unwrap();
    assert_eq!(works(&read(&store, "A", None).await), [1, 2]);
}

#[tokio::test]
async fn a_trigger_that_ends_the_transaction_is_told_until_the_end_of_it() {
    let desk = Desk::with(HISTORY);
    desk.run("create trigger T before insert on WORK_HISTORY when new.WORK_HISTORY = 'bad' begin select raise(rollback, 'no'); end");
    let store = desk.store(mapping());
    let mut txn = store.begin(Mode::Write).await.unwrap();
    txn.append(&[entry("A", "first")]).await.unwrap();
    txn.savepoint().await.unwrap();
    let is_trigger = |e: StoreError| matches!(e, StoreError::Row { refusal: Refusal { code: Code::Trigger, .. }, .. });
    assert!(is_trigger(txn.append(&[entry("A", "bad")]).await.unwrap_err()));
    assert!(is_trigger(txn.rollback_to().await.unwrap_err()));
    assert!(is_trigger(txn.append(&[entry("A", "third")]).await.unwrap_err()));
    assert!(is_trigger(txn.commit().await.unwrap_err()));
    assert_eq!(works(&read(&store, "A", None).await), [0; 0]);
    assert_eq!(append(&store, &[entry("A", "good")]).await.unwrap(), [1]);
}

#[tokio::test]
async fn nothing_is_appended_outside_the_transaction_that_a_constraint_ended() {
    let desk = Desk::with(
        "create table WORK_HISTORY (PROBLEM_ID text, WORK_ID integer, WORK_HISTORY text unique on conflict rollback,
             primary key (PROBLEM_ID, WORK_ID))",
    );
    let store = desk.store(mapping());
    let twice = [entry("A", "same"), entry("A", "same"), entry("A", "more")];
    assert_eq!(refused(&store, &twice).await.code, Code::Constraint);
    assert_eq!(desk.ask("select count(*) from WORK_HISTORY"), "Integer(0)");
}

#[tokio::test]
async fn a_declared_width_is_kept_although_sqlite_would_not() {
    let desk = Desk::with(&HISTORY.replace("WORK_HISTORY text", "WORK_HISTORY nchar(5)"));
    let store = desk.store(mapping());
    assert_eq!(store.capabilities().text_chars_max, Some(5));
    append(&store, &[entry("A", "ümläü")]).await.unwrap();
    assert_eq!(refused(&store, &[entry("A", "sixsix")]).await, Refusal { code: Code::TextTooLong, limit: Some(5) });
}

#[tokio::test]
async fn what_a_column_would_keep_otherwise_is_refused() {
    let desk = Desk::with(
        "create table WORK_HISTORY (PROBLEM_ID integer, WORK_ID integer, WORK_HISTORY string, unique (PROBLEM_ID, WORK_ID))",
    );
    let store = desk.store(mapping());
    assert_eq!(refused(&store, &[entry("17", "007")]).await.code, Code::Value);
    assert_eq!(refused(&store, &[entry("017", "text")]).await.code, Code::Value);
    assert_eq!(append(&store, &[entry("17", "text 007"), entry("17", "7")]).await.unwrap(), [1, 2]);
}

#[tokio::test]
async fn names_with_quotes_are_names() {
    let desk = Desk::with(
        "create table \"work \"\"history\"\"\" (\"select\" text, \"a;b\" integer, \"te'xt\" text, primary key (\"select\", \"a;b\"))",
    );
    let m = Mapping { problem: "select".into(), work: "a;b".into(), text: "te'xt".into(), ..mapping() };
    let store = desk.store(with(m, |table| table.name = TableName::plain("work \"history\"")));
    assert_eq!(append(&store, &[entry("A", "x"), entry("A", "y")]).await.unwrap(), [1, 2]);
    assert_eq!(works(&read(&store, "A", None).await), [1, 2]);
    assert_eq!(sweep_all(&store, 5).await.len(), 1);
}
