//! Image references and digests, parsed: after this file no raw name travels.
//! Docker Hub's defaults live here and nowhere else.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr, sync::Arc};

/// Docker Hub's canonical registry name. `index.docker.io` and `registry-1.docker.io` mean the same registry.
pub const DOCKER_HUB: &str = "docker.io";

/// Names of 255 characters at most are stored by registries; this is room for a host name and a tag beside it.
const LONGEST: usize = 700;

/// `registry/repository:tag`, complete: nothing is implied any more.
///
/// `ubuntu` parses to `docker.io/library/ubuntu:latest`, `index.docker.io/lablup/python:3.6` to
/// `docker.io/lablup/python:3.6`. References by digest are not names and are refused.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImageRef {
    pub registry: String,
    pub repository: String,
    pub tag: String,
}

impl ImageRef {
    /// The name as the Docker Engine lists it: Docker Hub's registry and `library/` are left out, unless the rest would
    /// mean another image.
    pub fn familiar(&self) -> String {
        let official = self.repository.strip_prefix("library/").filter(|name| !name.contains('/'));
        let short = official.unwrap_or(&self.repository);
        let first = short.split_once('/').map_or("", |(first, _)| first);
        if self.registry != DOCKER_HUB || first.contains('.') || first == "localhost" {
            return self.to_string();
        }
        format!("{short}:{}", self.tag)
    }

    /// The name as Backend.AI writes it: Docker Hub is `index.docker.io` there.
    pub fn backend_ai(&self) -> String {
        format!("{}/{}:{}", backend_ai_registry(&self.registry), self.repository, self.tag)
    }

    /// `registry/repository@digest`, for a pull that cannot be moved by a tag.
    pub fn pinned(&self, digest: &Digest) -> String {
        format!("{}/{}@{digest}", self.registry, self.repository)
    }

    /// The last part of the repository with the tag: what fits in a narrow column.
    pub fn short(&self) -> String {
        let name = self.repository.rsplit('/').next().unwrap_or(&self.repository);
        format!("{name}:{}", self.tag)
    }
}

/// A registry's name as Backend.AI writes it in etcd, in rows and in container names.
pub fn backend_ai_registry(registry: &str) -> &str {
    if registry == DOCKER_HUB { "index.docker.io" } else { registry }
}

/// A registry's name in one spelling: every alias of Docker Hub is `docker.io`.
pub fn canonical_registry(registry: &str) -> &str {
    match registry {
        "index.docker.io" | "registry-1.docker.io" | "hub.docker.com" => DOCKER_HUB,
        other => other,
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not an image reference: {why}", super::text::clean(text))]
pub struct BadImageRef {
    text: String,
    why: &'static str,
}

impl FromStr for ImageRef {
    type Err = BadImageRef;

    fn from_str(text: &str) -> Result<Self, BadImageRef> {
        let bad = |why| BadImageRef { text: text.to_owned(), why };
        if text.contains('@') {
            return Err(bad("it names a digest, a tag is needed"));
        }
        let (registry, rest) = match text.split_once('/') {
            Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => (first, rest),
            _ => (DOCKER_HUB, text),
        };
        let registry = canonical_registry(registry);
        let (repository, tag) = match rest.rsplit_once(':') {
            Some((repository, tag)) if !tag.contains('/') => (repository, tag),
            _ => (rest, "latest"),
        };
        if registry.is_empty() || repository.is_empty() {
            return Err(bad("it has no repository"));
        }
        if text.len() > LONGEST {
            return Err(bad("it is too long"));
        }
        let host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
        if !registry.chars().all(host) {
            return Err(bad("a registry is a host name or an address, with a port or without"));
        }
        let component = |part: &str| {
            !part.is_empty() && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-'))
        };
        if !repository.split('/').all(component) {
            return Err(bad("a repository is made of lower-case letters, digits, `.`, `_`, `-` and `/`"));
        }
        let tag_character = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if tag.is_empty() || tag.len() > 128 || tag.starts_with(['.', '-']) || !tag.chars().all(tag_character) {
            return Err(bad("a tag is made of at most 128 letters, digits, `.`, `_` and `-`"));
        }
        let repository = if registry == DOCKER_HUB && !repository.contains('/') {
            format!("library/{repository}")
        } else {
            repository.to_owned()
        };
        Ok(Self { registry: registry.to_owned(), repository, tag: tag.to_owned() })
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}:{}", self.registry, self.repository, self.tag)
    }
}

impl TryFrom<String> for ImageRef {
    type Error = BadImageRef;
    fn try_from(text: String) -> Result<Self, BadImageRef> {
        text.parse()
    }
}

impl From<ImageRef> for String {
    fn from(image: ImageRef) -> Self {
        image.to_string()
    }
}

/// `sha256:` and 64 hex digits: of a manifest, of a config (an image id of the classic store) or of a layer.
///
/// The text is shared by its clones: a plan names the same few digests on a thousand hosts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(Arc<str>);

impl Digest {
    /// The SHA-256 of some text.
    pub fn of(text: &str) -> Self {
        Self::of_bytes(text.as_bytes())
    }

    pub fn of_bytes(bytes: &[u8]) -> Self {
        use sha2::Digest as _;
        let digit = |n: u8| char::from_digit(u32::from(n), 16).expect("half a byte");
        let mut hex = "sha256:".to_owned();
        for byte in sha2::Sha256::digest(bytes) {
            hex.extend([digit(byte >> 4), digit(byte & 15)]);
        }
        Self(hex.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first twelve hex digits, as the Docker Engine shows an id.
    pub fn short(&self) -> &str {
        &self.0[7..19]
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not a digest: `sha256:` and 64 hex digits are needed", super::text::clean(.0))]
pub struct BadDigest(String);

impl FromStr for Digest {
    type Err = BadDigest;
    fn from_str(text: &str) -> Result<Self, BadDigest> {
        let hex = text.strip_prefix("sha256:").filter(|hex| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()));
        hex.map(|_| Self(text.into())).ok_or_else(|| BadDigest(text.to_owned()))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Digest {
    type Error = BadDigest;
    fn try_from(text: String) -> Result<Self, BadDigest> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, canonical: &str, familiar: &str) {
        let image: ImageRef = text.parse().unwrap();
        assert_eq!(image.to_string(), canonical, "{text}");
        assert_eq!(image.familiar(), familiar, "{text}");
        assert_eq!(canonical.parse::<ImageRef>().unwrap(), image, "{text}");
    }

    #[test]
    fn docker_hub_is_implied() {
        check("ubuntu", "docker.io/library/ubuntu:latest", "ubuntu:latest");
        check("lablup/python:3.6", "docker.io/lablup/python:3.6", "lablup/python:3.6");
        check("index.docker.io/lablup/python:3.6", "docker.io/lablup/python:3.6", "lablup/python:3.6");
        check("cr.backend.ai/stable/python:3.6", "cr.backend.ai/stable/python:3.6", "cr.backend.ai/stable/python:3.6");
        check("127.0.0.1:5000/a/b/c:x", "127.0.0.1:5000/a/b/c:x", "127.0.0.1:5000/a/b/c:x");
        check("localhost/a:1", "localhost/a:1", "localhost/a:1");
        // Shortened, these would be the names of other images.
        check("docker.io/docker.io/a:1", "docker.io/docker.io/a:1", "docker.io/docker.io/a:1");
        check("docker.io/library/a/b:1", "docker.io/library/a/b:1", "library/a/b:1");
        check("docker.io/localhost/b:1", "docker.io/localhost/b:1", "docker.io/localhost/b:1");
        check("docker.io/cr.example/b:1", "docker.io/cr.example/b:1", "docker.io/cr.example/b:1");
    }

    #[test]
    fn backend_ai_spells_docker_hub_its_own_way() {
        let image: ImageRef = "lablup/python:3.6".parse().unwrap();
        assert_eq!(image.backend_ai(), "index.docker.io/lablup/python:3.6");
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "",
            "a@sha256:00",
            "UPPER/case:1",
            "a//b:1",
            "a/b:",
            "a/b:-x",
            "x.y/",
            "a/b:t\u{1b}[2J",
            "x\u{202e}.y/a:1",
            "x.y\n/a:1",
            "x.y|z/a:1",
        ] {
            assert!(text.parse::<ImageRef>().is_err(), "{text}");
        }
    }
}
