//! A second witness of a journal in a file: number and hash of its last entry, in a tiny file beside it. SQLite leaves out
//! the torn end of its log without a word; then this one speaks up. It is written after the entry is durable, so it is
//! never ahead of a whole journal, and is not synced itself: after a power cut it may be behind, which is no damage.

use super::Link;
use crate::model::Digest;
use crate::private;
use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
};

/// Where the writer of a journal keeps its witness.
#[derive(Debug)]
pub struct Witness {
    file: File,
    journal: PathBuf,
    /// Device and inode of the journal as it was opened.
    is: (u64, u64),
}

/// What a witness says.
#[derive(Debug)]
pub struct Seen {
    seq: u64,
    hash: Digest,
}

impl Witness {
    pub fn open(journal: &Path) -> io::Result<Self> {
        let path = beside(journal);
        let file = private::file(OpenOptions::new().read(true).write(true), &path)?;
        Ok(Self { file, journal: journal.to_owned(), is: identity(journal)? })
    }

    /// Called when an entry is durable. An error says that what was written may be out of everybody's reach: a file that
    /// was unlinked, or a disk that was taken away, still takes what is written to it.
    pub fn note(&self, seq: u64, hash: &Digest) -> io::Result<()> {
        if identity(&self.journal)? != self.is {
            return Err(io::Error::other("another file lies in its place"));
        }
        // Always of one length, so that one write replaces the whole.
        self.file.write_all_at(format!("{seq:>20} {hash}\n").as_bytes(), 0)
    }
}

/// What the witness of a journal says; `None` if there is none, or one that a power cut left empty. Read before the journal
/// itself: an append in between must not seem a damage.
pub fn seen(journal: &Path) -> Option<Seen> {
    let text = std::fs::read_to_string(beside(journal)).ok()?;
    let (seq, hash) = text.trim().split_once(' ')?;
    Some(Seen { seq: seq.parse().ok()?, hash: hash.parse().ok()? })
}

impl Seen {
    /// Holds what was read after entry `after` against the witness; gives the number of the first bad entry, and why.
    pub fn hold(&self, after: u64, links: &[Link]) -> Result<(), (u64, String)> {
        let last = after + links.len() as u64;
        if self.seq > last {
            let why = format!(
                "{last} entries are there, {} were written: the file was cut short, its log is torn, or it is an older copy",
                self.seq
            );
            return Err((last + 1, why));
        }
        let of_seen = links.iter().find(|link| link.stamped.seq == self.seq);
        match of_seen.filter(|link| link.hash != self.hash) {
            Some(_) => Err((self.seq, "it is not the entry that was written there".to_owned())),
            None => Ok(()),
        }
    }
}

fn beside(journal: &Path) -> PathBuf {
    journal.with_extension("head")
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    path.metadata().map(|meta| (meta.dev(), meta.ino()))
}
