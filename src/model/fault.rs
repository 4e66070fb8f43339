//! Why something did not work: a small code to branch on, and words for a person.

use serde::{Deserialize, Serialize};

/// What kind of fault it is. The engine retries `Passing` and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// May be gone in a moment: a refused connection, a 503, a 429, a stalled pull.
    Passing,
    /// A login or a right is missing.
    Denied,
    /// The thing asked for is not there.
    Missing,
    /// No space left.
    Space,
    /// The world stands neither before nor after the change.
    Drift,
    /// Anything else: trying again would give the same answer.
    Lasting,
}

/// One fault: `what` names the subject in backticks, `why` is the root cause in the source's own words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[error("{what}: {why}")]
pub struct Fault {
    pub kind: FaultKind,
    #[serde(deserialize_with = "super::edge::line")]
    pub what: String,
    #[serde(deserialize_with = "super::edge::line")]
    pub why: String,
    #[serde(default, deserialize_with = "super::edge::maybe", skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// What a registry said with 429 or 503: nobody asks it again before this time has passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// The host or its engine did not answer: the fault is not about what was asked of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unreachable: bool,
}

impl Fault {
    /// `what` and `why` may hold text from outside: control characters are taken out here.
    pub fn new(kind: FaultKind, what: impl AsRef<str>, why: impl AsRef<str>) -> Self {
        let (what, why) = (super::text::clean(what.as_ref()), super::text::clean(why.as_ref()));
        Self { kind, what, why, hint: None, retry_after_ms: None, unreachable: false }
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(super::text::clean(&hint.into()));
        self
    }

    #[must_use]
    pub fn unreachable(mut self) -> Self {
        self.unreachable = true;
        self
    }

    /// Whether it says something of the host and not of the image: no space, no login, no answer.
    pub fn is_of_host(&self) -> bool {
        self.unreachable || matches!(self.kind, FaultKind::Space | FaultKind::Denied)
    }

    #[must_use]
    pub fn retry_after_ms(mut self, wait_ms: Option<u64>) -> Self {
        self.retry_after_ms = wait_ms;
        self
    }
}

/// Words of a fault without what differs from place to place although the cause is one: numbers in paths of files, addresses,
/// long hexadecimal names. A status code, a size or an image's tag stays: those tell causes apart.
pub fn root(why: &str) -> String {
    let mut out = String::with_capacity(why.len());
    for token in why.split_inclusive(' ') {
        let address = token.contains(':') && token.chars().any(|c| c == '.') && token.chars().all(|c| !c.is_alphabetic());
        let hexadecimal = token.split(|c: char| !c.is_ascii_hexdigit()).any(|run| run.len() >= 12);
        if token.starts_with('/') || address {
            out.extend(token.chars().filter(|c| !c.is_ascii_digit()));
        } else if hexadecimal {
            let runs = token.split_inclusive(|c: char| !c.is_ascii_hexdigit());
            out.extend(runs.filter(|run| run.len() < 12));
        } else {
            out.push_str(token);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(one: &str, other: &str, same: bool) {
        assert_eq!(root(one) == root(other), same, "{one} | {other}");
    }

    #[test]
    fn what_differs_by_place_only_is_one_cause() {
        let blob = |n: u32| format!("write /var/lib/docker/tmp/GetImageBlob{n}: no space left on device");
        check(&blob(118), &blob(7), true);
        check("dial tcp 10.0.0.7:2376: connection refused", "dial tcp 10.0.1.12:2376: connection refused", true);
        check("no such image: 567511ad4c70", "no such image: fbe51fe88376", true);
        check("registry answered 401", "registry answered 403", false);
        check("12 GB free, 17 GB needed", "12 GB free, 20 GB needed", false);
        check("manifest for cr/stable/python:3.6 not found", "manifest for cr/stable/python:3.8 not found", false);
    }
}
