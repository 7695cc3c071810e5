//! The hostile peer: a program in Python that knows nothing of this code (`tests/hostile`), started and asked.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;

const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/hostile/peer.py");

/// The program under way. Dropped, it is ended.
pub struct Hostile {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Hostile {
    /// Begins to play an attack of `attacks.py` with these facts.
    pub fn start(attack: &str, facts: &Value) -> Self {
        Self::run(&[attack, &facts.to_string()])
    }

    /// Begins to answer as `answers.py` says. The URL at which it is dialled.
    pub fn serve(mode: &str) -> (Self, String) {
        let mut program = Self::run(&["serve", mode]);
        let port = program.next()["port"].as_u64().unwrap();
        (program, format!("http://127.0.0.1:{port}"))
    }

    fn run(args: &[&str]) -> Self {
        assert!(Path::new(PROGRAM).exists(), "{PROGRAM} is missing");
        let mut python = Command::new("python3");
        python.arg("-B").arg(PROGRAM).args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = python.spawn().expect("python3 is not installed; the hostile peer is written in it");
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self { child, stdin, stdout }
    }

    /// The next line that it prints.
    pub fn next(&mut self) -> Value {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "the hostile peer failed; what it said stands above");
        serde_json::from_str(&line).unwrap()
    }

    /// What a serving program counted so far.
    pub fn counts(&mut self) -> Value {
        self.stdin.as_mut().unwrap().write_all(b"counts\n").unwrap();
        self.next()
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Plays an attack to its end. What it got.
pub fn play(attack: &str, facts: &Value) -> Value {
    Hostile::start(attack, facts).next()
}
