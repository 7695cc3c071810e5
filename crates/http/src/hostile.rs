//! What has to hold of bodies and headers, whatever stands in them. The fuzz targets call these functions, and the tests
//! below with some thousand mutations of good input. Neither is part of the product.

use axum::http::HeaderMap;
use axum::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, HeaderValue};

use crate::body::{Coding, Unreadable, coding, compress, decompress, offers_zstd, one_line};

#[cfg(test)]
#[path = "../../../fuzz/src/mutate.rs"]
mod mutate;

/// The maximum of these checks, in bytes.
const BYTES_MAX: usize = 64 << 10;

/// Whatever claims to be compressed never becomes more than the maximum; and what is compressed here reads back.
pub fn body(bytes: &[u8]) {
    for bytes_max in [0, 100, BYTES_MAX] {
        match decompress(bytes, bytes_max) {
            Ok(clear) => assert!(clear.len() <= bytes_max),
            Err(Unreadable::TooLarge | Unreadable::Damaged) => {}
        }
    }
    if let Some(packed) = compress(bytes) {
        assert!(packed.len() < bytes.len());
        assert_eq!(decompress(&packed, bytes.len()).as_deref(), Ok(bytes));
        assert_eq!(decompress(&packed, bytes.len() - 1), Err(Unreadable::TooLarge));
    }
}

/// Each line is a header's value. One that is unknown is never read as plain or as zstd, and a sentence fits a line.
pub fn header(bytes: &[u8]) {
    let (mut content, mut accept) = (HeaderMap::new(), HeaderMap::new());
    for line in bytes.split(|b| *b == b'\n').take(8) {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            content.append(CONTENT_ENCODING, value.clone());
            accept.append(ACCEPT_ENCODING, value);
        }
    }
    let names =
        content.get_all(CONTENT_ENCODING).iter().map(|value| value.to_str().unwrap_or("?").trim().to_lowercase());
    let names: Vec<_> = names.filter(|name| !name.is_empty() && name != "identity").collect();
    let expected = match names.as_slice() {
        [] => Coding::Plain,
        [one] if one == "zstd" => Coding::Zstd,
        _ => Coding::Foreign,
    };
    assert_eq!(coding(&content), expected, "{names:?}");
    let all =
        accept.get_all(ACCEPT_ENCODING).iter().map(|value| String::from_utf8_lossy(value.as_bytes()).to_lowercase());
    assert!(!offers_zstd(&accept) || all.into_iter().any(|list| list.contains("zstd")));
    let line = one_line(&String::from_utf8_lossy(bytes));
    assert!(!line.chars().any(char::is_control) && line.chars().count() <= 401);
}

#[cfg(test)]
mod tests {
    use super::mutate::{mutations, mutations_of_bytes};
    use super::*;

    #[test]
    fn a_mutated_body_never_becomes_more_than_the_maximum() {
        let clear: Vec<u8> = (0..20_000_u32).flat_map(|n| (n % 700).to_be_bytes()).collect();
        let bomb = compress(&vec![b'0'; 100 * BYTES_MAX]).unwrap();
        mutations_of_bytes(&[&compress(&clear).unwrap(), &bomb, b"{\"wire\":1}"], 1000, body);
    }

    #[test]
    fn a_mutated_header_is_known_or_foreign() {
        mutations(&["zstd", "identity\nzstd", "gzip, ZSTD;q=0.5", "zstd;q=0\n"], 2000, |text| header(text.as_bytes()));
    }
}
