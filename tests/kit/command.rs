//! The binary as somebody at a shell uses it.

use std::io::Write;
use std::process::{Command, Output, Stdio};

/// The exit statuses of DESIGN §9.
pub const DONE: i32 = 0;
/// Something is left.
pub const LEFT: i32 = 1;
/// Wrong command line.
pub const USAGE: i32 = 2;
/// Wrong configuration.
pub const CONFIGURATION: i32 = 3;
/// The database.
pub const DATABASE: i32 = 4;
/// A peer.
pub const PEER: i32 = 5;
/// Wants a person's eye.
pub const PERSON: i32 = 6;

/// `landbridge`, with nothing of this environment that would change what it does.
pub fn landbridge<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_landbridge"));
    command.args(args).stdin(Stdio::null());
    for name in ["LANDBRIDGE_CONFIG", "LANDBRIDGE_LOG", "NO_COLOR", "CLICOLOR_FORCE", "COLUMNS"] {
        command.env_remove(name);
    }
    command
}

/// What came of a command.
#[derive(Debug)]
pub struct Ran {
    /// Its exit status.
    pub code: i32,
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub err: String,
}

/// Runs `landbridge` with these arguments to its end.
pub fn run<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>) -> Ran {
    landbridge(args).output().unwrap().into()
}

/// The same with `input` on its standard input.
pub fn run_with_input<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>, input: &str) -> Ran {
    let mut command = landbridge(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap().into()
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Ran {
    /// Fails unless it ended with this status.
    #[track_caller]
    pub fn ends(self, code: i32) -> Self {
        assert_eq!(self.code, code, "\n--- stdout\n{}\n--- stderr\n{}", self.out, self.err);
        self
    }

    /// Standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out)
            .unwrap_or_else(|e| panic!("{e}\n--- stdout\n{}\n--- stderr\n{}", self.out, self.err))
    }

    /// Both outputs.
    pub fn said(&self) -> String {
        format!("{}{}", self.out, self.err)
    }
}
