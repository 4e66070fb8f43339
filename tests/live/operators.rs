//! Two operators at one real cluster with one shared journal: one castoff is suspended at the worst moment, the other takes
//! its run over and goes on; the first wakes, writes nothing, does nothing and says so.

use crate::{
    lab::{Lab, Watched, approvals, until},
    stall::Stall,
    support::postgres::{Database, PASSWORD},
    world::AGENTS,
};
use serde_json::Value;
use std::{process::Command, time::Duration};

/// One who runs, and whose connections can be held back; one who takes over; one journal.
struct Two {
    lab: Lab,
    database: Database,
    plan: Value,
    journal: Stall,
    etcd: Stall,
    /// Cluster files: through the relays, and straight.
    kim: String,
    lee: String,
}

impl Two {
    fn begin() -> Self {
        let lab = Lab::begin();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let database = runtime.block_on(Database::with(""));
        let plan = lab.plan();
        let (journal, etcd) = (Stall::to(database.port()), Stall::to(lab.port(1)));
        let password = lab.write("journal-password", PASSWORD);
        let file = |name: &str, url: String, etcd: u16| {
            let text = lab.cluster_file().replace(&format!("127.0.0.1:{}", lab.port(1)), &format!("127.0.0.1:{etcd}"));
            lab.write(name, &format!("{text}\n[journal]\nurl = \"{url}\"\npassword = {{ file = \"{password}\" }}\n"))
        };
        let kim = file("kim.toml", database.url_at(journal.port), etcd.port);
        let lee = file("lee.toml", database.url(), lab.port(1));
        Self { lab, database, plan, journal, etcd, kim, lee }
    }

    /// Each with a state folder of their own, as on two machines.
    fn words<'a>(&'a self, of_kim: bool, words: &[&'a str]) -> Vec<String> {
        let (file, name) = if of_kim { (&self.kim, "kim") } else { (&self.lee, "lee") };
        let state = self.lab.scratch.path().join(name).display().to_string();
        words
            .iter()
            .map(|word| (*word).to_owned())
            .chain(["--cluster".to_owned(), file.clone(), "--state".to_owned(), state])
            .collect()
    }

    fn kim(&self, words: &[&str]) -> Watched {
        self.lab.watch(&self.words(true, words).iter().map(String::as_str).collect::<Vec<_>>())
    }

    #[track_caller]
    fn lee(&self, words: &[&str], code: i32, says: &[&str]) -> String {
        let words = self.words(false, words);
        let said = self.lab.castoff(&words.iter().map(String::as_str).collect::<Vec<_>>()).ends_with(code).says(says);
        said.out + &said.err
    }

    fn run(&self) -> String {
        let runs = self.lee(&["runs"], 0, &["backend-ai on lab"]);
        runs.split_whitespace().next().unwrap().to_owned()
    }

    /// Everything that an effect would leave behind: in etcd, in the Engines and in the journal.
    fn effects(&self, since: &str) -> (Vec<String>, Vec<String>, String) {
        let revisions = [self.lab.revisions("config/"), self.lab.revisions("images/")].concat();
        let mut events = vec![];
        for agent in AGENTS {
            let socket = format!("unix://{}/{agent}/docker.sock", self.lab.sockets);
            let arguments = ["-H", &socket, "events", "--since", since, "--until", &seconds(), "--filter", "type=image"];
            let done = Command::new("docker").args(arguments).output().unwrap();
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
            events.extend(String::from_utf8(done.stdout).unwrap().lines().map(str::to_owned));
        }
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let entries = runtime.block_on(self.database.texts("SELECT last_seq || ' ' || last_hash FROM castoff.meta"));
        (revisions, events, entries.concat())
    }
}

fn seconds() -> String {
    let now = jiff::Timestamp::now();
    format!("{}.{:09}", now.as_second(), now.subsec_nanosecond())
}

/// Lee takes the run over while kim's castoff stands still, and goes on to the next gate; then kim's wakes.
fn taken_over_meanwhile(two: &Two, mut kim: Watched, held: &Stall, why: &str) {
    assert!(held.holds(), "it came to the moment");
    let (run, id) = (two.run(), two.plan["plan"].as_str().unwrap());
    // From here on kim's heart stands still, which after a while is told as well.
    kim.signal("STOP");
    let since = seconds();
    two.lee(
        &["take-over", &run, "--reason", why, "--headless"],
        19,
        &["is held by", "its castoff lives", "castoff watch", "castoff stop"],
    );
    let force = ["take-over", &run, "--reason", why, "--headless", "--even-if-alive"];
    two.lee(&force, 12, &["its castoff lives", &format!("--approve take-over={id}")]);
    two.lee(&["status", &run], 0, &["held by"]);
    let (take, pull) = (format!("--approve=take-over={id}"), approvals(&two.plan, &["pull"]).concat());
    // Up to the next gate, which nobody answers.
    two.lee(&[&force[..], &[&take, &pull]].concat(), 12, &["taken over by", why, "the gate of `stop` needs an answer"]);
    let before = two.effects(&since);
    assert!(!before.1.is_empty(), "lee pulled");
    held.release();
    kim.signal("CONT");
    let (code, said) = kim.ends();
    assert_eq!(code, Some(19), "{said}");
    assert!(said.contains("this run was taken over by") && said.contains(why), "{said}");
    let after = two.effects(&since);
    assert_eq!(after.1.len(), before.1.len(), "whoever woke asked an Engine for something: {:#?}", after.1);
    assert!(after == before, "whoever woke wrote something");
    let verified = two.lee(&["journal", "verify", &run], 0, &["as written, nothing is missing"]);
    assert!(verified.contains(&run));
}

#[test]
fn a_castoff_that_waits_for_the_journal_while_its_run_is_taken_over_wakes_without_an_effect() {
    let two = Two::begin();
    // The entry is durable, and nobody has told kim's castoff yet.
    two.journal.hold_answer("\"is\":\"started\"", "COMMIT\0");
    let pull = approvals(&two.plan, &["pull"]).concat();
    let kim = two.kim(&["run", "backend-ai", "--headless", &pull]);
    taken_over_meanwhile(&two, kim, &two.journal, "kim's line is dead");
}

#[test]
fn a_castoff_that_asks_whose_the_cluster_is_while_its_run_is_taken_over_wakes_without_an_effect() {
    let two = Two::begin();
    // The entry is durable, kim's castoff knows, and asks etcd once more before the effect.
    two.etcd.hold_second("/castoff/local/holder");
    let pull = approvals(&two.plan, &["pull"]).concat();
    let kim = two.kim(&["run", "backend-ai", "--headless", &pull]);
    taken_over_meanwhile(&two, kim, &two.etcd, "kim is asleep");
}

#[test]
fn of_two_who_begin_at_the_same_time_exactly_one_runs() {
    let two = Two::begin();
    let pull = approvals(&two.plan, &["pull"]).concat();
    let words = ["run", "backend-ai", "--headless", &pull];
    // Slowly enough that all of them are there at once.
    two.lab.fault(r#"{"rate_bytes":4000000,"path":"/v2/stable/"}"#);
    let mut kim = two.kim(&words);
    let lee = two.words(false, &words);
    let mut lee = two.lab.watch(&lee.iter().map(String::as_str).collect::<Vec<_>>());
    // Another journal, in another folder: the cluster itself says whose it is.
    until("nobody takes the cluster", Duration::from_mins(2), || two.lab.is_taken());
    let elsewhere = tempfile::tempdir().unwrap();
    let folder = elsewhere.path().display().to_string();
    let third = two.lab.castoff(&["run", "backend-ai", "--headless", "--state", &folder, "--journal", "local"]);
    two.lab.no_fault();
    let ends = [kim.ends(), lee.ends()];
    let mut codes = [ends[0].0, ends[1].0];
    codes.sort_unstable();
    assert_eq!(codes, [Some(12), Some(19)], "{ends:?}");
    let (_, loser) = ends.iter().find(|(code, _)| *code == Some(19)).unwrap();
    for words in ["cluster `lab", "is held by", ", process ", ", since ", "castoff watch"] {
        assert!(loser.contains(words), "no `{words}`: {loser}");
    }
    third.ends_with(19).says(&["is held by", &format!("it is run {}", two.run())]);
    assert!(!two.lab.is_taken(), "the cluster is let go");
}
