//! What is asked of the outside world for a change and for its undo, in words: the explanation of a step.
//! Never a secret: what is hidden in a change is hidden here. `@` and twelve digits stand for a whole digest.

use super::change::key_column;
use super::{Change, Digest, Era, ImageRef, RowDiff, Service, Value, configure, platform9};

impl Change {
    /// The requests that apply it, in their order. What only looks stands first.
    pub fn requests(&self) -> Vec<String> {
        match self {
            Self::Service { manager, after } => service(manager, *after),
            Self::Unit { host, unit: name, after } => unit(host, name, *after == Service::Running),
            Self::Keys { diffs } => keys(diffs.iter().map(|diff| (diff.key.as_str(), &diff.before, &diff.after))),
            Self::Rows { diffs } => rows(diffs.iter().map(|diff| (diff, diff.before.is_some(), diff.after.is_some()))),
            Self::BrownOut { diffs, begins, .. } => {
                let guard = begins.then(|| GUARD.to_owned());
                guard.into_iter().chain(rows(diffs.iter().map(|diff| (diff, true, true)))).collect()
            }
            Self::Rescan { manager, era, registry, expect, .. } => vec![
                format!("{manager}: {} (the manager's own command line)", era.rescan_words(registry).join(" ")),
                format!("then the metadata is read back: {} names have to be known", expect.len()),
            ],
            Self::Alias { alias, before, after, .. } => alias_requests(alias, before, after),
            Self::Pull { host, image, digest, before, .. } => vec![
                format!("{host}: GET /images/{image}/json: {}", was(before.is_some())),
                create(host, image, digest),
                format!("{host}: GET /images/@{}/json: the image id has to be the planned one", digest.short()),
                format!("{host}: POST /images/@{}/tag: the name {image}", digest.short()),
            ],
            Self::Tag { host, image, from, .. } => vec![
                format!("{host}: GET /images/{}/json: it still has to be the planned image", from.familiar()),
                format!("{host}: POST /images/{}/tag: the name {image}; no byte is moved", from.familiar()),
            ],
            Self::Remove { host, image, .. } => vec![
                format!("{host}: GET /images/json, GET /containers/json?all=true: no container may use the name"),
                format!("{host}: DELETE /images/{} (without force)", image.familiar()),
            ],
            Self::Configure { host, files, daemon, proof } => configure::requests(host, files, daemon.as_ref(), proof.as_ref()),
            Self::Platform9 { cluster, before, after, .. } => platform9::requests(cluster, before, after),
        }
    }

    /// The requests of its undo; empty if there is none.
    pub fn undo_requests(&self) -> Vec<String> {
        match self {
            Self::Service { manager, after: Service::Running } => service(manager, Service::Stopped),
            Self::Service { manager, after: Service::Stopped } => service(manager, Service::Running),
            Self::Unit { host, unit: name, after } => unit(host, name, *after == Service::Stopped),
            Self::Keys { diffs } => keys(diffs.iter().map(|diff| (diff.key.as_str(), &diff.after, &diff.before))),
            Self::Rows { diffs } => rows(diffs.iter().rev().map(|diff| (diff, diff.after.is_some(), diff.before.is_some()))),
            Self::BrownOut { diffs, begins, .. } => {
                let guard = (!begins).then(|| GUARD.to_owned());
                guard.into_iter().chain(rows(diffs.iter().rev().map(|diff| (diff, true, true)))).collect()
            }
            Self::Rescan { era: Era::Etcd, registry, keys_before, .. } => {
                let n = keys_before.len();
                vec![format!("etcd: the keys of {registry}'s images as they were: {n} put or kept, all others deleted")]
            }
            Self::Rescan { registry, rows_before, .. } => {
                let n = rows_before.len();
                vec![format!(
                    "postgres: the rows of {registry} in `images` as they were: {n} kept or put back, all others deleted"
                )]
            }
            Self::Alias { alias, before, after, .. } => alias_requests(alias, after, before),
            Self::Pull { host, image, before, .. } | Self::Tag { host, image, before, .. } => vec![
                format!("{host}: GET /images/json, GET /containers/json?all=true: no container may use the name"),
                match before {
                    Some(before) => format!("{host}: POST /images/{}/tag: the name {image} as before", before.short()),
                    None => format!("{host}: DELETE /images/{image} (without force)"),
                },
            ],
            Self::Remove { host, image, twin: Some(twin), .. } => {
                vec![format!("{host}: POST /images/{}/tag: the name {} again", twin.familiar(), image.familiar())]
            }
            Self::Remove { host, image, digest: Some(digest), .. } => vec![
                create(host, image, digest),
                format!("{host}: POST /images/@{}/tag: the name {} again", digest.short(), image.familiar()),
            ],
            Self::Remove { .. } => vec![],
            Self::Configure { host, files, daemon, .. } => configure::undo_requests(host, files, daemon.as_ref()),
            Self::Platform9 { cluster, before, after, .. } => platform9::requests(cluster, after, &platform9::taken_back(before)),
        }
    }
}

/// What stands before every effect that takes the registry away.
const GUARD: &str =
    "a guard is started: a process of its own that gives the registry back when the time is over, whatever becomes of castoff";

fn create(host: &str, image: &ImageRef, digest: &Digest) -> String {
    format!("{host}: POST /images/create?fromImage={}/{}&tag=@{}", image.registry, image.repository, digest.short())
}

fn was(there: bool) -> &'static str {
    if there { "the name has to mean what it meant" } else { "the name must not be taken" }
}

fn unit(host: &str, unit: &str, run: bool) -> Vec<String> {
    let verb = if run { "start" } else { "stop" };
    vec![format!("{host}: systemctl {verb} {unit}"), format!("{host}: systemctl is-active {unit}: it is asked until it is so")]
}

fn service(manager: &str, after: Service) -> Vec<String> {
    match after {
        Service::Running => vec![
            format!("{manager}: its service's start command"),
            format!("{manager}: GET / of its API, or its status command, until it answers, 90 s at most"),
        ],
        Service::Stopped => vec![
            format!("{manager}: its service's stop command"),
            format!("{manager}: its status command and its API, until neither says that it runs, 90 s at most"),
        ],
    }
}

/// One transaction: every guard, then every effect.
fn keys<'a>(diffs: impl Iterator<Item = (&'a str, &'a Option<Value>, &'a Option<Value>)>) -> Vec<String> {
    let mut out = vec!["etcd: one transaction, only if every key is as planned".to_owned()];
    for (key, from, to) in diffs {
        let guard = match from {
            Some(Value::Hidden) => "if its revision is the one just read".to_owned(),
            Some(value) => format!("if it is `{value}`"),
            None => "if there is no such key".to_owned(),
        };
        out.push(match to {
            Some(Value::Hidden) => format!("etcd: {key} is left alone: castoff keeps no passwords"),
            Some(value) => format!("etcd: put {key} = `{value}` {guard}"),
            None => format!("etcd: delete {key} {guard}"),
        });
    }
    out
}

fn rows<'a>(diffs: impl Iterator<Item = (&'a RowDiff, bool, bool)>) -> Vec<String> {
    let mut out = vec!["postgres: one transaction; the rows are locked (FOR UPDATE) and compared with the plan first".to_owned()];
    for (diff, from, to) in diffs {
        let (table, key) = (&diff.table, &diff.key);
        let column = key_column(table);
        let columns = || diff.after.iter().flat_map(|row| row.keys()).map(String::as_str).collect::<Vec<_>>().join(", ");
        out.push(match (from, to) {
            (_, false) => format!("postgres: DELETE FROM {table} WHERE {column} = '{key}'"),
            (false, true) => format!("postgres: INSERT INTO {table} the whole row with {column} = '{key}'"),
            (true, true) => format!("postgres: UPDATE {table} SET {} WHERE {column} = '{key}'", columns()),
        });
    }
    out
}

fn alias_requests(alias: &str, from: &str, to: &str) -> Vec<String> {
    vec![format!("postgres: UPDATE image_aliases: `{alias}` points at {to}, only if it points at {from}")]
}
