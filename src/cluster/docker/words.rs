//! What the words of a Docker Engine mean. Its status codes say little: a registry's 429, 401 and 503 all arrive as a
//! text, within 500 or within 200. It never hands on a text as it came.

use super::super::{
    ssh::root_cause,
    tls::{self, Names},
};
use crate::model::{Container, Fault, FaultKind};
use bollard::errors::Error;
use reqwest::header::HeaderMap;

/// Turns any error of the client into a fault.
pub(super) fn fault(what: &str, error: &Error) -> Fault {
    match error {
        // Without a word of the engine: what stands before it has answered, or it died over its answer.
        Error::DockerResponseServerError { status_code, message } if message.trim().is_empty() => {
            let kind = if matches!(status_code, 408 | 429 | 500..=599) {
                FaultKind::Passing
            } else {
                classify("", Some(*status_code)).0
            };
            Fault::new(kind, what, format!("the engine answered {status_code}, without a word"))
        }
        Error::DockerResponseServerError { status_code, message } => from_text(what, message, Some(*status_code)),
        Error::DockerStreamError { error } => from_text(what, error, None),
        Error::RequestTimeoutError => Fault::new(FaultKind::Passing, what, "the engine did not answer in time").unreachable(),
        Error::SocketNotFoundError(path) => Fault::new(FaultKind::Passing, what, format!("there is no socket `{path}`"))
            .unreachable()
            .hint("is the Docker Engine running there?"),
        other => {
            let said = tls::causes(other);
            if said.contains("received fatal alert") || said.contains("invalid peer certificate") {
                return Fault::new(FaultKind::Lasting, what, root_cause(other))
                    .unreachable()
                    .hint("check `tls` of this agent in the cluster file");
            }
            let why = root_cause(other);
            if why.starts_with("EOF while parsing") {
                return Fault::new(FaultKind::Passing, what, "the engine's answer broke off").unreachable();
            }
            if why.contains("ermission denied") {
                return Fault::new(FaultKind::Denied, what, why)
                    .unreachable()
                    .hint("the user of castoff may not use the engine's socket");
            }
            if why.contains("certificate") || why.contains("corrupt message") {
                return Fault::new(FaultKind::Lasting, what, why)
                    .unreachable()
                    .hint("does `docker` of this agent lead to TLS, and does its `ca` know the engine's certificate?");
            }
            let wire = matches!(other, Error::IOError { .. } | Error::HyperResponseError { .. } | Error::HyperLegacyError { .. });
            if !wire {
                return Fault::new(FaultKind::Lasting, what, why);
            }
            let says = |parts: &[&str]| parts.iter().any(|part| why.contains(part));
            // Cut meanwhile, or a forwarded socket behind which nobody listens.
            let cut = says(&["reset by peer", "roken pipe", "connection closed before"]);
            if cut || says(&["refused", "No such file"]) {
                let why = if cut { "the connection broke off".to_owned() } else { why };
                return Fault::new(FaultKind::Passing, what, why).unreachable().hint("is the Docker Engine running there?");
            }
            let why = if why.contains("reading a body") { "the engine's answer broke off".to_owned() } else { why };
            Fault::new(FaultKind::Passing, what, why).unreachable()
        }
    }
}

/// What the client's reader of lines says when nothing but `\r` is left: it has read the line before its end had come.
pub(super) fn is_end_of_line(error: &Error) -> bool {
    matches!(error, Error::IOError { err } if err.to_string() == "bytes remaining on stream")
}

/// The same of a call that only asks whether anybody is there: a certificate that is refused is named.
pub(super) async fn first_fault(what: &str, error: &Error, names: Option<Names<'_>>, address: &str) -> Fault {
    let Some(names) = names else { return fault(what, error) };
    let said = names.fault_of(what, &tls::causes(error), address, &[]).await;
    said.map_or_else(|| fault(what, error), Fault::unreachable)
}

/// A text of the engine, judged by its parts; an unknown one lasts.
pub(super) fn from_text(what: &str, message: &str, status: Option<u16>) -> Fault {
    let (kind, hint) = classify(message, status);
    let fault = Fault::new(kind, what, message);
    match hint {
        Some(hint) => fault.hint(hint),
        None => fault,
    }
}

/// The order counts: a text may hold several of these parts.
const PARTS: &[(&str, FaultKind, Option<&str>)] = &[
    ("toomanyrequests", FaultKind::Passing, Some("the registry limits how much may be pulled")),
    ("429 Too Many Requests", FaultKind::Passing, Some("the registry limits how much may be pulled")),
    // An answer without a body that the engine could read, as of a balancer before the registry.
    ("parsing HTTP 429", FaultKind::Passing, Some("the registry limits how much may be pulled")),
    ("parsing HTTP 5", FaultKind::Passing, None),
    ("parsing HTTP 401", FaultKind::Denied, Some(LOGIN)),
    ("parsing HTTP 403", FaultKind::Denied, Some(LOGIN)),
    ("no space left on device", FaultKind::Space, Some("free space where the engine keeps its data")),
    ("no basic auth credentials", FaultKind::Denied, Some(LOGIN)),
    ("unauthorized", FaultKind::Denied, Some(LOGIN)),
    ("401 Unauthorized", FaultKind::Denied, Some(LOGIN)),
    ("403 Forbidden", FaultKind::Denied, Some(LOGIN)),
    ("access denied", FaultKind::Denied, Some(LOGIN)),
    ("authentication required", FaultKind::Denied, Some(LOGIN)),
    ("access to the resource is denied", FaultKind::Denied, Some(LOGIN)),
    ("no matching manifest", FaultKind::Lasting, Some("the registry has no such image for the platform of this host")),
    ("manifest unknown", FaultKind::Missing, None),
    ("name unknown", FaultKind::Missing, None),
    ("repository name not known", FaultKind::Missing, None),
    ("No such image", FaultKind::Missing, None),
    ("No such container", FaultKind::Missing, None),
    ("x509:", FaultKind::Lasting, Some("the engine does not trust the registry's certificate")),
    ("server gave HTTP response to HTTPS client", FaultKind::Lasting, Some("the engine needs it in `insecure-registries`")),
    ("no such host", FaultKind::Lasting, Some("the host cannot resolve the name of the registry")),
    ("layer verification failed", FaultKind::Passing, None),
    ("unexpected HTTP status: 5", FaultKind::Passing, None),
    ("connection refused", FaultKind::Passing, None),
    ("connection reset", FaultKind::Passing, None),
    ("broken pipe", FaultKind::Passing, None),
    ("unexpected EOF", FaultKind::Passing, None),
    (": EOF", FaultKind::Passing, None),
    ("i/o timeout", FaultKind::Passing, None),
    ("TLS handshake timeout", FaultKind::Passing, None),
    ("context deadline exceeded", FaultKind::Passing, None),
    ("Client.Timeout", FaultKind::Passing, None),
    ("network is unreachable", FaultKind::Passing, None),
    ("no route to host", FaultKind::Passing, None),
    ("server misbehaving", FaultKind::Passing, None),
    ("Temporary failure in name resolution", FaultKind::Passing, None),
    ("Service Unavailable", FaultKind::Passing, None),
    ("context canceled", FaultKind::Passing, None),
];

const LOGIN: &str = "name a login for this registry in the cluster file";

fn classify(message: &str, status: Option<u16>) -> (FaultKind, Option<&'static str>) {
    // The registry's bare DENIED arrives as this one word, with or without the words of the registry behind it.
    if message == "denied" || message.starts_with("denied:") || message.contains(": denied:") || message.ends_with(": denied") {
        return (FaultKind::Denied, Some(LOGIN));
    }
    if message == "EOF" {
        return (FaultKind::Passing, None);
    }
    // Harbor's own NOT_FOUND is a code that no engine knows.
    if message.starts_with("unknown: ") && message.ends_with("not found") {
        return (FaultKind::Missing, None);
    }
    if let Some((_, kind, hint)) = PARTS.iter().find(|(part, _, _)| message.contains(part)) {
        return (*kind, *hint);
    }
    match status {
        Some(404) => (FaultKind::Missing, None),
        Some(401 | 403) => (FaultKind::Denied, None),
        Some(408 | 429 | 502..=504) => (FaultKind::Passing, None),
        _ => (FaultKind::Lasting, None),
    }
}

/// A refused removal, with the container called by its name and not by twelve digits.
pub(super) fn conflict(message: &str, containers: &[Container]) -> String {
    let id = message.split("container ").nth(1).and_then(|rest| rest.split_whitespace().next()).filter(|id| id.len() >= 12);
    match id.and_then(|id| containers.iter().find(|container| container.id.starts_with(id))) {
        Some(container) => format!("container `{}` uses it", container.name),
        None => message.to_owned(),
    }
}

/// The engine reads logins in the URL alphabet of base64, the client writes them in the standard one: a password that
/// holds `?`, `~` or `>` in the wrong place would arrive as no login at all.
pub(super) fn repair_login(headers: &mut HeaderMap) {
    if let Some(value) = headers.get_mut("x-registry-auth") {
        let url_alphabet: Vec<u8> = value.as_bytes().iter().map(|byte| url_letter(*byte)).collect();
        if let Ok(repaired) = url_alphabet.try_into() {
            *value = repaired;
            value.set_sensitive(true);
        }
    }
}

/// The client negotiates a version and then leaves it out of its paths, so that a newer engine would answer in a form
/// that the client does not know.
pub(super) fn versioned(uri: &str, version: &str) -> String {
    let after_scheme = uri.find("://").map_or(0, |at| at + 3);
    let Some(at) = uri[after_scheme..].find('/').map(|at| at + after_scheme) else { return uri.to_owned() };
    let (place, path) = uri.split_at(at);
    if path.starts_with("/v1.") { uri.to_owned() } else { format!("{place}/v{version}{path}") }
}

fn url_letter(letter: u8) -> u8 {
    match letter {
        b'+' => b'-',
        b'/' => b'_',
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_a_real_engine_are_understood() {
        use FaultKind::{Denied, Lasting, Missing, Passing, Space};
        let cases: &[(&str, Option<u16>, FaultKind)] = &[
            ("manifest for R:nope not found: manifest unknown: manifest unknown", Some(404), Missing),
            ("unknown: artifact stable/python:nope not found", Some(500), Missing),
            ("toomanyrequests: You have reached your pull rate limit.", Some(500), Passing),
            ("toomanyrequests: You have reached your pull rate limit.", None, Passing),
            ("error parsing HTTP 429 response body: unexpected end of JSON input: \"\"", Some(500), Passing),
            ("error parsing HTTP 502 response body: invalid character '<' looking for beginning of value", Some(500), Passing),
            ("error parsing HTTP 403 response body: unexpected end of JSON input: \"\"", Some(500), Denied),
            ("received unexpected HTTP status: 503 Service Unavailable", Some(500), Passing),
            ("received unexpected HTTP status: 500 Internal Server Error", None, Passing),
            ("denied", Some(500), Denied),
            ("denied: requested access to the resource is denied", None, Denied),
            (
                "pull access denied for x/y, repository does not exist or may require 'docker login': denied: requested access to the resource is denied",
                Some(404),
                Denied,
            ),
            ("Head \"http://R/v2/pull/app00/manifests/1.0\": no basic auth credentials", Some(500), Denied),
            ("unauthorized", Some(500), Denied),
            ("Head \"http://R/v2/...\": unauthorized: incorrect username or password", Some(500), Denied),
            ("Get \"http://127.0.0.1:5109/v2/\": dial tcp 127.0.0.1:5109: connect: connection refused", Some(500), Passing),
            (
                "Get \"https://x/v2/\": dial tcp: lookup x on 10.0.0.1:53: dial udp: connect: network is unreachable",
                Some(500),
                Passing,
            ),
            ("Get \"https://x/v2/\": dial tcp: lookup x on 10.0.0.1:53: no such host", Some(500), Lasting),
            ("unexpected EOF", None, Passing),
            ("EOF", None, Passing),
            ("filesystem layer verification failed for digest sha256:00", None, Passing),
            ("no matching manifest for linux/s390x in the manifest list entries", None, Lasting),
            (
                "failed to register layer: Error processing tar file(exit status 1): write /x: no space left on device",
                None,
                Space,
            ),
            ("failed to register layer: lchown /x: operation not permitted", None, Lasting),
            ("invalid reference format: repository name must be lowercase", Some(400), Lasting),
            ("No such image: nosuch:1", Some(404), Missing),
            ("x509: certificate signed by unknown authority", Some(500), Lasting),
            ("", Some(503), Passing),
        ];
        for (message, status, expect) in cases {
            assert_eq!(classify(message, *status).0, *expect, "{message} {status:?}");
        }
    }

    #[test]
    fn a_conflict_names_the_container() {
        let container = Container {
            id: "fbe51fe88376aaaa".to_owned(),
            name: "jupyter-of-kim".to_owned(),
            image: "x:1".to_owned(),
            image_id: format!("sha256:{}", "a".repeat(64)).parse().unwrap(),
            state: crate::model::ContainerState::Stopped,
            kernel: None,
            created_ms: 0,
        };
        let message = "conflict: unable to remove repository reference \"R/app00:1.0\" (must force) - container fbe51fe88376 is using its referenced image 567511ad4c70";
        assert_eq!(conflict(message, &[container]), "container `jupyter-of-kim` uses it");
        assert_eq!(conflict("something else", &[]), "something else");
    }

    #[test]
    fn paths_carry_the_negotiated_version() {
        let cases = [
            ("unix://2f72:0/info?a=/b", "unix://2f72:0/v1.41/info?a=/b"),
            ("http://info:2375/info", "http://info:2375/v1.41/info"),
            ("http://x/v1.41/info", "http://x/v1.41/info"),
        ];
        for (uri, expect) in cases {
            assert_eq!(versioned(uri, "1.41"), expect);
        }
    }

    #[test]
    fn every_password_reaches_the_engine() {
        let mut headers = HeaderMap::new();
        headers.insert("x-registry-auth", "ab+/=".parse().unwrap());
        repair_login(&mut headers);
        assert_eq!(headers["x-registry-auth"], "ab-_=");
        assert!(headers["x-registry-auth"].is_sensitive());
    }
}
