//! Deleting markers: exactly those that were read, with the commit, and no number of theirs again.

use landbridge_core::{ProblemId, WorkId};

use super::{Found, Harness, entry, problem, write_txn};
use crate::ports::{Append, Kind, Mode, Removal, Txn};

const TEXTS: [&str; 4] = [
    "copy in system N: 1; seal 0000000001",
    "copy in system N: 2; seal 0000000002",
    "copy in system N as \"ü ⚙ 'x' \\\\\": 3; seal 0000000003",
    "copy in system N: 4; seal 0000000004",
];

/// Markers in both problems, appended and committed, and an entry in the first.
async fn markers(h: &dyn Harness, problems: &[ProblemId]) -> Result<(), Found> {
    h.write(&problems[0], "by the application", true).await;
    let mut txn = write_txn(h, problems).await?;
    let mut rows = Vec::new();
    for problem in problems {
        for text in TEXTS {
            rows.push(Append { kind: Kind::Marker, ..entry(problem, text)? });
        }
    }
    txn.append(&rows).await?;
    Ok(txn.commit().await?)
}

/// The markers of a problem as they are read.
async fn read(txn: &mut dyn Txn, problem: &ProblemId) -> Result<Vec<Removal>, Found> {
    let rows = txn.rows(std::slice::from_ref(problem), None).await?.pop().unwrap_or_default().rows;
    let marker = |row: landbridge_core::entry::Row| {
        Some(Removal { problem: problem.clone(), work: row.work, text: row.marker? })
    };
    Ok(rows.into_iter().filter_map(marker).collect())
}

fn texts(rows: &[Removal]) -> Vec<&str> {
    rows.iter().map(|row| row.text.as_str()).collect()
}

pub(super) async fn exact(h: &dyn Harness) -> Result<(), Found> {
    let problems = [problem("A")?, problem("b 2")?];
    let [a, b] = &problems;
    markers(h, &problems).await?;
    let mut txn = write_txn(h, &problems).await?;
    let (of_a, of_b) = (read(txn.as_mut(), a).await?, read(txn.as_mut(), b).await?);
    ensure!(texts(&of_a) == TEXTS && texts(&of_b) == TEXTS, "{of_a:?} {of_b:?}");

    let far = WorkId::new(of_a[1].work.get() + 1000).unwrap_or(WorkId::MIN);
    let others = [
        Removal { text: "copy in system N: 2; seal 000000000".into(), ..of_a[1].clone() },
        Removal { text: TEXTS[1].to_uppercase(), ..of_a[1].clone() },
        Removal { text: format!("{} ", TEXTS[1]), ..of_a[1].clone() },
        Removal { text: TEXTS[0].into(), ..of_a[1].clone() },
        Removal { work: far, ..of_a[1].clone() },
        Removal { problem: problem("a")?, ..of_a[1].clone() },
        Removal { problem: problem("none")?, ..of_a[1].clone() },
    ];
    let removed = txn.remove(&others).await?;
    ensure!(removed == 0, "{removed} rows were deleted that are not as they were read");
    ensure!(txn.remove(&[]).await? == 0, "nothing is not nothing");

    let removed = txn.remove(&[of_a[0].clone(), of_b[2].clone(), of_a[2].clone(), others[0].clone()]).await?;
    ensure!(removed == 3, "{removed} rows were deleted instead of 3");
    ensure!(txn.remove(&of_a[..1]).await? == 0, "a row was deleted twice");
    ensure!(texts(&read(txn.as_mut(), a).await?) == [TEXTS[1], TEXTS[3]], "what is left in A");
    txn.commit().await?;
    let mut txn = h.store().begin(Mode::Read).await?;
    ensure!(texts(&read(txn.as_mut(), a).await?) == [TEXTS[1], TEXTS[3]], "what is left in A");
    ensure!(texts(&read(txn.as_mut(), b).await?) == [TEXTS[0], TEXTS[1], TEXTS[3]], "what is left in b 2");
    let history = h.table(a).await;
    ensure!(history.iter().any(|(_, text)| text == "by the application"), "the entry is gone: {history:?}");
    Ok(())
}

pub(super) async fn with_the_commit(h: &dyn Harness) -> Result<(), Found> {
    let problems = [problem("A")?];
    let [a] = &problems;
    markers(h, &problems).await?;
    let mut txn = write_txn(h, &problems).await?;
    let rows = read(txn.as_mut(), a).await?;
    ensure!(txn.remove(&rows).await? == 4, "not all were deleted");
    let mut other = h.store().begin(Mode::Read).await?;
    ensure!(read(other.as_mut(), a).await?.len() == 4, "a reader sees what is not committed");
    drop(other);
    drop(txn);

    let mut txn = write_txn(h, &problems).await?;
    ensure!(read(txn.as_mut(), a).await?.len() == 4, "a dropped transaction deleted something");
    ensure!(txn.remove(&rows[..1]).await? == 1, "the first");
    txn.savepoint().await?;
    ensure!(txn.remove(&rows[1..]).await? == 3, "the others");
    txn.rollback_to().await?;
    ensure!(texts(&read(txn.as_mut(), a).await?) == TEXTS[1..], "the savepoint did not bring them back");
    txn.commit().await?;
    let mut txn = h.store().begin(Mode::Read).await?;
    ensure!(texts(&read(txn.as_mut(), a).await?) == TEXTS[1..], "after the commit");
    Ok(())
}

pub(super) async fn numbers(h: &dyn Harness) -> Result<(), Found> {
    let problems = [problem("A")?];
    let [a] = &problems;
    markers(h, &problems).await?;
    let mut last = WorkId::MIN;
    for round in 0..3 {
        let mut txn = write_txn(h, &problems).await?;
        let rows = read(txn.as_mut(), a).await?;
        let text = format!("copy in system N: 1-4; seal 000000001{round}");
        let new = txn.append(&[Append { kind: Kind::Marker, ..entry(a, &text)? }]).await?;
        ensure!(rows.iter().all(|row| row.work < new[0]), "{new:?} is not behind {rows:?}");
        ensure!(txn.remove(&rows).await? == rows.len() as u64, "{rows:?} were not deleted");
        txn.commit().await?;
        last = new[0];
    }
    let next = h.write(a, "afterwards", true).await;
    ensure!(last.apart_number().is_some() || next > last, "{next} was given out behind {last}");
    Ok(())
}
