//! The journal of a run that was cut off beside the cluster as others left it: what is told, and that looking changes nothing.
//! Never a run that goes on: only what is looked at before it does.

use castoff::cluster::{
    Cluster,
    sim::{Pace, Sim, demo},
};
use castoff::engine::{Ending, Engine, Setup, survey::survey};
use castoff::journal::{self, Journal};
use castoff::model::{Change, Command, Entry, Event, Inventory, Plan, Problem, Stamped, State, Value};
use castoff::runbook::{Runbook, SHIPPED};
use std::{sync::Arc, time::Duration};
use tokio::sync::mpsc;

fn now_ms() -> i64 {
    1_800_000_100_000
}

fn start() -> Inventory {
    demo(1_800_000_000_000)
}

fn plan() -> Plan {
    Runbook::parse(SHIPPED[0].0, SHIPPED[0].1, &[]).unwrap().plan(&start()).unwrap().0
}

/// A run that was begun and cut off at once.
fn begun() -> State {
    let entry = Entry::Planned { plan: plan().into(), by: "test".to_owned() };
    State::fold(&[Stamped { seq: 1, at_ms: now_ms(), entry }]).unwrap()
}

/// What others did meanwhile: a host is gone, one has come, and a key of the plan is another one now.
fn meddle(world: &mut Inventory) -> String {
    world.hosts.remove("gpu-04").expect("the demo has this host");
    let new = world.hosts["gpu-01"].clone();
    world.hosts.insert("gpu-99".to_owned(), new);
    let plan = plan();
    let mut changes = plan.steps.iter().flat_map(|step| &step.changes);
    let key = changes.find_map(|c| if let Change::Keys { diffs } = &c.change { diffs.first() } else { None });
    let key = key.expect("the plan writes keys").key.clone();
    world.keys.insert(key.clone(), Value::text("https://somebody.else"));
    key
}

fn told(changed: &[Problem], subject: &str, why: &str) {
    let found = changed.iter().any(|problem| problem.subject.contains(subject) && problem.why.contains(why));
    assert!(found, "{subject}: {why} is not in {changed:#?}");
}

#[tokio::test]
async fn nothing_has_changed_where_nobody_did_anything() {
    let sim = Sim::new(start(), Pace::Instant);
    let survey = survey(&sim, &begun()).await;
    assert_eq!(survey.changed, []);
    assert!(survey.lines.iter().all(|line| line.agrees), "{:#?}", survey.lines);
}

#[tokio::test]
async fn what_others_changed_is_told_by_name() {
    let sim = Sim::new(start(), Pace::Instant);
    let mut key = String::new();
    sim.meddle(|world| key = meddle(world));
    let before = sim.world();
    let survey = survey(&sim, &begun()).await;
    told(&survey.changed, "host gpu-04", "has left");
    told(&survey.changed, "host gpu-99", "has joined");
    assert!(survey.changed.iter().any(|problem| problem.place.as_deref() == Some("etcd")), "{key}: {:#?}", survey.changed);
    assert_eq!(sim.world(), before, "it only looks");
}

/// A run whose first pull, and whose keys, are done.
fn done_so_far(world: &mut Inventory) -> State {
    let plan = plan();
    let changes = plan.steps.iter().flat_map(|step| &step.changes);
    let pull = changes.clone().find(|c| matches!(c.change, Change::Pull { .. })).unwrap();
    let keys = changes.clone().find(|c| matches!(c.change, Change::Keys { .. })).unwrap();
    let planned = Entry::Planned { plan: plan.clone().into(), by: "test".to_owned() };
    let mut entries = vec![planned, Entry::WaveReached { step: pull.id.step, wave: 0 }];
    for change in [pull, keys] {
        world.apply(&change.change);
        entries.extend([Entry::Started { change: change.id }, Entry::Done { change: change.id }]);
    }
    let stamped = |(entry, seq)| Stamped { seq, at_ms: now_ms(), entry };
    State::fold(&entries.into_iter().zip(1..).map(stamped).collect::<Vec<_>>()).unwrap()
}

#[tokio::test]
async fn what_this_run_had_done_and_others_took_back_comes_first() {
    let mut world = start();
    let state = done_so_far(&mut world);
    let sim = Sim::new(world, Pace::Instant);
    assert_eq!(survey(&sim, &state).await.changed, [], "all of it stands");
    let plan = plan();
    let pull = plan.steps.iter().flat_map(|step| &step.changes).find(|c| matches!(c.change, Change::Pull { .. })).unwrap();
    sim.meddle(|world| {
        world.undo(&pull.change);
        world.hosts.remove("gpu-04");
    });
    let found = survey(&sim, &state).await;
    let first = &found.changed[0];
    assert!(first.is_undone() && first.place.as_deref() == Some(pull.place.as_str()), "{:#?}", found.changed);
    assert_eq!(found.changed.iter().filter(|problem| problem.is_undone()).count(), 1, "{:#?}", found.changed);
    told(&found.changed, "host gpu-04", "has left");
    assert!(found.lines.iter().any(|line| line.verdict.contains("1 done no longer stand")), "{:#?}", found.lines);
    // A part that was not read proves nothing.
    let mut silent = sim.world();
    silent.keys.clear();
    let unread = castoff::model::Unanswered {
        part: castoff::model::Part::Keys,
        subject: "etcd".to_owned(),
        why: "no answer for 5 s".to_owned(),
        hint: None,
    };
    silent.unanswered.push(unread);
    let found = survey(&Sim::new(silent, Pace::Instant), &state).await;
    assert!(found.changed.iter().all(|problem| problem.place.as_deref() != Some("etcd")), "{:#?}", found.changed);
}

#[tokio::test]
async fn a_resumed_run_is_verified_again_and_writes_nothing() {
    let state = tempfile::tempdir().unwrap();
    let mut journal = Journal::create(state.path(), "run", "test").await.unwrap();
    let entry = Entry::Planned { plan: plan().into(), by: "test".to_owned() };
    journal.append(now_ms(), vec![entry]).await.unwrap();
    let sim = Arc::new(Sim::new(start(), Pace::Instant));
    let (to_engine, commands) = mpsc::channel(8);
    let (events, mut from_engine) = mpsc::channel(64);
    let setup = Setup {
        recheck: Duration::from_millis(1),
        backoff: Duration::from_millis(1),
        ..Setup::new(sim.clone(), journal, (commands, events), "test", now_ms)
    };
    let engine = tokio::spawn(Engine::new(setup).await.unwrap().run(None));
    let mut seen = vec![];
    for round in 0..2 {
        loop {
            match from_engine.recv().await.unwrap() {
                Event::Changed(changed) => seen.push(changed.len()),
                Event::Survey(_) => break,
                other => panic!("{other:?}"),
            }
        }
        if round == 0 {
            sim.meddle(|world| {
                meddle(world);
            });
            to_engine.send(Command::Verify).await.unwrap();
        }
    }
    assert!(seen.len() == 2 && seen[0] == 0 && seen[1] >= 3, "{seen:?}");
    to_engine.send(Command::Stop).await.unwrap();
    assert_eq!(engine.await.unwrap().unwrap(), Ending::Stopped);
    assert_eq!(journal::read(state.path(), "run").await.unwrap().len(), 1, "nothing is written");
}

#[tokio::test]
async fn a_host_whose_files_others_changed_is_told_of_and_one_that_left_only_once() {
    let (_, text) = SHIPPED.iter().find(|(name, _)| *name == "docker-mirror").unwrap();
    let runbook = Runbook::parse("docker-mirror", text, &[]).unwrap();
    let sim = Sim::new(start(), Pace::Instant);
    let plan = runbook.plan(&sim.read(&runbook.wants()).await).unwrap().0;
    let entry = Entry::Planned { plan: plan.into(), by: "test".to_owned() };
    let state = State::fold(&[Stamped { seq: 1, at_ms: now_ms(), entry }]).unwrap();
    assert_eq!(survey(&sim, &state).await.changed, []);
    sim.meddle(|world| {
        world.machines.remove("gpu-04");
        let file = world.machines.get_mut("gpu-01").unwrap().files.get_mut("/etc/docker/daemon.json").unwrap();
        let state = file.as_mut().expect("this host has one");
        state.text.push('\n');
        state.sha256 = castoff::model::Digest::of(&state.text);
    });
    let changed = survey(&sim, &state).await.changed;
    told(&changed, "host gpu-04", "has left");
    told(&changed, "/etc/docker/daemon.json", "holds something else");
    assert_eq!(changed.len(), 2, "{changed:#?}");
}

/// A run of Docker's mirror, with what each of these hosts went through and the world as that left it.
struct Mirrors {
    plan: Arc<Plan>,
    entries: Vec<Entry>,
    world: Inventory,
}

impl Mirrors {
    async fn begun() -> Self {
        let (_, text) = SHIPPED.iter().find(|(name, _)| *name == "docker-mirror").unwrap();
        let runbook = Runbook::parse("docker-mirror", text, &["waves.canary=0".to_owned()]).unwrap();
        let world = Sim::new(start(), Pace::Instant).read(&runbook.wants()).await;
        let plan = Arc::new(runbook.plan(&world).unwrap().0);
        let step = plan.steps.iter().position(|step| step.waves.is_some()).unwrap();
        let waves = plan.steps[step].waves.as_ref().unwrap().hosts.len();
        let mut entries = vec![Entry::Planned { plan: plan.clone(), by: "test".to_owned() }];
        entries.extend((0..waves).map(|wave| Entry::WaveReached { step, wave }));
        Self { plan, entries, world }
    }

    fn of(&self, host: &str) -> castoff::model::PlannedChange {
        let mut changes = self.plan.steps.iter().flat_map(|step| &step.changes);
        changes.find(|change| change.place == host && matches!(change.change, Change::Configure { .. })).unwrap().clone()
    }

    fn done(&mut self, host: &str) {
        let change = self.of(host);
        self.world.apply(&change.change);
        self.entries.extend([Entry::Started { change: change.id }, Entry::Done { change: change.id }]);
    }

    /// Written, taken up, and not proven.
    fn failed(&mut self, host: &str) -> castoff::model::ChangeId {
        let change = self.of(host);
        self.world.apply(&change.change);
        let fault = castoff::model::Fault::new(castoff::model::FaultKind::Lasting, "cannot prove it", "the mirror answers 502");
        self.entries.extend([Entry::Started { change: change.id }, Entry::Failed { change: change.id, fault }]);
        change.id
    }

    /// The files as they were before, and the daemon with what it took up.
    fn put_back_by_others(&mut self, host: &str) {
        let Change::Configure { files, .. } = self.of(host).change else { unreachable!() };
        let machine = self.world.machines.get_mut(host).unwrap();
        files.iter().for_each(|diff| machine.put(diff, false));
    }

    fn state(&self) -> State {
        let stamped = |(entry, seq): (&Entry, u64)| Stamped { seq, at_ms: now_ms(), entry: entry.clone() };
        State::fold(&self.entries.iter().zip(1..).map(stamped).collect::<Vec<_>>()).unwrap()
    }

    async fn verdicts(&self) -> (Vec<String>, Vec<Problem>) {
        let survey = survey(&Sim::new(self.world.clone(), Pace::Instant), &self.state()).await;
        (survey.lines.into_iter().filter(|line| !line.agrees).map(|line| line.verdict).collect(), survey.changed)
    }
}

#[tokio::test]
async fn what_is_written_and_not_proven_is_never_called_taken_as_it_is() {
    let mut run = Mirrors::begun().await;
    run.done("gpu-01");
    let failed = [run.failed("gpu-04"), run.failed("gpu-05")];
    assert_eq!(run.verdicts().await, (vec!["2 written and not proven: a retry proves them".to_owned()], vec![]));
    let again = |change| Entry::Retried { change, why: "asked by test".to_owned(), after_ms: 0 };
    run.entries.extend(failed.map(again));
    assert_eq!(run.verdicts().await.0, ["2 written and not proven: tried again"]);
    let skipped = |change| Entry::Skipped { change, why: "not needed".to_owned(), by: "test".to_owned() };
    run.entries.extend(failed.map(skipped));
    assert_eq!(run.verdicts().await.0, ["2 left out stand all the same"]);
    // Nobody has begun this one, and it is so: that is found, and taken as it is.
    run.world.apply(&run.of("gpu-06").change);
    assert_eq!(run.verdicts().await.0, ["1 more than the journal: taken as they are, 2 left out stand all the same"]);
}

#[tokio::test]
async fn what_others_took_back_in_part_is_told_of() {
    let mut run = Mirrors::begun().await;
    run.done("gpu-01");
    run.put_back_by_others("gpu-01");
    let (verdicts, changed) = run.verdicts().await;
    assert_eq!(verdicts, ["1 done no longer stand: see what changed"]);
    assert!(changed.len() == 1 && changed[0].is_undone() && changed[0].place.as_deref() == Some("gpu-01"), "{changed:#?}");
    // One that this run has not begun is no more as it was planned either; one that it has begun is its own work.
    run.world.apply(&run.of("gpu-02").change);
    run.put_back_by_others("gpu-02");
    run.failed("gpu-04");
    run.put_back_by_others("gpu-04");
    let (verdicts, changed) = run.verdicts().await;
    assert_eq!(verdicts, ["1 done no longer stand: see what changed, 1 stands otherwise now"]);
    told(&changed, "/etc/docker/daemon.json", "a part of it is so already");
    assert_eq!(changed.len(), 2, "{changed:#?}");
}

#[tokio::test]
async fn a_host_that_does_not_answer_has_neither_left_nor_changed() {
    let text = "name = \"own\"\ntitle = \"Units\"\n[[step]]\nid = \"stop\"\naction = \"set-unit\"\nunit = \"puppet\"\nstate = \"stopped\"\n";
    let runbook = Runbook::parse("own", text, &[]).unwrap();
    let mut world = Sim::new(start(), Pace::Instant).read(&runbook.wants()).await;
    world
        .machines
        .values_mut()
        .for_each(|machine| _ = machine.units.insert("puppet".to_owned(), Some(castoff::model::Service::Running)));
    let plan = runbook.plan(&world).unwrap().0;
    let entry = Entry::Planned { plan: plan.into(), by: "test".to_owned() };
    let state = State::fold(&[Stamped { seq: 1, at_ms: now_ms(), entry }]).unwrap();
    world.machines.remove("gpu-02");
    let (subject, why) = ("host gpu-02".to_owned(), "no answer for 5 s".to_owned());
    world.unanswered.push(castoff::model::Unanswered { part: castoff::model::Part::Machines, subject, why, hint: None });
    let survey = survey(&Sim::new(world, Pace::Instant), &state).await;
    assert_eq!(survey.changed, []);
    assert_eq!((survey.lines[0].verdict.as_str(), survey.unanswered.len()), ("1 not read", 1));
}
