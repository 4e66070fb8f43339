//! Hosts of the cluster file: where they are, and which daemons on them castoff looks for. Paths, sockets and commands are
//! the usual ones unless written. It asks no host.

use super::{AgentConfig, ClusterFile};
use serde::Deserialize;

/// A machine with daemons that pull images.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct HostConfig {
    pub name: String,
    /// `ssh://user@host` or `local`.
    #[serde(default = "super::local")]
    pub host: String,
    /// Commands run by `sudo -n`: for a user who is not root, and whom sudo asks for no password.
    #[serde(default)]
    pub sudo: bool,
    /// How units are asked about, started, stopped, reloaded and restarted: a verb and the unit's name follow.
    #[serde(default = "systemctl")]
    pub systemctl: Vec<String>,
    /// A Docker daemon; left out, none is looked for.
    pub docker: Option<DockerConfig>,
    /// containerd; left out, it is not looked for.
    pub containerd: Option<ContainerdConfig>,
    /// podman, buildah, skopeo and CRI-O; left out, they are not looked for.
    pub podman: Option<PodmanConfig>,
}

fn systemctl() -> Vec<String> {
    words(&["systemctl"])
}

/// Commands are lists of words; no shell.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct DockerConfig {
    /// Path of its socket on the host.
    pub socket: String,
    /// Path of its `daemon.json`. Left out, it is found out from the daemon that runs.
    pub config: Option<String>,
    /// Its folder of certificates and `hosts.toml`.
    pub certs: String,
    /// How it is told to read `daemon.json` again.
    pub reload: Vec<String>,
    pub restart: Vec<String>,
    /// Prints the newest lines of its log.
    pub log: Vec<String>,
    /// How the program itself is called, to check a `daemon.json`.
    pub dockerd: Vec<String>,
}

impl Default for DockerConfig {
    fn default() -> Self {
        Self {
            socket: "/var/run/docker.sock".to_owned(),
            config: None,
            certs: "/etc/docker/certs.d".to_owned(),
            reload: words(&["systemctl", "reload", "docker"]),
            restart: words(&["systemctl", "restart", "docker"]),
            log: words(&["journalctl", "--unit", "docker", "--lines", "2000", "--output", "cat", "--no-pager"]),
            dockerd: words(&["dockerd"]),
        }
    }
}

/// Commands are lists of words; no shell.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct ContainerdConfig {
    /// Path of its socket on the host.
    pub socket: String,
    /// Path of its `config.toml`.
    pub config: String,
    /// Its folder of `hosts.toml` files: what `config_path` is set to.
    pub certs: String,
    pub restart: Vec<String>,
    /// How its client is called.
    pub ctr: Vec<String>,
    /// How the program itself is called, to print its configuration.
    pub containerd: Vec<String>,
}

impl Default for ContainerdConfig {
    fn default() -> Self {
        Self {
            socket: "/run/containerd/containerd.sock".to_owned(),
            config: "/etc/containerd/config.toml".to_owned(),
            certs: "/etc/containerd/certs.d".to_owned(),
            restart: words(&["systemctl", "restart", "containerd"]),
            ctr: words(&["ctr"]),
            containerd: words(&["containerd"]),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct PodmanConfig {
    /// How it is called.
    pub podman: Vec<String>,
    /// Its folder of drop-ins.
    pub folder: String,
    /// Its folder of certificates, with one folder for each registry.
    pub certs: String,
    /// CRI-O reads the drop-ins as well: it is reloaded when they change.
    pub crio: bool,
}

impl Default for PodmanConfig {
    fn default() -> Self {
        Self {
            podman: words(&["podman"]),
            folder: "/etc/containers/registries.conf.d".to_owned(),
            certs: "/etc/containers/certs.d".to_owned(),
            crio: false,
        }
    }
}

impl ClusterFile {
    /// Every host that files can be read on: those of `[[hosts]]`, then the agents with a `host`, each with its Docker
    /// Engine where that has a socket there.
    pub fn machines(&self) -> Vec<HostConfig> {
        self.hosts.iter().cloned().chain(self.agents.iter().filter_map(of_agent)).collect()
    }
}

fn of_agent(agent: &AgentConfig) -> Option<HostConfig> {
    let host = agent.host.clone()?;
    let socket = agent.docker.strip_prefix("unix://").map(str::to_owned).or_else(|| {
        let (_, path) = agent.docker.strip_prefix("ssh://")?.split_once('/')?;
        Some(format!("/{path}"))
    });
    // Behind tcp, or at the usual place behind ssh.
    let docker = DockerConfig { socket: socket.unwrap_or_else(|| DockerConfig::default().socket), ..DockerConfig::default() };
    let (name, docker, systemctl) = (agent.name.clone(), Some(docker), systemctl());
    Some(HostConfig { name, host, sudo: false, systemctl, docker, containerd: None, podman: None })
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn parse(rest: &str) -> Result<ClusterFile, String> {
        ClusterFile::parse(&format!("name = \"test\"\n{rest}"), Path::new("/etc/castoff.toml")).map_err(|e| e.to_string())
    }

    #[test]
    fn a_host_needs_a_name_only_and_gets_the_usual_paths() {
        let file = parse(
            "[[hosts]]\nname = \"web-1\"\n[hosts.docker]\nconfig = \"/srv/daemon.json\"\n[hosts.podman]\n\
             [[hosts]]\nname = \"k8s-1\"\nhost = \"ssh://ops@k8s-1\"\nsudo = true\n[hosts.containerd]\nctr = [\"k3s\", \"ctr\"]\n\
             [[agents]]\nname = \"gpu-1\"\ndocker = \"ssh://ops@gpu-1/run/own.sock\"\nhost = \"ssh://ops@gpu-1\"\n\
             [[agents]]\nname = \"gpu-2\"\ndocker = \"tcp://gpu-2:2375\"\n\
             [secrets]\nmirror = { file = \"mirror.secret\" }\nother = { env = \"MIRROR\" }\n",
        )
        .expect("a good file");
        let [web, k8s] = &file.hosts[..] else { panic!("{:?}", file.hosts) };
        let docker = DockerConfig { config: Some("/srv/daemon.json".to_owned()), ..DockerConfig::default() };
        assert_eq!((web.host.as_str(), web.sudo, web.docker.as_ref()), ("local", false, Some(&docker)));
        assert_eq!((web.podman.as_ref(), web.containerd.as_ref()), (Some(&PodmanConfig::default()), None));
        let containerd = ContainerdConfig { ctr: words(&["k3s", "ctr"]), ..ContainerdConfig::default() };
        assert_eq!((k8s.sudo, k8s.containerd.as_ref()), (true, Some(&containerd)));
        let machines = file.machines();
        assert_eq!(machines.iter().map(|host| host.name.as_str()).collect::<Vec<_>>(), ["web-1", "k8s-1", "gpu-1"]);
        assert_eq!(machines[2].docker.as_ref().map(|docker| docker.socket.as_str()), Some("/run/own.sock"));
        assert_eq!(file.secrets["mirror"], crate::cluster::secret::Secret::File("/etc/mirror.secret".into()));
        assert_eq!(file.secret_variables(), ["MIRROR", "PGPASSWORD"]);
    }

    #[test]
    fn what_is_wrong_with_a_host_is_shown_in_its_line() {
        let check = |rest: &str, place: &str, words: &str| {
            let error = parse(rest).expect_err(rest);
            assert!(error.contains(place) && error.contains(words), "{rest}\n{error}");
        };
        check("[[hosts]]\nname = \"a\"\n[[hosts]]\nname = \"a\"", ":5:8", "there are two hosts `a`");
        let agent = "[[agents]]\nname = \"a\"\ndocker = \"unix:///s\"\n";
        check(&format!("{agent}[[hosts]]\nname = \"a\""), ":6:8", "`a` is an agent as well");
        check("[[hosts]]\nname = \"a\"\nhost = \"ssh://-oProxyCommand=x\"", ":4:8", "is no host");
        check("[[hosts]]\nname = \"a\"\n[hosts.docker]\nrestart = []", ":5:11", "`restart` is empty");
        check("[[hosts]]\nname = \"a\"\n[hosts.docker]\nconfig = \"daemon.json\"", ":5:10", "no path from the root");
        check("[[hosts]]\nname = \"a\"\n[hosts.podman]\nfolder = \"/etc/x/\"", ":5:10", "no path from the root");
        check("[[hosts]]\nname = \"a\"\ndokcer = {}", ":4:1", "did you mean `docker`?");
        check("[secrets]\n\"a b\" = { env = \"X\" }", ":3:9", "`a b` is no name of a secret");
        check("[secrets]\nmirror = { env = \"\" }", ":3:10", "the secret's name is empty");
        check("[secrets]\nmirror = \"x\"", ":3:10", "`mirror` must say where the secret is, not what it is");
    }

    #[test]
    fn a_secret_written_out_by_mistake_is_not_shown() {
        let cases = [
            "[secrets]\nmirror = \"hunter2\"",
            "[secrets]\nmirror = hunter2",
            "[secrets]\nenv = \"hunter2\"",
            "[secrets]\nmirror = { value = \"hunter2\" }",
            "[secrets]\nmirror = { env = \"A\", value = \"hunter2\" }",
            "[secrets]\nmirror = \"\"\"\nhunter2\n\"\"\"",
            "[secrets.mirror]\nvalue = \"hunter2\"",
            "secrets = { mirror = \"hunter2\" }",
            "secrets.mirror = \"hunter2\"",
            "[[secrets]]\nmirror = \"hunter2\"",
            "[secerts]\nmirror = \"hunter2\"",
            "secerts = { mirror = \"hunter2\" }",
            "secerts.mirror = \"hunter2\"",
        ];
        for case in cases {
            let error = parse(case).expect_err(case);
            assert!(!error.contains("hunter2"), "{case}\n{error}");
        }
    }
}
