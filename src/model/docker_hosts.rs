//! `hosts.toml` of a Docker daemon: since Engine 28 the one with containerd's store reads it itself, on each pull. Where it
//! names two endpoints or more, `registry-mirrors` counts for nothing, although `/info` still lists it. Pure.

use super::{Machine, Problem, Store, daemon_json::Release, hosts_toml};

/// The first that reads it.
const FIRST: Release = Release(28, 0, 0);

/// Where a daemon looks for those of Docker Hub, below its folder of certificates; the first that is there counts.
pub fn paths(certs: &str) -> [String; 2] {
    ["docker.io", "_default"].map(|folder| format!("{}/{folder}/hosts.toml", certs.trim_end_matches('/')))
}

/// What keeps the daemon of a host from asking a mirror of its `daemon.json`.
pub fn overruled(machine: &Machine, mirror: &str) -> Option<Problem> {
    let docker = machine.docker.as_ref().filter(|docker| docker.store == Store::Containerd)?;
    if Release::parse(&docker.version).is_some_and(|release| release < FIRST) {
        return None;
    }
    let there = |path: String| machine.files.get(&path).cloned().flatten().map(|state| (path, state));
    let (path, state) = paths(&docker.certs).into_iter().find_map(there)?;
    let problem = |why: String, hint: &str| {
        let hint = Some(hint.to_owned());
        Some(Problem { hint, ..Problem::new(format!("`{path}`"), why) })
    };
    let file = match hosts_toml::parse(&state.text) {
        Ok(file) => file,
        Err(mistake) => {
            return problem(format!("cannot be read: {mistake}"), "correct it, or take it away: Docker reads it on each pull");
        }
    };
    let asked = file.asked("docker.io");
    if asked.len() < 2 || authority(&asked[0].base) == authority(mirror) {
        return None;
    }
    let why = format!(
        "goes before `registry-mirrors`: with containerd's store Docker {} asks {} for images of Docker Hub, and not the mirror",
        docker.version, asked[0].base
    );
    problem(why, "take the file away, or name the mirror in it as its first host")
}

fn authority(url: &str) -> &str {
    url.split_once("://").map_or(url, |(_, rest)| rest).split('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Digest, DockerDaemon, FileState};

    fn machine(version: &str, store: Store, text: &str) -> Machine {
        let docker = DockerDaemon {
            version: version.to_owned(),
            store,
            certs: "/etc/docker/certs.d".to_owned(),
            ..DockerDaemon::default()
        };
        let state = FileState { text: text.to_owned(), sha256: Digest::of(text), mode: 0o644, owner: "0:0".to_owned() };
        let files = [("/etc/docker/certs.d/_default/hosts.toml".to_owned(), Some(state))].into();
        Machine { docker: Some(docker), files, ..Machine::default() }
    }

    #[test]
    fn a_hosts_toml_overrules_the_mirrors_of_an_engine_that_reads_it() {
        let check = |version: &str, store: Store, text: &str, says: Option<&str>| {
            let found = overruled(&machine(version, store, text), "https://m.example/").map(|problem| problem.words());
            assert_eq!(found.is_some(), says.is_some(), "{text}: {found:?}");
            assert!(found.unwrap_or_default().contains(says.unwrap_or_default()), "{text}");
        };
        let other = "server = \"https://registry-1.docker.io\"\n[host.\"https://other.example\"]\n";
        check("28.0.0", Store::Containerd, other, Some("asks https://other.example/v2"));
        check("27.5.1", Store::Containerd, other, None);
        check("28.0.0", Store::Classic, other, None);
        check("29.1.0", Store::Containerd, &other.replace("other", "m"), None);
        check("29.1.0", Store::Containerd, "server = \"https://registry-1.docker.io\"\n", None);
        check("29.1.0", Store::Containerd, "server = \n", Some("cannot be read"));
    }
}
