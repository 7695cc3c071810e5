//! What a `from` brings into reach, and what the columns of a query are called.

use std::collections::BTreeSet;

use sqlparser::ast::{
    Expr, JoinConstraint, JoinOperator, Query, Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr,
    TableAlias, TableFactor, TableWithJoins,
};

use super::{Columns, Frame, Output, Relation, Walk};

impl Walk<'_, '_> {
    /// What a `from` brings into reach.
    pub(super) fn relations(&mut self, from: &[TableWithJoins], into: &mut Vec<Relation>) {
        for table in from {
            self.factor(&table.relation, into);
            for join in &table.joins {
                let before = into.len();
                self.factor(&join.relation, into);
                match constraint(&join.join_operator) {
                    Some(JoinConstraint::Using(columns)) => {
                        for name in columns {
                            let Some(column) = name.0.last().and_then(|p| p.as_ident()) else { continue };
                            let tables: Vec<usize> = into
                                .iter()
                                .filter(|r| self.has(&r.columns, &column.value))
                                .filter_map(|r| if let Columns::Of(t) = r.columns { Some(t) } else { None })
                                .collect();
                            tables.into_iter().for_each(|t| self.need(t, &column.value, |n| &mut n.select));
                        }
                    }
                    Some(JoinConstraint::Natural) => {
                        self.unresolved("a natural join does not say by which columns; write `join ... on`");
                    }
                    _ => {}
                }
                debug_assert!(into.len() >= before);
            }
        }
    }

    fn factor(&mut self, factor: &TableFactor, into: &mut Vec<Relation>) {
        let (name, columns, alias) = match factor {
            TableFactor::Table { name, alias, args: None, .. } => {
                let columns = self.source(name);
                if let Columns::Of(i) = columns {
                    self.touched.insert(i);
                }
                let own = name.0.last().and_then(|p| p.as_ident()).map_or(String::new(), |i| i.value.clone());
                (own, columns, alias)
            }
            TableFactor::Derived { subquery, alias, .. } => {
                (String::new(), output(subquery).map_or(Columns::Any, Columns::Named), alias)
            }
            TableFactor::NestedJoin { table_with_joins, alias: None } => {
                return self.relations(std::slice::from_ref(table_with_joins), into);
            }
            // A function that brings rows: its columns are its own.
            TableFactor::Table { alias, .. }
            | TableFactor::TableFunction { alias, .. }
            | TableFactor::Function { alias, .. }
            | TableFactor::UNNEST { alias, .. }
            | TableFactor::JsonTable { alias, .. } => (String::new(), Columns::Any, alias),
            other => {
                self.unresolved(&format!("`{other}` is not understood here"));
                (String::new(), Columns::Any, &None)
            }
        };
        let columns = match alias {
            Some(alias) if !alias.columns.is_empty() => renamed(columns, alias),
            _ => columns,
        };
        let name = alias.as_ref().map_or(name, |alias| alias.name.value.clone()).to_lowercase();
        into.push(Relation { name, columns });
    }

    pub(super) fn select_frame(&mut self, select: &Select) -> Frame {
        let mut frame = Frame { results: results(select), ..Frame::default() };
        self.relations(&select.from, &mut frame.relations);
        frame
    }

    /// `*` and `t.*` in a list of results.
    pub(super) fn wildcards<'s>(&mut self, items: impl IntoIterator<Item = &'s SelectItem>, relations: &[Relation]) {
        for item in items {
            let of = match item {
                SelectItem::Wildcard(_) => None,
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
                    name.0.last().and_then(|p| p.as_ident()).map(|i| i.value.to_lowercase())
                }
                _ => continue,
            };
            let tables: Vec<usize> = relations
                .iter()
                .filter(|r| of.as_ref().is_none_or(|of| *of == r.name))
                .filter_map(|r| if let Columns::Of(t) = r.columns { Some(t) } else { None })
                .collect();
            tables.into_iter().for_each(|t| self.all(t, |n| &mut n.select));
        }
    }
}

fn constraint(operator: &JoinOperator) -> Option<&JoinConstraint> {
    use JoinOperator::{
        Anti, AsOf, CrossJoin, FullOuter, Inner, Join, Left, LeftAnti, LeftOuter, LeftSemi, Right, RightAnti,
        RightOuter, RightSemi, Semi, StraightJoin,
    };
    match operator {
        Join(c) | Inner(c) | Left(c) | LeftOuter(c) | Right(c) | RightOuter(c) | FullOuter(c) | CrossJoin(c)
        | Semi(c) | LeftSemi(c) | RightSemi(c) | Anti(c) | LeftAnti(c) | RightAnti(c) | StraightJoin(c) => Some(c),
        AsOf { constraint, .. } => Some(constraint),
        _ => None,
    }
}

/// What the columns of a query are called, in lower case.
pub(super) fn output(query: &Query) -> Output {
    let mut body = query.body.as_ref();
    loop {
        match body {
            SetExpr::Select(select) => {
                let is_wild = |i: &SelectItem| matches!(i, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..));
                return (!select.projection.iter().any(is_wild)).then(|| results(select));
            }
            SetExpr::Query(inner) => body = inner.body.as_ref(),
            SetExpr::SetOperation { left, .. } => body = left.as_ref(),
            _ => return None,
        }
    }
}

fn results(select: &Select) -> BTreeSet<String> {
    let name = |item: &SelectItem| match item {
        SelectItem::ExprWithAlias { alias, .. } => Some(alias.value.to_lowercase()),
        SelectItem::UnnamedExpr(Expr::Identifier(ident)) => Some(ident.value.to_lowercase()),
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => parts.last().map(|p| p.value.to_lowercase()),
        _ => None,
    };
    select.projection.iter().filter_map(name).collect()
}

/// The columns under the names that `t (a, b)` gives them: those of a table can then no longer be told apart.
fn renamed(columns: Columns, alias: &TableAlias) -> Columns {
    match columns {
        Columns::Of(_) => Columns::Any,
        _ => Columns::Named(alias.columns.iter().map(|c| c.name.value.to_lowercase()).collect()),
    }
}
