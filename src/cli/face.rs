//! Which face a run shows: the terminal interface, plain lines, or none that asks.
//! Never takes a terminal that it cannot use, and says in one line why it was not taken.

use super::{Exit, Failure};
use clap::ValueEnum;
use std::io::IsTerminal;

/// The least that the terminal interface can be drawn in.
const LEAST: (u16, u16) = (60, 16);

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Ui {
    /// The terminal interface where the terminal can show it, else plain; without a terminal: headless
    Auto,
    /// The terminal interface
    Tui,
    /// Plain lines that ask, for screen readers, dumb terminals and slow links
    Plain,
    /// Lines that ask nothing: gates are answered ahead, or the run stops there
    Headless,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Face {
    Tui,
    Plain,
    Headless,
}

/// What is known of the terminal.
#[derive(Clone, Debug)]
struct Seen {
    /// Standard input and output are terminals.
    terminals: bool,
    /// `TERM`.
    term: String,
    /// Columns and rows; `None` if the terminal does not say.
    size: Option<(u16, u16)>,
    foreground: bool,
}

/// The face that fits, with a line on standard error where that is not the one a terminal usually gets.
pub fn choose(ui: Ui) -> Result<Face, Failure> {
    let (face, why) = decide(ui, &look())
        .map_err(|why| Failure::new(Exit::Usage, why).hint("--ui plain asks on plain lines, --ui headless asks nothing"))?;
    if let Some(why) = why {
        use std::io::Write;
        let _ = writeln!(std::io::stderr(), "plain lines, because {why}");
    }
    Ok(face)
}

/// The face that fits, if there is one; says nothing.
pub fn fitting(ui: Ui) -> Option<Face> {
    decide(ui, &look()).ok().map(|(face, _)| face)
}

fn look() -> Seen {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok().filter(|size| size.ws_col > 0 && size.ws_row > 0);
    let group = rustix::termios::tcgetpgrp(std::io::stdin());
    Seen {
        terminals: std::io::stdin().is_terminal() && std::io::stdout().is_terminal(),
        term: std::env::var("TERM").unwrap_or_default(),
        size: size.map(|size| (size.ws_col, size.ws_row)),
        foreground: group.is_ok_and(|group| group == rustix::process::getpgrp()),
    }
}

/// The face, and why plain was taken though nobody asked for it.
fn decide(ui: Ui, seen: &Seen) -> Result<(Face, Option<String>), String> {
    match ui {
        Ui::Headless => Ok((Face::Headless, None)),
        Ui::Plain => Ok((Face::Plain, None)),
        Ui::Tui if !seen.terminals => Err("the terminal interface needs a terminal as standard input and output".to_owned()),
        Ui::Tui => Ok((Face::Tui, None)),
        Ui::Auto if !seen.terminals => Ok((Face::Headless, None)),
        Ui::Auto => Ok(match cannot(seen) {
            None => (Face::Tui, None),
            why => (Face::Plain, why),
        }),
    }
}

/// Why a terminal cannot show the terminal interface.
fn cannot(seen: &Seen) -> Option<String> {
    let (columns, rows) = LEAST;
    match (seen.term.as_str(), seen.size) {
        ("dumb" | "", _) => Some(format!("TERM is `{}`", crate::model::text::clean(&seen.term))),
        (_, Some((c, r))) if c < columns || r < rows => {
            Some(format!("the terminal is {c}x{r} and the terminal interface needs {columns}x{rows}"))
        }
        _ if !seen.foreground => Some("castoff runs in the background of this terminal".to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen() -> Seen {
        Seen { terminals: true, term: "xterm".to_owned(), size: Some((80, 24)), foreground: true }
    }

    fn check(ui: Ui, seen: &Seen, expected: Face, why: &str) {
        let (face, said) = decide(ui, seen).unwrap();
        assert_eq!(face, expected, "{seen:?}");
        assert!(said.as_deref().unwrap_or_default().contains(why) && said.is_some() != why.is_empty(), "{said:?}");
    }

    #[test]
    fn the_face_fits_the_terminal() {
        check(Ui::Auto, &seen(), Face::Tui, "");
        check(Ui::Auto, &Seen { size: None, ..seen() }, Face::Tui, "");
        check(Ui::Auto, &Seen { size: Some((60, 16)), ..seen() }, Face::Tui, "");
        check(Ui::Auto, &Seen { size: Some((50, 10)), ..seen() }, Face::Plain, "is 50x10 and the terminal interface needs 60x16");
        check(Ui::Auto, &Seen { size: Some((120, 15)), ..seen() }, Face::Plain, "120x15");
        check(Ui::Auto, &Seen { term: "dumb".to_owned(), ..seen() }, Face::Plain, "TERM is `dumb`");
        check(Ui::Auto, &Seen { foreground: false, ..seen() }, Face::Plain, "in the background");
        check(Ui::Auto, &Seen { terminals: false, ..seen() }, Face::Headless, "");
        check(Ui::Plain, &Seen { terminals: false, ..seen() }, Face::Plain, "");
        check(Ui::Tui, &Seen { size: Some((50, 10)), ..seen() }, Face::Tui, "");
        check(Ui::Headless, &seen(), Face::Headless, "");
        assert!(decide(Ui::Tui, &Seen { terminals: false, ..seen() }).is_err());
    }
}
