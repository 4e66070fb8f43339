//! Files in and out: every byte, owner, mode and link kept, and the old file whole wherever it fails.

use crate::places::{Places, run};
use castoff::{
    cluster::{
        host::files::{self, MOST_BYTES, Raw, Write},
        ssh::Runner,
    },
    model::{
        Digest, Fault,
        FaultKind::{Denied, Drift, Lasting, Missing, Space},
    },
};
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use std::{
    fs,
    io::Write as _,
    os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant, SystemTime},
};

const SCRIPT: &str = include_str!("../../src/cluster/host/write.sh");

fn put<'a>(path: &'a str, bytes: &'a [u8], expect: Option<&[u8]>) -> Write<'a> {
    Write { path, bytes: Some(bytes), expect: expect.map(Digest::of_bytes), mode: None, owner: None, folders: &[] }
}

fn take<'a>(path: &'a str, expect: Option<&[u8]>, folders: &'a [String]) -> Write<'a> {
    Write { path, bytes: None, expect: expect.map(Digest::of_bytes), mode: None, owner: None, folders }
}

async fn one(runner: &Runner, path: &str) -> Result<Option<Raw>, Fault> {
    files::read(runner, &[path.to_owned()]).await.map(|mut files| files.remove(path).expect("an answer"))
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

fn left_over(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with(".castoff-")).collect()
}

async fn refused(runner: &Runner, write: Write<'_>, kind: castoff::model::FaultKind, words: &str) {
    let fault = files::write(runner, &write).await.expect_err(words);
    assert!(fault.kind == kind && fault.to_string().contains(words), "{words}: {fault:?}");
    assert!(fault.to_string().contains(write.path), "{fault}");
}

async fn there_and_back(runner: &Runner, folder: &Path) {
    let at = |name: &str| folder.join(name).display().to_string();
    let path = at("deep/docker.io/hosts.toml");
    let folders = [at("deep"), at("deep/docker.io")];
    assert_eq!(one(runner, &path).await, Ok(None));
    assert_eq!(files::list(runner, &at("deep")).await, Ok(None));

    // A folder that is not named is not made.
    refused(runner, put(&path, b"one", None), Missing, "no such folder").await;
    refused(runner, Write { folders: &folders[1..], ..put(&path, b"one", None) }, Lasting, "hosts.toml").await;
    assert!(!folder.join("deep").exists());
    files::write(runner, &Write { folders: &folders, ..put(&path, b"one", None) }).await.unwrap();
    assert_eq!((mode(Path::new(&path)), mode(&folder.join("deep"))), (0o644, 0o755));
    let found = one(runner, &path).await.unwrap().unwrap();
    assert_eq!(
        (found.bytes.as_slice(), found.mode, found.owner.as_str(), found.link.as_ref()),
        (&b"one"[..], 0o644, "0:0", None)
    );
    assert_eq!(files::list(runner, &at("deep")).await, Ok(Some(vec!["docker.io".to_owned()])));

    // Owner and mode of what is replaced stay, also behind a link.
    chown(&path, Some(1234), Some(4321)).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    symlink("deep/docker.io/hosts.toml", folder.join("link")).unwrap();
    files::write(runner, &put(&at("link"), b"two", Some(b"one"))).await.unwrap();
    assert!(folder.join("link").is_symlink());
    let found = one(runner, &at("link")).await.unwrap().unwrap();
    let real = fs::canonicalize(&path).unwrap().display().to_string();
    assert_eq!(
        (found.bytes.as_slice(), found.mode, found.owner.as_str(), found.link),
        (&b"two"[..], 0o640, "1234:4321", Some(real))
    );
    files::write(runner, &Write { mode: Some(0o600), ..put(&path, b"three", Some(b"two")) }).await.unwrap();
    assert_eq!((mode(Path::new(&path)), fs::metadata(&path).unwrap().uid()), (0o600, 1234));

    // Somebody else was here.
    refused(runner, put(&path, b"four", Some(b"two")), Drift, "not as expected").await;
    refused(runner, put(&path, b"four", None), Drift, "stands there already").await;
    refused(runner, put(&at("none"), b"four", Some(b"two")), Drift, "it is gone").await;
    refused(runner, take(&path, Some(b"two"), &[]), Drift, "not as expected").await;
    refused(runner, take(&at("link"), Some(b"three"), &[]), Drift, "symbolic link").await;
    refused(runner, put(&at("deep"), b"four", Some(b"two")), Drift, "no file").await;
    assert_eq!(fs::read(&path).unwrap(), b"three");
    symlink("nowhere", folder.join("dangling")).unwrap();
    refused(runner, put(&at("dangling"), b"four", None), Lasting, "leads nowhere").await;
    assert!(!folder.join("nowhere").exists());

    // The way back leaves no folder of ours, and every other.
    fs::write(folder.join("deep/theirs"), "").unwrap();
    files::write(runner, &take(&path, Some(b"three"), &folders)).await.unwrap();
    assert!(!folder.join("deep/docker.io").exists() && folder.join("deep/theirs").exists());
    fs::remove_file(folder.join("deep/theirs")).unwrap();
    files::write(runner, &take(&path, None, &folders)).await.unwrap();
    assert!(!folder.join("deep").exists());

    // What stood there comes back to whom it belonged.
    let whose = Write { mode: Some(0o600), owner: Some("1234:4321"), ..put(&path, b"one", None) };
    files::write(runner, &Write { folders: &folders, ..whose }).await.unwrap();
    let about = fs::metadata(&path).unwrap();
    assert_eq!((about.uid(), about.gid(), mode(Path::new(&path))), (1234, 4321, 0o600));
    assert_eq!(fs::metadata(folder.join("deep")).unwrap().uid(), 0);
    fs::remove_dir_all(folder.join("deep")).unwrap();
    assert_eq!(left_over(folder), Vec::<String>::new());
}

async fn every_byte(runner: &Runner, folder: &Path, rounds: usize) {
    let mut random = TestRunner::deterministic();
    let bytes = prop_oneof![prop::collection::vec(any::<u8>(), 0..300), prop::collection::vec(any::<u8>(), 70_000..90_000)];
    let names = ["a b", "it's", "$HOME", "-n", "한글", "=path", "*", "\"", "\\"];
    let mut written = std::collections::BTreeMap::new();
    for round in 0..rounds {
        let path = folder.join(names[round % names.len()]).display().to_string();
        let fresh = bytes.new_tree(&mut random).unwrap().current();
        let before: Option<Vec<u8>> = written.get(&path).cloned();
        files::write(runner, &put(&path, &fresh, before.as_deref())).await.unwrap();
        assert!(fs::read(&path).unwrap() == fresh, "{path}");
        written.insert(path, fresh);
    }
    let paths: Vec<String> = written.keys().cloned().chain([folder.join("absent").display().to_string()]).collect();
    let read = files::read(runner, &paths).await.unwrap();
    assert_eq!(read.len(), paths.len());
    for (path, raw) in read {
        assert!(raw.map(|raw| raw.bytes) == written.remove(&path), "{path}");
    }
    let listed = files::list(runner, &folder.display().to_string()).await.unwrap().unwrap();
    assert_eq!(listed.len(), paths.len() - 1, "{listed:?}");
}

#[test]
fn a_file_goes_there_and_back_from_everywhere() {
    let places = Places::open(&["plain", "busybox", "sudo"]);
    run(async {
        for place in ["local", "plain", "busybox", "sudo"] {
            let folder = tempfile::tempdir().unwrap();
            there_and_back(&places.at(place), folder.path()).await;
            let folder = tempfile::tempdir().unwrap();
            every_byte(&places.at(place), folder.path(), if place == "local" { 20 } else { 9 }).await;
        }
    });
}

#[test]
fn what_is_no_readable_file_is_named() {
    let places = Places::open(&["nobody", "refused"]);
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    fs::write(at("most"), vec![0; MOST_BYTES]).unwrap();
    fs::write(at("large"), vec![0; MOST_BYTES + 1]).unwrap();
    symlink(at("nowhere"), at("dangling")).unwrap();
    fs::create_dir(at("closed")).unwrap();
    fs::set_permissions(at("closed"), fs::Permissions::from_mode(0o700)).unwrap();
    for name in ["own", "closed/own"] {
        fs::write(at(name), "old").unwrap();
        fs::set_permissions(at(name), fs::Permissions::from_mode(0o600)).unwrap();
    }
    run(async {
        let local = places.at("local");
        assert_eq!(one(&local, &at("most")).await.unwrap().unwrap().bytes.len(), MOST_BYTES);
        let (large, dangling, folder) = (at("large"), at("dangling"), at("closed"));
        for (path, words) in [
            (large.as_str(), "larger than 1 MiB"),
            (&dangling, "leads nowhere, `/"),
            (&folder, "it is a folder"),
            ("/dev/null", "a device"),
            ("etc/passwd", "no path of a file"),
            ("/etc/", "no path of a file"),
        ] {
            let fault = one(&local, path).await.expect_err(path);
            assert!(fault.kind == Lasting && fault.to_string().contains(words), "{fault:?}");
            assert!(fault.to_string().contains(path), "{fault:?}");
        }
        assert_eq!(one(&local, &at("large/below")).await, Ok(None), "below a file there is nothing");

        // Who may not look does not say that nothing is there.
        let nobody = places.at("nobody");
        for name in ["own", "closed/own", "closed/none", "closed/none/deeper"] {
            assert_eq!(one(&nobody, &at(name)).await.expect_err(name).kind, Denied, "{name}");
        }
        assert_eq!(files::list(&nobody, &at("closed")).await.expect_err("closed").kind, Denied);
        assert_eq!(files::list(&nobody, &at("closed/none")).await.expect_err("closed").kind, Denied);
        for write in [put(&at("own"), b"new", Some(b"old")), put(&at("fresh"), b"new", None), put(&at("closed/x"), b"new", None)]
        {
            refused(&nobody, write, Denied, "ermission denied").await;
        }
        fs::create_dir(at("open")).unwrap();
        fs::set_permissions(at("open"), fs::Permissions::from_mode(0o777)).unwrap();
        let given = at("open/given");
        refused(&nobody, Write { owner: Some("0:0"), ..put(&given, b"new", None) }, Denied, "not permitted").await;
        assert!(!Path::new(&given).exists());
        refused(&nobody, take(&at("most"), Some(&vec![0; MOST_BYTES]), &[]), Denied, "ermission denied").await;
        assert_eq!(fs::read(at("own")).unwrap(), b"old");
        assert_eq!(left_over(Path::new(&at("."))), Vec::<String>::new());

        let fault = one(&places.at("refused"), &at("own")).await.expect_err("no sudo");
        assert!(fault.kind == Denied && fault.why == "a password is required", "{fault:?}");
        assert!(fault.hint.is_some_and(|hint| hint.contains("NOPASSWD")));
    });
}

#[test]
fn a_full_and_a_read_only_disk_leave_the_old_file_whole() {
    let places = Places::open(&[]);
    let disk = tempfile::tempdir().unwrap();
    let mount = |options: &str| {
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", options, "castoff-files"]).arg(disk.path());
        command.status().is_ok_and(|status| status.success())
    };
    assert!(mount("size=64k"), "the test has to be root and may mount");
    struct Mounted<'a>(&'a Path);
    impl Drop for Mounted<'_> {
        fn drop(&mut self) {
            let _ = Command::new("umount").arg("-l").arg(self.0).status();
        }
    }
    let _mounted = Mounted(disk.path());
    let path = disk.path().join("daemon.json").display().to_string();
    fs::write(&path, "old").unwrap();
    run(async {
        let local = places.at("local");
        refused(&local, put(&path, &vec![b'x'; 100_000], Some(b"old")), Space, "No space left").await;
        assert_eq!((fs::read(&path).unwrap(), left_over(disk.path())), (b"old".to_vec(), vec![]));
        assert!(mount("remount,ro"));
        refused(&local, put(&path, b"new", Some(b"old")), Lasting, "Read-only file system").await;
        refused(&local, take(&path, Some(b"old"), &[]), Lasting, "Read-only file system").await;
        assert_eq!((fs::read(&path).unwrap(), left_over(disk.path())), (b"old".to_vec(), vec![]));
    });
}

/// The script as it runs on the host when the way to it breaks off.
fn by_hand(path: &str, wanted: &[u8]) -> std::process::Child {
    let hex = |bytes: &[u8]| Digest::of_bytes(bytes).as_str()[7..].to_owned();
    let mut command = Command::new("sh");
    command.args(["-c", SCRIPT, "castoff", "put", path, &hex(b"old"), &hex(wanted), "-", "-", ".castoff-by-hand"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
}

#[test]
fn a_way_that_breaks_off_leaves_the_old_file_whole_and_what_is_left_goes_with_the_next_write() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("daemon.json").display().to_string();
    fs::write(&path, "old").unwrap();
    // The input ends early.
    let mut cut = by_hand(&path, b"a new text");
    cut.stdin.take().unwrap().write_all(b"a new").unwrap();
    let output = cut.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "=cut\n");
    assert_eq!((fs::read(&path).unwrap(), left_over(folder.path())), (b"old".to_vec(), vec![]));

    for (signal, stays) in [("-TERM", false), ("-KILL", true)] {
        let mut ended = by_hand(&path, b"a new text");
        let mut input = ended.stdin.take().unwrap();
        input.write_all(b"a new").unwrap();
        let begin = Instant::now();
        while left_over(folder.path()).is_empty() {
            assert!(begin.elapsed() < Duration::from_mins(1));
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(Command::new("kill").args([signal, &ended.id().to_string()]).status().unwrap().success());
        // The shell hears a signal when its `cat` has ended.
        drop(input);
        ended.wait().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(left_over(folder.path()).len(), usize::from(stays), "{signal}");
    }
    let places = Places::open(&[]);
    run(async {
        let local = places.at("local");
        files::write(&local, &put(&path, b"new", Some(b"old"))).await.unwrap();
        assert_eq!(left_over(folder.path()).len(), 1, "it may be another castoff's of this moment");
        let old = SystemTime::now() - Duration::from_hours(1);
        fs::File::options().write(true).open(folder.path().join(".castoff-by-hand")).unwrap().set_modified(old).unwrap();
        files::write(&local, &put(&path, b"newer", Some(b"new"))).await.unwrap();
        assert_eq!(left_over(folder.path()), Vec::<String>::new());
    });
}
