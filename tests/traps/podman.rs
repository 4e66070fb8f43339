//! podman: drop-ins of `registries.conf.d`, read at each run.

use crate::mirrors::{Mirrors, Part};
use std::fs;

const FOLDER: &str = "home/.config/containers/registries.conf.d";

/// Pulls `library/busybox:1` with this one drop-in: what podman says if it fails, and whether mirror and upstream served.
fn pulled(lab: &Mirrors, text: &str) -> (Option<String>, bool, bool) {
    lab.afresh();
    lab.podman(&["rmi", "-f", "docker.io/library/busybox:1"]);
    fs::write(lab.at("node-6", FOLDER).join("50-mirror.conf"), text).unwrap();
    let said = lab.podman(&["pull", "docker.io/library/busybox:1"]);
    ((said.code != 0).then_some(said.text), lab.serves(Part::Mirror), lab.serves(Part::Upstream))
}

#[test]
fn a_drop_in_is_read_at_each_run_and_its_mistakes_stop_every_pull() {
    let lab = Mirrors::start();
    let at = lab.address(Part::Mirror);
    let hub = "[[registry]]\nprefix = 'docker.io'\nlocation = 'docker.io'\n";
    let mirror = |location: &str| format!("{hub}[[registry.mirror]]\nlocation = '{location}'\ninsecure = true\n");
    let good = [
        ("no mirror", String::new(), (false, true)),
        ("a mirror", mirror(at), (true, false)),
        ("a path", mirror(&format!("{at}/infra/k8s")), (true, false)),
        ("a path of nothing", mirror(&format!("{at}/nowhere")), (false, true)),
        (
            "for the official images alone",
            mirror(at).replace("'docker.io'", "'docker.io/library'").replace(at, &format!("{at}/library")),
            (true, false),
        ),
        ("for images of others alone", mirror(at).replace("'docker.io'", "'docker.io/lablup'"), (false, true)),
        ("only for digests", mirror(at) + "pull-from-mirror = 'digest-only'\n", (false, true)),
        // It has no certificate, so it is passed over.
        ("not said to be plain", mirror(at).replace("insecure = true\n", ""), (false, true)),
    ];
    for (case, text, served) in good {
        assert_eq!(pulled(&lab, &text), (None, served.0, served.1), "{case}");
    }
    let bad = [
        (mirror(lab.url(Part::Mirror)), "URI schemes are not supported"),
        (format!("{hub}[[registry.mirror]]\ninsecure = true\n"), "invalid condition: mirror location is unset"),
        ("[[registry]]\nblocked = true\n".to_owned(), "invalid condition: both location and prefix are unset"),
        (format!("{hub}pull-from-mirror = 'all'\n"), "pull-from-mirror must not be set for a non-mirror registry"),
        ("[[registry]\n".to_owned(), "50-mirror.conf"),
        (format!("{hub}blocked = true\n"), "registry docker.io is blocked"),
    ];
    for (text, says) in bad {
        let (failed, ..) = pulled(&lab, &text);
        assert!(failed.as_ref().is_some_and(|failed| failed.contains(says)), "{text}: {failed:?}");
    }
}

#[test]
fn drop_ins_are_read_in_the_order_of_their_names() {
    let lab = Mirrors::start();
    let entry = |location: &str| {
        format!(
            "[[registry]]\nprefix = 'docker.io'\nlocation = 'docker.io'\n[[registry.mirror]]\nlocation = '{location}'\ninsecure = true\n"
        )
    };
    fs::write(lab.at("node-6", FOLDER).join("90-other.conf"), entry("127.0.0.1:1")).unwrap();
    assert_eq!(pulled(&lab, &entry(lab.address(Part::Mirror))), (None, false, true), "the later one replaces the whole entry");
    fs::rename(lab.at("node-6", FOLDER).join("90-other.conf"), lab.at("node-6", FOLDER).join("10-other.conf")).unwrap();
    assert_eq!(pulled(&lab, &entry(lab.address(Part::Mirror))), (None, true, false));
}
