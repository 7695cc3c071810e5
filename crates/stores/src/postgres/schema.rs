//! What PostgreSQL's own catalogue says of tables: columns and their types, unique indices, triggers, what the user may
//! do. In the form of [`Catalog`], and beside it what only this adapter wants to know.

use std::collections::BTreeSet;

use landbridge_flow::StoreError;
use tokio_postgres::{Row, SimpleQueryMessage};

use super::fault::translate;
use super::options::PostgresOptions;
use super::session::{Session, connect};
use super::statements::{quoted, table as table_sql};
use super::tls;
use super::values::{Class, IdColumn, Params};
use crate::catalog::{Catalog, ColumnInfo, ColumnKind, Reference, TableInfo, Vendor};
use crate::mapping::TableName;

/// A table or a view.
#[derive(Debug)]
pub(super) struct Relation {
    pub(super) info: TableInfo,
    pub(super) schema: String,
    /// `r` a table, `p` a partitioned one, `v` a view, ...
    pub(super) kind: char,
    pub(super) is_unlogged: bool,
    pub(super) is_temporary: bool,
    /// Whether policies hide rows of it from this user.
    pub(super) hides_rows: bool,
    pub(super) columns: Vec<Column>,
    /// Unique indices that hold for all rows at once, and the names of their parts in partitions.
    pub(super) unique: Vec<Unique>,
    /// The first column of each index.
    pub(super) indexed: BTreeSet<String>,
    pub(super) rewrites_inserts: bool,
}

/// What is known of a column beyond [`ColumnInfo`], in the same order.
#[derive(Debug)]
pub(super) struct Column {
    /// The name of the base type, as in `int8`.
    pub(super) base: String,
    /// The same, qualified and quoted.
    pub(super) sql_type: String,
    /// How many characters it takes.
    pub(super) width: Option<usize>,
    /// Equal means the same bytes.
    pub(super) is_exact: bool,
    /// An identity that refuses numbers of ours.
    pub(super) always_generated: bool,
}

/// A unique index.
#[derive(Debug)]
pub(super) struct Unique {
    pub(super) columns: Vec<String>,
    pub(super) names: Vec<String>,
}

const RELATIONS: &str = "
select c.oid::int8, n.nspname::text, c.relname::text, c.relkind::text, c.relpersistence::text,
       pg_table_is_visible(c.oid), row_security_active(c.oid),
       case when c.reltuples >= 0 then c.reltuples::int8 end,
       has_table_privilege(c.oid, 'delete'), has_table_privilege(c.oid, 'truncate'),
       has_table_privilege(c.oid, 'trigger'), pg_has_role(c.relowner, 'usage'),
       exists (select from pg_rewrite r where r.ev_class = c.oid and r.ev_type = '3'),
       array(select t.tgname::text from pg_trigger t
             where t.tgrelid = c.oid and not t.tgisinternal and t.tgenabled <> 'D' and (t.tgtype & 4) <> 0
             order by 1),
       has_table_privilege(c.oid, 'references')
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p', 'v', 'm', 'f')
  and ($1::int8[] is null and n.nspname not in ('pg_catalog', 'information_schema') and n.nspname !~ '^pg_toast'
       and n.nspname !~ '^pg_temp' and not c.relispartition or c.oid::int8 = any ($1::int8[]))
order by n.nspname, c.relname";

const COLUMNS: &str = "
select a.attrelid::int8, a.attname::text, format_type(a.atttypid, a.atttypmod), t.typname::text,
       quote_ident(tn.nspname) || '.' || quote_ident(t.typname),
       case when t.typname in ('varchar', 'bpchar') and tn.nspname = 'pg_catalog' and b.typmod > 4 then b.typmod - 4
            when t.typname = 'name' then 63 end,
       a.attnotnull or dt.typnotnull, a.atthasdef and a.attgenerated = '' or a.attidentity <> '' or dt.typdefault is not null,
       a.attidentity::text, a.attgenerated <> '', t.typcategory::text,
       has_column_privilege(a.attrelid, a.attnum, 'select'), has_column_privilege(a.attrelid, a.attnum, 'insert'),
       has_column_privilege(a.attrelid, a.attnum, 'update'),
       t.typname <> 'citext' and coalesce(co.collisdeterministic, true),
       s.nspname, s.relname
from pg_attribute a
join pg_type dt on dt.oid = a.atttypid
cross join lateral (
  with recursive d (oid, typmod, typtype, base, basemod) as (
    select dt.oid, a.atttypmod, dt.typtype, dt.typbasetype, dt.typtypmod
    union all
    select u.oid, case when d.typmod >= 0 then d.typmod else d.basemod end, u.typtype, u.typbasetype, u.typtypmod
    from d join pg_type u on u.oid = d.base where d.typtype = 'd')
  select d.oid, d.typmod from d where d.typtype <> 'd') b
join pg_type t on t.oid = b.oid
join pg_namespace tn on tn.oid = t.typnamespace
left join pg_collation co on co.oid = a.attcollation
left join lateral (
  select sn.nspname::text, sc.relname::text
  from pg_attrdef ad
  join pg_depend d on d.classid = 'pg_attrdef'::regclass and d.objid = ad.oid and d.refclassid = 'pg_class'::regclass
  join pg_class sc on sc.oid = d.refobjid and sc.relkind = 'S'
  join pg_namespace sn on sn.oid = sc.relnamespace
  where ad.adrelid = a.attrelid and ad.adnum = a.attnum
  order by sc.oid limit 1) s on true
where a.attrelid::int8 = any ($1::int8[]) and a.attnum > 0 and not a.attisdropped
order by a.attrelid, a.attnum";

const INDICES: &str = "
select i.indrelid::int8, i.indisunique and i.indimmediate and i.indpred is null and i.indisvalid and i.indexprs is null,
       array(select a.attname::text from unnest(i.indkey::int2[]) with ordinality as k (n, place)
             join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.n
             where k.place <= i.indnkeyatts order by k.place),
       array(select p.relid::regclass::oid::int8 from pg_partition_tree(i.indexrelid) p),
       array(select x.relname::text from pg_class x
             where x.oid = i.indexrelid or x.oid in (select p.relid from pg_partition_tree(i.indexrelid) p)),
       i.indpred is null
from pg_index i where i.indrelid::int8 = any ($1::int8[])
order by not i.indisprimary, i.indexrelid";

const REFERENCES: &str = "
select c.conrelid::int8, a.attname::text, n.nspname::text, f.relname::text, b.attname::text, pg_table_is_visible(f.oid)
from pg_constraint c
join pg_class f on f.oid = c.confrelid join pg_namespace n on n.oid = f.relnamespace
cross join lateral unnest(c.conkey, c.confkey) as k (own, theirs)
join pg_attribute a on a.attrelid = c.conrelid and a.attnum = k.own
join pg_attribute b on b.attrelid = c.confrelid and b.attnum = k.theirs
where c.contype = 'f' and c.conrelid::int8 = any ($1::int8[])
order by c.oid";

/// Asks the catalogue, on a connection outside of any transaction.
pub(super) struct Reader<'s> {
    pub(super) session: &'s Session,
    pub(super) shown: &'s str,
}

impl Reader<'_> {
    pub(super) async fn query(&self, sql: &str, params: Params) -> Result<Vec<Row>, StoreError> {
        self.session.query(sql, params).await.map_err(|e| translate(&e, self.shown))
    }

    fn get<'r, T: tokio_postgres::types::FromSql<'r>>(&self, row: &'r Row, at: usize) -> Result<T, StoreError> {
        row.try_get(at).map_err(|e| StoreError::Broken(format!("{}: {e}", self.shown)))
    }

    /// The one text that a query says.
    pub(super) async fn text(&self, sql: &str) -> Result<String, StoreError> {
        let rows = self.query(sql, Params::default()).await?;
        rows.first().map_or_else(|| Ok(String::new()), |row| self.get(row, 0))
    }

    /// The table of this name: exactly so, else the only one that differs in case alone.
    pub(super) async fn find(&self, name: &TableName) -> Result<Option<Relation>, StoreError> {
        let sql = "select c.oid::int8 from pg_class c join pg_namespace n on n.oid = c.relnamespace
            where c.relkind in ('r', 'p', 'v', 'm', 'f') and
              (c.relname = $1 and n.nspname = $2 or c.relname = $1 and $2 is null and pg_table_is_visible(c.oid)
               or lower(c.relname) = lower($1)
                  and (lower(n.nspname) = lower($2) or $2 is null and n.nspname = any (current_schemas(false))))
            order by (c.relname = $1 and n.nspname is not distinct from coalesce($2, n.nspname)) desc limit 2";
        let params = Params::default().text(Some(name.name.clone())).text(name.schema.clone());
        let mut oids: Vec<i64> = Vec::new();
        for row in self.query(sql, params).await? {
            oids.push(self.get(&row, 0)?);
        }
        let mut relations = self.relations(Some(oids)).await?;
        let exact = relations.iter().position(|r| r.info.name.name == name.name);
        Ok(match exact {
            Some(at) => Some(relations.swap_remove(at)),
            None if relations.len() == 1 => relations.pop(),
            None => None,
        })
    }

    /// The names of all tables and views, for a message.
    pub(super) async fn names(&self) -> Result<Vec<String>, StoreError> {
        let names = self.relations(None).await?.into_iter().map(|r| r.info.name.to_string());
        Ok(names.collect())
    }

    /// The relations of these ids, or all that are not the system's own, in the order of their names.
    pub(super) async fn relations(&self, oids: Option<Vec<i64>>) -> Result<Vec<Relation>, StoreError> {
        let params = Params::default().add(oids, tokio_postgres::types::Type::INT8_ARRAY);
        let (mut ids, mut relations) = (Vec::new(), Vec::new());
        for row in self.query(RELATIONS, params).await? {
            ids.push(self.get::<i64>(&row, 0)?);
            relations.push(self.relation(&row)?);
        }
        let of = |oid: i64| ids.iter().position(|id| *id == oid);
        let all = || Params::default().numbers(ids.clone());
        for row in self.query(COLUMNS, all()).await? {
            if let Some(relation) = of(self.get(&row, 0)?).and_then(|at| relations.get_mut(at)) {
                let (info, column) = self.column(&row)?;
                relation.info.columns.push(info);
                relation.columns.push(column);
            }
        }
        for row in self.query(INDICES, all()).await? {
            let Some(relation) = of(self.get(&row, 0)?).and_then(|at| relations.get_mut(at)) else { continue };
            let (unique, columns): (bool, Vec<String>) = (self.get(&row, 1)?, self.get(&row, 2)?);
            if self.get::<bool>(&row, 5)? {
                relation.indexed.extend(columns.first().cloned());
            }
            if unique {
                relation.info.unique.push(columns.clone());
                relation.unique.push(Unique { columns, names: self.get(&row, 4)? });
            }
        }
        for row in self.query(REFERENCES, all()).await? {
            let Some(relation) = of(self.get(&row, 0)?).and_then(|at| relations.get_mut(at)) else { continue };
            let schema = if self.get(&row, 5)? { None } else { Some(self.get(&row, 2)?) };
            let table = TableName { schema, name: self.get(&row, 3)? };
            relation.info.references.push(Reference { column: self.get(&row, 1)?, table, to: self.get(&row, 4)? });
        }
        Ok(relations)
    }

    fn relation(&self, row: &Row) -> Result<Relation, StoreError> {
        let (schema, name): (String, String) = (self.get(row, 1)?, self.get(row, 2)?);
        let kind = self.get::<&str>(row, 3)?.chars().next().unwrap_or('r');
        let persistence: &str = self.get(row, 4)?;
        let visible: bool = self.get(row, 5)?;
        let mut rights = BTreeSet::new();
        let owned: bool = self.get(row, 11)?;
        for (at, right) in [(8, "delete"), (9, "truncate"), (10, "trigger"), (11, "drop"), (14, "references")] {
            if self.get(row, at)? {
                rights.insert(right.to_owned());
            }
        }
        if owned {
            rights.insert("alter".to_owned());
        }
        Ok(Relation {
            info: TableInfo {
                name: TableName { schema: (!visible).then(|| schema.clone()), name },
                is_table: matches!(kind, 'r' | 'p'),
                columns: Vec::new(),
                unique: Vec::new(),
                references: Vec::new(),
                insert_triggers: self.get(row, 13)?,
                rows: self.get::<Option<i64>>(row, 7)?.and_then(|n| u64::try_from(n).ok()),
                rights,
            },
            schema,
            kind,
            is_unlogged: persistence == "u",
            is_temporary: persistence == "t",
            hides_rows: self.get(row, 6)?,
            columns: Vec::new(),
            unique: Vec::new(),
            indexed: BTreeSet::new(),
            rewrites_inserts: matches!(kind, 'r' | 'p') && self.get(row, 12)?,
        })
    }

    fn column(&self, row: &Row) -> Result<(ColumnInfo, Column), StoreError> {
        let base: String = self.get(row, 3)?;
        let width = self.get::<Option<i32>>(row, 5)?.and_then(|width| usize::try_from(width).ok());
        let kind = match base.as_str() {
            "int2" | "int4" | "int8" => ColumnKind::Integer,
            "numeric" | "float4" | "float8" | "money" => ColumnKind::Number,
            "bool" => ColumnKind::Boolean,
            "bytea" => ColumnKind::Bytes,
            "text" | "varchar" | "bpchar" | "citext" | "name" => ColumnKind::Text(width.map(|w| w as u64)),
            _ if matches!(self.get(row, 10)?, "D") => ColumnKind::Time,
            _ => ColumnKind::Other,
        };
        let identity: &str = self.get(row, 8)?;
        let (schema, sequence): (Option<String>, Option<String>) = (self.get(row, 15)?, self.get(row, 16)?);
        let sequence = sequence.map(|name| TableName { schema, name });
        let mut rights = BTreeSet::new();
        for (at, right) in [(11, "select"), (12, "insert"), (13, "update")] {
            if self.get(row, at)? {
                rights.insert(right.to_owned());
            }
        }
        let info = ColumnInfo {
            name: self.get(row, 1)?,
            sql_type: self.get(row, 2)?,
            kind,
            not_null: self.get(row, 6)?,
            has_default: self.get(row, 7)?,
            is_generated_number: !identity.is_empty() || sequence.is_some(),
            sequence,
            is_computed: self.get(row, 9)?,
            rights,
        };
        let column = Column {
            base,
            sql_type: self.get(row, 4)?,
            width,
            is_exact: self.get(row, 14)?,
            always_generated: identity == "a",
        };
        Ok((info, column))
    }
}

impl Relation {
    /// The column of this name: exactly so, else without regard to case.
    pub(super) fn column(&self, name: &str) -> Option<(&ColumnInfo, &Column)> {
        let info = self.info.column(name)?;
        let at = self.info.columns.iter().position(|c| c.name == info.name)?;
        Some((info, self.columns.get(at)?))
    }

    /// The table as it is found whatever the search path is.
    pub(super) fn qualified(&self) -> TableName {
        TableName { schema: Some(self.schema.clone()), name: self.info.name.name.clone() }
    }

    /// How this column keeps problem ids.
    pub(super) fn id_column(&self, info: &ColumnInfo, column: &Column) -> IdColumn {
        let class = Class::of(&column.base);
        IdColumn {
            class,
            sql_type: column.sql_type.clone(),
            width: column.width,
            ordered: column.is_exact && class != Class::Other,
            indexed: self.indexed.contains(&info.name),
        }
    }

    /// Whether a unique index is on exactly these columns: its names.
    pub(super) fn unique_on(&self, columns: &[&str]) -> Vec<String> {
        let exactly =
            |u: &&Unique| u.columns.len() == columns.len() && columns.iter().all(|c| u.columns.iter().any(|x| x == c));
        self.unique.iter().filter(exactly).flat_map(|u| u.names.clone()).collect()
    }
}

/// What the database says of its tables and of what its user may do.
///
/// # Errors
/// Where the database does not answer.
pub async fn catalog(options: &PostgresOptions) -> Result<Catalog, StoreError> {
    let (session, shown) = (connect(options, &tls::connector(options)?).await?, options.shown());
    let reader = Reader { session: &session, shown: &shown };
    let sql = "select current_user::text, current_database()::text, coalesce((select rolsuper from pg_roles
               where rolname = current_user), false)";
    let rows = reader.query(sql, Params::default()).await?;
    let who = rows.first().ok_or_else(|| StoreError::Broken(format!("{shown}: no answer")))?;
    let tables = reader.relations(None).await?.into_iter().map(|r| r.info).collect();
    Ok(Catalog {
        user: Some(reader.get(who, 0)?),
        is_superuser: reader.get(who, 2)?,
        vendor: Vendor::Postgres,
        database: Some(reader.get(who, 1)?),
        tables,
    })
}

/// Some rows of a table as text, for `init`; in no order.
///
/// # Errors
/// Where the database does not answer, the table is not there, or may not be read.
pub async fn sample(
    options: &PostgresOptions,
    table: &TableName,
    columns: &[String],
    limit: usize,
) -> Result<Vec<Vec<Option<String>>>, StoreError> {
    let (session, shown) = (connect(options, &tls::connector(options)?).await?, options.shown());
    let reader = Reader { session: &session, shown: &shown };
    if columns.is_empty() {
        return Ok(Vec::new());
    }
    let named: Vec<String> = columns.iter().map(|c| format!("{}::pg_catalog.text", quoted(c))).collect();
    let sql = format!("select {} from {} limit $1", named.join(", "), table_sql(table));
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = reader.query(&sql, Params::default().number(limit)).await?;
    let texts = |row: &Row| (0..columns.len()).map(|at| reader.get(row, at)).collect();
    rows.iter().map(texts).collect()
}

/// The rows of an administrator's query, each value as text, in a transaction that writes nothing.
///
/// # Errors
/// What the database says against the query.
pub async fn query(options: &PostgresOptions, sql: &str) -> Result<Vec<Vec<Option<String>>>, StoreError> {
    let (session, shown) = (connect(options, &tls::connector(options)?).await?, options.shown());
    let said = |e: &tokio_postgres::Error| translate(e, &shown);
    session.client.batch_execute("begin read only").await.map_err(|e| said(&e))?;
    let answered = session.client.simple_query(sql).await.map_err(|e| said(&e))?;
    let texts = |message: SimpleQueryMessage| match message {
        SimpleQueryMessage::Row(row) => Some((0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect()),
        _ => None,
    };
    Ok(answered.into_iter().filter_map(texts).collect())
}
