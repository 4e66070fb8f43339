//! What castoff writes is for its owner alone, whatever the umask, and never through a link; what is in its memory stays
//! there. As root also with a second user.

use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

const SOON: Duration = Duration::from_mins(1);

/// castoff with a umask that would let everybody in.
fn castoff(arguments: &[&str]) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", "umask 000; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_castoff")]).args(arguments);
    command.env_remove("XDG_RUNTIME_DIR").env_remove("CASTOFF_UI").stdin(Stdio::null());
    command
}

fn asked(state: &Path, arguments: &[&str]) -> Output {
    castoff(arguments).args(["--state", &state.to_string_lossy()]).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

/// Every file and folder below.
fn below(folder: &Path) -> Vec<PathBuf> {
    let mut out = vec![];
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        out.push(entry.path());
        out.extend(below(&entry.path()));
    }
    out
}

fn plan_id() -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_castoff"))
        .args(["plan", "backend-ai", "--simulate", "--format", "json"])
        .output()
        .unwrap();
    let plan: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    plan["plan"].as_str().unwrap().to_owned()
}

/// A rehearsal that pulls, until it is told to stop.
struct Running(Child);

impl Running {
    fn begin(state: &Path, mut command: Command) -> Self {
        let approved = format!("pull={}", plan_id());
        command.args([
            "run",
            "backend-ai",
            "--simulate",
            "--headless",
            "--approve",
            &approved,
            "--state",
            &state.to_string_lossy(),
        ]);
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    fn until(&mut self, what: &str, holds: impl Fn() -> bool) {
        let begun = Instant::now();
        while !holds() {
            assert!(self.0.try_wait().unwrap().is_none() && begun.elapsed() < SOON, "{what}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn end(mut self) {
        let _ = kill_process(Pid::from_child(&self.0), Signal::TERM);
        self.0.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
    }
}

#[test]
fn everything_of_a_run_is_for_its_owner_alone_whatever_the_umask() {
    let kept = tempfile::tempdir().unwrap();
    let state = kept.path().join("state");
    let mut run = Running::begin(&state, castoff(&[]));
    let has = |end: &str| below(&state).iter().any(|path| path.to_string_lossy().ends_with(end));
    let names = ["journal.sqlite", "-wal", "-shm", "run.log", "lock", "prod-a.lock", "run.sock", "socket"];
    run.until("every file of a run is there", || names.iter().all(|name| has(name)));
    assert_eq!(mode(&state), 0o700);
    for path in below(&state) {
        let expected = if path.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode(&path), expected, "{}", path.display());
    }
    // No core of it is written, nor of what it starts.
    let limits = fs::read_to_string(format!("/proc/{}/limits", run.0.id())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{core}");
    run.end();
    for (arguments, file) in [
        (vec!["plan", "backend-ai", "--simulate", "--out"], kept.path().join("plan.json")),
        (vec!["init", "--out"], kept.path().join("castoff.toml")),
    ] {
        let output = castoff(&arguments).arg(&file).output().unwrap();
        assert!(matches!(output.status.code(), Some(0 | 10)), "{}", said(&output));
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
    assert!(!below(kept.path()).iter().any(|path| path.to_string_lossy().contains(".castoff-")), "nothing is left over");
}

#[test]
fn a_plan_is_written_through_no_link() {
    let kept = tempfile::tempdir().unwrap();
    let precious = kept.path().join("precious");
    fs::write(&precious, "precious").unwrap();
    let plan = kept.path().join("plan.json");
    // At the place itself, and at names that could be guessed.
    for name in ["plan.json", "plan.castoff-new", "plan.json.tmp"] {
        symlink(&precious, kept.path().join(name)).unwrap();
    }
    let output = castoff(&["plan", "backend-ai", "--simulate", "--out"]).arg(&plan).output().unwrap();
    assert_eq!(output.status.code(), Some(10), "{}", said(&output));
    assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");
    assert!(fs::symlink_metadata(&plan).unwrap().is_file(), "the link is replaced");
    let output = castoff(&["plan", "backend-ai", "--simulate", "--out", "/dev/null"]).output().unwrap();
    assert!(output.status.code() == Some(2) && said(&output).contains("it is no file"), "{}", said(&output));
    assert!(!fs::symlink_metadata("/dev/null").unwrap().is_file(), "a device is left as it is");
}

/// Whether a run is refused with these words, and nothing is written elsewhere.
fn refused(state: &Path, elsewhere: &Path, words: &str) {
    let before = below(elsewhere).len();
    let output = asked(state, &["run", "backend-ai", "--simulate", "--headless"]);
    let said = said(&output);
    assert!(matches!(output.status.code(), Some(1 | 2)) && said.contains(words), "{words}: {:?} {said}", output.status);
    assert_eq!(below(elsewhere).len(), before, "{words}");
}

#[test]
fn a_state_folder_that_somebody_else_has_a_hand_in_is_refused() {
    let elsewhere = tempfile::tempdir().unwrap();
    let kept = tempfile::tempdir().unwrap();
    for name in ["rehearsals/runs", "rehearsals/clusters"] {
        let state = kept.path().join(name.replace('/', "-"));
        let link = state.join(name);
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        symlink(elsewhere.path(), &link).unwrap();
        refused(&state, elsewhere.path(), "it is a link");
    }
    let state = kept.path().join("lock");
    let clusters = state.join("rehearsals/clusters");
    fs::create_dir_all(&clusters).unwrap();
    symlink(elsewhere.path().join("new"), clusters.join("prod-a.lock")).unwrap();
    refused(&state, elsewhere.path(), "a link stands there");
    for (open, name) in [(0o777, "all"), (0o1777, "sticky"), (0o770, "group")] {
        let state = kept.path().join(name);
        fs::create_dir_all(state.join("rehearsals")).unwrap();
        fs::set_permissions(state.join("rehearsals"), fs::Permissions::from_mode(open)).unwrap();
        refused(&state, elsewhere.path(), "others may write in it");
    }
    if rustix::process::geteuid().is_root() {
        let state = kept.path().join("theirs");
        fs::create_dir_all(state.join("rehearsals")).unwrap();
        std::os::unix::fs::chown(state.join("rehearsals"), Some(65534), None).unwrap();
        refused(&state, elsewhere.path(), "it belongs to user 65534");
    }
}

/// As another user: not even a process of the same user looks into castoff's memory or environment.
#[test]
fn a_second_user_and_a_second_process_see_nothing() {
    if !rustix::process::geteuid().is_root() {
        println!("NOT RUN: only root can become another user");
        return;
    }
    let kept = tempfile::tempdir_in("/tmp").unwrap();
    fs::set_permissions(kept.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = kept.path().join("castoff");
    fs::copy(env!("CARGO_BIN_EXE_castoff"), &program).unwrap();
    let home = kept.path().join("home");
    fs::create_dir(&home).unwrap();
    std::os::unix::fs::chown(&home, Some(65534), Some(65534)).unwrap();
    let as_user = |id: &str| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", id, "--regid", id, "--clear-groups"]).env_remove("XDG_RUNTIME_DIR").env_remove("CASTOFF_UI");
        command.stdin(Stdio::null());
        command
    };
    let mut command = as_user("65534");
    command.env("CASTOFF_ETCD_PASSWORD", "hunter2").env("HOME", &home).arg(&program);
    let state = home.join("state");
    let mut run = Running::begin(&state, command);
    run.until("it listens", || below(&state).iter().any(|path| path.ends_with("run.sock")));
    let id = run.0.id();
    for (user, what) in [("65534", "the same user"), ("65533", "another user")] {
        for file in ["environ", "mem", "maps"] {
            let output = as_user(user).args(["cat", &format!("/proc/{id}/{file}")]).output().unwrap();
            assert!(!output.status.success() && output.stdout.is_empty(), "{file} for {what}");
        }
    }
    // Another user reads nothing of the run, and asks nothing of it.
    let output = as_user("65533").args(["ls", "-R", &state.to_string_lossy()]).output().unwrap();
    assert!(!output.status.success() && output.stdout.len() < 200, "{}", String::from_utf8_lossy(&output.stdout));
    for verb in ["watch", "pause", "status"] {
        let output =
            as_user("65533").arg(&program).args([verb, "--state", &state.join("rehearsals").to_string_lossy()]).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{verb}: {}", said(&output));
    }
    run.end();
}
