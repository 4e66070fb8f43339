//! What goes on beside a run: the socket for other terminals, and the notices. The run waits for none of it, and goes on
//! without whatever cannot be had.

use super::{Common, Exit, Failure, Front};
use crate::cluster::{config::ClusterFile, secret};
use crate::model::{Asked, Event, Stamped, text};
use crate::notify::{Notices, Run, Ways, Webhook};
use crate::remote::{Hub, Socket, wire::Hello};
use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc::{self, Receiver, Sender},
    task::JoinHandle,
};

/// How long the last notice may take when everything else is done.
const LAST_NOTICE: Duration = Duration::from_secs(5);

/// The ends that the engine and the front end hold.
pub struct Ends {
    pub events: Sender<Event>,
    pub front: Receiver<Event>,
    pub asked: Receiver<Asked>,
}

pub struct Beside {
    socket: Option<Socket>,
    tee: JoinHandle<()>,
    notices: Option<Notices>,
    signalled: Arc<AtomicBool>,
}

impl Beside {
    /// Opens the socket in the run's folder and lets the events part.
    pub fn begin(
        hello: Hello,
        folder: &Path,
        entries: &[Stamped],
        ways: Ways,
        now_ms: fn() -> i64,
    ) -> Result<(Self, Ends), Failure> {
        let (events, from_engine) = mpsc::channel(4096);
        let (to_front, front) = mpsc::channel(4096);
        let (to_engine, asked) = mpsc::channel(16);
        let run = Run { run: hello.run.clone(), cluster: hello.cluster.clone(), now_ms };
        let (aside, notices) = if ways.is_empty() {
            (None, None)
        } else {
            let (aside, heard) = mpsc::unbounded_channel();
            let notices = Notices::start(ways, run, entries, heard, events.downgrade());
            (Some(aside), Some(notices.map_err(|why| Failure::new(Exit::Usage, why))?))
        };
        let name = hello.run.clone();
        let hub = Hub::new(hello, entries, to_engine);
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        let socket = match Socket::open(hub.clone(), folder, &name, runtime.as_deref()) {
            Ok(socket) => Some(socket),
            Err(error) => {
                eprintln!("{}", text::clean(&format!("warning: castoff watch cannot reach this run: {error}")));
                None
            }
        };
        let tee = tokio::spawn(hub.tee(from_engine, to_front, aside));
        Ok((Self { socket, tee, notices, signalled: signalled() }, Ends { events, front, asked }))
    }

    /// The engine has ended: whoever looks on is told, and the socket goes. `open`: the run can be resumed; `lost`: the
    /// terminal is.
    pub async fn engine_ended(&mut self, open: bool, lost: bool) {
        let _ = (&mut self.tee).await;
        self.socket = None;
        if let Some(notices) = self.notices.as_ref().filter(|_| open && (lost || self.signalled.load(Ordering::SeqCst))) {
            notices.interrupted();
        }
    }

    /// Lets the last notice arrive.
    pub async fn finish(self) {
        let Some(notices) = self.notices else { return };
        for words in notices.finish(LAST_NOTICE).await {
            eprintln!("{}", text::clean(&format!("warning: {words}")));
        }
    }
}

/// Set by the first signal that ends a run.
fn signalled() -> Arc<AtomicBool> {
    let heard = Arc::new(AtomicBool::new(false));
    let set = heard.clone();
    tokio::spawn(async move {
        let kinds = (SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup());
        let (Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)) = (signal(kinds.0), signal(kinds.1), signal(kinds.2)) else {
            return;
        };
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
        set.store(true, Ordering::SeqCst);
    });
    heard
}

/// Where notices go: the option, and what the cluster file says. A rehearsal reads no cluster file.
pub async fn ways(common: &Common, front: &Front, simulated: bool) -> Result<Ways, Failure> {
    let mut ways = Ways { commands: front.notify.clone().into_iter().collect(), ..Ways::default() };
    if simulated {
        return Ok(ways);
    }
    let file = ClusterFile::load(common.cluster.as_deref())?;
    ways.hidden = file.secret_variables();
    secret::keep_from_children(&ways.hidden);
    ways.commands.extend(file.notify.command);
    if let Some(url) = file.notify.webhook {
        let token = match &file.notify.token {
            Some(token) => Some(token.read().await?),
            None => None,
        };
        ways.webhook = Some(Webhook { url, token, ca: file.notify.ca });
    }
    Ok(ways)
}
