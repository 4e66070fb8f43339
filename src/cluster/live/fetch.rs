//! Certificate authorities that are kept at an address: castoff fetches them, by verified TLS alone, to write them on hosts.
//! It never takes what is no certificate, and never sends a login.

use crate::{
    cluster::{ssh::root_cause, tls},
    model::{Fault, FaultKind, Part, Unanswered, text},
};
use reqwest::{Client, redirect};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// No chain of authorities is longer.
const MOST_BYTES: usize = 256 << 10;
const DEADLINE: Duration = Duration::from_secs(20);

/// The texts by their address, and those that could not be had.
pub(super) async fn all(addresses: &BTreeSet<String>) -> (BTreeMap<String, String>, Vec<Unanswered>) {
    let answers = futures::future::join_all(addresses.iter().map(|url| async move { (url, one(url).await) })).await;
    let (mut found, mut missing) = (BTreeMap::new(), vec![]);
    for (url, answer) in answers {
        match answer {
            Ok(pem) => {
                found.insert(url.clone(), pem);
            }
            Err(fault) => {
                let subject = text::clean(&format!("authority {url}"));
                missing.push(Unanswered { part: Part::Machines, subject, why: fault.why, hint: fault.hint });
            }
        }
    }
    (found, missing)
}

async fn one(url: &str) -> Result<String, Fault> {
    let fault = |why: &str| Fault::new(FaultKind::Lasting, format!("`{url}`"), why);
    let lost = |error: &reqwest::Error| {
        let causes = tls::causes(error);
        let why = if error.is_timeout() { format!("no answer within {} s", DEADLINE.as_secs()) } else { root_cause(error) };
        if causes.contains("certificate") {
            fault(&format!("its TLS is not trusted here: {why}"))
                .hint("copy the authority to the hosts, and name its path as `ca`")
        } else {
            Fault::new(FaultKind::Passing, format!("`{url}`"), why)
        }
    };
    let client = Client::builder()
        .timeout(DEADLINE)
        .https_only(true)
        .redirect(redirect::Policy::limited(5))
        .referer(false)
        .user_agent(concat!("castoff/", env!("CARGO_PKG_VERSION")));
    // A proxy in the environment would look for it on its own machine.
    let near = url.starts_with("https://127.") || url.starts_with("https://localhost");
    let client = if near { client.no_proxy() } else { client }.build().map_err(|error| lost(&error))?;
    let mut response = client.get(url).send().await.map_err(|error| lost(&error))?;
    if !response.status().is_success() {
        return Err(fault(&format!("it answers with HTTP {}", response.status().as_u16())));
    }
    let mut body = vec![];
    while let Some(chunk) = response.chunk().await.map_err(|error| lost(&error))? {
        body.extend_from_slice(&chunk);
        if body.len() > MOST_BYTES {
            return Err(fault("it is larger than 256 KiB"));
        }
    }
    checked(&body).map_err(|why| fault(why).hint("`ca` has to be a certificate in PEM, as a text file"))
}

/// The text, if it is nothing but certificates in PEM.
fn checked(body: &[u8]) -> Result<String, &'static str> {
    let text = std::str::from_utf8(body).map_err(|_| "it is no text")?;
    if text.contains("PRIVATE KEY") {
        return Err("it holds a private key");
    }
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(body).collect();
    match certificates {
        Ok(found) if !found.is_empty() && found.iter().all(|one| rustls::server::ParsedCertificate::try_from(one).is_ok()) => {
            Ok(text.to_owned())
        }
        _ => Err("it holds no certificate"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_certificates_are_taken() {
        let key = b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        let broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert_eq!(checked(b"<html>"), Err("it holds no certificate"));
        assert_eq!(checked(b"\xff\xfe"), Err("it is no text"));
        assert_eq!(checked(key), Err("it holds a private key"));
        assert_eq!(checked(broken), Err("it holds no certificate"));
    }
}
