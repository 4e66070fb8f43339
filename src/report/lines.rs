//! Long lines of a text for people, broken to a width. Never leaves a character out.

/// Broken at spaces where there are any; a longer word stays whole.
pub fn listed(words: &str, width: usize) -> Vec<String> {
    let mut out: Vec<String> = vec![];
    for word in words.split(' ') {
        match out.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => out.push(word.to_owned()),
        }
    }
    out
}

/// Broken where the room ends.
pub fn broken(words: &str, width: usize) -> Vec<String> {
    let all: Vec<char> = words.chars().collect();
    if all.is_empty() {
        return vec![String::new()];
    }
    all.chunks(width.max(1)).map(|part| part.iter().collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_line_keeps_every_character() {
        assert_eq!(listed("the same on a, b, c", 11), ["the same on", "a, b, c"]);
        assert_eq!(broken("abcdef", 4), ["abcd", "ef"]);
        assert_eq!(broken("", 4), [""]);
    }
}
