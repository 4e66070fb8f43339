//! The files of one host that make a mirror used, the daemon that takes them up, and the pull that proves it: where a
//! host stands towards them. Pure; the texts it compares are veiled, so it never holds a secret.

use super::{Change, ContainerdDaemon, Cri, Digest, FileState, ImageRef, Machine, Standing, TakenUp, text, veil};
use serde::{Deserialize, Serialize};
use std::fmt;

/// One file, before and after; `None` is "no such file".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct FileDiff {
    pub path: String,
    pub before: Option<FileState>,
    pub after: Option<FileText>,
    /// Texts that only an attempt that was cut off leaves there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub between: Vec<String>,
    /// Folders that are made for it, outermost first; an undo takes them away again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub folders: Vec<String>,
}

/// A text to be written. `(hidden N)` stands for a value of the file it replaces, `(secret NAME)` for a named secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct FileText {
    pub text: String,
    /// Permission bits; `None`: those of the file it replaces, 0o644 for a new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<u32>,
}

/// Who has to take the files up, and how it is seen that it did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", tag = "daemon", deny_unknown_fields)]
pub enum TakesUp {
    /// The Docker daemon; seen in `RegistryConfig.Mirrors` of its `/info`.
    Docker {
        restart: bool,
        before: Vec<String>,
        after: Vec<String>,
        /// For the way back: the text of its file that clears what a reload of the old text would keep.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cleared: Option<String>,
    },
    /// containerd, which has to restart when its `config_path` changes; `before` and `after` are what its configuration says.
    Containerd {
        before: String,
        after: String,
        /// Of `before`: if not, it has to restart even where both are the same.
        #[serde(default, skip_serializing_if = "TakenUp::is_so")]
        taken_up: TakenUp,
    },
    /// Any unit; whether it took the files up cannot be seen.
    Unit { unit: String, restart: bool },
}

/// An image pulled through a mirror; what counts is who served it, and not that it came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Proof {
    pub by: Prover,
    pub image: ImageRef,
    /// The mirror that has to serve it, as in the file: `https://mirror.example/`.
    pub mirror: String,
}

/// What pulls on a host, and reads its mirrors from files of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Prover {
    Docker,
    Containerd,
    Podman,
}

impl fmt::Display for Prover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Docker => "Docker",
            Self::Containerd => "containerd",
            Self::Podman => "podman",
        })
    }
}

/// Where one file stands, for what was read.
pub fn file_standing(diff: &FileDiff, found: Option<&FileState>) -> Standing {
    let is_after = match (&diff.after, found) {
        (None, None) => true,
        (Some(after), Some(found)) => veil::same(&after.text, &found.text) && after.mode.is_none_or(|mode| mode == found.mode),
        _ => false,
    };
    let is_before = match (&diff.before, found) {
        (None, None) => true,
        (Some(before), Some(found)) => before.sha256 == found.sha256,
        _ => false,
    };
    match found {
        _ if is_after => Standing::After,
        _ if is_before => Standing::Before,
        Some(found) if diff.between.iter().any(|text| veil::same(text, &found.text)) => Standing::Midway,
        Some(_) => Standing::Neither(format!("`{}` holds something else", diff.path)),
        None => Standing::Neither(format!("`{}` is not there any more", diff.path)),
    }
}

impl FileDiff {
    /// It is to stay as it is.
    pub fn is_equal(&self) -> bool {
        match (&self.before, &self.after) {
            (None, None) => true,
            (Some(before), Some(after)) => before.text == after.text && after.mode.is_none_or(|mode| mode == before.mode),
            _ => false,
        }
    }

    fn sides(&self) -> (String, String) {
        let side = |text: Option<&str>| text.map_or_else(String::new, |text| format!("{}\n{}", self.path, ended(text)));
        (side(self.before.as_ref().map(|state| state.text.as_str())), side(self.after.as_ref().map(|after| after.text.as_str())))
    }
}

impl TakesUp {
    /// Where the daemon stands; `None` where that cannot be seen.
    pub fn standing(&self, machine: &Machine) -> Option<Standing> {
        let of = |found: &[String], before: &[String], after: &[String]| {
            if found == after {
                Standing::After
            } else if found == before {
                Standing::Before
            } else {
                let used = if found.is_empty() { "no mirror".to_owned() } else { found.join(", ") };
                Standing::Neither(format!("its daemon uses {used}"))
            }
        };
        let silent = |name: &str| Standing::Neither(format!("its {name} was not seen"));
        match self {
            Self::Docker { before, after, .. } => {
                let docker = machine.docker.as_ref();
                Some(docker.map_or_else(|| silent("Docker daemon"), |docker| of(&docker.mirrors, before, after)))
            }
            Self::Containerd { before, after, taken_up } => Some(match &machine.containerd {
                None => silent("containerd"),
                Some(found) => containerd_standing((before, taken_up), after, found),
            }),
            Self::Unit { .. } => None,
        }
    }

    /// Both sides are the same: it only has to stand so.
    pub fn is_equal(&self) -> bool {
        match self {
            Self::Docker { before, after, .. } => before == after,
            Self::Containerd { before, after, .. } => before == after,
            Self::Unit { .. } => true,
        }
    }

    /// The side before and after, as one line each; none where it cannot be seen.
    pub(super) fn sides(&self) -> (String, String) {
        let used = |mirrors: &[String]| match mirrors {
            [] => "Docker daemon uses no mirror\n".to_owned(),
            some => format!("Docker daemon uses {}\n", some.join(", ")),
        };
        match self {
            Self::Docker { before, after, .. } => (used(before), used(after)),
            Self::Containerd { before, after, .. } => {
                let reads = |path: &str| {
                    if path.is_empty() {
                        "containerd reads no hosts.toml\n".to_owned()
                    } else {
                        format!("containerd reads {path}\n")
                    }
                };
                (reads(before), reads(after))
            }
            Self::Unit { .. } => (String::new(), String::new()),
        }
    }

    /// It stops and starts again; what runs below it may stop.
    pub fn restarts(&self) -> bool {
        match self {
            Self::Docker { restart, .. } | Self::Unit { restart, .. } => *restart,
            Self::Containerd { taken_up, .. } => !self.is_equal() || !taken_up.is_so(),
        }
    }

    /// What is done to the daemon, for a plan: `reloads Docker`, `restarts containerd`.
    pub fn words(&self) -> String {
        match self {
            Self::Docker { restart: true, .. } => "restarts Docker".to_owned(),
            Self::Docker { restart: false, .. } => "reloads Docker, which goes on running".to_owned(),
            Self::Containerd { .. } if !self.restarts() => "containerd reads it on each pull, without a restart".to_owned(),
            Self::Containerd { .. } => "restarts containerd; containers go on".to_owned(),
            Self::Unit { unit, restart: true } => format!("restarts {unit}"),
            Self::Unit { unit, restart: false } => format!("reloads {unit}"),
        }
    }
}

/// What it has not taken up it has neither before nor after, but for what it had not taken up in the beginning.
fn containerd_standing((before, taken_up): (&str, &TakenUp), after: &str, found: &ContainerdDaemon) -> Standing {
    let failed = matches!(found.cri, Cri::Failed(_)) && before != after;
    match (found.config_path.as_str(), &found.taken_up) {
        (path, _) if path != before && path != after => {
            Standing::Neither(format!("the configuration of its containerd says `{path}`"))
        }
        // What it runs with has ended its CRI plugin: only a restart brings that back.
        _ if failed => Standing::Midway,
        (path, TakenUp::Yes) if path == after => Standing::After,
        (path, TakenUp::Yes) if path == before => Standing::Before,
        (path, found) if path == before && found == taken_up => Standing::Before,
        _ => Standing::Midway,
    }
}

/// The standing of files and a daemon together: each part before, or each after; a mixture is midway.
pub fn standing(files: &[FileDiff], daemon: Option<&TakesUp>, machine: &Machine) -> Standing {
    let of_files = files.iter().map(|diff| {
        let found = machine.files.get(&diff.path).and_then(Option::as_ref);
        (diff.is_equal(), file_standing(diff, found))
    });
    together(of_files, daemon, machine)
}

/// The same for what is known of each file: whether it is to stay as it is, and how it stands.
pub fn together(files: impl IntoIterator<Item = (bool, Standing)>, daemon: Option<&TakesUp>, machine: &Machine) -> Standing {
    let (mut before, mut after, mut midway) = (false, false, false);
    let of_daemon = daemon.and_then(|daemon| {
        let standing = daemon.standing(machine)?;
        // What it had not taken up yet is to be done, and not to be undone.
        let due = daemon.restarts() && standing == Standing::Before;
        Some((daemon.is_equal() && !due, standing))
    });
    for (equal, standing) in files.into_iter().chain(of_daemon) {
        match standing {
            Standing::Neither(_) => return standing,
            Standing::Midway => midway = true,
            Standing::Before if !equal => before = true,
            Standing::After if !equal => after = true,
            Standing::Before | Standing::After => {}
        }
    }
    match (before, after, midway) {
        (_, _, true) | (true, true, _) => Standing::Midway,
        (true, false, _) => Standing::Before,
        (false, _, _) => Standing::After,
    }
}

impl Machine {
    /// Makes the files and what the daemon uses true (`after`), or untrue.
    pub fn configure(&mut self, files: &[FileDiff], daemon: Option<&TakesUp>, after: bool) {
        for diff in files {
            self.put(diff, after);
        }
        self.take_up(daemon, after);
    }

    /// Only the files: what an attempt that was cut off leaves.
    pub fn put(&mut self, diff: &FileDiff, after: bool) {
        let written = |text: &FileText| FileState {
            text: text.text.clone(),
            sha256: Digest::of(&text.text),
            mode: text.mode.or(diff.before.as_ref().map(|before| before.mode)).unwrap_or(0o644),
            owner: diff.before.as_ref().map_or_else(|| "0:0".to_owned(), |before| before.owner.clone()),
        };
        // A file that stays as it is keeps its bytes.
        let after = after && !diff.is_equal();
        let state = if after { diff.after.as_ref().map(written) } else { diff.before.clone() };
        match state {
            Some(state) => drop(self.files.insert(diff.path.clone(), Some(state))),
            None => drop(self.files.remove(&diff.path)),
        }
    }

    fn take_up(&mut self, daemon: Option<&TakesUp>, after: bool) {
        match (daemon, &mut self.docker, &mut self.containerd) {
            (Some(TakesUp::Docker { before, after: new, .. }), Some(docker), _) => {
                (if after { new } else { before }).clone_into(&mut docker.mirrors);
            }
            (Some(TakesUp::Containerd { before, after: new, .. }), _, Some(containerd)) => {
                (if after { new } else { before }).clone_into(&mut containerd.config_path);
                containerd.taken_up = TakenUp::Yes;
            }
            _ => {}
        }
    }
}

impl Change {
    /// Reading back does not tell all of it: whether a proof was given, or a unit was reloaded, is known to the attempt alone.
    /// So it is done only by an attempt that ended well.
    pub fn told_by_attempt(&self) -> bool {
        matches!(self, Self::Configure { proof: Some(_), .. }) || self.way_back_told_by_attempt()
    }

    /// The same of its way back: neither a unit nor a containerd that does not say what it uses shows which text it took up,
    /// so it is told again.
    pub fn way_back_told_by_attempt(&self) -> bool {
        let Self::Configure { daemon: Some(daemon), .. } = self else { return false };
        match daemon {
            TakesUp::Unit { .. } => true,
            TakesUp::Containerd { taken_up, .. } => *taken_up == TakenUp::Unknown && !daemon.is_equal(),
            TakesUp::Docker { .. } => false,
        }
    }
}

/// What the change is about: the one file, or how many.
pub(super) fn subject(files: &[FileDiff]) -> String {
    match files {
        [] => "its daemon".to_owned(),
        [one] => one.path.clone(),
        several => {
            let several: Vec<&FileDiff> = several.iter().collect();
            let below = folder(&several).unwrap_or_default();
            format!("{} below {}", text::count(files.len() as u64, "file"), if below.is_empty() { "/" } else { &below })
        }
    }
}

/// The innermost folder that holds all of several files, without a `/` at its end.
pub(super) fn folder(files: &[&FileDiff]) -> Option<String> {
    let [first, _, ..] = files else { return None };
    let above = |path: &str| path.rsplit_once('/').map_or(String::new(), |(folder, _)| folder.to_owned());
    let mut common = above(&first.path);
    while !files.iter().all(|diff| diff.path.starts_with(&format!("{common}/"))) && !common.is_empty() {
        common = above(&common);
    }
    Some(common)
}

/// What is done to the host, in its order.
pub(super) fn requests(host: &str, files: &[FileDiff], daemon: Option<&TakesUp>, proof: Option<&Proof>) -> Vec<String> {
    let written = files.iter().filter(|diff| !diff.is_equal());
    let mut out: Vec<String> = written
        .map(|diff| match &diff.after {
            Some(_) => format!("{host}: write {} by a temporary file and a rename, only if it is as planned", diff.path),
            None => format!("{host}: remove {}, only if it is as planned", diff.path),
        })
        .collect();
    out.extend(daemon.map(|daemon| format!("{host}: castoff {}, and it is asked what it uses", daemon.words())));
    out.extend(
        proof.map(|proof| {
            format!("{host}: {} pulls {}; {} has to be who served it", proof.by, proof.image.familiar(), proof.mirror)
        }),
    );
    out
}

pub(super) fn undo_requests(host: &str, files: &[FileDiff], daemon: Option<&TakesUp>) -> Vec<String> {
    let mut out = vec![];
    if let Some(TakesUp::Docker { cleared: Some(_), restart, before, .. }) = daemon {
        let had = if before.is_empty() { "an empty list of mirrors" } else { "the list of mirrors that it used" };
        let (verb, why) = if *restart {
            ("restart", "its old file names others")
        } else if before.is_empty() {
            ("reload", "a reload keeps what a file does not name")
        } else {
            ("reload", "its old file does not name them")
        };
        out.push(format!("{host}: write {had} and {verb}, for {why}"));
    }
    let written = files.iter().rev().filter(|diff| !diff.is_equal());
    out.extend(written.map(|diff| match &diff.before {
        Some(before) => format!("{host}: {} as it was, byte for byte (sha256 {})", diff.path, before.sha256.short()),
        None => format!("{host}: remove {}, which was not there", diff.path),
    }));
    // A restart that was due anyway is not taken back.
    let concerned = |daemon: &&TakesUp| !matches!(daemon, TakesUp::Containerd { .. }) || !daemon.is_equal() || !daemon.restarts();
    let daemon = daemon.filter(concerned);
    out.extend(daemon.map(|daemon| format!("{host}: castoff {}, and it is asked what it uses", daemon.words())));
    out
}

pub(super) fn sides(files: &[FileDiff], daemon: Option<&TakesUp>) -> (String, String) {
    let mut out = (String::new(), String::new());
    let of_files = files.iter().filter(|diff| !diff.is_equal()).map(FileDiff::sides);
    let daemon = daemon.filter(|daemon| !daemon.is_equal()).map(TakesUp::sides);
    for (before, after) in of_files.chain(daemon) {
        out.0.push_str(&before);
        out.1.push_str(&after);
    }
    out
}

fn ended(text: &str) -> String {
    if text.is_empty() || text.ends_with('\n') { text.to_owned() } else { format!("{text}\n") }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of one file and containerd: `written` is whether the file stands as after.
    fn check(change: (&str, &str, TakenUp), written: bool, found: (&str, TakenUp), cri: Cri, expect: &Standing) {
        let (before, after, taken_up) = change;
        let state =
            |text: &str| FileState { text: text.to_owned(), sha256: Digest::of(text), mode: 0o644, owner: "0:0".to_owned() };
        let path = "/etc/containerd/certs.d/docker.io/hosts.toml".to_owned();
        let after_text = Some(FileText { text: "new".to_owned(), mode: None });
        let diff =
            FileDiff { path: path.clone(), before: Some(state("old")), after: after_text, between: vec![], folders: vec![] };
        let daemon = TakesUp::Containerd { before: before.to_owned(), after: after.to_owned(), taken_up };
        let files = [(path, Some(state(if written { "new" } else { "old" })))].into();
        let (config_path, taken_up) = (found.0.to_owned(), found.1);
        let containerd = Some(ContainerdDaemon { config_path, taken_up, cri, ..ContainerdDaemon::default() });
        let machine = Machine { files, containerd, ..Machine::default() };
        assert_eq!(standing(&[diff], Some(&daemon), &machine), *expect, "{daemon:?} {written} {:?}", machine.containerd);
    }

    #[test]
    fn what_containerd_has_not_taken_up_is_neither_before_nor_after() {
        let uses = |path: &str| TakenUp::Uses(path.to_owned());
        let change = || ("", "/c", TakenUp::Yes);
        check(change(), false, ("", TakenUp::Yes), Cri::Ok, &Standing::Before);
        check(change(), true, ("/c", TakenUp::Yes), Cri::Ok, &Standing::After);
        check(change(), true, ("/c", TakenUp::Unknown), Cri::Ok, &Standing::Midway);
        // Given back, and not restarted since.
        check(change(), false, ("", TakenUp::Unknown), Cri::Ok, &Standing::Midway);
        check(change(), false, ("", uses("/c")), Cri::Ok, &Standing::Midway);
        check(change(), false, ("", TakenUp::Yes), Cri::Failed("bad".to_owned()), &Standing::Midway);
        // As it was before castoff came.
        let change = || ("/a:/b", "/c", uses(""));
        check(change(), false, ("/a:/b", uses("")), Cri::Ok, &Standing::Before);
        check(change(), false, ("/a:/b", TakenUp::Yes), Cri::Ok, &Standing::Before);
        check(change(), false, ("/a:/b", uses("/c")), Cri::Ok, &Standing::Midway);
        // Its configuration says so already: a restart is due, and is not taken back.
        let change = || ("/c", "/c", TakenUp::Unknown);
        check(change(), false, ("/c", TakenUp::Unknown), Cri::Ok, &Standing::Before);
        check(change(), true, ("/c", TakenUp::Unknown), Cri::Ok, &Standing::Midway);
        check(change(), true, ("/c", TakenUp::Yes), Cri::Ok, &Standing::After);
        check(change(), false, ("/c", TakenUp::Yes), Cri::Ok, &Standing::Before);
        let other = Standing::Neither("the configuration of its containerd says `/d`".to_owned());
        check(change(), false, ("/d", TakenUp::Yes), Cri::Ok, &other);
    }

    /// Its files are back after a restart that failed, and it stands as it stood before castoff came.
    #[test]
    fn a_containerd_that_does_not_say_what_it_uses_is_restarted_by_every_attempt_to_go_back() {
        let told = |before: &str, taken_up: TakenUp| {
            let daemon = TakesUp::Containerd { before: before.to_owned(), after: "/c".to_owned(), taken_up };
            let change = Change::Configure { host: "gpu-01".to_owned(), files: vec![], daemon: Some(daemon), proof: None };
            change.way_back_told_by_attempt()
        };
        assert!(told("", TakenUp::Unknown));
        assert!(!told("/c", TakenUp::Unknown), "nothing is restarted on the way back");
        assert!(!told("", TakenUp::Yes) && !told("", TakenUp::Uses("/c".to_owned())), "it says what it uses");
    }
}
