//! A mistake in a file that a person wrote, with its place: file, line, column, the line itself and a hint.

use std::fmt;

/// In a longer line nobody finds the place by a mark below it; its number tells.
const MOST_COLUMNS: usize = 400;

/// Rendered as rustc does it, so that the eye knows where to look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Path of the file, or what stands for it.
    pub origin: String,
    /// From 1; 0 where the place is not known.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// Characters to underline; at least 1.
    pub width: usize,
    pub source_line: String,
    pub message: String,
    pub hint: Option<String>,
}

impl Mistake {
    /// The mistake that begins at byte `start` of `text` and ends before `end`.
    pub fn at(origin: &str, text: &str, start: usize, end: usize, message: impl Into<String>) -> Self {
        let start = text.floor_char_boundary(start.min(text.len()));
        let end = text.floor_char_boundary(end.clamp(start, text.len()));
        let line_start = text[..start].rfind('\n').map_or(0, |i| i + 1);
        let source_line = text[line_start..].lines().next().unwrap_or("");
        let width = text[start..end].lines().next().unwrap_or("").chars().count().max(1);
        Self {
            origin: origin.to_owned(),
            line: text[..line_start].matches('\n').count() + 1,
            column: text[line_start..start].chars().count() + 1,
            width,
            source_line: super::text::clean(source_line),
            message: super::text::clean(&message.into()),
            hint: None,
        }
    }

    /// A mistake that belongs to the whole file.
    pub fn of_file(origin: &str, message: impl Into<String>) -> Self {
        let (source_line, message) = (String::new(), super::text::clean(&message.into()));
        Self { origin: origin.to_owned(), line: 0, column: 0, width: 1, source_line, message, hint: None }
    }

    /// What the TOML reader found wrong.
    pub fn of_toml(origin: &str, text: &str, error: &toml::de::Error) -> Self {
        let mistake = match error.span() {
            Some(span) => Self::at(origin, text, span.start, span.end, error.message()),
            None => Self::of_file(origin, error.message()),
        };
        match meant(error.message()) {
            Some(word) => mistake.hint(format!("did you mean `{word}`?")),
            None => mistake,
        }
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(super::text::page(&hint.into()));
        self
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.message)?;
        if self.line == 0 {
            write!(f, "  --> {}", super::text::clean(&self.origin))?;
        } else {
            let gutter = " ".repeat(self.line.to_string().len());
            let underline = "^".repeat(self.width.min(MOST_COLUMNS));
            writeln!(f, "{gutter} --> {}:{}:{}", super::text::clean(&self.origin), self.line, self.column)?;
            writeln!(f, "{gutter} |")?;
            writeln!(f, "{} | {}", self.line, self.source_line)?;
            if self.column <= MOST_COLUMNS {
                write!(f, "{gutter} | {}{underline}", " ".repeat(self.column - 1))?;
            }
        }
        match &self.hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Mistake {}

/// The allowed name that is nearest to the one that was written, out of the parser's own sentence:
/// "unknown field `endpoint`, expected one of `endpoints`, `namespace`".
pub fn meant(message: &str) -> Option<&str> {
    if !message.starts_with("unknown") {
        return None;
    }
    let mut words = message.split('`').skip(1).step_by(2);
    let written = words.next()?;
    let nearest = words.map(|word| (distance(written, word), word)).min()?;
    (nearest.0 <= written.len().div_ceil(3)).then_some(nearest.1)
}

/// How many letters must be added, taken or changed.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}
