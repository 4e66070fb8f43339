//! The evidence of a run as a folder of plain files, each line of each sealed by a manifest, the entries by their chain.
//! Pure: it makes texts and holds bytes against them; it reads and writes no file. What it cannot show is said, not claimed.

use super::{decisions, ledger_text, moment, report_json, report_markdown};
use crate::model::{Digest, Entry, Plan, Stamped, State, chain, text};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::{collections::BTreeMap, fmt, fmt::Write};

/// The format this version writes and reads.
const BUNDLE_VERSION: u32 = 1;
/// Names every file with its hashes.
pub const MANIFEST: &str = "manifest.json";
/// Seals the manifest: as `sha256sum` writes it, then a line for each of its lines.
pub const SEAL: &str = "manifest.sha256";
/// Lines of the chain, each closed by its hash.
const ENTRIES: &str = "entries.jsonl";
const PLAN: &str = "plan.json";

/// What a bundle cannot show by itself.
pub const NOT_SHOWN: &str = "a bundle that was made anew as a whole shows no trace of it: hold the last hash against the one that the end of the run printed";

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Manifest {
    v: u32,
    castoff: String,
    run: String,
    cluster: String,
    plan: String,
    entries: usize,
    last_hash: Digest,
    made_at_ms: i64,
    made_by: String,
    files: BTreeMap<String, Seal>,
}

/// The hash of some bytes, and the first hex digits of the hash of each of their lines: the one detects, the others name.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Seal {
    sha256: Digest,
    lines: Vec<String>,
}

impl Seal {
    fn of(bytes: &[u8]) -> Self {
        let short = |line: &[u8]| Digest::of_bytes(line).short()[..8].to_owned();
        Self { sha256: Digest::of_bytes(bytes), lines: bytes.split_inclusive(|byte| *byte == b'\n').map(short).collect() }
    }

    /// The first line, from 1, that is not as it was sealed.
    fn first_other(&self, now: &Self) -> Option<usize> {
        let n = self.lines.iter().zip(&now.lines).take_while(|(a, b)| a == b).count();
        (n < self.lines.len().max(now.lines.len())).then_some(n + 1)
    }
}

/// Who makes a bundle, of what.
pub struct Making<'a> {
    pub run: &'a str,
    pub state: &'a State,
    pub entries: &'a [Stamped],
    /// Each entry's line and hash, in order.
    pub links: &'a [(String, Digest)],
    pub by: &'a str,
    pub now_ms: i64,
}

/// The files of a bundle, by name. `None`: the run has no plan, so it has done nothing.
pub fn bundle(making: &Making<'_>) -> Option<BTreeMap<String, String>> {
    let Making { run, state, entries, links, by, now_ms } = making;
    let plan = state.plan.as_ref()?;
    let pretty = |value: serde_json::Value| serde_json::to_string_pretty(&value).expect("plain data") + "\n";
    let mut files = BTreeMap::new();
    let mut add = |name: &str, text: String| _ = files.insert(name.to_owned(), text);
    add(PLAN, serde_json::to_string_pretty(&**plan).expect("a plan is plain data") + "\n");
    add(ENTRIES, links.iter().map(|(line, hash)| chain::closed(line, hash) + "\n").collect());
    add("ledger.txt", ledger_text(plan));
    add("ledger.tsv", ledger_tsv(plan));
    add("diffs.txt", diffs(plan, state));
    add("gates.json", pretty(gates(plan, entries)));
    add("report.md", report_markdown(run, state, entries));
    add("report.json", pretty(report_json(run, state, entries)));
    let (_, last_hash) = links.last()?;
    let manifest = Manifest {
        v: BUNDLE_VERSION,
        castoff: env!("CARGO_PKG_VERSION").to_owned(),
        run: (*run).to_owned(),
        cluster: plan.cluster.clone(),
        plan: plan.plan.clone(),
        entries: links.len(),
        last_hash: last_hash.clone(),
        made_at_ms: *now_ms,
        made_by: (*by).to_owned(),
        files: files.iter().map(|(name, text)| (name.clone(), Seal::of(text.as_bytes()))).collect(),
    };
    let manifest = serde_json::to_string_pretty(&manifest).expect("plain data") + "\n";
    let seal = Seal::of(manifest.as_bytes());
    let mut sealed = format!("{}  {MANIFEST}\n", &seal.sha256.as_str()["sha256:".len()..]);
    seal.lines.iter().for_each(|line| sealed.extend([line.as_str(), "\n"]));
    files.insert(MANIFEST.to_owned(), manifest);
    files.insert(SEAL.to_owned(), sealed);
    Some(files)
}

/// What is wrong with a bundle: the file, and where in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    pub file: String,
    /// From 1.
    pub line: Option<usize>,
    pub why: String,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "`{}`, line {line}: {}", text::clean(&self.file), self.why),
            None => write!(f, "`{}`: {}", text::clean(&self.file), self.why),
        }
    }
}

/// What a bundle that is whole says of itself.
#[derive(Debug)]
pub struct Whole {
    pub run: String,
    pub cluster: String,
    pub files: usize,
    pub entries: usize,
    pub last_hash: Digest,
}

/// Holds the files of a bundle against its manifest and its chain; names everything that is not as it was written.
pub fn verify(files: &BTreeMap<String, Vec<u8>>) -> Result<Whole, Vec<Wrong>> {
    let wrong = |file: &str, line, why: &str| Wrong { file: file.to_owned(), line, why: why.to_owned() };
    let changed = "it is not as it was written";
    let (Some(bytes), Some(seal)) = (files.get(MANIFEST), files.get(SEAL)) else {
        let gone = [MANIFEST, SEAL].into_iter().filter(|name| !files.contains_key(*name));
        return Err(gone.map(|name| wrong(name, None, "it is missing")).collect());
    };
    if let Some(line) = broken_seal(bytes, seal) {
        return Err(vec![wrong(line.0, Some(line.1), changed)]);
    }
    let manifest: Manifest = serde_json::from_slice(bytes)
        .map_err(|why| vec![wrong(MANIFEST, Some(why.line()), &format!("this castoff cannot read it: {why}"))])?;
    if manifest.v != BUNDLE_VERSION {
        return Err(vec![wrong(MANIFEST, None, &format!("format {}; this castoff reads {BUNDLE_VERSION}", manifest.v))]);
    }
    let mut out = vec![];
    for (name, seal) in &manifest.files {
        let Some(bytes) = files.get(name) else {
            out.push(wrong(name, None, "it is missing"));
            continue;
        };
        let now = Seal::of(bytes);
        if let Some(line) = seal.first_other(&now) {
            let why = if name == ENTRIES { format!("entry {line} is not as it was written") } else { changed.to_owned() };
            out.push(wrong(name, Some(line), &why));
        } else if now.sha256 != seal.sha256 {
            out.push(wrong(name, None, changed));
        }
    }
    let strange = files.keys().filter(|name| ![MANIFEST, SEAL].contains(&name.as_str()) && !manifest.files.contains_key(*name));
    out.extend(strange.map(|name| wrong(name, None, "it was added: the manifest does not know it")));
    if out.is_empty() {
        // The manifest agrees with everything: now the entries have to agree with themselves.
        out.extend(held_against_chain(&manifest, files));
    }
    if out.is_empty() {
        let Manifest { run, cluster, entries, last_hash, .. } = manifest;
        Ok(Whole { run, cluster, files: files.len(), entries, last_hash })
    } else {
        Err(out)
    }
}

/// The file and the line at which manifest and seal part, if they do. Each has two hashes of the manifest's bytes: where
/// one agrees and the other does not, it is the seal that was changed.
fn broken_seal(manifest: &[u8], seal: &[u8]) -> Option<(&'static str, usize)> {
    let now = Seal::of(manifest);
    let mut expected = format!("{}  {MANIFEST}\n", &now.sha256.as_str()["sha256:".len()..]);
    now.lines.iter().for_each(|line| expected.extend([line.as_str(), "\n"]));
    let line = Seal::of(expected.as_bytes()).first_other(&Seal::of(seal))?;
    let whole = expected.find('\n').map_or(0, |end| end + 1);
    // Whatever was done to the one of them leaves the other as it stands.
    let (first, rest) = expected.as_bytes().split_at(whole);
    if seal.starts_with(first) || seal.ends_with(rest) {
        return Some((SEAL, line));
    }
    // Both hashes differ, so the manifest did change: its first other line stands one lower in the seal.
    let known: Vec<String> = String::from_utf8_lossy(seal).lines().skip(1).map(str::to_owned).collect();
    let sealed = Seal { sha256: now.sha256.clone(), lines: known };
    Some((MANIFEST, sealed.first_other(&now).unwrap_or(1)))
}

/// The chain from the run's name to the last hash, and the plan that the first entry holds.
fn held_against_chain(manifest: &Manifest, files: &BTreeMap<String, Vec<u8>>) -> Option<Wrong> {
    let wrong = |line, why: String| Some(Wrong { file: ENTRIES.to_owned(), line, why });
    let Some(Ok(text)) = files.get(ENTRIES).map(|bytes| std::str::from_utf8(bytes)) else {
        return wrong(None, "there are no entries".to_owned());
    };
    let mut head = chain::start(&manifest.run);
    let mut state = State::default();
    for (n, closed) in (1..).zip(text.lines()) {
        let Some((line, hash)) = chain::split(closed) else { return wrong(Some(n), format!("entry {n} has no hash")) };
        head = chain::link(&head, line);
        if head != hash {
            return wrong(Some(n), format!("the hash of entry {n} does not fit: it, or one before it, is not as it was written"));
        }
        let stamped = match opened(line) {
            Ok(stamped) => stamped,
            Err(why) => return wrong(Some(n), format!("entry {n}: {why}")),
        };
        if let Err(why) = state.apply(&stamped) {
            return wrong(Some(n), why.to_string());
        }
    }
    if head != manifest.last_hash || state.seq != manifest.entries as u64 {
        return wrong(None, "its last hash is not the one of the manifest".to_owned());
    }
    let plan: Option<Plan> = files.get(PLAN).and_then(|bytes| serde_json::from_slice(bytes).ok());
    if plan.as_ref() != state.plan.as_deref() {
        return Some(Wrong { file: PLAN.to_owned(), line: None, why: "it is not the plan of entry 1".to_owned() });
    }
    None
}

/// An entry of an open line.
fn opened(line: &str) -> Result<Stamped, serde_json::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "kebab-case")]
    struct Line {
        seq: u64,
        at_ms: i64,
        entry: Entry,
    }
    let Line { seq, at_ms, entry } = serde_json::from_str(&format!("{line}}}"))?;
    Ok(Stamped { seq, at_ms, entry })
}

fn ledger_tsv(plan: &Plan) -> String {
    let mut out = "old\told-id\tnew\tnew-digest\tnew-id\tverdict\tproof\thosts\n".to_owned();
    let or_dash = |field: Option<String>| field.unwrap_or_else(|| "-".to_owned());
    for line in &plan.ledger {
        let fields = [
            line.old.to_string(),
            or_dash(line.old_id.as_ref().map(ToString::to_string)),
            or_dash(line.new.as_ref().map(ToString::to_string)),
            or_dash(line.new_digest.as_ref().map(ToString::to_string)),
            or_dash(line.new_id.as_ref().map(ToString::to_string)),
            line.verdict.to_string(),
            line.proof.clone(),
            line.hosts.join(" "),
        ];
        let _ = writeln!(out, "{}", fields.map(|field| text::clean(&field)).join("\t"));
    }
    out
}

/// Before and after of every change, with what became of it.
fn diffs(plan: &Plan, state: &State) -> String {
    let mut out = String::new();
    for planned in plan.steps.iter().flat_map(|step| &step.changes) {
        let stands = super::run::status_word(&state.status(planned.id).status);
        let (subject, place) = (text::clean(&planned.subject), text::clean(&planned.place));
        let _ = writeln!(out, "@ {} {} {subject} on {place}: {stands}", planned.id, planned.kind);
        if let Some(diff) = planned.change.diff() {
            diff.iter().for_each(|line| _ = writeln!(out, "{} {}", line.mark.sign(), line.text));
        } else {
            for (sign, side) in [('-', &planned.before), ('+', &planned.after)] {
                side.lines().for_each(|line| _ = writeln!(out, "{sign} {}", text::clean(line)));
            }
        }
        if let Some(proof) = &state.status(planned.id).proof {
            let _ = writeln!(out, "  proven: {}", text::clean(proof));
        }
    }
    out
}

/// Who answered which gate, from where, when, and what was typed.
fn gates(plan: &Plan, entries: &[Stamped]) -> serde_json::Value {
    let answer = |stamped: &Stamped| {
        let (what, step, by, of, typed) = match &stamped.entry {
            Entry::GateApproved { step, by, plan, typed } => ("gate", step, by, plan, typed),
            Entry::WavePassed { step, by, plan, typed, .. } => ("canary", step, by, plan, typed),
            _ => return None,
        };
        let step = plan.steps.get(*step)?;
        Some(json!({
            "entry": stamped.seq, "at-ms": stamped.at_ms, "at": moment(stamped.at_ms), "what": what, "step": step.id,
            "title": step.title, "asked": step.gate.as_ref().map(|gate| &gate.sentence), "by": by, "plan": of, "typed": typed,
        }))
    };
    let told: Vec<_> = entries.iter().filter_map(answer).collect();
    json!({ "v": 1, "answers": told, "decisions": decisions(entries) })
}

/// The end of a run in one line: what evidence is held against.
pub fn last_hash_line(hash: &Digest) -> String {
    format!("last hash  {hash}")
}
