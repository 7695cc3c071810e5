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

use stateright::{Checker, HasDiscoveries, Model};

use crate::world::Wrong;
use bounds::Bound;
use properties::Checked;
use step::{Action, Protocol};

/// What the checker found out within one bound.
#[derive(Debug)]
pub struct Findings {
    /// States met, as often as they were met.
    pub states: usize,
    /// States.
    pub unique: usize,
    /// The longest of the shortest ways to a state.
    pub depth: usize,
    /// How long it took.
    pub time: Duration,
    /// What was proved.
    pub proved: Vec<&'static str>,
    /// What was refuted, and how.
    pub refuted: Vec<(&'static str, Vec<Action>)>,
    /// What never happened although it should.
    pub missing: Vec<&'static str>,
}

/// Looks at all states within `bound`, or as far as the first that refutes something. Nothing where a site of the
/// bound has no valid name.
pub fn look(bound: Bound, wrong: Wrong, threads: usize) -> Option<Findings> {
    let began = Instant::now();
    let model = Checked::new(Protocol::new(bound, wrong)?);
    let properties = model.properties();
    let checker = model.checker().threads(threads).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let discoveries = checker.discoveries();
    let (mut proved, mut refuted, mut missing) = (Vec::new(), Vec::new(), Vec::new());
    for property in properties {
        let is_failure = property.expectation.discovery_is_failure();
        match discoveries.get(property.name) {
            Some(path) if is_failure => refuted.push((property.name, path.clone().into_actions())),
            None if !is_failure => missing.push(property.name),
            _ => proved.push(property.name),
        }
    }
    // Where something is refuted the rest was not looked at to the end.
    if !refuted.is_empty() {
        proved.clear();
        missing.clear();
    }
    Some(Findings {
        states: checker.state_count(),
        unique: checker.unique_state_count(),
        depth: checker.max_depth(),
        time: began.elapsed(),
        proved,
        refuted,
        missing,
    })
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
