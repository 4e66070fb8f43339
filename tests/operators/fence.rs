//! The worst moment: the entry is durable, the effect has not begun, and just then somebody takes the run over.

use crate::{database, holder, home};
use async_trait::async_trait;
use castoff::cluster::{
    Cluster, Report,
    claim::Claimed,
    sim::{Pace, Sim, demo},
};
use castoff::engine::{Engine, EngineError, Setup};
use castoff::journal::{Home, JournalError};
use castoff::model::{Change, Command, Entry, Fault, Inventory, Standing, Wants};
use castoff::runbook::{Runbook, SHIPPED};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::sync::mpsc;

fn now_ms() -> i64 {
    1_800_000_100_000
}

/// A cluster in which, before the effect of this number, the run is taken over.
struct Meddled {
    sim: Sim,
    home: Home,
    take_at: usize,
    asked: AtomicUsize,
    taken: AtomicUsize,
    /// Effects that began after it was taken over.
    late: AtomicUsize,
}

#[async_trait]
impl Cluster for Meddled {
    async fn read(&self, wants: &Wants) -> Inventory {
        self.sim.read(wants).await
    }

    async fn standing(&self, change: &Change) -> Result<Standing, Fault> {
        self.sim.standing(change).await
    }

    async fn apply(&self, change: &Change, report: Report<'_>) -> Result<(), Fault> {
        self.late.fetch_add(self.taken.load(Ordering::SeqCst), Ordering::SeqCst);
        self.sim.apply(change, report).await
    }

    async fn undo(&self, change: &Change, report: Report<'_>) -> Result<(), Fault> {
        self.late.fetch_add(self.taken.load(Ordering::SeqCst), Ordering::SeqCst);
        self.sim.undo(change, report).await
    }

    /// The guard asks this after the entry is durable.
    async fn claimed(&self) -> Claimed {
        if self.asked.fetch_add(1, Ordering::SeqCst) + 1 == self.take_at {
            let taken = self.home.take_over("run", "demo", &holder("lee"), (now_ms(), "a test", true)).await.unwrap();
            self.taken.store(1, Ordering::SeqCst);
            // Lee goes on, and is gone when this test is over.
            std::mem::forget(taken);
            // As an answer that came before, and was read after.
        }
        Claimed::Ours
    }
}

/// How many effects there were to guard, and how the engine ended.
async fn run(home: &Home, take_at: usize) -> (usize, Result<(), EngineError>) {
    let runbook = Runbook::parse(SHIPPED[0].0, SHIPPED[0].1, &[]).unwrap();
    let world = demo(1_800_000_000_000);
    let (plan, _) = runbook.plan(&world).unwrap();
    let gates = plan.steps.iter().filter(|step| step.gate.is_some()).map(|step| (step.id.clone(), plan.plan.clone()));
    let approvals: BTreeMap<String, String> = gates.collect();
    let journal = home.create("run", "demo", &holder("kim")).await.unwrap();
    let zero = AtomicUsize::default;
    let sim = Sim::new(world, Pace::Instant);
    let cluster = Arc::new(Meddled { sim, home: home.clone(), take_at, asked: zero(), taken: zero(), late: zero() });
    let (to_engine, commands) = mpsc::channel(8);
    let (events, mut from_engine) = mpsc::channel(64);
    let setup = Setup {
        approvals,
        recheck: Duration::from_millis(1),
        backoff: Duration::from_millis(1),
        ..Setup::new(cluster.clone(), journal, (commands, events), "kim", now_ms)
    };
    let engine = tokio::spawn(Engine::new(setup).await.unwrap().run(Some(plan.into())));
    to_engine.send(Command::Begin).await.unwrap();
    tokio::spawn(async move { while from_engine.recv().await.is_some() {} });
    let ending = engine.await.unwrap().map(drop);
    assert_eq!(cluster.late.load(Ordering::SeqCst), 0, "an effect at {take_at}");
    (cluster.asked.load(Ordering::SeqCst), ending)
}

async fn walk(homes: impl AsyncFn(usize) -> Home, points: impl Iterator<Item = usize>) -> usize {
    let mut n = 0;
    for take_at in points {
        let home = homes(take_at).await;
        let (_, ending) = run(&home, take_at).await;
        let Err(EngineError::Journal(JournalError::TakenOver { by, why, .. })) = ending else { panic!("{take_at}: {ending:?}") };
        assert_eq!((by.as_str(), why.as_str()), ("lee on lee-01", "a test"));
        let entries = home.read("run").await.unwrap();
        assert!(matches!(&entries.last().unwrap().entry, Entry::TakenOver { .. }), "{take_at}: {:?}", entries.last());
        n += 1;
    }
    n
}

#[tokio::test(flavor = "multi_thread")]
async fn a_castoff_whose_run_was_taken_over_has_no_effect_at_any_point() {
    let state = tempfile::tempdir().unwrap();
    let whole = Home::folder(&state.path().join("whole"));
    let (effects, ending) = run(&whole, usize::MAX).await;
    ending.unwrap();
    assert!(effects > 30, "{effects}");
    let folders = async |n: usize| Home::folder(&state.path().join(n.to_string()));
    let points = walk(folders, (1..=effects).step_by(12)).await;
    let databases = [database().await, database().await];
    let shared = async |n: usize| home(&state.path().join(format!("shared-{n}")), databases[usize::from(n > 1)].url()).await;
    let shared_points = walk(shared, [1, effects].into_iter()).await;
    println!("taken over before each of {points} effects in a folder, and before {shared_points} in PostgreSQL: no effect came");
}
