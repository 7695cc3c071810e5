//! `FILE.lock` beside the configuration: held shared by whatever exchanges entries (`run`, `sync`), and alone by what
//! must not happen meanwhile (`rekey`). `FILE.repair-PEER` is held while an operator repairs the exchange with a peer, and names
//! what is to come back. The
//! system lets a lock go when the process ends, however it ends.

use std::collections::HashMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use landbridge_core::SiteName;
use landbridge_core::judge::Repair;

use crate::exit::{Exit, Failure};

const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(50);

/// Holds the lock until it is dropped.
#[derive(Debug)]
pub struct Lock(#[allow(dead_code, reason = "the lock lives as long as the open file")] Option<File>);

/// Says that this process exchanges entries. Where the folder takes no file, there is no lock and a warning.
pub fn shared(config: &Path) -> Result<Lock, Failure> {
    if !config.exists() {
        // Whoever reads the configuration says so; a lock of nothing would only lie about.
        return Ok(Lock(None));
    }
    let path = path(config);
    let file = match open(&path) {
        Ok(file) => file,
        Err(e) => {
            tracing::warn!("{} cannot be made ({e}), so `rekey` will not notice this bridge", path.display());
            return Ok(Lock(None));
        }
    };
    match patiently(|| file.try_lock_shared()) {
        Ok(()) => Ok(Lock(Some(file))),
        Err(TryLockError::WouldBlock) => Err(Failure::new(
            Exit::Configuration,
            format!("{} is held by a `landbridge rekey`", path.display()),
            "start again when it is done",
        )),
        Err(TryLockError::Error(e)) => Err(failed(&path, &e)),
    }
}

/// Makes sure that no bridge runs with this configuration, now or until the lock is dropped.
pub fn alone(config: &Path) -> Result<Lock, Failure> {
    let path = path(config);
    let file = open(&path).map_err(|e| failed(&path, &e))?;
    match patiently(|| file.try_lock()) {
        Ok(()) => Ok(Lock(Some(file))),
        Err(TryLockError::WouldBlock) => Err(Failure::new(
            Exit::Configuration,
            format!("a bridge runs with {}", config.display()),
            "stop the bridge first (`landbridge run` or `landbridge sync`), then try again",
        )),
        Err(TryLockError::Error(e)) => Err(failed(&path, &e)),
    }
}

/// Whether a bridge runs with this configuration, as far as can be seen. Makes no file.
pub fn is_running(config: &Path) -> bool {
    let Ok(file) = File::open(path(config)) else { return false };
    matches!(file.try_lock(), Err(TryLockError::WouldBlock))
}

/// Says that an operator repairs the exchange with `peer` in this process: bridges of this site take back from that peer
/// what `repair` names, until the lock is dropped, however this process ends.
pub fn repair(config: &Path, peer: &SiteName, repair: &Repair) -> Result<Lock, Failure> {
    let path = repair_path(config, peer);
    let mut file = open(&path).map_err(|e| failed(&path, &e))?;
    #[cfg(unix)]
    give_to_bridge(&file, config);
    match patiently(|| file.try_lock()) {
        Ok(()) => {
            let said = serde_json::to_vec(repair).map_err(io::Error::from);
            let written = said.and_then(|said| file.set_len(0).and_then(|()| file.write_all(&said)));
            written.map_err(|e| failed(&path, &e))?;
            Ok(Lock(Some(file)))
        }
        Err(TryLockError::WouldBlock) => Err(Failure::new(
            Exit::Configuration,
            format!("another `landbridge repair --peer {peer}` runs with {}", config.display()),
            "wait until it is done, or end it",
        )),
        Err(TryLockError::Error(e)) => Err(failed(&path, &e)),
    }
}

/// What operators repair, read by bridges: for every batch that comes.
#[derive(Debug)]
pub struct Repairs {
    config: PathBuf,
    /// Of each peer what was read last.
    last: Mutex<HashMap<SiteName, LastRead>>,
}

/// What was read of a file that was so old and long.
#[derive(Debug)]
struct LastRead {
    modified: SystemTime,
    length: u64,
    repair: Arc<Repair>,
}

impl Repairs {
    /// Beside the configuration `config`.
    pub fn beside(config: &Path) -> Self {
        Self { config: config.to_owned(), last: Mutex::default() }
    }

    /// What an operator repairs of the exchange with `peer` now. Makes no file.
    pub fn of(&self, peer: &SiteName) -> Arc<Repair> {
        let Ok(file) = File::open(repair_path(&self.config, peer)) else { return Arc::default() };
        if !matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)) {
            return Arc::default();
        }
        self.read(peer, file).unwrap_or_else(|e| {
            // The next batch looks again.
            tracing::warn!("what is repaired with {peer} cannot be read ({e}), so nothing is taken back for now");
            Arc::default()
        })
    }

    fn read(&self, peer: &SiteName, mut file: File) -> io::Result<Arc<Repair>> {
        let about = file.metadata()?;
        let (modified, length) = (about.modified()?, about.len());
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match last.get(peer) {
            Some(read) if (read.modified, read.length) == (modified, length) => Ok(read.repair.clone()),
            _ => {
                let mut said = Vec::new();
                file.read_to_end(&mut said)?;
                let repair: Arc<Repair> = Arc::new(serde_json::from_slice(&said)?);
                last.insert(peer.clone(), LastRead { modified, length, repair: repair.clone() });
                Ok(repair)
            }
        }
    }
}

fn repair_path(config: &Path, peer: &SiteName) -> PathBuf {
    let mut path = config.as_os_str().to_owned();
    path.push(format!(".repair-{peer}"));
    path.into()
}

/// Tries for a little while: whoever only looks ([`is_running`]) holds the lock for a moment.
fn patiently(lock: impl Fn() -> Result<(), TryLockError>) -> Result<(), TryLockError> {
    for _ in 0..TRIES {
        match lock() {
            Err(TryLockError::WouldBlock) => std::thread::sleep(PAUSE),
            done => return done,
        }
    }
    lock()
}

fn path(config: &Path) -> PathBuf {
    let mut path = config.as_os_str().to_owned();
    path.push(".lock");
    path.into()
}

/// Opens the file for this user alone: whoever may read it can lock it, and keep the operator waiting. An older one may be
/// open to others.
fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    #[cfg(unix)]
    close_to_others(&file)?;
    Ok(file)
}

#[cfg(unix)]
fn close_to_others(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mode = file.metadata()?.permissions().mode() & 0o7777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    match file.set_permissions(std::fs::Permissions::from_mode(mode & 0o700)) {
        // Another user's file, who alone can do it.
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        done => done,
    }
}

/// Gives the file to the user whose bridge has made the lock, who could not read it otherwise: root may have made it.
#[cfg(unix)]
fn give_to_bridge(file: &File, config: &Path) {
    use std::os::unix::fs::{MetadataExt, fchown};
    let (Ok(made), Ok(lock)) = (file.metadata(), std::fs::metadata(path(config))) else { return };
    if made.uid() != lock.uid() {
        // Only root can; whoever else has made the file keeps it.
        let _ = fchown(file, Some(lock.uid()), Some(lock.gid()));
    }
}

fn failed(path: &Path, error: &io::Error) -> Failure {
    let next = "give this user the right to write the folder of the configuration";
    Failure::new(Exit::Configuration, format!("{} cannot be locked: {error}", path.display()), next)
}

#[cfg(test)]
mod tests {
    use landbridge_core::Digest;
    use landbridge_core::message::{Missing, Text};

    use super::*;

    #[cfg(unix)]
    #[test]
    fn no_other_user_may_read_a_lock_nor_one_of_an_older_bridge() {
        use std::fs::Permissions;
        use std::os::unix::fs::PermissionsExt;
        let folder = std::env::temp_dir().join(format!("landbridge-lock-mode-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let config = folder.join("a.toml");
        std::fs::write(&config, "").unwrap();
        let n = "N".parse().unwrap();
        let (lock_file, repair_file) = (path(&config), repair_path(&config, &n));
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        for _ in 0..2 {
            drop((shared(&config).unwrap(), repair(&config, &n, &Repair::default()).unwrap()));
            assert_eq!([mode(&lock_file), mode(&repair_file)], [0o600; 2]);
            std::fs::set_permissions(&lock_file, Permissions::from_mode(0o644)).unwrap();
            std::fs::set_permissions(&repair_file, Permissions::from_mode(0o664)).unwrap();
        }
        drop(alone(&config).unwrap());
        assert_eq!(mode(&lock_file), 0o600);
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_running_bridge_is_noticed_and_several_may_run() {
        let folder = std::env::temp_dir().join(format!("landbridge-lock-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let config = folder.join("a.toml");
        std::fs::write(&config, "").unwrap();
        assert!(!is_running(&config));
        let one = shared(&config).unwrap();
        let two = shared(&config).unwrap();
        assert!(is_running(&config));
        assert_eq!(alone(&config).unwrap_err().exit, Exit::Configuration);
        drop((one, two));
        assert!(!is_running(&config));
        let lock = alone(&config).unwrap();
        assert!(shared(&config).is_err());
        drop(lock);
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_repair_names_what_comes_back_from_one_peer_until_it_ends() {
        let folder = std::env::temp_dir().join(format!("landbridge-door-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let config = folder.join("a.toml");
        let (n, c) = ("N".parse().unwrap(), "C".parse().unwrap());
        let repairs = Repairs::beside(&config);
        let named = |origins: &str| {
            let text = Text { origin: "1/2".parse().unwrap(), digest: Digest::of("another") };
            let missing = Missing { origins: origins.parse().unwrap(), texts: vec![text], ..Missing::default() };
            Repair::new([("ABC".parse().unwrap(), missing)], false)
        };
        assert_eq!(*repairs.of(&n), Repair::default());
        let door = repair(&config, &n, &named("1/4-7")).unwrap();
        assert_eq!([repairs.of(&n), repairs.of(&c)], [Arc::new(named("1/4-7")), Arc::default()]);
        assert!(repair(&config, &n, &named("1/9")).is_err());
        drop(door);
        assert_eq!(*repairs.of(&n), Repair::default(), "though its file is still there");
        let door = repair(&config, &n, &named("1/9-12")).unwrap();
        assert_eq!(*repairs.of(&n), named("1/9-12"));
        drop(door);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
