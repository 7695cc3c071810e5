//! What is written is what was sent, or it is refused: column types, expressions, triggers, constraints.

use std::sync::Arc;

use landbridge_core::message::{Belief, Code, Delivery, Entry, Refusal};
use landbridge_core::{Keyring, Scribe, SiteName};
use landbridge_flow::accept::accept;
use landbridge_flow::bridge::Unobserved;
use landbridge_flow::ports::Store;
use landbridge_flow::{Bridge, PeerPolicy, StoreError};
use landbridge_stores::{Mapping, Numbering};

use super::desk::{self, Desk, code, entry, mapping, marker, note, with_field};

/// Column type, values that it keeps, values that it would keep otherwise or not at all.
const TYPES: [(&str, &[&str], &[&str]); 15] = [
    ("int", &["17", "-1"], &["1.5", "99999999999", "x", "007"]),
    ("bigint", &["9223372036854775807"], &["9223372036854775808"]),
    ("uuid", &["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"], &["A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "x"]),
    ("varchar(5)", &["12345", "", "a "], &["123456", "12345 "]),
    ("char(5)", &["12345", "a"], &["a ", "123456"]),
    ("numeric(10, 2)", &["1.5", "17", "-0.25"], &["1.005", "123456789"]),
    ("text", &["⚙ 'quoted' \\ line\nline", ""], &["nul\0"]),
    ("bytea", &["\\x00ff"], &["plain", "\\xf"]),
    ("timestamp", &["2026-11-22T13:09:09.25", "2026-11-22T13:09:09.250000"], &["2026-11-22T13:09:09.1234567", "x"]),
    ("timestamptz", &["2026-11-22T13:09:09.25Z"], &["2026-11-22T13:09:09+02", "yesterday"]),
    ("boolean", &["true", "false"], &["yes", "maybe"]),
    ("date", &["2026-11-22"], &["2026-11-22T13:09:09", "tomorrow"]),
    ("float8", &["0.1", "1e+300", "17"], &["0.10000000000000000001", "1e999"]),
    ("jsonb", &["{\"a\": [1, null]}"], &["{\"b\": 1, \"a\": 2,}", "{\"a\": 1, \"a\": 2}"]),
    ("mood", &["sad"], &["angry"]),
];

#[tokio::test]
async fn every_type_keeps_a_value_exactly_or_refuses_it() {
    let Some(server) = desk::server() else { return };
    for (at, (ty, kept, refused)) in TYPES.into_iter().enumerate() {
        let sql = format!(
            "create type mood as enum ('sad', 'glad'); {}; alter table note add extra {ty}",
            note(Numbering::PerProblem, "text")
        );
        let m = Mapping { fields: [("extra".into(), "extra".into())].into(), ..mapping("note", Numbering::PerProblem) };
        let desk = Desk::new(&server, &format!("type_{at}"), &sql, m).await;
        assert!(desk.store.capabilities().fields_kept.contains("extra"));
        let row = |value: Option<&str>| with_field(entry("A", "x"), "extra", value);
        for value in kept.iter().map(|v| Some(*v)).chain([None]) {
            let works = desk.append(&[row(value)]).await.unwrap_or_else(|e| panic!("{ty} {value:?}: {e}"));
            let body = desk.bodies(&[("A", works[0].get())]).await.pop().unwrap().unwrap();
            let read = body.fields["extra"].clone();
            assert!(landbridge_core::value::same(value, read.as_deref()), "{ty}: {value:?} became {read:?}");
            // What is read is what the next site writes.
            desk.append(&[row(read.as_deref())]).await.unwrap_or_else(|e| panic!("{ty} {read:?}: {e}"));
        }
        for value in refused {
            let failed = desk.append(&[entry("A", "y"), row(Some(value))]).await;
            assert_eq!(code(failed), Code::Value, "{ty} {value}");
        }
    }
}

#[tokio::test]
async fn expressions_fill_columns_of_any_type_and_stand_before_what_was_received() {
    let Some(server) = desk::server() else { return };
    let sql = format!(
        "create type kind as enum ('work', 'copy'); {};
         alter table note add kind kind not null, add day date not null, add author text, add length int,
                          add via text, add serial int default 7",
        note(Numbering::Generated, "text")
    );
    let mut m = mapping("note", Numbering::Generated);
    m.fields = [("author".into(), "author".into()), ("len".into(), "length".into())].into();
    m.within = Some("kind in ('work', 'copy')".into());
    desk::table(&mut m).insert.extend([
        ("kind".into(), "'work'".into()),
        ("day".into(), "'2026-11-22'".into()),
        ("via".into(), "coalesce(:author, 'nobody') || ' at ' || :site || ': ' || left(:text, 2)".into()),
        ("length".into(), "cast(:len as int) + 1".into()),
    ]);
    desk::table(&mut m).marker.insert("kind".into(), "'copy'".into());
    let desk = Desk::new(&server, "expressions", &sql, m).await;
    let kept: Vec<_> = desk.store.capabilities().fields_kept.iter().cloned().collect();
    assert_eq!(kept, ["author"]);
    let row = with_field(with_field(entry("A", "hello"), "author", Some("Ann")), "len", Some("5"));
    desk.append(&[row, entry("A", "bare"), marker("A", "copy in system N: 1")]).await.unwrap();
    let seen = server.query("expressions", "select kind, day, via, length, serial, author from note order by no");
    assert_eq!(seen[0], ["work", "2026-11-22", "Ann at N: he", "6", "7", "Ann"]);
    assert_eq!(seen[1], ["work", "2026-11-22", "nobody at N: ba", "NULL", "7", "NULL"]);
    assert_eq!(seen[2][0], "copy");
}

#[tokio::test]
async fn a_row_is_refused_for_the_reason_that_the_table_has() {
    let Some(server) = desk::server() else { return };
    let sql = "create table person (name text primary key); insert into person values ('Ann');
        create table note (ticket varchar(10) not null, no int not null, body varchar(12), author text,
            owner text references person deferrable initially deferred, unique_text text unique,
            public boolean, must text not null default 'x', primary key (ticket, no));
        create function guard() returns trigger language plpgsql as $$ begin
            if new.body = 'raise' then raise exception 'not this one'; end if;
            if new.body = 'broken' then perform 1 / 0; end if;
            if new.body = 'gone' then return null; end if;
            if new.body = 'changed' then new.body = 'other'; end if;
            return new; end $$;
        create trigger guard before insert on note for each row execute function guard()";
    let mut m = mapping("note", Numbering::PerProblem);
    m.fields = ["author", "owner", "unique_text", "must"].map(|f| (f.to_owned(), f.to_owned())).into();
    let desk = Desk::new(&server, "reasons", sql, m).await;
    assert_eq!(desk.store.capabilities().text_chars_max, Some(12));
    let field = |name: &str, value| with_field(entry("A", "x"), name, value);
    desk.append(&[field("unique_text", Some("1")), field("owner", Some("Ann"))]).await.unwrap();
    for (row, reason) in [
        (entry("A", "raise"), Code::Trigger),
        (entry("A", "broken"), Code::Trigger),
        (entry("A", "gone"), Code::Trigger),
        (entry("A", "changed"), Code::Value),
        (field("owner", Some("Bob")), Code::Constraint),
        (field("unique_text", Some("1")), Code::Constraint),
        (field("must", None), Code::NullInColumn),
        (entry("A", "nul \0"), Code::Value),
        (entry("ABCDEFGHIJK", "long id"), Code::Value),
    ] {
        // Only the row at fault is refused; the transaction goes on behind the savepoint.
        let mut txn = desk.write_txn(&["A", "ABCDEFGHIJK"]).await;
        txn.append(&[entry("A", "before")]).await.unwrap();
        txn.savepoint().await.unwrap();
        assert_eq!(code(txn.append(&[entry("A", "good"), row.clone()]).await), reason, "{row:?}");
        txn.rollback_to().await.unwrap();
        txn.append(&[entry("A", "after")]).await.unwrap();
        txn.commit().await.unwrap();
    }
    let long = desk.append(&[entry("A", "äöüäöüäöüäöüx")]).await;
    let expected = Refusal { code: Code::TextTooLong, limit: Some(12) };
    assert!(matches!(long, Err(StoreError::Row { refusal, .. }) if refusal == expected), "{long:?}");
    assert_eq!(server.query("reasons", "select count(*) from note"), [["20"]]);
}

#[tokio::test]
async fn a_transaction_in_which_something_failed_is_never_taken_for_committed() {
    let Some(server) = desk::server() else { return };
    let desk = Desk::plain(&server, "failed", Numbering::PerProblem).await;
    let mut txn = desk.write_txn(&["A"]).await;
    txn.append(&[entry("A", "good")]).await.unwrap();
    assert_eq!(code(txn.append(&[entry("A", "POISON")]).await), Code::Constraint);
    assert!(txn.commit().await.is_err());
    assert!(desk.rows("A").await.rows.is_empty());
}

#[tokio::test]
async fn what_is_to_run_beside_runs_once_for_each_problem_and_not_for_markers() {
    let Some(server) = desk::server() else { return };
    let sql = format!("{}; create table touched (ticket int, times int default 1)", note(Numbering::PerProblem, "int"));
    let also = vec!["insert into touched (ticket) values (:problem)".into()];
    let m = Mapping { also, ..mapping("note", Numbering::PerProblem) };
    let desk = Desk::new(&server, "also", &sql, m).await;
    desk.append(&[entry("1", "a"), entry("2", "b"), entry("1", "c"), marker("3", "copy in system N: 1")])
        .await
        .unwrap();
    assert_eq!(server.query("also", "select ticket from touched order by 1"), [["1"], ["2"]]);
}

#[tokio::test]
async fn a_number_that_is_never_free_is_refused_alone_and_others_are_taken() {
    let Some(server) = desk::server() else { return };
    // A trigger that gives every row of ticket B the number of its first one.
    let sql = format!(
        "{};
         insert into note (ticket, no, body) values ('B', 1, 'first');
         create function again() returns trigger language plpgsql as
             $$ begin if new.ticket = 'B' then new.no := 1; end if; return new; end $$;
         create trigger again before insert on note for each row execute function again()",
        note(Numbering::PerProblem, "text")
    );
    let desk = Desk::new(&server, "never_free", &sql, mapping("note", Numbering::PerProblem)).await;
    let site: SiteName = "N".parse().unwrap();
    let scribe = Scribe::new(site, "h", vec![], Keyring::new([1; 32]), None);
    let peers = [("1".parse().unwrap(), PeerPolicy::default())].into();
    let bridge = Bridge::new("h", scribe, desk.store.clone(), peers, Arc::new(Unobserved));
    let delivery = |problem: &str, origin: &str| Delivery {
        names: [("1".parse().unwrap(), desk::id(problem))].into(),
        home: None,
        fields: Default::default(),
        belief: Belief::default(),
        entries: vec![Entry {
            origin: origin.parse().unwrap(),
            text: Some("new".into()),
            digest: None,
            fields: Default::default(),
            onward: true,
        }],
    };
    let both = [delivery("A", "1/1"), delivery("B", "1/2")];
    let receipts = accept(&bridge, &"1".parse().unwrap(), &both).await.unwrap();
    assert!(receipts[0].refused.is_empty() && !receipts[0].holds.is_empty());
    assert_eq!(receipts[1].refused[0].refusal.code, Code::Constraint);
}
