//! The stores that need no server, with the application beside each: for every test binary that plays the suite or the
//! worked example on them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use landbridge_core::message::{Code, Refusal};
use landbridge_core::{ProblemId, WorkId};
use landbridge_flow::conformance::Harness;
use landbridge_flow::ports::Store;
use landbridge_stores::mapping::{AppendKind, Statements};
use landbridge_stores::memory::{Linked, MemoryOptions, MemoryRow, MemoryStore};
use landbridge_stores::sqlite::{SqliteOptions, SqliteStore};
use landbridge_stores::{Mapping, Numbering, ProblemTable, Source, Table, TableName};
use rusqlite::{Connection, params};

/// A table in memory.
pub struct InMemory(MemoryStore);

impl InMemory {
    /// Empty.
    pub fn new(numbering: Numbering) -> Self {
        let options = MemoryOptions {
            check: Some(Arc::new(|row| row.text.contains("POISON").then(|| Refusal::of(Code::Constraint)))),
            ..numbering.into()
        };
        Self(MemoryStore::new(options))
    }
}

#[async_trait]
impl Harness for InMemory {
    fn store(&self) -> Arc<dyn Store> {
        Arc::new(self.0.clone())
    }

    async fn write(&self, problem: &ProblemId, text: &str, public: bool) -> WorkId {
        self.0.write(problem, MemoryRow { text: text.into(), fields: Default::default(), public, level: 0 })
    }

    async fn publish(&self, problem: &ProblemId, work: WorkId) {
        self.0.edit(problem, work, |row| row.public = true);
    }

    async fn delete(&self, problem: &ProblemId, work: WorkId) {
        self.0.delete(problem, work);
    }

    async fn table(&self, problem: &ProblemId) -> Vec<(WorkId, String)> {
        self.0.committed(problem).into_iter().map(|(work, row)| (work, row.text)).collect()
    }

    async fn linked(&self) -> Result<Arc<dyn Store>, String> {
        let whole_number = |fields: &mut landbridge_core::Fields| {
            for value in fields.values_mut().flatten() {
                *value = value.parse::<i64>().map_or_else(|_| value.clone(), |n| n.to_string());
            }
        };
        Ok(Arc::new(MemoryStore::new(MemoryOptions {
            linked: Some(Linked { prefix: "T-".into(), create: true }),
            fields_kept: ["rating".to_owned()].into(),
            keep: Some(Arc::new(whole_number)),
            ..Numbering::PerProblem.into()
        })))
    }
}

/// A table in a SQLite database of its own.
pub struct OnDisk {
    folder: PathBuf,
    store: Arc<SqliteStore>,
    numbering: Numbering,
}

impl OnDisk {
    /// Empty.
    pub fn new(numbering: Numbering) -> Self {
        Self::with(numbering, mapping(numbering))
    }

    /// Read by a query and appended to by statements.
    pub fn by_statements(_: Numbering) -> Self {
        let statements = Statements {
            read: "select NO as number, TICKET as ticket, BODY as body, PUBLIC = 1 as share from NOTE".into(),
            append: vec![
                "insert into NOTE (TICKET, BODY, PUBLIC) values (:problem, :text, 0)".into(),
                "update NOTE set PUBLIC = (:kind = 'entry') where NO = :work".into(),
            ],
            work_from: "last_insert_rowid()".into(),
            append_kind: AppendKind { entry: "entry".into(), marker: "marker".into() },
            text_encoding: None,
            remove: vec!["delete from NOTE where TICKET = :problem and NO = :work and BODY = :text".into()],
        };
        let mapping = Mapping {
            source: Source::Statements(statements),
            problem: "ticket".into(),
            work: "number".into(),
            text: "body".into(),
            share: None,
            ..mapping(Numbering::Generated)
        };
        Self::with(Numbering::Generated, mapping)
    }

    /// With the markers in a table of their own.
    pub fn apart(_: Numbering) -> Self {
        let markers = Some(TableName::plain("MARKER"));
        Self::with(Numbering::Generated, Mapping { markers, ..mapping(Numbering::Generated) })
    }

    fn with(numbering: Numbering, mapping: Mapping) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("landbridge-conformance-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("desk.db");
        let key = match numbering {
            Numbering::PerProblem => "NO integer not null, primary key (TICKET, NO)",
            Numbering::Generated => "NO integer primary key autoincrement",
        };
        let columns = "TICKET text not null, BODY text not null check (BODY not like '%POISON%'), PUBLIC int not null";
        let create = if numbering == Numbering::PerProblem {
            format!("create table NOTE ({columns}, {key})")
        } else {
            format!("create table NOTE ({key}, {columns})")
        };
        let markers = "create table MARKER (problem text not null, number integer primary key, text text not null)";
        let create = format!("{create}; {markers}");
        Connection::open(&file).unwrap().execute_batch(&format!("pragma journal_mode = wal; {create}")).unwrap();
        let store = SqliteStore::open(&file, mapping, SqliteOptions::default()).unwrap();
        Self { folder, store: Arc::new(store), numbering }
    }

    fn application(&self) -> Connection {
        let connection = Connection::open(file(&self.folder)).unwrap();
        connection.busy_timeout(std::time::Duration::from_secs(30)).unwrap();
        connection
    }
}

fn file(folder: &Path) -> PathBuf {
    folder.join("desk.db")
}

fn mapping(numbering: Numbering) -> Mapping {
    Mapping {
        source: Source::Table(Table {
            name: TableName::plain("NOTE"),
            numbering,
            insert: [("PUBLIC".into(), "1".into())].into(),
            marker: [("PUBLIC".into(), "0".into())].into(),
        }),
        problem: "TICKET".into(),
        work: "NO".into(),
        text: "BODY".into(),
        within: None,
        share: Some("PUBLIC = 1".into()),
        fields: Default::default(),
        also: vec![],
        markers: None,
        compact: true,
        problems: None,
        peers: [("N".parse().unwrap(), None), ("1".parse().unwrap(), None)].into(),
        phrases: vec!["copy in system".into()],
    }
}

impl Drop for OnDisk {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[async_trait]
impl Harness for OnDisk {
    fn store(&self) -> Arc<dyn Store> {
        self.store.clone()
    }

    async fn write(&self, problem: &ProblemId, text: &str, public: bool) -> WorkId {
        let next = match self.numbering {
            Numbering::PerProblem => "(select coalesce(max(NO), 0) + 1 from NOTE where TICKET = ?1)",
            Numbering::Generated => "null",
        };
        let insert = format!("insert into NOTE (TICKET, NO, BODY, PUBLIC) values (?1, {next}, ?2, ?3) returning NO");
        let work = self.application().query_row(&insert, params![problem.as_str(), text, public], |row| row.get(0));
        WorkId::new(work.unwrap()).unwrap()
    }

    async fn publish(&self, problem: &ProblemId, work: WorkId) {
        let update = "update NOTE set PUBLIC = 1 where TICKET = ?1 and NO = ?2";
        self.application().execute(update, params![problem.as_str(), work.get()]).unwrap();
    }

    async fn delete(&self, problem: &ProblemId, work: WorkId) {
        let delete = "delete from NOTE where TICKET = ?1 and NO = ?2";
        self.application().execute(delete, params![problem.as_str(), work.get()]).unwrap();
    }

    async fn table(&self, problem: &ProblemId) -> Vec<(WorkId, String)> {
        let connection = self.application();
        let mut select = connection.prepare("select NO, BODY from NOTE where TICKET = ?1 order by NO").unwrap();
        let row = |row: &rusqlite::Row<'_>| Ok((WorkId::new(row.get(0)?).unwrap(), row.get(1)?));
        select.query_map([problem.as_str()], row).unwrap().map(Result::unwrap).collect()
    }

    async fn linked(&self) -> Result<Arc<dyn Store>, String> {
        self.application()
            .execute_batch(
                "create table TICKET (ID integer primary key, REF text unique, TITLE text, STATE text not null);
                 create table REPLY (TICKET integer not null references TICKET (ID), NO integer not null, BODY text,
                     RATING integer, primary key (TICKET, NO))",
            )
            .unwrap();
        let numbering = Numbering::PerProblem;
        let table = Table { name: TableName::plain("REPLY"), numbering, insert: [].into(), marker: [].into() };
        let linked = Mapping {
            source: Source::Table(table),
            share: None,
            fields: [("rating".into(), "RATING".into())].into(),
            problems: Some(ProblemTable {
                name: TableName::plain("TICKET"),
                id: "ID".into(),
                share: None,
                fields: [("title".into(), "TITLE".into())].into(),
                link: Some("REF".into()),
                create: Some([("STATE".into(), "'new from ' || :site".into())].into()),
            }),
            ..mapping(numbering)
        };
        Ok(Arc::new(SqliteStore::open(&file(&self.folder), linked, SqliteOptions::default()).unwrap()))
    }
}
