//! What a topology is: sites, who dials whom, and what each lets pass to whom; and which sites an entry is to reach by
//! that, computed from the plan alone.

use std::collections::{BTreeSet, VecDeque};

/// The names of sites.
pub const NAMES: [&str; 7] = ["A", "B", "C", "D", "E", "F", "G"];

/// Sites and the links between them.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What it is called.
    pub name: String,
    /// How many sites.
    pub sites: usize,
    /// The links.
    pub links: Vec<Link>,
}

/// Two sites that exchange with each other.
#[derive(Debug, Clone)]
pub struct Link {
    /// The one that dials in any case.
    pub a: usize,
    /// The other.
    pub b: usize,
    /// Whether `b` dials, too. If not, `a` pulls, and `b` has no url of it.
    pub both_dial: bool,
    /// What `a` lets pass to `b`.
    pub to_b: Way,
    /// What `b` lets pass to `a`.
    pub to_a: Way,
    /// False: `a` says that what is exchanged with `b` goes no further.
    pub onward: bool,
}

/// What may pass in one direction.
#[derive(Debug, Clone, Copy)]
pub struct Way {
    /// The sender passes on what others wrote.
    pub relay: bool,
    /// The receiver names all others in `relay_from`.
    pub believed: bool,
    /// The sender's `share` for this peer lets the house's entries out.
    pub house: bool,
}

const OPEN: Way = Way { relay: true, believed: true, house: true };

impl Plan {
    fn new(name: &str, sites: usize, pairs: impl Iterator<Item = (usize, usize)>) -> Self {
        let link = |(a, b)| Link { a, b, both_dial: true, to_b: OPEN, to_a: OPEN, onward: true };
        Self { name: format!("{name} of {sites}"), sites, links: pairs.map(link).collect() }
    }

    /// Each knows the one before it and the one behind it. The last has no open port.
    pub fn chain(sites: usize) -> Self {
        let mut plan = Self::new("chain", sites, (1..sites).rev().map(|here| (here, here - 1)));
        plan.links[0].both_dial = false;
        plan
    }

    /// A chain whose ends know each other. One link is dialled from one side only.
    pub fn ring(sites: usize) -> Self {
        let mut plan = Self::new("ring", sites, (0..sites).map(|here| (here, (here + 1) % sites)));
        plan.links[1].both_dial = false;
        plan
    }

    /// All know the first. Every other one has no open port.
    pub fn star(sites: usize) -> Self {
        let mut plan = Self::new("star", sites, (1..sites).map(|here| (here, 0)));
        plan.links.iter_mut().step_by(2).for_each(|link| link.both_dial = false);
        plan
    }

    /// All know all. The last has no open port.
    pub fn mesh(sites: usize) -> Self {
        let pairs = (0..sites).flat_map(|a| (0..a).map(move |b| (a, b)));
        let mut plan = Self::new("mesh", sites, pairs);
        plan.links.iter_mut().filter(|link| link.a == sites - 1).for_each(|link| link.both_dial = false);
        plan
    }

    /// Whether this site is dialled by some other.
    pub fn listens(&self, site: usize) -> bool {
        self.links.iter().any(|link| link.b == site || (link.a == site && link.both_dial))
    }

    /// Whether `to` pulls what `from` has for it.
    pub fn is_pulled(&self, from: usize, to: usize) -> bool {
        self.links.iter().any(|link| (link.a, link.b) == (to, from) && !link.both_dial)
    }

    /// The sites that are to have an entry of `site`, its own among them: every hop of some path admits it. `house`: the
    /// entry is one of the house.
    pub fn entitled(&self, site: usize, house: bool) -> BTreeSet<usize> {
        let mut reached = BTreeSet::from([site]);
        let (mut seen, mut open) = (BTreeSet::new(), VecDeque::from([(site, true)]));
        while let Some((here, may_go_on)) = open.pop_front() {
            if !may_go_on || !seen.insert(here) {
                continue;
            }
            for link in self.links.iter().filter(|link| link.a == here || link.b == here) {
                let (to, way) = if link.a == here { (link.b, link.to_b) } else { (link.a, link.to_a) };
                let admits = (here == site || (way.relay && way.believed)) && (!house || way.house);
                if admits {
                    reached.insert(to);
                    open.push_back((to, link.onward));
                }
            }
        }
        reached
    }

    /// Whether causes stand before effects at every site: there is only one path between any two sites, or every site
    /// passes everything on to all whom it knows.
    pub fn keeps_order(&self) -> bool {
        let all = |way: Way| way.relay && way.believed;
        self.is_tree() || self.links.iter().all(|link| all(link.to_a) && all(link.to_b) && link.onward)
    }

    /// Whether there is only one path between any two sites.
    pub fn is_tree(&self) -> bool {
        self.links.len() == self.sites - 1
    }

    /// Whether some entries pass some links and not others by the conditions.
    pub fn has_house(&self) -> bool {
        self.links.iter().any(|link| !link.to_a.house || !link.to_b.house)
    }
}
