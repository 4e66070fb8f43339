//! How a mirror answers from a host: its name, TCP, TLS, `/v2/`, a manifest; over ssh the host resolves and connects.
//! It never sends a login, never uses a proxy, never follows a redirect to another place, and never guesses why.
//!
//! A proxy: the one in castoff's own environment is not the daemon's, which is in its unit or its `daemon.json`, so none is
//! used. Behind a proxy a mirror is not reached here although a daemon would reach it; who shows that says so.

mod answer;
mod curl;
mod trust;
mod way;

use super::{registry::MANIFEST_TYPES, ssh::Runner};
use crate::model::{Digest, Fault, Reach, ReachWant, text};
use answer::{Answer, Lost, failing};
use reqwest::{Method, Url};
use std::time::Duration;
use way::Way;

/// For everything about one mirror on one host.
const DEADLINE: Duration = Duration::from_secs(20);
/// For one question and its answer.
const ASK: Duration = Duration::from_secs(6);
/// For a name to be resolved, and for a connection with its TLS.
const CONNECT: Duration = Duration::from_secs(5);
/// Redirects within the same place.
const REDIRECTS: usize = 5;

/// Asks a mirror from a host. `ca` is PEM that was read from the host, where `want.ca` or a daemon there has it; beside it the
/// host's own authorities are trusted, as its daemons do. Ends within 20 s. A fault: the host itself could not be asked.
pub async fn reach(runner: &Runner, want: &ReachWant, ca: Option<&[u8]>) -> Result<Reach, Fault> {
    // Nothing here is for root.
    let runner = runner.clone().with_sudo(false);
    match tokio::time::timeout(DEADLINE, walk(&runner, want, ca)).await {
        Ok(Ok(reach)) => Ok(reach),
        Ok(Err(lost)) => lost.told(),
        Err(_) => Ok(failing(format!("it was not done within {} s", DEADLINE.as_secs()))),
    }
}

/// What ends the walk early is the `Err`.
async fn walk(runner: &Runner, want: &ReachWant, ca: Option<&[u8]>) -> Result<Reach, Lost> {
    let mirror = Mirror::parse(&want.mirror)?;
    let image = want.image.as_deref().map(|image| mirror.manifest(image).map(|url| (image, url))).transpose()?;
    let way = Way::open(runner, &mirror.root, want, ca).await?;
    let mut root = mirror.root.clone();
    root.set_path("/v2/");
    let answer = match ask(&way, Method::GET, root.clone()).await {
        Ok(answer) if answer.status == 400 && speaks_tls(&way, &root).await => return Err(plain_to_tls().into()),
        Err(Lost::Talk(_)) if speaks_tls(&way, &root).await => return Err(plain_to_tls().into()),
        answer => answer?,
    };
    answer.of_root(want.login)?;
    let Some((image, url)) = image else { return Ok(Reach::Ok { digest: None }) };
    let head = ask(&way, Method::HEAD, url.clone()).await?;
    // Some answer a HEAD with 400, 405 or 501, some without a digest.
    let refused = matches!(head.status, 400 | 405 | 501);
    if !refused && let Some(known) = head.of_manifest(image, want.login)? {
        return Ok(known);
    }
    let whole = ask(&way, Method::GET, url).await?;
    if let Some(known) = whole.of_manifest(image, want.login)? {
        return Ok(known);
    }
    match serde_json::from_slice::<serde_json::Value>(&whole.body) {
        Ok(serde_json::Value::Object(_)) => Ok(Reach::Ok { digest: Some(Digest::of_bytes(&whole.body)) }),
        _ if !whole.whole => Err(failing(format!("its answer for `{}` does not end", text::clean(image))).into()),
        _ => Err(failing(format!("what it gives for `{}` is no manifest", text::clean(image))).into()),
    }
}

async fn ask(way: &Way<'_>, method: Method, mut url: Url) -> Result<Answer, Lost> {
    let accept = if url.path().contains("/manifests/") { MANIFEST_TYPES } else { "application/json, */*" };
    for _ in 0..REDIRECTS {
        let answer = way.ask(method.clone(), &url, accept).await?;
        match answer.location.as_deref().and_then(|to| url.join(to).ok()) {
            Some(next) if next.origin() == url.origin() => url = next,
            _ => return Ok(answer),
        }
    }
    Err(Lost::Known(failing("it redirects in a circle")))
}

/// Whether there is TLS behind an `http://`: nothing is verified, and nothing is told to it.
async fn speaks_tls(way: &Way<'_>, root: &Url) -> bool {
    if root.scheme() != "http" {
        return false;
    }
    let port = root.port_or_known_default();
    let mut root = root.clone();
    root.set_scheme("https").is_ok() && root.set_port(port).is_ok() && way.ask_unverified(&root).await.is_ok()
}

fn plain_to_tls() -> Reach {
    Reach::Tls { why: "it speaks TLS there: its address has to begin with https://".to_owned() }
}

/// A mirror's address.
struct Mirror {
    /// Scheme, host, port.
    root: Url,
    /// In front of `NAME/manifests/TAG`: `/v2/`, or what is written, as containerd's `override_path` takes it.
    prefix: String,
}

impl Mirror {
    fn parse(written: &str) -> Result<Self, Reach> {
        let bad = |why: &str| failing(format!("`{}` {why}", text::clean(&without_login(written))));
        let mut root: Url = written.parse().map_err(|e| bad(&format!("cannot be read as an address: {e}")))?;
        if !matches!(root.scheme(), "http" | "https") || root.host_str().is_none_or(str::is_empty) {
            return Err(bad("is neither http:// nor https://"));
        }
        // It would be an option to what is asked on the host.
        if root.host_str().is_some_and(|host| host.starts_with('-')) {
            return Err(bad("names no host"));
        }
        if !root.username().is_empty() || root.password().is_some() {
            return Err(bad("holds a login, which no mirror's address may"));
        }
        if root.query().is_some() || root.fragment().is_some() {
            return Err(bad("ends in a query or a fragment"));
        }
        let path = root.path().trim_matches('/').to_owned();
        root.set_path("/");
        let prefix = if path.is_empty() { "/v2/".to_owned() } else { format!("/{path}/") };
        Ok(Self { root, prefix })
    }

    fn manifest(&self, image: &str) -> Result<Url, Reach> {
        let (name, tag) = image.split_once('@').or_else(|| image.rsplit_once(':')).unwrap_or((image, "latest"));
        let plain = |word: &str| {
            !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | ':' | '/'))
        };
        let parts = name.split('/').all(|part| !part.is_empty() && part != "." && part != "..");
        if !plain(name) || !parts || !plain(tag) || tag.contains('/') {
            return Err(failing(format!("`{}` is no image and tag", text::clean(image))));
        }
        let mut url = self.root.clone();
        url.set_path(&format!("{}{name}/manifests/{tag}", self.prefix));
        Ok(url)
    }
}

/// For an error: whatever stands before an `@` of the host stays unsaid.
fn without_login(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://…@{host}"),
        (None, Some((_, host))) => format!("…@{host}"),
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_the_whole_path_of_the_api() {
        let cases = [
            ("https://m.example", "library/busybox:1.36", "https://m.example/v2/library/busybox/manifests/1.36"),
            ("https://m.example/", "busybox", "https://m.example/v2/busybox/manifests/latest"),
            ("http://m.example:5000/v2/infra/", "a/b:1", "http://m.example:5000/v2/infra/a/b/manifests/1"),
            ("https://m.example/v2", "a@sha256:00", "https://m.example/v2/a/manifests/sha256:00"),
        ];
        for (mirror, image, expect) in cases {
            let mirror = Mirror::parse(mirror).unwrap_or_else(|_| panic!("{mirror}"));
            assert_eq!(mirror.manifest(image).map(|url| url.to_string()), Ok(expect.to_owned()));
            assert_eq!(mirror.root.path(), "/");
        }
    }

    #[test]
    fn what_is_no_address_of_a_mirror_is_said_without_its_login() {
        let cases = [
            "m.example",
            "ftp://m.example",
            "https://",
            "https://kim:a-secret@m.example",
            "https://m.example/?x=a",
            "//kim:a-secret@m",
            "https://kim:a-secret@m example",
        ];
        for written in cases {
            let Err(Reach::Failing { why }) = Mirror::parse(written).map(|_| ()) else { panic!("{written}") };
            assert!(!why.contains("a-secret"), "{why}");
        }
        let mirror = Mirror::parse("https://m.example").unwrap_or_else(|_| panic!());
        for image in ["", "a/../b:1", "a b:1", "a:1?x", "/a:1", "a//b:1", "a:"] {
            assert!(mirror.manifest(image).is_err(), "{image}");
        }
    }
}
