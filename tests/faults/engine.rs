//! Images of real Docker Engines: names that come and go, pulls, and the way there by unix socket and by TCP.

use crate::{
    lab,
    proxy::{At, Fault, Proxy},
    scene::{Marks, Scene},
};
use castoff::{
    cluster::{
        Cluster,
        config::{AgentConfig, ClusterFile},
        live::Live,
        registry::RegistryClient,
    },
    model::{Change, Digest, FaultKind, ImageRef, Part, Standing, Wants},
};
use std::{collections::BTreeMap, path::PathBuf, process::Command, sync::Arc, time::Duration};
use tokio::sync::Mutex;

pub const HOST: &str = "gpu-f";
pub const PYTHON: &str = "lablup/python:3.6-ubuntu18.04";
pub const JULIA: &str = "community/julia:1.6-ubuntu18.04";

pub fn socket(engine: &str) -> PathBuf {
    lab().join(engine).join("docker.sock")
}

/// A cluster of nothing but this engine.
pub fn alone(docker: String) -> ClusterFile {
    let mut file: ClusterFile = toml::from_str("name = 'faults'").unwrap();
    file.agents.push(AgentConfig { name: HOST.to_owned(), docker, tls: None, host: None });
    file
}

/// The same, without anything in between.
pub fn directly(engine: &str) -> Live {
    Live::new(alone(format!("unix://{}", socket(engine).display())), || 0).unwrap()
}

/// The id of the one image that gets names here, asked of each engine once.
pub async fn python(engine: &'static str) -> Digest {
    static KNOWN: Mutex<BTreeMap<&str, Digest>> = Mutex::const_new(BTreeMap::new());
    let mut known = KNOWN.lock().await;
    if let Some(id) = known.get(engine) {
        return id.clone();
    }
    let id = id_of(engine, PYTHON).await.expect("the lab has it");
    known.insert(engine, id.clone());
    id
}

pub async fn id_of(engine: &str, name: &str) -> Option<Digest> {
    let wants = Wants { parts: [Part::Hosts].into(), ..Wants::default() };
    let inventory = directly(engine).read(&wants).await;
    inventory.hosts[HOST].images.get(&name.parse::<ImageRef>().unwrap()).map(|image| image.id.clone())
}

/// How castoff reaches the engine.
#[derive(Clone, Copy, Debug)]
pub enum Way {
    Unix,
    Tcp,
}

/// The way through a proxy, and the folder of its socket.
async fn way(way: Way, engine: &str) -> (Proxy, String, Option<tempfile::TempDir>) {
    let server = At::Unix(socket(engine));
    match way {
        Way::Unix => {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("s");
            let docker = format!("unix://{}", path.display());
            (Proxy::unix(path, server).await, docker, Some(folder))
        }
        Way::Tcp => {
            let proxy = Proxy::tcp(server).await;
            let docker = format!("tcp://127.0.0.1:{}", proxy.port());
            (proxy, docker, None)
        }
    }
}

/// What only an engine says.
fn causes(fault: &Fault) -> Option<(FaultKind, &'static [&'static str])> {
    match fault {
        // Its list is cut short in the middle, or it ends before it should.
        Fault::Length(-3) => Some((FaultKind::Passing, &["EOF", "broke off", "not be read"])),
        _ => None,
    }
}

/// An image gets a second name.
pub async fn tag(by: Way, engine: &'static str, n: usize) -> Scene {
    let (proxy, docker, folder) = way(by, engine).await;
    let id = python(engine).await;
    let image: ImageRef = format!("faults.example/{by:?}/tag:n{n}").to_lowercase().parse().unwrap();
    let change = Change::Tag { host: HOST.to_owned(), image, from: PYTHON.parse().unwrap(), id, before: None };
    scene(proxy, docker, change, ["/tag?", "DELETE "], folder)
}

/// A name goes, and comes back from its twin.
pub async fn remove(by: Way, engine: &'static str, n: usize) -> Scene {
    let Scene { change, .. } = tag(by, engine, n + 1000).await;
    directly(engine).apply(&change, &|_: &str, _: u64, _: u64| {}).await.unwrap();
    let Change::Tag { host, image, from, id, .. } = change else { unreachable!("it was made so") };
    let (proxy, docker, folder) = way(by, engine).await;
    let change = Change::Remove { host, image, id, digest: None, twin: Some(from), size_bytes: 0 };
    scene(proxy, docker, change, ["DELETE ", "/tag?"], folder)
}

fn scene(
    proxy: Proxy,
    docker: String,
    change: Change,
    [write, undo]: [&'static str; 2],
    folder: Option<tempfile::TempDir>,
) -> Scene {
    proxy.count(write.as_bytes());
    proxy.count(undo.as_bytes());
    let proxy = Arc::new(proxy);
    let counted = Arc::clone(&proxy);
    Scene {
        live: Live::new(alone(docker), || 0).unwrap(),
        proxy,
        change,
        marks: Marks {
            login: "/version".into(),
            read: "/images/".into(),
            write: write.into(),
            commit: write.into(),
            undo: undo.into(),
        },
        subject: format!("`{HOST}`"),
        part: Part::Hosts,
        // 15 s a question, and four times as long for a removal.
        deadline: Duration::from_secs(61),
        effects: Box::new(move || {
            let n = counted.counted(write.as_bytes()) + counted.counted(undo.as_bytes());
            Box::pin(async move { n })
        }),
        causes,
        kept: Box::new(folder),
    }
}

/// A pull of a small image from the lab's registry, which the engine reaches by this port of 127.0.0.1.
pub async fn pull_from(port: u16) -> Change {
    let file = lab_file();
    let client = RegistryClient::new("cr.backend.ai", &file.registries["cr.backend.ai"], "amd64").unwrap();
    let manifest = client.manifest(&format!("cr.backend.ai/{JULIA}").parse().unwrap()).await.unwrap().unwrap();
    let size_bytes = manifest.size_bytes();
    Change::Pull {
        host: HOST.to_owned(),
        image: format!("127.0.0.1:{port}/{JULIA}").parse().unwrap(),
        digest: manifest.digest,
        id: manifest.config,
        before: None,
        size_bytes,
    }
}

pub fn lab_file() -> ClusterFile {
    let text = std::fs::read_to_string(lab().join("castoff.toml")).unwrap();
    toml::from_str(&text).unwrap()
}

/// The port of the lab's plain registry behind its stand-in for Harbor: no login, no token.
pub fn registry_port() -> u16 {
    crate::etcd::port_of(&lab_file().registries["cr.backend.ai"].url) - 1
}

/// A pull through a proxy before the engine.
pub async fn pull(by: Way, engine: &'static str) -> Scene {
    let (proxy, docker, folder) = way(by, engine).await;
    let change = pull_from(registry_port()).await;
    let mut scene = scene(proxy, docker, change, ["/images/create", "DELETE "], folder);
    let now = scene.change.clone();
    scene.effects = Box::new(move || {
        let now = now.clone();
        Box::pin(async move { leave_as_found(engine, &now).await })
    });
    scene
}

fn docker(engine: &str, words: &[&str]) -> String {
    let socket = format!("unix://{}", socket(engine).display());
    let output = Command::new("docker").env_remove("DOCKER_CONTEXT").args(["-H", &socket]).args(words).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A lab that another test has moved away from Docker Hub is brought back.
pub fn at_the_start() {
    if docker("gpu-1", &["images", "-q", PYTHON]).trim().is_empty() {
        let reset = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("lab/reset");
        crate::support::run(Command::new(reset).arg("--name").arg(lab().file_name().unwrap()));
    }
}

/// Takes away the names that cases left behind.
pub fn sweep(engine: &str) {
    let docker = |words: &[&str]| docker(engine, words);
    // What came by digest and never got its name is there all the same.
    let names = docker(&["images", "--digests", "--format", "{{.Repository}} {{.Tag}} {{.Digest}}"]);
    for line in names.lines().filter(|line| line.starts_with("faults.example/") || line.starts_with("127.0.0.1:")) {
        match line.split(' ').collect::<Vec<_>>()[..] {
            [repository, "<none>", digest] => docker(&["rmi", &format!("{repository}@{digest}")]),
            [repository, tag, _] => docker(&["rmi", &format!("{repository}:{tag}")]),
            _ => continue,
        };
    }
}

/// For what may be done twice (a name given again, a pull begun again): only where it stands in the end counts, as if it
/// had been counted. Puts back what was there before.
pub async fn leave_as_found(engine: &str, change: &Change) -> usize {
    let live = directly(engine);
    if live.standing(change).await == Ok(Standing::After) {
        live.undo(change, &|_: &str, _: u64, _: u64| {}).await.unwrap();
        return 1;
    }
    2
}
