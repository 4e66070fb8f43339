//! The mirrors' lab misbehaves while the mirror of a Docker daemon is put and taken back: full and read-only disks, no rights,
//! a connection that is cut, commands that lie, files that others change, backups that are lost. Every time the fault has its
//! kind and its words, the old file is whole, and the next attempt or the way back ends exactly.

#[path = "support/mirrors.rs"]
#[expect(dead_code, reason = "other tests need more of the lab")]
mod mirrors;
#[path = "support/ports.rs"]
mod ports;
#[path = "faults/proxy.rs"]
#[expect(dead_code, reason = "other tests need more of the proxy")]
mod proxy;

use castoff::{
    cluster::{
        Cluster, Watch,
        config::{ClusterFile, DockerConfig},
        live::Live,
    },
    model::{Change, Fault, FaultKind, Standing},
    runbook::Runbook,
};
use mirrors::{Mirrors, Part, run};
use proxy::{At, Fault as Cut, Proxy, When};
use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// What stands on a host before.
const OLD: &str = "{\n    \"labels\": [\"old=yes\"]\n}";

const RUNBOOK: &str = include_str!("../runbooks/docker-mirror.toml");

/// One host of the lab, its change, and where castoff keeps things.
struct Scene {
    lab: &'static Mirrors,
    node: &'static str,
    file: ClusterFile,
    kept: tempfile::TempDir,
    change: Change,
    _turn: MutexGuard<'static, ()>,
}

static LAB: LazyLock<Mirrors> = LazyLock::new(|| {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Mirrors::start()
});

/// One scene at a time on each host, which the one before left as it was.
static NODES: [(&str, Mutex<()>); 3] = [("node-1", Mutex::new(())), ("node-2", Mutex::new(())), ("node-3", Mutex::new(()))];

fn block<T>(of: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(of)
}

/// The phase of an effect, as it was told.
struct Phases(Mutex<Vec<String>>, Box<dyn Fn(&str) + Send + Sync>);

impl Watch for Phases {
    fn progress(&self, phase: &str, _: u64, _: u64) {
        self.0.lock().unwrap().push(phase.to_owned());
        (self.1)(phase);
    }
}

fn quiet() -> Phases {
    Phases(Mutex::default(), Box::new(|_| ()))
}

impl Scene {
    fn new(node: &'static str, old: &str) -> Self {
        let lab = &*LAB;
        let turn = &NODES.iter().find(|(name, _)| *name == node).expect("a host").1;
        let turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
        let config = lab.at(node, "docker/daemon.json");
        // Whatever a scene that failed has left.
        lab.daemon(node, "start");
        for text in [r#"{"registry-mirrors": [], "debug": false}"#, old] {
            fs::write(&config, text).unwrap();
            lab.reload(node);
        }
        let text = fs::read_to_string(lab.cluster_file()).unwrap();
        let mut file = ClusterFile::parse(&text, &lab.cluster_file()).unwrap();
        file.hosts.retain(|host| host.name == node);
        let kept = tempfile::tempdir().unwrap();
        let live = Live::new(file.clone(), || 0).unwrap().keeps_backups_in(kept.path().to_owned());
        let runbook = RUNBOOK.replace("https://dockerhub.stfc.ac.uk", lab.url(Part::Mirror));
        let runbook = Runbook::parse("docker-mirror", &runbook, &[]).unwrap();
        let world = block(live.read(&runbook.wants()));
        let (plan, _) = runbook.plan(&world).unwrap();
        let change = plan.steps.iter().flat_map(|step| &step.changes).next().expect("a change").change.clone();
        Self { lab, node, file, kept, change, _turn: turn }
    }

    fn config(&self) -> PathBuf {
        self.lab.at(self.node, "docker/daemon.json")
    }

    fn folder(&self) -> PathBuf {
        self.lab.at(self.node, "docker")
    }

    fn text(&self) -> String {
        fs::read_to_string(self.config()).unwrap_or_default()
    }

    /// As the cluster file has it, changed.
    fn with(&self, change: impl FnOnce(&mut DockerConfig)) -> Live {
        let mut file = self.file.clone();
        change(file.hosts[0].docker.as_mut().expect("Docker"));
        self.of(file)
    }

    fn of(&self, file: ClusterFile) -> Live {
        Live::new(file, || 0).unwrap().keeps_backups_in(self.kept.path().to_owned())
    }

    fn live(&self) -> Live {
        self.of(self.file.clone())
    }

    fn apply(&self, live: &Live) -> Result<(), Fault> {
        block(live.apply(&self.change, &quiet()))
    }

    fn undo(&self, live: &Live) -> Result<(), Fault> {
        block(live.undo(&self.change, &quiet()))
    }

    fn standing(&self) -> Standing {
        block(self.live().standing(&self.change)).unwrap()
    }

    /// The next attempt makes it true whatever was left, and the way back ends where it began.
    fn ends_well(&self, old: &str) {
        self.apply(&self.live()).unwrap();
        assert_eq!(self.standing(), Standing::After);
        assert_eq!(self.lab.mirrors_of(self.node), [format!("{}/", self.lab.url(Part::Mirror))]);
        self.goes_back(old);
    }

    fn goes_back(&self, old: &str) {
        self.undo(&self.live()).unwrap();
        self.is_as_before(old);
    }

    fn is_as_before(&self, old: &str) {
        assert_eq!(self.standing(), Standing::Before);
        assert_eq!(self.text(), old);
        let info = self.lab.info(self.node);
        assert_eq!(self.lab.mirrors_of(self.node), Vec::<String>::new());
        assert_eq!(info["Debug"], false, "its daemon debugs still");
        let names = fs::read_dir(self.folder()).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
        assert_eq!(names.filter(|name| name.starts_with(".castoff")).collect::<Vec<_>>(), Vec::<String>::new());
    }
}

#[track_caller]
fn told(result: Result<(), Fault>, kind: FaultKind, why: &str, hint: &str) {
    let fault = result.expect_err(why);
    assert_eq!(fault.kind, kind, "{fault:?}");
    assert!(fault.why.contains(why) && fault.hint.as_deref().unwrap_or_default().contains(hint), "{fault:?}");
}

/// A disk over a folder until it is dropped.
struct Mount(PathBuf);

impl Mount {
    fn over(folder: &Path, options: &str) -> Self {
        assert_eq!(run(Command::new("mount").args(["-t", "tmpfs", "-o", options, "none"]).arg(folder)).code, 0);
        Self(folder.to_owned())
    }

    fn again(&self, options: &str) {
        assert_eq!(run(Command::new("mount").args(["-o", &format!("remount,{options}")]).arg(&self.0)).code, 0);
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn on_a_disk_that_is_full_or_read_only_the_old_file_stays_whole() {
    // The Engine sees a copy of its folder: it is told by a path of its own.
    let scene = Scene::new("node-1", OLD);
    let disk = Mount::over(&scene.folder(), "size=64k");
    fs::write(scene.config(), OLD).unwrap();
    fs::write(scene.folder().join("rest"), vec![b'x'; 40 << 10]).unwrap();
    let fill = |n: usize| fs::write(scene.folder().join("rest-2"), vec![b'x'; n]);
    while fill(64 << 10).is_ok() {}
    told(scene.apply(&scene.live()), FaultKind::Space, "No space left", "");
    assert_eq!(scene.text(), OLD);
    fs::remove_file(scene.folder().join("rest-2")).unwrap();
    disk.again("ro");
    told(scene.apply(&scene.live()), FaultKind::Lasting, "Read-only file system", "mount it for writing");
    assert_eq!(scene.text(), OLD);
    drop(disk);
    scene.ends_well(OLD);

    // The same on the way back: what castoff wrote stays, and is given back later.
    scene.apply(&scene.live()).unwrap();
    let written = scene.text();
    let disk = Mount::over(&scene.folder(), "size=64k");
    fs::write(scene.config(), &written).unwrap();
    disk.again("ro");
    told(scene.undo(&scene.live()), FaultKind::Lasting, "Read-only file system", "mount it for writing");
    assert_eq!(scene.text(), written);
    drop(disk);
    scene.goes_back(OLD);

    // Where the backup cannot be kept nothing is written.
    let full = Mount::over(scene.kept.path(), "size=4k,nr_inodes=3,mode=700");
    told(scene.apply(&scene.live()), FaultKind::Space, "No space left", "nothing is changed on a host before its file is kept");
    assert_eq!(scene.text(), OLD);
    drop(full);
    scene.ends_well(OLD);
}

#[test]
fn who_has_no_right_is_told_so_and_changes_nothing() {
    let scene = Scene::new("node-2", OLD);
    // A host by ssh as nobody, by a command in place of a login: the lab's sshd lets in root alone.
    let fake = scene.kept.path().join("bin");
    fs::create_dir(&fake).unwrap();
    let sudo = |words: &str| {
        let path = fake.join("sudo");
        fs::write(&path, format!("#!/bin/sh\n{words}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    };
    sudo("echo 'sudo: a password is required' >&2; exit 1");
    let (cluster, state) = (scene.kept.path().join("castoff.toml"), scene.kept.path().join("state"));
    let text = alone(scene.node).replace("host = \"ssh://root@node-2\"\n", "host = \"local\"\nsudo = true\n");
    fs::write(&cluster, text).unwrap();
    let path = format!("{}:{}", fake.display(), std::env::var("PATH").unwrap());
    let mirror = format!("mirror.url=\"{}\"", scene.lab.url(Part::Mirror));
    let castoff = |arguments: &[&str]| {
        let mut castoff = Command::new(env!("CARGO_BIN_EXE_castoff"));
        castoff.env("PATH", &path).args(arguments).args(["docker-mirror", "--set", &mirror]);
        run(castoff.arg("--cluster").arg(&cluster).arg("--state").arg(&state)).text
    };
    sudo("echo 'sudo: a password is required' >&2; exit 1");
    let said = castoff(&["plan"]);
    for words in ["CANNOT BE RUN", "a password is required", "NOPASSWD"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    // Whom sudo makes nobody.
    sudo("shift 2; exec setpriv --reuid=65534 --regid=65534 --clear-groups \"$@\"");
    let said = castoff(&["plan"]);
    let plan = said.split_once("plan ").expect("a plan").1.split(' ').next().unwrap();
    let said = castoff(&["run", "--headless", "--approve", &format!("mirror={plan}")]);
    assert!(said.contains("ermission denied"), "{said}");
    scene.is_as_before(OLD);
    scene.ends_well(OLD);
}

/// The lab's cluster file with one of its hosts.
fn alone(node: &str) -> String {
    let text = fs::read_to_string(LAB.cluster_file()).unwrap();
    let (head, rest) = text.split_once("[[hosts]]").unwrap();
    let (hosts, secrets) = rest.split_once("[secrets]").unwrap();
    let host = hosts.split("[[hosts]]").find(|host| host.contains(&format!("name = \"{node}\""))).expect("a host");
    format!("{head}[[hosts]]{host}[secrets]{secrets}")
}

/// The lab's sshd behind a proxy, and a cluster file that leads there.
async fn behind(scene: &Scene) -> (Arc<Proxy>, ClusterFile) {
    let config = fs::read_to_string(scene.lab.at("ssh", "config")).unwrap();
    let port: u16 = config.lines().find_map(|line| line.trim().strip_prefix("Port ")).unwrap().parse().unwrap();
    let proxy = Proxy::tcp(At::Tcp(port)).await;
    let known = scene.lab.at("ssh", "known_hosts");
    let own = scene.kept.path().join("known");
    let (here, there) = (format!("]:{port} "), format!("]:{} ", proxy.port()));
    fs::write(&own, fs::read_to_string(&known).unwrap().replace(&here, &there)).unwrap();
    let config = config
        .replace(&format!("Port {port}"), &format!("Port {}", proxy.port()))
        .replace(&known.display().to_string(), &own.display().to_string());
    fs::write(scene.kept.path().join("config"), config).unwrap();
    let mut file = scene.file.clone();
    file.ssh.config = Some(scene.kept.path().join("config"));
    (Arc::new(proxy), file)
}

#[test]
#[ignore = "soak"]
fn a_connection_that_is_cut_at_any_stage_is_a_passing_fault_and_the_rest_is_done_later() {
    let scene = Scene::new("node-2", OLD);
    for stage in ["writing", "reloading", "proving", "undo reloading"] {
        let back = stage.strip_prefix("undo ");
        if back.is_some() {
            scene.apply(&scene.live()).unwrap();
        }
        let (result, phases) = block(async {
            let (proxy, file) = behind(&scene).await;
            let live = scene.of(file);
            // It stands before its effect is asked for.
            live.standing(&scene.change).await.unwrap();
            let cut = Arc::clone(&proxy);
            let (wanted, handle) = (back.unwrap_or(stage), tokio::runtime::Handle::current());
            let strike = move |phase: &str| {
                if phase == wanted {
                    let cut = Arc::clone(&cut);
                    handle.spawn(async move { cut.order(Cut::Refuse, When::Now).await });
                }
            };
            let phases = Phases(Mutex::default(), Box::new(strike));
            let result = match back {
                Some(_) => live.undo(&scene.change, &phases).await,
                None => live.apply(&scene.change, &phases).await,
            };
            (result, phases.0.into_inner().unwrap())
        });
        let fault = result.expect_err(stage);
        assert_eq!(fault.kind, FaultKind::Passing, "{stage}: {fault:?} {phases:?}");
        assert!(serde_json::from_str::<serde_json::Value>(&scene.text()).is_ok(), "{stage}: {}", scene.text());
        // Half of the stages go on, the others go back from where they were left.
        match stage {
            "reloading" => scene.ends_well(OLD),
            _ => scene.goes_back(OLD),
        }
    }
}

#[test]
#[ignore = "soak"]
fn a_command_that_fails_or_does_nothing_is_told_by_its_words() {
    let scene = Scene::new("node-3", OLD);
    let words = |words: &[&str]| -> Vec<String> { words.iter().map(|word| (*word).to_owned()).collect() };
    let check = |reload: &[&str], kind: FaultKind, why: &str| {
        told(scene.apply(&scene.with(|docker| docker.reload = words(reload))), kind, why, "");
        // Written, and not taken up.
        assert_eq!(scene.standing(), Standing::Midway, "{reload:?}");
        scene.goes_back(OLD);
    };
    check(
        &["sh", "-c", "echo 'Unit docker.service not found.' >&2; exit 5"],
        FaultKind::Lasting,
        "Unit docker.service not found.",
    );
    check(&["no-such-program"], FaultKind::Missing, "not found");
    check(&["true"], FaultKind::Lasting, "it does not tell that it has read its file again");
}

#[test]
#[ignore = "soak"]
fn a_command_that_hangs_is_ended_and_the_rest_is_done_later() {
    let scene = Scene::new("node-2", OLD);
    let begun = Instant::now();
    let hangs = scene.with(|docker| docker.reload = ["sleep", "613"].map(str::to_owned).to_vec());
    told(scene.apply(&hangs), FaultKind::Passing, "it did not end within 15 s", "");
    assert!(begun.elapsed() < Duration::from_secs(50), "{:?}", begun.elapsed());
    scene.ends_well(OLD);
}

#[test]
#[ignore = "soak"]
fn a_log_that_says_nothing_or_too_much_proves_nothing() {
    let scene = Scene::new("node-1", OLD);
    let check = |log: &str, kind: FaultKind, why: &str| {
        let log = ["sh", "-c", log].map(str::to_owned).to_vec();
        told(scene.apply(&scene.with(|docker| docker.log = log)), kind, why, "");
        assert!(scene.standing() != Standing::Before);
        scene.goes_back(OLD);
    };
    check("true", FaultKind::Lasting, "its log names nobody who served");
    check("head -c 100000 /dev/urandom", FaultKind::Lasting, "its log names nobody who served");
    check("yes 'time=x level=info msg=nothing' | head -c 100000000", FaultKind::Lasting, "its log names nobody who served");
    check("echo 'no journal files were found' >&2; exit 1", FaultKind::Lasting, "no journal files were found");
}

#[test]
#[ignore = "soak"]
fn an_engine_that_dies_while_it_proves_leaves_what_the_next_attempt_mends() {
    let scene = Scene::new("node-3", OLD);
    let pid = fs::read_to_string(scene.lab.at(scene.node, "docker.pid")).unwrap();
    let strike = move |phase: &str| {
        if phase == "proving" {
            assert!(Command::new("kill").args(["-KILL", pid.trim()]).status().unwrap().success());
        }
    };
    let result = block(scene.live().apply(&scene.change, &Phases(Mutex::default(), Box::new(strike))));
    let fault = result.expect_err("it is dead");
    assert_eq!(fault.kind, FaultKind::Passing, "{fault:?}");
    let fault = block(scene.live().standing(&scene.change)).expect_err("it is dead");
    assert_eq!(fault.kind, FaultKind::Passing, "{fault:?}");
    scene.lab.daemon(scene.node, "start");
    scene.ends_well(OLD);
}

#[test]
fn what_somebody_put_in_place_of_the_file_is_drift_and_is_left_alone() {
    let scene = Scene::new("node-1", OLD);
    let config = scene.config();
    // Another text.
    fs::write(&config, "{}").unwrap();
    told(scene.apply(&scene.live()), FaultKind::Drift, "holds something else", "");
    assert_eq!(scene.text(), "{}");
    // A folder.
    fs::remove_file(&config).unwrap();
    fs::create_dir(&config).unwrap();
    told(scene.apply(&scene.live()), FaultKind::Lasting, "it is a folder", "");
    fs::remove_dir(&config).unwrap();
    // A link that leads nowhere, one to a device, and one to the same text, which is followed and stays a link.
    symlink("nowhere", &config).unwrap();
    told(scene.apply(&scene.live()), FaultKind::Lasting, "leads nowhere", "");
    fs::remove_file(&config).unwrap();
    symlink("/dev/zero", &config).unwrap();
    told(scene.apply(&scene.live()), FaultKind::Lasting, "no file, but a device", "");
    fs::remove_file(&config).unwrap();
    fs::write(scene.folder().join("real.json"), OLD).unwrap();
    symlink("real.json", &config).unwrap();
    scene.ends_well(OLD);
    assert!(config.is_symlink());
    fs::remove_file(&config).unwrap();
    // Gone.
    told(scene.apply(&scene.live()), FaultKind::Drift, "is not there any more", "");
    assert!(!config.exists());
    // On the way back: what was written since is not castoff's.
    fs::write(&config, OLD).unwrap();
    scene.apply(&scene.live()).unwrap();
    let ours = scene.text();
    let theirs = ours.replace("old=yes", "new=yes");
    fs::write(&config, &theirs).unwrap();
    told(scene.undo(&scene.live()), FaultKind::Drift, "holds something else", "");
    assert_eq!(scene.text(), theirs);
    fs::write(&config, ours).unwrap();
    scene.goes_back(OLD);
}

#[test]
fn a_file_with_secrets_comes_back_from_its_backup_or_not_at_all_and_a_secret_is_nowhere_else() {
    let secret = "hunter2-of-the-proxy";
    let old = format!("{{\n  \"labels\": [\"proxy=http://kim:{secret}@127.0.0.1:9\"]\n}}\n");
    let scene = Scene::new("node-1", &old);
    let plan = format!("{:?}{}", scene.change, serde_json::to_string(&scene.change).unwrap());
    assert!(!plan.contains(secret) && plan.contains("(hidden 1)"), "{plan}");
    scene.apply(&scene.live()).unwrap();
    assert!(scene.text().contains(secret), "its value is kept");
    // Damaged: told, and nothing is written.
    let backups = scene.kept.path().join("backups");
    let whole: Vec<(PathBuf, Vec<u8>)> = fs::read_dir(&backups)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_none())
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    let ours = scene.text();
    for (path, bytes) in &whole {
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
    }
    told(scene.undo(&scene.live()), FaultKind::Lasting, "it is damaged", "");
    assert_eq!(scene.text(), ours);
    // Lost, or on another machine: what is hidden is taken from the file that is there.
    fs::remove_dir_all(&backups).unwrap();
    scene.goes_back(&old);

    // The same through castoff itself, with all that it keeps and says.
    let kept = tempfile::tempdir().unwrap();
    let cluster = kept.path().join("castoff.toml");
    fs::write(&cluster, alone(scene.node)).unwrap();
    let state = kept.path().join("state");
    let mut all = String::new();
    let mut castoff = |arguments: &[&str], code: i32| {
        let mut castoff = Command::new(env!("CARGO_BIN_EXE_castoff"));
        let said = run(castoff.args(arguments).arg("--cluster").arg(&cluster).arg("--state").arg(&state));
        assert_eq!(said.code, code, "{arguments:?}: {}", said.text);
        all.push_str(&said.text);
        said.text
    };
    let mirror = format!("mirror.url=\"{}\"", scene.lab.url(Part::Mirror));
    let plan = castoff(&["plan", "docker-mirror", "--set", &mirror], 10);
    let plan = plan.split_once("plan ").unwrap().1.split(' ').next().unwrap().to_owned();
    castoff(&["run", "docker-mirror", "--set", &mirror, "--headless", "--approve", &format!("mirror={plan}")], 0);
    castoff(&["log"], 0);
    castoff(&["report"], 0);
    castoff(&["rollback", "--headless", "--approve", &format!("rollback={plan}")], 16);
    scene.is_as_before(&old);
    assert!(!all.contains(secret), "{all}");
    let found = run(Command::new("grep").args(["-rla", secret]).arg(&state)).text;
    assert!(!found.is_empty() && found.lines().all(|path| path.contains("/backups/")), "{found}");
}

#[test]
fn another_machine_gives_back_a_text_without_secrets() {
    let scene = Scene::new("node-3", OLD);
    scene.apply(&scene.live()).unwrap();
    let other = tempfile::tempdir().unwrap();
    let live = Live::new(scene.file.clone(), || 0).unwrap().keeps_backups_in(other.path().to_owned());
    scene.undo(&live).unwrap();
    scene.is_as_before(OLD);
}
