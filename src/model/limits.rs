//! How much may go on at once: written in a runbook, changed while a run goes on, kept in the journal.
//! Never decides what goes on: the engine does, within these.

use super::text::clean;
use serde::{Deserialize, Serialize};
use std::{
    fmt::{self, Write},
    str::FromStr,
};

/// The limits of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Limits {
    /// Changes on one host at once.
    pub per_host: usize,
    /// Hosts worked on at once; 0: all of them.
    pub hosts: usize,
    /// Changes that ask one registry at once.
    pub per_registry: usize,
    /// Requests per second to one registry; 0: as many as there are.
    pub requests_per_s: u32,
    /// Changes in all at once.
    pub total: usize,
    /// Attempts of one change before its fault counts as lasting.
    pub attempts: u32,
    /// Seconds after which one change, all its attempts together, is given up.
    pub deadline_s: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { per_host: 3, hosts: 0, per_registry: 16, requests_per_s: 0, total: 48, attempts: 5, deadline_s: 3600 }
    }
}

/// A limit that can be changed while a run goes on, by the word an operator types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Limit {
    /// Changes on one host at once.
    Pulls,
    Hosts,
    Registry,
    /// Per second and registry.
    Requests,
    Total,
}

impl Limit {
    pub const ALL: [Self; 5] = [Self::Pulls, Self::Hosts, Self::Registry, Self::Requests, Self::Total];

    pub fn word(self) -> &'static str {
        match self {
            Self::Pulls => "pulls",
            Self::Hosts => "hosts",
            Self::Registry => "registry",
            Self::Requests => "requests",
            Self::Total => "total",
        }
    }

    /// What it limits, for a help line.
    pub fn help(self) -> &'static str {
        match self {
            Self::Pulls => "changes on one host at once",
            Self::Hosts => "hosts at once; 0: all",
            Self::Registry => "changes that ask one registry at once",
            Self::Requests => "requests per second to one registry; 0: no limit",
            Self::Total => "changes in all at once",
        }
    }

    /// Whether 0 has a meaning: no limit.
    fn may_be_none(self) -> bool {
        matches!(self, Self::Hosts | Self::Requests)
    }
}

/// `pulls=4`: what is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LimitChange {
    pub limit: Limit,
    pub to: u32,
}

impl fmt::Display for LimitChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.limit.word(), self.to)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadLimit(String);

impl FromStr for LimitChange {
    type Err = BadLimit;
    fn from_str(text: &str) -> Result<Self, BadLimit> {
        let (word, number) = text
            .split_once('=')
            .ok_or_else(|| BadLimit(format!("`{}` is not a limit: NAME=NUMBER is needed, such as `pulls=4`", clean(text))))?;
        let (word, number) = (word.trim(), number.trim());
        let limit = Limit::ALL.into_iter().find(|limit| limit.word() == word).ok_or_else(|| {
            BadLimit(format!("there is no limit `{}`; there are {}", clean(word), Limit::ALL.map(Limit::word).join(", ")))
        })?;
        let to = number.parse().map_err(|_| BadLimit(format!("`{}` is not a number of `{word}`", clean(number))))?;
        if to == 0 && !limit.may_be_none() {
            return Err(BadLimit(format!("`{word}=0` would stop everything: `castoff pause` does that")));
        }
        Ok(Self { limit, to })
    }
}

impl Limits {
    /// These limits with one of them changed.
    #[must_use]
    pub fn with(mut self, change: LimitChange) -> Self {
        let to = change.to as usize;
        match change.limit {
            Limit::Pulls => self.per_host = to,
            Limit::Hosts => self.hosts = to,
            Limit::Registry => self.per_registry = to,
            Limit::Requests => self.requests_per_s = change.to,
            Limit::Total => self.total = to,
        }
        self
    }

    /// The number of one of them, as it would be typed.
    pub fn of(&self, limit: Limit) -> u64 {
        match limit {
            Limit::Pulls => self.per_host as u64,
            Limit::Hosts => self.hosts as u64,
            Limit::Registry => self.per_registry as u64,
            Limit::Requests => u64::from(self.requests_per_s),
            Limit::Total => self.total as u64,
        }
    }

    /// `3 a host, 16 a registry, 48 in all`.
    pub fn words(&self) -> String {
        let mut out = format!("{} a host, {} a registry, {} in all", self.per_host, self.per_registry, self.total);
        if self.hosts > 0 {
            let _ = write!(out, ", {} hosts at once", self.hosts);
        }
        if self.requests_per_s > 0 {
            let _ = write!(out, ", {} requests/s", self.requests_per_s);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<(Limit, u32), &str>) {
        let got = text.parse::<LimitChange>().map(|change| (change.limit, change.to)).map_err(|error| error.to_string());
        assert_eq!(got, expected.map_err(str::to_owned), "{text}");
    }

    #[test]
    fn a_limit_is_one_word_and_one_number() {
        check("pulls=4", Ok((Limit::Pulls, 4)));
        check("hosts = 0", Ok((Limit::Hosts, 0)));
        check("pull=4", Err("there is no limit `pull`; there are pulls, hosts, registry, requests, total"));
        check("pulls=0", Err("`pulls=0` would stop everything: `castoff pause` does that"));
        check("total=-1", Err("`-1` is not a number of `total`"));
        check("pulls", Err("`pulls` is not a limit: NAME=NUMBER is needed, such as `pulls=4`"));
    }

    #[test]
    fn a_change_touches_one_limit() {
        let limits = Limits::default().with("requests=40".parse().unwrap());
        assert_eq!(limits, Limits { requests_per_s: 40, ..Limits::default() });
        assert_eq!(limits.words(), "3 a host, 16 a registry, 48 in all, 40 requests/s");
    }
}
