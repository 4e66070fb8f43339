//! What belongs to images only: aliases pointed elsewhere, and the metadata of one registry put back after a rescan.
//! It never removes an image that something else still points at.

use super::rows::Table;
use super::{PostgresClient, READING, Trouble, WRITING, columns};
use crate::model::{Fault, FaultKind, Known, Row, Standing};
use sqlx::PgConnection;
use std::collections::BTreeMap;

impl PostgresClient {
    /// Where an alias stands, between the image it pointed at and the one it is to point at.
    pub async fn alias_standing(&self, alias: &str, architecture: &str, before: &str, after: &str) -> Result<Standing, Fault> {
        let call = async {
            let mut reading = self.begin(READING).await?;
            Ok(match target(&mut reading, alias).await? {
                Some((name, found)) if name == after && found == architecture => Standing::After,
                Some((name, _)) if name == before => Standing::Before,
                Some((name, _)) => Standing::Neither(format!("alias `{alias}` points at `{name}`")),
                None => Standing::Neither(format!("there is no alias `{alias}`")),
            })
        };
        self.within("read", call).await
    }

    /// Points an alias at the image `target_name` of this architecture, if it still points at `guard_name`.
    pub async fn point_alias(&self, alias: &str, architecture: &str, target_name: &str, guard_name: &str) -> Result<(), Fault> {
        let call = async {
            let mut writing = self.begin(WRITING).await?;
            let drift = |why: String| Trouble::from(Fault::new(FaultKind::Drift, self.what("write"), why));
            match target(&mut writing, alias).await? {
                Some((name, found)) if name == target_name && found == architecture => return Ok(()),
                Some((name, _)) if name == guard_name => {}
                Some((name, _)) => return Err(drift(format!("alias `{alias}` points at `{name}`"))),
                None => return Err(drift(format!("there is no alias `{alias}`"))),
            }
            let alive = columns(&mut writing, "images").await?.iter().any(|(column, _)| column == "status");
            let sql = if alive {
                "SELECT id::text FROM images WHERE name = $1 AND architecture = $2 AND status::text = 'ALIVE'"
            } else {
                "SELECT id::text FROM images WHERE name = $1 AND architecture = $2"
            };
            let ids: Vec<String> = sqlx::query_scalar(sql).bind(target_name).bind(architecture).fetch_all(&mut *writing).await?;
            let [id] = ids.as_slice() else {
                let why = format!("{} images are named `{target_name}` for `{architecture}`, one is needed", ids.len());
                let kind = if ids.is_empty() { FaultKind::Missing } else { FaultKind::Lasting };
                return Err(Fault::new(kind, format!("cannot point alias `{alias}`"), why).into());
            };
            // The guard once more, inside the statement: whoever changed the alias meanwhile wins.
            let sql = "UPDATE image_aliases a SET image = n.id FROM images n, images o WHERE a.alias = $1 AND n.id::text = $2 \
                       AND o.id = a.image AND o.name = $3";
            let done = sqlx::query(sql).bind(alias).bind(id).bind(guard_name).execute(&mut *writing).await?;
            if done.rows_affected() != 1 {
                return Err(drift(format!("alias `{alias}` was changed by somebody else")));
            }
            writing.commit().await?;
            Ok(())
        };
        self.within("write", call).await
    }

    /// The images of one registry that the metadata knows and offers, with architecture.
    pub async fn known_images(&self, registry: &str) -> Result<Vec<(Known, String)>, Fault> {
        let call = async {
            let mut reading = self.begin(READING).await?;
            let alive = columns(&mut reading, "images").await?.iter().any(|(column, _)| column == "status");
            let sql = if alive {
                "SELECT name::text, config_digest::text, architecture::text FROM images \
                 WHERE registry = $1 AND status::text = 'ALIVE' ORDER BY name, architecture"
            } else {
                "SELECT name::text, config_digest::text, architecture::text FROM images WHERE registry = $1 ORDER BY name, architecture"
            };
            let rows: Vec<(String, String, String)> = sqlx::query_as(sql).bind(registry).fetch_all(&mut *reading).await?;
            // A digest that is none (a hand-made row) proves nothing, so the image is not known.
            let known = |(name, config, architecture): (String, String, String)| {
                Some((Known { name, config: config.trim().parse().ok()? }, architecture))
            };
            Ok(rows.into_iter().filter_map(known).collect())
        };
        self.within("read", call).await
    }

    /// Makes the rows of `images` of one registry exactly `wanted`, in one transaction.
    pub async fn replace_images(&self, registry: &str, wanted: &[Row]) -> Result<(), Fault> {
        let call = async {
            let mut writing = self.begin(WRITING).await?;
            let Some(table) = Table::read(&mut writing, "images").await? else {
                return Err(Fault::new(FaultKind::Missing, self.what("write"), "there is no table `images`").into());
            };
            let found = by_id(&table.rows_where(&mut writing, "registry", vec![registry.to_owned()], "FOR UPDATE").await?);
            let wanted = by_id(wanted);
            // Away with the new ones first: a name may come back under its old id.
            let added: Vec<String> = found.keys().filter(|id| !wanted.contains_key(*id)).cloned().collect();
            self.refuse_if_held(&mut writing, &added).await?;
            table.delete(&mut writing, added).await?;
            for (id, row) in &wanted {
                if found.get(id).is_some_and(|there| there != row) {
                    table.update(&mut writing, id, row).await?;
                }
            }
            let lost: Vec<&Row> = wanted.iter().filter(|(id, _)| !found.contains_key(*id)).map(|(_, row)| row).collect();
            for alike in lost.chunk_by(|a, b| a.keys().eq(b.keys())) {
                table.insert(&mut writing, alike.iter().copied()).await?;
            }
            writing.commit().await?;
            Ok(())
        };
        self.within("write", call).await
    }

    /// PostgreSQL would refuse too, but could not name the alias.
    async fn refuse_if_held(&self, writing: &mut PgConnection, ids: &[String]) -> Result<(), Trouble> {
        let sql = "SELECT a.alias::text, i.name::text FROM image_aliases a JOIN images i ON i.id = a.image \
                   WHERE i.id::text = ANY($1) ORDER BY a.alias LIMIT 1";
        let held: Option<(Option<String>, String)> = sqlx::query_as(sql).bind(ids).fetch_optional(writing).await?;
        let Some((alias, name)) = held else { return Ok(()) };
        let why = format!("alias `{}` points at `{name}`, which a rescan added", alias.unwrap_or_default());
        let hint = "point the alias elsewhere with `backend.ai mgr image dealias` and `alias`, then retry";
        Err(Fault::new(FaultKind::Lasting, self.what("write"), why).hint(hint).into())
    }
}

/// Name and architecture of the image behind an alias.
async fn target(transaction: &mut PgConnection, alias: &str) -> Result<Option<(String, String)>, sqlx::Error> {
    let sql = "SELECT i.name::text, i.architecture::text FROM image_aliases a JOIN images i ON i.id = a.image WHERE a.alias = $1";
    sqlx::query_as(sql).bind(alias).fetch_optional(transaction).await
}

fn by_id(rows: &[Row]) -> BTreeMap<String, Row> {
    let id = |row: &Row| row.get("id").and_then(serde_json::Value::as_str).map(str::to_owned);
    rows.iter().filter_map(|row| Some((id(row)?, row.clone()))).collect()
}
