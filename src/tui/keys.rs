//! The one table of keys and words: it decides what a key means, and makes the footer, the help and the `:` palette.
//! Never acts: lower case looks, capitals act, and what acts is asked about elsewhere.

use crossterm::event::KeyCode;

/// Where a key is pressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Plan,
    Overview,
    Changes,
    Matrix,
    Cell,
    /// The ledger, the notes and the explanation of a step.
    Page,
    /// Before and after, full screen.
    Diff,
    Log,
    Failure,
    Waiting,
    Resume,
    End,
    Help,
    Question,
    Leave,
    RetryBox,
    /// A gate that is answered at another terminal.
    ShownGate,
    /// The box of a castoff that has gone.
    Gone,
    /// The page of a lock that another castoff holds.
    Held,
    /// The line of the `:` palette.
    Palette,
    /// The line in which what is looked for is typed.
    Find,
}

/// What the operator wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    Help,
    Back,
    Quit,
    Up,
    Down,
    Left,
    Right,
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
    Diff,
    Explain,
    FailedOnly,
    /// The matrix by the other side.
    Turn,
    Zoom,
    /// From the matrix to the list, and back.
    OtherList,
    /// Of the log: 1 errors, 2 warnings too, 3 what was done too, 4 everything.
    Level(u8),
    OneStep,
    OneAgent,
    Wrap,
    Find,
    FindNext,
    FindPrevious,
    Copy,
    Pager,
    Shell,
    Palette,
    Complete,
    Run,
    Goto,
    Mouse,
    Still,
    Recheck,
    Verify,
    List,
    NextField,
    Answer,
    Watch,
    // From here on: what acts.
    Execute,
    GoOn,
    Pause,
    Retry,
    RetryCause,
    RetryOne,
    Skip,
    RollBack,
    Abort,
    MoveWindow,
    /// A run that was cut off is marked as abandoned.
    Close,
    StopAndLeave,
    /// Only by its word: `limit pulls=4`.
    Limit,
}

impl Intent {
    /// The word of the palette. What it may be followed by is in `takes`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Help => "help",
            Self::Back => "back",
            Self::Quit => "quit",
            Self::Up => "up",
            Self::Down => "down",
            Self::PageUp => "page-up",
            Self::PageDown => "page-down",
            Self::Top => "top",
            Self::Bottom => "bottom",
            Self::Open => "open",
            Self::NextChange => "next-change",
            Self::PreviousChange => "previous-change",
            Self::Log => "log",
            Self::Notes => "notes",
            Self::Ledger => "ledger",
            Self::Diff => "diff",
            Self::Explain => "explain",
            Self::FailedOnly => "failed-only",
            Self::Turn => "turn",
            Self::Zoom => "zoom",
            Self::OtherList => "other-list",
            Self::Left => "left",
            Self::Right => "right",
            Self::Level(_) => "level",
            Self::OneStep => "one-step",
            Self::OneAgent => "one-agent",
            Self::Wrap => "wrap",
            Self::Find => "find",
            Self::FindNext => "next",
            Self::FindPrevious => "previous",
            Self::Copy => "copy",
            Self::Pager => "pager",
            Self::Shell => "shell",
            Self::Palette => "words",
            Self::Complete => "complete",
            Self::Run => "run",
            Self::Goto => "goto",
            Self::Mouse => "mouse",
            Self::Still => "still",
            Self::Recheck => "check",
            Self::Verify => "verify",
            Self::List => "list",
            Self::NextField => "next-field",
            Self::Answer => "answer",
            Self::Watch => "watch",
            Self::Execute => "execute",
            Self::GoOn => "continue",
            Self::Pause => "pause",
            Self::Retry => "retry",
            Self::RetryCause => "retry-cause",
            Self::RetryOne => "retry-one",
            Self::Skip => "skip",
            Self::RollBack => "rollback",
            Self::Abort => "abort",
            Self::MoveWindow => "window",
            Self::Close => "close",
            Self::StopAndLeave => "stop",
            Self::Limit => "limit",
        }
    }

    /// What follows the word; in brackets where it may be left out.
    pub fn takes(self) -> &'static str {
        match self {
            Self::Level(_) => "1-4",
            Self::Find => "[WORD]",
            Self::Goto => "STEP",
            Self::Copy => "[cause|line|command]",
            Self::Retry => "[failed|cause]",
            Self::Limit => "NAME=NUMBER",
            _ => "",
        }
    }

    /// Whether it changes something outside the screen, at once or after a question.
    pub fn acts(self) -> bool {
        use Intent::{
            Abort, Close, Execute, GoOn, Limit, MoveWindow, Pause, Retry, RetryCause, RetryOne, RollBack, Skip, StopAndLeave,
        };
        matches!(
            self,
            Execute
                | GoOn
                | MoveWindow
                | Pause
                | Retry
                | RetryCause
                | RetryOne
                | Skip
                | RollBack
                | Abort
                | Close
                | StopAndLeave
                | Limit
        )
    }

    /// Whether its key opens a question to type in, so that nothing is done yet.
    pub fn asks(self) -> bool {
        matches!(self, Self::Skip | Self::RollBack | Self::Abort | Self::Close | Self::MoveWindow)
    }
}

/// Other words for the same, as hands know them.
pub const ALIASES: &[(&str, Intent)] = &[
    ("q", Intent::Quit),
    ("leave", Intent::Quit),
    ("follow", Intent::Bottom),
    ("roll-back", Intent::RollBack),
    ("go-on", Intent::Pause),
];

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

use KeyCode::{Backspace, Char, Down, End, Enter, Esc, F, Home, Left, PageDown, PageUp, Right, Tab, Up};
use Place::{
    Cell, Changes, Diff, End as EndPage, Failure, Find, Gone, Held, Help, Leave, Log, Matrix, Overview, Page, Palette, Plan,
    Question, Resume, RetryBox, ShownGate, Waiting,
};

const LISTS: &[Place] = &[Plan, Overview, Changes, Matrix, Cell, Page, Diff, Log, Failure, Waiting, Resume, EndPage, Help];
const RUN: &[Place] = &[Overview, Changes, Matrix, Cell, Log, Failure, Waiting];
const SCREENS: &[Place] = &[
    Plan, Overview, Changes, Matrix, Cell, Page, Diff, Log, Failure, Waiting, Resume, EndPage, Leave, RetryBox, ShownGate, Gone,
    Held,
];
/// Where something can be selected and taken along.
const TAKES: &[Place] = &[Plan, Overview, Changes, Matrix, Cell, Page, Diff, Log, Failure, Waiting, Resume, EndPage];
const STEPS: &[Place] = &[Plan, Overview, Changes, Cell, Failure, Waiting, Resume];
const WORDS: &[Place] =
    &[Plan, Overview, Changes, Matrix, Cell, Page, Diff, Log, Failure, Waiting, Resume, EndPage, Help, Leave, RetryBox, Question];

/// In the order of importance: what does not fit into the footer is left out from the end.
pub const TABLE: &[Binding] = &[
    bind(SCREENS, &[Char('?')], "?", "help", "this help", Intent::Help),
    bind(
        &[Plan, Overview, Failure, Waiting, Resume, EndPage, ShownGate, Gone, Held],
        &[Char('q')],
        "q",
        "leave",
        "leave; asks while a run is open",
        Intent::Quit,
    ),
    bind(&[Changes, Matrix, Cell, Page, Diff, Log, Help], &[Char('q')], "q", "", "back to the first screen", Intent::Quit),
    bind(
        &[Changes, Matrix, Cell, Page, Diff, Log, Failure, Waiting, EndPage, Help, Leave, RetryBox, ShownGate, Gone],
        &[Esc, Backspace],
        "esc",
        "back",
        "clear what is looked for, close the box, back",
        Intent::Back,
    ),
    bind(&[Plan, Overview, Resume], &[Esc, Backspace], "esc", "", "clear what is looked for, back", Intent::Back),
    bind(&[Question], &[Esc], "esc", "not now", "close the question; the run goes on waiting", Intent::Back),
    bind(&[Held], &[Char('w')], "w", "watch", "watch the run that holds it, read-only", Intent::Watch),
    bind(&[Palette], &[Esc], "esc", "close", "close the words", Intent::Back),
    bind(&[Palette], &[Enter], "enter", "run", "run the word; what acts asks for its capital", Intent::Run),
    bind(&[Palette], &[Tab], "tab", "complete", "complete the word", Intent::Complete),
    bind(&[Find], &[Esc], "esc", "not now", "look for nothing", Intent::Back),
    bind(&[Find], &[Enter], "enter", "find", "find it; !word leaves its lines out", Intent::Run),
    bind(&[Plan], &[Char('E')], "E", "execute", "execute this plan: goes on until the first question", Intent::Execute),
    bind(&[Resume], &[Char('C')], "C", "continue", "continue the run from its journal", Intent::GoOn),
    bind(&[Resume], &[Char('V')], "V", "verify", "look at the cluster again; changes nothing", Intent::Verify),
    bind(&[Leave], &[Char('L')], "L", "stop and leave", "finish what is in flight, write, leave", Intent::StopAndLeave),
    bind(&[RetryBox], &[Char('R')], "R", "all causes", "retry every failed change", Intent::Retry),
    bind(&[RetryBox], &[Char('T')], "T", "this cause", "retry the changes with the selected cause", Intent::RetryCause),
    bind(&[RetryBox], &[Char('O')], "O", "only this", "retry the selected change alone", Intent::RetryOne),
    bind(&[Question], &[Enter], "enter", "answer", "give the answer, when all is typed", Intent::Answer),
    bind(&[Question], &[Tab], "tab", "next field", "go to the other field", Intent::NextField),
    bind(&[Question], &[F(6)], "F6", "window", "give the window another end (asks)", Intent::MoveWindow),
    bind(&[Question], &[F(1)], "F1", "help", "help for questions", Intent::Help),
    bind(&[Question, ShownGate], &[F(2)], "F2", "list", "what stands in the way, or every change", Intent::List),
    bind(&[Question], &[F(3)], "F3", "log", "the log", Intent::Log),
    bind(&[Question], &[F(4)], "F4", "explain", "every request the step makes", Intent::Explain),
    bind(&[Question], &[F(5)], "F5", "check again", "read the cluster again for the checks", Intent::Recheck),
    bind(
        &[Plan, Overview, Changes, Failure, Waiting, Resume],
        &[Enter],
        "enter",
        "open",
        "look deeper; never acts",
        Intent::Open,
    ),
    bind(&[Matrix], &[Enter], "enter", "cell", "the selected cell with its layers; unfolds a folded line", Intent::Open),
    bind(&[Log], &[End, Char('G')], "End", "follow", "to the newest line; the log follows again", Intent::Bottom),
    bind(&[Waiting], &[Char('c')], "c", "check again", "read the cluster again now", Intent::Recheck),
    bind(RUN, &[Char('P')], "P", "pause", "pause at the safe point, or go on", Intent::Pause),
    bind(
        &[Overview, Changes, Matrix, Cell, Failure],
        &[Char('R')],
        "R",
        "retry",
        "retry what failed; asks if there are more causes",
        Intent::Retry,
    ),
    bind(
        &[Changes, Matrix, Cell, Failure],
        &[Char('S')],
        "S",
        "skip",
        "leave out what failed, with a reason (asks)",
        Intent::Skip,
    ),
    bind(
        &[Overview, Failure, Waiting, Resume, EndPage],
        &[Char('B')],
        "B",
        "roll back",
        "roll back: shows the way back, then asks",
        Intent::RollBack,
    ),
    bind(&[Overview, Failure, Waiting], &[Char('A')], "A", "abort", "end the run for good, here (asks)", Intent::Abort),
    bind(&[Resume], &[Char('X')], "X", "close", "mark the run as abandoned; the cluster stays (asks)", Intent::Close),
    bind(RUN, &[Char('W')], "W", "window", "give the window another end, on purpose (asks)", Intent::MoveWindow),
    bind(&[Plan, Diff], &[Char(']')], "[ ]", "change", "next and previous change of the step", Intent::NextChange),
    bind(&[Plan, Diff], &[Char('[')], "", "", "previous change of the step", Intent::PreviousChange),
    bind(
        &[Overview, Changes, Cell, Failure, Waiting, Resume, EndPage, Page, Diff, ShownGate],
        &[Char('l')],
        "l",
        "log",
        "what happened, line by line",
        Intent::Log,
    ),
    bind(&[Matrix], &[Char('f')], "f", "failed only", "only what failed, and all again", Intent::FailedOnly),
    bind(&[Matrix], &[Char('t')], "t", "by image", "by agent, or by image", Intent::Turn),
    bind(&[Matrix], &[Char('z')], "z", "zoom", "one sign for each agent, and back", Intent::Zoom),
    bind(&[Matrix], &[Tab], "tab", "list", "the same changes as a list; tab comes back", Intent::OtherList),
    bind(LISTS, &[Char('/')], "/", "find", "find a word; !word leaves its lines out", Intent::Find),
    bind(LISTS, &[Char('n')], "n N", "next", "next and previous line with the word", Intent::FindNext),
    bind(LISTS, &[Char('N')], "", "", "previous line with the word", Intent::FindPrevious),
    bind(&[Log], &[Char('1')], "1-4", "level", "errors; and warnings; and what was done; everything", Intent::Level(1)),
    bind(&[Log], &[Char('2')], "", "", "errors and warnings", Intent::Level(2)),
    bind(&[Log], &[Char('3')], "", "", "and what was done", Intent::Level(3)),
    bind(&[Log], &[Char('4')], "", "", "everything", Intent::Level(4)),
    bind(&[Log, Diff], &[Char('w')], "w", "wrap", "break long lines, and cut them again", Intent::Wrap),
    bind(
        &[Plan, Overview, Changes, Cell, Failure, Resume],
        &[Char('d')],
        "d",
        "diff",
        "before and after, full screen",
        Intent::Diff,
    ),
    bind(STEPS, &[Char('x')], "x", "explain", "every request, its answer, how it is undone", Intent::Explain),
    bind(TAKES, &[Char('y')], "y", "copy", "copy what is selected: to a file and the clipboard", Intent::Copy),
    bind(&[Log], &[Char('s')], "s", "step", "only the step of this line, and all again", Intent::OneStep),
    bind(&[Log], &[Char('a')], "a", "agent", "only the place of this line, and all again", Intent::OneAgent),
    bind(
        &[Log, Diff, Page, Plan, Changes, EndPage],
        &[Char('o')],
        "o",
        "pager",
        "this page in $PAGER; the run goes on meanwhile",
        Intent::Pager,
    ),
    bind(&[Failure], &[Char('!')], "!", "shell", "a shell; the run waits", Intent::Shell),
    bind(&[Plan, Overview, EndPage], &[Char('i')], "i", "notes", "what to know, and to do by hand", Intent::Notes),
    bind(&[Plan, Overview, EndPage], &[Char('v')], "v", "ledger", "for every old name the proven new one", Intent::Ledger),
    bind(&[Changes], &[Char('f')], "f", "failed only", "only what failed, and all again", Intent::FailedOnly),
    bind(&[Changes], &[Tab], "tab", "matrix", "the same changes as a matrix of agents and images", Intent::OtherList),
    bind(&[Matrix], &[Char('l'), Right], "h l", "", "a column to the left or right", Intent::Right),
    bind(&[Matrix], &[Char('h'), Left], "", "", "a column to the left", Intent::Left),
    bind(WORDS, &[Char(':')], ":", "words", "every action by word", Intent::Palette),
    bind(LISTS, &[Char('j'), Down], "j k", "", "down and up", Intent::Down),
    bind(LISTS, &[Char('k'), Up], "", "", "up", Intent::Up),
    bind(LISTS, &[PageDown, Char(' ')], "PgDn PgUp", "", "a page down and up", Intent::PageDown),
    bind(LISTS, &[PageUp], "", "", "a page up", Intent::PageUp),
    bind(LISTS, &[Char('g'), Home], "g G", "", "to the top, to the bottom", Intent::Top),
    bind(
        &[Plan, Overview, Changes, Matrix, Cell, Page, Diff, Failure, Waiting, Resume, EndPage, Help],
        &[Char('G'), End],
        "",
        "",
        "to the bottom",
        Intent::Bottom,
    ),
    // Words without a key.
    bind(WORDS, &[], ":goto", "", "to a step by its number", Intent::Goto),
    bind(WORDS, &[], ":limit", "", "change a limit of the run, as in limit pulls=4 (asks)", Intent::Limit),
    bind(WORDS, &[], ":mouse", "", "the mouse for castoff, or for the terminal", Intent::Mouse),
    bind(WORDS, &[], ":still", "", "stop the ticking clock, or let it tick", Intent::Still),
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

/// The lines of the table that are words here, each word once.
pub fn words(place: Place) -> Vec<&'static Binding> {
    let mut out: Vec<&Binding> = vec![];
    for binding in here(place) {
        let hidden = matches!(binding.intent, Intent::Palette | Intent::Complete | Intent::Run);
        if !hidden && !out.iter().any(|other| other.intent.name() == binding.intent.name()) {
            out.push(binding);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Place; 18] = [
        Plan, Overview, Changes, Matrix, Cell, Page, Diff, Log, Failure, Waiting, Resume, EndPage, Help, Question, Leave,
        RetryBox, Palette, Find,
    ];

    #[test]
    fn no_key_means_two_things_in_one_place() {
        for place in ALL {
            let codes: Vec<KeyCode> = here(place).flat_map(|binding| binding.codes.iter().copied()).collect();
            for code in &codes {
                assert_eq!(codes.iter().filter(|c| *c == code).count(), 1, "{code:?} in {place:?}");
            }
        }
    }

    #[test]
    fn what_acts_is_a_capital() {
        // In a question letters go into the text: its F keys open another question, no more.
        for binding in TABLE.iter().filter(|binding| binding.intent.acts() && binding.places != [Question]) {
            let capital = |code: &KeyCode| matches!(code, Char(c) if c.is_ascii_uppercase());
            assert!(binding.codes.iter().all(capital), "{}", binding.help);
        }
    }

    #[test]
    fn every_key_has_a_word_and_every_word_is_one_thing() {
        for place in WORDS {
            let words = words(*place);
            for binding in here(*place).filter(|binding| binding.intent != Intent::Palette) {
                assert!(words.iter().any(|word| word.intent.name() == binding.intent.name()), "{}", binding.help);
            }
            for (alias, intent) in ALIASES {
                assert!(words.iter().all(|word| word.intent.name() != *alias), "{alias} is a word of its own");
                assert!(TABLE.iter().any(|binding| binding.intent == *intent), "{alias}");
            }
        }
    }
}
