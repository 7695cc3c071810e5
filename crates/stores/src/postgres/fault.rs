//! What PostgreSQL's errors mean in the words of [`StoreError`]. Messages name the database and what the server said
//! of tables and columns; its remarks that quote values of rows are left out.

use landbridge_core::message::{Code, Refusal};
use landbridge_flow::StoreError;
use tokio_postgres::error::DbError;

/// A row that is refused for `code`.
pub(super) fn row(code: Code, detail: impl Into<String>) -> StoreError {
    StoreError::Row { refusal: Refusal::of(code), detail: detail.into() }
}

/// The error in the words of the port. `at` is the database as it is shown to people.
pub(super) fn translate(error: &tokio_postgres::Error, at: &str) -> StoreError {
    if let Some(db) = error.as_db_error() {
        return of_server(db, at);
    }
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    let mut said = format!("{at}: {error}{}", if error.to_string().contains(&cause) { "" } else { &cause });
    if said.contains("invalid peer certificate") {
        said.push_str("; correct sslrootcert or the host in [database] url");
    }
    // Whatever else the driver complains of is a connection that cannot be made or is broken; values that it could not
    // read would be a fault of this program, and it reads only text and numbers.
    if error.to_string().contains("deserializing") || error.to_string().contains("serializing") {
        return StoreError::Broken(said);
    }
    StoreError::Gone(said)
}

/// Whether a connection on which this happened is not used again.
pub(super) fn ends_connection(error: &StoreError) -> bool {
    matches!(error, StoreError::Gone(_) | StoreError::ReadOnly(_) | StoreError::Broken(_))
}

fn of_server(db: &DbError, at: &str) -> StoreError {
    let code = db.code().code();
    let said = format!("{at}: {} ({code})", said(db));
    let in_function = db.where_().is_some_and(|context| context.contains("PL/") || context.contains("SQL function"));
    match code {
        "40P01" | "40001" => StoreError::Deadlock(said),
        "55P03" | "55006" | "57014" => StoreError::Busy(said),
        "25006" => StoreError::ReadOnly(said),
        "53100" | "53200" => StoreError::Full(said),
        "53300" => StoreError::Gone(said),
        "25P02" => StoreError::Broken(said),
        "P0001" => row(Code::Trigger, said),
        "42501" => StoreError::Mapping(format!(
            "{said}: the database user may not do this. `landbridge grants` prints what it needs"
        )),
        _ => match code.get(..2).unwrap_or_default() {
            "28" => StoreError::Gone(format!(
                "{said}: the server does not let this user in; correct the user and the password"
            )),
            // Connections, shut-downs and starts, databases that are not there.
            "08" | "57" | "3D" | "58" => StoreError::Gone(said),
            "53" => StoreError::Full(said),
            "22" | "23" | "42" | "P0" | "54" if in_function => row(Code::Trigger, said),
            "22" => row(Code::Value, said),
            "23" if code == "23502" => row(Code::NullInColumn, said),
            "23" => row(Code::Constraint, said),
            // A text that is too long for its own index, and the like.
            "54" => row(Code::Constraint, said),
            "44" => row(Code::Constraint, said),
            "P0" => row(Code::Trigger, said),
            "42" | "3F" => StoreError::Mapping(format!(
                "the database is no longer what it was when the bridge started: {said}; run `landbridge check`"
            )),
            _ => StoreError::Broken(said),
        },
    }
}

/// What the server said, without values of rows: messages of class 22 quote them.
pub(super) fn said(db: &DbError) -> String {
    let mut said = match db.code().code().get(..2) {
        Some("22") => match db.code().code() {
            "22001" => db.message().to_owned(),
            "22021" => "a character that the database's encoding does not have".to_owned(),
            "22003" => "a number out of the range of its column".to_owned(),
            "22P02" | "22007" | "22008" => "a value has not the form of its column's type".to_owned(),
            _ => "a value does not fit its column or expression".to_owned(),
        },
        _ => db.message().to_owned(),
    };
    if let Some(constraint) = db.constraint().filter(|name| !said.contains(*name)) {
        said.push_str(&format!(", constraint {constraint}"));
    }
    said
}
