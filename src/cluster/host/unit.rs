//! The units of a host: whether they run, and what makes them start, stop, reload and restart. Only by the words of the
//! cluster file; it never enables or disables one.

use super::client::HostClient;
use crate::{
    cluster::{Report, ssh::Output},
    model::{Fault, FaultKind, Service, Standing},
};
use std::time::Duration;
use tokio::time::{Instant, sleep};

const ASKED_WITHIN: Duration = Duration::from_secs(20);
/// A stop may have to wait for what still runs.
const DONE_WITHIN: Duration = Duration::from_mins(2);
const LOOK_EVERY: Duration = Duration::from_millis(200);

impl HostClient {
    pub async fn unit_standing(&self, unit: &str, after: Service) -> Result<Standing, Fault> {
        let as_wanted = self.unit_state(unit).await? == Some(after);
        Ok(if as_wanted { Standing::After } else { Standing::Before })
    }

    /// Starts or stops it, and asks until it is so: a unit may be on its way for a while.
    pub async fn set_unit(&self, unit: &str, run: bool, report: Report<'_>) -> Result<(), Fault> {
        report.progress(if run { "starting" } else { "stopping" }, 0, 0);
        self.unit_does(if run { "start" } else { "stop" }, unit).await?;
        let until = Instant::now() + DONE_WITHIN;
        let wanted = if run { Service::Running } else { Service::Stopped };
        while self.unit_state(unit).await? != Some(wanted) {
            if Instant::now() >= until {
                let why = if run { "it does not run" } else { "it still runs" };
                return Err(Fault::new(FaultKind::Lasting, format!("unit `{unit}` on `{}`", self.config.name), why));
            }
            sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    pub(super) async fn unit_takes_up(&self, unit: &str, restart: bool, report: Report<'_>) -> Result<(), Fault> {
        report.progress(if restart { "restarting" } else { "reloading" }, 0, 0);
        self.unit_does(if restart { "restart" } else { "reload" }, unit).await
    }

    /// `is-active` ends with 0 for a unit that runs, with 3 for one that does not, and with 4 for none of this name. Its word
    /// tells whether that is all: a unit between two tries to start is not stopped.
    pub(super) async fn unit_state(&self, unit: &str) -> Result<Option<Service>, Fault> {
        let output = self.unit_asks("is-active", unit, ASKED_WITHIN).await?;
        match (output.code, output.stdout.trim()) {
            (Some(0), _) => Ok(Some(Service::Running)),
            (Some(3), "activating" | "deactivating") => Ok(None),
            (Some(3 | 4), _) => Ok(Some(Service::Stopped)),
            _ => Err(self.unit_fault("ask about", unit, &output)),
        }
    }

    async fn unit_does(&self, verb: &str, unit: &str) -> Result<(), Fault> {
        let output = self.unit_asks(verb, unit, DONE_WITHIN).await?;
        if output.code == Some(0) { Ok(()) } else { Err(self.unit_fault(verb, unit, &output)) }
    }

    async fn unit_asks(&self, verb: &str, unit: &str, within: Duration) -> Result<Output, Fault> {
        let words: Vec<String> = self.config.systemctl.iter().cloned().chain([verb, "--", unit].map(str::to_owned)).collect();
        self.runner.run(&words, None, within).await
    }

    fn unit_fault(&self, verb: &str, unit: &str, output: &Output) -> Fault {
        let kind = if output.code == Some(127) { FaultKind::Missing } else { FaultKind::Lasting };
        let fault = Fault::new(kind, format!("cannot {verb} unit `{unit}` on `{}`", self.config.name), output.last_words());
        match kind {
            FaultKind::Missing => {
                fault.hint("where there is no systemd: name what does its work as `systemctl` of the host in the cluster file")
            }
            _ => fault,
        }
    }
}
