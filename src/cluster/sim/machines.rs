//! The demo cluster's hosts as machines: what the runbooks of mirrors work on.
//! Everything in it is invented.

use crate::model::{ContainerdDaemon, Cri, Digest, DockerDaemon, FileState, Machine, Podman};
use std::collections::BTreeMap;

/// Twelve hosts with Docker, three with containerd, one with podman.
pub fn machines() -> BTreeMap<String, Machine> {
    let docker = (1..=12).map(|n| (format!("gpu-{n:02}"), with_docker(n)));
    let containerd = (1..=3).map(|n| (format!("node-{n:02}"), with_containerd()));
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
    let files = [(config.to_owned(), text.map(file))].into();
    Machine { files, docker: Some(docker), ..Machine::default() }
}

fn with_containerd() -> Machine {
    let config = "/etc/containerd/config.toml";
    let text = "version = 2\n\n[plugins.\"io.containerd.grpc.v1.cri\"]\n  sandbox_image = \"registry.k8s.io/pause:3.6\"\n";
    let containerd = ContainerdDaemon {
        version: "1.6.20".to_owned(),
        config: config.to_owned(),
        cri: Cri::Ok,
        format: 2,
        ..ContainerdDaemon::default()
    };
    let files = [(config.to_owned(), Some(file(text)))].into();
    Machine { files, containerd: Some(containerd), ..Machine::default() }
}

fn with_podman() -> Machine {
    let folder = "/etc/containers/registries.conf.d".to_owned();
    let podman = Podman { version: "4.3.1".to_owned(), folder, drop_ins: vec!["shortnames.conf".to_owned()] };
    Machine { podman: Some(podman), ..Machine::default() }
}
