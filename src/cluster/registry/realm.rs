//! Whom a registry may send castoff to: its token service, and where its redirects lead.
//! The rule is pure; only to learn whether a name is of this network or of the world, names are looked up.

use reqwest::{Url, redirect};
use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

const LOOK_UP: Duration = Duration::from_secs(2);
const REDIRECTS: usize = 5;

/// Whether a login for `registry` may be sent to this token service; `Err`: why not. It may go to the registry's own host,
/// and by TLS to another of the same domain (`auth.docker.io` for `registry-1.docker.io`); never from TLS down to plain
/// HTTP; by plain HTTP only to the very same port. What the cluster file names as `realm` is trusted as the registry is.
pub(super) fn may_know_the_login(registry: &Url, realm: &Url, named: Option<&Url>) -> Result<(), String> {
    if named.is_some_and(|named| named.origin() == realm.origin()) {
        return Ok(());
    }
    let there = realm.origin().ascii_serialization();
    let same_host = registry.host_str() == realm.host_str();
    let why = match (registry.scheme(), realm.scheme()) {
        ("https" | "http", "https") if same_host => return Ok(()),
        (_, "https") if same_domain(registry, realm) => return Ok(()),
        ("http", "http") if same_host && registry.port_or_known_default() == realm.port_or_known_default() => return Ok(()),
        ("https", "http") => format!("its token service `{there}` is asked without TLS"),
        _ => format!("its token service is `{there}`, another place"),
    };
    Err(why)
}

/// Whether the token service may be asked at all, with or without a login.
pub(super) fn may_be_asked(registry: &Url, realm: &Url, named: Option<&Url>) -> Result<(), String> {
    if named.is_some_and(|named| named.origin() == realm.origin()) {
        return Ok(());
    }
    let there = realm.host_str().unwrap_or("?");
    match realm.scheme() {
        "https" => Ok(()),
        "http" if registry.scheme() == "http" => Ok(()),
        "http" => Err(format!("its token service `{there}` is asked without TLS")),
        other => Err(format!("its token service is asked by `{other}`")),
    }
}

/// The last two labels are the same, and are no common ending of a country such as `co.kr`.
fn same_domain(one: &Url, other: &Url) -> bool {
    let labels = |url: &Url| -> Vec<String> {
        url.domain()
            .map(|name| name.trim_end_matches('.').to_ascii_lowercase().rsplit('.').map(str::to_owned).collect())
            .unwrap_or_default()
    };
    let (one, other) = (labels(one), labels(other));
    let common = one.iter().zip(&other).take_while(|(a, b)| a == b).count();
    let country = one.first().is_some_and(|last| last.len() == 2) && one.get(1).is_some_and(|second| second.len() <= 3);
    common >= if country { 3 } else { 2 }
}

/// Whether anybody in the world can have this address: not this machine, this network, or this link.
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            let shared = a == 100 && (64..128).contains(&b);
            !(v4.is_loopback() || v4.is_private() || v4.is_link_local() || v4.is_unspecified() || shared)
        }
        IpAddr::V6(v6) => !(v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local() || v6.is_unspecified()),
    }
}

/// Clouds hand out keys of a machine at such an address.
fn is_link_local(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

fn literal(url: &Url) -> Option<IpAddr> {
    let host = url.host_str()?;
    if host == "localhost" || host.ends_with(".localhost") {
        return Some([127, 0, 0, 1].into());
    }
    host.trim_matches(['[', ']']).parse().ok()
}

/// No addresses where the name cannot be looked up here: behind a proxy only the proxy may know it.
async fn addresses(url: &Url) -> Vec<IpAddr> {
    if let Some(address) = literal(url) {
        return vec![address];
    }
    let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else { return vec![] };
    match tokio::time::timeout(LOOK_UP, tokio::net::lookup_host((host, port))).await {
        Ok(Ok(found)) => found.map(|address| address.ip()).collect(),
        _ => vec![],
    }
}

/// What is known of where a registry is.
#[derive(Clone, Default)]
pub(super) struct Nearness(Arc<AtomicBool>);

impl Nearness {
    /// Looks the registry up; until then, it is taken for one of this network.
    pub(super) async fn learn(&self, registry: &Url) {
        let found = addresses(registry).await;
        self.0.store(!found.is_empty() && found.into_iter().all(is_public), Ordering::Relaxed);
    }

    fn allows(&self, address: IpAddr) -> bool {
        !is_link_local(address) && (is_public(address) || !self.0.load(Ordering::Relaxed))
    }

    /// A registry of the world must not have castoff knock at doors that only this network has.
    pub(super) async fn may_lead_to(&self, registry: &Url, realm: &Url, named: Option<&Url>) -> Result<(), String> {
        let own = registry.host_str() == realm.host_str() || named.is_some_and(|named| named.origin() == realm.origin());
        match addresses(realm).await.into_iter().find(|address| !self.allows(*address)) {
            Some(address) if !own => Err(format!(
                "its token service `{}` is {address}, an address within this network",
                realm.host_str().unwrap_or("?")
            )),
            _ => Ok(()),
        }
    }

    /// Five redirects at most, never down to plain HTTP, never from the world into this network. Away from scheme, host and
    /// port, reqwest takes the login off by itself.
    pub(super) fn policy(&self, registry: &Url) -> redirect::Policy {
        let (near, home) = (self.clone(), registry.clone());
        redirect::Policy::custom(move |attempt| {
            let (to, previous) = (attempt.url(), attempt.previous());
            let was_secure = previous.last().is_some_and(|url| url.scheme() == "https");
            let inside = literal(to).filter(|address| to.host_str() != home.host_str() && !near.allows(*address));
            if previous.len() > REDIRECTS {
                attempt.error("too many redirects")
            } else if was_secure && to.scheme() != "https" {
                attempt.error("it redirects from TLS to plain HTTP")
            } else if let Some(address) = inside {
                attempt.error(format!("it redirects to {address}, an address within this network"))
            } else {
                attempt.follow()
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_goes_to_its_own_registry_only() {
        let cases = [
            ("https://cr.backend.ai", "https://cr.backend.ai/service/token", true),
            ("https://cr.backend.ai", "https://cr.backend.ai:8443/service/token", true),
            ("https://cr.backend.ai", "http://cr.backend.ai/service/token", false),
            ("https://registry-1.docker.io", "https://auth.docker.io/token", true),
            ("https://registry.gitlab.com", "https://gitlab.com/jwt/auth", true),
            ("https://cr.backend.ai", "https://evil.example/token", false),
            ("https://cr.corp.co.kr", "https://auth.corp.co.kr/token", true),
            ("https://cr.corp.co.kr", "https://auth.evil.co.kr/token", false),
            ("https://docker.io.evil.example", "https://auth.docker.io/token", false),
            ("http://127.0.0.1:25007", "http://127.0.0.1:25007/service/token", true),
            ("http://127.0.0.1:25007", "http://127.0.0.1:25008/service/token", false),
            ("http://127.0.0.1:25007", "http://127.0.0.2/token", false),
            ("https://10.0.0.1", "https://11.0.0.1/token", false),
            ("http://cr.backend.ai", "https://auth.backend.ai/token", true),
            ("https://cr", "https://auth/token", false),
            ("https://cr.backend.ai", "https://sso.corp/token", true),
        ];
        let named: Url = "https://sso.corp".parse().unwrap();
        for (registry, realm, expect) in cases {
            let said = may_know_the_login(&registry.parse().unwrap(), &realm.parse().unwrap(), Some(&named));
            assert_eq!(said.is_ok(), expect, "{registry} {realm}: {said:?}");
        }
    }

    #[test]
    fn a_registry_of_the_world_leads_to_no_door_of_this_network() {
        let world = Nearness(Arc::new(AtomicBool::new(true)));
        let here = Nearness::default();
        for (address, of_world, of_here) in [
            ("93.184.216.34", true, true),
            ("127.0.0.1", false, true),
            ("10.1.2.3", false, true),
            ("192.168.0.1", false, true),
            ("100.64.0.1", false, true),
            ("169.254.169.254", false, false),
            ("::1", false, true),
            ("fd00::1", false, true),
            ("fe80::1", false, false),
            ("::ffff:10.0.0.1", false, true),
            ("::ffff:169.254.169.254", false, false),
            ("2606:2800::1", true, true),
        ] {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!((world.allows(address), here.allows(address)), (of_world, of_here), "{address}");
        }
    }
}
