//! What a seed is: the sites, the links between them and what may go wrong.

use std::collections::BTreeSet;

use landbridge_core::{ProblemId, SiteName};

use crate::executor::Dice;

/// A world before it begins.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The seed that made it.
    pub seed: u64,
    /// The sites.
    pub sites: Vec<SitePlan>,
    /// The links, each in one direction.
    pub links: Vec<LinkPlan>,
    /// The problems.
    pub problems: Vec<ProblemId>,
    /// How many things writers do.
    pub actions: usize,
    /// Nothing fails.
    pub calm: bool,
    /// Rows are edited, deleted, and their numbers given out again.
    pub rewriting: bool,
    /// Writers only write, and only for everybody.
    pub only_writing: bool,
    /// Whether there is only one path between any two sites.
    pub tree: bool,
    /// What the sites call the problems.
    pub names: Names,
    /// How often a database is restored from a backup.
    pub restores: usize,
    /// Operators fold markers, and people paste what was folded.
    pub compacting: bool,
    /// How the sites are connected, for people.
    pub topology: &'static str,
}

/// What the sites call the problems.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    /// Each by the same id.
    Alike,
    /// Each by its own, and an operator at one end of each pair of neighbours said which belong together.
    Linked,
    /// Each by its own: a problem is first seen at one site, and the others create it.
    Created,
}

/// One site.
#[derive(Debug, Clone)]
pub struct SitePlan {
    /// Its name.
    pub name: SiteName,
    /// Numbers are generated, not per problem.
    pub generated: bool,
    /// The width of its text column.
    pub text_chars_max: Option<usize>,
    /// Its table takes no text with `POISON` in it.
    pub refuses_poison: bool,
    /// Problems that it does not share.
    pub hidden: BTreeSet<ProblemId>,
}

/// What one site sends to another, and how.
#[derive(Debug, Clone)]
pub struct LinkPlan {
    /// The sender.
    pub from: usize,
    /// The receiver.
    pub to: usize,
    /// The receiver dials and pulls; else the sender dials and pushes.
    pub pulled: bool,
    /// The sender passes on what others wrote.
    pub relay: bool,
    /// The receiver lets the sender speak for others.
    pub trusted: bool,
    /// The receiver sees only levels below this.
    pub level_below: Option<u8>,
    /// What travels here may travel further.
    pub onward: bool,
}

/// The pairs of neighbours among so many sites.
type Edges = fn(usize) -> Vec<(usize, usize)>;

/// The topologies, by their edges over `n` sites.
const TOPOLOGIES: [(&str, Edges); 4] = [
    ("chain", |n| (1..n).map(|i| (i - 1, i)).collect()),
    ("star", |n| (1..n).map(|i| (0, i)).collect()),
    ("ring", |n| (0..n).map(|i| (i, (i + 1) % n)).filter(|(a, b)| a != b && (n > 2 || a < b)).collect()),
    ("mesh", |n| (0..n).flat_map(|a| (a + 1..n).map(move |b| (a, b))).collect()),
];

impl Plan {
    /// The world of `seed`.
    pub fn new(seed: u64) -> Self {
        let dice = Dice::new(seed ^ 0x5eed);
        // Small worlds are cheap and find most; large ones are there too.
        let size = [2, 2, 2, 3, 3, 3, 4, 5, 6, 7][dice.below(10)];
        let (mut topology, edges) = TOPOLOGIES[dice.below(TOPOLOGIES.len())];
        let mut edges = edges(size);
        if size > 3 && dice.one_in(5) {
            topology = "random";
            edges = (1..size).map(|i| (dice.below(i), i)).collect();
            let extra = (dice.below(size), dice.below(size));
            if extra.0 < extra.1 && !edges.contains(&extra) {
                edges.push(extra);
            }
        }
        let tree = edges.len() == size - 1;
        let calm = dice.one_in(8);
        let problems: Vec<ProblemId> = (0..1 + dice.below(3)).filter_map(|p| format!("P{p}").parse().ok()).collect();
        let sites = (0..size).filter_map(|i| site(i, &dice, &problems)).collect();
        let relays = size > 2 && !dice.one_in(5);
        let links = edges.into_iter().flat_map(|(a, b)| {
            let pulled = dice.one_in(4);
            [link(a, b, pulled && dice.one_in(2), relays, tree, &dice), link(b, a, pulled, relays, tree, &dice)]
        });
        let mut plan = Self {
            seed,
            links: links.collect(),
            sites,
            problems,
            actions: 5 + dice.below(if size > 4 { 20 } else { 40 }),
            calm,
            rewriting: !calm && dice.one_in(3),
            only_writing: false,
            tree,
            names: [Names::Alike, Names::Alike, Names::Linked, Names::Created][dice.below(4)],
            restores: 0,
            compacting: Dice::new(seed ^ 0xf01d).one_in(2),
            topology,
        };
        if plan.names == Names::Created {
            // Whom a site does not believe may give it a second ticket for what it has; so here all believe each other.
            plan.links.iter_mut().for_each(|link| link.trusted = true);
            plan.sites.iter_mut().for_each(|site| site.hidden.clear());
            // An entry that is rewritten while its first receipt is lost leaves the other end in doubt (DESIGN §5).
            plan.rewriting = false;
        }
        plan
    }

    /// The same seed's world without what the published methods know nothing of: no conditions, no refusals, nothing
    /// rewritten; every site passes on, and every entry is for everybody.
    pub fn kind(seed: u64) -> Self {
        let mut plan = Self::new(seed);
        for site in &mut plan.sites {
            site.refuses_poison = false;
            site.hidden.clear();
            site.text_chars_max = None;
        }
        for link in &mut plan.links {
            (link.relay, link.trusted, link.onward, link.level_below) = (true, true, true, None);
        }
        (plan.calm, plan.rewriting, plan.only_writing, plan.compacting) = (false, false, true, false);
        plan.names = Names::Alike;
        plan
    }

    /// The same seed's world, in which databases are restored from backups while people write. Every entry is for everybody,
    /// so that each which is anywhere has to come back everywhere.
    pub fn restored(seed: u64) -> Self {
        let mut plan = Self::kind(seed);
        let dice = Dice::new(seed ^ 0xbac4);
        plan.restores = 1 + dice.below(3);
        plan.compacting = Self::new(seed).compacting;
        if plan.sites.len() == 2 && dice.one_in(3) {
            plan.names = Names::Linked;
        }
        plan
    }

    /// The link from one site to another.
    pub fn link(&self, from: usize, to: usize) -> Option<&LinkPlan> {
        self.links.iter().find(|l| l.from == from && l.to == to)
    }

    /// The place of a site by its name.
    pub fn place(&self, name: &SiteName) -> Option<usize> {
        self.sites.iter().position(|s| s.name == *name)
    }
}

fn site(i: usize, dice: &Dice, problems: &[ProblemId]) -> Option<SitePlan> {
    Some(SitePlan {
        name: format!("S{i}").parse().ok()?,
        generated: dice.one_in(2),
        text_chars_max: dice.one_in(4).then_some(110),
        refuses_poison: dice.one_in(5),
        hidden: problems.iter().filter(|_| dice.one_in(15)).cloned().collect(),
    })
}

fn link(from: usize, to: usize, pulled: bool, relays: bool, tree: bool, dice: &Dice) -> LinkPlan {
    let relay = relays && !dice.one_in(8);
    LinkPlan {
        from,
        to,
        pulled,
        relay,
        trusted: relay && !dice.one_in(20),
        level_below: dice.one_in(5).then_some(2),
        // With several paths, the one that an entry arrives on first decides whether it stays.
        onward: !(tree && dice.one_in(12)),
    }
}
