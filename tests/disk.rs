//! The disk under a journal, as it fails: full, read-only, gone, with errors, without power, and files that are not as they
//! were written. On an ext4 of its own in a loop device, which needs root; where it cannot be had, that is said loudly.
//! A run stops before the next effect, and every effect that there was has its entry on the disk that comes back.

use async_trait::async_trait;
use castoff::cluster::sim::{Pace, Sim, demo};
use castoff::cluster::{Cluster, Report};
use castoff::engine::{Ending, Engine, EngineError, Setup};
use castoff::journal::{self, Journal, JournalError, Reader};
use castoff::model::{Change, Command, Entry, Event, Fault, Inventory, Outcome, Plan, Stamped, Standing, State, Wants};
use castoff::runbook::{Runbook, SHIPPED};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// One disk at a time: a process that another test starts holds its locks and its open files for a moment too.
static TURN: Mutex<()> = Mutex::new(());

/// A small ext4 in a file, mounted; gone with the value.
struct Disk {
    folder: tempfile::TempDir,
    _turn: MutexGuard<'static, ()>,
}

impl Disk {
    /// `None`, and a loud line, where no disk of its own can be had.
    fn new() -> Option<Self> {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let disk = Self { folder: tempfile::tempdir().unwrap(), _turn: turn };
        fs::create_dir(disk.mount()).unwrap();
        let made = fs::File::create(disk.image()).and_then(|file| file.set_len(6 << 20));
        made.unwrap();
        let made = std::process::Command::new("mkfs.ext4").arg("-q").arg(disk.image()).status().is_ok_and(|it| it.success());
        if made && disk.attach() {
            return Some(disk);
        }
        println!("NOT RUN: no ext4 in a loop device can be mounted here (root and a loop device are needed)");
        eprintln!("NOT RUN: no ext4 in a loop device can be mounted here");
        None
    }

    fn image(&self) -> PathBuf {
        self.folder.path().join("image")
    }

    fn mount(&self) -> PathBuf {
        self.folder.path().join("disk")
    }

    fn state(&self) -> PathBuf {
        self.mount().join("state")
    }

    fn attach(&self) -> bool {
        let mut mount = std::process::Command::new("mount");
        mount.args(["-o", "loop,errors=remount-ro"]).arg(self.image()).arg(self.mount());
        let output = mount.output().unwrap();
        if !output.status.success() {
            eprintln!("{}", String::from_utf8_lossy(&output.stderr));
        }
        output.status.success()
    }

    fn detach(&self, lazily: bool) -> bool {
        let mut umount = std::process::Command::new("umount");
        umount.args(lazily.then_some("-l")).arg(self.mount()).output().is_ok_and(|it| it.status.success())
    }

    /// Until nothing is open on it, and it is another than before: a container that starts meanwhile has a copy of every mount
    /// for a moment, and as long as that is there, the old one with its error is what comes back.
    async fn replug(&self) {
        let begun = Instant::now();
        while !(self.detach(false) && self.attach() && self.is_sound()) {
            assert!(begun.elapsed() < Duration::from_mins(1), "the disk is not let go of");
            // Not blocking: whoever closes the journal needs this thread.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn is_sound(&self) -> bool {
        let probe = self.mount().join("probe");
        fs::write(&probe, "1").and_then(|()| fs::remove_file(&probe)).is_ok()
    }

    fn fill(&self) {
        let filler = self.mount().join("filler");
        for size in [65_536, 4096, 512] {
            let mut file = fs::OpenOptions::new().append(true).create(true).open(&filler).unwrap();
            while std::io::Write::write_all(&mut file, &vec![1; size]).is_ok() {}
            let _ = file.sync_all();
        }
    }

    /// As after an error of the medium: ext4 mounts itself read-only.
    fn read_only(&self) {
        let device = std::process::Command::new("findmnt").args(["-no", "SOURCE"]).arg(self.mount()).output().unwrap();
        let device = String::from_utf8(device.stdout).unwrap();
        let device = Path::new(device.trim()).file_name().unwrap().to_owned();
        fs::write(Path::new("/sys/fs/ext4").join(device).join("trigger_fs_error"), "1").unwrap();
    }

    /// Power off: from now on every call is an I/O error, and what was not synced is lost.
    fn cut(&self) {
        // EXT4_IOC_SHUTDOWN without flushing its log: what a disk has that loses power.
        let script = "import fcntl,os,struct,sys; fcntl.ioctl(os.open(sys.argv[1], 0), 0x8004587D, struct.pack('I', 2))";
        let cut = std::process::Command::new("python3").args(["-c", script]).arg(self.mount()).status().unwrap();
        assert!(cut.success());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.detach(true);
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Evil {
    Full,
    ReadOnly,
    /// The folder of the run is moved away under the open journal, which could go on writing.
    Moved,
    /// Unmounted under the open journal, which could go on writing.
    Unmounted,
    /// I/O errors, and everything lost that was not synced.
    Power,
}

impl Evil {
    fn begin(self, disk: &Disk) {
        match self {
            Self::Full => disk.fill(),
            Self::ReadOnly => disk.read_only(),
            Self::Moved => fs::rename(disk.state(), disk.mount().join("elsewhere")).unwrap(),
            Self::Unmounted => assert!(disk.detach(true)),
            Self::Power => disk.cut(),
        }
    }

    async fn end(self, disk: &Disk) {
        match self {
            Self::Full => fs::remove_file(disk.mount().join("filler")).unwrap(),
            Self::ReadOnly | Self::Power => disk.replug().await,
            Self::Moved => fs::rename(disk.mount().join("elsewhere"), disk.state()).unwrap(),
            Self::Unmounted => assert!(disk.attach()),
        }
    }
}

/// The simulator that remembers its effects.
struct Recorded {
    sim: Arc<Sim>,
    effects: Arc<Mutex<Vec<Change>>>,
}

#[async_trait]
impl Cluster for Recorded {
    async fn read(&self, wants: &Wants) -> Inventory {
        self.sim.read(wants).await
    }
    async fn standing(&self, change: &Change) -> Result<Standing, Fault> {
        self.sim.standing(change).await
    }
    async fn apply(&self, change: &Change, report: Report<'_>) -> Result<(), Fault> {
        self.effects.lock().unwrap().push(change.clone());
        self.sim.apply(change, report).await
    }
    async fn undo(&self, change: &Change, report: Report<'_>) -> Result<(), Fault> {
        self.sim.undo(change, report).await
    }
}

fn small() -> Inventory {
    let mut world = demo(now_ms());
    world.hosts.retain(|name, _| ["gpu-01", "gpu-04"].contains(&name.as_str()));
    world.hosts.values_mut().for_each(|host| host.containers.clear());
    world.sessions.clear();
    world
}

fn now_ms() -> i64 {
    1_800_000_000_000
}

fn plan() -> (Arc<Plan>, Inventory) {
    let (plan, planned) = Runbook::parse(SHIPPED[0].0, SHIPPED[0].1, &[]).unwrap().plan(&small()).unwrap();
    (Arc::new(plan), planned)
}

/// A run from its journal as it is; after the entry with this number something happens.
async fn go(state: &Path, plan: &Arc<Plan>, cluster: Recorded, (at, evil): (u64, impl FnOnce())) -> Result<Ending, EngineError> {
    let journal = match Journal::open(state, "run", "test").await {
        Err(JournalError::NoRun(_)) => Journal::create(state, "run", "test").await?,
        journal => journal?,
    };
    let mut seen = State::fold(&journal.entries().await?)?;
    let (to_engine, commands) = mpsc::channel(64);
    // Of one: the engine is never far ahead of what is seen here.
    let (events, mut from_engine) = mpsc::channel(1);
    let setup = Setup {
        recheck: Duration::from_millis(1),
        backoff: Duration::from_millis(1),
        ..Setup::new(Arc::new(cluster), journal, (commands, events), "test", now_ms)
    };
    let engine = Engine::new(setup).await?;
    let task = tokio::spawn(engine.run(Some(plan.clone())));
    to_engine.send(Command::Begin).await.unwrap();
    let mut evil = Some(evil);
    while let Some(event) = from_engine.recv().await {
        match event {
            Event::Entry(stamped) => {
                seen.apply(&stamped).unwrap();
                if stamped.seq == at
                    && let Some(evil) = evil.take()
                {
                    evil();
                }
            }
            Event::Gate(report) => {
                let typed = seen.gate(report.step).unwrap().sentence.clone();
                let _ = to_engine.send(Command::Approve { step: report.step, plan: plan.plan.clone(), typed }).await;
            }
            _ => {}
        }
    }
    task.await.unwrap()
}

async fn check(evil: Evil, moments: &[u64]) {
    let Some(disk) = Disk::new() else { return };
    let (plan, planned) = plan();
    let mut effects_in_all = 0;
    for moment in moments {
        let sim = Arc::new(Sim::new(small(), Pace::Instant));
        let effects = Arc::new(Mutex::new(vec![]));
        let cluster = || Recorded { sim: sim.clone(), effects: effects.clone() };
        let ended = go(&disk.state(), &plan, cluster(), (*moment, || evil.begin(&disk))).await;
        let error = ended.expect_err("the run stops");
        let EngineError::Journal(JournalError::Storage { what: "write", path, .. }) = &error else { panic!("{error}") };
        assert!(path.ends_with("runs/run/journal.sqlite"), "{error}");
        let done = effects.lock().unwrap().clone();
        evil.end(&disk).await;
        let entries = journal::read(&disk.state(), "run").await.unwrap();
        assert!(entries.len() as u64 >= *moment, "{evil:?} at {moment}: an entry that was told of is lost");
        let started = |change: &Change| {
            let begun = |stamped: &Stamped| match stamped.entry {
                Entry::Started { change: id } => plan.change(id).change == *change,
                _ => false,
            };
            entries.iter().any(begun)
        };
        for change in &done {
            assert!(started(change), "{evil:?} at {moment}: no entry for {change:?}");
        }
        let ended = go(&disk.state(), &plan, cluster(), (u64::MAX, || {})).await.unwrap();
        assert_eq!(ended, Ending::Finished(Outcome::Done), "{evil:?} at {moment}");
        assert_eq!(sim.world(), planned, "{evil:?} at {moment}");
        effects_in_all += done.len();
        fs::remove_dir_all(disk.state()).unwrap();
    }
    println!("{evil:?}: {} moments, {effects_in_all} effects before it, each with its entry, all resumed", moments.len());
}

const MOMENTS: [u64; 6] = [1, 6, 13, 22, 31, 40];

#[tokio::test]
async fn a_full_disk_stops_the_run_before_the_next_effect() {
    check(Evil::Full, &MOMENTS).await;
}

#[tokio::test]
async fn a_disk_that_turns_read_only_stops_the_run_before_the_next_effect() {
    check(Evil::ReadOnly, &MOMENTS).await;
}

#[tokio::test]
async fn a_journal_that_is_moved_away_stops_the_run_before_the_next_effect() {
    check(Evil::Moved, &MOMENTS).await;
}

#[tokio::test]
async fn a_disk_that_is_taken_away_stops_the_run_before_the_next_effect() {
    check(Evil::Unmounted, &MOMENTS).await;
}

#[tokio::test]
async fn a_power_cut_loses_no_entry_that_an_effect_followed() {
    check(Evil::Power, &MOMENTS).await;
}

#[tokio::test]
#[ignore = "soak"]
async fn soak_a_power_cut_after_every_entry() {
    let moments: Vec<u64> = (1..=48).collect();
    check(Evil::Power, &moments).await;
    check(Evil::Unmounted, &moments).await;
}

/// The journal of a run, its writer gone without a goodbye: the last entries stand in the log of SQLite only.
async fn torn() -> (tempfile::TempDir, Vec<Stamped>) {
    let (plan, _) = plan();
    let written = tempfile::tempdir().unwrap();
    let mut journal = Journal::create(written.path(), "run", "kim").await.unwrap();
    journal.append(1, vec![Entry::Planned { plan, by: "kim".to_owned() }]).await.unwrap();
    for (n, at_ms) in (0..6).zip(2..) {
        let entry = if n % 2 == 0 { Entry::Continued { by: "kim".to_owned() } } else { Entry::GateReached { step: n } };
        journal.append(at_ms, vec![entry]).await.unwrap();
    }
    // Copied while it is open: a writer that closes it folds the log in.
    let copied = tempfile::tempdir().unwrap();
    let to = journal::folder(copied.path(), "run");
    fs::create_dir_all(&to).unwrap();
    for file in fs::read_dir(journal::folder(written.path(), "run")).unwrap().flatten() {
        fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
    let entries = journal::read(written.path(), "run").await.unwrap();
    (copied, entries)
}

async fn verify(state: &Path) -> Result<Vec<Stamped>, JournalError> {
    verify_run(state, "run").await
}

#[tokio::test]
async fn a_torn_or_overwritten_journal_is_whole_or_tells_it() {
    let (state, entries) = torn().await;
    let folder = journal::folder(state.path(), "run");
    assert_eq!(verify(state.path()).await.unwrap(), entries);
    let (mut tried, mut told) = (0, 0);
    for name in ["journal.sqlite", "journal.sqlite-wal"] {
        // Looking on may have begun the log anew: each case begins with the files as the writer left them.
        let (fresh, _) = torn().await;
        let from = journal::folder(fresh.path(), "run");
        let whole = fs::read(from.join(name)).unwrap();
        let len = whole.len();
        // At each page and within, and densely near the end, where the last entries are.
        let mut offsets: Vec<usize> = (0..len).step_by(4096).flat_map(|page| [page, page + 100, page + 2000]).collect();
        offsets.extend((0..12).map(|n| len.saturating_sub(1 + n * 700)));
        offsets.retain(|at| *at < len);
        for at in offsets {
            let cut = whole[..at].to_vec();
            let over = |fill: fn(usize) -> u8| {
                let mut bytes = whole.clone();
                (at..(at + 512).min(len)).for_each(|i| bytes[i] = fill(i));
                bytes
            };
            for (what, bytes) in [("cut", cut), ("zeros", over(|_| 0)), ("garbage", over(|i| i.to_le_bytes()[0] ^ 0xa5))] {
                for file in fs::read_dir(&folder).unwrap().flatten() {
                    fs::remove_file(file.path()).unwrap();
                }
                for file in fs::read_dir(&from).unwrap().flatten() {
                    fs::copy(file.path(), folder.join(file.file_name())).unwrap();
                }
                fs::write(folder.join(name), bytes).unwrap();
                // The index of the log is shared memory: after a crash of the machine it is made anew.
                let _ = fs::remove_file(folder.join("journal.sqlite-shm"));
                tried += 1;
                match verify(state.path()).await {
                    Ok(found) => assert_eq!(found, entries, "{name}, {what} at {at}: silently another journal"),
                    Err(_) => {
                        told += 1;
                        let opened = Journal::open(state.path(), "run", "lee").await;
                        let whole = match opened {
                            Ok(journal) => journal.entries().await.is_ok_and(|found| found == entries),
                            Err(_) => true,
                        };
                        assert!(whole, "{name}, {what} at {at}: gone on with");
                    }
                }
            }
        }
    }
    println!("{tried} damages of a journal, {told} told, {} without effect on its entries", tried - told);
}

/// SQLite closes in a thread of its own: its log is folded in, and gone, when the last user has gone.
async fn closed(file: &Path) {
    let begun = Instant::now();
    while file.with_extension("sqlite-wal").exists() {
        assert!(begun.elapsed() < Duration::from_mins(1), "the journal is not closed");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn an_older_copy_of_a_journal_tells_it() {
    let state = tempfile::tempdir().unwrap();
    let mut journal = Journal::create(state.path(), "run", "kim").await.unwrap();
    journal.append(1, vec![Entry::Planned { plan: plan().0, by: "kim".to_owned() }]).await.unwrap();
    drop(journal);
    let file = journal::folder(state.path(), "run").join("journal.sqlite");
    closed(&file).await;
    let mut journal = Journal::open(state.path(), "run", "kim").await.unwrap();
    let older = fs::read(&file).unwrap();
    journal.append(2, vec![Entry::GateReached { step: 0 }]).await.unwrap();
    drop(journal);
    closed(&file).await;
    fs::write(&file, older).unwrap();
    let _ = fs::remove_file(file.with_extension("sqlite-wal"));
    let _ = fs::remove_file(file.with_extension("sqlite-shm"));
    let error = journal::read(state.path(), "run").await.unwrap_err();
    assert!(matches!(error, JournalError::Damaged { seq: 2, .. }), "{error}");
    assert!(error.to_string().contains("older copy"), "{error}");
}

/// A real castoff, headless, on a disk that fills while it works.
#[test]
fn a_castoff_whose_disk_is_full_says_which_file_and_what_to_do() {
    let Some(disk) = Disk::new() else { return };
    let castoff = || {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_castoff"));
        command.arg("--state").arg(disk.state()).env_remove("CASTOFF_UI").env("TZ", "UTC");
        command
    };
    let plan = castoff().args(["plan", "backend-ai", "--simulate", "--format", "json"]).output().unwrap();
    let plan: Plan = serde_json::from_slice(&plan.stdout).unwrap();
    let approve = format!("pull={}", plan.plan);
    let mut run = castoff();
    run.args(["run", "backend-ai", "--simulate", "--headless", "--approve", &approve]);
    let run = run.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let log = || {
        let runs = fs::read_dir(disk.state().join("rehearsals/runs")).into_iter().flatten().flatten();
        runs.filter_map(|run| fs::read_to_string(run.path().join("run.log")).ok()).collect::<String>()
    };
    for _ in 0..600 {
        std::thread::sleep(Duration::from_millis(50));
        if log().contains("started") {
            break;
        }
    }
    disk.fill();
    let output = run.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("error: cannot write the journal `") && said.contains("journal.sqlite`: "), "{said}");
    assert!(said.contains("full"), "{said}");
    assert!(said.contains("hint: nothing was begun after the last entry; make room"), "{said}");
    assert!(said.matches("run.log is not written: No space left").count() <= 1, "{said}");
    fs::remove_file(disk.mount().join("filler")).unwrap();
    let names: Vec<_> = fs::read_dir(disk.state().join("rehearsals/runs")).unwrap().flatten().collect();
    let state = disk.state().join("rehearsals");
    let name = names[0].file_name().into_string().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let entries = runtime.block_on(verify_run(&state, &name)).unwrap();
    State::fold(&entries).unwrap();
}

async fn verify_run(state: &Path, run: &str) -> Result<Vec<Stamped>, JournalError> {
    let links = Reader::open(state, run).await?.verify().await?;
    Ok(links.into_iter().map(|link| link.stamped).collect())
}
