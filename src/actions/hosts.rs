//! What the actions on plain files and units share: on which hosts, which path, which unit, and who takes a file up.
//! Each word is held to its form as soon as a runbook is read.

use crate::model::{Inventory, TakesUp};
use schemars::JsonSchema;
use serde::Deserialize;

/// Names of hosts; `*` stands for any part of one. Without any: every host of the cluster file.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct On(Vec<String>);

impl On {
    /// Those hosts that are meant, of those that were read.
    pub fn hosts(&self, world: &Inventory) -> Result<Vec<String>, String> {
        let meant = |name: &str| self.0.is_empty() || self.0.iter().any(|pattern| fits(pattern, name));
        if let Some(pattern) = self.0.iter().find(|pattern| !world.machines.keys().any(|name| fits(pattern, name))) {
            return Err(format!("no host fits `{pattern}` of `on`"));
        }
        let hosts: Vec<String> = world.machines.keys().filter(|name| meant(name)).cloned().collect();
        if hosts.is_empty() { Err("the cluster file has no host".to_owned()) } else { Ok(hosts) }
    }
}

fn fits(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let mut last = None;
    for part in parts {
        if let Some(before) = last.replace(part) {
            let Some(at) = rest.find(before) else { return false };
            rest = &rest[at + before.len()..];
        }
    }
    last.map_or(rest.is_empty(), |last| rest.ends_with(last))
}

/// A unit that is told to read the file again, or started anew: `{ reload = "docker" }`, `{ restart = "docker" }`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Then {
    Reload(UnitName),
    Restart(UnitName),
}

impl Then {
    pub fn takes_up(&self) -> TakesUp {
        let (unit, restart) = match self {
            Self::Reload(unit) => (unit, false),
            Self::Restart(unit) => (unit, true),
        };
        TakesUp::Unit { unit: unit.0.clone(), restart }
    }

    pub fn words(&self) -> String {
        match self {
            Self::Reload(unit) => format!("; then {} is reloaded", unit.0),
            Self::Restart(unit) => format!("; then {} is restarted", unit.0),
        }
    }
}

/// `docker`, `kubelet.service`, `getty@tty1`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
pub struct UnitName(pub String);

impl TryFrom<String> for UnitName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@' | ':' | '\\');
        if text.is_empty() || text.starts_with('-') || !text.chars().all(plain) {
            return Err(format!("`{text}` is no name of a unit"));
        }
        Ok(Self(text))
    }
}

/// A path of a file on a host; `{host}` stands for the host's name.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
pub struct HostPath(pub String);

impl TryFrom<String> for HostPath {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let steps = text.split('/').skip(1).any(|part| part.is_empty() || part == "." || part == "..");
        if !text.starts_with('/') || steps || text.chars().any(char::is_control) {
            return Err(format!("`{text}` is no path of a file from the root"));
        }
        Ok(Self(text))
    }
}

/// Permission bits as `chmod` takes them: `"0644"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
pub struct Mode(pub u32);

impl TryFrom<String> for Mode {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let bits = u32::from_str_radix(&text, 8).ok().filter(|bits| *bits <= 0o7777 && (3..=5).contains(&text.len()));
        bits.map(Self).ok_or_else(|| format!("`{text}` is no mode: \"0644\" is one"))
    }
}

/// What a unit is to do, or found to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum UnitState {
    #[default]
    Running,
    Stopped,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_part_of_a_name() {
        let check = |pattern: &str, name: &str, fit: bool| assert_eq!(fits(pattern, name), fit, "{pattern} {name}");
        check("gpu-01", "gpu-01", true);
        check("gpu-01", "gpu-011", false);
        check("*", "", true);
        check("*", "gpu-01", true);
        check("gpu-*", "gpu-01", true);
        check("gpu-*", "gpu", false);
        check("*-01", "gpu-01", true);
        check("*-01", "gpu-012", false);
        check("g*-*1", "gpu-01", true);
        check("g*x*1", "gpu-01", false);
        check("a*a", "a", false);
        check("*b*b*", "abab", true);
        check("*b*b*b", "abab", false);
        check("", "gpu", false);
    }

    #[test]
    fn a_word_that_is_none_is_refused() {
        for path in ["etc/x", "/etc/", "/", "", "/etc/../x", "/etc//x", "/a\nb"] {
            assert!(HostPath::try_from(path.to_owned()).is_err(), "{path}");
        }
        for unit in ["", "-x", "a b", "a;b", "../x"] {
            assert!(UnitName::try_from(unit.to_owned()).is_err(), "{unit}");
        }
        for mode in ["644 ", "9", "0o644", "77777", "rw", "64"] {
            assert!(Mode::try_from(mode.to_owned()).is_err(), "{mode}");
        }
        assert_eq!(Mode::try_from("0600".to_owned()), Ok(Mode(0o600)));
        assert!(HostPath::try_from("/etc/x/{host}.conf".to_owned()).is_ok());
    }
}
