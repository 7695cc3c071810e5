//! Histories that were copied by hand before there was a bridge: people went on writing at both sites, then both operators
//! said `adopt`. Nothing is doubled, and whatever is new flows.

use crate::kit::command::{DONE, PERSON, USAGE, run_with_input};
use crate::kit::desk::{Desk, QUICK, is_marker};
use crate::kit::host::Host;
use crate::kit::pair::{Dialling, Pair};
use crate::kit::schema::postgres::QUEUE;
use crate::kit::schema::{COMMENTS, HELPDESK};
use crate::kit::wait::wait_until;

/// The administrator copies what is public of a problem at one site into one of the other's, by SQL. Numbers there are
/// given as that site gives them.
fn copy(from: &Desk, problem: &str, to: &Desk, theirs: &str) {
    let rows = from.rows(problem).into_iter().filter(|row| row.public && !is_marker(&row.text));
    let texts: Vec<_> = rows.map(|row| row.text).collect();
    to.append(theirs, &texts.iter().map(String::as_str).collect::<Vec<_>>());
}

fn sorted(mut texts: Vec<String>) -> Vec<String> {
    texts.sort();
    texts
}

/// A query for all entries of a desk up to these numbers: what was there when the copy was made.
fn copied(desk: &Desk) -> String {
    let rows: Vec<_> = desk.all().into_iter().filter(|row| !is_marker(&row.text)).collect();
    let pairs: Vec<_> = rows.iter().map(|row| format!("select '{}', {}", row.problem, row.work)).collect();
    pairs.join(" union all ")
}

/// Sites 1 on PostgreSQL and N on MariaDB, with different schemas and numberings, each with old entries of its own that the
/// other has by hand.
fn copied_by_hand(name: &str) -> Option<Pair> {
    let (postgres, mariadb) = (Host::postgres()?, Host::mariadb()?);
    let pair = Pair::new(name, HELPDESK.on(&postgres), COMMENTS.on(&mariadb), &["ABC", "XYZ"]);
    pair.one.append("ABC", &["old, from 1", "older, from 1"]);
    pair.one.append_internal("ABC", "not yet for others");
    pair.one.append("XYZ", &["old, from 1, in XYZ"]);
    copy(&pair.one, "ABC", &pair.n, "ABC");
    copy(&pair.one, "XYZ", &pair.n, "XYZ");
    pair.n.append("ABC", &["old, from N"]);
    pair.one.append("ABC", &["old, from N"]);
    Some(pair)
}

#[test]
fn histories_copied_by_hand_are_bridged_without_doubling_and_what_is_new_flows() {
    let Some(pair) = copied_by_hand("adopted") else { return };
    let (there_1, there_n) = (copied(&pair.one), copied(&pair.n));
    let old = ["old, from 1", "older, from 1", "old, from N"].map(str::to_owned).to_vec();

    // People go on writing at both sites before anybody says anything: the other site does not have that.
    pair.one.append("ABC", &["after the copy, from 1"]);
    pair.n.append("ABC", &["after the copy, from N"]);
    pair.n.append("XYZ", &["after the copy, from N, in XYZ"]);
    let said = pair.one.run(&["adopt", "--peer", "N", "--query", &there_1, "--yes"]).ends(DONE).out;
    assert!(said.contains("4 entries of 2 problems") && said.contains("1 row is passed over"), "{said}");
    pair.n.run(&["adopt", "--peer", "1", "--query", &there_n, "--yes"]).ends(DONE);

    let (one, _n) = pair.start();
    let new = ["after the copy, from 1", "after the copy, from N"].map(str::to_owned).to_vec();
    let all = sorted([old, new].concat());
    wait_until("what is new is at N", || pair.n.entries("ABC").len() >= all.len());
    wait_until("what is new is at 1", || pair.one.entries("XYZ").len() > 1);
    pair.wait_until_in_step();
    let open = |desk: &Desk| -> Vec<String> {
        let rows = desk.rows("ABC").into_iter().filter(|row| row.public);
        sorted(rows.map(|row| row.text).filter(|text| !is_marker(text)).collect())
    };
    assert_eq!((open(&pair.one), open(&pair.n)), (all.clone(), all.clone()));
    for desk in [&pair.one, &pair.n] {
        assert_eq!(desk.entries("XYZ"), ["old, from 1, in XYZ", "after the copy, from N, in XYZ"]);
    }

    // What becomes public later is sent then, also after a restart without a cache.
    one.kill();
    std::fs::remove_file(pair.one.folder.join("landbridge.toml.cache")).unwrap();
    let _one = pair.start_one();
    pair.one.publish("ABC", 3);
    let all = sorted([all, vec!["not yet for others".to_owned()]].concat());
    wait_until("what became public is at N", || pair.n.entries("ABC").len() >= all.len());
    pair.n.append("XYZ", &["an answer"]);
    wait_until("the answer is at 1", || pair.one.entries("XYZ").len() > 2);
    pair.wait_until_in_step();
    assert_eq!((open(&pair.one), open(&pair.n)), (all.clone(), all));
    for desk in [&pair.one, &pair.n] {
        // Nothing wants a person's eye: what was adopted is no divergence and differs in nothing.
        desk.run(&["verify"]).ends(DONE);
        desk.run(&["status"]).ends(DONE);
    }
}

#[test]
fn adopt_of_everything_holds_back_what_only_one_site_has_and_at_one_site_alone_doubles_the_others() {
    let Some(pair) = copied_by_hand("adopted-at-one") else { return };
    pair.one.append("ABC", &["after the copy, from 1"]);
    pair.n.append("ABC", &["after the copy, from N"]);
    let said = pair.one.run(&["adopt", "--peer", "N", "--all", "--yes"]).ends(DONE).out;
    assert!(said.contains("5 entries of 2 problems"), "{said}");

    let (_one, _n) = pair.start();
    // Site N does not know that site 1 has them. They come, and stand there twice; what site 1 has said stays with it.
    wait_until("site 1 has what N wrote", || pair.one.count("after the copy, from N") == 1);
    pair.wait_until_in_step();
    let at_1 = ["old, from 1", "older, from 1", "not yet for others", "old, from N", "after the copy, from 1"];
    let again = ["old, from 1", "older, from 1", "old, from N", "after the copy, from N"];
    let should: Vec<_> = at_1.iter().chain(&again).map(|text| (*text).to_owned()).collect();
    assert_eq!(pair.one.entries("ABC"), should);
    let at_n = ["old, from 1", "older, from 1", "old, from N", "after the copy, from N"];
    assert_eq!(pair.n.entries("ABC"), at_n, "`--all` said of everything that N has it");
    assert_eq!(pair.one.entries("XYZ"), ["old, from 1, in XYZ"; 2]);
}

#[test]
fn a_query_that_names_no_entries_is_refused_and_records_nothing() {
    let Some(pair) = copied_by_hand("adopted-wrongly") else { return };
    let before = pair.one.all();
    let wrong = |query: &str| pair.one.run(&["adopt", "--peer", "N", "--query", query, "--yes"]);
    for (query, said) in [
        ("select 'ABC'", "row 1 of the query: 1 column instead of two"),
        ("select 'ABC', 0", "row 1 of the query"),
        ("select 'ABC', 1 union all select 'ABC', -7", "row 2 of the query"),
        ("select 'ABC', 'first'", "row 1 of the query"),
    ] {
        let ran = wrong(query).ends(USAGE);
        assert!(ran.err.contains(said), "{query}: {}", ran.err);
    }
    assert_ne!(wrong("select nothing from nowhere").code, DONE);
    let none = wrong("select 'ABC', 4711 union all select 'none', 1").ends(DONE).out;
    assert!(none.contains("owed nothing") && none.contains("2 rows are passed over"), "{none}");
    for query in ["select issue from nowhere", "selec 1", "delete from WORK_HISTORY"] {
        let ran = wrong(query).ends(USAGE);
        assert!(ran.err.contains("next: correct the query") && !ran.err.contains("grants"), "{query}: {}", ran.err);
    }
    pair.one.run(&["adopt", "--peer", "N", "--all", "--query", "select 'ABC', 1"]).ends(USAGE);
    assert_eq!(pair.one.all(), before);
}

#[test]
fn tickets_that_are_numbered_differently_are_linked_at_both_sites_and_then_adopted() {
    let (Some(postgres), Some(mariadb)) = (Host::postgres(), Host::mariadb()) else { return };
    let pair = Pair::with("adopted-linked", QUEUE.on(&postgres), QUEUE.on(&mariadb), &[], Dialling::Both, QUICK);
    let linked = [("17", "901"), ("18", "902"), ("19", "903")];
    for (here, there) in linked {
        pair.one.make_problem(here);
        pair.n.make_problem(there);
        pair.one.append(here, &[&format!("old, from 1 in {here}"), &format!("older, from 1 in {here}")]);
        pair.one.append_internal(here, &format!("not yet for others in {here}"));
        copy(&pair.one, here, &pair.n, there);
        pair.n.append(there, &[&format!("old, from N in {there}")]);
        copy_one(&pair.n, there, &pair.one, here);
    }
    pair.one.make_problem("20");
    pair.one.append("20", &["linked with none"]);

    // Of tickets that are linked with none of the peer's nothing can be held there, and the operator is told.
    let said = pair.n.run(&["adopt", "--peer", "1", "--all", "--yes"]).ends(PERSON).out;
    assert!(said.contains("3 problems are linked with none of 1's"), "{said}");
    assert_eq!(pair.n.all().iter().filter(|row| is_marker(&row.text)).count(), 0);
    let list = |pairs: Vec<String>| pairs.join("\n");
    let of_one = list(linked.iter().map(|(here, there)| format!("{here},{there}")).collect());
    let of_n = list(linked.iter().map(|(here, there)| format!("{there},{here}")).collect());
    for (desk, peer, links) in [(&pair.one, "N", of_one), (&pair.n, "1", of_n)] {
        let config = desk.config.to_str().unwrap();
        run_with_input(["--config", config, "link", "--peer", peer, "--csv", "-"], &links).ends(DONE);
    }
    pair.n.run(&["adopt", "--peer", "1", "--all", "--yes"]).ends(DONE);
    // At site 1 ticket 20 is left alone; the others are named one by one.
    pair.one.run(&["adopt", "--peer", "N", "--all", "--dry-run"]).ends(PERSON);
    pair.one.run(&["adopt", "--peer", "N", "17", "18", "19", "--yes"]).ends(DONE);
    // It has no partner at N and would wait for one.
    pair.one.administer("delete from notes where ticket_id = 20");

    let (_one, n) = pair.start();
    for (here, there) in linked {
        pair.one.append(here, &[&format!("new, from 1 in {here}")]);
        pair.n.append(there, &[&format!("new, from N in {there}")]);
    }
    wait_until("what is new is at N", || pair.n.count("new, from 1") == 3);
    n.kill();
    let _n = pair.start_n();
    wait_until("what is new is at 1", || pair.one.count("new, from N") == 3);
    for row in pair.one.all().into_iter().filter(|row| !row.public && !is_marker(&row.text)) {
        pair.one.publish(&row.problem, row.work);
    }
    wait_until("what became public is at N", || pair.n.count("not yet for others") == 3);
    pair.wait_until_in_step();
    for (here, there) in linked {
        let (at_1, at_n) = (sorted(pair.one.entries(here)), sorted(pair.n.entries(there)));
        assert_eq!(at_1, at_n);
        assert_eq!(at_1.len(), 6, "{at_1:?}");
    }
    for desk in [&pair.one, &pair.n] {
        desk.run(&["verify"]).ends(DONE);
        desk.run(&["status"]).ends(DONE);
    }
}

/// The last entry alone.
fn copy_one(from: &Desk, problem: &str, to: &Desk, theirs: &str) {
    let text = from.entries(problem).pop().unwrap();
    to.append(theirs, &[&text]);
}
