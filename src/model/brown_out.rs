//! A brown-out that waits at a gate: how long still, and what it has brought to light. Pure.

use super::{Check, Inventory, Part, Problem, State, text};

/// The brown-out of a gate that was reached.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BrownOut<'a> {
    pub since_ms: i64,
    pub until_ms: i64,
    /// Who was refused, and what could not be looked at; each once.
    pub seen: &'a [Problem],
}

impl State {
    /// The brown-out that the gate of this step waits for.
    pub fn brown_out(&self, step: usize) -> Option<BrownOut<'_>> {
        let checks = &self.gate(step)?.checks;
        let for_s = checks.iter().find_map(|check| if let Check::BrownOut { for_s } = check { Some(*for_s) } else { None })?;
        let step = &self.steps[step];
        let since_ms = step.gate_reached_ms?;
        Some(BrownOut { since_ms, until_ms: since_ms + for_s.saturating_mul(1000).cast_signed(), seen: &step.seen })
    }
}

impl BrownOut<'_> {
    /// What keeps the gate closed: its time.
    pub fn problem(&self, now_ms: i64) -> Option<Problem> {
        let lasts = text::duration(self.until_ms - self.since_ms);
        let why = format!("lasts {lasts}; then the registry is given back by itself");
        let problem = Problem { since_ms: Some(self.since_ms), ..Problem::new("the brown-out", why) };
        (now_ms < self.until_ms).then_some(problem)
    }

    /// `the brown-out ends in 4:12; 3 sessions were refused so far`.
    pub fn words(&self, now_ms: i64) -> String {
        format!("the brown-out ends in {}; {}", text::duration(self.until_ms - now_ms), self.refused())
    }

    /// `3 sessions were refused so far`.
    pub fn refused(&self) -> String {
        let refused = self.seen.iter().filter(|problem| problem.owner.is_some()).count() as u64;
        let who = match refused {
            0 => "nobody was".to_owned(),
            1 => "1 session was".to_owned(),
            n => format!("{} were", text::count(n, "session")),
        };
        format!("{who} refused so far")
    }
}

/// What has come to light since the brown-out began: who was refused, and what could not be looked at.
pub fn seen(inventory: &Inventory, since_ms: i64) -> Vec<Problem> {
    let refused = inventory.refusals.iter().filter(|refusal| refusal.at_ms >= since_ms).map(|refusal| Problem {
        owner: Some(refusal.owner.clone()),
        since_ms: Some(refusal.at_ms),
        ..Problem::new(format!("session {}", refusal.session), format!("was refused: {}", refusal.image))
    });
    let unseen = inventory.unanswered.iter().filter(|u| u.part == Part::Refusals);
    let unseen = unseen.map(|u| Problem { hint: u.hint.clone(), ..Problem::new(&u.subject, &u.why) });
    refused.chain(unseen).collect()
}
