//! How a question gets from a host to a mirror: by this machine's own network, or through the operator's ssh connection,
//! or, where sshd forwards nothing, by `curl` over there. It never has a login to send.

use super::{
    ASK, CONNECT,
    answer::{Answer, BODY_LIMIT, Lost, failing},
    curl, trust,
};
use crate::{
    cluster::{
        ssh::{Place, Runner, root_cause},
        tls,
    },
    model::{Reach, ReachWant, text},
};
use reqwest::{Client, ClientBuilder, Method, Url, header, redirect};
use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
};
use tokio::time::timeout;

pub(super) struct Way<'a> {
    runner: &'a Runner,
    want: &'a ReachWant,
    /// Without the brackets of an IPv6 address.
    host: String,
    port: u16,
    http: Client,
    through: Through,
    /// PEM that was read from the host.
    ca: Option<&'a [u8]>,
    /// sshd forwards nothing.
    by_curl: AtomicBool,
}

/// What a connection goes through.
enum Through {
    /// Addresses that were found, with one that answered in front.
    Network(Vec<SocketAddr>),
    /// A local socket of the ssh connection.
    Tunnel(PathBuf),
}

impl<'a> Way<'a> {
    /// Finds the name and, where that can be seen, makes a first connection.
    pub(super) async fn open(runner: &'a Runner, root: &Url, want: &'a ReachWant, ca: Option<&'a [u8]>) -> Result<Self, Lost> {
        let host = root.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let port = root.port_or_known_default().unwrap_or(443);
        let through = match runner.forward_tcp(&host, port).await.map_err(Lost::Host)? {
            None => Through::Network(dial(&host, port).await?),
            Some(socket) => {
                resolve_there(runner, &host).await?;
                Through::Tunnel(socket)
            }
        };
        let mut builder = client(&through, &host);
        if root.scheme() == "https" {
            builder = if want.insecure {
                builder.tls_danger_accept_invalid_certs(true)
            } else {
                let ca_file = ca.map(|pem| (want.ca.as_deref().unwrap_or("certs.d"), pem));
                builder.tls_backend_preconfigured(trust::config(runner, ca_file).await?)
            };
        }
        let http = builder.build().map_err(|error| failing(root_cause(&error)))?;
        Ok(Self { runner, want, host, port, http, through, ca, by_curl: AtomicBool::new(false) })
    }

    pub(super) async fn ask(&self, method: Method, url: &Url, accept: &'static str) -> Result<Answer, Lost> {
        let insecure = self.want.insecure;
        if self.by_curl.load(Ordering::Relaxed) {
            return self.curl(&method, url, accept, insecure).await;
        }
        match exchange(&self.http, method.clone(), url, accept).await {
            Ok(answer) => Ok(answer),
            Err(error) => match self.lost(&error).await {
                Some(lost) => Err(lost),
                None => self.curl(&method, url, accept, insecure).await,
            },
        }
    }

    /// Whether anything answers there, whoever it says it is.
    pub(super) async fn ask_unverified(&self, url: &Url) -> Result<Answer, Lost> {
        if self.by_curl.load(Ordering::Relaxed) {
            return self.curl(&Method::GET, url, "*/*", true).await;
        }
        let talk = |error: reqwest::Error| Lost::Talk(failing(root_cause(&error)));
        let http = client(&self.through, &self.host).tls_danger_accept_invalid_certs(true).build().map_err(talk)?;
        exchange(&http, Method::GET, url, "*/*").await.map_err(talk)
    }

    async fn curl(&self, method: &Method, url: &Url, accept: &str, insecure: bool) -> Result<Answer, Lost> {
        let ca = self.ca.filter(|_| !insecure);
        curl::ask(self.runner, curl::Question { method, url, accept, insecure, ca }).await
    }

    /// Why there was no answer. `None`: sshd forwards nothing, so another way has to be taken.
    async fn lost(&self, error: &reqwest::Error) -> Option<Lost> {
        let causes = tls::causes(error);
        if let Some(why) = trust::words(&causes) {
            return Some(Lost::Known(Reach::Tls { why }));
        }
        if error.is_timeout() {
            let limit = if error.is_connect() { CONNECT } else { ASK };
            return Some(Lost::Known(failing(format!("it did not answer within {} s", limit.as_secs()))));
        }
        if matches!(self.through, Through::Tunnel(_)) {
            match self.runner.refusal(&self.host, self.port).await {
                Ok(Some(said)) => match of_refusal(&said) {
                    Some(reach) => return Some(Lost::Known(reach)),
                    None => {
                        self.by_curl.store(true, Ordering::Relaxed);
                        return None;
                    }
                },
                Ok(None) => {}
                Err(fault) => return Some(Lost::Host(fault)),
            }
        }
        let why = root_cause(error);
        let why = if causes.contains("handshake") && why.contains("eof") {
            "it closed the connection within the TLS handshake".to_owned()
        } else {
            why
        };
        Some(Lost::Talk(failing(why)))
    }
}

fn client(through: &Through, host: &str) -> ClientBuilder {
    let builder = Client::builder()
        .connect_timeout(CONNECT)
        .timeout(ASK)
        .redirect(redirect::Policy::none())
        .referer(false)
        .no_proxy()
        .http1_only()
        .user_agent(concat!("castoff/", env!("CARGO_PKG_VERSION")));
    match through {
        Through::Network(addresses) => builder.resolve_to_addrs(host, addresses),
        Through::Tunnel(socket) => builder.unix_socket(socket.as_path()),
    }
}

async fn exchange(http: &Client, method: Method, url: &Url, accept: &'static str) -> Result<Answer, reqwest::Error> {
    let mut response = http.request(method, url.clone()).header(header::ACCEPT, accept).send().await?;
    let mut answer = Answer { status: response.status().as_u16(), ..Answer::default() };
    for (name, value) in response.headers() {
        answer.header(name.as_str(), &String::from_utf8_lossy(value.as_bytes()));
    }
    while answer.body.len() <= BODY_LIMIT {
        match response.chunk().await {
            Ok(Some(chunk)) => answer.body.extend_from_slice(&chunk),
            Ok(None) => {
                answer.whole = true;
                break;
            }
            Err(_) => break,
        }
    }
    Ok(answer)
}

/// This machine's own resolver and network.
async fn dial(host: &str, port: u16) -> Result<Vec<SocketAddr>, Reach> {
    let no_name = |why: String| Reach::NoName { why: text::clean(&why) };
    let found = timeout(CONNECT, tokio::net::lookup_host((host, port))).await;
    let found = found.map_err(|_| no_name(format!("no answer within {} s", CONNECT.as_secs())))?;
    let mut addresses: Vec<SocketAddr> = found.map_err(|error| no_name(root_cause(&error)))?.collect();
    let mut why = "it has no address".to_owned();
    let begin = tokio::time::Instant::now();
    for at in 0..addresses.len() {
        match timeout(CONNECT.saturating_sub(begin.elapsed()), tokio::net::TcpStream::connect(addresses[at])).await {
            Ok(Ok(_)) => {
                addresses.swap(0, at);
                return Ok(addresses);
            }
            Ok(Err(error)) => why = text::clean(&root_cause(&error)),
            Err(_) => {
                why = format!("no connection within {} s", CONNECT.as_secs());
                break;
            }
        }
    }
    Err(Reach::NoConnection { why })
}

/// The host's resolver, asked before sshd is: while sshd waits for a resolver that does not answer, it answers nobody on its
/// connection, and ssh gives that up. Where there is no `getent`, sshd has to do it all the same.
async fn resolve_there(runner: &Runner, host: &str) -> Result<(), Lost> {
    debug_assert!(*runner.place() != Place::Local);
    if host.parse::<IpAddr>().is_ok() {
        return Ok(());
    }
    let words = ["getent", "ahosts", host].map(str::to_owned);
    let no_name = |why: String| Err(Lost::Known(Reach::NoName { why }));
    match timeout(CONNECT, runner.run(&words, None, 2 * CONNECT)).await {
        Ok(Ok(output)) if output.code == Some(2) => no_name("the resolver of the host finds no address".to_owned()),
        Ok(Ok(_)) => Ok(()),
        Ok(Err(fault)) => Err(Lost::Host(fault)),
        Err(_) => Err(failing(format!("the resolver of the host did not answer within {} s", CONNECT.as_secs())).into()),
    }
}

/// What sshd said of a connection that it did not open. `None`: it may not open any.
fn of_refusal(said: &str) -> Option<Reach> {
    const NAMES: [&str; 6] =
        ["not known", "name resolution", "No address associated", "nodename nor servname", "Name does not resolve", "no address"];
    const CONNECTIONS: [&str; 5] = ["refused", "timed out", "No route to host", "unreachable", "Host is down"];
    if said.starts_with("administratively prohibited") || said.starts_with("unknown channel type") {
        return None;
    }
    let why = text::clean(said.strip_prefix("connect failed: ").unwrap_or(said));
    let any = |parts: &[&str]| parts.iter().any(|part| why.contains(part));
    Some(match () {
        () if any(&NAMES) => Reach::NoName { why },
        () if any(&CONNECTIONS) => Reach::NoConnection { why },
        () => failing(format!("sshd opens no connection: {why}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_sshd_says_of_a_connection_is_understood() {
        let name = |why: &str| Some(Reach::NoName { why: why.to_owned() });
        let connection = |why: &str| Some(Reach::NoConnection { why: why.to_owned() });
        let cases = [
            ("connect failed: Name or service not known", name("Name or service not known")),
            ("connect failed: Temporary failure in name resolution", name("Temporary failure in name resolution")),
            ("connect failed: Connection refused", connection("Connection refused")),
            ("connect failed: Connection timed out", connection("Connection timed out")),
            ("connect failed: No route to host", connection("No route to host")),
            ("administratively prohibited: open failed", None),
            ("resource shortage", Some(failing("sshd opens no connection: resource shortage"))),
        ];
        for (said, expect) in cases {
            assert_eq!(of_refusal(said), expect, "{said}");
        }
    }
}
