//! An engine and a manager behind ssh. What passes here is encrypted, so a fault begins with a call and not with a word.

use crate::{
    engine::{self, HOST, PYTHON},
    lab,
    proxy::{At, Fault, Proxy},
    scene::{Marks, Phase, Scene},
};
use castoff::{
    cluster::{
        config::{ClusterFile, ManagerConfig, ServiceConfig, Ssh},
        live::Live,
    },
    model::{Change, FaultKind, Part, Service},
};
use std::{path::Path, sync::Arc, time::Duration};

/// The lab's sshd behind a proxy, and the lab's ssh configuration that leads there.
async fn way(folder: &Path) -> (Proxy, Ssh) {
    let config = std::fs::read_to_string(lab().join("ssh/config")).unwrap();
    let port: u16 = config.lines().find_map(|line| line.trim().strip_prefix("Port ")).unwrap().parse().unwrap();
    let proxy = Proxy::tcp(At::Tcp(port)).await;
    let known = std::fs::read_to_string(lab().join("ssh/known_hosts")).unwrap();
    let (here, there) = (format!("]:{port} "), format!("]:{} ", proxy.port()));
    std::fs::write(folder.join("known"), known.replace(&here, &there)).unwrap();
    let known = lab().join("ssh/known_hosts").display().to_string();
    let config = config
        .replace(&format!("Port {port}"), &format!("Port {}", proxy.port()))
        .replace(&known, &folder.join("known").display().to_string());
    std::fs::write(folder.join("config"), config).unwrap();
    (proxy, Ssh { config: Some(folder.join("config")) })
}

fn marks() -> Marks {
    // Of the client's first words, the only ones that can be read.
    Marks { login: "SSH-2.0-".into(), read: vec![], write: vec![], commit: vec![], undo: vec![] }
}

/// What ssh says.
fn causes(fault: &Fault) -> Option<(FaultKind, &'static [&'static str])> {
    match fault {
        Fault::Stall => Some((FaultKind::Passing, &["timed out", "no answer", "did not answer", "did not end", "broke off"])),
        Fault::Refuse | Fault::Cut(_) | Fault::CutRequest(_) | Fault::Reset(_) => {
            Some((FaultKind::Passing, &["refused", "reset", "closed", "broke", "pipe", "without a word"]))
        }
        Fault::Garbage => {
            Some((FaultKind::Passing, &["timed out", "reset", "refused", "closed", "broke", "pipe", "invalid", "without a word"]))
        }
        _ => None,
    }
}

/// An image of gpu-3 gets a second name, by a forwarded socket.
pub async fn tag(n: usize) -> Scene {
    let folder = tempfile::tempdir().unwrap();
    let (proxy, ssh) = way(folder.path()).await;
    let mut file: ClusterFile = engine::alone(format!("ssh://root@gpu-3{}", engine::socket("gpu-3").display()));
    file.ssh = ssh;
    let id = engine::python("gpu-3").await;
    let image = format!("faults.example/ssh/tag:n{n}").parse().unwrap();
    let change = Change::Tag { host: HOST.to_owned(), image, from: PYTHON.parse().unwrap(), id, before: None };
    let (proxy, now) = (Arc::new(proxy), change.clone());
    Scene {
        live: Live::new(file, || 0).unwrap(),
        proxy,
        change,
        marks: marks(),
        subject: format!("`{HOST}`"),
        part: Part::Hosts,
        // 5 s to see that the connection is dead, 20 s for another, 15 s for the engine.
        deadline: Duration::from_secs(41),
        effects: Box::new(move || {
            let now = now.clone();
            Box::pin(async move { engine::leave_as_found("gpu-3", &now).await })
        }),
        causes,
        kept: Box::new(folder),
    }
}

/// A service is started: each start writes a line.
pub async fn manager(phase: Phase) -> Scene {
    let folder = tempfile::tempdir().unwrap();
    let (proxy, ssh) = way(folder.path()).await;
    let (runs, starts) = (folder.path().join("runs"), folder.path().join("starts"));
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<String>>();
    let start = format!("sleep 0.4; touch {}; echo >> {}", runs.display(), starts.display());
    let stop = format!("sleep 0.4; rm {}; echo >> {}", runs.display(), starts.display());
    let status = format!("test -e {} || exit 3", runs.display());
    let mut file: ClusterFile = toml::from_str("name = 'faults'").unwrap();
    file.ssh = ssh;
    file.managers.push(ManagerConfig {
        name: "mgr-f".to_owned(),
        host: "ssh://root@mgr-01".to_owned(),
        cli: words(&["true"]),
        working_dir: "/".to_owned(),
        api: None,
        log: vec![],
        service: ServiceConfig {
            start: words(&["sh", "-c", &start]),
            stop: words(&["sh", "-c", &stop]),
            status: words(&["sh", "-c", &status]),
        },
    });
    Scene {
        live: Live::new(file, || 0).unwrap(),
        proxy: Arc::new(proxy),
        change: Change::Service { manager: "mgr-f".to_owned(), after: Service::Running },
        marks: marks(),
        subject: "manager `mgr-f`".to_owned(),
        part: Part::Managers,
        deadline: Duration::from_secs(41),
        effects: Box::new(move || {
            // Nobody can know of a command that was lost in the middle whether it goes on over there: then it is begun
            // again, which a service bears.
            let most = [Phase::Answer, Phase::UndoAnswer].contains(&phase).then_some(usize::from(phase == Phase::UndoAnswer) + 1);
            let n = std::fs::read_to_string(&starts).unwrap_or_default().lines().count();
            Box::pin(async move { most.map_or(n, |most| n.min(most)) })
        }),
        causes,
        kept: Box::new(folder),
    }
}
