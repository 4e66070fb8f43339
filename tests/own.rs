//! An operator's own runbook on real files and units: planned with differences, written, taken up, found the second time, and
//! given back byte for byte. The hosts are this machine; what stands for systemd keeps a list of what it was asked.

use serde_json::Value;
use std::{
    fmt::Write as _,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

const SYSTEMCTL: &str = r#"#!/bin/sh
here=$(dirname "$0")
[ "$2" = -- ] || exit 64
[ "$1" = is-active ] || echo "$1 $3" >> "$here/asked"
case "$1" in
  is-active)
    [ ! -e "$here/$3.word" ] || { cat "$here/$3.word"; exit 3; }
    [ -e "$here/$3.runs" ] || exit 3 ;;
  start) touch "$here/$3.runs" ;;
  stop) rm -f "$here/$3.runs" ;;
  reload | restart) [ -e "$here/$3.runs" ] || { echo "$3 is not active, cannot $1" >&2; exit 1; } ;;
esac
"#;

const RUNBOOK: &str = r#"
name = "own"
title = "A file, a unit"
[[step]]
id = "check"
action = "check-units"
units = ["web"]
[[step]]
id = "reach"
action = "check-reach"
url = "URL"
as = "port"
[[step]]
id = "quiet"
action = "set-unit"
unit = "agent"
state = "stopped"
gate = { ask = "yes", text = ["The agent stops on {hosts}."] }
[[step]]
id = "write"
action = "write-file"
path = "FOLDER/{host}/web.conf"
text = "host = {host}\npassword = (secret web)\n"
then = { reload = "web" }
[[step]]
id = "new"
action = "write-file"
path = "FOLDER/{host}/new.conf"
text = "new = true\n"
mode = "0640"
on = ["b*"]
[[step]]
id = "old"
action = "remove-file"
path = "FOLDER/{host}/old.conf"
[[step]]
id = "written"
action = "check-files"
path = "FOLDER/{host}/web.conf"
holds = ["host = "]
lacks = ["legacy"]
"#;

struct Scene {
    folder: tempfile::TempDir,
    /// Somebody listens there.
    url: String,
}

struct Said {
    code: i32,
    text: String,
}

impl Scene {
    fn new() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        // Whoever asks is let in, and told nothing.
        std::thread::spawn(move || listener.incoming().for_each(drop));
        let scene = Self { folder: tempfile::tempdir().unwrap(), url };
        let mut cluster = "name = \"own\"\n".to_owned();
        for host in ["alpha", "beta"] {
            let own = scene.at(host);
            fs::create_dir(&own).unwrap();
            fs::write(own.join("systemctl"), SYSTEMCTL).unwrap();
            fs::set_permissions(own.join("systemctl"), fs::Permissions::from_mode(0o755)).unwrap();
            fs::write(own.join("web.conf"), format!("# of {host}\nlegacy = 1\npassword = \"before-{host}\"")).unwrap();
            fs::set_permissions(own.join("web.conf"), fs::Permissions::from_mode(0o600)).unwrap();
            fs::write(own.join("web.runs"), "").unwrap();
            fs::write(own.join("agent.runs"), "").unwrap();
            let _ = write!(cluster, "[[hosts]]\nname = \"{host}\"\nsystemctl = [\"{}\"]\n", own.join("systemctl").display());
        }
        // One host has an old file, the other one has none.
        fs::write(scene.at("alpha/old.conf"), "old\n").unwrap();
        fs::write(scene.at("secret"), "marker-own-secret\n").unwrap();
        let _ = write!(cluster, "[secrets]\nweb = {{ file = \"{}\" }}\n", scene.at("secret").display());
        fs::write(scene.at("castoff.toml"), cluster).unwrap();
        scene.write_runbook(RUNBOOK);
        scene
    }

    fn write_runbook(&self, text: &str) {
        let text = text.replace("FOLDER", &self.folder.path().display().to_string()).replace("URL", &self.url);
        fs::write(self.at("own.toml"), text).unwrap();
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn castoff(&self, arguments: &[&str]) -> Said {
        let mut command = Command::new(env!("CARGO_BIN_EXE_castoff"));
        command.args(arguments).arg("--cluster").arg(self.at("castoff.toml")).arg("--state").arg(self.at("kept"));
        let output = command.output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        Said { code: output.status.code().unwrap_or(-1), text: String::from_utf8_lossy(&text).into_owned() }
    }

    fn plan(&self) -> Value {
        let said = self.castoff(&["plan", &self.at("own.toml").display().to_string(), "--format", "json"]);
        serde_json::from_str(&said.text).unwrap_or_else(|_| panic!("{}", said.text))
    }

    fn run(&self) -> Said {
        let approve = format!("quiet={}", self.plan()["plan"].as_str().unwrap());
        self.castoff(&["run", &self.at("own.toml").display().to_string(), "--headless", "--approve", &approve])
    }

    fn roll_back(&self) -> Said {
        let said = self.castoff(&["rollback", "--headless"]).text;
        let (_, approve) = said.split_once("hint: --approve ").unwrap_or_else(|| panic!("{said}"));
        self.castoff(&["rollback", "--headless", "--approve", approve.trim()])
    }

    /// Every file of the two hosts with its mode, but for what was asked of units.
    fn all(&self) -> Vec<(PathBuf, u32, Vec<u8>)> {
        let mut out = vec![];
        for host in ["alpha", "beta"] {
            for entry in fs::read_dir(self.at(host)).unwrap() {
                let path = entry.unwrap().path();
                if path.file_name().is_none_or(|name| name != "asked") {
                    out.push((path.clone(), fs::metadata(&path).unwrap().permissions().mode(), fs::read(&path).unwrap()));
                }
            }
        }
        out.sort();
        out
    }

    fn asked(&self, host: &str) -> String {
        fs::read_to_string(self.at(host).join("asked")).unwrap_or_default()
    }
}

#[test]
fn files_and_units_become_what_the_runbook_says_and_what_they_were() {
    let scene = Scene::new();
    let before = scene.all();
    let plan = scene.plan();
    assert_eq!(plan["blockers"], serde_json::json!([]), "{plan}");
    let text = scene.castoff(&["plan", &scene.at("own.toml").display().to_string()]).text;
    for words in ["- legacy = 1", "+ host = beta", "password = (secret web)", "2 hosts: stop unit agent", "web is reloaded"] {
        assert!(text.contains(words), "{words}\n{text}");
    }
    assert!(!text.contains("before-alpha") && !text.contains("marker-own-secret"), "{text}");

    let run = scene.run();
    assert_eq!(run.code, 0, "{}", run.text);
    let written = fs::read_to_string(scene.at("beta/web.conf")).unwrap();
    assert_eq!(written, "host = beta\npassword = marker-own-secret\n");
    let mode = |path: &str| fs::metadata(scene.at(path)).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode("beta/web.conf"), mode("beta/new.conf")), (0o600, 0o640));
    assert!(!scene.at("alpha/new.conf").exists() && !scene.at("alpha/old.conf").exists());
    assert_eq!(scene.asked("alpha"), "stop agent\nreload web\n");
    assert!(!kept_holds(&scene.at("kept"), "marker-own-secret"), "no journal has it");

    let again = scene.plan();
    assert_eq!(again["totals"]["changes"], 0, "{}", again["totals"]);

    let back = scene.roll_back();
    assert_eq!(back.code, 16, "{}", back.text);
    assert!(scene.all() == before, "byte for byte, with their modes");
    assert_eq!(scene.asked("alpha"), "stop agent\nreload web\nreload web\nstart agent\n");
}

#[test]
fn what_does_not_hold_blocks_the_plan_by_host_and_name() {
    let scene = Scene::new();
    let check = |from: &str, to: &str, told: &[&str]| {
        scene.write_runbook(&RUNBOOK.replace(from, to));
        let blockers = serde_json::to_string(&scene.plan()["blockers"]).unwrap();
        assert!(told.iter().all(|words| blockers.contains(words)), "{blockers}");
    };
    check("units = [\"web\"]", "units = [\"web\", \"cron\"]", &["unit cron", "does not run", "alpha", "beta"]);
    check("holds = [\"host = \"]", "holds = [\"host = alpha\"]", &["beta/web.conf", "does not hold `host = alpha`"]);
    check("lacks = [\"legacy\"]", "exists = false", &["alpha/web.conf", "is there"]);
    check("lacks = [\"legacy\"]", "lacks = [\"password\"]", &["holds `password`"]);
    check("url = \"URL\"", "url = \"http://127.0.0.1:1\"", &["http://127.0.0.1:1 from beta", "no connection"]);
    scene.write_runbook(&RUNBOOK.replace("[\"b*\"]", "[\"gpu-*\"]"));
    let said = scene.castoff(&["plan", &scene.at("own.toml").display().to_string()]);
    assert!(said.code != 0 && said.text.contains("no host fits `gpu-*`"), "{}", said.text);
}

#[test]
fn a_unit_that_cannot_reload_fails_the_step_and_a_file_that_somebody_changed_stops_the_way_back() {
    let scene = Scene::new();
    fs::remove_file(scene.at("beta/web.runs")).unwrap();
    scene.write_runbook(&RUNBOOK.replace("units = [\"web\"]", "units = [\"agent\"]"));
    let run = scene.run();
    assert_eq!(run.code, 14, "{}", run.text);
    assert!(run.text.contains("cannot reload unit `web` on `beta`: web is not active, cannot reload"), "{}", run.text);

    fs::write(scene.at("alpha/web.conf"), "of somebody else\n").unwrap();
    let back = scene.roll_back();
    assert_eq!(back.code, 17, "{}", back.text);
    assert_eq!(fs::read_to_string(scene.at("alpha/web.conf")).unwrap(), "of somebody else\n");
}

#[test]
fn a_unit_that_did_not_take_its_old_file_up_again_is_told_once_more() {
    let scene = Scene::new();
    assert_eq!(scene.run().code, 0);
    fs::remove_file(scene.at("beta/web.runs")).unwrap();
    let back = scene.roll_back();
    assert_eq!(back.code, 17, "{}", back.text);
    assert!(back.text.contains("web is not active, cannot reload"), "{}", back.text);
    // Its file is as it was before; only the unit knows that it has not read it.
    fs::write(scene.at("beta/web.runs"), "").unwrap();
    let again = scene.castoff(&["resume", "--headless", "--retry"]);
    assert_eq!(again.code, 16, "{}", again.text);
    assert_eq!(scene.asked("beta").matches("reload web").count(), 3, "there, in vain, and back: {}", scene.asked("beta"));
}

#[test]
fn a_unit_between_two_tries_to_start_is_neither_stopped_nor_running() {
    let scene = Scene::new();
    fs::remove_file(scene.at("beta/agent.runs")).unwrap();
    fs::write(scene.at("beta/agent.word"), "activating\n").unwrap();
    let plan = scene.plan();
    let stops = plan["steps"].as_array().unwrap().iter().find(|step| step["id"] == "quiet").unwrap();
    assert_eq!(stops["changes"].as_array().unwrap().len(), 2, "it would start again: {stops}");
    scene.write_runbook(&RUNBOOK.replace("units = [\"web\"]", "units = [\"agent\"]\nstate = \"stopped\""));
    let blockers = scene.plan()["blockers"].to_string();
    assert!(blockers.contains("is starting or stopping"), "{blockers}");
}

#[test]
fn the_doctor_tells_of_a_host_that_it_cannot_reach_and_of_nothing_else() {
    let scene = Scene::new();
    fs::write(scene.at("castoff.toml"), "name = \"own\"\n[[hosts]]\nname = \"gone\"\nhost = \"ssh://nobody@127.0.0.1:1\"\n")
        .unwrap();
    let said = scene.castoff(&["doctor", "mirror", &scene.url]);
    assert_eq!(said.code, 10, "{}", said.text);
    assert!(said.text.contains("! connection") && said.text.contains("the host was not asked: ssh to"), "{}", said.text);
    assert!(!said.text.contains("was asked\n") && said.text.matches(" ? ").count() == 0, "{}", said.text);
}

/// Whether any file below a folder holds a text.
fn kept_holds(folder: &Path, text: &str) -> bool {
    fs::read_dir(folder).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            kept_holds(&path, text)
        } else {
            fs::read(&path).unwrap().windows(text.len()).any(|window| window == text.as_bytes())
        }
    })
}
