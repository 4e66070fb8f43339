//! Layer 1: runbook words turned into changes. Pure: no action talks to the cluster, so planning cannot fail for
//! outside reasons. Apply, verify and undo belong to the change, never to the action.

mod allow_registry;
mod brown_out;
mod check_hosts;
mod delete_metadata;
mod files;
mod hosts;
mod ledger;
mod left_over;
mod mirror;
mod mirror_containerd;
mod mirror_docker;
mod mirror_podman;
mod platform9;
mod point_aliases;
mod preflight;
mod pull_images;
mod put_registry;
mod remove_images;
mod rescan_images;
mod set_managers;
mod set_unit;

pub use ledger::ledger;
pub use left_over::left_over;
pub use mirror::Mirror;

use crate::model::{Change, Check, ImageRef, Inventory, Kept, LedgerLine, Problem, Wants, backend_ai::quote};
use schemars::JsonSchema;
use serde::{Deserialize, de::DeserializeOwned};
use std::{collections::BTreeMap, fmt::Debug};

/// The work a step names. Planned against the inventory as the earlier steps will leave it.
pub trait Action: Debug + Send + Sync {
    /// What has to be read before it can be planned.
    fn wants(&self, _about: &About<'_>) -> Wants {
        Wants::backend_ai()
    }

    fn plan(&self, world: &Inventory, about: &About<'_>) -> Result<Drawn, String>;
}

/// What every action of a runbook shares.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// Empty in a runbook without `[move]`: its actions do not look at it.
    pub moved: &'a Move,
    /// There in every runbook with an action that needs one.
    pub mirror: Option<&'a Mirror>,
    pub ledger: &'a [LedgerLine],
    /// The changes of the steps before, in their order.
    pub earlier: &'a [&'a Change],
}

impl<'a> About<'a> {
    /// The mirror of the runbook.
    ///
    /// # Panics
    /// In a runbook without `[mirror]`; none with an action that asks for it is read.
    pub fn mirror(&self) -> &'a Mirror {
        self.mirror.expect("a runbook with such an action has a mirror")
    }
}

/// What an action drew up.
#[derive(Debug, Default)]
pub struct Drawn {
    pub changes: Vec<Change>,
    pub kept: Vec<Kept>,
    /// Questions that only this action can put; they join the gate of its step.
    pub checks: Vec<Check>,
    pub notes: Vec<Problem>,
    /// Sentences that its gate has to tell, behind those of the runbook.
    pub warnings: Vec<String>,
    /// One line: what it would do.
    pub summary: String,
}

/// From where to where images move: data of the runbook, shared by all its steps.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Move {
    /// `docker.io/lablup`: a registry, and the folder of repositories that moves.
    pub from: String,
    /// `cr.backend.ai/stable`, …: where `from/NAME:TAG` is looked for as `to/NAME:TAG`, in this order.
    pub to: Vec<String>,
    /// Old image to new image, where the rule does not fit.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>")]
    pub overrides: BTreeMap<ImageRef, ImageRef>,
}

impl Move {
    /// The old registry, canonical: `docker.io`.
    pub fn old_registry(&self) -> &str {
        crate::model::image::canonical_registry(self.from.split('/').next().unwrap_or(&self.from))
    }

    /// The folder of repositories that moves, with its closing `/`; empty for all.
    pub fn old_folder(&self) -> String {
        self.from.split_once('/').map_or_else(String::new, |(_, folder)| format!("{folder}/"))
    }

    /// The new registry. All of `to` are in one (held by `check`).
    pub fn new_registry(&self) -> &str {
        self.to.first().and_then(|to| to.split('/').next()).unwrap_or_default()
    }

    /// Whether an image is one that moves.
    pub fn is_old(&self, image: &ImageRef) -> bool {
        image.registry == self.old_registry() && image.repository.starts_with(&self.old_folder())
    }

    /// Where the counterpart of an old image may be, best first.
    pub fn candidates(&self, old: &ImageRef) -> Vec<ImageRef> {
        if let Some(new) = self.overrides.get(old) {
            return vec![new.clone()];
        }
        let folder = self.old_folder();
        let Some(name) = old.repository.strip_prefix(&folder) else { return vec![] };
        self.to.iter().filter_map(|to| format!("{to}/{name}:{}", old.tag).parse().ok()).collect()
    }

    /// What is wrong with it, if anything.
    pub fn check(&self) -> Result<(), String> {
        let registry = |place: &str| place.split('/').next().unwrap_or_default().to_owned();
        if self.to.is_empty() {
            return Err("`to` of `[move]` is empty: name at least one place, such as `cr.backend.ai/stable`".to_owned());
        }
        if let Some(other) = self.to.iter().find(|to| registry(to) != registry(&self.to[0])) {
            return Err(format!("`to` of `[move]` names two registries: `{}` and `{other}`", self.to[0]));
        }
        for place in self.to.iter().chain([&self.from]) {
            let parses = format!("{place}/x:1").parse::<ImageRef>().is_ok();
            if !parses || !registry(place).contains(['.', ':']) {
                return Err(format!("`{place}` of `[move]` is not `registry/folder`"));
            }
        }
        Ok(())
    }
}

/// One row of the table: an action's word, what it does, how its parameters are read and described.
pub struct Kind {
    pub name: &'static str,
    pub about: &'static str,
    /// Its changes are on hosts, of which there are many alike: they may go in waves.
    pub on_hosts: bool,
    /// The table of the runbook without which it cannot be planned: `move` or `mirror`.
    pub needs: Option<&'static str>,
    load: fn(toml::Table) -> Result<Box<dyn Action>, toml::de::Error>,
    pub schema: fn() -> schemars::Schema,
}

fn load<A: Action + DeserializeOwned + 'static>(table: toml::Table) -> Result<Box<dyn Action>, toml::de::Error> {
    Ok(Box::new(table.try_into::<A>()?))
}

/// The schema of a type with everything it refers to inside, so that it can stand inside another.
pub fn whole_schema<T: JsonSchema>() -> schemars::Schema {
    let settings = schemars::generate::SchemaSettings::default().with(|settings| settings.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<T>()
}

macro_rules! kind {
    ($name:literal, $action:ty, $about:literal) => {
        Kind { name: $name, about: $about, on_hosts: false, needs: Some("move"), load: load::<$action>, schema: whole_schema::<$action> }
    };
    (on hosts $name:literal, $action:ty, $about:literal) => {
        Kind { on_hosts: true, ..kind!($name, $action, $about) }
    };
    (any $name:literal, $action:ty, $about:literal) => {
        Kind { needs: None, ..kind!($name, $action, $about) }
    };
    (any on hosts $name:literal, $action:ty, $about:literal) => {
        Kind { needs: None, ..kind!(on hosts $name, $action, $about) }
    };
    (mirror $name:literal, $action:ty, $about:literal) => {
        Kind { needs: Some("mirror"), ..kind!($name, $action, $about) }
    };
    (mirror on hosts $name:literal, $action:ty, $about:literal) => {
        Kind { needs: Some("mirror"), ..kind!(on hosts $name, $action, $about) }
    };
}

/// Every action. A new one is one file and one line here.
pub const ACTIONS: &[Kind] = &[
    kind!("preflight", preflight::Preflight, "asks everything once: it answers, is new enough, may be pulled, has room"),
    kind!(on hosts "pull-images", pull_images::PullImages, "every agent gets the new images that correspond to the old ones it holds"),
    kind!("set-managers", set_managers::SetManagers, "stops or starts every manager service"),
    kind!("put-registry", put_registry::PutRegistry, "writes the new registry where this Backend.AI keeps registries"),
    kind!("rescan-images", rescan_images::RescanImages, "the manager's own command line reads the new registry's images"),
    kind!("point-aliases", point_aliases::PointAliases, "aliases of old images are pointed at the new ones"),
    kind!("allow-registry", allow_registry::AllowRegistry, "domains that allow the old registry allow the new one instead"),
    kind!(
        "begin-brown-out",
        brown_out::Begin,
        "for a while no domain allows the old registry; then it is given back, whatever happens"
    ),
    kind!(
        "end-brown-out",
        brown_out::End,
        "waits until the time of the brown-out is over, tells who was refused, and gives the registry back"
    ),
    kind!("delete-metadata", delete_metadata::DeleteMetadata, "the old images' metadata and the old registry's configuration go"),
    kind!(on hosts "remove-images", remove_images::RemoveImages, "old images go from the agents, where the ledger allows it"),
    kind!(mirror "check-mirror", mirror::CheckMirror, "asks from every host whether the mirror answers, and looks at the files that will be changed"),
    kind!(mirror on hosts "mirror-docker", mirror_docker::MirrorDocker, "every Docker daemon uses the mirror for Docker Hub; a pull proves it"),
    kind!(mirror on hosts "mirror-podman", mirror_podman::MirrorPodman, "podman, buildah, skopeo and CRI-O ask the mirror by a drop-in; a pull proves it"),
    kind!(any on hosts "write-file", files::WriteFile, "a file of hosts holds what the runbook says; a unit may take it up"),
    kind!(any on hosts "remove-file", files::RemoveFile, "a file of hosts is away; a unit may be told"),
    kind!(any on hosts "set-unit", set_unit::SetUnit, "a unit of hosts runs, or is stopped"),
    kind!(any "check-files", check_hosts::CheckFiles, "a file of hosts is there, holds these texts and none of those; or it is not there"),
    kind!(any "check-units", check_hosts::CheckUnits, "units of hosts run, or are stopped"),
    kind!(any "check-reach", check_hosts::CheckReach, "a registry, or any port, answers the hosts"),
    kind!(mirror on hosts "mirror-containerd", mirror_containerd::MirrorContainerd, "every containerd asks the mirror for its registries first; a pull proves it"),
    kind!(mirror "put-platform9", platform9::PutPlatform9, "the cluster API of Platform9 gets the mirror for its nodes"),
];

/// Reads a step's parameters by its action's word.
pub fn find(name: &str, parameters: toml::Table) -> Result<Box<dyn Action>, String> {
    let kind = ACTIONS.iter().find(|kind| kind.name == name).ok_or_else(|| {
        let names: Vec<&str> = ACTIONS.iter().map(|kind| kind.name).collect();
        format!("unknown action `{name}`, expected one of `{}`", names.join("`, `"))
    })?;
    (kind.load)(parameters).map_err(|e| told(name, &e))
}

/// The parser's words with the field first, if it names one: whoever shows the place looks for the first name.
fn told(action: &str, error: &toml::de::Error) -> String {
    let (all, message) = (error.to_string(), error.message());
    let field = all.lines().find_map(|line| line.strip_prefix("in ").filter(|_| !message.contains(line)));
    match field {
        Some(field) => format!("{field} of action `{action}`: {message}"),
        None if message.starts_with("unknown field") => format!("{message} (action `{action}`)"),
        None => format!("action `{action}`: {message}"),
    }
}

/// A row id that is the same each time the same row is planned: a UUID made of a hash (RFC 9562, version 8).
fn stable_uuid(name: &str) -> String {
    use sha2::Digest as _;
    let hash = sha2::Sha256::digest(format!("castoff {}", quote(name)));
    let mut bytes = [0_u8; 16];
    bytes.copy_from_slice(&hash[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid().to_string()
}
