//! Least privilege: `grants` prints what the administrator runs as it stands. With it everything works, one column more is
//! denied by the database itself, and `check` says what is too much and what is missing.

use super::{LINKED, Peer, Server, Site};
use crate::kit::command::{CONFIGURATION, DONE};
use crate::kit::desk::is_marker;
use crate::kit::folder::Folder;
use crate::kit::wait::wait_until;

/// A way to keep a history, with things beside it that are nobody's business.
struct Kept {
    name: &'static str,
    schema: &'static str,
    /// `[history]` and `[problem]`.
    mapping: &'static str,
    /// The application appends an entry.
    append: &'static str,
    /// All texts.
    texts: &'static str,
    /// What site N has besides its history, and the problem that it writes in.
    peer: &'static str,
    of_peer: &'static str,
    /// Statements that the user must not be able to run.
    denied: &'static [&'static str],
    /// Rights that are too much, and how `check` names them.
    excess: (&'static str, &'static str),
    /// A right that is needed, and how `check` says that it is missing.
    lacking: (&'static str, &'static str),
}

/// Numbers per problem, a table of problems, a statement of `also`.
const PER_PROBLEM: Kept = Kept {
    name: "per_problem",
    schema: "create table problem (id varchar(40) primary key, title varchar(80), shared boolean not null,
                 customer varchar(80) default 'SECRET', changed int not null default 0);
             create table work_history (problem_id varchar(40) not null, work_id int not null, body text not null,
                 operator varchar(40), visibility varchar(10) not null, phone varchar(40),
                 primary key (problem_id, work_id), foreign key (problem_id) references problem (id));
             create table salary (who varchar(40), amount int);
             insert into problem (id, shared) values ('ABC', true), ('HIDDEN', false);",
    mapping: r#"
[history]
name = "h"
table = "work_history"
problem = "problem_id"
work = "work_id"
text = "body"
numbering = "per-problem"
share = "visibility = 'public'"
fields = { author = "operator" }
also = ["update problem set changed = changed + 1 where id = :problem"]
[history.insert]
visibility = "'public'"
[history.marker]
visibility = "'internal'"
[problem]
table = "problem"
id = "id"
share = "shared = true"
"#,
    append: "insert into work_history values ('ABC', 1, 'from 1', 'anna', 'public', 'SECRET'),
                 ('HIDDEN', 1, 'SECRET', 'anna', 'public', 'SECRET'), ('ABC', 2, 'SECRET', 'anna', 'internal', 'SECRET')",
    texts: "select body from work_history where problem_id = 'ABC' and body <> 'SECRET' order by work_id",
    peer: "",
    of_peer: "ABC",
    denied: &[
        "select phone from work_history",
        "select * from work_history",
        "select title from problem",
        "select customer from problem",
        "update work_history set body = 'x'",
        "update problem set shared = true",
        "delete from work_history",
        "delete from problem",
        "insert into work_history (problem_id, work_id, body, visibility, phone) values ('ABC', 99, 'x', 'public', '1')",
        "insert into problem (id, shared) values ('NEW', true)",
        "select amount from salary",
        "insert into salary values ('x', 1)",
        "create table of_mine (n int)",
        "drop table work_history",
    ],
    excess: ("select (phone), update (body) on work_history", "beyond the mapping, bridge may read in work_history: phone"),
    lacking: ("select (operator) on work_history", "operator"),
};

/// Numbers of the database, markers in a table of their own, problems that are created and linked.
const APART: Kept = Kept {
    name: "apart",
    schema: "create table ticket (id NUMBER, ref varchar(60) unique, title varchar(80), state varchar(20) not null,
                 customer varchar(80) default 'SECRET', changed int not null default 0);
             create table reply (id NUMBER, ticket_id int not null, body text not null,
                 internal boolean not null default false, ip varchar(40));
             create index replies on reply (ticket_id);
             create table marker (number NUMBER, problem varchar(40) not null, text text not null);
             create index markers on marker (problem);
             create table salary (who varchar(40), amount int);
             insert into ticket (title, state) values ('printer', 'open');",
    mapping: r#"
[history]
name = "h"
table = "reply"
problem = "ticket_id"
work = "id"
text = "body"
numbering = "generated"
share = "not internal"
also = ["update ticket set changed = changed + 1 where id = :problem"]
[markers]
table = "marker"
[problem]
table = "ticket"
id = "id"
pairing = "linked"
link = "ref"
create = true
fields = { title = "title" }
[problem.insert]
state = "'new'"
"#,
    append: "insert into reply (ticket_id, body, ip) values (1, 'from 1', 'SECRET')",
    texts: "select body from reply order by id",
    peer: LINKED,
    of_peer: "1",
    denied: &[
        "select ip from reply",
        "select customer from ticket",
        "update ticket set title = 'x'",
        "update ticket set ref = 'x'",
        "update reply set body = 'x'",
        "update marker set text = 'x'",
        "delete from marker",
        "delete from reply",
        "insert into reply (ticket_id, body, ip) values (1, 'x', 'x')",
        "insert into reply (id, ticket_id, body) values (99, 1, 'x')",
        "insert into marker (number, problem, text) values (99, '1', 'x')",
        "insert into ticket (state, customer) values ('new', 'x')",
        "select amount from salary",
    ],
    excess: (
        "select (customer), insert (customer) on ticket",
        "beyond the mapping, bridge may read in ticket: customer",
    ),
    lacking: ("insert (ref) on ticket", "ref"),
};

/// A history in two tables, read by a query and written by statements.
const STATEMENTS: Kept = Kept {
    name: "statements",
    schema:
        "create table transactions (id NUMBER, ticket int not null, kind varchar(20) not null, creator int default 7);
             create table attachments (id NUMBER, transaction_id int not null, content text, headers text);
             create table salary (who varchar(40), amount int);",
    mapping: r#"
[history]
name = "h"
read = """select t.ticket as problem, t.id as work, a.content as text, (t.kind = 'reply') as share
          from transactions t join attachments a on a.transaction_id = t.id"""
append = [
  "insert into transactions (ticket, kind) values (:problem, :kind)",
  "insert into attachments (transaction_id, content) values (:work, :text)",
]
work_from = "WORK_FROM"
append_kind = { entry = "reply", marker = "note" }
"#,
    append: "insert into transactions (ticket, kind) values (1, 'reply');
             insert into attachments (transaction_id, content, headers) values (1, 'from 1', 'SECRET')",
    texts: "select content from attachments order by transaction_id",
    peer: "",
    of_peer: "1",
    denied: &[
        "select creator from transactions",
        "select headers from attachments",
        "update transactions set kind = 'x'",
        "update attachments set content = 'x'",
        "delete from attachments",
        "insert into transactions (ticket, kind, creator) values (1, 'reply', 1)",
        "insert into attachments (transaction_id, content, headers) values (1, 'x', 'x')",
        "select amount from salary",
    ],
    excess: ("select (headers), delete on attachments", "beyond the mapping, bridge may read in attachments: headers"),
    lacking: ("insert (content) on attachments", "content"),
};

#[test]
fn on_postgresql_the_granted_rights_are_enough_and_nothing_else_is_possible() {
    let Some(server) = Server::postgres() else { return };
    [PER_PROBLEM, APART, STATEMENTS].iter().for_each(|kept| least_privilege(&server, kept));
}

#[test]
fn on_mariadb_the_granted_rights_are_enough_and_nothing_else_is_possible() {
    let Some(server) = Server::mariadb() else { return };
    [PER_PROBLEM, APART, STATEMENTS].iter().for_each(|kept| least_privilege(&server, kept));
}

fn least_privilege(server: &Server, kept: &Kept) {
    let folder = Folder::new(kept.name);
    let (database, user) = (kept.name, format!("bridge_{}", kept.name));
    let number_of_last = match server {
        Server::Postgres(_) => "currval('transactions_id_seq')",
        Server::MariaDb(_) => "last_insert_id()",
    };
    let mapping = kept.mapping.replace("WORK_FROM", number_of_last);
    server.create(database, kept.schema);
    server.sql(database, kept.append);
    server.create_user(&user);
    let peer = Peer::start(folder.path(), kept.peer);
    peer.append(kept.of_peer, &["from N"]);

    // As somebody who sees the tables, the administrator lets `grants` say what is needed, and runs it as it stands.
    let site = Site::new(folder.path(), &server.url(database), &mapping, &peer.network());
    let grants = site.run(&["grants", "--user", &user, "--host", "127.0.0.1"]).ends(DONE).out;
    server.sql(database, &grants);

    site.configure(&server.url_as(&user, database), &mapping, &peer.network());
    let called = match server {
        Server::Postgres(_) => user.clone(),
        Server::MariaDb(_) => format!("{user}@127.0.0.1"),
    };
    let praised = format!("ok rights: {called} may do what the mapping needs, and nothing else");
    let found = site.findings();
    assert!(found.contains(&praised) && !found.iter().any(|f| f.starts_with("fault")), "{found:#?}\n{grants}");

    exchanges(server, kept, &site, &peer);

    for statement in kept.denied {
        let said = server.as_user(&user, database, statement).expect_err(statement);
        let words = match server {
            Server::Postgres(_) => ["permission denied for ", "must be owner of "],
            Server::MariaDb(_) => ["command denied to user", "command denied to user"],
        };
        assert!(words.iter().any(|w| said.contains(w)), "{}: {statement}: {said}", kept.name);
    }

    folds(server, kept, &site, &peer, &user, &called, &mapping);

    // More than is needed is named, and works.
    let (rights, named) = kept.excess;
    server.sql(database, &format!("grant {} to {}", rights, server.grantee(&user)));
    let named = named.replace("bridge may", &format!("{called} may"));
    let found = site.findings();
    assert!(found.iter().any(|f| f.contains(&named)), "{}: {named}: {found:#?}", kept.name);
    site.run(&["check"]).ends(DONE);

    // Less than is needed is a fault, and says what to do.
    let (rights, column) = kept.lacking;
    server.sql(database, &format!("revoke {} from {}", rights, server.grantee(&user)));
    let found = site.findings();
    let lacks = |f: &String| f.starts_with("fault rights: ") && f.contains("lacks") && f.contains(column);
    assert!(found.iter().any(lacks) && found.iter().any(|f| f.contains("landbridge grants")), "{found:#?}");
    site.run(&["check"]).ends(CONFIGURATION);
}

/// Markers are deleted where the configuration says so and the right is given, and only then.
fn folds(server: &Server, kept: &Kept, site: &Site, peer: &Peer, user: &str, called: &str, mapping: &str) {
    for text in ["second", "third"] {
        peer.append(kept.of_peer, &[text]);
        wait_until("it arrives", || {
            site.run(&["sync"]);
            server.query(kept.name, kept.texts).into_iter().flatten().any(|there| there == text)
        });
    }
    let all = || {
        let marker = if kept.name == "apart" { "select text from marker order by number" } else { kept.texts };
        [kept.texts, marker].map(|sql| server.query(kept.name, sql))
    };
    let markers = || all()[1].iter().flatten().filter(|text| is_marker(text)).count();
    let (before, as_user) = (all(), server.url_as(user, kept.name));
    assert!(markers() > 2, "{before:?}");
    let fold = ["compact", "--min-markers", "1"];
    let refused = |words: &[&str]| {
        let ran = site.run(&fold).ends(CONFIGURATION);
        assert!(words.iter().all(|word| ran.err.contains(word)), "{}: {}", kept.name, ran.err);
        assert_eq!(all(), before);
    };
    refused(&["[markers] compact is not set", "landbridge compact --help"]);
    site.run(&["compact", "--min-markers", "1", "--dry-run"]).ends(DONE);
    assert_eq!(all(), before);

    let allowed = match mapping.contains("[markers]") {
        true => mapping.replace("[markers]", "[markers]\ncompact = true"),
        false => format!("{mapping}\n[markers]\ncompact = true\n"),
    };
    site.configure(&as_user, &allowed, &peer.network());
    let said = if kept.name == "statements" { "does not say how" } else { "grants --compact" };
    refused(&[said]);
    let allowed = allowed.replace(
        "append_kind",
        "remove = [\"delete from attachments where transaction_id = :work and content = :text and exists (select 1 from \
         transactions t where t.id = transaction_id and t.ticket = :problem)\", \"delete from transactions where id = :work\"]\n\
         append_kind",
    );
    site.configure(&as_user, &allowed, &peer.network());
    refused(&["denied"]);

    let given = if kept.name == "statements" { &allowed } else { mapping };
    site.configure(&server.url(kept.name), given, &peer.network());
    let grants = site.run(&["grants", "--compact", "--user", user, "--host", "127.0.0.1"]).ends(DONE).out;
    assert!(grants.contains("delete on ") && !grants.contains("CANNOT BE TOLD"), "{grants}");
    server.sql(kept.name, &grants);
    site.configure(&as_user, &allowed, &peer.network());
    let found = site.findings();
    let praised = format!("ok rights: {called} may do what the mapping needs, and nothing else");
    assert!(found.contains(&praised), "{found:#?}\n{grants}");
    site.run(&fold).ends(DONE);
    assert_eq!(markers(), 1, "{:?}", all());
    let entries = |all: [Vec<Vec<String>>; 2]| -> Vec<String> {
        all[0].iter().flatten().filter(|text| !is_marker(text)).cloned().collect()
    };
    assert_eq!(entries(all()), entries(before.clone()));
    let salary = server.as_user(user, kept.name, "delete from salary").expect_err("another table");
    assert!(salary.contains("denied"), "{salary}");

    // Where it is not allowed any more, the right is too much.
    site.configure(&as_user, mapping, &peer.network());
    let found = site.findings();
    assert!(found.iter().any(|f| f.contains("may do more with") && f.contains("delete")), "{found:#?}");
}

/// Entries go in both directions, and each is there once.
fn exchanges(server: &Server, kept: &Kept, site: &Site, peer: &Peer) {
    let here = || -> Vec<String> {
        let texts = server.query(kept.name, kept.texts).into_iter().flatten();
        texts.filter(|text| !is_marker(text)).collect()
    };
    let mut said = String::new();
    wait_until("site 1 has what site N wrote", || {
        said = site.run(&["sync"]).said();
        here().contains(&"from N".to_owned())
    });
    let (mut here, mut there) = (here(), peer.entries());
    here.sort();
    there.sort();
    assert_eq!(here.iter().filter(|text| *text == "from 1").count(), 1, "{here:?} {said}");
    assert_eq!(there.iter().filter(|text| *text == "from 1").count(), 1, "{there:?} {said}");
    assert!(!there.contains(&"SECRET".to_owned()), "{there:?}");
    let status = site.run(&["status", "--json"]).json();
    assert_eq!(status["peers"][0]["pending"], 0, "{status}");
}
