//! The window of a run as lines of text: what is left of it, when the rest would end, and the last safe moments.
//! Never an end for what waits for people.

use super::clock;
use crate::model::{Loads, Plan, State, Window, projection::point_of_no_return};
use std::fmt::Write;

/// What a plan draws before the first step that cannot be undone wholly.
pub const POINT: &str = "---- point of no return ----";

/// A few lines for a plan and for `castoff status`.
pub fn window_text(plan: &Plan, state: &State, window: &Window, now_ms: i64) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "window {}, {}", window.words(), window.left(now_ms));
    if state.finished.is_some() {
        return out;
    }
    let projection = Loads::new(plan).project(plan, state, now_ms, None);
    if state.plan.is_some()
        && let Some(rest) = projection.rest(Some(window), clock, "")
    {
        let _ = writeln!(out, "the rest: {}", rest.sentence());
    }
    for (n, step) in plan.steps.iter().enumerate().filter(|(_, step)| step.way_back() != crate::model::WayBack::Whole) {
        let begun = state.steps.get(n).is_some_and(|step| step.changes.iter().any(|change| change.ours));
        let by = projection.begin_by(n, window);
        let sign = if projection.is_late(n, window, now_ms) { "!" } else { " " };
        if !begun {
            let point = if point_of_no_return(plan) == Some(n) { ", the point of no return" } else { "" };
            let _ = writeln!(out, "{sign} step {}, {}{point}: begin by {}", n + 1, step.title, window.minute_with_zone(by));
        }
    }
    out
}
