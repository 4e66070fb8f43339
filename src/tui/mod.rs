//! The terminal interface: sees events, sends commands, draws what the journal says.
//! Never touches the cluster or the journal, and never shows what is not on disk.

pub mod act;
mod answer;
pub mod app;
mod cells;
mod copy;
mod detached;
pub mod draw;
mod facts;
mod find;
mod flow;
mod grid;
mod heed;
mod input;
pub mod keys;
mod lines;
mod look;
mod opening;
mod outside;
mod palette;
mod parts;
mod question;
mod screens;
mod sieve;
mod terminal;
mod theme;
mod watching;
mod waves;
mod words;

use crate::model::{Command, Event, Plan, Stamped, Window};
use app::App;
use copy::Wish;
use crossterm::{
    event::{Event as Terminal, KeyCode, KeyEvent, KeyModifiers, MouseEventKind},
    execute,
    style::Print,
    terminal::{BeginSynchronizedUpdate, EndSynchronizedUpdate, SetTitle},
};
use input::{Input, Keyboard};
use outside::Away;
use ratatui::buffer::Buffer;
use std::{io, path::PathBuf, sync::Arc, time::Duration};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc::{self, Receiver, Sender, UnboundedReceiver},
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};

pub use crate::model::OnHangup;
pub use opening::{Opened, opening};
pub use screens::end::end_page;
pub use theme::Look;
pub use watching::{Held, Watching};

/// What the interface opens with.
#[derive(Clone, Debug)]
pub struct Start {
    pub plan: Arc<Plan>,
    /// Empty for a new run; the journal so far for a resumed one.
    pub entries: Vec<Stamped>,
    /// Short id of the run for the title; empty before the run exists.
    pub run: String,
    /// The title says REHEARSAL.
    pub simulated: bool,
    /// Where `run.log` and what is copied are.
    pub folder: PathBuf,
    /// Where the journal is, in words.
    pub journal: String,
    pub look: Look,
    /// The first thing asked is a rollback to this step.
    pub rollback_to: Option<usize>,
    /// Another castoff drives the run; here it is looked at.
    pub watching: Option<Watching>,
    /// The window the run would begin with, or is given when it is taken up again; without it the journal's.
    pub window: Option<Window>,
    /// The options that make an offered command whole: ` --state /srv/castoff`, or nothing.
    pub again: String,
    /// Nothing is drawn for the clock alone.
    pub still: bool,
    /// Variables that a pager or a shell must not see: they hold secrets.
    pub hidden: Vec<String>,
    pub on_hangup: OnHangup,
}

/// How the operator left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// The run is over, and its last page was read.
    Finished,
    /// The run is not over: it can be resumed.
    Stopped,
    /// The terminal is lost; the engine was asked to stop and has ended.
    Detached,
    /// SIGTERM or another signal, by its number.
    Signal(i32),
}

/// The fastest that anything but a key is drawn, and while nobody looks.
const FRAME: Duration = Duration::from_millis(100);
const UNSEEN_FRAME: Duration = Duration::from_millis(500);
/// A Ctrl-C that ended a program with the terminal may be heard this long after its end.
const ECHO: Duration = Duration::from_millis(500);
/// News is taken in gulps: who is told ten thousand things a second must not be woken for each. The engine's channel holds
/// many times what comes in this time.
const GULP: Duration = Duration::from_millis(25);
/// After SIGTERM the safe stop may take this long, then it is made at once.
const GRACE: Duration = Duration::from_secs(20);

/// Runs until the operator leaves, or the run is over and its last page is left. Restores the terminal on every way out.
/// Prints nothing afterwards: `end_page` gives the caller what should stay in the scrollback.
pub async fn run(start: Start, mut events: Receiver<Event>, commands: Sender<Command>) -> anyhow::Result<Left> {
    let on_hangup = start.on_hangup;
    let mut app = App::new(start, now_ms())?;
    let title = app.window_title();
    app.titled.clone_from(&title);
    let (sender, mut inputs) = mpsc::unbounded_channel();
    let mut signals = Signals::new()?;
    let (guard, mut screen) = terminal::enter(&title)?;
    let mut keyboard = Keyboard::take(sender)?;
    let left = turn(&mut app, &mut screen, (&mut keyboard, &mut inputs), &mut signals, (&mut events, &commands)).await;
    if matches!(left, Ok(Left::Detached)) {
        keyboard.forget();
        if !app.watches() {
            detached::follow(&mut app, on_hangup, &mut events, &commands, &mut signals).await;
        }
    } else {
        drop(keyboard);
    }
    drop(guard);
    left
}

/// The loop: waits for anything, takes everything that is ready, draws once.
async fn turn(
    app: &mut App,
    screen: &mut terminal::Screen,
    (keyboard, inputs): (&mut Keyboard, &mut UnboundedReceiver<Input>),
    signals: &mut Signals,
    (events, commands): (&mut Receiver<Event>, &Sender<Command>),
) -> anyhow::Result<Left> {
    let mut clock = interval(Duration::from_secs(1));
    clock.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut drawn = Instant::now();
    let mut heard = drawn;
    // When the next picture is due; `None` while nothing has changed.
    let mut due = Some(drawn);
    let mut killed: Option<(i32, Instant)> = None;
    // A pager or a shell that has the terminal: until it ends nothing is drawn and no key is read.
    let mut away: Option<Away> = None;
    let mut back = None;
    let mut last = Buffer::default();
    let (width, height) = crossterm::terminal::size()?;
    app.size = (width, height);
    loop {
        let mut asked = vec![];
        let at = due.filter(|_| away.is_none()).unwrap_or_else(|| Instant::now() + Duration::from_hours(1));
        let frame = if app.focused { FRAME } else { UNSEEN_FRAME };
        tokio::select! {
            biased;
            input = inputs.recv() => {
                let mut next = input;
                loop {
                    match next {
                        Some(Input::Terminal(event, at_ms)) => asked.extend(terminal::guarded(|| take(app, event, at_ms))),
                        Some(Input::Lost) | None => return Ok(lost()),
                    }
                    match inputs.try_recv() {
                        Ok(input) => next = Some(input),
                        Err(_) => break,
                    }
                }
                due = Some(Instant::now());
            }
            _ = clock.tick() => {
                terminal::guarded(|| app.tick(now_ms()));
                if let Some(text) = terminal::heard().pop() {
                    app.notice = Some((crate::model::Level::Error, crate::model::text::clean(&text)));
                }
                if killed.is_some_and(|(_, at)| at.elapsed() > GRACE) {
                    asked.push(Command::StopNow);
                }
                if let Some(away) = &mut away {
                    away.rouse();
                    ring(app);
                }
                if !app.still || app.notice.is_some() {
                    due = due.or(Some(drawn + frame));
                }
            }
            ended = over(&mut away), if away.is_some() => {
                let said = away.take().and_then(|away| away.settle(&ended));
                if terminal::take(&app.titled).is_err() || keyboard.take_again().is_err() {
                    return Ok(lost());
                }
                app.notice = said;
                back = Some(Instant::now());
                app.came_back(now_ms());
                app.size = crossterm::terminal::size().unwrap_or(app.size);
                due = Some(Instant::now());
            }
            signal = signals.next() => match signal {
                Heard::Resize => {
                    app.size = crossterm::terminal::size().unwrap_or(app.size);
                    due = Some(Instant::now());
                }
                Heard::Continued if away.is_some() => {}
                Heard::Continued => {
                    if terminal::take(&app.titled).is_err() {
                        return Ok(lost());
                    }
                    app.redraw = true;
                    due = Some(Instant::now());
                }
                Heard::Suspend => match &mut away {
                    Some(away) if words::in_flight(&app.state) > 0 => away.wake = true,
                    Some(_) => {
                        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::STOP);
                    }
                    None => app.suspend = true,
                },
                // Ctrl-C of the program that has the terminal.
                Heard::Terminate(number)
                    if number == SignalKind::interrupt().as_raw_value() && (away.is_some() || back.is_some_and(|at: Instant| at.elapsed() < ECHO)) => {}
                Heard::Status => {
                    let log = app.folder.join("run.log");
                    app.notice = Some((crate::model::Level::Info, format!("how the run stands is written to {}", log.display())));
                    due = Some(Instant::now());
                }
                Heard::Hangup => return Ok(lost()),
                Heard::Terminate(number) => {
                    if !app.begun || app.over || app.watches() {
                        return Ok(Left::Signal(number));
                    }
                    killed = Some((number, Instant::now()));
                    app.leaving = app::Leaving::Stop(now_ms());
                    asked.push(Command::Stop);
                }
            },
            () = sleep_until(at) => {
                due = None;
                drawn = Instant::now();
                // A terminal that takes no picture is gone, whatever the error is called.
                if picture(app, screen, &mut last).is_err() {
                    return Ok(lost());
                }
            }
            event = after(heard + GULP, events), if !app.over => {
                terminal::guarded(|| {
                    let mut next = event;
                    loop {
                        match next {
                            Some(event) => app.event(event, now_ms()),
                            None => app.engine_ended(),
                        }
                        match events.try_recv() {
                            Ok(event) => next = Some(event),
                            Err(_) => break,
                        }
                    }
                });
                heard = Instant::now();
                due = due.or(Some(drawn + frame));
            }
        }
        match app.outside.take() {
            Some(Wish::Copy { what, text }) => {
                let room = usize::from(app.size.0).saturating_sub(4);
                app.notice = Some(outside::copy(&app.folder, what, &text, room));
            }
            Some(wish) => {
                keyboard.let_go();
                match outside::begin(&wish, &app.folder, &app.hidden) {
                    Ok(program) => {
                        away = Some(program);
                        app.focused = false;
                    }
                    Err(why) => {
                        if terminal::take(&app.titled).is_err() || keyboard.take_again().is_err() {
                            return Ok(lost());
                        }
                        app.notice = Some((crate::model::Level::Warn, why));
                        app.redraw = true;
                    }
                }
            }
            None => {}
        }
        if away.is_none() && terminal::mouse(app.mouse).is_err() {
            return Ok(lost());
        }
        for command in asked {
            // The engine reads commands whatever it does; a full channel means that it is gone or stuck.
            if commands.try_send(command).is_err() && app.state.finished.is_none() {
                app.notice = Some((crate::model::Level::Error, "the engine does not listen any more".to_owned()));
            }
        }
        if std::mem::take(&mut app.suspend) {
            terminal::restore();
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::STOP);
            // The stop comes a moment later; until somebody continues the process nothing touches the terminal.
            signals.continued.recv().await;
            if terminal::take(&app.titled).is_err() {
                return Ok(lost());
            }
            app.redraw = true;
            due = Some(Instant::now());
        }
        // Whoever has the terminal keeps it to its end, but for a signal.
        if let Some(left) = app.left.filter(|_| away.is_none() || killed.is_some()) {
            return Ok(killed.map_or(left, |(number, _)| Left::Signal(number)));
        }
    }
}

/// The next event, but not before this moment. Dropped half-way, it loses nothing.
async fn after(moment: Instant, events: &mut Receiver<Event>) -> Option<Event> {
    sleep_until(moment).await;
    events.recv().await
}

/// One event of the terminal.
fn take(app: &mut App, event: Terminal, at_ms: i64) -> Option<Command> {
    match event {
        Terminal::Key(key) => return app.key(key, at_ms),
        Terminal::Paste(text) => app.paste(&text, at_ms),
        Terminal::FocusGained => app.focused = true,
        Terminal::FocusLost => app.focused = false,
        Terminal::Resize(width, height) => app.size = (width, height),
        Terminal::Mouse(mouse) => {
            let code = match mouse.kind {
                MouseEventKind::ScrollUp => KeyCode::Up,
                MouseEventKind::ScrollDown => KeyCode::Down,
                _ => return None,
            };
            // Only where an arrow moves: a question takes nothing from the wheel.
            if app.place() != keys::Place::Question {
                return app.key(KeyEvent::new(code, KeyModifiers::NONE), at_ms);
            }
        }
    }
    None
}

/// Draws what has changed since the last picture; nothing at all if nothing has.
fn picture(app: &mut App, screen: &mut terminal::Screen, last: &mut Buffer) -> io::Result<()> {
    ring(app);
    let title = app.window_title();
    if title != app.titled {
        execute!(io::stdout(), SetTitle(&title))?;
        app.titled = title;
    }
    let redraw = std::mem::take(&mut app.redraw);
    if redraw {
        // `clear` would ask the terminal where the cursor is; a late answer would be typed text.
        let size = screen.size()?;
        screen.resize(size.into())?;
    }
    screen.autoresize()?;
    terminal::guarded(|| draw::draw(&mut screen.get_frame(), app));
    if !redraw && *screen.current_buffer_mut() == *last {
        screen.current_buffer_mut().reset();
        return Ok(());
    }
    last.clone_from(screen.current_buffer_mut());
    execute!(io::stdout(), BeginSynchronizedUpdate)?;
    let drawn = screen.flush().and_then(|()| {
        screen.swap_buffers();
        io::Write::flush(screen.backend_mut())
    });
    execute!(io::stdout(), EndSynchronizedUpdate)?;
    drawn
}

/// Rings once, if somebody is to look.
fn ring(app: &mut App) {
    if std::mem::take(&mut app.bell) {
        let _ = execute!(io::stdout(), Print("\x07"));
    }
}

/// The end of the program that has the terminal.
async fn over(away: &mut Option<Away>) -> io::Result<std::process::ExitStatus> {
    match away {
        Some(away) => away.end().await,
        None => std::future::pending().await,
    }
}

/// Nothing is read from or written to the terminal from here on.
fn lost() -> Left {
    terminal::abandon();
    Left::Detached
}

fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// What the operating system said.
enum Heard {
    Resize,
    Continued,
    Suspend,
    /// Who looks after the log has answered; the operator is told where.
    Status,
    Hangup,
    Terminate(i32),
}

struct Signals {
    resize: Signal,
    continued: Signal,
    suspend: Signal,
    status: Signal,
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        let raw = |signal: rustix::process::Signal| SignalKind::from_raw(signal.as_raw());
        Ok(Self {
            resize: signal(SignalKind::window_change())?,
            continued: signal(raw(rustix::process::Signal::CONT))?,
            suspend: signal(raw(rustix::process::Signal::TSTP))?,
            status: signal(SignalKind::user_defined1())?,
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> Heard {
        tokio::select! {
            _ = self.resize.recv() => Heard::Resize,
            _ = self.continued.recv() => Heard::Continued,
            _ = self.suspend.recv() => Heard::Suspend,
            _ = self.status.recv() => Heard::Status,
            _ = self.hangup.recv() => Heard::Hangup,
            _ = self.terminate.recv() => Heard::Terminate(SignalKind::terminate().as_raw_value()),
            _ = self.interrupt.recv() => Heard::Terminate(SignalKind::interrupt().as_raw_value()),
        }
    }
}
