//! What each site calls a problem. The plan names problems as a person would who sees all sites; where sites number by
//! themselves, each table has other ids.

use landbridge_core::{ProblemId, ProblemName};
use landbridge_stores::memory::MemoryStore;

use crate::plan::{Names, Plan};

/// What the site at `place` calls `problem`; nothing where it is not there yet.
pub fn local(plan: &Plan, stores: &[MemoryStore], place: usize, problem: &ProblemId) -> Option<ProblemId> {
    let index = plan.problems.iter().position(|p| p == problem)?;
    match plan.names {
        Names::Alike => Some(problem.clone()),
        // Some numbers are equal at two sites and mean different problems there.
        Names::Linked => format!("{}", 10 + place + index).parse().ok(),
        Names::Created => {
            let home = home(plan, problem)?;
            if plan.sites.get(place)?.name == home.site {
                return Some(home.problem);
            }
            let created = stores.get(place)?.linked_problems();
            created.into_iter().find(|(_, there)| there.home.as_ref() == Some(&home)).map(|(id, _)| id)
        }
    }
}

/// The problem that the site at `place` calls `local`.
pub fn of(plan: &Plan, stores: &[MemoryStore], place: usize, local: &ProblemId) -> Option<ProblemId> {
    plan.problems.iter().find(|problem| self::local(plan, stores, place, problem).as_ref() == Some(local)).cloned()
}

/// Where a problem is first seen, in worlds where the others create it, and what it is called there.
pub fn home(plan: &Plan, problem: &ProblemId) -> Option<ProblemName> {
    let index = plan.problems.iter().position(|p| p == problem)?;
    let site = plan.sites.get((plan.seed as usize + index) % plan.sites.len())?;
    Some(ProblemName::new(site.name.clone(), problem.clone()))
}
