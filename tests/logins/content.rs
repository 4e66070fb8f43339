//! One small image, `stable/tiny:1`, written as docker-registry stores it.

use sha2::{Digest, Sha256};
use std::{fs, path::Path, process::Command};

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn write(store: &Path) {
    let root = store.join("docker/registry/v2");
    let repository = root.join("repositories/stable/tiny");
    let put = |path: &Path, bytes: &[u8]| {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    };
    let blob = |bytes: &[u8]| {
        let name = hex(bytes);
        put(&root.join(format!("blobs/sha256/{}/{name}/data", &name[..2])), bytes);
        name
    };
    let link = |path: String, name: &str| put(&repository.join(path).join("link"), format!("sha256:{name}").as_bytes());

    let folder = store.join("rootfs");
    put(&folder.join("hello"), b"hello\n");
    let words = ["--mtime=@0", "--owner=0", "--group=0", "--sort=name", "-C", &folder.display().to_string(), "-c", "hello"]
        .map(str::to_owned);
    let tar = Command::new("tar").args(&words).output().unwrap().stdout;
    let gzipped = Command::new("tar").arg("-z").args(&words).output().unwrap().stdout;
    let layer = blob(&gzipped);
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux", "config": {}, "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", hex(&tar))] },
    });
    let config = config.to_string();
    let config_name = blob(config.as_bytes());
    let part = |kind: &str, size: usize, name: &str| serde_json::json!({ "mediaType": kind, "size": size, "digest": format!("sha256:{name}") });
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": part("application/vnd.docker.container.image.v1+json", config.len(), &config_name),
        "layers": [part("application/vnd.docker.image.rootfs.diff.tar.gzip", gzipped.len(), &layer)],
    });
    let manifest = blob(manifest.to_string().as_bytes());
    for name in [&layer, &config_name] {
        link(format!("_layers/sha256/{name}"), name);
    }
    link(format!("_manifests/revisions/sha256/{manifest}"), &manifest);
    link("_manifests/tags/1/current".to_owned(), &manifest);
    link(format!("_manifests/tags/1/index/sha256/{manifest}"), &manifest);
}
