//! The one definition of what a change means: where an inventory stands towards it, and what it is afterwards.
//! The planner, the simulator and the tests share it; the live clients are held to it by tests.

use super::backend_ai::{images_key, quote};
use super::change::{HIDDEN, key_column};
use super::{
    Change, Container, Digest, Era, FileDiff, Host, ImageRef, Inventory, KeyDiff, Known, LocalImage, Manager, Row, RowDiff,
    Service, Standing, TakesUp, Value, configure, inventory::Layer, platform9,
};
use std::collections::BTreeSet;

impl Inventory {
    /// Where this inventory stands towards a change. `After` wins where both sides are equal.
    pub fn standing(&self, change: &Change) -> Standing {
        match change {
            Change::Service { manager, after } => match self.managers.get(manager) {
                Some(found) if found.running == (*after == Service::Running) => Standing::After,
                Some(_) => Standing::Before,
                None => Standing::Neither(format!("there is no manager `{manager}`")),
            },
            Change::Unit { host, unit, after } => match self.machines.get(host).map(|machine| machine.units.get(unit)) {
                Some(Some(found)) if *found == Some(*after) => Standing::After,
                Some(Some(_)) => Standing::Before,
                Some(None) => Standing::Neither(format!("unit `{unit}` was not asked about")),
                None => Standing::Neither(format!("there is no host `{host}`")),
            },
            Change::Keys { diffs } => keys_standing(diffs, |key| self.keys.get(key)),
            Change::Rows { diffs } | Change::BrownOut { diffs, .. } => {
                rows_standing(diffs, |diff| self.row(&diff.table, &diff.key))
            }
            Change::Rescan { registry, expect, .. } => rescan_standing(expect, &self.known_images(registry)),
            Change::Alias { alias, architecture, before, after } => {
                let found = self.aliases().into_iter().find(|a| a.alias == *alias);
                match found {
                    Some(a) if a.target == *after && a.architecture == *architecture => Standing::After,
                    Some(a) if a.target == *before => Standing::Before,
                    Some(a) => Standing::Neither(format!("alias `{alias}` points at `{}`", a.target)),
                    None => Standing::Neither(format!("there is no alias `{alias}`")),
                }
            }
            Change::Pull { host, image, id, before, .. } | Change::Tag { host, image, id, before, .. } => {
                self.with_host(host, |host| name_standing(host.images.get(image), before.as_ref(), id))
            }
            Change::Remove { host, image, id, .. } => self.with_host(host, |host| remove_standing(host, image, id)),
            Change::Configure { host, files, daemon, .. } => match self.machines.get(host) {
                Some(machine) => configure::standing(files, daemon.as_ref(), machine),
                None => Standing::Neither(format!("there is no host `{host}`")),
            },
            Change::Platform9 { cluster, before, after, .. } => {
                match self.platform9.as_ref().filter(|found| found.uuid == *cluster) {
                    Some(found) => platform9::standing(before, after, &found.mirror),
                    None => Standing::Neither(format!("there is no cluster `{cluster}`")),
                }
            }
        }
    }

    fn with_host(&self, name: &str, of: impl FnOnce(&Host) -> Standing) -> Standing {
        self.hosts.get(name).map_or_else(|| Standing::Neither(format!("there is no host `{name}`")), of)
    }

    fn row(&self, table: &str, key: &str) -> Option<&Row> {
        self.rows(table).iter().find(|row| row.get(key_column(table)).and_then(serde_json::Value::as_str) == Some(key))
    }

    /// Makes a change true.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::Service { manager, after } => self.set_service(manager, *after == Service::Running),
            Change::Unit { host, unit, after } => self.set_unit(host, unit, *after == Service::Running),
            Change::Keys { diffs } => diffs.iter().for_each(|d| self.set_key(&d.key, d.after.as_ref())),
            Change::Rows { diffs } | Change::BrownOut { diffs, .. } => {
                diffs.iter().for_each(|d| self.set_row(&d.table, &d.key, d.after.as_ref()));
            }
            Change::Rescan { era, namespace, registry, expect, .. } => self.learn(*era, namespace, registry, expect),
            Change::Alias { alias, architecture, after, .. } => self.set_alias(alias, architecture, after),
            Change::Pull { host, image, digest, id, .. } => {
                let layers = self.manifest(image).map(|m| m.layers.clone()).unwrap_or_default();
                self.pulled(host, image, digest, id, &layers);
            }
            Change::Tag { host, image, from, .. } => self.tagged(host, image, from),
            Change::Remove { host, image, .. } => {
                if let Some(host) = self.hosts.get_mut(host) {
                    host.images.remove(image);
                }
            }
            Change::Configure { host, files, daemon, .. } => self.configure(host, files, daemon.as_ref(), true),
            Change::Platform9 { after, .. } => self.set_platform9(after),
        }
    }

    fn configure(&mut self, host: &str, files: &[FileDiff], daemon: Option<&TakesUp>, after: bool) {
        if let Some(machine) = self.machines.get_mut(host) {
            machine.configure(files, daemon, after);
        }
    }

    /// Makes a change untrue.
    pub fn undo(&mut self, change: &Change) {
        match change {
            Change::Service { manager, after } => self.set_service(manager, *after == Service::Stopped),
            Change::Unit { host, unit, after } => self.set_unit(host, unit, *after == Service::Stopped),
            Change::Keys { diffs } => diffs.iter().for_each(|d| self.set_key(&d.key, d.before.as_ref())),
            Change::Rows { diffs } | Change::BrownOut { diffs, .. } => {
                diffs.iter().for_each(|d| self.set_row(&d.table, &d.key, d.before.as_ref()));
            }
            Change::Rescan { era, namespace, registry, keys_before, rows_before, .. } => {
                if *era == Era::Etcd {
                    let within: Vec<String> = self.keys_within(&images_key(namespace, registry)).into_keys().collect();
                    within.iter().for_each(|key| self.set_key(key, None));
                    keys_before.iter().for_each(|(key, value)| self.set_key(key, Some(value)));
                } else {
                    let of = |row: &Row| row.get("registry").and_then(serde_json::Value::as_str) == Some(registry);
                    let rows = self.tables.entry("images".to_owned()).or_default();
                    rows.retain(|row| !of(row));
                    rows.extend(rows_before.iter().cloned());
                    sort_rows("images", rows);
                }
            }
            Change::Alias { alias, architecture, before, .. } => self.set_alias(alias, architecture, before),
            Change::Pull { host, image, before, .. } | Change::Tag { host, image, before, .. } => {
                let layers = self.manifest(image).map(|m| m.layers.clone()).unwrap_or_default();
                if let Some(host) = self.hosts.get_mut(host) {
                    host.images.remove(image);
                    if matches!(change, Change::Pull { .. }) {
                        let freed: u64 = lacking_layers(host, &layers).map(|layer| layer.size_bytes).sum();
                        host.free_bytes = host.free_bytes.map(|free| free + freed);
                    }
                    if let Some(id) = before {
                        host.images.insert(image.clone(), bare_image(id));
                    }
                }
            }
            Change::Remove { host, image, id, digest, twin, size_bytes } => {
                let manifest = self.manifest(image).filter(|manifest| manifest.config == *id);
                let layers = manifest.map(|m| m.layers.iter().map(|l| l.diff_id.clone()).collect()).unwrap_or_default();
                if let Some(host) = self.hosts.get_mut(host) {
                    let twin = twin.as_ref().and_then(|twin| host.images.get(twin)).cloned();
                    let pulled = LocalImage { id: id.clone(), digest: digest.clone(), size_bytes: *size_bytes, layers };
                    let local = twin.map_or(pulled, |twin| LocalImage { digest: digest.clone(), ..twin });
                    host.images.insert(image.clone(), local);
                }
            }
            Change::Configure { host, files, daemon, .. } => self.configure(host, files, daemon.as_ref(), false),
            Change::Platform9 { before, .. } => self.set_platform9(before),
        }
    }

    fn set_platform9(&mut self, fields: &Row) {
        if let Some(cluster) = &mut self.platform9 {
            cluster.mirror = platform9::fields(fields);
        }
    }

    fn set_service(&mut self, manager: &str, running: bool) {
        self.managers.entry(manager.to_owned()).or_insert(Manager { running, importer_image: None }).running = running;
    }

    fn set_unit(&mut self, host: &str, unit: &str, running: bool) {
        if let Some(machine) = self.machines.get_mut(host) {
            machine.units.insert(unit.to_owned(), Some(if running { Service::Running } else { Service::Stopped }));
        }
    }

    fn set_key(&mut self, key: &str, value: Option<&Value>) {
        match value {
            Some(value) => self.keys.insert(key.to_owned(), value.clone()),
            None => self.keys.remove(key),
        };
    }

    fn set_row(&mut self, table: &str, key: &str, columns: Option<&Row>) {
        let column = key_column(table);
        let rows = self.tables.entry(table.to_owned()).or_default();
        let place = rows.iter().position(|row| row.get(column).and_then(serde_json::Value::as_str) == Some(key));
        match (place, columns) {
            (Some(i), Some(columns)) => rows[i].extend(columns.clone()),
            (Some(i), None) => {
                rows.remove(i);
            }
            (None, Some(columns)) => {
                rows.push(columns.clone());
                sort_rows(table, rows);
            }
            (None, None) => {}
        }
    }

    fn set_alias(&mut self, alias: &str, architecture: &str, target: &str) {
        let image = self.rows("images").iter().find(|row| {
            let is = |column: &str, value: &str| row.get(column).and_then(serde_json::Value::as_str) == Some(value);
            is("name", target) && is("architecture", architecture)
        });
        let Some(id) = image.and_then(|row| row.get("id")).cloned() else { return };
        let rows = self.tables.entry("image_aliases".to_owned()).or_default();
        let row = rows.iter_mut().find(|row| row.get("alias").and_then(serde_json::Value::as_str) == Some(alias));
        if let Some(row) = row {
            row.insert("image".to_owned(), id);
        }
    }

    /// A rescan as it will turn out: every expected image is known. Rows get a stand-in id, for the real one is made
    /// by the manager and no later change names it.
    fn learn(&mut self, era: Era, namespace: &str, registry: &str, expect: &[Vec<Known>]) {
        let known: BTreeSet<Known> = self.known_images(registry).into_iter().map(|(known, _)| known).collect();
        for image in expect.iter().filter_map(|group| group.iter().next()).filter(|image| !known.contains(image)) {
            let path = image.name.strip_prefix(&format!("{registry}/")).unwrap_or(&image.name);
            let (repository, tag) = path.rsplit_once(':').unwrap_or((path, "latest"));
            if era == Era::Etcd {
                let folder = format!("{}/{}", images_key(namespace, registry), quote(repository));
                self.set_key(&folder, Some(&Value::text("1")));
                self.set_key(&format!("{folder}/{tag}"), Some(&Value::text(image.config.as_str())));
            } else {
                let text = |text: &str| serde_json::Value::String(text.to_owned());
                let row: Row = [
                    ("id".to_owned(), text(&format!("planned {}", image.name))),
                    ("name".to_owned(), text(&image.name)),
                    ("image".to_owned(), text(repository)),
                    ("tag".to_owned(), text(tag)),
                    ("registry".to_owned(), text(registry)),
                    ("architecture".to_owned(), text("x86_64")),
                    ("config_digest".to_owned(), text(image.config.as_str())),
                ]
                .into_iter()
                .collect();
                let rows = self.tables.entry("images".to_owned()).or_default();
                rows.retain(|row| row.get("name").and_then(serde_json::Value::as_str) != Some(&image.name));
                rows.push(row);
                sort_rows("images", rows);
            }
        }
    }

    fn pulled(&mut self, host: &str, image: &ImageRef, digest: &Digest, id: &Digest, layers: &[Layer]) {
        let Some(host) = self.hosts.get_mut(host) else { return };
        let lacking: u64 = lacking_layers(host, layers).map(|layer| layer.size_bytes).sum();
        host.free_bytes = host.free_bytes.map(|free| free.saturating_sub(lacking));
        let local = LocalImage {
            id: id.clone(),
            digest: Some(digest.clone()),
            size_bytes: layers.iter().map(|layer| layer.size_bytes).sum(),
            layers: layers.iter().map(|layer| layer.diff_id.clone()).collect(),
        };
        host.images.insert(image.clone(), local);
    }

    fn tagged(&mut self, host: &str, image: &ImageRef, from: &ImageRef) {
        let Some(host) = self.hosts.get_mut(host) else { return };
        if let Some(source) = host.images.get(from).cloned() {
            host.images.insert(image.clone(), LocalImage { digest: None, ..source });
        }
    }
}

/// The layers of a manifest that a host lacks: what a pull has to fetch.
pub fn lacking_layers<'a>(host: &Host, layers: &'a [Layer]) -> impl Iterator<Item = &'a Layer> + use<'a> {
    let there: BTreeSet<Digest> = host.images.values().flat_map(|image| image.layers.iter().cloned()).collect();
    layers.iter().filter(move |layer| !there.contains(&layer.diff_id))
}

/// Who keeps a name from being removed: a container created by the name, or one that runs on the image when this is
/// its last name. The engine checks only the second.
pub fn users<'a>(host: &'a Host, image: &ImageRef, id: &Digest) -> Vec<&'a Container> {
    let last = !host.images.iter().any(|(name, local)| local.id == *id && name != image);
    let by_name = |c: &Container| c.image.parse::<ImageRef>().is_ok_and(|name| name == *image);
    host.containers.iter().filter(|c| by_name(c) || (last && c.image_id == *id)).collect()
}

/// One key's standing, for a value that was read.
pub fn key_standing(diff: &KeyDiff, found: Option<&Value>) -> Standing {
    if found == diff.after.as_ref() {
        Standing::After
    } else if found == diff.before.as_ref() {
        Standing::Before
    } else {
        let found = found.map_or_else(|| "is not there".to_owned(), |value| format!("is `{value}`"));
        Standing::Neither(format!("`{}` {found}", diff.key))
    }
}

/// One row's standing, for a row that was read: only the columns of the diff count.
pub fn row_standing(diff: &RowDiff, found: Option<&Row>) -> Standing {
    let is = |side: &Option<Row>| match (side, found) {
        (None, None) => true,
        (Some(side), Some(found)) => side.iter().all(|(column, value)| found.get(column) == Some(value) || value == HIDDEN),
        _ => false,
    };
    if is(&diff.after) {
        return Standing::After;
    }
    if is(&diff.before) {
        return Standing::Before;
    }
    let Some(found) = found else { return Standing::Neither(format!("row `{}` of `{}` is not there", diff.key, diff.table)) };
    let differs = diff.before.iter().flatten().find(|(column, value)| found.get(*column) != Some(value));
    Standing::Neither(match differs {
        Some((column, _)) => {
            let value = found.get(column).map_or_else(|| "nothing".to_owned(), ToString::to_string);
            format!("`{column}` of row `{}` of `{}` is {value}", diff.key, diff.table)
        }
        None => format!("row `{}` of `{}` is already there", diff.key, diff.table),
    })
}

/// A rescan's standing, for the images that the metadata knows.
pub fn rescan_standing(expect: &[Vec<Known>], known: &[(Known, String)]) -> Standing {
    let there = |image: &Known| known.iter().any(|(k, _)| k == image);
    if expect.iter().all(|group| group.iter().any(there)) { Standing::After } else { Standing::Before }
}

/// The standing of a name on a host that is to mean image `after` and meant `before`.
pub fn name_standing(found: Option<&LocalImage>, before: Option<&Digest>, after: &Digest) -> Standing {
    match found {
        Some(image) if image.id == *after => Standing::After,
        found if found.map(|image| &image.id) == before => Standing::Before,
        Some(image) => Standing::Neither(format!("the name means image {}", image.id.short())),
        None => Standing::Neither("the name is not there any more".to_owned()),
    }
}

/// The standing of a removal: a name that is in use stands neither before nor after.
pub fn remove_standing(host: &Host, image: &ImageRef, id: &Digest) -> Standing {
    match host.images.get(image) {
        None => Standing::After,
        Some(local) if local.id != *id => Standing::Neither(format!("the name now means image {}", local.id.short())),
        Some(_) => match users(host, image, id).first() {
            None => Standing::Before,
            Some(container) => Standing::Neither(format!("container `{}` uses it", container.name)),
        },
    }
}

/// The standing of keys that change together, for values that were read. A password that was deleted cannot be given
/// back, so its absence is no sign that the change is still done, as long as another key can tell.
pub fn keys_standing<'a>(diffs: &[KeyDiff], found: impl Fn(&str) -> Option<&'a Value>) -> Standing {
    let lost = |diff: &&KeyDiff| diff.before == Some(Value::Hidden) && diff.after.is_none() && found(&diff.key).is_none();
    let (lost, telling): (Vec<&KeyDiff>, Vec<&KeyDiff>) = diffs.iter().partition(lost);
    let telling = if telling.is_empty() { lost } else { telling };
    all(telling.into_iter().map(|diff| (diff.before == diff.after, key_standing(diff, found(&diff.key)))))
}

/// The standing of rows that change together, for rows that were read.
pub fn rows_standing<'d, 'r>(diffs: &'d [RowDiff], found: impl Fn(&'d RowDiff) -> Option<&'r Row>) -> Standing {
    all(diffs.iter().map(|diff| (diff.before == diff.after, row_standing(diff, found(diff)))))
}

/// Folds the standings of parts that change together: a mixture is neither. Parts that are equal on both sides (true)
/// only have to stand.
fn all(parts: impl Iterator<Item = (bool, Standing)>) -> Standing {
    let (mut before, mut after) = (false, false);
    for part in parts {
        match part {
            (_, neither @ (Standing::Neither(_) | Standing::Midway)) => return neither,
            (true, _) => {}
            (false, Standing::Before) => before = true,
            (false, Standing::After) => after = true,
        }
    }
    match (before, after) {
        (true, true) => Standing::Neither("a part of it is done, a part is not".to_owned()),
        (true, false) => Standing::Before,
        _ => Standing::After,
    }
}

fn bare_image(id: &Digest) -> LocalImage {
    LocalImage { id: id.clone(), digest: None, size_bytes: 0, layers: vec![] }
}

/// Rows have no order of their own: by key, so that equal tables are equal inventories.
pub fn sort_rows(table: &str, rows: &mut [Row]) {
    let column = key_column(table);
    rows.sort_by(|a, b| {
        a.get(column).and_then(serde_json::Value::as_str).cmp(&b.get(column).and_then(serde_json::Value::as_str))
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_password_does_not_hide_that_the_rest_is_back() {
        let url = KeyDiff { key: "r".to_owned(), before: Some(Value::text("https://r")), after: None };
        let password = KeyDiff { key: "r/password".to_owned(), before: Some(Value::Hidden), after: None };
        let (there, hidden) = (Value::text("https://r"), Value::Hidden);
        let standing = |diffs: &[KeyDiff], url: bool, password: bool| {
            keys_standing(diffs, |key| if key == "r" { url.then_some(&there) } else { password.then_some(&hidden) })
        };
        let both = [url, password.clone()];
        assert_eq!(standing(&both, true, true), Standing::Before);
        assert_eq!(standing(&both, true, false), Standing::Before);
        assert_eq!(standing(&both, false, false), Standing::After);
        assert!(matches!(standing(&both, false, true), Standing::Neither(_)));
        assert_eq!(standing(&[password], false, false), Standing::After);
    }
}
