//! §11.2: a site says "X holds e" only if X has committed e.

use landbridge_core::entry::Row;
use landbridge_core::{Ledger, ProblemId};

use crate::names;
use crate::world::{Violation, World};

/// Whether it holds now. Looked at after every crash and at rest.
pub fn truthful_markers(world: &World) -> Result<(), Violation> {
    for place in 0..world.stores.len() {
        for problem in world.stores[place].problems() {
            look(world, place, &problem)?;
        }
    }
    Ok(())
}

fn look(world: &World, place: usize, problem: &ProblemId) -> Result<(), Violation> {
    let (store, scribe) = (&world.stores[place], &world.scribes[place]);
    let rows = store.committed(problem);
    let head = |(work, row): (&_, &landbridge_stores::memory::MemoryRow)| Row {
        work: *work,
        marker: scribe.is_complete(&row.text).then(|| row.text.clone()),
        open: true,
        bytes: 0,
    };
    let heads: Vec<_> = rows.iter().map(head).collect();
    let ledger = Ledger::fold(scribe, problem, &heads);
    for peer in ledger.peers() {
        let Some(there) = world.plan.place(peer) else { continue };
        let named = names::of(&world.plan, &world.stores, place, problem);
        let their = named.and_then(|named| names::local(&world.plan, &world.stores, there, &named));
        let their = their.map(|their| world.stores[there].committed(&their)).unwrap_or_default();
        let texts: Vec<_> = their.into_values().map(|row| row.text).collect();
        for (work, row) in rows.iter().filter(|(work, _)| ledger.holds(peer, **work)) {
            // What somebody edited or deleted later is not what was exchanged.
            let Some(item) = world.script.by_text.get(&row.text).map(|n| &world.script.items[*n]) else { continue };
            if item.is_plain() && !texts.contains(&row.text) {
                let name = &world.plan.sites[place].name;
                let what = format!("{name} says of {problem} {work} ({:?}) that {peer} holds it", row.text);
                return Err(Violation { invariant: "truthful markers (§11.2)", what });
            }
        }
    }
    Ok(())
}
