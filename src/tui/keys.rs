//! The one table of keys: it decides what a key means, and prints the footer and the help.
//! Never acts: lower case looks, capitals act, and what acts is asked about elsewhere.

use crossterm::event::KeyCode;

/// Where a key is pressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Plan,
    Overview,
    Changes,
    /// The ledger and the notes.
    Page,
    Log,
    Failure,
    Waiting,
    Resume,
    End,
    Help,
    Question,
    Leave,
    RetryBox,
}

/// What the operator wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    Help,
    Back,
    Quit,
    Up,
    Down,
    PageUp,
    PageDown,
    Top,
    Bottom,
    Open,
    NextChange,
    PreviousChange,
    Log,
    Notes,
    Ledger,
    FailedOnly,
    WarningsOnly,
    Recheck,
    List,
    NextField,
    Answer,
    // From here on: what acts.
    Execute,
    GoOn,
    Pause,
    Retry,
    RetryCause,
    Skip,
    RollBack,
    Abort,
    MoveWindow,
    StopAndLeave,
}

/// One line of the table.
pub struct Binding {
    pub places: &'static [Place],
    pub codes: &'static [KeyCode],
    /// As it is printed: `j k`; empty for the second of a pair.
    pub shown: &'static str,
    /// One or two words for the footer; empty keeps it out of the footer.
    pub word: &'static str,
    /// The line of the help.
    pub help: &'static str,
    pub intent: Intent,
}

use KeyCode::{Backspace, Char, Down, End, Enter, Esc, F, Home, PageDown, PageUp, Tab, Up};
use Place::{Changes, End as EndPage, Failure, Help, Leave, Log, Overview, Page, Plan, Question, Resume, RetryBox, Waiting};

const LISTS: &[Place] = &[Plan, Overview, Changes, Page, Log, Failure, Waiting, EndPage, Help];
const RUN: &[Place] = &[Overview, Changes, Log, Failure, Waiting];
const SCREENS: &[Place] = &[Plan, Overview, Changes, Page, Log, Failure, Waiting, Resume, EndPage, Leave, RetryBox];

/// In the order of importance: what does not fit into the footer is left out from the end.
pub const TABLE: &[Binding] = &[
    bind(SCREENS, &[Char('?')], "?", "help", "this help", Intent::Help),
    bind(
        &[Plan, Overview, Failure, Waiting, Resume, EndPage],
        &[Char('q')],
        "q",
        "leave",
        "leave; asks while a run is open",
        Intent::Quit,
    ),
    bind(&[Changes, Page, Log, Help], &[Char('q')], "q", "", "back to the first screen", Intent::Quit),
    bind(
        &[Changes, Page, Log, Failure, Waiting, EndPage, Help, Leave, RetryBox],
        &[Esc, Backspace],
        "esc",
        "back",
        "back, close the box",
        Intent::Back,
    ),
    bind(&[Question], &[Esc], "esc", "not now", "close the question; the run goes on waiting", Intent::Back),
    bind(&[Plan], &[Char('E')], "E", "execute", "execute this plan: goes on until the first question", Intent::Execute),
    bind(&[Resume], &[Char('C')], "C", "continue", "continue the run from its journal", Intent::GoOn),
    bind(&[Leave], &[Char('L')], "L", "stop and leave", "finish what is in flight, write, leave", Intent::StopAndLeave),
    bind(&[RetryBox], &[Char('R')], "R", "all causes", "retry every failed change", Intent::Retry),
    bind(&[RetryBox], &[Char('T')], "T", "this cause", "retry the changes with the selected cause", Intent::RetryCause),
    bind(&[Question], &[Enter], "enter", "answer", "give the answer, when all is typed", Intent::Answer),
    bind(&[Question], &[Tab], "tab", "next field", "go to the other field", Intent::NextField),
    bind(&[Question], &[F(4)], "F4", "window", "give the window another end (asks)", Intent::MoveWindow),
    bind(&[Question], &[F(1)], "F1", "help", "help for questions", Intent::Help),
    bind(&[Question], &[F(2)], "F2", "list", "what stands in the way, or every change", Intent::List),
    bind(&[Question], &[F(3)], "F3", "log", "the log", Intent::Log),
    bind(&[Question], &[F(5)], "F5", "check again", "read the cluster again for the checks", Intent::Recheck),
    bind(
        &[Plan, Overview, Changes, Failure, Waiting, Resume],
        &[Enter],
        "enter",
        "open",
        "look deeper; never acts",
        Intent::Open,
    ),
    bind(&[Waiting], &[Char('c')], "c", "check again", "read the cluster again now", Intent::Recheck),
    bind(RUN, &[Char('P')], "P", "pause", "pause at the safe point, or go on", Intent::Pause),
    bind(
        &[Overview, Changes, Failure],
        &[Char('R')],
        "R",
        "retry",
        "retry what failed; asks if there are more causes",
        Intent::Retry,
    ),
    bind(&[Changes, Failure], &[Char('S')], "S", "skip", "leave out what failed, with a reason (asks)", Intent::Skip),
    bind(
        &[Overview, Failure, Waiting, Resume, EndPage],
        &[Char('B')],
        "B",
        "roll back",
        "roll back: shows the way back, then asks",
        Intent::RollBack,
    ),
    bind(&[Overview, Failure, Waiting, Resume], &[Char('A')], "A", "abort", "end the run for good, here (asks)", Intent::Abort),
    bind(RUN, &[Char('W')], "W", "window", "give the window another end, on purpose (asks)", Intent::MoveWindow),
    bind(&[Plan], &[Char(']')], "[ ]", "change", "next and previous change of the step", Intent::NextChange),
    bind(&[Plan], &[Char('[')], "", "", "previous change of the step", Intent::PreviousChange),
    bind(
        &[Overview, Changes, Failure, Waiting, Resume, EndPage],
        &[Char('l')],
        "l",
        "log",
        "what happened, line by line",
        Intent::Log,
    ),
    bind(&[Plan, Overview, EndPage], &[Char('n')], "n", "notes", "what to know, and to do by hand", Intent::Notes),
    bind(&[Plan, Overview, EndPage], &[Char('v')], "v", "ledger", "for every old name the proven new one", Intent::Ledger),
    bind(&[Changes], &[Char('f')], "f", "failed only", "only what failed, and all again", Intent::FailedOnly),
    bind(&[Log], &[Char('w')], "w", "warnings", "only warnings and errors, and all again", Intent::WarningsOnly),
    bind(LISTS, &[Char('j'), Down], "j k", "", "down and up", Intent::Down),
    bind(LISTS, &[Char('k'), Up], "", "", "up", Intent::Up),
    bind(LISTS, &[PageDown, Char(' ')], "PgDn PgUp", "", "a page down and up", Intent::PageDown),
    bind(LISTS, &[PageUp], "", "", "a page up", Intent::PageUp),
    bind(LISTS, &[Char('g'), Home], "g G", "", "to the top, to the bottom; at its bottom the log follows", Intent::Top),
    bind(LISTS, &[Char('G'), End], "", "", "to the bottom", Intent::Bottom),
];

const fn bind(
    places: &'static [Place],
    codes: &'static [KeyCode],
    shown: &'static str,
    word: &'static str,
    help: &'static str,
    intent: Intent,
) -> Binding {
    Binding { places, codes, shown, word, help, intent }
}

/// What a key means here.
pub fn intent(place: Place, code: KeyCode) -> Option<Intent> {
    here(place).find(|binding| binding.codes.contains(&code)).map(|binding| binding.intent)
}

/// The lines of the table for one place.
pub fn here(place: Place) -> impl Iterator<Item = &'static Binding> {
    TABLE.iter().filter(move |binding| binding.places.contains(&place))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_means_two_things_in_one_place() {
        for place in [Plan, Overview, Changes, Page, Log, Failure, Waiting, Resume, EndPage, Help, Question, Leave, RetryBox] {
            let codes: Vec<KeyCode> = here(place).flat_map(|binding| binding.codes.iter().copied()).collect();
            for code in &codes {
                assert_eq!(codes.iter().filter(|c| *c == code).count(), 1, "{code:?} in {place:?}");
            }
        }
    }

    #[test]
    fn what_acts_is_a_capital() {
        let acts = |intent| {
            use Intent::{Abort, Execute, GoOn, MoveWindow, Pause, Retry, RetryCause, RollBack, Skip, StopAndLeave};
            matches!(intent, Execute | GoOn | MoveWindow | Pause | Retry | RetryCause | Skip | RollBack | Abort | StopAndLeave)
        };
        // In a question letters go into the text: its F keys open another question, no more.
        for binding in TABLE.iter().filter(|binding| acts(binding.intent) && binding.places != [Question]) {
            let capital = |code: &KeyCode| matches!(code, Char(c) if c.is_ascii_uppercase());
            assert!(binding.codes.iter().all(capital), "{}", binding.help);
        }
    }
}
