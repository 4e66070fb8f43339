//! `mirror-podman`: podman, buildah, skopeo and CRI-O ask the mirror first. One drop-in of their own says so; no other file is
//! touched, and no daemon is needed. A login is never written: they take that of the mirror from their own `auth.json`.

use super::{About, Action, Drawn, Mirror, mirror, mirror_containerd};
use crate::model::{
    Change, Check, FileDiff, FileText, Inventory, Login, Machine, MachineWants, MirrorChoice, Part, Podman, Problem, Proof,
    Prover, TakesUp, Wants, mirror_choice, registries_conf, text,
};
use serde::Deserialize;

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct MirrorPodman {}

impl Action for MirrorPodman {
    fn wants(&self, about: &About<'_>) -> Wants {
        // With the mirror its folder of certificates is looked at.
        let machines = MachineWants {
            reach: [about.mirror().reach()].into(),
            fetch: about.mirror().fetch(),
            ..mirror::wants(Prover::Podman)
        };
        Wants { parts: [Part::Machines].into(), machines, ..Wants::default() }
    }

    fn plan(&self, world: &Inventory, about: &About<'_>) -> Result<Drawn, String> {
        let mirror = about.mirror();
        let choice = choice(mirror);
        if let Some(problem) = choice.problems().first() {
            return Err(problem.words());
        }
        if !mirror.registries.contains(&mirror.image.registry) {
            let registries = mirror.registries.join(", ");
            return Err(format!("`image` of `[mirror]`, {}, is of none of its `registries`: {registries}", mirror.image));
        }
        let hosts: Vec<String> = mirror::hosts(world, Prover::Podman).into_iter().map(str::to_owned).collect();
        let fetched = mirror_containerd::authority(world, mirror)?;
        let mut drawn = Drawn { notes: of_choice(&choice), ..Drawn::default() };
        for host in &hosts {
            let machine = &world.machines[host];
            let Some(podman) = &machine.podman else { continue };
            let files =
                files(machine, podman, mirror, &choice, fetched.as_deref()).map_err(|why| format!("host `{host}`: {why}"))?;
            drawn.notes.extend(of_host(host, machine, mirror));
            let daemon = podman.crio.then(|| TakesUp::Unit { unit: "crio".to_owned(), restart: false });
            let place = registries_conf::drop_in(&choice).registries[0].mirrors[0].location.clone();
            let (scheme, _) = choice.url.split_once("://").unwrap_or(("https", ""));
            let proof = Proof { by: Prover::Podman, image: mirror.image.clone(), mirror: format!("{scheme}://{place}") };
            drawn.changes.push(Change::Configure { host: host.clone(), files, daemon, proof: Some(proof) });
        }
        let of: std::collections::BTreeSet<String> = hosts.iter().cloned().collect();
        drawn.checks.push(Check::Configuration { of: Prover::Podman, hosts: of.clone(), restart: false });
        let (registries, image) = (mirror.registries.clone(), mirror.image.clone());
        drawn.checks.push(Check::Overruled { registries, image, hosts: of });
        let asks = if hosts.len() == 1 { "asks" } else { "ask" };
        let hosts = text::count(hosts.len() as u64, "host");
        let registries = mirror.registries.join(", ");
        let first = if mirror.only { "and nothing else" } else { "first" };
        drawn.summary = format!("{hosts} {asks} {} {first} for images of {registries}; a pull as a proof", choice.root());
        Ok(drawn)
    }
}

/// The mirror of the runbook as a drop-in knows it.
fn choice(mirror: &Mirror) -> MirrorChoice {
    let login = mirror.username.clone().zip(mirror.password.clone()).map(|(user, secret)| Login { user, secret });
    MirrorChoice {
        url: mirror.url.clone(),
        path: mirror.path.clone(),
        ca: None,
        skip_tls: mirror.skip_tls,
        login,
        mirror_only: mirror.only,
        registries: mirror.registries.clone(),
    }
}

/// In the order in which they are written: the authority, then who needs it.
fn files(
    machine: &Machine,
    podman: &Podman,
    mirror: &Mirror,
    choice: &MirrorChoice,
    fetched: Option<&str>,
) -> Result<Vec<FileDiff>, String> {
    let mut out = vec![];
    let found = |path: &str| machine.files.get(path).cloned().flatten();
    let missing = |folder: &str| podman.missing.iter().find(|missing| *missing == folder).cloned();
    let authority = podman.authority(choice.host());
    match &mirror.ca {
        Some(ca) if *ca != authority => {
            let text = match fetched {
                Some(pem) => pem.to_owned(),
                None => found(ca).ok_or_else(|| format!("`{ca}`, the `ca` of `[mirror]`, is not there"))?.text,
            };
            if text.contains("(hidden ") {
                return Err(format!("`{ca}`, the `ca` of `[mirror]`, holds more than certificates: castoff copies no key"));
            }
            let folders = [&podman.certs, &format!("{}/{}", podman.certs, choice.host())];
            let folders = folders.into_iter().filter_map(|folder| missing(folder)).collect();
            let after = Some(FileText { text, mode: None });
            out.push(FileDiff { before: found(&authority), path: authority, after, between: vec![], folders });
        }
        _ => {}
    }
    let written = registries_conf::file(choice, &podman.folder);
    let (before, folders) = (found(&written.path), missing(&podman.folder).into_iter().collect());
    let after = Some(FileText { text: written.text, mode: None });
    out.push(FileDiff { path: written.path, before, after, between: vec![], folders });
    Ok(out)
}

/// What a drop-in cannot say, and what it says beside what was asked for.
fn of_choice(choice: &MirrorChoice) -> Vec<Problem> {
    let mut out = registries_conf::unsaid(choice);
    if let Some(why) = mirror_choice::collisions(&choice.registries) {
        out.push(Problem::new(format!("mirror {}:", choice.host()), why));
    }
    if choice.mirror_only {
        let why = "blocked for everything but pulls by the mirror: a push there fails";
        out.push(Problem::new(format!("{}:", choice.registries.join(", ")), why));
    }
    out
}

fn of_host(host: &str, machine: &Machine, mirror: &Mirror) -> Vec<Problem> {
    let mut out = registries_conf::sharing(machine, &mirror.registries, &mirror.image);
    for (name, registry) in registries_conf::replaced(machine, &mirror.registries) {
        let why = format!("says of `{registry}` something that does not count any more: ours is read after it");
        out.push(Problem::new(format!("drop-in `{name}`"), why));
    }
    out.into_iter().map(|problem| Problem { place: Some(host.to_owned()), ..problem }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Digest, FileState};
    use std::collections::BTreeMap;

    const CERTS: &str = "/etc/containers/certs.d";

    fn planned(mirror: &str, edit: fn(&mut Podman), files: &[(&str, &str)]) -> Result<Drawn, String> {
        let mirror: Mirror = toml::from_str(&format!("url = 'https://m.example:5000'\n{mirror}")).unwrap();
        let folder = "/etc/containers/registries.conf.d".to_owned();
        let mut podman = Podman { folder, certs: CERTS.to_owned(), missing: vec![CERTS.to_owned()], ..Podman::default() };
        edit(&mut podman);
        let state = |text: &str| FileState { text: text.into(), sha256: Digest::of(text), mode: 0o644, owner: "0:0".into() };
        let files: BTreeMap<_, _> = files.iter().map(|(path, text)| ((*path).to_owned(), Some(state(text)))).collect();
        let machine = Machine { files, podman: Some(podman), ..Machine::default() };
        let world = Inventory { machines: [("build-1".to_owned(), machine)].into(), ..Inventory::default() };
        let about = About { moved: &super::super::Move::default(), mirror: Some(&mirror), ledger: &[], earlier: &[] };
        MirrorPodman {}.plan(&world, &about)
    }

    #[test]
    fn one_change_a_host_holds_the_authority_the_drop_in_and_the_reload_of_cri_o() {
        let drawn = planned("ca = '/etc/ssl/m.pem'\npath = 'infra'", |podman| podman.crio = true, &[("/etc/ssl/m.pem", "PEM\n")]);
        let drawn = drawn.unwrap();
        let [Change::Configure { files, daemon, proof, .. }] = &drawn.changes[..] else { panic!("{drawn:?}") };
        assert_eq!(files[0].path, "/etc/containers/certs.d/m.example:5000/ca.crt");
        assert_eq!(
            (files[0].folders.as_slice(), files[0].after.as_ref().unwrap().text.as_str()),
            (&[CERTS.to_owned()][..], "PEM\n")
        );
        assert!(files[1].path.ends_with("registries.conf.d/castoff-mirror.conf") && files[1].folders.is_empty());
        assert!(files[1].after.as_ref().unwrap().text.contains("location = \"m.example:5000/infra\""));
        assert_eq!(daemon.as_ref(), Some(&TakesUp::Unit { unit: "crio".to_owned(), restart: false }));
        assert_eq!(proof.as_ref().unwrap().mirror, "https://m.example:5000/infra");
        assert_eq!(drawn.notes, []);
    }

    #[test]
    fn what_podman_cannot_do_is_refused_or_told() {
        let refused = |mirror: &str, files: &[(&str, &str)]| planned(mirror, |_| (), files).unwrap_err();
        assert!(refused("ca = 'https://m.example/ca.pem'", &[]).contains("it was not fetched"));
        assert!(refused("ca = '/etc/ssl/m.pem'", &[]).contains("host `build-1`: `/etc/ssl/m.pem`"));
        assert!(refused("ca = '/etc/ssl/m.pem'", &[("/etc/ssl/m.pem", "(hidden 1)")]).contains("castoff copies no key"));
        assert!(refused("registries = ['quay.io']", &[]).contains("is of none of its `registries`"));
        assert!(refused("registries = ['docker.io', 'm.example:5000']", &[]).contains("is the mirror itself"));
        let told = |mirror: &str| format!("{:?}", planned(mirror, |_| (), &[]).unwrap().notes);
        assert!(told("username = 'kim'\npassword = 'mirror'").contains("podman login m.example:5000"));
        assert!(told("only = true").contains("a push there fails"));
        assert!(told("registries = ['docker.io', 'quay.io']").contains("share one path space"));
    }
}
