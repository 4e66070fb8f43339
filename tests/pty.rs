//! The program as an operator meets it: the whole runbook in a real pseudo-terminal on a real cluster, and the ways out.
//! Never waits by time alone: what is waited for is on the screen, with a deadline.

#[path = "support/lab.rs"]
#[expect(dead_code, reason = "the terminal needs less of a lab than the stores' tests")]
mod lab;

use lab::Lab;
use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use std::{
    io::{Read, Write},
    num::NonZero,
    path::Path,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

const SOON: Duration = Duration::from_secs(15);
/// For what the cluster has to do: a manager that starts, a rescan.
const WORK: Duration = Duration::from_secs(90);

/// What the terminal was sent: as a picture, and as bytes.
struct Seen {
    parser: vt100::Parser,
    raw: Vec<u8>,
}

/// A pseudo-terminal with castoff in it.
struct Terminal {
    child: Box<dyn Child + Send + Sync>,
    master: Box<dyn MasterPty + Send>,
    keys: Box<dyn Write + Send>,
    seen: Arc<Mutex<Seen>>,
    reader: Option<thread::JoinHandle<()>>,
}

fn size(columns: u16, rows: u16) -> PtySize {
    PtySize { rows, cols: columns, pixel_width: 0, pixel_height: 0 }
}

fn cells(n: u16) -> NonZero<u16> {
    NonZero::new(n).expect("a terminal has cells")
}

impl Terminal {
    /// Starts castoff in a terminal of 120x36; runs are kept in `kept`.
    fn open(kept: &Path, arguments: &[&str]) -> Self {
        let pair = native_pty_system().openpty(size(120, 36)).expect("a pseudo-terminal");
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_castoff"));
        command.args(arguments);
        command.args(["--state", &kept.to_string_lossy()]);
        command.env("TERM", "xterm-256color");
        command.env_remove("NO_COLOR");
        let child = pair.slave.spawn_command(command).expect("castoff starts");
        drop(pair.slave);
        let keys = pair.master.take_writer().expect("a keyboard");
        let mut from = pair.master.try_clone_reader().expect("a screen");
        let seen = Arc::new(Mutex::new(Seen { parser: vt100::Parser::new(cells(36), cells(120), 0), raw: vec![] }));
        let seeing = seen.clone();
        let reader = thread::spawn(move || {
            let mut buffer = [0; 8192];
            while let Ok(n @ 1..) = from.read(&mut buffer) {
                let mut seen = seeing.lock().unwrap();
                seen.parser.process(&buffer[..n]);
                seen.raw.extend_from_slice(&buffer[..n]);
            }
        });
        Self { child, master: pair.master, keys, seen, reader: Some(reader) }
    }

    fn screen(&self) -> String {
        self.seen.lock().unwrap().parser.screen().contents()
    }

    /// Whether it came true before the deadline.
    fn comes(&self, deadline: Duration, holds: impl Fn(&str) -> bool) -> bool {
        let begun = Instant::now();
        while !holds(&self.screen()) {
            if begun.elapsed() > deadline {
                return false;
            }
            thread::sleep(Duration::from_millis(20));
        }
        true
    }

    fn shows(&self, deadline: Duration, words: &str) {
        assert!(self.comes(deadline, |screen| screen.contains(words)), "no `{words}`:\n{}", self.screen());
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).and_then(|()| self.keys.flush()).expect("keys arrive");
    }

    /// Answers the question of this title. It is deaf for a moment after it opened, so the sentence is typed until it stands there.
    fn answer(&mut self, deadline: Duration, title: &str, sentence: &str) {
        self.shows(deadline, title);
        self.shows(SOON, &format!("type   {sentence}"));
        let typed = format!("> {sentence}");
        let tries = Instant::now();
        loop {
            self.press(sentence);
            // Whole, and with nothing before or after it.
            if self.comes(Duration::from_millis(500), |screen| screen.lines().any(|line| line.trim_matches(['│', ' ']) == typed))
            {
                break;
            }
            assert!(tries.elapsed() < SOON, "`{sentence}` cannot be typed:\n{}", self.screen());
            self.press("\u{15}");
        }
        self.press("\r");
        let gone = self.comes(SOON, |screen| !screen.contains(&typed));
        assert!(gone, "the answer `{sentence}` is not taken:\n{}", self.screen());
    }

    /// Closes the question, which takes letters as an answer and is deaf for a moment, and leaves the run open.
    fn leave(&mut self) {
        let tries = Instant::now();
        while !self.comes(Duration::from_millis(200), |screen| !screen.contains("To do this, type")) {
            assert!(tries.elapsed() < SOON, "the question stays:\n{}", self.screen());
            self.press("\u{1b}");
        }
        self.press("q");
        self.shows(SOON, "stop at the safe point and leave");
        self.press("L");
    }

    fn resize(&mut self, columns: u16, rows: u16) {
        self.seen.lock().unwrap().parser.screen_mut().set_size(cells(rows), cells(columns));
        self.master.resize(size(columns, rows)).expect("a new size");
    }

    fn in_alternate_screen(&self) -> bool {
        self.seen.lock().unwrap().parser.screen().alternate_screen()
    }

    /// Waits for the end: the exit code, and what stays in the terminal after the alternate screen.
    fn end(mut self) -> (u32, String) {
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                break status;
            }
            assert!(begun.elapsed() < SOON, "castoff does not end:\n{}", self.screen());
            thread::sleep(Duration::from_millis(20));
        };
        // Ends with the last holder of the terminal.
        self.reader.take().map(thread::JoinHandle::join);
        assert!(!self.in_alternate_screen(), "the alternate screen is left");
        let raw = String::from_utf8_lossy(&self.seen.lock().unwrap().raw).into_owned();
        for (on, off) in [("\x1b[?1049h", "\x1b[?1049l"), ("\x1b[?25l", "\x1b[?25h"), ("\x1b[?2004h", "\x1b[?2004l")] {
            assert!(raw.contains(on) && raw.rfind(off) > raw.rfind(on), "{off:?} comes after {on:?}");
        }
        let (_, rest) = raw.rsplit_once("\x1b[?1049l").expect("it was left");
        (status.exit_code(), rest.to_owned())
    }
}

#[test]
fn the_whole_runbook_goes_through_a_terminal() {
    let Some(lab) = Lab::start("CASTOFF_LAB") else {
        eprintln!("\n*** NOT RUN: no Python 3.11 for the 23.09 era ***\n");
        return;
    };
    let kept = tempfile::tempdir().unwrap();
    let (cluster, file) = (lab.cluster(), lab.cluster_file());
    let file = file.to_string_lossy();
    let mut terminal = Terminal::open(kept.path(), &["run", "backend-ai", "--cluster", &file]);

    terminal.shows(SOON, "DRY RUN");
    terminal.shows(SOON, "Nothing has been changed. 10 steps, 4 questions");
    assert!(terminal.in_alternate_screen());
    terminal.press("E");
    terminal.answer(SOON, "Pull the new images   question 1 of 4", "yes");

    // Left at a question, and gone on with in another terminal.
    terminal.shows(WORK, "Open the window   question 2 of 4");
    terminal.leave();
    let (code, rest) = terminal.end();
    assert_eq!(code, 13, "{rest}");
    assert!(rest.contains("nobody runs it now: castoff resume "), "{rest}");
    let mut terminal = Terminal::open(kept.path(), &["resume", "--cluster", &file]);
    terminal.shows(SOON, "C continue");
    terminal.press("C");
    terminal.answer(WORK, "Open the window   question 2 of 4", &cluster);

    // Stopped, rescanned, started again; now four sessions are in the way of the rest.
    terminal.shows(WORK, "session train-mnist");
    terminal.resize(80, 24);
    terminal.shows(SOON, "session train-mnist");
    let fits = |screen: &str| screen.lines().all(|line| line.chars().count() <= 80) && screen.contains("stats-park");
    assert!(terminal.comes(SOON, fits), "not drawn at 80x24:\n{}", terminal.screen());
    lab.drain();
    terminal.shows(WORK, "✔  no session and no container uses an old image");
    terminal.answer(WORK, "Delete the old metadata   question 3 of 4", &cluster);
    terminal.answer(WORK, "Remove old images   question 4 of 4", &format!("remove 9 images from {cluster}"));
    terminal.shows(WORK, "This run is over. Nothing is running.");
    terminal.shows(SOON, "DONE");
    terminal.press("q");
    let (code, rest) = terminal.end();
    assert_eq!(code, 0, "{rest}");
    for words in ["DONE", "LEFT TO DO BY HAND", "10  Remove old images", " journal  ", "castoff rollback "] {
        assert!(rest.contains(words), "no `{words}` in the scrollback: {rest}");
    }
    assert_eq!(lab.sql("SELECT count(*) FROM images WHERE registry = 'index.docker.io'"), ["0"]);
    assert_eq!(lab.castoff(kept.path(), &["plan", "backend-ai"]).code, 0, "nothing is left to do");
}

#[test]
fn leaving_at_a_question_stops_the_run_there() {
    let kept = tempfile::tempdir().unwrap();
    let mut terminal = Terminal::open(kept.path(), &["run", "backend-ai", "--simulate"]);
    terminal.shows(SOON, "DRY RUN");
    terminal.press("E");
    terminal.shows(SOON, "To do this, type   yes");
    terminal.leave();
    let (code, rest) = terminal.end();
    assert_eq!(code, 13, "{rest}");
    assert!(rest.contains("Pull new images on agents     gate"), "{rest}");
    assert!(rest.contains("a rehearsal: no cluster was touched") && !rest.contains("castoff resume"), "{rest}");
}

#[test]
fn the_first_picture_does_not_wait_for_the_cluster() {
    let kept = tempfile::tempdir().unwrap();
    let terminal = Terminal::open(kept.path(), &["run", "backend-ai", "--simulate"]);
    terminal.shows(SOON, "DRY RUN");
    let raw = String::from_utf8_lossy(&terminal.seen.lock().unwrap().raw).into_owned();
    let at = |words: &str| raw.find(words).unwrap_or_else(|| panic!("no `{words}`: {raw}"));
    // Blanks are not written: word by word.
    assert!(at("Reading") < at("DRY"), "{raw}");
    assert!(!terminal.screen().contains("Reading the cluster"), "what was waited for is gone:\n{}", terminal.screen());
    assert_eq!(raw.matches("\x1b[?1049h").count(), 1, "the screen is taken once");
    assert!(raw.contains("castoff demo") || raw.contains("\x1b]0;castoff "), "the title names the cluster");
}

#[test]
fn ctrl_c_at_the_plan_leaves_nothing_behind() {
    let kept = tempfile::tempdir().unwrap();
    let mut terminal = Terminal::open(kept.path(), &["run", "backend-ai", "--simulate"]);
    terminal.shows(SOON, "DRY RUN");
    terminal.press("\u{3}");
    let (code, rest) = terminal.end();
    assert_ne!(code, 0, "{rest}");
    for folder in ["runs", "rehearsals/runs"] {
        let runs = std::fs::read_dir(kept.path().join(folder)).map_or(0, Iterator::count);
        assert_eq!(runs, 0, "a run was begun in {folder}: {rest}");
    }
}
