//! Which columns the administrator's SQL reads and writes: parsed, and every name looked up in the tables that are in
//! reach where it stands.
//!
//! This is no database: what it does not understand it says so. It errs towards naming a column too many, where one name
//! stands for columns of two tables, and never towards one too few.

mod changes;
mod reach;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use landbridge_stores::TableName;
use landbridge_stores::catalog::Vendor;
use landbridge_stores::sqltext::bind;
use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName, Query, Select, SetExpr,
    Statement, Value, Visit, Visitor,
};
use sqlparser::dialect::{Dialect, MySqlDialect, PostgreSqlDialect, SQLiteDialect};
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;

use super::{Reader, TableNeeds, find};
use reach::output;

/// The longest text that is parsed. A longer one could nest deeper than the stack is.
const SQL_BYTES_MAX: usize = 16 << 10;

/// The columns that a query brings, in lower case. Nothing where they cannot be told.
pub(super) type Output = Option<BTreeSet<String>>;

impl Reader<'_> {
    /// Notes what a condition or an expression needs. `table`: whose columns it may name.
    pub(super) fn expression(&mut self, key: &str, sql: &str, table: Option<&TableName>) {
        let relations = table.map(|name| Relation {
            name: name.name.to_lowercase(),
            columns: find(self.catalog, name).map_or(Columns::Any, Columns::Of),
        });
        let frame = Frame { relations: relations.into_iter().collect(), ..Frame::default() };
        self.expression_in(key, sql, frame);
    }

    /// The same for a condition on the rows of a query.
    pub(super) fn condition_on_query(&mut self, key: &str, sql: &str, output: Option<&BTreeSet<String>>) {
        let columns = output.map_or(Columns::Any, |columns| Columns::Named(columns.clone()));
        let relations = vec![Relation { name: "history".to_owned(), columns }];
        self.expression_in(key, sql, Frame { relations, ..Frame::default() });
    }

    fn expression_in(&mut self, key: &str, sql: &str, frame: Frame) {
        let parsed = parse(self.catalog.vendor, sql, |parser| {
            let expr = parser.parse_expr()?;
            parser.expect_token(&Token::EOF)?;
            Ok(expr)
        });
        match parsed {
            Ok(expr) => {
                let mut walk = Walk { reader: self, key, frames: vec![frame], touched: BTreeSet::new() };
                let _ = expr.visit(&mut walk);
                walk.finish();
            }
            Err(why) => self.unresolved(format!("{key}: {why}")),
        }
    }

    /// Notes what a statement needs. What a query brings.
    pub(super) fn statement(&mut self, key: &str, sql: &str) -> Output {
        let parsed = parse(self.catalog.vendor, sql, |parser| {
            let statement = parser.parse_statement()?;
            parser.expect_token(&Token::EOF)?;
            Ok(statement)
        });
        let statement = match parsed {
            Ok(statement) => statement,
            Err(why) => {
                self.unresolved(format!("{key}: {why}"));
                return None;
            }
        };
        let mut walk = Walk { reader: self, key, frames: Vec::new(), touched: BTreeSet::new() };
        let _ = statement.visit(&mut walk);
        walk.finish();
        match &statement {
            Statement::Query(query) => output(query),
            _ => None,
        }
    }
}

/// Parses SQL of this vendor, parameters standing for null. What is wrong is said without quoting a value.
fn parse<T>(
    vendor: Vendor,
    sql: &str,
    read: impl FnOnce(&mut Parser<'_>) -> Result<T, ParserError>,
) -> Result<T, String> {
    if sql.len() > SQL_BYTES_MAX {
        return Err(format!("the SQL is longer than {SQL_BYTES_MAX} bytes and is not looked into"));
    }
    let dialect: &dyn Dialect = match vendor {
        Vendor::Sqlite => &SQLiteDialect {},
        Vendor::Postgres => &PostgreSqlDialect {},
        Vendor::Mysql => &MySqlDialect {},
    };
    let bound = bind(sql, |_| "null".to_owned());
    let parser = Parser::new(dialect).try_with_sql(&bound);
    parser.and_then(|mut parser| read(&mut parser)).map_err(|e| format!("the SQL is not understood here ({e})"))
}

/// What is in reach at some place.
#[derive(Default)]
struct Frame {
    relations: Vec<Relation>,
    /// Queries with a name (`with`).
    named: BTreeMap<String, Output>,
    /// What the columns of the result are called.
    results: BTreeSet<String>,
    /// Whether these names come first, as behind `order by`.
    results_first: bool,
}

/// Something with columns, under a name.
struct Relation {
    name: String,
    columns: Columns,
}

enum Columns {
    /// Those of a table of the catalogue.
    Of(usize),
    /// These.
    Named(BTreeSet<String>),
    /// They cannot be told, or that was said already.
    Any,
}

struct Walk<'w, 'a> {
    reader: &'w mut Reader<'a>,
    key: &'w str,
    frames: Vec<Frame>,
    /// The tables that rows are taken from.
    touched: BTreeSet<usize>,
}

impl Walk<'_, '_> {
    /// Rows of a table may be counted without naming a column; the right to read one of them is needed all the same.
    fn finish(self) {
        for i in self.touched {
            let table = &self.reader.catalog.tables[i];
            let needs = self.reader.needs.tables.entry(table.name.clone()).or_default();
            if needs.select.is_empty() {
                let key = table.unique.iter().find_map(|columns| columns.first());
                needs.select.extend(key.or(table.columns.first().map(|c| &c.name)).cloned());
            }
        }
    }

    fn unresolved(&mut self, what: &str) {
        self.reader.unresolved(format!("{}: {what}", self.key));
    }

    fn need(&mut self, table: usize, column: &str, kind: fn(&mut TableNeeds) -> &mut BTreeSet<String>) {
        let name = self.reader.catalog.tables[table].name.clone();
        self.reader.column(self.key, Some(table), &name, column, kind);
    }

    fn all(&mut self, table: usize, kind: fn(&mut TableNeeds) -> &mut BTreeSet<String>) {
        let columns: Vec<String> = self.reader.catalog.tables[table].columns.iter().map(|c| c.name.clone()).collect();
        columns.iter().for_each(|column| self.need(table, column, kind));
    }

    fn has(&self, columns: &Columns, name: &str) -> bool {
        match columns {
            Columns::Of(i) => self.reader.catalog.tables[*i].column(name).is_some(),
            Columns::Named(names) => names.contains(&name.to_lowercase()),
            Columns::Any => true,
        }
    }

    /// A name that stands alone.
    fn bare(&mut self, ident: &Ident) {
        let name = ident.value.as_str();
        let lower = name.to_lowercase();
        let mut found = None;
        for frame in self.frames.iter().rev() {
            if frame.results_first && frame.results.contains(&lower) {
                return;
            }
            let hits: Vec<usize> =
                (0..frame.relations.len()).filter(|i| self.has(&frame.relations[*i].columns, name)).collect();
            if !hits.is_empty() {
                let tables = hits.iter().filter_map(|i| match frame.relations[*i].columns {
                    Columns::Of(table) => Some(table),
                    _ => None,
                });
                found = Some(tables.collect::<Vec<_>>());
                break;
            }
            if frame.results.contains(&lower) {
                return;
            }
        }
        match found {
            Some(tables) => tables.into_iter().for_each(|table| self.need(table, name, |n| &mut n.select)),
            None if ident.quote_style.is_none() && self.is_no_column(&lower) => {}
            None => self.unresolved(&format!("{name} is no column of a table that is known here")),
        }
    }

    fn is_no_column(&self, lower: &str) -> bool {
        lower == "default"
            || self.reader.catalog.vendor == Vendor::Sqlite && matches!(lower, "rowid" | "oid" | "_rowid_")
    }

    /// A column named with its table. What stands further behind is inside of the value.
    fn qualified(&mut self, parts: &[Ident]) {
        let at = |i: usize| parts.get(i).map_or("", |p| p.value.as_str());
        let named = |frames: &[Frame], name: &str| {
            let lower = name.to_lowercase();
            let relations = frames.iter().rev().flat_map(|f| &f.relations);
            relations.into_iter().find(|r| r.name == lower).map(|r| match r.columns {
                Columns::Of(table) => Some(table),
                _ => None,
            })
        };
        // `table.column`, or `schema.table.column`.
        for column in 1..parts.len().min(4) {
            match named(&self.frames, at(column - 1)) {
                Some(Some(table)) => return self.need(table, at(column), |n| &mut n.select),
                Some(None) => return,
                None => {}
            }
        }
        let written: Vec<&str> = parts.iter().map(|p| p.value.as_str()).collect();
        self.unresolved(&format!("{} is no column of a table that is known here", written.join(".")));
    }

    /// The table or named query that `name` means.
    fn source(&mut self, name: &ObjectName) -> Columns {
        let Some(table) = self.table_name(name) else {
            self.unresolved(&format!("{name} is no plain name of a table"));
            return Columns::Any;
        };
        if table.schema.is_none() {
            let lower = table.name.to_lowercase();
            if let Some(output) = self.frames.iter().rev().find_map(|f| f.named.get(&lower)) {
                return output.clone().map_or(Columns::Any, Columns::Named);
            }
        }
        let key = self.key.to_owned();
        self.reader.table(&key, &table).map_or(Columns::Any, Columns::Of)
    }

    fn table_name(&self, name: &ObjectName) -> Option<TableName> {
        let folds = self.reader.catalog.vendor == Vendor::Postgres;
        let text = |ident: &Ident| match ident.quote_style {
            None if folds => ident.value.to_lowercase(),
            _ => ident.value.clone(),
        };
        let parts: Option<Vec<String>> = name.0.iter().map(|part| part.as_ident().map(text)).collect();
        match parts?.as_slice() {
            [name] => Some(TableName::plain(name)),
            [schema, name] => Some(TableName { schema: Some(schema.clone()), name: name.clone() }),
            _ => None,
        }
    }

    /// A function may read a sequence, or whatever else where it is somebody's own.
    fn function(&mut self, function: &Function) {
        let name = function.name.to_string().to_lowercase();
        let name = name.strip_prefix("pg_catalog.").unwrap_or(&name).to_owned();
        if matches!(name.as_str(), "nextval" | "currval" | "setval") && self.reader.catalog.vendor == Vendor::Postgres {
            match literal(function).map(|text| text.parse()) {
                Some(Ok(sequence)) => {
                    self.reader.needs.sequences.insert(sequence);
                }
                _ => self.unresolved(&format!("{name} is not given the name of a sequence as a plain text")),
            }
        } else if name.contains('.') {
            self.unresolved(&format!("what the function {name} reads cannot be seen from here"));
        }
    }
}

impl Visitor for Walk<'_, '_> {
    type Break = ();

    fn pre_visit_statement(&mut self, statement: &Statement) -> ControlFlow<()> {
        let frame = match statement {
            Statement::Query(_) => Frame::default(),
            Statement::Insert(insert) => self.insert(insert),
            Statement::Update(update) => self.update(update),
            Statement::Delete(delete) => self.delete(delete),
            _ => {
                self.unresolved("it is no select, insert, update or delete");
                return ControlFlow::Break(());
            }
        };
        self.frames.push(frame);
        ControlFlow::Continue(())
    }

    fn post_visit_statement(&mut self, _: &Statement) -> ControlFlow<()> {
        self.frames.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let mut named = BTreeMap::new();
        for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
            let columns = if cte.alias.columns.is_empty() {
                output(&cte.query)
            } else {
                Some(cte.alias.columns.iter().map(|c| c.name.value.to_lowercase()).collect())
            };
            named.insert(cte.alias.name.value.to_lowercase(), columns);
        }
        self.frames.push(Frame { named, ..Frame::default() });
        // What stands behind `order by` sees the results first, then what the `from` has.
        let frame = match query.body.as_ref() {
            SetExpr::Select(select) => self.select_frame(select),
            _ => Frame { results: output(query).unwrap_or_default(), ..Frame::default() },
        };
        if let Some(top) = self.frames.last_mut() {
            top.relations = frame.relations;
            top.results = frame.results;
            top.results_first = true;
        }
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.frames.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        let frame = self.select_frame(select);
        self.wildcards(&select.projection, &frame.relations);
        self.frames.push(frame);
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, _: &Select) -> ControlFlow<()> {
        self.frames.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::Identifier(ident) => self.bare(ident),
            Expr::CompoundIdentifier(parts) => self.qualified(parts),
            Expr::Function(function) => self.function(function),
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// The only argument of a function, where that is a plain text, perhaps with its type.
fn literal(function: &Function) -> Option<String> {
    let FunctionArguments::List(list) = &function.args else { return None };
    let FunctionArg::Unnamed(FunctionArgExpr::Expr(mut expr)) = list.args.first()?.clone() else { return None };
    while let Expr::Cast { expr: inner, .. } = expr {
        expr = *inner;
    }
    match expr {
        Expr::Value(value) => match value.value {
            Value::SingleQuotedString(text) => Some(text),
            _ => None,
        },
        _ => None,
    }
}
