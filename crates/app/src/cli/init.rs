//! `landbridge init`: writes the configuration of a site and its key file, from flags and from what a person answers.

use std::collections::BTreeMap;
use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use landbridge_stores::Source;
use landbridge_stores::mapping::Numbering;
use landbridge_stores::sqlite::inspect;

use super::{Context, check, name_and_value};
use crate::config::keyfile::{KeyFileError, create_keys, load_keys};
use crate::config::secret::Secret;
use crate::config::write::{HistoryAnswers, InitAnswers, PeerAnswers, ProblemAnswers, render};
use crate::config::{self, Config, DatabaseUrl};
use crate::exit::{Exit, Failure};
use crate::render::{note, say};

/// Write the configuration file of a site and the key that seals its markers
///
/// Writes the file named by --config, readable by this user alone because it holds the secrets shared with peers, and
/// beside it the key file, unless there is one: a key is never overwritten. Then the database is looked at as `landbridge
/// check` does it, and the next steps are printed. The database is not changed.
///
/// On a terminal, what is needed and not given is asked. With --yes, or where there is no terminal, it is an error that
/// names everything missing at once.
///
/// A secret is made for each peer unless --token-file gives one. Both sites need the same: the site that is set up second
/// takes it from the first one's file.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Exit status:
  0  written, and the database is as described
  2  something is missing, or the file is there already
  3  written, and the mapping has a fault; or an answer is wrong and nothing was written
  4  written, and the database does not answer

Example:
  landbridge init --site 1 --database sqlite:helpdesk.db --table WORK_HISTORY \\
      --problem PROBLEM_ID --work WORK_ID --text WORK_TEXT \\
      --share \"VISIBILITY = 'public'\" --insert VISIBILITY=\"'public'\" \\
      --marker VISIBILITY=\"'internal'\" --field author=OPERATOR \\
      --listen 127.0.0.1:7420 --peer N=http://127.0.0.1:7421")]
pub struct InitArgs {
    /// The name of this site, unique among all bridged sites: letters, digits and . _ -
    #[arg(long, value_name = "NAME")]
    site: Option<String>,

    /// The database: `sqlite:FILE`, the file relative to the folder of the configuration
    #[arg(long, value_name = "URL")]
    database: Option<String>,

    /// The name of the history, equal at all its sites
    #[arg(long, value_name = "NAME", default_value = "work_history", help_heading = "History")]
    history: String,

    /// The table to which work is appended
    #[arg(long, value_name = "TABLE", help_heading = "History")]
    table: Option<String>,

    /// Its column with the id of the problem (ticket, case)
    #[arg(long, value_name = "COLUMN", help_heading = "History")]
    problem: Option<String>,

    /// Its column with the number of the row: whole, ascending within a problem
    #[arg(long, value_name = "COLUMN", help_heading = "History")]
    work: Option<String>,

    /// Its column with the text
    #[arg(long, value_name = "COLUMN", help_heading = "History")]
    text: Option<String>,

    /// Who gives out the numbers; without it, what the table allows
    #[arg(long, value_name = "WHO", value_enum, help_heading = "History")]
    numbering: Option<WhoNumbers>,

    /// SQL condition: the rows that belong to the history at all; without it, all rows of the table
    #[arg(long = "where", value_name = "SQL", help_heading = "History")]
    within: Option<String>,

    /// SQL condition: the rows that may leave this site; without it, all rows of the history
    #[arg(long, value_name = "SQL", help_heading = "History")]
    share: Option<String>,

    /// A further shared column, by its name on the wire; may be given several times
    #[arg(long = "field", value_name = "NAME=COLUMN", value_parser = name_and_value, help_heading = "History")]
    fields: Vec<(String, String)>,

    /// What an appended row gets in a further column: an SQL expression; may be given several times
    ///
    /// `:site`, `:text` and the shared fields by their names may stand in it, as in `AUTHOR=coalesce(:author, :site)`.
    #[arg(long = "insert", value_name = "COLUMN=SQL", value_parser = name_and_value, help_heading = "History")]
    insert: Vec<(String, String)>,

    /// The same for markers, over --insert: for instance to keep them from the eyes of customers
    #[arg(long = "marker", value_name = "COLUMN=SQL", value_parser = name_and_value, help_heading = "History")]
    marker: Vec<(String, String)>,

    /// The table of the problems themselves; without it, every problem with a row is one
    #[arg(long, value_name = "TABLE", requires = "problem_id", help_heading = "Problems")]
    problem_table: Option<String>,

    /// Its column with the id
    #[arg(long, value_name = "COLUMN", requires = "problem_table", help_heading = "Problems")]
    problem_id: Option<String>,

    /// SQL condition: the problems that are bridged; without it, all
    #[arg(long, value_name = "SQL", requires = "problem_table", help_heading = "Problems")]
    problem_share: Option<String>,

    /// The loopback address on which peers reach this bridge; without it, only this site dials
    #[arg(long, value_name = "ADDRESS:PORT", help_heading = "Peers")]
    listen: Option<String>,

    /// A peer: its name, and its url unless it dials this site; may be given several times
    #[arg(long = "peer", value_name = "NAME[=URL]", help_heading = "Peers")]
    peers: Vec<String>,

    /// Fetch deliveries from this peer too, because it cannot dial this site; may be given several times
    #[arg(long, value_name = "NAME", help_heading = "Peers")]
    pull: Vec<String>,

    /// Also send this peer what other sites wrote; may be given several times
    #[arg(long, value_name = "NAME", help_heading = "Peers")]
    relay: Vec<String>,

    /// SQL condition: the rows that this peer may see; may be given several times
    #[arg(long, value_name = "NAME=SQL", value_parser = name_and_value, help_heading = "Peers")]
    peer_share: Vec<(String, String)>,

    /// A file with the secret shared with this peer, `-` for standard input; may be given several times
    #[arg(long, value_name = "NAME=FILE", value_parser = name_and_value, help_heading = "Peers")]
    token_file: Vec<(String, String)>,

    /// Replace the configuration file if there is one; the key file is kept in any case
    ///
    /// New secrets for the peers are made unless --token-file gives the old ones: then the other sites need the new ones
    /// too.
    #[arg(long)]
    force: bool,

    /// Ask nothing
    #[arg(long, short)]
    yes: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum WhoNumbers {
    /// The application: the highest number of the problem and one more
    PerProblem,
    /// The database: a generated number
    Generated,
}

impl From<WhoNumbers> for Numbering {
    fn from(who: WhoNumbers) -> Self {
        match who {
            WhoNumbers::PerProblem => Numbering::PerProblem,
            WhoNumbers::Generated => Numbering::Generated,
        }
    }
}

/// Writes the files and looks at the database.
pub async fn run(args: &InitArgs, context: &Context) -> Result<Exit, Failure> {
    let path = &context.config;
    if path.exists() && !args.force {
        return Err(Failure::usage(
            format!("{} is there already", path.display()),
            "name another file with --config, or replace this one with --force",
        ));
    }
    let mut answers = answers(args, path)?;
    let mut config = read_back(&answers, path)?;
    if args.numbering.is_none() && numbers_itself(&config) {
        answers.history.numbering = Numbering::Generated;
        config = read_back(&answers, path)?;
    }
    let keys = match create_keys(&config.key_file) {
        Ok(_) => format!("{}: made", config.key_file.display()),
        Err(KeyFileError::Exists { .. }) => {
            load_keys(&config.key_file)?;
            format!("{}: was there and is kept", config.key_file.display())
        }
        Err(e) => return Err(e.into()),
    };
    save(path, &render(&answers))?;
    say(&format!("Configuration {}: written\nKey file {keys}\n", path.display()))?;

    let report = check::report(path, true).await;
    say(&report.table(context.screen))?;
    say(&format!("\n{}", context.screen.prose(&next_steps(&answers, path, report.exit()))))?;
    Ok(report.exit())
}

/// The answers as the rest of the program will read them, or everything that is wrong with them.
fn read_back(answers: &InitAnswers, path: &Path) -> Result<Config, Failure> {
    config::check(&render(answers), path, &|name| std::env::var(name).ok()).map_err(|faults| {
        let what: Vec<_> = faults.iter().map(|f| format!("{}; {}", f.what, f.instead)).collect();
        Failure::new(Exit::Configuration, what.join("\n"), "correct the answer; nothing was written")
    })
}

/// Whether the table gives out the numbers by itself and has no use for ours.
fn numbers_itself(config: &Config) -> bool {
    let DatabaseUrl::Sqlite(path) = &config.database;
    let faults = |numbering| {
        let mut mapping = config.mapping.clone();
        if let Source::Table(table) = &mut mapping.source {
            table.numbering = numbering;
        }
        inspect(path, &mapping).map_or(0, |inspection| inspection.faults.len())
    };
    faults(Numbering::Generated) < faults(Numbering::PerProblem)
}

fn answers(args: &InitArgs, path: &Path) -> Result<InitAnswers, Failure> {
    let needed = [
        ("--site", &args.site, "The name of this site (letters, digits, . _ -)"),
        ("--database", &args.database, "The database (sqlite:FILE)"),
        ("--table", &args.table, "The table to which work is appended"),
        ("--problem", &args.problem, "Its column with the id of the problem"),
        ("--work", &args.work, "Its column with the number of the row"),
        ("--text", &args.text, "Its column with the text"),
    ];
    let may_ask = !args.yes && io::stdin().is_terminal() && io::stderr().is_terminal();
    let missing: Vec<_> = needed.iter().filter(|(_, given, _)| given.is_none()).map(|(flag, ..)| *flag).collect();
    if !missing.is_empty() && !may_ask {
        let next = "give them as flags, or run it on a terminal without --yes to be asked; `landbridge init --help`";
        return Err(Failure::usage(format!("missing: {}", missing.join(", ")), next));
    }
    let mut got = Vec::new();
    for (_, given, question) in needed {
        got.push(match given {
            Some(given) => given.clone(),
            None => ask(question)?,
        });
    }
    let Ok([site, database_url, table, problem, work, text]) = <[String; 6]>::try_from(got) else {
        return Err(Failure::usage("the answers are incomplete", "give every flag"));
    };
    Ok(InitAnswers {
        site,
        key_file: path.with_extension("key").file_name().unwrap_or_default().to_string_lossy().into_owned(),
        database_url,
        history: HistoryAnswers {
            name: args.history.clone(),
            table,
            problem,
            work,
            text,
            numbering: args.numbering.unwrap_or(WhoNumbers::PerProblem).into(),
            within: args.within.clone(),
            share: args.share.clone(),
            fields: each_once("--field", &args.fields)?,
            insert: each_once("--insert", &args.insert)?,
            marker: each_once("--marker", &args.marker)?,
        },
        problem: args.problem_table.clone().zip(args.problem_id.clone()).map(|(table, id)| ProblemAnswers {
            table,
            id,
            share: args.problem_share.clone(),
        }),
        listen: args.listen.clone(),
        peers: peers(args)?,
    })
}

fn peers(args: &InitArgs) -> Result<Vec<PeerAnswers>, Failure> {
    let shares = each_once("--peer-share", &args.peer_share)?;
    let tokens = each_once("--token-file", &args.token_file)?;
    let mut peers = Vec::new();
    for given in &args.peers {
        let (name, url) = given.split_once('=').map_or((given.as_str(), None), |(name, url)| (name, Some(url)));
        let token = match tokens.get(name) {
            Some(file) => token_in(file)?,
            None => Secret::random().map_err(|e| {
                Failure::new(Exit::Left, format!("the system gives no random numbers: {e}"), "give --token-file")
            })?,
        };
        peers.push(PeerAnswers {
            name: name.to_owned(),
            url: url.map(str::to_owned),
            pull: args.pull.iter().any(|of| of == name),
            relay: args.relay.iter().any(|of| of == name),
            share: shares.get(name).cloned(),
            token,
        });
    }
    let spoken_of = args.pull.iter().chain(&args.relay).chain(shares.keys()).chain(tokens.keys());
    for name in spoken_of {
        if !peers.iter().any(|peer| peer.name == *name) {
            return Err(Failure::usage(
                format!("{name} is no peer"),
                format!("add --peer {name}=URL, or --peer {name}"),
            ));
        }
    }
    Ok(peers)
}

fn token_in(file: &str) -> Result<Secret, Failure> {
    let mut token = String::new();
    let read = match file {
        "-" => io::stdin().lock().take(4096).read_to_string(&mut token),
        file => std::fs::File::open(file).and_then(|f| f.take(4096).read_to_string(&mut token)),
    };
    read.map_err(|e| Failure::usage(format!("the token file {file} cannot be read: {e}"), "name another file"))?;
    Ok(Secret::new(token.trim()))
}

fn each_once(flag: &str, given: &[(String, String)]) -> Result<BTreeMap<String, String>, Failure> {
    let mut all = BTreeMap::new();
    for (name, value) in given {
        if all.insert(name.clone(), value.clone()).is_some() {
            return Err(Failure::usage(format!("{flag} {name} is given twice"), "give it once"));
        }
    }
    Ok(all)
}

fn ask(question: &str) -> Result<String, Failure> {
    loop {
        let mut err = io::stderr().lock();
        write!(err, "{question}: ")?;
        err.flush()?;
        let mut answer = String::new();
        if io::stdin().lock().read_line(&mut answer)? == 0 {
            return Err(Failure::usage("the answer is missing", "give it as a flag; nothing was written"));
        }
        match answer.trim() {
            "" => note("An answer is needed."),
            answer => return Ok(answer.to_owned()),
        }
    }
}

/// Writes the file whole or not at all, for this user alone.
fn save(path: &Path, text: &str) -> Result<(), Failure> {
    let write = || -> io::Result<()> {
        let mut beside = path.as_os_str().to_owned();
        beside.push(format!(".new-{}", std::process::id()));
        let beside = PathBuf::from(beside);
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&beside)?;
        let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
        let renamed = written.and_then(|()| std::fs::rename(&beside, path));
        if renamed.is_err() {
            let _ = std::fs::remove_file(&beside);
        }
        renamed
    };
    write().map_err(|e| {
        let next = "give this user the right to write that folder";
        Failure::new(Exit::Configuration, format!("{} cannot be written: {e}", path.display()), next)
    })
}

fn next_steps(answers: &InitAnswers, path: &Path, exit: Exit) -> String {
    let config = path.display();
    let mut steps = vec!["Next steps:".to_owned()];
    if exit != Exit::Done {
        steps.push(format!("Correct what has a FAULT above in {config}, until `check` finds nothing:"));
        steps.push(format!("  landbridge --config {config} check"));
    }
    if answers.peers.is_empty() {
        steps.push(format!("Add a [[peer]] to {config} for each site to exchange entries with."));
    }
    for peer in &answers.peers {
        steps.push(format!(
            "Give the operator of {} the `token` in the [[peer]] section of {config}, over a way that you trust; both \
             sites need the same one.",
            peer.name
        ));
    }
    steps.push(
        "Keep the key file in your backups, apart from the database. See what would be sent, then start:".to_owned(),
    );
    if let Some(peer) = answers.peers.first() {
        steps.push(format!("  landbridge --config {config} preview --peer {}", peer.name));
    }
    steps.push(format!("  landbridge --config {config} run"));
    steps.join("\n")
}
