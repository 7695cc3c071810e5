//! The file with the database's password: read when the database is opened, refused where other users may read it.
//!
//! Nothing of what stands in it is ever in a message.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use thiserror::Error;

/// The longest password.
const BYTES_MAX: u64 = 4096;

/// Why a password file could not be read.
#[derive(Debug, Error)]
pub enum PasswordError {
    /// Other users may read or write it.
    #[error("the password file {0} is open to other users (mode {mode:04o}); `chmod 600 {0}`", path.display())]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It cannot be read.
    #[error(
        "the password file {} cannot be read: {source}; [database] password_file names a text file of this user",
        path.display()
    )]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It holds no password.
    #[error("the password file {} {why}; write the password into it, on one line and with nothing else", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
}

/// The password in the file at `path`, without the end of its line. On Unix the file is refused where other users may
/// read or write it.
pub(super) fn load(path: &Path) -> Result<String, PasswordError> {
    let unreadable = |source| PasswordError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    // The mode of the file that was opened, not of what the name means by now.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = file.metadata().map_err(unreadable)?.permissions().mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(PasswordError::Mode { path: path.to_owned(), mode });
        }
    }
    let mut text = String::new();
    file.take(BYTES_MAX + 1).read_to_string(&mut text).map_err(unreadable)?;
    let wrong = |why| PasswordError::Content { path: path.to_owned(), why };
    if text.len() as u64 > BYTES_MAX {
        return Err(wrong("is longer than 4096 bytes"));
    }
    let password = text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    match password {
        "" => Err(wrong("is empty")),
        text if text.contains(['\n', '\r', '\0']) => Err(wrong("has more than one line")),
        text => Ok(text.to_owned()),
    }
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn file(name: &str, content: &[u8], mode: u32) -> PathBuf {
        let path = std::env::temp_dir().join(format!("landbridge-password-{name}-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn a_password_is_one_line_of_a_private_file() {
        for (content, password) in [("hunter2", "hunter2"), ("hunter2\n", "hunter2"), (" hunter2 \r\n", " hunter2 ")] {
            let path = file("good", content.as_bytes(), 0o600);
            assert_eq!(load(&path).unwrap(), password);
            std::fs::remove_file(path).unwrap();
        }
    }

    #[test]
    fn what_is_no_password_is_refused_and_never_quoted() {
        for (name, content, mode, why) in [
            ("open", &b"hunter2\n"[..], 0o640, "open to other users (mode 0640); `chmod 600 "),
            ("empty", b"\n", 0o600, "is empty; write the password into it"),
            ("lines", b"hunter2\nhunter2\n", 0o600, "has more than one line"),
            ("bytes", b"hunter2\xff", 0o600, "cannot be read"),
            ("long", &[b'x'; 5000], 0o600, "is longer than 4096 bytes"),
        ] {
            let path = file(name, content, mode);
            let said = load(&path).unwrap_err().to_string();
            assert!(said.contains(why) && !said.contains("hunter2"), "{said}");
            std::fs::remove_file(path).unwrap();
        }
        let said = load(Path::new("/nowhere/password")).unwrap_err().to_string();
        assert!(said.starts_with("the password file /nowhere/password cannot be read: "), "{said}");
    }
}
