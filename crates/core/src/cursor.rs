//! Where the next page of a comparison begins, in a form that tells the asking peer nothing: the last problem of a page may be
//! one that it must not know of. The same each time, and readable under every key that still verifies.

use crate::id::ProblemId;
use crate::seal::{KEY_BYTES, Keyring};
use crate::value::{hex, unhex};

/// The purpose of the key.
const CONTEXT: &str = "landbridge 2026-11-26 cursor of a comparison";
const TAG_BYTES: usize = 16;
/// Lengths are rounded up to this, or they would tell one id from another.
const BLOCK_BYTES: usize = 32;
/// In no text.
const PADDING: u8 = 0xff;

/// The cursor behind `problem`, as bytes travel.
pub fn seal(keys: &Keyring, problem: &ProblemId) -> String {
    let Some(key) = keys.derive(CONTEXT).into_iter().next() else { return String::new() };
    let mut bytes = problem.as_str().as_bytes().to_vec();
    bytes.resize(bytes.len().next_multiple_of(BLOCK_BYTES), PADDING);
    let tag = tag(&key, &bytes);
    mask(&key, &tag, &mut bytes);
    hex(&[&tag, &bytes[..]].concat())
}

/// The problem that a cursor was made of; nothing where it is none of ours.
pub fn open(keys: &Keyring, cursor: &str) -> Option<ProblemId> {
    let bytes = unhex(cursor)?;
    let (claimed, sealed) = bytes.split_first_chunk::<TAG_BYTES>()?;
    keys.derive(CONTEXT).into_iter().find_map(|key| {
        let mut bytes = sealed.to_vec();
        mask(&key, claimed, &mut bytes);
        let text = bytes.split(|byte| *byte == PADDING).next()?;
        let problem = std::str::from_utf8(text).ok()?.parse().ok()?;
        (tag(&key, &bytes) == *claimed).then_some(problem)
    })
}

fn tag(key: &[u8; KEY_BYTES], bytes: &[u8]) -> [u8; TAG_BYTES] {
    let mut tag = [0; TAG_BYTES];
    blake3::Hasher::new_keyed(key).update(b"tag").update(bytes).finalize_xof().fill(&mut tag);
    tag
}

fn mask(key: &[u8; KEY_BYTES], tag: &[u8; TAG_BYTES], bytes: &mut [u8]) {
    let mut stream = vec![0; bytes.len()];
    blake3::Hasher::new_keyed(key).update(b"stream").update(tag).finalize_xof().fill(&mut stream);
    bytes.iter_mut().zip(stream).for_each(|(byte, masking)| *byte ^= masking);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keys(n: u8) -> Keyring {
        Keyring::new([n; KEY_BYTES])
    }

    #[test]
    fn a_cursor_shows_neither_the_id_nor_its_length() {
        let cursor = |id: &str| seal(&keys(1), &id.parse().unwrap());
        assert_eq!(cursor("A").len(), cursor("merger with B").len());
        assert_ne!(cursor("A"), cursor("B"));
        assert_eq!(cursor("A"), cursor("A"), "a page asked for again is the same");
        assert!(!cursor("merger").contains("6d6572676572"));
    }

    proptest! {
        #[test]
        fn a_cursor_is_read_by_its_own_site_alone(id in "[^\u{0}]{1,80}", flipped in 0_usize..40) {
            let problem: ProblemId = id.parse().unwrap();
            let cursor = seal(&keys(1), &problem);
            prop_assert_eq!(open(&keys(1), &cursor), Some(problem.clone()));
            prop_assert_eq!(open(&keys(2).led_by(&keys(3)).led_by(&keys(1)), &cursor), Some(problem));
            prop_assert_eq!(open(&keys(2), &cursor), None);
            let mut bytes = cursor.into_bytes();
            let at = 2 + flipped % (bytes.len() - 2);
            bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
            prop_assert_eq!(open(&keys(1), &String::from_utf8(bytes).unwrap()), None);
        }

        #[test]
        fn what_is_no_cursor_is_none(text in ".{0,200}") {
            prop_assert_eq!(open(&keys(1), &text), None);
        }
    }
}
