//! What is in flight, what waits for its next attempt, and what may start: the limits live here and nowhere else.

use crate::model::{ChangeId, Limits, PlannedChange};
use std::{collections::BTreeMap, time::Duration};
use tokio::task::JoinHandle;
use tokio::time::Instant;

#[derive(Default)]
pub struct Flights {
    flying: BTreeMap<ChangeId, Flight>,
    /// Not before this moment, and how many attempts there were.
    waiting: BTreeMap<ChangeId, (Instant, u32)>,
    /// A registry that said Retry-After: nobody asks it before.
    held: BTreeMap<String, Instant>,
}

struct Flight {
    place: String,
    registry: Option<String>,
    task: Option<JoinHandle<()>>,
}

impl Flights {
    pub fn is_empty(&self) -> bool {
        self.flying.is_empty()
    }

    /// As much is in flight as may be at all: no change needs to be asked about.
    pub fn is_full(&self, limits: &Limits) -> bool {
        self.flying.len() >= limits.total
    }

    /// Whether this change may start now, by the limits, its own wait and its registry's.
    pub fn may_start(&self, id: ChangeId, planned: &PlannedChange, limits: &Limits) -> bool {
        let now = Instant::now();
        let registry = planned.change.registry();
        let waits = self.waiting.get(&id).is_some_and(|(until, _)| *until > now);
        let held = registry.and_then(|r| self.held.get(r)).is_some_and(|until| *until > now);
        let on_host = self.flying.values().filter(|flight| flight.place == planned.place).count();
        let on_registry =
            self.flying.values().filter(|flight| registry.is_some() && flight.registry.as_deref() == registry).count();
        !(self.flying.contains_key(&id)
            || waits
            || held
            || self.flying.len() >= limits.total
            || on_host >= limits.per_host
            || on_registry >= limits.per_registry)
    }

    pub fn start(&mut self, id: ChangeId, planned: &PlannedChange) {
        let registry = planned.change.registry().map(str::to_owned);
        self.flying.insert(id, Flight { place: planned.place.clone(), registry, task: None });
    }

    pub fn hold(&mut self, id: ChangeId, task: JoinHandle<()>) {
        if let Some(flight) = self.flying.get_mut(&id) {
            flight.task = Some(task);
        }
    }

    pub fn land(&mut self, id: ChangeId) {
        self.flying.remove(&id);
    }

    pub fn retry(&mut self, id: ChangeId, attempts: u32, after: Duration) {
        self.waiting.insert(id, (Instant::now() + after, attempts));
    }

    pub fn attempts(&self, id: ChangeId) -> u32 {
        self.waiting.get(&id).map_or(0, |(_, attempts)| *attempts)
    }

    /// The count of attempts begins anew.
    pub fn forget(&mut self, id: ChangeId) {
        self.waiting.remove(&id);
    }

    pub fn hold_registry(&mut self, registry: &str, wait: Duration) {
        let until = Instant::now() + wait;
        let held = self.held.entry(registry.to_owned()).or_insert(until);
        *held = (*held).max(until);
    }

    /// The next moment at which something that waits may start.
    pub fn next_start(&self) -> Option<Instant> {
        let now = Instant::now();
        self.waiting.values().map(|(until, _)| *until).chain(self.held.values().copied()).filter(|until| *until > now).min()
    }

    /// Drops everything that is in flight; dropping a pull cancels it at the engine. Returns how many there were.
    pub fn cut(&mut self) -> usize {
        let n = self.flying.len();
        for flight in std::mem::take(&mut self.flying).into_values() {
            if let Some(task) = flight.task {
                task.abort();
            }
        }
        n
    }
}

/// Nothing acts for an engine that is gone.
impl Drop for Flights {
    fn drop(&mut self) {
        self.cut();
    }
}
