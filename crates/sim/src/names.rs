//! What each site calls a problem. The plan names problems as a person would who sees all sites; where sites number by
//! themselves, each table has other ids.

use landbridge_core::ProblemId;

use crate::plan::{Names, Plan};

/// What the site at `place` calls `problem`.
pub fn local(plan: &Plan, place: usize, problem: &ProblemId) -> ProblemId {
    match plan.names {
        Names::Alike => problem.clone(),
        Names::Linked => numbered(plan, place, problem).unwrap_or_else(|| problem.clone()),
    }
}

/// The problem that the site at `place` calls `local`.
pub fn of(plan: &Plan, place: usize, local: &ProblemId) -> Option<ProblemId> {
    plan.problems.iter().find(|problem| self::local(plan, place, problem) == *local).cloned()
}

/// Numbers of which some are equal at two sites and mean different problems there.
fn numbered(plan: &Plan, place: usize, problem: &ProblemId) -> Option<ProblemId> {
    let index = plan.problems.iter().position(|p| p == problem)?;
    format!("{}", 10 + place + index).parse().ok()
}
