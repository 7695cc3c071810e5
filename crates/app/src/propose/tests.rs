//! Histories are recognised by their shape, whatever they are called.

use landbridge_stores::catalog::Reference;

use super::*;

fn column(name: &str, kind: ColumnKind, not_null: bool) -> ColumnInfo {
    ColumnInfo { name: name.into(), kind, not_null, sql_type: "a type".into(), ..ColumnInfo::default() }
}

fn number(name: &str) -> ColumnInfo {
    ColumnInfo { is_generated_number: true, ..column(name, ColumnKind::Integer, true) }
}

fn table(name: &str, columns: Vec<ColumnInfo>, unique: &[&[&str]], references: &[(&str, &str)]) -> TableInfo {
    TableInfo {
        name: TableName::plain(name),
        is_table: true,
        columns,
        unique: unique.iter().map(|u| u.iter().map(|c| (*c).to_owned()).collect()).collect(),
        references: references
            .iter()
            .map(|(column, table)| Reference {
                column: (*column).into(),
                table: TableName::plain(*table),
                to: "id".into(),
            })
            .collect(),
        insert_triggers: vec![],
        rows: None,
        rights: BTreeSet::new(),
    }
}

const TEXT: ColumnKind = ColumnKind::Text(None);
const SHORT: ColumnKind = ColumnKind::Text(Some(30));

/// A help desk as of django: a long text in the tickets too.
fn helpdesk() -> Catalog {
    let followup = vec![
        number("id"),
        column("comment", TEXT, false),
        column("title", ColumnKind::Text(Some(200)), true),
        column("public", ColumnKind::Boolean, true),
        column("date", ColumnKind::Time, true),
        column("ticket_id", ColumnKind::Integer, true),
        column("user_id", ColumnKind::Integer, true),
    ];
    let ticket = vec![number("id"), column("description", TEXT, true), column("queue_id", ColumnKind::Integer, true)];
    let users = vec![number("id"), column("login", SHORT, true)];
    let tables = vec![
        table("helpdesk_followup", followup, &[&["id"]], &[("ticket_id", "helpdesk_ticket"), ("user_id", "auth_user")]),
        table("helpdesk_ticket", ticket, &[&["id"]], &[("queue_id", "helpdesk_queue")]),
        table("auth_user", users, &[&["id"]], &[]),
    ];
    Catalog { vendor: Vendor::Postgres, tables, ..Catalog::default() }
}

#[test]
fn the_history_of_a_help_desk_is_clearly_the_best() {
    let found = candidates(&helpdesk());
    let best = clear(&found).unwrap();
    assert_eq!(
        (best.table.name.as_str(), best.problem.as_str(), best.work.as_str(), best.text.as_str(), best.numbering),
        ("helpdesk_followup", "ticket_id", "id", "comment", Numbering::Generated)
    );
    assert_eq!(best.problems, Some((TableName::plain("helpdesk_ticket"), "id".into())));
    assert!(
        best.reasons.iter().any(|r| r == "id numbers all rows, and ticket_id refers to helpdesk_ticket"),
        "{best:?}"
    );
}

#[test]
fn a_number_within_the_problem_is_recognised() {
    let columns = vec![
        column("PROBLEM_ID", SHORT, true),
        column("WORK_ID", ColumnKind::Integer, true),
        column("WORK_HISTORY", TEXT, true),
        column("OPERATOR", TEXT, true),
    ];
    let tables = vec![table("WORK_HISTORY", columns, &[&["PROBLEM_ID", "WORK_ID"]], &[])];
    let found = candidates(&Catalog { tables, ..Catalog::default() });
    let best = clear(&found).unwrap();
    assert_eq!(
        (best.problem.as_str(), best.work.as_str(), best.text.as_str(), best.numbering),
        ("PROBLEM_ID", "WORK_ID", "WORK_HISTORY", Numbering::PerProblem)
    );
}

#[test]
fn two_that_are_alike_are_not_decided() {
    let mut catalog = helpdesk();
    let mut twin = catalog.tables[0].clone();
    twin.name = TableName::plain("helpdesk_comment");
    catalog.tables.push(twin);
    let found = candidates(&catalog);
    assert_eq!(clear(&found), None);
    let said = listed(&found);
    assert!(said.contains("--table helpdesk_followup --problem ticket_id --work id --text comment"), "{said}");
    assert!(said.contains("--table helpdesk_comment"), "{said}");
}

#[test]
fn what_a_row_needs_is_proposed_or_left_open() {
    let catalog = helpdesk();
    let table = &catalog.tables[0];
    let found = filling(Vendor::Postgres, table, &["id", "ticket_id", "comment"], &|_| vec![]);
    let map = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    assert_eq!(found.share.as_deref(), Some("public"));
    assert_eq!(
        found.insert,
        map(&[("date", "(clock_timestamp() at time zone 'utc')"), ("public", "true"), ("title", "''")])
    );
    assert_eq!(found.marker, map(&[("public", "false")]));
    assert_eq!(found.open, [("user_id".to_owned(), "it refers to auth_user".to_owned())]);
}

#[test]
fn visibility_is_told_from_names_and_from_values() {
    let columns = vec![
        column("is_internal", ColumnKind::Integer, true),
        column("Visibility", SHORT, true),
        column("publication", SHORT, false),
    ];
    let table = table("notes", columns, &[], &[]);
    let values = |name: &str| if name == "Visibility" { vec!["internal".into(), "public".into()] } else { vec![] };
    let found = filling(Vendor::Mysql, &table, &[], &values);
    assert_eq!(found.share.as_deref(), Some("is_internal = 0 and Visibility = 'public'"));
    assert_eq!(found.marker["Visibility"], "'internal'");
    assert_eq!(found.insert["is_internal"], "0");
    assert_eq!(filling(Vendor::Mysql, &table, &["is_internal"], &|_| vec![]).share, None);
}

#[test]
fn a_table_of_problems_tells_which_of_them_may_be_bridged() {
    let columns =
        vec![column("ID", SHORT, true), column("SHARED", ColumnKind::Integer, true), column("is_public", SHORT, true)];
    let tickets = table("tickets", columns, &[], &[]);
    let answers = |name: &str| if name == "is_public" { vec!["no".into(), "yes".into()] } else { vec![] };
    let found = problem_share(Vendor::Sqlite, &tickets, &answers);
    assert_eq!(found.as_deref(), Some("SHARED <> 0 and is_public = 'yes'"));
    assert_eq!(problem_share(Vendor::Postgres, &helpdesk().tables[1], &|_| vec![]), None);
}

#[test]
fn a_name_is_read_word_by_word() {
    assert!(has_word("private_notes", CLOSED_WORDS) && has_word("isInternal", CLOSED_WORDS));
    assert!(has_word("Activities", &["activity"]) && has_word("followups", TABLE_WORDS));
    assert!(!has_word("publication", OPEN_WORDS) && !has_word("hobby", &["by"]));
}
