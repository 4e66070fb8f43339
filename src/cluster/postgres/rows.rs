//! Single rows: read, compared, inserted, updated, deleted; there and back byte for byte.
//! It never touches a table that is not in `TABLES`, and writes nothing whose old value it has not just seen.

use super::{PostgresClient, READING, Trouble, WRITING, columns, json_rows};
use crate::model::change::{HIDDEN, key_column};
use crate::model::world::{row_standing, rows_standing};
use crate::model::{Fault, FaultKind, Row, RowDiff, Standing};
use serde_json::Value as Json;
use sqlx::{AssertSqlSafe, PgConnection};
use std::{collections::BTreeMap, fmt::Write};

/// The tables castoff writes; every name in SQL comes from here or from the catalog.
pub(super) const TABLES: [&str; 4] = ["container_registries", "domains", "image_aliases", "images"];

/// How a column travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Travel {
    /// As the JSON that `row_to_json` makes of it.
    Plain,
    /// As text: the bytes of a `json` column are its own (spaces, order, doubled keys), and a number may have more
    /// figures than JSON readers keep.
    Text,
    /// As `HIDDEN`, or NULL if there is none.
    Hidden,
    /// As text, or `HIDDEN` where it speaks of a secret: some registries keep their keys in it.
    MaybeHidden,
}

/// A table as the catalog has it.
pub(super) struct Table {
    name: &'static str,
    /// Name, type, and how it travels.
    columns: Vec<(String, String, Travel)>,
}

impl PostgresClient {
    /// Where the rows stand towards the diffs, all read at one moment.
    pub async fn standing(&self, diffs: &[RowDiff]) -> Result<Standing, Fault> {
        let call = async {
            let mut reading = self.begin(READING).await?;
            let tables = self.tables_of(&mut reading, diffs).await?;
            let mut found: BTreeMap<(String, String), Row> = BTreeMap::new();
            for diff in diffs {
                let row = table_of(&tables, &diff.table)?.row(&mut reading, &diff.key, "").await?;
                found.extend(row.map(|row| ((diff.table.clone(), diff.key.clone()), row)));
            }
            Ok(rows_standing(diffs, |table, key| found.get(&(table.to_owned(), key.to_owned()))))
        };
        self.within("read", call).await
    }

    /// Makes the diffs true (`forward`) or untrue, in one transaction. Each row is locked, compared with what the plan
    /// saw, and only then written; one that is already right is left alone. The way back takes the diffs in reverse
    /// order, so that a row comes back before the rows that point at it. Hidden columns come back as NULL.
    pub async fn write(&self, diffs: &[RowDiff], forward: bool) -> Result<(), Fault> {
        let call = async {
            let mut writing = self.begin(WRITING).await?;
            let tables = self.tables_of(&mut writing, diffs).await?;
            let ordered: Vec<RowDiff> = if forward { diffs.to_vec() } else { diffs.iter().rev().map(turned).collect() };
            for diff in &ordered {
                let table = table_of(&tables, &diff.table)?;
                let found = table.row(&mut writing, &diff.key, "FOR UPDATE").await?;
                match row_standing(diff, found.as_ref()) {
                    Standing::After => {}
                    Standing::Neither(why) => return Err(Fault::new(FaultKind::Drift, self.what("write"), why).into()),
                    Standing::Before => match (&diff.before, &diff.after) {
                        (_, None) => table.delete(&mut writing, &diff.key).await?,
                        (None, Some(row)) => table.insert(&mut writing, row).await?,
                        (Some(_), Some(row)) => table.update(&mut writing, &diff.key, row).await?,
                    },
                }
            }
            writing.commit().await?;
            Ok(())
        };
        self.within("write", call).await
    }

    async fn tables_of(&self, transaction: &mut PgConnection, diffs: &[RowDiff]) -> Result<BTreeMap<String, Table>, Trouble> {
        let mut tables = BTreeMap::new();
        for diff in diffs {
            if !tables.contains_key(&diff.table) {
                let name = TABLES.into_iter().find(|name| *name == diff.table);
                let table = match name {
                    Some(name) => Table::read(transaction, name).await?,
                    None => None,
                };
                let missing = || Fault::new(FaultKind::Missing, self.what("use"), format!("there is no table `{}`", diff.table));
                tables.insert(diff.table.clone(), table.ok_or_else(missing)?);
            }
        }
        Ok(tables)
    }
}

fn table_of<'a>(tables: &'a BTreeMap<String, Table>, name: &str) -> Result<&'a Table, Fault> {
    tables.get(name).ok_or_else(|| Fault::new(FaultKind::Missing, format!("table `{name}`"), "it was not read"))
}

fn turned(diff: &RowDiff) -> RowDiff {
    RowDiff { before: diff.after.clone(), after: diff.before.clone(), ..diff.clone() }
}

impl Table {
    /// `None` if this database has no such table. Of `domains` only the name and the list of registries are read.
    pub(super) async fn read(transaction: &mut PgConnection, name: &'static str) -> Result<Option<Self>, Trouble> {
        let wanted = |column: &str| name != "domains" || ["name", "allowed_docker_registries"].contains(&column);
        let columns: Vec<_> = columns(transaction, name)
            .await?
            .into_iter()
            .filter(|(column, _)| wanted(column))
            .map(|(column, kind)| {
                let travel = travel(name, &column, &kind);
                (column, kind, travel)
            })
            .collect();
        Ok((!columns.is_empty()).then_some(Self { name, columns }))
    }

    pub(super) async fn rows(&self, transaction: &mut PgConnection) -> Result<Vec<Row>, Trouble> {
        Ok(json_rows(sqlx::query_scalar(AssertSqlSafe(self.select(""))).fetch_all(transaction).await?)?)
    }

    /// The rows whose column has this value, locked against others until the transaction ends.
    pub(super) async fn rows_for_update(
        &self,
        transaction: &mut PgConnection,
        column: &'static str,
        value: &str,
    ) -> Result<Vec<Row>, Trouble> {
        let sql = self.select(&format!("WHERE {}::text = $1 FOR UPDATE", quoted(column)));
        Ok(json_rows(sqlx::query_scalar(AssertSqlSafe(sql)).bind(value).fetch_all(transaction).await?)?)
    }

    async fn row(&self, transaction: &mut PgConnection, key: &str, lock: &'static str) -> Result<Option<Row>, Trouble> {
        let sql = self.select(&format!("WHERE {}::text = $1 {lock}", quoted(key_column(self.name))));
        let texts = sqlx::query_scalar(AssertSqlSafe(sql)).bind(key).fetch_all(transaction).await?;
        Ok(json_rows(texts)?.into_iter().next())
    }

    /// A row as it was, defaults for the columns it does not name.
    pub(super) async fn insert(&self, transaction: &mut PgConnection, row: &Row) -> Result<(), Trouble> {
        let row = without_hidden(row);
        let (mut names, mut values) = (String::new(), String::new());
        for (column, kind, travel) in self.of_row(&row)? {
            let comma = if names.is_empty() { "" } else { ", " };
            let _ = write!(names, "{comma}{}", quoted(column));
            let _ = write!(values, "{comma}{}", value_of(column, kind, *travel));
        }
        let table = self.name;
        let sql = format!("INSERT INTO {table} ({names}) SELECT {values} FROM json_populate_record(NULL::{table}, $1::json) p");
        let text = Json::Object(row).to_string();
        self.one(sqlx::query(AssertSqlSafe(sql)).bind(text).execute(transaction).await?.rows_affected())
    }

    /// Only the columns that are named; hidden ones stay as they are.
    pub(super) async fn update(&self, transaction: &mut PgConnection, key: &str, row: &Row) -> Result<(), Trouble> {
        let row: Row = row.iter().filter(|(_, value)| *value != HIDDEN).map(|(c, v)| (c.clone(), v.clone())).collect();
        let assign = |(column, kind, travel): &(String, String, Travel)| {
            format!("{} = {}", quoted(column), value_of(column, kind, *travel))
        };
        let assignments: Vec<String> = self.of_row(&row)?.into_iter().map(assign).collect();
        if assignments.is_empty() {
            return Ok(());
        }
        let (table, assignments, key_column) = (self.name, assignments.join(", "), quoted(key_column(self.name)));
        let sql = format!(
            "UPDATE {table} SET {assignments} FROM json_populate_record(NULL::{table}, $1::json) p \
             WHERE {table}.{key_column}::text = $2"
        );
        let text = Json::Object(row).to_string();
        self.one(sqlx::query(AssertSqlSafe(sql)).bind(text).bind(key).execute(transaction).await?.rows_affected())
    }

    pub(super) async fn delete(&self, transaction: &mut PgConnection, key: &str) -> Result<(), Trouble> {
        let sql = format!("DELETE FROM {} WHERE {}::text = $1", self.name, quoted(key_column(self.name)));
        self.one(sqlx::query(AssertSqlSafe(sql)).bind(key).execute(transaction).await?.rows_affected())
    }

    fn one(&self, affected: u64) -> Result<(), Trouble> {
        if affected == 1 {
            return Ok(());
        }
        let why = format!("{affected} rows of `{}` would have changed in place of one", self.name);
        Err(Fault::new(FaultKind::Drift, "cannot write PostgreSQL", why).into())
    }

    /// The table's own columns that the row names. A column that is gone (an upgrade since the plan) is drift.
    fn of_row(&self, row: &Row) -> Result<Vec<&(String, String, Travel)>, Fault> {
        let stray = row.keys().find(|name| !self.columns.iter().any(|(column, ..)| column == *name));
        if let Some(stray) = stray {
            let why = format!("`{}` has no column `{stray}`", self.name);
            return Err(Fault::new(FaultKind::Drift, "cannot write PostgreSQL", why));
        }
        Ok(self.columns.iter().filter(|(column, ..)| row.contains_key(column)).collect())
    }

    fn select(&self, rest: &str) -> String {
        let shown = |(column, _, travel): &(String, String, Travel)| {
            let name = quoted(column);
            match travel {
                Travel::Plain => name,
                Travel::Text => format!("{name}::text AS {name}"),
                Travel::Hidden => format!("CASE WHEN {name} IS NOT NULL THEN '{HIDDEN}' END AS {name}"),
                Travel::MaybeHidden => format!(
                    "CASE WHEN {name}::text ~* '(pass|secret|token|key|credential)' THEN '{HIDDEN}' ELSE {name}::text END AS {name}"
                ),
            }
        };
        let columns: Vec<String> = self.columns.iter().map(shown).collect();
        format!("SELECT row_to_json(t)::text FROM (SELECT {} FROM {} {rest}) t", columns.join(", "), self.name)
    }
}

fn travel(table: &str, column: &str, kind: &str) -> Travel {
    match (table, column, kind) {
        (_, "password", _) => Travel::Hidden,
        ("container_registries", "extra", _) => Travel::MaybeHidden,
        (_, _, "json" | "jsonb" | "numeric" | "float4" | "float8") => Travel::Text,
        _ => Travel::Plain,
    }
}

/// The expression that gives a column its value out of `$1`, the row as JSON, and `p`, the row as a record.
fn value_of(column: &str, kind: &str, travel: Travel) -> String {
    match travel {
        // `kind` is a type's name out of the catalog.
        Travel::Text | Travel::MaybeHidden => format!("($1::json ->> '{}')::{}", column.replace('\'', "''"), quoted(kind)),
        Travel::Plain | Travel::Hidden => format!("p.{}", quoted(column)),
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn without_hidden(row: &Row) -> Row {
    row.iter().map(|(column, value)| (column.clone(), if value == HIDDEN { Json::Null } else { value.clone() })).collect()
}
