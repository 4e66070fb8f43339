//! `docker-mirror`: on three real Engines, one here and two behind ssh.

use crate::{
    mirrors::Part,
    scene::{Scene, Tree},
};
use serde_json::Value;
use std::{
    fs,
    time::{Duration, Instant},
};

const NODES: [&str; 3] = ["node-1", "node-2", "node-3"];
const GATE: &[&str] = &["mirror"];
const FILE: &str = "docker/daemon.json";

/// What a run must not touch, and a rollback has to give back.
#[derive(Debug, PartialEq)]
struct Before {
    trees: Vec<Tree>,
    mirrors: Vec<Vec<String>>,
    debug: Vec<Value>,
    /// Process and start of the container that runs.
    container: String,
    images: Vec<String>,
}

fn look(scene: &Scene) -> Before {
    let lab = &scene.lab;
    Before {
        trees: NODES.iter().map(|node| scene.tree(node, "docker")).collect(),
        mirrors: NODES.iter().map(|node| lab.mirrors_of(node)).collect(),
        debug: NODES.iter().map(|node| lab.info(node)["Debug"].clone()).collect(),
        container: container(scene),
        images: NODES.iter().map(|node| lab.docker(node, &["images", "-q"]).done()).collect(),
    }
}

fn container(scene: &Scene) -> String {
    scene.lab.docker("node-2", &["inspect", "exporter", "--format", "{{.State.Pid}} {{.State.StartedAt}}"]).done()
}

fn shipped(scene: &Scene, part: Part) -> String {
    scene.runbook("docker-mirror", scene.lab.url(part), &[])
}

#[test]
fn every_host_uses_the_mirror_and_gets_its_files_back_byte_for_byte() {
    let scene = Scene::start();
    let (lab, ours) = (&scene.lab, format!("{}/", scene.lab.url(Part::Mirror)));
    let before = look(&scene);
    let runbook = shipped(&scene, Part::Mirror);

    let plan = scene.plan(&runbook, 10);
    assert_eq!(plan["totals"]["hosts"], 3, "{}", plan["totals"]);
    assert_eq!(look(&scene), before, "a plan changes nothing");
    lab.afresh();
    let began = Instant::now();
    let said = scene.run(&runbook, GATE).ends(0, &["the canary: node-1", "busybox:1 was served by"]);
    println!("three hosts took {:?}", began.elapsed());
    let place = |words: &str| said.find(words).unwrap_or_else(|| panic!("`{words}` is not in:\n{said}"));
    assert!(place("done      2.1") < place("started   2.2") && place("done      2.1") < place("started   2.3"), "{said}");
    for change in ["2.1", "2.2", "2.3"] {
        assert_eq!(scene.story(change), ["started", "proven", "done"], "{change}");
    }
    assert!(lab.serves(Part::Mirror) && lab.counts(Part::Upstream).is_empty(), "{:?}", lab.counts(Part::Upstream));

    let after = look(&scene);
    assert_eq!(after.mirrors[0], std::slice::from_ref(&ours));
    assert_eq!(after.mirrors[2], [ours.clone(), format!("{}/", lab.place("CASTOFF_MIRROR_GONE_URL"))]);
    assert_eq!((&after.debug, &after.container, &after.images), (&before.debug, &before.container, &before.images));
    let text = |node: &str| fs::read_to_string(lab.at(node, FILE)).unwrap();
    // Somebody's own order and indentation, one key behind them.
    let kept = "{\n   \"max-concurrent-downloads\":  3,\n \"labels\": [ \"rack=2\",\n             \"owner=kim\" ],\n\t\"log-opts\": {\"max-size\" : \"10m\"}";
    assert!(text("node-2").starts_with(kept), "{}", text("node-2"));
    assert!(text("node-3").contains("\"live-restore\": true") && text("node-3").contains("\"shutdown-timeout\": 5"));
    assert!(NODES.iter().all(|node| !text(node).contains("debug")));

    let again = scene.plan(&runbook, 0);
    assert_eq!((&again["totals"]["found"], &again["totals"]["changes"]), (&Value::from(3), &Value::from(0)));

    scene.rollback().ends(16, &["ROLLED BACK"]);
    assert_eq!(look(&scene), before);
    // A reload of the old file alone keeps it so.
    NODES.iter().for_each(|node| drop(lab.reload(node)));
    assert_eq!(look(&scene).mirrors, before.mirrors);
}

/// Well while it is looked at; what a daemon asks it for goes wrong afterwards.
fn failing(how: &str) -> String {
    format!(r#"{{{how}, "path": "/v2/library/busybox", "method": "GET"}}"#)
}

#[test]
fn a_canary_whose_mirror_does_not_serve_keeps_the_rest_as_they_are() {
    let scene = Scene::start();
    let (lab, before) = (&scene.lab, look(&scene));
    lab.fault(Part::Mirror, &failing(r#""status": 404"#));
    let said = scene.run(&shipped(&scene, Part::Mirror), GATE);
    let said = said.ends(
        14,
        &["came from registry-1.docker.io, and not from the mirror: ", "manifest unknown", "the failure of its canary"],
    );
    assert!(!said.contains("started   2.2") && !said.contains("started   2.3"), "{said}");
    scene.rollback().ends(16, &["ROLLED BACK"]);
    assert_eq!(look(&scene), before);
}

#[test]
fn a_pull_that_falls_back_to_docker_hub_is_a_failure_and_tells_why() {
    let scene = Scene::on(&["node-1"]);
    let (lab, before) = (&scene.lab, look(&scene));
    let runbook = shipped(&scene, Part::Mirror);
    let cases = [
        (r#""status": 429"#, "toomanyrequests"),
        (r#""status": 503"#, "503 Service Unavailable"),
        (r#""html": 200"#, "invalid character '<'"),
        (r#""corrupt": true"#, "verification failed"),
    ];
    for (fault, why) in cases {
        lab.afresh();
        lab.fault(Part::Mirror, &failing(fault));
        scene.run(&runbook, GATE).ends(14, &["came from registry-1.docker.io, and not from the mirror: ", why]);
        assert!(lab.serves(Part::Upstream), "{fault}");
        scene.rollback().ends(16, &["ROLLED BACK"]);
        assert_eq!(look(&scene), before, "{fault}");
    }
}

#[test]
fn a_mirror_that_cannot_be_used_blocks_the_plan_and_sees_no_login() {
    let scene = Scene::start();
    let lab = &scene.lab;
    let gone = lab.place("CASTOFF_MIRROR_GONE_URL").to_owned();
    let plain = lab.url(Part::Mirror).replace("http:", "https:");
    let cases = [
        (lab.url(Part::Login).to_owned(), "it demands a login (Basic)"),
        (gone, "no connection"),
        ("http://mirror.castoff.invalid".to_owned(), "its name does not resolve"),
        (lab.url(Part::Tls).to_owned(), "TLS: "),
        (plain, "TLS: "),
    ];
    for (mirror, why) in cases {
        let runbook = scene.runbook("docker-mirror", &mirror, &[]);
        let plan = scene.plan(&runbook, 11);
        let blockers = plan["blockers"].as_array().expect("blockers");
        assert_eq!(blockers.len(), 3, "{mirror}: {blockers:?}");
        assert!(
            blockers.iter().all(|problem| problem["why"].as_str().unwrap().contains(why) && problem["hint"].is_string()),
            "{blockers:?}"
        );
    }
    let told = lab.requests(Part::Login);
    assert!(!told.is_empty() && told.iter().all(|request| request["authorization"].is_null()), "{told:?}");
    // With its authority where the daemons look, the one with TLS is a mirror like any other.
    let certs = format!("docker/certs.d/{}", lab.address(Part::Tls));
    for node in NODES {
        fs::create_dir_all(lab.at(node, &certs)).unwrap();
        // Whatever its name.
        let name = if node == "node-2" { "own.crt" } else { "ca.crt" };
        fs::copy(lab.place("CASTOFF_MIRROR_TLS_CA"), lab.at(node, &format!("{certs}/{name}"))).unwrap();
    }
    scene.run(&shipped(&scene, Part::Tls), GATE).ends(0, &["was served by https://"]);
    assert!(lab.serves(Part::Tls) && lab.counts(Part::Upstream).is_empty());
    scene.rollback().ends(16, &["ROLLED BACK"]);
}

#[test]
fn what_is_wrong_with_a_file_is_told_in_the_plan_with_its_place_and_what_helps() {
    let scene = Scene::on(&["node-1"]);
    let (lab, mirror) = (&scene.lab, scene.lab.url(Part::Mirror));
    let runbook = shipped(&scene, Part::Mirror);
    let good = format!("\"registry-mirrors\": [\"{mirror}\"]");
    // Text, whether it blocks, what is said, what helps.
    let cases = [
        (format!("{{\n  {good},\n}}\n"), true, "line 2", "take it out"),
        ("{\n  \u{201c}debug\u{201d}: true\n}".to_owned(), true, "line 2", ""),
        ("\u{feff}{}".to_owned(), true, "byte order mark", "without a byte order mark"),
        ("{\"debug\": false, \"debug\": true}".to_owned(), true, "`debug`", ""),
        ("{\"registry-mirrorz\": []}".to_owned(), true, "is no key", "write `registry-mirrors`"),
        (format!("{{\"registry-mirror\": [\"{mirror}\"]}}"), false, "is the name of a flag", "write `registry-mirrors`"),
        ("{\"registry-mirrors\": [\"ftp://m.example\"]}".to_owned(), false, "scheme", "replaces it"),
        ("{\"log-level\": \"warn\"}".to_owned(), false, "logs at `warn`: after the proof", "ceases to debug"),
        ("{\"registry-mirrors\": [\"https://m.example/infra\"]}".to_owned(), false, "path", "replaces it"),
    ];
    let mut wrong = vec![];
    for (text, blocks, why, helps) in cases {
        fs::write(lab.at("node-1", FILE), &text).unwrap();
        let said = scene.castoff(&["plan", &runbook, "--format", "json"]);
        let has = |words: &str| said.text.contains(words);
        if said.code != if blocks { 11 } else { 10 } || !has(why) || !has(helps) || !has("\"place\": \"node-1\"") {
            let from = said.text.find("\"notes\"").unwrap_or_default();
            wrong.push(format!("{text}\n{}: {}", said.code, &said.text[from..]));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    for (line, says) in [("path = \"infra\"", "Docker asks a mirror at its root"), ("ca = \"/etc/own.pem\"", "ca.crt")] {
        let runbook = scene.runbook("docker-mirror", mirror, &[("image = ", &format!("{line}\nimage = "))]);
        let said = scene.castoff(&["plan", &runbook]);
        assert!(said.code != 10 && said.text.contains(says), "{}: {}", said.code, said.text);
    }
}

#[test]
fn a_file_that_the_daemon_refuses_fails_with_its_words_and_comes_back() {
    let scene = Scene::on(&["node-1"]);
    let (lab, runbook) = (&scene.lab, shipped(&scene, Part::Mirror));
    // No key of an Engine, and none that is mistaken for one of mirrors: only the daemon knows.
    fs::write(lab.at("node-1", FILE), "{\n  \"max-concurrent-downlods\": 3\n}\n").unwrap();
    let before = look(&scene);
    let refused = "it refuses the file: unable to configure the Docker daemon with file";
    scene.run(&runbook, GATE).ends(14, &[refused, "max-concurrent-downlods"]);
    scene.rollback().ends(16, &["ROLLED BACK"]);
    assert_eq!(look(&scene), before);
}

#[test]
fn what_somebody_else_wrote_is_never_written_over() {
    let scene = Scene::on(&["node-1", "node-2"]);
    let (lab, runbook) = (&scene.lab, shipped(&scene, Part::Mirror));
    // Between plan and run.
    let saved = scene.castoff(&["plan", &runbook, "--format", "json"]).text;
    let saved = scene.write("saved.json", &saved[saved.find('{').unwrap()..=saved.rfind('}').unwrap()]);
    fs::write(lab.at("node-1", FILE), "{\"debug\": false}").unwrap();
    scene.castoff(&["run", &saved, "--headless"]).ends(12, &["is stale", "holds something else"]);
    assert_eq!(fs::read_to_string(lab.at("node-1", FILE)).unwrap(), "{\"debug\": false}");
    fs::remove_file(lab.at("node-1", FILE)).unwrap();

    // After the run: its way back is closed, and says so.
    scene.run(&runbook, GATE).ends(0, &["was served by"]);
    let text = fs::read_to_string(lab.at("node-2", FILE)).unwrap().replace("\"10m\"", "\"20m\"");
    fs::write(lab.at("node-2", FILE), &text).unwrap();
    scene.rollback().ends(17, &["holds something else"]);
    assert_eq!(fs::read_to_string(lab.at("node-2", FILE)).unwrap(), text);
}

#[test]
fn a_restart_is_made_where_the_runbook_asks_and_says_what_stops() {
    let scene = Scene::start();
    let (lab, before) = (&scene.lab, look(&scene));
    let step = ("action = \"mirror-docker\"", "action = \"mirror-docker\"\nrestart = true");
    let runbook = scene.runbook("docker-mirror", lab.url(Part::Mirror), &[step]);
    let plan = scene.plan(&runbook, 10);
    let gate = plan["steps"][1]["gate"]["text"].to_string();
    // node-3 has live-restore; of node-2 the container stops.
    assert!(!gate.contains("Nothing stops"), "{gate}");
    assert!(gate.contains("node-2: exporter") && !gate.contains("node-3"), "{gate}");
    let process = |node: &str| fs::read_to_string(lab.at(node, "docker.pid")).unwrap();
    let (two, three) = (process("node-2"), process("node-3"));
    scene.run(&runbook, GATE).ends(0, &["was served by"]);
    assert!(process("node-2") != two && process("node-3") != three);
    assert_ne!(container(&scene), before.container, "the container of node-2 has stopped");
    assert_eq!(lab.mirrors_of("node-3")[0], format!("{}/", lab.url(Part::Mirror)));
    scene.rollback().ends(16, &["ROLLED BACK"]);
    let back = look(&scene);
    assert_eq!((back.trees, back.mirrors, back.debug), (before.trees, before.mirrors, before.debug));
}

#[test]
fn a_restart_that_was_made_is_not_made_again() {
    let scene = Scene::on(&["node-1"]);
    let (lab, before) = (&scene.lab, look(&scene));
    let step = ("action = \"mirror-docker\"", "action = \"mirror-docker\"\nrestart = true");
    let runbook = scene.runbook("docker-mirror", lab.url(Part::Mirror), &[step]);
    let process = || fs::read_to_string(lab.at("node-1", "docker.pid")).unwrap();
    let first = process();
    lab.fault(Part::Mirror, &failing(r#""status": 404"#));
    scene.run(&runbook, GATE).ends(14, &["and not from the mirror"]);
    let second = process();
    assert_ne!(first, second);
    lab.afresh();
    scene.castoff(&["resume", "--headless", "--retry"]).ends(0, &["was served by"]);
    assert_eq!((process(), &lab.info("node-1")["Debug"]), (second, &Value::from(false)));
    scene.rollback().ends(16, &["ROLLED BACK"]);
    assert_eq!(look(&scene), before);
}

#[test]
fn what_was_never_taken_up_is_not_in_use_after_a_rollback_and_no_folder_is_left() {
    let mut scene = Scene::on(&["node-1"]);
    let (lab, runbook) = (&scene.lab, shipped(&scene, Part::Mirror));
    fs::write(lab.at("node-1", FILE), format!("{{\"registry-mirrors\": [\"{}\"]}}", lab.url(Part::Mirror))).unwrap();
    let before = look(&scene);
    assert!(before.mirrors[0].is_empty());
    scene.run(&runbook, GATE).ends(0, &["was served by"]);
    assert_eq!(lab.mirrors_of("node-1"), [format!("{}/", lab.url(Part::Mirror))]);
    scene.rollback().ends(16, &["ROLLED BACK"]);
    assert_eq!(look(&scene), before);
    // Its daemon reads another file: the run fails, and what it made is taken back.
    fs::remove_file(lab.at("node-1", FILE)).unwrap();
    let before = look(&scene);
    scene.reword("node-1/docker/daemon.json", "node-1/docker/none/deep/daemon.json");
    let runbook = shipped(&scene, Part::Mirror);
    scene.run(&runbook, GATE).ends(14, &["uses no mirror"]);
    assert!(scene.lab.at("node-1", "docker/none/deep/daemon.json").exists());
    scene.rollback().ends(16, &["ROLLED BACK"]);
    assert_eq!(look(&scene), before);
}

#[test]
fn a_daemon_that_does_not_come_back_is_told_and_a_rollback_raises_it() {
    let mut scene = Scene::on(&["node-1"]);
    let before = look(&scene);
    // The first restart fails, and leaves it down.
    let mark = scene.write("mark", "");
    fs::remove_file(&mark).unwrap();
    let service = "\"node-1\", \"restart\"]";
    let text = fs::read_to_string(scene.lab.cluster_file()).unwrap();
    let line = text.lines().find(|line| line.contains(service)).expect("its restart").to_owned();
    let words: Vec<&str> = line.split('"').skip(1).step_by(2).collect();
    let (all, stop) = (words.join(" "), words[..words.len() - 1].join(" "));
    let told = "unable to configure the Docker daemon with file /x: told by the daemon";
    let log = scene.lab.state.join("log/node-1.log");
    let script = format!("[ ! -e {mark} ] || exec {all}; touch {mark}; {stop} stop; echo {told} >> {}; exit 1", log.display());
    scene.reword(&line, &format!("restart = [\"sh\", \"-c\", \"{script}\"]"));
    let step = ("action = \"mirror-docker\"", "action = \"mirror-docker\"\nrestart = true");
    let runbook = scene.runbook("docker-mirror", scene.lab.url(Part::Mirror), &[step]);
    scene
        .run(&runbook, GATE)
        .ends(14, &["does not start with its file", "told by the daemon", "reset-failed", "castoff rollback"]);
    scene.rollback().ends(16, &["ROLLED BACK"]);
    assert_eq!(look(&scene), before);
}

#[test]
#[ignore = "soak"]
fn castoff_may_be_killed_at_any_moment() {
    let scene = Scene::on(&["node-2"]);
    let (lab, before) = (&scene.lab, look(&scene));
    let runbook = shipped(&scene, Part::Mirror);
    let ours = [format!("{}/", lab.url(Part::Mirror))];
    for n in 0..6_u64 {
        let mut castoff = scene.begin(&runbook, GATE);
        let until = Instant::now() + Duration::from_secs(30);
        let started = || scene.story("2.1").last().is_some_and(|is| is != "undone");
        while !started() && Instant::now() < until && castoff.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(20));
        }
        std::thread::sleep(Duration::from_millis(n * 350));
        castoff.kill().unwrap();
        castoff.wait().unwrap();
        println!("killed {n}: {:?}, debug {}", scene.story("2.1"), lab.info("node-2")["Debug"]);
        if n % 2 == 0 {
            let said = scene.castoff(&["resume", "--headless"]);
            assert!(said.code == 0 || said.text.contains("is over: done"), "{n}: {}", said.text);
            assert_eq!((lab.mirrors_of("node-2"), &lab.info("node-2")["Debug"]), (ours.to_vec(), &Value::from(false)), "{n}");
            assert!(!fs::read_to_string(lab.at("node-2", FILE)).unwrap().contains("debug"), "{n}");
        }
        scene.rollback().ends(16, &["ROLLED BACK"]);
        let back = look(&scene);
        assert_eq!((&back.trees, &back.mirrors, &back.debug), (&before.trees, &before.mirrors, &before.debug), "{n}");
        assert_eq!(back.container, before.container, "{n}");
    }
}

#[test]
fn the_doctor_finds_what_keeps_a_daemon_from_its_mirror() {
    let scene = Scene::start();
    let (lab, mirror) = (&scene.lab, scene.lab.url(Part::Mirror).to_owned());
    let doctor = |mirror: &str, more: &[&str]| scene.castoff(&[&["doctor", "mirror", mirror], more].concat());
    // Before the run: nobody uses it.
    doctor(&mirror, &["--host", "node-1"])
        .ends(10, &[" ! file", "there is no", " ! daemon", "it runs with no mirror", " + registry"]);
    scene.run(&shipped(&scene, Part::Mirror), GATE).ends(0, &[]);
    let all = doctor(&mirror, &[])
        .ends(0, &["node-1", "node-3", " + file", " + daemon", " + registry", " + image", "runs with the mirror"]);
    assert!(all.contains("names no Docker daemon here"), "{all}");
    doctor(lab.url(Part::Login), &["--host", "node-2"]).ends(10, &["it demands a login (Basic)"]);
    doctor(lab.url(Part::Tls), &["--host", "node-2"]).ends(10, &[" ! registry", "TLS: "]);
    doctor(lab.place("CASTOFF_MIRROR_GONE_URL"), &["--host", "node-3"]).ends(10, &[" ! connection"]);
    doctor("http://mirror.castoff.invalid", &["--host", "node-1"]).ends(10, &[" ! name"]);
    // A file that was refused, and a mirror that serves nothing any more.
    fs::write(lab.at("node-1", FILE), "{\"registry-mirrors\": [\"a.example\"]}").unwrap();
    lab.reload("node-1");
    doctor(&mirror, &["--host", "node-1"]).ends(10, &[" ! file", " ! log", "refused its configuration"]);
    lab.fault(Part::Mirror, r#"{"html": 200}"#);
    let said = doctor(&mirror, &["--host", "node-2", "--format", "json"]);
    assert_eq!(said.code, 10, "{}", said.text);
    let said: Value = serde_json::from_str(&said.text).expect("JSON");
    let bad = said["hosts"][0]["findings"].as_array().unwrap().iter().find(|finding| finding["verdict"] == "bad").expect("one");
    assert_eq!(bad["check"], "registry", "{bad}");
    // A daemon that is down.
    lab.daemon("node-1", "stop");
    doctor(&mirror, &["--host", "node-1"]).ends(10, &[" ! daemon", "does not answer"]);
    fs::write(lab.at("node-1", FILE), "{}").unwrap();
    lab.daemon("node-1", "start");
}
