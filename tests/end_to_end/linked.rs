//! Tickets that each site numbers by itself, between daemons on PostgreSQL and MariaDB: created at the other site, or linked
//! by hand. One ticket each, and never a foreign one.

use crate::kit::command::{DONE, PERSON, run_with_input};
use crate::kit::desk::{Desk, QUICK};
use crate::kit::host::Host;
use crate::kit::pair::{Dialling, Pair};
use crate::kit::schema::postgres::QUEUE;
use crate::kit::wait::wait_until;

/// What a site says that creates tickets.
const CREATES: &str = "link = \"external_ref\"\ncreate = true\n";
/// The columns of a ticket that comes from elsewhere.
const INSERT: &str = "[problem.insert]\nstatus = \"'new'\"\n";

/// Site 1 on PostgreSQL, whose tickets begin with 1000, and site N on MariaDB, whose begin with 5000. Site N creates.
fn pair(name: &str, tickets: &[&str]) -> Option<Pair> {
    let (postgres, mariadb) = (Host::postgres()?, Host::mariadb()?);
    let pair = Pair::with(name, QUEUE.on(&postgres), QUEUE.on(&mariadb), &[], Dialling::Both, QUICK);
    tickets.iter().for_each(|ticket| pair.one.make_problem(ticket));
    Some(pair)
}

fn creates(desk: &Desk) {
    desk.reconfigure("link = \"external_ref\"\n", CREATES);
    desk.reconfigure("[listen]", &format!("{INSERT}[listen]"));
}

/// The tickets of a desk: number, title, status, where from.
fn tickets(desk: &Desk) -> Vec<[String; 4]> {
    let select =
        "select cast(id as char(10)), title, status, coalesce(external_ref, '') from tickets order by tickets.id";
    let word = |word: Option<String>| word.unwrap().trim_end().to_owned();
    let row = |row: Vec<Option<String>>| row.into_iter().map(word).collect::<Vec<_>>().try_into().unwrap();
    desk.query(select).into_iter().map(row).collect()
}

fn numbers(desk: &Desk) -> Vec<String> {
    tickets(desk).into_iter().map(|[number, ..]| number).collect()
}

#[test]
fn a_ticket_is_created_once_at_the_other_site_and_both_histories_keep_in_step() {
    let Some(pair) = pair("linked-created", &["17", "18"]) else { return };
    creates(&pair.n);
    creates(&pair.one);
    pair.n.make_problem("4711");
    let (one, n) = pair.start();
    pair.one.append("17", &["the disk is full", "and the other one too"]);
    pair.n.append("4711", &["written first at N"]);
    wait_until("the ticket of 1 is at N", || tickets(&pair.n).len() == 2);
    wait_until("the ticket of N is at 1", || tickets(&pair.one).len() == 3);
    pair.wait_until_in_step();

    let made = &numbers(&pair.n)[1];
    assert_eq!(tickets(&pair.n)[1], [made.as_str(), "Ticket 17", "new", "1/17"].map(str::to_owned));
    let home = numbers(&pair.one).pop().unwrap();
    assert_eq!(tickets(&pair.one)[2], [home.as_str(), "Ticket 4711", "new", "N/4711"].map(str::to_owned));
    assert_eq!(pair.n.entries(made), ["the disk is full", "and the other one too"]);
    assert_eq!(pair.one.entries(&home), ["written first at N"]);

    // Both directions, in either ticket, also after both bridges began anew without a cache.
    one.kill();
    n.kill();
    for desk in [&pair.one, &pair.n] {
        std::fs::remove_file(desk.folder.join("landbridge.toml.cache")).unwrap();
    }
    let (_one, _n) = pair.start();
    pair.n.append(made, &["bought a new one"]);
    pair.one.append(&home, &["thank you"]);
    pair.one.append("17", &["thank you too"]);
    wait_until("it arrives", || pair.one.entries("17").len() == 4 && pair.n.entries("4711").len() == 2);
    pair.wait_until_in_step();
    assert_eq!((tickets(&pair.one).len(), tickets(&pair.n).len()), (3, 2), "no further tickets");
    let all = ["the disk is full", "and the other one too", "bought a new one", "thank you too"];
    let sorted = |mut texts: Vec<String>| {
        texts.sort();
        texts
    };
    assert_eq!(sorted(pair.one.entries("17")), sorted(all.map(str::to_owned).to_vec()));
    assert_eq!(sorted(pair.n.entries(made)), sorted(all.map(str::to_owned).to_vec()));
    assert!(!pair.n.bytes().windows(11).any(|window| window == b"SECRET-of-1"), "the requester stayed at home");
}

#[test]
fn many_new_tickets_at_both_sites_at_once_are_one_each() {
    let numbers_1: Vec<_> = (100..140).map(|n| n.to_string()).collect();
    let refs: Vec<_> = numbers_1.iter().map(String::as_str).collect();
    let Some(pair) = pair("linked-many", &refs) else { return };
    creates(&pair.one);
    creates(&pair.n);
    let numbers_n: Vec<_> = (200..240).map(|n| n.to_string()).collect();
    numbers_n.iter().for_each(|number| pair.n.make_problem(number));
    let (one, _n) = pair.start();
    // What is delivered twice, because its receipt is lost, is created once.
    pair.to_n.lose_answers();
    for (a, b) in numbers_1.iter().zip(&numbers_n) {
        pair.one.append(a, &[&format!("from 1 in {a}")]);
        pair.n.append(b, &[&format!("from N in {b}")]);
    }
    pair.to_n.wait_for_answer();
    one.kill();
    pair.to_n.heal();
    let _one = pair.start_one();
    wait_until("all are at N", || pair.n.count("from 1") == 40);
    wait_until("all are at 1", || pair.one.count("from N") == 40);
    pair.wait_until_in_step();
    assert_eq!((tickets(&pair.one).len(), tickets(&pair.n).len()), (80, 80));
    assert_eq!((pair.n.count("from 1"), pair.one.count("from N")), (40, 40));
    let homes: std::collections::BTreeSet<_> = tickets(&pair.n).into_iter().map(|[.., home]| home).collect();
    assert_eq!(homes.len(), 41, "each home name once, and none for those of N");
}

#[test]
fn tickets_are_linked_by_hand_from_a_list_and_from_a_query() {
    let Some(pair) = pair("linked-by-hand", &["17", "18", "19", "20", "21"]) else { return };
    for number in ["901", "902", "903", "904", "905"] {
        pair.n.make_problem(number);
    }
    let (_one, _n) = pair.start();
    for number in ["17", "18", "19", "20"] {
        pair.one.append(number, &[&format!("written at 1 in {number}")]);
    }
    let refused = || pair.one.status()["peers"][0]["refused"]["count"].as_u64().unwrap();
    wait_until("what is not linked is refused", || refused() == 4);
    assert_eq!(pair.n.all(), [], "nothing came by chance");

    // One by one, from a file, from standard input, and from a query; at either site.
    pair.one.run(&["link", "17", "N", "901"]).ends(DONE);
    let list = pair.folder.path().join("links.csv");
    std::fs::write(&list, "problem,theirs\n902,18\n").unwrap();
    pair.n.run(&["link", "--peer", "1", "--csv", list.to_str().unwrap(), "--dry-run"]).ends(DONE);
    pair.n.run(&["link", "--peer", "1", "--csv", list.to_str().unwrap()]).ends(DONE);
    let config = pair.one.config.to_str().unwrap();
    run_with_input(["--config", config, "link", "--peer", "N", "--csv", "-"], "19,903\n").ends(DONE);
    pair.n.administer("update tickets set title = '20' where id = 904");
    let query = "select id, title from tickets where title = '20'";
    pair.n.run(&["link", "--peer", "1", "--query", query]).ends(DONE);
    let query = "select id, 905 from tickets where id = 21";
    pair.one.run(&["link", "--peer", "N", "--query", query]).ends(DONE);

    let linked = [("17", "901"), ("18", "902"), ("19", "903"), ("20", "904"), ("21", "905")];
    for (here, there) in &linked[..4] {
        let text = format!("written at 1 in {here}");
        wait_until(&format!("{text} is in {there}"), || pair.n.entries(there) == [text.as_str()]);
    }
    for (here, there) in linked {
        pair.n.append(there, &[&format!("written at N in {there}")]);
        let text = format!("written at N in {there}");
        wait_until(&format!("{text} is in {here}"), || pair.one.entries(here).contains(&text));
    }
    pair.wait_until_in_step();
    assert_eq!((tickets(&pair.one).len(), tickets(&pair.n).len()), (5, 5));

    // A ticket has one partner at a site, at either end.
    let taken = pair.one.run(&["link", "21", "N", "901", "--json"]).ends(PERSON).json();
    assert_eq!(taken[0]["result"], "linked_with_another", "{taken}");
    pair.one.make_problem("22");
    let taken = pair.one.run(&["link", "22", "N", "901", "--json"]).ends(PERSON).json();
    assert_eq!(taken[0]["result"], "taken_by_another", "{taken}");
    assert_eq!(pair.n.count("written at 1"), 4);
    assert_eq!(pair.one.count("written at N"), 5);
}
