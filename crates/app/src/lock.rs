//! `FILE.lock` beside the configuration: held shared by whatever exchanges entries (`run`, `sync`), and alone by what
//! must not happen meanwhile (`rekey`). `FILE.repair-PEER` is held while an operator repairs the exchange with a peer. The
//! system lets a lock go when the process ends, however it ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

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

/// What stands in the file of a repair that recognises rows.
const RECOGNISES: &str = "recognises";

/// Says that an operator repairs the exchange with `peer` in this process: bridges of this site take back what it wrote
/// itself from that peer (and, where `recognises`, take rows for what they have the text of), until the lock is dropped,
/// however this process ends.
pub fn repair(config: &Path, peer: &SiteName, recognises: bool) -> Result<Lock, Failure> {
    let path = repair_path(config, peer);
    let mut file = open(&path).map_err(|e| failed(&path, &e))?;
    match patiently(|| file.try_lock()) {
        Ok(()) => {
            let said = if recognises { RECOGNISES } else { "" };
            let written = file.set_len(0).and_then(|()| file.write_all(said.as_bytes()));
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

/// What an operator repairs of the exchange with `peer` now. Makes no file.
pub fn repairs(config: &Path, peer: &SiteName) -> Repair {
    let Ok(mut file) = File::open(repair_path(config, peer)) else { return Repair::Nothing };
    if !matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)) {
        return Repair::Nothing;
    }
    let mut said = String::new();
    match file.read_to_string(&mut said) {
        Ok(_) if said == RECOGNISES => Repair::Recognises,
        _ => Repair::GivesBack,
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

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(false).write(true).open(path)
}

fn failed(path: &Path, error: &io::Error) -> Failure {
    let next = "give this user the right to write the folder of the configuration";
    Failure::new(Exit::Configuration, format!("{} cannot be locked: {error}", path.display()), next)
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let (n, c) = ("N".parse().unwrap(), "C".parse().unwrap());
        assert_eq!(repairs(&config, &n), Repair::Nothing);
        let door = repair(&config, &n, false).unwrap();
        assert_eq!([repairs(&config, &n), repairs(&config, &c)], [Repair::GivesBack, Repair::Nothing]);
        assert!(repair(&config, &n, true).is_err());
        drop(door);
        let door = repair(&config, &n, true).unwrap();
        assert_eq!(repairs(&config, &n), Repair::Recognises);
        drop(door);
        assert_eq!(repairs(&config, &n), Repair::Nothing);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
