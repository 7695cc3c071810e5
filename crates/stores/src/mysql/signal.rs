//! The number that changes whenever something may have been committed.
//!
//! It is made of how far InnoDB's redo log has got. Every commit that changed a row writes there; reads do not, ours
//! included, nor do row locks and named locks. Reading it is a status query without any right. The position of the
//! binary log would do as well where there is one, but leaves out what `sql_log_bin = 0` and filters leave out; and
//! `Handler_commit` counts reads too.
//!
//! The log is written *before* other connections see the commit. So a change is told of three times: at once, and once
//! more at each of the next two calls, whatever the log says by then. Whoever looks at the tables after each change therefore looks
//! again after the commit that raised the number has become visible. Work of the server's own (cleaning up behind
//! deletes, checkpoints) moves the number too, and ends by itself.

use landbridge_core::Digest;
use landbridge_flow::StoreError;
use mysql_async::Value;

use super::Plan;
use super::fault::Trouble;
use super::pool::Session;
use super::values;

/// How often a change is told of beyond the first time.
const ECHOES: u8 = 2;

/// `Innodb_lsn_current` is MariaDB's, `Innodb_redo_log_current_lsn` MySQL's from 8.0.30 on; before, MySQL has only the
/// bytes written, which may come up to a second later than the commit that they are of.
const POSITION: &str = "show global status where variable_name in \
                        ('Innodb_lsn_current', 'Innodb_redo_log_current_lsn', 'Innodb_os_log_written')";

/// The connection that only listens, and what it heard.
#[derive(Default)]
pub(super) struct Listener {
    session: Option<Session>,
    heard: Option<u64>,
    echoes: u8,
}

impl Listener {
    /// The number now.
    pub(super) async fn signal(&mut self, plan: &Plan) -> Result<u64, StoreError> {
        let position = match self.position(plan).await {
            Err(Trouble::Sql(e)) if e.is_fatal() => self.position(plan).await,
            position => position,
        };
        let position = position.map_err(|e| e.translate(&plan.shown, None))?;
        if self.heard.is_some_and(|heard| heard != position) {
            self.echoes = ECHOES;
        } else {
            self.echoes = self.echoes.saturating_sub(1);
        }
        self.heard = Some(position);
        let both = [position.to_be_bytes(), u64::from(self.echoes).to_be_bytes()];
        Ok(Digest::of_bytes(both.as_flattened()).short())
    }

    /// Where the log is; a connection that did not answer is closed.
    async fn position(&mut self, plan: &Plan) -> Result<u64, Trouble> {
        let mut session = match self.session.take() {
            Some(session) => session,
            None => Session::open(&plan.options).await?,
        };
        let answer = session.ask(POSITION, Vec::new()).await?;
        self.session = Some(session);
        let said = |r: &Vec<Value>, at| r.get(at).and_then(values::text).unwrap_or_default();
        let is_position = |r: &&Vec<Value>| said(r, 0).to_ascii_lowercase().contains("lsn");
        let told = answer.rows.iter().find(is_position).or(answer.rows.first());
        let said = told.map_or_else(String::new, |r| said(r, 1));
        Ok(Digest::of(&said).short())
    }
}
