//! ssh: host keys that are known, unknown and changed, an agent, a jump host, a wrong key and an expired certificate.

use crate::{Said, run, servers::Server, support};
use castoff::{
    cluster::{
        config::Ssh,
        ssh::{Place, Runner, Sessions},
    },
    model::{
        Fault,
        FaultKind::{Denied, Lasting, Passing},
    },
};
use std::{
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

fn keygen(words: &[&str]) {
    support::run(Command::new("ssh-keygen").arg("-q").args(words));
}

fn key(folder: &Path, name: &str) {
    keygen(&["-t", "ed25519", "-N", "", "-C", name, "-f", &folder.join(name).display().to_string()]);
}

struct Agent(std::process::Child);

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An sshd that knows the key `client` and certificates of `users`.
fn sshd(keys: &Path) -> Server {
    Server::start("sshd", "openssh-server", |folder, port| {
        let _ = std::fs::create_dir_all("/run/sshd");
        let shadow = Command::new("getent").args(["shadow", "root"]).output().unwrap().stdout;
        // Without PAM sshd refuses an account whose password field starts with "!".
        let pam = if String::from_utf8_lossy(&shadow).split(':').nth(1).is_some_and(|field| field.starts_with('!')) {
            "yes"
        } else {
            "no"
        };
        key(folder, "host");
        let config = format!(
            "ListenAddress 127.0.0.1\nPort {port}\nHostKey {0}/host\nAuthorizedKeysFile {1}/client.pub\nTrustedUserCAKeys {1}/users.pub\n\
             PidFile none\nStrictModes no\nUsePAM {pam}\nPermitRootLogin prohibit-password\nPasswordAuthentication no\n\
             KbdInteractiveAuthentication no\nAllowTcpForwarding yes\n",
            folder.display(),
            keys.display(),
        );
        std::fs::write(folder.join("config"), config).unwrap();
        vec!["-D".to_owned(), "-e".to_owned(), "-f".to_owned(), folder.join("config").display().to_string()]
    })
}

async fn hello(config: &Path, host: &str) -> Result<String, Fault> {
    let sessions = Sessions::new(&Ssh { config: Some(config.to_owned()) }, vec![]);
    let runner = Runner::new(Place::parse(&format!("ssh://{host}"))?, &sessions);
    let words = ["echo", "it's me"].map(str::to_owned);
    Ok(runner.run(&words, None, Duration::from_secs(30)).await?.stdout.trim().to_owned())
}

#[test]
fn ssh_is_the_operators_own_and_never_asks() {
    let keys = tempfile::tempdir().unwrap();
    let at = |name: &str| keys.path().join(name).display().to_string();
    for name in ["client", "other", "users", "certified", "guarded"] {
        key(keys.path(), name);
    }
    keygen(&["-p", "-P", "", "-N", "a-secret", "-f", &at("guarded")]);
    keygen(&["-s", &at("users"), "-I", "old", "-n", "root", "-V", "20260101:20260301", &at("certified.pub")]);
    let (server, jump) = (sshd(keys.path()), sshd(keys.path()));
    let known = |server: &Server| {
        let public = std::fs::read_to_string(server.folder.path().join("host.pub")).unwrap();
        format!("[127.0.0.1]:{} {}\n", server.port, public.trim())
    };
    let other = std::fs::read_to_string(keys.path().join("other.pub")).unwrap();
    std::fs::write(keys.path().join("known"), known(&server) + &known(&jump)).unwrap();
    std::fs::write(keys.path().join("none"), "").unwrap();
    std::fs::write(keys.path().join("server-only"), known(&server)).unwrap();
    std::fs::write(keys.path().join("changed"), format!("[127.0.0.1]:{} {other}", server.port)).unwrap();

    // An agent that alone has the key.
    let socket = keys.path().join("agent");
    let mut agent = Command::new("ssh-agent");
    agent.args(["-D", "-a"]).arg(&socket).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let _agent = Agent(agent.spawn().unwrap());
    let begin = Instant::now();
    while !socket.exists() {
        assert!(begin.elapsed() < Duration::from_mins(1), "ssh-agent does not start");
        std::thread::sleep(Duration::from_millis(20));
    }
    support::run(Command::new("ssh-add").arg("-q").arg(at("client")).env("SSH_AUTH_SOCK", &socket));

    let mut config = String::new();
    let mut host = |name: &str, port: u16, identity: &str, known: &str, more: &str| {
        let known = at(known);
        config += &format!(
            "Host {name}\n  HostName 127.0.0.1\n  Port {port}\n  User root\n  IdentityFile {identity}\n  IdentitiesOnly yes\n  \
             UserKnownHostsFile {known}\n  GlobalKnownHostsFile /dev/null\n  {more}\n\n"
        );
    };
    let closed = support::free_port();
    host("right", server.port, &at("client"), "known", "");
    host("unknown", server.port, &at("client"), "none", "");
    host("changed", server.port, &at("client"), "changed", "");
    host("wrong-key", server.port, &at("other"), "known", "");
    host("guarded-key", server.port, &at("guarded"), "known", "");
    host("expired", server.port, &at("certified"), "known", &format!("CertificateFile {}", at("certified-cert.pub")));
    host("by-agent", server.port, &at("client.pub"), "known", &format!("IdentityAgent {}", socket.display()));
    host("no-agent", server.port, &at("client.pub.none"), "known", "IdentityAgent none");
    host("jump", jump.port, &at("client"), "known", "");
    host("jump-unknown", jump.port, &at("client"), "server-only", "");
    host("jump-wrong-key", jump.port, &at("guarded"), "known", "");
    host("behind", server.port, &at("client"), "known", "ProxyJump jump");
    host("behind-unknown", server.port, &at("client"), "known", "ProxyJump jump-unknown");
    host("behind-wrong-key", server.port, &at("client"), "known", "ProxyJump jump-wrong-key");
    host("unknown-behind", server.port, &at("client"), "none", "ProxyJump jump");
    host("closed", closed, &at("client"), "known", "");
    host("nowhere", server.port, &at("client"), "known", "HostName castoff.invalid");
    let config =
        config.replace("HostName 127.0.0.1\n  Port", "Port").replace("  HostName castoff.invalid", "  HostName  castoff.invalid");
    let config: String = config
        .split("\n\n")
        .map(|block| {
            if block.contains("castoff.invalid") { format!("{block}\n\n") } else { format!("{block}\n  HostName 127.0.0.1\n\n") }
        })
        .collect();
    let file = keys.path().join("config");
    std::fs::write(&file, &config).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();

    run(async {
        for host in ["right", "by-agent", "behind"] {
            assert_eq!(hello(&file, host).await, Ok("it's me".to_owned()), "{host}");
        }
        let cases = [
            ("unknown", Denied, vec!["No ED25519 host key is known for"], "known_hosts"),
            ("changed", Denied, vec!["its host key is not the one in", "changed:1"], "somebody may be in between"),
            ("wrong-key", Denied, vec!["Permission denied (publickey)"], "`[ssh]`"),
            ("guarded-key", Denied, vec!["Permission denied (publickey)"], "never types a password"),
            ("expired", Denied, vec!["Permission denied (publickey)"], "a certificate may have expired"),
            ("no-agent", Denied, vec!["Permission denied (publickey)"], "load a key"),
            ("behind-unknown", Denied, vec!["host key is"], "known_hosts"),
            ("behind-wrong-key", Denied, vec!["Permission denied (publickey)"], "load a key"),
            ("unknown-behind", Denied, vec!["No ED25519 host key is known for"], "known_hosts"),
            ("closed", Passing, vec!["Connection refused"], ""),
            ("nowhere", Lasting, vec!["Could not resolve hostname"], "DNS"),
        ];
        for (host, kind, mut words, hint) in cases {
            let begin = Instant::now();
            let fault = hello(&file, host).await.expect_err(host);
            let subject = format!("ssh to `{host}`");
            words.push(&subject);
            Said { case: host, kind, words: &words, hint: &[hint] }.by(&fault);
            assert!(begin.elapsed() < Duration::from_secs(25), "{host}: it waited for somebody to answer");
        }
    });
}
