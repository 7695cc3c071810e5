//! `landbridge retry`: an operator's word that refused entries are tried now.

use clap::Args;
use landbridge_core::{ProblemId, SiteName};

use super::Context;
use super::history::must_be_here;
use crate::cache::Wish;
use crate::exit::{Exit, Failure};
use crate::lock;
use crate::render::say;
use crate::site::Site;

/// Try entries again that a peer refused
///
/// A peer refuses an entry where its table does not take it: the text is too long, a constraint or a trigger says no,
/// there is no such problem. `landbridge status` shows it with the reason. The bridge tries it again by itself with
/// growing pauses (`[pace] retry`, at most 5 minutes unless configured otherwise), except what is not allowed. Once the
/// cause is gone, this command makes a running bridge try everything that was refused at once.
///
/// Nothing is sent by the command itself. Where no bridge runs, the next `landbridge run` or `landbridge sync` tries
/// everything anyway.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Exit status:
  0  the wish is noted
  2  there is no such problem or peer
  3  wrong configuration, or the cache beside it cannot be written

Example:
  landbridge retry --peer N")]
pub struct RetryArgs {
    /// Only what this peer refused; without it, what any peer refused
    #[arg(long, value_name = "SITE")]
    peer: Option<SiteName>,

    /// The problem that it is about
    ///
    /// The entries of this problem are certainly tried. In this version other refused entries of the same peers are
    /// tried with them, which does no harm.
    #[arg(value_name = "PROBLEM")]
    problem: Option<ProblemId>,
}

/// Notes the wish.
pub async fn run(args: &RetryArgs, context: &Context) -> Result<Exit, Failure> {
    let site = Site::open(&context.config).await?;
    if let Some(peer) = &args.peer {
        site.peer(peer)?;
    }
    must_be_here(&site, args.problem.as_slice()).await?;
    let whose = args.peer.as_ref().map_or("every peer".to_owned(), ToString::to_string);
    if !lock::is_running(&site.config.path) {
        say(&format!(
            "No bridge runs with {}. The next `landbridge run` or `landbridge sync` tries what {whose} refused.",
            site.config.path.display()
        ))?;
        return Ok(Exit::Done);
    }
    let wish = Wish::Retry(args.peer.clone());
    site.cache.wish(&wish, args.problem.as_ref()).map_err(|e| {
        Failure::new(
            Exit::Configuration,
            format!("the wish cannot be noted in {}.cache: {e}", site.config.path.display()),
            "give this user the right to write it, or restart the bridge: it then tries everything",
        )
    })?;
    say(&format!(
        "The running bridge tries what {whose} refused now. `landbridge status` shows what is still refused."
    ))?;
    Ok(Exit::Done)
}
