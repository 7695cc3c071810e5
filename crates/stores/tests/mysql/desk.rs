//! A help desk's database on a throwaway server, and the application beside the bridge: connections of its own, on which
//! a test says what it wants in SQL.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use landbridge_core::{ProblemId, SiteName, WorkId};
use landbridge_flow::conformance::Harness;
use landbridge_flow::ports::{Append, Body, Kind, Mode, ProblemRows, Store};
use landbridge_flow::{StoreError, ports};
use landbridge_stores::mysql::{MysqlOptions, MysqlStore};
use landbridge_stores::{Mapping, Numbering, ProblemTable, Source, Table, TableName};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, Params, Row, Value};

use crate::server::MariaDb;

/// A database of its own on `server`.
pub struct Desk {
    pub server: Arc<MariaDb>,
    pub database: String,
}

impl Desk {
    pub async fn with(server: &Arc<MariaDb>, schema: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let database = format!("desk_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        server.create_database(&database);
        let desk = Self { server: Arc::clone(server), database };
        desk.run(schema).await;
        desk
    }

    pub fn options(&self) -> MysqlOptions {
        MysqlOptions::parse(&self.server.url(&self.database)).unwrap()
    }

    /// As a user that has these rights and no others.
    pub async fn options_of(&self, grants: &[&str]) -> MysqlOptions {
        let user = format!("bridge_{}", self.database);
        self.run(&format!("create user `{user}` identified by 'not told'")).await;
        for grant in grants {
            self.run(&format!("grant {grant} to `{user}`")).await;
        }
        let url = self.server.url_as(&user, "wrong", &self.database);
        MysqlOptions::parse(&url).unwrap().with_password("not told".into())
    }

    pub async fn store(&self, mapping: Mapping) -> MysqlStore {
        MysqlStore::open(self.options(), mapping).await.unwrap()
    }

    /// A connection of the application.
    pub async fn app(&self) -> Conn {
        let mut conn = Conn::new(Opts::from_url(&self.server.url(&self.database)).unwrap()).await.unwrap();
        conn.query_drop("set names utf8mb4").await.unwrap();
        conn
    }

    pub async fn run(&self, sql: &str) {
        self.app().await.query_drop(sql).await.unwrap_or_else(|e| panic!("{e} in {sql}"));
    }

    /// The rows of a query, each with a space between its values.
    pub async fn ask(&self, sql: &str) -> Vec<String> {
        let rows: Vec<Row> = self.app().await.query(sql).await.unwrap_or_else(|e| panic!("{e} in {sql}"));
        let value = |v: Value| match v {
            Value::Bytes(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            other => other.as_sql(true),
        };
        rows.into_iter().map(|r| r.unwrap().into_iter().map(value).collect::<Vec<_>>().join(" ")).collect()
    }
}

/// Waits until the server's own work behind earlier statements is done, so that only what a test does moves the signal.
pub async fn at_rest(desk: &Desk) {
    let mut before = Vec::new();
    loop {
        let now = desk.ask("show global status like 'Innodb_lsn_current'").await;
        if now == before {
            return;
        }
        before = now;
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

/// The table of the conformance suite.
pub struct OnServer {
    pub desk: Desk,
    store: Arc<MysqlStore>,
    numbering: Numbering,
}

impl OnServer {
    pub async fn new(server: &Arc<MariaDb>, numbering: Numbering) -> Self {
        let key = match numbering {
            Numbering::PerProblem => "NO int not null, primary key (TICKET, NO)",
            Numbering::Generated => "NO int auto_increment primary key, key (TICKET)",
        };
        let schema = format!(
            "create table NOTE (TICKET varchar(40) collate utf8mb4_bin not null, BODY text not null check (BODY not like \
             '%POISON%'), PUBLIC int not null, {key})"
        );
        let desk = Desk::with(server, &schema).await;
        let store = Arc::new(desk.store(note(numbering)).await);
        at_rest(&desk).await;
        Self { desk, store, numbering }
    }
}

/// The mapping of that table.
pub fn note(numbering: Numbering) -> Mapping {
    Mapping {
        share: Some("PUBLIC = 1".into()),
        peers: [(site("N"), None), (site("1"), None)].into(),
        ..mapping("NOTE", "TICKET", "NO", "BODY", numbering, [("PUBLIC", "1")], [("PUBLIC", "0")])
    }
}

pub fn mapping<const I: usize, const M: usize>(
    table: &str,
    problem: &str,
    work: &str,
    text: &str,
    numbering: Numbering,
    insert: [(&str, &str); I],
    marker: [(&str, &str); M],
) -> Mapping {
    Mapping {
        source: Source::Table(Table {
            name: table.parse().unwrap_or_else(|_| TableName::plain(table)),
            numbering,
            insert: map(insert),
            marker: map(marker),
        }),
        problem: problem.into(),
        work: work.into(),
        text: text.into(),
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

pub fn map<const N: usize>(of: [(&str, &str); N]) -> BTreeMap<String, String> {
    of.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
}

pub fn p(id: &str) -> ProblemId {
    id.parse().unwrap()
}

pub fn site(name: &str) -> SiteName {
    name.parse().unwrap()
}

pub fn w(n: i64) -> WorkId {
    WorkId::new(n).unwrap()
}

pub fn entry(problem: &str, text: &str) -> Append {
    Append { problem: p(problem), kind: Kind::Entry, text: text.into(), fields: BTreeMap::new(), site: site("N") }
}

pub fn marker(problem: &str, text: &str) -> Append {
    Append { kind: Kind::Marker, ..entry(problem, text) }
}

pub fn with_fields<const N: usize>(append: Append, fields: [(&str, Option<&str>); N]) -> Append {
    let fields = fields.into_iter().map(|(k, v)| (k.to_owned(), v.map(str::to_owned))).collect();
    Append { fields, ..append }
}

pub async fn read(store: &MysqlStore, problem: &str) -> ProblemRows {
    let mut txn = store.begin(Mode::Read).await.unwrap();
    txn.rows(&[p(problem)], None).await.unwrap().remove(0)
}

pub fn works(rows: &ProblemRows) -> Vec<i64> {
    rows.rows.iter().map(|r| r.work.get()).collect()
}

pub async fn texts(store: &MysqlStore, problem: &str) -> Vec<String> {
    let mut txn = store.begin(Mode::Read).await.unwrap();
    let rows = txn.rows(&[p(problem)], None).await.unwrap().remove(0);
    let asked: Vec<_> = rows.rows.iter().map(|r| (p(problem), r.work)).collect();
    txn.bodies(&asked).await.unwrap().into_iter().map(|b| b.unwrap().text.unwrap()).collect()
}

pub async fn body(store: &MysqlStore, problem: &str, work: i64) -> Body {
    let mut txn = store.begin(Mode::Read).await.unwrap();
    txn.bodies(&[(p(problem), w(work))]).await.unwrap().remove(0).unwrap()
}

/// Appends in a transaction of its own, under the locks, and commits.
pub async fn append(store: &MysqlStore, rows: &[Append]) -> Result<Vec<i64>, StoreError> {
    let mut txn = store.begin(Mode::Write).await?;
    txn.lock(&rows.iter().map(|r| ports::Shard::of(&r.problem)).collect()).await?;
    let works = txn.append(rows).await?;
    txn.commit().await?;
    Ok(works.into_iter().map(WorkId::get).collect())
}

#[async_trait]
impl Harness for OnServer {
    fn store(&self) -> Arc<dyn Store> {
        self.store.clone()
    }

    async fn write(&self, problem: &ProblemId, text: &str, public: bool) -> WorkId {
        let mut app = self.desk.app().await;
        let ticket = problem.as_str();
        let next = match self.numbering {
            Numbering::Generated => Value::NULL,
            Numbering::PerProblem => {
                let next: Option<i64> = app
                    .exec_first("select coalesce(max(NO), 0) + 1 from NOTE where TICKET = ?", (ticket,))
                    .await
                    .unwrap();
                Value::Int(next.unwrap())
            }
        };
        let values = Params::Positional(vec![ticket.into(), next.clone(), text.into(), public.into()]);
        app.exec_drop("insert into NOTE (TICKET, NO, BODY, PUBLIC) values (?, ?, ?, ?)", values).await.unwrap();
        match next {
            Value::Int(n) => w(n),
            _ => w(i64::try_from(app.last_insert_id().unwrap()).unwrap()),
        }
    }

    async fn publish(&self, problem: &ProblemId, work: WorkId) {
        let values = (problem.as_str(), work.get());
        let sql = "update NOTE set PUBLIC = 1 where TICKET = ? and NO = ?";
        self.desk.app().await.exec_drop(sql, values).await.unwrap();
    }

    async fn delete(&self, problem: &ProblemId, work: WorkId) {
        let sql = "delete from NOTE where TICKET = ? and NO = ?";
        self.desk.app().await.exec_drop(sql, (problem.as_str(), work.get())).await.unwrap();
    }

    async fn table(&self, problem: &ProblemId) -> Vec<(WorkId, String)> {
        let sql = "select NO, BODY from NOTE where TICKET = ? order by NO";
        let rows: Vec<(i64, String)> = self.desk.app().await.exec(sql, (problem.as_str(),)).await.unwrap();
        rows.into_iter().map(|(n, text)| (w(n), text)).collect()
    }

    async fn linked(&self) -> Result<Arc<dyn Store>, String> {
        let ticket = "create table TICKET (ID int auto_increment primary key, REF varchar(100) unique, TITLE text, \
                      STATE text not null)";
        let reply = "create table REPLY (TICKET int not null references TICKET (ID), NO int not null, BODY text, \
                     RATING int, primary key (TICKET, NO))";
        self.desk.run(ticket).await;
        self.desk.run(reply).await;
        let linked = Mapping {
            fields: map([("rating", "RATING")]),
            problems: Some(ProblemTable {
                name: TableName::plain("TICKET"),
                id: "ID".into(),
                share: None,
                fields: map([("title", "TITLE")]),
                link: Some("REF".into()),
                create: Some(map([("STATE", "concat('new from ', :site)")])),
            }),
            peers: [(site("N"), None), (site("1"), None)].into(),
            ..mapping("REPLY", "TICKET", "NO", "BODY", Numbering::PerProblem, [], [])
        };
        Ok(Arc::new(self.desk.store(linked).await))
    }
}
