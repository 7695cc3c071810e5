//! Three, five and seven sites in a chain, a ring, a star and a full mesh, on databases of three vendors with different
//! schemas and numberings, people writing at every site: every entry exactly once where it may be, causes before effects,
//! and a text over each link once. First in peace, then while bridges and servers are killed and connections cut.
//!
//! `LANDBRIDGE_SOAK=1`: thousands of entries, dozens of kills.

mod judge;
mod plan;
mod special;
mod table;
mod world;

use std::time::Instant;

use crate::kit::command::{DONE, LEFT};
use crate::kit::desk::Row;
use plan::Plan;
use table::{Line, Table};
use world::{Servers, Trouble, World};

/// How much of everything in one world.
struct Scale {
    /// Rows that each site writes in peace, and then in trouble.
    rows: (usize, usize),
    problems: usize,
    kills: usize,
    server_kills: usize,
    cuts: usize,
}

impl Scale {
    fn of(sites: usize) -> Self {
        match std::env::var("LANDBRIDGE_SOAK").is_ok_and(|v| v == "1") {
            true => {
                let rows = 2000 / sites;
                Self { rows: (rows / 2, rows), problems: 20, kills: 30, server_kills: 6, cuts: 6 }
            }
            // Servers come up slowly, so only the worlds of five kill them.
            false => {
                Self { rows: (6, 12), problems: 4, kills: 3, server_kills: if sites == 5 { 2 } else { 0 }, cuts: 1 }
            }
        }
    }
}

#[test]
fn chains_of_sites_have_every_entry_once_and_a_text_crosses_each_link_once() {
    play(Plan::chain);
}

#[test]
fn rings_of_sites_have_every_entry_once_and_a_text_crosses_each_link_once() {
    play(Plan::ring);
}

#[test]
fn stars_of_sites_have_every_entry_once_and_a_text_crosses_each_link_once() {
    play(Plan::star);
}

#[test]
fn full_meshes_of_sites_that_all_relay_have_every_entry_once_and_a_text_crosses_each_link_once() {
    play(Plan::mesh);
}

fn play(topology: fn(usize) -> Plan) {
    let Some(servers) = Servers::start() else { return };
    let mut table = Table::new();
    for sites in [3, 5, 7] {
        let (plan, scale) = (topology(sites), Scale::of(sites));
        play_one(&plan, &servers, &scale, &mut table);
    }
    table.print();
}

/// The dice of a run; `LANDBRIDGE_SEED` repeats one.
fn seed(name: &str) -> u64 {
    let seed = std::env::var("LANDBRIDGE_SEED").map_or_else(|_| fastrand::u64(..1 << 32), |s| s.parse().unwrap());
    println!("{name}: LANDBRIDGE_SEED={seed}");
    seed
}

fn play_one(plan: &Plan, servers: &Servers, scale: &Scale, table: &mut Table) {
    let (seed, everybody) = (seed(&plan.name), (0..plan.sites).collect::<Vec<_>>());
    let mut world = World::new(plan, servers, scale.problems);
    world.start_all();

    // In peace.
    let begun = Instant::now();
    let writers = world.write(&everybody, 0, scale.rows.0, seed);
    world.wait_for(writers, Trouble::none());
    let (tables, due, unanswered) = judge_all(&mut world);
    let peace = world.wire.ways();
    let entries = |tables: &[Vec<Row>]| judge::shareable(tables);
    let before = (entries(&tables), due);
    table.add(&Line {
        plan,
        entries: before.0,
        due,
        strikes: if unanswered == 0 { "nothing".to_owned() } else { format!("nothing; {unanswered} too late") },
        took: begun.elapsed(),
        traffic: &peace,
    });
    if plan.is_tree() && unanswered == 0 {
        let texts: u32 = peace.values().flat_map(|way| way.entries.values()).map(|crossed| crossed.bodies).sum();
        assert_eq!(texts as usize, due, "{}: one text for each copy, and none besides", plan.name);
    }

    // In trouble.
    let begun = Instant::now();
    let crossed = world.wire.bodies();
    let expected = (due as u64 * scale.rows.1 as u64 / scale.rows.0 as u64).max(8);
    let until = crossed + expected * 7 / 10;
    let trouble = Trouble::new(seed, scale.kills, scale.server_kills, scale.cuts, (crossed, until));
    let writers = world.write(&everybody, 1, scale.rows.1, seed + 100);
    world.wait_for(writers, trouble);
    let (tables, due, _) = judge_all(&mut world);
    if plan.sites == 3 {
        // What was killed and cut has left no difference between any two; each is compared from an end that dials.
        for desk in &world.desks {
            let said = desk.run(&["verify"]);
            let dialled = said.out.contains("dials this site");
            said.ends(if dialled { LEFT } else { DONE });
        }
    }
    let Scale { kills, server_kills, cuts, .. } = scale;
    table.add(&Line {
        plan,
        entries: entries(&tables) - before.0,
        due: due - before.1,
        strikes: format!("{kills} bridges, {server_kills} servers, {cuts} cuts"),
        took: begun.elapsed(),
        traffic: &table::since(&peace, &world.wire.ways()),
    });
}

/// Waits until all is in step and judges it. The tables, how many copies there are, and how many texts had no receipt.
fn judge_all(world: &mut World<'_>) -> (Vec<Vec<Row>>, usize, u32) {
    let plan = world.plan;
    let due = judge::due(plan, &world.tables());
    world.wait_until_in_step(&due);
    let tables = world.tables();
    judge::every_entry_is_where_it_may_be_once(plan, &tables);
    if plan.keeps_order() {
        assert!(judge::causes_stand_before_effects(plan, &tables) > 0, "{}: nobody answered anybody", plan.name);
    }
    let unanswered = judge::texts_crossed_once(world, &world.wire.ways());
    assert!(world.refused().iter().all(|refused| *refused == 0), "{}: something was refused", plan.name);
    (tables, due.iter().sum(), unanswered)
}
