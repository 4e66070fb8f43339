//! A token service behind TLS, whose tokens a real docker-registry accepts: signed by a certificate of its authority.

use crate::{
    certificates::path,
    small::{self, Request},
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use std::sync::{
    Arc,
    atomic::{AtomicI64, AtomicUsize, Ordering},
};

pub struct Tokens {
    port: u16,
    good_for_s: Arc<AtomicI64>,
    asked: Arc<AtomicUsize>,
}

impl Tokens {
    /// Knows `kim` by `kim-secret`, and by the identity token `identity-secret`.
    pub fn start() -> Self {
        let (good_for_s, asked) = (Arc::new(AtomicI64::new(300)), Arc::new(AtomicUsize::new(0)));
        let (life, count) = (Arc::clone(&good_for_s), Arc::clone(&asked));
        let port = small::serve_tls("server", move |request| {
            count.fetch_add(1, Ordering::SeqCst);
            answer(request, life.load(Ordering::SeqCst))
        });
        Self { port, good_for_s, asked }
    }

    pub fn realm(&self) -> String {
        format!("https://127.0.0.1:{}/token", self.port)
    }

    /// From now on; what castoff is told is five minutes.
    pub fn good_for_s(&self, seconds: i64) {
        self.good_for_s.store(seconds, Ordering::SeqCst);
    }

    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn answer(request: &Request, life_s: i64) -> String {
    let kim = format!("authorization: basic {}", STANDARD.encode("kim:kim-secret").to_ascii_lowercase());
    let head = request.head.to_ascii_lowercase();
    let known = head.contains(&kim) || request.body.contains("refresh_token=identity-secret");
    if !known && (head.contains("authorization:") || request.body.contains("refresh_token=")) {
        return small::reply(
            "401 Unauthorized",
            "",
            r#"{"errors":[{"code":"UNAUTHORIZED","message":"incorrect username or password"}]}"#,
        );
    }
    let asked = request.head.split_whitespace().nth(1).unwrap_or_default().to_owned() + "&" + &request.body;
    let scope = asked.split(['&', '?']).find_map(|part| part.strip_prefix("scope=")).unwrap_or_default();
    let scope = scope.replace("%3A", ":").replace("%2F", "/").replace("%2C", ",").replace("%2A", "*");
    let mut access = vec![];
    if let (true, &[kind, name, actions]) = (known, &scope.splitn(3, ':').collect::<Vec<_>>()[..]) {
        access.push(serde_json::json!({ "type": kind, "name": name, "actions": actions.split(',').collect::<Vec<_>>() }));
    }
    let now = jiff::Timestamp::now().as_second();
    let claims = serde_json::json!({
        "iss": "castoff-test", "sub": "kim", "aud": "castoff-test", "exp": now + life_s, "nbf": now - 600, "iat": now - 600,
        "jti": uuid::Uuid::now_v7().to_string(), "access": access,
    });
    let certificate = CertificateDer::from_pem_file(path("server.pem")).unwrap();
    let header = serde_json::json!({ "typ": "JWT", "alg": "ES256", "x5c": [STANDARD.encode(&certificate)] });
    let text = format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()));
    let key = PrivateKeyDer::from_pem_file(path("server.key")).unwrap();
    let random = ring::rand::SystemRandom::new();
    let pair =
        ring::signature::EcdsaKeyPair::from_pkcs8(&ring::signature::ECDSA_P256_SHA256_FIXED_SIGNING, key.secret_der(), &random)
            .unwrap();
    let signature = URL_SAFE_NO_PAD.encode(pair.sign(&random, text.as_bytes()).unwrap());
    small::reply("200 OK", "", &serde_json::json!({ "token": format!("{text}.{signature}"), "expires_in": 300 }).to_string())
}
