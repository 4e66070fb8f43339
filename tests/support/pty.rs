//! A real pseudo-terminal with a program in it: what it shows as a picture, and every byte it sent.
//! Never waits by time alone: what is waited for is on the screen, with a deadline.

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use rustix::{
    fs::OFlags,
    process::{Pid, Signal, kill_process},
    termios::{OptionalActions, SpecialCodeIndex, tcgetattr, tcsetattr},
};
use std::{
    io::{Read, Write},
    num::NonZero,
    os::unix::fs::OpenOptionsExt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// For what a program does by itself, on two busy cores.
pub const SOON: Duration = Duration::from_mins(1);

/// What is switched on when the terminal is taken, and off when it is given back.
const TAKEN: [(&str, &str); 4] =
    [("\x1b[?1049h", "\x1b[?1049l"), ("\x1b[?25l", "\x1b[?25h"), ("\x1b[?2004h", "\x1b[?2004l"), ("\x1b[?1004h", "\x1b[?1004l")];

struct Seen {
    parser: vt100::Parser,
    raw: Vec<u8>,
}

/// A pseudo-terminal with a program in it; the program is killed with it.
pub struct Terminal {
    child: Box<dyn Child + Send + Sync>,
    /// `None` after the terminal has hung up.
    master: Option<Box<dyn MasterPty + Send>>,
    keys: Box<dyn Write + Send>,
    seen: Arc<Mutex<Seen>>,
    /// Nobody looks any more: the reading thread lets go of the terminal with the next picture.
    deaf: Arc<AtomicBool>,
    reader: Option<thread::JoinHandle<()>>,
}

fn cells(n: u16) -> NonZero<u16> {
    NonZero::new(n).expect("a terminal has cells")
}

fn size((columns, rows): (u16, u16)) -> PtySize {
    PtySize { rows, cols: columns, pixel_width: 0, pixel_height: 0 }
}

impl Terminal {
    /// `at` is columns and rows. The terminal is an xterm with colours and UTF-8, unless the command says otherwise.
    pub fn open(mut command: CommandBuilder, at: (u16, u16)) -> Self {
        for (name, value) in [("TERM", "xterm-256color"), ("LC_ALL", "C.UTF-8")] {
            if command.iter_extra_env_as_str().all(|(known, _)| known != name) {
                command.env(name, value);
            }
        }
        let pair = native_pty_system().openpty(size(at)).expect("a pseudo-terminal");
        let child = pair.slave.spawn_command(command).expect("the program starts");
        drop(pair.slave);
        let keys = pair.master.take_writer().expect("a keyboard");
        let mut from = pair.master.try_clone_reader().expect("a screen");
        let parser = vt100::Parser::new(cells(at.1), cells(at.0), 0);
        let seen = Arc::new(Mutex::new(Seen { parser, raw: vec![] }));
        let deaf = Arc::new(AtomicBool::new(false));
        let (seeing, done) = (seen.clone(), deaf.clone());
        let reader = thread::spawn(move || {
            let mut buffer = [0; 8192];
            while let Ok(n @ 1..) = from.read(&mut buffer) {
                let mut seen = seeing.lock().unwrap();
                seen.parser.process(&buffer[..n]);
                seen.raw.extend_from_slice(&buffer[..n]);
                if done.load(Ordering::SeqCst) {
                    return;
                }
            }
        });
        Self { child, master: Some(pair.master), keys, seen, deaf, reader: Some(reader) }
    }

    /// The picture as text.
    pub fn screen(&self) -> String {
        self.seen.lock().unwrap().parser.screen().contents()
    }

    /// Every byte the program sent so far, read as text.
    pub fn raw(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock().unwrap().raw).into_owned()
    }

    /// Looks at the cells.
    pub fn look<T>(&self, at: impl FnOnce(&vt100::Screen) -> T) -> T {
        at(self.seen.lock().unwrap().parser.screen())
    }

    pub fn in_alternate_screen(&self) -> bool {
        self.look(vt100::Screen::alternate_screen)
    }

    /// Whether it came true before the deadline.
    pub fn comes(&self, deadline: Duration, holds: impl Fn(&Self) -> bool) -> bool {
        let begun = Instant::now();
        while !holds(self) {
            if begun.elapsed() > deadline {
                return false;
            }
            thread::sleep(Duration::from_millis(20));
        }
        true
    }

    pub fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        assert!(self.comes(SOON, holds), "{what}:\n{}", self.screen());
    }

    pub fn shows(&self, words: &str) {
        self.shows_within(SOON, words);
    }

    pub fn shows_within(&self, deadline: Duration, words: &str) {
        assert!(self.comes(deadline, |terminal| terminal.screen().contains(words)), "no `{words}`:\n{}", self.screen());
    }

    pub fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).and_then(|()| self.keys.flush()).expect("keys arrive");
    }

    /// Answers the question of this title. It is deaf for a moment after it opened, so the sentence is typed until it stands there.
    pub fn answer(&mut self, deadline: Duration, title: &str, sentence: &str) {
        self.shows_within(deadline, title);
        self.shows(&format!("type   {sentence}"));
        let typed = format!("> {sentence}");
        let tries = Instant::now();
        let stands =
            |terminal: &Self| terminal.screen().lines().any(|line| line.trim_matches(['│', ' ']).trim_end_matches('_') == typed);
        loop {
            self.press(sentence);
            // Whole, and with nothing before or after it.
            if self.comes(Duration::from_millis(500), stands) {
                break;
            }
            assert!(tries.elapsed() < SOON, "`{sentence}` cannot be typed:\n{}", self.screen());
            self.press("\u{15}");
        }
        self.press("\r");
        let gone = self.comes(SOON, |terminal| !terminal.screen().contains(&typed));
        assert!(gone, "the answer `{sentence}` is not taken:\n{}", self.screen());
    }

    /// Closes the question, which takes letters as an answer and is deaf for a moment, and leaves the run open.
    pub fn leave(&mut self) {
        let tries = Instant::now();
        while !self.comes(Duration::from_millis(200), |terminal| !terminal.screen().contains("To do this, type")) {
            assert!(tries.elapsed() < SOON, "the question stays:\n{}", self.screen());
            self.press("\u{1b}");
        }
        // An escape that is still on its way makes one key of itself and a `q` right behind it.
        let asked = |terminal: &Self| terminal.screen().contains("stop at the safe point and leave");
        self.press("q");
        while !self.comes(Duration::from_millis(500), asked) {
            assert!(tries.elapsed() < SOON, "nothing asks how to leave:\n{}", self.screen());
            self.press("q");
        }
        self.press("L");
    }

    pub fn resize(&mut self, at: (u16, u16)) {
        self.seen.lock().unwrap().parser.screen_mut().set_size(cells(at.1), cells(at.0));
        self.master.as_ref().expect("a terminal that is there").resize(size(at)).expect("a new size");
    }

    pub fn process(&self) -> Pid {
        Pid::from_raw(self.child.process_id().expect("a child that runs").cast_signed()).expect("not 0")
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.process(), signal).expect("a child that runs");
    }

    /// What a lost connection does: the other end of the terminal is closed, and no key is pressed before.
    pub fn hang_up(&mut self) {
        // The keyboard would type Ctrl-D when it is dropped, unless the terminal has no such key.
        let name = self.master.as_ref().and_then(|master| master.tty_name()).expect("the name of the terminal");
        let terminal =
            std::fs::OpenOptions::new().read(true).custom_flags(OFlags::NOCTTY.bits().cast_signed()).open(name).unwrap();
        let mut settings = tcgetattr(&terminal).unwrap();
        settings.special_codes[SpecialCodeIndex::VEOF] = 0;
        tcsetattr(&terminal, OptionalActions::Now, &settings).unwrap();
        drop(terminal);
        self.keys = Box::new(std::io::sink());
        self.master.take();
        self.deaf.store(true, Ordering::SeqCst);
    }

    /// `R`, `S`, `T`: the third field of `/proc/PID/stat`.
    pub fn process_state(&self) -> Option<String> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process().as_raw_nonzero())).ok()?;
        stat.rsplit(')').next()?.split_whitespace().next().map(str::to_owned)
    }

    /// Whatever was taken of the terminal was given back, in that order.
    pub fn is_given_back(&self) {
        self.until("the terminal is given back", |terminal| !terminal.in_alternate_screen());
        let raw = self.raw();
        for (on, off) in TAKEN {
            assert!(raw.contains(on) && raw.rfind(off) > raw.rfind(on), "{off:?} comes after {on:?}");
        }
    }

    /// The exit code, when the program has ended by itself.
    pub fn code(&mut self) -> u32 {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status.exit_code();
            }
            assert!(begun.elapsed() < SOON, "the program does not end:\n{}", self.screen());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// The exit code, when everything that the program said has been read.
    pub fn ended(&mut self) -> u32 {
        let code = self.code();
        // Ends with the last holder of the terminal.
        self.reader.take().map(thread::JoinHandle::join);
        code
    }

    /// Waits for the end: the exit code, and what stays in the terminal after the alternate screen.
    pub fn end(mut self) -> (u32, String) {
        let code = self.ended();
        self.is_given_back();
        let raw = self.raw();
        let (_, rest) = raw.rsplit_once("\x1b[?1049l").expect("it was left");
        (code, rest.to_owned())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
    }
}
