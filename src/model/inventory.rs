//! What the cluster was seen to be, as data. A test fixture is an inventory; so is a rehearsal.
//! It never holds a secret: passwords are read as `Value::Hidden`.

use super::{Digest, Era, ImageRef, Machine, MachineWants, Platform9Cluster, Value};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The format this version writes and the newest it reads.
pub const INVENTORY_VERSION: u32 = 1;

/// One row of a table as PostgreSQL's `row_to_json` gives it, column order kept.
pub type Row = serde_json::Map<String, serde_json::Value>;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Inventory {
    pub v: u32,
    pub cluster: String,
    /// Unix time in milliseconds at which reading began.
    #[serde(deserialize_with = "super::edge::moment")]
    pub read_at_ms: i64,
    pub backend_ai: Option<BackendAi>,
    pub managers: BTreeMap<String, Manager>,
    pub registries: BTreeMap<String, Registry>,
    pub hosts: BTreeMap<String, Host>,
    /// The same hosts, and others, as machines: files and daemons.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub machines: BTreeMap<String, Machine>,
    /// Certificate authorities that castoff fetched, to be written on hosts: URL to PEM.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fetched: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform9: Option<Platform9Cluster>,
    /// etcd: whole key (`/sorna/local/…`) to value; only the folders a runbook can touch.
    pub keys: BTreeMap<String, Value>,
    /// PostgreSQL: table to rows, whole rows where a runbook can delete them.
    pub tables: BTreeMap<String, Vec<Row>>,
    /// Live sessions: every kernel that is not terminated or cancelled.
    pub sessions: Vec<Session>,
    /// Sessions that a manager refused of late because of their image, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refusals: Vec<Refusal>,
    /// What did not answer, so is not known. Nothing in the inventory is a guess.
    pub unanswered: Vec<Unanswered>,
}

/// What is known of the Backend.AI installation itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct BackendAi {
    /// As the manager says it: `23.09.10`, `20.09.0b2`.
    pub version: String,
    /// Read from where the cluster keeps things, not from the version.
    pub era: Era,
    pub namespace: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Manager {
    pub running: bool,
    /// `importer-image` of manager.toml, where it could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub importer_image: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Registry {
    pub url: String,
    /// The plan says so: plain HTTP, or TLS that is not verified.
    #[serde(default)]
    pub insecure: bool,
    /// The user name castoff and the engines log in with, if any; never the password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<String>,
    /// Where that login is from, if not from the cluster file: `~/.docker/config.json`. The plan says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login_from: Option<String>,
    /// Images asked for and found, each with the manifest that a pull would fetch.
    pub images: BTreeMap<ImageRef, Manifest>,
    /// Images asked for and refused, with the registry's own words. What is in neither map is not there.
    #[serde(default)]
    pub refused: BTreeMap<ImageRef, String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Manifest {
    /// Digest of what the tag points at (an index or a single manifest).
    pub digest: Digest,
    /// Config digest of the cluster's platform: the image id on an engine with the classic store.
    pub config: Digest,
    pub layers: Vec<Layer>,
    /// The labels that begin with `ai.backend.`.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

impl Manifest {
    /// Compressed bytes of all layers.
    pub fn size_bytes(&self) -> u64 {
        self.layers.iter().map(|layer| layer.size_bytes).sum()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Layer {
    /// Of the compressed blob.
    pub digest: Digest,
    #[serde(deserialize_with = "super::edge::size")]
    pub size_bytes: u64,
    /// Of the unpacked content: what an engine lists, so what tells whether a host has the layer.
    pub diff_id: Digest,
}

/// How the engine keeps images. Decides what an image id is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Store {
    /// Graph driver: id = config digest.
    #[default]
    Classic,
    /// containerd: id = manifest digest.
    Containerd,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Host {
    pub engine: String,
    pub store: Store,
    /// Free bytes where the engine keeps its data; `None` where castoff has no way to ask.
    #[serde(deserialize_with = "super::edge::room")]
    pub free_bytes: Option<u64>,
    pub images: BTreeMap<ImageRef, LocalImage>,
    pub containers: Vec<Container>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LocalImage {
    pub id: Digest,
    /// Digest under which this very repository was pulled; absent for a local build or a local tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    #[serde(deserialize_with = "super::edge::size")]
    pub size_bytes: u64,
    /// diff ids, lowest first.
    #[serde(default)]
    pub layers: Vec<Digest>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Container {
    pub id: String,
    pub name: String,
    /// The name it was created by (`.Config.Image`), as text: it may be an id.
    pub image: String,
    pub image_id: Digest,
    pub state: ContainerState,
    /// `ai.backend.kernel-id`: present on Backend.AI's containers only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    #[serde(deserialize_with = "super::edge::moment")]
    pub created_ms: i64,
}

impl Container {
    /// Whether it was created by this name, or runs on this image id.
    pub fn uses(&self, image: &ImageRef, id: &Digest) -> bool {
        self.image_id == *id || self.image.parse::<ImageRef>().is_ok_and(|name| name == *image)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ContainerState {
    Running,
    Paused,
    Stopped,
}

/// A kernel of a live session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Session {
    pub id: String,
    pub name: String,
    pub owner: String,
    pub status: String,
    /// As the manager has it: `index.docker.io/lablup/python:3.6-ubuntu18.04`.
    pub image: String,
    pub agent: String,
    #[serde(deserialize_with = "super::edge::moment")]
    pub since_ms: i64,
}

/// A session that could not be created: its image is unknown, or of a registry that its domain does not allow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Refusal {
    #[serde(deserialize_with = "super::edge::moment")]
    pub at_ms: i64,
    pub session: String,
    /// The access key, or the user's address where it is known.
    pub owner: String,
    /// As it was asked for.
    pub image: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Unanswered {
    /// Which part would be known if it had answered.
    pub part: Part,
    /// `agent gpu-2`, `etcd`, `registry cr.backend.ai`.
    pub subject: String,
    pub why: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// The parts of an inventory that can be read alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    Keys,
    Tables,
    Sessions,
    Managers,
    Hosts,
    Registries,
    Refusals,
    Machines,
    Platform9,
}

/// What to read: parts of the cluster, and what to ask of registries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Wants {
    pub parts: BTreeSet<Part>,
    /// Single images to look up.
    #[serde(default)]
    pub images: BTreeSet<ImageRef>,
    /// Registries to look through: name to projects; every image of them is looked up.
    #[serde(default)]
    pub projects: BTreeMap<String, BTreeSet<String>>,
    /// What to read of machines, with `Part::Machines`.
    #[serde(default, skip_serializing_if = "MachineWants::is_empty")]
    pub machines: MachineWants,
}

impl Wants {
    /// What a Backend.AI cluster is planned from.
    pub fn backend_ai() -> Self {
        let parts = [Part::Keys, Part::Tables, Part::Sessions, Part::Managers, Part::Hosts];
        Self { parts: parts.into_iter().collect(), ..Self::default() }
    }

    /// Both.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.parts.extend(other.parts);
        self.images.extend(other.images);
        for (registry, projects) in other.projects {
            self.projects.entry(registry).or_default().extend(projects);
        }
        self.machines = self.machines.and(other.machines);
        self
    }
}

impl Inventory {
    pub fn new(cluster: &str, read_at_ms: i64) -> Self {
        Self { v: INVENTORY_VERSION, cluster: cluster.to_owned(), read_at_ms, ..Self::default() }
    }

    /// Puts what was read later over what was read before, part by part.
    pub fn merge(&mut self, newer: Self, wants: &Wants) {
        self.read_at_ms = newer.read_at_ms;
        self.unanswered.retain(|u| !wants.parts.contains(&u.part));
        self.unanswered.extend(newer.unanswered);
        for part in &wants.parts {
            match part {
                Part::Keys => self.keys.clone_from(&newer.keys),
                Part::Tables => self.tables.clone_from(&newer.tables),
                Part::Sessions => self.sessions.clone_from(&newer.sessions),
                Part::Managers => self.managers.clone_from(&newer.managers),
                Part::Hosts => self.hosts.clone_from(&newer.hosts),
                Part::Registries => self.registries.clone_from(&newer.registries),
                Part::Refusals => self.refusals.clone_from(&newer.refusals),
                Part::Machines => self.machines.clone_from(&newer.machines),
                Part::Platform9 => self.platform9.clone_from(&newer.platform9),
            }
        }
        if newer.backend_ai.is_some() {
            self.backend_ai = newer.backend_ai;
        }
    }

    /// The manifest behind a name, if its registry offers it.
    pub fn manifest(&self, image: &ImageRef) -> Option<&Manifest> {
        self.registries.get(&image.registry)?.images.get(image)
    }

    /// The rows of a table; none if it was not read or does not exist.
    pub fn rows(&self, table: &str) -> &[Row] {
        self.tables.get(table).map_or(&[], Vec::as_slice)
    }
}
