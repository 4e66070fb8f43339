//! What the change of a host's files would show to a person: of each file only the lines that differ and a few around them,
//! then the daemon that takes them up and the pull that proves it. Never cuts away what differs, and never shows a secret:
//! the texts it compares are veiled.

use super::{Change, FileDiff, PlannedChange, PlannedStep, Proof, TakesUp, configure, text};
use similar::{ChangeTag, TextDiff};

/// Lines that stay around those that change.
const AROUND: usize = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// What the lines below it are of.
    Head,
    /// A sentence about them.
    Said,
    Same,
    Gone,
    Come,
    /// Equal lines that are left out.
    Gap,
    /// What a sign for a value means.
    Key,
}

impl Mark {
    /// The sign before the line.
    pub fn sign(self) -> char {
        match self {
            Self::Gone => '-',
            Self::Come => '+',
            Self::Head | Self::Said | Self::Same | Self::Gap | Self::Key => ' ',
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiffLine {
    pub mark: Mark,
    pub text: String,
}

fn line(mark: Mark, text: impl AsRef<str>) -> DiffLine {
    let text = text::clean_line(text.as_ref());
    DiffLine { mark, text: text.trim_end().to_owned() }
}

impl Change {
    /// Files, daemon and proof, line by line; `None` where a change is shown by its two sides.
    pub fn diff(&self) -> Option<Vec<DiffLine>> {
        let Self::Configure { files, daemon, proof, .. } = self else { return None };
        let mut out = vec![];
        let written: Vec<&FileDiff> = files.iter().filter(|diff| !diff.is_equal()).collect();
        let folder = configure::folder(&written);
        if let Some(folder) = &folder {
            out.push(line(Mark::Head, format!("below {folder}/")));
        }
        for diff in &written {
            file(&mut out, diff, folder.as_deref());
        }
        if written.is_empty() && !files.is_empty() {
            out.push(line(Mark::Said, format!("{} stays as it is", configure::subject(files))));
        }
        out.extend(daemon.iter().flat_map(of_daemon));
        out.extend(proof.iter().map(|proof| line(Mark::Said, proof.words())));
        out.extend(legend(&out).into_iter().map(|words| line(Mark::Key, words)));
        Some(out)
    }
}

/// What the signs for values mean, of those that stand in the lines.
fn legend(lines: &[DiffLine]) -> Vec<&'static str> {
    let holds = |sign: &str| lines.iter().any(|line| line.text.contains(sign));
    let known = [
        ("(hidden ", "(hidden N) is the N-th value of this file that castoff keeps and shows to nobody"),
        ("(secret ", "(secret NAME) is filled in from the cluster file when it is written"),
    ];
    known.into_iter().filter(|(sign, _)| holds(sign)).map(|(_, words)| words).collect()
}

fn file(out: &mut Vec<DiffLine>, diff: &FileDiff, folder: Option<&str>) {
    let name = folder.and_then(|folder| diff.path.strip_prefix(folder)).map_or(diff.path.as_str(), |name| &name[1..]);
    let about = match (&diff.before, &diff.after) {
        (None, _) if !diff.folders.is_empty() => {
            format!("   a new file in {}", text::count(diff.folders.len() as u64, "new folder"))
        }
        (None, _) => "   a new file".to_owned(),
        (_, None) => "   is removed".to_owned(),
        (Some(before), Some(after)) => match after.mode.filter(|mode| *mode != before.mode) {
            Some(mode) => format!("   mode {:04o} becomes {mode:04o}", before.mode),
            None => String::new(),
        },
    };
    out.push(line(Mark::Head, format!("{name}{about}")));
    let before = ended(diff.before.as_ref().map_or("", |state| &state.text));
    let after = ended(diff.after.as_ref().map_or("", |after| &after.text));
    let compared = TextDiff::from_lines(&before, &after);
    let mut at = 0;
    for group in compared.grouped_ops(AROUND) {
        let first = group.first().map_or(at, |op| op.old_range().start);
        gap(out, first.saturating_sub(at));
        at = group.last().map_or(first, |op| op.old_range().end);
        for change in group.iter().flat_map(|op| compared.iter_changes(op)) {
            let mark = match change.tag() {
                ChangeTag::Delete => Mark::Gone,
                ChangeTag::Insert => Mark::Come,
                ChangeTag::Equal => Mark::Same,
            };
            out.push(line(mark, change.value().trim_end_matches(['\n', '\r'])));
        }
    }
    gap(out, before.lines().count().saturating_sub(at));
}

fn gap(out: &mut Vec<DiffLine>, left_out: usize) {
    if left_out > 0 {
        out.push(line(Mark::Gap, format!("... {}", text::count(left_out as u64, "equal line"))));
    }
}

fn of_daemon(daemon: &TakesUp) -> Vec<DiffLine> {
    let mut out = vec![line(Mark::Said, format!("then castoff {}", daemon.words()))];
    let (before, after) = daemon.sides();
    if before == after {
        out.extend(after.lines().map(|words| line(Mark::Same, words)));
    } else {
        out.extend(before.lines().map(|words| line(Mark::Gone, words)));
        out.extend(after.lines().map(|words| line(Mark::Come, words)));
    }
    out
}

impl Proof {
    /// What is done, before it is done: `Docker pulls busybox:1 through https://mirror.example/`.
    pub fn words(&self) -> String {
        format!("as a proof {} pulls {} through {}, which has to be who served it", self.by, self.image.familiar(), self.mirror)
    }
}

/// The lines so that none is wider than the room, in characters; what differs in a line that is replaced stays visible.
pub fn fitted(lines: Vec<DiffLine>, room: usize) -> Vec<DiffLine> {
    let mut out = lines;
    let mut at = 0;
    while at < out.len() {
        let gone = run(&out, at, Mark::Gone);
        let come = run(&out, at + gone, Mark::Come);
        for pair in 0..gone.min(come) {
            let (old, new) = (at + pair, at + gone + pair);
            let same = out[old].text.chars().zip(out[new].text.chars()).take_while(|(a, b)| a == b).count();
            let longest = out[old].text.chars().count().max(out[new].text.chars().count());
            if longest > room && same > room / 2 {
                // A few characters before the place stay, so that it is known.
                let skipped = same - room / 4;
                for place in [old, new] {
                    out[place].text = format!("..{}", out[place].text.chars().skip(skipped + 2).collect::<String>());
                }
            }
        }
        at += (gone + come).max(1);
    }
    for line in &mut out {
        let wide = line.text.chars().count();
        if wide > room && line.mark == Mark::Head {
            // The name of a file stands at the end of its path.
            line.text = format!("..{}", line.text.chars().skip(wide - room.saturating_sub(2)).collect::<String>());
        } else if wide > room {
            line.text = format!("{}..", line.text.chars().take(room.saturating_sub(2)).collect::<String>());
        }
    }
    out
}

fn run(lines: &[DiffLine], from: usize, mark: Mark) -> usize {
    lines[from.min(lines.len())..].iter().take_while(|line| line.mark == mark).count()
}

/// Changes of a step that are the very same on several hosts.
#[derive(Clone, Debug)]
pub struct Alike<'a> {
    pub first: &'a PlannedChange,
    /// All of them, the first too, in their order.
    pub all: Vec<&'a PlannedChange>,
}

/// The changes of a step, those that differ in nothing but their host together, in the order of the first of each.
pub fn alike(step: &PlannedStep) -> Vec<Alike<'_>> {
    let mut out: Vec<Alike<'_>> = vec![];
    let mut known: std::collections::BTreeMap<String, usize> = std::collections::BTreeMap::new();
    for planned in &step.changes {
        let Some(diff) = planned.change.diff() else {
            out.push(Alike { first: planned, all: vec![planned] });
            continue;
        };
        let mut what = format!("{}\n{}\n{:?}\n", planned.subject, planned.found, planned.way_back);
        diff.iter().for_each(|line| {
            what.push(line.mark.sign());
            what.push_str(&line.text);
            what.push('\n');
        });
        match known.get(&what) {
            Some(at) => out[*at].all.push(planned),
            None => {
                known.insert(what, out.len());
                out.push(Alike { first: planned, all: vec![planned] });
            }
        }
    }
    out
}

/// Names of hosts in a sentence: each, up to so many, then how many more there are.
pub fn names(places: &[&str], most: usize) -> String {
    let shown = places.iter().take(most).copied().collect::<Vec<_>>().join(", ");
    match places.len().saturating_sub(most) {
        0 => shown,
        more => format!("{shown} and {} more", text::number(more as u64)),
    }
}

fn ended(text: &str) -> String {
    if text.is_empty() || text.ends_with('\n') { text.to_owned() } else { format!("{text}\n") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Digest, FileState, FileText, Prover};

    fn file_state(text: &str) -> FileState {
        FileState { text: text.to_owned(), sha256: Digest::of(text), mode: 0o644, owner: "0:0".to_owned() }
    }

    fn diff_of(path: &str, before: Option<&str>, after: Option<&str>) -> FileDiff {
        let after = after.map(|text| FileText { text: text.to_owned(), mode: None });
        FileDiff { path: path.to_owned(), before: before.map(file_state), after, between: vec![], folders: vec![] }
    }

    fn shown(files: Vec<FileDiff>, daemon: Option<TakesUp>, proof: Option<Proof>) -> Vec<String> {
        let change = Change::Configure { host: "node-1".to_owned(), files, daemon, proof };
        change.diff().unwrap().iter().map(|line| format!("{} {}", line.mark.sign(), line.text)).collect()
    }

    #[test]
    fn only_the_lines_that_differ_are_shown_and_the_others_are_counted() {
        let before = (1..=20).map(|n| format!("line {n}")).collect::<Vec<_>>().join("\n") + "\n";
        let after = before.replace("line 10\n", "line ten\n");
        assert_eq!(
            shown(vec![diff_of("/etc/x", Some(&before), Some(&after))], None, None),
            [
                "  /etc/x",
                "  ... 6 equal lines",
                "  line 7",
                "  line 8",
                "  line 9",
                "- line 10",
                "+ line ten",
                "  line 11",
                "  line 12",
                "  line 13",
                "  ... 7 equal lines"
            ]
        );
    }

    #[test]
    fn a_file_that_comes_or_goes_is_said_in_words_and_files_stand_below_their_folder() {
        let mut new = diff_of("/etc/certs.d/docker.io/hosts.toml", None, Some("server = 1\n"));
        new.folders = vec!["/etc/certs.d/docker.io".to_owned()];
        let files = vec![new, diff_of("/etc/certs.d/_default/hosts.toml", Some("x\n"), None)];
        assert_eq!(
            shown(files, None, None),
            [
                "  below /etc/certs.d/",
                "  docker.io/hosts.toml   a new file in 1 new folder",
                "+ server = 1",
                "  _default/hosts.toml   is removed",
                "- x"
            ]
        );
    }

    #[test]
    fn the_daemon_and_the_proof_stand_apart_from_the_file_and_each_sign_is_explained_once() {
        let daemon = TakesUp::Docker { restart: false, before: vec![], after: vec!["https://m/".to_owned()], cleared: None };
        let image = "busybox:1".parse().unwrap();
        let proof = Proof { by: Prover::Docker, image, mirror: "https://m/".to_owned() };
        let file = diff_of("/etc/docker/daemon.json", Some("a (hidden 1)\n"), Some("a (hidden 1)\nb (hidden 2)\n"));
        assert_eq!(
            shown(vec![file], Some(daemon), Some(proof)),
            [
                "  /etc/docker/daemon.json",
                "  a (hidden 1)",
                "+ b (hidden 2)",
                "  then castoff reloads Docker, which goes on running",
                "- Docker daemon uses no mirror",
                "+ Docker daemon uses https://m/",
                "  as a proof Docker pulls busybox:1 through https://m/, which has to be who served it",
                "  (hidden N) is the N-th value of this file that castoff keeps and shows to nobody"
            ]
        );
    }

    #[test]
    fn a_long_line_is_cut_where_nothing_changes() {
        let long = |end: &str| format!("{}{end}", "x".repeat(100));
        let lines = vec![line(Mark::Gone, long("old")), line(Mark::Come, long("new")), line(Mark::Same, long("same"))];
        let out: Vec<String> = fitted(lines, 20).into_iter().map(|line| line.text).collect();
        assert_eq!(out, ["..xxxold", "..xxxnew", "xxxxxxxxxxxxxxxxxx.."]);
    }
}
