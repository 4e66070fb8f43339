//! A proxy of our own before a real server, TCP or unix socket, that misbehaves when told to, also on connections that are open.
//! It never answers for the server unless the fault is that it does.

use crate::ports::free_port;
use std::{
    collections::BTreeMap,
    io,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::watch,
    time::sleep,
};

/// How it misbehaves. Each holds for every connection until `heal`.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// Nobody listens; what was open is reset.
    Refuse,
    /// Every piece of an answer comes later.
    Delay(Duration),
    /// The answer ends after so many bytes, politely.
    Cut(usize),
    /// Every question ends after so many bytes of the piece it comes in, politely.
    CutRequest(usize),
    /// The connection is reset after so many bytes of the answer.
    Reset(usize),
    /// The answer comes in pieces of so many bytes, with a pause before each.
    Trickle(usize, Duration),
    /// Connections are taken, and nothing passes in either direction.
    Stall,
    /// Other bytes in place of the answer's, as many.
    Garbage,
    /// Any `Content-Length` of an answer is wrong by so much; too long, the connection ends where the answer does.
    Length(i64),
    /// This is answered in place of the server.
    Says(&'static str),
}

/// When a fault begins.
#[derive(Clone, Debug, PartialEq)]
pub enum When {
    /// At once; idle connections notice it.
    Now,
    /// With the first question that holds these bytes: the server is not told of it, where the fault can keep it away.
    Question(Vec<u8>),
    /// The server is told and answers, and its answer is what the fault befalls.
    Answer(Vec<u8>),
}

/// Where a server is, or the proxy.
#[derive(Clone, Debug, PartialEq)]
pub enum At {
    Tcp(u16),
    Unix(PathBuf),
}

#[derive(Clone, Debug)]
struct Orders {
    /// Counts what was ordered, so that whoever orders can wait until it is followed.
    n: u64,
    fault: Option<(Fault, When)>,
    active: bool,
}

struct Shared {
    server: At,
    orders: watch::Sender<Orders>,
    /// Whether it listens, and by which orders.
    listening: watch::Sender<(u64, bool)>,
    /// How often a question with these bytes was let through.
    counts: Mutex<BTreeMap<Vec<u8>, usize>>,
    /// In every answer these bytes become those, of the same length.
    rewrites: Mutex<Vec<(Vec<u8>, Vec<u8>)>>,
    /// The same in every question.
    misheard: Mutex<Vec<(Vec<u8>, Vec<u8>)>>,
    /// Questions with these bytes are answered so, and the server never hears of them.
    lies: Mutex<Vec<(Vec<u8>, String)>>,
}

pub struct Proxy {
    pub at: At,
    shared: Arc<Shared>,
    accepting: tokio::task::JoinHandle<()>,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Closed,
    Reset,
}

impl Proxy {
    /// On a free port of 127.0.0.1.
    pub async fn tcp(server: At) -> Self {
        Self::start(At::Tcp(free_port()), server).await
    }

    /// On a socket with this path.
    pub async fn unix(path: PathBuf, server: At) -> Self {
        Self::start(At::Unix(path), server).await
    }

    async fn start(at: At, server: At) -> Self {
        let orders = watch::Sender::new(Orders { n: 0, fault: None, active: false });
        let shared = Arc::new(Shared {
            server,
            orders,
            listening: watch::Sender::new((0, false)),
            counts: Mutex::default(),
            rewrites: Mutex::default(),
            misheard: Mutex::default(),
            lies: Mutex::default(),
        });
        let accepting = tokio::spawn(accept(at.clone(), Arc::clone(&shared)));
        let proxy = Self { at, shared, accepting };
        proxy.until_listening(0, true).await;
        proxy
    }

    pub fn port(&self) -> u16 {
        match &self.at {
            At::Tcp(port) => *port,
            At::Unix(path) => panic!("{} is no port", path.display()),
        }
    }

    /// Orders a fault.
    pub async fn order(&self, fault: Fault, when: When) {
        let active = when == When::Now;
        let refuses = active && fault == Fault::Refuse;
        let n = self.put(Some((fault, when)), active);
        if refuses {
            self.until_listening(n, false).await;
        }
    }

    /// All is well again, for new connections and for those that still stand.
    pub async fn heal(&self) {
        let n = self.put(None, false);
        self.until_listening(n, true).await;
    }

    fn put(&self, fault: Option<(Fault, When)>, active: bool) -> u64 {
        let n = self.shared.orders.borrow().n + 1;
        self.shared.orders.send_replace(Orders { n, fault, active });
        n
    }

    /// Whether the fault that was ordered has begun.
    pub fn has_struck(&self) -> bool {
        self.shared.orders.borrow().active
    }

    /// Counts the questions with these bytes from now on.
    pub fn count(&self, mark: &[u8]) {
        self.shared.counts.lock().unwrap().insert(mark.to_vec(), 0);
    }

    /// How many of them reached the server.
    pub fn counted(&self, mark: &[u8]) -> usize {
        self.shared.counts.lock().unwrap()[mark]
    }

    /// In every answer the first bytes become the second, of the same length.
    pub fn rewrite(&self, from: &[u8], to: &[u8]) {
        assert_eq!(from.len(), to.len());
        self.shared.rewrites.lock().unwrap().push((from.to_vec(), to.to_vec()));
    }

    /// The same in every question.
    pub fn mishear(&self, from: &[u8], to: &[u8]) {
        assert_eq!(from.len(), to.len());
        self.shared.misheard.lock().unwrap().push((from.to_vec(), to.to_vec()));
    }

    /// Answers questions with these bytes so; the server never hears of them.
    pub fn lie(&self, mark: &[u8], answer: &str) {
        self.shared.lies.lock().unwrap().push((mark.to_vec(), answer.to_owned()));
    }

    async fn until_listening(&self, orders: u64, wanted: bool) {
        let mut listening = self.shared.listening.subscribe();
        let _ = listening.wait_for(|(followed, listens)| *followed >= orders && *listens == wanted).await;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        if let At::Unix(path) = &self.at {
            let _ = std::fs::remove_file(path);
        }
    }
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    async fn bind(at: &At) -> Self {
        match at {
            At::Tcp(port) => loop {
                if let Ok(listener) = TcpListener::bind(("127.0.0.1", *port)).await {
                    return Self::Tcp(listener);
                }
                sleep(Duration::from_millis(20)).await;
            },
            At::Unix(path) => {
                let _ = std::fs::remove_file(path);
                Self::Unix(UnixListener::bind(path).expect("a socket"))
            }
        }
    }
}

async fn accept(at: At, shared: Arc<Shared>) {
    let mut orders = shared.orders.subscribe();
    let mut listener = None;
    loop {
        let (n, refuses) = {
            let orders = orders.borrow_and_update();
            (orders.n, orders.active && matches!(orders.fault, Some((Fault::Refuse, _))))
        };
        if refuses {
            listener = None;
            if let At::Unix(path) = &at {
                let _ = std::fs::remove_file(path);
            }
            shared.listening.send_replace((n, false));
            if orders.changed().await.is_err() {
                return;
            }
            continue;
        }
        if listener.is_none() {
            listener = Some(Listener::bind(&at).await);
        }
        shared.listening.send_replace((n, true));
        let shared = Arc::clone(&shared);
        tokio::select! {
            _ = orders.changed() => {}
            accepted = async {
                match listener.as_ref() {
                    Some(Listener::Tcp(listener)) => listener.accept().await.map(|(stream, _)| Client::Tcp(stream)),
                    Some(Listener::Unix(listener)) => listener.accept().await.map(|(stream, _)| Client::Unix(stream)),
                    None => Err(io::Error::other("nobody listens")),
                }
            } => {
                if let Ok(client) = accepted {
                    tokio::spawn(serve(client, shared));
                }
            }
        }
    }
}

enum Client {
    Tcp(TcpStream),
    Unix(UnixStream),
}

async fn serve(client: Client, shared: Arc<Shared>) {
    match client {
        Client::Tcp(mut client) => {
            let _ = client.set_nodelay(true);
            if carry_to_server(&mut client, &shared).await == End::Reset {
                let _ = client.set_zero_linger();
            } else {
                let _ = client.shutdown().await;
            }
        }
        Client::Unix(mut client) => {
            carry_to_server(&mut client, &shared).await;
        }
    }
}

async fn carry_to_server<C: AsyncRead + AsyncWrite + Unpin>(client: &mut C, shared: &Shared) -> End {
    match &shared.server {
        At::Tcp(port) => match TcpStream::connect(("127.0.0.1", *port)).await {
            Ok(mut server) => {
                let _ = server.set_nodelay(true);
                carry(client, &mut server, shared).await
            }
            Err(_) => End::Reset,
        },
        At::Unix(path) => match UnixStream::connect(path).await {
            Ok(mut server) => carry(client, &mut server, shared).await,
            Err(_) => End::Reset,
        },
    }
}

async fn carry<C, S>(client: &mut C, server: &mut S, shared: &Shared) -> End
where
    C: AsyncRead + AsyncWrite + Unpin,
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut from_client, to_client) = tokio::io::split(client);
    let (mut from_server, mut to_server) = tokio::io::split(server);
    let to_client = tokio::sync::Mutex::new(to_client);
    tokio::select! {
        end = questions(&mut from_client, &mut to_server, &to_client, shared) => end,
        end = answers(&mut from_server, &to_client, shared) => end,
    }
}

/// From the client to the server.
async fn questions(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    back: &tokio::sync::Mutex<impl AsyncWrite + Unpin>,
    shared: &Shared,
) -> End {
    let mut buffer = vec![0; 64 << 10];
    let mut seen: Vec<u8> = vec![];
    let mut orders = shared.orders.subscribe();
    loop {
        let Some(n) = next(from, &mut buffer, &mut orders).await else { return ended(&orders) };
        let Ok(n @ 1..) = n else {
            // A stalled line does not tell of the end either.
            while is_stalled(&mut orders) {
                let _ = orders.changed().await;
            }
            return End::Closed;
        };
        for (old, new) in shared.misheard.lock().unwrap().iter() {
            replace(&mut buffer[..n], old, new);
        }
        let piece = &buffer[..n];
        let lie = shared.lies.lock().unwrap().iter().find(|(mark, _)| holds(piece, mark)).map(|(_, answer)| answer.clone());
        if let Some(answer) = lie {
            let mut back = back.lock().await;
            let _ = back.write_all(answer.as_bytes()).await;
            let _ = back.flush().await;
            return End::Closed;
        }
        // A mark may stand across two pieces.
        seen.extend_from_slice(piece);
        let mut spared = false;
        shared.orders.send_if_modified(|orders| {
            let strikes = match &orders.fault {
                Some((_, When::Question(mark))) => holds(&seen, mark),
                Some((_, When::Answer(mark))) => {
                    spared = !orders.active && holds(&seen, mark);
                    spared
                }
                _ => false,
            };
            let changed = strikes && !orders.active;
            orders.active |= strikes;
            changed
        });
        let fault = if spared { None } else { active(&mut orders) };
        match fault {
            Some(Fault::Stall) => {
                while is_stalled(&mut orders) {
                    if orders.changed().await.is_err() {
                        return End::Closed;
                    }
                }
            }
            Some(Fault::Refuse | Fault::Reset(0)) => return End::Reset,
            Some(Fault::Cut(0)) => return End::Closed,
            Some(Fault::CutRequest(bytes)) => {
                let _ = to.write_all(&piece[..bytes.min(n)]).await;
                return End::Closed;
            }
            Some(Fault::Says(text)) => {
                let _ = back.lock().await.write_all(text.as_bytes()).await;
                let _ = back.lock().await.flush().await;
                return End::Closed;
            }
            _ => {}
        }
        for (mark, count) in shared.counts.lock().unwrap().iter_mut() {
            *count += seen.windows(mark.len()).filter(|window| window == mark).count();
        }
        // Only what may be the beginning of a mark is kept, so nothing is counted twice.
        let longest = longest_mark(shared).saturating_sub(1).min(seen.len());
        let marks: Vec<Vec<u8>> = shared.counts.lock().unwrap().keys().cloned().collect();
        let kept = seen.split_off(seen.len() - longest);
        seen = if marks.iter().any(|mark| holds(&kept, mark)) { vec![] } else { kept };
        if to.write_all(&buffer[..n]).await.is_err() || to.flush().await.is_err() {
            return End::Closed;
        }
    }
}

/// From the server to the client.
async fn answers(from: &mut (impl AsyncRead + Unpin), to: &tokio::sync::Mutex<impl AsyncWrite + Unpin>, shared: &Shared) -> End {
    let mut buffer = vec![0; 64 << 10];
    let mut orders = shared.orders.subscribe();
    // Bytes since the fault began.
    let mut let_through = 0;
    loop {
        let Some(n) = next(from, &mut buffer, &mut orders).await else { return ended(&orders) };
        let Ok(n @ 1..) = n else {
            while is_stalled(&mut orders) {
                let _ = orders.changed().await;
            }
            return End::Closed;
        };
        let mut piece = buffer[..n].to_vec();
        for (old, new) in shared.rewrites.lock().unwrap().iter() {
            replace(&mut piece, old, new);
        }
        let fault = active(&mut orders);
        let mut pause = None;
        match fault {
            Some(Fault::Stall) => {
                while is_stalled(&mut orders) {
                    if orders.changed().await.is_err() {
                        return End::Closed;
                    }
                }
            }
            Some(Fault::Refuse) => return End::Reset,
            Some(Fault::Delay(by)) => sleep(by).await,
            Some(Fault::Cut(bytes) | Fault::Reset(bytes)) if let_through + piece.len() >= bytes => {
                let _ = to.lock().await.write_all(&piece[..bytes - let_through]).await;
                return if matches!(fault, Some(Fault::Reset(_))) { End::Reset } else { End::Closed };
            }
            Some(Fault::Says(text)) => {
                let _ = to.lock().await.write_all(text.as_bytes()).await;
                return End::Closed;
            }
            Some(Fault::Trickle(bytes, every)) => pause = Some((bytes, every)),
            Some(Fault::Garbage) => piece.iter_mut().for_each(|byte| *byte ^= 0xa5),
            Some(Fault::Length(by)) => {
                let wrong = wrong_length(&mut piece, by);
                if wrong && by > 0 {
                    let _ = to.lock().await.write_all(&piece).await;
                    return End::Closed;
                }
            }
            _ => {}
        }
        let_through = if fault.is_some() { let_through + piece.len() } else { 0 };
        let (bytes, every) = pause.unwrap_or((piece.len(), Duration::ZERO));
        for part in piece.chunks(bytes) {
            if !every.is_zero() {
                sleep(every).await;
            }
            let mut to = to.lock().await;
            if to.write_all(part).await.is_err() || to.flush().await.is_err() {
                return End::Closed;
            }
        }
    }
}

/// The next piece; `None` where a fault ends an idle connection.
async fn next(
    from: &mut (impl AsyncRead + Unpin),
    buffer: &mut [u8],
    orders: &mut watch::Receiver<Orders>,
) -> Option<io::Result<usize>> {
    loop {
        {
            let now = orders.borrow_and_update();
            if now.active && matches!(now.fault, Some((Fault::Refuse | Fault::Cut(0) | Fault::Reset(0), When::Now))) {
                return None;
            }
        }
        tokio::select! {
            read = from.read(buffer) => return Some(read),
            changed = orders.changed() => if changed.is_err() { return None },
        }
    }
}

fn ended(orders: &watch::Receiver<Orders>) -> End {
    if matches!(orders.borrow().fault, Some((Fault::Cut(_), _))) { End::Closed } else { End::Reset }
}

fn active(orders: &mut watch::Receiver<Orders>) -> Option<Fault> {
    let orders = orders.borrow_and_update();
    orders.fault.as_ref().filter(|_| orders.active).map(|(fault, _)| fault.clone())
}

fn is_stalled(orders: &mut watch::Receiver<Orders>) -> bool {
    active(orders) == Some(Fault::Stall)
}

fn holds(bytes: &[u8], mark: &[u8]) -> bool {
    bytes.windows(mark.len()).any(|window| window == mark)
}

fn longest_mark(shared: &Shared) -> usize {
    let counted = shared.counts.lock().unwrap().keys().map(Vec::len).max().unwrap_or(0);
    let ordered = match &shared.orders.borrow().fault {
        Some((_, When::Question(mark) | When::Answer(mark))) => mark.len(),
        _ => 0,
    };
    counted.max(ordered)
}

fn replace(piece: &mut [u8], old: &[u8], new: &[u8]) {
    let mut at = 0;
    while let Some(found) = piece[at..].windows(old.len()).position(|window| window == old) {
        piece[at + found..at + found + old.len()].copy_from_slice(new);
        at += found + old.len();
    }
}

/// Whether there was one to falsify.
fn wrong_length(piece: &mut Vec<u8>, by: i64) -> bool {
    let text = String::from_utf8_lossy(piece).into_owned();
    let Some(at) = text.to_ascii_lowercase().find("content-length:") else { return false };
    let from = at + "content-length:".len();
    let Some(end) = text[from..].find("\r\n").map(|end| from + end) else { return false };
    let Ok(length) = text[from..end].trim().parse::<i64>() else { return false };
    piece.splice(from..end, format!(" {}", (length + by).max(0)).into_bytes());
    true
}
