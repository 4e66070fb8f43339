//! Words and numbers for people: one place for plurals, sizes, durations, and for making foreign text harmless.

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

/// Text from outside, harmless on a terminal: control characters, escape sequences and bidirectional overrides are
/// taken out, line breaks become spaces, and it ends after 2 000 characters.
pub fn clean(text: &str) -> String {
    const LIMIT: usize = 2000;
    let mut out = String::new();
    let mut characters = text.chars().peekable();
    let mut n = 0;
    while let Some(c) = characters.next() {
        if n >= LIMIT {
            out.push_str(" ..");
            break;
        }
        match c {
            '\u{1b}' => skip_escape(&mut characters),
            '\n' | '\r' | '\t' => {
                if !out.ends_with(' ') {
                    out.push(' ');
                    n += 1;
                }
            }
            c if c.is_control() => {}
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' | '\u{200b}' => {}
            c => {
                out.push(c);
                n += 1;
            }
        }
    }
    out.trim_end().to_owned()
}

/// Passes over the rest of an escape sequence: `[` … final byte, `]` … bell or ESC \, or one character.
fn skip_escape(characters: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    match characters.next() {
        Some('[') => {
            for c in characters.by_ref() {
                if ('\u{40}'..='\u{7e}').contains(&c) {
                    break;
                }
            }
        }
        Some(']' | 'P' | '_' | '^' | 'X') => {
            while let Some(c) = characters.next() {
                if c == '\u{7}' || c == '\u{9c}' {
                    break;
                }
                if c == '\u{1b}' {
                    characters.next_if_eq(&'\\');
                    break;
                }
            }
        }
        _ => {}
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
        assert_eq!(clean("x\u{202e}y\u{9b}2Jz"), "xy2Jz");
        assert_eq!(clean(&"k".repeat(1_000_000)).chars().count(), 2003);
    }
}
