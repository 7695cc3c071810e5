//! A history that is no single table: mapped by statements, with texts in transfer encodings.

use landbridge_core::message::Code;
use landbridge_flow::ports::Store;
use landbridge_stores::mapping::{AppendKind, Statements};
use landbridge_stores::{Mapping, Numbering, Source};

use super::desk::{self, Desk, code, entry, id, mapping, marker, numbers, with_field};

const TABLES: &str = "
    create table transactions (id serial primary key, objectid int not null, type varchar(20) not null, creator text);
    create table attachments (id serial primary key, transactionid int not null references transactions,
        content varchar(60), contentencoding varchar(20), filename text)";

fn by_statements() -> Mapping {
    let statements = Statements {
        read: "select t.id as work, t.objectid as problem, a.content as text, t.type <> 'Comment' as share,
                      t.creator as author, a.contentencoding
               from transactions t join attachments a on a.transactionid = t.id
               where a.filename is null -- only texts"
            .into(),
        append: vec![
            "insert into transactions (objectid, type, creator) values (:problem, :kind, coalesce(:author, :site))"
                .into(),
            "insert into attachments (transactionid, content, contentencoding) values (:work, :text, 'none')".into(),
        ],
        work_from: "currval('transactions_id_seq')".into(),
        append_kind: AppendKind { entry: "Correspond".into(), marker: "Comment".into() },
        text_encoding: Some("contentencoding".into()),
        remove: vec![],
    };
    let mut m = mapping("x", Numbering::Generated);
    m.source = Source::Statements(statements);
    (m.problem, m.work, m.text, m.share) = ("problem".into(), "work".into(), "text".into(), None);
    m.fields = [("author".into(), "author".into())].into();
    m.also = vec!["update transactions set creator = creator where objectid = :problem".into()];
    m
}

#[tokio::test]
async fn statements_read_and_append_what_no_single_table_holds() {
    let Some(server) = desk::server() else { return };
    let desk = Desk::new(&server, "statements", TABLES, by_statements()).await;
    let row = with_field(entry("7", "hello"), "author", Some("Ann"));
    let works = desk.append(&[row, entry("8", "there"), marker("7", "copy in system N: 1")]).await.unwrap();
    assert_eq!(works.iter().map(|w| w.get()).collect::<Vec<_>>(), [1, 2, 3]);
    let rows = desk.rows("7").await;
    assert_eq!(numbers(&rows), [1, 3]);
    assert_eq!(rows.rows[1].marker.as_deref(), Some("copy in system N: 1"));
    assert!(rows.rows[0].open && !rows.rows[1].open, "share of read is a condition too: {rows:?}");
    let bodies = desk.bodies(&[("7", 1), ("8", 2), ("8", 1)]).await;
    assert_eq!(bodies[0].as_ref().unwrap().fields["author"].as_deref(), Some("Ann"));
    assert_eq!(bodies[1].as_ref().unwrap().fields["author"].as_deref(), Some("N"));
    assert!(bodies[2].is_none());
    let long = "x".repeat(61);
    assert_eq!(code(desk.append(&[entry("7", &long)]).await), Code::TextTooLong);
    assert_eq!(code(desk.append(&[entry("017", "x")]).await), Code::Value);
    let swept = desk.store.sweep(None, 10).await.unwrap();
    assert_eq!(swept.iter().map(|s| s.problem.as_str()).collect::<Vec<_>>(), ["7", "8"]);
    let conditions = desk.store.conditions(&id("7"), works[2]).await.unwrap().unwrap();
    assert!(conditions.iter().any(|c| !c.passes), "{conditions:?}");
}

#[tokio::test]
async fn encoded_texts_are_decoded_before_they_are_told_apart() {
    let Some(server) = desk::server() else { return };
    let desk = Desk::new(&server, "encoded", TABLES, by_statements()).await;
    server.sql(
        "encoded",
        "insert into transactions (objectid, type) values (1, 'Correspond'), (1, 'Correspond'), (1, 'Correspond');
         insert into attachments (transactionid, content, contentencoding) values
         (1, 'caf=C3=A9', 'quoted-printable'), (2, 'Y29weSBpbiBzeXN0ZW0gTjogMQ==', 'base64'), (3, '=XX', 'quoted-printable')",
    );
    let markers: Vec<_> = desk.rows("1").await.rows.into_iter().map(|row| row.marker).collect();
    assert_eq!(markers, [None, Some("copy in system N: 1".to_owned()), None]);
    let texts: Vec<_> =
        desk.bodies(&[("1", 1), ("1", 2), ("1", 3)]).await.into_iter().map(|b| b.unwrap().text).collect();
    assert_eq!(texts, [Some("café".to_owned()), Some("copy in system N: 1".to_owned()), None]);
}
