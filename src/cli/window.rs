//! Which window holds: the one of the command line, else the cluster file's for a new run. A run that is taken up again
//! keeps its own, unless another is given on purpose. Touches no cluster.

use super::{Common, Exit, Failure, run::now_ms};
use crate::cluster::config::ClusterFile;
use crate::model::{
    Window,
    window::{Agreed, BadWindow},
};
use clap::Args;
use jiff::tz::TimeZone;

#[derive(Args, Clone, Debug, Default)]
pub struct WindowOption {
    /// The agreed window: `02:00-04:00`, `2026-11-22T02:00-04:00` or `02:00-04:00@Asia/Seoul`; `none` leaves out the
    /// cluster file's
    #[arg(long, value_name = "FROM-UNTIL")]
    window: Option<String>,
}

impl WindowOption {
    /// For a plan or a new run: what was asked, else what the cluster file says. A rehearsal reads no cluster file.
    pub fn of_new_run(&self, common: &Common, simulated: bool) -> Result<Option<Window>, Failure> {
        match self.window.as_deref() {
            Some("none") => Ok(None),
            Some(written) => asked(written).map(Some),
            None if simulated => Ok(None),
            None => {
                let file = ClusterFile::load(common.cluster.as_deref())?;
                let at = |window: &crate::cluster::config::WindowConfig| window.agreed()?.at(now_ms(), &TimeZone::system());
                file.window.as_ref().map(at).transpose().map_err(|wrong| usage("`[window]` of the cluster file", wrong))
            }
        }
    }

    /// For a run that is taken up again: only what was asked on purpose.
    pub fn of_known_run(&self) -> Result<Option<Window>, Failure> {
        match self.window.as_deref() {
            Some("none") => {
                let failure = Failure::new(Exit::Usage, "a run that has a window keeps one");
                Err(failure.hint("a later end lets go what the window holds: --window 02:00-06:00"))
            }
            Some(written) => asked(written).map(Some),
            None => Ok(None),
        }
    }
}

fn asked(written: &str) -> Result<Window, Failure> {
    let now_ms = now_ms();
    let window = Agreed::parse(written).and_then(|agreed| agreed.at(now_ms, &TimeZone::system()));
    let window = window.map_err(|wrong| usage(&format!("`--window {}`", crate::model::text::clean(written)), wrong))?;
    if window.is_over(now_ms) {
        let failure = Failure::new(Exit::Usage, format!("`--window {written}` is {}", window.left(now_ms)));
        return Err(failure.hint("without a date the next one is meant"));
    }
    Ok(window)
}

fn usage(place: &str, wrong: BadWindow) -> Failure {
    Failure::new(Exit::Usage, format!("{place}: {}", wrong.what)).hint(wrong.expected)
}
