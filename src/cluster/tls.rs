//! What is wrong between two certificates, in words: whose it is, why it was refused, which field of the cluster file helps.
//! It asks a server only where a connection was cut without a word, and never says anything to it beyond the handshake.

use crate::model::{Fault, FaultKind};
use futures::{FutureExt, future::BoxFuture};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use std::{
    error::Error,
    io::{Read, Write},
    net::{TcpStream, ToSocketAddrs},
    path::Path,
    sync::Arc,
    time::Duration,
};

/// For the one handshake that asks why.
const ASK: Duration = Duration::from_secs(2);
/// A server that has nothing against castoff says nothing at all.
const LISTEN: Duration = Duration::from_millis(500);
/// PostgreSQL's request to begin with TLS.
pub(super) const POSTGRES: &[u8] = &[0, 0, 0, 8, 4, 210, 22, 47];

/// What castoff trusts and shows when it speaks TLS with one server, and where the cluster file says so.
#[derive(Clone, Copy, Debug)]
pub(super) struct Names<'a> {
    /// `[etcd]`, `[registries."cr.backend.ai"]`: with the quotes that people see.
    pub section: &'a str,
    pub ca: Option<&'a Path>,
    pub cert: Option<&'a Path>,
    pub key: Option<&'a Path>,
}

impl Names<'_> {
    /// Such trouble as a fault that lasts. `None`: the error is about something else. `text` is the error with its causes.
    pub(super) fn fault(&self, what: &str, text: &str) -> Option<Fault> {
        let (why, hint) = if text.contains("received fatal alert") {
            self.refused(text)?
        } else if text.contains("invalid peer certificate") {
            self.distrusted(text)
        } else {
            return None;
        };
        Some(Fault::new(FaultKind::Lasting, what, why).hint(hint))
    }

    /// The same, where the connection may have been cut before the alert that says why was read: a server that refuses a
    /// certificate closes at once, and what castoff had already sent to it takes the alert down. So it is asked again,
    /// with a handshake and nothing behind it. `address` is `host:port`.
    pub(super) fn fault_of<'b>(
        &'b self,
        what: &'b str,
        text: &'b str,
        address: &'b str,
        preface: &'static [u8],
    ) -> BoxFuture<'b, Option<Fault>> {
        let fault = self.fault(what, text);
        let asked = || {
            let config = is_cut(text).then(|| self.config())??;
            let address = address.to_owned();
            Some(tokio::task::spawn_blocking(move || handshake(config, &address, preface)))
        };
        let asked = if fault.is_some() { None } else { asked() };
        let answer = async move {
            let Some(asked) = asked else { return fault };
            let said = tokio::time::timeout(2 * ASK, asked).await.ok()?.ok()?.err()?;
            self.fault(what, &causes(&said))
        };
        answer.boxed()
    }

    /// That the files are there and hold what they should, before a client that would say less of it reads them.
    pub(super) fn check(&self, what: &str) -> Result<(), Fault> {
        let fault = |path: &Path, why: String| {
            let hint = format!("correct `ca`, `cert` and `key` of {} in the cluster file", self.section);
            Err(Fault::new(FaultKind::Lasting, what, format!("`{}`: {why}", path.display())).hint(hint))
        };
        for path in [self.ca, self.cert].into_iter().flatten() {
            match std::fs::read(path) {
                Err(e) => return fault(path, e.to_string()),
                Ok(pem) if CertificateDer::pem_slice_iter(&pem).flatten().next().is_none() => {
                    return fault(path, "it holds no certificate".to_owned());
                }
                Ok(_) => {}
            }
        }
        let (Some(cert), Some(key)) = (self.cert, self.key) else { return Ok(()) };
        if let Err(e) = std::fs::File::open(key) {
            return fault(key, e.to_string());
        }
        let Ok(private) = PrivateKeyDer::from_pem_file(key) else { return fault(key, "it holds no key".to_owned()) };
        match self.with_identity(rustls::RootCertStore::empty(), private) {
            Ok(_) => Ok(()),
            Err(_) => fault(cert, format!("`{}` is not its key", key.display())),
        }
    }

    /// `None` without an authority of its own: the system's are not asked here.
    fn config(&self) -> Option<rustls::ClientConfig> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add_parsable_certificates(CertificateDer::pem_file_iter(self.ca?).ok()?.flatten());
        match self.key {
            Some(key) => self.with_identity(roots, PrivateKeyDer::from_pem_file(key).ok()?).ok(),
            None => Some(plain(roots)?.with_no_client_auth()),
        }
    }

    fn with_identity(
        &self,
        roots: rustls::RootCertStore,
        key: PrivateKeyDer<'static>,
    ) -> Result<rustls::ClientConfig, rustls::Error> {
        let chain = self.cert.and_then(|cert| CertificateDer::pem_file_iter(cert).ok()).into_iter().flatten().flatten();
        let builder = plain(roots).ok_or_else(|| rustls::Error::General("no protocol version".to_owned()))?;
        builder.with_client_auth_cert(chain.collect(), key)
    }

    /// The server did not like what castoff showed.
    fn refused(&self, text: &str) -> Option<(String, String)> {
        let alert = text.split("received fatal alert: ").nth(1)?;
        let alert: String = alert.chars().take_while(char::is_ascii_alphanumeric).collect();
        let section = self.section;
        let about_us = ["Certificate", "UnknownCA", "DecryptError", "AccessDenied"].iter().any(|part| alert.contains(part));
        let Some(cert) = self.cert else {
            let hint = format!("set `cert` and `key` of {section} in the cluster file to a certificate that it accepts");
            let asked = about_us || alert == "HandshakeFailure";
            return asked.then(|| ("the server asks for a client certificate, and castoff has none for it".to_owned(), hint));
        };
        if !about_us && alert != "HandshakeFailure" {
            return None;
        }
        Some(match self.own_expired() {
            Some(expired) => (format!("the server refused castoff's own certificate, which {expired}"), self.renew()),
            None => (
                format!("the server refused castoff's own certificate `{}` (alert {alert})", cert.display()),
                format!("set `cert` and `key` of {section} in the cluster file to a certificate that it accepts"),
            ),
        })
    }

    /// Castoff did not like what the server showed.
    fn distrusted(&self, text: &str) -> (String, String) {
        let said = text.split("invalid peer certificate: ").nth(1).unwrap_or(text);
        let section = self.section;
        if said.contains("expired") || said.contains("Expired") {
            let when = moment(said, "not valid after ").map_or_else(String::new, |when| format!(" on {when}"));
            let hint = format!("renew it at the server; neither `ca` nor anything else of {section} helps");
            return (format!("the server's certificate expired{when}"), hint);
        }
        if said.contains("not valid yet") || said.contains("NotValidYet") {
            let when = moment(said, "not valid before ").map_or_else(String::new, |when| format!(" before {when}"));
            return (format!("the server's certificate is not valid{when}"), "compare the clocks of the two machines".to_owned());
        }
        if said.contains("not valid for name") || said.contains("NotValidForName") {
            let names = said.split("; certificate ").nth(1).map_or_else(String::new, |names| format!(": it {names}"));
            let hint = format!("in {section} of the cluster file, write a name that stands in the certificate");
            return (format!("the server's certificate is for another name{names}"), hint);
        }
        let trusted = self.ca.map_or_else(
            || format!("set `ca` of {section} in the cluster file to the authority that signed it"),
            |ca| format!("`ca` of {section} in the cluster file is `{}`: name the authority that signed it", ca.display()),
        );
        if said.contains("UnknownIssuer") || said.contains("BadSignature") {
            return ("the server's certificate is of an authority that castoff does not know".to_owned(), trusted);
        }
        (format!("the server's certificate is no good: {}", said.split(": ").next().unwrap_or(said)), trusted)
    }

    /// `` `/etc/castoff/client.pem` expired on 2026-03-01 00:00 UTC ``, if it did.
    fn own_expired(&self) -> Option<String> {
        let path = self.cert?;
        let end = valid_until(&std::fs::read(path).ok()?)?;
        (end < jiff::Timestamp::now()).then(|| format!("`{}` expired on {}", path.display(), shown(end)))
    }

    fn renew(&self) -> String {
        format!("put a new certificate where `cert` of {} in the cluster file names it", self.section)
    }
}

pub(super) fn plain(
    roots: rustls::RootCertStore,
) -> Option<rustls::ConfigBuilder<rustls::ClientConfig, rustls::client::WantsClientCert>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().ok()?;
    Some(builder.with_root_certificates(roots))
}

/// Ends well where the server is content, also by its silence.
fn handshake(config: rustls::ClientConfig, address: &str, preface: &[u8]) -> std::io::Result<()> {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host).trim_matches(['[', ']']);
    let name = ServerName::try_from(host.to_owned()).map_err(std::io::Error::other)?;
    let Some(to) = address.to_socket_addrs()?.next() else { return Ok(()) };
    let mut socket = TcpStream::connect_timeout(&to, ASK)?;
    socket.set_read_timeout(Some(ASK))?;
    socket.set_write_timeout(Some(ASK))?;
    if !preface.is_empty() {
        socket.write_all(preface)?;
        socket.read_exact(&mut [0])?;
    }
    let mut session = rustls::ClientConnection::new(Arc::new(config), name).map_err(std::io::Error::other)?;
    while session.is_handshaking() {
        session.complete_io(&mut socket)?;
    }
    socket.set_read_timeout(Some(LISTEN))?;
    match rustls::Stream::new(&mut session, &mut socket).read(&mut [0]) {
        Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => Ok(()),
        Err(error) => Err(error),
        Ok(_) => Ok(()),
    }
}

/// Whether the connection was cut, perhaps by a server that had something against it.
pub(super) fn is_cut(text: &str) -> bool {
    const CUT: [&str; 8] =
        ["reset by peer", "roken pipe", "losed", "unexpected EOF", "unexpected end", "handshake eof", "close_notify", "canceled"];
    CUT.iter().any(|part| text.contains(part))
}

/// Whether the server cuts a handshake before it said a word of TLS, as one does that speaks none.
pub(super) async fn hangs_up(address: &str) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    // It trusts nobody: a server that speaks TLS shows its certificate, and is refused for it.
    let Some(config) = plain(rustls::RootCertStore::empty()) else { return false };
    let (config, address) = (config.with_no_client_auth(), address.to_owned());
    let asked = tokio::task::spawn_blocking(move || handshake(config, &address, &[]));
    let Ok(Ok(Err(said))) = tokio::time::timeout(2 * ASK, asked).await else { return false };
    matches!(said.kind(), UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe)
}

/// An error with all its causes, each once.
pub(super) fn causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(deeper) = cause {
        let words = deeper.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = deeper.source();
    }
    text
}

fn moment(text: &str, before: &str) -> Option<String> {
    let digits: String = text.split(before).nth(1)?.chars().take_while(char::is_ascii_digit).collect();
    Some(shown(jiff::Timestamp::from_second(digits.parse().ok()?).ok()?))
}

fn shown(time: jiff::Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

/// The first moment at which one of these PEM certificates is no longer valid.
fn valid_until(pem: &[u8]) -> Option<jiff::Timestamp> {
    CertificateDer::pem_slice_iter(pem).flatten().filter_map(|certificate| not_after(&certificate)).min()
}

/// `Certificate { TBSCertificate { [0] version, serial, algorithm, issuer, Validity { notBefore, notAfter } …`
pub(super) fn not_after(certificate: &[u8]) -> Option<jiff::Timestamp> {
    const VERSION: u8 = 0xa0;
    let (_, certificate, _) = element(certificate)?;
    let (_, mut fields, _) = element(certificate)?;
    if fields.first() == Some(&VERSION) {
        fields = element(fields)?.2;
    }
    for _ in ["serial", "algorithm", "issuer"] {
        fields = element(fields)?.2;
    }
    let (_, validity, _) = element(fields)?;
    let (tag, end, _) = element(element(validity)?.2)?;
    let end = std::str::from_utf8(end).ok()?;
    // UTCTime has two digits for the year, GeneralizedTime four.
    let century = match (tag, end.get(..2)?.parse::<u8>().ok()?) {
        (0x17, 50..) => "19",
        (0x17, _) => "20",
        _ => "",
    };
    let time = jiff::civil::DateTime::strptime("%Y%m%d%H%M%SZ", format!("{century}{end}")).ok()?;
    Some(time.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
}

/// One element of DER: its tag, its content, what follows it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f)).filter(|(digits, _)| digits.len() <= 4)?;
        (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_tls_name_whose_certificate_it_is() {
        let names = Names { section: "`[etcd]`", ca: None, cert: None, key: None };
        let with = Names { cert: Some(Path::new("/no/client.pem")), ..names };
        let cases = [
            (names, "x: received fatal alert: BadCertificate", Some("the server asks for a client certificate")),
            (names, "received fatal alert: CertificateRequired", Some("the server asks for a client certificate")),
            (with, "received fatal alert: UnknownCA", Some("the server refused castoff's own certificate `/no/client.pem`")),
            (with, "received fatal alert: ProtocolVersion", None),
            (
                names,
                "invalid peer certificate: certificate expired: verification time 2 (UNIX), but certificate is not valid after 1767225600 (3 seconds ago)",
                Some("the server's certificate expired on 2026-01-01 00:00 UTC"),
            ),
            (names, "invalid peer certificate: UnknownIssuer", Some("an authority that castoff does not know")),
            (
                names,
                "invalid peer certificate: certificate not valid for name \"a\"; certificate is only valid for DnsName(\"b\")",
                Some("for another name: it is only valid for DnsName(\"b\")"),
            ),
            (names, "invalid peer certificate: Revoked: more", Some("the server's certificate is no good: Revoked")),
            (with, "connection reset by peer", None),
            (names, "connection refused", None),
        ];
        for (names, text, expect) in cases {
            let fault = names.fault("x", text);
            assert_eq!(fault.is_some(), expect.is_some(), "{text}: {fault:?}");
            if let (Some(fault), Some(expect)) = (fault, expect) {
                assert!(fault.why.contains(expect), "{text}: {fault:?}");
                assert_eq!(fault.kind, FaultKind::Lasting);
                assert!(fault.hint.is_some());
            }
        }
    }

    #[test]
    fn no_bytes_are_too_short_for_a_certificate() {
        let der = [0x30, 0x82, 0x01, 0x00, 0x30, 0x03, 0xa0, 0x84, 0xff, 0xff, 0xff, 0xff];
        for end in 0..der.len() {
            assert_eq!(not_after(&der[..end]), None);
        }
        assert_eq!(valid_until(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), None);
    }
}
