//! The simulator: an inventory that changes as the real cluster would, with time and faults of its own.
//! It opens no socket and touches nothing outside this process.

mod demo;
mod machines;

pub use demo::demo;

use super::{Cluster, Report};
use crate::model::{
    Change, ContainerState, Digest, Fault, FaultKind, ImageRef, Inventory, LayerPhase, LayerProgress, Machine, MachineWants,
    Part, Reach, Refusal, Service, Standing, Wants, check::is_old, image::DOCKER_HUB,
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

    /// In a brown-out somebody asks for an old image, one more at each look.
    fn ask_in_vain(&self) {
        let mut world = self.lock();
        let mut asking = world.sessions.iter().filter(|s| is_old(&s.image, DOCKER_HUB, &[])).take(3);
        let refusal = asking.nth(world.refusals.len()).map(|session| Refusal {
            at_ms: jiff::Timestamp::now().as_millisecond(),
            session: format!("{}-again", session.name),
            owner: session.owner.clone(),
            image: session.image.clone(),
        });
        world.refusals.extend(refusal);
    }

    /// The layers of an image of which so many bytes came and so many are unpacked: one layer after the other.
    fn layers(&self, host: &str, image: &ImageRef, mut done: u64, mut unpacked: u64) -> Vec<LayerProgress> {
        let world = self.lock();
        let held =
            |id: &Digest| world.hosts.get(host).is_some_and(|host| host.images.values().any(|local| local.layers.contains(id)));
        let all = world.manifest(image).map_or(&[][..], |manifest| &manifest.layers);
        let layer = |layer: &crate::model::Layer| {
            let id = layer.digest.short().to_owned();
            let total = layer.size_bytes;
            if held(&layer.diff_id) {
                return LayerProgress { id, phase: LayerPhase::There, done: 0, total, unpacked: 0 };
            }
            let (came, laid) = (done.min(total), unpacked.min(total));
            (done, unpacked) = (done - came, unpacked - laid);
            let phase = match () {
                () if laid == total => LayerPhase::Done,
                () if laid > 0 => LayerPhase::Unpacking,
                () if came == total => LayerPhase::Pulled,
                () if came > 0 => LayerPhase::Pulling,
                () => LayerPhase::Waiting,
            };
            LayerProgress { id, phase, done: came, total, unpacked: laid }
        };
        all.iter().map(layer).collect()
    }

    async fn spend(&self, change: &Change, forward: bool, report: Report<'_>) {
        if self.pace == Pace::Instant {
            return;
        }
        match change {
            Change::Pull { host, image, size_bytes, .. } => {
                let steps = 12 + size_bytes / 180_000_000;
                for step in 0..=steps {
                    let done = size_bytes * step / steps;
                    report.progress("pulling", done, *size_bytes);
                    if step % 6 == 5 {
                        report.layers(self.layers(host, image, done, 0));
                    }
                    self.take_ms(90).await;
                }
                for tenth in [3, 7, 10] {
                    report.progress("unpacking", *size_bytes, *size_bytes);
                    report.layers(self.layers(host, image, *size_bytes, size_bytes * tenth / 10));
                    self.take_ms(if tenth < 10 { 250 } else { 0 }).await;
                }
            }
            Change::Rescan { expect, .. } => {
                for n in 0..=expect.len() as u64 {
                    report.progress("reading", n, expect.len() as u64);
                    self.take_ms(150).await;
                }
            }
            Change::Service { .. } | Change::Unit { .. } => self.take_ms(1800).await,
            Change::Remove { .. } => self.take_ms(250).await,
            Change::Configure { proof, daemon, .. } => {
                let takes_up = daemon.as_ref().map(|daemon| if daemon.restarts() { "restarting" } else { "reloading" });
                for phase in ["writing"].into_iter().chain(takes_up).chain(proof.as_ref().filter(|_| forward).map(|_| "proving"))
                {
                    report.progress(phase, 0, 0);
                    self.take_ms(500).await;
                }
            }
            _ => self.take_ms(400).await,
        }
    }
}

/// Whatever is asked of a machine is answered: a file that is not there is not, a unit runs, and a mirror answers.
fn answer(host: &str, machine: &mut Machine, wants: &MachineWants) {
    for path in wants.paths(host) {
        machine.files.entry(path).or_default();
    }
    for unit in &wants.units {
        machine.units.entry(unit.clone()).or_insert(Some(Service::Running));
    }
    for want in &wants.reach {
        let digest = want.image.as_deref().map(Digest::of);
        machine.reach.entry(want.name()).or_insert(Reach::Ok { digest });
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
        if wants.parts.contains(&Part::Refusals) && self.pace == Pace::Lively {
            self.ask_in_vain();
        }
        let mut world = self.world();
        for (name, machine) in &mut world.machines {
            answer(name, machine, &wants.machines);
        }
        world
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
        self.spend(change, true, report).await;
        let mut world = self.lock();
        match world.standing(change) {
            Standing::Before | Standing::Midway => world.apply(change),
            Standing::After => {}
            Standing::Neither(found) => {
                return Err(Fault::new(FaultKind::Drift, format!("cannot {} `{}`", change.kind(), change.subject()), found));
            }
        }
        drop(world);
        if let Change::Configure { proof: Some(proof), .. } = change {
            report.told(&format!("{} was served by {}", proof.image.familiar(), proof.mirror));
        }
        Ok(())
    }

    async fn undo(&self, change: &Change, report: Report<'_>) -> Result<(), Fault> {
        self.spend(change, false, report).await;
        self.lock().undo(change);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_come_one_after_the_other_and_those_a_host_has_do_not_come_again() {
        let sim = Sim::new(demo(0), Pace::Instant);
        let image: ImageRef = "cr.backend.ai/stable/python-pytorch:1.6-py36-cuda10.1".parse().unwrap();
        let (host, size) = ("gpu-01", 3_400_000_000 + 60_000_000 - 28_000_000);
        let phases = |done, unpacked| sim.layers(host, &image, done, unpacked).into_iter().map(|l| l.phase).collect::<Vec<_>>();
        use LayerPhase::{Done, Pulled, Pulling, There, Unpacking, Waiting};
        assert_eq!(phases(0, 0), [There, Waiting, Waiting, Waiting, Waiting, Waiting]);
        assert_eq!(phases(size / 2, 0), [There, Pulled, Pulling, Waiting, Waiting, Waiting]);
        assert_eq!(phases(size, size / 2), [There, Done, Unpacking, Pulled, Pulled, Pulled]);
        assert_eq!(phases(size, size), [There, Done, Done, Done, Done, Done]);
        let came: u64 = sim.layers(host, &image, size / 2, 0).iter().map(|layer| layer.done).sum();
        assert_eq!(came, size / 2);
    }
}
