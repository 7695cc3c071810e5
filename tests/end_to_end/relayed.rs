//! Entries of a third site that come along two ways at once: two peers deliver the same ones, in batches that cross, while
//! people write. Each is there once, whatever the isolation of the database.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Barrier;
use std::thread;

use serde_json::{Value, json};

use crate::kit::ask::post;
use crate::kit::bridge::Bridge;
use crate::kit::desk::{Desk, QUICK};
use crate::kit::folder::Folder;
use crate::kit::host::{At, Host};
use crate::kit::schema::{COMMENTS, HELPDESK};
use crate::kit::wait::wait_until;

/// As often both peers deliver at the same moment.
const ROUNDS: usize = 40;
const PROBLEMS: usize = 8;
const TOKENS: [(&str, &str); 2] =
    [("A", "a-token-of-site-A-for-tests-only"), ("B", "a-token-of-site-B-for-tests-only")];

#[test]
fn two_peers_deliver_the_same_entries_to_postgres_at_once() {
    let Some(host) = Host::postgres() else { return };
    deliver_to(HELPDESK.on(&host), 1);
    deliver_to(HELPDESK.on(&host), 2);
    deliver_to(COMMENTS.on(&host), 2);
}

#[test]
fn two_peers_deliver_the_same_entries_to_mariadb_at_once() {
    let Some(host) = Host::mariadb() else { return };
    deliver_to(HELPDESK.on(&host), 1);
    deliver_to(HELPDESK.on(&host), 2);
    deliver_to(COMMENTS.on(&host), 2);
}

/// The second bridge, where there is one, shares nothing with the first but the database.
fn deliver_to(at: At, bridges: usize) {
    let folder = Folder::new("relayed");
    let names: Vec<_> = (0..PROBLEMS).map(|n| format!("P-{n}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let peer = |(name, token): &(&str, &str)| {
        format!("[[peer]]\nname = \"{name}\"\ntoken = \"{token}\"\nrelay_from = [\"C\"]\nrelay = true\n")
    };
    let peers: String = TOKENS.iter().map(peer).collect();
    let network = format!("[listen]\naddress = \"127.0.0.1:0\"\n{peers}{QUICK}");
    let desk = Desk::make(folder.path(), "X", at, &names, &network);
    let mut desks = vec![desk.clone()];
    if bridges > 1 {
        desks.push(desk.second_bridge());
    }
    let bridges: Vec<_> = desks.iter().map(Bridge::start).collect();

    let together = Barrier::new(3);
    thread::scope(|scope| {
        for (at, (name, token)) in TOKENS.into_iter().enumerate() {
            let (together, desk) = (&together, &desk);
            let address = bridges[at % bridges.len()].address.unwrap();
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    together.wait();
                    deliver(address, name, token, &batch(name, round, at == 1), desk);
                }
            });
        }
        scope.spawn(|| {
            for round in 0..ROUNDS {
                together.wait();
                desk.append(&format!("P-{}", round % PROBLEMS), &[&format!("written here {round}")]);
            }
        });
    });

    let mut counted: BTreeMap<(String, String), usize> = BTreeMap::new();
    for problem in &names {
        for text in desk.entries(problem) {
            *counted.entry(((*problem).to_owned(), text)).or_default() += 1;
        }
    }
    let doubled: Vec<_> = counted.iter().filter(|(_, times)| **times != 1).collect();
    assert!(doubled.is_empty(), "{:?}: {doubled:?}", desk.host);
    // Each round has three entries in each problem, of which each peer delivers two, and one of this site.
    assert_eq!(counted.len(), ROUNDS * PROBLEMS * 3 + ROUNDS, "{:?}", desk.host);
    let status = desk.status();
    assert_eq!((&status["differs"]["count"], &status["suspended"]["count"]), (&json!(0), &json!(0)), "{status}");
}

/// Of every problem two of the round's three entries; the other peer has them in the other order, and problems too.
fn batch(name: &str, round: usize, backwards: bool) -> Vec<Value> {
    let delivery = |problem: usize| {
        let first = (problem * ROUNDS + round) * 3 + 1;
        let numbers = if backwards { [first + 1, first + 2] } else { [first, first + 1] };
        let entry = |number: usize| json!({"origin": format!("C/{number}"), "text": format!("written at C {number}")});
        json!({
            "names": {name: format!("P-{problem}")}, "belief": {"count": 0, "sum": "0000000000000000"},
            "entries": numbers.map(entry),
        })
    };
    let mut deliveries: Vec<_> = (0..PROBLEMS).map(delivery).collect();
    if backwards {
        deliveries.reverse();
    }
    deliveries
}

/// Delivers until it is taken: a receiver may say "not now".
fn deliver(address: SocketAddr, name: &str, token: &str, deliveries: &[Value], desk: &Desk) {
    let push = json!({"wire": 1, "from": name, "to": "X", "history": "work_history", "deliveries": deliveries});
    wait_until("the delivery is taken", || {
        let (status, answer) = post(address, token, "/v1/push", &push);
        if status == 503 {
            return false;
        }
        assert_eq!(status, 200, "{:?}: {answer}", desk.host);
        for (receipt, delivery) in answer["receipts"].as_array().unwrap().iter().zip(deliveries) {
            assert!(receipt["refused"].as_array().is_none_or(Vec::is_empty), "{receipt} for {delivery}");
            assert!(receipt["holds"]["C"].is_string(), "{receipt}");
        }
        true
    });
}
