//! What client and server agree on about bodies: JSON, compressed with zstd where both offer it, never larger than a
//! maximum, which holds before and after decompression. An error is JSON too: one sentence.

use std::convert::Infallible;
use std::io::Read;

use axum::body::{Body, Bytes};
use axum::http::HeaderMap;
use axum::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING};
use futures_util::stream;
use serde::{Deserialize, Serialize};

use crate::quota::Admitted;

/// Bodies smaller than this are not worth compressing.
pub(crate) const ZSTD_BYTES_MIN: usize = 1024;
/// The name of the one coding that is spoken besides none.
pub(crate) const ZSTD: &str = "zstd";
const ZSTD_LEVEL: i32 = 3;
/// Frames that need a larger window than 8 MiB are refused, as RFC 8878 recommends: the window is memory.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;
const SENTENCE_CHARS_MAX: usize = 400;

/// The body of an error.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ErrorBody {
    /// What is wrong, for a person.
    pub(crate) error: String,
}

/// How a body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    /// As it is.
    Plain,
    /// Compressed.
    Zstd,
    /// In a way that is not spoken here.
    Foreign,
}

/// How the body that comes with `headers` is written.
pub(crate) fn coding(headers: &HeaderMap) -> Coding {
    let mut coding = Coding::Plain;
    for value in headers.get_all(CONTENT_ENCODING) {
        coding = match (coding, value.to_str().map(str::trim)) {
            (before, Ok(name)) if name.is_empty() || name.eq_ignore_ascii_case("identity") => before,
            (Coding::Plain, Ok(name)) if name.eq_ignore_ascii_case(ZSTD) => Coding::Zstd,
            _ => Coding::Foreign,
        };
    }
    coding
}

/// Whether the other side says that it reads zstd.
pub(crate) fn offers_zstd(headers: &HeaderMap) -> bool {
    let lists = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).any(|item| {
        let mut parts = item.split(';').map(str::trim);
        let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(ZSTD));
        named && !parts.filter_map(|part| part.strip_prefix("q=")).any(|q| q.parse() == Ok(0.0_f32))
    })
}

/// The compressed form of `clear`, or nothing where compression does not help.
pub(crate) fn compress(clear: &[u8]) -> Option<Vec<u8>> {
    if clear.len() < ZSTD_BYTES_MIN {
        return None;
    }
    zstd::bulk::compress(clear, ZSTD_LEVEL).ok().filter(|packed| packed.len() < clear.len())
}

/// Why a body was not decompressed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// More than the maximum comes out of it.
    TooLarge,
    /// It is damaged, cut off, or no zstd.
    Damaged,
}

/// The clear form of `packed`. No more than `bytes_max` is ever produced, whatever `packed` says of itself.
pub(crate) fn decompress(packed: &[u8], bytes_max: usize) -> Result<Vec<u8>, Unreadable> {
    let mut clear = Vec::new();
    let mut read = || -> std::io::Result<()> {
        let mut decoder = zstd::stream::read::Decoder::with_buffer(packed)?;
        decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
        decoder.take(bytes_max as u64 + 1).read_to_end(&mut clear)?;
        Ok(())
    };
    let complete = read();
    if clear.len() > bytes_max {
        return Err(Unreadable::TooLarge);
    }
    complete.map(|()| clear).map_err(|_| Unreadable::Damaged)
}

/// Parts in which an answer is handed to a connection, so that one which nobody reads stays where it is counted.
const PART_BYTES: usize = 64 << 10;

/// An answer's body, which holds the place and the memory of its request until the last part of it is on its way.
pub(crate) fn held(bytes: Vec<u8>, admitted: Option<Admitted>) -> Body {
    let Some(mut admitted) = admitted else { return Body::from(bytes) };
    admitted.hold(bytes.len());
    let parts = stream::unfold((Bytes::from(bytes), admitted), async |(mut rest, admitted)| {
        let part = rest.split_to(rest.len().min(PART_BYTES));
        (!part.is_empty()).then(|| (Ok::<_, Infallible>(part), (rest, admitted)))
    });
    Body::from_stream(parts)
}

/// A sentence that came from outside, or repeats a part of what did, fit for a terminal: of one line and not too long.
pub(crate) fn one_line(sentence: &str) -> String {
    let turns =
        |c: char| matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{61c}');
    let printable = sentence.chars().map(|c| if c.is_control() || turns(c) { ' ' } else { c });
    let mut line: String = printable.take(SENTENCE_CHARS_MAX).collect();
    if sentence.chars().nth(SENTENCE_CHARS_MAX).is_some() {
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(name: HeaderName, values: &[&str]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for value in values {
            map.append(&name, HeaderValue::from_str(value).unwrap());
        }
        map
    }

    #[test]
    fn zstd_is_offered_by_name_and_not_by_zero() {
        let offers = |values: &[&str]| offers_zstd(&headers(ACCEPT_ENCODING, values));
        assert!(offers(&["zstd"]) && offers(&["gzip, ZSTD;q=0.5"]) && offers(&["gzip", "zstd"]));
        assert!(!offers(&[]) && !offers(&["gzip"]) && !offers(&["zstd;q=0"]) && !offers(&["zstd; q=0.0"]));
    }

    #[test]
    fn a_coding_that_is_not_spoken_is_told_apart() {
        let of = |values: &[&str]| coding(&headers(CONTENT_ENCODING, values));
        assert_eq!((of(&[]), of(&["identity"]), of(&["Zstd"])), (Coding::Plain, Coding::Plain, Coding::Zstd));
        assert_eq!((of(&["gzip"]), of(&["zstd, zstd"])), (Coding::Foreign, Coding::Foreign));
    }

    #[test]
    fn what_was_compressed_reads_back_up_to_the_maximum() {
        let clear: Vec<u8> = (0..100_000_u32).flat_map(|n| (n % 1000).to_be_bytes()).collect();
        let packed = compress(&clear).unwrap();
        assert!(packed.len() < clear.len() / 10);
        assert_eq!(decompress(&packed, clear.len()).unwrap(), clear);
        assert_eq!(decompress(&packed, clear.len() - 1), Err(Unreadable::TooLarge));
        assert_eq!(decompress(&packed[..packed.len() - 1], clear.len()), Err(Unreadable::Damaged));
        assert_eq!(decompress(b"{\"wire\":1}", 100), Err(Unreadable::Damaged));
        assert_eq!(compress(b"small"), None);
    }

    #[test]
    fn a_sentence_from_outside_cannot_draw_on_the_terminal() {
        assert_eq!(one_line("a\u{1b}[31m\nb"), "a [31m b");
        assert_eq!(one_line(&"x".repeat(900)).chars().count(), SENTENCE_CHARS_MAX + 1);
    }
}
