//! Where servers live: folders that nobody else uses, ports that nobody else takes, and templates, made once per machine
//! and copied. File locks say who is alive; the system lets them go when a process ends, however it ends.

use std::fs::{File, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// Below the range from which systems give out ports to those who do not care, so that a port stays free while its
/// server is down.
const PORTS: std::ops::Range<u32> = 20_000..32_000;

/// Who runs the tests.
pub fn user() -> u32 {
    std::fs::metadata("/proc/self").unwrap().uid()
}

/// The folder of all servers of this user. Others may enter it: PostgreSQL runs as another user where root runs tests.
fn root() -> PathBuf {
    let root = std::env::temp_dir().join(format!("landbridge-servers-{}", user()));
    open_folder(&root);
    root
}

/// Makes a folder that every user may enter.
pub fn open_folder(path: &Path) {
    std::fs::create_dir_all(path).unwrap();
    std::fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
}

fn lock_file(path: &Path) -> File {
    File::options().create(true).truncate(false).write(true).open(path).unwrap()
}

/// A folder and a port, for as long as this lives.
pub struct Place {
    folder: PathBuf,
    port: u16,
    lock: PathBuf,
    _alive: File,
    _port: File,
}

impl Place {
    /// A new one. Takes away what test processes that were killed have left.
    pub fn new(name: &str) -> Self {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let root = root();
        let (running, ports) = (root.join("running"), root.join("ports"));
        open_folder(&running);
        open_folder(&ports);

        let only_one = lock_file(&root.join("lock"));
        only_one.lock().unwrap();
        sweep(&running);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let folder = running.join(format!("{name}-{}-{number}", std::process::id()));
        let lock = folder.with_extension("lock");
        let alive = lock_file(&lock);
        alive.lock().unwrap();
        open_folder(&folder);
        let (port, taken) = free_port(&ports, number);
        Self { folder, port, lock, _alive: alive, _port: taken }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
        let _ = std::fs::remove_file(&self.lock);
    }
}

/// Removes the folders whose owner is no more.
fn sweep(running: &Path) {
    for entry in std::fs::read_dir(running).unwrap().flatten() {
        let path = entry.path();
        let is_lock = path.extension().is_some_and(|extension| extension == "lock");
        if is_lock && lock_file(&path).try_lock().is_ok() {
            let _ = std::fs::remove_dir_all(path.with_extension(""));
            let _ = std::fs::remove_file(&path);
        }
    }
}

/// A port that nobody listens on and no other test has, and the lock that keeps it so.
fn free_port(ports: &Path, number: u32) -> (u16, File) {
    let first = std::process::id().wrapping_mul(7).wrapping_add(number);
    (0..PORTS.end - PORTS.start)
        .map(|next| PORTS.start + first.wrapping_add(next) % (PORTS.end - PORTS.start))
        .find_map(|port| {
            let port = u16::try_from(port).unwrap();
            let lock = lock_file(&ports.join(port.to_string()));
            (lock.try_lock().is_ok() && TcpListener::bind(("127.0.0.1", port)).is_ok()).then_some((port, lock))
        })
        .expect("no free port on 127.0.0.1")
}

/// The folder or file of this name, which `make` makes at the given path if no test of this machine has made it before.
/// Others wait meanwhile. What it depends on must be part of its name.
pub fn made_once(name: &str, make: impl FnOnce(&Path)) -> PathBuf {
    let name: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || "-.".contains(c) { c } else { '_' }).collect();
    let templates = root().join("templates");
    open_folder(&templates);
    let (made, making) = (templates.join(&name), templates.join(format!("{name}.making")));
    if !made.exists() {
        let only_one = lock_file(&templates.join(format!("{name}.lock")));
        only_one.lock().unwrap();
        if !made.exists() {
            let _ = std::fs::remove_dir_all(&making);
            let _ = std::fs::remove_file(&making);
            make(&making);
            std::fs::rename(&making, &made).unwrap();
        }
    }
    made
}

/// Copies a folder with its owners and permissions.
pub fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").args(["-a", "--reflink=auto"]).args([from, to]).output().unwrap();
    assert!(copied.status.success(), "copying {}: {}", from.display(), String::from_utf8_lossy(&copied.stderr));
}
