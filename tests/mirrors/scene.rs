//! One runbook on the mirrors' lab: planned, run and rolled back by the real program, with runs of its own; and what a host
//! looks like from outside.

use crate::mirrors::{Mirrors, Said, run};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

pub struct Scene {
    pub lab: Mirrors,
    own: tempfile::TempDir,
    cluster: PathBuf,
}

/// What stands at a path: `None` for a folder, or mode, owner and bytes of a file.
pub type Tree = BTreeMap<PathBuf, (u32, Option<Vec<u8>>)>;

impl Scene {
    pub fn start() -> Self {
        let lab = Mirrors::start();
        Self { cluster: lab.cluster_file(), lab, own: tempfile::tempdir().unwrap() }
    }

    /// With these hosts alone in the cluster file: what needs no others is quicker so.
    pub fn on(nodes: &[&str]) -> Self {
        let mut scene = Self::start();
        let text = fs::read_to_string(&scene.cluster).unwrap();
        let (head, rest) = text.split_once("[[hosts]]").expect("hosts");
        let (hosts, tail) = rest.split_once("\n[secrets]").expect("secrets");
        let wanted = |host: &&str| nodes.iter().any(|node| host.contains(&format!("name = \"{node}\"")));
        let hosts: String = hosts.split("[[hosts]]").filter(wanted).flat_map(|host| ["[[hosts]]", host]).collect();
        scene.cluster = scene.write("castoff.toml", &format!("{head}{hosts}\n[secrets]{tail}")).into();
        scene
    }

    /// Replaces a text of the cluster file.
    pub fn reword(&mut self, old: &str, new: &str) {
        let text = fs::read_to_string(&self.cluster).unwrap();
        assert!(text.contains(old), "`{old}` is not in {text}");
        self.cluster = self.write("castoff.toml", &text.replace(old, new)).into();
    }

    /// A shipped runbook with another mirror, and with these texts replaced.
    pub fn runbook(&self, name: &str, mirror: &str, replaced: &[(&str, &str)]) -> String {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("runbooks/{name}.toml"));
        let mut text = fs::read_to_string(path).unwrap();
        let url = text.lines().find(|line| line.starts_with("url = ")).expect("it names a mirror").to_owned();
        text = text.replace(&url, &format!("url = \"{mirror}\""));
        for (old, new) in replaced {
            assert!(text.contains(old), "{name} has no `{old}`");
            text = text.replace(old, new);
        }
        self.write(&format!("{name}.toml"), &text)
    }

    /// A file of this test.
    pub fn write(&self, name: &str, text: &str) -> String {
        let path = self.own.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    pub fn castoff(&self, words: &[&str]) -> Said {
        run(self.command().args(words))
    }

    fn command(&self) -> Command {
        let mut castoff = Command::new(env!("CARGO_BIN_EXE_castoff"));
        castoff.arg("--cluster").arg(&self.cluster).arg("--state").arg(self.own.path().join("state"));
        castoff
    }

    /// The plan as JSON; `code`: how planning has to end (10: something to do, 0: nothing, 11: blocked).
    pub fn plan(&self, runbook: &str, code: i32) -> Value {
        let said = self.castoff(&["plan", runbook, "--format", "json"]);
        assert_eq!(said.code, code, "{}", said.text);
        let json = said.text.find('{').map_or("", |at| &said.text[at..]);
        let mut values = serde_json::Deserializer::from_str(json).into_iter::<Value>();
        values.next().expect("a plan").unwrap_or_else(|error| panic!("{error}: {}", said.text))
    }

    fn words(&self, runbook: &str, gates: &[&str]) -> Vec<String> {
        let said = self.castoff(&["plan", runbook, "--format", "json"]).text;
        let id = said
            .split("\"plan\": \"")
            .nth(1)
            .and_then(|rest| rest.split('"').next())
            .unwrap_or_else(|| panic!("no plan: {said}"));
        let approved = gates.iter().map(|gate| format!("--approve={gate}={id}"));
        ["run", runbook, "--headless"].map(str::to_owned).into_iter().chain(approved).collect()
    }

    /// Planned, and run with these gates answered ahead.
    pub fn run(&self, runbook: &str, gates: &[&str]) -> Said {
        let words = self.words(runbook, gates);
        self.castoff(&words.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// The same, to be killed.
    pub fn begin(&self, runbook: &str, gates: &[&str]) -> Child {
        let words = self.words(runbook, gates);
        self.command().args(words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// The newest run is rolled back.
    pub fn rollback(&self) -> Said {
        let planned = self.entries().into_iter().next().expect("a run");
        let id = planned["entry"]["plan"]["plan"].as_str().expect("an id").to_owned();
        self.castoff(&["rollback", "--headless", &format!("--approve=rollback={id}")])
    }

    /// The journal of the newest run.
    pub fn entries(&self) -> Vec<Value> {
        let said = self.castoff(&["log", "--format", "json"]);
        said.text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// The kinds of entries of one change, in their order: `started`, `proven`, `done`.
    pub fn story(&self, change: &str) -> Vec<String> {
        let of = |entry: &&Value| entry["entry"]["change"] == change;
        self.entries().iter().filter(of).map(|entry| entry["entry"]["is"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// Everything below a path of a host, byte for byte; a key that an Engine writes for itself apart.
    pub fn tree(&self, node: &str, path: &str) -> Tree {
        let mut tree = Tree::new();
        let mut todo = vec![self.lab.at(node, path)];
        while let Some(path) = todo.pop() {
            let Ok(about) = fs::symlink_metadata(&path) else { continue };
            if path.ends_with("key.json") {
                continue;
            }
            if about.is_dir() {
                todo.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            }
            let bytes = about.is_file().then(|| fs::read(&path).unwrap());
            tree.insert(path, (about.permissions().mode(), bytes));
        }
        tree
    }
}

impl Said {
    /// It ended so, and says each of these.
    #[track_caller]
    pub fn ends(self, code: i32, says: &[&str]) -> String {
        assert_eq!(self.code, code, "{}", self.text);
        let missing: Vec<_> = says.iter().filter(|words| !self.text.contains(**words)).collect();
        assert!(missing.is_empty(), "{missing:?} is not in:\n{}", self.text);
        self.text
    }
}
