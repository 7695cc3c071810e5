//! Values on their way between PostgreSQL and the port: which texts can be an id of a column at all, how a shared
//! column is shown, and parameters whose type the server infers.

use std::error::Error;

use landbridge_core::{ProblemId, value};
use tokio_postgres::types::{Format, IsNull, ToSql, Type, private::BytesMut, to_sql_checked};

/// How a column keeps problem ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct IdColumn {
    /// What kind of values it has.
    pub(super) class: Class,
    /// Its base type, qualified and quoted: without length, so that a cast to it cuts nothing off.
    pub(super) sql_type: String,
    /// How many characters it takes, where that is limited.
    pub(super) width: Option<usize>,
    /// Whether it is walked in its own order: equal means the same bytes there.
    pub(super) ordered: bool,
    /// Whether an index begins with it.
    pub(super) indexed: bool,
}

/// Kinds of values that ids are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// Texts.
    Text,
    /// Texts that are filled up with blanks.
    Padded,
    /// Whole numbers in this range.
    Integer(i64, i64),
    /// Decimal numbers.
    Numeric,
    /// UUIDs.
    Uuid,
    /// Anything else, compared as text.
    Other,
}

impl Class {
    /// The class of a base type.
    pub(super) fn of(type_name: &str) -> Self {
        match type_name {
            "text" | "varchar" | "citext" | "name" => Self::Text,
            "bpchar" => Self::Padded,
            "int2" => Self::Integer(i16::MIN.into(), i16::MAX.into()),
            "int4" => Self::Integer(i32::MIN.into(), i32::MAX.into()),
            "int8" => Self::Integer(i64::MIN, i64::MAX),
            "numeric" => Self::Numeric,
            "uuid" => Self::Uuid,
            _ => Self::Other,
        }
    }
}

impl IdColumn {
    /// Whether the column could hold this id in just this spelling. What it could not hold does not exist here, and
    /// asking for it would fail for all others too.
    pub(super) fn fits(&self, id: &str) -> bool {
        let short_enough = || self.width.is_none_or(|width| id.chars().count() <= width);
        match self.class {
            _ if id.contains('\0') => false,
            Class::Text => short_enough(),
            Class::Padded => short_enough() && !id.ends_with(' '),
            Class::Integer(min, max) => {
                id.parse::<i64>().is_ok_and(|n| n.to_string() == id && (min..=max).contains(&n))
            }
            Class::Numeric => {
                let digits = id.strip_prefix('-').unwrap_or(id);
                let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
                [whole, fraction].iter().all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
            }
            Class::Uuid => {
                id.len() == 36
                    && id.bytes().enumerate().all(|(at, b)| match at {
                        8 | 13 | 18 | 23 => b == b'-',
                        _ => b.is_ascii_digit() || (b'a'..=b'f').contains(&b),
                    })
            }
            Class::Other => true,
        }
    }

    /// Those of `ids` that fit, as parameters; none twice.
    pub(super) fn asked<'p>(&self, ids: impl IntoIterator<Item = &'p ProblemId>) -> Vec<String> {
        let ids: std::collections::BTreeSet<&str> = ids.into_iter().map(ProblemId::as_str).collect();
        ids.into_iter().filter(|id| self.fits(id)).map(str::to_owned).collect()
    }
}

/// How a shared column is read and written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FieldColumn {
    /// Its base type, qualified and quoted.
    pub(super) sql_type: String,
    /// What has to be done to show it in canonical form.
    pub(super) form: Form,
}

/// What has to be done to show a value in canonical form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// `true` and `false`.
    Boolean,
    /// A timestamp; with a zone, an instant.
    Stamp(bool),
    /// As the server writes it.
    Plain,
}

impl FieldColumn {
    /// The column of this base type.
    pub(super) fn of(type_name: &str, sql_type: &str) -> Self {
        let form = match type_name {
            "bool" => Form::Boolean,
            "timestamp" => Form::Stamp(false),
            "timestamptz" => Form::Stamp(true),
            _ => Form::Plain,
        };
        Self { sql_type: sql_type.to_owned(), form }
    }

    /// The column as text, in SQL.
    pub(super) fn shown(&self, column: &str) -> String {
        match self.form {
            Form::Boolean => format!("case {column} when true then 'true' when false then 'false' end"),
            _ => format!("{column}::pg_catalog.text"),
        }
    }

    /// That text in the form in which it travels.
    pub(super) fn canonical(&self, text: Option<String>) -> Option<String> {
        match self.form {
            Form::Stamp(zoned) => text.map(|text| value::iso_timestamp(&text, zoned)),
            _ => text,
        }
    }
}

/// A parameter in text form whose type the server infers from where it stands.
#[derive(Debug)]
pub(super) struct Inferred(pub(super) Option<String>);

impl ToSql for Inferred {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        let Some(text) = &self.0 else { return Ok(IsNull::Yes) };
        out.extend_from_slice(text.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    to_sql_checked!();
}

/// The parameters of a statement, in their order. Their types are known, so that no round trip asks for them.
#[derive(Default)]
pub(super) struct Params(Vec<(Box<dyn ToSql + Sync + Send>, Type)>);

impl Params {
    /// One more, whatever it is.
    pub(super) fn add(mut self, value: impl ToSql + Sync + Send + 'static, ty: Type) -> Self {
        self.0.push((Box::new(value), ty));
        self
    }

    /// An array of texts.
    pub(super) fn texts(self, texts: Vec<String>) -> Self {
        self.add(texts, Type::TEXT_ARRAY)
    }

    /// An array of texts and nulls.
    pub(super) fn nullable(self, texts: Vec<Option<String>>) -> Self {
        self.add(texts, Type::TEXT_ARRAY)
    }

    /// An array of numbers.
    pub(super) fn numbers(self, numbers: Vec<i64>) -> Self {
        self.add(numbers, Type::INT8_ARRAY)
    }

    /// A text.
    pub(super) fn text(self, text: Option<String>) -> Self {
        self.add(text, Type::TEXT)
    }

    /// A number.
    pub(super) fn number(self, number: i64) -> Self {
        self.add(number, Type::INT8)
    }

    /// A value whose type the server infers.
    pub(super) fn inferred(self, text: Option<String>) -> Self {
        self.add(Inferred(text), Type::UNKNOWN)
    }

    /// As the driver takes them.
    pub(super) fn as_refs(&self) -> Vec<(&(dyn ToSql + Sync), Type)> {
        self.0.iter().map(|(value, ty)| (value.as_ref() as &(dyn ToSql + Sync), ty.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_the_column_would_spell_otherwise_is_not_in_it() {
        let column = |type_name: &str, width| IdColumn {
            class: Class::of(type_name),
            sql_type: String::new(),
            width,
            ordered: true,
            indexed: true,
        };
        for (type_name, width, good, bad) in [
            ("int4", None, &["17", "-1", "0"][..], &["017", "+1", "1.0", "2147483648", "", "A", " 1", "-0"][..]),
            ("bpchar", Some(4), &["ABC", "äöüß"], &["ABC ", "ABCDE"]),
            ("varchar", Some(3), &["ABC", "A "], &["ABCD", "A\0"]),
            ("numeric", None, &["17", "17.50", "-3"], &["NaN", "1e3", ".5", "1.", "", "-"]),
            (
                "uuid",
                None,
                &["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"],
                &["A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "not-a-uuid", "a0eebc999c0b4ef8bb6d6bb9bd380a11"],
            ),
        ] {
            let column = column(type_name, width);
            good.iter().for_each(|id| assert!(column.fits(id), "{type_name} {id}"));
            bad.iter().for_each(|id| assert!(!column.fits(id), "{type_name} {id}"));
        }
    }
}
