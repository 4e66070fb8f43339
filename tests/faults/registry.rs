//! Manifests and lists of the lab's registry, with its token service behind the same proxy.

use crate::{
    engine::{JULIA, lab_file},
    proxy::{At, Fault, Proxy, When},
    scene::expected,
};
use castoff::{
    cluster::registry::RegistryClient,
    model::{self, FaultKind},
};
use std::time::{Duration, Instant};

/// Where the fault begins, by what the client has asked last.
pub const PHASES: [(&str, &str); 7] = [
    ("connect", ""),
    ("challenge", "/v2/community/julia/manifests/"),
    ("token", "/service/token"),
    ("manifest", "Bearer "),
    ("configuration", "/blobs/"),
    ("list", "_catalog"),
    ("tags", "/tags/list"),
];

fn causes(fault: &Fault) -> Option<(FaultKind, &'static [&'static str])> {
    match fault {
        // Whole by its own length, and yet not what its digest says, or no list.
        Fault::Length(-3) => Some((FaultKind::Lasting, &["other bytes", "not fit", "not be read", "no token"])),
        _ => None,
    }
}

pub async fn play((phase, mark): (&str, &str), fault: Fault) -> Result<(), String> {
    let config = lab_file().registries["cr.backend.ai"].clone();
    let port = crate::etcd::port_of(&config.url);
    let proxy = Proxy::tcp(At::Tcp(port)).await;
    let url = format!("http://127.0.0.1:{}", proxy.port());
    // The token service is named by the registry itself.
    proxy.rewrite(format!("127.0.0.1:{port}").as_bytes(), format!("127.0.0.1:{}", proxy.port()).as_bytes());
    let config = castoff::cluster::config::RegistryConfig { url, ..config };
    let client = RegistryClient::new("cr.backend.ai", &config, "amd64").unwrap();
    let image = format!("cr.backend.ai/{JULIA}").parse().unwrap();
    let when = if mark.is_empty() { When::Now } else { When::Question(mark.into()) };
    proxy.order(fault.clone(), when).await;
    let ask = async || {
        if phase == "list" || phase == "tags" {
            client.list("community").await.map(|_| ())
        } else {
            client.manifest(&image).await.map(|_| ())
        }
    };
    let begun = Instant::now();
    let answer: Result<(), model::Fault> = ask().await;
    let took = begun.elapsed();
    if !proxy.has_struck() {
        return Err("the fault never began: its mark was not seen".to_owned());
    }
    if took > Duration::from_secs(32) {
        return Err(format!("it took {:.1} s: {answer:?}", took.as_secs_f64()));
    }
    match (expected(causes, &fault), &answer) {
        (None, Ok(())) => {}
        (Some((kind, causes)), Err(answer)) => {
            if std::env::var_os("CASTOFF_FAULTS_SHOWN").is_some() {
                println!("{phase} {fault:?} {:.1} s: {:?} {answer}", took.as_secs_f64(), answer.kind);
            }
            let named = answer.what.contains("cr.backend.ai");
            if answer.kind != kind || !named || !causes.iter().any(|cause| answer.why.contains(cause)) {
                return Err(format!("{:?} {answer} | {:?}", answer.kind, answer.hint));
            }
        }
        (expected, answer) => return Err(format!("{answer:?} where {expected:?} is right")),
    }
    proxy.heal().await;
    ask().await.map_err(|fault| format!("afterwards: {fault}"))
}
