//! A program in a real pseudo-terminal, and the moment at which something stood on its screen.
//! Never waits by time alone.

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use std::{
    io::{Read, Write},
    num::NonZero,
    sync::{Arc, Condvar, Mutex},
    thread,
    time::{Duration, Instant},
};

const SIZE: PtySize = PtySize { rows: 36, cols: 120, pixel_width: 0, pixel_height: 0 };
/// A screen that does not come in this time never comes.
const LATE: Duration = Duration::from_mins(1);

type Holds = Box<dyn Fn(&str) -> bool + Send>;

#[derive(Default)]
struct Waited {
    holds: Option<Holds>,
    at: Option<Instant>,
}

struct Seen {
    parser: vt100::Parser,
    waited: Waited,
    bytes: u64,
    frames: u64,
}

pub struct Terminal {
    child: Box<dyn Child + Send + Sync>,
    keys: Box<dyn Write + Send>,
    seen: Arc<(Mutex<Seen>, Condvar)>,
    pub opened: Instant,
    _master: Box<dyn MasterPty + Send>,
}

impl Terminal {
    pub fn open(program: &str, arguments: &[&str]) -> Self {
        let pair = native_pty_system().openpty(SIZE).expect("a pseudo-terminal");
        let mut command = CommandBuilder::new(program);
        command.args(arguments);
        command.env("TERM", "xterm-256color");
        command.env("LANG", "C.UTF-8");
        let cells = |n| NonZero::new(n).expect("a terminal has cells");
        let parser = vt100::Parser::new(cells(SIZE.rows), cells(SIZE.cols), 0);
        let seen = Seen { parser, waited: Waited::default(), bytes: 0, frames: 0 };
        let seen = Arc::new((Mutex::new(seen), Condvar::new()));
        let mut from = pair.master.try_clone_reader().expect("a screen");
        let keys = pair.master.take_writer().expect("a keyboard");
        let opened = Instant::now();
        let child = pair.slave.spawn_command(command).expect("the program starts");
        drop(pair.slave);
        let seeing = seen.clone();
        thread::spawn(move || {
            let mut buffer = [0; 16384];
            while let Ok(n @ 1..) = from.read(&mut buffer) {
                let at = Instant::now();
                let mut guard = seeing.0.lock().expect("nobody panics with it");
                let seen = &mut *guard;
                seen.parser.process(&buffer[..n]);
                seen.bytes += n as u64;
                // A picture begins with this; a cut between two reads is rare and would only count one less.
                seen.frames += buffer[..n].windows(8).filter(|w| *w == b"\x1b[?2026h").count() as u64;
                let holds = seen.waited.holds.as_ref().is_some_and(|holds| holds(&seen.parser.screen().contents()));
                if holds {
                    seen.waited = Waited { holds: None, at: Some(at) };
                    seeing.1.notify_all();
                }
            }
        });
        Self { child, keys, seen, opened, _master: pair.master }
    }

    pub fn pid(&self) -> u32 {
        self.child.process_id().expect("it runs")
    }

    /// Bytes written to the terminal so far, and pictures drawn.
    pub fn output(&self) -> (u64, u64) {
        let seen = self.seen.0.lock().expect("nobody panics with it");
        (seen.bytes, seen.frames)
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).and_then(|()| self.keys.flush()).expect("keys arrive");
    }

    /// Presses keys; the time until the bytes arrived that made the screen hold this.
    pub fn until(&mut self, keys: &str, words: &str) -> Duration {
        let words = words.to_owned();
        self.until_it(keys, &words.clone(), move |screen| screen.contains(&words))
    }

    fn until_it(&mut self, keys: &str, what: &str, holds: impl Fn(&str) -> bool + Send + 'static) -> Duration {
        let mut guard = self.seen.0.lock().expect("nobody panics with it");
        guard.waited = if holds(&guard.parser.screen().contents()) {
            Waited { holds: None, at: Some(Instant::now()) }
        } else {
            Waited { holds: Some(Box::new(holds)), at: None }
        };
        drop(guard);
        let pressed = if keys.is_empty() { self.opened } else { Instant::now() };
        self.press(keys);
        let guard = self.seen.0.lock().expect("nobody panics with it");
        let (guard, late) =
            self.seen.1.wait_timeout_while(guard, LATE, |seen| seen.waited.at.is_none()).expect("nobody panics with it");
        assert!(!late.timed_out(), "no `{what}` after {keys:?}:\n{}", guard.parser.screen().contents());
        guard.waited.at.expect("it came").saturating_duration_since(pressed)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
