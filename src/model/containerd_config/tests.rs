use super::*;
use crate::model::{ContainerdDaemon, Cri};
use proptest::prelude::*;

const FOLDER: &str = "/etc/containerd/certs.d";

fn daemon(version: &str) -> ContainerdDaemon {
    let format = if version.starts_with('1') { 2 } else { 3 };
    ContainerdDaemon {
        version: version.to_owned(),
        config: "/etc/containerd/config.toml".to_owned(),
        config_path: String::new(),
        cri: Cri::Ok,
        format,
        ..ContainerdDaemon::default()
    }
}

#[test]
fn config_path_is_set_and_everything_else_stays() {
    let two = "[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = \"/etc/containerd/certs.d\"\n";
    let cases = [
        ("", format!("version = 2\n\n{two}")),
        ("# of mine\n", format!("version = 2\n\n{two}# of mine\n")),
        ("version = 2\n", format!("version = 2\n\n{two}")),
        ("version = 2 # no end", format!("version = 2 # no end\n\n{two}")),
        ("version = 2\r\n# mine\r\nroot = \"/r\"\r\n", format!("version = 2\r\n# mine\r\nroot = \"/r\"\r\n\r\n{}", two.replace('\n', "\r\n"))),
        (
            "version = 2\n[plugins]\n  [plugins.\"io.containerd.grpc.v1.cri\"]\n    a = 1 # one\n\n  [plugins.\"other\"]\n    b=2\n",
            format!("version = 2\n[plugins]\n  [plugins.\"io.containerd.grpc.v1.cri\"]\n    a = 1 # one\n\n{two}\n  [plugins.\"other\"]\n    b=2\n"),
        ),
        (
            "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\n  # why\n  config_path = ''   # empty\n  [x]\n",
            "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\n  # why\n  config_path = \"/etc/containerd/certs.d\"   # empty\n  [x]\n"
                .to_owned(),
        ),
        (
            "version = 2\nplugins.\"io.containerd.grpc.v1.cri\".a = 1\n",
            "version = 2\nplugins.\"io.containerd.grpc.v1.cri\".a = 1\nplugins.\"io.containerd.grpc.v1.cri\".registry.config_path = \"/etc/containerd/certs.d\"\n"
                .to_owned(),
        ),
        (
            "version = 2\nplugins = { \"io.containerd.grpc.v1.cri\" = { a = 1 } }\n",
            "version = 2\nplugins = { \"io.containerd.grpc.v1.cri\" = { a = 1 , registry = { config_path = \"/etc/containerd/certs.d\" } } }\n"
                .to_owned(),
        ),
        (
            "version = 3\nimports = [\"/x/*.toml\"]\n",
            "version = 3\nimports = [\"/x/*.toml\"]\n\n[plugins.\"io.containerd.cri.v1.images\".registry]\nconfig_path = \"/etc/containerd/certs.d\"\n"
                .to_owned(),
        ),
    ];
    for (before, after) in cases {
        let format = if before.contains("version = 3") { 3 } else { 2 };
        let set = set_config_path(Some(before), format, FOLDER).unwrap();
        assert_eq!(set, after, "{before:?}");
        assert_eq!(config_path(&set).as_deref(), Some(FOLDER));
        assert_eq!(set_config_path(Some(&set), format, FOLDER).as_ref(), Ok(&set), "a second time changes nothing");
    }
    assert_eq!(set_config_path(None, 3, FOLDER).unwrap().lines().next(), Some("version = 3"));
    assert_eq!(set_config_path(None, 4, FOLDER).unwrap().lines().next(), Some("version = 3"));
    let marked = set_config_path(Some("\u{feff}version = 2\n"), 2, FOLDER).unwrap();
    assert!(marked.starts_with("\u{feff}version = 2\n"), "{marked:?}");
    let old_in_new = set_config_path(Some("version = 2\n"), 3, FOLDER).unwrap();
    assert!(old_in_new.contains("grpc.v1.cri"), "a file keeps its version: {old_in_new}");
}

#[test]
fn a_file_that_must_not_be_touched_is_refused_with_the_reason() {
    let cri = "[plugins.\"io.containerd.grpc.v1.cri\".registry";
    let cases: [(String, &str); 11] = [
        ("version = 1\n".into(), "has version 1"),
        ("root = \"/r\"\n".into(), "names no `version`"),
        ("version = 9\n".into(), "knows 2 to 4"),
        ("version = \"2\"\n".into(), "is no number"),
        ("version = 3\n".into(), "it knows version 2"),
        ("version = 2\n[x\n".into(), "line 2"),
        ("version = 2\ndisabled_plugins = [\"cri\"]\n".into(), "`disabled_plugins` names `cri`"),
        (format!("version = 2\n{cri}.mirrors.\"docker.io\"]\nendpoint = []\n"), "`mirrors` are set for docker.io"),
        (format!("version = 2\n{cri}.configs.\"m:5000\".tls]\nca_file = \"/x\"\n"), "`configs` set TLS for m:5000"),
        ("version = 2\nplugins = 1\n".into(), "`plugins` is no table"),
        (format!("version = 2\n{cri}.config_path]\n"), "`config_path` is no text"),
    ];
    for (text, why) in cases {
        let refused = set_config_path(Some(&text), 2, FOLDER).unwrap_err();
        assert!(refused.contains(why), "{text}: {refused}");
    }
    for folder in ["", "certs.d", "/a:/b", "/a/../b", "/a\"b"] {
        assert!(set_config_path(None, 2, folder).is_err(), "{folder}");
    }
    let auth = format!("version = 2\n{cri}.configs.\"m:5000\".auth]\nusername = \"u\"\n{cri}.mirrors]\n");
    assert!(set_config_path(Some(&auth), 2, FOLDER).is_ok(), "a login may stand beside it, and an empty table");
    let tls = format!("version = 2\n{cri}.configs.\"m:5000\".tls]\n");
    assert!(set_config_path(Some(&tls), 3, FOLDER).is_ok(), "containerd 2 does not mind");
}

/// What `containerd config dump` 1.6.20 prints, shortened.
const DUMP: &str = r#"disabled_plugins = []
imports = ["/etc/containerd/config.toml", "/etc/containerd/conf.d/a.toml"]
version = 2

[plugins]

  [plugins."io.containerd.grpc.v1.cri"]
    sandbox_image = "registry.k8s.io/pause:3.6"

    [plugins."io.containerd.grpc.v1.cri".registry]
      config_path = ""

      [plugins."io.containerd.grpc.v1.cri".registry.auths]

      [plugins."io.containerd.grpc.v1.cri".registry.configs]

        [plugins."io.containerd.grpc.v1.cri".registry.configs."m:5000"]

          [plugins."io.containerd.grpc.v1.cri".registry.configs."m:5000".tls]
            ca_file = "/etc/ca.crt"

      [plugins."io.containerd.grpc.v1.cri".registry.mirrors]

        [plugins."io.containerd.grpc.v1.cri".registry.mirrors."docker.io"]
          endpoint = ["https://m:5000"]
"#;

#[test]
fn a_dump_is_read() {
    let read = dumped(DUMP).unwrap();
    let expected = Dumped {
        format: 2,
        config_path: String::new(),
        mirrors: vec!["docker.io".into()],
        tls: vec!["m:5000".into()],
        imports: vec!["/etc/containerd/config.toml".into(), "/etc/containerd/conf.d/a.toml".into()],
        cri_disabled: false,
    };
    assert_eq!(read, expected);
    let newest = "version = 3\ndisabled_plugins = ['io.containerd.grpc.v1.cri']\n[plugins.'io.containerd.cri.v1.images'.registry]\n\
                  config_path = '/etc/containerd/certs.d:/etc/docker/certs.d'\n";
    let read = dumped(newest).unwrap();
    assert_eq!((read.format, read.config_path.contains(':'), read.cri_disabled), (3, true, true));
    assert!(dumped("containerd: no such command").is_err());
    assert!(dumped("root = '/'").is_err());
}

#[test]
fn each_trap_of_the_configuration_is_told() {
    let set = set_config_path(None, 2, FOLDER).unwrap();
    let used = |version: &str, path: &str| ContainerdDaemon { config_path: path.to_owned(), ..daemon(version) };
    assert_eq!(lint(&set, &used("1.6.20", FOLDER)), []);
    assert_eq!(lint(&set_config_path(None, 3, FOLDER).unwrap(), &used("2.1.4", FOLDER)), []);
    let cri = "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry";
    let mirrors = format!("{cri}.mirrors.\"docker.io\"]\nendpoint = []\n");
    let cases: [(String, ContainerdDaemon, bool, &str); 15] = [
        ("x = [".into(), daemon("1.6.20"), true, "cannot be read"),
        ("root = 1\n".into(), daemon("1.6.20"), true, "names no `version`"),
        ("version = 1\n".into(), daemon("1.6.20"), true, "has version 1"),
        ("version = 3\n".into(), daemon("1.6.20"), true, "does not read"),
        (mirrors.clone(), daemon("1.6.20"), true, "`mirrors` are set for docker.io"),
        (set.clone(), ContainerdDaemon { mirrors: vec!["q.io".into()], ..daemon("1.6.20") }, true, "`mirrors` are set for q.io"),
        (set.clone(), ContainerdDaemon { tls: vec!["q.io".into()], ..daemon("1.7.1") }, true, "set TLS for q.io"),
        ("version = 2\ndisabled_plugins = [\"cri\"]".into(), daemon("1.6.20"), true, "names `cri`"),
        (set.clone(), ContainerdDaemon { cri: Cri::Absent, ..daemon("1.6.20") }, true, "is not loaded"),
        (set.clone(), ContainerdDaemon { cri: Cri::Failed("bad".into()), ..daemon("1.6.20") }, true, "has failed: bad"),
        (set.clone(), used("1.6.20", "/other"), false, "and a file that it imports `/other`"),
        ("version = 2\nimports = [\"/x.toml\"]\n".into(), daemon("1.6.20"), false, "imports /x.toml"),
        (set.replace("version = 2", "version = 3"), daemon("2.0.0"), false, "version 3 of the configuration looks below"),
        (mirrors.clone(), daemon("2.2.1"), false, "even without a `config_path`"),
        (format!("{cri}.auths.\"m\"]\n"), daemon("2.1.0"), false, "`use_local_image_pull`"),
    ];
    for (text, daemon, conflict, why) in cases {
        let told = |problems: Vec<crate::model::Problem>| problems.iter().any(|p| p.why.contains(why));
        assert_eq!(told(lint(&text, &daemon)), !conflict, "{why}: {:#?}", lint(&text, &daemon));
        assert_eq!(told(conflicts(&text, &daemon)), conflict, "{why}");
    }
    assert!(!lint(&mirrors, &daemon("2.2.2")).iter().any(|p| p.why.contains("even without")));
}

#[test]
fn versions_are_compared_by_their_numbers() {
    for (version, old) in
        [("1.6.20~ds1", true), ("v2.1.0", false), ("2.0.9", true), ("2.10.0-rc.1", false), ("", true), ("odd", true)]
    {
        assert_eq!(at_least(version, (2, 1, 0)), !old, "{version}");
    }
}

fn values(text: &str) -> toml::Table {
    text.parse().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn whatever_a_file_holds_is_kept_line_by_line(
        lines in prop::collection::vec(prop::sample::select(vec![
            "# a comment\n", "\n", "root = \"/r\"  # here\n", "[grpc]\n", "  gid = 0\n", "[plugins]\n", "\t[plugins.\"a.b\"]\n", "a = [\n 1, # one\n]\n",
            "[plugins.\"io.containerd.grpc.v1.cri\"]\n", "[plugins.\"io.containerd.grpc.v1.cri\".cni]\n", "x.y = 1\n", "x.z = 2\n", "b = {c = 1}\n",
            "[plugins.\"io.containerd.grpc.v1.cri\".registry]\n", "  config_path = \"/old\" # was\n", "[plugins.\"io.containerd.grpc.v1.cri\".registry.headers]\n",
            "registry.config_path = '/odd'\n", "text = '''\n[no]\n'''\n", "[[streams]]\n",
        ]), 0..12),
        crlf in any::<bool>(),
    ) {
        let text = format!("version = 2\n{}", lines.concat());
        let text = if crlf { text.replace('\n', "\r\n") } else { text };
        if text.parse::<toml::Table>().is_ok() && let Ok(set) = set_config_path(Some(&text), 2, FOLDER) {
            prop_assert_eq!(config_path(&set), Some(FOLDER.to_owned()));
            let mut kept = set.split_inclusive('\n');
            for line in text.split_inclusive('\n').filter(|line| !line.contains("config_path")) {
                prop_assert!(kept.any(|other| other == line), "{:?} is lost\n{}\n{}", line, text, set);
            }
            let taken = |text: &str| {
                let mut all = values(text);
                let registry = all.get_mut("plugins").and_then(|p| p.get_mut("io.containerd.grpc.v1.cri")?.get_mut("registry")?.as_table_mut());
                registry.map(|table| table.remove("config_path"));
                all.get_mut("plugins").and_then(|p| p.as_table_mut()).map(|p| p.remove("io.containerd.grpc.v1.cri"));
                all.retain(|_, value| value.as_table().is_none_or(|table| !table.is_empty()));
                all
            };
            prop_assert_eq!(taken(&set), taken(&text));
        }
    }

    #[test]
    fn no_text_panics(text in "(\\PC|\r|\n|version = [0-4]\n|\\[plugins|\\.|\"io.containerd.grpc.v1.cri\"|\\]|registry|config_path|=|''|\\{|\\}){0,24}") {
        for format in [2, 3] {
            if let Ok(set) = set_config_path(Some(&text), format, FOLDER) {
                prop_assert_eq!(config_path(&set), Some(FOLDER.to_owned()));
            }
        }
        let _ = (lint(&text, &daemon("2.1.0")), dumped(&text));
    }
}
