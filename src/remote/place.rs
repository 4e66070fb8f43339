//! Where the socket of a run lies, and how it comes to lie there: in a folder of the owner's alone, 0600 from the first
//! moment. Never in a folder that somebody else could enter.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};
use tokio::net::UnixListener;

/// Bytes of a socket's path, without the last one, which is 0.
const LONGEST: usize = 107;
/// The file in the run's folder that names the socket.
const POINTER: &str = "socket";

/// The socket of a run; its name and the file that names it are gone when this is dropped.
#[derive(Debug)]
pub struct Place {
    pub path: PathBuf,
    pointer: PathBuf,
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.pointer);
        let _ = fs::remove_file(&self.path);
    }
}

/// Binds the socket of a run at the first place that takes it. `folder` is the run's own; whoever calls holds its lock,
/// so a socket that lies there is that of a castoff that is gone.
pub fn bind(folder: &Path, run: &str, runtime: Option<&Path>) -> io::Result<(UnixListener, Place)> {
    let owner = rustix::process::geteuid().as_raw();
    let own = |path: &Path| fs::metadata(path).is_ok_and(|meta| meta.is_dir() && meta.uid() == owner);
    let mut places = vec![];
    if let Some(runtime) = runtime.filter(|runtime| runtime.is_absolute() && own(runtime)) {
        places.push(runtime.join("castoff").join(format!("{run}.sock")));
    }
    let folder = fs::canonicalize(folder)?;
    places.push(folder.join("run.sock"));
    places.push(Path::new("/tmp").join(format!("castoff-{owner}")).join(format!("{run}.sock")));
    let mut last = io::Error::other("there is no place for a socket");
    for path in places {
        match bind_at(&path, owner) {
            Ok(listener) => {
                let place = Place { path, pointer: folder.join(POINTER) };
                point(&place)?;
                return Ok((listener, place));
            }
            Err(error) => last = io::Error::new(error.kind(), format!("`{}`: {error}", path.display())),
        }
    }
    Err(last)
}

/// Where the socket of a run is said to be.
pub fn find(folder: &Path) -> io::Result<PathBuf> {
    Ok(PathBuf::from(fs::read_to_string(folder.join(POINTER))?))
}

fn bind_at(path: &Path, owner: u32) -> io::Result<UnixListener> {
    let fresh = path.with_extension("new");
    if path.as_os_str().len() > LONGEST {
        return Err(io::Error::new(io::ErrorKind::InvalidFilename, "longer than the path of a socket may be"));
    }
    private(path.parent().unwrap_or(Path::new("/")), owner)?;
    let _ = fs::remove_file(&fresh);
    // Nobody else can enter the folder; the name that clients know appears when the mode is set already.
    let listener = UnixListener::bind(&fresh)?;
    fs::set_permissions(&fresh, fs::Permissions::from_mode(0o600))?;
    let mode = fs::symlink_metadata(&fresh)?.permissions().mode() & 0o777;
    if mode != 0o600 {
        let _ = fs::remove_file(&fresh);
        return Err(io::Error::other(format!("the file system gives the socket mode {mode:o}")));
    }
    fs::rename(&fresh, path)?;
    Ok(listener)
}

/// Makes the folder if it is not there; it must be the owner's, and nobody else may enter it.
fn private(folder: &Path, owner: u32) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let meta = fs::symlink_metadata(folder)?;
    if !meta.is_dir() || meta.uid() != owner || meta.mode() & 0o077 != 0 {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, format!("`{}` is not private", folder.display())));
    }
    Ok(())
}

fn point(place: &Place) -> io::Result<()> {
    use std::io::Write;
    let fresh = place.pointer.with_extension("new");
    let _ = fs::remove_file(&fresh);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
    file.write_all(place.path.as_os_str().as_encoded_bytes())?;
    fs::rename(&fresh, &place.pointer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
        folder
    }

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[tokio::test]
    async fn only_the_owner_can_reach_the_socket() {
        let (run, runtime) = (folder(), folder());
        let (_listener, place) = bind(run.path(), "r1", Some(runtime.path())).unwrap();
        assert_eq!(place.path, runtime.path().join("castoff/r1.sock"));
        assert_eq!((mode(&place.path), mode(place.path.parent().unwrap())), (0o600, 0o700));
        assert_eq!(find(run.path()).unwrap(), place.path);
        assert_eq!(mode(&run.path().join("socket")), 0o600);
        let path = place.path.clone();
        drop(place);
        assert!(!path.exists() && find(run.path()).is_err(), "nothing is left behind");
    }

    #[tokio::test]
    async fn a_folder_that_others_can_enter_is_passed_over() {
        let (run, runtime) = (folder(), folder());
        fs::create_dir(runtime.path().join("castoff")).unwrap();
        fs::set_permissions(runtime.path().join("castoff"), fs::Permissions::from_mode(0o711)).unwrap();
        let (_listener, place) = bind(run.path(), "r1", Some(runtime.path())).unwrap();
        assert_eq!(place.path, fs::canonicalize(run.path()).unwrap().join("run.sock"));
        fs::set_permissions(run.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let (_listener, elsewhere) = bind(run.path(), "r2", None).unwrap();
        assert!(elsewhere.path.starts_with("/tmp") && elsewhere.path.ends_with("r2.sock"), "{elsewhere:?}");
    }

    #[tokio::test]
    async fn a_path_too_long_for_a_socket_gives_way_to_a_short_private_one() {
        let run = folder();
        let deep = run.path().join("x".repeat(120));
        fs::DirBuilder::new().mode(0o700).create(&deep).unwrap();
        let name = format!("test-{}", std::process::id());
        let (_listener, place) = bind(&deep, &name, None).unwrap();
        assert!(place.path.starts_with("/tmp") && place.path.as_os_str().len() < LONGEST, "{place:?}");
        assert_eq!((mode(&place.path), mode(place.path.parent().unwrap())), (0o600, 0o700));
        assert_eq!(find(&deep).unwrap(), place.path);
    }

    #[tokio::test]
    async fn the_socket_of_a_castoff_that_is_gone_is_replaced() {
        let run = folder();
        let (listener, place) = bind(run.path(), "r1", None).unwrap();
        let path = place.path.clone();
        // As after `kill -9`: nobody cleans up, and nobody listens.
        std::mem::forget(place);
        drop(listener);
        assert!(std::os::unix::net::UnixStream::connect(&path).is_err());
        let (_listener, place) = bind(run.path(), "r1", None).unwrap();
        assert_eq!(place.path, path);
        assert!(std::os::unix::net::UnixStream::connect(&path).is_ok());
    }
}
