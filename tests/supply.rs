//! What castoff is built of: licences, one crypto provider, one TLS stack, a reason for each dependency. From cargo
//! itself, offline; `deny.toml` says the same to cargo-deny, which also knows the advisories.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

/// Licences that go together with Apache-2.0. An expression is fine if one of its alternatives is made of these.
const ALLOWED: [&str; 12] = [
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "MIT",
    "MIT-0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "ISC",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
    "0BSD",
];
/// Dependencies with another licence: name, licence, why it may be used.
const EXCEPTIONS: [(&str, &str, &str); 0] = [];
/// Other crypto providers and TLS stacks, which may not come in by a default feature.
const BANNED: [&str; 11] = [
    "openssl",
    "openssl-sys",
    "native-tls",
    "tokio-native-tls",
    "hyper-tls",
    "aws-lc-rs",
    "aws-lc-sys",
    "boring",
    "boring-sys",
    "rustls-openssl",
    "mbedtls",
];
/// Of these there is exactly one version: two would be two stacks, two runtimes, two terminals.
const ONCE: [&str; 11] =
    ["rustls", "ring", "rustls-webpki", "tokio", "hyper", "http", "h2", "tonic", "ratatui-core", "crossterm", "tokio-rustls"];

/// Packages that are compiled for Linux, tests left out: name to versions with licences. By `cargo tree`: `cargo
/// metadata` also names optional ones that no feature asks for.
fn packages() -> BTreeMap<String, Vec<(String, String)>> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let arguments = "tree --locked --offline --target x86_64-unknown-linux-gnu --edges normal,build --prefix none --no-dedupe --format {p}|{l}";
    let output = Command::new(cargo).args(arguments.split(' ')).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut out: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    let lines: BTreeSet<String> = String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
    for line in lines.iter().filter(|line| !line.is_empty()) {
        let (package, licence) = line.split_once('|').unwrap();
        let mut words = package.split(' ');
        let (name, version) = (words.next().unwrap().to_owned(), words.next().unwrap().to_owned());
        out.entry(name).or_default().push((version, licence.to_owned()));
    }
    assert!(out.len() > 200 && out.contains_key("rustls"), "{}", out.len());
    out
}

/// `(MIT OR Apache-2.0) AND Unicode-3.0`: each part that is joined by AND has an alternative that is allowed.
fn is_allowed(expression: &str) -> bool {
    let expression = expression.replace('/', " OR ");
    let alternatives = |part: &str| {
        part.trim_matches(['(', ')', ' ']).split(" OR ").any(|one| ALLOWED.contains(&one.trim_matches(['(', ')', ' '])))
    };
    !expression.is_empty() && expression.split(" AND ").all(alternatives)
}

#[test]
fn every_dependency_has_a_licence_that_goes_with_ours() {
    assert!(is_allowed("(MIT OR Apache-2.0) AND Unicode-3.0") && is_allowed("MIT/Apache-2.0"));
    assert!(!is_allowed("GPL-3.0-only") && !is_allowed("") && !is_allowed("MIT AND GPL-2.0") && !is_allowed("MPL-2.0"));
    let packages = packages();
    let mut wrong = vec![];
    for (name, versions) in &packages {
        for (version, licence) in versions {
            let excepted = EXCEPTIONS.iter().any(|(package, under, _)| package == name && under == licence);
            if !excepted && !is_allowed(licence) {
                wrong.push(format!("{name} {version}: {licence}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    for (name, licence, _) in EXCEPTIONS {
        let used = packages.get(name).is_some_and(|versions| versions.iter().any(|(_, under)| under == licence));
        assert!(used, "the exception for {name} is not needed any more");
    }
    println!("{} packages", packages.values().map(Vec::len).sum::<usize>());
}

#[test]
fn there_is_one_crypto_provider_and_one_tls_stack() {
    let packages = packages();
    for name in BANNED {
        assert!(!packages.contains_key(name), "{name} has come in: see `cargo tree -i {name}`");
    }
    for name in ONCE {
        let versions = packages.get(name).map_or(&[][..], Vec::as_slice);
        assert_eq!(versions.len(), 1, "{name}: {versions:?}");
    }
}

#[test]
fn every_dependency_has_its_reason_in_one_line() {
    let written = include_str!("../Cargo.toml");
    let mut section = "";
    let mut n = 0;
    for line in written.lines() {
        if line.starts_with('[') {
            section = line;
        } else if section.ends_with("dependencies]") && line.contains('=') {
            let reason = line.rsplit_once("# ").map_or("", |(_, reason)| reason);
            assert!(reason.len() > 6, "no reason: {line}");
            n += 1;
        }
    }
    assert!(n > 30, "{n} dependencies");
}

#[test]
fn cargo_deny_is_told_the_same() {
    let deny: toml::Table = include_str!("../deny.toml").parse().unwrap();
    let names = |value: &toml::Value, key: &str| -> BTreeSet<String> {
        value.as_array().unwrap().iter().map(|one| one.get(key).unwrap_or(one).as_str().unwrap().to_owned()).collect()
    };
    let own = |all: &[&str]| -> BTreeSet<String> { all.iter().map(|one| (*one).to_owned()).collect() };
    assert_eq!(names(&deny["licenses"]["allow"], "name"), own(&ALLOWED));
    assert_eq!(names(&deny["licenses"]["exceptions"], "crate"), own(&EXCEPTIONS.map(|(name, ..)| name)));
    assert_eq!(names(&deny["bans"]["deny"], "crate"), own(&BANNED));
    assert_eq!(deny["sources"]["unknown-registry"].as_str(), Some("deny"));
    assert!(
        include_str!("../LICENSE").contains("Apache License")
            && include_str!("../Cargo.toml").contains("license = \"Apache-2.0\"")
    );
}
