//! A pure question to the inventory. The answer is a list of problems, each naming who and why.

use super::backend_ai::too_old;
use super::containerd_config;
use super::daemon_json::{self, Finding, Matters};
use super::world::users;
use super::{
    Cri, Digest, ImageRef, Inventory, Machine, MachineWants, Part, Prover, Reach, ReachWant, Service, Wants,
    image::canonical_registry, machine::HOST, registries_conf, text,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", tag = "check", deny_unknown_fields)]
pub enum Check {
    /// Everything that was asked has answered.
    Answers {
        #[serde(default = "backend_ai")]
        parts: BTreeSet<Part>,
        #[serde(default, skip_serializing_if = "MachineWants::is_empty")]
        machines: MachineWants,
    },
    /// Backend.AI is new enough for Harbor v2.
    Version,
    /// Each of these images may be pulled.
    Pullable { images: BTreeSet<ImageRef> },
    /// Each host has room for these bytes and a reserve.
    Space { needed: BTreeMap<String, u64> },
    /// No live session uses an image of this registry below these repositories, and no container of Backend.AI does.
    Drained { registry: String, repositories: Vec<String> },
    /// No container uses these names: host to names with image ids.
    Unused { images: BTreeMap<String, BTreeMap<ImageRef, Digest>> },
    /// Each manager's API answers.
    ManagersRun,
    /// So many seconds have passed at the gate; meanwhile it is seen who is refused.
    BrownOut { for_s: u64 },
    /// The files of these hosts can be changed: they are what their reader takes, and nothing else overrules them.
    Configuration { of: Prover, hosts: BTreeSet<String>, restart: bool },
    /// No other drop-in of podman's wins over ours for these registries, or for the image that proves it.
    Overruled { registries: Vec<String>, image: ImageRef, hosts: BTreeSet<String> },
    /// A file of each of these hosts is there (or not), holds all of these texts and none of those.
    File { path: String, exists: bool, holds: Vec<String>, lacks: Vec<String>, hosts: BTreeSet<String> },
    /// These units of each of these hosts run, or none of them does.
    Units { units: BTreeSet<String>, running: bool, hosts: BTreeSet<String> },
    /// Somebody answers each of these hosts there, whoever it is.
    Port { reach: ReachWant, hosts: BTreeSet<String> },
    /// The mirror answers each of these hosts as a registry.
    Mirror { reach: ReachWant, hosts: BTreeSet<String> },
}

fn backend_ai() -> BTreeSet<Part> {
    let mut parts = Wants::backend_ai().parts;
    parts.insert(Part::Registries);
    parts
}

/// One answer of a check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Problem {
    /// `session train-7`, `agent gpu-2`.
    #[serde(deserialize_with = "super::edge::line")]
    pub subject: String,
    #[serde(deserialize_with = "super::edge::line")]
    pub why: String,
    #[serde(default, deserialize_with = "super::edge::maybe", skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    #[serde(default, deserialize_with = "super::edge::maybe", skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// Unix time in milliseconds.
    #[serde(default, deserialize_with = "super::edge::moment_maybe", skip_serializing_if = "Option::is_none")]
    pub since_ms: Option<i64>,
    #[serde(default, deserialize_with = "super::edge::maybe", skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// What is said of a change that this run has done and that somebody else took back.
const UNDONE: &str = "was done by this run and does not stand any more";

impl Problem {
    /// Somebody took back what the run had done.
    pub fn undone(subject: impl Into<String>, place: &str) -> Self {
        Self { place: Some(place.to_owned()), ..Self::new(subject, UNDONE) }
    }

    pub fn is_undone(&self) -> bool {
        self.why == UNDONE
    }

    pub fn new(subject: impl Into<String>, why: impl Into<String>) -> Self {
        let (subject, why) = (text::clean(&subject.into()), text::clean(&why.into()));
        Self { subject, why, owner: None, place: None, since_ms: None, hint: None }
    }

    /// Who and why in one line, without place and time.
    pub fn words(&self) -> String {
        let owner = self.owner.as_ref().map_or_else(String::new, |owner| format!(" of {owner}"));
        format!("{}{owner} {}", self.subject, self.why)
    }
}

impl Check {
    /// The name of the check on a screen.
    pub fn title(&self) -> String {
        match self {
            Self::Answers { .. } => "everything answers".to_owned(),
            Self::Configuration { of, hosts, .. } => {
                format!("the {of} configuration of {} can be changed", text::count(hosts.len() as u64, "host"))
            }
            Self::Overruled { hosts, .. } => {
                format!("no other drop-in overrules the mirror's on {}", text::count(hosts.len() as u64, "host"))
            }
            Self::File { path, exists, hosts, .. } => {
                let is = if *exists { "is as it has to be" } else { "is not there" };
                format!("{path} {is} on {}", text::count(hosts.len() as u64, "host"))
            }
            Self::Units { units, running, hosts } => {
                let units = units.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
                let verb = if *running { "started" } else { "stopped" };
                format!("{units}: {verb} on {}", text::count(hosts.len() as u64, "host"))
            }
            Self::Port { reach, hosts } => {
                format!("{} can be reached from {}", reach.mirror, text::count(hosts.len() as u64, "host"))
            }
            Self::Mirror { reach, hosts } => {
                format!("{} answers from {}", reach.mirror, text::count(hosts.len() as u64, "host"))
            }
            Self::Version => "Backend.AI can read Harbor v2 registries".to_owned(),
            Self::Pullable { images } => format!("{} may be pulled", text::count(images.len() as u64, "new image")),
            Self::Space { needed } => format!("room on {}", text::count(needed.len() as u64, "agent")),
            Self::Drained { .. } => "no session and no container uses an old image".to_owned(),
            Self::Unused { images } => {
                let n: usize = images.values().map(BTreeMap::len).sum();
                format!("no container uses the {} to remove", text::count(n as u64, "name"))
            }
            Self::ManagersRun => "every manager answers".to_owned(),
            Self::BrownOut { for_s } => format!("{} have passed", text::duration(for_s.saturating_mul(1000).cast_signed())),
        }
    }

    /// The parts of the inventory that must be fresh for the answer.
    pub fn parts(&self) -> BTreeSet<Part> {
        let parts: &[Part] = match self {
            Self::Answers { parts, .. } => return parts.clone(),
            Self::Configuration { .. }
            | Self::Overruled { .. }
            | Self::Mirror { .. }
            | Self::File { .. }
            | Self::Units { .. }
            | Self::Port { .. } => &[Part::Machines],
            Self::Version | Self::ManagersRun => &[Part::Managers],
            Self::Pullable { .. } => &[Part::Registries],
            Self::Space { .. } | Self::Unused { .. } => &[Part::Hosts],
            Self::Drained { .. } => &[Part::Sessions, Part::Hosts],
            Self::BrownOut { .. } => &[Part::Refusals],
        };
        parts.iter().copied().collect()
    }

    /// What of machines must be fresh for the answer.
    pub fn machines(&self) -> MachineWants {
        match self {
            Self::Answers { machines, .. } => machines.clone(),
            Self::Configuration { of, .. } => MachineWants {
                docker: *of == Prover::Docker,
                containerd: *of == Prover::Containerd,
                podman: *of == Prover::Podman,
                ..MachineWants::default()
            },
            Self::Overruled { .. } => MachineWants { podman: true, ..MachineWants::default() },
            Self::File { path, .. } => MachineWants { files: [path.clone()].into(), ..MachineWants::default() },
            Self::Units { units, .. } => MachineWants { units: units.clone(), ..MachineWants::default() },
            Self::Mirror { reach, .. } | Self::Port { reach, .. } => {
                MachineWants { reach: [reach.clone()].into(), ..MachineWants::default() }
            }
            _ => MachineWants::default(),
        }
    }

    /// What stands against it. Empty means it holds; something that could not be read is a problem, never a pass.
    pub fn problems(&self, inventory: &Inventory) -> Vec<Problem> {
        let mut parts = self.parts();
        // Who cannot be seen must not keep the registry from being given back.
        parts.remove(&Part::Refusals);
        let unread = inventory
            .unanswered
            .iter()
            .filter(|u| parts.contains(&u.part))
            .map(|u| Problem { hint: u.hint.clone(), ..Problem::new(&u.subject, &u.why) });
        let mut out: Vec<Problem> = unread.collect();
        match self {
            // The time is no matter of the inventory: the engine's clock tells it.
            Self::Answers { .. } | Self::BrownOut { .. } => {}
            Self::Configuration { of, hosts, restart } => {
                for (name, machine) in of_machines(inventory, hosts) {
                    let at = |problem| Problem { place: Some(name.to_owned()), ..problem };
                    out.extend(lint(*of, *restart, machine).into_iter().map(at));
                }
            }
            Self::Overruled { registries, image, hosts } => {
                for (name, machine) in of_machines(inventory, hosts) {
                    let at = |problem| Problem { place: Some(name.to_owned()), ..problem };
                    out.extend(registries_conf::beaten(machine, registries, image).into_iter().map(at));
                }
            }
            Self::File { path, exists, holds, lacks, hosts } => {
                for (name, machine) in of_machines(inventory, hosts) {
                    let path = path.replace(HOST, name);
                    let found = machine.files.get(&path).and_then(Option::as_ref).map(|state| state.text.as_str());
                    let told =
                        |why: String| Problem { place: Some(name.to_owned()), ..Problem::new(format!("file `{path}`"), why) };
                    out.extend(file_problems(found, *exists, holds, lacks).into_iter().map(told));
                }
            }
            Self::Units { units, running, hosts } => {
                for (name, machine) in of_machines(inventory, hosts) {
                    let wrong = units.iter().filter_map(|unit| match machine.units.get(unit) {
                        Some(Some(found)) if (*found == Service::Running) == *running => None,
                        Some(Some(Service::Running)) => Some((unit, "runs")),
                        Some(Some(Service::Stopped)) => Some((unit, "does not run")),
                        Some(None) => Some((unit, "is starting or stopping")),
                        None => Some((unit, "was not asked about")),
                    });
                    out.extend(wrong.map(|(unit, why)| Problem {
                        place: Some(name.to_owned()),
                        ..Problem::new(format!("unit {unit}"), why)
                    }));
                }
            }
            Self::Port { reach, hosts } => {
                for (name, machine) in of_machines(inventory, hosts) {
                    let why = match machine.reach.get(&reach.name()) {
                        Some(Reach::NoName { why }) => format!("its name does not resolve there: {why}"),
                        Some(Reach::NoConnection { why }) => format!("no connection: {why}"),
                        Some(_) => continue,
                        None => "was not asked".to_owned(),
                    };
                    out.push(Problem {
                        place: Some(name.to_owned()),
                        ..Problem::new(format!("{} from {name}", reach.mirror), why)
                    });
                }
            }
            Self::Mirror { reach, hosts } => {
                for (name, machine) in of_machines(inventory, hosts) {
                    let problem = machine
                        .reach
                        .get(&reach.name())
                        .map_or_else(|| Some(("was not asked".to_owned(), None)), super::machine::Reach::problem);
                    out.extend(problem.map(|(why, hint)| Problem {
                        place: Some(name.to_owned()),
                        hint: hint.map(str::to_owned),
                        ..Problem::new(format!("mirror {} from {name}", reach.mirror), why)
                    }));
                }
            }
            Self::Version => out.extend(version_problem(inventory)),
            Self::Pullable { images } => {
                for image in images {
                    if let Some(why) = inventory.registries.get(&image.registry).and_then(|r| r.refused.get(image)) {
                        let hint = format!("give castoff and the engines a login: [registries.\"{}\"]", image.registry);
                        out.push(Problem { hint: Some(hint), ..Problem::new(format!("image {image}"), why.clone()) });
                    } else if inventory.manifest(image).is_none() {
                        out.push(Problem::new(format!("image {image}"), "the registry does not have it any more"));
                    }
                }
            }
            Self::Space { needed } => {
                for (host, needed) in needed {
                    let Some(free) = inventory.hosts.get(host).and_then(|h| h.free_bytes) else { continue };
                    if free < *needed {
                        let why = format!("{} free, {} needed", text::bytes(free), text::bytes(*needed));
                        let hint = "free space where the engine keeps its data, then check again".to_owned();
                        out.push(Problem {
                            hint: Some(hint),
                            place: Some(host.clone()),
                            ..Problem::new(format!("agent {host}"), why)
                        });
                    }
                }
            }
            Self::Drained { registry, repositories } => out.extend(undrained(inventory, registry, repositories)),
            Self::Unused { images } => {
                for (name, images) in images {
                    let Some(host) = inventory.hosts.get(name) else { continue };
                    for (image, id) in images.iter().filter(|(image, _)| host.images.contains_key(*image)) {
                        for container in users(host, image, id) {
                            out.push(Problem {
                                place: Some(name.clone()),
                                since_ms: Some(container.created_ms),
                                ..Problem::new(format!("container {}", container.name), format!("uses {}", image.familiar()))
                            });
                        }
                    }
                }
            }
            Self::ManagersRun => {
                for (name, _) in inventory.managers.iter().filter(|(_, m)| !m.running) {
                    out.push(Problem::new(format!("manager {name}"), "its service does not run"));
                }
            }
        }
        out
    }
}

fn of_machines<'a>(inventory: &'a Inventory, hosts: &'a BTreeSet<String>) -> impl Iterator<Item = (&'a str, &'a Machine)> {
    hosts.iter().filter_map(|name| Some((name.as_str(), inventory.machines.get(name)?)))
}

fn file_problems(found: Option<&str>, exists: bool, holds: &[String], lacks: &[String]) -> Vec<String> {
    match (found, exists) {
        (None, true) => return vec!["is not there".to_owned()],
        (Some(_), false) => return vec!["is there".to_owned()],
        (None, false) => return vec![],
        (Some(_), true) => {}
    }
    let found = found.unwrap_or_default();
    let without = holds.iter().filter(|text| !found.contains(text.as_str())).map(|text| format!("does not hold `{text}`"));
    let with = lacks.iter().filter(|text| found.contains(text.as_str())).map(|text| format!("holds `{text}`"));
    without.chain(with).collect()
}

/// What is wrong with the files that one of the three reads.
fn lint(of: Prover, restart: bool, machine: &Machine) -> Vec<Problem> {
    let text = |path: &str| machine.files.get(path).and_then(Option::as_ref).map(|state| state.text.as_str());
    match (of, &machine.docker) {
        (Prover::Docker, Some(docker)) => {
            let stops = |finding: &Finding| match finding.matters {
                Matters::Note => false,
                Matters::Restart => restart,
                Matters::Reload => !restart,
                Matters::Always => true,
            };
            daemon_json::lint(docker, text(&docker.config)).into_iter().filter(stops).map(|finding| finding.problem).collect()
        }
        (Prover::Containerd, _) => match &machine.containerd {
            // Without its CRI plugin nothing reads `config_path`, and the file is left alone.
            Some(daemon) if daemon.cri != Cri::Absent => {
                containerd_config::conflicts(text(&daemon.config).unwrap_or_default(), daemon)
            }
            _ => vec![],
        },
        (Prover::Podman, _) => registries_conf::unreadable(machine),
        _ => vec![],
    }
}

fn version_problem(inventory: &Inventory) -> Option<Problem> {
    let Some(backend_ai) = &inventory.backend_ai else {
        return Some(Problem::new("Backend.AI", "its version could not be read"));
    };
    let update = too_old(&backend_ai.version)?;
    Some(Problem {
        hint: Some(format!("update the manager to {update} or later, then plan again")),
        ..Problem::new("Backend.AI", format!("version {} cannot read Harbor v2 registries", backend_ai.version))
    })
}

/// Whether a name, as Backend.AI or an engine writes it, is an image of the old registry.
pub fn is_old(name: &str, registry: &str, repositories: &[String]) -> bool {
    name.parse::<ImageRef>().is_ok_and(|image| {
        image.registry == canonical_registry(registry)
            && (repositories.is_empty() || repositories.iter().any(|r| image.repository.starts_with(r.as_str())))
    })
}

fn undrained(inventory: &Inventory, registry: &str, repositories: &[String]) -> Vec<Problem> {
    let sessions = inventory.sessions.iter().filter(|s| is_old(&s.image, registry, repositories)).map(|s| Problem {
        owner: Some(s.owner.clone()),
        place: Some(s.agent.clone()),
        since_ms: Some(s.since_ms),
        ..Problem::new(format!("session {}", s.name), format!("{}, uses {}", s.status.to_lowercase(), s.image))
    });
    let mut out: Vec<Problem> = sessions.collect();
    for (name, host) in &inventory.hosts {
        // The image ids of the old names count too: after a retag a container may show an id instead of its name.
        let old_ids: BTreeSet<&Digest> =
            host.images.iter().filter(|(i, _)| is_old(&i.to_string(), registry, repositories)).map(|(_, l)| &l.id).collect();
        for c in host.containers.iter().filter(|c| c.kernel.is_some()) {
            let by_name = is_old(&c.image, registry, repositories);
            let by_id = c.image.parse::<ImageRef>().is_err() && old_ids.contains(&c.image_id);
            let session_listed = inventory.sessions.iter().any(|s| Some(&s.id) == c.kernel.as_ref());
            if (by_name || by_id) && !session_listed {
                let state = match c.state {
                    super::ContainerState::Running => "running",
                    super::ContainerState::Paused => "paused",
                    super::ContainerState::Stopped => "stopped",
                };
                out.push(Problem {
                    place: Some(name.clone()),
                    since_ms: Some(c.created_ms),
                    hint: Some(format!(
                        "no live session owns it: docker rm {} on {name}, if it is a leftover",
                        text::quoted(&c.name)
                    )),
                    ..Problem::new(format!("container {}", c.name), format!("{state}, uses {}", c.image))
                });
            }
        }
    }
    out
}
