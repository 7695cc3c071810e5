//! The worked example of DESIGN §10, row for row, between two daemons over HTTP.

use crate::kit::desk::{QUICK, Row, bare, is_marker, secret};
use crate::kit::host::{At, Host};
use crate::kit::pair::{Dialling, Pair};
use crate::kit::schema::{COMMENTS, HELPDESK, TICKETS};
use crate::kit::wait::wait_until;

/// Both tables of the design, seals left out.
const ROWS: [(&str, &str); 9] = [
    ("open ticket for analysis", "open ticket for analysis"),
    ("solve ticket ABC", "solve ticket ABC"),
    ("copy in system N: 1-2", "copy in system 1: 1-2 from 1-2"),
    ("reopen ABC for review", "reopen ABC for review"),
    ("copy in system N: 4", "copy in system 1: 4 from 4"),
    ("do not bother will work on ABC at N", "do not bother will work on ABC at N"),
    ("copy in system N: 6 from 6", "copy in system 1: 6"),
    ("solved!", "solved!"),
    ("copy in system N: 8", "copy in system 1: 8 from 8"),
];

#[test]
fn the_worked_example_between_two_help_desks_that_dial_each_other() {
    play(&Pair::new("example", &HELPDESK, &TICKETS, &["ABC"]));
}

#[test]
fn the_worked_example_where_the_database_gives_out_the_numbers() {
    play(&Pair::new("example-generated", &HELPDESK, &COMMENTS, &["ABC"]));
}

#[test]
fn the_worked_example_where_only_site_n_can_dial() {
    play(&pulling(&HELPDESK, &TICKETS));
}

#[test]
fn the_worked_example_where_only_site_n_can_dial_and_numbers_are_generated() {
    play(&pulling(&COMMENTS, &COMMENTS));
}

fn pulling(one: impl Into<At>, n: impl Into<At>) -> Pair {
    Pair::with("example-pull", one, n, &["ABC"], Dialling::OnlyN, QUICK)
}

/// One after the other would be many times the time: most of it is waiting.
#[test]
fn the_worked_example_between_every_two_vendors_with_either_numbering() {
    let (Some(postgres), Some(mariadb)) = (Host::postgres(), Host::mariadb()) else { return };
    let hosts = [Host::Files, postgres, mariadb];
    std::thread::scope(|scope| {
        for (one, n) in hosts.iter().flat_map(|one| hosts.iter().map(move |n| (one, n))) {
            for (name, schema) in [("per-problem", &HELPDESK), ("generated", &COMMENTS)] {
                let name = format!("example-{name}-{one:?}-{n:?}");
                scope.spawn(move || play(&Pair::new(&name, schema.on(one), schema.on(n), &["ABC"])));
            }
        }
    });
}

fn play(pair: &Pair) {
    let (_one, _n) = pair.start();

    pair.one.append("ABC", &["open ticket for analysis", "solve ticket ABC"]);
    wait_for(pair, 3);
    pair.one.append("ABC", &["reopen ABC for review"]);
    wait_for(pair, 5);
    pair.n.append("ABC", &["do not bother will work on ABC at N"]);
    wait_for(pair, 7);
    pair.one.append("ABC", &["solved!"]);
    wait_for(pair, 9);

    pair.wait_until_in_step();
    wait_for(pair, 9);
    no_marker_crossed(pair);
    let (one, n) = (pair.one.bytes(), pair.n.bytes());
    assert!(occurs(&one, &secret("1")) && occurs(&n, &secret("N")), "the search does not work");
    assert!(!occurs(&one, &secret("N")) && !occurs(&n, &secret("1")));
}

/// Waits until both tables have exactly the first `rows` rows of the example.
fn wait_for(pair: &Pair, rows: usize) {
    for (desk, column) in [(&pair.one, 0), (&pair.n, 1)] {
        let text = |(one, n): &(&str, &str)| if column == 0 { (*one).to_owned() } else { (*n).to_owned() };
        let should: Vec<_> = ROWS[..rows].iter().map(text).enumerate().map(|(i, text)| (i as i64 + 1, text)).collect();
        let mut is = Vec::new();
        wait_until(&format!("site {} has {rows} rows", desk.site), || {
            is = desk.table("ABC");
            is.len() >= rows
        });
        assert_eq!(is, should, "site {}", desk.site);
    }
}

fn no_marker_crossed(pair: &Pair) {
    let markers = |rows: Vec<Row>| -> Vec<String> {
        rows.into_iter().map(|row| row.text).filter(|text| is_marker(text)).collect()
    };
    let (one, n) = (markers(pair.one.all()), markers(pair.n.all()));
    assert_eq!((one.len(), n.len()), (4, 4));
    assert!(one.iter().all(|marker| bare(marker).starts_with("copy in system N")));
    assert!(n.iter().all(|marker| bare(marker).starts_with("copy in system 1")));
}

fn occurs(hay: &[u8], needle: &str) -> bool {
    hay.windows(needle.len()).any(|window| window == needle.as_bytes())
}
