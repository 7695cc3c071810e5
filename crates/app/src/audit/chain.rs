//! A line of the record: what it says, the hash that chains it to the line before, and the seal that only a key of the site
//! makes. Nothing here reads a file or a clock.
//!
//! The hash is the plain BLAKE3 of the bytes of the line before `,"hash":`, among them the hash of the line before; so
//! `b3sum` checks the chain. The seal is a keyed BLAKE3 of that hash. Texts are told by a keyed digest of 256 bits: a plain
//! one would let every reader of the file find short texts by guessing.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use landbridge_core::{Keyring, Origin, ProblemId, ProblemName, SiteName};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The version of the lines.
pub const VERSION: u32 = 1;
/// How every line begins. What begins so and does not end as a line is torn.
pub const BEGINS: &[u8] = b"{\"audit\":1,";
/// The longest line that is written or read.
pub const LINE_BYTES_MAX: usize = 64 << 20;
/// The longest text, with the values of its fields, that is copied into a line. JSON may write a byte in six.
pub const TEXT_BYTES_MAX: u64 = 8 << 20;
/// How many entries stand in one line at most.
pub const LINE_ENTRIES_MAX: usize = 1000;
/// How many bytes of texts stand in one line, unless one entry alone has more.
pub const LINE_TEXT_BYTES_MAX: u64 = 1 << 20;

const HASH: &str = ",\"hash\":\"";
const SEAL: &str = "\",\"seal\":\"";
const END: &str = "\"}";
const HASH_CHARS: usize = 64;
/// The bytes of a line behind what is hashed.
const TAIL_BYTES: usize = HASH.len() + HASH_CHARS + SEAL.len() + HASH_CHARS + END.len();

/// 256 bits, written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hash256([u8; 32]);

/// Not a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a hash has 64 hexadecimal digits in lower case")]
pub struct HashError;

impl Hash256 {
    /// What the first line of all names as the hash before it.
    pub const ZERO: Self = Self([0; 32]);

    /// The plain BLAKE3 of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// What `hasher` has come to.
    pub fn finish(hasher: &blake3::Hasher) -> Self {
        Self(*hasher.finalize().as_bytes())
    }

    fn keyed(key: &[u8; 32], bytes: &[u8]) -> Self {
        Self(*blake3::keyed_hash(key, bytes).as_bytes())
    }
}

impl fmt::Display for Hash256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for Hash256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Hash256 {
    type Err = HashError;

    fn from_str(s: &str) -> Result<Self, HashError> {
        unhex(s.as_bytes()).map(Self).ok_or(HashError)
    }
}

impl TryFrom<String> for Hash256 {
    type Error = HashError;

    fn try_from(s: String) -> Result<Self, HashError> {
        s.parse()
    }
}

impl From<Hash256> for String {
    fn from(hash: Hash256) -> String {
        hash.to_string()
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |n: u8| char::from(DIGITS[usize::from(n & 15)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

fn unhex(digits: &[u8]) -> Option<[u8; 32]> {
    let digits: &[u8; HASH_CHARS] = digits.try_into().ok()?;
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = value(pair[0])? << 4 | value(pair[1])?;
    }
    Some(bytes)
}

/// The place of a line: `SEQ:HASH`. Whoever keeps it elsewhere can prove later that the record still has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Head {
    /// The number of the line.
    pub seq: u64,
    /// Its hash.
    pub hash: Hash256,
}

impl Head {
    /// Before the first line of all.
    pub const NONE: Self = Self { seq: 0, hash: Hash256::ZERO };
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.seq, self.hash)
    }
}

impl FromStr for Head {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        let parts = s.trim().split_once(':').and_then(|(seq, hash)| Some((seq.parse().ok()?, hash.parse().ok()?)));
        let (seq, hash) = parts.ok_or("a head is written SEQ:HASH, as `landbridge audit head` prints it")?;
        if seq == 0 { Err("lines are numbered from 1".to_owned()) } else { Ok(Self { seq, hash }) }
    }
}

/// Which key sealed a line: says nothing of the key itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct KeyId(String);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is made of one key of the site for the record.
#[derive(Clone)]
pub struct Key {
    id: KeyId,
    seal: [u8; 32],
    text: [u8; 32],
}

impl Key {
    /// Its name.
    pub fn id(&self) -> &KeyId {
        &self.id
    }

    /// The digest by which the record tells a text.
    pub fn digest(&self, text: &str) -> Hash256 {
        Hash256::keyed(&self.text, text.as_bytes())
    }

    /// The key of the digests, in hexadecimal digits. Whoever has it can find short texts by guessing, and seal nothing.
    pub fn reveal_text_key(&self) -> String {
        hex(&self.text)
    }

    fn seal(&self, hash: Hash256) -> Hash256 {
        Hash256::keyed(&self.seal, &hash.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.id)
    }
}

/// The keys of a record: the first seals, all verify.
#[derive(Debug, Clone)]
pub struct Keys(Vec<Key>);

impl Keys {
    /// The keys of the record of a site with these keys.
    pub fn of(ring: &Keyring) -> Self {
        let id = ring.derive("landbridge 2026-11 audit: name of a key");
        let seal = ring.derive("landbridge 2026-11 audit: seals of lines");
        let text = ring.derive("landbridge 2026-11 audit: digests of texts");
        let key = |((id, seal), text): (([u8; 32], _), _)| Key { id: KeyId(hex(&id[..8])), seal, text };
        Self(id.into_iter().zip(seal).zip(text).map(key).collect())
    }

    /// The same, and retired keys that still verify.
    pub fn with_former(mut self, former: &Keyring) -> Self {
        for key in Self::of(former).0 {
            if self.get(&key.id).is_none() {
                self.0.push(key);
            }
        }
        self
    }

    /// The key of this name.
    pub fn get(&self, id: &KeyId) -> Option<&Key> {
        self.0.iter().find(|key| key.id == *id)
    }

    /// The key that seals.
    pub fn signing(&self) -> Option<&Key> {
        self.0.first()
    }

    /// All of them, the one that seals first.
    pub fn iter(&self) -> impl Iterator<Item = &Key> {
        self.0.iter()
    }
}

/// What a line says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// [`VERSION`].
    pub audit: u32,
    /// Its number: the first line of all is 1, and a new file goes on counting.
    pub seq: u64,
    /// When it was written, as the clock of the machine had it. For people; nothing rests on it.
    pub time: String,
    /// The site.
    pub site: SiteName,
    /// The history.
    pub history: String,
    /// What happened.
    #[serde(flatten)]
    pub what: What,
    /// Which key sealed the line and made its digests.
    pub key: KeyId,
    /// The hash of the line before.
    pub prev: Hash256,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum What {
    /// A file begins.
    Begin {
        /// What it continues; nothing where it is the first of all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<After>,
        /// What stands in the file before this line: a beginning that was torn.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        torn: Option<Torn>,
        /// Why the line before could not be checked by whoever began this file; an operator's word.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        accepted: Option<String>,
    },
    /// Entries are about to leave. Boxed, as it is much larger than the others.
    Leaving(Box<Leaving>),
    /// The entries of earlier lines are about to leave once more, as they are there: the peer did not answer.
    Again(Again),
    /// What stands between the last line and this one was torn when the machine or the program stopped, or when the disk was
    /// full. The batch that it belongs to had not left.
    Torn(Torn),
}

/// Lines whose entries leave once more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Again {
    /// For whom.
    pub peer: SiteName,
    /// How.
    pub way: Way,
    /// The number of the first of these lines.
    pub from: u64,
    /// The number of the last.
    pub to: u64,
}

/// The file before this one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct After {
    /// How it was called when this one began, without its folder; nothing where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The number of its last line.
    pub seq: u64,
    /// The hash of its last line.
    pub hash: Hash256,
}

/// Bytes that are no line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Torn {
    /// How many, with the line ends among them.
    pub bytes: u64,
    /// Their plain BLAKE3.
    pub blake3: Hash256,
}

/// Entries of one problem that are about to leave for one peer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Leaving {
    /// For whom.
    pub peer: SiteName,
    /// `push`: this site dials. `pull`: it answers the peer's asking.
    pub way: Way,
    /// Which line of its batch this is, and how many the batch has: it leaves when all are on the disk.
    pub batch: (u32, u32),
    /// The problem here.
    pub problem: ProblemId,
    /// What the peer calls it, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub theirs: Option<ProblemId>,
    /// Every name of the problem that leaves with it.
    pub names: BTreeMap<SiteName, ProblemId>,
    /// What it is called where it was first seen, where that leaves too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home: Option<ProblemName>,
    /// The names of the problem's own shared columns whose values leave with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problem_fields: Vec<String>,
    /// Their values, where `texts = true`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub problem_values: BTreeMap<String, Option<String>>,
    /// The entries, in the order of the message.
    pub entries: Vec<Entry>,
}

/// How a batch leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// This site dials.
    Push,
    /// The peer dials.
    Pull,
}

/// One entry that is about to leave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The row here.
    pub row: i64,
    /// Where it was first written.
    pub origin: Origin,
    /// What of the text leaves.
    pub left: Left,
    /// The keyed digest of the text; where only a digest leaves, the keyed digest of that.
    pub digest: Hash256,
    /// The bytes of the text that leaves.
    pub bytes: u64,
    /// The names of the shared columns whose values leave.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
    /// The text, where `texts = true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The values of the shared columns, where `texts = true`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub values: BTreeMap<String, Option<String>>,
}

/// What of a text leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Left {
    /// The text itself.
    Text,
    /// A digest of 128 bits, by which the peer sees whether it has the text.
    Digest,
}

/// Why bytes are no genuine line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// They do not have the form of a line.
    Form,
    /// The hash is not that of the bytes.
    Hash,
    /// A line of a version that this program does not know.
    Version,
}

/// What can be said of a seal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seal {
    /// The key that the line names made it.
    Genuine,
    /// The key that the line names did not make it.
    Forged,
    /// The key that the line names is not at hand.
    Unknown,
}

/// A line that has the form of one, and the hash that its bytes have.
#[derive(Debug, Clone, PartialEq)]
pub struct Read {
    /// What it says.
    pub line: Line,
    /// Its place.
    pub head: Head,
    seal: Hash256,
}

impl Read {
    /// Whether the seal is genuine.
    pub fn seal(&self, keys: &Keys) -> Seal {
        match keys.get(&self.line.key) {
            None => Seal::Unknown,
            Some(key) if key.seal(self.head.hash) == self.seal => Seal::Genuine,
            Some(_) => Seal::Forged,
        }
    }

    /// Whether it stands behind `before`.
    pub fn continues(&self, before: Head) -> bool {
        self.head.seq == before.seq.wrapping_add(1) && self.line.prev == before.hash
    }
}

/// Reads a line, without its line end.
pub fn read(bytes: &[u8]) -> Result<Read, Flaw> {
    let (body, hash, seal) = split(bytes).ok_or(Flaw::Form)?;
    if Hash256::of(body).0 != hash {
        return Err(Flaw::Hash);
    }
    if !body.starts_with(BEGINS) {
        return Err(if body.starts_with(b"{\"audit\":") { Flaw::Version } else { Flaw::Form });
    }
    let mut json = body.to_vec();
    json.push(b'}');
    let line: Line = serde_json::from_slice(&json).map_err(|_| Flaw::Form)?;
    let head = Head { seq: line.seq, hash: Hash256(hash) };
    Ok(Read { line, head, seal: Hash256(seal) })
}

/// What is hashed, the hash and the seal.
fn split(bytes: &[u8]) -> Option<(&[u8], [u8; 32], [u8; 32])> {
    let (body, tail) = bytes.split_at_checked(bytes.len().checked_sub(TAIL_BYTES)?)?;
    let (hash, rest) = tail.strip_prefix(HASH.as_bytes())?.split_at_checked(HASH_CHARS)?;
    let (seal, rest) = rest.strip_prefix(SEAL.as_bytes())?.split_at_checked(HASH_CHARS)?;
    (rest == END.as_bytes()).then_some((body, unhex(hash)?, unhex(seal)?))
}

/// Whether `bytes`, without a line end, are what is left of a line that was being written: its beginning, or what a disk
/// shows where nothing came to be written.
pub fn is_torn(bytes: &[u8]) -> bool {
    let begins = BEGINS.starts_with(bytes) || bytes.starts_with(BEGINS);
    (begins && split(bytes).is_none()) || bytes.contains(&0)
}

/// Writes lines behind one another.
#[derive(Debug)]
pub struct Pen<'a> {
    /// The key that seals.
    pub key: &'a Key,
    /// The site.
    pub site: &'a SiteName,
    /// The history.
    pub history: &'a str,
    /// What stands in each line as the time.
    pub time: &'a str,
}

impl Pen<'_> {
    /// Appends a line with its line end to `out`. `before` is the place of the line before, and becomes that of this one.
    pub fn write(&self, out: &mut Vec<u8>, before: &mut Head, what: What) -> Result<(), serde_json::Error> {
        let line = Line {
            audit: VERSION,
            seq: before.seq + 1,
            time: self.time.to_owned(),
            site: self.site.clone(),
            history: self.history.to_owned(),
            what,
            key: self.key.id.clone(),
            prev: before.hash,
        };
        let begin = out.len();
        serde_json::to_writer(&mut *out, &line)?;
        out.pop();
        let hash = Hash256::of(out.get(begin..).unwrap_or_default());
        let seal = self.key.seal(hash);
        out.extend_from_slice(format!("{HASH}{hash}{SEAL}{seal}{END}\n").as_bytes());
        *before = Head { seq: line.seq, hash };
        Ok(())
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// Keys of a site.
    pub fn keys(of: u8) -> Keys {
        Keys::of(&Keyring::new([of; 32]))
    }

    /// Entries of problem ABC for N, in line `batch.0` of `batch.1`.
    pub fn leaving(texts: &[&str], batch: (u32, u32), keys: &Keys) -> What {
        let key = keys.signing().unwrap();
        let entry = |(row, text): (usize, &&str)| Entry {
            row: row as i64 + 1,
            origin: format!("1/{}", row + 1).parse().unwrap(),
            left: Left::Text,
            digest: key.digest(text),
            bytes: text.len() as u64,
            fields: vec!["author".into()],
            text: None,
            values: BTreeMap::new(),
        };
        What::Leaving(Box::new(Leaving {
            peer: "N".parse().unwrap(),
            way: Way::Push,
            batch,
            problem: "ABC".parse().unwrap(),
            theirs: None,
            names: [("1".parse().unwrap(), "ABC".parse().unwrap())].into(),
            home: None,
            problem_fields: vec![],
            problem_values: BTreeMap::new(),
            entries: texts.iter().enumerate().map(entry).collect(),
        }))
    }

    /// Writes these lines behind `head`.
    pub fn write(out: &mut Vec<u8>, head: &mut Head, keys: &Keys, whats: Vec<What>) {
        let site = "1".parse().unwrap();
        let pen = Pen { key: keys.signing().unwrap(), site: &site, history: "work", time: "2026-11-25T00:00:00Z" };
        whats.into_iter().for_each(|what| pen.write(out, head, what).unwrap());
    }

    /// A file with a first line and one for each of `texts`.
    pub fn file(texts: &[&str], keys: &Keys) -> (Vec<u8>, Head) {
        let (mut out, mut head) = (Vec::new(), Head::NONE);
        let mut whats = vec![What::Begin { after: None, torn: None, accepted: None }];
        whats.extend(texts.iter().map(|text| leaving(&[text], (1, 1), keys)));
        write(&mut out, &mut head, keys, whats);
        (out, head)
    }

    #[test]
    fn a_line_reads_back_and_is_chained_and_sealed() {
        let keys = keys(1);
        let (out, head) = file(&["open ticket", "say \"}\" and ,\"hash\":\""], &keys);
        let mut before = Head::NONE;
        for bytes in out.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
            assert!(bytes.starts_with(BEGINS), "the constant says how a line begins");
            let read = read(bytes).unwrap();
            assert!(read.continues(before));
            assert_eq!(read.seal(&keys), Seal::Genuine);
            assert_eq!(read.seal(&self::keys(2)), Seal::Unknown);
            let text = std::str::from_utf8(bytes).unwrap();
            let (body, _) = text.rsplit_once(",\"hash\":\"").unwrap();
            assert_eq!(Hash256::of(body.as_bytes()), read.head.hash, "what b3sum would say");
            before = read.head;
        }
        assert_eq!(before, head);
        assert_eq!(head.to_string().parse::<Head>(), Ok(head));
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        let keys = keys(1);
        let (out, _) = file(&["open ticket"], &keys);
        let line = out.split(|b| *b == b'\n').nth(1).unwrap();
        for at in 0..line.len() {
            let mut changed = line.to_vec();
            changed[at] ^= 1;
            let genuine = read(&changed).is_ok_and(|read| read.seal(&keys) == Seal::Genuine);
            assert!(!genuine, "byte {at}: {}", String::from_utf8_lossy(&changed));
        }
    }

    #[test]
    fn a_beginning_of_a_line_is_torn_and_a_whole_or_foreign_one_is_not() {
        let (out, _) = file(&["open ticket"], &keys(1));
        let line = out.split(|b| *b == b'\n').nth(1).unwrap();
        assert!((1..line.len()).all(|end| is_torn(&line[..end])), "wherever it ends");
        assert!(!is_torn(line));
        assert!(!is_torn(b"{\"audit\":2,"));
        assert!(!is_torn(b"hello"));
        assert!(is_torn(&[0; 100]));
    }

    #[test]
    fn a_head_is_read_strictly() {
        let hash = "0".repeat(64);
        assert!(format!("7:{hash}").parse::<Head>().is_ok());
        for wrong in ["", "7", "7:", &format!("0:{hash}"), &format!("-1:{hash}"), &format!("7:{}", "G".repeat(64))] {
            assert!(wrong.parse::<Head>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn keys_show_nothing_and_differ_by_purpose() {
        let keys = keys(9);
        let key = keys.signing().unwrap();
        let shown = format!("{key:?} {keys:?}");
        assert!(!shown.contains(&key.reveal_text_key()) && shown.contains(&key.id().to_string()));
        assert_ne!(hex(&key.seal), hex(&key.text));
    }
}
