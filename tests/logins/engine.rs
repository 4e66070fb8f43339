//! Docker Engine on tcp with mutual TLS, and what it pulls from a registry with a login.

use crate::{
    Said,
    certificates::{path, text},
    registry::{self, Auth},
    run,
    servers::Server,
};
use castoff::{
    cluster::{
        config::{AgentConfig, RegistryConfig, Ssh, Tls},
        docker::{DockerEngine, Wanted},
        ssh::Sessions,
    },
    model::{
        Change, Fault,
        FaultKind::{Denied, Lasting},
        Standing,
    },
};

/// As root; the engine's own containerd ends with it.
pub fn start(certificate: &str) -> Server {
    Server::start("dockerd", "docker.io", |folder, port| {
        std::fs::write(folder.join("daemon.json"), "{}").unwrap();
        let at = |name: &str| folder.join(name).display().to_string();
        [
            "--config-file",
            &at("daemon.json"),
            "--data-root",
            &at("data"),
            "--exec-root",
            &at("exec"),
            "--pidfile",
            &at("pid"),
            "--storage-driver=vfs",
            "--bridge=none",
            "--iptables=false",
            "--ip6tables=false",
            "-H",
            &format!("tcp://127.0.0.1:{port}"),
            "--tlsverify",
            "--tlscacert",
            &text("ca.pem"),
            "--tlscert",
            &text(&format!("{certificate}.pem")),
            "--tlskey",
            &text(&format!("{certificate}.key")),
        ]
        .map(str::to_owned)
        .to_vec()
    })
}

fn engine(server: &Server, ca: &str, cert: &str, key: &str) -> DockerEngine {
    let tls = Tls { ca: path(ca), cert: path(cert), key: path(key) };
    let docker = format!("tcp://127.0.0.1:{}", server.port);
    let config = AgentConfig { name: "gpu-1".to_owned(), docker, tls: Some(tls), host: None };
    DockerEngine::new(&config, &Sessions::new(&Ssh::default(), vec![])).unwrap()
}

async fn read(engine: DockerEngine) -> Result<(), Fault> {
    engine.read().await.map(drop)
}

#[test]
fn an_engine_knows_castoff_by_its_certificate_and_pulls_with_its_login() {
    run(async {
        let (server, expired) = (start("server"), start("server-expired"));
        let users = [("kim", "kim-secret")];
        let registry = registry::start("server", &Auth::Basic(&users), false);
        let right = engine(&server, "ca.pem", "client.pem", "client.key");
        assert_eq!(right.read().await.map(|host| host.images.len()), Ok(0));

        // The engine itself has no login: it gets the one of the cluster file with the request.
        let name = format!("127.0.0.1:{}", registry.port);
        let config = registry::config(&registry, Some(users[0]));
        let client = |config: &RegistryConfig| castoff::cluster::registry::RegistryClient::new(&name, config, "amd64").unwrap();
        let image = format!("{name}/stable/tiny:1").parse().unwrap();
        let manifest = client(&config).manifest(&image).await.unwrap().unwrap();
        let change = Change::Pull {
            host: "gpu-1".to_owned(),
            image: image.clone(),
            digest: manifest.digest.clone(),
            id: manifest.config.clone(),
            before: None,
            size_bytes: manifest.size_bytes(),
        };
        let wanted = Wanted { image: &image, digest: Some(&manifest.digest), id: &manifest.config, before: None, size_bytes: 0 };
        let report = |_: &str, _: u64, _: u64| {};
        for (login, case) in [(None, "no login"), (Some(("kim", "wrong-secret")), "wrong password")] {
            let config = registry::config(&registry, login);
            let login = client(&config).credentials().await.unwrap();
            let fault = right.pull(&wanted, login, &report).await.expect_err(case);
            Said { case, kind: Denied, words: &["cannot pull", "gpu-1"], hint: &["login", "cluster file"] }.by(&fault);
            assert_eq!(right.standing(&change).await, Ok(Standing::Before));
        }
        let login = client(&config).credentials().await.unwrap();
        right.pull(&wanted, login, &report).await.unwrap();
        assert_eq!(right.standing(&change).await, Ok(Standing::After));
        right.undo_name(&image, &manifest.config, Some(&manifest.digest), None).await.unwrap();
        assert_eq!(right.standing(&change).await, Ok(Standing::Before));

        let cases = [
            (
                engine(&server, "ca.pem", "client-expired.pem", "client-expired.key"),
                "expired",
                vec!["client-expired.pem", "expired on 2026-03-01"],
                "`cert`",
            ),
            (
                engine(&server, "ca.pem", "client-stranger.pem", "client-stranger.key"),
                "of a stranger",
                vec!["client-stranger.pem"],
                "`cert`",
            ),
            (engine(&server, "stranger.pem", "client.pem", "client.key"), "another authority", vec!["authority"], "`ca`"),
            (engine(&server, "ca.pem", "gone.pem", "client.key"), "no such file", vec!["gone.pem"], "`tls`"),
            (engine(&server, "ca.pem", "client.pem", "server.key"), "not its key", vec!["client.pem"], "`tls`"),
            (engine(&server, "ca.pem", "ca.key", "client.key"), "no certificate in it", vec!["ca.key"], "`tls`"),
            (
                engine(&expired, "ca.pem", "client.pem", "client.key"),
                "expired server",
                vec!["certificate expired on 2026-03-01"],
                "renew",
            ),
        ];
        for (engine, case, words, hint) in cases {
            let fault = read(engine).await.expect_err(case);
            Said { case, kind: Lasting, words: &words, hint: &[hint, "of agent `gpu-1`"] }.by(&fault);
            assert!(fault.unreachable, "{case}: the agent can be set aside");
        }
    });
}
