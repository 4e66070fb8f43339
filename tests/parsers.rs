//! Everything that castoff reads and others write, read at random: files of a committed corpus, their mutations, and
//! nasty values in every place of a document. Nothing panics, everything ends soon, what was printed reads back as the
//! same, and a refusal says where. Every find becomes a file of `tests/corpus`.

use castoff::cluster::{config::ClusterFile, sim::demo, ssh};
use castoff::model::window::Agreed;
use castoff::model::{
    ChangeId, ContainerdDaemon, Digest, DockerDaemon, Entry, ImageRef, Inventory, LimitChange, Plan, Stamped, State, text,
};
use castoff::model::{containerd_config, daemon_json, hosts_toml, registries_conf, veil};
use castoff::remote::wire::{self, Line, Wish};
use castoff::report;
use castoff::runbook::{Runbook, SHIPPED};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// 2026-11-21 02:40:00 KST.
const NOW_MS: i64 = 1_795_196_400_000;
/// In a debug build on a busy machine.
const SOON: Duration = Duration::from_secs(20);

type Parser = fn(&str);

const PARSERS: [(&str, Parser); 16] = [
    ("runbook", runbook),
    ("set", set),
    ("cluster", cluster),
    ("wire", line),
    ("image", image),
    ("window", window),
    ("limit", limit),
    ("host", host),
    ("change-id", change_id),
    ("inventory", inventory),
    ("plan", plan),
    ("veil", veiled),
    ("daemon-json", daemon),
    ("hosts-toml", hosts_of),
    ("containerd-config", containerd),
    ("registries-conf", drop_in),
];

fn refused(why: &dyn std::fmt::Display, names: &[&str]) {
    let why = why.to_string();
    assert!(!why.contains(|c| text::harmful(c) && c != '\n'), "{why:?}");
    assert!(names.is_empty() || names.iter().any(|name| why.contains(name)), "no place in {why}");
}

fn shipped() -> Runbook {
    Runbook::parse(SHIPPED[0].0, SHIPPED[0].1, &[]).unwrap()
}

fn small() -> Inventory {
    let mut world = demo(NOW_MS);
    world.hosts.retain(|name, _| name == "gpu-01");
    world.sessions.truncate(1);
    let few = |image: &ImageRef| image.repository.ends_with("/python") || image.repository.ends_with("lab");
    world.registries.values_mut().for_each(|registry| registry.images.retain(|image, _| few(image)));
    world.hosts.values_mut().for_each(|host| host.images.retain(|image, _| few(image)));
    world
}

fn runbook(text: &str) {
    match Runbook::parse("corpus.toml", text, &[]) {
        Ok(runbook) => drop(runbook.plan(&small())),
        Err(mistake) => refused(&mistake, &["corpus.toml"]),
    }
}

fn set(text: &str) {
    match Runbook::parse(SHIPPED[0].0, SHIPPED[0].1, &[text.to_owned()]) {
        Ok(runbook) => drop(runbook.plan(&small())),
        Err(mistake) => refused(&mistake, &["--set"]),
    }
}

fn cluster(written: &str) {
    match ClusterFile::parse(written, Path::new("/nowhere/castoff.toml")) {
        Ok(file) => drop((file.notes(), file.secret_variables())),
        Err(wrong) => {
            // Lines of the file itself are quoted as they are; they are cleaned where they are shown.
            refused(&text::page(&wrong.to_string()), &["castoff.toml"]);
        }
    }
}

fn line(text: &str) {
    let line: Result<Line, String> = wire::parse(text.as_bytes());
    if let Ok(line) = line {
        let again: Line = wire::parse(wire::line(line.say.clone()).as_bytes()).unwrap();
        assert_eq!(again, line);
    }
    let wish: Result<Wish, String> = wire::parse(text.as_bytes());
    if let Ok(wish) = wish {
        let again: Wish = wire::parse(wire::wish(wish.ask.clone()).as_bytes()).unwrap();
        assert_eq!(again, wish);
    }
}

fn image(text: &str) {
    match text.parse::<ImageRef>() {
        Ok(image) => {
            for again in [image.to_string(), image.familiar(), image.backend_ai()] {
                assert_eq!(again.parse::<ImageRef>().as_ref(), Ok(&image), "{text:?} {again:?}");
                assert!(text::is_clean(&again));
            }
            assert!(!image.short().is_empty());
        }
        Err(why) => refused(&why, &["image reference"]),
    }
    match text.parse::<Digest>() {
        Ok(digest) => assert_eq!(digest.short().len(), 12),
        Err(why) => refused(&why, &["digest"]),
    }
}

fn window(written: &str) {
    match Agreed::parse(written) {
        Ok(agreed) => {
            for now_ms in [NOW_MS, 0, i64::MAX, i64::MIN] {
                if let Ok(window) = agreed.at(now_ms, &jiff::tz::TimeZone::UTC) {
                    assert!(window.from_ms < window.until_ms);
                    let read: castoff::model::Window = serde_json::from_value(serde_json::to_value(&window).unwrap()).unwrap();
                    if window.from_ms > 0 {
                        assert_eq!(read, window);
                    }
                    drop((window.words(), window.length(), window.left(NOW_MS), window.moved("05:00", NOW_MS)));
                }
            }
        }
        Err(why) => refused(&why, &["window", "time", "zone", "date", "clock"]),
    }
}

fn limit(text: &str) {
    match text.parse::<LimitChange>() {
        Ok(change) => assert!(castoff::model::Limits::default().with(change).words().len() < 300),
        Err(why) => refused(&why, &["`"]),
    }
}

fn host(text: &str) {
    match ssh::Place::parse(text) {
        Ok(ssh::Place::Local) => assert_eq!(text, "local"),
        Ok(ssh::Place::Ssh(destination)) => {
            let shown = destination.to_string();
            assert!(!shown.starts_with('-') && !shown.contains(char::is_whitespace), "{shown}");
            assert_eq!(ssh::Place::parse(&format!("ssh://{shown}")), Ok(ssh::Place::Ssh(destination)), "{text}");
        }
        Err(why) => refused(&why, &["ssh://"]),
    }
}

fn hosts_of(text: &str) {
    match hosts_toml::parse(text) {
        Ok(file) => {
            let written = hosts_toml::render(&file);
            assert_eq!(hosts_toml::parse(&written).as_ref(), Ok(&file), "{text:?} {written:?}");
            assert!(!file.asked("docker.io").is_empty());
        }
        Err(mistake) => refused(&mistake, &["hosts.toml"]),
    }
    hosts_toml::lint("docker.io", text, "1.6.20").iter().for_each(|problem| assert!(text::is_clean(&problem.why)));
}

fn containerd(written: &str) {
    for format in [2, 3] {
        match containerd_config::set_config_path(Some(written), format, "/etc/containerd/certs.d") {
            Ok(set) => {
                assert_eq!(containerd_config::config_path(&set).as_deref(), Some("/etc/containerd/certs.d"), "{written:?}");
                let again = containerd_config::set_config_path(Some(&set), format, "/etc/containerd/certs.d");
                assert_eq!(again.as_ref(), Ok(&set), "{written:?}");
            }
            Err(why) => refused(&text::page(&why), &[]),
        }
    }
    drop((containerd_config::dumped(written), containerd_config::lint(written, &ContainerdDaemon::default())));
}

fn drop_in(text: &str) {
    match registries_conf::parse(text) {
        Ok(file) => {
            let written = registries_conf::render(&file);
            assert_eq!(registries_conf::parse(&written), Ok(file), "{text:?} {written:?}");
        }
        Err(mistake) => refused(&mistake, &["registries.conf"]),
    }
    registries_conf::lint("a.conf", text).iter().for_each(|problem| assert!(text::is_clean(&problem.why)));
}

fn change_id(text: &str) {
    match text.parse::<ChangeId>() {
        Ok(id) => assert_eq!(id.to_string().parse::<ChangeId>(), Ok(id)),
        Err(why) => refused(&why, &["`"]),
    }
}

fn inventory(text: &str) {
    let Ok(inventory) = serde_json::from_str::<Inventory>(text) else { return };
    let again: Inventory = serde_json::from_str(&serde_json::to_string(&inventory).unwrap()).unwrap();
    assert_eq!(again, inventory, "what was written reads back as the same");
    if let Ok((plan, _)) = shipped().plan(&inventory.tidied()) {
        shown(&plan);
    }
}

fn plan(text: &str) {
    let Ok(plan) = serde_json::from_str::<Plan>(text) else { return };
    let again: Plan = serde_json::from_str(&serde_json::to_string(&plan).unwrap()).unwrap();
    assert_eq!(again, plan, "what was written reads back as the same");
    if plan.is_in_order() && plan.deceives().is_none() {
        shown(&plan);
        drop(plan.differences(&small()));
    }
    journal(&[Entry::Planned { plan: plan.into(), by: "kim".to_owned() }]);
}

fn veiled(text: &str) {
    let veiled = veil::veil(text);
    let back = veil::unveil(&veiled.text, &veiled.values, |_| None);
    assert!(back.as_deref() == Ok(text), "what was hidden comes back");
    assert!(veil::same(&veiled.text, &veiled.text));
}

fn daemon(text: &str) {
    let engine = DockerDaemon { version: "20.10.24".to_owned(), ..DockerDaemon::default() };
    drop((daemon_json::lint(&engine, Some(text)), daemon_json::mirrors(text), daemon_json::valid_mirror(text, "28.0.0")));
    let mirrors = ["https://mirror.example/".to_owned()];
    match daemon_json::merge(Some(text), &mirrors) {
        Ok(after) => assert_eq!(daemon_json::mirrors(&after), Ok(mirrors.to_vec())),
        Err(flaw) => refused(&flaw, &[":"]),
    }
}

fn shown(plan: &Plan) {
    drop((report::plan_text(plan, 80), report::sum(plan)));
    let window = castoff::model::Window { from_ms: NOW_MS, until_ms: NOW_MS + 3_600_000, zone: "UTC".to_owned() };
    drop(report::window_text(plan, &State::default(), &window, NOW_MS));
    journal(&[Entry::Planned { plan: plan.clone().into(), by: "kim".to_owned() }]);
}

/// Entries one after the other, as far as each can follow; then everything that is said of such a run.
fn journal(entries: &[Entry]) {
    let mut state = State::default();
    let mut followed = vec![];
    for entry in entries {
        let stamped = Stamped { seq: state.seq + 1, at_ms: NOW_MS, entry: entry.clone() };
        if state.apply(&stamped).is_ok() {
            followed.push(stamped);
        }
    }
    drop((state.next(), state.causes(), report::standing(&state), report::status_text("r", &state, Some("kim"))));
    drop((report::report_markdown("r", &state, &followed), report::report_json("r", &state, &followed)));
}

/// Runs a parser and holds it to its time.
fn hold(name: &str, parser: Parser, text: &str) {
    let begun = Instant::now();
    parser(text);
    let start: String = text.chars().take(80).collect();
    assert!(begun.elapsed() < SOON, "{name} needs {:?} for {} bytes: {start:?}", begun.elapsed(), text.len());
}

fn corpus(parser: &'static str) -> Arc<Vec<String>> {
    static READ: Mutex<BTreeMap<&str, Arc<Vec<String>>>> = Mutex::new(BTreeMap::new());
    let mut read = READ.lock().unwrap_or_else(PoisonError::into_inner);
    read.entry(parser).or_insert_with(|| Arc::new(read_corpus(parser))).clone()
}

fn read_corpus(parser: &str) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(parser);
    let files = fs::read_dir(&folder).into_iter().flatten().map(|file| fs::read(file.unwrap().path()).unwrap());
    let mut out: Vec<String> = files.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).collect();
    match parser {
        "runbook" => out.push(SHIPPED[0].1.to_owned()),
        "inventory" => out.push(serde_json::to_string(&small()).unwrap()),
        "plan" => out.push(serde_json::to_string(&shipped().plan(&small()).unwrap().0).unwrap()),
        _ => {}
    }
    assert!(!out.is_empty(), "{parser} has a corpus");
    out
}

#[test]
fn every_file_of_the_corpus_is_read_or_refused_in_words() {
    for (name, parser) in PARSERS {
        corpus(name).iter().for_each(|text| hold(name, parser, text));
    }
    for folder in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus")).unwrap() {
        let name = folder.unwrap().file_name().into_string().unwrap();
        let elsewhere = ["header", "manifest", "config", "refusal", "engine-stream"];
        assert!(PARSERS.iter().any(|(known, _)| *known == name) || elsewhere.contains(&name.as_str()), "nothing reads {name}");
    }
}

#[test]
fn no_secret_of_the_corpus_is_left() {
    for text in corpus("veil").iter() {
        let veiled = veil::veil(text).text;
        assert!(!veiled.contains("hunter2") && (text.contains("hunter2") || text.contains("(hidden 3)")), "{veiled}");
    }
}

#[test]
fn a_megabyte_of_anything_ends_soon() {
    let floods = ["[", "{\"a\":", "a.", "\n", "\u{1b}[", "é", "[[a]]\n"];
    for (name, parser) in PARSERS {
        for flood in floods {
            let megabyte = flood.repeat(1_000_000 / flood.len());
            hold(name, parser, &megabyte);
        }
    }
}

/// What does not belong into any field.
fn nasty() -> Vec<Value> {
    vec![
        json!(null),
        json!(-1),
        json!(i64::MIN),
        json!(u64::MAX),
        json!(""),
        json!("\u{1b}[2J\u{202e}\n# forged"),
        json!("l".repeat(5000)),
        json!("99999.99999"),
    ]
}

/// Every place of a document, one for each shape.
fn places(value: &Value, path: &mut Vec<String>, shapes: &mut BTreeMap<String, Vec<String>>) {
    let shape: Vec<&str> = path
        .iter()
        .map(|part| if part.contains(['/', '.', ':']) || part.parse::<usize>().is_ok() { "*" } else { part })
        .collect();
    shapes.entry(shape.join(" ")).or_insert_with(|| path.clone());
    let inner: Vec<(String, &Value)> = match value {
        Value::Array(all) => all.iter().enumerate().map(|(n, one)| (n.to_string(), one)).collect(),
        Value::Object(all) => all.iter().map(|(name, one)| (name.clone(), one)).collect(),
        _ => return,
    };
    for (part, one) in inner {
        path.push(part);
        places(one, path, shapes);
        path.pop();
    }
}

fn at<'v>(value: &'v mut Value, path: &[String]) -> &'v mut Value {
    path.iter().fold(value, |value, part| match value {
        Value::Array(all) => &mut all[part.parse::<usize>().unwrap()],
        other => &mut other[part],
    })
}

fn in_every_place(name: &str, parser: Parser, whole: &Value) -> usize {
    let mut shapes = BTreeMap::new();
    places(whole, &mut vec![], &mut shapes);
    let mut n = 0;
    for path in shapes.values() {
        for value in nasty() {
            let mut changed = whole.clone();
            *at(&mut changed, path) = value;
            hold(name, parser, &changed.to_string());
            n += 1;
        }
    }
    n
}

#[test]
fn nothing_nasty_in_any_place_of_an_inventory_or_a_plan_panics() {
    let n = in_every_place("inventory", inventory, &serde_json::to_value(small()).unwrap());
    let (plan_of, _) = shipped().plan(&small()).unwrap();
    let m = in_every_place("plan", plan, &serde_json::to_value(plan_of).unwrap());
    println!("{n} inventories, {m} plans");
}

#[test]
fn nothing_nasty_in_any_entry_panics() {
    let planned: Value =
        serde_json::to_value(Entry::Planned { plan: shipped().plan(&small()).unwrap().0.into(), by: "kim".to_owned() }).unwrap();
    let fault = json!({ "kind": "space", "what": "w", "why": "y", "hint": "h", "retry-after-ms": 5, "unreachable": true });
    let window = json!({ "from-ms": 1, "until-ms": 9, "zone": "UTC" });
    let rest = json!([
        { "is": "gate-reached", "step": 0 },
        { "is": "wave-reached", "step": 1, "wave": 0 },
        { "is": "set-aside", "step": 1, "place": "gpu-01", "why": "y" },
        { "is": "came-back", "step": 1, "places": ["gpu-01"] },
        { "is": "started", "change": "2.1" },
        { "is": "retried", "change": "2.1", "why": "y", "after-ms": 5 },
        { "is": "failed", "change": "2.1", "fault": fault },
        { "is": "skipped", "change": "2.1", "why": "y", "by": "kim" },
        { "is": "paused", "why": "y", "by": "kim" },
        { "is": "window-set", "window": window, "by": "kim" },
        { "is": "rollback-begun", "to": 1, "by": "kim", "why": "y" },
        { "is": "undo-started", "change": "2.1" },
        { "is": "undo-failed", "change": "2.1", "fault": fault },
        { "is": "taken-over", "by": "lee", "why": "y" },
        { "is": "finished", "outcome": { "aborted": "y" } },
    ]);
    let read = |entries: &Value| -> Vec<Entry> {
        let all = entries.as_array().unwrap().iter();
        all.filter_map(|entry| {
            let entry: Entry = serde_json::from_value(entry.clone()).ok()?;
            let again: Entry = serde_json::from_value(serde_json::to_value(&entry).unwrap()).unwrap();
            assert_eq!(again, entry);
            Some(entry)
        })
        .collect()
    };
    let planned: Entry = serde_json::from_value(planned).unwrap();
    assert_eq!(read(&rest).len(), 15, "every entry of the story is read");
    let mut shapes = BTreeMap::new();
    for (n, one) in rest.as_array().unwrap().iter().enumerate() {
        let mut own = BTreeMap::new();
        places(one, &mut vec![], &mut own);
        shapes.extend(own.into_values().map(|path| (format!("{n} {}", path.join(" ")), [vec![n.to_string()], path].concat())));
    }
    for path in shapes.values() {
        for value in nasty() {
            let mut changed = rest.clone();
            *at(&mut changed, path) = value;
            let entries = [vec![planned.clone()], read(&changed)].concat();
            journal(&entries);
        }
    }
    println!("{} journals", shapes.len() * nasty().len());
}

/// A text of the corpus, cut up and put together otherwise.
fn mutated(seed: &str, cuts: &[(usize, usize, usize)], insert: &str) -> String {
    let mut text: Vec<char> = seed.chars().collect();
    for (from, length, kind) in cuts {
        let n = text.len();
        let from = from % (n + 1);
        let end = (from + length).min(n);
        match kind % 5 {
            0 => drop(text.drain(from..end)),
            1 => drop(text.splice(from..end, insert.chars())),
            2 => {
                let part: Vec<char> = text[from..end].to_vec();
                drop(text.splice(from..from, part));
            }
            3 => text.truncate(from),
            _ => {
                let odd = ["\u{0}", "\"", "99999999999999999999", "-", "\u{202e}", "[[", "{}", "é", "\\u0000", "=", "\u{feff}"]
                    [length % 11];
                drop(text.splice(from..from, odd.chars()));
            }
        }
    }
    text.into_iter().collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, max_shrink_iters: 200, ..ProptestConfig::with_cases(96) })]

    #[test]
    fn no_mutation_of_the_corpus_panics(
        which in any::<usize>(),
        cuts in prop::collection::vec((0usize..20_000, 0usize..60, 0usize..5), 1..5),
        insert in "\\PC{0,8}|[\\x00-\\x1f\\u{80}-\\u{9f}]{0,4}",
    ) {
        for (name, parser) in PARSERS {
            let seeds = corpus(name);
            hold(name, parser, &mutated(&seeds[which % seeds.len()], &cuts, &insert));
        }
    }

    #[test]
    fn no_text_at_all_panics(text in "\\PC{0,40}|(\\PC|[\\x00-\\x9f]){0,40}|[a-z0-9./:@=_\\[\\]-]{0,40}") {
        for (name, parser) in PARSERS {
            hold(name, parser, &text);
        }
    }
}
