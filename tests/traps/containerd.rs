//! containerd: `hosts.toml` and the folders it is looked for in, and the CRI plugin's `config_path`.

use crate::mirrors::{Mirrors, Part, run};
use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

const NODE: &str = "node-4";
const IMAGE: &str = "docker.io/library/busybox:1";

/// One pull by `ctr`: whether it succeeded, what it said, and who was asked for the tag and who gave the layers.
#[derive(Debug)]
struct Pull {
    ok: bool,
    said: String,
    resolved_by: Vec<Part>,
    served_by: Vec<Part>,
}

/// Pulls with this folder of hosts, after every earlier image and count is gone.
fn pull(lab: &Mirrors, hosts: &Path, image: &str) -> Pull {
    lab.ctr(NODE, &["images", "rm", "--sync", image]);
    let folder = hosts.display().to_string();
    let said = lab.ctr(NODE, &["--debug", "images", "pull", "--hosts-dir", &folder, image]);
    let mut pull = Pull { ok: said.code == 0, said: said.text, resolved_by: Vec::new(), served_by: Vec::new() };
    for part in [Part::Mirror, Part::Tls, Part::Upstream] {
        let served = lab.served(part);
        let any = |method: &str, path: &str| served.keys().any(|line| line.starts_with(method) && line.contains(path));
        pull.resolved_by.extend(any("HEAD", "/manifests/").then_some(part));
        pull.served_by.extend(any("GET", "/blobs/").then_some(part));
    }
    pull
}

/// Pulls an image of which the mirror gives each of these answers with a byte too many, then once more without the mirror.
fn lied(lab: &Mirrors, name: &str, image: &str, what: &str) -> (Pull, Pull) {
    lab.afresh();
    lab.fault(Part::Mirror, &format!(r#"{{"corrupt": true, "path": "/v2/library/{name}/{what}"}}"#));
    let folder = hosts(&format!("[host.\"{}\"]\n  capabilities = [\"pull\", \"resolve\"]\n", lab.url(Part::Mirror)));
    let image = format!("docker.io/library/{image}");
    let first = pull(lab, folder.path(), &image);
    lab.afresh();
    (first, pull(lab, hosts("").path(), &image))
}

/// A folder with one `hosts.toml`, of docker.io.
fn hosts(text: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("docker.io")).unwrap();
    fs::write(folder.path().join("docker.io/hosts.toml"), text).unwrap();
    folder
}

#[test]
fn a_mistake_in_hosts_toml_goes_silently_to_the_upstream() {
    use Part::{Mirror, Upstream};
    let lab = Mirrors::start();
    let m = lab.url(Mirror);
    let decode = "failed to decode hosts.toml";
    let right = format!("[host.\"{m}\"]\n  capabilities = [\"pull\", \"resolve\"]\n");
    let other = right.replace(m, lab.place("CASTOFF_MIRROR_GONE_URL"));
    let cases: [(&str, String, Part, Part, &str); 13] = [
        ("as it should be", right.clone(), Mirror, Mirror, "resolving host="),
        ("without capabilities, which are then all", format!("[host.\"{m}\"]\n"), Mirror, Mirror, ""),
        ("syntax", right.replace("pull\",", "pull\""), Upstream, Upstream, decode),
        ("a table twice", format!("{right}{right}"), Upstream, Upstream, decode),
        ("unknown capability", right.replace("resolve", "resolves"), Upstream, Upstream, decode),
        ("server alone", format!("server = \"{m}\"\n"), Upstream, Upstream, "invalid `host` tree"),
        ("server and a host", format!("server = \"{m}\"\n{right}"), Mirror, Mirror, ""),
        ("dotted keys, which 1.6 takes", format!("host.\"{m}\".capabilities = [\"pull\", \"resolve\"]\n"), Mirror, Mirror, ""),
        ("a table misspelt", right.replace("[host.", "[hosts."), Upstream, Upstream, ""),
        ("an unknown key", format!("{right}  overide_path = true\n"), Mirror, Mirror, ""),
        ("empty", String::new(), Upstream, Upstream, ""),
        ("pull without resolve", right.replace(", \"resolve\"", ""), Upstream, Mirror, ""),
        ("the first one is gone", format!("{other}{right}"), Mirror, Mirror, ""),
    ];
    for (case, text, resolved, served, says) in cases {
        lab.afresh();
        let folder = hosts(&text);
        let pull = pull(&lab, folder.path(), IMAGE);
        assert!(pull.ok, "{case}: {pull:?}");
        assert_eq!((&pull.resolved_by[..], &pull.served_by[..]), (&[resolved][..], &[served][..]), "{case}: {pull:?}");
        assert!(pull.said.contains(says), "{case}: {pull:?}");
    }
}

#[test]
fn a_path_without_override_path_gets_v2_behind_it() {
    let lab = Mirrors::start();
    let m = lab.url(Part::Mirror);
    let repository = "/library/busybox/manifests/1";
    let cases = [
        ("/infra/k8s", "", "/infra/k8s/v2", false),
        ("/v2/infra/k8s", "", "/v2/infra/k8s/v2", false),
        ("/v2/infra/k8s", "  override_path = true\n", "/v2/infra/k8s", true),
        ("/v2/infra/k8s/", "  override_path = true\n", "/v2/infra/k8s", true),
        ("/", "", "/v2", true),
        ("/v2", "", "/v2", true),
    ];
    for (path, more, asked, serves) in cases {
        lab.afresh();
        let folder = hosts(&format!("[host.\"{m}{path}\"]\n  capabilities = [\"pull\", \"resolve\"]\n{more}"));
        let pull = pull(&lab, folder.path(), IMAGE);
        assert!(pull.ok, "{pull:?}");
        let lines = lab.counts(Part::Mirror);
        assert!(lines.contains_key(&format!("HEAD {asked}{repository}")), "{path}{more}: {lines:?}");
        assert_eq!(pull.served_by, [if serves { Part::Mirror } else { Part::Upstream }], "{path}{more}: {pull:?}");
        // What it answers for is told the mirror.
        assert!(lab.requests(Part::Mirror).iter().all(|request| request["query"] == "ns=docker.io"), "{path}{more}");
    }
}

#[test]
fn a_mirror_that_fails_is_passed_over_but_not_one_whose_authority_is_missing() {
    use Part::{Mirror, Tls, Upstream};
    let lab = Mirrors::start();
    let entry = |url: &str, more: &str| format!("[host.\"{url}\"]\n  capabilities = [\"pull\", \"resolve\"]\n{more}");
    let (plain, tls) = (entry(lab.url(Mirror), ""), |more: &str| entry(lab.url(Tls), more));
    let authority = lab.place("CASTOFF_MIRROR_TLS_CA");
    let rubbish = lab.at("node-4", "config.toml");
    let cases: [(String, &str, Result<Part, &str>, &str); 12] = [
        (plain.clone(), r#"{"status": 404}"#, Ok(Upstream), "trying next host - response was http.StatusNotFound"),
        (plain.clone(), r#"{"status": 401}"#, Ok(Upstream), ""),
        (plain.clone(), r#"{"status": 403}"#, Ok(Upstream), ""),
        (plain.clone(), r#"{"status": 429}"#, Ok(Upstream), ""),
        (plain.clone(), r#"{"status": 503}"#, Ok(Upstream), ""),
        (plain.clone(), r#"{"challenge": "Basic"}"#, Ok(Upstream), ""),
        (tls(""), "[]", Ok(Upstream), "x509: certificate signed by unknown authority"),
        (tls(&format!("  ca = \"{authority}\"\n")), "[]", Ok(Tls), ""),
        (tls("  skip_verify = true\n"), "[]", Ok(Tls), ""),
        (tls("  ca = \"/nowhere/ca.crt\"\n"), "[]", Err("unable to read CA cert \"/nowhere/ca.crt\""), ""),
        (tls(&format!("  ca = \"{}\"\n", rubbish.display())), "[]", Err("unable to load CA cert"), ""),
        (tls("  client = \"/nowhere/client.pem\"\n"), "[]", Err("/nowhere/client.pem"), ""),
    ];
    for (text, fault, ends, says) in cases {
        lab.afresh();
        lab.fault(Mirror, fault);
        let folder = hosts(&text);
        let pull = pull(&lab, folder.path(), IMAGE);
        match ends {
            Ok(part) => assert!(pull.ok && pull.served_by == [part], "{text} {fault}: {pull:?}"),
            Err(why) => {
                assert!(!pull.ok && pull.said.contains(why) && !pull.served_by.contains(&Upstream), "{text} {fault}: {pull:?}")
            }
        }
        assert!(pull.said.contains(says), "{text} {fault}: {pull:?}");
    }
}

#[test]
fn a_mirror_that_lies_ends_the_pull_and_may_spoil_the_next_one_from_elsewhere() {
    let lab = Mirrors::start();
    for (image, what) in [("alpine:3", "blobs"), ("hello-world:latest", "manifests")] {
        let name = image.split(':').next().expect("a name");
        let (first, next) = lied(&lab, name, image, what);
        assert!(!first.ok && first.said.contains("commit failed") && first.served_by != [Part::Upstream], "{what}: {first:?}");
        // A layer that was fetched beside the one that failed stays half written for a while, and is taken up again.
        assert!(next.ok || next.said.contains("failed size validation"), "{what}: {next:?}");
    }
}

#[test]
fn the_first_folder_that_exists_counts_even_if_it_is_empty() {
    let lab = Mirrors::start();
    let text = format!("[host.\"{}\"]\n  capabilities = [\"pull\", \"resolve\"]\n", lab.url(Part::Mirror));
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join(path);
    fs::create_dir(at("_default")).unwrap();
    fs::write(at("_default/hosts.toml"), &text).unwrap();
    let served = || {
        lab.afresh();
        pull(&lab, folder.path(), IMAGE).served_by
    };
    assert_eq!(served(), [Part::Mirror], "of _default");
    // By its true address a registry is not found: the name of the image counts.
    fs::create_dir(at("registry-1.docker.io")).unwrap();
    assert_eq!(served(), [Part::Mirror]);
    fs::create_dir(at("docker.io")).unwrap();
    assert_eq!(served(), [Part::Upstream], "an empty folder stands before _default");
    fs::remove_dir(at("docker.io")).unwrap();
    assert_eq!(served(), [Part::Mirror]);
}

#[test]
fn ctr_minds_the_hosts_only_when_it_is_told_their_folder() {
    let lab = Mirrors::start();
    // node-5 has a `config_path`, which the CRI plugin reads and ctr does not.
    let folder = lab.at("node-5", "certs.d");
    fs::create_dir(folder.join("docker.io")).unwrap();
    let text = format!("[host.\"{}\"]\n  capabilities = [\"pull\", \"resolve\"]\n", lab.url(Part::Mirror));
    fs::write(folder.join("docker.io/hosts.toml"), text).unwrap();
    lab.ctr("node-5", &["images", "pull", IMAGE]).done();
    assert_eq!((lab.serves(Part::Upstream), lab.counts(Part::Mirror).len()), (true, 0));
    lab.afresh();
    lab.ctr("node-5", &["images", "rm", "--sync", IMAGE]).done();
    lab.ctr("node-5", &["images", "pull", "--hosts-dir", &folder.display().to_string(), IMAGE]).done();
    assert_eq!((lab.serves(Part::Mirror), lab.counts(Part::Upstream).len()), (true, 0));
    // Two folders in one, as the daemon of 2.2 has them, are none.
    lab.afresh();
    lab.ctr("node-5", &["images", "rm", "--sync", IMAGE]).done();
    let two = format!("{}:/etc/docker/certs.d", folder.display());
    lab.ctr("node-5", &["images", "pull", "--hosts-dir", &two, IMAGE]).done();
    assert_eq!((lab.serves(Part::Upstream), lab.counts(Part::Mirror).len()), (true, 0));
}

/// A containerd of its own, ended with it.
struct Own {
    child: Child,
    folder: tempfile::TempDir,
}

impl Own {
    fn start(registry: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().display();
        let off = r#"["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]"#;
        let head = format!(
            "version = 2\nroot = \"{at}/root\"\nstate = \"{at}/state\"\ndisabled_plugins = {off}\n[grpc]\n  address = \"{at}/sock\"\n"
        );
        fs::write(folder.path().join("config.toml"), format!("{head}{registry}")).unwrap();
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let mut containerd = Command::new("containerd");
        containerd.arg("--config").arg(folder.path().join("config.toml")).stdout(Stdio::null()).stderr(log);
        let own = Self { child: containerd.spawn().expect("containerd starts"), folder };
        let end = Instant::now() + Duration::from_secs(10);
        while own.ctr(&["version"]).is_none() {
            assert!(Instant::now() < end, "{}", own.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        own
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    fn ctr(&self, arguments: &[&str]) -> Option<String> {
        let said = run(Command::new("ctr").arg("-a").arg(self.folder.path().join("sock")).args(arguments));
        (said.code == 0).then_some(said.text)
    }

    /// How its CRI plugin fares: `ok`, `error`.
    fn cri(&self) -> String {
        let list = self.ctr(&["plugins", "ls"]).expect("it answers");
        let line = list.lines().find(|line| line.split_whitespace().nth(1) == Some("cri")).expect("a CRI plugin");
        line.split_whitespace().last().expect("its status").to_owned()
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn mirrors_beside_a_config_path_end_the_cri_plugin_while_containerd_runs_on() {
    let registry = "[plugins.\"io.containerd.grpc.v1.cri\".registry";
    let path = format!("{registry}]\n  config_path = \"/nowhere/certs.d\"\n");
    let mirrors = format!("{registry}.mirrors.\"docker.io\"]\n  endpoint = [\"https://m.example\"]\n");
    let tls = format!("{registry}.configs.\"m.example\".tls]\n  insecure_skip_verify = true\n");
    let auth = format!("{registry}.configs.\"m.example\".auth]\n  username = \"kim\"\n");
    let cases = [
        (path.clone(), "ok", ""),
        (mirrors.clone(), "ok", ""),
        (format!("{path}{auth}"), "ok", ""),
        (format!("{path}{mirrors}"), "error", "`mirrors` cannot be set when `config_path` is provided"),
        (format!("{path}{tls}"), "error", "`configs.tls` cannot be set when `config_path` is provided"),
    ];
    for (text, cri, says) in cases {
        let mut own = Own::start(&text);
        assert_eq!(own.cri(), cri, "{text}: {}", own.log());
        assert!(own.log().contains(says), "{text}: {}", own.log());
        assert!(own.child.try_wait().unwrap().is_none(), "containerd itself runs on: {text}");
    }
}
