//! The guard of a brown-out: a process of its own that gives the registry back when the time is over, also when castoff
//! has been killed meanwhile. It writes no entry, and no row that is not as the brown-out left it.

use super::{live::Live, ssh::root_cause};
use crate::model::{Fault, FaultKind, RowDiff, text};
use serde::{Deserialize, Serialize};
use std::{ffi::OsString, path::PathBuf, process::Stdio, time::Duration};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::time::{Instant, sleep, timeout};

/// What it says when it has understood.
pub const READY: &str = "ready";
const START: Duration = Duration::from_secs(10);
/// castoff itself comes first; this is how much later the guard comes.
const GRACE: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_secs(5);
/// A database that is away at the end of a brown-out is asked for so long.
const TRIES: Duration = Duration::from_hours(12);

/// How it is started: castoff itself, with these words. The order goes to its standard input.
#[derive(Clone, Debug)]
pub struct Guard {
    pub program: PathBuf,
    pub arguments: Vec<OsString>,
}

/// The rows as the brown-out changes them (`before` is given back), and how long it lasts.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Order {
    pub diffs: Vec<RowDiff>,
    pub for_s: u64,
}

impl Guard {
    /// Starts it and waits until it says that it stands.
    pub async fn post(&self, order: &Order) -> Result<(), Fault> {
        let fault = |why: String| Fault::new(FaultKind::Lasting, "cannot start the guard of the brown-out", why);
        let mut command = tokio::process::Command::new(&self.program);
        command.args(&self.arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().map_err(|e| fault(e.to_string()))?;
        let (mut to, from) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        let words = async {
            to.write_all(&serde_json::to_vec(order).expect("rows are plain data")).await?;
            drop(to);
            let mut line = String::new();
            BufReader::new(from).read_line(&mut line).await?;
            std::io::Result::Ok(line)
        };
        match timeout(START, words).await {
            Ok(Ok(line)) if line.trim() == READY => Ok(()),
            Ok(Ok(line)) => Err(fault(format!("it said `{}`", text::clean(line.trim())))),
            Ok(Err(error)) => Err(fault(root_cause(&error))),
            Err(_) => Err(fault(format!("it did not stand within {} s", START.as_secs()))),
        }
    }
}

/// What the guard does. `say` keeps its words.
pub async fn stand(live: &Live, order: &Order, mut say: impl FnMut(&str)) {
    let end = Instant::now() + Duration::from_secs(order.for_s) + GRACE;
    say(&format!("stands for {} s", order.for_s));
    let mut dark = false;
    while Instant::now() < end {
        match live.is_dark(&order.diffs).await {
            Ok(true) => dark = true,
            Ok(false) if dark => return say("the registry was given back by castoff"),
            _ => {}
        }
        sleep(LOOK.min(end - Instant::now())).await;
    }
    let last = end + TRIES;
    loop {
        match live.give_back(&order.diffs).await {
            Ok(true) => return say("the registry is as it was"),
            Ok(false) => say("the registry is not back yet"),
            Err(fault) if fault.kind == FaultKind::Drift || Instant::now() >= last => {
                return say(&format!("the registry is NOT given back: {fault}"));
            }
            Err(fault) => say(&fault.to_string()),
        }
        sleep(LOOK).await;
    }
}
