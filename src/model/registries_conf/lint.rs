//! What in drop-ins does not do what it says, or takes the effect from ours.
//! It never changes a file.

use super::{DropIn, parse};
use crate::model::{Problem, mirror_choice::told};
use std::collections::BTreeSet;
use toml::Value;

const ROOT: [&str; 7] = [
    "registry",
    "unqualified-search-registries",
    "credential-helpers",
    "short-name-mode",
    "additional-layer-store-auth-helper",
    "aliases",
    "registries",
];
const REGISTRY: [&str; 6] = ["prefix", "location", "insecure", "blocked", "mirror-by-digest-only", "mirror"];
const MIRROR: [&str; 3] = ["location", "insecure", "pull-from-mirror"];

/// Every trap in one drop-in; `name` is that of its file.
pub fn lint(name: &str, written: &str) -> Vec<Problem> {
    let subject = format!("drop-in `{name}`");
    let mut out = vec![];
    let mut tell = |why: String, hint: &str| out.push(told(subject.as_str(), why, hint));
    if !is_read(name) {
        tell("is not read: its name does not end in `.conf`".to_owned(), "");
    }
    let file = match parse(written) {
        Ok(file) => file,
        Err(mistake) => {
            let place = if mistake.line == 0 { String::new() } else { format!("line {}: ", mistake.line) };
            let first = mistake.message.lines().next().unwrap_or_default();
            let hint =
                if first.contains("has a scheme") { "write host, port and path alone: `mirror.example:5000/infra`" } else { "" };
            tell(format!("{place}{first}: every pull on the host fails"), hint);
            return out;
        }
    };
    for key in unknown(written) {
        tell(format!("key `{key}` is not known and is passed over"), "");
    }
    let mut seen = BTreeSet::new();
    for registry in &file.registries {
        let prefix = &registry.prefix;
        if !seen.insert(prefix) {
            tell(format!("`{prefix}` stands there twice: the first one counts"), "");
        }
        if matches!(prefix.as_str(), "registry-1.docker.io" | "index.docker.io") {
            let why = format!("`{prefix}` is an address of the Docker Hub, not the name of its images: nothing begins so");
            tell(why, "the prefix has to be `docker.io`");
        }
        if registry.mirrors.is_empty() && registry.blocked {
            tell(format!("`{prefix}` is blocked and has no mirror: nothing comes from it"), "");
        }
        if registry.digest_only && !registry.mirrors.is_empty() {
            let why = format!("`{prefix}` asks its mirrors for digests alone: every tag comes from the registry itself");
            tell(why, "take `mirror-by-digest-only` away");
        }
        for mirror in registry.mirrors.iter().filter(|mirror| mirror.pull != super::PullBy::All) {
            let (what, other) = if mirror.pull == super::PullBy::Digest { ("digests", "tag") } else { ("tags", "digest") };
            let why = format!("`{prefix}` asks `{}` for {what} alone: every {other} comes from elsewhere", mirror.location);
            tell(why, "take `pull-from-mirror` away");
        }
    }
    out
}

/// What takes the effect from one drop-in: others in the order in which they are read, this one among them, each with its text.
pub fn overridden(ours: &str, files: &[(String, String)]) -> Vec<Problem> {
    let place = files.iter().position(|(name, _)| name == ours);
    let read = |text: &str| parse(text).unwrap_or_default();
    let mine: DropIn = place.map(|place| read(&files[place].1)).unwrap_or_default();
    let mut out = vec![];
    for (n, (name, text)) in files.iter().enumerate().filter(|(n, (name, _))| Some(*n) != place && is_read(name)) {
        for other in read(text).registries {
            for registry in &mine.registries {
                let longer = other.prefix.strip_prefix(&registry.prefix).is_some_and(|rest| rest.starts_with('/'));
                if other.prefix == registry.prefix && place.is_some_and(|place| n > place) {
                    let why = format!("says of `{}` something else, and is read after `{ours}`: it wins", other.prefix);
                    out.push(told(
                        format!("drop-in `{name}`"),
                        why,
                        "take the registry out of it, or give it a name that sorts before",
                    ));
                } else if longer {
                    let why = format!(
                        "speaks of `{}`, which is longer than `{}`: it wins for those images",
                        other.prefix, registry.prefix
                    );
                    out.push(told(format!("drop-in `{name}`"), why, "give it the same mirror"));
                }
            }
        }
    }
    out
}

fn is_read(name: &str) -> bool {
    name.strip_suffix(".conf").is_some()
}

fn unknown(written: &str) -> Vec<String> {
    let Ok(root) = written.parse::<toml::Table>() else { return vec![] };
    let mut out: Vec<String> = beyond(&root, &ROOT);
    for registry in tables(root.get("registry")) {
        out.extend(beyond(registry, &REGISTRY));
        tables(registry.get("mirror")).for_each(|mirror| out.extend(beyond(mirror, &MIRROR)));
    }
    out
}

fn tables(value: Option<&Value>) -> impl Iterator<Item = &toml::Table> {
    value.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_table)
}

fn beyond(table: &toml::Table, known: &[&str]) -> Vec<String> {
    table.keys().filter(|key| !known.contains(&key.as_str())).cloned().collect()
}
