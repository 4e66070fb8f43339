//! A relay on a port of its own that can hold back what one side says, at a word of the bytes that pass.
//! Changes no byte, and loses none.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::Duration,
};

/// What was seen to pass, and what is held back because of it.
#[derive(Clone)]
pub struct Stall {
    pub port: u16,
    gate: Arc<(Mutex<Gate>, Condvar)>,
}

#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "the switches of a test")]
struct Gate {
    /// The client says this: from then on `word` is waited for.
    after: Vec<u8>,
    armed: bool,
    /// Whoever says this is held back before it, `from_server` or not.
    word: Vec<u8>,
    from_server: bool,
    held: bool,
    released: bool,
    /// Every connection is cut, and none is taken, while this holds.
    away: bool,
    /// Cut the connection in place of holding it back.
    cuts: bool,
}

impl Stall {
    pub fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stall = Self { port: listener.local_addr().unwrap().port(), gate: Arc::default() };
        let relay = stall.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let away = relay.gate.0.lock().unwrap().away;
                let Some(server) = (!away).then(|| TcpStream::connect(("127.0.0.1", server)).ok()).flatten() else { continue };
                let (back, forth) = (relay.clone(), relay.clone());
                let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                thread::spawn(move || forth.carry(from, to, false));
                thread::spawn(move || back.carry(server, client, true));
            }
        });
        stall
    }

    /// Once the client has said `after`: the server's next `word` is held back.
    pub fn hold_answer(&self, after: &str, word: &str) {
        *self.gate.0.lock().unwrap() = Gate { after: after.into(), word: word.into(), from_server: true, ..Gate::default() };
    }

    /// The same, but the connection is cut where the answer would come.
    pub fn cut_answer(&self, after: &str, word: &str) {
        self.hold_answer(after, word);
        self.gate.0.lock().unwrap().cuts = true;
    }

    /// What the client says from this word on is held back, when it says it the second time.
    pub fn hold_second(&self, word: &str) {
        *self.gate.0.lock().unwrap() = Gate { after: word.into(), word: word.into(), ..Gate::default() };
    }

    pub fn away(&self, away: bool) {
        self.gate.0.lock().unwrap().away = away;
    }

    /// Whether it came to that within a minute.
    pub fn holds(&self) -> bool {
        let (gate, changed) = &*self.gate;
        let gate = gate.lock().unwrap();
        let (gate, _) = changed.wait_timeout_while(gate, Duration::from_mins(1), |gate| !gate.held).unwrap();
        gate.held
    }

    pub fn release(&self) {
        self.gate.0.lock().unwrap().released = true;
        self.gate.1.notify_all();
    }

    fn carry(&self, mut from: TcpStream, mut to: TcpStream, from_server: bool) {
        let mut buffer = vec![0; 1 << 16];
        let _ = from.set_read_timeout(Some(Duration::from_millis(50)));
        loop {
            if self.gate.0.lock().unwrap().away {
                break;
            }
            let n = match from.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => n,
                Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => continue,
                Err(_) => break,
            };
            if !self.passes(&buffer[..n], from_server) || to.write_all(&buffer[..n]).is_err() {
                break;
            }
        }
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }

    /// Waits where it has to; `false`: the connection is cut.
    fn passes(&self, bytes: &[u8], from_server: bool) -> bool {
        let says = |word: &[u8]| !word.is_empty() && bytes.windows(word.len()).any(|part| part == word);
        let (gate, changed) = &*self.gate;
        let mut gate = gate.lock().unwrap();
        if gate.armed && !gate.released && !gate.held && gate.from_server == from_server && says(&gate.word.clone()) {
            gate.held = true;
            changed.notify_all();
            if gate.cuts {
                gate.released = true;
                return false;
            }
            drop(changed.wait_while(gate, |gate| !gate.released).unwrap());
            return true;
        }
        if !from_server && says(&gate.after.clone()) {
            gate.armed = true;
        }
        true
    }
}
