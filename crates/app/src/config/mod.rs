//! The configuration of one site: a file as it is written ([`mod@file`]) and the checked value ([`Config`]), with one
//! function between them that reports every fault at once.
//!
//! `keys` lists what may be written, `walk` compares a file with that list, `check` and its neighbours turn what is
//! left into values. Nothing here opens the database or calls a peer.

pub mod checked;
pub mod fault;
pub mod file;
pub mod keyfile;
pub mod password;
pub mod secret;
pub mod write;

mod check;
mod database;
mod env;
mod history;
mod keys;
mod peers;
mod problem;
mod sql;
mod statements;
mod tls;
mod units;
mod walk;

#[cfg(test)]
mod tests;

use std::path::Path;

use serde::Deserialize;
use toml::de::{DeTable, Deserializer};

use check::Checker;
use fault::Finding;
use walk::Walk;

pub use checked::{Audit, Config, Peer, TlsFiles, WARN_DEFAULT};
pub use fault::Faults;

/// The largest file that is read.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Reads and checks the configuration file at `path`.
pub fn load(path: &Path) -> Result<Config, Faults> {
    use std::io::Read;

    let instead = |e: &std::io::Error| match e.kind() {
        std::io::ErrorKind::PermissionDenied => {
            "give this user the right to read it, or be the user who runs the bridge"
        }
        _ => "write one with `landbridge init`, or name another with `--config`",
    };
    let file =
        std::fs::File::open(path).map_err(|e| Faults::of_file(path, format!("cannot be opened: {e}"), instead(&e)))?;
    let mut bytes = Vec::new();
    if let Err(e) = file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes) {
        return Err(Faults::of_file(path, format!("cannot be read: {e}"), "make it a file that this user may read"));
    }
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(Faults::of_file(path, "is larger than 1 MiB", "name the configuration file with `--config`"));
    }
    match String::from_utf8(bytes) {
        Ok(text) => check(&text, path, &|name| std::env::var(name).ok()),
        Err(_) => Err(Faults::of_file(path, "is no text in UTF-8", "save it as UTF-8")),
    }
}

/// Checks the text of a configuration file. `path` names it in faults and is where relative files begin; `env` reads
/// the environment. Opens no file.
///
/// Where the text is no TOML, what stands behind the first such place has no certain meaning: then all errors of the
/// syntax are reported, and of the rest what stands before them.
pub fn check(file_text: &str, path: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Config, Faults> {
    let (mut table, errors) = DeTable::parse_recoverable(file_text);
    let mut walk = Walk::default();
    walk.prune(table.get_mut(), keys::ROOT, "", 0);
    let (twice, broken): (Vec<_>, Vec<_>) = errors.iter().partition(|e| e.message() == DUPLICATE);
    if let Some(first) = broken.iter().map(|e| start(e)).min() {
        walk.findings.retain(|f| f.at < first);
        walk.findings.extend(twice.into_iter().filter(|e| start(e) < first).map(duplicate));
        walk.findings.extend(broken.into_iter().map(syntax));
        return Err(Faults::locate(path, file_text, walk.findings));
    }
    walk.findings.extend(twice.into_iter().map(duplicate));
    let mut checker = Checker::new(env, walk);
    let config = match file::ConfigFile::deserialize(Deserializer::from(table)) {
        Ok(file) => checker.config(&file, path),
        Err(e) => {
            // The walk lets nothing through that the types do not take. The error may quote a value: it is not shown.
            checker.fault(start(&e), UNREADABLE, "compare it with landbridge.example.toml");
            None
        }
    };
    match config {
        Some(config) if checker.findings.is_empty() => Ok(config),
        _ => Err(Faults::locate(path, file_text, checker.findings)),
    }
}

const UNREADABLE: &str = "this has a form that is not understood";
/// What the parser says of a key or a section that is there already; it goes on with the first.
const DUPLICATE: &str = "duplicate key";

fn start(error: &toml::de::Error) -> usize {
    error.span().map_or(0, |s| s.start)
}

fn duplicate(error: &toml::de::Error) -> Finding {
    Finding { at: start(error), what: "this is in the file twice".to_owned(), instead: "keep one of them".to_owned() }
}

/// An error of the syntax. Its sentence says what was expected and quotes nothing.
fn syntax(error: &toml::de::Error) -> Finding {
    let what = format!("this is no TOML: {}", error.message());
    Finding { at: start(error), what, instead: "correct it; texts stand in quotes, sections in brackets".to_owned() }
}
