//! What is to be remembered, on its way to the thread that writes it.

use std::collections::BTreeMap;

use landbridge_core::message::{Refusal, Text};
use landbridge_core::{Origin, OriginSet, ProblemId, SiteName, WorkId};
use landbridge_flow::Violation;

use super::bounds::{Trouble, troubles};
use crate::audit::chain::Head;

/// Something to remember.
#[derive(Debug)]
pub(super) enum Note {
    /// A pass through everything begins: what is withheld will be found again. `count`: with new counters.
    Begun {
        count: bool,
    },
    Sent {
        peer: SiteName,
        entries: u64,
    },
    Received {
        peer: SiteName,
        entries: u64,
    },
    RefusedThere {
        peer: SiteName,
        problem: ProblemId,
        refused: Vec<(WorkId, Origin, Refusal)>,
    },
    RefusedHere {
        peer: SiteName,
        problem: ProblemId,
        origin: Origin,
        refusal: Refusal,
        detail: String,
    },
    Diverged {
        peer: SiteName,
        problem: ProblemId,
        missing: OriginSet,
        texts: Vec<Text>,
        alike: Vec<Text>,
        here: bool,
    },
    Verified {
        peer: SiteName,
    },
    Withheld {
        problem: ProblemId,
        row: WorkId,
        why: &'static str,
    },
    Certificate {
        peer: SiteName,
        begins: u64,
        ends: u64,
        fingerprint: String,
    },
    /// The configuration was read again, and that is wrong with it.
    Reloaded {
        wish: Option<i64>,
        faults: Vec<String>,
    },
    Answered {
        peer: SiteName,
    },
    Failed {
        peer: SiteName,
        error: String,
    },
    /// Whether the record of what leaves could be written, and why not.
    Recorded {
        failed: Option<String>,
    },
    /// Troubles that were not noted, because too much waited to be.
    NotKept {
        troubles: BTreeMap<(SiteName, Trouble), u64>,
    },
    /// The last line of the record of what leaves. `anew`: an operator began it again, perhaps with a lower number.
    RecordHead {
        head: Head,
        anew: bool,
    },
    Violated {
        /// Nothing where it was no peer.
        peer: Option<SiteName>,
        violation: Violation,
        detail: String,
    },
}

/// What found no room among the notes that wait: what of it is more than comfort is noted when there is room again.
#[derive(Debug, Default)]
pub(super) struct Dropped {
    troubles: BTreeMap<(SiteName, Trouble), u64>,
    head: Option<(Head, bool)>,
}

impl Dropped {
    /// Keeps of a note what has to be noted still.
    pub(super) fn add(&mut self, note: Note) {
        match note {
            Note::NotKept { troubles } => troubles.into_iter().for_each(|(of, count)| self.count(of, count)),
            Note::RecordHead { head, anew } => {
                let anew = anew || self.head.is_some_and(|(_, anew)| anew);
                self.head = Some((head, anew));
            }
            note => {
                if let Some((peer, trouble, count)) = troubles(&note) {
                    self.count((peer.clone(), trouble), count);
                }
            }
        }
    }

    fn count(&mut self, of: (SiteName, Trouble), count: u64) {
        let counted = self.troubles.entry(of).or_default();
        *counted = counted.saturating_add(count);
    }

    /// What is still to be noted.
    pub(super) fn take(&mut self) -> impl Iterator<Item = Note> + use<> {
        let Self { troubles, head } = std::mem::take(self);
        let not_kept = (!troubles.is_empty()).then_some(Note::NotKept { troubles });
        not_kept.into_iter().chain(head.map(|(head, anew)| Note::RecordHead { head, anew }))
    }
}
