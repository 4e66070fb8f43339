//! The places where commands run: here, and through real sshds that differ in what their PATH holds.

use crate::{servers::Server, support};
use castoff::cluster::{
    config::Ssh,
    ssh::{Place, Runner, Sessions},
};
use std::fmt::Write as _;
use std::{
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    process::Command,
    sync::Arc,
};

pub struct Places {
    servers: Vec<(&'static str, Server)>,
    sessions: Arc<Sessions>,
    _keys: tempfile::TempDir,
}

/// What `sudo` is over there.
const SUDOS: [(&str, &str); 3] = [
    ("sudo", "[ \"$1 $2\" = '-n --' ] || exit 9\nshift 2\nexec \"$@\""),
    // Gives the command to a user who is nobody: what a host without rights says.
    ("nobody", "shift 2\nexec setpriv --reuid 65534 --regid 65534 --clear-groups \"$@\""),
    ("refused", "echo 'sudo: a password is required' >&2\nexit 1"),
];

impl Places {
    pub fn open(names: &[&'static str]) -> Self {
        let keys = tempfile::tempdir().unwrap();
        let at = |name: &str| keys.path().join(name).display().to_string();
        for name in ["client", "host"] {
            let mut keygen = Command::new("ssh-keygen");
            support::run(keygen.args(["-q", "-t", "ed25519", "-N", "", "-f", &at(name)]));
        }
        let servers: Vec<_> = names.iter().map(|name| (*name, sshd(keys.path(), name))).collect();
        let public = std::fs::read_to_string(at("host.pub")).unwrap();
        let (mut config, mut known) = (String::new(), String::new());
        for (name, server) in &servers {
            let port = server.port;
            let _ = writeln!(known, "[127.0.0.1]:{port} {}", public.trim());
            let _ = write!(
                config,
                "Host {name}\n HostName 127.0.0.1\n Port {port}\n User root\n IdentityFile {}\n IdentitiesOnly yes\n \
                 UserKnownHostsFile {}\n GlobalKnownHostsFile /dev/null\n",
                at("client"),
                at("known")
            );
        }
        std::fs::write(at("known"), known).unwrap();
        std::fs::write(at("config"), config).unwrap();
        let ssh = Ssh { config: Some(at("config").into()) };
        Self { servers, sessions: Sessions::new(&ssh, vec![]), _keys: keys }
    }

    pub fn at(&self, name: &str) -> Runner {
        if name == "local" {
            return Runner::new(Place::Local, &self.sessions);
        }
        assert!(self.servers.iter().any(|(known, _)| *known == name));
        let place = Place::parse(&format!("ssh://{name}")).unwrap();
        Runner::new(place, &self.sessions).with_sudo(SUDOS.iter().any(|(known, _)| *known == name))
    }
}

fn sshd(keys: &Path, name: &str) -> Server {
    Server::start("sshd", "openssh-server", |folder, port| {
        let _ = std::fs::create_dir_all("/run/sshd");
        let tools = folder.join("tools");
        std::fs::create_dir(&tools).unwrap();
        if name == "busybox" {
            for tool in
                ["sh", "base64", "stat", "readlink", "sha256sum", "sync", "mv", "rm", "find", "mkdir", "rmdir", "cat", "id"]
            {
                symlink("/usr/bin/busybox", tools.join(tool)).unwrap();
            }
        }
        if let Some((_, text)) = SUDOS.iter().find(|(known, _)| *known == name) {
            let sudo = tools.join("sudo");
            std::fs::write(&sudo, format!("#!/bin/sh\n{text}\n")).unwrap();
            std::fs::set_permissions(&sudo, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        let shadow = Command::new("getent").args(["shadow", "root"]).output().unwrap().stdout;
        // Without PAM sshd refuses an account whose password field starts with "!".
        let locked = String::from_utf8_lossy(&shadow).split(':').nth(1).is_some_and(|field| field.starts_with('!'));
        let pam = if locked { "yes" } else { "no" };
        let config = format!(
            "ListenAddress 127.0.0.1\nPort {port}\nHostKey {0}/host\nAuthorizedKeysFile {0}/client.pub\nPidFile none\n\
             StrictModes no\nUsePAM {pam}\nPermitRootLogin prohibit-password\nPasswordAuthentication no\n\
             KbdInteractiveAuthentication no\nSetEnv PATH={1}:/usr/bin:/bin\n",
            keys.display(),
            tools.display(),
        );
        std::fs::write(folder.join("config"), config).unwrap();
        vec!["-D".to_owned(), "-e".to_owned(), "-f".to_owned(), folder.join("config").display().to_string()]
    })
}

pub fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(test)
}
