//! The wall clock is set back and forward while a run goes: the journal keeps its order by its own count, and no line,
//! report or estimate tells of a time that is less than nothing.

use castoff::{
    account::Account,
    cluster::sim::{Pace as Speed, Sim, demo},
    engine::{Ending, Engine, Setup},
    journal::Journal,
    model::{
        Command, Entry, Event, Fault, FaultKind, Loads, Next, Outcome, Plan, Stamped, State, Waves, Window, pace::Pace,
        wave::Hold,
    },
    report,
    runbook::{Runbook, SHIPPED},
};
use std::{cell::Cell, sync::Arc, time::Duration};
use tokio::sync::mpsc;

const BEGUN_MS: i64 = 1_800_000_100_000;
const HOUR_MS: i64 = 3_600_000;

/// How a clock goes at its n-th look.
type Clock = fn(i64) -> i64;

/// Each with its name.
const CLOCKS: [(&str, Clock); 5] = [
    ("goes on", |n| n * 40),
    ("an hour back in the middle", |n| n * 40 - if n > 60 { HOUR_MS } else { 0 }),
    ("a day forward in the middle", |n| n * 40 + if n > 60 { 24 * HOUR_MS } else { 0 }),
    ("jumps at each look", |n| (n * 7919) % 97 * HOUR_MS / 10 - 4 * HOUR_MS),
    ("runs backwards", |n| -n * 1000),
];

thread_local! {
    static LOOKS: Cell<i64> = const { Cell::new(0) };
    static CLOCK: Cell<Clock> = const { Cell::new(|n| n) };
}

fn now_ms() -> i64 {
    LOOKS.set(LOOKS.get() + 1);
    BEGUN_MS + CLOCK.get()(LOOKS.get())
}

/// No text tells of less than no time.
#[track_caller]
fn sane(clock: &str, text: &str) {
    let digit_after = |at: usize| text[at + 1..].starts_with(|c: char| c.is_ascii_digit());
    for (at, _) in text.match_indices(" -").map(|(at, found)| (at + 1, found)).chain(text.match_indices("(-")) {
        assert!(!digit_after(at), "{clock}: {text}");
    }
}

/// A whole run by this clock, with an account and estimates beside it; what the journal holds in the end.
async fn run(clock: &str, plan: &Plan, sim: &Arc<Sim>, window: Option<Window>) -> (Ending, Vec<Stamped>) {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::create(folder.path(), "run", "test").await.unwrap();
    let (to_engine, commands) = mpsc::channel(64);
    let (events, mut from_engine) = mpsc::channel(64);
    let setup = Setup {
        window,
        recheck: Duration::from_millis(1),
        backoff: Duration::from_millis(1),
        ..Setup::new(sim.clone(), journal, (commands, events), "test", now_ms)
    };
    let task = tokio::spawn(Engine::new(setup).await.unwrap().run(Some(Arc::new(plan.clone()))));
    to_engine.send(Command::Begin).await.unwrap();
    let (mut seen, mut account) = (State::default(), Account::new(&[], now_ms()).unwrap());
    let loads = Loads::new(plan);
    while let Some(event) = from_engine.recv().await {
        account.take(&event, now_ms()).iter().for_each(|line| sane(clock, &line.text));
        account.tick(now_ms()).iter().for_each(|line| sane(clock, &line.text));
        account.status("run", now_ms()).iter().for_each(|line| sane(clock, line));
        if let Event::Entry(entry) = &event {
            seen.apply(entry).unwrap();
            let now = now_ms();
            let projection = loads.project(plan, &seen, now, None);
            for takes in (0..plan.steps.len()).map(|step| projection.takes(step)) {
                assert!(0 <= takes.low_ms && takes.low_ms <= takes.high_ms && 0 <= takes.whole_ms, "{clock}: {takes:?}");
            }
            for end in projection.steps.iter().flatten() {
                assert!(now <= end.earliest_ms && end.latest_ms.is_none_or(|latest| now <= latest), "{clock}: {end:?}");
            }
            if let Next::Canary(step) = seen.next() {
                let typed = "yes".to_owned();
                to_engine.send(Command::ApproveCanary { step, plan: plan.plan.clone(), typed }).await.unwrap();
            }
        }
        if let Event::Gate(report) = &event
            && report.problems.is_empty()
            && let Some(sentence) = seen.gate(report.step).map(|gate| gate.sentence.clone()).filter(|said| !said.is_empty())
        {
            let approve = Command::Approve { step: report.step, plan: plan.plan.clone(), typed: sentence };
            let _ = to_engine.send(approve).await;
        }
    }
    (task.await.unwrap().unwrap(), castoff::journal::read(folder.path(), "run").await.unwrap())
}

#[tokio::test]
async fn whatever_the_clock_does_a_run_ends_as_planned_and_its_journal_keeps_its_order() {
    for (name, text) in SHIPPED {
        // By the clock of this process it ends in time, whatever the wall clock does.
        let sets: Vec<String> = (*name == "brown-out").then(|| "begin.for=1s".to_owned()).into_iter().collect();
        for (clock, goes) in CLOCKS {
            CLOCK.set(goes);
            LOOKS.set(0);
            let world = demo(1_800_000_000_000);
            let Ok((mut plan, planned)) = Runbook::parse(name, text, &sets).unwrap().plan(&world) else { continue };
            // One host first, then the others: a wave is a wait of its own.
            if let Some(step) = plan.step_index("pull") {
                let mut hosts: Vec<String> = plan.steps[step].changes.iter().map(|change| change.place.clone()).collect();
                hosts.sort();
                hosts.dedup();
                let rest = hosts.split_off(1);
                plan.steps[step].waves = Some(Waves { canary: true, hold: Hold::Approve, failures: 0, hosts: vec![hosts, rest] });
            }
            let sim = Arc::new(Sim::new(world, Speed::Instant));
            let passing = || Fault::new(FaultKind::Passing, "`x`", "not now").retry_after_ms(Some(3));
            sim.fail("pull", "gpu-01", vec![passing(), passing()]);
            let window =
                Window { from_ms: BEGUN_MS - 1000 * HOUR_MS, until_ms: BEGUN_MS + 1000 * HOUR_MS, zone: "UTC".to_owned() };
            let (ending, entries) = run(clock, &plan, &sim, Some(window)).await;
            assert_eq!(ending, Ending::Finished(Outcome::Done), "{name}: {clock}");
            let count: Vec<u64> = entries.iter().map(|entry| entry.seq).collect();
            assert_eq!(count, (1..=entries.len() as u64).collect::<Vec<_>>(), "{name}: {clock}");
            // What was read from the journal alone is what happened, in the order in which it did.
            let state = State::fold(&entries).unwrap();
            let mut begun = std::collections::BTreeSet::new();
            for entry in &entries {
                match &entry.entry {
                    Entry::Started { change } => assert!(begun.insert(*change), "{name}: {clock}: begun twice"),
                    Entry::Retried { change, .. } => assert!(begun.remove(change), "{name}: {clock}: again before it was begun"),
                    Entry::Done { change } => assert!(begun.contains(change), "{name}: {clock}: done before it was begun"),
                    _ => {}
                }
            }
            let world = sim.world();
            let stands = plan.steps.iter().flat_map(|step| &step.changes).filter(|one| !matches!(one.kind.as_str(), "service"));
            for change in stands {
                assert_eq!(world.standing(&change.change), planned.standing(&change.change), "{name}: {clock}: {}", change.id);
            }
            sane(clock, &report::report_markdown("run", &state, &entries));
            sane(clock, &report::status_text("run", &state, None));
            let json = report::report_json("run", &state, &entries).to_string();
            assert!(!json.contains(":-"), "{name}: {clock}: {json}");
        }
    }
}

#[tokio::test]
async fn a_window_that_the_clock_leaves_holds_what_cannot_be_undone_and_nothing_is_lost() {
    let world = demo(1_800_000_000_000);
    let (name, text) = SHIPPED[0];
    let (plan, _) = Runbook::parse(name, text, &[]).unwrap().plan(&world).unwrap();
    // Far beyond the window, then back in it: what was held goes on by itself.
    CLOCK.set(|n| if (40..80).contains(&n) { -24 * HOUR_MS } else { n * 10 });
    LOOKS.set(0);
    let sim = Arc::new(Sim::new(world, Speed::Instant));
    let window = Window { from_ms: BEGUN_MS - HOUR_MS, until_ms: BEGUN_MS + 12 * HOUR_MS, zone: "UTC".to_owned() };
    let (ending, entries) = run("a day back for a while", &plan, &sim, Some(window)).await;
    assert_eq!(ending, Ending::Finished(Outcome::Done));
    let done = entries.iter().filter(|entry| matches!(entry.entry, Entry::Done { .. })).count();
    let changes = plan.steps.iter().flat_map(|step| &step.changes).filter(|change| !change.found).count();
    assert_eq!(done, changes);
}

#[test]
fn a_clock_that_is_set_back_does_not_silence_the_account_nor_freeze_the_pace() {
    let mut account = Account::new(&[], BEGUN_MS).unwrap();
    let refused = Event::Refused("no".to_owned());
    assert_eq!(account.take(&refused, BEGUN_MS).len(), 1);
    // Ten seconds by the clock that was set back an hour: it would have been silent until the hour was over.
    account.tick(BEGUN_MS - HOUR_MS);
    assert!(account.is_due(BEGUN_MS - HOUR_MS + 10_000));

    let mut pace = Pace::default();
    (0..60).for_each(|s| pace.sample(0, BEGUN_MS + s * 1000, s.unsigned_abs() * 1_000_000));
    assert_eq!(pace.rate(0).map(|(rate, _)| rate), Some(1_000_000));
    (0..10).for_each(|s| pace.sample(0, BEGUN_MS - HOUR_MS + s * 1000, 60_000_000 + s.unsigned_abs() * 5_000_000));
    assert_eq!(pace.rate(0).map(|(rate, _)| rate), Some(5_000_000), "the rate is that of the clock as it goes now");
}
