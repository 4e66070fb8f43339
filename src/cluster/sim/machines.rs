//! The demo cluster's hosts as machines: what the runbooks of mirrors work on.
//! Everything in it is invented.

use crate::model::{ContainerdDaemon, Cri, Digest, DockerDaemon, FileState, Machine, Podman};
use std::collections::BTreeMap;

/// Twelve hosts with Docker, three with containerd, one with podman.
pub fn machines() -> BTreeMap<String, Machine> {
    let docker = (1..=12).map(|n| (format!("gpu-{n:02}"), with_docker(n)));
    let containerd = (1..=3).map(|n| (format!("node-{n:02}"), with_containerd(n)));
    docker.chain(containerd).chain([("build-01".to_owned(), with_podman())]).collect()
}

fn file(text: &str) -> FileState {
    FileState { text: text.to_owned(), sha256: Digest::of(text), mode: 0o644, owner: "0:0".to_owned() }
}

fn with_docker(n: usize) -> Machine {
    let config = "/etc/docker/daemon.json";
    // As it is found: on some hosts no file, on others one that somebody wrote by hand.
    let text = match n % 3 {
        0 => None,
        1 => {
            Some("{\n  \"log-driver\": \"json-file\",\n  \"log-opts\": { \"max-size\": \"50m\" },\n  \"live-restore\": true\n}\n")
        }
        _ => Some("{\n    \"data-root\": \"/data/docker\",\n    \"insecure-registries\": [\"10.0.0.5:5000\"]\n}"),
    };
    let docker = DockerDaemon {
        version: "24.0.7".to_owned(),
        config: config.to_owned(),
        certs: "/etc/docker/certs.d".to_owned(),
        insecure: if n % 3 == 2 { vec!["10.0.0.5:5000".to_owned()] } else { vec![] },
        live_restore: n % 3 == 1,
        running: (1..=n % 4).map(|c| format!("session-{n}{c}")).collect(),
        ..DockerDaemon::default()
    };
    let files = text.map(|text| (config.to_owned(), Some(file(text)))).into_iter().collect();
    Machine { files, docker: Some(docker), ..Machine::default() }
}

/// As they are found: one that reads no folder yet, one with a file that somebody wrote by hand, one of a Docker Engine, whose
/// containerd has no CRI plugin.
fn with_containerd(n: usize) -> Machine {
    let config = "/etc/containerd/config.toml";
    let certs = "/etc/containerd/certs.d";
    let head = "version = 2\n\n[plugins.\"io.containerd.grpc.v1.cri\"]\n  sandbox_image = \"registry.k8s.io/pause:3.6\"\n";
    let registry = "\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\n  config_path = \"/etc/containerd/certs.d\"\n";
    let by_hand = "[host.\"https://old-mirror.example\"]\n  capabilities = [\"pull\"]\n";
    let text = match n {
        1 => head.to_owned(),
        2 => format!("{head}{registry}"),
        _ => "disabled_plugins = [\"cri\"]\n".to_owned(),
    };
    let reads = n == 2;
    let folders: BTreeMap<String, Vec<String>> =
        if reads { [("docker.io".to_owned(), vec!["hosts.toml".to_owned()])].into() } else { BTreeMap::new() };
    let containerd = ContainerdDaemon {
        version: "1.6.20".to_owned(),
        config: config.to_owned(),
        config_path: if reads { certs.to_owned() } else { String::new() },
        cri: if n == 3 { Cri::Absent } else { Cri::Ok },
        format: 2,
        certs: certs.to_owned(),
        absent: if reads { vec![] } else { vec![certs.to_owned()] },
        folders,
        ..ContainerdDaemon::default()
    };
    let mut files: BTreeMap<String, Option<FileState>> = [(config.to_owned(), Some(file(&text)))].into();
    if reads {
        files.insert(format!("{certs}/docker.io/hosts.toml"), Some(file(by_hand)));
    }
    Machine { files, containerd: Some(containerd), ..Machine::default() }
}

fn with_podman() -> Machine {
    let folder = "/etc/containers/registries.conf.d".to_owned();
    let (version, drop_ins, certs) =
        ("4.3.1".to_owned(), vec!["shortnames.conf".to_owned()], "/etc/containers/certs.d".to_owned());
    let podman = Podman { version, folder, drop_ins, certs, ..Podman::default() };
    Machine { podman: Some(podman), ..Machine::default() }
}
