//! How far each model goes: which sites, how many entries, and how often what goes wrong. The named bounds are chosen so
//! that those of `check` take a minute or two and those of `soak` up to an hour.

use std::fmt;

use super::state::Budget;

/// Who exchanges with whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topology {
    /// Each with the next; those in the middle pass on.
    Chain,
    /// Each with each.
    Mesh {
        /// Whether each passes on what others wrote, too.
        relay: bool,
    },
}

/// How often something may happen, as [`Budget`].
#[derive(Debug, Clone, Copy)]
pub struct Often {
    /// Entries written at each site.
    pub writes: &'static [u8],
    /// Of these, committed late.
    pub late: u8,
    /// Last rows deleted.
    pub deletions: u8,
    /// Messages lost.
    pub losses: u8,
    /// Messages repeated.
    pub repeats: u8,
    /// Messages overtaken.
    pub delays: u8,
    /// Bridges killed.
    pub crashes: u8,
}

impl Often {
    /// Nothing at all.
    pub const NEVER: Often = Often { writes: &[], late: 0, deletions: 0, losses: 0, repeats: 0, delays: 0, crashes: 0 };

    /// The same, to count down from.
    pub fn budget(&self) -> Budget {
        let Often { writes, late, deletions, losses, repeats, delays, crashes } = *self;
        Budget { writes: writes.to_vec(), late, deletions, losses, repeats, delays, crashes }
    }
}

/// When a bound is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occasion {
    /// Whenever anything changes.
    Check,
    /// Before a release.
    Soak,
}

/// How far one model goes.
#[derive(Debug, Clone, Copy)]
pub struct Bound {
    /// What it is called on the command line.
    pub name: &'static str,
    /// When it is looked at.
    pub occasion: Occasion,
    /// The sites.
    pub sites: &'static [&'static str],
    /// Who exchanges with whom.
    pub topology: Topology,
    /// How often what happens.
    pub budget: Often,
    /// Whether a delivery may be accepted while a bridge reads what it sends.
    pub reads_while_accepting: bool,
    /// Whether a receipt finds its delivery by the digest alone, as where the receiver pulls: so it may also answer an
    /// equal one that was sent later. Otherwise it comes back on the connection of its own delivery, or not at all.
    pub pulled: bool,
    /// The most entries in one delivery.
    pub entries_max: usize,
}

const TWO: Bound = Bound {
    name: "two",
    occasion: Occasion::Check,
    sites: &["1", "N"],
    topology: Topology::Chain,
    budget: Often::NEVER,
    reads_while_accepting: false,
    pulled: true,
    entries_max: usize::MAX,
};

const THREE: Bound = Bound { name: "three", sites: &["1", "M", "N"], pulled: false, ..TWO };

/// Every bound.
pub const BOUNDS: &[Bound] = &[
    Bound {
        name: "two",
        budget: Often { writes: &[1, 1], late: 1, losses: 1, repeats: 1, delays: 1, crashes: 1, ..Often::NEVER },
        reads_while_accepting: true,
        ..TWO
    },
    Bound {
        name: "reused-numbers",
        budget: Often { writes: &[2, 1], deletions: 1, losses: 1, repeats: 1, crashes: 1, ..Often::NEVER },
        ..TWO
    },
    Bound {
        name: "chain",
        budget: Often { writes: &[1, 1, 0], losses: 1, repeats: 1, crashes: 1, ..Often::NEVER },
        ..THREE
    },
    Bound {
        name: "mesh",
        topology: Topology::Mesh { relay: false },
        budget: Often { writes: &[1, 1, 0], losses: 1, crashes: 1, ..Often::NEVER },
        ..THREE
    },
    Bound {
        name: "mesh-repeating",
        topology: Topology::Mesh { relay: false },
        budget: Often { writes: &[1, 1, 0], repeats: 1, crashes: 1, ..Often::NEVER },
        ..THREE
    },
    Bound {
        name: "relaying-mesh",
        topology: Topology::Mesh { relay: true },
        budget: Often { writes: &[1, 0, 0], losses: 1, repeats: 1, crashes: 1, ..Often::NEVER },
        ..THREE
    },
    Bound {
        name: "two-more",
        occasion: Occasion::Soak,
        budget: Often { writes: &[2, 1], late: 1, losses: 1, repeats: 1, delays: 1, crashes: 1, ..Often::NEVER },
        ..TWO
    },
    Bound {
        name: "chain-more",
        occasion: Occasion::Soak,
        budget: Often { writes: &[1, 1, 1], losses: 1, crashes: 1, ..Often::NEVER },
        ..THREE
    },
    Bound {
        name: "mesh-more",
        occasion: Occasion::Soak,
        topology: Topology::Mesh { relay: false },
        budget: Often { writes: &[1, 1, 0], losses: 1, repeats: 1, crashes: 1, ..Often::NEVER },
        ..THREE
    },
    Bound {
        name: "relaying-mesh-more",
        occasion: Occasion::Soak,
        topology: Topology::Mesh { relay: true },
        budget: Often { writes: &[1, 1, 0], crashes: 1, ..Often::NEVER },
        ..THREE
    },
];

/// The bounds that are meant by a name: one, or all of an occasion.
pub fn named(wanted: &str) -> impl Iterator<Item = &'static Bound> {
    let occasion = match wanted {
        "check" => Some(Occasion::Check),
        "soak" => Some(Occasion::Soak),
        _ => None,
    };
    BOUNDS.iter().filter(move |bound| bound.name == wanted || Some(bound.occasion) == occasion)
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Often { writes, late, deletions, losses, repeats, delays, crashes } = self.budget;
        let kind = match self.topology {
            _ if self.sites.len() == 2 => "two sites",
            Topology::Chain => "a chain of sites",
            Topology::Mesh { relay: false } => "sites that all know each other",
            Topology::Mesh { relay: true } => "sites that all know each other and all pass on",
        };
        write!(f, "{kind};")?;
        for (site, n) in self.sites.iter().zip(writes).filter(|(_, n)| **n > 0) {
            write!(f, " {n} written at {site},")?;
        }
        let often = [
            (late, "late"),
            (deletions, "deleted"),
            (losses, "lost"),
            (repeats, "repeated"),
            (delays, "overtaken"),
            (crashes, "killed"),
        ];
        let happen: Vec<_> = often.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
        write!(f, " {}", happen.join(", "))
    }
}
