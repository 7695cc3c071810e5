//! Sets of work ids, kept and written as ranges (`1-2,4`), and sets of origins, kept by site.
//!
//! A set is never expanded to count or compare it: `1-9223372036854775807` from a hostile peer costs one range.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use range_set_blaze::RangeSetBlaze;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::id::{Origin, SiteName, WorkId};

/// Why a text is no set of ids.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum IdSetError {
    /// A part is no number or range of numbers.
    #[error("{0:?} is no range of work ids: it is written 4 or 4-7")]
    Range(String),
    /// A part names no site.
    #[error("{0:?} are no entries of a site: they are written 1/2-3")]
    Site(String),
    /// A part lies at or below the part before it.
    #[error("ranges of work ids ascend, and {0:?} does not")]
    Order(String),
}

/// A set of work ids.
#[derive(Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IdSet(RangeSetBlaze<i64>);

impl IdSet {
    /// The empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// The set of every id.
    pub fn all() -> Self {
        Self(RangeSetBlaze::from_iter([1..=i64::MAX]))
    }

    /// Adds one id; true where it was not there.
    pub fn insert(&mut self, id: WorkId) -> bool {
        self.0.insert(id.get())
    }

    /// Takes one id out.
    pub fn remove(&mut self, id: WorkId) {
        self.0.remove(id.get());
    }

    /// Whether `id` is in the set.
    pub fn contains(&self, id: WorkId) -> bool {
        self.0.contains(id.get())
    }

    /// Whether the set has no id.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The number of ids.
    pub fn len(&self) -> u64 {
        u64::try_from(self.0.len()).unwrap_or(u64::MAX)
    }

    /// The highest id.
    pub fn last(&self) -> Option<WorkId> {
        self.0.last().and_then(WorkId::new)
    }

    /// The ids in ascending order. Only for sets that came from this site's own rows: see the module's first lines.
    pub fn iter(&self) -> impl Iterator<Item = WorkId> + '_ {
        self.0.iter().filter_map(WorkId::new)
    }

    /// The ranges in ascending order.
    pub fn ranges(&self) -> impl Iterator<Item = RangeInclusive<i64>> + '_ {
        self.0.ranges()
    }

    /// Adds every id of `other`.
    pub fn extend(&mut self, other: &IdSet) {
        self.0 = &self.0 | &other.0;
    }

    /// Takes every id of `other` out.
    pub fn subtract(&mut self, other: &IdSet) {
        self.0 = &self.0 - &other.0;
    }

    /// The ids that are in both.
    pub fn intersection(&self, other: &IdSet) -> IdSet {
        IdSet(&self.0 & &other.0)
    }

    pub(crate) fn insert_range(&mut self, range: RangeInclusive<i64>) {
        self.0.ranges_insert(range);
    }
}

impl FromIterator<WorkId> for IdSet {
    fn from_iter<I: IntoIterator<Item = WorkId>>(ids: I) -> Self {
        Self(ids.into_iter().map(WorkId::get).collect())
    }
}

impl fmt::Display for IdSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, range) in self.0.ranges().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            match (range.start(), range.end()) {
                (a, b) if a == b => write!(f, "{comma}{a}")?,
                (a, b) => write!(f, "{comma}{a}-{b}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for IdSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{self}}}")
    }
}

impl FromStr for IdSet {
    type Err = IdSetError;

    fn from_str(s: &str) -> Result<Self, IdSetError> {
        let mut set = RangeSetBlaze::new();
        let mut last = 0;
        if s.is_empty() {
            return Ok(Self(set));
        }
        for part in s.split(',') {
            let bad = || IdSetError::Range(part.chars().take(50).collect());
            let (a, b) = part.split_once('-').unwrap_or((part, part));
            let a: WorkId = a.parse().map_err(|_| bad())?;
            let b: WorkId = b.parse().map_err(|_| bad())?;
            if a > b || (part.contains('-') && a == b) {
                return Err(bad());
            }
            if a.get() <= last {
                return Err(IdSetError::Order(part.chars().take(50).collect()));
            }
            last = b.get();
            set.ranges_insert(a.get()..=b.get());
        }
        Ok(Self(set))
    }
}

impl TryFrom<String> for IdSet {
    type Error = IdSetError;

    fn try_from(s: String) -> Result<Self, IdSetError> {
        s.parse()
    }
}

impl From<IdSet> for String {
    fn from(s: IdSet) -> String {
        s.to_string()
    }
}

/// A set of origins: work ids by the site that wrote them.
#[derive(Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "BTreeMap<SiteName, IdSet>")]
pub struct OriginSet(BTreeMap<SiteName, IdSet>);

impl From<BTreeMap<SiteName, IdSet>> for OriginSet {
    fn from(mut sets: BTreeMap<SiteName, IdSet>) -> Self {
        // A site without ids is the same set as one without the site.
        sets.retain(|_, ids| !ids.is_empty());
        Self(sets)
    }
}

impl OriginSet {
    /// The empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one origin.
    pub fn insert(&mut self, origin: &Origin) {
        match self.0.get_mut(&origin.site) {
            Some(ids) => {
                ids.insert(origin.work);
            }
            None => {
                self.0.insert(origin.site.clone(), IdSet::from_iter([origin.work]));
            }
        }
    }

    /// Whether `origin` is in the set.
    pub fn contains(&self, origin: &Origin) -> bool {
        self.0.get(&origin.site).is_some_and(|ids| ids.contains(origin.work))
    }

    /// Whether the set has no origin.
    pub fn is_empty(&self) -> bool {
        self.0.values().all(IdSet::is_empty)
    }

    /// The number of origins.
    pub fn len(&self) -> u64 {
        self.0.values().fold(0, |n, ids| n.saturating_add(ids.len()))
    }

    /// The sites and their ids, by site name.
    pub fn by_site(&self) -> impl Iterator<Item = (&SiteName, &IdSet)> {
        self.0.iter().filter(|(_, ids)| !ids.is_empty())
    }

    /// The first ranges of the set, at most so many.
    pub fn first_ranges(&self, mut max: usize) -> OriginSet {
        let mut first = BTreeMap::new();
        for (site, ids) in self.by_site() {
            let some = RangeSetBlaze::from_iter(ids.ranges().take(max));
            max -= some.ranges_len();
            first.insert(site.clone(), IdSet(some));
        }
        first.into()
    }

    /// The number of ranges.
    pub fn ranges_len(&self) -> usize {
        self.by_site().map(|(_, ids)| ids.0.ranges_len()).sum()
    }

    /// Adds every origin of `other`.
    pub fn extend(&mut self, other: &OriginSet) {
        for (site, ids) in &other.0 {
            self.0.entry(site.clone()).or_default().extend(ids);
        }
    }

    /// Takes every origin of `other` out.
    pub fn subtract(&mut self, other: &OriginSet) {
        for (site, ids) in &mut self.0 {
            if let Some(gone) = other.0.get(site) {
                ids.subtract(gone);
            }
        }
        self.0.retain(|_, ids| !ids.is_empty());
    }
}

impl fmt::Display for OriginSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (site, ids)) in self.by_site().enumerate() {
            write!(f, "{}{site}/{ids}", if i == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

impl FromStr for OriginSet {
    type Err = IdSetError;

    /// As it is displayed: `1/2-3; N/7`.
    fn from_str(s: &str) -> Result<Self, IdSetError> {
        let part = |part: &str| {
            let bad = || IdSetError::Site(part.chars().take(50).collect());
            let (site, ids) = part.split_once('/').ok_or_else(bad)?;
            Ok((site.parse().map_err(|_| bad())?, ids.parse()?))
        };
        let parts = s.split("; ").filter(|part| !part.is_empty()).map(part);
        Ok(parts.collect::<Result<BTreeMap<SiteName, IdSet>, _>>()?.into())
    }
}

impl fmt::Debug for OriginSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{self}}}")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn set(ids: &BTreeSet<i64>) -> IdSet {
        ids.iter().filter_map(|n| WorkId::new(*n)).collect()
    }

    fn small() -> impl Strategy<Value = BTreeSet<i64>> {
        proptest::collection::btree_set(1_i64..40, 0..30)
    }

    proptest! {
        #[test]
        fn a_set_agrees_with_a_plain_model(a in small(), b in small(), probe in 1_i64..41) {
            let (sa, sb, id) = (set(&a), set(&b), WorkId::new(probe).unwrap());
            prop_assert_eq!(sa.len(), a.len() as u64);
            prop_assert_eq!(sa.contains(id), a.contains(&probe));
            prop_assert_eq!(sa.last().map(WorkId::get), a.last().copied());
            let mut united = sa.clone();
            united.extend(&sb);
            prop_assert_eq!(united, set(&a.union(&b).copied().collect()));
            let mut rest = sa.clone();
            rest.subtract(&sb);
            prop_assert_eq!(rest, set(&a.difference(&b).copied().collect()));
            prop_assert_eq!(sa.intersection(&sb), set(&a.intersection(&b).copied().collect()));
            let mut one = sa.clone();
            prop_assert_eq!(one.insert(id), !a.contains(&probe));
            one.remove(id);
            prop_assert!(!one.contains(id));
        }

        #[test]
        fn a_set_reads_back_as_it_is_written(a in small()) {
            let s = set(&a);
            prop_assert_eq!(s.to_string().parse::<IdSet>().unwrap(), s);
        }

        #[test]
        fn no_text_makes_the_parser_panic(s in "[0-9,-]{0,40}") {
            let _ = s.parse::<IdSet>();
        }
    }

    #[test]
    fn a_hostile_range_is_counted_without_being_expanded() {
        let all: IdSet = "1-9223372036854775807".parse().unwrap();
        assert_eq!(all.len(), i64::MAX as u64);
        assert_eq!(all.to_string(), "1-9223372036854775807");
        let few: IdSet = "3,7-8".parse().unwrap();
        assert_eq!(all.intersection(&few), few);
    }

    #[test]
    fn what_does_not_ascend_is_refused() {
        for bad in ["2,1", "1,1", "3-1", "4-4", "1,,2", ",", "0", "1-", "-1", "1 ,2"] {
            assert!(bad.parse::<IdSet>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_set_of_origins_reads_back_and_its_first_ranges_are_whole() {
        let all: OriginSet = "1/2-3,5; N/7,9-11".parse().unwrap();
        assert_eq!((all.to_string().as_str(), all.len(), all.ranges_len()), ("1/2-3,5; N/7,9-11", 7, 4));
        assert_eq!(all.first_ranges(3).to_string(), "1/2-3,5; N/7");
        assert_eq!((all.first_ranges(9), all.first_ranges(0)), (all, OriginSet::new()));
        assert!("".parse::<OriginSet>().unwrap().is_empty());
        let bad = |text: &str| text.parse::<OriginSet>().unwrap_err().to_string();
        assert_eq!(bad("17"), "\"17\" are no entries of a site: they are written 1/2-3");
        assert!(bad("1/3-2").contains("no range") && bad("no site/3").contains("no entries"));
    }
}
