//! What is in flight, what waits for its next attempt, and what may start: the limits live here and nowhere else.
//! It never ends what is in flight because a limit was lowered: it only starts nothing more.

use crate::model::{Change, ChangeId, Limits, PlannedChange};
use std::{collections::BTreeMap, time::Duration};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// What a pull asks of its registry where the plan does not say: `/v2/`, manifest, configuration, a layer.
const A_PULL: u32 = 4;

#[derive(Default)]
pub struct Flights {
    flying: BTreeMap<ChangeId, Flight>,
    /// How many are in flight, by place and by registry.
    on_place: BTreeMap<String, usize>,
    on_host: BTreeMap<String, usize>,
    on_registry: BTreeMap<String, usize>,
    /// Not before this moment, and how many attempts there were.
    waiting: BTreeMap<ChangeId, (Instant, u32)>,
    /// A registry that said Retry-After: nobody asks it before.
    held: BTreeMap<String, Instant>,
    /// The newest start of a change that asks this registry.
    paced: BTreeMap<String, Paced>,
}

struct Flight {
    place: String,
    on_host: bool,
    registry: Option<String>,
    task: Option<JoinHandle<()>>,
}

struct Paced {
    by: ChangeId,
    at: Instant,
    requests: u32,
}

/// Why a change does not start now. In the order in which it is told: what is rare before what is usual.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Held {
    /// It is in flight.
    Flying,
    /// A registry asked to be left alone.
    RegistryRests(String),
    /// Requests per second.
    Pace(String),
    /// Its own next attempt.
    Attempt,
    Registry(String),
    Hosts,
    Host,
    Total,
}

/// What holds a change back, and until when, where that is known.
pub type Wait = (Held, Option<Instant>);

impl Flights {
    pub fn is_empty(&self) -> bool {
        self.flying.is_empty()
    }

    /// Whether this change may start now, by the limits, its own wait and its registry's.
    pub fn may_start(&self, id: ChangeId, planned: &PlannedChange, limits: &Limits) -> Result<(), Wait> {
        let now = Instant::now();
        let later = |until: &Instant| *until > now;
        if self.flying.contains_key(&id) {
            return Err((Held::Flying, None));
        }
        if let Some(registry) = planned.change.registry() {
            if let Some(until) = self.held.get(registry).copied().filter(later) {
                return Err((Held::RegistryRests(registry.to_owned()), Some(until)));
            }
            let paced = self.paced.get(registry).filter(|_| cost(planned) > 0);
            if let Some(until) = paced.and_then(|paced| paced.due(limits)).filter(later) {
                return Err((Held::Pace(registry.to_owned()), Some(until)));
            }
            if self.on_registry.get(registry).is_some_and(|n| *n >= limits.per_registry) {
                return Err((Held::Registry(registry.to_owned()), None));
            }
        }
        if let Some((until, _)) = self.waiting.get(&id).filter(|(until, _)| later(until)) {
            return Err((Held::Attempt, Some(*until)));
        }
        let begins_host = planned.change.on_host() && !self.on_host.contains_key(&planned.place);
        match () {
            () if begins_host && limits.hosts > 0 && self.on_host.len() >= limits.hosts => Err((Held::Hosts, None)),
            () if self.on_place.get(&planned.place).is_some_and(|n| *n >= limits.per_host) => Err((Held::Host, None)),
            () if self.flying.len() >= limits.total => Err((Held::Total, None)),
            () => Ok(()),
        }
    }

    /// Whether a limit of its registry's pace is about it.
    pub fn asks_registry(planned: &PlannedChange) -> bool {
        cost(planned) > 0
    }

    /// The changes in flight, and those that were: they may have a wait of their own.
    pub fn known(&self) -> impl Iterator<Item = ChangeId> {
        self.flying.keys().chain(self.waiting.keys()).copied()
    }

    pub fn start(&mut self, id: ChangeId, planned: &PlannedChange) {
        let registry = planned.change.registry().map(str::to_owned);
        let flight = Flight { place: planned.place.clone(), on_host: planned.change.on_host(), registry, task: None };
        if let Some(registry) = flight.registry.clone().filter(|_| cost(planned) > 0) {
            self.paced.insert(registry, Paced { by: id, at: Instant::now(), requests: cost(planned) });
        }
        self.count(&flight, true);
        self.flying.insert(id, flight);
    }

    fn count(&mut self, flight: &Flight, more: bool) {
        let maps = [
            Some((&mut self.on_place, &flight.place)),
            flight.on_host.then_some((&mut self.on_host, &flight.place)),
            flight.registry.as_ref().map(|registry| (&mut self.on_registry, registry)),
        ];
        for (map, key) in maps.into_iter().flatten() {
            let n = map.entry(key.clone()).or_default();
            *n = if more { *n + 1 } else { n.saturating_sub(1) };
            if *n == 0 {
                map.remove(key);
            }
        }
    }

    pub fn hold(&mut self, id: ChangeId, task: JoinHandle<()>) {
        if let Some(flight) = self.flying.get_mut(&id) {
            flight.task = Some(task);
        }
    }

    pub fn land(&mut self, id: ChangeId) {
        if let Some(flight) = self.flying.remove(&id) {
            self.count(&flight, false);
        }
    }

    /// Whether more is in flight beside this change than the limits allow by now: one was lowered while it was looked at.
    pub fn is_too_much(&self, id: ChangeId, limits: &Limits) -> bool {
        let Some(flight) = self.flying.get(&id) else { return false };
        let over = |map: &BTreeMap<String, usize>, key: &str, most: usize| map.get(key).is_some_and(|n| *n > most);
        self.flying.len() > limits.total
            || over(&self.on_place, &flight.place, limits.per_host)
            || flight.registry.as_ref().is_some_and(|registry| over(&self.on_registry, registry, limits.per_registry))
            || (flight.on_host && limits.hosts > 0 && self.on_host.len() > limits.hosts)
    }

    /// It was looked at and asks its registry nothing: the next need not wait for it.
    pub fn asked_nothing(&mut self, id: ChangeId) {
        self.paced.retain(|_, paced| paced.by != id);
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

    /// The next moment after `looked` at which something that waits may start. `looked` is before it was asked what may start
    /// now: what became due in between is due at once, and not forgotten.
    pub fn next_start(&self, limits: &Limits, looked: Instant) -> Option<Instant> {
        let paced = self.paced.values().filter_map(|paced| paced.due(limits));
        let waiting = self.waiting.values().map(|(until, _)| *until);
        waiting.chain(self.held.values().copied()).chain(paced).filter(|until| *until > looked).min()
    }

    /// Drops everything that is in flight; dropping a pull cancels it at the engine. Returns how many there were.
    pub fn cut(&mut self) -> usize {
        let n = self.flying.len();
        for flight in std::mem::take(&mut self.flying).into_values() {
            self.count(&flight, false);
            if let Some(task) = flight.task {
                task.abort();
            }
        }
        n
    }
}

impl Paced {
    /// When the next may start: asked with the limits of now, so that a change of them counts at once.
    fn due(&self, limits: &Limits) -> Option<Instant> {
        (limits.requests_per_s > 0)
            .then(|| self.at + Duration::from_secs_f64(f64::from(self.requests) / f64::from(limits.requests_per_s)))
    }
}

/// Requests to its registry. Nothing else of what castoff does asks one through a host.
fn cost(planned: &PlannedChange) -> u32 {
    match &planned.change {
        Change::Pull { .. } => planned.requests.max(A_PULL),
        _ => 0,
    }
}

/// Nothing acts for an engine that is gone.
impl Drop for Flights {
    fn drop(&mut self) {
        self.cut();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_becomes_due_between_asking_and_sleeping_is_not_forgotten() {
        let mut flights = Flights::default();
        let looked = Instant::now();
        flights.retry(ChangeId { step: 0, n: 0 }, 1, Duration::from_millis(1));
        std::thread::sleep(Duration::from_millis(5));
        let due = flights.next_start(&Limits::default(), looked).expect("it waits");
        assert!(due < Instant::now());
        assert_eq!(flights.next_start(&Limits::default(), Instant::now()), None);
    }
}
