//! The two ways out: a command of the operator's, and a webhook. Each notice has a deadline; one that cannot be sent is
//! one warning. Never the address of a webhook in an error: it may be a secret itself.

use super::{Notice, Warning};
use reqwest::{Certificate, Client, StatusCode, Url, header, redirect};
use secrecy::{ExposeSecret, SecretString};
use std::{path::PathBuf, process::Stdio, time::Duration};
use tokio::{
    io::AsyncWriteExt,
    process::Command,
    sync::mpsc::{self, UnboundedReceiver, UnboundedSender},
    task::JoinHandle,
    time::{sleep, timeout},
};

/// A command that takes longer is ended.
const DEADLINE: Duration = Duration::from_secs(10);
/// Waits before the second and the third attempt of a webhook.
const AGAIN: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(4)];

/// Where notices go.
#[derive(Clone, Debug, Default)]
pub struct Ways {
    /// Each is run by `sh -c`.
    pub commands: Vec<String>,
    /// Variables that a command must not see: they hold secrets.
    pub hidden: Vec<String>,
    pub webhook: Option<Webhook>,
}

impl Ways {
    pub fn is_empty(&self) -> bool {
        self.commands.is_empty() && self.webhook.is_none()
    }
}

#[derive(Clone, Debug)]
pub struct Webhook {
    pub url: String,
    /// Sent as `Authorization: Bearer`.
    pub token: Option<SecretString>,
    pub ca: Option<PathBuf>,
}

/// Where notices are put, and the tasks that send them.
type Sending = (Vec<UnboundedSender<Notice>>, Vec<JoinHandle<()>>);

/// One task a way: notices of one way arrive in their order, and no way waits for another.
pub(super) fn start(ways: Ways, warning: &Warning) -> Result<Sending, String> {
    let (mut to, mut tasks) = (vec![], vec![]);
    for command in ways.commands {
        let (sender, notices) = mpsc::unbounded_channel();
        to.push(sender);
        tasks.push(tokio::spawn(command_gets(command, ways.hidden.clone(), notices, warning.clone())));
    }
    if let Some(webhook) = ways.webhook {
        let client = client(&webhook)?;
        let (sender, notices) = mpsc::unbounded_channel();
        to.push(sender);
        tasks.push(tokio::spawn(webhook_gets(client, webhook, notices, warning.clone())));
    }
    Ok((to, tasks))
}

async fn command_gets(command: String, hidden: Vec<String>, mut notices: UnboundedReceiver<Notice>, warning: Warning) {
    while let Some(notice) = notices.recv().await {
        if let Err(why) = run(&command, &hidden, &notice).await {
            warning.say(&format!("the notice `{}` did not go out: the notify command {why}", word(&notice)));
        }
    }
}

/// Ends the whole group of a command that is given up: `sh` may have begun others.
struct Group(Option<rustix::process::Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
    }
}

async fn run(command: &str, hidden: &[String], notice: &Notice) -> Result<(), String> {
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    // Its own group: Ctrl-C in the terminal is not meant for it.
    shell.process_group(0).kill_on_drop(true);
    for name in hidden {
        shell.env_remove(name);
    }
    let mut child = shell.spawn().map_err(|error| format!("cannot be started: {error}"))?;
    let mut group = Group(child.id().and_then(|id| rustix::process::Pid::from_raw(id.cast_signed())));
    let body = body(notice) + "\n";
    let ended = timeout(DEADLINE, async {
        if let Some(mut stdin) = child.stdin.take() {
            // A command that does not read is none of our business.
            let _ = stdin.write_all(body.as_bytes()).await;
        }
        child.wait().await
    });
    let status = ended.await.map_err(|_| format!("took longer than {} s and was ended", DEADLINE.as_secs()))?;
    // What it has left running in the background on purpose goes on.
    group.0 = None;
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("ended with {status}")),
        Err(error) => Err(error.to_string()),
    }
}

fn client(webhook: &Webhook) -> Result<Client, String> {
    let url: Url = webhook.url.parse().map_err(|error| format!("the webhook's address cannot be read: {error}"))?;
    let mut builder = Client::builder()
        .connect_timeout(Duration::from_secs(5))
        .timeout(DEADLINE)
        .redirect(redirect::Policy::none())
        .referer(false)
        .user_agent(concat!("castoff/", env!("CARGO_PKG_VERSION")));
    if let Some(path) = &webhook.ca {
        let named = path.display();
        let pem = std::fs::read(path).map_err(|error| format!("the webhook's CA file `{named}` cannot be read: {error}"))?;
        let certificates = Certificate::from_pem_bundle(&pem);
        builder =
            builder.tls_certs_merge(certificates.map_err(|_| format!("the webhook's CA file `{named}` holds no certificates"))?);
    }
    if url.host_str().is_some_and(|host| host == "localhost" || host == "[::1]" || host.starts_with("127.")) {
        // A proxy in the environment would look for it on its own machine.
        builder = builder.no_proxy();
    }
    builder.build().map_err(|error| format!("the webhook cannot be used: {}", error.without_url()))
}

async fn webhook_gets(client: Client, webhook: Webhook, mut notices: UnboundedReceiver<Notice>, warning: Warning) {
    while let Some(notice) = notices.recv().await {
        let mut waits = AGAIN.into_iter();
        while let Err((why, passing)) = post(&client, &webhook, &notice).await {
            match waits.next().filter(|_| passing) {
                Some(wait) => sleep(wait).await,
                None => {
                    warning.say(&format!("the notice `{}` did not go out: the webhook {why}", word(&notice)));
                    break;
                }
            }
        }
    }
}

/// What went wrong, and whether it may be gone in a moment.
async fn post(client: &Client, webhook: &Webhook, notice: &Notice) -> Result<(), (String, bool)> {
    let mut request = client.post(&webhook.url).header(header::CONTENT_TYPE, "application/json").body(body(notice));
    if let Some(token) = &webhook.token {
        request = request.bearer_auth(token.expose_secret());
    }
    let answer =
        request.send().await.map_err(|error| (format!("does not answer: {}", root_cause(&error.without_url())), true))?;
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    let passing = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::REQUEST_TIMEOUT;
    Err((format!("answered {status}"), passing))
}

fn root_cause(error: &dyn std::error::Error) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

fn body(notice: &Notice) -> String {
    crate::model::text::json(&serde_json::to_string(notice).expect("a notice is plain data"))
}

fn word(notice: &Notice) -> String {
    serde_json::to_value(notice.what).ok().and_then(|what| Some(what.as_str()?.to_owned())).unwrap_or_default()
}
