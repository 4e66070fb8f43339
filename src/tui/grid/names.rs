//! Names of hosts: how they sort, what they share, which belong together.
//! Never parsed for meaning: only letters and the numbers at their end count.

use std::ops::Range;

/// A name for sorting: `gpu-9` before `gpu-10`.
pub fn natural(name: &str) -> Vec<(String, u64)> {
    let mut out = vec![];
    let mut rest = name;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let (word, tail) = rest.split_at(digits);
        let end = tail.find(|c: char| !c.is_ascii_digit()).unwrap_or(tail.len());
        out.push((word.to_owned(), tail[..end].parse().unwrap_or(u64::MAX)));
        rest = &tail[end..];
    }
    out
}

/// What all names begin with, up to a number and never a whole name.
pub fn prefix<'a>(mut names: impl Iterator<Item = &'a str>) -> String {
    let Some(first) = names.next() else { return String::new() };
    let mut common = first;
    for name in names {
        let same = common.char_indices().zip(name.chars()).take_while(|((_, a), b)| a == b);
        common = &common[..same.last().map_or(0, |((i, a), _)| i + a.len_utf8())];
    }
    let common = common.trim_end_matches(|c: char| c.is_ascii_digit());
    if common.len() < first.len() && first[common.len()..].starts_with(|c: char| c.is_ascii_digit()) {
        common.to_owned()
    } else {
        String::new()
    }
}

/// Runs of names that are the same but for the number at their end. Names without any order are one group.
pub fn groups<'a>(names: impl Iterator<Item = &'a str>) -> Vec<(String, Range<usize>)> {
    let mut out: Vec<(String, Range<usize>)> = vec![];
    let mut n = 0;
    for (i, name) in names.enumerate() {
        n = i + 1;
        let stem = name.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches(['-', '_', '.']);
        match out.last_mut() {
            Some((known, range)) if known == stem => range.end = n,
            _ => out.push((stem.to_owned(), i..n)),
        }
    }
    if out.len() * 2 > n { vec![(String::new(), 0..n)] } else { out }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_shortened_by_what_they_share_and_grouped_by_their_stems() {
        let of = |names: &[&'static str]| (prefix(names.iter().copied()), groups(names.iter().copied()));
        let (shared, one) = of(&["agent-017", "agent-118"]);
        assert_eq!((shared.as_str(), one), ("agent-", vec![("agent".to_owned(), 0..2)]));
        let (shared, two) = of(&["gpu-a-1", "gpu-a-2", "gpu-b-1", "gpu-b-2"]);
        assert_eq!(shared, "");
        assert_eq!(two, [("gpu-a".to_owned(), 0..2), ("gpu-b".to_owned(), 2..4)]);
        assert_eq!(of(&["alice", "bob", "carol"]), (String::new(), vec![(String::new(), 0..3)]));
        assert_eq!(of(&["gpu-1", "gpu-12"]).0, "gpu-");
        assert!(natural("gpu-9") < natural("gpu-10"));
    }
}
