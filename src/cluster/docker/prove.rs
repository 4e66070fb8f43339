//! Pulls a small image by its name, as anybody on the host would, and takes it away again. Who served it the engine's
//! answers do not tell: that is read from its log by whoever asks.

use super::{DockerEngine, ask, named, pull::PATIENCE, pull::follow};
use crate::{
    cluster::Report,
    model::{Fault, ImageRef},
};
use bollard::query_parameters::{CreateImageOptionsBuilder, RemoveImageOptionsBuilder};

impl DockerEngine {
    /// Whether the name is there.
    pub async fn holds(&self, image: &ImageRef) -> Result<bool, Fault> {
        let what = self.what("cannot ask");
        Ok(named(&self.client().await?, &what, &image.to_string()).await?.is_some())
    }

    /// Without a login: none may reach a mirror.
    pub async fn pull_by_name(&self, image: &ImageRef, report: Report<'_>) -> Result<(), Fault> {
        let what = format!("cannot pull `{}` on `{}`", image.familiar(), self.name);
        let repository = format!("{}/{}", image.registry, image.repository);
        let options = CreateImageOptionsBuilder::default().from_image(&repository).tag(&image.tag).build();
        let patient = self.client().await?.with_timeout(PATIENCE.give_up + PATIENCE.silent);
        follow(patient.create_image(Some(options), None, None), &what, 0, PATIENCE, report).await
    }

    /// Takes a name away that was pulled as a proof. A container that somebody has made of it meanwhile keeps it.
    pub async fn forget(&self, image: &ImageRef) -> Result<(), Fault> {
        let what = format!("cannot remove `{}` on `{}`", image.familiar(), self.name);
        let options = RemoveImageOptionsBuilder::default().force(false).build();
        ask(&what, self.client().await?.remove_image(&image.to_string(), Some(options), None)).await.map(drop)
    }
}
