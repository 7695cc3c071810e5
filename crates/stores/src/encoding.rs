//! MIME transfer encodings of texts, as ticket systems that keep e-mail parts have them. Only reading: what a bridge
//! writes is written plainly.

/// The text that `stored` says in this transfer encoding; nothing where it says none, or none in UTF-8. Without an
/// encoding, and in one that is none (`7bit`, `8bit`, `binary`), the text itself.
pub fn decoded(stored: &str, encoding: Option<&str>) -> Option<String> {
    match encoding.unwrap_or_default().trim().to_ascii_lowercase().as_str() {
        "" | "none" | "7bit" | "8bit" | "binary" => Some(stored.to_owned()),
        "quoted-printable" => String::from_utf8(quoted_printable(stored)?).ok(),
        "base64" => String::from_utf8(base64(stored)?).ok(),
        _ => None,
    }
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

fn quoted_printable(stored: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(stored.len());
    let mut rest = stored.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        if *first != b'=' {
            out.push(*first);
            continue;
        }
        // `=` at the end of a line, perhaps with blanks behind it, joins it with the next one.
        let blanks = rest.iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
        match rest.get(blanks..)? {
            [] => rest = &[],
            [b'\r', b'\n', next @ ..] | [b'\n', next @ ..] => rest = next,
            _ => {
                let [high, low, next @ ..] = rest else { return None };
                out.push(hex_digit(*high)? << 4 | hex_digit(*low)?);
                rest = next;
            }
        }
    }
    Some(out)
}

fn base64(stored: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(stored.len() / 4 * 3);
    let (mut bits, mut count, mut padding) = (0_u32, 0_u32, 0_u32);
    for byte in stored.bytes().filter(|b| !b.is_ascii_whitespace()) {
        let six = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'=' => {
                padding += 1;
                continue;
            }
            _ => return None,
        };
        if padding > 0 {
            return None;
        }
        bits = (bits << 6 | u32::from(six)) & 0xff_ffff;
        count += 1;
        if count == 4 {
            out.extend_from_slice(&bits.to_be_bytes()[1..]);
            (bits, count) = (0, 0);
        }
    }
    match (count, padding) {
        (0, 0) => {}
        (2, 0 | 2) => out.push((bits >> 4) as u8),
        (3, 0 | 1) => out.extend_from_slice(&((bits >> 2) as u16).to_be_bytes()),
        _ => return None,
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::decoded;

    #[test]
    fn each_encoding_reads_back_as_the_text_it_says() {
        for (stored, encoding, text) in [
            ("plain = text", None, "plain = text"),
            ("8 bits: ä", Some("8BIT"), "8 bits: ä"),
            ("caf=C3=A9 =3D long=\r\n line= \nend", Some("quoted-printable"), "café = long lineend"),
            ("Y2Fmw6k=", Some("base64"), "café"),
            ("Y2Fm\r\nw6k", Some("Base64"), "café"),
            ("YQ==", Some("base64"), "a"),
            ("", Some("base64"), ""),
        ] {
            assert_eq!(decoded(stored, encoding).as_deref(), Some(text), "{stored} {encoding:?}");
        }
    }

    #[test]
    fn what_is_not_in_its_encoding_is_no_text() {
        for (stored, encoding) in [
            ("=C3=", "quoted-printable"),
            ("=4", "quoted-printable"),
            ("=XY", "quoted-printable"),
            ("=FF", "quoted-printable"),
            ("Y", "base64"),
            ("Y2=Fm", "base64"),
            ("Y?==", "base64"),
            ("YQ=", "base64"),
            ("x", "uuencode"),
        ] {
            assert_eq!(decoded(stored, Some(encoding)), None, "{stored} {encoding}");
        }
    }
}
