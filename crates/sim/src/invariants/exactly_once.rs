//! §11.1: once writing stops and links heal, every entry is exactly once at every site entitled to it (every hop of some
//! path admits it), and at no other.

use std::collections::{BTreeSet, HashMap, VecDeque};

use landbridge_core::Ledger;
use landbridge_core::entry::Row;

use crate::names;
use crate::plan::Plan;
use crate::script::Item;
use crate::world::{Violation, World};

/// The sites that are to have `item`: every hop of some path admits it.
pub fn entitled(plan: &Plan, item: &Item) -> BTreeSet<usize> {
    let mut sites = BTreeSet::from([item.site]);
    let mut ways = VecDeque::from([(item.site, true)]);
    let mut seen = BTreeSet::new();
    while let Some((here, may_go_on)) = ways.pop_front() {
        if !seen.insert((here, may_go_on)) {
            continue;
        }
        for link in plan.links.iter().filter(|l| l.from == here && may_go_on) {
            let (from, to) = (&plan.sites[here], &plan.sites[link.to]);
            let own = here == item.site;
            let admits = (own || (link.relay && link.trusted))
                && link.level_below.is_none_or(|below| item.level < below)
                && !from.hidden.contains(&item.problem)
                && !to.hidden.contains(&item.problem)
                && !(to.refuses_poison && item.text().contains("POISON"))
                && to.text_chars_max.is_none_or(|max| item.text().chars().count() <= max);
            if admits && item.public {
                sites.insert(link.to);
                // What the receiver itself forbids to go on, stays as well.
                let back = plan.link(link.to, here).is_none_or(|b| b.onward);
                ways.push_back((link.to, link.onward && back));
            }
        }
    }
    sites
}

/// How often each text stands in the tables: by site and text, markers left out.
fn entries(world: &World) -> Vec<HashMap<String, usize>> {
    let at_site = |place: usize| {
        let (store, scribe) = (&world.stores[place], &world.scribes[place]);
        let mut count = HashMap::new();
        for problem in store.problems() {
            let rows = store.committed(&problem);
            let head = |(work, row): (&_, &landbridge_stores::memory::MemoryRow)| Row {
                work: *work,
                marker: scribe.is_complete(&row.text).then(|| row.text.clone()),
                open: true,
                bytes: 0,
            };
            let heads: Vec<_> = rows.iter().map(head).collect();
            let ledger = Ledger::fold(scribe, &problem, &heads);
            for (work, row) in rows {
                if !ledger.is_marker(work) {
                    let problem =
                        names::of(&world.plan, &world.stores, place, &problem).unwrap_or_else(|| problem.clone());
                    *count.entry(format!("{problem} {}", row.text)).or_default() += 1;
                }
            }
        }
        count
    };
    (0..world.stores.len()).map(at_site).collect()
}

/// Whether it holds now.
pub fn exactly_once(world: &World) -> Result<(), Violation> {
    let there = entries(world);
    for item in &world.script.items {
        let entitled = entitled(&world.plan, item);
        for (place, count) in there.iter().enumerate() {
            let of = |text: &String| count.get(&format!("{} {text}", item.problem)).copied().unwrap_or(0);
            let counts: Vec<_> = item.texts.iter().map(of).collect();
            let name = &world.plan.sites[place].name;
            let wrong = |what: &str| {
                let home = &world.plan.sites[item.site].name;
                let what = format!(
                    "{:?} of {home}/{} in {} {what} at {name} ({counts:?})",
                    item.texts, item.work, item.problem
                );
                Err(Violation { invariant: "exactly once (§11.1)", what })
            };
            if counts.iter().any(|n| *n > 1) {
                return wrong("is doubled");
            }
            let found: usize = counts.iter().sum();
            match entitled.contains(&place) {
                true if !item.deleted && found == 0 => return wrong("is missing"),
                true if item.is_plain() && found != 1 => return wrong("is not there once"),
                false if found > 0 && !item.deleted => return wrong("is where it may not be"),
                _ => {}
            }
        }
    }
    Ok(())
}
