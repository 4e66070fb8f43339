//! The tasks that talk to the cluster. They write nothing: each reports to the engine, which decides.

use super::guard::Guard;
use crate::cluster::{Cluster, Watch};
use crate::journal::JournalError;
use crate::model::{Change, ChangeId, Event, Fault, FaultKind, Inventory, LayerProgress, Progress, Standing, text};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::sync::mpsc;

/// What a worker tells the engine.
pub enum Report {
    /// The run or the cluster is not ours any more, or nobody can tell: nothing was done, and nothing more may be.
    Halted(JournalError),
    /// How a change stands before anything is done.
    Looked {
        id: ChangeId,
        standing: Result<Standing, Fault>,
    },
    /// How a change stands after it was applied.
    Acted {
        id: ChangeId,
        outcome: Result<Standing, Fault>,
        /// What the journal has to keep of it.
        told: Vec<String>,
    },
    Undone {
        id: ChangeId,
        outcome: Result<(), Fault>,
    },
    /// The cluster, read for the checks of a gate.
    Gate {
        step: usize,
        inventory: Box<Inventory>,
    },
}

/// How often and how long an undo is tried.
#[derive(Clone, Copy)]
pub struct Tries {
    pub attempts: u32,
    pub backoff: Duration,
    pub deadline: Duration,
}

pub async fn look(cluster: Arc<dyn Cluster>, id: ChangeId, change: Change, to: mpsc::Sender<Report>) {
    let standing = cluster.standing(&change).await;
    let _ = to.send(Report::Looked { id, standing }).await;
}

/// One change, and whom to tell about it.
pub struct Worker {
    pub guard: Guard,
    pub id: ChangeId,
    pub change: Change,
    pub to: mpsc::Sender<Report>,
    pub events: mpsc::Sender<Event>,
    pub now_ms: fn() -> i64,
}

impl Worker {
    /// Applies the change and reads back how it stands.
    pub async fn apply(self, deadline: Duration) {
        let Self { guard, id, change, to, events, now_ms } = self;
        let cluster = &*guard.cluster;
        let report = Watcher::new(id, events, now_ms);
        let applied = match guard.ask().await {
            Err(why) => return drop(to.send(Report::Halted(why)).await),
            // It stood `Before` a while ago, and the cluster was nobody's since.
            Ok(true) => match cluster.standing(&change).await {
                Ok(standing) if may_apply(&standing, &change) => within(deadline, &change, cluster.apply(&change, &report)).await,
                Ok(_) => Ok(()),
                Err(fault) => Err(fault),
            },
            Ok(false) => within(deadline, &change, cluster.apply(&change, &report)).await,
        };
        // Whatever the call said: only reading back tells. A call that failed may have taken effect all the same.
        let outcome = match (applied, cluster.standing(&change).await) {
            (_, Ok(Standing::After)) if !change.told_by_attempt() => Ok(Standing::After),
            (Err(fault), _) | (Ok(()), Err(fault)) => Err(fault),
            (Ok(()), Ok(standing)) => Ok(standing),
        };
        let told = report.told.into_inner().unwrap_or_else(PoisonError::into_inner);
        let _ = to.send(Report::Acted { id, outcome, told }).await;
    }

    /// Takes the change back, again after a passing fault.
    pub async fn undo(self, tries: Tries) {
        let Self { guard, id, change, to, events, now_ms } = self;
        let report = Watcher::new(id, events, now_ms);
        let mut outcome = undo_once(&guard, &change, tries.deadline, &report).await;
        for attempt in 1..tries.attempts {
            if !matches!(&outcome, Ok(Err(fault)) if fault.kind == FaultKind::Passing) {
                break;
            }
            tokio::time::sleep((tries.backoff * (1 << attempt.min(6))).min(Duration::from_mins(1))).await;
            outcome = undo_once(&guard, &change, tries.deadline, &report).await;
        }
        let report = match outcome {
            Ok(outcome) => Report::Undone { id, outcome },
            Err(why) => Report::Halted(why),
        };
        let _ = to.send(report).await;
    }
}

/// Whether a change that is begun has to be applied, as it stands now.
pub fn may_apply(standing: &Standing, change: &Change) -> bool {
    match standing {
        Standing::Before | Standing::Midway => true,
        Standing::After => change.told_by_attempt(),
        Standing::Neither(_) => false,
    }
}

async fn undo_once(
    guard: &Guard,
    change: &Change,
    deadline: Duration,
    report: &dyn Watch,
) -> Result<Result<(), Fault>, JournalError> {
    let cluster = &*guard.cluster;
    match undo_may_begin(cluster, change).await {
        Ok(true) => {}
        Ok(false) => return Ok(Ok(())),
        Err(fault) => return Ok(Err(fault)),
    }
    if guard.ask().await? {
        match undo_may_begin(cluster, change).await {
            Ok(true) => {}
            Ok(false) => return Ok(Ok(())),
            Err(fault) => return Ok(Err(fault)),
        }
    }
    Ok(undo_and_read_back(cluster, change, deadline, report).await)
}

fn stands_otherwise(change: &Change, found: String) -> Fault {
    let fault = Fault::new(
        FaultKind::Drift,
        format!("cannot undo {} of `{}` on `{}`", change.kind(), change.subject(), change.place()),
        found,
    );
    fault.hint("somebody changed it after castoff did: put it right by hand, then retry, or leave it with a reason")
}

/// `false`: it is undone already.
async fn undo_may_begin(cluster: &dyn Cluster, change: &Change) -> Result<bool, Fault> {
    match cluster.standing(change).await? {
        Standing::Before => Ok(change.way_back_told_by_attempt()),
        Standing::After | Standing::Midway => Ok(true),
        // A change that was cut off half-way may still be undone; the client decides by what it finds.
        Standing::Neither(_) if matches!(change, Change::Rescan { .. }) => Ok(true),
        Standing::Neither(found) => Err(stands_otherwise(change, found)),
    }
}

async fn undo_and_read_back(cluster: &dyn Cluster, change: &Change, deadline: Duration, report: &dyn Watch) -> Result<(), Fault> {
    within(deadline, change, cluster.undo(change, report)).await?;
    match cluster.standing(change).await? {
        Standing::Before => Ok(()),
        // Both sides of the change are equal: there was nothing to take back.
        Standing::After if change.sides().0 == change.sides().1 => Ok(()),
        Standing::After => Err(stands_otherwise(change, "the call ended well, but reading back shows no change".to_owned())),
        Standing::Midway => Err(stands_otherwise(change, "reading back shows that only a part of it is undone".to_owned())),
        Standing::Neither(found) => Err(stands_otherwise(change, found)),
    }
}

async fn within<T>(deadline: Duration, change: &Change, call: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    let late = |_| {
        let what = format!("cannot {} `{}` on `{}`", change.verb(), change.subject(), change.place());
        Fault::new(FaultKind::Lasting, what, format!("not done after {} s", deadline.as_secs()))
    };
    tokio::time::timeout(deadline, call).await.map_err(late)?
}

/// Tells the front end how far one change is. It may be lost: a full channel is not waited for.
struct Watcher {
    change: ChangeId,
    events: mpsc::Sender<Event>,
    now_ms: fn() -> i64,
    told: Mutex<Vec<String>>,
}

impl Watcher {
    fn new(change: ChangeId, events: mpsc::Sender<Event>, now_ms: fn() -> i64) -> Self {
        Self { change, events, now_ms, told: Mutex::default() }
    }
}

impl Watch for Watcher {
    fn progress(&self, phase: &str, done: u64, total: u64) {
        let progress = Progress { change: self.change, phase: phase.to_owned(), done, total, at_ms: (self.now_ms)() };
        let _ = self.events.try_send(Event::Progress(progress));
    }

    fn layers(&self, layers: Vec<LayerProgress>) {
        let _ = self.events.try_send(Event::Layers { change: self.change, layers });
    }

    fn told(&self, words: &str) {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).push(text::clean(words));
    }
}
