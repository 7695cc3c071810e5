//! What a peer does that a bridge in order never does, or does more often than this site allows. Such a thing is refused
//! where it happens; here is only what it is called, so that it can be logged, counted and shown to a person.

use std::fmt;
use std::str::FromStr;

/// What somebody did against the protocol or against the limits of this site.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Violation {
    /// More requests in a minute than allowed.
    Requests,
    /// More requests, or bytes of them, at the same time than allowed.
    AtOnce,
    /// More bytes in a minute than allowed.
    Bytes,
    /// More entries in a minute than allowed.
    Entries,
    /// A body larger than allowed, before or after decompression, or of more parts.
    Size,
    /// A body that did not arrive in time, or broke off.
    Time,
    /// A body that is no message.
    Form,
    /// A message in another site's name, or for another site or history.
    Name,
    /// Entries of a site for which the peer may not speak.
    Origin,
    /// Receipts that are not for what was delivered.
    Receipt,
    /// An answer that is none of this protocol.
    Answer,
    /// A request of somebody who is no peer.
    Stranger,
}

impl Violation {
    /// All of them.
    pub const ALL: [Violation; 12] = [
        Violation::Requests,
        Violation::AtOnce,
        Violation::Bytes,
        Violation::Entries,
        Violation::Size,
        Violation::Time,
        Violation::Form,
        Violation::Name,
        Violation::Origin,
        Violation::Receipt,
        Violation::Answer,
        Violation::Stranger,
    ];

    /// The word for it in files and in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Violation::Requests => "requests",
            Violation::AtOnce => "at_once",
            Violation::Bytes => "bytes",
            Violation::Entries => "entries",
            Violation::Size => "size",
            Violation::Time => "time",
            Violation::Form => "form",
            Violation::Name => "name",
            Violation::Origin => "origin",
            Violation::Receipt => "receipt",
            Violation::Answer => "answer",
            Violation::Stranger => "stranger",
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Violation::Requests => "more requests than [limits] requests_per_minute_max",
            Violation::AtOnce => "more at once than [limits] requests_at_once_max or bytes_at_once_max",
            Violation::Bytes => "more bytes than [limits] bytes_per_minute_max",
            Violation::Entries => "more entries than [limits] entries_per_minute_max",
            Violation::Size => "a message that is too large",
            Violation::Time => "a message that did not arrive in time, or not whole",
            Violation::Form => "what is no message",
            Violation::Name => "a message in another site's name, or for another site or history",
            Violation::Origin => "entries of a site for which it may not speak",
            Violation::Receipt => "receipts that are not for what was delivered",
            Violation::Answer => "an answer that is none of this protocol",
            Violation::Stranger => "no peer of this site, or a wrong token",
        })
    }
}

/// No word for a violation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no word for a violation")]
pub struct NoViolation;

impl FromStr for Violation {
    type Err = NoViolation;

    fn from_str(word: &str) -> Result<Self, NoViolation> {
        Self::ALL.into_iter().find(|violation| violation.word() == word).ok_or(NoViolation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_violation_is_found_again_by_its_own_word() {
        for violation in Violation::ALL {
            assert_eq!(violation.word().parse(), Ok(violation));
        }
        assert_eq!("moon_phase".parse::<Violation>(), Err(NoViolation));
    }
}
