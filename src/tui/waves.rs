//! Waves on the screen: the question after a canary, the rows of the detail pane, the sentence of a step that is held.
//! Never approves anything: it opens the question, and the engine decides.

use super::app::{App, Popup};
use super::parts::labelled;
use super::question::{Field, Purpose, Question};
use super::theme::Tone;
use crate::model::{CANARY_SENTENCE, Hold, Next, PlannedStep, text};
use ratatui::text::Line;

/// More hosts than this are counted, not named.
const ASIDE: usize = 3;

impl App {
    /// The canary is done and a person has to say so: its question opens, unless it was put off.
    pub(super) fn canary_done(&mut self, step: usize, now_ms: i64) {
        if self.popup.is_none() && !self.is_typing() && self.put_off != Some(step) {
            self.ask_canary(step, now_ms);
        }
    }

    /// Opens the question after a canary. Nothing that was typed before counts.
    pub(super) fn ask_canary(&mut self, step: usize, now_ms: i64) {
        let field = Field::exactly("type", CANARY_SENTENCE, true);
        self.step = step;
        self.put_off = None;
        self.notice = None;
        self.popup = Some(Popup::Question(Question::new(Purpose::Canary(step), now_ms, vec![field])));
    }
}

/// The sentence of a step that holds after its canary: what for, since when, what ends it.
pub fn held(app: &App, step: usize) -> String {
    let waited = app.state.canary_over_ms(step).map_or_else(String::new, |at| text::duration(app.now_ms - at));
    let (canary, others) = (text::clean(&app.state.canary_names(step)), app.state.behind_canary(step));
    let how = if app.popup.is_some() { "No time limit." } else { "enter opens it." };
    // The page below says that it was read back.
    let word = app.state.canary_word(step).replace(" and read back", "");
    format!("Canary {canary} {word}; {others} wait for your yes, {waited} so far. {how}")
}

/// `wave 2 of 4`, which stands in the sentence of a running step in place of its title: that is in the list below.
pub fn of(app: &App, step: usize) -> Option<String> {
    let n = app.state.waves(step).map_or(0, |waves| waves.hosts.len());
    (n > 1).then(|| format!("wave {} of {n}", app.state.steps[step].waves.at() + 1))
}

/// The sentence of a step whose canary runs.
pub fn canary_runs(app: &App, step: usize) -> Option<String> {
    let state = &app.state;
    let hold = state.waves(step).filter(|_| state.in_canary(step))?.hold;
    let (over, all, failed) = canary(app, step);
    let ends = match hold {
        _ if failed > 0 => format!("{failed} failed, so the step stops after it."),
        Hold::Prove => format!("{} wait until it has proved itself. Nothing needs you now.", state.behind_canary(step)),
        Hold::Approve => format!("{} wait until you approve it; you are asked when it is done.", state.behind_canary(step)),
    };
    Some(format!("Step {}, canary {}: {over} of {all}. {ends}", step + 1, text::clean(&state.canary_names(step))))
}

/// Changes of the canary: over, in all, failed.
pub fn canary(app: &App, step: usize) -> (u64, u64, u64) {
    use crate::model::Status::{Done, Failed, Found, Skipped};
    let here = &app.state.steps[step];
    let mut out = (0, 0, 0);
    for (_, change) in here.changes.iter().enumerate().filter(|(n, _)| here.waves.of(*n) == 0) {
        out.0 += u64::from(matches!(change.status, Done | Found | Skipped(_)));
        out.1 += 1;
        out.2 += u64::from(matches!(change.status, Failed(_)));
    }
    out
}

/// How the hosts of a step will take their turn.
pub fn planned(app: &App, step: &PlannedStep, room: (usize, usize)) -> Vec<Line<'static>> {
    let styles = (app.look.style(Tone::Dim), app.look.style(Tone::Plain));
    step.waves.as_ref().map_or_else(Vec::new, |waves| labelled("waves", &text::clean(&waves.words()), room, styles))
}

/// Where the waves are, who is set aside, and what holds the others back.
pub fn running(app: &App, room: (usize, usize)) -> Vec<Line<'static>> {
    let look = &app.look;
    let (dim, plain) = (look.style(Tone::Dim), look.style(Tone::Plain));
    let current = app.state.current_step() == Some(app.step) && app.state.finished.is_none();
    if !current || app.state.rolling_back.is_some() {
        return vec![];
    }
    let mut out = vec![];
    if let Some(line) = app.state.wave_line(app.step) {
        out.extend(labelled("waves", &text::clean(&line), room, (dim, plain)));
    }
    // One row each: the name of the host and what becomes of it take about 40 columns.
    let aside = app.state.aside_lines(app.step, room.1.saturating_sub(room.0 + 44).max(20));
    for line in aside.iter().take(ASIDE) {
        out.extend(labelled("aside", &text::clean(line), room, (dim, look.style(Tone::Warning))));
    }
    if aside.len() > ASIDE {
        out.extend(labelled("", &format!("and {} more; the log names them", aside.len() - ASIDE), room, (dim, plain)));
    }
    let (step, waits) = &app.waits;
    if *step == app.step && matches!(app.state.next(), Next::Apply(_)) {
        let words = |wait: &crate::model::Wait| {
            let until = wait.until_ms.map_or_else(String::new, |at| format!(" until {}", look.clock(at)));
            format!("{} ({}{until})", text::number(wait.changes), text::clean(&wait.why))
        };
        let waits: Vec<String> = waits.iter().map(words).collect();
        if !waits.is_empty() {
            out.extend(labelled("waits", &waits.join(", "), room, (dim, plain)));
        }
    }
    out
}
