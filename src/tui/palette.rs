//! The `:` palette: every key of the place by its word, with completion and the reason of what does nothing now.
//! Never acts more directly than the key: a word presses its key, and what would act asks for the capital first.

use super::app::{App, Popup, Screen};
use super::keys::{self, ALIASES, Binding, Intent, Place};
use super::question::DEAF_MS;
use crate::model::{Command, LimitChange, Target, text};
use crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};
use tui_input::{Input, backend::crossterm::EventHandler};

#[derive(Clone, Debug)]
pub struct Palette {
    pub input: Input,
    /// The selected word among those that match.
    pub at: usize,
    /// Why the last word did nothing.
    pub note: Option<String>,
    /// A word that acts waits for its capital.
    pub armed: Option<Armed>,
}

/// What a capital would do now.
#[derive(Clone, Debug)]
pub struct Armed {
    pub capital: char,
    pub says: String,
    opened_ms: i64,
    /// Where it was asked: elsewhere it would mean something else.
    place: Place,
    does: Does,
}

#[derive(Clone, Debug)]
enum Does {
    Key(KeyCode),
    Limit(LimitChange),
    Retry(Target),
}

impl App {
    pub fn open_palette(&mut self) {
        // The help is about the screen below it, and so are the words.
        if matches!(self.popup, Some(Popup::Help)) {
            self.popup = None;
        }
        self.notice = None;
        self.palette = Some(Palette { input: Input::default(), at: 0, note: None, armed: None });
    }

    /// The words that match what is typed: those that begin so first, then those that hold it.
    pub fn matching(&self) -> Vec<&'static Binding> {
        let Some(palette) = &self.palette else { return vec![] };
        let typed = first_word(palette.input.value());
        let all = keys::words(self.place_below());
        let alias = ALIASES.iter().find(|(alias, _)| *alias == typed).map(|(_, intent)| intent.name());
        let begins = |binding: &&&Binding| binding.intent.name().starts_with(&typed) || alias == Some(binding.intent.name());
        let holds = |binding: &&&Binding| {
            !begins(binding)
                && (binding.intent.name().contains(&typed) || (typed.len() > 2 && binding.help.to_lowercase().contains(&typed)))
        };
        let (first, then) = (all.iter().filter(begins), all.iter().filter(holds));
        first.chain(then).copied().collect()
    }

    /// A key while the palette is open.
    pub fn palette_key(&mut self, key: KeyEvent, at_ms: i64) -> Option<Command> {
        if let Some(armed) = self.palette.as_ref().and_then(|palette| palette.armed.clone()) {
            return self.armed_key(key, &armed, at_ms);
        }
        let n = self.matching().len();
        let palette = self.palette.as_mut()?;
        match key.code {
            KeyCode::Esc => self.palette = None,
            KeyCode::Backspace if palette.input.value().is_empty() => self.palette = None,
            KeyCode::Up => palette.at = palette.at.saturating_sub(1),
            KeyCode::Down => palette.at = (palette.at + 1).min(n.saturating_sub(1)),
            KeyCode::Tab => self.complete(),
            KeyCode::Enter => return self.run_word(at_ms),
            _ => {
                palette.note = None;
                palette.at = 0;
                palette.input.handle_event(&Event::Key(key));
            }
        }
        None
    }

    /// Text that was pasted into the line: it is only text until enter, and acts on nothing then.
    pub fn palette_paste(&mut self, pasted: &str) {
        if let Some(palette) = self.palette.as_mut().filter(|palette| palette.armed.is_none()) {
            palette.input = format!("{}{}", palette.input.value(), text::clean(pasted)).into();
        }
    }

    fn complete(&mut self) {
        let words = self.matching();
        let Some(palette) = &mut self.palette else { return };
        if let Some(binding) = words.get(palette.at) {
            let rest = if binding.intent.takes().is_empty() { "" } else { " " };
            palette.input = format!("{}{rest}", binding.intent.name()).into();
            palette.at = 0;
        }
    }

    /// Enter: the word that is typed in whole, or the only one that begins so.
    fn run_word(&mut self, at_ms: i64) -> Option<Command> {
        let typed = self.palette.as_ref()?.input.value().trim().to_lowercase();
        if typed.is_empty() {
            self.palette = None;
            return None;
        }
        if let Ok(step) = typed.parse::<usize>() {
            return self.run_goto(step);
        }
        let word = first_word(&typed);
        let rest = self.palette.as_ref()?.input.value().trim().get(word.len()..).unwrap_or_default().trim().to_owned();
        let all = keys::words(self.place_below());
        let alias = ALIASES.iter().find(|(alias, _)| *alias == word).map(|(_, intent)| intent.name());
        let exact = all.iter().find(|b| b.intent.name() == word || alias == Some(b.intent.name()));
        let begins: Vec<&&Binding> = all.iter().filter(|b| b.intent.name().starts_with(&word)).collect();
        let binding = match (exact, begins.as_slice()) {
            (Some(binding), _) => *binding,
            (None, [one]) => **one,
            (None, []) => {
                let known = keys::TABLE.iter().any(|b| b.intent.name() == word) || alias.is_some();
                let why = if known { "is no word of this screen" } else { "is no word of castoff: ? lists the keys" };
                return self.word_fails(format!("`{}` {why}", text::clean(&word)));
            }
            (None, many) => {
                let n = text::count(many.len() as u64, "word");
                return self.word_fails(format!("{n} begin so: tab completes the selected one"));
            }
        };
        self.run(binding, &word, &rest, at_ms)
    }

    fn run(&mut self, binding: &'static Binding, word: &str, rest: &str, at_ms: i64) -> Option<Command> {
        let intent = binding.intent;
        if let Some(why) = self.why_not(intent) {
            return self.word_fails(why);
        }
        if !rest.is_empty() && intent.takes().is_empty() {
            return self.word_fails(format!("`{}` stands alone", intent.name()));
        }
        // One key for both, but two words: each does what it says.
        if intent == Intent::Pause && (word == "go-on") != self.state.paused.is_some() {
            let why = if word == "go-on" { "the run is not paused" } else { "the run is paused already: go-on goes on" };
            return self.word_fails(why.to_owned());
        }
        match intent {
            Intent::Goto => match rest.parse() {
                Ok(step) => return self.run_goto(step),
                Err(_) => return self.word_fails(format!("a step from 1 to {} is needed", self.plan.steps.len())),
            },
            Intent::Limit => return self.arm_limit(rest, at_ms),
            Intent::Level(_) => {
                let level = rest.parse().ok().filter(|level| (1..=4).contains(level));
                let Some(level) = level else { return self.word_fails("a level from 1 to 4 is needed".to_owned()) };
                self.palette = None;
                self.log.level = level;
                return None;
            }
            Intent::Find if !rest.is_empty() => {
                self.palette = None;
                self.begin_find(Some(rest));
                self.find_again(true);
                return None;
            }
            Intent::Copy if !rest.is_empty() => {
                let copied = self.copied(Some(rest));
                let Some(outside) = copied else {
                    return self.word_fails(format!("there is no `{}` to copy here", text::clean(rest)));
                };
                self.palette = None;
                self.outside = Some(outside);
                return None;
            }
            Intent::Retry if !rest.is_empty() => {
                let target = match rest {
                    "failed" => Target::Failed,
                    "cause" => self.target(),
                    _ => return self.word_fails("`retry failed` or `retry cause`".to_owned()),
                };
                let says = format!("retry {rest}: each change is looked at before it is tried again");
                self.arm('R', says, Does::Retry(target), at_ms);
                return None;
            }
            _ => {}
        }
        let Some(code) = binding.codes.first() else {
            self.palette = None;
            return self.act(intent, at_ms);
        };
        if let (true, false, KeyCode::Char(capital)) = (intent.acts(), intent.asks(), code) {
            let goes_on = intent == Intent::Pause && self.state.paused.is_some();
            let what = if goes_on { "go on with the run" } else { binding.help };
            self.arm(*capital, what.to_owned(), Does::Key(*code), at_ms);
            return None;
        }
        self.palette = None;
        self.key(KeyEvent::new(*code, KeyModifiers::NONE), at_ms)
    }

    fn run_goto(&mut self, step: usize) -> Option<Command> {
        if step == 0 || step > self.plan.steps.len() {
            return self.word_fails(format!("a step from 1 to {} is needed", self.plan.steps.len()));
        }
        if self.place_below() == Place::Question {
            return self.word_fails("the question stands in the way: esc puts it off".to_owned());
        }
        self.palette = None;
        self.popup = None;
        if !matches!(self.screen, Screen::Plan | Screen::Overview | Screen::Resume) {
            let first = if self.state.plan.is_none() { Screen::Plan } else { Screen::Overview };
            let first =
                if self.begun || self.state.finished.is_some() { first } else { self.behind.first().copied().unwrap_or(first) };
            self.show(first);
        }
        self.go_to_step(step - 1);
        None
    }

    fn arm_limit(&mut self, rest: &str, at_ms: i64) -> Option<Command> {
        match rest.parse::<LimitChange>() {
            Ok(change) => {
                let then = self.state.limits.with(change);
                let says = format!("{change}: now {}; then {}", self.state.limits.words(), then.words());
                self.arm('L', says, Does::Limit(change), at_ms);
                None
            }
            Err(why) => self.word_fails(why.to_string()),
        }
    }

    fn arm(&mut self, capital: char, says: String, does: Does, opened_ms: i64) {
        let place = self.place_below();
        if let Some(palette) = &mut self.palette {
            palette.note = None;
            palette.armed = Some(Armed { capital, says, opened_ms, place, does });
        }
    }

    /// Only the capital acts; keys that came too early were meant for something else.
    fn armed_key(&mut self, key: KeyEvent, armed: &Armed, at_ms: i64) -> Option<Command> {
        if at_ms < armed.opened_ms + DEAF_MS {
            return None;
        }
        if armed.place != self.place_below() {
            if let Some(palette) = &mut self.palette {
                palette.armed = None;
            }
            return self.word_fails("the run went on meanwhile: look first".to_owned());
        }
        match key.code {
            KeyCode::Char(c) if c == armed.capital => {
                self.palette = None;
                match &armed.does {
                    Does::Key(code) => self.key(KeyEvent::new(*code, KeyModifiers::NONE), at_ms),
                    Does::Limit(change) => Some(Command::SetLimit(*change)),
                    Does::Retry(target) => {
                        self.popup = None;
                        Some(Command::Retry(target.clone()))
                    }
                }
            }
            KeyCode::Esc | KeyCode::Backspace => {
                if let Some(palette) = &mut self.palette {
                    palette.armed = None;
                }
                None
            }
            _ => None,
        }
    }

    fn word_fails(&mut self, why: String) -> Option<Command> {
        if let Some(palette) = &mut self.palette {
            palette.note = Some(why);
        }
        None
    }
}

/// What stands before the first space, in small letters.
fn first_word(typed: &str) -> String {
    typed.split_whitespace().next().unwrap_or_default().to_lowercase()
}
