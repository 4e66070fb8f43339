//! `allow-registry`: in every domain that allows the old registry the new one takes its place. Order and every other
//! entry stay; each row is guarded by its old value; all rows change in one transaction.

use super::{About, Action, Drawn};
use crate::model::{Change, Inventory, Row, RowDiff, image::canonical_registry, text};
use serde::Deserialize;
use serde_json::{Value as Json, json};

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct AllowRegistry {
    /// The one that they allow instead: `cr.backend.ai`.
    pub registry: String,
}

const COLUMN: &str = "allowed_docker_registries";

impl Action for AllowRegistry {
    fn plan(&self, world: &Inventory, about: &About<'_>) -> Result<Drawn, String> {
        let mut diffs = vec![];
        let mut changed = 0;
        for row in world.rows("domains") {
            let (Some(Json::String(name)), Some(Json::Array(allowed))) = (row.get("name"), row.get(COLUMN)) else {
                return Err("a row of `domains` has no name or no list of registries".to_owned());
            };
            let after = self.replaced(allowed, about.moved.old_registry());
            // A domain that names neither registry is not ours to touch; one that is right already is shown as found.
            if after == *allowed && !allowed.contains(&json!(self.registry)) {
                continue;
            }
            changed += u64::from(after != *allowed);
            let side = |list: &[Json]| -> Row { [(COLUMN.to_owned(), json!(list))].into_iter().collect() };
            diffs.push(RowDiff {
                table: "domains".to_owned(),
                key: name.clone(),
                before: Some(side(allowed)),
                after: Some(side(&after)),
            });
        }
        let summary = format!("change {} of {} in domains", changed, text::count(world.rows("domains").len() as u64, "row"));
        // One transaction for what changes; what is right already must not make a mixture of it.
        let (changing, right): (Vec<RowDiff>, Vec<RowDiff>) = diffs.into_iter().partition(|diff| diff.before != diff.after);
        let changes = [changing, right].into_iter().filter(|diffs| !diffs.is_empty()).map(|diffs| Change::Rows { diffs });
        Ok(Drawn { changes: changes.collect(), summary, ..Drawn::default() })
    }
}

impl AllowRegistry {
    /// The new registry in the place of the first spelling of the old one; later spellings go.
    fn replaced(&self, allowed: &[Json], old: &str) -> Vec<Json> {
        let mut there = allowed.contains(&json!(self.registry));
        let mut out = vec![];
        for entry in allowed {
            if entry.as_str().is_some_and(|name| canonical_registry(name) == old) {
                if !there {
                    out.push(json!(self.registry));
                    there = true;
                }
            } else {
                out.push(entry.clone());
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(before: &[&str], after: &[&str]) {
        let action = AllowRegistry { registry: "cr.backend.ai".to_owned() };
        let list: Vec<Json> = before.iter().map(|s| json!(s)).collect();
        assert_eq!(json!(action.replaced(&list, "docker.io")), json!(after));
    }

    #[test]
    fn only_the_old_registry_is_replaced_and_the_order_kept() {
        check(&["index.docker.io"], &["cr.backend.ai"]);
        check(&["a.example", "index.docker.io", "b.example"], &["a.example", "cr.backend.ai", "b.example"]);
        check(&["cr.backend.ai", "index.docker.io"], &["cr.backend.ai"]);
        check(&["index.docker.io", "docker.io"], &["cr.backend.ai"]);
        check(&["index.docker.io.mirror.corp"], &["index.docker.io.mirror.corp"]);
        check(&[], &[]);
    }
}
