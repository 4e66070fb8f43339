use super::*;
use crate::model::mirror_choice::{Login, MirrorChoice, PLATFORM9_REGISTRIES};
use crate::model::veil;
use proptest::prelude::*;

fn bases(text: &str) -> Vec<String> {
    parse(text).unwrap().asked("docker.io").into_iter().map(|asked| asked.base).collect()
}

#[test]
fn endpoints_are_those_that_containerd_asks() {
    let hub = "https://registry-1.docker.io/v2";
    let cases: [(&str, &[&str]); 11] = [
        ("", &[hub]),
        ("[host.\"https://m\"]\n", &["https://m/v2", hub]),
        ("[host.\"m:5000\"]\n", &["https://m:5000/v2", hub]),
        ("[host.\"https://m/infra\"]\n", &["https://m/infra/v2", hub]),
        ("[host.\"https://m/infra/\"]\n", &["https://m/infra/v2", hub]),
        ("[host.\"https://m/v2/infra\"]\n", &["https://m/v2/infra/v2", hub]),
        ("[host.\"https://m/v2/infra\"]\noverride_path = true\n", &["https://m/v2/infra", hub]),
        (
            "server = \"https://m/v2\"\n[host.\"http://a\"]\n[host.\"http://b\"]\n",
            &["http://a/v2", "http://b/v2", "https://m/v2"],
        ),
        ("[host.\"https://a\".header]\nX = \"1\"\n[host.\"https://b\"]\n", &["https://a/v2", "https://b/v2", hub]),
        // Passed over by the one or the other version.
        ("host.\"https://m\".capabilities = [\"pull\"]\n", &[hub]),
        ("[host]\n\"https://m\" = { skip_verify = true }\n", &[hub]),
    ];
    for (text, expected) in cases {
        assert_eq!(bases(text), expected, "{text}");
    }
}

#[test]
fn what_containerd_cannot_decode_is_a_mistake_with_its_line() {
    let cases = [
        ("server = \"https://m\"\n[host.\"https://m\"\n", 2, ""),
        ("[host.\"a\"]\n[host.\"a\"]\n", 2, "duplicate"),
        ("\n[host.\"a\"]\ncapabilities = [\"pull\", \"fetch\"]\n", 3, "unknown capability `fetch`"),
        ("[host.\"a\"]\ncapabilities = \"pull\"\n", 2, "no list of texts"),
        ("[host.\"a\"]\nskip_verify = \"true\"\n", 2, "neither true nor false"),
        ("[host.\"a\"]\nca = 1\n", 2, "no list of texts"),
        ("[host.\"a\"]\nclient = [[\"c\", \"k\", \"x\"]]\n", 2, "neither a path"),
        ("[host.\"a\"]\ndial_timeout = \"2 s\"\n", 2, "no duration"),
        ("server = 1\n", 1, "no text"),
        ("host = 1\n", 1, "no table"),
        ("server = \"https://m:x\"\n", 1, "no URL"),
        ("header = 1\n", 1, "no table"),
    ];
    for (text, line, why) in cases {
        let mistake = parse(text).unwrap_err();
        assert!(mistake.line == line && mistake.message.contains(why), "{text}: {mistake:?}");
        let told = lint("docker.io", text, "1.6.20");
        assert!(told.iter().any(|p| p.why.contains("asks the registry itself")), "{text}: {told:?}");
    }
}

#[test]
fn every_silent_trap_is_told() {
    let good = "server = \"https://registry-1.docker.io\"\n[host.\"https://m:5000/v2/infra\"]\ncapabilities = [\"pull\", \"resolve\"]\n\
                override_path = true\nca = \"/etc/ca.crt\"\n";
    assert_eq!(lint("docker.io", good, "1.6.20"), []);
    let with = |line: &str| format!("[host.\"https://m\"]\ncapabilities = [\"pull\", \"resolve\"]\n{line}\n");
    let cases: [(&str, String, &str, &str); 26] = [
        ("registry-1.docker.io", good.into(), "1.6.20", "is not looked for"),
        ("docker.io", format!("\u{feff}{good}"), "2.1.0", "byte order mark"),
        ("docker.io", String::new(), "1.6.20", "is empty"),
        ("docker.io", "# nothing\n".into(), "1.6.20", "is empty"),
        ("docker.io", with("skip_verfy = true"), "1.6.20", "key `skip_verfy` of host `https://m` is not known"),
        ("docker.io", format!("mirror = 1\n{}", with("")), "1.6.20", "key `mirror` is not known"),
        ("docker.io", "host.\"https://m\".capabilities = [\"pull\"]".into(), "1.6.20", "not seen by every containerd"),
        ("docker.io", "[host]\n\"https://m\" = { skip_verify = true }".into(), "2.0.0", "not seen by every containerd"),
        ("docker.io", format!("server = \"https://docker.io\"\n{}", with("")), "2.0.0", "which is no registry"),
        ("docker.io", "server = \"https://m\"".into(), "1.7.30", "cannot decode"),
        ("docker.io", "[host.\"https://m/infra\"]".into(), "2.0.0", "https://m/infra/v2/<repository>"),
        ("docker.io", "[host.\"https://m/v2/infra\"]".into(), "2.0.0", "https://m/v2/infra/v2/<repository>"),
        ("docker.io", "[host.\"https://m\"]\noverride_path = true".into(), "2.0.0", "without `/v2`"),
        ("docker.io", "[host.\"https://m\"]\ncapabilities = [\"pull\"]".into(), "2.0.0", "may not resolve"),
        ("docker.io", "[host.\"https://m\"]\ncapabilities = [\"resolve\"]".into(), "2.0.0", "may not pull"),
        (
            "docker.io",
            "[host.\"https://m\"]\ncapabilities = [\"Pull\", \"resolve\", \"push\"]".into(),
            "2.0.0",
            "`push` is granted",
        ),
        ("docker.io", "[host.\"https://m\"]".into(), "2.0.0", "which grants all"),
        ("docker.io", with("ca = \"ca.crt\""), "2.0.0", "looked for beside the file"),
        ("docker.io", "[host.\"http://m\"]\nskip_verify = true".into(), "2.0.0", "with settings of TLS"),
        ("docker.io", with("[host.\"https://m\".host.\"https://n\"]"), "2.0.0", "hosts of its own"),
        ("docker.io", "[host.mirror.example]\nskip_verify = true".into(), "2.0.0", "one part of a name"),
        ("docker.io", with("dial_timeout = \"2s\""), "2.0.9", "not known before"),
        ("docker.io", "[host.\"https://kim:word@m\"]".into(), "2.0.0", "holds a login"),
        ("docker.io", "[host.\"https://m?ns=docker.io\"]".into(), "2.0.0", "holds a query"),
        ("docker.io", "server = \"httpbin.example\"".into(), "2.0.0", "names no host"),
        (
            "docker.io",
            "[host.\"https://m\"]\ncapabilities = [\"pull\", \"resolve\", \"referrers\"]".into(),
            "1.7.0",
            "`referrers`",
        ),
    ];
    for (folder, text, version, why) in cases {
        let told = lint(folder, &text, version);
        assert!(told.iter().any(|p| p.why.contains(why)), "{why}: {told:#?}");
    }
    assert!(lint("docker.io", &with("skip_verfy = true"), "1.6.20")[0].hint.as_deref() == Some("did you mean `skip_verify`?"));
    assert_eq!(lint("docker.io", "server = \"https://m\"", "2.0.0"), [], "a server alone is fine from 2.0 on");
}

fn choice() -> MirrorChoice {
    MirrorChoice {
        url: "https://10.101.101.100:443".into(),
        path: "infra/k8s".into(),
        ca: Some("/etc/containerd/certs.d/10.101.101.100:443/ca.crt".into()),
        registries: PLATFORM9_REGISTRIES.map(str::to_owned).to_vec(),
        ..MirrorChoice::default()
    }
}

#[test]
fn the_files_of_a_choice_are_those_of_platform9() {
    let files = files(&choice(), "/etc/containerd/certs.d/");
    let folders = ["10.101.101.100:443", "platform9.io", "docker.io", "gcr.io", "quay.io", "registry.k8s.io"];
    let expected: Vec<String> = folders.iter().map(|name| format!("/etc/containerd/certs.d/{name}/hosts.toml")).collect();
    assert_eq!(files.iter().map(|file| file.path.clone()).collect::<Vec<_>>(), expected);
    assert!(files.iter().all(|file| file.mode == 0o644));
    let hub: Vec<&str> = files[2].text.lines().skip(1).collect();
    let wanted = [
        "server = \"https://registry-1.docker.io\"",
        "",
        "[host.\"https://10.101.101.100:443/v2/infra/k8s\"]",
        "capabilities = [\"pull\", \"resolve\"]",
        "override_path = true",
        "ca = \"/etc/containerd/certs.d/10.101.101.100:443/ca.crt\"",
    ];
    assert_eq!(hub, wanted);
    let own = parse(&files[0].text).unwrap().asked("10.101.101.100:443");
    assert!(own.iter().all(|asked| asked.base == "https://10.101.101.100:443/v2" && asked.ca.len() == 1), "{own:?}");
}

#[test]
fn no_choice_makes_a_file_with_a_trap_or_one_that_the_hub_is_asked_by_when_only_the_mirror_may_be() {
    let login = Some(Login { user: "robot$pull".into(), secret: "mirror-password".into() });
    for n in 0..32 {
        let on = |bit: u32| n & (1 << bit) != 0;
        let plain = on(4);
        let choice = MirrorChoice {
            url: if plain { "http://m.example:5000/" } else { "https://m.example:5000" }.into(),
            path: if on(0) { "infra" } else { "" }.into(),
            ca: choice().ca.filter(|_| on(1) && !plain),
            skip_tls: on(1) && !plain,
            login: login.clone().filter(|_| on(2)),
            mirror_only: on(3),
            ..choice()
        };
        assert_eq!(choice.problems(), []);
        for file in files(&choice, "/c") {
            let registry = file.path.split('/').nth(2).unwrap();
            for version in ["1.6.20", "1.7.30", "2.0.0", "2.3.4"] {
                assert_eq!(lint(registry, &file.text, version), [], "{}\n{}", file.path, file.text);
            }
            assert_eq!(render(&parse(&file.text).unwrap()), file.text);
            let asked = parse(&file.text).unwrap().asked(registry);
            assert_eq!(asked.len(), 2);
            let elsewhere = asked.iter().any(|asked| !asked.base.contains("://m.example:5000/v2"));
            assert_eq!(elsewhere, !on(3) && registry != "m.example:5000", "{}", file.text);
            assert_eq!(file.mode, if on(2) { 0o600 } else { 0o644 });
            assert_eq!(file.text.contains("Authorization = \"(basic robot$pull mirror-password)\""), on(2), "{}", file.text);
        }
    }
}

#[test]
fn a_folder_that_keeps_another_from_being_read_is_told() {
    let listing = |folders: &[(&str, &[&str])]| -> BTreeMap<String, Vec<String>> {
        folders.iter().map(|(name, files)| ((*name).to_owned(), files.iter().map(|f| (*f).to_owned()).collect())).collect()
    };
    let registries = ["docker.io".to_owned(), "m:443".to_owned()];
    let hosts: &[&str] = &["hosts.toml"];
    assert_eq!(shadows(&listing(&[("docker.io", hosts), ("quay.io", &[])]), &registries), []);
    type Folders<'a> = &'a [(&'a str, &'a [&'a str])];
    let cases: [(Folders, &str, &str); 5] = [
        (&[("m_443_", hosts)], "m_443_", "goes before `m:443`"),
        (&[("_default", hosts), ("quay.io", &["ca.crt"])], "quay.io", "keeps that of `_default`"),
        (&[("docker.io", &["ca.crt", "me.key"])], "docker.io", "holds ca.crt, me.key, not read any more"),
        (&[("registry-1.docker.io", hosts)], "registry-1.docker.io", "is not looked for"),
        (&[("_default", hosts)], "_default", "the new ones go before it"),
    ];
    for (folders, folder, why) in cases {
        let told = shadows(&listing(folders), &registries);
        assert!(told.iter().any(|p| p.subject == format!("folder `{folder}`") && p.why.contains(why)), "{why}: {told:?}");
    }
}

#[test]
fn a_login_is_filled_in_where_containerd_reads_it_and_hidden_when_the_file_is_read_back() {
    for (user, basic) in
        [("robot$pull", "Basic cm9ib3QkcHVsbDpodW50ZXIyXCI="), ("a \"b\" (c)", "Basic YSAiYiIgKGMpOmh1bnRlcjJcIg==")]
    {
        let login = Some(Login { user: user.into(), secret: "mirror-password".into() });
        let choice = MirrorChoice { login, mirror_only: true, ..choice() };
        assert_eq!(choice.problems(), []);
        for file in files(&choice, "/c") {
            let filled =
                veil::unveil(&file.text, &[], |name| (name == "mirror-password").then(|| "hunter2\\\"".to_owned())).unwrap();
            let asked = parse(&filled).unwrap().asked("docker.io");
            assert!(asked.iter().take(1).all(|asked| asked.header["authorization"] == [basic]), "{asked:?}");
            let kept = veil::veil(&filled);
            assert!(!kept.text.contains("Basic ") && !kept.text.contains("(basic "), "{}", kept.text);
            assert!(veil::same(&kept.text, &file.text), "{}\n{}", kept.text, file.text);
        }
    }
}

fn settings_of_any_kind() -> impl Strategy<Value = Settings> {
    let text = || "\\PC{0,12}|[ -~]{0,12}|[\\x00-\\x1f'\"\\\\]{0,4}|\\(basic [a-z]{1,4} [a-z]{1,4}\\)";
    let capabilities = prop::sample::subsequence(vec!["pull", "resolve", "push"], 0..=3);
    let header = prop::collection::btree_map(text(), prop::collection::vec(text(), 1..3), 0..3);
    let client = prop::collection::vec((text(), prop::option::of("[a-z/'\"]{1,8}")), 0..3);
    let some =
        (capabilities, prop::collection::vec(text(), 0..3), client, prop::option::of(any::<bool>()), any::<bool>(), header);
    (some, prop::option::of("[1-9]{1,3}(ms|s|m|h)")).prop_map(
        |((capabilities, ca, client, skip_verify, override_path, header), t)| {
            let capabilities = capabilities.into_iter().map(str::to_owned).collect();
            Settings { capabilities, ca, client, skip_verify, override_path, header, dial_timeout: t }
        },
    )
}

fn url() -> impl Strategy<Value = String> {
    "(https?://)?[a-z]{1,6}(\\.[a-z]{1,4})?(:[1-9][0-9]{0,3})?(/[a-z0-9'/._-]{0,8})?"
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn what_is_written_reads_back_as_the_same(
        server in prop::option::of(url()),
        own in settings_of_any_kind(),
        hosts in prop::collection::btree_map(url(), settings_of_any_kind(), 0..4),
    ) {
        let hosts = hosts.into_iter().map(|(url, settings)| HostEntry { url, settings }).rev().collect();
        let file = HostsToml { server, own, hosts };
        let text = render(&file);
        prop_assert_eq!(parse(&text).map_err(|mistake| format!("{mistake}\n{text}")), Ok(file));
    }

    #[test]
    fn no_text_panics(text in "(\\[?\\[host\\.|\"https?://|\\PC|\"\\]?\n|[a-z_]{1,13} = |\\{|\\[|true|\"pull\"){0,24}") {
        let _ = (parse(&text), lint("docker.io", &text, "2.1"));
    }
}
