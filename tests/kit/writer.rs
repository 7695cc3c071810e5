//! People who write: processes of their own with plain SQLite connections, which know nothing of any bridge. A writer is
//! the test's own executable, started once more with a job in its environment.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior, params};

use super::desk::{Desk, New, secret};
use super::schema::Schema;

const JOB: &str = "LANDBRIDGE_TEST_WRITER";
/// The longest pause between two transactions: writers write while bridges work.
const PAUSE_MICROS_MAX: u64 = 4000;

/// What one writer does.
#[derive(Debug, Clone)]
pub struct Job {
    /// How many rows it appends.
    pub rows: usize,
    /// Over how many problems.
    pub problems: usize,
    /// Of the random choices.
    pub seed: u64,
}

/// The kinds of rows, as the text of each begins.
pub mod kind {
    /// Shareable from the beginning.
    pub const OPEN: &str = "open";
    /// Shareable some time after it was written.
    pub const LATE: &str = "late";
    /// In a transaction that was rolled back: nobody may ever see it.
    pub const UNDONE: &str = "undone";
}

/// The id of the problem of this number.
pub fn problem(number: usize) -> String {
    format!("P-{number:03}")
}

/// Starts a writer at `desk`. Its rows begin with `site/number/`.
pub fn start(desk: &Desk, number: usize, job: &Job) -> Child {
    let Job { rows, problems, seed } = job;
    let job = [
        desk.database.to_str().unwrap(),
        desk.schema.name,
        desk.site,
        &number.to_string(),
        &rows.to_string(),
        &problems.to_string(),
        &(seed + number as u64).to_string(),
    ];
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "writer_process", "--nocapture"]).env(JOB, job.join("\n"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap()
}

/// Does the job of a writer, in a process that was started for it; nothing in any other.
pub fn work_if_asked() {
    let Ok(job) = std::env::var(JOB) else { return };
    let job: Vec<_> = job.lines().collect();
    let &[database, schema, site, number, rows, problems, seed] = &job[..] else { panic!("{job:?}") };
    let sql = Connection::open(Path::new(database)).unwrap();
    sql.busy_timeout(Duration::from_secs(100)).unwrap();
    sql.execute_batch("pragma foreign_keys = on; pragma synchronous = off").unwrap();
    let mut writer = Writer {
        sql,
        schema: Schema::named(schema),
        name: format!("{site}/{number}"),
        problems: problems.parse().unwrap(),
        dice: fastrand::Rng::with_seed(seed.parse().unwrap()),
        late: Vec::new(),
        written: 0,
    };
    let rows = rows.parse().unwrap();
    while writer.written < rows {
        writer.transaction(rows);
        std::thread::sleep(Duration::from_micros(writer.dice.u64(..PAUSE_MICROS_MAX)));
    }
    while writer.publish() {}
}

struct Writer {
    sql: Connection,
    schema: &'static Schema,
    name: String,
    problems: usize,
    dice: fastrand::Rng,
    late: Vec<(String, i64)>,
    written: usize,
}

impl Writer {
    /// One transaction: mostly one row, sometimes several; sometimes a long one; sometimes one that comes to nothing.
    fn transaction(&mut self, rows_max: usize) {
        let rows = if self.dice.u8(..10) == 0 { 3.min(rows_max - self.written) } else { 1 };
        let (long, undone) = (self.dice.u8(..20) == 0, self.dice.u8(..40) == 0);
        let txn = self.sql.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
        if long {
            // No pause, and still it takes a while between the lock and the row.
            let sum = "select total(length(a.value) + length(b.value)) from json_each(?1) as a, json_each(?1) as b";
            let many: Vec<_> = (0..200).collect();
            txn.query_row(sum, [format!("{many:?}")], |r| r.get::<_, f64>(0)).unwrap();
        }
        for row in 0..rows {
            let secret = secret(self.name.split('/').next().unwrap());
            let (problem, number) = (problem(self.dice.usize(..self.problems)), self.written + row);
            let kind = match self.dice.u8(..20) {
                _ if undone => kind::UNDONE,
                0 | 1 => &secret,
                2 => kind::LATE,
                _ => kind::OPEN,
            };
            let text = format!("{}/{number} {kind} {}", self.name, chatter(&mut self.dice));
            let author = (number % 7 != 0).then(|| format!("author-{}", self.name));
            let author = author.or_else(|| (self.schema.name == "helpdesk").then(|| "nobody".to_owned()));
            let open = kind == kind::OPEN || undone;
            let author = author.as_deref();
            let new = New { problem: &problem, text: &text, author, public: open, confidential: &secret };
            let work = new.append(&txn, self.schema).unwrap();
            if kind == kind::LATE {
                self.late.push((problem, work));
            }
        }
        if undone {
            txn.rollback().unwrap();
            return;
        }
        txn.commit().unwrap();
        self.written += rows;
        if self.late.len() > 3 {
            self.publish();
        }
    }

    /// Makes one of the late rows shareable, in whatever order. False where there is none left.
    fn publish(&mut self) -> bool {
        if self.late.is_empty() {
            return false;
        }
        let (problem, work) = self.late.swap_remove(self.dice.usize(..self.late.len()));
        assert_eq!(self.sql.execute(self.schema.publish, params![problem, work]).unwrap(), 1);
        true
    }
}

/// What people write: umlauts, emoji, quotes, line ends, zero-width signs, long and short.
fn chatter(dice: &mut fastrand::Rng) -> String {
    const WORDS: [&str; 12] = [
        "done",
        "müßte gehen",
        "👩🏽‍🚒 🔥",
        "\"quoted\"",
        "it's",
        "a\nnew line",
        "tab\there",
        "null",
        "copy in system N: 1",
        "'; --",
        "日本語",
        "\u{200b}",
    ];
    let words = if dice.u8(..30) == 0 { dice.usize(..150) } else { dice.usize(..8) };
    (0..words).map(|_| WORDS[dice.usize(..WORDS.len())]).collect::<Vec<_>>().join(" ")
}
