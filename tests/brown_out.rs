//! A brown-out is for seeing who is refused: until its very end, however long a look at the cluster takes.

use async_trait::async_trait;
use castoff::{
    cluster::{
        Cluster, Report,
        sim::{Pace, Sim, demo},
    },
    engine::{Engine, Setup},
    journal::{self, Journal},
    model::{Change, Command, Entry, Fault, Inventory, Refusal, Standing, Wants},
    runbook::{Runbook, SHIPPED},
};
use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio::sync::mpsc;

/// A look at it takes so long that one which began before the end of the brown-out is over after it.
const LOOK: Duration = Duration::from_millis(700);
const RECHECK: Duration = Duration::from_millis(800);
/// Of two seconds.
const LAST_MOMENT_MS: i64 = 1900;

struct Slow {
    sim: Sim,
    /// When the registry was blocked.
    since_ms: OnceLock<i64>,
}

fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

#[async_trait]
impl Cluster for Slow {
    async fn read(&self, wants: &Wants) -> Inventory {
        let mut found = self.sim.read(wants).await;
        let last = self.since_ms.get().map(|since_ms| since_ms + LAST_MOMENT_MS);
        if let Some(at_ms) = last.filter(|at_ms| now_ms() >= *at_ms) {
            let [session, owner, image] = ["late", "kim@lab.local", "index.docker.io/lablup/python:3.6"].map(str::to_owned);
            found.refusals.push(Refusal { at_ms, session, owner, image });
        }
        tokio::time::sleep(LOOK).await;
        found
    }

    async fn standing(&self, change: &Change) -> Result<Standing, Fault> {
        self.sim.standing(change).await
    }

    async fn apply(&self, change: &Change, report: Report<'_>) -> Result<(), Fault> {
        self.since_ms.get_or_init(now_ms);
        self.sim.apply(change, report).await
    }

    async fn undo(&self, change: &Change, report: Report<'_>) -> Result<(), Fault> {
        self.sim.undo(change, report).await
    }
}

#[tokio::test]
async fn who_is_refused_in_the_last_moment_of_a_brown_out_is_told() {
    let state = tempfile::tempdir().unwrap();
    let (_, text) = SHIPPED.iter().find(|(name, _)| *name == "brown-out").unwrap();
    let runbook = Runbook::parse("brown-out", text, &["begin.for=2s".to_owned()]).unwrap();
    let world = demo(now_ms());
    let (plan, _) = runbook.plan(&world).unwrap();
    let approvals = [("begin".to_owned(), plan.plan.clone())].into();
    let cluster = Arc::new(Slow { sim: Sim::new(world, Pace::Instant), since_ms: OnceLock::new() });
    let journal = Journal::create(state.path(), "run", "kim").await.unwrap();
    let (to_engine, commands) = mpsc::channel(8);
    let (events, mut from_engine) = mpsc::channel(64);
    let setup = Setup { approvals, recheck: RECHECK, ..Setup::new(cluster, journal, (commands, events), "kim", now_ms) };
    let engine = tokio::spawn(Engine::new(setup).await.unwrap().run(Some(plan.into())));
    to_engine.send(Command::Begin).await.unwrap();
    tokio::spawn(async move { while from_engine.recv().await.is_some() {} });
    engine.await.unwrap().unwrap();
    let entries = journal::read(state.path(), "run").await.unwrap();
    let seen =
        entries.iter().any(|stamped| matches!(&stamped.entry, Entry::Seen { problem, .. } if problem.subject == "session late"));
    assert!(seen, "{entries:#?}");
}
