//! Lines of real daemons, and machines with one thing wrong each.

use super::*;
use crate::model::{Digest, DockerDaemon, FileState};

const MIRROR: &str = "https://m.example:5000";

#[test]
fn a_line_of_the_daemon_is_understood() {
    let passed =
        |from: Option<&str>, error: &str| Some(LogLine::Passed { from: from.map(str::to_owned), error: error.to_owned() });
    let rejected = |error: &str| Some(LogLine::Rejected { error: error.to_owned() });
    let cases = [
        (
            r#"time="2021-01-01T12:00:00.000000000Z" level=debug msg="Trying to pull busybox from https://m.example:5000/ v2""#,
            Some(LogLine::Trying { from: "m.example:5000".to_owned() }),
        ),
        (
            r#"Jan 1 12:00:00 vm dockerd[900]: time="2021-01-01T12:00:00Z" level=info msg="Attempting next endpoint for pull after error: manifest unknown: manifest unknown""#,
            passed(None, "manifest unknown: manifest unknown"),
        ),
        (
            r#"time="x" level=info msg="Attempting next endpoint for pull after error: Get \"https://m.example:5000/v2/\": dial tcp: lookup m.example on 10.0.0.1:53: no such host""#,
            passed(
                Some("m.example:5000"),
                r#"Get "https://m.example:5000/v2/": dial tcp: lookup m.example on 10.0.0.1:53: no such host"#,
            ),
        ),
        (
            r#"time="x" level=info msg="Attempting next endpoint for pull after error" error="Get \"http://m/v2/\": EOF""#,
            passed(Some("m"), r#"Get "http://m/v2/": EOF"#),
        ),
        (
            r#"time="x" level=info msg="trying next host" error="not found" host="m.example:5000""#,
            passed(Some("m.example:5000"), "not found"),
        ),
        (
            r#"time="x" level=info msg="trying next host - response was http.StatusNotFound" host=m.example"#,
            passed(Some("m.example"), "- response was http.StatusNotFound"),
        ),
        (r#"{"level":"info","msg":"Reloaded configuration","config":"{}"}"#, Some(LogLine::Reloaded)),
        (r#"time="x" level=info msg="Reloaded configuration: {\"registry-mirrors\":[]}""#, Some(LogLine::Reloaded)),
        (
            r#"time="x" level=error msg="Error reconfiguring the daemon: invalid mirror: unsupported scheme \"\" in \"a\"""#,
            rejected(r#"invalid mirror: unsupported scheme "" in "a""#),
        ),
        (r#"time="x" level=error msg="Error reloading configuration" error="unexpected EOF""#, rejected("unexpected EOF")),
        (
            r#"time="x" level=error msg="unable to configure the Docker daemon with file /f: unexpected EOF""#,
            rejected("unable to configure the Docker daemon with file /f: unexpected EOF"),
        ),
        (r#"time="x" level=warning msg="Error getting v2 registry: Get \"http://m/v2/\": EOF""#, None),
        (r#"time="x" level=info msg="API listen on /run/docker.sock""#, None),
        (r#"time="x" level=info msg="Daemon has completed initialization""#, Some(LogLine::Reloaded)),
        ("", None),
        (r#"msg="unended \"#, None),
    ];
    for (line, expect) in cases {
        assert_eq!(classify(line), expect, "{line}");
    }
}

fn machine(reach: Reach, file: Option<&str>, mirrors: &[&str]) -> Machine {
    let state =
        file.map(|text| FileState { text: text.to_owned(), sha256: Digest::of(text), mode: 0o644, owner: "0:0".to_owned() });
    Machine {
        files: [("/etc/docker/daemon.json".to_owned(), state)].into(),
        docker: Some(DockerDaemon {
            version: "20.10.24".to_owned(),
            mirrors: mirrors.iter().map(|mirror| (*mirror).to_owned()).collect(),
            ..DockerDaemon::default()
        }),
        reach: [(MIRROR.to_owned(), reach)].into(),
        ..Machine::default()
    }
}

#[test]
fn every_thing_that_is_wrong_is_found_in_its_place_with_what_helps() {
    let good = r#"{"registry-mirrors": ["https://m.example:5000"]}"#;
    let ok = || Reach::Ok { digest: Some(Digest::of("x")) };
    let running = ["https://m.example:5000/"];
    let why = || "because".to_owned();
    let cases = [
        (machine(ok(), Some(good), &running), "", ""),
        (machine(Reach::NoName { why: why() }, Some(good), &running), "name", "`m.example:5000` does not resolve: because"),
        (machine(Reach::NoConnection { why: why() }, Some(good), &running), "connection", "no connection: because"),
        (machine(Reach::Tls { why: why() }, Some(good), &running), "registry", "TLS: because"),
        (machine(Reach::Failing { why: why() }, Some(good), &running), "registry", "because"),
        (machine(Reach::Login { scheme: "Basic".to_owned() }, Some(good), &running), "registry", "demands a login (Basic)"),
        (machine(Reach::NoImage { image: "a:1".to_owned() }, Some(good), &running), "image", "it does not have `a:1`"),
        (
            machine(Reach::NoRegistry { status: 200, content_type: "text/html".to_owned() }, Some(good), &running),
            "registry",
            "200 with text/html: that is no registry",
        ),
        (machine(ok(), None, &running), "file", "there is no `/etc/docker/daemon.json`"),
        (machine(ok(), Some("{\"registry-mirrors\": [\u{201c}x\u{201d}]}"), &running), "file", "is no JSON"),
        (machine(ok(), Some(r#"{"registry-mirror": ["https://m.example:5000"]}"#), &running), "file", "without a word"),
        (machine(ok(), Some(r#"{"registry-mirrors": ["https://n.example"]}"#), &running), "file", "names `https://n.example`"),
        (machine(ok(), Some("{}"), &running), "file", "names no mirror"),
        (machine(ok(), Some(good), &[]), "daemon", "it runs with no mirror"),
        (machine(ok(), Some(good), &["https://n.example/"]), "daemon", "it runs with `https://n.example/`"),
    ];
    for (machine, check, words) in cases {
        let found = findings("gpu-1", &machine, MIRROR, &[]);
        let bad: Vec<&Finding> = found.iter().filter(|finding| finding.verdict == Verdict::Bad).collect();
        if check.is_empty() {
            assert!(bad.is_empty(), "{bad:?}");
            let order: Vec<&str> = found.iter().map(|finding| finding.check).collect();
            assert_eq!(order, ["name", "connection", "file", "daemon", "registry", "image", "log"]);
            continue;
        }
        assert_eq!(bad.len(), 1, "{check}: {bad:?}");
        assert_eq!(bad[0].check, check, "{bad:?}");
        assert!(bad[0].found.contains(words), "{bad:?}");
        assert!(bad[0].hint.as_ref().is_some_and(|hint| !hint.is_empty()), "{bad:?}");
    }
    // What was not read is said, and is not bad.
    let nothing = findings("gpu-1", &Machine::default(), MIRROR, &[]);
    assert!(nothing.iter().all(|finding| finding.verdict == Verdict::Note), "{nothing:?}");
}

#[test]
fn only_what_names_the_mirror_is_put_on_the_mirror() {
    const NEXT: &str = r#"level=info msg="Attempting next endpoint for pull after error: manifest unknown: manifest unknown""#;
    const OWN: &str =
        r#"level=info msg="Attempting next endpoint for pull after error: Get \"https://m.example:5000/v2/\": EOF""#;
    const HUB: &str =
        r#"level=info msg="Attempting next endpoint for pull after error: Get \"https://registry-1.docker.io/v2/\": EOF""#;
    const TRY: &str = r#"level=debug msg="Trying to pull a from https://m.example:5000/""#;
    const TRY_HUB: &str = r#"level=debug msg="Trying to pull a from https://registry-1.docker.io""#;
    const RELOADED: &str = r#"level=info msg="Reloaded configuration: {}""#;
    const REJECTED: &str = r#"level=error msg="Error reconfiguring the daemon: x""#;
    let cases: [(&[&str], Verdict, &str); 10] = [
        (&[NEXT], Verdict::Note, "the log does not say which: manifest unknown"),
        (&[OWN, OWN], Verdict::Bad, "the mirror was passed by 2 times"),
        (&[HUB], Verdict::Note, "does not speak of the mirror"),
        (&[TRY, NEXT], Verdict::Bad, "the mirror was passed by once: manifest unknown"),
        // The mirror failed, then Docker Hub as well: that is once.
        (&[TRY, NEXT, TRY_HUB, NEXT], Verdict::Bad, "the mirror was passed by once"),
        (&[TRY_HUB, NEXT], Verdict::Note, "does not speak of the mirror"),
        (&[TRY], Verdict::Good, "the daemon asked the mirror once"),
        (&[OWN, RELOADED], Verdict::Note, "does not speak of the mirror"),
        (&[REJECTED], Verdict::Bad, "the daemon refused its configuration: x"),
        (&[REJECTED, RELOADED, TRY], Verdict::Good, "the daemon asked the mirror once"),
    ];
    for (log, verdict, words) in cases {
        let lines: Vec<String> = log.iter().map(|line| (*line).to_owned()).collect();
        let found = of_log(MIRROR, &lines);
        assert_eq!(found.len(), 1, "{log:?}: {found:?}");
        assert!(found[0].verdict == verdict && found[0].found.contains(words), "{log:?}: {found:?}");
    }
}
