//! What people and applications do to the tables while the bridges work, and what the world remembers of it.

use std::collections::HashMap;

use landbridge_core::{Origin, ProblemId, WorkId};
use landbridge_stores::memory::{MemoryRow, MemoryStore};

use crate::executor::Dice;
use crate::names;
use crate::plan::Plan;

/// Something that was written at one site.
#[derive(Debug, Clone)]
pub struct Item {
    /// Where.
    pub site: usize,
    /// In which problem.
    pub problem: ProblemId,
    /// What the site calls that.
    pub local: ProblemId,
    /// Under which number.
    pub work: WorkId,
    /// What, in every version there was; the last is what stands there.
    pub texts: Vec<String>,
    /// Whether it may leave.
    pub public: bool,
    /// What the peers' conditions look at.
    pub level: u8,
    /// It was not public, or committed late: it may stand behind what was written after it.
    pub late: bool,
    /// It was deleted again.
    pub deleted: bool,
    /// It replaces a deleted row of the same number.
    pub reused: bool,
    /// The items that whoever wrote it could see.
    pub saw: Vec<usize>,
}

impl Item {
    /// What stands there.
    pub fn text(&self) -> &str {
        self.texts.last().map_or("", String::as_str)
    }

    /// Whether it says today what it said at first.
    pub fn is_plain(&self) -> bool {
        self.texts.len() == 1 && !self.deleted
    }

    /// Its origin, as peers name it.
    pub fn origin(&self, plan: &Plan) -> Option<Origin> {
        plan.sites.get(self.site).map(|s| Origin::new(s.name.clone(), self.work))
    }
}

/// Where something is written.
#[derive(Debug, Clone)]
struct At {
    site: usize,
    problem: ProblemId,
    local: ProblemId,
}

/// Everything that was written.
#[derive(Debug, Default)]
pub struct Script {
    /// In the order in which it was begun.
    pub items: Vec<Item>,
    /// Which item a text belongs to.
    pub by_text: HashMap<String, usize>,
    open: Vec<usize>,
    done: usize,
}

impl Script {
    /// Whether everything was done that the plan wanted, and nothing is left uncommitted.
    pub fn is_done(&self, plan: &Plan) -> bool {
        self.done >= plan.actions && self.open.is_empty()
    }

    /// Does one thing at one site.
    pub fn act(&mut self, plan: &Plan, stores: &[MemoryStore], dice: &Dice) {
        if self.done >= plan.actions {
            self.commit_late(plan.only_writing, stores, dice);
            return;
        }
        self.done += 1;
        let site = dice.below(stores.len());
        let Some(problem) = dice.pick(&plan.problems).cloned() else { return };
        let Some(local) = names::local(plan, stores, site, &problem) else { return };
        let at = At { site, local, problem };
        if plan.only_writing {
            return match dice.below(10) {
                0 => self.begin_late(true, at, stores, dice),
                _ => self.write(true, at, stores, dice),
            };
        }
        match dice.below(if plan.rewriting { 16 } else { 12 }) {
            0 => self.begin_late(false, at, stores, dice),
            1 => self.commit_late(false, stores, dice),
            2 => self.publish(stores, dice),
            3 => self.paste(&at, stores, dice),
            12 | 13 => self.edit(stores, dice),
            14 | 15 => self.delete_and_reuse(plan, stores, dice),
            _ => self.write(false, at, stores, dice),
        }
    }

    fn write(&mut self, plain: bool, at: At, stores: &[MemoryStore], dice: &Dice) {
        let site = at.site;
        let item = self.item(plain, at, stores, dice);
        let work = stores[site].write(&self.items[item].local, row(&self.items[item]));
        self.items[item].work = work;
    }

    fn item(&mut self, plain: bool, at: At, stores: &[MemoryStore], dice: &Dice) -> usize {
        let n = self.items.len();
        let public = plain || !dice.one_in(6);
        let text = match (public, dice.below(20)) {
            (false, _) => format!("SECRET-{n}- internal"),
            (_, 0) if !plain => format!("POISON {n}"),
            // A person writes what looks like a marker. Without a seal it is an entry like any other.
            (_, 1) => format!("copy in system S0: 1-{}", n + 1),
            _ => format!("entry {n} ⚙"),
        };
        let saw = self.seen_at(&at, stores);
        self.by_text.insert(text.clone(), n);
        self.items.push(Item {
            site: at.site,
            problem: at.problem,
            local: at.local,
            work: WorkId::MIN,
            texts: vec![text],
            public,
            level: dice.below(4) as u8,
            late: !public,
            deleted: false,
            reused: false,
            saw,
        });
        n
    }

    /// The database of a site was restored: what it no longer has was deleted, and what was open there is over.
    pub fn restored(&mut self, site: usize, stores: &[MemoryStore]) {
        let items = &mut self.items;
        self.open.retain(|n| items[*n].site != site);
        for item in items.iter_mut().filter(|item| item.site == site) {
            let rows = stores[site].committed(&item.local);
            item.deleted = !rows.values().any(|row| row.text == item.text());
        }
    }

    /// What is anywhere at all is to be everywhere again.
    pub fn find_again(&mut self, plan: &Plan, stores: &[MemoryStore]) {
        for item in &mut self.items {
            let is_at = |place: usize| {
                let local = names::local(plan, stores, place, &item.problem);
                local.is_some_and(|local| stores[place].committed(&local).values().any(|row| row.text == item.text()))
            };
            item.deleted = !(0..stores.len()).any(is_at);
        }
    }

    fn seen_at(&self, at: &At, stores: &[MemoryStore]) -> Vec<usize> {
        let rows = stores[at.site].committed(&at.local);
        rows.values().filter_map(|row| self.by_text.get(&row.text).copied()).collect()
    }

    /// A transaction takes a number now and commits later.
    fn begin_late(&mut self, plain: bool, at: At, stores: &[MemoryStore], dice: &Dice) {
        let site = at.site;
        let item = self.item(plain, at, stores, dice);
        self.items[item].work = stores[site].reserve(&self.items[item].local);
        self.items[item].late = true;
        self.open.push(item);
    }

    fn commit_late(&mut self, plain: bool, stores: &[MemoryStore], dice: &Dice) {
        if self.open.is_empty() {
            return;
        }
        let n = self.open.swap_remove(dice.below(self.open.len()));
        let item = &mut self.items[n];
        if !plain && dice.one_in(5) {
            stores[item.site].abandon(&item.local, item.work);
            item.deleted = true;
        } else {
            stores[item.site].commit_row(&item.local, item.work, row(item));
        }
    }

    /// An internal note becomes public.
    fn publish(&mut self, stores: &[MemoryStore], dice: &Dice) {
        let hidden: Vec<_> = (0..self.items.len())
            .filter(|n| !self.items[*n].public && !self.items[*n].deleted && !self.open.contains(n))
            .collect();
        if let Some(n) = dice.pick(&hidden) {
            let item = &mut self.items[*n];
            item.public = stores[item.site].edit(&item.local, item.work, |row| row.public = true);
        }
    }

    /// A person copies any text of the problem, markers too, and appends it. A pasted marker changes nothing; of
    /// another text it would make a second entry, so only markers are pasted here.
    fn paste(&mut self, at: &At, stores: &[MemoryStore], dice: &Dice) {
        let markers: Vec<_> =
            stores[at.site].committed(&at.local).into_values().filter(|row| row.text.contains("; seal ")).collect();
        if let Some(row) = dice.pick(&markers) {
            stores[at.site].write(&at.local, MemoryRow { public: true, ..row.clone() });
        }
    }

    fn rewritable(&self) -> Vec<usize> {
        (0..self.items.len()).filter(|n| !self.items[*n].deleted && !self.open.contains(n)).collect()
    }

    fn edit(&mut self, stores: &[MemoryStore], dice: &Dice) {
        let Some(n) = dice.pick(&self.rewritable()).copied() else { return };
        let text = format!("{} edited {}", self.items[n].text(), self.items[n].texts.len());
        let item = &mut self.items[n];
        if stores[item.site].edit(&item.local, item.work, |row| row.text.clone_from(&text)) {
            item.texts.push(text.clone());
            self.by_text.insert(text, n);
        }
    }

    /// The last row is deleted, and its number given out again to another.
    fn delete_and_reuse(&mut self, plan: &Plan, stores: &[MemoryStore], dice: &Dice) {
        let last = |n: &usize| {
            let item = &self.items[*n];
            let store = &stores[item.site];
            let highest = |p: &ProblemId| store.committed(p).keys().next_back().copied();
            if plan.sites[item.site].generated {
                store.problems().iter().filter_map(highest).max() == Some(item.work)
            } else {
                highest(&item.local) == Some(item.work)
            }
        };
        let lasts: Vec<_> = self.rewritable().into_iter().filter(last).collect();
        let Some(n) = dice.pick(&lasts).copied() else { return };
        let Item { site, problem, local, work, .. } = self.items[n].clone();
        if !stores[site].delete(&local, work) {
            return;
        }
        self.items[n].deleted = true;
        let item = self.item(false, At { site, problem, local }, stores, dice);
        let again = stores[site].write(&self.items[item].local, row(&self.items[item]));
        self.items[item].work = again;
        self.items[item].reused = again == work;
    }
}

fn row(item: &Item) -> MemoryRow {
    MemoryRow {
        text: item.text().to_owned(),
        fields: [("level".to_owned(), Some(item.level.to_string()))].into(),
        public: item.public,
        level: item.level,
    }
}
