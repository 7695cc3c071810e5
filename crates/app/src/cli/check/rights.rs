//! What the database user may do, against what the mapping needs (DESIGN §9): what is missing, and every column and
//! right beyond it.

use std::collections::BTreeSet;

use landbridge_stores::Database;
use landbridge_stores::catalog::{Catalog, TableInfo, Vendor};

use super::Report;
use crate::config::Config;
use crate::exit::Exit;
use crate::rights::{Needs, TableNeeds, needs};

const NEXT: &str = "`landbridge grants` prints the SQL for a user with exactly the rights that are needed";

/// Asks the database and says it.
pub(super) async fn report(report: &mut Report, config: &Config, database: &Database) {
    // The database was inspected a moment ago; what cannot be listed now is no fault of the mapping.
    let catalog = match database.catalog().await {
        Ok(catalog) => catalog,
        Err(e) => return report.note("rights", format!("the tables cannot be listed: {e}")),
    };
    let needs = needs(&config.mapping, &catalog);
    say(report, &catalog, &needs);
}

/// Says it of this catalogue.
fn say(report: &mut Report, catalog: &Catalog, needs: &Needs) {
    for sentence in &needs.unresolved {
        report.note("rights", format!("{sentence}; so it cannot be told which rights that needs"));
    }
    outside(report, catalog, needs);
    let user = catalog.user.as_deref().unwrap_or("this user");
    if catalog.vendor == Vendor::Sqlite {
        let what = "SQLite has no rights on columns: whoever can open the file can read and write everything in it";
        return report.note("rights", what);
    }
    if catalog.is_superuser {
        return report.note("rights", format!("{user} may read and change everything in this database; {NEXT}"));
    }
    let before = report.0.len();
    let missing = missing(catalog, needs);
    if !missing.is_empty() {
        let what = format!("{user} lacks {}; {NEXT}", missing.join("; "));
        // As everywhere: a table that does not let us in is no table of the mapping's.
        report.fault("rights", what, Exit::Configuration);
    }
    let (mut others, mut beyond) = (Vec::new(), false);
    for table in &catalog.tables {
        match needs.tables.get(&table.name) {
            Some(needs) => {
                for (verb, columns) in excess(table, needs) {
                    report.note_of(
                        "rights",
                        &format!("beyond the mapping, {user} may {verb} {}: ", table.name),
                        columns,
                    );
                    beyond = true;
                }
            }
            None => others.extend(held(table).map(|rights| format!("{} ({rights})", table.name))),
        }
    }
    if !others.is_empty() {
        let sentence = format!("{user} has rights on tables that the mapping does not name: ");
        report.note_of("rights", &sentence, others);
        beyond = true;
    }
    if beyond {
        report.note("rights", NEXT);
    } else if report.0.len() == before {
        report.ok("rights", format!("{user} may do what the mapping needs, and nothing else"));
    }
}

/// The columns of the mapped tables that the bridge leaves alone.
fn outside(report: &mut Report, catalog: &Catalog, needs: &Needs) {
    for table in &catalog.tables {
        let Some(needs) = needs.tables.get(&table.name) else { continue };
        let used = |c: &String| needs.select.contains(c) || needs.insert.contains(c) || needs.update.contains(c);
        let outside: Vec<&str> =
            table.columns.iter().map(|c| &c.name).filter(|c| !used(c)).map(String::as_str).collect();
        let name = &table.name;
        // MySQL and MariaDB show a user only what the user has some right on.
        let seen = match &catalog.user {
            Some(user) if catalog.vendor == Vendor::Mysql && !catalog.is_superuser => format!(" that {user} can see"),
            _ => String::new(),
        };
        if outside.is_empty() {
            report.ok("columns", format!("every column of {name}{seen} is in the mapping"));
        } else {
            report.ok("columns", format!("never read or written in {name}: {}", outside.join(", ")));
        }
    }
}

/// What is needed and not granted, a phrase for each table and right.
fn missing(catalog: &Catalog, needs: &Needs) -> Vec<String> {
    let mut missing = Vec::new();
    for (name, needs) in &needs.tables {
        let Some(table) = catalog.tables.iter().find(|t| t.name == *name) else { continue };
        for (right, wanted) in [("select", &needs.select), ("insert", &needs.insert), ("update", &needs.update)] {
            let lacks = |c: &&String| {
                !table.rights.contains(right) && table.column(c).is_some_and(|info| !info.rights.contains(right))
            };
            let lacking: Vec<&str> = wanted.iter().filter(lacks).map(String::as_str).collect();
            if !lacking.is_empty() {
                missing.push(format!("{right} on {name} ({})", lacking.join(", ")));
            }
        }
        if needs.delete && !table.rights.contains("delete") {
            missing.push(format!("delete on {name}"));
        }
    }
    missing
}

/// What the user may do to a mapped table beyond its needs: the verb and the columns, or the rights by name.
fn excess(table: &TableInfo, needs: &TableNeeds) -> Vec<(&'static str, Vec<String>)> {
    let columns = |right: &str, wanted: &BTreeSet<String>| -> Vec<String> {
        let granted = table.columns.iter().filter(|c| c.rights.contains(right) && !c.is_computed);
        granted.map(|c| c.name.clone()).filter(|c| !wanted.contains(c)).collect()
    };
    let whole = table.rights.iter().filter(|r| !matches!(r.as_str(), "select" | "insert" | "update"));
    let whole = whole.filter(|r| !(needs.delete && *r == "delete")).cloned().collect();
    let all = [
        ("read in", columns("select", &needs.select)),
        ("write in new rows of", columns("insert", &needs.insert)),
        ("change in", columns("update", &needs.update)),
        ("do more with", whole),
    ];
    all.into_iter().filter(|(_, names)| !names.is_empty()).collect()
}

/// The rights on a table that is not mapped, in one phrase. Nothing where there are none.
fn held(table: &TableInfo) -> Option<String> {
    let mut rights: BTreeSet<&str> = table.rights.iter().map(String::as_str).collect();
    rights.extend(table.columns.iter().flat_map(|c| c.rights.iter().map(String::as_str)));
    (!rights.is_empty()).then(|| rights.into_iter().collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use landbridge_stores::TableName;
    use landbridge_stores::catalog::ColumnInfo;

    use super::*;

    fn set(words: &str) -> BTreeSet<String> {
        words.split_whitespace().map(str::to_owned).collect()
    }

    fn table(name: &str, rights: &str, columns: &[(&str, &str)]) -> TableInfo {
        let column = |(name, rights): &(&str, &str)| ColumnInfo {
            name: (*name).into(),
            rights: set(rights),
            ..ColumnInfo::default()
        };
        TableInfo {
            name: TableName::plain(name),
            is_table: true,
            columns: columns.iter().map(column).collect(),
            unique: vec![],
            references: vec![],
            insert_triggers: vec![],
            rows: None,
            rights: set(rights),
        }
    }

    fn said(tables: Vec<TableInfo>, is_superuser: bool) -> Vec<String> {
        let catalog =
            Catalog { user: Some("bridge".into()), is_superuser, vendor: Vendor::Postgres, database: None, tables };
        let work = TableNeeds { select: set("id body"), insert: set("body"), ..TableNeeds::default() };
        let mut needs = Needs::default();
        needs.tables.insert(TableName::plain("work"), work);
        let mut report = Report::default();
        say(&mut report, &catalog, &needs);
        report.0.into_iter().filter(|f| f.check == "rights").map(|f| f.detail).collect()
    }

    #[test]
    fn a_user_with_exactly_the_needed_rights_is_praised() {
        let work = table("work", "", &[("id", "select"), ("body", "select insert"), ("phone", "")]);
        let others = table("users", "", &[("password", "")]);
        assert_eq!(said(vec![work, others], false), ["bridge may do what the mapping needs, and nothing else"]);
    }

    #[test]
    fn what_is_missing_and_what_is_too_much_is_named() {
        let work = table("work", "delete", &[("id", ""), ("body", "select insert update"), ("phone", "select")]);
        let users = table("users", "", &[("password", "select"), ("login", "update")]);
        assert_eq!(
            said(vec![work, users], false),
            [
                format!("bridge lacks select on work (id); {NEXT}"),
                "beyond the mapping, bridge may read in work: phone".to_owned(),
                "beyond the mapping, bridge may change in work: body".to_owned(),
                "beyond the mapping, bridge may do more with work: delete".to_owned(),
                "bridge has rights on tables that the mapping does not name: users (select, update)".to_owned(),
                NEXT.to_owned(),
            ]
        );
    }

    #[test]
    fn a_superuser_gets_one_line() {
        let tables = (0..1000).map(|n| table(&format!("t{n}"), "delete", &[("a", "select")])).collect();
        assert_eq!(said(tables, true), [format!("bridge may read and change everything in this database; {NEXT}")]);
    }

    #[test]
    fn many_tables_are_cut_short() {
        let mut tables = vec![table("work", "", &[("id", "select"), ("body", "select insert")])];
        tables.extend((0..1000).map(|n| table(&format!("t{n}"), "", &[("a", "select")])));
        let said = said(tables, false);
        assert_eq!(said.len(), 2, "{said:#?}");
        assert!(said[0].ends_with("and 960 more (`--json` names all)"), "{said:#?}");
    }
}
