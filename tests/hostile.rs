//! A hostile world: names, values, answers and files full of what gets at a terminal, a reader of a log, a clipboard.
//! The real program plans it, runs it, is watched and asked about it; nothing of it comes out raw, and nothing is long.

use castoff::cluster::{
    Cluster,
    sim::{Pace, Sim, demo},
};
use castoff::engine::{Engine, Setup};
use castoff::headless;
use castoff::journal::{self, Journal};
use castoff::model::{Command, Entry, Event, Fault, FaultKind, Inventory, Level, Plan, Stamped, Value, edge, text};
use castoff::remote::wire::{Hello, Say, line};
use castoff::report;
use castoff::runbook::{Runbook, SHIPPED};
use serde_json::Value as Json;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{BufRead, BufReader, Read, Write},
    os::unix::{
        fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
        net::UnixListener,
    },
    path::Path,
    process::{Output, Stdio},
    sync::Arc,
    thread,
    time::Duration,
};
use tokio::sync::mpsc;

/// CSI, OSC 52, OSC 8, DCS, the same from C1, bidi, invisible characters, forged lines, Markdown, HTML, a tower of marks.
const POISON: &str = "\u{1b}[31337m\u{1b}]52;c;cG9pc29u\u{7}\u{1b}]8;;http://evil.example\u{1b}\\\u{1b}P1$r31337\u{1b}\\\u{9b}31337H\u{9d}0;owned\u{9c}\
     \u{202e}\u{2066}\u{200b}\u{feff}\u{e0041}\u{7f}\u{8}\u{0}\n# forged\r\n| forged | ```\n<script>x</script>\t![a](http://evil.test)b\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}한";
/// The folder in which the driver runs.
const FOLDER: &str = "CASTOFF_TEST_FOLDER";

fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

fn poisoned(words: &str) -> String {
    format!("{words}{POISON}")
}

/// The embedded cluster, with poison wherever others choose the words.
fn world() -> Inventory {
    let mut world = demo(now_ms());
    let long = "l".repeat(1_000_000);
    for host in world.hosts.values_mut() {
        host.engine = poisoned(&host.engine);
        for container in &mut host.containers {
            container.name = poisoned(&container.name);
        }
    }
    for session in &mut world.sessions {
        session.name = poisoned(&session.name);
        session.owner = format!("{POISON}{long}");
        session.status = poisoned(&session.status);
        session.agent = poisoned(&session.agent);
    }
    for registry in world.registries.values_mut() {
        registry.url = poisoned(&registry.url);
        registry.login = Some(POISON.to_owned());
    }
    // Keys and values that a step deletes: acted upon exactly as they are.
    let old = "/sorna/local/config/docker/registry/index.docker.io";
    world.keys.insert(format!("{old}/{POISON}"), Value::text(format!("{POISON}{long}")));
    for rows in world.tables.values_mut() {
        for row in rows {
            row.insert("description".to_owned(), Json::String(POISON.to_owned()));
        }
    }
    world
}

fn runbook() -> Runbook {
    let (name, written) = SHIPPED[0];
    Runbook::parse(name, written, &[]).unwrap()
}

/// Nothing raw, no forged line, and no line that is longer than a person could want.
fn harmless(what: &str, output: &[u8]) -> String {
    let said = std::str::from_utf8(output).unwrap_or_else(|error| panic!("{what}: {error}"));
    let raw = said.chars().find(|c| text::harmful(*c) && *c != '\n');
    assert_eq!(raw, None, "{what}: {}", said.chars().take(3000).collect::<String>().escape_debug());
    said.to_owned()
}

/// The same for lines for people: neither the rest of a sequence nor a line of its own is left of the poison.
fn harmless_lines(what: &str, output: &[u8]) -> String {
    let said = harmless(what, output);
    for part in ["31337", "cG9pc29u", "evil.example", "owned"] {
        assert!(!said.contains(part), "{what}: {part}");
    }
    for line in said.lines() {
        assert!(line.chars().count() <= 20_100, "{what}: a line of {} characters", line.chars().count());
        assert!(!line.trim_start().starts_with("# forged") && !line.starts_with("| forged"), "{what}: {line}");
    }
    said
}

fn castoff(arguments: &[&str]) -> std::process::Command {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_castoff"));
    command.args(arguments).env("LC_ALL", "C.UTF-8").env("TZ", "UTC").env_remove("CASTOFF_UI").stdin(Stdio::null());
    command.env_remove("XDG_RUNTIME_DIR");
    command
}

fn asked(state: &Path, arguments: &[&str]) -> Output {
    castoff(arguments).args(["--state", &state.to_string_lossy()]).output().unwrap()
}

/// Not a test: a run of the hostile world with the real engine, journal and headless face, as a process of its own.
#[test]
#[ignore = "started by another test"]
fn driver() {
    let state = std::path::PathBuf::from(std::env::var(FOLDER).unwrap());
    let json = std::env::var("CASTOFF_TEST_JSON").is_ok();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let world = world().tidied();
        let (plan, _) = runbook().plan(&world).unwrap();
        let sim = Sim::new(world, Pace::Instant);
        // As an engine that nobody cleans up after would make them.
        let fault = |kind| Fault {
            kind,
            what: poisoned("cannot pull"),
            why: format!("{POISON}{}", "l".repeat(1_000_000)),
            hint: Some(POISON.to_owned()),
            retry_after_ms: None,
            unreachable: false,
        };
        sim.fail("pull", "gpu-01", vec![fault(FaultKind::Passing), fault(FaultKind::Lasting)]);
        sim.fail("pull", "gpu-02", vec![fault(FaultKind::Lasting); 3]);
        let journal = Journal::create(&state, "20261121-000000-0000", &poisoned("kim")).await.unwrap();
        let (to_engine, commands) = mpsc::channel(64);
        let (events, from_engine) = mpsc::channel(1024);
        let cluster: Arc<dyn Cluster> = Arc::new(sim);
        let approvals = plan.steps.iter().map(|step| (step.id.clone(), plan.plan.clone())).collect();
        let approved: BTreeSet<String> = plan.steps.iter().map(|step| step.id.clone()).collect();
        let setup = Setup {
            approvals,
            recheck: Duration::from_millis(1),
            backoff: Duration::from_millis(1),
            ..Setup::new(cluster, journal, (commands, events), &poisoned("kim"), now_ms)
        };
        let engine = Engine::new(setup).await.unwrap();
        let task = tokio::spawn(engine.run(Some(plan.into())));
        let options = headless::Options { json, approved, wait: None, lost: mpsc::channel(1).1 };
        let left = headless::run(&[], from_engine, to_engine, Command::Begin, options).await;
        fs::write(state.join("left"), format!("{left:?}")).unwrap();
        task.await.unwrap().unwrap();
    });
}

/// What the driver printed between the lines of the test harness.
fn drive(state: &Path, json: bool) -> (Vec<u8>, Vec<u8>) {
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.args(["--ignored", "--exact", "driver", "--nocapture", "--test-threads=1"]).env(FOLDER, state);
    if json {
        command.env("CASTOFF_TEST_JSON", "1");
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).chars().take(3000).collect::<String>());
    assert!(fs::read_to_string(state.join("left")).unwrap().contains("Failed"));
    (output.stdout, output.stderr)
}

#[test]
fn a_hostile_run_is_harmless_in_lines_in_json_in_the_log_and_in_the_report() {
    let state = tempfile::tempdir().unwrap();
    let (out, err) = drive(state.path(), false);
    let said = harmless_lines("headless", &out) + &harmless_lines("headless errors", &err);
    assert!(said.contains("FAILED") && said.contains("(cut, 1 000 "), "a cut text says so:\n{said}");
    for command in ["status", "log", "runs", "report"] {
        let output = asked(state.path(), &[command]);
        assert!(output.status.success(), "{command}");
        let said = harmless_lines(command, &output.stdout) + &harmless_lines(command, &output.stderr);
        assert!(!said.is_empty(), "{command}");
        if command == "report" {
            markdown(&said);
        }
        let output = asked(state.path(), &[command, "--format", "json"]);
        let said = harmless(command, &output.stdout);
        for object in said.lines() {
            serde_json::from_str::<Json>(object).unwrap_or_else(|error| panic!("{command}: {error}"));
        }
    }
    let json = tempfile::tempdir().unwrap();
    let (out, err) = drive(json.path(), true);
    harmless_lines("headless errors", &err);
    let said = harmless("headless JSON", &out);
    let objects: Vec<Json> =
        said.lines().filter(|line| line.starts_with('{')).map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(objects.len() > 20);
}

/// Tables keep their columns, fences their ends, and nothing in it is a link, an image or HTML.
fn markdown(report: &str) {
    assert_eq!(report.lines().filter(|line| line.starts_with("```")).count(), 4, "two blocks of code");
    let mut code = false;
    for line in report.lines() {
        code ^= line.starts_with("```");
        if code || line.starts_with("```") {
            continue;
        }
        let bare = line.replace("\\\\", "").replace("\\|", "").replace("\\<", "").replace("\\[", "").replace("\\!", "");
        assert!(!bare.contains(['<', '[', '!']) && !bare.contains("http://") && !bare.contains("https://"), "{line}");
        if line.starts_with('|') {
            assert_eq!(bare.matches('|').count(), 7, "{line}");
        }
    }
}

#[test]
fn a_hostile_inventory_file_is_planned_and_shown_harmless() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("inventory.json");
    fs::write(&file, serde_json::to_string(&world()).unwrap()).unwrap();
    let saved = folder.path().join("plan.json");
    let inventory = ["plan", "backend-ai", "--simulate", "--inventory", &file.to_string_lossy()].map(str::to_owned);
    let inventory: Vec<&str> = inventory.iter().map(String::as_str).collect();
    let output = castoff(&inventory).args(["--out", &saved.to_string_lossy()]).output().unwrap();
    assert_eq!(output.status.code(), Some(10), "{}", String::from_utf8_lossy(&output.stderr));
    let said = harmless_lines("plan", &output.stdout) + &harmless_lines("plan", &output.stderr);
    assert!(said.contains("index.docker.io/"), "{said}");
    let output = castoff(&inventory).args(["--format", "json"]).output().unwrap();
    harmless("plan as JSON", &output.stdout);
    let written = fs::read(&saved).unwrap();
    harmless("the saved plan", &written);
    // What is done is exactly what is there: the key with the poison in its name.
    let plan: Plan = serde_json::from_slice(&written).unwrap();
    let keys = plan.steps.iter().flat_map(|step| &step.changes).filter_map(|planned| match &planned.change {
        castoff::model::Change::Keys { diffs } => Some(diffs.iter().map(|diff| diff.key.clone())),
        _ => None,
    });
    assert!(keys.flatten().any(|key| key.ends_with(POISON)), "no key is changed by cleaning it");
}

/// Every string and every name of an inventory in turn, by the shape of its place.
#[test]
fn no_field_of_an_inventory_is_an_edge_that_was_missed() {
    let whole = serde_json::to_value(demo(0)).unwrap();
    let mut places = BTreeMap::new();
    walk(&whole, &mut vec![], &mut |path, _| {
        let shape: Vec<&str> = path
            .iter()
            .map(
                |part| {
                    if part.len() > 2 && !part.contains(['/', '.', ':']) && part.parse::<usize>().is_err() { part } else { "*" }
                },
            )
            .collect();
        places.entry(shape.join(" ")).or_insert_with(|| path.to_vec());
    });
    let (mut read, mut refused) = (0, 0);
    for path in places.values() {
        for by_name in [false, true] {
            let mut world = whole.clone();
            if !poison_at(&mut world, path, by_name) {
                continue;
            }
            let inventory = match serde_json::from_value::<Inventory>(world) {
                Ok(inventory) => inventory.tidied(),
                Err(_) => {
                    refused += 1;
                    continue;
                }
            };
            read += 1;
            if path[..] == ["cluster"] {
                // Refused where the file is read.
                assert!(!edge::is_name(&inventory.cluster));
                continue;
            }
            assert!(inventory.hosts.keys().chain(inventory.managers.keys()).all(|name| edge::is_name(name)));
            let Ok((plan, _)) = runbook().plan(&inventory) else { continue };
            let mut shown = serde_json::to_value(&plan).unwrap();
            let steps = shown["steps"].as_array_mut().unwrap();
            for step in steps {
                for change in step["changes"].as_array_mut().unwrap() {
                    // What is done, exactly as it is: shown by the words beside it.
                    change.as_object_mut().unwrap().remove("change");
                }
                step["gate"].as_object_mut().map(|gate| gate.remove("checks"));
            }
            shown.as_object_mut().unwrap().remove("cluster");
            walk(&shown, &mut vec![], &mut |at, words| {
                assert!(words.lines().all(text::is_clean), "{path:?} comes out at {at:?}: {words:?}");
            });
            harmless_lines(&path.join(" "), text::page(&report::plan_text(&plan, 120)).as_bytes());
        }
    }
    println!("{read} poisoned inventories were read, {refused} were refused, {} places", places.len());
    assert!(read > 40, "{read}");
}

fn walk(value: &Json, path: &mut Vec<String>, see: &mut impl FnMut(&[String], &str)) {
    match value {
        Json::String(words) => see(path, words),
        Json::Array(all) => {
            for (n, one) in all.iter().enumerate() {
                path.push(n.to_string());
                walk(one, path, see);
                path.pop();
            }
        }
        Json::Object(all) => {
            for (name, one) in all {
                path.push(name.clone());
                walk(one, path, see);
                path.pop();
            }
        }
        _ => {}
    }
}

/// Puts poison at the end of the string at this place, or of the name above it.
fn poison_at(value: &mut Json, path: &[String], by_name: bool) -> bool {
    let (last, above) = path.split_last().unwrap();
    let mut at = value;
    for part in above {
        at = match at {
            Json::Array(all) => &mut all[part.parse::<usize>().unwrap()],
            other => &mut other[part],
        };
    }
    if by_name {
        let Some(all) = at.as_object_mut() else { return false };
        let one = all.remove(last).unwrap();
        all.insert(poisoned(last), one);
    } else {
        let one = match at {
            Json::Array(all) => &mut all[last.parse::<usize>().unwrap()],
            other => &mut other[last],
        };
        *one = Json::String(poisoned(one.as_str().unwrap()));
    }
    true
}

#[test]
fn a_host_with_a_name_that_cannot_be_seen_is_left_out_and_blocks_the_run() {
    let mut world = demo(0);
    let twin = world.hosts["gpu-01"].clone();
    world.hosts.insert("gpu-01\u{200b}".to_owned(), twin);
    let world = world.tidied();
    assert_eq!(world.hosts.len(), 12);
    let (plan, _) = runbook().plan(&world).unwrap();
    let blocker = &plan.blockers[0];
    assert_eq!(blocker.subject, "agent gpu-01");
    assert!(blocker.why.contains("cannot be seen"), "{blocker:?}");
    // A plan that was made elsewhere is refused as a whole.
    let folder = tempfile::tempdir().unwrap();
    let (mut plan, _) = runbook().plan(&demo(0)).unwrap();
    plan.cluster.push('\u{202e}');
    let file = folder.path().join("plan.json");
    fs::write(&file, serde_json::to_string(&plan).unwrap()).unwrap();
    let output = castoff(&["plan", "--simulate", &file.to_string_lossy()]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = harmless_lines("a plan", &output.stderr);
    assert!(said.contains("the name `prod-a` holds characters that cannot be seen"), "{said}");
}

#[test]
fn a_wrong_file_is_quoted_harmlessly() {
    let folder = tempfile::tempdir().unwrap();
    let escape = |out: String, c: char| out + &format!("\\U{:08x}", u32::from(c));
    let escaped = POISON.chars().fold(String::new(), escape);
    let long = "x".repeat(300_000);
    let files = [
        format!("\"{escaped}\" = 1\n"),
        format!("name = \"{escaped}\"\ntitle = \"{long}\"\n[[step]]\nid = \"{escaped}\"\naction = \"pull-images\"\n"),
        format!("name = \"{POISON}\n"),
        format!("{long} = {long}"),
        "[".repeat(100_000),
        format!("{{\"v\":1,\"{}\":1}}", POISON.encode_utf16().fold(String::new(), |out, unit| out + &format!("\\u{unit:04x}"))),
        format!("{{\"v\":1,\"plan\":{}", "[".repeat(100_000)),
    ];
    for (n, written) in files.iter().enumerate() {
        let name = folder.path().join(format!("{n}.toml"));
        fs::write(&name, written).unwrap();
        let name = name.to_string_lossy().into_owned();
        let tries: [&[&str]; 3] =
            [&["check", &name], &["check", "backend-ai", "--cluster", &name], &["plan", "--simulate", &name]];
        for arguments in tries {
            let output = castoff(arguments).output().unwrap();
            assert!(matches!(output.status.code(), Some(1 | 2)), "{arguments:?} {}", output.status);
            let said = harmless_lines(&format!("an error of {arguments:?}"), &output.stderr);
            assert!(said.contains(&name) || said.contains("--set"), "a place is named: {arguments:?} {said}");
            assert!(said.len() < 200_000, "{} bytes of error", said.len());
        }
    }
    let output = castoff(&["run", &format!("{}.toml", POISON.replace('\0', ""))]).output().unwrap();
    harmless_lines("a name on the command line", &output.stderr);
}

/// A server of one answer, whatever is asked.
fn answering(listener: UnixListener, answer: Vec<u8>) {
    thread::spawn(move || {
        for stream in listener.incoming() {
            let answer = answer.clone();
            thread::spawn(move || {
                let mut stream = stream.unwrap();
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(&answer);
            });
        }
    });
}

#[test]
fn what_an_engine_a_database_and_ssh_say_is_harmless() {
    let folder = tempfile::tempdir().unwrap();
    let long = "l".repeat(1_000_000);
    let body = serde_json::json!({ "message": format!("{POISON}{long}") }).to_string();
    let answer = format!("HTTP/1.1 500 No\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let socket = folder.path().join("docker.sock");
    answering(UnixListener::bind(&socket).unwrap(), answer.into_bytes());
    let words = POISON.replace('\0', "");
    let fields = format!("SFATAL\0VFATAL\0C28000\0M{words}{}\0H{words}\0\0", &long[..9000]);
    let mut refusal = vec![b'E'];
    refusal.extend(u32::try_from(fields.len() + 4).unwrap().to_be_bytes());
    refusal.extend(fields.as_bytes());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(&refusal);
        }
    });
    let bin = folder.path().join("bin");
    fs::create_dir(&bin).unwrap();
    fs::write(folder.path().join("said"), format!("{words}\n{words}{long}\n")).unwrap();
    let ssh = format!(
        "#!/bin/sh\nwhile [ $# -gt 0 ]; do [ \"$1\" = -E ] && cat {} > \"$2\"; shift; done\nexit 255\n",
        folder.path().join("said").display()
    );
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o755).open(bin.join("ssh")).unwrap();
    file.write_all(ssh.as_bytes()).unwrap();
    drop(file);
    let cluster = folder.path().join("castoff.toml");
    let written = format!(
        "name = \"prod\"\n[etcd]\nendpoints = [\"http://127.0.0.1:1\"]\n[postgres]\nurl = \"postgres://castoff@127.0.0.1:{port}/backend?sslmode=disable\"\n\
         [[agents]]\nname = \"near\"\ndocker = \"unix://{}\"\n[[agents]]\nname = \"far\"\ndocker = \"ssh://kim@far.invalid\"\n\
         [[managers]]\nname = \"mgr\"\nhost = \"ssh://kim@far.invalid\"\n",
        socket.display()
    );
    fs::write(&cluster, written).unwrap();
    let out = folder.path().join("inventory.json");
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let arguments = ["inventory", "--cluster", &cluster.to_string_lossy(), "--out", &out.to_string_lossy()].map(str::to_owned);
    let output = castoff(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).env("PATH", path).output().unwrap();
    let said = harmless_lines("what they said", &output.stderr);
    assert_eq!(output.status.code(), Some(10), "{said}");
    for subject in ["agent near", "agent far", "postgres 127.0.0.1"] {
        let line = said.lines().find(|line| line.starts_with(subject)).unwrap_or_else(|| panic!("no {subject} in {said}"));
        assert!(line.contains("evil.test"), "its own words are told: {line}");
        assert!(line.len() < 5000, "{subject}: {} bytes", line.len());
    }
    harmless("the inventory", &fs::read(&out).unwrap());
}

/// A castoff that lies about itself, and a second terminal at it.
#[test]
fn a_hostile_run_that_is_watched_is_harmless() {
    let state = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (plan, _) = runbook().plan(&demo(0)).unwrap();
    let mut journal = runtime.block_on(Journal::create(state.path(), "20261121-000000-0000", &poisoned("kim"))).unwrap();
    let planned = Entry::Planned { plan: plan.clone().into(), by: poisoned("kim") };
    let entries: Vec<Stamped> = runtime.block_on(journal.append(1, vec![planned])).unwrap();
    let folder = journal::folder(state.path(), "20261121-000000-0000");
    let place = state.path().join("s");
    fs::DirBuilder::new().mode(0o700).create(&place).unwrap();
    let listener = UnixListener::bind(place.join("run.sock")).unwrap();
    fs::write(folder.join("socket"), place.join("run.sock").to_string_lossy().as_bytes()).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let hello = Hello {
                run: "20261121-000000-0000".to_owned(),
                cluster: "prod-a".to_owned(),
                simulated: false,
                holder: poisoned("kim"),
                begun: true,
                plan: None,
            };
            let said = |text: String| Say::Event(Event::Said { level: Level::Error, at_ms: 1, place: POISON.to_owned(), text });
            let fault = Fault {
                kind: FaultKind::Lasting,
                what: POISON.to_owned(),
                why: format!("{POISON}{}", "l".repeat(1_000_000)),
                hint: Some(POISON.to_owned()),
                retry_after_ms: None,
                unreachable: false,
            };
            let paused = Entry::Paused { why: poisoned("because"), by: poisoned("lee") };
            let change = castoff::model::ChangeId { step: 1, n: 0 };
            let lines = [
                Say::Hello(Box::new(hello)),
                Say::Event(Event::Entry(entries[0].clone())),
                Say::Event(Event::Entry(Stamped { seq: 2, at_ms: 2, entry: paused })),
                Say::Ready,
                said(POISON.to_owned()),
                said("l".repeat(1_000_000)),
                Say::Event(Event::Refused(POISON.to_owned())),
                Say::Event(Event::Entry(Stamped { seq: 3, at_ms: 2, entry: Entry::Failed { change, fault } })),
                Say::Bye,
            ];
            let _ = stream.write_all(lines.map(line).concat().as_bytes());
            // Until the other end has read it.
            let _ = BufReader::new(stream).lines().next();
        }
    });
    let output = asked(state.path(), &["watch"]);
    let said = harmless_lines("watch", &output.stdout) + &harmless_lines("watch", &output.stderr);
    assert!(said.contains("paused") && said.contains("not done:") && said.contains("FAILED"), "{said}");
    for command in ["pause", "status", "limit"] {
        let output = asked(state.path(), &[command]);
        harmless_lines(command, &[output.stdout, output.stderr].concat());
    }
    let mode = fs::metadata(folder.join("journal.sqlite")).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    drop(journal);
}
