//! Styles and signs by meaning: what a thing says decides how it looks.
//! Never sets a background other than reverse, and never blue, white or black: the terminal's own colours stay readable.

use jiff::tz::TimeZone;
use ratatui::style::{Color, Modifier, Style};

/// How this terminal is drawn upon: with colours or without, in ASCII or not, and in whose time.
#[derive(Clone, Debug)]
pub struct Look {
    pub mono: bool,
    /// Done and failed are told apart by cyan and reversed magenta, not by green and red.
    pub colorblind: bool,
    pub ascii: bool,
    pub zone: TimeZone,
}

impl Look {
    /// Reads `CASTOFF_COLOR`, `NO_COLOR`, `CLICOLOR`, `CLICOLOR_FORCE`, `TERM` and the locale, in this order of weight.
    /// `ascii` and `color` are what the command line asked for; `None` leaves it to the environment.
    pub fn from_environment(variable: impl Fn(&str) -> Option<String>, ascii: bool, color: Option<bool>) -> Self {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let term = set("TERM").unwrap_or_default();
        let of_castoff = set("CASTOFF_COLOR").and_then(|value| match value.as_str() {
            "always" => Some(true),
            "never" => Some(false),
            _ => None,
        });
        let of_others = || match (set("NO_COLOR"), set("CLICOLOR"), set("CLICOLOR_FORCE")) {
            (Some(_), _, _) => false,
            (None, _, Some(force)) if force != "0" => true,
            (None, Some(cli), _) if cli == "0" => false,
            _ => term != "dumb",
        };
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set).unwrap_or_default().to_lowercase();
        let utf8 = locale.contains("utf-8") || locale.contains("utf8");
        Self {
            mono: !color.or(of_castoff).unwrap_or_else(of_others),
            colorblind: false,
            ascii: ascii || !utf8 || matches!(term.as_str(), "linux" | "dumb"),
            zone: TimeZone::system(),
        }
    }

    pub fn style(&self, tone: Tone) -> Style {
        match (self.mono, self.colorblind) {
            (true, _) => tone.mono(),
            (false, true) => tone.colorblind(),
            (false, false) => tone.colored(),
        }
    }

    pub fn sign(&self, face: Face) -> &'static str {
        let (utf8, ascii) = face.signs();
        if self.ascii { ascii } else { utf8 }
    }

    /// Wall clock time in the operator's zone: `02:14:32`.
    pub fn clock(&self, at_ms: i64) -> String {
        self.format(at_ms, "%H:%M:%S")
    }

    /// With milliseconds: `02:14:32.310`.
    pub fn clock_with_ms(&self, at_ms: i64) -> String {
        self.format(at_ms, "%H:%M:%S%.3f")
    }

    /// Wall clock time with the zone's name, said once a page: `02:14:32 KST`.
    pub fn clock_with_zone(&self, at_ms: i64) -> String {
        self.format(at_ms, "%H:%M:%S %Z")
    }

    /// Hours and minutes: `02:14`.
    pub fn minute(&self, at_ms: i64) -> String {
        self.format(at_ms, "%H:%M")
    }

    /// The zone's short name at that time: `KST`.
    pub fn zone_name(&self, at_ms: i64) -> String {
        self.format(at_ms, "%Z")
    }

    fn format(&self, at_ms: i64, how: &str) -> String {
        jiff::Timestamp::from_millisecond(at_ms)
            .map(|at| at.to_zoned(self.zone.clone()).strftime(how).to_string())
            .unwrap_or_default()
    }
}

/// What a piece of text means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    Plain,
    Dim,
    Strong,
    NeedsYou,
    Running,
    Waiting,
    Paused,
    Done,
    Already,
    Warning,
    Failed,
    Unknown,
    Undone,
    Selected,
    Added,
    Removed,
}

impl Tone {
    fn colored(self) -> Style {
        let style = Style::new();
        match self {
            Self::Plain => style,
            Self::Dim => style.add_modifier(Modifier::DIM),
            Self::Strong => style.add_modifier(Modifier::BOLD),
            Self::NeedsYou => style.fg(Color::Magenta).add_modifier(Modifier::BOLD),
            Self::Running => style.fg(Color::Cyan).add_modifier(Modifier::BOLD),
            Self::Waiting => style.fg(Color::Yellow),
            Self::Paused | Self::Warning => style.fg(Color::Yellow).add_modifier(Modifier::BOLD),
            Self::Done => style.fg(Color::Green),
            Self::Already => style.fg(Color::Green).add_modifier(Modifier::DIM),
            Self::Failed => style.fg(Color::Red).add_modifier(Modifier::BOLD),
            Self::Unknown => style.fg(Color::Magenta).add_modifier(Modifier::REVERSED),
            Self::Undone => style.fg(Color::Magenta),
            Self::Selected => style.add_modifier(Modifier::REVERSED),
            Self::Added => style.fg(Color::Cyan),
            Self::Removed => style.fg(Color::Red),
        }
    }

    /// Without red and green, which many people see as one.
    fn colorblind(self) -> Style {
        let style = Style::new();
        match self {
            Self::Done => style.fg(Color::Cyan),
            Self::Already => style.fg(Color::Cyan).add_modifier(Modifier::DIM),
            Self::Failed => style.fg(Color::Magenta).add_modifier(Modifier::BOLD | Modifier::REVERSED),
            // Unknown is told from failed by its sign and word, and by not being bold.
            Self::Running | Self::Added => style.add_modifier(Modifier::BOLD),
            Self::Removed => style.fg(Color::Magenta),
            other => other.colored(),
        }
    }

    /// Without a single colour: a colour command under NO_COLOR would wipe bold and reverse.
    fn mono(self) -> Style {
        let style = Style::new();
        match self {
            Self::Plain | Self::Waiting | Self::Done | Self::Added | Self::Removed => style,
            Self::Dim | Self::Already => style.add_modifier(Modifier::DIM),
            Self::Strong | Self::Running | Self::Warning => style.add_modifier(Modifier::BOLD),
            Self::NeedsYou => style.add_modifier(Modifier::BOLD | Modifier::UNDERLINED),
            Self::Paused | Self::Undone => style.add_modifier(Modifier::UNDERLINED),
            Self::Failed => style.add_modifier(Modifier::BOLD | Modifier::REVERSED),
            Self::Unknown | Self::Selected => style.add_modifier(Modifier::REVERSED),
        }
    }
}

/// Where a step or a change is in its life, as a person sees it. Always shown as a sign and a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Face {
    ToDo,
    NeedsYou,
    Running,
    Waiting,
    Stalled,
    Paused,
    Done,
    Already,
    Warning,
    Failed,
    Unknown,
    Skipped,
    Undone,
    NotRun,
}

impl Face {
    pub fn tone(self) -> Tone {
        match self {
            Self::ToDo | Self::Skipped | Self::NotRun => Tone::Dim,
            Self::NeedsYou => Tone::NeedsYou,
            Self::Running => Tone::Running,
            Self::Waiting => Tone::Waiting,
            Self::Stalled | Self::Warning => Tone::Warning,
            Self::Paused => Tone::Paused,
            Self::Done => Tone::Done,
            Self::Already => Tone::Already,
            Self::Failed => Tone::Failed,
            Self::Unknown => Tone::Unknown,
            Self::Undone => Tone::Undone,
        }
    }

    /// One column on every terminal, East Asian ones too; ASCII beside it.
    fn signs(self) -> (&'static str, &'static str) {
        match self {
            Self::ToDo => (".", "."),
            Self::NeedsYou => ("#", "#"),
            Self::Running => ("»", ">"),
            Self::Waiting | Self::Stalled => ("~", "~"),
            Self::Paused => ("\"", "\""),
            Self::Done | Self::Already => ("✔", "+"),
            Self::Warning => ("!", "!"),
            Self::Failed => ("✘", "x"),
            Self::Unknown => ("?", "?"),
            Self::Skipped => ("-", "-"),
            Self::Undone => ("u", "u"),
            Self::NotRun => (" ", " "),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(variables: &[(&str, &str)], mono: bool, ascii: bool) {
        let variable = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
        let look = Look::from_environment(variable, false, None);
        assert_eq!((look.mono, look.ascii), (mono, ascii), "{variables:?}");
    }

    #[test]
    fn the_environment_decides_the_look() {
        check(&[("LANG", "ko_KR.UTF-8"), ("TERM", "xterm")], false, false);
        check(&[("LANG", "ko_KR.UTF-8"), ("LC_ALL", "C")], false, true);
        check(&[("LANG", "C.utf8"), ("NO_COLOR", "1")], true, false);
        check(&[("LANG", "C.utf8"), ("NO_COLOR", "")], false, false);
        check(&[("LANG", "C.utf8"), ("NO_COLOR", "1"), ("CASTOFF_COLOR", "always")], false, false);
        check(&[("LANG", "C.utf8"), ("CLICOLOR", "0")], true, false);
        check(&[("LANG", "C.utf8"), ("CLICOLOR", "0"), ("CLICOLOR_FORCE", "1")], false, false);
        check(&[("TERM", "dumb"), ("LANG", "C.utf8")], true, true);
        check(&[("TERM", "linux"), ("LANG", "C.utf8")], false, true);
    }

    #[test]
    fn every_sign_is_one_column_in_east_asia_too() {
        use Face::{
            Already, Done, Failed, NeedsYou, NotRun, Paused, Running, Skipped, Stalled, ToDo, Undone, Unknown, Waiting, Warning,
        };
        use unicode_width::UnicodeWidthStr;
        let all =
            [ToDo, NeedsYou, Running, Waiting, Stalled, Paused, Done, Already, Warning, Failed, Unknown, Skipped, Undone, NotRun];
        for face in all {
            let (utf8, ascii) = face.signs();
            assert_eq!((utf8.width(), utf8.width_cjk()), (1, 1), "{face:?}");
            assert!(ascii.is_ascii() && ascii.len() == 1, "{face:?}");
        }
    }

    #[test]
    fn no_palette_uses_blue_white_black_or_a_background() {
        let tones = [
            Tone::Plain,
            Tone::Dim,
            Tone::Strong,
            Tone::NeedsYou,
            Tone::Running,
            Tone::Waiting,
            Tone::Paused,
            Tone::Done,
            Tone::Already,
            Tone::Warning,
            Tone::Failed,
            Tone::Unknown,
            Tone::Undone,
            Tone::Selected,
            Tone::Added,
            Tone::Removed,
        ];
        let good = [None, Some(Color::Red), Some(Color::Green), Some(Color::Yellow), Some(Color::Magenta), Some(Color::Cyan)];
        for style in tones.iter().flat_map(|tone| [tone.colored(), tone.colorblind(), tone.mono()]) {
            assert!(good.contains(&style.fg) && style.bg.is_none(), "{style:?}");
        }
        for tone in tones {
            assert!(!matches!(tone.colorblind().fg, Some(Color::Red | Color::Green)), "{tone:?}");
        }
    }

    #[test]
    fn mono_holds_no_color() {
        for tone in [Tone::NeedsYou, Tone::Failed, Tone::Done, Tone::Selected, Tone::Warning, Tone::Unknown, Tone::Added] {
            let style = tone.mono();
            assert_eq!((style.fg, style.bg), (None, None), "{tone:?}");
        }
    }
}
