//! Keys of a real etcd with a login.

use crate::{
    proxy::{At, Proxy},
    scene::{Marks, Scene},
    support::etcd::Etcd,
};
use castoff::{
    cluster::{config::ClusterFile, live::Live},
    model::{Change, KeyDiff, Part, Value},
};
use std::{sync::Arc, time::Duration};

const PASSWORD: &str = "root-secret";

pub async fn server() -> Etcd {
    let server = Etcd::start();
    let mut admin = server.client().await;
    admin.user_add("root", PASSWORD, None).await.unwrap();
    admin.role_add("root").await.unwrap();
    admin.user_grant_role("root", "root").await.unwrap();
    admin.auth_enable().await.unwrap();
    server
}

async fn admin(server: &Etcd) -> etcd_client::Client {
    let login = etcd_client::ConnectOptions::new().with_user("root", PASSWORD);
    etcd_client::Client::connect([&server.endpoint], Some(login)).await.unwrap()
}

pub fn port_of(endpoint: &str) -> u16 {
    endpoint.rsplit(':').next().unwrap().parse().unwrap()
}

/// A key that is there gets another value, and one that is not comes, in one transaction.
pub async fn scene(server: Arc<Etcd>, n: usize) -> Scene {
    let proxy = Proxy::tcp(At::Tcp(port_of(&server.endpoint))).await;
    let (key, other) = (format!("/sorna/local/config/docker/faults-{n}/a"), format!("/sorna/local/config/docker/faults-{n}/b"));
    let (old, new) = (format!("old-of-{n}."), format!("new-of-{n}."));
    admin(&server).await.put(key.as_str(), old.as_str(), None).await.unwrap();
    let mut file: ClusterFile = toml::from_str("name = 'faults'").unwrap();
    let endpoint = format!("http://127.0.0.1:{}", proxy.port());
    file.etcd =
        Some(castoff::cluster::config::Etcd { endpoints: vec![endpoint.clone()], ..server.config_with_login("root", PASSWORD) });
    let text = |text: &str| Some(Value::text(text));
    let diffs = vec![
        KeyDiff { key: key.clone(), before: text(&old), after: text(&new) },
        KeyDiff { key: other, before: None, after: text("b") },
    ];
    let (marks, looked_at) = (key.clone().into_bytes(), Arc::clone(&server));
    Scene {
        live: Live::new(file, || 0).unwrap(),
        proxy: Arc::new(proxy),
        change: Change::Keys { diffs },
        marks: Marks {
            login: PASSWORD.into(),
            read: marks,
            write: new.clone().into_bytes(),
            commit: new.into_bytes(),
            undo: old.into_bytes(),
        },
        subject: format!("etcd `{endpoint}`"),
        part: Part::Keys,
        // 5 s to read, 15 s to write.
        deadline: Duration::from_secs(21),
        effects: Box::new(move || {
            let (server, key) = (Arc::clone(&looked_at), key.clone());
            Box::pin(async move {
                let found = admin(&server).await.get(key, None).await.unwrap();
                // The first version is what stood before.
                usize::try_from(found.kvs()[0].version()).unwrap() - 1
            })
        }),
        causes: |_| None,
        kept: Box::new(server),
    }
}
