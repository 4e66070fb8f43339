//! The whole runbook on a real cluster: what it changes, what it writes, and that once is enough.

use crate::{
    lab::{GATES, Lab, approvals},
    world::{World, same},
};
use serde_json::Value;
use std::collections::BTreeSet;

/// Names that stay although they are old, and why.
const KEPT: [(&str, &str, &str); 2] = [
    ("gpu-2", "lablup/custom-lab:1.0", "no counterpart"),
    ("gpu-3", "lablup/python:3.6-ubuntu18.04", "container jupyter-of-kim uses it"),
];

#[test]
fn the_whole_runbook_moves_a_real_cluster() {
    let (lab, story) = Lab::moved();
    // Done in every step; nothing was skipped.
    story.run.is(0);
    metadata_is_moved(&story.after);
    domains_are_as_planned(&lab);
    agents_are_moved(&story.before, &story.after, &story.plan);

    let containers: BTreeSet<String> = crate::world::AGENTS.iter().flat_map(|agent| lab.containers(agent)).collect();
    let bystanders = |of: &BTreeSet<String>| -> BTreeSet<String> {
        of.iter().filter(|one| one.contains(" exporter ") || one.contains(" jupyter-of-kim ")).cloned().collect()
    };
    assert_eq!(bystanders(&containers).len(), 4);
    assert_eq!(bystanders(&containers), bystanders(&story.containers), "same containers, same ids, still running");

    assert!(lab.asks("manager", &["status"]), "the manager runs again");
    let known = lab.manager(&["image", "list"]);
    let old: Vec<&str> = known.lines().filter(|line| line.contains("docker.io/")).collect();
    assert!(old.is_empty(), "{known}");
    assert!(known.contains("index.docker.io.mirror.corp/lablup/python:3.6-ubuntu18.04"), "{known}");
    for image in ["stable/python:3.6-ubuntu18.04", "stable/node:14-ubuntu18.04", "community/julia:1.6-ubuntu18.04"] {
        assert!(known.contains(&format!("cr.backend.ai/{image}")), "{known}");
    }
    let resolved = lab.manager(&["image", "inspect", "tf", "x86_64"]);
    assert!(resolved.contains("'canonical_ref': 'cr.backend.ai/stable/python-tensorflow:2.3-py36-cuda10.1'"), "{resolved}");
}

fn metadata_is_moved(after: &World) {
    for line in after.of("etcd ").into_iter().chain(after.of("row images ")).chain(after.of("row image_aliases ")) {
        let others = line.replace("index.docker.io.mirror.corp", "");
        assert!(!others.contains("index.docker.io"), "{line}");
    }
    assert!(after.has("etcd /sorna/local/config/docker/registry/index.docker.io.mirror.corp = "));
    assert!(after.has("etcd /sorna/local/config/docker/registry/index.docker.io.mirror.corp/username = lablup"));
    assert!(after.has(r#""name":"index.docker.io.mirror.corp/lablup/python:3.6-ubuntu18.04""#));
}

fn domains_are_as_planned(lab: &Lab) {
    let rows = lab.sql("SELECT name, array_to_json(allowed_docker_registries) FROM domains ORDER BY name");
    let expected = [
        r#"default|["cr.backend.ai"]"#,
        r#"kept|["registry.example.com:5000"]"#,
        r#"mirrored|["index.docker.io.mirror.corp","cr.backend.ai"]"#,
        r#"research|["cr.backend.ai","registry.example.com:5000"]"#,
    ];
    assert_eq!(rows.lines().collect::<Vec<_>>(), expected);
    let aliases = lab.sql("SELECT alias, name FROM image_aliases a JOIN images i ON i.id = a.image ORDER BY alias");
    let expected = [
        "python|cr.backend.ai/stable/python:3.6-ubuntu18.04",
        "python:3.6|cr.backend.ai/stable/python:3.6-ubuntu18.04",
        "tf|cr.backend.ai/stable/python-tensorflow:2.3-py36-cuda10.1",
    ];
    assert_eq!(aliases.lines().collect::<Vec<_>>(), expected);
}

fn agents_are_moved(before: &World, after: &World, plan: &Value) {
    let left: BTreeSet<&str> = after.of("image ").into_iter().filter(|line| line.contains(" lablup/")).collect();
    assert_eq!(left.len(), KEPT.len(), "{left:#?}");
    let steps = plan["steps"].as_array().unwrap();
    let kept: Vec<&Value> = steps.iter().flat_map(|step| step["kept"].as_array().unwrap()).collect();
    for (agent, image, why) in KEPT {
        assert!(left.iter().any(|line| line.starts_with(&format!("image {agent} {image} "))), "{left:#?}");
        let told = |one: &&Value| one["subject"] == image && one["where"] == agent && one["why"].as_str().unwrap().contains(why);
        assert!(kept.iter().any(told), "{kept:#?}");
    }
    // Every old name has its new one beside it, or is one of the kept.
    for line in before.of("image ").into_iter().filter(|line| line.contains(" lablup/") && !line.contains("/custom-lab:")) {
        let (agent, image) = line.strip_prefix("image ").unwrap().split_once(" lablup/").unwrap();
        let name = image.split(' ').next().unwrap();
        let there =
            ["stable", "community"].iter().any(|project| after.has(&format!("image {agent} cr.backend.ai/{project}/{name} ")));
        assert!(there, "{agent} has no {name} of cr.backend.ai");
    }
    assert!(after.has("image gpu-1 registry.example.com/tools/exporter:1 "));
}

#[test]
fn what_is_written_to_etcd_equals_put_json() {
    let (lab, story) = Lab::moved();
    let ours: BTreeSet<String> =
        story.after.of("etcd /sorna/local/config/docker/registry/cr.backend.ai").into_iter().map(str::to_owned).collect();
    let lab = lab.begin_again();
    let url = format!("http://127.0.0.1:{}", lab.port(7));
    let registry = serde_json::json!({ "": url, "type": "harbor2", "project": "stable,community" });
    let text = serde_json::json!({ "config": { "docker": { "registry": { "cr.backend.ai": registry } } } }).to_string();
    lab.manager(&["etcd", "put-json", "", &lab.write("registry.json", &text)]);
    let theirs = lab.keys("config/docker/registry/cr.backend.ai");
    assert_eq!(theirs.len(), 3);
    assert_eq!(ours, theirs);
}

#[test]
fn a_second_run_finds_everything_and_changes_nothing() {
    let (lab, story) = Lab::moved();
    let revisions = || [lab.revisions("config/"), lab.revisions("images/")].concat();
    let before = revisions();
    let plan: Value = serde_json::from_str(&lab.castoff(&["plan", "backend-ai", "--format", "json"]).ends_with(0).out).unwrap();
    assert_eq!(plan["totals"]["changes"], 0);
    // Approvals of the first plan would be stale, and none is needed: no gate asks.
    let said = lab.castoff(&["run", "backend-ai", "--headless"]);
    said.ends_with(0);
    let entries = lab.entries();
    assert!(entries.iter().any(|entry| entry["is"] == "found"));
    assert!(!entries.iter().any(|entry| entry["is"] == "started"), "{entries:#?}");
    assert_eq!(revisions(), before);
    same(&story.after, &World::exact(&lab));
    let stale = approvals(&story.plan, &GATES);
    lab.castoff(&["run", "backend-ai", "--headless", &stale[0]]).ends_with(12);
}
