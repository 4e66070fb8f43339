//! Wrong input and a cluster that does not answer: the exit code, the place, the cause, a hint, and nothing done.

use crate::{
    lab::Lab,
    world::{World, same},
};
use serde_json::Value;
use std::{
    io::{Read, Write},
    net::TcpListener,
};

/// A wrong line in place of a right one, and what castoff has to say about it.
struct Wrong {
    line: &'static str,
    instead: &'static str,
    code: i32,
    says: &'static [&'static str],
}

const CLUSTER_FILE: &[Wrong] = &[
    Wrong {
        line: "namespace = \"local\"",
        instead: "namespce = \"local\"",
        code: 2,
        says: &["error: unknown field `namespce`", "wrong.toml:6:1", "6 | namespce = \"local\"", "did you mean `namespace`?"],
    },
    Wrong {
        line: "endpoints = [\"http://127.0.0.1:{etcd}\"]",
        instead: "endpoints = 2379",
        code: 2,
        says: &["error: invalid type: integer `2379`, expected a sequence", "wrong.toml:5:13", "5 | endpoints = 2379"],
    },
    // Nobody listens on the port `discard`.
    Wrong {
        line: "http://127.0.0.1:{etcd}",
        instead: "http://127.0.0.1:9",
        code: 11,
        says: &["error: etcd http://127.0.0.1:9: ", "Connection refused"],
    },
    Wrong {
        line: "{folder}/secrets/pg\"",
        instead: "{scratch}/wrong-password\"",
        code: 11,
        says: &[
            "error: postgres 127.0.0.1:",
            "password authentication failed for user \"backend\"",
            "hint: check the user in `url`",
        ],
    },
    Wrong {
        line: "{folder}/secrets/pg\"",
        instead: "{scratch}/nowhere\"",
        code: 11,
        says: &["cannot read the secret from the file", "/nowhere`: No such file or directory"],
    },
    Wrong {
        line: "/gpu-2/docker.sock",
        instead: "/gpu-2/gone.sock",
        code: 11,
        says: &["error: agent gpu-2: there is no socket", "gpu-2/gone.sock", "hint: is the Docker Engine running there?"],
    },
    // Backend.AI before 20.03.6 dies of a registry of type `harbor2`.
    Wrong {
        line: "api = \"http://127.0.0.1:{api}\"",
        instead: "api = \"http://127.0.0.1:{old}\"",
        code: 11,
        says: &["version 20.03.5 cannot read Harbor v2 registries", "hint: update the manager to 20."],
    },
];

const RUNBOOK: &[Wrong] = &[
    Wrong {
        line: "per-host = 3",
        instead: "per-hosts = 3",
        code: 2,
        says: &[
            "error: unknown field `per-hosts`",
            "wrong-runbook.toml:{line}:1",
            "{line} | per-hosts = 3",
            "hint: did you mean `per-host`?",
        ],
    },
    Wrong {
        line: "action = \"pull-images\"",
        instead: "action = \"pull-image\"",
        code: 2,
        says: &["error: unknown action `pull-image`", "wrong-runbook.toml:{line}:11", "hint: did you mean `pull-images`?"],
    },
    Wrong {
        line: "action = \"pull-images\"",
        instead: "action = \"pull-images\"\nalso = 3",
        code: 2,
        says: &[
            "error: `also` of action `pull-images`: invalid type: integer `3`",
            "wrong-runbook.toml:{next}:1",
            "{next} | also = 3",
        ],
    },
    Wrong {
        line: "type = \"harbor2\"",
        instead: "types = \"harbor2\"",
        code: 2,
        says: &["unknown field `types`", "{line} | types = \"harbor2\"", "hint: did you mean `type`?"],
    },
    Wrong {
        line: "id = \"stop\"",
        instead: "id = \"pull\"",
        code: 2,
        says: &["two steps have the id `pull`", "wrong-runbook.toml:{line}:7"],
    },
];

#[test]
fn wrong_input_is_told_with_its_place_and_cause_and_nothing_is_done() {
    let lab = Lab::begin();
    let start = World::exact(&lab);
    lab.write("wrong-password", "not-the-password\n");
    let old = old_manager().to_string();
    let folder = lab.folder.display().to_string();
    let scratch = lab.scratch.path().display().to_string();
    let fill = |text: &str| {
        let (etcd, api) = (lab.port(1).to_string(), lab.port(9).to_string());
        let names = [("{etcd}", &etcd), ("{api}", &api), ("{old}", &old), ("{folder}", &folder), ("{scratch}", &scratch)];
        names.into_iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
    };
    for case in CLUSTER_FILE {
        let file = lab.cluster_file();
        let (right, wrong) = (fill(case.line), fill(case.instead));
        assert!(file.contains(&right), "the cluster file has no `{right}`");
        let path = lab.write("wrong.toml", &file.replacen(&right, &wrong, 1));
        let said = lab.castoff(&["run", "backend-ai", "--headless", "--cluster", &path]).ends_with(case.code).says(case.says);
        assert!(!format!("{}{}", said.out, said.err).contains("not-the-password"), "{}", said.err);
    }
    let shipped = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/runbooks/backend-ai.toml")).unwrap();
    for case in RUNBOOK {
        assert!(shipped.contains(case.line), "the runbook has no `{}`", case.line);
        let path = lab.write("wrong-runbook.toml", &shipped.replacen(case.line, case.instead, 1));
        let line = 1 + shipped[..shipped.find(case.line).unwrap()].matches('\n').count();
        let placed = |words: &&str| words.replace("{line}", &line.to_string()).replace("{next}", &(line + 1).to_string());
        let says: Vec<String> = case.says.iter().map(placed).collect();
        let says: Vec<&str> = says.iter().map(String::as_str).collect();
        lab.castoff(&["run", &path, "--headless"]).ends_with(case.code).says(&says);
    }
    let options: &[(&[&str], i32, &[&str])] = &[
        (&["run", "nowhere", "--headless"], 2, &["there is no runbook `nowhere`", "hint: shipped runbooks: backend-ai"]),
        (&["run", "backend-ai", "--set", "pul.also=[]"], 2, &["there is no step `pul`"]),
        (&["run", "backend-ai", "--headless", "--approve", "pull"], 2, &["STEP=PLAN_ID is needed"]),
        (&["resume", "20261121"], 2, &["there is no run `20261121`"]),
        (&["plan", "backend-ai", "--cluster", "/nowhere.toml"], 2, &["cannot read the cluster file `/nowhere.toml`"]),
        // A reserve of a million gigabytes is on no disk.
        (
            &["run", "backend-ai", "--headless", "--set", "pull.reserve-bytes=1000000000000000"],
            11,
            &["error: agent gpu-1: ", " free, 1.0 PB needed", "hint: free space where the engine keeps its data"],
        ),
    ];
    for (words, code, says) in options {
        lab.castoff(words).ends_with(*code).says(says);
    }
    assert_eq!(lab.castoff(&["runs"]).ends_with(0).out, "", "no run was begun");
    same(&start, &World::exact(&lab));
}

#[test]
fn an_image_without_counterpart_is_told_and_kept() {
    let lab = Lab::begin();
    let overrides = r#"move.overrides={"lablup/node:14-ubuntu18.04"="cr.backend.ai/stable/node:99"}"#;
    let said = lab.castoff(&["plan", "backend-ai", "--set", overrides, "--format", "json"]).ends_with(10);
    let plan: Value = serde_json::from_str(&said.out).unwrap();
    let list = |name: &str| plan[name].as_array().unwrap().clone();
    let note = list("notes").into_iter().find(|note| note["subject"] == "image lablup/node:14-ubuntu18.04");
    let note = note.expect("a note about the image");
    assert!(note["why"].as_str().unwrap().starts_with("has no counterpart in cr.backend.ai; it is in gpu-2"), "{note}");
    let steps = list("steps");
    let remove = steps.last().unwrap();
    let about = |of: &Value| of.as_array().unwrap().iter().filter(|one| one["subject"] == "lablup/node:14-ubuntu18.04").count();
    assert_eq!((about(&remove["kept"]), about(&remove["changes"])), (1, 0), "kept, not removed");
    assert_eq!(list("blockers"), Vec::<Value>::new(), "it does not stop the move");
}

#[test]
fn an_engine_that_is_down_is_named() {
    let lab = Lab::begin();
    let record = std::fs::read_to_string(lab.folder.join("run/gpu-2")).unwrap();
    let pid = record.split(' ').next().unwrap();
    assert!(std::process::Command::new("kill").args(["-KILL", pid]).status().unwrap().success());
    lab.castoff(&["run", "backend-ai", "--headless"]).ends_with(11).says(&["error: agent gpu-2: "]);
    assert_eq!(lab.castoff(&["runs"]).ends_with(0).out, "", "no run was begun");
}

/// Answers as a manager's API does, with a version before Harbor v2 was understood: only that sentence is made up.
fn old_manager() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            let body = r#"{"version": "v5.20191215", "manager": "20.03.5"}"#;
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length";
            let _ = write!(stream, "{head}: {}\r\n\r\n{body}", body.len());
        }
    });
    port
}
