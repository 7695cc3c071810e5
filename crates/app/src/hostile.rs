//! What has to hold of the files of a site, whatever stands in them: the configuration, the cache, the administrator's SQL.
//! The fuzz targets call these functions, and the tests below with some thousand mutations of good input. Neither is part
//! of the product.

use std::collections::BTreeMap;
use std::path::Path;

use landbridge_stores::catalog::{Catalog, ColumnInfo, TableInfo, Vendor};
use landbridge_stores::mapping::{AppendKind, Source, Statements};
use landbridge_stores::{Mapping, TableName};

use crate::cache::{Cache, Wish};
use crate::{config, rights};

/// A configuration is taken, or refused with faults that lie within the file; and never a value of the environment is shown.
pub fn configuration(text: &str) {
    const SECRET: &str = "tq8fz-value-of-the-environment";
    let check = || config::check(text, Path::new("landbridge.toml"), &|_| Some(SECRET.to_owned()));
    let (first, again) = (check(), check());
    assert_eq!(first.is_ok(), again.is_ok());
    let Err(faults) = first else { return };
    let (mut last, lines) = (None, text.split('\n').count());
    assert!(faults.iter().next().is_some(), "refused without a reason");
    for fault in faults.iter() {
        let place = fault.place.filter(|place| (1..=lines).contains(&place.line));
        assert!(place.is_some() && place >= last, "{fault}");
        last = place;
        assert!(!fault.to_string().contains(SECRET), "{fault}");
        assert!(!fault.what.is_empty() && !fault.instead.is_empty());
    }
    assert_eq!(again.err().as_ref(), Some(&faults));
}

/// A cache file is read, or nothing of it is, whatever its bytes are; and where a bridge writes into it, it reads back after
/// that. `folder` is where it is put.
pub fn cache_file(folder: &Path, bytes: &[u8]) {
    for end in ["-wal", "-shm", "-journal"] {
        let _ = std::fs::remove_file(folder.join(format!("landbridge.toml.cache{end}")));
    }
    if std::fs::write(folder.join("landbridge.toml.cache"), bytes).is_err() {
        return;
    }
    let cache = Cache::beside(&folder.join("landbridge.toml"));
    let first = cache.learnt();
    assert_eq!(cache.learnt(), first);
    let mut wishes = cache.wishes();
    if cache.wish(&Wish::Retry(None), None).is_ok() {
        assert!(!wishes.next().is_empty(), "a wish that was written is found");
    }
}

/// The administrator's SQL, in each place where it can stand, is understood or said not to be; and the same each time.
pub fn rights_of_sql(sql: &str) {
    for vendor in [Vendor::Postgres, Vendor::Mysql, Vendor::Sqlite] {
        let catalog = catalog(vendor);
        let needs = rights::needs(&mapping(sql), &catalog);
        assert!(needs.unresolved.iter().all(|why| !why.is_empty()));
        assert_eq!(rights::needs(&mapping(sql), &catalog), needs, "{sql:?}");
    }
}

fn catalog(vendor: Vendor) -> Catalog {
    let column = |name: &&str| ColumnInfo { name: (*name).to_owned(), ..ColumnInfo::default() };
    let table = |name: &str, columns: &[&str]| TableInfo {
        name: TableName::plain(name),
        is_table: true,
        columns: columns.iter().map(column).collect(),
        unique: vec![],
        references: vec![],
        insert_triggers: vec![],
        rows: None,
        rights: Default::default(),
    };
    let tables = vec![
        table("work", &["ticket", "no", "body", "author", "kind", "public", "phone"]),
        table("tickets", &["id", "shared", "ref", "title", "owner"]),
    ];
    Catalog { vendor, database: Some("desk".into()), tables, ..Catalog::default() }
}

fn mapping(sql: &str) -> Mapping {
    Mapping {
        source: Source::Statements(Statements {
            read: sql.to_owned(),
            append: vec![sql.to_owned()],
            work_from: sql.to_owned(),
            append_kind: AppendKind { entry: "entry".into(), marker: "marker".into() },
            text_encoding: None,
            remove: vec![],
        }),
        problem: "problem".into(),
        work: "work".into(),
        text: "text".into(),
        within: Some(sql.to_owned()),
        share: None,
        fields: BTreeMap::new(),
        also: vec![],
        markers: None,
        problems: None,
        peers: BTreeMap::new(),
        phrases: vec!["copy in system".into()],
        compact: false,
    }
}

#[cfg(test)]
#[path = "../../../fuzz/src/mutate.rs"]
mod mutate;

#[cfg(test)]
mod tests {
    use super::mutate::{mutations, mutations_of_bytes};
    use super::*;

    #[test]
    fn a_mutated_configuration_is_taken_or_refused_with_a_place() {
        let example = include_str!("../../../landbridge.example.toml");
        let small = include_str!("../../../fuzz/seeds/configuration/small.toml");
        mutations(&[example, small], 500, configuration);
    }

    #[test]
    fn a_mutated_cache_file_is_read_or_an_error() {
        let folder = std::env::temp_dir().join(format!("landbridge-cache-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let cache = Cache::beside(&folder.join("good"));
        cache.wish(&Wish::Retry(Some("N".parse().unwrap())), None).unwrap();
        let good = std::fs::read(folder.join("good.cache")).unwrap();
        mutations_of_bytes(&[&good, b"SQLite format 3\0"], 300, |bytes| cache_file(&folder, bytes));
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn mutated_sql_needs_what_is_in_the_catalogue_or_is_not_understood() {
        let sql = [
            "select w.no as work, w.ticket as problem, body as text from work w join tickets t on t.id = w.ticket where shared",
            "kind = 'work' and exists (select 1 from tickets t where t.id = work.ticket and (t.owner is null or shared))",
            "insert into work (ticket, body, author) values (:problem, :text, coalesce(:author, 'bridge'))",
        ];
        mutations(&sql, 100, rights_of_sql);
    }
}
