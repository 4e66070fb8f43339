//! `mirror-docker`: every Docker daemon asks the mirror for images of Docker Hub first. Its `daemon.json` keeps every other
//! key, its order and its style; the daemon is reloaded and not restarted, unless the runbook says so.

use super::{About, Action, Drawn, mirror};
use crate::model::{
    Change, Check, DockerDaemon, FileDiff, FileState, FileText, Inventory, Kept, Part, Problem, Proof, Prover, TakesUp, Wants,
    daemon_json::{self, MIRRORS, Matters},
    docker_hosts, text,
};
use serde::Deserialize;
use serde_json::json;

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct MirrorDocker {
    /// Restart the daemon in place of a reload. Without live-restore every running container stops.
    #[serde(default)]
    restart: bool,
    /// What becomes of other mirrors that a host has.
    #[serde(default)]
    others: Others,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Others {
    /// They are asked after this one.
    #[default]
    Keep,
    Drop,
}

/// Levels of a log that say less than the one after debugging.
const QUIETER: [&str; 5] = ["warn", "warning", "error", "fatal", "panic"];

impl Action for MirrorDocker {
    fn wants(&self, _: &About<'_>) -> Wants {
        Wants { parts: [Part::Machines].into(), machines: mirror::wants(Prover::Docker), ..Wants::default() }
    }

    fn plan(&self, world: &Inventory, about: &About<'_>) -> Result<Drawn, String> {
        let mirror = about.mirror();
        let url = mirror.url.trim_end_matches('/');
        if !mirror.path.is_empty() {
            return Err(format!(
                "Docker asks a mirror at its root: `path = \"{}\"` of `[mirror]` is for containerd and podman",
                mirror.path
            ));
        }
        if mirror.username.is_some() {
            return Err(
                "a Docker daemon brings no login to a mirror: leave `username` and `password` of `[mirror]` out".to_owned()
            );
        }
        if mirror.ca.is_some() {
            return Err(format!(
                "a Docker daemon trusts the authority in `certs.d/{}/ca.crt` of its configuration folder: put it there on each host, and leave `ca` of `[mirror]` out",
                mirror.host()
            ));
        }
        let hosts = mirror::hosts(world, Prover::Docker);
        let mut drawn = Drawn::default();
        let mut stopped = vec![];
        for host in &hosts {
            let machine = &world.machines[*host];
            let Some(docker) = &machine.docker else { continue };
            if mirror.skip_tls && url.starts_with("https://") && !docker.insecure.iter().any(|one| one == mirror.host()) {
                return Err(format!(
                    "the Docker daemon of `{host}` verifies the mirror's certificate: `skip-tls` needs `{}` among its `insecure-registries`",
                    mirror.host()
                ));
            }
            daemon_json::valid_mirror(url, &docker.version)
                .map_err(|why| format!("Docker {} on `{host}`: {why}", docker.version))?;
            let before = machine.files.get(&docker.config).cloned().flatten();
            let at = |problem: Problem| Problem { place: Some((*host).to_owned()), ..problem };
            let found = daemon_json::lint(docker, before.as_ref().map(|state| state.text.as_str()));
            let stops = found.iter().any(|finding| finding.matters == Matters::Always);
            let notes =
                found.into_iter().filter(|finding| finding.matters == Matters::Note).map(|finding| finding.problem.informs());
            let level = (!docker.debug).then(|| daemon_json::log_level(docker, before.as_ref().map(|state| state.text.as_str())));
            let quieter = level.flatten().filter(|level| QUIETER.contains(&level.as_str())).map(|level| {
                let why = format!("logs at `{level}`: after the proof it logs at `info` until it is started anew");
                let hint = "to prove who serves a pull it debugs for a moment, and a daemon that ceases to debug logs at `info`";
                Problem { hint: Some(hint.to_owned()), ..Problem::new("Docker Engine", why) }.informs()
            });
            drawn.notes.extend(notes.chain(docker_hosts::overruled(machine, url)).chain(quieter).map(at));
            let (file, daemon) = match self.one(docker, before, url) {
                Ok(one) => one,
                // What is wrong with it the gate tells, with its place, and stays closed.
                Err(why) if stops => {
                    let (subject, place) = (docker.config.clone(), (*host).to_owned());
                    drawn.kept.push(Kept { subject, place, why });
                    continue;
                }
                Err(why) => return Err(format!("`{}` of `{host}` {why}", docker.config)),
            };
            if self.restart && !docker.live_restore && !docker.running.is_empty() {
                stopped.push(format!("{host}: {}", docker.running.join(", ")));
            }
            let proof = Proof { by: Prover::Docker, image: mirror.image.clone(), mirror: format!("{url}/") };
            let (daemon, proof) = (Some(daemon), Some(proof));
            drawn.changes.push(Change::Configure { host: (*host).to_owned(), files: vec![file], daemon, proof });
        }
        drawn.warnings.push(match (stopped.is_empty(), self.restart) {
            (false, _) => format!("These containers stop, for their daemon has no live-restore: {}.", stopped.join("; ")),
            (true, true) => "Each daemon starts anew; no container stops.".to_owned(),
            (true, false) => "Nothing stops.".to_owned(),
        });
        let of = hosts.iter().map(|host| (*host).to_owned()).collect();
        drawn.checks.push(Check::Configuration { of: Prover::Docker, hosts: of, restart: self.restart });
        let how = if self.restart { "restart" } else { "reload" };
        let hosts = text::count(hosts.len() as u64, "host");
        drawn.summary = format!("{hosts} ask {url} for images of Docker Hub first; {how}, then a pull as a proof");
        Ok(drawn)
    }
}

impl MirrorDocker {
    /// The file of one host, and its daemon.
    fn one(&self, docker: &DockerDaemon, before: Option<FileState>, url: &str) -> Result<(FileDiff, TakesUp), String> {
        let old = before.as_ref().map(|state| state.text.as_str());
        let told = |flaw: daemon_json::Flaw| flaw.to_string();
        let there = old.map_or_else(|| Ok(vec![]), daemon_json::mirrors).map_err(told)?;
        let ours = format!("{url}/");
        let mut wanted = vec![ours.clone()];
        if self.others == Others::Keep {
            wanted.extend(there.iter().filter(|other| **other != ours).cloned());
        }
        let text = match old {
            Some(old) if there == wanted => old.to_owned(),
            old => daemon_json::merge(old, &written(&wanted)).map_err(told)?,
        };
        let names_mirrors = old.is_some_and(|old| daemon_json::remove_key(old, MIRRORS).is_ok_and(|without| without != old));
        // A reload keeps what a file does not name, and what a file names may never have been taken up.
        let brings_back = (names_mirrors || self.restart) && there == docker.mirrors;
        let cleared = match old {
            _ if brings_back => None,
            old => Some(daemon_json::merge(old, &written(&docker.mirrors)).map_err(told)?),
        };
        // For the proof its log has to name who served it: the daemon tells that while it debugs.
        let debug = |on: bool| daemon_json::set_key(Some(&text), "debug", &json!(on)).map_err(told);
        let tells = docker.debug || matches!(daemon_json::log_level(docker, old).as_deref(), Some("debug" | "trace"));
        let mut between = if tells { vec![] } else { vec![debug(true)?, debug(false)?] };
        between.extend(cleared.clone());
        let daemon = TakesUp::Docker { restart: self.restart, before: docker.mirrors.clone(), after: wanted, cleared };
        let after = Some(FileText { text, mode: None });
        Ok((FileDiff { path: docker.config.clone(), before, after, between, folders: docker.absent.clone() }, daemon))
    }
}

/// As people write them: without the closing `/` that the daemon adds.
fn written(mirrors: &[String]) -> Vec<String> {
    mirrors.iter().map(|mirror| mirror.trim_end_matches('/').to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Digest;

    const OURS: &str = "https://m.example/";
    const FILE: &str = "{\"registry-mirrors\": [\"https://m.example\"]}";

    fn drawn(restart: bool, mirrors: &[&str], text: Option<&str>, daemon: DockerDaemon) -> (FileDiff, Option<String>) {
        let mirrors = mirrors.iter().map(|mirror| (*mirror).to_owned()).collect();
        let docker = DockerDaemon { mirrors, config: "/etc/docker/daemon.json".to_owned(), ..daemon };
        let state =
            |text: &str| FileState { text: text.to_owned(), sha256: Digest::of(text), mode: 0o644, owner: "0:0".to_owned() };
        let action = MirrorDocker { restart, others: Others::Keep };
        let (file, daemon) = action.one(&docker, text.map(state), OURS.trim_end_matches('/')).unwrap();
        let TakesUp::Docker { cleared, .. } = daemon else { panic!("it is Docker's") };
        (file, cleared)
    }

    #[test]
    fn the_way_back_clears_what_the_old_file_would_not_bring_back() {
        let check = |restart: bool, mirrors: &[&str], text: Option<&str>, names: Option<&[&str]>| {
            let (_, cleared) = drawn(restart, mirrors, text, DockerDaemon::default());
            let found = cleared.map(|text| daemon_json::mirrors(&text).unwrap());
            let expect = names.map(|names| names.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>());
            assert_eq!(found, expect, "{restart} {mirrors:?} {text:?}");
        };
        let other = "{\"registry-mirrors\": [\"https://b.example\"]}";
        for restart in [false, true] {
            check(restart, &[OURS], Some(FILE), None);
            // Written, and never taken up.
            check(restart, &[], Some(FILE), Some(&[]));
            check(restart, &[], Some(other), Some(&[]));
            check(restart, &["https://b.example/"], Some(FILE), Some(&["https://b.example/"]));
            // Taken up, and gone from the file since.
            check(restart, &[OURS], None, Some(&[OURS]));
        }
        check(false, &[], None, Some(&[]));
        check(false, &[], Some("{\"debug\": false}"), Some(&[]));
        check(true, &[], None, None);
    }

    #[test]
    fn a_daemon_whose_log_names_every_endpoint_anyway_is_left_as_it_logs() {
        let flags = |words: &[&str]| DockerDaemon {
            flags: words.iter().map(|word| (*word).to_owned()).collect(),
            ..DockerDaemon::default()
        };
        let check = |text: Option<&str>, daemon: DockerDaemon, debugs: bool| {
            let (file, cleared) = drawn(false, &[], text, daemon.clone());
            let rest = file.between.len() - usize::from(cleared.is_some());
            assert_eq!(rest == 2, debugs, "{text:?} {:?}", daemon.flags);
        };
        check(None, DockerDaemon::default(), true);
        check(Some("{\"log-level\": \"debug\"}"), DockerDaemon::default(), false);
        check(Some("{\"log-level\": \"warn\"}"), DockerDaemon::default(), true);
        check(None, flags(&["-H", "fd://", "--log-level=debug"]), false);
        check(None, flags(&["--log-level", "debug"]), false);
        check(None, flags(&["-ldebug"]), false);
        check(None, flags(&["-l", "info", "--label", "debug"]), true);
        check(None, DockerDaemon { debug: true, ..DockerDaemon::default() }, false);
    }

    #[test]
    fn folders_that_are_missing_are_made_for_the_file() {
        let absent = vec!["/etc/docker".to_owned()];
        let (file, _) = drawn(false, &[], None, DockerDaemon { absent: absent.clone(), ..DockerDaemon::default() });
        assert_eq!(file.folders, absent);
    }
}
