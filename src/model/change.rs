//! One atomic difference to the cluster, completely described: nothing is decided when it is applied.
//! The grain of a change is the unit of undo.

use super::{Digest, Era, FileDiff, ImageRef, Proof, Row, TakesUp, configure, platform9, text};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt};

/// A value that may be shown, or one that may not. `Hidden` stands for "there is one"; it equals any hidden value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Value {
    Text(String),
    Hidden,
}

impl Value {
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Hidden => None,
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_text().unwrap_or("(hidden)"))
    }
}

/// One etcd key, before and after; `None` is "no such key".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct KeyDiff {
    pub key: String,
    pub before: Option<Value>,
    pub after: Option<Value>,
}

/// One row, before and after; `None` is "no such row". Where both are there they hold only the columns that differ.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RowDiff {
    pub table: String,
    /// Value of the table's key column (`key_column`).
    pub key: String,
    pub before: Option<Row>,
    pub after: Option<Row>,
}

/// The column a table's rows are known by.
pub fn key_column(table: &str) -> &'static str {
    if table == "domains" { "name" } else { "id" }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Service {
    Running,
    Stopped,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", tag = "kind", deny_unknown_fields)]
pub enum Change {
    /// Stop or start a manager's service.
    Service { manager: String, after: Service },
    /// Stop or start a unit of a host.
    Unit { host: String, unit: String, after: Service },
    /// Keys of etcd in one transaction, guarded by the values of `before`. At most 60 keys.
    Keys { diffs: Vec<KeyDiff> },
    /// Rows of PostgreSQL in one transaction, each guarded by its old value.
    Rows { diffs: Vec<RowDiff> },
    /// A registry is taken out of domains for a while to see who still needs it, or (`begins` is false) given back.
    BrownOut {
        registry: String,
        diffs: Vec<RowDiff>,
        begins: bool,
        /// Then it is given back, whatever has become of castoff.
        for_s: u64,
    },
    /// The manager's own command line reads a registry's images into the metadata.
    Rescan {
        manager: String,
        era: Era,
        namespace: String,
        /// As Backend.AI names it.
        registry: String,
        /// Judged by this: of every group at least one name must be known afterwards.
        expect: Vec<Vec<Known>>,
        /// The registry's metadata before, for the way back.
        keys_before: BTreeMap<String, Value>,
        rows_before: Vec<Row>,
    },
    /// An alias row of PostgreSQL is pointed at another image (from 22.03; before, aliases are keys).
    Alias { alias: String, architecture: String, before: String, after: String },
    /// An engine fetches an image, pinned by digest, and tags it.
    Pull {
        host: String,
        image: ImageRef,
        digest: Digest,
        /// The image id the engine must show afterwards.
        id: Digest,
        /// What the name meant on this host before.
        before: Option<Digest>,
        /// Compressed bytes of the layers that the host lacks.
        #[serde(deserialize_with = "super::edge::size")]
        size_bytes: u64,
    },
    /// An engine gives an image that it already holds a second name: no byte is moved.
    Tag { host: String, image: ImageRef, from: ImageRef, id: Digest, before: Option<Digest> },
    /// An engine removes one name of an image, and the image with its last name.
    Remove {
        host: String,
        image: ImageRef,
        id: Digest,
        /// Manifest digest under which the old registry still serves this very image.
        digest: Option<Digest>,
        /// Another name of the same image on this host, from which the old name can be made again.
        twin: Option<ImageRef>,
        #[serde(deserialize_with = "super::edge::size")]
        size_bytes: u64,
    },
    /// The files of a host that make a mirror used; the daemon takes them up, and a pull proves it.
    Configure {
        host: String,
        /// In the order in which they are written.
        files: Vec<FileDiff>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        daemon: Option<TakesUp>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        proof: Option<Proof>,
    },
    /// The mirror of a cluster of Platform9, put by its cluster API, which writes the files of the nodes itself.
    Platform9 {
        /// UUID and name of the cluster.
        cluster: String,
        name: String,
        /// The seven parameters. A password that is there is `(hidden)`, one that is put `(secret NAME)`.
        before: Row,
        after: Row,
    },
}

/// An image as Backend.AI's metadata knows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Known {
    /// `cr.backend.ai/stable/python:3.6-ubuntu18.04`.
    pub name: String,
    pub config: Digest,
}

/// Where the real thing stands towards a change. One question gives idempotence, verification, resume and drift.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    Before,
    After,
    /// Some of it before, some after: what an attempt that was cut off leaves.
    Midway,
    /// With what was found instead, in words.
    Neither(String),
}

/// What an undo gives back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WayBack {
    /// Everything, exactly.
    Whole,
    /// Everything but what is named.
    Partly(#[serde(deserialize_with = "super::edge::line")] String),
    /// Nothing, because of this.
    None(#[serde(deserialize_with = "super::edge::line")] String),
}

impl Change {
    /// The word of the change in plans, JSON and logs.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Service { after: Service::Running, .. } | Self::Unit { after: Service::Running, .. } => "start",
            Self::Service { after: Service::Stopped, .. } | Self::Unit { after: Service::Stopped, .. } => "stop",
            Self::Keys { .. } => "keys",
            Self::Rows { .. } => "rows",
            Self::BrownOut { begins: true, .. } => "block",
            Self::BrownOut { begins: false, .. } => "unblock",
            Self::Rescan { .. } => "rescan",
            Self::Alias { .. } => "alias",
            Self::Pull { .. } => "pull",
            Self::Tag { .. } => "tag",
            Self::Remove { .. } => "remove",
            Self::Configure { .. } => "configure",
            Self::Platform9 { .. } => "platform9",
        }
    }

    /// What castoff does with it, as a sentence says it: `cannot write …`.
    pub fn verb(&self) -> &'static str {
        match self {
            Self::Keys { .. } | Self::Rows { .. } => "write",
            Self::Alias { .. } => "point",
            Self::Platform9 { .. } => "put",
            other => other.kind(),
        }
    }

    /// The sign of the change in a plan: `+` adds, `~` changes, `-` removes.
    pub fn sign(&self) -> char {
        let of = |any_before: bool, any_after: bool| match (any_before, any_after) {
            (false, _) => '+',
            (true, false) => '-',
            (true, true) => '~',
        };
        match self {
            Self::Service { .. } | Self::Unit { .. } | Self::Alias { .. } | Self::BrownOut { .. } => '~',
            Self::Rescan { .. } | Self::Pull { .. } | Self::Tag { .. } => '+',
            Self::Remove { .. } => '-',
            Self::Platform9 { before, .. } => {
                if before.get("customRegistryUrl").is_none_or(serde_json::Value::is_null) {
                    '+'
                } else {
                    '~'
                }
            }
            Self::Configure { files, .. } => {
                of(files.iter().any(|d| d.before.is_some()), files.is_empty() || files.iter().any(|d| d.after.is_some()))
            }
            Self::Keys { diffs } => of(diffs.iter().any(|d| d.before.is_some()), diffs.iter().any(|d| d.after.is_some())),
            Self::Rows { diffs } => of(diffs.iter().any(|d| d.before.is_some()), diffs.iter().any(|d| d.after.is_some())),
        }
    }

    /// What it is about: a name that fits in a row.
    pub fn subject(&self) -> String {
        match self {
            Self::Service { manager, .. } => format!("manager service of {manager}"),
            Self::Unit { unit, .. } => format!("unit {unit}"),
            Self::Keys { diffs } => match diffs.as_slice() {
                [one] => one.key.clone(),
                [first, ..] => format!("{} below {}", text::count(diffs.len() as u64, "key"), common_folder(&first.key, diffs)),
                [] => "no key".to_owned(),
            },
            Self::Rows { diffs } => {
                let mut tables: Vec<&str> = diffs.iter().map(|d| d.table.as_str()).collect();
                tables.dedup();
                match diffs.as_slice() {
                    [one] => format!("{} {}", one.table, one.key),
                    _ => format!("{} of {}", text::count(diffs.len() as u64, "row"), tables.join(", ")),
                }
            }
            Self::BrownOut { registry, diffs, .. } => {
                format!("{registry} in {}", text::count(diffs.len() as u64, "domain"))
            }
            Self::Rescan { registry, .. } => format!("images of {registry}"),
            Self::Alias { alias, .. } => format!("alias {alias}"),
            Self::Pull { image, .. } | Self::Tag { image, .. } => image.to_string(),
            Self::Remove { image, .. } => image.familiar(),
            Self::Configure { files, .. } => configure::subject(files),
            Self::Platform9 { name, .. } => format!("mirror of cluster {name}"),
        }
    }

    /// Where it happens: a host, a manager, `etcd`, `postgres` or `platform9`.
    pub fn place(&self) -> &str {
        match self {
            Self::Service { manager, .. } | Self::Rescan { manager, .. } => manager,
            Self::Keys { .. } => "etcd",
            Self::Rows { .. } | Self::Alias { .. } | Self::BrownOut { .. } => "postgres",
            Self::Pull { host, .. }
            | Self::Tag { host, .. }
            | Self::Remove { host, .. }
            | Self::Configure { host, .. }
            | Self::Unit { host, .. } => host,
            Self::Platform9 { .. } => platform9::PLACE,
        }
    }

    /// The registry a change asks bytes of: what a 429 holds back.
    pub fn registry(&self) -> Option<&str> {
        match self {
            Self::Pull { image, .. } => Some(&image.registry),
            Self::Rescan { registry, .. } => Some(registry),
            _ => None,
        }
    }

    /// The bytes it moves over the network.
    pub fn size_bytes(&self) -> u64 {
        if let Self::Pull { size_bytes, .. } = self { *size_bytes } else { 0 }
    }

    /// The two sides in words, for a diff: lines of text.
    pub fn sides(&self) -> (String, String) {
        let service = |s: Service| if s == Service::Running { "running" } else { "stopped" }.to_owned();
        let id = |id: &Option<Digest>| id.as_ref().map_or_else(|| "(not there)".to_owned(), |id| format!("image {}", id.short()));
        match self {
            Self::Service { after, .. } | Self::Unit { after, .. } => match after {
                Service::Running => (service(Service::Stopped), service(Service::Running)),
                Service::Stopped => (service(Service::Running), service(Service::Stopped)),
            },
            Self::Keys { diffs } => {
                let side = |pick: fn(&KeyDiff) -> &Option<Value>| {
                    let lines = diffs.iter().filter_map(|d| pick(d).as_ref().map(|value| format!("{} = {value}", d.key)));
                    lines.collect::<Vec<_>>().join("\n")
                };
                (side(|d| &d.before), side(|d| &d.after))
            }
            Self::Rows { diffs } | Self::BrownOut { diffs, .. } => {
                let side = |pick: fn(&RowDiff) -> &Option<Row>| {
                    let lines = diffs
                        .iter()
                        .filter_map(|d| pick(d).as_ref().map(|row| format!("{} {}  {}", d.table, d.key, row_text(row))));
                    lines.collect::<Vec<_>>().join("\n")
                };
                (side(|d| &d.before), side(|d| &d.after))
            }
            Self::Rescan { expect, keys_before, rows_before, registry, .. } => {
                let known = rows_before.len().max(keys_before.keys().filter(|k| k.ends_with("/size_bytes")).count());
                let names: Vec<String> =
                    expect.iter().map(|group| group.iter().map(|k| k.name.as_str()).collect::<Vec<_>>().join(" or ")).collect();
                (format!("{} of {registry} known", text::count(known as u64, "image")), names.join("\n"))
            }
            Self::Alias { alias, before, after, .. } => (format!("{alias} -> {before}"), format!("{alias} -> {after}")),
            Self::Pull { before, id: after, digest, .. } => (id(before), format!("image {}, {digest}", after.short())),
            Self::Tag { before, id: after, from, .. } => {
                (id(before), format!("image {}, the same as {}", after.short(), from.familiar()))
            }
            Self::Remove { id, image, .. } => (format!("{} image {}", image.familiar(), id.short()), "(not there)".to_owned()),
            Self::Configure { files, daemon, .. } => configure::sides(files, daemon.as_ref()),
            Self::Platform9 { before, after, .. } => platform9::sides(before, after),
        }
    }

    /// What an undo gives back. Pure: it is part of the plan, so it is known before anything happens.
    pub fn way_back(&self) -> WayBack {
        match self {
            Self::Keys { diffs } => {
                let hidden = diffs.iter().filter(|d| d.before == Some(Value::Hidden) && d.after != Some(Value::Hidden));
                let lost: Vec<&str> = hidden.map(|d| d.key.as_str()).collect();
                if lost.is_empty() {
                    WayBack::Whole
                } else {
                    WayBack::Partly(format!("castoff keeps no passwords: {} must be put back by hand", lost.join(", ")))
                }
            }
            Self::Rows { diffs } => {
                let hidden = |row: &Row| row.values().any(|value| value == HIDDEN);
                if diffs.iter().any(|d| d.after.is_none() && d.before.as_ref().is_some_and(hidden)) {
                    WayBack::Partly("castoff keeps no passwords: those of the registry must be put back by hand".to_owned())
                } else {
                    WayBack::Whole
                }
            }
            Self::Platform9 { before, after, .. } => platform9::way_back(before, after),
            Self::Remove { twin: None, digest: None, .. } => {
                WayBack::None("no registry serves this very image, and no other name on the host keeps it".to_owned())
            }
            _ => WayBack::Whole,
        }
    }
}

/// What stands in a row in place of a password.
pub const HIDDEN: &str = "(hidden)";

fn row_text(row: &Row) -> String {
    let cells = row.iter().map(|(column, value)| match value {
        serde_json::Value::String(text) => format!("{column}={}", text.trim_end()),
        other => format!("{column}={other}"),
    });
    cells.collect::<Vec<_>>().join(" ")
}

/// The deepest folder that holds every key.
fn common_folder<'a>(first: &'a str, diffs: &[KeyDiff]) -> &'a str {
    let mut end = first.len();
    for diff in diffs {
        let same = first.bytes().zip(diff.key.bytes()).take_while(|(a, b)| a == b).count();
        end = end.min(same);
    }
    first[..end].rfind('/').map_or("/", |i| &first[..=i])
}
