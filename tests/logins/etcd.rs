//! etcd behind TLS that asks for a client certificate, with users and passwords.

use crate::{
    Said,
    certificates::{path, text},
    run,
    servers::Server,
    support::etcd::secret_file,
};
use castoff::{
    cluster::{config, etcd::EtcdClient, secret::Secret},
    model::{
        Fault,
        FaultKind::{Denied, Lasting},
        KeyDiff, Standing, Value,
    },
};
use etcd_client::{Certificate, ConnectOptions, Identity, TlsOptions};
use std::time::Duration;

fn start(server: &str, ttl_s: u32) -> Server {
    Server::start("etcd", "etcd-server", |folder, port| {
        let peer = format!("http://127.0.0.1:{}", crate::support::free_port());
        let own = format!("https://127.0.0.1:{port}");
        let words = [
            "--data-dir",
            &folder.join("data").display().to_string(),
            "--listen-client-urls",
            &own,
            "--advertise-client-urls",
            &own,
            "--listen-peer-urls",
            &peer,
            "--initial-advertise-peer-urls",
            &peer,
            "--initial-cluster",
            &format!("default={peer}"),
            "--logger",
            "zap",
            "--log-level",
            "error",
            "--cert-file",
            &text(&format!("{server}.pem")),
            "--key-file",
            &text(&format!("{server}.key")),
            "--client-cert-auth",
            "--trusted-ca-file",
            &text("ca.pem"),
            "--auth-token-ttl",
            &ttl_s.to_string(),
        ];
        words.map(str::to_owned).to_vec()
    })
}

fn config(server: &Server, password: Option<Secret>) -> config::Etcd {
    config::Etcd {
        endpoints: vec![format!("https://127.0.0.1:{}", server.port)],
        namespace: "local".to_owned(),
        username: password.is_some().then(|| "kim".to_owned()),
        password,
        ca: Some(path("ca.pem")),
        cert: Some(path("client.pem")),
        key: Some(path("client.key")),
    }
}

/// Authentication on, with `root` and with `kim`, who may do everything below `/sorna/`.
async fn admin(server: &Server, password: &str) {
    let pem = |name: &str| std::fs::read(path(name)).unwrap();
    let tls = TlsOptions::new()
        .ca_certificate(Certificate::from_pem(pem("ca.pem")))
        .identity(Identity::from_pem(pem("client.pem"), pem("client.key")));
    let mut client =
        etcd_client::Client::connect([format!("https://127.0.0.1:{}", server.port)], Some(ConnectOptions::new().with_tls(tls)))
            .await
            .unwrap();
    for (user, password) in [("root", "root-secret"), ("kim", password)] {
        client.user_add(user, password, None).await.unwrap();
        client.role_add(user).await.unwrap();
        client.user_grant_role(user, user).await.unwrap();
    }
    let all = etcd_client::Permission::read_write("/sorna/").with_prefix();
    client.role_grant_permission("kim", all).await.unwrap();
    client.auth_enable().await.unwrap();
}

async fn read(config: &config::Etcd) -> Result<(), Fault> {
    EtcdClient::new(config).await?.read().await.map(drop)
}

#[test]
fn etcd_knows_castoff_by_certificate_and_password() {
    run(async {
        let server = start("server", 1);
        let folder = server.folder.path();
        let password = "kim-secret $x \"'%@: 한글";
        admin(&server, password).await;
        let right = config(&server, Some(secret_file(folder, password)));

        let client = EtcdClient::new(&right).await.unwrap();
        let diffs = |from: &str, to: &str| {
            [KeyDiff {
                key: "/sorna/local/config/docker/registry/cr".to_owned(),
                before: (!from.is_empty()).then(|| Value::text(from)),
                after: Some(Value::text(to)),
            }]
        };
        client.write(&diffs("", "one"), true).await.unwrap();
        assert_eq!(client.standing(&diffs("", "one")).await, Ok(Standing::After));
        assert_eq!(client.read().await.unwrap().len(), 1);
        // The token is good for 1 s: a run outlives many of them.
        tokio::time::sleep(Duration::from_millis(2500)).await;
        assert_eq!(client.read().await.unwrap().len(), 1, "with a token that expired");
        tokio::time::sleep(Duration::from_millis(2500)).await;
        client.write(&diffs("one", "two"), true).await.expect("with a token that expired");
        assert_eq!(client.standing(&diffs("one", "two")).await, Ok(Standing::After));

        let with = |cert: &str| config::Etcd {
            cert: Some(path(&format!("{cert}.pem"))),
            key: Some(path(&format!("{cert}.key"))),
            ..right.clone()
        };
        let endpoint = right.endpoints[0].clone();
        let cases = [
            (
                config::Etcd { password: Some(secret_file(folder, "wrong-secret")), ..right.clone() },
                "wrong password",
                Denied,
                vec!["password"],
                vec!["`password` of `[etcd]`"],
            ),
            (
                config::Etcd { username: Some("lee".to_owned()), ..right.clone() },
                "unknown user",
                Denied,
                vec![],
                vec!["`username`"],
            ),
            (config::Etcd { username: None, password: None, ..right.clone() }, "no login", Denied, vec![], vec!["`username`"]),
            (with("client-expired"), "expired", Lasting, vec!["client-expired.pem", "expired"], vec!["`cert`"]),
            (with("client-stranger"), "of a stranger", Lasting, vec!["certificate"], vec!["`cert`"]),
            (
                config::Etcd { key: Some(path("server.key")), ..right.clone() },
                "not its key",
                Lasting,
                vec!["client.pem"],
                vec!["`cert`"],
            ),
            (
                config::Etcd { cert: Some(path("ca.key")), ..right.clone() },
                "no certificate in it",
                Lasting,
                vec!["ca.key"],
                vec!["`cert`"],
            ),
            (
                config::Etcd { ca: Some(path("gone.pem")), ..right.clone() },
                "no such file",
                Lasting,
                vec!["gone.pem"],
                vec!["`ca`"],
            ),
            (
                config::Etcd { ca: Some(path("ca.key")), ..right.clone() },
                "no authority in it",
                Lasting,
                vec!["ca.key"],
                vec!["`ca`"],
            ),
            (
                config::Etcd { cert: None, key: None, ..right.clone() },
                "no certificate",
                Lasting,
                vec!["certificate"],
                vec!["`cert`"],
            ),
            (
                config::Etcd { ca: Some(path("stranger.pem")), ..right.clone() },
                "another authority",
                Lasting,
                vec!["authority"],
                vec!["`ca`"],
            ),
            (config::Etcd { ca: None, ..right.clone() }, "no authority", Lasting, vec!["authority"], vec!["`ca`"]),
        ];
        for (config, case, kind, mut words, hint) in cases {
            words.push(&endpoint);
            for _ in 0..5 {
                Said { case, kind, words: &words, hint: &hint }.by(&read(&config).await.expect_err(case));
            }
        }
    });
}

#[test]
fn the_certificate_of_etcd_itself_is_looked_at() {
    run(async {
        for (server, word) in [("server-expired", "expired"), ("server-elsewhere", "name")] {
            let server = start(server, 300);
            let fault = read(&config(&server, None)).await.expect_err(word);
            Said { case: word, kind: Lasting, words: &["etcd", "certificate", word], hint: &[] }.by(&fault);
        }
    });
}
