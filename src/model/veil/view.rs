//! A text as its reader sees it: characters with their escapes undone, and where strings and comments stand.
//! It never judges whether the text is well-formed.

use std::ops::Range;

/// The characters of a text, `\/` and `\u0041` undone. Escaped quotes, backslashes and control characters stay as they
/// are written, so that strings end where they end.
pub(super) struct View {
    pub chars: Vec<char>,
    /// Where each begins in bytes; one more for the end.
    pub at: Vec<usize>,
}

impl View {
    pub fn of(text: &str) -> Self {
        let (mut chars, mut at) = (vec![], vec![]);
        let mut rest = text.char_indices();
        while let Some((start, c)) = rest.next() {
            let tail = rest.as_str();
            let (shown, length) = match c {
                '\\' if tail.starts_with('/') => ('/', 1),
                '\\' if tail.starts_with('u') => (digits(tail, 4).unwrap_or(c), 5),
                '\\' if tail.starts_with('U') => (digits(tail, 8).unwrap_or(c), 9),
                other => (other, 0),
            };
            chars.push(shown);
            at.push(start);
            if c != '\\' {
                continue;
            }
            if shown != '\\' {
                rest.nth(length - 1);
            } else if let Some((start, second)) = rest.next() {
                // A pair: what follows a backslash begins nothing of its own.
                chars.push(second);
                at.push(start);
            }
        }
        at.push(text.len());
        Self { chars, at }
    }

    pub fn bytes(&self, range: &Range<usize>) -> Range<usize> {
        self.at[range.start]..self.at[range.end]
    }
}

fn digits(tail: &str, count: usize) -> Option<char> {
    let hex = tail.get(1..=count)?;
    let c = char::from_u32(u32::from_str_radix(hex, 16).ok()?)?;
    (hex.bytes().all(|byte| byte.is_ascii_hexdigit()) && !matches!(c, '"' | '\'' | '\\') && !c.is_control()).then_some(c)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Double,
    Single,
    Comment,
}

/// Strings (what is between their quotes) and `#` comments, as JSON and TOML have them. A string of one line that is
/// not closed ends with its line.
pub(super) fn spans(chars: &[char]) -> Vec<(Range<usize>, Kind)> {
    let mut out = vec![];
    let mut i = 0;
    while i < chars.len() {
        match chars[i] {
            '#' => {
                let end = line_end(chars, i);
                out.push((i..end, Kind::Comment));
                i = end;
            }
            quote @ ('"' | '\'') => {
                let kind = if quote == '"' { Kind::Double } else { Kind::Single };
                let (inner, after) = string(chars, i, true);
                out.push((inner, kind));
                i = after;
            }
            _ => i += 1,
        }
    }
    out
}

/// The strings of a text in bytes.
pub(super) fn quoted(text: &str) -> Vec<(Range<usize>, Kind)> {
    let view = View::of(text);
    let strings = spans(&view.chars).into_iter().filter(|(_, kind)| *kind != Kind::Comment);
    strings.map(|(span, kind)| (view.bytes(&span), kind)).collect()
}

/// The string whose quote stands at `start`: what is inside, and where it goes on behind it.
/// `by_line`: an unclosed one ends with its line, else with the text.
pub(super) fn string(chars: &[char], start: usize, by_line: bool) -> (Range<usize>, usize) {
    let quote = chars[start];
    let is = |i: usize| chars.get(i) == Some(&quote);
    let long = is(start + 1) && is(start + 2);
    let inner = start + if long { 3 } else { 1 };
    let mut i = inner;
    while i < chars.len() {
        match chars[i] {
            '\\' if quote == '"' => i += 1,
            '\n' if by_line && !long => return (inner..i, i),
            c if c == quote && !long => return (inner..i, i + 1),
            c if c == quote && is(i + 1) && is(i + 2) => {
                // Up to two quotes may stand before the three that close.
                let more = (3..5).take_while(|n| is(i + n)).count();
                return (inner..i + more, i + more + 3);
            }
            _ => {}
        }
        i += 1;
    }
    (inner.min(chars.len())..chars.len(), chars.len())
}

pub(super) fn line_end(chars: &[char], from: usize) -> usize {
    chars[from..].iter().position(|c| *c == '\n').map_or(chars.len(), |n| from + n)
}
