//! The lines of a file of the record, one after the other, each in bounded memory.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};

use super::chain::LINE_BYTES_MAX;

/// A line as it stands in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawLine {
    /// Its bytes, without the line end. A longer line than any of the record comes in parts, none of them a line of it.
    pub bytes: Vec<u8>,
    /// Whether it has a line end.
    pub ended: bool,
}

/// Reads lines.
#[derive(Debug)]
pub struct Lines {
    from: BufReader<io::Take<File>>,
}

impl Lines {
    /// The lines of `file` as it is now: what is appended meanwhile is not read. A writer is waited for, so that no line is
    /// read while it is written.
    pub fn of(file: &File) -> io::Result<Self> {
        let mut file = file.try_clone()?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(0))?;
        Ok(Self { from: BufReader::with_capacity(64 << 10, file.take(length)) })
    }
}

impl Iterator for Lines {
    type Item = io::Result<RawLine>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut bytes = Vec::new();
        match (&mut self.from).take(LINE_BYTES_MAX as u64 + 1).read_until(b'\n', &mut bytes) {
            Err(e) => Some(Err(e)),
            Ok(0) => None,
            Ok(_) => {
                let ended = bytes.last() == Some(&b'\n');
                if ended {
                    bytes.pop();
                }
                Some(Ok(RawLine { bytes, ended }))
            }
        }
    }
}
