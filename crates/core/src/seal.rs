//! Keys, and the seal that tells a bridge's own marker from a text that merely looks like one (DESIGN §3).
//!
//! A seal is 50 bits of a keyed BLAKE3 over the site, the history, the problem and the marker's body, each preceded by
//! its length, so that a marker pasted into another ticket does not verify there.

use std::fmt;

use thiserror::Error;

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// Bytes of a key.
pub const KEY_BYTES: usize = 32;
const LINE: &str = "landbridge-key-1";

/// The number of characters of a seal.
pub const SEAL_CHARS: usize = 10;

/// Why a key file was not accepted. Never quotes the file: it holds secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum KeyError {
    /// The file has no key.
    #[error("has no key; a line reads `{LINE} ` and 52 characters of base 32")]
    Empty,
    /// A line is no key.
    #[error("line {0} is no key; a line reads `{LINE} ` and 52 characters of base 32")]
    Line(usize),
}

/// The keys of one site: the first signs, all verify.
#[derive(Clone, PartialEq, Eq)]
pub struct Keyring(Vec<[u8; KEY_BYTES]>);

impl Keyring {
    /// A ring of one new key, made of `random` bytes.
    pub fn new(random: [u8; KEY_BYTES]) -> Self {
        Self(vec![random])
    }

    /// Reads a key file: a line a key, empty lines and lines that begin with `#` left out.
    pub fn parse(file: &str) -> Result<Self, KeyError> {
        let mut keys = Vec::new();
        for (i, line) in file.lines().enumerate().map(|(i, l)| (i, l.trim())) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let key = line.strip_prefix(LINE).map(str::trim).and_then(decode).ok_or(KeyError::Line(i + 1))?;
            keys.push(key);
        }
        if keys.is_empty() { Err(KeyError::Empty) } else { Ok(Self(keys)) }
    }

    /// The lines of a key file that holds these keys. Secret.
    pub fn to_file(&self) -> String {
        self.0.iter().map(|key| format!("{LINE} {}\n", encode(key))).collect()
    }

    /// The ring in which `key` signs and all keys of this one still verify.
    pub fn led_by(&self, key: &Keyring) -> Keyring {
        Self(key.0.iter().chain(&self.0).copied().collect())
    }

    /// The ring of the signing key alone.
    pub fn signing(&self) -> Keyring {
        Self(self.0.iter().take(1).copied().collect())
    }

    /// A key for another purpose from each of these, the signing one's first. From such a key nobody finds the key that it
    /// was made of. `context` names the purpose and is fixed in the program.
    pub fn derive(&self, context: &str) -> Vec<[u8; KEY_BYTES]> {
        self.0.iter().map(|key| blake3::derive_key(context, key)).collect()
    }

    /// How many keys verify.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Never true: a ring has a key.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The seal of `parts` by the signing key.
    pub fn seal(&self, parts: &[&str]) -> String {
        self.0.first().map(|key| seal(key, parts)).unwrap_or_default()
    }

    /// Whether one of the keys made `seal` for `parts`.
    pub fn verifies(&self, parts: &[&str], claimed: &str) -> bool {
        self.0.iter().any(|key| same(seal(key, parts).as_bytes(), claimed.as_bytes()))
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keyring({} keys)", self.0.len())
    }
}

/// Whether `text` has the form of a seal.
pub fn is_seal(text: &str) -> bool {
    text.len() == SEAL_CHARS && text.bytes().all(|b| ALPHABET.contains(&b))
}

fn seal(key: &[u8; KEY_BYTES], parts: &[&str]) -> String {
    let mut hasher = blake3::Hasher::new_keyed(key);
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    let mut text = encode(hasher.finalize().as_bytes());
    text.truncate(SEAL_CHARS);
    text
}

/// Compares in a time that does not depend on where the two differ.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |diff, (x, y)| diff | (x ^ y)) == 0
}

/// Crockford base 32 in lower case, without padding.
fn encode(bytes: &[u8]) -> String {
    let (mut text, mut bits, mut held) = (String::new(), 0_u32, 0_u32);
    for byte in bytes {
        held = (held << 8) | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            text.push(char::from(ALPHABET[(held >> bits) as usize & 31]));
        }
        held &= (1 << bits) - 1;
    }
    if bits > 0 {
        text.push(char::from(ALPHABET[(held << (5 - bits)) as usize & 31]));
    }
    text
}

fn decode(text: &str) -> Option<[u8; KEY_BYTES]> {
    if text.len() != (KEY_BYTES * 8).div_ceil(5) {
        return None;
    }
    let (mut bytes, mut bits, mut held) = (Vec::with_capacity(KEY_BYTES), 0_u32, 0_u32);
    for c in text.bytes() {
        let value = ALPHABET.iter().position(|a| *a == c.to_ascii_lowercase())?;
        held = (held << 5) | u32::try_from(value).ok()?;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push(((held >> bits) & 255) as u8);
        }
        held &= (1 << bits) - 1;
    }
    if held == 0 { bytes.try_into().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_key_file_reads_back_as_it_is_written(a: [u8; 32], b: [u8; 32]) {
            let ring = Keyring::new(a).led_by(&Keyring::new(b));
            prop_assert_eq!(Keyring::parse(&ring.to_file()).unwrap(), ring);
        }
    }

    #[test]
    fn every_key_verifies_and_the_first_signs() {
        let old = Keyring::new([1; 32]);
        let both = old.led_by(&Keyring::new([2; 32]));
        let parts = ["1", "work_history", "ABC", "copy in system N: 1-2"];
        assert!(both.verifies(&parts, &old.seal(&parts)));
        assert!(!old.verifies(&parts, &both.seal(&parts)));
        assert!(is_seal(&old.seal(&parts)));
    }

    #[test]
    fn a_seal_belongs_to_one_site_history_problem_and_body() {
        let ring = Keyring::new([7; 32]);
        let seal = ring.seal(&["ab", "c"]);
        assert!(!ring.verifies(&["a", "bc"], &seal));
        assert!(!ring.verifies(&["ab", "d"], &seal));
    }

    #[test]
    fn a_bad_key_file_names_the_line_and_not_its_content() {
        let error = Keyring::parse("# mine\n\nlandbridge-key-1 hunter2\n").unwrap_err();
        assert_eq!(error, KeyError::Line(3));
        assert!(!error.to_string().contains("hunter2"));
        assert_eq!(Keyring::parse("\n"), Err(KeyError::Empty));
        assert!(!format!("{:?}", Keyring::new([9; 32])).contains('9'));
    }
}
