//! What is wrong with a daemon's configuration, and what comes of it: the file, the flags that it runs with, those of
//! its unit. It never changes anything.

use super::{Flaw, MIRRORS, Release, is_empty, mirrors, valid_mirror};
use crate::model::json_bytes::{BOM, Object, object};
use crate::model::{DockerDaemon, Problem, veil};
use serde_json::Value;
use std::collections::BTreeSet;

/// When a finding must stop a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Matters {
    /// Never: it is said.
    Note,
    /// Where the daemon is restarted.
    Restart,
    /// Where the daemon reloads.
    Reload,
    /// Always.
    Always,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub matters: Matters,
    /// What happens if nothing is done is its `why`, what helps its hint.
    pub problem: Problem,
}

/// Flags whose name is not that of their key. The engine takes the flag's name in the file, and drops it without a word.
const FLAGS: [(&str, &str); 20] = [
    ("registry-mirror", MIRRORS),
    ("insecure-registry", "insecure-registries"),
    ("host", "hosts"),
    ("label", "labels"),
    ("dns-opt", "dns-opts"),
    ("exec-opt", "exec-opts"),
    ("log-opt", "log-opts"),
    ("storage-opt", "storage-opts"),
    ("cluster-store-opt", "cluster-store-opts"),
    ("authorization-plugin", "authorization-plugins"),
    ("default-ulimit", "default-ulimits"),
    ("default-address-pool", "default-address-pools"),
    ("default-network-opt", "default-network-opts"),
    ("node-generic-resource", "node-generic-resources"),
    ("add-runtime", "runtimes"),
    ("cdi-spec-dir", "cdi-spec-dirs"),
    ("feature", "features"),
    ("config-file", ""),
    ("version", ""),
    ("help", ""),
];
/// Those that not every engine since 20.10 knows: where it does not, it refuses the file.
const SOME: [&str; 4] = ["cluster-store-opt", "default-network-opt", "cdi-spec-dir", "feature"];
/// What the short flags set.
const SHORT: [(char, &str); 8] = [
    ('b', "bridge"),
    ('D', "debug"),
    ('G', "group"),
    ('H', "hosts"),
    ('g', "graph"),
    ('l', "log-level"),
    ('p', "pidfile"),
    ('s', "storage-driver"),
];
/// Keys that the engine joins with their flag.
const JOINED: [&str; 1] = ["runtimes"];

/// Everything that is found, the gravest first. `text`: the daemon's file, veiled or not; `None`: it is not there.
pub fn lint(daemon: &DockerDaemon, text: Option<&str>) -> Vec<Finding> {
    let mut lint = Lint { daemon, release: Release::parse(&daemon.version), found: vec![] };
    let text = text.unwrap_or_default();
    let read = if is_empty(text) { None } else { Some(object(text)) };
    lint.bytes(text);
    match &read {
        Some(Err(flaw)) => lint.flaw(flaw),
        Some(Ok(read)) => {
            lint.keys(text, read);
            lint.mirrors(text);
            lint.insecure(read);
        }
        None => {}
    }
    let read = read.and_then(Result::ok);
    lint.flags(read.as_ref());
    lint.daemon(read.as_ref());
    lint.found.sort_by_key(|finding| std::cmp::Reverse(finding.matters));
    lint.found
}

/// Whether a reload of this version forgets the insecure registries of a file that names mirrors too.
pub fn reload_drops_insecure(version: &str) -> bool {
    let range = Release(23, 0, 0)..=Release(23, 0, 6);
    Release::parse(version).is_some_and(|release| range.contains(&release) || release == Release(24, 0, 0))
}

/// How much it logs, where its command line or its file says so.
pub fn log_level(daemon: &DockerDaemon, text: Option<&str>) -> Option<String> {
    let mut words = daemon.flags.iter();
    while let Some(word) = words.next() {
        let rest = word.strip_prefix("--log-level").filter(|rest| rest.is_empty() || rest.starts_with('='));
        match rest.or_else(|| word.strip_prefix("-l")).map(|rest| rest.trim_start_matches('=')) {
            Some("") => return words.next().cloned(),
            Some(level) => return Some(level.to_owned()),
            None => {}
        }
    }
    let read = object(text?).ok()?;
    read.value.get("log-level").and_then(Value::as_str).map(str::to_owned)
}

struct Lint<'d> {
    daemon: &'d DockerDaemon,
    release: Option<Release>,
    found: Vec<Finding>,
}

impl Lint<'_> {
    fn add(&mut self, matters: Matters, subject: &str, why: impl Into<String>, hint: impl Into<String>) {
        let hint = Some(crate::model::text::clean(&hint.into()));
        self.found.push(Finding { matters, problem: Problem { hint, ..Problem::new(subject, why) } });
    }

    fn file(&mut self, matters: Matters, why: impl Into<String>, hint: impl Into<String>) {
        self.add(matters, &format!("`{}`", self.daemon.config), why, hint);
    }

    fn flaw(&mut self, flaw: &Flaw) {
        let why = format!(
            "line {}, column {}: {}; the engine refuses the file, and does not start with it",
            flaw.line, flaw.column, flaw.why
        );
        let hint = flaw.hint.clone().unwrap_or_else(|| "mend it by hand: castoff changes no file that it cannot read".to_owned());
        self.file(Matters::Always, why, hint);
    }

    fn is_before_23(&self) -> bool {
        self.release.is_none_or(|release| release < Release(23, 0, 0))
    }

    fn bytes(&mut self, text: &str) {
        if !self.is_before_23() {
            return;
        }
        if text.starts_with(BOM) {
            let why = "begins with a byte order mark, which Docker Engine before 23.0 refuses: it does not start with it";
            self.file(Matters::Always, why, "save it as UTF-8 without a byte order mark");
        } else if !text.is_empty() && is_empty(text) {
            let why = "is empty, which Docker Engine before 23.0 refuses: it does not start with it";
            self.file(Matters::Note, why, "the new text mends it; without one, write `{}`");
        }
    }

    fn keys(&mut self, text: &str, read: &Object) {
        for member in &read.members {
            let name = member.name.as_str();
            let place = Flaw::at(text, member.key.start, "", "").line;
            if let Some((_, key)) = FLAGS.iter().find(|(flag, _)| *flag == name) {
                let then = if SOME.contains(&name) { ", or refuses the file where it knows no such flag" } else { "" };
                let why =
                    format!("line {place}: `{name}` is the name of a flag and no key: the engine drops it without a word{then}");
                let hint = if key.is_empty() { "take it out".to_owned() } else { format!("write `{key}`") };
                self.file(Matters::Note, why, hint);
            } else if name != MIRRORS && is_like_mirrors(name) {
                let why = format!("line {place}: `{name}` is no key: the engine refuses the file, and does not start with it");
                self.file(Matters::Always, why, format!("write `{MIRRORS}`"));
            }
        }
    }

    fn mirrors(&mut self, text: &str) {
        const MENDED: &str = "a run that sets the mirrors replaces it";
        match mirrors(text) {
            Err(flaw) => {
                let why = format!("line {}: {}; the engine refuses the file, and does not start with it", flaw.line, flaw.why);
                self.file(Matters::Note, why, flaw.hint.map_or_else(|| MENDED.to_owned(), |hint| format!("{hint}; {MENDED}")));
            }
            Ok(all) => {
                for why in all.iter().filter_map(|mirror| valid_mirror(mirror, &self.daemon.version).err()) {
                    self.file(Matters::Note, format!("{why}; the engine refuses the reload, and does not start with it"), MENDED);
                }
            }
        }
    }

    fn insecure(&mut self, read: &Object) {
        let list = read.value.get("insecure-registries").and_then(Value::as_array);
        for one in list.into_iter().flatten().filter_map(Value::as_str) {
            if let Some((scheme, host)) = one.split_once("://") {
                let why = format!("names `{}` in `insecure-registries`, which takes no scheme", veil::veil(one).text);
                let hint = format!("write `{}`", veil::veil(host).text);
                let known = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
                let then =
                    if known { "the engine takes it off and warns" } else { "the engine refuses it, and does not start with it" };
                self.file(if known { Matters::Note } else { Matters::Always }, format!("{why}: {then}"), hint);
            }
        }
    }

    /// Keys that stand in the file and on a command line: the engine refuses both together.
    fn flags(&mut self, read: Option<&Object>) {
        let sides =
            [("the running command line of dockerd", &self.daemon.flags), ("the unit of dockerd", &self.daemon.unit_flags)];
        for (side, words) in sides {
            let keys = keys(words);
            if keys.contains(MIRRORS) {
                let why = format!(
                    "sets `--registry-mirror`: with `{MIRRORS}` in `{}` as well the engine refuses the file, and does not start",
                    self.daemon.config
                );
                self.add(
                    Matters::Always,
                    side,
                    why,
                    "take the flag out of the unit or its drop-ins, restart the daemon, and name the mirror in the file",
                );
            }
            let both = read.into_iter().flat_map(|read| &read.members).map(|member| member.name.clone());
            for key in both.filter(|key| keys.contains(key) && key != MIRRORS && !JOINED.contains(&key.as_str())) {
                let why = format!(
                    "sets what `{key}` in `{}` sets as well: the engine refuses a reload, and does not start",
                    self.daemon.config
                );
                let hint = if key == "hosts" {
                    "take `hosts` out of the file, or `-H` out of the unit by a drop-in".to_owned()
                } else {
                    format!("leave it in one place: take the flag out of the unit, or `{key}` out of the file")
                };
                self.add(Matters::Always, side, why, hint);
            }
        }
        let (running, unit) = (options(&self.daemon.flags), options(&self.daemon.unit_flags));
        if !self.daemon.flags.is_empty() && !self.daemon.unit_flags.is_empty() && running != unit {
            let list = |from: &[String], to: &[String]| {
                let only: Vec<_> =
                    from.iter().filter(|word| !to.contains(word)).map(|word| format!("`{}`", shown(word))).collect();
                if only.is_empty() { "nothing".to_owned() } else { only.join(", ") }
            };
            let why = format!(
                "differs from its unit: a restart takes away {} and adds {}",
                list(&running, &unit),
                list(&unit, &running)
            );
            self.add(
                Matters::Restart,
                "the running command line of dockerd",
                why,
                "a reload keeps it; before a restart, make the unit say what is meant",
            );
        }
    }

    fn daemon(&mut self, read: Option<&Object>) {
        let version = self.daemon.version.clone();
        let insecure =
            |read: &Object| read.value.get("insecure-registries").and_then(Value::as_array).is_some_and(|list| !list.is_empty());
        if reload_drops_insecure(&version) && (read.is_some_and(insecure) || !self.daemon.insecure.is_empty()) {
            let why = format!("{version} forgets its insecure registries when it reloads a file that names mirrors too");
            self.add(
                Matters::Reload,
                "Docker Engine",
                why,
                "restart it instead of reloading (`restart = true` in the step), or upgrade to 23.0.7, 24.0.1 or newer",
            );
        }
        let asked =
            read.and_then(|read| read.value.get("live-restore")).and_then(Value::as_bool).unwrap_or(self.daemon.live_restore);
        if asked && self.daemon.swarm {
            let why = "asks for live-restore on a node of a swarm: the engine does not start with both";
            self.file(Matters::Restart, why, "take `live-restore` out, or the node out of its swarm");
        }
    }
}

/// `registry_mirrors`, `registryMirrors`, `registry-mirrorz`: what was meant.
fn is_like_mirrors(name: &str) -> bool {
    let flat: Vec<char> = name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).take(20).collect();
    let wanted: Vec<char> = "registrymirrors".chars().collect();
    let same = |n: usize| flat.len() == n + 1 && wanted.iter().zip(&flat).filter(|(a, b)| a != b).count() <= 1;
    // One letter more, less or another, or two changed places.
    let without = |long: &[char], short: &[char]| (0..long.len()).any(|n| [&long[..n], &long[n + 1..]].concat() == short);
    let mut sorted = [flat.clone(), wanted.clone()];
    sorted.iter_mut().for_each(|letters| letters.sort_unstable());
    same(wanted.len() - 1)
        || flat.len() == wanted.len() + 1 && without(&flat, &wanted)
        || flat.len() + 1 == wanted.len() && without(&wanted, &flat)
        || sorted[0] == sorted[1]
}

/// The words behind the program.
fn options(words: &[String]) -> Vec<String> {
    let from = words.iter().position(|word| word.starts_with('-')).unwrap_or(words.len());
    words[from..].to_vec()
}

/// The keys that flags of a command line set.
fn keys(words: &[String]) -> BTreeSet<String> {
    let key = |word: &String| {
        let name = match word.strip_prefix("--") {
            Some(long) => long.split('=').next().unwrap_or_default(),
            None => SHORT.iter().find(|(short, _)| word.strip_prefix('-').is_some_and(|rest| rest.starts_with(*short)))?.1,
        };
        Some(FLAGS.iter().find(|(flag, _)| *flag == name).map_or(name, |(_, key)| key).to_owned())
    };
    words.iter().filter_map(key).filter(|key| !key.is_empty()).collect()
}

fn shown(word: &str) -> String {
    veil::veil(word).text
}
