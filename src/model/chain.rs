//! The chain of a journal: the hash of an entry covers its own bytes and, through the hash before it, all earlier ones,
//! so one changed, moved or left-out byte shows. Knows no file and no database.

use super::Digest;

/// What stands before the first entry. It names the run: entries of another run do not fit.
pub fn start(run: &str) -> Digest {
    Digest::of(&format!("castoff journal of {run}"))
}

/// An entry as it is hashed: one line of JSON, still open, so that the hash can close it. `body` is the entry's own JSON.
pub fn line(seq: u64, at_ms: i64, epoch: i64, body: &str) -> String {
    format!(r#"{{"seq":{seq},"at-ms":{at_ms},"epoch":{epoch},"entry":{body}"#)
}

/// The hash of an entry that follows the one with the hash `before`.
pub fn link(before: &Digest, line: &str) -> Digest {
    Digest::of(&format!("{before}\n{line}"))
}

/// The line with its hash: what evidence is made of. `split` takes it apart again.
pub fn closed(line: &str, hash: &Digest) -> String {
    format!(r#"{line},"hash":"{hash}"}}"#)
}

/// The line as it was hashed and its hash; `None` if this is no such line.
pub fn split(closed: &str) -> Option<(&str, Digest)> {
    let (line, hash) = closed.rsplit_once(r#","hash":""#)?;
    Some((line, hash.strip_suffix("\"}")?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_closed_and_taken_apart_again() {
        let line = line(7, 1000, 2, r#"{"is":"continued","by":",\"hash\":\"kim"}"#);
        let hash = link(&start("run"), &line);
        let closed = closed(&line, &hash);
        assert_eq!(split(&closed), Some((line.as_str(), hash)));
        serde_json::from_str::<serde_json::Value>(&closed).expect("a line is JSON");
        assert_eq!(split(&line), None);
    }

    #[test]
    fn every_byte_and_every_earlier_entry_counts() {
        let line = |at_ms| line(1, at_ms, 1, "{}");
        let first = link(&start("run"), &line(1));
        assert_ne!(first, link(&start("run"), &line(2)));
        assert_ne!(first, link(&start("other"), &line(1)));
        assert_ne!(link(&first, &line(1)), first);
    }
}
