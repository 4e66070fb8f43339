//! The guard of a brown-out: a process of its own that gives the registry back when the time is over, also when castoff
//! has been killed meanwhile. It writes no entry, and no row that is not as the brown-out left it.

use super::{Cluster, ssh::root_cause};
use crate::model::{Change, Fault, FaultKind, RowDiff, Standing, text};
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

/// What the guard does: row by row, so that one that somebody edited meanwhile keeps none of the others. `say` keeps its words.
pub async fn stand(cluster: &dyn Cluster, order: &Order, mut say: impl FnMut(&str)) {
    let rows: Vec<Change> = order.diffs.iter().map(|diff| Change::Rows { diffs: vec![diff.clone()] }).collect();
    let end = Instant::now() + Duration::from_secs(order.for_s) + GRACE;
    say(&format!("stands for {} s", order.for_s));
    let mut dark = false;
    while Instant::now() < end {
        let mut back = 0;
        for row in &rows {
            match cluster.standing(row).await {
                Ok(Standing::After) => dark = true,
                Ok(Standing::Before) => back += 1,
                // Somebody edited it, or nobody answers: neither says that the brown-out is over.
                _ => {}
            }
        }
        if dark && back == rows.len() {
            return say("the registry was given back by castoff");
        }
        sleep(LOOK.min(end - Instant::now())).await;
    }
    let last = end + TRIES;
    let mut left = rows;
    while !left.is_empty() {
        let mut again = vec![];
        for row in left {
            match give_back(cluster, &row).await {
                Ok(()) => {}
                Err(fault) if fault.kind == FaultKind::Drift || Instant::now() >= last => {
                    say(&format!("{} is NOT given back: {fault}", row.subject()));
                }
                Err(fault) => {
                    say(&fault.to_string());
                    again.push(row);
                }
            }
        }
        left = again;
        if !left.is_empty() {
            sleep(LOOK).await;
        }
    }
    say("nothing is left to give back");
}

/// Makes a row what it was, and reads it back.
async fn give_back(cluster: &dyn Cluster, row: &Change) -> Result<(), Fault> {
    let what = "cannot give the registry back";
    match cluster.standing(row).await? {
        Standing::Before => return Ok(()),
        Standing::After | Standing::Midway => cluster.undo(row, &|_: &str, _: u64, _: u64| {}).await?,
        Standing::Neither(found) => return Err(Fault::new(FaultKind::Drift, what, found)),
    }
    match cluster.standing(row).await? {
        Standing::Before => Ok(()),
        _ => Err(Fault::new(FaultKind::Passing, what, "it was written, and is not there on reading back")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::sim::{Pace, Sim, demo};
    use crate::runbook::{Runbook, SHIPPED};
    use serde_json::json;

    #[tokio::test]
    async fn a_row_that_somebody_edited_in_the_dark_keeps_none_of_the_others() {
        let before = demo(0);
        let (_, text) = SHIPPED.iter().find(|(name, _)| *name == "brown-out").unwrap();
        let (plan, _) = Runbook::parse("brown-out", text, &[]).unwrap().plan(&before).unwrap();
        let begins = &plan.steps[0].changes[0].change;
        let Change::BrownOut { diffs, .. } = begins else { panic!("{begins:?}") };
        assert!(diffs.len() > 1);
        let sim = Sim::new(before.clone(), Pace::Instant);
        let edited = |world: &mut crate::model::Inventory| {
            let rows = world.tables.get_mut("domains").unwrap();
            let row = rows.iter_mut().find(|row| row["name"] == json!(diffs[0].key)).unwrap();
            row.insert("allowed_docker_registries".to_owned(), json!(["somebody.example"]));
        };
        sim.meddle(|world| {
            world.apply(begins);
            edited(world);
        });
        let mut said = vec![];
        stand(&sim, &Order { diffs: diffs.clone(), for_s: 0 }, |words| said.push(words.to_owned())).await;
        let mut expected = before;
        edited(&mut expected);
        assert_eq!(sim.world(), expected, "{said:?}");
        assert!(said.iter().any(|words| words.contains("NOT given back")), "{said:?}");
    }
}
