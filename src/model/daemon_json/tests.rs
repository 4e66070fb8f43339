use super::*;
use crate::model::DockerDaemon;
use proptest::prelude::*;
use serde_json::json;

fn one(mirrors: &[&str]) -> Vec<String> {
    mirrors.iter().map(|mirror| (*mirror).to_owned()).collect()
}

#[test]
fn mirrors_are_set_in_the_style_of_the_file() {
    let two = one(&["https://a.example", "https://b.example"]);
    let form = "{\n    \"registry-mirrors\": [\"https://a.example\", \"https://b.example\"]\n}\n";
    for (before, after) in [
        (None, form),
        (Some(""), form),
        (Some("\u{feff} \r\n"), form),
        (Some("{}"), form.trim_end()),
        (Some("{}\n"), form),
        (Some("{\r\n}\r\n"), "{\r\n    \"registry-mirrors\": [\"https://a.example\", \"https://b.example\"]\r\n}\r\n"),
        (Some(r#"{"debug":true}"#), r#"{"debug":true,"registry-mirrors":["https://a.example","https://b.example"]}"#),
        (Some(r#"{"debug": true}"#), r#"{"debug": true, "registry-mirrors": ["https://a.example", "https://b.example"]}"#),
        (
            Some("\u{feff}{\r\n\t\"debug\" : true,\r\n\r\n\t\"a\" : [1,\r\n2]\r\n}"),
            "\u{feff}{\r\n\t\"debug\" : true,\r\n\r\n\t\"a\" : [1,\r\n2],\r\n\t\"registry-mirrors\" : [\"https://a.example\", \"https://b.example\"]\r\n}",
        ),
        (
            Some("{\n  \"registry-mirrors\": [\n    \"https://old.example/\"\n  ],\n  \"z\": 1.50\n}\n"),
            "{\n  \"registry-mirrors\": [\n    \"https://a.example\",\n    \"https://b.example\"\n  ],\n  \"z\": 1.50\n}\n",
        ),
        (
            Some(r#"{ "registry-mirrors": [ "x","y" ,"z" ] }"#),
            r#"{ "registry-mirrors": [ "https://a.example","https://b.example" ] }"#,
        ),
        (
            Some(r#"{"registry-mirrors": null, "a\u0062": 1}"#),
            r#"{"registry-mirrors": ["https://a.example", "https://b.example"], "a\u0062": 1}"#,
        ),
        (
            Some("{\"registry\\u002dmirrors\": []}"),
            "{\"registry\\u002dmirrors\": [\"https://a.example\", \"https://b.example\"]}",
        ),
        (
            Some(r#"{"registry-mirrors":["https://a.example" ,  "https:\/\/b.example"]}"#),
            r#"{"registry-mirrors":["https://a.example" ,  "https:\/\/b.example"]}"#,
        ),
    ] {
        assert_eq!(merge(before, &two).as_deref(), Ok(after), "{before:?}");
        assert_eq!(merge(Some(after), &two).as_deref(), Ok(after), "a second time nothing changes");
    }
    let cleared = merge(Some("{\n  \"registry-mirrors\": [\n    \"x\"\n  ]\n}\n"), &[]);
    assert_eq!(cleared.as_deref(), Ok("{\n  \"registry-mirrors\": []\n}\n"));
}

#[test]
fn a_key_is_taken_out_with_its_comma() {
    for (before, after) in [
        ("{\n  \"debug\": true,\n  \"b\": 1\n}\n", "{\n  \"b\": 1\n}\n"),
        ("{\n  \"b\": 1,\n  \"debug\": true\n}\n", "{\n  \"b\": 1\n}\n"),
        ("{\n  \"debug\": true\n}\n", "{\n}\n"),
        (r#"{"b":"debug"}"#, r#"{"b":"debug"}"#),
        ("", ""),
    ] {
        assert_eq!(remove_key(before, "debug").as_deref(), Ok(after), "{before}");
    }
    assert_eq!(set_key(Some("{\n  \"debug\": false\n}"), "debug", &json!(true)).as_deref(), Ok("{\n  \"debug\": true\n}"));
}

#[test]
fn what_is_no_object_is_refused_with_its_place() {
    for (text, why) in [
        ("[]", "1:1: is JSON, but no object: `{` is missing"),
        ("{\n  \"a\": 1,\n}", "2:9: a comma stands before the closing bracket"),
        ("{\"a\": [1,]}", "1:9: a comma stands before the closing bracket"),
        ("{\n  \"é\": 1,\n  \"a\": 2, \"é\": 3\n}", "3:11: the key `é` stands there twice"),
        ("{\"a\": 1, \"\\u0061\": 1}", "1:10: the key `a` stands there twice"),
        ("{\u{201c}a\u{201d}: 1}", "1:2: `\u{201c}` is no quote of JSON"),
        ("{\n  // no\n  \"a\": 1\n}", "2:3: a comment stands there"),
        ("# no\n{}", "1:1: a comment stands there"),
        ("{'a': 1}", "1:2: `'` is no quote of JSON"),
        ("{\"a\": \"x\"\n \"b\": 1}", "2:2: a comma or a colon is missing before it"),
        ("\u{feff}{\"a\": tru}", "1:10: is no JSON: expected ident"),
        ("{\"a\": 1", "1:8: ends too early"),
        ("{} {}", "1:4: is no JSON: trailing characters"),
    ] {
        let flaw = merge(Some(text), &[]).unwrap_err();
        assert_eq!(flaw.to_string(), why, "{text}");
        assert_eq!(mirrors(text).unwrap_err(), flaw);
        assert_eq!(remove_key(text, "a").unwrap_err(), flaw);
    }
}

#[test]
fn the_mirrors_of_a_file_are_read_as_the_engine_lists_them() {
    for (text, expected) in [
        ("", Ok(&[][..])),
        ("{}", Ok(&[])),
        (r#"{"registry-mirrors": null}"#, Ok(&[])),
        (r#"{"registry-mirrors": ["https://a", "https://a/", "https://b/p"]}"#, Ok(&["https://a/", "https://b/p/"])),
        (r#"{"registry-mirrors": "https://a"}"#, Err("1:22: `registry-mirrors` is no list of texts")),
        ("{\"registry-mirrors\": [\"a\",\n 1]}", Err("2:2: `registry-mirrors` is no list of texts")),
    ] {
        assert_eq!(mirrors(text).map_err(|flaw| flaw.to_string()), expected.map(one).map_err(str::to_owned), "{text}");
    }
}

#[test]
fn a_mirror_is_taken_by_the_rules_of_the_engines_version() {
    for (url, version, expected) in [
        ("https://a.example", "20.10.24+dfsg1", Ok("https://a.example/")),
        ("http://127.0.0.1:5000/", "", Ok("http://127.0.0.1:5000/")),
        ("https://[::1]:5000", "28.0.0", Ok("https://[::1]:5000/")),
        ("https://a.example/v2/p", "24.0.8", Ok("https://a.example/v2/p/")),
        ("https://a.example/v2/p/", "25.0.0-rc.1", Ok("https://a.example/v2/p/")),
        (
            "https://a.example/p",
            "24.0.7",
            Err("has a path, which Docker Engine takes from 24.0.8 and 25.0.0 on; this one is 24.0.7"),
        ),
        (
            "https://a.example/p",
            "",
            Err("has a path, which Docker Engine takes from 24.0.8 and 25.0.0 on; this one is not known"),
        ),
        ("a.example", "28.3.0", Err("names no scheme: it begins with `https://` or `http://`")),
        ("a.example:5000", "20.10.24", Err("names no scheme: it begins with `https://` or `http://`")),
        ("ftp://a.example", "28.3.0", Err("has a scheme that no engine takes: only `https` and `http` are")),
        ("https://a.example?x", "28.3.0", Err("has a query (`?`)")),
        ("https://a.example/#x", "28.3.0", Err("has a fragment (`#`)")),
        ("https://", "28.3.0", Err("names no host")),
        ("https:///p", "28.3.0", Err("names no host")),
        ("https://a.example:99999", "28.3.0", Err("has a port that is none")),
        ("https://a.example/a//b", "28.3.0", Err("has an empty part in its path (`//`)")),
        ("https://\u{201c}a\u{201d}", "28.3.0", Err("holds a character that stands in no URL")),
    ] {
        let expected = expected.map(str::to_owned).map_err(|why| format!("mirror `{url}` {why}"));
        assert_eq!(valid_mirror(url, version), expected, "{url} {version}");
    }
    let why = valid_mirror("https://kim:hunter2@a.example", "28.3.0").unwrap_err();
    assert_eq!(
        why,
        "mirror `https://kim:(hidden 1)@a.example` holds a user name or password: the engine takes none for a mirror"
    );
}

fn daemon(version: &str) -> DockerDaemon {
    DockerDaemon { version: version.to_owned(), config: "/d.json".to_owned(), ..DockerDaemon::default() }
}

fn check(daemon: &DockerDaemon, text: &str, expected: &[(Matters, &str)]) {
    let found = lint(daemon, Some(text));
    let words: Vec<_> = found.iter().map(|one| (one.matters, one.problem.words())).collect();
    assert_eq!(words.len(), expected.len(), "{text}: {words:#?}");
    for ((matters, words), (when, part)) in words.iter().zip(expected) {
        assert!(matters == when && words.contains(part), "{text}: {matters:?} {words}\nexpected {when:?} {part}");
    }
    assert!(found.iter().all(|one| one.problem.hint.is_some()), "each says what helps");
}

#[test]
fn every_trap_of_a_file_is_found() {
    use Matters::{Always, Note};
    for (version, text, expected) in [
        ("20.10.24", "{}", &[][..]),
        ("20.10.24", "", &[]),
        ("20.10.24", "\n", &[(Note, "`/d.json` is empty, which Docker Engine before 23.0 refuses")]),
        ("23.0.1", "\n", &[]),
        ("20.10.24", "\u{feff}{}", &[(Always, "begins with a byte order mark")]),
        ("23.0.1", "\u{feff}{}", &[]),
        (
            "28.0.0",
            "{\n\"registry-mirror\": [\"https://a\"]}",
            &[(Note, "line 2: `registry-mirror` is the name of a flag and no key")],
        ),
        ("28.0.0", r#"{"host": [], "label": []}"#, &[(Note, "`host`"), (Note, "`label`")]),
        (
            "20.10.24",
            r#"{"feature": [], "help": 1}"#,
            &[(Note, "or refuses the file where it knows no such flag"), (Note, "`help`")],
        ),
        ("28.0.0", r#"{"registry-mirrorz": []}"#, &[(Always, "line 1: `registry-mirrorz` is no key")]),
        ("28.0.0", r#"{"registryMirrors": []}"#, &[(Always, "`registryMirrors` is no key")]),
        ("28.0.0", r#"{"regsitry-mirrors": []}"#, &[(Always, "`regsitry-mirrors` is no key")]),
        (
            "28.0.0",
            r#"{"labels": [],}"#,
            &[(Always, "line 1, column 14: a comma stands before the closing bracket; the engine refuses")],
        ),
        ("28.0.0", r#"{"registry-mirrors": "https://a"}"#, &[(Note, "is no list of texts")]),
        ("28.0.0", r#"{"registry-mirrors": ["a.example"]}"#, &[(Note, "names no scheme")]),
        ("20.10.24", r#"{"registry-mirrors": ["https://a/p"]}"#, &[(Note, "this one is 20.10.24")]),
        ("28.0.0", r#"{"insecure-registries": ["http://a:5000"]}"#, &[(Note, "names `http://a:5000` in `insecure-registries`")]),
    ] {
        check(&daemon(version), text, expected);
    }
}

#[test]
fn every_trap_of_a_daemon_is_found() {
    use Matters::{Always, Reload, Restart};
    let words = |text: &str| text.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect::<Vec<_>>();
    let run = |flags: &str, unit: &str| DockerDaemon { flags: words(flags), unit_flags: words(unit), ..daemon("27.0.0") };
    for (flags, unit, text, expected) in [
        ("-H fd://", "/usr/sbin/dockerd -H fd://", "{}", &[][..]),
        ("--add-runtime a=b", "", r#"{"runtimes": {}}"#, &[]),
        ("--registry-mirror=https://b", "", "{}", &[(Always, "the running command line of dockerd sets `--registry-mirror`")]),
        ("", "--registry-mirror https://b", "{}", &[(Always, "the unit of dockerd sets `--registry-mirror`")]),
        (
            "",
            "-H fd://",
            r#"{"hosts": ["fd://"]}"#,
            &[(Always, "the unit of dockerd sets what `hosts` in `/d.json` sets as well")],
        ),
        ("-D", "-D", r#"{"debug": true}"#, &[(Always, "running command line"), (Always, "unit")]),
        ("--label=a=b", "", r#"{"labels": []}"#, &[(Always, "`labels`")]),
        (
            "-H fd:// --debug",
            "dockerd -H fd:// --mtu 1400",
            "{}",
            &[(Restart, "differs from its unit: a restart takes away `--debug` and adds `--mtu`, `1400`")],
        ),
    ] {
        check(&run(flags, unit), text, expected);
    }
    let insecure = r#"{"insecure-registries": ["a:5000"]}"#;
    for (version, bug) in
        [("20.10.24", false), ("23.0.0", true), ("23.0.6", true), ("23.0.7", false), ("24.0.0", true), ("24.0.1", false)]
    {
        let expected = [(Reload, "forgets its insecure registries when it reloads")];
        check(&daemon(version), insecure, if bug { &expected } else { &[] });
        check(&daemon(version), "{}", &[]);
    }
    let swarm = DockerDaemon { swarm: true, ..daemon("27.0.0") };
    check(&swarm, r#"{"live-restore": true}"#, &[(Restart, "does not start with both")]);
    check(&DockerDaemon { live_restore: true, ..swarm }, r#"{"live-restore": false}"#, &[]);
}

/// White space in a style: none, spaces, tabs, lines of either end.
fn blank() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["", " ", "\t", "\n  ", "\r\n    ", "\n\n\t"]).prop_map(str::to_owned)
}

fn value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(|b| json!(b)),
        any::<i32>().prop_map(|n| json!(n)),
        "[a-z\"\\\\,:{}\\[\\] \u{e9}\n]{0,6}".prop_map(|s| json!(s)),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(serde_json::Value::from),
            prop::collection::vec(("[a-z]{1,3}", inner), 0..3).prop_map(|all| all.into_iter().collect::<serde_json::Value>()),
        ]
    })
}

/// An object in a random style, and where one member, if any, is called `registry-mirrors`.
fn written() -> impl Strategy<Value = String> {
    let member = ("[a-z\"\\\\]{1,4}|registry-mirrors", value(), [blank(), blank(), blank(), blank()], any::<bool>());
    (prop::collection::vec(member, 0..5), blank(), blank(), any::<bool>()).prop_map(|(members, inner, end, bom)| {
        let mut names = std::collections::BTreeSet::new();
        let kept: Vec<_> = members.into_iter().filter(|(name, ..)| names.insert(name.clone())).collect();
        let texts = kept.iter().map(|(name, value, [a, b, c, d], pretty)| {
            let value = if *pretty { serde_json::to_string_pretty(value).unwrap() } else { value.to_string() };
            format!("{a}{}{b}:{c}{value}{d}", json!(name))
        });
        format!("{}{{{}{inner}}}{end}", if bom { "\u{feff}" } else { "" }, texts.collect::<Vec<_>>().join(","))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

    #[test]
    fn everything_but_the_key_stays(text in written(), mirrors in prop::collection::vec("https://[a-z]{1,3}", 0..3), debug in value()) {
        let before = object(&text).unwrap();
        let after = merge(Some(&text), &mirrors).unwrap();
        prop_assert_eq!(merge(Some(&after), &mirrors), Ok(after.clone()), "a second time nothing changes");
        let read = object(&after).unwrap();
        let others = |text: &str, object: &Object| -> Vec<String> {
            let kept = object.members.iter().filter(|member| member.name != MIRRORS);
            kept.map(|member| text[member.key.start..member.value.end].to_owned()).collect()
        };
        prop_assert_eq!(others(&text, &before), others(&after, &read));
        prop_assert_eq!(&text[..before.open], &after[..read.open]);
        prop_assert_eq!(&text[before.close..], &after[read.close..]);
        if !before.members.is_empty() && !before.value.contains_key(MIRRORS) {
            prop_assert_eq!(remove_key(&after, MIRRORS), Ok(text.clone()), "what was added goes without a trace");
        }
        let with = set_key(Some(&text), "debug", &debug).unwrap();
        prop_assert_eq!(&object(&with).unwrap().value["debug"], &debug);
        for member in &before.members {
            prop_assert!(!object(&remove_key(&text, &member.name).unwrap()).unwrap().value.contains_key(&member.name));
        }
    }

    #[test]
    fn no_text_panics(text in "[{}\\[\\]\",:a1#/\u{feff}\u{201c} \n\\\\]{0,16}|\\PC{0,16}", cut in 0usize..200) {
        let whole = "\u{feff}{\r\n  \"registry-mirrors\": [\"https://a\"],\r\n  \"é\": {\"b\": [1, 2]}\r\n}";
        let cut = whole.floor_char_boundary(cut.min(whole.len()));
        for text in [text.clone(), format!("{}{text}{}", &whole[..cut], &whole[cut..])] {
            drop((merge(Some(&text), &[]), remove_key(&text, "é"), mirrors(&text), lint(&daemon("20.10.24"), Some(&text))));
            drop((valid_mirror(&text, &text), Release::parse(&text)));
        }
    }
}
