//! `remove-images`: old names go from the agents, only where a line of the ledger allows it and no container that
//! will stay uses them, by id or by name. What is kept is listed with the reason.

use super::{About, Action, Drawn};
use crate::model::{Change, Check, Digest, Host, ImageRef, Inventory, Kept, LedgerLine, LocalImage, Verdict, text, world::users};
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RemoveImages {
    /// Verdicts that allow a removal. A different build must be present on the agent all the same.
    #[serde(default = "allowed")]
    pub allow: Vec<Verdict>,
}

fn allowed() -> Vec<Verdict> {
    vec![Verdict::Identical, Verdict::DifferentBuild]
}

impl Action for RemoveImages {
    fn plan(&self, world: &Inventory, about: &About<'_>) -> Result<Drawn, String> {
        if self.allow.contains(&Verdict::NoCounterpart) {
            return Err("`allow` may not hold `no-counterpart`: nothing would be left of the image".to_owned());
        }
        let mut drawn = Drawn::default();
        let mut unused: BTreeMap<String, BTreeMap<ImageRef, Digest>> = BTreeMap::new();
        for (name, host) in &world.hosts {
            let old = host.images.iter().filter(|(image, _)| about.moved.is_old(image));
            for (image, local) in old {
                let line = about.ledger.iter().find(|line| line.old == *image && line.old_id.as_ref() == Some(&local.id));
                match self.against(host, image, local, line) {
                    Some(why) => drawn.kept.push(Kept { subject: image.familiar(), place: name.clone(), why }),
                    None => {
                        drawn.changes.push(remove(world, name, host, image, local, about));
                        unused.entry(name.clone()).or_default().insert(image.clone(), local.id.clone());
                    }
                }
            }
        }
        let freed: u64 =
            drawn.changes.iter().map(|c| if let Change::Remove { size_bytes, .. } = c { *size_bytes } else { 0 }).sum();
        drawn.summary = format!(
            "remove {} from {}, {}; keep {}",
            text::count(drawn.changes.len() as u64, "old image"),
            text::count(unused.len() as u64, "agent"),
            text::bytes(freed),
            drawn.kept.len()
        );
        if !unused.is_empty() {
            drawn.checks.push(Check::Unused { images: unused });
        }
        Ok(drawn)
    }
}

impl RemoveImages {
    /// Why a name has to stay, if it has to.
    fn against(&self, host: &Host, image: &ImageRef, local: &LocalImage, line: Option<&LedgerLine>) -> Option<String> {
        let Some(line) = line else { return Some("no line of the ledger is about this content".to_owned()) };
        let Some(new) = line.new.as_ref().filter(|_| self.allow.contains(&line.verdict)) else {
            return Some(format!("{}: the runbook does not allow it", line.verdict));
        };
        let present = host
            .images
            .get(new)
            .is_some_and(|there| Some(&there.id) == line.new_id.as_ref() || Some(&there.id) == line.new_digest.as_ref());
        if !present {
            return Some(format!("{new} is not on this agent"));
        }
        // Containers of Backend.AI end with their sessions, which the drain waits for; others nobody ends.
        let stays = users(host, image, &local.id).into_iter().find(|container| container.kernel.is_none());
        stays.map(|container| format!("container {} uses it and is not Backend.AI's", container.name))
    }
}

fn remove(world: &Inventory, name: &str, host: &Host, image: &ImageRef, local: &LocalImage, about: &About<'_>) -> Change {
    let served = world
        .manifest(image)
        .filter(|m| m.config == local.id || m.digest == local.id || local.digest.as_ref() == Some(&m.digest));
    let twin = host.images.iter().find(|(other, there)| there.id == local.id && *other != image && !about.moved.is_old(other));
    Change::Remove {
        host: name.to_owned(),
        image: image.clone(),
        id: local.id.clone(),
        digest: served.map(|manifest| manifest.digest.clone()),
        size_bytes: if twin.is_some() { 0 } else { local.size_bytes },
        twin: twin.map(|(other, _)| other.clone()),
    }
}
