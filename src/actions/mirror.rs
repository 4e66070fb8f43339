//! The mirror of a runbook, and `check-mirror`: what must hold on every host before its files are touched. Plans no change.

use super::{About, Action, Drawn};
use crate::model::{Check, ImageRef, Inventory, MachineWants, Part, Problem, Prover, ReachWant, Wants, text};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeSet;

/// The registry that answers in place of others: data of the runbook, shared by all its steps.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Mirror {
    /// `https://mirror.example:5000`: scheme, host and port.
    pub url: String,
    /// Where the images are in it: `infra/k8s`; empty: at the root.
    #[serde(default)]
    pub path: String,
    /// The registries it answers for. Docker asks a mirror for `docker.io` alone.
    #[serde(default = "docker_hub")]
    pub registries: Vec<String>,
    /// Who logs in there; Docker brings a mirror no login.
    pub username: Option<String>,
    /// Name of a secret of the cluster file (`[secrets]`).
    pub password: Option<String>,
    /// Its certificate authority: a path on the hosts, or a URL from which castoff fetches it.
    pub ca: Option<String>,
    /// Do not verify its certificate; the plan says so.
    #[serde(default)]
    pub skip_tls: bool,
    /// It and nothing else: where it fails, nothing is asked of the registries behind it.
    #[serde(default)]
    pub only: bool,
    /// A small image of Docker Hub, pulled through it as a proof, on hosts that do not have it.
    #[serde(default = "small_image")]
    #[schemars(with = "String")]
    pub image: ImageRef,
}

fn docker_hub() -> Vec<String> {
    vec!["docker.io".to_owned()]
}

fn small_image() -> ImageRef {
    "docker.io/library/busybox:1".parse().expect("it is an image")
}

impl Mirror {
    /// What is wrong with it, if anything.
    pub fn check(&self) -> Result<(), String> {
        host_of(&self.url).map_err(|why| format!("`{}`, the `url` of `[mirror]`, {why}", self.url))?;
        if self.username.is_some() != self.password.is_some() {
            return Err("`username` and `password` of `[mirror]` belong together: `password` names a secret of the cluster file"
                .to_owned());
        }
        if self.registries.is_empty() {
            return Err("`registries` of `[mirror]` is empty: name at least one, such as `docker.io`".to_owned());
        }
        if self.path.starts_with('/') || self.path.ends_with('/') || self.path.contains("//") {
            return Err(format!("`{}`, the `path` of `[mirror]`, has a `/` too many: `infra/k8s` is one", self.path));
        }
        if let Some(ca) = self.ca.as_ref().filter(|ca| !ca.starts_with('/') && !ca.starts_with("https://")) {
            return Err(format!(
                "`{ca}`, the `ca` of `[mirror]`, is neither a path from the root on the hosts nor `https://…`, from where castoff fetches it"
            ));
        }
        Ok(())
    }

    /// Host and port: `mirror.example:5000`.
    pub fn host(&self) -> &str {
        self.url.split("://").nth(1).unwrap_or_default().trim_end_matches('/')
    }

    /// Its authority, where castoff has to fetch it.
    pub fn fetch(&self) -> BTreeSet<String> {
        self.ca.iter().filter(|ca| !ca.starts_with('/')).cloned().collect()
    }

    /// How each host has to reach it.
    pub fn reach(&self) -> ReachWant {
        let place = if self.path.is_empty() { String::new() } else { format!("/v2/{}", self.path) };
        ReachWant {
            mirror: format!("{}{place}", self.url.trim_end_matches('/')),
            image: Some(format!("{}:{}", self.image.repository, self.image.tag)),
            login: self.username.is_some(),
            insecure: self.skip_tls,
            ca: self.ca.clone(),
        }
    }
}

/// Host and port of a URL that has a scheme and nothing else.
pub fn host_of(url: &str) -> Result<&str, &'static str> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let host = rest.map(|rest| rest.trim_end_matches('/'));
    let plain = |host: &&str| !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || ".-:[]".contains(c));
    host.filter(plain).ok_or("is not `https://host` or `https://host:port`")
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct CheckMirror {
    /// Whose configuration is looked at.
    #[serde(rename = "for")]
    of: Prover,
}

/// What has to be read of a host for one of the three.
pub fn wants(of: Prover) -> MachineWants {
    let mut wants = MachineWants::default();
    match of {
        Prover::Docker => wants.docker = true,
        Prover::Containerd => wants.containerd = true,
        Prover::Podman => wants.podman = true,
    }
    wants
}

/// The hosts that have one of the three.
pub fn hosts(world: &Inventory, of: Prover) -> Vec<&str> {
    let has = |machine: &crate::model::Machine| match of {
        Prover::Docker => machine.docker.is_some(),
        Prover::Containerd => machine.containerd.is_some(),
        Prover::Podman => machine.podman.is_some(),
    };
    world.machines.iter().filter(|(_, machine)| has(machine)).map(|(name, _)| name.as_str()).collect()
}

impl Action for CheckMirror {
    fn wants(&self, about: &About<'_>) -> Wants {
        let mirror = about.mirror();
        let machines = MachineWants { reach: [mirror.reach()].into(), fetch: mirror.fetch(), ..wants(self.of) };
        Wants { parts: [Part::Machines].into(), machines, ..Wants::default() }
    }

    fn plan(&self, world: &Inventory, about: &About<'_>) -> Result<Drawn, String> {
        let mirror = about.mirror();
        let hosts: BTreeSet<String> = hosts(world, self.of).into_iter().map(str::to_owned).collect();
        if hosts.is_empty() {
            return Err(format!("no host with {} was found", self.of));
        }
        let parts = [Part::Machines].into();
        let reach = mirror.reach();
        let checks = vec![Check::Answers { parts, machines: wants(self.of) }, Check::Mirror { reach, hosts: hosts.clone() }];
        let mut notes = vec![];
        let mut note = |why: &str, hint: &str| {
            notes.push(Problem { hint: Some(hint.to_owned()), ..Problem::new(format!("mirror {}", mirror.host()), why) });
        };
        if mirror.url.starts_with("http://") {
            note("is asked without TLS", "whoever is on the network can see and change what is pulled by tag");
        }
        if mirror.skip_tls {
            note("its certificate is not verified: the runbook says so", "give its authority by `ca` instead");
        }
        if mirror.only {
            note(
                "is all that is asked: when it fails, no image comes",
                "leave `only` out, and the registries behind it are asked then",
            );
        }
        let summary = format!("{} with {} can use {}", text::count(hosts.len() as u64, "host"), self.of, mirror.url);
        Ok(Drawn { checks, notes, summary, ..Drawn::default() })
    }
}
