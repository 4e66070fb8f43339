//! The same question asked by `curl` on the host, where its sshd forwards no connection.
//! It never reads curl's own configuration, a netrc or a proxy there.

use super::{
    ASK, CONNECT,
    answer::{Answer, Lost, failing},
};
use crate::{
    cluster::ssh::{Output, Runner},
    model::{FaultKind, Reach, text},
};
use reqwest::{Method, Url};

pub(super) struct Question<'a> {
    pub(super) method: &'a Method,
    pub(super) url: &'a Url,
    pub(super) accept: &'a str,
    pub(super) insecure: bool,
    /// PEM, whatever file it was read from.
    pub(super) ca: Option<&'a [u8]>,
}

pub(super) async fn ask(runner: &Runner, question: Question<'_>) -> Result<Answer, Lost> {
    let (ask, connect) = (ASK.as_secs().to_string(), CONNECT.as_secs().to_string());
    let accept = format!("Accept: {}", question.accept);
    // `-q` in front: neither a login nor a proxy of a `.curlrc`.
    let mut words =
        vec!["curl", "-q", "-sS", "-g", "--http1.1", "--noproxy", "*", "--max-time", &ask, "--connect-timeout", &connect];
    words.extend(["-A", concat!("castoff/", env!("CARGO_PKG_VERSION")), "-H", &accept]);
    words.push(if *question.method == Method::HEAD { "-I" } else { "-i" });
    words.extend(question.insecure.then_some("-k"));
    // By `cat`, for what ssh gives a command to read from may be no file that can be opened by a path.
    words.extend(question.ca.into_iter().flat_map(|_| ["--cacert", "/dev/stdin"]));
    words.push(question.url.as_str());
    let words = question.ca.map_or(&[][..], |_| &["sh", "-c", "cat | \"$@\"", "castoff"]).iter().copied().chain(words);
    let words: Vec<String> = words.map(str::to_owned).collect();
    let output = match question.ca {
        Some(pem) => runner.run_with(&words, pem, ASK + CONNECT).await,
        None => runner.run(&words, None, ASK + CONNECT).await,
    };
    match output {
        Ok(output) if matches!(output.code, Some(126 | 127)) => Err(Lost::Known(neither())),
        Ok(output) => of_output(&output),
        Err(fault) if fault.kind == FaultKind::Missing => Err(Lost::Known(neither())),
        Err(fault) => Err(Lost::Host(fault)),
    }
}

fn neither() -> Reach {
    failing("sshd forwards no connection there (`AllowTcpForwarding`), and there is no `curl` to ask with")
}

/// Exit codes of curl's manual page.
fn of_output(output: &Output) -> Result<Answer, Lost> {
    // Behind its own line it may give advice over several lines.
    let own = output.stderr.lines().find_map(|line| Some(line.strip_prefix("curl: (")?.split_once(") ")?.1.to_owned()));
    let why = text::clean(&own.unwrap_or_else(|| output.last_words()));
    let known = |reach| Err(Lost::Known(reach));
    match output.code {
        Some(0) => answer(&output.stdout).ok_or_else(|| Lost::Talk(failing("it does not speak HTTP"))),
        Some(6) => known(Reach::NoName { why }),
        Some(7) => known(Reach::NoConnection { why }),
        Some(18 | 28) => match answer(&output.stdout) {
            Some(answer) => Ok(Answer { whole: false, ..answer }),
            None => known(failing(format!("it did not answer within {} s", ASK.as_secs()))),
        },
        // Sent and received: somebody was there.
        Some(1 | 8 | 52 | 55 | 56) => Err(Lost::Talk(failing(why))),
        Some(35 | 51 | 53 | 54 | 58 | 59 | 60 | 64 | 66 | 77 | 80 | 82 | 83 | 90 | 91) => known(Reach::Tls { why }),
        _ => known(failing(why)),
    }
}

fn answer(text: &str) -> Option<Answer> {
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
    let mut lines = head.lines();
    let mut first = lines.next()?.split_whitespace();
    let status = first.next().filter(|version| version.starts_with("HTTP/")).and(first.next())?.parse().ok()?;
    let mut answer = Answer { status, body: body.as_bytes().to_vec(), whole: true, ..Answer::default() };
    lines.filter_map(|line| line.split_once(':')).for_each(|(name, value)| answer.header(name, value));
    Some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_curl_says_is_understood() {
        let output =
            |code, stdout: &str, stderr: &str| Output { code: Some(code), stdout: stdout.to_owned(), stderr: stderr.to_owned() };
        let said = |code, stderr: &str| of_output(&output(code, "", stderr)).map(|_| ()).map_err(|lost| lost.told().unwrap());
        let cases = [
            (6, "curl: (6) Could not resolve host: m", Reach::NoName { why: "Could not resolve host: m".to_owned() }),
            (7, "curl: (7) Failed to connect", Reach::NoConnection { why: "Failed to connect".to_owned() }),
            (60, "curl: (60) SSL: no\nMore details\nvisit the page above.", Reach::Tls { why: "SSL: no".to_owned() }),
            (28, "curl: (28) Operation timed out", failing("it did not answer within 6 s")),
            (52, "curl: (52) Empty reply from server", failing("Empty reply from server")),
        ];
        for (code, stderr, expect) in cases {
            assert_eq!(said(code, stderr), Err(expect), "{stderr}");
        }
        let good = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDocker-Distribution-Api-Version: registry/2.0\r\n\r\n{}";
        let answer = of_output(&output(0, good, "")).unwrap_or_default();
        assert_eq!((answer.status, answer.registry, answer.body.as_slice(), answer.whole), (200, true, &b"{}"[..], true));
        assert!(matches!(of_output(&output(0, "SSH-2.0-x\r\n", "")), Err(Lost::Talk(_))));
        assert!(of_output(&output(28, good, "")).is_ok_and(|answer| !answer.whole));
    }
}
