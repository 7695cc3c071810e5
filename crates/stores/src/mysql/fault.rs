//! What MariaDB's and MySQL's errors mean in the words of `StoreError`. The server repeats values of rows in some of its
//! sentences; of those only the column is kept.

use landbridge_core::message::{Code, Refusal};
use landbridge_flow::StoreError;
use mysql_async::{DriverError, Error, ServerError};

use super::schema::Table;

/// An error inside the adapter, before it is known which table it speaks of.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The server's or the driver's.
    Sql(Error),
    /// Ours, already in the words of the port.
    Store(StoreError),
}

impl From<Error> for Trouble {
    fn from(e: Error) -> Self {
        Self::Sql(e)
    }
}

impl From<StoreError> for Trouble {
    fn from(e: StoreError) -> Self {
        Self::Store(e)
    }
}

impl Trouble {
    /// In the words of the port. `table` is the one that rows were appended to, if they were.
    pub(super) fn translate(self, database: &str, table: Option<&Table>) -> StoreError {
        match self {
            Self::Store(e) => e,
            Self::Sql(Error::Server(e)) => server(&e, database, table),
            Self::Sql(Error::Driver(DriverError::PacketTooLarge)) => row(
                Code::TextTooLong,
                "a row is larger than the server's max_allowed_packet; raise that, or lower [limits] entry_bytes_max",
            ),
            Self::Sql(e @ (Error::Io(_) | Error::Driver(DriverError::ConnectionClosed))) => {
                StoreError::Gone(format!("{database}: {}", of_connection(&e)))
            }
            Self::Sql(e) => StoreError::Gone(format!("{database}: the connection is not usable: {}", safe(&e))),
        }
    }
}

/// What the driver says of a connection, without the words that it puts before each of its layers.
fn of_connection(e: &Error) -> String {
    let mut said = e.to_string();
    while let Some(rest) = said.strip_prefix("Input/output error: ") {
        said = rest.to_owned();
    }
    if said.contains("invalid peer certificate") {
        said.push_str("; correct ssl-ca or the host in [database] url");
    }
    said
}

/// The driver repeats packets and values in some of its errors; those are left out.
fn safe(e: &Error) -> String {
    match e {
        Error::Driver(DriverError::FromValue { .. } | DriverError::FromRow { .. }) => "an unexpected value".to_owned(),
        Error::Driver(DriverError::UnexpectedPacket { .. }) => "an unexpected packet".to_owned(),
        e => e.to_string(),
    }
}

/// A row that is refused for `code`.
pub(super) fn row(code: Code, detail: impl Into<String>) -> StoreError {
    StoreError::Row { refusal: Refusal::of(code), detail: detail.into() }
}

fn server(e: &ServerError, database: &str, table: Option<&Table>) -> StoreError {
    let said = || format!("{database}: {} (error {})", e.message, e.code);
    match e.code {
        // Shutting down, too many connections, connection killed, lost or aborted, not yet ready.
        1040
        | 1043
        | 1053
        | 1077
        | 1080
        | 1129
        | 1152
        | 1158..=1161
        | 1184
        | 1203
        | 1226
        | 1317
        | 1836
        | 1927
        | 2002
        | 2003
        | 2006
        | 2013
        | 3169
        | 4031 => {
            if e.code == 1836 {
                StoreError::ReadOnly(said())
            } else {
                StoreError::Gone(said())
            }
        }
        // A Galera node that is not in its cluster now answers 1047.
        1047 => StoreError::Gone(said()),
        // 1020: a row was changed since the snapshot.
        1213 | 1020 | 1614 | 3058 => StoreError::Deadlock(said()),
        1205 | 1615 | 1412 | 3101 | 3572 => StoreError::Busy(said()),
        1021 | 1114 => StoreError::Full(said()),
        // Other errors of files carry the system's number in their words.
        _ if e.message.contains("Errcode: 28") || e.message.contains("errno: 28") => StoreError::Full(said()),
        1290 | 1792 => StoreError::ReadOnly(said()),
        1045 | 1698 => StoreError::Gone(format!(
            "{}: the server does not let this user in; correct the user and the password",
            said()
        )),
        1044 | 1049 => StoreError::Gone(format!("{}: correct the database in [database] url", said())),
        1142 | 1143 | 1227 | 1370 => StoreError::Mapping(format!(
            "{}: the database user lacks a right; `landbridge grants` prints the SQL that gives it",
            said()
        )),
        1054 | 1146 | 1109 | 1072 | 1305 | 1356 => StoreError::Mapping(format!(
            "the table is no longer what it was when the bridge started: {}; run `landbridge check`",
            said()
        )),
        code => of_row(code, &e.message, table).unwrap_or_else(|| StoreError::Broken(said())),
    }
}

/// What stands against a row of `table`.
fn of_row(code: u16, message: &str, table: Option<&Table>) -> Option<StoreError> {
    let column = column(message);
    let known = column.as_deref().and_then(|c| table.and_then(|t| t.column(c)));
    let named = column.as_deref().map_or_else(|| "a column".to_owned(), |c| format!("column {c}"));
    let ours = column.is_none() || known.is_some() || table.is_none();
    // A column that the table does not have is one of another table, which only a trigger writes.
    let code_or_trigger = |code| if ours { code } else { Code::Trigger };
    Some(match code {
        1048 | 1364 | 1121 | 1263 => {
            row(code_or_trigger(Code::NullInColumn), format!("{named} must not be null and got no value"))
        }
        1062 | 1169 | 1586 => {
            let key = key(message).map_or_else(String::new, |key| format!(" {key}"));
            row(Code::Constraint, format!("another row has the same values in the unique index{key}"))
        }
        // Constraints: check (MariaDB, MySQL), foreign key. Their messages name no values.
        4025 | 3819 | 1452 | 1216 => row(Code::Constraint, message.to_owned()),
        // Signals, of triggers as a rule; and what only a trigger or a function can do.
        1644 | 1643 | 1645 | 1442 | 1415 | 1424 => row(Code::Trigger, message.to_owned()),
        1406 | 1301 | 1153 | 1118 => {
            let limit = known.and_then(|c| c.chars_max()).map(|n| n as u64);
            StoreError::Row {
                refusal: Refusal { code: code_or_trigger(Code::TextTooLong), limit },
                detail: match known.map(|c| c.column_type.as_str()) {
                    Some(declared) => format!("{named} is {declared} and too narrow"),
                    None => format!("{named} is too narrow"),
                },
            }
        }
        1366 if known.is_some_and(|c| c.is_text() && c.charset.as_deref() != Some("utf8mb4")) => {
            let charset = known.and_then(|c| c.charset.as_deref()).unwrap_or_default();
            row(
                Code::Value,
                format!(
                    "{named} is kept in the character set {charset}, which lacks a character of the text; \
                     `alter table ... convert to character set utf8mb4` makes room for all"
                ),
            )
        }
        1264 | 1265 | 1292 | 1365 | 1366 | 1367 | 1411 | 1416 | 1425 | 1441 | 1525 | 1690 | 3140 | 3141 | 4038 => {
            row(code_or_trigger(Code::Value), format!("{named} cannot hold the value that was sent (error {code})"))
        }
        _ => return None,
    })
}

/// The column that a message speaks of: the last part of `for column `d`.`t`.`c``, `for column 'c'` or `Column 'c'`.
fn column(message: &str) -> Option<String> {
    let behind = match message.rsplit_once("or column ") {
        Some((_, behind)) => behind,
        None => message.strip_prefix("Column ").or_else(|| message.strip_prefix("Field "))?,
    };
    let quote = behind.chars().next().filter(|c| matches!(c, '\'' | '`'))?;
    // `Field 'n' doesn't have a default value` has a third quote.
    let close = || behind.get(1..)?.find(&format!("{quote} ")).map(|at| at + 2);
    let end = behind.find(" at row ").or_else(close).unwrap_or(behind.len());
    let names = behind.get(..end)?.trim_end();
    let names = names.strip_prefix(quote)?.strip_suffix(quote).or_else(|| names.get(1..)?.split(quote).next())?;
    let last = names.rsplit(&format!("{quote}.{quote}")).next()?;
    Some(last.replace(&format!("{quote}{quote}"), &quote.to_string()))
}

/// The unique index that a message speaks of, without the table that MySQL 8 puts before it.
pub(super) fn key(message: &str) -> Option<&str> {
    let (_, key) = message.rsplit_once("for key ")?;
    let key = key.trim().strip_prefix('\'')?.strip_suffix('\'')?;
    Some(key.rsplit_once('.').map_or(key, |(_, key)| key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_asked_for_its_column_and_never_for_its_values() {
        for (message, name) in [
            ("Incorrect integer value: 'it''s for column `x`' for column `d`.`t`.`n` at row 1", Some("n")),
            ("Data too long for column 'BODY' at row 3", Some("BODY")),
            ("Column 'n' cannot be null", Some("n")),
            ("Field 'n' doesn't have a default value", Some("n")),
            ("Truncated incorrect DOUBLE value: 'abc'", None),
        ] {
            assert_eq!(column(message).as_deref(), name, "{message}");
        }
        assert_eq!(key("Duplicate entry 'a-1' for key 'PRIMARY'"), Some("PRIMARY"));
        assert_eq!(key("Duplicate entry 'for key ''-1' for key 'NOTE.both'"), Some("both"));
    }
}
