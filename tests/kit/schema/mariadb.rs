//! The applications as they are on MariaDB, with its types: enumerations, `tinyint` for truth, texts that compare without
//! regard to case.

use super::Schema;
use crate::kit::sql::Vendor;

/// All of them.
pub const ALL: [&Schema; 3] = [&HELPDESK, &COMMENTS, &QUEUE];

/// Numbers per problem, a table of problems with a condition, rows that are no work, an enumeration, a column without null
/// that the mapping has to fill.
pub const HELPDESK: Schema = Schema {
    name: "helpdesk",
    vendor: Vendor::MariaDb,
    tables: "create table PROBLEM (PROBLEM_ID varchar(40) primary key, CUSTOMER text not null, SHARED tinyint(1) not null)
               engine = innodb;
             create table WORK_HISTORY (
               PROBLEM_ID varchar(40) not null references PROBLEM (PROBLEM_ID), WORK_ID int not null,
               `Work Text` mediumtext not null, OPERATOR varchar(80) not null, KIND enum('work', 'state') not null,
               PRIORITY int not null, VISIBILITY enum('public', 'internal') not null, CUSTOMER_PHONE varchar(40),
               WRITTEN timestamp not null default current_timestamp, primary key (PROBLEM_ID, WORK_ID)) engine = innodb;",
    mapping: r#"
[history]
name = "work_history"
table = "WORK_HISTORY"
problem = "PROBLEM_ID"
work = "WORK_ID"
text = "Work Text"
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
               (PROBLEM_ID, WORK_ID, `Work Text`, OPERATOR, KIND, PRIORITY, VISIBILITY, CUSTOMER_PHONE)
             values (?1, ?2, ?3, ?4, 'work', 1, if(?5, 'public', 'internal'), ?6)",
    publish: "update WORK_HISTORY set VISIBILITY = 'public' where PROBLEM_ID = ?1 and WORK_ID = ?2",
    rows: "select PROBLEM_ID, WORK_ID, `Work Text`, OPERATOR, VISIBILITY = 'public'
           from WORK_HISTORY where KIND = 'work' order by PROBLEM_ID, WORK_ID",
    delete: "delete from WORK_HISTORY where PROBLEM_ID = ?1 and WORK_ID = ?2",
    edit: "update WORK_HISTORY set `Work Text` = ?3 where PROBLEM_ID = ?1 and WORK_ID = ?2",
};

/// Numbers that the database gives out, one counter for all problems, no table of problems.
pub const COMMENTS: Schema = Schema {
    name: "comments",
    vendor: Vendor::MariaDb,
    tables: "create table comments (
               id bigint unsigned not null auto_increment primary key, issue varchar(60) not null, comment longtext not null,
               writer varchar(80), hidden tinyint(1) not null default 0, hours_billed varchar(40) not null default '',
               written timestamp not null default current_timestamp, key (issue)) engine = innodb;",
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
    make_problem: "select ?1, ?2 from dual where false",
    next: "select null from dual where ?1 is not null",
    append: "insert into comments (issue, id, comment, writer, hidden, hours_billed)
             values (?1, ?2, ?3, ?4, not ?5, ?6)",
    publish: "update comments set hidden = 0 where issue = ?1 and id = ?2",
    rows: "select issue, id, comment, writer, not hidden from comments order by issue, id",
    delete: "delete from comments where issue = ?1 and id = ?2",
    edit: "update comments set comment = ?3 where issue = ?1 and id = ?2",
};

/// Tickets that each site numbers by itself, with a column for where they come from. The confidential value is in the
/// ticket.
pub const QUEUE: Schema = Schema {
    name: "queue",
    vendor: Vendor::MariaDb,
    tables: "create table tickets (
               id int not null auto_increment primary key, title varchar(200) not null default '',
               status varchar(10) not null default 'open', external_ref varchar(200),
               requester varchar(80) not null default 'somebody') engine = innodb auto_increment = 5000;
             create table notes (
               id bigint not null auto_increment primary key, ticket_id int not null references tickets (id),
               body mediumtext not null, author varchar(80), internal tinyint(1) not null default 0, key (ticket_id))
               engine = innodb;",
    mapping: r#"
[history]
name = "work_history"
table = "notes"
problem = "ticket_id"
work = "id"
text = "body"
numbering = "generated"
share = "not internal"
fields = { author = "author" }
[history.marker]
internal = "1"
[problem]
table = "tickets"
id = "id"
pairing = "linked"
link = "external_ref"
fields = { title = "title" }
"#,
    make_problem: "insert into tickets (id, requester, title) values (?1, ?2, concat('Ticket ', ?1))",
    next: "select null from dual where ?1 is not null",
    append: "insert into notes (ticket_id, id, body, author, internal)
             select ?1, ?2, ?3, ?4, not ?5 from dual where ?6 is not null",
    publish: "update notes set internal = 0 where ticket_id = ?1 and id = ?2",
    rows: "select cast(ticket_id as char), id, body, author, not internal from notes order by ticket_id, id",
    delete: "delete from notes where ticket_id = ?1 and id = ?2",
    edit: "update notes set body = ?3 where ticket_id = ?1 and id = ?2",
};
