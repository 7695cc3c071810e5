//! What a table of a server does not take: the sentence that a person reads at either site, in the log, in `status` and in
//! `explain`, while the rest of the batch flows.

use super::{PASSWORD, Peer, Server, Site};
use crate::kit::command::{CONFIGURATION, DONE, PERSON};
use crate::kit::desk::is_marker;
use crate::kit::folder::Folder;
use crate::kit::wait::wait_until;

const MAPPING: &str = r#"
[history]
name = "h"
table = "work_history"
problem = "problem"
work = "work"
text = "body"
numbering = "per-problem"
[history.insert]
category = "case when :text like 'category%' then 9 else 1 end"
[history.marker]
category = "1"
"#;

/// An entry that is refused: its text, what its own site is told, and what is said here.
struct Refusal {
    text: String,
    there: &'static str,
    here: &'static str,
}

fn refusal(text: impl Into<String>, there: &'static str, here: &'static str) -> Refusal {
    Refusal { text: text.into(), there, here }
}

#[test]
fn on_postgresql_each_refusal_is_a_sentence_and_the_rest_flows() {
    let Some(server) = Server::postgres() else { return };
    server.create(
        "desk",
        "create table category (id int primary key);
         insert into category values (1);
         create table work_history (problem varchar(40) not null, work int not null, body varchar(120) not null,
             category int not null references category deferrable initially deferred, primary key (problem, work));
         create function no_alarms() returns trigger language plpgsql as $$ begin
             if new.body like 'an alarm%' then raise exception 'alarms are not for this desk'; end if;
             return new; end $$;
         create trigger no_alarms before insert on work_history for each row execute function no_alarms();",
    );
    refuses(
        &server,
        &[
            refusal("ä".repeat(121), "text too long (limit 120)", "column body"),
            // Deferred, it would fail the whole batch at its commit.
            refusal("category 9", "constraint", "violates foreign key constraint \"work_history_category_fkey\""),
            refusal("an alarm", "trigger", "alarms are not for this desk"),
        ],
    );
}

#[test]
fn on_mariadb_each_refusal_is_a_sentence_and_the_rest_flows() {
    let Some(server) = Server::mariadb() else { return };
    server.create(
        "desk",
        "create table category (id int primary key);
         insert into category values (1);
         create table work_history (problem varchar(40) not null, work int not null,
             body varchar(120) character set utf8mb3 not null, category int not null, primary key (problem, work),
             constraint known_category foreign key (category) references category (id));
         delimiter //
         create trigger no_alarms before insert on work_history for each row begin
             if new.body like 'an alarm%' then
                 signal sqlstate '45000' set message_text = 'alarms are not for this desk';
             end if; end //
         delimiter ;",
    );
    refuses(
        &server,
        &[
            refusal("ä".repeat(121), "text too long (limit 120)", "column body"),
            refusal("category 9", "constraint", "`known_category`"),
            refusal("an alarm", "trigger", "alarms are not for this desk"),
            refusal("a fire engine 🚒", "value does not fit", "column body is kept in the character set utf8mb3"),
        ],
    );
    let found = Folder::new("utf8mb3");
    let note = Site::new(found.path(), &server.url("desk"), MAPPING, "").findings();
    assert!(note.iter().any(|f| f.contains("such as emoji, are refused. alter table `work_history`")), "{note:#?}");
}

/// Site N sends these among others that are taken.
fn refuses(server: &Server, refusals: &[Refusal]) {
    let folder = Folder::new("refused");
    let peer = Peer::start(folder.path(), "");
    let site = Site::new(folder.path(), &server.url("desk"), MAPPING, &peer.network());
    peer.append("ABC", &["before"]);
    for refusal in refusals {
        peer.append("ABC", &[&refusal.text, "between"]);
    }
    let flowing = || -> usize {
        let texts = server.query("desk", "select body from work_history").into_iter().flatten();
        texts.filter(|text| !is_marker(text)).count()
    };
    // What waits for its next try is not refused in every pass.
    let (mut log, mut wants_a_person) = (String::new(), false);
    let mut sync = || {
        let ran = site.run(&["sync"]);
        wants_a_person |= ran.code == PERSON;
        log += &ran.said();
    };
    wait_until("the rest flows", || {
        sync();
        flowing() == refusals.len() + 1
    });
    let theirs = || peer.run(&["status", "--json"]).json()["peers"][0]["refused"]["count"].as_u64();
    wait_until("site N knows what is refused", || {
        sync();
        theirs() == Some(refusals.len() as u64)
    });
    assert!(wants_a_person, "{log}");
    let status = one_line(&site.run(&["status"]).out);
    assert!(status.contains("Refused here lately") && status.contains("Nothing is lost."), "{status}");
    let json = site.run(&["status", "--json"]).json();
    let lately = json["refused_here"]["first"].as_array().unwrap();
    for (at, refusal) in refusals.iter().enumerate() {
        let row = (2 + 2 * at).to_string();
        let (there, here) = (refusal.there, refusal.here);
        let logged = format!("entry N/{row} of N for problem ABC is refused: {there} (");
        assert!(log.contains(&logged) && log.contains(here), "{logged}{here}: {log}");
        let shown = lately.iter().find(|r| r["origin"] == format!("N/{row}")).expect("it is shown");
        assert_eq!(shown["reason"], there);
        assert!(shown["detail"].as_str().unwrap().contains(here), "{shown}");
        // The other site is told the reason, and nothing of this database.
        let explained = one_line(&peer.run(&["explain", "ABC", &row]).ends(PERSON).out);
        let sentence = format!("{there}; it is tried again with growing pauses, or now by `landbridge retry`");
        assert!(explained.contains("refuses it") && explained.contains(&sentence), "{explained}");
        assert!(!explained.contains("desk") && !explained.contains("category_fkey"), "{explained}");
    }
    let theirs = one_line(&peer.run(&["status"]).ends(PERSON).out);
    assert!(theirs.contains("1 refuses: "), "{theirs}");
    assert!(refusals.iter().all(|r| theirs.contains(r.there)), "{theirs}");
    assert!(!log.contains("ää") && !log.contains(PASSWORD), "values of rows are in the log: {log}");
}

/// A screen's text, whatever its lines and tables did to it.
fn one_line(screen: &str) -> String {
    let words = screen.split(|c: char| c.is_whitespace() || matches!(c, '│' | '┆' | '|'));
    words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_column_too_narrow_for_a_marker_is_found_before_the_first_entry_travels() {
    for server in [Server::postgres(), Server::mariadb()].into_iter().flatten() {
        let folder = Folder::new("narrow");
        let peer = Peer::start(folder.path(), "");
        for (width, says) in [
            (30, "fault text width: the text column takes 30 characters, and a marker for N does not fit"),
            (70, "note text width: 70 characters: markers fit while work ids have few digits"),
            (200, "ok text width: 200 characters"),
        ] {
            let database = format!("narrow_{width}");
            let schema = format!(
                "create table work_history (problem varchar(40) not null, work int not null, body varchar({width}) not
                 null, category int not null, primary key (problem, work))"
            );
            server.create(&database, &schema);
            let site = Site::new(folder.path(), &server.url(&database), MAPPING, &peer.network());
            let found = site.findings();
            assert!(found.iter().any(|f| f.starts_with(says)), "{says}: {found:#?}");
            site.run(&["check"]).ends(if width == 30 { CONFIGURATION } else { DONE });
        }
    }
}

#[test]
fn a_table_without_transactions_is_refused_at_start_with_what_to_run() {
    let Some(server) = Server::mariadb() else { return };
    server.create(
        "desk",
        "create table work_history (problem varchar(40) not null, work int not null, body text not null,
             category int not null, primary key (problem, work)) engine = myisam",
    );
    let folder = Folder::new("myisam");
    let peer = Peer::start(folder.path(), "");
    let site = Site::new(folder.path(), &server.url("desk"), MAPPING, &peer.network());
    let words = ["engine MyISAM, which has no transactions", "alter table `work_history` engine = innodb"];
    for command in [&["run"][..], &["sync"], &["append", "ABC", "text"], &["status"]] {
        crate::lonely::fails_clearly(&site.run(command), CONFIGURATION, &words);
    }
    assert!(site.findings().iter().any(|f| f.starts_with("fault mapping: ") && words.iter().all(|w| f.contains(w))));
    server.sql("desk", "alter table `work_history` engine = innodb");
    site.run(&["check"]).ends(DONE);
}
