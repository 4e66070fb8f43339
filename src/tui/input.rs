//! Reads the keyboard in a thread of its own, which notices a lost terminal instead of spinning on it.
//! Never decides what a key means.

use crossterm::event::{self, Event};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::{io, os::fd::OwnedFd, thread, time::Duration};
use tokio::sync::mpsc;

/// What the thread hands over.
#[derive(Debug)]
pub enum Input {
    /// Read at this unix time in milliseconds: before it waited in the channel.
    Terminal(Event, i64),
    /// The terminal is gone.
    Lost,
}

/// Who reads the keyboard: castoff, or for a while a program that has the terminal.
pub struct Keyboard {
    out: mpsc::UnboundedSender<Input>,
    reader: Option<Reader>,
}

impl Keyboard {
    pub fn take(out: mpsc::UnboundedSender<Input>) -> io::Result<Self> {
        let reader = Some(Reader::start(out.clone())?);
        Ok(Self { out, reader })
    }

    /// From here on every key is somebody else's.
    pub fn let_go(&mut self) {
        self.reader.take();
    }

    pub fn take_again(&mut self) -> io::Result<()> {
        self.reader = Some(Reader::start(self.out.clone())?);
        Ok(())
    }

    /// After the terminal is lost.
    pub fn forget(mut self) {
        if let Some(reader) = self.reader.take() {
            reader.forget();
        }
    }
}

/// The reading thread; ends at once when this is dropped, so that no key typed later is swallowed.
struct Reader {
    wake: Option<OwnedFd>,
    /// Ends with the thread.
    done: Option<std::sync::mpsc::Receiver<()>>,
}

/// A thread that waits for the rest of a broken escape sequence is left where it is after this long.
const PATIENCE: Duration = Duration::from_millis(200);

impl Reader {
    fn start(out: mpsc::UnboundedSender<Input>) -> io::Result<Self> {
        let (asleep, wake) = rustix::pipe::pipe()?;
        let (running, done) = std::sync::mpsc::channel();
        thread::Builder::new().name("keyboard".to_owned()).spawn(move || {
            read(&asleep, &out);
            drop(running);
        })?;
        Ok(Self { wake: Some(wake), done: Some(done) })
    }

    /// Leaves the thread where it is: after the terminal is lost it may sleep in a read that never returns.
    fn forget(mut self) {
        self.done.take();
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // Closing the pipe wakes the thread.
        self.wake.take();
        if let Some(done) = self.done.take() {
            let _ = done.recv_timeout(PATIENCE);
        }
    }
}

/// With no time at all crossterm does not look; a key is there at once, and what is not there costs this long.
const LOOK: Duration = Duration::from_millis(1);

/// Asks `poll` first and crossterm second: crossterm would read a dead terminal for ever.
fn read(asleep: &OwnedFd, out: &mpsc::UnboundedSender<Input>) {
    let gone = PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL;
    loop {
        let stdin = rustix::stdio::stdin();
        let mut fds = [PollFd::new(&stdin, PollFlags::IN), PollFd::new(asleep, PollFlags::IN)];
        match poll(&mut fds, None) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(_) => break,
        }
        if !fds[1].revents().is_empty() {
            return;
        }
        if fds[0].revents().intersects(gone) {
            break;
        }
        let now_ms = || jiff::Timestamp::now().as_millisecond();
        let mut at_ms = now_ms();
        loop {
            // What is there already was typed before, however late it is read.
            let unread = || poll(&mut [PollFd::new(&stdin, PollFlags::IN)], Some(&Timespec::default()));
            if !matches!(event::poll(Duration::ZERO), Ok(true)) && !matches!(unread(), Ok(1..)) {
                at_ms = now_ms();
            }
            if !matches!(event::poll(LOOK), Ok(true)) {
                break;
            }
            let Ok(event) = event::read() else { break };
            if out.send(Input::Terminal(event, at_ms)).is_err() {
                return;
            }
        }
    }
    let _ = out.send(Input::Lost);
}
