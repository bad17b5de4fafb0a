//! Servers for the tests that play fixed answers on real sockets.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use tokio::net::TcpSocket;

use crate::core::spec::{Backend, Connection, Target};
use crate::core::units::Secret;

/// A server and the requests that it got.
pub struct Stage {
    port: u16,
    requests: Receiver<String>,
    /// Dropping it tells the server to close connections that it holds open.
    _open: Sender<()>,
}

/// What the server does with one connection.
pub enum Scene {
    /// Reads a request and writes an answer, as often as there are answers; then closes.
    Answers(Vec<String>),
    /// The same with one answer, but keeps the connection open.
    Open(String),
    /// Reads some bytes of a request, writes an answer, and keeps the connection open without reading on.
    Hasty(String),
    /// Reads some bytes, writes others and closes, as one that speaks another protocol.
    Blurt(&'static str),
}

/// Serves one connection after another.
pub fn play(scenes: Vec<Scene>) -> Stage {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (note, requests) = channel();
    let (open, closed) = channel();
    thread::spawn(move || {
        for scene in scenes {
            let (socket, _) = listener.accept().unwrap();
            act(socket, scene, &note, &closed);
        }
    });
    Stage { port, requests, _open: open }
}

/// Gives every request on every connection the same answer.
pub fn always(answer: String) -> Stage {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (note, requests) = channel();
    thread::spawn(move || {
        while let Ok((mut socket, _)) = listener.accept() {
            let (answer, note) = (answer.clone(), note.clone());
            thread::spawn(move || {
                loop {
                    let request = read_request(&mut socket);
                    if request.is_empty() || socket.write_all(answer.as_bytes()).is_err() {
                        return;
                    }
                    let _ = note.send(request);
                }
            });
        }
    });
    Stage { port, requests, _open: channel().0 }
}

/// A port that refuses connections for as long as the socket lives: it is taken, but nothing listens on it.
pub fn refusing_port() -> (TcpSocket, u16) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let port = socket.local_addr().unwrap().port();
    (socket, port)
}

/// A completions target.
pub fn target(scheme: &str, port: u16) -> Target {
    Target {
        backend: Backend::Openai,
        base_url: format!("{scheme}://127.0.0.1:{port}"),
        endpoint: "/v1/completions".into(),
        model: "/models/tiny".into(),
        served_model_name: Some("tiny".into()),
        headers: vec![("Authorization".into(), Secret::new("Bearer sk-1"))],
        request_id_prefix: None,
        insecure: false,
        connection: Connection::default(),
        timeout: Duration::from_secs(600),
    }
}

impl Stage {
    /// The target that is this server.
    pub fn target(&self) -> Target {
        target("http", self.port)
    }

    /// The same over https, which it does not speak.
    pub fn tls_target(&self) -> Target {
        target("https", self.port)
    }

    /// The requests it got so far: head, blank line, body.
    pub fn requests(&self) -> Vec<String> {
        self.requests.try_iter().collect()
    }
}

/// A response with a JSON body.
pub fn json(status: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}")
}

/// The head of a streamed response and the chunks of its body so far.
pub fn unfinished_stream(chunks: &[&str]) -> String {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n";
    let body: String = chunks.iter().map(|chunk| format!("{:x}\r\n{chunk}\r\n", chunk.len())).collect();
    format!("{head}{body}")
}

/// A whole streamed response.
pub fn stream(chunks: &[&str]) -> String {
    unfinished_stream(chunks) + "0\r\n\r\n"
}

fn act(mut socket: TcpStream, scene: Scene, note: &Sender<String>, closed: &Receiver<()>) {
    let mut exchange = |answer: &str| {
        let _ = note.send(read_request(&mut socket));
        // The client may be gone already: that is its right.
        let _ = socket.write_all(answer.as_bytes());
    };
    match scene {
        Scene::Answers(answers) => answers.iter().for_each(|answer| exchange(answer)),
        Scene::Open(answer) => {
            exchange(&answer);
            let _ = closed.recv();
        }
        Scene::Hasty(answer) => {
            let _ = socket.read(&mut [0; 4096]);
            let _ = socket.write_all(answer.as_bytes());
            let _ = closed.recv();
        }
        Scene::Blurt(bytes) => {
            let _ = socket.read(&mut [0; 4096]);
            let _ = socket.write_all(bytes.as_bytes());
        }
    }
}

fn read_request(socket: &mut TcpStream) -> String {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let count = socket.read(&mut buffer).unwrap_or(0);
        request.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&request);
        let whole = text.split_once("\r\n\r\n").is_some_and(|(head, body)| body.len() >= body_length(head));
        if whole || count == 0 {
            return text.into_owned();
        }
    }
}

fn body_length(head: &str) -> usize {
    let lines = head.lines().filter_map(|line| line.split_once(": "));
    lines
        .filter(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .find_map(|(_, value)| value.parse().ok())
        .unwrap_or(0)
}
