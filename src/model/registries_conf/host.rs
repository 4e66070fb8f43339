//! The drop-ins of one host beside ours: what keeps podman from reading them, and what wins over ours.
//! It never changes a file.

use super::{DropIn, NAME, Registry, lint::overridden, parse, render};
use crate::model::{ImageRef, Machine, Problem, mirror_choice::told};

/// What makes every pull of the host fail as soon as a drop-in is there, and most of it already.
pub fn unreadable(machine: &Machine) -> Vec<Problem> {
    let mut out = vec![];
    for (n, (name, text)) in files(machine).into_iter().enumerate().filter(|(_, (name, _))| name != NAME) {
        let Err(mistake) = parse(&text) else { continue };
        let main = n == 0 && machine.podman.as_ref().is_some_and(|podman| !podman.drop_ins.contains(&name));
        let subject = format!("{} `{name}`", if main { "file" } else { "drop-in" });
        let place = if mistake.line == 0 { String::new() } else { format!("line {}: ", mistake.line) };
        let first = mistake.message.lines().next().unwrap_or_default();
        let old = main && first.contains("version 1");
        out.push(if old {
            told(subject, "is of version 1, beside which podman takes no drop-in: every pull would fail", "write it in version 2")
        } else {
            told(subject, format!("{place}{first}: every pull on the host fails"), "")
        });
    }
    out
}

/// What would win over our drop-in for these registries, or for the image that is to prove it.
pub fn beaten(machine: &Machine, registries: &[String], image: &ImageRef) -> Vec<Problem> {
    let name = format!("{}/{}", image.registry, image.repository);
    let covers = |prefix: &str| name == prefix || name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/'));
    beside_ours(machine, registries, |one| registries.contains(&one.prefix) || covers(&one.prefix))
}

/// What of these registries comes from elsewhere, because another drop-in speaks of it more precisely.
pub fn sharing(machine: &Machine, registries: &[String], image: &ImageRef) -> Vec<Problem> {
    let all = beside_ours(machine, registries, |_| true);
    let beaten = beaten(machine, registries, image);
    all.into_iter().filter(|problem| !beaten.contains(problem)).collect()
}

/// Files with an entry for one of these registries, which ours takes the place of.
pub fn replaced(machine: &Machine, registries: &[String]) -> Vec<(String, String)> {
    let before = files(machine).into_iter().filter(|(name, _)| name.as_str() < NAME || name == "registries.conf");
    let entries = before.flat_map(|(name, text)| {
        parse(&text).unwrap_or_default().registries.into_iter().map(move |registry| (name.clone(), registry.prefix))
    });
    entries.filter(|(_, prefix)| registries.contains(prefix)).collect()
}

fn beside_ours(machine: &Machine, registries: &[String], counts: impl Fn(&Registry) -> bool) -> Vec<Problem> {
    let entry = |name: &String| Registry { prefix: name.clone(), location: name.clone(), ..Registry::default() };
    let ours = render(&DropIn { registries: registries.iter().map(entry).collect() });
    let others = files(machine).into_iter().filter(|(name, _)| name != NAME).map(|(name, text)| {
        let mut read = parse(&text).unwrap_or_default();
        read.registries.retain(&counts);
        (name, render(&read))
    });
    let mut all: Vec<(String, String)> = others.collect();
    // `registries.conf` is read first; the drop-ins behind it are sorted.
    let place = all.iter().skip(1).position(|(name, _)| name.as_str() > NAME).map_or(all.len(), |place| place + 1);
    all.insert(place, (NAME.to_owned(), ours));
    overridden(NAME, &all)
}

/// Name and text of what is read, in its order. The first one is `registries.conf`, be it empty.
fn files(machine: &Machine) -> Vec<(String, String)> {
    let Some(podman) = &machine.podman else { return vec![] };
    let text = |path: &str| machine.files.get(path).and_then(Option::as_ref).map(|state| state.text.clone()).unwrap_or_default();
    let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    let main = podman.main().map_or_else(|| ("registries.conf".to_owned(), String::new()), |path| (name(path), text(path)));
    let drop_ins = podman.drop_ins.iter().map(|name| (name.clone(), text(&format!("{}/{name}", podman.folder))));
    [main].into_iter().chain(drop_ins).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Digest, FileState, Podman};

    fn machine(files: &[(&str, &str)]) -> Machine {
        let folder = "/etc/containers/registries.conf.d".to_owned();
        let state = |text: &str| FileState { text: text.into(), sha256: Digest::of(text), mode: 0o644, owner: "0:0".into() };
        let path = |name: &str| {
            if name == "registries.conf" { folder.trim_end_matches(".d").into() } else { format!("{folder}/{name}") }
        };
        let drop_ins = files.iter().map(|(name, _)| (*name).to_owned()).filter(|name| name != "registries.conf").collect();
        let all = files.iter().map(|(name, text)| (path(name), Some(state(text)))).collect();
        Machine { files: all, podman: Some(Podman { folder, drop_ins, ..Podman::default() }), ..Machine::default() }
    }

    fn entry(prefix: &str) -> String {
        format!("[[registry]]\nprefix = '{prefix}'\nlocation = '{prefix}'\n[[registry.mirror]]\nlocation = 'other.example'\n")
    }

    #[test]
    fn what_wins_over_ours_stops_it_only_where_it_would_spoil_the_proof() {
        let image: ImageRef = "docker.io/library/busybox:1".parse().unwrap();
        let hub = ["docker.io".to_owned()];
        let check = |name: &str, prefix: &str, beats: usize, shares: usize, replaces: usize| {
            let text = entry(prefix);
            let machine = machine(&[(name, &text)]);
            let found =
                (beaten(&machine, &hub, &image).len(), sharing(&machine, &hub, &image).len(), replaced(&machine, &hub).len());
            assert_eq!(found, (beats, shares, replaces), "{name} {prefix}");
        };
        check("90-other.conf", "docker.io", 0, 0, 1);
        check("z-other.conf", "docker.io", 1, 0, 0);
        check("registries.conf", "docker.io", 0, 0, 1);
        check("90-other.conf", "docker.io/library", 1, 0, 0);
        check("registries.conf", "docker.io/library/busybox", 1, 0, 0);
        check("90-other.conf", "docker.io/lablup", 0, 1, 0);
        check("90-other.conf", "quay.io", 0, 0, 0);
        check("castoff-mirror.conf", "docker.io", 0, 0, 0);
    }

    #[test]
    fn a_file_that_stops_every_pull_is_told_by_its_name() {
        let old = machine(&[("registries.conf", "[registries.search]\nregistries = ['docker.io']\n")]);
        let told = unreadable(&old);
        assert!(told.len() == 1 && told[0].words().contains("file `registries.conf` is of version 1"), "{told:?}");
        let scheme = entry("docker.io").replace("other.example", "https://other.example");
        let told = unreadable(&machine(&[("registries.conf", "short-name-mode = 'enforcing'"), ("10-a.conf", &scheme)]));
        assert!(told.len() == 1 && told[0].words().contains("has a scheme: every pull"), "{told:?}");
        assert_eq!(unreadable(&machine(&[("castoff-mirror.conf", "[")])), [], "ours is written anew");
    }
}
