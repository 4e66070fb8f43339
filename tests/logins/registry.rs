//! docker-registry behind TLS: Basic, Bearer with tokens that expire, and a client certificate.

use crate::{
    Said,
    certificates::{path, text},
    content, run,
    servers::Server,
    support::etcd::secret_file,
    tokens::Tokens,
};
use castoff::{
    cluster::{
        config::{LoginFrom, RegistryConfig},
        registry::RegistryClient,
    },
    model::{
        Fault,
        FaultKind::{Denied, Lasting},
        ImageRef,
    },
};
use std::{process::Command, time::Duration};

/// Who may come in.
pub enum Auth<'a> {
    Anybody,
    /// User names with their passwords.
    Basic(&'a [(&'a str, &'a str)]),
    Bearer(&'a Tokens),
}

pub fn start(certificate: &str, auth: &Auth, clients_must_be_known: bool) -> Server {
    Server::start("docker-registry", "docker-registry", |folder, port| {
        content::write(&folder.join("store"));
        let at = |name: &str| folder.join(name).display().to_string();
        let mut file = format!(
            "version: 0.1\nlog: {{ level: warn }}\nstorage: {{ filesystem: {{ rootdirectory: \"{}\" }} }}\nhttp:\n  addr: \"127.0.0.1:{port}\"\n  \
             tls:\n    certificate: \"{}\"\n    key: \"{}\"\n",
            at("store"),
            text(&format!("{certificate}.pem")),
            text(&format!("{certificate}.key")),
        );
        if clients_must_be_known {
            file += &format!("    clientcas: [\"{}\"]\n", text("ca.pem"));
        }
        match auth {
            Auth::Anybody => {}
            Auth::Basic(users) => {
                let lines: String = users.iter().map(|(user, password)| format!("{user}:{}\n", bcrypt(password))).collect();
                std::fs::write(folder.join("htpasswd"), lines).unwrap();
                file += &format!("auth: {{ htpasswd: {{ realm: \"a realm\", path: \"{}\" }} }}\n", at("htpasswd"));
            }
            Auth::Bearer(tokens) => {
                file += &format!(
                    "auth: {{ token: {{ realm: \"{}\", service: \"castoff-test\", issuer: \"castoff-test\", rootcertbundle: \"{}\" }} }}\n",
                    tokens.realm(),
                    text("ca.pem"),
                );
            }
        }
        std::fs::write(folder.join("config.yml"), file).unwrap();
        vec!["serve".to_owned(), at("config.yml")]
    })
}

/// By the system's own crypt(3), through Perl, which every Debian has; the password goes by standard input.
fn bcrypt(password: &str) -> String {
    use std::io::Write;
    let script = r"binmode STDIN; local $/; my $p = <STDIN>; print crypt($p, '$2y$05$abcdefghijklmnopqrstuu')";
    let mut perl = Command::new("perl");
    let mut child =
        perl.args(["-e", script]).stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn().unwrap();
    // bcrypt looks at no more, and crypt(3) refuses what is much longer.
    let password = &password.as_bytes()[..password.len().min(72)];
    child.stdin.take().unwrap().write_all(password).unwrap();
    let said = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    assert!(said.starts_with("$2y$05$"), "crypt(3) knows no bcrypt: {said}");
    said
}

pub fn config(server: &Server, login: Option<(&str, &str)>) -> RegistryConfig {
    RegistryConfig {
        url: format!("https://127.0.0.1:{}", server.port),
        username: login.map(|(user, _)| user.to_owned()),
        password: login.map(|(_, password)| secret_file(server.folder.path(), password)),
        login: login.is_none().then_some(LoginFrom::None),
        ca: Some(path("ca.pem")),
        ..RegistryConfig::default()
    }
}

pub fn client(config: &RegistryConfig) -> Result<RegistryClient, Fault> {
    RegistryClient::new("cr.example", config, "amd64")
}

pub fn image() -> ImageRef {
    "cr.example/stable/tiny:1".parse().unwrap()
}

pub async fn read(config: &RegistryConfig) -> Result<(), Fault> {
    let client = client(config)?;
    client.ping().await?;
    let found = client.manifest(&image()).await?.expect("the registry has it");
    assert_eq!(client.manifest(&image()).await?, Some(found), "read again");
    Ok(())
}

#[test]
fn a_registry_knows_castoff_by_password_or_certificate() {
    run(async {
        let basic = start("server", &Auth::Basic(&[("kim", "kim-secret")]), false);
        let known = start("server", &Auth::Basic(&[("kim", "kim-secret")]), true);
        let expired = start("server-expired", &Auth::Anybody, false);
        let elsewhere = start("server-elsewhere", &Auth::Anybody, false);
        let kim = Some(("kim", "kim-secret"));
        let with = |cert: &str| RegistryConfig {
            cert: Some(path(&format!("{cert}.pem"))),
            key: Some(path(&format!("{cert}.key"))),
            ..config(&known, kim)
        };
        assert_eq!(read(&config(&basic, kim)).await, Ok(()));
        assert_eq!(read(&with("client")).await, Ok(()));
        let images = client(&config(&basic, kim)).unwrap().list("stable").await;
        assert_eq!(images.map(|images| images.len()), Ok(1));

        let section = "`[registries.\"cr.example\"]`";
        let cases = [
            (config(&basic, Some(("kim", "wrong-secret"))), "wrong password", Denied, vec!["401"], vec!["`password`", section]),
            (config(&basic, Some(("lee", "kim-secret"))), "unknown user", Denied, vec!["401"], vec!["`username`"]),
            (config(&basic, None), "no login", Denied, vec!["401"], vec!["`username`", section]),
            (
                RegistryConfig { ca: None, ..config(&basic, kim) },
                "no authority",
                Lasting,
                vec!["authority"],
                vec!["`ca`", section],
            ),
            (
                RegistryConfig { ca: Some(path("stranger.pem")), ..config(&basic, kim) },
                "another authority",
                Lasting,
                vec!["authority"],
                vec!["stranger.pem"],
            ),
            (config(&expired, None), "expired server", Lasting, vec!["certificate expired on 2026-03-01"], vec!["renew"]),
            (config(&elsewhere, None), "another name", Lasting, vec!["another name"], vec![section]),
            (
                with("client-expired"),
                "expired client",
                Lasting,
                vec!["client-expired.pem", "expired on 2026-03-01"],
                vec!["`cert` of", section],
            ),
            (with("client-stranger"), "of a stranger", Lasting, vec!["client-stranger.pem"], vec!["`cert`", section]),
            (config(&known, kim), "no certificate", Lasting, vec!["asks for a client certificate"], vec!["`cert`", section]),
            (
                RegistryConfig { key: Some(path("server.key")), cert: Some(path("ca.pem")), ..config(&known, kim) },
                "not its key",
                Lasting,
                vec!["ca.pem"],
                vec![],
            ),
            (
                RegistryConfig { ca: Some(path("gone.pem")), ..config(&basic, kim) },
                "no such file",
                Lasting,
                vec!["gone.pem"],
                vec!["`ca`", section],
            ),
            (
                RegistryConfig { ca: Some(path("ca.key")), ..config(&basic, kim) },
                "no authority in it",
                Lasting,
                vec!["ca.key"],
                vec!["`ca`", section],
            ),
        ];
        for (config, case, kind, words, hint) in cases {
            Said { case, kind, words: &words, hint: &hint }.by(&read(&config).await.expect_err(case));
        }
    });
}

#[test]
fn a_token_that_expires_in_mid_run_is_fetched_again() {
    run(async {
        let tokens = Tokens::start();
        let registry = start("server", &Auth::Bearer(&tokens), false);
        let right = config(&registry, Some(("kim", "kim-secret")));
        let client = client(&right).unwrap();
        // The registry bears tokens that expired less than a minute ago; castoff believes they are good for five minutes.
        tokens.good_for_s(-58);
        let found = client.manifest(&image()).await.unwrap();
        assert!(found.is_some());
        let before = tokens.asked();
        tokio::time::sleep(Duration::from_millis(3200)).await;
        tokens.good_for_s(300);
        assert_eq!(client.manifest(&image()).await, Ok(found));
        assert_eq!(tokens.asked(), before + 1, "one token for the one that expired");
        assert_eq!(read(&right).await, Ok(()));

        for (config, case) in [
            (config(&registry, Some(("kim", "wrong-secret"))), "wrong password"),
            (config(&registry, Some(("lee", "kim-secret"))), "unknown user"),
        ] {
            Said { case, kind: Denied, words: &["cr.example", "401"], hint: &["`password` of `[registries"] }
                .by(&read(&config).await.expect_err(case));
        }
        // One that is expired whenever it is given is given up.
        tokens.good_for_s(-120);
        let before = tokens.asked();
        Said { case: "always expired", kind: Denied, words: &["401"], hint: &["`password`"] }
            .by(&read(&right).await.expect_err("always expired"));
        assert!(tokens.asked() <= before + 2);
        tokens.good_for_s(300);
        let anonymous = config(&registry, None);
        let fault = read(&anonymous).await.expect_err("nobody");
        Said { case: "nobody", kind: Denied, words: &["401"], hint: &["`username`"] }.by(&fault);
    });
}
