//! The adapter on real files. What every store must do is in `flow::conformance`; here is what only SQLite does.

mod appending;
mod inspecting;
mod keeping;
mod locking;
mod mapping_by_statements;
mod reading;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use landbridge_core::{ProblemId, SiteName, WorkId};
use landbridge_flow::StoreError;
use landbridge_flow::ports::{Append, Kind, Mode, ProblemRows, Store, Swept};
use rusqlite::Connection;

use super::{SqliteOptions, SqliteStore};
use crate::mapping::{Mapping, Numbering, ProblemTable, Source, Table, TableName};

/// A directory of its own, taken away at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("landbridge-sqlite-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _left_behind = std::fs::remove_dir_all(&self.0);
    }
}

/// A database with a help desk's table, and the application's connection to it.
struct Desk {
    folder: Folder,
    app: Connection,
}

/// The published table.
const HISTORY: &str = "create table WORK_HISTORY (
    PROBLEM_ID varchar(20) not null, WORK_ID integer not null, WORK_HISTORY text,
    KIND text default 'work', SEVERITY integer, SECRET text default 'untouched', OPERATOR text,
    primary key (PROBLEM_ID, WORK_ID))";

/// The same with numbers from SQLite.
const GENERATED: &str = "create table WORK_HISTORY (
    WORK_ID integer primary key autoincrement, PROBLEM_ID varchar(20) not null, WORK_HISTORY text,
    KIND text default 'work', SEVERITY integer, SECRET text default 'untouched', OPERATOR text);
    create index BY_PROBLEM on WORK_HISTORY (PROBLEM_ID)";

impl Desk {
    fn with(schema: &str) -> Self {
        let folder = Folder::new();
        let app = Connection::open(folder.0.join("desk.db")).unwrap();
        app.execute_batch("pragma journal_mode = wal").unwrap();
        app.execute_batch(schema).unwrap();
        Self { folder, app }
    }

    fn path(&self) -> PathBuf {
        self.folder.0.join("desk.db")
    }

    fn run(&self, sql: &str) {
        self.app.execute_batch(sql).unwrap();
    }

    fn ask(&self, sql: &str) -> String {
        self.app.query_row(sql, [], |r| r.get::<_, rusqlite::types::Value>(0)).map(|v| format!("{v:?}")).unwrap()
    }

    fn store(&self, mapping: Mapping) -> SqliteStore {
        open(&self.path(), mapping).unwrap()
    }
}

fn open(path: &Path, mapping: Mapping) -> Result<SqliteStore, StoreError> {
    SqliteStore::open(path, mapping, SqliteOptions { busy: Duration::from_millis(100) })
}

fn mapping() -> Mapping {
    Mapping {
        source: Source::Table(Table {
            name: TableName::plain("WORK_HISTORY"),
            numbering: Numbering::PerProblem,
            insert: BTreeMap::new(),
            marker: BTreeMap::new(),
        }),
        problem: "PROBLEM_ID".into(),
        work: "WORK_ID".into(),
        text: "WORK_HISTORY".into(),
        within: None,
        share: None,
        fields: BTreeMap::new(),
        also: vec![],
        markers: None,
        compact: true,
        problems: None,
        peers: BTreeMap::new(),
        phrases: vec!["copy in system".into()],
    }
}

fn generated() -> Mapping {
    with(mapping(), |table| table.numbering = Numbering::Generated)
}

/// `mapping` with its table changed.
fn with(mut mapping: Mapping, change: impl FnOnce(&mut Table)) -> Mapping {
    if let Source::Table(table) = &mut mapping.source {
        change(table);
    }
    mapping
}

fn problem_table(name: &str, id: &str, share: Option<&str>) -> ProblemTable {
    ProblemTable {
        name: TableName::plain(name),
        id: id.into(),
        share: share.map(str::to_owned),
        fields: BTreeMap::new(),
        link: None,
        create: None,
    }
}

fn map<const N: usize>(of: [(&str, &str); N]) -> BTreeMap<String, String> {
    of.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
}

fn p(id: &str) -> ProblemId {
    id.parse().unwrap()
}

fn site(name: &str) -> SiteName {
    name.parse().unwrap()
}

fn w(n: i64) -> WorkId {
    WorkId::new(n).unwrap()
}

fn entry(problem: &str, text: &str) -> Append {
    Append { problem: p(problem), kind: Kind::Entry, text: text.into(), fields: BTreeMap::new(), site: site("N") }
}

async fn read(store: &SqliteStore, problem: &str, peer: Option<&str>) -> ProblemRows {
    let mut txn = store.begin(Mode::Read).await.unwrap();
    let peer = peer.map(site);
    txn.rows(&[p(problem)], peer.as_ref()).await.unwrap().remove(0)
}

fn works(rows: &ProblemRows) -> Vec<i64> {
    rows.rows.iter().map(|r| r.work.get()).collect()
}

fn open_works(rows: &ProblemRows) -> Vec<i64> {
    rows.rows.iter().filter(|r| r.open).map(|r| r.work.get()).collect()
}

/// Appends in a transaction of its own and commits.
async fn append(store: &SqliteStore, rows: &[Append]) -> Result<Vec<i64>, StoreError> {
    let mut txn = store.begin(Mode::Write).await?;
    let works = txn.append(rows).await?;
    txn.commit().await?;
    Ok(works.into_iter().map(WorkId::get).collect())
}

async fn sweep_all(store: &SqliteStore, limit: usize) -> Vec<Swept> {
    let (mut all, mut after) = (Vec::<Swept>::new(), None);
    loop {
        let page = store.sweep(after.as_ref(), limit).await.unwrap();
        assert!(page.len() <= limit);
        let Some(last) = page.last() else { return all };
        after = Some(last.problem.clone());
        all.extend(page);
    }
}
