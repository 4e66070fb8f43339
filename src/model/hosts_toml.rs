//! containerd's `hosts.toml`: which endpoints are asked for the images of one registry, and with what.
//! It never reads or writes a file: values may be markers of secrets, which are plain text here.

mod files;
mod lint;
mod read;
#[cfg(test)]
mod tests;

pub use files::{files, folder, shadows, underlined};
pub use lint::lint;
pub use read::parse;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// The file as containerd 1.6 to 2.x understands it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostsToml {
    /// What is asked last. `None`: the registry itself, which containerd adds.
    pub server: Option<String>,
    /// Settings of the server: those at the root of the file.
    pub own: Settings,
    /// What is asked before, in this order.
    pub hosts: Vec<HostEntry>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostEntry {
    pub url: String,
    pub settings: Settings,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// `pull`, `resolve`, `push`, `referrers`; empty: all.
    pub capabilities: Vec<String>,
    pub ca: Vec<String>,
    /// Certificate, and its key where that is a file of its own.
    pub client: Vec<(String, Option<String>)>,
    pub skip_verify: Option<bool>,
    /// The path of the URL is the whole path of the API.
    pub override_path: bool,
    pub header: BTreeMap<String, Vec<String>>,
    /// `2s`: containerd 2.1 and later.
    pub dial_timeout: Option<String>,
}

/// One endpoint as it is asked: two files that ask the same, in the same order, mean the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// `https://m.example/v2/infra`: below it are repository, `/manifests/` and so on.
    pub base: String,
    pub capabilities: BTreeSet<String>,
    pub ca: Vec<String>,
    pub client: Vec<(String, Option<String>)>,
    pub skip_verify: bool,
    /// Names in lower case.
    pub header: BTreeMap<String, Vec<String>>,
    pub dial_timeout: Option<String>,
}

/// What an empty list of capabilities grants.
const ALL: [&str; 3] = ["pull", "resolve", "push"];

impl HostsToml {
    /// What is asked for an image of this registry, one after the other.
    pub fn asked(&self, registry: &str) -> Vec<Asked> {
        let hosts = self.hosts.iter().map(|host| host.settings.asked(address(&host.url).base(host.settings.override_path)));
        let last = match self.server.as_deref().filter(|server| !server.is_empty()) {
            Some(server) => self.own.asked(address(server).base(self.own.override_path)),
            // containerd fills in the registry itself, and grants it everything.
            None => Settings { capabilities: vec![], ..self.own.clone() }.asked(format!("{}/v2", upstream(registry))),
        };
        hosts.chain([last]).collect()
    }
}

impl Settings {
    fn asked(&self, base: String) -> Asked {
        let granted = self.capabilities.iter().map(|c| c.to_lowercase());
        let capabilities: BTreeSet<String> = granted.collect();
        let header = self.header.iter().map(|(name, values)| (name.to_lowercase(), values.clone()));
        Asked {
            base,
            capabilities: if capabilities.is_empty() { ALL.map(str::to_owned).into() } else { capabilities },
            ca: self.ca.clone(),
            client: self.client.clone(),
            skip_verify: self.skip_verify == Some(true),
            header: header.collect(),
            dial_timeout: self.dial_timeout.clone(),
        }
    }

    fn has_tls(&self) -> bool {
        !self.ca.is_empty() || !self.client.is_empty() || self.skip_verify.is_some()
    }
}

/// Whether two files ask the same for a registry; what a header hides counts as the same.
pub fn same(a: &str, b: &str, registry: &str) -> bool {
    let (Ok(a), Ok(b)) = (parse(a), parse(b)) else { return false };
    let (a, b) = (a.asked(registry), b.asked(registry));
    let header = |a: &Asked, b: &Asked| {
        let pairs = || a.header.iter().zip(&b.header);
        let values = |a: &[String], b: &[String]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| alike(a, b));
        a.header.len() == b.header.len() && pairs().all(|(a, b)| a.0 == b.0 && values(a.1, b.1))
    };
    let rest = |asked: &Asked| Asked { header: BTreeMap::new(), ..asked.clone() };
    a.len() == b.len() && a.iter().zip(&b).all(|(a, b)| header(a, b) && rest(a) == rest(b))
}

/// Of two values of a header; one that is hidden is as good as any other.
fn alike(a: &str, b: &str) -> bool {
    a == b || [a, b].iter().all(|value| value.contains("(hidden ") || value.contains("(basic ") || value.contains("(secret "))
}

/// The registry's own endpoint, as containerd finds it.
pub fn upstream(registry: &str) -> String {
    match registry {
        "docker.io" => "https://registry-1.docker.io".to_owned(),
        other => format!("https://{other}"),
    }
}

/// A URL as containerd takes it apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Address {
    scheme: String,
    host: String,
    path: String,
    /// A login stands in it, which is dropped.
    login: bool,
    /// A query or a fragment, dropped as well.
    query: bool,
}

fn address(url: &str) -> Address {
    let whole = if url.starts_with("http") { url.to_owned() } else { format!("https://{url}") };
    let (scheme, rest) = match whole.split_once("://") {
        Some((scheme, rest)) => (scheme.to_owned(), rest),
        None => (String::new(), ""),
    };
    let (authority, tail) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let (path, query) = tail.split_at(tail.find(['?', '#']).unwrap_or(tail.len()));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let login = host.len() < authority.len();
    Address { scheme, host: host.to_owned(), path: path.to_owned(), login, query: !query.is_empty() }
}

impl Address {
    /// Below what the API is asked: `/v2` is added unless the path ends with it or is said to be the whole.
    fn base(&self, override_path: bool) -> String {
        let mut path = String::new();
        if !self.path.is_empty() {
            let mut parts: Vec<&str> = vec![];
            for part in self.path.split('/') {
                match part {
                    "" | "." => {}
                    ".." => drop(parts.pop()),
                    part => parts.push(part),
                }
            }
            path = format!("/{}", parts.join("/"));
        }
        if !override_path && !path.ends_with("/v2") {
            path = format!("{}/v2", path.trim_end_matches('/'));
        }
        format!("{}://{}{path}", self.scheme, self.host)
    }
}

/// The text of a file, in the one form that every containerd reads: a header of its own for each host.
pub fn render(file: &HostsToml) -> String {
    let mut out = String::from(
        "# Written by castoff. To take it back: `castoff rollback`, or remove this file and, if nothing else is in it, its folder.\n",
    );
    if let Some(server) = &file.server {
        let _ = writeln!(out, "server = {}", quoted(server));
    }
    settings(&mut out, &file.own);
    header(&mut out, "header", &file.own.header);
    for host in &file.hosts {
        let table = format!("host.{}", key(&host.url));
        let _ = writeln!(out, "\n[{table}]");
        settings(&mut out, &host.settings);
        header(&mut out, &format!("{table}.header"), &host.settings.header);
    }
    out
}

fn settings(out: &mut String, settings: &Settings) {
    if !settings.capabilities.is_empty() {
        let _ = writeln!(out, "capabilities = {}", list(&settings.capabilities));
    }
    if settings.override_path {
        out.push_str("override_path = true\n");
    }
    match settings.ca.as_slice() {
        [] => {}
        [one] => {
            let _ = writeln!(out, "ca = {}", quoted(one));
        }
        many => {
            let _ = writeln!(out, "ca = {}", list(many));
        }
    }
    if !settings.client.is_empty() {
        let pair = |(certificate, key): &(String, Option<String>)| match key {
            Some(key) => format!("[{}, {}]", quoted(certificate), quoted(key)),
            None => quoted(certificate),
        };
        let pairs: Vec<String> = settings.client.iter().map(pair).collect();
        let _ = writeln!(out, "client = [{}]", pairs.join(", "));
    }
    if let Some(skip) = settings.skip_verify {
        let _ = writeln!(out, "skip_verify = {skip}");
    }
    if let Some(timeout) = &settings.dial_timeout {
        let _ = writeln!(out, "dial_timeout = {}", quoted(timeout));
    }
}

fn header(out: &mut String, table: &str, header: &BTreeMap<String, Vec<String>>) {
    if header.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n[{table}]");
    for (name, values) in header {
        let value = match values.as_slice() {
            [one] => quoted(one),
            many => list(many),
        };
        let _ = writeln!(out, "{} = {value}", key(name));
    }
}

fn list(words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    format!("[{}]", words.join(", "))
}

/// A text with quotes in it stands as it is between single ones, so that a marker keeps its form.
fn quoted(text: &str) -> String {
    if text.contains('"') && !text.contains(['\'', '\\']) && !text.contains(char::is_control) {
        return format!("'{text}'");
    }
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn key(text: &str) -> String {
    let bare = !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if bare { text.to_owned() } else { quoted(text) }
}
