//! `castoff init`: a first cluster file, written from what a manager host, or a host with daemons that pull, shows of itself.
//! It never copies a password and never overwrites a file.

use crate::model::backend_ai::quote;
use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// What was found on this host. Everything may be missing; then the file shows an example in its place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    pub host_name: String,
    pub manager_toml: Option<PathBuf>,
    /// Files that are there and could not be read, with the reason.
    pub unreadable: Vec<String>,
    pub etcd: Option<FoundEtcd>,
    pub database: Option<FoundDatabase>,
    /// `http://127.0.0.1:8081`
    pub api: Option<String>,
    /// Where `backend.ai` is.
    pub command: Option<PathBuf>,
    /// systemd unit of the manager.
    pub unit: Option<String>,
    pub docker_socket: Option<PathBuf>,
    pub containerd_socket: Option<PathBuf>,
    /// podman is installed.
    pub podman: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundEtcd {
    /// `127.0.0.1:2379`
    pub addresses: Vec<String>,
    pub namespace: String,
    pub user: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundDatabase {
    pub address: String,
    pub name: String,
    pub user: String,
    pub has_password: bool,
}

/// Writes the text to a new file; an existing one is an error.
pub fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Looks around on this host; reads files and asks nobody.
pub fn find() -> Found {
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config/backend.ai"));
    // In the manager's own order.
    let folders = [std::env::current_dir().ok(), home, Some(PathBuf::from("/etc/backend.ai"))];
    let mut found = Found { host_name: rustix::system::uname().nodename().to_string_lossy().into_owned(), ..Found::default() };
    for path in folders.into_iter().flatten().map(|folder| folder.join("manager.toml")) {
        match std::fs::read_to_string(&path) {
            Ok(text) => match text.parse::<Table>() {
                Ok(table) => {
                    found.learn(&table);
                    found.manager_toml = Some(path);
                    break;
                }
                // Only the parser's message: the line itself may hold a password.
                Err(error) => found.unreadable.push(format!("{}: {}", path.display(), error.message())),
            },
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => found.unreadable.push(format!("{}: {error}", path.display())),
        }
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    found.command = std::env::split_paths(&path).map(|folder| folder.join("backend.ai")).find(|file| file.is_file());
    found.unit = unit(&["/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"]);
    found.docker_socket = ["/run/docker.sock", "/var/run/docker.sock"].iter().map(PathBuf::from).find(|path| path.exists());
    let containerd = ["/run/containerd/containerd.sock", "/run/k3s/containerd/containerd.sock"];
    found.containerd_socket = containerd.iter().map(PathBuf::from).find(|path| path.exists());
    found.podman = std::env::split_paths(&path).any(|folder| folder.join("podman").is_file());
    found
}

/// The first unit that is named like a manager's.
fn unit(folders: &[&str]) -> Option<String> {
    let named_so = |name: &String| {
        let plain = name.to_ascii_lowercase().replace(['.', '-', '_'], "");
        plain.starts_with("backendai") && plain.contains("manager") && name.ends_with(".service")
    };
    let of = |folder: &&str| {
        let entries = std::fs::read_dir(folder).ok()?;
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).filter(named_so).min()
    };
    folders.iter().find_map(of).map(|name| name.trim_end_matches(".service").to_owned())
}

impl Found {
    /// Nothing of Backend.AI is here, and something that pulls images is.
    fn is_plain_host(&self) -> bool {
        let backend_ai = self.manager_toml.is_some() || self.command.is_some() || self.unit.is_some();
        let pulls = self.docker_socket.is_some() || self.containerd_socket.is_some() || self.podman;
        !backend_ai && self.unreadable.is_empty() && pulls
    }

    /// Takes over what manager.toml says, but for passwords.
    fn learn(&mut self, manager: &Table) {
        let text = |table: &Table, key: &str| table.get(key).and_then(Value::as_str).map(str::to_owned);
        if let Some(etcd) = manager.get("etcd").and_then(Value::as_table) {
            self.etcd = Some(FoundEtcd {
                addresses: etcd.get("addr").map(addresses).unwrap_or_default(),
                namespace: text(etcd, "namespace").unwrap_or_else(|| "local".to_owned()),
                user: text(etcd, "user").filter(|user| !user.is_empty()),
            });
        }
        if let Some(database) = manager.get("db").and_then(Value::as_table) {
            self.database = Some(FoundDatabase {
                address: database.get("addr").map(addresses).unwrap_or_default().into_iter().next().unwrap_or_default(),
                name: text(database, "name").unwrap_or_else(|| "backend".to_owned()),
                user: text(database, "user").unwrap_or_else(|| "postgres".to_owned()),
                has_password: text(database, "password").is_some_and(|password| !password.is_empty()),
            });
        }
        let service = manager.get("manager").and_then(Value::as_table).and_then(|table| table.get("service-addr"));
        let port = service.map(addresses).unwrap_or_default().first().and_then(|a| a.rsplit_once(':')).map(|(_, p)| p.to_owned());
        self.api = port.map(|port| format!("http://127.0.0.1:{port}"));
    }
}

/// `"host:port"`, `{ host, port }`, or a list of them, as versions of Backend.AI write it.
fn addresses(value: &Value) -> Vec<String> {
    match value {
        Value::String(address) => vec![address.clone()],
        Value::Array(members) => members.iter().flat_map(addresses).collect(),
        Value::Table(table) => {
            let host = table.get("host").and_then(Value::as_str);
            let port = table.get("port").and_then(Value::as_integer);
            let whole = |(host, port): (&str, i64)| {
                if host.contains(':') && !host.starts_with('[') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
            };
            host.zip(port).map(whole).into_iter().collect()
        }
        _ => vec![],
    }
}

/// The cluster file as text: complete, commented, ready to be corrected.
pub fn describe(found: &Found) -> String {
    if found.is_plain_host() { hosts(found) } else { backend_ai(found) }
}

/// Hosts whose daemons pull images: what the runbooks of mirrors work on.
fn hosts(found: &Found) -> String {
    let name = if found.host_name.is_empty() { "cluster" } else { &found.host_name };
    let mut out = format!(
        "# The cluster file of castoff: the hosts whose daemons pull images. Nothing of Backend.AI was found here; for a\n\
         # cluster of it call castoff init on a host with its manager.\n\
         # Secrets are named in `[secrets]`, and never written here.\n\
         \n# Typed by the operator at gates.\nname = {}\n\
         \n# One entry for each host; what it has of the three decides which runbooks work on it.\n\
         [[hosts]]\nname = {}\nhost = \"local\"\n",
        quoted(name),
        quoted(name)
    );
    let path = |path: &Path| quoted(&path.display().to_string());
    if let Some(socket) = &found.docker_socket {
        let _ = writeln!(out, "[hosts.docker]\nsocket = {}", path(socket));
    }
    match &found.containerd_socket {
        // Docker has one of its own, which pulls nothing for Kubernetes.
        Some(_) if found.docker_socket.is_some() => {
            out.push_str("# [hosts.containerd]         # only if it pulls by itself: Docker keeps one for its containers\n");
        }
        Some(socket) => _ = writeln!(out, "[hosts.containerd]\nsocket = {}", path(socket)),
        None => {}
    }
    if found.podman {
        out.push_str("[hosts.podman]               # and buildah, skopeo; with CRI-O: crio = true\n");
    }
    out.push_str(
        "\n# Another one, by your own ssh configuration.\n\
         # [[hosts]]\n# name = \"node-2\"\n# host = \"ssh://ops@node-2\"\n# sudo = true\n# [hosts.docker]\n\
         \n# What runbooks may write into files, as (secret NAME).\n\
         # [secrets]\n# mirror = { file = \"/run/secrets/mirror\" }\n",
    );
    out
}

/// A cluster of Backend.AI.
fn backend_ai(found: &Found) -> String {
    let mut out = String::from(
        "# The cluster file of castoff: where the parts of this Backend.AI cluster are.\n\
         # It holds no password, only where each one is found:\n\
         #   { env = \"NAME\" }, { file = \"/path\" } or { command = [\"program\", \"argument\"] }\n",
    );
    let path = |path: &Path| path.display().to_string();
    if let Some(manager_toml) = &found.manager_toml {
        let _ = writeln!(out, "# Written from {}.", one_line(&path(manager_toml)));
    }
    for reason in &found.unreadable {
        let _ = writeln!(out, "# Could not be read: {}", one_line(reason));
    }
    let name = if found.host_name.is_empty() { "backend-ai" } else { &found.host_name };
    let _ = writeln!(out, "\n# Typed by the operator at gates.\nname = {}", quoted(name));
    out.push_str(
        "\n# The agreed time in which the service may be down; --window goes before it. Nothing that cannot be undone\n\
         # is begun when the rest would end after it. A `date` makes it one night only.\n\
         # [window]\n# from = \"02:00\"\n# until = \"04:00\"\n# zone = \"Asia/Seoul\"\n",
    );
    etcd(&mut out, found.etcd.as_ref());
    database(&mut out, found.database.as_ref());
    manager(&mut out, found);
    let _ = write!(out, "\n# One entry for each host with a Docker Engine.\n");
    match &found.docker_socket {
        Some(socket) => {
            let socket = quoted(&format!("unix://{}", path(socket)));
            let _ = writeln!(out, "[[agents]]\nname = {}\ndocker = {socket}\nhost = \"local\"", quoted(name));
        }
        None => out.push_str("# [[agents]]\n# name = \"gpu-1\"\n# docker = \"ssh://root@gpu-1\"\n"),
    }
    out.push_str(
        "\n# Or all agents that the manager knows to be alive. `{host}` is the agent's address, `{id}` its id.\n\
         # [discover.agents]\n# from = \"postgres\"\n# docker = \"ssh://root@{host}\"\n\
         \n# By the names that image names use.\n\
         [registries.\"docker.io\"]\nurl = \"https://registry-1.docker.io\"\n\
         # username = \"me\"\n# password = { env = \"CASTOFF_HUB_PASSWORD\" }\n\
         \n[registries.\"cr.backend.ai\"]\nurl = \"https://cr.backend.ai\"\n",
    );
    out
}

fn etcd(out: &mut String, found: Option<&FoundEtcd>) {
    let example = FoundEtcd { addresses: vec![], namespace: "local".to_owned(), user: None };
    let etcd = found.unwrap_or(&example);
    let addresses = if etcd.addresses.is_empty() { vec!["127.0.0.1:2379".to_owned()] } else { etcd.addresses.clone() };
    let endpoints: Vec<String> = addresses.iter().map(|address| quoted(&format!("http://{address}"))).collect();
    let doubt = if found.is_some_and(|etcd| !etcd.addresses.is_empty()) { "" } else { "# Not found, so guessed.\n" };
    let _ = writeln!(out, "\n{doubt}[etcd]\nendpoints = [{}]\nnamespace = {}", endpoints.join(", "), quoted(&etcd.namespace));
    if let Some(user) = &etcd.user {
        let _ = writeln!(out, "username = {}\npassword = {{ env = \"CASTOFF_ETCD_PASSWORD\" }}", quoted(user));
    }
}

fn database(out: &mut String, found: Option<&FoundDatabase>) {
    let Some(database) = found.filter(|database| !database.address.is_empty()) else {
        out.push_str(
            "\n# Not found. From 22.03 images, from 24.09 registries too are in PostgreSQL; sessions always are.\n\
             # [postgres]\n# url = \"postgres://postgres@127.0.0.1:5432/backend\"\n\
             # password = { env = \"CASTOFF_DB_PASSWORD\" }\n",
        );
        return;
    };
    let url = format!("postgres://{}@{}/{}", quote(&database.user), database.address, quote(&database.name));
    let _ = writeln!(out, "\n[postgres]\nurl = {}", quoted(&url));
    if database.has_password {
        out.push_str("# The password is `password` in `[db]` of manager.toml.\npassword = { env = \"CASTOFF_DB_PASSWORD\" }\n");
    }
}

fn manager(out: &mut String, found: &Found) {
    let command = found.command.as_ref().map_or_else(|| "backend.ai".to_owned(), |path| path.display().to_string());
    let folder = found.manager_toml.as_deref().and_then(Path::parent).map_or("/etc/backend.ai".into(), Path::to_string_lossy);
    let _ = write!(
        out,
        "\n[[managers]]\nname = \"manager\"\nhost = \"local\"\n# Called in `working-dir`, so that it finds manager.toml.\n\
         cli = [{}, \"mgr\"]\nworking-dir = {}\n",
        quoted(&command),
        quoted(&folder),
    );
    if let Some(api) = &found.api {
        let _ = writeln!(out, "api = {}", quoted(api));
    }
    let doubt = if found.unit.is_some() { "" } else { "# Not found, so guessed: how the service is stopped and started.\n" };
    let unit = quoted(found.unit.as_deref().unwrap_or("backendai-manager"));
    let _ = write!(
        out,
        "{doubt}[managers.service]\nstop = [\"systemctl\", \"stop\", {unit}]\nstart = [\"systemctl\", \"start\", {unit}]\n\
         status = [\"systemctl\", \"is-active\", \"--quiet\", {unit}]\n"
    );
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::config::ClusterFile;

    const MANAGER_TOML: &str = r#"
        [etcd]
        namespace = "prod"
        addr = [{ host = "10.0.0.1", port = 2379 }, { host = "fd00::2", port = 2379 }]
        user = "manager"
        password = "hunter2"
        [db]
        type = "postgresql"
        addr = "10.0.0.3:5432"
        name = "backend"
        user = "back end"
        password = "hunter2"
        [manager]
        service-addr = { host = "0.0.0.0", port = 8081 }
    "#;

    #[test]
    fn a_found_manager_becomes_a_file_without_its_passwords() {
        let mut found = Found {
            host_name: "m\"1".to_owned(),
            manager_toml: Some("/opt/bai/manager.toml".into()),
            command: Some("/opt/bai/bin/backend.ai".into()),
            unit: Some("backend.ai-manager".to_owned()),
            docker_socket: Some("/run/docker.sock".into()),
            unreadable: vec!["a\nb".to_owned()],
            ..Found::default()
        };
        found.learn(&MANAGER_TOML.parse().expect("toml"));
        let text = describe(&found);
        assert!(!text.contains("hunter2") && text.contains("# Could not be read: a b\n"), "{text}");
        let file = ClusterFile::parse(&text, Path::new("castoff.toml")).expect("a good file");
        let etcd = file.etcd.expect("etcd");
        assert_eq!(etcd.endpoints, ["http://10.0.0.1:2379", "http://[fd00::2]:2379"]);
        assert_eq!((etcd.namespace.as_str(), etcd.username.as_deref()), ("prod", Some("manager")));
        assert_eq!(file.postgres.expect("postgres").url, "postgres://back%20end@10.0.0.3:5432/backend");
        let manager = &file.managers[0];
        assert_eq!(manager.cli, ["/opt/bai/bin/backend.ai", "mgr"]);
        assert_eq!((manager.working_dir.as_str(), manager.api.as_deref()), ("/opt/bai", Some("http://127.0.0.1:8081")));
        assert_eq!(manager.service.stop, ["systemctl", "stop", "backend.ai-manager"]);
        assert_eq!(file.agents[0].docker, "unix:///run/docker.sock");
    }

    #[test]
    fn an_empty_host_gives_a_file_that_can_be_read() {
        let file = ClusterFile::parse(&describe(&Found::default()), Path::new("castoff.toml")).expect("a good file");
        assert_eq!((file.name.as_str(), file.agents.len(), file.registries.len()), ("backend-ai", 0, 2));
        assert!(ClusterFile::parse(&describe(&find()), Path::new("castoff.toml")).is_ok());
    }

    #[test]
    fn a_host_without_backend_ai_gives_a_file_of_hosts() {
        let mut found = Found {
            host_name: "build-1".to_owned(),
            docker_socket: Some("/run/docker.sock".into()),
            containerd_socket: Some("/run/containerd/containerd.sock".into()),
            podman: true,
            ..Found::default()
        };
        let file = |found: &Found| ClusterFile::parse(&describe(found), Path::new("castoff.toml")).expect("a good file");
        let [host] = &file(&found).hosts[..] else { panic!("one host") };
        let has = (host.docker.is_some(), host.containerd.is_some(), host.podman.is_some());
        assert_eq!((host.name.as_str(), host.host.as_str(), has), ("build-1", "local", (true, false, true)));
        // What is left to the reader is right as well.
        let all = describe(&found).replace("\n# [", "\n[").replace("\n# name", "\nname").replace("\n# host", "\nhost");
        let all = all.replace("\n# sudo", "\nsudo").replace("\n# mirror", "\nmirror");
        let whole = ClusterFile::parse(&all, Path::new("castoff.toml")).unwrap_or_else(|error| panic!("{error}\n{all}"));
        assert_eq!((whole.hosts.len(), whole.hosts[0].containerd.is_some(), whole.secrets.len()), (2, true, 1));
        found.docker_socket = None;
        assert!(file(&found).hosts[0].containerd.is_some());
        found.unit = Some("backend.ai-manager".to_owned());
        assert!(file(&found).hosts.is_empty(), "a manager's host");
    }

    #[test]
    fn examples_in_comments_are_right_too() {
        let text = describe(&Found::default());
        let active = |line: &str| {
            let example = line.strip_prefix("# ").filter(|rest| rest.starts_with('[') || rest.split(' ').nth(1) == Some("="));
            example.unwrap_or(line).to_owned()
        };
        let text: Vec<String> = text.lines().map(active).collect();
        let file = ClusterFile::parse(&text.join("\n"), Path::new("castoff.toml")).expect("a good file");
        assert!(file.postgres.is_some() && file.discover.is_some() && file.agents.len() == 1);
        assert!(file.window.is_some_and(|window| window.agreed().is_ok()));
    }

    #[test]
    fn a_file_that_is_there_is_kept() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("castoff.toml");
        write(&path, "one").expect("a new file");
        assert_eq!(write(&path, "two").expect_err("it is there").kind(), std::io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read_to_string(&path).expect("the file"), "one");
    }
}
