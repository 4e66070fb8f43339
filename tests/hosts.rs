//! The clients of engines, registries, machines and managers, held against the real servers of a lab.
//!
//! `lab/up --name hosts --no-manager`, then `CASTOFF_LAB=lab/.state/hosts cargo test --test hosts`.
//! Every test puts back what it changed.

use castoff::{
    cluster::{
        Cluster,
        config::{AgentConfig, ClusterFile, RegistryConfig, Ssh},
        live::Live,
        registry::RegistryClient,
        ssh::{Place, Runner, Sessions},
    },
    model::{
        Change, ContainerState, Digest, Era, Fault, FaultKind, ImageRef, Inventory, KeyDiff, Known, LayerPhase, LayerProgress,
        Manifest, Part, RowDiff, Service, Standing, Value, Wants, backend_ai,
    },
};
use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    path::PathBuf,
    process::Command,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

const JULIA: &str = "cr.backend.ai/community/julia:1.6-ubuntu18.04";
const R_BASE: &str = "cr.backend.ai/community/r-base:4.0-ubuntu18.04";
/// The largest of the lab: 35 MB.
const NODE_NEW: &str = "cr.backend.ai/stable/node:14-ubuntu18.04";
const PRIVATE: &str = "cr.backend.ai/secret/llm-lab:2.0";
const PYTHON_36: &str = "lablup/python:3.6-ubuntu18.04";
const PYTHON_38: &str = "lablup/python:3.8-ubuntu18.04";
const TENSORFLOW: &str = "lablup/python-tensorflow:2.3-py36-cuda10.1";
const NODE: &str = "lablup/node:14-ubuntu18.04";

/// Faults of the lab's registry hold for everybody, so one test runs at a time.
static TURN: Mutex<()> = Mutex::new(());

struct Lab {
    state: PathBuf,
    file: ClusterFile,
    _turn: MutexGuard<'static, ()>,
}

/// Progress as it was reported.
#[derive(Default)]
struct Heard(Mutex<Vec<(String, u64, u64)>>);

impl Heard {
    fn phases(&self) -> BTreeSet<String> {
        self.0.lock().unwrap().iter().map(|(phase, _, _)| phase.clone()).collect()
    }
}

impl Lab {
    fn open() -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = rustls::crypto::ring::default_provider().install_default();
        let state = std::env::var_os("CASTOFF_LAB").map(PathBuf::from).expect(
            "CASTOFF_LAB must name the state folder of a running lab: `lab/up --name hosts --no-manager`, then CASTOFF_LAB=lab/.state/hosts",
        );
        let path = state.join("castoff.toml");
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("no lab in CASTOFF_LAB: {}: {e}", path.display()));
        Self { state, file: toml::from_str(&text).expect("the lab's cluster file"), _turn: turn }
    }

    fn live(&self) -> Live {
        Live::new(self.file.clone(), || 0).expect("a lab's cluster file is complete")
    }

    fn cr(&self) -> RegistryConfig {
        self.file.registries["cr.backend.ai"].clone()
    }

    fn client(config: &RegistryConfig) -> RegistryClient {
        RegistryClient::new("cr.backend.ai", config, "amd64").unwrap()
    }

    async fn manifest(&self, image: &str) -> Manifest {
        let image = image.parse().unwrap();
        Self::client(&self.cr()).manifest(&image).await.unwrap().unwrap_or_else(|| panic!("the lab lacks {image}"))
    }

    async fn pull_of(&self, host: &str, image: &str) -> Change {
        let manifest = self.manifest(image).await;
        let size_bytes = manifest.size_bytes();
        let (image, before) = (image.parse().unwrap(), None);
        Change::Pull { host: host.to_owned(), image, digest: manifest.digest, id: manifest.config, before, size_bytes }
    }

    /// Has the façade misbehave until the guard is dropped.
    fn fault(&self, fault: &str) -> Misbehaving<'_> {
        self.tell("PUT", fault);
        Misbehaving(self)
    }

    fn tell(&self, method: &str, body: &str) {
        let url = format!("{}/_lab/fault", self.cr().url);
        let done = Command::new("curl").args(["-s", "--noproxy", "*", "-X", method, "-d", body, &url]).output().unwrap();
        assert!(done.status.success(), "the façade does not answer");
    }

    fn signal(&self, part: &str, signal: &str) {
        let record = std::fs::read_to_string(self.state.join("run").join(part)).unwrap();
        let pid = record.split_whitespace().next().unwrap().to_owned();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }
}

struct Misbehaving<'a>(&'a Lab);

impl Drop for Misbehaving<'_> {
    fn drop(&mut self) {
        self.0.tell("DELETE", "");
    }
}

fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(test)
}

fn image(text: &str) -> ImageRef {
    text.parse().unwrap()
}

async fn apply(live: &Live, change: &Change) -> Result<Heard, Fault> {
    let heard = Heard::default();
    let report = |phase: &str, done: u64, total: u64| heard.0.lock().unwrap().push((phase.to_owned(), done, total));
    live.apply(change, &report).await?;
    Ok(heard)
}

async fn undo(live: &Live, change: &Change) -> Result<(), Fault> {
    live.undo(change, &|_: &str, _: u64, _: u64| {}).await
}

async fn standing(live: &Live, change: &Change) -> Standing {
    live.standing(change).await.unwrap()
}

/// Before → apply → after → undo → before.
async fn there_and_back(live: &Live, change: &Change) {
    assert_eq!(standing(live, change).await, Standing::Before, "{change:?}");
    apply(live, change).await.unwrap();
    assert_eq!(standing(live, change).await, Standing::After, "{change:?}");
    undo(live, change).await.unwrap();
    assert_eq!(standing(live, change).await, Standing::Before, "{change:?}");
}

async fn hosts(live: &Live) -> Inventory {
    live.read(&Wants { parts: [Part::Hosts].into(), ..Wants::default() }).await
}

fn removal(inventory: &Inventory, host: &str, name: &str, twin: Option<&str>) -> Change {
    let local = &inventory.hosts[host].images[&image(name)];
    Change::Remove {
        host: host.to_owned(),
        image: image(name),
        id: local.id.clone(),
        digest: local.digest.clone(),
        twin: twin.map(image),
        size_bytes: local.size_bytes,
    }
}

#[test]
fn everything_is_read() {
    let lab = Lab::open();
    run(async {
        let wants = Wants {
            parts: [Part::Hosts, Part::Registries, Part::Managers, Part::Tables, Part::Keys, Part::Sessions].into(),
            images: [image(PRIVATE), image("cr.backend.ai/stable/nothing:1"), image(PYTHON_36)].into(),
            projects: [("cr.backend.ai".to_owned(), ["stable", "community", "nowhere"].map(str::to_owned).into())].into(),
            ..Wants::default()
        };
        let inventory = lab.live().read(&wants).await;
        assert_eq!(inventory.unanswered, []);

        assert_eq!(inventory.hosts.keys().collect::<Vec<_>>(), ["gpu-1", "gpu-2", "gpu-3"]);
        for (name, host) in &inventory.hosts {
            let python = &host.images[&image(PYTHON_36)];
            assert!(python.digest.is_some() && !python.layers.is_empty() && python.size_bytes > 0, "{name}: {python:?}");
            assert!(host.free_bytes.is_some_and(|free| free > 0), "{name}");
            assert!(!host.engine.is_empty(), "{name}");
        }
        let has = |host: &str, state| inventory.hosts[host].containers.iter().any(|c| c.state == state);
        assert!(has("gpu-1", ContainerState::Paused) && has("gpu-3", ContainerState::Stopped));
        let kernel = inventory.hosts["gpu-1"].containers.iter().find(|c| c.kernel.is_some()).unwrap();
        assert!(kernel.image.starts_with("index.docker.io/lablup/"), "{kernel:?}");

        let cr = &inventory.registries["cr.backend.ai"];
        assert!(cr.insecure && cr.login.as_deref() == Some("robot$castoff"));
        assert!(cr.images.contains_key(&image(PRIVATE)) && cr.images.contains_key(&image(JULIA)), "{:?}", cr.images.keys());
        assert!(!cr.images.contains_key(&image("cr.backend.ai/stable/nothing:1")));
        assert_eq!(cr.refused, BTreeMap::new());
        let julia = &cr.images[&image(JULIA)];
        assert!(julia.labels.contains_key("ai.backend.kernelspec") && julia.size_bytes() > 0);
        assert!(inventory.registries["docker.io"].images.contains_key(&image(PYTHON_36)));

        let found = inventory.backend_ai.unwrap();
        assert!(versions().contains(&(found.version.as_str(), found.era)), "{found:?}");
        assert_eq!(found.namespace, "local");
        assert!(inventory.managers["mgr-01"].importer_image.is_some());
        assert!(!inventory.keys.is_empty() && !inventory.tables.is_empty() && !inventory.sessions.is_empty());
    });
}

#[test]
fn a_pull_is_verified_and_taken_back() {
    let lab = Lab::open();
    run(async {
        let live = lab.live();
        // gpu-3 is reached through a forwarded socket; the private image needs castoff's login.
        for (host, name) in [("gpu-1", JULIA), ("gpu-3", JULIA), ("gpu-2", PRIVATE)] {
            let change = lab.pull_of(host, name).await;
            there_and_back(&live, &change).await;
            let heard = apply(&live, &change).await.unwrap();
            let all = heard.0.lock().unwrap().clone();
            assert!(all.iter().all(|(_, done, total)| done <= total), "{all:?}");
            assert!(all.windows(2).all(|pair| pair[0].1 <= pair[1].1), "bytes never go back: {all:?}");
            let (_, done, total) = all.last().unwrap();
            assert!(done == total && *total > 0, "{all:?}");
            // What was pulled carries its repository's digest.
            let inventory = hosts(&live).await;
            let Change::Pull { digest, .. } = &change else { unreachable!() };
            assert_eq!(inventory.hosts[host].images[&image(name)].digest.as_ref(), Some(digest));
            undo(&live, &change).await.unwrap();
        }
    });
}

#[test]
fn a_pull_that_would_bring_another_image_is_refused() {
    let lab = Lab::open();
    run(async {
        let live = lab.live();
        let Change::Pull { host, image, digest, before, size_bytes, .. } = lab.pull_of("gpu-1", JULIA).await else {
            unreachable!()
        };
        let id: Digest = format!("sha256:{}", "0".repeat(64)).parse().unwrap();
        let change = Change::Pull { host, image: image.clone(), digest, id, before, size_bytes };
        let fault = apply(&live, &change).await.err().unwrap();
        assert_eq!(fault.kind, FaultKind::Lasting, "{fault}");
        assert!(!hosts(&live).await.hosts["gpu-1"].images.contains_key(&image), "it must not get the name");
    });
}

#[test]
fn refusals_of_a_pull_are_told_apart() {
    let lab = Lab::open();
    run(async {
        let absent = || format!("sha256:{}", "1".repeat(64)).parse::<Digest>().unwrap();
        let Change::Pull { host, image, id, digest, before, size_bytes } = lab.pull_of("gpu-1", PRIVATE).await else {
            unreachable!()
        };
        let pull = |digest: &Digest| Change::Pull {
            host: host.clone(),
            image: image.clone(),
            digest: digest.clone(),
            id: id.clone(),
            before: before.clone(),
            size_bytes,
        };
        let fault = apply(&lab.live(), &pull(&absent())).await.err().unwrap();
        assert_eq!(fault.kind, FaultKind::Missing, "{fault}");

        // Without a login, and with a wrong one.
        let mut file = lab.file.clone();
        let cr = file.registries.get_mut("cr.backend.ai").unwrap();
        (cr.username, cr.password) = (None, None);
        let fault = apply(&Live::new(file.clone(), || 0).unwrap(), &pull(&digest)).await.err().unwrap();
        assert_eq!(fault.kind, FaultKind::Denied, "{fault}");
        assert!(fault.hint.is_some());
        file.registries.insert("cr.backend.ai".to_owned(), wrong_login(&lab));
        let fault = apply(&Live::new(file, || 0).unwrap(), &pull(&digest)).await.err().unwrap();
        assert_eq!(fault.kind, FaultKind::Denied, "{fault}");

        for (status, kind) in [(403, FaultKind::Denied), (503, FaultKind::Passing), (500, FaultKind::Passing)] {
            let _fault = lab.fault(&format!(r#"{{"status":{status},"path":"/v2/secret/"}}"#));
            let fault = apply(&lab.live(), &pull(&digest)).await.err().unwrap();
            assert_eq!(fault.kind, kind, "{status}: {fault}");
        }
        let _fault = lab.fault(r#"{"status":429,"retry_after":7,"path":"/v2/secret/"}"#);
        let fault = apply(&lab.live(), &pull(&digest)).await.err().unwrap();
        assert_eq!((fault.kind, fault.retry_after_ms), (FaultKind::Passing, Some(7000)), "{fault}");
    });
}

fn wrong_login(lab: &Lab) -> RegistryConfig {
    let path = lab.state.join("wrong-password");
    std::fs::write(&path, "not-the-password\n").unwrap();
    RegistryConfig { password: Some(castoff::cluster::secret::Secret::File(path)), ..lab.cr() }
}

#[test]
fn a_stalled_pull_is_shown_and_dropping_it_cancels_it() {
    let lab = Lab::open();
    run(async {
        let live = lab.live();
        let change = lab.pull_of("gpu-2", JULIA).await;
        let heard = Heard::default();
        {
            let _fault = lab.fault(r#"{"delay_ms":60000,"path":"/v2/community/julia/blobs/"}"#);
            let report = |phase: &str, done: u64, total: u64| heard.0.lock().unwrap().push((phase.to_owned(), done, total));
            let from = Instant::now();
            let stalled = async {
                while !heard.phases().contains("stalled") {
                    assert!(from.elapsed() < Duration::from_mins(1), "{:?}", heard.phases());
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            };
            tokio::select! {
                ended = live.apply(&change, &report) => panic!("{ended:?}"),
                () = stalled => {}
            }
        }
        // It stalls after 30 s of silence: by then the registry would have given it all.
        tokio::time::sleep(Duration::from_secs(35)).await;
        assert_eq!(standing(&live, &change).await, Standing::Before);
    });
}

#[test]
fn a_slow_pull_shows_its_bytes() {
    let lab = Lab::open();
    run(async {
        let live = lab.live();
        let change = lab.pull_of("gpu-2", NODE_NEW).await;
        let _fault = lab.fault(r#"{"rate_bytes":10000000}"#);
        let heard = apply(&live, &change).await.unwrap();
        let all = heard.0.lock().unwrap().clone();
        let between = all.iter().filter(|(_, done, total)| *done > 0 && done < total).count();
        assert!(between > 5, "{all:?}");
        assert!(all.windows(2).all(|pair| pair[0].1 <= pair[1].1), "bytes never go back: {all:?}");
        assert!(heard.phases().contains("pulling") && heard.phases().contains("unpacking"), "{:?}", heard.phases());
        undo(&live, &change).await.unwrap();
    });
}

/// Keeps what is told of layers.
#[derive(Default)]
struct Layers(std::sync::Mutex<Vec<Vec<LayerProgress>>>);

impl castoff::cluster::Watch for Layers {
    fn progress(&self, _: &str, _: u64, _: u64) {}

    fn layers(&self, layers: Vec<LayerProgress>) {
        self.0.lock().unwrap().push(layers);
    }
}

#[test]
fn a_pull_tells_of_its_layers_what_came_and_what_is_unpacked() {
    let lab = Lab::open();
    run(async {
        let live = lab.live();
        let change = lab.pull_of("gpu-1", NODE_NEW).await;
        let _fault = lab.fault(r#"{"rate_bytes":8000000}"#);
        let (heard, begun) = (Layers::default(), std::time::Instant::now());
        live.apply(&change, &heard).await.unwrap();
        let told = heard.0.lock().unwrap().clone();
        assert!(told.len() as u128 <= begun.elapsed().as_millis() / 500 + 1, "twice a second at most: {}", told.len());
        let pulling = |layer: &LayerProgress| layer.phase == LayerPhase::Pulling && 0 < layer.done && layer.done < layer.total;
        assert!(told.iter().flatten().any(pulling), "{told:#?}");
        let last = told.last().unwrap();
        assert!(last.iter().all(|layer| matches!(layer.phase, LayerPhase::Done | LayerPhase::There)), "{last:#?}");
        assert!(last.iter().any(|layer| layer.phase == LayerPhase::Done && layer.unpacked == layer.total), "{last:#?}");
        assert!(last.iter().all(|layer| layer.id.len() == 12 && layer.id.bytes().all(|b| b.is_ascii_hexdigit())), "{last:#?}");
        // The lowest layers first, the same ones all the time.
        let ids = |layers: &[LayerProgress]| layers.iter().map(|layer| layer.id.clone()).collect::<Vec<_>>();
        assert!(told.iter().all(|layers| ids(last).starts_with(&ids(layers))), "{told:#?}");
        undo(&live, &change).await.unwrap();
    });
}

#[test]
fn a_name_is_protected_by_the_container_that_was_created_by_it() {
    let lab = Lab::open();
    run(async {
        let live = lab.live();
        let inventory = hosts(&live).await;
        // The trap: with a second name on the image the engine itself would let the old name go.
        let (host, new) = ("gpu-1".to_owned(), image("cr.backend.ai/stable/protected:1"));
        let id = inventory.hosts["gpu-1"].images[&image(PYTHON_36)].id.clone();
        let tag = Change::Tag { host, image: new, from: image(PYTHON_36), id, before: None };
        apply(&live, &tag).await.unwrap();
        // Running, paused and stopped; by kernels and by a container of somebody's own.
        for (host, name) in [("gpu-1", PYTHON_36), ("gpu-1", TENSORFLOW), ("gpu-3", TENSORFLOW), ("gpu-3", PYTHON_36)] {
            let change = removal(&inventory, host, name, None);
            let Standing::Neither(why) = standing(&live, &change).await else { panic!("{name} on {host} can be removed") };
            assert!(why.contains("container `"), "{why}");
            let fault = apply(&live, &change).await.err().unwrap();
            assert_eq!(fault.kind, FaultKind::Drift, "{fault}");
            assert!(hosts(&live).await.hosts[host].images.contains_key(&image(name)));
        }
        undo(&live, &tag).await.unwrap();
        assert_eq!(standing(&live, &tag).await, Standing::Before);
    });
}

#[test]
fn an_undo_does_not_take_a_name_from_a_container() {
    let lab = Lab::open();
    run(async {
        let live = lab.live();
        let change = lab.pull_of("gpu-2", R_BASE).await;
        apply(&live, &change).await.unwrap();
        let docker = |words: &[&str]| {
            let socket = format!("unix://{}", lab.state.join("gpu-2/docker.sock").display());
            let done = Command::new("docker").args(["-H", &socket]).args(words).output().unwrap();
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        };
        docker(&["create", "--name", "holds-it", "--network", "none", R_BASE, "/bin/busybox", "true"]);
        let fault = undo(&live, &change).await.err().unwrap();
        docker(&["rm", "holds-it"]);
        assert_eq!((fault.kind, fault.why.as_str()), (FaultKind::Drift, "container `holds-it` uses it"));
        undo(&live, &change).await.unwrap();
        assert_eq!(standing(&live, &change).await, Standing::Before);
    });
}

#[test]
fn a_tag_moves_no_bytes_and_gives_back_what_the_name_meant() {
    let lab = Lab::open();
    run(async {
        let live = lab.live();
        let inventory = hosts(&live).await;
        let images = &inventory.hosts["gpu-1"].images;
        let (id, other) = (images[&image(PYTHON_38)].id.clone(), images[&image(PYTHON_36)].id.clone());
        let host = "gpu-1".to_owned();
        let new = image("cr.backend.ai/stable/python:3.8-there");
        let tag = |from: &str, id: &Digest, before: Option<&Digest>| Change::Tag {
            host: host.clone(),
            image: new.clone(),
            from: image(from),
            id: id.clone(),
            before: before.cloned(),
        };
        let first = tag(PYTHON_38, &id, None);
        there_and_back(&live, &first).await;
        apply(&live, &first).await.unwrap();
        // A name that meant something means it again after the undo.
        there_and_back(&live, &tag(PYTHON_36, &other, Some(&id))).await;
        // A plan made for another image does not fit.
        assert!(matches!(standing(&live, &tag(PYTHON_36, &other, None)).await, Standing::Neither(_)));
        let fault = apply(&live, &tag(PYTHON_36, &id, None)).await.err().unwrap();
        assert_eq!(fault.kind, FaultKind::Drift, "{fault}");
        undo(&live, &first).await.unwrap();
        assert_eq!(hosts(&live).await.hosts["gpu-1"].images, inventory.hosts["gpu-1"].images);
    });
}

#[test]
fn a_removed_name_comes_back_from_its_twin_or_from_its_registry() {
    let lab = Lab::open();
    run(async {
        let live = lab.live();
        let inventory = hosts(&live).await;
        let from_registry = removal(&inventory, "gpu-2", NODE, None);
        there_and_back(&live, &from_registry).await;
        assert_eq!(hosts(&live).await.hosts["gpu-2"].images, inventory.hosts["gpu-2"].images, "with its digest");

        let twin = "cr.backend.ai/stable/twin:1";
        let id = inventory.hosts["gpu-2"].images[&image(NODE)].id.clone();
        let tag = Change::Tag { host: "gpu-2".to_owned(), image: image(twin), from: image(NODE), id, before: None };
        apply(&live, &tag).await.unwrap();
        there_and_back(&live, &removal(&inventory, "gpu-2", NODE, Some(twin))).await;
        // A removal that is done already is done.
        let gone = removal(&inventory, "gpu-2", NODE, Some(twin));
        apply(&live, &gone).await.unwrap();
        apply(&live, &gone).await.unwrap();
        undo(&live, &gone).await.unwrap();
        undo(&live, &tag).await.unwrap();
        // Bring the digest back too, for the tests after this one.
        apply(&live, &from_registry).await.unwrap();
        undo(&live, &from_registry).await.unwrap();
    });
}

#[test]
fn a_registry_says_what_it_has_and_why_not() {
    let lab = Lab::open();
    run(async {
        let client = Lab::client(&lab.cr());
        client.ping().await.unwrap();
        let julia = client.manifest(&image(JULIA)).await.unwrap().unwrap();
        assert_eq!(client.manifest(&image(JULIA)).await.unwrap(), Some(julia), "a second look costs one HEAD and says the same");
        for absent in ["cr.backend.ai/stable/python:none", "cr.backend.ai/stable/none:1"] {
            assert_eq!(client.manifest(&image(absent)).await.unwrap(), None, "{absent}");
        }
        let listed = client.list("community").await.unwrap();
        assert!(listed.contains(&image(JULIA)) && listed.iter().all(|i| i.repository.starts_with("community/")), "{listed:?}");

        let fault = Lab::client(&wrong_login(&lab)).ping().await.unwrap_err();
        assert_eq!(fault.kind, FaultKind::Denied, "{fault}");
        let anonymous = RegistryConfig { username: None, password: None, ..lab.cr() };
        let fault = Lab::client(&anonymous).manifest(&image(PRIVATE)).await.unwrap_err();
        assert_eq!(fault.kind, FaultKind::Denied, "{fault}");
        assert!(Lab::client(&anonymous).manifest(&image(JULIA)).await.unwrap().is_some());

        // The hub of the lab is a plain registry without Harbor's interface.
        let hub = RegistryClient::new("docker.io", &lab.file.registries["docker.io"], "amd64").unwrap();
        assert!(hub.list("lablup").await.unwrap().contains(&image(PYTHON_36)));

        {
            let _fault = lab.fault(r#"{"status":429,"retry_after":5,"path":"/v2/"}"#);
            let fault = Lab::client(&lab.cr()).manifest(&image(JULIA)).await.unwrap_err();
            assert_eq!((fault.kind, fault.retry_after_ms), (FaultKind::Passing, Some(5000)), "{fault}");
        }
        {
            let _fault = lab.fault(r#"{"delay_ms":60000,"path":"/v2/"}"#);
            let from = Instant::now();
            let fault = Lab::client(&lab.cr()).manifest(&image(JULIA)).await.unwrap_err();
            assert_eq!(fault.kind, FaultKind::Passing, "{fault}");
            assert!(from.elapsed() < Duration::from_secs(50), "{:?}", from.elapsed());
        }
        let down = RegistryConfig { url: "http://127.0.0.1:9".to_owned(), ..lab.cr() };
        let fault = Lab::client(&down).manifest(&image(JULIA)).await.unwrap_err();
        assert_eq!(fault.kind, FaultKind::Passing, "{fault}");
        assert!(fault.why.contains("refused"), "{fault}");
    });
}

#[test]
fn what_does_not_answer_is_listed_and_the_rest_is_read() {
    let lab = Lab::open();
    run(async {
        let mut file = lab.file.clone();
        file.agents[0].docker = "unix:///nowhere/docker.sock".to_owned();
        // A socket that is not there, at the end of a connection that is.
        let far = AgentConfig {
            name: "gpu-9".to_owned(),
            docker: "ssh://root@gpu-3/nowhere/docker.sock".to_owned(),
            tls: None,
            host: None,
        };
        file.agents.push(far);
        file.registries.get_mut("cr.backend.ai").unwrap().url = "http://127.0.0.1:9".to_owned();
        file.registries.get_mut("docker.io").unwrap().password = None;
        file.managers[0].host = "ssh://root@nowhere.invalid".to_owned();
        let live = Live::new(file, || 0).unwrap();
        lab.signal("gpu-2", "-STOP");
        let from = Instant::now();
        let wants = Wants { parts: [Part::Hosts, Part::Registries, Part::Managers].into(), ..Wants::default() };
        let inventory = live.read(&wants).await;
        lab.signal("gpu-2", "-CONT");
        assert!(from.elapsed() < Duration::from_secs(90), "{:?}", from.elapsed());
        let silent: Vec<&str> = inventory.unanswered.iter().map(|one| one.subject.as_str()).collect();
        assert_eq!(
            silent,
            ["manager mgr-01", "agent gpu-1", "agent gpu-2", "agent gpu-9", "registry cr.backend.ai"],
            "{:?}",
            inventory.unanswered
        );
        assert_eq!(inventory.hosts.keys().collect::<Vec<_>>(), ["gpu-3"]);
        assert!(inventory.registries.contains_key("docker.io"));
    });
}

#[test]
fn a_wrong_login_is_refused_where_it_is_read() {
    let lab = Lab::open();
    run(async {
        let mut file = lab.file.clone();
        file.registries.insert("cr.backend.ai".to_owned(), wrong_login(&lab));
        let wants = Wants { parts: [Part::Registries].into(), images: [image(JULIA)].into(), ..Wants::default() };
        let inventory = Live::new(file, || 0).unwrap().read(&wants).await;
        let refused = &inventory.registries["cr.backend.ai"].refused;
        assert!(refused[&image(JULIA)].contains("401"), "{refused:?}");
    });
}

#[test]
fn a_dead_ssh_connection_is_made_again() {
    let lab = Lab::open();
    run(async {
        let live = lab.live();
        assert!(hosts(&live).await.hosts.contains_key("gpu-3"));
        let masters = ssh_masters(&lab);
        assert!(!masters.is_empty());
        for pid in masters {
            assert!(Command::new("kill").args(["-KILL", &pid]).status().unwrap().success());
        }
        let inventory = hosts(&live).await;
        assert!(inventory.hosts.contains_key("gpu-3"), "{:?}", inventory.unanswered);
        drop(live);
        let from = Instant::now();
        while !ssh_masters(&lab).is_empty() {
            assert!(from.elapsed() < Duration::from_secs(20), "a connection outlives castoff: {:?}", ssh_masters(&lab));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
}

/// The ssh processes that this lab's tests started, by the socket and the configuration on their command line.
fn ssh_masters(lab: &Lab) -> Vec<String> {
    let config = lab.file.ssh.config.as_ref().unwrap().display().to_string();
    let mut found = vec![];
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let words = std::fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
        if words.contains("/castoff-") && words.contains("/master") && words.contains(&config) {
            found.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    found
}

#[test]
fn a_command_over_ssh_is_the_same_command() {
    let lab = Lab::open();
    run(async {
        let sessions = Sessions::new(&lab.file.ssh, vec![]);
        for place in ["local", "ssh://root@mgr-01"] {
            let runner = Runner::new(Place::parse(place).unwrap(), &sessions);
            let said = async |words: &[&str], folder: Option<&str>| {
                let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
                runner.run(&words, folder, Duration::from_secs(10)).await
            };
            let odd = "it's $HOME `id` \"x\" \\ ! * 한글\n;&|<>";
            assert_eq!(said(&["printf", "%s", odd], None).await.unwrap().stdout, odd, "{place}");
            assert_eq!(said(&["pwd"], Some("/usr/lib")).await.unwrap().stdout.trim(), "/usr/lib");
            let ended = said(&["sh", "-c", "echo out; echo words >&2; exit 7"], None).await.unwrap();
            assert_eq!((ended.code, ended.stdout.as_str(), ended.last_words().as_str()), (Some(7), "out\n", "words"));
            // A crash is an answer too.
            assert_eq!(said(&["sh", "-c", "kill -SEGV $$"], None).await.unwrap().code, None, "{place}");
            let missing = said(&["/no/such/program"], None).await;
            assert!(missing.is_err_and(|fault| fault.kind == FaultKind::Missing), "{place}");
        }
        // What nobody waits for any more ends over there as well.
        let runner = Runner::new(Place::parse("ssh://root@mgr-01").unwrap(), &sessions);
        let mark = lab.state.join("mark-of-a-late-command");
        let words = ["sh", "-c", &format!("sleep 9; touch {}", mark.display())].map(str::to_owned);
        let fault = runner.run(&words, None, Duration::from_secs(1)).await.unwrap_err();
        assert_eq!(fault.kind, FaultKind::Passing);
        tokio::time::sleep(Duration::from_secs(11)).await;
        assert!(!mark.exists());
    });
}

#[test]
fn what_a_command_over_ssh_printed_arrives_whole() {
    let lab = Lab::open();
    run(async {
        // On a slow line the exit code is there long before the last of what was printed.
        let config = lab.state.join("ssh/config-slow");
        let slow = "import os, socket, sys, threading, time\n\
            line = socket.create_connection((sys.argv[1], int(sys.argv[2])))\n\
            threading.Thread(target=lambda: [line.sendall(part) for part in iter(lambda: os.read(0, 65536), b'')], daemon=True).start()\n\
            for part in iter(lambda: line.recv(16384), b''): time.sleep(0.01); os.write(1, part)\n";
        std::fs::write(lab.state.join("ssh/slow.py"), slow).unwrap();
        let usual = std::fs::read_to_string(lab.state.join("ssh/config")).unwrap();
        let way = format!("ProxyCommand python3 {} %h %p\n", lab.state.join("ssh/slow.py").display());
        std::fs::write(&config, way + &usual).unwrap();
        let sessions = Sessions::new(&Ssh { config: Some(config) }, vec![]);
        let runner = Runner::new(Place::parse("ssh://root@mgr-01").unwrap(), &sessions);
        let words = ["sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' x; echo over"].map(str::to_owned);
        for round in 0..3 {
            let output = runner.run(&words, None, Duration::from_mins(1)).await.unwrap();
            let end = &output.stdout[output.stdout.len() - 7..];
            assert_eq!((output.code, end), (Some(0), "xxover\n"), "round {round}");
        }

        // A daemon that it leaves behind holds nobody up, and what it prints later is not its output.
        let words = ["sh", "-c", "(sleep 30; echo late) & echo begun"].map(str::to_owned);
        let begun = Instant::now();
        assert_eq!(runner.run(&words, None, Duration::from_secs(20)).await.unwrap().stdout, "begun\n");
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    });
}

#[test]
fn a_host_with_an_unknown_key_is_not_spoken_to() {
    let lab = Lab::open();
    run(async {
        let config = lab.state.join("ssh/config");
        let stranger = lab.state.join("ssh/config-stranger");
        let text = std::fs::read_to_string(config).unwrap();
        let known = text.lines().find(|line| line.contains("UserKnownHostsFile")).unwrap().to_owned();
        std::fs::write(&stranger, text.replace(&known, "  UserKnownHostsFile /dev/null")).unwrap();
        let mut file = lab.file.clone();
        file.ssh.config = Some(stranger);
        let fault = Live::new(file, || 0).unwrap().standing(&service(Service::Stopped)).await.unwrap_err();
        assert_eq!(fault.kind, FaultKind::Denied, "{fault}");
        assert!(fault.hint.unwrap().contains("host key"));
    });
}

/// What a lab may run.
fn versions() -> [(&'static str, Era); 3] {
    [("20.09.0b2", Era::Etcd), ("23.09.10", Era::Mixed), ("25.5.2", Era::Postgres)]
}

fn service(after: Service) -> Change {
    Change::Service { manager: "mgr-01".to_owned(), after }
}

#[test]
fn a_manager_is_started_asked_and_stopped() {
    let lab = Lab::open();
    run(async {
        let live = lab.live();
        if standing(&live, &service(Service::Stopped)).await == Standing::Before {
            apply(&live, &service(Service::Stopped)).await.unwrap();
        }
        let wants = Wants { parts: [Part::Managers].into(), ..Wants::default() };
        for (after, running) in [(Service::Running, true), (Service::Stopped, false)] {
            apply(&live, &service(after)).await.unwrap();
            assert_eq!(standing(&live, &service(after)).await, Standing::After);
            let inventory = live.read(&wants).await;
            assert_eq!(inventory.unanswered, []);
            assert_eq!(inventory.managers["mgr-01"].running, running);
            let found = inventory.backend_ai.unwrap();
            assert!(versions().contains(&(found.version.as_str(), found.era)), "{found:?}");
        }
    });
}

#[test]
fn a_rescan_is_judged_by_what_is_known_afterwards() {
    let lab = Lab::open();
    run(async {
        let live = lab.live();
        let before = live.read(&Wants { parts: [Part::Tables, Part::Keys].into(), ..Wants::default() }).await;
        let (era, namespace) = before.backend_ai.as_ref().map(|found| (found.era, found.namespace.clone())).unwrap();
        let manifest = lab.manifest(JULIA).await;
        let registry = "cr.backend.ai".to_owned();
        let change = Change::Rescan {
            manager: "mgr-01".to_owned(),
            era,
            namespace: namespace.clone(),
            registry: registry.clone(),
            expect: vec![vec![Known { name: JULIA.to_owned(), config: manifest.config.clone() }]],
            keys_before: before.keys_within(&backend_ai::images_key(&namespace, &registry)),
            rows_before: before.image_rows(&registry),
        };
        let configured = registry_of(era, &namespace, &lab.cr().url);
        apply(&live, &configured).await.unwrap();

        assert_eq!(standing(&live, &change).await, Standing::Before);
        let failed = {
            let _fault = lab.fault(r#"{"status":503,"path":"/api/"}"#);
            apply(&live, &change).await.err()
        };
        let done = apply(&live, &change).await.err();
        let after = standing(&live, &change).await;
        undo(&live, &change).await.unwrap();
        let back = live.read(&Wants { parts: [Part::Tables, Part::Keys].into(), ..Wants::default() }).await;
        undo(&live, &configured).await.unwrap();
        let failed = failed.expect("a rescan that cannot read the registry");
        assert_eq!(failed.kind, FaultKind::Lasting, "{failed}");
        assert!(failed.why.contains("failed to fetch") || failed.why.contains("Error"), "{failed}");
        assert_eq!((done, after, back.standing(&change)), (None, Standing::After, Standing::Before));
        assert_eq!(back.image_rows(&registry), before.image_rows(&registry));
    });
}

/// What a rescan needs: the manager has to know the registry, wherever its era keeps that.
fn registry_of(era: Era, namespace: &str, url: &str) -> Change {
    if era == Era::Postgres {
        let id = "00000000-0000-4000-c000-0000000000aa";
        let row = serde_json::json!({"id": id, "url": url, "registry_name": "cr.backend.ai", "type": "harbor2",
            "project": "community", "username": null, "password": null, "ssl_verify": true, "is_global": true, "extra": null});
        let (table, after) = ("container_registries".to_owned(), row.as_object().cloned());
        return Change::Rows { diffs: vec![RowDiff { table, key: id.to_owned(), before: None, after }] };
    }
    let folder = backend_ai::registry_key(namespace, "cr.backend.ai");
    let key = |rest: &str, value: &str| KeyDiff { key: format!("{folder}{rest}"), before: None, after: Some(Value::text(value)) };
    Change::Keys { diffs: vec![key("", url), key("/type", "harbor2"), key("/project", "stable,community")] }
}
