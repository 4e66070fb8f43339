//! The stories of a move, told of the runbooks that put a mirror in front of registries: faults, what others do to the
//! files of a host, and what the operator asks. One host of each kind meets them, so each runbook meets them once.

use super::count;
use super::stories::{back_and_again, busy, lasting};
use super::walk::{End, Family, Story, done, small, start};
use castoff::cluster::sim::Sim;
use castoff::model::{
    Change, Command, Digest, Entry, Fault, FaultKind, FileDiff, FileState, Inventory, Next, Outcome, Plan, Stamped, Standing,
    State, Status, Stop, Target,
};

/// One with Docker, one with containerd, one with podman.
const HOSTS: [&str; 3] = ["gpu-02", "node-02", "build-01"];

fn fails(sim: &Sim, faults: &[Fault]) {
    HOSTS.iter().for_each(|host| sim.fail("configure", host, faults.to_vec()));
}

fn story(name: &str, end: End) -> Story {
    Story { of: Family::Mirror, ..Story::new(name, end) }
}

/// Faults that pass by themselves.
pub fn passing() -> Story {
    Story { faults: |sim| fails(sim, &[busy(), busy()]), ..story("in a retry", End::Planned) }
}

/// A fault that lasts until the operator asks again.
pub fn again() -> Story {
    Story {
        faults: |sim| fails(sim, &[lasting()]),
        operator: |_, entries, state| match state.next() {
            Next::Stop(Stop::Failed(_)) => {
                let failed = count(entries, |entry| matches!(entry, Entry::Failed { .. }));
                vec![(failed, Command::Retry(Target::Failed))]
            }
            _ => vec![],
        },
        ..story("in a retry that was asked for", End::Planned)
    }
}

/// What a run has given up after an attempt that was cut off stands midway, or is written and not proven: a person takes it
/// back by hand.
fn mended(sim: &Sim, _: &[Stamped], state: &State) {
    let aborted = matches!(state.finished, Some(Outcome::Aborted(_)));
    let changes = state.plan.iter().flat_map(|plan| &plan.steps).flat_map(|step| &step.changes);
    for planned in changes {
        let status = &state.status(planned.id).status;
        if matches!(status, Status::Done | Status::Found) || !(aborted || matches!(status, Status::Skipped(_))) {
            continue;
        }
        sim.meddle(|world| {
            if matches!(world.standing(&planned.change), Standing::Midway | Standing::After) {
                world.undo(&planned.change);
            }
        });
    }
}

pub fn skipped() -> Story {
    Story {
        faults: |sim| fails(sim, &[lasting()]),
        others: mended,
        operator: |_, _, state| match state.next() {
            Next::Stop(Stop::Failed(_)) => vec![(0, Command::Skip { target: Target::Failed, why: "not needed".to_owned() })],
            _ => vec![],
        },
        ..story("while a host is skipped", End::Skipped)
    }
}

/// Skipped while what was begun there is in use, and then all of it is taken back.
pub fn skipped_and_back() -> Story {
    Story {
        faults: |sim| fails(sim, &[lasting()]),
        others: |sim, _, state| {
            let changes = state.plan.iter().flat_map(|plan| &plan.steps).flat_map(|step| &step.changes);
            for planned in changes.filter(|_| state.rolling_back.is_none()) {
                if matches!(state.status(planned.id).status, Status::Skipped(_)) {
                    sim.meddle(|world| world.apply(&planned.change));
                }
            }
        },
        operator: |plan, entries, state| match state.next() {
            Next::Stop(Stop::Failed(_)) => vec![(0, Command::Skip { target: Target::Failed, why: "not needed".to_owned() })],
            _ => back_and_again(plan, entries, state).into_iter().map(|(n, command)| (n + 1, command)).collect(),
        },
        ..story("in the rollback of a host that was skipped", End::RolledBack)
    }
}

/// Paused once the first host is done; one goes after the other, so that some are left to wait.
pub fn paused() -> Story {
    Story {
        sets: ["waves.then=[1]", "limits.total=1"].map(str::to_owned).to_vec(),
        operator: |_, entries, state| {
            let n = count(entries, |entry| matches!(entry, Entry::Paused { .. }));
            match (state.paused.is_some(), n) {
                (true, _) => vec![(10 + n, Command::Continue)],
                (false, 0) if state.plan.is_some() && done(state) >= 1 => vec![(0, Command::Pause)],
                _ => vec![],
            }
        },
        start: several,
        ..story("while paused", End::Planned)
    }
}

/// Ended for good where a host fails each time; the run stands still until the operator says so.
pub fn aborted() -> Story {
    Story {
        faults: |sim| fails(sim, &std::array::from_fn::<Fault, 9, _>(|_| lasting())),
        others: mended,
        operator: |_, _, state| match state.next() {
            Next::Stop(Stop::Failed(_)) => vec![(0, Command::Abort { why: "test".to_owned() })],
            _ => vec![],
        },
        ..story("in an abort", End::Aborted)
    }
}

/// Three hosts of each kind, so that others go on while one is set aside.
fn several() -> Inventory {
    let mut world = small();
    let build = world.machines["build-01"].clone();
    world.machines.extend(["build-00", "build-02"].map(|name| (name.to_owned(), build.clone())));
    world.machines.extend(start().machines.into_iter().filter(|(name, _)| name == "node-03"));
    world
}

/// A host is set aside, and comes back when the others are done.
pub fn aside() -> Story {
    Story {
        sets: ["waves.then=[1]", "waves.hold=approve", "waves.failures=3"].map(str::to_owned).to_vec(),
        start: several,
        faults: |sim| fails(sim, &[Fault::new(FaultKind::Space, "cannot write", "no space left on device")]),
        ..story("while a host is set aside and comes back", End::Planned)
    }
}

/// The first file that is written, and its host.
fn written(plan: &Plan) -> Option<(&str, &FileDiff)> {
    plan.steps.iter().flat_map(|step| &step.changes).find_map(|planned| match &planned.change {
        Change::Configure { host, files, .. } => {
            Some((host.as_str(), files.iter().find(|diff| !diff.is_equal() && diff.after.is_some())?))
        }
        _ => None,
    })
}

/// From ours to theirs, or back: done late, it changes nothing that castoff did meanwhile.
fn edit(sim: &Sim, plan: &Plan, theirs: bool) {
    let (host, diff) = written(plan).expect("a file is written");
    let ours = diff.after.as_ref().expect("it is written").text.clone();
    let edited = format!("{ours}# somebody was here\n");
    let (from, to) = if theirs { (&ours, &edited) } else { (&edited, &ours) };
    sim.meddle(|world| {
        let Some(Some(state)) = world.machines.get_mut(host).and_then(|machine| machine.files.get_mut(&diff.path)) else {
            return;
        };
        if state.text == *from {
            (state.text, state.sha256) = (to.clone(), Digest::of(to));
        }
    });
}

/// Somebody writes into a file of ours, the rollback is stuck at it; it is mended, and asked again.
pub fn retried_back() -> Story {
    Story {
        others: |sim, entries, state| {
            let Some(plan) = &state.plan else { return };
            let failed = count(entries, |entry| matches!(entry, Entry::UndoFailed { .. })) > 0;
            if failed && state.next() == Next::Stop(Stop::Stuck) {
                edit(sim, plan, false);
            } else if !failed && state.finished == Some(Outcome::Done) {
                edit(sim, plan, true);
            }
        },
        operator: back_and_again,
        ..story("in the retry of a stuck rollback", End::RolledBack)
    }
}

/// The file of one host is not as it was planned, so nothing of it begins; the others are taken back, and one of them is
/// stuck. It is mended, and asked again: what had failed before has no way back that could be tried.
pub fn retried_back_beside_a_failure() -> Story {
    fn last(plan: &Plan) -> &Change {
        plan.steps.iter().flat_map(|step| &step.changes).map(|planned| &planned.change).next_back().expect("a host is configured")
    }
    fn elsewhere(sim: &Sim, plan: &Plan, theirs: bool) {
        let Change::Configure { host, files, .. } = last(plan) else { return };
        let Some(diff) = files.iter().find(|diff| !diff.is_equal()) else { return };
        sim.meddle(|world| {
            let Some(machine) = world.machines.get_mut(host) else { return };
            machine.put(diff, false);
            if theirs {
                let text = "# somebody was here\n".to_owned();
                let state = FileState { sha256: Digest::of(&text), text, mode: 0o644, owner: "0:0".to_owned() };
                machine.files.insert(diff.path.clone(), Some(state));
            }
        });
    }
    Story {
        start: several,
        others: |sim, entries, state| {
            let Some(plan) = &state.plan else { return };
            // Its gate would see it.
            let approved = state.steps.iter().all(|step| step.changes.is_empty() || step.approved.is_some());
            elsewhere(sim, plan, approved && state.rolling_back.is_none());
            let failed = count(entries, |entry| matches!(entry, Entry::UndoFailed { .. })) > 0;
            if failed && state.next() == Next::Stop(Stop::Stuck) {
                edit(sim, plan, false);
            } else if !failed && matches!(state.next(), Next::Stop(Stop::Failed(_))) {
                edit(sim, plan, true);
            }
        },
        operator: |plan, entries, state| match state.next() {
            Next::Stop(Stop::Failed(_)) => vec![(0, Command::RollBack { to: 0, why: "test".to_owned() })],
            _ => back_and_again(plan, entries, state).into_iter().map(|(n, command)| (n + 1, command)).collect(),
        },
        ..story("in the retry of a stuck rollback beside a failure", End::RolledBack)
    }
}

/// Every host that is done and has something to prove has proved it.
pub fn proven(entries: &[Stamped]) {
    let state = State::fold(entries).unwrap();
    let plan = state.plan.as_ref().unwrap();
    for planned in plan.steps.iter().flat_map(|step| &step.changes) {
        let now = state.status(planned.id);
        let proves = matches!(&planned.change, Change::Configure { proof: Some(_), .. });
        assert!(!proves || now.status != Status::Done || now.proof.is_some(), "{} is done without its proof", planned.id);
    }
}
