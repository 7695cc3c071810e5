//! `landbridge status`: the state of the site, as tables or as JSON.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use landbridge_core::message::{Code, Refusal};

use super::Context;
use crate::cache::{RefusedHere, RefusedThere, Trouble, Violated, Withheld};
use crate::certificates::State;
use crate::exit::{Exit, Failure};
use crate::lock;
use crate::render::{Cell, Screen, Table, Tone, count, json, progress, say};
use crate::site::Site;
use crate::status::{Differs, Diverged, Listed, PeerStatus, Status, Suspended};

/// Show what each peer is owed, and what wants a person's eye
///
/// Reads the whole history, a page of problems at a time, and changes nothing.
/// For each peer it shows
///
///   pending    entries that it may have and does not hold yet, and in how many problems
///   held       entries of this history that it holds
///   refused    pending entries that it does not take, and why; see `landbridge retry`
///   diverged   what it held once and no longer does: it was restored, or lost rows
///              Of both so many are kept for each peer. `And more, not kept` says that there were
///              others, until `--acknowledge`
///   violations what it did against the protocol or against [limits], and how often; it was
///              refused. `--acknowledge` says that you have seen them
///   paused     nothing is exchanged with it: its [[peer]] says `paused = true`
///
/// and of the history
///
///   suspended  problems with markers that do not verify: a lost key, a ticket merged into
///              another, a pasted marker. Nothing of them is sent until `landbridge disown`
///              or `landbridge rekey` frees them
///   differs    entries that are here with more than one text; see `landbridge history`.
///              `--acknowledge` says that you have seen them
///   withheld   rows that cannot be sent: too large, or no text
///   record     the record of what leaves (`[audit] file`) cannot be written: nothing leaves
///
/// and with [tls] how long each certificate is still good: of this site, of the authorities, and
/// of each peer as it last showed it. From `[tls] warn` before its end (default 30 days) one wants
/// a person's eye, and so does a new configuration that the running bridge does not use because
/// it is faulty.
///
/// A peer that was never heard of is *not reached yet* (or *has not dialled yet*), whatever is
/// pending. That nothing is pending is what the markers here say: where a database was restored,
/// what is gone with its markers is found by `landbridge verify` alone.
///
/// When a peer last answered, what it refused and what it lost is known from the cache
/// beside the configuration. Without it, what the database itself says is shown.
#[derive(Debug, Args)]
#[command(
    verbatim_doc_comment,
    after_long_help = "\
Exit status:
  0  everything is in step   1  something is pending
  6  something is refused, diverged, suspended, paused or withheld, a certificate ends soon
     or has ended, a new configuration is faulty and not used, the record of what leaves
     cannot be written, or since that was last acknowledged an entry differs, a peer
     violated the protocol or [limits], or more was refused or diverged than is kept
  3  wrong configuration     4  the database does not answer

Example:
  landbridge status --json | jq '.peers[] | {name, pending}'"
)]
pub struct StatusArgs {
    /// Print JSON instead of tables
    #[arg(long)]
    json: bool,

    /// Say that you have seen the violations and the entries with more than one text so far
    ///
    /// They stay in the tables, but what is there now no longer makes the exit status 6. That there was more than is kept is
    /// no longer said. Everything else that wants a
    /// person's eye does, and so does another text of such an entry. Kept in the cache beside the configuration.
    #[arg(long)]
    acknowledge: bool,
}

/// Prints the state.
pub async fn run(args: &StatusArgs, context: &Context) -> Result<Exit, Failure> {
    let site = Site::open(&context.config).await.map_err(|failure| while_running(failure, &context.config))?;
    let bar = progress("looking through problems", None);
    let status = Status::of(&site, &|looked_at| bar.set_position(looked_at as u64)).await;
    bar.finish_and_clear();
    let mut status = status?;
    if args.acknowledge {
        let differs = status.differs_unseen.iter().map(|d| (&d.problem, &d.origin, &d.rows[..]));
        let not_kept = status
            .peers
            .iter()
            .flat_map(|peer| peer.not_kept.iter().map(|(trouble, count)| (&peer.name, *trouble, *count)));
        site.cache.acknowledge(status.violations(), differs, not_kept).map_err(|e| {
            let what = format!("it cannot be noted in {}.cache: {e}", site.config.path.display());
            Failure::new(Exit::Configuration, what, "give this user the right to write it, or delete it")
        })?;
    }
    if args.acknowledge {
        status.differs.first.iter_mut().for_each(|differs| differs.seen = true);
    }
    if args.json {
        say(&json(&status)?)?;
    } else {
        say(&tables(&status, context.screen, now()))?;
    }
    if args.acknowledge {
        status.acknowledged();
    }
    Ok(status.exit())
}

/// A new configuration that is faulty hides the state, and does not concern the bridge that runs.
fn while_running(mut failure: Failure, config: &Path) -> Failure {
    if failure.exit == Exit::Configuration && failure.next.is_none() && lock::is_running(config) {
        let next = "put it right, then `landbridge reload`; the bridge that runs goes on with the former configuration";
        failure.next = Some(next.to_owned());
    }
    failure
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The state as a person reads it.
fn tables(status: &Status, screen: Screen, now: u64) -> String {
    let mut parts = vec![heading(status, screen)];
    if status.peers.is_empty() {
        parts.push("There is no peer.".to_owned());
    } else {
        parts.push(screen.table(&owed(status)));
        if status.peers.iter().any(|peer| peer.since.is_some()) {
            parts.push(screen.table(&contact(status, now)));
        }
    }
    if let Some(error) = status.record.as_ref().and_then(|record| record.error.as_ref()) {
        parts.push(screen.paint(Tone::Bad, &screen.prose(&format!("Nothing leaves: {error}"))));
    }
    if !status.certificates.is_empty() {
        parts.push(screen.table(&certificates(status)));
    }
    for dated in status.certificates.iter().filter(|dated| dated.wants_a_person()) {
        let advice = dated.advice.as_deref().unwrap_or_default();
        parts.push(screen.prose(&format!("The certificate of {}: {advice}", dated.called())));
    }
    if let Some(reload) = &status.reload {
        let title = format!("The configuration that was read {} is not used:", ago(now.saturating_sub(reload.at)));
        let faults: Vec<_> = reload.faults.iter().map(|fault| format!("  {fault}")).collect();
        let next = "The bridge works with the former one. Put it right, then `landbridge reload`.";
        let faults = screen.prose(&faults.join("\n"));
        parts.push(format!("{}\n{faults}\n{}", screen.paint(Tone::Bad, &title), screen.prose(next)));
    }
    for peer in &status.peers {
        let name = &peer.name;
        if let Some(error) = &peer.last_error {
            parts.push(screen.paint(Tone::Bad, &format!("{name} {error}")));
        }
        let (refuses, lost) = (format!("{name} refuses"), format!("{name} no longer holds (diverged)"));
        let next = match peer.refused.first.iter().any(|refused| refused.reason == "echo") {
            true => &format!(
                "*echo*: it gave that very text here, and the marker that said so is gone. Say `landbridge verify`, then, where \
                 somebody deleted markers, `landbridge repair --peer {name} --recognise`."
            ),
            false => "Tried again after growing pauses, except what is not allowed; at once with `landbridge retry`.",
        };
        let row = |r: &RefusedThere| {
            vec![text(&r.problem), text(r.row), text(&r.origin), Cell::new(&r.reason, Tone::Bad), text(r.tries)]
        };
        let head = ["problem", ">row", "entry", "reason", ">tries"];
        section(&mut parts, screen, (&refuses, next), &peer.refused, row, &head);
        not_kept(&mut parts, screen, peer, Trouble::Refused);
        let next = format!(
            "Its database was restored from a backup, or rows were deleted there: ask its operator. \
             `landbridge repair --peer {name}` sends them again, with --accept it records that the loss is meant."
        );
        let row = |d: &Diverged| vec![text(&d.problem), Cell::new(&d.entries, Tone::Bad)];
        section(&mut parts, screen, (&lost, &next), &peer.diverged, row, &["problem", "entries"]);
        not_kept(&mut parts, screen, peer, Trouble::Diverged);
        let lost = format!("Lost here, and {name} has it (diverged)");
        let next = format!(
            "This database was restored from a backup, or rows were deleted with their markers. `landbridge repair --peer \
             {name}` fetches them back, with --accept it records that the loss is meant."
        );
        section(&mut parts, screen, (&lost, &next), &peer.lost_here, row, &["problem", "entries"]);
        not_kept(&mut parts, screen, peer, Trouble::LostHere);
        let next = "All of it was refused. `landbridge status --acknowledge` says that you have seen it.";
        violations(&mut parts, screen, now, (&format!("{name} violated"), next), &peer.violations);
    }
    let next = "Where nearly all are: was `site`, [history] `name` or the key file changed? Put it back. Otherwise \
                `landbridge disown PROBLEM ROW` says that a row is an entry, `landbridge rekey --lost-key` signs again.";
    let head = ("Suspended", next);
    let row = |s: &Suspended| vec![text(&s.problem), Cell::new(numbers(&s.rows), Tone::Bad)];
    section(&mut parts, screen, head, &status.suspended, row, &["problem", "rows that do not verify"]);

    let next = "`landbridge history PROBLEM` shows the texts. A number that was given out twice is a sign of a restore: say \
         `landbridge verify` and repair before anything is deleted, for this may be the only copy left. Two entries: all is \
         well then. An outdated version of one: delete its row in your application; it does not come back. `landbridge status \
         --acknowledge` says that you have seen them.";
    let head = ("Differs: here with more than one text", next);
    let row = |d: &Differs| {
        let (tone, seen) = if d.seen { (Tone::Plain, "yes") } else { (Tone::Bad, "no") };
        vec![text(&d.problem), text(&d.origin), Cell::new(numbers(&d.rows), tone), Cell::new(seen, tone)]
    };
    section(&mut parts, screen, head, &status.differs, row, &["problem", "entry", "rows", "seen"]);

    let head = (
        "Withheld: cannot be sent",
        "Correct the row and run `landbridge retry`, or exclude it by a `share` condition.",
    );
    let row = |w: &Withheld| vec![text(&w.problem), text(w.row), Cell::new(&w.why, Tone::Bad)];
    section(&mut parts, screen, head, &status.withheld, row, &["problem", ">row", "reason"]);

    let mut next = "Their senders keep them and try them again. Nothing is lost.".to_owned();
    let own = |r: &&RefusedHere| r.origin.site == status.site && r.reason == Refusal::of(Code::NotAllowed).to_string();
    if let Some(own) = status.refused_here.first.iter().find(own) {
        next += &format!(
            " What this site wrote itself and lost is taken back only while `landbridge repair --peer {}` runs here.",
            own.peer
        );
    }
    let head = ("Refused here lately", &*next);
    let row = |r: &RefusedHere| {
        vec![text(&r.peer), text(&r.problem), text(&r.origin), Cell::new(&r.reason, Tone::Warn), text(&r.detail)]
    };
    let columns = ["peer", "problem", "entry", "reason", "the database said"];
    section(&mut parts, screen, head, &status.refused_here, row, &columns);
    status.peers.iter().for_each(|peer| not_kept(&mut parts, screen, peer, Trouble::RefusedHere));
    let head = ("Strangers", "None of them got an answer. Many may be a peer with a wrong token.");
    violations(&mut parts, screen, now, head, &status.strangers);
    parts.join("\n\n")
}

fn heading(status: &Status, screen: Screen) -> String {
    let Status { site, history, database, engine, .. } = status;
    let first = screen.paint(Tone::Strong, &format!("Site {site}, history {history}"));
    let entries = count(status.own + status.copies, "entry");
    let problems = count(status.problems, "problem");
    let rest = format!(
        "{database} ({engine}): {entries} ({} from here, {} from peers) and {} in {problems}.",
        status.own,
        status.copies,
        count(status.markers, "marker")
    );
    let running = if status.running { "A bridge is running." } else { "No bridge is running." };
    format!("{first}\n{}\n{running}", screen.prose(&rest))
}

/// What each peer is owed. Narrow enough for 80 columns, as numbers are no use when they are broken.
fn owed(status: &Status) -> Table {
    let mut table = Table::new(["peer", ">pending", ">problems", ">held", ">refused", ">diverged", "state"]);
    for peer in &status.peers {
        let bad = |n: u64| Cell::new(n.to_string(), if n > 0 { Tone::Bad } else { Tone::Plain });
        table.row([
            Cell::new(peer.name.as_str(), Tone::Strong),
            Cell::new(peer.pending.to_string(), if peer.pending > 0 { Tone::Warn } else { Tone::Plain }),
            text(peer.pending_problems),
            text(peer.held),
            bad(peer.refused.count),
            bad(peer.diverged.count + peer.lost_here.count),
            state(peer),
        ]);
    }
    table
}

/// When each peer was last heard of, and what was exchanged since the last daemon began.
fn contact(status: &Status, now: u64) -> Table {
    let mut table = Table::new(["peer", "last contact", ">sent", ">received", ">sent/s", "counted since"]);
    for peer in &status.peers {
        let when = |at: Option<u64>| at.map_or("never".into(), |at| text(ago(now.saturating_sub(at))));
        table.row([
            Cell::new(peer.name.as_str(), Tone::Strong),
            when(peer.last_contact),
            text(peer.sent),
            text(peer.received),
            peer.sent_per_second().map_or("-".into(), |rate| text(format!("{rate:.1}"))),
            when(peer.since),
        ]);
    }
    table
}

/// How long certificates are still good.
fn certificates(status: &Status) -> Table {
    let mut table = Table::new(["certificate of", "ends", ">days left", "state"]);
    for dated in &status.certificates {
        let (word, tone) = match dated.state {
            State::Good => ("good", Tone::Good),
            State::EndsSoon => ("ends soon", Tone::Warn),
            State::Ended => ("ended", Tone::Bad),
            State::NotYet => ("not yet good", Tone::Bad),
            State::Fault => ("cannot be used", Tone::Bad),
        };
        table.row([
            Cell::new(dated.called(), Tone::Strong),
            dated.ends.clone().unwrap_or_else(|| "-".to_owned()).into(),
            dated.days_left.map_or("-".into(), text),
            Cell::new(word, tone),
        ]);
    }
    table
}

fn state(peer: &PeerStatus) -> Cell {
    let (word, tone) = if peer.paused {
        ("paused", Tone::Bad)
    } else if peer.last_error.is_some() {
        ("does not answer", Tone::Bad)
    } else if peer.wants_a_person() {
        ("look below", Tone::Bad)
    } else if peer.is_unheard() {
        (if peer.url.is_some() { "not reached yet" } else { "has not dialled yet" }, Tone::Warn)
    } else if peer.pending > 0 {
        ("pending", Tone::Warn)
    } else {
        ("in step", Tone::Good)
    };
    Cell::new(word, tone)
}

fn section<T>(
    parts: &mut Vec<String>,
    screen: Screen,
    (title, next): (&str, &str),
    listed: &Listed<T>,
    row: impl Fn(&T) -> Vec<Cell>,
    head: &[&str],
) {
    if listed.count == 0 {
        return;
    }
    let mut table = Table::new(head.iter().copied());
    listed.first.iter().for_each(|item| table.row(row(item)));
    let more = listed.count - listed.first.len() as u64;
    let more = if more > 0 { format!("\nand {more} more") } else { String::new() };
    let title = screen.paint(Tone::Strong, &format!("{title}: {}", listed.count));
    parts.push(format!("{title}\n{}{more}\n{}", screen.table(&table), screen.prose(next)));
}

/// Says that there was more of this than is kept, so that what is shown is not taken for all.
fn not_kept(parts: &mut Vec<String>, screen: Screen, peer: &PeerStatus, trouble: Trouble) {
    if !peer.not_kept.contains_key(&trouble) {
        return;
    }
    let name = &peer.name;
    let (what, next) = match trouble {
        Trouble::Refused => (format!("{name} refuses"), "They are tried again like the others.".to_owned()),
        Trouble::Diverged => (
            format!("{name} no longer holds"),
            format!("`landbridge verify --peer {name}` finds all, here or there, wherever the other is dialled."),
        ),
        Trouble::LostHere => (
            format!("Lost here, and {name} has it"),
            format!("`landbridge verify --peer {name}` finds all, here or there, wherever the other is dialled."),
        ),
        Trouble::RefusedHere => {
            (format!("Refused here of {name}"), "Their sender keeps them and tries them again.".to_owned())
        }
    };
    let title = screen.paint(Tone::Bad, &format!("{what}: and more, not kept"));
    let seen = "`landbridge status --acknowledge` says that you have seen this.";
    parts.push(format!("{title}\n{}", screen.prose(&format!("{next} {seen}"))));
}

fn violations(parts: &mut Vec<String>, screen: Screen, now: u64, head: (&str, &str), violated: &[Violated]) {
    let row = |v: &Violated| {
        let tone = if v.unseen > 0 { Tone::Bad } else { Tone::Plain };
        let when = text(ago(now.saturating_sub(v.last)));
        vec![Cell::new(&v.what, tone), text(v.count), text(v.unseen), when, text(&v.detail)]
    };
    let listed = violated.iter().cloned().collect();
    section(parts, screen, head, &listed, row, &["what", ">times", ">unseen", "last", "the last one"]);
}

fn text(shown: impl ToString) -> Cell {
    shown.to_string().into()
}

fn numbers(rows: &[i64]) -> String {
    rows.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// How long ago, in the largest unit that says something.
fn ago(seconds: u64) -> String {
    match seconds {
        0..=1 => "just now".to_owned(),
        2..=119 => format!("{seconds} s ago"),
        120..=7199 => format!("{} min ago", seconds / 60),
        7200..=172_799 => format!("{} h ago", seconds / 3600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_told_in_its_largest_useful_unit() {
        assert_eq!(
            [0, 59, 180, 7200, 172_800].map(ago),
            ["just now", "59 s ago", "3 min ago", "2 h ago", "2 days ago"]
        );
    }
}
