//! What leaves the screen, in a real pseudo-terminal: the copy, the pager, the shell, the mouse, and the start inside tmux.
//! Never the engine: a driver in this very file plays its part, started as a process of its own.

#[path = "screens/sample.rs"]
#[expect(dead_code, reason = "the pictures need more of the sample than the driver")]
mod sample;

#[path = "support/pty.rs"]
#[expect(dead_code, reason = "nothing here answers a gate")]
mod pty;

use castoff::model::{Command, Event, Level};
use castoff::tui;
use portable_pty::CommandBuilder;
use pty::Terminal;
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};
use tokio::sync::mpsc;

/// What the driver plays: `failed`, `pulling`, `noisy`, `question`.
const PART: &str = "CASTOFF_TEST_PART";
/// The folder of the driver's run.
const FOLDER: &str = "CASTOFF_TEST_FOLDER";

/// More than any channel holds.
const NOISE: usize = 5000;

/// Not a test: the process that the tests start in a pseudo-terminal.
#[test]
#[ignore = "started by the other tests"]
fn driver() {
    let part = std::env::var(PART).unwrap();
    let folder = PathBuf::from(std::env::var(FOLDER).unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (said, left) = runtime.block_on(async {
        let story = match part.as_str() {
            "failed" => sample::failed(),
            _ => sample::pulling(),
        };
        let (event_to, events) = mpsc::channel(64);
        let (commands, mut command_from) = mpsc::channel(64);
        let marks = folder.clone();
        let engine = tokio::spawn(async move {
            let mut said = vec![];
            while let Some(command) = command_from.recv().await {
                said.push(format!("{command:?}"));
                match command {
                    Command::Begin => {
                        for stamped in story.entries.clone() {
                            event_to.send(Event::Entry(stamped)).await.unwrap();
                        }
                        if part == "noisy" {
                            let (event_to, marks) = (event_to.clone(), marks.clone());
                            tokio::spawn(async move {
                                while !marks.join("go").exists() {
                                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                                }
                                for n in 1..=NOISE {
                                    let (place, text) = (String::new(), format!("noise {n}"));
                                    let said = Event::Said { level: Level::Info, at_ms: story.at_ms, place, text };
                                    event_to.send(said).await.unwrap();
                                }
                                fs::write(marks.join("gone"), "").unwrap();
                            });
                        }
                    }
                    Command::Stop | Command::StopNow => break,
                    _ => {}
                }
            }
            said.join(" ")
        });
        let start = tui::Start { folder: folder.clone(), ..sample::start(sample::plan(), vec![]) };
        let left = tui::run(start, events, commands).await;
        (engine.await.unwrap(), format!("{left:?}"))
    });
    fs::write(folder.join("result"), format!("{left} after {said}")).unwrap();
}

/// A terminal with the driver in it.
struct Stage {
    terminal: Terminal,
    folder: tempfile::TempDir,
}

impl Stage {
    fn open(part: &str, variables: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut command = CommandBuilder::new(std::env::current_exe().unwrap());
        command.args(["--ignored", "--exact", "driver", "--nocapture", "--test-threads=1"]);
        command.env(PART, part);
        command.env(FOLDER, folder.path());
        for (name, value) in variables {
            command.env(name, value);
        }
        let mut stage = Self { terminal: Terminal::open(command, (100, 30)), folder };
        stage.terminal.shows("DRY RUN");
        stage.terminal.press("E");
        stage
    }

    fn result(&self) -> String {
        let file = self.folder.path().join("result");
        self.terminal.until("the end of the driver", |_| file.exists());
        fs::read_to_string(file).unwrap()
    }

    fn leave(mut self) -> (String, String) {
        self.terminal.press("\u{3}");
        // It asks, or it ends.
        let file = self.folder.path().join("result");
        let asks = |terminal: &Terminal| terminal.screen().contains("stop at the safe point and leave");
        self.terminal.until("the question, or the end", |terminal| asks(terminal) || file.exists());
        if !file.exists() {
            self.terminal.press("L");
        }
        let result = self.result();
        self.terminal.is_given_back();
        (result, self.terminal.raw())
    }
}

/// A program of a few lines.
fn script(folder: &Path, name: &str, lines: &str) -> String {
    let path = folder.join(name);
    fs::write(&path, format!("#!/bin/sh\n{lines}")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.to_string_lossy().into_owned()
}

#[test]
fn a_copy_goes_to_a_file_of_its_owner_and_to_the_clipboard() {
    let mut stage = Stage::open("failed", &[]);
    stage.terminal.shows("CAUSES OF FAILURE");
    stage.terminal.press("y");
    stage.terminal.shows("the cause is copied to");
    let file = stage.folder.path().join("copied.txt");
    let copied = fs::read_to_string(&file).unwrap();
    assert!(copied.contains("no space left on device") && copied.contains("gpu-06"), "{copied}");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let one_line = copied.lines().map(str::trim).collect::<Vec<_>>().join("  ");
    let raw = stage.terminal.raw();
    let (_, sent) = raw.split_once("\x1b]52;c;").expect("OSC 52 is sent");
    let sent: String = sent.chars().take_while(|c| c.is_ascii_alphanumeric() || "+/=".contains(*c)).collect();
    assert_eq!(sent.len(), one_line.len().div_ceil(3) * 4, "the whole text in one line, as base64");
    // A word for the part that is meant.
    stage.terminal.press(":copy command\r");
    stage.terminal.shows("the command is copied to");
    assert_eq!(fs::read_to_string(&file).unwrap(), "castoff resume  --state /srv/castoff\n");
    let (result, raw) = stage.leave();
    assert_eq!(result, "Ok(Stopped) after Begin Stop");
    for question in ["\x1b[6n", "\x1b[5n", "\x1b[c", "\x1b[0c", "\x1b[>c", "\x1b[?u", "\x1b]10;?", "\x1b]11;?", "\x1b]52;c;?"] {
        assert!(!raw.contains(question), "{question:?}");
    }
}

#[test]
fn the_pager_has_the_terminal_and_the_run_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let got = folder.path().join("got");
    let lines = format!("echo PAGER HAS $(wc -l < \"$1\") LINES\nread -r line\necho \"$line\" > {}\n", got.display());
    let pager = script(folder.path(), "pager", &lines);
    let mut stage = Stage::open("noisy", &[("PAGER", &pager)]);
    stage.terminal.shows("RUNNING step 2 of 11");
    stage.terminal.press("l");
    stage.terminal.shows("> log");
    stage.terminal.press("o");
    stage.terminal.shows("PAGER HAS");
    assert!(!stage.terminal.in_alternate_screen(), "the pager has the terminal as it was before");
    // More news than the channel holds: whoever sends it must not be held up.
    fs::write(stage.folder.path().join("go"), "").unwrap();
    let gone = stage.folder.path().join("gone");
    stage.terminal.until("the engine is not held up", |_| gone.exists());
    stage.terminal.press("qPL");
    stage.terminal.press("\r");
    stage.terminal.until("castoff is back", Terminal::in_alternate_screen);
    assert_eq!(fs::read_to_string(got).unwrap(), "qPL\n", "every key was the pager's");
    stage.terminal.shows(&format!("noise {NOISE}"));
    // And the keyboard is castoff's again.
    stage.terminal.press("/noise 77\r");
    stage.terminal.shows("find: noise 77 (11)");
    let page = stage.folder.path().join("log.txt");
    assert_eq!(fs::metadata(page).unwrap().permissions().mode() & 0o777, 0o600);
    let (result, _) = stage.leave();
    assert_eq!(result, "Ok(Stopped) after Begin Stop", "no key of the pager acted");
}

#[test]
fn ctrl_c_in_the_pager_is_the_pagers() {
    let folder = tempfile::tempdir().unwrap();
    let pager = script(folder.path(), "pager", "trap 'echo CAUGHT; exit' INT\necho PAGER WAITS\nread -r line\n");
    let mut stage = Stage::open("pulling", &[("PAGER", &pager)]);
    stage.terminal.shows("RUNNING step 2 of 11");
    stage.terminal.press("l");
    stage.terminal.shows("> log");
    stage.terminal.press("o");
    stage.terminal.shows("PAGER WAITS");
    stage.terminal.press("\u{3}");
    stage.terminal.until("castoff is back", Terminal::in_alternate_screen);
    stage.terminal.shows("> log");
    assert!(!stage.terminal.screen().contains("Stopping"), "{}", stage.terminal.screen());
    stage.leave();
}

#[test]
fn a_pager_that_is_not_there_is_told() {
    let mut stage = Stage::open("failed", &[("PAGER", "/nowhere/pager")]);
    stage.terminal.shows("CAUSES OF FAILURE");
    stage.terminal.press("l");
    stage.terminal.shows("> log");
    stage.terminal.press("o");
    stage.terminal.shows("cannot be started: set PAGER");
    assert!(stage.terminal.in_alternate_screen());
    stage.leave();
}

#[test]
fn a_shell_while_the_run_waits() {
    let folder = tempfile::tempdir().unwrap();
    let shell = script(folder.path(), "shell", "echo SHELL IS HERE ${CASTOFF_TEST_SECRET-WITHOUT A SECRET}\nread -r line\n");
    let mut stage = Stage::open("failed", &[("SHELL", &shell), ("CASTOFF_TEST_SECRET", "hunter2")]);
    stage.terminal.shows("CAUSES OF FAILURE");
    stage.terminal.press("!");
    stage.terminal.shows("SHELL IS HERE WITHOUT A SECRET");
    assert!(stage.terminal.screen().contains("exit comes back"));
    stage.terminal.press("R\r");
    stage.terminal.until("castoff is back", Terminal::in_alternate_screen);
    stage.terminal.shows("CAUSES OF FAILURE");
    let (result, _) = stage.leave();
    assert_eq!(result, "Ok(Stopped) after Begin Stop", "no key of the shell acted");
}

#[test]
fn the_mouse_is_the_terminals_until_asked_for() {
    let mut stage = Stage::open("failed", &[]);
    stage.terminal.shows("CAUSES OF FAILURE");
    assert!(!stage.terminal.raw().contains("\x1b[?1000h"));
    stage.terminal.press(":mouse\r");
    stage.terminal.shows("the mouse is castoff's");
    stage.terminal.until("the mouse is taken", |terminal| terminal.raw().contains("\x1b[?1000h"));
    // The wheel moves the selection and never acts.
    stage.terminal.press("\u{1b}[<65;10;10M");
    let (result, raw) = stage.leave();
    assert_eq!(result, "Ok(Stopped) after Begin Stop");
    assert!(raw.rfind("\x1b[?1000l") > raw.rfind("\x1b[?1000h"), "it is given back");
}

#[test]
fn a_still_screen_sends_nothing() {
    let mut stage = Stage::open("failed", &[]);
    stage.terminal.shows("CAUSES OF FAILURE");
    stage.terminal.press(":still\r");
    stage.terminal.shows("still: drawn only when something changes");
    stage.terminal.press("j");
    let quiet = |terminal: &Terminal| {
        let before = terminal.raw().len();
        std::thread::sleep(std::time::Duration::from_millis(2500));
        terminal.raw().len() == before
    };
    stage.terminal.until("not a byte for two and a half seconds", quiet);
    stage.leave();
}

#[test]
fn on_ssh_castoff_starts_again_inside_tmux_if_asked() {
    if !Path::new("/usr/bin/tmux").exists() {
        eprintln!("\n*** NOT RUN: no tmux ***\n");
        return;
    }
    let kept = tempfile::tempdir().unwrap();
    let open = |key: &str| {
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_castoff"));
        command.args(["run", "backend-ai", "--simulate", "--state"]);
        command.arg(kept.path().join("two words"));
        command.env("SSH_CONNECTION", "10.0.0.7 51000 10.0.0.1 22");
        command.env("TMUX_TMPDIR", kept.path());
        command.env("SHELL", "/bin/sh");
        for name in ["TMUX", "STY"] {
            command.env_remove(name);
        }
        let mut terminal = Terminal::open(command, (120, 36));
        terminal.shows("You are on ssh without tmux. T starts again inside tmux, enter goes on.");
        assert!(!terminal.in_alternate_screen());
        terminal.press(key);
        terminal.shows("DRY RUN");
        terminal
    };
    let mut here = open("\r");
    here.press("q");
    let (_, rest) = here.end();
    assert!(!rest.contains("tmux"), "{rest}");
    let mut inside = open("T");
    let server = format!("castoff-{}", inside.process().as_raw_nonzero());
    let tmux = |arguments: &[&str]| {
        let mut command = std::process::Command::new("tmux");
        let output = command.env("TMUX_TMPDIR", kept.path()).args(["-L", &server]).args(arguments).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert!(
        tmux(&["list-panes", "-F", "#{pane_current_command}"]).contains("castoff") || tmux(&["list-panes"]).contains("active")
    );
    inside.press("q");
    // The last page stays to be read: a shell follows.
    inside.until("a shell after castoff", |terminal| !terminal.screen().contains("DRY RUN"));
    tmux(&["kill-server"]);
}
