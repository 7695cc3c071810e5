//! `landbridge grants`: the SQL for a database user who can do exactly what the mapping needs. What that is says
//! `rights`; here it is written down, as each vendor has it.

use std::collections::BTreeSet;

use clap::Args;
use landbridge_stores::TableName;
use landbridge_stores::catalog::{Catalog, Vendor};
use serde::Serialize;

use super::Context;
use crate::config;
use crate::exit::{Exit, Failure};
use crate::render::{json, note, say};
use crate::rights::{Needs, needs};

/// Print the SQL for a database user who can do exactly what the mapping needs
///
/// Rights are given column by column: the bridge then cannot read or change anything else, whatever goes wrong. Conditions,
/// expressions and statements of the mapping are parsed to find the columns that they read. What cannot be told is named
/// in a comment and on standard error, and never guessed.
///
/// Pipe it into psql with `-v ON_ERROR_STOP=1`: without it psql goes on behind a statement that failed, and ends with status 0.
///
/// Nothing is executed: look at the statements and run them as an administrator of the database. The database is asked for
/// its tables, so use a [database] user who sees those of the mapping; afterwards write the new user into [database] url.
///
/// With --compact also the right to delete, which `landbridge compact` needs: on the whole table where the markers are, since
/// no database gives it for some rows only. THE DANGER: the bridge deletes nothing but markers that it sealed itself, but
/// whoever gets hold of this user and its password can then delete every row of that table. With [markers] table it is the
/// table of the markers alone. Without --compact it is printed where the configuration says [markers] compact = true.
///
/// PostgreSQL: the numbering "per-problem" needs the right to update the number column, because rows are held still by `for
/// key share`; no row is ever updated. SQLite has no users.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Exit status:
  0  printed
  3  wrong configuration
  4  the database does not answer
  6  printed, and there is SQL in the mapping whose needs cannot be told

Example:
  landbridge grants --user bridge | psql -v ON_ERROR_STOP=1 --single-transaction --dbname helpdesk
  landbridge grants --user bridge --host 10.0.0.7 | mariadb helpdesk")]
pub struct GrantsArgs {
    /// The database user who gets the rights
    #[arg(long, value_name = "NAME", default_value = "landbridge")]
    user: String,

    /// The host from which that user comes (MySQL and MariaDB)
    #[arg(long, value_name = "HOST", default_value = "localhost")]
    host: String,

    /// Also the right to delete markers, for `landbridge compact`
    #[arg(long)]
    compact: bool,

    /// Print JSON instead of SQL
    #[arg(long)]
    json: bool,
}

/// What is printed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Grants {
    vendor: &'static str,
    user: String,
    /// What is said before the statements.
    comments: Vec<String>,
    /// Without `;`.
    statements: Vec<String>,
    /// SQL of the mapping whose needs cannot be told.
    unresolved: BTreeSet<String>,
}

/// Asks the database for its tables and prints.
pub async fn run(args: &GrantsArgs, context: &Context) -> Result<Exit, Failure> {
    for (flag, name) in [("--user", &args.user), ("--host", &args.host)] {
        if name.trim().is_empty() || name.contains(char::is_control) {
            return Err(Failure::usage(format!("{flag} is no name"), "give a name on one line"));
        }
    }
    let mut config = config::load(&context.config)?;
    if args.compact {
        config.mapping.compact = true;
        config.mapping.may_remove().map_err(|why| {
            Failure::new(
                Exit::Configuration,
                why,
                "write the statements, as landbridge.example.toml shows, or leave --compact out",
            )
        })?;
    }
    let catalog = config.connectable()?.catalog().await?;
    let grants = grants(args, &catalog, needs(&config.mapping, &catalog));
    if args.json {
        say(&json(&grants)?)?;
    } else {
        say(&grants.sql())?;
    }
    for sentence in &grants.unresolved {
        note(&format!("cannot be told: {}", crate::render::visible(sentence)));
    }
    Ok(if grants.unresolved.is_empty() { Exit::Done } else { Exit::Person })
}

fn grants(args: &GrantsArgs, catalog: &Catalog, needs: Needs) -> Grants {
    let (vendor, user) = match catalog.vendor {
        Vendor::Sqlite => ("sqlite", String::new()),
        Vendor::Postgres => ("postgres", quoted(&args.user, '"')),
        Vendor::Mysql => ("mysql", format!("{}@{}", text(&args.user), text(&args.host))),
    };
    let mut grants = Grants {
        vendor,
        user: args.user.clone(),
        comments: Vec::new(),
        statements: Vec::new(),
        unresolved: BTreeSet::new(),
    };
    match catalog.vendor {
        Vendor::Sqlite => {
            grants.user.clear();
            grants.comments.push(
                "SQLite has no users: whoever can open the file can read and write everything in it. Let the bridge run \
                 as a user of the system who may write the file and its folder."
                    .to_owned(),
            );
            return grants;
        }
        Vendor::Postgres => grants.postgres(catalog, &needs, &user),
        Vendor::Mysql => grants.mysql(catalog, &needs, &user),
    }
    grants.unresolved = needs.unresolved;
    grants
}

impl Grants {
    fn postgres(&mut self, catalog: &Catalog, needs: &Needs, user: &str) {
        self.comments.push(format!("The user is made by: create role {user} login password '...'"));
        match &catalog.database {
            Some(database) => self.give(format!("connect on database {}", quoted(database, '"')), user),
            None => self.comments.push("The name of the database is not known: grant connect on it, too.".to_owned()),
        }
        let named = needs.tables.keys().chain(&needs.sequences);
        let schemas: BTreeSet<Option<&str>> = named.map(|name| name.schema.as_deref()).collect();
        for schema in schemas {
            if schema.is_none() {
                self.comments.push(
                    "Names without a schema are found by the search path. Where they are not in the schema public, grant \
                     usage on theirs instead."
                        .to_owned(),
                );
            }
            self.give(format!("usage on schema {}", quoted(schema.unwrap_or("public"), '"')), user);
        }
        for (name, rights) in columns(needs, '"') {
            self.give(format!("{rights} on {}", table(&name, None, '"')), user);
        }
        for name in &needs.sequences {
            self.give(format!("usage on sequence {}", table(name, None, '"')), user);
        }
    }

    fn mysql(&mut self, catalog: &Catalog, needs: &Needs, user: &str) {
        self.comments.push(format!("The user is made by: create user {user} identified by '...'"));
        if catalog.database.is_none() {
            self.comments.push("Names without a database mean the one that is in use.".to_owned());
        }
        for (name, rights) in columns(needs, '`') {
            self.give(format!("{rights} on {}", table(&name, catalog.database.as_deref(), '`')), user);
        }
    }

    fn give(&mut self, what: String, user: &str) {
        self.statements.push(format!("grant {what} to {user}"));
    }

    fn sql(&self) -> String {
        let told = self.unresolved.iter().map(|sentence| format!("CANNOT BE TOLD: {sentence}"));
        // A line break in a comment would end it.
        let lines =
            self.comments.iter().cloned().chain(told).map(|line| format!("-- {}", crate::render::visible(&line)));
        lines.chain(self.statements.iter().map(|sql| format!("{sql};"))).collect::<Vec<_>>().join("\n")
    }
}

/// Each table and its rights, as they stand in a `grant`.
fn columns(needs: &Needs, quote: char) -> Vec<(TableName, String)> {
    let list = |columns: &BTreeSet<String>| columns.iter().map(|c| quoted(c, quote)).collect::<Vec<_>>().join(", ");
    let mut all = Vec::new();
    for (name, needs) in &needs.tables {
        let rights = [("select", &needs.select), ("insert", &needs.insert), ("update", &needs.update)];
        let rights = rights.into_iter().filter(|(_, columns)| !columns.is_empty());
        let mut rights: Vec<String> = rights.map(|(right, columns)| format!("{right} ({})", list(columns))).collect();
        if needs.delete {
            rights.push("delete".to_owned());
        }
        if !rights.is_empty() {
            all.push((name.clone(), rights.join(", ")));
        }
    }
    all
}

/// A table as it stands in SQL, in `database` where it names none.
fn table(name: &TableName, database: Option<&str>, quote: char) -> String {
    match name.schema.as_deref().or(database) {
        Some(schema) => format!("{}.{}", quoted(schema, quote), quoted(&name.name, quote)),
        None => quoted(&name.name, quote),
    }
}

fn quoted(name: &str, quote: char) -> String {
    let doubled = format!("{quote}{quote}");
    format!("{quote}{}{quote}", name.replace(quote, &doubled))
}

/// A text in SQL of MySQL, where a backslash would be an escape.
fn text(value: &str) -> String {
    format!("'{}'", value.replace('\\', "\\\\").replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rights::TableNeeds;

    fn set(words: &str) -> BTreeSet<String> {
        words.split_whitespace().map(str::to_owned).collect()
    }

    fn sql(vendor: Vendor, user: &str, host: &str) -> String {
        let mut needs = Needs::default();
        let work = TableNeeds { select: set("body no ticket"), insert: set("body ticket"), ..TableNeeds::default() };
        let also = TableNeeds { update: set("odd\"`name"), delete: true, ..TableNeeds::default() };
        needs.tables.insert(TableName::plain("work"), work);
        needs.tables.insert("crm.tickets".parse().unwrap(), also);
        if vendor == Vendor::Postgres {
            needs.sequences.insert(TableName::plain("work_no_seq"));
        }
        needs.unresolved.insert("[history] share: x\nis no column".into());
        let catalog = Catalog { vendor, database: Some("desk".into()), ..Catalog::default() };
        grants(&GrantsArgs { user: user.into(), host: host.into(), compact: false, json: false }, &catalog, needs).sql()
    }

    #[test]
    fn postgresql_gets_columns_schemas_and_sequences() {
        let lines: Vec<String> = sql(Vendor::Postgres, "the \"bridge\"", "").lines().map(str::to_owned).collect();
        assert_eq!(
            lines,
            [
                "-- The user is made by: create role \"the \"\"bridge\"\"\" login password '...'",
                "-- Names without a schema are found by the search path. Where they are not in the schema public, grant \
                 usage on theirs instead.",
                "-- CANNOT BE TOLD: [history] share: x␊is no column",
                "grant connect on database \"desk\" to \"the \"\"bridge\"\"\";",
                "grant usage on schema \"public\" to \"the \"\"bridge\"\"\";",
                "grant usage on schema \"crm\" to \"the \"\"bridge\"\"\";",
                "grant select (\"body\", \"no\", \"ticket\"), insert (\"body\", \"ticket\") on \"work\" to \"the \
                 \"\"bridge\"\"\";",
                "grant update (\"odd\"\"`name\"), delete on \"crm\".\"tickets\" to \"the \"\"bridge\"\"\";",
                "grant usage on sequence \"work_no_seq\" to \"the \"\"bridge\"\"\";",
            ]
        );
    }

    #[test]
    fn mysql_gets_columns_for_a_user_and_a_host() {
        let sql = sql(Vendor::Mysql, "o'bridge\\", "10.0.0.%");
        assert!(
            sql.ends_with(
                "grant select (`body`, `no`, `ticket`), insert (`body`, `ticket`) on `desk`.`work` to \
             'o''bridge\\\\'@'10.0.0.%';\ngrant update (`odd\"``name`), delete on `crm`.`tickets` to \
             'o''bridge\\\\'@'10.0.0.%';"
            ),
            "{sql}"
        );
    }

    #[test]
    fn sqlite_has_no_users() {
        let sql = sql(Vendor::Sqlite, "bridge", "");
        assert!(sql.starts_with("-- SQLite has no users") && sql.lines().count() == 1, "{sql}");
    }
}
