//! The file of the record of a running site: opened to append only, locked while it is written, continued where another
//! process left it, and begun anew where it was moved away. The cache remembers the last line beyond the process. Whatever is not as it should be is an error, and then nothing
//! leaves.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use landbridge_core::SiteName;

use super::chain::{After, Hash256, Head, Keys, Pen, Seal, Torn, What, read};
use super::error::AuditError;
use super::lines::Lines;
use super::tail::{Tail, TailError, place, tail};
use super::time;
use crate::cache::Cache;

/// How long another process that writes is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(2);
/// How often the name may mean another file by the time that the file is locked.
const TRIES: usize = 20;

/// The record of one site.
pub struct RecordFile {
    path: PathBuf,
    keys: Keys,
    site: SiteName,
    history: String,
    /// Remembers where the record ended, beyond this process.
    cache: Option<Arc<Cache>>,
    known: Mutex<Option<Known>>,
}

/// A file that this process wrote to.
struct Known {
    file: File,
    id: FileId,
    /// Its length when this process let go of it.
    end: u64,
    /// Its last line then.
    head: Head,
}

/// Device and inode.
type FileId = (u64, u64);

/// A file that others wait for until this is dropped.
struct Locked(File);

impl Drop for Locked {
    fn drop(&mut self) {
        // Closing it would do where nobody else had the same opening of it.
        let _ = self.0.unlock();
    }
}

/// A file that is locked, and what has to be written before anything else.
struct Held {
    file: Locked,
    id: FileId,
    /// Lines that go before what is to be recorded: of a file that begins, or of one with a torn end.
    out: Vec<u8>,
    /// The place of the last line, those in `out` counted.
    head: Head,
    /// Whether the file is new in its folder.
    new: bool,
}

/// What a new file goes on from.
#[derive(Debug, Clone)]
struct Behind {
    head: Head,
    file: Option<String>,
    /// Whether it certainly is the newest: whoever says so holds it locked.
    newest: bool,
}

/// The end of a record that nobody is about to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// The place of the last line.
    pub head: Head,
    /// How many bytes are torn behind it.
    pub torn_bytes: u64,
}

impl RecordFile {
    /// The record at `path`, which need not be there yet. The first of `keys` seals.
    pub fn new(path: &Path, keys: Keys, site: SiteName, history: &str) -> Self {
        Self { path: path.to_owned(), keys, site, history: history.to_owned(), cache: None, known: Mutex::default() }
    }

    /// The same; `cache` is told where it ends, and what it was told last must be there when another process goes on.
    pub fn known_to(mut self, cache: Arc<Cache>) -> Self {
        self.cache = Some(cache);
        self
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The keys that verify it.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Appends lines, all in one write, and returns when they are on the disk. The place of the last.
    pub fn append(&self, lines: Vec<What>) -> Result<Head, AuditError> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut held = self.hold(known.as_ref(), None, None)?;
        self.add(&mut held, lines)?;
        let written = self.write(held)?;
        self.remember(written.head, false);
        Ok(known.insert(written).head)
    }

    /// Where it ends now. Nothing is written.
    pub fn end(&self) -> Result<End, AuditError> {
        let mut file = OpenOptions::new().read(true).open(&self.path).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => self.no_line(),
            _ => self.unopened(e),
        })?;
        self.id(&file)?;
        self.patiently(|| file.try_lock_shared())?;
        match self.end_of(&mut file)? {
            (Some(head), tail) => {
                self.has_what_was_left(&mut file, head)?;
                Ok(End { head, torn_bytes: tail.end - tail.torn_from })
            }
            (None, _) => Err(self.no_line()),
        }
    }

    /// What it is that there is no line: nothing was written yet, it was moved aside, or it is gone.
    fn no_line(&self) -> AuditError {
        let last = self.newest_sibling().map(|behind| behind.head);
        self.reaches_what_was_left(last).err().unwrap_or_else(|| AuditError::Missing { path: self.path.clone() })
    }

    /// Moves the file aside and begins a new one that goes on from it. The name of the old one, where there was one.
    /// `accept`: on the operator's word also where the end of the old one is not as it should be.
    pub fn rotate(&self, accept: bool) -> Result<Option<PathBuf>, AuditError> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever asks for a new file on his word gets one that says so, whatever the old one is like.
        let word = |why: &str| accept.then(|| why.to_owned());
        match self.hold(known.as_ref(), None, word("there was no file")) {
            Ok(held) if held.new => {
                self.remember(known.insert(self.write(held)?).head, accept);
                Ok(None)
            }
            Ok(mut old) => {
                self.flush(&mut old)?;
                let aside = self.move_aside(&old.head.seq.to_string())?;
                let behind = Behind { head: old.head, file: name(&aside), newest: true };
                // The old one stays locked until the new one is there: whoever waits for it finds that one.
                let held = self.hold(None, Some(behind), word("the end of the former file was as it should be"))?;
                self.remember(known.insert(self.write(held)?).head, accept);
                Ok(Some(aside))
            }
            Err(error) if accept => {
                let (aside, behind) = self.move_unchecked(&error)?;
                // Where there is nothing to go on from, it goes on from the line that it was left with.
                let left = || self.left().map(|head| Behind { head, file: None, newest: false });
                let held = self.hold(None, behind.or_else(left), Some(error.to_string()))?;
                self.remember(known.insert(self.write(held)?).head, accept);
                Ok(aside)
            }
            Err(error) => Err(error),
        }
    }

    /// Moves a file aside whose end is not as it should be, and tells the last line of it that can be read.
    fn move_unchecked(&self, error: &AuditError) -> Result<(Option<PathBuf>, Option<Behind>), AuditError> {
        let mut file = match OpenOptions::new().read(true).open(&self.path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok((None, None)),
            Err(e) => return Err(self.unopened(e)),
        };
        self.id(&file)?;
        self.patiently(|| file.try_lock())?;
        if self.length(&file)? == 0 {
            return Ok((None, None));
        }
        let mut head = tail(&mut file).ok().and_then(|tail| tail.last).map(|last| last.head);
        if head.is_none() && matches!(error, AuditError::Broken { .. }) {
            // Its end is of no use; what stands before it is looked for from the beginning.
            head = Lines::of(&file).ok().and_then(|lines| {
                let whole = lines.map_while(Result::ok).filter_map(|line| read(&line.bytes).ok());
                whole.map(|read| read.head).last()
            });
        }
        let aside = self.move_aside(&format!("{}.unchecked", head.map_or(0, |head| head.seq)))?;
        let behind = head.map(|head| Behind { head, file: name(&aside), newest: true });
        Ok((Some(aside), behind))
    }

    fn move_aside(&self, end: &str) -> Result<PathBuf, AuditError> {
        let with = |end: &str| {
            let mut name = self.path.as_os_str().to_owned();
            name.push(format!(".{end}"));
            PathBuf::from(name)
        };
        let mut aside = with(end);
        let mut number = 1;
        while aside.exists() {
            number += 1;
            aside = with(&format!("{end}.{number}"));
        }
        fs::rename(&self.path, &aside).map_err(|e| self.unwritten(e))?;
        Ok(aside)
    }

    /// The file, locked and with its end looked at; begun where there is none. What this process knows of it stays known
    /// until something new is written, so that what is wrong now is wrong at the next attempt too.
    fn hold(
        &self,
        known: Option<&Known>,
        mut behind: Option<Behind>,
        accepted: Option<String>,
    ) -> Result<Held, AuditError> {
        if let Some(mine) = known {
            let file = self.locked(mine.file.try_clone().map_err(|e| self.unopened(e))?)?;
            let there = self.id_of_path()?;
            if there == Some(mine.id) {
                return self.resume(file, mine);
            }
            behind = Some(self.left_behind(&file, mine, there.is_some())?);
        }
        if behind.is_none() && self.id_of_path()?.is_none() {
            // Before there is a file: one that is gone stays gone, and is not found empty.
            self.reaches_what_was_left(self.newest_sibling().map(|behind| behind.head))?;
        }
        for _ in 0..TRIES {
            let mut options = OpenOptions::new();
            options.read(true).append(true).create(true).mode(0o600);
            let file = options.open(&self.path).map_err(|e| self.unopened(e))?;
            let id = self.id(&file)?;
            let file = self.locked(file)?;
            if self.id_of_path()? == Some(id) {
                return self.adopt(file, id, behind, accepted);
            }
        }
        Err(AuditError::Busy { path: self.path.clone() })
    }

    /// The file that this process wrote to last. Others may have appended since.
    fn resume(&self, file: Locked, mine: &Known) -> Result<Held, AuditError> {
        let length = self.length(&file.0)?;
        let cut = || AuditError::Cut { path: self.path.clone(), seq: mine.head.seq };
        if length < mine.end {
            return Err(cut());
        }
        let mut held = Held { file, id: mine.id, out: Vec::new(), head: mine.head, new: false };
        if length > mine.end {
            let (head, tail) = self.end_of(&mut held.file.0)?;
            held.head = head.filter(|head| head.seq >= mine.head.seq).ok_or_else(cut)?;
            self.explain(&mut held, &tail)?;
        }
        Ok(held)
    }

    /// The end of the file that this process wrote to, which has another name now or none.
    fn left_behind(&self, file: &Locked, mine: &Known, replaced: bool) -> Result<Behind, AuditError> {
        let mut left = file.0.try_clone().map_err(|e| self.unopened(e))?;
        let links = left.metadata().map_err(|e| self.unopened(e))?.nlink();
        if links == 0 && !replaced {
            return Err(AuditError::Deleted { path: self.path.clone(), seq: mine.head.seq });
        }
        // What cannot be read of it any more is not needed where another file stands in its place: that must be newer.
        let head = match self.end_of(&mut left) {
            Ok((head, _)) => head.unwrap_or(mine.head),
            Err(_) if replaced => mine.head,
            Err(error) => return Err(error),
        };
        let is_it = |path: &PathBuf| fs::metadata(path).is_ok_and(|there| (there.dev(), there.ino()) == mine.id);
        let file = self.siblings().into_iter().find(is_it).and_then(|path| name(&path));
        Ok(Behind { head, file, newest: false })
    }

    /// A file that this process did not write to yet.
    fn adopt(
        &self,
        mut file: Locked,
        id: FileId,
        behind: Option<Behind>,
        accepted: Option<String>,
    ) -> Result<Held, AuditError> {
        let (head, tail) = self.end_of(&mut file.0)?;
        let unknown = behind.is_none();
        let Some(head) = head else {
            // Others may have begun files since this process wrote.
            let others = if behind.as_ref().is_some_and(|behind| behind.newest) { None } else { self.newest_sibling() };
            let behind = behind.into_iter().chain(others).max_by_key(|behind| behind.head.seq);
            if unknown {
                self.reaches_what_was_left(behind.as_ref().map(|behind| behind.head))?;
            }
            let after = behind.as_ref().map(|b| After { file: b.file.clone(), seq: b.head.seq, hash: b.head.hash });
            let head = behind.map_or(Head::NONE, |behind| behind.head);
            let mut held = Held { file, id, out: Vec::new(), head, new: true };
            let torn = self.torn(&mut held, &tail)?;
            self.add(&mut held, vec![What::Begin { after, torn, accepted }])?;
            return Ok(held);
        };
        if let Some(behind) = behind.filter(|behind| head.seq <= behind.head.seq)
            && !self.is_accepted(&file.0)?
        {
            return Err(AuditError::Cut { path: self.path.clone(), seq: behind.head.seq });
        }
        if unknown {
            self.has_what_was_left(&mut file.0, head)?;
        }
        let mut held = Held { file, id, out: Vec::new(), head, new: false };
        self.explain(&mut held, &tail)?;
        Ok(held)
    }

    /// The line that the record ended with when this site last wrote to it, as far as the cache knows. It may be behind by
    /// what was written in the last moment of a process that was killed, and is never ahead.
    fn left(&self) -> Option<Head> {
        self.cache.as_ref().and_then(|cache| cache.record_head())
    }

    fn remember(&self, head: Head, anew: bool) {
        if let Some(cache) = &self.cache {
            cache.record_ends(head, anew);
        }
    }

    /// Whether a file that ends with `ends` has the line that the record was left with. Where its first line stands behind
    /// that one, it is in a file before.
    fn has_what_was_left(&self, file: &mut File, ends: Head) -> Result<(), AuditError> {
        match self.left() {
            Some(left) if ends.seq > left.seq => match place(file, left.seq).map_err(|e| self.unread(e))? {
                Some(there) if there != left => Err(self.lacks(left, Some(there))),
                _ => Ok(()),
            },
            _ => self.reaches_what_was_left(Some(ends)),
        }
    }

    /// Whether a record whose last line is `last` goes as far as it did.
    fn reaches_what_was_left(&self, last: Option<Head>) -> Result<(), AuditError> {
        match self.left() {
            Some(left) if last.is_none_or(|last| last.seq <= left.seq && last != left) => Err(self.lacks(left, last)),
            _ => Ok(()),
        }
    }

    fn lacks(&self, left: Head, has: Option<Head>) -> AuditError {
        AuditError::Left { path: self.path.clone(), left, has }
    }

    /// Whether the file was begun by an operator's word.
    fn is_accepted(&self, file: &File) -> Result<bool, AuditError> {
        let mut lines = Lines::of(file).map_err(|e| self.unopened(e))?;
        let first = lines.next().and_then(Result::ok).and_then(|line| read(&line.bytes).ok());
        Ok(first.is_some_and(|first| {
            let begun = matches!(first.line.what, What::Begin { accepted: Some(_), .. });
            begun && first.seal(&self.keys) == Seal::Genuine
        }))
    }

    /// The last line of a file, sealed by this site, and what stands behind it.
    fn end_of(&self, file: &mut File) -> Result<(Option<Head>, Tail), AuditError> {
        let path = || self.path.clone();
        let tail = tail(file).map_err(|error| self.unread(error))?;
        let head = match &tail.last {
            None => None,
            Some(last) => match last.seal(&self.keys) {
                Seal::Genuine => Some(last.head),
                Seal::Forged => return Err(AuditError::Forged { path: path() }),
                Seal::Unknown => return Err(AuditError::UnknownKey { path: path(), key: last.line.key.clone() }),
            },
        };
        Ok((head, tail))
    }

    /// Writes first what a torn end is.
    fn explain(&self, held: &mut Held, tail: &Tail) -> Result<(), AuditError> {
        match self.torn(held, tail)? {
            Some(torn) => self.add(held, vec![What::Torn(torn)]),
            None => Ok(()),
        }
    }

    /// The bytes behind the last line, which get a line end where they have none.
    fn torn(&self, held: &mut Held, tail: &Tail) -> Result<Option<Torn>, AuditError> {
        if tail.torn_from == tail.end {
            if tail.unended {
                held.out.push(b'\n');
            }
            return Ok(None);
        }
        let mut hasher = blake3::Hasher::new();
        let (mut left, mut last) = (tail.end - tail.torn_from, 0);
        let mut bytes = left;
        let file = &mut held.file.0;
        let mut chunk = vec![0; 64 << 10];
        file.seek(SeekFrom::Start(tail.torn_from)).map_err(|e| self.unopened(e))?;
        while left > 0 {
            let room = chunk.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let read = file.read(&mut chunk[..room]).map_err(|e| self.unopened(e))?;
            if read == 0 {
                return Err(self.unopened(io::ErrorKind::UnexpectedEof.into()));
            }
            hasher.update(&chunk[..read]);
            last = chunk[read - 1];
            left -= read as u64;
        }
        if last != b'\n' {
            held.out.push(b'\n');
            hasher.update(b"\n");
            bytes += 1;
        }
        Ok(Some(Torn { bytes, blake3: Hash256::finish(&hasher) }))
    }

    /// Puts lines behind those that are to be written.
    fn add(&self, held: &mut Held, lines: Vec<What>) -> Result<(), AuditError> {
        let unsealed = || io::Error::other("there is no key to seal it with");
        let key = self.keys.signing().ok_or_else(unsealed).map_err(|e| self.unwritten(e))?;
        let now = time::now();
        let pen = Pen { key, site: &self.site, history: &self.history, time: &now };
        for line in lines {
            pen.write(&mut held.out, &mut held.head, line).map_err(|e| self.unwritten(e.into()))?;
        }
        Ok(())
    }

    /// Writes what is to be written, and waits until it is on the disk.
    fn write(&self, mut held: Held) -> Result<Known, AuditError> {
        self.flush(&mut held)?;
        let file = held.file.0.try_clone().map_err(|e| self.unopened(e))?;
        Ok(Known { end: self.length(&file)?, file, id: held.id, head: held.head })
    }

    fn flush(&self, held: &mut Held) -> Result<(), AuditError> {
        let written = held.file.0.write_all(&held.out).and_then(|()| held.file.0.sync_data());
        written
            .and_then(|()| if held.new { sync_folder(&self.path) } else { Ok(()) })
            .map_err(|e| self.unwritten(e))?;
        held.out.clear();
        held.new = false;
        Ok(())
    }

    /// Locks the file, and waits a while for others. Gives up before long: whoever asks tries again.
    fn locked(&self, file: File) -> Result<Locked, AuditError> {
        self.patiently(|| file.try_lock())?;
        Ok(Locked(file))
    }

    fn patiently(&self, lock: impl Fn() -> Result<(), TryLockError>) -> Result<(), AuditError> {
        let begun = Instant::now();
        loop {
            match lock() {
                Ok(()) => return Ok(()),
                Err(TryLockError::WouldBlock) if begun.elapsed() < PATIENCE => std::thread::sleep(LOOK),
                Err(TryLockError::WouldBlock) => return Err(AuditError::Busy { path: self.path.clone() }),
                Err(TryLockError::Error(e)) => return Err(self.unopened(e)),
            }
        }
    }

    /// What the name means now; nothing where there is no such file.
    fn id_of_path(&self) -> Result<Option<FileId>, AuditError> {
        match fs::metadata(&self.path) {
            Ok(there) => Ok(Some((there.dev(), there.ino()))),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(self.unopened(e)),
        }
    }

    fn id(&self, file: &File) -> Result<FileId, AuditError> {
        let there = file.metadata().map_err(|e| self.unopened(e))?;
        if there.is_file() {
            Ok((there.dev(), there.ino()))
        } else {
            Err(AuditError::NoFile { path: self.path.clone() })
        }
    }

    fn length(&self, file: &File) -> Result<u64, AuditError> {
        Ok(file.metadata().map_err(|e| self.unopened(e))?.len())
    }

    /// Files beside this one whose names begin with its name: what rotation leaves.
    fn siblings(&self) -> Vec<PathBuf> {
        let (Some(own), Ok(folder)) = (self.path.file_name(), fs::read_dir(folder(&self.path))) else { return vec![] };
        let own = own.as_encoded_bytes();
        let begins =
            |name: &[u8]| name.len() > own.len() && name.starts_with(own) && matches!(name[own.len()], b'.' | b'-');
        folder.flatten().filter(|e| begins(e.file_name().as_encoded_bytes())).map(|e| e.path()).collect()
    }

    /// The end of the record in the files that rotation left, where this process did not write them. A writer that still
    /// has the newest of them open is waited for.
    fn newest_sibling(&self) -> Option<Behind> {
        let end = |path: PathBuf| {
            let mut file = File::open(&path).ok()?;
            self.patiently(|| file.try_lock_shared()).ok()?;
            Some(Behind { head: self.end_of(&mut file).ok()?.0?, file: name(&path), newest: false })
        };
        self.siblings().into_iter().filter_map(end).max_by_key(|behind| behind.head.seq)
    }

    fn unread(&self, error: TailError) -> AuditError {
        match error {
            TailError::Io(source) => self.unopened(source),
            TailError::Broken(at) => AuditError::Broken { path: self.path.clone(), at },
        }
    }

    fn unopened(&self, source: io::Error) -> AuditError {
        AuditError::Open { path: self.path.clone(), source }
    }

    fn unwritten(&self, source: io::Error) -> AuditError {
        AuditError::Write { path: self.path.clone(), source }
    }
}

fn name(path: &Path) -> Option<String> {
    path.file_name().and_then(|name| name.to_str()).map(str::to_owned)
}

/// The folder of the file at `path`.
pub fn folder(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes the name itself durable.
fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(folder(path))?.sync_all()
}

#[cfg(test)]
mod tests;
