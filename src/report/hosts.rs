//! The hosts of a run in a report: what was changed in their files, on which of them, how it ended and what proved it.
//! Never says the same diff twice.

use super::run::{escape, status_word};
use crate::model::diff::{Alike, alike};
use crate::model::{Change, Plan, State, text};
use std::fmt::Write;

/// A section for each step that configures hosts; nothing of a plan without one.
pub fn section(out: &mut String, state: &State, plan: &Plan) {
    for step in &plan.steps {
        if !step.changes.iter().any(|planned| matches!(planned.change, Change::Configure { .. })) {
            continue;
        }
        let _ = writeln!(out, "\n## Hosts of {}", escape(&step.title));
        alike(step).iter().for_each(|alike| one(out, state, alike));
    }
}

/// A diff, and below it the hosts: those that ended alike together.
fn one(out: &mut String, state: &State, alike: &Alike<'_>) {
    let n = alike.all.len() as u64;
    let _ = writeln!(out, "\n{} on {}:\n\n```diff", escape(&alike.first.subject), text::count(n, "host"));
    for line in alike.first.change.diff().into_iter().flatten() {
        // A fence in a file must not end this one.
        let _ = writeln!(out, "{} {}", line.mark.sign(), line.text.replace("```", "` ` `"));
    }
    let _ = writeln!(out, "```\n");
    let mut ends: Vec<(String, Vec<&str>)> = vec![];
    for planned in &alike.all {
        let now = state.status(planned.id);
        let mut words = status_word(&now.status).to_owned();
        if let Some(why) = now.status.why() {
            let _ = write!(words, ": {why}");
        } else if let Some(proof) = now.proof.as_ref().filter(|_| now.status == crate::model::Status::Done) {
            let _ = write!(words, ", proven: {proof}");
        }
        match ends.iter_mut().find(|(known, _)| *known == words) {
            Some((_, places)) => places.push(&planned.place),
            None => ends.push((words, vec![&planned.place])),
        }
    }
    for (words, places) in ends {
        let _ =
            writeln!(out, "- {} ({}): {}", escape(&words), text::count(places.len() as u64, "host"), escape(&places.join(", ")));
    }
}
