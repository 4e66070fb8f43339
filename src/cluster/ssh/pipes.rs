//! What goes to a command and what comes from it: its words as one line of a remote shell, its input, and the end of what it
//! prints. An output over ssh is never taken for whole without its mark.

use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// What the mark at the end of an output begins with.
const MARK: &str = "=castoff-end-";
/// What is kept of an output: its end.
const OUTPUT_LIMIT: usize = 1 << 20;
/// The same of a command that is given input: those print files.
const FILES_LIMIT: usize = 64 << 20;

/// What a command reads on its standard input.
#[derive(Clone, Copy)]
pub(super) enum Input<'a> {
    Nothing,
    Bytes(&'a [u8]),
    /// Open, and silent, as long as somebody waits for the command.
    Held,
}

/// Ends a command, and whatever it started, as soon as nobody waits for it any more: that closes the standard input, also by
/// `kill -9` and by a connection that sshd knows to be lost.
pub(super) fn tied(words: &[String]) -> Vec<String> {
    const TIED: &str = r#"exec 3<&0
{ cat <&3; kill 0; } >/dev/null 2>&1 &
watch=$!
exec 3<&-
"$@" </dev/null
code=$?
kill "$watch" 2>/dev/null
exit "$code""#;
    ["sh", "-c", TIED, "sh"].map(str::to_owned).into_iter().chain(words.iter().cloned()).collect()
}

/// One line for the remote shell: every word quoted, ended over there soon after nobody waits for it any more.
pub(super) struct RemoteLine {
    pub(super) text: String,
    /// What the shell prints last, on both pipes: by it an output is known to be whole, also where a daemon that the command
    /// left behind holds the pipes open.
    pub(super) mark: String,
}

impl RemoteLine {
    pub(super) fn new(words: &[String], working_dir: Option<&str>, deadline: Duration) -> Self {
        let quoted: Vec<String> = words.iter().map(|word| quote(word)).collect();
        let folder = working_dir.map_or_else(String::new, |folder| format!("cd -- {} && ", quote(folder)));
        let limit = deadline.as_secs().max(1) + 5;
        let number = uuid::Uuid::now_v7().simple().to_string();
        // Without coreutils' `timeout` it runs unwatched: a missing tool is no reason to fail.
        let watch = format!("t=; command -v timeout >/dev/null 2>&1 && t='timeout -k 5 {limit}'");
        // In two parts, so that a command that prints what runs here does not print the mark.
        let end = format!("printf '%s%s\\n' {MARK} {number}");
        // Who died by a signal is told as such.
        let code = "[ $c -le 128 ] || kill -$((c-128)) $$ 2>/dev/null; exit $c";
        let text = format!("{watch}; {folder}$t {}; c=$?; {end}; {end} >&2; {code}", quoted.join(" "));
        Self { text, mark: format!("{MARK}{number}\n") }
    }
}

/// For a POSIX shell: within single quotes nothing is special but the single quote.
fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/' | ':' | ',' | '@' | '+');
    if !word.is_empty() && word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

/// The end of what comes out of a pipe.
pub(super) struct Tail {
    kept: Vec<u8>,
    limit: usize,
    /// Whether it ended with its mark, which is taken off.
    pub(super) whole: bool,
}

impl Tail {
    pub(super) fn of_output(input: Input<'_>) -> Self {
        let limit = if matches!(input, Input::Bytes(_)) { FILES_LIMIT } else { OUTPUT_LIMIT };
        Self { kept: vec![], limit, whole: false }
    }

    pub(super) fn of_errors() -> Self {
        Self::of_output(Input::Nothing)
    }

    /// Reads to the mark or the end. Whoever stops waiting keeps what has come. A pipe that fails in between ends there: the
    /// exit code tells the rest.
    pub(super) async fn fill(&mut self, pipe: Option<impl AsyncRead + Unpin>, mark: Option<&str>) {
        let Some(mut pipe) = pipe else { return };
        let mut chunk = vec![0; 16 << 10];
        while let Ok(n @ 1..) = pipe.read(&mut chunk).await {
            // The mark may come in pieces.
            let fresh = self.kept.len().saturating_sub(mark.map_or(0, str::len));
            self.kept.extend_from_slice(&chunk[..n]);
            let found = mark.and_then(|mark| self.kept[fresh..].windows(mark.len()).position(|part| part == mark.as_bytes()));
            if let Some(at) = found {
                self.kept.truncate(fresh + at);
                self.whole = true;
                return;
            }
            if self.kept.len() > 2 * self.limit {
                self.kept.drain(..self.kept.len() - self.limit);
            }
        }
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.kept).into_owned()
    }
}

/// Writes it all and closes the pipe. A command that does not read to the end says why by its exit code. Gives back a pipe that
/// is to be held.
pub(super) async fn feed<P: AsyncWrite + Unpin>(pipe: Option<P>, input: Input<'_>) -> Option<P> {
    let mut pipe = pipe?;
    if let Input::Bytes(bytes) = input {
        if pipe.write_all(bytes).await.is_ok() {
            let _ = pipe.shutdown().await;
        }
        return None;
    }
    Some(pipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_reach_a_shell_unchanged() {
        let words = ["printf", "%s|", "", "a b", "it's", "$HOME", "`id`", "a;b&c", "\"", "\\", "!x", "한글", "*", "-n", "a\nb"];
        let line = RemoteLine::new(&words.map(str::to_owned), Some("/tmp"), Duration::from_secs(5));
        let output = std::process::Command::new("sh").args(["-c", &line.text]).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(said.split('|').collect::<Vec<_>>()[..13], words[2..], "{}", line.text);
        assert!(said.ends_with(&line.mark) && output.stderr.ends_with(line.mark.as_bytes()));
        assert!(!line.text.contains(line.mark.trim_end()), "what shows the command shows no mark");
    }

    #[tokio::test]
    async fn an_output_ends_at_its_mark_and_is_whole_only_with_it() {
        let mark = "=castoff-end-1\n";
        for (parts, expect) in [
            (&["one\ntwo", "=castoff-end-1\nthree"][..], ("one\ntwo", true)),
            (&["one\n=cast", "off-end-", "1\n"], ("one\n", true)),
            (&["=castoff-end-1\n"], ("", true)),
            (&["one\n", "=castoff-end-2\n"], ("one\n=castoff-end-2\n", false)),
            (&[], ("", false)),
        ] {
            let (mut far, near) = tokio::io::duplex(5);
            let (sent, whole) = (parts.to_vec(), expect.1);
            tokio::spawn(async move {
                for part in sent {
                    let _ = far.write_all(part.as_bytes()).await;
                }
                // What follows the mark is not waited for: a daemon may hold the pipe.
                if whole {
                    std::future::pending::<()>().await;
                }
            });
            let mut tail = Tail::of_errors();
            tail.fill(Some(near), Some(mark)).await;
            assert_eq!((tail.text().as_str(), tail.whole), expect, "{parts:?}");
        }
    }
}
