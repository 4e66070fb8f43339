//! One run per cluster: a key of castoff's own in the cluster's etcd, bound to a lease that is kept alive while the run
//! goes on and let go at its end. Never touches a key of Backend.AI, whose own all lie below `/sorna/`.

use super::{EtcdClient, READ, fault, names};
use crate::cluster::claim::{Claim, Claimed, Terms, Untaken};
use crate::model::{Fault, FaultKind};
use etcd_client::{Client, Compare, CompareOp, Error, KeyValue, PutOptions, Txn, TxnOp, TxnOpResponse};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{task::JoinHandle, time::Instant};

/// After so many seconds without a word from its castoff a cluster is free again.
const TTL_S: i64 = 30;
const BEAT: Duration = Duration::from_secs(10);
const CALL: Duration = Duration::from_secs(3);

/// A cluster that was taken.
pub(super) struct Lease {
    shared: Arc<Shared>,
    beat: JoinHandle<()>,
}

struct Shared {
    client: Client,
    key: String,
    claim: Claim,
    now: Mutex<Now>,
    /// One at a time tries to have it again.
    again: tokio::sync::Mutex<()>,
}

#[derive(Clone, Copy)]
struct Now {
    lease: i64,
    /// Until then nobody else can have it, whatever becomes of the connection.
    good_until: Instant,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.beat.abort();
    }
}

impl EtcdClient {
    /// Takes the cluster for this run, if nobody has it who lives.
    pub async fn take(&self, claim: &Claim, terms: Terms) -> Result<(), Untaken> {
        let what = format!("cannot take the cluster in etcd {}", names(&self.endpoints));
        let client = self.limited(&what, READ, Client::connect(&self.endpoints, Some(self.options.clone()))).await;
        let client = client.map_err(Untaken::Fault)?;
        let key = format!("/castoff/{}/holder", self.namespace);
        let now = Mutex::new(Now { lease: 0, good_until: Instant::now() });
        let again = tokio::sync::Mutex::new(());
        let shared = Arc::new(Shared { client, key, claim: claim.clone(), now, again });
        let taken = self.limited(&what, READ, shared.take(Some(terms))).await.map_err(Untaken::Fault)?;
        if let Some(other) = taken {
            return Err(Untaken::Held(other));
        }
        let beat = tokio::spawn(Arc::clone(&shared).beat());
        *self.lease.lock().unwrap_or_else(PoisonError::into_inner) = Some(Lease { shared, beat });
        Ok(())
    }

    /// Whether the cluster is still ours, by etcd's own word; while etcd is away, for as long as it could be nobody else's.
    pub async fn claimed(&self) -> Claimed {
        let Some(shared) = self.lease_held() else { return Claimed::Ours };
        let asked = tokio::time::timeout(CALL, shared.client.kv_client().get(shared.key.clone(), None)).await;
        let why = match asked {
            Ok(Ok(mut answer)) => match answer.take_kvs().pop() {
                Some(pair) if pair.lease() == shared.now().lease => return Claimed::Ours,
                Some(pair) => return Claimed::Taken(Shared::read(&pair)),
                None => return shared.retake().await,
            },
            Ok(Err(why)) => super::words(&why),
            Err(_) => format!("no answer for {} s", CALL.as_secs()),
        };
        if Instant::now() < shared.now().good_until { Claimed::Ours } else { Claimed::Lost(why) }
    }

    /// Lets the cluster go: the key is gone with its lease.
    pub async fn let_go(&self) {
        let Some(shared) = self.lease_held() else { return };
        *self.lease.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let mut client = shared.client.lease_client();
        // An etcd that is away forgets it by itself.
        let _ = tokio::time::timeout(CALL, client.revoke(shared.now().lease)).await;
    }

    /// What a transaction compares besides: a castoff that lost the cluster writes nothing.
    pub(super) fn lease_guard(&self) -> Option<Compare> {
        let shared = self.lease_held()?;
        Some(Compare::lease(shared.key.clone(), CompareOp::Equal, shared.now().lease))
    }

    /// After a transaction whose guards did not hold: whether it was this one.
    pub(super) async fn refuse_if_lost(&self) -> Result<(), Fault> {
        let what = || format!("cannot write etcd {}", names(&self.endpoints));
        match self.claimed().await {
            Claimed::Ours => Ok(()),
            Claimed::Again => Err(Fault::new(FaultKind::Passing, what(), "the lease of the cluster was lost and is taken again")),
            Claimed::Lost(why) => Err(Fault::new(FaultKind::Passing, what(), format!("the lease of the cluster is lost: {why}"))),
            Claimed::Taken(claim) => {
                Err(Fault::new(FaultKind::Lasting, what(), format!("the cluster is held by {} now", claim.holder)))
            }
        }
    }

    fn lease_held(&self) -> Option<Arc<Shared>> {
        self.lease.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|lease| Arc::clone(&lease.shared))
    }

    async fn limited<T>(&self, what: &str, limit: Duration, call: impl Future<Output = Result<T, Error>>) -> Result<T, Fault> {
        let fault = match tokio::time::timeout(limit, call).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => fault(what, &error),
            Err(_) => Fault::new(FaultKind::Passing, what, format!("no answer for {} s", limit.as_secs())),
        };
        Err(if fault.kind == FaultKind::Denied {
            let hint = "etcdctl role grant-permission ROLE readwrite /castoff/ --prefix=true, for the user of `[etcd]` in the cluster file";
            Fault { hint: Some(hint.to_owned()), ..fault }
        } else {
            fault
        })
    }
}

impl Shared {
    fn now(&self) -> Now {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What stands in the key.
    fn read(pair: &KeyValue) -> Claim {
        serde_json::from_slice(pair.value()).unwrap_or_else(|_| Claim {
            holder: crate::model::Holder::named("another program"),
            run: String::new(),
            journal: String::new(),
        })
    }

    /// Whoever has it, if it cannot be taken.
    async fn take(&self, terms: Option<Terms>) -> Result<Option<Claim>, Error> {
        let sent = Instant::now();
        let lease = self.client.lease_client().grant(TTL_S, None).await?;
        let value = serde_json::to_string(&self.claim).expect("a claim is plain data");
        let put = TxnOp::put(self.key.clone(), value, Some(PutOptions::new().with_lease(lease.id())));
        let mut guard = Compare::version(self.key.clone(), CompareOp::Equal, 0);
        // Twice: the key is free, or its holder is one from whom it may be taken.
        for _ in 0..2 {
            let txn = Txn::new().when([guard]).and_then([put.clone()]).or_else([TxnOp::get(self.key.clone(), None)]);
            let answer = self.client.kv_client().txn(txn).await?;
            if answer.succeeded() {
                let good_until = sent + Duration::from_secs(lease.ttl().unsigned_abs());
                *self.now.lock().unwrap_or_else(PoisonError::into_inner) = Now { lease: lease.id(), good_until };
                return Ok(None);
            }
            let found = answer.op_responses().into_iter().find_map(|response| match response {
                TxnOpResponse::Get(mut get) => get.take_kvs().pop(),
                _ => None,
            });
            let Some(pair) = found else { break };
            let other = Self::read(&pair);
            let same_run = other.run == self.claim.run && !other.run.is_empty();
            let may = terms.is_some_and(|terms| (terms.is_dead)(&other.holder) || (terms.by_force && same_run));
            if !may {
                let _ = self.client.lease_client().revoke(lease.id()).await;
                return Ok(Some(other));
            }
            guard = Compare::mod_revision(self.key.clone(), CompareOp::Equal, pair.mod_revision());
        }
        let _ = self.client.lease_client().revoke(lease.id()).await;
        Ok(Some(Claim { holder: crate::model::Holder::named("another castoff"), run: String::new(), journal: String::new() }))
    }

    /// The lease is over and the key is gone: ours again, if nobody was quicker.
    async fn retake(&self) -> Claimed {
        let _one = self.again.lock().await;
        let asked = tokio::time::timeout(CALL, self.client.kv_client().get(self.key.clone(), None)).await;
        match asked {
            Ok(Ok(mut answer)) => match answer.take_kvs().pop() {
                Some(pair) if pair.lease() == self.now().lease => return Claimed::Again,
                Some(pair) => return Claimed::Taken(Self::read(&pair)),
                None => {}
            },
            Ok(Err(why)) => return Claimed::Lost(super::words(&why)),
            Err(_) => return Claimed::Lost(format!("no answer for {} s", CALL.as_secs())),
        }
        match tokio::time::timeout(CALL, self.take(None)).await {
            Ok(Ok(None)) => Claimed::Again,
            Ok(Ok(Some(other))) => Claimed::Taken(other),
            Ok(Err(why)) => Claimed::Lost(super::words(&why)),
            Err(_) => Claimed::Lost(format!("no answer for {} s", CALL.as_secs())),
        }
    }

    /// Keeps the lease alive. One that is over stays so until somebody asks for the next effect.
    async fn beat(self: Arc<Self>) {
        loop {
            let left = self.now().good_until.saturating_duration_since(Instant::now());
            tokio::time::sleep(if left > BEAT { BEAT } else { Duration::from_secs(1) }).await;
            let sent = Instant::now();
            let lease = self.now().lease;
            let once = async {
                let (mut keeper, mut answers) = self.client.lease_client().keep_alive(lease).await?;
                keeper.keep_alive().await?;
                answers.message().await
            };
            if let Ok(Ok(Some(answer))) = tokio::time::timeout(CALL, once).await
                && answer.ttl() > 0
            {
                let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
                if now.lease == lease {
                    now.good_until = sent + Duration::from_secs(answer.ttl().unsigned_abs());
                }
            }
        }
    }
}
