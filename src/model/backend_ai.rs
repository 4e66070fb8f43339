//! How Backend.AI lays out what it keeps: three eras, the keys of etcd, the names of tables.
//! Source: tried with real managers 20.03 to 26.8; see README, "Eras".

use super::{Inventory, Known, Row, Value};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt::Write};

/// Where a Backend.AI keeps registries, image metadata and aliases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Era {
    /// 20.03 to 21.09: all in etcd.
    Etcd,
    /// 22.03 to 24.03: registries in etcd, images and aliases in PostgreSQL.
    Mixed,
    /// From 24.09: all in PostgreSQL.
    Postgres,
}

impl Era {
    /// Decided by which tables the database has, not by a version string.
    pub fn of_tables(has_images: bool, has_container_registries: bool) -> Self {
        match (has_images, has_container_registries) {
            (_, true) => Self::Postgres,
            (true, false) => Self::Mixed,
            (false, false) => Self::Etcd,
        }
    }

    /// One sentence for the plan.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Etcd => "registries, images and aliases in etcd (20.03 to 21.09)",
            Self::Mixed => "registries in etcd, images and aliases in PostgreSQL (22.03 to 24.03)",
            Self::Postgres => "registries, images and aliases in PostgreSQL (24.09 and later)",
        }
    }

    /// The words after `backend.ai mgr` that rescan one registry and no other.
    pub fn rescan_words(self, registry: &str) -> Vec<String> {
        let words = match self {
            Self::Etcd => ["etcd", "rescan-images", registry],
            Self::Mixed => ["image", "rescan", registry],
            // From 24.09 on the word is the beginning of `registry/project`: without the slash
            // `cr.backend.ai.mirror.corp` would be scanned too, and its new images be nobody's to undo.
            Self::Postgres => ["image", "rescan", &format!("{registry}/")],
        };
        words.map(str::to_owned).to_vec()
    }
}

/// The oldest versions that can read a Harbor v2 registry.
/// Returns the version to update to, if `version` is older. Unreadable versions are refused too.
pub fn too_old(version: &str) -> Option<&'static str> {
    let mut parts = version.splitn(3, '.');
    let mut number = || parts.next().and_then(|p| p.parse::<u32>().ok());
    let (Some(year), Some(month)) = (number(), number()) else { return Some("20.03.11") };
    let patch = parts.next().unwrap_or("0");
    let digits: String = patch.chars().take_while(char::is_ascii_digit).collect();
    let rest = &patch[digits.len()..];
    let patch: u32 = digits.parse().unwrap_or(0);
    match (year, month) {
        (20, 3) if patch < 11 => Some("20.03.11"),
        // 20.09.0a1 … 20.09.0b1 came before the support, 20.09.0b2 has it.
        (20, 9) if patch == 0 && (rest.starts_with('a') || rest == "b1") => Some("20.09.0b2"),
        (20, 3 | 9) => None,
        (..=20, _) => Some("20.03.11"),
        _ => None,
    }
}

/// The quoting of every Backend.AI: all but `A-Z a-z 0-9 _ . - ~` becomes `%XX`.
pub fn quote(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-' | b'~') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// The inverse of `quote`; text that is not well quoted comes back as it is.
pub fn unquote(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let hex = (bytes[i] == b'%').then(|| text.get(i + 1..i + 3)).flatten().and_then(|h| u8::from_str_radix(h, 16).ok());
        if let Some(byte) = hex {
            out.push(byte);
            i += 3;
        } else {
            out.push(bytes[i]);
            i += 1;
        }
    }
    String::from_utf8(out).unwrap_or_else(|_| text.to_owned())
}

/// `/sorna/{namespace}/{path}`.
pub fn key(namespace: &str, path: &str) -> String {
    format!("/sorna/{namespace}/{path}")
}

/// The key of a registry's configuration; its members lie below it.
pub fn registry_key(namespace: &str, registry: &str) -> String {
    key(namespace, &format!("config/docker/registry/{}", quote(registry)))
}

/// The folder of a registry's image metadata.
pub fn images_key(namespace: &str, registry: &str) -> String {
    key(namespace, &format!("images/{}", quote(registry)))
}

/// The folder of all aliases, with its closing `/`.
pub fn aliases_folder(namespace: &str) -> String {
    key(namespace, "images/_aliases/")
}

/// Whether `candidate` is `folder` itself or lies below it: never a neighbour whose name only begins the same.
pub fn is_within(candidate: &str, folder: &str) -> bool {
    candidate.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// An alias, wherever the era keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alias {
    pub alias: String,
    /// Image name as Backend.AI has it; free text in the etcd era.
    pub target: String,
    /// Empty in the etcd era.
    pub architecture: String,
}

impl Inventory {
    /// The images of one registry that the metadata knows, with architecture (empty in the etcd era).
    pub fn known_images(&self, registry: &str) -> Vec<(Known, String)> {
        let Some(backend_ai) = &self.backend_ai else { return vec![] };
        if backend_ai.era == Era::Etcd {
            let folder = images_key(&backend_ai.namespace, registry);
            let of_key = |(key, value): (&String, &Value)| {
                let rest = key.strip_prefix(&folder)?.strip_prefix('/')?;
                let (image, tag) = rest.split_once('/').filter(|(_, tag)| !tag.contains('/'))?;
                let config = value.as_text()?.trim().parse().ok()?;
                Some((Known { name: format!("{registry}/{}:{tag}", unquote(image)), config }, String::new()))
            };
            return self.keys.iter().filter_map(of_key).collect();
        }
        let of_row = |row: &Row| {
            let column = |name: &str| row.get(name).and_then(serde_json::Value::as_str);
            (column("registry")? == registry && column("status").is_none_or(|s| s == "ALIVE")).then_some(())?;
            let config = column("config_digest")?.trim().parse().ok()?;
            Some((Known { name: column("name")?.to_owned(), config }, column("architecture").unwrap_or("").to_owned()))
        };
        self.rows("images").iter().filter_map(of_row).collect()
    }

    /// Every alias of the installation.
    pub fn aliases(&self) -> Vec<Alias> {
        let Some(backend_ai) = &self.backend_ai else { return vec![] };
        if backend_ai.era == Era::Etcd {
            let folder = aliases_folder(&backend_ai.namespace);
            let of_key = |(key, value): (&String, &Value)| {
                let alias = unquote(key.strip_prefix(&folder)?);
                Some(Alias { alias, target: value.as_text()?.to_owned(), architecture: String::new() })
            };
            return self.keys.iter().filter_map(of_key).collect();
        }
        let images: BTreeMap<&str, (&str, &str)> = self
            .rows("images")
            .iter()
            .filter_map(|row| {
                let column = |name: &str| row.get(name).and_then(serde_json::Value::as_str);
                Some((column("id")?, (column("name")?, column("architecture").unwrap_or(""))))
            })
            .collect();
        let of_row = |row: &Row| {
            let column = |name: &str| row.get(name).and_then(serde_json::Value::as_str);
            let (target, architecture) = images.get(column("image")?)?;
            Some(Alias {
                alias: column("alias")?.to_owned(),
                target: (*target).to_owned(),
                architecture: (*architecture).to_owned(),
            })
        };
        self.rows("image_aliases").iter().filter_map(of_row).collect()
    }

    /// The keys at and below a folder.
    pub fn keys_within(&self, folder: &str) -> BTreeMap<String, Value> {
        self.keys.iter().filter(|(key, _)| is_within(key, folder)).map(|(k, v)| (k.clone(), v.clone())).collect()
    }

    /// The rows of `images` of one registry.
    pub fn image_rows(&self, registry: &str) -> Vec<Row> {
        let of = |row: &&Row| row.get("registry").and_then(serde_json::Value::as_str) == Some(registry);
        self.rows("images").iter().filter(of).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoting_is_the_managers_own() {
        assert_eq!(quote("127.0.0.1:5000/a b~c_d-e.f"), "127.0.0.1%3A5000%2Fa%20b~c_d-e.f");
        for text in ["lablup/python:3.6", "한글", "100%", "a%2Fb"] {
            assert_eq!(unquote(&quote(text)), text);
        }
        assert_eq!(unquote("%zz%4"), "%zz%4");
    }

    #[test]
    fn a_neighbour_with_the_same_beginning_is_not_within() {
        let folder = registry_key("local", "index.docker.io");
        assert!(is_within(&folder, &folder));
        assert!(is_within("/sorna/local/config/docker/registry/index.docker.io/username", &folder));
        assert!(!is_within("/sorna/local/config/docker/registry/index.docker.io.mirror.corp", &folder));
        assert!(!is_within("/sorna/local/config/docker/registry/index.docker.io%3A443/type", &folder));
    }

    #[test]
    fn a_rescan_is_of_one_registry() {
        for (era, words) in [
            (Era::Etcd, "etcd rescan-images cr.backend.ai"),
            (Era::Mixed, "image rescan cr.backend.ai"),
            (Era::Postgres, "image rescan cr.backend.ai/"),
        ] {
            assert_eq!(era.rescan_words("cr.backend.ai").join(" "), words);
        }
    }

    #[test]
    fn versions_without_harbor_v2_are_too_old() {
        for version in ["19.09.1", "20.03.10", "20.03.0", "nonsense", ""] {
            assert_eq!(too_old(version), Some("20.03.11"), "{version}");
        }
        assert_eq!(too_old("20.09.0b1"), Some("20.09.0b2"));
        assert_eq!(too_old("20.09.0a3"), Some("20.09.0b2"));
        for version in ["20.03.11", "20.09.0b2", "20.09.0rc1", "20.09.29", "21.03.32", "23.09.10", "25.5.2", "26.8.1"] {
            assert_eq!(too_old(version), None, "{version}");
        }
    }
}
