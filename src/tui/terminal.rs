//! The terminal itself: taken over once, given back once, on every way out.
//! Never draws, and never gives the terminal back for a panic outside the interface.

use crate::model::text;
use crossterm::{
    event::{
        DisableBracketedPaste, DisableFocusChange, DisableMouseCapture, EnableBracketedPaste, EnableFocusChange,
        EnableMouseCapture,
    },
    execute,
    style::{Print, force_color_output},
    terminal::{Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, SetTitle, disable_raw_mode, enable_raw_mode},
};
use ratatui::{Terminal, backend::CrosstermBackend};
use std::{
    cell::Cell,
    io::{self, BufWriter, Stdout},
    panic,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

pub type Screen = Terminal<CrosstermBackend<BufWriter<Stdout>>>;

/// The terminal is ours from `enter` until this is dropped.
pub struct Guard {
    previous: Arc<PanicHook>,
}

type PanicHook = dyn Fn(&panic::PanicHookInfo<'_>) + Send + Sync;

/// Whether the terminal is ours: a second restore would write over what was printed after the first.
static OURS: AtomicBool = AtomicBool::new(false);
/// Whether the mouse is ours too. It is not, unless asked for: the terminal's own select and copy would be gone.
static MOUSE: AtomicBool = AtomicBool::new(false);
/// What other threads said when they panicked: printed after the screen is gone.
static HEARD: Mutex<Vec<String>> = Mutex::new(vec![]);

thread_local! {
    static IN_INTERFACE: Cell<bool> = const { Cell::new(false) };
}

/// Takes the terminal over and hangs in the panic hook.
pub fn enter(title: &str) -> io::Result<(Guard, Screen)> {
    let title = &text::clean(title);
    let previous: Arc<PanicHook> = Arc::from(panic::take_hook());
    let before = previous.clone();
    panic::set_hook(Box::new(move |info| {
        if IN_INTERFACE.get() || !OURS.load(Ordering::SeqCst) {
            restore();
            before(info);
        } else {
            HEARD.lock().unwrap_or_else(PoisonError::into_inner).push(info.to_string());
        }
    }));
    let guard = Guard { previous };
    if OURS.load(Ordering::SeqCst) {
        // Open since the first picture: what stands there is not known to the next one.
        execute!(io::stdout(), SetTitle(title), Clear(ClearType::All))?;
    }
    take(title)?;
    let screen = Terminal::new(CrosstermBackend::new(BufWriter::with_capacity(1 << 16, io::stdout())))?;
    Ok((guard, screen))
}

/// Takes the terminal (again, after a suspension). Sends no query: a late answer over a slow ssh would be typed text.
pub fn take(title: &str) -> io::Result<()> {
    let title = &text::clean(title);
    if OURS.swap(true, Ordering::SeqCst) {
        return Ok(());
    }
    // The theme alone decides about colours: crossterm's own NO_COLOR would wipe bold and reverse.
    force_color_output(true);
    enable_raw_mode()?;
    execute!(
        io::stdout(),
        Print("\x1b[22;0t"), // the terminal keeps the window title of before
        SetTitle(title),
        EnterAlternateScreen,
        EnableBracketedPaste,
        EnableFocusChange,
        crossterm::cursor::Hide
    )
}

/// Gives the terminal back. Idempotent; errors are of no use to anybody at this point.
pub fn restore() {
    if !OURS.swap(false, Ordering::SeqCst) {
        return;
    }
    let _ = mouse(false);
    let _ = execute!(
        io::stdout(),
        DisableFocusChange,
        DisableBracketedPaste,
        LeaveAlternateScreen,
        crossterm::cursor::Show,
        Print("\x1b[23;0t")
    );
    let _ = disable_raw_mode();
}

/// Takes the mouse, or gives it back to the terminal. Idempotent.
pub fn mouse(ours: bool) -> io::Result<()> {
    match (MOUSE.swap(ours, Ordering::SeqCst), ours) {
        (false, true) => execute!(io::stdout(), EnableMouseCapture),
        (true, false) => execute!(io::stdout(), DisableMouseCapture),
        _ => Ok(()),
    }
}

/// The terminal is gone: nothing is written to it any more, and nobody reads from it.
///
/// Standard input becomes a pipe that never ends, so that a reader that is just inside crossterm sleeps instead of
/// spinning; output goes nowhere.
pub fn abandon() {
    OURS.store(false, Ordering::SeqCst);
    if let Ok((read, write)) = rustix::pipe::pipe() {
        let _ = rustix::stdio::dup2_stdin(&read);
        // Kept open for the rest of the process: a closed pipe would be readable for ever.
        std::mem::forget(write);
    }
    if let Ok(null) = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null") {
        let _ = rustix::stdio::dup2_stdout(&null);
        let _ = rustix::stdio::dup2_stderr(&null);
    }
}

/// Runs a part of the interface; a panic in it gives the terminal back before it is printed.
pub fn guarded<T>(work: impl FnOnce() -> T) -> T {
    let before = IN_INTERFACE.replace(true);
    let out = work();
    IN_INTERFACE.set(before);
    out
}

/// What other threads panicked with since the last call.
pub fn heard() -> Vec<String> {
    std::mem::take(&mut HEARD.lock().unwrap_or_else(PoisonError::into_inner))
}

impl Drop for Guard {
    fn drop(&mut self) {
        restore();
        if !std::thread::panicking() {
            let previous = self.previous.clone();
            panic::set_hook(Box::new(move |info| previous(info)));
        }
        for words in heard() {
            eprintln!("{}", text::page(&words));
        }
    }
}
