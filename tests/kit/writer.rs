//! People who write: processes of their own with plain connections, which know nothing of any bridge. A writer is the
//! test's own executable, started once more with a job in its environment. It survives the death of its server, and looks
//! whether a transaction was committed before it tries that again.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::desk::{Desk, New, connect, is_marker, secret};
use super::schema::Schema;
use super::sql::{Done, Fault, Sql};
use super::wait::PATIENCE;

const JOB: &str = "LANDBRIDGE_TEST_WRITER";

/// What one writer does.
#[derive(Debug, Clone)]
pub struct Job {
    /// How many rows it appends.
    pub rows: usize,
    /// Over how many problems.
    pub problems: usize,
    /// Of the random choices.
    pub seed: u64,
    /// The longest pause between two transactions: writers write while bridges work.
    pub pause_micros_max: u64,
    /// Many entries answer the last one that the writer saw of the problem, and name it.
    pub answers: bool,
    /// Some entries are of the house: shareable, but not with everybody.
    pub house: bool,
}

impl Job {
    /// So many rows over so many problems, one close behind the other.
    pub fn new(rows: usize, problems: usize, seed: u64) -> Self {
        Self { rows, problems, seed, pause_micros_max: 4000, answers: false, house: false }
    }
}

/// The kinds of rows, as the text of each begins.
pub mod kind {
    /// Shareable from the beginning.
    pub const OPEN: &str = "open";
    /// Shareable some time after it was written.
    pub const LATE: &str = "late";
    /// In a transaction that was rolled back: nobody may ever see it.
    pub const UNDONE: &str = "undone";
    /// Shareable from the beginning; the next word names the entry that it answers.
    pub const ANSWER: &str = "answer";
    /// Shareable with some.
    pub const HOUSE: &str = "house";
}

/// The id of the problem of this number.
pub fn problem(number: usize) -> String {
    format!("P-{number:03}")
}

/// Starts a writer at `desk`. Its rows begin with `site/number/`.
pub fn start(desk: &Desk, number: usize, job: &Job) -> Child {
    let Job { rows, problems, seed, pause_micros_max, answers, house } = job;
    let job = [
        &desk.url,
        desk.schema.name,
        desk.site,
        &number.to_string(),
        &rows.to_string(),
        &problems.to_string(),
        &(seed + number as u64).to_string(),
        &pause_micros_max.to_string(),
        &answers.to_string(),
        &house.to_string(),
    ];
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "writer_process", "--nocapture"]).env(JOB, job.join("\n"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap()
}

/// Does the job of a writer, in a process that was started for it; nothing in any other.
pub fn work_if_asked() {
    let Ok(job) = std::env::var(JOB) else { return };
    let job: Vec<_> = job.lines().collect();
    let &[url, schema, site, number, rows, problems, seed, pause, answers, house] = &job[..] else { panic!("{job:?}") };
    let sql = connect(url);
    let mut writer = Writer {
        schema: Schema::named(schema, sql.vendor()),
        url: url.to_owned(),
        sql,
        name: format!("{site}/{number}"),
        problems: problems.parse().unwrap(),
        dice: fastrand::Rng::with_seed(seed.parse().unwrap()),
        answers: answers.parse().unwrap(),
        house: house.parse().unwrap(),
        late: Vec::new(),
        written: 0,
    };
    let (rows, pause): (_, u64) = (rows.parse().unwrap(), pause.parse().unwrap());
    while writer.written < rows {
        writer.transaction(rows);
        std::thread::sleep(Duration::from_micros(writer.dice.u64(..pause)));
    }
    while writer.publish() {}
}

struct Writer {
    url: String,
    sql: Sql,
    schema: &'static Schema,
    name: String,
    problems: usize,
    dice: fastrand::Rng,
    answers: bool,
    house: bool,
    late: Vec<(String, i64)>,
    written: usize,
}

/// A row that is to be written, however many tries that takes.
struct Planned {
    problem: String,
    text: String,
    author: Option<String>,
    open: bool,
    late: bool,
}

impl Writer {
    /// One transaction: mostly one row, sometimes several; sometimes a long one; sometimes one that comes to nothing.
    fn transaction(&mut self, rows_max: usize) {
        let rows = if self.dice.u8(..10) == 0 { 3.min(rows_max - self.written) } else { 1 };
        let (long, undone) = (self.dice.u8(..20) == 0, self.dice.u8(..40) == 0);
        let planned: Vec<_> = (0..rows).map(|row| self.plan(self.written + row, undone)).collect();
        let mut written = None;
        self.until_done(|writer, unsure| {
            if unsure && !undone && writer.number_of(&planned[0])?.is_some() {
                // The server died behind the commit and before its answer.
                written = Some(planned.iter().map(|row| Ok(writer.number_of(row)?.unwrap())).collect::<Done<_>>()?);
                return Ok(());
            }
            writer.sql.begin()?;
            if long {
                writer.dawdle()?;
            }
            let numbers = planned.iter().map(|row| writer.append(row)).collect::<Done<Vec<_>>>()?;
            if undone {
                return writer.sql.rollback();
            }
            writer.sql.commit()?;
            written = Some(numbers);
            Ok(())
        });
        let Some(numbers) = written else { return };
        let late = planned.into_iter().zip(numbers).filter(|(row, _)| row.late);
        self.late.extend(late.map(|(row, number)| (row.problem, number)));
        self.written += rows;
        if self.late.len() > 3 {
            self.publish();
        }
    }

    fn plan(&mut self, number: usize, undone: bool) -> Planned {
        let secret = secret(self.name.split('/').next().unwrap());
        let problem = problem(self.dice.usize(..self.problems));
        let kind = match self.dice.u8(..20) {
            _ if undone => kind::UNDONE,
            0 | 1 => &secret,
            2 => kind::LATE,
            3 | 4 if self.house => kind::HOUSE,
            _ => kind::OPEN,
        };
        let seen = if kind == kind::OPEN && self.answers { self.last_seen(&problem) } else { None };
        let kind = if seen.is_some() { kind::ANSWER } else { kind };
        let answered = seen.map(|seen| format!("{seen} ")).unwrap_or_default();
        let text = format!("{}/{number} {kind} {answered}{}", self.name, chatter(&mut self.dice));
        let author = (!number.is_multiple_of(7)).then(|| format!("author-{}", self.name));
        let author = author.or_else(|| (self.schema.name == "helpdesk").then(|| "nobody".to_owned()));
        let open = [kind::OPEN, kind::ANSWER, kind::HOUSE].contains(&kind) || undone;
        Planned { problem, text, author, open, late: kind == kind::LATE }
    }

    /// What the last entry of a problem is called, as the writer sees it at this moment; mostly it is looked at.
    fn last_seen(&mut self, problem: &str) -> Option<String> {
        if self.dice.u8(..3) == 0 {
            return None;
        }
        let select = format!(
            "with history (problem, work, text, author, public) as ({}) select text from history where problem = ?1
             order by work desc",
            self.schema.rows
        );
        let mut texts = Vec::new();
        self.until_done(|writer, _| {
            texts = writer.sql.query(&select, &[problem.into()])?;
            Ok(())
        });
        let mut texts = texts.into_iter().filter_map(|row| row.into_iter().next()?.text());
        let last = texts.find(|text| !is_marker(text))?;
        last.split(' ').next().map(str::to_owned)
    }

    fn append(&mut self, row: &Planned) -> Done<i64> {
        let secret = secret(self.name.split('/').next().unwrap());
        let Planned { problem, text, open: public, .. } = row;
        New { problem, text, author: row.author.as_deref(), public: *public, confidential: &secret }
            .append(&mut self.sql, self.schema)
    }

    /// The number of a row by its text, which no other has; nothing where it is not there.
    fn number_of(&mut self, row: &Planned) -> Done<Option<i64>> {
        let select = format!(
            "with history (problem, work, text, author, public) as ({}) select work from history where text = ?1",
            self.schema.rows
        );
        Ok(self.sql.query(&select, &[row.text.as_str().into()])?.first().map(|row| row[0].int()))
    }

    /// No pause, and still it takes a while between the lock and the row.
    fn dawdle(&mut self) -> Done<()> {
        let sum = format!("select 0{}", " + length('x')".repeat(200));
        for _ in 0..10 {
            self.sql.query(&sum, &[])?;
        }
        Ok(())
    }

    /// Does a transaction until it is done: again where another one was in the way or the server died. The second word is
    /// whether the last try may have been committed all the same.
    fn until_done(&mut self, mut act: impl FnMut(&mut Self, bool) -> Done<()>) {
        let (begun, mut unsure) = (Instant::now(), false);
        loop {
            match act(self, unsure) {
                Ok(()) => return,
                Err(fault) if begun.elapsed() > PATIENCE => panic!("{}: {fault}", self.name),
                Err(Fault::Wrong(fault)) => panic!("{}: {fault}", self.name),
                Err(Fault::Again(_)) if self.sql.rollback().is_ok() => {}
                Err(Fault::Again(_) | Fault::Lost(_)) => {
                    unsure = true;
                    self.sql = connect(&self.url);
                }
            }
        }
    }

    /// Makes one of the late rows shareable, in whatever order. False where there is none left.
    fn publish(&mut self) -> bool {
        if self.late.is_empty() {
            return false;
        }
        let (problem, work) = self.late.swap_remove(self.dice.usize(..self.late.len()));
        let values = [problem.as_str().into(), work.into()];
        self.until_done(|writer, _| {
            assert_eq!(writer.sql.execute(writer.schema.publish, &values)?, 1);
            Ok(())
        });
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
