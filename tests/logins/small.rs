//! Small servers of HTTP, plain or behind TLS, that remember what they were asked.

use crate::certificates::path;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    sync::{Arc, Mutex},
    thread,
};

#[derive(Clone, Debug)]
pub struct Request {
    /// All lines of the head.
    pub head: String,
    pub body: String,
}

impl Request {
    /// The value of `Authorization`, if any was sent.
    pub fn authorization(&self) -> Option<&str> {
        self.head.lines().find_map(|line| {
            line.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case("authorization")).map(|(_, value)| value.trim())
        })
    }
}

/// A server and what it was asked.
pub struct Small {
    pub port: u16,
    pub heard: Arc<Mutex<Vec<Request>>>,
}

impl Small {
    pub fn authorizations(&self) -> Vec<String> {
        self.heard.lock().unwrap().iter().filter_map(|request| request.authorization().map(str::to_owned)).collect()
    }

    pub fn asked(&self) -> usize {
        self.heard.lock().unwrap().len()
    }
}

pub fn reply(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

fn listen() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

fn heard(stream: &mut impl Read) -> Option<Request> {
    let (mut head, mut reader) = (String::new(), BufReader::new(stream));
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line.trim().is_empty() {
            break;
        }
        head.push_str(&line);
    }
    let length = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:").map(|n| n.trim().parse().unwrap()));
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    Some(Request { head, body: String::from_utf8_lossy(&body).into_owned() })
}

/// One request a connection.
pub fn serve(answer: impl Fn(&Request) -> String + Send + Sync + 'static) -> Small {
    let (listener, port) = listen();
    let kept = Arc::new(Mutex::new(vec![]));
    let log = Arc::clone(&kept);
    thread::spawn(move || {
        for mut socket in listener.incoming().flatten() {
            if let Some(request) = heard(&mut socket) {
                log.lock().unwrap().push(request.clone());
                let _ = socket.write_all(answer(&request).as_bytes());
            }
        }
    });
    Small { port, heard: kept }
}

pub fn serve_tls(certificate: &'static str, answer: impl Fn(&Request) -> String + Send + Sync + 'static) -> u16 {
    let chain = CertificateDer::pem_file_iter(path(&format!("{certificate}.pem"))).unwrap().flatten().collect();
    let key = PrivateKeyDer::from_pem_file(path(&format!("{certificate}.key"))).unwrap();
    let config = Arc::new(rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap());
    let (listener, port) = listen();
    thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let mut stream = rustls::StreamOwned::new(rustls::ServerConnection::new(Arc::clone(&config)).unwrap(), socket);
            if let Some(request) = heard(&mut stream) {
                let _ = stream.write_all(answer(&request).as_bytes());
                stream.conn.send_close_notify();
                let _ = stream.flush();
            }
        }
    });
    port
}
