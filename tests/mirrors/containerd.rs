//! `containerd-mirror` on the real containerd of the mirrors' lab: planned, applied in waves, proven, found, given back byte for
//! byte; and what it makes of each trap that it can meet. Hosts: node-4 (local, reads no folder yet), node-5 (ssh, reads one).

use crate::mirrors::{Mirrors, Part, Said, run};
use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

const CASTOFF: &str = env!("CARGO_BIN_EXE_castoff");
const NODES: [&str; 2] = ["node-4", "node-5"];

/// The lab at its start, a state folder, and what of the lab castoff is told.
struct World {
    lab: Mirrors,
    kept: tempfile::TempDir,
    cluster: PathBuf,
    trusted: Option<PathBuf>,
}

impl World {
    /// Both hosts, as the lab writes them.
    fn start() -> Self {
        let (lab, kept) = (Mirrors::start(), tempfile::tempdir().unwrap());
        Self { cluster: lab.cluster_file(), lab, kept, trusted: None }
    }

    /// One host alone, reached as this machine: quick.
    fn with(node: &str) -> Self {
        let mut world = Self::start();
        let text = fs::read_to_string(&world.cluster).unwrap();
        let (head, rest) = text.split_once("\n[[hosts]]").unwrap();
        let (hosts, secrets) = rest.split_once("\n[secrets]").unwrap();
        let host = hosts.split("[[hosts]]").find(|host| host.contains(&format!("name = \"{node}\""))).unwrap();
        let host = host.replace(&format!("ssh://root@{node}"), "local");
        world.cluster = world.kept.path().join("castoff.toml");
        fs::write(&world.cluster, format!("{head}\n[[hosts]]{host}\n[secrets]{secrets}")).unwrap();
        world
    }

    /// Another line for a key of the one host.
    fn reword(&mut self, key: &str, line: &str) {
        let text = fs::read_to_string(&self.cluster).unwrap();
        let old = text.lines().find(|line| line.starts_with(&format!("{key} = "))).expect("the key").to_owned();
        fs::write(&self.cluster, text.replace(&old, line)).unwrap();
    }

    fn lab_name(&self) -> String {
        self.lab.state.file_name().expect("a name").to_string_lossy().into_owned()
    }

    fn castoff(&self, arguments: &[&str]) -> Command {
        let mut castoff = Command::new(CASTOFF);
        castoff.args(arguments).arg("--cluster").arg(&self.cluster).arg("--state").arg(self.state());
        castoff.envs(self.trusted.iter().map(|path| ("SSL_CERT_FILE", path)));
        castoff
    }

    fn state(&self) -> PathBuf {
        self.kept.path().join("state")
    }

    fn plan(&self, sets: &[&str]) -> Said {
        run(&mut self.castoff(&words("plan", sets)))
    }

    /// The command that runs just what was planned.
    fn runs(&self, plan: &str, sets: &[&str]) -> Command {
        let approve = format!("mirror={}", id(plan));
        self.castoff(&[&words("run", sets)[..], &["--headless", "--approve", &approve]].concat())
    }

    fn run(&self, plan: &str, sets: &[&str]) -> Said {
        run(&mut self.runs(plan, sets))
    }

    /// What it said.
    fn roll_back(&self, plan: &str) -> String {
        let said = run(&mut self.castoff(&["rollback", "--headless", "--approve", &format!("rollback={}", id(plan))]));
        assert!(said.code == 16 && said.text.contains("ROLLED BACK"), "{}", said.text);
        said.text
    }

    /// Every folder and file below what castoff may change: its bytes, its mode, its owner.
    fn tree(&self, node: &str) -> BTreeMap<String, String> {
        let words = "find config.toml certs.d -printf '%p %y %m %U:%G ' \\( -type f -exec sh -c 'sha256sum < \"$1\"' . {} \\; -o -printf '\\n' \\)";
        let said = run(Command::new("sh").args(["-c", words]).current_dir(self.lab.at(node, "")));
        said.text.lines().filter_map(|line| line.split_once(' ')).map(|(path, rest)| (path.to_owned(), rest.to_owned())).collect()
    }

    fn pid(&self, node: &str) -> String {
        fs::read_to_string(self.lab.state.join("run").join(node)).unwrap()
    }

    fn cri(&self, node: &str) -> String {
        let plugins = self.lab.ctr(node, &["plugins", "ls"]).done();
        let line = plugins.lines().find(|line| line.split_whitespace().nth(1) == Some("cri")).expect("a CRI plugin");
        line.split_whitespace().last().unwrap_or_default().to_owned()
    }

    /// What was left of the proofs.
    fn left_over(&self, node: &str) -> String {
        let spaces = self.lab.ctr(node, &["namespaces", "ls", "-q"]).done();
        let images = self.lab.ctr(node, &["-n", "k8s.io", "images", "ls", "-q"]).done();
        spaces.lines().filter(|name| *name != "k8s.io" && *name != "default").chain(images.lines()).collect()
    }

    fn hosts_toml(&self, node: &str, folder: &str) -> PathBuf {
        self.lab.at(node, "certs.d").join(folder).join("hosts.toml")
    }
}

fn words<'a>(verb: &'a str, sets: &[&'a str]) -> Vec<&'a str> {
    [verb, "containerd-mirror"].into_iter().chain(sets.iter().flat_map(|set| ["--set", set])).collect()
}

fn id(plan: &str) -> &str {
    let id = plan.split_once("  plan ").or_else(|| plan.split_once("plan ")).map(|(_, rest)| rest);
    id.and_then(|rest| rest.split_whitespace().next()).unwrap_or_else(|| panic!("no plan: {plan}"))
}

fn url(lab: &Mirrors, part: Part) -> String {
    format!("mirror.url={}", lab.url(part))
}

#[test]
fn a_mirror_is_planned_applied_in_waves_proven_found_and_given_back_byte_for_byte() {
    let world = World::start();
    let set = url(&world.lab, Part::Mirror);
    let before = NODES.map(|node| (world.tree(node), world.pid(node)));
    let plan = world.plan(&[&set]).text;
    for words in ["2 hosts to configure", "1 of 2 restarted", "share one path space"] {
        assert!(plan.contains(words), "{words}: {plan}");
    }
    let ran = world.run(&plan, &[&set]).done();
    let canary = ran.find("the canary: node-4").expect("a canary");
    let served = format!("was served by {}/; its CRI plugin pulls it as well", world.lab.url(Part::Mirror));
    assert!(ran.find("begins: node-5").is_some_and(|second| second > canary), "{ran}");
    // An entry of each, and the end page.
    assert_eq!(ran.matches(&served).count(), 3, "{ran}");
    assert!(world.lab.serves(Part::Mirror));
    assert_eq!(world.lab.counts(Part::Upstream), BTreeMap::new());
    // Only where it read no folder yet it was restarted.
    assert_ne!(world.pid("node-4"), before[0].1);
    assert_eq!(world.pid("node-5"), before[1].1);
    for node in NODES {
        assert_eq!((world.cri(node).as_str(), world.left_over(node).as_str()), ("ok", ""), "{node}");
        for registry in ["docker.io", "gcr.io", "quay.io", "registry.k8s.io", "platform9.io", world.lab.address(Part::Mirror)] {
            assert!(world.hosts_toml(node, registry).is_file(), "{registry} on {node}");
        }
    }
    let again = world.plan(&[&set]).text;
    assert!(again.contains("all of 2 changes are so already"), "{again}");
    let back = world.roll_back(&plan);
    for (node, (tree, pid)) in NODES.iter().zip(before) {
        assert_eq!(world.tree(node), tree, "{node}: {back}");
        assert_eq!((world.cri(node).as_str(), *node == "node-4"), ("ok", world.pid(node) != pid), "{node}");
    }
}

#[test]
fn path_authority_and_login_are_written_as_containerd_takes_them() {
    let mut world = World::with("node-5");
    let authority = PathBuf::from(world.lab.place("CASTOFF_MIRROR_TLS_CA"));
    let web = Web::start(&world.lab, &authority);
    let before = world.tree("node-5");
    let set = |part| url(&world.lab, part);
    let ca = |place: &str| format!("mirror.ca={place}");
    let cases: [(Part, Vec<String>, &str); 4] = [
        (Part::Mirror, vec![set(Part::Mirror), "mirror.path=infra/k8s".into()], "override_path = true"),
        (Part::Tls, vec![set(Part::Tls), ca(&authority.display().to_string())], "ca = "),
        (Part::Tls, vec![set(Part::Tls), ca(&web.url)], "/castoff-ca.pem"),
        (
            Part::Login,
            vec![set(Part::Login), "mirror.username=lab".into(), "mirror.password=mirror-login".into()],
            "Authorization = \"Basic ",
        ),
    ];
    world.trusted = Some(authority);
    for (part, sets, says) in cases {
        let sets: Vec<&str> = sets.iter().map(String::as_str).collect();
        world.lab.afresh();
        let plan = world.plan(&sets).text;
        let ran = world.run(&plan, &sets);
        assert_eq!(ran.code, 0, "{sets:?}: {plan}{}", ran.text);
        assert!(ran.text.contains("was served by") && ran.text.contains("its CRI plugin pulls it as well"), "{}", ran.text);
        assert!(world.lab.serves(part), "{sets:?}");
        assert_eq!(world.lab.counts(Part::Upstream), BTreeMap::new(), "{sets:?}");
        let file = world.hosts_toml("node-5", "docker.io");
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains(says), "{sets:?}: {text}");
        if part == Part::Login {
            let mode = run(Command::new("stat").args(["-c", "%a"]).arg(&file)).text;
            assert_eq!(mode.trim(), "600");
            assert!(plan.contains("(basic lab mirror-login)") && !plan.contains("marker-"), "{plan}");
            for shown in [&plan, &ran.text, &world.plan(&sets).text] {
                assert!(!shown.contains("marker-") && !shown.contains("Basic bGFi"), "{shown}");
            }
        }
        let again = world.plan(&sets).text;
        assert!(again.contains("Nothing to do"), "{sets:?}: {again}");
        world.roll_back(&plan);
        assert_eq!(world.tree("node-5"), before, "{sets:?}");
    }
    // In no plan, no journal and no backup, as text or as the header has it.
    let secret = world.lab.place("CASTOFF_MIRROR_LOGIN_PASSWORD");
    assert!(secret.contains("marker-"));
    for word in ["marker-", "Basic bGFi"] {
        let found = run(Command::new("grep").args(["-rlaF", word]).arg(world.state()));
        assert_eq!(found.text, "", "{word}");
    }
}

#[test]
fn another_password_is_a_change_and_the_same_is_found() {
    let world = World::with("node-5");
    let set = url(&world.lab, Part::Login);
    let sets = [set.as_str(), "mirror.username=lab", "mirror.password=mirror-login", "mirror.registries=[\"docker.io\"]"];
    let plan = world.plan(&sets).text;
    world.run(&plan, &sets).done();
    let written = world.tree("node-5");
    let again = world.plan(&sets).text;
    assert!(again.contains("whether its login is `lab` with the secret `mirror-login` cannot be seen here"), "{again}");
    world.run(&again, &sets).done();
    assert_eq!(world.tree("node-5"), written);
    // As it was before the password of the mirror was changed.
    let file = world.hosts_toml("node-5", "docker.io");
    let text = fs::read_to_string(&file).unwrap();
    let header = text.lines().find(|line| line.starts_with("Authorization")).expect("a header");
    fs::write(&file, text.replace(header, "Authorization = \"Basic bGFiOm9sZA==\"")).unwrap();
    let rotated = world.tree("node-5");
    let again = world.plan(&sets).text;
    let ran = world.run(&again, &sets).done();
    assert!(ran.contains("was served by"), "{ran}");
    assert_eq!(world.tree("node-5"), written);
    let back = world.roll_back(&again);
    assert_eq!(world.tree("node-5"), rotated, "{back}");
}

#[test]
fn what_the_mirror_does_not_serve_fails_and_names_who_did() {
    let world = World::with("node-5");
    let set = url(&world.lab, Part::Mirror);
    let before = world.tree("node-5");
    let blobs = r#"{"status": 503, "path": "/v2/library/busybox/blobs"}"#;
    let cases = [
        (None, blobs, "came from registry-1.docker.io:443, and not from the mirror: it answered with HTTP 503", true),
        (Some("mirror.only=true"), blobs, "could not be pulled", false),
        // A mirror that lies.
        (Some("mirror.only=true"), r#"{"corrupt": true, "path": "/v2/library/busybox/blobs"}"#, "could not be pulled", false),
    ];
    for (only, fault, says, upstream) in cases {
        world.lab.afresh();
        let sets: Vec<&str> = [set.as_str()].into_iter().chain(only).collect();
        let plan = world.plan(&sets).text;
        let mut runs = world.runs(&plan, &sets);
        world.lab.fault(Part::Mirror, fault);
        let ran = run(&mut runs);
        assert!(ran.code != 0 && ran.text.contains(says), "{sets:?}: {}", ran.text);
        assert_eq!(!world.lab.counts(Part::Upstream).is_empty(), upstream, "{sets:?}");
        assert_eq!(world.left_over("node-5"), "");
        let back = world.roll_back(&plan);
        assert_eq!(world.tree("node-5"), before, "{back}");
    }
    let plan = world.plan(&[&set, "mirror.only=true"]).text;
    assert!(plan.contains("is all that is asked: when it fails, no image comes"), "{plan}");
}

#[test]
fn what_stands_there_already_is_seen_through() {
    let world = World::with("node-5");
    let set = url(&world.lab, Part::Mirror);
    let certs = world.lab.at("node-5", "certs.d");
    let m = world.lab.url(Part::Mirror);
    let put = |folder: &str, text: &str| {
        fs::create_dir_all(certs.join(folder)).unwrap();
        fs::write(certs.join(folder).join("hosts.toml"), text).unwrap();
    };
    let clean = || {
        fs::remove_dir_all(&certs).unwrap();
        fs::create_dir(&certs).unwrap();
    };
    let only = "mirror.registries=[\"docker.io\"]";
    let sets = [set.as_str(), only];
    let right = format!("server = \"https://registry-1.docker.io\"\n[host.\"{m}\"]\ncapabilities = [\"pull\", \"resolve\"]\n");
    let underlined = world.lab.address(Part::Mirror).replace(':', "_") + "_";

    // Each as it is found, and what the plan says of it.
    let cases = [
        ("docker.io", right.replace("pull\",", "pull\""), "cannot decode the file and asks the registry itself"),
        ("docker.io", right.replace(", \"resolve\"", ""), "may not resolve: for every tag the registry itself is asked"),
        ("_default", right.clone(), "answers for what has no folder of its own"),
        ("registry-1.docker.io", right.clone(), "is not looked for: folders are named as images begin"),
        (underlined.as_str(), right.clone(), "is there and means something else: it is replaced"),
    ];
    for (folder, text, says) in cases {
        clean();
        put(folder, &text);
        let plan = world.plan(&sets).text;
        assert!(plan.contains(says), "{folder}: {plan}");
        let before = world.tree("node-5");
        let ran = world.run(&plan, &sets);
        assert!(ran.code == 0 && ran.text.contains("was served by"), "{folder}: {}", ran.text);
        if folder == underlined {
            // Where it is read, and not beside it.
            assert!(!certs.join(world.lab.address(Part::Mirror)).exists());
        }
        world.roll_back(&plan);
        assert_eq!(world.tree("node-5"), before, "{folder}");
    }

    // An empty folder is not ours: it stays. What means the same stays as somebody wrote it.
    clean();
    fs::create_dir(certs.join("docker.io")).unwrap();
    let plan = world.plan(&sets).text;
    world.run(&plan, &sets).done();
    world.roll_back(&plan);
    assert!(certs.join("docker.io").is_dir() && fs::read_dir(certs.join("docker.io")).unwrap().next().is_none());
    let own = format!("# mine\n\n[host.'{m}/v2/']\n  capabilities = ['resolve', 'pull']\n\n");
    let full = own.replace("# mine\n", "# mine\nserver = 'https://registry-1.docker.io/v2'\n");
    put("docker.io", &full);
    let plan = world.plan(&sets).text;
    world.run(&plan, &sets).done();
    assert_eq!(fs::read_to_string(world.hosts_toml("node-5", "docker.io")).unwrap(), full);
}

#[test]
fn what_would_end_every_pull_is_refused_before_anything_is_written() {
    let world = World::with("node-4");
    let set = url(&world.lab, Part::Mirror);
    let tls = url(&world.lab, Part::Tls);
    let config = world.lab.at("node-4", "config.toml");
    let start = fs::read_to_string(&config).unwrap();
    let registry = "[plugins.\"io.containerd.grpc.v1.cri\".registry";
    let mirrors = format!("{start}\n{registry}.mirrors.\"docker.io\"]\n  endpoint = [\"https://m.example\"]\n");
    let tables = format!("{start}\n{registry}.configs.\"m.example\".tls]\n  insecure_skip_verify = true\n");
    let before = world.tree("node-4");
    let check = |text: &str, sets: &[&str], says: &str| {
        fs::write(&config, text).unwrap();
        let plan = world.plan(sets);
        assert!(plan.code != 0 && plan.text.contains(says), "{says}: {}", plan.text);
    };
    check(&mirrors, &[&set], "`mirrors` are set for docker.io: together with `config_path` the CRI plugin refuses to start");
    check(&tables, &[&set], "`configs` set TLS for m.example");
    check(&start.replace("version = 2", "version = 1"), &[&set], "version 1");
    check(&start, &[&tls, "mirror.ca=/nowhere/ca.crt"], "`/nowhere/ca.crt`, the `ca` of `[mirror]`, is not there on `node-4`");
    let rubbish = format!("mirror.ca={}", config.display());
    check(&start, &[&tls, &rubbish], "holds no certificate");
    check(&start, &[&tls, "mirror.ca=http://m.example/ca.crt"], "is neither a path from the root on the hosts nor `https://…`");
    check(&start, &[&set, "mirror.image=quay.io/a/b:1", "mirror.registries=[\"docker.io\"]"], "proves nothing");
    assert_eq!(world.tree("node-4"), before);
}

#[test]
fn a_crash_in_the_middle_is_resumed_and_given_back() {
    let world = World::with("node-4");
    let set = url(&world.lab, Part::Mirror);
    let before = world.tree("node-4");
    // After the first file; and after the last, while it is about to restart.
    for seen in [world.hosts_toml("node-4", "docker.io"), world.lab.at("node-4", "config.toml")] {
        let start = fs::read(&seen).unwrap_or_default();
        let plan = world.plan(&[&set]).text;
        let mut castoff = world.runs(&plan, &[&set]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let end = Instant::now() + Duration::from_secs(30);
        while fs::read(&seen).unwrap_or_default() == start {
            assert!(Instant::now() < end, "{} is never written", seen.display());
            std::thread::sleep(Duration::from_millis(1));
        }
        castoff.kill().unwrap();
        castoff.wait().unwrap();
        // The restart may be under way, as if the machine had gone on.
        std::thread::sleep(Duration::from_millis(300));
        let resumed = run(&mut world.castoff(&["resume", "--headless"]));
        assert!(resumed.code == 0 && resumed.text.contains("was served by"), "{}", resumed.text);
        assert_eq!((world.cri("node-4").as_str(), world.left_over("node-4").as_str()), ("ok", ""));
        let back = world.roll_back(&plan);
        assert_eq!(world.tree("node-4"), before, "{back}");
    }
}

#[test]
fn a_containerd_that_a_restart_brought_down_gets_its_files_back() {
    let mut world = World::with("node-4");
    let set = url(&world.lab, Part::Mirror);
    let before = world.tree("node-4");
    let fell = world.kept.path().join("fell");
    // The first restart leaves it down.
    let daemon = |verb: &str| format!("{}/lab/daemon --name {} node-4 {verb}", env!("CARGO_MANIFEST_DIR"), world.lab_name());
    let restart = format!(
        "if [ -e {fell} ]; then {}; else touch {fell}; {}; exit 1; fi",
        daemon("restart"),
        daemon("stop"),
        fell = fell.display()
    );
    world.reword("restart", &format!("restart = [\"sh\", \"-c\", \"{restart}\"]"));
    // Without it `ctr` waits ten seconds for one that is down.
    let ctr = world.lab.at("node-4", "ctr");
    world.reword("ctr", &format!("ctr = [\"{}\", \"--connect-timeout\", \"1s\"]", ctr.display()));
    let plan = world.plan(&[&set]).text;
    let ran = world.run(&plan, &[&set]);
    assert!(ran.code != 0 && ran.text.contains("cannot restart containerd on `node-4`"), "{}", ran.text);
    let back = world.roll_back(&plan);
    assert_eq!(world.tree("node-4"), before, "{back}");
    assert_eq!(world.cri("node-4"), "ok");
}

#[test]
fn where_nobody_says_what_the_process_uses_the_way_back_restarts_it() {
    let mut world = World::with("node-4");
    let set = url(&world.lab, Part::Mirror);
    let before = world.tree("node-4");
    // A socket that castoff may not open, as with `sudo`: made anew with each start.
    let socket = world.kept.path().join("socket");
    fs::write(&socket, "").unwrap();
    let ctr = world.kept.path().join("ctr");
    fs::write(&ctr, format!("#!/bin/sh\nshift 2\nexec {} \"$@\"\n", world.lab.at("node-4", "ctr").display())).unwrap();
    let daemon = format!("{}/lab/daemon --name {} node-4 restart", env!("CARGO_MANIFEST_DIR"), world.lab_name());
    world.reword("restart", &format!("restart = [\"sh\", \"-c\", \"{daemon} && touch {}\"]", socket.display()));
    world.reword("socket", &format!("socket = \"{}\"", socket.display()));
    world.reword("ctr", &format!("ctr = [\"sh\", \"{}\"]", ctr.display()));
    let plan = world.plan(&[&set]).text;
    let ran = world.run(&plan, &[&set]).done();
    assert!(ran.contains("; its CRI plugin could not be asked to pull it"), "{ran}");
    let pid = world.pid("node-4");
    let back = world.roll_back(&plan);
    assert_eq!(world.tree("node-4"), before, "{back}");
    assert_ne!(world.pid("node-4"), pid);
    let used = |plan: &str| plan.contains("was not restarted since");
    assert!(!used(&plan) && !used(&world.plan(&[&set]).text));
}

#[test]
fn a_configuration_that_was_never_taken_up_is_taken_up_and_stays() {
    let world = World::with("node-4");
    let set = url(&world.lab, Part::Mirror);
    let config = world.lab.at("node-4", "config.toml");
    let certs = world.lab.at("node-4", "certs.d");
    // With a `/` at its end, which makes no other folder.
    let registry = format!("\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = \"{}/\"\n", certs.display());
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text + &registry).unwrap();
    let (before, pid) = (world.tree("node-4"), world.pid("node-4"));
    let plan = world.plan(&[&set]).text;
    assert!(plan.contains("was not restarted since") && plan.contains("each is restarted"), "{plan}");
    let ran = world.run(&plan, &[&set]).done();
    assert!(ran.contains("its CRI plugin pulls it as well"), "{ran}");
    let restarted = world.pid("node-4");
    assert_ne!(restarted, pid);
    let again = world.plan(&[&set]).text;
    assert!(again.contains("Nothing to do") && !again.contains("was not restarted since"), "{again}");
    let back = world.roll_back(&plan);
    assert_eq!((world.tree("node-4"), world.pid("node-4")), (before, restarted), "{back}");

    // An image of that name that the host has already is not moved.
    let image = "docker.io/library/busybox:1";
    let plan = world.plan(&[&set]).text;
    let mut runs = world.runs(&plan, &[&set]);
    let fetched = ["-n", "k8s.io", "images", "pull", "--plain-http"];
    let own = format!("{}/library/busybox:1", world.lab.address(Part::Mirror));
    world.lab.ctr("node-4", &[&fetched[..], &[&own]].concat()).done();
    world.lab.ctr("node-4", &["-n", "k8s.io", "images", "tag", &own, image]).done();
    let ran = run(&mut runs).done();
    assert!(ran.contains("; its CRI plugin was not asked to pull it: the host has an image of that name"), "{ran}");
    let names = world.lab.ctr("node-4", &["-n", "k8s.io", "images", "ls", "-q"]).done();
    assert!(names.lines().any(|name| name == image), "{names}");
    world.roll_back(&plan);
}

#[test]
fn an_import_that_takes_the_folder_away_is_seen_before_the_restart() {
    let world = World::with("node-4");
    let set = url(&world.lab, Part::Mirror);
    let config = world.lab.at("node-4", "config.toml");
    let import = world.kept.path().join("own.toml");
    // A section of an import replaces the whole one.
    fs::write(&import, "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\"]\nsandbox_image = \"pause:1\"\n").unwrap();
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("version = 2", &format!("version = 2\nimports = [\"{}\"]", import.display()))).unwrap();
    world.lab.daemon("node-4", "restart");
    let (before, pid) = (world.tree("node-4"), world.pid("node-4"));
    let plan = world.plan(&[&set]).text;
    assert!(plan.contains("each of which may set `config_path` too"), "{plan}");
    let ran = world.run(&plan, &[&set]);
    assert!(ran.code != 0 && ran.text.contains("nothing was restarted"), "{}", ran.text);
    assert_eq!((world.tree("node-4"), world.pid("node-4")), (before, pid));
}

/// A web server by TLS that gives one file, ended with it.
struct Web {
    child: Child,
    url: String,
}

impl Web {
    fn start(lab: &Mirrors, file: &Path) -> Self {
        let script = "import http.server, ssl, sys
text = open(sys.argv[1], 'rb').read()
class Web(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.send_header('Content-Length', str(len(text))); self.end_headers(); self.wfile.write(text)
    def log_message(self, *_): pass
server = http.server.HTTPServer(('127.0.0.1', 0), Web)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER); context.load_cert_chain(sys.argv[2], sys.argv[3])
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_address[1], flush=True)
server.serve_forever()";
        let pki = lab.state.join("pki");
        let mut python = Command::new("python3");
        python.args(["-c", script]).arg(file).arg(pki.join("mirror.pem")).arg(pki.join("mirror.key"));
        let mut child = python.stdout(Stdio::piped()).spawn().expect("python3 starts");
        let mut port = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut port).unwrap();
        Self { child, url: format!("https://127.0.0.1:{}/ca.pem", port.trim()) }
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
