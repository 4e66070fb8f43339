//! The terminal interface in a real pseudo-terminal: taken over, given back, and lost.
//! Never the engine: a driver in this very file plays its part, started as a process of its own.

#[path = "screens/sample.rs"]
#[expect(dead_code, reason = "the pictures need more of the sample than the driver")]
mod sample;

use castoff::model::{Command, Event};
use castoff::tui;
use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use std::{
    io::{Read, Write},
    num::NonZero,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use tokio::sync::mpsc;

/// Where the driver writes what became of it: its terminal may be gone.
const RESULT: &str = "CASTOFF_TEST_RESULT";
/// What the driver plays: `plan`, `run`, `panic`.
const PART: &str = "CASTOFF_TEST_PART";

/// Not a test: the process that the tests start in a pseudo-terminal.
#[test]
#[ignore = "started by the other tests"]
fn driver() {
    let part = std::env::var(PART).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let left = runtime.block_on(async {
        let story = sample::pulling();
        let (event_to, events) = mpsc::channel(64);
        let (commands, mut command_from) = mpsc::channel(64);
        let engine = tokio::spawn(async move {
            let mut said = vec![];
            while let Some(command) = command_from.recv().await {
                said.push(format!("{command:?}"));
                match command {
                    Command::Begin => {
                        for stamped in story.entries.clone() {
                            event_to.send(Event::Entry(stamped)).await.unwrap();
                        }
                        if part == "panic" {
                            let _ = tokio::spawn(async { panic!("a worker has fallen over") }).await;
                        }
                    }
                    Command::Stop | Command::StopNow => break,
                    _ => {}
                }
            }
            said.join(" ")
        });
        let start = sample::start(sample::plan(), vec![]);
        let left = tui::run(start, events, commands).await;
        format!("{left:?} after {}", engine.await.unwrap())
    });
    let cpu = std::fs::read_to_string("/proc/self/stat").unwrap();
    std::fs::write(std::env::var(RESULT).unwrap(), format!("{left}\n{cpu}")).unwrap();
    println!("the last words");
}

fn rows(n: u16) -> NonZero<u16> {
    NonZero::new(n).unwrap()
}

/// A terminal with the driver in it.
struct Stage {
    child: Box<dyn Child + Send + Sync>,
    master: Option<Box<dyn MasterPty + Send>>,
    keys: Box<dyn Write + Send>,
    seen: Arc<Mutex<vt100::Parser>>,
    raw: Arc<Mutex<Vec<u8>>>,
    /// Nobody looks any more: the reading thread lets go of the terminal with the next picture.
    deaf: Arc<AtomicBool>,
    result: PathBuf,
    _folder: tempfile::TempDir,
}

impl Stage {
    fn open(part: &str, variables: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let result = folder.path().join("result");
        let size = PtySize { rows: 24, cols: 80, pixel_width: 0, pixel_height: 0 };
        let pair = native_pty_system().openpty(size).unwrap();
        let mut command = CommandBuilder::new(std::env::current_exe().unwrap());
        command.args(["--ignored", "--exact", "driver", "--nocapture", "--test-threads=1"]);
        command.env(PART, part);
        command.env(RESULT, &result);
        command.env("TERM", "xterm-256color");
        for (name, value) in variables {
            command.env(name, value);
        }
        let child = pair.slave.spawn_command(command).unwrap();
        drop(pair.slave);
        let keys = pair.master.take_writer().unwrap();
        let mut from = pair.master.try_clone_reader().unwrap();
        let seen = Arc::new(Mutex::new(vt100::Parser::new(rows(24), rows(80), 0)));
        let raw = Arc::new(Mutex::new(vec![]));
        let deaf = Arc::new(AtomicBool::new(false));
        let (screen, all, done) = (seen.clone(), raw.clone(), deaf.clone());
        thread::spawn(move || {
            let mut buffer = [0; 8192];
            while let Ok(n @ 1..) = from.read(&mut buffer) {
                screen.lock().unwrap().process(&buffer[..n]);
                all.lock().unwrap().extend_from_slice(&buffer[..n]);
                if done.load(Ordering::SeqCst) {
                    return;
                }
            }
        });
        Self { child, master: Some(pair.master), keys, seen, raw, deaf, result, _folder: folder }
    }

    fn screen(&self) -> String {
        self.seen.lock().unwrap().screen().contents()
    }

    fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let begun = Instant::now();
        while !holds(self) {
            assert!(begun.elapsed() < Duration::from_secs(20), "{what}:\n{}", self.screen());
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn shows(&self, words: &str) {
        self.until(words, |stage| stage.screen().contains(words));
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    /// What the driver wrote at its end: how it left, and its line of `/proc/self/stat`.
    fn result(&mut self) -> (String, u64) {
        let result = self.result.clone();
        self.until("the end of the driver", |_| std::fs::read_to_string(&result).is_ok_and(|text| text.lines().count() == 2));
        let text = std::fs::read_to_string(&result).unwrap();
        let (left, stat) = text.split_once('\n').unwrap();
        let times: Vec<u64> =
            stat.rsplit(')').next().unwrap().split_whitespace().skip(11).take(2).map(|t| t.parse().unwrap()).collect();
        (left.to_owned(), times.iter().sum())
    }

    fn is_given_back(&self) {
        self.until("the terminal is given back", |stage| !stage.seen.lock().unwrap().screen().alternate_screen());
        let raw = String::from_utf8_lossy(&self.raw.lock().unwrap()).into_owned();
        for (on, off) in [
            ("\x1b[?1049h", "\x1b[?1049l"),
            ("\x1b[?25l", "\x1b[?25h"),
            ("\x1b[?2004h", "\x1b[?2004l"),
            ("\x1b[?1004h", "\x1b[?1004l"),
        ] {
            assert!(raw.rfind(off) > raw.rfind(on), "{off:?} comes after {on:?}");
        }
    }
}

#[test]
fn the_terminal_is_given_back_when_the_operator_leaves() {
    let mut stage = Stage::open("plan", &[]);
    stage.shows("DRY RUN");
    assert!(stage.seen.lock().unwrap().screen().alternate_screen());
    stage.press("q");
    assert_eq!(stage.result().0, "Ok(Stopped) after ");
    stage.is_given_back();
    stage.shows("the last words");
    assert!(stage.child.wait().unwrap().success());
}

#[test]
fn the_selected_row_is_reversed_without_colors_too() {
    for variables in [&[][..], &[("NO_COLOR", "1")][..]] {
        let mut stage = Stage::open("plan", variables);
        stage.shows("DRY RUN");
        stage.until("a reversed row", |stage| {
            let parser = stage.seen.lock().unwrap();
            (0..24).any(|row| (0..80).all(|column| parser.screen().cell(row, column).is_some_and(vt100::Cell::inverse)))
        });
        stage.press("q");
        stage.result();
    }
}

#[test]
fn the_terminal_is_asked_nothing() {
    let mut stage = Stage::open("plan", &[]);
    stage.shows("DRY RUN");
    let before = stage.raw.lock().unwrap().len();
    stage.press("\u{c}");
    stage.until("everything is drawn again", |stage| stage.raw.lock().unwrap().len() > before + 1000);
    stage.press("q");
    stage.result();
    let raw = String::from_utf8_lossy(&stage.raw.lock().unwrap()).into_owned();
    for question in
        ["\x1b[6n", "\x1b[5n", "\x1b[c", "\x1b[0c", "\x1b[>c", "\x1b[?u", "\x1b]10;?", "\x1b]11;?", "\x1b[14t", "\x1b[18t"]
    {
        assert!(!raw.contains(question), "{question:?}");
    }
}

#[test]
fn a_resize_is_drawn() {
    let mut stage = Stage::open("plan", &[]);
    stage.shows("DRY RUN");
    stage.seen.lock().unwrap().screen_mut().set_size(rows(12), rows(50));
    stage.master.as_ref().unwrap().resize(PtySize { rows: 12, cols: 50, pixel_width: 0, pixel_height: 0 }).unwrap();
    stage.shows("50x12 is too small");
    stage.press("q");
    stage.result();
}

#[test]
fn a_run_stops_at_the_safe_point() {
    let mut stage = Stage::open("run", &[]);
    stage.shows("DRY RUN");
    stage.press("E");
    stage.shows("RUNNING step 2 of 11");
    stage.press("q");
    stage.shows("stop at the safe point and leave");
    stage.press("L");
    assert_eq!(stage.result().0, "Ok(Stopped) after Begin Stop");
    stage.is_given_back();
}

#[test]
fn a_lost_terminal_stops_the_run_and_burns_nothing() {
    let mut stage = Stage::open("run", &[]);
    stage.shows("DRY RUN");
    stage.press("E");
    stage.shows("RUNNING step 2 of 11");
    let begun = Instant::now();
    // Closing the master is what a lost connection does.
    stage.keys = Box::new(std::io::sink());
    stage.master.take();
    stage.deaf.store(true, Ordering::SeqCst);
    let (left, ticks) = stage.result();
    assert_eq!(left, "Ok(Detached) after Begin Stop");
    // A hundredth of a second each; a spinning reader takes all there is.
    let elapsed = u64::try_from(begun.elapsed().as_millis()).unwrap() / 10;
    assert!(ticks < elapsed / 2 + 100, "{ticks} of {elapsed} ticks");
}

#[test]
fn sigterm_asks_for_a_safe_stop() {
    let mut stage = Stage::open("run", &[]);
    stage.shows("DRY RUN");
    stage.press("E");
    stage.shows("RUNNING step 2 of 11");
    let id = rustix::process::Pid::from_raw(stage.child.process_id().unwrap().cast_signed()).unwrap();
    rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    assert_eq!(stage.result().0, "Ok(Signal(15)) after Begin Stop");
    stage.is_given_back();
}

#[test]
fn a_panic_elsewhere_leaves_the_screen_alone_and_is_told() {
    let mut stage = Stage::open("panic", &[]);
    stage.shows("DRY RUN");
    stage.press("E");
    stage.shows("a worker has fallen over");
    assert!(stage.seen.lock().unwrap().screen().alternate_screen());
    stage.press("\u{3}");
    stage.result();
    stage.is_given_back();
}
