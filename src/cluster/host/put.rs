//! Makes the files of a change true on a host, and untrue again. Before a byte is written the one before is kept; nothing is
//! written over what does not stand as planned, and a secret is filled in right before it is written.

use super::{
    backup::Backups,
    files::{self, Raw, Write},
};
use crate::{
    cluster::{secret::Secret, ssh::Runner},
    model::{Digest, Fault, FaultKind, FileDiff, FileState, Standing, configure::file_standing, veil},
};
use secrecy::ExposeSecret;
use std::collections::{BTreeMap, BTreeSet};

/// Where files are written, and what their texts are filled with.
pub struct Files<'a> {
    pub host: &'a str,
    pub runner: &'a Runner,
    pub backups: &'a Backups,
    pub secrets: &'a BTreeMap<String, Secret>,
}

/// A file as it is kept and shown.
pub fn state(path: &str, raw: &Raw) -> Result<FileState, Fault> {
    let text = std::str::from_utf8(&raw.bytes).map_err(|_| {
        Fault::new(FaultKind::Lasting, format!("cannot read `{path}`"), "it is no UTF-8 text")
            .hint("castoff changes only texts of which it can show every byte")
    })?;
    Ok(FileState { text: veil::veil(text).text, sha256: Digest::of_bytes(&raw.bytes), mode: raw.mode, owner: raw.owner.clone() })
}

/// How one file stands, for what was read.
pub(super) fn standing(diff: &FileDiff, raw: Option<&Raw>) -> Result<Standing, Fault> {
    let found = raw.map(|raw| state(&diff.path, raw)).transpose()?;
    Ok(file_standing(diff, found.as_ref()))
}

impl Files<'_> {
    /// Writes every file that is not as it is to be, in their order.
    pub async fn put(&self, diffs: &[FileDiff]) -> Result<(), Fault> {
        let found = self.found(diffs).await?;
        for diff in diffs.iter().filter(|diff| !diff.is_equal()) {
            let raw = found.get(&diff.path).and_then(Option::as_ref);
            let text = diff.after.as_ref().map(|after| after.text.as_str());
            match self.standing(diff, raw).await?.1 {
                Standing::After => {}
                Standing::Neither(why) => return Err(self.drift(diff, &why)),
                Standing::Before => self.write(diff, raw, text).await?,
                Standing::Midway => {
                    self.only_ours(diff, raw).await?;
                    self.write(diff, raw, text).await?;
                }
            }
        }
        Ok(())
    }

    /// Writes one of the texts that only stand in between, where the file is one of the change's own.
    pub async fn put_between(&self, diff: &FileDiff, text: &str) -> Result<(), Fault> {
        let held = self.held(diff).await?;
        self.put_over(diff, held, text).await.map(drop)
    }

    /// The file as it stands, which has to be one of the change's own.
    pub async fn held(&self, diff: &FileDiff) -> Result<Option<Raw>, Fault> {
        let raw = self.found(std::slice::from_ref(diff)).await?.remove(&diff.path).flatten();
        match standing(diff, raw.as_ref())? {
            Standing::Neither(why) => return Err(self.drift(diff, &why)),
            // Its secrets may be others by now, which the texts do not tell.
            Standing::After | Standing::Midway => self.only_ours(diff, raw.as_ref()).await?,
            Standing::Before => {}
        }
        Ok(raw)
    }

    /// Writes a text over what was held, and only over that; what is held then. The file is not read anew.
    pub async fn put_over(&self, diff: &FileDiff, held: Option<Raw>, text: &str) -> Result<Option<Raw>, Fault> {
        let bytes = self.filled(diff, held.as_ref(), text).await?.into_bytes();
        self.write(diff, held.as_ref(), Some(text)).await?;
        let new = || Raw { bytes: vec![], mode: 0o644, owner: String::new(), label: None, link: None };
        Ok(Some(Raw { bytes, ..held.unwrap_or_else(new) }))
    }

    /// Gives every file back its bytes, the last one first; only where nobody else wrote since.
    pub async fn restore(&self, diffs: &[FileDiff]) -> Result<(), Fault> {
        let found = self.found(diffs).await?;
        for diff in diffs.iter().rev() {
            let raw = found.get(&diff.path).and_then(Option::as_ref);
            match self.standing(diff, raw).await?.1 {
                // What stays as it is may stand midway too, for the daemon's sake.
                Standing::After if diff.is_equal() => continue,
                // An attempt that was cut off may have left its folder, which would stand before `_default`.
                Standing::Before if diff.before.is_none() && !diff.folders.is_empty() => {}
                Standing::Before => continue,
                Standing::Neither(why) => return Err(self.drift(diff, &why)),
                Standing::After | Standing::Midway => self.only_ours(diff, raw).await?,
            }
            let bytes = self.before(diff, raw)?;
            let (mode, expect) = (diff.before.as_ref().map(|before| before.mode), raw.map(|raw| Digest::of_bytes(&raw.bytes)));
            // One that stands there keeps its owner.
            let owner = diff.before.as_ref().filter(|_| raw.is_none()).map(|before| before.owner.as_str());
            let write = Write { path: &diff.path, bytes: bytes.as_deref(), expect, mode, owner, folders: &diff.folders };
            files::write(self.runner, &write).await?;
        }
        Ok(())
    }

    pub(super) async fn found(&self, diffs: &[FileDiff]) -> Result<BTreeMap<String, Option<Raw>>, Fault> {
        let paths: Vec<String> = diffs.iter().map(|diff| diff.path.clone()).collect();
        files::read(self.runner, &paths).await
    }

    async fn write(&self, diff: &FileDiff, raw: Option<&Raw>, text: Option<&str>) -> Result<(), Fault> {
        let before = diff.before.as_ref().map(|before| &before.sha256);
        let present = raw.map(|raw| Digest::of_bytes(&raw.bytes));
        if let Some(raw) = raw.filter(|_| present.as_ref() == before) {
            self.backups.keep(&raw.bytes)?;
        }
        let bytes = match text {
            Some(text) => Some(self.filled(diff, raw, text).await?.into_bytes()),
            None => None,
        };
        let after = bytes.as_deref().map(Digest::of_bytes);
        self.backups.note(self.host, &diff.path, before, after.as_ref())?;
        // A text in between is no reason to change the mode of a file that is there.
        let mode = diff.after.as_ref().and_then(|after| after.mode);
        let write =
            Write { path: &diff.path, bytes: bytes.as_deref(), expect: present, mode, owner: None, folders: &diff.folders };
        files::write(self.runner, &write).await
    }

    /// The text with its markers filled: what it hides of the file before, and named secrets.
    pub(super) async fn filled(&self, diff: &FileDiff, raw: Option<&Raw>, text: &str) -> Result<String, Fault> {
        let fault = |why: &str| Fault::new(FaultKind::Lasting, format!("cannot write `{}` on `{}`", diff.path, self.host), why);
        let names = std::cell::RefCell::new(BTreeSet::new());
        let any = |name: &str| {
            names.borrow_mut().insert(name.to_owned());
            Some("x".to_owned())
        };
        // Only to learn the names: what it hides is filled with as many values as it can ask for.
        let _ = veil::unveil(text, &vec![String::new(); text.matches("(hidden ").count().max(64)], any);
        let mut secrets = BTreeMap::new();
        for name in names.into_inner() {
            let secret = self.secrets.get(&name).ok_or_else(|| {
                fault(&format!("the cluster file has no secret `{name}`"))
                    .hint(format!("add `{name} = {{ file = \"…\" }}` to `[secrets]`"))
            })?;
            let value = secret.read().await.map_err(|why| fault(&why.to_string()))?;
            secrets.insert(name, value);
        }
        let bytes = self.before_values(diff, raw)?;
        let values = bytes.map_or_else(|| of_ours(diff, raw), |bytes| veil::veil(&String::from_utf8_lossy(&bytes)).values);
        veil::unveil(text, &values, |name| secrets.get(name).map(|value| value.expose_secret().to_owned()))
            .map_err(|why| fault(&why))
    }

    /// The bytes of the file before, wherever they still are.
    fn before_values(&self, diff: &FileDiff, raw: Option<&Raw>) -> Result<Option<Vec<u8>>, Fault> {
        let Some(before) = &diff.before else { return Ok(None) };
        match raw.filter(|raw| Digest::of_bytes(&raw.bytes) == before.sha256) {
            Some(raw) => Ok(Some(raw.bytes.clone())),
            None => self.backups.get(&before.sha256),
        }
    }

    /// What is to stand there again: kept bytes, or, where this machine has none (another operator took the run over), the
    /// planned text with what it hides taken from the file that is there. Their hash has to be the planned one.
    fn before(&self, diff: &FileDiff, raw: Option<&Raw>) -> Result<Option<Vec<u8>>, Fault> {
        let Some(before) = &diff.before else { return Ok(None) };
        if let Some(bytes) = self.backups.get(&before.sha256)? {
            return Ok(Some(bytes));
        }
        let values = raw.map_or_else(Vec::new, |raw| veil::veil(&String::from_utf8_lossy(&raw.bytes)).values);
        let text = veil::unveil(&before.text, &values, |_| None).ok();
        let bytes = text.map(String::into_bytes).filter(|bytes| Digest::of_bytes(bytes) == before.sha256);
        bytes.map(Some).ok_or_else(|| {
            let what = format!("cannot give back `{}` on `{}`", diff.path, self.host);
            Fault::new(
                FaultKind::Lasting,
                what,
                format!("its bytes (sha256 {}) are not kept on this machine", before.sha256.short()),
            )
            .hint("roll back where the run was begun: its state folder has them in `backups`")
        })
    }

    /// The plan does not know the secrets of a text that has some: there the bytes decide, by what was noted when they were
    /// written, or by what would be written now.
    async fn only_ours(&self, diff: &FileDiff, raw: Option<&Raw>) -> Result<(), Fault> {
        let Some(raw) = raw else { return Ok(()) };
        let found = state(&diff.path, raw)?;
        let texts = diff.after.iter().map(|after| &after.text).chain(&diff.between);
        let Some(text) = texts.into_iter().find(|text| veil::same(text, &found.text)) else { return Ok(()) };
        let present = Digest::of_bytes(&raw.bytes);
        let before = diff.before.as_ref().map(|before| &before.sha256);
        let noted = || Ok::<_, Fault>(self.backups.wrote(self.host, &diff.path, before)? == Some(Some(present.clone())));
        if Digest::of(&found.text) == present && *text == found.text || noted()? {
            return Ok(());
        }
        match self.filled(diff, Some(raw), text).await {
            Ok(filled) if Digest::of(&filled) == present => Ok(()),
            _ => Err(self.drift(diff, "somebody changed it after castoff wrote it")),
        }
    }

    fn drift(&self, diff: &FileDiff, why: &str) -> Fault {
        Fault::new(FaultKind::Drift, format!("cannot change `{}` on `{}`", diff.path, self.host), why)
    }
}

/// What the file that is there hides, where it is a text of the change that keeps all of it in its order: for a machine that
/// has no bytes of the file before.
fn of_ours(diff: &FileDiff, raw: Option<&Raw>) -> Vec<String> {
    let Some(veiled) = raw.map(|raw| veil::veil(&String::from_utf8_lossy(&raw.bytes))) else { return vec![] };
    let mut texts = diff.after.iter().map(|after| &after.text).chain(&diff.between);
    if texts.any(|text| *text == veiled.text) { veiled.values } else { vec![] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cluster::{
            config::Ssh,
            ssh::{Place, Sessions},
        },
        model::FileText,
    };
    use std::{
        fs,
        os::unix::fs::{MetadataExt, PermissionsExt, chown},
    };

    /// A file of this machine, and a change of it.
    struct Scene {
        _own: tempfile::TempDir,
        path: String,
        runner: Runner,
        backups: Backups,
        secrets: BTreeMap<String, Secret>,
    }

    const OLD: &str = "{\"proxies\": {\"http-proxy\": \"http://kim:OLD@proxy\"}}";
    const TEXT: &str = "{\"proxies\": {\"http-proxy\": \"http://kim:(hidden 1)@proxy\"}}";

    impl Scene {
        fn start() -> Self {
            let own = tempfile::tempdir().unwrap();
            let at = |name: &str| own.path().join(name);
            let (path, backups) = (at("daemon.json").display().to_string(), Backups::new(at("state")));
            fs::create_dir(at("state")).unwrap();
            fs::set_permissions(at("state"), fs::Permissions::from_mode(0o700)).unwrap();
            fs::write(&path, OLD).unwrap();
            let runner = Runner::new(Place::Local, &Sessions::new(&Ssh::default(), vec![]));
            Self { _own: own, path, runner, backups, secrets: BTreeMap::new() }
        }

        fn files(&self) -> Files<'_> {
            Files { host: "node", runner: &self.runner, backups: &self.backups, secrets: &self.secrets }
        }

        async fn diff(&self, after: Option<&str>, between: &[&str]) -> FileDiff {
            let raw = files::read(&self.runner, std::slice::from_ref(&self.path)).await.unwrap().remove(&self.path).flatten();
            let before = raw.map(|raw| state(&self.path, &raw).unwrap());
            let after = after.map(|text| FileText { text: text.to_owned(), mode: None });
            let between = between.iter().map(|text| (*text).to_owned()).collect();
            FileDiff { path: self.path.clone(), before, after, between, folders: vec![] }
        }

        fn text(&self) -> String {
            fs::read_to_string(&self.path).unwrap()
        }

        fn rotate(&self) {
            fs::write(&self.path, self.text().replace("OLD", "NEW")).unwrap();
        }
    }

    fn with(key: &str) -> String {
        TEXT.replacen('{', &format!("{{{key}, "), 1)
    }

    #[tokio::test]
    async fn a_secret_that_was_rotated_since_is_never_written_over() {
        let (mirror, on, off) = (with("\"m\": 1"), with("\"debug\": true"), with("\"debug\": false"));
        for forward in [true, false] {
            let scene = Scene::start();
            let (files, diff) = (scene.files(), scene.diff(Some(&mirror), &[&on, &off]).await);
            // After the change, and in the midst of it.
            for text in [&mirror, &on] {
                files.put_between(&diff, text).await.unwrap();
                assert_eq!(scene.text(), text.replace("(hidden 1)", "OLD"));
                files.put_between(&diff, &off).await.expect("its own texts are its own");
                files.put_between(&diff, text).await.unwrap();
                scene.rotate();
                let fault = if forward {
                    files.put_between(&diff, &off).await.expect_err("drift")
                } else {
                    files.restore(std::slice::from_ref(&diff)).await.expect_err("drift")
                };
                assert!(fault.kind == FaultKind::Drift && scene.text().contains("NEW"), "{fault:?}");
                fs::write(&scene.path, scene.text().replace("NEW", "OLD")).unwrap();
            }
            scene.rotate();
            let put = files.put(std::slice::from_ref(&diff)).await.expect_err("drift");
            assert!(put.kind == FaultKind::Drift && scene.text().contains("NEW"), "{put:?}");
            fs::write(&scene.path, scene.text().replace("NEW", "OLD")).unwrap();
            files.restore(std::slice::from_ref(&diff)).await.unwrap();
            assert_eq!(scene.text(), OLD);
        }
    }

    #[tokio::test]
    async fn a_file_that_stays_as_it_is_comes_back_from_what_stood_there_in_between() {
        let scene = Scene::start();
        let off = with("\"debug\": false");
        let (files, diff) = (scene.files(), scene.diff(Some(TEXT), &[&off]).await);
        assert!(diff.is_equal());
        files.put_between(&diff, &off).await.unwrap();
        files.restore(std::slice::from_ref(&diff)).await.unwrap();
        assert_eq!(scene.text(), OLD);
        // Nobody wrote there: what somebody changed since is no matter of the change.
        scene.rotate();
        files.restore(std::slice::from_ref(&diff)).await.unwrap();
        assert!(scene.text().contains("NEW"));
    }

    #[tokio::test]
    async fn a_file_that_was_taken_away_comes_back_to_whom_it_belonged() {
        let scene = Scene::start();
        chown(&scene.path, Some(1234), Some(4321)).expect("the test has to be root");
        fs::set_permissions(&scene.path, fs::Permissions::from_mode(0o600)).unwrap();
        let (files, diffs) = (scene.files(), [scene.diff(None, &[]).await]);
        files.put(&diffs).await.unwrap();
        assert!(!std::path::Path::new(&scene.path).exists());
        files.restore(&diffs).await.unwrap();
        let about = fs::metadata(&scene.path).unwrap();
        assert_eq!((scene.text().as_str(), about.uid(), about.gid(), about.mode() & 0o7777), (OLD, 1234, 4321, 0o600));
    }
}
