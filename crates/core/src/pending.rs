//! The sender's two decisions: what a peer is still owed, and, on its receipt, what may be recorded as held
//! (DESIGN §4).
//!
//! Nothing is compared with "the last" of anything. A row that commits late, or becomes public later, is simply owed.

use std::collections::BTreeMap;

use crate::entry::{Digest, Row};
use crate::id::{Origin, SiteName, WorkId};
use crate::id_set::{IdSet, OriginSet};
use crate::ledger::Ledger;
use crate::message::Receipt;

/// The rows that `peer` is owed, in work-id order. `relay`: whether it is also sent what other sites wrote. A
/// suspended problem owes nothing to anybody.
pub fn pending<'a>(ledger: &Ledger, rows: &'a [Row], peer: &SiteName, relay: bool) -> Vec<&'a Row> {
    if !ledger.unverified().is_empty() {
        return Vec::new();
    }
    rows.iter().filter(|row| keeps(ledger, row, peer, relay).is_none()).collect()
}

/// What keeps a row from a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// It is a marker.
    Marker,
    /// A condition does not let it out.
    Condition,
    /// The peer has it.
    Held,
    /// Another site wrote it, and this peer is not relayed to.
    NotRelayed,
    /// The site that sent it asked that it go no further.
    Stays,
}

/// What keeps `row` from `peer`; nothing where it is owed.
pub fn keeps(ledger: &Ledger, row: &Row, peer: &SiteName, relay: bool) -> Option<Kept> {
    let asked_for = ledger.is_own(row.work) || ledger.lost_by(peer, row.work);
    if ledger.is_marker(row.work) {
        Some(Kept::Marker)
    } else if ledger.holds(peer, row.work) {
        Some(Kept::Held)
    } else if !row.open {
        Some(Kept::Condition)
    } else if !asked_for && ledger.stays(row.work) {
        Some(Kept::Stays)
    } else if !asked_for && !relay {
        Some(Kept::NotRelayed)
    } else {
        None
    }
}

/// Whether an entry goes without its body at first. A third site's entry does, since the peer may have it from another;
/// and so does what stands behind such a one in the delivery: where the peer lacks the first it takes none of the
/// others, wanted or not, and no body should cross twice.
pub fn goes_bare(own: bool, wanted: bool, behind_bare: bool) -> bool {
    behind_bare || (!own && !wanted)
}

/// An entry that was sent, as the sender remembers it until the receipt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// The row here.
    pub work: WorkId,
    /// Where it was first written.
    pub origin: Origin,
    /// The digest of the text that was sent.
    pub digest: Digest,
}

/// The rows that may be marked as held by `peer`: those that the receipt names **and whose text is still what was
/// sent**. Meanwhile a number may have been deleted and given out again, or the row edited; then it stays owed.
/// `ledger` and `now` are read again after the receipt; `now` has the digests of the rows that are there.
pub fn confirm(
    ledger: &Ledger,
    peer: &SiteName,
    sent: &[Sent],
    now: &BTreeMap<WorkId, Digest>,
    receipt: &Receipt,
) -> IdSet {
    if !ledger.unverified().is_empty() {
        return IdSet::new();
    }
    sent.iter()
        .filter(|s| receipt.holds.contains(&s.origin) && ledger.origin(s.work) == s.origin)
        .filter(|s| now.get(&s.work) == Some(&s.digest))
        .filter(|s| !ledger.is_marker(s.work) && !ledger.exchanged_row(peer, s.work))
        .map(|s| s.work)
        .collect()
}

/// What `believed` (as it was when the delivery was sent) says that the peer has, and the peer does not: it lost these.
pub fn diverged(believed: &OriginSet, receipt: &Receipt) -> OriginSet {
    let Some(knows) = &receipt.knows else { return OriginSet::new() };
    let mut missing = believed.clone();
    missing.subtract(knows);
    missing.subtract(&receipt.holds);
    missing
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ProblemId;
    use crate::marker::Marker;
    use crate::scribe::Scribe;
    use crate::seal::Keyring;

    fn site(s: &str) -> SiteName {
        s.parse().unwrap()
    }

    fn id(n: i64) -> WorkId {
        WorkId::new(n).unwrap()
    }

    /// Rows of problem ABC at site 1: a text that is `copy in …` is sealed, `-` stands before one that may not leave.
    fn problem(texts: &[&str]) -> (Ledger, Vec<Row>) {
        let (p, scribe) = ("ABC".parse::<ProblemId>().unwrap(), scribe());
        let row = |(i, text): (usize, &&str)| {
            let marker = Marker::parse(text, "copy in system")
                .map(|m| scribe.write(&p, m, &Default::default()).unwrap().remove(0));
            Row { work: id(i as i64 + 1), marker, open: !text.starts_with('-'), bytes: text.len() as u64 }
        };
        let rows: Vec<_> = texts.iter().enumerate().map(row).collect();
        (Ledger::fold(&scribe, &p, &rows), rows)
    }

    fn scribe() -> Scribe {
        Scribe::new(site("1"), "h", vec![], Keyring::new([1; 32]), None)
    }

    fn owed(texts: &[&str], peer: &str, relay: bool) -> Vec<i64> {
        let (ledger, rows) = problem(texts);
        pending(&ledger, &rows, &site(peer), relay).iter().map(|r| r.work.get()).collect()
    }

    #[test]
    fn what_is_above_the_marker_and_not_named_by_it_is_owed() {
        assert_eq!(owed(&["a", "b", "copy in system N: 2", "c"], "N", false), [1, 4]);
        assert_eq!(owed(&["a", "b", "copy in system N: 2", "c"], "M", false), [1, 2, 4]);
    }

    #[test]
    fn a_row_that_becomes_public_later_is_owed_then() {
        assert_eq!(owed(&["-secret", "b", "copy in system N: 2"], "N", false), [] as [i64; 0]);
        assert_eq!(owed(&["secret", "b", "copy in system N: 2"], "N", false), [1]);
    }

    #[test]
    fn a_copy_goes_only_where_there_is_relay_and_never_back() {
        let texts = ["from N", "copy in system N: 1 from 9", "own"];
        assert_eq!(owed(&texts, "M", false), [3]);
        assert_eq!(owed(&texts, "M", true), [1, 3]);
        assert_eq!(owed(&texts, "N", true), [3]);
        assert_eq!(owed(&["from N", "copy in system N: 1 from 9; stay 1", "own"], "M", true), [3]);
    }

    #[test]
    fn what_a_peer_lost_is_owed_again_whoever_wrote_it() {
        let texts = ["from N", "copy in system N: 1 from 9", "copy in system N: lost 1"];
        assert_eq!(owed(&texts, "N", false), [1]);
    }

    #[test]
    fn a_suspended_problem_owes_nothing() {
        let (_, rows) = problem(&["a", "copy in system N: 1", "b"]);
        let strange = Scribe::new(site("1"), "h", vec![], Keyring::new([2; 32]), None);
        let ledger = Ledger::fold(&strange, &"ABC".parse().unwrap(), &rows);
        assert!(pending(&ledger, &rows, &site("N"), true).is_empty());
    }

    #[test]
    fn only_what_is_still_as_it_was_sent_is_recorded() {
        let (ledger, _) = problem(&["a", "b", "c"]);
        let sent: Vec<_> =
            (1..=3).map(|n| Sent { work: id(n), origin: ledger.origin(id(n)), digest: Digest::of("sent") }).collect();
        let now = [(id(1), Digest::of("sent")), (id(2), Digest::of("another, under the same number"))].into();
        let mut receipt = Receipt::default();
        (1..=3).for_each(|n| receipt.holds.insert(&ledger.origin(id(n))));
        assert_eq!(confirm(&ledger, &site("N"), &sent, &now, &receipt).to_string(), "1");
    }
}
