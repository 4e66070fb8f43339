//! The lab for mirrors (`lab/up --for mirrors`): its hosts, its daemons, and what reached its mirrors and its stand-in for
//! Docker Hub. It never starts the lab: `make test` does, and names it in `CASTOFF_LAB_MIRRORS`.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::{Duration, Instant},
};

/// Where requests are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Docker Hub, quay.io, gcr.io, registry.k8s.io and platform9.io.
    Upstream,
    Mirror,
    /// With a certificate that no daemon trusts of itself.
    Tls,
    /// Demands a login (Basic).
    Login,
}

/// What a program said.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    /// Standard output and standard error.
    pub text: String,
}

/// The lab at its start state, for this test alone: others wait until it is dropped.
pub struct Mirrors {
    pub state: PathBuf,
    name: String,
    places: BTreeMap<String, String>,
    _lock: File,
}

impl Mirrors {
    pub fn start() -> Self {
        let value = std::env::var("CASTOFF_LAB_MIRRORS").unwrap_or_default();
        assert!(!value.is_empty(), "CASTOFF_LAB_MIRRORS names no lab: run `make test`, which starts one");
        let state = PathBuf::from(value);
        let lock = File::create(state.join("run/test.lock")).expect("the lab's folder is there");
        lock.lock().expect("a lock");
        let env = fs::read_to_string(state.join("env")).expect("a lab has its places");
        let pairs = env.lines().filter_map(|line| line.strip_prefix("export ")?.split_once('='));
        let places = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let name = state.file_name().expect("a lab's folder has a name").to_string_lossy().into_owned();
        let lab = Self { state, name, places, _lock: lock };
        lab.script("reset", &[]);
        lab
    }

    pub fn cluster_file(&self) -> PathBuf {
        self.state.join("castoff.toml")
    }

    /// castoff on this lab; runs are kept in `kept`.
    pub fn castoff(&self, kept: &Path, arguments: &[&str]) -> Said {
        let mut castoff = Command::new(env!("CARGO_BIN_EXE_castoff"));
        run(castoff.args(arguments).arg("--cluster").arg(self.cluster_file()).arg("--state").arg(kept))
    }

    /// A variable of the lab's `env`.
    pub fn place(&self, name: &str) -> &str {
        self.places.get(name).unwrap_or_else(|| panic!("no {name} in the lab's env"))
    }

    pub fn url(&self, part: Part) -> &str {
        self.place(match part {
            Part::Upstream => "CASTOFF_UPSTREAM_URL",
            Part::Mirror => "CASTOFF_MIRROR_URL",
            Part::Tls => "CASTOFF_MIRROR_TLS_URL",
            Part::Login => "CASTOFF_MIRROR_LOGIN_URL",
        })
    }

    /// `127.0.0.1:29505`
    pub fn address(&self, part: Part) -> &str {
        self.url(part).split_once("://").expect("an address").1
    }

    /// A file or folder of a host.
    pub fn at(&self, node: &str, path: &str) -> PathBuf {
        self.state.join(node).join(path)
    }

    /// `lab/daemon NODE VERB`
    pub fn daemon(&self, node: &str, verb: &str) {
        self.script("daemon", &[node, verb]);
    }

    fn script(&self, script: &str, arguments: &[&str]) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("lab").join(script);
        let said = run(Command::new(path).args(["--name", &self.name]).args(arguments));
        assert_eq!(said.code, 0, "lab/{script} {arguments:?}: {}", said.text);
    }

    /// Whether it gave blobs of an image.
    pub fn serves(&self, part: Part) -> bool {
        self.served(part).keys().any(|line| line.starts_with("GET ") && line.contains("/blobs/"))
    }

    /// Each request's line (`GET /v2/library/busybox/manifests/1`) to how often it came, over all host names.
    pub fn counts(&self, part: Part) -> BTreeMap<String, u64> {
        self.lines(part, "/count")
    }

    /// The same, of those that were answered with 2xx.
    pub fn served(&self, part: Part) -> BTreeMap<String, u64> {
        self.lines(part, "/served")
    }

    fn lines(&self, part: Part, list: &str) -> BTreeMap<String, u64> {
        let hosts: BTreeMap<String, BTreeMap<String, u64>> =
            serde_json::from_str(&self.ask(part, "GET", list, "")).expect("JSON");
        let mut all = BTreeMap::new();
        for (line, times) in hosts.into_values().flatten() {
            *all.entry(line).or_insert(0) += times;
        }
        all
    }

    /// Every request in order: `host`, `method`, `path`, `query`, `authorization`.
    pub fn requests(&self, part: Part) -> Vec<serde_json::Value> {
        serde_json::from_str(&self.ask(part, "GET", "/requests", "")).expect("JSON")
    }

    /// All counts from nought, and no fault anywhere.
    pub fn afresh(&self) {
        for part in [Part::Upstream, Part::Mirror, Part::Tls, Part::Login] {
            self.ask(part, "DELETE", "", "");
        }
    }

    /// How it answers from now on, in the words of `lab/counted.py`.
    pub fn fault(&self, part: Part, fault: &str) {
        self.ask(part, "PUT", "/fault", fault);
    }

    fn ask(&self, part: Part, method: &str, what: &str, body: &str) -> String {
        let said = if part == Part::Tls {
            let url = format!("{}/_lab{what}", self.url(part));
            run(Command::new("curl").args(["-sSk", "--noproxy", "*", "--max-time", "10", "-X", method, "-d", body]).arg(url))
                .done()
        } else {
            let mut stream = TcpStream::connect(self.address(part)).unwrap_or_else(|error| panic!("{part:?}: {error}"));
            let length = body.len();
            let head =
                format!("{method} /_lab{what} HTTP/1.1\r\nHost: lab\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
            let mut answer = String::new();
            stream.write_all((head + body).as_bytes()).and_then(|()| stream.read_to_string(&mut answer)).expect("an answer");
            answer.split_once("\r\n\r\n").expect("an answer").1.to_owned()
        };
        assert!(said.starts_with(['{', '[']), "{part:?} {method} {what}: {said}");
        said
    }

    /// The docker client on the Engine of a host, with no login of its own.
    pub fn docker(&self, node: &str, arguments: &[&str]) -> Said {
        self.docker_as(node, &self.state.join("docker-config"), arguments)
    }

    /// The same, with the logins of a folder.
    pub fn docker_as(&self, node: &str, config: &Path, arguments: &[&str]) -> Said {
        let socket = format!("unix://{}", self.at(node, "docker.sock").display());
        run(Command::new("docker")
            .env("DOCKER_CONFIG", config)
            .env_remove("DOCKER_CONTEXT")
            .args(["-H", &socket])
            .args(arguments))
    }

    /// `/info` of the Engine of a host.
    pub fn info(&self, node: &str) -> serde_json::Value {
        serde_json::from_str(&self.docker(node, &["info", "--format", "{{json .}}"]).done()).expect("JSON")
    }

    /// `RegistryConfig.Mirrors` of the Engine of a host.
    pub fn mirrors_of(&self, node: &str) -> Vec<String> {
        serde_json::from_value(self.info(node)["RegistryConfig"]["Mirrors"].clone()).expect("a list")
    }

    pub fn ctr(&self, node: &str, arguments: &[&str]) -> Said {
        run(Command::new(self.at(node, "ctr")).args(arguments))
    }

    pub fn podman(&self, arguments: &[&str]) -> Said {
        run(Command::new(self.at("node-6", "podman")).args(arguments))
    }

    /// What the daemon of a host has logged so far.
    pub fn log(&self, node: &str) -> String {
        fs::read_to_string(self.state.join("log").join(format!("{node}.log"))).unwrap_or_default()
    }

    /// Reloads the Engine of a host; what it then logs of it.
    pub fn reload(&self, node: &str) -> String {
        let before = self.log(node).len();
        self.daemon(node, "reload");
        let end = Instant::now() + Duration::from_mins(1);
        loop {
            let log = self.log(node).split_off(before);
            if ["Reloaded configuration", "Error reconfiguring", "unable to configure"].iter().any(|word| log.contains(word)) {
                return log;
            }
            assert!(Instant::now() < end, "{node} says nothing of the reload: {log}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Said {
    /// What it said, if it ended well.
    pub fn done(self) -> String {
        assert_eq!(self.code, 0, "{}", self.text);
        self.text
    }
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> Said {
    let output: Output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = [output.stdout, output.stderr].concat();
    Said { code: output.status.code().unwrap_or(-1), text: String::from_utf8_lossy(&text).into_owned() }
}
