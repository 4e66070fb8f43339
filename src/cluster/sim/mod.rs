//! The simulator: an inventory that changes as the real cluster would, with time and faults of its own.
//! It opens no socket and touches nothing outside this process.

mod demo;

pub use demo::demo;

use super::{Cluster, Report};
use crate::model::{
    Change, ContainerState, Fault, FaultKind, Inventory, Part, Standing, Wants, check::is_old, image::DOCKER_HUB,
};
use async_trait::async_trait;
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// How long things take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// No time at all: for tests.
    Instant,
    /// About a minute for a whole run: for looking and rehearsing.
    Lively,
}

pub struct Sim {
    world: Mutex<Inventory>,
    pace: Pace,
    /// Live sessions that end between two looks of a waiting gate.
    drain: usize,
    /// Faults to come: change kind and place to the faults that its next attempts meet.
    faults: Mutex<BTreeMap<(String, String), Vec<Fault>>>,
}

impl Sim {
    pub fn new(world: Inventory, pace: Pace) -> Self {
        Self { world: Mutex::new(world), pace, drain: 2, faults: Mutex::default() }
    }

    /// What the world is now.
    pub fn world(&self) -> Inventory {
        self.lock().clone()
    }

    /// Lets the next attempts of one kind of change at one place fail.
    pub fn fail(&self, kind: &str, place: &str, faults: Vec<Fault>) {
        let mut map = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        map.insert((kind.to_owned(), place.to_owned()), faults);
    }

    /// Somebody else changes something.
    pub fn meddle(&self, with: impl FnOnce(&mut Inventory)) {
        with(&mut self.lock());
    }

    fn lock(&self) -> MutexGuard<'_, Inventory> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn take_ms(&self, ms: u64) {
        if self.pace == Pace::Lively {
            tokio::time::sleep(Duration::from_millis(ms)).await;
        }
    }

    fn next_fault(&self, change: &Change) -> Option<Fault> {
        let mut map = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        let faults = map.get_mut(&(change.kind().to_owned(), change.place().to_owned()))?;
        if faults.is_empty() { None } else { Some(faults.remove(0)) }
    }

    /// Sessions end in their own time: the oldest first, with their containers.
    fn pass_time(&self) {
        let mut world = self.lock();
        for _ in 0..self.drain {
            let oldest = world.sessions.iter().filter(|s| is_old(&s.image, DOCKER_HUB, &[])).min_by_key(|s| s.since_ms);
            let Some(id) = oldest.map(|s| s.id.clone()) else { break };
            world.sessions.retain(|s| s.id != id);
            for host in world.hosts.values_mut() {
                host.containers.retain(|c| c.kernel.as_deref() != Some(&id));
            }
        }
        // Backend.AI's agent clears away what its sessions left behind.
        let live: Vec<String> = world.sessions.iter().map(|s| s.id.clone()).collect();
        for host in world.hosts.values_mut() {
            host.containers.retain(|c| c.state != ContainerState::Stopped || c.kernel.as_ref().is_none_or(|k| live.contains(k)));
        }
    }

    async fn spend(&self, change: &Change, report: Report<'_>) {
        if self.pace == Pace::Instant {
            return;
        }
        match change {
            Change::Pull { size_bytes, .. } => {
                let steps = 12 + size_bytes / 180_000_000;
                for step in 0..=steps {
                    report("pulling", size_bytes * step / steps, *size_bytes);
                    self.take_ms(90).await;
                }
                report("unpacking", *size_bytes, *size_bytes);
                self.take_ms(300).await;
            }
            Change::Rescan { expect, .. } => {
                for n in 0..=expect.len() as u64 {
                    report("reading", n, expect.len() as u64);
                    self.take_ms(150).await;
                }
            }
            Change::Service { .. } => self.take_ms(1800).await,
            Change::Remove { .. } => self.take_ms(250).await,
            _ => self.take_ms(400).await,
        }
    }
}

#[async_trait]
impl Cluster for Sim {
    async fn read(&self, wants: &Wants) -> Inventory {
        self.take_ms(250).await;
        // Only a waiting gate asks for sessions without the tables.
        if wants.parts.contains(&Part::Sessions) && !wants.parts.contains(&Part::Tables) {
            self.pass_time();
        }
        self.world()
    }

    async fn standing(&self, change: &Change) -> Result<Standing, Fault> {
        self.take_ms(20).await;
        Ok(self.lock().standing(change))
    }

    async fn apply(&self, change: &Change, report: Report<'_>) -> Result<(), Fault> {
        if let Some(fault) = self.next_fault(change) {
            self.take_ms(600).await;
            return Err(fault);
        }
        self.spend(change, report).await;
        let mut world = self.lock();
        match world.standing(change) {
            Standing::Before => world.apply(change),
            Standing::After => {}
            Standing::Neither(found) => {
                return Err(Fault::new(FaultKind::Drift, format!("cannot {} `{}`", change.kind(), change.subject()), found));
            }
        }
        Ok(())
    }

    async fn undo(&self, change: &Change, report: Report<'_>) -> Result<(), Fault> {
        self.spend(change, report).await;
        self.lock().undo(change);
        Ok(())
    }
}
