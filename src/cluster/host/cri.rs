//! containerd's CRI plugin, asked as kubelet asks it: to pull an image, and what folder it reads hosts from.
//! It never runs a container, and knows of each message only what it asks and reads.

use prost::Message;
use std::{collections::HashMap, path::Path, time::Duration};
use tonic::{
    Request, Status,
    client::Grpc,
    codegen::http::uri::PathAndQuery,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;

const CONNECT: Duration = Duration::from_secs(5);
const ASK: Duration = Duration::from_secs(20);
const PULL: Duration = Duration::from_mins(5);

/// The plugin behind one socket.
pub struct Service {
    grpc: Grpc<Channel>,
}

#[derive(Clone, PartialEq, Message)]
struct VersionRequest {}

#[derive(Clone, PartialEq, Message)]
struct VersionResponse {}

#[derive(Clone, PartialEq, Message)]
struct ImageSpec {
    #[prost(string, tag = "1")]
    image: String,
}

#[derive(Clone, PartialEq, Message)]
struct PullImageRequest {
    #[prost(message, optional, tag = "1")]
    image: Option<ImageSpec>,
}

#[derive(Clone, PartialEq, Message)]
struct PullImageResponse {
    #[prost(string, tag = "1")]
    image_ref: String,
}

#[derive(Clone, PartialEq, Message)]
struct StatusRequest {
    #[prost(bool, tag = "1")]
    verbose: bool,
}

#[derive(Clone, PartialEq, Message)]
struct StatusResponse {
    #[prost(map = "string, string", tag = "2")]
    info: HashMap<String, String>,
}

impl Service {
    /// `None`: this user may not, nothing listens, or it does not answer. A way through ssh opens whatever the rights behind
    /// it, so it is asked something.
    pub async fn open(socket: &Path) -> Option<Self> {
        let endpoint = Endpoint::from_shared(format!("unix://{}", socket.display())).ok()?.connect_timeout(CONNECT);
        let service = Self { grpc: Grpc::new(endpoint.connect().await.ok()?) };
        let _: VersionResponse = service.ask("/runtime.v1.RuntimeService/Version", VersionRequest {}, CONNECT).await.ok()?;
        Some(service)
    }

    /// The id of the image.
    pub async fn pull(&self, image: &str) -> Result<String, String> {
        let request = PullImageRequest { image: Some(ImageSpec { image: image.to_owned() }) };
        let response: PullImageResponse = self.ask("/runtime.v1.ImageService/PullImage", request, PULL).await?;
        Ok(response.image_ref)
    }

    /// The folder of `hosts.toml` files that the process runs with; empty: none. `None`: it does not say, as from 2.0 on.
    pub async fn config_path(&self) -> Option<String> {
        let request = StatusRequest { verbose: true };
        let response: StatusResponse = self.ask("/runtime.v1.RuntimeService/Status", request, ASK).await.ok()?;
        let config: serde_json::Value = serde_json::from_str(response.info.get("config")?).ok()?;
        Some(config.get("registry")?.get("configPath")?.as_str()?.to_owned())
    }

    async fn ask<Q, A>(&self, path: &'static str, message: Q, deadline: Duration) -> Result<A, String>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let mut grpc = self.grpc.clone();
        let call = async {
            grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
            let mut request = Request::new(message);
            request.set_timeout(deadline);
            let codec: ProstCodec<Q, A> = ProstCodec::default();
            grpc.unary(request, PathAndQuery::from_static(path), codec).await
        };
        match tokio::time::timeout(deadline, call).await {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) => Err(status.message().to_owned()),
            Err(_) => Err(format!("no answer within {} s", deadline.as_secs())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::UnixListener;

    #[tokio::test]
    async fn a_way_that_is_cut_at_once_is_no_service() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s0");
        let listener = UnixListener::bind(&path).unwrap();
        // As ssh does where sshd may not reach the socket.
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                drop(stream);
            }
        });
        assert!(Service::open(&path).await.is_none());
    }
}
