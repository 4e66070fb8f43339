//! The wire to a registry that means harm, or hides behind TLS: what no registry of a lab does.

use castoff::{
    cluster::{
        config::{AgentConfig, RegistryConfig, Ssh, Tls},
        docker::DockerEngine,
        registry::RegistryClient,
        secret::Secret,
        ssh::Sessions,
    },
    model::{FaultKind, ImageRef},
};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
    thread,
};

/// Requests as they arrived, line by line.
type Heard = Arc<Mutex<Vec<String>>>;

/// Answers each request by a function of its head, one request a connection.
fn listen(answer: impl Fn(&str) -> String + Send + 'static) -> (u16, Heard) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard = Heard::default();
    let log = Arc::clone(&heard);
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let request = head_of(&mut stream);
            log.lock().unwrap().push(request.clone());
            let _ = stream.write_all(answer(&request).as_bytes());
        }
    });
    (port, heard)
}

fn head_of(stream: &mut impl Read) -> String {
    let mut head = String::new();
    for line in BufReader::new(stream).lines().map_while(Result::ok) {
        if line.is_empty() {
            break;
        }
        head.push_str(&line);
        head.push('\n');
    }
    head
}

fn reply(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

fn with_login(url: String, folder: &Path) -> RegistryConfig {
    let path = folder.join("password");
    std::fs::write(&path, "the-secret-word\n").unwrap();
    let password = Some(Secret::File(path));
    RegistryConfig { url, username: Some("robot".to_owned()), password, ..RegistryConfig::default() }
}

fn client(config: &RegistryConfig) -> RegistryClient {
    let _ = rustls::crypto::ring::default_provider().install_default();
    RegistryClient::new("cr.backend.ai", config, "amd64").unwrap()
}

fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
}

fn image() -> ImageRef {
    "cr.backend.ai/stable/python:3.6".parse().unwrap()
}

#[test]
fn a_registry_cannot_have_the_login_sent_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let (elsewhere, stolen) = listen(|_| reply("200 OK", "", r#"{"token":"x"}"#));
    // `localhost` is another host than `127.0.0.1`.
    let challenge = format!("WWW-Authenticate: Bearer realm=\"http://localhost:{elsewhere}/token\",service=\"x\"\r\n");
    let (port, _) = listen(move |_| reply("401 Unauthorized", &challenge, ""));
    let config = with_login(format!("http://127.0.0.1:{port}"), folder.path());
    let fault = run(client(&config).manifest(&image())).unwrap_err();
    assert_eq!(fault.kind, FaultKind::Denied, "{fault}");
    assert_eq!(*stolen.lock().unwrap(), Vec::<String>::new());
    assert!(!format!("{fault:?}").contains("the-secret-word"));
}

#[test]
fn a_redirect_to_another_host_carries_no_login() {
    let folder = tempfile::tempdir().unwrap();
    let (elsewhere, seen) = listen(|_| reply("404 Not Found", "", ""));
    let (port, here) = listen(move |head| {
        let location = format!("Location: http://localhost:{elsewhere}/x\r\n");
        let asked = head.to_ascii_lowercase().contains("authorization: basic");
        if asked {
            reply("307 Temporary Redirect", &location, "")
        } else {
            reply("401 Unauthorized", "WWW-Authenticate: Basic\r\n", "")
        }
    });
    let config = with_login(format!("http://127.0.0.1:{port}"), folder.path());
    assert_eq!(run(client(&config).manifest(&image())), Ok(None));
    let (seen, here) = (seen.lock().unwrap(), here.lock().unwrap());
    assert_eq!((seen.len(), here.len()), (1, 2), "{seen:?} {here:?}");
    assert!(!seen[0].to_ascii_lowercase().contains("authorization"), "{seen:?}");
}

#[test]
fn bytes_that_do_not_fit_their_digest_are_refused() {
    let said = format!("Docker-Content-Digest: sha256:{}\r\n", "0".repeat(64));
    let (port, _) = listen(move |_| reply("200 OK", &said, r#"{"schemaVersion":2,"config":{},"layers":[]}"#));
    let config = RegistryConfig { url: format!("http://127.0.0.1:{port}"), ..RegistryConfig::default() };
    let fault = run(client(&config).manifest(&image())).unwrap_err();
    assert_eq!(fault.kind, FaultKind::Lasting);
    assert!(fault.why.contains("do not fit the digest"), "{fault}");
}

/// A certificate authority with one certificate for a server on 127.0.0.1 and one for a client.
struct Certificates(tempfile::TempDir);

impl Certificates {
    fn make() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let openssl = |words: &str| {
            let done = Command::new("openssl").args(words.split_whitespace()).current_dir(folder.path()).output().unwrap();
            assert!(done.status.success(), "{words}: {}", String::from_utf8_lossy(&done.stderr));
        };
        std::fs::write(folder.path().join("san"), "subjectAltName=IP:127.0.0.1\n").unwrap();
        openssl(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=castoff-test -keyout ca.key -out ca.pem",
        );
        // `expired` is valid for the second in which it is made.
        for (name, days) in [("server", 2), ("client", 2), ("expired", 0)] {
            openssl(&format!(
                "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={name} -keyout {name}.key -out {name}.csr"
            ));
            openssl(&format!(
                "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days {days} -extfile san -out {name}.pem"
            ));
        }
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A TLS server that gives the same answer to everybody, or only to those with a certificate of ours.
    fn serve(&self, body: &'static str, clients_must_be_known: bool) -> u16 {
        self.serve_as("server", body, clients_must_be_known)
    }

    fn serve_as(&self, name: &str, body: &'static str, clients_must_be_known: bool) -> u16 {
        let pem = |name: &str| std::fs::read(self.path(name)).unwrap();
        let certificates = |name: &str| {
            use rustls::pki_types::{CertificateDer, pem::PemObject};
            CertificateDer::pem_slice_iter(&pem(name)).collect::<Result<Vec<_>, _>>().unwrap()
        };
        let key = <rustls::pki_types::PrivateKeyDer<'_> as rustls::pki_types::pem::PemObject>::from_pem_slice(&pem(&format!(
            "{name}.key"
        )));
        let builder = rustls::ServerConfig::builder();
        let builder = if clients_must_be_known {
            let mut roots = rustls::RootCertStore::empty();
            roots.add_parsable_certificates(certificates("ca.pem"));
            let verifier = rustls::server::WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        } else {
            builder.with_no_client_auth()
        };
        let config = Arc::new(builder.with_single_cert(certificates(&format!("{name}.pem")), key.unwrap()).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            for mut socket in listener.incoming().flatten() {
                let mut session = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
                let mut stream: rustls::Stream<'_, _, TcpStream> = rustls::Stream::new(&mut session, &mut socket);
                if !head_of(&mut stream).is_empty() {
                    let _ = stream.write_all(reply("200 OK", "Content-Type: application/json\r\n", body).as_bytes());
                    stream.conn.send_close_notify();
                    let _ = stream.flush();
                }
            }
        });
        port
    }
}

#[test]
fn a_registry_behind_tls_is_verified_unless_told_otherwise() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let certificates = Certificates::make();
    let url = format!("https://127.0.0.1:{}", certificates.serve("{}", false));
    let ping = |config: RegistryConfig| run(client(&config).ping());
    let plain = RegistryConfig { url, ..RegistryConfig::default() };
    let fault = ping(plain.clone()).unwrap_err();
    assert_eq!(fault.kind, FaultKind::Lasting, "{fault}");
    assert!(fault.hint.as_deref().is_some_and(|hint| hint.contains("`ca`")), "{fault:?}");
    assert_eq!(ping(RegistryConfig { ca: Some(certificates.path("ca.pem")), ..plain.clone() }), Ok(()));
    assert_eq!(ping(RegistryConfig { insecure: true, ..plain }), Ok(()));
}

#[test]
fn an_expired_certificate_is_told_as_what_it_is() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let certificates = Certificates::make();
    let url = format!("https://127.0.0.1:{}", certificates.serve_as("expired", "{}", false));
    thread::sleep(std::time::Duration::from_millis(1500));
    let config = RegistryConfig { url, ca: Some(certificates.path("ca.pem")), ..RegistryConfig::default() };
    let fault = run(client(&config).ping()).unwrap_err();
    assert_eq!(fault.kind, FaultKind::Lasting, "{fault}");
    assert!(fault.why.to_lowercase().contains("expired"), "{fault}");
}

#[test]
fn an_engine_behind_tls_knows_castoff_by_its_certificate() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let certificates = Certificates::make();
    // Every question of `read` can be answered by this much or by an empty list; the lists fail to parse, late enough.
    let port = certificates.serve(r#"{"ApiVersion":"1.41","Version":"20.10.24"}"#, true);
    let engine = |cert: &str, key: &str| {
        let tls = Tls { ca: certificates.path("ca.pem"), cert: certificates.path(cert), key: certificates.path(key) };
        let docker = format!("tcp://127.0.0.1:{port}");
        let config = AgentConfig { name: "gpu-1".to_owned(), docker, tls: Some(tls), host: None };
        DockerEngine::new(&config, &Sessions::new(&Ssh::default(), vec![])).unwrap()
    };
    let known = run(engine("client.pem", "client.key").read()).unwrap_err();
    assert!(known.what.starts_with("cannot read"), "it got past the handshake: {known}");
    let unknown = run(engine("nothing.pem", "nothing.key").read()).unwrap_err();
    assert!(unknown.what.starts_with("cannot reach"), "{unknown}");
}
