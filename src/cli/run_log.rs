//! `run.log`: every line that headless would print, with its time, in the folder of the run, whatever the face.
//! Never slows the run and never ends it: a line that cannot be written is counted, and said once.

use crate::account::Account;
use crate::model::{Event, Level, Stamped, text};
use crate::private;
use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc::{self, Receiver, Sender},
    time::interval,
};

/// Lines that may wait for the disk. More are left out, and counted in the file.
const WAITING: usize = 20_000;

/// What stands between the engine and the face.
pub struct Tee {
    pub run: String,
    pub folder: PathBuf,
    pub entries: Vec<Stamped>,
    /// The block of SIGUSR1 goes to standard error too: not while the terminal interface is up.
    pub aloud: bool,
    pub now_ms: fn() -> i64,
}

impl Tee {
    /// Passes every event on and writes it down. The task ends with the engine, when the last line is written.
    pub fn start(self, events: Receiver<Event>) -> (Receiver<Event>, tokio::task::JoinHandle<()>) {
        let (to, face) = mpsc::channel(4096);
        (face, tokio::spawn(self.listen(events, to)))
    }

    async fn listen(self, mut events: Receiver<Event>, face: Sender<Event>) {
        let mut account = Account::new(&self.entries, (self.now_ms)()).unwrap_or_default();
        let (to, lines) = mpsc::channel(WAITING);
        let (trouble_to, mut trouble) = mpsc::channel(1);
        let path = self.folder.join("run.log");
        let writer = tokio::task::spawn_blocking(move || write(&path, lines, &trouble_to));
        let mut log = Log { to, left_out: 0 };
        let (version, process) = (env!("CARGO_PKG_VERSION"), std::process::id());
        log.line((self.now_ms)(), &format!("castoff {version}, run {}, process {process}", self.run));
        let mut asked = signal(SignalKind::user_defined1()).ok();
        let mut clock = interval(Duration::from_secs(1));
        loop {
            tokio::select! {
                event = events.recv() => {
                    let Some(event) = event else { break };
                    for line in account.take(&event, (self.now_ms)()) {
                        log.line(line.at_ms, &line.text);
                    }
                    // A face that has gone is no reason to stop: the log has the last words too.
                    let _ = face.send(event).await;
                }
                Some(why) = trouble.recv() => {
                    let text = format!("run.log is not written: {why}; the run goes on, the journal has everything");
                    let _ = face.try_send(Event::Said { level: Level::Warn, at_ms: (self.now_ms)(), place: String::new(), text });
                }
                () = heard(&mut asked) => {
                    let block = account.status(&self.run, (self.now_ms)());
                    block.iter().for_each(|line| log.line((self.now_ms)(), &format!("status  {line}")));
                    if self.aloud {
                        let block = block.join("\n");
                        let _ = writeln!(io::stderr(), "{}", text::page(&block));
                    }
                }
                _ = clock.tick() => {
                    for line in account.tick((self.now_ms)()) {
                        log.line(line.at_ms, &line.text);
                    }
                }
            }
        }
        drop(log);
        // A disk that hangs must not hold the end of the program.
        let _ = tokio::time::timeout(Duration::from_secs(2), writer).await;
    }
}

/// Somebody wants to know how the run stands.
async fn heard(asked: &mut Option<Signal>) {
    match asked {
        Some(asked) => drop(asked.recv().await),
        None => std::future::pending().await,
    }
}

struct Log {
    to: Sender<String>,
    left_out: u64,
}

impl Log {
    fn line(&mut self, at_ms: i64, words: &str) {
        if self.left_out > 0
            && self.to.try_send(stamped(at_ms, &format!("{} left out", text::count(self.left_out, "line")))).is_ok()
        {
            self.left_out = 0;
        }
        if self.left_out > 0 || self.to.try_send(stamped(at_ms, words)).is_err() {
            self.left_out += 1;
        }
    }
}

/// `2026-11-21T02:14:32.120+09:00  started   2.1 pull …`.
fn stamped(at_ms: i64, words: &str) -> String {
    let at = jiff::Timestamp::from_millisecond(at_ms).unwrap_or_default().to_zoned(jiff::tz::TimeZone::system());
    format!("{}  {}\n", at.strftime("%Y-%m-%dT%H:%M:%S%.3f%:z"), text::clean(words))
}

/// Writes until nobody sends any more. The first trouble of a row is said, and each line is tried anew.
fn write(path: &Path, mut lines: mpsc::Receiver<String>, trouble: &Sender<String>) {
    let open = || private::file(OpenOptions::new().append(true), path);
    let mut file: Option<File> = None;
    let mut well = true;
    while let Some(line) = lines.blocking_recv() {
        let written = file.take().map_or_else(open, Ok).and_then(|mut open| open.write_all(line.as_bytes()).map(|()| open));
        match written {
            Ok(open) => {
                file = Some(open);
                well = true;
            }
            Err(why) if well => {
                well = false;
                let _ = trouble.try_send(why.to_string());
            }
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn said(text: &str) -> Event {
        Event::Said { level: Level::Info, at_ms: 0, place: String::new(), text: text.to_owned() }
    }

    async fn through(folder: &Path, events: Vec<Event>) -> Vec<Event> {
        let tee = Tee { run: "r".to_owned(), folder: folder.to_owned(), entries: vec![], aloud: false, now_ms: || 0 };
        let (to, from) = mpsc::channel(8);
        let (mut face, task) = tee.start(from);
        let mut seen = vec![];
        for event in events {
            to.send(event).await.unwrap();
            seen.push(face.recv().await.unwrap());
            // Time for the writing thread to find its trouble.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        drop(to);
        while let Some(event) = face.recv().await {
            seen.push(event);
        }
        task.await.unwrap();
        seen
    }

    #[tokio::test]
    async fn every_event_passes_and_is_written_for_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let events = vec![said("one"), said("two")];
        assert_eq!(through(folder.path(), events.clone()).await, events);
        let path = folder.path().join("run.log");
        let text = std::fs::read_to_string(&path).unwrap();
        let words: Vec<&str> = text.lines().map(|line| line.split_once("  ").unwrap().1).collect();
        assert_eq!(words[1..], ["one", "two"], "{text}");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[tokio::test]
    async fn a_log_that_cannot_be_written_is_said_once_and_stops_nothing() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(folder.path().join("elsewhere"), folder.path().join("run.log")).unwrap();
        let seen = through(folder.path(), vec![said("one"), said("two"), said("three")]).await;
        let notices: Vec<&Event> = seen
            .iter()
            .filter(|e| matches!(e, Event::Said { text, .. } if text.starts_with("run.log is not written: a link stands there")))
            .collect();
        assert_eq!(notices.len(), 1, "{seen:?}");
        assert_eq!(seen.len(), 4, "{seen:?}");
        assert!(!folder.path().join("elsewhere").exists(), "a link is not followed");
    }
}
