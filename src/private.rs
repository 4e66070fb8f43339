//! Files for their owner alone: folders that nobody else can write in, files that are no links.
//! Never follows a link below the state folder, and never writes where somebody else could put one.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::Path,
};

/// Makes a folder below the state folder, and every one above it that is not there (0700). The state folder itself may
/// be reached by a link of its owner's; what is below it may not.
pub fn folder(state: &Path, below: &[&str]) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(state)?;
    refuse(state, &fs::metadata(state)?)?;
    let mut path = state.to_owned();
    for name in below {
        path.push(name);
        match fs::DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => refuse(&path, &fs::symlink_metadata(&path)?)?,
        }
    }
    Ok(())
}

/// A file for its owner only, opened with these options and made if it is not there; a link is refused.
pub fn file(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
    let file = options.create(true).mode(0o600).custom_flags(flags).open(path).map_err(|error| {
        if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) {
            io::Error::other("a link stands there")
        } else {
            error
        }
    })?;
    let found = file.metadata()?;
    if found.uid() != rustix::process::geteuid().as_raw() {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, format!("it belongs to user {}", found.uid())));
    }
    Ok(file)
}

/// Writes a whole file at once, for its owner only: under a name that nobody can know, then renamed. A link at the place
/// is replaced, not followed.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::io::Write;
    if fs::symlink_metadata(path).is_ok_and(|found| !found.is_file() && !found.is_symlink()) {
        return Err(io::Error::other("it is no file"));
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Made by `O_EXCL`, with mode 0600 from the first byte.
    let mut fresh = tempfile::Builder::new().prefix(".castoff-").tempfile_in(folder)?;
    fresh.write_all(bytes)?;
    fresh.as_file().sync_all()?;
    fresh.persist(path).map(drop).map_err(|error| error.error)
}

fn refuse(path: &Path, found: &fs::Metadata) -> io::Result<()> {
    let owner = rustix::process::geteuid().as_raw();
    let why = match () {
        () if found.is_symlink() => "it is a link".to_owned(),
        () if !found.is_dir() => "it is no folder".to_owned(),
        () if found.uid() != owner => format!("it belongs to user {}, and castoff runs as {owner}", found.uid()),
        () if found.mode() & 0o022 != 0 => format!("others may write in it (mode {:o})", found.mode() & 0o7777),
        () => return Ok(()),
    };
    Err(io::Error::new(io::ErrorKind::PermissionDenied, format!("`{}`: {why}", path.display())))
}
