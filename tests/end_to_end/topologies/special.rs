//! Topologies in which not everybody may have everything, or not everybody is there: companies that do not trust each
//! other, entries that may go no further, a site in the middle that is down.

use super::judge;
use super::plan::{NAMES, Plan};
use super::world::{Servers, Trouble, World};
use super::{judge_all, seed};
use crate::kit::command::{DONE, PERSON};
use crate::kit::wait::wait_until;

const ROWS: usize = 10;
const PROBLEMS: usize = 3;

/// A hub and two companies: B and C, which get what the others write, and D and E, which get only what the hub itself
/// writes. C believes the hub of nobody but itself.
fn companies() -> Plan {
    let mut plan = Plan::star(5);
    plan.name = "two companies".to_owned();
    for link in &mut plan.links {
        // The hub believes each of itself alone.
        link.to_b.believed = false;
        if link.a > 2 {
            (link.to_a.relay, link.to_a.house) = (false, false);
        }
    }
    plan.links[1].to_a.believed = false;
    plan
}

#[test]
fn a_hub_relays_from_one_company_to_the_other_and_not_back_and_who_does_not_believe_it_refuses() {
    let Some(servers) = Servers::start() else { return };
    let plan = companies();
    let mut world = World::new(&plan, &servers, PROBLEMS);
    world.start_all();
    let seed = seed(&plan.name);
    let writers = world.write(&[0, 1, 2, 3, 4], 0, ROWS, seed);
    world.wait_for(writers, Trouble::new(seed, 3, 0, 1, (5, 60)));
    let tables = world.tables();
    world.wait_until_in_step(&judge::due(&plan, &tables));
    let tables = world.tables();
    judge::every_entry_is_where_it_may_be_once(&plan, &tables);
    judge::causes_stand_before_effects(&plan, &tables);
    let ways = world.wire.ways();
    judge::texts_crossed_once(&world, &ways);

    // Not even a digest of what others wrote went to the second company, and to C no text.
    let of_others = |to: usize| {
        let traffic = &ways[&(NAMES[0].to_owned(), NAMES[to].to_owned())];
        let others = traffic.entries.iter().filter(|((_, origin), _)| !origin.starts_with("A/"));
        others.map(|(_, crossed)| *crossed).collect::<Vec<_>>()
    };
    assert!(of_others(3).is_empty() && of_others(4).is_empty());
    assert!(!of_others(2).is_empty() && of_others(2).iter().all(|crossed| crossed.bodies == 0));

    // The hub shows what C refused: everything that it would pass on. A person decides.
    let passed_on: usize = [1, 3, 4].iter().map(|site| judge::shareable_of(*site, &tables[*site])).sum();
    assert_eq!(world.refused(), [passed_on as u64, 0, 0, 0, 0]);
    let hub = world.desks[0].run(&["status", "--json"]).ends(PERSON).json();
    let first = hub["peers"].as_array().unwrap().iter().find(|peer| peer["name"] == "C").unwrap();
    assert_eq!(first["refused"]["first"][0]["reason"], "not allowed", "{first}");

    // C changes its mind about B, D and E; the hub's operator says `retry`.
    let mut agreed = plan.clone();
    agreed.links[1].to_a.believed = true;
    world.plan = &agreed;
    world.kill(2);
    world.desks[2].reconfigure("relay = true\n", "relay = true\nrelay_from = [\"B\", \"D\", \"E\"]\n");
    world.start(&[2]);
    world.desks[0].run(&["retry"]).ends(DONE);
    // What was refused comes behind what answers it.
    world.wait_until_in_step(&judge::due(&agreed, &tables));
    judge::every_entry_is_where_it_may_be_once(&agreed, &world.tables());
    judge::texts_crossed_once(&world, &world.wire.ways());
    assert_eq!(world.refused(), [0; 5]);
}

#[test]
fn in_a_ring_what_may_go_no_further_on_one_link_goes_round_the_other_way() {
    let Some(servers) = Servers::start() else { return };
    let mut plan = Plan::ring(5);
    plan.name = "ring, one stays".to_owned();
    plan.links[0].onward = false;
    assert_eq!(plan.entitled(0, false).len(), 5);
    around(&plan, &servers);

    // What A writes stays with its neighbours: A says so of B, and E says so of A.
    plan.name = "ring, A stays".to_owned();
    plan.links[4].onward = false;
    assert_eq!(plan.entitled(0, false).into_iter().collect::<Vec<_>>(), [0, 1, 4]);
    assert_eq!(plan.entitled(1, false).len(), 5);
    around(&plan, &servers);
}

fn around(plan: &Plan, servers: &Servers) {
    let mut world = World::new(plan, servers, PROBLEMS);
    world.start_all();
    let seed = seed(&plan.name);
    let writers = world.write(&[0, 1, 2, 3, 4], 0, ROWS, seed);
    world.wait_for(writers, Trouble::new(seed, 2, 0, 1, (5, 100)));
    judge_all(&mut world);
}

#[test]
fn a_chain_whose_middle_is_down_for_a_while_has_everything_at_its_end_that_only_dials_out() {
    let Some(servers) = Servers::start() else { return };
    let mut plan = Plan::chain(5);
    plan.name = "broken chain".to_owned();
    assert!(!plan.listens(4) && plan.listens(3));
    let mut world = World::new(&plan, &servers, PROBLEMS);
    // Its people write all the same.
    world.start(&[0, 1, 3, 4]);
    let seed = seed(&plan.name);
    let writers = world.write(&[0, 1, 2, 3, 4], 0, ROWS, seed);
    world.wait_for(writers, Trouble::none());
    let tables = world.tables();
    for (here, there) in [(0, 1), (1, 0), (3, 4), (4, 3)] {
        let (desk, from) = (&world.desks[there], format!("{}/", NAMES[here]));
        wait_until("each half is in step", || desk.count(&from) == judge::shareable_of(here, &tables[here]));
    }
    assert_eq!((world.desks[0].count("E/"), world.desks[4].count("A/"), world.desks[4].count("C/")), (0, 0, 0));

    world.start(&[2]);
    judge_all(&mut world);

    // Once more, and this time it is killed while people write.
    world.kill(2);
    let writers = world.write(&[0, 1, 2, 3, 4], 1, ROWS, seed + 10);
    world.wait_for(writers, Trouble::none());
    world.start(&[2]);
    judge_all(&mut world);
}
