//! Whom a host trusts: the authorities of its system, where its daemons look for them, and a CA file beside them.
//! It never trusts what only the machine of the operator trusts.

use super::answer::failing;
use crate::{
    cluster::{
        ssh::{Place, Runner},
        tls,
    },
    model::{Reach, text},
};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
    server::ParsedCertificate,
};
use std::{sync::Arc, time::Duration};

/// The first of these that is there, as Go programs (Docker, containerd, podman) do on Linux.
const AUTHORITIES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
const READ: Duration = Duration::from_secs(5);

/// TLS as a daemon of that host would speak it.
pub(super) async fn config(runner: &Runner, ca: Option<(&str, &[u8])>) -> Result<ClientConfig, Reach> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates(&system(runner).await));
    let mut own = vec![];
    if let Some((path, pem)) = ca {
        own = certificates(pem);
        if own.is_empty() {
            return Err(Reach::Tls { why: format!("its CA file `{}` holds no certificate", text::clean(path)) });
        }
        roots.add_parsable_certificates(own.iter().cloned());
    }
    let setup = || failing("TLS cannot be set up");
    let mut config = tls::plain(RootCertStore::empty()).ok_or_else(setup)?.with_no_client_auth();
    let provider = Arc::clone(config.crypto_provider());
    // An empty store is refused, and a host without authorities trusts nobody.
    let webpki = (!roots.is_empty()).then(|| WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build());
    let webpki = webpki.transpose().map_err(|_| setup())?;
    let provider = Arc::clone(config.crypto_provider());
    config.dangerous().set_certificate_verifier(Arc::new(Verifier { webpki, own, provider }));
    Ok(config)
}

fn certificates(pem: &[u8]) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem).flatten().collect()
}

async fn system(runner: &Runner) -> Vec<u8> {
    if *runner.place() == Place::Local {
        return AUTHORITIES.iter().find_map(|path| std::fs::read(path).ok()).unwrap_or_default();
    }
    let script = r#"for f; do [ -r "$f" ] && exec cat "$f"; done; exit 0"#;
    let words: Vec<String> = ["sh", "-c", script, "sh"].iter().chain(&AUTHORITIES).map(|word| (*word).to_owned()).collect();
    runner.run(&words, None, READ).await.map_or_else(|_| vec![], |output| output.stdout.into_bytes())
}

/// The usual verifier, and one rule of Go's beside it: a certificate that is itself in the CA file is trusted, also if it calls
/// itself an authority. That is how a registry's self-signed certificate is usually made.
#[derive(Debug)]
struct Verifier {
    webpki: Option<Arc<WebPkiServerVerifier>>,
    own: Vec<CertificateDer<'static>>,
    provider: Arc<rustls::crypto::CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.own.iter().any(|own| own == end_entity) {
            let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
            if tls::not_after(end_entity).is_some_and(|end| end.as_second() < now) {
                return Err(CertificateError::Expired.into());
            }
            verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
            return Ok(ServerCertVerified::assertion());
        }
        match &self.webpki {
            Some(webpki) => webpki.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now),
            None => Err(CertificateError::UnknownIssuer.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// What is wrong with TLS, in plain words. `None`: the error is about something else.
pub(super) fn words(error: &str) -> Option<String> {
    let names = tls::Names { section: "", ca: None, cert: None, key: None };
    if error.contains("UnknownIssuer") || error.contains("CaUsedAsEndEntity") || error.contains("BadSignature") {
        return Some("its certificate is of an authority that this host does not trust".to_owned());
    }
    if error.contains("InvalidContentType") {
        return Some("it speaks no TLS there, but something else, perhaps plain HTTP behind https://".to_owned());
    }
    if let Some(alert) = error.split("received fatal alert: ").nth(1) {
        let alert: String = alert.chars().take_while(char::is_ascii_alphanumeric).collect();
        return Some(match alert.as_str() {
            // Go says the one in TLS 1.2, everybody the other in TLS 1.3.
            "BadCertificate" | "CertificateRequired" => "it asks for a client certificate".to_owned(),
            _ => format!("it ended the TLS handshake with the alert {alert}"),
        });
    }
    names.fault("", error).map(|fault| fault.why.replacen("the server's certificate", "its certificate", 1))
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn what_is_wrong_with_tls_is_said_in_plain_words() {
        let cases = [
            ("x: invalid peer certificate: UnknownIssuer", Some("an authority that this host does not trust")),
            ("invalid peer certificate: Other(OtherError(CaUsedAsEndEntity))", Some("does not trust")),
            ("received corrupt message of type InvalidContentType", Some("plain HTTP behind https://")),
            ("received fatal alert: CertificateRequired", Some("it asks for a client certificate")),
            ("received fatal alert: HandshakeFailure", Some("the alert HandshakeFailure")),
            ("received fatal alert: ProtocolVersion", Some("the alert ProtocolVersion")),
            (
                "invalid peer certificate: certificate expired: verification time 2 (UNIX), but certificate is not valid after 1767225600 (3 seconds ago)",
                Some("its certificate expired on 2026-01-01 00:00 UTC"),
            ),
            (
                "invalid peer certificate: certificate not valid for name \"a\"; certificate is only valid for DnsName(\"b\")",
                Some("its certificate is for another name: it is only valid for DnsName(\"b\")"),
            ),
            ("connection reset by peer", None),
        ];
        for (error, expect) in cases {
            let said = words(error);
            assert_eq!(said.is_some(), expect.is_some(), "{error}: {said:?}");
            assert!(said.unwrap_or_default().contains(expect.unwrap_or_default()), "{error}");
        }
    }
}
