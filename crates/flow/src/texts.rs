//! Digests of the texts of many rows, read so that no more of the texts than a batch has are in memory at once.

use landbridge_core::{Digest, ProblemId, WorkId};

use crate::error::StoreError;
use crate::ports::Txn;

/// The digests of the texts of these rows, of which each comes with its length. A peer may name any row that it may see, by
/// a digest of a few bytes: no more of their texts than a batch has are in memory at once.
pub(crate) async fn digests(
    txn: &mut dyn Txn,
    asked: &[((ProblemId, WorkId), u64)],
    bytes_max: u64,
) -> Result<Vec<Option<Digest>>, StoreError> {
    let mut digests = Vec::with_capacity(asked.len());
    let (mut some, mut bytes) = (Vec::new(), 0_u64);
    for (at, (row, length)) in asked.iter().enumerate() {
        some.push(row.clone());
        bytes = bytes.saturating_add(*length);
        let next = asked.get(at + 1).map_or(u64::MAX, |(_, length)| *length);
        if bytes.saturating_add(next) > bytes_max {
            let bodies = txn.bodies(&some).await?.into_iter();
            digests.extend(bodies.map(|body| body?.text.as_deref().map(Digest::of)));
            (some, bytes) = (Vec::new(), 0);
        }
    }
    Ok(digests)
}
