//! A lab (see `lab/README.md`): its scripts, castoff on it, and what its stores hold.
//! It never starts a lab: `make test` does, and names it in an environment variable.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// A lab that is up.
pub struct Lab {
    name: String,
    state: PathBuf,
}

/// What a program said, and its exit code.
pub struct Said {
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Said {
    fn of(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
    }

    /// Standard output, if the exit code is this one.
    pub fn exits(self, code: i32) -> String {
        assert_eq!(self.code, code, "{}\n{}", self.out, self.err);
        self.out
    }
}

impl Lab {
    /// The lab whose folder this environment variable names, at its start state; `None` where it cannot be on this machine.
    pub fn start(variable: &str) -> Option<Self> {
        let value = std::env::var(variable).unwrap_or_default();
        assert!(!value.is_empty(), "{variable} names no lab: run `make test`, which starts one");
        if value == "absent" {
            return None;
        }
        let state = PathBuf::from(value);
        let name = state.file_name().expect("a lab's folder has a name").to_string_lossy().into_owned();
        let lab = Self { name, state };
        lab.script("reset", &[]);
        Some(lab)
    }

    /// `lab-NAME`, as the cluster file calls it.
    pub fn cluster(&self) -> String {
        format!("lab-{}", self.name)
    }

    pub fn cluster_file(&self) -> PathBuf {
        self.state.join("castoff.toml")
    }

    pub fn drain(&self) {
        self.script("drain", &["--all"]);
    }

    fn script(&self, script: &str, arguments: &[&str]) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("lab").join(script);
        let output = Command::new(&path).args(["--name", &self.name]).args(arguments).output();
        Said::of(output.unwrap_or_else(|error| panic!("{}: {error}", path.display()))).exits(0);
    }

    /// castoff on this lab; runs are kept in `kept`.
    pub fn castoff(&self, kept: &Path, arguments: &[impl AsRef<OsStr>]) -> Said {
        let mut command = Command::new(env!("CARGO_BIN_EXE_castoff"));
        command.args(arguments).arg("--cluster").arg(self.cluster_file()).arg("--state").arg(kept);
        Said::of(command.output().expect("castoff starts"))
    }

    /// The real manager's own command line, from the words that the cluster file has for it.
    pub fn manager(&self, arguments: &[&str]) -> String {
        let file = self.file();
        let manager = &file["managers"][0];
        let words: Vec<&str> = manager["cli"].as_array().expect("a list").iter().filter_map(toml::Value::as_str).collect();
        let folder = manager["working-dir"].as_str().expect("a folder");
        let output = Command::new(words[0]).args(&words[1..]).args(arguments).current_dir(folder).output();
        let said = Said::of(output.expect("the manager's command line starts"));
        // Its exit code says nothing, so its words are all there is.
        said.out + &said.err
    }

    /// Every key of etcd with its value, both as etcdctl quotes them.
    pub fn keys(&self) -> BTreeMap<String, String> {
        let text = self.etcdctl(&["get", "", "--prefix", "-w", "fields"]);
        let all = |name: &str| -> Vec<String> {
            let fields = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(" : \"")?.strip_suffix('"'));
            fields.map(str::to_owned).collect()
        };
        all("\"Key\"").into_iter().zip(all("\"Value\"")).collect()
    }

    pub fn put(&self, key: &str, value: &str) {
        self.etcdctl(&["put", key, value]);
    }

    fn etcdctl(&self, arguments: &[&str]) -> String {
        let endpoint = self.file()["etcd"]["endpoints"][0].as_str().expect("an address").to_owned();
        let output = Command::new("etcdctl").env("ETCDCTL_API", "3").args(["--endpoints", &endpoint]).args(arguments).output();
        Said::of(output.expect("etcdctl starts")).exits(0)
    }

    /// Every row of the whole database, as statements in a fixed order.
    pub fn rows(&self) -> Vec<String> {
        let dump = self.postgres("pg_dump", &["--data-only", "--inserts"]);
        // A value with line breaks is cut in pieces here, all of which are compared.
        let mut lines: Vec<String> = dump.lines().map(str::to_owned).collect();
        // A random word of every dump.
        lines.retain(|line| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict"));
        lines.sort();
        lines
    }

    /// The one column of a query, a line for a row.
    pub fn sql(&self, statement: &str) -> Vec<String> {
        let out = self.postgres("psql", &["-v", "ON_ERROR_STOP=1", "-qAtc", statement]);
        out.lines().map(str::to_owned).collect()
    }

    fn postgres(&self, program: &str, arguments: &[&str]) -> String {
        let url = self.file()["postgres"]["url"].as_str().expect("an address").to_owned();
        let mut command = Command::new(program);
        command.env("PGPASSFILE", self.state.join("secrets/pgpass")).args(arguments).args(["-d", &url]);
        Said::of(command.output().expect("PostgreSQL's client starts")).exits(0)
    }

    /// The cluster file, as plain TOML.
    pub fn file(&self) -> toml::Table {
        let text = std::fs::read_to_string(self.cluster_file()).expect("a lab has a cluster file");
        text.parse().expect("it is TOML")
    }
}
