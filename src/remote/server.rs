//! Takes connections at the socket of a run, tells each what it may know, and hands its commands on.
//! Never trusts what a peer says about itself, and never lets one connection disturb another or the run.

use super::{
    hub::{Hub, Seat},
    peer,
    place::{self, Place},
    wire::{self, ASK_LIMIT, Say, Wish},
};
use std::{io, path::Path, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncWriteExt, BufReader},
    net::{
        UnixListener, UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::mpsc::Receiver,
    task::AbortHandle,
};

/// The open socket of a run; closed and removed when this is dropped.
pub struct Socket {
    place: Place,
    listening: AbortHandle,
}

impl Socket {
    /// Opens the socket of a run whose lock is held. `runtime` is `$XDG_RUNTIME_DIR`.
    pub fn open(hub: Hub, folder: &Path, run: &str, runtime: Option<&Path>) -> io::Result<Self> {
        let (listener, place) = place::bind(folder, run, runtime)?;
        let listening = tokio::spawn(listen(listener, hub)).abort_handle();
        Ok(Self { place, listening })
    }

    pub fn path(&self) -> &Path {
        &self.place.path
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn listen(listener: UnixListener, hub: Hub) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(receive(stream, hub.clone()));
            }
            // No more files, for example: others may be closed in a moment.
            Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
}

async fn receive(stream: UnixStream, hub: Hub) {
    let uid = match stream.peer_cred() {
        Ok(peer) => peer.uid(),
        Err(error) => return turn_away(stream, format!("who asks cannot be told: {error}")).await,
    };
    if let Some(why) = peer::refused(uid) {
        return turn_away(stream, why).await;
    }
    let Some(seat) = hub.join() else {
        return turn_away(stream, "the run ends, or too many terminals look on already".to_owned()).await;
    };
    let id = seat.id;
    let task = tokio::spawn(serve(stream, uid, hub.clone(), seat));
    hub.attend(id, task.abort_handle());
    let _ = task.await;
    hub.leave(id);
}

async fn turn_away(mut stream: UnixStream, why: String) {
    let words = wire::line(Say::Refused(why));
    let _ = tokio::time::timeout(Duration::from_secs(1), stream.write_all(words.as_bytes())).await;
}

async fn serve(stream: UnixStream, uid: u32, hub: Hub, seat: Seat) {
    let (read, mut write) = stream.into_split();
    let Seat { id, greeting, mut lines, alive: _alive } = seat;
    let listened = listen_to(read, uid, &hub, id);
    let spoken = speak(&mut write, greeting, &mut lines);
    tokio::select! {
        why = listened => {
            // It is told why it is let go, after what was on its way to it.
            hub.say(id, Say::Refused(why));
            hub.leave(id);
        }
        () = spoken => return,
    }
    let _ = tokio::time::timeout(Duration::from_secs(1), speak(&mut write, vec![], &mut lines)).await;
}

async fn speak(write: &mut OwnedWriteHalf, greeting: Vec<Arc<str>>, lines: &mut Receiver<Arc<str>>) {
    for line in greeting {
        if write.write_all(line.as_bytes()).await.is_err() {
            return;
        }
    }
    while let Some(line) = lines.recv().await {
        if write.write_all(line.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// Hands on what is asked. Comes back only with a reason to end the connection.
async fn listen_to(read: OwnedReadHalf, uid: u32, hub: &Hub, id: u64) -> String {
    let mut from = BufReader::new(read);
    loop {
        let line = match wire::read_line(&mut from, ASK_LIMIT).await {
            Ok(Some(line)) => line,
            // It has nothing to ask any more, and may go on looking.
            Ok(None) => std::future::pending().await,
            Err(error) => return error.to_string(),
        };
        match wire::parse::<Wish>(&line) {
            Ok(Wish { ask, .. }) => hub.ask(id, ask.id, peer::by(uid, &ask), ask.command),
            Err(why) => return why,
        }
    }
}
