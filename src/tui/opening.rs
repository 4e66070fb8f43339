//! The first picture: what is waited for, since when, before there is a plan to show.
//! Never acts: the keys that leave are the only ones it knows.

use super::input::{Input, Keyboard};
use super::theme::{Look, Tone};
use super::{Heard, Left, Signals, parts, terminal};
use crossterm::event::{Event, KeyCode, KeyModifiers};
use ratatui::{Frame, text::Line};
use std::time::Duration;
use tokio::{
    sync::mpsc,
    time::{Instant, interval},
};

/// The terminal, taken over: the next interface goes on in it, and when this is dropped the shell has it again.
pub struct Opened {
    _guard: terminal::Guard,
}

/// Shows from the first moment on that this is waited for, until it is there. `Err`: the operator left meanwhile.
pub async fn opening<T>(look: &Look, what: &str, work: impl Future<Output = T>) -> anyhow::Result<Result<(T, Opened), Left>> {
    let (guard, mut screen) = terminal::enter("castoff")?;
    let (sender, mut inputs) = mpsc::unbounded_channel();
    let mut signals = Signals::new()?;
    let keyboard = Keyboard::take(sender)?;
    let since = Instant::now();
    let mut clock = interval(Duration::from_secs(1));
    tokio::pin!(work);
    let left = loop {
        tokio::select! {
            biased;
            done = &mut work => {
                drop(keyboard);
                return Ok(Ok((done, Opened { _guard: guard })));
            }
            _ = clock.tick() => {}
            input = inputs.recv() => match input {
                Some(Input::Terminal(Event::Key(key), _)) if leaves(key.code, key.modifiers) => break Left::Stopped,
                Some(Input::Terminal(..)) => {}
                Some(Input::Lost) | None => break Left::Detached,
            },
            signal = signals.next() => match signal {
                // There is no run yet that could stand somehow.
                Heard::Status => {}
                Heard::Hangup => break Left::Detached,
                Heard::Terminate(number) => break Left::Signal(number),
                Heard::Resize | Heard::Continued | Heard::Suspend => {}
            },
        }
        let sentence = format!(" {what}, for {}. Nothing is changed. q leaves.", crate::model::text::duration(elapsed_ms(since)));
        if terminal::guarded(|| screen.draw(|frame| draw(frame, look, &sentence)).map(|_| ())).is_err() {
            break Left::Detached;
        }
    };
    if left == Left::Detached {
        keyboard.forget();
        terminal::abandon();
    }
    Ok(Err(left))
}

fn leaves(code: KeyCode, modifiers: KeyModifiers) -> bool {
    code == KeyCode::Char('q') || (code == KeyCode::Char('c') && modifiers.contains(KeyModifiers::CONTROL))
}

fn elapsed_ms(since: Instant) -> i64 {
    i64::try_from(since.elapsed().as_millis()).unwrap_or(i64::MAX)
}

/// The head of every screen, and nothing else yet.
fn draw(frame: &mut Frame<'_>, look: &Look, sentence: &str) {
    let [title, line, below, _] = parts::rows(frame.area(), [1, 1, 1]);
    frame.render_widget(Line::styled(" castoff", look.style(Tone::Strong)), title);
    frame.render_widget(Line::raw(parts::cut_end(sentence, line.width as usize)), line);
    parts::rule(frame, below, look);
}
