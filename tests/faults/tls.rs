//! TLS that is none, and TLS that nobody vouches for: told at once, by name, and not tried again.

use crate::{
    engine::{self, JULIA},
    proxy::{At, Proxy},
    run,
    support::{self, etcd::Etcd},
};
use castoff::{
    cluster::{
        Cluster,
        config::{self, ClusterFile, Tls},
        live::Live,
        registry::RegistryClient,
    },
    model::{Change, Fault, FaultKind, KeyDiff, RowDiff, Value},
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use std::{
    io::{Read, Write},
    net::TcpListener,
    path::Path,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

/// A certificate for 127.0.0.1 that signed itself: `NAME.pem` and `NAME.key`.
fn certificate(folder: &Path, name: &str) {
    let (cert, key) = (folder.join(format!("{name}.pem")), folder.join(format!("{name}.key")));
    let mut command = Command::new("openssl");
    command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"]);
    command
        .args(["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"]);
    support::run(command.arg("-keyout").arg(key).arg("-out").arg(cert));
}

/// A server that shakes hands with its own certificate, and answers nothing else. `preamble`: PostgreSQL's way to ask for TLS.
fn untrusted(folder: &Path, preamble: bool) -> u16 {
    let cert = CertificateDer::from_pem_file(folder.join("own.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(folder.join("own.key")).unwrap();
    let config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(vec![cert], key).unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let config = Arc::clone(&config);
            std::thread::spawn(move || {
                let mut stream = stream;
                if preamble {
                    let _ = stream.read_exact(&mut [0; 8]);
                    let _ = stream.write_all(b"S");
                }
                let mut session = rustls::ServerConnection::new(config).unwrap();
                let _ = rustls::Stream::new(&mut session, &mut stream).read(&mut [0; 1024]);
            });
        }
    });
    port
}

/// A change of a store or an engine that is reached by TLS at this port, where `ca.pem` is whom castoff believes.
fn change_at(who: &str, folder: &Path, port: u16) -> (ClusterFile, Change) {
    let ca = folder.join("ca.pem");
    let mut file: ClusterFile = toml::from_str("name = 'faults'").unwrap();
    let change = match who {
        "etcd" => {
            let endpoints = vec![format!("https://127.0.0.1:{port}")];
            file.etcd = Some(config::Etcd { endpoints, ca: Some(ca), ..support::etcd::config("") });
            Change::Keys {
                diffs: vec![KeyDiff { key: "/sorna/local/x".to_owned(), before: None, after: Some(Value::text("x")) }],
            }
        }
        "PostgreSQL" => {
            let url = format!("postgres://backend@127.0.0.1:{port}/backend?sslmode=verify-full");
            file.postgres = Some(config::Postgres { url, password: None, ca: Some(ca), cert: None, key: None });
            let (table, key) = ("domains".to_owned(), "default".to_owned());
            Change::Rows { diffs: vec![RowDiff { table, key, before: None, after: None }] }
        }
        _ => {
            file = engine::alone(format!("tcp://127.0.0.1:{port}"));
            file.agents[0].tls = Some(Tls { ca: ca.clone(), cert: ca, key: folder.join("ca.key") });
            let id: castoff::model::Digest = format!("sha256:{}", "0".repeat(64)).parse().unwrap();
            let image = "faults.example/tls:1".parse().unwrap();
            Change::Tag { host: engine::HOST.to_owned(), image, from: "x".parse().unwrap(), id, before: None }
        }
    };
    (file, change)
}

fn shown(who: &str, begun: Instant, fault: &Fault) {
    if std::env::var_os("CASTOFF_FAULTS_SHOWN").is_some() {
        println!("{who} {:.1} s: {:?} {fault} | {:?}", begun.elapsed().as_secs_f64(), fault.kind, fault.hint);
    }
}

#[test]
fn a_certificate_that_nobody_vouches_for_is_refused_for_good() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        certificate(folder.path(), "own");
        certificate(folder.path(), "ca");
        for (who, subject) in [("etcd", "etcd `"), ("PostgreSQL", "PostgreSQL `"), ("engine", "`gpu-f`")] {
            let port = untrusted(folder.path(), who == "PostgreSQL");
            let (file, change) = change_at(who, folder.path(), port);
            let begun = Instant::now();
            let fault = Live::new(file, || 0).unwrap().standing(&change).await.unwrap_err();
            shown(who, begun, &fault);
            assert!(begun.elapsed() < Duration::from_secs(12), "{who}: {:?}", begun.elapsed());
            assert_eq!(fault.kind, FaultKind::Lasting, "{who}: {fault}");
            assert!(
                fault.why.contains("certificate") && fault.what.contains(subject) && fault.hint.is_some(),
                "{who}: {fault:?}"
            );
        }
        let url = format!("https://127.0.0.1:{}", untrusted(folder.path(), false));
        let config = config::RegistryConfig { url, ..config::RegistryConfig::default() };
        let client = RegistryClient::new("cr.backend.ai", &config, "amd64").unwrap();
        let fault = client.manifest(&format!("cr.backend.ai/{JULIA}").parse().unwrap()).await.unwrap_err();
        assert!(fault.kind == FaultKind::Lasting && fault.why.contains("certificate") && fault.hint.is_some(), "{fault:?}");
    });
}

#[test]
fn a_server_without_tls_where_tls_is_configured_is_told_so() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        certificate(folder.path(), "ca");
        let etcd = Etcd::start();
        let engine = Proxy::tcp(At::Unix(engine::socket("gpu-1"))).await;
        let registry = engine::registry_port();
        let database = crate::postgres::database().await;
        let postgres = crate::etcd::port_of(database.url().rsplit_once('/').unwrap().0);
        for (who, port) in [("etcd", crate::etcd::port_of(&etcd.endpoint)), ("PostgreSQL", postgres), ("engine", engine.port())] {
            let (file, change) = change_at(who, folder.path(), port);
            let begun = Instant::now();
            let fault = Live::new(file, || 0).unwrap().standing(&change).await.unwrap_err();
            shown(who, begun, &fault);
            assert!(begun.elapsed() < Duration::from_secs(12), "{who}: {:?}", begun.elapsed());
            let words = ["TLS", "corrupt message"];
            assert!(words.iter().any(|word| fault.why.contains(word)) && fault.hint.is_some(), "{who}: {fault:?}");
            // etcd hangs up on a handshake, which a lost connection does as well.
            let kind = if who == "etcd" { FaultKind::Passing } else { FaultKind::Lasting };
            assert_eq!(fault.kind, kind, "{who}: {fault:?}");
        }
        let config = config::RegistryConfig { url: format!("https://127.0.0.1:{registry}"), ..config::RegistryConfig::default() };
        let client = RegistryClient::new("cr.backend.ai", &config, "amd64").unwrap();
        let begun = Instant::now();
        let fault = client.manifest(&format!("cr.backend.ai/{JULIA}").parse().unwrap()).await.unwrap_err();
        shown("registry", begun, &fault);
        assert_eq!(fault.kind, FaultKind::Lasting, "{fault:?}");
    });
}
