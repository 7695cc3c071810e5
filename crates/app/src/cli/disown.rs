//! `landbridge disown`: an operator says that a row is an entry, although its text is a complete marker's.

use clap::Args;
use landbridge_core::{ProblemId, WorkId};
use landbridge_flow::operator;

use super::Context;
use super::history::{must_be_here, shell_word};
use crate::exit::{Exit, Failure};
use crate::lock;
use crate::render;
use crate::site::Site;

/// Say that a row is an entry, although its text is a marker's
///
/// A text that is a complete marker, seal and all, but was not sealed here for this problem suspends the problem: nothing
/// of it is sent or taken, because a marker that is wrongly believed hides entries and one that is wrongly passed over
/// multiplies them. It happens where a ticket is merged into another, where somebody pastes a marker, or where the key is
/// lost. For a lost key use `landbridge rekey --lost-key`, not this command.
///
/// `disown` appends a marker that says: this row is an ordinary entry. From then on the problem flows again, and the row
/// is sent like any other where the conditions let it. The peer refuses it, as it refuses every text that is a complete
/// marker; change the text in your application if the peer shall have it, or leave it be: entries behind it flow.
///
/// The bridge may be running.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Exit status:
  0  done
  2  there is no such problem, or the row is no marker that fails to verify
  6  done, and the problem stays suspended by other rows

Example:
  landbridge disown ABC 12")]
pub struct DisownArgs {
    /// The problem, as this site's database calls it
    problem: ProblemId,
    /// The number of the row
    row: WorkId,
}

/// Records the operator's word.
pub async fn run(args: &DisownArgs, context: &Context) -> Result<Exit, Failure> {
    // `rekey` must not retire the key that this signs with.
    let _shared = lock::shared(&context.config)?;
    let site = Site::open(&context.config).await?;
    let DisownArgs { problem, row } = args;
    must_be_here(&site, std::slice::from_ref(problem)).await?;
    operator::disown(&site.bridge, problem, *row).await?;
    let survey = landbridge_flow::survey::survey(&site.bridge, std::slice::from_ref(problem), None).await?;
    let left: Vec<_> = survey.suspended.iter().flat_map(|(_, rows)| rows.iter().copied()).collect();
    let mut text = format!("Row {row} of problem {problem} is an entry from now on. ");
    text += "It is sent where the conditions let it; a peer refuses it while its text is a complete marker.\n";
    match left.first() {
        None => {
            text += "The problem is no longer suspended. See what follows from it:\n";
            text += &format!("  landbridge explain {} {row}", shell_word(problem.as_str()));
        }
        Some(next) => {
            text += &format!("The problem stays suspended: {} still to be judged. Next:\n", rows(left.len()));
            text += &format!("  landbridge disown {} {next}", shell_word(problem.as_str()));
        }
    }
    render::say(&context.screen.prose(&text))?;
    Ok(if left.is_empty() { Exit::Done } else { Exit::Person })
}

fn rows(n: usize) -> String {
    render::count(n as u64, "row")
}
