//! `landbridge run` as a process: started, killed, started again.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};

use super::command::landbridge;
use super::desk::Desk;
use super::wait::wait_until;

/// A running bridge. Dropped, it is killed; where the test fails, what it said is printed.
pub struct Bridge {
    child: Child,
    said: PathBuf,
    /// Where it listens, if it does.
    pub address: Option<SocketAddr>,
}

impl Bridge {
    /// Starts the bridge of `desk` and waits until it says that it is ready.
    pub fn start(desk: &Desk) -> Self {
        Self::of(&desk.config, &[])
    }

    /// The same for any configuration; what the bridge says stands beside it in `stderr`.
    pub fn of(config: &Path, flags: &[&str]) -> Self {
        let said = config.with_file_name("stderr");
        let file = OpenOptions::new().create(true).append(true).open(&said).unwrap();
        let before = file.metadata().unwrap().len();
        let mut run = landbridge(["--config", config.to_str().unwrap(), "run"]);
        let child = run.args(flags).stderr(file).spawn().unwrap();
        let mut bridge = Self { child, said, address: None };
        let mut ready = None;
        wait_until("the bridge is ready", || {
            if let Some(status) = bridge.child.try_wait().unwrap() {
                panic!("the bridge ended instead of being ready: {status}");
            }
            ready = ready_line(&bridge.said(before));
            ready.is_some()
        });
        let listening = ready.as_deref().and_then(|line| line.split_once("listening on "));
        let listening = listening.and_then(|(_, rest)| rest.split_once("://"));
        bridge.address = listening.map(|(_, rest)| rest.split(',').next().unwrap().parse().unwrap());
        bridge
    }

    /// The most memory that it ever had, in MiB. Fails where it has ended.
    pub fn memory_peak(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the bridge has ended");
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() >> 10
    }

    /// SIGKILL: it ends between two instructions.
    pub fn kill(mut self) {
        self.end();
    }

    /// SIGTERM, and the wait for its end.
    pub fn stop(mut self) -> ExitStatus {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let mut ended = None;
        wait_until("the bridge stops", || {
            ended = self.child.try_wait().unwrap();
            ended.is_some()
        });
        ended.unwrap()
    }

    /// SIGHUP: it reads its configuration and certificates again.
    pub fn hang_up(&self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-HUP", &pid]).status().unwrap().success());
    }

    /// What it and its predecessors with the same configuration logged.
    pub fn log(&self) -> String {
        self.said(0)
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn said(&self, from: u64) -> String {
        let mut said = String::new();
        let mut file = File::open(&self.said).unwrap();
        file.seek(SeekFrom::Start(from)).unwrap();
        file.read_to_string(&mut said).unwrap();
        said
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        self.end();
        if std::thread::panicking() {
            let said = self.said(0);
            let tail: Vec<_> = said.lines().rev().take(30).collect();
            eprintln!("--- {}", self.said.display());
            tail.iter().rev().for_each(|line| eprintln!("{line}"));
        }
    }
}

/// The one line that says that the bridge is ready, once it is there whole.
fn ready_line(said: &str) -> Option<String> {
    let whole = &said[..said.rfind('\n')?];
    whole.lines().find(|line| line.starts_with("landbridge: site ")).map(str::to_owned)
}
