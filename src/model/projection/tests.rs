//! The projection with injected times: a small plan of a pull, a stop, a step with no way back, a wait and a removal.

use super::*;
use crate::model::{Ask, ChangeId, Digest, Entry, Gate, PlannedChange, PlannedStep, Stamped, TakenUp, Totals};

const NOW_MS: i64 = 1_800_000_000_000;
const MINUTE_MS: i64 = 60_000;

fn digest() -> Digest {
    format!("sha256:{}", "ab".repeat(32)).parse().expect("a digest")
}

fn pull(host: usize, size_bytes: u64) -> Change {
    let image = format!("cr.example/a:{host}").parse().expect("an image");
    Change::Pull { host: format!("h{host}"), image, digest: digest(), id: digest(), before: None, size_bytes }
}

fn remove(n: usize) -> Change {
    let image = format!("lablup/a:{n}").parse().expect("an image");
    Change::Remove { host: format!("h{}", n % 2), image, id: digest(), digest: None, twin: None, size_bytes: 1 }
}

fn gate(waits: bool) -> Gate {
    let drained = Check::Drained { registry: "docker.io".to_owned(), repositories: vec![] };
    let checks = if waits { vec![drained] } else { vec![] };
    Gate { title: String::new(), text: vec![], ask: Ask::Yes, sentence: "yes".to_owned(), checks, wait: waits }
}

#[test]
fn a_restart_of_docker_or_of_a_unit_stops_what_runs_below_it_and_a_reload_does_not() {
    let docker = |restart| TakesUp::Docker { restart, before: vec![], after: vec!["https://m/".to_owned()], cleared: None };
    let unit = |restart| TakesUp::Unit { unit: "web".to_owned(), restart };
    let containerd =
        TakesUp::Containerd { before: String::new(), after: "/etc/containerd/certs.d".to_owned(), taken_up: TakenUp::Yes };
    for (daemon, stops) in
        [(docker(true), true), (docker(false), false), (unit(true), true), (unit(false), false), (containerd, false)]
    {
        let mut plan = plan();
        let change = Change::Configure { host: "h1".to_owned(), files: vec![], daemon: Some(daemon.clone()), proof: None };
        plan.steps.truncate(1);
        plan.steps[0].changes = vec![PlannedChange::new(ChangeId { step: 0, n: 0 }, change, false)];
        assert_eq!(Loads::new(&plan).stops(0), stops, "{daemon:?}");
    }
}

/// Two pulls of 10 GB, a stop, an irreversible removal of four, then a wait, then a removal of two.
fn plan() -> Plan {
    let stop = Change::Service { manager: "m".to_owned(), after: Service::Stopped };
    let steps: Vec<(Option<Gate>, Vec<Change>)> = vec![
        (Some(gate(false)), vec![pull(0, 10_000_000_000), pull(1, 10_000_000_000)]),
        (Some(gate(false)), vec![stop]),
        (None, (0..4).map(remove).collect()),
        (Some(gate(true)), (4..6).map(remove).collect()),
        (Some(gate(true)), (6..8).map(remove).collect()),
    ];
    let step = |(i, (gate, changes)): (usize, (Option<Gate>, Vec<Change>))| PlannedStep {
        id: format!("s{i}"),
        title: format!("s{i}"),
        action: "a".to_owned(),
        summary: String::new(),
        gate,
        changes: changes.into_iter().enumerate().map(|(n, c)| PlannedChange::new(ChangeId { step: i, n }, c, false)).collect(),
        kept: vec![],
        waves: None,
    };
    Plan {
        v: 1,
        plan: "p".to_owned(),
        runbook: "r".to_owned(),
        title: String::new(),
        cluster: "c".to_owned(),
        read_at_ms: NOW_MS,
        found: String::new(),
        steps: steps.into_iter().enumerate().map(step).collect(),
        ledger: vec![],
        wants: crate::model::Wants::backend_ai(),
        totals: Totals::default(),
        limits: Limits::default(),
        notes: vec![],
        blockers: vec![],
    }
}

/// A journal as far as these entries, each with its minute after `NOW_MS`.
fn state(entries: Vec<(i64, Entry)>) -> State {
    let planned = (0, Entry::Planned { plan: std::sync::Arc::new(plan()), by: "kim".to_owned() });
    let entries: Vec<Stamped> = std::iter::once(planned)
        .chain(entries)
        .zip(1..)
        .map(|((minute, entry), seq)| Stamped { seq, at_ms: NOW_MS + minute * MINUTE_MS, entry })
        .collect();
    State::fold(&entries).expect("a possible run")
}

fn approved(step: usize) -> Entry {
    Entry::GateApproved { step, by: "kim".to_owned(), plan: "p".to_owned(), typed: "yes".to_owned() }
}

fn started(step: usize, n: usize) -> Entry {
    Entry::Started { change: ChangeId { step, n } }
}

fn done(step: usize, n: usize) -> Entry {
    Entry::Done { change: ChangeId { step, n } }
}

fn project(state: &State, minute: i64, ends: Option<(i64, i64)>) -> Projection {
    let plan = plan();
    Loads::new(&plan).project(&plan, state, NOW_MS + minute * MINUTE_MS, ends)
}

fn window(until_min: i64) -> Window {
    Window { from_ms: NOW_MS, until_ms: NOW_MS + until_min * MINUTE_MS, zone: "UTC".to_owned() }
}

#[test]
fn before_anything_is_measured_times_are_typical_and_a_wait_has_no_end() {
    let projection = project(&State::default(), 0, None);
    let ms: Vec<Option<(i64, Option<i64>)>> = projection
        .steps
        .iter()
        .map(|end| end.map(|end| (end.earliest_ms - NOW_MS, end.latest_ms.map(|ms| ms - NOW_MS))))
        .collect();
    // 10 GB on each of two hosts: 119 s to 1 000 s. The stop: 2 to 30 s. Two removals behind each other, 3 a host at once: one round.
    assert_eq!(ms[0], Some((119_047, Some(1_000_000))));
    assert_eq!(ms[1], Some((121_047, Some(1_030_000))));
    assert_eq!(ms[2], Some((122_047, Some(1_060_000))));
    assert_eq!(ms[3], Some((123_047, None)), "nobody knows when the sessions end");
    assert_eq!(ms[4], Some((124_047, None)));
    assert_eq!(projection.known.map(|(step, _)| step), Some(2));
    let rest = projection.rest(Some(&window(30)), |_| String::new(), "");
    let words = "to step 3 between 08:02 and 08:17 UTC, 12 to 27 min before the window".to_owned();
    assert_eq!(rest, Some(Rest { words, then: Some("not before 08:02 UTC".to_owned()), overruns: false }));
}

#[test]
fn the_rate_of_the_running_step_goes_before_everything() {
    let running = state(vec![(0, approved(0)), (0, started(0, 0)), (0, started(0, 1))]);
    let early = project(&running, 0, None);
    assert_eq!((early.whole, early.steps[0]), (None, None), "too early to say");
    let ends = (NOW_MS + 5 * MINUTE_MS, NOW_MS + 8 * MINUTE_MS);
    let projection = project(&running, 2, Some(ends));
    assert_eq!(projection.steps[0], Some(End { earliest_ms: ends.0, latest_ms: Some(ends.1), measured: true }));
    assert_eq!(projection.steps[1].and_then(|end| end.latest_ms), Some(ends.1 + 30_000));
    assert!(projection.steps[1].is_some_and(|end| !end.measured));
}

#[test]
fn what_this_run_has_taken_replaces_what_is_typical() {
    let mut entries = vec![(0, approved(0)), (0, started(0, 0)), (0, started(0, 1)), (4, done(0, 0)), (4, done(0, 1))];
    entries.extend([(4, approved(1)), (4, started(1, 0)), (5, done(1, 0)), (5, started(2, 0)), (7, done(2, 0))]);
    let projection = project(&state(entries), 8, None);
    // One removal of four in two minutes: two for each host stay, three may go on at once. 96 to 150 s for one round.
    let later = projection.takes(3);
    assert_eq!((later.low_ms, later.high_ms), (96_000 * 2, 150_000 * 2));
    // The running step by its count: one in the last minute, one in three; three are left.
    let end = projection.steps[2].expect("an end");
    let minutes = (end.earliest_ms - NOW_MS, end.latest_ms.map(|ms| ms - NOW_MS));
    assert_eq!((minutes, end.measured), ((11 * MINUTE_MS, Some(17 * MINUTE_MS)), true));
}

#[test]
fn the_last_safe_moment_leaves_room_for_everything_up_to_the_next_wait() {
    let projection = project(&State::default(), 0, None);
    let until = window(60).until_ms;
    assert_eq!(projection.begin_by(2, &window(60)), until - 30_000);
    assert_eq!(projection.begin_by(1, &window(60)), until - 60_000);
    assert_eq!(projection.begin_by(0, &window(60)), until - 1_060_000);
    // The second wait asks for what the first has waited for: it is none of its own.
    assert_eq!(projection.begin_by(3, &window(60)), until - 60_000);
    assert!(!projection.overruns(&window(20)) && projection.overruns(&window(17)));
}

#[test]
fn limits_put_changes_behind_each_other() {
    let mut plan = plan();
    plan.limits.per_host = 1;
    let projection = Loads::new(&plan).project(&plan, &State::default(), NOW_MS, None);
    assert_eq!(projection.takes(4).high_ms, 30_000, "one a host");
    assert_eq!(projection.takes(2).high_ms, 60_000, "two a host");
    let hosts = vec![vec!["h0".to_owned()], vec!["h1".to_owned()]];
    plan.steps[2].waves = Some(crate::model::Waves { canary: true, hold: crate::model::Hold::Prove, failures: 0, hosts });
    let projection = Loads::new(&plan).project(&plan, &State::default(), NOW_MS, None);
    assert_eq!(projection.takes(2).high_ms, 120_000, "the canary goes first");
    plan.steps[2].waves = None;
    plan.limits.hosts = 1;
    let projection = Loads::new(&plan).project(&plan, &State::default(), NOW_MS, None);
    assert_eq!(projection.takes(2).high_ms, 120_000, "and one host behind the other");
}

#[test]
fn ends_are_said_against_the_window() {
    let end = |from: i64, to: Option<i64>| End {
        earliest_ms: NOW_MS + from * MINUTE_MS,
        latest_ms: to.map(|to| NOW_MS + to * MINUTE_MS),
        measured: true,
    };
    for (end, words, against, overruns) in [
        (end(31, Some(44)), "between 08:31 and 08:44 UTC", "16 to 29 min before the window", false),
        (end(40, Some(40)), "about 08:40 UTC", "20 min before the window", false),
        (end(65, Some(80)), "between 09:05 and 09:20 UTC", "5 to 20 min after the window", true),
        (end(50, Some(70)), "between 08:50 and 09:10 UTC", "up to 10 min after the window", true),
        (end(30, None), "not before 08:30 UTC", "within the window or after it", false),
        (end(130, None), "not before 10:10 UTC", "1 h 10 min or more after the window", true),
    ] {
        let window = window(60);
        assert_eq!((end.words_in(&window).as_str(), end.against(&window).as_str()), (words, against));
        assert_eq!(end.overruns(&window), overruns, "{words}");
    }
    assert_eq!(range(40_000, 130_000), "40 s to 2 min");
    assert_eq!(range(3_600_000, 4_800_000), "1 h to 1 h 20 min");
}

#[test]
fn on_the_way_back_nothing_is_projected() {
    let back = Entry::RollbackBegun { to: 0, by: "kim".to_owned(), why: "late".to_owned() };
    let projection = project(&state(vec![(0, approved(0)), (0, started(0, 0)), (1, back)]), 2, None);
    assert_eq!((projection.whole, projection.known), (None, None));
}

#[test]
fn what_is_taken_back_is_timed_by_its_way_back() {
    let id = |n| ChangeId { step: 0, n };
    let back = Entry::RollbackBegun { to: 0, by: "kim".to_owned(), why: "test".to_owned() };
    let mut entries = vec![(0, approved(0))];
    entries.extend([(0, started(0, 0)), (1, started(0, 1)), (20, done(0, 0)), (30, done(0, 1)), (60, back)]);
    let times = |state: &State| {
        let ms = |at: Option<i64>| at.map(|at| (at - NOW_MS) / MINUTE_MS);
        (ms(state.steps[0].counts.first_ms), ms(state.steps[0].counts.last_ms))
    };
    assert_eq!(times(&state(entries.clone())), (Some(0), Some(30)), "nothing of it goes back yet");
    let fault = crate::model::Fault::new(crate::model::FaultKind::Lasting, "cannot", "it will not");
    entries.extend([
        (61, Entry::UndoStarted { change: id(1) }),
        (62, Entry::UndoStarted { change: id(0) }),
        (63, Entry::Undone { change: id(1) }),
        (64, Entry::UndoFailed { change: id(0), fault }),
        (65, Entry::UndoStarted { change: id(0) }),
        (66, Entry::Undone { change: id(0) }),
    ]);
    let state = state(entries);
    assert_eq!(times(&state), (Some(61), Some(66)));
    let change = state.status(id(0));
    assert_eq!((change.started_ms, change.attempts), (Some(NOW_MS + 62 * MINUTE_MS), 2));
}
