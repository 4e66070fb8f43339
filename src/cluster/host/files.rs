//! Reads and writes files of a host: whole, byte for byte, and never through an argument that others could see.
//! It never writes over what it was not told to expect, and leaves the old file whole wherever it fails.

use crate::{
    cluster::ssh::{Output, Place, Runner},
    model::{Digest, Fault, FaultKind},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use std::{collections::BTreeMap, time::Duration};

/// No configuration is longer.
pub const MOST_BYTES: usize = 1 << 20;

const DEADLINE: Duration = Duration::from_mins(1);
const READ: &str = include_str!("read.sh");
const FOLDERS: &str = include_str!("certs.sh");
const LIST: &str = include_str!("list.sh");
const WRITE: &str = include_str!("write.sh");

/// A file as it stands there.
#[derive(Clone, PartialEq, Eq)]
pub struct Raw {
    pub bytes: Vec<u8>,
    /// Permission bits: 0o644.
    pub mode: u32,
    /// Numbers of user and group: `0:0`.
    pub owner: String,
    /// Its SELinux label, where the host has them.
    pub label: Option<String>,
    /// Where the path leads, if it is a symbolic link.
    pub link: Option<String>,
}

/// Without the bytes, which may hold a secret.
impl std::fmt::Debug for Raw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes, mode {:o}, owner {}, {:?}, {:?}", self.bytes.len(), self.mode, self.owner, self.label, self.link)
    }
}

/// One file to put in place, or to take away.
#[derive(Clone)]
pub struct Write<'a> {
    pub path: &'a str,
    /// `None`: the file is taken away.
    pub bytes: Option<&'a [u8]>,
    /// SHA-256 of what must stand there now; `None`: nothing may stand there.
    pub expect: Option<Digest>,
    /// Permission bits; `None`: those of the file that is replaced, 0644 for a new one.
    pub mode: Option<u32>,
    /// Numbers of user and group, as `Raw` has them; `None`: those of the file that is replaced, of its folder for a new one.
    pub owner: Option<&'a str>,
    /// Made (0755) where they are missing, and taken away after the file where they are empty; no other folder is.
    pub folders: &'a [String],
}

/// Reads many files in one round trip; `None`: nothing stands there. What is no readable file of at most 1 MiB is a fault
/// that names it.
pub async fn read(runner: &Runner, paths: &[String]) -> Result<BTreeMap<String, Option<Raw>>, Fault> {
    if paths.is_empty() {
        return Ok(BTreeMap::new());
    }
    paths.iter().try_for_each(|path| whole(path))?;
    let what = format!("cannot read files{}", on(runner));
    let most = MOST_BYTES.to_string();
    let arguments = [most.as_str()].into_iter().chain(paths.iter().map(String::as_str));
    let output = runner.run_with(&script(READ, arguments), &[], DEADLINE).await?;
    let text = finished(&output, &what)?;
    let mut parts = text.split("=path\n");
    // Nothing stands before the first mark.
    parts.next();
    let mut files = BTreeMap::new();
    for (path, part) in paths.iter().zip(parts.by_ref()) {
        files.insert(path.clone(), one(runner, path, part, &output)?);
    }
    let asked: std::collections::BTreeSet<&String> = paths.iter().collect();
    if files.len() == asked.len() && parts.next().is_none() { Ok(files) } else { Err(garbled(&what)) }
}

/// The names in a folder, sorted, without those that castoff itself left; `None`: there is no such folder.
pub async fn list(runner: &Runner, folder: &str) -> Result<Option<Vec<String>>, Fault> {
    whole(folder)?;
    let what = format!("cannot read folder `{folder}`{}", on(runner));
    let output = runner.run_with(&script(LIST, [folder]), &[], DEADLINE).await?;
    match output.stdout.trim_end() {
        "=absent" => return Ok(None),
        "=denied" => return Err(denied(runner, &what, "permission denied")),
        "=file" => return Err(Fault::new(FaultKind::Lasting, what, "it is no folder")),
        _ => {}
    }
    let text = finished(&output, &what)?.strip_prefix("=folder\n").ok_or_else(|| garbled(&what))?;
    let joined = decoded(text).ok_or_else(|| garbled(&what))?;
    let joined = String::from_utf8_lossy(&joined);
    let mut names: Vec<String> =
        joined.split_terminator('/').filter(|name| !name.starts_with(".castoff-")).map(str::to_owned).collect();
    names.sort();
    Ok(Some(names))
}

/// What stands in a folder of folders, without what castoff itself left.
pub struct Folders {
    /// Each with the names in it.
    pub folders: BTreeMap<String, Vec<String>>,
    /// Those on the way to it, and itself, that are not there, outermost first.
    pub absent: Vec<String>,
    /// Folders whose `hosts.toml` stands elsewhere, by a link of either, and where.
    pub links: BTreeMap<String, String>,
}

/// Reads a folder of folders in one round trip.
pub async fn folders(runner: &Runner, folder: &str) -> Result<Folders, Fault> {
    whole(folder)?;
    let what = format!("cannot read folder `{folder}`{}", on(runner));
    let output = runner.run_with(&script(FOLDERS, [folder]), &[], DEADLINE).await?;
    match output.stdout.trim_end().lines().last() {
        Some("=denied") => return Err(denied(runner, &what, "permission denied")),
        Some("=file") => return Err(Fault::new(FaultKind::Lasting, what, "it is no folder")),
        _ => {}
    }
    let (missing, rest) = finished(&output, &what)?.split_once("=folders\n").ok_or_else(|| garbled(&what))?;
    let (rest, links) = rest.split_once("=links\n").ok_or_else(|| garbled(&what))?;
    let absent = missing.lines().filter_map(|line| line.strip_prefix("=missing ")).map(str::to_owned).collect();
    let pairs = |part: &str| {
        let joined = decoded(part).ok_or_else(|| garbled(&what))?;
        let joined = String::from_utf8_lossy(&joined);
        let pairs = joined.split_terminator('\0').filter_map(|path| path.split_once('/'));
        Ok::<Vec<_>, Fault>(pairs.map(|(folder, rest)| (folder.to_owned(), rest.to_owned())).collect())
    };
    let mut folders: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (folder, file) in pairs(rest)? {
        let files = folders.entry(folder).or_default();
        files.extend(Some(file).filter(|file| !file.is_empty() && !is_temporary(file)));
    }
    Ok(Folders { folders, absent, links: pairs(links)?.into_iter().collect() })
}

/// Left by an attempt that was killed.
fn is_temporary(name: &str) -> bool {
    name.strip_prefix(".castoff-").is_some_and(|rest| rest.len() == 32)
}

/// Puts a file in place by a temporary one and a rename, or takes it away. A symbolic link is followed; owner, mode and
/// SELinux label of the file that is replaced are kept where no others are asked for. `FaultKind::Drift`: something else stands
/// there than expected.
pub async fn write(runner: &Runner, write: &Write<'_>) -> Result<(), Fault> {
    whole(write.path)?;
    write.folders.iter().try_for_each(|folder| whole(folder))?;
    let verb = if write.bytes.is_some() { "write" } else { "remove" };
    let what = format!("cannot {verb} `{}`{}", write.path, on(runner));
    let hex = |digest: &Digest| digest.as_str().trim_start_matches("sha256:").to_owned();
    let expect = write.expect.as_ref().map_or_else(|| "-".to_owned(), hex);
    let wanted = write.bytes.map_or_else(|| "-".to_owned(), |bytes| hex(&Digest::of_bytes(bytes)));
    let mode = write.mode.map_or_else(|| "-".to_owned(), |mode| format!("{:o}", mode & 0o7777));
    let owner = write.owner.unwrap_or("-");
    let temporary = format!(".castoff-{}", uuid::Uuid::now_v7().simple());
    let mut folders: Vec<&str> = write.folders.iter().map(String::as_str).collect();
    folders.sort_by_key(|folder| std::cmp::Reverse(folder.len()));
    let verb = if write.bytes.is_some() { "put" } else { "take" };
    let arguments = [verb, write.path, &expect, &wanted, &mode, owner, &temporary].into_iter().chain(folders);
    let output = runner.run_with(&script(WRITE, arguments), write.bytes.unwrap_or_default(), DEADLINE).await?;
    let end = output.stdout.lines().last().and_then(|line| line.strip_prefix('=')).unwrap_or_default();
    let (mark, about) = end.split_once(' ').unwrap_or((end, ""));
    let drift = |why: &str| {
        let hint = "somebody changed it since the plan was made: look at it, then plan again";
        Err(Fault::new(FaultKind::Drift, &what, why).hint(hint))
    };
    match mark {
        "done" => Ok(()),
        "gone" => drift("it is gone"),
        "stands" => drift("a file stands there already"),
        "nofile" => drift("what stands there is no file"),
        "link" => drift("it is a symbolic link now"),
        "other" => {
            let short = |hex: &str| hex.chars().take(12).collect::<String>();
            drift(&format!("it is not as expected: its SHA-256 begins with {}, not with {}", short(about), short(&expect)))
        }
        "dangling" => {
            Err(Fault::new(FaultKind::Lasting, what, "it is a symbolic link that leads nowhere")
                .hint("remove or correct the link"))
        }
        "nofolder" => Err(Fault::new(FaultKind::Missing, what, "there is no such folder")),
        "cut" => Err(Fault::new(FaultKind::Passing, what, "not every byte arrived")),
        _ if output.code.is_none() => Err(Fault::new(FaultKind::Passing, what, "the command was ended before it was done")),
        _ => Err(refused(runner, &what, &output.last_words())),
    }
}

pub(super) fn script<'a>(text: &'a str, arguments: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    ["sh", "-c", text, "castoff"].into_iter().chain(arguments).map(str::to_owned).collect()
}

/// A path as the scripts take it. The cluster file and the actions give no others.
fn whole(path: &str) -> Result<(), Fault> {
    if path.starts_with('/') && !path.ends_with('/') && !path.chars().any(char::is_control) {
        return Ok(());
    }
    Err(Fault::new(FaultKind::Lasting, format!("`{path}`"), "it is no path of a file from the root"))
}

/// What a script printed before its last mark; without the mark it did not come to its end.
pub(super) fn finished<'a>(output: &'a Output, what: &str) -> Result<&'a str, Fault> {
    match output.stdout.strip_suffix("=over\n") {
        Some(text) => Ok(text),
        None if output.code.is_none() => Err(Fault::new(FaultKind::Passing, what, "the command was ended before it was done")),
        None if output.code == Some(0) => Err(garbled(what)),
        None => Err(Fault::new(FaultKind::Lasting, what, output.last_words())),
    }
}

fn one(runner: &Runner, path: &str, part: &str, output: &Output) -> Result<Option<Raw>, Fault> {
    let what = format!("cannot read `{path}`{}", on(runner));
    let lasting = |why: &str| Fault::new(FaultKind::Lasting, &what, why);
    let (link, part) = match part.strip_prefix("=link\n") {
        Some(rest) => {
            // No line of base64 begins with `=`.
            let next = if rest.starts_with('=') { 0 } else { rest.find("\n=").map_or(rest.len(), |at| at + 1) };
            let (target, part) = rest.split_at(next);
            let target = decoded(target).ok_or_else(|| garbled(&what))?;
            (Some(String::from_utf8_lossy(&target).trim_end_matches('\n').to_owned()), part)
        }
        None => (None, part),
    };
    let (mark, rest) = part.split_once('\n').ok_or_else(|| garbled(&what))?;
    let facts: Vec<&str> = mark.split(' ').collect();
    match facts[..] {
        ["=absent"] => return Ok(None),
        ["=denied"] => return Err(denied(runner, &what, "permission denied")),
        ["=dangling"] => {
            let to = link.map_or_else(String::new, |to| format!(", `{to}`"));
            return Err(lasting(&format!("it is a symbolic link that leads nowhere{to}")));
        }
        ["=folder"] => return Err(lasting("it is a folder")),
        ["=device"] => return Err(lasting("it is no file, but a device, a socket or a pipe")),
        ["=large"] => return Err(lasting("it is larger than 1 MiB")),
        ["=file", ..] if rest.ends_with("=failed\n") => return Err(refused(runner, &what, &output.last_words())),
        ["=failed"] => return Err(refused(runner, &what, &output.last_words())),
        _ => {}
    }
    let ["=file", mode, owner, label] = facts[..] else { return Err(garbled(&what)) };
    let mode = u32::from_str_radix(mode, 8).map_err(|_| garbled(&what))?;
    let bytes = decoded(rest).ok_or_else(|| garbled(&what))?;
    if bytes.len() > MOST_BYTES {
        return Err(lasting("it is larger than 1 MiB"));
    }
    let label = Some(label).filter(|label| label.contains(':')).map(str::to_owned);
    Ok(Some(Raw { bytes, mode, owner: owner.to_owned(), label, link }))
}

pub(super) fn decoded(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text.bytes().filter(|byte| *byte != b'\n').collect::<Vec<_>>()).ok()
}

fn garbled(what: &str) -> Fault {
    Fault::new(FaultKind::Lasting, what, "its shell printed something else than was asked")
        .hint("a shell that prints on its own (in `.bashrc` or a banner) must not do so for commands")
}

/// The tool's own words say what kind it is.
fn refused(runner: &Runner, what: &str, words: &str) -> Fault {
    let has = |parts: &[&str]| parts.iter().any(|part| words.contains(part));
    match () {
        () if has(&["No space left", "Disk quota exceeded"]) => Fault::new(FaultKind::Space, what, words),
        () if has(&["Permission denied", "Operation not permitted"]) => denied(runner, what, words),
        () if has(&["Read-only file system"]) => {
            Fault::new(FaultKind::Lasting, what, words).hint("mount it for writing, or change it where it is made from")
        }
        () => Fault::new(FaultKind::Lasting, what, words),
    }
}

fn denied(runner: &Runner, what: &str, why: &str) -> Fault {
    let fault = Fault::new(FaultKind::Denied, what, why);
    if runner.sudo() {
        fault
    } else {
        fault.hint("set `sudo = true` for this host in the cluster file, or another user in `host`")
    }
}

fn on(runner: &Runner) -> String {
    match runner.place() {
        Place::Local => String::new(),
        Place::Ssh(destination) => format!(" on `{destination}`"),
    }
}
