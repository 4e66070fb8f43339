//! What leaves the screen: a copy to a file and the clipboard, and a pager or a shell that has the terminal for a while.
//! Never holds the run up: the loop goes on taking events while somebody else has the terminal.

use super::copy::Wish;
use super::terminal;
use crate::model::{Level, text};
use crossterm::{clipboard::CopyToClipboard, execute};
use rustix::termios::{OptionalActions, QueueSelector, Termios, tcflush, tcgetattr, tcsetattr};
use std::{
    fs,
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    process::ExitStatus,
};
use tokio::{
    process::{Child, Command},
    signal::unix::{Signal, SignalKind, signal},
};

/// Terminals take no longer clipboard than this, or drop it without a word.
const CLIPBOARD_MOST: usize = 70_000;

/// A program that has the terminal.
pub struct Away {
    child: Child,
    what: String,
    /// How the terminal was set when the program got it.
    modes: Option<Termios>,
    /// Ctrl-\ is meant for the program.
    _quit: Option<Signal>,
    /// It stopped itself while the run cannot be left alone: it is woken with the next tick.
    pub wake: bool,
}

/// Writes the text beside the journal and sends it to the terminal's clipboard. What to say of it, in `room` columns.
pub fn copy(folder: &Path, what: &str, copied: &str, room: usize) -> (Level, String) {
    let line = one_line(copied);
    let sent = line.len() <= CLIPBOARD_MOST && execute!(io::stdout(), CopyToClipboard::to_clipboard_from(&line)).is_ok();
    let clipboard = if sent { ", and sent to the clipboard" } else { "" };
    match write(folder, "copied.txt", copied) {
        Ok(path) => {
            let whole = format!("{what} is copied to {}{clipboard}", path.display());
            // A path that is cut is none.
            let short = format!("{what} is copied to copied.txt in the run's folder{clipboard}");
            (Level::Info, if whole.len() <= room { whole } else { short })
        }
        Err(why) => (Level::Warn, format!("cannot write copied.txt in the run's folder: {why}{clipboard}")),
    }
}

/// What goes to the clipboard: without a line break, so that nothing runs by itself where it is pasted. The file has the
/// lines as they are.
fn one_line(copied: &str) -> String {
    text::clean_line(&copied.lines().map(str::trim).collect::<Vec<_>>().join("  "))
}

/// Gives the terminal to the program that is wished for. The keyboard must have been let go of before.
pub fn begin(wish: &Wish, folder: &Path, hidden: &[String]) -> Result<Away, String> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
    let (mut command, what) = match wish {
        Wish::Pager { name, text } => {
            let path = write(folder, name, text).map_err(|why| format!("cannot write {}: {why}", folder.join(name).display()))?;
            let pager = variable("PAGER").unwrap_or_else(|| "less".to_owned());
            let mut command = Command::new("sh");
            // The pager may have options of its own, as every program takes it.
            command.arg("-c").arg(format!("{pager} \"$1\"")).arg("castoff").arg(path);
            (command, format!("the pager `{}`", text::clean(&pager)))
        }
        _ => {
            let shell = variable("SHELL").unwrap_or_else(|| "/bin/sh".to_owned());
            let what = format!("the shell `{}`", text::clean(&shell));
            (Command::new(shell), what)
        }
    };
    for name in hidden {
        command.env_remove(name);
    }
    terminal::restore();
    let modes = tcgetattr(rustix::stdio::stdin()).ok();
    if matches!(wish, Wish::Shell) {
        println!("castoff waits where it is: exit comes back to it.");
    }
    let child = command.kill_on_drop(true).spawn().map_err(|why| format!("cannot start {what}: {why}"))?;
    Ok(Away { child, what, modes, _quit: signal(SignalKind::quit()).ok(), wake: false })
}

impl Away {
    /// Waits for the end of the program.
    pub async fn end(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// The program is over: what it left of the terminal is put right, and keys typed ahead are dropped.
    pub fn settle(self, ended: &io::Result<ExitStatus>) -> Option<(Level, String)> {
        if let Some(modes) = &self.modes {
            let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, modes);
        }
        let _ = tcflush(rustix::stdio::stdin(), QueueSelector::IFlush);
        match ended {
            // 126 and 127 are the shell's own: there is no such program.
            Ok(status) if matches!(status.code(), Some(126 | 127)) => {
                Some((Level::Warn, format!("{} cannot be started: set PAGER", self.what)))
            }
            Ok(_) => None,
            Err(why) => Some((Level::Warn, format!("{}: {why}", self.what))),
        }
    }

    /// Wakes the program that Ctrl-Z stopped: castoff itself cannot stop now, so nobody could.
    pub fn rouse(&mut self) {
        if std::mem::take(&mut self.wake) {
            let _ = rustix::process::kill_current_process_group(rustix::process::Signal::CONT);
        }
    }
}

/// A file of the run's folder, for its owner only.
fn write(folder: &Path, name: &str, text: &str) -> io::Result<PathBuf> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let path = folder.join(name);
    // A link that somebody put there is not followed, and a file that others could read is not read by them any more.
    let flags = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
    let mut file = fs::OpenOptions::new().write(true).create(true).mode(0o600).custom_flags(flags).open(&path)?;
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    file.set_len(0)?;
    file.write_all(text.as_bytes())?;
    Ok(path)
}
