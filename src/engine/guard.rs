//! What is asked right before each effect, after its entry is durable: is the run still ours, and is the cluster?
//! A castoff that was suspended in between, while somebody took its run over, has no effect when it wakes.

use crate::cluster::{Cluster, claim::Claimed};
use crate::journal::{Fence, JournalError};
use crate::model::{Event, Level, text};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::sync::mpsc;

/// Between two questions while nobody can tell whose the cluster is.
const AGAIN: Duration = Duration::from_secs(1);

#[derive(Clone)]
pub struct Guard {
    fence: Fence,
    pub cluster: Arc<dyn Cluster>,
    events: mpsc::Sender<Event>,
    now_ms: fn() -> i64,
    /// It was said that nothing new begins; once for all who wait.
    waits: Arc<AtomicBool>,
}

impl Guard {
    pub fn new(fence: Fence, cluster: Arc<dyn Cluster>, events: mpsc::Sender<Event>, now_ms: fn() -> i64) -> Self {
        Self { fence, cluster, events, now_ms, waits: Arc::default() }
    }

    /// Comes back when the effect may begin; `true` if the cluster was not ours for a while, so that it has to be looked
    /// at again. Fails when run or cluster are another's, or when the journal does not answer.
    pub async fn ask(&self) -> Result<bool, JournalError> {
        let mut waited = false;
        loop {
            // First, so that a castoff whose run is another's never takes the cluster back.
            self.fence.ask().await?;
            match self.cluster.claimed().await {
                Claimed::Ours => break,
                Claimed::Again => {
                    waited = true;
                    break;
                }
                Claimed::Taken(claim) => {
                    // The journal may know more by now: who took the run over, and why.
                    self.fence.ask().await?;
                    let why = format!("the cluster is theirs, for run {}", text::clean(&claim.run));
                    return Err(JournalError::TakenOver { by: text::clean(&claim.holder.to_string()), at_ms: None, why });
                }
                Claimed::Lost(why) => {
                    waited = true;
                    if !self.waits.swap(true, Ordering::SeqCst) {
                        self.say(&format!("nobody can tell whose the cluster is: nothing new begins ({why})")).await;
                    }
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
        if self.waits.swap(false, Ordering::SeqCst) {
            self.say("the cluster is this run's again: it goes on").await;
        }
        // And last of all: this castoff may have been suspended since, and an etcd that is away is believed for a while.
        self.fence.ask().await?;
        Ok(waited)
    }

    async fn say(&self, words: &str) {
        let said = Event::Said { level: Level::Warn, at_ms: (self.now_ms)(), place: "etcd".to_owned(), text: text::clean(words) };
        let _ = self.events.send(said).await;
    }
}
