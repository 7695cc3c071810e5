//! Where the demonstration keeps its files.

use std::path::{Path, PathBuf};

use super::desk::unwritable;
use crate::exit::Failure;

/// The folder with everything that the demonstration makes; removed at the end unless its place was chosen.
pub(super) struct Folder {
    /// Where it is.
    pub(super) path: PathBuf,
    /// Whether it stays.
    pub(super) keep: bool,
}

impl Folder {
    /// A new folder among the system's temporary ones, or the one that was chosen, which must be new or empty.
    pub(super) fn new(chosen: Option<&Path>) -> Result<Self, Failure> {
        if let Some(path) = chosen {
            std::fs::create_dir_all(path).map_err(|e| unwritable(path, &e))?;
            let mut inside = std::fs::read_dir(path).map_err(|e| unwritable(path, &e))?;
            if inside.next().is_some() {
                let what = format!("the folder {} is not empty", path.display());
                return Err(Failure::usage(what, "name a new or an empty folder with --dir"));
            }
            return Ok(Self { path: path.to_owned(), keep: true });
        }
        let mut name = [0; 8];
        let _ = getrandom::fill(&mut name);
        let name = format!("landbridge-demo-{:016x}", u64::from_le_bytes(name));
        let path = std::env::temp_dir().join(name);
        let mut builder = std::fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&path).map_err(|e| unwritable(&path, &e))?;
        Ok(Self { path, keep: false })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.keep {
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}
