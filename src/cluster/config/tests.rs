//! The cluster file's errors, word for word, and what a good file becomes.

use super::*;

/// A file and the error it gives; the file's first line is `name = "test"`, so cases begin at line 2.
fn check(rest: &str, expected: &str) {
    let error = ClusterFile::parse(&format!("name = \"test\"\n{rest}"), Path::new("castoff.toml")).expect_err(rest);
    assert_eq!(error.to_string(), expected.trim_start_matches('\n').trim_end(), "\n{error}");
}

#[test]
fn errors_show_the_place_and_what_helps() {
    check(
        r#"[etcd]
endpoint = ["http://127.0.0.1:2379"]"#,
        r#"
unknown field `endpoint`, expected one of `endpoints`, `namespace`, `username`, `password`, `ca`, `cert`, `key`
 --> castoff.toml:3:1
  |
3 | endpoint = ["http://127.0.0.1:2379"]
  | ^^^^^^^^
  |
  = hint: did you mean `endpoints`?
"#,
    );
    check(
        r"[etcd",
        r"
unclosed table, expected `]`
 --> castoff.toml:2:6
  |
2 | [etcd
  |      ^
",
    );
    check(
        r#"name = "again""#,
        r#"
duplicate key
 --> castoff.toml:2:1
  |
2 | name = "again"
  | ^^^^
"#,
    );
    check(
        r"[etcd]
endpoints = []",
        r#"
`endpoints` is empty
 --> castoff.toml:3:13
  |
3 | endpoints = []
  |             ^^
  |
  = hint: `endpoints = ["http://127.0.0.1:2379"]`
"#,
    );
    check(
        r#"[etcd]
endpoints = ["127.0.0.1:2379"]
namespace = "a/b""#,
        r#"
`127.0.0.1:2379` is no address of an etcd
 --> castoff.toml:3:14
  |
3 | endpoints = ["127.0.0.1:2379"]
  |              ^^^^^^^^^^^^^^^^
  |
  = hint: `http://host:2379` or `https://host:2379`

a namespace is one part of a key: not empty, without `/`
 --> castoff.toml:4:13
  |
4 | namespace = "a/b"
  |             ^^^^^
  |
  = hint: it is `namespace` in `[etcd]` of manager.toml, most often `local`
"#,
    );
    check(
        r#"[etcd]
endpoints = ["http://e:2379"]
ca = "ca.pem"
cert = "cert.pem""#,
        r#"
`cert` and `key` belong together
 --> castoff.toml:2:1
  |
2 | [etcd]
  | ^^^^^^
  |
  = hint: set both or none

certificates are of no use with `http://`
 --> castoff.toml:3:13
  |
3 | endpoints = ["http://e:2379"]
  |             ^^^^^^^^^^^^^^^^^
  |
  = hint: write `https://`, or take them out
"#,
    );
    check(
        r#"[etcd]
endpoints = ["http://e:2379"]
username = "root""#,
        r"
`username` and `password` belong together
 --> castoff.toml:2:1
  |
2 | [etcd]
  | ^^^^^^
  |
  = hint: set both or none
",
    );
    check(
        r#"[etcd]
endpoints = ["http://e:2379"]
username = "root"
password = "hunter2""#,
        r#"
`password` must say where the password is, not what it is
 --> castoff.toml:5:12
  |
5 | password = "********
  |            ^^^^^^^^^
  |
  = hint: `password = { env = "NAME" }`, `{ file = "/path" }` or `{ command = ["program", "argument"] }`
"#,
    );
    check(
        r#"[etcd]
endpoints = ["http://e:2379"]
username = "root"
password = { env = "" }"#,
        r#"
the secret's name is empty
 --> castoff.toml:5:12
  |
5 | password = { env = "" }
  |            ^^^^^^^^^^^^
  |
  = hint: `password = { env = "NAME" }`
"#,
    );
    check(
        r#"[postgres]
url = "postgres://me:hunter2@db/backend""#,
        r#"
a URL must not hold a password
 --> castoff.toml:3:7
  |
3 | url = "postgres://me:*******@db/backend"
  |       ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  |
  = hint: take it out of the URL and set `password = { env = "NAME" }` beside it
"#,
    );
    check(
        r#"[postgres]
url = "mysql://me@db/backend""#,
        r#"
`mysql://me@db/backend` is no address of a PostgreSQL
 --> castoff.toml:3:7
  |
3 | url = "mysql://me@db/backend"
  |       ^^^^^^^^^^^^^^^^^^^^^^^
  |
  = hint: `postgres://user@host:5432/database`
"#,
    );
    check(
        r#"[[managers]]
name = "m1"
[[managers]]
name = "m1"
host = "root@m1"
service = { stop = [] }"#,
        r#"
there are two managers `m1`
 --> castoff.toml:5:8
  |
5 | name = "m1"
  |        ^^^^
  |
  = hint: names tell them apart

`root@m1` is no host
 --> castoff.toml:6:8
  |
6 | host = "root@m1"
  |        ^^^^^^^^^
  |
  = hint: `ssh://user@host`, or `local`

`stop` is empty
 --> castoff.toml:7:20
  |
7 | service = { stop = [] }
  |                    ^^
  |
  = hint: a list of words, as in `["systemctl", "stop", "backendai-manager"]`
"#,
    );
    check(
        r#"[[agents]]
name = "a"
docker = "gpu-1:2375"
[[agents]]
docker = "unix:///var/run/docker.sock""#,
        r"
missing field `name`
 --> castoff.toml:5:1
  |
5 | [[agents]]
  | ^^^^^^^^^^
",
    );
    check(
        r#"[[agents]]
name = ""
docker = "gpu-1:2375"
[[agents]]
name = "b"
docker = "unix:///var/run/docker.sock"
tls = { ca = "a", cert = "b", key = "c" }"#,
        r#"
a name needs at least one letter, and no control characters
 --> castoff.toml:3:8
  |
3 | name = ""
  |        ^^
  |
  = hint: it is shown, and typed at gates

`gpu-1:2375` is no address of a Docker Engine
 --> castoff.toml:4:10
  |
4 | docker = "gpu-1:2375"
  |          ^^^^^^^^^^^^
  |
  = hint: `unix:///var/run/docker.sock`, `tcp://host:2376` or `ssh://user@host`

`tls` is for `tcp://` only
 --> castoff.toml:7:10
  |
7 | docker = "unix:///var/run/docker.sock"
  |          ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  |
  = hint: take `tls` out, or write `tcp://host:2376`
"#,
    );
    check(
        r#"[discover.agents]
from = "postgres"
docker = "tcp://{hots}:2376""#,
        r#"
agents cannot be found: there is no `[postgres]`
 --> castoff.toml:3:8
  |
3 | from = "postgres"
  |        ^^^^^^^^^^
  |
  = hint: add `[postgres]`, or write `[[agents]]`

only `{host}` and `{id}` are filled in
 --> castoff.toml:4:10
  |
4 | docker = "tcp://{hots}:2376"
  |          ^^^^^^^^^^^^^^^^^^^
  |
  = hint: `tcp://{host}:2376`
"#,
    );
    check(
        r#"[discover.agents]
from = "etcd"
docker = "tcp://{host}:2376""#,
        r#"
unknown variant `etcd`, expected `postgres`
 --> castoff.toml:3:8
  |
3 | from = "etcd"
  |        ^^^^^^
"#,
    );
    check(
        r#"[registries."https://cr.corp/v2"]
url = "cr.corp""#,
        r#"
`https://cr.corp/v2` is no name of a registry
 --> castoff.toml:2:1
  |
2 | [registries."https://cr.corp/v2"]
  | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  |
  = hint: write it as in image names, without scheme and path: `cr.backend.ai`

`cr.corp` is no address of a registry
 --> castoff.toml:3:7
  |
3 | url = "cr.corp"
  |       ^^^^^^^^^
  |
  = hint: `https://host`, or `http://host` for a registry without TLS
"#,
    );
    check(
        r#"[registries]
"docker.io" = { url = "https://registry-1.docker.io" }
"index.docker.io" = { url = "https://registry-1.docker.io" }"#,
        r#"
`index.docker.io` and another entry are the same registry
 --> castoff.toml:4:21
  |
4 | "index.docker.io" = { url = "https://registry-1.docker.io" }
  |                     ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  |
  = hint: `docker.io`, `index.docker.io` and `registry-1.docker.io` are one
"#,
    );
}

#[test]
fn no_error_shows_a_secret() {
    let cases = [
        "[etcd]\nendpoints = [\"http://e:2379\"]\nusername = \"root\"\npassword = \"hunter2\"",
        "[etcd]\nendpoints = [\"http://e:2379\"]\nusername = \"root\"\npassword = hunter2",
        "[etcd]\nendpoints = [\"http://e:2379\"]\nusername = \"root\"\npassword: hunter2",
        "[etcd]\nendpoints = [\"http://e:2379\"]\nusername = \"root\"\npassword hunter2",
        "[etcd]\nendpoints = [\"http://e:2379\"]\nusername = \"root\"\npassword = \"\"\"\nhunter2\n\"\"\"",
        "[etcd]\nendpoints = [\"http://e:2379\"]\npasword = \"hunter2\"",
        "[etcd]\nendpoints = [\"http://e:2379\"]\npw = \"hunter2\"",
        "[etcd]\nendpoints = [\"http://e:2379\"]\ngeheim = \"hunter2\"",
        "[registries.\"cr.x\"]\nurl = \"https://cr.x\"\ncredential = { user = \"kim\", word = \"hunter2\" }",
        "[etcd]\nendpoints = [\"http://e:2379\"]\npassword = { value = \"hunter2\" }",
        "[etcd]\nendpoints = [\"http://e:2379\"]\npassword = { env = \"A\", value = \"hunter2\" }",
        "[etcd]\nendpoints = \"http://me:hunter2@e:2379\"",
        "[etcd]\nendpoints = [\"http://me:hunter2@e:2379\"]",
        "[postgres]\nurl = \"postgres://me:hunter2@db/backend\"",
        "[postgres]\nurl = \"postgres://me:a/hunter2@db/backend\"",
        "[postgres]\nurl = \"postgres://me@db/backend?password=hunter2&sslmode=require\"",
        "[postgres]\nurl = postgres://me:hunter2@db/backend",
        "[registries]\n\"cr.corp\" = { url = \"https://cr.corp\", username = \"me\", password = \"hunter2\" }",
        "[registries]\n\"cr.corp\" = { url = \"https://cr.corp\", password = { env = \"A\" }, secret = \"hunter2\" }",
    ];
    for case in cases {
        let error = ClusterFile::parse(&format!("name = \"test\"\n{case}"), Path::new("castoff.toml")).expect_err(case);
        let (text, debug) = (error.to_string(), format!("{error:?}"));
        assert!(!text.contains("hunter2") && !debug.contains("hunter2"), "{case}\n{text}");
    }
}

#[test]
fn a_good_file_is_read_with_one_spelling_and_whole_paths() {
    let text = r#"
name = "prod"
[etcd]
endpoints = ["https://e1:2379", "https://e2:2379"]
ca = "ca.pem"
username = "root"
password = { file = "etcd.secret" }
[postgres]
url = "postgresql://backend@db:5432/backend?sslmode=verify-full"
ca = "/etc/ssl/db.pem"
password = { command = ["pass", "show", "db"] }
[[managers]]
name = "m1"
[[agents]]
name = "gpu-1"
docker = "tcp://gpu-1:2375"
[discover.agents]
from = "postgres"
docker = "ssh://root@{host}"
[registries."index.docker.io"]
url = "https://registry-1.docker.io"
[registries."127.0.0.1:5000"]
url = "http://127.0.0.1:5000"
[registries."cr.corp"]
url = "https://cr.corp"
insecure = true
"#;
    let file = ClusterFile::parse(text, Path::new("/etc/castoff/cluster.toml")).expect("a good file");
    assert_eq!(file.registries.keys().collect::<Vec<_>>(), ["127.0.0.1:5000", "cr.corp", "docker.io"]);
    let etcd = file.etcd.as_ref().expect("etcd");
    assert_eq!(etcd.ca.as_deref(), Some(Path::new("/etc/castoff/ca.pem")));
    assert_eq!(etcd.password, Some(Secret::File("/etc/castoff/etcd.secret".into())));
    assert_eq!(file.postgres.as_ref().and_then(|p| p.ca.as_deref()), Some(Path::new("/etc/ssl/db.pem")));
    assert_eq!(
        file.notes(),
        [
            "registry `127.0.0.1:5000` is asked without TLS",
            "the certificate of registry `cr.corp` is not verified",
            "the Docker Engine of `gpu-1` is asked without TLS",
        ]
    );
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = ClusterFile::load(Some(Path::new("/nonexistent/x.toml"))).expect_err("no file").to_string();
    assert_eq!(error, "cannot read the cluster file `/nonexistent/x.toml`: No such file or directory (os error 2)");
}

#[test]
fn a_window_is_read_strictly() {
    check(
        r#"[window]
from = "2 am"
until = "04:00"
zone = "Seoul""#,
        r#"
`2 am` is no time of day
 --> castoff.toml:3:8
  |
3 | from = "2 am"
  |        ^^^^^^
  |
  = hint: hours and minutes such as `02:00` are expected

there is no time zone `Seoul`
 --> castoff.toml:5:8
  |
5 | zone = "Seoul"
  |        ^^^^^^^
  |
  = hint: a name such as `Asia/Seoul` or `UTC` is expected
"#,
    );
    check(
        r#"[window]
from = "02:00"
until = "02:00"
date = "2026-11-22""#,
        r"
a window from 02:00 until 02:00 has no length
 --> castoff.toml:2:1
  |
2 | [window]
  | ^^^^^^^^
  |
  = hint: an end other than the beginning is expected
",
    );
    check(
        r#"[window]
from = "02:00"
to = "04:00""#,
        r#"
unknown field `to`, expected one of `from`, `until`, `zone`, `date`
 --> castoff.toml:4:1
  |
4 | to = "04:00"
  | ^^
"#,
    );
    let text = "name = \"test\"\n[window]\nfrom = \"23:00\"\nuntil = \"01:00\"\nzone = \"UTC\"\n";
    let file = ClusterFile::parse(text, Path::new("castoff.toml")).expect("a good file");
    let agreed = file.window.expect("a window").agreed().expect("a good window");
    let window = agreed.at(0, &jiff::tz::TimeZone::UTC).expect("a window");
    assert_eq!((window.from_ms, window.until_ms), (-3_600_000, 3_600_000));
}

#[test]
fn the_names_of_secrets_are_taken_from_the_whole_file() {
    let file: ClusterFile = toml::from_str(
        "name = 'x'\n[etcd]\nendpoints = []\npassword = { env = 'A' }\n[notify]\ntoken = { env = 'C' }\n\
         [registries.'cr']\nurl = 'https://cr'\npassword = { env = 'B' }\n[registries.'d']\nurl = 'https://d'\n",
    )
    .unwrap();
    assert_eq!(file.secret_variables(), ["A", "B", "C", "PGPASSWORD"]);
}
