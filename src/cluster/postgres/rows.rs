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
            let found = found(&mut reading, &tables, diffs, "").await?;
            Ok(rows_standing(diffs, |diff| found.get(&(diff.table.as_str(), diff.key.as_str()))))
        };
        self.within("read", call).await
    }

    /// Makes the diffs true (`forward`) or untrue, in one transaction. Every row is locked, compared with what the plan
    /// saw, and only then is anything written; a row that is already right is left alone. The way back takes the diffs in
    /// reverse order, so that a row comes back before the rows that point at it. Hidden columns come back as NULL.
    pub async fn write(&self, diffs: &[RowDiff], forward: bool) -> Result<(), Fault> {
        let ordered: Vec<RowDiff> = if forward { diffs.to_vec() } else { diffs.iter().rev().map(turned).collect() };
        let call = async {
            let mut writing = self.begin(WRITING).await?;
            let tables = self.tables_of(&mut writing, &ordered).await?;
            let found = found(&mut writing, &tables, &ordered, "FOR UPDATE").await?;
            let mut due = vec![];
            for diff in &ordered {
                match row_standing(diff, found.get(&(diff.table.as_str(), diff.key.as_str()))) {
                    Standing::After => {}
                    Standing::Before | Standing::Midway => due.push(diff),
                    Standing::Neither(why) => return Err(Fault::new(FaultKind::Drift, self.what("write"), why).into()),
                }
            }
            for alike in due.chunk_by(|a, b| alike(a, b)) {
                let Some((table, first)) = alike.first().and_then(|first| Some((tables.get(&first.table)?, first))) else {
                    continue;
                };
                match (&first.before, &first.after) {
                    (_, None) => table.delete(&mut writing, alike.iter().map(|diff| diff.key.clone()).collect()).await?,
                    (None, Some(_)) => table.insert(&mut writing, alike.iter().filter_map(|diff| diff.after.as_ref())).await?,
                    (Some(_), Some(row)) => table.update(&mut writing, &first.key, row).await?,
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

/// Every row that the diffs name, by table and key.
async fn found<'a>(
    transaction: &mut PgConnection,
    tables: &BTreeMap<String, Table>,
    diffs: &'a [RowDiff],
    lock: &'static str,
) -> Result<BTreeMap<(&'a str, &'a str), Row>, Trouble> {
    let mut found = BTreeMap::new();
    for (name, table) in tables {
        let keys: Vec<String> = diffs.iter().filter(|diff| diff.table == *name).map(|diff| diff.key.clone()).collect();
        let rows = table.rows_where(transaction, key_column(table.name), keys, lock).await?;
        let key = |row: &Row| row.get(key_column(table.name)).and_then(Json::as_str).map(str::to_owned);
        let mut rows: BTreeMap<String, Row> = rows.into_iter().filter_map(|row| Some((key(&row)?, row))).collect();
        for diff in diffs.iter().filter(|diff| diff.table == *name) {
            if let Some(row) = rows.remove(&diff.key) {
                found.insert((diff.table.as_str(), diff.key.as_str()), row);
            }
        }
    }
    Ok(found)
}

/// Whether two neighbours can be written by one statement: deletions from one table, or insertions of the same columns.
fn alike(a: &RowDiff, b: &RowDiff) -> bool {
    a.table == b.table
        && match ((&a.before, &a.after), (&b.before, &b.after)) {
            ((_, None), (_, None)) => true,
            ((None, Some(a)), (None, Some(b))) => a.keys().eq(b.keys()),
            _ => false,
        }
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

    /// The rows whose column has one of these values; with `FOR UPDATE` locked against others until the transaction ends.
    pub(super) async fn rows_where(
        &self,
        transaction: &mut PgConnection,
        column: &'static str,
        values: Vec<String>,
        lock: &'static str,
    ) -> Result<Vec<Row>, Trouble> {
        let sql = self.select(&format!("WHERE {}::text = ANY($1) {lock}", quoted(column)));
        Ok(json_rows(sqlx::query_scalar(AssertSqlSafe(sql)).bind(values).fetch_all(transaction).await?)?)
    }

    /// Rows as they were, all naming the same columns; defaults for the columns they do not name.
    pub(super) async fn insert(
        &self,
        transaction: &mut PgConnection,
        rows: impl Iterator<Item = &Row> + Send,
    ) -> Result<(), Trouble> {
        let rows: Vec<Row> = rows.map(without_hidden).collect();
        let (mut names, mut values) = (String::new(), String::new());
        for (column, kind, travel) in self.of_row(rows.first().unwrap_or(&Row::new()))? {
            let comma = if names.is_empty() { "" } else { ", " };
            let _ = write!(names, "{comma}{}", quoted(column));
            let _ = write!(values, "{comma}{}", value_of(column, kind, *travel));
        }
        let table = self.name;
        let sql = format!("INSERT INTO {table} ({names}) SELECT {values} {}", from_json(table));
        let count = rows.len();
        let text = Json::Array(rows.into_iter().map(Json::Object).collect()).to_string();
        self.all(sqlx::query(AssertSqlSafe(sql)).bind(text).execute(transaction).await?.rows_affected(), count)
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
        let sql = format!("UPDATE {table} SET {assignments} {} WHERE {table}.{key_column}::text = $2", from_json(table));
        let text = Json::Array(vec![Json::Object(row)]).to_string();
        self.all(sqlx::query(AssertSqlSafe(sql)).bind(text).bind(key).execute(transaction).await?.rows_affected(), 1)
    }

    pub(super) async fn delete(&self, transaction: &mut PgConnection, keys: Vec<String>) -> Result<(), Trouble> {
        let sql = format!("DELETE FROM {} WHERE {}::text = ANY($1)", self.name, quoted(key_column(self.name)));
        let count = keys.len();
        self.all(sqlx::query(AssertSqlSafe(sql)).bind(keys).execute(transaction).await?.rows_affected(), count)
    }

    /// The last guard before a commit: as many rows were written as were meant.
    fn all(&self, affected: u64, meant: usize) -> Result<(), Trouble> {
        if affected == meant as u64 {
            return Ok(());
        }
        let why = format!("{affected} rows of `{}` would have changed in place of {meant}", self.name);
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

/// `$1`, an array of rows: each as JSON (`e`) and as a record of the table (`p`).
fn from_json(table: &str) -> String {
    format!("FROM json_array_elements($1::json) e CROSS JOIN LATERAL json_populate_record(NULL::{table}, e) p")
}

/// The expression that gives a column its value out of `e` or `p`.
fn value_of(column: &str, kind: &str, travel: Travel) -> String {
    match travel {
        // `kind` is a type's name out of the catalog.
        Travel::Text | Travel::MaybeHidden => format!("(e ->> '{}')::{}", column.replace('\'', "''"), quoted(kind)),
        Travel::Plain | Travel::Hidden => format!("p.{}", quoted(column)),
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn without_hidden(row: &Row) -> Row {
    row.iter().map(|(column, value)| (column.clone(), if value == HIDDEN { Json::Null } else { value.clone() })).collect()
}
