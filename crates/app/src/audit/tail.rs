//! Where a file of the record ends: its last genuine line, and what is torn behind that. Reads backwards, so that it costs
//! one batch and not the file.

use std::fs::File;
use std::io::{self, Read as _, Seek, SeekFrom};

use super::chain::{Head, LINE_BYTES_MAX, Read, What, is_torn, read};

const CHUNK_BYTES: u64 = 64 << 10;

/// The end of a file.
#[derive(Debug)]
pub struct Tail {
    /// The last genuine line; nothing where the file has none.
    pub last: Option<Read>,
    /// Where the bytes begin that are torn: behind that line.
    pub torn_from: u64,
    /// Where the file ends.
    pub end: u64,
    /// Whether that line has no line end: it is whole, and the write stopped right behind it.
    pub unended: bool,
}

/// Why a file has no such end.
#[derive(Debug)]
pub enum TailError {
    /// It cannot be read.
    Io(io::Error),
    /// What stands at its end is neither a line nor torn. Where it begins.
    Broken(u64),
}

impl From<io::Error> for TailError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Finds the end of `file`.
///
/// A machine that stops while a batch is written may leave a hole before whole lines of it. So the last batch is followed
/// back to its beginning, and what does not hold together is torn.
pub fn tail(file: &mut File) -> Result<Tail, TailError> {
    let end = file.metadata()?.len();
    let mut back = Back { file, from: end, held: Vec::new() };
    let (mut last, mut torn_from, mut before): (Option<Read>, u64, Option<Head>) = (None, end, None);
    let mut unended = false;
    while let Some((from, bytes)) = back.next()? {
        let (line, ended) = match bytes.split_last() {
            Some((b'\n', line)) => (line, true),
            _ => (bytes.as_slice(), false),
        };
        match read(line) {
            Ok(line) => {
                unended |= !ended;
                let is_next = before.is_none_or(|before| before == line.head);
                if !is_next {
                    // What was found behind it does not go on from it: there is a hole between them.
                    (last, torn_from, unended) = (None, from + bytes.len() as u64, false);
                }
                before = Some(Head { seq: line.head.seq.saturating_sub(1), hash: line.line.prev });
                let begins = !matches!(&line.line.what, What::Leaving(leaving) if leaving.batch.0 > 1);
                last.get_or_insert(line);
                if begins {
                    return Ok(Tail { last, torn_from, end, unended });
                }
            }
            Err(_) if is_torn(line) => (last, torn_from, before, unended) = (None, from, None, false),
            Err(_) => return Err(TailError::Broken(from)),
        }
    }
    Ok(Tail { last, torn_from, end, unended })
}

/// The line number `seq` of `file`, or the last before it; nothing where all lines have higher numbers.
pub fn place(file: &mut File, seq: u64) -> Result<Option<Head>, TailError> {
    let end = file.metadata()?.len();
    let mut back = Back { file, from: end, held: Vec::new() };
    while let Some((_, bytes)) = back.next()? {
        match read(bytes.strip_suffix(b"\n").unwrap_or(&bytes)) {
            Ok(line) if line.head.seq <= seq => return Ok(Some(line.head)),
            _ => {}
        }
    }
    Ok(None)
}

/// Lines from the end to the beginning.
struct Back<'a> {
    file: &'a mut File,
    /// What is behind this place was handed out or is held.
    from: u64,
    held: Vec<u8>,
}

impl Back<'_> {
    /// The line before those handed out, with its line end, and where it begins.
    fn next(&mut self) -> Result<Option<(u64, Vec<u8>)>, TailError> {
        let mut searched = 0;
        loop {
            // The line end of the line itself is no beginning of it.
            let until = self.held.len().saturating_sub(1).saturating_sub(searched);
            let found = self.held.get(..until).and_then(|held| held.iter().rposition(|b| *b == b'\n'));
            if let Some(at) = found {
                let line = self.held.split_off(at + 1);
                return Ok(Some((self.from + self.held.len() as u64, line)));
            }
            if self.from == 0 {
                let line = std::mem::take(&mut self.held);
                return Ok((!line.is_empty()).then_some((0, line)));
            }
            if self.held.len() > LINE_BYTES_MAX {
                return Err(TailError::Broken(self.from));
            }
            searched = self.held.len().saturating_sub(1);
            // Twice as much with each look, so that a long line is not copied often.
            let more = self.from.min(CHUNK_BYTES.max(self.held.len() as u64));
            self.from -= more;
            self.file.seek(SeekFrom::Start(self.from))?;
            let mut chunk = vec![0; usize::try_from(more).unwrap_or(usize::MAX)];
            self.file.read_exact(&mut chunk)?;
            chunk.append(&mut self.held);
            self.held = chunk;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::super::chain::tests::{file, keys, leaving, write};
    use super::*;

    struct Temporary(std::path::PathBuf);

    impl Temporary {
        fn new(name: &str) -> Self {
            Self(std::env::temp_dir().join(format!("landbridge-tail-{name}-{}", std::process::id())))
        }

        fn tail(&self, bytes: &[u8]) -> Result<Tail, TailError> {
            File::create(&self.0).unwrap().write_all(bytes).unwrap();
            tail(&mut File::open(&self.0).unwrap())
        }
    }

    impl Drop for Temporary {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    #[test]
    fn wherever_a_write_stops_the_end_is_the_last_line_of_before_or_of_the_batch() {
        let (keys, place) = (keys(1), Temporary::new("torn"));
        let (mut bytes, mut head) = file(&["open", "solve"], &keys);
        let (good, whole) = (head, bytes.len());
        let batch = (1..=3).map(|n| leaving(&[&"long ".repeat(20_000), "x"], (n, 3), &keys)).collect();
        write(&mut bytes, &mut head, &keys, batch);
        let mut heads = vec![good];
        for length in (whole..=bytes.len()).step_by(997).chain([bytes.len()]) {
            let end = place.tail(&bytes[..length]).unwrap();
            let last = end.last.unwrap().head;
            if heads.last() != Some(&last) {
                heads.push(last);
            }
            assert_eq!(end.end, length as u64);
            assert!(end.torn_from <= end.end && end.torn_from >= whole as u64);
        }
        assert_eq!(heads.iter().map(|head| head.seq).collect::<Vec<_>>(), [3, 4, 5, 6]);
        assert_eq!(heads.last(), Some(&head));
    }

    #[test]
    fn a_hole_in_the_last_batch_tears_all_of_it_behind_the_hole() {
        let (keys, place) = (keys(1), Temporary::new("hole"));
        let (mut bytes, mut head) = file(&["open"], &keys);
        let mut ends = vec![bytes.len()];
        for n in 1..=3 {
            write(&mut bytes, &mut head, &keys, vec![leaving(&["x"], (n, 3), &keys)]);
            ends.push(bytes.len());
        }
        bytes[ends[1]..ends[2]].fill(0);
        let end = place.tail(&bytes).unwrap();
        assert_eq!((end.last.unwrap().head.seq, end.torn_from), (3, ends[1] as u64));
    }

    #[test]
    fn what_is_neither_a_line_nor_torn_is_broken() {
        let (keys, place) = (keys(1), Temporary::new("broken"));
        let (good, _) = file(&["open", "solve"], &keys);
        let mut changed = good.clone();
        let at = changed.len() - 300;
        changed[at] ^= 1;
        for bytes in [[&good[..], b"hello\n"].concat(), changed, b"hello".to_vec()] {
            assert!(matches!(place.tail(&bytes), Err(TailError::Broken(_))));
        }
        assert!(place.tail(b"").unwrap().last.is_none());
        assert!(place.tail(&good[..50]).unwrap().last.is_none());
    }
}
