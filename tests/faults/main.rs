//! The outside misbehaves: castoff's real clients against real servers behind a proxy that does not do as it should.
//!
//! `lab/up --name faults --no-manager`, then `CASTOFF_LAB=$PWD/lab/.state/faults cargo test --test faults`.

mod engine;
mod etcd;
mod lies;
mod postgres;
mod proxy;
mod registry;
mod scene;
mod ssh;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "the tests of two operators need more of the servers")]
mod support;
mod tls;

use engine::Way;
use proxy::Fault;
use scene::{Case, Phase, Scene, play};
use std::{
    future::Future,
    path::PathBuf,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};
use support::ports;
use tokio::{sync::Semaphore, task::JoinSet};

fn run<T>(test: impl Future<Output = T>) -> T {
    let _ = rustls::crypto::ring::default_provider().install_default();
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(test)
}

/// The lab's state folder.
fn lab() -> PathBuf {
    std::env::var_os("CASTOFF_LAB").map(PathBuf::from).expect("CASTOFF_LAB names no lab: run `make test`, which starts one")
}

type Making = Pin<Box<dyn Future<Output = Scene> + Send>>;

/// Plays all cases of a subject; each has a scene of its own.
async fn play_all(subject: &str, turns: usize, cases: Vec<Case>, make: impl Fn(usize, &Case) -> Making) -> Vec<String> {
    let (begun, count) = (Instant::now(), cases.len());
    let turns = Arc::new(Semaphore::new(turns));
    let mut playing = JoinSet::new();
    for (n, case) in cases.into_iter().enumerate() {
        let (scene, turns) = (make(n, &case), Arc::clone(&turns));
        playing.spawn(async move {
            let _turn = turns.acquire_owned().await;
            play(scene.await, &case).await.map_err(|why| format!("{:?}: {:?}: {why}", case.phase, case.fault))
        });
    }
    let mut wrong: Vec<String> = playing.join_all().await.into_iter().filter_map(Result::err).collect();
    wrong.sort();
    println!("{subject}: {count} cases in {:.1} s", begun.elapsed().as_secs_f64());
    wrong.iter().map(|why| format!("{subject}: {why}")).collect()
}

/// Fails with everything that is wrong, not only with the first.
#[track_caller]
fn nothing_is(wrong: &[Vec<String>]) {
    let wrong: Vec<&str> = wrong.iter().flatten().map(String::as_str).collect();
    assert!(wrong.is_empty(), "{} cases are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// What is played: in `make test` the longest silence once for each client, in `make soak` everywhere.
#[derive(Clone, Copy, PartialEq)]
enum Extent {
    Short,
    Whole,
}

fn cases(extent: Extent, phases: &[Phase], faults: &[Fault]) -> Vec<Case> {
    let mut cases = scene::product(phases, faults);
    cases.retain(|case| extent == Extent::Whole || case.fault != Fault::Stall || case.phase == Phase::Connect);
    cases
}

fn of_http() -> Vec<Fault> {
    scene::FAULTS.into_iter().chain(scene::OF_HTTP).collect()
}

async fn stores(extent: Extent) -> Vec<Vec<String>> {
    let (server, database) = (Arc::new(etcd::server().await), Arc::new(postgres::database().await));
    let keys = cases(extent, &Phase::ALL, &scene::FAULTS);
    let rows = keys.clone();
    // The client is the same: in short, only what an alias does in its own way.
    let own = [Phase::Write, Phase::Answer, Phase::UndoAnswer];
    let chosen = |case: &&Case| case.phase != Phase::Login && (extent == Extent::Whole || own.contains(&case.phase));
    let aliases = keys.iter().filter(chosen).cloned().collect();
    let other = Arc::clone(&database);
    let (keys, rows, aliases) = tokio::join!(
        play_all("etcd, keys", 16, keys, |n, _| Box::pin(etcd::scene(Arc::clone(&server), n))),
        play_all("PostgreSQL, rows", 16, rows, |n, case| Box::pin(postgres::rows(Arc::clone(&database), n, case.clone()))),
        play_all("PostgreSQL, aliases", 16, aliases, |n, case| Box::pin(postgres::alias(Arc::clone(&other), n, case.clone()))),
    );
    vec![keys, rows, aliases]
}

async fn engines(extent: Extent) -> Vec<Vec<String>> {
    let tags = cases(extent, &Phase::ALL, &of_http());
    // By another way only what the way can spoil.
    let own = [Phase::Connect, Phase::Write, Phase::UndoAnswer];
    let removals = cases(extent, if extent == Extent::Short { &own } else { &Phase::ALL }, &of_http());
    let (tags, removals) = tokio::join!(
        play_all("Engine by unix socket, tags", 12, tags, |n, _| Box::pin(engine::tag(Way::Unix, "gpu-1", n))),
        play_all("Engine by TCP, removals", 12, removals, |n, _| Box::pin(engine::remove(Way::Tcp, "gpu-2", n))),
    );
    vec![tags, removals]
}

/// One at a time: they bring the same image.
async fn pulls() -> Vec<Vec<String>> {
    let faults: Vec<Fault> = of_http().into_iter().filter(|fault| *fault != Fault::Stall).collect();
    let cases = scene::product(&[Phase::Write, Phase::Answer, Phase::Undo], &faults);
    let (some, others) = cases.split_at(cases.len() / 2);
    let (unix, tcp) = tokio::join!(
        play_all("Engine by unix socket, pulls", 1, some.to_vec(), |_, _| Box::pin(engine::pull(Way::Unix, "gpu-1"))),
        play_all("Engine by TCP, pulls", 1, others.to_vec(), |_, _| Box::pin(engine::pull(Way::Tcp, "gpu-2"))),
    );
    vec![unix, tcp]
}

async fn registries(extent: Extent) -> Vec<Vec<String>> {
    let (begun, mut playing) = (Instant::now(), JoinSet::new());
    // The registry of the lab is slow when all ask at once.
    let turns = Arc::new(Semaphore::new(16));
    for phase in registry::PHASES {
        for fault in of_http() {
            if extent == Extent::Short && fault == Fault::Stall && phase.0 != "connect" {
                continue;
            }
            let turns = Arc::clone(&turns);
            playing.spawn(async move {
                let _turn = turns.acquire_owned().await;
                let played = registry::play(phase, fault.clone()).await;
                played.map_err(|why| format!("registry: {}: {fault:?}: {why}", phase.0))
            });
        }
    }
    let count = playing.len();
    let mut wrong: Vec<String> = playing.join_all().await.into_iter().filter_map(Result::err).collect();
    wrong.sort();
    println!("registry: {count} cases in {:.1} s", begun.elapsed().as_secs_f64());
    vec![wrong]
}

async fn by_ssh(extent: Extent) -> Vec<Vec<String>> {
    let some = [Phase::Connect, Phase::Write];
    let all = [Phase::Connect, Phase::Login, Phase::Write, Phase::Back, Phase::Undo, Phase::Inventory];
    let of_tags = cases(extent, if extent == Extent::Short { &some } else { &all }, &scene::FAULTS);
    // A command takes long enough to be lost in the middle.
    let in_the_middle: &[Phase] = if extent == Extent::Short { &[Phase::Answer] } else { &[Phase::Answer, Phase::UndoAnswer] };
    let of_services = [of_tags.clone(), cases(extent, in_the_middle, &scene::FAULTS)].concat();
    let (tags, services) = tokio::join!(
        play_all("Engine over ssh, tags", 5, of_tags, |n, _| Box::pin(ssh::tag(n))),
        play_all("manager over ssh, its service", 5, of_services, |_, case| Box::pin(ssh::manager(case.phase))),
    );
    vec![tags, services]
}

/// The lab's engines are shared: one test at a time.
static TURN: Mutex<()> = Mutex::new(());

/// The engines as they were, before and after.
struct Swept(#[expect(dead_code, reason = "a turn ends when it is dropped")] MutexGuard<'static, ()>);

impl Swept {
    fn begin() -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        engine::at_the_start();
        ["gpu-1", "gpu-2", "gpu-3"].into_iter().for_each(engine::sweep);
        Self(turn)
    }
}

impl Drop for Swept {
    fn drop(&mut self) {
        ["gpu-1", "gpu-2", "gpu-3"].into_iter().for_each(engine::sweep);
    }
}

#[test]
fn whatever_happens_on_the_way_every_call_ends_by_its_deadline_and_the_change_is_made_once() {
    let _swept = Swept::begin();
    run(async {
        let (stores, engines, registries, by_ssh) = tokio::join!(
            stores(Extent::Short),
            async { [engines(Extent::Short).await, pulls().await].concat() },
            registries(Extent::Short),
            by_ssh(Extent::Short)
        );
        nothing_is(&[stores, engines, registries, by_ssh].concat());
    });
}

#[test]
#[ignore = "soak"]
fn every_fault_at_every_phase_of_stores_and_registries() {
    run(async { nothing_is(&[stores(Extent::Whole).await, registries(Extent::Whole).await].concat()) });
}

#[test]
#[ignore = "soak"]
fn every_fault_at_every_phase_of_engines_and_ssh() {
    let _swept = Swept::begin();
    run(async { nothing_is(&[engines(Extent::Whole).await, by_ssh(Extent::Whole).await].concat()) });
}
