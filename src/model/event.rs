//! What a front end is told and what it may ask. Front ends know nothing else of the engine.

use super::{ChangeId, LimitChange, Problem, Stamped, Window};
use serde::{Deserialize, Serialize};

/// News for a front end. `Entry` must arrive and is on disk already; the others may be lost or come late.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Event {
    Entry(Stamped),
    Progress(Progress),
    /// How far the layers of an image on its way are; at most a few a second for each change.
    Layers {
        change: ChangeId,
        layers: Vec<LayerProgress>,
    },
    /// How the checks of the waiting gate stand.
    Gate(GateReport),
    /// What holds changes back that could go on; empty: nothing does.
    Waits {
        step: usize,
        waits: Vec<Wait>,
    },
    /// How the cluster stands towards the journal of a run that was cut off; sent before a resumed run goes on.
    Survey(Vec<SurveyLine>),
    /// What others changed since the plan was made; sent with the survey.
    Changed(Vec<Problem>),
    /// The engine did not follow a command, with the reason.
    Refused(#[serde(deserialize_with = "super::edge::line")] String),
    /// The engine has dealt with a command from another terminal. What came of it stands in the entries before this.
    Answered {
        id: u64,
        /// Why it was not followed.
        #[serde(default, deserialize_with = "super::edge::maybe")]
        refused: Option<String>,
    },
    /// A line for the log: what is asked, answered, waited for.
    Said {
        level: Level,
        #[serde(deserialize_with = "super::edge::moment")]
        at_ms: i64,
        #[serde(deserialize_with = "super::edge::line")]
        place: String,
        #[serde(deserialize_with = "super::edge::line")]
        text: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    Info,
    Warn,
    Error,
}

/// How far one change is. Never stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Progress {
    pub change: ChangeId,
    /// What is going on: `pulling`, `unpacking`, `waiting`, `stalled`.
    #[serde(deserialize_with = "super::edge::line")]
    pub phase: String,
    /// Bytes for pulls; steps of work otherwise.
    #[serde(deserialize_with = "super::edge::size")]
    pub done: u64,
    #[serde(deserialize_with = "super::edge::size")]
    pub total: u64,
    /// Unix time in milliseconds of the last sign of life.
    #[serde(deserialize_with = "super::edge::moment")]
    pub at_ms: i64,
}

/// How far one layer of an image is. Downloading and unpacking are two numbers: the one says nothing of the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct LayerProgress {
    /// The first hex digits of its digest, as the Docker Engine says it.
    #[serde(deserialize_with = "super::edge::line")]
    pub id: String,
    pub phase: LayerPhase,
    /// Compressed bytes: those that came and those in all; 0 in all: not known.
    #[serde(deserialize_with = "super::edge::size")]
    pub done: u64,
    #[serde(deserialize_with = "super::edge::size")]
    pub total: u64,
    /// Compressed bytes that are unpacked.
    #[serde(deserialize_with = "super::edge::size")]
    pub unpacked: u64,
}

/// Where one layer is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LayerPhase {
    Waiting,
    Pulling,
    /// Downloaded; not unpacked yet.
    Pulled,
    Unpacking,
    Done,
    /// The host held it before.
    There,
}

/// Why changes that may go on do not: a limit, a registry, their own last attempt. Never stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Wait {
    pub changes: u64,
    /// `40 requests/s to cr.backend.ai`.
    #[serde(deserialize_with = "super::edge::line")]
    pub why: String,
    /// When the first of them may go on, where that is known; unix time in milliseconds.
    #[serde(deserialize_with = "super::edge::moment_maybe")]
    pub until_ms: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct GateReport {
    pub step: usize,
    pub problems: Vec<Problem>,
    /// When the cluster was read for it; unix time in milliseconds.
    #[serde(deserialize_with = "super::edge::moment")]
    pub read_at_ms: i64,
}

/// One step of a resumed run: what the journal says and what the cluster says now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SurveyLine {
    pub step: usize,
    /// `5 301 done`, `not begun`.
    #[serde(deserialize_with = "super::edge::line")]
    pub journal: String,
    /// `5 309 done`, `the same`.
    #[serde(deserialize_with = "super::edge::line")]
    pub cluster: String,
    /// `agree`, or what will be done about the difference.
    #[serde(deserialize_with = "super::edge::line")]
    pub verdict: String,
    pub agrees: bool,
}

/// Whether it says why something is done; fewer letters than three are no reason.
pub fn is_reason(why: &str) -> bool {
    why.trim().chars().count() >= 3
}

/// What the operator asks of the engine. The engine answers by entries, or with `Refused`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Command {
    /// Begin the run of the plan on the screen, or go on with a resumed run.
    Begin,
    /// `typed` must be the gate's sentence and `plan` the plan's id.
    Approve {
        step: usize,
        plan: String,
        typed: String,
    },
    /// The canary of this step is good: the others may follow. `typed` must be `yes` and `plan` the plan's id.
    ApproveCanary {
        step: usize,
        plan: String,
        typed: String,
    },
    /// Ask the checks of the waiting gate again, now.
    Recheck,
    /// Before a resumed run goes on: look at the cluster again.
    Verify,
    Pause,
    Continue,
    Retry(Target),
    Skip {
        target: Target,
        #[serde(deserialize_with = "super::edge::line")]
        why: String,
    },
    SetLimit(LimitChange),
    /// Another window, most often one that ends later: what it holds goes on.
    MoveWindow {
        window: Window,
    },
    /// Undo every step from the last back to this one.
    RollBack {
        to: usize,
        #[serde(deserialize_with = "super::edge::line")]
        why: String,
    },
    /// Finish what is in flight, write, leave.
    Stop,
    /// Leave at once: the journal makes it safe.
    StopNow,
    /// End the run for good, here.
    Abort {
        #[serde(deserialize_with = "super::edge::line")]
        why: String,
    },
}

impl Command {
    /// Whether it may lead to an entry; the others only look.
    pub fn writes(&self) -> bool {
        !matches!(self, Self::Recheck | Self::Verify)
    }
}

/// A command that comes from another terminal than the one the run was begun in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Given back with `Answered`.
    pub id: u64,
    /// Who asks, and from where: stands in the entry.
    pub by: String,
    pub command: Command,
}

/// Which failed changes are meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// Every failed change of the run.
    Failed,
    Changes(Vec<ChangeId>),
}
