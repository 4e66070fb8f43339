//! What registries may answer, at random: headers, manifests, refusals. Nothing of it panics or leads elsewhere.

use super::{manifest, words};
use proptest::prelude::*;
use reqwest::Url;

fn corpus(parser: &str) -> Vec<Vec<u8>> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(parser);
    let files = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let out: Vec<Vec<u8>> = files.map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect();
    assert!(out.len() > 2, "{parser} has a corpus");
    out
}

fn header(text: &str) {
    let base: Url = "https://cr.example.org/v2/".parse().unwrap();
    if let Some(words::Challenge::Bearer { realm, .. }) = words::Challenge::parse(text)
        && let Ok(realm) = realm.parse()
    {
        // A login goes to the registry's own host or domain by TLS, whatever is asked for.
        let goes = super::realm::may_know_the_login(&base, &realm, None).is_ok();
        let host = realm.host_str().unwrap_or("").to_owned();
        assert!(!goes || (realm.scheme() == "https" && (host == "example.org" || host.ends_with(".example.org"))), "{realm}");
    }
    if let Some(page) = words::next_page(text, &base) {
        assert!(page.starts_with('/'), "{page}");
        assert_eq!(
            base.join(&page).map(|url| url.host_str().map(str::to_owned)).ok().flatten().as_deref(),
            Some("cr.example.org"),
            "{page}"
        );
    }
    let now = "2026-11-21T14:00:00Z".parse().unwrap();
    assert!(words::retry_after_ms(text, now).is_none_or(|ms| ms <= 3_600_000));
}

fn body(bytes: &[u8]) {
    let fault = words::refusal("cannot ask", 500, bytes, None, "x");
    assert!(crate::model::text::is_clean(&fault.why) && fault.why.chars().count() <= 2000);
    let top = manifest::digest_of(bytes);
    let image = || match manifest::read(bytes, "amd64") {
        Ok(manifest::Pointer::Image(image)) => Some(image),
        _ => None,
    };
    for config in corpus("config").iter().map(Vec::as_slice).chain([bytes]) {
        if let Some(Ok(joined)) = image().map(|image| manifest::join(top.clone(), image, config)) {
            assert!(joined.size_bytes() < 1 << 60);
        }
    }
}

#[test]
fn every_answer_of_the_corpus_is_read_or_refused() {
    for text in corpus("header") {
        header(&String::from_utf8_lossy(&text));
    }
    ["manifest", "config", "refusal"].iter().flat_map(|name| corpus(name)).for_each(|bytes| body(&bytes));
    body("[".repeat(1_000_000).as_bytes());
    body("{\"errors\":".repeat(100_000).as_bytes());
    header(&format!("Bearer {}", "a=\"".repeat(300_000)));
    header(&",".repeat(1_000_000));
    header(&"<>;".repeat(300_000));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn no_header_panics(text in "(Bearer |Basic |bearer\t)?((realm|service|scope|rel|x)=?(\"|<|>|;|,|\\\\| |https://|//|cr.example.org|evil.test|@|:|/|\\PC){0,12}){0,6}") {
        header(&text);
    }

    #[test]
    fn no_body_panics(bytes in prop::collection::vec(any::<u8>(), 0..300), n in 0usize..64, at in 0usize..4096) {
        body(&bytes);
        let seeds = [corpus("manifest"), corpus("config"), corpus("refusal")].concat();
        let mut seed = seeds[n % seeds.len()].clone();
        let at = at.min(seed.len());
        seed.splice(at..(at + n).min(seed.len()), bytes);
        body(&seed);
    }
}
