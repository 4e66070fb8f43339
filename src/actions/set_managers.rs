//! `set-managers`: every manager service is stopped, or started.

use super::{About, Action, Drawn};
use crate::model::{Change, Inventory, Service, text};
use serde::Deserialize;

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SetManagers {
    /// `stopped` or `running`.
    pub to: To,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum To {
    Stopped,
    Running,
}

impl Action for SetManagers {
    fn plan(&self, world: &Inventory, _: &About<'_>) -> Result<Drawn, String> {
        let after = if self.to == To::Stopped { Service::Stopped } else { Service::Running };
        let changes: Vec<Change> =
            world.managers.keys().map(|manager| Change::Service { manager: manager.clone(), after }).collect();
        let n = text::count(changes.len() as u64, "manager");
        let summary = match self.to {
            To::Stopped => format!("stop {n}; the API is down, running sessions go on"),
            To::Running => format!("start {n}, wait until the API answers"),
        };
        Ok(Drawn { changes, summary, ..Drawn::default() })
    }
}
