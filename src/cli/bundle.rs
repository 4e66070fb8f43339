//! `castoff report --bundle FOLDER` and `castoff verify FOLDER`: the evidence of a run written down, and held against itself.
//! Never writes over anything, and follows no link.

use super::{Common, Exit, Failure, Format, home, look_up, run};
use crate::model::{State, text};
use crate::report::bundle::{self, MANIFEST, Making, NOT_SHOWN, SEAL, Wrong};
use anyhow::Context;
use serde_json::json;
use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, File, OpenOptions},
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
};

/// Writes the bundle of a run.
pub async fn write(common: &Common, run: Option<String>, folder: &Path) -> Result<Exit, Failure> {
    let home = home::home(common).await?;
    let (run, ..) = look_up::find(&home, run).await?;
    let links = home.reader(&run).await?.verify().await?;
    let entries: Vec<_> = links.iter().map(|link| link.stamped.clone()).collect();
    let folded = State::fold(&entries)?;
    let lines: Vec<_> = links.into_iter().map(|link| (link.line, link.hash)).collect();
    let by = run::operator();
    let making = Making { run: &run, state: &folded, entries: &entries, links: &lines, by: &by, now_ms: run::now_ms() };
    let never = || Failure::new(Exit::Usage, format!("run `{run}` never began"));
    let files = bundle::bundle(&making).ok_or_else(never)?;
    write_folder(folder, &files).with_context(|| format!("cannot write the bundle `{}`", folder.display())).map_err(|error| {
        let failure = Failure { exit: Exit::Usage, error, hint: None };
        failure.hint("a bundle is a new folder: castoff writes over nothing")
    })?;
    let last = &lines[lines.len() - 1].1;
    println!(
        "wrote {}: {}, {}",
        folder.display(),
        text::count(files.len() as u64, "file"),
        text::count(lines.len() as u64, "entry")
    );
    println!("{}", bundle::last_hash_line(last));
    Ok(Exit::Done)
}

/// 0700 and 0600 from the first byte, and durable when it returns.
fn write_folder(folder: &Path, files: &BTreeMap<String, String>) -> std::io::Result<()> {
    DirBuilder::new().mode(0o700).create(folder)?;
    for (name, text) in files {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(folder.join(name))?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
    }
    File::open(folder)?.sync_all()
}

/// Whether a word of the command line is a bundle rather than a run.
pub fn is_bundle(named: &str) -> bool {
    let folder = Path::new(named);
    folder.is_dir() && (folder.join(MANIFEST).exists() || folder.join(SEAL).exists())
}

/// Holds a bundle against its manifest and its chain.
pub fn verify(common: &Common, named: &str) -> Result<Exit, Failure> {
    let folder = Path::new(named);
    let mut strange = vec![];
    let files = read_folder(folder, &mut strange).with_context(|| format!("cannot read the bundle `{named}`"))?;
    let found = if strange.is_empty() { bundle::verify(&files) } else { Err(strange) };
    match found {
        Ok(whole) => {
            match common.format {
                Format::Json => println!(
                    "{}",
                    json!({ "v": 1, "bundle": named, "whole": true, "run": whole.run, "cluster": whole.cluster, "files": whole.files, "entries": whole.entries, "last-hash": whole.last_hash })
                ),
                Format::Text => {
                    let (files, entries) = (text::count(whole.files as u64, "file"), text::count(whole.entries as u64, "entry"));
                    println!(
                        "bundle of run {} on {}: {files} and {entries} as written",
                        text::clean(&whole.run),
                        text::clean(&whole.cluster)
                    );
                    println!("{}", bundle::last_hash_line(&whole.last_hash));
                    println!("{NOT_SHOWN}");
                }
            }
            Ok(Exit::Done)
        }
        Err(wrong) => {
            if common.format == Format::Json {
                let wrong: Vec<_> = wrong.iter().map(|it| json!({ "file": it.file, "line": it.line, "why": it.why })).collect();
                println!("{}", json!({ "v": 1, "bundle": named, "whole": false, "wrong": wrong }));
            }
            let lines: Vec<String> = wrong.iter().map(|it| format!("\n  {it}")).collect();
            let failure =
                Failure::new(Exit::Unexpected, format!("the bundle `{named}` is not as it was written:{}", lines.concat()));
            Err(failure.hint("keep it as it is; castoff report --bundle makes another from the journal, if that is whole"))
        }
    }
}

/// Every file of the folder by name; a link or a folder goes to `strange`.
fn read_folder(folder: &Path, strange: &mut Vec<Wrong>) -> std::io::Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    for found in fs::read_dir(folder)? {
        let found = found?;
        let name = found.file_name().to_string_lossy().into_owned();
        if found.file_type()?.is_file() {
            files.insert(name, fs::read(found.path())?);
        } else {
            strange.push(Wrong { file: name, line: None, why: "it is no plain file".to_owned() });
        }
    }
    Ok(files)
}
