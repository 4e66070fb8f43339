//! The words that can be typed: one table, from which a line is read and the list of words possible now is printed.
//! Never takes an empty line, a part of a word or a near miss for a word.

use crate::model::{LimitChange, limits::BadLimit};

/// Where the conversation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Plan,
    Resume,
    Running,
    /// A gate whose checks do not hold yet.
    Waiting,
    /// A gate that asks for its sentence.
    Gate,
    /// A canary that is done and asks for its sentence.
    Canary,
    /// A gate that was put off.
    PutOff,
    Paused,
    Failed,
    Stuck,
    /// A reason or a name is asked for.
    Asked,
    Leaving,
}

/// What a line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    Execute,
    Continue,
    /// Look at the cluster again before going on.
    Verify,
    GoOn,
    Pause,
    /// Which cause, from 1.
    Retry(Option<usize>),
    Skip(Option<usize>, String),
    /// Which step, from 1.
    RollBack(Option<usize>),
    Abort,
    NotNow,
    Ask,
    Check,
    Limit(LimitChange),
    /// Another end of the window, as it is typed.
    Window(String),
    Stop,
    StopNow,
    Status,
    Why,
    Help,
}

/// One line of the table.
struct Row {
    word: &'static str,
    /// How it is typed.
    form: &'static str,
    help: &'static str,
    places: &'static [Place],
}

use Place::{Asked, Canary, Failed, Gate, Leaving, Paused, Plan, PutOff, Resume, Running, Stuck, Waiting};

const RUN: &[Place] = &[Running, Waiting, Gate, Canary, PutOff, Paused, Failed, Resume];
const ALL: &[Place] = &[Plan, Resume, Running, Waiting, Gate, Canary, PutOff, Paused, Failed, Stuck, Asked, Leaving];

const TABLE: &[Row] = &[
    row("execute", "execute", "begin the run; each gate asks before its step", &[Plan]),
    row("continue", "continue", "go on where the run was", &[Resume]),
    row("verify", "verify", "look at the cluster again; changes nothing", &[Resume]),
    row("go on", "go on", "end the pause", &[Paused]),
    row("retry", "retry [CAUSE]", "try what failed again; each change is looked at first", &[Failed, Stuck]),
    row("skip", "skip [CAUSE] REASON", "leave out what failed; it is told at the end as left to do", &[Failed, Stuck]),
    row("ask", "ask", "ask the question of the gate again", &[PutOff]),
    row("check", "check", "read the cluster again for the checks of the gate", &[Waiting, Gate]),
    row("pause", "pause", "finish what is in flight, begin nothing new", &[Running, Waiting]),
    row("pause", "pause", "leave it as it is; castoff resume takes it up again", &[Failed]),
    row("not now", "not now", "close the question; nothing is done", &[Gate, Canary, Asked]),
    row("roll back", "roll back [STEP]", "undo what this run has done, down to that step; shows the way back, then asks", RUN),
    row(
        "abort",
        "abort",
        "end the run for good, here; asks first",
        &[Waiting, Gate, Canary, PutOff, Paused, Failed, Stuck, Resume],
    ),
    row("limit", "limit NAME=NUMBER", "change a limit: pulls, hosts, registry, requests, total", &[Running, Waiting, Paused]),
    row(
        "window",
        "window END",
        "give the window another end, on purpose, as in window 04:30",
        &[Running, Waiting, PutOff, Paused],
    ),
    row("stop", "stop", "finish what is in flight, then leave; castoff resume goes on", &[Running]),
    row("stop now", "stop now", "leave at once; what is in flight is looked up on resume", &[Leaving]),
    row("leave", "leave", "leave; nothing has been begun", &[Plan]),
    row(
        "leave",
        "leave",
        "leave; castoff resume goes on from here",
        &[Resume, Waiting, Gate, Canary, PutOff, Paused, Failed, Stuck],
    ),
    row("status", "status", "how every step stands", ALL),
    row("why", "why", "what goes on now and what it waits for", ALL),
    row("help", "help", "these words", ALL),
];

const fn row(word: &'static str, form: &'static str, help: &'static str, places: &'static [Place]) -> Row {
    Row { word, form, help, places }
}

/// The words possible here, one a line: how each is typed and what it does.
pub fn list(place: Place) -> Vec<String> {
    here(place).map(|row| format!("  {:<20} {}", row.form, row.help)).collect()
}

/// The words possible here, in one line.
pub fn short(place: Place) -> String {
    here(place).map(|row| row.form).collect::<Vec<_>>().join(", ")
}

fn here(place: Place) -> impl Iterator<Item = &'static Row> {
    TABLE.iter().filter(move |row| row.places.contains(&place))
}

/// The word of a line, if it is one and possible here; otherwise why not.
pub fn read(line: &str, place: Place) -> Result<Word, String> {
    // The longest first: `stop now` is not `stop` with something behind it.
    let mut known: Vec<&str> = TABLE.iter().map(|row| row.word).collect();
    known.sort_by_key(|word| std::cmp::Reverse(word.len()));
    let starts = |word: &&&str| {
        let head = line.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word));
        head && line[word.len()..].chars().next().is_none_or(char::is_whitespace)
    };
    let not_here = |word: &str| format!("`{word}` is of no use now; possible words: {}", short(place));
    let Some(word) = known.iter().find(starts).copied() else {
        return Err(format!("`{line}` is no word here; possible words: {}", short(place)));
    };
    // Leaving and stopping are the same safe stop; whoever types one for the other means it.
    let twin = |row: &Row| matches!((word, row.word), ("leave", "stop") | ("stop", "leave"));
    if !here(place).any(|row| row.word == word || twin(row)) {
        return Err(not_here(word));
    }
    let rest = line[word.len()..].trim();
    let alone = |out: Word| if rest.is_empty() { Ok(out) } else { Err(format!("`{word}` stands alone: `{rest}` is too much")) };
    match word {
        "execute" => alone(Word::Execute),
        "continue" => alone(Word::Continue),
        "verify" => alone(Word::Verify),
        "go on" => alone(Word::GoOn),
        "pause" => alone(Word::Pause),
        "retry" => number(rest).map(Word::Retry),
        "skip" => {
            let (first, reason) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
            match first.parse::<usize>() {
                Ok(cause) => Ok(Word::Skip(Some(cause), reason.trim().to_owned())),
                Err(_) => Ok(Word::Skip(None, rest.to_owned())),
            }
        }
        "roll back" => number(rest).map(Word::RollBack),
        "abort" => alone(Word::Abort),
        "not now" => alone(Word::NotNow),
        "ask" => alone(Word::Ask),
        "check" => alone(Word::Check),
        "limit" => rest.parse().map(Word::Limit).map_err(|error: BadLimit| error.to_string()),
        "window" => Ok(Word::Window(rest.to_owned())),
        "stop" | "leave" => alone(Word::Stop),
        "stop now" => alone(Word::StopNow),
        "status" => alone(Word::Status),
        "why" => alone(Word::Why),
        _ => alone(Word::Help),
    }
}

fn number(rest: &str) -> Result<Option<usize>, String> {
    match rest {
        "" => Ok(None),
        digits => digits.parse().map(Some).map_err(|_| format!("`{digits}` is not a number")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, place: Place, expected: Result<Word, &str>) {
        let got = read(line, place);
        match (&got, &expected) {
            (Err(why), Err(part)) => assert!(why.contains(part), "{line}: {why}"),
            _ => assert_eq!(got, expected.map_err(str::to_owned), "{line}"),
        }
    }

    #[test]
    fn a_line_is_a_word_or_the_list_of_words() {
        check("execute", Plan, Ok(Word::Execute));
        check("Execute", Plan, Ok(Word::Execute));
        check("exec", Plan, Err("`exec` is no word here; possible words: execute, "));
        check("executed", Plan, Err("no word here"));
        check("execute now", Plan, Err("stands alone"));
        check("execute", Running, Err("`execute` is of no use now; possible words: pause, "));
        check("stop now", Leaving, Ok(Word::StopNow));
        check("stop now", Running, Err("of no use now"));
        check("leave", Running, Ok(Word::Stop));
        check("stop", Failed, Ok(Word::Stop));
        check("retry", Failed, Ok(Word::Retry(None)));
        check("retry 2", Failed, Ok(Word::Retry(Some(2))));
        check("retry two", Failed, Err("`two` is not a number"));
        check("skip retired image", Failed, Ok(Word::Skip(None, "retired image".to_owned())));
        check("skip 2 retired image", Failed, Ok(Word::Skip(Some(2), "retired image".to_owned())));
        check("limit pulls=4", Running, Ok(Word::Limit("pulls=4".parse().unwrap())));
        check("limit pulls", Running, Err("NAME=NUMBER"));
        check("window 04:30", Waiting, Ok(Word::Window("04:30".to_owned())));
        check("roll back 3", Gate, Ok(Word::RollBack(Some(3))));
        check("yes", Running, Err("`yes` is no word here"));
        check("é", Running, Err("no word here"));
    }

    #[test]
    fn every_place_has_a_way_out_and_help() {
        for place in ALL {
            assert!(short(*place).contains("help"), "{place:?}");
            let out = ["leave", "stop", "not now"].iter().any(|word| short(*place).contains(word));
            assert!(out, "{place:?}: {}", short(*place));
        }
    }
}
