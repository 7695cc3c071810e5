//! How large a message may be in itself: how deep, how many values, entries and names. Judged before and while it is
//! read, so that no form of words in a body takes many times the body's own size in memory. How many bytes a body may
//! have, and how often one may come, is decided where bytes arrive.

use thiserror::Error;

use crate::message::{Delivery, Receipt};

/// The deepest nesting of objects and lists. A message needs six levels; a later version may say more.
pub const DEPTH_MAX: usize = 32;
/// The most shared columns of one entry or problem.
pub const FIELDS_MAX: usize = 256;
/// The longest name of a shared column, in bytes.
pub const FIELD_NAME_BYTES_MAX: usize = 256;
/// The most sites whose names of a problem one delivery or receipt tells, and the most sites in a set of origins.
pub const SITES_MAX: usize = 1024;

/// The most that is taken in one message. What every peer must be able to take is in docs/protocol.md.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Entries of all deliveries together.
    pub entries_max: usize,
    /// Deliveries, or receipts for them.
    pub deliveries_max: usize,
}

impl Bounds {
    /// The most that a site hands out in an answer to a pull, which cannot come back as too large.
    pub const ANSWER: Bounds = Bounds { entries_max: 5000, deliveries_max: 500 };

    /// The larger of both in each respect.
    pub fn or(self, other: Bounds) -> Bounds {
        Bounds {
            entries_max: self.entries_max.max(other.entries_max),
            deliveries_max: self.deliveries_max.max(other.deliveries_max),
        }
    }

    /// How many values of JSON a message within these bounds may have: each entry with some dozen fields, and something
    /// besides.
    fn values_max(self) -> usize {
        let parts = self.entries_max.saturating_add(self.deliveries_max);
        parts.saturating_mul(48).saturating_add(10_000)
    }
}

impl Default for Bounds {
    fn default() -> Self {
        Self { entries_max: 10_000, deliveries_max: 1000 }
    }
}

/// What is too much of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Excess {
    /// Objects and lists in one another.
    #[error("the message is nested deeper than {DEPTH_MAX} levels")]
    Depth,
    /// Values of JSON.
    #[error("the message has more than {0} values")]
    Values(usize),
    /// Entries.
    #[error("the message has {0} entries, more than the {1} that are taken at once")]
    Entries(usize, usize),
    /// Deliveries or receipts.
    #[error("the message has {0} deliveries, receipts or problems, more than the {1} that are taken at once")]
    Deliveries(usize, usize),
    /// Shared columns.
    #[error("an entry or a problem has {0} shared columns, more than {FIELDS_MAX}")]
    Fields(usize),
    /// The name of a shared column.
    #[error("the name of a shared column has {0} bytes, more than {FIELD_NAME_BYTES_MAX}")]
    FieldName(usize),
    /// Sites.
    #[error("a delivery or receipt names {0} sites, more than {SITES_MAX}")]
    Sites(usize),
}

impl Excess {
    /// Whether a message with fewer entries would be taken, so that its sender should halve it.
    pub fn may_be_halved(self) -> bool {
        matches!(self, Excess::Values(_) | Excess::Entries(..) | Excess::Deliveries(..))
    }
}

/// Looks through the bytes of a message once, before anything is made of them. What is no JSON is found out later.
pub(crate) fn weigh(json: &[u8], bounds: Bounds) -> Result<(), Excess> {
    let values_max = bounds.values_max();
    let (mut depth, mut values) = (0_usize, 0_usize);
    let mut bytes = json.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => {
                while let Some(inside) = bytes.next() {
                    match inside {
                        b'"' => break,
                        b'\\' => drop(bytes.next()),
                        _ => {}
                    }
                }
            }
            b'{' | b'[' => {
                (depth, values) = (depth + 1, values + 1);
                if depth > DEPTH_MAX {
                    return Err(Excess::Depth);
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b',' => values += 1,
            _ => {}
        }
        if values > values_max {
            return Err(Excess::Values(values_max));
        }
    }
    Ok(())
}

/// Whether these deliveries are within the bounds.
pub(crate) fn deliveries(deliveries: &[Delivery], bounds: Bounds) -> Result<(), Excess> {
    count(deliveries.len(), bounds.deliveries_max, Excess::Deliveries)?;
    count(deliveries.iter().map(|d| d.entries.len()).sum(), bounds.entries_max, Excess::Entries)?;
    for delivery in deliveries {
        sites(delivery.names.len())?;
        let entries = delivery.entries.iter().map(|entry| &entry.fields);
        for fields in std::iter::once(&delivery.fields).chain(entries) {
            if fields.len() > FIELDS_MAX {
                return Err(Excess::Fields(fields.len()));
            }
            if let Some(name) = fields.keys().find(|name| name.len() > FIELD_NAME_BYTES_MAX) {
                return Err(Excess::FieldName(name.len()));
            }
        }
    }
    Ok(())
}

/// Whether these receipts are within the bounds.
pub(crate) fn receipts(receipts: &[Receipt], bounds: Bounds) -> Result<(), Excess> {
    count(receipts.len(), bounds.deliveries_max, Excess::Deliveries)?;
    count(receipts.iter().map(|r| r.refused.len()).sum(), bounds.entries_max, Excess::Entries)?;
    for receipt in receipts {
        sites(receipt.names.len())?;
        for set in [Some(&receipt.holds), Some(&receipt.wanted), receipt.knows.as_ref()].into_iter().flatten() {
            sites(set.by_site().count())?;
        }
    }
    Ok(())
}

/// Whether so many problems may be compared at once.
pub(crate) fn problems(there: usize, bounds: Bounds) -> Result<(), Excess> {
    count(there, bounds.deliveries_max, Excess::Deliveries)
}

fn sites(there: usize) -> Result<(), Excess> {
    if there > SITES_MAX { Err(Excess::Sites(there)) } else { Ok(()) }
}

fn count(there: usize, max: usize, excess: fn(usize, usize) -> Excess) -> Result<(), Excess> {
    if there > max { Err(excess(there, max)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FEW: Bounds = Bounds { entries_max: 2, deliveries_max: 1 };

    #[test]
    fn depth_is_counted_outside_of_texts() {
        let nested = |n: usize| format!("{}{}", "[{\"a\":".repeat(n), "}]".repeat(n));
        assert_eq!(weigh(nested(DEPTH_MAX / 2).as_bytes(), FEW), Ok(()));
        assert_eq!(weigh(nested(DEPTH_MAX / 2 + 1).as_bytes(), FEW), Err(Excess::Depth));
        let text = format!("{{\"text\":\"{}\\\"{}\"}}", "[".repeat(99), ",".repeat(99_999));
        assert_eq!(weigh(text.as_bytes(), FEW), Ok(()));
        assert_eq!(weigh("[".repeat(1 << 20).as_bytes(), FEW), Err(Excess::Depth));
        assert_eq!(weigh(b"\"\\", FEW), Ok(()));
    }

    #[test]
    fn many_small_values_are_too_much_before_they_are_read() {
        let many = format!("{{\"later\":[{}0]}}", "0,".repeat(FEW.values_max()));
        assert_eq!(weigh(many.as_bytes(), FEW), Err(Excess::Values(FEW.values_max())));
        assert!(Excess::Values(1).may_be_halved() && !Excess::Depth.may_be_halved());
    }
}
