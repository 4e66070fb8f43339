//! How a file stands whose planned text names a secret. A plan cannot tell one value of it from another, so the bytes decide:
//! a secret that was rotated is a difference. It never shows or keeps a value.

use super::{
    files::Raw,
    put::{self, Files},
};
use crate::model::{Digest, Fault, FileDiff, Standing, veil};

impl Files<'_> {
    /// Each of the files: whether there is nothing to do to it, and how it stands.
    pub async fn standings(&self, diffs: &[FileDiff]) -> Result<Vec<(bool, Standing)>, Fault> {
        let found = self.found(diffs).await?;
        let mut out = vec![];
        for diff in diffs {
            out.push(self.standing(diff, found.get(&diff.path).and_then(Option::as_ref)).await?);
        }
        Ok(out)
    }

    /// The same of one, for what was read.
    pub(super) async fn standing(&self, diff: &FileDiff, raw: Option<&Raw>) -> Result<(bool, Standing), Fault> {
        let told = put::standing(diff, raw)?;
        let (Some(after), Some(raw), Standing::After) = (&diff.after, raw, &told) else { return Ok((diff.is_equal(), told)) };
        if !veil::names_secret(&after.text) {
            return Ok((diff.is_equal(), told));
        }
        let present = Digest::of_bytes(&raw.bytes);
        let before = diff.before.as_ref();
        let is_before = before.is_some_and(|before| before.sha256 == present);
        let wrote = self.backups.wrote(self.host, &diff.path, before.map(|before| &before.sha256))?;
        let ours = wrote == Some(Some(present.clone()));
        match self.filled(diff, Some(raw), &after.text).await {
            Ok(filled) if Digest::of(&filled) == present => {
                let same_mode = after.mode.is_none_or(|mode| before.is_some_and(|before| before.mode == mode));
                Ok((is_before && same_mode, Standing::After))
            }
            // The secret was rotated since castoff wrote it.
            Ok(_) if ours => Ok((false, Standing::Midway)),
            Ok(_) if is_before => Ok((false, Standing::Before)),
            Ok(_) => Ok((false, Standing::Neither(format!("`{}` holds another secret", diff.path)))),
            // It is taken back without the secret.
            Err(_) if ours => Ok((false, Standing::After)),
            Err(why) => Err(why),
        }
    }
}
