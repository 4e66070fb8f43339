//! One Docker Engine: what it holds, and the effects on it: pull, tag, remove, and the way back of each.
//! It never forces a removal and never removes a name that a container was created by.

mod daemon;
mod prove;
mod pull;
mod words;

pub use daemon::Uses;
pub use pull::Wanted;

use super::{
    Report,
    config::{AgentConfig, Tls},
    registry::Credentials,
    ssh::{Destination, Place, Runner, Sessions},
    tls::Names,
};
use crate::model::{
    Change, Container, ContainerState, Digest, Fault, FaultKind, Host, ImageRef, LocalImage, Standing, Store, text, world,
};
use bollard::{
    API_DEFAULT_VERSION, Docker,
    models::{ContainerSummary, ContainerSummaryStateEnum, ImageInspect, ImageSummary},
    query_parameters::{
        InspectContainerOptions, ListContainersOptionsBuilder, ListImagesOptionsBuilder, RemoveImageOptionsBuilder,
        TagImageOptionsBuilder,
    },
};
use futures::{StreamExt, TryStreamExt, stream};
use std::{collections::BTreeMap, future::Future, path::PathBuf, sync::Arc, time::Duration};
use tokio::{sync::Mutex, time::timeout};

/// For every call but a pull: the client's own timeout ends with the head of an answer.
const CALL_DEADLINE: Duration = Duration::from_secs(15);
/// Inspections at once on one engine.
const SIDE_BY_SIDE: usize = 4;

type Answer<T> = Result<T, bollard::errors::Error>;

pub struct DockerEngine {
    name: String,
    address: Address,
    /// Where the engine's files are, to see the free space; `None`: nobody can be asked.
    files: Option<Runner>,
    /// The client and the address it was made for: a forwarded socket has a new path after its connection died.
    client: Mutex<Option<(PathBuf, Docker)>>,
}

#[derive(Debug, PartialEq, Eq)]
enum Address {
    Unix(PathBuf),
    Tcp(String, Option<TlsFiles>),
    /// The socket's path over there; the way is `files`.
    Forwarded(String),
}

type TlsFiles = (PathBuf, PathBuf, PathBuf);

impl DockerEngine {
    pub fn new(config: &AgentConfig, sessions: &Arc<Sessions>) -> Result<Self, Fault> {
        let (address, way) = parse_address(&config.docker, config.tls.as_ref())?;
        let place = match (way, config.host.as_deref(), &address) {
            (Some(destination), _, _) => Some(Place::Ssh(destination)),
            (None, Some(host), _) => Some(Place::parse(host)?),
            (None, None, Address::Unix(_)) => Some(Place::Local),
            (None, None, _) => None,
        };
        let files = place.map(|place| Runner::new(place, sessions));
        Ok(Self { name: config.name.clone(), address, files, client: Mutex::default() })
    }

    /// Everything an inventory holds of this host.
    pub async fn read(&self) -> Result<Host, Fault> {
        let docker = self.client().await?;
        let what = self.what("cannot read");
        let (version, info, mut host) =
            tokio::try_join!(ask(&what, docker.version()), ask(&what, docker.info()), self.names(&docker, &what))?;
        host.engine = version.version.unwrap_or_default();
        let snapshotter = |pair: &Vec<String>| pair.iter().any(|word| word.starts_with("io.containerd.snapshotter"));
        host.store = if info.driver_status.iter().flatten().any(snapshotter) { Store::Containerd } else { Store::Classic };
        let ids: Vec<Digest> = {
            let mut ids: Vec<Digest> = host.images.values().map(|image| image.id.clone()).collect();
            ids.sort();
            ids.dedup();
            ids
        };
        let layers = |id: Digest| {
            let (docker, what) = (&docker, &what);
            async move {
                let found = present(ask(what, docker.inspect_image(id.as_str())).await)?;
                Ok::<_, Fault>((id, found.map(|image| layers_of(&image)).unwrap_or_default()))
            }
        };
        let layers: BTreeMap<Digest, Vec<Digest>> =
            stream::iter(ids.into_iter().map(layers)).buffer_unordered(SIDE_BY_SIDE).try_collect().await?;
        for image in host.images.values_mut() {
            image.layers = layers.get(&image.id).cloned().unwrap_or_default();
        }
        host.free_bytes = match (&self.files, info.docker_root_dir) {
            (Some(files), Some(folder)) => free_bytes(files, &folder).await,
            _ => None,
        };
        Ok(host)
    }

    /// Asked of the engine, each time.
    pub async fn standing(&self, change: &Change) -> Result<Standing, Fault> {
        let what = self.what("cannot look at");
        let docker = self.client().await?;
        match change {
            Change::Pull { image, digest, id, before, .. } => {
                let found = named(&docker, &what, &image.to_string()).await?.map(|found| as_planned(found, id, digest));
                Ok(world::name_standing(found.as_ref(), before.as_ref(), id))
            }
            Change::Tag { image, id, before, .. } => {
                let found = named(&docker, &what, &image.to_string()).await?;
                Ok(world::name_standing(found.as_ref(), before.as_ref(), id))
            }
            Change::Remove { image, id, .. } => Ok(world::remove_standing(&self.names(&docker, &what).await?, image, id)),
            other => Err(Fault::new(FaultKind::Lasting, &what, format!("`{}` is no change of a host", other.kind()))),
        }
    }

    /// Gives the image that `from` means a second name. No byte is moved.
    pub async fn tag(&self, image: &ImageRef, from: &ImageRef, id: &Digest, before: Option<&Digest>) -> Result<(), Fault> {
        let what = format!("cannot tag `{}` as `{}` on `{}`", from.familiar(), image.familiar(), self.name);
        let docker = self.client().await?;
        let found = named(&docker, &what, &image.to_string()).await?;
        if let Standing::Neither(why) = world::name_standing(found.as_ref(), before, id) {
            return Err(Fault::new(FaultKind::Drift, what, why));
        }
        match named(&docker, &what, &from.to_string()).await? {
            Some(found) if found.id == *id => name_it(&docker, &what, &from.to_string(), image).await,
            Some(found) => {
                let why = format!("`{}` now means image {}, not {}", from.familiar(), found.id.short(), id.short());
                Err(Fault::new(FaultKind::Drift, what, why))
            }
            None => Err(Fault::new(FaultKind::Missing, what, format!("there is no `{}` any more", from.familiar()))),
        }
    }

    /// Takes one name away. Already gone is fine; a name in use is `Drift`.
    pub async fn remove(&self, image: &ImageRef, id: &Digest) -> Result<(), Fault> {
        let what = format!("cannot remove `{}` on `{}`", image.familiar(), self.name);
        let docker = self.client().await?;
        // The engine protects an image, but not a name: it has to be looked at right before.
        match world::remove_standing(&self.names(&docker, &what).await?, image, id) {
            Standing::After => Ok(()),
            Standing::Neither(why) => Err(Fault::new(FaultKind::Drift, what, why)),
            Standing::Before | Standing::Midway => self.unname(&docker, &what, image).await,
        }
    }

    /// The way back of a pull and of a tag: the name means again what it meant before, or is gone.
    pub async fn undo_name(
        &self,
        image: &ImageRef,
        id: &Digest,
        digest: Option<&Digest>,
        before: Option<&Digest>,
    ) -> Result<(), Fault> {
        let what = format!("cannot take back `{}` on `{}`", image.familiar(), self.name);
        let docker = self.client().await?;
        let host = self.names(&docker, &what).await?;
        let found = host.images.get(image).map(|local| &local.id);
        if found == before {
            return Ok(());
        }
        if let Some(found) = found.filter(|found| *found != id && Some(*found) != digest) {
            return Err(Fault::new(FaultKind::Drift, what, format!("the name now means image {}", found.short())));
        }
        if let Some(container) = found.and_then(|found| world::users(&host, image, found).into_iter().next()) {
            return Err(Fault::new(FaultKind::Drift, what, format!("container `{}` uses it", container.name))
                .hint("end that container, then roll back again"));
        }
        match before {
            Some(before) => name_it(&docker, &what, before.as_str(), image).await,
            None => self.unname(&docker, &what, image).await,
        }
    }

    /// The way back of a removal: from another name of the same image, else from its registry.
    pub async fn undo_remove(
        &self,
        wanted: &Wanted<'_>,
        twin: Option<&ImageRef>,
        credentials: Option<Credentials>,
        report: Report<'_>,
    ) -> Result<(), Fault> {
        let what = format!("cannot bring back `{}` on `{}`", wanted.image.familiar(), self.name);
        let docker = self.client().await?;
        match named(&docker, &what, &wanted.image.to_string()).await? {
            Some(found) if found.id == *wanted.id => return Ok(()),
            Some(found) => {
                let why = format!("the name now means image {}", found.id.short());
                return Err(Fault::new(FaultKind::Drift, what, why));
            }
            None => {}
        }
        if let Some(twin) = twin
            && named(&docker, &what, &twin.to_string()).await?.is_some_and(|found| found.id == *wanted.id)
        {
            return name_it(&docker, &what, &twin.to_string(), wanted.image).await;
        }
        if wanted.digest.is_none() {
            return Err(Fault::new(FaultKind::Missing, what, "no other name keeps the image, and no registry serves it"));
        }
        self.pull(wanted, credentials, report).await
    }

    fn what(&self, verb: &str) -> String {
        format!("{verb} the engine on `{}`", self.name)
    }

    /// One client for each engine: the negotiated version is shared by all clones of a client.
    async fn client(&self) -> Result<Docker, Fault> {
        let what = self.what("cannot reach");
        let seconds = CALL_DEADLINE.as_secs();
        let mut held = self.client.lock().await;
        let path = match (&self.address, &self.files) {
            (Address::Forwarded(socket), Some(way)) => way.forward(socket).await.map_err(|fault| {
                let told = Fault::new(fault.kind, &what, fault.to_string()).unreachable();
                Fault { hint: fault.hint, ..told }
            })?,
            (Address::Unix(path), _) => path.clone(),
            (Address::Tcp(address, _) | Address::Forwarded(address), _) => PathBuf::from(address),
        };
        if let Some((_, docker)) = held.as_ref().filter(|(made_for, _)| *made_for == path) {
            return Ok(docker.clone());
        }
        let place = path.to_string_lossy();
        let section = format!("`tls` of agent `{}`", self.name);
        let names = match &self.address {
            Address::Tcp(_, Some((key, cert, ca))) => {
                let names = Names { section: &section, ca: Some(ca), cert: Some(cert), key: Some(key) };
                // The client would leave a certificate out that it cannot read.
                names.check(&what).map_err(Fault::unreachable)?;
                Some(names)
            }
            _ => None,
        };
        let made = match &self.address {
            Address::Tcp(address, Some((key, cert, ca))) => {
                Docker::connect_with_ssl(address, key, cert, ca, seconds, API_DEFAULT_VERSION)
            }
            Address::Tcp(address, None) => Docker::connect_with_http(address, seconds, API_DEFAULT_VERSION),
            _ => Docker::connect_with_unix(&place, seconds, API_DEFAULT_VERSION),
        };
        let docker = made.map_err(|e| words::fault(&what, &e))?;
        let docker = match timeout(CALL_DEADLINE, docker.negotiate_version()).await {
            Ok(Err(error)) => {
                let address = place.strip_prefix("tcp://").unwrap_or_default();
                return Err(words::first_fault(&what, &error, names, address).await);
            }
            answer => ask(&what, async { answer.unwrap_or(Err(bollard::errors::Error::RequestTimeoutError)) }).await?,
        };
        let version = docker.client_version();
        let docker = docker.with_request_modifier(move |mut request| {
            words::repair_login(request.headers_mut());
            if let Ok(uri) = words::versioned(&request.uri().to_string(), &version.to_string()).parse() {
                *request.uri_mut() = uri;
            }
            request
        });
        *held = Some((path, docker.clone()));
        Ok(docker)
    }

    /// Names and containers, without what only single inspections tell.
    async fn names(&self, docker: &Docker, what: &str) -> Result<Host, Fault> {
        let images = ListImagesOptionsBuilder::default().digests(true).build();
        let containers = ListContainersOptionsBuilder::default().all(true).build();
        // Containers last: one that is created in between is seen with its image's name still there.
        let images = ask(what, docker.list_images(Some(images))).await?;
        let containers = ask(what, docker.list_containers(Some(containers))).await?;
        let mut host = Host::default();
        for image in &images {
            names_of(image, &mut host.images);
        }
        let containers = stream::iter(containers.into_iter().map(|found| container(docker, what, found)));
        let containers: Vec<Option<Container>> = containers.buffered(SIDE_BY_SIDE).try_collect().await?;
        host.containers = containers.into_iter().flatten().collect();
        host.containers.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(host)
    }

    async fn unname(&self, docker: &Docker, what: &str, image: &ImageRef) -> Result<(), Fault> {
        let gently = RemoveImageOptionsBuilder::default().force(false).noprune(false).build();
        let removed = timeout(CALL_DEADLINE * 4, docker.remove_image(&image.to_string(), Some(gently), None)).await;
        match removed.map_err(|_| Fault::new(FaultKind::Passing, what, "the engine did not answer within 60 s"))? {
            Ok(_) | Err(bollard::errors::Error::DockerResponseServerError { status_code: 404, .. }) => Ok(()),
            Err(bollard::errors::Error::DockerResponseServerError { status_code: 409, message }) => {
                let host = self.names(docker, what).await.unwrap_or_default();
                Err(Fault::new(FaultKind::Drift, what, words::conflict(&message, &host.containers)))
            }
            Err(e) => Err(words::fault(what, &e)),
        }
    }
}

/// Every call has a deadline of its own, for head and body.
async fn ask<T>(what: &str, call: impl Future<Output = Answer<T>>) -> Result<T, Fault> {
    match timeout(CALL_DEADLINE, call).await {
        Ok(answer) => answer.map_err(|e| words::fault(what, &e)),
        Err(_) => Err(Fault::new(FaultKind::Passing, what, "the engine did not answer within 15 s").unreachable()),
    }
}

fn present<T>(answer: Result<T, Fault>) -> Result<Option<T>, Fault> {
    match answer {
        Err(fault) if fault.kind == FaultKind::Missing => Ok(None),
        other => other.map(Some),
    }
}

/// What a name means now.
async fn named(docker: &Docker, what: &str, name: &str) -> Result<Option<LocalImage>, Fault> {
    let Some(found) = present(ask(what, docker.inspect_image(name)).await)? else { return Ok(None) };
    let id = found.id.as_deref().and_then(|id| id.parse().ok());
    let id = id.ok_or_else(|| Fault::new(FaultKind::Lasting, what, format!("`{name}` has no image id")))?;
    let size_bytes = u64::try_from(found.size.unwrap_or(0)).unwrap_or(0);
    Ok(Some(LocalImage { id, digest: None, size_bytes, layers: layers_of(&found) }))
}

/// The containerd store calls an image by its manifest: there, the digest of the plan is the id of the plan.
fn as_planned(found: LocalImage, id: &Digest, digest: &Digest) -> LocalImage {
    if found.id == *digest { LocalImage { id: id.clone(), ..found } } else { found }
}

async fn name_it(docker: &Docker, what: &str, source: &str, image: &ImageRef) -> Result<(), Fault> {
    let repository = format!("{}/{}", image.registry, image.repository);
    let options = TagImageOptionsBuilder::default().repo(&repository).tag(&image.tag).build();
    ask(what, docker.tag_image(source, Some(options))).await
}

/// Every name of one image that is a full name; `<none>` is not.
fn names_of(image: &ImageSummary, names: &mut BTreeMap<ImageRef, LocalImage>) {
    let Ok(id) = image.id.parse::<Digest>() else { return };
    for name in image.repo_tags.iter().filter_map(|tag| tag.parse::<ImageRef>().ok()) {
        let same = |pinned: &String| {
            let (repository, digest) = pinned.split_once('@')?;
            let repository: ImageRef = repository.parse().ok()?;
            let same = repository.registry == name.registry && repository.repository == name.repository;
            digest.parse().ok().filter(|_| same)
        };
        let digest = image.repo_digests.iter().find_map(same);
        let size_bytes = u64::try_from(image.size).unwrap_or(0);
        names.insert(name, LocalImage { id: id.clone(), digest, size_bytes, layers: vec![] });
    }
}

fn layers_of(image: &ImageInspect) -> Vec<Digest> {
    let layers = image.root_fs.as_ref().and_then(|root| root.layers.as_ref());
    layers.into_iter().flatten().filter_map(|layer| layer.parse().ok()).collect()
}

/// `None`: it is gone already. A container whose image is not known is a fault, for it may use any image.
async fn container(docker: &Docker, what: &str, found: ContainerSummary) -> Result<Option<Container>, Fault> {
    let id = found.id.unwrap_or_default();
    let name = found.names.iter().flatten().next().map_or_else(|| id.clone(), |name| name.trim_start_matches('/').to_owned());
    let name = text::clean(&name);
    let image_id = found.image_id.as_deref().and_then(|id| id.parse().ok());
    let image_id =
        image_id.ok_or_else(|| Fault::new(FaultKind::Lasting, what, format!("container `{name}` names no image id")))?;
    let mut image = found.image.unwrap_or_default();
    // Where the name it was created by is gone or means another image, the list shows an id.
    if image.starts_with("sha256:") || image.is_empty() {
        let inspected = present(ask(what, docker.inspect_container(&id, None::<InspectContainerOptions>)).await)?;
        let Some(inspected) = inspected else { return Ok(None) };
        image = inspected.config.and_then(|config| config.image).unwrap_or(image);
    }
    let state = match found.state {
        Some(ContainerSummaryStateEnum::PAUSED) => ContainerState::Paused,
        Some(
            ContainerSummaryStateEnum::RUNNING
            | ContainerSummaryStateEnum::RESTARTING
            | ContainerSummaryStateEnum::REMOVING
            | ContainerSummaryStateEnum::STOPPING,
        ) => ContainerState::Running,
        _ => ContainerState::Stopped,
    };
    let kernel = found.labels.and_then(|labels| labels.get("ai.backend.kernel-id").map(|kernel| text::clean(kernel)));
    let created_ms = found.created.unwrap_or(0).saturating_mul(1000);
    Ok(Some(Container { id, name, image: text::clean(&image), image_id, state, kernel, created_ms }))
}

/// `None` wherever nobody answers: a number is never guessed.
async fn free_bytes(files: &Runner, folder: &str) -> Option<u64> {
    if *files.place() == Place::Local {
        let folder = folder.to_owned();
        let asked = tokio::task::spawn_blocking(move || rustix::fs::statvfs(folder.as_str()));
        let found = timeout(CALL_DEADLINE, asked).await.ok()?.ok()?.ok()?;
        return Some(found.f_bavail.saturating_mul(found.f_frsize));
    }
    let words = ["df", "-B1", "--output=avail", "--", folder].map(str::to_owned);
    let output = files.run(&words, None, CALL_DEADLINE).await.ok().filter(|output| output.code == Some(0))?;
    output.stdout.lines().last()?.trim().parse().ok()
}

fn parse_address(text: &str, tls: Option<&Tls>) -> Result<(Address, Option<Destination>), Fault> {
    let bad = || {
        Fault::new(FaultKind::Lasting, format!("`{text}`"), "it is no address of a Docker Engine")
            .hint("use `unix:///path`, `tcp://host:2376` or `ssh://user@host`")
    };
    if let Some(path) = text.strip_prefix("unix://").filter(|path| path.starts_with('/')) {
        return Ok((Address::Unix(PathBuf::from(path)), None));
    }
    if text.starts_with("tcp://") {
        let tls = tls.map(|files| (files.key.clone(), files.cert.clone(), files.ca.clone()));
        return Ok((Address::Tcp(text.to_owned(), tls), None));
    }
    let rest = text.strip_prefix("ssh://").ok_or_else(bad)?;
    let (host, socket) = rest.find('/').map_or((rest, "/var/run/docker.sock"), |at| rest.split_at(at));
    let socket = if socket == "/" { "/var/run/docker.sock" } else { socket };
    let destination = Destination::parse(host).ok_or_else(bad)?;
    Ok((Address::Forwarded(socket.to_owned()), Some(destination)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: Option<(Address, Option<&str>)>) {
        let found = parse_address(text, None).ok().map(|(address, way)| (address, way.map(|way| way.to_string())));
        assert_eq!(found, expect.map(|(address, way)| (address, way.map(str::to_owned))), "{text}");
    }

    #[test]
    fn addresses_of_engines() {
        let forwarded = |socket: &str| Address::Forwarded(socket.to_owned());
        check("unix:///run/d.sock", Some((Address::Unix("/run/d.sock".into()), None)));
        check("tcp://gpu-1:2376", Some((Address::Tcp("tcp://gpu-1:2376".to_owned(), None), None)));
        check("ssh://root@gpu-3", Some((forwarded("/var/run/docker.sock"), Some("root@gpu-3"))));
        check("ssh://gpu-3:22/run/d.sock", Some((forwarded("/run/d.sock"), Some("gpu-3:22"))));
        for text in ["", "gpu-1", "unix://run/d.sock", "ssh://-x", "http://gpu-1"] {
            check(text, None);
        }
    }

    #[test]
    fn a_digest_belongs_to_its_own_repository() {
        let digest = |c: &str| format!("sha256:{}", c.repeat(64));
        let summary = ImageSummary {
            id: digest("a"),
            repo_tags: ["lablup/python:3.6", "cr.backend.ai/stable/python:3.6", "<none>:<none>"].map(str::to_owned).to_vec(),
            repo_digests: vec![format!("lablup/python@{}", digest("b")), format!("<none>@{}", digest("c"))],
            ..ImageSummary::default()
        };
        let mut names = BTreeMap::new();
        names_of(&summary, &mut names);
        let digests: Vec<(String, Option<String>)> =
            names.iter().map(|(name, image)| (name.familiar(), image.digest.as_ref().map(ToString::to_string))).collect();
        let expect = [("cr.backend.ai/stable/python:3.6".to_owned(), None), ("lablup/python:3.6".to_owned(), Some(digest("b")))];
        assert_eq!(digests, expect);
    }
}
