//! The architecture as a test: a module may name only the modules of its row.

use std::{fs, path::Path};

/// Module, and what it may use beside itself.
const MAY_USE: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("private", &[]),
    ("actions", &["model"]),
    ("runbook", &["model", "actions"]),
    ("journal", &["model", "private"]),
    ("cluster", &["model", "private"]),
    ("engine", &["model", "journal", "cluster"]),
    ("remote", &["model"]),
    ("notify", &["model"]),
    ("report", &["model"]),
    ("account", &["model", "report"]),
    ("headless", &["model", "report", "account"]),
    ("plain", &["model", "report", "account"]),
    ("tui", &["model"]),
    (
        "cli",
        &[
            "model", "actions", "runbook", "journal", "cluster", "engine", "remote", "notify", "report", "account", "headless",
            "plain", "tui", "private",
        ],
    ),
];

/// Crates that only some layers may know.
const CRATES: &[(&str, &[&str])] = &[
    ("tokio", &["journal", "cluster", "engine", "remote", "notify", "headless", "plain", "tui", "cli"]),
    ("sqlx", &["journal", "cluster"]),
    ("ratatui", &["tui"]),
    ("crossterm", &["tui"]),
    ("bollard", &["cluster"]),
    ("reqwest", &["cluster", "notify"]),
    ("etcd_client", &["cluster"]),
    ("openssh", &["cluster"]),
    ("clap", &["cli"]),
    ("anyhow", &["cli", "tui"]),
];

fn files(folder: &Path, out: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push((path.display().to_string(), fs::read_to_string(&path).unwrap()));
        }
    }
}

/// The files of a module: its own and those of its folder.
fn module(name: &str) -> Vec<(String, String)> {
    let mut out = vec![];
    let file = Path::new("src").join(name).with_extension("rs");
    if file.is_file() {
        out.push((file.display().to_string(), fs::read_to_string(&file).unwrap()));
    }
    let folder = Path::new("src").join(name);
    if folder.is_dir() {
        files(&folder, &mut out);
    }
    assert!(!out.is_empty(), "there is no module `{name}`");
    out
}

/// The code without comments and without its tests.
fn code(text: &str) -> String {
    let code = text.split("#[cfg(test)]").next().unwrap();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// Every module named by a `crate::` path, in its short and its braced form.
fn named(code: &str) -> Vec<String> {
    let word = |text: &str| text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut out = vec![];
    for rest in code.split("crate::").skip(1) {
        match rest.strip_prefix('{') {
            None => out.push(word(rest)),
            Some(list) => {
                let mut depth = 1;
                let mut item = String::new();
                for c in list.chars() {
                    match c {
                        '{' => depth += 1,
                        '}' => depth -= 1,
                        ',' if depth == 1 => {
                            out.push(word(&item));
                            item.clear();
                            continue;
                        }
                        _ => {}
                    }
                    if depth == 0 {
                        break;
                    }
                    item.push(c);
                }
                out.push(word(&item));
            }
        }
    }
    out
}

#[test]
fn modules_respect_the_layers() {
    let mut wrong = vec![];
    for (name, allowed) in MAY_USE {
        for (path, text) in module(name) {
            for other in named(&code(&text)) {
                let known = MAY_USE.iter().any(|(module, _)| *module == other);
                if known && other != *name && !allowed.contains(&other.as_str()) {
                    wrong.push(format!("{path} uses {other}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_module_stands_in_the_table() {
    let map = fs::read_to_string("src/lib.rs").unwrap();
    let modules: Vec<&str> = map.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    let table: Vec<&str> = MAY_USE.iter().map(|(name, _)| *name).collect();
    for module in &modules {
        assert!(table.contains(module), "`{module}` stands in no layer");
    }
    assert_eq!(modules.len(), table.len());
}

#[test]
fn libraries_of_the_outside_stay_in_their_layer() {
    let mut wrong = vec![];
    for (library, allowed) in CRATES {
        for (name, _) in MAY_USE.iter().filter(|(name, _)| !allowed.contains(name)) {
            for (path, text) in module(name) {
                if code(&text).contains(&format!("{library}::")) {
                    wrong.push(format!("{path} uses {library}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn one_crypto_provider_and_no_openssl() {
    let lock = fs::read_to_string("Cargo.lock").unwrap();
    for unwanted in ["aws-lc-rs", "openssl", "openssl-sys", "native-tls"] {
        assert!(!lock.contains(&format!("name = \"{unwanted}\"\n")), "`{unwanted}` is in the lock file");
    }
    for single in ["rustls", "ratatui-core", "crossterm", "tokio", "hyper"] {
        assert_eq!(lock.matches(&format!("name = \"{single}\"\n")).count(), 1, "`{single}` is there more than once");
    }
}
