//! What in a `hosts.toml` does not do what it says: nearly all of it silently, because containerd then asks the registry itself.
//! It never changes a file.

use super::files::hub_folder;
use super::read::{document, is_seen};
use super::{HostsToml, Settings, address, parse};
use crate::model::containerd_config::at_least;
use crate::model::{Problem, mirror_choice::told, place::meant, text};
use toml_edit::{Item, TableLike};

const KEYS: [&str; 7] = ["capabilities", "ca", "client", "skip_verify", "header", "override_path", "dial_timeout"];

/// Every trap in one file: `dir_name` is the folder it stands in, `version` that of the daemon (`1.6.20`).
pub fn lint(dir_name: &str, written: &str, version: &str) -> Vec<Problem> {
    let mut out = Lint { subject: format!("{dir_name}/hosts.toml"), version, found: vec![] };
    if let Some(why) = hub_folder(dir_name) {
        out.tell(why, "the folder has to be `docker.io`");
    }
    if written.starts_with('\u{feff}') {
        out.tell("begins with a byte order mark, which not every containerd reads over", "save it as UTF-8 without one");
    }
    let file = match parse(written) {
        Ok(file) => file,
        Err(mistake) => {
            let place = if mistake.line == 0 { String::new() } else { format!("line {}: ", mistake.line) };
            let first = mistake.message.lines().next().unwrap_or_default();
            let why = format!("{place}{first}: containerd cannot decode the file and asks the registry itself");
            out.tell(why, "its log has `failed to decode`; who pulls is told nothing");
            return out.found;
        }
    };
    if let Ok(document) = document(written) {
        out.keys(document.as_table());
        if document.as_table().is_empty() {
            out.tell("is empty: as if it were absent, and that of `_default` is not read either", "remove its folder");
        }
    }
    out.means(dir_name, &file);
    out.found
}

struct Lint<'v> {
    subject: String,
    version: &'v str,
    found: Vec<Problem>,
}

impl Lint<'_> {
    fn tell(&mut self, why: impl Into<String>, hint: &str) {
        self.found.push(told(self.subject.as_str(), why, hint));
    }

    /// Keys that are passed over.
    fn keys(&mut self, root: &dyn TableLike) {
        self.unknown(root, "", &["server", "host"]);
        let Some(hosts) = root.get("host").and_then(Item::as_table_like) else { return };
        for (url, item) in hosts.iter() {
            let Some(host) = item.as_table_like() else { continue };
            if !is_seen(hosts, item) {
                let hint = format!("give it a header of its own: [host.\"{}\"]", text::clean(url));
                self.tell(
                    format!("host `{url}` is written with dotted keys or braces and is not seen by every containerd"),
                    &hint,
                );
            }
            let bare = !url.contains(['.', ':', '/']) && url != "localhost";
            let apart = host.iter().any(|(key, item)| item.is_table_like() && key != "header" && key != "host");
            if bare && apart {
                let why = format!("host `{url}` is one part of a name: without quotes each dot begins a table");
                self.tell(why, "write the URL between quotes: [host.\"https://mirror.example\"]");
                continue;
            }
            if host.contains_key("host") {
                self.tell(format!("host `{url}` holds hosts of its own, which are passed over"), "hosts stand beside each other");
            }
            self.unknown(host, &format!(" of host `{url}`"), &["host"]);
        }
    }

    fn unknown(&mut self, table: &dyn TableLike, of: &str, more: &[&str]) {
        for (key, _) in table.iter().filter(|(key, _)| !KEYS.contains(key) && !more.contains(key)) {
            let known: Vec<String> = KEYS.iter().map(|known| format!("`{known}`")).collect();
            let sentence = format!("unknown field `{}`, expected one of {}", key.replace('`', ""), known.join(", "));
            let hint = match meant(&sentence) {
                Some(word) => format!("did you mean `{word}`?"),
                None if key.eq_ignore_ascii_case("authorization") => "it belongs into the table `header`".to_owned(),
                None => String::new(),
            };
            self.tell(format!("key `{key}`{of} is not known and is passed over"), &hint);
        }
    }

    /// What is read, and means something else than it seems to.
    fn means(&mut self, dir_name: &str, file: &HostsToml) {
        let server = file.server.as_deref().filter(|server| !server.is_empty());
        if let Some(server) = server {
            self.url(server, &file.own, "server");
            if file.hosts.is_empty() && !at_least(self.version, (2, 0, 0)) {
                let why = format!(
                    "names a server and no host, which containerd {} cannot decode: it asks the registry itself",
                    text::clean(self.version)
                );
                self.tell(why, "name the server a second time as a host: [host.\"URL\"]");
            }
        }
        let mirrors = file.hosts.iter().map(|host| (host.url.as_str(), &host.settings));
        for (url, settings) in mirrors.clone() {
            let what = format!("host `{url}`");
            self.url(url, settings, &what);
            let its_own = address(url).host == dir_name;
            self.capabilities(settings, &what, its_own);
        }
        // A mirror as the server is a mirror as well.
        if let Some(server) = server {
            let host = address(server).host;
            if mirrors.clone().any(|(url, _)| address(url).host == host) && host != dir_name {
                self.capabilities(&file.own, "server", false);
            }
        }
        let timed = mirrors.map(|(_, settings)| settings).chain([&file.own]).any(|s| s.dial_timeout.is_some());
        if timed && !at_least(self.version, (2, 1, 0)) {
            self.tell("`dial_timeout` is not known before containerd 2.1: 30 s", "");
        }
    }

    fn url(&mut self, url: &str, settings: &Settings, what: &str) {
        let read = address(url);
        if matches!(read.host.as_str(), "docker.io" | "hub.docker.com" | "www.docker.com") {
            let why = format!("{what} is `{url}`, which is no registry");
            self.tell(why, "the registry of the Docker Hub is `https://registry-1.docker.io`");
        }
        if read.host.is_empty() || !matches!(read.scheme.as_str(), "http" | "https") {
            self.tell(format!("{what}: `{url}` names no host"), "write it so: `https://mirror.example:5000`");
            return;
        }
        if read.login {
            let why = format!("{what} holds a login in its URL, which is dropped");
            self.tell(why, "it belongs into the table `header`, as Authorization");
        }
        if read.query {
            self.tell(format!("{what} holds a query in its URL, which is dropped"), "");
        }
        let path = read.path.trim_end_matches('/');
        let base = read.base(settings.override_path);
        if !settings.override_path && !path.is_empty() && !path.ends_with("/v2") {
            let below = if path.starts_with("/v2/") { path.to_owned() } else { format!("/v2{path}") };
            let hint =
                format!("for a repository on the mirror: `{}://{}{below}` and override_path = true", read.scheme, read.host);
            self.tell(format!("{what} has a path without `override_path`: it is asked at `{base}/<repository>`"), &hint);
        }
        if settings.override_path && !path.split('/').any(|part| part == "v2") {
            let hint = "a path that overrides is the whole one: `/v2/infra`";
            self.tell(format!("{what} is asked at `{base}/<repository>`, without `/v2`"), hint);
        }
        if read.scheme == "http" && settings.has_tls() {
            let why = format!("{what} is `http://` with settings of TLS: newer versions of containerd ask by https first");
            self.tell(why, "write `https://`, or take `ca`, `client` and `skip_verify` away");
        }
        for path in settings.ca.iter().filter(|path| !path.starts_with('/')) {
            let why = format!("{what}: ca `{path}` is looked for beside the file, and where it is missing every pull fails");
            self.tell(why, "write its whole path");
        }
    }

    fn capabilities(&mut self, settings: &Settings, what: &str, its_own: bool) {
        let has = |name: &str| settings.capabilities.iter().any(|c| c.eq_ignore_ascii_case(name));
        let all = settings.capabilities.is_empty();
        if !all && has("pull") && !has("resolve") {
            let why = format!("{what} may not resolve: for every tag the registry itself is asked");
            self.tell(why, "capabilities = [\"pull\", \"resolve\"]");
        }
        if !all && !has("pull") {
            self.tell(format!("{what} may not pull: nothing comes from it"), "capabilities = [\"pull\", \"resolve\"]");
        }
        if !its_own && (all || has("push")) {
            let said = if all { "no capabilities are named, which grants all" } else { "`push` is granted" };
            let why = format!("{what}: {said}: what is pushed to the registry goes to the mirror");
            self.tell(why, "capabilities = [\"pull\", \"resolve\"]");
        }
        if has("referrers") && !at_least(self.version, (2, 2, 0)) {
            let why = format!("{what}: capability `referrers` is known only to new versions; others cannot decode the file");
            self.tell(why, "take it away");
        }
    }
}
