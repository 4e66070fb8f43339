//! The mirror of a Platform9 cluster, put by its cluster API: held against requests and answers kept as files, for there is no
//! real service here. Nothing of a secret stays anywhere.

use castoff::{
    cluster::{Cluster, config::ClusterFile, live::Live, platform9::Platform9Client},
    model::{Change, FaultKind, Part, Row, Standing, Wants},
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use serde_json::{Value, json};
use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    path::Path,
    process::Command,
    sync::{Arc, Mutex},
    time::Duration,
};

const TOKEN: &str = "gAAAAABtoken-of-keystone";
const PASSWORD: &str = "hunter2-of-the-mirror";
const PROJECT: &str = "5f2a9c0e7b1d4c3f8a6e2d9b0c1f4a7e";
const CLUSTER: &str = "b1c2d3e4-0000-4111-8222-933344445555";

fn fixture(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/platform9").join(format!("{name}.json"));
    serde_json::from_str(&fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))).unwrap()
}

/// One request as it came.
fn request(stream: &mut impl Read) -> Option<Value> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
    let (method, path) =
        line.split_once(' ').map(|(method, rest)| (method.to_owned(), rest.split(' ').next().unwrap().to_owned()))?;
    let mut headers = serde_json::Map::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_lowercase(), json!(value));
    }
    let length = headers.get("content-length").and_then(|n| n.as_str()?.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(json!({ "method": method, "path": path, "headers": headers, "body": serde_json::from_slice::<Value>(&body).ok() }))
}

fn answer(stream: &mut impl Write, answer: &Value) {
    let body = answer["body"].as_str().map_or_else(|| answer["body"].to_string(), str::to_owned);
    let headers = answer["headers"].as_object().into_iter().flatten();
    let headers: Vec<String> = headers.map(|(name, value)| format!("{name}: {}\r\n", value.as_str().unwrap())).collect();
    let headers = headers.concat();
    let head = format!("HTTP/1.1 {} x\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n", answer["status"], body.len());
    let _ = stream.write_all((head + &body).as_bytes()).and_then(|()| stream.flush());
}

/// The stand-in: it answers by a function of the request.
fn serve(mut of: impl FnMut(&Value) -> Value + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            if let Some(request) = request(&mut stream) {
                let said = of(&request);
                if said.is_null() {
                    std::thread::sleep(Duration::from_secs(3));
                } else {
                    answer(&mut stream, &said);
                }
            }
        }
    });
    url
}

/// The stand-in that holds the contract: exactly these requests in this order.
struct Contract {
    url: String,
    wrong: Arc<Mutex<Vec<String>>>,
    left: Arc<Mutex<Vec<String>>>,
}

impl Contract {
    fn new(names: &[&str]) -> Self {
        let left: Vec<String> = names.iter().rev().map(|name| (*name).to_owned()).collect();
        let (wrong, left) = (Arc::new(Mutex::new(vec![])), Arc::new(Mutex::new(left)));
        let (told, names) = (Arc::clone(&wrong), Arc::clone(&left));
        let url = serve(move |request| {
            let Some(name) = names.lock().unwrap().pop() else {
                told.lock().unwrap().push(format!("one more: {request}"));
                return json!({ "status": 418 });
            };
            let kept = fixture(&name);
            let wanted = &kept["request"];
            let same = ["method", "path", "body"].iter().all(|part| request[part] == wanted[part])
                && wanted["headers"].as_object().unwrap().iter().all(|(name, value)| request["headers"][name] == *value);
            if !same {
                told.lock().unwrap().push(format!("{name}: {request}"));
            }
            kept["answer"].clone()
        });
        Self { url, wrong, left }
    }

    fn kept(&self) {
        assert_eq!(*self.wrong.lock().unwrap(), Vec::<String>::new());
        assert_eq!(*self.left.lock().unwrap(), Vec::<String>::new(), "never asked");
    }
}

fn text_of(url: &str) -> String {
    format!(
        "name = \"prod\"\n[platform9]\nurl = \"{url}\"\nproject = \"{PROJECT}\"\ncluster = \"{CLUSTER}\"\n\
         token = {{ command = [\"echo\", \"{TOKEN}\"] }}\n[secrets]\nmirror = {{ command = [\"echo\", \"{PASSWORD}\"] }}\n"
    )
}

fn file(url: &str) -> ClusterFile {
    let _ = rustls::crypto::ring::default_provider().install_default();
    ClusterFile::parse(&text_of(url), Path::new("/tmp/castoff.toml")).expect("a good cluster file")
}

fn live(url: &str) -> Live {
    Live::new(file(url), || 0).unwrap()
}

fn client(url: &str) -> Platform9Client {
    Platform9Client::new(file(url).platform9.as_ref().unwrap()).unwrap().waits(Duration::from_secs(1))
}

/// The mirror of the fixtures, from none.
fn change() -> Change {
    let fields = |name: &str, part: &str| -> Row {
        let all = fixture(name)[part]["body"].as_object().unwrap().clone();
        all.into_iter().filter(|(name, _)| name.starts_with("customRegistry")).collect()
    };
    let mut after = fields("put", "request");
    after.insert("customRegistryPassword".to_owned(), json!("(secret mirror)"));
    Change::Platform9 { cluster: CLUSTER.to_owned(), name: "prod".to_owned(), before: fields("get-before", "answer"), after }
}

fn block<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
}

/// Keeps what the journal is told.
#[derive(Default)]
struct Told(Mutex<Vec<String>>);

impl castoff::cluster::Watch for Told {
    fn progress(&self, _: &str, _: u64, _: u64) {}

    fn told(&self, words: &str) {
        self.0.lock().unwrap().push(words.to_owned());
    }
}

fn told_of(names: &[&str]) -> (Result<(), castoff::model::Fault>, Vec<String>) {
    let contract = Contract::new(names);
    let told = Told::default();
    let result = block(live(&contract.url).apply(&change(), &told));
    contract.kept();
    (result, told.0.into_inner().unwrap())
}

#[test]
fn the_mirror_is_put_and_put_back_by_the_words_of_the_contract() {
    let contract = Contract::new(&["get-before", "get-before", "put", "get-after", "get-after", "put-back", "get-before"]);
    block(async {
        let (live, change, told) = (live(&contract.url), change(), Told::default());
        assert_eq!(live.standing(&change).await, Ok(Standing::Before));
        live.apply(&change, &told).await.unwrap();
        assert_eq!(live.standing(&change).await, Ok(Standing::After));
        live.undo(&change, &told).await.unwrap();
        assert_eq!(live.standing(&change).await, Ok(Standing::Before));
        assert_eq!(*told.0.lock().unwrap(), ["Platform9 answered 200, without a body"; 2]);
    });
    contract.kept();
}

#[test]
fn an_answer_is_kept_without_the_password_that_it_repeats() {
    let (result, told) = told_of(&["get-before", "put-echo"]);
    result.unwrap();
    let [told] = &told[..] else { panic!("{told:?}") };
    assert!(
        told.starts_with("Platform9 answered 200: status ok, taskStatus success, customRegistryUrl https://10.101"),
        "{told}"
    );
    assert!(told.contains("customRegistryPassword (hidden)") && !told.contains(PASSWORD), "{told}");
}

#[test]
fn a_refusal_is_told_by_its_kind_and_words_and_holds_no_secret() {
    let check = |names: &[&str], kind: FaultKind, why: &str, hint: &str| {
        let (result, told) = told_of(names);
        let fault = result.expect_err(why);
        let all = format!("{fault} {:?}", fault.hint);
        assert_eq!(fault.kind, kind, "{all}");
        assert!(fault.why.contains(why) && fault.hint.as_deref().unwrap_or_default().contains(hint), "{all}");
        assert!(!all.contains(TOKEN) && !all.contains(PASSWORD) && !all.contains('\u{1b}') && told.is_empty(), "{all}");
    };
    check(
        &["get-401"],
        FaultKind::Denied,
        "401: The request you have made requires authentication. Token (hidden) is",
        "a new one",
    );
    check(&["get-403"], FaultKind::Denied, "403: unauthorized to perform this operation", "another project");
    check(&["get-404"], FaultKind::Missing, "404: Cluster not found", "`cluster` of `[platform9]`");
    check(&["get-html"], FaultKind::Lasting, "it answered 200 OK without a cluster", "management plane");
    check(&["get-list"], FaultKind::Lasting, "it answered 200 OK without a cluster", "management plane");
    check(&["get-another-cluster"], FaultKind::Lasting, "it answered with cluster `ffffffff", "management plane");
    check(&["get-redirect"], FaultKind::Lasting, "answered 302", "follows no redirect");
    check(&["get-others"], FaultKind::Drift, "`customRegistryUrl` is \"https://other.example\"", "");
    check(&["get-before", "put-400"], FaultKind::Lasting, "400: customRegistryPassword ", "");
    check(&["get-before", "put-409"], FaultKind::Lasting, "409: Cluster is being updated", "another task");
    check(&["get-before", "put-500"], FaultKind::Passing, "500: a page of HTML", "");
}

#[test]
fn an_answer_that_does_not_come_is_waited_for_no_longer_than_said() {
    let url = serve(|_| Value::Null);
    let fault = block(client(&url).read()).unwrap_err();
    assert_eq!((fault.kind, fault.why.as_str()), (FaultKind::Passing, "it did not answer within 1 s"));
    // Where nobody listens; a port that was free a moment ago may be somebody's.
    let fault = block(client("http://127.0.0.1:1").read()).unwrap_err();
    assert!(fault.kind == FaultKind::Passing && fault.why.contains("refused"), "{fault}");
}

#[test]
fn a_yes_that_changed_nothing_is_seen_for_one() {
    // An API from before these parameters: it says 200 and forgets them.
    let contract = Contract::new(&["get-old", "put", "get-old"]);
    block(async {
        let (live, change) = (live(&contract.url), change());
        live.apply(&change, &|_: &str, _, _| ()).await.unwrap();
        assert_eq!(live.standing(&change).await, Ok(Standing::Before));
    });
    contract.kept();
}

#[test]
fn a_token_goes_by_tls_to_whom_it_trusts_and_to_nobody_else() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = tempfile::tempdir().unwrap();
    for name in ["ca", "other"] {
        let mut openssl = Command::new("openssl");
        openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"]);
        openssl.args(["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]);
        openssl.args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout"]);
        openssl.arg(folder.path().join(format!("{name}.key"))).arg("-out").arg(folder.path().join(format!("{name}.pem")));
        assert!(openssl.output().unwrap().status.success());
    }
    let cert = CertificateDer::from_pem_file(folder.path().join("ca.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(folder.path().join("ca.key")).unwrap();
    let config = Arc::new(rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(vec![cert], key).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let heard = Arc::new(Mutex::new(0));
    let hears = Arc::clone(&heard);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut session = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut tls = rustls::Stream::new(&mut session, &mut stream);
            if request(&mut tls).is_some() {
                *hears.lock().unwrap() += 1;
                answer(&mut tls, &fixture("get-before")["answer"]);
            }
        }
    });
    let read = |ca: &str| {
        let mut config = file(&url).platform9.unwrap();
        config.ca = Some(folder.path().join(ca));
        block(Platform9Client::new(&config).unwrap().waits(Duration::from_secs(5)).read())
    };
    assert_eq!(read("ca.pem").unwrap().name, "prod");
    let fault = read("other.pem").unwrap_err();
    assert!(fault.kind == FaultKind::Lasting && fault.hint.as_deref().unwrap_or_default().contains("[platform9]"), "{fault:?}");
    assert_eq!(*heard.lock().unwrap(), 1, "who is not trusted heard a request");
}

#[test]
fn the_cluster_file_says_where_it_is_and_what_is_wrong_with_that_is_shown_in_its_line() {
    let check = |from: &str, to: &str, place: &str, words: &str| {
        let text = text_of("https://account.platform9.net").replace(from, to);
        let error = ClusterFile::parse(&text, Path::new("/tmp/castoff.toml")).expect_err(to).to_string();
        assert!(error.contains(place) && error.contains(words) && !error.contains("hunter2"), "{to}\n{error}");
    };
    check("https://account", "http://account", ":3:7", "the token would go over the network");
    check("https://account.platform9.net", "account.platform9.net", ":3:7", "no address of a management plane");
    check(PROJECT, "../../keystone", ":4:11", "`../../keystone` is no UUID");
    check(CLUSTER, "prod", ":5:11", "`prod` is no UUID");
    check("token = { command = [\"echo\", \"gAAAAABtoken-of-keystone\"] }", "token = \"hunter2\"", ":6:9", "where the token is");
    check("token = { command = [\"echo\", \"gAAAAABtoken-of-keystone\"] }", "token = { env = \"\" }", ":6:9", "name is empty");
    check("project =", "porject =", ":4:1", "did you mean `project`?");
}

#[test]
fn without_a_section_the_plan_says_so_and_reads_nothing() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let none = ClusterFile::parse("name = \"prod\"\n", Path::new("/tmp/castoff.toml")).unwrap();
    let wants = Wants { parts: [Part::Platform9].into(), ..Wants::default() };
    let world = block(Live::new(none, || 0).unwrap().read(&wants));
    assert!(world.platform9.is_none() && world.unanswered[0].why.contains("does not name it"), "{world:?}");
}

/// castoff itself, on a runbook of one step.
#[test]
fn a_run_puts_it_and_a_rollback_puts_it_back_and_no_secret_stays() {
    let state = Arc::new(Mutex::new(fixture("get-before")["answer"]["body"].clone()));
    let there = Arc::clone(&state);
    let url = serve(move |request| {
        let mut there = there.lock().unwrap();
        if request["method"] == "PUT" {
            let sent = request["body"].as_object().unwrap();
            there.as_object_mut().unwrap().extend(sent.clone());
        }
        json!({ "status": 200, "body": *there })
    });
    let folder = tempfile::tempdir().unwrap();
    let (cluster, runbook) = (folder.path().join("cluster.toml"), folder.path().join("own.toml"));
    fs::write(&cluster, text_of(&url)).unwrap();
    fs::write(&runbook, include_str!("fixtures/platform9/runbook.toml")).unwrap();
    let kept = folder.path().join("state");
    let mut all = String::new();
    let mut castoff = |words: &[&str], code: i32| {
        let mut castoff = Command::new(env!("CARGO_BIN_EXE_castoff"));
        let said = castoff.args(words).arg("--cluster").arg(&cluster).arg("--state").arg(&kept).output().unwrap();
        let text = String::from_utf8_lossy(&[said.stdout, said.stderr].concat()).into_owned();
        assert_eq!(said.status.code(), Some(code), "{words:?}: {text}");
        all.push_str(&text);
        text
    };
    let runbook = runbook.to_str().unwrap();
    let plan = castoff(&["plan", runbook], 10);
    for words in [
        "cluster prod of Platform9",
        "1 cluster to change",
        "customRegistryPassword = \"(secret mirror)\"",
        "nodelet",
        "never the real service",
        "quay.io",
    ] {
        assert!(plan.contains(words), "{words}: {plan}");
    }
    castoff(&["run", runbook, "--headless"], 0);
    assert_eq!(state.lock().unwrap()["customRegistryPassword"], PASSWORD);
    let again = castoff(&["plan", runbook], 0);
    assert!(again.contains("cannot be seen"), "{again}");
    let log = castoff(&["log"], 0);
    assert!(log.contains("Platform9 answered 200: status ok"), "{log}");
    castoff(&["report"], 0);
    let name = plan.split_once("plan ").unwrap().1.split(' ').next().unwrap();
    castoff(&["rollback", "--headless", "--approve", &format!("rollback={name}")], 16);
    assert_eq!(*state.lock().unwrap(), fixture("get-before")["answer"]["body"]);
    assert!(!all.contains(PASSWORD) && !all.contains(TOKEN), "{all}");
    let grep = Command::new("grep").args(["-rlaE", &format!("{PASSWORD}|{TOKEN}")]).arg(&kept).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&grep.stdout), "", "a secret is kept");
}
