//! §11.4: along a relayed path, an entry never appears before an entry that its writer had seen (save one refused,
//! shared or committed later). Looked at where there is one path between any two sites, and where no database was
//! restored: what comes back is appended behind what is there.

use crate::world::{Violation, World};

/// Whether it holds now.
pub fn causes_first(world: &World) -> Result<(), Violation> {
    if !world.plan.tree || world.plan.rewriting || world.plan.restores > 0 {
        return Ok(());
    }
    for (place, store) in world.stores.iter().enumerate() {
        for problem in store.problems() {
            let mut stood = std::collections::BTreeSet::new();
            let rows = store.committed(&problem);
            let here: Vec<_> = rows.values().filter_map(|row| world.script.by_text.get(&row.text).copied()).collect();
            for n in &here {
                let item = &world.script.items[*n];
                stood.insert(*n);
                let late = |cause: usize| world.script.items[cause].late;
                let missing = item.saw.iter().find(|c| here.contains(c) && !stood.contains(*c) && !late(**c));
                if let Some(cause) = missing.filter(|_| !item.late) {
                    let name = &world.plan.sites[place].name;
                    let cause = world.script.items[*cause].text();
                    let what =
                        format!("at {name} {:?} stands before {cause:?}, which its writer had seen", item.text());
                    return Err(Violation { invariant: "causes first (§11.4)", what });
                }
            }
        }
    }
    Ok(())
}
