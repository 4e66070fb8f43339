//! `kill -9` where nobody chose the moment: of castoff all along a run, and of the servers in the middle of what they do.
//! Afterwards the lab is as after a run that nobody disturbed, and nothing was done twice.

use crate::{
    lab::{GATES, Lab, Watched, approvals, number},
    soak::{self, Random},
    story::Story,
    world::{World, same},
};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
    time::{Duration, Instant},
};

/// A run with all its gates answered, as often begun as it takes.
struct Runs<'a> {
    lab: &'a Lab,
    first: Vec<String>,
    again: Vec<String>,
    begun: bool,
    /// How often it stopped at a failure and was told to try again.
    retried: usize,
}

impl<'a> Runs<'a> {
    fn new(lab: &'a Lab, plan: &Value) -> Self {
        let with = |words: &[&str]| -> Vec<String> {
            words.iter().map(|word| (*word).to_owned()).chain(approvals(plan, &GATES)).collect()
        };
        let (first, again) = (with(&["run", "backend-ai", "--headless"]), with(&["resume", "--headless"]));
        Self { lab, first, again, begun: false, retried: 0 }
    }

    fn start(&mut self) -> Watched {
        // A run that was killed before its first entry is none.
        self.begun = self.begun || self.lab.runs().join("runs").read_dir().is_ok_and(|mut runs| runs.next().is_some());
        let mut words: Vec<&str> = if self.begun { &self.again } else { &self.first }.iter().map(String::as_str).collect();
        if self.retried > 0 {
            words.push("--retry");
        }
        self.lab.watch(&words)
    }

    /// To the end: what stopped at a failure is tried again, as an operator would.
    fn end(&mut self) {
        for _ in 0..4 {
            let mut words: Vec<&str> = self.again.iter().map(String::as_str).collect();
            words.push("--retry");
            let said = self.lab.castoff(&words);
            if said.code == Some(0) {
                return;
            }
            assert_eq!(said.code, Some(14), "{}\n{}", said.out, said.err);
            self.retried += 1;
        }
        panic!("it stops at a failure again and again");
    }
}

/// What the journal and the servers tell after a run that was disturbed.
fn as_undisturbed(lab: &Lab, story: &Story) {
    let entries = lab.entries();
    let last = entries.last().unwrap();
    assert_eq!(last["outcome"], "done", "{last}");
    let mut done: BTreeMap<&str, usize> = BTreeMap::new();
    let mut begun: BTreeSet<&str> = BTreeSet::new();
    for entry in &entries {
        let change = entry["change"].as_str().unwrap_or_default();
        match entry["is"].as_str().unwrap() {
            "started" => assert!(begun.insert(change), "{change} was begun twice: {entries:#?}"),
            // Begun again, and only because it was told that it failed.
            "retried" | "failed" => {
                begun.remove(change);
            }
            "done" => *done.entry(change).or_default() += 1,
            "found" => panic!("{change} was ours, and is called somebody else's: {entries:#?}"),
            _ => {}
        }
    }
    assert!(done.values().all(|n| *n == 1), "{done:#?}");
    let plan = entries.iter().find(|entry| entry["is"] == "planned").unwrap();
    let steps = plan["plan"]["steps"].as_array().unwrap();
    let changes: usize = steps.iter().map(|step| step["changes"].as_array().unwrap().len()).sum();
    assert_eq!(done.len(), changes, "every change is done");
    assert!(lab.asks("manager", &["status"]), "the manager runs");
    same(&story.settled, &World::settled(lab));
    assert_eq!(story.versions, lab.versions(), "no key of a registry was written twice");
}

#[test]
#[ignore = "soak"]
fn kill_9_of_castoff_at_random_moments_and_every_run_ends_the_same() {
    let (wanted, mut random, from) = (soak::kills(100), Random::seeded(), Instant::now());
    let (mut kills, mut whole, mut retried) = (0, 0, 0);
    let mut steps: BTreeMap<String, usize> = BTreeMap::new();
    while kills < wanted {
        let (lab, story) = Lab::moved();
        let lab = lab.begin_again();
        lab.drain();
        let plan = lab.plan();
        let mut runs = Runs::new(&lab, &plan);
        loop {
            let mut castoff = runs.start();
            // One in five anywhere from its start on, the others once it has taken the run up: else most would strike early.
            let limit_ms = if random.below(5) == 0 {
                2500
            } else {
                castoff.until(|line| ["planned", "continued"].iter().any(|is| line["entry"]["is"] == *is));
                1500
            };
            let end = Instant::now() + Duration::from_millis(random.below(limit_ms));
            while Instant::now() < end && castoff.child.try_wait().unwrap().is_none() {
                std::thread::sleep(Duration::from_millis(2));
            }
            if let Some(status) = castoff.child.try_wait().unwrap() {
                if status.code() == Some(0) {
                    break;
                }
                assert_eq!(status.code(), Some(14), "{}", castoff.words());
                runs.end();
                break;
            }
            castoff.kill();
            kills += 1;
            if kills == wanted {
                runs.begun = true;
                runs.end();
                break;
            }
        }
        retried += runs.retried;
        whole += 1;
        as_undisturbed(&lab, &story);
        let entries = lab.entries();
        // Each `continued` follows a kill; what was written last before it is where it struck.
        let mut last = String::new();
        for entry in &entries {
            let is = entry["is"].as_str().unwrap();
            if is == "continued" {
                *steps.entry(last.clone()).or_default() += 1;
            }
            last = match entry["change"].as_str() {
                Some(change) => format!("step {}, {is}", change.split('.').next().unwrap()),
                None => is.to_owned(),
            };
        }
        println!("{kills} kills, {whole} runs, {:.0} s", from.elapsed().as_secs_f64());
    }
    println!(
        "{kills} kills of castoff in {whole} runs, {retried} times told to try again, {:.0} s; where: {steps:?}",
        from.elapsed().as_secs_f64()
    );
}

/// `kill -9` of a part of the lab; its children, too, where it has some of its own.
fn kill_part(lab: &Lab, part: &str) {
    let record = std::fs::read_to_string(lab.folder.join("run").join(part)).unwrap();
    let pid = record.split_whitespace().next().unwrap().to_owned();
    assert!(Command::new("kill").args(["-KILL", &pid]).status().unwrap().success());
}

#[test]
#[ignore = "soak"]
fn kill_9_of_each_server_in_the_middle_and_the_run_ends_the_same() {
    let (lab, story) = Lab::moved();
    let lab = lab.begin_again();
    lab.drain();
    let plan = lab.plan();
    let mut runs = Runs::new(&lab, &plan);
    let (from, mut went_on) = (Instant::now(), vec![]);
    let mut castoff = runs.start();
    runs.begun = true;
    // In the middle of pulls, whose bytes come slowly; then in the middle of a write.
    let pull = number(&plan, "pull");
    for (part, step) in
        [("cr", "pull"), ("gpu-2", "pull"), ("etcd", "registry"), ("postgres", "aliases"), ("postgres", "domains")]
    {
        let steps = number(&plan, step);
        if steps == pull {
            lab.fault(r#"{"rate_bytes":3000000,"path":"/v2/stable/"}"#);
        }
        castoff.until(|line| {
            let (progress, entry) = (&line["progress"], &line["entry"]);
            let moved = progress["done"].as_u64().unwrap_or(0);
            let of = |one: &Value| one["change"].as_str().is_some_and(|change| change.starts_with(&steps));
            if steps == pull {
                of(progress) && moved > 0 && progress["total"] != moved
            } else {
                of(entry) && entry["is"] == "started"
            }
        });
        kill_part(&lab, part);
        std::thread::sleep(Duration::from_secs(1));
        assert!(lab.asks("revive", &[]), "{part} does not come back");
        lab.no_fault();
        // It goes on by itself, or has stopped at a failure and says so.
        let code = castoff.ends_within(Duration::from_secs(1));
        let how = code.map_or_else(|| "went on".to_owned(), |code| format!("ended with {code}"));
        went_on.push(format!("{part} in `{step}`: {how}"));
        if code == Some(14) {
            runs.retried += 1;
            castoff = runs.start();
        }
    }
    if castoff.ended() != Some(0) {
        runs.end();
    }
    println!(
        "5 kills of servers in {:.0} s, {} times told to try again: {went_on:?}",
        from.elapsed().as_secs_f64(),
        runs.retried
    );
    as_undisturbed(&lab, &story);
}
