//! Layer 2: the outside world, behind one trait. Nothing else in castoff opens a connection.
//! It decides nothing: it reads, says where a change stands, makes it true or untrue.

pub mod claim;
pub mod config;
pub mod docker;
pub mod docker_config;
pub mod etcd;
pub mod guard;
pub mod host;
pub mod init;
pub mod live;
pub mod manager;
pub mod platform9;
pub mod postgres;
pub mod reach;
pub mod registry;
pub mod secret;
pub mod sim;
pub mod ssh;
mod tls;

use crate::model::{Change, Fault, Inventory, LayerProgress, Standing, Wants};
use async_trait::async_trait;
use claim::{Claim, Claimed, Terms, Untaken};

/// Who is told how far an effect is. May be told often; never blocks.
pub trait Watch: Send + Sync {
    /// Phase (`pulling`, `unpacking`, `waiting`), done, total.
    fn progress(&self, phase: &str, done: u64, total: u64);

    /// The layers of the image on its way, lowest first. Told of pulls only, at most twice a second and at their end.
    fn layers(&self, _layers: Vec<LayerProgress>) {}

    /// What the journal has to keep of the effect, such as who served a pull. Counts only if the effect ends well.
    fn told(&self, _words: &str) {}
}

/// A function that wants to know of progress and of nothing else.
impl<F: Fn(&str, u64, u64) + Send + Sync> Watch for F {
    fn progress(&self, phase: &str, done: u64, total: u64) {
        self(phase, done, total);
    }
}

pub type Report<'a> = &'a dyn Watch;

/// The installation being migrated. Two implementations: `Live` and `Sim`.
///
/// Every call has a deadline of its own and ends by it.
#[async_trait]
pub trait Cluster: Send + Sync {
    /// Reads the wanted parts. What does not answer is listed in `unanswered`; nothing is guessed and nothing fails.
    async fn read(&self, wants: &Wants) -> Inventory;

    /// Where the world stands towards a change, asked of the world, never remembered.
    async fn standing(&self, change: &Change) -> Result<Standing, Fault>;

    /// Makes a change true. Called only when it stands `Before`, or after an attempt that was cut off.
    /// `Ok` says the call ended well, not that the change is true: ask `standing`.
    async fn apply(&self, change: &Change, report: Report<'_>) -> Result<(), Fault>;

    /// Makes a change untrue. Called only when it stands `After`.
    async fn undo(&self, change: &Change, report: Report<'_>) -> Result<(), Fault>;

    /// Takes the cluster for one run, on whatever machine, before its first effect. Where nothing in the cluster can keep
    /// this it is always ours.
    async fn take(&self, _claim: &Claim, _terms: Terms) -> Result<(), Untaken> {
        Ok(())
    }

    /// Asked right before each effect.
    async fn claimed(&self) -> Claimed {
        Claimed::Ours
    }

    /// The run is over, or left.
    async fn let_go(&self) {}
}
