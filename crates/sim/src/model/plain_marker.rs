//! The published plain marker, "everything above this line was copied", under the same steps. It is refuted by the
//! shortest run that loses an entry and by the shortest that doubles one, told so that a person can follow.
//!
//! The rule itself is [`after_the_last_marker`], which the simulator plays too. It gets a kinder world than it had: a
//! copy and the marker above it are committed together, and no message is repeated.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use stateright::{Checker, HasDiscoveries, Model, Path, Property};

use super::step::Action;
use crate::baseline::{Content, after_the_last_marker};

const NAMES: [&str; 2] = ["1", "N"];
const LOSES: &str = "no entry is lost";
const DOUBLES: &str = "no entry is doubled";

/// Two sites that exchange by plain markers.
#[derive(Debug, Clone)]
struct PlainMarker {
    /// The one property that is looked at: so the checker ends with the shortest way to its refutation.
    property: &'static str,
}

type Message = (usize, bool, Vec<String>);

/// Whether a message is the delivery of `texts` by the site `at`, or the answer to it.
fn is_of((from, is_receipt, of): &Message, at: usize, texts: &[String]) -> bool {
    of == texts && (*from == at) != *is_receipt
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
struct State {
    sites: [Site; 2],
    /// Sorted: the sender, whether it is a receipt, and the entries.
    network: Vec<Message>,
    writes: [u8; 2],
    late: u8,
    losses: u8,
    delays: u8,
    crashes: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
struct Site {
    rows: BTreeMap<u64, Content>,
    open: Option<(u64, Content)>,
    begun: u8,
    /// What is under way to the other site.
    flight: Option<Vec<String>>,
}

impl Site {
    fn next(&self) -> u64 {
        let last = self.rows.keys().next_back().copied();
        last.max(self.open.as_ref().map(|(n, _)| *n)).unwrap_or(0) + 1
    }

    fn append(&mut self, content: Content) {
        self.rows.insert(self.next(), content);
    }

    /// What the other site, at `peer`, is sent.
    fn unsent(&self, peer: usize) -> Vec<String> {
        let unsent = after_the_last_marker(self.rows.iter().map(|(n, content)| (*n, content)), peer);
        unsent.iter().filter_map(|n| self.rows.get(n)?.clone().ok()).collect()
    }

    fn write(&mut self, at: usize) -> Content {
        let letter = char::from(b'a' + self.begun);
        self.begun += 1;
        Ok(format!("{letter} of {}", NAMES[at]))
    }

    fn count(&self, text: &str) -> usize {
        self.rows.values().filter(|content| content.as_deref() == Ok(text)).count()
    }
}

impl State {
    fn is_at_rest(&self) -> bool {
        let idle = |at: usize| {
            let site = &self.sites[at];
            site.open.is_none() && site.flight.is_none() && site.unsent(1 - at).is_empty()
        };
        self.network.is_empty() && idle(0) && idle(1)
    }

    /// The entries that somebody wrote, and how often each is at either site.
    fn counts(&self) -> impl Iterator<Item = (&String, [usize; 2])> {
        let rows = self.sites.iter().flat_map(|site| site.rows.values().filter_map(|content| content.as_ref().ok()));
        rows.map(|text| (text, [self.sites[0].count(text), self.sites[1].count(text)]))
    }

    fn send(&mut self, from: usize, is_receipt: bool, texts: Vec<String>) {
        self.network.push((from, is_receipt, texts));
        self.network.sort();
    }
}

impl Model for PlainMarker {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State { writes: [2, 1], late: 1, losses: 1, delays: 1, crashes: 1, ..State::default() }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for (at, site) in state.sites.iter().enumerate() {
            let peer = 1 - at;
            if state.writes[at] > 0 {
                actions.push(Action::Write(at));
                if state.late > 0 && site.open.is_none() {
                    actions.push(Action::Begin(at));
                }
            }
            if site.open.is_some() {
                actions.push(Action::Commit(at));
            }
            match &site.flight {
                None if !site.unsent(peer).is_empty() => actions.push(Action::Prepare(at, peer)),
                Some(texts) if state.delays > 0 || !state.network.iter().any(|message| is_of(message, at, texts)) => {
                    actions.push(Action::GiveUp(at, peer));
                }
                None | Some(_) => {}
            }
            if state.crashes > 0 && site.flight.is_some() {
                actions.push(Action::Crash(at));
            }
        }
        for (n, (_, is_receipt, _)) in state.network.iter().enumerate() {
            actions.push(if *is_receipt { Action::Settle(n) } else { Action::Accept(n) });
            if state.losses > 0 {
                actions.push(Action::Lose(n));
            }
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        match action {
            Action::Write(at) => {
                next.writes[at] -= 1;
                let content = next.sites[at].write(at);
                next.sites[at].append(content);
            }
            Action::Begin(at) => {
                next.writes[at] -= 1;
                next.late -= 1;
                let site = &mut next.sites[at];
                let row = (site.next(), site.write(at));
                site.open = Some(row);
            }
            Action::Commit(at) => {
                let row = next.sites[at].open.take()?;
                next.sites[at].rows.extend([row]);
            }
            Action::Prepare(at, peer) => {
                let texts = next.sites[at].unsent(peer);
                next.sites[at].flight = Some(texts.clone());
                next.send(at, false, texts);
            }
            Action::Accept(n) => {
                let (from, _, texts) = next.network.remove(n);
                let site = &mut next.sites[1 - from];
                texts.iter().for_each(|text| site.append(Ok(text.clone())));
                site.append(Err(from));
                next.send(1 - from, true, texts);
            }
            Action::Settle(n) => {
                let (from, _, texts) = next.network.remove(n);
                let site = &mut next.sites[1 - from];
                if site.flight.as_ref() == Some(&texts) {
                    site.flight = None;
                    site.append(Err(from));
                }
            }
            Action::GiveUp(at, _) => {
                let texts = next.sites[at].flight.take()?;
                next.delays -= u8::from(next.network.iter().any(|message| is_of(message, at, &texts)));
            }
            Action::Lose(n) => {
                next.losses -= 1;
                next.network.remove(n);
            }
            Action::Crash(at) => {
                next.crashes -= 1;
                next.sites[at].flight = None;
            }
            _ => return None,
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![match self.property {
            LOSES => Property::always(LOSES, |_, state: &State| {
                !state.is_at_rest() || state.counts().all(|(_, counts)| !counts.contains(&0))
            }),
            _ => Property::always(DOUBLES, |_, state: &State| state.counts().all(|(_, [a, b])| a < 2 && b < 2)),
        }]
    }
}

/// The shortest runs in which the plain marker loses an entry and doubles one, as a person reads them. Nothing where
/// there is no such run.
pub fn stories() -> Option<String> {
    let mut told = String::new();
    for (property, what) in [(LOSES, "loses"), (DOUBLES, "doubles")] {
        // One thread: the states are looked at in the order of their distance from the start.
        let model = PlainMarker { property };
        let checker = model.checker().threads(1).finish_when(HasDiscoveries::Any).spawn_bfs().join();
        let path = checker.discovery(property)?;
        let gap = if told.is_empty() { "" } else { "\n" };
        write!(told, "{gap}The plain marker {what} an entry. No run is shorter.\n\n").ok()?;
        tell(&mut told, path).ok()?;
    }
    Some(told)
}

fn tell(told: &mut String, path: Path<State, Action>) -> fmt::Result {
    let steps = path.into_vec();
    let states: Vec<&State> = steps.iter().map(|(state, _)| state).collect();
    for (n, (state, action)) in steps.iter().enumerate() {
        let Some(action) = action else { continue };
        let step = sentence(state, action);
        writeln!(told, "{:>4}. {step}", n + 1)?;
    }
    let Some(last) = states.last() else { return Ok(()) };
    writeln!(told, "\n{:>9}  {:18}  site N", "work id", "site 1")?;
    let text = |site: usize, n: u64| match last.sites[site].rows.get(&n) {
        Some(Ok(text)) => text.clone(),
        Some(Err(peer)) => format!("copy in system {}", NAMES[*peer]),
        None => String::new(),
    };
    let rows = last.sites.iter().filter_map(|site| site.rows.keys().next_back()).max().copied().unwrap_or(0);
    for n in 1..=rows {
        writeln!(told, "{}", format!("{n:>9}  {:18}  {}", text(0, n), text(1, n)).trim_end())?;
    }
    let wrong = last.counts().find(|(_, counts)| counts.iter().any(|n| *n != 1));
    let Some((text, counts)) = wrong else { return Ok(()) };
    let place = |wanted: fn(usize) -> bool| counts.iter().position(|n| wanted(*n)).map_or("", |at| NAMES[at]);
    if counts.contains(&0) {
        let peer = place(|n| n == 0);
        writeln!(told, "\nNothing is left to be sent, and \"{text}\" never comes to site {peer}.")
    } else {
        writeln!(told, "\nSite {} has \"{text}\" twice.", place(|n| n > 1))
    }
}

fn sentence(state: &State, action: &Action) -> String {
    let message = |n: usize| state.network.get(n).map_or((0, String::new()), |(from, _, texts)| (*from, quoted(texts)));
    let what = |n: usize| if state.network.get(n).is_some_and(|m| m.1) { "answer" } else { "delivery" };
    let mut site = state.sites.to_vec();
    match *action {
        Action::Write(at) => {
            format!("At {} somebody writes {}.", NAMES[at], quoted(&[site[at].write(at).unwrap_or_default()]))
        }
        Action::Begin(at) => {
            format!("At {} somebody begins to write {}.", NAMES[at], quoted(&[site[at].write(at).unwrap_or_default()]))
        }
        Action::Commit(at) => format!("That transaction commits at {}.", NAMES[at]),
        Action::Prepare(at, peer) => {
            let texts = quoted(&state.sites[at].unsent(peer));
            format!("{} reads what is below its last marker for {}, and sends it: {texts}.", NAMES[at], NAMES[peer])
        }
        Action::Accept(n) => {
            let (from, texts) = message(n);
            format!("{} receives {texts}, and appends it with a marker for {}.", NAMES[1 - from], NAMES[from])
        }
        Action::Settle(n) => {
            let from = message(n).0;
            format!("{} hears that it arrived, and appends a marker for {}.", NAMES[1 - from], NAMES[from])
        }
        Action::GiveUp(at, _) => format!("{} waits no longer for an answer.", NAMES[at]),
        Action::Lose(n) => format!("The {} of {} is lost.", what(n), NAMES[message(n).0]),
        Action::Crash(at) => format!("The bridge of {} is killed, and started again.", NAMES[at]),
        _ => String::new(),
    }
}

fn quoted(texts: &[String]) -> String {
    texts.iter().map(|text| format!("\"{text}\"")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_tells_exactly_what_the_command_prints() {
        let readme = include_str!("../../../../README.md");
        let printed = format!("$ cargo run -p landbridge-sim -- model --baseline\n{}```\n", stories().unwrap());
        assert!(readme.contains(&printed), "README.md is to have this:\n{printed}");
    }
}
