//! The record as the flow calls it: what is about to leave becomes lines, and these are on the disk before it does.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use landbridge_core::message::{Delivery, Entry as Sent};
use landbridge_core::{Fields, ProblemId, SiteName, WorkId};
use landbridge_flow::RecordError;
use landbridge_flow::egress::{self, Egress};

use super::chain::{
    Again, Entry, Hash256, Key, LINE_ENTRIES_MAX, LINE_TEXT_BYTES_MAX, Leaving, Left, TEXT_BYTES_MAX, Way, What,
};
use super::error::AuditError;
use super::file::RecordFile;
use crate::cache::Cache;

/// Records what leaves.
pub struct Record {
    file: Arc<RecordFile>,
    texts: bool,
    cache: Arc<Cache>,
    last: Mutex<BTreeMap<SiteName, Last>>,
}

/// What was last recorded for a peer. Where the peer does not answer, the same leaves again and again, and the record would
/// grow with every attempt.
#[derive(Debug, Clone, Copy)]
struct Last {
    lines: Hash256,
    from: u64,
    to: u64,
}

impl Record {
    /// Records into `file`, with the texts themselves where `texts`. What fails is told to `cache`.
    pub fn new(file: Arc<RecordFile>, texts: bool, cache: Arc<Cache>) -> Self {
        Self { file, texts, cache, last: Mutex::default() }
    }

    fn lines(&self, leaving: &egress::Leaving<'_>) -> Vec<What> {
        let Some(key) = self.file.keys().signing() else { return vec![] };
        let mut lines: Vec<Leaving> = Vec::new();
        for (problem, delivery, rows) in leaving.deliveries() {
            let (mut room, mut begun) = (LINE_TEXT_BYTES_MAX, false);
            for (row, sent) in rows.into_iter().zip(&delivery.entries) {
                let bytes = if self.texts { sent.bytes() } else { 0 };
                match lines.last_mut() {
                    Some(line) if begun && bytes <= room && line.entries.len() < LINE_ENTRIES_MAX => {
                        room -= bytes;
                        line.entries.push(self.entry(key, row, sent));
                    }
                    _ => {
                        let mut line = self.line(leaving, problem, delivery, !begun);
                        line.entries.push(self.entry(key, row, sent));
                        lines.push(line);
                        (room, begun) = (LINE_TEXT_BYTES_MAX.saturating_sub(bytes), true);
                    }
                }
            }
        }
        let all = u32::try_from(lines.len()).unwrap_or(u32::MAX);
        let number = |(n, mut line): (u32, Leaving)| {
            line.batch = (n, all);
            What::Leaving(Box::new(line))
        };
        (1..).zip(lines).map(number).collect()
    }

    /// A line without entries. What leaves with the delivery itself stands in the first of its lines.
    fn line(&self, leaving: &egress::Leaving<'_>, problem: &ProblemId, delivery: &Delivery, is_first: bool) -> Leaving {
        let fields = if is_first { &delivery.fields } else { &Fields::new() };
        Leaving {
            peer: leaving.peer.clone(),
            way: way(leaving),
            batch: (1, 1),
            problem: problem.clone(),
            theirs: delivery.names.get(leaving.peer).cloned(),
            names: delivery.names.clone(),
            home: delivery.home.clone(),
            problem_fields: fields.keys().cloned().collect(),
            problem_values: if self.texts && size(fields) <= TEXT_BYTES_MAX { fields.clone() } else { Fields::new() },
            entries: Vec::new(),
        }
    }

    fn entry(&self, key: &Key, row: WorkId, sent: &Sent) -> Entry {
        let copied = self.texts && sent.bytes() <= TEXT_BYTES_MAX;
        let (left, digest, bytes) = match (&sent.text, sent.digest) {
            (Some(text), _) => (Left::Text, key.digest(text), text.len() as u64),
            (None, digest) => (Left::Digest, key.digest(&digest.map_or_else(String::new, |d| d.to_string())), 0),
        };
        Entry {
            row: row.get(),
            origin: sent.origin.clone(),
            left,
            digest,
            bytes,
            fields: sent.fields.keys().cloned().collect(),
            text: sent.text.clone().filter(|_| copied),
            values: if copied { sent.fields.clone() } else { Fields::new() },
        }
    }
}

fn way(leaving: &egress::Leaving<'_>) -> Way {
    match leaving.way {
        egress::Way::Push => Way::Push,
        egress::Way::Pull => Way::Pull,
    }
}

fn fingerprint(lines: &[What]) -> Hash256 {
    // Nothing in them fails to become JSON.
    Hash256::of(&serde_json::to_vec(lines).unwrap_or_default())
}

fn size(fields: &Fields) -> u64 {
    fields.iter().map(|(name, value)| (name.len() + value.as_ref().map_or(0, String::len)) as u64).sum()
}

#[async_trait]
impl Egress for Record {
    async fn record(&self, leaving: &egress::Leaving<'_>) -> Result<(), RecordError> {
        let mut lines = self.lines(leaving);
        if lines.is_empty() {
            return Ok(());
        }
        let (same, number) = (fingerprint(&lines), lines.len() as u64);
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).get(leaving.peer).copied();
        let again = last.filter(|last| last.lines == same);
        if let Some(Last { from, to, .. }) = again {
            lines = vec![What::Again(Again { peer: leaving.peer.clone(), way: way(leaving), from, to })];
        }
        let file = self.file.clone();
        // It waits for the disk. Where the asker has gone meanwhile, it is recorded and does not leave.
        let written = tokio::task::spawn_blocking(move || file.append(lines)).await;
        let written = written.unwrap_or_else(|_| {
            let source = std::io::Error::other("the program is ending");
            Err(AuditError::Write { path: self.file.path().to_owned(), source })
        });
        if let (Ok(head), None) = (&written, again) {
            // The last lines of the write are those of the batch.
            let last = Last { lines: same, from: head.seq + 1 - number, to: head.seq };
            self.last.lock().unwrap_or_else(PoisonError::into_inner).insert(leaving.peer.clone(), last);
        }
        let error = written.as_ref().err().map(RecordError::from);
        self.cache.recorded(error.as_ref());
        error.map_or(Ok(()), Err)
    }
}
