//! What stood in a file of a host before castoff changed it, byte for byte, in the state folder; and what castoff wrote
//! there, so that the way back is gone only where nobody else was since. It may hold secrets: for its owner alone, never shown.

use crate::{
    model::{Digest, Fault, FaultKind},
    private,
};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

const FOLDER: &str = "backups";
const VERSION: u32 = 1;

/// `STATE/backups`, 0700: each text under its SHA-256, and a note for each file that was written.
#[derive(Clone, Debug)]
pub struct Backups {
    state: PathBuf,
}

/// What was about to be written where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Wrote {
    v: u32,
    host: String,
    path: String,
    /// `None`: nothing stood there.
    before: Option<Digest>,
    /// `None`: it was taken away.
    after: Option<Digest>,
}

impl Backups {
    /// Makes nothing yet.
    pub fn new(state: PathBuf) -> Self {
        Self { state }
    }

    /// Keeps the bytes of a file, on disk before it returns. The same bytes are kept once, whoever had them.
    pub fn keep(&self, bytes: &[u8]) -> Result<Digest, Fault> {
        let digest = Digest::of_bytes(bytes);
        if self.get(&digest).is_ok_and(|kept| kept.is_some()) {
            return Ok(digest);
        }
        self.put(hex(&digest), bytes)?;
        Ok(digest)
    }

    /// The bytes with this digest; `None`: they were never kept here. Damaged ones are a fault.
    pub fn get(&self, digest: &Digest) -> Result<Option<Vec<u8>>, Fault> {
        let Some(bytes) = self.read(hex(digest))? else { return Ok(None) };
        if Digest::of_bytes(&bytes) == *digest {
            return Ok(Some(bytes));
        }
        Err(self.fault(hex(digest), "it is damaged: its bytes do not have the SHA-256 that it is named by"))
    }

    /// Notes what is going to be written, before it is: a write that was cut off is ours as well.
    pub fn note(&self, host: &str, path: &str, before: Option<&Digest>, after: Option<&Digest>) -> Result<(), Fault> {
        let (before, after) = (before.cloned(), after.cloned());
        let name = note_name(host, path, before.as_ref());
        let wrote = Wrote { v: VERSION, host: host.to_owned(), path: path.to_owned(), before, after };
        let text = serde_json::to_string(&wrote).map_err(|why| self.fault(&name, &why.to_string()))?;
        self.put(&name, text.as_bytes())
    }

    /// What castoff wrote last to this file in the place of `before`. `None`: nothing, as far as this machine knows;
    /// `Some(None)`: it took the file away.
    pub fn wrote(&self, host: &str, path: &str, before: Option<&Digest>) -> Result<Option<Option<Digest>>, Fault> {
        let name = note_name(host, path, before);
        let Some(bytes) = self.read(&name)? else { return Ok(None) };
        let wrote: Wrote = serde_json::from_slice(&bytes).map_err(|why| self.fault(&name, &format!("it is damaged: {why}")))?;
        if (wrote.v, wrote.host.as_str(), wrote.path.as_str(), wrote.before.as_ref()) != (VERSION, host, path, before) {
            return Err(self.fault(&name, "it is of another file, or of a later castoff"));
        }
        Ok(Some(wrote.after))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.state.join(FOLDER).join(name)
    }

    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), Fault> {
        let path = self.path(name);
        let write = || {
            private::folder(&self.state, &[FOLDER])?;
            private::replace(&path, bytes)?;
            let folder = path.parent().unwrap_or(Path::new("."));
            File::open(folder)?.sync_all()?;
            File::open(&self.state)?.sync_all()
        };
        write().map_err(|why| {
            let kind = match why.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => FaultKind::Space,
                io::ErrorKind::PermissionDenied => FaultKind::Denied,
                _ => FaultKind::Lasting,
            };
            Fault::new(kind, format!("cannot keep the backup `{}`", path.display()), why.to_string())
                .hint("nothing is changed on a host before its file is kept")
        })
    }

    /// Through no link, and of this user only.
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, Fault> {
        let folder = self.state.join(FOLDER);
        match fs::symlink_metadata(&folder) {
            Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(None),
            _ => private::folder(&self.state, &[FOLDER]).map_err(|why| self.fault(name, &why.to_string()))?,
        }
        let flags = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
        let read = |mut file: File| {
            let mut bytes = vec![];
            file.read_to_end(&mut bytes).map(|_| bytes)
        };
        match OpenOptions::new().read(true).custom_flags(flags).open(self.path(name)).and_then(read) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(why) => Err(self.fault(name, &why.to_string())),
        }
    }

    fn fault(&self, name: &str, why: &str) -> Fault {
        Fault::new(FaultKind::Lasting, format!("the backup `{}`", self.path(name).display()), why)
    }
}

fn hex(digest: &Digest) -> &str {
    digest.as_str().trim_start_matches("sha256:")
}

fn note_name(host: &str, path: &str, before: Option<&Digest>) -> String {
    let of = Digest::of(&format!("{host}\n{path}\n{}", before.map_or("-", Digest::as_str)));
    format!("{}.wrote", hex(&of))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn what_is_kept_comes_back_byte_for_byte_and_is_nobody_elses() {
        let state = tempfile::tempdir().unwrap();
        let backups = Backups::new(state.path().join("state"));
        let bytes: Vec<u8> = (0..=255).cycle().take(5000).collect();
        assert_eq!(backups.get(&Digest::of_bytes(&bytes)), Ok(None));
        assert!(!state.path().join("state").exists(), "reading makes nothing");
        let digest = backups.keep(&bytes).unwrap();
        assert_eq!((digest.clone(), backups.keep(&bytes)), (Digest::of_bytes(&bytes), Ok(digest.clone())));
        assert_eq!(backups.get(&digest).unwrap().as_deref(), Some(bytes.as_slice()));
        let path = backups.path(hex(&digest));
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_damaged_backup_and_a_link_are_refused() {
        let state = tempfile::tempdir().unwrap();
        let backups = Backups::new(state.path().to_owned());
        let digest = backups.keep(b"old").unwrap();
        let path = backups.path(hex(&digest));
        fs::write(&path, "odd").unwrap();
        assert!(backups.get(&digest).unwrap_err().why.contains("damaged"));
        // Kept once more it is whole again.
        backups.keep(b"old").unwrap();
        assert_eq!(backups.get(&digest), Ok(Some(b"old".to_vec())));
        fs::rename(&path, state.path().join("elsewhere")).unwrap();
        symlink(state.path().join("elsewhere"), &path).unwrap();
        assert!(backups.get(&digest).is_err());
        fs::rename(state.path().join(FOLDER), state.path().join("moved")).unwrap();
        symlink("moved", state.path().join(FOLDER)).unwrap();
        assert_eq!(backups.keep(b"new").unwrap_err().kind, FaultKind::Denied);
        assert!(backups.get(&digest).unwrap_err().why.contains("it is a link"));
    }

    #[test]
    fn what_was_written_is_known_by_host_path_and_what_stood_there() {
        let state = tempfile::tempdir().unwrap();
        let backups = Backups::new(state.path().to_owned());
        let (one, two) = (Digest::of("one"), Digest::of("two"));
        assert_eq!(backups.wrote("web-1", "/etc/x", None), Ok(None));
        backups.note("web-1", "/etc/x", None, Some(&one)).unwrap();
        backups.note("web-1", "/etc/x", Some(&one), None).unwrap();
        assert_eq!(backups.wrote("web-1", "/etc/x", None), Ok(Some(Some(one.clone()))));
        assert_eq!(backups.wrote("web-1", "/etc/x", Some(&one)), Ok(Some(None)));
        assert_eq!(backups.wrote("web-2", "/etc/x", None), Ok(None));
        backups.note("web-1", "/etc/x", None, Some(&two)).unwrap();
        assert_eq!(backups.wrote("web-1", "/etc/x", None), Ok(Some(Some(two))));
        let name = note_name("web-1", "/etc/x", None);
        fs::copy(backups.path(&name), backups.path(&note_name("web-2", "/etc/x", None))).unwrap();
        assert!(backups.wrote("web-2", "/etc/x", None).unwrap_err().why.contains("another file"));
    }
}
