//! The cluster file: where the parts of a cluster are and by what names their secrets go. TOML, read once.
//! It never holds a secret, and no error of it shows one.

mod checks;
mod hosts;
mod place;

pub use hosts::{ContainerdConfig, DockerConfig, HostConfig, PodmanConfig};
pub use place::ConfigError;

/// Whether a URL holds a password, which it must not.
pub fn holds_password(url: &str) -> bool {
    place::password_in_url(url).is_some()
}

use super::secret::Secret;
use crate::model::{
    image::canonical_registry,
    window::{self, Agreed, BadWindow},
};
use etcetera::BaseStrategy;
use place::Place;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use toml::de::DeTable;

#[derive(Clone, Debug, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ClusterFile {
    /// What is typed at gates.
    pub name: String,
    pub window: Option<WindowConfig>,
    pub etcd: Option<Etcd>,
    pub postgres: Option<Postgres>,
    #[serde(default)]
    pub ssh: Ssh,
    #[serde(default)]
    pub managers: Vec<ManagerConfig>,
    #[serde(default)]
    pub agents: Vec<AgentConfig>,
    /// Machines whose mirrors are set. An agent with a `host` is one as well, with the usual paths and commands.
    #[serde(default)]
    pub hosts: Vec<HostConfig>,
    pub discover: Option<Discover>,
    /// By name as in image references: `cr.backend.ai`, `docker.io`.
    #[serde(default)]
    pub registries: BTreeMap<String, RegistryConfig>,
    /// Who is told when a run needs a person.
    #[serde(default)]
    pub notify: Notify,
    /// Where runs are kept that several operators share; `--journal` goes before it.
    pub journal: Option<Postgres>,
    /// A cluster of Platform9 whose mirror a runbook puts.
    pub platform9: Option<Platform9Config>,
    /// What a runbook puts into files of hosts by name: the password of a mirror.
    #[serde(default)]
    pub secrets: BTreeMap<String, Secret>,
}

impl ClusterFile {
    /// The file that was asked for, or the first that is there: `castoff.toml` in this folder, `castoff/cluster.toml`
    /// in the operator's configuration folder, `/etc/castoff/cluster.toml`.
    pub fn load(explicit: Option<&Path>) -> Result<Self, ConfigError> {
        let places = explicit.map_or_else(usual_places, |path| vec![path.to_owned()]);
        if let Some(file) = Self::find(explicit)? {
            return Ok(file);
        }
        let looked: Vec<String> = places.iter().map(|place| format!("`{}`", place.display())).collect();
        Err(ConfigError::new(format!(
            "there is no cluster file: looked for {}\nhint: `castoff init` on a manager host writes one",
            looked.join(", ")
        )))
    }

    /// The same, for whom it is no error that there is none.
    pub fn find(explicit: Option<&Path>) -> Result<Option<Self>, ConfigError> {
        let places = explicit.map_or_else(usual_places, |path| vec![path.to_owned()]);
        for place in &places {
            match std::fs::read_to_string(place) {
                Ok(text) => return Self::parse(&text, place).map(Some),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound && explicit.is_none() => {}
                Err(error) => {
                    return Err(ConfigError::new(format!("cannot read the cluster file `{}`: {error}", place.display())));
                }
            }
        }
        Ok(None)
    }

    /// Reads a cluster file; `origin` names it in errors, and relative paths in it start from its folder.
    pub fn parse(text: &str, origin: &Path) -> Result<Self, ConfigError> {
        let place = Place { text, origin };
        let table = DeTable::parse(text).map_err(|e| place.syntax_error(&e))?;
        // Before anything that may quote a value: a secret written here by mistake must not reach an error.
        place.refuse(table.get_ref(), &checks::secrets(table.get_ref()))?;
        let mut file: Self = toml::from_str(text).map_err(|e| place.syntax_error(&e))?;
        place.refuse(table.get_ref(), &checks::all(&file))?;
        file.resolve(origin.parent().unwrap_or(Path::new("")));
        file.registries =
            file.registries.into_iter().map(|(name, registry)| (canonical_registry(&name).to_owned(), registry)).collect();
        Ok(file)
    }

    /// What the operator should know before relying on this file: connections that nobody protects.
    pub fn notes(&self) -> Vec<String> {
        let registries = self.registries.iter().filter_map(|(name, registry)| match registry {
            _ if registry.url.starts_with("http://") => Some(format!("registry `{name}` is asked without TLS")),
            _ if registry.insecure => Some(format!("the certificate of registry `{name}` is not verified")),
            _ => None,
        });
        let agents = self.agents.iter().filter(|agent| agent.docker.starts_with("tcp://") && agent.tls.is_none());
        let webhook = self.notify.webhook.iter().filter(|url| url.starts_with("http://"));
        let webhook = webhook.map(|_| "the webhook is told notices without TLS".to_owned());
        registries
            .chain(agents.map(|agent| format!("the Docker Engine of `{}` is asked without TLS", agent.name)))
            .chain(webhook)
            .collect()
    }

    /// The environment variables that hold a secret of this file.
    pub fn secret_variables(&self) -> Vec<String> {
        let etcd = self.etcd.iter().filter_map(|etcd| etcd.password.as_ref());
        let postgres = self.postgres.iter().chain(&self.journal).filter_map(|postgres| postgres.password.as_ref());
        let registries = self.registries.values().filter_map(|registry| registry.password.as_ref());
        let name = |secret: &Secret| if let Secret::Env(name) = secret { Some(name.clone()) } else { None };
        let named = etcd
            .chain(postgres)
            .chain(registries)
            .chain(&self.notify.token)
            .chain(self.platform9.iter().map(|platform9| &platform9.token))
            .chain(self.secrets.values())
            .filter_map(name);
        // libpq's own, which PostgreSQL's client honours.
        named.chain(["PGPASSWORD".to_owned()]).collect()
    }

    fn resolve(&mut self, folder: &Path) {
        let etcd = self.etcd.iter_mut().flat_map(|etcd| [&mut etcd.ca, &mut etcd.cert, &mut etcd.key]).flatten();
        let postgres = self
            .postgres
            .iter_mut()
            .chain(&mut self.journal)
            .flat_map(|postgres| [&mut postgres.ca, &mut postgres.cert, &mut postgres.key]);
        let registries = self.registries.values_mut().flat_map(|own| [&mut own.ca, &mut own.cert, &mut own.key]);
        let discovered = self.discover.iter_mut().filter_map(|discover| discover.agents.tls.as_mut());
        let tls = self.agents.iter_mut().filter_map(|agent| agent.tls.as_mut()).chain(discovered);
        let tls = tls.flat_map(|tls| [&mut tls.ca, &mut tls.cert, &mut tls.key]);
        let own = self.ssh.config.iter_mut().chain(&mut self.notify.ca);
        let own = own.chain(self.platform9.iter_mut().filter_map(|platform9| platform9.ca.as_mut()));
        for path in etcd.chain(postgres.flatten()).chain(registries.flatten()).chain(tls).chain(own) {
            *path = folder.join(&*path);
        }
        let etcd = self.etcd.iter_mut().filter_map(|etcd| etcd.password.as_mut());
        let postgres = self.postgres.iter_mut().chain(&mut self.journal).filter_map(|postgres| postgres.password.as_mut());
        let registries = self.registries.values_mut().filter_map(|registry| registry.password.as_mut());
        let own = self.notify.token.iter_mut().chain(self.secrets.values_mut());
        let own = own.chain(self.platform9.iter_mut().map(|platform9| &mut platform9.token));
        for secret in etcd.chain(postgres).chain(registries).chain(own) {
            if let Secret::File(path) = secret {
                *path = folder.join(&*path);
            }
        }
    }
}

fn usual_places() -> Vec<PathBuf> {
    let own = etcetera::choose_base_strategy().ok().map(|base| base.config_dir().join("castoff/cluster.toml"));
    let mut places = vec![PathBuf::from("castoff.toml")];
    places.extend(own);
    places.push(PathBuf::from("/etc/castoff/cluster.toml"));
    places
}

/// The agreed time in which the service may be down; `--window` goes before it.
#[derive(Clone, Debug, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct WindowConfig {
    /// `02:00`
    pub from: String,
    /// `04:00`; before `from` it is on the next day.
    pub until: String,
    /// `Asia/Seoul`; without it the zone of this machine.
    pub zone: Option<String>,
    /// `2026-11-22`; without it every day.
    pub date: Option<String>,
}

impl WindowConfig {
    pub fn agreed(&self) -> Result<Agreed, BadWindow> {
        let date = self.date.as_deref().map(window::date).transpose()?;
        Agreed::new(window::time(&self.from)?, window::time(&self.until)?, date, self.zone.clone())
    }
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
    /// Without it the system's own authorities are asked.
    pub ca: Option<PathBuf>,
    pub cert: Option<PathBuf>,
    pub key: Option<PathBuf>,
}

fn local() -> String {
    "local".to_owned()
}

#[derive(Clone, Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Postgres {
    /// `postgres://user@host:port/database?sslmode=…`, without a password.
    pub url: String,
    pub password: Option<Secret>,
    /// With it the server's certificate and name are verified, unless the URL has an `sslmode` of its own.
    pub ca: Option<PathBuf>,
    /// A client certificate, where the server asks for one.
    pub cert: Option<PathBuf>,
    pub key: Option<PathBuf>,
}

/// The cluster API of Platform9 (Qbert).
#[derive(Clone, Debug, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Platform9Config {
    /// Its management plane: `https://account.platform9.net`.
    pub url: String,
    /// UUID of the project.
    pub project: String,
    /// UUID of the cluster.
    pub cluster: String,
    /// A token of its Keystone, sent as `X-Auth-Token`.
    pub token: Secret,
    /// Without it the system's own authorities are asked.
    pub ca: Option<PathBuf>,
}

/// Notices of a run: a question is open, a step failed, the run is over.
#[derive(Clone, Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Notify {
    /// Run by `sh -c` with the notice, one JSON object, on its standard input.
    pub command: Option<String>,
    /// Gets the same object by POST.
    pub webhook: Option<String>,
    /// Sent to the webhook as `Authorization: Bearer`.
    pub token: Option<Secret>,
    /// Without it the system's own authorities are asked.
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
    /// A command, as a list of words, that prints the newest lines of its log: a brown-out tells from them who is refused.
    #[serde(default = "manager_log")]
    pub log: Vec<String>,
}

fn manager_log() -> Vec<String> {
    ["journalctl", "--unit", "backendai-manager", "--lines", "5000", "--output", "cat", "--no-pager"].map(str::to_owned).to_vec()
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
    /// Where the login is that is not written here. Left out, it is what docker or podman keep for the host of `url`, if anything.
    pub login: Option<LoginFrom>,
    /// Where its token service is, when the registry sends castoff to another domain: this place too may be told the login.
    pub realm: Option<String>,
    pub ca: Option<PathBuf>,
    /// A client certificate, where the registry asks for one.
    pub cert: Option<PathBuf>,
    pub key: Option<PathBuf>,
    /// Do not verify TLS; the plan then says so.
    #[serde(default)]
    pub insecure: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LoginFrom {
    /// `config.json` of docker, `auth.json` of podman, and their credential helpers, by the registry's name; it must be there.
    DockerConfig,
    /// Nobody is logged in.
    None,
}

#[cfg(test)]
mod tests;
