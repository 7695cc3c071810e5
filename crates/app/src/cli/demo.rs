//! `landbridge demo`: two help desks, two real bridges over real HTTP, the worked example of DESIGN §10, and a proof from
//! what crossed the wire. Nothing here is a mock: the bridges are those of `landbridge run`.

mod desk;
mod folder;
mod proof;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use landbridge_core::ProblemId;
use landbridge_flow::survey;
use serde::Serialize;
use tokio::net::TcpListener;

use self::desk::{Desk, SITE_1, SITE_N, unwritable};
use self::folder::Folder;
use self::proof::{Proof, Wire};
use super::Context;
use super::history::shell_word;
use super::run::Signals;
use crate::config::secret::Secret;
use crate::daemon::{Daemon, DaemonOptions};
use crate::exit::{Exit, Failure};
use crate::lock;
use crate::render::{self, Cell, Screen, Table, Tone};
use crate::site::Site;

/// How long one step may take before the demonstration has failed. A step takes less than a second.
const STEP_MAX: Duration = Duration::from_secs(60);
/// How often the tables are looked at meanwhile.
const LOOK: Duration = Duration::from_millis(20);
/// Below this width the two tables stand one under the other.
const BESIDE_WIDTH_MIN: usize = 76;
/// The problem that the worked example is about.
const PROBLEM: &str = "ABC";

/// What is written in turn: at which site, by whom, which entries.
const STEPS: [(usize, &str, &[&str]); 4] = [
    (0, "anna", &["open ticket for analysis", "solve ticket ABC"]),
    (0, "anna", &["reopen ABC for review"]),
    (1, "nils", &["do not bother will work on ABC at N"]),
    (0, "anna", &["solved!"]),
];

/// The rows of both tables at the end, seals left out, and how many there are after each step (DESIGN §10).
const ROWS: [(&str, &str); 9] = [
    ("open ticket for analysis", "open ticket for analysis"),
    ("solve ticket ABC", "solve ticket ABC"),
    ("copy in system N: 1-2", "copy in system 1: 1-2 from 1-2"),
    ("reopen ABC for review", "reopen ABC for review"),
    ("copy in system N: 4", "copy in system 1: 4 from 4"),
    ("do not bother will work on ABC at N", "do not bother will work on ABC at N"),
    ("copy in system N: 6 from 6", "copy in system 1: 6"),
    ("solved!", "solved!"),
    ("copy in system N: 8", "copy in system 1: 8 from 8"),
];
const ROWS_AFTER: [usize; 4] = [3, 5, 7, 9];

/// Show two help desks being kept in step, without any set-up
///
/// Makes two SQLite databases with different schemas in a temporary folder, writes a complete configuration and a key for
/// each, starts two real bridges that speak HTTP with each other on this machine, and then writes into both databases
/// with plain SQL, as the help desks' own applications would. After each step it waits until the two histories are in
/// step. At the end it prints both tables side by side, markers included, and proves from the messages that crossed and
/// from the bytes of the database files that nothing confidential left its house.
///
/// The folder is removed at the end, unless it was named with --dir. With --serve the bridges go on until Ctrl-C, so that
/// you can append entries from another terminal and see them arrive. No other file is touched; the two ports are free
/// ones of the loopback address.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Exit status:
  0  everything is as it should be
  1  it is not, or the demonstration was interrupted
  2  the folder is not empty
  4  a database failed

Example:
  landbridge demo
  landbridge demo --dir /tmp/two-desks --serve")]
pub struct DemoArgs {
    /// Leave both bridges running until Ctrl-C
    #[arg(long, conflicts_with = "json")]
    serve: bool,
    /// Make the files in this new or empty folder, and keep them
    #[arg(long, value_name = "PATH")]
    dir: Option<PathBuf>,
    /// Print the tables and the proof as JSON
    #[arg(long)]
    json: bool,
}

/// Runs the demonstration.
pub async fn run(args: &DemoArgs, context: &Context) -> Result<Exit, Failure> {
    let mut signals = Signals::new()?;
    let folder = Folder::new(args.dir.as_deref())?;
    let mut stage = Stage::set(&folder).await?;
    let played = tokio::select! {
        played = stage.play(args, &context.screen, &folder) => played,
        () = signals.next() => Err(Failure::new(Exit::Left, "interrupted", "start it again")),
    };
    let ended = match played {
        Ok(exit) => stage.go_on(args, &context.screen, &folder, &mut signals).await.map(|()| exit),
        failed => failed,
    };
    // The bridges end before the folder goes: what they learnt is written into it.
    let Stage { daemons: [one, other], .. } = stage;
    tokio::select! {
        ((), ()) = async { tokio::join!(one.stop(), other.stop()) } => {}
        () = signals.next() => {}
    }
    ended
}

/// Both help desks with their bridges at work.
struct Stage {
    daemons: [Daemon; 2],
    desks: [Desk; 2],
    sites: [Site; 2],
    wire: Arc<Wire>,
    problem: ProblemId,
    _locks: [lock::Lock; 2],
}

impl Stage {
    /// Makes the files and starts the bridges.
    async fn set(folder: &Folder) -> Result<Self, Failure> {
        let (listener_1, listener_n) = (listen().await?, listen().await?);
        let (at_1, at_n) = (listener_1.local_addr()?, listener_n.local_addr()?);
        let token = Secret::random().map_err(|e| unwritable(&folder.path, &std::io::Error::other(e.to_string())))?;
        let desk_1 = Desk::make(&SITE_1, &folder.path, at_1, (&SITE_N, at_n), &token)?;
        let desk_n = Desk::make(&SITE_N, &folder.path, at_n, (&SITE_1, at_1), &token)?;
        let sites = [Site::open(&desk_1.config).await?, Site::open(&desk_n.config).await?];
        let locks = [lock::shared(&desk_1.config)?, lock::shared(&desk_n.config)?];
        let wire = Arc::new(Wire::default());
        let options = |listener| DaemonOptions {
            listener: Some(Arc::new(listener)),
            tap: Some(wire.clone()),
            ..DaemonOptions::default()
        };
        let daemons = [
            Daemon::start(&sites[0], options(listener_1)).await?,
            Daemon::start(&sites[1], options(listener_n)).await?,
        ];
        let problem = PROBLEM.parse().map_err(|_| Failure::usage("the demonstration's problem has no id", ""))?;
        Ok(Self { daemons, desks: [desk_1, desk_n], sites, wire, problem, _locks: locks })
    }

    /// Plays the worked example, prints what came of it and proves it.
    async fn play(&self, args: &DemoArgs, screen: &Screen, folder: &Folder) -> Result<Exit, Failure> {
        if !args.json {
            self.introduce(screen, folder)?;
        }
        let mut entries = 0;
        for (n, ((at, author, texts), rows)) in STEPS.iter().zip(ROWS_AFTER).enumerate() {
            entries += texts.len();
            let begun = Instant::now();
            self.desks[*at].append(author, texts)?;
            self.wait_for(rows, screen).await?;
            if !args.json {
                let site = format!("site {}", self.desks[*at].plan.site);
                let (texts, took) = (texts.join("\" and \""), begun.elapsed().as_secs_f64());
                let text = screen.prose(&format!("{}. {site}: \"{texts}\" (in step after {took:.1} s)", n + 1));
                render::say(&text.replacen(&site, &screen.paint(Tone::Site(*at), &site), 1))?;
            }
        }
        let proof = Proof::of(&self.wire, [&self.desks[0], &self.desks[1]], &self.problem, entries)?;
        let tables = [self.desks[0].rows(&self.problem)?, self.desks[1].rows(&self.problem)?];
        if args.json {
            render::say(&render::json(&self.json(&tables, &proof))?)?;
        } else {
            self.print(screen, &tables, &proof)?;
        }
        Ok(if proof.holds() { Exit::Done } else { Exit::Left })
    }

    fn introduce(&self, screen: &Screen, folder: &Folder) -> Result<(), Failure> {
        let text = "Two help desks with different databases work on the same problems. Beside each stands a bridge. \
                    Everything is in";
        render::say(&screen.prose(&format!("{text} {}", folder.path.display())))?;
        let mut table = Table::new(["site", "database", "table"]);
        for (n, desk) in self.desks.iter().enumerate() {
            let site = Cell::new(desk.plan.site, Tone::Site(n));
            let columns = format!("{} ({})", desk.plan.table, desk.plan.columns);
            let database = desk.database.strip_prefix(&folder.path).unwrap_or(&desk.database);
            table.row([site, database.display().to_string().into(), columns.into()]);
        }
        Ok(render::say(&format!("{}\n", screen.table(&table)))?)
    }

    /// Waits until both tables have exactly the first `rows` rows of the worked example and nothing is owed any more.
    async fn wait_for(&self, rows: usize, screen: &Screen) -> Result<(), Failure> {
        let begun = Instant::now();
        loop {
            let (is, owed) = ([self.bare_rows(0)?, self.bare_rows(1)?], self.owed().await?);
            let should: [Vec<_>; 2] = [
                ROWS[..rows].iter().map(|(one, _)| (*one).to_owned()).collect(),
                ROWS[..rows].iter().map(|(_, other)| (*other).to_owned()).collect(),
            ];
            if is == should && owed == 0 {
                return Ok(());
            }
            let too_many = is.iter().any(|table| table.len() > rows);
            if too_many || begun.elapsed() > STEP_MAX {
                let tables = [self.desks[0].rows(&self.problem)?, self.desks[1].rows(&self.problem)?];
                self.print_tables(screen, &tables)?;
                let why = if too_many { "there are more rows than there should be" } else { "a minute went by" };
                return Err(Failure::new(
                    Exit::Left,
                    format!("the two help desks are not in step: {why}, and {owed} entries are still owed"),
                    "try `landbridge -vv demo` and report what it logs",
                ));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The texts of one table in their order, seals left out. Numbers other than 1, 2, 3 ... never match.
    fn bare_rows(&self, desk: usize) -> Result<Vec<String>, Failure> {
        let rows = self.desks[desk].rows(&self.problem)?;
        let bare = |(n, (work, text)): (usize, (i64, String))| {
            let text = text.rsplit_once("; seal ").map_or(text.clone(), |(body, _)| body.to_owned());
            if work == n as i64 + 1 { text } else { format!("row {work}: {text}") }
        };
        Ok(rows.into_iter().enumerate().map(bare).collect())
    }

    async fn owed(&self) -> Result<u64, Failure> {
        let mut owed = 0;
        for site in &self.sites {
            let survey = survey::survey(&site.bridge, std::slice::from_ref(&self.problem), None).await?;
            owed += survey.owed.values().map(|owed| owed.entries).sum::<u64>();
        }
        Ok(owed)
    }

    fn print(&self, screen: &Screen, tables: &[Vec<(i64, String)>; 2], proof: &Proof) -> Result<(), Failure> {
        render::say("")?;
        self.print_tables(screen, tables)?;
        let text = "Markers (\"copy in system ...\") are how each bridge remembers what the other site holds. They stay at \
                    their site. What else must stay in its house, and how often it was found where:";
        render::say(&format!("\n{}", screen.prose(text)))?;
        let mut table = Table::new(["site", "what", "value", ">own file", ">sent", ">other file"]);
        for c in &proof.confidential {
            let bad = |n: usize| Cell::new(n.to_string(), if n == 0 { Tone::Good } else { Tone::Bad });
            let here = Cell::new(c.here.to_string(), if c.here == 0 { Tone::Bad } else { Tone::Plain });
            table.row([
                c.site.into(),
                c.what.as_str().into(),
                c.value.as_str().into(),
                here,
                bad(c.messages),
                bad(c.there),
            ]);
        }
        render::say(&screen.table(&table))?;
        render::say("")?;
        for finding in &proof.findings {
            let (word, tone) = if finding.holds { ("ok", Tone::Good) } else { ("WRONG", Tone::Bad) };
            let text = screen.prose(&format!("{word} {}", finding.found));
            let rest = text.strip_prefix(word).unwrap_or(&text);
            render::say(&format!("{}{rest}", screen.paint(tone, word)))?;
        }
        Ok(())
    }

    /// Both tables of ABC: side by side, or one under the other where the screen is narrow.
    fn print_tables(&self, screen: &Screen, tables: &[Vec<(i64, String)>; 2]) -> Result<(), Failure> {
        let heads = [0, 1].map(|n| format!("site {}: {}", self.desks[n].plan.site, self.desks[n].plan.table));
        let cell = |text: Option<&String>| match text {
            Some(text) if text.contains("; seal ") => Cell::new(text, Tone::Dim),
            Some(text) => text.as_str().into(),
            None => Cell::new("(nothing)", Tone::Bad),
        };
        if screen.width.is_some_and(|width| width < BESIDE_WIDTH_MIN) {
            for (n, rows) in tables.iter().enumerate() {
                let mut table = Table::new([">work id", &heads[n]]);
                table.tint(1, Tone::Site(n));
                rows.iter().for_each(|(work, text)| table.row([work.to_string().into(), cell(Some(text))]));
                render::say(&screen.table(&table))?;
            }
            return Ok(());
        }
        let mut table = Table::new([">work id", &heads[0], &heads[1]]);
        table.tint(1, Tone::Site(0));
        table.tint(2, Tone::Site(1));
        let mut works: Vec<_> = tables.iter().flatten().map(|(work, _)| *work).collect();
        works.sort_unstable();
        works.dedup();
        for work in works {
            let text = |n: usize| cell(tables[n].iter().find(|(w, _)| *w == work).map(|(_, text)| text));
            table.row([work.to_string().into(), text(0), text(1)]);
        }
        Ok(render::say(&screen.table(&table))?)
    }

    fn json<'a>(&'a self, tables: &'a [Vec<(i64, String)>; 2], proof: &'a Proof) -> Outcome<'a> {
        let row = |(work, text): &'a (i64, String)| OutcomeRow { work: *work, text };
        let site = |n: usize| OutcomeSite {
            site: self.desks[n].plan.site,
            table: self.desks[n].plan.table,
            rows: tables[n].iter().map(row).collect(),
        };
        Outcome { problem: PROBLEM, sites: [site(0), site(1)], proof, holds: proof.holds() }
    }

    /// What follows the worked example: the bridges go on, or a person is told what to try.
    async fn go_on(
        &mut self,
        args: &DemoArgs,
        screen: &Screen,
        folder: &Folder,
        signals: &mut Signals,
    ) -> Result<(), Failure> {
        if !args.serve {
            return if args.json { Ok(()) } else { self.tell_what_to_try(screen, folder) };
        }
        self.tell_how_to_go_on(screen, folder)?;
        let [one, other] = &mut self.daemons;
        tokio::select! {
            () = signals.next() => Ok(()),
            failure = one.failed() => Err(failure),
            failure = other.failed() => Err(failure),
        }
    }

    fn tell_how_to_go_on(&self, screen: &Screen, folder: &Folder) -> Result<(), Failure> {
        let mut text = "\nBoth bridges go on until Ctrl-C. In another terminal, for instance:\n".to_owned();
        text += &command(&self.desks[0], &format!("append {PROBLEM} 'one more'"));
        text += &command(&self.desks[1], &format!("history {PROBLEM}"));
        text += &command(&self.desks[1], "status");
        text += "or write into the databases with any SQLite client:\n";
        self.desks.iter().for_each(|desk| text += &format!("  {}\n", desk.database.display()));
        if !folder.keep {
            text += "The files are removed at the end; --dir PATH keeps them.";
        }
        Ok(render::say(&screen.prose(text.trim_end()))?)
    }

    fn tell_what_to_try(&self, screen: &Screen, folder: &Folder) -> Result<(), Failure> {
        let text = if folder.keep {
            let mut text = format!("\nThe files are in {}. Try:\n", folder.path.display());
            text += &command(&self.desks[0], &format!("history {PROBLEM}"));
            text += &command(&self.desks[0], &format!("explain {PROBLEM} 4"));
            text += &command(&self.desks[1], "status");
            text
        } else {
            let program = program();
            format!(
                "\nThe files are removed. To keep them, or to try it yourself:\n  {program} demo --dir landbridge-demo\n  \
                 {program} demo --serve"
            )
        };
        Ok(render::say(&screen.prose(text.trim_end()))?)
    }
}

/// A command line of this program for one desk.
fn command(desk: &Desk, verb: &str) -> String {
    format!("  {} --config {} {verb}\n", program(), shell_word(&desk.config.display().to_string()))
}

fn program() -> String {
    let called = std::env::args_os().next().map(|name| name.to_string_lossy().into_owned());
    called.filter(|name| !name.is_empty()).map_or_else(|| "landbridge".into(), |name| shell_word(&name))
}

async fn listen() -> Result<TcpListener, Failure> {
    TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.map_err(|e| {
        let what = format!("no port of the loopback address 127.0.0.1 can be listened on: {e}");
        Failure::new(Exit::Left, what, "see what this machine allows this process")
    })
}

#[derive(Serialize)]
struct Outcome<'a> {
    problem: &'static str,
    sites: [OutcomeSite<'a>; 2],
    proof: &'a Proof,
    holds: bool,
}

#[derive(Serialize)]
struct OutcomeSite<'a> {
    site: &'static str,
    table: &'static str,
    rows: Vec<OutcomeRow<'a>>,
}

#[derive(Serialize)]
struct OutcomeRow<'a> {
    work: i64,
    text: &'a str,
}
