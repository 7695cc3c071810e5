//! `landbridge explain`: why one row is where it is: who wrote it, who holds it, and what keeps it from whom.

use clap::Args;
use landbridge_core::message::Code;
use landbridge_core::pending::Kept;
use landbridge_core::{Group, IdSet, Origin, ProblemId, Reading, SiteName, WorkId};
use landbridge_flow::ports::Condition;
use landbridge_flow::survey::{Line, LineKind};
use serde::Serialize;

use super::Context;
use super::history::{self, History, is_entry, kind_words, list, shell_word, suspended_words};
use crate::cache::{Lost, Withheld};
use crate::exit::{Exit, Failure};
use crate::render::{self, Cell, Table, Tone};
use crate::site::Site;

/// Explain why a row is where it is: who wrote it, who holds it, what keeps it from whom
///
/// Names the row's origin, and for every peer either how this site knows that the peer holds the entry (and which marker
/// says so), or that it is owed, or what keeps it back: a condition of the configuration, a missing relay, a refusal by
/// the peer with its reason, a suspended problem, a paused peer. Every condition is listed with its SQL and whether it lets
/// this row pass.
///
/// Refusals are remembered in a cache file from the last attempt: one whose cause is gone is shown until the next attempt
/// (`landbridge retry`). Nothing is written, and no peer is asked.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Exit status:
  0  nothing is left to do for this row
  1  a peer is still owed it
  2  there is no such row
  6  a peer refuses it or lost it, it differs, it waits for a paused peer, or its problem is suspended

Example:
  landbridge explain ABC 4
  landbridge explain ABC 4 --json | jq '.peers[] | select(.state == \"kept\")'")]
pub struct ExplainArgs {
    /// The problem, as this site's database calls it
    problem: ProblemId,
    /// The number of the row
    row: WorkId,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Prints the explanation.
pub async fn run(args: &ExplainArgs, context: &Context) -> Result<Exit, Failure> {
    let site = Site::open(&context.config).await?;
    let history = history::read(&site.bridge, &args.problem).await?;
    let Some(line) = history.lines.iter().find(|line| line.work == args.row) else {
        let rows = history.lines.iter().map(|line| line.work).collect::<IdSet>();
        return Err(Failure::usage(
            format!("problem {} has no row {} in the history", args.problem, args.row),
            format!("its rows are {rows}; rows that `where` leaves out are not part of the history"),
        ));
    };
    let conditions = site.bridge.store.conditions(&args.problem, args.row).await?.unwrap_or_default();
    let explained = Explained::of(&site, &history, line, conditions);
    if args.json {
        render::say(&render::json(&explained)?)?;
    } else {
        explained.print(&history, line, context)?;
    }
    Ok(explained.exit())
}

#[derive(Debug, Serialize)]
struct Explained {
    problem: ProblemId,
    row: i64,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<Origin>,
    text: Option<String>,
    /// Rows of markers of this problem that do not verify.
    suspended: Vec<i64>,
    /// Other rows of the same origin, with other texts.
    differs: Vec<i64>,
    peers: Vec<PeerState>,
    conditions: Vec<ConditionView>,
}

/// Where the entry stands with one peer.
#[derive(Debug, Serialize)]
struct PeerState {
    peer: SiteName,
    state: State,
    why: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Held,
    Owed,
    Kept,
    Diverged,
    Refused,
    Suspended,
    Paused,
}

#[derive(Debug, Serialize)]
struct ConditionView {
    condition: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<SiteName>,
    sql: String,
    passes: bool,
}

impl Explained {
    fn of(site: &Site, history: &History, line: &Line, conditions: Vec<Condition>) -> Self {
        let learnt = site.cache.learnt();
        let refused = |peer: &SiteName| {
            let origin = history.ledger.origin(line.work);
            let mut all = learnt.refused_there.iter();
            all.find(|r| r.peer == *peer && r.problem == history.problem && r.origin == origin)
                .map(|r| r.reason.clone())
        };
        let withheld = |w: &&Withheld| w.problem == history.problem && w.row == line.work.get();
        let withheld = learnt.withheld.iter().find(withheld).map(|w| w.why.as_str());
        let peers = line.peers.keys().filter(|_| is_entry(&line.kind));
        let state = |peer: &SiteName| {
            let (state, why) = state(site, history, line, peer, &conditions, refused(peer), withheld);
            let origin = history.ledger.origin(line.work);
            let is_lost = |l: &Lost| l.peer == *peer && l.problem == history.problem && l.entries.contains(&origin);
            let lost = learnt.diverged.iter().any(is_lost);
            if lost && state == State::Held {
                let why =
                    format!("{why}; its last receipt says that it lost the entry: restored from a backup, or purged");
                return PeerState { peer: peer.clone(), state: State::Diverged, why };
            }
            PeerState { peer: peer.clone(), state, why }
        };
        let twins = history.differs.iter().find(|(_, rows)| rows.contains(&line.work));
        Self {
            problem: history.problem.clone(),
            row: line.work.get(),
            kind: line.kind.word(),
            origin: is_entry(&line.kind).then(|| history.ledger.origin(line.work)),
            text: line.text.clone(),
            suspended: history.ledger.unverified().iter().map(|(work, _)| work.get()).collect(),
            differs: twins
                .iter()
                .flat_map(|(_, rows)| rows)
                .map(|w| w.get())
                .filter(|w| *w != line.work.get())
                .collect(),
            peers: peers.map(state).collect(),
            conditions: conditions
                .into_iter()
                .map(|c| ConditionView { condition: c.name, peer: c.peer, sql: c.sql, passes: c.passes })
                .collect(),
        }
    }

    fn exit(&self) -> Exit {
        let wants_a_person = |p: &PeerState| matches!(p.state, State::Refused | State::Paused | State::Diverged);
        if !self.suspended.is_empty() || !self.differs.is_empty() || self.peers.iter().any(wants_a_person) {
            Exit::Person
        } else if self.peers.iter().any(|p| p.state == State::Owed) {
            Exit::Left
        } else {
            Exit::Done
        }
    }

    fn print(&self, history: &History, line: &Line, context: &Context) -> Result<(), Failure> {
        let screen = &context.screen;
        let head = format!("Problem {}, row {}: {}.", self.problem, self.row, self.kind_sentence(line));
        render::say(&screen.prose(&head))?;
        let mut table = Table::new(["column", "value"]);
        table.row(["text".into(), history::text_cell(history, line)]);
        for (name, value) in &line.fields {
            table.row([name.as_str().into(), value.clone().unwrap_or_else(|| "(null)".into()).into()]);
        }
        render::say(&screen.table(&table))?;
        if !self.peers.is_empty() {
            let mut table = Table::new(["peer", "state", "why"]);
            for peer in &self.peers {
                let (word, tone) = peer.state.words();
                table.row([peer.peer.as_str().into(), Cell::new(word, tone), peer.why.as_str().into()]);
            }
            render::say(&format!("\n{}", screen.table(&table)))?;
        }
        if !self.conditions.is_empty() {
            let mut table = Table::new(["condition", "for", "lets it pass", "SQL"]);
            for condition in &self.conditions {
                let passes = if condition.passes { Cell::new("yes", Tone::Good) } else { Cell::new("no", Tone::Warn) };
                let peer = condition.peer.as_ref().map_or("all", SiteName::as_str);
                table.row([condition.condition.as_str().into(), peer.into(), passes, condition.sql.as_str().into()]);
            }
            render::say(&format!("\n{}", screen.table(&table)))?;
        }
        if !self.suspended.is_empty() {
            render::say(&format!("\n{}", screen.prose(&suspended_words(&self.problem, &self.suspended))))?;
        }
        if !self.differs.is_empty() {
            let (rows, problem) = (list(&self.differs), shell_word(self.problem.as_str()));
            let text = format!(
                "The same entry is here with another text in row {rows}. Both are kept; a person decides which is right.\n  \
                 landbridge history {problem}"
            );
            render::say(&format!("\n{}", screen.prose(&text)))?;
        }
        Ok(())
    }

    fn kind_sentence(&self, line: &Line) -> String {
        match (&line.kind, &self.origin) {
            (LineKind::Own, Some(origin)) => format!("written here; for all sites it is entry {origin}"),
            (LineKind::Copy(origin), _) => format!("a copy of entry {} of site {}", origin.work, origin.site),
            (LineKind::Marker, _) => "a marker, by which this bridge records what a peer holds; it never leaves".into(),
            (kind, _) => kind_words(kind),
        }
    }
}

impl State {
    fn words(self) -> (&'static str, Tone) {
        match self {
            State::Held => ("holds it", Tone::Good),
            State::Owed => ("is owed it", Tone::Warn),
            State::Kept => ("does not get it", Tone::Plain),
            State::Diverged => ("holds it no more", Tone::Bad),
            State::Refused => ("refuses it", Tone::Bad),
            State::Suspended => ("waits", Tone::Bad),
            State::Paused => ("waits", Tone::Bad),
        }
    }
}

/// Where the entry stands with `peer`, and why.
fn state(
    site: &Site,
    history: &History,
    line: &Line,
    peer: &SiteName,
    conditions: &[Condition],
    refused: Option<String>,
    withheld: Option<&str>,
) -> (State, String) {
    let (ledger, row) = (&history.ledger, line.work);
    let is_paused = site.bridge.peers.get(peer).is_some_and(|policy| policy.paused);
    if ledger.holds(peer, row) {
        return (State::Held, how_held(site, history, line, peer));
    }
    if !ledger.unverified().is_empty() {
        return (State::Suspended, "the problem is suspended: see below".into());
    }
    match line.peers.get(peer).copied().flatten() {
        Some(Kept::Condition) => {
            let closed = conditions.iter().filter(|c| !c.passes && c.peer.as_ref().is_none_or(|p| p == peer));
            let closed: Vec<_> = closed.map(|c| format!("`{}` ({})", c.name, c.sql)).collect();
            let why = match closed.len() {
                0 => "a condition does not let it out".into(),
                1 => format!("the condition {} does not let it out", closed.concat()),
                _ => format!("the conditions {} do not let it out", closed.join(" and ")),
            };
            (State::Kept, why)
        }
        Some(Kept::NotRelayed) => {
            let writer = &ledger.origin(row).site;
            (State::Kept, format!("{writer} wrote it, and [[peer]] {peer} has no `relay = true`"))
        }
        Some(Kept::Stays) => (State::Kept, "the site that it came from asked that it go no further".into()),
        Some(Kept::Marker) => (State::Kept, "it is a marker".into()),
        // A later marker may say so: the rows were read a moment before the ledger.
        Some(Kept::Held) => (State::Held, "by a marker".into()),
        None if is_paused => (State::Paused, format!("[[peer]] {peer} is paused in the configuration")),
        None => match (refused, withheld) {
            (_, Some(why)) => (State::Kept, why.into()),
            (Some(reason), _) if reason == Code::NotAllowed.to_string() => {
                (State::Refused, format!("{reason}; it is tried again only by `landbridge retry`"))
            }
            (Some(reason), _) => {
                let unlinked =
                    [Code::Unpaired, Code::LinkLost, Code::Conflict].iter().any(|c| *reason == c.to_string());
                let link = if unlinked { "; say `landbridge link` here or there" } else { "" };
                let again = "it is tried again with growing pauses, or now by `landbridge retry`";
                (State::Refused, format!("{reason}{link}; {again}"))
            }
            _ if ledger.lost_by(peer, row) => (State::Owed, "it lost the entry and is sent it again".into()),
            _ => (State::Owed, "it goes with the next delivery".into()),
        },
    }
}

/// How this site knows that `peer` holds the entry, and the first marker that says so.
fn how_held(site: &Site, history: &History, line: &Line, peer: &SiteName) -> String {
    for row in &history.rows {
        let Some(Reading::Marker(marker)) = row.marker.as_deref().map(|t| site.bridge.scribe.read(&history.problem, t))
        else {
            continue;
        };
        if marker.peer.site != *peer {
            continue;
        }
        for group in &marker.groups {
            let how = match group {
                Group::Held(rows) if rows.contains(line.work) => "its receipt says so",
                Group::Adopted(rows) if rows.contains(line.work) => "an operator said so (`adopt`)",
                Group::Copies(copies) if copies.rows().contains(line.work) => {
                    match ledger_writer(history, line) == *peer {
                        true => "it wrote the entry",
                        false => "it delivered the entry",
                    }
                }
                _ => continue,
            };
            return format!("{how}: marker in row {}", row.work);
        }
    }
    format!("{} wrote it", ledger_writer(history, line))
}

fn ledger_writer(history: &History, line: &Line) -> SiteName {
    history.ledger.origin(line.work).site
}
