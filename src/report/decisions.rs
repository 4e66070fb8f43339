//! What people decided against the plan: skips, aborts, rollbacks, take-overs, windows that were moved. Nothing that the plan
//! itself foresaw is among them.

use crate::model::{Entry, Outcome, Stamped, text};
use serde::Serialize;

/// One decision, with its entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Decision {
    pub entry: u64,
    /// Unix time in milliseconds.
    pub at_ms: i64,
    pub what: String,
    /// Who decided, and from where; `None` where only the run's operator could.
    pub by: Option<String>,
    pub why: String,
}

/// The decisions of a run, in their order.
pub fn decisions(entries: &[Stamped]) -> Vec<Decision> {
    let mut operator = None;
    let mut out = vec![];
    for stamped in entries {
        let (what, by, why) = match &stamped.entry {
            Entry::Planned { by, .. } | Entry::Continued { by } => {
                operator = Some(by.clone());
                continue;
            }
            Entry::Skipped { change, why, by } if by != "the plan" => (format!("change {change} skipped"), Some(by), why.clone()),
            Entry::RollbackBegun { to, by, why } => (format!("rolled back to step {}", to + 1), Some(by), why.clone()),
            Entry::TakenOver { by, why } => {
                let before = operator.replace(by.clone()).unwrap_or_default();
                ("run taken over".to_owned(), Some(by), format!("from {before}: {why}"))
            }
            Entry::WindowMoved { window, by } => ("window moved".to_owned(), Some(by), format!("to {}", window.words())),
            Entry::Finished { outcome: Outcome::Aborted(why) } => ("aborted".to_owned(), operator.as_ref(), why.clone()),
            _ => continue,
        };
        let (by, why) = (by.map(|by| text::clean(by)), text::clean(&why));
        out.push(Decision { entry: stamped.seq, at_ms: stamped.at_ms, what, by, why });
    }
    out
}
