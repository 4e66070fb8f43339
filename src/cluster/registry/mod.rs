//! One registry, asked as a client: does it answer, what does a tag mean, what does a project hold.
//! It never writes to a registry and never sends a login to another host.

#[cfg(test)]
mod fuzz;
mod http;
mod login;
mod manifest;
mod realm;
mod words;

use super::config::RegistryConfig;
use crate::model::{Digest, Fault, FaultKind, ImageRef, Manifest, backend_ai::quote, image::canonical_registry};
use futures::{StreamExt, TryStreamExt, stream};
use http::{Ask, Wire};
use login::Login;
pub(super) use manifest::MANIFEST_TYPES;
use manifest::Pointer;
use secrecy::SecretString;
use serde::{Deserialize, de::DeserializeOwned};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};
use tokio::sync::OnceCell;

/// Repositories listed at once; the wire has its own limit of requests.
const SIDE_BY_SIDE: usize = 8;
/// No list is longer: a registry that pages in a circle ends here.
const PAGES: usize = 1000;

/// A login for a registry.
#[derive(Clone, Debug)]
pub struct Credentials {
    pub username: String,
    pub secret: SecretString,
    /// The secret is no password: a token service gives tokens for it.
    pub identity: bool,
    /// Where it was found, if not in the cluster file: `~/.docker/config.json`.
    pub from: Option<String>,
}

pub struct RegistryClient {
    name: String,
    wire: Wire,
    /// Of castoff's own requests.
    login: Arc<Login>,
    /// Of the engines, which go to the registry by its name, whatever address castoff asks.
    of_engines: Arc<Login>,
    /// `amd64`, as the OCI spells it: which manifest of an index the engines would take.
    architecture: String,
    harbor: OnceCell<bool>,
    /// What a digest means never changes: a second look costs one HEAD.
    known: Mutex<BTreeMap<ImageRef, Manifest>>,
}

impl RegistryClient {
    /// Opens nothing yet. Fails where the configuration cannot be used at all: a bad URL, an unreadable CA file.
    pub fn new(name: &str, config: &RegistryConfig, architecture: &str) -> Result<Self, Fault> {
        let of_engines = Arc::new(Login::new(name, config, Some(name.to_owned())));
        // What docker keeps for one host is for no other: where castoff asks another address, its own login is that one's.
        let login = match (address(&config.url), config.login) {
            (Some(address), None) if canonical_registry(&address) != canonical_registry(name) => {
                Arc::new(Login::new(name, config, Some(address)))
            }
            _ => Arc::clone(&of_engines),
        };
        let wire = Wire::new(name, config, Arc::clone(&login))?;
        let (name, architecture) = (name.to_owned(), architecture.to_owned());
        Ok(Self { name, wire, login, of_engines, architecture, harbor: OnceCell::new(), known: Mutex::default() })
    }

    pub fn url(&self) -> &str {
        self.wire.base().as_str().trim_end_matches('/')
    }

    /// The user name of castoff's own requests, and where the login is from if not from the cluster file.
    pub async fn login(&self) -> Result<Option<(String, Option<String>)>, Fault> {
        self.login.told().await
    }

    /// The login for an engine that pulls from here.
    pub async fn credentials(&self) -> Result<Option<Credentials>, Fault> {
        self.of_engines.read().await
    }

    /// That it answers and, with a login, that the login is good.
    pub async fn ping(&self) -> Result<(), Fault> {
        let what = format!("registry `{}`", self.name);
        self.wire.ask(&what, Ask::get("/v2/")).await?;
        if self.login.read().await?.is_some_and(|login| !login.identity) && self.is_harbor().await? {
            self.wire.ask(&what, Ask::get("/api/v2.0/systeminfo").basic()).await?;
        }
        Ok(())
    }

    /// What a pull of this name would fetch; `None`: the registry has no such repository or tag.
    pub async fn manifest(&self, image: &ImageRef) -> Result<Option<Manifest>, Fault> {
        let what = format!("cannot look up `{image}`");
        let path = format!("/v2/{}/manifests/{}", image.repository, image.tag);
        let scope = format!("repository:{}:pull", image.repository);
        let ask = |path: &str| Ask::get(path).scope(&scope).accept(MANIFEST_TYPES);
        let known = self.known.lock().ok().and_then(|known| known.get(image).cloned());
        if let Some(known) = known {
            match none_if_missing(self.wire.ask(&what, ask(&path).head()).await)? {
                None => return Ok(None),
                Some(head) if head.digest.as_deref() == Some(known.digest.as_str()) => return Ok(Some(known)),
                Some(_) => {}
            }
        }
        let Some(top) = none_if_missing(self.wire.ask(&what, ask(&path)).await)? else { return Ok(None) };
        let digest = manifest::digest_of(&top.body);
        if top.digest.as_deref().is_some_and(|said| said != digest.as_str()) {
            return Err(Fault::new(
                FaultKind::Lasting,
                what,
                "the bytes of the manifest do not fit the digest the registry gave",
            ));
        }
        let wrong = |why: String| Fault::new(FaultKind::Lasting, &what, why);
        let image_manifest = match manifest::read(&top.body, &self.architecture).map_err(wrong)? {
            Pointer::Image(found) => found,
            Pointer::Child(child) => {
                let body = self.blob(&what, ask(&format!("/v2/{}/manifests/{child}", image.repository)), &child).await?;
                match manifest::read(&body, &self.architecture).map_err(wrong)? {
                    Pointer::Image(found) => found,
                    Pointer::Child(_) => return Err(wrong("its index points at another index".to_owned())),
                }
            }
        };
        let config = Ask::get(&format!("/v2/{}/blobs/{}", image.repository, image_manifest.config.digest)).scope(&scope);
        let config = self.blob(&what, config, &image_manifest.config.digest).await?;
        let found = manifest::join(digest, image_manifest, &config).map_err(wrong)?;
        if let Ok(mut known) = self.known.lock() {
            known.insert(image.clone(), found.clone());
        }
        Ok(Some(found))
    }

    /// Every tagged image of a project, under the registry's name.
    pub async fn list(&self, project: &str) -> Result<Vec<ImageRef>, Fault> {
        let repositories =
            if self.is_harbor().await? { self.harbor_repositories(project).await? } else { self.catalog(project).await? };
        let tags = repositories.into_iter().map(|repository| self.tags(project, repository));
        let found: Vec<Vec<ImageRef>> = stream::iter(tags).buffered(SIDE_BY_SIDE).try_collect().await?;
        let mut found: Vec<ImageRef> = found.into_iter().flatten().collect();
        found.sort();
        found.dedup();
        Ok(found)
    }

    async fn is_harbor(&self) -> Result<bool, Fault> {
        let asked = self.harbor.get_or_try_init(|| async {
            let what = format!("registry `{}`", self.name);
            match self.wire.ask(&what, Ask::get("/api/v2.0/ping")).await {
                Ok(answer) => Ok(answer.body.starts_with(b"Pong") || answer.body.starts_with(b"\"Pong")),
                Err(fault) if fault.kind == FaultKind::Passing => Err(fault),
                Err(_) => Ok(false),
            }
        });
        asked.await.copied()
    }

    /// Full names, with the project. Harbor's own list, because its `_catalog` is for administrators.
    async fn harbor_repositories(&self, project: &str) -> Result<Vec<String>, Fault> {
        #[derive(Deserialize)]
        struct Repository {
            name: String,
        }
        let what = format!("cannot list `{}/{project}`", self.name);
        let path = format!("/api/v2.0/projects/{}/repositories?page_size=100", quote(project));
        let pages: Vec<Vec<Repository>> = self.pages(&what, Ask::get(&path).basic()).await?;
        Ok(pages.into_iter().flatten().map(|repository| repository.name).collect())
    }

    async fn catalog(&self, project: &str) -> Result<Vec<String>, Fault> {
        #[derive(Deserialize)]
        struct Catalog {
            repositories: Option<Vec<String>>,
        }
        let what = format!("cannot list `{}`", self.name);
        let pages: Vec<Catalog> = self.pages(&what, Ask::get("/v2/_catalog?n=1000").scope("registry:catalog:*")).await?;
        let within = format!("{project}/");
        let all = pages.into_iter().flat_map(|page| page.repositories.unwrap_or_default());
        Ok(all.filter(|repository| repository.starts_with(&within)).collect())
    }

    async fn tags(&self, project: &str, repository: String) -> Result<Vec<ImageRef>, Fault> {
        #[derive(Deserialize)]
        struct Artifact {
            #[serde(rename = "type")]
            kind: Option<String>,
            tags: Option<Vec<Tag>>,
        }
        #[derive(Deserialize)]
        struct Tag {
            name: String,
        }
        #[derive(Deserialize)]
        struct Tags {
            tags: Option<Vec<String>>,
        }
        let what = format!("cannot list `{}/{repository}`", self.name);
        let tags: Vec<String> = if self.is_harbor().await? {
            let within = repository.strip_prefix(project).and_then(|rest| rest.strip_prefix('/')).unwrap_or(&repository);
            // Harbor decodes a name twice: a slash within it has to be encoded twice.
            let (project, within) = (quote(project), quote(&quote(within)));
            let path = format!("/api/v2.0/projects/{project}/repositories/{within}/artifacts?with_tag=true&page_size=100");
            let pages: Vec<Vec<Artifact>> = self.pages(&what, Ask::get(&path).basic()).await?;
            let images =
                pages.into_iter().flatten().filter(|artifact| artifact.kind.as_deref().is_none_or(|kind| kind == "IMAGE"));
            images.flat_map(|artifact| artifact.tags.unwrap_or_default()).map(|tag| tag.name).collect()
        } else {
            let scope = format!("repository:{repository}:pull");
            let ask = Ask::get(&format!("/v2/{repository}/tags/list?n=1000")).scope(&scope);
            let pages: Vec<Tags> = self.pages(&what, ask).await?;
            pages.into_iter().flat_map(|page| page.tags.unwrap_or_default()).collect()
        };
        let image = |tag: String| format!("{}/{repository}:{tag}", self.name).parse::<ImageRef>();
        tags.into_iter().map(|tag| image(tag).map_err(|e| Fault::new(FaultKind::Lasting, &what, e.to_string()))).collect()
    }

    /// Follows `Link: …; rel="next"` to the last page.
    async fn pages<T: DeserializeOwned>(&self, what: &str, ask: Ask) -> Result<Vec<T>, Fault> {
        let mut pages = vec![];
        let mut next = Some(ask);
        while let Some(ask) = next.take() {
            let answer = self.wire.ask(what, ask.clone()).await?;
            let page = serde_json::from_slice(&answer.body);
            pages.push(page.map_err(|e| Fault::new(FaultKind::Lasting, what, format!("its list cannot be read: {e}")))?);
            if pages.len() == PAGES {
                return Err(Fault::new(FaultKind::Lasting, what, format!("the list has more than {PAGES} pages")));
            }
            next = answer.next.map(|path| ask.at(&path));
        }
        Ok(pages)
    }

    /// Bytes known by their digest; anything else than these bytes is a fault.
    async fn blob(&self, what: &str, ask: Ask, digest: &Digest) -> Result<Vec<u8>, Fault> {
        let answer = self.wire.ask(what, ask).await?;
        if manifest::digest_of(&answer.body) == *digest {
            return Ok(answer.body);
        }
        Err(Fault::new(FaultKind::Lasting, what, format!("the registry gave other bytes for `{}`", digest.short())))
    }
}

/// `[registries."cr.backend.ai"]`, as people see it.
fn section(name: &str) -> String {
    format!("`[registries.\"{name}\"]`")
}

/// Host and port as they stand in a URL.
fn address(url: &str) -> Option<String> {
    let rest = url.split_once("://")?.1;
    Some(rest.split('/').next().unwrap_or(rest).to_ascii_lowercase())
}

fn none_if_missing<T>(answer: Result<T, Fault>) -> Result<Option<T>, Fault> {
    match answer {
        Err(fault) if fault.kind == FaultKind::Missing => Ok(None),
        other => other.map(Some),
    }
}
