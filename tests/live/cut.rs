//! `kill -9` in every step, as a power cut would: what was begun is found again, and the end is the same.

use crate::{
    lab::{GATES, Lab, approvals, number, until},
    world::{AGENTS, World, same},
};
use serde_json::Value;
use std::{path::Path, time::Duration};

#[test]
fn kill_9_anywhere_then_resume_ends_the_same() {
    let lab = Lab::drained();
    let plan = lab.plan();
    let approvals = approvals(&plan, &GATES);
    let mut first = vec!["run", "backend-ai", "--headless"];
    let mut again = vec!["resume", "--headless"];
    for words in [&mut first, &mut again] {
        words.extend(approvals.iter().map(String::as_str));
    }

    // In the middle of a pull: the registry sends slowly enough that some bytes are there and some are not.
    lab.fault(r#"{"rate_bytes":4000000,"path":"/v2/stable/"}"#);
    let mut run = lab.watch(&first);
    let pull = number(&plan, "pull");
    run.until(|line| {
        let progress = &line["progress"];
        let moved = progress["done"].as_u64().unwrap_or(0);
        progress["change"].as_str().is_some_and(|change| change.starts_with(&pull)) && moved > 0 && progress["total"] != moved
    });
    run.kill();
    lab.no_fault();

    // Then in every step: once when a change has begun, once when one has just been done.
    for step in ["pull", "stop", "registry", "rescan", "aliases", "start", "domains", "metadata", "remove"] {
        for moment in ["started", "done"] {
            // What was begun before the last cut is not begun again, so only what comes first in a step is sure to be seen.
            if began(&lab, &plan, step, moment) {
                continue;
            }
            let mut run = lab.watch(&again);
            run.until_entry(moment, &number(&plan, step));
            run.kill();
        }
    }
    lab.castoff(&again).ends_with(0);

    let entries = lab.entries();
    let last = entries.last().unwrap();
    assert_eq!(last["outcome"], "done", "{last}");
    // No change was begun twice, and none that castoff did is called somebody else's.
    for kind in ["started", "done"] {
        let mut seen: Vec<&str> = of(&entries, kind);
        let n = seen.len();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), n, "an entry `{kind}` stands twice: {entries:#?}");
    }
    assert_eq!(of(&entries, "found"), Vec::<&str>::new());
    assert!(lab.asks("manager", &["status"]), "the manager runs");
    let cut = World::settled(&lab);
    let containers: Vec<_> =
        AGENTS.iter().flat_map(|agent| lab.containers(agent)).filter(|one| one.contains("running")).collect();
    assert_eq!(containers.len(), 4, "{containers:#?}");

    lab.reset();
    lab.drain();
    let plan = lab.plan();
    lab.run(&plan, &GATES).ends_with(0);
    same(&World::settled(&lab), &cut);
}

/// It runs on the manager's host, over ssh: what it would still write after a rollback, nobody would know of.
#[test]
fn a_rescan_ends_with_the_castoff_that_is_killed() {
    let lab = Lab::drained();
    let plan = lab.plan();
    let approvals = approvals(&plan, &GATES[..2]);
    let mut words = vec!["run", "backend-ai", "--headless"];
    words.extend(approvals.iter().map(String::as_str));
    let mut run = lab.watch(&words);
    run.until_entry("done", &number(&plan, "registry"));
    lab.fault(r#"{"delay_ms":20000,"path":"/api/"}"#);
    until("no rescan begins", Duration::from_mins(1), || rescans(&lab) > 0);
    run.kill();
    until("it goes on", Duration::from_mins(1), || rescans(&lab) == 0);
    lab.no_fault();
    let mut words = vec!["resume", "--headless"];
    words.extend(approvals.iter().map(String::as_str));
    lab.castoff(&words).ends_with(12).says(&["the gate of `metadata` needs an answer"]);
}

/// How many processes of the manager's command line read a registry.
fn rescans(lab: &Lab) -> usize {
    let folder = lab.folder.join("manager").canonicalize().unwrap();
    let rescans = |process: &Path| {
        let words = std::fs::read(process.join("cmdline")).unwrap_or_default();
        let rescans = words.split(|byte| *byte == 0).any(|word| word.starts_with(b"rescan"));
        rescans && process.join("cwd").canonicalize().is_ok_and(|cwd| cwd == folder)
    };
    std::fs::read_dir("/proc").unwrap().flatten().filter(|entry| rescans(&entry.path())).count()
}

/// Changes that an entry of this kind is about.
fn of<'a>(entries: &'a [Value], kind: &str) -> Vec<&'a str> {
    entries.iter().filter(|entry| entry["is"] == kind).filter_map(|entry| entry["change"].as_str()).collect()
}

/// Whether every change of a step has an entry of this kind already.
fn began(lab: &Lab, plan: &Value, step: &str, moment: &str) -> bool {
    let number = number(plan, step);
    let steps = plan["steps"].as_array().unwrap();
    let changes = steps.iter().find(|one| one["id"] == step).unwrap()["changes"].as_array().unwrap().len();
    let entries = lab.entries();
    of(&entries, moment).iter().filter(|change| change.starts_with(&number)).count() >= changes
}
