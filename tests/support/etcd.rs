//! One real etcd.

use super::{free_port, program};
use castoff::cluster::{config, secret::Secret};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub struct Etcd {
    child: Child,
    pub folder: tempfile::TempDir,
    pub endpoint: String,
}

impl Etcd {
    pub fn start() -> Self {
        Self::start_at(&format!("http://127.0.0.1:{}", free_port()))
    }

    pub fn start_at(endpoint: &str) -> Self {
        let paths: Vec<_> =
            std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).map(|p| p.join("etcd")).collect();
        let program = program(&paths, "etcd-server");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let log = std::fs::File::create(folder.path().join("log")).expect("a log file");
        let (endpoint, peer) = (endpoint.to_owned(), format!("http://127.0.0.1:{}", free_port()));
        let child = Command::new(program)
            .arg("--data-dir")
            .arg(folder.path().join("data"))
            .args(["--listen-client-urls", &endpoint, "--advertise-client-urls", &endpoint])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("default={peer}"), "--logger", "zap", "--log-level", "error"])
            // A login costs no time here: nobody guesses these passwords.
            .args(["--bcrypt-cost", "4"])
            .env("ETCD_UNSUPPORTED_ARCH", std::env::consts::ARCH.replace("aarch64", "arm64"))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("etcd starts");
        let server = Self { child, folder, endpoint };
        let begin = Instant::now();
        while !server.is_healthy() {
            assert!(begin.elapsed() < Duration::from_mins(1), "etcd did not come up: see {}", server.folder.path().display());
            std::thread::sleep(Duration::from_millis(50));
        }
        server
    }

    /// It listens before it has a leader.
    fn is_healthy(&self) -> bool {
        let ask = || {
            let mut stream = std::net::TcpStream::connect(self.address())?;
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
            stream.write_all(b"GET /health HTTP/1.0\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok::<_, std::io::Error>(answer)
        };
        ask().is_ok_and(|answer| answer.contains(" 200 "))
    }

    fn address(&self) -> &str {
        self.endpoint.trim_start_matches("http://")
    }

    pub fn config(&self) -> config::Etcd {
        config(&self.endpoint)
    }

    /// With a login; the password goes through a file, as an operator would do it.
    pub fn config_with_login(&self, user: &str, password: &str) -> config::Etcd {
        config::Etcd {
            username: Some(user.to_owned()),
            password: Some(secret_file(self.folder.path(), password)),
            ..self.config()
        }
    }

    /// `STOP`, `CONT`: as a machine that stands still.
    pub fn signal(&self, name: &str) {
        super::run(Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()));
    }

    /// A plain client, to prepare and to look.
    pub async fn client(&self) -> etcd_client::Client {
        etcd_client::Client::connect([&self.endpoint], None).await.expect("a client")
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn config(endpoint: &str) -> config::Etcd {
    config::Etcd {
        endpoints: vec![endpoint.to_owned()],
        namespace: "local".to_owned(),
        username: None,
        password: None,
        ca: None,
        cert: None,
        key: None,
    }
}

pub fn secret_file(folder: &Path, password: &str) -> Secret {
    let path = folder.join(format!("secret-{}", uuid::Uuid::now_v7()));
    std::fs::write(&path, format!("{password}\n")).expect("a secret file");
    Secret::File(path)
}
