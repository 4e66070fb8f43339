//! Saved plans and a cluster that moves on meanwhile: what was approved is what runs, or nothing does.

use crate::{
    lab::{Lab, approvals},
    world::{World, same},
};
use serde_json::Value;

#[test]
fn a_saved_plan_runs_exactly_as_saved_and_not_when_it_is_stale() {
    let lab = Lab::drained();
    let start = World::exact(&lab);
    let path = lab.scratch.path().join("plan.json").display().to_string();
    lab.castoff(&["plan", "backend-ai", "--set", "limits.total=7", "--out", &path]).ends_with(10);
    let saved: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    let pull = &approvals(&saved, &["pull"])[0];

    // Somebody writes the row that the plan would change.
    let domain = "WHERE name = 'research'";
    lab.sql(&format!("UPDATE domains SET allowed_docker_registries = '{{elsewhere.example.com}}' {domain}"));
    let said = lab.castoff(&["run", &path, "--headless", pull]).ends_with(12);
    said.says(&["is stale: 1 difference", "change 8.1 (rows", "research", "plan again"]);
    assert_eq!(lab.castoff(&["runs"]).ends_with(0).out, "", "no run was begun");
    lab.sql(&format!("UPDATE domains SET allowed_docker_registries = '{{index.docker.io,registry.example.com:5000}}' {domain}"));
    same(&start, &World::exact(&lab));

    // Something else changes: not what the plan is about, so it fits still.
    lab.sql("UPDATE domains SET description = 'moved' WHERE name = 'default'");
    lab.castoff(&["run", &path, "--headless", pull]).ends_with(12).says(&["the gate of `stop` needs an answer"]);
    let entries = lab.entries();
    assert_eq!(entries[0]["is"], "planned");
    assert_eq!(entries[0]["plan"], saved, "the plan of the run is the plan of the file");
    lab.castoff(&["run", &path, "--set", "limits.total=1"]).ends_with(2).says(&["runs exactly as saved"]);
}

#[test]
fn a_row_changed_between_plan_and_turn_is_drift() {
    let lab = Lab::drained();
    let plan = lab.plan();
    lab.run(&plan, &["pull"]).ends_with(12);
    lab.sql("UPDATE domains SET allowed_docker_registries = '{elsewhere.example.com}' WHERE name = 'research'");
    let said = lab.resume(&plan, &["stop"]).ends_with(18);
    said.says(&["cannot write", "domains", "research", "elsewhere.example.com", "hint: somebody or something else changed it"]);
    let rows = lab.sql("SELECT name, array_to_json(allowed_docker_registries) FROM domains ORDER BY name");
    assert!(rows.contains(r#"research|["elsewhere.example.com"]"#), "what somebody wrote stays: {rows}");
    assert!(rows.contains(r#"default|["index.docker.io"]"#), "one transaction: no row of the change is written: {rows}");
    // Put right by hand, then tried again.
    lab.sql(
        "UPDATE domains SET allowed_docker_registries = '{index.docker.io,registry.example.com:5000}' WHERE name = 'research'",
    );
    let stop = &approvals(&plan, &["stop"])[0];
    lab.castoff(&["resume", "--headless", "--retry", stop]).ends_with(12).says(&["the gate of `metadata` needs an answer"]);
    assert!(lab.sql("SELECT allowed_docker_registries FROM domains WHERE name = 'research'").contains("cr.backend.ai"));
}
