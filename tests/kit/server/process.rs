//! A server's processes: started so that they die with the test process, signalled by number, waited for. Signals go
//! through the shell's `kill`, because `std` has none of its own.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

/// After this a server does not come or go any more: generous, because a machine under load is not a fault.
pub const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(5);

/// Waits until `look` has something. Fails with `what`.
pub fn wait_for<T>(what: &dyn Fn() -> String, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(begun.elapsed() < PATIENCE, "after {} s: {}", PATIENCE.as_secs(), what());
        std::thread::sleep(LOOK);
    }
}

/// `program`, which the kernel kills when the test process is gone. As root it runs as `user`, if one is given.
pub fn mortal(program: &Path, user: Option<&str>) -> Command {
    let mut command = Command::new("setpriv");
    command.arg("--pdeathsig=KILL");
    if let (0, Some(user)) = (super::place::user(), user) {
        command.args([format!("--reuid={user}"), format!("--regid={user}")]).arg("--clear-groups");
    }
    command.arg(program).stdin(Stdio::null());
    command
}

/// Starts a [`mortal`] command. What counts as its parent is the *thread* that starts it, and threads of tests end
/// before a server that several of them share; so one thread, which lives as long as the process, starts them all.
pub fn spawn(command: Command) -> Child {
    type Order = (Command, Sender<std::io::Result<Child>>);
    static KEEPER: OnceLock<Mutex<Sender<Order>>> = OnceLock::new();
    let keeper = KEEPER.get_or_init(|| {
        let (orders, work) = channel::<Order>();
        std::thread::spawn(move || {
            for (mut command, answer) in work {
                let _ = answer.send(command.spawn());
            }
        });
        Mutex::new(orders)
    });
    let (answer, answered) = channel();
    keeper.lock().unwrap().send((command, answer)).unwrap();
    answered.recv().unwrap().expect("a server could not be started")
}

/// Sends a signal to those of these processes that still are.
pub fn signal(signal: &str, processes: &[u32]) {
    for process in processes {
        let script = format!("kill -{signal} {process} 2>/dev/null || true");
        Command::new("sh").args(["-c", &script]).status().unwrap();
    }
}

/// The children of a process.
pub fn children(parent: u32) -> Vec<u32> {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    all.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|process| state(*process).is_some_and(|(_, its_parent)| its_parent == parent))
        .collect()
}

/// Its state letter and its parent, as /proc shows them; none if it is gone.
fn state(process: u32) -> Option<(char, u32)> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name stands in parentheses and may have any character in it.
    let mut rest = stat[stat.rfind(')')? + 1..].split_whitespace();
    Some((rest.next()?.chars().next()?, rest.next()?.parse().ok()?))
}

/// Whether a process has ended, reaped or not.
pub fn ended(process: u32) -> bool {
    state(process).is_none_or(|(letter, _)| matches!(letter, 'Z' | 'X'))
}

/// Waits until a process that was told to stop has: the signal comes before its effect, and a last child may be born
/// between them.
pub fn wait_until_stopped(process: u32) {
    wait_for(&|| format!("process {process} does not stop"), || {
        state(process).is_none_or(|(letter, _)| matches!(letter, 'T' | 'Z' | 'X')).then_some(())
    });
}

/// Waits for the end of a child and reaps it; kills it if it does not end.
pub fn reap(child: &mut Child) -> ExitStatus {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        std::thread::sleep(LOOK);
    }
    let _ = child.kill();
    child.wait().unwrap()
}

/// Runs a client program to its end with this standard input. An error is what it said.
pub fn run(mut command: Command, input: &str) -> Result<String, String> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|e| format!("{command:?}: {e}"))?;
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    // A thread of its own: both sides could otherwise wait for the other to read. A client that stops early reads no more.
    let writer = std::thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
    let output = child.wait_with_output().map_err(|e| e.to_string())?;
    let _ = writer.join();
    if output.status.success() {
        String::from_utf8(output.stdout).map_err(|e| e.to_string())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// The last lines of a server's log, for a message.
pub fn last_words(log: &PathBuf) -> String {
    let text = String::from_utf8_lossy(&std::fs::read(log).unwrap_or_default()).into_owned();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}
