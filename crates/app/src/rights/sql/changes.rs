//! What a statement inserts, changes and deletes.

use std::collections::BTreeSet;

use sqlparser::ast::{
    Assignment, AssignmentTarget, Delete, FromTable, Insert, OnConflictAction, OnInsert, TableObject, Update,
    UpdateTableFromKind,
};

use super::{Columns, Frame, Relation, Walk};

impl Walk<'_, '_> {
    pub(super) fn insert(&mut self, insert: &Insert) -> Frame {
        let mut frame = Frame::default();
        let TableObject::TableName(name) = &insert.table else {
            self.unresolved("it inserts into something that is no table");
            return frame;
        };
        let columns = self.source(name);
        if let Columns::Of(table) = columns {
            for column in insert.columns.iter().filter_map(|c| c.0.last().and_then(|p| p.as_ident())) {
                self.need(table, &column.value, |n| &mut n.insert);
            }
            let assigned = insert.assignments.iter().flat_map(targets).collect::<Vec<_>>();
            for column in &assigned {
                self.need(table, column, |n| &mut n.insert);
            }
            if insert.columns.is_empty() && assigned.is_empty() {
                self.all(table, |n| &mut n.insert);
            }
            let changed: &[Assignment] = match &insert.on {
                Some(OnInsert::DuplicateKeyUpdate(changed)) => changed,
                Some(OnInsert::OnConflict(conflict)) => match &conflict.action {
                    OnConflictAction::DoUpdate(update) => &update.assignments,
                    OnConflictAction::DoNothing => &[],
                },
                Some(_) => {
                    self.unresolved("what it does where a row is there already is not understood here");
                    &[]
                }
                None => &[],
            };
            for column in changed.iter().flat_map(targets) {
                self.need(table, &column, |n| &mut n.update);
            }
            if insert.replace_into || insert.or.is_some() {
                self.reader.needs.tables.entry(self.reader.catalog.tables[table].name.clone()).or_default().delete =
                    true;
            }
            let name = self.reader.catalog.tables[table].name.clone();
            self.reader.sequences(&name);
        }
        let own = name.0.last().and_then(|p| p.as_ident()).map_or(String::new(), |i| i.value.to_lowercase());
        let alias = insert.table_alias.as_ref().map_or(own, |alias| alias.alias.value.to_lowercase());
        frame.relations.push(Relation { name: "excluded".to_owned(), columns: Columns::Named(BTreeSet::new()) });
        frame.relations.push(Relation { name: alias, columns });
        self.wildcards(insert.returning.iter().flatten(), &frame.relations);
        frame
    }

    pub(super) fn update(&mut self, update: &Update) -> Frame {
        let mut frame = Frame::default();
        self.relations(std::slice::from_ref(&update.table), &mut frame.relations);
        let target = frame.relations.first().and_then(|r| if let Columns::Of(t) = r.columns { Some(t) } else { None });
        if let Some(UpdateTableFromKind::BeforeSet(from) | UpdateTableFromKind::AfterSet(from)) = &update.from {
            self.relations(from, &mut frame.relations);
        }
        if !update.table.joins.is_empty() {
            self.unresolved("an update of joined tables is not understood here");
        } else if let Some(table) = target {
            for column in update.assignments.iter().flat_map(targets) {
                self.need(table, &column, |n| &mut n.update);
            }
        }
        self.wildcards(update.returning.iter().flatten(), &frame.relations);
        frame
    }

    pub(super) fn delete(&mut self, delete: &Delete) -> Frame {
        let mut frame = Frame::default();
        let (FromTable::WithFromKeyword(from) | FromTable::WithoutKeyword(from)) = &delete.from;
        self.relations(from, &mut frame.relations);
        match frame.relations.as_slice() {
            [Relation { columns: Columns::Of(table), .. }] => {
                let name = self.reader.catalog.tables[*table].name.clone();
                self.reader.needs.tables.entry(name).or_default().delete = true;
            }
            _ => self.unresolved("a delete from more than one plain table is not understood here"),
        }
        if let Some(using) = &delete.using {
            self.relations(using, &mut frame.relations);
        }
        self.wildcards(delete.returning.iter().flatten(), &frame.relations);
        frame
    }
}

/// The columns that an assignment gives a value.
fn targets(assignment: &Assignment) -> Vec<String> {
    let names = match &assignment.target {
        AssignmentTarget::ColumnName(name) => std::slice::from_ref(name),
        AssignmentTarget::Tuple(names) => names,
    };
    names.iter().filter_map(|n| Some(n.0.last()?.as_ident()?.value.clone())).collect()
}
