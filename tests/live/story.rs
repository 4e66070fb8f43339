//! One run of the whole runbook, with everything that was seen and said meanwhile: several tests look at it.

use crate::{
    lab::{GATES, Lab, Said, approvals},
    world::{AGENTS, World},
};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

/// A password that Backend.AI keeps for the old registry; the lab's own secrets begin like it.
pub const OLD_PASSWORD: &str = "marker-hub-4b1d0e77c9a2";

pub struct Story {
    pub before: World,
    pub containers: BTreeSet<String>,
    pub plan: Value,
    pub run: Said,
    /// The state folder as it was left, to be read by later tests.
    pub runs: tempfile::TempDir,
    /// Every command line that any process of this machine had meanwhile.
    pub command_lines: BTreeSet<String>,
    pub after: World,
    /// The same without what the manager makes up.
    pub settled: World,
    /// How often each key below `config/docker` was written.
    pub versions: Vec<String>,
}

impl Story {
    /// Approves everything ahead while people still work; the sessions end while the run waits for them.
    pub fn live_through(lab: &Lab) -> Self {
        lab.reset();
        let key = "/sorna/local/config/docker/registry/index.docker.io/password";
        lab.etcdctl(&["put", key, OLD_PASSWORD]);
        let containers = AGENTS.iter().flat_map(|agent| lab.containers(agent)).collect();
        let before = World::exact(lab);
        let plan = lab.plan();
        let over = AtomicBool::new(false);
        let (run, command_lines) = std::thread::scope(|scope| {
            let sampled = scope.spawn(|| sample(&over));
            let watched = scope.spawn(|| {
                let words = approvals(&plan, &GATES);
                let mut all = vec!["run", "backend-ai", "--headless"];
                all.extend(words.iter().map(String::as_str));
                lab.castoff(&all)
            });
            std::thread::sleep(Duration::from_secs(2));
            lab.drain();
            let run = watched.join();
            over.store(true, Ordering::Relaxed);
            (run.expect("the run"), sampled.join().expect("the samples"))
        });
        let runs = tempfile::tempdir().unwrap();
        std::fs::rename(lab.runs(), runs.path().join("state")).unwrap();
        Self {
            before,
            containers,
            plan,
            run,
            runs,
            command_lines,
            after: World::exact(lab),
            settled: World::settled(lab),
            versions: lab.versions(),
        }
    }

    pub fn reported(&self, lab: &Lab, format: &str) -> String {
        let state = self.runs.path().join("state");
        lab.castoff(&["report", "--state", &state.display().to_string(), "--format", format]).ends_with(0).out
    }
}

/// The command lines of all processes, again and again until it is over.
fn sample(over: &AtomicBool) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    while !over.load(Ordering::Relaxed) {
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        for line in processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok()) {
            seen.insert(String::from_utf8_lossy(&line).replace('\0', " "));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    seen
}
