//! Draws up the ledger: each old reference with each content it has, and the proven counterpart.
//! It never trusts a name: the verdict is by digests.

use super::Move;
use crate::model::{Digest, ImageRef, Inventory, LedgerLine, LocalImage, Manifest, Verdict, image::backend_ai_registry};
use std::collections::BTreeMap;

/// Every old image that the cluster names: on agents, in the metadata, in aliases, in live sessions.
pub fn old_images(inventory: &Inventory, moved: &Move) -> Vec<ImageRef> {
    let on_hosts = inventory.hosts.values().flat_map(|host| host.images.keys().cloned());
    let known = inventory.known_images(backend_ai_registry(moved.old_registry()));
    let in_metadata = known.into_iter().filter_map(|(known, _)| known.name.parse().ok());
    let in_aliases = inventory.aliases().into_iter().filter_map(|alias| alias.target.parse().ok());
    let in_sessions = inventory.sessions.iter().filter_map(|session| session.image.parse().ok());
    let mut out: Vec<ImageRef> = on_hosts.chain(in_metadata).chain(in_aliases).chain(in_sessions).collect();
    out.retain(|image| moved.is_old(image));
    out.sort();
    out.dedup();
    out
}

/// One line for each old reference and content, sorted by reference.
pub fn ledger(inventory: &Inventory, moved: &Move) -> Vec<LedgerLine> {
    let known = inventory.known_images(backend_ai_registry(moved.old_registry()));
    let mut out = vec![];
    for old in old_images(inventory, moved) {
        let new = moved.candidates(&old).into_iter().find_map(|new| Some((inventory.manifest(&new)?, new)));
        let mut contents: BTreeMap<Digest, (Vec<String>, LocalImage)> = BTreeMap::new();
        for (name, host) in &inventory.hosts {
            if let Some(local) = host.images.get(&old) {
                contents.entry(local.id.clone()).or_insert_with(|| (vec![], local.clone())).0.push(name.clone());
            }
        }
        if contents.is_empty() {
            let config = known.iter().find(|(k, _)| k.name.parse::<ImageRef>().is_ok_and(|name| name == old));
            let old_id = config.map(|(k, _)| k.config.clone());
            let local = old_id.clone().map(|id| LocalImage { id, digest: None, size_bytes: 0, layers: vec![] });
            out.push(line(&old, old_id, vec![], local.as_ref(), new.as_ref(), inventory.read_at_ms));
        }
        for (id, (hosts, local)) in contents {
            out.push(line(&old, Some(id), hosts, Some(&local), new.as_ref(), inventory.read_at_ms));
        }
    }
    out
}

fn line(
    old: &ImageRef,
    old_id: Option<Digest>,
    hosts: Vec<String>,
    local: Option<&LocalImage>,
    new: Option<&(&Manifest, ImageRef)>,
    proven_at_ms: i64,
) -> LedgerLine {
    let (verdict, proof) = match (local, new) {
        (_, None) => (Verdict::NoCounterpart, "the new registry does not have it".to_owned()),
        (None, Some(_)) => (Verdict::DifferentBuild, "the old content is not known".to_owned()),
        (Some(local), Some((manifest, _))) => verdict(local, manifest),
    };
    LedgerLine {
        old: old.clone(),
        old_id,
        hosts,
        new: new.map(|(_, name)| name.clone()),
        new_digest: new.map(|(manifest, _)| manifest.digest.clone()),
        new_id: new.map(|(manifest, _)| manifest.config.clone()),
        verdict,
        proof,
        proven_at_ms,
    }
}

/// An image id is the config digest on an engine with the classic store and the manifest digest on one with
/// containerd's: both sides of the manifest are compared.
fn verdict(local: &LocalImage, manifest: &Manifest) -> (Verdict, String) {
    if local.id == manifest.config {
        (Verdict::Identical, "equal config digests".to_owned())
    } else if local.id == manifest.digest || local.digest.as_ref() == Some(&manifest.digest) {
        (Verdict::Identical, "equal manifest digests".to_owned())
    } else {
        (Verdict::DifferentBuild, format!("config {} is not {}", local.id.short(), manifest.config.short()))
    }
}
