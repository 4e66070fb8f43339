//! A host as a machine: its files, the daemons that read them, and how it reaches a mirror. What its Docker Engine holds is
//! in `inventory`. It never holds a secret: in every text each one is veiled (`model::veil`).

use super::{Digest, Service, Store};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Stands for the name of the host in paths and texts of a runbook.
pub const HOST: &str = "{host}";

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Machine {
    /// Every path that was asked for; `None`: nothing stands there.
    #[serde(default)]
    pub files: BTreeMap<String, Option<FileState>>,
    /// Units that were asked for; `None`: on its way from one to the other, or between two tries to start.
    #[serde(default)]
    pub units: BTreeMap<String, Option<Service>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub docker: Option<DockerDaemon>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub containerd: Option<ContainerdDaemon>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub podman: Option<Podman>,
    /// Mirror, as asked for, to how it answers from this host.
    #[serde(default)]
    pub reach: BTreeMap<String, Reach>,
}

/// One file as it was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct FileState {
    /// Secrets veiled: `(hidden 1)`, `(hidden 2)`, … in their order.
    pub text: String,
    /// Of the true bytes.
    pub sha256: Digest,
    /// Permission bits: 0o644.
    pub mode: u32,
    /// Numbers of user and group: `0:0`.
    pub owner: String,
}

/// A Docker daemon as it runs, asked by its API, its command line and its unit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the daemon's own")]
pub struct DockerDaemon {
    /// `20.10.24+dfsg1`.
    pub version: String,
    /// The path of its `daemon.json`: `--config-file` of the running process, or the usual place.
    pub config: String,
    /// Folders on the way to it that are not there, outermost first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub absent: Vec<String>,
    /// Its folder of certificates, and of `hosts.toml` where it reads them.
    #[serde(default)]
    pub certs: String,
    /// `RegistryConfig.Mirrors` of `/info`, each as the daemon writes it (one closing `/`).
    pub mirrors: Vec<String>,
    /// `RegistryConfig.InsecureRegistryCIDRs` and the names of `IndexConfigs` that are not secure, without 127.0.0.0/8 and ::1/128.
    #[serde(default)]
    pub insecure: Vec<String>,
    pub store: Store,
    pub live_restore: bool,
    pub swarm: bool,
    pub debug: bool,
    pub rootless: bool,
    /// The words of its command line behind the program, as `/proc/PID/cmdline` has them; empty where it cannot be read.
    #[serde(default)]
    pub flags: Vec<String>,
    /// What would start it anew: words of `ExecStart` with the variables of its environment files filled in; empty without a unit.
    #[serde(default)]
    pub unit_flags: Vec<String>,
    /// Names of running containers: they stop with a restart, unless `live_restore`.
    #[serde(default)]
    pub running: Vec<String>,
}

/// containerd as it runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ContainerdDaemon {
    /// `1.6.20`.
    pub version: String,
    /// The path of its `config.toml`.
    pub config: String,
    /// `config_path` of its configuration as it is now (`containerd config dump`): what it uses, or would after a restart.
    pub config_path: String,
    #[serde(default, skip_serializing_if = "TakenUp::is_so")]
    pub taken_up: TakenUp,
    /// How its CRI plugin fares.
    pub cri: Cri,
    /// Version of the configuration format as `containerd config dump` gives it: 2 or 3.
    pub format: u32,
    /// Registries of the old `mirrors` tables, of the whole dumped configuration: they conflict with a `config_path`.
    #[serde(default)]
    pub mirrors: Vec<String>,
    /// Registries with `configs.*.tls` tables: they conflict as well, in 1.x.
    #[serde(default)]
    pub tls: Vec<String>,
    /// Files of `imports`, each of which may set `config_path` too.
    #[serde(default)]
    pub imports: Vec<String>,
    /// Its folder of `hosts.toml` files: `config_path` where that is one folder, else the one of the cluster file.
    #[serde(default)]
    pub certs: String,
    /// Those on the way to it, and itself, that are not there; outermost first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub absent: Vec<String>,
    /// Folders in it, each with the names of its files.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub folders: BTreeMap<String, Vec<String>>,
    /// Those whose `hosts.toml` stands elsewhere, by a link, and where.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub links: BTreeMap<String, String>,
}

/// Whether a process uses what its configuration says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TakenUp {
    #[default]
    Yes,
    /// It goes on with this `config_path`; empty: it reads no folder.
    Uses(String),
    /// It was not restarted since the last change, and does not say what it uses.
    Unknown,
}

impl TakenUp {
    pub fn is_so(&self) -> bool {
        *self == Self::Yes
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cri {
    Ok,
    /// Not loaded or disabled.
    #[default]
    Absent,
    /// With its error.
    Failed(String),
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Podman {
    /// `4.3.1`.
    pub version: String,
    /// The folder of drop-ins that it reads.
    pub folder: String,
    /// Names of the files in it, sorted as they are read.
    #[serde(default)]
    pub drop_ins: Vec<String>,
    /// The folder with one folder of certificates for each registry.
    #[serde(default)]
    pub certs: String,
    /// Those folders that it would need and that are not there.
    #[serde(default)]
    pub missing: Vec<String>,
    /// CRI-O runs there, which reads the drop-ins when it is reloaded.
    #[serde(default)]
    pub crio: bool,
}

/// How a mirror answers from a host. The steps are asked one after the other; what comes after a failure is not known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", tag = "reach", deny_unknown_fields)]
pub enum Reach {
    /// It is a registry, and serves the image that was asked for without a login (or none was asked for).
    Ok { digest: Option<Digest> },
    /// It is a registry and has no such image.
    NoImage { image: String },
    /// It demands a login: `Bearer`, `Basic`.
    Login { scheme: String },
    /// It answers, but is no registry: status, content type.
    NoRegistry { status: u16, content_type: String },
    /// The name does not resolve there.
    NoName { why: String },
    /// No TCP connection.
    NoConnection { why: String },
    /// TLS: no trust, a wrong name, or plain HTTP behind `https://`.
    Tls { why: String },
    /// It answers with an error, or not in time.
    Failing { why: String },
}

impl Podman {
    /// Where the authority of a registry (`host:port`) is looked for.
    pub fn authority(&self, registry: &str) -> String {
        format!("{}/{registry}/ca.crt", self.certs)
    }

    /// The settings that are read before the drop-ins: `registries.conf` beside `registries.conf.d`.
    pub fn main(&self) -> Option<&str> {
        self.folder.strip_suffix(".d")
    }
}

/// What to read of machines.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct MachineWants {
    /// Absolute paths; `{host}` stands for the host's name. Those that a daemon names itself (its own configuration) are read with the daemon.
    #[serde(default)]
    pub files: BTreeSet<String>,
    #[serde(default)]
    pub units: BTreeSet<String>,
    #[serde(default)]
    pub docker: bool,
    #[serde(default)]
    pub containerd: bool,
    #[serde(default)]
    pub podman: bool,
    #[serde(default)]
    pub reach: BTreeSet<ReachWant>,
    /// `https://…`: texts that castoff itself fetches, to be written on hosts.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub fetch: BTreeSet<String>,
}

impl Reach {
    /// What stands against using it, and what helps.
    pub fn problem(&self) -> Option<(String, Option<&'static str>)> {
        match self {
            Self::Ok { .. } => None,
            Self::NoImage { image } => {
                Some((format!("it has no `{image}`"), Some("name another small image that it serves as `image` of `[mirror]`")))
            }
            Self::Login { scheme } => Some((
                format!("it demands a login ({scheme})"),
                Some("a Docker daemon would answer it with the login for Docker Hub: use a mirror that needs none"),
            )),
            Self::NoRegistry { status, content_type } => Some((
                format!("it answers with HTTP {status} and `{content_type}`, not as a registry"),
                Some("look at URL and port: a registry answers `/v2/` with JSON"),
            )),
            Self::NoName { why } => Some((format!("its name does not resolve there: {why}"), Some("look at the host's DNS"))),
            Self::NoConnection { why } => {
                Some((format!("no connection: {why}"), Some("look at port, routes and firewalls between the two")))
            }
            Self::Tls { why } => Some((
                format!("TLS: {why}"),
                Some(
                    "Docker trusts `certs.d/HOST:PORT/ca.crt` in its configuration folder on the host, containerd and podman the `ca` of `[mirror]`",
                ),
            )),
            Self::Failing { why } => Some((why.clone(), None)),
        }
    }
}

impl MachineWants {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What has to be fetched: what is asked for, and the authorities by which mirrors are reached.
    pub fn fetched(&self) -> BTreeSet<String> {
        let of_reach = self.reach.iter().filter_map(|want| want.ca.clone()).filter(|ca| !ca.starts_with('/'));
        self.fetch.iter().cloned().chain(of_reach).collect()
    }

    /// The files that are wanted of one host.
    pub fn paths(&self, host: &str) -> impl Iterator<Item = String> {
        self.files.iter().map(move |path| path.replace(HOST, host))
    }

    /// Both.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.files.extend(other.files);
        self.units.extend(other.units);
        self.reach.extend(other.reach);
        self.fetch.extend(other.fetch);
        self.docker |= other.docker;
        self.containerd |= other.containerd;
        self.podman |= other.podman;
        self
    }
}

/// One mirror to ask from each host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ReachWant {
    /// `https://mirror.example:5000`, `https://mirror.example/v2/infra` (then the path is the whole API path).
    pub mirror: String,
    /// `library/busybox:1.36`: repository and tag, as the mirror is asked for it.
    pub image: Option<String>,
    /// A login is allowed: whoever asks the mirror brings one.
    #[serde(default)]
    pub login: bool,
    /// Do not verify TLS.
    #[serde(default)]
    pub insecure: bool,
    /// Path of a CA file on the host, or a URL that castoff fetches it from; where it is not there the system's authorities
    /// are asked.
    #[serde(default)]
    pub ca: Option<String>,
}

impl ReachWant {
    /// What its answer is kept under: one mirror may be asked in several ways.
    pub fn name(&self) -> String {
        let Self { mirror, image, login, insecure, ca } = self;
        let image = image.as_ref().map(|image| format!(" {image}")).unwrap_or_default();
        let ca = ca.as_ref().map(|ca| format!(" by {ca}")).unwrap_or_default();
        let login = if *login { " with a login" } else { "" };
        format!("{mirror}{image}{login}{}{ca}", if *insecure { " unverified" } else { "" })
    }

    /// Host and port: `mirror.example:5000`.
    pub fn host(&self) -> &str {
        let rest = self.mirror.split_once("://").map_or(self.mirror.as_str(), |(_, rest)| rest);
        rest.split('/').next().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_two_ways_to_ask_a_mirror_share_their_answer() {
        let plain = ReachWant { mirror: "https://m".to_owned(), image: None, login: false, insecure: false, ca: None };
        let all = [
            plain.clone(),
            ReachWant { mirror: "https://m/v2/a".to_owned(), ..plain.clone() },
            ReachWant { image: Some("a/b:1".to_owned()), ..plain.clone() },
            ReachWant { image: Some("a/b:2".to_owned()), ..plain.clone() },
            ReachWant { login: true, ..plain.clone() },
            ReachWant { insecure: true, ..plain.clone() },
            ReachWant { ca: Some("/etc/ca.pem".to_owned()), ..plain.clone() },
            ReachWant { login: true, insecure: true, ..plain },
        ];
        assert_eq!(all.iter().map(ReachWant::name).collect::<BTreeSet<_>>().len(), all.len());
    }
}
