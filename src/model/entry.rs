//! The durable facts of a run, and what it ends in.

use super::{ChangeId, Fault, Limits, Plan, Problem, Window};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// One durable fact of a run, in the past tense. Written before it is acted upon.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", tag = "is", deny_unknown_fields)]
pub enum Entry {
    /// The first entry: the whole plan.
    Planned {
        plan: Arc<Plan>,
        #[serde(deserialize_with = "super::edge::line")]
        by: String,
    },
    GateReached {
        step: usize,
    },
    /// `typed` is what the operator typed; for an answer given ahead, the option that gave it.
    GateApproved {
        step: usize,
        #[serde(deserialize_with = "super::edge::line")]
        by: String,
        plan: String,
        #[serde(deserialize_with = "super::edge::line")]
        typed: String,
    },
    /// What a brown-out that waits at this gate has brought to light: once for each.
    Seen {
        step: usize,
        problem: Problem,
    },
    /// This wave of the step begins; counted from 0.
    WaveReached {
        step: usize,
        wave: usize,
    },
    /// The canary is good: it has proved itself, or a person says so. `typed` is empty where nobody was asked.
    WavePassed {
        step: usize,
        wave: usize,
        #[serde(deserialize_with = "super::edge::line")]
        by: String,
        plan: String,
        #[serde(deserialize_with = "super::edge::line")]
        typed: String,
    },
    /// What is left to do on this host waits, so that the others go on.
    SetAside {
        step: usize,
        #[serde(deserialize_with = "super::edge::line")]
        place: String,
        #[serde(deserialize_with = "super::edge::line")]
        why: String,
    },
    /// Nothing else of the step was open, or an operator asked.
    CameBack {
        step: usize,
        #[serde(deserialize_with = "super::edge::list")]
        places: Vec<String>,
    },
    /// It was true before we came: a rollback leaves it alone.
    Found {
        change: ChangeId,
    },
    Started {
        change: ChangeId,
    },
    /// It will be tried again: after a passing fault, or because an operator asked.
    Retried {
        change: ChangeId,
        #[serde(deserialize_with = "super::edge::line")]
        why: String,
        after_ms: u64,
    },
    /// What proved the change that is done next: who served its pull.
    Proven {
        change: ChangeId,
        #[serde(deserialize_with = "super::edge::line")]
        by: String,
    },
    Done {
        change: ChangeId,
    },
    Failed {
        change: ChangeId,
        fault: Fault,
    },
    /// Left out by a person, with a reason; in a rollback: left as it is, with a reason.
    Skipped {
        change: ChangeId,
        #[serde(deserialize_with = "super::edge::line")]
        why: String,
        #[serde(deserialize_with = "super::edge::line")]
        by: String,
    },
    Paused {
        #[serde(deserialize_with = "super::edge::line")]
        why: String,
        #[serde(deserialize_with = "super::edge::line")]
        by: String,
    },
    Continued {
        #[serde(deserialize_with = "super::edge::line")]
        by: String,
    },
    LimitChanged {
        limits: Limits,
        #[serde(deserialize_with = "super::edge::line")]
        by: String,
    },
    /// The window of the run, as it was agreed when it began.
    WindowSet {
        window: Window,
        #[serde(deserialize_with = "super::edge::line")]
        by: String,
    },
    /// Another window, given on purpose while the run went on or when it was resumed.
    WindowMoved {
        window: Window,
        #[serde(deserialize_with = "super::edge::line")]
        by: String,
    },
    /// Every change of this step and of later steps will be undone.
    RollbackBegun {
        to: usize,
        #[serde(deserialize_with = "super::edge::line")]
        by: String,
        #[serde(deserialize_with = "super::edge::line")]
        why: String,
    },
    UndoStarted {
        change: ChangeId,
    },
    Undone {
        change: ChangeId,
    },
    /// A human is needed: the run is stuck.
    UndoFailed {
        change: ChangeId,
        fault: Fault,
    },
    /// Another castoff goes on with the run: another operator's, or the same one's elsewhere.
    TakenOver {
        #[serde(deserialize_with = "super::edge::line")]
        by: String,
        why: String,
    },
    Finished {
        outcome: Outcome,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    Done,
    /// Done, but something was skipped.
    DoneWithSkips,
    RolledBack,
    /// Ended by a person; what is left is left.
    Aborted(#[serde(deserialize_with = "super::edge::line")] String),
}

/// An entry with its place in the journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Stamped {
    /// From 1, without gaps.
    pub seq: u64,
    /// Unix time in milliseconds.
    #[serde(deserialize_with = "super::edge::moment")]
    pub at_ms: i64,
    pub entry: Entry,
}

impl Entry {
    /// The change it is about, if it is about one.
    pub fn change(&self) -> Option<ChangeId> {
        match self {
            Self::Found { change }
            | Self::Started { change }
            | Self::Retried { change, .. }
            | Self::Done { change }
            | Self::Failed { change, .. }
            | Self::Skipped { change, .. }
            | Self::UndoStarted { change }
            | Self::Undone { change }
            | Self::UndoFailed { change, .. } => Some(*change),
            _ => None,
        }
    }
}
