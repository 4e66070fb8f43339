//! The cluster file: where the parts of a cluster are and by what names their secrets go. TOML, read once.
//! It never holds a secret.

use super::secret::Secret;
use serde::Deserialize;
use std::{collections::BTreeMap, path::PathBuf};

#[derive(Clone, Debug, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ClusterFile {
    /// What is typed at gates.
    pub name: String,
    pub etcd: Option<Etcd>,
    pub postgres: Option<Postgres>,
    #[serde(default)]
    pub ssh: Ssh,
    #[serde(default)]
    pub managers: Vec<ManagerConfig>,
    #[serde(default)]
    pub agents: Vec<AgentConfig>,
    pub discover: Option<Discover>,
    /// By name as in image references: `cr.backend.ai`, `docker.io`.
    #[serde(default)]
    pub registries: BTreeMap<String, RegistryConfig>,
}

#[derive(Clone, Debug, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Etcd {
    pub endpoints: Vec<String>,
    /// Backend.AI's namespace below `/sorna/`.
    #[serde(default = "local")]
    pub namespace: String,
    pub username: Option<String>,
    pub password: Option<Secret>,
    pub ca: Option<PathBuf>,
    pub cert: Option<PathBuf>,
    pub key: Option<PathBuf>,
}

fn local() -> String {
    "local".to_owned()
}

#[derive(Clone, Debug, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Postgres {
    /// `postgres://user@host:port/database?sslmode=…`, without a password.
    pub url: String,
    pub password: Option<Secret>,
    pub ca: Option<PathBuf>,
}

#[derive(Clone, Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Ssh {
    /// An ssh_config to use in place of the operator's own.
    pub config: Option<PathBuf>,
}

#[derive(Clone, Debug, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ManagerConfig {
    pub name: String,
    /// `ssh://user@host` or `local`.
    #[serde(default = "local")]
    pub host: String,
    /// How its command line is called.
    #[serde(default = "manager_cli")]
    pub cli: Vec<String>,
    #[serde(default = "manager_dir")]
    pub working_dir: String,
    /// Where its API answers; used to read the version and to see that it is up.
    pub api: Option<String>,
    #[serde(default)]
    pub service: ServiceConfig,
}

fn manager_cli() -> Vec<String> {
    vec!["backend.ai".to_owned(), "mgr".to_owned()]
}

fn manager_dir() -> String {
    "/etc/backend.ai".to_owned()
}

/// Commands as lists of words; no shell. `status` ends with 0 when it runs and 3 when it is stopped, as systemctl does.
#[derive(Clone, Debug, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct ServiceConfig {
    pub stop: Vec<String>,
    pub start: Vec<String>,
    pub status: Vec<String>,
}

impl Default for ServiceConfig {
    fn default() -> Self {
        let words = |verb: &[&str]| -> Vec<String> {
            let unit = ["backendai-manager"];
            ["systemctl"].iter().chain(verb).chain(&unit).map(|word| (*word).to_owned()).collect()
        };
        Self { stop: words(&["stop"]), start: words(&["start"]), status: words(&["is-active", "--quiet"]) }
    }
}

#[derive(Clone, Debug, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct AgentConfig {
    pub name: String,
    /// `unix:///var/run/docker.sock`, `tcp://host:2376` or `ssh://user@host[/path/of/docker.sock]`.
    pub docker: String,
    pub tls: Option<Tls>,
    /// Where files live: `ssh://user@host` or `local`. Needed to see free disk space behind tcp.
    pub host: Option<String>,
}

#[derive(Clone, Debug, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Tls {
    pub ca: PathBuf,
    pub cert: PathBuf,
    pub key: PathBuf,
}

#[derive(Clone, Debug, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Discover {
    pub agents: DiscoverAgents,
}

/// Agents that the cluster itself knows to be alive; those written by hand win.
#[derive(Clone, Debug, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct DiscoverAgents {
    pub from: DiscoverFrom,
    /// With `{host}` (address of the agent) and `{id}` (its id) filled in.
    pub docker: String,
    pub host: Option<String>,
    pub tls: Option<Tls>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DiscoverFrom {
    Postgres,
}

#[derive(Clone, Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RegistryConfig {
    /// Plain `http://` only when written here; the plan then says so.
    pub url: String,
    pub username: Option<String>,
    pub password: Option<Secret>,
    pub ca: Option<PathBuf>,
    /// Do not verify TLS; the plan then says so.
    #[serde(default)]
    pub insecure: bool,
}
