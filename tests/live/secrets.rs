//! No secret leaves its place: not into a plan, an entry, a line, a report, a command line.

use crate::{lab::Lab, story::OLD_PASSWORD};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

#[test]
fn no_secret_is_written_anywhere() {
    let (lab, story) = Lab::moved();
    let mut secrets = BTreeMap::from([("hub", heart(OLD_PASSWORD))]);
    for name in ["api", "cr", "pg", "pg-admin"] {
        let text = std::fs::read_to_string(lab.folder.join("secrets").join(name)).unwrap();
        assert!(text.starts_with("marker-"), "secrets/{name} is no secret of a lab");
        secrets.insert(name, heart(&text));
    }

    let mut written: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for path in files(story.runs.path()) {
        written.insert(path.display().to_string(), std::fs::read(&path).unwrap());
    }
    assert!(written.keys().any(|path| path.ends_with("journal.sqlite")), "{:?}", written.keys());
    let mut add = |name: &str, text: &str| written.insert(name.to_owned(), text.as_bytes().to_vec());
    add("the plan", &story.plan.to_string());
    add("standard output", &story.run.out);
    add("standard error", &story.run.err);
    add("the report", &story.reported(&lab, "text"));
    add("the report as JSON", &story.reported(&lab, "json"));
    add("the plan as text", &lab.castoff(&["plan", "backend-ai"]).out);
    let path = lab.scratch.path().join("inventory.json").display().to_string();
    let said = lab.castoff(&["inventory", "--out", &path]).ends_with(0);
    add("the inventory", &std::fs::read_to_string(&path).unwrap());
    add("words of the inventory", &format!("{}{}", said.out, said.err));
    add("command lines", &story.command_lines.iter().map(String::as_str).collect::<Vec<_>>().join("\n"));

    assert!(story.command_lines.iter().any(|line| line.contains("ssh")), "command lines were seen");
    for (name, bytes) in &written {
        // A run that waits for nobody has no words to say.
        assert!(!bytes.is_empty() || name == "standard error", "{name} is empty");
        for (whose, secret) in &secrets {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "the secret `{whose}` stands in {name}");
        }
    }
    // The one that castoff itself had to delete is shown as being there, and no more.
    let report = story.reported(&lab, "json");
    assert!(report.contains("index.docker.io/password"), "the plan names the key");
}

/// The longest part that reads the same however a secret is quoted or escaped.
fn heart(secret: &str) -> String {
    let longest = secret.split(|c: char| !c.is_ascii_alphanumeric()).max_by_key(|part| part.len()).unwrap();
    assert!(longest.len() >= 8, "too short to be searched for");
    longest.to_owned()
}

/// All files below a folder; an empty lock or write-ahead log tells nothing.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut out = vec![];
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        match entry.metadata().unwrap() {
            kind if kind.is_dir() => out.extend(files(&entry.path())),
            kind if kind.len() > 0 => out.push(entry.path()),
            _ => {}
        }
    }
    out
}
