//! What a mapping needs, told from the mapping and the catalogue alone.

use landbridge_stores::catalog::ColumnInfo;
use landbridge_stores::mapping::{AppendKind, ProblemTable, Statements};

use super::*;

fn catalog(vendor: Vendor, tables: &[(&str, &[&str])]) -> Catalog {
    let column = |name: &&str| ColumnInfo {
        name: (*name).trim_end_matches('#').to_owned(),
        sequence: (name.ends_with('#') && vendor == Vendor::Postgres).then(|| TableName::plain("numbers")),
        ..ColumnInfo::default()
    };
    let table = |(name, columns): &(&str, &[&str])| TableInfo {
        name: name.parse().unwrap(),
        is_table: true,
        columns: columns.iter().map(column).collect(),
        unique: vec![],
        references: vec![],
        insert_triggers: vec![],
        rows: None,
        rights: BTreeSet::new(),
    };
    Catalog { vendor, database: Some("desk".into()), tables: tables.iter().map(table).collect(), ..Catalog::default() }
}

const DESK: &[(&str, &[&str])] = &[
    ("work", &["ticket", "no", "body", "author", "kind", "public", "phone", "user_id"]),
    ("tickets", &["id", "shared", "ref", "title", "owner", "updated_on"]),
    ("users", &["id", "login", "password"]),
];

fn mapping() -> Mapping {
    let map = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Mapping {
        source: Source::Table(Table {
            name: TableName::plain("work"),
            numbering: Numbering::PerProblem,
            insert: map(&[("kind", "'work'"), ("user_id", "(select id from users where login = 'bridge')")]),
            marker: map(&[("public", "false")]),
        }),
        problem: "ticket".into(),
        work: "no".into(),
        text: "body".into(),
        within: Some("kind = 'work'".into()),
        share: Some("public and exists (select 1 from tickets t where t.id = work.ticket and shared)".into()),
        fields: map(&[("author", "author")]),
        also: vec![],
        markers: None,
        compact: false,
        problems: None,
        peers: BTreeMap::new(),
        phrases: vec!["copy in system".into()],
    }
}

fn words(set: &BTreeSet<String>) -> String {
    set.iter().map(String::as_str).collect::<Vec<_>>().join(" ")
}

/// A line for each table.
fn lines(needs: &Needs) -> Vec<String> {
    let line = |(name, n): (&TableName, &TableNeeds)| {
        let mut line = format!("{name}:");
        for (kind, columns) in [("select", &n.select), ("insert", &n.insert), ("update", &n.update)] {
            if !columns.is_empty() {
                line += &format!(" {kind} {};", words(columns));
            }
        }
        if n.delete { line + " delete" } else { line }
    };
    needs.tables.iter().map(line).collect()
}

#[test]
fn a_table_needs_what_is_mapped_and_what_its_sql_reads() {
    let found = needs(&mapping(), &catalog(Vendor::Mysql, DESK));
    assert_eq!(
        lines(&found),
        [
            "tickets: select id shared;",
            "users: select id login;",
            "work: select author body kind no public ticket; insert author body kind no public ticket user_id;",
        ]
    );
    assert!(found.unresolved.is_empty(), "{:?}", found.unresolved);
}

#[test]
fn postgresql_holds_numbered_rows_still_and_uses_sequences() {
    let found = needs(&mapping(), &catalog(Vendor::Postgres, DESK));
    assert_eq!(found.tables[&TableName::plain("work")].update, BTreeSet::from(["no".to_owned()]));
    let mut generated = mapping();
    if let Source::Table(table) = &mut generated.source {
        table.numbering = Numbering::Generated;
    }
    let numbered: &[(&str, &[&str])] = &[("work", &["ticket", "no#", "body", "author", "kind", "public", "user_id"])];
    let found = needs(&generated, &catalog(Vendor::Postgres, numbered));
    let work = &found.tables[&TableName::plain("work")];
    assert!(work.update.is_empty() && !work.insert.contains("no"), "{work:?}");
    assert_eq!(found.sequences, BTreeSet::from([TableName::plain("numbers")]));
}

#[test]
fn problems_are_read_and_where_they_are_created_inserted() {
    let mut m = mapping();
    m.problems = Some(ProblemTable {
        name: TableName::plain("tickets"),
        id: "id".into(),
        share: Some("shared".into()),
        fields: BTreeMap::from([("title".into(), "title".into())]),
        link: Some("ref".into()),
        create: None,
    });
    let tickets = |m: &Mapping| lines(&needs(m, &catalog(Vendor::Postgres, DESK)))[0].clone();
    assert_eq!(tickets(&m), "tickets: select id ref shared title;");
    m.problems.as_mut().unwrap().create = Some(BTreeMap::from([("owner".into(), ":site".into())]));
    assert_eq!(tickets(&m), "tickets: select id ref shared title; insert owner ref title;");
}

#[test]
fn markers_are_deleted_where_they_are_and_only_where_that_is_allowed() {
    let mut m = mapping();
    let deletes = |m: &Mapping| -> Vec<String> {
        let needs = needs(m, &catalog(Vendor::Postgres, DESK)).tables.into_iter();
        needs.filter(|(_, needs)| needs.delete).map(|(name, _)| name.to_string()).collect()
    };
    assert_eq!(deletes(&m), [""; 0]);
    m.compact = true;
    assert_eq!(deletes(&m), ["work"]);
    m.markers = Some(TableName::plain("numbers"));
    assert_eq!(deletes(&m), ["numbers"]);
    m.markers = None;
    m.source = Source::Statements(Statements {
        read: "select no as work, ticket as problem, body as text from work".into(),
        append: vec!["insert into work (ticket, body) values (:problem, :text)".into()],
        work_from: "1".into(),
        append_kind: AppendKind::default(),
        text_encoding: None,
        remove: vec!["delete from work where no = :work and ticket = :problem and body = :text".into()],
    });
    assert_eq!(deletes(&m), ["work"]);
    m.compact = false;
    assert_eq!(deletes(&m), [""; 0]);
}

#[test]
fn statements_need_what_they_read_and_write() {
    let mut m = mapping();
    m.source = Source::Statements(Statements {
        read: "with open as (select id from tickets where shared) \
               select w.no as work, w.ticket problem, w.body as text, (public and not kind = 'x') as share \
               from work w join open using (id) order by work"
            .into(),
        append: vec![
            "insert into work (ticket, body, user_id) select :problem, :text::text, id from users where login = 'b'"
                .into(),
            "update tickets set updated_on = clock_timestamp() where id = :problem".into(),
        ],
        work_from: "currval('work_no_seq')".into(),
        append_kind: AppendKind::default(),
        text_encoding: None,
        remove: vec![],
    });
    (m.within, m.share) = (None, Some("share".into()));
    m.also = vec!["delete from users where id = :problem".into()];
    let found = needs(&m, &catalog(Vendor::Postgres, DESK));
    assert_eq!(
        lines(&found),
        [
            "tickets: select id shared; update updated_on;",
            "users: select id login; delete",
            "work: select body kind no public ticket; insert body ticket user_id;",
        ]
    );
    assert_eq!(found.sequences, BTreeSet::from([TableName::plain("work_no_seq")]));
    assert!(found.unresolved.is_empty(), "{:?}", found.unresolved);
    m.share = Some("nothing = 1".into());
    let found = needs(&m, &catalog(Vendor::Postgres, DESK));
    let said = "[history] share: nothing is no column of a table that is known here";
    assert_eq!(words(&found.unresolved), said);
}

#[test]
fn what_cannot_be_told_is_named_and_not_guessed() {
    let said = |share: &str| {
        let mut m = mapping();
        m.share = Some(share.into());
        words(&needs(&m, &catalog(Vendor::Postgres, DESK)).unresolved)
    };
    for (share, expected) in [
        ("colour = 1", "[history] share: colour is no column of a table that is known here"),
        ("x.public", "[history] share: x.public is no column of a table that is known here"),
        ("exists (select 1 from teams)", "[history] share: there is no table teams that is visible"),
        ("desk.may_leave(no)", "[history] share: what the function desk.may_leave reads cannot be seen from here"),
        ("exists (select 1 from work w natural join tickets)", "a natural join does not say by which columns"),
    ] {
        assert!(said(share).contains(expected), "{share}: {}", said(share));
    }
    assert!(said("public = = 1").contains("[history] share: the SQL is not understood here"));
    assert!(said(&"1+".repeat(20_000)).contains("not looked into"));
    let mut m = mapping();
    m.also = vec!["call f(:problem)".into()];
    let found = words(&needs(&m, &catalog(Vendor::Postgres, DESK)).unresolved);
    assert_eq!(found, "statement 1 of [history] also: it is no select, insert, update or delete");
}

#[test]
fn deep_sql_is_read_without_a_crash() {
    for sql in ["1+".repeat(8000) + "1", "(".repeat(7000) + "1" + &")".repeat(7000), "not ".repeat(4000) + "public"] {
        let mut m = mapping();
        m.share = Some(sql);
        needs(&m, &catalog(Vendor::Postgres, DESK));
    }
}

#[test]
fn rows_that_are_only_counted_need_one_column() {
    let mut m = mapping();
    m.share = Some("(select count(*) from users) > 0".into());
    if let Source::Table(table) = &mut m.source {
        table.insert.clear();
    }
    let found = needs(&m, &catalog(Vendor::Mysql, DESK));
    assert_eq!(words(&found.tables[&TableName::plain("users")].select), "id");
}

#[test]
fn a_star_reads_every_column() {
    let mut m = mapping();
    m.share = Some("exists (select u.* from users u, tickets)".into());
    let found = needs(&m, &catalog(Vendor::Sqlite, DESK));
    assert_eq!(words(&found.tables[&TableName::plain("users")].select), "id login password");
}
