//! Whether a database is what the mapping says. Every fault is reported at once, with what to write instead.
//!
//! The server itself is the judge of names, rights and SQL: it is asked to prepare, never to run, the statements that
//! the bridge will use.

mod by_statements;
mod history;
mod problems;
mod sql;
mod tables;

use landbridge_flow::StoreError;
use mysql_async::{Column, Error};

use super::fault::Trouble;
use super::options::MysqlOptions;
use super::pool::Session;
use super::{Found, schema, statements};
use crate::inspection::Inspection;
use crate::mapping::Mapping;

/// What was found out about a database and its mapping.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// For a person.
    pub(super) inspection: Inspection,
    /// What the adapter works by.
    pub(super) found: Found,
}

/// Compares a database with `mapping` and changes nothing.
///
/// # Errors
/// Where the server does not answer or does not let this user in. What is wrong with the mapping is in
/// [`Inspection::faults`].
pub async fn inspect(options: &MysqlOptions, mapping: &Mapping) -> Result<Inspection, StoreError> {
    look(options, mapping).await.map(|seen| seen.inspection)
}

/// Whether the database takes writes now: it is not read-only, and a transaction can be begun.
///
/// # Errors
/// [`StoreError::ReadOnly`] with the setting that says no; others where the server does not answer.
pub async fn writable(options: &MysqlOptions, mapping: &Mapping) -> Result<(), StoreError> {
    let ask = async {
        let mut session = Session::open(options).await?;
        session.run(statements::BEGIN_WRITE).await?;
        let read_only = session.ask("select @@global.read_only", Vec::new()).await?;
        session.run("rollback").await?;
        let read_only = read_only.rows.first().and_then(|r| r.first()).is_some_and(super::values::truth);
        Ok::<_, Trouble>(read_only)
    };
    match ask.await.map_err(|e| e.translate(&options.shown(), None))? {
        false => Ok(()),
        true => Err(StoreError::ReadOnly(format!(
            "{}: the server has read_only = on, so {} takes no rows; name the server that is written to, or set it off",
            options.shown(),
            mapping.called()
        ))),
    }
}

/// Everything at once.
pub(super) async fn look(options: &MysqlOptions, mapping: &Mapping) -> Result<Seen, StoreError> {
    let look = async {
        let session = Session::open(options).await?;
        let mut inspector = Inspector { session, mapping, seen: Seen::default() };
        inspector.server().await?;
        inspector.problem_table().await?;
        inspector.markers().await?;
        inspector.history().await?;
        Ok::<_, Trouble>(inspector.seen)
    };
    look.await.map_err(|e| e.translate(&options.shown(), None))
}

struct Inspector<'a> {
    session: Session,
    mapping: &'a Mapping,
    seen: Seen,
}

/// What the server said against a statement.
struct Against {
    code: u16,
    said: String,
}

impl Against {
    fn lacks_right(&self) -> bool {
        matches!(self.code, 1142 | 1143 | 1370 | 1044)
    }
}

impl Inspector<'_> {
    fn fault(&mut self, sentence: String) {
        if !self.seen.inspection.faults.contains(&sentence) {
            self.seen.inspection.faults.push(sentence);
        }
    }

    fn note(&mut self, sentence: String) {
        if !self.seen.inspection.notes.contains(&sentence) {
            self.seen.inspection.notes.push(sentence);
        }
    }

    /// The columns and the number of values of a statement, or what the server says against it.
    async fn prepared(&mut self, sql: &str) -> Result<Result<(Vec<Column>, usize), Against>, Trouble> {
        match self.session.prepare(sql).await {
            Ok(prepared) => Ok(Ok(prepared)),
            Err(Trouble::Sql(Error::Server(e))) => Ok(Err(Against { code: e.code, said: e.message })),
            Err(e) => Err(e),
        }
    }

    async fn server(&mut self) -> Result<(), Trouble> {
        let asked = "select database(), version(), @@version_comment";
        let answer = self.session.ask(asked, Vec::new()).await?;
        let said = |at: usize| answer.rows.first().map_or_else(String::new, |r| schema::said(r, at));
        let (version, maria) = (said(1), format!("{} {}", said(1), said(2)).to_lowercase().contains("mariadb"));
        let number = version.split('-').next().unwrap_or_default().to_owned();
        self.seen.found.database = said(0);
        self.seen.found.engine = format!("{} {number}", if maria { "MariaDB" } else { "MySQL" });
        let parts: Vec<u32> = number.split('.').filter_map(|p| p.parse().ok()).collect();
        let of = |at: usize| parts.get(at).copied().unwrap_or(0);
        if (of(0), of(1)) < if maria { (10, 5) } else { (8, 0) } {
            self.fault(format!(
                "the server is {}, and the bridge needs MariaDB 10.5 or MySQL 8.0 at least: older ones give out deleted \
                 numbers once more after a restart",
                self.seen.found.engine
            ));
        }
        let wanted = "show global variables where variable_name in ('innodb_flush_log_at_trx_commit', 'sync_binlog', \
                      'log_bin', 'wsrep_on', 'wsrep_cluster_address', 'read_only')";
        let answer = self.session.ask(wanted, Vec::new()).await?;
        let variable = |name: &str| {
            let row = answer.rows.iter().find(|r| schema::said(r, 0).eq_ignore_ascii_case(name));
            row.map_or_else(String::new, |r| schema::said(r, 1))
        };
        let on = |name: &str| matches!(variable(name).to_ascii_uppercase().as_str(), "ON" | "1");
        let flush = variable("innodb_flush_log_at_trx_commit");
        if !matches!(flush.as_str(), "1" | "3" | "") {
            self.note(format!(
                "the server has innodb_flush_log_at_trx_commit = {flush}: after a power failure the last second may be \
                 gone, although peers were told that it is here. Set it to 1"
            ));
        }
        if on("log_bin") && variable("sync_binlog") != "1" {
            self.note(format!(
                "the server has sync_binlog = {}: after a power failure a restored server or a replica may lack what \
                 peers were told is here. Set it to 1",
                variable("sync_binlog")
            ));
        }
        if on("wsrep_on") {
            self.note(
                "the server is a node of a Galera cluster. Named locks are of one node: let all bridges of this database \
                 connect to the same node"
                    .to_owned(),
            );
        }
        if on("read_only") {
            self.note("the server has read_only = on: nothing can be appended until that is off".to_owned());
        }
        Ok(())
    }
}

fn listed<'n>(names: impl Iterator<Item = &'n String>) -> String {
    let names: Vec<&str> = names.map(String::as_str).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
