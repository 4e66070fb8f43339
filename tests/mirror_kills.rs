//! `kill -9` of castoff at random moments, all along `docker-mirror` and its rollback on the mirrors' lab. Each time it is
//! resumed, and the hosts end as if nobody had disturbed it.
//!
//! For `scripts/soak`: `CASTOFF_SOAK_KILLS` and `CASTOFF_SOAK_SEED` as there.

#[path = "support/mirrors.rs"]
#[expect(dead_code, reason = "other tests need more of the lab")]
mod mirrors;
#[path = "support/soak.rs"]
mod soak;

use mirrors::{Mirrors, Part, run};
use soak::Random;
use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

const NODES: [&str; 3] = ["node-1", "node-2", "node-3"];

/// What of a host can be told apart: its file, its mirrors, whether it debugs, what castoff left in its folder.
type Host = (Option<Vec<u8>>, Vec<String>, bool, Vec<String>);

fn hosts(lab: &Mirrors) -> BTreeMap<&'static str, Host> {
    let host = |node: &'static str| {
        let names = fs::read_dir(lab.at(node, "docker")).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
        let left = names.filter(|name| name.starts_with(".castoff")).collect();
        let debugs = lab.info(node)["Debug"] == true;
        (node, (fs::read(lab.at(node, "docker/daemon.json")).ok(), lab.mirrors_of(node), debugs, left))
    };
    NODES.map(host).into()
}

struct Castoff<'a> {
    lab: &'a Mirrors,
    kept: &'a Path,
    plan: String,
}

impl Castoff<'_> {
    fn command(&self, words: &[&str]) -> Command {
        let mut castoff = Command::new(env!("CARGO_BIN_EXE_castoff"));
        castoff.args(words).arg("--cluster").arg(self.lab.cluster_file()).arg("--state").arg(self.kept);
        castoff
    }

    fn start(&self, words: &[&str]) -> Child {
        let err = fs::File::create(self.kept.with_extension("err")).unwrap();
        self.command(words).stdout(Stdio::null()).stderr(err).spawn().unwrap()
    }

    /// One way there or back, killed again and again, then let go on to its end: how often it was killed.
    fn disturbed(&self, back: bool, most: u64, random: &mut Random, killed: &mut BTreeMap<String, usize>) -> u64 {
        let mirror = format!("mirror.url=\"{}\"", self.lab.url(Part::Mirror));
        let word = if back { "rollback" } else { "mirror" };
        let approve = format!("{word}={}", self.plan);
        let first = if back {
            vec!["rollback", "--headless", "--approve", &approve]
        } else {
            vec!["run", "docker-mirror", "--set", &mirror, "--headless", "--approve", &approve]
        };
        let again = ["resume", "--headless", "--retry", "--approve", &approve];
        let (good, mut kills, mut begun) = (if back { 16 } else { 0 }, 0, false);
        for _ in 0..60 {
            let before = self.entries();
            let mut castoff = self.start(if begun { &again } else { &first });
            // One in three anywhere from its start on, the others once it has taken the run up.
            if random.below(3) > 0 {
                let end = Instant::now() + Duration::from_secs(20);
                while self.entries() == before && castoff.try_wait().unwrap().is_none() && Instant::now() < end {
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
            let end = Instant::now() + Duration::from_millis(random.below(12_000));
            while (kills >= most || Instant::now() < end) && castoff.try_wait().unwrap().is_none() {
                std::thread::sleep(Duration::from_millis(2));
            }
            if let Some(status) = castoff.try_wait().unwrap() {
                let said = fs::read_to_string(self.kept.with_extension("err")).unwrap();
                if status.code() == Some(good) {
                    return kills;
                }
                // A file that changed its hands in the middle of a question is asked for again.
                assert!(matches!(status.code(), Some(14)), "{status}: {said}");
                begun = true;
                continue;
            }
            castoff.kill().unwrap();
            castoff.wait().unwrap();
            kills += 1;
            *killed.entry(format!("{word}, {}", self.last())).or_default() += 1;
            begun = self.has_begun(back);
        }
        panic!("it does not come to its end");
    }

    fn log(&self) -> String {
        run(&mut self.command(&["log", "--format", "json"])).text
    }

    fn entries(&self) -> usize {
        let runs = fs::read_dir(self.kept.join("runs")).into_iter().flatten();
        let size = |path: std::path::PathBuf| {
            fs::read_dir(path)
                .into_iter()
                .flatten()
                .flatten()
                .filter_map(|file| file.metadata().ok())
                .map(|meta| meta.len())
                .sum::<u64>()
        };
        usize::try_from(runs.flatten().map(|run| size(run.path())).sum::<u64>()).unwrap()
    }

    fn last(&self) -> String {
        let log = self.log();
        let last = log.lines().rev().find_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        last.map_or_else(
            || "before its first entry".to_owned(),
            |entry| entry["is"].as_str().or(entry["entry"]["is"].as_str()).unwrap_or("?").to_owned(),
        )
    }

    fn has_begun(&self, back: bool) -> bool {
        let log = self.log();
        if back { log.contains("rollback-begun") } else { self.entries() > 0 }
    }
}

#[test]
#[ignore = "soak"]
fn kill_9_of_castoff_at_random_moments_of_a_mirror_run_and_of_its_way_back() {
    let (wanted, mut random) = (soak::kills(100), Random::seeded());
    let (from, lab) = (Instant::now(), Mirrors::start());
    let mirror = format!("mirror.url=\"{}\"", lab.url(Part::Mirror));
    let (before, mut after, mut killed) = (hosts(&lab), None, BTreeMap::new());
    let (mut kills, mut rounds) = (0, 0);
    // The first time nobody disturbs it: that is how it has to end.
    while kills < wanted {
        let folder = tempfile::tempdir().unwrap();
        let kept = folder.path().join("state");
        let plan = lab.castoff(&kept, &["plan", "docker-mirror", "--set", &mirror]).text;
        let plan = plan.split_once("plan ").expect("a plan").1.split(' ').next().unwrap().to_owned();
        let castoff = Castoff { lab: &lab, kept: &kept, plan };
        let most = if after.is_none() { 0 } else { 6 };
        kills += castoff.disturbed(false, most, &mut random, &mut killed);
        let there = hosts(&lab);
        assert_eq!(after.get_or_insert_with(|| there.clone()), &there, "round {rounds}, there");
        kills += castoff.disturbed(true, most, &mut random, &mut killed);
        assert_eq!(before, hosts(&lab), "round {rounds}, back");
        assert_eq!(run(&mut castoff.command(&["journal", "verify"])).code, 0);
        rounds += 1;
        println!("{kills} kills, {rounds} rounds, {:.0} s", from.elapsed().as_secs_f64());
    }
    println!("{kills} kills in {rounds} rounds, {:.0} s; behind which entry: {killed:?}", from.elapsed().as_secs_f64());
}
