//! §11.7: work for n new entries is O(n). Where nothing fails, a body crosses a link once, and never where it came from.

use crate::executor::locked;
use crate::world::{Violation, World};

/// Whether it holds of the whole world. Where messages are lost they are sent again, so only calm worlds are looked at.
pub fn work_is_bounded(world: &World) -> Result<(), Violation> {
    if !world.plan.calm {
        return Ok(());
    }
    let refusable = |text: &String| {
        world.script.by_text.get(text).is_some_and(|n| {
            let item = &world.script.items[*n];
            item.text().contains("POISON") || world.plan.sites.iter().any(|s| s.hidden.contains(&item.problem))
        })
    };
    let trusted = world.plan.links.iter().all(|l| l.trusted || !l.relay);
    let seen = locked(&world.seen);
    for ((from, to, problem, origin, text), times) in &seen.bodies {
        if *times > 1 && trusted && !refusable(text) {
            let (from, to) = (&world.plan.sites[*from].name, &world.plan.sites[*to].name);
            let what = format!("{origin} of {problem} crossed from {from} to {to} {times} times");
            return Err(Violation { invariant: "bounded work (§11.7)", what });
        }
    }
    Ok(())
}
