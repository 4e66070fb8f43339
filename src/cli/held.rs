//! A run or a cluster that another castoff holds: in a terminal a page that tells who and what and offers to watch it,
//! elsewhere an error that names the ways on. Never takes anything away.

use super::{
    Common, Failure, afar,
    watch::{self, Running},
};
use crate::journal::{Home, JournalError};
use crate::model::Plan;
use crate::remote::client::Connection;
use crate::remote::peer;
use crate::tui;
use std::{sync::Arc, time::Duration};
use tokio::sync::mpsc;

/// What is said of a journal or a cluster that cannot be had. `plan` is the one that was wanted here.
pub async fn told(common: &Common, on_screen: bool, home: &Home, plan: Option<&Arc<Plan>>, failure: Failure) -> Failure {
    let Some(JournalError::Held { what, holder, run, journal }) = failure.error.downcast_ref::<JournalError>() else {
        return failure;
    };
    let (what, holder, named, journal) = (what.clone(), holder.clone(), run.clone(), journal.clone());
    let Some(run) = kept_here(home, &holder, named.as_deref()).await else {
        let host = watch::host_of(&holder).filter(|host| *host != peer::host());
        let on = host.map_or_else(|| "with the --state or --journal of that".to_owned(), |host| format!("on {host}"));
        return failure.hint(match (named, journal) {
            (Some(run), Some(journal)) => format!("it is run {run}, kept in {journal}: castoff watch {run} looks on {on}"),
            (Some(run), None) => format!("it is run {run}, kept elsewhere: castoff watch {run} looks on {on}"),
            _ => "castoff runs lists what is kept here; its castoff keeps its runs elsewhere, or begins only now".to_owned(),
        });
    };
    let named = format!("{run}{}", common.again());
    let running = Running { home: home.clone(), run, holder, named };
    match show(common, on_screen, &running, plan, what).await {
        Ok(hint) => failure.hint(hint),
        Err(other) => other,
    }
}

/// The run that this castoff holds, looked for once more for a second: who takes a cluster makes the journal of its run only
/// then.
async fn kept_here(home: &Home, holder: &str, named: Option<&str>) -> Option<String> {
    for _ in 0..10 {
        let run = run_of(home, holder, named).await;
        if run.is_some() || named.is_none() {
            return run;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    None
}

/// The run that this castoff holds, if it is kept here. The lock of a cluster does not say which run it is.
async fn run_of(home: &Home, holder: &str, named: Option<&str>) -> Option<String> {
    for run in home.runs().await.ok()?.into_iter().rev() {
        if named.is_some_and(|named| named == run) {
            return Some(run);
        }
        if named.is_none() && home.holder(&run).await.ok().flatten().is_some_and(|keeper| keeper.holder == holder) {
            return Some(run);
        }
    }
    None
}

/// Shows the page if there is a terminal; gives back the hint that stays.
async fn show(
    common: &Common,
    on_screen: bool,
    running: &Running,
    plan: Option<&Arc<Plan>>,
    what: String,
) -> Result<String, Failure> {
    let run = &running.run;
    let named = &running.named;
    let hint = format!(
        "castoff watch {named} looks on; castoff status {named} tells how it stands; \
         castoff take-over {named} --reason \"…\" goes on with it here, once its castoff is gone"
    );
    let why = match Connection::open(&running.folder()).await {
        Ok(connection) => {
            if on_screen {
                let held = tui::Held { what, unreachable: None };
                watch::look_on(common, running, connection, Some(held)).await?;
            }
            return Ok(hint);
        }
        Err(why) => why,
    };
    if running.home.is_shared() {
        if on_screen && !running.home.read(run).await?.is_empty() {
            let held = tui::Held { what, unreachable: None };
            afar::watch(common, running, true, Some(held)).await?;
        }
        return Ok(hint);
    }
    let unreachable = format!("{why}: {}", watch::no_socket(running, &why));
    if on_screen {
        let entries = running.home.read(run).await?;
        let held = tui::Held { what, unreachable: Some(unreachable.clone()) };
        let watching = tui::Watching { holder: running.holder.clone(), begun: !entries.is_empty(), held: Some(held) };
        let start = watch::start(common, running, entries, plan.cloned(), watching)?;
        // Nothing ever comes: the page is what the journal said.
        let (_nobody, events) = mpsc::channel(1);
        let (commands, _unheard) = mpsc::channel(1);
        tui::run(start, events, commands).await?;
    }
    Ok(unreachable)
}
