//! Three writer processes at each site, thousands of entries over hundreds of problems, while both bridges run: in peace,
//! and while bridges and database servers are killed and the network is cut. Afterwards the tables themselves are asked.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Child;
use std::time::Instant;

use crate::kit::bridge::Bridge;
use crate::kit::command::DONE;
use crate::kit::desk::{Desk, Row, is_marker, secret};
use crate::kit::host::{At, Host};
use crate::kit::ledger::Ledger;
use crate::kit::pair::Pair;
use crate::kit::schema::{COMMENTS, HELPDESK, TICKETS};
use crate::kit::sql::Vendor;
use crate::kit::wait::LOOK;
use crate::kit::writer::{self, Job, kind, problem};

pub(super) const WRITERS: usize = 3;

/// How much of everything.
struct Scale {
    entries: usize,
    problems: usize,
    kills: usize,
    cuts: usize,
    server_kills: usize,
    /// Two bridges at site 1.
    second: bool,
}

impl Scale {
    fn asked_for() -> Self {
        let soak = std::env::var("LANDBRIDGE_SOAK").is_ok_and(|v| v == "1");
        match soak {
            true => Self { entries: 20_000, problems: 500, kills: 30, cuts: 6, server_kills: 0, second: false },
            false => Self { entries: 2_000, problems: 100, kills: 3, cuts: 1, server_kills: 0, second: false },
        }
    }
}

#[test]
fn six_writers_and_two_bridges_keep_every_entry_exactly_once() {
    let scale = Scale { kills: 0, cuts: 0, ..Scale::asked_for() };
    play("crowd", &HELPDESK, &TICKETS, &scale);
}

#[test]
fn killed_bridges_and_a_cut_network_change_nothing_of_that() {
    play("crowd-killed", &HELPDESK, &TICKETS, &Scale::asked_for());
}

#[test]
fn killed_bridges_change_nothing_where_the_database_gives_out_the_numbers() {
    let scale = Scale { entries: 1_200, problems: 60, kills: 3, cuts: 1, ..Scale::asked_for() };
    play("crowd-generated", &COMMENTS, &HELPDESK, &scale);
}

#[test]
fn killed_bridges_and_killed_servers_of_postgres_and_mariadb_change_nothing_of_that() {
    let (Some(postgres), Some(mariadb)) = (Host::own_postgres(), Host::own_mariadb()) else { return };
    let scale = Scale::asked_for();
    let scale = Scale { server_kills: scale.kills, ..scale };
    play("crowd-servers", HELPDESK.on(&postgres), HELPDESK.on(&mariadb), &scale);
}

#[test]
fn killed_servers_change_nothing_where_they_give_out_the_numbers_and_two_bridges_run_at_one() {
    let (Some(postgres), Some(mariadb)) = (Host::own_postgres(), Host::own_mariadb()) else { return };
    let scale = Scale::asked_for();
    let scale = Scale { entries: scale.entries / 2, server_kills: scale.kills, second: true, ..scale };
    play("crowd-two-bridges", COMMENTS.on(&postgres), COMMENTS.on(&mariadb), &scale);
}

#[test]
fn two_bridges_at_one_mariadb_whose_numbers_are_per_problem_keep_every_entry_exactly_once() {
    let (Some(postgres), Some(mariadb)) = (Host::postgres(), Host::mariadb()) else { return };
    let scale = Scale::asked_for();
    let scale = Scale { entries: scale.entries / 2, second: true, cuts: 0, ..scale };
    play("crowd-two-at-mariadb", HELPDESK.on(&mariadb), HELPDESK.on(&postgres), &scale);
}

fn play(name: &str, one: impl Into<At>, n: impl Into<At>, scale: &Scale) {
    let problems: Vec<_> = (0..scale.problems).map(problem).collect();
    let problems: Vec<_> = problems.iter().map(String::as_str).collect();
    let pair = Pair::new(name, one, n, &problems);
    let seed = std::env::var("LANDBRIDGE_SEED").map_or_else(|_| fastrand::u64(..1 << 32), |s| s.parse().unwrap());
    println!("{name}: LANDBRIDGE_SEED={seed}");
    let begun = Instant::now();

    let (one, n) = pair.start();
    let mut bridges = vec![(Who::One, Some(one)), (Who::N, Some(n))];
    if scale.second {
        let second = pair.one.second_bridge();
        let bridge = Bridge::start(&second);
        bridges.push((Who::Second(Box::new(second)), Some(bridge)));
    }
    let mut trouble = Trouble::new(&pair, bridges, scale, seed);
    let job = Job::new(scale.entries.div_ceil(2 * WRITERS), scale.problems, seed);
    let mut writers: Vec<_> =
        [&pair.one, &pair.n].into_iter().flat_map(|desk| (0..WRITERS).map(|w| writer::start(desk, w, &job))).collect();
    let mut last = Instant::now();
    while !all_ended(&mut writers) || !trouble.is_over() {
        trouble.strike_when_due(&arrived(&pair), all_ended(&mut writers));
        let some = problem(trouble.dice.usize(..scale.problems));
        no_copy_stands_without_its_marker(&pair.one, &pair.n, &some);
        no_copy_stands_without_its_marker(&pair.n, &pair.one, &some);
        assert!(begun.elapsed().as_secs() < 1800, "the writers do not come to their end");
        last = Instant::now();
        std::thread::sleep(LOOK);
    }
    pair.to_one.heal();
    pair.to_n.heal();
    pair.wait_until_in_step();
    let (took, after) = (begun.elapsed(), last.elapsed());

    let tables = [(&pair.one, pair.one.all()), (&pair.n, pair.n.all())];
    let mut shared = 0;
    for (here, there) in [(0, 1), (1, 0)] {
        let ((desk, rows), (other, copies)) = (&tables[here], &tables[there]);
        shared += every_open_entry_is_at_the_other_site_once(desk, rows, other, copies, &job);
        no_secret_left(desk, other);
        the_markers_name_every_entry(desk, rows, copies, other);
    }
    let rows = |t: &(&Desk, Vec<Row>)| (t.1.len(), t.1.iter().filter(|row| is_marker(&row.text)).count());
    let ((rows_1, markers_1), (rows_n, markers_n)) = (rows(&tables[0]), rows(&tables[1]));
    println!(
        "{name}: {} entries of which {shared} shareable, {} kills, {} of servers, {} cuts; in step after {:.1} s, {:.1} s behind the last \
         writer; site 1 has {rows_1} rows with {markers_1} markers, site N {rows_n} with {markers_n}",
        2 * WRITERS * job.rows,
        trouble.kills,
        trouble.server_kills,
        trouble.cuts,
        took.as_secs_f64(),
        after.as_secs_f64(),
    );
}

pub(super) fn all_ended(writers: &mut Vec<Child>) -> bool {
    writers.retain_mut(|writer| match writer.try_wait().unwrap() {
        None => true,
        Some(status) => {
            assert!(status.success(), "a writer failed: {status}");
            false
        }
    });
    writers.is_empty()
}

/// How many entries of the other site are at each.
fn arrived(pair: &Pair) -> usize {
    pair.one.count("N/") + pair.n.count("1/")
}

/// A bridge.
enum Who {
    One,
    N,
    Second(Box<Desk>),
}

/// Bridges and servers that are killed and a network that is cut, each when so many entries have arrived: at no instruction that
/// anybody chose, and not by the clock.
struct Trouble<'a> {
    pair: &'a Pair,
    bridges: Vec<(Who, Option<Bridge>)>,
    dice: fastrand::Rng,
    due: BTreeMap<usize, Vec<Strike>>,
    kills: usize,
    server_kills: usize,
    cuts: usize,
}

#[derive(Debug, Clone, Copy)]
enum Strike {
    Kill,
    KillServer,
    Cut,
    Heal,
}

impl<'a> Trouble<'a> {
    fn new(pair: &'a Pair, bridges: Vec<(Who, Option<Bridge>)>, scale: &Scale, seed: u64) -> Self {
        let mut dice = fastrand::Rng::with_seed(seed);
        let mut due: BTreeMap<usize, Vec<Strike>> = BTreeMap::new();
        let most = scale.entries * 7 / 10;
        for _ in 0..scale.kills {
            due.entry(dice.usize(1..most)).or_default().push(Strike::Kill);
        }
        for _ in 0..scale.server_kills {
            due.entry(dice.usize(1..most)).or_default().push(Strike::KillServer);
        }
        for cut in 0..scale.cuts {
            // The one way is cut and the other is not, so that entries go on arriving until it heals.
            let from = most * cut / scale.cuts + dice.usize(..most / scale.cuts / 2);
            due.entry(from).or_default().push(Strike::Cut);
            due.entry(from + most / scale.cuts / 4).or_default().push(Strike::Heal);
        }
        Self { pair, bridges, dice, due, kills: 0, server_kills: 0, cuts: 0 }
    }

    fn is_over(&self) -> bool {
        self.due.is_empty()
    }

    /// What is due now that so many entries arrived. Where nobody writes any more, the next is due in any case.
    fn strike_when_due(&mut self, arrived: &usize, nobody_writes: bool) {
        while let Some(next) = self.due.first_entry() {
            if next.key() > arrived && !nobody_writes {
                return;
            }
            for strike in next.remove() {
                self.strike(strike);
            }
        }
    }

    fn strike(&mut self, strike: Strike) {
        match strike {
            Strike::Kill => {
                let which = self.dice.usize(..self.bridges.len());
                let (who, bridge) = &mut self.bridges[which];
                if let Some(bridge) = bridge.take() {
                    bridge.kill();
                }
                *bridge = Some(match who {
                    Who::One => self.pair.start_one(),
                    Who::N => self.pair.start_n(),
                    Who::Second(desk) => Bridge::start(desk),
                });
                self.kills += 1;
            }
            Strike::KillServer => {
                let desk = if self.dice.bool() { &self.pair.one } else { &self.pair.n };
                desk.host.kill();
                desk.host.restart();
                self.server_kills += 1;
            }
            Strike::Cut => {
                if self.dice.bool() {
                    self.pair.to_one.cut()
                } else {
                    self.pair.to_n.cut()
                };
                self.cuts += 1;
            }
            Strike::Heal => {
                self.pair.to_one.heal();
                self.pair.to_n.heal();
            }
        }
    }
}

/// A reader between two commits of a receiver: entries and the marker that names them come together or not at all.
pub(super) fn no_copy_stands_without_its_marker(desk: &Desk, other: &Desk, problem: &str) {
    let rows = desk.rows(problem);
    let ledger = Ledger::of(&rows, other.site);
    let foreign = rows.iter().filter(|row| row.text.starts_with(&format!("{}/", other.site)));
    for row in foreign {
        assert!(ledger.copies.contains_key(&(row.problem.clone(), row.work)), "no marker names {row:?}");
    }
}

/// The kind of a row of a writer.
fn kind_of(row: &Row) -> &str {
    row.text.split(' ').nth(1).unwrap_or_default()
}

/// Nothing is missing, doubled, garbled or out of order, and nothing came that should not. How many entries crossed.
pub(super) fn every_open_entry_is_at_the_other_site_once(
    desk: &Desk,
    rows: &[Row],
    other: &Desk,
    copies: &[Row],
    job: &Job,
) -> usize {
    let begins = format!("{}/", desk.site);
    let own: Vec<_> = rows.iter().filter(|row| row.text.starts_with(&begins)).collect();
    let there: Vec<_> = copies.iter().filter(|row| row.text.starts_with(&begins)).collect();
    assert_eq!(own.len(), WRITERS * job.rows, "the writers of site {} wrote so many rows", desk.site);

    let open = |rows: &[&Row]| -> Vec<(String, String, String)> {
        let author = |row: &Row| row.author.clone().unwrap_or_else(|| "bridge".to_owned());
        rows.iter().map(|row| (row.problem.clone(), row.text.clone(), author(row))).collect()
    };
    let nobody = |mut rows: Vec<(String, String, String)>| {
        // A null author becomes what the mapping of the receiver says.
        rows.iter_mut().filter(|row| row.2 == "null").for_each(|row| row.2 = "bridge".to_owned());
        rows.sort();
        rows
    };
    let should = nobody(open(&own.iter().copied().filter(|row| row.public).collect::<Vec<_>>()));
    let is = nobody(open(&there));
    let missing: Vec<_> = should.iter().filter(|row| is.binary_search(row).is_err()).take(5).collect();
    let too_many: Vec<_> = is.iter().filter(|row| should.binary_search(row).is_err()).take(5).collect();
    assert!(
        missing.is_empty() && too_many.is_empty(),
        "at site {}: missing {missing:?}, never shared {too_many:?}",
        other.site
    );
    assert_eq!(is.len(), should.len(), "entries of site {} are doubled at site {}", desk.site, other.site);
    assert!(!is.iter().any(|(_, text, _)| text.contains(kind::UNDONE)), "what was rolled back is there");
    assert!(should.iter().any(|(_, text, _)| text.contains(kind::LATE)), "nothing was made public later");

    // What could leave from the beginning stands in its writer's order, problem by problem. Where every row waits for the
    // commit of the one before it, all writers of a site have one order.
    let waits = desk.schema.vendor == Vendor::Sqlite || desk.schema.mapping.contains("numbering = \"per-problem\"");
    let whose = |row: &Row| if waits { String::new() } else { row.text.split('/').take(2).collect() };
    let in_order = |rows: &[&Row]| -> BTreeMap<(String, String), Vec<String>> {
        let mut order: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for row in rows.iter().filter(|row| kind_of(row) == kind::OPEN) {
            order.entry((row.problem.clone(), whose(row))).or_default().push(row.text.clone());
        }
        order
    };
    assert_eq!(in_order(&own), in_order(&there), "the order of site {} is not kept at site {}", desk.site, other.site);
    should.len()
}

fn no_secret_left(desk: &Desk, other: &Desk) {
    let secret = secret(desk.site);
    let finds = |bytes: Vec<u8>| bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
    assert!(finds(desk.bytes()), "the search does not work");
    assert!(!finds(other.bytes()), "{secret} is in the database of site {}", other.site);
}

/// Every copy is named with the row that it is a copy of, every shared row is marked as held, and no marker crossed.
pub(super) fn the_markers_name_every_entry(desk: &Desk, rows: &[Row], copies: &[Row], other: &Desk) {
    let markers = |rows: &[Row]| -> BTreeSet<String> {
        rows.iter().map(|row| row.text.clone()).filter(|text| is_marker(text)).collect()
    };
    assert!(markers(rows).is_disjoint(&markers(copies)), "a marker crossed");

    let text_of = |rows: &[Row]| -> BTreeMap<(String, i64), String> {
        rows.iter().map(|row| ((row.problem.clone(), row.work), row.text.clone())).collect()
    };
    let (own, there) = (text_of(rows), text_of(copies));
    let ledger = Ledger::of(copies, desk.site);
    for row in copies.iter().filter(|row| row.text.starts_with(&format!("{}/", desk.site))) {
        let origin = ledger.copies.get(&(row.problem.clone(), row.work));
        let origin = origin.unwrap_or_else(|| panic!("no marker at site {} names {row:?}", other.site));
        assert_eq!(own.get(&(row.problem.clone(), *origin)), Some(&row.text), "{row:?} is no copy of row {origin}");
    }
    assert!(ledger.copies.keys().all(|place| there.contains_key(place)));

    let shared: BTreeSet<_> = rows
        .iter()
        .filter(|row| row.public && row.text.starts_with(&format!("{}/", desk.site)))
        .map(|row| (row.problem.clone(), row.work))
        .collect();
    assert_eq!(
        Ledger::of(rows, other.site).held,
        shared,
        "what site {} says that site {} holds",
        desk.site,
        other.site
    );

    let status = desk.run(&["status", "--json"]).ends(DONE).json();
    assert_eq!(
        status["own"].as_u64().unwrap() as usize,
        rows.len() - status["copies"].as_u64().unwrap() as usize - markers(rows).len()
    );
}
