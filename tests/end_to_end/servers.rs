//! A server that stands still, or is started again, under a running bridge: it is waited out, `status` tells it, and nothing
//! is lost.

use crate::kit::command::{DATABASE, LEFT};
use crate::kit::host::Host;
use crate::kit::pair::Pair;
use crate::kit::schema::{COMMENTS, HELPDESK};
use crate::kit::wait::wait_until;

#[test]
fn a_server_that_is_down_for_a_while_is_waited_out_and_told() {
    let (Some(postgres), Some(mariadb)) = (Host::own_postgres(), Host::own_mariadb()) else { return };
    let pair = Pair::new("down", HELPDESK.on(&postgres), COMMENTS.on(&mariadb), &["ABC"]);
    let (_one, _n) = pair.start();
    pair.one.append("ABC", &["before"]);
    pair.wait_until_in_step();
    let mut written = vec!["before".to_owned()];
    for (desk, other) in [(&pair.one, &pair.n), (&pair.n, &pair.one)] {
        desk.host.kill();
        let text = format!("while {:?} was down", desk.host);
        other.append("ABC", &[&text]);
        written.push(text.clone());
        let said = desk.run(&["status"]).ends(DATABASE).err;
        assert!(said.contains("start the database"), "{said}");
        let told = || other.status()["peers"][0]["last_error"].as_str().map(str::to_owned);
        wait_until("the other site tells that its peer takes nothing", || told().is_some());
        other.run(&["status"]).ends(LEFT);
        desk.host.restart();
        wait_until("it arrives", || desk.entries("ABC").contains(&text));
        pair.wait_until_in_step();
        wait_until("it is no news any more", || told().is_none());
    }
    // In order, with connections open on both sides.
    for desk in [&pair.one, &pair.n] {
        desk.host.restart();
        let text = format!("after a restart of {:?}", desk.host);
        desk.append("ABC", &[&text]);
        written.push(text);
        pair.wait_until_in_step();
    }
    assert_eq!(pair.one.entries("ABC"), written);
    assert_eq!(pair.n.entries("ABC"), written);
}

#[test]
fn a_server_that_stands_still_is_waited_out_and_told() {
    let (Some(postgres), Some(mariadb)) = (Host::own_postgres(), Host::own_mariadb()) else { return };
    let pair = Pair::new("still", HELPDESK.on(&postgres), COMMENTS.on(&mariadb), &["ABC"]);
    let quick = format!("{}?connect_timeout=1", pair.one.url);
    pair.one.reconfigure(&pair.one.url, &quick);
    let (_one, _n) = pair.start();
    pair.one.append("ABC", &["before"]);
    pair.wait_until_in_step();
    for (desk, other, text) in [(&pair.one, &pair.n, "while 1 stood"), (&pair.n, &pair.one, "while N stood")] {
        desk.host.pause();
        other.append("ABC", &[text]);
        let said = desk.run(&["status"]).ends(DATABASE).err;
        assert!(said.contains("no answer"), "{said}");
        other.run(&["status"]).ends(LEFT);
        desk.host.resume();
        wait_until("it arrives", || desk.entries("ABC").contains(&text.to_owned()));
        pair.wait_until_in_step();
    }
    let written = ["before", "while 1 stood", "while N stood"];
    assert_eq!(pair.one.entries("ABC"), written);
    assert_eq!(pair.n.entries("ABC"), written);
}
