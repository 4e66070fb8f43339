//! Looking on through a shared journal, where the run's own socket is out of reach: its entries as they are written.
//! Takes no lock, writes nothing, and sees no progress.

use super::{Common, Failure, Format, watch};
use crate::journal::Home;
use crate::model::{Event, Level, State};
use crate::{headless, report, tui};
use std::time::Duration;
use tokio::sync::mpsc;

/// How often the journal is asked.
const LOOK: Duration = Duration::from_secs(1);
/// A journal that is away for longer ends the looking.
const PATIENCE: u32 = 30;

/// The screens, or the lines, of a run that is kept in a shared journal and runs elsewhere.
pub async fn watch(common: &Common, running: &watch::Running, on_screen: bool, held: Option<tui::Held>) -> Result<(), Failure> {
    let entries = running.home.read(&running.run).await?;
    let seen = entries.last().map_or(0, |stamped| stamped.seq);
    let (event_to, events) = mpsc::channel(4096);
    let following = tokio::spawn(follow(running.home.clone(), running.run.clone(), seen, event_to, words(running)));
    if on_screen {
        let watching = tui::Watching { holder: running.holder.clone(), begun: !entries.is_empty(), held };
        let start = watch::start(common, running, entries, None, watching)?;
        // Nobody there hears a command.
        let (commands, mut unheard) = mpsc::channel(16);
        let deaf = tokio::spawn(async move { while unheard.recv().await.is_some() {} });
        tui::run(start, events, commands).await?;
        deaf.abort();
    } else {
        eprint!("{}", report::status_text(&running.run, &State::fold(&entries)?, Some(&running.holder)));
        headless::watch(&entries, events, common.format == Format::Json).await;
    }
    following.abort();
    Ok(())
}

fn words(running: &watch::Running) -> String {
    let host = watch::host_of(&running.holder).unwrap_or("its own machine");
    format!("seen through the shared journal, entry by entry: progress is seen only on {host}")
}

/// Until the run is over, nobody has it any more, or nobody listens.
async fn follow(home: Home, run: String, mut seen: u64, events: mpsc::Sender<Event>, words: String) {
    let at_ms = jiff::Timestamp::now().as_millisecond();
    let said = Event::Said { level: Level::Info, at_ms, place: String::new(), text: words };
    if events.send(said).await.is_err() {
        return;
    }
    let mut silent = 0;
    while silent < PATIENCE {
        // Asked before the entries: one that its holder wrote last is not missed.
        let holder = home.holder(&run).await;
        let new = match home.reader(&run).await {
            Ok(reader) => reader.after(seen).await,
            Err(error) => Err(error),
        };
        match new {
            Ok(new) => {
                silent = 0;
                for stamped in new {
                    seen = stamped.seq;
                    if events.send(Event::Entry(stamped)).await.is_err() {
                        return;
                    }
                }
                if let Ok(None) = holder {
                    return;
                }
            }
            Err(_) => silent += 1,
        }
        tokio::time::sleep(LOOK).await;
    }
}
