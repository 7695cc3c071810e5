//! The messages of a comparison and of a repair (DESIGN §5, §7): what a site believes, its account of some problems, and
//! what it says that it lost. None carries a text.

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};

#[cfg(doc)]
use super::WIRE;
use super::{Belief, hex};
use crate::entry::Digest;
use crate::id::{Origin, ProblemId, SiteName};
use crate::id_set::OriginSet;

/// Asks for a page of what the receiver thinks that the two sites exchanged (DESIGN §5, `verify`). Nothing is changed by it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verify {
    /// [`WIRE`].
    pub wire: u32,
    /// The site that asks.
    pub from: SiteName,
    /// The site that is asked.
    pub to: SiteName,
    /// The history's name.
    pub history: String,
    /// The `after` of the answer before; absent in the first call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Whether the answer is to sum up the texts too: they are all read for it.
    #[serde(default)]
    pub texts: bool,
}

/// The answer to [`Verify`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Beliefs {
    /// The problems of this page of which anything was exchanged.
    pub problems: Vec<Believed>,
    /// Where the next page begins, by a word that only the answering site reads; absent where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// What one site believes that it and the other exchanged of one problem.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Believed {
    /// What the two sites call the problem.
    pub names: BTreeMap<SiteName, ProblemId>,
    /// Of the origins that receipts between the two cover.
    pub belief: Belief,
    /// Whether it has to be compared even where the beliefs agree: an origin stands here with two texts, or the other
    /// site's own entry is here without a receipt.
    #[serde(default)]
    pub compare: bool,
    /// Of the exchanged entries that are here and may leave, their texts: where [`Verify`] asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub texts: Option<TextSum>,
}

impl Believed {
    /// Whether two sites believe the same, of the texts as far as both summed them up.
    pub fn agrees(&self, other: &Believed) -> bool {
        let texts = self.texts.zip(other.texts).is_none_or(|(one, two)| one == two);
        self.belief == other.belief && texts
    }
}

/// The wrapping 64-bit sum of the hashes of texts and their origins, in hexadecimal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextSum(#[serde(with = "hex")] u64);

impl TextSum {
    /// The sum over these texts, in whatever order.
    pub fn of<'a>(texts: impl IntoIterator<Item = &'a Text>) -> Self {
        let hash = |text: &Text| Digest::of(&format!("{} {}", text.origin, text.digest)).short();
        Self(texts.into_iter().fold(0, |sum, text| sum.wrapping_add(hash(text))))
    }
}

/// Tells what this site has of some problems, and asks for the same and for what of it the receiver lacks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Compare {
    /// [`WIRE`].
    pub wire: u32,
    /// The site that asks.
    pub from: SiteName,
    /// The site that is asked.
    pub to: SiteName,
    /// The history's name.
    pub history: String,
    /// Of each problem.
    pub problems: Vec<Account>,
}

/// What one site has of one problem, as far as the other gave it or holds it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Account {
    /// What the two sites call the problem.
    pub names: BTreeMap<SiteName, ProblemId>,
    /// The origins that receipts between the two cover.
    pub exchanged: OriginSet,
    /// Of what is here: the other site's own entries, those with two texts, and those exchanged that may leave.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub texts: Vec<Text>,
}

/// One text, told apart from another of the same origin.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Text {
    /// Where it was first written.
    pub origin: Origin,
    /// Its digest.
    pub digest: Digest,
}

/// The answer to [`Compare`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Compared {
    /// One for each account, in the same order; nothing where there is no such problem, or none that the asking site may
    /// see.
    pub problems: Vec<Option<Answered>>,
}

/// What the asked site says of one problem.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Answered {
    /// What it has itself.
    pub account: Account,
    /// What of the asking site's account it lacks: it lost this.
    #[serde(default, skip_serializing_if = "Missing::is_empty")]
    pub lacks: Missing,
}

/// Entries that a site no longer has.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Missing {
    /// Of these origins it has nothing.
    #[serde(default, skip_serializing_if = "OriginSet::is_empty")]
    pub origins: OriginSet,
    /// Of these origins it has another text, or nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub texts: Vec<Text>,
    /// Of these origins, which receipts between the two cover at both sites, it has one other text: the entry was edited at
    /// one of them, or its number was given out again before a restore at both. Only a person can tell.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub differing: Vec<Text>,
    /// Of those that are missing, it has a row with this very text that no marker names, each for one: somebody deleted its
    /// markers, or a person wrote the same. Only a person can tell.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alike: Vec<Text>,
}

/// What an operator says of entries that only a person can judge.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Word {
    /// What has another text at each site is two entries.
    pub texts: bool,
    /// What stands in a row with the very text that no marker names is missing all the same.
    pub distinct: bool,
}

impl Missing {
    /// Whether nothing is missing and nothing differs.
    pub fn is_empty(&self) -> bool {
        self.is_complete() && self.differing.is_empty()
    }

    /// Whether nothing is missing, whatever differs.
    pub fn is_complete(&self) -> bool {
        self.origins.is_empty() && self.texts.is_empty()
    }

    /// What is to be done something about, by the operator's word.
    pub fn to_repair(&self, word: Word) -> Missing {
        let mut missing = Missing { differing: vec![], alike: vec![], ..self.clone() };
        if !word.distinct {
            let (mut origins, alike) = (OriginSet::new(), self.alike.iter().collect::<HashSet<_>>());
            self.alike.iter().for_each(|text| origins.insert(&text.origin));
            missing.origins.subtract(&origins);
            missing.texts.retain(|text| !alike.contains(text));
        }
        if word.texts {
            missing.texts.extend_from_slice(&self.differing);
        }
        missing
    }

    /// Every origin of which something is missing.
    pub fn all(&self) -> OriginSet {
        let mut all = self.origins.clone();
        self.texts.iter().for_each(|text| all.insert(&text.origin));
        all
    }
}

/// Says that the sender no longer has these entries, which the receiver thinks it holds (DESIGN §5, `repair`). They are
/// sent again, or, where the loss is meant, not counted any more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Lost {
    /// [`WIRE`].
    pub wire: u32,
    /// The site that lost them.
    pub from: SiteName,
    /// The site that may have them.
    pub to: SiteName,
    /// The history's name.
    pub history: String,
    /// Whether they are not to be sent again: they were deleted on purpose.
    #[serde(default)]
    pub meant: bool,
    /// Of each problem.
    pub problems: Vec<LostOf>,
}

/// What was lost of one problem.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LostOf {
    /// What the two sites call the problem.
    pub names: BTreeMap<SiteName, ProblemId>,
    /// What was lost.
    pub lost: Missing,
}

/// The answer to [`Lost`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LossRecorded {
    /// For each problem, in the same order, how many rows the answering site sends again; where the loss is meant, records.
    pub rows: Vec<u64>,
}
