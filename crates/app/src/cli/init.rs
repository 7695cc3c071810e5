//! `landbridge init`: writes the configuration of a site and its key file, from flags, from a preset, or from what the
//! database looks like and a person answers. Looking and choosing is in `choose`.

use std::collections::BTreeMap;
use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use landbridge_flow::Pairing;
use landbridge_stores::Source;
use landbridge_stores::mapping::Numbering;

use super::{Context, check, name_and_value};
use crate::config::keyfile::{KeyFileError, create_keys, load_keys};
use crate::config::secret::Secret;
use crate::config::write::{HistoryAnswers, InitAnswers, PeerAnswers, ProblemAnswers, TlsAnswers, render};
use crate::config::{self, Config};
use crate::exit::{Exit, Failure};
use crate::presets;
use crate::render::{note, say, visible};

mod choose;

/// Write the configuration file of a site and the key that seals its markers
///
/// Writes the file named by --config, readable by this user alone because it holds the secrets shared with peers, and
/// beside it the key file, unless there is one: a key is never overwritten. Then the database is looked at as `landbridge
/// check` does it, and the next steps are printed. The database is not changed.
///
/// Without --table, the tables are looked through for one that has the shape of a history: a number, a problem that rows
/// belong to, room for a long text. Those that may be one are shown with a few of their rows. On a terminal you choose,
/// and are asked for what is needed besides; with --yes the best is taken if it is clearly the best, and otherwise it is
/// an error that lists the candidates with their flags. Columns that look as if they tell who may see a row become
/// conditions: read what is written before you start.
///
/// With --preset the mapping of a well-known ticket system is written instead.
///
/// A peer with an https url, or --listen on an address that other machines reach, makes it write [tls]: the files named by
/// --tls-cert, --tls-key and --tls-ca, or SITE.crt, SITE.key and ca.crt. `landbridge cert` makes them, before or afterwards.
///
/// For a peer that shows no certificate a secret is made unless --token-file gives one. Both sites need the same: the site
/// that is set up second takes it from the first one's file.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Exit status:
  0  written, and the database is as described
  2  something is missing, or the file is there already
  3  written, and the mapping has a fault; or an answer is wrong and nothing was written
  4  written, and the database does not answer

Examples:
  landbridge init --site 1 --database postgres://bridge@db/helpdesk --password-file db.password
  landbridge init --site 1 --database postgres://bridge@db/redmine --preset redmine
  landbridge init --site 1 --database sqlite:helpdesk.db --table WORK_HISTORY \\
      --problem PROBLEM_ID --work WORK_ID --text WORK_TEXT \\
      --share \"VISIBILITY = 'public'\" --insert VISIBILITY=\"'public'\" \\
      --marker VISIBILITY=\"'internal'\" --field author=OPERATOR \\
      --listen 127.0.0.1:7420 --peer N=http://127.0.0.1:7421
  landbridge init --site 1 --database postgres://bridge@db/redmine --preset redmine \\
      --listen 0.0.0.0:7420 --peer N=https://bridge.n.example:7420 --peer-ca N=b-ca.crt")]
pub struct InitArgs {
    /// The name of this site, unique among all bridged sites: letters, digits and . _ -
    #[arg(long, value_name = "NAME")]
    site: Option<String>,

    /// The database: sqlite:FILE, postgres://USER@HOST/DATABASE or mysql://USER@HOST/DATABASE
    ///
    /// A file is relative to the folder of the configuration. `${NAME}` reads the environment. Put the password into a file
    /// of its own (--password-file): a command line can be seen by other users.
    #[arg(long, value_name = "URL")]
    database: Option<String>,

    /// A file with the database's password alone, mode 0600; relative to the folder of the configuration
    #[arg(long, value_name = "FILE")]
    password_file: Option<String>,

    /// The mapping of a well-known ticket system, instead of looking at the tables
    #[arg(long, value_name = "NAME", value_parser = presets::NAMES, help_heading = "History")]
    #[arg(conflicts_with_all = ["table", "problem", "work", "text", "numbering", "within", "share", "fields", "insert",
        "marker", "problem_table", "problem_share"])]
    preset: Option<String>,

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

    /// How the problems of two sites are matched
    #[arg(long, value_name = "HOW", value_enum, default_value_t = Matching::SameId, conflicts_with = "preset")]
    #[arg(help_heading = "Problems")]
    pairing: Matching,

    /// The address on which peers reach this bridge; without it, only this site dials
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

    /// Take from this peer what that site wrote, too: the middle of a chain passes it on; may be given several times
    ///
    /// Say it here before the site in the middle says --relay: what is passed on to a site that does not expect it is
    /// refused as not allowed, and is not tried again until the middle says `landbridge retry`.
    #[arg(long, value_name = "NAME=SITE", value_parser = name_and_value, help_heading = "Peers")]
    relay_from: Vec<(String, String)>,

    /// SQL condition: the rows that this peer may see; may be given several times
    #[arg(long, value_name = "NAME=SQL", value_parser = name_and_value, help_heading = "Peers")]
    peer_share: Vec<(String, String)>,

    /// A file with the secret shared with this peer, `-` for standard input; may be given several times
    ///
    /// It is read now, from where this command is run, and what is in it is written into the configuration: the file is not
    /// needed afterwards.
    #[arg(long, value_name = "NAME=FILE", value_parser = name_and_value, help_heading = "Peers")]
    token_file: Vec<(String, String)>,

    /// The authority that alone may vouch for this peer: a file in PEM; may be given several times
    #[arg(long, value_name = "NAME=FILE", value_parser = name_and_value, help_heading = "Certificates")]
    peer_ca: Vec<(String, String)>,

    /// The certificate of this site; relative to the folder of the configuration
    #[arg(long, value_name = "FILE", help_heading = "Certificates")]
    tls_cert: Option<String>,

    /// The key of that certificate
    #[arg(long, value_name = "FILE", help_heading = "Certificates")]
    tls_key: Option<String>,

    /// The authority that vouches for this site, and for every peer without --peer-ca
    #[arg(long, value_name = "FILE", help_heading = "Certificates")]
    tls_ca: Option<String>,

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

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Matching {
    /// An id means the same problem at every site
    SameId,
    /// Each site has ids of its own; `landbridge link` says which belong together
    Linked,
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
    let mut answers = answers(args, context).await?;
    let mut config = read_back(&answers, path)?;
    let is_given = args.numbering.is_some() || args.preset.is_some() || choose::is_wanted(args);
    if !is_given && numbers_itself(&config).await {
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
    say(&format!("\n{}", context.screen.prose(&next_steps(&answers, &config, report.exit()))))?;
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
async fn numbers_itself(config: &Config) -> bool {
    let Ok(database) = config.connectable() else { return false };
    let mut faults = Vec::new();
    for numbering in [Numbering::Generated, Numbering::PerProblem] {
        let mut mapping = config.mapping.clone();
        if let Source::Table(table) = &mut mapping.source {
            table.numbering = numbering;
        }
        faults.push(database.inspect(&mapping).await.map_or(0, |inspection| inspection.faults.len()));
    }
    faults[0] < faults[1]
}

async fn answers(args: &InitArgs, context: &Context) -> Result<InitAnswers, Failure> {
    let path = &context.config;
    let may_ask = !args.yes && io::stdin().is_terminal() && io::stderr().is_terminal();
    let asked = [
        ("--site", &args.site, "The name of this site (letters, digits, . _ -)"),
        ("--database", &args.database, "The database (sqlite:FILE, postgres://USER@HOST/DATABASE, mysql://...)"),
    ];
    let columns =
        [("--table", &args.table), ("--problem", &args.problem), ("--work", &args.work), ("--text", &args.text)];
    let mut missing: Vec<_> = asked.iter().filter(|(_, given, _)| given.is_none()).map(|(flag, ..)| *flag).collect();
    if !missing.is_empty() && !may_ask {
        if args.preset.is_none() {
            missing.extend(columns.iter().filter(|(_, given)| given.is_none()).map(|(flag, _)| *flag));
        }
        let next = "give them as flags, or run it on a terminal without --yes to be asked; with --database the columns are \
                    proposed where they can be";
        return Err(Failure::usage(format!("missing: {}", missing.join(", ")), next));
    }
    let mut got = Vec::new();
    for (_, given, question) in asked {
        got.push(match given {
            Some(given) => given.clone(),
            None => ask(question, None)?,
        });
    }
    let Ok([site, database_url]) = <[String; 2]>::try_from(got) else {
        return Err(Failure::usage("the answers are incomplete", "give every flag"));
    };
    let key_file = path.with_extension("key").file_name().unwrap_or_default().to_string_lossy().into_owned();
    let tls = tls(args, &site, &key_file);
    let mut answers = InitAnswers {
        site,
        key_file,
        database_url,
        password_file: args.password_file.clone(),
        preset: None,
        history: HistoryAnswers {
            name: args.history.clone(),
            table: args.table.clone().unwrap_or_default(),
            problem: args.problem.clone().unwrap_or_default(),
            work: args.work.clone().unwrap_or_default(),
            text: args.text.clone().unwrap_or_default(),
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
        linked: args.pairing == Matching::Linked,
        listen: args.listen.clone(),
        peers: peers(args, tls.is_some())?,
        tls,
    };
    if let Some(name) = &args.preset {
        let vendor = choose::database(&answers, path)?.vendor();
        let preset = presets::find(name, vendor).map_err(|_| {
            Failure::usage(
                format!("there is no preset {name} for this kind of database"),
                "write the mapping with --table and its flags; docs and landbridge.example.toml explain each key",
            )
        })?;
        answers.preset = Some(preset.to_owned());
    } else if choose::is_wanted(args) {
        choose::complete(args, &mut answers, context, may_ask).await?;
    }
    Ok(answers)
}

/// The files of TLS, where there is to be some.
fn tls(args: &InitArgs, site: &str, key_file: &str) -> Option<TlsAnswers> {
    let given = [&args.tls_cert, &args.tls_key, &args.tls_ca].into_iter().any(Option::is_some);
    let dials = args.peers.iter().any(|peer| peer.split_once('=').is_some_and(|(_, url)| url.starts_with("https://")));
    let address = args.listen.as_ref().and_then(|listen| listen.parse::<SocketAddr>().ok());
    let is_reached = address.is_some_and(|address| !address.ip().to_canonical().is_loopback());
    let wanted = given || dials || is_reached || !args.peer_ca.is_empty();
    // The keys of markers may have this name already.
    let key = [format!("{site}.key"), format!("{site}-tls.key")].into_iter().find(|name| name != key_file);
    wanted.then(|| TlsAnswers {
        cert: args.tls_cert.clone().unwrap_or_else(|| format!("{site}.crt")),
        key: args.tls_key.clone().or(key).unwrap_or_default(),
        ca: args.tls_ca.clone().unwrap_or_else(|| "ca.crt".to_owned()),
    })
}

fn peers(args: &InitArgs, has_tls: bool) -> Result<Vec<PeerAnswers>, Failure> {
    let authorities = each_once("--peer-ca", &args.peer_ca)?;
    let shares = each_once("--peer-share", &args.peer_share)?;
    let tokens = each_once("--token-file", &args.token_file)?;
    let mut peers = Vec::new();
    for given in &args.peers {
        let (name, url) = given.split_once('=').map_or((given.as_str(), None), |(name, url)| (name, Some(url)));
        let shows_certificate = has_tls && url.is_none_or(|url| url.starts_with("https://"));
        let token = match tokens.get(name) {
            Some(file) => Some(token_in(file)?),
            None if shows_certificate => None,
            None => Some(Secret::random().map_err(|e| {
                Failure::new(Exit::Left, format!("the system gives no random numbers: {e}"), "give --token-file")
            })?),
        };
        peers.push(PeerAnswers {
            name: name.to_owned(),
            url: url.map(str::to_owned),
            pull: args.pull.iter().any(|of| of == name),
            relay: args.relay.iter().any(|of| of == name),
            relay_from: args.relay_from.iter().filter(|(of, _)| of == name).map(|(_, site)| site.clone()).collect(),
            share: shares.get(name).cloned(),
            token,
            ca: authorities.get(name).cloned(),
        });
    }
    let named = shares.keys().chain(tokens.keys()).chain(authorities.keys());
    let relayed = args.relay_from.iter().map(|(of, _)| of);
    let spoken_of = args.pull.iter().chain(&args.relay).chain(relayed).chain(named);
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

/// Asks for a text. Nothing but Enter is `proposed`, where that is something.
fn ask(question: &str, proposed: Option<&str>) -> Result<String, Failure> {
    loop {
        let mut err = io::stderr().lock();
        match proposed {
            Some(proposed) => write!(err, "{} [{}]: ", visible(question), visible(proposed))?,
            None => write!(err, "{}: ", visible(question))?,
        }
        err.flush()?;
        let mut answer = String::new();
        if io::stdin().lock().read_line(&mut answer)? == 0 {
            return Err(Failure::usage("the answer is missing", "give it as a flag; nothing was written"));
        }
        match (answer.trim(), proposed) {
            ("", Some(proposed)) => return Ok(proposed.to_owned()),
            ("", None) => note("An answer is needed."),
            (answer, _) => return Ok(answer.to_owned()),
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

fn next_steps(answers: &InitAnswers, written: &Config, exit: Exit) -> String {
    let config = written.path.display();
    let mut steps = vec!["Next steps:".to_owned()];
    if exit != Exit::Done {
        steps.push(format!("Correct what has a FAULT above in {config}, until `check` finds nothing:"));
        steps.push(format!("  landbridge --config {config} check"));
    }
    steps.push(match written.pairing {
        Pairing::SameId => format!(
            "With [problem] pairing = \"same-id\" an id must mean the same ticket at both sites: what is written in ABC here is \
             appended to ABC there, whatever that is. Where each site numbers by itself, write pairing = \"linked\" in {config} \
             (or `init --pairing linked`), and say `landbridge link` before the bridges run."
        ),
        Pairing::Linked { .. } => "With [problem] pairing = \"linked\" say which tickets belong together before the bridges \
                                   run: `landbridge link 17 N 4711`, or many at once with --csv."
            .to_owned(),
    });
    if answers.peers.is_empty() {
        steps.push(format!("Add a [[peer]] to {config} for each site to exchange entries with."));
    }
    if let Some(tls) = &answers.tls {
        let TlsAnswers { cert, key, ca } = tls;
        let site = &answers.site;
        steps.push(format!(
            "Put {cert}, {key} and {ca} beside {config}: `landbridge cert issue {site}` makes the first two, and {ca} is the \
             authority's. Give the operator of each peer {ca}, for `ca` of its [[peer]] {site}, over a way that you trust."
        ));
    }
    for peer in answers.peers.iter().filter(|peer| peer.token.is_some()) {
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
