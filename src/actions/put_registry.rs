//! `put-registry`: the new registry is written where this Backend.AI keeps registries: exactly the keys that
//! `backend.ai mgr etcd put-json` writes, or the rows of `container_registries`. Other registries are never touched.

use super::{About, Action, Drawn, stable_uuid};
use crate::model::{Change, Era, Inventory, KeyDiff, Problem, Row, RowDiff, Value, backend_ai::registry_key, text};
use serde::Deserialize;
use serde_json::json;

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PutRegistry {
    /// As in image references: `cr.backend.ai`.
    pub registry: String,
    /// `harbor2`, `docker`, …: how the manager reads it.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its projects whose images the managers read: `stable`.
    pub projects: Vec<String>,
}

impl Action for PutRegistry {
    fn plan(&self, world: &Inventory, _: &About<'_>) -> Result<Drawn, String> {
        let backend_ai = world.backend_ai.as_ref().ok_or("the cluster is not known to be a Backend.AI")?;
        if let Some(bad) = self.projects.iter().find(|p| p.is_empty() || p.contains([',', ' '])) {
            // `stable, community` asks for the project ` community`, and the whole rescan is lost.
            return Err(format!("project `{bad}` of `{}`: a project has no spaces and no commas", self.registry));
        }
        let url = world.registries.get(&self.registry).map(|r| r.url.trim_end_matches('/').to_owned());
        let url = url.unwrap_or_else(|| format!("https://{}", self.registry));
        let mut drawn = match backend_ai.era {
            Era::Etcd | Era::Mixed => self.keys(world, &backend_ai.namespace, &url),
            Era::Postgres => self.rows(world, &url),
        };
        drawn.summary = format!("{} as {} with {}, {url}", self.registry, self.kind, self.projects.join(", "));
        Ok(drawn)
    }
}

impl PutRegistry {
    fn keys(&self, world: &Inventory, namespace: &str, url: &str) -> Drawn {
        let folder = registry_key(namespace, &self.registry);
        let projects = self.with_found(world.keys.get(&format!("{folder}/project")).and_then(Value::as_text).unwrap_or(""));
        let members = [("", url.to_owned()), ("/type", self.kind.clone()), ("/project", projects)];
        let diff = |(member, value): &(&str, String)| {
            let key = format!("{folder}{member}");
            KeyDiff { before: world.keys.get(&key).cloned(), after: Some(Value::text(value)), key }
        };
        let mut notes = vec![];
        if world.keys.contains_key(&format!("{folder}/username")) && !world.keys.contains_key(&format!("{folder}/password")) {
            // The manager's rescan then dies of a KeyError and knows nothing afterwards.
            notes.push(Problem {
                subject: format!("registry {}", self.registry),
                why: "has a username in etcd but no password: the rescan will fail".to_owned(),
                hint: Some(format!("delete {folder}/username, or put the password")),
                owner: None,
                place: Some("etcd".to_owned()),
                since_ms: None,
            });
        }
        Drawn { changes: vec![Change::Keys { diffs: members.iter().map(diff).collect() }], notes, ..Drawn::default() }
    }

    /// The list of projects to write: those that somebody wrote before stay, in their order; ours join them.
    fn with_found(&self, found: &str) -> String {
        let mut out: Vec<&str> = found.split(',').map(str::trim).filter(|project| !project.is_empty()).collect();
        for project in &self.projects {
            if !out.contains(&project.as_str()) {
                out.push(project);
            }
        }
        out.join(",")
    }

    fn rows(&self, world: &Inventory, url: &str) -> Drawn {
        let diffs = self.projects.iter().map(|project| {
            let is = |row: &&Row| {
                row.get("registry_name") == Some(&json!(self.registry)) && row.get("project") == Some(&json!(project))
            };
            let wanted = [("url", json!(url)), ("type", json!(self.kind))];
            match world.rows("container_registries").iter().find(is) {
                Some(row) => {
                    let key = row.get("id").and_then(|id| id.as_str()).unwrap_or_default().to_owned();
                    let before =
                        wanted.iter().map(|(column, _)| ((*column).to_owned(), row.get(*column).cloned().unwrap_or_default()));
                    let after = wanted.iter().map(|(column, value)| ((*column).to_owned(), value.clone()));
                    RowDiff {
                        table: "container_registries".to_owned(),
                        key,
                        before: Some(before.collect()),
                        after: Some(after.collect()),
                    }
                }
                None => {
                    let key = stable_uuid(&format!("{}/{}/{project}", world.cluster, self.registry));
                    let mut row = Row::new();
                    row.insert("id".to_owned(), json!(key));
                    row.insert("registry_name".to_owned(), json!(self.registry));
                    row.insert("project".to_owned(), json!(project));
                    row.extend(wanted.iter().map(|(column, value)| ((*column).to_owned(), value.clone())));
                    RowDiff { table: "container_registries".to_owned(), key, before: None, after: Some(row) }
                }
            }
        });
        let diffs: Vec<RowDiff> = diffs.collect();
        let summary = text::count(diffs.len() as u64, "row");
        Drawn { changes: vec![Change::Rows { diffs }], summary, ..Drawn::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn projects_of_others_stay() {
        let projects = vec!["stable".to_owned(), "community".to_owned()];
        let action = PutRegistry { registry: "cr.backend.ai".to_owned(), kind: "harbor2".to_owned(), projects };
        for (found, wanted) in [
            ("", "stable,community"),
            ("stable,community", "stable,community"),
            ("community,stable", "community,stable"),
            ("stable,secret", "stable,secret,community"),
            // A space would make the manager ask for the project ` secret`.
            ("stable, secret", "stable,secret,community"),
        ] {
            assert_eq!(action.with_found(found), wanted, "{found}");
        }
    }
}
