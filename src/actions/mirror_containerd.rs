//! `mirror-containerd`: every containerd asks the mirror first for the images of its registries, by one `hosts.toml` for each.
//! `config.toml` is changed, and containerd restarted, only where it does not read such a folder yet.

use super::{About, Action, Drawn, Mirror, mirror};
use crate::model::{
    Change, Check, ContainerdDaemon, Cri, FileDiff, FileState, FileText, Inventory, Machine, MachineWants, Part, Problem, Proof,
    Prover, TakenUp, TakesUp, Wants, containerd_config, hosts_toml,
    mirror_choice::{self, Login, MirrorChoice},
};
use serde::Deserialize;
use std::collections::BTreeSet;

/// The file of an authority that castoff fetched, in the mirror's own folder. Not `*.crt`: that has a meaning there.
const AUTHORITY: &str = "castoff-ca.pem";

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct MirrorContainerd {}

impl Action for MirrorContainerd {
    fn wants(&self, about: &About<'_>) -> Wants {
        let mirror = about.mirror();
        let path = mirror.ca.iter().filter(|ca| ca.starts_with('/')).cloned().collect();
        let machines = MachineWants { files: path, fetch: mirror.fetch(), ..mirror::wants(Prover::Containerd) };
        Wants { parts: [Part::Machines].into(), machines, ..Wants::default() }
    }

    fn plan(&self, world: &Inventory, about: &About<'_>) -> Result<Drawn, String> {
        let mirror = about.mirror();
        if !mirror.registries.contains(&mirror.image.registry) {
            let (image, registry) = (&mirror.image, &mirror.image.registry);
            return Err(format!(
                "`{image}`, the `image` of `[mirror]`, proves nothing: `{registry}` is not one of its `registries`"
            ));
        }
        let authority = authority(world, mirror)?;
        let hosts = mirror::hosts(world, Prover::Containerd);
        let (mut drawn, mut wrong, mut restarted) = (Drawn::default(), vec![], vec![]);
        for host in &hosts {
            let machine = &world.machines[*host];
            let Some(daemon) = &machine.containerd else { continue };
            let one = One { host, machine, daemon, choice: choice(mirror, daemon), authority: authority.as_deref() };
            match one.change(mirror) {
                Ok(change) => {
                    if let Change::Configure { daemon: Some(takes_up), .. } = &change
                        && takes_up.restarts()
                    {
                        restarted.push(*host);
                    }
                    drawn.changes.push(change);
                }
                Err(why) => wrong.push(why),
            }
            drawn.notes.extend(one.notes());
        }
        if !wrong.is_empty() {
            wrong.dedup();
            return Err(wrong.join("; "));
        }
        if let Some(note) = mirror_choice::collisions(&mirror.registries) {
            drawn.notes.push(Problem::new(format!("mirror {}", mirror.host()), note));
        }
        if !restarted.is_empty() {
            let hosts = restarted.join(", ");
            drawn.warnings.push(format!("containerd restarts on {hosts}: containers go on, and kubelet waits for some seconds."));
        }
        let of = hosts.iter().map(|host| (*host).to_owned()).collect();
        drawn.checks.push(Check::Configuration { of: Prover::Containerd, hosts: of, restart: !restarted.is_empty() });
        let order = if mirror.only { "alone" } else { "first" };
        let restarts = match (restarted.len(), hosts.len()) {
            (0, _) => "no restart".to_owned(),
            (n, all) if n == all => "each is restarted".to_owned(),
            (n, all) => format!("{n} of {all} restarted"),
        };
        drawn.summary = format!(
            "containerd on {} asks {} {order} for images of {}; {restarts}, then a pull as a proof",
            crate::model::text::count(hosts.len() as u64, "host"),
            mirror.url.trim_end_matches('/'),
            mirror.registries.join(", "),
        );
        Ok(drawn)
    }
}

/// The text of the authority that castoff fetched, if it is one to be fetched.
pub(super) fn authority(world: &Inventory, mirror: &Mirror) -> Result<Option<String>, String> {
    let Some(url) = mirror.ca.as_ref().filter(|ca| !ca.starts_with('/')) else { return Ok(None) };
    match world.fetched.get(url) {
        Some(pem) => Ok(Some(pem.clone())),
        None => {
            let unread = world.unanswered.iter().find(|unread| unread.subject.contains(url.as_str()));
            let why = unread.map_or_else(|| "it was not fetched".to_owned(), |unread| unread.why.clone());
            Err(format!("`{url}`, the `ca` of `[mirror]`: {why}"))
        }
    }
}

/// The choice as this host sees it: an authority that is fetched is put into the mirror's own folder.
fn choice(mirror: &Mirror, daemon: &ContainerdDaemon) -> MirrorChoice {
    let own = hosts_toml::folder(&daemon.folders, mirror.host());
    let ca =
        mirror.ca.as_ref().map(|ca| if ca.starts_with('/') { ca.clone() } else { format!("{}/{own}/{AUTHORITY}", daemon.certs) });
    let login = mirror.username.clone().zip(mirror.password.clone()).map(|(user, secret)| Login { user, secret });
    MirrorChoice {
        url: mirror.url.clone(),
        path: mirror.path.clone(),
        ca,
        skip_tls: mirror.skip_tls,
        login,
        mirror_only: mirror.only,
        registries: mirror.registries.clone(),
    }
}

/// One host, and what is wanted of it.
struct One<'a> {
    host: &'a str,
    machine: &'a Machine,
    daemon: &'a ContainerdDaemon,
    choice: MirrorChoice,
    authority: Option<&'a str>,
}

impl One<'_> {
    fn change(&self, mirror: &Mirror) -> Result<Change, String> {
        if let Some(problem) = self.choice.problems().first() {
            let hint = problem.hint.as_ref().map_or_else(String::new, |hint| format!(": {hint}"));
            return Err(format!("{}{hint}", problem.words()));
        }
        self.authority_is_there()?;
        let mut files = vec![];
        let mut made = BTreeSet::new();
        if let (Some(text), Some(path)) = (self.authority, &self.choice.ca) {
            let before = self.before(path);
            let after = Some(FileText { text: text.to_owned(), mode: before.is_none().then_some(0o644) });
            files.push(self.diff(path.clone(), before, after, &mut made));
        }
        let registries = std::iter::once(self.choice.host()).chain(self.choice.registries.iter().map(String::as_str));
        for (registry, wanted) in registries.zip(hosts_toml::files(&self.choice, &self.daemon.certs)) {
            let folder = hosts_toml::folder(&self.daemon.folders, registry);
            let path = format!("{}/{folder}/hosts.toml", self.daemon.certs);
            let before = self.before(&path);
            let text = match &before {
                // What means the same stays as somebody wrote it, unless it may hold another login.
                Some(before) if self.choice.login.is_none() && hosts_toml::same(&before.text, &wanted.text, registry) => {
                    before.text.clone()
                }
                _ => wanted.text,
            };
            // A login is for root alone; a file without one keeps the mode it has.
            let mode = (before.is_none() || self.choice.login.is_some()).then_some(wanted.mode);
            files.push(self.diff(path, before, Some(FileText { text, mode }), &mut made));
        }
        let daemon = self.takes_up();
        if daemon.as_ref().is_some_and(|daemon| !daemon.is_equal()) {
            files.push(self.config(&mut made)?);
        }
        let root = self.choice.root();
        let place = if mirror.path.is_empty() { String::new() } else { format!("v2/{}/", mirror.path) };
        let proof = Proof { by: Prover::Containerd, image: mirror.image.clone(), mirror: format!("{root}/{place}") };
        Ok(Change::Configure { host: self.host.to_owned(), files, daemon, proof: Some(proof) })
    }

    /// A `ca` that is missing, or is none, ends every pull: nobody else is asked then.
    fn authority_is_there(&self) -> Result<(), String> {
        let Some(path) = self.choice.ca.as_ref().filter(|_| self.authority.is_none()) else { return Ok(()) };
        let told = |why: &str| Err(format!("`{path}`, the `ca` of `[mirror]`, {why} on `{}`: every pull would fail", self.host));
        match self.before(path) {
            None => told("is not there"),
            Some(state) if !state.text.contains("-----BEGIN CERTIFICATE-----") => told("holds no certificate"),
            Some(_) => Ok(()),
        }
    }

    /// Without its CRI plugin nothing reads `config_path`.
    fn takes_up(&self) -> Option<TakesUp> {
        let before = self.daemon.config_path.clone();
        // A `/` at its end makes no other folder.
        let after = if before.trim_end_matches('/') == self.daemon.certs { &before } else { &self.daemon.certs }.clone();
        let taken_up = self.daemon.taken_up.clone();
        (self.daemon.cri != Cri::Absent).then_some(TakesUp::Containerd { before, after, taken_up })
    }

    fn config(&self, made: &mut BTreeSet<String>) -> Result<FileDiff, String> {
        let path = &self.daemon.config;
        let before = self.before(path);
        let old = before.as_ref().map(|state| state.text.as_str());
        let conflicts = containerd_config::conflicts(old.unwrap_or_default(), self.daemon);
        if let Some(problem) = conflicts.first() {
            let hint = problem.hint.as_ref().map_or_else(String::new, |hint| format!(" ({hint})"));
            return Err(format!("`{path}` of `{}`: {}{hint}", self.host, problem.why));
        }
        let text = containerd_config::set_config_path(old, self.daemon.format, &self.daemon.certs)
            .map_err(|why| format!("`{path}` of `{}`: {why}", self.host))?;
        Ok(self.diff(path.clone(), before, Some(FileText { text, mode: None }), made))
    }

    fn before(&self, path: &str) -> Option<FileState> {
        self.machine.files.get(path).cloned().flatten()
    }

    /// With the folders on its way that are missing and that no file before it makes.
    fn diff(&self, path: String, before: Option<FileState>, after: Option<FileText>, made: &mut BTreeSet<String>) -> FileDiff {
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
        let own = folder.strip_prefix(&format!("{}/", self.daemon.certs));
        let own = own.filter(|name| !self.daemon.folders.contains_key(*name)).map(|_| folder.clone());
        let above = self.daemon.absent.iter().filter(|absent| format!("{folder}/").starts_with(&format!("{absent}/"))).cloned();
        let missing = above.chain(own).filter(|_| before.is_none());
        let folders = missing.filter(|folder| made.insert(folder.clone())).collect();
        FileDiff { path, before, after, between: vec![], folders }
    }

    /// What has to be known of what is there.
    fn notes(&self) -> Vec<Problem> {
        let daemon = self.daemon;
        let mut out = vec![];
        if daemon.cri == Cri::Absent {
            let hint = "its config.toml is left as it is; Docker 28 and later reads such files in its own folder of certificates";
            let why = format!("has no CRI plugin: of what stands in {} only `ctr --hosts-dir` takes notice", daemon.certs);
            out.push(Problem { hint: Some(hint.to_owned()), ..Problem::new("containerd", why) });
        }
        if self.takes_up().is_some_and(|takes_up| !takes_up.is_equal()) {
            let text = self.before(&daemon.config).map(|state| state.text).unwrap_or_default();
            out.extend(containerd_config::lint(&text, daemon));
        }
        let stale = match &daemon.taken_up {
            TakenUp::Yes => None,
            TakenUp::Uses(path) if path.is_empty() => Some("reads no folder: it".to_owned()),
            TakenUp::Uses(path) => Some(format!("goes on with `{path}`: it")),
            TakenUp::Unknown => Some("does not say what it uses, and".to_owned()),
        };
        if let Some(stale) = stale.filter(|_| daemon.cri != Cri::Absent) {
            let why = format!("{stale} was not restarted since {} was changed", daemon.config);
            let hint = "the run restarts it; a rollback leaves it so".to_owned();
            out.push(Problem { hint: Some(hint), ..Problem::new("containerd", why) });
        }
        if daemon.cri != Cri::Absent && daemon.config_path.contains(':') {
            let why = format!("reads the list `{}`, and then {} alone", daemon.config_path, daemon.certs);
            let hint = "move over what is needed of the other folders".to_owned();
            out.push(Problem { hint: Some(hint), ..Problem::new("containerd", why) });
        }
        let registries: Vec<String> =
            std::iter::once(self.choice.host().to_owned()).chain(self.choice.registries.iter().cloned()).collect();
        let ours: BTreeSet<String> = registries.iter().map(|registry| hosts_toml::folder(&daemon.folders, registry)).collect();
        // The files are written where they are read: into the folder that goes before.
        let before: Vec<String> =
            registries.iter().map(|registry| format!("folder `{}`", hosts_toml::underlined(registry))).collect();
        let plain: Vec<String> = registries.iter().map(|registry| format!("folder `{registry}`")).collect();
        let shadows = hosts_toml::shadows(&daemon.folders, &registries).into_iter();
        out.extend(shadows.filter(|note| !before.contains(&note.subject) || plain.contains(&note.subject)));
        for (folder, files) in &daemon.folders {
            let path = format!("{}/{folder}/hosts.toml", daemon.certs);
            let Some(state) = self.before(&path).filter(|_| files.iter().any(|name| name == "hosts.toml")) else { continue };
            let found = hosts_toml::lint(folder, &state.text, &daemon.version);
            if !ours.contains(folder) {
                out.extend(found);
                continue;
            }
            let registry = registries.iter().find(|registry| hosts_toml::folder(&daemon.folders, registry) == *folder);
            let stays = registry.is_none_or(|registry| self.stays(registry, &state));
            if let Some(login) = self.choice.login.as_ref().filter(|_| stays) {
                let why = format!("whether its login is `{}` with the secret `{}` cannot be seen here", login.user, login.secret);
                let hint = Some("the run compares it, and writes it where it is another".to_owned());
                out.push(Problem { hint, ..Problem::new(format!("{folder}/hosts.toml"), why) });
            }
            if !stays {
                let hint = found.first().map(|flaw| format!("as it stands: {}", flaw.why));
                let why = "is there and means something else: it is replaced, and a rollback gives it back";
                out.push(Problem { hint, ..Problem::new(format!("{folder}/hosts.toml"), why) });
            }
        }
        out.into_iter().map(|note| Problem { place: Some(self.host.to_owned()), ..note }).collect()
    }

    fn stays(&self, registry: &str, state: &FileState) -> bool {
        let registries = std::iter::once(self.choice.host()).chain(self.choice.registries.iter().map(String::as_str));
        let wanted = registries.zip(hosts_toml::files(&self.choice, &self.daemon.certs));
        wanted.into_iter().any(|(of, file)| of == registry && hosts_toml::same(&state.text, &file.text, registry))
    }
}
