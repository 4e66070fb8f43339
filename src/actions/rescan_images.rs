//! `rescan-images`: the manager's own command line reads the new registry, judged by what it changed: its exit code
//! is 0 for an unknown registry, a refused login and a registry that is down.

use super::{About, Action, Drawn};
use crate::model::{Change, Digest, Era, ImageRef, Inventory, Known, Manifest, backend_ai::images_key, text};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RescanImages {
    /// As in image references: `cr.backend.ai`.
    pub registry: String,
}

/// Repositories that managers before 23.09.2 skip, as substrings of `project/name`.
const SKIPPED: [&str; 7] = ["common-", "commons-", "base-", "krunner", "builder", "backendai", "geofront"];

impl Action for RescanImages {
    fn plan(&self, world: &Inventory, about: &About<'_>) -> Result<Drawn, String> {
        let backend_ai = world.backend_ai.as_ref().ok_or("the cluster is not known to be a Backend.AI")?;
        let manager = world.managers.keys().next().ok_or("the cluster file names no manager to rescan with")?;
        let expect = self.expect(world, about);
        if expect.is_empty() {
            return Err(format!("registry `{}` offers no image that Backend.AI would take", self.registry));
        }
        let etcd = backend_ai.era == Era::Etcd;
        let keys_before =
            if etcd { world.keys_within(&images_key(&backend_ai.namespace, &self.registry)) } else { BTreeMap::new() };
        let rows_before = if etcd { vec![] } else { world.image_rows(&self.registry) };
        let words = backend_ai.era.rescan_words(&self.registry).join(" ");
        let summary =
            format!("{manager} runs `mgr {words}`: {} must be known after it", text::count(expect.len() as u64, "image"));
        let change = Change::Rescan {
            manager: manager.clone(),
            era: backend_ai.era,
            namespace: backend_ai.namespace.clone(),
            registry: self.registry.clone(),
            expect,
            keys_before,
            rows_before,
        };
        Ok(Drawn { changes: vec![change], summary, ..Drawn::default() })
    }
}

impl RescanImages {
    /// Every counterpart by its own name; of every other offered image at least one of its tags, for several versions
    /// of the manager record only one tag of an image.
    fn expect(&self, world: &Inventory, about: &About<'_>) -> Vec<Vec<Known>> {
        let Some(registry) = world.registries.get(&self.registry) else { return vec![] };
        let known = |image: &ImageRef, manifest: &Manifest| Known { name: image.to_string(), config: manifest.config.clone() };
        let counterparts: BTreeSet<&ImageRef> = about.ledger.iter().filter_map(|line| line.new.as_ref()).collect();
        // Another tag of a counterpart's image is the same record for those versions.
        let covered: BTreeSet<(&str, &Digest)> = registry
            .images
            .iter()
            .filter(|(i, _)| counterparts.contains(i))
            .map(|(i, m)| (i.repository.as_str(), &m.digest))
            .collect();
        let mut out: Vec<Vec<Known>> = vec![];
        let mut others: BTreeMap<(&str, &Digest), Vec<Known>> = BTreeMap::new();
        for (image, manifest) in &registry.images {
            let taken = manifest.labels.get("ai.backend.kernelspec").is_some_and(|v| v == "1");
            let skipped = SKIPPED.iter().any(|word| image.repository.contains(word));
            if counterparts.contains(image) {
                out.push(vec![known(image, manifest)]);
            } else if taken && !skipped && !covered.contains(&(image.repository.as_str(), &manifest.digest)) {
                others.entry((&image.repository, &manifest.digest)).or_default().push(known(image, manifest));
            }
        }
        out.extend(others.into_values());
        out
    }
}
