//! What a cluster file must say beyond its shape: names once, addresses that castoff can speak to, secrets by name.
//! Pure: it asks no file and no host.

use super::place::{Problem, password_in_url};
use super::{ClusterFile, Postgres, Tls};
use crate::cluster::{secret::Secret, ssh::Place};
use crate::model::{
    image::canonical_registry,
    text,
    window::{self, BadWindow},
};
use toml::de::{DeTable, DeValue};

/// Secrets written out where their name should stand. Asked before anything else, of the bare syntax.
pub(super) fn secrets(table: &DeTable) -> Vec<Problem> {
    let mut problems = vec![];
    in_table(table, &mut vec![], &mut problems);
    problems
}

fn in_table(table: &DeTable, path: &mut Vec<String>, problems: &mut Vec<Problem>) {
    for (key, value) in table {
        let named = path.len() == 1 && path[0] == "secrets";
        path.push(key.get_ref().to_string());
        let word = if named { "secret" } else { key.get_ref().as_ref() };
        if named || matches!(word, "password" | "token") {
            if !names_a_secret(value.get_ref()) {
                problems.push(Problem {
                    path: path.clone(),
                    message: format!("`{key}` must say where the {word} is, not what it is", key = text::clean(key.get_ref())),
                    hint: format!(
                        "`{key} = {{ env = \"NAME\" }}`, `{{ file = \"/path\" }}` or `{{ command = [\"program\", \"argument\"] }}`",
                        key = text::clean(key.get_ref())
                    ),
                });
            }
        } else {
            in_value(value.get_ref(), path, problems);
        }
        path.pop();
    }
}

fn in_value(value: &DeValue, path: &mut Vec<String>, problems: &mut Vec<Problem>) {
    match value {
        DeValue::Table(table) => in_table(table, path, problems),
        DeValue::Array(array) => {
            for (i, member) in array.iter().enumerate() {
                path.push(i.to_string());
                in_value(member.get_ref(), path, problems);
                path.pop();
            }
        }
        DeValue::String(text) if password_in_url(text).is_some() => problems.push(Problem {
            path: path.clone(),
            message: "a URL must not hold a password".to_owned(),
            hint: "take it out of the URL and set `password = { env = \"NAME\" }` beside it".to_owned(),
        }),
        _ => {}
    }
}

fn names_a_secret(value: &DeValue) -> bool {
    let DeValue::Table(table) = value else { return false };
    let known = |name: &str| ["env", "file", "command"].contains(&name);
    table.len() == 1 && table.keys().all(|key| known(key.get_ref()))
}

/// Everything else, of the file as it was read.
pub(super) fn all(file: &ClusterFile) -> Vec<Problem> {
    let mut checks = Checks { problems: vec![] };
    checks.name(&["name"], &file.name);
    checks.window(file);
    checks.etcd(file);
    checks.postgres("postgres", file.postgres.as_ref());
    checks.postgres("journal", file.journal.as_ref());
    checks.managers(file);
    checks.agents(file);
    checks.hosts(file);
    checks.discover(file);
    checks.registries(file);
    checks.notify(file);
    checks.platform9(file);
    checks.named_secrets(file);
    checks.problems
}

struct Checks {
    problems: Vec<Problem>,
}

impl Checks {
    fn wrong(&mut self, path: &[&str], message: impl Into<String>, hint: impl Into<String>) {
        let path = path.iter().map(|part| (*part).to_owned()).collect();
        self.problems.push(Problem { path, message: message.into(), hint: hint.into() });
    }

    fn name(&mut self, path: &[&str], name: &str) {
        if name.trim().is_empty() || name.chars().any(char::is_control) {
            self.wrong(path, "a name needs at least one letter, and no control characters", "it is shown, and typed at gates");
        }
    }

    fn window(&mut self, file: &ClusterFile) {
        let Some(config) = &file.window else { return };
        let mut whole = true;
        let mut field = |field: &'static str, wrong: Option<BadWindow>| {
            whole &= wrong.is_none();
            if let Some(BadWindow { what, expected }) = wrong {
                self.wrong(&["window", field], what, expected);
            }
        };
        field("from", window::time(&config.from).err());
        field("until", window::time(&config.until).err());
        field("zone", config.zone.as_deref().and_then(|zone| window::zone(zone).err()));
        field("date", config.date.as_deref().and_then(|date| window::date(date).err()));
        if let Some(BadWindow { what, expected }) = config.agreed().err().filter(|_| whole) {
            self.wrong(&["window"], what, expected);
        }
    }

    fn etcd(&mut self, file: &ClusterFile) {
        let Some(etcd) = &file.etcd else { return };
        let at = |field: &'static str| ["etcd", field];
        if etcd.endpoints.is_empty() {
            self.wrong(&at("endpoints"), "`endpoints` is empty", "`endpoints = [\"http://127.0.0.1:2379\"]`");
        }
        for (i, endpoint) in etcd.endpoints.iter().enumerate() {
            if !has_scheme(endpoint, &["http", "https"]) {
                let message = format!("`{endpoint}` is no address of an etcd");
                self.wrong(&["etcd", "endpoints", &i.to_string()], message, "`http://host:2379` or `https://host:2379`");
            }
        }
        if etcd.namespace.is_empty() || etcd.namespace.contains('/') {
            self.wrong(
                &at("namespace"),
                "a namespace is one part of a key: not empty, without `/`",
                "it is `namespace` in `[etcd]` of manager.toml, most often `local`",
            );
        }
        self.login(&["etcd"], etcd.username.as_ref(), etcd.password.as_ref());
        if etcd.cert.is_some() != etcd.key.is_some() {
            self.wrong(&["etcd"], "`cert` and `key` belong together", "set both or none");
        }
        let plain = etcd.endpoints.iter().any(|endpoint| endpoint.starts_with("http://"));
        if plain && (etcd.ca.is_some() || etcd.cert.is_some()) {
            self.wrong(&at("endpoints"), "certificates are of no use with `http://`", "write `https://`, or take them out");
        }
    }

    fn postgres(&mut self, section: &str, postgres: Option<&Postgres>) {
        let Some(postgres) = postgres else { return };
        if !has_scheme(&postgres.url, &["postgres", "postgresql"]) {
            let message = format!("`{}` is no address of a PostgreSQL", postgres.url);
            self.wrong(&[section, "url"], message, "`postgres://user@host:5432/database`");
        } else if postgres.url.contains(":///") || postgres.url.contains("@/") {
            let hint = "for a socket: `postgres://user@localhost/database?host=/var/run/postgresql`";
            self.wrong(&[section, "url"], "this address names no host", hint);
        }
        self.secret(&[section], postgres.password.as_ref());
        if postgres.cert.is_some() != postgres.key.is_some() {
            self.wrong(&[section], "`cert` and `key` belong together", "set both or none");
        }
    }

    fn managers(&mut self, file: &ClusterFile) {
        for (i, manager) in file.managers.iter().enumerate() {
            let i_text = i.to_string();
            let at = |field: &'static str| ["managers", &i_text, field];
            self.name(&at("name"), &manager.name);
            if file.managers[..i].iter().any(|other| other.name == manager.name) {
                self.wrong(&at("name"), format!("there are two managers `{}`", manager.name), "names tell them apart");
            }
            self.host(&at("host"), &manager.host);
            let service = &manager.service;
            for (field, words) in [("stop", &service.stop), ("start", &service.start), ("status", &service.status)] {
                if words.is_empty() {
                    self.wrong(
                        &["managers", &i_text, "service", field],
                        format!("`{field}` is empty"),
                        "a list of words, as in `[\"systemctl\", \"stop\", \"backendai-manager\"]`",
                    );
                }
            }
            if manager.cli.is_empty() {
                self.wrong(&at("cli"), "`cli` is empty", "a list of words, as in `[\"backend.ai\", \"mgr\"]`");
            }
            if manager.api.as_ref().is_some_and(|api| !has_scheme(api, &["http", "https"])) {
                self.wrong(&at("api"), "this is no address of an API", "`http://host:8080`");
            }
        }
    }

    fn agents(&mut self, file: &ClusterFile) {
        for (i, agent) in file.agents.iter().enumerate() {
            let i_text = i.to_string();
            let at = |field: &'static str| ["agents", &i_text, field];
            self.name(&at("name"), &agent.name);
            if file.agents[..i].iter().any(|other| other.name == agent.name) {
                self.wrong(&at("name"), format!("there are two agents `{}`", agent.name), "names tell them apart");
            }
            self.engine(&at("docker"), &agent.docker, agent.tls.as_ref());
            if let Some(host) = &agent.host {
                self.host(&at("host"), host);
            }
        }
    }

    fn hosts(&mut self, file: &ClusterFile) {
        for (i, host) in file.hosts.iter().enumerate() {
            let i_text = i.to_string();
            let at = |field: &'static str| ["hosts", &i_text, field];
            self.name(&at("name"), &host.name);
            if file.hosts[..i].iter().any(|other| other.name == host.name) {
                self.wrong(&at("name"), format!("there are two hosts `{}`", host.name), "names tell them apart");
            } else if file.agents.iter().any(|agent| agent.name == host.name) {
                let hint = "an agent with a `host` is one of the hosts; take its `host` out, or give this one another name";
                self.wrong(&at("name"), format!("`{}` is an agent as well", host.name), hint);
            }
            self.place(&at("host"), &host.host);
            if host.systemctl.first().is_none_or(|word| word.trim().is_empty()) {
                self.wrong(&at("systemctl"), "`systemctl` is empty".to_owned(), "a list of words, as in `[\"systemctl\"]`");
            }
            if let Some(docker) = &host.docker {
                let own = [("socket", &docker.socket), ("certs", &docker.certs)];
                self.paths(i, "docker", own.into_iter().chain(docker.config.iter().map(|path| ("config", path))));
                let commands = [
                    ("reload", &docker.reload),
                    ("restart", &docker.restart),
                    ("log", &docker.log),
                    ("dockerd", &docker.dockerd),
                ];
                self.commands(i, "docker", &commands);
            }
            if let Some(containerd) = &host.containerd {
                let own = [("socket", &containerd.socket), ("config", &containerd.config), ("certs", &containerd.certs)];
                self.paths(i, "containerd", own);
                let commands =
                    [("restart", &containerd.restart), ("ctr", &containerd.ctr), ("containerd", &containerd.containerd)];
                self.commands(i, "containerd", &commands);
            }
            if let Some(podman) = &host.podman {
                self.paths(i, "podman", [("folder", &podman.folder), ("certs", &podman.certs)]);
                self.commands(i, "podman", &[("podman", &podman.podman)]);
            }
        }
    }

    fn paths<'a>(&mut self, host: usize, daemon: &str, paths: impl IntoIterator<Item = (&'static str, &'a String)>) {
        for (field, path) in paths {
            if !path.starts_with('/') || path.ends_with('/') || path.chars().any(char::is_control) {
                let message = format!("`{path}` is no path from the root, without `/` at its end");
                self.wrong(&["hosts", &host.to_string(), daemon, field], message, "it is a path on the host");
            }
        }
    }

    fn commands(&mut self, host: usize, daemon: &str, commands: &[(&'static str, &Vec<String>)]) {
        for (field, words) in commands {
            if words.first().is_none_or(|word| word.trim().is_empty()) {
                let hint = "a list of words, as in `[\"systemctl\", \"restart\", \"docker\"]`";
                self.wrong(&["hosts", &host.to_string(), daemon, field], format!("`{field}` is empty"), hint);
            }
        }
    }

    fn named_secrets(&mut self, file: &ClusterFile) {
        for (name, secret) in &file.secrets {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            if name.is_empty() || !name.chars().all(plain) {
                let message = format!("`{}` is no name of a secret", text::clean(name));
                self.wrong(&["secrets", name], message, "letters, digits, `-`, `_` and `.`: a runbook writes `(secret NAME)`");
            }
            self.named(&["secrets"], Some(secret), name);
        }
    }

    fn discover(&mut self, file: &ClusterFile) {
        let Some(discover) = &file.discover else { return };
        let at = |field: &'static str| ["discover", "agents", field];
        let agents = &discover.agents;
        if file.postgres.is_none() {
            self.wrong(
                &at("from"),
                "agents cannot be found: there is no `[postgres]`",
                "add `[postgres]`, or write `[[agents]]`",
            );
        }
        for (field, text) in [("docker", Some(&agents.docker)), ("host", agents.host.as_ref())] {
            let rest = text.map(|text| text.replace("{host}", "").replace("{id}", ""));
            if rest.is_some_and(|rest| rest.contains(['{', '}'])) {
                self.wrong(&at(field), "only `{host}` and `{id}` are filled in", "`tcp://{host}:2376`");
            }
        }
        self.engine(&at("docker"), &agents.docker, agents.tls.as_ref());
        if let Some(host) = &agents.host {
            self.host(&at("host"), host);
        }
    }

    fn registries(&mut self, file: &ClusterFile) {
        let mut seen = vec![];
        for (name, registry) in &file.registries {
            let at = |field: &'static str| ["registries", name, field];
            if name.is_empty() || name.contains('/') || name.chars().any(|c| c.is_whitespace() || c.is_control()) {
                let message = format!("`{name}` is no name of a registry");
                self.wrong(
                    &["registries", name],
                    message,
                    "write it as in image names, without scheme and path: `cr.backend.ai`",
                );
            }
            if seen.contains(&canonical_registry(name)) {
                let message = format!("`{name}` and another entry are the same registry");
                self.wrong(&["registries", name], message, "`docker.io`, `index.docker.io` and `registry-1.docker.io` are one");
            }
            seen.push(canonical_registry(name));
            if !has_scheme(&registry.url, &["http", "https"]) {
                let message = format!("`{}` is no address of a registry", registry.url);
                self.wrong(&at("url"), message, "`https://host`, or `http://host` for a registry without TLS");
            }
            self.login(&["registries", name], registry.username.as_ref(), registry.password.as_ref());
            if registry.login.is_some() && registry.username.is_some() {
                let hint = "take `login` out, or `username` and `password`";
                self.wrong(&at("login"), "`login` and `username` are two answers to one question", hint);
            }
            if registry.username.as_ref().is_some_and(|username| username.contains(':')) {
                let hint = "HTTP would take what follows the colon for the password";
                self.wrong(&at("username"), "a user name of a registry has no colon", hint);
            }
            if registry.cert.is_some() != registry.key.is_some() {
                self.wrong(&["registries", name], "`cert` and `key` belong together", "set both or none");
            }
            if registry.url.starts_with("http://") && (registry.ca.is_some() || registry.cert.is_some()) {
                self.wrong(&at("url"), "certificates are of no use with `http://`", "write `https://`, or take them out");
            }
            if registry.realm.as_ref().is_some_and(|realm| !has_scheme(realm, &["http", "https"])) {
                self.wrong(&at("realm"), "this is no address of a token service", "`https://auth.example.com`");
            }
        }
    }

    fn notify(&mut self, file: &ClusterFile) {
        let notify = &file.notify;
        let at = |field: &'static str| ["notify", field];
        if notify.command.as_ref().is_some_and(|command| command.trim().is_empty()) {
            self.wrong(
                &at("command"),
                "the command is empty",
                "`command = \"mail -s castoff ops@example.com\"`, or leave it out",
            );
        }
        match &notify.webhook {
            // Not the address itself: it may hold a secret.
            Some(url) if !has_scheme(url, &["http", "https"]) => {
                self.wrong(&at("webhook"), "this is no address of a webhook", "`https://host/path`");
            }
            None if notify.token.is_some() => {
                self.wrong(&at("token"), "`token` is for a webhook, and there is none", "set `webhook`, or take `token` out");
            }
            _ => {}
        }
        if notify.token.is_some() {
            self.named(&["notify"], notify.token.as_ref(), "token");
        }
    }

    fn platform9(&mut self, file: &ClusterFile) {
        let Some(platform9) = &file.platform9 else { return };
        let at = |field: &'static str| ["platform9", field];
        let host = platform9.url.strip_prefix("http://").map(|rest| rest.split(['/', ':']).next().unwrap_or_default());
        if !has_scheme(&platform9.url, &["http", "https"]) || platform9.url.contains(['?', '#', '@']) {
            let message = format!("`{}` is no address of a management plane", platform9.url);
            self.wrong(&at("url"), message, "`https://account.platform9.net`");
        } else if host.is_some_and(|host| host != "localhost" && !host.starts_with("127.")) {
            let hint = "write `https://`";
            self.wrong(&at("url"), "the token would go over the network for everybody to read", hint);
        } else if host.is_some() && platform9.ca.is_some() {
            self.wrong(&at("ca"), "a certificate authority is of no use with `http://`", "write `https://`, or take it out");
        }
        for (field, uuid) in [("project", &platform9.project), ("cluster", &platform9.cluster)] {
            // They stand in a path: nothing else may lead out of it.
            if uuid.is_empty() || !uuid.chars().all(|c| c.is_ascii_hexdigit() || c == '-') {
                let hint = "as the address of the cluster's page shows it: `a1b2c3d4-…`";
                self.wrong(&at(field), format!("`{uuid}` is no UUID"), hint);
            }
        }
        self.named(&["platform9"], Some(&platform9.token), "token");
    }

    fn login(&mut self, path: &[&str], username: Option<&String>, password: Option<&Secret>) {
        if username.is_some() != password.is_some() {
            self.wrong(path, "`username` and `password` belong together", "set both or none");
        }
        self.secret(path, password);
    }

    fn secret(&mut self, path: &[&str], secret: Option<&Secret>) {
        self.named(path, secret, "password");
    }

    /// A secret has a name, whatever its field is called.
    fn named(&mut self, path: &[&str], secret: Option<&Secret>, field: &str) {
        let empty = match secret {
            Some(Secret::Env(name)) => name.is_empty(),
            Some(Secret::File(file)) => file.as_os_str().is_empty(),
            Some(Secret::Command(words)) => words.is_empty(),
            None => false,
        };
        if empty {
            let hint = format!("`{field} = {{ env = \"NAME\" }}`");
            self.wrong(&[path, &[field]].concat(), "the secret's name is empty", hint);
        }
    }

    fn host(&mut self, path: &[&str], host: &str) {
        if host != "local" && !has_scheme(host, &["ssh"]) {
            self.wrong(path, format!("`{host}` is no host"), "`ssh://user@host`, or `local`");
        }
    }

    /// Where commands run; ssh would take some words for its options.
    fn place(&mut self, path: &[&str], host: &str) {
        if Place::parse(host).is_err() {
            self.wrong(path, format!("`{host}` is no host"), "`ssh://user@host`, or `local`");
        }
    }

    fn engine(&mut self, path: &[&str], docker: &str, tls: Option<&Tls>) {
        if !has_scheme(docker, &["unix", "tcp", "ssh"]) {
            let message = format!("`{docker}` is no address of a Docker Engine");
            self.wrong(path, message, "`unix:///var/run/docker.sock`, `tcp://host:2376` or `ssh://user@host`");
        } else if tls.is_some() && !docker.starts_with("tcp://") {
            self.wrong(path, "`tls` is for `tcp://` only", "take `tls` out, or write `tcp://host:2376`");
        }
    }
}

fn has_scheme(text: &str, schemes: &[&str]) -> bool {
    let rest = |scheme: &&str| text.strip_prefix(scheme).and_then(|rest| rest.strip_prefix("://"));
    schemes
        .iter()
        .find_map(rest)
        .is_some_and(|rest| !rest.is_empty() && !rest.contains(|c: char| c.is_whitespace() || c.is_control()))
}
