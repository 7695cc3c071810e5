//! How a command ends: its exit status (DESIGN §9), and the sentence and the next step where it could not do what it was
//! asked. No error is shown in another way, so none shows a secret or the inside of the program.

use std::fmt::{self, Write as _};
use std::io;
use std::process::ExitCode;

use landbridge_core::SiteName;
use landbridge_flow::compact::CompactError;
use landbridge_flow::operator::OperatorError;
use landbridge_flow::{PeerError, RecordError, StoreError};

use crate::audit::AuditError;
use crate::config::Faults;
use crate::config::keyfile::KeyFileError;
use crate::config::password::PasswordError;
use crate::render::visible;

/// The exit status of every verb.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// Something is left to do, and will be done without a person.
    Left = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The configuration, the key file or the mapping is wrong.
    Configuration = 3,
    /// The database did not do what it was asked.
    Database = 4,
    /// A peer did not answer as it should.
    Peer = 5,
    /// Something wants a person's eye.
    Person = 6,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// Why a command stopped, and what to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The exit status.
    pub exit: Exit,
    /// What failed: one sentence, or one line for each fault. Empty where there is nothing to say.
    pub what: String,
    /// The next step.
    pub next: Option<String>,
}

impl Failure {
    /// A failure with its next step.
    pub fn new(exit: Exit, what: impl Into<String>, next: impl Into<String>) -> Self {
        Self { exit, what: what.into(), next: Some(next.into()) }
    }

    /// What was asked cannot be meant.
    pub fn usage(what: impl Into<String>, next: impl Into<String>) -> Self {
        Self::new(Exit::Usage, what, next)
    }

    /// `peer` did not answer as it should.
    pub fn peer(peer: &SiteName, error: &PeerError) -> Self {
        Self::new(Exit::Peer, format!("{peer} {error}"), error.remedy().1)
    }

    /// An ending with nothing to say: whoever read our output has gone.
    fn quiet() -> Self {
        Self { exit: Exit::Done, what: String::new(), next: None }
    }
}

/// Each line is an error; those below a line that ends with a colon belong to it.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = self.what.lines().map(visible);
        if let Some(first) = lines.next() {
            write!(f, "error: {first}")?;
            let begin = if first.ends_with(':') { "  - " } else { "error: " };
            lines.try_for_each(|line| write!(f, "\n{begin}{line}"))?;
        }
        match &self.next {
            Some(next) => write!(f, "\n  next: {}", visible(next)),
            None => Ok(()),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let exit = if matches!(error, StoreError::Mapping(_)) { Exit::Configuration } else { Exit::Database };
        Self::new(exit, error.to_string(), error.remedy().1)
    }
}

impl From<OperatorError> for Failure {
    fn from(error: OperatorError) -> Self {
        match error {
            OperatorError::Store(error) => error.into(),
            other => Self::usage(other.to_string(), "`landbridge status` names the rows of suspended problems"),
        }
    }
}

impl From<CompactError> for Failure {
    fn from(error: CompactError) -> Self {
        match error {
            // A right that is lacking, as a rule.
            CompactError::Store(StoreError::Mapping(what)) => Self::new(
                Exit::Configuration,
                what,
                "`landbridge grants --compact` prints the SQL that gives the right to delete; `landbridge check` says what is \
                 missing",
            ),
            CompactError::Store(error) => error.into(),
            other => Self::new(
                Exit::Database,
                other.to_string(),
                "look at what the table does when rows are deleted; `landbridge compact --dry-run` changes nothing",
            ),
        }
    }
}

impl From<Faults> for Failure {
    fn from(faults: Faults) -> Self {
        let mut what = String::new();
        for fault in faults.iter() {
            let _ = writeln!(what, "{fault}");
        }
        Self { exit: Exit::Configuration, what, next: None }
    }
}

impl From<KeyFileError> for Failure {
    fn from(error: KeyFileError) -> Self {
        Self { exit: Exit::Configuration, what: error.to_string(), next: None }
    }
}

impl From<AuditError> for Failure {
    fn from(error: AuditError) -> Self {
        let exit = match error {
            AuditError::Missing { .. } | AuditError::Open { .. } | AuditError::NoFile { .. } => Exit::Configuration,
            _ => Exit::Person,
        };
        Self::new(exit, error.to_string(), error.next())
    }
}

/// Nothing leaves until a person has looked.
impl From<RecordError> for Failure {
    fn from(error: RecordError) -> Self {
        Self::new(Exit::Person, error.to_string(), error.next)
    }
}

impl From<PasswordError> for Failure {
    fn from(error: PasswordError) -> Self {
        Self { exit: Exit::Configuration, what: error.to_string(), next: None }
    }
}

/// Standard output or standard error could not be written.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::quiet(),
            _ => Self::new(Exit::Left, format!("the output cannot be written: {error}"), "see where it is sent to"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_a_sentence_and_a_next_step() {
        let failure = Failure::from(StoreError::ReadOnly("helpdesk.db".into()));
        assert_eq!(failure.exit, Exit::Database);
        assert_eq!(
            failure.to_string(),
            "error: the database cannot be written: helpdesk.db\n  next: give this user the right to write: for \
             SQLite the file and its folder, otherwise what `landbridge grants` prints"
        );
    }

    #[test]
    fn faults_of_a_mapping_are_listed_below_the_database() {
        let failure = Failure::from(StoreError::Mapping("a.db:\nno table X\nno column Y".into()));
        assert_eq!(failure.exit, Exit::Configuration);
        assert!(failure.to_string().starts_with("error: a.db:\n  - no table X\n  - no column Y\n  next: correct"));
    }

    #[test]
    fn a_closed_pipe_ends_quietly() {
        let failure = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!((failure.exit, failure.to_string().as_str()), (Exit::Done, ""));
    }
}
