//! The key file: read, made and replaced, so that no key is ever readable by others, overwritten or half written.
//!
//! What its lines mean is `landbridge_core::seal`'s. Messages name the file and the line, never what stands there.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use landbridge_core::Keyring;
use landbridge_core::seal::KeyError;
use thiserror::Error;

/// The largest key file that is read.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Why a key file could not be read or written.
#[derive(Debug, Error)]
pub enum KeyFileError {
    /// There is none.
    #[error(
        "there is no key file {}; restore it from backup, or `landbridge rekey --lost-key` if it is gone for good",
        path.display()
    )]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// Other users may read or write it.
    #[error("the key file {0} is open to other users (mode {mode:04o}); `chmod 600 {0}`", path.display())]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It cannot be read.
    #[error("the key file {} cannot be read: {source}; it must be a text file of this user", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It holds no keys.
    #[error(
        "the key file {}: {source}; restore it from backup, or `landbridge rekey --lost-key` if it is gone for good",
        path.display()
    )]
    Content {
        /// The file.
        path: PathBuf,
        /// What was found, by line.
        source: KeyError,
    },
    /// There is one already.
    #[error("the key file {} is there and is not overwritten; `landbridge rekey` changes the key", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be written.
    #[error("the key file {} cannot be written: {source}; it is as it was", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The system has no random numbers.
    #[error("the system gives no random numbers: {0}; no key was made")]
    Random(getrandom::Error),
}

/// Reads the key file at `path`. On Unix it is refused where other users may read or write it.
pub fn load_keys(path: &Path) -> Result<Keyring, KeyFileError> {
    let unreadable = |source| KeyFileError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => KeyFileError::Missing { path: path.to_owned() },
        _ => unreadable(e),
    })?;
    // The mode of the file that was opened, not of what the name means by now.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = file.metadata().map_err(unreadable)?.permissions().mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(KeyFileError::Mode { path: path.to_owned(), mode });
        }
    }
    let mut text = String::new();
    file.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(unreadable)?;
    Keyring::parse(&text).map_err(|source| KeyFileError::Content { path: path.to_owned(), source })
}

/// Makes a new key of 32 random bytes and writes it to `path`, mode 0600, durably. Never overwrites a file.
pub fn create_keys(path: &Path) -> Result<Keyring, KeyFileError> {
    let keys = random_key()?;
    let mut file = private(path).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => KeyFileError::Exists { path: path.to_owned() },
        _ => KeyFileError::Write { path: path.to_owned(), source },
    })?;
    let written = fill(&mut file, &keys).and_then(|()| sync_folder(path));
    written.map(|()| keys).map_err(|source| {
        // Ours, made a moment ago, and no complete key file: a second attempt must not stumble over it.
        let _ = fs::remove_file(path);
        KeyFileError::Write { path: path.to_owned(), source }
    })
}

/// A ring of one new random key.
pub fn random_key() -> Result<Keyring, KeyFileError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(KeyFileError::Random)?;
    Ok(Keyring::new(bytes))
}

/// Replaces the key file at `path` by one with `keys`: at every moment the file is the old or the new one, whole.
pub fn replace_keys(path: &Path, keys: &Keyring) -> Result<(), KeyFileError> {
    replace(path, keys).map_err(|source| KeyFileError::Write { path: path.to_owned(), source })
}

fn replace(path: &Path, keys: &Keyring) -> io::Result<()> {
    // Through a symbolic link, the file behind it is the one to replace.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mut suffix = [0; 8];
    getrandom::fill(&mut suffix).map_err(|e| io::Error::other(e.to_string()))?;
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{:016x}.new", u64::from_le_bytes(suffix)));
    let new = target.with_file_name(name);

    let mut file = private(&new)?;
    let written =
        keep_owner(&target, &file).and_then(|()| fill(&mut file, keys)).and_then(|()| fs::rename(&new, &target));
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written?;
    sync_folder(&target)
}

/// Opens a new file that only its owner may read and write.
fn private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn fill(file: &mut File, keys: &Keyring) -> io::Result<()> {
    file.write_all(keys.to_file().as_bytes())?;
    file.sync_all()
}

/// An administrator who replaces the keys must not lock the daemon's own user out.
fn keep_owner(old: &Path, new: &File) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt, fchown};
        if let Ok(old) = fs::metadata(old) {
            let made = new.metadata()?;
            if (old.uid(), old.gid()) != (made.uid(), made.gid()) {
                return fchown(new, Some(old.uid()), Some(old.gid()));
            }
        }
    }
    let _ = (old, new);
    Ok(())
}

/// Makes the name itself durable.
fn sync_folder(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    {
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()?;
    }
    let _ = path;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of its own for one test, taken away at its end.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("landbridge-keyfile-{}-{name}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn key(&self) -> PathBuf {
            self.0.join("landbridge.key")
        }

        fn files(&self) -> usize {
            fs::read_dir(&self.0).unwrap().count()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn mode(path: &Path) -> u32 {
        use std::os::unix::fs::PermissionsExt;
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    fn set_mode(path: &Path, mode: u32) {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_new_key_is_private_is_read_back_and_is_never_overwritten() {
        let folder = Folder::new("new");
        let keys = create_keys(&folder.key()).unwrap();
        assert_eq!(mode(&folder.key()), 0o600);
        assert_eq!(load_keys(&folder.key()).unwrap(), keys);
        let error = create_keys(&folder.key()).unwrap_err();
        assert!(matches!(error, KeyFileError::Exists { .. }), "{error}");
        assert!(error.to_string().ends_with("is there and is not overwritten; `landbridge rekey` changes the key"));
        assert_eq!(load_keys(&folder.key()).unwrap(), keys);
    }

    #[test]
    fn a_missing_key_says_how_to_go_on() {
        let folder = Folder::new("missing");
        let path = folder.key();
        assert_eq!(
            load_keys(&path).unwrap_err().to_string(),
            format!(
                "there is no key file {}; restore it from backup, or `landbridge rekey --lost-key` if it is gone for good",
                path.display()
            )
        );
    }

    #[test]
    fn a_key_that_others_may_read_is_refused() {
        let folder = Folder::new("mode");
        let path = folder.key();
        create_keys(&path).unwrap();
        for open in [0o640, 0o604, 0o660] {
            set_mode(&path, open);
            let error = load_keys(&path).unwrap_err().to_string();
            assert_eq!(
                error,
                format!("the key file {0} is open to other users (mode {open:04o}); `chmod 600 {0}`", path.display())
            );
        }
        set_mode(&path, 0o400);
        assert!(load_keys(&path).is_ok());
    }

    #[test]
    fn a_spoiled_key_is_named_by_line_and_never_quoted() {
        let folder = Folder::new("spoiled");
        let path = folder.key();
        create_keys(&path).unwrap();
        fs::write(&path, "# mine\nlandbridge-key-1 hunter2\n").unwrap();
        let error = load_keys(&path).unwrap_err();
        assert!(error.to_string().contains("landbridge.key: line 2 is no key"), "{error}");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
        fs::write(&path, b"landbridge-key-1 \xff\n").unwrap();
        assert!(matches!(load_keys(&path).unwrap_err(), KeyFileError::Read { .. }));
        fs::write(&path, "").unwrap();
        assert!(matches!(load_keys(&path).unwrap_err(), KeyFileError::Content { source: KeyError::Empty, .. }));
    }

    #[test]
    fn keys_are_replaced_whole_and_private_even_through_a_link() {
        let folder = Folder::new("replace");
        let path = folder.key();
        let old = create_keys(&path).unwrap();
        let both = old.led_by(&random_key().unwrap());
        replace_keys(&path, &both).unwrap();
        assert_eq!(load_keys(&path).unwrap(), both);
        assert_eq!((mode(&path), folder.files()), (0o600, 1));

        let link = folder.0.join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        replace_keys(&link, &old).unwrap();
        assert_eq!(load_keys(&path).unwrap(), old);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());

        let lost = folder.0.join("lost.key");
        replace_keys(&lost, &old).unwrap();
        assert_eq!(load_keys(&lost).unwrap(), old);
    }

    #[test]
    fn keys_that_cannot_be_written_leave_nothing_behind() {
        let folder = Folder::new("unwritable");
        let inside = folder.0.join("no-folder").join("landbridge.key");
        assert!(matches!(create_keys(&inside).unwrap_err(), KeyFileError::Write { .. }));
        // A folder in the place of the file cannot be replaced by it.
        let taken = folder.0.join("taken");
        fs::create_dir(&taken).unwrap();
        assert!(replace_keys(&taken, &random_key().unwrap()).is_err());
        assert_eq!(folder.files(), 1);
    }
}
