//! A drop-in of `registries.conf.d`, which podman, buildah, skopeo and CRI-O read: which mirrors are asked before a registry.
//! It never holds a login: those programs take that of the mirror from their own `auth.json`.

mod host;
mod lint;
#[cfg(test)]
mod tests;

pub use host::{beaten, replaced, sharing, unreadable};
pub use lint::{lint, overridden};

use super::{FileToWrite, MirrorChoice, Mistake, Problem, mirror_choice::told};
use serde::{Deserialize, Serialize};
use std::fmt::Write;

/// Behind the numbered names, which distributions ship: of two drop-ins the later one wins.
pub const NAME: &str = "castoff-mirror.conf";
const ORIGIN: &str = "registries.conf.d";

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DropIn {
    pub registries: Vec<Registry>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registry {
    /// Names of images that begin so are meant: `docker.io`, `docker.io/library`, `*.example`.
    pub prefix: String,
    /// What takes the prefix's place; empty only for a prefix with `*.`.
    pub location: String,
    pub insecure: bool,
    /// Nothing is asked of the registry itself. Its mirrors are asked all the same.
    pub blocked: bool,
    /// Mirrors are asked for digests alone.
    pub digest_only: bool,
    pub mirrors: Vec<Mirror>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mirror {
    /// `m.example:5000/infra`: without a scheme.
    pub location: String,
    /// Its certificate is not verified, and plain HTTP will do.
    pub insecure: bool,
    pub pull: PullBy,
}

/// For which pulls a mirror is asked (podman 4.2 and later).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PullBy {
    #[default]
    All,
    Digest,
    Tag,
}

impl PullBy {
    fn word(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Digest => "digest-only",
            Self::Tag => "tag-only",
        }
    }
}

/// The drop-in of a choice. The choice has no `problems`.
pub fn file(choice: &MirrorChoice, folder: &str) -> FileToWrite {
    let path = format!("{}/{NAME}", folder.trim_end_matches('/'));
    FileToWrite { path, text: render(&drop_in(choice)), mode: 0o644 }
}

/// With `mirror_only` each registry is blocked: pulls come from the mirror or fail; a push to the registry fails too.
pub fn drop_in(choice: &MirrorChoice) -> DropIn {
    let location = match choice.path.as_str() {
        "" => choice.host().to_owned(),
        path => format!("{}/{path}", choice.host()),
    };
    let insecure = choice.skip_tls || choice.url.starts_with("http://");
    let mirror = Mirror { location, insecure, pull: PullBy::All };
    let of = |name: &String| Registry {
        prefix: name.clone(),
        location: name.clone(),
        blocked: choice.mirror_only,
        mirrors: vec![mirror.clone()],
        ..Registry::default()
    };
    DropIn { registries: choice.registries.iter().map(of).collect() }
}

/// Where these programs look for the authority of the mirror: unlike containerd they take no path from their settings.
pub fn ca_path(choice: &MirrorChoice) -> String {
    format!("/etc/containers/certs.d/{}/ca.crt", choice.host())
}

/// What of a choice a drop-in cannot say.
pub fn unsaid(choice: &MirrorChoice) -> Vec<Problem> {
    let mut out = vec![];
    if choice.login.is_some() {
        let why = "has a login, which a drop-in cannot hold";
        let hint = format!("on each host, for each user: podman login {}", choice.host());
        out.push(told(format!("mirror `{}`", choice.host()), why, &hint));
    }
    if let Some(ca) = choice.ca.as_ref().filter(|ca| **ca != ca_path(choice)) {
        let why = format!("is not looked for there: only `{}` is", ca_path(choice));
        out.push(told(format!("ca `{ca}`"), why, "put it there as well"));
    }
    out
}

pub fn render(drop_in: &DropIn) -> String {
    let mut out = String::from("# Written by castoff. To take it back: `castoff rollback`, or remove this file.\n");
    let text = |text: &str| toml::Value::String(text.to_owned()).to_string();
    for registry in &drop_in.registries {
        let _ = writeln!(out, "\n[[registry]]\nprefix = {}", text(&registry.prefix));
        if !registry.location.is_empty() {
            let _ = writeln!(out, "location = {}", text(&registry.location));
        }
        for (name, set) in
            [("insecure", registry.insecure), ("blocked", registry.blocked), ("mirror-by-digest-only", registry.digest_only)]
        {
            if set {
                let _ = writeln!(out, "{name} = true");
            }
        }
        for mirror in &registry.mirrors {
            let _ = writeln!(out, "\n[[registry.mirror]]\nlocation = {}", text(&mirror.location));
            if mirror.insecure {
                out.push_str("insecure = true\n");
            }
            if mirror.pull != PullBy::All {
                let _ = writeln!(out, "pull-from-mirror = {}", text(mirror.pull.word()));
            }
        }
    }
    out
}

/// As it stands in the file. What the programs do not know they pass over, and so does this.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Written {
    #[serde(default)]
    registry: Vec<WrittenRegistry>,
    /// The tables of version 1.
    #[serde(default)]
    registries: Option<toml::Value>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct WrittenRegistry {
    prefix: String,
    location: String,
    insecure: bool,
    blocked: bool,
    mirror_by_digest_only: bool,
    pull_from_mirror: String,
    mirror: Vec<WrittenMirror>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct WrittenMirror {
    location: String,
    insecure: bool,
    pull_from_mirror: String,
}

/// With the first mistake that makes every pull fail, whatever its registry: a drop-in that is refused stops them all.
pub fn parse(written: &str) -> Result<DropIn, Mistake> {
    let of_file = |why: String| Mistake::of_file(ORIGIN, why);
    let file: Written = toml::from_str(written).map_err(|error| Mistake::of_toml(ORIGIN, written, &error))?;
    if file.registries.is_some() {
        return Err(of_file("holds tables of version 1 (`registries.search` and so on), which a drop-in may not".to_owned()));
    }
    let mut out = DropIn::default();
    for registry in file.registry {
        let location = location(&registry.location).map_err(of_file)?;
        let prefix = match location_of_prefix(&registry.prefix).map_err(of_file)? {
            prefix if !prefix.is_empty() => prefix,
            _ if location.is_empty() => return Err(of_file("a registry has neither location nor prefix".to_owned())),
            _ => location.clone(),
        };
        if location.is_empty() && !prefix.starts_with("*.") {
            return Err(of_file(format!("registry `{prefix}` has no location")));
        }
        if !registry.pull_from_mirror.is_empty() {
            return Err(of_file(format!("registry `{prefix}`: `pull-from-mirror` belongs to a mirror")));
        }
        let read = registry.mirror.iter().map(|mirror| mirror_of(&prefix, mirror, registry.mirror_by_digest_only));
        let mirrors = read.collect::<Result<Vec<_>, String>>().map_err(of_file)?;
        let (insecure, blocked, digest_only) = (registry.insecure, registry.blocked, registry.mirror_by_digest_only);
        out.registries.push(Registry { prefix, location, insecure, blocked, digest_only, mirrors });
    }
    let place =
        |registry: &Registry| if registry.location.is_empty() { registry.prefix.clone() } else { registry.location.clone() };
    for one in &out.registries {
        let differs =
            |other: &&Registry| place(other) == place(one) && (other.insecure, other.blocked) != (one.insecure, one.blocked);
        if out.registries.iter().any(|other| differs(&other)) {
            return Err(of_file(format!("registry `{}` stands there twice, once insecure or blocked and once not", place(one))));
        }
    }
    Ok(out)
}

fn mirror_of(prefix: &str, mirror: &WrittenMirror, digest_only: bool) -> Result<Mirror, String> {
    let place = location(&mirror.location)?;
    if place.is_empty() {
        return Err(format!("registry `{prefix}` has a mirror without a location"));
    }
    if digest_only && !mirror.pull_from_mirror.is_empty() {
        return Err(format!("registry `{prefix}` sets `mirror-by-digest-only`, and its mirror `{place}` `pull-from-mirror`"));
    }
    let pull = match mirror.pull_from_mirror.as_str() {
        "" | "all" => PullBy::All,
        "digest-only" => PullBy::Digest,
        "tag-only" => PullBy::Tag,
        other => return Err(format!("mirror `{place}`: `pull-from-mirror` is `{other}`: all, digest-only, tag-only")),
    };
    Ok(Mirror { location: place, insecure: mirror.insecure, pull })
}

fn location(text: &str) -> Result<String, String> {
    let bare = text.trim_end_matches('/');
    if bare.starts_with("http://") || bare.starts_with("https://") {
        return Err(format!("location `{text}` has a scheme"));
    }
    Ok(bare.to_owned())
}

fn location_of_prefix(text: &str) -> Result<String, String> {
    location(text).map_err(|_| format!("prefix `{text}` has a scheme"))
}
