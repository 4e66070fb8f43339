//! What happens in the walks beside the run itself: faults, what others do, and what the operator asks.

use super::count;
use super::walk::{End, Story, back_after, done, now_ms, small, start};
use castoff::cluster::sim::Sim;
use castoff::model::{
    Command, Entry, Fault, FaultKind, Inventory, Limit, LimitChange, Next, Outcome, Plan, Stamped, State, Stop, Target, WayBack,
    Window,
};
use serde_json::json;

pub fn busy() -> Fault {
    Fault::new(FaultKind::Passing, "cannot do it", "503")
}

pub fn lasting() -> Fault {
    Fault::new(FaultKind::Lasting, "cannot do it", "it will not")
}

/// The operator who takes a run back, and asks for a second try of what a rollback cannot.
pub fn back_and_again(_: &Plan, entries: &[Stamped], state: &State) -> Vec<(usize, Command)> {
    match state.next() {
        Next::Over if state.rolling_back.is_none() => vec![(0, Command::RollBack { to: 0, why: "test".to_owned() })],
        Next::Stop(Stop::Stuck) => {
            let failed = count(entries, |entry| matches!(entry, Entry::UndoFailed { .. }));
            vec![(failed, Command::Retry(Target::Failed))]
        }
        _ => vec![],
    }
}

pub fn forward() -> Story {
    Story::new("forward", End::Planned)
}

/// Rolled back after the first change, after half of them, and before the last.
pub fn back() -> [Story; 3] {
    let story = |name, operator| Story { operator, ..Story::new(name, End::RolledBack) };
    [
        story("back after the first change", |_, _, state| back_after(1, state)),
        story("back after half", |plan, _, state| back_after(usize::try_from(plan.totals.changes).unwrap() / 2, state)),
        story("back before the last", |plan, _, state| back_after(usize::try_from(plan.totals.changes).unwrap() - 1, state)),
    ]
}

/// Faults that pass by themselves.
pub fn passing() -> Story {
    let faults = |sim: &Sim| {
        sim.fail("pull", "gpu-01", vec![busy(), busy()]);
        sim.fail("remove", "gpu-04", vec![busy()]);
    };
    Story { faults, ..Story::new("in a retry", End::Planned) }
}

/// Faults that last until the operator asks again.
pub fn again() -> Story {
    let faults = |sim: &Sim| {
        sim.fail("pull", "gpu-01", vec![lasting()]);
        sim.fail("remove", "gpu-04", vec![lasting()]);
    };
    Story {
        faults,
        operator: |_, entries, state| match state.next() {
            Next::Stop(Stop::Failed(_)) => {
                let failed = count(entries, |entry| matches!(entry, Entry::Failed { .. }));
                vec![(failed, Command::Retry(Target::Failed))]
            }
            _ => vec![],
        },
        ..Story::new("in a retry that was asked for", End::Planned)
    }
}

/// Paused twice, the second time while a gate reads the cluster; a run that is resumed goes on by itself.
pub fn paused() -> Story {
    Story {
        operator: |plan, entries, state| {
            let n = count(entries, |entry| matches!(entry, Entry::Paused { .. }));
            let reads = |step: usize| plan.steps[step].gate.as_ref().is_some_and(|gate| gate.wait && !gate.checks.is_empty());
            let reading = matches!(state.next(), Next::Gate(step) if reads(step));
            match (state.paused.is_some(), n) {
                (true, _) => vec![(10 + n, Command::Continue)],
                (false, 0) if done(state) >= 2 => vec![(0, Command::Pause)],
                (false, 1) if reading => vec![(1, Command::Pause)],
                _ => vec![],
            }
        },
        ..Story::new("while paused", End::Planned)
    }
}

/// Stopped at a safe point and resumed, before any crash.
pub fn stopping() -> Story {
    Story {
        operator: |_, entries, state| {
            let never = count(entries, |entry| matches!(entry, Entry::Paused { .. })) == 0;
            if never && done(state) >= 3 { vec![(0, Command::Stop)] } else { vec![] }
        },
        ..Story::new("stopped and resumed", End::Planned)
    }
}

pub fn limits() -> Story {
    Story {
        operator: |_, entries, state| {
            let n = count(entries, |entry| matches!(entry, Entry::LimitChanged { .. }));
            let changes = [(1, Limit::Pulls, 1), (1, Limit::Total, 1), (4, Limit::Pulls, 3), (4, Limit::Total, 48)];
            let due = changes.get(n).filter(|(after, ..)| state.plan.is_some() && done(state) >= *after);
            due.map(|(_, limit, to)| (n, Command::SetLimit(LimitChange { limit: *limit, to: *to }))).into_iter().collect()
        },
        ..Story::new("while a limit is changed", End::Planned)
    }
}

fn until(minutes: i64) -> Window {
    Window { from_ms: now_ms() - 3_600_000, until_ms: now_ms() + minutes * 60_000, zone: "UTC".to_owned() }
}

/// Moved while changes are in flight, and again where it holds the run.
pub fn window() -> Story {
    /// Docker Hub has the old images no longer: what is removed is gone.
    fn lost() -> Inventory {
        let mut world = small();
        world.registries.get_mut("docker.io").unwrap().images.clear();
        world
    }
    Story {
        start: lost,
        window: Some(until(1)),
        operator: |plan, entries, state| {
            let lost = |n: usize| plan.steps[n].way_back() != WayBack::Whole;
            let held = state.steps.iter().enumerate().any(|(n, step)| step.gate_reached_ms.is_some() && lost(n));
            match count(entries, |entry| matches!(entry, Entry::WindowMoved { .. })) {
                0 if done(state) >= 2 => vec![(0, Command::MoveWindow { window: until(2) })],
                1 if held => vec![(1, Command::MoveWindow { window: until(600) })],
                _ => vec![],
            }
        },
        ..Story::new("while a window is moved", End::Planned)
    }
}

/// A host is set aside, and comes back when the others are done.
pub fn aside() -> Story {
    fn three() -> Inventory {
        let mut world = small();
        let kept: Vec<_> = world.hosts.values().flat_map(|host| host.images.keys().cloned()).collect();
        let mut third = start().hosts.remove("gpu-06").unwrap();
        third.images.retain(|image, _| kept.contains(image));
        third.containers.clear();
        world.hosts.insert("gpu-06".to_owned(), third);
        world
    }
    Story {
        sets: ["waves.then=[1]", "waves.hold=approve"].map(str::to_owned).to_vec(),
        start: three,
        faults: |sim| sim.fail("pull", "gpu-04", vec![Fault::new(FaultKind::Space, "cannot pull", "no space left on device")]),
        ..Story::new("while a host is set aside and comes back", End::Planned)
    }
}

pub fn skipped() -> Story {
    Story {
        faults: |sim| sim.fail("pull", "gpu-04", vec![lasting()]),
        operator: |_, _, state| match state.next() {
            Next::Stop(Stop::Failed(_)) => vec![(0, Command::Skip { target: Target::Failed, why: "not needed".to_owned() })],
            _ => vec![],
        },
        ..Story::new("while a change is skipped", End::Skipped)
    }
}

pub fn aborted() -> Story {
    Story {
        operator: |_, _, state| {
            let now = state.finished.is_none() && done(state) >= 4;
            if now { vec![(0, Command::Abort { why: "test".to_owned() })] } else { vec![] }
        },
        ..Story::new("in an abort", End::Aborted)
    }
}

/// Somebody edits a row, the rollback is stuck at it; it is mended, and asked again.
pub fn retried_back() -> Story {
    /// From the one to the other: done late, it changes nothing that castoff did meanwhile.
    fn edit(sim: &Sim, from: &str, to: &str) {
        sim.meddle(|world| {
            let row = world.tables.get_mut("domains").unwrap().iter_mut().find(|row| row["name"] == "default").unwrap();
            if row["allowed_docker_registries"] == json!([from]) {
                row.insert("allowed_docker_registries".to_owned(), json!([to]));
            }
        });
    }
    Story {
        others: |sim, entries, state| {
            let failed = count(entries, |entry| matches!(entry, Entry::UndoFailed { .. })) > 0;
            if failed && state.next() == Next::Stop(Stop::Stuck) {
                edit(sim, "somebody.example", "cr.backend.ai");
            } else if !failed && state.finished == Some(Outcome::Done) {
                edit(sim, "cr.backend.ai", "somebody.example");
            }
        },
        operator: back_and_again,
        ..Story::new("in the retry of a stuck rollback", End::RolledBack)
    }
}
