//! A brown-out on the real cluster: a user is refused by the real manager, and what was taken is given back, also when
//! castoff has been killed.

use crate::lab::{Lab, approvals, until};
use serde_json::Value;
use std::time::Duration;

const OLD: &str = "index.docker.io/lablup/python:3.6-ubuntu18.04";
const SHORT: &str = r#"begin.for="6s""#;
/// Long enough that a user comes while it is dark, also where the machine is slow.
const LONG: &str = r#"begin.for="25s""#;

fn plan(lab: &Lab, lasts: &str) -> Value {
    let said = lab.castoff(&["plan", "brown-out", "--set", lasts, "--format", "json"]).ends_with(10);
    serde_json::from_str(&said.out).unwrap()
}

fn domains(lab: &Lab) -> String {
    lab.sql("SELECT name, allowed_docker_registries FROM domains ORDER BY 1")
}

#[test]
fn who_is_refused_in_a_brown_out_is_told_and_every_domain_has_again_what_it_had() {
    let lab = Lab::begin();
    let before = domains(&lab);
    let approvals = approvals(&plan(&lab, LONG), &["begin"]);
    let mut run = lab.watch(&["run", "brown-out", "--set", LONG, "--headless", &approvals[0]]);
    run.until_entry("done", "1.");
    assert!(!domains(&lab).contains("index.docker.io,") && !domains(&lab).contains("{index.docker.io}"), "{}", domains(&lab));
    assert!(lab.asks("request", &["kims-notebook", OLD]), "the manager was asked");
    run.until(|line| line["entry"]["outcome"] == "done");
    assert_eq!(domains(&lab), before);
    let seen: Vec<Value> = lab.entries().into_iter().filter(|entry| entry["is"] == "seen").collect();
    let [one] = seen.as_slice() else { panic!("{seen:#?}") };
    assert_eq!(one["problem"]["subject"], "session kims-notebook");
    assert_eq!(one["problem"]["owner"], "admin@lab.local");
    assert!(lab.castoff(&["report"]).out.contains(&format!("kims-notebook of admin@lab.local was refused: {OLD}")));
}

#[test]
fn a_brown_out_ends_by_itself_when_castoff_is_killed() {
    let lab = Lab::begin();
    let before = domains(&lab);
    let approvals = approvals(&plan(&lab, SHORT), &["begin"]);
    let mut run = lab.watch(&["run", "brown-out", "--set", SHORT, "--headless", &approvals[0]]);
    run.until_entry("done", "1.");
    run.kill();
    assert_ne!(domains(&lab), before);
    until("nobody gives it back", Duration::from_secs(40), || domains(&lab) == before);
    let said = lab.castoff(&["resume", "--headless"]).ends_with(0);
    assert!(said.out.contains("found     2.1"), "{}", said.out);
    assert_eq!(domains(&lab), before);
    // A second one, rolled back while it is dark.
    let mut run = lab.watch(&["run", "brown-out", "--set", SHORT, "--headless", &approvals[0]]);
    run.until_entry("done", "1.");
    run.kill();
    assert_ne!(domains(&lab), before);
    lab.castoff(&["rollback", "--headless", &approvals[0].replace("begin=", "rollback=")]).ends_with(16);
    assert_eq!(domains(&lab), before);
}
