//! TLS and login to every server castoff talks to, against real servers that the tests start themselves: the right, the
//! wrong and the expired credential. No lab is needed.

#![expect(clippy::format_push_string, clippy::format_collect, reason = "files of servers are put together here")]

mod certificates;
mod content;
mod elsewhere;
mod engine;
mod etcd;
mod kept;
mod postgres;
mod registry;
#[path = "../store/schema.rs"]
#[expect(dead_code, reason = "the stores' own tests need more of it")]
mod schema;
mod secrets;
mod servers;
mod small;
mod ssh;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "the stores of other tests are started in other ways")]
mod support;
mod tokens;
mod verbatim;

use castoff::model::{Fault, FaultKind};

/// What a refused credential has to say: its kind, words of its subject and cause, words of what helps.
pub struct Said<'a> {
    pub case: &'a str,
    pub kind: FaultKind,
    pub words: &'a [&'a str],
    pub hint: &'a [&'a str],
}

impl Said<'_> {
    pub fn by(&self, fault: &Fault) {
        let (case, text) = (self.case, fault.to_string());
        let hint = fault.hint.clone().unwrap_or_default();
        assert_eq!(fault.kind, self.kind, "{case}: {fault:?}");
        for word in self.words {
            assert!(text.contains(word), "{case}: `{word}` is not in: {fault:?}");
        }
        for word in self.hint {
            assert!(hint.contains(word), "{case}: `{word}` is not in the hint: {fault:?}");
        }
        assert!(!format!("{fault:?}").contains("-secret"), "{case}: {fault:?}");
    }
}

pub fn run<T>(test: impl Future<Output = T>) -> T {
    let _ = rustls::crypto::ring::default_provider().install_default();
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(test)
}
