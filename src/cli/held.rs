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
use std::sync::Arc;
use tokio::sync::mpsc;

/// What is said of a journal or a cluster that cannot be had. `plan` is the one that was wanted here.
pub async fn told(common: &Common, on_screen: bool, home: &Home, plan: Option<&Arc<Plan>>, failure: Failure) -> Failure {
    let Some(JournalError::Held { what, holder, run }) = failure.error.downcast_ref::<JournalError>() else { return failure };
    let (what, holder, named) = (what.clone(), holder.clone(), run.clone());
    let Some(run) = run_of(home, &holder, named.as_deref()).await else {
        let host = watch::host_of(&holder).filter(|host| *host != peer::host());
        return failure.hint(match (named, host) {
            (Some(run), Some(host)) => format!("it is run {run}, kept elsewhere: castoff watch {run} works on {host}"),
            (Some(run), None) => format!("it is run {run}, kept elsewhere on this machine: --state or --journal says where"),
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
