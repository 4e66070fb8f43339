//! The choice of a mirror as the cluster API of Platform9 takes it.
//! It never sends anything, and never holds the password: its name stands in the body until it is sent.

mod cluster;

pub use cluster::{PASSWORD, PLACE, Platform9Cluster, fields, standing, taken_back};
pub(super) use cluster::{requests, sides, way_back};

use super::Problem;
use super::mirror_choice::{Login, MirrorChoice, absolute, plain_url, told};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// The parameters of the document, one for one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Platform9Choice {
    /// `https://10.101.101.100:443`.
    pub url: String,
    /// `infra/k8s`; empty: at the root.
    #[serde(default)]
    pub repo_path: String,
    #[serde(default)]
    pub username: Option<String>,
    /// Name of the secret that is the password.
    #[serde(default)]
    pub password: Option<String>,
    #[serde(default)]
    pub skip_tls: bool,
    #[serde(default)]
    pub self_signed: bool,
    /// Path on the nodes, or `https://` URL from where they fetch it.
    #[serde(default)]
    pub cert_path: Option<String>,
}

/// Where the certificate authority comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Certificate {
    /// It stands on every host already.
    File(String),
    /// It has to be fetched and put in place.
    Url(String),
}

impl Platform9Choice {
    /// Exactly the names of the document; `null` for what is not set.
    pub fn body(&self) -> Value {
        let or_null = |text: Option<&String>| text.filter(|text| !text.is_empty()).map_or(Value::Null, |text| json!(text));
        let password = self.password.as_ref().map(|name| format!("(secret {name})"));
        let mut out = Map::new();
        for (name, value) in [
            ("customRegistryUrl", or_null(Some(&self.url))),
            ("customRegistryRepoPath", or_null(Some(&self.repo_path))),
            ("customRegistryUsername", or_null(self.username.as_ref())),
            ("customRegistryPassword", or_null(password.as_ref())),
            ("customRegistrySkipTls", json!(self.skip_tls)),
            ("customRegistrySelfSignedCerts", json!(self.self_signed)),
            ("customRegistryCertPath", or_null(self.cert_path.as_ref())),
        ] {
            out.insert(name.to_owned(), value);
        }
        Value::Object(out)
    }

    /// `None`: the authorities of the host are asked.
    pub fn certificate(&self) -> Option<Certificate> {
        let path = self.cert_path.as_ref().filter(|_| self.self_signed)?;
        Some(if path.contains("://") { Certificate::Url(path.clone()) } else { Certificate::File(path.clone()) })
    }

    /// The same choice for the files of one's own hosts. A certificate from a URL is put into the mirror's folder below
    /// `certs`, as `ca.crt`.
    pub fn mirror(&self, registries: &[String], certs: &str, mirror_only: bool) -> MirrorChoice {
        let login = self.username.clone().zip(self.password.clone());
        let choice = MirrorChoice {
            url: self.url.clone(),
            path: self.repo_path.clone(),
            skip_tls: self.skip_tls,
            login: login.map(|(user, secret)| Login { user, secret }),
            mirror_only,
            registries: registries.to_vec(),
            ca: None,
        };
        let ca = self.certificate().map(|certificate| match certificate {
            Certificate::File(path) => path,
            Certificate::Url(_) => format!("{}/{}/ca.crt", certs.trim_end_matches('/'), choice.host()),
        });
        MirrorChoice { ca, ..choice }
    }

    /// What cannot be meant. Empty: it may be sent, and become files.
    pub fn problems(&self, registries: &[String], certs: &str) -> Vec<Problem> {
        let mut out = self.mirror(registries, certs, false).problems();
        let mut tell = |subject: &str, why: &str, hint: &str| out.push(told(subject, why, hint));
        match (&self.username, &self.password) {
            (Some(_), None) => tell("customRegistryUsername", "has no password", "name a secret of the cluster file"),
            (None, Some(_)) => tell("customRegistryPassword", "has no user", ""),
            _ => {}
        }
        match &self.cert_path {
            None if self.self_signed => {
                tell("customRegistrySelfSignedCerts", "is set, and no certificate is named", "set `customRegistryCertPath`");
            }
            Some(_) if !self.self_signed => {
                let hint = "set `customRegistrySelfSignedCerts`, or take the path away";
                tell("customRegistryCertPath", "is set, and is looked at only for a self-signed certificate", hint);
            }
            Some(path) if path.contains("://") => {
                if let Err((why, hint)) = https(path) {
                    tell("customRegistryCertPath", &format!("`{path}` {why}"), hint);
                }
            }
            Some(path) => {
                if let Err(why) = absolute(path) {
                    tell("customRegistryCertPath", &format!("`{path}` {why}"), "a path on the nodes, readable by the user pf9");
                }
            }
            None => {}
        }
        if self.skip_tls && self.self_signed {
            let hint = "leave `customRegistrySkipTls` out: the certificate is enough";
            tell("customRegistrySkipTls", "is set beside a certificate, which is then not looked at", hint);
        }
        out
    }
}

/// An authority that anybody on the way could exchange is worth nothing.
fn https(url: &str) -> Result<(), (String, &'static str)> {
    let Some(rest) = url.strip_prefix("https://") else {
        return Err(("is not fetched by `https://`: anybody on the way could put another in its place".to_owned(), ""));
    };
    if url.chars().any(|c| c.is_whitespace() || super::text::harmful(c)) {
        return Err(("is no URL".to_owned(), ""));
    }
    let root = rest.split(['/', '?']).next().unwrap_or_default();
    plain_url(&format!("https://{root}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::mirror_choice::PLATFORM9_REGISTRIES;

    const CERTS: &str = "/etc/containerd/certs.d";

    pub(super) fn sound() -> Platform9Choice {
        Platform9Choice {
            url: "https://10.101.101.100:443".into(),
            repo_path: "infra/k8s".into(),
            username: Some("kim".into()),
            password: Some("mirror-password".into()),
            skip_tls: false,
            self_signed: true,
            cert_path: Some("/usr/local/share/reg-ca.crt".into()),
        }
    }

    fn registries() -> Vec<String> {
        PLATFORM9_REGISTRIES.map(str::to_owned).to_vec()
    }

    #[test]
    fn the_body_has_the_names_of_the_document_and_no_password() {
        let whole = r#"{"customRegistryUrl":"https://10.101.101.100:443","customRegistryRepoPath":"infra/k8s","customRegistryUsername":"kim","customRegistryPassword":"(secret mirror-password)","customRegistrySkipTls":false,"customRegistrySelfSignedCerts":true,"customRegistryCertPath":"/usr/local/share/reg-ca.crt"}"#;
        assert_eq!(sound().body().to_string(), whole);
        let least = Platform9Choice { url: "https://user.jfrog.io".into(), ..Platform9Choice::default() };
        let text = r#"{"customRegistryUrl":"https://user.jfrog.io","customRegistryRepoPath":null,"customRegistryUsername":null,"customRegistryPassword":null,"customRegistrySkipTls":false,"customRegistrySelfSignedCerts":false,"customRegistryCertPath":null}"#;
        assert_eq!(least.body().to_string(), text);
        assert_eq!(least.problems(&registries(), CERTS), []);
        assert_eq!(least.certificate(), None);
    }

    #[test]
    fn the_same_choice_becomes_files_of_a_host() {
        assert_eq!(sound().problems(&registries(), CERTS), []);
        let mirror = sound().mirror(&registries(), CERTS, true);
        assert_eq!(mirror.ca.as_deref(), Some("/usr/local/share/reg-ca.crt"));
        assert!(mirror.mirror_only && mirror.login.is_some());
        let fetched = Platform9Choice { cert_path: Some("https://example.com/cacert".into()), ..sound() };
        assert_eq!(fetched.certificate(), Some(Certificate::Url("https://example.com/cacert".into())));
        let mirror = fetched.mirror(&registries(), CERTS, false);
        assert_eq!(mirror.ca.as_deref(), Some("/etc/containerd/certs.d/10.101.101.100:443/ca.crt"));
    }

    #[test]
    fn parameters_that_contradict_each_other_are_told() {
        type Edit = fn(&mut Platform9Choice);
        let cases: [(Edit, &str); 9] = [
            (|c| c.url = "10.101.101.100:443".into(), "has no scheme"),
            (|c| c.password = None, "has no password"),
            (|c| c.username = None, "has no user"),
            (|c| c.cert_path = None, "no certificate is named"),
            (|c| c.self_signed = false, "only for a self-signed"),
            (|c| c.cert_path = Some("reg-ca.crt".into()), "is no absolute path"),
            (|c| c.cert_path = Some("http://example.com/ca".into()), "is not fetched by"),
            (|c| c.cert_path = Some("https://a:b@example.com/ca".into()), "holds a login"),
            (|c| c.skip_tls = true, "beside a certificate"),
        ];
        for (edit, why) in cases {
            let mut choice = sound();
            edit(&mut choice);
            let told = choice.problems(&registries(), CERTS);
            assert!(told.iter().any(|p| p.why.contains(why)), "{why}: {told:?}");
        }
    }
}
