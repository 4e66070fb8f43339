//! Who has a cluster, as it stands in the cluster itself for every other castoff to read, whatever machine it runs on.
//! Plain data: where it is kept is the client's business.

use crate::model::{Fault, Holder};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Claim {
    pub holder: Holder,
    pub run: String,
    /// Where the run is kept: an address without a password, or a folder of that host.
    pub journal: String,
}

/// From whom a cluster may be taken that somebody has.
#[derive(Clone, Copy)]
pub struct Terms {
    /// From whoever runs the same run, also if they live.
    pub by_force: bool,
    /// Whether a process of this machine is certainly gone.
    pub is_dead: fn(&Holder) -> bool,
}

/// Why a cluster could not be taken.
#[derive(Debug)]
pub enum Untaken {
    Held(Claim),
    Fault(Fault),
}

/// Whether a cluster that was taken is still ours.
#[derive(Debug)]
pub enum Claimed {
    Ours,
    /// It was lost and is ours again: what was seen before may be old.
    Again,
    /// Nobody can tell, or it could not be had again yet.
    Lost(String),
    Taken(Claim),
}
