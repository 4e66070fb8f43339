//! `set-unit`: a unit of hosts runs, or does not. Whether it starts with the machine is left as it is.

use super::{
    About, Action, Drawn,
    hosts::{On, UnitName, UnitState},
};
use crate::model::{Change, Inventory, MachineWants, Part, Service, Wants, text};
use schemars::JsonSchema;
use serde::Deserialize;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SetUnit {
    /// `docker`, `kubelet.service`.
    unit: UnitName,
    /// `running` or `stopped`.
    state: UnitState,
    /// Names of hosts, with `*`; left out: every host.
    #[serde(default)]
    on: On,
}

impl Action for SetUnit {
    fn wants(&self, _: &About<'_>) -> Wants {
        let machines = MachineWants { units: [self.unit.0.clone()].into(), ..MachineWants::default() };
        Wants { parts: [Part::Machines].into(), machines, ..Wants::default() }
    }

    fn plan(&self, world: &Inventory, _: &About<'_>) -> Result<Drawn, String> {
        let hosts = self.on.hosts(world)?;
        let (after, verb) = match self.state {
            UnitState::Running => (Service::Running, "start"),
            UnitState::Stopped => (Service::Stopped, "stop"),
        };
        let summary = format!("{}: {verb} unit {}", text::count(hosts.len() as u64, "host"), self.unit.0);
        let change = |host: String| Change::Unit { host, unit: self.unit.0.clone(), after };
        Ok(Drawn { changes: hosts.into_iter().map(change).collect(), summary, ..Drawn::default() })
    }
}
