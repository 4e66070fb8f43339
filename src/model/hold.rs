//! What the window says against going on: not before it opens, and not past the point of no return when the rest would
//! end after it. Never a word about what can be undone: that may begin at any time.

use super::projection::{End, Loads, point_of_no_return};
use super::window::Window;
use super::{Plan, PlannedStep, Problem, State, Status, WayBack};

/// Subjects of the problems that a window raises.
const NOT_OPEN: &str = "window not open";
const TOO_SHORT: &str = "window too short";
const OVER: &str = "window over";

/// It goes away by itself, when the window opens.
pub fn is_early(problem: &Problem) -> bool {
    problem.subject == NOT_OPEN
}

/// Only a person ends it: a later end of the window, given on purpose, or the way back.
pub fn is_hold(problem: &Problem) -> bool {
    [TOO_SHORT, OVER].contains(&problem.subject.as_str())
}

/// Whether a run was paused by the window, by the reason in its journal.
pub fn is_hold_words(why: &str) -> bool {
    [TOO_SHORT, OVER].iter().any(|subject| why.starts_with(subject))
}

/// What stands against opening the gate of a step that has not begun.
///
/// A gate is asked for everything it lets through: who lets a service be stopped lets the steps up to the next gate
/// happen, and one of them may be the one that cannot be undone.
pub fn at_gate(plan: &Plan, state: &State, window: &Window, now_ms: i64, gate: usize) -> Option<Problem> {
    let loads = Loads::new(plan);
    let mut behind = loads.behind_gate(gate);
    let stopped = (0..loads.len()).any(|step| loads.stops(step) && has_begun(state, step));
    if now_ms < window.from_ms && !stopped && behind.clone().any(|step| loads.stops(step)) {
        let why = format!("it opens at {}, and a service would stop", window.minute_with_zone(window.from_ms));
        return Some(problem(
            NOT_OPEN,
            why,
            "nothing is to be done but wait, or give the window an earlier beginning on purpose",
        ));
    }
    let lost = behind.find(|step| loads.is_lost(*step) && !has_begun(state, *step))?;
    hold(plan, state, window, now_ms, (gate, lost))
}

/// What stands against beginning a step without a whole way back whose gate, if it has one, is passed: the first such
/// step of the run, or one with a gate of its own. Later ones are not held half-way: there is no whole way back any more.
pub fn before_step(plan: &Plan, state: &State, window: &Window, now_ms: i64, step: usize) -> Option<Problem> {
    let lost = |step: &PlannedStep| step.gate.is_some() && step.way_back() != WayBack::Whole;
    let held = !has_begun(state, step) && (point_of_no_return(plan) == Some(step) || plan.steps.get(step).is_some_and(lost));
    if !held {
        return None;
    }
    hold(plan, state, window, now_ms, (step, step))
}

fn hold(plan: &Plan, state: &State, window: &Window, now_ms: i64, (from, lost): (usize, usize)) -> Option<Problem> {
    let back = format!("step {} has no whole way back", lost + 1);
    let hint = "give the window a later end on purpose, or roll back";
    if window.is_over(now_ms) {
        let ended = window.minute_with_zone(window.until_ms);
        return Some(problem(OVER, format!("it ended at {ended}; {back}"), hint));
    }
    let projection = Loads::new(plan).project(plan, state, now_ms, None);
    if now_ms <= projection.begin_by(from, window) {
        return None;
    }
    let takes = projection.takes(from);
    let end = if now_ms + takes.high_ms > window.until_ms {
        End { earliest_ms: now_ms + takes.low_ms, latest_ms: Some(now_ms + takes.high_ms), measured: false }
    } else {
        // Up to the next wait all is well, and what comes behind it is too much.
        End { earliest_ms: now_ms + takes.whole_ms, latest_ms: None, measured: false }
    };
    let why = format!("the rest would end {}, {}; {back}", end.words_in(window), end.against(window));
    Some(problem(TOO_SHORT, why, hint))
}

/// Something of the step was begun by this run.
fn has_begun(state: &State, step: usize) -> bool {
    let changes = state.steps.get(step).map_or(&[][..], |step| step.changes.as_slice());
    changes.iter().any(|change| change.ours || !matches!(change.status, Status::Waiting | Status::Found))
}

fn problem(subject: &str, why: String, hint: &str) -> Problem {
    Problem { subject: subject.to_owned(), why, owner: None, place: None, since_ms: None, hint: Some(hint.to_owned()) }
}
