//! The connections that are open: one ssh for each destination, made when it is first needed, and again when it died.
//! It never asks a question on the screen, and never trusts a host whose key the operator's ssh does not know.

use super::{
    Destination, Output,
    link::Link,
    pipes::{Input, RemoteLine, Tail, feed},
    refusals::{not_started, refused_by_ssh},
};
use crate::{
    cluster::{config::Ssh, secret::Group},
    model::{Fault, FaultKind},
};
use openssh::Stdio;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{Mutex, Notify, Semaphore},
    time::{sleep, timeout},
};

/// Handshakes at once: sshd drops strangers from the tenth on (`MaxStartups 10:30:100`).
const HANDSHAKES: usize = 8;
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(20);
/// How long a daemon that a command left behind may hold our pipes.
const PIPES_GRACE: Duration = Duration::from_millis(500);
/// How ssh calls the far end of a way that it did not make itself.
const BEHIND_A_JUMP: &str = "UNKNOWN port 65535";

/// Locked while a connection is made: others who need it wait for the one attempt.
type Slot = Arc<Mutex<Option<Arc<Link>>>>;

/// Every ssh connection of this castoff: one for each destination, shared, made again when it died.
pub struct Sessions {
    config: Option<PathBuf>,
    /// Environment variables that hold secrets: taken away from every child.
    secret_variables: Vec<String>,
    slots: Mutex<BTreeMap<Destination, Slot>>,
    handshakes: Semaphore,
}

impl Sessions {
    pub fn new(ssh: &Ssh, secret_variables: Vec<String>) -> Arc<Self> {
        let (slots, handshakes) = (Mutex::default(), Semaphore::new(HANDSHAKES));
        Arc::new(Self { config: ssh.config.clone(), secret_variables, slots, handshakes })
    }

    fn command(&self, program: &str) -> tokio::process::Command {
        let mut command = tokio::process::Command::new(program);
        command.stdin(std::process::Stdio::null()).kill_on_drop(true);
        for name in &self.secret_variables {
            command.env_remove(name);
        }
        command
    }

    pub(super) async fn run_local(&self, words: &[String], working_dir: Option<&str>, input: Input<'_>) -> Result<Output, Fault> {
        let (program, arguments) = (&words[0], &words[1..]);
        let mut command = self.command(program);
        command.args(arguments).stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).process_group(0);
        if let Some(folder) = working_dir {
            command.current_dir(folder);
        }
        if !matches!(input, Input::Nothing) {
            command.stdin(std::process::Stdio::piped());
        }
        let mut child = command.spawn().map_err(|e| not_started(program, working_dir, &e))?;
        let group = Group::of(&child);
        let (mut stdout, mut stderr) = (Tail::of_output(input), Tail::of_errors());
        let (stdin, pipes, exited) = (child.stdin.take(), (child.stdout.take(), child.stderr.take()), Notify::new());
        let running = async {
            let (_held, exit) = tokio::join!(feed(stdin, input), child.wait());
            group.ended();
            exited.notify_one();
            exit
        };
        let reading = async {
            tokio::select! {
                ((), ()) = async { tokio::join!(stdout.fill(pipes.0, None), stderr.fill(pipes.1, None)) } => {}
                () = async { exited.notified().await; sleep(PIPES_GRACE).await } => {}
            }
        };
        let (exit, ()) = tokio::join!(running, reading);
        let exit = exit.map_err(|e| Fault::new(FaultKind::Lasting, format!("`{program}`"), e.to_string()))?;
        Ok(Output { code: exit.code(), stdout: stdout.text(), stderr: stderr.text() })
    }

    pub(super) async fn run_remote(
        &self,
        destination: &Destination,
        line: &RemoteLine,
        input: Input<'_>,
        what: &str,
    ) -> Result<Output, Fault> {
        let connection = self.link(destination).await?;
        let _turn = connection.commands.acquire().await;
        let mut command = connection.session.shell(&line.text);
        let stdin = if matches!(input, Input::Nothing) { Stdio::null() } else { Stdio::piped() };
        command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = match command.spawn().await {
            Ok(child) => child,
            Err(e) => return Err(connection.lost(&e, destination, what).await),
        };
        let (mut stdout, mut stderr) = (Tail::of_output(input), Tail::of_errors());
        let (stdin, pipes, mark) =
            (child.stdin().take(), (child.stdout().take(), child.stderr().take()), Some(line.mark.as_str()));
        // The exit code overtakes what was printed, and hearing it closes the session: whatever had not arrived by then would be
        // lost without a word. So it is asked for when both have come to their ends.
        let ended = async {
            tokio::join!(stdout.fill(pipes.0, mark), stderr.fill(pipes.1, mark));
            child.wait().await
        };
        let (_held, status) = tokio::join!(feed(stdin, input), ended);
        let code = match status {
            Ok(status) if status.success() && !(stdout.whole && stderr.whole) => {
                let what = format!("{what} on `{destination}`");
                return Err(Fault::new(FaultKind::Passing, what, "the end of what it printed did not arrive"));
            }
            Ok(status) => status.code(),
            // The protocol has one word for a command that died by a signal and for a lost connection.
            Err(openssh::Error::RemoteProcessTerminated) if connection.alive().await => None,
            Err(e) => return Err(connection.lost(&e, destination, what).await),
        };
        Ok(Output { code, stdout: stdout.text(), stderr: stderr.text() })
    }

    pub(super) async fn link(&self, destination: &Destination) -> Result<Arc<Link>, Fault> {
        let slot = Arc::clone(self.slots.lock().await.entry(destination.clone()).or_default());
        let mut slot = slot.lock().await;
        if let Some(link) = slot.as_ref()
            && link.alive().await
        {
            return Ok(Arc::clone(link));
        }
        *slot = None;
        let _turn = self.handshakes.acquire().await;
        let link = Arc::new(self.connect(destination).await?);
        *slot = Some(Arc::clone(&link));
        Ok(link)
    }

    /// Starts the operator's ssh as the master of a session. Done here and not by `SessionBuilder`, which would hand
    /// castoff's whole environment on to ssh and to every ProxyCommand.
    async fn connect(&self, destination: &Destination) -> Result<Link, Fault> {
        let what = format!("ssh to `{destination}`");
        let fault = |kind, why: &str| Fault::new(kind, &what, why);
        let folder =
            private_folder().map_err(|e| fault(FaultKind::Lasting, &format!("no private folder for its socket: {e}")))?;
        let log = folder.path().join("log");
        let mut command = self.command("ssh");
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        command.arg("-E").arg(&log).arg("-S").arg(folder.path().join("master")).args(["-M", "-f", "-N"]);
        // Idle connections end by themselves, also when castoff was killed.
        command.args(["-o", "ControlPersist=300"]);
        // Less would keep back why a connection is not forwarded.
        command.args(["-o", "LogLevel=INFO"]);
        self.address(&mut command, destination);
        let status = timeout(HANDSHAKE_DEADLINE, command.status())
            .await
            .map_err(|_| fault(FaultKind::Passing, "no answer within 20 s"))?
            .map_err(|e| fault(FaultKind::Lasting, &format!("`ssh` cannot be started: {e}")))?;
        if !status.success() {
            let mut words = String::from_utf8_lossy(&tokio::fs::read(&log).await.unwrap_or_default()).into_owned();
            if words.contains(BEHIND_A_JUMP) {
                words.push_str(&self.words_of_the_way(destination).await);
            }
            return Err(refused_by_ssh(&what, &words));
        }
        Ok(Link::new(folder))
    }

    /// Why the way over a jump host ended: a master silences the ssh to that host, so it is asked once more without one.
    async fn words_of_the_way(&self, destination: &Destination) -> String {
        let mut command = self.command("ssh");
        command.args(["-S", "none", "-o", "ControlPersist=no", "-T"]);
        self.address(&mut command, destination);
        command.arg("true").stdout(std::process::Stdio::null()).stderr(std::process::Stdio::piped());
        match timeout(HANDSHAKE_DEADLINE, command.output()).await {
            Ok(Ok(output)) => String::from_utf8_lossy(&output.stderr).into_owned(),
            _ => String::new(),
        }
    }

    /// Everything that says where to and how; it ends with the host.
    fn address(&self, command: &mut tokio::process::Command, destination: &Destination) {
        for option in ["BatchMode=yes", "StrictHostKeyChecking=yes", "ConnectTimeout=10", "StreamLocalBindMask=0177"] {
            command.args(["-o", option]);
        }
        command.args(["-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3"]);
        // The ssh to a jump host has not heard of BatchMode: without these it would ask its questions on the screen.
        command.env("SSH_ASKPASS", "false").env("SSH_ASKPASS_REQUIRE", "force");
        if let Some(config) = &self.config {
            command.arg("-F").arg(config);
        }
        if let Some(user) = &destination.user {
            command.arg("-l").arg(user);
        }
        if let Some(port) = destination.port {
            command.arg("-p").arg(port.to_string());
        }
        command.arg("--").arg(&destination.host);
    }
}

/// Sockets may have 107 characters at most, so a long TMPDIR is not used.
fn private_folder() -> std::io::Result<tempfile::TempDir> {
    use std::os::unix::fs::PermissionsExt;
    let temporary = std::env::temp_dir();
    let base = if temporary.as_os_str().len() <= 50 { temporary.as_path() } else { Path::new("/tmp") };
    let only_mine = std::fs::Permissions::from_mode(0o700);
    tempfile::Builder::new().prefix("castoff-").permissions(only_mine).tempdir_in(base)
}
