//! `point-aliases`: aliases of old images are pointed at their counterparts. An alias without one is kept and named.

use super::{About, Action, Drawn};
use crate::model::backend_ai::{aliases_folder, quote};
use crate::model::{Change, Era, ImageRef, Inventory, Kept, KeyDiff, Value, text};
use serde::Deserialize;

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PointAliases {}

/// The architecture whose images the ledger proves.
const PROVEN_ARCHITECTURE: &str = "x86_64";

impl Action for PointAliases {
    fn plan(&self, world: &Inventory, about: &About<'_>) -> Result<Drawn, String> {
        let backend_ai = world.backend_ai.as_ref().ok_or("the cluster is not known to be a Backend.AI")?;
        let mut drawn = Drawn::default();
        let mut aliases = world.aliases();
        // Rows come in the order of their random ids.
        aliases.sort_by(|a, b| a.alias.cmp(&b.alias));
        for alias in aliases {
            let Ok(target) = alias.target.parse::<ImageRef>() else {
                drawn.kept.push(kept(&alias.alias, format!("it points at `{}`, which is no image reference", alias.target)));
                continue;
            };
            let old = about.moved.is_old(&target);
            let new = if old {
                about.ledger.iter().find(|line| line.old == target).and_then(|line| line.new.clone())
            } else if target.registry == about.moved.new_registry() {
                Some(target)
            } else {
                continue;
            };
            let Some(new) = new else {
                drawn.kept.push(kept(&alias.alias, format!("{} has no counterpart", alias.target)));
                continue;
            };
            if backend_ai.era == Era::Etcd {
                let key = format!("{}{}", aliases_folder(&backend_ai.namespace), quote(&alias.alias));
                let diff = KeyDiff { key, before: Some(Value::text(alias.target)), after: Some(Value::text(new.backend_ai())) };
                drawn.changes.push(Change::Keys { diffs: vec![diff] });
            } else if old && alias.architecture != PROVEN_ARCHITECTURE {
                drawn.kept.push(kept(
                    &alias.alias,
                    format!("its image is for {}, which no line of the ledger proves", alias.architecture),
                ));
            } else {
                let (before, after) = (alias.target, new.backend_ai());
                drawn.changes.push(Change::Alias { alias: alias.alias, architecture: alias.architecture, before, after });
            }
        }
        drawn.summary = format!("point {} at new images", text::count(drawn.changes.len() as u64, "alias"));
        Ok(drawn)
    }
}

fn kept(alias: &str, why: String) -> Kept {
    Kept { subject: format!("alias {alias}"), place: "metadata".to_owned(), why }
}
