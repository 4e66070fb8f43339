//! The real cluster, put together from its clients.
//! It holds no state of the cluster: every question is asked anew.

mod fetch;
mod machines;
mod reading;

use super::{
    Cluster, Report,
    claim::{Claim, Claimed, Terms, Untaken},
    config::{AgentConfig, ClusterFile, HostConfig, RegistryConfig},
    docker::{DockerEngine, Wanted},
    etcd::EtcdClient,
    guard::{Guard, Order},
    host::{backup::Backups, client::HostClient},
    manager::ManagerClient,
    platform9::Platform9Client,
    postgres::PostgresClient,
    registry::RegistryClient,
    secret,
    ssh::Sessions,
};
use crate::model::{
    BackendAi, Change, Era, Fault, FaultKind, Inventory, Known, RowDiff, Service, Standing, Wants, backend_ai::images_key,
    image::DOCKER_HUB, world,
};
use async_trait::async_trait;
use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::OnceCell;

/// The platform whose manifests are looked up.
const ARCHITECTURE: &str = "amd64";

pub struct Live {
    file: ClusterFile,
    now: fn() -> i64,
    sessions: Arc<Sessions>,
    etcd: OnceCell<EtcdClient>,
    postgres: OnceCell<PostgresClient>,
    managers: BTreeMap<String, ManagerClient>,
    /// Those of the cluster file, and those discovered since.
    engines: Mutex<BTreeMap<String, Arc<DockerEngine>>>,
    /// Those of the cluster file, and those asked for since.
    registries: Mutex<BTreeMap<String, Arc<RegistryClient>>>,
    machines: BTreeMap<String, Arc<HostClient>>,
    platform9: Option<Platform9Client>,
    guard: Option<Guard>,
    /// Of files of hosts; without it none is changed.
    backups: Option<Backups>,
}

#[async_trait]
impl Cluster for Live {
    async fn read(&self, wants: &Wants) -> Inventory {
        Box::pin(self.read_parts(wants)).await.tidied()
    }

    async fn standing(&self, change: &Change) -> Result<Standing, Fault> {
        match change {
            Change::Service { manager, after } => {
                let found = self.manager(manager)?.service_state().await?;
                Ok(if found == *after { Standing::After } else { Standing::Before })
            }
            Change::Keys { diffs } => self.etcd().await?.standing(diffs).await,
            Change::Rows { diffs } | Change::BrownOut { diffs, .. } => self.postgres().await?.standing(diffs).await,
            Change::Rescan { era, registry, expect, .. } => {
                Ok(world::rescan_standing(expect, &self.known_images(*era, registry).await?))
            }
            Change::Alias { alias, architecture, before, after } => {
                self.postgres().await?.alias_standing(alias, architecture, before, after).await
            }
            Change::Pull { host, .. } | Change::Tag { host, .. } | Change::Remove { host, .. } => {
                self.engine(host).await?.standing(change).await
            }
            Change::Configure { .. } | Change::Unit { .. } => self.configure_standing(change).await,
            Change::Platform9 { cluster, before, after, .. } => self.platform9()?.standing(cluster, before, after).await,
        }
    }

    async fn apply(&self, change: &Change, report: Report<'_>) -> Result<(), Fault> {
        match change {
            Change::Service { manager, after } => self.set_service(manager, *after, report).await,
            Change::Keys { diffs } => self.etcd().await?.write(diffs, true).await,
            Change::Rows { diffs } => self.postgres().await?.write(diffs, true).await,
            Change::BrownOut { diffs, begins, for_s, .. } => {
                if *begins {
                    self.post_guard(diffs, *for_s).await?;
                }
                self.postgres().await?.write(diffs, true).await
            }
            Change::Rescan { manager, era, registry, expect, .. } => self.rescan(manager, *era, registry, expect, report).await,
            Change::Alias { alias, architecture, before, after } => {
                self.postgres().await?.point_alias(alias, architecture, after, before).await
            }
            Change::Pull { host, image, digest, id, before, size_bytes } => {
                let (digest, before, size_bytes) = (Some(digest), before.as_ref(), *size_bytes);
                self.pull(host, &Wanted { image, digest, id, before, size_bytes }, report).await
            }
            Change::Tag { host, image, from, id, before } => self.engine(host).await?.tag(image, from, id, before.as_ref()).await,
            Change::Remove { host, image, id, .. } => self.engine(host).await?.remove(image, id).await,
            Change::Configure { .. } | Change::Unit { .. } => self.configure(change, report).await,
            Change::Platform9 { .. } => self.platform9()?.apply(change, &self.file.secrets, report).await,
        }
    }

    async fn undo(&self, change: &Change, report: Report<'_>) -> Result<(), Fault> {
        match change {
            Change::Service { manager, after } => {
                let before = if *after == Service::Running { Service::Stopped } else { Service::Running };
                self.set_service(manager, before, report).await
            }
            Change::Keys { diffs } => self.etcd().await?.write(diffs, false).await,
            Change::Rows { diffs } => self.postgres().await?.write(diffs, false).await,
            Change::BrownOut { diffs, begins, .. } => {
                if !begins {
                    // Dark again only until the undo of the step before it.
                    let dark =
                        |diff: &RowDiff| RowDiff { before: diff.after.clone(), after: diff.before.clone(), ..diff.clone() };
                    self.post_guard(&diffs.iter().map(dark).collect::<Vec<_>>(), 0).await?;
                }
                self.postgres().await?.write(diffs, false).await
            }
            Change::Rescan { era, namespace, registry, keys_before, rows_before, .. } => {
                if *era == Era::Etcd {
                    self.etcd().await?.replace_within(&images_key(namespace, registry), keys_before).await
                } else {
                    self.postgres().await?.replace_images(registry, rows_before).await
                }
            }
            Change::Alias { alias, architecture, before, after } => {
                self.postgres().await?.point_alias(alias, architecture, before, after).await
            }
            Change::Pull { host, image, digest, id, before, .. } => {
                self.engine(host).await?.undo_name(image, id, Some(digest), before.as_ref()).await
            }
            Change::Tag { host, image, id, before, .. } => {
                self.engine(host).await?.undo_name(image, id, None, before.as_ref()).await
            }
            Change::Remove { host, image, id, digest, twin, .. } => {
                let wanted = Wanted { image, digest: digest.as_ref(), id, before: None, size_bytes: 0 };
                let credentials = match digest {
                    Some(_) => self.registry(&image.registry)?.credentials().await?,
                    None => None,
                };
                self.engine(host).await?.undo_remove(&wanted, twin.as_ref(), credentials, report).await
            }
            Change::Configure { .. } | Change::Unit { .. } => self.unconfigure(change, report).await,
            Change::Platform9 { .. } => self.platform9()?.undo(change, report).await,
        }
    }

    async fn take(&self, claim: &Claim, terms: Terms) -> Result<(), Untaken> {
        match self.file.etcd {
            Some(_) => self.etcd().await.map_err(Untaken::Fault)?.take(claim, terms).await,
            None => Ok(()),
        }
    }

    async fn claimed(&self) -> Claimed {
        match self.etcd.get() {
            Some(etcd) => etcd.claimed().await,
            None => Claimed::Ours,
        }
    }

    async fn let_go(&self) {
        if let Some(etcd) = self.etcd.get() {
            etcd.let_go().await;
        }
    }
}

impl Live {
    /// Opens nothing yet. `now` gives Unix time in milliseconds.
    pub fn new(file: ClusterFile, now: fn() -> i64) -> Result<Self, Fault> {
        let sessions = Sessions::new(&file.ssh, file.secret_variables());
        secret::keep_from_children(&file.secret_variables());
        let managers = file.managers.iter().map(|config| Ok((config.name.clone(), ManagerClient::new(config, &sessions)?)));
        let managers = managers.collect::<Result<_, Fault>>()?;
        let engine = |config: &AgentConfig| Ok((config.name.clone(), Arc::new(DockerEngine::new(config, &sessions)?)));
        let engines = file.agents.iter().map(engine).collect::<Result<_, Fault>>()?;
        let registry = |(name, config): (&String, &RegistryConfig)| {
            Ok((name.clone(), Arc::new(RegistryClient::new(name, config, ARCHITECTURE)?)))
        };
        let registries = file.registries.iter().map(registry).collect::<Result<_, Fault>>()?;
        let machine = |config: HostConfig| Ok((config.name.clone(), Arc::new(HostClient::new(config, &sessions)?)));
        let machines = file.machines().into_iter().map(machine).collect::<Result<_, Fault>>()?;
        let platform9 = file.platform9.as_ref().map(Platform9Client::new).transpose()?;
        let (etcd, postgres) = (OnceCell::new(), OnceCell::new());
        let (engines, registries) = (Mutex::new(engines), Mutex::new(registries));
        Ok(Self {
            file,
            now,
            sessions,
            etcd,
            postgres,
            managers,
            engines,
            registries,
            machines,
            platform9,
            guard: None,
            backups: None,
        })
    }

    /// How the guard of a brown-out is started; without it no brown-out begins.
    #[must_use]
    pub fn guarded_by(self, guard: Guard) -> Self {
        Self { guard: Some(guard), ..self }
    }

    /// The state folder, in which every file of a host is kept before it is changed.
    #[must_use]
    pub fn keeps_backups_in(self, state: PathBuf) -> Self {
        Self { backups: Some(Backups::new(state)), ..self }
    }

    /// Where what stands in files of hosts is kept before it is changed.
    pub fn backups(&self) -> Result<&Backups, Fault> {
        let missing = || Fault::new(FaultKind::Lasting, "cannot change a file of a host", "nothing says where it is kept before");
        self.backups.as_ref().ok_or_else(missing)
    }

    /// Before the effect: a brown-out that nobody guards might last for ever.
    async fn post_guard(&self, diffs: &[RowDiff], for_s: u64) -> Result<(), Fault> {
        let Some(guard) = &self.guard else {
            return Err(Fault::new(FaultKind::Lasting, "cannot begin a brown-out", "nothing says how its guard is started"));
        };
        guard.post(&Order { diffs: diffs.to_vec(), for_s }).await
    }

    async fn set_service(&self, manager: &str, wanted: Service, report: Report<'_>) -> Result<(), Fault> {
        report.progress("waiting", 0, 0);
        let manager = self.manager(manager)?;
        match wanted {
            Service::Running => manager.start().await,
            Service::Stopped => manager.stop().await,
        }
    }

    /// The manager's exit code says nothing: what is known afterwards decides, and its complaints say why.
    async fn rescan(
        &self,
        manager: &str,
        era: Era,
        registry: &str,
        expect: &[Vec<Known>],
        report: Report<'_>,
    ) -> Result<(), Fault> {
        report.progress("waiting", 0, 0);
        let complaints = self.manager(manager)?.rescan(era, registry).await?;
        let Some(complaint) = complaints.last() else { return Ok(()) };
        match world::rescan_standing(expect, &self.known_images(era, registry).await?) {
            Standing::After => Ok(()),
            _ => Err(Fault::new(FaultKind::Lasting, format!("the rescan of `{registry}` by manager `{manager}`"), complaint)),
        }
    }

    async fn pull(&self, host: &str, wanted: &Wanted<'_>, report: Report<'_>) -> Result<(), Fault> {
        let registry = self.registry(&wanted.image.registry)?;
        let credentials = registry.credentials().await?;
        let pulled = self.engine(host).await?.pull(wanted, credentials, report).await;
        match pulled {
            // The engine loses what the registry said about waiting: castoff asks for it itself.
            Err(fault) if ["toomanyrequests", "HTTP 429"].iter().any(|words| fault.why.contains(words)) => {
                let wait_ms = registry.manifest(wanted.image).await.err().and_then(|fault| fault.retry_after_ms);
                Err(fault.retry_after_ms(wait_ms))
            }
            other => other,
        }
    }

    async fn known_images(&self, era: Era, registry: &str) -> Result<Vec<(Known, String)>, Fault> {
        if era != Era::Etcd {
            return self.postgres().await?.known_images(registry).await;
        }
        let mut inventory = Inventory::new(&self.file.name, (self.now)());
        inventory.backend_ai = Some(BackendAi { version: String::new(), era, namespace: self.namespace() });
        inventory.keys = self.etcd().await?.read().await?;
        Ok(inventory.known_images(registry))
    }

    fn namespace(&self) -> String {
        self.file.etcd.as_ref().map_or_else(|| "local".to_owned(), |etcd| etcd.namespace.clone())
    }

    async fn etcd(&self) -> Result<&EtcdClient, Fault> {
        let config = self.file.etcd.as_ref().ok_or_else(|| unnamed("etcd", "[etcd]"))?;
        self.etcd.get_or_try_init(|| EtcdClient::new(config)).await
    }

    async fn postgres(&self) -> Result<&PostgresClient, Fault> {
        let config = self.file.postgres.as_ref().ok_or_else(|| unnamed("PostgreSQL", "[postgres]"))?;
        self.postgres.get_or_try_init(|| PostgresClient::new(config)).await
    }

    pub(super) fn platform9(&self) -> Result<&Platform9Client, Fault> {
        self.platform9.as_ref().ok_or_else(|| unnamed("Platform9", "[platform9]"))
    }

    fn manager(&self, name: &str) -> Result<&ManagerClient, Fault> {
        self.managers.get(name).ok_or_else(|| unnamed(&format!("manager `{name}`"), "[[managers]]"))
    }

    async fn engine(&self, name: &str) -> Result<Arc<DockerEngine>, Fault> {
        let held = |live: &Self| live.engines.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        if held(self).is_none() && self.file.discover.is_some() {
            self.discover().await?;
        }
        held(self).ok_or_else(|| unnamed(&format!("agent `{name}`"), "[[agents]]"))
    }

    /// Adds the agents that the cluster itself knows to be alive; those written by hand win.
    async fn discover(&self) -> Result<(), Fault> {
        let Some(discover) = &self.file.discover else { return Ok(()) };
        let agents = self.postgres().await?.read_agents().await?;
        for (id, host) in agents {
            let plain = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || ".-_:[]".contains(c));
            if !plain(&id) || !plain(&host) {
                return Err(Fault::new(FaultKind::Lasting, format!("agent `{id}`"), format!("its address is `{host}`")));
            }
            let fill = |text: &String| text.replace("{host}", &host).replace("{id}", &id);
            let template = &discover.agents;
            let (docker, host) = (fill(&template.docker), template.host.as_ref().map(fill));
            let config = AgentConfig { name: id.clone(), docker, tls: template.tls.clone(), host };
            let engine = Arc::new(DockerEngine::new(&config, &self.sessions)?);
            self.engines.lock().unwrap_or_else(PoisonError::into_inner).entry(id).or_insert(engine);
        }
        Ok(())
    }

    /// A registry of the cluster file, or one that is only named: by TLS, without a login.
    fn registry(&self, name: &str) -> Result<Arc<RegistryClient>, Fault> {
        let mut registries = self.registries.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(registry) = registries.get(name) {
            return Ok(Arc::clone(registry));
        }
        let host = if name == DOCKER_HUB { "registry-1.docker.io" } else { name };
        let config = RegistryConfig { url: format!("https://{host}"), ..RegistryConfig::default() };
        let registry = Arc::new(RegistryClient::new(name, &config, ARCHITECTURE)?);
        registries.insert(name.to_owned(), Arc::clone(&registry));
        Ok(registry)
    }
}

fn unnamed(what: &str, section: &str) -> Fault {
    Fault::new(FaultKind::Missing, what, "the cluster file does not name it").hint(format!("add it to `{section}`"))
}
