//! From the file as written to the database: `[database]`.
//!
//! A url may hold a password. It is never quoted, and neither is what stands in the password file, which is read only
//! when the database is opened.

use std::path::{Path, PathBuf};
use std::time::Duration;

use landbridge_stores::Database;

use super::check::{Checker, DAY, MILLI, Section, TOP};
use super::checked::BUSY_DEFAULT;
use super::file::ConfigFile;

/// What a url looks like.
const INSTEAD: &str =
    "write `url = \"sqlite:FILE\"`, \"postgres://USER@HOST/DATABASE\" or \"mysql://USER@HOST/DATABASE\"";

impl Checker<'_> {
    /// The database, and the file with its password. Nothing for the database where it has a fault.
    pub(super) fn database(&mut self, file: &ConfigFile, folder: &Path) -> (Option<Database>, Option<PathBuf>) {
        let Some(database) = &file.database else {
            if !self.is_spoiled(TOP, "database") {
                self.fault(
                    0,
                    "the section [database] is missing",
                    "write `[database]` and under it `url = \"sqlite:FILE\"`",
                );
            }
            return (None, None);
        };
        let section = Section { label: "[database]", at: database.span().start };
        let written = database.get_ref();
        let busy = self.duration(written.busy.as_ref(), "busy", BUSY_DEFAULT, MILLI..=DAY);
        let password_file = self.optional(written.password_file.as_ref()).and_then(|value| {
            if value.text.is_empty() || value.text.contains('\0') {
                self.fault(
                    value.at,
                    "`password_file` is not the name of a file",
                    "write `password_file = \"database.password\"`, a file with the password alone, mode 0600",
                );
                return None;
            }
            Some((folder.join(&value.text), value.at))
        });
        let Some(url) = self.required(written.url.as_ref(), section, "url", INSTEAD) else { return (None, None) };
        let database = match database_of(&url.text, folder, busy) {
            Ok(database) => database,
            Err(what) => {
                self.fault(url.at, what, INSTEAD);
                return (None, None);
            }
        };
        if let Some((_, at)) = password_file {
            if matches!(database, Database::Sqlite { .. }) {
                self.fault(at, "`password_file` is written, and SQLite has no passwords", "take it out");
            } else if has_password(&url.text) {
                self.fault(
                    at,
                    "there is a password in `url` and a `password_file` too",
                    "take the password out of the url",
                );
            }
        }
        (Some(database), password_file.map(|(path, _)| path))
    }
}

/// The database that `url` names; files are looked for in `folder`.
///
/// # Errors
/// What is wrong with the url, without quoting it.
fn database_of(url: &str, folder: &Path, busy: Duration) -> Result<Database, String> {
    let (scheme, _) = url.split_once(':').ok_or("`url` does not begin with the kind of the database")?;
    match scheme {
        "sqlite" => Ok(Database::Sqlite { path: folder.join(sqlite_file(url)?), busy }),
        "postgres" | "postgresql" | "mysql" | "mariadb" => {
            Database::of_server(url, busy).map_err(|what| format!("`url`: {what}"))
        }
        "odbc" => Err("ODBC comes with a later version of Landbridge".into()),
        _ => Err("`url` names a kind of database that is not known".into()),
    }
}

/// The file of a url of SQLite.
fn sqlite_file(url: &str) -> Result<&str, String> {
    let rest = url.strip_prefix("sqlite:").unwrap_or(url);
    let file = match rest.strip_prefix("//") {
        Some(absolute) if absolute.starts_with('/') => absolute,
        Some(_) => return Err("`url` names a host, and SQLite has none".into()),
        None => rest,
    };
    match file {
        "" => Err("`url` names no file".into()),
        ":memory:" => Err("a database in memory is gone when the bridge stops".into()),
        _ if file.contains('\0') => Err("`url` is not the name of a file".into()),
        _ => Ok(file),
    }
}

/// Whether there is a password in the url of a server, before the host or among the parameters.
fn has_password(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let (place, parameters) = rest.split_once('?').unwrap_or((rest, ""));
    let user = place.rsplit_once('@').map_or("", |(user, _)| user);
    let named = parameters.split('&').filter_map(|p| p.split_once('='));
    user.split_once(':').is_some_and(|(_, password)| !password.is_empty())
        || named.into_iter().any(|(name, _)| name.eq_ignore_ascii_case("password"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_found_wherever_a_url_may_hold_one() {
        for (url, has) in [
            ("postgres://bridge@db/desk", false),
            ("postgres://bridge:hunter2@db/desk", true),
            ("postgres://db:5432/desk", false),
            ("postgres://bridge:@db/desk", false),
            ("mysql://u:p/w@db/desk", true),
            ("postgres://u@db/desk?sslmode=require&password=hunter2", true),
        ] {
            assert_eq!(has_password(url), has, "{url}");
        }
    }

    #[test]
    fn a_wrong_url_is_never_quoted() {
        for url in ["postgres://u:hunter2@", "hunter2", "hunter2:x", "sqlite://hunter2/x", "mysql://", "odbc:hunter2"] {
            if let Err(said) = database_of(url, Path::new(""), BUSY_DEFAULT) {
                assert!(!said.contains("hunter2"), "{said}");
            }
        }
    }
}
