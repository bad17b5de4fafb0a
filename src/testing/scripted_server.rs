//! Servers that give scripted answers on real sockets.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use tokio::net::TcpSocket;

use crate::model::run_spec::{Backend, ConnectionOptions, Target};
use crate::model::units::Secret;

/// A server and the requests that it received.
pub(crate) struct ScriptedServer {
    port: u16,
    requests: Receiver<String>,
    /// Dropping it makes the server close the connections that it keeps open.
    _open: Sender<()>,
}

/// How the server handles one connection.
pub(crate) enum Script {
    /// Reads a request and writes an answer, once for each answer. Then closes.
    Answers(Vec<String>),
    /// Reads a request, writes one answer, and keeps the connection open.
    Open(String),
    /// Reads some bytes of a request, writes an answer, and keeps the connection open without reading on.
    EarlyReply(String),
    /// Reads a request, writes these bytes, and closes.
    Bytes(Vec<u8>),
    /// Reads some bytes, writes others and closes, like a server that speaks another protocol.
    GarbageThenClose(&'static str),
}

/// Serves one connection after another.
pub(crate) fn serve(scripts: Vec<Script>) -> ScriptedServer {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (note, requests) = channel();
    let (open, closed) = channel();
    thread::spawn(move || {
        for script in scripts {
            let (socket, _) = listener.accept().unwrap();
            act(socket, script, &note, &closed);
        }
    });
    ScriptedServer { port, requests, _open: open }
}

/// Answers every request on every connection with the same answer.
pub(crate) fn always(answer: String) -> ScriptedServer {
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
    ScriptedServer { port, requests, _open: channel().0 }
}

/// Returns a port that refuses connections while the socket is alive: it is bound, but nothing listens on it.
pub(crate) fn refusing_port() -> (TcpSocket, u16) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let port = socket.local_addr().unwrap().port();
    (socket, port)
}

/// Creates a completions target.
pub(crate) fn target(scheme: &str, port: u16) -> Target {
    Target {
        backend: Backend::Openai,
        base_url: format!("{scheme}://127.0.0.1:{port}"),
        endpoint: "/v1/completions".into(),
        model: "/models/tiny".into(),
        served_model_name: Some("tiny".into()),
        headers: vec![("Authorization".into(), Secret::new("Bearer sk-1"))],
        request_id_prefix: None,
        no_request_id: false,
        accepted_finish_reasons: Vec::new(),
        insecure: false,
        connection: ConnectionOptions::default(),
        timeout: Duration::from_secs(600),
    }
}

impl ScriptedServer {
    /// The target that points to this server.
    pub(crate) fn target(&self) -> Target {
        target("http", self.port)
    }

    /// This server as an https target. It does not speak TLS.
    pub(crate) fn tls_target(&self) -> Target {
        target("https", self.port)
    }

    /// The requests that were received until now: head, blank line, body.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.try_iter().collect()
    }
}

/// Builds a response with a JSON body.
pub(crate) fn json(status: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}")
}

/// Builds the head of a streamed response and the first chunks of its body, without an end.
pub(crate) fn unfinished_stream(chunks: &[&str]) -> String {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n";
    let body: String = chunks.iter().map(|chunk| format!("{:x}\r\n{chunk}\r\n", chunk.len())).collect();
    format!("{head}{body}")
}

/// Builds a complete streamed response.
pub(crate) fn stream(chunks: &[&str]) -> String {
    unfinished_stream(chunks) + "0\r\n\r\n"
}

fn act(mut socket: TcpStream, script: Script, note: &Sender<String>, closed: &Receiver<()>) {
    let mut exchange = |answer: &str| {
        let _ = note.send(read_request(&mut socket));
        // The client may have closed the connection, which is allowed.
        let _ = socket.write_all(answer.as_bytes());
    };
    match script {
        Script::Answers(answers) => answers.iter().for_each(|answer| exchange(answer)),
        Script::Open(answer) => {
            exchange(&answer);
            let _ = closed.recv();
        }
        Script::Bytes(bytes) => {
            let _ = note.send(read_request(&mut socket));
            let _ = socket.write_all(&bytes);
        }
        Script::EarlyReply(answer) => {
            let _ = socket.read(&mut [0; 4096]);
            let _ = socket.write_all(answer.as_bytes());
            let _ = closed.recv();
        }
        Script::GarbageThenClose(bytes) => {
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
