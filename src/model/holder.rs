//! Who holds a run or a cluster: as it stands in locks, in the shared journal and in etcd, for the next one to read.
//! Decides nothing: whether a holder lives is asked of the machine that it names.

use serde::{Deserialize, Serialize};
use std::fmt;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Holder {
    /// `kim on ops-01`
    pub who: String,
    pub host: String,
    pub pid: u32,
    /// A moment with its zone, in words.
    pub since: String,
    /// What tells this process from every other one that ever ran, as far as its own machine can tell.
    pub process: String,
}

impl Holder {
    /// One of whom only the name is known.
    pub fn named(who: &str) -> Self {
        Self { who: who.to_owned(), ..Self::default() }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.who)?;
        if self.pid != 0 {
            write!(f, ", process {}, since {}", self.pid, self.since)?;
        }
        Ok(())
    }
}
