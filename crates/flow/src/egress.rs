//! The gate through which everything leaves: the only place where a batch becomes a message. Whoever keeps a record of
//! what left ([`Egress`]) is told here, before it leaves, and where that fails nothing does.
//!
//! What is kept, and where, is the record's own affair. Receipts and errors carry no text and pass elsewhere.

use async_trait::async_trait;
use landbridge_core::message::Delivery;
use landbridge_core::{ProblemId, SiteName, WorkId};
use thiserror::Error;

use crate::bridge::Bridge;
use crate::send::Outgoing;

/// How a batch leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// This site dials and delivers.
    Push,
    /// The peer dials and asks.
    Pull,
}

/// A batch that is about to leave.
#[derive(Debug)]
pub struct Leaving<'a> {
    /// For whom.
    pub peer: &'a SiteName,
    /// How.
    pub way: Way,
    /// What.
    pub outgoing: &'a Outgoing,
}

impl<'a> Leaving<'a> {
    /// Each delivery, with the problem here and the row of each entry, in the order of the entries.
    pub fn deliveries(&self) -> impl Iterator<Item = (&'a ProblemId, &'a Delivery, Vec<WorkId>)> {
        let outgoing = self.outgoing;
        let rows = outgoing.rows().map(|(problem, rows)| (problem, rows.into_iter().map(|(work, _)| work).collect()));
        rows.zip(&outgoing.deliveries).map(|((problem, rows), delivery)| (problem, delivery, rows))
    }
}

/// What was about to leave could not be recorded, and so it did not leave.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("nothing leaves: {what}")]
pub struct RecordError {
    /// What failed, and where.
    pub what: String,
    /// The next step.
    pub next: String,
}

/// The record of what leaves.
#[async_trait]
pub trait Egress: Send + Sync {
    /// Records a batch durably. It leaves after this has returned, and only if it returned without an error. Recorded
    /// does not mean arrived: the batch may be lost on its way and leave once more, which is recorded once more.
    async fn record(&self, leaving: &Leaving<'_>) -> Result<(), RecordError>;
}

/// Keeps no record.
pub struct Unrecorded;

#[async_trait]
impl Egress for Unrecorded {
    async fn record(&self, _leaving: &Leaving<'_>) -> Result<(), RecordError> {
        Ok(())
    }
}

/// The deliveries of `outgoing`, to be put into a message for `peer`, once they are recorded.
pub(crate) async fn let_go(
    bridge: &Bridge,
    peer: &SiteName,
    way: Way,
    outgoing: &Outgoing,
) -> Result<Vec<Delivery>, RecordError> {
    bridge.egress.record(&Leaving { peer, way, outgoing }).await?;
    Ok(outgoing.deliveries.clone())
}
