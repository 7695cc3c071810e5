//! File systems that are full or cannot be written, mounted where nobody else sees them.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use super::command::Ran;

/// Whether nothing is forbidden to this user.
pub fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|seen| seen.uid() == 0)
}

/// Runs a script that mounts something, where nobody else sees it. `$0` is the program, `$1` the folder; it ends with 77
/// where it may not mount. Nothing, and a word on it, where this machine does not let us.
pub fn with_mounts(folder: &Path, script: &str) -> Option<Ran> {
    let apart = if is_root() { "-m" } else { "-Urm" };
    let ran = Command::new("unshare")
        .args([apart, "sh", "-c", script, env!("CARGO_BIN_EXE_landbridge"), folder.to_str().unwrap()])
        .env_remove("LANDBRIDGE_CONFIG")
        .env_remove("LANDBRIDGE_LOG")
        .output();
    let ran: Ran = match ran {
        Ok(ran) => ran.into(),
        Err(e) => {
            println!("SKIPPED: there is no `unshare` here: {e}");
            return None;
        }
    };
    if ran.code == 77 || ran.err.starts_with("unshare:") {
        println!("SKIPPED: this machine lets us mount nothing: {}", ran.err);
        return None;
    }
    Some(ran)
}
