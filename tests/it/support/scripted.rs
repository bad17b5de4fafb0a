//! A server whose answers are bytes that the test writes.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// Receives a request's head and writes the answer.
type Answer = dyn Fn(&str, &mut TcpStream) + Send + Sync;

/// A scripted server that runs until the test ends.
pub(crate) struct Scripted {
    url: String,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Scripted {
    /// Starts a server with one thread per connection. Each connection handles one request after the other.
    pub(crate) fn start(answer: impl Fn(&str, &mut TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (heard, answer): (_, Arc<Answer>) = (Arc::<Mutex<Vec<String>>>::default(), Arc::new(answer));
        let lines = Arc::clone(&heard);
        thread::spawn(move || {
            while let Ok((mut socket, _)) = listener.accept() {
                let (answer, lines) = (Arc::clone(&answer), Arc::clone(&lines));
                thread::spawn(move || {
                    while let Some(head) = request(&mut socket) {
                        lines.lock().unwrap().push(head.lines().next().unwrap_or_default().to_owned());
                        answer(&head, &mut socket);
                    }
                });
            }
        });
        Self { url, heard }
    }

    pub(crate) fn base_url(&self) -> &str {
        &self.url
    }

    /// The number of all requests.
    pub(crate) fn requests(&self) -> usize {
        self.heard.lock().unwrap().len()
    }

    /// The number of requests to a path.
    pub(crate) fn asked(&self, path: &str) -> usize {
        let lines = self.heard.lock().unwrap();
        lines.iter().filter(|line| line.split(' ').nth(1) == Some(path)).count()
    }
}

/// Reads the next request and its body, and returns its head.
fn request(socket: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match socket.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return None,
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let length = |line: &str| line.to_lowercase().strip_prefix("content-length:")?.trim().parse().ok();
    let length: usize = head.lines().find_map(length).unwrap_or_default();
    socket.read_exact(&mut vec![0; length]).ok()?;
    Some(head)
}

/// Writes a complete answer.
pub(crate) fn answer(socket: &mut TcpStream, status: &str, body: &str) {
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    // The client may have closed the connection.
    let _ = socket.write_all((head + body).as_bytes());
}

/// Writes a streamed answer of two tokens.
pub(crate) fn two_tokens(socket: &mut TcpStream) {
    let event = |text: &str, finish: &str| {
        format!("data: {{\"choices\":[{{\"index\":0,\"text\":\"{text}\",\"finish_reason\":{finish}}}]}}\n\n")
    };
    let body = event("a", "null") + &event("b", "\"length\"") + "data: [DONE]\n\n";
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let _ = socket.write_all((head + &body).as_bytes());
}
