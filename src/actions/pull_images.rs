//! `pull-images`: every agent gets the counterparts of the old images it holds, before anything stops.
//! Content that is already there under the old name, proven by digest, is tagged and not pulled.

use super::{About, Action, Drawn};
use crate::model::{Change, Check, ImageRef, Inventory, LedgerLine, Manifest, Standing, Store, text, world::lacking_layers};
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PullImages {
    /// Images that every agent gets, whatever it holds.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub also: Vec<ImageRef>,
    /// Bytes that must stay free on each agent beside what is pulled. Unpacked content is about three times the pull.
    #[serde(default = "reserve_bytes")]
    pub reserve_bytes: u64,
}

fn reserve_bytes() -> u64 {
    1_000_000_000
}

/// Unpacked bytes for one compressed byte, as a cautious guess: typical images unpack to two to three times.
const UNPACKED: u64 = 3;

impl Action for PullImages {
    fn plan(&self, world: &Inventory, about: &About<'_>) -> Result<Drawn, String> {
        let mut world = world.clone();
        let mut drawn = Drawn::default();
        let mut needed: BTreeMap<String, u64> = BTreeMap::new();
        let names: Vec<String> = world.hosts.keys().cloned().collect();
        for host in names {
            let held: Vec<&LedgerLine> =
                about.ledger.iter().filter(|line| line.hosts.contains(&host) && line.new.is_some()).collect();
            let mut wanted: Vec<(ImageRef, Option<&LedgerLine>)> =
                held.into_iter().filter_map(|line| Some((line.new.clone()?, Some(line)))).collect();
            wanted.extend(self.also.iter().map(|image| (image.clone(), None)));
            wanted.sort_by(|a, b| a.0.cmp(&b.0));
            wanted.dedup_by(|a, b| a.0 == b.0);
            for (image, line) in wanted {
                let manifest = world.manifest(&image).ok_or_else(|| format!("no registry serves `{image}`"))?.clone();
                let change = one(&world, &host, image, line, &manifest);
                if world.standing(&change) == Standing::Before {
                    *needed.entry(host.clone()).or_default() += change.size_bytes() * UNPACKED;
                }
                world.apply(&change);
                drawn.changes.push(change);
            }
        }
        let pulls = drawn.changes.iter().filter(|c| matches!(c, Change::Pull { .. })).count();
        let bytes: u64 = drawn.changes.iter().map(Change::size_bytes).sum();
        drawn.summary = format!(
            "pull {} on {}, {}; tag {} that is there already",
            text::count(pulls as u64, "image"),
            text::count(world.hosts.len() as u64, "agent"),
            text::bytes(bytes),
            drawn.changes.len() - pulls
        );
        needed.values_mut().for_each(|bytes| *bytes += self.reserve_bytes);
        needed.retain(|_, bytes| *bytes > self.reserve_bytes);
        if !needed.is_empty() {
            drawn.checks.push(Check::Space { needed });
        }
        Ok(drawn)
    }
}

/// The one change that brings `image` to `host`.
fn one(world: &Inventory, host: &str, image: ImageRef, line: Option<&LedgerLine>, manifest: &Manifest) -> Change {
    let there = &world.hosts[host];
    let before = there.images.get(&image).map(|local| local.id.clone());
    // With containerd's store an image id is the manifest digest, and a local tag would leave Backend.AI's agent,
    // which compares the id with the config digest, pulling again and again: there a pull is the sound way.
    let id = if there.store == Store::Classic { manifest.config.clone() } else { manifest.digest.clone() };
    let twin = line.map(|line| line.old.clone()).filter(|old| there.images.get(old).is_some_and(|local| local.id == id));
    match twin {
        Some(from) if there.store == Store::Classic => {
            Change::Tag { host: host.to_owned(), image, from, before: before.filter(|before| *before != id), id }
        }
        _ => {
            let size_bytes = if before.as_ref() == Some(&id) {
                0
            } else {
                lacking_layers(there, &manifest.layers).map(|l| l.size_bytes).sum()
            };
            Change::Pull {
                host: host.to_owned(),
                image,
                digest: manifest.digest.clone(),
                before: before.filter(|before| *before != id),
                id,
                size_bytes,
            }
        }
    }
}
