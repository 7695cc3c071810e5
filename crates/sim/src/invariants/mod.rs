//! What must always hold (DESIGN §11), a property a file. 5 (killing changes none of this) and 6 (no clock matters) are
//! not looked at apart: every world is played with crashes and jumping clocks.

mod at_rest;
mod causes_first;
mod exactly_once;
mod nothing_leaks;
mod truthful_markers;
mod work_is_bounded;

use std::sync::Arc;

use landbridge_core::message::{Code, Refusal};
use landbridge_stores::memory::Check;

use crate::world::{Violation, World};

pub use causes_first::causes_first;
pub use exactly_once::{entitled, exactly_once};
pub use nothing_leaks::nothing_leaks;
pub use truthful_markers::truthful_markers;

/// Everything that must hold of a world at rest.
pub fn check_at_rest(world: &World) -> Result<(), Violation> {
    exactly_once(world)?;
    truthful_markers(world)?;
    causes_first(world)?;
    at_rest::no_false_alarm(world)?;
    work_is_bounded::work_is_bounded(world)
}

/// What some tables do not take: the entries that nobody entitles them to.
pub fn poison_check() -> Check {
    Arc::new(|append| append.text.contains("POISON").then(|| Refusal::of(Code::Constraint)))
}
