//! The way back, from every step that changes something shared: the cluster is as it was, byte for byte.

use crate::{
    lab::{GATES, Lab, approvals, number},
    world::{World, same},
};
use serde_json::Value;

/// The one name whose content only that agent had; the plan says that it has no way back.
const LOST: &str = "image gpu-3 lablup/python:3.8-ubuntu18.04 ";

/// One after the other on the same lab: that the next begins where the last began is part of the test.
#[test]
fn rollback_from_each_step_gives_back_the_start() {
    let lab = Lab::drained();
    let start = World::exact(&lab);
    let first = lab.plan();
    for step in ["registry", "rescan", "aliases", "domains", "metadata"] {
        let plan = lab.plan();
        assert_eq!(plan["plan"], first["plan"], "before `{step}` the cluster stands as at the start");
        run_into(&lab, &plan, step);
        assert_ne!(World::exact(&lab), start, "`{step}` was reached");
        roll_back(&lab, &plan);
        same(&start, &World::exact(&lab));
        assert!(lab.asks("manager", &["status"]), "after a rollback from `{step}` the manager runs");
    }
    lab.run(&first, &GATES).ends_with(0);
    roll_back(&lab, &first);
    let mut left = start.clone();
    left.0.retain(|fact| !fact.starts_with(LOST));
    same(&left, &World::exact(&lab));
    let changes = first["steps"].as_array().unwrap().iter().flat_map(|step| step["changes"].as_array().unwrap());
    let lost: Vec<&Value> = changes.filter(|change| change["reversible"] == false).collect();
    assert_eq!(lost.len(), 1, "{lost:#?}");
    assert_eq!((&lost[0]["subject"], &lost[0]["where"]), (&"lablup/python:3.8-ubuntu18.04".into(), &"gpu-3".into()));
    assert!(lab.asks("manager", &["status"]), "the manager runs");
}

/// SIGTERM as soon as a change of the step has begun: it is finished, and nothing long after it begins.
fn run_into(lab: &Lab, plan: &Value, step: &str) {
    // Without the last gate: what goes from the agents has its own turn.
    let approvals = approvals(plan, &GATES[..3]);
    let mut words = vec!["run", "backend-ai", "--headless"];
    words.extend(approvals.iter().map(String::as_str));
    let mut run = lab.watch(&words);
    run.until_entry("started", &number(plan, step));
    let code = run.terminate();
    assert!(matches!(code, Some(12 | 13)), "stopped in `{step}` or at the last gate, to be gone on with: {code:?}");
}

fn roll_back(lab: &Lab, plan: &Value) {
    let approval = &approvals(plan, &["rollback"])[0];
    lab.castoff(&["rollback", "--headless", approval]).ends_with(16).says(&["ROLLED BACK"]);
    let entries = lab.entries();
    assert!(!entries.iter().any(|entry| entry["is"] == "undo-failed"), "{entries:#?}");
}

#[test]
fn kill_9_in_a_rollback_then_resume_goes_on_back() {
    let lab = Lab::drained();
    let start = World::exact(&lab);
    let plan = lab.plan();
    lab.run(&plan, &["pull", "stop"]).ends_with(12);
    let approval = &approvals(&plan, &["rollback"])[0];
    let mut back = lab.watch(&["rollback", "--headless", approval]);
    back.until_entry("undo-started", &number(&plan, "rescan"));
    back.kill();
    let mut back = lab.watch(&["resume", "--headless"]);
    back.until_entry("undone", &number(&plan, "stop"));
    back.kill();
    lab.castoff(&["resume", "--headless"]).ends_with(16).says(&["ROLLED BACK"]);
    same(&start, &World::exact(&lab));
    assert!(lab.asks("manager", &["status"]), "the manager runs");
}

#[test]
fn a_rollback_to_a_step_leaves_the_steps_before_it() {
    let lab = Lab::drained();
    let plan = lab.plan();
    lab.run(&plan, &["pull", "stop"]).ends_with(12);
    let approval = &approvals(&plan, &["rollback"])[0];
    lab.castoff(&["rollback", "--to", "domains", "--headless", approval]).ends_with(16);
    let world = World::exact(&lab);
    assert!(!world.of("row domains ").iter().any(|row| row.contains("cr.backend.ai")), "domains are as they were");
    assert!(world.has("etcd /sorna/local/config/docker/registry/cr.backend.ai = "), "the registry stays");
    assert!(world.has("image gpu-2 cr.backend.ai/stable/node:14-ubuntu18.04 "), "pulled images stay");
}
