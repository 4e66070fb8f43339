//! Every shipped runbook, cut off at every point: at each entry, before and after each effect, forward and on the way
//! back. Resumed, it ends in exactly the planned inventory, or in the one it began with.

use async_trait::async_trait;
use castoff::cluster::sim::{Pace, Sim, demo};
use castoff::cluster::{Cluster, Report};
use castoff::engine::{Ending, Engine, Setup};
use castoff::journal::{Journal, JournalError};
use castoff::model::{
    Change, Command, Entry, Event, Fault, FaultKind, Inventory, Next, Outcome, Part, Plan, Stamped, Standing, State, Status,
    Wants, Waves,
};
use castoff::runbook::{Runbook, SHIPPED};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};

/// Counts points; at the n-th everything stands still, as a process does that was killed.
struct Fuse {
    points: AtomicUsize,
    crash_at: usize,
    crashed: Notify,
}

impl Fuse {
    fn new(crash_at: usize) -> Arc<Self> {
        Arc::new(Self { points: AtomicUsize::new(0), crash_at, crashed: Notify::new() })
    }

    /// Whether this is the point of the crash.
    fn burn(&self) -> bool {
        self.points.fetch_add(1, Ordering::SeqCst) + 1 == self.crash_at
    }

    async fn point(&self) {
        if self.burn() {
            self.crashed.notify_one();
            std::future::pending::<()>().await;
        }
    }
}

/// The simulator with a fuse before and after every effect.
struct Fused {
    sim: Arc<Sim>,
    fuse: Arc<Fuse>,
}

#[async_trait]
impl Cluster for Fused {
    async fn read(&self, wants: &Wants) -> Inventory {
        self.sim.read(wants).await
    }
    async fn standing(&self, change: &Change) -> Result<Standing, Fault> {
        self.sim.standing(change).await
    }
    async fn apply(&self, change: &Change, report: Report<'_>) -> Result<(), Fault> {
        self.fuse.point().await;
        let outcome = self.sim.apply(change, report).await;
        self.fuse.point().await;
        outcome
    }
    async fn undo(&self, change: &Change, report: Report<'_>) -> Result<(), Fault> {
        self.fuse.point().await;
        let outcome = self.sim.undo(change, report).await;
        self.fuse.point().await;
        outcome
    }
}

/// A cluster small enough to be cut off hundreds of times.
fn start() -> Inventory {
    let mut world = demo(1_800_000_000_000);
    world.hosts.retain(|name, _| ["gpu-01", "gpu-04", "gpu-06"].contains(&name.as_str()));
    world.sessions.retain(|session| world.hosts.contains_key(&session.agent));
    world
}

/// Sessions end by themselves while a run waits: they and their containers are no matter of the run.
fn settled(mut world: Inventory) -> Inventory {
    world.sessions.clear();
    world.hosts.values_mut().for_each(|host| host.containers.retain(|c| c.kernel.is_none()));
    world
}

fn now_ms() -> i64 {
    1_800_000_100_000
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Turn {
    Forward,
    /// Rolled back to the first step once this many changes are done.
    BackAfter(usize),
}

/// One castoff process: from the journal as it is to the end, or to the crash. `None` is the crash.
async fn process(state: &Path, sim: &Arc<Sim>, plan: &Plan, fuse: &Arc<Fuse>, turn: Turn) -> Option<Ending> {
    let run = "run";
    let journal = match Journal::open(state, run, "test").await {
        Ok(journal) => journal,
        Err(_) => Journal::create(state, run, "test").await.unwrap(),
    };
    let entries: Vec<Stamped> = journal.entries().await.unwrap();
    let mut seen = State::fold(&entries).unwrap();
    let (to_engine, commands) = mpsc::channel(64);
    let (events, mut from_engine) = mpsc::channel(64);
    let cluster = Arc::new(Fused { sim: sim.clone(), fuse: fuse.clone() });
    let setup = Setup {
        cluster,
        journal,
        commands,
        asked: mpsc::channel(1).1,
        events,
        by: "test".to_owned(),
        approvals: BTreeMap::new(),
        window: None,
        lingers: false,
        now_ms,
        recheck: Duration::from_millis(1),
        backoff: Duration::from_millis(1),
    };
    let engine = Engine::new(setup).await.unwrap();
    let task = tokio::spawn(engine.run(Some(plan.clone().into())));
    let back_now = |seen: &State| match turn {
        Turn::Forward => false,
        Turn::BackAfter(n) => {
            let done = seen.steps.iter().flat_map(|step| &step.changes).filter(|c| c.status == Status::Done).count();
            seen.plan.is_some() && seen.rolling_back.is_none() && done >= n
        }
    };
    let roll_back = || Command::RollBack { to: 0, why: "test".to_owned() };
    let mut asked_back = back_now(&seen);
    to_engine.send(if asked_back { roll_back() } else { Command::Begin }).await.unwrap();
    loop {
        tokio::select! {
            () = fuse.crashed.notified() => {
                task.abort();
                let _ = task.await;
                return None;
            }
            event = from_engine.recv() => match event {
                None => return Some(task.await.unwrap().unwrap()),
                Some(Event::Entry(entry)) => {
                    seen.apply(&entry).unwrap();
                    if fuse.burn() {
                        task.abort();
                        let _ = task.await;
                        return None;
                    }
                    if let Next::Canary(step) = seen.next() {
                        let (plan, typed) = (plan.plan.clone(), "yes".to_owned());
                        let _ = to_engine.send(Command::ApproveCanary { step, plan, typed }).await;
                    }
                    if !asked_back && back_now(&seen) {
                        asked_back = true;
                        let _ = to_engine.send(roll_back()).await;
                    }
                }
                Some(Event::Gate(report)) => {
                    let gate = seen.gate(report.step).unwrap();
                    if report.problems.is_empty() && !gate.sentence.is_empty() {
                        let (step, plan, typed) = (report.step, plan.plan.clone(), gate.sentence.clone());
                        let _ = to_engine.send(Command::Approve { step, plan, typed }).await;
                    }
                }
                Some(
                    Event::Refused(_)
                    | Event::Progress(_)
                    | Event::Layers { .. }
                    | Event::Survey(_)
                    | Event::Changed(_)
                    | Event::Said { .. }
                    | Event::Waits { .. }
                    | Event::Answered { .. },
                ) => {}
            }
        }
    }
}

/// From the start to the end with one crash at the given point. Returns the number of points that were passed.
async fn walk(runbook: &Runbook, crash_at: usize, turn: Turn) -> usize {
    walk_with(runbook, crash_at, turn, |_| {}).await.0
}

/// The same with faults. Returns the journal too.
async fn walk_with(runbook: &Runbook, crash_at: usize, turn: Turn, faults: impl Fn(&Sim)) -> (usize, Vec<Stamped>) {
    let (plan, planned) = runbook.plan(&start()).unwrap();
    assert_eq!(plan.blockers, []);
    let state = tempfile::tempdir_in(if Path::new("/dev/shm").is_dir() { "/dev/shm" } else { "/tmp" }).unwrap();
    let sim = Arc::new(Sim::new(start(), Pace::Instant));
    faults(&sim);
    let fuse = Fuse::new(crash_at);
    let mut ending = process(state.path(), &sim, &plan, &fuse, turn).await;
    if ending.is_none() {
        ending = process(state.path(), &sim, &plan, &Fuse::new(usize::MAX), turn).await;
    }
    if turn != Turn::Forward && ending == Some(Ending::Finished(Outcome::Done)) {
        // It was over before the question came: a finished run is rolled back by the next process.
        ending = process(state.path(), &sim, &plan, &fuse, turn).await;
        if ending.is_none() {
            ending = process(state.path(), &sim, &plan, &Fuse::new(usize::MAX), turn).await;
        }
    }
    let entries = castoff::journal::read(state.path(), "run").await.unwrap();
    let mut begun = BTreeSet::new();
    for stamped in &entries {
        match &stamped.entry {
            Entry::Started { change } => assert!(begun.insert(*change), "crash at {crash_at}: change {change} was begun twice"),
            Entry::Retried { change, .. } => _ = begun.remove(change),
            _ => {}
        }
    }
    in_their_turn(&entries, crash_at);
    match turn {
        Turn::Forward => {
            assert_eq!(ending, Some(Ending::Finished(Outcome::Done)), "crash at {crash_at}");
            assert_eq!(settled(sim.world()), settled(planned), "crash at {crash_at}");
        }
        Turn::BackAfter(_) => {
            assert_eq!(ending, Some(Ending::Finished(Outcome::RolledBack)), "crash at {crash_at}");
            assert_eq!(settled(sim.world()), settled(start()), "crash at {crash_at}");
        }
    }
    (fuse.points.load(Ordering::SeqCst), entries)
}

/// Nothing of a later wave begins before its wave does, nor before the canary has passed with all of it done or found.
fn in_their_turn(entries: &[Stamped], crash_at: usize) {
    let mut state = State::default();
    for stamped in entries {
        match &stamped.entry {
            Entry::Started { change } => {
                let here = &state.steps[change.step].waves;
                assert!(here.of(change.n) <= here.at(), "crash at {crash_at}: {change} begins before its wave");
                let held = here.of(change.n) > 0 && state.waves(change.step).is_some_and(Waves::holds);
                assert!(!held || here.passed.is_some(), "crash at {crash_at}: {change} begins before the canary passed");
            }
            Entry::WavePassed { step, .. } => {
                let here = &state.steps[*step];
                let canary = here.changes.iter().enumerate().filter(|(n, _)| here.waves.of(*n) == 0);
                let done = canary.into_iter().all(|(_, change)| matches!(change.status, Status::Done | Status::Found));
                assert!(done, "crash at {crash_at}: the canary passed before it was done");
            }
            _ => {}
        }
        state.apply(stamped).unwrap();
    }
}

#[tokio::test]
async fn a_crash_anywhere_in_waves_skips_no_canary_and_forgets_no_host() {
    let sets = ["waves.then=[1]", "waves.hold=approve"].map(str::to_owned);
    let runbook = Runbook::parse(SHIPPED[0].0, SHIPPED[0].1, &sets).unwrap();
    let (plan, _) = runbook.plan(&start()).unwrap();
    let sizes: Vec<usize> = plan.steps[1].waves.as_ref().unwrap().hosts.iter().map(Vec::len).collect();
    assert_eq!(sizes, [1, 1, 1]);
    let faults = |sim: &Sim| {
        sim.fail("pull", "gpu-04", vec![Fault::new(FaultKind::Space, "cannot pull", "no space left on device")]);
    };
    let (points, entries) = walk_with(&runbook, usize::MAX, Turn::Forward, faults).await;
    let count = |which: fn(&Entry) -> bool| entries.iter().filter(|stamped| which(&stamped.entry)).count();
    assert_eq!(count(|entry| matches!(entry, Entry::SetAside { .. })), 1);
    assert_eq!(count(|entry| matches!(entry, Entry::CameBack { .. })), 1);
    assert_eq!(count(|entry| matches!(entry, Entry::WavePassed { .. })), 2, "of the pull and of the removal");
    for crash_at in 1..=points {
        walk_with(&runbook, crash_at, Turn::Forward, faults).await;
    }
    println!("{points} crash points in waves, all resumed");
}

async fn walk_all(turn: Turn) {
    for (name, text) in SHIPPED {
        let runbook = Runbook::parse(name, text, &[]).unwrap();
        let points = walk(&runbook, usize::MAX, turn).await;
        assert!(points > 40, "{name}: only {points} points");
        for crash_at in 1..=points {
            walk(&runbook, crash_at, turn).await;
        }
        println!("{name}, {turn:?}: {points} crash points, all resumed");
    }
}

#[tokio::test]
async fn a_crash_anywhere_is_resumed() {
    walk_all(Turn::Forward).await;
}

#[tokio::test]
async fn a_crash_anywhere_in_a_rollback_is_resumed() {
    let (plan, _) = Runbook::parse(SHIPPED[0].0, SHIPPED[0].1, &[]).unwrap().plan(&start()).unwrap();
    let all = usize::try_from(plan.totals.changes).unwrap();
    for after in [1, all / 2, all - 1] {
        walk_all(Turn::BackAfter(after)).await;
    }
}

#[tokio::test]
async fn a_second_run_finds_everything_and_changes_nothing() {
    for (name, text) in SHIPPED {
        let runbook = Runbook::parse(name, text, &[]).unwrap();
        let (_, planned) = runbook.plan(&start()).unwrap();
        let after = settled(planned);
        let (again, _) = runbook.plan(&after).unwrap();
        assert!(again.is_empty() && again.totals.found > 0, "{name}: {:#?}", again.totals);
        let state = tempfile::tempdir().unwrap();
        let sim = Arc::new(Sim::new(after.clone(), Pace::Instant));
        let ending = process(state.path(), &sim, &again, &Fuse::new(usize::MAX), Turn::Forward).await;
        assert_eq!(ending, Some(Ending::Finished(Outcome::Done)));
        assert_eq!(sim.world(), after);
        let entries = castoff::journal::read(state.path(), "run").await.unwrap();
        assert!(!entries.iter().any(|e| matches!(e.entry, Entry::Started { .. })), "{name}: something was begun");
    }
}

#[tokio::test]
async fn what_was_found_is_left_alone_by_a_rollback() {
    let runbook = Runbook::parse(SHIPPED[0].0, SHIPPED[0].1, &[]).unwrap();
    let (plan, _) = runbook.plan(&start()).unwrap();
    let sim = Arc::new(Sim::new(start(), Pace::Instant));
    // Somebody pulls one image between the plan and the run.
    let theirs = plan.steps[1].changes[0].change.clone();
    sim.meddle(|world| world.apply(&theirs));
    let before = settled(sim.world());
    let state = tempfile::tempdir().unwrap();
    let ending = process(state.path(), &sim, &plan, &Fuse::new(usize::MAX), Turn::BackAfter(20)).await;
    assert_eq!(ending, Some(Ending::Finished(Outcome::RolledBack)));
    assert_eq!(settled(sim.world()), before);
}

#[tokio::test]
async fn passing_faults_are_retried_and_lasting_ones_stop_the_run() {
    let runbook = Runbook::parse(SHIPPED[0].0, SHIPPED[0].1, &[]).unwrap();
    let (plan, planned) = runbook.plan(&start()).unwrap();
    let busy = || Fault::new(FaultKind::Passing, "cannot pull", "503").retry_after_ms(Some(5));
    let sim = Arc::new(Sim::new(start(), Pace::Instant));
    sim.fail("pull", "gpu-01", vec![busy(), busy()]);
    let state = tempfile::tempdir().unwrap();
    let ending = process(state.path(), &sim, &plan, &Fuse::new(usize::MAX), Turn::Forward).await;
    assert_eq!(ending, Some(Ending::Finished(Outcome::Done)));
    assert_eq!(settled(sim.world()), settled(planned));
    let entries = castoff::journal::read(state.path(), "run").await.unwrap();
    let retried = entries.iter().filter(|e| matches!(e.entry, Entry::Retried { .. })).count();
    assert_eq!(retried, 2);

    let sim = Arc::new(Sim::new(start(), Pace::Instant));
    sim.fail("pull", "gpu-01", vec![Fault::new(FaultKind::Space, "cannot pull", "no space left on device")]);
    let state = tempfile::tempdir().unwrap();
    let fuse = Fuse::new(usize::MAX);
    let running = process(state.path(), &sim, &plan, &fuse, Turn::Forward);
    assert!(tokio::time::timeout(Duration::from_secs(2), running).await.is_err(), "it waits for a person");
    let entries = castoff::journal::read(state.path(), "run").await.unwrap();
    let folded = State::fold(&entries).unwrap();
    assert_eq!(folded.causes().len(), 1);
    assert!(sim.world().managers.values().all(|m| m.running), "nothing after the failed step was begun");
}

#[tokio::test]
async fn drift_stops_the_run_before_any_effect() {
    let runbook = Runbook::parse(SHIPPED[0].0, SHIPPED[0].1, &[]).unwrap();
    let (plan, _) = runbook.plan(&start()).unwrap();
    let sim = Arc::new(Sim::new(start(), Pace::Instant));
    sim.meddle(|world| {
        let row = world.tables.get_mut("domains").unwrap().iter_mut().find(|row| row["name"] == "research").unwrap();
        row.insert("allowed_docker_registries".to_owned(), serde_json::json!(["index.docker.io", "new.example"]));
    });
    let fresh = sim.read(&Wants { parts: [Part::Tables].into_iter().collect(), ..Wants::default() }).await;
    assert_eq!(plan.differences(&fresh).len(), 1, "a saved plan is stale");
    let state = tempfile::tempdir().unwrap();
    let fuse = Fuse::new(usize::MAX);
    let running = process(state.path(), &sim, &plan, &fuse, Turn::Forward);
    assert!(tokio::time::timeout(Duration::from_secs(2), running).await.is_err());
    let entries = castoff::journal::read(state.path(), "run").await.unwrap();
    let folded = State::fold(&entries).unwrap();
    let causes = folded.causes();
    assert_eq!(causes[0].0.kind, FaultKind::Drift);
    assert!(causes[0].0.why.contains("new.example"), "{}", causes[0].0.why);
    assert!(!entries.iter().any(|e| matches!(&e.entry, Entry::Started { change } if *change == causes[0].1[0])));
}

#[tokio::test]
async fn a_stuck_rollback_goes_on_once_it_is_mended_and_asked_again() {
    let runbook = Runbook::parse(SHIPPED[0].0, SHIPPED[0].1, &[]).unwrap();
    let (plan, _) = runbook.plan(&start()).unwrap();
    let sim = Arc::new(Sim::new(start(), Pace::Instant));
    let state = tempfile::tempdir().unwrap();
    let fuse = Fuse::new(usize::MAX);
    let ending = process(state.path(), &sim, &plan, &fuse, Turn::Forward).await;
    assert_eq!(ending, Some(Ending::Finished(Outcome::Done)));
    let edit = |value: serde_json::Value| {
        sim.meddle(|world| {
            let row = world.tables.get_mut("domains").unwrap().iter_mut().find(|row| row["name"] == "default").unwrap();
            row.insert("allowed_docker_registries".to_owned(), value);
        });
    };
    edit(serde_json::json!(["somebody.example"]));
    let back = process(state.path(), &sim, &plan, &fuse, Turn::BackAfter(1));
    assert!(tokio::time::timeout(Duration::from_secs(2), back).await.is_err(), "it is stuck and waits for a person");
    let folded = State::fold(&castoff::journal::read(state.path(), "run").await.unwrap()).unwrap();
    let failed: Vec<_> = folded.causes().into_iter().flat_map(|(_, ids)| ids).collect();
    assert_eq!(failed.len(), 1);
    edit(serde_json::json!(["cr.backend.ai"]));
    // The engine that lost its front end lets go of the run a moment later.
    let mut journal = loop {
        match Journal::open(state.path(), "run", "test").await {
            Ok(journal) => break journal,
            Err(JournalError::Held { .. }) => tokio::time::sleep(Duration::from_millis(20)).await,
            Err(error) => panic!("{error}"),
        }
    };
    journal.append(now_ms(), folded.again(failed, "test")).await.unwrap();
    drop(journal);
    let ending = process(state.path(), &sim, &plan, &fuse, Turn::BackAfter(1)).await;
    assert_eq!(ending, Some(Ending::Finished(Outcome::RolledBack)));
    assert_eq!(settled(sim.world()), settled(start()));
}
