//! What two bridges say to each other (DESIGN §7), as values and as JSON. HTTP is not named here: the simulator and the
//! fuzzers use the same functions.
//!
//! Unknown fields are passed over, so that a later version may say more; [`WIRE`] changes where an older one would
//! misunderstand.

mod compare;

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::bounds::{self, Bounds, Excess};
use crate::entry::{Digest, Fields};
use crate::id::{Origin, ProblemId, ProblemName, SiteName};
use crate::id_set::OriginSet;

pub use compare::{
    Account, Answered, Beliefs, Believed, Compare, Compared, LossRecorded, Lost, LostOf, Missing, Text, TextSum,
    Verify, Word,
};

/// The version of the messages.
pub const WIRE: u32 = 1;

/// Entries on their way to one peer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Push {
    /// [`WIRE`].
    pub wire: u32,
    /// The sender.
    pub from: SiteName,
    /// The receiver, as the sender knows it.
    pub to: SiteName,
    /// The history's name, equal at all its sites.
    pub history: String,
    /// One for each problem.
    pub deliveries: Vec<Delivery>,
}

/// The entries of one problem on their way to one peer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Delivery {
    /// What each site calls the problem, as far as the sender knows.
    pub names: BTreeMap<SiteName, ProblemId>,
    /// What the problem is called where it was first seen; said by a site that numbers its problems by itself (DESIGN §5).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home: Option<ProblemName>,
    /// Shared columns of the problem itself, while the sender does not know what the receiver calls it.
    #[serde(default, skip_serializing_if = "Fields::is_empty")]
    pub fields: Fields,
    /// What the sender thinks that the receiver has.
    pub belief: Belief,
    /// In the order of the sender's history.
    pub entries: Vec<Entry>,
}

/// One entry of a delivery.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Where it was first written.
    pub origin: Origin,
    /// The text. Left out of a third site's entry until the receiver wants it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The digest of a text that is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Further shared columns.
    #[serde(default, skip_serializing_if = "Fields::is_empty")]
    pub fields: Fields,
    /// Whether the receiver may pass it on.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub onward: bool,
}

fn yes() -> bool {
    true
}

// The signature is serde's.
fn is_yes(b: &bool) -> bool {
    *b
}

impl Entry {
    /// The digest of the text, given or left out. Nothing where the message has neither.
    pub fn digest(&self) -> Option<Digest> {
        self.text.as_deref().map(Digest::of).or(self.digest)
    }

    /// The bytes that the entry's text and fields take.
    pub fn bytes(&self) -> u64 {
        let fields = self.fields.iter().map(|(k, v)| k.len() + v.as_ref().map_or(0, String::len)).sum::<usize>();
        (self.text.as_ref().map_or(0, String::len) + fields) as u64
    }
}

/// Count and wrapping sum of the hashed origins that receipts between two sites cover: equal at both while neither has
/// lost anything. Origins and not texts: an entry edited later is no divergence (DESIGN §12).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Belief {
    /// The number of origins.
    pub count: u64,
    /// The wrapping 64-bit sum of their hashes, in hexadecimal: a number of JSON ends at 53 bits.
    #[serde(with = "hex")]
    pub sum: u64,
}

impl Belief {
    /// The belief that `set` is held. The set is this site's own: it is gone through one by one.
    pub fn of(set: &OriginSet) -> Self {
        let mut sum = 0_u64;
        for (site, ids) in set.by_site() {
            for id in ids.iter() {
                sum = sum.wrapping_add(Digest::of(&format!("{site}/{id}")).short());
            }
        }
        Self { count: set.len(), sum }
    }
}

mod hex {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(n: &u64, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&format!("{n:016x}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<u64, D::Error> {
        let text = String::deserialize(d)?;
        u64::from_str_radix(&text, 16).map_err(|_| D::Error::custom("sum: 16 hexadecimal digits"))
    }
}

/// The answer to a push: a receipt for each delivery, in the same order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Receipts {
    /// In the order of the deliveries.
    pub receipts: Vec<Receipt>,
}

/// What the receiver of a delivery holds, wants and refused. It tells a state, not what one call did: a repeated
/// delivery has the same receipt. The default one says nothing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    /// What the receiver calls the problem.
    pub names: BTreeMap<SiteName, ProblemId>,
    /// The entries of the delivery that are here.
    pub holds: OriginSet,
    /// The entries whose bodies are to be sent.
    #[serde(default, skip_serializing_if = "OriginSet::is_empty")]
    pub wanted: OriginSet,
    /// The entries that cannot be taken, each with the reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<Refused>,
    /// Where the belief was not met: every entry here that the sender gave or may see.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub knows: Option<OriginSet>,
}

/// An entry that the receiver did not take. On the wire the refusal's parts stand beside the origin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "Flat", into = "Flat")]
pub struct Refused {
    /// Which.
    pub origin: Origin,
    /// Why.
    pub refusal: Refusal,
}

/// A [`Refused`] as it is written. Not `flatten`, which keeps whatever else stands there in memory, at many times its size.
#[derive(Serialize, Deserialize)]
struct Flat {
    origin: Origin,
    code: Code,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    limit: Option<u64>,
}

impl From<Flat> for Refused {
    fn from(flat: Flat) -> Self {
        Self { origin: flat.origin, refusal: Refusal { code: flat.code, limit: flat.limit } }
    }
}

impl From<Refused> for Flat {
    fn from(refused: Refused) -> Self {
        Self { origin: refused.origin, code: refused.refusal.code, limit: refused.refusal.limit }
    }
}

/// Why an entry was not taken: a closed code and a number, never a value of the receiver's database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The reason.
    pub code: Code,
    /// What would have been allowed, where the reason is one of size: characters for `text_too_long`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
}

impl Refusal {
    /// A refusal without a limit.
    pub fn of(code: Code) -> Self {
        Self { code, limit: None }
    }
}

/// The reasons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// Longer than the receiver's column or limit.
    TextTooLong,
    /// A column here must not be null and got no value.
    NullInColumn,
    /// A constraint of the receiving table.
    Constraint,
    /// A trigger of the receiving table.
    Trigger,
    /// A value that the column's type cannot hold exactly.
    Value,
    /// The receiver has no such problem, or none that the sender may see.
    UnknownProblem,
    /// The sender may not speak for that origin.
    NotAllowed,
    /// The text is a complete marker.
    MarkerText,
    /// The problem is suspended at the receiver.
    Suspended,
    /// The receiver knows no problem of its own for this one, and creates none.
    Unpaired,
    /// The receiver's problem of that name does not know of this one: its number may have been given to another.
    LinkLost,
    /// The receiver's problem, or the sender's, is linked with another one.
    Conflict,
    /// The sender gives as its own what the receiver gave it: its markers are gone.
    Echo,
    /// A reason that this version does not know.
    #[serde(other)]
    Other,
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Code::TextTooLong => "text too long",
            Code::NullInColumn => "null in a column",
            Code::Constraint => "constraint",
            Code::Trigger => "trigger",
            Code::Value => "value does not fit",
            Code::UnknownProblem => "unknown problem",
            Code::NotAllowed => "not allowed",
            Code::MarkerText => "marker text",
            Code::Suspended => "suspended at the peer",
            Code::Unpaired => "unpaired",
            Code::LinkLost => "link lost",
            Code::Conflict => "conflict",
            Code::Echo => "echo",
            Code::Other => "other",
        })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.limit {
            None => write!(f, "{}", self.code),
            Some(limit) => write!(f, "{} (limit {limit})", self.code),
        }
    }
}

/// A site without an open port asks for what is owed to it, and brings the receipts for the last answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pull {
    /// [`WIRE`].
    pub wire: u32,
    /// The site that asks.
    pub from: SiteName,
    /// The site that is asked.
    pub to: SiteName,
    /// The history's name.
    pub history: String,
    /// The `batch` of the answer that the receipts are for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<Digest>,
    /// One for each delivery of that answer, in the same order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub receipts: Vec<Receipt>,
    /// How long the answer may wait for something to send, in seconds.
    #[serde(default)]
    pub wait_seconds: u32,
}

/// The answer to a pull.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Deliveries {
    /// The digest of the deliveries: receipts name it, so that none is taken for another answer's.
    pub batch: Digest,
    /// One for each problem.
    pub deliveries: Vec<Delivery>,
}

impl Deliveries {
    /// The answer of `deliveries`.
    pub fn new(deliveries: Vec<Delivery>) -> Self {
        Self { batch: Digest::of_bytes(&to_bytes(&deliveries)), deliveries }
    }
}

/// Why bytes were not taken as a message.
#[derive(Debug, Error)]
pub enum MessageError {
    /// No JSON, or not of this shape.
    #[error("the message is not of the expected form: {0}")]
    Form(#[from] serde_json::Error),
    /// Another version of the protocol.
    #[error("the message is of wire version {0}; this bridge speaks {WIRE}")]
    Wire(u32),
    /// The same origin twice in a delivery.
    #[error("the delivery names {0} twice")]
    Twice(Origin),
    /// An entry with neither text nor digest.
    #[error("the entry {0} has neither text nor digest")]
    Empty(Origin),
    /// More of something than is taken.
    #[error(transparent)]
    Excess(#[from] Excess),
}

/// The bytes of a message.
pub fn to_bytes<T: Serialize + ?Sized>(message: &T) -> Vec<u8> {
    // Maps here have names as keys and nothing here fails to serialize, so there is no error to hand on.
    serde_json::to_vec(message).unwrap_or_default()
}

/// A message of bytes that came from outside, within the default bounds.
pub fn from_bytes<T: DeserializeOwned + Checked>(bytes: &[u8]) -> Result<T, MessageError> {
    from_bytes_within(bytes, Bounds::default())
}

/// A message of bytes that came from outside.
pub fn from_bytes_within<T: DeserializeOwned + Checked>(bytes: &[u8], bounds: Bounds) -> Result<T, MessageError> {
    bounds::weigh(bytes, bounds)?;
    let message: T = serde_json::from_slice(bytes)?;
    message.check(bounds)?;
    Ok(message)
}

/// What the form alone does not say of a message.
pub trait Checked {
    /// Whether the parts agree, and are no more than `bounds` say.
    fn check(&self, bounds: Bounds) -> Result<(), MessageError>;
}

impl Checked for Push {
    fn check(&self, bounds: Bounds) -> Result<(), MessageError> {
        check_wire(self.wire)?;
        check_deliveries(&self.deliveries, bounds)
    }
}

impl Checked for Pull {
    fn check(&self, bounds: Bounds) -> Result<(), MessageError> {
        check_wire(self.wire)?;
        Ok(bounds::receipts(&self.receipts, bounds)?)
    }
}

impl Checked for Receipts {
    fn check(&self, bounds: Bounds) -> Result<(), MessageError> {
        Ok(bounds::receipts(&self.receipts, bounds)?)
    }
}

impl Checked for Deliveries {
    fn check(&self, bounds: Bounds) -> Result<(), MessageError> {
        check_deliveries(&self.deliveries, bounds)
    }
}

impl Checked for Verify {
    fn check(&self, _: Bounds) -> Result<(), MessageError> {
        check_wire(self.wire)
    }
}

impl Checked for Compare {
    fn check(&self, bounds: Bounds) -> Result<(), MessageError> {
        check_wire(self.wire)?;
        Ok(bounds::problems(self.problems.len(), bounds)?)
    }
}

impl Checked for Lost {
    fn check(&self, bounds: Bounds) -> Result<(), MessageError> {
        check_wire(self.wire)?;
        Ok(bounds::problems(self.problems.len(), bounds)?)
    }
}

/// Answers whose form alone says everything.
macro_rules! of_form {
    ($($answer:ty),*) => {$(
        impl Checked for $answer {
            fn check(&self, _: Bounds) -> Result<(), MessageError> {
                Ok(())
            }
        }
    )*};
}
of_form!(Beliefs, Compared, LossRecorded);

fn check_wire(wire: u32) -> Result<(), MessageError> {
    if wire == WIRE { Ok(()) } else { Err(MessageError::Wire(wire)) }
}

fn check_deliveries(deliveries: &[Delivery], bounds: Bounds) -> Result<(), MessageError> {
    bounds::deliveries(deliveries, bounds)?;
    for delivery in deliveries {
        let mut seen = HashSet::new();
        for entry in &delivery.entries {
            if !seen.insert(&entry.origin) {
                return Err(MessageError::Twice(entry.origin.clone()));
            }
            if entry.text.is_none() && entry.digest.is_none() {
                return Err(MessageError::Empty(entry.origin.clone()));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUSH: &str = r#"{"wire":1,"from":"1","to":"N","history":"work_history","later":true,"deliveries":[
        {"names":{"1":"ABC"},"belief":{"count":2,"sum":"00000000000000ff"},"entries":[
            {"origin":"1/4","text":"reopen"},
            {"origin":"C/2","digest":"000102030405060708090a0b0c0d0e0f","onward":false}]}]}"#;

    #[test]
    fn a_push_is_read_and_unknown_fields_are_passed_over() {
        let push: Push = from_bytes(PUSH.as_bytes()).unwrap();
        assert_eq!(push.deliveries[0].belief, Belief { count: 2, sum: 255 });
        assert!(push.deliveries[0].entries[0].onward && !push.deliveries[0].entries[1].onward);
        let again: Push = from_bytes(&to_bytes(&push)).unwrap();
        assert_eq!(again, push);
    }

    #[test]
    fn what_contradicts_itself_is_refused_with_a_sentence() {
        let refused =
            |from: &str, to: &str| from_bytes::<Push>(PUSH.replace(from, to).as_bytes()).unwrap_err().to_string();
        assert_eq!(refused("\"wire\":1", "\"wire\":7"), "the message is of wire version 7; this bridge speaks 1");
        assert_eq!(refused("C/2", "1/4"), "the delivery names 1/4 twice");
        assert_eq!(refused("\"text\":\"reopen\"", "\"a\":1"), "the entry 1/4 has neither text nor digest");
        assert!(refused("1/4", "1/0").contains("no work id"));
        assert!(refused("\"from\":\"1\"", "\"from\":\"\"").contains("no site name"));
    }

    #[test]
    fn a_code_of_a_later_version_is_read_as_other() {
        let receipt: Receipt = serde_json::from_str(
            r#"{"names":{},"holds":{"1":"1-3"},"refused":[{"origin":"1/4","code":"moon_phase","limit":3}]}"#,
        )
        .unwrap();
        assert_eq!(receipt.refused[0].refusal, Refusal { code: Code::Other, limit: Some(3) });
    }

    #[test]
    fn the_belief_does_not_depend_on_the_order_and_tells_sets_apart() {
        let set = |origins: &[&str]| {
            let mut set = OriginSet::new();
            origins.iter().for_each(|o| set.insert(&o.parse().unwrap()));
            Belief::of(&set)
        };
        assert_eq!(set(&["1/1", "N/2"]), set(&["N/2", "1/1"]));
        assert_ne!(set(&["1/1"]), set(&["1/2"]));
        assert_eq!(set(&[]), Belief::default());
    }
}
