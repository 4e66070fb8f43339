//! Exit codes, one meaning each, and failures that carry theirs. Scripts rely on the numbers: they never change.

use crate::cluster::{config::ConfigError, secret::SecretError};
use crate::engine::EngineError;
use crate::headless::Left;
use crate::journal::JournalError;
use crate::model::{Fault, IllegalEntry, Mistake, Outcome};
use crate::runbook::PlanError;
use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done; for a plan: nothing to do.
    Done = 0,
    Unexpected = 1,
    /// Usage, runbook, cluster file or an option is wrong.
    Usage = 2,
    /// Done, but something is left; for a plan: something to do.
    SomethingLeft = 10,
    PreflightFailed = 11,
    /// A gate was not approved, or the plan is stale.
    NotApproved = 12,
    /// Stopped at a safe point; can be resumed.
    Stopped = 13,
    StepFailed = 14,
    Aborted = 15,
    RolledBack = 16,
    /// An undo failed: a human is needed.
    RollbackFailed = 17,
    /// The cluster stands neither before nor after a change.
    Drifted = 18,
    /// Another castoff holds the run.
    Held = 19,
    /// castoff itself is wrong.
    Bug = 70,
    /// The terminal hung up.
    HungUp = 129,
    Interrupted = 130,
    Terminated = 143,
}

impl Exit {
    /// Every code and what it means, for the manual page.
    pub const ALL: [(Self, &str); 17] = [
        (Self::Done, "done; for a plan: nothing to do"),
        (Self::Unexpected, "something unexpected; the message says what"),
        (Self::Usage, "the command line, the runbook, the cluster file or an option is wrong"),
        (Self::SomethingLeft, "done, but something is left; for a plan: something to do"),
        (Self::PreflightFailed, "the preflight failed; nothing was begun"),
        (Self::NotApproved, "a gate, or what others changed, was not approved, or the plan is stale"),
        (Self::Stopped, "stopped at a safe point; castoff resume goes on"),
        (Self::StepFailed, "a step failed; mend it, then castoff resume --retry"),
        (Self::Aborted, "aborted"),
        (Self::RolledBack, "rolled back"),
        (Self::RollbackFailed, "an undo failed: a human is needed"),
        (Self::Drifted, "the cluster stands neither before nor after a change"),
        (Self::Held, "another castoff holds the run or the cluster, or took the run over"),
        (Self::Bug, "castoff itself is wrong; a run that was going is safe in its journal"),
        (Self::HungUp, "the terminal hung up before anything was begun"),
        (Self::Interrupted, "interrupted"),
        (Self::Terminated, "terminated"),
    ];

    pub fn of_outcome(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Done => Self::Done,
            Outcome::DoneWithSkips => Self::SomethingLeft,
            Outcome::RolledBack => Self::RolledBack,
            Outcome::Aborted(_) => Self::Aborted,
        }
    }

    pub fn of_headless(left: &Left) -> Self {
        match left {
            Left::Finished(outcome) => Self::of_outcome(outcome),
            Left::GateNeedsAnswer(_) | Left::GateClosed { preflight: false, .. } | Left::Changed(_) => Self::NotApproved,
            Left::GateClosed { preflight: true, .. } => Self::PreflightFailed,
            Left::Failed { drift: true } => Self::Drifted,
            Left::Failed { drift: false } => Self::StepFailed,
            Left::Stuck => Self::RollbackFailed,
            Left::Held(_) | Left::Stopped => Self::Stopped,
        }
    }
}

/// Why castoff could not do what was asked, with the exit code that says so.
#[derive(Debug)]
pub struct Failure {
    pub exit: Exit,
    pub error: anyhow::Error,
    pub hint: Option<String>,
}

impl Failure {
    pub fn new(exit: Exit, message: impl fmt::Display) -> Self {
        Self { exit, error: anyhow::anyhow!("{message}"), hint: None }
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self { exit: Exit::Unexpected, error, hint: None }
    }
}

impl From<Mistake> for Failure {
    fn from(mistake: Mistake) -> Self {
        Self { exit: Exit::Usage, error: mistake.into(), hint: None }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self { exit: Exit::Usage, error: error.into(), hint: None }
    }
}

impl From<PlanError> for Failure {
    fn from(error: PlanError) -> Self {
        Self { exit: Exit::PreflightFailed, error: error.into(), hint: None }
    }
}

impl From<SecretError> for Failure {
    fn from(error: SecretError) -> Self {
        Self { exit: Exit::Usage, error: error.into(), hint: None }
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        let hint = fault.hint.clone();
        Self { exit: Exit::Usage, error: fault.into(), hint }
    }
}

impl From<JournalError> for Failure {
    fn from(error: JournalError) -> Self {
        let exit = match error {
            JournalError::Held { .. } | JournalError::TakenOver { .. } => Exit::Held,
            JournalError::NoRun(_) => Exit::Usage,
            _ => Exit::Unexpected,
        };
        let hint = match &error {
            JournalError::TakenOver { .. } => {
                Some("castoff watch looks on; what was in flight here is looked up there".to_owned())
            }
            JournalError::Storage { what: "write", .. } => Some(
                "nothing was begun after the last entry; make room, make it writable or bring the disk back, then castoff resume"
                    .to_owned(),
            ),
            JournalError::Damaged { .. } => Some(
                "keep the files as they are: castoff journal verify tells up to where they are whole, castoff plan how the cluster stands"
                    .to_owned(),
            ),
            _ => None,
        };
        Self { exit, error: error.into(), hint }
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Journal(error) => error.into(),
            EngineError::Illegal(error) => error.into(),
        }
    }
}

impl From<IllegalEntry> for Failure {
    fn from(error: IllegalEntry) -> Self {
        Self { exit: Exit::Unexpected, error: error.into(), hint: None }
    }
}
