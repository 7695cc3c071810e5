//! `landbridge rekey`: a new key, everything that the markers say signed again with it, and the old keys retired.
//!
//! At every moment the key file verifies every marker that counts: the new key joins the old ones before it signs, and
//! they leave only when nothing needs them any more. So a crash anywhere costs a second run and nothing else.

use clap::Args;
use landbridge_core::{Keyring, ProblemId, WorkId};
use landbridge_flow::operator::{self, Recorded};
use landbridge_flow::survey;

use super::Context;
use super::adopt::agreed;
use crate::audit;
use crate::config::keyfile::{KeyFileError, load_keys, random_key, replace_keys};
use crate::config::{self, Config};
use crate::exit::{Exit, Failure};
use crate::lock;
use crate::render::{self, Cell, Table, Tone, count};
use crate::site::Site;

/// How many suspended problems are named; the others are counted.
const NAMED_MAX: usize = 20;

/// Make a new key and sign the markers of this site again
///
/// The seals of markers are made with the keys in the key file: the first signs, all verify. `rekey` makes a new key and
/// puts it first; appends to every problem with markers fresh ones that say the same, sealed with the new key, and one that
/// retires the old; and then leaves the new key alone in the file. Nothing is deleted, no peer is involved. Where a problem
/// is suspended it is left alone, and the old keys stay in the file until a later run finds none. Where a record of what
/// leaves is kept (`[audit] file`), the old keys are kept beside it in FILE.keys, since its old lines verify by them.
///
/// The bridge must be stopped (`landbridge run`, `landbridge sync`). After a crash at any point, run it again.
///
/// With --lost-key, markers that do not verify are believed on your word and signed again: for a key file that is gone. THE
/// DANGER: whoever could write a complete marker's text into a ticket (a colleague, a customer by e-mail, another
/// system whose tickets were merged in) is then believed too, and entries that such a text names as held by a peer are never
/// sent there. Restore the key file from a backup if there is one. Else look with --dry-run at the problems in question,
/// change in your application those texts that are no markers of this bridge, and only then run it.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Exit status:
  0  done
  1  not done, because nobody agreed
  3  a bridge is running, or the key file cannot be read
  6  problems stay suspended, and the old keys in the file

Example:
  landbridge rekey --dry-run
  landbridge rekey --lost-key --dry-run
  landbridge rekey --yes")]
pub struct RekeyArgs {
    /// Believe the markers that do not verify, because their key is lost
    #[arg(long)]
    lost_key: bool,
    /// Show what would be signed again, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Ask nothing
    #[arg(long, short)]
    yes: bool,
}

/// Makes the new key and signs.
pub async fn run(args: &RekeyArgs, context: &Context) -> Result<Exit, Failure> {
    let config = config::load(&context.config)?;
    // Nothing may be signed with an old key while the new one takes over.
    let _alone = if args.dry_run { None } else { Some(lock::alone(&context.config)?) };
    let old = old_keys(&config, args.lost_key)?;
    let new = random_key()?;
    let ring = old.as_ref().map_or_else(|| new.clone(), |old| old.led_by(&new));

    let mut site = Site::with_keys(config.clone(), ring.clone()).await?;
    let suspended = suspended(&site).await?;
    let counted = sign(&site, args.lost_key, true).await?;
    tell(args, context, &config, &counted, &suspended, old.is_none())?;
    if args.dry_run {
        return Ok(if suspended.is_empty() { Exit::Done } else { Exit::Person });
    }
    if !args.yes && !agreed("Make a new key and sign these markers again?")? {
        render::note("nothing was changed");
        return Ok(Exit::Left);
    }

    replace_keys(&config.key_file, &ring)?;
    let signed = sign(&site, args.lost_key, false).await.map_err(again)?;
    // The proof that the old keys are not needed any more is a look through everything with the new key alone.
    site = Site::with_keys(config.clone(), new.clone()).await.map_err(again)?;
    let left = self::suspended(&site).await.map_err(again)?;
    if left.is_empty() {
        // Old lines of the record of what left verify by the old keys, and no marker does any more.
        if let (Some(audit), Some(old)) = (&config.audit, &old) {
            audit::keys::keep(&audit.file, old).map_err(|e| again(e.into()))?;
        }
        replace_keys(&config.key_file, &new)?;
    }
    finish(context, &config, &signed, &left, ring.len())
}

/// The keys so far. With a lost key, none where the file is gone or spoiled; one that is merely open to others or not
/// readable by this user is not lost.
fn old_keys(config: &Config, lost: bool) -> Result<Option<Keyring>, Failure> {
    match load_keys(&config.key_file) {
        Ok(keys) => Ok(Some(keys)),
        Err(KeyFileError::Missing { .. } | KeyFileError::Content { .. }) if lost => Ok(None),
        Err(e) => Err(e.into()),
    }
}

fn again(mut failure: Failure) -> Failure {
    failure.what += "\nthe key file has the new key and the old ones, so nothing is lost";
    failure.next = Some("see to the cause, then run `landbridge rekey` again".into());
    failure
}

/// Signs all problems again, page by page. `dry`: only counts.
async fn sign(site: &Site, vouch: bool, dry: bool) -> Result<Recorded, Failure> {
    let bar = render::progress(if dry { "problems counted" } else { "problems signed" }, None);
    let (mut recorded, mut after) = (Recorded::default(), None);
    loop {
        let page = survey::page(&site.bridge, after.as_ref()).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.clone());
        recorded = recorded.and(operator::resign(&site.bridge, &site.bridge.scribe, &page, vouch, dry).await?);
        bar.inc(page.len() as u64);
    }
    bar.finish_and_clear();
    Ok(recorded)
}

/// The problems with markers that none of the site's keys verifies, and their rows.
async fn suspended(site: &Site) -> Result<Vec<(ProblemId, Vec<WorkId>)>, Failure> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = survey::page(&site.bridge, after.as_ref()).await?;
        let Some(last) = page.last() else { return Ok(all) };
        after = Some(last.clone());
        // What peers are owed is not asked for: a name that no peer has leaves only what all have in common.
        all.extend(survey::survey(&site.bridge, &page, Some(site.name())).await?.suspended);
    }
}

fn tell(
    args: &RekeyArgs,
    context: &Context,
    config: &Config,
    counted: &Recorded,
    suspended: &[(ProblemId, Vec<WorkId>)],
    gone: bool,
) -> Result<(), Failure> {
    let mut text = String::new();
    if gone {
        text += &format!("There are no keys in {}: a new file is made.\n", config.key_file.display());
    }
    text += &format!(
        "To be signed again with a new key: {} of {}.",
        count(counted.rows, "marker"),
        count(counted.problems, "problem")
    );
    if !suspended.is_empty() {
        let rows: usize = suspended.iter().map(|(_, rows)| rows.len()).sum();
        text += &format!(
            "\nNot verified by the keys that there are: {} of {}.",
            count(rows as u64, "marker"),
            count(suspended.len() as u64, "problem")
        );
        text += if args.lost_key {
            " They are among those above, believed on your word. Whoever could write such a text into a ticket is believed \
             too, and what it names as held by a peer is never sent there."
        } else {
            " These problems are left alone, and the old keys stay in the file."
        };
    }
    render::say(&context.screen.prose(&text))?;
    print_suspended(context, suspended)
}

fn print_suspended(context: &Context, suspended: &[(ProblemId, Vec<WorkId>)]) -> Result<(), Failure> {
    if suspended.is_empty() {
        return Ok(());
    }
    let mut table = Table::new(["problem", "rows with markers that do not verify"]);
    for (problem, rows) in suspended.iter().take(NAMED_MAX) {
        let rows: landbridge_core::IdSet = rows.iter().copied().collect();
        table.row([problem.as_str().into(), Cell::new(rows.to_string(), Tone::Bad)]);
    }
    render::say(&context.screen.table(&table))?;
    match suspended.len().saturating_sub(NAMED_MAX) {
        0 => Ok(()),
        more => Ok(render::say(&format!("and {}", count(more as u64, "further problem")))?),
    }
}

fn finish(
    context: &Context,
    config: &Config,
    signed: &Recorded,
    left: &[(ProblemId, Vec<WorkId>)],
    keys: usize,
) -> Result<Exit, Failure> {
    let file = config.key_file.display();
    let mut text = format!("Signed again: {} of {}. ", count(signed.rows, "marker"), count(signed.problems, "problem"));
    if left.is_empty() {
        text +=
            &format!("{file} has the new key alone. Put it into your backups: without it the markers are worthless.");
        render::say(&context.screen.prose(&text))?;
        return Ok(Exit::Done);
    }
    text += &format!(
        "{} still suspended, so {file} keeps {}, the new one first. Judge the rows below by `landbridge disown`, then run \
         `landbridge rekey` again.",
        if left.len() == 1 { "1 problem is".to_owned() } else { format!("{} problems are", left.len()) },
        count(keys as u64, "key"),
    );
    render::say(&context.screen.prose(&text))?;
    print_suspended(context, left)?;
    Ok(Exit::Person)
}
