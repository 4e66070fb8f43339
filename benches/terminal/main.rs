//! What the terminal interface costs, measured from outside on a real pseudo-terminal: processor, delay, memory.
//! Never the engine: a child of this program tells the interface of a run of 100 000 changes, as the engine would.
//!
//! `cargo bench --bench terminal` prints a table with the limit beside each figure and fails where one is missed by
//! more than twofold: machines differ, and are busy. `-- --quick` measures one short round.

mod cluster;
mod machine;
mod pty;

use castoff::tui::{self, Look, OnHangup, Start};
use pty::Terminal;
use std::{
    process::ExitCode,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};
use tokio::sync::mpsc;

/// The name of the thread that tells of the run; its time is not the interface's.
const TELLER: &str = "teller";
const PROGRESS_PER_S: u32 = 10_000;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("child") => child(arguments[1].parse().expect("events a second")),
        _ if arguments.iter().any(|argument| argument == "--bench") => measure(arguments.iter().any(|a| a == "--quick")),
        // `cargo test --benches` only wants to know that it starts.
        _ => ExitCode::SUCCESS,
    }
}

/// The interface, with a run that tells this many pieces of progress a second.
fn child(per_s: u32) -> ExitCode {
    let (command_to, commands) = mpsc::channel(64);
    let (events, event_from) = mpsc::channel(4096);
    // As `main` of castoff does it.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a thread can be started");
    let look = Look { mono: false, ascii: false, colorblind: false, zone: jiff::tz::TimeZone::UTC };
    let planned = async { Arc::new(tokio::task::spawn_blocking(cluster::plan).await.expect("a plan")) };
    let Ok(Ok((plan, opened))) = runtime.block_on(tui::opening(&look, "Reading the cluster and planning", planned)) else {
        return ExitCode::FAILURE;
    };
    let start = Start {
        plan: plan.clone(),
        entries: vec![],
        run: "7f3a".to_owned(),
        simulated: false,
        folder: "/var/lib/castoff/runs/7f3a".into(),
        journal: String::new(),
        look,
        rollback_to: None,
        window: None,
        on_hangup: OnHangup::Pause,
        again: String::new(),
        still: false,
        hidden: vec![],
        watching: None,
    };
    let teller = thread::Builder::new().name(TELLER.to_owned());
    teller.spawn(move || cluster::tell(&plan, events, commands, per_s)).expect("a thread can be started");
    let left = runtime.block_on(tui::run(start, event_from, command_to));
    drop(opened);
    runtime.shutdown_background();
    if left.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// One figure: what it is, its limit, how it was in each round.
struct Figure {
    what: &'static str,
    unit: &'static str,
    limit: f64,
    rounds: Vec<f64>,
}

impl Figure {
    fn new(what: &'static str, unit: &'static str, limit: f64) -> Self {
        Self { what, unit, limit, rounds: vec![] }
    }

    fn median(&self) -> f64 {
        let mut rounds = self.rounds.clone();
        rounds.sort_by(f64::total_cmp);
        rounds[rounds.len() / 2]
    }

    /// Printed at once: a round takes its time.
    fn print(&self) -> bool {
        let median = self.median();
        let verdict = match median / self.limit {
            0.0..=1.0 => "holds",
            1.0..=2.0 => "over",
            _ => "MISSED",
        };
        let rounds: Vec<String> = self.rounds.iter().map(|round| format!("{round:.2}")).collect();
        let unit = self.unit;
        println!("{:<46} {median:>8.2} {unit:<3} {:>7.1} {unit:<3} {verdict:<7} {}", self.what, self.limit, rounds.join(" "));
        median <= self.limit * 2.0
    }
}

fn measure(quick: bool) -> ExitCode {
    let (rounds, seconds, keys, starts) = if quick { (1, 4, 30, 3) } else { (3, 10, 120, 9) };
    println!("{} agents x {} images, {PROGRESS_PER_S} progress events a second, 120x36", cluster::AGENTS, cluster::IMAGES);
    println!("{}", machine::words());
    println!("{:<46} {:>12} {:>11} {:<7} rounds", "", "median", "limit", "");
    let mut hold = first_frames(starts);
    hold &= draws(rounds, seconds);
    hold &= delays(rounds, keys);
    hold &= idles(rounds, if quick { 5 } else { 20 });
    if hold { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn myself() -> String {
    std::env::current_exe().expect("a path").to_string_lossy().into_owned()
}

/// The child with its run begun and every pull that may be on its way told of.
fn running(per_s: u32) -> Terminal {
    let mut terminal = Terminal::open(&myself(), &["child", &per_s.to_string()]);
    terminal.until("", "E execute");
    terminal.until("E", "3 000 running");
    terminal
}

fn first_frames(starts: usize) -> bool {
    let mut ours = Figure::new("first frame, 100 000 changes", "ms", 100.0);
    let mut real = Figure::new("first frame, castoff run backend-ai --simulate", "ms", 100.0);
    let state = tempfile::tempdir().expect("a folder");
    for _ in 0..starts {
        ours.rounds.push(ms(Terminal::open(&myself(), &["child", "0"]).until("", "castoff")));
        let state = state.path().to_string_lossy();
        let arguments = ["run", "backend-ai", "--simulate", "--state", &state];
        real.rounds.push(ms(Terminal::open(env!("CARGO_BIN_EXE_castoff"), &arguments).until("", "castoff")));
    }
    ours.print() & real.print()
}

/// The share of a core that everything but the telling takes, while a screen is drawn ten times a second.
fn draws(rounds: usize, seconds: u64) -> bool {
    let screens = [
        ("drawing the overview", "", "3 000 running"),
        ("drawing the matrix", "\r", "> matrix"),
        ("drawing the list of changes", "\r\t", "> changes"),
        ("drawing the log", "l", "> log"),
    ];
    let mut memory = Figure::new("peak memory, interface and its run", "MB", 150.0);
    let mut hold = true;
    for (what, keys, words) in screens {
        let mut figure = Figure::new(what, "%", 2.0);
        let mut written = vec![];
        for _ in 0..rounds {
            let mut terminal = running(PROGRESS_PER_S);
            terminal.until(keys, words);
            thread::sleep(Duration::from_secs(1));
            let (output, before, since) = (terminal.output(), machine::busy(terminal.pid(), TELLER), Instant::now());
            thread::sleep(Duration::from_secs(seconds));
            let took_ns = since.elapsed().as_secs_f64() * 1e9;
            let busy_ns = machine::busy_ns(&before, &machine::busy(terminal.pid(), TELLER));
            figure.rounds.push(busy_ns as f64 * 100.0 / took_ns);
            let (bytes, frames) = terminal.output();
            written.push(((frames - output.1) as f64 * 1e9 / took_ns, (bytes - output.0) as f64 * 1e6 / took_ns));
            memory.rounds.push(machine::peak_mb(terminal.pid()));
        }
        hold &= figure.print();
        let words: Vec<String> = written.iter().map(|(fps, kb)| format!("{fps:.1} pictures/s, {kb:.1} kB/s")).collect();
        println!("    {}", words.join("; "));
    }
    hold & memory.print()
}

/// From the write of a key to the read of the bytes that show what it did, under full load.
fn delays(rounds: usize, keys: usize) -> bool {
    let mut hold = true;
    // The nth key, and what it brings to the screen.
    type Key = fn(usize) -> (&'static str, &'static str);
    let screens: [(&str, &str, Key); 2] = [
        ("key to screen on the overview, 99th percentile", "", |n| if n % 2 == 0 { ("k", "STEP 1 ") } else { ("j", "STEP 2 ") }),
        ("key to screen on the list, 99th percentile", "\r\tg", |n| {
            if n % 2 == 0 { ("j", " 2.2  pull") } else { ("k", " 2.1  pull") }
        }),
    ];
    for (what, open, key) in screens {
        let mut figure = Figure::new(what, "ms", 50.0);
        for _ in 0..rounds {
            let mut terminal = running(PROGRESS_PER_S);
            terminal.until(open, if open.is_empty() { "STEP 2 " } else { " 2.1  pull" });
            let delay = |n| {
                // Not in step with the pictures: 37 and 100 have no common divisor.
                thread::sleep(Duration::from_millis(37 + n as u64 % 23));
                let (key, words) = key(n);
                ms(terminal.until(key, words))
            };
            let mut all: Vec<f64> = (0..keys).map(delay).collect();
            all.sort_by(f64::total_cmp);
            figure.rounds.push(all[(all.len() * 99).div_ceil(100) - 1]);
        }
        hold &= figure.print();
    }
    hold
}

/// A run with 3 000 pulls on their way of which nothing is heard.
fn idles(rounds: usize, seconds: u64) -> bool {
    let mut figure = Figure::new("idle, nothing happens", "%", 0.5);
    for _ in 0..rounds {
        let terminal = running(0);
        thread::sleep(Duration::from_secs(1));
        let (before, since) = (machine::busy(terminal.pid(), TELLER), Instant::now());
        thread::sleep(Duration::from_secs(seconds));
        let busy_ns = machine::busy_ns(&before, &machine::busy(terminal.pid(), TELLER));
        figure.rounds.push(busy_ns as f64 * 100.0 / (since.elapsed().as_secs_f64() * 1e9));
    }
    figure.print()
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
