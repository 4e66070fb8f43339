//! The fuse of a walk, and the cluster behind it: the simulator that holds every effect against the journal on disk.

use async_trait::async_trait;
use castoff::cluster::sim::Sim;
use castoff::cluster::{Cluster, Report};
use castoff::journal::Reader;
use castoff::model::{Change, ChangeId, Entry, Fault, Inventory, Plan, Standing, State, Status, Wants};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// Counts points; at the n-th everything stands still, as a process does that was killed.
pub struct Fuse {
    pub points: AtomicUsize,
    crash_at: usize,
    pub crashed: Notify,
}

impl Fuse {
    pub fn new(crash_at: usize) -> Arc<Self> {
        Arc::new(Self { points: AtomicUsize::new(0), crash_at, crashed: Notify::new() })
    }

    pub fn never() -> Arc<Self> {
        Self::new(usize::MAX)
    }

    /// Whether this is the point of the crash.
    pub fn burn(&self) -> bool {
        self.points.fetch_add(1, Ordering::SeqCst) + 1 == self.crash_at
    }

    async fn point(&self) {
        if self.burn() {
            self.crashed.notify_one();
            std::future::pending::<()>().await;
        }
    }
}

/// What every effect of a walk is held against, over all its processes.
#[derive(Default)]
pub struct Ledger {
    /// Calls that the cluster got: by process, change, how often it was begun, and direction.
    calls: Mutex<BTreeMap<(usize, ChangeId, u32, bool), u32>>,
    /// What was not as promised. A panic in a worker would only hang the engine.
    wrong: Mutex<Vec<String>>,
    /// The journal as it is on disk, read on whenever an effect is asked for.
    seen: tokio::sync::Mutex<Option<Durable>>,
}

/// What the journal on disk tells.
struct Durable {
    reader: Reader,
    state: State,
    /// How often each change was begun, forward or back.
    begun: BTreeMap<ChangeId, u32>,
}

impl Ledger {
    pub fn effects(&self) -> u32 {
        self.calls.lock().unwrap().values().sum()
    }

    pub fn wrong(&self) -> Vec<String> {
        self.wrong.lock().unwrap().clone()
    }
}

/// The simulator with a fuse before and after every effect.
pub struct Fused {
    pub sim: Arc<Sim>,
    pub fuse: Arc<Fuse>,
    pub ledger: Arc<Ledger>,
    pub plan: Arc<Plan>,
    /// The folder of runs, and which process of the walk this is.
    pub state: PathBuf,
    pub process: usize,
    /// The last entry that the operator has seen and answered: no effect overtakes them, so a story is the same each time.
    pub answered: watch::Receiver<u64>,
}

impl Fused {
    /// The status of a change that the journal on disk tells at this moment, how often it was begun, and the last entry.
    async fn durable(&self, id: ChangeId) -> (Status, u32, u64) {
        let mut seen = self.ledger.seen.lock().await;
        if seen.is_none() {
            let reader = Reader::open(&self.state, "run").await.unwrap();
            *seen = Some(Durable { reader, state: State::default(), begun: BTreeMap::new() });
        }
        let Durable { reader, state, begun } = seen.as_mut().unwrap();
        for stamped in reader.after(state.seq).await.unwrap() {
            state.apply(&stamped).unwrap();
            if let Entry::Started { change } | Entry::UndoStarted { change } = stamped.entry {
                *begun.entry(change).or_default() += 1;
            }
        }
        (state.status(id).status.clone(), begun.get(&id).copied().unwrap_or_default(), state.seq)
    }

    /// Holds an effect that is about to be done against the journal and the world.
    async fn hold(&self, change: &Change, back: bool) {
        let of_plan = self.plan.steps.iter().flat_map(|step| &step.changes);
        let id = of_plan.clone().find(|planned| planned.change == *change).expect("an effect is of the plan").id;
        let (status, begun, seq) = self.durable(id).await;
        let _ = self.answered.clone().wait_for(|answered| *answered >= seq).await;
        let mut wrong = vec![];
        if status != if back { Status::Undoing } else { Status::Running } {
            wrong.push(format!("{id} is acted on (back: {back}), and the journal on disk says {status:?}"));
        }
        let (before, after) = change.sides();
        let standing = self.sim.world().standing(change);
        let untold = if back { change.way_back_told_by_attempt() } else { change.told_by_attempt() };
        if before != after && !untold && (standing == if back { Standing::Before } else { Standing::After }) {
            wrong.push(format!("{id} is acted on (back: {back}) without need"));
        }
        let mut calls = self.ledger.calls.lock().unwrap();
        let n = calls.entry((self.process, id, begun, back)).or_default();
        *n += 1;
        if *n > 1 {
            wrong.push(format!("{id} is acted on {n} times for one entry (back: {back})"));
        }
        self.ledger.wrong.lock().unwrap().extend(wrong);
    }
}

impl Fused {
    /// A point between the parts of a change that has several: the first file is written, the rest and its daemon are not.
    async fn midway(&self, change: &Change, forward: bool) {
        let Change::Configure { host, files, .. } = change else { return };
        if self.fuse.burn() {
            let first = if forward { files.first() } else { files.last() };
            self.sim.meddle(|world| {
                if let (Some(machine), Some(diff)) = (world.machines.get_mut(host), first) {
                    machine.put(diff, forward);
                }
            });
            self.fuse.crashed.notify_one();
            std::future::pending::<()>().await;
        }
    }
}

#[async_trait]
impl Cluster for Fused {
    async fn read(&self, wants: &Wants) -> Inventory {
        // Long enough for something else to come in between.
        tokio::time::sleep(Duration::from_millis(1)).await;
        self.sim.read(wants).await
    }
    async fn standing(&self, change: &Change) -> Result<Standing, Fault> {
        self.sim.standing(change).await
    }
    async fn apply(&self, change: &Change, report: Report<'_>) -> Result<(), Fault> {
        self.hold(change, false).await;
        self.fuse.point().await;
        self.midway(change, true).await;
        let outcome = self.sim.apply(change, report).await;
        self.fuse.point().await;
        outcome
    }
    async fn undo(&self, change: &Change, report: Report<'_>) -> Result<(), Fault> {
        self.hold(change, true).await;
        self.fuse.point().await;
        self.midway(change, false).await;
        let outcome = self.sim.undo(change, report).await;
        self.fuse.point().await;
        outcome
    }
}
