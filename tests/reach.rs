//! How a mirror answers from a host: real registries, a real sshd, and small servers that lie. No lab is needed.

#![expect(clippy::format_push_string, clippy::format_collect, reason = "files of servers are put together here")]

#[path = "logins/certificates.rs"]
mod certificates;
#[path = "logins/content.rs"]
mod content;
#[path = "logins/servers.rs"]
mod servers;
#[path = "support/mod.rs"]
#[expect(dead_code, reason = "the stores of other tests are started in other ways")]
mod support;

use castoff::{
    cluster::{
        config::Ssh,
        reach::reach,
        ssh::{Place, Runner, Sessions},
    },
    model::{Digest, ReachWant},
};
use futures::{StreamExt, stream};
use servers::Server;
use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

const IMAGE: &str = "stable/tiny:1";

fn run<T>(test: impl Future<Output = T>) -> T {
    let _ = rustls::crypto::ring::default_provider().install_default();
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(test)
}

/// A docker-registry with one image; `more` is the rest of its configuration.
fn registry(certificate: Option<&str>, more: &str) -> Server {
    Server::start("docker-registry", "docker-registry", |folder, port| {
        content::write(&folder.join("store"));
        std::fs::write(folder.join("htpasswd"), "").unwrap();
        let at = |name: &str| folder.join(name).display().to_string();
        let tls = certificate.map_or_else(String::new, |name| {
            let at = |end: &str| certificates::text(&format!("{name}.{end}"));
            format!("  tls: {{ certificate: \"{}\", key: \"{}\" }}\n", at("pem"), at("key"))
        });
        let file = format!(
            "version: 0.1\nlog: {{ level: warn }}\nstorage: {{ filesystem: {{ rootdirectory: \"{}\" }} }}\nhttp:\n  addr: \"127.0.0.1:{port}\"\n{tls}{}",
            at("store"),
            more.replace("HTPASSWD", &at("htpasswd")),
        );
        std::fs::write(folder.join("config.yml"), file).unwrap();
        vec!["serve".to_owned(), at("config.yml")]
    })
}

/// The heads of the requests that a small server got.
type Heard = Arc<Mutex<Vec<String>>>;

/// A server of which nothing but the answer is known: `answer` gets the head of a request and the connection.
fn small(answer: impl Fn(&str, &mut TcpStream) + Send + Sync + 'static) -> (u16, Heard) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (heard, answer) = (Heard::default(), Arc::new(answer));
    let log = Arc::clone(&heard);
    thread::spawn(move || {
        for mut socket in listener.incoming().flatten() {
            let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
            thread::spawn(move || {
                let mut head = String::new();
                let mut reader = BufReader::new(socket.try_clone().unwrap());
                while let Ok(1..) = reader.read_line(&mut head) {
                    if head.ends_with("\r\n\r\n") {
                        break;
                    }
                }
                log.lock().unwrap().push(head.clone());
                answer(&head, &mut socket);
            });
        }
    });
    (port, heard)
}

fn reply(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

/// A server that always says the same.
fn says(text: String) -> u16 {
    small(move |_, socket| drop(socket.write_all(text.as_bytes()))).0
}

const HTML: &str = "Content-Type: text/html\r\n";
const JSON: &str = "Content-Type: application/json\r\n";
const GOOD: &str = "Content-Type: application/json\r\nDocker-Distribution-Api-Version: registry/2.0\r\n";

/// A server that answers `/v2/` as a registry does, and these paths with these answers; HEAD gets no body.
fn pretends(paths: &'static [(&'static str, &'static str, &'static str, &'static str)]) -> (u16, Heard) {
    small(move |head, socket| {
        let mut words = head.split_whitespace();
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let asked = format!("{method} {path}");
        let found = paths.iter().find(|(name, ..)| *name == asked || *name == path);
        let text = match found {
            Some((_, status, headers, body)) => reply(status, headers, body),
            None if path == "/v2/" => reply("200 OK", GOOD, "{}"),
            None => reply("404 Not Found", JSON, "{}"),
        };
        let end = if method == "HEAD" { text.find("\r\n\r\n").unwrap() + 4 } else { text.len() };
        let _ = socket.write_all(&text.as_bytes()[..end]);
    })
}

/// One machine as two hosts by ssh: one that forwards connections, one that does not.
struct Machines {
    folder: tempfile::TempDir,
    _servers: [Server; 2],
}

impl Machines {
    fn start(more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        let key = |path: &str| support::run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f", path]));
        key(&at("client"));
        let shadow = Command::new("getent").args(["shadow", "root"]).output().unwrap().stdout;
        // Without PAM sshd refuses an account whose password field starts with "!".
        let locked = String::from_utf8_lossy(&shadow).split(':').nth(1).is_some_and(|field| field.starts_with('!'));
        let _ = std::fs::create_dir_all("/run/sshd");
        let sshd = |forwarding: &str, more: &str| {
            Server::start("sshd", "openssh-server", |own, port| {
                let host_key = own.join("host").display().to_string();
                key(&host_key);
                let config = format!(
                    "ListenAddress 127.0.0.1\nPort {port}\nHostKey {host_key}\nAuthorizedKeysFile {}.pub\nPidFile none\nStrictModes no\n\
                     UsePAM {}\nPermitRootLogin prohibit-password\nAllowTcpForwarding {forwarding}\n{more}\n",
                    at("client"),
                    if locked { "yes" } else { "no" },
                );
                std::fs::write(own.join("config"), config).unwrap();
                ["-D", "-e", "-f"].map(str::to_owned).into_iter().chain([own.join("config").display().to_string()]).collect()
            })
        };
        let servers = [sshd("yes", ""), sshd("no", more)];
        let (mut known, mut config) = (String::new(), String::new());
        for (name, server) in ["forwards", "closed"].iter().zip(&servers) {
            let public = std::fs::read_to_string(server.folder.path().join("host.pub")).unwrap();
            known += &format!("[127.0.0.1]:{} {}\n", server.port, public.trim());
            config += &format!(
                "Host {name}\n  HostName 127.0.0.1\n  Port {}\n  User root\n  IdentityFile {}\n  IdentitiesOnly yes\n  \
                 UserKnownHostsFile {}\n  GlobalKnownHostsFile /dev/null\n  LogLevel QUIET\n",
                server.port,
                at("client"),
                at("known"),
            );
        }
        std::fs::write(folder.path().join("known"), known).unwrap();
        std::fs::write(folder.path().join("config"), config).unwrap();
        Self { folder, _servers: servers }
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("config")
    }

    fn runner(&self, host: &str) -> Runner {
        let sessions = Sessions::new(&Ssh { config: Some(self.config()) }, vec![]);
        Runner::new(Place::parse(host).unwrap(), &sessions)
    }
}

/// One question, and words of what has to come out: the variant first.
struct Case {
    want: ReachWant,
    ca: Option<PathBuf>,
    expect: Vec<String>,
}

fn case(mirror: impl Into<String>, image: &str, expect: &[&str]) -> Case {
    let image = Some(image.to_owned()).filter(|image| !image.is_empty());
    let want = ReachWant { mirror: mirror.into(), image, login: false, insecure: false, ca: None };
    Case { want, ca: None, expect: expect.iter().map(|word| (*word).to_owned()).collect() }
}

impl Case {
    fn ca(mut self, path: PathBuf) -> Self {
        self.want.ca = Some(path.display().to_string());
        Self { ca: Some(path), ..self }
    }

    fn insecure(mut self) -> Self {
        self.want.insecure = true;
        self
    }

    fn login(mut self) -> Self {
        self.want.login = true;
        self
    }
}

async fn check(runner: &Runner, cases: &[Case], by: &str) {
    let asked = cases.iter().map(|case| async move {
        let begin = Instant::now();
        let pem = case.ca.as_ref().map(|path| std::fs::read(path).unwrap());
        (case, reach(runner, &case.want, pem.as_deref()).await.unwrap(), begin.elapsed())
    });
    // As many at once as one ssh connection carries: the others would wait for their turn, and their time runs.
    let answers = stream::iter(asked).buffered(6).collect::<Vec<_>>().await;
    for (case, reach, took) in answers {
        let (mirror, shown) = (&case.want.mirror, format!("{reach:?}"));
        assert!(shown.starts_with(&case.expect[0]), "{by}, {mirror}: {reach:?}, and not {:?}", case.expect);
        for word in &case.expect[1..] {
            assert!(shown.contains(word), "{by}, {mirror}: `{word}` is not in {reach:?}");
        }
        assert!(took < Duration::from_secs(20), "{by}, {mirror}: {took:?}");
    }
}

fn digest_of(server: &Server) -> String {
    let link = "store/docker/registry/v2/repositories/stable/tiny/_manifests/tags/1/current/link";
    std::fs::read_to_string(server.folder.path().join(link)).unwrap()
}

/// A certificate that is its own authority, as `openssl req -x509` makes it, and as it is put into certs.d.
fn self_signed(folder: &Path) {
    let words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=self \
                 -addext subjectAltName=IP:127.0.0.1 -keyout self.key -out self.pem";
    support::run(Command::new("openssl").args(words.split_whitespace()).current_dir(folder));
}

#[test]
fn every_answer_of_a_mirror_is_told_apart_from_here_and_by_ssh() {
    let own = tempfile::tempdir().unwrap();
    self_signed(own.path());
    let plain = registry(None, "");
    let right = registry(Some("server"), "");
    let (expired, elsewhere) = (registry(Some("server-expired"), ""), registry(Some("server-elsewhere"), ""));
    let itself = registry(Some(&format!("../../../../../../../../../..{}/self", own.path().display())), "");
    let basic = registry(None, "auth: { htpasswd: { realm: \"a realm\", path: \"HTPASSWD\" } }\n");
    let known = digest_of(&plain);
    let at = |server: &Server| format!("http://127.0.0.1:{}", server.port);
    let tls = |server: &Server| format!("https://localhost:{}", server.port);
    let ca = || certificates::path("ca.pem");

    let page = says(reply("200 OK", HTML, "<html>welcome</html>"));
    let nothing = says(reply("404 Not Found", HTML, "<html>"));
    let away = says(reply("302 Found", "Location: https://login.example/\r\n", ""));
    let to_itself = pretends(&[("/v2/", "302 Found", "Location: /login\r\n", ""), ("/login", "200 OK", HTML, "<html>")]).0;
    let in_a_circle = says(reply("302 Found", "Location: /v2/\r\n", ""));
    let (busy, broken) = (says(reply("429 Too Many Requests", JSON, "{}")), says(reply("503 Unavailable", HTML, "<html>")));
    let bearer = says(reply("401 No", "WWW-Authenticate: Bearer realm=\"http://127.0.0.1:1/token\"\r\n", "{}"));
    let garbage = says("SSH-2.0-OpenSSH_9.2\r\n".to_owned());
    let huge = says(reply("200 OK", &format!("{GOOD}X: {}\r\n", "x".repeat(2 << 20)), "{}"));
    let mute = small(|_, _| {}).0;
    let stalled = small(|_, _| thread::sleep(Duration::from_secs(30))).0;
    let endless = small(|_, socket| {
        let _ = socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{");
        let spaces = " ".repeat(1 << 16);
        while socket.write_all(spaces.as_bytes()).is_ok() {}
    });
    let slow = small(|_, socket| {
        let _ = socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{");
        while socket.write_all(b" ").is_ok() {
            thread::sleep(Duration::from_millis(100));
        }
    });
    let manifests = pretends(&[
        ("/v2/infra/a/manifests/1", "200 OK", JSON, "{\"schemaVersion\":2}"),
        ("HEAD /v2/refused/manifests/1", "405 Method Not Allowed", JSON, ""),
        ("GET /v2/refused/manifests/1", "200 OK", JSON, "{\"schemaVersion\":2}"),
        ("/v2/page/manifests/1", "200 OK", HTML, "<html>"),
        ("/v2/text/manifests/1", "200 OK", "Content-Type: text/plain\r\n", "hello"),
        ("/v2/elsewhere/manifests/1", "307 There", "Location: https://cdn.example/x\r\n", ""),
        ("/v2/private/manifests/1", "401 No", "WWW-Authenticate: Basic realm=x\r\n", ""),
    ]);
    let here = |port: u16| format!("http://127.0.0.1:{port}");
    let counted = Digest::of("{\"schemaVersion\":2}");
    let counted = counted.as_str();
    let closed = support::free_port();

    let cases = [
        case(at(&plain), "", &["Ok", "None"]),
        case(format!("{}/", at(&plain)), IMAGE, &["Ok", &known]),
        case(at(&plain), "stable/none:1", &["NoImage", "stable/none:1"]),
        case(tls(&right), IMAGE, &["Ok", &known]).ca(ca()),
        case(tls(&right), IMAGE, &["Tls", "an authority that this host does not trust"]),
        case(tls(&right), IMAGE, &["Ok", &known]).insecure(),
        case(tls(&right), "", &["Tls", "holds no certificate"]).ca(certificates::path("ca.key")),
        case(tls(&expired), "", &["Tls", "its certificate expired on 2026-03-01"]).ca(ca()),
        case(tls(&elsewhere), "", &["Tls", "for another name", "elsewhere.example"]).ca(ca()),
        case(format!("https://127.0.0.1:{}", itself.port), IMAGE, &["Ok", &known]).ca(own.path().join("self.pem")),
        case(tls(&itself), "", &["Tls", "for another name"]).ca(own.path().join("self.pem")),
        case(format!("https://127.0.0.1:{}", itself.port), "", &["Tls", "does not trust"]).ca(ca()),
        case(tls(&plain), "", &["Tls", "it speaks no TLS"]),
        case(at(&right), "", &["Tls", "https://"]),
        case(at(&basic), IMAGE, &["Login", "Basic"]),
        case(at(&basic), IMAGE, &["Ok", "None"]).login(),
        case(here(bearer), "", &["Login", "Bearer"]),
        case(here(page), "", &["NoRegistry", "200", "text/html"]),
        case(here(nothing), "", &["NoRegistry", "404"]),
        case(here(away), "", &["NoRegistry", "302"]),
        case(here(to_itself), "", &["NoRegistry", "200", "text/html"]),
        case(here(in_a_circle), "", &["Failing", "circle"]),
        case(here(busy), "", &["Failing", "429", "too many requests"]),
        case(here(broken), "", &["Failing", "503"]),
        case(here(garbage), "", &["Failing"]),
        case(here(huge), "", &["Failing"]),
        case(here(mute), "", &["Failing"]),
        case(here(stalled), "", &["Failing", "did not answer within 6 s"]),
        case(format!("https://127.0.0.1:{stalled}"), "", &["Failing", "did not answer within 5 s"]),
        case(here(endless.0), "", &["Failing", "does not end"]),
        case(here(slow.0), "", &["Failing", "does not end"]),
        case("http://castoff.invalid", "", &["NoName"]),
        case(here(closed), "", &["NoConnection", "efused"]),
        case(format!("https://127.0.0.1:{closed}"), "", &["NoConnection", "efused"]),
        case(format!("{}/v2/infra", here(manifests.0)), "a:1", &["Ok", counted]),
        case(here(manifests.0), "refused:1", &["Ok", counted]),
        case(here(manifests.0), "page:1", &["NoRegistry", "200"]),
        case(here(manifests.0), "text:1", &["Failing", "is no manifest"]),
        case(here(manifests.0), "elsewhere:1", &["Failing", "https://cdn.example/x"]),
        case(here(manifests.0), "private:1", &["Login", "Basic"]),
        case(here(manifests.0), "private:1", &["Ok", "None"]).login(),
        case("http://kim:a-secret@127.0.0.1", "", &["Failing", "holds a login"]),
    ];
    let machines = Machines::start("");
    run(async {
        let (local, forwards) = (machines.runner("local"), machines.runner("ssh://forwards"));
        tokio::join!(check(&local, &cases, "here"), check(&forwards, &cases, "by ssh"));
    });
    let heard = manifests.1.lock().unwrap().join("\n");
    assert!(
        heard.to_ascii_lowercase().contains("accept: application/vnd.docker.distribution.manifest.v2+json, application/vnd"),
        "{heard}"
    );
}

/// castoff's doctor on two hosts, one of which forwards no connections, with logins wherever a client might look for one.
#[test]
fn the_doctor_finds_what_is_wrong_on_each_host_and_no_login_ever_reaches_the_mirror() {
    let own = tempfile::tempdir().unwrap();
    let at = |name: &str| own.path().join(name).display().to_string();
    let put = |name: &str, text: &str| std::fs::write(own.path().join(name), text).unwrap();
    let (mirror, heard) = pretends(&[
        ("/v2/library/busybox/manifests/1", "200 OK", JSON, "{\"schemaVersion\":2}"),
        ("/v2/private/manifests/1", "401 No", "WWW-Authenticate: Basic realm=x\r\n", ""),
    ]);
    let address = format!("http://127.0.0.1:{mirror}");
    let proxy = format!("http://kim:a-secret@127.0.0.1:{mirror}");
    let login = "a2ltOmEtc2VjcmV0"; // kim:a-secret
    put("config.json", &format!("{{\"auths\":{{\"127.0.0.1:{mirror}\":{{\"auth\":\"{login}\"}}}}}}"));
    put(".netrc", "machine 127.0.0.1 login kim password a-secret\n");
    put(".curlrc", &format!("user = \"kim:a-secret\"\nnetrc\nproxy = \"{proxy}\"\n"));
    put("good.json", &format!("{{\"registry-mirrors\": [\"{address}/\"], \"token\": \"a-secret\"}}"));
    put("bad.json", "{\"registry-mirrors\": [\u{201c}x\u{201d}]}");
    put("log", &format!("level=info msg=\"Attempting next endpoint for pull after error: Get \\\"{address}/v2/\\\": EOF\"\n"));
    let machines = Machines::start(&format!("SetEnv HOME={0} CURL_HOME={0} http_proxy={proxy}", own.path().display()));
    let host = |name: &str, file: &str, log: &str| {
        format!("[[hosts]]\nname = \"{name}\"\nhost = \"ssh://{name}\"\n[hosts.docker]\nconfig = \"{}\"\nlog = {log}\n", at(file))
    };
    let cluster = format!(
        "name = \"test\"\n[ssh]\nconfig = \"{}\"\n{}{}",
        machines.config().display(),
        host("forwards", "good.json", "[\"true\"]"),
        host("closed", "bad.json", &format!("[\"cat\", \"{}\"]", at("log"))),
    );
    put("castoff.toml", &cluster);
    let doctor = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_castoff"));
        command.args(["doctor", "mirror", &address, "--cluster", &at("castoff.toml")]).args(more);
        command.env("HOME", own.path()).env("DOCKER_CONFIG", own.path());
        for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"] {
            command.env(name, &proxy);
        }
        let output = command.output().unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(!text.contains("a-secret"), "{text}");
        (output.status.code().unwrap(), text)
    };

    let (code, good) = doctor(&["--host", "forwards"]);
    // Here is no daemon, which the doctor minds.
    assert_eq!(code, 10, "{good}");
    for line in [" + connection", " + file", " ! daemon", " + registry", " + image", " ? log"] {
        assert!(good.contains(line), "`{line}` is not in:\n{good}");
    }
    let (code, both) = doctor(&[]);
    assert_eq!(code, 10, "{both}");
    let closed = both.split_once("\nclosed\n").expect("two hosts").1;
    for line in [" + registry", " + image", " ! file", "is no JSON", " ! log", "the mirror was passed by once", "hint: "] {
        assert!(closed.contains(line), "`{line}` is not in:\n{both}");
    }
    let (code, private) = doctor(&["--image", "private:1", "--format", "json"]);
    assert_eq!(code, 10, "{private}");
    assert_eq!(private.matches("it demands a login (Basic)").count(), 2, "{private}");
    let (code, unknown) = doctor(&["--host", "nobody"]);
    assert!(code == 2 && unknown.contains("it has: forwards, closed"), "{unknown}");

    let heard = heard.lock().unwrap().join("\n");
    assert_eq!(heard.matches("GET /v2/ HTTP").count(), 5, "{heard}");
    assert!(!heard.to_ascii_lowercase().contains("authorization") && !heard.contains(login), "{heard}");

    // What curl over there says is told apart as well.
    let right = registry(Some("server"), "");
    let tls = format!("https://localhost:{}", right.port);
    let closed = support::free_port();
    let stalled = small(|_, _| thread::sleep(Duration::from_secs(30))).0;
    let cases = [
        case(&tls, IMAGE, &["Ok", &digest_of(&right)]).ca(certificates::path("ca.pem")),
        // As a Docker daemon has it: no file is named.
        Case { ca: Some(certificates::path("ca.pem")), ..case(&tls, IMAGE, &["Ok", &digest_of(&right)]) },
        case(&tls, IMAGE, &["Tls", "certificate"]),
        case(&tls, IMAGE, &["Ok", &digest_of(&right)]).insecure(),
        case(&tls, "stable/none:1", &["NoImage"]).insecure(),
        case(format!("http://localhost:{}", right.port), "", &["Tls", "https://"]),
        case(format!("https://127.0.0.1:{mirror}"), "", &["Tls"]),
        case(format!("http://127.0.0.1:{closed}"), "", &["NoConnection"]),
        case("http://castoff.invalid", "", &["NoName"]),
        case(format!("http://127.0.0.1:{stalled}"), "", &["Failing", "did not answer within 6 s"]),
        case(format!("http://127.0.0.1:{mirror}/nowhere"), "a:1", &["NoImage"]),
        case(&address, "library/busybox:1", &["Ok", Digest::of("{\"schemaVersion\":2}").as_str()]),
    ];
    run(async { check(&machines.runner("ssh://closed"), &cases, "by curl").await });
}
