//! The lab as its own clients see it: etcdctl, psql, docker. What castoff says is held against this.

use crate::lab::Lab;
use std::{collections::BTreeSet, fmt::Write, process::Command};

pub const AGENTS: [&str; 3] = ["gpu-1", "gpu-2", "gpu-3"];
const NAMESPACE: &str = "/sorna/local/";

/// Facts, one a line: `etcd KEY = VALUE`, `row TABLE JSON`, `image AGENT NAME ID`.
#[derive(Clone, Debug, PartialEq)]
pub struct World(pub BTreeSet<String>);

impl World {
    /// Byte for byte: keys below `config/` and `images/`, rows as PostgreSQL writes them, names of images with their ids.
    pub fn exact(lab: &Lab) -> Self {
        let mut facts = lab.keys("config/");
        facts.extend(lab.keys("images/"));
        for table in ["domains", "images", "image_aliases", "container_registries"] {
            // Whether this Backend.AI has the table is not for the tests to know.
            if lab.sql(&format!("SELECT to_regclass('{table}') IS NOT NULL")) == "t" {
                facts.extend(lab.rows(table, &format!("SELECT row_to_json(t) FROM {table} t")));
            }
        }
        AGENTS.iter().for_each(|agent| facts.extend(lab.images(agent)));
        let world = Self(facts);
        // Nothing compared with nothing would be the same.
        for kind in ["etcd ", "row domains ", "row images ", "row image_aliases ", "image gpu-1 ", "image gpu-3 "] {
            assert!(!world.of(kind).is_empty(), "no `{kind}` was read");
        }
        world
    }

    /// The same without what the manager makes up at each rescan: ids of rows and times.
    pub fn settled(lab: &Lab) -> Self {
        let mut facts = lab.keys("config/");
        facts.extend(lab.rows("domains", "SELECT row_to_json(t)::jsonb - 'created_at' - 'modified_at' FROM domains t"));
        facts.extend(lab.rows("images", "SELECT row_to_json(t)::jsonb - 'id' - 'created_at' FROM images t"));
        let aliases = "SELECT a.alias, i.name, i.architecture FROM image_aliases a JOIN images i ON i.id = a.image";
        facts.extend(lab.rows("image_aliases", aliases));
        AGENTS.iter().for_each(|agent| facts.extend(lab.images(agent)));
        Self(facts)
    }

    pub fn has(&self, fact: &str) -> bool {
        self.0.iter().any(|one| one.contains(fact))
    }

    /// Facts that begin so.
    pub fn of(&self, beginning: &str) -> BTreeSet<&str> {
        self.0.iter().map(String::as_str).filter(|fact| fact.starts_with(beginning)).collect()
    }

    /// Facts of one that the other lacks, `-` for lost and `+` for new.
    pub fn differences(&self, after: &Self) -> String {
        let mut out = String::new();
        self.0.difference(&after.0).for_each(|fact| writeln!(out, "- {fact}").unwrap());
        after.0.difference(&self.0).for_each(|fact| writeln!(out, "+ {fact}").unwrap());
        out
    }
}

/// The two are the same, or the test fails with what differs.
#[track_caller]
pub fn same(before: &World, after: &World) {
    let differences = before.differences(after);
    assert!(differences.is_empty(), "{differences}");
}

impl Lab {
    pub fn etcdctl(&self, words: &[&str]) -> String {
        let endpoint = format!("http://127.0.0.1:{}", self.port(1));
        said(Command::new("etcdctl").env("ETCDCTL_API", "3").args(["--endpoints", &endpoint]).args(words))
    }

    /// Keys below a folder of Backend.AI's namespace, with their values.
    pub fn keys(&self, folder: &str) -> BTreeSet<String> {
        let text = self.etcdctl(&["get", "--prefix", &format!("{NAMESPACE}{folder}")]);
        let lines: Vec<&str> = text.lines().collect();
        lines.chunks(2).map(|pair| format!("etcd {} = {}", pair[0], pair.get(1).unwrap_or(&""))).collect()
    }

    /// The same with the revision at which each was written last.
    pub fn revisions(&self, folder: &str) -> Vec<String> {
        let text = self.etcdctl(&["get", "--prefix", &format!("{NAMESPACE}{folder}"), "-w", "fields"]);
        text.lines()
            .filter(|line| line.starts_with("\"Key\"") || line.starts_with("\"ModRevision\""))
            .map(str::to_owned)
            .collect()
    }

    /// Whether a castoff says in etcd that the cluster is its own.
    pub fn is_taken(&self) -> bool {
        !self.etcdctl(&["get", "--prefix", "--keys-only", "/castoff/"]).trim().is_empty()
    }

    /// Keys of registries with how often each was written since it came.
    pub fn versions(&self) -> Vec<String> {
        let text = self.etcdctl(&["get", "--prefix", &format!("{NAMESPACE}config/docker/"), "-w", "fields"]);
        text.lines().filter(|line| line.starts_with("\"Key\"") || line.starts_with("\"Version\"")).map(str::to_owned).collect()
    }

    /// One value, or one a line.
    pub fn sql(&self, statement: &str) -> String {
        let (port, pass) = (self.port(3).to_string(), self.folder.join("secrets/pgpass"));
        let words =
            ["-h", "127.0.0.1", "-p", &port, "-U", "backend", "-d", "backend", "-qtAX", "-v", "ON_ERROR_STOP=1", "-c", statement];
        said(Command::new("psql").env("PGPASSFILE", pass).args(words)).trim_end().to_owned()
    }

    fn rows(&self, table: &str, select: &str) -> BTreeSet<String> {
        self.sql(select).lines().map(|row| format!("row {table} {row}")).collect()
    }

    fn docker(&self, agent: &str, words: &[&str]) -> String {
        let socket = format!("unix://{}/{agent}/docker.sock", self.sockets);
        // Without the contexts and logins of whoever runs the tests.
        let config = self.folder.join("docker-config");
        said(Command::new("docker").env("DOCKER_CONFIG", config).env_remove("DOCKER_CONTEXT").args(["-H", &socket]).args(words))
    }

    /// Names of an agent's images with their ids.
    fn images(&self, agent: &str) -> BTreeSet<String> {
        let text = self.docker(agent, &["images", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}"]);
        text.lines().filter(|line| !line.contains("<none>")).map(|line| format!("image {agent} {line}")).collect()
    }

    /// Name, id and state of an agent's containers.
    pub fn containers(&self, agent: &str) -> BTreeSet<String> {
        let text = self.docker(agent, &["ps", "-a", "--no-trunc", "--format", "{{.Names}} {{.ID}} {{.State}}"]);
        text.lines().map(|line| format!("{agent} {line}")).collect()
    }
}

#[track_caller]
fn said(command: &mut Command) -> String {
    let done = command.output().unwrap();
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}
