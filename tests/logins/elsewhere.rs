//! A registry cannot make castoff send a login elsewhere: redirects, token services, next pages. Small servers count the
//! logins that they see.

use crate::{
    Said,
    certificates::path,
    registry::{client, image},
    run,
    small::{self, Small, reply},
    support::etcd::secret_file,
};
use castoff::{
    cluster::config::{LoginFrom, RegistryConfig},
    model::{
        Fault,
        FaultKind::{Denied, Lasting},
    },
};
use std::time::{Duration, Instant};

const BASIC: &str = "WWW-Authenticate: Basic\r\n";
const LOGIN: &str = "Basic a2ltOmtpbS1zZWNyZXQ=";

fn config(folder: &std::path::Path, url: String) -> RegistryConfig {
    let password = Some(secret_file(folder, "kim-secret"));
    RegistryConfig { url, username: Some("kim".to_owned()), password, ..RegistryConfig::default() }
}

async fn look(config: &RegistryConfig) -> Result<(), Fault> {
    client(config)?.manifest(&image()).await.map(drop)
}

/// A registry that asks for Basic and then redirects.
fn redirecting(location: impl Fn(u16) -> String + Send + Sync + 'static, status: &'static str) -> Small {
    let own = std::sync::OnceLock::new();
    let set = std::sync::Arc::new(own);
    let port = std::sync::Arc::clone(&set);
    let server = small::serve(move |request| match request.authorization() {
        None if !request.head.contains("followed") => reply("401 Unauthorized", BASIC, ""),
        _ if request.head.contains("/stop") => reply("404 Not Found", "", ""),
        _ => reply(status, &format!("Location: {}\r\n", location(*port.get().unwrap())), ""),
    });
    let _ = set.set(server.port);
    server
}

#[test]
fn a_redirect_away_carries_no_login() {
    let folder = tempfile::tempdir().unwrap();
    run(async {
        for status in ["301 Moved Permanently", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"] {
            for host in ["127.0.0.1", "localhost"] {
                let other = small::serve(|_| reply("404 Not Found", "", ""));
                let to = other.port;
                let here = redirecting(move |_| format!("http://{host}:{to}/followed"), status);
                assert_eq!(
                    look(&config(folder.path(), format!("http://127.0.0.1:{}", here.port))).await,
                    Ok(()),
                    "{status} {host}"
                );
                assert_eq!(here.authorizations(), [LOGIN], "{status} {host}");
                assert_eq!((other.asked(), other.authorizations()), (1, vec![]), "{status} {host}");
            }
        }
        // On the spot it is kept: some registries put a path right like this.
        let here = redirecting(|own| format!("http://127.0.0.1:{own}/stop"), "307 Temporary Redirect");
        assert_eq!(look(&config(folder.path(), format!("http://127.0.0.1:{}", here.port))).await, Ok(()));
        assert_eq!(here.authorizations(), [LOGIN, LOGIN]);
        // Away and back again is away.
        let back = std::sync::Arc::new(std::sync::OnceLock::<u16>::new());
        let home = std::sync::Arc::clone(&back);
        let other = small::serve(move |_| {
            let location = format!("Location: http://127.0.0.1:{}/followed/stop\r\n", home.get().unwrap());
            reply("307 Temporary Redirect", &location, "")
        });
        let to = other.port;
        let here = redirecting(move |_| format!("http://127.0.0.1:{to}/x"), "307 Temporary Redirect");
        let _ = back.set(here.port);
        assert_eq!(look(&config(folder.path(), format!("http://127.0.0.1:{}", here.port))).await, Ok(()));
        assert_eq!((here.authorizations().len(), here.asked(), other.authorizations()), (1, 3, vec![]));
    });
}

#[test]
fn redirects_end_and_lead_to_no_cloud_address() {
    let folder = tempfile::tempdir().unwrap();
    run(async {
        let endless = redirecting(|own| format!("http://127.0.0.1:{own}/again"), "302 Found");
        let fault = look(&config(folder.path(), format!("http://127.0.0.1:{}", endless.port))).await.unwrap_err();
        Said { case: "endless", kind: Lasting, words: &["too many redirects"], hint: &[] }.by(&fault);
        assert!(endless.asked() <= 8, "{}", endless.asked());
        let begin = Instant::now();
        let metadata = redirecting(|_| "http://169.254.169.254/latest/meta-data".to_owned(), "302 Found");
        let fault = look(&config(folder.path(), format!("http://127.0.0.1:{}", metadata.port))).await.unwrap_err();
        Said { case: "cloud", kind: Lasting, words: &["169.254.169.254", "within this network"], hint: &[] }.by(&fault);
        assert!(begin.elapsed() < Duration::from_secs(3), "nobody knocked there");
    });
}

/// A registry that names this token service.
fn with_realm(realm: String) -> Small {
    small::serve(move |request| {
        if request.authorization().is_some_and(|value| value == "Bearer good") {
            return reply("404 Not Found", "", "");
        }
        let challenge = format!("WWW-Authenticate: Bearer realm=\"{realm}\",service=\"x\"\r\n");
        reply("401 Unauthorized", &challenge, "")
    })
}

#[test]
fn a_login_goes_to_the_registrys_own_token_service_or_a_named_one() {
    let folder = tempfile::tempdir().unwrap();
    run(async {
        let here = |registry: &Small| format!("http://127.0.0.1:{}", registry.port);
        let service = || small::serve(|_| reply("200 OK", "", r#"{"token":"good"}"#));
        for host in ["127.0.0.1", "localhost"] {
            let tokens = service();
            let origin = format!("http://{host}:{}", tokens.port);
            let registry = with_realm(format!("{origin}/token"));
            let unnamed = config(folder.path(), here(&registry));
            let fault = look(&unnamed).await.unwrap_err();
            let hint = format!("`realm = \"{origin}\"`");
            Said { case: host, kind: Denied, words: &["token service", "another place"], hint: &[&hint, "`[registries."] }
                .by(&fault);
            assert_eq!(tokens.asked(), 0, "{host}: it was not even asked");
            let named = RegistryConfig { realm: Some(origin), ..unnamed };
            assert_eq!(look(&named).await, Ok(()), "{host}");
            assert_eq!(tokens.authorizations(), [LOGIN], "{host}");
        }
        // Nobody's login needs no such care.
        let tokens = service();
        let registry = with_realm(format!("http://localhost:{}/token", tokens.port));
        let nobody = RegistryConfig { url: here(&registry), login: Some(LoginFrom::None), ..RegistryConfig::default() };
        assert_eq!(look(&nobody).await, Ok(()));
        assert_eq!((tokens.asked(), tokens.authorizations()), (1, vec![]));
        // But not down from TLS, and not at the address where clouds keep keys.
        let tokens = service();
        let challenge = format!("WWW-Authenticate: Bearer realm=\"http://127.0.0.1:{}/token\"\r\n", tokens.port);
        let secure = small::serve_tls("server", move |_| reply("401 Unauthorized", &challenge, ""));
        let url = format!("https://127.0.0.1:{secure}");
        for config in [config(folder.path(), url.clone()), RegistryConfig { url, login: Some(LoginFrom::None), ..nobody.clone() }]
        {
            let fault = look(&RegistryConfig { ca: Some(path("ca.pem")), ..config }).await.unwrap_err();
            Said { case: "down", kind: Denied, words: &["asked without TLS"], hint: &[] }.by(&fault);
        }
        assert_eq!(tokens.asked(), 0);
        let registry = with_realm("http://169.254.169.254/latest".to_owned());
        let fault = look(&RegistryConfig { url: here(&registry), ..nobody }).await.unwrap_err();
        Said { case: "cloud", kind: Denied, words: &["169.254.169.254", "within this network"], hint: &[] }.by(&fault);
    });
}

#[test]
fn what_a_token_service_may_answer() {
    let folder = tempfile::tempdir().unwrap();
    let long = "x".repeat(70 << 10);
    let elsewhere = small::serve(|_| reply("200 OK", "", r#"{"token":"good"}"#));
    let to = elsewhere.port;
    let answers: Vec<(&str, String, &str)> = vec![
        (
            "redirect",
            reply("307 Temporary Redirect", &format!("Location: http://127.0.0.1:{to}/\r\n"), ""),
            "answers with a redirect",
        ),
        ("huge", reply("200 OK", "", &format!(r#"{{"token":"{long}"}}"#)), "can be no token"),
        ("two lines", reply("200 OK", "", r#"{"token":"a\r\nX-Evil: 1"}"#), "can be no token"),
        ("endless", reply("200 OK", "", &" ".repeat(2 << 20)), "more than 1 MiB"),
        ("no JSON", reply("200 OK", "", "<html>"), "gave no token"),
        ("nothing", reply("200 OK", "", "{}"), "gave no token"),
        ("missing", reply("404 Not Found", "", ""), "404"),
    ];
    run(async {
        for (case, answer, words) in answers {
            let own = std::sync::Arc::new(std::sync::OnceLock::<u16>::new());
            let port = std::sync::Arc::clone(&own);
            let registry = small::serve(move |request| {
                if request.head.starts_with("GET /token") || request.head.starts_with("POST /token") {
                    return answer.clone();
                }
                let realm = format!("WWW-Authenticate: Bearer realm=\"http://127.0.0.1:{}/token\"\r\n", port.get().unwrap());
                reply("401 Unauthorized", &realm, "")
            });
            let _ = own.set(registry.port);
            let fault = look(&config(folder.path(), format!("http://127.0.0.1:{}", registry.port))).await.expect_err(case);
            Said { case, kind: Lasting, words: &[words, "cr.example"], hint: &[] }.by(&fault);
        }
        assert_eq!(elsewhere.asked(), 0);
    });
}

#[test]
fn a_next_page_is_asked_of_the_registry_itself() {
    let folder = tempfile::tempdir().unwrap();
    let other = small::serve(|_| reply("200 OK", "", "{}"));
    let to = other.port;
    let registry = small::serve(move |request| {
        if request.head.contains("/api/v2.0/") {
            return reply("404 Not Found", "", "");
        }
        if request.authorization().is_none() {
            return reply("401 Unauthorized", BASIC, "");
        }
        let link = format!("Link: <http://localhost:{to}/v2/_catalog?n=1&last=a>; rel=\"next\"\r\n");
        let more = if request.head.contains("last=a") { "" } else { &link };
        reply("200 OK", more, r#"{"repositories":[]}"#)
    });
    run(async {
        let config = config(folder.path(), format!("http://127.0.0.1:{}", registry.port));
        assert_eq!(client(&config).unwrap().list("stable").await, Ok(vec![]));
    });
    assert_eq!((other.asked(), registry.authorizations().len()), (0, 2));
}
