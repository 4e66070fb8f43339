//! What one answer of a mirror means, by its status, its type and its body. Pure; it never asks anything.

use crate::model::{Digest, Fault, Reach, text};

/// Enough for every manifest; of `/v2/` a few bytes are expected.
pub(super) const BODY_LIMIT: usize = 4 << 20;

/// The parts of an answer that tell what it is.
#[derive(Clone, Debug, Default)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) content_type: String,
    /// `Docker-Distribution-Api-Version` is `registry/2.0`.
    pub(super) registry: bool,
    /// Every `WWW-Authenticate`.
    pub(super) challenges: Vec<String>,
    pub(super) digest: Option<Digest>,
    /// Of a redirect.
    pub(super) location: Option<String>,
    pub(super) body: Vec<u8>,
    /// The body was read to its end.
    pub(super) whole: bool,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Lost {
    /// It is known.
    Known(Reach),
    /// Somebody was there and did not speak HTTP as it should be.
    Talk(Reach),
    /// The host itself could not be asked: nothing is known of the mirror.
    Host(Fault),
}

impl From<Reach> for Lost {
    fn from(reach: Reach) -> Self {
        Self::Known(reach)
    }
}

impl Lost {
    /// What is known of the mirror, or why nothing is.
    pub(super) fn told(self) -> Result<Reach, Fault> {
        match self {
            Self::Known(reach) | Self::Talk(reach) => Ok(reach),
            Self::Host(fault) => Err(fault),
        }
    }
}

/// `why` is cleaned here.
pub(super) fn failing(why: impl AsRef<str>) -> Reach {
    Reach::Failing { why: text::clean(why.as_ref()) }
}

impl Answer {
    /// Takes one header; names are compared in any case.
    pub(super) fn header(&mut self, name: &str, value: &str) {
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "content-type" => self.content_type = text::clean(value),
            "docker-distribution-api-version" => self.registry |= value.contains("registry/2.0"),
            "www-authenticate" => self.challenges.push(value.to_owned()),
            "docker-content-digest" => self.digest = value.parse().ok(),
            "location" if matches!(self.status, 301 | 302 | 303 | 307 | 308) => self.location = Some(value.to_owned()),
            _ => {}
        }
    }

    /// `/v2/`: whether it is a registry that may be asked on.
    pub(super) fn of_root(&self, login: bool) -> Result<(), Reach> {
        match self.status {
            200..=299 if self.is_page() => Err(self.no_registry()),
            200..=299 if !self.whole => Err(failing("its answer to `/v2/` does not end")),
            200..=299 if self.registry || self.is_object() => Ok(()),
            401 => match self.scheme() {
                Some(_) if login => Ok(()),
                Some(scheme) => Err(Reach::Login { scheme }),
                None => Err(self.no_registry()),
            },
            403 | 407 if !self.is_page() => Err(self.refused()),
            408 | 425 | 429 | 500.. => Err(self.refused()),
            _ => Err(self.no_registry()),
        }
    }

    /// `NAME/manifests/TAG`. `None`: it is there, and its digest has to be counted.
    pub(super) fn of_manifest(&self, image: &str, login: bool) -> Result<Option<Reach>, Reach> {
        match self.status {
            200..=299 if self.is_page() => Err(self.no_registry()),
            200..=299 => Ok(self.digest.clone().map(|digest| Reach::Ok { digest: Some(digest) })),
            401 => match self.scheme() {
                // Who brings a login may get it: more cannot be known without one.
                Some(_) if login => Ok(Some(Reach::Ok { digest: None })),
                Some(scheme) => Err(Reach::Login { scheme }),
                None => Err(self.refused()),
            },
            404 => Err(Reach::NoImage { image: text::clean(image) }),
            300..=399 => {
                let to = self.location.as_deref().unwrap_or("nowhere");
                Err(failing(format!("it sends who asks for an image to `{to}`, where castoff does not follow")))
            }
            _ => Err(self.refused()),
        }
    }

    fn no_registry(&self) -> Reach {
        Reach::NoRegistry { status: self.status, content_type: self.content_type.clone() }
    }

    fn refused(&self) -> Reach {
        let limit = if self.status == 429 { ": too many requests" } else { "" };
        failing(format!("it answered {}{limit}", self.status))
    }

    fn is_page(&self) -> bool {
        let kind = self.content_type.to_ascii_lowercase();
        kind.starts_with("text/html") || kind.starts_with("application/xhtml")
    }

    fn is_object(&self) -> bool {
        matches!(serde_json::from_slice(&self.body), Ok(serde_json::Value::Object(_)))
    }

    fn scheme(&self) -> Option<String> {
        let scheme = |challenge: &String| {
            let word = challenge.split_whitespace().next()?;
            ["Bearer", "Basic"].into_iter().find(|known| word.eq_ignore_ascii_case(known))
        };
        self.challenges.iter().find_map(scheme).map(str::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut answer = Answer { status, body: body.as_bytes().to_vec(), whole: true, ..Answer::default() };
        headers.iter().for_each(|(name, value)| answer.header(name, value));
        answer
    }

    #[test]
    fn a_registry_is_told_by_status_type_and_body() {
        let json = ("Content-Type", "application/json; charset=utf-8");
        let html = ("content-type", "text/html");
        let version = ("Docker-Distribution-Api-Version", "registry/2.0");
        let no = |status, kind: &str| Err(Reach::NoRegistry { status, content_type: kind.to_owned() });
        let says = |why: &str| Err(Reach::Failing { why: why.to_owned() });
        let asks = |scheme: &str| Err(Reach::Login { scheme: scheme.to_owned() });
        let cases = [
            (answer(200, &[json, version], "{}"), Ok(())),
            (answer(200, &[json], "{}"), Ok(())),
            (answer(200, &[], "{}"), Ok(())),
            (answer(200, &[version], ""), Ok(())),
            (answer(200, &[html, version], "{}"), no(200, "text/html")),
            (answer(200, &[("Content-Type", "text/plain")], "hello"), no(200, "text/plain")),
            (answer(200, &[json], "[1]"), no(200, "application/json; charset=utf-8")),
            (answer(401, &[("WWW-Authenticate", "bearer realm=\"x\"")], ""), asks("Bearer")),
            (answer(401, &[("WWW-Authenticate", "Negotiate"), ("WWW-Authenticate", "Basic realm=x")], ""), asks("Basic")),
            (answer(401, &[("WWW-Authenticate", "Negotiate")], ""), no(401, "")),
            (answer(404, &[html], ""), no(404, "text/html")),
            (answer(302, &[("Location", "https://login.example/")], ""), no(302, "")),
            (answer(403, &[html], ""), no(403, "text/html")),
            (answer(403, &[json], "{}"), says("it answered 403")),
            (answer(429, &[json], "{}"), says("it answered 429: too many requests")),
            (answer(503, &[html], "<html>"), says("it answered 503")),
        ];
        for (answer, expect) in cases {
            assert_eq!(answer.of_root(false), expect, "{answer:?}");
        }
        assert_eq!(answer(401, &[("WWW-Authenticate", "Basic")], "").of_root(true), Ok(()));
    }

    #[test]
    fn a_manifest_that_is_there_is_told_from_one_that_is_not() {
        let digest = Digest::of("x");
        let known = Ok(Some(Reach::Ok { digest: Some(digest.clone()) }));
        assert_eq!(answer(200, &[("docker-content-digest", digest.as_str())], "").of_manifest("a:1", false), known);
        assert_eq!(answer(200, &[("docker-content-digest", "sha256:short")], "").of_manifest("a:1", false), Ok(None));
        assert_eq!(answer(404, &[], "").of_manifest("a:1", false), Err(Reach::NoImage { image: "a:1".to_owned() }));
        let basic = answer(401, &[("www-authenticate", "Basic realm=x")], "");
        assert_eq!(basic.of_manifest("a:1", false), Err(Reach::Login { scheme: "Basic".to_owned() }));
        assert_eq!(basic.of_manifest("a:1", true), Ok(Some(Reach::Ok { digest: None })));
        let away = answer(307, &[("location", "https://cdn.example/x")], "").of_manifest("a:1", false);
        assert!(matches!(&away, Err(Reach::Failing { why }) if why.contains("cdn.example")), "{away:?}");
    }
}
