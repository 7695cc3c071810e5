//! The two help desks of the demonstration: their databases, their configurations, and what their applications do with
//! plain SQL. Whatever differs between the two is data.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use landbridge_core::ProblemId;
use landbridge_stores::mapping::Numbering;
use rusqlite::{Connection, params};

use crate::config::keyfile::create_keys;
use crate::config::secret::Secret;
use crate::config::write::{HistoryAnswers, InitAnswers, PeerAnswers, ProblemAnswers, render};
use crate::exit::{Exit, Failure};

/// How long an application waits for the bridge's lock.
const BUSY: Duration = Duration::from_secs(30);

/// What one site is made of.
pub(super) struct Plan {
    /// The site's name.
    pub(super) site: &'static str,
    /// Its table.
    pub(super) table: &'static str,
    /// The columns of the table, for a person.
    pub(super) columns: &'static str,
    database: &'static str,
    schema: &'static str,
    /// The application appends an entry to ABC: ?1 its text, ?2 its author.
    append: &'static str,
    /// The rows of problem ?1: number and text.
    rows: &'static str,
    /// What must stay in the house: what it is, and the value.
    confidential: &'static str,
}

/// Site 1.
pub(super) const SITE_1: Plan = Plan {
    site: "1",
    table: "WORK_HISTORY",
    columns: "PROBLEM_ID, WORK_ID, WORK_HISTORY, OPERATOR, KIND, VISIBILITY, CUSTOMER_PHONE",
    database: "helpdesk.db",
    schema: include_str!("site_1.sql"),
    append: "insert into WORK_HISTORY (PROBLEM_ID, WORK_ID, WORK_HISTORY, OPERATOR, KIND, VISIBILITY, CUSTOMER_PHONE)
             select 'ABC', coalesce(max(WORK_ID), 0) + 1, ?1, ?2, 'work', 'public', '+49-30-5550-142'
             from WORK_HISTORY where PROBLEM_ID = 'ABC'",
    rows: "select WORK_ID, WORK_HISTORY from WORK_HISTORY where PROBLEM_ID = ?1 order by WORK_ID",
    confidential: "select distinct 'CUSTOMER_PHONE', CUSTOMER_PHONE from WORK_HISTORY where CUSTOMER_PHONE <> ''
                   union all select 'CUSTOMER', CUSTOMER from PROBLEM
                   union all select 'internal note', WORK_HISTORY from WORK_HISTORY
                             where PROBLEM_ID = 'XYZ' and VISIBILITY = 'internal'
                   union all select 'state change', WORK_HISTORY from WORK_HISTORY where KIND = 'state'
                   union all select 'unshared problem', WORK_HISTORY from WORK_HISTORY where PROBLEM_ID = 'HR7'",
};

/// Site N.
pub(super) const SITE_N: Plan = Plan {
    site: "N",
    table: "ticket_comments",
    columns: "id, ticket, no, body, author, is_internal, cost_centre, hourly_rate",
    database: "tickets.db",
    schema: include_str!("site_n.sql"),
    append: "insert into ticket_comments (ticket, no, body, author, is_internal, cost_centre, hourly_rate)
             select 'ABC', coalesce(max(no), 0) + 1, ?1, ?2, 0, 'CC-7731-FALCON', 'EUR 187.35'
             from ticket_comments where ticket = 'ABC'",
    rows: "select no, body from ticket_comments where ticket = ?1 order by no",
    confidential: "select distinct 'cost_centre', cost_centre from ticket_comments where cost_centre like 'CC-%'
                   union all select distinct 'hourly_rate', hourly_rate from ticket_comments where hourly_rate <> ''
                   union all select 'escalation', escalation from tickets where escalation <> ''
                   union all select 'internal note', body from ticket_comments
                             where ticket = 'XYZ' and is_internal = 1",
};

/// One site on the disk.
pub(super) struct Desk {
    /// What it is made of.
    pub(super) plan: &'static Plan,
    /// Its configuration file.
    pub(super) config: PathBuf,
    /// Its database.
    pub(super) database: PathBuf,
}

impl Desk {
    /// Makes the database, the key and the configuration of a site in a new folder below `folder`.
    pub(super) fn make(
        plan: &'static Plan,
        folder: &Path,
        listen: SocketAddr,
        peer: (&Plan, SocketAddr),
        token: &Secret,
    ) -> Result<Self, Failure> {
        let folder = folder.join(format!("site-{}", plan.site));
        std::fs::create_dir(&folder).map_err(|e| unwritable(&folder, &e))?;
        let (config, database) = (folder.join("landbridge.toml"), folder.join(plan.database));
        let desk = Self { plan, config, database };
        desk.open().and_then(|sql| sql.execute_batch(plan.schema)).map_err(|e| desk.failed(&e))?;
        create_keys(&folder.join("landbridge.key"))?;
        let peer = PeerAnswers {
            name: peer.0.site.into(),
            url: Some(format!("http://{}", peer.1)),
            pull: false,
            relay: false,
            relay_from: vec![],
            share: None,
            token: Some(token.clone()),
            ca: None,
        };
        let text = render(&plan.answers(listen, peer));
        private(&desk.config, &text).map_err(|e| unwritable(&desk.config, &e))?;
        Ok(desk)
    }

    /// Appends entries to ABC, all in one transaction, as the site's application would.
    pub(super) fn append(&self, author: &str, texts: &[&str]) -> Result<(), Failure> {
        let append = || {
            let mut sql = self.open()?;
            let txn = sql.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            for text in texts {
                txn.execute(self.plan.append, params![text, author])?;
            }
            txn.commit()
        };
        append().map_err(|e| self.failed(&e))
    }

    /// The rows of `problem`, as whoever looks at the table sees them.
    pub(super) fn rows(&self, problem: &ProblemId) -> Result<Vec<(i64, String)>, Failure> {
        self.pairs(self.plan.rows, &[problem.as_str()])
    }

    /// Everything that must stay in the house.
    pub(super) fn confidential(&self) -> Result<Vec<(String, String)>, Failure> {
        self.pairs(self.plan.confidential, &[])
    }

    /// Every byte that the database keeps on the disk, its journals included.
    ///
    /// The bridges of this very process have the database open, and whoever closes a file takes away every lock that the
    /// process holds on it, as POSIX has it: the next client would take itself for the only one and remove the journal
    /// beneath the bridges. So what is opened here stays open until the process ends.
    pub(super) fn bytes(&self) -> Result<Vec<u8>, Failure> {
        let mut all = Vec::new();
        for end in ["", "-wal", "-journal"] {
            let mut file = self.database.as_os_str().to_owned();
            file.push(end);
            let mut read = || {
                let mut opened = std::fs::File::open(&file)?;
                let read = opened.read_to_end(&mut all);
                std::mem::forget(opened);
                read
            };
            match read() {
                Ok(_) => {}
                Err(e) if e.kind() == std::io::ErrorKind::NotFound && !end.is_empty() => {}
                Err(e) => return Err(unwritable(Path::new(&file), &e)),
            }
        }
        Ok(all)
    }

    fn open(&self) -> rusqlite::Result<Connection> {
        let sql = Connection::open(&self.database)?;
        sql.busy_timeout(BUSY)?;
        sql.execute_batch("pragma foreign_keys = on")?;
        Ok(sql)
    }

    fn pairs<A: rusqlite::types::FromSql>(&self, query: &str, with: &[&str]) -> Result<Vec<(A, String)>, Failure> {
        let read = || {
            let sql = self.open()?;
            let mut statement = sql.prepare(query)?;
            let rows = statement.query_map(rusqlite::params_from_iter(with), |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        };
        read().map_err(|e| self.failed(&e))
    }

    fn failed(&self, error: &rusqlite::Error) -> Failure {
        let what = format!("the demonstration's database {} failed: {error}", self.database.display());
        Failure::new(Exit::Database, what, "see whether the disk is full; --dir puts the demonstration elsewhere")
    }
}

impl Plan {
    fn answers(&self, listen: SocketAddr, peer: PeerAnswers) -> InitAnswers {
        let map = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        let (history, problem) = if self.site == SITE_1.site { site_1(&map) } else { site_n(&map) };
        InitAnswers {
            site: self.site.into(),
            key_file: "landbridge.key".into(),
            database_url: format!("sqlite:{}", self.database),
            password_file: None,
            preset: None,
            history,
            problem: Some(problem),
            linked: false,
            listen: Some(listen.to_string()),
            tls: None,
            peers: vec![peer],
        }
    }
}

type Pairs<'a> = &'a dyn Fn(&[(&str, &str)]) -> BTreeMap<String, String>;

fn site_1(map: Pairs<'_>) -> (HistoryAnswers, ProblemAnswers) {
    let history = HistoryAnswers {
        name: "work_history".into(),
        table: "WORK_HISTORY".into(),
        problem: "PROBLEM_ID".into(),
        work: "WORK_ID".into(),
        text: "WORK_HISTORY".into(),
        numbering: Numbering::PerProblem,
        within: Some("KIND = 'work'".into()),
        share: Some("VISIBILITY = 'public'".into()),
        fields: map(&[("author", "OPERATOR")]),
        insert: map(&[("KIND", "'work'"), ("VISIBILITY", "'public'"), ("OPERATOR", "coalesce(:author, 'bridge')")]),
        marker: map(&[("VISIBILITY", "'internal'")]),
    };
    let share = Some("SHARED = 1".into());
    (history, ProblemAnswers { table: "PROBLEM".into(), id: "PROBLEM_ID".into(), share })
}

fn site_n(map: Pairs<'_>) -> (HistoryAnswers, ProblemAnswers) {
    let history = HistoryAnswers {
        name: "work_history".into(),
        table: "ticket_comments".into(),
        problem: "ticket".into(),
        work: "no".into(),
        text: "body".into(),
        numbering: Numbering::PerProblem,
        within: None,
        share: Some("is_internal = 0".into()),
        fields: map(&[("author", "author")]),
        insert: map(&[("author", "coalesce(:author, 'bridge')"), ("cost_centre", "'external'")]),
        marker: map(&[("is_internal", "1")]),
    };
    (history, ProblemAnswers { table: "tickets".into(), id: "ticket".into(), share: None })
}

/// Writes a file that only its owner may read: the configuration has the shared token in it.
fn private(path: &Path, text: &str) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)?.write_all(text.as_bytes())
}

/// The folder of the demonstration takes no file.
pub(super) fn unwritable(path: &Path, error: &std::io::Error) -> Failure {
    let what = format!("{} cannot be used for the demonstration: {error}", path.display());
    Failure::new(Exit::Left, what, "name a new folder with --dir")
}
