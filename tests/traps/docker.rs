//! The Docker daemon: `registry-mirrors` in `daemon.json`, its reload, and what it makes of a mirror that fails.

use crate::mirrors::{Mirrors, Part, Said, run};
use std::{
    fs,
    process::Command,
    time::{Duration, Instant},
};

const NODE: &str = "node-1";

/// Writes the file of the Engine and reloads it; what it logs.
fn reloaded(lab: &Mirrors, text: &str) -> String {
    fs::write(lab.at(NODE, "docker/daemon.json"), text).unwrap();
    lab.reload(NODE)
}

fn with_mirror(lab: &Mirrors, part: Part) -> String {
    format!(r#"{{"registry-mirrors": ["{}"]}}"#, lab.url(part))
}

/// Starts an Engine of its own with this file and these flags, which must end by itself.
fn refused(lab: &Mirrors, text: &[u8], flags: &[&str]) -> Said {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("daemon.json");
    fs::write(&file, text).unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    // Its neighbour's containerd saves the start of one of its own.
    let containerd = lab.at("node-4", "containerd.sock");
    let mut dockerd = Command::new("timeout");
    dockerd.args(["60", "dockerd", "--config-file"]).arg(file).args(["--data-root", &path("data"), "--exec-root", &path("exec")]);
    dockerd.args(["--pidfile", &path("pid"), "-H", &format!("unix://{}", path("sock")), "--containerd"]).arg(containerd);
    let said = run(dockerd.args(["--bridge=none", "--iptables=false", "--ip6tables=false", "--storage-driver=vfs"]).args(flags));
    assert_eq!(said.code, 1, "{}: {}", String::from_utf8_lossy(text), said.text);
    said
}

#[test]
fn a_mirror_whose_key_is_removed_stays_until_an_empty_list_clears_it() {
    let lab = Mirrors::start();
    let set = format!("{}/", lab.url(Part::Mirror));
    reloaded(&lab, &with_mirror(&lab, Part::Mirror));
    assert_eq!(lab.mirrors_of(NODE), [set.as_str()]);

    reloaded(&lab, "{}");
    assert_eq!(lab.mirrors_of(NODE), [set.as_str()], "the key is gone");
    fs::remove_file(lab.at(NODE, "docker/daemon.json")).unwrap();
    let log = lab.reload(NODE);
    assert!(log.contains("Reloaded configuration"), "{log}");
    assert_eq!(lab.mirrors_of(NODE), [set.as_str()], "the file is gone");

    reloaded(&lab, r#"{"registry-mirrors": []}"#);
    assert!(lab.mirrors_of(NODE).is_empty());
    fs::remove_file(lab.at(NODE, "docker/daemon.json")).unwrap();
    lab.reload(NODE);
    assert!(lab.mirrors_of(NODE).is_empty(), "a later reload keeps the empty list");
}

#[test]
fn insecure_registries_and_live_restore_stay_as_well_when_their_keys_are_removed() {
    let lab = Mirrors::start();
    let seen = || {
        let info = lab.info(NODE);
        let insecure = info["RegistryConfig"]["IndexConfigs"]["old.example:5000"]["Secure"] == false;
        (insecure, info["LiveRestoreEnabled"] == true)
    };
    reloaded(&lab, r#"{"insecure-registries": ["old.example:5000"], "live-restore": true}"#);
    assert_eq!(seen(), (true, true));
    reloaded(&lab, "{}");
    assert_eq!(seen(), (true, true));
    reloaded(&lab, r#"{"insecure-registries": [], "live-restore": false}"#);
    assert_eq!(seen(), (false, false));
    // 23.0 and 24.0.0 lose the one when the other is set beside it; this one does not.
    reloaded(&lab, r#"{"insecure-registries": ["old.example:5000"], "registry-mirrors": ["https://m.example"]}"#);
    assert_eq!((seen().0, lab.mirrors_of(NODE)), (true, vec!["https://m.example/".to_owned()]));
}

#[test]
fn a_reload_with_a_bad_file_succeeds_and_keeps_what_was() {
    let lab = Mirrors::start();
    let before = [format!("{}/", lab.url(Part::Mirror))];
    reloaded(&lab, &with_mirror(&lab, Part::Mirror));
    let cases = [
        (r#"{"registry-mirrors": ["https://a.example"],}"#, "unable to configure the Docker daemon with file"),
        (
            r#"{"registry-mirrorz": ["https://a.example"]}"#,
            "the following directives don't match any configuration option: registry-mirrorz",
        ),
        (r#"{"registry-mirrors": ["a.example"]}"#, "invalid mirror: unsupported scheme"),
        (r#"{"registry-mirrors": ["https://a.example/infra"]}"#, "invalid mirror: path, query, or fragment at end of the URI"),
    ];
    for (text, said) in cases {
        // `lab/daemon reload` ends with 0, as `systemctl reload` does; else `reload` had panicked.
        let log = reloaded(&lab, text);
        assert!(log.contains(said) && log.contains("Got signal to reload configuration"), "{text}: {log}");
        assert_eq!(lab.mirrors_of(NODE), before, "{text}");
    }
}

#[test]
fn the_reload_event_names_the_mirrors() {
    let lab = Mirrors::start();
    let since = jiff::Timestamp::now().as_second().to_string();
    reloaded(&lab, &with_mirror(&lab, Part::Mirror));
    // As the file has them, without the closing slash of `/info`.
    let mirrors = format!(r#"registry-mirrors=["{}"]"#, lab.url(Part::Mirror));
    // The Engine logs the reload before it tells it.
    let end = Instant::now() + Duration::from_mins(1);
    loop {
        let until = jiff::Timestamp::now().as_second().to_string();
        let filter = ["events", "--since", &since, "--until", &until, "--filter", "type=daemon", "--filter", "event=reload"];
        let said = lab.docker(NODE, &filter).done();
        if said.contains(&mirrors) {
            break;
        }
        assert!(Instant::now() < end, "{said}");
        std::thread::sleep(Duration::from_millis(500));
    }
}

#[test]
fn a_flags_spelling_in_the_file_is_accepted_and_ignored() {
    let lab = Mirrors::start();
    for key in ["registry-mirror", "insecure-registry", "label"] {
        let log = reloaded(&lab, &format!(r#"{{"{key}": ["http://127.0.0.1:1"]}}"#));
        assert!(log.contains("Reloaded configuration"), "{key}: {log}");
        let info = lab.info(NODE);
        assert_eq!(info["Labels"].as_array().map_or(0, Vec::len), 0, "{key}");
        assert!(!info["RegistryConfig"].to_string().contains("127.0.0.1:1\""), "{key}");
        assert!(lab.mirrors_of(NODE).is_empty(), "{key}");
    }
    // Of a key that stands there twice, the last one counts.
    let log = reloaded(&lab, r#"{"registry-mirrors": ["https://a.example"], "registry-mirrors": ["https://b.example"]}"#);
    assert!(!log.contains("level=warning"), "{log}");
    assert_eq!(lab.mirrors_of(NODE), ["https://b.example/"]);
}

#[test]
fn a_bad_file_keeps_the_engine_from_starting() {
    let lab = Mirrors::start();
    let good = br#"{"registry-mirrors": ["https://a.example"]}"#.as_slice();
    let file = "unable to configure the Docker daemon with file";
    let cases: [(&[u8], &[&str], &str, &str); 13] = [
        (
            good,
            &["--registry-mirror", "https://b.example"],
            file,
            "the following directives are specified both as a flag and in the configuration file: registry-mirrors: \
             (from flag: [https://b.example/], from file: [https://a.example])",
        ),
        (
            br#"{"registry-mirrorz": []}"#,
            &[],
            file,
            "the following directives don't match any configuration option: registry-mirrorz",
        ),
        (
            br#"{"registry-mirrors": "https://a.example"}"#,
            &[],
            file,
            "json: cannot unmarshal string into Go struct field Config.registry-mirrors of type []string",
        ),
        (br#"{"debug": true,}"#, &[], file, "invalid character '}' looking for beginning of object key string"),
        (br#"{"debug": true"#, &[], file, "unexpected EOF"),
        ("{“debug”: true}".as_bytes(), &[], file, "invalid character 'â'"),
        ("\u{feff}{}".as_bytes(), &[], file, "invalid character 'ï' looking for beginning of value"),
        (b"", &[], file, "EOF"),
        (
            br#"{"registry-mirrors": ["a.example"]}"#,
            &[],
            "failed to start daemon",
            r#"invalid mirror: unsupported scheme \"\" in \"a.example\""#,
        ),
        (
            br#"{"registry-mirrors": ["a.example:5000"]}"#,
            &[],
            "failed to start daemon",
            r#"invalid mirror: unsupported scheme \"a.example\" in \"a.example:5000\""#,
        ),
        (
            br#"{"registry-mirrors": ["https://a.example/infra"]}"#,
            &[],
            "failed to start daemon",
            "invalid mirror: path, query, or fragment at end of the URI",
        ),
        (
            br#"{"registry-mirrors": ["https://u:secret@a.example"]}"#,
            &[],
            "failed to start daemon",
            "invalid mirror: username/password not allowed in URI",
        ),
        (good, &["--validate"], "", "unknown flag: --validate"),
    ];
    for (text, flags, prefix, says) in cases {
        let said = refused(&lab, text, flags).text;
        let plain = said.replace(r#"\""#, r#"""#);
        assert!(
            plain.contains(prefix) && plain.contains(&says.replace(r#"\""#, r#"""#)),
            "{}: {said}",
            String::from_utf8_lossy(text)
        );
    }
}

#[test]
fn a_mirror_that_fails_is_passed_over_and_docker_hub_serves() {
    let lab = Mirrors::start();
    let html = "error unmarshalling content: invalid character '<' looking for beginning of value";
    let limit = "toomanyrequests: You have reached your pull rate limit.";
    let gone = lab.place("CASTOFF_MIRROR_GONE_URL").to_owned();
    let plain = lab.url(Part::Mirror).replace("http:", "https:");
    let images = r#""path": "/v2/library""#;
    let cases = [
        (lab.url(Part::Mirror), format!(r#"{{"status": 404, {images}}}"#), "manifest unknown: manifest unknown"),
        (lab.url(Part::Mirror), format!(r#"{{"status": 429, {images}}}"#), limit),
        (
            lab.url(Part::Mirror),
            format!(r#"{{"status": 503, {images}}}"#),
            "received unexpected HTTP status: 503 Service Unavailable",
        ),
        (lab.url(Part::Mirror), format!(r#"{{"html": 200, {images}}}"#), html),
        (&gone, "[]".to_owned(), "connect: connection refused"),
        (&plain, "[]".to_owned(), "tls: first record does not look like a TLS handshake"),
    ];
    for (mirror, fault, says) in cases {
        lab.afresh();
        lab.docker(NODE, &["rmi", "-f", "busybox:1"]);
        reloaded(&lab, &format!(r#"{{"registry-mirrors": ["{mirror}"]}}"#));
        lab.fault(Part::Mirror, &fault);
        let before = lab.log(NODE).len();
        lab.docker(NODE, &["pull", "busybox:1"]).done();
        let log = lab.log(NODE).split_off(before);
        assert!(log.contains(says), "{mirror} {fault}: {log}");
        assert!(log.contains("Attempting next endpoint for pull after error"), "{mirror} {fault}: {log}");
        assert_eq!((lab.serves(Part::Upstream), lab.serves(Part::Mirror)), (true, false), "{mirror} {fault}");
    }
    // Docker Hub, the last endpoint of all, says the same: the line alone does not accuse a mirror.
    reloaded(&lab, r#"{"registry-mirrors": []}"#);
    let before = lab.log(NODE).len();
    assert_ne!(lab.docker(NODE, &["pull", "nowhere:1"]).code, 0);
    let log = lab.log(NODE).split_off(before);
    assert!(log.contains("Attempting next endpoint for pull after error: manifest unknown"), "{log}");
}

#[test]
fn a_mirror_answers_for_docker_hub_only() {
    let lab = Mirrors::start();
    reloaded(&lab, &with_mirror(&lab, Part::Mirror));
    lab.docker(NODE, &["pull", "quay.io/coreos/etcd:v3.5.6"]).done();
    assert!(lab.counts(Part::Mirror).is_empty());
    lab.afresh();
    lab.docker(NODE, &["pull", "lablup/python:3.6-ubuntu18.04"]).done();
    assert!(lab.counts(Part::Upstream).is_empty());
    assert!(lab.serves(Part::Mirror));
}

#[test]
fn a_mirror_that_demands_a_login_is_told_that_of_docker_hub() {
    use base64::{Engine, prelude::BASE64_STANDARD};
    let lab = Mirrors::start();
    let login = BASE64_STANDARD.encode("kim:marker-hub-login");
    let folder = tempfile::tempdir().unwrap();
    let config = format!(r#"{{"auths": {{"https://index.docker.io/v1/": {{"auth": "{login}"}}}}}}"#);
    fs::write(folder.path().join("config.json"), config).unwrap();
    reloaded(&lab, &with_mirror(&lab, Part::Login));
    lab.docker_as(NODE, folder.path(), &["pull", "busybox:1"]).done();
    let told = format!("Basic {login}");
    assert!(lab.requests(Part::Login).iter().any(|request| request["authorization"] == told.as_str()), "over plain http");
    assert!(lab.serves(Part::Upstream), "and Docker Hub serves after all");
}
