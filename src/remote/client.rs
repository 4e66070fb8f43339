//! The second terminal's end of the socket: greets, listens, asks, and connects again when it was cut off.
//! Never sends what would not be taken.

use super::{
    place,
    wire::{self, Ask, Hello, Line, SAY_LIMIT, Say},
};
use crate::model::{Command, Event, Level, Stamped};
use std::{io, path::Path, time::Duration};
use tokio::{
    io::{AsyncWriteExt, BufReader},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::mpsc::{Receiver, Sender},
    time::timeout,
};

/// A castoff that lives greets at once.
const GREETING: Duration = Duration::from_secs(5);

/// Why nobody can look on.
#[derive(Debug, thiserror::Error)]
pub enum Unreachable {
    #[error("no castoff listens there")]
    Nobody,
    #[error("its castoff does not answer: {0}")]
    Silent(String),
    #[error("{0}")]
    Refused(String),
}

/// A connection that has been greeted.
pub struct Connection {
    pub hello: Hello,
    /// The journal so far.
    pub entries: Vec<Stamped>,
    /// How things stand beside it: survey, gate, progress.
    pub now: Vec<Event>,
    from: BufReader<OwnedReadHalf>,
    to: OwnedWriteHalf,
}

impl Connection {
    /// Connects to the castoff that runs the run in this folder.
    pub async fn open(folder: &Path) -> Result<Self, Unreachable> {
        let path = place::find(folder).map_err(|_| Unreachable::Nobody)?;
        let stream = UnixStream::connect(&path).await.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Unreachable::Nobody,
            io::ErrorKind::PermissionDenied => Unreachable::Refused(format!("`{}`: {error}", path.display())),
            _ => Unreachable::Silent(error.to_string()),
        })?;
        let (read, to) = stream.into_split();
        let mut from = BufReader::with_capacity(1 << 16, read);
        let greeted = timeout(GREETING, next(&mut from)).await;
        let first = greeted.map_err(|_| Unreachable::Silent(format!("no greeting for {} s", GREETING.as_secs())))?;
        let hello = match first {
            Ok(Some(Say::Hello(hello))) => *hello,
            Ok(Some(Say::Refused(why))) => return Err(Unreachable::Refused(why)),
            Ok(Some(_)) => return Err(Unreachable::Silent("it does not begin with a greeting".to_owned())),
            Ok(None) => return Err(Unreachable::Nobody),
            Err(error) => return Err(Unreachable::Silent(error.to_string())),
        };
        let mut connection = Self { hello, entries: vec![], now: vec![], from, to };
        loop {
            match connection.next().await {
                Ok(Some(Say::Event(Event::Entry(stamped)))) => connection.entries.push(stamped),
                Ok(Some(Say::Event(event))) => connection.now.push(event),
                Ok(Some(Say::Ready)) => return Ok(connection),
                Ok(Some(Say::Refused(why))) => return Err(Unreachable::Refused(why)),
                Ok(Some(_) | None) => return Err(Unreachable::Nobody),
                Err(error) => return Err(Unreachable::Silent(error.to_string())),
            }
        }
    }

    /// The next thing it says; `None` when it has gone without a word.
    pub async fn next(&mut self) -> io::Result<Option<Say>> {
        next(&mut self.from).await
    }

    pub async fn ask(&mut self, ask: Ask) -> io::Result<()> {
        self.to.write_all(wire::wish(ask).as_bytes()).await
    }
}

async fn next(from: &mut BufReader<OwnedReadHalf>) -> io::Result<Option<Say>> {
    let Some(line) = wire::read_line(from, SAY_LIMIT).await? else { return Ok(None) };
    let line: Line = wire::parse(&line).map_err(io::Error::other)?;
    Ok(Some(line.say))
}

/// Hands on what happens, until the run's castoff has gone: then the channel of events is closed. Whoever is cut off
/// for reading too slowly connects again and misses no entry. Of `commands` only `Recheck` is sent.
pub async fn follow(
    connection: Connection,
    folder: &Path,
    terminal: &str,
    events: Sender<Event>,
    mut commands: Receiver<Command>,
) {
    let mut last = connection.entries.last().map_or(0, |stamped| stamped.seq);
    let Connection { hello, now, mut from, mut to, .. } = connection;
    for event in now {
        if events.send(event).await.is_err() {
            return;
        }
    }
    loop {
        // One task reads whole lines: a line that is read half may not be given up.
        let reading = async {
            loop {
                match next(&mut from).await {
                    Ok(Some(Say::Event(Event::Entry(stamped)))) => {
                        last = last.max(stamped.seq);
                        if events.send(Event::Entry(stamped)).await.is_err() {
                            return false;
                        }
                    }
                    Ok(Some(Say::Event(event))) => {
                        if events.send(event).await.is_err() {
                            return false;
                        }
                    }
                    Ok(Some(Say::Bye)) => return false,
                    Ok(Some(_)) => {}
                    Ok(None) | Err(_) => return true,
                }
            }
        };
        let asking = async {
            while let Some(command) = commands.recv().await {
                if command == Command::Recheck {
                    let ask = Ask { id: 0, terminal: terminal.to_owned(), sudo: None, command };
                    let _ = to.write_all(wire::wish(ask).as_bytes()).await;
                }
            }
            std::future::pending::<()>().await;
        };
        let cut_off = tokio::select! {
            cut_off = reading => cut_off,
            () = asking => false,
        };
        if !cut_off {
            return;
        }
        let Ok(again) = Connection::open(folder).await else { return };
        if again.hello.run != hello.run {
            return;
        }
        let text = "attached again: the run's castoff had cut this terminal off".to_owned();
        let said = Event::Said { level: Level::Warn, at_ms: jiff::Timestamp::now().as_millisecond(), place: String::new(), text };
        let missed = again.entries.into_iter().filter(|stamped| stamped.seq > last).map(Event::Entry).collect::<Vec<_>>();
        for event in std::iter::once(said).chain(missed).chain(again.now) {
            if let Event::Entry(stamped) = &event {
                last = stamped.seq;
            }
            if events.send(event).await.is_err() {
                return;
            }
        }
        (from, to) = (again.from, again.to);
    }
}
