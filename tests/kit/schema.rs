//! Applications' databases, as different as the mapping allows, and what their applications do with them in plain SQL.
//! Whatever differs is data: here are those on SQLite, and the same on servers in files of their own.

pub mod mariadb;
pub mod postgres;

use super::sql::Vendor;

/// A database of an application, and how a bridge is told to read it.
#[derive(Debug)]
pub struct Schema {
    /// Its name, by which a writer process finds it again.
    pub name: &'static str,
    /// Whose SQL this is.
    pub vendor: Vendor,
    /// The tables.
    pub tables: &'static str,
    /// `[history]` and `[problem]` of the configuration.
    pub mapping: &'static str,
    /// Makes problem ?1 with the confidential value ?2. Does nothing where there is no table of problems.
    pub make_problem: &'static str,
    /// The number of the next row of problem ?1; null where the database gives it out.
    pub next: &'static str,
    /// Appends to problem ?1, under number ?2, text ?3 by ?4; shareable where ?5; with the confidential value ?6. On
    /// PostgreSQL it returns the number.
    pub append: &'static str,
    /// Makes row ?2 of problem ?1 shareable.
    pub publish: &'static str,
    /// All rows that belong to the history: problem, number, text, author, whether shareable.
    pub rows: &'static str,
    /// Takes row ?2 of problem ?1 away.
    pub delete: &'static str,
    /// Gives row ?2 of problem ?1 the text ?3.
    pub edit: &'static str,
}

/// Numbers per problem, upper case, a table of problems with a condition, rows that are no work, a column without null
/// that the mapping has to fill, a write-ahead log.
pub const HELPDESK: Schema = Schema {
    name: "helpdesk",
    vendor: Vendor::Sqlite,
    tables: "pragma journal_mode = wal;
             create table PROBLEM (PROBLEM_ID text primary key, CUSTOMER text not null, SHARED integer not null);
             create table WORK_HISTORY (
               PROBLEM_ID text not null references PROBLEM, WORK_ID integer not null, WORK_HISTORY text not null,
               OPERATOR text not null, KIND text not null check (KIND in ('work', 'state')), PRIORITY integer not null,
               VISIBILITY text not null check (VISIBILITY in ('public', 'internal')), CUSTOMER_PHONE text,
               primary key (PROBLEM_ID, WORK_ID));",
    mapping: r#"
[history]
name = "work_history"
table = "WORK_HISTORY"
problem = "PROBLEM_ID"
work = "WORK_ID"
text = "WORK_HISTORY"
numbering = "per-problem"
where = "KIND = 'work'"
share = "VISIBILITY = 'public'"
fields = { author = "OPERATOR" }
[history.insert]
KIND = "'work'"
PRIORITY = "3"
VISIBILITY = "'public'"
OPERATOR = "coalesce(:author, 'bridge')"
[history.marker]
VISIBILITY = "'internal'"
[problem]
table = "PROBLEM"
id = "PROBLEM_ID"
share = "SHARED = 1"
"#,
    make_problem: "insert into PROBLEM values (?1, ?2, 1)",
    next: "select coalesce(max(WORK_ID), 0) + 1 from WORK_HISTORY where PROBLEM_ID = ?1",
    append: "insert into WORK_HISTORY
               (PROBLEM_ID, WORK_ID, WORK_HISTORY, OPERATOR, KIND, PRIORITY, VISIBILITY, CUSTOMER_PHONE)
             values (?1, ?2, ?3, ?4, 'work', 1, case when ?5 then 'public' else 'internal' end, ?6)",
    publish: "update WORK_HISTORY set VISIBILITY = 'public' where PROBLEM_ID = ?1 and WORK_ID = ?2",
    rows: "select PROBLEM_ID, WORK_ID, WORK_HISTORY, OPERATOR, VISIBILITY = 'public'
           from WORK_HISTORY where KIND = 'work' order by PROBLEM_ID, WORK_ID",
    delete: "delete from WORK_HISTORY where PROBLEM_ID = ?1 and WORK_ID = ?2",
    edit: "update WORK_HISTORY set WORK_HISTORY = ?3 where PROBLEM_ID = ?1 and WORK_ID = ?2",
};

/// Numbers per problem in a column that is not the table's key, an internal flag, a text column of a declared width, a
/// rollback journal.
pub const TICKETS: Schema = Schema {
    name: "tickets",
    vendor: Vendor::Sqlite,
    tables: "create table tickets (ticket text primary key, escalation text);
             create table ticket_comments (
               id integer primary key, ticket text not null references tickets, no integer not null,
               body varchar(2000) not null check (body not like '%forbidden%'), author text,
               is_internal integer not null default 0, cost_centre text not null, unique (ticket, no));
             create trigger no_alarms before insert on ticket_comments when new.body like '%alarm%'
             begin select raise(abort, 'alarms are not for tickets'); end;",
    mapping: r#"
[history]
name = "work_history"
table = "ticket_comments"
problem = "ticket"
work = "no"
text = "body"
numbering = "per-problem"
share = "is_internal = 0"
fields = { author = "author" }
[history.insert]
cost_centre = "'external'"
[history.marker]
is_internal = "1"
[problem]
table = "tickets"
id = "ticket"
"#,
    make_problem: "insert into tickets values (?1, ?2)",
    next: "select coalesce(max(no), 0) + 1 from ticket_comments where ticket = ?1",
    append: "insert into ticket_comments (ticket, no, body, author, is_internal, cost_centre)
             values (?1, ?2, ?3, ?4, not ?5, ?6)",
    publish: "update ticket_comments set is_internal = 0 where ticket = ?1 and no = ?2",
    rows: "select ticket, no, body, author, is_internal = 0 from ticket_comments order by ticket, no",
    delete: "delete from ticket_comments where ticket = ?1 and no = ?2",
    edit: "update ticket_comments set body = ?3 where ticket = ?1 and no = ?2",
};

/// Numbers that the database gives out, one sequence for all problems, no table of problems, a write-ahead log.
pub const COMMENTS: Schema = Schema {
    name: "comments",
    vendor: Vendor::Sqlite,
    tables: "pragma journal_mode = wal;
             create table comments (
               id integer primary key autoincrement, issue text not null, comment text not null, writer text,
               hidden boolean not null default 0, hours_billed text not null default '');
             create index comments_issue on comments (issue);",
    mapping: r#"
[history]
name = "work_history"
table = "comments"
problem = "issue"
work = "id"
text = "comment"
numbering = "generated"
share = "not hidden"
fields = { author = "writer" }
[history.marker]
hidden = "1"
"#,
    make_problem: "select ?1, ?2 where false",
    next: "select null where ?1 is not null",
    append: "insert into comments (issue, id, comment, writer, hidden, hours_billed)
             values (?1, ?2, ?3, ?4, not ?5, ?6)",
    publish: "update comments set hidden = 0 where issue = ?1 and id = ?2",
    rows: "select issue, id, comment, writer, not hidden from comments order by issue, id",
    delete: "delete from comments where issue = ?1 and id = ?2",
    edit: "update comments set comment = ?3 where issue = ?1 and id = ?2",
};

impl Schema {
    /// The schema of this name, as it is on this vendor.
    pub fn named(name: &str, vendor: Vendor) -> &'static Schema {
        let all = [&HELPDESK, &TICKETS, &COMMENTS].into_iter().chain(postgres::ALL).chain(mariadb::ALL);
        let found = all.into_iter().find(|schema| schema.name == name && schema.vendor == vendor);
        found.unwrap_or_else(|| panic!("there is no {name} on {vendor:?}"))
    }
}
