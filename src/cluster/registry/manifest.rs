//! Manifests, indexes and image configurations: bytes to what the model knows.
//! It never trusts a digest that it has not counted itself.

use crate::model::{Digest, Layer, Manifest, edge};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use std::{collections::BTreeMap, fmt::Write};

/// All in one header: a registry that reads only one line of them answers with a converted schema 1.
pub(in crate::cluster) const MANIFEST_TYPES: &str = "application/vnd.docker.distribution.manifest.v2+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json";

/// What the bytes behind a tag are.
#[derive(Debug)]
pub(super) enum Pointer {
    Image(ImageManifest),
    /// An index; this is its manifest for the wanted platform.
    Child(Digest),
}

#[derive(Debug, Deserialize)]
pub(super) struct ImageManifest {
    pub(super) config: Descriptor,
    layers: Vec<Descriptor>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Descriptor {
    pub(super) digest: Digest,
    #[serde(default)]
    size: u64,
    platform: Option<Platform>,
}

#[derive(Debug, Deserialize)]
struct Platform {
    os: String,
    architecture: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Any {
    schema_version: u32,
    manifests: Option<Vec<Descriptor>>,
}

/// Reads a manifest or an index. The error is a fragment for a fault.
pub(super) fn read(body: &[u8], architecture: &str) -> Result<Pointer, String> {
    let any: Any = serde_json::from_slice(body).map_err(|e| format!("its manifest cannot be read: {e}"))?;
    if any.schema_version != 2 {
        return Err("it is an image of schema 1, which no current engine pulls: push it again".to_owned());
    }
    if let Some(children) = any.manifests {
        let fits = |child: &&Descriptor| {
            child.platform.as_ref().is_some_and(|platform| platform.os == "linux" && platform.architecture == architecture)
        };
        let child = children.iter().find(fits).ok_or_else(|| format!("it is not there for linux/{architecture}"))?;
        return Ok(Pointer::Child(child.digest.clone()));
    }
    serde_json::from_slice(body).map(Pointer::Image).map_err(|e| format!("its manifest cannot be read: {e}"))
}

/// Puts manifest and configuration together: `digest` is what the tag points at.
pub(super) fn join(digest: Digest, manifest: ImageManifest, config: &[u8]) -> Result<Manifest, String> {
    #[derive(Deserialize)]
    struct Config {
        rootfs: Option<RootFs>,
        #[serde(rename = "config")]
        settings: Option<Labelled>,
        /// Where builders of old left them.
        #[serde(rename = "container_config")]
        build: Option<Labelled>,
    }
    #[derive(Deserialize)]
    struct RootFs {
        diff_ids: Vec<Digest>,
    }
    #[derive(Deserialize)]
    struct Labelled {
        #[serde(rename = "Labels")]
        labels: Option<BTreeMap<String, String>>,
    }
    let parsed: Config = serde_json::from_slice(config).map_err(|e| format!("it is no image of an engine: {e}"))?;
    let diff_ids = parsed.rootfs.ok_or("it is no image of an engine: its configuration has no layers")?.diff_ids;
    if diff_ids.len() != manifest.layers.len() {
        return Err(format!("its manifest has {} layers, its configuration {}", manifest.layers.len(), diff_ids.len()));
    }
    let layers = manifest.layers.into_iter().zip(diff_ids);
    let layers =
        layers.map(|(layer, diff_id)| Layer { digest: layer.digest, size_bytes: edge::bounded(layer.size), diff_id }).collect();
    let mut labels = [parsed.settings, parsed.build].into_iter().flatten().filter_map(|part| part.labels);
    let labels = labels.find(|labels| !labels.is_empty()).unwrap_or_default();
    let labels = labels.into_iter().filter(|(name, _)| name.starts_with("ai.backend.")).collect();
    Ok(Manifest { digest, config: manifest.config.digest, layers, labels })
}

pub(super) fn digest_of(bytes: &[u8]) -> Digest {
    let mut text = "sha256:".to_owned();
    for byte in Sha256::digest(bytes) {
        let _ = write!(text, "{byte:02x}");
    }
    text.parse().expect("64 hex digits behind `sha256:` are a digest")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(c: char) -> String {
        format!("sha256:{}", c.to_string().repeat(64))
    }

    #[test]
    fn the_platform_is_chosen_from_an_index() {
        let child = |c: char, os: &str, architecture: &str| serde_json::json!({"digest": digest(c), "size": 1, "platform": {"os": os, "architecture": architecture}});
        let index = serde_json::json!({"schemaVersion": 2, "manifests": [
            child('a', "unknown", "unknown"), child('b', "linux", "arm64"), child('c', "linux", "amd64")]});
        let body = index.to_string().into_bytes();
        let chosen = |architecture| match read(&body, architecture) {
            Ok(Pointer::Child(found)) => found.to_string(),
            other => format!("{other:?}"),
        };
        assert_eq!(chosen("amd64"), digest('c'));
        assert_eq!(chosen("arm64"), digest('b'));
        assert_eq!(read(&body, "s390x").unwrap_err(), "it is not there for linux/s390x");
    }

    #[test]
    fn schema_1_is_refused_with_words() {
        let body = br#"{"schemaVersion": 1, "name": "lablup/python", "fsLayers": []}"#;
        assert!(read(body, "amd64").unwrap_err().contains("schema 1"));
    }

    #[test]
    fn labels_come_from_wherever_an_old_builder_left_them() {
        let manifest = || ImageManifest {
            config: Descriptor { digest: digest('a').parse().unwrap(), size: 1, platform: None },
            layers: vec![Descriptor { digest: digest('b').parse().unwrap(), size: 7, platform: None }],
        };
        let top: Digest = digest('c').parse().unwrap();
        let of = |config: serde_json::Value| join(top.clone(), manifest(), config.to_string().as_bytes());
        let rootfs = serde_json::json!({"diff_ids": [digest('d')]});
        let labels = serde_json::json!({"Labels": {"ai.backend.kernelspec": "1", "maintainer": "x"}});
        let new = of(serde_json::json!({"rootfs": rootfs, "config": labels})).unwrap();
        let old = of(serde_json::json!({"rootfs": rootfs, "config": {"Labels": null}, "container_config": labels})).unwrap();
        assert_eq!(new, old);
        assert_eq!(new.labels.len(), 1);
        assert_eq!(new.size_bytes(), 7);
        assert!(of(serde_json::json!({"rootfs": {"diff_ids": []}})).unwrap_err().contains("1 layers"));
        assert!(of(serde_json::json!({"some": "chart"})).unwrap_err().contains("no image"));
    }

    #[test]
    fn digests_are_counted_over_the_bytes() {
        assert_eq!(digest_of(b"").as_str(), "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }
}
