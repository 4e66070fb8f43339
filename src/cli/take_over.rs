//! `castoff take-over`: goes on with a run that another castoff began, by another operator or on another machine. Says
//! why in the journal. Never takes a run from a castoff that lives, unless that is said in so many words.

use super::run;
use super::{Common, Exit, Failure, Front, Takeover, WindowOption, face, going::Going, home, look_up, process};
use crate::journal::Keeper;
use crate::model::{is_reason, text};
use crate::report;
use face::Face;
use std::io::Write;

pub async fn take_over(common: &Common, asked: &Takeover, front: &Front, window: &WindowOption) -> Result<Exit, Failure> {
    let window = window.of_known_run()?;
    if !is_reason(&asked.reason) {
        return Err(Failure::new(Exit::Usage, "a reason is needed to take a run over").hint("--reason \"kim's line is dead\""));
    }
    let home = home::home(common).await?;
    let (name, _, folded) = look_up::find(&home, Some(asked.run.clone())).await?;
    if let Some(outcome) = &folded.finished {
        eprintln!("run {name} is over: {}", report::standing(&folded));
        return Ok(Exit::of_outcome(outcome));
    }
    let plan = folded.plan.clone().ok_or_else(|| Failure::new(Exit::Usage, format!("run `{name}` never began")))?;
    let face = face::choose(front.ui())?;
    let approvals = run::approvals(front, &plan)?;
    let alive = home.holder(&name).await?;
    let mut by_force = false;
    if let Some(keeper) = &alive {
        if !asked.even_if_alive {
            return Err(lives(common, &name, keeper));
        }
        by_force = true;
        let approved = approvals.contains_key("take-over");
        if face == Face::Headless && !approved {
            let words = format!("run `{name}` is held by {} and its castoff lives", keeper.holder);
            return Err(Failure::new(Exit::NotApproved, words).hint(format!("--approve take-over={}", plan.plan)));
        }
        if !approved && !typed(&name, keeper)? {
            return Err(Failure::new(Exit::NotApproved, "another name was typed: nothing was taken over"));
        }
    }
    let cluster = run::live_named(common, &plan.cluster)?;
    let way = run::Way::TakeOver { why: asked.reason.trim(), by_force };
    let going = run::begun(common, face, (home, cluster), (&plan, name.clone()), way).await?;
    let from = alive.map_or_else(|| "nobody had it any more".to_owned(), |keeper| format!("it was held by {}", keeper.holder));
    eprintln!("run {name} is taken over by {}: {}; {from}", process::holder().who, text::clean(asked.reason.trim()));
    Going { approvals, window, ..going }.go(common, front, None, face).await
}

/// Who has it, and what can be done instead.
fn lives(common: &Common, run: &str, keeper: &Keeper) -> Failure {
    let named = format!("{run}{}", common.again());
    let heard = keeper.silent_ms.map_or_else(String::new, |ms| format!(", last heard of {} ago", text::duration(ms.max(0))));
    let failure = Failure::new(Exit::Held, format!("run `{run}` is held by {}{heard}: its castoff lives", keeper.holder));
    failure.hint(format!(
        "castoff watch {named} looks on; castoff stop {named} asks it to leave at its safe point; \
         --even-if-alive takes it away all the same"
    ))
}

/// The name of the run, typed by somebody who read whose it is.
fn typed(run: &str, keeper: &Keeper) -> Result<bool, Failure> {
    let mut out = std::io::stdout();
    let asked = write!(
        out,
        "Run {run} is held by {}, and its castoff lives.\nWhat it has in flight goes on to its end there; nothing new begins there.\n\
         To take it over, type the name of the run: ",
        text::clean(&keeper.holder)
    );
    let unread = |why: std::io::Error| Failure::new(Exit::Unexpected, format!("cannot read standard input: {why}"));
    asked.and_then(|()| out.flush()).map_err(unread)?;
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).map_err(unread)?;
    Ok(line.trim() == run)
}
