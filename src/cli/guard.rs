//! The guard's own process. It leaves the terminal that castoff runs in, so that no hangup and no Ctrl-C ends it.

use super::{Common, Exit, Failure, run};
use crate::cluster::guard::{Order, READY, stand};
use crate::cluster::{config::ClusterFile, live::Live};
use crate::report;
use anyhow::Context;
use std::{
    io::{Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

/// Reads its order from standard input, says that it stands, and stands. `log` is added to.
pub async fn guard(common: &Common, log: &Path) -> Result<Exit, Failure> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).context("cannot read the order")?;
    let order: Order = serde_json::from_str(&text).context("cannot read the order")?;
    let live = Live::new(ClusterFile::load(common.cluster.as_deref())?, run::now_ms)?;
    let flags = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
    let file = std::fs::OpenOptions::new().append(true).create(true).mode(0o600).custom_flags(flags).open(log);
    let mut file = file.with_context(|| format!("cannot write `{}`", log.display()))?;
    // A leader of its own session has no terminal, so no hangup either.
    rustix::process::setsid().context("cannot leave the session")?;
    let mut out = std::io::stdout();
    writeln!(out, "{READY}").and_then(|()| out.flush()).context("cannot say that the guard stands")?;
    let process = std::process::id();
    stand(&live, &order, |said| {
        // A full disk must not keep the registry from being given back.
        let _ = writeln!(file, "{} guard {process}: {said}", report::moment(run::now_ms()));
    })
    .await;
    Ok(Exit::Done)
}
