//! Reads lines in a thread of its own and stamps each with the time it came in.
//! Never decides what a line means, and never reads for a process in the background: the shell would stop it.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::{io, os::fd::OwnedFd, thread, time::Duration};
use tokio::sync::mpsc;

/// A longer line is no word and no sentence: its end is dropped.
const LONGEST: usize = 4096;

/// What the thread hands over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// One line without its end, and the unix time in milliseconds at which it came in.
    Line(String, i64),
    /// Ctrl-D, or the end of a pipe.
    End,
    /// The terminal is gone.
    Lost,
}

/// The reading thread; ends when this is dropped.
pub struct Reader {
    wake: Option<OwnedFd>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Reader {
    pub fn start(out: mpsc::UnboundedSender<Input>) -> io::Result<Self> {
        let (asleep, wake) = rustix::pipe::pipe()?;
        let thread = thread::Builder::new().name("lines".to_owned()).spawn(move || read(&asleep, &out))?;
        Ok(Self { wake: Some(wake), thread: Some(thread) })
    }

    /// Leaves the thread where it is: after the terminal is lost it may sleep in a read that never returns.
    pub fn forget(mut self) {
        self.thread.take();
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // Closing the pipe wakes the thread.
        self.wake.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Whether the shell lets this process use its terminal now; true without one.
pub fn in_foreground() -> bool {
    rustix::termios::tcgetpgrp(rustix::stdio::stdin()).map_or(true, |group| group == rustix::process::getpgrp())
}

/// Throws away what was begun to be typed and is not a line yet.
pub fn flush() {
    // From the background this would stop the process.
    if in_foreground() {
        let _ = rustix::termios::tcflush(rustix::stdio::stdin(), rustix::termios::QueueSelector::IFlush);
    }
}

fn read(asleep: &OwnedFd, out: &mpsc::UnboundedSender<Input>) {
    let mut kept = vec![];
    let mut buffer = [0; 4096];
    // Asked before it can be gone: a terminal that has hung up says that it is none.
    let terminal = rustix::termios::isatty(rustix::stdio::stdin());
    let second = Timespec { tv_sec: 1, tv_nsec: 0 };
    loop {
        let stdin = rustix::stdio::stdin();
        let foreground = in_foreground();
        let mut both = [PollFd::new(asleep, PollFlags::IN), PollFd::new(&stdin, PollFlags::IN)];
        let fds = if foreground { &mut both[..] } else { &mut both[..1] };
        match poll(fds, (!foreground).then_some(&second)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => break,
        }
        if !both[0].revents().is_empty() {
            return;
        }
        if both[1].revents().is_empty() {
            continue;
        }
        match rustix::io::read(stdin, &mut buffer) {
            Ok(0) if terminal && has_hung_up() => break,
            Ok(0) => {
                if !kept.is_empty() {
                    let _ = out.send(line(&kept));
                }
                let _ = out.send(Input::End);
                return;
            }
            Ok(n) => {
                for byte in &buffer[..n] {
                    if *byte == b'\n' {
                        if out.send(line(&kept)).is_err() {
                            return;
                        }
                        kept.clear();
                    } else if kept.len() < LONGEST {
                        kept.push(*byte);
                    }
                }
            }
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
            Err(_) => break,
        }
    }
    let _ = out.send(Input::Lost);
}

/// Whether the end that a terminal told is its own, and no Ctrl-D. A terminal that hangs up ends first and says so a moment
/// later; once it is gone it says that it is none.
fn has_hung_up() -> bool {
    thread::sleep(Duration::from_millis(50));
    !rustix::termios::isatty(rustix::stdio::stdin())
}

fn line(bytes: &[u8]) -> Input {
    let text = crate::model::text::clean(&String::from_utf8_lossy(bytes));
    Input::Line(text.trim().to_owned(), jiff::Timestamp::now().as_millisecond())
}
