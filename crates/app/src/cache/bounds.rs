//! How much is kept of the troubles with each peer. Each peer has rows of its own, so that none pushes out another's; where
//! those of all peers together are too many (some may be no peers any more), whoever has most loses the oldest. What was not
//! kept is counted, so that `status` does not silently show less.

use std::collections::BTreeSet;

use landbridge_core::SiteName;
use rusqlite::{Transaction, params};
use serde::Serialize;

use super::note::Note;
use super::write::stored;

/// What goes wrong with a peer and is kept entry by entry, or problem by problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Trouble {
    /// What it refuses.
    Refused,
    /// What it no longer holds.
    Diverged,
    /// What is no longer here and it still has.
    LostHere,
    /// What of it is refused here.
    RefusedHere,
}

impl Trouble {
    pub(super) const ALL: [Self; 4] = [Self::Refused, Self::Diverged, Self::LostHere, Self::RefusedHere];

    /// In a word, as in JSON and in the file.
    pub fn word(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Diverged => "diverged",
            Self::LostHere => "lost_here",
            Self::RefusedHere => "refused_here",
        }
    }
}

/// A table that peers fill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Bounded {
    RefusedThere,
    RefusedHere,
    Diverged,
}

impl Bounded {
    fn table(self) -> &'static str {
        match self {
            Self::RefusedThere => "refused_there",
            Self::RefusedHere => "refused_here",
            Self::Diverged => "diverged",
        }
    }

    /// Rows about one peer.
    pub(super) fn of_peer_max(self) -> i64 {
        match self {
            Self::RefusedThere | Self::Diverged => 10_000,
            Self::RefusedHere => 1000,
        }
    }

    /// Rows about all peers together.
    pub(super) fn of_all_max(self) -> i64 {
        4 * self.of_peer_max()
    }

    fn trouble(self, here: bool) -> Trouble {
        match (self, here) {
            (Self::RefusedThere, _) => Trouble::Refused,
            (Self::RefusedHere, _) => Trouble::RefusedHere,
            (Self::Diverged, false) => Trouble::Diverged,
            (Self::Diverged, true) => Trouble::LostHere,
        }
    }
}

/// What a note may have made larger.
fn grown(note: &Note) -> Option<(Bounded, &SiteName)> {
    match note {
        Note::RefusedThere { peer, .. } => Some((Bounded::RefusedThere, peer)),
        Note::RefusedHere { peer, .. } => Some((Bounded::RefusedHere, peer)),
        Note::Diverged { peer, missing, .. } if !missing.is_empty() => Some((Bounded::Diverged, peer)),
        _ => None,
    }
}

/// What troubles a note that is not written would have told of, and how many.
pub(super) fn troubles(note: &Note) -> Option<(&SiteName, Trouble, u64)> {
    let (table, peer) = grown(note)?;
    let (here, count) = match note {
        Note::Diverged { here, .. } => (*here, 1),
        Note::RefusedThere { refused, .. } => (false, refused.len() as u64),
        _ => (false, 1),
    };
    Some((peer, table.trouble(here), count))
}

/// Counts what is not kept.
pub(super) fn count_not_kept(txn: &Transaction<'_>, peer: &str, trouble: Trouble, count: u64) -> rusqlite::Result<()> {
    txn.prepare_cached(
        "insert into not_kept (peer, what, count) values (?1, ?2, ?3)
         on conflict do update set count = count + excluded.count",
    )?
    .execute(params![peer, trouble.word(), stored(count)])?;
    Ok(())
}

/// Peer, problem, and whether it is this site that lost something.
pub(super) type Diverged = (String, String, bool);

/// Makes room behind these notes: looks only at the peers that they are about. What went of `diverged`.
pub(super) fn make_room(txn: &Transaction<'_>, notes: &[Note]) -> rusqlite::Result<Vec<Diverged>> {
    let grown: BTreeSet<_> = notes.iter().filter_map(grown).collect();
    let mut gone = Vec::new();
    for (table, peer) in &grown {
        let sql = format!("select count(*) from {} where peer = ?1", table.table());
        let rows: i64 = txn.prepare_cached(&sql)?.query_row([peer.as_str()], |r| r.get(0))?;
        let too_many = rows - table.of_peer_max();
        if too_many > 0 {
            let forgotten = forget(txn, *table, peer.as_str(), too_many)?;
            gone.extend(forgotten.into_iter().filter(|_| *table == Bounded::Diverged));
        }
    }
    for table in grown.into_iter().map(|(table, _)| table).collect::<BTreeSet<_>>() {
        let forgotten = make_room_for_all(txn, table)?;
        gone.extend(forgotten.into_iter().filter(|_| table == Bounded::Diverged));
    }
    Ok(gone)
}

fn make_room_for_all(txn: &Transaction<'_>, table: Bounded) -> rusqlite::Result<Vec<Diverged>> {
    let (name, mut gone) = (table.table(), Vec::new());
    loop {
        let rows: i64 = txn.prepare_cached(&format!("select count(*) from {name}"))?.query_row([], |r| r.get(0))?;
        let too_many = rows - table.of_all_max();
        if too_many <= 0 {
            return Ok(gone);
        }
        let most = format!("select peer, count(*) from {name} group by peer order by 2 desc limit 1");
        let (peer, rows): (String, i64) = txn.query_row(&most, [], |r| Ok((r.get(0)?, r.get(1)?)))?;
        // No more than half, since after that another may have most.
        let forgotten = forget(txn, table, &peer, too_many.min((rows + 1) / 2))?;
        if forgotten.is_empty() {
            // A file that somebody else made.
            return Ok(gone);
        }
        gone.extend(forgotten);
    }
}

/// Forgets the oldest rows about `peer`, and counts them. Which.
fn forget(txn: &Transaction<'_>, table: Bounded, peer: &str, rows: i64) -> rusqlite::Result<Vec<Diverged>> {
    let (name, here) = (table.table(), if table == Bounded::Diverged { "here" } else { "false" });
    let sql = format!(
        "delete from {name} where rowid in (select rowid from {name} where peer = ?1 order by rowid limit ?2)
         returning problem, {here}"
    );
    let mut delete = txn.prepare_cached(&sql)?;
    let gone: Vec<Diverged> = delete
        .query_map(params![peer, rows], |r| Ok((peer.to_owned(), r.get(0)?, r.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    for here in [false, true] {
        let count = gone.iter().filter(|(.., of_here)| *of_here == here).count();
        if count > 0 {
            count_not_kept(txn, peer, table.trouble(here), count as u64)?;
        }
    }
    Ok(gone)
}
