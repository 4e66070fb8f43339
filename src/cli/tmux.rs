//! On ssh without tmux a lost line ends the run: the offer to start again inside tmux, in one line.
//! Never starts anything unasked, and never puts a variable or a secret on a command line.

use super::face::{self, Face};
use super::{Exit, Failure, Front};
use std::{
    ffi::OsString,
    io::{Read, Write},
    os::unix::process::CommandExt,
    path::Path,
    process::Command,
};

/// What the session does: castoff with its arguments; then a shell, so that the last page stays to be read.
const SCRIPT: &str = r#""$@"; exec "${SHELL:-/bin/sh}""#;

/// Asks on ssh without tmux or screen. Returns to go on here; becomes tmux otherwise.
pub fn offer(front: &Front) -> Result<(), Failure> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    if front.no_tmux || face::fitting(front.ui()) != Some(Face::Tui) || !wanted(variable) {
        return Ok(());
    }
    print!("You are on ssh without tmux. T starts again inside tmux, enter goes on. ");
    let _ = std::io::stdout().flush();
    let key = one_key();
    println!();
    match key {
        Some(b'T') => Err(inside()),
        Some(3 | 4) | None => Err(Failure::new(Exit::Interrupted, "left before anything was read or written")),
        _ => Ok(()),
    }
}

/// Whether the line is worth a question: ssh, no multiplexer around it, and tmux at hand.
fn wanted(variable: impl Fn(&str) -> Option<OsString>) -> bool {
    let ssh = variable("SSH_CONNECTION").is_some() && variable("TMUX").is_none() && variable("STY").is_none();
    ssh && std::env::split_paths(&variable("PATH").unwrap_or_default()).any(|folder| folder.join("tmux").is_file())
}

/// One key, without waiting for enter. What else was typed ahead is dropped.
fn one_key() -> Option<u8> {
    use rustix::termios::{OptionalActions, QueueSelector, tcflush, tcgetattr, tcsetattr};
    let stdin = rustix::stdio::stdin();
    let before = tcgetattr(stdin).ok()?;
    let mut raw = before.clone();
    raw.make_raw();
    // A line written meanwhile still ends in the first column.
    raw.output_modes = before.output_modes;
    tcsetattr(stdin, OptionalActions::Flush, &raw).ok()?;
    let mut key = [0];
    let read = std::io::stdin().lock().read(&mut key);
    let _ = tcflush(stdin, QueueSelector::IFlush);
    let _ = tcsetattr(stdin, OptionalActions::Now, &before);
    matches!(read, Ok(1)).then_some(key[0])
}

/// Becomes tmux; comes back only if that fails. The server is one of its own, so that it has this environment: nothing
/// of it has to be passed on by words that everybody on this host could read.
fn inside() -> Failure {
    let name = format!("castoff-{}", std::process::id());
    let program = std::env::current_exe().unwrap_or_else(|_| Path::new("castoff").to_owned());
    println!("castoff is in tmux now. From another terminal: tmux -L {name} attach");
    let mut command = Command::new("tmux");
    command.args(["-L", &name, "new-session", "sh", "-c", SCRIPT, "sh"]).arg(program).args(std::env::args_os().skip(1));
    let why = command.exec();
    Failure::new(Exit::Unexpected, format!("cannot start tmux: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ssh_without_a_multiplexer_is_asked() {
        let bin = tempfile::tempdir().unwrap();
        std::fs::write(bin.path().join("tmux"), "").unwrap();
        let check = |set: &[(&str, &str)], expected: bool| {
            let value = |name: &str| set.iter().find(|(n, _)| *n == name).map(|(_, value)| OsString::from(value));
            let path = |name: &str| if name == "PATH" { Some(bin.path().as_os_str().to_owned()) } else { value(name) };
            assert_eq!(wanted(path), expected, "{set:?}");
            assert!(!wanted(|name| if name == "PATH" { None } else { value(name) }), "no tmux, no question: {set:?}");
        };
        check(&[], false);
        check(&[("SSH_CONNECTION", "10.0.0.7 1 10.0.0.1 22")], true);
        check(&[("SSH_CONNECTION", "10.0.0.7 1 10.0.0.1 22"), ("TMUX", "/tmp/tmux-0/default,1,0")], false);
        check(&[("SSH_CONNECTION", "10.0.0.7 1 10.0.0.1 22"), ("STY", "1.pts-0")], false);
    }
}
