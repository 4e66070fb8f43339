//! What goes over the socket: the two kinds of lines, and how a line is read.
//! Never a line without its version, and never one without an end.

use crate::model::{Command, Event, Plan, edge};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{io, sync::Arc};
use tokio::io::{AsyncBufRead, AsyncBufReadExt};

/// Version of the protocol: the `v` of every line.
pub const VERSION: u32 = 1;
/// No client has more to say.
pub const ASK_LIMIT: usize = 16 << 10;
/// The plan of a large cluster is one line.
pub const SAY_LIMIT: usize = 256 << 20;

/// From the server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    pub v: u32,
    pub say: Say,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Say {
    Hello(Box<Hello>),
    Event(Event),
    Ready,
    Answer {
        id: u64,
        #[serde(default, deserialize_with = "edge::maybe")]
        refused: Option<String>,
    },
    Refused(#[serde(deserialize_with = "edge::line")] String),
    Bye,
}

/// Which run this is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Hello {
    #[serde(deserialize_with = "edge::line")]
    pub run: String,
    #[serde(deserialize_with = "edge::line")]
    pub cluster: String,
    pub simulated: bool,
    /// Who runs it: name, host, process, since when.
    #[serde(deserialize_with = "edge::line")]
    pub holder: String,
    /// It goes on; otherwise it is still being looked at before its begin.
    pub begun: bool,
    /// The plan that would begin, while there is no entry that holds it.
    pub plan: Option<Arc<Plan>>,
}

/// From a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wish {
    pub v: u32,
    pub ask: Ask,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Ask {
    pub id: u64,
    /// Where it is typed, as the client tells it: the name of the user is not taken from here.
    #[serde(default)]
    pub terminal: String,
    /// For root: who became it.
    #[serde(default)]
    pub sudo: Option<String>,
    pub command: Command,
}

/// A line of the server, with its line break.
pub fn line(say: Say) -> String {
    let mut out = serde_json::to_string(&Line { v: VERSION, say }).expect("what is said is plain data");
    out.push('\n');
    out
}

/// A line of a client, with its line break.
pub fn wish(ask: Ask) -> String {
    let mut out = serde_json::to_string(&Wish { v: VERSION, ask }).expect("a wish is plain data");
    out.push('\n');
    out
}

/// The next line without its end; `None` at the end of the stream. A line longer than `limit` bytes is an error.
pub async fn read_line<R: AsyncBufRead + Unpin>(from: &mut R, limit: usize) -> io::Result<Option<Vec<u8>>> {
    let mut out = vec![];
    loop {
        let ready = from.fill_buf().await?;
        if ready.is_empty() {
            return if out.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
        let end = ready.iter().position(|byte| *byte == b'\n');
        let n = end.unwrap_or(ready.len());
        if out.len() + n > limit {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a line is longer than {limit} bytes")));
        }
        out.extend_from_slice(&ready[..n]);
        from.consume(n + usize::from(end.is_some()));
        if end.is_some() {
            return Ok(Some(out));
        }
    }
}

/// Reads a line as `T`; the version is looked at first, so that another one is told by its number.
pub fn parse<T: DeserializeOwned>(line: &[u8]) -> Result<T, String> {
    #[derive(Deserialize)]
    struct Versioned {
        v: u32,
    }
    let versioned: Versioned = serde_json::from_slice(line).map_err(|e| format!("the line is none of this protocol: {e}"))?;
    if versioned.v != VERSION {
        return Err(format!("version {} of the protocol is spoken there, {VERSION} here", versioned.v));
    }
    serde_json::from_slice(line).map_err(|e| format!("the line cannot be read: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_as_documented() {
        assert_eq!(line(Say::Ready), "{\"v\":1,\"say\":\"ready\"}\n");
        assert_eq!(line(Say::Answer { id: 1, refused: None }), "{\"v\":1,\"say\":{\"answer\":{\"id\":1,\"refused\":null}}}\n");
        let wished: Wish = parse(br#"{"v":1,"ask":{"id":1,"terminal":"pts/3","command":"pause"}}"#).unwrap();
        assert_eq!(wished.ask, Ask { id: 1, terminal: "pts/3".to_owned(), sudo: None, command: Command::Pause });
        let limit = br#"{"v":1,"ask":{"id":2,"terminal":"pts/3","command":{"set-limit":{"limit":"pulls","to":4}}}}"#;
        let wished: Wish = parse(limit).unwrap();
        assert_eq!(wished.ask.command, Command::SetLimit("pulls=4".parse().unwrap()));
        assert_eq!(parse::<Wish>(&limit[..40]).unwrap_err().split(':').next(), Some("the line is none of this protocol"));
        let newer = parse::<Wish>(br#"{"v":2,"ask":{}}"#).unwrap_err();
        assert_eq!(newer, "version 2 of the protocol is spoken there, 1 here");
    }

    #[tokio::test]
    async fn a_line_has_an_end() {
        let mut from = &b"one\ntwo\nthree"[..];
        assert_eq!(read_line(&mut from, 10).await.unwrap().unwrap(), b"one");
        assert_eq!(read_line(&mut from, 10).await.unwrap().unwrap(), b"two");
        assert!(read_line(&mut from, 10).await.is_err(), "an end is missing");
        assert_eq!(read_line(&mut from, 10).await.unwrap(), None);
        assert!(read_line(&mut &[b'x'; 100][..], 10).await.is_err(), "too long");
    }
}
