//! podman-mirror with a real podman: a drop-in of its own makes it ask the mirror, a pull shows who served it, and a rollback
//! gives every byte back.

use crate::mirrors::{Mirrors, Part, Said};
use serde_json::Value;
use std::{collections::BTreeMap, fs, path::Path};

const IMAGE: &str = "docker.io/library/busybox:1";
const DROP_IN: &str = "registries.conf.d/castoff-mirror.conf";

/// The lab at its start, and a folder for runs.
struct Scene {
    lab: Mirrors,
    kept: tempfile::TempDir,
    sets: Vec<String>,
}

impl Scene {
    fn with(part: Part, more: &[String]) -> Self {
        let lab = Mirrors::start();
        let url = format!("mirror.url=\"{}\"", lab.url(part));
        Self { kept: tempfile::tempdir().unwrap(), sets: [url].into_iter().chain(more.iter().cloned()).collect(), lab }
    }

    fn castoff(&self, arguments: &[&str]) -> Said {
        self.lab.castoff(self.kept.path(), arguments)
    }

    fn with_sets(&self, arguments: &[&str]) -> Said {
        let sets = self.sets.iter().flat_map(|set| ["--set", set.as_str()]);
        let all: Vec<&str> = arguments.iter().copied().chain(sets).collect();
        self.castoff(&all)
    }

    fn plan(&self) -> Value {
        let said = self.with_sets(&["plan", "podman-mirror", "--format", "json"]);
        serde_json::from_str(&said.text).unwrap_or_else(|_| panic!("{}", said.text))
    }

    /// Plans, and runs what was planned; its code and all it said.
    fn run(&self) -> Said {
        let approve = format!("mirror={}", self.plan()["plan"].as_str().unwrap());
        self.with_sets(&["run", "podman-mirror", "--headless", "--approve", &approve])
    }

    /// Pulls anew by podman alone: whether it came, and whether mirror and upstream served.
    fn pulls(&self, mirror: Part) -> (bool, bool, bool) {
        self.lab.afresh();
        self.lab.podman(&["rmi", "-f", IMAGE]);
        let said = self.lab.podman(&["pull", IMAGE]);
        self.lab.podman(&["rmi", "-f", IMAGE]);
        (said.code == 0, self.lab.serves(mirror), self.lab.serves(Part::Upstream))
    }

    fn write(&self, path: &str, text: &str) {
        fs::write(self.settings().join(path), text).unwrap();
    }

    fn settings(&self) -> std::path::PathBuf {
        self.lab.at("node-6", "home/.config/containers")
    }

    /// Every file and folder below podman's settings.
    fn all(&self) -> BTreeMap<String, Option<Vec<u8>>> {
        fn read(folder: &Path, out: &mut BTreeMap<String, Option<Vec<u8>>>) {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                out.insert(path.display().to_string(), path.is_file().then(|| fs::read(&path).unwrap()));
                if path.is_dir() {
                    read(&path, out);
                }
            }
        }
        let mut out = BTreeMap::new();
        read(&self.settings(), &mut out);
        out
    }

    fn roll_back(&self) -> Said {
        let said = self.castoff(&["rollback", "--headless"]).text;
        let (_, approve) = said.split_once("hint: --approve ").unwrap_or_else(|| panic!("{said}"));
        self.castoff(&["rollback", "--headless", "--approve", approve.trim()])
    }
}

fn words(problems: &Value) -> String {
    serde_json::to_string_pretty(problems).unwrap()
}

#[test]
fn podman_asks_the_mirror_after_a_run_and_nobody_else_after_its_rollback() {
    let scene = Scene::with(Part::Mirror, &[]);
    // An entry of somebody else that counts no more, and one that our drop-in replaces.
    scene.write("registries.conf.d/10-hub.conf", "[[registry]]\nprefix = 'docker.io'\nlocation = 'docker.io'\n");
    scene.write(DROP_IN, "# from an earlier try\n");
    let before = scene.all();
    let plan = scene.plan();
    assert_eq!(plan["blockers"], serde_json::json!([]), "{plan}");
    let notes = words(&plan["notes"]);
    assert!(notes.contains("10-hub.conf") && notes.contains("does not count any more"), "{notes}");
    assert!(notes.contains("is asked without TLS"), "{notes}");

    let run = scene.run();
    assert!(
        run.code == 0 && run.text.contains("library/busybox:1 was served by http://127.0.0.1")
            || run.text.contains("busybox:1 was served by"),
        "{}",
        run.text
    );
    assert!(scene.lab.serves(Part::Mirror) && !scene.lab.serves(Part::Upstream));
    assert_ne!(scene.lab.podman(&["image", "exists", IMAGE]).code, 0, "the image of the proof is gone again");
    assert_eq!(scene.pulls(Part::Mirror), (true, true, false));
    let text = fs::read_to_string(scene.settings().join(DROP_IN)).unwrap();
    assert!(text.contains(&format!("location = \"{}\"\ninsecure = true\n", scene.lab.address(Part::Mirror))), "{text}");

    // The second time all is found.
    let again = scene.plan();
    assert_eq!((&again["totals"]["changes"], &again["totals"]["found"]), (&0.into(), &1.into()), "{}", again["totals"]);

    let back = scene.roll_back();
    assert_eq!(back.code, 16, "{}", back.text);
    assert_eq!(scene.all(), before, "byte for byte");
    assert_eq!(scene.pulls(Part::Mirror), (true, false, true));
}

#[test]
fn the_authority_of_the_mirror_is_put_where_podman_looks_for_it() {
    let scene = Scene::with(Part::Tls, &[]);
    // Without it: the mirror is told to be out of reach from the host, and nothing is done.
    let plan = scene.plan();
    assert!(words(&plan["blockers"]).contains("TLS: "), "{plan}");

    let ca = format!("mirror.ca=\"{}\"", scene.lab.place("CASTOFF_MIRROR_TLS_CA"));
    let scene = Scene { sets: scene.sets.iter().cloned().chain([ca]).collect(), ..scene };
    let before = scene.all();
    let run = scene.run();
    assert_eq!(run.code, 0, "{}", run.text);
    let put = scene.settings().join("certs.d").join(scene.lab.address(Part::Tls)).join("ca.crt");
    assert_eq!(fs::read(&put).unwrap(), fs::read(scene.lab.place("CASTOFF_MIRROR_TLS_CA")).unwrap());
    assert_eq!(scene.pulls(Part::Tls), (true, true, false));
    let back = scene.roll_back();
    assert_eq!(back.code, 16, "{}", back.text);
    assert_eq!(scene.all(), before, "the folders that were made for it are gone too");
}

#[test]
fn a_pull_that_came_from_elsewhere_fails_the_step_and_names_who_served_it() {
    // The mirror answers, and fails as soon as podman asks it.
    let scene = Scene::with(Part::Mirror, &[]);
    scene.write("registries.conf.d/zz-other.conf", "unqualified-search-registries = ['docker.io']\n");
    let plan = scene.plan();
    let approve = format!("mirror={}", plan["plan"].as_str().unwrap());
    // Asked for manifests it answers the check, and nothing to podman: its name is passed over without a word.
    scene.lab.fault(Part::Mirror, r#"{"path": "/v2/library/busybox/manifests/", "method": "GET", "status": 503}"#);
    let run = scene.with_sets(&["run", "podman-mirror", "--headless", "--approve", &approve]);
    assert_eq!(run.code, 14, "{}", run.text);
    assert!(run.text.contains("came from docker.io/library/busybox:1, and not from the mirror"), "{}", run.text);
}

#[test]
fn a_mirror_and_nothing_else_blocks_the_registry_and_serves_all_the_same() {
    let scene = Scene::with(Part::Mirror, &["mirror.only=true".to_owned()]);
    let run = scene.run();
    assert_eq!(run.code, 0, "{}", run.text);
    assert_eq!(scene.pulls(Part::Mirror), (true, true, false));
    scene.lab.fault(Part::Mirror, r#"{"status": 503}"#);
    scene.lab.podman(&["rmi", "-f", IMAGE]);
    let said = scene.lab.podman(&["pull", IMAGE]);
    assert!(said.code != 0 && said.text.contains("registry docker.io is blocked"), "{}", said.text);
    assert!(!scene.lab.serves(Part::Upstream));
}

#[test]
fn what_would_win_over_the_drop_in_or_stop_every_pull_blocks_the_plan() {
    let scene = Scene::with(Part::Mirror, &[]);
    let entry = |prefix: &str, mirror: &str| {
        format!("[[registry]]\nprefix = '{prefix}'\nlocation = '{prefix}'\n[[registry.mirror]]\nlocation = '{mirror}'\n")
    };
    let check = |name: &str, text: &str, told: &str| {
        let path = format!("registries.conf.d/{name}");
        scene.write(&path, text);
        let blockers = words(&scene.plan()["blockers"]);
        fs::remove_file(scene.settings().join(&path)).unwrap();
        assert!(blockers.contains(told) && blockers.contains("node-6"), "{name}: {blockers}");
    };
    check("z-other.conf", &entry("docker.io", "127.0.0.1:1"), "it wins");
    check("10-other.conf", &entry("docker.io/library", "127.0.0.1:1"), "it wins for those images");
    check("10-other.conf", &entry("quay.io", "https://127.0.0.1:1"), "has a scheme: every pull on the host fails");
    check("10-other.conf", "[[registry]\n", "every pull on the host fails");
    assert_eq!(scene.plan()["blockers"], serde_json::json!([]));
}

#[test]
fn a_login_is_left_to_podman_and_written_nowhere() {
    let login = ["mirror.username=\"lab\"", "mirror.password=\"mirror-login\""].map(str::to_owned);
    let scene = Scene::with(Part::Login, &login);
    let plan = scene.plan();
    let notes = words(&plan["notes"]);
    assert!(notes.contains("which a drop-in cannot hold") && notes.contains("podman login 127.0.0.1:"), "{notes}");
    // Nobody has logged in: the mirror refuses podman, and Docker Hub serves. That is no proof.
    let run = scene.run();
    assert!(run.code == 14 && run.text.contains("came from docker.io/library/busybox:1"), "{}", run.text);
    let back = scene.roll_back();
    assert_eq!(back.code, 16, "{}", back.text);

    let auth = scene.lab.at("node-6", "auth.json");
    let password = scene.lab.place("CASTOFF_MIRROR_LOGIN_PASSWORD").to_owned();
    let address = scene.lab.address(Part::Login).to_owned();
    let said = scene.lab.podman(&["login", "--tls-verify=false", "--username", "lab", "--password", &password, &address]);
    assert_eq!(said.code, 0, "{}", said.text);
    let kept = fs::read(&auth).unwrap();
    let run = scene.run();
    assert_eq!(run.code, 0, "{}", run.text);
    assert_eq!(fs::read(&auth).unwrap(), kept);
    assert!(scene.all().values().flatten().all(|bytes| !String::from_utf8_lossy(bytes).contains(&password)));
    scene.roll_back();
}

#[test]
fn the_runbook_of_the_readme_does_what_it_says() {
    let scene = Scene::with(Part::Mirror, &[]);
    let readme = fs::read_to_string("README.md").unwrap();
    let shown = readme.split("```toml\n").find(|block| block.starts_with("name = \"hub-mirror\"")).unwrap();
    let shown = shown.split("```").next().unwrap();
    assert!(shown.lines().count() <= 22, "about twenty lines");
    let runbook = scene.kept.path().join("hub-mirror.toml");
    fs::write(&runbook, shown).unwrap();
    // All hosts of the lab are this machine.
    let told = format!("tell.path=\"{}/told-{{host}}\"", scene.kept.path().display());
    let runbook = runbook.display().to_string();
    let plan = scene.with_sets(&["plan", &runbook, "--set", &told, "--format", "json"]);
    let plan: Value = serde_json::from_str(&plan.text).unwrap_or_else(|_| panic!("{}", plan.text));
    let approve = format!("mirror={}", plan["plan"].as_str().unwrap());
    let run = scene.with_sets(&["run", &runbook, "--set", &told, "--headless", "--approve", &approve]);
    assert_eq!(run.code, 0, "{}", run.text);
    assert_eq!(run.text.matches("  proven    2.").count(), 3, "{}", run.text);
    for node in ["node-1", "node-6"] {
        let told = fs::read_to_string(scene.kept.path().join(format!("told-{node}"))).unwrap();
        assert_eq!(told, "Images of Docker Hub come from mirror.example.\n");
    }
}
