//! `landbridge-sim run` plays seeds and stops at the first violation; `landbridge-sim compare` shows what the published
//! methods lose over the same seeds.

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use clap::{Parser, Subcommand};
use landbridge_sim::baseline::{Method, Tally, play as play_published};
use landbridge_sim::model;
use landbridge_sim::world::{Violation, Wrong};
use landbridge_sim::{Plan, Report, World, run};

#[derive(Parser)]
#[command(name = "landbridge-sim", about = "Plays worlds of bridged sites and looks at the invariants of the design")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Plays worlds and stops at the first violation.
    Run {
        /// How many seeds.
        #[arg(long, default_value_t = 2000)]
        seeds: u64,
        /// The first seed.
        #[arg(long, default_value_t = 0)]
        from: u64,
        /// Worlds in which databases are restored from backups, and operators repair afterwards.
        #[arg(long)]
        restored: bool,
    },
    /// Plays the same seeds by the published methods and by Landbridge, and prints what each loses and multiplies.
    Compare {
        /// How many seeds.
        #[arg(long, default_value_t = 1000)]
        seeds: u64,
    },
    /// Looks at every state that a few sites can reach, and prints what holds of all of them.
    ///
    /// Where the simulator plays long worlds by chance, this goes through all short ones: whatever people write, and
    /// whatever is lost, repeated, overtaken or killed, within the bound. Without --bound: the bounds of `check`.
    Model {
        /// A bound by its name, or all of `check` or of `soak`. `list` names them.
        #[arg(long, default_value = "check", conflicts_with = "baseline")]
        bound: String,
        /// Prints the shortest runs in which the published plain marker loses and doubles an entry.
        #[arg(long)]
        baseline: bool,
    },
    /// Plays one world and prints its plan, what was written and all tables at the end.
    Show {
        /// Which.
        seed: u64,
        /// The world of that seed in which databases are restored.
        #[arg(long)]
        restored: bool,
    },
}

fn main() -> ExitCode {
    match Cli::parse().verb {
        Verb::Run { seeds, from, restored } => play(from, seeds, restored),
        Verb::Show { seed, restored } => show(plan(seed, restored)),
        Verb::Compare { seeds } => compare(seeds),
        Verb::Model { baseline: true, .. } => plain_marker(),
        Verb::Model { bound, .. } => look_at_all(&bound),
    }
}

fn plain_marker() -> ExitCode {
    match model::plain_marker::stories() {
        Some(stories) => {
            print!("{stories}");
            ExitCode::SUCCESS
        }
        None => {
            eprintln!("the plain marker neither loses nor doubles an entry: the model of it is wrong");
            ExitCode::FAILURE
        }
    }
}

fn look_at_all(wanted: &str) -> ExitCode {
    let bounds: Vec<_> = model::bounds::named(wanted).collect();
    if bounds.is_empty() {
        if wanted != "list" {
            eprintln!("{wanted:?} is no bound. The bounds are check, soak, and:");
        }
        model::bounds::BOUNDS.iter().for_each(|bound| println!("{:20} {bound}", bound.name));
        return if wanted == "list" { ExitCode::SUCCESS } else { ExitCode::from(2) };
    }
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let mut good = true;
    for bound in bounds {
        println!("{}: {bound}", bound.name);
        let Some(findings) = model::look(*bound, Wrong::NOTHING, threads) else {
            eprintln!("a site of this bound has no valid name");
            return ExitCode::FAILURE;
        };
        print!("{findings}");
        good &= findings.is_good();
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn compare(seeds: u64) -> ExitCode {
    println!("{seeds} worlds of 2 to 7 sites, people writing while messages travel, messages lost, bridges killed");
    println!("{:34} {:>10} {:>8} {:>8} {:>8}", "", "due", "lost", "doubled", "looping");
    let mut good = true;
    for (sites, wanted) in [("two sites", true), ("three to seven sites", false)] {
        let plans = || (0..seeds).map(Plan::kind).filter(|plan| (plan.sites.len() == 2) == wanted);
        let published = |method| plans().map(|plan| play_published(&plan, method)).fold(Tally::default(), Tally::and);
        let mut ours = Tally::default();
        for plan in plans() {
            let mut world = World::new(plan, Wrong::NOTHING);
            if let Err(violation) = world.play() {
                eprintln!("seed {}: {violation}", world.plan.seed);
                good = false;
            }
            ours = ours.and(world.tally());
        }
        let row = |name: &str, t: Tally| {
            println!("{:34} {:>10} {:>8} {:>8} {:>8}", format!("{name}, {sites}"), t.due, t.lost, t.doubled, t.looping);
        };
        row("time stamps", published(Method::TimeStamps));
        row("plain marker", published(Method::PlainMarker));
        row("Landbridge", ours);
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn plan(seed: u64, restored: bool) -> Plan {
    if restored { Plan::restored(seed) } else { Plan::new(seed) }
}

fn show(plan: Plan) -> ExitCode {
    let mut world = World::new(plan, Wrong::NOTHING);
    let played = world.play();
    print!("{}", world.tables());
    match played {
        Ok(()) => ExitCode::SUCCESS,
        Err(violation) => {
            println!("{violation}");
            ExitCode::FAILURE
        }
    }
}

fn play(from: u64, seeds: u64, restored: bool) -> ExitCode {
    let next = AtomicU64::new(from);
    let until = from.saturating_add(seeds);
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let worker = || {
        let mut sum = Report::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= until {
                return Ok(sum);
            }
            let plan = plan(seed, restored);
            let kind = format!("{} of {} sites", plan.topology, plan.sites.len());
            match run(plan, Wrong::NOTHING) {
                Ok(report) => sum = sum.and(report),
                Err(violation) => {
                    next.store(until, Ordering::Relaxed);
                    return Err((seed, kind, violation));
                }
            }
        }
    };
    let mut done = Report::default();
    let results: Vec<Result<Report, (u64, String, Violation)>> = thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().filter_map(|w| w.join().ok()).collect()
    });
    let finished = results.len() == workers;
    for result in results {
        match result {
            Ok(report) => done = done.and(report),
            Err((seed, kind, violation)) => {
                eprintln!("seed {seed} ({kind}): {violation}");
                let flag = if restored { " --restored" } else { "" };
                eprintln!("again: cargo run --release -p landbridge-sim -- run --from {seed} --seeds 1{flag}");
                return ExitCode::FAILURE;
            }
        }
    }
    let Report { entries, messages, crashes, steps } = done;
    println!("{seeds} worlds, {entries} entries, {messages} messages, {crashes} crashes, {steps} steps: no violation");
    if finished { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
