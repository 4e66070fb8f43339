//! What became of the changes in flight: the workers' reports as entries, and the effects that these entries allow.
//! It starts nothing that is not in the journal, and calls nothing done that was not read back.

use super::{
    Engine, EngineError,
    worker::{self, Report},
};
use crate::model::{ChangeId, Entry, Fault, FaultKind, Standing, Status};
use std::time::Duration;

impl Engine {
    /// What the workers found and did, as entries; then the effects that these entries allow.
    pub(super) async fn take_reports(&mut self, reports: Vec<Report>) -> Result<(), EngineError> {
        let mut entries = vec![];
        let mut looked = vec![];
        // Asked to stand still while it looked: what has not begun does not begin.
        let still = self.stopping.is_some() || self.after_flights.is_some() || self.state.paused.is_some();
        for report in reports {
            match report {
                Report::Halted(why) => return Err(why.into()),
                Report::Gate { step, inventory } => self.gate_was_read(step, &inventory).await?,
                Report::Looked { id, standing } => {
                    let ours = self.state.status(id).ours;
                    let begun = |standing: &Standing| ours && worker::may_apply(standing, &self.plan().change(id).change);
                    match standing {
                        Ok(standing) if standing == Standing::Before || begun(&standing) => {
                            if !still {
                                looked.push(id);
                                continue;
                            }
                        }
                        Ok(Standing::Before | Standing::Midway) => {
                            let found = "a part of it is so already, a part is not";
                            entries.push(Entry::Failed { change: id, fault: self.drift(id, found) });
                        }
                        Ok(Standing::After) if ours => entries.push(Entry::Done { change: id }),
                        Ok(Standing::After) => entries.push(Entry::Found { change: id }),
                        Ok(Standing::Neither(found)) => entries.push(Entry::Failed { change: id, fault: self.drift(id, &found) }),
                        Err(fault) => entries.push(self.after_fault(id, fault)),
                    }
                    self.flights.asked_nothing(id);
                    self.flights.land(id);
                }
                Report::Acted { id, outcome, told } => {
                    self.flights.land(id);
                    if outcome == Ok(Standing::After) {
                        entries.extend(told.into_iter().map(|by| Entry::Proven { change: id, by }));
                    }
                    entries.push(match outcome {
                        Ok(Standing::After) => Entry::Done { change: id },
                        Ok(Standing::Before) => {
                            let planned = self.plan().change(id);
                            let what = format!("cannot {} `{}` on `{}`", planned.change.verb(), planned.subject, planned.place);
                            Entry::Failed {
                                change: id,
                                fault: Fault::new(
                                    FaultKind::Lasting,
                                    what,
                                    "the call ended well, but reading back shows no change",
                                ),
                            }
                        }
                        Ok(Standing::Midway) => {
                            let found = "the call ended well, but reading back shows only a part of it";
                            Entry::Failed { change: id, fault: self.drift(id, found) }
                        }
                        Ok(Standing::Neither(found)) => Entry::Failed { change: id, fault: self.drift(id, &found) },
                        Err(fault) => self.after_fault(id, fault),
                    });
                }
                Report::Undone { id, outcome } => {
                    self.flights.land(id);
                    entries.push(match outcome {
                        Ok(()) => Entry::Undone { change: id },
                        Err(fault) => Entry::UndoFailed { change: id, fault },
                    });
                }
            }
        }
        if entries.iter().any(|entry| matches!(entry, Entry::Failed { .. })) {
            // A failure may stop what has not begun: it is folded in before anything else does.
            self.write(std::mem::take(&mut entries)).await?;
        }
        let mut to_apply = self.still_open(looked.clone()).await?;
        for id in looked {
            if !to_apply.contains(&id) || self.flights.is_too_much(id, &self.state.limits) {
                to_apply.retain(|other| *other != id);
                self.flights.asked_nothing(id);
                self.flights.land(id);
            }
        }
        // A change of a resumed run that is started already keeps its one `Started`.
        let begun = |id: &&ChangeId| self.state.status(**id).status != Status::Running;
        entries.extend(to_apply.iter().filter(begun).map(|change| Entry::Started { change: *change }));
        self.write(entries).await?;
        let deadline = Duration::from_secs(self.state.limits.deadline_s);
        for id in to_apply {
            let worker = self.worker(id, self.plan().change(id).change.clone());
            self.flights.hold(id, tokio::spawn(worker.apply(deadline)));
        }
        Ok(())
    }

    /// A passing fault is tried again after a while, up to the limit; every other ends the change.
    fn after_fault(&mut self, id: ChangeId, fault: Fault) -> Entry {
        let state = self.state.status(id);
        let attempt = state.attempts.max(self.flights.attempts(id)) + 1;
        if fault.kind != FaultKind::Passing || attempt >= self.state.limits.attempts {
            self.flights.forget(id);
            return Entry::Failed { change: id, fault };
        }
        let base = u64::try_from(self.setup.backoff.as_millis()).unwrap_or(1000);
        let backoff_ms = (base << (attempt - 1).min(6)).min(60_000);
        // Spread by the change's place, so that forty agents do not come back in the same moment.
        let jitter_ms = (id.n as u64 * 7919 + id.step as u64 * 104_729) % (backoff_ms / 2 + 1);
        let after_ms = fault.retry_after_ms.unwrap_or(backoff_ms + jitter_ms);
        let registry = self.plan().change(id).change.registry().map(str::to_owned);
        if let (Some(registry), Some(wait_ms)) = (registry, fault.retry_after_ms) {
            self.flights.hold_registry(&registry, Duration::from_millis(wait_ms));
        }
        self.flights.retry(id, attempt, Duration::from_millis(after_ms));
        Entry::Retried { change: id, why: fault.to_string(), after_ms }
    }

    fn drift(&self, id: ChangeId, found: &str) -> Fault {
        let planned = self.plan().change(id);
        let what = format!("cannot {} `{}` on `{}`", planned.change.verb(), planned.subject, planned.place);
        let fault = Fault::new(FaultKind::Drift, what, found);
        fault.hint("somebody or something else changed it since the plan was made: look, then retry, skip it or roll back")
    }
}
