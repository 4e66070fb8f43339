//! The inventory that ships inside the binary: a small Backend.AI of the 23.09 era with twelve agents.

use crate::model::{
    BackendAi, Container, ContainerState, Digest, Era, Host, ImageRef, Inventory, Layer, LocalImage, Manager, Manifest, Registry,
    Row, Session, Store, Value, backend_ai::registry_key, world::sort_rows,
};
use serde_json::json;
use std::collections::BTreeMap;

/// Repository and tag, megabytes, and what stands for it in the new registry.
const IMAGES: [(&str, u64, Twin); 8] = [
    ("python:3.6-ubuntu18.04", 410, Twin::Identical("stable")),
    ("python:3.8-ubuntu18.04", 430, Twin::Identical("stable")),
    ("python-tensorflow:2.3-py36-cuda10.1", 2900, Twin::Different("stable")),
    ("python-pytorch:1.6-py36-cuda10.1", 3400, Twin::Different("stable")),
    ("r-base:4.0-ubuntu18.04", 520, Twin::Identical("stable")),
    ("julia:1.5-ubuntu18.04", 610, Twin::Different("community")),
    ("octave:5.2-ubuntu18.04", 480, Twin::Different("community")),
    ("genomics-lab:1.2", 1900, Twin::None),
];

#[derive(Clone, Copy, PartialEq)]
enum Twin {
    Identical(&'static str),
    Different(&'static str),
    None,
}

const MINUTE_MS: i64 = 60_000;

/// `now_ms` is Unix time in milliseconds: ages on the screen are relative to it.
pub fn demo(now_ms: i64) -> Inventory {
    let mut world = Inventory::new("prod-a", now_ms);
    world.backend_ai = Some(BackendAi { version: "23.09.10".to_owned(), era: Era::Mixed, namespace: "local".to_owned() });
    for name in ["mgr-01", "mgr-02"] {
        let importer_image = Some("lablup/importer:manylinux2010".to_owned());
        world.managers.insert(name.to_owned(), Manager { running: true, importer_image });
    }
    world.registries = registries();
    world.hosts = (1..=12).map(|n| (format!("gpu-{n:02}"), host(n, &world.registries))).collect();
    world.machines = super::machines::machines();
    let old = registry_key("local", "index.docker.io");
    world.keys.insert(old.clone(), Value::text("https://registry-1.docker.io"));
    world.keys.insert(format!("{old}/username"), Value::text("lablup"));
    world.keys.insert("/sorna/local/config/docker/image/auto_pull".to_owned(), Value::text("digest"));
    tables(&mut world);
    sessions(&mut world, now_ms);
    world
}

fn image(registry: &str, folder: &str, name: &str) -> ImageRef {
    format!("{registry}/{folder}/{name}").parse().expect("the names above are image references")
}

fn manifest(build: &str, name: &str, megabytes: u64) -> Manifest {
    let layer = |what: &str, size_bytes: u64| Layer {
        digest: Digest::of(&format!("blob {what}")),
        size_bytes,
        diff_id: Digest::of(&format!("layer {what}")),
    };
    let own = format!("{build} {name}");
    // One big layer among small ones, as images are.
    let rest = megabytes * 1_000_000 - 28_000_000;
    let parts = [(1, rest * 8 / 100), (2, rest * 52 / 100), (3, rest * 25 / 100), (4, rest * 14 / 100)];
    let mut layers = vec![layer("ubuntu18.04", 28_000_000)];
    layers.extend(parts.iter().map(|(n, size_bytes)| layer(&format!("{own} {n}"), *size_bytes)));
    layers.push(layer(&own, rest - parts.iter().map(|(_, size_bytes)| size_bytes).sum::<u64>()));
    Manifest {
        digest: Digest::of(&format!("manifest {own}")),
        config: Digest::of(&format!("config {own}")),
        layers,
        labels: [("ai.backend.kernelspec".to_owned(), "1".to_owned())].into_iter().collect(),
    }
}

fn registries() -> BTreeMap<String, Registry> {
    let mut hub = Registry { url: "https://registry-1.docker.io".to_owned(), ..Registry::default() };
    let mut cr =
        Registry { url: "https://cr.backend.ai".to_owned(), login: Some("robot$castoff".to_owned()), ..Registry::default() };
    for (name, megabytes, twin) in IMAGES {
        hub.images.insert(image("docker.io", "lablup", name), manifest("old", name, megabytes));
        match twin {
            Twin::Identical(project) => cr.images.insert(image("cr.backend.ai", project, name), manifest("old", name, megabytes)),
            Twin::Different(project) => {
                cr.images.insert(image("cr.backend.ai", project, name), manifest("new", name, megabytes + 60))
            }
            Twin::None => None,
        };
    }
    cr.images.insert(image("cr.backend.ai", "stable", "python:3.12-ubuntu22.04"), manifest("new", "python:3.12", 440));
    [("docker.io".to_owned(), hub), ("cr.backend.ai".to_owned(), cr)].into_iter().collect()
}

fn host(n: usize, registries: &BTreeMap<String, Registry>) -> Host {
    let mut host =
        Host { engine: "20.10.24".to_owned(), store: Store::Classic, free_bytes: Some(220_000_000_000), ..Host::default() };
    // Agents hold different sets: each leaves out two of the eight, and only two hold the one without a counterpart.
    for (i, (name, ..)) in IMAGES.iter().enumerate() {
        let custom = i == IMAGES.len() - 1;
        if (custom && !n.is_multiple_of(6)) || (!custom && (i + n).is_multiple_of(4)) {
            continue;
        }
        let reference = image("docker.io", "lablup", name);
        let manifest = &registries["docker.io"].images[&reference];
        let local = LocalImage {
            id: manifest.config.clone(),
            digest: Some(manifest.digest.clone()),
            size_bytes: manifest.size_bytes(),
            layers: manifest.layers.iter().map(|layer| layer.diff_id.clone()).collect(),
        };
        host.images.insert(reference, local);
    }
    host
}

fn tables(world: &mut Inventory) {
    let row = |value: serde_json::Value| -> Row { value.as_object().expect("rows below are objects").clone() };
    let domains = [
        row(json!({ "name": "default", "allowed_docker_registries": ["index.docker.io"] })),
        row(json!({ "name": "lab-x", "allowed_docker_registries": ["registry.example.com:5000"] })),
        row(json!({ "name": "research", "allowed_docker_registries": ["index.docker.io", "registry.example.com:5000"] })),
    ];
    let mut images = vec![];
    for (i, (name, megabytes, _)) in IMAGES.iter().enumerate() {
        let (repository, tag) = name.split_once(':').expect("the names above have tags");
        images.push(row(json!({
            "id": format!("{:08}-0000-4000-8000-000000000000", i + 1),
            "name": format!("index.docker.io/lablup/{name}"), "image": format!("lablup/{repository}"), "tag": tag,
            "registry": "index.docker.io", "architecture": "x86_64",
            "config_digest": format!("{} ", Digest::of(&format!("config old {name}"))), "size_bytes": megabytes * 1_000_000,
        })));
    }
    let alias = |id: u32, alias: &str, image: u32| {
        row(
            json!({ "id": format!("{id:08}-0000-4000-8000-0000000000a1"), "alias": alias, "image": format!("{image:08}-0000-4000-8000-000000000000") }),
        )
    };
    let aliases = vec![alias(1, "python", 1), alias(2, "python:3.6", 1), alias(3, "tf", 3), alias(4, "genomics", 8)];
    world.tables =
        [("domains".to_owned(), domains.to_vec()), ("images".to_owned(), images), ("image_aliases".to_owned(), aliases)]
            .into_iter()
            .collect();
    world.tables.iter_mut().for_each(|(table, rows)| sort_rows(table, rows));
}

fn sessions(world: &mut Inventory, now_ms: i64) {
    let rows = [
        ("train-7", "kim@example.com", "gpu-01", 1, 192),
        ("jupyter-lee", "lee@example.com", "gpu-02", 0, 95),
        ("bert-large", "park@example.com", "gpu-03", 3, 71),
        ("tutorial", "choi@example.com", "gpu-05", 4, 40),
        ("stats-hw", "jung@example.com", "gpu-08", 0, 12),
    ];
    for (i, (name, owner, agent, image_index, minutes)) in rows.into_iter().enumerate() {
        let host = world.hosts.get_mut(agent).expect("the agents above exist");
        // The session runs on an image that its agent has.
        let held: Vec<(ImageRef, Digest)> = host.images.iter().map(|(image, local)| (image.clone(), local.id.clone())).collect();
        let (image, id) = held[image_index % held.len()].clone();
        let kernel = format!("{:08x}-7e57-4000-8000-000000000000", 0x51ea_0000 + i);
        let since_ms = now_ms - minutes * MINUTE_MS;
        host.containers.push(Container {
            id: Digest::of(&kernel).short().to_owned(),
            name: format!("kernel.{}.{}", image.short().split(':').next().unwrap_or(""), &kernel[..8]),
            image: image.backend_ai(),
            image_id: id,
            state: ContainerState::Running,
            kernel: Some(kernel.clone()),
            created_ms: since_ms,
        });
        world.sessions.push(Session {
            id: kernel,
            name: name.to_owned(),
            owner: owner.to_owned(),
            status: "RUNNING".to_owned(),
            image: image.backend_ai(),
            agent: agent.to_owned(),
            since_ms,
        });
    }
    let host = world.hosts.get_mut("gpu-04").expect("there are twelve agents");
    let (image, local) = host.images.iter().next().map(|(i, l)| (i.clone(), l.id.clone())).expect("every agent holds images");
    host.containers.push(Container {
        id: Digest::of("notebook").short().to_owned(),
        name: "notebook-of-han".to_owned(),
        image: image.familiar(),
        image_id: local,
        state: ContainerState::Running,
        kernel: None,
        created_ms: now_ms - 9 * 24 * 60 * MINUTE_MS,
    });
}
