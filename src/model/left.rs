//! What a person has to do, because castoff did not: one list for the last page, the report and its bundle.
//! Never counts what a rollback took back, and never calls "not made" what was begun.

use super::problems::{Together, together};
use super::{Change, Outcome, PlannedChange, PlannedStep, State, Status, text};
use std::fmt::Write as _;

impl PlannedStep {
    /// Whether it is about the files of hosts: then its rows are hosts.
    pub fn configures(&self) -> bool {
        self.changes.first().is_some_and(|planned| matches!(planned.change, Change::Configure { .. }))
    }
}

impl State {
    /// A line for each reason, with what it is about: the first few by name, or (`whole`) all.
    pub fn left_to_do(&self, whole: bool) -> Vec<String> {
        let Some(plan) = &self.plan else { return vec![] };
        let back = self.finished == Some(Outcome::RolledBack);
        let mut reasons: Vec<(String, Vec<String>)> = vec![];
        for (step, planned) in plan.steps.iter().enumerate() {
            for change in &planned.changes {
                let Some(why) = self.left(change, back) else { continue };
                let why = format!("step {}, {}: {why}", step + 1, planned.title);
                // Of files the same few stand on every host: who it is says it all.
                let what =
                    if planned.configures() { change.place.clone() } else { format!("{} on {}", change.subject, change.place) };
                match reasons.iter_mut().find(|(known, _)| *known == why) {
                    Some((_, whats)) => whats.push(what),
                    None => reasons.push((why, vec![what])),
                }
            }
        }
        let mut out: Vec<String> = reasons
            .into_iter()
            .map(|(why, whats)| {
                let few = if whats.iter().any(|what| what.contains(' ')) { 2 } else { 8 };
                let named = if whole { whats.len() } else { few.min(whats.len()) };
                let more = if whats.len() > named { format!(" and {} more", whats.len() - named) } else { String::new() };
                text::clean(&format!("{why}   ({}{more})", whats[..named].join(", ")))
            })
            .collect();
        let seen = self.steps.iter().flat_map(|step| &step.seen).filter(|problem| problem.owner.is_some());
        out.extend(seen.map(|problem| text::clean(&format!("{}: give it a new image", problem.words()))));
        // A note with a hint is work; without one it is only to know.
        let notes = together(plan.notes.iter().filter(|note| note.hint.is_some() && !back));
        let words = |note: Together<'_>| {
            let hint = note.problem.hint.as_deref().unwrap_or_default();
            text::clean(&format!("{} {}: {hint}", note.subject, note.problem.why))
        };
        out.extend(notes.into_iter().map(words));
        out
    }

    /// Why a change is left to a person, if it is. `back`: after a rollback only what we did and did not undo is left.
    fn left(&self, planned: &PlannedChange, back: bool) -> Option<String> {
        let now = self.status(planned.id);
        let may_stand = self.may_stand(planned);
        let stands = if may_stand { "; what was begun there may stand" } else { "" };
        match &now.status {
            Status::Skipped(_) | Status::Failed(_) if back && !now.ours => None,
            Status::Skipped(why) => Some(format!("left out: {why}{stands}")),
            Status::Failed(fault) | Status::UndoFailed(fault) => Some(format!("{}{stands}", fault.why)),
            _ if may_stand => Some("cut off, and not looked up any more; what was begun there may stand".to_owned()),
            _ => None,
        }
    }

    /// What an end for good leaves: `5 changes done stay as they are; 2 were begun and may stand; 6 are not made.`
    pub fn would_be_left(&self) -> String {
        let (mut done, mut open, mut begun) = (0, 0, 0);
        for (state, planned) in self.steps.iter().zip(self.plan.iter().flat_map(|plan| &plan.steps)) {
            let tally = state.counts.tally;
            done += tally.done;
            open += tally.waiting + tally.running + tally.retrying + tally.failed;
            let of_files = state.changes.iter().zip(&planned.changes).filter(|(_, planned)| planned.change.leaves_parts());
            begun += of_files.filter(|(now, _)| now.ours && (now.is_open() || now.is_failed())).count() as u64;
        }
        let of = |n: u64, one: &'static str, many: &'static str| if n == 1 { one } else { many };
        let mut out = format!("{} done {}", text::count(done, "change"), of(done, "stays as it is", "stay as they are"));
        if begun > 0 {
            let _ = write!(out, "; {} {} begun and may stand", text::number(begun), of(begun, "was", "were"));
        }
        let not_made = open.saturating_sub(begun);
        let _ = match begun {
            0 => write!(out, "; {} {} not made", text::count(not_made, "change"), of(not_made, "is", "are")),
            _ if not_made > 0 => write!(out, "; {} {} not made", text::number(not_made), of(not_made, "is", "are")),
            _ => Ok(()),
        };
        out + "."
    }
}
