//! `put-platform9`: the mirror of the runbook as the parameters of Platform9's cluster API. The nodes are Platform9's own to
//! write: castoff changes no file of them here.

use super::{About, Action, Drawn, Mirror};
use crate::model::{
    Change, Check, Inventory, MachineWants, Part, Problem, Row, Wants,
    change::HIDDEN,
    mirror_choice::PLATFORM9_REGISTRIES,
    platform9::{PASSWORD, Platform9Choice},
};
use schemars::JsonSchema;
use serde::Deserialize;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PutPlatform9 {}

/// Where Platform9 keeps the files; only for the checks of the choice.
const CERTS: &str = "/etc/containerd/certs.d";

impl Action for PutPlatform9 {
    fn wants(&self, _: &About<'_>) -> Wants {
        Wants { parts: [Part::Platform9].into(), ..Wants::default() }
    }

    fn plan(&self, world: &Inventory, about: &About<'_>) -> Result<Drawn, String> {
        let mirror = about.mirror();
        if mirror.only {
            return Err("Platform9 knows no mirror-only: its nodes ask a registry itself for what the mirror does not have; \
                        take `only` of `[mirror]` out"
                .to_owned());
        }
        let choice = choice(mirror);
        let registries = PLATFORM9_REGISTRIES.map(str::to_owned);
        if let Some(Problem { subject, why, .. }) = choice.problems(&registries, CERTS).into_iter().next() {
            return Err(format!("{subject} {why}"));
        }
        let Some(cluster) = &world.platform9 else {
            let unread = world.unanswered.iter().find(|unanswered| unanswered.part == Part::Platform9);
            let why = unread.map_or("the cluster file has no `[platform9]`", |unanswered| unanswered.why.as_str());
            return Err(format!("the cluster was not read: {why}"));
        };
        let name = if cluster.name.is_empty() { &cluster.uuid } else { &cluster.name };
        if let Some(runtime) = cluster.runtime.as_deref().filter(|runtime| !runtime.eq_ignore_ascii_case("containerd")) {
            return Err(format!("cluster `{name}` runs `{runtime}`: a mirror is for clusters with containerd"));
        }
        let (before, after) = (cluster.mirror.clone(), choice.body().as_object().cloned().unwrap_or_default());
        let change = Change::Platform9 { cluster: cluster.uuid.clone(), name: name.clone(), before, after };
        let checks = vec![Check::Answers { parts: [Part::Platform9].into(), machines: MachineWants::default() }];
        let summary = format!("the nodes of cluster {name} ask {} first, for {}", mirror.url, PLATFORM9_REGISTRIES.join(", "));
        let notes = notes(name, &cluster.mirror, mirror);
        Ok(Drawn { changes: vec![change], checks, notes, summary, ..Drawn::default() })
    }
}

/// The words of the runbook as those of the API. A named authority is what it means by a self-signed certificate.
fn choice(mirror: &Mirror) -> Platform9Choice {
    Platform9Choice {
        url: mirror.url.trim_end_matches('/').to_owned(),
        repo_path: mirror.path.clone(),
        username: mirror.username.clone(),
        password: mirror.password.clone(),
        skip_tls: mirror.skip_tls,
        self_signed: mirror.ca.is_some(),
        cert_path: mirror.ca.clone(),
    }
}

fn notes(name: &str, before: &Row, mirror: &Mirror) -> Vec<Problem> {
    let mut out = vec![];
    let mut note = |why: String, hint: &str| {
        out.push(Problem { hint: Some(hint.to_owned()), ..Problem::new(format!("cluster {name}"), why) });
    };
    note(
        "its nodes do not have the mirror by this alone: without an upgrade of Kubernetes the phases of nodelet have to be \
         restarted on every node by hand"
            .to_owned(),
        "nodelet writes /etc/containerd itself then, over what was edited there by hand",
    );
    let others: Vec<&str> =
        PLATFORM9_REGISTRIES.into_iter().filter(|known| !mirror.registries.iter().any(|r| r == known)).collect();
    if !others.is_empty() {
        note(
            format!("gets the mirror for {} as well: Platform9 has one list for all clusters", others.join(", ")),
            "`registries` of `[mirror]` is for the hosts that castoff writes itself",
        );
    }
    if mirror.password.is_some() && before.get(PASSWORD).is_some_and(|value| value == HIDDEN) {
        note(
            "has a password for its mirror already, which is not shown: whether it is the same cannot be seen".to_owned(),
            "if nothing but the password is to change, put it by hand",
        );
    }
    note(
        "castoff has met this API as its documents describe it, and never the real service".to_owned(),
        "look at the cluster in Platform9 afterwards",
    );
    out
}
