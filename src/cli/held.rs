//! A lock that another castoff holds: in a terminal a page that tells who and what and offers to watch it, elsewhere an
//! error that names the ways on. Never takes the lock away.

use super::{
    Common, Failure,
    watch::{self, Running},
};
use crate::journal::{self, JournalError};
use crate::model::Plan;
use crate::remote::client::Connection;
use crate::tui;
use std::{path::Path, sync::Arc};
use tokio::sync::mpsc;

/// What is said of a journal or a cluster that cannot be had. `plan` is the one that was wanted here.
pub async fn told(common: &Common, on_screen: bool, state: &Path, plan: Option<&Arc<Plan>>, error: JournalError) -> Failure {
    let JournalError::Held { what, holder } = &error else { return error.into() };
    let (what, holder) = (what.clone(), holder.clone());
    // The lock of a cluster does not say which run: it is the one that the same castoff holds.
    let of_holder = |run: &String| journal::holder(state, run).as_ref() == Some(&holder);
    let run = journal::runs(state).into_iter().rev().find(of_holder);
    let failure = Failure::from(error);
    let Some(run) = run else {
        return failure.hint("castoff runs lists what is kept here; its castoff keeps its runs elsewhere, or begins only now");
    };
    let named = format!("{run}{}", common.again());
    let running = Running { state: state.to_owned(), run, holder, named };
    match show(common, on_screen, &running, plan, what).await {
        Ok(hint) => failure.hint(hint),
        Err(other) => other,
    }
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
    let hint = format!("castoff watch {named} looks on; castoff status {named} tells how it stands");
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
    let unreachable = format!("{why}: {}", watch::no_socket(running, &why));
    if on_screen {
        let entries = journal::read(&running.state, run).await?;
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
