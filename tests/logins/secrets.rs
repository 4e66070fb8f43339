//! Nothing of a secret leaves its place, whatever fails: not in words, files, argument lists or the environment of a child.

use crate::{kept::Home, small};
use base64::{Engine, engine::general_purpose::STANDARD};
use std::{collections::BTreeMap, fs, path::Path};

/// What must stand nowhere: the passwords, and what base64 makes of the logins.
fn hearts() -> Vec<String> {
    let plain =
        ["marker-etcd", "marker-pg", "marker-hub", "marker-cr", "marker-kept", "marker-token", "marker-helper", "marker-hook"];
    let basic = [("kim", "marker-cr-secret"), ("kim", "marker-kept-secret"), ("lee", "marker-hub-secret")];
    let encoded = basic.map(|(user, password)| STANDARD.encode(format!("{user}:{password}")));
    plain.map(str::to_owned).into_iter().chain(encoded).collect()
}

fn files(folder: &Path, out: &mut BTreeMap<String, Vec<u8>>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files(&path, out);
        } else if let Ok(bytes) = fs::read(&path) {
            out.insert(path.display().to_string(), bytes);
        }
    }
}

#[test]
fn failures_tell_no_secret_and_children_get_none() {
    let mut home = Home::new();
    for (name, value) in [
        ("ETCD_PASSWORD", "marker-etcd-secret"),
        ("PGPASSWORD", "marker-pg-env-secret"),
        ("HUB_PASSWORD", "marker-hub-secret"),
        ("NOTIFY_TOKEN", "marker-token-secret"),
    ] {
        home.variable(name, value);
    }
    // Every child leaves what it was given: argument list and environment. ssh and the manager's command line are children too.
    let spy = "tr '\\0' '\\n' < /proc/$$/environ > \"$HOME/spied/environ-$$\"; tr '\\0' ' ' < /proc/$$/cmdline > \"$HOME/spied/cmdline-$$\"";
    fs::create_dir_all(home.at("spied")).unwrap();
    for (name, lines) in [
        ("bin/ssh", "echo 'Permission denied (publickey).' >&2; exit 255"),
        ("bin/mgr", "echo oops >&2; exit 1"),
        ("bin/secret", "printf marker-pg-secret"),
        ("bin/notice", "cat > \"$HOME/spied/notice-$$\""),
    ] {
        let path = home.file(name, &format!("#!/bin/sh\n{spy}\n{lines}\n"));
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    home.helper("h", &format!("{spy}\necho marker-helper-secret; echo marker-helper-secret >&2; exit 4"));
    home.helper("good", &format!("{spy}\necho '{{\"Username\":\"kim\",\"Secret\":\"marker-kept-secret\"}}'"));
    // Servers that throw back at castoff whatever they were told, in every way they have.
    let echo = || {
        small::serve(|request| {
            let said = request.authorization().unwrap_or("nothing").to_owned();
            if request.authorization().is_none() {
                return small::reply("401 Unauthorized", "WWW-Authenticate: Basic realm=\"x\"\r\n", "");
            }
            small::reply(
                "403 Forbidden",
                "",
                &format!(r#"{{"errors":[{{"code":"DENIED","message":"no, not {}"}}]}}"#, said.len()),
            )
        })
    };
    let (cr, hub, kept, helped) = (echo(), echo(), echo(), echo());
    let closed = crate::support::free_port();
    home.file("cr-password", "marker-cr-secret\n");
    let helpers = format!(r#"{{"credHelpers":{{"127.0.0.1:{}":"good","127.0.0.1:{}":"h"}}}}"#, kept.port, helped.port);
    home.file(".docker/config.json", &helpers);
    let registry =
        |name: &str, port: u16, more: &str| format!("[registries.\"{name}\"]\nurl = \"http://127.0.0.1:{port}\"\n{more}\n");
    let file = [
        format!("name = \"x\"\n[etcd]\nendpoints = [\"http://127.0.0.1:{closed}\"]\nusername = \"root\"\npassword = {{ env = \"ETCD_PASSWORD\" }}\n"),
        format!("[postgres]\nurl = \"postgres://kim@127.0.0.1:{}/x\"\npassword = {{ command = [\"secret\"] }}\n", helped.port),
        "[notify]\ncommand = \"notice\"\nwebhook = \"http://127.0.0.1:1/marker-hook-secret\"\ntoken = { env = \"NOTIFY_TOKEN\" }\n".to_owned(),
        "[[managers]]\nname = \"m\"\nhost = \"local\"\ncli = [\"mgr\"]\nworking-dir = \"/\"\nservice = { stop = [\"mgr\"], start = [\"mgr\"], status = [\"mgr\"] }\n".to_owned(),
        "[[agents]]\nname = \"a\"\ndocker = \"ssh://nobody@a\"\n".to_owned(),
        registry("cr.backend.ai", cr.port, "username = \"kim\"\npassword = { file = \"cr-password\" }"),
        registry("docker.io", hub.port, "username = \"lee\"\npassword = { env = \"HUB_PASSWORD\" }"),
        registry("kept.example", kept.port, ""),
        registry("helped.example", helped.port, ""),
    ]
    .concat();
    home.file("castoff.toml", &file);

    let mut said: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for words in [
        "plan backend-ai --format json",
        "inventory",
        "run backend-ai --headless --state state",
        "run backend-ai --ui plain --state state",
    ] {
        let arguments: Vec<&str> = words.split(' ').collect();
        said.insert(words.to_owned(), home.castoff(&arguments).into_bytes());
    }
    // A secret written out by mistake is not shown either.
    home.file("wrong.toml", &file.replace("{ env = \"HUB_PASSWORD\" }", "\"marker-hub-secret\""));
    said.insert("a wrong file".to_owned(), home.castoff(&["check", "--cluster", "wrong.toml"]).into_bytes());
    fs::remove_file(home.at("wrong.toml")).unwrap();

    files(&home.at("spied"), &mut said);
    if home.at("state").exists() {
        files(&home.at("state"), &mut said);
    }
    let seen: Vec<&String> = said.keys().filter(|name| name.contains("/environ-")).collect();
    assert!(seen.len() >= 5, "children were seen: {seen:?}");
    let words: String = said
        .iter()
        .filter(|(name, _)| name.contains("/cmdline-"))
        .map(|(_, b)| String::from_utf8_lossy(b).into_owned() + "\n")
        .collect();
    for child in ["/ssh", "/mgr", "/secret", "docker-credential-h get", "docker-credential-good get"] {
        assert!(words.contains(child), "`{child}` was no child: {words}");
    }
    assert!(
        kept.authorizations().contains(&format!("Basic {}", STANDARD.encode("kim:marker-kept-secret"))),
        "the helper's login was used"
    );
    let all = said.values().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect::<String>();
    assert!(all.contains("exit status: 4") && all.contains("DENIED"), "{all}");
    for (name, bytes) in &said {
        let text = String::from_utf8_lossy(bytes);
        for heart in hearts() {
            assert!(!text.contains(&heart), "`{heart}` stands in {name}: {text}");
        }
    }
}
