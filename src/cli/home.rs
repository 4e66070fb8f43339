//! Where runs are kept, as the options, the environment and the cluster file say: a folder, or a PostgreSQL.
//! Never shows a password, and takes none out of a URL.

use super::{Common, Exit, Failure, files, process};
use crate::cluster::config::{self, ClusterFile};
use crate::journal::{Home, Place};

/// The word for the folder, where the cluster file names a shared journal.
const LOCAL: &str = "local";

/// The journal that is meant.
pub async fn home(common: &Common) -> Result<Home, Failure> {
    let state = files::state_folder(common)?;
    let place = match &common.journal {
        Some(word) if word == LOCAL => None,
        Some(url) => Some(given(common, url)?),
        None => ClusterFile::find(common.cluster.as_deref())?.and_then(|file| file.journal),
    };
    let Some(place) = place else { return Ok(Home::folder(&state)) };
    let password = match &place.password {
        Some(secret) => Some(secret.read().await?),
        None => None,
    };
    let place = Place { url: place.url, password, ca: place.ca, client: place.cert.zip(place.key), is_dead: process::is_dead };
    Ok(Home::shared(&state, place).await?)
}

/// Rehearsals: in the folder, whatever else is said.
pub fn rehearsals(common: &Common) -> Result<Home, Failure> {
    Ok(Home::folder(&files::state_folder(common)?).rehearsals())
}

/// `--journal URL`. What the cluster file says about the same one holds too: how to log in, and whom to trust.
fn given(common: &Common, url: &str) -> Result<config::Postgres, Failure> {
    if config::holds_password(url) {
        let failure = Failure::new(Exit::Usage, "`--journal`: a URL must not hold a password");
        return Err(failure.hint(
            "set PGPASSWORD or PGPASSFILE, or `url` and `password = { file = \"…\" }` of `[journal]` in the cluster file",
        ));
    }
    if !["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
        let failure = Failure::new(Exit::Usage, "`--journal` is no address of a PostgreSQL");
        return Err(failure.hint("postgres://user@host:5432/database, or `local` for the state folder"));
    }
    // A rehearsal and a look from elsewhere need no cluster file.
    let known = ClusterFile::find(common.cluster.as_deref())?.and_then(|file| file.journal).filter(|known| known.url == url);
    Ok(known.unwrap_or_else(|| config::Postgres { url: url.to_owned(), password: None, ca: None, cert: None, key: None }))
}
