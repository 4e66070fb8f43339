//! What proved the changes of a run, in words: one place for the screens, the status and the report.
//! Never counts a change that does not stand any more.

use super::{ChangeId, State, Status, text};

impl State {
    /// Proofs of what is done in a step, each with the changes it was given for, in the order of the first.
    pub fn proofs(&self, step: usize) -> Vec<(&str, Vec<ChangeId>)> {
        let mut out: Vec<(&str, Vec<ChangeId>)> = vec![];
        // The steps with changes by the ten thousand prove nothing by themselves.
        let first = self.plan.as_ref().and_then(|plan| plan.steps.get(step)?.changes.first());
        if !first.is_some_and(|planned| planned.change.told_by_attempt()) {
            return out;
        }
        let changes = self.steps.get(step).map_or(&[][..], |step| &step.changes);
        for (n, change) in changes.iter().enumerate().filter(|(_, change)| change.status == Status::Done) {
            let Some(proof) = &change.proof else { continue };
            let id = ChangeId { step, n };
            match out.iter_mut().find(|(known, _)| known == proof) {
                Some((_, ids)) => ids.push(id),
                None => out.push((proof, vec![id])),
            }
        }
        out
    }

    /// The same, a line each: `12 of 12 hosts: busybox:1 was served by https://mirror.example/`.
    pub fn proof_lines(&self, step: usize) -> Vec<String> {
        let all = self.steps.get(step).map_or(0, |step| step.changes.len()) as u64;
        let line = |(proof, ids): (&str, Vec<ChangeId>)| {
            text::clean(&format!("{} of {}: {proof}", text::number(ids.len() as u64), text::count(all, "host")))
        };
        self.proofs(step).into_iter().map(line).collect()
    }
}
