//! The hosts of a cluster as machines: what of them is wanted is read, and a change of their files is made and taken back.
//! Nothing is written that does not stand as planned.

use super::{Live, fetch, reading, unnamed};
use crate::cluster::{
    Report,
    host::client::{HostClient, Means},
};
use crate::model::{Change, Fault, Machine, Part, Service, Standing, Unanswered, Wants};
use futures::{StreamExt, stream};
use std::{collections::BTreeMap, sync::Arc};

impl Live {
    /// Those hosts on which the cluster file has any of the daemons that are asked for.
    pub(super) async fn read_machines(
        &self,
        wants: &Wants,
    ) -> ((BTreeMap<String, Machine>, BTreeMap<String, String>), Vec<Unanswered>) {
        let wants = &wants.machines;
        let (fetched, mut missing) = fetch::all(&wants.fetched()).await;
        let fetched = &fetched;
        let asked = self.machines.iter().filter(|(_, host)| host.has_any(wants)).map(|(name, host)| {
            let (name, host) = (name.clone(), Arc::clone(host));
            async move { (name, reading::within(reading::DEADLINE, host.read_with(wants, fetched)).await) }
        });
        let answers = stream::iter(asked.collect::<Vec<_>>()).buffer_unordered(reading::HOSTS_AT_ONCE).collect().await;
        let (machines, silent) = reading::sorted(answers, Part::Machines, "host");
        missing.extend(silent);
        ((machines, fetched.clone()), missing)
    }

    pub(super) async fn configure_standing(&self, change: &Change) -> Result<Standing, Fault> {
        let machine = self.machine(change.place())?;
        match change {
            Change::Configure { files, daemon, .. } => machine.standing(files, daemon.as_ref(), &self.means()?).await,
            Change::Unit { unit, after, .. } => machine.unit_standing(unit, *after).await,
            _ => Ok(Standing::After),
        }
    }

    pub(super) async fn configure(&self, change: &Change, report: Report<'_>) -> Result<(), Fault> {
        let machine = self.machine(change.place())?;
        match change {
            Change::Unit { unit, after, .. } => machine.set_unit(unit, *after == Service::Running, report).await,
            _ => machine.apply(change, &self.means()?, report).await,
        }
    }

    pub(super) async fn unconfigure(&self, change: &Change, report: Report<'_>) -> Result<(), Fault> {
        let machine = self.machine(change.place())?;
        match change {
            Change::Unit { unit, after, .. } => machine.set_unit(unit, *after == Service::Stopped, report).await,
            _ => machine.undo(change, &self.means()?, report).await,
        }
    }

    fn means(&self) -> Result<Means<'_>, Fault> {
        Ok(Means { backups: self.backups()?, secrets: &self.file.secrets })
    }

    fn machine(&self, name: &str) -> Result<&HostClient, Fault> {
        self.machines.get(name).map(Arc::as_ref).ok_or_else(|| unnamed(&format!("host `{name}`"), "[[hosts]]"))
    }
}
