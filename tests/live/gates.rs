//! Gates without a terminal: nobody passes one who was not asked, and a run that waits can be gone on with.

use crate::{
    lab::{GATES, Lab, approvals},
    world::{World, same},
};

#[test]
fn a_gate_without_approval_stops_and_can_be_resumed() {
    let lab = Lab::drained();
    let start = World::exact(&lab);
    let plan = lab.plan();
    let id = plan["plan"].as_str().unwrap();
    // Nothing at all is approved: nothing at all is done.
    let said = lab.run(&plan, &[]);
    said.ends_with(12).says(&["the gate of `pull` needs an answer", &format!("--approve pull={id}")]);
    same(&start, &World::exact(&lab));
    // One gate at a time; each stops before the next.
    lab.resume(&plan, &["pull"]).ends_with(12).says(&["the gate of `stop` needs an answer"]);
    let pulled = World::exact(&lab);
    assert_eq!(start.of("etcd "), pulled.of("etcd "));
    assert_eq!(start.of("row "), pulled.of("row "));
    assert!(pulled.has("image gpu-2 cr.backend.ai/stable/node:14-ubuntu18.04 "));
    lab.castoff(&["status"]).ends_with(0).says(&["paused", "#   3  Stop managers", "nobody runs it now"]);
    // An answer for a gate further on opens no gate before it.
    let said = lab.resume(&plan, &["metadata", "remove"]).ends_with(12).says(&["the gate of `stop` needs an answer"]);
    same(&pulled, &World::exact(&lab));
    assert!(lab.asks("manager", &["status"]), "the manager was not stopped");
    // The manager runs because nobody stopped it: that is not taken for the start that is to come.
    assert!(!said.err.contains("more than the journal"), "{}", said.err);
}

#[test]
fn a_stale_approval_is_refused() {
    let lab = Lab::begin();
    let start = World::exact(&lab);
    let plan = lab.plan();
    let id = plan["plan"].as_str().unwrap();
    let said = lab.castoff(&["run", "backend-ai", "--headless", "--approve", "pull=00000000"]);
    said.ends_with(12).says(&["`--approve pull=00000000` is stale", id]);
    // What was read and approved is no longer what would be done.
    lab.sql("UPDATE domains SET allowed_docker_registries = '{index.docker.io}' WHERE name = 'kept'");
    lab.run(&plan, &["pull"]).ends_with(12).says(&["is stale: the plan is now"]);
    lab.castoff(&["run", "backend-ai", "--headless", "--approve", "nowhere=00000000"]).ends_with(2).says(&["no step `nowhere`"]);
    lab.sql("UPDATE domains SET allowed_docker_registries = '{registry.example.com:5000}' WHERE name = 'kept'");
    same(&start, &World::exact(&lab));
    assert_eq!(lab.castoff(&["runs"]).ends_with(0).out, "", "no run was begun");
}

#[test]
fn the_drain_gate_waits_names_who_uses_what_and_opens_when_they_end() {
    let lab = Lab::begin();
    let plan = lab.plan();
    let approvals = approvals(&plan, &GATES);
    let mut words = vec!["run", "backend-ai", "--headless", "--wait", "3"];
    words.extend(approvals.iter().map(String::as_str));
    let said = lab.castoff(&words).ends_with(12);
    let said = said.says(&["the gate of `metadata` does not open", "session train-mnist", "session notebook-lee"]);
    let owner =
        lab.sql("SELECT u.email FROM kernels k JOIN users u ON u.uuid = k.user_uuid WHERE k.session_name = 'train-mnist'");
    said.says(&[&format!("session train-mnist of {owner} on "), "uses index.docker.io/lablup/python:3.6-ubuntu18.04"]);
    let world = World::exact(&lab);
    assert!(world.has("etcd /sorna/local/config/docker/registry/index.docker.io = "), "nothing old is deleted yet");
    assert!(world.has("image gpu-1 lablup/python:3.6-ubuntu18.04 "), "nothing old is removed yet");
    for (agent, container) in [("gpu-1", " running"), ("gpu-1", " paused"), ("gpu-2", " running")] {
        let state = lab.containers(agent);
        assert!(state.iter().any(|one| one.contains("kernel") && one.ends_with(container)), "sessions go on: {state:#?}");
    }
    lab.drain();
    lab.resume(&plan, &GATES).ends_with(0);
    assert!(!World::exact(&lab).has("image gpu-1 lablup/"));
}

#[test]
fn two_castoffs_on_one_run_are_one_too_many() {
    let lab = Lab::begin();
    let plan = lab.plan();
    lab.fault(r#"{"rate_bytes":2000000,"path":"/v2/"}"#);
    let approvals = approvals(&plan, &["pull"]);
    let mut first = lab.watch(&["run", "backend-ai", "--headless", &approvals[0]]);
    first.until(|line| line["entry"]["is"] == "started");
    let process = format!("process {}", first.child.id());
    let said = lab.resume(&plan, &["pull"]);
    said.ends_with(19).says(&["is held by", &process]);
    lab.castoff(&["status"]).ends_with(0).says(&["held by", &process]);
    let approval = &crate::lab::approvals(&plan, &["rollback"])[0];
    lab.castoff(&["rollback", "--headless", approval]).ends_with(19).says(&[&process]);
    lab.no_fault();
    // The first one is not disturbed: it goes on to the next gate.
    first.until(|line| line["entry"]["is"] == "gate-reached" && line["entry"]["step"] == 2);
    assert_eq!(first.child.wait().unwrap().code(), Some(12));
}
