//! The window in a run: nothing that cannot be undone is begun when the rest would end after it, no service is stopped
//! before it opens, and a later end is an entry of the journal.

use castoff::cluster::sim::{Pace, Sim, demo};
use castoff::engine::{Ending, Engine, Setup};
use castoff::journal::Journal;
use castoff::model::{
    ChangeId, Command, Entry, Event, GateReport, Loads, Outcome, Plan, Stamped, State, Value, WayBack, Window, hold,
    projection::point_of_no_return,
};
use castoff::runbook::{Runbook, SHIPPED};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    cell::Cell,
    process::{Output, Stdio},
    sync::Arc,
    time::Duration,
};
use tokio::sync::mpsc;

const BEGUN_MS: i64 = 1_800_000_100_000;
const MINUTE_MS: i64 = 60_000;

thread_local! {
    /// The clock of the test: an engine and its tasks live on one thread here.
    static NOW_MS: Cell<i64> = const { Cell::new(BEGUN_MS) };
}

fn now_ms() -> i64 {
    NOW_MS.get()
}

fn window(from_min: i64, until_min: i64) -> Window {
    Window { from_ms: BEGUN_MS + from_min * MINUTE_MS, until_ms: BEGUN_MS + until_min * MINUTE_MS, zone: "UTC".to_owned() }
}

fn plan() -> (Arc<Sim>, Plan) {
    let world = demo(1_800_000_000_000);
    let (name, text) = SHIPPED[0];
    let (mut plan, _) = Runbook::parse(name, text, &[]).unwrap().plan(&world).unwrap();
    // The demo can be undone wholly; here a password would be lost while the manager stands still.
    let step = plan.step_index("registry").unwrap();
    plan.steps[step].changes[0].way_back = WayBack::Partly("a password is to be put back by hand".to_owned());
    (Arc::new(Sim::new(world, Pace::Instant)), plan)
}

/// A run with an operator who approves whatever may be approved, and `asked` what else there is to do at an event.
async fn run(
    state: &std::path::Path,
    sim: &Arc<Sim>,
    plan: &Plan,
    window: Option<Window>,
    mut asked: impl FnMut(&Event, &State) -> Option<Command>,
) -> (Ending, Vec<Stamped>) {
    let journal = match Journal::open(state, "run", "test").await {
        Ok(journal) => journal,
        Err(_) => Journal::create(state, "run", "test").await.unwrap(),
    };
    let mut seen = State::fold(&journal.entries().await.unwrap()).unwrap();
    let (to_engine, commands) = mpsc::channel(64);
    let (events, mut from_engine) = mpsc::channel(64);
    let setup = Setup {
        window,
        recheck: Duration::from_millis(1),
        backoff: Duration::from_millis(1),
        ..Setup::new(sim.clone(), journal, (commands, events), "kim", now_ms)
    };
    let task = tokio::spawn(Engine::new(setup).await.unwrap().run(Some(Arc::new(plan.clone()))));
    to_engine.send(Command::Begin).await.unwrap();
    while let Some(event) = from_engine.recv().await {
        if let Event::Entry(entry) = &event {
            seen.apply(entry).unwrap();
        }
        if let Some(command) = asked(&event, &seen) {
            let _ = to_engine.send(command).await;
        } else if let Event::Gate(report) = &event
            && report.problems.is_empty()
        {
            let sentence = seen.gate(report.step).unwrap().sentence.clone();
            if !sentence.is_empty() {
                let approve = Command::Approve { step: report.step, plan: plan.plan.clone(), typed: sentence };
                let _ = to_engine.send(approve).await;
            }
        }
    }
    let ending = task.await.unwrap().unwrap();
    (ending, castoff::journal::read(state, "run").await.unwrap())
}

fn started(entries: &[Stamped], step: usize) -> Option<u64> {
    let of = |change: &ChangeId| change.step == step;
    entries.iter().find(|e| matches!(&e.entry, Entry::Started { change } if of(change))).map(|e| e.seq)
}

fn moved(entries: &[Stamped]) -> Option<(u64, String)> {
    entries.iter().find_map(|e| if let Entry::WindowMoved { by, .. } = &e.entry { Some((e.seq, by.clone())) } else { None })
}

#[tokio::test]
async fn a_gate_before_the_point_of_no_return_is_held_until_the_window_is_moved() {
    let (sim, plan) = plan();
    let point = point_of_no_return(&plan).expect("the demo has one");
    let folder = tempfile::tempdir().unwrap();
    let (mut held, mut refused) = (vec![], 0);
    let (ending, entries) = run(folder.path(), &sim, &plan, Some(window(-60, 1)), |event, state| match event {
        Event::Gate(GateReport { step, problems, .. }) if problems.iter().any(hold::is_hold) => {
            held.push((*step, problems.last().unwrap().why.clone()));
            // Whoever answers all the same is refused; only then a later end is given.
            Some(if refused == 0 {
                let typed = state.gate(*step).unwrap().sentence.clone();
                Command::Approve { step: *step, plan: plan.plan.clone(), typed }
            } else {
                Command::MoveWindow { window: window(-60, 600) }
            })
        }
        Event::Refused(_) => {
            refused += 1;
            None
        }
        _ => None,
    })
    .await;
    assert_eq!(ending, Ending::Finished(Outcome::Done));
    assert!(refused > 0 && held[0].0 <= point, "{held:?}");
    assert!(
        held[0].1.contains("after the window") && held[0].1.contains(&format!("step {} has no whole", point + 1)),
        "{held:?}"
    );
    assert!(matches!(&entries[1].entry, Entry::WindowSet { window: set, by } if *set == window(-60, 1) && by == "kim"));
    let (moved_at, by) = moved(&entries).expect("an entry says who moved it");
    assert_eq!(by, "kim");
    for step in held[0].0..plan.steps.len() {
        assert!(started(&entries, step).is_none_or(|seq| seq > moved_at), "step {} waited", step + 1);
    }
    assert_eq!(State::fold(&entries).unwrap().window, Some(window(-60, 600)), "whoever looks later sees the same");
}

#[tokio::test]
async fn a_window_that_is_over_holds_and_says_so() {
    let (sim, plan) = plan();
    let folder = tempfile::tempdir().unwrap();
    let mut why = String::new();
    let (ending, entries) = run(folder.path(), &sim, &plan, Some(window(-60, -5)), |event, _| match event {
        Event::Gate(report) if report.problems.iter().any(hold::is_hold) => {
            let problem = report.problems.last().unwrap();
            why = format!("{}: {}", problem.subject, problem.why);
            Some(Command::Stop)
        }
        _ => None,
    })
    .await;
    assert_eq!(ending, Ending::Stopped);
    assert!(why.starts_with("window over: it ended at "), "{why}");
    assert_eq!(started(&entries, point_of_no_return(&plan).unwrap()), None);
    // Resumed with a later end it goes on to its own.
    let (ending, entries) = run(folder.path(), &sim, &plan, Some(window(-60, 600)), |_, _| None).await;
    assert_eq!(ending, Ending::Finished(Outcome::Done));
    assert!(moved(&entries).is_some());
}

#[tokio::test]
async fn no_service_stops_before_the_window_opens_and_what_is_harmless_goes_on() {
    let (sim, plan) = plan();
    let stop = Loads::new(&plan).first_stop().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut early = 0;
    let (ending, entries) = run(folder.path(), &sim, &plan, Some(window(30, 600)), |event, state| match event {
        Event::Gate(report) if report.problems.iter().any(hold::is_early) => {
            assert_eq!(report.step, stop);
            assert!(state.tally(1).done > 0, "the pull is over");
            early += 1;
            // Nobody does anything: it goes on by itself when the time has come.
            if early == 3 {
                NOW_MS.set(BEGUN_MS + 30 * MINUTE_MS);
            }
            None
        }
        _ => None,
    })
    .await;
    assert_eq!(ending, Ending::Finished(Outcome::Done));
    assert_eq!(early, 3);
    let at = entries.iter().find(|e| matches!(&e.entry, Entry::Started { change } if change.step == stop)).unwrap().at_ms;
    assert_eq!(at, BEGUN_MS + 30 * MINUTE_MS);
}

#[tokio::test]
async fn without_a_gate_the_run_pauses_before_the_point_of_no_return() {
    let (sim, mut plan) = plan();
    let point = point_of_no_return(&plan).unwrap();
    plan.steps[..=point].iter_mut().for_each(|step| step.gate = None);
    let folder = tempfile::tempdir().unwrap();
    let mut refused = vec![];
    let (ending, entries) = run(folder.path(), &sim, &plan, Some(window(-60, -5)), |event, _| match event {
        Event::Entry(Stamped { entry: Entry::Paused { why, by }, .. }) => {
            assert!(hold::is_hold_words(why) && by == "the window", "{why} by {by}");
            Some(Command::Continue)
        }
        Event::Refused(why) if why.starts_with("window") => {
            refused.push(why.clone());
            Some(Command::MoveWindow { window: window(-60, 600) })
        }
        _ => None,
    })
    .await;
    assert_eq!(ending, Ending::Finished(Outcome::Done));
    assert!(refused.len() == 1 && refused[0].starts_with("window over: "), "{refused:?}");
    assert!(started(&entries, point).unwrap() > moved(&entries).unwrap().0);
    assert!(started(&entries, point - 1).is_some_and(|seq| seq < moved(&entries).unwrap().0), "what can be undone was done");
}

fn castoff(folder: &std::path::Path, arguments: &[&str]) -> Output {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_castoff"));
    command.args(arguments).arg("--state").arg(folder).env("TZ", "UTC").stdin(Stdio::null());
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let process = Pid::from_child(&child);
    let (to, ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || to.send(child.wait_with_output()));
    let Ok(output) = ended.recv_timeout(Duration::from_mins(2)) else {
        let _ = kill_process(process, Signal::KILL);
        panic!("castoff does not end: {arguments:?}");
    };
    output.unwrap()
}

/// A small rehearsal in which the old registry's password would be lost with the old metadata.
fn rehearsal() -> castoff::model::Inventory {
    let mut world = demo(jiff::Timestamp::now().as_millisecond());
    world.hosts.retain(|name, _| name == "gpu-04");
    world.sessions.clear();
    world.hosts.values_mut().for_each(|host| host.containers.clear());
    let old = castoff::model::backend_ai::registry_key("local", "index.docker.io");
    world.keys.insert(format!("{old}/password"), Value::Hidden);
    world
}

#[test]
fn a_headless_rehearsal_is_held_by_its_window() {
    let folder = tempfile::tempdir().unwrap();
    let inventory = folder.path().join("now.json");
    std::fs::write(&inventory, serde_json::to_string(&rehearsal()).unwrap()).unwrap();
    let simulate = ["backend-ai", "--simulate", "--inventory", inventory.to_str().unwrap()];
    let made = castoff(folder.path(), &[&["plan"], &simulate[..], &["--window", "00:00-24:00"][..]].concat());
    assert_eq!(made.status.code(), Some(2), "a window of no length is refused: {made:?}");
    let made = castoff(folder.path(), &[&["plan"], &simulate[..], &["--window", "00:00-23:59"][..]].concat());
    let text = String::from_utf8(made.stdout).unwrap();
    let plan = text.split_whitespace().nth(3).unwrap().to_owned();
    assert!(text.contains("---- point of no return ----") && text.contains("the point of no return: begin by "), "{text}");
    // Open, and closed before the removal can be over. Read when it is over, it would be tomorrow's.
    while jiff::Timestamp::now().as_second() % 60 > 40 {
        std::thread::sleep(Duration::from_millis(100));
    }
    let now = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC);
    let (from, until) = (&now - jiff::Span::new().minutes(5), &now + jiff::Span::new().minutes(1));
    let given = format!("{}-{}@UTC", from.strftime("%H:%M"), until.strftime("%H:%M"));
    let answers: Vec<String> =
        ["pull", "stop", "metadata", "remove"].iter().map(|step| format!("--approve={step}={plan}")).collect();
    let mut arguments = [&["run"], &simulate[..], &["--headless", "--window", &given][..]].concat();
    arguments.extend(answers.iter().map(String::as_str));
    let ran = castoff(folder.path(), &arguments);
    let (out, words) = (String::from_utf8(ran.stdout).unwrap(), String::from_utf8(ran.stderr).unwrap());
    assert_eq!(ran.status.code(), Some(13), "{out}\n{words}");
    let set = format!("window    {} to {} UTC", from.strftime("%H:%M"), until.strftime("%H:%M"));
    assert!(out.contains(&set), "{out}");
    assert!(words.contains("window too short: ") || words.contains("window over: "), "{words}");
    assert!(words.contains("castoff resume --window"), "{words}");
    assert!(out.contains("done      7.1"), "what can be undone is done: {out}");
    assert!(!out.contains("started   9."), "and no more: {out}");
}

#[test]
fn a_bad_window_is_refused_before_anything_happens() {
    let folder = tempfile::tempdir().unwrap();
    for (given, says) in [
        ("02:00", "`--window 02:00`: `02:00` is no window"),
        ("2020-01-01T02:00-04:00", "is over for"),
        ("04:00-04:00", "has no length"),
    ] {
        let ran = castoff(folder.path(), &["run", "backend-ai", "--simulate", "--headless", "--window", given]);
        let words = String::from_utf8(ran.stderr).unwrap();
        assert!(ran.status.code() == Some(2) && words.contains(says) && words.contains("hint: "), "{given}: {words}");
    }
}
