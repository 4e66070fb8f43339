//! One run per cluster: whoever has the cluster's etcd has the cluster, on whatever machine, and nobody else's key is touched.

use crate::{holder, support::etcd::Etcd};
use castoff::cluster::{
    claim::{Claim, Claimed, Terms, Untaken},
    etcd::EtcdClient,
};
use castoff::model::{FaultKind, Holder, KeyDiff, Value};
use etcd_client::GetOptions;

const KEY: &str = "/castoff/local/holder";

fn claim(who: &str, run: &str) -> Claim {
    Claim { holder: holder(who), run: run.to_owned(), journal: "postgres://db-01/castoff".to_owned() }
}

fn terms(by_force: bool) -> Terms {
    Terms { by_force, is_dead: |holder: &Holder| holder.who.starts_with("dead") }
}

fn held_by(result: Result<(), Untaken>) -> Claim {
    match result {
        Err(Untaken::Held(claim)) => claim,
        other => panic!("{other:?}"),
    }
}

fn diff() -> Vec<KeyDiff> {
    vec![KeyDiff { key: "/sorna/local/config/x".to_owned(), before: None, after: Some(Value::text("1")) }]
}

#[tokio::test]
async fn a_cluster_has_one_run_and_the_second_is_told_whose_it_is() {
    let etcd = Etcd::start();
    let mut look = etcd.client().await;
    look.put("/sorna/local/config/docker", "theirs", None).await.unwrap();
    let (kim, lee) = (EtcdClient::new(&etcd.config()).await.unwrap(), EtcdClient::new(&etcd.config()).await.unwrap());
    kim.take(&claim("kim", "run-1"), terms(false)).await.unwrap();
    assert_eq!(held_by(lee.take(&claim("lee", "run-2"), terms(false)).await), claim("kim", "run-1"));
    assert_eq!(held_by(lee.take(&claim("lee", "run-2"), terms(true)).await), claim("kim", "run-1"), "another run is not taken");
    assert!(matches!(kim.claimed().await, Claimed::Ours));
    let leases = look.leases().await.unwrap().leases().len();
    assert_eq!(leases, 1, "who did not win leaves no lease behind");

    // The same run, by force: what the first wants to write then is not written.
    lee.take(&claim("lee", "run-1"), terms(true)).await.unwrap();
    assert!(matches!(kim.claimed().await, Claimed::Taken(taken) if taken == claim("lee", "run-1")));
    let fault = kim.write(&diff(), true).await.unwrap_err();
    assert!(fault.kind == FaultKind::Lasting && fault.why.contains("held by lee on lee-01"), "{fault:?}");
    assert_eq!(look.get("/sorna/local/config/x", None).await.unwrap().count(), 0);
    lee.write(&diff(), true).await.unwrap();
    kim.let_go().await;
    assert!(matches!(lee.claimed().await, Claimed::Ours), "who lost it takes nothing away");
    lee.let_go().await;
    let keys = look.get("", Some(GetOptions::new().with_all_keys())).await.unwrap();
    let keys: Vec<&str> = keys.kvs().iter().map(|pair| pair.key_str().unwrap()).collect();
    assert_eq!(keys, ["/sorna/local/config/docker", "/sorna/local/config/x"], "nothing is left of it");
}

#[tokio::test]
async fn of_ten_who_come_at_once_one_has_the_cluster() {
    let etcd = Etcd::start();
    let mut look = etcd.client().await;
    for round in 0..5 {
        let mut all = vec![];
        for n in 0..10 {
            all.push((format!("op{n}"), EtcdClient::new(&etcd.config()).await.unwrap()));
        }
        let taken = all.iter().map(|(who, client)| async move { client.take(&claim(who, who), terms(false)).await });
        let taken = futures::future::join_all(taken).await;
        let won = taken.iter().filter(|taken| taken.is_ok()).count();
        // An answer that comes too late is none, and may have been a yes.
        let unheard = all.iter().zip(&taken).filter(|(_, taken)| matches!(taken, Err(Untaken::Fault(_))));
        let unheard: Vec<&str> = unheard.map(|((who, _), _)| who.as_str()).collect();
        let keys = look.get(KEY, None).await.unwrap();
        let held: Claim = serde_json::from_slice(keys.kvs().first().expect("somebody has it").value()).unwrap();
        let late = usize::from(unheard.contains(&held.run.as_str()));
        assert_eq!(won + late, 1, "round {round}: {taken:?}");
        for (_, client) in &all {
            client.let_go().await;
        }
        if late == 1 {
            look.delete(KEY, None).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_castoff_that_died_on_this_machine_holds_nobody_up() {
    let etcd = Etcd::start();
    let (dead, kim) = (EtcdClient::new(&etcd.config()).await.unwrap(), EtcdClient::new(&etcd.config()).await.unwrap());
    dead.take(&claim("dead", "run-1"), terms(false)).await.unwrap();
    kim.take(&claim("kim", "run-2"), terms(false)).await.unwrap();
    assert!(matches!(dead.claimed().await, Claimed::Taken(_)));
}

#[tokio::test]
async fn a_lease_that_ended_is_had_again_only_if_nobody_else_has_it() {
    let etcd = Etcd::start();
    let mut look = etcd.client().await;
    let (kim, lee) = (EtcdClient::new(&etcd.config()).await.unwrap(), EtcdClient::new(&etcd.config()).await.unwrap());
    kim.take(&claim("kim", "run-1"), terms(false)).await.unwrap();
    let lease = look.get(KEY, None).await.unwrap().kvs()[0].lease();
    look.lease_revoke(lease).await.unwrap();
    assert!(matches!(kim.claimed().await, Claimed::Again), "it is to be looked again");
    assert!(matches!(kim.claimed().await, Claimed::Ours));
    kim.write(&diff(), true).await.unwrap();
    let lease = look.get(KEY, None).await.unwrap().kvs()[0].lease();
    look.lease_revoke(lease).await.unwrap();
    lee.take(&claim("lee", "run-2"), terms(false)).await.unwrap();
    assert!(matches!(kim.claimed().await, Claimed::Taken(taken) if taken.run == "run-2"));
    assert!(kim.write(&diff(), false).await.is_err());
}

#[tokio::test]
async fn an_etcd_that_is_away_for_a_moment_does_no_harm() {
    let etcd = Etcd::start();
    let kim = EtcdClient::new(&etcd.config()).await.unwrap();
    kim.take(&claim("kim", "run-1"), terms(false)).await.unwrap();
    etcd.signal("STOP");
    assert!(matches!(kim.claimed().await, Claimed::Ours), "nobody else could have it");
    etcd.signal("CONT");
    assert!(matches!(kim.claimed().await, Claimed::Ours));
}
