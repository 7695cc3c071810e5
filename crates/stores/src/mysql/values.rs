//! Values on their way between the server and the port: problem ids as text and back, shared columns in canonical form.
//!
//! Statements use the binary protocol, so that numbers and times come as what they are and not as what some `cast`
//! would make of them.

use landbridge_core::{ProblemId, WorkId, value};
use mysql_async::consts::{ColumnFlags, ColumnType};
use mysql_async::{Column, Value};

use super::schema::ColumnInfo;

/// The character set number of bytes that are no text.
pub(super) const BINARY: u16 = 63;

/// How a column keeps problem ids. An id that the column would write otherwise (`017` in a column of numbers) does not
/// exist in it; asked for it all the same, the server would compare as floating-point numbers, and 'abc' would be 0.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum IdClass {
    /// Texts: compared by the server in the column's collation, and again here, byte by byte.
    #[default]
    Text,
    /// Texts in a character set (and collation) that has not every character: an id with another one must not make the
    /// server give up on the whole list.
    Narrow(String, String),
    /// Whole numbers.
    Integer,
    /// Decimal numbers with so many digits behind the point.
    Decimal(u32),
    /// UUIDs, in lower case.
    Uuid,
}

impl IdClass {
    /// The id as this column has it; nothing where it has no such id.
    pub(super) fn bind(&self, id: &str) -> Option<Value> {
        let text = || Value::Bytes(id.as_bytes().to_vec());
        match self {
            IdClass::Text | IdClass::Narrow(..) => Some(text()),
            IdClass::Integer => {
                let signed = id.parse::<i64>().ok().filter(|n| n.to_string() == id).map(Value::Int);
                signed.or_else(|| id.parse::<u64>().ok().filter(|n| n.to_string() == id).map(Value::UInt))
            }
            IdClass::Decimal(scale) => is_decimal(id, *scale as usize).then(text),
            IdClass::Uuid => is_uuid(id).then(text),
        }
    }

    /// What stands for a bound id that is compared with the column. What the character set lacks becomes a question
    /// mark there; what is found is compared byte by byte anyway.
    pub(super) fn holder(&self) -> String {
        match self {
            IdClass::Narrow(charset, collation) => format!("convert(? using {charset}) collate {collation}"),
            _ => self.written(),
        }
    }

    /// What stands for a bound id that is written: the server refuses what the column cannot keep.
    pub(super) fn written(&self) -> String {
        match self {
            IdClass::Decimal(scale) => format!("cast(? as decimal(65,{scale}))"),
            _ => "?".to_owned(),
        }
    }
}

fn is_decimal(id: &str, scale: usize) -> bool {
    let digits = id.strip_prefix('-').unwrap_or(id);
    let (whole, fraction) = digits.split_once('.').map_or((digits, None), |(w, f)| (w, Some(f)));
    let plain = |s: &str| !s.is_empty() && s.len() <= 65 && s.bytes().all(|b| b.is_ascii_digit());
    let leading = whole.len() > 1 && whole.starts_with('0');
    let nothing = digits.bytes().all(|b| matches!(b, b'0' | b'.'));
    plain(whole)
        && !leading
        && !(nothing && digits.len() != id.len())
        && fraction.map_or(scale == 0, |f| plain(f) && f.len() == scale)
}

fn is_uuid(id: &str) -> bool {
    let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    id.len() == 36
        && id.bytes().enumerate().all(|(at, b)| if matches!(at, 8 | 13 | 18 | 23) { b == b'-' } else { hex(b) })
}

/// A problem id as the server hands it out; nothing where it is empty, too long or no text.
pub(super) fn problem(value: &Value) -> Option<ProblemId> {
    match value {
        Value::Int(n) => n.to_string().parse().ok(),
        Value::UInt(n) => n.to_string().parse().ok(),
        Value::Bytes(bytes) => std::str::from_utf8(bytes).ok()?.parse().ok(),
        _ => None,
    }
}

/// A whole number, however the server writes it.
pub(super) fn number(value: &Value) -> Option<i64> {
    match value {
        Value::Int(n) => Some(*n),
        Value::UInt(n) => i64::try_from(*n).ok(),
        Value::Bytes(bytes) => std::str::from_utf8(bytes).ok()?.parse().ok(),
        _ => None,
    }
}

/// A work id.
pub(super) fn work(value: &Value) -> Option<WorkId> {
    number(value).and_then(WorkId::new)
}

/// Whether a condition was true.
pub(super) fn truth(value: &Value) -> bool {
    number(value).is_some_and(|n| n != 0)
}

/// A text; nothing where it is null or its bytes are no UTF-8.
pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::Bytes(bytes) => String::from_utf8(bytes.clone()).ok(),
        _ => None,
    }
}

/// The bytes of a text.
pub(super) fn bytes(value: &Value) -> Option<&[u8]> {
    match value {
        Value::Bytes(bytes) => Some(bytes),
        _ => None,
    }
}

/// What kind of value a column of an answer has, beyond what the value itself says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// `tinyint(1)`: 0 and 1 are false and true.
    Boolean,
    /// Bytes that are no text.
    Bytes,
    /// Bits: a number.
    Bits,
    /// A date without time.
    Date,
    /// An instant.
    Zoned,
    /// Everything else: as the value says.
    Plain,
}

impl Form {
    /// The form of a column of an answer.
    pub(super) fn of(column: &Column) -> Self {
        let boolean = column.column_length() == 1 && !column.flags().contains(ColumnFlags::ZEROFILL_FLAG);
        match column.column_type() {
            ColumnType::MYSQL_TYPE_TINY if boolean => Form::Boolean,
            ColumnType::MYSQL_TYPE_BIT => Form::Bits,
            ColumnType::MYSQL_TYPE_DATE | ColumnType::MYSQL_TYPE_NEWDATE => Form::Date,
            ColumnType::MYSQL_TYPE_TIMESTAMP | ColumnType::MYSQL_TYPE_TIMESTAMP2 => Form::Zoned,
            ColumnType::MYSQL_TYPE_TINY_BLOB
            | ColumnType::MYSQL_TYPE_MEDIUM_BLOB
            | ColumnType::MYSQL_TYPE_LONG_BLOB
            | ColumnType::MYSQL_TYPE_BLOB
            | ColumnType::MYSQL_TYPE_VARCHAR
            | ColumnType::MYSQL_TYPE_VAR_STRING
            | ColumnType::MYSQL_TYPE_STRING
            | ColumnType::MYSQL_TYPE_GEOMETRY
                if column.character_set() == BINARY =>
            {
                Form::Bytes
            }
            _ => Form::Plain,
        }
    }
}

/// A shared column in the form in which it travels.
pub(super) fn canonical(value: &Value, form: Form) -> Option<String> {
    Some(match (value, form) {
        (Value::NULL, _) => return None,
        (Value::Int(0) | Value::UInt(0), Form::Boolean) => "false".to_owned(),
        (Value::Int(1) | Value::UInt(1), Form::Boolean) => "true".to_owned(),
        (Value::Int(n), _) => n.to_string(),
        (Value::UInt(n), _) => n.to_string(),
        (Value::Float(x), _) => real(f64::from(*x), format!("{x}"), format!("{x:e}")),
        (Value::Double(x), _) => real(*x, format!("{x}"), format!("{x:e}")),
        (Value::Bytes(bytes), Form::Bits) => bits(bytes).to_string(),
        (Value::Bytes(bytes), Form::Bytes) => value::hex(bytes),
        (Value::Bytes(bytes), _) => match std::str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            Err(_) => value::hex(bytes),
        },
        (Value::Date(y, m, d, ..), Form::Date) => format!("{y:04}-{m:02}-{d:02}"),
        (Value::Date(y, m, d, h, min, s, us), form) => {
            value::iso_timestamp(&format!("{y:04}-{m:02}-{d:02} {h:02}:{min:02}:{s:02}.{us:06}"), form == Form::Zoned)
        }
        (Value::Time(negative, days, h, m, s, us), _) => {
            let sign = if *negative { "-" } else { "" };
            let hours = u64::from(*days) * 24 + u64::from(*h);
            let fraction = if *us == 0 { String::new() } else { format!(".{us:06}") };
            format!("{sign}{hours:02}:{m:02}:{s:02}{}", fraction.trim_end_matches('0'))
        }
    })
}

/// Without an exponent where a person would write none. Both texts are the fewest digits that read back as the same
/// number of their own width: `cast(... as char)` of a `float` would lose some.
fn real(x: f64, plain: String, scientific: String) -> String {
    let readable = x == 0.0 || (1e-6..1e17).contains(&x.abs()) || !x.is_finite();
    if readable { plain } else { scientific }
}

fn bits(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |n, b| n << 8 | u64::from(*b))
}

/// A received value as `column` takes it. What does not fit is bound as it came: the server refuses it, or keeps
/// another value, which is found when it is read back.
pub(super) fn received(value: Option<&str>, column: Option<&ColumnInfo>) -> Value {
    let Some(text) = value else { return Value::NULL };
    let plain = || Value::Bytes(text.as_bytes().to_vec());
    let Some(column) = column else { return plain() };
    let kind = column.data_type.as_str();
    match (kind, text) {
        ("tinyint", "true") if column.is_boolean() => Value::Int(1),
        ("tinyint", "false") if column.is_boolean() => Value::Int(0),
        ("bit", _) => text.parse().map_or_else(|_| plain(), Value::UInt),
        ("datetime" | "timestamp", _) => {
            value::sql_timestamp(text).map_or_else(plain, |plain| Value::Bytes(plain.into_bytes()))
        }
        _ if column.is_bytes() => value::unhex(text).map_or_else(plain, Value::Bytes),
        _ => plain(),
    }
}

/// Whether `kept` is the value that was sent. Sites whose databases know no booleans send 0 and 1.
pub(super) fn same(sent: Option<&str>, kept: Option<&str>, column: Option<&ColumnInfo>) -> bool {
    let digit = |v: &str| match v {
        "false" => Some("0"),
        "true" => Some("1"),
        _ => None,
    };
    value::same(sent, kept)
        || column.is_some_and(ColumnInfo::is_boolean) && kept.and_then(digit).is_some_and(|kept| sent == Some(kept))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_a_column_would_write_otherwise_does_not_exist_in_it() {
        let holds = |class: IdClass, id: &str| class.bind(id).is_some();
        for (id, integer, decimal) in [
            ("17", true, false),
            ("017", false, false),
            ("abc", false, false),
            ("-3", true, false),
            ("18446744073709551615", true, false),
            ("18446744073709551616", false, false),
            ("1.50", false, true),
            ("1.5", false, false),
            ("-0.00", false, false),
            (" 1", false, false),
        ] {
            assert_eq!(holds(IdClass::Integer, id), integer, "{id}");
            assert_eq!(holds(IdClass::Decimal(2), id), decimal, "{id}");
            assert!(holds(IdClass::Text, id));
        }
        assert!(holds(IdClass::Uuid, "aabbccdd-0000-1111-2222-333344445555"));
        assert!(!holds(IdClass::Uuid, "AABBCCDD-0000-1111-2222-333344445555"));
    }

    #[test]
    fn values_travel_in_canonical_form() {
        for (value, form, written) in [
            (Value::Int(1), Form::Boolean, "true"),
            (Value::Int(2), Form::Boolean, "2"),
            (Value::Float(0.1), Form::Plain, "0.1"),
            (Value::Double(1e300), Form::Plain, "1e300"),
            (Value::Bytes(vec![1, 0]), Form::Bits, "256"),
            (Value::Bytes(vec![255, 0]), Form::Bytes, "\\xff00"),
            (Value::Date(2026, 11, 22, 13, 9, 9, 250_000), Form::Zoned, "2026-11-22T13:09:09.25Z"),
            (Value::Date(2026, 11, 22, 0, 0, 0, 0), Form::Plain, "2026-11-22T00:00:00"),
            (Value::Date(2026, 11, 22, 0, 0, 0, 0), Form::Date, "2026-11-22"),
            (Value::Time(true, 1, 2, 3, 4, 500_000), Form::Plain, "-26:03:04.5"),
        ] {
            assert_eq!(canonical(&value, form).as_deref(), Some(written));
        }
    }
}
