//! `check-files`, `check-units` and `check-reach`: what has to hold on hosts before a run goes on. They run no command of the
//! runbook's and change nothing; with a gate that waits, a run waits for them.

use super::{
    About, Action, Drawn,
    hosts::{HostPath, On, UnitName, UnitState},
};
use crate::model::{Check, Inventory, MachineWants, Part, ReachWant, Wants, text};
use schemars::JsonSchema;
use serde::Deserialize;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct CheckFiles {
    /// Which; `{host}` is the host's name.
    path: HostPath,
    /// `false`: nothing may stand there.
    #[serde(default = "yes")]
    exists: bool,
    /// Texts that have to be in it.
    #[serde(default)]
    holds: Vec<String>,
    /// Texts that may not be in it.
    #[serde(default)]
    lacks: Vec<String>,
    /// Names of hosts, with `*`; left out: every host.
    #[serde(default)]
    on: On,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct CheckUnits {
    /// Names of units.
    units: Vec<UnitName>,
    /// `running` or `stopped`; left out: `running`.
    #[serde(default)]
    state: UnitState,
    /// Names of hosts, with `*`; left out: every host.
    #[serde(default)]
    on: On,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct CheckReach {
    /// `https://mirror.example:5000`.
    url: Url,
    /// `registry`: it has to answer as one. `port`: whoever answers will do.
    #[serde(default, rename = "as")]
    kind: Kind,
    /// An image that the registry has to serve: `library/busybox:1`.
    image: Option<String>,
    /// A registry that demands a login will do as well.
    #[serde(default)]
    login: bool,
    /// Path of its certificate authority on the hosts.
    ca: Option<HostPath>,
    /// Do not verify its certificate.
    #[serde(default)]
    skip_tls: bool,
    /// Names of hosts, with `*`; left out: every host.
    #[serde(default)]
    on: On,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    #[default]
    Registry,
    Port,
}

/// Scheme, host and port.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
struct Url(String);

impl TryFrom<String> for Url {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        super::mirror::host_of(&text).map_err(|why| format!("`{text}` {why}"))?;
        Ok(Self(text))
    }
}

fn yes() -> bool {
    true
}

fn of_machines(machines: MachineWants) -> Wants {
    Wants { parts: [Part::Machines].into(), machines, ..Wants::default() }
}

impl Action for CheckFiles {
    fn wants(&self, _: &About<'_>) -> Wants {
        of_machines(MachineWants { files: [self.path.0.clone()].into(), ..MachineWants::default() })
    }

    fn plan(&self, world: &Inventory, _: &About<'_>) -> Result<Drawn, String> {
        let hosts = self.on.hosts(world)?;
        let (path, holds, lacks) = (self.path.0.clone(), self.holds.clone(), self.lacks.clone());
        let hosts = hosts.into_iter().collect();
        Ok(checked(Check::File { path, exists: self.exists, holds, lacks, hosts }))
    }
}

impl Action for CheckUnits {
    fn wants(&self, _: &About<'_>) -> Wants {
        of_machines(MachineWants { units: self.names(), ..MachineWants::default() })
    }

    fn plan(&self, world: &Inventory, _: &About<'_>) -> Result<Drawn, String> {
        let hosts = self.on.hosts(world)?.into_iter().collect();
        Ok(checked(Check::Units { units: self.names(), running: self.state == UnitState::Running, hosts }))
    }
}

impl CheckUnits {
    fn names(&self) -> std::collections::BTreeSet<String> {
        self.units.iter().map(|unit| unit.0.clone()).collect()
    }
}

impl Action for CheckReach {
    fn wants(&self, _: &About<'_>) -> Wants {
        of_machines(MachineWants { reach: [self.want()].into(), ..MachineWants::default() })
    }

    fn plan(&self, world: &Inventory, _: &About<'_>) -> Result<Drawn, String> {
        let (reach, hosts) = (self.want(), self.on.hosts(world)?.into_iter().collect());
        Ok(checked(match self.kind {
            Kind::Registry => Check::Mirror { reach, hosts },
            Kind::Port => Check::Port { reach, hosts },
        }))
    }
}

impl CheckReach {
    fn want(&self) -> ReachWant {
        let ca = self.ca.as_ref().map(|ca| ca.0.clone());
        ReachWant { mirror: self.url.0.clone(), image: self.image.clone(), login: self.login, insecure: self.skip_tls, ca }
    }
}

fn checked(check: Check) -> Drawn {
    let answers = Check::Answers { parts: [Part::Machines].into(), machines: check.machines() };
    Drawn { summary: text::clean(&check.title()), checks: vec![answers, check], ..Drawn::default() }
}
