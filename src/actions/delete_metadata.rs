//! `delete-metadata`: the old images' metadata and the old registry's configuration go: exact keys and rows, never a
//! raw prefix that would also take `index.docker.io.mirror.corp`. Every value is kept in the plan for the way back.

use super::{About, Action, Drawn};
use crate::model::backend_ai::{Alias, images_key, registry_key};
use crate::model::image::backend_ai_registry;
use crate::model::{Change, Era, ImageRef, Inventory, Kept, KeyDiff, Problem, Row, RowDiff, text};
use serde::Deserialize;
use serde_json::Value as Json;
use std::collections::BTreeSet;

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct DeleteMetadata {}

/// etcd takes 128 operations in a transaction; each key costs a comparison and an operation.
const KEYS_IN_A_CHANGE: usize = 60;

impl Action for DeleteMetadata {
    fn plan(&self, world: &Inventory, about: &About<'_>) -> Result<Drawn, String> {
        let backend_ai = world.backend_ai.as_ref().ok_or("the cluster is not known to be a Backend.AI")?;
        let old = backend_ai_registry(about.moved.old_registry());
        let mut keys = vec![];
        if backend_ai.era == Era::Etcd {
            keys.extend(world.keys_within(&images_key(&backend_ai.namespace, old)));
        }
        if backend_ai.era != Era::Postgres {
            keys.extend(world.keys_within(&registry_key(&backend_ai.namespace, old)));
        }
        let (rows, kept) = if backend_ai.era == Era::Etcd { (vec![], vec![]) } else { old_rows(world, old, backend_ai.era) };
        let counts = [(keys.len(), "key"), (rows.len(), "row")].map(|(n, what)| (n > 0).then(|| text::count(n as u64, what)));
        let counts: Vec<String> = counts.into_iter().flatten().collect();
        let what = match counts.is_empty() {
            true if kept.is_empty() => format!("nothing of {old} is left"),
            true => format!("delete nothing of {old}"),
            false => format!("delete {} of {old}", counts.join(" and ")),
        };
        let keep = if kept.is_empty() { String::new() } else { format!("; keep {}", text::count(kept.len() as u64, "image")) };
        let summary = what + &keep;
        let delete = |(key, value)| KeyDiff { key, before: Some(value), after: None };
        let diffs: Vec<KeyDiff> = keys.into_iter().map(delete).collect();
        let mut changes: Vec<Change> =
            diffs.chunks(KEYS_IN_A_CHANGE).map(|diffs| Change::Keys { diffs: diffs.to_vec() }).collect();
        if !rows.is_empty() {
            changes.push(Change::Rows { diffs: rows });
        }
        Ok(Drawn { changes, kept, notes: lost_aliases(world, about, backend_ai.era), summary, ..Drawn::default() })
    }
}

/// Aliases that no step pointed at a new image: they end with the old one, and whoever uses them has to know.
fn lost_aliases(world: &Inventory, about: &About<'_>, era: Era) -> Vec<Problem> {
    let is_old = |target: &str| target.parse::<ImageRef>().is_ok_and(|image| image.registry == about.moved.old_registry());
    let note = |alias: Alias| {
        let why = match era {
            Era::Etcd => format!("points at {}, which Backend.AI does not know any more", alias.target),
            Era::Mixed | Era::Postgres => format!("is deleted, for it means {}", alias.target),
        };
        Problem {
            subject: format!("alias {}", alias.alias),
            why,
            hint: Some("tell its users, or point it at another image before the run".to_owned()),
            owner: None,
            place: Some(if era == Era::Etcd { "etcd" } else { "postgres" }.to_owned()),
            since_ms: None,
        }
    };
    world.aliases().into_iter().filter(|alias| is_old(&alias.target)).map(note).collect()
}

/// Aliases first, then images, then registries: the order in which foreign keys let them go. An image that a model
/// service's endpoint names is kept, and with it the registry row that it belongs to.
fn old_rows(world: &Inventory, old: &str, era: Era) -> (Vec<RowDiff>, Vec<Kept>) {
    let text = |row: &Row, column: &str| row.get(column).and_then(Json::as_str).map(str::to_owned);
    let delete = |table: &str, row: &Row| {
        Some(RowDiff { table: table.to_owned(), key: text(row, "id")?, before: Some(row.clone()), after: None })
    };
    let images = world.image_rows(old);
    let ids: BTreeSet<String> = images.iter().filter_map(|row| text(row, "id")).collect();
    let aliases = world.rows("image_aliases").iter().filter(|row| text(row, "image").is_some_and(|id| ids.contains(&id)));
    let mut out: Vec<RowDiff> = aliases.filter_map(|row| delete("image_aliases", row)).collect();
    let endpoint = |image: &Row| world.rows("endpoints").iter().find(|row| row.get("image") == image.get("id"));
    let mut kept = vec![];
    let mut registries_kept = BTreeSet::new();
    for image in &images {
        if let Some(endpoint) = endpoint(image) {
            let (name, stage) = (text(endpoint, "name").unwrap_or_default(), text(endpoint, "stage").unwrap_or_default());
            let why = format!("endpoint {name} ({stage}) names it");
            kept.push(Kept { subject: text(image, "name").unwrap_or_default(), place: "metadata".to_owned(), why });
            registries_kept.extend(text(image, "registry_id"));
        } else {
            out.extend(delete("images", image));
        }
    }
    if era == Era::Postgres {
        let is_ours = |row: &&Row| {
            text(row, "registry_name").as_deref() == Some(old) && text(row, "id").is_none_or(|id| !registries_kept.contains(&id))
        };
        let registries = world.rows("container_registries").iter().filter(is_ours);
        out.extend(registries.filter_map(|row| delete("container_registries", row)));
    }
    (out, kept)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actions::Move;
    use crate::model::BackendAi;
    use serde_json::json;

    fn row(value: &Json) -> Row {
        serde_json::from_value(value.clone()).unwrap()
    }

    #[test]
    fn an_image_that_an_endpoint_names_is_kept_with_its_registry() {
        let mut world = Inventory::new("x", 0);
        world.backend_ai = Some(BackendAi { version: String::new(), era: Era::Postgres, namespace: "local".to_owned() });
        let image = |id: &str| json!({ "id": id, "name": format!("index.docker.io/lablup/{id}:1"), "registry": "index.docker.io", "registry_id": "r1" });
        let registry = |id: &str, name: &str| row(&json!({ "id": id, "registry_name": name }));
        let table = |rows: &[Json]| rows.iter().map(row).collect::<Vec<Row>>();
        world.tables = [
            ("images".to_owned(), table(&[image("served"), image("free")])),
            ("image_aliases".to_owned(), table(&[json!({ "id": "a1", "alias": "s", "image": "served" })])),
            ("endpoints".to_owned(), table(&[json!({ "id": "e1", "name": "chat", "image": "served", "stage": "created" })])),
            (
                "container_registries".to_owned(),
                vec![
                    registry("r1", "index.docker.io"),
                    registry("r2", "index.docker.io"),
                    registry("r3", "index.docker.io.mirror.corp"),
                ],
            ),
        ]
        .into_iter()
        .collect();
        let moved = Move { from: "docker.io/lablup".to_owned(), to: vec!["cr.example/stable".to_owned()], overrides: [].into() };
        let drawn = DeleteMetadata {}.plan(&world, &About { moved: &moved, mirror: None, ledger: &[], earlier: &[] }).unwrap();
        let [Change::Rows { diffs }] = drawn.changes.as_slice() else { panic!("{:?}", drawn.changes) };
        let deleted: Vec<&str> = diffs.iter().map(|diff| diff.key.as_str()).collect();
        assert_eq!(deleted, ["a1", "free", "r2"]);
        let kept: Vec<(&str, &str)> = drawn.kept.iter().map(|kept| (kept.subject.as_str(), kept.why.as_str())).collect();
        assert_eq!(kept, [("index.docker.io/lablup/served:1", "endpoint chat (created) names it")]);
    }
}
