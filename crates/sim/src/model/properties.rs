//! What must hold of every state of the model (DESIGN §11), and what must be reachable, so that nothing holds for want of
//! anything that happens.

use std::collections::HashSet;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex};

use stateright::{Model, Property};

use super::bounds::Topology;
use super::state::{Budget, State};
use super::step::{Action, LATE, Protocol};
use crate::executor::locked;

/// How many fair steps a state may take to come to rest.
const REST_MAX: usize = 400;

/// A model for the checker: the protocol, and which states are known to come to rest.
pub struct Checked {
    /// What happens.
    pub protocol: Protocol,
    resting: Mutex<HashSet<u64>>,
}

impl Checked {
    /// The model of `protocol`.
    pub fn new(protocol: Protocol) -> Self {
        Self { protocol, resting: Mutex::default() }
    }
}

impl Model for Checked {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![self.protocol.start()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if !state.failed {
            self.protocol.actions(state, actions);
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        Some(self.protocol.after(state, &action))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::always(DONE, |_, state: &State| !state.failed),
            Property::always(ONCE, |_, state: &State| stands_once(state)),
            Property::always(NO_MARKER, |_, state: &State| no_marker_leaves(state)),
            Property::always(TRUE, |_, state: &State| markers_are_true(state)),
            Property::always(NOT_BACK, |_, state: &State| state.sites.iter().all(|site| !site.view.took_back)),
            Property::always(COMPLETE, |_, state: &State| !state.is_at_rest() || is_complete(state)),
            Property::always(RESTS, |model: &Self, state: &State| model.comes_to_rest(state)),
            Property::sometimes(ALL_HAPPENED, |_, state: &State| state.left.is_spent() && state.is_at_rest()),
        ];
        // The design promises it along relayed paths: where two sites that know a third pass nothing on, either may be first.
        if self.protocol.bound.topology != (Topology::Mesh { relay: false }) {
            properties.push(Property::always(CAUSES, |_, state: &State| causes_stand_first(state)));
        }
        properties
    }
}

const DONE: &str = "every transaction of a bridge comes to its end";
const ONCE: &str = "no entry stands twice at a site";
const NO_MARKER: &str = "no marker is in a message or at another site";
const TRUE: &str = "a marker says that a site holds only what that site has committed";
const NOT_BACK: &str = "no site takes back what it wrote itself";
const CAUSES: &str = "a cause stands before its effect";
const COMPLETE: &str = "where nothing is left to do, every entry is once at every site";
const RESTS: &str = "from every state fair delivery leads there";
const ALL_HAPPENED: &str = "all that may happen does, and it comes to rest";

impl State {
    /// Whether nobody has anything to do but people and mischance.
    pub fn is_at_rest(&self) -> bool {
        let idle = |site: &super::state::Site| {
            let lines = site.lines.iter().zip(&site.view.pending);
            site.open.is_none()
                && lines.into_iter().all(|(line, owed)| {
                    line.flight.is_none()
                        && line.waiting.is_empty()
                        && owed.iter().all(|row| line.denied.contains(*row))
                })
        };
        self.network.is_empty() && self.sites.iter().all(|site| idle(site))
    }
}

impl Budget {
    fn is_spent(&self) -> bool {
        let Budget { writes, late, deletions, losses, repeats, delays, crashes } = self;
        writes.iter().chain([late, deletions, losses, repeats, delays, crashes]).all(|left| *left == 0)
    }
}

fn stands_once(state: &State) -> bool {
    state.sites.iter().all(|site| {
        let entries = &site.view.entries;
        entries.iter().enumerate().all(|(n, (_, text, _))| !entries[..n].iter().any(|(_, other, _)| other == text))
    })
}

fn no_marker_leaves(state: &State) -> bool {
    !state.network.iter().any(|message| message.sealed) && !state.sites.iter().any(|site| site.view.strange)
}

fn markers_are_true(state: &State) -> bool {
    let committed = |at: usize, text: &Arc<str>| {
        let site = &state.sites[at];
        site.deleted.contains(text) || site.view.entries.iter().any(|(_, there, _)| there == text)
    };
    state
        .sites
        .iter()
        .all(|site| site.view.held.iter().enumerate().all(|(peer, held)| held.iter().all(|text| committed(peer, text))))
}

/// What stands above an entry where it was written stands above it everywhere, save what committed late or was deleted.
fn causes_stand_first(state: &State) -> bool {
    let deleted = |text: &Arc<str>| state.sites.iter().any(|site| site.deleted.contains(text));
    let in_time = |text: &Arc<str>| !text.ends_with(LATE) && !deleted(text);
    let above = |at: usize, text: &Arc<str>| {
        let entries = &state.sites[at].view.entries;
        entries.iter().position(|(_, there, _)| there == text).map(|n| &entries[..n])
    };
    state.sites.iter().enumerate().all(|(home, site)| {
        let mine = site.view.entries.iter().filter(|(_, text, own)| *own && in_time(text));
        mine.into_iter().all(|(_, effect, _)| {
            let causes = above(home, effect).unwrap_or_default();
            (0..state.sites.len()).filter_map(|at| above(at, effect)).all(|there| {
                let stands = |cause: &Arc<str>| there.iter().any(|(_, text, _)| text == cause);
                causes.iter().all(|(_, cause, _)| !in_time(cause) || stands(cause))
            })
        })
    })
}

/// Whether what was written and not deleted is everywhere.
fn is_complete(state: &State) -> bool {
    let there = |site: &super::state::Site, text: &Arc<str>| site.view.entries.iter().any(|(_, t, _)| t == text);
    state.sites.iter().all(|home| {
        home.view.entries.iter().all(|(_, text, _)| {
            let was_deleted = state.sites.iter().any(|site| site.deleted.contains(text));
            was_deleted || state.sites.iter().all(|site| there(site, text))
        })
    })
}

impl Checked {
    /// Whether the state that comes by fair steps alone is at rest and complete, what may happen besides left aside.
    fn comes_to_rest(&self, state: &State) -> bool {
        let mut state =
            State { left: Budget { writes: vec![0; state.sites.len()], ..Budget::default() }, ..state.clone() };
        let mut way = Vec::new();
        for _ in 0..REST_MAX {
            let mut hasher = DefaultHasher::new();
            state.hash(&mut hasher);
            let known = hasher.finish();
            let rests = state.is_at_rest() && is_complete(&state);
            if rests || locked(&self.resting).contains(&known) {
                way.push(known);
                locked(&self.resting).extend(way);
                return true;
            }
            way.push(known);
            let mut actions = Vec::new();
            self.protocol.actions(&state, &mut actions);
            let order = |action: &Action| match action {
                Action::Commit(_) => 0,
                Action::Accept(_) | Action::Settle(_) => 1,
                Action::Prepare(..) => 2,
                _ => 3,
            };
            let Some(action) = actions.into_iter().filter(Action::is_fair).min_by_key(order) else { return false };
            state = self.protocol.after(&state, &action);
            if state.failed {
                return false;
            }
        }
        false
    }
}
