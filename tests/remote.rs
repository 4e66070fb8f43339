//! A second terminal at a running run, and notices: the program in real pseudo-terminals, and the socket by itself.
//! Never waits by time alone: what is waited for has a deadline.

#[path = "screens/sample.rs"]
#[expect(dead_code, reason = "the pictures need more of the sample than the socket")]
mod sample;

use castoff::journal;
use castoff::model::{Asked, Command, Entry, Event, Level, Stamped, State};
use castoff::notify::{Notices, Run, Ways, Webhook};
use castoff::remote::client::{self, Connection};
use castoff::remote::wire::{Ask, Hello, Say};
use castoff::remote::{Hub, Socket};
use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use std::{
    fs,
    io::{Read, Write},
    num::NonZero,
    os::unix::{fs::PermissionsExt, net::UnixStream, process::CommandExt},
    path::{Path, PathBuf},
    process::{Output, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};
use tokio::sync::mpsc;

const SOON: Duration = Duration::from_mins(1);

/// A pseudo-terminal with castoff in it.
struct Terminal {
    child: Box<dyn Child + Send + Sync>,
    keys: Box<dyn Write + Send>,
    seen: Arc<Mutex<(vt100::Parser, Vec<u8>)>>,
    reader: thread::JoinHandle<()>,
    _master: Box<dyn MasterPty + Send>,
}

impl Terminal {
    fn open(kept: &Path, arguments: &[&str]) -> Self {
        let size = PtySize { rows: 36, cols: 120, pixel_width: 0, pixel_height: 0 };
        let pair = native_pty_system().openpty(size).unwrap();
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_castoff"));
        command.args(arguments);
        command.args(["--state", &kept.to_string_lossy()]);
        command.env("TERM", "xterm-256color");
        command.env("LANG", "C.UTF-8");
        command.env_remove("XDG_RUNTIME_DIR");
        command.env_remove("SUDO_USER");
        let child = pair.slave.spawn_command(command).unwrap();
        drop(pair.slave);
        let keys = pair.master.take_writer().unwrap();
        let mut from = pair.master.try_clone_reader().unwrap();
        let cells = |n| NonZero::new(n).unwrap();
        let seen = Arc::new(Mutex::new((vt100::Parser::new(cells(36), cells(120), 0), vec![])));
        let seeing = seen.clone();
        let reader = thread::spawn(move || {
            let mut buffer = [0; 8192];
            while let Ok(n @ 1..) = from.read(&mut buffer) {
                let mut seen = seeing.lock().unwrap();
                seen.0.process(&buffer[..n]);
                seen.1.extend_from_slice(&buffer[..n]);
            }
        });
        Self { child, keys, seen, reader, _master: pair.master }
    }

    fn screen(&self) -> String {
        self.seen.lock().unwrap().0.screen().contents()
    }

    /// Everything that was ever sent to the terminal.
    fn raw(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock().unwrap().1).into_owned()
    }

    fn until(&self, what: &str, holds: impl Fn(&str) -> bool) {
        let begun = Instant::now();
        while !holds(&self.screen()) {
            assert!(begun.elapsed() < SOON, "no `{what}`:\n{}", self.screen());
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn shows(&self, words: &str) {
        self.until(words, |screen| screen.contains(words));
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).and_then(|()| self.keys.flush()).unwrap();
    }

    /// Begins the plan and answers its first question.
    fn begin(&mut self) {
        self.shows("DRY RUN");
        self.press("E");
        self.shows("To do this, type   yes");
        let begun = Instant::now();
        // The question is deaf for a moment after it opened.
        while !self.screen().contains("> yes") {
            assert!(begun.elapsed() < SOON, "{}", self.screen());
            self.press("\u{15}yes");
            thread::sleep(Duration::from_millis(300));
        }
        self.press("\r");
        self.shows("RUNNING step 2");
    }

    /// The exit code, when everything that castoff said has been read.
    fn end(mut self) -> u32 {
        let begun = Instant::now();
        let code = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status.exit_code();
            }
            assert!(begun.elapsed() < SOON, "castoff does not end:\n{}", self.screen());
            thread::sleep(Duration::from_millis(20));
        };
        // Ends with the last holder of the terminal.
        self.reader.join().unwrap();
        code
    }
}

fn castoff(kept: &Path, arguments: &[&str]) -> std::process::Command {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_castoff"));
    command.args(arguments).arg("--state").arg(kept).stdin(Stdio::null());
    command.env_remove("XDG_RUNTIME_DIR").env_remove("SUDO_USER").env_remove("SSH_CONNECTION");
    command
}

/// Runs it to its end: exit code, what it printed, what it complained about.
fn asked(kept: &Path, arguments: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = castoff(kept, arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (status.code().unwrap(), text(&stdout), text(&stderr))
}

fn only_run(kept: &Path) -> (PathBuf, String) {
    let state = kept.join("rehearsals");
    let runs = journal::runs(&state);
    assert_eq!(runs.len(), 1, "{runs:?}");
    (state, runs[0].clone())
}

fn entries(state: &Path, run: &str) -> Vec<Stamped> {
    tokio::runtime::Runtime::new().unwrap().block_on(journal::read(state, run)).unwrap()
}

#[test]
fn a_second_terminal_watches_and_acts() {
    let kept = tempfile::tempdir().unwrap();
    let notes = kept.path().join("notes");
    let notify = format!("cat >> {}", notes.display());
    let mut run = Terminal::open(kept.path(), &["run", "backend-ai", "--simulate", "--notify", &notify]);
    run.begin();
    let (state, name) = only_run(kept.path());
    // An offered command is whole: with the options that were given.
    let named = format!("{name} --state {}", kept.path().display());
    let socket = journal::folder(&state, &name).join("run.sock");
    let mode = |path: &Path| fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&socket), mode(socket.parent().unwrap())), (0o600, 0o700));

    let mut watch = Terminal::open(kept.path(), &["watch"]);
    watch.shows("WATCHING A REHEARSAL");
    watch.shows("RUNNING step 2");
    let lines = castoff(kept.path(), &["watch", &name]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    // What acts only says which command does.
    watch.press("P");
    watch.shows(&format!("you are watching: castoff pause {name}"));

    let (code, out, err) = asked(kept.path(), &["pause"]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains(&format!("run {name} paused; ")) && out.contains(&format!("castoff go-on {named} goes on")), "{out}");
    for terminal in [&run, &watch] {
        terminal.shows("PAUSED");
        terminal.shows("Paused since");
    }
    let (code, _, err) = asked(kept.path(), &["pause", &name]);
    assert_eq!((code, err.as_str()), (2, format!("error: run `{name}` did not follow: the run is paused already\n").as_str()));
    let (code, out, _) = asked(kept.path(), &["limit"]);
    assert!(code == 0 && out.contains("pulls=3         changes on one host at once"), "{out}");
    let (code, out, err) = asked(kept.path(), &["limit", "pulls=2", "total=9"]);
    assert!(code == 0 && out.contains("2 a host, 16 a registry, 9 in all"), "{out}{err}");
    let (code, _, err) = asked(kept.path(), &["limit", "pull=2"]);
    assert!(code == 2 && err.contains("there is no limit `pull`"), "{err}");
    assert_eq!(asked(kept.path(), &["go-on", &name]).0, 0);
    watch.shows("RUNNING step 2");

    // Another run of the same cluster finds the lock, and offers to look on.
    let mut second = Terminal::open(kept.path(), &["run", "backend-ai", "--simulate"]);
    second.shows("HELD BY");
    second.shows(&format!("run {name}"));
    second.press("w");
    second.shows("STEPS");
    second.press("q");
    assert_eq!(second.end(), 19);
    let (code, _, err) = asked(kept.path(), &["run", "backend-ai", "--simulate", "--headless"]);
    assert!(code == 19 && err.contains(&format!("castoff watch {named} looks on; castoff status {named}")), "{err}");

    let (code, out, err) = asked(kept.path(), &["stop", &name]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains(&format!("run {name} stops; ")) && out.contains(&format!("run {name} stopped; ")), "{out}");
    assert_eq!(run.end(), 13);
    watch.shows("IT HAS LEFT");
    watch.press("q");
    assert_eq!(watch.end(), 13);
    let lines = lines.wait_with_output().unwrap();
    let words = String::from_utf8_lossy(&lines.stdout).into_owned();
    assert!(lines.status.code() == Some(13) && words.contains("paused") && words.contains("goes on"), "{words}");
    assert!(!socket.exists(), "the socket is gone with the run");

    // The journal names who asked, and from where: here from no terminal.
    let by: Vec<String> = entries(&state, &name)
        .into_iter()
        .filter_map(|stamped| match stamped.entry {
            Entry::Paused { by, .. } | Entry::Continued { by } | Entry::LimitChanged { by, .. } => Some(by),
            _ => None,
        })
        .collect();
    assert_eq!(by.len(), 5, "{by:?}");
    assert!(by.iter().all(|by| by.ends_with(", no terminal")), "{by:?}");
    let text = fs::read_to_string(&notes).unwrap();
    let first: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!((&first["v"], &first["what"], &first["step"]), (&1.into(), &"question".into(), &"pull".into()), "{text}");
    assert_eq!((&first["run"], &first["cluster"]), (&name.as_str().into(), &"prod-a".into()), "{text}");
    assert_eq!(asked(kept.path(), &["watch"]).0, 2, "nothing runs any more");
}

#[test]
fn the_window_title_follows_the_run() {
    let kept = tempfile::tempdir().unwrap();
    let mut run = Terminal::open(kept.path(), &["run", "backend-ai", "--simulate"]);
    run.begin();
    run.press("\u{3}");
    assert!(run.seen.lock().unwrap().0.screen().alternate_screen());
    let seen = run.seen.clone();
    assert_eq!(run.end(), 13);
    let raw = String::from_utf8_lossy(&seen.lock().unwrap().1).into_owned();
    let mut at = 0;
    // The terminal's own title comes back last.
    for title in ["\x1b[22;0t", "plan prod-a", "# question 1/4 prod-a", "> 2/10 prod-a", "\x1b[23;0t"] {
        at += raw[at..].find(title).unwrap_or_else(|| panic!("no {title:?} after byte {at}"));
    }
}

#[test]
fn a_run_that_was_killed_is_told_to_whoever_watches() {
    let kept = tempfile::tempdir().unwrap();
    let mut run = Terminal::open(kept.path(), &["run", "backend-ai", "--simulate"]);
    run.begin();
    let mut watch = Terminal::open(kept.path(), &["watch"]);
    watch.shows("RUNNING step 2");
    let id = rustix::process::Pid::from_raw(run.child.process_id().unwrap().cast_signed()).unwrap();
    rustix::process::kill_process(id, rustix::process::Signal::KILL).unwrap();
    run.child.wait().unwrap();
    watch.shows("IT IS GONE");
    watch.shows("gone without a word");
    watch.press("q");
    assert!(watch.raw().contains("GONE after"));
    assert_eq!(watch.end(), 13);
    let (_, name) = only_run(kept.path());
    let (code, _, err) = asked(kept.path(), &["pause", &name]);
    assert!(code == 2 && err.contains(&format!("run `{name}` does not run now")), "{err}");
    let named = format!("{name} --state {}", kept.path().display());
    assert!(err.contains(&format!("castoff resume {named} goes on with it")), "{err}");
}

/// A run's folder, a socket in it, and the ends that an engine and a front end would hold.
struct Bench {
    folder: tempfile::TempDir,
    events: Option<mpsc::Sender<Event>>,
    front: mpsc::Receiver<Event>,
    asked: mpsc::Receiver<Asked>,
    socket: Socket,
}

impl Bench {
    fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let hello = Hello {
            run: "r1".to_owned(),
            cluster: "prod-a".to_owned(),
            simulated: false,
            holder: "kim on ops-01, process 1, since now".to_owned(),
            begun: false,
            plan: None,
        };
        let (events, from_engine) = mpsc::channel(64);
        let (to_front, front) = mpsc::channel(64);
        let (to_engine, asked) = mpsc::channel(4);
        let hub = Hub::new(hello, &sample::pulling().entries, to_engine);
        let socket = Socket::open(hub.clone(), folder.path(), "r1", None).unwrap();
        tokio::spawn(hub.tee(from_engine, to_front, None));
        Self { folder, events: Some(events), front, asked, socket }
    }

    /// Sends an event as the engine would, and sees that the front end has it.
    async fn send(&mut self, event: Event) {
        let events = self.events.as_ref().unwrap();
        let (sent, got) = tokio::join!(events.send(event.clone()), self.front.recv());
        sent.unwrap();
        assert_eq!(got, Some(event));
    }
}

fn said(n: usize, size: usize) -> Event {
    Event::Said { level: Level::Info, at_ms: 1, place: n.to_string(), text: "x".repeat(size) }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_is_answered_and_gates_are_not() {
    let mut bench = Bench::open();
    let mut one = Connection::open(bench.folder.path()).await.unwrap();
    assert_eq!(State::fold(&one.entries).unwrap(), State::fold(&sample::pulling().entries).unwrap());
    let ask = |id, command| Ask { id, terminal: "pts/3".to_owned(), sudo: None, command };
    one.ask(ask(7, Command::Approve { step: 1, plan: "9c1e4f02".to_owned(), typed: "yes".to_owned() })).await.unwrap();
    let Some(Say::Answer { id: 7, refused: Some(why) }) = one.next().await.unwrap() else { panic!("no refusal") };
    assert!(why.contains("`approve` is taken only where the run is"), "{why}");
    one.ask(ask(8, Command::Pause)).await.unwrap();
    let Asked { id, by, command } = bench.asked.recv().await.unwrap();
    assert!(command == Command::Pause && by.ends_with(", pts/3"), "{by}");
    // Only who asked is answered; the front end hears nothing of it.
    bench.events.as_ref().unwrap().send(Event::Answered { id, refused: Some("no".to_owned()) }).await.unwrap();
    assert_eq!(one.next().await.unwrap(), Some(Say::Answer { id: 8, refused: Some("no".to_owned()) }));
    bench.events = None;
    assert_eq!(one.next().await.unwrap(), Some(Say::Bye));
    assert_eq!(bench.front.recv().await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_ends_its_own_connection_and_nothing_else() {
    let mut bench = Bench::open();
    let mut other = Connection::open(bench.folder.path()).await.unwrap();
    let long = "x".repeat(100_000);
    let garbage = [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff, 0xfe, b'\n'], &b"{\"v\":2,\"ask\":{}}\n"[..], long.as_bytes()];
    for (n, bytes) in garbage.map(<[u8]>::to_vec).into_iter().enumerate() {
        let path = bench.socket.path().to_owned();
        let heard = tokio::task::spawn_blocking(move || {
            let mut stream = UnixStream::connect(path).unwrap();
            // It may be let go before it has said everything.
            let _ = stream.write_all(&bytes);
            let mut heard = vec![];
            let _ = stream.read_to_end(&mut heard);
            String::from_utf8(heard).unwrap()
        });
        let heard = heard.await.unwrap();
        let last = heard.lines().last().unwrap_or_default();
        // Of a client that still writes the kernel may drop what it was told.
        assert!(n == 3 || last.starts_with("{\"v\":1,\"say\":{\"refused\":"), "case {n}: {last}");
        bench.send(said(n, 10)).await;
        assert_eq!(other.next().await.unwrap(), Some(Say::Event(said(n, 10))));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_read_is_cut_off_and_slows_nobody() {
    let mut bench = Bench::open();
    let mut stalled = UnixStream::connect(bench.socket.path()).unwrap();
    let reading = Connection::open(bench.folder.path()).await.unwrap();
    let (event_to, mut events) = mpsc::channel(64);
    let (_commands, from) = mpsc::channel(1);
    let folder = bench.folder.path().to_owned();
    tokio::spawn(async move { client::follow(reading, &folder, "", event_to, from).await });
    let begun = Instant::now();
    for n in 0..6000 {
        bench.send(said(n, 500)).await;
        // One that reads keeps up, and loses nothing.
        let got = events.recv().await;
        assert_eq!(got, Some(said(n, 500)));
    }
    assert!(begun.elapsed() < Duration::from_mins(2), "{:?}", begun.elapsed());
    let (cut, all) = tokio::task::spawn_blocking(move || {
        stalled.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut all = vec![];
        (stalled.read_to_end(&mut all).is_ok(), all.len())
    })
    .await
    .unwrap();
    assert!(cut, "still connected after {all} bytes");
    assert!(all < 6000 * 500, "it was told only what fits: {all}");
}

/// Not a test: what another user does, in a process of its own.
#[test]
#[ignore = "started by another test, as another user"]
fn stranger() {
    let mut heard = String::new();
    let stream = UnixStream::connect(std::env::var("CASTOFF_TEST_SOCKET").unwrap());
    let _ = stream.and_then(|mut stream| stream.read_to_string(&mut heard)).map_err(|error| println!("error {error}"));
    println!("heard {heard}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_user_is_refused_by_the_folder_and_by_name() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("\n*** NOT RUN: only root can be somebody else ***\n");
        return;
    }
    let bench = Bench::open();
    let program = tempfile::tempdir().unwrap();
    let visit = || {
        let open = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        open(program.path(), 0o755);
        let copy = program.path().join("stranger");
        if !copy.exists() {
            // By another process: what this one has open for writing, a child of another test may hold for a moment.
            let mut cp = std::process::Command::new("cp");
            assert!(cp.arg(std::env::current_exe().unwrap()).arg(&copy).status().unwrap().success());
            open(&copy, 0o755);
        }
        let mut command = std::process::Command::new(copy);
        command.args(["--ignored", "--exact", "stranger", "--nocapture", "--test-threads=1"]).current_dir("/");
        command.env("CASTOFF_TEST_SOCKET", bench.socket.path()).uid(65_534).gid(65_534);
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    let words = tokio::task::block_in_place(visit);
    assert!(words.contains("error Permission denied"), "{words}");
    // Even where the folder and the socket are open to everybody, the kernel's word on who it is counts.
    fs::set_permissions(bench.folder.path(), fs::Permissions::from_mode(0o711)).unwrap();
    fs::set_permissions(bench.socket.path(), fs::Permissions::from_mode(0o666)).unwrap();
    let words = tokio::task::block_in_place(visit);
    assert!(words.contains("this run belongs to root: ") && words.contains("may not watch it or act on it"), "{words}");
    assert!(!words.contains("hello"), "{words}");
}

fn now_ms() -> i64 {
    sample::NIGHT_MS
}

/// A listener that answers one request after another with these statuses, and gives back what it was sent.
fn listener(statuses: &'static [&'static str]) -> (String, thread::JoinHandle<Vec<String>>) {
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", server.local_addr().unwrap());
    let heard = thread::spawn(move || {
        let mut out = vec![];
        for status in statuses {
            let (mut stream, _) = server.accept().unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            let mut text = String::new();
            let mut buffer = [0; 4096];
            while !text.contains('}') {
                let n = stream.read(&mut buffer).unwrap();
                text.push_str(&String::from_utf8_lossy(&buffer[..n]));
            }
            write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
            out.push(text);
        }
        out
    });
    (url, heard)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_is_tried_again_and_a_hanging_command_holds_nobody_up() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (url, heard) = listener(&["503 Service Unavailable", "204 No Content"]);
    let story = sample::failed();
    let ways = Ways {
        commands: vec!["sleep 1000".to_owned()],
        hidden: vec![],
        webhook: Some(Webhook { url, token: Some("t0ken".to_owned().into()), ca: None }),
    };
    let (engine, _from_engine) = mpsc::channel(8);
    let (aside, events) = mpsc::unbounded_channel();
    let run = Run { run: "7f3a".to_owned(), cluster: "prod-a".to_owned(), now_ms };
    let begun = Instant::now();
    let notices = Notices::start(ways, run, &[], events, engine.downgrade()).unwrap();
    for stamped in story.entries {
        aside.send(Event::Entry(stamped)).unwrap();
    }
    drop(aside);
    let requests = tokio::task::spawn_blocking(|| heard.join().unwrap()).await.unwrap();
    let unsent = notices.finish(Duration::from_secs(1)).await;
    assert!(begun.elapsed() < Duration::from_secs(9), "{:?}", begun.elapsed());
    assert!(unsent.is_empty(), "{unsent:?}");
    assert_eq!(requests.len(), 2, "tried again after 503");
    let (head, body) = requests[1].split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /hook ") && head.to_lowercase().contains("authorization: bearer t0ken"), "{head}");
    let notice: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!((&notice["v"], &notice["what"], &notice["cluster"]), (&1.into(), &"failed".into(), &"prod-a".into()), "{body}");
    assert!(notice["sentence"].as_str().unwrap().contains("failed: "), "{body}");
    assert_eq!(notice["at"], "2026-11-20T17:40:00Z");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notice_that_fails_is_one_warning_and_shows_no_secret() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = tempfile::tempdir().unwrap();
    let seen = folder.path().join("environment");
    let (url, heard) = listener(&["404 Not Found"]);
    let ways = Ways {
        commands: vec![format!("env > {}; exit 3", seen.display())],
        // A variable that every process has, in the part of a secret.
        hidden: vec!["CARGO_MANIFEST_DIR".to_owned()],
        webhook: Some(Webhook { url: format!("{url}?key=hunter2"), token: None, ca: None }),
    };
    let (engine, mut from_engine) = mpsc::channel(8);
    let (aside, events) = mpsc::unbounded_channel();
    let run = Run { run: "7f3a".to_owned(), cluster: "prod-a".to_owned(), now_ms };
    let notices = Notices::start(ways, run, &[], events, engine.downgrade()).unwrap();
    for stamped in sample::failed().entries {
        aside.send(Event::Entry(stamped)).unwrap();
    }
    let mut warnings = vec![];
    while warnings.len() < 2 {
        let event = tokio::time::timeout(Duration::from_secs(20), from_engine.recv()).await.expect("a warning").unwrap();
        let Event::Said { level: Level::Warn, text, .. } = event else { panic!("{event:?}") };
        warnings.push(text);
    }
    warnings.sort();
    assert!(
        warnings[0].contains("the notice `failed` did not go out: the notify command ended with exit status: 3"),
        "{warnings:?}"
    );
    assert!(warnings[1].contains("the notice `failed` did not go out: the webhook answered 404"), "{warnings:?}");
    assert!(!warnings.concat().contains("hunter2"), "{warnings:?}");
    assert_eq!(heard.join().unwrap().len(), 1, "what will not get better is asked once");
    let environment = fs::read_to_string(&seen).unwrap();
    assert!(environment.contains("PATH=") && !environment.contains("CARGO_MANIFEST_DIR="), "{environment}");
    drop(aside);
    assert!(notices.finish(Duration::from_secs(1)).await.is_empty());
}
