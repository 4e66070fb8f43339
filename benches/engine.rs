//! What a change costs the engine, in a small run and in one of 100 000 changes: the cost of one must not grow with all.
//! Never a cluster's own time: the simulator takes none. The journal is a real one, in a temporary folder.
//!
//! `cargo bench --bench engine` prints the figures and fails where a limit is missed by more than twofold.

#[path = "terminal/cluster.rs"]
#[expect(dead_code, reason = "the terminal's bench tells of a run; here the engine does")]
mod cluster;

use castoff::cluster::sim::{Pace, Sim};
use castoff::engine::{Ending, Engine, Setup};
use castoff::journal::Journal;
use castoff::model::{Command, Event, Host, Inventory, Limits, Manager, Outcome, Plan};
use std::{
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::mpsc;

/// How much more a change may cost where there are a hundred times as many.
const GROWTH: f64 = 3.0;

fn main() -> ExitCode {
    if !std::env::args().any(|argument| argument == "--bench") {
        return ExitCode::SUCCESS;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a thread can be started");
    println!("{:<34} {:>10} {:>12} {:>12}", "", "changes", "seconds", "µs a change");
    let mut costs = vec![];
    for agents in [10, 100, 1000] {
        let plan = cluster::plan_of(agents, Limits::default());
        let changes = plan.steps.iter().map(|step| step.changes.len()).sum::<usize>();
        let took = runtime.block_on(whole(plan));
        costs.push(took.as_secs_f64() * 1e6 / changes as f64);
        let what = format!("{agents} agents x {} images", cluster::IMAGES);
        println!("{what:<34} {changes:>10} {:>12.1} {:>12.0}", took.as_secs_f64(), costs[costs.len() - 1]);
    }
    let growth = costs[2] / costs[0];
    let verdict = if growth <= GROWTH { "holds" } else { "MISSED" };
    println!("growth of one change's cost, 1 000 to 100 000: {growth:.1}, limit {GROWTH:.1}: {verdict}");
    if growth <= GROWTH * 2.0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs a plan to its end.
async fn whole(plan: Plan) -> Duration {
    let folder = tempfile::tempdir().expect("a folder");
    let host = || Host { engine: "26.1".to_owned(), ..Host::default() };
    let places = plan.steps.iter().flat_map(|step| &step.changes).map(|planned| planned.place.clone());
    let mut world = Inventory { cluster: plan.cluster.clone(), ..Inventory::default() };
    world.hosts = places.filter(|place| place.starts_with("gpu")).map(|place| (place, host())).collect();
    world.managers.insert("mgr-01".to_owned(), Manager { running: true, importer_image: None });
    let (command_to, commands) = mpsc::channel(64);
    let (events, mut event_from) = mpsc::channel(4096);
    let setup = Setup {
        recheck: Duration::from_secs(1),
        ..Setup::new(
            Arc::new(Sim::new(world, Pace::Instant)),
            Journal::create(folder.path(), "run", "bench").await.expect("a journal"),
            (commands, events),
            "bench",
            cluster::now_ms,
        )
    };
    let engine = Engine::new(setup).await.expect("an engine");
    let since = Instant::now();
    let engine = tokio::spawn(engine.run(Some(Arc::new(plan))));
    command_to.send(Command::Begin).await.expect("it listens");
    while let Some(event) = event_from.recv().await {
        assert!(!matches!(event, Event::Refused(_)), "{event:?}");
    }
    let ending = engine.await.expect("no panic").expect("no error");
    assert_eq!(ending, Ending::Finished(Outcome::Done));
    since.elapsed()
}
