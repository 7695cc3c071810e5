//! Histories that are no single plain table: read by a query, appended to by statements.

use landbridge_core::message::Code;
use landbridge_flow::ports::Store;

use super::*;
use crate::mapping::{AppendKind, Statements};
use crate::sqlite::{inspect, statements};

/// Transactions and their attachments, and the ticket's description as its first entry.
const TRACKER: &str = "
    create table TICKET (ID integer primary key, DESCRIPTION text, UPDATES integer default 0);
    create table TXN (ID integer primary key autoincrement, TICKET integer not null, KIND text, CREATOR text);
    create index TXN_TICKET on TXN (TICKET);
    create table ATTACHMENT (ID integer primary key, TXN integer not null, CONTENT text not null, ENCODING text);
    create index ATTACHMENT_TXN on ATTACHMENT (TXN)";

const READ: &str = "select t.ID as work, t.TICKET as problem, a.CONTENT as text, t.KIND <> 'Comment' as share,
        t.CREATOR as author, a.ENCODING as encoding
    from TXN t join ATTACHMENT a on a.TXN = t.ID -- no more";

fn tracker(read: &str) -> Mapping {
    Mapping {
        source: Source::Statements(Statements {
            read: read.into(),
            append: vec![
                "insert into TXN (TICKET, KIND, CREATOR) values (:problem, :kind, coalesce(:author, :site))".into(),
                "insert into ATTACHMENT (TXN, CONTENT) select :work, :text where :text <> 'forgotten'".into(),
            ],
            work_from: "last_insert_rowid()".into(),
            append_kind: AppendKind { entry: "Correspond".into(), marker: "Comment".into() },
            text_encoding: None,
            remove: vec![],
        }),
        problem: "problem".into(),
        work: "work".into(),
        text: "text".into(),
        fields: map([("author", "author")]),
        also: vec!["update TICKET set UPDATES = UPDATES + 1 where ID = :problem".into()],
        ..mapping()
    }
}

fn change(mut mapping: Mapping, change: impl FnOnce(&mut Statements)) -> Mapping {
    if let Source::Statements(by) = &mut mapping.source {
        change(by);
    }
    mapping
}

fn marker(problem: &str, text: &str) -> Append {
    Append { kind: Kind::Marker, ..entry(problem, text) }
}

#[tokio::test]
async fn rows_go_into_both_tables_and_come_back() {
    let desk = Desk::with(TRACKER);
    desk.run("insert into TICKET (ID) values (17), (18)");
    let store = desk.store(tracker(READ));
    let mut first = entry("17", "it's; drop table TXN --");
    first.fields = [("author".to_owned(), Some("anna".to_owned()))].into();
    let rows = [first, entry("18", "other"), entry("17", "second"), marker("17", "copy in system N: 1")];
    assert_eq!(append(&store, &rows).await.unwrap(), [1, 2, 3, 4]);

    let read = read(&store, "17", Some("N")).await;
    assert_eq!((works(&read), open_works(&read)), (vec![1, 3, 4], vec![1, 3]));
    assert_eq!(read.rows[2].marker.as_deref(), Some("copy in system N: 1"));
    let mut txn = store.begin(Mode::Read).await.unwrap();
    let asked = [(p("17"), w(3)), (p("17"), w(1)), (p("18"), w(1)), (p("18"), w(2)), (p("017"), w(1))];
    let bodies = txn.bodies(&asked).await.unwrap();
    let texts: Vec<_> = bodies.iter().map(|b| b.as_ref().and_then(|b| b.text.as_deref())).collect();
    assert_eq!(texts, [Some("second"), Some("it's; drop table TXN --"), None, Some("other"), None]);
    let authors: Vec<_> = bodies.iter().flatten().map(|b| b.fields["author"].as_deref()).collect();
    assert_eq!(authors, [Some("N"), Some("anna"), Some("N")]);
    let conditions = store.conditions(&p("17"), w(4)).await.unwrap().unwrap();
    assert_eq!(conditions.iter().map(|c| (c.name.as_str(), c.passes)).collect::<Vec<_>>(), [("read share", false)]);
    let swept: Vec<_> = sweep_all(&store, 1).await.into_iter().map(|s| s.problem.to_string()).collect();
    assert_eq!(swept, ["17", "18"]);
    assert_eq!(desk.ask("select typeof(TICKET) from TXN"), "Text(\"integer\")");
}

#[tokio::test]
async fn what_follows_runs_once_for_each_problem_with_new_entries() {
    let desk = Desk::with(TRACKER);
    desk.run("insert into TICKET (ID) values (17), (18), (19)");
    let store = desk.store(tracker(READ));
    append(&store, &[entry("17", "a"), marker("18", "copy in system N: 1"), entry("17", "b"), entry("19", "c")])
        .await
        .unwrap();
    assert_eq!(desk.ask("select group_concat(UPDATES) from TICKET"), "Text(\"1,0,1\")");
}

#[tokio::test]
async fn each_look_at_a_problem_goes_through_the_index_of_the_table_beneath() {
    let desk = Desk::with(TRACKER);
    desk.run(
        "with recursive n(n) as (select 1 union all select n + 1 from n where n < 20000)
         insert into TXN (ID, TICKET, KIND) select n, n % 5, 'Correspond' from n;
         insert into ATTACHMENT (TXN, CONTENT) select ID, 'a text' from TXN;
         insert into TICKET select distinct TICKET, 'described', 0 from TXN;
         analyze",
    );
    let with_description = format!("{READ}\nunion all select 1, ID, DESCRIPTION, 1, null, null from TICKET");
    for read in [READ, &with_description] {
        let m = Mapping { within: Some("work <> 7".into()), ..tracker(read) };
        let inspection = inspect(&desk.path(), &m).unwrap();
        assert_eq!((inspection.faults, inspection.notes), (vec![], vec![]));
        for sql in [
            statements::rows(&m, &[statements::open_to(&m, true, None)]),
            statements::bodies(&m),
            statements::conditions(&m, &["share"]),
            statements::stored_form(&m),
        ] {
            let mut statement = desk.app.prepare(&format!("explain query plan {sql}")).unwrap();
            let plan: Vec<String> = statement.raw_query().mapped(|r| r.get(3)).collect::<Result<_, _>>().unwrap();
            let plain_join = plan.iter().any(|l| l.starts_with("SEARCH t USING"));
            let scanned = plan.iter().any(|l| ["SCAN t", "SCAN a", "SCAN TICKET"].contains(&l.as_str()));
            assert!(plain_join && !scanned, "{sql}\n{plan:#?}");
            assert!(read != READ || !plan.iter().any(|l| l.contains("history")), "{sql}\n{plan:#?}");
        }
    }
    desk.run("drop index TXN_TICKET; drop table sqlite_stat1");
    let notes = inspect(&desk.path(), &tracker(READ)).unwrap().notes;
    assert!(notes.len() == 1 && notes[0].contains("reads whole tables"), "{notes:#?}");
}

#[tokio::test]
async fn what_the_query_yields_decides_how_a_problem_is_asked_for() {
    let union = format!("{READ} \nunion all select 1000 + ID, 't' || ID, DESCRIPTION, 1, null, null from TICKET");
    let as_text = READ.replace("t.TICKET as problem", "cast(t.TICKET as text) as problem");
    let as_real = READ.replace("t.TICKET as problem", "+t.TICKET as problem");
    for read in [READ, &union, &as_text, &as_real] {
        let desk = Desk::with(TRACKER);
        desk.run(
            "insert into TICKET values (17, 'described', 0); insert into TXN values (1, 17, 'x', null), (2, 18, 'x', null);
             insert into ATTACHMENT values (1, 1, 'a', null), (2, 2, 'b', null)",
        );
        let store = desk.store(tracker(read));
        let mut txn = store.begin(Mode::Read).await.unwrap();
        let rows = txn.rows(&[p("17"), p("017"), p("17.0"), p("18"), p("17")], None).await.unwrap();
        assert_eq!(rows.iter().map(works).collect::<Vec<_>>(), [vec![1], vec![], vec![], vec![2], vec![1]], "{read}");
        drop(txn);
        assert_eq!(append(&store, &[entry("17", "c")]).await.unwrap(), [3], "{read}");
        if read == union {
            let described = super::read(&store, "t17", None).await;
            assert_eq!(works(&described), [1017]);
        }
    }
}

#[tokio::test]
async fn a_statement_that_fails_or_writes_nothing_refuses_the_row() {
    let desk = Desk::with(TRACKER);
    desk.run("create trigger T before insert on TXN when new.CREATOR = 'nobody' begin select raise(abort, 'no'); end");
    let store = desk.store(tracker(READ));
    let code = |result: Result<Vec<i64>, StoreError>| match result {
        Err(StoreError::Row { refusal, .. }) => refusal.code,
        other => panic!("{other:?}"),
    };
    let mut nobody = entry("17", "x");
    nobody.site = site("nobody");
    assert_eq!(code(append(&store, &[nobody]).await), Code::Trigger);
    append(&store, &[entry("17", "x")]).await.unwrap();
    let ignoring = change(tracker(READ), |by| {
        by.append[0] = "insert or ignore into TXN (ID, TICKET, KIND) values (1, :problem, :kind)".into();
    });
    assert_eq!(code(append(&desk.store(ignoring), &[entry("17", "x")]).await), Code::Trigger);
    let stale = change(tracker(READ), |by| by.work_from = "(select min(ID) from TXN)".into());
    assert_eq!(code(append(&desk.store(stale), &[entry("17", "y"), entry("17", "z")]).await), Code::Value);
    assert_eq!(desk.ask("select count(*) from TXN"), "Integer(1)");
}

#[tokio::test]
async fn the_transfer_encoding_of_each_row_is_taken_off() {
    let desk = Desk::with(TRACKER);
    desk.run(
        "insert into TXN values (1, 17, 'x', null), (2, 17, 'x', null), (3, 17, 'x', null), (4, 17, 'x', null);
         insert into ATTACHMENT values (1, 1, 'plain ü', null), (2, 2, 'plain too', 'none'), (3, 3, 'x', 'x-unknown'),
             (4, 4, 'Y29weSBpbiBzeXN0ZW0gTjog' || char(10) || 'MQ==', ' Base64')",
    );
    let store = desk.store(change(tracker(READ), |by| by.text_encoding = Some("encoding".into())));
    let mut txn = store.begin(Mode::Read).await.unwrap();
    let bodies = txn.bodies(&[1, 2, 3, 4].map(|n| (p("17"), w(n)))).await.unwrap();
    let texts: Vec<_> = bodies.iter().map(|b| b.as_ref().unwrap().text.as_deref()).collect();
    assert_eq!(texts, [Some("plain ü"), Some("plain too"), None, Some("copy in system N: 1")]);
    let rows = txn.rows(&[p("17")], None).await.unwrap().remove(0).rows;
    let markers: Vec<_> = rows.iter().map(|r| r.marker.as_deref()).collect();
    assert_eq!(markers, [None, None, None, Some("copy in system N: 1")]);
}

#[test]
fn every_fault_of_the_statements_is_named() {
    let desk = Desk::with(TRACKER);
    let faults = |m: Mapping| inspect(&desk.path(), &m).unwrap().faults;
    assert_eq!(faults(tracker(READ)), [""; 0]);
    let m = Mapping {
        text: "body".into(),
        fields: map([("author", "who")]),
        also: vec!["update TICKET set UPDATES = :work".into()],
        ..tracker(READ)
    };
    let m = change(m, |by| {
        by.append = vec!["insert into TXN (ID) values (:work)".into(), "insert into NOWHERE values (1)".into()];
        by.work_from = "last_insert_rowid(".into();
        by.text_encoding = Some("mime".into());
    });
    let found = faults(m);
    for key in [
        "[history] text:",
        "[history] fields, author:",
        "[history] text_encoding:",
        "[history] work_from",
        "[history] append, statement 1: :work",
        "[history] append, statement 2",
        "[history] also, statement 1: :work",
    ] {
        assert_eq!(found.iter().filter(|f| f.starts_with(key)).count(), 1, "{key}\n{found:#?}");
    }
    assert_eq!(found.len(), 7, "{found:#?}");
    let found = faults(tracker("select ID as work, :x as problem, KIND as text from TXN"));
    assert!(found.len() == 1 && found[0].contains(":x"), "{found:#?}");
    let found = faults(Mapping { share: Some("KIND = 'x'".into()), ..tracker(READ) });
    assert!(found.len() == 1 && found[0].starts_with("[history] share"), "{found:#?}");
}
