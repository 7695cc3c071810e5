//! An entry's parts: the digest of its text, its shared fields, and the row that carries it here.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::id::WorkId;

/// Further shared columns of an entry or a problem: the name on the wire, and the value as text or null.
pub type Fields = BTreeMap<String, Option<String>>;

/// 128 bits of BLAKE3 over a text: enough to tell whether two sites hold the same one without sending it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(u128);

/// Not a digest.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("a digest has 32 hexadecimal digits")]
pub struct DigestError;

impl Digest {
    /// The digest of `text`.
    pub fn of(text: &str) -> Self {
        Self::of_bytes(text.as_bytes())
    }

    /// The digest of `bytes`.
    pub fn of_bytes(bytes: &[u8]) -> Self {
        let mut first = [0; 16];
        blake3::Hasher::new().update(bytes).finalize_xof().fill(&mut first);
        Self(u128::from_be_bytes(first))
    }

    /// The first 64 bits.
    pub fn short(self) -> u64 {
        (self.0 >> 64) as u64
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(s: &str) -> Result<Self, DigestError> {
        let plain = s.len() == 32 && s.bytes().all(|b| b.is_ascii_hexdigit());
        let bits = if plain { u128::from_str_radix(s, 16).ok() } else { None };
        bits.map(Self).ok_or(DigestError)
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestError;

    fn try_from(s: String) -> Result<Self, DigestError> {
        s.parse()
    }
}

impl From<Digest> for String {
    fn from(d: Digest) -> String {
        d.to_string()
    }
}

/// What a store tells of one row of a problem without reading its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The row's number.
    pub work: WorkId,
    /// The text, where it begins with one of the marker phrases: a marker, perhaps.
    pub marker: Option<String>,
    /// Whether every condition lets the row out to the peer in question (DESIGN §4).
    pub open: bool,
    /// The length of the text in bytes.
    pub bytes: u64,
}
