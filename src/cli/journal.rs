//! `castoff journal`: whether the record of a run is whole. Takes no lock, and mends nothing.

use super::{Common, Exit, Failure, Format, home, look_up};
use crate::journal::JournalError;
use crate::model::State;
use crate::model::text::{self, count};
use serde_json::json;

/// `castoff journal verify`: names the first entry that is not as it was written.
pub async fn verify(common: &Common, run: Option<String>) -> Result<Exit, Failure> {
    let home = home::home(common).await?;
    let run = look_up::name(&home, run).await?;
    let found = match home.reader(&run).await {
        Ok(reader) => reader.verify().await,
        Err(error) => Err(error),
    };
    let links = match found {
        Err(JournalError::Damaged { path, seq, why }) => return damaged(common, &run, &path.display().to_string(), seq, &why),
        other => other?,
    };
    let entries: Vec<_> = links.iter().map(|link| link.stamped.clone()).collect();
    if let Err(illegal) = State::fold(&entries) {
        return damaged(common, &run, &run, illegal.seq, &format!("it cannot follow: {}", illegal.why));
    }
    let head = links.last().map(|link| link.hash.to_string());
    match common.format {
        Format::Json => {
            let whole = json!({ "v": 1, "run": run, "whole": true, "entries": links.len(), "last-hash": head });
            println!("{}", text::json(&whole.to_string()));
        }
        Format::Text => {
            println!("run {run}: {} as written, nothing is missing", count(links.len() as u64, "entry"));
            println!("last hash  {}", head.as_deref().unwrap_or("-"));
        }
    }
    Ok(Exit::Done)
}

fn damaged(common: &Common, run: &str, path: &str, seq: u64, why: &str) -> Result<Exit, Failure> {
    if common.format == Format::Json {
        let broken = json!({ "v": 1, "run": run, "whole": false, "entry": seq, "why": why });
        println!("{}", text::json(&broken.to_string()));
    }
    let failure = Failure::new(Exit::Unexpected, format!("the journal `{path}` is damaged at entry {seq}: {why}"));
    let before = seq.saturating_sub(1);
    Err(failure.hint(format!(
        "what stands up to entry {before} is as it was written; keep the file, then castoff plan and castoff verify tell how the cluster stands"
    )))
}
