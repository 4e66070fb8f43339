//! What in a `config.toml` would make containerd's CRI plugin refuse, and what may keep a new `config_path` from being used.
//! It never changes a file.

use super::{CRI_2, CRI_3, at_least, configs_with, disabled, document, format, imports, names, no_version, path_of, registry};
use crate::model::{ContainerdDaemon, Cri, Problem, mirror_choice::told, text};
use std::collections::BTreeSet;
use toml_edit::{DocumentMut, Item};

/// What has to be put right by hand before `config_path` may be written. An absent file is an empty text.
pub fn conflicts(written: &str, daemon: &ContainerdDaemon) -> Vec<Problem> {
    let mut out = vec![];
    let subject = subject(daemon);
    let document = match document(written) {
        Ok(document) => document,
        Err(why) => return vec![told(subject, format!("cannot be read: {why}"), "containerd does not start with it either")],
    };
    let format = match format(&document) {
        Ok(Some(format)) => format,
        Ok(None) if document.is_empty() => i64::from(daemon.format.max(2)),
        Ok(None) => return vec![told(subject, no_version(), "with `version = 2` at its top, and plugins by their full names")],
        Err(why) => return vec![told(subject, why, "")],
    };
    let own = registry(&document, format);
    let mirrors: BTreeSet<String> =
        own.map(|table| names(table, "mirrors")).into_iter().flatten().chain(daemon.mirrors.iter().cloned()).collect();
    if !mirrors.is_empty() {
        let why =
            format!("`mirrors` are set for {}: together with `config_path` the CRI plugin refuses to start", list(&mirrors));
        let hint = "write each as a `hosts.toml` and take the tables away in one go: kubelet loses its image service meanwhile";
        out.push(told(subject.as_str(), why, hint));
    }
    let tls: BTreeSet<String> =
        own.map(|table| configs_with(table, "tls")).into_iter().flatten().chain(daemon.tls.iter().cloned()).collect();
    if !tls.is_empty() && !at_least(&daemon.version, (2, 0, 0)) {
        let why = format!("`configs` set TLS for {}: together with `config_path` the CRI plugin refuses to start", list(&tls));
        out.push(told(subject.as_str(), why, "`ca`, `client` and `skip_verify` of a `hosts.toml` say the same"));
    }
    let named = disabled(&document).map(|name| format!("`disabled_plugins` names `{name}`"));
    let absent = (daemon.cri == Cri::Absent).then(|| "its CRI plugin is not loaded".to_owned());
    if let Some(why) = named.or(absent) {
        let hint = "as the containerd.io package of Docker ships it; the engine, ctr and nerdctl do not read `config_path`";
        out.push(told(subject.as_str(), format!("{why}: no `config_path` is read"), hint));
    }
    if let Cri::Failed(why) = &daemon.cri {
        out.push(told(subject.as_str(), format!("its CRI plugin has failed: {why}"), "put it right first: `ctr plugins ls`"));
    }
    if format > 2 && daemon.format == 2 {
        let why = format!("has version {format}, which containerd {} does not read", text::clean(&daemon.version));
        out.push(told(subject, why, "write it in version 2"));
    }
    out
}

/// What has to be known beside the conflicts before `config_path` is written.
pub fn lint(written: &str, daemon: &ContainerdDaemon) -> Vec<Problem> {
    let mut out = vec![];
    let Ok(document) = document(written) else { return out };
    let Ok(format) = format(&document) else { return out };
    let format = format.unwrap_or(i64::from(daemon.format.max(2)));
    let subject = subject(daemon);
    let version = text::clean(&daemon.version);
    let mut tell = |why: String, hint: &str| out.push(told(subject.as_str(), why, hint));
    let own = registry(&document, format);
    if let Some(own) = own.and_then(path_of).filter(|own| *own != daemon.config_path) {
        let why = format!("says `{own}` as `config_path`, and a file that it imports `{}`", daemon.config_path);
        tell(why, "what is really used: `containerd config dump`");
    }
    let others: BTreeSet<String> =
        imports(&document).into_iter().chain(daemon.imports.iter().cloned()).filter(|path| *path != daemon.config).collect();
    if !others.is_empty() {
        let why = format!("imports {}, each of which may set `config_path` too", list(&others));
        tell(why, "what is really used: `containerd config dump`");
    }
    let (other, right) = if format == 2 { (CRI_3, CRI_2) } else { (CRI_2, CRI_3) };
    if misplaced(&document, other) {
        let why = format!("sets a registry below `{other}`: version {format} of the configuration looks below `{right}`");
        tell(why, "move the table");
    }
    let old = own.is_some_and(|table| {
        let tables = ["mirrors", "configs", "auths"];
        tables.iter().any(|name| !names(table, name).is_empty())
    });
    let mirrors = !daemon.mirrors.is_empty() || own.is_some_and(|table| !names(table, "mirrors").is_empty());
    if mirrors && at_least(&daemon.version, (2, 2, 0)) && !at_least(&daemon.version, (2, 2, 2)) {
        let why = format!("containerd {version} fails with `mirrors` even without a `config_path`, because it fills one in");
        tell(why, "update to 2.2.2 or later, or take the tables away");
    }
    if (old || mirrors) && at_least(&daemon.version, (2, 1, 0)) {
        let why =
            "has old tables of registries (`mirrors`, `configs`, `auths`): containerd sets `use_local_image_pull` by itself";
        tell(why.to_owned(), "they are to be given up with containerd 2.4");
    }
    out
}

fn subject(daemon: &ContainerdDaemon) -> String {
    if daemon.config.is_empty() { "config.toml".to_owned() } else { daemon.config.clone() }
}

fn list(words: &BTreeSet<String>) -> String {
    words.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}

fn misplaced(document: &DocumentMut, plugin: &str) -> bool {
    let plugins = document.get("plugins").and_then(Item::as_table_like);
    plugins.and_then(|plugins| plugins.get(plugin)?.as_table_like()?.get("registry")?.as_table_like()).is_some()
}
