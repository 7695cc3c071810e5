//! Nobody is told of a divergence where no database was restored: messages in flight are none (DESIGN §5).

use crate::executor::locked;
use crate::world::{Violation, World};

/// Whether it holds now. Where rows are deleted by people, a divergence may be true.
pub fn no_false_alarm(world: &World) -> Result<(), Violation> {
    if world.plan.rewriting {
        return Ok(());
    }
    match locked(&world.told.diverged).iter().next() {
        None => Ok(()),
        Some(((site, peer, problem), missing)) => Err(Violation {
            invariant: "no false alarm (§5)",
            what: format!("{site} thinks that {peer} lost {missing} of {problem}"),
        }),
    }
}
