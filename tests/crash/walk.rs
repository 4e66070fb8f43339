//! A walk: a run from its start to its end, with a crash at one point, or with a second in the resume of the first.
//! The operator of a walk is a pure function of the journal, so that one who comes back does what the first would have done.

use super::fuse::{Fuse, Fused, Ledger};
use castoff::cluster::{
    Cluster,
    sim::{Pace, Sim, demo},
};
use castoff::engine::{Ending, Engine, Setup};
use castoff::journal::Journal;
use castoff::model::{
    Command, Entry, Event, Inventory, Next, Outcome, Plan, Row, Service, Stamped, State, Status, Waves, Window,
};
use castoff::runbook::{Runbook, SHIPPED};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// What the operator asks at this point of the journal, each with its number.
pub type Operator = fn(&Plan, &[Stamped], &State) -> Vec<(usize, Command)>;

/// What happens in a walk beside the run itself.
#[derive(Clone)]
pub struct Story {
    pub name: String,
    pub sets: Vec<String>,
    pub start: fn() -> Inventory,
    /// Faults that the cluster will meet.
    pub faults: fn(&Sim),
    /// What others do to the cluster; asked after each entry, and must not matter when it is done twice.
    pub others: fn(&Sim, &[Stamped], &State),
    /// What the operator asks: each of these once, by its number, as long as the process lives.
    pub operator: Operator,
    pub window: Option<Window>,
    /// The shipped runbooks in which it happens.
    pub of: Family,
    pub end: End,
}

/// Shipped runbooks that are walked alike.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Family {
    Move,
    /// Files of hosts and their daemons.
    Mirror,
    /// An operator's own, of plain files and units; it is not shipped.
    Own,
    /// It ends where it begins: it waits for its time, so time goes on, and a second run does the same again.
    ThereAndBack,
}

/// A new runbook is walked as a move, unless it is named here.
pub fn family(runbook: &str) -> Family {
    match runbook {
        "brown-out" => Family::ThereAndBack,
        name if name.ends_with("-mirror") => Family::Mirror,
        _ => Family::Move,
    }
}

/// What a walk has to end in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum End {
    Planned,
    RolledBack,
    /// Everything but what was skipped.
    Skipped,
    /// Exactly what the journal says is done.
    Aborted,
}

impl Story {
    pub fn new(name: &str, end: End) -> Self {
        Self {
            name: name.to_owned(),
            sets: vec![],
            start: small,
            faults: |_| {},
            others: |_, _, _| {},
            operator: |_, _, _| vec![],
            window: None,
            of: Family::Move,
            end,
        }
    }
}

/// A cluster small enough to be cut off a thousand times.
pub fn small() -> Inventory {
    let mut world = start();
    world.hosts.remove("gpu-06");
    // A host without a file, and two with files of different kinds.
    world.machines.retain(|name, _| ["gpu-01", "gpu-02", "gpu-03", "node-01", "node-02", "build-01"].contains(&name.as_str()));
    let twin = world.machines["build-01"].clone();
    world.machines.insert("build-02".to_owned(), twin);
    let keep = ["python:3.6-ubuntu18.04", "python-tensorflow:2.3-py36-cuda10.1"];
    let kept = |name: &str| keep.iter().any(|keep| name.ends_with(keep));
    world.hosts.values_mut().for_each(|host| host.images.retain(|image, _| kept(&image.to_string())));
    world.hosts.values_mut().for_each(|host| host.containers.clear());
    world.sessions.clear();
    // Every entry is hashed, also the one that holds the whole plan.
    let of_kept = |row: &Row| row["name"].as_str().is_some_and(kept);
    world.tables.get_mut("images").unwrap().retain(of_kept);
    let known: Vec<_> = world.tables["images"].iter().map(|row| row["id"].clone()).collect();
    world.tables.get_mut("image_aliases").unwrap().retain(|row| known.contains(&row["image"]));
    world
}

/// Three agents with all their images.
pub fn start() -> Inventory {
    let mut world = demo(1_800_000_000_000);
    world.hosts.retain(|name, _| ["gpu-01", "gpu-04", "gpu-06"].contains(&name.as_str()));
    world.sessions.retain(|session| world.hosts.contains_key(&session.agent));
    world
}

/// Sessions end by themselves while a run waits: they and their containers are no matter of the run.
pub fn settled(mut world: Inventory) -> Inventory {
    world.sessions.clear();
    world.hosts.values_mut().for_each(|host| host.containers.retain(|c| c.kernel.is_none()));
    // That nothing stands somewhere is known of the paths that were asked for.
    world.machines.values_mut().for_each(|machine| machine.files.retain(|_, found| found.is_some()));
    world
}

pub fn now_ms() -> i64 {
    1_800_000_100_000
}

/// A minute later each time it is asked.
fn minutes_on() -> i64 {
    static MINUTES: AtomicI64 = AtomicI64::new(0);
    now_ms() + MINUTES.fetch_add(1, Ordering::Relaxed) * 60_000
}

pub fn done(state: &State) -> usize {
    state.steps.iter().flat_map(|step| &step.changes).filter(|c| c.status == Status::Done).count()
}

/// Rolls back to the first step once this many changes are done.
pub fn back_after(n: usize, state: &State) -> Vec<(usize, Command)> {
    let now = state.plan.is_some() && state.rolling_back.is_none() && done(state) >= n;
    if now { vec![(0, Command::RollBack { to: 0, why: "test".to_owned() })] } else { vec![] }
}

pub fn shm() -> tempfile::TempDir {
    tempfile::tempdir_in(if Path::new("/dev/shm").is_dir() { "/dev/shm" } else { "/tmp" }).unwrap()
}

/// The part of a walk that outlives its processes.
pub struct Stage {
    pub state: tempfile::TempDir,
    pub sim: Arc<Sim>,
    pub plan: Arc<Plan>,
    pub ledger: Arc<Ledger>,
    pub processes: usize,
}

impl Stage {
    pub fn new(plan: Arc<Plan>, world: Inventory) -> Self {
        let (sim, ledger) = (Arc::new(Sim::new(world, Pace::Instant)), Arc::default());
        Self { state: shm(), sim, plan, ledger, processes: 0 }
    }

    pub async fn entries(&self) -> Vec<Stamped> {
        castoff::journal::read(self.state.path(), "run").await.unwrap()
    }

    /// The same as `process`; one that hangs says where.
    async fn whole_process(&mut self, story: &Story, fuse: &Arc<Fuse>, at: &str) -> Option<Ending> {
        let ended = tokio::time::timeout(Duration::from_secs(30), self.process(story, fuse)).await;
        if let Ok(ended) = ended {
            return ended;
        }
        let entries = self.entries().await;
        let last: Vec<&Stamped> = entries.iter().skip(1).rev().take(12).collect();
        panic!("{at}: it hangs; its last entries, the newest first: {last:#?}");
    }

    /// One castoff process: from the journal as it is to the end, or to the crash. `None` is the crash.
    pub async fn process(&mut self, story: &Story, fuse: &Arc<Fuse>) -> Option<Ending> {
        self.processes += 1;
        let journal = match Journal::open(self.state.path(), "run", "test").await {
            Ok(journal) => journal,
            Err(_) => Journal::create(self.state.path(), "run", "test").await.unwrap(),
        };
        let mut entries: Vec<Stamped> = journal.entries().await.unwrap();
        let mut seen = State::fold(&entries).unwrap();
        let (to_engine, commands) = mpsc::channel(64);
        let (events, mut from_engine) = mpsc::channel(64);
        let (to_cluster, answered) = watch::channel(seen.seq);
        let cluster = Arc::new(Fused {
            sim: self.sim.clone(),
            fuse: fuse.clone(),
            ledger: self.ledger.clone(),
            plan: self.plan.clone(),
            state: self.state.path().to_owned(),
            process: self.processes,
            answered,
        });
        let setup = Setup {
            window: story.window.clone().filter(|_| entries.is_empty()),
            recheck: Duration::from_millis(1),
            backoff: Duration::from_millis(1),
            ..Setup::new(
                cluster,
                journal,
                (commands, events),
                "test",
                if story.of == Family::ThereAndBack { minutes_on } else { now_ms },
            )
        };
        let engine = Engine::new(setup).await.unwrap();
        let task = tokio::spawn(engine.run(Some(self.plan.clone())));
        let mut asked = BTreeSet::new();
        // A rollback of a run that is over begins without `Begin`.
        let first = (story.operator)(&self.plan, &entries, &seen).into_iter().find(|(_, command)| is_rollback(command));
        (story.others)(&self.sim, &entries, &seen);
        let first = first.filter(|_| seen.finished.is_some()).map_or(Command::Begin, |(n, command)| {
            asked.insert(n);
            command
        });
        to_engine.send(first).await.unwrap();
        for (n, command) in (story.operator)(&self.plan, &entries, &seen) {
            if asked.insert(n) {
                to_engine.send(command).await.unwrap();
            }
        }
        let mut clear = None;
        loop {
            let event = tokio::select! {
                () = fuse.crashed.notified() => None,
                event = from_engine.recv() => match event {
                    None => return Some(task.await.unwrap().unwrap()),
                    event => event,
                },
            };
            match event {
                Some(Event::Entry(entry)) => {
                    seen.apply(&entry).unwrap();
                    entries.push(entry);
                    if fuse.burn() {
                        break;
                    }
                    (story.others)(&self.sim, &entries, &seen);
                    if let Next::Canary(step) = seen.next() {
                        let (plan, typed) = (self.plan.plan.clone(), "yes".to_owned());
                        let _ = to_engine.send(Command::ApproveCanary { step, plan, typed }).await;
                    }
                    for (n, command) in (story.operator)(&self.plan, &entries, &seen) {
                        if asked.insert(n) {
                            let _ = to_engine.send(command).await;
                        }
                    }
                    to_cluster.send_replace(seen.seq);
                }
                Some(Event::Gate(report)) => clear = Some(report.step).filter(|_| report.problems.is_empty()),
                Some(_) => continue,
                None => break,
            }
            // Asked again where the run was paused while it was answered; a second answer is refused and does no harm.
            if let Next::Gate(step) = seen.next()
                && clear == Some(step)
            {
                let typed = seen.gate(step).unwrap().sentence.clone();
                let _ = to_engine.send(Command::Approve { step, plan: self.plan.plan.clone(), typed }).await;
            }
        }
        task.abort();
        let _ = task.await;
        None
    }
}

fn is_rollback(command: &Command) -> bool {
    matches!(command, Command::RollBack { .. })
}

/// What one walk showed.
pub struct Walked {
    /// Points that were passed before the first crash, and in the resume of it.
    pub points: (usize, usize),
    pub entries: Vec<Stamped>,
    pub effects: u32,
}

/// What a runbook is planned from: of machines only what it wants is read.
async fn read(world: Inventory, runbook: &Runbook) -> Inventory {
    Sim::new(world, Pace::Instant).read(&runbook.wants()).await
}

/// From the start to the end with a crash at the n-th point of each of these processes in turn.
pub async fn walk(runbook: &Runbook, story: &Story, crashes: &[usize]) -> Walked {
    let at = &format!("{}, {}, crash at {crashes:?}", runbook.name, story.name);
    let start = read((story.start)(), runbook).await;
    let (plan, planned) = runbook.plan(&start).unwrap();
    assert_eq!(plan.blockers, [], "{at}");
    let mut stage = Stage::new(Arc::new(plan), start.clone());
    (story.faults)(&stage.sim);
    let mut fuses: Vec<Arc<Fuse>> = crashes.iter().map(|crash_at| Fuse::new(*crash_at)).collect();
    fuses.resize_with(2.max(fuses.len() + 1), Fuse::never);
    let mut ending = None;
    for fuse in &fuses {
        ending = stage.whole_process(story, fuse, at).await;
        // Left at a safe point, or over before the question of a rollback came: the next process goes on.
        let finished = [Outcome::Done, Outcome::DoneWithSkips].map(|outcome| Some(Ending::Finished(outcome)));
        while ending == Some(Ending::Stopped) || (story.end == End::RolledBack && finished.contains(&ending)) {
            ending = stage.whole_process(story, fuse, at).await;
        }
        if ending.is_some() {
            break;
        }
    }
    if ending.is_none() {
        ending = stage.whole_process(story, &Fuse::never(), at).await;
    }
    let entries = stage.entries().await;
    assert_eq!(stage.ledger.wrong(), Vec::<String>::new(), "{at}");
    begun_once(&entries, at);
    in_their_turn(&entries, at);
    let state = State::fold(&entries).unwrap();
    let world = settled(stage.sim.world());
    let only = |which: fn(&Status) -> bool| {
        let mut world = start.clone();
        let changes = stage.plan.steps.iter().flat_map(|step| &step.changes);
        changes.filter(|planned| which(&state.status(planned.id).status)).for_each(|planned| world.apply(&planned.change));
        settled(world)
    };
    let (expected, outcome) = match story.end {
        End::Planned => (settled(planned), Outcome::Done),
        End::RolledBack => (settled(start.clone()), Outcome::RolledBack),
        End::Skipped => {
            // A fault that was met before the crash does not come again: then there is nothing to skip.
            let any = entries.iter().any(|stamped| matches!(stamped.entry, Entry::Skipped { .. }));
            let outcome = if any { Outcome::DoneWithSkips } else { Outcome::Done };
            (only(|status| !matches!(status, Status::Skipped(_))), outcome)
        }
        End::Aborted => (only(|status| *status == Status::Done), Outcome::Aborted("test".to_owned())),
    };
    assert_eq!(ending, Some(Ending::Finished(outcome)), "{at}");
    if world != expected {
        let (is, should) = (format!("{world:#?}"), format!("{expected:#?}"));
        panic!("{at}:\n{}", similar::TextDiff::from_lines(&should, &is).unified_diff());
    }
    let points = |n: usize| fuses[n].points.load(Ordering::SeqCst);
    Walked { points: (points(0), points(1)), entries, effects: stage.ledger.effects() }
}

fn begun_once(entries: &[Stamped], at: &str) {
    let mut begun = BTreeSet::new();
    for stamped in entries {
        match &stamped.entry {
            Entry::Started { change } => assert!(begun.insert(*change), "{at}: change {change} was begun twice"),
            Entry::Retried { change, .. } => _ = begun.remove(change),
            _ => {}
        }
    }
}

/// Nothing of a later wave begins before its wave does, nor before the canary has passed with all of it done or found.
fn in_their_turn(entries: &[Stamped], at: &str) {
    let mut state = State::default();
    for stamped in entries {
        match &stamped.entry {
            Entry::Started { change } => {
                let here = &state.steps[change.step].waves;
                assert!(here.of(change.n) <= here.at(), "{at}: {change} begins before its wave");
                let held = here.of(change.n) > 0 && state.waves(change.step).is_some_and(Waves::holds);
                assert!(!held || here.passed.is_some(), "{at}: {change} begins before the canary passed");
            }
            Entry::WavePassed { step, typed, .. } => {
                let here = &state.steps[*step];
                let canary = here.changes.iter().enumerate().filter(|(n, _)| here.waves.of(*n) == 0);
                let done = canary.into_iter().all(|(_, change)| matches!(change.status, Status::Done | Status::Found));
                // Where all of it was left out only a person lets it pass.
                assert!(done || !typed.is_empty(), "{at}: the canary passed before it was done");
            }
            _ => {}
        }
        state.apply(stamped).unwrap();
    }
}

/// Units and files as the runbook of family `Own` finds them.
pub fn with_units() -> Inventory {
    let mut world = small();
    for machine in world.machines.values_mut() {
        machine.units = ["chronyd", "docker", "puppet"].map(|unit| (unit.to_owned(), Some(Service::Running))).into();
    }
    world
}

pub fn shipped(story: &Story) -> Vec<Runbook> {
    if story.of == Family::Own {
        return vec![Runbook::parse("own.toml", include_str!("own.toml"), &story.sets).unwrap()];
    }
    let all = SHIPPED.iter().filter(|(name, _)| story.of == family(name));
    all.map(|(name, text)| Runbook::parse(name, text, &story.sets).unwrap()).collect()
}

/// Every point of a story, in every shipped runbook. `told` looks at the walk without a crash: the story must happen.
pub async fn every_point(story: &Story, told: impl Fn(&[Stamped])) {
    points(story, 1, told).await;
}

/// Every `stride`-th point.
pub async fn points(story: &Story, stride: usize, told: impl Fn(&[Stamped])) {
    for runbook in shipped(story) {
        let whole = walk(&runbook, story, &[]).await;
        told(&whole.entries);
        let points = whole.points.0;
        assert!(points > 10, "{}, {}: only {points} points", runbook.name, story.name);
        let mut effects = 0;
        for crash_at in (1..=points).step_by(stride) {
            effects += walk(&runbook, story, &[crash_at]).await.effects;
        }
        let name = &runbook.name;
        let walked = points.div_ceil(stride);
        println!(
            "{name}, {}: {walked} of {points} crash points, {effects} effects, all resumed, none without its entry",
            story.name
        );
    }
}

/// A crash at every `stride`-th point, and a second at every `stride`-th point of its resume.
pub async fn two_crashes(story: &Story, stride: usize) {
    for runbook in shipped(story) {
        let points = walk(&runbook, story, &[]).await.points.0;
        let (mut first, mut walked) = (1, 0);
        while first <= points {
            let rest = walk(&runbook, story, &[first]).await.points.1;
            for second in (1 + first % stride..=rest).step_by(stride) {
                walk(&runbook, story, &[first, second]).await;
                walked += 1;
            }
            first += stride;
        }
        println!("{}, {}: {walked} pairs of crashes, all resumed", runbook.name, story.name);
    }
}
