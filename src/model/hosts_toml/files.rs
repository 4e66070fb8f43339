//! The files that a choice of a mirror comes to, and what in the folder keeps them from being read.
//! It never asks what stands there: the listing is given.

use super::{HostEntry, HostsToml, Settings, render, upstream};
use crate::model::mirror_choice::{FileToWrite, MirrorChoice, told};
use crate::model::{Problem, text};
use std::collections::BTreeMap;

/// `hosts.toml` of the mirror itself and of each registry, below the folder that `config_path` names.
/// The choice has no `problems`.
pub fn files(choice: &MirrorChoice, certs: &str) -> Vec<FileToWrite> {
    let own = HostsToml {
        server: Some(choice.root().to_owned()),
        // Of the registry itself nothing is taken away: it may be pushed to by its own name.
        own: Settings { capabilities: vec![], ..trusted(choice) },
        hosts: vec![HostEntry { url: choice.root().to_owned(), settings: trusted(choice) }],
    };
    let mirror = HostEntry {
        url: match choice.path.as_str() {
            "" => choice.root().to_owned(),
            path => format!("{}/v2/{path}", choice.root()),
        },
        settings: Settings { override_path: !choice.path.is_empty(), ..trusted(choice) },
    };
    let of = |registry: &str| {
        let hosts = vec![mirror.clone()];
        if choice.mirror_only {
            // Before containerd 2.0 a server without a host is not decoded, and the registry itself is asked.
            HostsToml { server: Some(mirror.url.clone()), own: mirror.settings.clone(), hosts }
        } else {
            HostsToml { server: Some(upstream(registry)), own: Settings::default(), hosts }
        }
    };
    let mode = if choice.login.is_some() { 0o600 } else { 0o644 };
    let certs = certs.trim_end_matches('/');
    let file = |registry: &str, file: &HostsToml| FileToWrite {
        path: format!("{certs}/{registry}/hosts.toml"),
        text: render(file),
        mode,
    };
    let registries = choice.registries.iter().map(|registry| file(registry, &of(registry)));
    std::iter::once(file(choice.host(), &own)).chain(registries).collect()
}

fn trusted(choice: &MirrorChoice) -> Settings {
    let login = choice.login.iter().map(|login| ("Authorization".to_owned(), vec![login.marker()]));
    Settings {
        capabilities: vec!["pull".to_owned(), "resolve".to_owned()],
        ca: choice.ca.iter().cloned().collect(),
        skip_verify: choice.skip_tls.then_some(true),
        header: login.collect(),
        ..Settings::default()
    }
}

/// What in the folder of `config_path` keeps a `hosts.toml` of one of these registries from being read, or is changed by
/// it. The listing: name of each folder to the names of its files.
pub fn shadows(listing: &BTreeMap<String, Vec<String>>, registries: &[String]) -> Vec<Problem> {
    let mut out = vec![];
    let has = |folder: &str, file: &str| listing.get(folder).is_some_and(|files| files.iter().any(|name| name == file));
    for registry in registries {
        let other = underlined(registry);
        if other != *registry && listing.contains_key(&other) {
            let why = format!("goes before `{registry}`: what stands there is not read");
            out.push(told(format!("folder `{other}`"), why, "move what is needed over and remove the folder"));
        }
        let certificates: Vec<&str> = listing
            .get(registry)
            .into_iter()
            .flatten()
            .filter(|name| [".crt", ".cert", ".key"].iter().any(|end| name.ends_with(end)))
            .map(String::as_str)
            .collect();
        if !certificates.is_empty() && !has(registry, "hosts.toml") {
            let why = format!("holds {}, not read any more once a `hosts.toml` stands beside it", certificates.join(", "));
            out.push(told(format!("folder `{registry}`"), why, "it is of use only if it is named as `ca` or `client`"));
        }
    }
    for (folder, files) in listing {
        if let Some(why) = hub_folder(folder) {
            out.push(told(format!("folder `{folder}`"), why, "the folder has to be `docker.io`"));
        }
        let bare = folder != "_default" && !files.iter().any(|name| name == "hosts.toml");
        if bare && has("_default", "hosts.toml") && !registries.contains(folder) {
            let why = "has no `hosts.toml`, and keeps that of `_default` from being read for it";
            out.push(told(format!("folder `{folder}`"), why, "remove the folder if it is empty"));
        }
    }
    let rest = text::count(listing.len() as u64, "folder");
    if has("_default", "hosts.toml") && registries.iter().any(|registry| !listing.contains_key(registry)) {
        let why = format!("answers for what has no folder of its own (there are {rest}); the new ones go before it");
        out.push(told("folder `_default`", why, "what it says of them, if it is still meant, has to be said for each"));
    }
    out
}

/// The folder whose `hosts.toml` is read for a registry, of those that are there.
pub fn folder(listing: &BTreeMap<String, Vec<String>>, registry: &str) -> String {
    let other = underlined(registry);
    if listing.contains_key(&other) { other } else { registry.to_owned() }
}

/// `m:443` as `m_443_`, which containerd looks for first.
pub fn underlined(registry: &str) -> String {
    match registry.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() => format!("{host}_{port}_"),
        _ => registry.to_owned(),
    }
}

/// Folders after addresses of the Docker Hub are never looked for.
pub(super) fn hub_folder(folder: &str) -> Option<&'static str> {
    let hub = ["registry-1.docker.io", "index.docker.io", "registry.docker.io", "hub.docker.com"];
    hub.contains(&folder).then_some("is not looked for: folders are named as images begin")
}
