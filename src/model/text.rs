//! Words and numbers for people: one place for plurals, sizes, durations, and for making foreign text harmless.

use std::fmt::Write;

/// `1 image`, `2 images`, `1 204 keys`: real plurals, thin groups.
pub fn count(n: u64, noun: &str) -> String {
    let plural = match noun {
        _ if n == 1 => noun.to_owned(),
        "alias" => "aliases".to_owned(),
        "registry" => "registries".to_owned(),
        "entry" => "entries".to_owned(),
        _ => format!("{noun}s"),
    };
    format!("{} {plural}", number(n))
}

/// `5212` as `5 212`.
pub fn number(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(c);
    }
    out
}

/// SI sizes with two or three figures: `0 B`, `512 kB`, `6.2 GB`.
pub fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if n < 1000 {
        return format!("{n} B");
    }
    let mut value = n as f64 / 1000.0;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if value < 9.95 { format!("{value:.1} {}", UNITS[unit]) } else { format!("{value:.0} {}", UNITS[unit]) }
}

/// `0:41`, `14:07`, `1 h 5 min`.
pub fn duration(ms: i64) -> String {
    let s = ms.max(0) / 1000;
    if s < 3600 { format!("{}:{:02}", s / 60, s % 60) } else { format!("{} h {} min", s / 3600, s % 3600 / 60) }
}

/// `4 s`, `12 min`, `3 h 12 min`: an age as it is said.
pub fn age(ms: i64) -> String {
    let s = ms.max(0) / 1000;
    match s {
        0..=119 => format!("{s} s"),
        120..=7199 => format!("{} min", s / 60),
        7200..=172_799 => format!("{} h {} min", s / 3600, s % 3600 / 60),
        _ => format!("{} days", s / 86_400),
    }
}

/// The longest text from outside that is shown or kept, in characters.
const LONGEST: usize = 2000;
/// The longest line of a page: castoff's own words around several of them.
const LONGEST_LINE: usize = 20_000;
/// Marks that may stand on one letter: more would climb over the lines above.
const MARKS: usize = 3;

/// Whether a character may not reach a terminal, a report or a log: it controls, it turns the direction of what is
/// written, or it cannot be seen.
pub fn harmful(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{8e2}'
            | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{fffe}' | '\u{ffff}'
            | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1345f}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// Text from outside, harmless on a terminal: control characters, escape sequences, invisible characters and those that
/// turn the direction are taken out, line breaks become spaces, and a long text is cut and says so. Cleaning twice
/// changes nothing.
pub fn clean(text: &str) -> String {
    trimmed(clean_to(text, LONGEST))
}

fn trimmed(mut text: String) -> String {
    text.truncate(text.trim_end().len());
    text
}

fn clean_to(text: &str, longest: usize) -> String {
    if text.len() <= longest && text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut characters = text.chars().peekable();
    let mut marks = 0;
    while let Some(c) = characters.next() {
        match c {
            '\u{1b}' => skip_escape(&mut characters),
            // The eight-bit beginnings of the same sequences.
            '\u{9b}' => skip_parameters(&mut characters),
            '\u{90}' | '\u{98}' | '\u{9d}'..='\u{9f}' => skip_string(&mut characters),
            '\n' | '\r' | '\t' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}' => {
                if !out.ends_with(' ') {
                    out.push(' ');
                }
                marks = 0;
            }
            c if harmful(c) => {}
            c if !c.is_ascii() && unicode_width::UnicodeWidthChar::width(c) == Some(0) => {
                marks += 1;
                if marks <= MARKS {
                    out.push(c);
                }
            }
            c => {
                out.push(c);
                marks = 0;
            }
        }
    }
    cut(out, longest)
}

/// A text of several lines: each is cleaned, and the line breaks stay.
pub fn page(text: &str) -> String {
    let lines: Vec<String> = text.split('\n').map(|line| trimmed(clean_line(line))).collect();
    lines.join("\n")
}

/// One line, as long as a line of a page may be; spaces at its end stay.
pub fn clean_line(text: &str) -> String {
    clean_to(text, LONGEST_LINE)
}

/// A word that a shell takes as it stands.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:@,%".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

/// Whether cleaning would change nothing: only such a name may be acted on.
pub fn is_clean(text: &str) -> bool {
    clean(text) == text
}

/// A JSON text in which nothing stands raw that a terminal must not see: written as escapes, which mean the same.
pub fn json(text: &str) -> String {
    let raw = |c: char| harmful(c) && c != '\n';
    if text.is_ascii() && !text.contains('\u{7f}') {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if raw(c) {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
    }
    out
}

/// Ends a long text with how long it was.
fn cut(text: String, longest: usize) -> String {
    let n = text.chars().count();
    if n <= longest {
        return text;
    }
    let told = format!(" .. (cut, {} characters in all)", number(n as u64));
    let kept: String = text.chars().take(longest - told.chars().count()).collect();
    kept.trim_end().to_owned() + &told
}

type Characters<'a> = std::iter::Peekable<std::str::Chars<'a>>;

/// Passes over the rest of an escape sequence: `[` … final byte, `]` … bell or ESC \, or one character.
fn skip_escape(characters: &mut Characters<'_>) {
    match characters.next_if(|c| !matches!(c, '\n' | '\r')) {
        Some('[') => skip_parameters(characters),
        Some(']' | 'P' | '_' | '^' | 'X') => skip_string(characters),
        // Intermediate bytes, then one that ends it: `ESC ( B`.
        Some(' '..='/') => {
            while characters.next_if(|c| (' '..='/').contains(c)).is_some() {}
            characters.next_if(|c| ('0'..='~').contains(c));
        }
        _ => {}
    }
}

/// `[` was read: parameters, then one final byte. What is none of them is left where it is.
fn skip_parameters(characters: &mut Characters<'_>) {
    while characters.next_if(|c| (' '..='?').contains(c)).is_some() {}
    characters.next_if(|c| ('@'..='~').contains(c));
}

/// Up to a bell or a string terminator.
fn skip_string(characters: &mut Characters<'_>) {
    while let Some(c) = characters.next() {
        match c {
            '\u{7}' | '\u{9c}' => break,
            '\u{1b}' => {
                characters.next_if_eq(&'\\');
                break;
            }
            _ => {}
        }
    }
}

/// Cuts in the middle, the end kept: tags and numbers are at the end of a name. `width` in characters.
pub fn middle(text: &str, width: usize) -> String {
    let n = text.chars().count();
    if n <= width {
        return text.to_owned();
    }
    if width < 6 {
        return text.chars().take(width).collect();
    }
    let tail = (width - 2) * 3 / 5;
    let head = width - 2 - tail;
    let start: String = text.chars().take(head).collect();
    let end: String = text.chars().skip(n - tail).collect();
    format!("{start}..{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(count(1, "image"), "1 image");
        assert_eq!(count(1204, "key"), "1 204 keys");
        assert_eq!(count(2, "alias"), "2 aliases");
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(6_200_000_000), "6.2 GB");
        assert_eq!(bytes(999_700), "1.0 MB");
        assert_eq!(duration(41_000), "0:41");
        assert_eq!(duration(3_900_000), "1 h 5 min");
        assert_eq!(middle("cr.backend.ai/stable/python:3.6-ubuntu18.04", 20).chars().count(), 20);
    }

    #[test]
    fn foreign_text_cannot_reach_the_terminal() {
        assert_eq!(clean("a\u{1b}[2Jb"), "ab");
        assert_eq!(clean("a\u{1b}]0;title\u{7}b"), "ab");
        assert_eq!(clean("a\u{1b}]52;c;QQ==\u{1b}\\b"), "ab");
        assert_eq!(clean("one\ntwo\r\n\tthree"), "one two three");
        assert_eq!(clean("x\u{202e}y\u{9b}2Jz"), "xyz");
        assert_eq!(clean("x\u{9d}52;c;QQ==\u{9c}y"), "xy");
        assert_eq!(clean("a\u{1b}(Bb\u{7f}c\u{8}d"), "abcd");
        assert_eq!(clean("py\u{200b}thon\u{2066}\u{e0041}\u{ad}"), "python");
        assert_eq!(clean("half\u{1b}"), "half");
        assert_eq!(clean(&format!("a{}b", "\u{301}".repeat(500))), "a\u{301}\u{301}\u{301}b");
        assert_eq!(clean("김 이미지 é"), "김 이미지 é");
    }

    #[test]
    fn a_long_text_is_cut_and_says_so() {
        let cleaned = clean(&"k".repeat(1_000_000));
        assert_eq!(cleaned.chars().count(), LONGEST);
        assert!(cleaned.ends_with("k .. (cut, 1 000 000 characters in all)"));
        assert_eq!(page("a\tb  \n\u{1b}[1mc\r\n"), "a b\nc\n");
    }

    #[test]
    fn json_means_the_same_when_nothing_stands_raw_in_it() {
        let hostile = "a\u{7f}b\u{9b}2Jc\u{202e}d\u{e0041}e\n\u{1b}";
        let written = json(&serde_json::to_string_pretty(&[hostile]).unwrap());
        assert!(written.chars().all(|c| c == '\n' || !harmful(c)), "{written:?}");
        assert_eq!(serde_json::from_str::<Vec<String>>(&written).unwrap(), [hostile]);
    }

    proptest::proptest! {
        #[test]
        fn nothing_harmful_is_left_and_cleaning_twice_changes_nothing(text in "\\PC{0,40}|(\\PC|[\u{0}-\u{9f}\u{200b}-\u{206f}\u{300}-\u{310}]){0,60}") {
            let once = clean(&text);
            proptest::prop_assert!(!once.chars().any(harmful), "{once:?}");
            proptest::prop_assert_eq!(clean(&once), once.clone());
            proptest::prop_assert!(is_clean(&once));
        }
    }
}
