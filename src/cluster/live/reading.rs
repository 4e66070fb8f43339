//! Reads the wanted parts of a cluster side by side into an inventory.
//! It never fails and never guesses: what does not answer in time is listed, and what was half read is left out.

use super::Live;
use crate::{
    cluster::registry::RegistryClient,
    model::{
        BackendAi, Fault, FaultKind, Host, ImageRef, Inventory, Manager, Part, Platform9Cluster, Refusal, Registry, Row, Service,
        Session, Unanswered, Value, Wants,
    },
};
use futures::{FutureExt, StreamExt, future::BoxFuture, stream};
use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    sync::PoisonError,
    time::Duration,
};
use tokio::time::timeout;

/// For one subject: a store, a manager, an engine.
pub(super) const DEADLINE: Duration = Duration::from_secs(30);
/// For a whole registry, which may have thousands of images; a single call there has its own, much shorter one.
const REGISTRY_DEADLINE: Duration = Duration::from_mins(5);
pub(super) const HOSTS_AT_ONCE: usize = 32;
/// The client lets fewer through; these wait for their turn.
const IMAGES_AT_ONCE: usize = 16;

/// What was read of a part, and who did not answer.
type Read<T> = (T, Vec<Unanswered>);

impl Live {
    pub(super) async fn read_parts(&self, wants: &Wants) -> Inventory {
        let mut inventory = Inventory::new(&self.file.name, (self.now)());
        let wanted = |part| wants.parts.contains(&part);
        let about = wanted(Part::Tables) || wanted(Part::Managers);
        let (keys, tables, sessions, managers, hosts, registries, refusals, machines, platform9, backend_ai) = tokio::join!(
            when(wanted(Part::Keys), self.read_keys()),
            when(wanted(Part::Tables), self.read_tables()),
            when(wanted(Part::Sessions), self.read_sessions()),
            when(wanted(Part::Managers), self.read_managers()),
            when(wanted(Part::Hosts), self.read_hosts()),
            when(wanted(Part::Registries), self.read_registries(wants)),
            when(wanted(Part::Refusals), self.read_refusals()),
            when(wanted(Part::Machines), self.read_machines(wants)),
            when(wanted(Part::Platform9), self.read_platform9()),
            when(about, self.read_backend_ai(wanted(Part::Tables))),
        );
        let unanswered = &mut inventory.unanswered;
        let mut take = |missing: Vec<Unanswered>| {
            for one in missing {
                // The database is asked for tables and for the era: it is missed once.
                if !unanswered.iter().any(|other| other.part == one.part && other.subject == one.subject) {
                    unanswered.push(one);
                }
            }
        };
        [keys.1, tables.1, sessions.1, managers.1, hosts.1, registries.1, refusals.1, machines.1, platform9.1, backend_ai.1]
            .into_iter()
            .for_each(&mut take);
        inventory.keys = keys.0;
        inventory.tables = tables.0;
        inventory.sessions = sessions.0;
        inventory.managers = managers.0;
        inventory.hosts = hosts.0;
        inventory.registries = registries.0;
        inventory.refusals = refusals.0;
        (inventory.machines, inventory.fetched) = machines.0;
        inventory.platform9 = platform9.0;
        inventory.backend_ai = backend_ai.0;
        inventory
    }

    async fn read_keys(&self) -> Read<BTreeMap<String, Value>> {
        one(Part::Keys, &self.etcd_name(), async { self.etcd().await?.read().await }).await
    }

    async fn read_platform9(&self) -> Read<Option<Platform9Cluster>> {
        one(Part::Platform9, "platform9", async { self.platform9()?.read().await.map(Some) }).await
    }

    /// Who did not answer is told with its address: `etcd http://10.0.0.3:2379`.
    fn etcd_name(&self) -> String {
        self.file.etcd.as_ref().map_or_else(|| "etcd".to_owned(), |etcd| format!("etcd {}", etcd.endpoints.join(", ")))
    }

    /// `postgres 10.0.0.3:5432/backend`: the address without user and parameters.
    fn postgres_name(&self) -> String {
        let url = self.file.postgres.as_ref().map_or("", |postgres| &postgres.url);
        let address = url.split('?').next().unwrap_or("").rsplit(['@', ' ']).next().unwrap_or("");
        format!("postgres {}", address.rsplit("://").next().unwrap_or("")).trim_end().to_owned()
    }

    async fn read_tables(&self) -> Read<BTreeMap<String, Vec<Row>>> {
        one(Part::Tables, &self.postgres_name(), async { self.postgres().await?.read_tables().await }).await
    }

    async fn read_sessions(&self) -> Read<Vec<Session>> {
        one(Part::Sessions, &self.postgres_name(), async { self.postgres().await?.read_sessions().await }).await
    }

    /// The era is what the tables say; the version is what the first manager that answers says.
    async fn read_backend_ai(&self, tables_wanted: bool) -> Read<Option<BackendAi>> {
        let part = if tables_wanted { Part::Tables } else { Part::Managers };
        let name = self.postgres_name();
        let (era, version) =
            tokio::join!(one(part, &name, async { self.postgres().await?.era().await.map(Some) }), self.read_version());
        let (missing, namespace) = ([era.1, version.1].concat(), self.namespace());
        (era.0.map(|era| BackendAi { version: version.0, era, namespace }), missing)
    }

    async fn read_version(&self) -> Read<String> {
        let mut missing = vec![];
        for (name, manager) in &self.managers {
            match within(DEADLINE, manager.version()).await {
                Ok(version) => return (version, vec![]),
                Err(fault) => missing.push(unanswered(Part::Managers, format!("manager {name}"), fault)),
            }
        }
        if missing.is_empty() {
            missing.push(unanswered(Part::Managers, "managers".to_owned(), super::unnamed("a manager", "[[managers]]")));
        }
        (String::new(), missing)
    }

    async fn read_managers(&self) -> Read<BTreeMap<String, Manager>> {
        let mut asked = vec![];
        for (name, manager) in &self.managers {
            asked.push(async move {
                let read = async {
                    let (service, importer_image) = tokio::join!(manager.service_state(), manager.importer_image());
                    Ok(Manager { running: service? == Service::Running, importer_image })
                };
                (name.clone(), within(DEADLINE, read).await)
            });
        }
        let answers = stream::iter(asked).buffer_unordered(HOSTS_AT_ONCE).collect().await;
        sorted(answers, Part::Managers, "manager")
    }

    /// Who was refused, as the managers' logs tell it; access keys become the addresses of their users.
    async fn read_refusals(&self) -> Read<Vec<Refusal>> {
        let asked = self.managers.iter().map(|(name, manager)| {
            let answer = within(DEADLINE, manager.refusals());
            async move { (name.clone(), answer.await) }
        });
        let answers = stream::iter(asked.collect::<Vec<_>>()).buffer_unordered(HOSTS_AT_ONCE).collect().await;
        let (found, mut missing) = sorted(answers, Part::Refusals, "log of manager");
        let mut refusals: Vec<Refusal> = found.into_values().flatten().collect();
        refusals.sort_by_key(|refusal| refusal.at_ms);
        if !refusals.is_empty() {
            let subject = self.postgres_name();
            let users = one(Part::Refusals, &subject, async { self.postgres().await?.read_users().await }).await;
            missing.extend(users.1);
            for refusal in &mut refusals {
                if let Some(user) = users.0.get(&refusal.owner) {
                    refusal.owner.clone_from(user);
                }
            }
        }
        (refusals, missing)
    }

    async fn read_hosts(&self) -> Read<BTreeMap<String, Host>> {
        let mut missing = vec![];
        if let Err(fault) = within(DEADLINE, self.discover()).await {
            missing.push(unanswered(Part::Hosts, "agents in postgres".to_owned(), fault));
        }
        let engines = self.engines.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let asked = engines.into_iter().map(|(name, engine)| async move { (name, within(DEADLINE, engine.read()).await) });
        let answers = stream::iter(asked).buffer_unordered(HOSTS_AT_ONCE).collect().await;
        let (hosts, silent) = sorted(answers, Part::Hosts, "agent");
        missing.extend(silent);
        (hosts, missing)
    }

    async fn read_registries(&self, wants: &Wants) -> Read<BTreeMap<String, Registry>> {
        let configured = self.file.registries.keys();
        let asked_for = wants.images.iter().map(|image| &image.registry).chain(wants.projects.keys());
        let names: BTreeSet<&String> = configured.chain(asked_for).collect();
        let mut asked = vec![];
        for name in names {
            asked.push(async move {
                let read = async { self.read_registry(&*self.registry(name)?, name, wants).await };
                (name.clone(), within(REGISTRY_DEADLINE, read).await)
            });
        }
        let answers = stream::iter(asked).buffer_unordered(HOSTS_AT_ONCE).collect().await;
        sorted(answers, Part::Registries, "registry")
    }

    /// A single image that is refused is in the answer; a registry that does not answer is a fault.
    async fn read_registry(&self, client: &RegistryClient, name: &str, wants: &Wants) -> Result<Registry, Fault> {
        let url = client.url().to_owned();
        let told = self.file.registries.get(name).is_some_and(|config| config.insecure);
        let insecure = told || url.starts_with("http://");
        let (login, login_from) =
            client.login().await?.map_or((None, None), |(name, from)| (Some(crate::model::text::clean(&name)), from));
        let mut found = Registry { url, insecure, login, login_from, ..Registry::default() };
        let mut images: BTreeSet<ImageRef> = wants.images.iter().filter(|image| image.registry == name).cloned().collect();
        for project in wants.projects.get(name).into_iter().flatten() {
            match client.list(project).await {
                Ok(listed) => images.extend(listed),
                // A project that is not there has no images: that is an answer.
                Err(fault) if fault.kind == FaultKind::Missing => {}
                Err(fault) => return Err(fault),
            }
        }
        if images.is_empty() {
            client.ping().await?;
        }
        let asked = images.into_iter().map(|image| async move {
            let answer = within(DEADLINE, client.manifest(&image)).await;
            (image, answer)
        });
        let mut answers = stream::iter(asked).buffer_unordered(IMAGES_AT_ONCE);
        while let Some((image, answer)) = answers.next().await {
            match answer {
                Ok(Some(manifest)) => {
                    found.images.insert(image, manifest);
                }
                Ok(None) => {}
                // The others would be asked in vain.
                Err(fault) if fault.kind == FaultKind::Passing => return Err(fault),
                Err(fault) => {
                    found.refused.insert(image, fault.why);
                }
            }
        }
        Ok(found)
    }
}

async fn when<T: Default>(wanted: bool, read: impl Future<Output = Read<T>>) -> Read<T> {
    if wanted { read.await } else { Read::default() }
}

fn one<'a, T: Default + Send + 'a>(
    part: Part,
    subject: &'a str,
    read: impl Future<Output = Result<T, Fault>> + Send + 'a,
) -> BoxFuture<'a, Read<T>> {
    let answer = within(DEADLINE, read);
    let listed = async move {
        match answer.await {
            Ok(value) => (value, vec![]),
            Err(fault) => (T::default(), vec![unanswered(part, subject.to_owned(), fault)]),
        }
    };
    listed.boxed()
}

/// Boxed, because what a client does for an answer is large.
pub(super) fn within<'a, T: 'a>(
    deadline: Duration,
    call: impl Future<Output = Result<T, Fault>> + Send + 'a,
) -> BoxFuture<'a, Result<T, Fault>> {
    let late = move || Fault::new(FaultKind::Passing, "it", format!("no answer within {} s", deadline.as_secs()));
    timeout(deadline, call).map(move |answer| answer.unwrap_or_else(|_| Err(late()))).boxed()
}

pub(super) fn sorted<T>(answers: Vec<(String, Result<T, Fault>)>, part: Part, kind: &str) -> Read<BTreeMap<String, T>> {
    let (mut found, mut missing) = (BTreeMap::new(), vec![]);
    for (name, answer) in answers {
        match answer {
            Ok(value) => {
                found.insert(name, value);
            }
            Err(fault) => missing.push(unanswered(part, format!("{kind} {name}"), fault)),
        }
    }
    missing.sort_by(|a: &Unanswered, b| a.subject.cmp(&b.subject));
    (found, missing)
}

fn unanswered(part: Part, subject: String, fault: Fault) -> Unanswered {
    Unanswered { part, subject, why: fault.why, hint: fault.hint }
}
