//! The forms in which values of shared columns travel, and whether a database kept one exactly.
//!
//! Every value travels as text (DESIGN §5). Booleans are `true` and `false`, numbers are decimal, timestamps are ISO 8601
//! in UTC (`2026-11-22T13:09:09.25Z`; without `Z` where the column knows no zone), bytes are `\x` and hexadecimal digits.
//! A database may write the same value otherwise: `1.50` for `1.5`. [`same`] says what is the same value.

/// Whether `kept` is the very value that `sent` is. Equal texts are; two decimal numbers of one value are; two timestamps
/// of one instant are, where a missing zone counts as UTC; and `1` and `true` are, since some databases have no other
/// booleans. `007` is no number, so 7 is not the same.
pub fn same(sent: Option<&str>, kept: Option<&str>) -> bool {
    match (sent, kept) {
        (Some(sent), Some(kept)) if sent == kept => true,
        (Some(sent), Some(kept)) => {
            let number = || Some(Decimal::parse(sent)? == Decimal::parse(kept)?);
            let instant = || Some(timestamp(sent)? == timestamp(kept)?);
            let truth = || Some(boolean(sent)? == boolean(kept)?);
            number().or_else(instant).or_else(truth).unwrap_or(false)
        }
        (None, None) => true,
        _ => false,
    }
}

/// A truth value: databases without booleans write 0 and 1.
fn boolean(text: &str) -> Option<bool> {
    match text {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}

/// A decimal number, so that 1.50, 1.5 and 15e-1 are one.
#[derive(Debug, PartialEq, Eq)]
struct Decimal {
    negative: bool,
    /// Without zeros at either end; empty for zero.
    digits: String,
    /// The power of ten of the last digit; 0 for zero.
    exponent: i64,
}

impl Decimal {
    /// Nothing where a program would not write a number like this: with a plus sign, or zeros in front.
    fn parse(text: &str) -> Option<Self> {
        let (negative, rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (mantissa, power) = match rest.split_once(['e', 'E']) {
            Some((mantissa, power)) => (mantissa, power.strip_prefix('+').unwrap_or(power).parse::<i32>().ok()?),
            None => (rest, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let plain = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        let leading_zero = whole.len() > 1 && whole.starts_with('0');
        if whole.is_empty() || leading_zero || !plain(whole) || !plain(fraction) || mantissa.ends_with('.') {
            return None;
        }
        let digits = format!("{whole}{fraction}");
        let without = digits.trim_end_matches('0');
        let dropped = (digits.len() - without.len()) as i64;
        let digits = without.trim_start_matches('0').to_owned();
        if digits.is_empty() {
            return Some(Self { negative: false, digits, exponent: 0 });
        }
        let exponent = i64::from(power) - fraction.len() as i64 + dropped;
        Some(Self { negative, digits, exponent })
    }
}

/// The timestamp in canonical form without zone and without zeros at the end of the fraction; nothing where the text is
/// none. Takes `2026-11-22 13:09:09+00` and the like, as databases whose session is in UTC write it.
fn timestamp(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let shaped = |from: usize, shape: &str| {
        let part = bytes.get(from..from + shape.len())?;
        let fits = |(b, s): (&u8, u8)| if s == b'0' { b.is_ascii_digit() } else { *b == s };
        part.iter().zip(shape.bytes()).all(fits).then_some(())
    };
    shaped(0, "0000-00-00")?;
    shaped(11, "00:00:00")?;
    if !matches!(bytes.get(10), Some(b'T' | b' ')) {
        return None;
    }
    let rest = text.get(19..)?;
    let rest = ["Z", "+00:00", "+00"].iter().find_map(|zone| rest.strip_suffix(zone)).unwrap_or(rest);
    let fraction = match rest.strip_prefix('.') {
        Some(digits) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => {
            digits.trim_end_matches('0')
        }
        None if rest.is_empty() => "",
        _ => return None,
    };
    let dot = if fraction.is_empty() { "" } else { "." };
    Some(format!("{}T{}{dot}{fraction}", text.get(..10)?, text.get(11..19)?))
}

/// A timestamp as it travels; `zoned`: the column keeps instants, the session is in UTC. Other texts stay as they are
/// (`infinity`).
pub fn iso_timestamp(text: &str, zoned: bool) -> String {
    match timestamp(text) {
        Some(plain) if zoned => format!("{plain}Z"),
        Some(plain) => plain,
        None => text.to_owned(),
    }
}

/// A timestamp as a session in UTC takes it: `2026-11-22 13:09:09.25`. Nothing where the text is none, or has a zone
/// other than UTC.
pub fn sql_timestamp(text: &str) -> Option<String> {
    timestamp(text).map(|plain| plain.replacen('T', " ", 1))
}

/// Bytes as they travel.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold("\\x".to_owned(), |hex, b| format!("{hex}{b:02x}"))
}

/// The bytes of a value in the form of [`hex`].
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix("\\x")?;
    if digits.len() % 2 != 0 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same_texts(a: &str, b: &str) -> bool {
        assert_eq!(same(Some(a), Some(b)), same(Some(b), Some(a)));
        same(Some(a), Some(b))
    }

    #[test]
    fn a_number_is_the_same_however_a_database_writes_it() {
        for (a, b) in [("1.5", "1.50"), ("17", "17.00"), ("-0", "0.0"), ("1e300", "1E+300"), ("1500", "1.5e3")] {
            assert!(same_texts(a, b), "{a} {b}");
        }
        for (a, b) in [("007", "7"), ("+7", "7"), ("1.5", "1.51"), ("-1", "1"), ("1", "10"), (".5", "0.5"), ("", "0")] {
            assert!(!same_texts(a, b), "{a} {b}");
        }
    }

    #[test]
    fn a_timestamp_is_the_same_however_a_database_writes_it() {
        let iso = "2026-11-22T13:09:09.25Z";
        for other in ["2026-11-22 13:09:09.250000+00", "2026-11-22T13:09:09.25", "2026-11-22 13:09:09.25"] {
            assert!(same_texts(iso, other), "{other}");
        }
        for other in ["2026-11-22 13:09:09", "2026-11-22 13:09:09.25+02", "2026-11-22", "2026-11-22T13:09:09.Z"] {
            assert!(!same_texts(iso, other), "{other}");
        }
        assert_eq!(iso_timestamp("2026-11-22 13:09:09.250+00", true), iso);
        assert_eq!(iso_timestamp("infinity", true), "infinity");
        assert_eq!(sql_timestamp(iso).as_deref(), Some("2026-11-22 13:09:09.25"));
    }

    #[test]
    fn a_boolean_is_the_same_however_a_database_writes_it() {
        assert!(same_texts("true", "1") && same_texts("false", "0"));
        assert!(!same_texts("true", "0") && !same_texts("true", "t") && !same_texts("true", "1.0"));
    }

    #[test]
    fn null_is_only_null() {
        assert!(same(None, None) && !same(None, Some("")) && !same(Some(""), None));
    }

    #[test]
    fn bytes_read_back_as_they_are_written() {
        assert_eq!(unhex(&hex(&[0, 255, 16])), Some(vec![0, 255, 16]));
        for bad in ["ff", "\\xf", "\\xgg", "\\x+f"] {
            assert_eq!(unhex(bad), None, "{bad}");
        }
    }
}
