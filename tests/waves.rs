//! Waves, hosts that are set aside, and limits that change while a run goes on, with the engine on the simulator.
//! What a canary promises is checked on every journal: nothing of a later wave begins before it has passed.

use async_trait::async_trait;
use castoff::cluster::sim::{Pace, Sim, demo};
use castoff::cluster::{Cluster, Report};
use castoff::engine::{Ending, Engine, Setup};
use castoff::journal::Journal;
use castoff::model::{
    Change, Command, Entry, Event, Fault, FaultKind, Inventory, Limits, Next, Outcome, Plan, Stamped, Standing, State, Status,
    Stop, Target, Wants, Waves,
};
use castoff::runbook::{Runbook, SHIPPED};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

const PULL: &str = r#"
name = "pull"
title = "Pull"
[move]
from = "docker.io/lablup"
to = ["cr.backend.ai/stable", "cr.backend.ai/community"]
[[step]]
id = "pull"
title = "Pull"
action = "pull-images"
"#;

fn world(hosts: usize) -> Inventory {
    let mut world = demo(1_800_000_000_000);
    let names: Vec<String> = world.hosts.keys().take(hosts).cloned().collect();
    world.hosts.retain(|name, _| names.contains(name));
    world.sessions.retain(|session| world.hosts.contains_key(&session.agent));
    world
}

fn plan(hosts: usize, sets: &[&str]) -> Plan {
    let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
    Runbook::parse("pull", PULL, &sets).unwrap().plan(&world(hosts)).unwrap().0
}

fn waves(plan: &Plan) -> &Waves {
    plan.steps[0].waves.as_ref().unwrap()
}

/// Where a change happens, and the registry it asks.
type Whereabouts = (String, Option<String>);

/// The simulator, watched: how much is applied side by side, and when each began.
struct Watched {
    sim: Sim,
    takes: Duration,
    now: Mutex<Vec<Whereabouts>>,
    most: Mutex<Most>,
    /// What has to be side by side at some time: until then nothing ends.
    awaited: Mutex<fn(Most) -> bool>,
    begun: Mutex<Vec<(Instant, Change)>>,
    /// An image with which something is wrong, wherever it is pulled.
    broken: Mutex<Option<(String, Fault)>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Most {
    total: usize,
    on_host: usize,
    hosts: usize,
    on_registry: usize,
}

impl Watched {
    fn new(hosts: usize, takes: Duration) -> Arc<Self> {
        let sim = Sim::new(world(hosts), Pace::Instant);
        Arc::new(Self {
            sim,
            takes,
            now: Mutex::default(),
            most: Mutex::default(),
            awaited: Mutex::new(|_| true),
            begun: Mutex::default(),
            broken: Mutex::default(),
        })
    }

    fn begins(&self, change: &Change) {
        let mut now = self.now.lock().unwrap();
        now.push((change.place().to_owned(), change.registry().map(str::to_owned)));
        let count = |key: &dyn Fn(&Whereabouts) -> Option<String>| {
            let mut counts: BTreeMap<String, usize> = BTreeMap::new();
            now.iter().filter_map(key).for_each(|key| *counts.entry(key).or_default() += 1);
            (counts.len(), counts.into_values().max().unwrap_or_default())
        };
        let (hosts, on_host) = count(&|(place, _)| Some(place.clone()));
        let (_, on_registry) = count(&|(_, registry)| registry.clone());
        let mut most = self.most.lock().unwrap();
        most.total = most.total.max(now.len());
        most.hosts = most.hosts.max(hosts);
        most.on_host = most.on_host.max(on_host);
        most.on_registry = most.on_registry.max(on_registry);
        if matches!(change, Change::Pull { .. }) {
            self.begun.lock().unwrap().push((Instant::now(), change.clone()));
        }
    }

    fn wait_for(&self, awaited: fn(Most) -> bool) {
        *self.awaited.lock().unwrap() = awaited;
    }

    fn has_come(&self) -> bool {
        let (awaited, most) = (*self.awaited.lock().unwrap(), *self.most.lock().unwrap());
        awaited(most)
    }

    fn most(&self) -> Most {
        std::mem::take(&mut *self.most.lock().unwrap())
    }
}

#[async_trait]
impl Cluster for Watched {
    async fn read(&self, wants: &Wants) -> Inventory {
        self.sim.read(wants).await
    }
    async fn standing(&self, change: &Change) -> Result<Standing, Fault> {
        self.sim.standing(change).await
    }
    async fn apply(&self, change: &Change, report: Report<'_>) -> Result<(), Fault> {
        self.begins(change);
        tokio::time::sleep(self.takes).await;
        let begun = Instant::now();
        while !self.has_come() {
            tokio::time::sleep(Duration::from_millis(1)).await;
            if begun.elapsed() > Duration::from_secs(10) {
                // It does not come, and the test says so.
                self.wait_for(|_| true);
            }
        }
        let broken = self.broken.lock().unwrap().clone().filter(|(image, _)| *image == change.subject());
        let outcome = match broken {
            Some((_, fault)) => Err(fault),
            None => self.sim.apply(change, report).await,
        };
        let key = (change.place().to_owned(), change.registry().map(str::to_owned));
        let mut now = self.now.lock().unwrap();
        let at = now.iter().position(|other| *other == key).unwrap();
        now.remove(at);
        outcome
    }
    async fn undo(&self, change: &Change, report: Report<'_>) -> Result<(), Fault> {
        self.sim.undo(change, report).await
    }
}

fn now_ms() -> i64 {
    1_800_000_100_000
}

/// A run that was left: how, its journal, its state, and what was refused.
struct Ran {
    ending: Ending,
    entries: Vec<Stamped>,
    state: State,
    refused: Vec<String>,
    waits: Vec<String>,
}

impl Ran {
    fn at(&self, which: impl Fn(&Entry) -> bool) -> Vec<usize> {
        self.entries.iter().enumerate().filter(|(_, stamped)| which(&stamped.entry)).map(|(at, _)| at).collect()
    }

    fn aside(&self) -> Vec<&str> {
        let mut out = vec![];
        for stamped in &self.entries {
            if let Entry::SetAside { place, .. } = &stamped.entry {
                out.push(place.as_str());
            }
        }
        out
    }
}

/// What a person asks next, seeing the newest event.
type Script<'a> = dyn FnMut(&Event, &State) -> Vec<Command> + Send + 'a;

/// Runs a plan until it is over, or until nothing goes on and the script has nothing to say.
async fn run(plan: &Plan, cluster: Arc<Watched>, ahead: &[&str], script: &mut Script<'_>) -> Ran {
    let folder = tempfile::tempdir_in(if std::path::Path::new("/dev/shm").is_dir() { "/dev/shm" } else { "/tmp" }).unwrap();
    let journal = Journal::create(folder.path(), "run", "test").await.unwrap();
    let (to_engine, commands) = mpsc::channel(64);
    let (events, mut from_engine) = mpsc::channel(1024);
    let setup = Setup {
        approvals: ahead.iter().map(|name| ((*name).to_owned(), plan.plan.clone())).collect(),
        recheck: Duration::from_millis(1),
        backoff: Duration::from_millis(1),
        ..Setup::new(cluster, journal, (commands, events), "kim", now_ms)
    };
    let engine = Engine::new(setup).await.unwrap();
    let task = tokio::spawn(engine.run(Some(plan.clone().into())));
    to_engine.send(Command::Begin).await.unwrap();
    let mut state = State::default();
    let (mut refused, mut waits) = (vec![], vec![]);
    while let Some(event) = from_engine.recv().await {
        match &event {
            Event::Entry(entry) => state.apply(entry).unwrap(),
            Event::Refused(why) => refused.push(why.clone()),
            Event::Waits { waits: now, .. } => waits.extend(now.iter().map(|wait| wait.why.clone())),
            _ => {}
        }
        let mut asked = script(&event, &state);
        let held = state.next() == Next::Canary(0) && !ahead.contains(&"pull.canary");
        if asked.is_empty() && (held || matches!(state.next(), Next::Stop(Stop::Failed(_)))) {
            asked.push(Command::Stop);
        }
        for command in asked {
            let _ = to_engine.send(command).await;
        }
    }
    let ending = task.await.unwrap().unwrap();
    let entries = castoff::journal::read(folder.path(), "run").await.unwrap();
    in_their_turn(&entries);
    Ran { ending, entries, state, refused, waits }
}

fn nobody(_: &Event, _: &State) -> Vec<Command> {
    vec![]
}

/// Whatever else happened: a change begins in its wave, after the canary, and on no host that is set aside.
fn in_their_turn(entries: &[Stamped]) {
    let mut state = State::default();
    for stamped in entries {
        if let Entry::Started { change } = &stamped.entry {
            let plan = state.plan.as_ref().unwrap();
            let here = &state.steps[change.step].waves;
            let wave = here.of(change.n);
            assert!(wave <= here.at(), "change {change} of wave {wave} begins in wave {}", here.at());
            assert!(!here.is_aside(&plan.change(*change).place), "{change} begins on a host that is aside");
            if wave > 0 && state.waves(change.step).is_some_and(Waves::holds) {
                assert!(here.passed.is_some(), "{change} begins before the canary has passed");
            }
        }
        state.apply(stamped).unwrap();
    }
}

fn fault(kind: FaultKind, why: &str) -> Fault {
    Fault::new(kind, "cannot pull `x` on `y`", why)
}

fn no_space() -> Fault {
    fault(FaultKind::Space, "no space left on device")
}

#[test]
fn waves_of_a_plan_are_data_and_part_of_its_id() {
    let one = plan(12, &["waves.canary=1", "waves.then=[3, \"25%\"]"]);
    let sizes = |plan: &Plan| waves(plan).hosts.iter().map(Vec::len).collect::<Vec<_>>();
    assert_eq!(sizes(&one), [1, 3, 3, 5]);
    assert_eq!(waves(&one).hosts[0], ["gpu-01"]);
    let two = plan(12, &["waves.canary=2", "waves.then=[3, \"25%\"]"]);
    assert_eq!(sizes(&two), [2, 3, 3, 4]);
    assert_ne!(one.plan, two.plan, "what was approved is what runs");
    let own = plan(12, &["waves.canary=1", "pull.waves.canary=4"]);
    assert_eq!(sizes(&own), [4, 8], "a step may have its own");
    let none = plan(12, &[]);
    assert_eq!(none.steps[0].waves, None);
    // A journal of before has no word of waves.
    let json = serde_json::to_string(&none).unwrap();
    assert!(!json.contains("waves"));
    assert_eq!(serde_json::from_str::<Plan>(&json).unwrap(), none);
}

#[tokio::test]
async fn the_canary_goes_first_and_the_others_follow_in_waves() {
    let plan = plan(12, &["waves.canary=1", "waves.then=[3, \"25%\"]"]);
    let ran = run(&plan, Watched::new(12, Duration::ZERO), &[], &mut nobody).await;
    assert_eq!(ran.ending, Ending::Finished(Outcome::Done));
    let reached = ran.at(|entry| matches!(entry, Entry::WaveReached { .. }));
    assert_eq!(reached.len(), 4);
    let passed = ran.at(|entry| matches!(entry, Entry::WavePassed { .. }));
    assert_eq!(passed.len(), 1);
    // Proved: all of the canary is done or found before it passes.
    let before = State::fold(&ran.entries[..passed[0]]).unwrap();
    let canary = before.steps[0].changes.iter().enumerate().filter(|(n, _)| before.steps[0].waves.of(*n) == 0);
    assert!(canary.clone().count() > 0);
    assert!(canary.into_iter().all(|(_, change)| change.status == Status::Done));
    assert!(ran.aside().is_empty());
}

#[tokio::test]
async fn a_canary_that_is_to_be_approved_holds_until_somebody_does() {
    let plan = plan(12, &["waves.canary=1", "waves.hold=approve"]);
    let ran = run(&plan, Watched::new(12, Duration::ZERO), &[], &mut nobody).await;
    assert_eq!(ran.ending, Ending::Stopped);
    assert_eq!(ran.state.steps[0].waves.at(), 0);
    let mut asked = 0;
    let mut script = |event: &Event, state: &State| {
        let answer =
            |plan: &str, typed: &str| vec![Command::ApproveCanary { step: 0, plan: plan.to_owned(), typed: typed.to_owned() }];
        if state.next() != Next::Canary(0) || !matches!(event, Event::Entry(_) | Event::Refused(_)) {
            return vec![];
        }
        asked += 1;
        match asked {
            1 => answer("00000000", "yes"),
            2 => answer(&plan.plan, "y"),
            _ => answer(&plan.plan, "yes"),
        }
    };
    let ran = run(&plan, Watched::new(12, Duration::ZERO), &[], &mut script).await;
    assert_eq!(ran.ending, Ending::Finished(Outcome::Done));
    assert_eq!(ran.refused, ["the answer is for another plan", "the sentence is not complete"]);
    assert_eq!(ran.state.steps[0].waves.passed.as_ref().unwrap().0, "kim");
    // Answered ahead, as a run without a terminal is.
    let ran = run(&plan, Watched::new(12, Duration::ZERO), &["pull.canary"], &mut nobody).await;
    assert_eq!(ran.ending, Ending::Finished(Outcome::Done));
    // The answer to the gate of the step is none to its canary.
    let ran = run(&plan, Watched::new(12, Duration::ZERO), &["pull"], &mut nobody).await;
    assert_eq!(ran.ending, Ending::Stopped);
}

#[tokio::test]
async fn a_canary_that_fails_stops_its_step_and_is_not_set_aside() {
    let plan = plan(12, &["waves.canary=1"]);
    let cluster = Watched::new(12, Duration::ZERO);
    cluster.sim.fail("pull", "gpu-01", vec![no_space()]);
    let mut stopped = false;
    let mut script = |_: &Event, state: &State| {
        if stopped || !matches!(state.next(), Next::Stop(Stop::Failed(0))) {
            return vec![];
        }
        stopped = true;
        assert_eq!(state.stopped_by(0).as_deref(), Some("the failure of its canary"));
        let others = state.steps[0].changes.iter().enumerate().filter(|(n, _)| state.steps[0].waves.of(*n) > 0);
        assert!(others.into_iter().all(|(_, change)| change.status == Status::Waiting));
        vec![Command::Retry(Target::Failed)]
    };
    let ran = run(&plan, cluster, &[], &mut script).await;
    assert!(stopped && ran.aside().is_empty());
    assert_eq!(ran.ending, Ending::Finished(Outcome::Done), "mended and tried again, it goes on");
}

#[tokio::test]
async fn a_canary_of_which_nothing_was_done_proves_nothing() {
    let plan = plan(12, &["waves.canary=1"]);
    let cluster = Watched::new(12, Duration::ZERO);
    for kind in ["pull", "tag"] {
        cluster.sim.fail(kind, "gpu-01", vec![fault(FaultKind::Lasting, "broken"); 20]);
    }
    let mut script = |_: &Event, state: &State| match state.next() {
        Next::Stop(Stop::Failed(_)) => vec![Command::Skip { target: Target::Failed, why: "broken".to_owned() }],
        _ => vec![],
    };
    let ran = run(&plan, cluster, &[], &mut script).await;
    assert_eq!(ran.state.waves(0).unwrap().hold, castoff::model::Hold::Prove);
    assert_eq!(State::fold(&ran.entries[..ran.entries.len() - 1]).unwrap().next(), Next::Canary(0), "a person has to say so");
}

#[tokio::test]
async fn a_canary_that_somebody_else_has_configured_has_not_proved_the_mirror() {
    let (name, text) = SHIPPED.iter().find(|(name, _)| *name == "docker-mirror").unwrap();
    let sets = ["mirror.url=https://mirror.example:5000".to_owned()];
    let plan = Runbook::parse(name, text, &sets).unwrap().plan(&demo(1_800_000_000_000)).unwrap().0;
    let step = plan.steps.iter().position(|step| !step.changes.is_empty()).unwrap();
    let cluster = Watched::new(12, Duration::ZERO);
    let canary = plan.steps[step].waves.as_ref().unwrap().hosts[0].clone();
    for planned in plan.steps[step].changes.iter().filter(|planned| canary.contains(&planned.change.place().to_owned())) {
        cluster.sim.meddle(|world| world.apply(&planned.change));
    }
    let ids = plan.steps.iter().flat_map(|step| [step.id.clone(), format!("{}.canary", step.id)]).collect::<Vec<_>>();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let ran = run(&plan, cluster, &ids, &mut |_: &Event, _: &State| vec![]).await;
    assert_eq!(ran.ending, Ending::Finished(Outcome::Done));
    let passed = ran.entries.iter().find_map(|stamped| match &stamped.entry {
        Entry::WavePassed { by, .. } => Some(by.as_str()),
        _ => None,
    });
    assert_eq!(passed, Some("kim"), "a person has to say so");
}

#[tokio::test]
async fn enough_failures_in_a_wave_stop_the_step_and_a_retry_goes_on() {
    let plan = plan(12, &["waves.then=[8]", "waves.failures=2", "limits.total=2"]);
    let cluster = Watched::new(12, Duration::from_millis(2));
    for host in ["gpu-02", "gpu-03"] {
        cluster.sim.fail("pull", host, vec![fault(FaultKind::Missing, "manifest unknown")]);
    }
    let mut stopped = false;
    let mut script = |_: &Event, state: &State| {
        if stopped || !matches!(state.next(), Next::Stop(Stop::Failed(0))) {
            return vec![];
        }
        stopped = true;
        assert_eq!(state.stopped_by(0).as_deref(), Some("2 failures in wave 1 of 2"));
        let tally = state.tally(0);
        assert!(tally.waiting > 10 && tally.running == 0 && tally.failed == 2, "{tally:?}");
        vec![Command::Retry(Target::Failed)]
    };
    let ran = run(&plan, cluster, &[], &mut script).await;
    assert!(stopped);
    assert_eq!(ran.ending, Ending::Finished(Outcome::Done));
    let failed = ran.at(|entry| matches!(entry, Entry::Failed { .. }));
    let again = ran.at(|entry| matches!(entry, Entry::Retried { .. }));
    let between = ran.at(|entry| matches!(entry, Entry::Started { .. }));
    assert!(!between.iter().any(|at| *at > failed[1] && *at < again[0]), "nothing new began after the second failure");
}

#[tokio::test]
async fn a_host_in_trouble_is_set_aside_and_comes_back_at_the_end() {
    let plan = plan(12, &["waves.canary=1", "waves.then=[4]", "waves.failures=3"]);
    let cluster = Watched::new(12, Duration::from_millis(1));
    cluster.sim.fail("pull", "gpu-03", vec![no_space()]);
    let ran = run(&plan, cluster, &[], &mut nobody).await;
    assert_eq!(ran.ending, Ending::Finished(Outcome::Done));
    assert_eq!(ran.aside(), ["gpu-03"]);
    let back = ran.at(|entry| matches!(entry, Entry::CameBack { .. }));
    assert_eq!(back.len(), 1);
    // When it comes back nothing else is left, in any wave.
    let before = State::fold(&ran.entries[..back[0]]).unwrap();
    for (n, change) in before.steps[0].changes.iter().enumerate() {
        if plan.steps[0].changes[n].place != "gpu-03" {
            assert!(matches!(change.status, Status::Done | Status::Found), "{n}: {change:?}");
        }
    }
    assert!(before.steps[0].waves.aside["gpu-03"].why.contains("no space"));
    assert_eq!(before.aside_lines(0, 80), ["gpu-03 set aside: no space left on device; comes back at the end"]);
}

#[tokio::test]
async fn a_host_that_fails_again_stays_failed_under_its_cause() {
    let plan = plan(4, &["limits.total=3", "limits.per-host=1"]);
    let cluster = Watched::new(4, Duration::from_millis(30));
    let silent = Fault::new(FaultKind::Passing, "cannot reach the engine on `gpu-02`", "connection refused").unreachable();
    for kind in ["pull", "tag"] {
        cluster.sim.fail(kind, "gpu-02", vec![silent.clone(); 400]);
    }
    let ran = run(&plan, cluster, &[], &mut nobody).await;
    assert_eq!(ran.ending, Ending::Stopped);
    assert_eq!(ran.aside(), ["gpu-02"]);
    assert_eq!(ran.at(|entry| matches!(entry, Entry::CameBack { .. })).len(), 1, "it comes back once");
    let causes = ran.state.causes();
    assert_eq!(causes.len(), 1);
    assert_eq!(causes[0].0.why, "connection refused");
    let others = ran.state.steps[0].changes.iter().enumerate().filter(|(n, _)| plan.steps[0].changes[*n].place != "gpu-02");
    assert!(others.into_iter().all(|(_, change)| change.status == Status::Done));
}

#[tokio::test]
async fn a_person_who_asks_brings_a_host_back_at_once() {
    let plan = plan(12, &["waves.then=[6]", "waves.failures=1"]);
    let cluster = Watched::new(12, Duration::from_millis(1));
    cluster.sim.fail("pull", "gpu-02", vec![no_space()]);
    let mut script = |_: &Event, state: &State| match state.next() {
        Next::Stop(Stop::Failed(_)) => vec![Command::Retry(Target::Failed)],
        _ => vec![],
    };
    let ran = run(&plan, cluster, &[], &mut script).await;
    assert_eq!(ran.ending, Ending::Finished(Outcome::Done));
    assert_eq!(ran.aside(), ["gpu-02"], "one host aside is one failure, and the threshold is one");
    let back = ran.at(|entry| matches!(entry, Entry::CameBack { .. }))[0];
    let second = ran.at(|entry| matches!(entry, Entry::WaveReached { wave: 1, .. }))[0];
    assert!(back < second, "it was asked for, and did not wait for the end");
}

#[tokio::test]
async fn what_is_wrong_with_an_image_sets_no_host_aside() {
    let plan = plan(8, &[]);
    let image = plan.steps[0].changes.iter().find(|change| change.kind == "pull").unwrap().subject.clone();
    for (kind, why) in [(FaultKind::Missing, "manifest unknown"), (FaultKind::Denied, "denied")] {
        let cluster = Watched::new(8, Duration::from_millis(1));
        *cluster.broken.lock().unwrap() = Some((image.clone(), fault(kind, why)));
        let ran = run(&plan, cluster, &[], &mut nobody).await;
        assert_eq!(ran.ending, Ending::Stopped);
        let causes = ran.state.causes();
        assert!(causes.len() == 1 && causes[0].1.len() > 3, "{causes:?}");
        // The first that is denied may be one that lacks a login; the second tells that it is the image.
        let most = usize::from(kind == FaultKind::Denied);
        assert!(ran.aside().len() <= most, "{kind:?}: {:?}", ran.aside());
    }
}

#[tokio::test]
async fn limits_are_raised_and_lowered_while_it_runs() {
    let plan = plan(12, &["limits.total=1", "limits.per-host=4"]);
    let cluster = Watched::new(12, Duration::from_millis(5));
    let watched = cluster.clone();
    let mut phases: Vec<Most> = vec![];
    let mut script = |event: &Event, state: &State| {
        if !matches!(event, Event::Entry(stamped) if matches!(stamped.entry, Entry::Done { .. })) {
            return vec![];
        }
        let done = state.tally(0).done;
        let to = match done {
            8 => "total=8",
            32 => "total=2",
            _ => return vec![],
        };
        phases.push(watched.most());
        watched.wait_for(if done == 8 { |most| most.total >= 8 } else { |_| true });
        vec![Command::SetLimit(to.parse().unwrap())]
    };
    let ran = run(&plan, cluster.clone(), &[], &mut script).await;
    assert_eq!(ran.ending, Ending::Finished(Outcome::Done), "what was in flight is finished");
    assert_eq!(ran.at(|entry| matches!(entry, Entry::Failed { .. } | Entry::Retried { .. })).len(), 0);
    assert_eq!(phases[0].total, 1);
    assert_eq!(phases[1].total, 8, "raised, at once");
    // Right after the change the old eight may still be there; then there are two.
    let changed = ran.at(|entry| matches!(entry, Entry::LimitChanged { .. }));
    assert_eq!(changed.len(), 2);
    let mut running = 0_i32;
    for (at, stamped) in ran.entries.iter().enumerate() {
        match stamped.entry {
            Entry::Started { .. } => {
                running += 1;
                assert!(at < changed[1] || running <= 2, "entry {at}: {running} at once after it was lowered to 2");
            }
            Entry::Done { .. } => running -= 1,
            _ => {}
        }
    }
}

#[tokio::test]
async fn hosts_at_once_are_limited() {
    let plan = plan(12, &["limits.hosts=2", "limits.per-host=3"]);
    let cluster = Watched::new(12, Duration::from_millis(5));
    cluster.wait_for(|most| most.hosts >= 2 && most.on_host >= 3);
    let ran = run(&plan, cluster.clone(), &[], &mut nobody).await;
    assert_eq!(ran.ending, Ending::Finished(Outcome::Done));
    let most = cluster.most();
    assert_eq!((most.hosts, most.on_host), (2, 3), "{most:?}");
    assert!(ran.waits.iter().any(|why| why == "2 hosts at once"), "{:?}", ran.waits);
}

#[tokio::test]
async fn a_registry_is_asked_no_faster_than_it_may_be() {
    // A pull of the demo asks for `/v2/`, manifests, the configuration, and a few layers.
    let plan = plan(4, &["limits.requests-per-s=100"]);
    let requests: Vec<u32> = plan.steps[0].changes.iter().map(|change| change.requests).filter(|n| *n > 0).collect();
    assert!(requests.len() > 6 && requests.iter().all(|n| (5..=12).contains(n)), "{requests:?}");
    let cluster = Watched::new(4, Duration::ZERO);
    let from = Instant::now();
    let ran = run(&plan, cluster.clone(), &[], &mut nobody).await;
    let took = from.elapsed();
    assert_eq!(ran.ending, Ending::Finished(Outcome::Done));
    let due: u32 = requests[..requests.len() - 1].iter().sum();
    let due = Duration::from_secs_f64(f64::from(due) / 100.0);
    assert!(took >= due, "{took:?}, and {due:?} are due");
    assert!(took < due + Duration::from_secs(20), "{took:?}, and {due:?} are due: it wakes up in time");
    // Never two at once: whatever came before has had its time. One may come late, and so behind the next: the longest of
    // them may have been the last.
    let cost = |change: &Change| plan.steps[0].changes.iter().find(|planned| planned.change == *change).unwrap().requests;
    let (mut sum, mut longest) = (0, 0);
    for (at, change) in cluster.begun.lock().unwrap().iter() {
        (sum, longest) = (sum + cost(change), longest.max(cost(change)));
        let due = Duration::from_secs_f64(f64::from(sum - longest) / 100.0);
        assert!(*at - from >= due, "{:?}, and {due:?} are due", *at - from);
    }
    assert!(ran.waits.iter().any(|why| why == "100 requests/s to cr.backend.ai"), "{:?}", ran.waits);
}

#[tokio::test]
async fn lifting_the_pace_counts_at_once() {
    let plan = plan(4, &["limits.requests-per-s=1"]);
    let mut lifted = false;
    let mut script = |event: &Event, _: &State| {
        let waits = matches!(event, Event::Waits { .. }) && !lifted;
        lifted |= waits;
        if waits { vec![Command::SetLimit("requests=0".parse().unwrap())] } else { vec![] }
    };
    let from = Instant::now();
    let ran = run(&plan, Watched::new(4, Duration::ZERO), &[], &mut script).await;
    assert_eq!(ran.ending, Ending::Finished(Outcome::Done));
    assert!(from.elapsed() < Duration::from_secs(20), "at 1 request/s it would take a minute: {:?}", from.elapsed());
    assert_eq!(ran.state.limits.requests_per_s, 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn at_no_time_is_more_in_flight_than_the_limits_say(
        per_host in 1_usize..4, hosts in 0_usize..4, per_registry in 1_usize..6, total in 1_usize..9, canary in 0_usize..3,
    ) {
        let sets = [
            format!("limits.per-host={per_host}"), format!("limits.hosts={hosts}"), format!("limits.per-registry={per_registry}"),
            format!("limits.total={total}"), format!("waves.canary={canary}"), "waves.then=[2]".to_owned(),
        ];
        let plan = plan(6, &sets.each_ref().map(String::as_str));
        let cluster = Watched::new(6, Duration::from_millis(1));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let ran = runtime.block_on(run(&plan, cluster.clone(), &[], &mut nobody));
        prop_assert_eq!(ran.ending, Ending::Finished(Outcome::Done));
        let most = cluster.most();
        prop_assert!(most.on_host <= per_host && most.on_registry <= per_registry && most.total <= total, "{:?}", most);
        prop_assert!(hosts == 0 || most.hosts <= hosts, "{:?}", most);
        prop_assert_eq!(plan.limits, Limits { per_host, hosts, per_registry, total, ..Limits::default() });
    }
}
