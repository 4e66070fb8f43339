//! The whole way there and back on real managers of two more eras, judged by what their stores hold and by their own
//! command lines. The details are tested on the lab of the era between (`tests/live`), never here.

#[path = "support/lab.rs"]
#[expect(dead_code, reason = "the terminal's tests need another part of it")]
mod lab;

use lab::Lab;
use std::sync::{Mutex, PoisonError};

/// What differs between the eras.
struct Case {
    /// The environment variable that names the lab, and what is missing where there can be none.
    variable: &'static str,
    missing: &'static str,
    /// How the plan calls the era.
    sentence: &'static str,
    /// Makes the new registry half known, and gives it a neighbour whose name begins the same.
    half_known: fn(&Lab),
    /// Every image of a registry that the metadata has, sorted.
    images: fn(&Lab, &str) -> Vec<String>,
    /// The registries that are configured, sorted.
    registries: fn(&Lab) -> Vec<String>,
    /// The words that show an image by its name or alias.
    inspect: &'static [&'static str],
    architecture: &'static [&'static str],
}

const OFFERED: [&str; 8] = [
    "community/julia:1.6-ubuntu18.04",
    "community/r-base:4.0-ubuntu18.04",
    "stable/node:14-ubuntu18.04",
    "stable/python-pytorch:1.8-py38-cuda11.1",
    "stable/python-tensorflow:2.3-py36-cuda10.1",
    "stable/python:3.6-ubuntu18.04",
    "stable/python:3.8-ubuntu18.04",
    "stable/python:latest",
];
/// Known before the run, not offered any more: a rescan forgets nothing.
const GONE: &str = "stable/gone:1.0";
const NEIGHBOUR: &str = "cr.backend.ai.mirror.corp";
const OLD_NEIGHBOUR: &str = "index.docker.io.mirror.corp";

#[test]
fn a_manager_of_20_09_is_moved_and_moved_back() {
    there_and_back(&Case {
        variable: "CASTOFF_LAB_2009",
        missing: "no Python 3.8 for the 20.09 era",
        sentence: "Backend.AI 20.09.0b2: registries, images and aliases in etcd",
        half_known: half_known_in_etcd,
        images: images_in_etcd,
        registries: registries_in_etcd,
        inspect: &["etcd", "inspect-image"],
        architecture: &[],
    });
}

#[test]
fn a_manager_of_25_5_is_moved_and_moved_back() {
    there_and_back(&Case {
        variable: "CASTOFF_LAB_255",
        missing: "no Python 3.12 for the 25.5 era",
        sentence: "Backend.AI 25.5.2: registries, images and aliases in PostgreSQL",
        half_known: half_known_in_postgres,
        images: |lab, registry| {
            lab.sql(&format!("SELECT image || ':' || tag FROM images WHERE registry = '{registry}' ORDER BY name COLLATE \"C\""))
        },
        registries: |lab| lab.sql("SELECT DISTINCT registry_name COLLATE \"C\" FROM container_registries ORDER BY 1"),
        inspect: &["image", "inspect"],
        architecture: &["x86_64"],
    });
}

/// A manager's start and its rescan take all of two cores: side by side neither era would be sooner.
static TURN: Mutex<()> = Mutex::new(());

fn there_and_back(case: &Case) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(lab) = Lab::start(case.variable) else {
        eprintln!("\n*** NOT RUN: {} ***\n", case.missing);
        return;
    };
    let folder = tempfile::tempdir().expect("a folder for the runs");
    let castoff = |arguments: &[&str]| lab.castoff(folder.path(), arguments);
    let go = |plan: &str| lab.castoff(folder.path(), &run(plan));
    (case.half_known)(&lab);
    lab.drain();
    let start = (lab.keys(), lab.rows());
    let neighbours = |lab: &Lab| [NEIGHBOUR, OLD_NEIGHBOUR].map(|registry| (case.images)(lab, registry));
    let neighbours_at_start = neighbours(&lab);

    // The plan: of this era, and only reading.
    let text = castoff(&["plan", "backend-ai"]).exits(10);
    assert!(text.contains(case.sentence), "{text}");
    let plan = plan_id(&castoff(&["plan", "backend-ai", "--format", "json"]).exits(10));
    assert_eq!((lab.keys(), lab.rows()), start);

    // There.
    go(&plan).exits(0);
    let moved = (lab.keys(), lab.rows());
    let mut known = OFFERED.map(str::to_owned).to_vec();
    known.push(GONE.to_owned());
    known.sort();
    let mut found = (case.images)(&lab, "cr.backend.ai");
    found.sort();
    assert_eq!(found, known);
    assert_eq!((case.images)(&lab, "index.docker.io"), [""; 0]);
    assert_eq!((case.registries)(&lab), ["cr.backend.ai", NEIGHBOUR, OLD_NEIGHBOUR]);
    assert_eq!(neighbours(&lab), neighbours_at_start);
    assert_eq!(
        lab.sql("SELECT name || ' ' || allowed_docker_registries::text FROM domains ORDER BY name COLLATE \"C\""),
        [
            "default {cr.backend.ai}",
            "kept {registry.example.com:5000}",
            "mirrored {index.docker.io.mirror.corp,cr.backend.ai}",
            "research {cr.backend.ai,registry.example.com:5000}",
        ]
    );

    // The real manager sees it so too: aliases mean new images, an old name means nothing.
    let inspect = |name: &str| lab.manager(&[case.inspect, &[name], case.architecture].concat());
    for (name, image, tag) in [
        ("python", "stable/python", "3.6-ubuntu18.04"),
        ("tf", "stable/python-tensorflow", "2.3-py36-cuda10.1"),
        ("cr.backend.ai/community/r-base:4.0-ubuntu18.04", "community/r-base", "4.0-ubuntu18.04"),
    ] {
        let shown = inspect(name);
        for line in ["'registry': 'cr.backend.ai'".to_owned(), format!("'name': '{image}'"), format!("'tag': '{tag}'")] {
            assert!(shown.contains(&line), "`{name}` shows no {line}: {shown}");
        }
    }
    let shown = inspect("index.docker.io/lablup/python:3.6-ubuntu18.04");
    assert!(shown.contains("Unknown image reference") || shown.contains("ImageNotFound"), "{shown}");

    // Once more: everything is found, nothing written.
    let again = castoff(&["plan", "backend-ai", "--format", "json"]).exits(0);
    let out = go(&plan_id(&again)).exits(0);
    assert!(out.contains("  found  ") && !out.contains("  started  "), "{out}");
    assert_eq!((lab.keys(), lab.rows()), moved);

    // And back, byte for byte.
    let first = castoff(&["runs"]).exits(0).lines().find_map(|line| line.split_whitespace().next().map(str::to_owned));
    let approval = format!("rollback={plan}");
    castoff(&["rollback", &first.expect("the first run"), "--headless", "--approve", &approval]).exits(16);
    let (keys, rows) = (lab.keys(), lab.rows());
    assert_eq!(keys, start.0);
    let differences: Vec<&String> =
        rows.iter().filter(|row| !start.1.contains(row)).chain(start.1.iter().filter(|row| !rows.contains(row))).collect();
    assert!(differences.is_empty(), "{differences:#?}");
    assert_eq!(rows.len(), start.1.len());
    let shown = inspect("tf");
    assert!(shown.contains("'registry': 'index.docker.io'"), "{shown}");
}

fn plan_id(plan: &str) -> String {
    let plan: serde_json::Value = serde_json::from_str(plan).expect("a plan is JSON");
    plan["plan"].as_str().expect("a plan has an id").to_owned()
}

/// The words of a whole run whose gates are answered ahead.
fn run(plan: &str) -> Vec<String> {
    let words = ["run", "backend-ai", "--headless", "--wait", "20"].map(str::to_owned);
    let approvals = ["pull", "stop", "metadata", "remove"].map(|step| format!("--approve={step}={plan}"));
    words.into_iter().chain(approvals).collect()
}

fn half_known_in_etcd(lab: &Lab) {
    let url = stand_in(lab);
    for (key, value) in [
        ("config/docker/registry/cr.backend.ai", "https://cr.backend.ai"),
        ("config/docker/registry/cr.backend.ai/type", "harbor"),
        ("config/docker/registry/cr.backend.ai/ssl-verify", "True"),
        ("config/docker/registry/cr.backend.ai.mirror.corp", &url),
        ("config/docker/registry/cr.backend.ai.mirror.corp/type", "harbor2"),
        ("config/docker/registry/cr.backend.ai.mirror.corp/project", "community"),
        ("images/cr.backend.ai/stable%2Fpython", "1"),
        ("images/cr.backend.ai/stable%2Fpython/3.6-ubuntu18.04", OLD_DIGEST),
        ("images/cr.backend.ai/stable%2Fpython/3.6-ubuntu18.04/size_bytes", "1"),
        ("images/cr.backend.ai/stable%2Fpython/3.6-ubuntu18.04/labels/by.hand", "a  b"),
        ("images/cr.backend.ai/stable%2Fgone", "1"),
        ("images/cr.backend.ai/stable%2Fgone/1.0", OLD_DIGEST),
    ] {
        lab.put(&format!("/sorna/local/{key}"), value);
    }
}

fn half_known_in_postgres(lab: &Lab) {
    let url = stand_in(lab);
    lab.sql(&format!(
        "INSERT INTO container_registries (id, url, registry_name, type, project, ssl_verify, extra) VALUES \
         ('00000000-0000-4000-e000-00000000000a', 'https://cr.backend.ai', 'cr.backend.ai', 'harbor', 'stable', false, '{{\"b\":1,  \"a\": 2}}'), \
         ('00000000-0000-4000-e000-00000000000b', '{url}', '{NEIGHBOUR}', 'harbor2', 'community', true, NULL)"
    ));
    for (n, name, tag, status) in [(10, "python", "3.6-ubuntu18.04", "DELETED"), (11, "gone", "1.0", "ALIVE")] {
        // Spaces and the order of keys in `labels` are its own, the time has all its figures.
        lab.sql(&format!(
            "INSERT INTO images (id, name, project, image, created_at, tag, registry, registry_id, architecture, config_digest, \
             size_bytes, is_local, type, labels, resources, status) VALUES ('00000000-0000-4000-f000-0000000000{n}', \
             'cr.backend.ai/stable/{name}:{tag}', 'stable', 'stable/{name}', '2024-02-29 12:00:00.000001+00', '{tag}', \
             'cr.backend.ai', '00000000-0000-4000-e000-00000000000a', 'x86_64', '{OLD_DIGEST}', 1, false, 'COMPUTE', \
             '{{\"z\":  \"1\", \"a\": \"2\"}}', '{{}}', '{status}')"
        ));
    }
}

const OLD_DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// Where the stand-in for cr.backend.ai listens.
fn stand_in(lab: &Lab) -> String {
    lab.file()["registries"]["cr.backend.ai"]["url"].as_str().expect("an address").to_owned()
}

fn images_in_etcd(lab: &Lab, registry: &str) -> Vec<String> {
    let folder = format!("/sorna/local/images/{registry}/");
    let of_key = |key: &String| {
        let (image, tag) = key.strip_prefix(&folder)?.split_once('/').filter(|(_, tag)| !tag.contains('/'))?;
        Some(format!("{}:{tag}", image.replace("%2F", "/")))
    };
    lab.keys().keys().filter_map(of_key).collect()
}

fn registries_in_etcd(lab: &Lab) -> Vec<String> {
    let of_key = |key: &String| Some(key.strip_prefix("/sorna/local/config/docker/registry/")?.split('/').next()?.to_owned());
    let mut found: Vec<String> = lab.keys().keys().filter_map(of_key).collect();
    found.sort();
    found.dedup();
    found
}
