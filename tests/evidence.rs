//! The evidence of a run: a bundle that is whole says so, and one byte more, less or other is named by file and line.

use castoff::cluster::sim::demo;
use castoff::journal::{self, Journal, Reader};
use castoff::model::{ChangeId, Entry, Fault, FaultKind, Outcome, Plan, State, Window, chain};
use castoff::report::bundle::{self, MANIFEST, Making, SEAL};
use castoff::runbook::{Runbook, SHIPPED};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

fn plan() -> Arc<Plan> {
    let mut world = demo(1_800_000_000_000);
    world.hosts.retain(|name, _| name == "gpu-01");
    world.sessions.clear();
    Arc::new(Runbook::parse(SHIPPED[0].0, SHIPPED[0].1, &[]).unwrap().plan(&world).unwrap().0)
}

/// A run in which people decided everything that they can.
fn story(plan: &Arc<Plan>) -> Vec<Entry> {
    let change = |n| ChangeId { step: 1, n };
    let by = || "kim as root on ops-01 from 192.0.2.7".to_owned();
    let window = |hours: i64| Window {
        from_ms: 1_800_000_000_000,
        until_ms: 1_800_000_000_000 + hours * 3_600_000,
        zone: "UTC".to_owned(),
    };
    vec![
        Entry::Planned { plan: plan.clone(), by: by() },
        Entry::WindowSet { window: window(2), by: by() },
        Entry::GateReached { step: 0 },
        Entry::GateApproved { step: 0, by: "its checks".to_owned(), plan: plan.plan.clone(), typed: String::new() },
        Entry::GateReached { step: 1 },
        Entry::GateApproved { step: 1, by: by(), plan: plan.plan.clone(), typed: "yes".to_owned() },
        Entry::Started { change: change(0) },
        Entry::Done { change: change(0) },
        Entry::Started { change: change(1) },
        Entry::Failed { change: change(1), fault: Fault::new(FaultKind::Lasting, "cannot pull", "the registry | says *no*") },
        Entry::Skipped { change: change(1), why: "nobody needs it".to_owned(), by: by() },
        Entry::WindowMoved { window: window(4), by: by() },
        Entry::TakenOver { by: "lee on ops-02".to_owned(), why: "kim is asleep".to_owned() },
        Entry::RollbackBegun { to: 1, by: "lee on ops-02".to_owned(), why: "the new image is bad".to_owned() },
        Entry::Finished { outcome: Outcome::Aborted("enough for tonight".to_owned()) },
    ]
}

async fn write(state: &Path) {
    let mut journal = Journal::create(state, "20260101-000000-abcd", "kim").await.unwrap();
    let plan = plan();
    for (at_ms, entry) in (1_800_000_000_000..).step_by(1000).zip(story(&plan)) {
        journal.append(at_ms, vec![entry]).await.unwrap();
    }
}

/// The files of a small bundle.
async fn made() -> BTreeMap<String, Vec<u8>> {
    let state = tempfile::tempdir().unwrap();
    write(state.path()).await;
    let links = Reader::open(state.path(), "20260101-000000-abcd").await.unwrap().verify().await.unwrap();
    let entries: Vec<_> = links.iter().map(|link| link.stamped.clone()).collect();
    let folded = State::fold(&entries).unwrap();
    let links: Vec<_> = links.into_iter().map(|link| (link.line, link.hash)).collect();
    let making = Making {
        run: "20260101-000000-abcd",
        state: &folded,
        entries: &entries,
        links: &links,
        by: "kim",
        now_ms: 1_800_000_100_000,
    };
    let files = bundle::bundle(&making).unwrap();
    files.into_iter().map(|(name, text)| (name, text.into_bytes())).collect()
}

fn line_of(bytes: &[u8], at: usize) -> usize {
    bytes[..at].split(|byte| *byte == b'\n').count()
}

fn check(whole: &BTreeMap<String, Vec<u8>>, name: &str, at: usize, with: impl Fn(&mut Vec<u8>)) {
    let mut files = whole.clone();
    with(files.get_mut(name).unwrap());
    let wrong = bundle::verify(&files).expect_err("a changed byte is detected");
    assert_eq!(wrong.len(), 1, "{name} at {at}: {wrong:?}");
    assert_eq!((wrong[0].file.as_str(), wrong[0].line), (name, Some(line_of(&whole[name], at))), "{name} at {at}: {wrong:?}");
    if name == "entries.jsonl" {
        assert!(wrong[0].why.contains(&format!("entry {}", wrong[0].line.unwrap())), "{wrong:?}");
    }
}

#[tokio::test]
async fn one_byte_anywhere_is_detected_and_its_file_and_line_are_named() {
    let whole = made().await;
    let told = bundle::verify(&whole).unwrap();
    assert_eq!((told.entries, told.files), (15, 10));
    let mut tried = 0;
    for (name, bytes) in &whole {
        let stride = (bytes.len() / 14).max(1) | 1;
        let last = bytes.len() - 1;
        for at in (0..bytes.len()).step_by(stride).chain([last]) {
            match tried % 3 {
                0 => check(&whole, name, at, |bytes| bytes[at] ^= 1),
                1 => check(&whole, name, at, |bytes| _ = bytes.remove(at)),
                _ => check(&whole, name, at, |bytes| bytes.insert(at, b'~')),
            }
            tried += 1;
        }
    }
    println!("{tried} bytes of a bundle changed, taken or added, each named by file and line");
}

#[tokio::test]
async fn a_file_that_went_or_came_is_named() {
    let whole = made().await;
    for name in whole.keys() {
        let mut files = whole.clone();
        files.remove(name);
        let wrong = bundle::verify(&files).unwrap_err();
        assert_eq!((wrong[0].file.as_str(), wrong[0].why.as_str()), (name.as_str(), "it is missing"), "{wrong:?}");
    }
    let mut files = whole.clone();
    files.insert("more.txt".to_owned(), vec![]);
    assert_eq!(bundle::verify(&files).unwrap_err()[0].file, "more.txt");
}

#[tokio::test]
async fn entries_that_fit_a_manifest_made_anew_still_have_to_fit_their_chain() {
    let whole = made().await;
    let mut files = whole.clone();
    let text = String::from_utf8(files["entries.jsonl"].clone()).unwrap();
    let forged = text.replace("nobody needs it", "it was not there");
    files.insert("entries.jsonl".to_owned(), forged.clone().into_bytes());
    // Manifest and seal as somebody makes them who knows how.
    let manifest = String::from_utf8(files[MANIFEST].clone()).unwrap();
    let mut value: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    let seal = |text: &str| {
        let hash = |text: &str| castoff::model::Digest::of(text);
        let lines: Vec<String> = text.split_inclusive('\n').map(|line| hash(line).as_str()[7..15].to_owned()).collect();
        (hash(text), lines)
    };
    let (sha256, lines) = seal(&forged);
    value["files"]["entries.jsonl"] = serde_json::json!({ "sha256": sha256, "lines": lines });
    let manifest = serde_json::to_string_pretty(&value).unwrap() + "\n";
    let (sha256, lines) = seal(&manifest);
    let sealed = format!("{}  {MANIFEST}\n{}\n", &sha256.as_str()[7..], lines.join("\n"));
    files.insert(MANIFEST.to_owned(), manifest.into_bytes());
    files.insert(SEAL.to_owned(), sealed.into_bytes());
    let wrong = bundle::verify(&files).unwrap_err();
    assert_eq!((wrong[0].file.as_str(), wrong[0].line), ("entries.jsonl", Some(11)), "{wrong:?}");
}

fn castoff(state: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_castoff"));
    command.args(arguments).arg("--state").arg(state).env("TZ", "UTC").output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test]
async fn a_bundle_is_written_for_its_owner_alone_and_verified() {
    let state = tempfile::tempdir().unwrap();
    write(state.path()).await;
    let folder = state.path().join("evidence.castoff");
    let named = folder.to_str().unwrap();
    let output = castoff(state.path(), &["report", "--bundle", named]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    fs::read_dir(&folder).unwrap().for_each(|file| assert_eq!(mode(&file.unwrap().path()), 0o600));
    let whole = castoff(state.path(), &["verify", named]);
    assert!(whole.status.success(), "{}", text(&whole.stderr));
    let hash = text(&output.stdout).lines().last().unwrap().to_owned();
    assert!(hash.starts_with("last hash  sha256:") && text(&whole.stdout).contains(&hash));
    assert!(text(&whole.stdout).contains("hold the last hash against"));
    assert!(text(&castoff(state.path(), &["journal", "verify"]).stdout).contains(&hash));
    // sha256sum reads the seal too.
    let sums = Command::new("sh").args(["-c", "head -1 manifest.sha256 | sha256sum -c -"]).current_dir(&folder).output().unwrap();
    assert!(sums.status.success(), "{}", text(&sums.stderr));

    let again = castoff(state.path(), &["report", "--bundle", named]);
    assert_eq!(again.status.code(), Some(2), "{}", text(&again.stdout));
    let report = folder.join("report.md");
    let mut lines = fs::read_to_string(&report).unwrap();
    lines = lines.replacen("## Gates", "## Doors", 1);
    let line = lines.lines().position(|line| line == "## Doors").unwrap() + 1;
    fs::write(&report, lines).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", folder.join("passwd")).unwrap();
    let linked = castoff(state.path(), &["verify", named]);
    assert!(text(&linked.stderr).contains("`passwd`: it is no plain file"), "{}", text(&linked.stderr));
    fs::remove_file(folder.join("passwd")).unwrap();
    let changed = castoff(state.path(), &["verify", named]);
    assert_eq!(changed.status.code(), Some(1));
    assert!(text(&changed.stderr).contains(&format!("`report.md`, line {line}: ")), "{}", text(&changed.stderr));
}

#[tokio::test]
async fn decisions_stand_in_the_report_with_who_and_why() {
    let state = tempfile::tempdir().unwrap();
    write(state.path()).await;
    let report = text(&castoff(state.path(), &["report"]).stdout);
    let section = report.split("## Decisions").nth(1).unwrap().split("\n## ").next().unwrap();
    for words in [
        "change 2.2 skipped, by kim as root on ops-01 from 192.0.2.7: nobody needs it",
        "window moved, by kim as root on ops-01 from 192.0.2.7: to ",
        "run taken over, by lee on ops-02: from kim as root on ops-01 from 192.0.2.7",
        "rolled back to step 2, by lee on ops-02: the new image is bad",
        "aborted, by lee on ops-02: enough for tonight",
    ] {
        assert!(section.contains(words), "no `{words}` in:{section}");
    }
    let json: serde_json::Value = serde_json::from_slice(&castoff(state.path(), &["report", "--format", "json"]).stdout).unwrap();
    assert_eq!(json["decisions"].as_array().unwrap().len(), 5);
    for reason in ["  ", "x"] {
        let empty = castoff(state.path(), &["rollback", "--reason", reason, "--headless"]);
        assert_eq!(empty.status.code(), Some(2));
        assert!(text(&empty.stderr).contains("a reason is needed"), "{}", text(&empty.stderr));
    }
}

/// The journal of format 3 as a released version wrote it. Made again by `CASTOFF_FIXTURE=1`, which no test sets.
#[tokio::test]
async fn a_journal_of_this_format_stays_readable() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/journal-3");
    if std::env::var_os("CASTOFF_FIXTURE").is_some() {
        let state = tempfile::tempdir().unwrap();
        write(state.path()).await;
        let from = journal::folder(state.path(), "20260101-000000-abcd");
        fs::create_dir_all(&fixture).unwrap();
        // The log is folded into the file when its writer is gone, a moment later.
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        assert!(!from.join("journal.sqlite-wal").exists());
        for file in ["journal.sqlite", "journal.head"] {
            fs::copy(from.join(file), fixture.join(file)).unwrap();
        }
    }
    let state = tempfile::tempdir().unwrap();
    let folder = journal::folder(state.path(), "20260101-000000-abcd");
    fs::create_dir_all(&folder).unwrap();
    for file in ["journal.sqlite", "journal.head"] {
        fs::copy(fixture.join(file), folder.join(file)).unwrap();
    }
    let links = Reader::open(state.path(), "20260101-000000-abcd").await.unwrap().verify().await.unwrap();
    let head = "sha256:03097f28811f1e13918a95f3dc5d98b6ebde573f676f944e2688bf5b3baad7cb";
    assert_eq!(links.len(), 15);
    assert_eq!(links[14].hash.as_str(), head);
    let (line, hash) = (&links[0].line, &links[0].hash);
    assert_eq!(chain::link(&chain::start("20260101-000000-abcd"), line), *hash);
    let entries: Vec<_> = links.iter().map(|link| link.stamped.clone()).collect();
    assert_eq!(State::fold(&entries).unwrap().finished, Some(Outcome::Aborted("enough for tonight".to_owned())));
    // It can be gone on with, too.
    Journal::open(state.path(), "20260101-000000-abcd", "lee").await.unwrap();
}
