use super::*;
use crate::model::mirror_choice::Login;
use proptest::prelude::*;

fn choice() -> MirrorChoice {
    MirrorChoice {
        url: "https://10.101.101.100:443".into(),
        path: "infra".into(),
        registries: vec!["docker.io".into(), "quay.io".into()],
        ..MirrorChoice::default()
    }
}

#[test]
fn the_drop_in_of_a_choice_has_one_mirror_for_each_registry() {
    let written = file(&choice(), "/etc/containers/registries.conf.d/");
    assert_eq!((written.path.as_str(), written.mode), ("/etc/containers/registries.conf.d/castoff-mirror.conf", 0o644));
    let expected = "\n[[registry]]\nprefix = \"docker.io\"\nlocation = \"docker.io\"\n\n[[registry.mirror]]\nlocation = \"10.101.101.100:443/infra\"\n";
    assert!(written.text.contains(expected), "{}", written.text);
    let plain = MirrorChoice { url: "http://m:5000".into(), path: String::new(), mirror_only: true, ..choice() };
    let text = file(&plain, "/x").text;
    assert!(text.contains("location = \"m:5000\"\ninsecure = true\n") && text.contains("blocked = true\n"), "{text}");
    for choice in [choice(), plain] {
        assert_eq!(lint(NAME, &file(&choice, "/x").text), []);
    }
}

#[test]
fn what_a_drop_in_cannot_say_is_told() {
    assert_eq!(unsaid(&choice()), []);
    let login = MirrorChoice { login: Some(Login { user: "kim".into(), secret: "s".into() }), ..choice() };
    assert!(unsaid(&login)[0].hint.as_deref() == Some("on each host, for each user: podman login 10.101.101.100:443"));
    let ca = MirrorChoice { ca: Some("/etc/ca.crt".into()), ..choice() };
    assert!(unsaid(&ca)[0].why.contains("/etc/containers/certs.d/10.101.101.100:443/ca.crt"));
    assert_eq!(unsaid(&MirrorChoice { ca: Some(ca_path(&ca)), ..choice() }), []);
}

#[test]
fn every_trap_of_a_drop_in_is_told() {
    let with = |lines: &str| format!("[[registry]]\nlocation = \"docker.io\"\n{lines}\n");
    let mirror = |lines: &str| with(&format!("[[registry.mirror]]\n{lines}"));
    assert_eq!(lint("a.conf", &mirror("location = \"m:5000\"")), []);
    let cases: [(&str, String, &str); 18] = [
        ("a.conf.bak", with(""), "does not end in `.conf`"),
        ("a.conf", "[[registry]\n".into(), "line 1: "),
        ("a.conf", "[registries.search]\nregistries = []\n".into(), "tables of version 1"),
        ("a.conf", format!("{}[registries.block]\n", with("")), "tables of version 1"),
        ("a.conf", "[[registry]]\n".into(), "neither location nor prefix"),
        ("a.conf", "[[registry]]\nprefix = \"docker.io\"\n".into(), "has no location"),
        ("a.conf", "[[registry]]\nlocation = \"https://docker.io\"\n".into(), "location `https://docker.io` has a scheme"),
        ("a.conf", mirror("location = \"https://m\""), "location `https://m` has a scheme"),
        ("a.conf", mirror("insecure = true"), "a mirror without a location"),
        ("a.conf", mirror("location = \"m\"\npull-from-mirror = \"digest\""), "is `digest`"),
        ("a.conf", with("pull-from-mirror = \"all\""), "belongs to a mirror"),
        (
            "a.conf",
            with("mirror-by-digest-only = true\n[[registry.mirror]]\nlocation = \"m\"\npull-from-mirror = \"all\""),
            "sets `mirror-by-digest-only`",
        ),
        ("a.conf", format!("{}{}", with(""), with("blocked = true")), "stands there twice, once"),
        ("a.conf", format!("{}{}", with(""), with("")), "the first one counts"),
        ("a.conf", mirror("location = \"m\"\nmirror = 1"), "key `mirror` is not known"),
        ("a.conf", with("blocked = true"), "has no mirror"),
        ("a.conf", mirror("location = \"m\"\npull-from-mirror = \"tag-only\""), "every digest comes from elsewhere"),
        ("a.conf", "[[registry]]\nlocation = \"registry-1.docker.io\"\n".into(), "nothing begins so"),
    ];
    for (name, text, why) in cases {
        let told = lint(name, &text);
        assert!(told.iter().any(|p| p.why.contains(why)), "{why}: {told:?}");
    }
}

#[test]
fn a_drop_in_that_is_read_later_or_says_more_wins_and_is_told() {
    let ours = (NAME.to_owned(), file(&choice(), "/x").text);
    let other = |name: &str, prefix: &str| (name.to_owned(), format!("[[registry]]\nlocation = \"{prefix}\"\n"));
    let told = |files: &[(String, String)]| overridden(NAME, files).iter().map(|p| p.why.clone()).collect::<Vec<_>>();
    assert_eq!(told(&[other("000-first.conf", "docker.io"), ours.clone(), other("zz.conf", "gcr.io")]), [""; 0]);
    assert!(told(&[ours.clone(), other("zz.conf", "docker.io")])[0].contains("it wins"));
    assert!(told(&[other("000-first.conf", "docker.io/library"), ours.clone()])[0].contains("longer than `docker.io`"));
    assert_eq!(told(&[ours, other("zz.bak", "docker.io")]), [""; 0]);
}

fn place() -> impl Strategy<Value = String> {
    "[a-z]{1,5}(\\.[a-z]{2,3})?(:[1-9][0-9]{0,3})?(/[a-z'\"\\\\é]{1,5})?"
}

fn registry() -> impl Strategy<Value = Registry> {
    let pull = prop::sample::select(vec![PullBy::All, PullBy::Digest, PullBy::Tag]);
    let mirror = (place(), any::<bool>(), pull).prop_map(|(location, insecure, pull)| Mirror { location, insecure, pull });
    let mirrors = prop::collection::vec(mirror, 0..3);
    (place(), place(), any::<bool>(), any::<bool>(), any::<bool>(), mirrors).prop_map(
        |(prefix, location, insecure, blocked, digest, mirrors)| {
            let digest_only = digest && mirrors.iter().all(|mirror| mirror.pull == PullBy::All);
            Registry { prefix, location, insecure, blocked, digest_only, mirrors }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn what_is_written_reads_back_as_the_same(registries in prop::collection::vec(registry(), 0..4)) {
        let mut places = std::collections::BTreeSet::new();
        let registries: Vec<Registry> = registries.into_iter().filter(|r| places.insert(r.location.clone())).collect();
        let drop_in = DropIn { registries };
        let text = render(&drop_in);
        prop_assert_eq!(parse(&text).map_err(|mistake| format!("{mistake}\n{text}")), Ok(drop_in));
    }

    #[test]
    fn no_text_panics(text in "(\\[\\[registry(\\.mirror)?\\]\\]\n|\\PC|\n|location = |prefix = |\"(https://)?[a-z]{0,3}\"\n){0,24}") {
        let _ = (lint("a.conf", &text), overridden("a.conf", &[("a.conf".to_owned(), text.clone()), ("b.conf".to_owned(), text)]));
    }
}
