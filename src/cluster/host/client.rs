//! One host of the cluster file: reads it as a machine, makes a change of its files true there, and takes it back.
//! It remembers nothing of the host: every question is asked anew.

use super::{
    backup::Backups,
    containerd, docker,
    docker_reload::Wanted,
    files, podman,
    put::{self, Files},
};
use crate::{
    cluster::{
        Report,
        config::{AgentConfig, DockerConfig, HostConfig},
        docker::DockerEngine,
        reach::reach,
        secret::Secret,
        ssh::{Place, Runner, Sessions},
    },
    model::{
        Change, DockerDaemon, Fault, FaultKind, FileDiff, Machine, MachineWants, Proof, Prover, ReachWant, Standing, Store,
        TakesUp, configure, docker_hosts,
    },
};
use std::{collections::BTreeMap, sync::Arc};

pub struct HostClient {
    pub(super) config: HostConfig,
    pub(super) runner: Runner,
    /// Of the Docker daemon, where one is looked for.
    pub(super) engine: Option<DockerEngine>,
}

/// The engine's API by its socket on the host.
fn of_engine(host: &HostConfig, docker: &DockerConfig) -> AgentConfig {
    let socket = match host.host.strip_prefix("ssh://") {
        Some(way) => format!("ssh://{way}{}", docker.socket),
        None => format!("unix://{}", docker.socket),
    };
    AgentConfig { name: host.name.clone(), docker: socket, tls: None, host: Some(host.host.clone()) }
}

/// What a change is made with.
pub struct Means<'a> {
    pub backups: &'a Backups,
    pub secrets: &'a BTreeMap<String, Secret>,
}

impl HostClient {
    /// Opens nothing yet.
    pub fn new(config: HostConfig, sessions: &Arc<Sessions>) -> Result<Self, Fault> {
        let runner = Runner::new(Place::parse(&config.host)?, sessions).with_sudo(config.sudo);
        let engine = config.docker.as_ref().map(|docker| DockerEngine::new(&of_engine(&config, docker), sessions)).transpose()?;
        Ok(Self { config, runner, engine })
    }

    /// What is wanted of it, without authorities that castoff would have to fetch.
    pub async fn read(&self, wants: &MachineWants) -> Result<Machine, Fault> {
        self.read_with(wants, &BTreeMap::new()).await
    }

    /// What is wanted of it; `fetched` are the authorities that castoff fetched. A daemon whose section the cluster file does not have is not looked for.
    pub async fn read_with(&self, wants: &MachineWants, fetched: &BTreeMap<String, String>) -> Result<Machine, Fault> {
        let mut machine = Machine::default();
        let mut paths: Vec<String> = wants.paths(&self.config.name).collect();
        if let Some(config) = self.config.docker.as_ref().filter(|_| wants.docker) {
            let docker = docker::read(&self.runner, self.docker_parts()?.1, config).await?;
            paths.push(docker.config.clone());
            if docker.store == Store::Containerd {
                paths.extend(docker_hosts::paths(&docker.certs));
            }
            machine.docker = Some(docker);
        }
        if let Some(config) = self.config.containerd.as_ref().filter(|_| wants.containerd) {
            let mut containerd = containerd::read(&self.runner, config).await?;
            paths.push(containerd.config.clone());
            paths.extend(containerd::look(&self.runner, &mut containerd).await?);
            machine.containerd = Some(containerd);
        }
        if let Some(config) = self.config.podman.as_ref().filter(|_| wants.podman) {
            let podman = podman::read(&self.runner, config, &wants.reach).await?;
            paths.extend(podman::paths(&podman, &wants.reach));
            machine.podman = Some(podman);
        }
        paths.sort();
        paths.dedup();
        machine.files = self.states(&paths).await?;
        if let Some(docker) = machine.docker.as_mut().filter(|docker| machine.files.get(&docker.config) == Some(&None)) {
            docker.absent = docker::absent(&self.runner, &docker.config).await?;
        }
        for unit in &wants.units {
            machine.units.insert(unit.clone(), self.unit_state(unit).await?);
        }
        for want in &wants.reach {
            let ca = match &want.ca {
                Some(url) if !url.starts_with('/') => fetched.get(url).map(|pem| pem.as_bytes().to_vec()),
                Some(path) => {
                    files::read(&self.runner, std::slice::from_ref(path)).await?.remove(path).flatten().map(|raw| raw.bytes)
                }
                None => self.trusted_by_docker(want, machine.docker.as_ref()).await?,
            };
            let found = reach(&self.runner, want, ca.as_deref()).await?;
            machine.reach.insert(want.name(), found);
        }
        Ok(machine)
    }

    /// Whether one of the daemons that are asked for is looked for here; files and mirrors are asked of every host.
    pub fn has_any(&self, wants: &MachineWants) -> bool {
        let HostConfig { docker, containerd, podman, .. } = &self.config;
        let has = [(wants.docker, docker.is_some()), (wants.containerd, containerd.is_some()), (wants.podman, podman.is_some())];
        let of_every_host = !wants.files.is_empty() || !wants.units.is_empty();
        of_every_host || has.iter().all(|(wanted, _)| !wanted) || has.contains(&(true, true))
    }

    pub async fn standing(&self, files: &[FileDiff], daemon: Option<&TakesUp>, means: &Means<'_>) -> Result<Standing, Fault> {
        let files = self.files(means).standings(files).await?;
        let mut machine = Machine::default();
        match (daemon, &self.config.docker, &self.config.containerd) {
            (Some(TakesUp::Docker { restart, .. }), Some(_), _) => match self.docker_parts()?.1.uses().await {
                Ok(uses) => machine.docker = Some(DockerDaemon { mirrors: uses.mirrors, ..DockerDaemon::default() }),
                // A daemon that a restart brought down: what was written is taken back, or written again.
                Err(_) if *restart && is_written(&configure::together(files.clone(), None, &machine)) => {
                    return Ok(Standing::Midway);
                }
                Err(gone) => return Err(gone),
            },
            (Some(takes_up @ TakesUp::Containerd { .. }), _, Some(config)) => {
                match containerd::read(&self.runner, config).await {
                    Ok(found) => machine.containerd = Some(found),
                    Err(_) if takes_up.restarts() && is_written(&configure::together(files.clone(), None, &machine)) => {
                        return Ok(Standing::Midway);
                    }
                    Err(gone) => return Err(gone),
                }
            }
            _ => {}
        }
        Ok(configure::together(files, daemon, &machine))
    }

    /// Files, then the daemon, then the proof.
    pub async fn apply(&self, change: &Change, means: &Means<'_>, report: Report<'_>) -> Result<(), Fault> {
        let Change::Configure { files, daemon, proof, .. } = change else { return Ok(()) };
        report.progress("writing", 0, 0);
        if let (Some(TakesUp::Docker { restart, after, .. }), [file]) = (daemon, files.as_slice()) {
            return self.docker_uses(file, (*restart, after), proof.as_ref(), means, report).await;
        }
        self.files(means).put(files).await?;
        if let Some(TakesUp::Containerd { before, after, .. }) = daemon
            && before != after
        {
            self.containerd_agrees(files, after, means).await?;
        }
        if let Some(daemon) = daemon {
            self.take_up(daemon, true, report).await?;
        }
        match proof {
            Some(proof) => self.prove(proof, files, report).await,
            None => Ok(()),
        }
    }

    /// The files get their bytes back and the daemon takes them up. Where a reload of the old text would keep what the new
    /// one said, the daemon forgets it first.
    pub async fn undo(&self, change: &Change, means: &Means<'_>, report: Report<'_>) -> Result<(), Fault> {
        let Change::Configure { files, daemon, .. } = change else { return Ok(()) };
        report.progress("writing", 0, 0);
        if let (Some(TakesUp::Docker { restart, before, after, .. }), [file]) = (daemon, files.as_slice()) {
            // It never took up what was written: nothing has to be forgotten.
            if before != after && self.docker_still_uses(file, before).await {
                return self.files(means).restore(files).await;
            }
            self.docker_calms(file, (*restart, after), means, report).await?;
        }
        if let (Some(TakesUp::Docker { cleared: Some(cleared), .. }), [file, ..]) = (daemon, files.as_slice()) {
            self.files(means).put_between(file, cleared).await?;
            self.take_up(daemon.as_ref().expect("it is Docker's"), false, report).await?;
            return self.files(means).restore(files).await;
        }
        self.files(means).restore(files).await?;
        match daemon {
            Some(daemon) => self.take_up(daemon, false, report).await,
            None => Ok(()),
        }
    }

    async fn take_up(&self, daemon: &TakesUp, forward: bool, report: Report<'_>) -> Result<(), Fault> {
        match daemon {
            TakesUp::Docker { restart, before, after, .. } => {
                let mirrors = if forward { after } else { before };
                self.docker_takes_up(*restart, Wanted { mirrors, debug: None }, report).await
            }
            TakesUp::Containerd { after, .. } if forward && daemon.restarts() => {
                self.containerd_takes_up(after, forward, report).await
            }
            // Where its configuration stays, there is nothing to forget.
            TakesUp::Containerd { before, .. } if !forward && !daemon.is_equal() => {
                self.containerd_takes_up(before, forward, report).await
            }
            TakesUp::Containerd { .. } => Ok(()),
            TakesUp::Unit { unit, restart } => self.unit_takes_up(unit, *restart, report).await,
        }
    }

    async fn prove(&self, proof: &Proof, files: &[FileDiff], report: Report<'_>) -> Result<(), Fault> {
        match (proof.by, files) {
            (Prover::Docker, _) => self.docker_pulls(Some(proof), report).await,
            (Prover::Containerd, files) => self.containerd_proves(proof, files, report).await,
            (Prover::Podman, _) => self.podman_proves(proof, report).await,
        }
    }

    /// The authorities of a mirror that its Docker daemon trusts: every `*.crt` of its folder. On a host with containerd beside
    /// it, only if that is asked for.
    async fn trusted_by_docker(&self, want: &ReachWant, daemon: Option<&DockerDaemon>) -> Result<Option<Vec<u8>>, Fault> {
        let config = self.config.docker.as_ref().filter(|_| daemon.is_some() || self.config.containerd.is_none());
        let Some(config) = config.filter(|_| !want.host().is_empty()) else { return Ok(None) };
        let certs = daemon.map_or(&config.certs, |daemon| &daemon.certs);
        let folder = format!("{certs}/{}", want.host());
        let names = files::list(&self.runner, &folder).await?.unwrap_or_default();
        let is_authority = |name: &&String| name.rsplit_once('.').is_some_and(|(_, end)| end == "crt");
        let paths: Vec<_> = names.iter().filter(is_authority).map(|name| format!("{folder}/{name}")).collect();
        let found = files::read(&self.runner, &paths).await?.into_values().flatten();
        let joined = found.map(|raw| raw.bytes).collect::<Vec<_>>().join(&b'\n');
        Ok(Some(joined).filter(|_| !paths.is_empty()))
    }

    pub(super) fn without(&self, section: &str) -> Fault {
        let what = format!("host `{}`", self.config.name);
        Fault::new(FaultKind::Missing, what, format!("the cluster file has no `[hosts.{section}]` for it"))
    }

    pub(super) fn files<'a>(&'a self, means: &Means<'a>) -> Files<'a> {
        Files { host: &self.config.name, runner: &self.runner, backups: means.backups, secrets: means.secrets }
    }

    async fn states(&self, paths: &[String]) -> Result<BTreeMap<String, Option<crate::model::FileState>>, Fault> {
        let found = files::read(&self.runner, paths).await?;
        found.into_iter().map(|(path, raw)| Ok((path.clone(), raw.map(|raw| put::state(&path, &raw)).transpose()?))).collect()
    }
}

fn is_written(files: &Standing) -> bool {
    matches!(files, Standing::After | Standing::Midway)
}
