//! Pulls one image by digest and names it, with progress by bytes and a watch for silence.
//! It never takes the end of a stream for success: what is there afterwards is looked at.

use super::{DockerEngine, ask, name_it, named, words};
use crate::{
    cluster::{Report, registry::Credentials},
    model::{Digest, Fault, FaultKind, ImageRef, LayerPhase, LayerProgress, edge, text},
};
use bollard::{auth::DockerCredentials, models::CreateImageInfo, query_parameters::CreateImageOptionsBuilder};
use futures::{Stream, StreamExt};
use secrecy::ExposeSecret;
use std::{collections::BTreeMap, pin::pin, time::Duration};
use tokio::time::{Instant, timeout};

/// How long silence is borne. The engine itself bears it for ever.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Without any word.
    pub(super) silent: Duration,
    /// With words (`Retrying in 5 seconds`), but without a byte.
    still: Duration,
    /// Without any word: the pull is dropped.
    pub(super) give_up: Duration,
    tick: Duration,
}

pub(super) const PATIENCE: Patience = Patience {
    silent: Duration::from_secs(30),
    still: Duration::from_mins(1),
    give_up: Duration::from_mins(5),
    tick: Duration::from_secs(1),
};

/// So often at most the layers are told.
const LAYERS_EVERY: Duration = Duration::from_millis(500);
/// No image has more layers; what a stream names beyond that is not kept.
const MOST_LAYERS: usize = 256;

/// What is to be there in the end.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    pub image: &'a ImageRef,
    /// Of what the registry serves; without it nothing can be pulled.
    pub digest: Option<&'a Digest>,
    pub id: &'a Digest,
    pub before: Option<&'a Digest>,
    /// Compressed bytes that are expected to come; 0: not known.
    pub size_bytes: u64,
}

impl DockerEngine {
    /// `Ok` only if the engine said so and the image is then there under its name. Dropping the future cancels the pull
    /// at the engine.
    pub async fn pull(&self, wanted: &Wanted<'_>, credentials: Option<Credentials>, report: Report<'_>) -> Result<(), Fault> {
        let image = wanted.image;
        let what = format!("cannot pull `{}` on `{}`", image.familiar(), self.name);
        let Some(digest) = wanted.digest else {
            return Err(Fault::new(FaultKind::Missing, what, "no registry serves this very image"));
        };
        let docker = self.client().await?;
        let repository = format!("{}/{}", image.registry, image.repository);
        let options = CreateImageOptionsBuilder::default().from_image(&repository).tag(digest.as_str()).build();
        let login = credentials.map(|login| {
            let secret = Some(login.secret.expose_secret().to_owned());
            let serveraddress = Some(image.registry.clone());
            if login.identity {
                return DockerCredentials { identitytoken: secret, serveraddress, ..DockerCredentials::default() };
            }
            DockerCredentials { username: Some(login.username), password: secret, serveraddress, ..DockerCredentials::default() }
        });
        // Its own watch is below; the head of the answer may come as late as the first event.
        let patient = docker.clone().with_timeout(PATIENCE.give_up + PATIENCE.silent);
        follow(patient.create_image(Some(options), None, login), &what, wanted.size_bytes, PATIENCE, report).await?;

        let pinned = image.pinned(digest);
        let there = named(&docker, &what, &pinned).await?;
        match there {
            Some(found) if found.id == *wanted.id || found.id == *digest => {}
            Some(found) => {
                let why = format!("it is image {}, the plan expects {}", found.id.short(), wanted.id.short());
                return Err(Fault::new(FaultKind::Lasting, what, why));
            }
            None => return Err(Fault::new(FaultKind::Passing, what, "the engine said it is there, but it is not")),
        }
        let now = named(&docker, &what, &image.to_string()).await?.map(|found| found.id);
        if let Some(other) = now.filter(|now| now != wanted.id && now != digest && Some(now) != wanted.before) {
            let why = format!("meanwhile the name means image {}", other.short());
            return Err(Fault::new(FaultKind::Drift, what, why));
        }
        // Only a name keeps it: what was pulled by digest alone goes with the next `docker image prune`.
        name_it(&docker, &what, &pinned, image).await?;
        let named = ask(&what, docker.inspect_image(&image.to_string())).await?.id;
        if named.as_deref().is_some_and(|id| id == wanted.id.as_str() || id == digest.as_str()) {
            Ok(())
        } else {
            Err(Fault::new(FaultKind::Drift, what, "the name was moved by somebody else right after the pull"))
        }
    }
}

/// Listens to the end of a pull. Ends with `Ok` only after the engine's own closing words. However it ends, how far the
/// layers were is the last that is told of them.
pub(super) async fn follow(
    events: impl Stream<Item = super::Answer<CreateImageInfo>>,
    what: &str,
    size_bytes: u64,
    patience: Patience,
    report: Report<'_>,
) -> Result<(), Fault> {
    let mut tally = Tally::new(size_bytes);
    let ended = listen(events, what, patience, &mut tally, report).await;
    report.layers(tally.layers());
    if ended.is_ok() {
        report.progress(tally.phase(), tally.total(), tally.total());
    }
    ended
}

async fn listen(
    events: impl Stream<Item = super::Answer<CreateImageInfo>>,
    what: &str,
    patience: Patience,
    tally: &mut Tally,
    report: Report<'_>,
) -> Result<(), Fault> {
    let mut events = pin!(events);
    let mut layers_at = Instant::now();
    let mut ended_well = false;
    let (mut heard_at, mut moved_at) = (Instant::now(), Instant::now());
    loop {
        match timeout(patience.tick, events.next()).await {
            Ok(None) if ended_well => return Ok(()),
            Ok(None) => {
                return Err(Fault::new(FaultKind::Passing, what, "the engine's answer broke off")
                    .hint("the Docker Engine was probably restarted"));
            }
            // The client stumbles over the end of the last line where that comes in a piece of its own, as by a slow way.
            Ok(Some(Err(e))) if ended_well && words::is_end_of_line(&e) => return Ok(()),
            Ok(Some(Err(e))) => return Err(words::fault(what, &e)),
            Ok(Some(Ok(event))) => {
                heard_at = Instant::now();
                ended_well = event.status.as_deref().is_some_and(|status| status.starts_with("Status: "));
                if tally.hear(&event) {
                    moved_at = heard_at;
                }
            }
            Err(_) => {}
        }
        if heard_at.elapsed() >= patience.give_up {
            let why = format!("the engine reported nothing for {} s", patience.give_up.as_secs());
            return Err(Fault::new(FaultKind::Passing, what, why));
        }
        let stalled = heard_at.elapsed() >= patience.silent || moved_at.elapsed() >= patience.still;
        report.progress(if stalled { "stalled" } else { tally.phase() }, tally.done(), tally.total());
        if layers_at.elapsed() >= LAYERS_EVERY {
            layers_at = Instant::now();
            report.layers(tally.layers());
        }
    }
}

/// The layers of one pull, added up.
struct Tally {
    planned_bytes: u64,
    layers: BTreeMap<String, Part>,
}

/// One layer: bytes that count, and what the engine said of it last.

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Part {
    /// In the order of the engine's first words, lowest layer first.
    order: usize,
    done: u64,
    total: u64,
    loaded: bool,
    unpacked: u64,
    complete: bool,
    /// The host had it: none of its bytes count.
    there: bool,
}

impl Tally {
    fn new(planned_bytes: u64) -> Self {
        Self { planned_bytes, layers: BTreeMap::new() }
    }

    /// Takes one event; whether anything moved.
    fn hear(&mut self, event: &CreateImageInfo) -> bool {
        let (Some(status), Some(layer)) = (event.status.as_deref(), event.id.as_deref()) else { return false };
        // The first event carries the tag where the others carry a layer.
        if status.starts_with("Pulling from") || status.starts_with("Retrying") || layer == "WARNING" {
            return false;
        }
        let order = self.layers.len();
        if order >= MOST_LAYERS && !self.layers.contains_key(layer) {
            return false;
        }
        let part = self.layers.entry(layer.to_owned()).or_insert(Part { order, ..Part::default() });
        if status == "Already exists" {
            *part = Part { order: part.order, there: true, ..Part::default() };
            return true;
        }
        let was = *part;
        let detail = event.progress_detail.as_ref();
        let number = |value: Option<i64>| value.and_then(|value| u64::try_from(value).ok()).map_or(0, edge::bounded);
        let (current, total) = (number(detail.and_then(|d| d.current)), number(detail.and_then(|d| d.total)));
        match status {
            "Downloading" => {
                part.total = part.total.max(total);
                // After a retry it counts from the start again, and the total may be missing.
                part.done = part.done.max(current);
            }
            "Verifying Checksum" | "Download complete" => part.loaded = true,
            "Extracting" => {
                part.loaded = true;
                part.total = part.total.max(total);
                part.unpacked = part.unpacked.max(current);
            }
            "Pull complete" => {
                part.loaded = true;
                part.complete = true;
                part.unpacked = part.total;
            }
            _ => {}
        }
        if part.total > 0 {
            part.done = if part.loaded { part.total } else { part.done.min(part.total) };
        }
        *part != was
    }

    fn done(&self) -> u64 {
        // A small layer comes without a word about its size.
        if self.all_loaded() { self.total() } else { self.layers.values().map(|part| part.done).sum::<u64>().min(self.total()) }
    }

    fn total(&self) -> u64 {
        self.planned_bytes.max(self.layers.values().map(|part| part.total.max(part.done)).sum())
    }

    fn phase(&self) -> &'static str {
        if self.all_loaded() { "unpacking" } else { "pulling" }
    }

    fn all_loaded(&self) -> bool {
        let mut coming = self.layers.values().filter(|part| !part.there).peekable();
        coming.peek().is_some() && coming.all(|part| part.loaded)
    }

    /// What a person is shown of them.
    fn layers(&self) -> Vec<LayerProgress> {
        let mut parts: Vec<_> = self.layers.iter().collect();
        parts.sort_by_key(|(_, part)| part.order);
        let layer = |(id, part): (&String, &Part)| LayerProgress {
            id: text::clean(id).chars().take(12).collect(),
            phase: match part {
                Part { there: true, .. } => LayerPhase::There,
                Part { complete: true, .. } => LayerPhase::Done,
                Part { unpacked: 1.., .. } => LayerPhase::Unpacking,
                Part { loaded: true, .. } => LayerPhase::Pulled,
                Part { done: 1.., .. } => LayerPhase::Pulling,
                _ => LayerPhase::Waiting,
            },
            done: part.done,
            total: part.total,
            unpacked: part.unpacked,
        };
        parts.into_iter().map(layer).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bollard::models::ProgressDetail;
    use std::sync::Mutex;

    fn event(id: &str, status: &str, current: i64, total: i64) -> CreateImageInfo {
        let some = |n: i64| (n > 0).then_some(n);
        CreateImageInfo {
            id: Some(id.to_owned()),
            status: Some(status.to_owned()),
            progress_detail: Some(ProgressDetail { current: some(current), total: some(total) }),
            ..CreateImageInfo::default()
        }
    }

    #[test]
    fn bytes_of_layers_are_added_up_and_never_go_back() {
        let mut tally = Tally::new(1000);
        let mut steps = vec![];
        for (id, status, current, total) in [
            ("sha256:00", "Pulling from stable/python", 0, 0),
            ("aaaaaaaaaaaa", "Pulling fs layer", 0, 0),
            ("cccccccccccc", "Pulling fs layer", 0, 0),
            ("cccccccccccc", "Already exists", 0, 0),
            ("bbbbbbbbbbbb", "Waiting", 0, 0),
            ("aaaaaaaaaaaa", "Downloading", 300, 600),
            ("aaaaaaaaaaaa", "Retrying in 5 seconds", 0, 0),
            ("aaaaaaaaaaaa", "Downloading", 100, 0),
            ("aaaaaaaaaaaa", "Downloading", 900, 600),
            ("aaaaaaaaaaaa", "Download complete", 0, 0),
            ("bbbbbbbbbbbb", "Downloading", 100, 400),
            ("aaaaaaaaaaaa", "Extracting", 50, 600),
            ("bbbbbbbbbbbb", "Verifying Checksum", 0, 0),
            ("aaaaaaaaaaaa", "Pull complete", 0, 0),
        ] {
            let moved = tally.hear(&event(id, status, current, total));
            steps.push((moved, tally.phase(), tally.done(), tally.total()));
        }
        let done: Vec<u64> = steps.iter().map(|step| step.2).collect();
        assert_eq!(done, [0, 0, 0, 0, 0, 300, 300, 300, 600, 600, 700, 700, 1000, 1000]);
        assert!(steps.iter().all(|step| step.3 == 1000));
        assert_eq!(steps[11].1, "pulling");
        assert_eq!(steps[12].1, "unpacking");
        assert!(!steps[6].0, "a retry is no progress");
        assert!(!steps[7].0, "counting again from the start is no progress");
    }

    /// Streams of engines that are broken or lie, line by line as the client hands them on.
    #[test]
    fn no_stream_of_the_corpus_leads_astray() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/engine-stream");
        let mut heard = 0;
        for file in std::fs::read_dir(folder).unwrap() {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            let mut tally = Tally::new(1000);
            for line in bytes.split(|byte| *byte == b'\n') {
                let Ok(event) = serde_json::from_slice::<CreateImageInfo>(line) else { continue };
                heard += 1;
                tally.hear(&event);
                assert!(tally.done() <= tally.total());
                for layer in tally.layers() {
                    assert!(text::is_clean(&layer.id) && layer.id.chars().count() <= 12);
                }
                let said = event.error_detail.and_then(|detail| detail.message).unwrap_or_default();
                let fault = words::from_text("cannot pull", &said, None);
                assert!(text::is_clean(&fault.why), "{fault}");
            }
        }
        assert!(heard > 6, "{heard} lines");
    }

    #[test]
    fn every_layer_is_told_with_what_came_and_what_is_unpacked() {
        let mut tally = Tally::new(1000);
        for (id, status, current, total) in [
            ("sha256:00", "Pulling from stable/python", 0, 0),
            ("ffffffffffff", "Pulling fs layer", 0, 0),
            ("aaaaaaaaaaaa", "Pulling fs layer", 0, 0),
            ("bbbbbbbbbbbb", "Pulling fs layer", 0, 0),
            ("cccccccccccc", "Waiting", 0, 0),
            ("ffffffffffff", "Already exists", 0, 0),
            ("aaaaaaaaaaaa", "Downloading", 600, 600),
            ("aaaaaaaaaaaa", "Extracting", 150, 600),
            ("bbbbbbbbbbbb", "Downloading", 100, 400),
        ] {
            tally.hear(&event(id, status, current, total));
        }
        let told: Vec<_> = tally.layers().into_iter().map(|l| (l.id, l.phase, l.done, l.total, l.unpacked)).collect();
        let layer = |id: &str, phase, done, total, unpacked| (id.to_owned(), phase, done, total, unpacked);
        assert_eq!(
            told,
            [
                layer("ffffffffffff", LayerPhase::There, 0, 0, 0),
                layer("aaaaaaaaaaaa", LayerPhase::Unpacking, 600, 600, 150),
                layer("bbbbbbbbbbbb", LayerPhase::Pulling, 100, 400, 0),
                layer("cccccccccccc", LayerPhase::Waiting, 0, 0, 0),
            ]
        );
    }

    #[test]
    fn a_stream_that_names_layers_without_end_is_not_kept() {
        let mut tally = Tally::new(1000);
        for n in 0..10_000 {
            tally.hear(&event(&format!("{n:012}\u{1b}[2J"), "Downloading", 1, 2));
        }
        let layers = tally.layers();
        assert_eq!(layers.len(), MOST_LAYERS);
        assert!(layers.iter().all(|layer| layer.id.len() == 12));
    }

    fn run(events: Vec<super::super::Answer<CreateImageInfo>>, silent_at_the_end: bool) -> (Result<(), Fault>, Vec<String>) {
        let patience = Patience {
            silent: Duration::from_millis(300),
            still: Duration::from_millis(600),
            give_up: Duration::from_secs(2),
            tick: Duration::from_millis(100),
        };
        let phases = Mutex::new(vec![]);
        let report = |phase: &str, _: u64, _: u64| phases.lock().unwrap().push(phase.to_owned());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let ended = runtime.block_on(async {
            let heard = futures::stream::iter(events);
            if silent_at_the_end {
                follow(heard.chain(futures::stream::pending()), "x", 10, patience, &report).await
            } else {
                follow(heard, "x", 10, patience, &report).await
            }
        });
        (ended, phases.into_inner().unwrap())
    }

    fn status(text: &str) -> CreateImageInfo {
        CreateImageInfo { status: Some(text.to_owned()), ..CreateImageInfo::default() }
    }

    #[test]
    fn only_the_closing_words_are_success() {
        let closing = "Status: Downloaded newer image for cr.backend.ai/stable/python@sha256:00";
        assert_eq!(run(vec![Ok(status("Digest: sha256:00")), Ok(status(closing))], false).0, Ok(()));
        let broken_off = run(vec![Ok(event("aaaaaaaaaaaa", "Downloading", 5, 10))], false).0.unwrap_err();
        assert_eq!(broken_off.kind, FaultKind::Passing);
        let error = bollard::errors::Error::DockerStreamError { error: "toomanyrequests: slow down".to_owned() };
        let refused = run(vec![Ok(status("Digest: sha256:00")), Err(error)], false).0.unwrap_err();
        assert_eq!((refused.kind, refused.why.as_str()), (FaultKind::Passing, "toomanyrequests: slow down"));
    }

    #[test]
    fn silence_is_shown_and_then_ends_the_pull() {
        let (ended, phases) = run(vec![Ok(event("aaaaaaaaaaaa", "Downloading", 5, 10))], true);
        assert_eq!(ended.unwrap_err().kind, FaultKind::Passing);
        assert_eq!(phases.first().map(String::as_str), Some("pulling"));
        assert_eq!(phases.last().map(String::as_str), Some("stalled"));
    }
}
