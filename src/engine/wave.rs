//! Waves while they run: the entries that follow by themselves, a canary that a person approves, and what is told of
//! changes that a limit holds back. It decides nothing: `State::next` does.

use super::{Engine, EngineError, flight::Held};
use crate::model::{CANARY_SENTENCE, ChangeId, Entry, Event, Level, Limits, Next, Wait, text};
use std::{collections::BTreeMap, time::Duration};
use tokio::time::Instant;

/// How often at most it is told what waits.
const TOLD_EVERY: Duration = Duration::from_secs(1);
/// Held for longer than this, it is worth a line of the log; then again each minute.
const WORTH_A_LINE: Duration = Duration::from_secs(3);
const LINE_EVERY: Duration = Duration::from_mins(1);

/// What was told of changes that wait.
#[derive(Default)]
pub struct WaitWatch {
    told: Vec<Wait>,
    told_at: Option<Instant>,
    /// Something else is to be told then.
    due: Option<Instant>,
    /// Registries that hold changes back: since when, and when a line was said of it.
    holding: BTreeMap<String, (Instant, Option<Instant>)>,
}

impl WaitWatch {
    pub fn due(&self) -> Option<Instant> {
        self.due
    }
}

/// How many changes each reason holds back, and until when the first of them.
pub type Tally = BTreeMap<Held, (u64, Option<Instant>)>;

impl Engine {
    /// Writes the entries that follow by themselves, until something else comes next.
    pub(super) async fn take_turns(&mut self) -> Result<(), EngineError> {
        while let Next::Turn(entries) = self.state.next() {
            self.write(entries).await?;
        }
        Ok(())
    }

    /// Of changes that were looked at and may be applied: those that still may. A failure that came in meanwhile may
    /// have set their host aside or stopped their step.
    pub(super) async fn still_open(&mut self, looked: Vec<ChangeId>) -> Result<Vec<ChangeId>, EngineError> {
        if looked.is_empty() {
            return Ok(looked);
        }
        self.take_turns().await?;
        let Next::Apply(step) = self.state.next() else { return Ok(vec![]) };
        Ok(looked.into_iter().filter(|id| id.step == step && self.state.may_apply(*id)).collect())
    }

    /// Called while the canary of `step` waits for approval: it may have been given ahead.
    pub(super) async fn stand_at_canary(&mut self, step: usize) -> Result<(), EngineError> {
        let plan = self.plan().plan.clone();
        let name = format!("{}.canary", self.plan().steps[step].id);
        if self.setup.approvals.get(&name).is_none_or(|id| *id != plan) {
            return Ok(());
        }
        let (by, typed) = (self.setup.by.clone(), format!("--approve {name}={plan}"));
        self.write(vec![Entry::WavePassed { step, wave: 0, by, plan, typed }]).await
    }

    pub(super) async fn approve_canary(&mut self, step: usize, plan: String, typed: String) -> Result<(), EngineError> {
        if self.state.next() != Next::Canary(step) {
            self.refuse("this canary does not wait for an answer").await;
        } else if plan != self.plan().plan {
            self.refuse("the answer is for another plan").await;
        } else if typed != CANARY_SENTENCE {
            self.refuse("the sentence is not complete").await;
        } else {
            let by = self.setup.by.clone();
            self.write(vec![Entry::WavePassed { step, wave: 0, by, plan, typed }]).await?;
        }
        Ok(())
    }

    /// Tells what holds changes back, when that is another thing than before, and not more often than somebody reads.
    pub(super) async fn tell_waits(&mut self, step: usize, held: Tally) {
        let now = Instant::now();
        let limits = self.state.limits;
        self.say_holds(&held, &limits, now).await;
        let in_words = |(held, (n, until)): (&Held, &(u64, Option<Instant>))| self.in_words(held, *n, *until, &limits, now);
        let waits: Vec<Wait> = held.iter().map(in_words).collect();
        let same = |(a, b): (&Wait, &Wait)| a.changes == b.changes && a.why == b.why;
        if waits.len() == self.waits.told.len() && waits.iter().zip(&self.waits.told).all(same) {
            self.waits.due = None;
            return;
        }
        if let Some(at) = self.waits.told_at.map(|at| at + TOLD_EVERY).filter(|at| *at > now) {
            self.waits.due = Some(at);
            return;
        }
        self.waits.told.clone_from(&waits);
        self.waits.told_at = Some(now);
        self.waits.due = None;
        let _ = self.setup.events.send(Event::Waits { step, waits }).await;
    }

    /// A registry that rests, or is asked as fast as it may be: a line when that has lasted for a while.
    async fn say_holds(&mut self, held: &Tally, limits: &Limits, now: Instant) {
        let mut holding: BTreeMap<String, (u64, bool)> = BTreeMap::new();
        for (held, (n, _)) in held {
            if let Held::RegistryRests(registry) | Held::Pace(registry) = held {
                let entry = holding.entry(registry.clone()).or_default();
                *entry = (entry.0 + n, entry.1 || matches!(held, Held::RegistryRests(_)));
            }
        }
        self.waits.holding.retain(|registry, _| holding.contains_key(registry));
        let mut lines = vec![];
        for (registry, (n, rests)) in holding {
            let (since, said) = self.waits.holding.entry(registry.clone()).or_insert((now, None));
            if now - *since >= WORTH_A_LINE && said.is_none_or(|at| now - at >= LINE_EVERY) {
                *said = Some(now);
                let why =
                    if rests { "it asked to be left alone".to_owned() } else { format!("{} requests/s", limits.requests_per_s) };
                lines.push((registry, format!("{} {}: {why}", text::count(n, "pull"), if n == 1 { "waits" } else { "wait" })));
            }
        }
        for (registry, line) in lines {
            self.say(Level::Info, &registry, &line).await;
        }
    }

    fn in_words(&self, held: &Held, changes: u64, until: Option<Instant>, limits: &Limits, now: Instant) -> Wait {
        let unix_ms = |at: Instant| (self.setup.now_ms)() + i64::try_from((at - now).as_millis()).unwrap_or(0);
        let why = match held {
            Held::Flying => "in flight".to_owned(),
            Held::RegistryRests(registry) => format!("{registry} asked to be left alone"),
            Held::Pace(registry) => format!("{} requests/s to {registry}", limits.requests_per_s),
            Held::Attempt => "a while before the next attempt".to_owned(),
            Held::Registry(registry) => format!("{} at once from {registry}", limits.per_registry),
            Held::Hosts => format!("{} at once", text::count(limits.hosts as u64, "host")),
            Held::Host => format!("{} at once on a host", limits.per_host),
            Held::Total => format!("{} at once in all", limits.total),
        };
        // Paced changes go on several times a second: that is no time anybody waits for.
        let until = until.filter(|_| !matches!(held, Held::Pace(_)));
        Wait { changes, why, until_ms: until.map(unix_ms) }
    }
}
