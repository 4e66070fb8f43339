//! `castoff log`: the entries of a run in words or as JSON, and on as they are written.
//! Never takes a lock, and never ends a run by not being read.

use super::{Common, Exit, Failure, Format, home, look_up};
use crate::account::Account;
use crate::model::{Event, Stamped, text};
use crate::report::moment;
use serde_json::json;
use std::{io::Write, time::Duration};

/// How often a journal that is followed is read.
const LOOK: Duration = Duration::from_millis(500);

pub async fn log(common: &Common, run: Option<String>, follow: bool) -> Result<Exit, Failure> {
    let home = home::home(common).await?;
    let (run, entries, _) = look_up::find(&home, run).await?;
    let mut account = Account::default();
    let mut seen = entries.len() as u64;
    let mut taken = tell(common, &mut account, entries);
    let reader = home.reader(&run).await?;
    let mut alone = false;
    while follow && taken {
        let held = home.holder(&run).await?.is_some();
        // Asked after the holder: an entry that it wrote last is not missed.
        let new = reader.after(seen).await?;
        seen += new.len() as u64;
        taken = tell(common, &mut account, new);
        if account.state.finished.is_some() && !held {
            break;
        }
        if !held && !std::mem::replace(&mut alone, true) {
            let _ = writeln!(std::io::stderr(), "nobody runs it now: castoff resume {run}{}", common.again());
        }
        alone = !held;
        tokio::time::sleep(LOOK).await;
    }
    Ok(Exit::Done)
}

/// Prints entries. Whether somebody still reads.
fn tell(common: &Common, account: &mut Account, entries: Vec<Stamped>) -> bool {
    let mut out = std::io::stdout().lock();
    let mut taken = true;
    for stamped in entries {
        let (seq, at_ms) = (stamped.seq, stamped.at_ms);
        let event = Event::Entry(stamped);
        for line in account.take(&event, at_ms) {
            let written = match (&event, common.format) {
                (Event::Entry(stamped), Format::Json) => {
                    let object = json!({ "v": 1, "seq": seq, "at-ms": at_ms, "entry": stamped.entry });
                    writeln!(out, "{}", text::json(&object.to_string()))
                }
                _ => writeln!(out, "{seq:>5}  {}  {}", moment(at_ms), text::clean(&line.text)),
            };
            taken &= written.is_ok();
        }
    }
    taken && out.flush().is_ok()
}
