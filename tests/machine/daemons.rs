//! A real dockerd and a real containerd, read as they run: among others on the same machine.

use crate::{
    places::{Places, run},
    servers::{Server, find},
};
use castoff::{
    cluster::{
        config::{ContainerdConfig, DockerConfig, PodmanConfig},
        docker::DockerEngine,
        host::{containerd, docker, docker_validate::validate, podman},
        ssh::{Place, Sessions},
    },
    model::{Cri, FaultKind, TakenUp},
};
use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

fn containerd(folder: &Path, config_path: &str) -> Vec<String> {
    let at = |name: &str| folder.join(name).display().to_string();
    let config = format!(
        "version = 2\nroot = \"{}\"\nstate = \"{}\"\n[grpc]\naddress = \"{}\"\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = \"{config_path}\"\n",
        at("root"),
        at("state"),
        at("containerd.sock")
    );
    fs::write(at("config.toml"), config).unwrap();
    vec!["--config".to_owned(), at("config.toml")]
}

/// It listens on a socket and on no port, so its port is held open for it.
fn start(
    name: &str,
    package: &str,
    socket: &str,
    arguments: impl FnOnce(&Path) -> Vec<String>,
) -> (Server, std::net::TcpListener) {
    let mut held = None;
    let server = Server::start(name, package, |folder, port| {
        held = Some(std::net::TcpListener::bind(("127.0.0.1", port)).unwrap());
        arguments(folder)
    });
    server.until(|| std::os::unix::net::UnixStream::connect(server.folder.path().join(socket)).is_ok());
    (server, held.unwrap())
}

#[test]
fn containerd_tells_what_it_has_taken_up() {
    find("ctr", "containerd");
    let (server, _port) = start("containerd", "containerd", "containerd.sock", |folder| containerd(folder, "/srv/certs.d"));
    let at = |name: &str| server.folder.path().join(name).display().to_string();
    let config = ContainerdConfig { socket: at("containerd.sock"), config: at("config.toml"), ..ContainerdConfig::default() };
    let places = Places::open(&["plain"]);
    run(async {
        for place in ["local", "plain"] {
            let found = containerd::read(&places.at(place), &config).await.unwrap();
            assert!(found.version.starts_with(|c: char| c.is_ascii_digit()), "{found:?}");
            assert_eq!(
                (found.config_path.as_str(), found.format, found.config.as_str()),
                ("/srv/certs.d", 2, config.config.as_str())
            );
            assert_eq!((found.mirrors.len(), found.tls.len(), found.imports.len()), (0, 0, 0), "{found:?}");
            assert!(matches!(found.cri, Cri::Ok | Cri::Failed(_)), "{found:?}");
        }
        // Changed since it was started: the process itself tells what it goes on with.
        let text = fs::read_to_string(&config.config).unwrap().replace("/srv/certs.d", "/srv/later.d");
        fs::write(&config.config, text).unwrap();
        let found = containerd::read(&places.at("local"), &config).await.unwrap();
        let told = (found.config_path.as_str(), found.taken_up);
        assert_eq!(told, ("/srv/later.d", TakenUp::Uses("/srv/certs.d".to_owned())));
        let none = ContainerdConfig { ctr: vec!["castoff-no-ctr".to_owned()], ..config.clone() };
        for place in ["local", "plain"] {
            assert_eq!(containerd::read(&places.at(place), &none).await.unwrap_err().kind, FaultKind::Missing);
        }
    });
}

/// Whether a dockerd was begun with that word in its command line.
fn is_running(word: &str) -> bool {
    let processes = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    let is = |path: &Path| fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm == "dockerd\n");
    let mut of = processes.filter(|path| is(path)).filter_map(|path| fs::read_to_string(path.join("cmdline")).ok());
    of.any(|words| words.contains(word))
}

#[test]
fn a_docker_daemon_is_found_by_its_socket() {
    let (server, _port) = start("dockerd", "docker.io", "docker.sock", |folder| {
        let at = |name: &str| folder.join(name).display().to_string();
        fs::write(at("own.json"), "{\"registry-mirrors\": [\"https://m.example\"], \"live-restore\": true}").unwrap();
        let own = [
            ("--config-file", at("own.json")),
            ("--data-root", at("data")),
            ("--exec-root", at("exec")),
            ("--pidfile", at("pid")),
        ];
        let own = own.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]);
        let rest =
            ["--storage-driver=vfs", "--bridge=none", "--iptables=false", "--ip6tables=false", "--insecure-registry=10.9.0.0/16"];
        own.chain(rest.map(str::to_owned)).chain(["-H".to_owned(), format!("unix://{}", at("docker.sock"))]).collect()
    });
    let at = |name: &str| server.folder.path().join(name).display().to_string();
    let config = DockerConfig { socket: at("docker.sock"), ..DockerConfig::default() };
    let places = Places::open(&[]);
    run(async {
        let sessions = Sessions::new(&castoff::cluster::config::Ssh::default(), vec![]);
        let engine = DockerEngine::at("node", &Place::Local, &config.socket, &sessions).unwrap();
        let found = docker::read(&places.at("local"), &engine, &config).await.unwrap();
        assert_eq!((found.config, found.mirrors), (at("own.json"), vec!["https://m.example/".to_owned()]));
        assert_eq!((found.insecure, found.live_restore, found.rootless), (vec!["10.9.0.0/16".to_owned()], true, false));
        assert_eq!((&found.flags[0], found.running.len()), (&"--config-file".to_owned(), 0));
        // One of a container, in processes of its own, is not the host's.
        let inner = tempfile::tempdir().unwrap();
        let place = |name: &str| inner.path().join(name).display().to_string();
        // By another process: what this one has open for writing, a child of another test may hold for a moment.
        assert!(Command::new("cp").args(["/bin/sh", &place("dockerd")]).status().unwrap().success());
        let flags = ["--config-file=/srv/inner.json".to_owned(), format!("--host=unix://{}", place("inner.sock"))];
        let mut container = Command::new("unshare");
        container.args(["--pid", "--fork", "--kill-child", &place("dockerd"), "-c", "read held", "dockerd"]).args(flags);
        let mut container = container.stdin(Stdio::piped()).spawn().unwrap();
        let begun = Instant::now();
        while !is_running(&place("inner.sock")) {
            assert!(begun.elapsed() < Duration::from_mins(1), "it does not start");
            std::thread::sleep(Duration::from_millis(10));
        }
        let other = DockerConfig { socket: place("inner.sock"), ..DockerConfig::default() };
        let beside = docker::read(&places.at("local"), &engine, &other).await.unwrap();
        assert_eq!((beside.config.as_str(), beside.flags.len()), ("/etc/docker/daemon.json", 0));
        drop(container.stdin.take());
        container.wait().unwrap();
        let absent = docker::absent(&places.at("local"), &at("none/deep/daemon.json")).await.unwrap();
        assert_eq!(absent, [at("none"), at("none/deep")]);
        assert_eq!(docker::absent(&places.at("local"), &at("daemon.json")).await, Ok(vec![]));
    });
}

#[test]
fn a_new_text_is_validated_together_with_the_flags_of_the_daemon() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    // In its place: the one of Debian cannot validate yet, which is told apart below.
    let told = at("told");
    let script = format!(
        "printf '%s|' \"$@\" > {told}; for word; do case $word in --config-file=*) cat \"${{word#*=}}\" >> {told};; esac; done; echo no such key >&2; exit 1"
    );
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let stand_in = DockerConfig { dockerd: words(&["sh", "-c", &script, "dockerd"]), ..DockerConfig::default() };
    let flags = words(&["--config-file", "/etc/docker/daemon.json", "-H", "fd://", "--config-file=/x", "--label", "a b"]);
    let places = Places::open(&["plain"]);
    run(async {
        for place in ["local", "plain"] {
            let refused = validate(&places.at(place), &stand_in, &flags, "{\"a\": \"it's\"}").await.unwrap();
            assert_eq!(refused.as_deref(), Some("no such key"), "{place}");
            let heard = fs::read_to_string(&told).unwrap();
            assert_eq!(heard, "--validate|--config-file=/dev/stdin|-H|fd://|--label|a b|{\"a\": \"it's\"}", "{place}");
        }
        assert_eq!(validate(&places.at("local"), &DockerConfig::default(), &[], "{]").await.unwrap(), None);
    });
}

#[test]
fn podman_is_known_by_its_version_and_its_drop_ins() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["b.conf", "a.conf", "c.conf.old"] {
        fs::write(folder.path().join(name), "").unwrap();
    }
    // Words in its place: podman itself is held against castoff in the lab.
    let podman = ["sh", "-c", "echo podman version 4.3.1", "podman"].map(str::to_owned).to_vec();
    let config = PodmanConfig { podman, folder: folder.path().display().to_string(), ..PodmanConfig::default() };
    let places = Places::open(&[]);
    let found = run(podman::read(&places.at("local"), &config, &[].into())).unwrap();
    assert_eq!((found.version.as_str(), found.drop_ins), ("4.3.1", vec!["a.conf".to_owned(), "b.conf".to_owned()]));
}
