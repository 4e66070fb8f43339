//! Why cells stand badly: one cause for all whose words have the same root.
//! Never compares what differs by place only.

use super::Stand;
use crate::model::fault;

/// Trouble with the same root: how it stands, the kind of fault, and what its words share. `why` is those of one of them.
#[derive(Clone, Debug)]
pub struct Cause {
    pub stand: Stand,
    pub kind: u8,
    root: String,
    pub why: String,
}

impl Cause {
    pub fn new(stand: Stand, kind: u8, why: &str) -> Self {
        Self { stand, kind, root: fault::root(why), why: why.to_owned() }
    }

    fn key(&self) -> (Stand, u8, &str) {
        (self.stand, self.kind, &self.root)
    }
}

impl Ord for Cause {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

impl PartialOrd for Cause {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Cause {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Cause {}
