//! A command that is tied to castoff: the same command, and gone with everything it started when nobody waits for it any more.

use crate::places::{Places, run};
use castoff::cluster::ssh::Runner;
use std::{
    path::Path,
    time::{Duration, Instant},
};

const PLACES: [&str; 4] = ["local", "plain", "busybox", "sudo"];
const DEADLINE: Duration = Duration::from_mins(5);

fn words(script: &str, arguments: &[&str]) -> Vec<String> {
    ["/bin/sh", "-c", script, "sh"].iter().chain(arguments).map(|word| (*word).to_owned()).collect()
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_mins(1), "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Whether the process whose number stands in this file is there, and not only remembered.
fn lives(file: &Path) -> bool {
    let number = std::fs::read_to_string(file).unwrap_or_default();
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", number.trim())).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}

async fn is_the_same_command(runner: &Runner) {
    let script = "cat; echo \"out $1\"; echo err >&2; exit 3";
    let ended = runner.run_tied(&words(script, &["it's; $HOME"]), Some("/"), DEADLINE).await.unwrap();
    assert_eq!((ended.code, ended.stdout.trim(), ended.stderr.trim()), (Some(3), "out it's; $HOME", "err"));
    let gone = runner.run_tied(&words("kill -KILL $$", &[]), None, DEADLINE).await.unwrap();
    assert_ne!(gone.code, Some(0));
}

#[test]
fn a_tied_command_is_the_same_command_and_ends_with_whoever_waits_for_it() {
    let places = Places::open(&PLACES[1..]);
    run(async {
        for name in PLACES {
            let runner = places.at(name);
            is_the_same_command(&runner).await;

            let folder = tempfile::tempdir().unwrap();
            let [own, child] = ["own", "child"].map(|name| folder.path().join(name));
            // The child does not end with its parent by itself.
            let script = "/bin/sleep 300 & echo $! > \"$2\"; echo $$ > \"$1\"; wait";
            let words = words(script, &[&own.display().to_string(), &child.display().to_string()]);
            let waiting = tokio::spawn(async move { runner.run_tied(&words, None, DEADLINE).await });
            until(&format!("{name}: it does not begin"), || lives(&own) && lives(&child));
            waiting.abort();
            until(&format!("{name}: it goes on"), || !lives(&own) && !lives(&child));
        }
    });
}
