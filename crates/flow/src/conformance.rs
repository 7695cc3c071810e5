//! What `ports` says of a store, as a suite that every adapter passes. The memory store passes first.
//!
//! An adapter brings a [`Harness`]: a fresh table, and what an application does to it. Each case says in its name what
//! must hold.

use std::error::Error;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::poll;
use landbridge_core::message::Push;
use landbridge_core::{Keyring, ProblemId, Scribe, SiteName, WorkId};

use crate::bridge::{Bridge, PeerPolicy, Unobserved, shards};
use crate::error::{PeerError, StoreError};
use crate::exchange::deliver_once;
use crate::line::Line;
use crate::ports::{Append, Clock, Kind, Mode, Peer, Store, Txn};

/// A fresh and empty table of one store, and the application beside it. The table refuses texts with `POISON` in
/// them, rows that are not public do not leave, and the marker phrase is the default one.
#[async_trait]
pub trait Harness: Send + Sync {
    /// The store.
    fn store(&self) -> Arc<dyn Store>;

    /// The application appends a row and commits.
    async fn write(&self, problem: &ProblemId, text: &str, public: bool) -> WorkId;

    /// The application makes a row public.
    async fn publish(&self, problem: &ProblemId, work: WorkId);

    /// The application deletes a row.
    async fn delete(&self, problem: &ProblemId, work: WorkId);

    /// Every row of the problem, whatever it is, in ascending numbers.
    async fn table(&self, problem: &ProblemId) -> Vec<(WorkId, String)>;

    /// A second store, fresh and empty: a history with a shared field `rating` in a column of whole numbers, beside a
    /// table of problems with a link column, in which problems are created with a shared field `title`. Ids are given
    /// out by the table. Why not, where there is none: the cases of [`LINKED_CASES`] are then skipped.
    async fn linked(&self) -> Result<Arc<dyn Store>, String> {
        Err("the harness has no table of problems with a link column".into())
    }
}

/// What a case found wrong.
pub type Found = Box<dyn Error + Send + Sync>;

type Case = for<'a> fn(&'a dyn Harness) -> Pin<Box<dyn Future<Output = Result<(), Found>> + Send + 'a>>;

/// The cases, each to be run on a harness of its own.
pub const CASES: [(&str, Case); 14] = [
    ("appended rows have ascending numbers in the order given", |h| Box::pin(appended_in_order(h))),
    ("a dropped transaction leaves nothing and holds nothing", |h| Box::pin(dropped(h))),
    ("a read sees one snapshot from its first look to its last", |h| Box::pin(one_snapshot(h))),
    ("a write sees its own rows before they are committed", |h| Box::pin(own_rows(h))),
    ("only what begins with the phrase may be a marker", |h| Box::pin(phrases(h))),
    ("what is not public is closed and its body is read only when asked for", |h| Box::pin(closed(h))),
    ("a savepoint undoes the innermost part alone", |h| Box::pin(savepoints(h))),
    ("a refused row is told apart and the rest goes on", |h| Box::pin(refused(h))),
    ("markers are deleted where they are as they were read, and nothing else is", |h| Box::pin(removal::exact(h))),
    ("what is deleted is gone with the commit and not before", |h| Box::pin(removal::with_the_commit(h))),
    ("the number of a deleted marker is not given out again", |h| Box::pin(removal::numbers(h))),
    ("a second writer of a shard waits for the first", |h| Box::pin(locks(h))),
    ("a sweep shows every problem once and every change", |h| Box::pin(sweeps(h))),
    ("the signal moves with every commit", |h| Box::pin(signals(h))),
];

macro_rules! ensure {
    ($holds:expr, $($what:tt)+) => {
        if !$holds {
            return Err(Found::from(format!($($what)+)));
        }
    };
}

mod linked;
mod removal;

pub use linked::{LINKED_CASES, LinkedCase, linked_case};

fn problem(id: &str) -> Result<ProblemId, Found> {
    Ok(id.parse()?)
}

fn entry(problem: &ProblemId, text: &str) -> Result<Append, Found> {
    let site = "N".parse()?;
    Ok(Append { problem: problem.clone(), kind: Kind::Entry, text: text.into(), fields: Default::default(), site })
}

async fn write_txn(h: &dyn Harness, problems: &[ProblemId]) -> Result<Box<dyn Txn>, StoreError> {
    let mut txn = h.store().begin(Mode::Write).await?;
    txn.lock(&shards(problems)).await?;
    Ok(txn)
}

async fn appended_in_order(h: &dyn Harness) -> Result<(), Found> {
    let (a, b) = (problem("A")?, problem("b 2")?);
    let first = h.write(&a, "by the application", true).await;
    let mut txn = write_txn(h, &[a.clone(), b.clone()]).await?;
    let rows = [entry(&a, "1")?, entry(&b, "2")?, entry(&a, "3")?, entry(&b, "4")?];
    let works = txn.append(&rows).await?;
    let later = txn.append(&[entry(&a, "5")?]).await?;
    txn.commit().await?;
    ensure!(works.len() == 4 && later.len() == 1, "{} and {} numbers for 4 and 1 rows", works.len(), later.len());
    ensure!(first < works[0] && works[0] < works[2] && works[2] < later[0], "{first} {works:?} {later:?} in A");
    ensure!(works[1] < works[3], "{works:?} in b 2");
    let texts: Vec<_> = h.table(&a).await.into_iter().map(|(_, text)| text).collect();
    ensure!(texts == ["by the application", "1", "3", "5"], "A holds {texts:?}");
    Ok(())
}

async fn dropped(h: &dyn Harness) -> Result<(), Found> {
    let a = problem("A")?;
    let mut txn = write_txn(h, std::slice::from_ref(&a)).await?;
    txn.append(&[entry(&a, "never committed")?]).await?;
    drop(txn);
    let mut txn = write_txn(h, std::slice::from_ref(&a)).await?;
    let rows = txn.rows(std::slice::from_ref(&a), None).await?;
    ensure!(rows.iter().all(|p| p.rows.is_empty()), "{rows:?}");
    drop(txn);
    h.write(&a, "the application is not held up", true).await;
    ensure!(h.table(&a).await.len() == 1, "the dropped row is there");
    Ok(())
}

async fn one_snapshot(h: &dyn Harness) -> Result<(), Found> {
    let a = problem("A")?;
    let work = h.write(&a, "before", true).await;
    let mut read = h.store().begin(Mode::Read).await?;
    let before = read.rows(std::slice::from_ref(&a), None).await?;
    let later = h.write(&a, "after", true).await;
    let again = read.rows(std::slice::from_ref(&a), None).await?;
    ensure!(before == again, "{before:?} became {again:?}");
    let bodies = read.bodies(&[(a.clone(), later), (a.clone(), work)]).await?;
    ensure!(bodies.len() == 2 && bodies[0].is_none(), "the later row is seen: {bodies:?}");
    ensure!(bodies[1].as_ref().and_then(|b| b.text.as_deref()) == Some("before"), "{bodies:?}");
    Ok(())
}

async fn own_rows(h: &dyn Harness) -> Result<(), Found> {
    let a = problem("A")?;
    let mut txn = write_txn(h, std::slice::from_ref(&a)).await?;
    let works = txn.append(&[entry(&a, "mine ⚙ ü 你好")?]).await?;
    let rows = txn.rows(std::slice::from_ref(&a), None).await?;
    ensure!(rows.len() == 1 && rows[0].rows.len() == 1 && rows[0].rows[0].work == works[0], "{rows:?}");
    ensure!(rows[0].rows[0].bytes == "mine ⚙ ü 你好".len() as u64, "bytes, not characters: {rows:?}");
    let bodies = txn.bodies(&[(a.clone(), works[0])]).await?;
    ensure!(bodies[0].as_ref().and_then(|b| b.text.as_deref()) == Some("mine ⚙ ü 你好"), "{bodies:?}");
    Ok(())
}

async fn phrases(h: &dyn Harness) -> Result<(), Found> {
    let a = problem("A")?;
    for text in ["copy in system N: 1", "copy in systems", "Copy in system N", " copy in system N", "x"] {
        h.write(&a, text, true).await;
    }
    let mut read = h.store().begin(Mode::Read).await?;
    let rows = read.rows(&[problem("none")?, a], None).await?;
    ensure!(rows.len() == 2 && rows[0].rows.is_empty(), "problems come in the order asked: {rows:?}");
    let markers: Vec<_> = rows[1].rows.iter().map(|row| row.marker.as_deref()).collect();
    ensure!(markers == [Some("copy in system N: 1"), None, None, None, None], "{markers:?}");
    Ok(())
}

async fn closed(h: &dyn Harness) -> Result<(), Found> {
    let a = problem("A")?;
    let secret = h.write(&a, "copy in system N: internal", false).await;
    h.write(&a, "public", true).await;
    let mut read = h.store().begin(Mode::Read).await?;
    let peer: SiteName = "N".parse()?;
    let rows = read.rows(std::slice::from_ref(&a), Some(&peer)).await?.pop().unwrap_or_default().rows;
    let open: Vec<_> = rows.iter().map(|row| row.open).collect();
    ensure!(open == [false, true], "{open:?}");
    ensure!(rows[0].marker.is_some(), "an internal marker is read all the same");
    drop(read);
    h.publish(&a, secret).await;
    let mut read = h.store().begin(Mode::Read).await?;
    let rows = read.rows(std::slice::from_ref(&a), Some(&peer)).await?.pop().unwrap_or_default().rows;
    ensure!(rows.iter().all(|row| row.open), "{rows:?}");
    Ok(())
}

async fn savepoints(h: &dyn Harness) -> Result<(), Found> {
    let a = problem("A")?;
    let mut txn = write_txn(h, std::slice::from_ref(&a)).await?;
    txn.append(&[entry(&a, "1")?]).await?;
    txn.savepoint().await?;
    txn.append(&[entry(&a, "2")?]).await?;
    txn.savepoint().await?;
    txn.append(&[entry(&a, "3")?]).await?;
    txn.rollback_to().await?;
    txn.append(&[entry(&a, "4")?]).await?;
    txn.release().await?;
    txn.savepoint().await?;
    txn.append(&[entry(&a, "5")?]).await?;
    txn.rollback_to().await?;
    txn.commit().await?;
    let texts: Vec<_> = h.table(&a).await.into_iter().map(|(_, text)| text).collect();
    ensure!(texts == ["1", "2", "4"], "{texts:?}");
    Ok(())
}

async fn refused(h: &dyn Harness) -> Result<(), Found> {
    let a = problem("A")?;
    let mut txn = write_txn(h, std::slice::from_ref(&a)).await?;
    txn.append(&[entry(&a, "before")?]).await?;
    txn.savepoint().await?;
    let failed = txn.append(&[entry(&a, "good")?, entry(&a, "POISON")?]).await;
    ensure!(matches!(failed, Err(StoreError::Row { .. })), "{failed:?}");
    txn.rollback_to().await?;
    txn.append(&[entry(&a, "after")?]).await?;
    txn.commit().await?;
    let texts: Vec<_> = h.table(&a).await.into_iter().map(|(_, text)| text).collect();
    ensure!(texts == ["before", "after"], "{texts:?}");
    Ok(())
}

async fn locks(h: &dyn Harness) -> Result<(), Found> {
    let a = problem("A")?;
    let mut first = write_txn(h, std::slice::from_ref(&a)).await?;
    let problems = [a.clone()];
    let mut second = pin!(write_txn(h, &problems));
    ensure!(poll!(second.as_mut()).is_pending(), "the second writer did not wait");
    first.append(&[entry(&a, "first")?]).await?;
    ensure!(poll!(second.as_mut()).is_pending(), "the second writer did not wait for the commit");
    first.commit().await?;
    let mut second = second.await?;
    let rows = second.rows(&problems, None).await?.pop().unwrap_or_default().rows;
    ensure!(rows.len() == 1, "the second writer does not see what the first committed: {rows:?}");
    Ok(())
}

async fn sweeps(h: &dyn Harness) -> Result<(), Found> {
    let ids = ["10", "9", "Z", "a", "ä"];
    let mut secret = WorkId::MIN;
    for id in ids {
        h.write(&problem(id)?, "public", true).await;
        secret = h.write(&problem(id)?, "internal", false).await;
    }
    let before = sweep(h).await?;
    let mut sorted = ids.map(str::to_owned);
    sorted.sort_unstable();
    let seen: Vec<_> = before.iter().map(|(p, _)| p.as_str().to_owned()).collect();
    ensure!(seen == sorted, "{seen:?} is not every problem once, in byte order");
    ensure!(before == sweep(h).await?, "the digests change although nothing did");
    h.publish(&problem("ä")?, secret).await;
    h.write(&problem("9")?, "one more", true).await;
    let after = sweep(h).await?;
    let changed: Vec<_> = before.iter().zip(&after).filter(|(b, a)| b != a).map(|(b, _)| b.0.as_str()).collect();
    ensure!(changed == ["9", "ä"], "{changed:?} changed");
    Ok(())
}

async fn sweep(h: &dyn Harness) -> Result<Vec<(ProblemId, u64)>, Found> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = h.store().sweep(after.as_ref(), 2).await?;
        ensure!(page.len() <= 2, "a page of {}", page.len());
        let Some(last) = page.last() else { return Ok(all) };
        after = Some(last.problem.clone());
        all.extend(page.into_iter().map(|swept| (swept.problem, swept.digest)));
    }
}

async fn signals(h: &dyn Harness) -> Result<(), Found> {
    let (a, store) = (problem("A")?, h.store());
    let first = store.signal().await?;
    ensure!(first == store.signal().await?, "the signal moves although nothing was committed");
    h.write(&a, "by the application", true).await;
    let second = store.signal().await?;
    ensure!(first != second, "the application's commit is not seen");
    let mut txn = write_txn(h, std::slice::from_ref(&a)).await?;
    txn.append(&[entry(&a, "by a bridge")?]).await?;
    txn.commit().await?;
    ensure!(second != store.signal().await?, "a bridge's commit is not seen");
    Ok(())
}

/// The worked example of DESIGN §10 between two stores with per-problem numbers. Both tables at the end, seals left out.
pub async fn worked_example(one: &dyn Harness, n: &dyn Harness) -> Result<[Vec<String>; 2], Found> {
    let abc = problem("ABC")?;
    let (bridge_1, bridge_n) = (Arc::new(bridge("1", "N", one)?), Arc::new(bridge("N", "1", n)?));
    let line_1 = Line::new(&bridge_1, "N".parse()?);
    let line_n = Line::new(&bridge_n, "1".parse()?);
    let (peer_1, peer_n) = (Direct(bridge_1.clone()), Direct(bridge_n.clone()));
    let steps: [(&dyn Harness, &[&str]); 4] = [
        (one, &["open ticket for analysis", "solve ticket ABC"]),
        (one, &["reopen ABC for review"]),
        (n, &["do not bother will work on ABC at N"]),
        (one, &["solved!"]),
    ];
    for (who, texts) in steps {
        for text in texts {
            who.write(&abc, text, true).await;
        }
        line_1.start_pass();
        line_n.start_pass();
        while deliver_once(&bridge_1, &line_1, &peer_n, &NoPause).await?
            || deliver_once(&bridge_n, &line_n, &peer_1, &NoPause).await?
        {}
    }
    let without_seal = |(work, text): (WorkId, String)| {
        let text = text.split_once("; seal ").map_or(text.clone(), |(body, _)| body.to_owned());
        format!("{work} {text}")
    };
    let table = |rows: Vec<_>| rows.into_iter().map(without_seal).collect();
    Ok([table(one.table(&abc).await), table(n.table(&abc).await)])
}

/// What [`worked_example`] must end with.
pub const WORKED_EXAMPLE: [[&str; 9]; 2] = [
    [
        "1 open ticket for analysis",
        "2 solve ticket ABC",
        "3 copy in system N: 1-2",
        "4 reopen ABC for review",
        "5 copy in system N: 4",
        "6 do not bother will work on ABC at N",
        "7 copy in system N: 6 from 6",
        "8 solved!",
        "9 copy in system N: 8",
    ],
    [
        "1 open ticket for analysis",
        "2 solve ticket ABC",
        "3 copy in system 1: 1-2 from 1-2",
        "4 reopen ABC for review",
        "5 copy in system 1: 4 from 4",
        "6 do not bother will work on ABC at N",
        "7 copy in system 1: 6",
        "8 solved!",
        "9 copy in system 1: 8 from 8",
    ],
];

fn bridge(site: &str, peer: &str, h: &dyn Harness) -> Result<Bridge, Found> {
    let key = Keyring::new([site.len() as u8; 32]);
    let scribe = Scribe::new(site.parse()?, "h", vec![], key, h.store().capabilities().text_chars_max);
    let peers = [(peer.parse()?, PeerPolicy::default())].into();
    Ok(Bridge::new("h", scribe, h.store(), peers, Arc::new(Unobserved)))
}

/// A peer in the same process.
struct Direct(Arc<Bridge>);

#[async_trait]
impl Peer for Direct {
    async fn push(&self, push: Push) -> Result<landbridge_core::message::Receipts, PeerError> {
        let receipts = crate::accept::accept(&self.0, &push.from, &push.deliveries).await;
        let receipts = receipts.map_err(|e| PeerError::NotNow(e.to_string()))?;
        Ok(landbridge_core::message::Receipts { receipts })
    }

    async fn pull(&self, _: landbridge_core::message::Pull) -> Result<landbridge_core::message::Deliveries, PeerError> {
        Err(PeerError::Denied("this peer is only pushed to".into()))
    }
}

struct NoPause;

#[async_trait]
impl Clock for NoPause {
    fn now(&self) -> std::time::Duration {
        std::time::Duration::ZERO
    }

    async fn sleep(&self, _: std::time::Duration) {}
}
