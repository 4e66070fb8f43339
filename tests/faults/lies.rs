//! Servers that answer well and did nothing, or give other things than they say: the run fails and says why.
//! A lie is never told to a client that is looked at alone: the engine runs, and the journal is what counts.

use crate::{
    Swept,
    engine::{self, HOST, JULIA, PYTHON, Way},
    etcd, postgres,
    proxy::{At, Fault, Proxy},
    run,
    scene::{Case, Phase, Scene},
};
use castoff::{
    cluster::{Cluster, live::Live, registry::RegistryClient},
    engine::{Ending, Engine, Setup},
    journal::{self, Journal},
    model::{
        Change, ChangeId, Command, Digest, Entry, Event, FaultKind, Limits, Plan, PlannedChange, PlannedStep, Stamped, Totals,
        WayBack,
    },
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::mpsc;

/// A plan of this one change.
fn plan_of(change: Change) -> Plan {
    let id = ChangeId { step: 0, n: 0 };
    let planned = PlannedChange {
        id,
        kind: change.kind().to_owned(),
        subject: change.subject(),
        place: change.place().to_owned(),
        before: String::new(),
        after: String::new(),
        reversible: true,
        way_back: WayBack::Whole,
        found: false,
        change,
        requests: 0,
    };
    let step = PlannedStep {
        id: "one".to_owned(),
        title: "one change".to_owned(),
        action: "point-aliases".to_owned(),
        summary: String::new(),
        gate: None,
        waves: None,
        changes: vec![planned],
        kept: vec![],
    };
    Plan {
        v: castoff::model::plan::PLAN_VERSION,
        plan: "00000000".to_owned(),
        runbook: "faults".to_owned(),
        title: "faults".to_owned(),
        cluster: "faults".to_owned(),
        read_at_ms: 0,
        found: String::new(),
        steps: vec![step],
        ledger: vec![],
        wants: castoff::model::Wants::backend_ai(),
        totals: Totals::default(),
        limits: Limits::default(),
        notes: vec![],
        blockers: vec![],
    }
}

/// Runs one change to its end, or to where it waits for a person.
pub async fn run_of(live: Live, change: Change) -> (Ending, Vec<Stamped>) {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::create(folder.path(), "run", "test").await.unwrap();
    let (to_engine, commands) = mpsc::channel(8);
    let (events, mut from_engine) = mpsc::channel(64);
    let setup = Setup {
        recheck: Duration::from_millis(1),
        backoff: Duration::from_millis(1),
        ..Setup::new(Arc::new(live), journal, (commands, events), "test", || 1_800_000_000_000)
    };
    let task = tokio::spawn(Engine::new(setup).await.unwrap().run(Some(Arc::new(plan_of(change)))));
    to_engine.send(Command::Begin).await.unwrap();
    while let Some(event) = from_engine.recv().await {
        if matches!(&event, Event::Entry(stamped) if matches!(stamped.entry, Entry::Failed { .. })) {
            to_engine.send(Command::Stop).await.unwrap();
        }
    }
    let ending = task.await.unwrap().unwrap();
    (ending, journal::read(folder.path(), "run").await.unwrap())
}

/// It failed with this kind and these words, and nothing is called done.
async fn fails(what: &str, scene: Scene, kind: FaultKind, words: &[&str]) {
    let begun = Instant::now();
    let (ending, entries) = Box::pin(run_of(scene.live, scene.change)).await;
    let done = entries.iter().any(|one| matches!(one.entry, Entry::Done { .. } | Entry::Found { .. }));
    let failed =
        entries.iter().find_map(|one| if let Entry::Failed { fault, .. } = &one.entry { Some(fault.clone()) } else { None });
    assert!(!done, "{what}: {entries:#?}");
    let failed = failed.unwrap_or_else(|| panic!("{what}: {ending:?} {entries:#?}"));
    if std::env::var_os("CASTOFF_FAULTS_SHOWN").is_some() {
        println!("{what} {:.1} s: {:?} {failed}", begun.elapsed().as_secs_f64(), failed.kind);
    }
    assert_eq!(failed.kind, kind, "{what}: {failed}");
    assert!(words.iter().all(|word| failed.to_string().contains(word)), "{what}: {failed}");
}

const CREATED: &str = "HTTP/1.1 201 Created\r\nApi-Version: 1.41\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

fn ok(body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
}

#[test]
fn an_engine_that_answers_well_and_did_nothing_fails_the_run() {
    let _swept = Swept::begin();
    run(async {
        let tag = engine::tag(Way::Unix, "gpu-1", 2000).await;
        tag.proxy.lie(b"/tag?", CREATED);
        fails("a tag", tag, FaultKind::Lasting, &["no change"]).await;

        let removal = engine::remove(Way::Unix, "gpu-1", 2000).await;
        removal.proxy.lie(b"DELETE ", &ok("[]"));
        fails("a removal", removal, FaultKind::Lasting, &["no change"]).await;

        let pull = engine::pull(Way::Unix, "gpu-1").await;
        let said = "{\"status\":\"Digest: sha256:0\"}\r\n{\"status\":\"Status: Downloaded newer image for it\"}\r\n";
        pull.proxy.lie(b"/images/create", &ok(said));
        fails("a pull", pull, FaultKind::Passing, &["the engine said it is there, but it is not", JULIA]).await;

        // The stream ends politely in the middle, as that of an engine does that is stopped.
        let pull = engine::pull(Way::Unix, "gpu-1").await;
        pull.proxy.lie(b"/images/create", &ok("{\"status\":\"Pulling fs layer\",\"id\":\"aaaaaaaaaaaa\"}\r\n"));
        fails("half a pull", pull, FaultKind::Passing, &["broke off", JULIA]).await;
    });
}

#[test]
fn a_write_that_is_not_there_on_reading_back_fails_the_run() {
    run(async {
        let server = Arc::new(etcd::server().await);
        let keys = etcd::scene(Arc::clone(&server), 0).await;
        keys.proxy.mishear(b"new-of-0.", b"lie-of-0.");
        fails("keys", keys, FaultKind::Drift, &["is `lie-of-0.`"]).await;

        let database = Arc::new(postgres::database().await);
        let case = Case { phase: Phase::Write, fault: Fault::Refuse };
        // The server says that it ended the transaction, and how: it was undone.
        let rows = postgres::rows(Arc::clone(&database), 0, case.clone()).await;
        rows.proxy.mishear(b"COMMIT\0", b"ABORT;\0");
        fails("rows", rows, FaultKind::Lasting, &["no change"]).await;
        let alias = postgres::alias(Arc::clone(&database), 0, case).await;
        alias.proxy.mishear(b"COMMIT\0", b"ABORT;\0");
        fails("an alias", alias, FaultKind::Lasting, &["no change"]).await;
        assert_eq!(database.texts("SELECT of FROM written").await, Vec::<String>::new());
    });
}

#[test]
fn a_registry_whose_bytes_are_not_those_of_its_digest_is_not_believed() {
    let _swept = Swept::begin();
    run(async {
        let file = engine::lab_file();
        let config = &file.registries["cr.backend.ai"];
        let image = format!("cr.backend.ai/{JULIA}").parse().unwrap();
        for (from, to, why) in [
            ("\"schemaVersion\"", "\"schemaversion\"", "do not fit the digest"),
            ("\"architecture\"", "\"architectUre\"", "other bytes for"),
        ] {
            let proxy = Proxy::tcp(At::Tcp(etcd::port_of(&config.url))).await;
            proxy.rewrite(from.as_bytes(), to.as_bytes());
            let url = format!("http://127.0.0.1:{}", proxy.port());
            // Its tokens come from where it really is: the cluster file has to say that it may know the login.
            let realm = Some(config.url.clone());
            let config = castoff::cluster::config::RegistryConfig { url, realm, ..config.clone() };
            let client = RegistryClient::new("cr.backend.ai", &config, "amd64").unwrap();
            let fault = client.manifest(&image).await.unwrap_err();
            assert!(fault.kind == FaultKind::Lasting && fault.why.contains(why), "{fault}");
        }
        // The same registry asked by an engine, which may know the manifest from an earlier pull, but not the configuration.
        let proxy = Proxy::tcp(At::Tcp(engine::registry_port())).await;
        proxy.rewrite(b"\"architecture\"", b"\"architectUre\"");
        let scene = engine::pull(Way::Unix, "gpu-1").await;
        let change = engine::pull_from(proxy.port()).await;
        fails("a pull of other bytes", Scene { change, ..scene }, FaultKind::Lasting, &["cannot pull", "verif"]).await;
    });
}

#[test]
fn an_image_that_is_not_the_planned_one_never_gets_its_name() {
    let _swept = Swept::begin();
    run(async {
        let scene = engine::pull(Way::Unix, "gpu-1").await;
        let Change::Pull { host, image, digest, before, size_bytes, .. } = scene.change.clone() else { unreachable!() };
        let id: Digest = format!("sha256:{}", "0".repeat(64)).parse().unwrap();
        let change = Change::Pull { host, image: image.clone(), digest, id, before, size_bytes };
        fails("another image", Scene { change, ..scene }, FaultKind::Lasting, &["the plan expects", HOST]).await;
        assert_eq!(engine::id_of("gpu-1", &image.to_string()).await, None);
        assert!(engine::id_of("gpu-1", PYTHON).await.is_some());
    });
}

#[test]
fn a_registry_that_breaks_in_the_middle_of_a_pull_is_asked_again() {
    let _swept = Swept::begin();
    run(async {
        // The engine gives up over a manifest at once; castoff does not.
        for (fault, words) in [
            (Fault::Refuse, "connection re"),
            (Fault::Cut(0), "EOF"),
            (Fault::Reset(0), "reset"),
            (Fault::Says("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"), "503"),
            (Fault::Says("HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"), "429"),
            (Fault::Says("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"), "500"),
        ] {
            let proxy = Proxy::tcp(At::Tcp(engine::registry_port())).await;
            let live = engine::directly("gpu-1");
            let change = engine::pull_from(proxy.port()).await;
            let silent = |_: &str, _: u64, _: u64| {};
            proxy.order(fault.clone(), crate::proxy::When::Question(b"/manifests/".to_vec())).await;
            let told = live.apply(&change, &silent).await.unwrap_err();
            assert!(proxy.has_struck() && told.kind == FaultKind::Passing, "{fault:?}: {:?} {told}", told.kind);
            assert!(told.why.contains(words) && told.what.contains(JULIA), "{fault:?}: {told}");
            proxy.heal().await;
            live.apply(&change, &silent).await.unwrap_or_else(|again| panic!("{fault:?}: {again}"));
            assert_eq!(live.standing(&change).await, Ok(castoff::model::Standing::After));
            live.undo(&change, &silent).await.unwrap();
        }
    });
}
