//! One open connection of ssh: whether it lives, what is forwarded over it, and why something over it failed.

use super::{Destination, root_cause};
use crate::model::{Fault, FaultKind};
use openssh::{ForwardType, Session, Socket};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::{
    io::AsyncReadExt,
    sync::{Mutex, Semaphore},
    time::timeout,
};

/// Commands at once over one connection: sshd allows ten (`MaxSessions`), the rest is left to the operator.
const COMMANDS: usize = 8;
/// For what only the local ssh process has to answer.
const LOCAL_DEADLINE: Duration = Duration::from_secs(5);
/// For sshd to say why it opens no connection.
const REFUSAL_DEADLINE: Duration = Duration::from_secs(5);

/// One open connection. Dropping it ends the ssh process and removes its private folder with all forwarded sockets.
pub(super) struct Link {
    pub(super) session: Session,
    pub(super) commands: Semaphore,
    forwards: Mutex<BTreeMap<String, PathBuf>>,
}

impl Link {
    /// `folder` holds the socket of its ssh, `master`, and what that one said, `log`.
    pub(super) fn new(folder: tempfile::TempDir) -> Self {
        Self { session: Session::new_native_mux(folder), commands: Semaphore::new(COMMANDS), forwards: Mutex::default() }
    }

    pub(super) async fn alive(&self) -> bool {
        matches!(timeout(LOCAL_DEADLINE, self.session.check()).await, Ok(Ok(())))
    }

    /// A command that did not come to an exit code. Whatever words it has for it: on a connection that is dead, it was that.
    pub(super) async fn lost(&self, error: &openssh::Error, destination: &Destination, what: &str) -> Fault {
        let what = format!("{what} on `{destination}`");
        match error {
            openssh::Error::Remote(io) if io.kind() == std::io::ErrorKind::NotFound => {
                Fault::new(FaultKind::Missing, what, root_cause(error))
            }
            _ if !self.alive().await => Fault::new(FaultKind::Passing, what, "the ssh connection broke off"),
            openssh::Error::RemoteProcessTerminated | openssh::Error::Disconnected => {
                Fault::new(FaultKind::Passing, what, root_cause(error))
            }
            _ => Fault::new(FaultKind::Lasting, what, root_cause(error)),
        }
    }

    /// `name` is what is kept of it: a path, or `host:port`.
    pub(super) async fn forward(&self, name: &str, to: Socket<'_>, destination: &Destination) -> Result<PathBuf, Fault> {
        let mut forwards = self.forwards.lock().await;
        if let Some(path) = forwards.get(name) {
            return Ok(path.clone());
        }
        let path = self.folder().join(format!("s{}", forwards.len()));
        let what = format!("forwarding `{name}` of `{destination}`");
        let asked = self.session.request_port_forward(ForwardType::Local, path.as_path(), to);
        match timeout(LOCAL_DEADLINE, asked).await {
            Ok(Ok(())) => {}
            Ok(Err(e)) => return Err(Fault::new(FaultKind::Lasting, what, root_cause(&e))),
            Err(_) => return Err(Fault::new(FaultKind::Passing, what, "ssh did not answer within 5 s")),
        }
        forwards.insert(name.to_owned(), path.clone());
        Ok(path)
    }

    fn folder(&self) -> &Path {
        self.session.control_socket().parent().unwrap_or(Path::new("/tmp"))
    }

    /// ssh writes the reason to its log before it closes the socket, without saying of which one: where others fail at the same
    /// time, what each attempt has in common is ours.
    pub(super) async fn refusal(&self, socket: &Path) -> Option<String> {
        let log = self.folder().join("log");
        let mut said: Option<BTreeSet<String>> = None;
        for _ in 0..3 {
            let before = tokio::fs::read(&log).await.ok()?.len();
            let mut stream = tokio::net::UnixStream::connect(socket).await.ok()?;
            let ended = timeout(REFUSAL_DEADLINE, stream.read(&mut [0])).await.ok()?;
            if matches!(ended, Ok(1..)) {
                return None;
            }
            let log = tokio::fs::read(&log).await.ok()?;
            let lines = String::from_utf8_lossy(log.get(before..)?).into_owned();
            let reasons = lines.lines().filter_map(|line| Some(line.split_once(": open failed: ")?.1.trim().to_owned()));
            let reasons: BTreeSet<String> = reasons.collect();
            let common = said.map_or_else(|| reasons.clone(), |said| said.intersection(&reasons).cloned().collect());
            if common.len() <= 1 {
                return common.into_iter().next();
            }
            said = Some(common);
        }
        None
    }
}
