//! The ledger: for every old reference the proven new one. No removal without a line that allows it.

use super::{Digest, ImageRef};
use serde::{Deserialize, Serialize};
use std::fmt;

/// One old reference with one content, and what stands for it in the new registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LedgerLine {
    pub old: ImageRef,
    /// Image id of the old content; `None` where only the metadata names it.
    pub old_id: Option<Digest>,
    /// The hosts that hold this content under the old name.
    #[serde(deserialize_with = "super::edge::list")]
    pub hosts: Vec<String>,
    pub new: Option<ImageRef>,
    /// Manifest digest and config digest in the new registry.
    pub new_digest: Option<Digest>,
    pub new_id: Option<Digest>,
    pub verdict: Verdict,
    /// How the verdict was reached, in words.
    #[serde(deserialize_with = "super::edge::line")]
    pub proof: String,
    /// Unix time in milliseconds.
    #[serde(deserialize_with = "super::edge::moment")]
    pub proven_at_ms: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The same content: equal config digests, or equal manifest digests.
    Identical,
    /// The new registry has the name with other content.
    DifferentBuild,
    /// The new registry does not have it.
    NoCounterpart,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Identical => "identical",
            Self::DifferentBuild => "different build",
            Self::NoCounterpart => "no counterpart",
        })
    }
}
