//! Layer 3: a second terminal at a running run, over a unix socket. Whoever connects sees what the front end sees, and
//! may pause, go on, stop, change a limit; never answers a gate, never slows the run.
//!
//! # Where
//!
//! `$XDG_RUNTIME_DIR/castoff/RUN.sock` if that folder is the user's own, else `run.sock` in the run's folder, else (a
//! path longer than a socket may have) a private folder in `/tmp`. The file `socket` in the run's folder names it. The
//! folder is 0700 and the socket 0600; besides, a peer that is neither the owner nor root is told so and cut off.
//!
//! # Protocol
//!
//! One JSON object a line, both ways. The server says:
//!
//! ```text
//! {"v":1,"say":{"hello":{"run":"…","cluster":"prod-a","holder":"kim on ops-01, …","begun":true,…}}}    first
//! {"v":1,"say":{"event":{"entry":{"seq":1,"at-ms":…,"entry":{…}}}}}      every entry so far, then survey, gate, progress
//! {"v":1,"say":"ready"}                                                   that was the past
//! {"v":1,"say":{"event":…}}                                               whatever happens from now on
//! {"v":1,"say":{"answer":{"id":1,"refused":null}}}                        after the entries that a command led to
//! {"v":1,"say":{"refused":"…"}}                                           the connection ends here, and why
//! {"v":1,"say":"bye"}                                                     the run's castoff leaves
//! ```
//!
//! A client may say, with an id of its own choice:
//!
//! ```text
//! {"v":1,"ask":{"id":1,"terminal":"pts/3","command":"pause"}}             pause, continue, stop, recheck
//! {"v":1,"ask":{"id":2,"terminal":"pts/3","command":{"set-limit":{"limit":"pulls","to":4}}}}
//! ```
//!
//! A client that reads too slowly is cut off; connected again, it is told everything from the beginning. A line that is
//! no such object, or longer than 16 kB, ends its connection and nothing else.

pub mod client;
mod hub;
pub mod peer;
mod place;
mod server;
pub mod wire;

pub use hub::Hub;
pub use server::Socket;
