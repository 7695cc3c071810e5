//! Keys that `rekey` retired: they seal nothing any more, and old lines of the record verify by them. They are kept beside
//! the record in `FILE.keys`, in the form of a key file; no marker is ever verified by them.

use std::path::{Path, PathBuf};

use landbridge_core::Keyring;

use crate::config::keyfile::{KeyFileError, load_keys, replace_keys};

/// The file of the retired keys of the record at `record`.
pub fn file(record: &Path) -> PathBuf {
    let mut name = record.as_os_str().to_owned();
    name.push(".keys");
    name.into()
}

/// The retired keys; nothing where none was retired.
pub fn former(record: &Path) -> Result<Option<Keyring>, KeyFileError> {
    match load_keys(&file(record)) {
        Ok(keys) => Ok(Some(keys)),
        Err(KeyFileError::Missing { .. }) => Ok(None),
        Err(e) => Err(e),
    }
}

/// Keeps `retired` beside those that are kept already.
pub fn keep(record: &Path, retired: &Keyring) -> Result<(), KeyFileError> {
    let all = match former(record)? {
        Some(kept) if kept.to_file().contains(&retired.to_file()) => return Ok(()),
        Some(kept) => kept.led_by(retired),
        None => retired.clone(),
    };
    replace_keys(&file(record), &all)
}
