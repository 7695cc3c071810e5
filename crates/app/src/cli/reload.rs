//! `landbridge reload`: an operator's word that a running bridge reads its configuration and its files again.

use std::path::Path;
use std::time::{Duration, Instant};

use clap::Args;
use landbridge_http::certificate;

use super::Context;
use crate::cache::{Cache, Wish};
use crate::certificates::{self, State, Whose};
use crate::config;
use crate::exit::{Exit, Failure};
use crate::lock;
use crate::render::say;

/// Make a running bridge read its configuration, key file and certificates again
///
/// The bridge goes on with what is written now: peers that were added are exchanged with, peers that were taken out are cut
/// off at once, their open connections too, and new certificates are shown from then on. Nothing is lost or doubled by it,
/// whatever is under way. If anything is wrong with the new files, the bridge goes on with what it had, and this command
/// prints every fault; `landbridge status` shows them until they are put right.
///
/// SIGHUP to the bridge does the same without an answer. A certificate that changes is noticed without being told.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Exit status:
  0  the bridge works with what is configured now, or none runs
  6  it does, and has a certificate that has ended or is not yet good: it is read, and nobody believes it
  1  it has not answered in time: its database may be slow; `landbridge status` says what came of it
  3  the new configuration is faulty and not used, or the cache beside it cannot be written

Example:
  landbridge --config /etc/landbridge.toml check --offline && landbridge --config /etc/landbridge.toml reload")]
pub struct ReloadArgs {
    /// How many seconds the answer of the bridge is waited for
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    wait: u64,
}

const LOOK: Duration = Duration::from_millis(100);

/// Notes the wish and waits for what comes of it.
pub async fn run(args: &ReloadArgs, context: &Context) -> Result<Exit, Failure> {
    let path: &Path = &context.config;
    if !path.exists() {
        let next = "name another with --config";
        return Err(Failure::new(Exit::Configuration, format!("there is no configuration {}", path.display()), next));
    }
    if !lock::is_running(path) {
        say(&format!("No bridge runs with {}. `landbridge run` reads everything when it starts.", path.display()))?;
        return Ok(Exit::Done);
    }
    let cache = Cache::beside(path);
    let number = cache.wish(&Wish::Reload, None).map_err(|e| {
        let what = format!("the wish cannot be noted in {}.cache: {e}", path.display());
        Failure::new(Exit::Configuration, what, "give this user the right to write it, or send SIGHUP to the bridge")
    })?;
    let begun = Instant::now();
    loop {
        let came = cache.learnt().reload.filter(|reload| reload.wish.is_some_and(|wish| wish >= number));
        match came {
            Some(reload) if reload.faults.is_empty() => {
                say(&format!("The running bridge works with {} as it is now.", path.display()))?;
                return not_believed(&cache, path);
            }
            Some(reload) => {
                let next = "put it right and reload again; until then the bridge works with the former configuration";
                let what = format!("what is configured now is faulty and not used:\n{}", reload.faults.join("\n"));
                return Err(Failure::new(Exit::Configuration, what, next));
            }
            None if begun.elapsed() > Duration::from_secs(args.wait) => {
                let what = format!("the bridge has not answered within {} s", args.wait);
                return Err(Failure::new(Exit::Left, what, "`landbridge status` shows what comes of it; see its log"));
            }
            None => tokio::time::sleep(LOOK).await,
        }
    }
}

/// What is read is at work, and still nobody may believe it: says which certificates are not good now.
fn not_believed(cache: &Cache, path: &Path) -> Result<Exit, Failure> {
    let config = config::load(path)?;
    let mut exit = Exit::Done;
    for dated in certificates::all(&config, &cache.learnt(), certificate::now()) {
        if dated.whose != Whose::Peer && matches!(dated.state, State::Ended | State::NotYet | State::Fault) {
            say(&format!(
                "Nobody believes the certificate of {}: {}",
                dated.called(),
                dated.advice.unwrap_or_default()
            ))?;
            exit = Exit::Person;
        }
    }
    Ok(exit)
}
