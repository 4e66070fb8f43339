//! The one choice behind every mirror of several registries: which mirror, how it is trusted, who logs in, for whom it answers.
//! It never holds a password: a login names a secret.

use super::Problem;
use super::image::canonical_registry;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The registries for which Platform9 puts a mirror in front.
pub const PLATFORM9_REGISTRIES: [&str; 5] = ["platform9.io", "docker.io", "gcr.io", "quay.io", "registry.k8s.io"];

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct MirrorChoice {
    /// `https://10.101.101.100:443`: scheme, host and port alone.
    pub url: String,
    /// `infra/k8s`: the repository on the mirror below which everything lies; empty: at its root.
    #[serde(default)]
    pub path: String,
    /// Absolute path of its certificate authority on the host.
    #[serde(default)]
    pub ca: Option<String>,
    #[serde(default)]
    pub skip_tls: bool,
    #[serde(default)]
    pub login: Option<Login>,
    /// The registries themselves are not asked when the mirror does not have an image.
    #[serde(default)]
    pub mirror_only: bool,
    /// `docker.io`, `quay.io`, `registry.example:5000`.
    pub registries: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Login {
    pub user: String,
    /// Name of the secret in the cluster file that is the password.
    pub secret: String,
}

/// One file as it has to stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileToWrite {
    pub path: String,
    /// May hold markers of secrets.
    pub text: String,
    /// Permission bits: 0o600 where a login stands in it.
    pub mode: u32,
}

impl Login {
    /// What stands in a planned text for the value of an `Authorization` header.
    pub fn marker(&self) -> String {
        super::veil::basic(&self.user, &self.secret)
    }
}

impl MirrorChoice {
    /// `10.101.101.100:443`: as the names of its images begin.
    pub fn host(&self) -> &str {
        let rest = self.url.split_once("://").map_or(self.url.as_str(), |(_, rest)| rest);
        rest.trim_end_matches('/')
    }

    /// The URL without a closing `/`.
    pub fn root(&self) -> &str {
        self.url.trim_end_matches('/')
    }

    /// What cannot be meant. Empty: it may be written.
    pub fn problems(&self) -> Vec<Problem> {
        let mut out = vec![];
        let mut tell = |subject: String, why: String, hint: &str| out.push(told(subject, why, hint));
        if let Err((why, hint)) = plain_url(&self.url) {
            tell(format!("mirror `{}`", self.url), why, hint);
        }
        if let Err((why, hint)) = repository_path(&self.path) {
            tell(format!("path `{}`", self.path), why, hint);
        }
        if let Some(ca) = &self.ca {
            if let Err(why) = absolute(ca) {
                tell(format!("ca `{ca}`"), why, "give the whole path on the host: `/usr/local/share/reg-ca.crt`");
            }
            if self.url.starts_with("http://") {
                let why = "is of no use for `http://`".to_owned();
                tell(format!("ca `{ca}`"), why, "write the mirror with `https://`, or take the authority away");
            }
        }
        if self.skip_tls && self.url.starts_with("http://") {
            let why = "is reached by `http://`: there is no TLS to skip".to_owned();
            tell(format!("mirror `{}`", self.url), why, "take `skip-tls` away, or write the mirror with `https://`");
        }
        if let Some(login) = &self.login {
            if let Err(why) = user(&login.user) {
                tell(format!("user `{}`", login.user), why, "");
            }
            if !secret_name(&login.secret) {
                let why = "is no name of a secret: letters, digits, `-`, `_` and `.` are".to_owned();
                tell(format!("secret `{}`", login.secret), why, "name a secret of the cluster file, never the password itself");
            }
        }
        if self.registries.is_empty() {
            tell("mirror".to_owned(), "answers for no registry".to_owned(), "name at least one: registries = [\"docker.io\"]");
        }
        let mut seen = BTreeSet::new();
        for registry in &self.registries {
            if let Err((why, hint)) = registry_name(registry) {
                tell(format!("registry `{registry}`"), why, &hint);
            } else if registry == self.host() || default_port(registry) == default_port(self.host()) {
                let why = "is the mirror itself".to_owned();
                tell(format!("registry `{registry}`"), why, "its own settings are written anyway: take it off the list");
            }
            if !seen.insert(registry.as_str()) {
                tell(format!("registry `{registry}`"), "is named twice".to_owned(), "");
            }
        }
        out
    }
}

/// What has to be known of several registries behind one mirror, as one sentence.
pub fn collisions(registries: &[String]) -> Option<String> {
    let [first, second, ..] = registries else { return None };
    Some(format!(
        "{} share one path space on the mirror: `{first}/a/b` and `{second}/a/b` are the same repository there",
        registries.join(", ")
    ))
}

/// A problem with a hint; an empty one is none.
pub(super) fn told(subject: impl Into<String>, why: impl Into<String>, hint: &str) -> Problem {
    let hint = (!hint.is_empty()).then(|| super::text::clean(hint));
    Problem { hint, ..Problem::new(subject, why) }
}

/// Scheme, host and port alone, or why not and what helps.
pub(super) fn plain_url(url: &str) -> Result<(), (String, &'static str)> {
    let no = |why: &str, hint| Err((why.to_owned(), hint));
    let Some((scheme, rest)) = url.split_once("://") else {
        return no("has no scheme", "write `https://` before it");
    };
    if scheme != "https" && scheme != "http" {
        return no("is neither `https://` nor `http://`", "a registry speaks HTTP");
    }
    if rest.contains(['?', '#']) {
        return no("has a query or a fragment, which no daemon sends", "write scheme, host and port alone");
    }
    if rest.contains('@') {
        return no("holds a login, which no daemon takes from there", "give a user and the name of a secret");
    }
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.contains('/') {
        return no("has a path", "write the repository in `path`; castoff puts `/v2` before it");
    }
    match host_and_port(rest) {
        Ok(()) => Ok(()),
        Err(why) => Err((why, "write it so: `https://mirror.example:5000`")),
    }
}

/// `name`, `name:port`, `[::1]:port`.
pub(super) fn host_and_port(text: &str) -> Result<(), String> {
    let (host, port) = match text.rfind(']') {
        Some(end) => (&text[..=end], text[end + 1..].strip_prefix(':')),
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    if host.starts_with('[') {
        let address = host.trim_start_matches('[').trim_end_matches(']');
        if address.parse::<std::net::Ipv6Addr>().is_err() || text[host.len()..].chars().next().is_some_and(|c| c != ':') {
            return Err("is no address".to_owned());
        }
    } else {
        let label = |label: &str| {
            let inner = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
            !label.is_empty() && label.len() <= 63 && inner && !label.starts_with('-') && !label.ends_with('-')
        };
        if host.is_empty() || host.len() > 253 || !host.split('.').all(label) {
            return Err("has no host name".to_owned());
        }
    }
    match port {
        Some(port) if port.starts_with('0') || !port.bytes().all(|b| b.is_ascii_digit()) || port.parse::<u16>().is_err() => {
            Err(format!("has a port `{port}` that cannot be"))
        }
        _ => Ok(()),
    }
}

/// A repository as the distribution specification has it, without `/` at its ends.
fn repository_path(path: &str) -> Result<(), (String, &'static str)> {
    let no = |why: &str, hint| Err((why.to_owned(), hint));
    if path.is_empty() {
        return Ok(());
    }
    if path.starts_with('/') || path.ends_with('/') {
        return no("begins or ends with `/`", "write it so: `infra/k8s`");
    }
    if path == "v2" || path.starts_with("v2/") {
        return no("begins with `v2`", "castoff writes `/v2` itself: give the repository alone");
    }
    let part = |part: &str| {
        let known = part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-'));
        let end = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
        known && end(part.as_bytes().first()) && end(part.as_bytes().last())
    };
    if path.len() > 255 || !path.split('/').all(part) {
        return no("is no repository", "lower-case letters, digits, `.`, `_`, `-`, and `/` between the parts");
    }
    Ok(())
}

/// A registry as the names of images begin, in the one form that daemons look for.
fn registry_name(registry: &str) -> Result<(), (String, String)> {
    let no = |why: &str, hint: &str| Err((why.to_owned(), hint.to_owned()));
    if registry.contains("://") {
        return no("has a scheme", "write the name alone: `docker.io`");
    }
    if registry.contains('/') {
        return no("has a path", "a mirror answers for whole registries: write the name alone");
    }
    if registry == "registry-1.docker.io" || canonical_registry(registry) != registry {
        return no("is an address of the Docker Hub, not the name of its images", "write `docker.io`");
    }
    if registry.starts_with('_') {
        return no("would answer for every registry", "name each registry: those not named are asked directly");
    }
    if let Err(why) = host_and_port(registry) {
        return Err((why, "write it so: `docker.io`, `registry.example:5000`".to_owned()));
    }
    if registry.bytes().any(|b| b.is_ascii_uppercase()) {
        return no("has upper-case letters", "write it as the names of the images have it, in lower case");
    }
    if !registry.contains(['.', ':']) && registry != "localhost" {
        return no("is a part of a name, not a registry: it has neither `.` nor a port", "write it so: `registry.example:5000`");
    }
    Ok(())
}

/// `m:443` and `m` are one endpoint of `https`.
fn default_port(host: &str) -> &str {
    host.strip_suffix(":443").unwrap_or(host)
}

pub(super) fn absolute(path: &str) -> Result<(), String> {
    if !path.starts_with('/') {
        return Err("is no absolute path".to_owned());
    }
    if path.ends_with('/') || path.split('/').any(|part| part == "..") {
        return Err("names no file".to_owned());
    }
    if path.contains(super::text::harmful) || path.contains(['"', '\'', '\\']) {
        return Err("has a character that no configuration file holds plainly".to_owned());
    }
    Ok(())
}

/// In the header it stands before a `:`.
fn user(user: &str) -> Result<(), String> {
    if user.is_empty() {
        return Err("is empty".to_owned());
    }
    if user.contains(super::text::harmful) || user.contains(':') {
        return Err("has a character that a login cannot hold".to_owned());
    }
    Ok(())
}

fn secret_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound() -> MirrorChoice {
        MirrorChoice {
            url: "https://10.101.101.100:443".into(),
            path: "infra/k8s".into(),
            ca: Some("/etc/ssl/reg-ca.crt".into()),
            login: Some(Login { user: "robot$pull".into(), secret: "mirror-password".into() }),
            registries: PLATFORM9_REGISTRIES.map(str::to_owned).to_vec(),
            ..MirrorChoice::default()
        }
    }

    #[test]
    fn a_choice_that_cannot_be_meant_is_told_by_name() {
        assert_eq!(sound().problems(), []);
        type Edit = fn(&mut MirrorChoice);
        let cases: [(Edit, &str); 28] = [
            (|c| c.url = "10.101.101.100:443".into(), "has no scheme"),
            (|c| c.url = "ftp://m.example".into(), "is neither"),
            (|c| c.url = "https://kim:word@m.example".into(), "holds a login"),
            (|c| c.url = "https://m.example?ns=docker.io".into(), "has a query"),
            (|c| c.url = "https://m.example/v2/infra".into(), "has a path"),
            (|c| c.url = "https://".into(), "has no host name"),
            (|c| c.url = "https://m.example:99999".into(), "has a port `99999`"),
            (|c| c.url = "https://m.example:".into(), "has a port ``"),
            (|c| c.url = "https://[::1".into(), "is no address"),
            (|c| c.url = "https://[::1]x".into(), "is no address"),
            (|c| c.path = "/infra".into(), "begins or ends"),
            (|c| c.path = "v2/infra".into(), "begins with `v2`"),
            (|c| c.path = "Infra".into(), "is no repository"),
            (|c| c.path = "infra//k8s".into(), "is no repository"),
            (|c| c.path = "infra/..".into(), "is no repository"),
            (|c| c.ca = Some("ca.crt".into()), "is no absolute path"),
            (|c| c.ca = Some("/etc/\"x".into()), "has a character"),
            (|c| c.url = "http://m.example".into(), "is of no use"),
            (|c| (c.url, c.ca, c.skip_tls) = ("http://m.example".into(), None, true), "there is no TLS to skip"),
            (|c| c.login.as_mut().unwrap().user = "a:b".into(), "has a character"),
            (|c| c.login.as_mut().unwrap().secret = "hunter 2".into(), "is no name of a secret"),
            (|c| c.registries.clear(), "answers for no registry"),
            (|c| c.registries.push("quay.io".into()), "is named twice"),
            (|c| c.registries = vec!["10.101.101.100".into()], "is the mirror itself"),
            (|c| c.registries = vec!["registry-1.docker.io".into()], "is an address of the Docker Hub"),
            (|c| c.registries = vec!["https://quay.io".into()], "has a scheme"),
            (|c| c.registries = vec!["_default".into()], "would answer for every registry"),
            (|c| c.registries = vec!["library".into()], "is a part of a name"),
        ];
        for (edit, why) in cases {
            let mut choice = sound();
            edit(&mut choice);
            let problems = choice.problems();
            assert!(problems.iter().any(|p| p.why.contains(why)), "{why}: {problems:?}");
        }
    }

    #[test]
    fn registries_behind_one_mirror_share_its_paths() {
        assert_eq!(collisions(&["docker.io".into()]), None);
        let note = collisions(&["quay.io".into(), "gcr.io".into()]).unwrap();
        assert!(note.contains("`quay.io/a/b` and `gcr.io/a/b`"), "{note}");
    }
}
