//! An exhaustive check: every state that two or three sites can reach within a bound, whatever people write, and
//! whatever is lost, repeated, overtaken or killed. The checker is `stateright`; a step of a bridge is the flow's own
//! function, on a table of its own.
//!
//! The simulator plays long worlds by chance; this looks at all short ones. Start with [`step`], then [`properties`].

pub mod bounds;
pub mod plain_marker;
pub mod properties;
pub mod state;
pub mod step;
pub mod table;

use std::fmt;
use std::time::{Duration, Instant};

use stateright::{Checker, HasDiscoveries, Model, Property};

use crate::world::Wrong;
use bounds::{Bound, Occasion};
use properties::Checked;
use step::{Action, Protocol};

/// What the checker found out within one bound.
#[derive(Debug)]
pub struct Findings {
    /// States met, as often as they were met.
    pub states: usize,
    /// States.
    pub unique: usize,
    /// The longest way that was gone: of the shortest ways to each state, where these were looked for.
    pub depth: usize,
    /// How long it took.
    pub time: Duration,
    /// What was proved of every state.
    pub proved: Vec<&'static str>,
    /// What was to happen somewhere, and did.
    pub happened: Vec<&'static str>,
    /// What was refuted, and how.
    pub refuted: Vec<(&'static str, Vec<Action>)>,
    /// What never happened although it should.
    pub missing: Vec<&'static str>,
}

/// Looks at all states within `bound`, or as far as the first that refutes something. Nothing where a site of the
/// bound has no valid name.
///
/// The small bounds are gone through in breadth, so that what refutes is a shortest run. All states at the edge are in memory
/// then, whole; of the large ones that is too much, and they are gone through in depth, with a hash for each state.
pub fn look(bound: Bound, wrong: Wrong, threads: usize) -> Option<Findings> {
    let began = Instant::now();
    let model = Checked::new(Protocol::new(bound, wrong)?);
    let properties = model.properties();
    let checker = model.checker().threads(threads).finish_when(HasDiscoveries::AnyFailures);
    Some(match bound.occasion {
        Occasion::Check => findings(&checker.spawn_bfs().join(), properties, began),
        Occasion::Soak => findings(&checker.spawn_dfs().join(), properties, began),
    })
}

fn findings(checker: &impl Checker<Checked>, properties: Vec<Property<Checked>>, began: Instant) -> Findings {
    let discoveries = checker.discoveries();
    let (mut proved, mut happened, mut refuted, mut missing) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for property in properties {
        let is_failure = property.expectation.discovery_is_failure();
        match discoveries.get(property.name) {
            Some(path) if is_failure => refuted.push((property.name, path.clone().into_actions())),
            Some(_) => happened.push(property.name),
            None if is_failure => proved.push(property.name),
            None => missing.push(property.name),
        }
    }
    // Where something is refuted the rest was not looked at to the end.
    if !refuted.is_empty() {
        proved.clear();
        missing.clear();
    }
    Findings {
        states: checker.state_count(),
        unique: checker.unique_state_count(),
        depth: checker.max_depth(),
        time: began.elapsed(),
        proved,
        happened,
        refuted,
        missing,
    }
}

impl Findings {
    /// Whether everything was proved.
    pub fn is_good(&self) -> bool {
        self.refuted.is_empty() && self.missing.is_empty()
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Findings { states, unique, depth, time, .. } = self;
        writeln!(f, "  {states} states, {unique} unique, depth {depth}, {:.1} s", time.as_secs_f64())?;
        for proved in &self.proved {
            writeln!(f, "  proved: {proved}")?;
        }
        for happened in &self.happened {
            writeln!(f, "  happens: {happened}")?;
        }
        for (property, actions) in &self.refuted {
            writeln!(f, "  REFUTED: {property}, by these steps:")?;
            for action in actions {
                writeln!(f, "    {action:?}")?;
            }
        }
        for missing in &self.missing {
            writeln!(f, "  NEVER: {missing}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mutants::MUTANTS;

    /// Within which bound each mistake shows. The shortest runs are short, so most of the bound is never looked at.
    /// The other mistakes are about folding markers, which no step does.
    const SHOWS: [&str; 5] = ["two", "reused-numbers", "chain", "reused-numbers", "two"];

    #[test]
    fn every_mistake_is_refuted() {
        for ((name, wrong), within) in MUTANTS.into_iter().zip(SHOWS) {
            let bound = bounds::named(within).next().unwrap();
            let findings = look(*bound, wrong, 1).unwrap();
            assert!(!findings.refuted.is_empty(), "a bridge that {name} was not refuted within {within}");
            println!("a bridge that {name}, {within}:\n{findings}");
        }
    }

    #[test]
    fn a_small_bound_is_looked_at_to_the_end() {
        let two = bounds::named("two").next().unwrap();
        let small =
            Bound { budget: bounds::Often { writes: &[1, 1], repeats: 1, crashes: 1, ..bounds::Often::NEVER }, ..*two };
        let findings = look(small, Wrong::NOTHING, 1).unwrap();
        assert!(findings.is_good(), "{findings}");
        assert_eq!((findings.proved.len(), findings.happened.len()), (8, 1), "{findings}");
        // The same states come in any order of looking.
        assert_eq!(look(small, Wrong::NOTHING, 2).unwrap().unique, findings.unique);
        let in_depth = look(Bound { occasion: Occasion::Soak, ..small }, Wrong::NOTHING, 2).unwrap();
        assert_eq!((in_depth.is_good(), in_depth.unique), (true, findings.unique), "{in_depth}");
    }
}
