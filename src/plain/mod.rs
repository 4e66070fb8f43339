//! Layer 3: the linear face, for screen readers, dumb terminals and slow links: one event a line, questions as text.
//! Never moves a cursor, draws again or sets a colour that was not asked for, and never sets a time limit on a question.

mod input;
mod pages;
mod talk;
mod words;

use crate::model::{Command, Event, OnHangup, Plan, Stamped, Window, text};
pub use input::Input;
use input::Reader;
use std::{
    io::{self, Write},
    sync::Arc,
    time::Duration,
};
use talk::{DEAF_MS, Talk};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc::{self, Receiver, Sender, UnboundedReceiver},
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};

/// What the conversation opens with.
#[derive(Clone, Debug)]
pub struct Start {
    pub plan: Arc<Plan>,
    /// Empty for a new run; the journal so far for a resumed one.
    pub entries: Vec<Stamped>,
    pub run: String,
    pub simulated: bool,
    /// The first thing asked is a rollback to this step.
    pub rollback_to: Option<usize>,
    /// The window the run would begin with.
    pub window: Option<Window>,
    /// Columns, for the text of the plan.
    pub width: usize,
    /// Headings stand out. Only if it was asked for.
    pub color: bool,
    pub on_hangup: OnHangup,
}

/// How the operator left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    Finished,
    /// The run is not over: it can be resumed.
    Stopped,
    /// By this signal.
    Signal(i32),
}

/// After SIGTERM the safe stop may take this long, then it is made at once.
const GRACE: Duration = Duration::from_secs(20);

/// Where lines come from and go to.
pub struct Ends {
    pub lines: UnboundedReceiver<Input>,
    pub out: Box<dyn Write + Send>,
    /// Takes over when nobody takes `out` any more.
    pub err: Box<dyn Write + Send>,
    reader: Option<Reader>,
}

impl Ends {
    pub fn new(lines: UnboundedReceiver<Input>, out: Box<dyn Write + Send>, err: Box<dyn Write + Send>) -> Self {
        Self { lines, out, err, reader: None }
    }

    /// Standard input, output and error.
    pub fn standard() -> io::Result<Self> {
        let (to, lines) = mpsc::unbounded_channel();
        let reader = Reader::start(to)?;
        Ok(Self { reader: Some(reader), ..Self::new(lines, Box::new(io::stdout()), Box::new(io::stderr())) })
    }
}

/// Runs until the run is over, the operator leaves, or the input ends.
pub async fn run(start: Start, mut events: Receiver<Event>, commands: Sender<Command>, mut ends: Ends) -> io::Result<Left> {
    let mut talk = Talk::new(&start, now_ms()).map_err(io::Error::other)?;
    let mut signals = Signals::new()?;
    let mut voice = Voice { out: true, err: true, color: start.color };
    let mut clock = interval(Duration::from_secs(1));
    clock.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut ears = true;
    let mut engine = true;
    // When the letters that were typed while a question was printed are thrown away.
    let mut flush: Option<Instant> = None;
    let mut killed: Option<Killed> = None;
    loop {
        speak(&mut talk, &mut voice, &mut ends, &commands, &mut flush);
        if let Some(left) = talk.left {
            let by_signal = killed.and_then(|killed| killed.left);
            return Ok(by_signal.unwrap_or(left));
        }
        let flush_at = flush.unwrap_or_else(|| Instant::now() + Duration::from_hours(1));
        tokio::select! {
            biased;
            heard = signals.next() => match heard {
                Heard::Interrupt => talk.interrupt(now_ms()),
                Heard::Suspend if talk.idle() => {
                    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::STOP);
                    // The stop comes a moment later; until somebody continues the process it says nothing.
                    signals.continued.recv().await;
                    talk.where_we_are(now_ms());
                }
                Heard::Suspend => talk.say("Changes are in flight and cannot be left alone: `pause` first."),
                Heard::Continued => talk.where_we_are(now_ms()),
                Heard::Terminate if killed.is_some() => talk.stop_now(),
                Heard::Terminate => {
                    killed = Some(Killed { left: Some(Left::Signal(15)), now_at: Some(Instant::now() + GRACE) });
                    talk.say("SIGTERM: castoff stops at the next safe point.");
                    talk.leave(now_ms());
                }
                Heard::Hangup => {
                    // The reader is let go with the terminal: its silence is no end of input.
                    ears = false;
                    if killed.is_none() {
                        killed = Some(hung_up(&mut talk, &mut ends, start.on_hangup));
                    }
                }
            },
            input = ends.lines.recv(), if ears => match input {
                Some(Input::Line(line, at_ms)) => talk.line(&line, at_ms, now_ms()),
                Some(Input::Lost) => {
                    ears = false;
                    if killed.is_none() {
                        killed = Some(hung_up(&mut talk, &mut ends, start.on_hangup));
                    }
                }
                Some(Input::End) | None => {
                    ears = false;
                    talk.say("End of input: castoff stops at the next safe point and leaves. castoff resume goes on.");
                    talk.leave(now_ms());
                }
            },
            () = sleep_until(flush_at) => {
                flush = None;
                input::flush();
            }
            event = events.recv(), if engine => match event {
                Some(event) => talk.event(&event, now_ms()),
                None => {
                    engine = false;
                    talk.ended();
                }
            },
            _ = clock.tick() => {
                talk.tick(now_ms());
                if let Some(killed) = &mut killed
                    && killed.now_at.is_some_and(|at| Instant::now() >= at)
                {
                    killed.now_at = None;
                    talk.stop_now();
                }
            }
        }
    }
}

/// A signal that ends castoff: how it is left then, and when the safe stop has taken long enough.
struct Killed {
    left: Option<Left>,
    now_at: Option<Instant>,
}

/// Nobody is there any more: the run goes as far as it was told to, and its last words go nowhere.
fn hung_up(talk: &mut Talk, ends: &mut Ends, how: OnHangup) -> Killed {
    let left = (!talk.begun()).then_some(Left::Signal(1));
    if let Some(reader) = ends.reader.take() {
        reader.forget();
        crate::account::let_go();
    }
    talk.detach(how, now_ms());
    Killed { left, now_at: None }
}

/// Prints what is to be said, asks the engine what is to be asked, and closes the ears for a question that was just printed.
fn speak(talk: &mut Talk, voice: &mut Voice, ends: &mut Ends, commands: &Sender<Command>, flush: &mut Option<Instant>) {
    loop {
        let (lines, asked) = talk.take();
        if lines.is_empty() && asked.is_empty() {
            break;
        }
        voice.say(&lines, ends);
        for command in asked {
            // The engine reads commands whatever it does; a full channel means that it is gone or stuck.
            if commands.try_send(command).is_err() {
                voice.say(&["The engine does not listen any more.".to_owned()], ends);
            }
        }
        if talk.printed(now_ms()) && ends.reader.is_some() {
            input::flush();
            *flush = Some(Instant::now() + Duration::from_millis(DEAF_MS.unsigned_abs()));
        }
        // A question that nobody can read gets no answer: the run waits in its journal instead.
        if !voice.out && !voice.err && talk.asks() {
            talk.leave(now_ms());
        }
    }
}

/// Whether somebody still takes what is said. A closed pipe ends the output, not the run.
struct Voice {
    out: bool,
    err: bool,
    color: bool,
}

impl Voice {
    fn say(&mut self, lines: &[String], ends: &mut Ends) {
        for line in lines {
            let cleaned = text::page(line);
            let line = if self.color && is_heading(line) { format!("\x1b[1m{cleaned}\x1b[0m") } else { cleaned };
            if self.out && writeln!(ends.out, "{line}").is_err() {
                self.out = false;
                let _ = writeln!(ends.err, "standard output is closed; the words go on here");
            }
            if !self.out && self.err {
                self.err = writeln!(ends.err, "{line}").is_ok();
            }
        }
        if self.out && ends.out.flush().is_err() {
            self.out = false;
        }
    }
}

/// Lines that want somebody.
fn is_heading(line: &str) -> bool {
    ["QUESTION", "FAILED:", "STUCK:", "RESUME:", "ROLL BACK", "ABORT:", "WAITING:"].iter().any(|word| line.starts_with(word))
}

fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// What the operating system said.
enum Heard {
    Interrupt,
    Terminate,
    Hangup,
    Suspend,
    Continued,
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    suspend: Signal,
    continued: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        let raw = |signal: rustix::process::Signal| SignalKind::from_raw(signal.as_raw());
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            suspend: signal(raw(rustix::process::Signal::TSTP))?,
            continued: signal(raw(rustix::process::Signal::CONT))?,
        })
    }

    async fn next(&mut self) -> Heard {
        tokio::select! {
            _ = self.interrupt.recv() => Heard::Interrupt,
            _ = self.terminate.recv() => Heard::Terminate,
            _ = self.hangup.recv() => Heard::Hangup,
            _ = self.suspend.recv() => Heard::Suspend,
            _ = self.continued.recv() => Heard::Continued,
        }
    }
}
