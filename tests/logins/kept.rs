//! The logins that docker and podman keep: files, helpers and identity tokens, against a real registry and its tokens.
//! castoff itself is run, for where those logins are is a matter of its environment.

use crate::{
    certificates::text,
    registry::{self, Auth},
    servers::Server,
    small,
    tokens::Tokens,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

pub struct Home {
    folder: tempfile::TempDir,
    variables: Vec<(String, String)>,
}

impl Home {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), variables: vec![] }
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.at(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    /// A helper of a few lines of shell, found in `PATH`.
    pub fn helper(&self, name: &str, lines: &str) {
        let path = self.file(&format!("bin/docker-credential-{name}"), &format!("#!/bin/sh\n{lines}\n"));
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    pub fn variable(&mut self, name: &str, value: &str) {
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    /// castoff in this home and nothing of the real one; standard output and error together.
    pub fn castoff(&self, arguments: &[&str]) -> String {
        let path = format!("{}:{}", self.at("bin").display(), std::env::var("PATH").unwrap());
        let mut command = Command::new(env!("CARGO_BIN_EXE_castoff"));
        command.args(arguments).env_clear().env("HOME", self.folder.path()).env("PATH", path);
        command.envs(self.variables.iter().map(|(name, value)| (name, value))).current_dir(self.folder.path());
        let output = command.output().expect("castoff starts");
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }

    /// What castoff finds out about a registry: the inventory's entry of it, or what it said instead.
    pub fn look(&self, registry: &Server, more: &str) -> Result<serde_json::Value, String> {
        let (port, ca) = (registry.port, text("ca.pem"));
        let name = format!("127.0.0.1:{port}");
        self.file(
            "castoff.toml",
            &format!("name = \"x\"\n[registries.\"{name}\"]\nurl = \"https://{name}\"\nca = \"{ca}\"\n{more}\n"),
        );
        let out = self.at("inventory.json");
        let _ = fs::remove_file(&out);
        let said = self.castoff(&["inventory", "--out", &out.display().to_string()]);
        let inventory: serde_json::Value =
            serde_json::from_slice(&fs::read(&out).map_err(|_| said.clone())?).map_err(|e| e.to_string())?;
        let found = inventory["registries"][&name].clone();
        if found.is_null() { Err(format!("{said}{}", inventory["unanswered"])) } else { Ok(found) }
    }
}

/// `{"auths":{REGISTRY:{"auth":…}}}`
pub fn auths(registry: &Server, user: &str, password: &str) -> String {
    let auth = STANDARD.encode(format!("{user}:{password}"));
    format!(r#"{{"auths":{{"127.0.0.1:{}":{{"auth":"{auth}"}}}}}}"#, registry.port)
}

#[test]
fn the_login_of_docker_and_podman_is_used_and_said() {
    let registry = registry::start("server", &Auth::Basic(&[("kim", "kim-secret")]), false);
    let entry = format!("127.0.0.1:{}", registry.port);
    let good = "cat > \"$HOME/asked-$$\"; echo '{\"ServerURL\":\"x\",\"Username\":\"kim\",\"Secret\":\"kim-secret\"}'";
    let stores = |store: &str| format!(r#"{{"credsStore":"{store}"}}"#);
    let of_host = |helper: &str| format!(r#"{{"credHelpers":{{"{entry}":"{helper}"}},"credsStore":"bad"}}"#);

    // File, its content, variables, the helper `h`, the cluster file; where the login is from, or words of the refusal.
    type Case<'a> = (&'a str, String, &'a [(&'a str, &'a str)], &'a str, &'a str, Result<&'a str, &'a str>);
    let right = auths(&registry, "kim", "kim-secret");
    let cases: Vec<Case> = vec![
        (".docker/config.json", right.clone(), &[], "", "", Ok("~/.docker/config.json")),
        ("d/config.json", right.clone(), &[("DOCKER_CONFIG", "HOME/d")], "", "", Ok("~/d/config.json")),
        ("r.json", right.clone(), &[("REGISTRY_AUTH_FILE", "HOME/r.json")], "", "", Ok("~/r.json")),
        ("run/containers/auth.json", right.clone(), &[("XDG_RUNTIME_DIR", "HOME/run")], "", "", Ok("~/run/containers/auth.json")),
        (".config/containers/auth.json", right.clone(), &[], "", "", Ok("~/.config/containers/auth.json")),
        (".docker/config.json", right.clone(), &[], "", "login = \"docker-config\"", Ok("~/.docker/config.json")),
        (".docker/config.json", stores("h"), &[], good, "", Ok("~/.docker/config.json (docker-credential-h)")),
        (".docker/config.json", of_host("h"), &[], good, "", Ok("~/.docker/config.json (docker-credential-h)")),
        (
            ".docker/config.json",
            right.replacen('{', r#"{"credsStore":"h","#, 1),
            &[],
            "echo 'credentials not found in native keychain'; exit 1",
            "",
            Ok("~/.docker/config.json"),
        ),
        (".docker/config.json", right.clone(), &[], "", "login = \"none\"", Err("401")),
        (".docker/config.json", "{}".to_owned(), &[], "", "", Err("401")),
        (".docker/config.json", "{}".to_owned(), &[], "", "login = \"docker-config\"", Err("keeps a login for `127.0.0.1")),
        (".docker/config.json", "{\"marker-secret".to_owned(), &[], "", "", Err("line 1")),
        (
            ".docker/config.json",
            stores("h"),
            &[],
            "echo marker-secret; echo marker-secret >&2; exit 3",
            "",
            Err("exit status: 3"),
        ),
        (".docker/config.json", stores("h"), &[], "echo marker-secret", "", Err("is no login")),
        (".docker/config.json", stores("absent"), &[], "", "", Err("`docker-credential-absent`")),
        (".docker/config.json", auths(&registry, "kim", "wrong-secret"), &[], "", "", Err("log in again by `docker login")),
    ];
    for (n, (file, content, variables, helper, more, expect)) in cases.iter().enumerate() {
        let mut home = Home::new();
        home.file(file, content);
        home.helper("bad", "exit 9");
        if !helper.is_empty() {
            home.helper("h", helper);
        }
        for (name, value) in *variables {
            let value = value.replace("HOME", &home.at("").display().to_string());
            home.variable(name, value.trim_end_matches('/'));
        }
        match (home.look(&registry, more), expect) {
            (Ok(found), Ok(from)) => {
                assert_eq!((found["login"].as_str(), found["login-from"].as_str()), (Some("kim"), Some(*from)), "{n}: {file}");
            }
            (Err(said), Err(words)) => {
                assert!(said.contains(words), "{n}: `{words}` is not in {said}");
                assert!(!said.contains("marker-secret") && !said.contains("wrong-secret"), "{n}: {said}");
            }
            (found, _) => panic!("{n}: {file}: {found:?}, expected {expect:?}"),
        }
        // It is asked for the other registries of the runbook too.
        let asked =
            fs::read_dir(home.at("")).unwrap().flatten().filter(|file| file.file_name().to_string_lossy().starts_with("asked-"));
        let asked: Vec<String> = asked.map(|file| fs::read_to_string(file.path()).unwrap()).collect();
        assert!(asked.is_empty() || asked.contains(&entry), "{n}: the helper is asked for the registry: {asked:?}");
    }
}

#[test]
fn an_identity_token_is_a_login_for_a_token_service() {
    let tokens = Tokens::start();
    let registry = registry::start("server", &Auth::Bearer(&tokens), false);
    let entry = |entry: &str| format!(r#"{{"auths":{{"127.0.0.1:{}":{entry}}}}}"#, registry.port);
    let helper = "cat >/dev/null; echo '{\"Username\":\"<token>\",\"Secret\":\"identity-secret\"}'";
    for (config, expect) in [
        (entry(r#"{"auth":"a2ltOg==","identitytoken":"identity-secret"}"#), Ok("kim")),
        (r#"{"credsStore":"h"}"#.to_owned(), Ok("<token>")),
        (entry(r#"{"identitytoken":"another-secret"}"#), Err("401")),
    ] {
        let home = Home::new();
        home.file(".docker/config.json", &config);
        home.helper("h", helper);
        let found = home.look(&registry, "");
        match expect {
            Ok(user) => assert_eq!(found.unwrap()["login"], user, "{config}"),
            Err(words) => {
                let said = found.unwrap_err();
                assert!(said.contains(words) && !said.contains("-secret"), "{said}");
            }
        }
    }
}

#[test]
fn a_login_kept_for_one_place_goes_to_no_other() {
    // The cluster file says `docker.io`, and asks a mirror of it: Docker Hub's login is not the mirror's.
    let mirror = small::serve(|_| small::reply("401 Unauthorized", "WWW-Authenticate: Basic\r\n", ""));
    let auth = STANDARD.encode("kim:hub-secret");
    let home = Home::new();
    home.file(".docker/config.json", &format!(r#"{{"auths":{{"https://index.docker.io/v1/":{{"auth":"{auth}"}}}}}}"#));
    let look = |more: &str| {
        let url = format!("http://127.0.0.1:{}", mirror.port);
        home.file("castoff.toml", &format!("name = \"x\"\n[registries.\"docker.io\"]\nurl = \"{url}\"\n{more}\n"));
        home.castoff(&["inventory", "--out", &home.at("inventory.json").display().to_string()])
    };
    look("");
    assert_eq!((mirror.asked(), mirror.authorizations()), (1, vec![]));
    // Unless the cluster file says so.
    look("login = \"docker-config\"");
    assert_eq!(mirror.authorizations(), [format!("Basic {auth}")]);
}

#[test]
fn the_plan_says_whose_login_it_is() {
    let registry = registry::start("server", &Auth::Basic(&[("kim", "kim-secret")]), false);
    let home = Home::new();
    home.file(".docker/config.json", &auths(&registry, "kim", "kim-secret"));
    home.look(&registry, "").unwrap();
    let said = home.castoff(&["check", "--cluster", "castoff.toml"])
        + &home.castoff(&["plan", "backend-ai", "--cluster", "castoff.toml"]);
    assert!(said.contains("login from ~/.docker/config.json as kim"), "{said}");
    assert!(!said.contains("kim-secret"));
    assert!(Path::new(&home.at("inventory.json")).exists());
}
