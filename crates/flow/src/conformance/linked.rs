//! The part of the suite about problems that differ and about shared columns: finding and creating problems by their home
//! name, and refusing what a column would keep otherwise. Each case has a [`Harness::linked`] store of its own.

use std::future::Future;
use std::pin::{Pin, pin};

use futures_util::poll;
use landbridge_core::message::Code;
use landbridge_core::{ProblemId, ProblemName};

use super::{Found, Harness, entry, problem};
use crate::append::append_exactly;
use crate::bridge::shards;
use crate::error::StoreError;
use crate::ports::{Append, Mode, NewProblem, Shard, Store, Txn};

/// A case and the store that it is run on.
pub type LinkedCase = for<'a> fn(&'a dyn Store) -> Pin<Box<dyn Future<Output = Result<(), Found>> + Send + 'a>>;

/// The cases of problems that differ and of shared columns, each to be run on a [`Harness::linked`] of its own.
pub const LINKED_CASES: [(&str, LinkedCase); 4] = [
    ("a field that would be kept otherwise is refused and the rest goes on", |s| Box::pin(other_field(s))),
    ("a created problem is found in its transaction and after the commit", |s| Box::pin(created(s))),
    ("a created problem is gone after a drop and after a rollback", |s| Box::pin(not_created(s))),
    ("two creators of one home name create one problem", |s| Box::pin(created_once(s))),
];

/// Runs one of [`LINKED_CASES`]. Why it was skipped, where the harness has nothing to run it on.
pub async fn linked_case(h: &dyn Harness, check: LinkedCase) -> Result<Option<String>, Found> {
    match h.linked().await {
        Ok(store) => check(store.as_ref()).await.map(|()| None),
        Err(why) => Ok(Some(why)),
    }
}

fn home(name: &str) -> Result<NewProblem, Found> {
    let title = Some(format!("the title of {name}"));
    Ok(NewProblem { home: name.parse()?, fields: [("title".to_owned(), title)].into() })
}

/// Under the lock of the home name: the problem that has it, or else a new one.
async fn find_or_create(store: &dyn Store, new: &NewProblem) -> Result<(Box<dyn Txn>, ProblemId, bool), Found> {
    let mut txn = store.begin(Mode::Write).await?;
    txn.lock(&[Shard::of_name(&new.home)].into()).await?;
    let found = txn.find(std::slice::from_ref(&new.home)).await?.pop().unwrap_or_default();
    if let Some(id) = found.into_iter().next() {
        return Ok((txn, id, false));
    }
    let id = txn.create(std::slice::from_ref(new)).await?.pop().ok_or("no id came back")?;
    Ok((txn, id, true))
}

async fn other_field(store: &dyn Store) -> Result<(), Found> {
    let kept = &store.capabilities().fields_kept;
    ensure!(kept.contains("rating"), "rating is not among the fields that are kept as they come: {kept:?}");
    let (txn, id, _) = find_or_create(store, &home("1/17")?).await?;
    txn.commit().await?;
    let rated = |text: &str, rating: Option<&str>| -> Result<Append, Found> {
        let fields = [("rating".to_owned(), rating.map(str::to_owned))].into();
        Ok(Append { fields, ..entry(&id, text)? })
    };
    let mut txn = store.begin(Mode::Write).await?;
    txn.lock(&shards(std::slice::from_ref(&id))).await?;
    txn.savepoint().await?;
    let failed = append_exactly(kept, txn.as_mut(), &[rated("good", Some("5"))?, rated("bad", Some("0049"))?]).await;
    let named = matches!(&failed, Err(StoreError::Row { refusal, .. }) if refusal.code == Code::Value);
    ensure!(named, "0049 in a column of whole numbers: {failed:?}");
    txn.rollback_to().await?;
    let rest = [rated("good", Some("5"))?, rated("unrated", None)?, entry(&id, "without the field")?];
    let works = append_exactly(kept, txn.as_mut(), &rest).await?;
    txn.commit().await?;
    let mut read = store.begin(Mode::Read).await?;
    let asked: Vec<_> = works.into_iter().map(|work| (id.clone(), work)).collect();
    let bodies = read.bodies(&asked).await?;
    let ratings: Vec<_> = bodies.iter().map(|b| b.as_ref().and_then(|b| b.fields.get("rating")?.as_deref())).collect();
    ensure!(ratings.get(..2) == Some(&[Some("5"), None]), "{ratings:?}");
    Ok(())
}

async fn created(store: &dyn Store) -> Result<(), Found> {
    let (one, two) = (home("1/17")?, home("1/a b")?);
    let homes = [two.home.clone(), one.home.clone(), "1/1".parse()?, ProblemName::new("2".parse()?, problem("17")?)];
    let mut txn = store.begin(Mode::Write).await?;
    txn.lock(&homes.iter().map(Shard::of_name).collect()).await?;
    let ids = txn.create(&[one.clone(), two.clone()]).await?;
    ensure!(ids.len() == 2 && ids[0] != ids[1], "two problems have the ids {ids:?}");
    let expected = [vec![ids[1].clone()], vec![ids[0].clone()], vec![], vec![]];
    let found = txn.find(&homes).await?;
    ensure!(found == expected, "in the transaction: {found:?}");
    let works = txn.append(&[entry(&ids[0], "its first entry")?]).await?;
    let read = txn.rows(&ids, None).await?;
    ensure!(read.len() == 2 && read[0].rows.iter().map(|row| row.work).eq(works), "{read:?}");
    txn.commit().await?;
    let mut read = store.begin(Mode::Read).await?;
    let found = read.find(&homes).await?;
    ensure!(found == expected, "after the commit: {found:?}");
    let rows = read.rows(&ids, None).await?;
    for (new, rows) in [one, two].iter().zip(&rows) {
        ensure!(rows.visible && rows.home.as_ref() == Some(&new.home), "{rows:?} is not {new:?}");
        ensure!(rows.fields == new.fields, "{rows:?} is not {new:?}");
    }
    let gone = read.rows(&[problem("no such problem")?], None).await?;
    ensure!(gone.iter().all(|rows| !rows.visible && rows.home.is_none()), "{gone:?}");
    Ok(())
}

async fn not_created(store: &dyn Store) -> Result<(), Found> {
    let (dropped, undone, kept) = (home("1/1")?, home("1/2")?, home("1/3")?);
    let homes = [dropped.home.clone(), undone.home.clone(), kept.home.clone()];
    let (txn, ..) = find_or_create(store, &dropped).await?;
    drop(txn);
    let (mut txn, id, new) = find_or_create(store, &kept).await?;
    ensure!(new, "a new table has a problem");
    txn.savepoint().await?;
    txn.create(std::slice::from_ref(&undone)).await?;
    txn.rollback_to().await?;
    let expected = [vec![], vec![], vec![id]];
    let found = txn.find(&homes).await?;
    ensure!(found == expected, "in the transaction: {found:?}");
    txn.commit().await?;
    let found = store.begin(Mode::Read).await?.find(&homes).await?;
    ensure!(found == expected, "after the commit: {found:?}");
    Ok(())
}

async fn created_once(store: &dyn Store) -> Result<(), Found> {
    let new = home("1/17")?;
    let (first, id, is_new) = find_or_create(store, &new).await?;
    ensure!(is_new, "a new table has a problem");
    let mut second = pin!(find_or_create(store, &new));
    ensure!(poll!(second.as_mut()).is_pending(), "the second creator did not wait");
    first.commit().await?;
    let (_, again, is_new) = second.await?;
    ensure!(!is_new && again == id, "{id} was created again as {again}");
    Ok(())
}
