//! The command line: every verb and every flag, defined once. Help, suggestions and dispatch follow from it; what a verb
//! does is in the file of its name.

pub mod adopt;
pub mod append;
pub mod audit;
pub mod cert;
pub mod check;
pub mod compact;
pub mod demo;
pub mod disown;
pub mod explain;
pub mod grants;
pub mod history;
pub mod init;
pub mod link;
pub mod preview;
pub mod rekey;
pub mod reload;
pub mod repair;
pub mod retry;
pub mod run;
pub mod status;
pub mod sync;
pub mod verify;

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use crate::exit::{Exit, Failure};
use crate::render::Screen;

/// Keeps the activity histories of several databases in step, without clocks, triggers or extra columns
///
/// A bridge is installed at each site beside its database. It sends the entries that people append to a table there to
/// the bridges of other sites, and appends what arrives. What has been exchanged is recorded in the table itself, as a
/// marker entry ("copy in system N"), so no clock is used and the state is backed up and restored with the data.
///
/// Each site has one configuration file, which `landbridge init` writes. Try `landbridge demo` first: it needs no set-up.
#[derive(Debug, Parser)]
#[command(name = "landbridge", version, max_term_width = 100, disable_help_subcommand = true, after_long_help = EXITS)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    verb: Verb,
}

const EXITS: &str = "\
Exit status:
  0  done                     4  the database did not do what it was asked
  1  something is left        5  a peer did not answer as it should
  2  wrong command line       6  something wants a person's eye: refused, diverged,
  3  wrong configuration         differs, suspended, paused, a certificate that ends soon
                                 (see `landbridge status`)

Environment:
  LANDBRIDGE_CONFIG  the configuration file, where --config is not given
  LANDBRIDGE_LOG     what is logged to standard error: warn (default), info, debug, or parts of the
                     program with a level each, as in `landbridge=debug,hyper=warn`
  NO_COLOR           anything in it: no colours";

/// The flags of every verb.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of every command")]
struct Global {
    /// The configuration file of this site
    ///
    /// Files that it names are looked for beside it. The cache (`FILE.cache`) and the lock (`FILE.lock`) of the bridge are
    /// kept there too; deleting them loses nothing but what was acknowledged, except that a record of what leaves (`[audit] file`)
    /// which is cut at the same time is not noticed.
    #[arg(long, global = true, value_name = "FILE", env = "LANDBRIDGE_CONFIG", hide_env = true)]
    #[arg(default_value = "landbridge.toml")]
    config: PathBuf,

    /// Log more to standard error: once what happens, twice everything
    ///
    /// Without it only warnings are logged. Texts of entries and secrets are in no log. LANDBRIDGE_LOG says it in detail.
    #[arg(short, long, global = true, action = ArgAction::Count)]
    verbose: u8,

    /// How log lines are written
    #[arg(long, global = true, value_name = "FORMAT", value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

// The help of each verb stands at its arguments.
#[derive(Debug, Subcommand)]
enum Verb {
    Demo(demo::DemoArgs),
    Init(Box<init::InitArgs>),
    Check(check::CheckArgs),
    Cert(cert::CertArgs),
    Grants(grants::GrantsArgs),
    Run(run::RunArgs),
    Reload(reload::ReloadArgs),
    Sync(sync::SyncArgs),
    Status(status::StatusArgs),
    History(history::HistoryArgs),
    Append(append::AppendArgs),
    Explain(explain::ExplainArgs),
    Preview(preview::PreviewArgs),
    Adopt(adopt::AdoptArgs),
    Link(link::LinkArgs),
    Retry(retry::RetryArgs),
    Rekey(rekey::RekeyArgs),
    Disown(disown::DisownArgs),
    Compact(compact::CompactArgs),
    Verify(verify::VerifyArgs),
    Repair(repair::RepairArgs),
    Audit(audit::AuditArgs),
}

/// What every verb is told besides its own arguments.
#[derive(Debug, Clone)]
pub struct Context {
    /// The configuration file.
    pub config: PathBuf,
    /// Where output goes.
    pub screen: Screen,
}

impl Cli {
    /// How much is logged, and how.
    pub fn log(&self) -> (u8, LogFormat) {
        (self.global.verbose, self.global.log_format)
    }

    /// Does what was asked.
    pub async fn run(&self) -> Result<Exit, Failure> {
        let context = Context { config: self.global.config.clone(), screen: Screen::stdout() };
        match &self.verb {
            Verb::Demo(args) => demo::run(args, &context).await,
            Verb::Init(args) => init::run(args, &context).await,
            Verb::Check(args) => check::run(args, &context).await,
            Verb::Cert(args) => cert::run(args, &context).await,
            Verb::Grants(args) => grants::run(args, &context).await,
            Verb::Run(args) => run::run(args, &context).await,
            Verb::Reload(args) => reload::run(args, &context).await,
            Verb::Sync(args) => sync::run(args, &context).await,
            Verb::Status(args) => status::run(args, &context).await,
            Verb::History(args) => history::run(args, &context).await,
            Verb::Append(args) => append::run(args, &context).await,
            Verb::Explain(args) => explain::run(args, &context).await,
            Verb::Preview(args) => preview::run(args, &context).await,
            Verb::Adopt(args) => adopt::run(args, &context).await,
            Verb::Link(args) => link::run(args, &context).await,
            Verb::Retry(args) => retry::run(args, &context).await,
            Verb::Rekey(args) => rekey::run(args, &context).await,
            Verb::Disown(args) => disown::run(args, &context).await,
            Verb::Compact(args) => compact::run(args, &context).await,
            Verb::Verify(args) => verify::run(args, &context).await,
            Verb::Repair(args) => repair::run(args, &context).await,
            Verb::Audit(args) => audit::run(args, &context).await,
        }
    }
}

/// Reads `NAME=VALUE`.
fn name_and_value(given: &str) -> Result<(String, String), String> {
    match given.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => Ok((name.trim().to_owned(), value.to_owned())),
        _ => Err("it is written NAME=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn a_wrong_flag_suggests_the_right_one() {
        let error = Cli::try_parse_from(["landbridge", "status", "--jsn"]).unwrap_err().to_string();
        assert!(error.contains("--json"), "{error}");
        let error = Cli::try_parse_from(["landbridge", "synk"]).unwrap_err().to_string();
        assert!(error.contains("sync"), "{error}");
    }
}
