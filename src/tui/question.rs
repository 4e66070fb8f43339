//! A question that is answered by typing: the gate's sentence, a reason, the cluster's name.
//! Never answered by one key, by keys typed before it was there, or by pasting where the class forbids it.

use crate::model::{Target, Window, is_reason, text};
use crossterm::event::{KeyCode, KeyEvent};
use tui_input::{Input, backend::crossterm::EventHandler};

/// Keys within this time after the opening were meant for something else.
pub const DEAF_MS: i64 = 400;
/// Why enter does not answer yet; taken back when the checks hold.
pub const NOT_YET: &str = "not yet: the checks above do not hold; F5 reads the cluster again";
/// As above, when it is the window that stands against it.
pub const HELD: &str = "not yet: the window stands against it; F6 moves it on purpose";

#[derive(Clone, Debug)]
pub struct Question {
    pub purpose: Purpose,
    pub opened_ms: i64,
    pub fields: Vec<Field>,
    /// The field that takes the letters.
    pub at: usize,
    /// What was wrong with the last try, or what the engine answered.
    pub note: Option<String>,
    /// The answer is on its way; it counts when the journal has it.
    pub sent: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The gate of this step.
    Approve(usize),
    /// The canary of this step, which is done.
    Canary(usize),
    /// Back to this step.
    RollBack(usize),
    Skip(Target),
    Abort,
    /// Another end of this window; asked at a unix time in milliseconds.
    Window {
        window: Window,
        at_ms: i64,
    },
}

#[derive(Clone, Debug)]
pub struct Field {
    pub label: &'static str,
    pub wanted: Wanted,
    pub input: Input,
    pub paste: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// This, letter by letter.
    Exactly(String),
    /// A few words of the operator's own.
    Reason,
    /// Another end of this window, or a whole window; typed at a unix time in milliseconds.
    End { window: Window, at_ms: i64 },
}

/// What came of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Nothing to do outside the box.
    Open,
    /// All fields hold: what was typed, in their order.
    Given(Vec<String>),
    NotNow,
    /// Another step is meant (rollback only): up or down the list.
    Step(isize),
}

impl Field {
    pub fn exactly(label: &'static str, sentence: &str, paste: bool) -> Self {
        Self { label, wanted: Wanted::Exactly(sentence.to_owned()), input: Input::default(), paste }
    }

    pub fn reason(label: &'static str) -> Self {
        Self { label, wanted: Wanted::Reason, input: Input::default(), paste: true }
    }

    pub fn window(window: &Window, at_ms: i64) -> Self {
        let wanted = Wanted::End { window: window.clone(), at_ms };
        Self { label: "new end", wanted, input: Input::default(), paste: false }
    }

    /// Whether what is typed is what is wanted.
    pub fn holds(&self) -> bool {
        match &self.wanted {
            Wanted::Exactly(sentence) => self.input.value() == sentence,
            Wanted::Reason => is_reason(self.input.value()),
            Wanted::End { window, at_ms } => window.moved(self.input.value(), *at_ms).is_ok(),
        }
    }

    fn lacks(&self) -> &'static str {
        match &self.wanted {
            Wanted::Exactly(_) if self.input.value().is_empty() => "nothing is typed yet",
            Wanted::Exactly(sentence) if sentence.starts_with(self.input.value()) => "it is not complete",
            Wanted::Exactly(_) => "this is not it, letter by letter",
            Wanted::Reason if self.input.value().is_empty() => "a reason is needed",
            Wanted::Reason => "a longer reason is needed",
            Wanted::End { .. } => "a time is needed, such as 04:30",
        }
    }
}

impl Question {
    pub fn new(purpose: Purpose, opened_ms: i64, fields: Vec<Field>) -> Self {
        Self { purpose, opened_ms, fields, at: 0, note: None, sent: false }
    }

    pub fn key(&mut self, key: KeyEvent, at_ms: i64) -> Answer {
        if at_ms < self.opened_ms + DEAF_MS {
            return Answer::Open;
        }
        match key.code {
            KeyCode::Esc => return Answer::NotNow,
            _ if self.sent => {}
            KeyCode::Up => return Answer::Step(-1),
            KeyCode::Down => return Answer::Step(1),
            KeyCode::Tab | KeyCode::BackTab => self.at = (self.at + 1) % self.fields.len(),
            KeyCode::Enter => return self.enter(),
            _ => {
                self.note = None;
                self.fields[self.at].input.handle_event(&crossterm::event::Event::Key(key));
            }
        }
        Answer::Open
    }

    /// Text that was pasted; refused where the class of the question wants every letter typed.
    pub fn paste(&mut self, pasted: &str, at_ms: i64) {
        if at_ms < self.opened_ms + DEAF_MS || self.sent {
            return;
        }
        let field = &mut self.fields[self.at];
        if field.paste {
            let value = format!("{}{}", field.input.value(), text::clean(pasted));
            field.input = value.into();
        } else {
            self.note = Some("pasting is off here: the sentence is to be typed".to_owned());
        }
    }

    /// The question begins again: after a refusal, or when it is about something else now.
    pub fn again(&mut self, at_ms: i64, note: Option<String>) {
        self.opened_ms = at_ms;
        self.sent = false;
        self.note = note;
        for field in self.fields.iter_mut().filter(|field| matches!(field.wanted, Wanted::Exactly(_))) {
            field.input.reset();
        }
    }

    /// Whether enter would send the answer now, and if not, why.
    pub fn lacks(&self) -> Option<&'static str> {
        self.fields.iter().find(|field| !field.holds()).map(Field::lacks)
    }

    /// Enter goes to the first field that does not hold yet, and answers only when all do.
    fn enter(&mut self) -> Answer {
        let Some(open) = self.fields.iter().position(|field| !field.holds()) else {
            let typed = |field: &Field| match field.wanted {
                Wanted::Exactly(_) | Wanted::End { .. } => field.input.value().to_owned(),
                Wanted::Reason => text::clean(field.input.value().trim()),
            };
            return Answer::Given(self.fields.iter().map(typed).collect());
        };
        if open == self.at {
            self.note = Some(self.fields[open].lacks().to_owned());
        } else {
            self.at = open;
        }
        Answer::Open
    }
}
