//! What the server says of its tables and of what its user may do, in the form of [`Catalog`], and a few values for
//! `init` to look at.

use std::collections::{BTreeMap, BTreeSet};

use landbridge_flow::StoreError;
use mysql_async::Value;

use super::fault::Trouble;
use super::options::MysqlOptions;
use super::pool::Session;
use super::values::{self, Form};
use super::{schema, statements};
use crate::catalog::{Catalog, ColumnInfo, ColumnKind, Reference, TableInfo, Vendor};
use crate::mapping::TableName;

/// The tables that the user can see, and its rights.
///
/// # Errors
/// Where the server does not answer or does not let this user in.
pub async fn catalog(options: &MysqlOptions) -> Result<Catalog, StoreError> {
    read(options).await.map_err(|e| e.translate(&options.shown(), None))
}

/// Up to `limit` rows of some columns, in the form in which values travel.
///
/// # Errors
/// As [`catalog`]; and where the table or a column is missing.
pub async fn sample(
    options: &MysqlOptions,
    table: &TableName,
    columns: &[String],
    limit: usize,
) -> Result<Vec<Vec<Option<String>>>, StoreError> {
    if columns.is_empty() {
        return Ok(Vec::new());
    }
    let ask = async {
        let mut session = Session::open(options).await?;
        let names: Vec<String> = columns.iter().map(|c| statements::column(&table.name, c)).collect();
        let sql = format!("select {} from {} limit {limit}", names.join(", "), statements::table(table));
        let answer = session.ask(&sql, Vec::new()).await?;
        let forms: Vec<Form> = answer.columns.iter().map(Form::of).collect();
        let row = |r: &Vec<Value>| r.iter().zip(&forms).map(|(v, f)| values::canonical(v, *f)).collect();
        Ok::<_, Trouble>(answer.rows.iter().map(row).collect())
    };
    ask.await.map_err(|e| e.translate(&options.shown(), None))
}

/// The rows of an administrator's query, each value in canonical form, in a transaction that writes nothing.
///
/// # Errors
/// What the database says against the query.
pub async fn query(options: &MysqlOptions, sql: &str) -> Result<Vec<Vec<Option<String>>>, StoreError> {
    let ask = async {
        let mut session = Session::open(options).await?;
        session.run("start transaction read only").await?;
        let answer = session.ask(sql, Vec::new()).await?;
        let forms: Vec<Form> = answer.columns.iter().map(Form::of).collect();
        let row = |r: &Vec<Value>| r.iter().zip(&forms).map(|(v, f)| values::canonical(v, *f)).collect();
        Ok::<_, Trouble>(answer.rows.iter().map(row).collect())
    };
    ask.await.map_err(|e| e.translate(&options.shown(), None))
}

async fn read(options: &MysqlOptions) -> Result<Catalog, Trouble> {
    let mut session = Session::open(options).await?;
    let answer = session.ask("select database(), current_user()", Vec::new()).await?;
    let said = |at: usize| answer.rows.first().map_or_else(String::new, |r| schema::said(r, at));
    let (database, user) = (said(0), said(1));
    let is_superuser = has_everything(&mut session).await?;
    let rights = table_rights(&mut session).await?;
    let mut references = references(&mut session).await?;
    let mut tables = Vec::new();
    for table in schema::load(&mut session, None).await? {
        let key = (table.database.clone(), table.name.clone());
        let of = |level: &str| rights.get(&(level.to_owned(), String::new())).cloned().unwrap_or_default();
        let mut of_table: BTreeSet<String> = of("");
        of_table.extend(of(&table.database));
        of_table.extend(rights.get(&key).cloned().unwrap_or_default());
        let here = table.database == database;
        tables.push(TableInfo {
            name: TableName { schema: (!here).then_some(table.database), name: table.name },
            is_table: !table.is_view,
            columns: table.columns.iter().map(column).collect(),
            unique: table
                .indices
                .iter()
                .filter(|i| i.unique)
                .filter_map(|i| i.columns.iter().cloned().collect::<Option<Vec<String>>>())
                .collect(),
            references: references
                .remove(&key)
                .unwrap_or_default()
                .into_iter()
                .map(|(column, schema, name, to)| {
                    let schema = (schema != database).then_some(schema);
                    Reference { column, table: TableName { schema, name }, to }
                })
                .collect(),
            insert_triggers: table.insert_triggers,
            rows: table.rows,
            rights: of_table,
        });
    }
    tables.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Catalog { user: Some(user), is_superuser, vendor: Vendor::Mysql, database: Some(database), tables })
}

/// Whether the user has all rights on everything.
async fn has_everything(session: &mut Session) -> Result<bool, Trouble> {
    let grants = session.ask("show grants", Vec::new()).await?;
    let all = |r: &Vec<Value>| schema::said(r, 0).to_ascii_uppercase().starts_with("GRANT ALL PRIVILEGES ON *.*");
    if grants.rows.iter().any(all) {
        return Ok(true);
    }
    // MySQL 8 lists each right of such a user.
    let sql =
        "select count(*) from information_schema.user_privileges where privilege_type in ('SUPER', 'FILE', 'DROP')";
    let answer = session.ask(sql, Vec::new()).await?;
    Ok(answer.rows.first().and_then(|r| r.first()).and_then(values::number) == Some(3))
}

type Rights = BTreeMap<(String, String), BTreeSet<String>>;

/// The rights on everything (under two empty names), on databases, and on tables as a whole. The server itself shows a
/// user no rights but its own and its roles'.
async fn table_rights(session: &mut Session) -> Result<Rights, Trouble> {
    let sql = "select '', '', privilege_type from information_schema.user_privileges where privilege_type <> 'USAGE'\n\
               union all\n\
               select table_schema, '', privilege_type from information_schema.schema_privileges\n\
               union all\n\
               select table_schema, table_name, privilege_type from information_schema.table_privileges";
    let mut rights = Rights::new();
    for r in session.ask(sql, Vec::new()).await?.rows {
        // Names of databases may be patterns in a grant, where a backslash makes an underscore one.
        let database = schema::said(&r, 0).replace('\\', "");
        let right = schema::said(&r, 2).to_ascii_lowercase();
        rights.entry((database, schema::said(&r, 1))).or_default().insert(right);
    }
    Ok(rights)
}

type References = BTreeMap<(String, String), Vec<(String, String, String, String)>>;

async fn references(session: &mut Session) -> Result<References, Trouble> {
    let sql = "select table_schema, table_name, column_name, referenced_table_schema, referenced_table_name,\n       \
               referenced_column_name\nfrom information_schema.key_column_usage\n\
               where referenced_table_name is not null\norder by 1, 2, constraint_name, ordinal_position";
    let mut references = References::new();
    for r in session.ask(sql, Vec::new()).await?.rows {
        let said = |at| schema::said(&r, at);
        references.entry((said(0), said(1))).or_default().push((said(2), said(3), said(4), said(5)));
    }
    Ok(references)
}

fn column(c: &schema::ColumnInfo) -> ColumnInfo {
    let kind = match c.data_type.as_str() {
        "tinyint" if c.is_boolean() => ColumnKind::Boolean,
        "tinyint" | "smallint" | "mediumint" | "int" | "bigint" | "year" => ColumnKind::Integer,
        "decimal" | "float" | "double" => ColumnKind::Number,
        "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" => {
            ColumnKind::Text(c.chars_max().map(|n| n as u64))
        }
        "date" | "datetime" | "timestamp" | "time" => ColumnKind::Time,
        _ if c.is_bytes() => ColumnKind::Bytes,
        _ => ColumnKind::Other,
    };
    let rights = c.rights.iter().filter(|r| matches!(r.as_str(), "select" | "insert" | "update")).cloned().collect();
    ColumnInfo {
        name: c.name.clone(),
        sql_type: c.column_type.clone(),
        kind,
        not_null: !c.nullable,
        has_default: c.has_default,
        is_generated_number: c.auto_increment,
        sequence: None,
        is_computed: c.computed,
        rights,
    }
}
