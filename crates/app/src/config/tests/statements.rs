//! Faults of databases with users, of histories that are mapped by statements, and of problems that each site numbers by
//! itself.

use landbridge_flow::Pairing;

use super::*;

const STATEMENTS: &str = r#"site = "1"
key_file = "landbridge.key"
[database]
url = "postgres://bridge@db/desk"
[history]
name = "work_history"
read = "select id as work, ticket as problem, body as text from notes;"
append = [
  "insert into notes (ticket, body, kind) values (:problem, :text, :kind)",
  "insert into log (note, site) values (:work, :site)",
]
work_from = "currval('notes_id_seq')"
append_kind = { entry = "public", marker = "internal" }
"#;

/// The file with the line that begins with `key` replaced by `line`.
fn instead(key: &str, line: &str) -> String {
    assert!(STATEMENTS.lines().any(|l| l.starts_with(key)), "{key}");
    STATEMENTS.lines().map(|l| format!("{}\n", if l.starts_with(key) { line } else { l })).collect()
}

#[test]
fn a_history_may_be_mapped_by_statements() {
    let mapping = good(STATEMENTS).mapping;
    let Source::Statements(statements) = &mapping.source else { panic!("{mapping:?}") };
    assert_eq!(statements.read, "select id as work, ticket as problem, body as text from notes");
    assert_eq!((statements.append.len(), statements.work_from.as_str()), (2, "currval('notes_id_seq')"));
    assert_eq!((statements.append_kind.entry.as_str(), statements.append_kind.marker.as_str()), ("public", "internal"));
    assert_eq!((mapping.problem.as_str(), mapping.work.as_str(), mapping.text.as_str()), ("problem", "work", "text"));
    assert_eq!((mapping.share.as_deref(), mapping.numbering()), (None, Numbering::Generated));
}

#[test]
fn a_column_share_is_a_condition_whether_it_is_written_twice_or_not() {
    let read = |sql: &str, more: &str| good(&instead("read", &format!("read = \"{sql}\"\n{more}"))).mapping.share;
    let sql = "select id as work, t as problem, b as text, (kind <> 'x') as Share from notes";
    assert_eq!(read(sql, "").as_deref(), Some("share"));
    assert_eq!(read(sql, "share = \"author > 1\"").as_deref(), Some("share and (author > 1)"));
    assert_eq!(read(sql, "share = \"Share and author > 1\"").as_deref(), Some("Share and author > 1"));
    assert_eq!(read("select 1 as work, 'share' as text, 2 as problem", ""), None);
}

#[test]
fn statements_and_a_table_exclude_each_other() {
    for (line, expected) in [
        (
            "table = \"notes\"",
            "6:9: `table` belongs to a plain table, and this history is mapped by statements; take it out, or the statements",
        ),
        (
            "text = \"body\"",
            "6:8: `text` belongs to a plain table, and this history is mapped by statements; take it out: the column of `read` that is named text is taken",
        ),
        (
            "numbering = \"generated\"",
            "6:13: `numbering` belongs to a plain table, and this history is mapped by statements; take it out: `work_from` says which number a row got",
        ),
        (
            "insert = { A = \"1\" }",
            "6:12: [history.insert] belongs to a plain table, and this history is mapped by statements; take it out: the statements of `append` give every column its value",
        ),
    ] {
        assert_fault(&STATEMENTS.replace("[history]", &format!("[history]\n{line}")), expected);
    }
}

#[test]
fn statements_are_whole_and_each_parameter_is_bound() {
    for (text, expected) in [
        (
            instead("read", "read = \"select 1; drop table x\""),
            "7:8: `read`: `;` ends a statement, and another one follows; write one statement in each text",
        ),
        (
            instead("read", "read = \"select :problem\""),
            "7:8: `read` uses `:problem`, which is no shared field; write the value itself",
        ),
        (
            instead("read", ""),
            "5:1: `read` is missing in [history]; write `read = \"select ...\"`, a query with the columns problem, work and text",
        ),
        (
            STATEMENTS.replace(":text, :kind", ":txet, :kind"),
            "9:3: statement 1 of `append` uses `:txet`, which is no shared field; what may be used is `:problem`, `:text`, `:kind` and `:site`",
        ),
        (
            STATEMENTS.replace(":text, :kind", ":work, :kind"),
            "9:3: statement 1 of `append` uses `:work`, which is no shared field; what may be used is `:problem`, `:text`, `:kind` and `:site`",
        ),
        (
            STATEMENTS.replace(":work, :site)", ":wrok, :site)"),
            "10:3: statement 2 of `append` uses `:wrok`, which is no shared field; what may be used is `:problem`, `:text`, `:kind`, `:site` and `:work`",
        ),
        (
            instead("append_kind", "append_kind = { entry = \"a\" }"),
            "13:15: `marker` is missing in append_kind; write `append_kind = { entry = \"...\", marker = \"...\" }`, what `:kind` is for an entry and for a marker",
        ),
        (
            instead("append_kind", ""),
            "5:1: `append_kind` is missing in [history]; write `append_kind = { entry = \"...\", marker = \"...\" }`, what `:kind` is for an entry and for a marker",
        ),
        (
            STATEMENTS.replace(", :kind)", ", 1)"),
            "13:15: `append_kind` is written, and no statement of `append` uses `:kind`; take it out",
        ),
        (
            and("").replace("[history]", "[history]\nalso = [\"update T set A = 1\"]"),
            "6:9: statement 1 of `also` does not use `:problem`: it would change every problem; write which problem is meant, as in \"... where ID = :problem\"",
        ),
        (
            under("[history]", "also = [\"update T set A = :text where B = :problem\"]"),
            "6:9: statement 1 of `also` uses `:text`, which is no shared field; what may be used is `:problem`",
        ),
    ] {
        assert_fault(&text, expected);
    }
    let also = good(&under("[history]", "also = [\"update T set A = 1 where B = :problem;\"]")).mapping.also;
    assert_eq!(also, ["update T set A = 1 where B = :problem"]);
}

#[test]
fn a_server_is_named_by_its_url_and_its_password_stands_elsewhere() {
    let url = |url: &str| with("url = \"sqlite", &format!("url = \"{url}\"\npassword_file = \"db.password\""));
    for good_url in ["postgres://u@h/d", "postgresql://u@h:5432/d", "mysql://u@h/d", "mariadb://u@h/d"] {
        let config = good(&url(good_url));
        assert_eq!(config.password_file, Some("db.password".into()), "{good_url}");
        assert!(!matches!(config.database, Database::Sqlite { .. }));
    }
    assert_fault(
        &url("postgres://u:hunter2@h/d"),
        "5:17: there is a password in `url` and a `password_file` too; take the password out of the url",
    );
    assert_fault(&url("sqlite:x.db"), "5:17: `password_file` is written, and SQLite has no passwords; take it out");
    let config = good(&with("url = \"sqlite", "url = \"postgres://u:hunter2@h/d\""));
    assert!(!format!("{config:?}").contains("hunter2") && !config.database.shown().contains("hunter2"));
}

#[test]
fn a_table_may_stand_in_a_schema() {
    let name = |table: &str| good(&with("table", &format!("table = '{table}'"))).mapping.table().unwrap().name.clone();
    assert_eq!(name("desk.notes"), TableName { schema: Some("desk".into()), name: "notes".into() });
    assert_eq!(name("desk.\"odd.name\""), TableName { schema: Some("desk".into()), name: "odd.name".into() });
    assert_fault(
        &with("table", "table = \"a.b.c\""),
        "7:9: `table` = \"a.b.c\" is no name of a table; write TABLE or SCHEMA.TABLE; a part with a dot or a double quote in it \
         stands in double quotes, as in 'desk.\"odd.name\"'",
    );
}

#[test]
fn markers_may_have_a_table_of_their_own() {
    let markers = |table: &str| and(&format!("[markers]\ntable = \"{table}\""));
    assert_eq!(good(&markers("landbridge_markers")).mapping.markers, Some(TableName::plain("landbridge_markers")));
    assert_fault(
        &markers("WORK_HISTORY"),
        "20:9: [markers] and [history] name the same table; name a table of the markers' own, or take [markers] out",
    );
    assert_fault(
        &and("[markers]"),
        "19:1: `table` is missing in [markers]; write `table = \"TABLE\"`, a table with the columns problem, number and text",
    );
}

#[test]
fn markers_may_be_deleted_only_where_that_is_written() {
    let mapping = |lines: &str| good(&and(&format!("[markers]\n{lines}"))).mapping;
    assert!(
        !good(&and("")).mapping.compact && !mapping("table = \"m\"").compact && !mapping("compact = false").compact
    );
    let both = mapping("table = \"m\"\ncompact = true");
    assert_eq!((both.compact, both.markers), (true, Some(TableName::plain("m"))));
    assert!(mapping("compact = true").may_remove().is_ok() && mapping("compact = false").may_remove().is_err());

    // Statements have to say how.
    let by = |remove: &str| format!("{STATEMENTS}{remove}\n[markers]\ncompact = true\n");
    assert!(good(&by("")).mapping.may_remove().unwrap_err().contains("does not say how"));
    let first = "delete from notes where id = :work and ticket = :problem and body = :text";
    let log = "delete from log where note = :work";
    assert!(good(&by(&format!("remove = [\"{first}\", \"{log}\"]"))).mapping.may_remove().is_ok());
    for (remove, missing) in [
        ("delete from notes where id = :work and ticket = :problem", "statement 1 of `remove` does not use `:text`"),
        ("delete from notes", "statement 1 of `remove` does not use `:problem`"),
    ] {
        let said = faults(&by(&format!("remove = [\"{remove}\"]"))).join("\n");
        assert!(said.contains(missing) && said.contains("it would delete other rows"), "{said}");
    }
    let said = faults(&by(&format!("remove = [\"{first}\", \"delete from log\", \"{log} and x = :site\"]"))).join("\n");
    assert!(said.contains("statement 2 of `remove` does not use `:work`") && said.contains(":site"), "{said}");
}

#[test]
fn problems_are_linked_and_created_only_where_that_is_written() {
    let problem = |lines: &str| and(&format!("[problem]\n{lines}"));
    let table = "table = \"T\"\nid = \"ID\"";
    assert_eq!(good(&problem("pairing = \"linked\"")).pairing, Pairing::Linked { create: false });
    let config = good(&problem(&format!(
        "{table}\npairing = \"linked\"\nlink = \"REF\"\ncreate = true\nfields = {{ title = \"TITLE\" }}\ninsert = {{ ID = \"f(:home, :site)\", X = \":title\" }}"
    )));
    assert_eq!(config.pairing, Pairing::Linked { create: true });
    assert_eq!(config.mapping.problems.unwrap().create.unwrap()["X"], ":title");
    let table_missing = "write `table = \"TABLE\"`, the table of the problems";
    for (lines, expected) in [
        (
            "pairing = \"by-hand\"".to_owned(),
            "20:11: `pairing` = \"by-hand\" is not known; write \"same-id\" (a problem has the same id at every site) or \"linked\" (each site has ids of its own), or take it out".to_owned(),
        ),
        (
            format!("{table}\nlink = \"REF\""),
            "22:8: `link` is written, and problems have the same id at every site; write `pairing = \"linked\"`, or take it out".to_owned(),
        ),
        (
            "pairing = \"linked\"\ncreate = true".to_owned(),
            format!("19:1: `table` is missing in [problem]; {table_missing}\nlandbridge.toml:19:1: `id` is missing in [problem]; write `id = \"COLUMN\"`, the column that the history's problem column refers to\nlandbridge.toml:19:1: `link` is missing in [problem]; write `link = \"COLUMN\"`, a text column in which the bridge keeps where a problem comes from"),
        ),
        (
            format!("{table}\ninsert = {{ X = \"1\" }}"),
            "22:10: [problem.insert] is written, and no problem is created; write `create = true` in [problem], or take the section out".to_owned(),
        ),
        (
            format!("{table}\npairing = \"linked\"\nlink = \"id\""),
            "23:8: `link` and `id` name the same column \"id\"; write `link = \"COLUMN\"`, a text column in which the bridge keeps where a problem comes from".to_owned(),
        ),
        (
            format!("{table}\npairing = \"linked\"\nlink = \"REF\"\ncreate = true\ninsert = {{ REF = \"1\", X = \":text\" }}"),
            "25:12: `REF` in [problem.insert] is the column of `link`, which the bridge writes itself; take it out\nlandbridge.toml:25:27: the expression of `X` in [problem.insert] uses `:text`, which is no shared field; what may be used is `:site` and `:home`".to_owned(),
        ),
    ] {
        assert_fault(&problem(&lines), &expected);
    }
}
