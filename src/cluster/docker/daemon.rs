//! What a Docker daemon says of itself: its mirrors as it uses them, and what a restart would mean.
//! It never asks for images.

use super::{Answer, DockerEngine, ask, words};
use crate::{
    cluster::{
        config::AgentConfig,
        ssh::{Place, Sessions},
    },
    model::{DockerDaemon, Fault, FaultKind, Store, daemon_json, text},
};
use bollard::{
    models::{LocalNodeState, SystemInfo},
    query_parameters::{EventsOptionsBuilder, ListContainersOptionsBuilder},
};
use futures::StreamExt;
use jiff::Timestamp;
use std::{collections::HashMap, sync::Arc};

/// What a daemon uses.
#[derive(Clone, Debug)]
pub struct Uses {
    /// `RegistryConfig.Mirrors` of its `/info`.
    pub mirrors: Vec<String>,
    /// Those it keeps for Docker Hub itself.
    hub: Option<Vec<String>>,
    pub debug: bool,
    pub version: String,
    /// Registries that need not be secure, as `DockerDaemon` has them.
    insecure: Vec<String>,
    /// By its own clock, which its log and its events go by as well.
    pub now: Option<Timestamp>,
}

impl Uses {
    /// These mirrors and no others, wherever it keeps them.
    pub fn has(&self, mirrors: &[String]) -> bool {
        self.mirrors == mirrors && self.hub.as_deref().is_none_or(|hub| hub == mirrors)
    }

    /// A reload would make it forget its insecure registries.
    pub fn is_hurt_by_reload(&self) -> bool {
        !self.insecure.is_empty() && daemon_json::reload_drops_insecure(&self.version)
    }
}

impl DockerEngine {
    /// The daemon behind a socket of this place.
    pub fn at(name: &str, place: &Place, socket: &str, sessions: &Arc<Sessions>) -> Result<Self, Fault> {
        let (docker, host) = match place {
            Place::Local => (format!("unix://{socket}"), "local".to_owned()),
            Place::Ssh(destination) => (format!("ssh://{destination}{socket}"), format!("ssh://{destination}")),
        };
        Self::new(&AgentConfig { name: name.to_owned(), docker, tls: None, host: Some(host) }, sessions)
    }

    /// What it uses at this moment.
    pub async fn uses(&self) -> Result<Uses, Fault> {
        let docker = self.client().await?;
        let info = async { docker.info().await as Answer<SystemInfo> };
        let info = ask(&self.what("cannot read"), info).await?;
        let now = info.system_time.as_deref().and_then(|time| time.parse().ok());
        let hub =
            info.registry_config.as_ref().and_then(|config| config.index_configs.as_ref()?.get("docker.io")?.mirrors.clone());
        let DockerDaemon { mirrors, debug, version, insecure, .. } = described(info);
        Ok(Uses { mirrors, hub, debug, version, insecure, now })
    }

    /// Ends with the daemon's next reload since a moment of its own clock; the mirrors that it tells then, as its file has them.
    pub async fn reloaded(&self, since: Timestamp) -> Result<Vec<String>, Fault> {
        let what = self.what("cannot listen to");
        let filters = HashMap::from([("type", vec!["daemon"]), ("event", vec!["reload"])]);
        let since = format!("{}.{:09}", since.as_second(), since.subsec_nanosecond());
        let options = EventsOptionsBuilder::default().since(&since).filters(&filters).build();
        let docker = self.client().await?;
        let event = docker.events(Some(options)).next().await;
        let event = event.ok_or_else(|| Fault::new(FaultKind::Passing, &what, "it ended its events"))?;
        let told = event.map_err(|error| words::fault(&what, &error))?.actor.and_then(|actor| actor.attributes);
        let mirrors = told.and_then(|told| serde_json::from_str::<Vec<String>>(told.get("registry-mirrors")?).ok());
        Ok(mirrors.unwrap_or_default().iter().map(|mirror| text::clean(mirror)).collect())
    }

    /// What its API tells; flags and the path of its configuration are asked of its process.
    pub async fn daemon(&self) -> Result<DockerDaemon, Fault> {
        let docker = self.client().await?;
        let what = self.what("cannot read");
        let running = ListContainersOptionsBuilder::default().build();
        let info = async { docker.info().await as Answer<SystemInfo> };
        let (info, containers) = tokio::try_join!(ask(&what, info), ask(&what, docker.list_containers(Some(running))))?;
        let mut daemon = described(info);
        let names = containers.into_iter().filter_map(|found| found.names?.into_iter().next());
        daemon.running = names.map(|name| text::clean(name.trim_start_matches('/'))).collect();
        daemon.running.sort();
        Ok(daemon)
    }
}

fn described(info: SystemInfo) -> DockerDaemon {
    let snapshotter = |pair: &Vec<String>| pair.iter().any(|word| word.starts_with("io.containerd.snapshotter"));
    let store = if info.driver_status.iter().flatten().any(snapshotter) { Store::Containerd } else { Store::Classic };
    let registries = info.registry_config.unwrap_or_default();
    let own = ["127.0.0.0/8", "::1/128"];
    let ranges = registries.insecure_registry_cidrs.into_iter().flatten().filter(|range| !own.contains(&range.as_str()));
    let names = registries.index_configs.into_iter().flatten().filter(|(_, index)| index.secure == Some(false));
    let mut insecure: Vec<String> = ranges.chain(names.map(|(name, _)| name)).map(|name| text::clean(&name)).collect();
    insecure.sort();
    DockerDaemon {
        version: text::clean(&info.server_version.unwrap_or_default()),
        mirrors: registries.mirrors.into_iter().flatten().map(|mirror| text::clean(&mirror)).collect(),
        insecure,
        store,
        live_restore: info.live_restore_enabled.unwrap_or(false),
        swarm: info
            .swarm
            .and_then(|swarm| swarm.local_node_state)
            .is_some_and(|state| !matches!(state, LocalNodeState::INACTIVE | LocalNodeState::EMPTY)),
        debug: info.debug.unwrap_or(false),
        rootless: info.security_options.iter().flatten().any(|option| option.starts_with("name=rootless")),
        ..DockerDaemon::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_is_described_by_what_it_uses() {
        let info = r#"{"ServerVersion":"28.3.0","LiveRestoreEnabled":true,"Debug":true,"Swarm":{"LocalNodeState":"inactive"},
            "DriverStatus":[["driver-type","io.containerd.snapshotter.v1"]],"SecurityOptions":["name=seccomp,profile=builtin","name=rootless"],
            "RegistryConfig":{"InsecureRegistryCIDRs":["::1/128","127.0.0.0/8","10.0.0.0/8"],"Mirrors":["https://m.example/"],
            "IndexConfigs":{"docker.io":{"Name":"docker.io","Mirrors":["https://m.example/"],"Secure":true,"Official":true},
            "m.example:5000":{"Name":"m.example:5000","Mirrors":[],"Secure":false,"Official":false}}}}"#;
        let daemon = described(serde_json::from_str(info).unwrap());
        let expect = DockerDaemon {
            version: "28.3.0".to_owned(),
            mirrors: vec!["https://m.example/".to_owned()],
            insecure: vec!["10.0.0.0/8".to_owned(), "m.example:5000".to_owned()],
            store: Store::Containerd,
            live_restore: true,
            debug: true,
            rootless: true,
            ..DockerDaemon::default()
        };
        assert_eq!(daemon, expect);
        assert!(described(serde_json::from_str(r#"{"Swarm":{"LocalNodeState":"active"}}"#).unwrap()).swarm);
    }
}
