//! Runs commands on the machines of a cluster, here or over the operator's own ssh, and forwards remote sockets and ports.
//! It never goes through a local shell, and no child gets a secret in its environment.

use super::{config::Ssh, secret::Group};
use crate::model::{Fault, FaultKind};
use openssh::{ForwardType, Session, Socket, Stdio};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::{Mutex, Semaphore},
    time::timeout,
};

/// Handshakes at once: sshd drops strangers from the tenth on (`MaxStartups 10:30:100`).
const HANDSHAKES: usize = 8;
/// Commands at once over one connection: sshd allows ten (`MaxSessions`), the rest is left to the operator.
const COMMANDS: usize = 8;
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(20);
/// For what only the local ssh process has to answer.
const LOCAL_DEADLINE: Duration = Duration::from_secs(5);
/// For sshd to say why it opens no connection.
const REFUSAL_DEADLINE: Duration = Duration::from_secs(5);
/// How long a daemon that a command left behind may hold our pipes.
const PIPES_GRACE: Duration = Duration::from_millis(500);
/// How ssh calls the far end of a way that it did not make itself.
const BEHIND_A_JUMP: &str = "UNKNOWN port 65535";
/// What the mark at the end of an output begins with.
const MARK: &str = "=castoff-end-";
/// What is kept of an output: its end.
const OUTPUT_LIMIT: usize = 1 << 20;
/// The same of a command that is given input: those print files.
const FILES_LIMIT: usize = 64 << 20;

/// Where commands run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    Local,
    Ssh(Destination),
}

/// `user@host:port` as written; everything that is not written comes from the operator's ssh configuration.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Destination {
    user: Option<String>,
    host: String,
    port: Option<u16>,
}

impl Place {
    /// `local` or `ssh://user@host[:port]`.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        if text == "local" {
            return Ok(Self::Local);
        }
        let bad = || {
            Fault::new(FaultKind::Lasting, format!("`{text}`"), "it is neither `local` nor `ssh://user@host`")
                .hint("correct `host` in the cluster file")
        };
        text.strip_prefix("ssh://").and_then(Destination::parse).map(Self::Ssh).ok_or_else(bad)
    }
}

impl Destination {
    /// A word that begins with `-` would be an option to ssh, so it is refused.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (user, host) = text.rsplit_once('@').map_or((None, text), |(user, host)| (Some(user), host));
        let (host, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((address, "")) => (address, None),
            Some((address, rest)) => (address, Some(rest.strip_prefix(':')?.parse().ok()?)),
            None => match host.rsplit_once(':') {
                Some((host, port)) => (host, Some(port.parse().ok()?)),
                None => (host, None),
            },
        };
        let plain = |word: &str| {
            !word.is_empty()
                && !word.starts_with('-')
                && !word.contains(|c: char| c.is_whitespace() || c.is_control() || c == '/')
        };
        (plain(host) && user.is_none_or(plain)).then(|| Self { user: user.map(str::to_owned), host: host.to_owned(), port })
    }
}

impl std::fmt::Display for Destination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "{open}{}{close}", self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// What a command left: its exit code (`None` after a signal) and the end of what it wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    /// The last line with words on it that it wrote to stderr: what a person would quote.
    pub fn last_words(&self) -> String {
        let line = self.stderr.lines().rev().find(|line| !line.trim().is_empty());
        line.map_or_else(|| format!("it ended with code {}", self.code.unwrap_or(-1)), |line| line.trim().to_owned())
    }
}

/// Runs commands in one place. Cheap to clone; the sessions are shared.
#[derive(Clone)]
pub struct Runner {
    place: Place,
    sudo: bool,
    sessions: Arc<Sessions>,
}

impl Runner {
    pub fn new(place: Place, sessions: &Arc<Sessions>) -> Self {
        Self { place, sudo: false, sessions: Arc::clone(sessions) }
    }

    /// Every command is run by `sudo -n`: for root, and never asking for a password.
    #[must_use]
    pub fn with_sudo(self, sudo: bool) -> Self {
        Self { sudo, ..self }
    }

    pub fn sudo(&self) -> bool {
        self.sudo
    }

    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Runs a list of words. Whatever the exit code is, it is an answer; a `Fault` is: not started, not ended in time, or
    /// refused by sudo.
    pub async fn run(&self, words: &[String], working_dir: Option<&str>, deadline: Duration) -> Result<Output, Fault> {
        self.run_in(words, working_dir, None, deadline).await
    }

    /// The same with these bytes on its standard input: the way for what must not be an argument. A connection that breaks
    /// off ends the input early, so the command has to know by itself when it is whole.
    pub async fn run_with(&self, words: &[String], input: &[u8], deadline: Duration) -> Result<Output, Fault> {
        self.run_in(words, None, Some(input), deadline).await
    }

    async fn run_in(
        &self,
        words: &[String],
        working_dir: Option<&str>,
        input: Option<&[u8]>,
        deadline: Duration,
    ) -> Result<Output, Fault> {
        let program = words.first().map_or("", String::as_str);
        let what = format!("`{program}`");
        if program.is_empty() {
            return Err(Fault::new(FaultKind::Lasting, "the command", "the list of words is empty"));
        }
        let by_sudo: Vec<String>;
        let words = if self.sudo {
            by_sudo = ["sudo", "-n", "--"].map(str::to_owned).into_iter().chain(words.iter().cloned()).collect();
            &by_sudo
        } else {
            words
        };
        let ended = match &self.place {
            Place::Local => timeout(deadline, self.sessions.run_local(words, working_dir, input)).await,
            Place::Ssh(destination) => {
                let line = RemoteLine::new(words, working_dir, deadline);
                timeout(deadline, self.sessions.run_remote(destination, &line, input, &what)).await
            }
        };
        let ended = ended
            .map_err(|_| Fault::new(FaultKind::Passing, &what, format!("it did not end within {} s", deadline.as_secs())))?;
        match ended {
            Ok(output) if self.sudo => refused_by_sudo(&output).map_or(Ok(output), |why| {
                let hint = "let sudo run it without a password (`NOPASSWD` in sudoers), or take `sudo` out of the cluster file";
                Err(Fault::new(FaultKind::Denied, format!("{what} by sudo"), why).hint(hint))
            }),
            ended => ended,
        }
    }

    /// The path of a local socket that leads to a socket over there. Only for `Place::Ssh`; kept and renewed when the
    /// connection died.
    pub async fn forward(&self, socket: &str) -> Result<PathBuf, Fault> {
        match &self.place {
            Place::Local => Ok(PathBuf::from(socket)),
            Place::Ssh(destination) => {
                let link = self.sessions.link(destination).await?;
                link.forward(socket, Socket::from(Path::new(socket)), destination).await
            }
        }
    }

    /// The path of a local socket that leads to a port, resolved and reached by that machine. `None`: that machine is this one.
    /// A socket, and not a port of 127.0.0.1, which every user of this machine could use.
    pub async fn forward_tcp(&self, host: &str, port: u16) -> Result<Option<PathBuf>, Fault> {
        let Place::Ssh(destination) = &self.place else { return Ok(None) };
        let link = self.sessions.link(destination).await?;
        link.forward(&format!("{host}:{port}"), Socket::new(host, port), destination).await.map(Some)
    }

    /// Why sshd opens no connection to a forwarded port, in its own words, asked by one more attempt. `None`: it opens one, or
    /// does not say.
    pub async fn refusal(&self, host: &str, port: u16) -> Result<Option<String>, Fault> {
        let Place::Ssh(destination) = &self.place else { return Ok(None) };
        let link = self.sessions.link(destination).await?;
        let path = link.forward(&format!("{host}:{port}"), Socket::new(host, port), destination).await?;
        Ok(link.refusal(&path).await)
    }
}

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

    async fn run_local(&self, words: &[String], working_dir: Option<&str>, input: Option<&[u8]>) -> Result<Output, Fault> {
        let (program, arguments) = (&words[0], &words[1..]);
        let mut command = self.command(program);
        command.args(arguments).stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).process_group(0);
        if let Some(folder) = working_dir {
            command.current_dir(folder);
        }
        if input.is_some() {
            command.stdin(std::process::Stdio::piped());
        }
        let mut child = command.spawn().map_err(|e| not_started(program, working_dir, &e))?;
        let group = Group::of(&child);
        let pipes = (drain(child.stdout.take(), limit(input), None), drain(child.stderr.take(), OUTPUT_LIMIT, None));
        let (stdout, stderr) = (tokio::spawn(pipes.0), tokio::spawn(pipes.1));
        let stdin = child.stdin.take();
        let ((), exit) = tokio::join!(feed(stdin, input), child.wait());
        let exit = exit.map_err(|e| Fault::new(FaultKind::Lasting, format!("`{program}`"), e.to_string()))?;
        group.ended();
        let (stdout, stderr) = tokio::join!(rest_of(stdout), rest_of(stderr));
        Ok(Output { code: exit.code(), stdout, stderr })
    }

    async fn run_remote(
        &self,
        destination: &Destination,
        line: &RemoteLine,
        input: Option<&[u8]>,
        what: &str,
    ) -> Result<Output, Fault> {
        let connection = self.link(destination).await?;
        let _turn = connection.commands.acquire().await;
        let mut command = connection.session.shell(&line.text);
        let stdin = if input.is_some() { Stdio::piped() } else { Stdio::null() };
        command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = match command.spawn().await {
            Ok(child) => child,
            Err(e) => return Err(connection.lost(&e, destination, what).await),
        };
        let stdin = child.stdin().take();
        let stdout = drain(child.stdout().take(), limit(input), Some(&line.mark));
        let stderr = drain(child.stderr().take(), OUTPUT_LIMIT, Some(&line.mark));
        // The exit code overtakes what was printed, and hearing it closes the session: whatever had not arrived by then would be
        // lost without a word. So it is asked for when both have come to their ends.
        let ended = async {
            let told = tokio::join!(stdout, stderr);
            (told, child.wait().await)
        };
        let ((), ((stdout, stderr), status)) = tokio::join!(feed(stdin, input), ended);
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
        Ok(Output { code, stdout: stdout.text, stderr: stderr.text })
    }

    async fn link(&self, destination: &Destination) -> Result<Arc<Link>, Fault> {
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
        let session = Session::new_native_mux(folder);
        Ok(Link { session, commands: Semaphore::new(COMMANDS), forwards: Mutex::default() })
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

/// One open connection. Dropping it ends the ssh process and removes its private folder with all forwarded sockets.
struct Link {
    session: Session,
    commands: Semaphore,
    forwards: Mutex<BTreeMap<String, PathBuf>>,
}

impl Link {
    async fn alive(&self) -> bool {
        matches!(timeout(LOCAL_DEADLINE, self.session.check()).await, Ok(Ok(())))
    }

    /// A command that did not come to an exit code. Whatever words it has for it: on a connection that is dead, it was that.
    async fn lost(&self, error: &openssh::Error, destination: &Destination, what: &str) -> Fault {
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
    async fn forward(&self, name: &str, to: Socket<'_>, destination: &Destination) -> Result<PathBuf, Fault> {
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
    async fn refusal(&self, socket: &Path) -> Option<String> {
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

/// One line for the remote shell: every word quoted, ended over there soon after nobody waits for it any more.
struct RemoteLine {
    text: String,
    /// What the shell prints last, on both pipes: by it an output is known to be whole, also where a daemon that the command
    /// left behind holds the pipes open.
    mark: String,
}

impl RemoteLine {
    fn new(words: &[String], working_dir: Option<&str>, deadline: Duration) -> Self {
        let quoted: Vec<String> = words.iter().map(|word| quote(word)).collect();
        let folder = working_dir.map_or_else(String::new, |folder| format!("cd -- {} && ", quote(folder)));
        let limit = deadline.as_secs().max(1) + 5;
        let number = uuid::Uuid::now_v7().simple().to_string();
        // Without coreutils' `timeout` it runs unwatched: a missing tool is no reason to fail.
        let watch = format!("t=; command -v timeout >/dev/null 2>&1 && t='timeout -k 5 {limit}'");
        // In two parts, so that a command that prints what runs here does not print the mark.
        let end = format!("printf '%s%s\\n' {MARK} {number}");
        // Who died by a signal is told as such.
        let code = "[ $c -le 128 ] || kill -$((c-128)) $$ 2>/dev/null; exit $c";
        let text = format!("{watch}; {folder}$t {}; c=$?; {end}; {end} >&2; {code}", quoted.join(" "));
        Self { text, mark: format!("{MARK}{number}\n") }
    }
}

/// For a POSIX shell: within single quotes nothing is special but the single quote.
fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/' | ':' | ',' | '@' | '+');
    if !word.is_empty() && word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

fn not_started(program: &str, working_dir: Option<&str>, e: &std::io::Error) -> Fault {
    let kind = match e.kind() {
        std::io::ErrorKind::NotFound => FaultKind::Missing,
        std::io::ErrorKind::PermissionDenied => FaultKind::Denied,
        _ => FaultKind::Lasting,
    };
    let place = working_dir.map_or_else(String::new, |folder| format!(" in `{folder}`"));
    Fault::new(kind, format!("`{program}`{place}"), e.to_string())
}

/// ssh says why in its log; behind a jump host the reason is what the ssh to that one says, and not that the way ended.
fn refused_by_ssh(what: &str, log: &str) -> Fault {
    let lines: Vec<&str> = log.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let with = |part: &str| lines.iter().copied().find(|line| line.contains(part));
    if log.contains("REMOTE HOST IDENTIFICATION HAS CHANGED") {
        let place = with("Offending").and_then(|line| line.split(" key in ").nth(1));
        let why = place
            .map_or_else(|| "its host key has changed".to_owned(), |place| format!("its host key is not the one in {place}"));
        return Fault::new(FaultKind::Denied, what, why)
            .hint("somebody may be in between: find out why it changed, then correct known_hosts (`[ssh]` in the cluster file names the configuration that castoff uses)");
    }
    if log.contains("Host key verification failed") {
        let why = with("host key is known for").map_or("its host key is not known", |line| line.trim_end_matches('.'));
        return Fault::new(FaultKind::Denied, what, why)
            .hint("check its host key, then connect once by hand or add it to the known_hosts of the ssh configuration that `[ssh]` of the cluster file names");
    }
    if let Some(why) = with("Permission denied") {
        return Fault::new(FaultKind::Denied, what, why).hint(
            "castoff never types a password: load a key that this host accepts, or name it in the ssh configuration that `[ssh]` of the cluster file names; a certificate may have expired",
        );
    }
    if let Some(why) = with("Could not resolve hostname") {
        return Fault::new(FaultKind::Lasting, what, why).hint("neither DNS nor the ssh configuration knows the name");
    }
    if let Some(why) = with("Bad configuration option").or_else(|| with("Can't open user config file")) {
        return Fault::new(FaultKind::Lasting, what, why)
            .hint("correct the ssh configuration that `[ssh]` of the cluster file names");
    }
    Fault::new(FaultKind::Passing, what, lines.last().copied().unwrap_or("ssh ended without a word"))
}

/// Sockets may have 107 characters at most, so a long TMPDIR is not used.
fn private_folder() -> std::io::Result<tempfile::TempDir> {
    use std::os::unix::fs::PermissionsExt;
    let temporary = std::env::temp_dir();
    let base = if temporary.as_os_str().len() <= 50 { temporary.as_path() } else { Path::new("/tmp") };
    let only_mine = std::fs::Permissions::from_mode(0o700);
    tempfile::Builder::new().prefix("castoff-").permissions(only_mine).tempdir_in(base)
}

/// The deepest source says why; the layers above only say where.
pub(super) fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    let text = cause.to_string();
    // The number behind it helps nobody.
    text.split_once(" (os error").map_or(text.as_str(), |(words, _)| words).to_owned()
}

fn limit(input: Option<&[u8]>) -> usize {
    if input.is_some() { FILES_LIMIT } else { OUTPUT_LIMIT }
}

/// Writes it all and closes the pipe. A command that does not read to the end says why by its exit code.
async fn feed(pipe: Option<impl AsyncWrite + Unpin>, input: Option<&[u8]>) {
    let (Some(mut pipe), Some(input)) = (pipe, input) else { return };
    if pipe.write_all(input).await.is_ok() {
        let _ = pipe.shutdown().await;
    }
}

/// Why sudo did not run a command at all. A command of its own that failed has other words, or printed something.
fn refused_by_sudo(output: &Output) -> Option<String> {
    let line = output.stderr.lines().rev().map(str::trim).find(|line| !line.is_empty())?;
    let own = line.strip_prefix("sudo: ").filter(|words| !words.starts_with("unable to resolve host"));
    let policy = [" is not in the sudoers file", " is not allowed to execute ", " may not run sudo"];
    let why = own.or_else(|| policy.iter().any(|part| line.contains(part)).then_some(line))?;
    (output.code == Some(1) && output.stdout.is_empty()).then(|| why.to_owned())
}

async fn rest_of(mut pipe: tokio::task::JoinHandle<Drained>) -> String {
    if let Ok(drained) = timeout(PIPES_GRACE, &mut pipe).await {
        return drained.map_or_else(|_| String::new(), |drained| drained.text);
    }
    pipe.abort();
    String::new()
}

/// The end of what came out of a pipe.
#[derive(Default)]
struct Drained {
    text: String,
    /// Whether it ended with the mark, which is taken off.
    whole: bool,
}

/// Reads to the mark or the end, and keeps the end. A pipe that fails in between ends there: the exit code tells the rest.
async fn drain(pipe: Option<impl AsyncRead + Unpin>, limit: usize, mark: Option<&str>) -> Drained {
    let mut kept = Vec::new();
    let Some(mut pipe) = pipe else { return Drained::default() };
    let mut chunk = vec![0; 16 << 10];
    let mut end = None;
    while let Ok(n @ 1..) = pipe.read(&mut chunk).await {
        // The mark may come in pieces.
        let fresh = kept.len().saturating_sub(mark.map_or(0, str::len));
        kept.extend_from_slice(&chunk[..n]);
        let found = mark.and_then(|mark| kept[fresh..].windows(mark.len()).position(|part| part == mark.as_bytes()));
        if let Some(at) = found {
            end = Some(fresh + at);
            break;
        }
        if kept.len() > 2 * limit {
            kept.drain(..kept.len() - limit);
        }
    }
    kept.truncate(end.unwrap_or(kept.len()));
    Drained { text: String::from_utf8_lossy(&kept).into_owned(), whole: end.is_some() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: Option<&str>) {
        let place = Place::parse(text).ok().map(|place| match place {
            Place::Local => "local".to_owned(),
            Place::Ssh(destination) => destination.to_string(),
        });
        assert_eq!(place.as_deref(), expect, "{text}");
    }

    #[test]
    fn places_are_parsed_and_options_are_no_hosts() {
        check("local", Some("local"));
        check("ssh://root@gpu-3", Some("root@gpu-3"));
        check("ssh://gpu-3:2222", Some("gpu-3:2222"));
        check("ssh://[fe80::1]:22", Some("[fe80::1]:22"));
        for text in ["", "gpu-3", "ssh://", "ssh://-oProxyCommand=x", "ssh://-l@gpu", "ssh://a b", "ssh://a:b", "ssh://a/b"] {
            check(text, None);
        }
    }

    #[test]
    fn words_reach_a_shell_unchanged() {
        let words = ["printf", "%s|", "", "a b", "it's", "$HOME", "`id`", "a;b&c", "\"", "\\", "!x", "한글", "*", "-n", "a\nb"];
        let line = RemoteLine::new(&words.map(str::to_owned), Some("/tmp"), Duration::from_secs(5));
        let output = std::process::Command::new("sh").args(["-c", &line.text]).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(said.split('|').collect::<Vec<_>>()[..13], words[2..], "{}", line.text);
        assert!(said.ends_with(&line.mark) && output.stderr.ends_with(line.mark.as_bytes()));
        assert!(!line.text.contains(line.mark.trim_end()), "what shows the command shows no mark");
    }

    #[tokio::test]
    async fn an_output_ends_at_its_mark_and_is_whole_only_with_it() {
        let mark = "=castoff-end-1\n";
        for (parts, expect) in [
            (&["one\ntwo", "=castoff-end-1\nthree"][..], ("one\ntwo", true)),
            (&["one\n=cast", "off-end-", "1\n"], ("one\n", true)),
            (&["=castoff-end-1\n"], ("", true)),
            (&["one\n", "=castoff-end-2\n"], ("one\n=castoff-end-2\n", false)),
            (&[], ("", false)),
        ] {
            let (mut far, near) = tokio::io::duplex(5);
            let (sent, whole) = (parts.to_vec(), expect.1);
            tokio::spawn(async move {
                for part in sent {
                    let _ = far.write_all(part.as_bytes()).await;
                }
                // What follows the mark is not waited for: a daemon may hold the pipe.
                if whole {
                    std::future::pending::<()>().await;
                }
            });
            let drained = drain(Some(near), 1 << 10, Some(mark)).await;
            assert_eq!((drained.text.as_str(), drained.whole), expect, "{parts:?}");
        }
    }

    #[test]
    fn the_deadline_ends_a_command_with_its_children() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let runner = Runner::new(Place::Local, &Sessions::new(&Ssh::default(), vec![]));
            let folder = tempfile::tempdir().unwrap();
            let mark = folder.path().join("mark");
            let script = format!("(sleep 2; touch {}) & sleep 60", mark.display());
            let words = ["sh", "-c", &script].map(str::to_owned);
            let fault = runner.run(&words, None, Duration::from_millis(300)).await.unwrap_err();
            assert_eq!(fault.kind, FaultKind::Passing);
            tokio::time::sleep(Duration::from_millis(2300)).await;
            assert!(!mark.exists(), "a child of the command lived on");
        });
    }

    #[test]
    fn secrets_stay_out_of_the_environment_of_children() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            // PATH stands for a secret here: it is surely set.
            let runner = Runner::new(Place::Local, &Sessions::new(&Ssh::default(), vec!["PATH".to_owned()]));
            let output = runner.run(&["/usr/bin/env".to_owned()], Some("/"), Duration::from_secs(5)).await.unwrap();
            assert_eq!(output.code, Some(0));
            assert!(!output.stdout.lines().any(|line| line.starts_with("PATH=")));
        });
    }
}
