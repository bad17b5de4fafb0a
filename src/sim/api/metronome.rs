//! The server of fixed timing: a stream's tokens go out at instants that its own arrival decides, without queue, batch
//! or cache between them. It is for measuring clients, which wants a server that costs less than they do.
//!
//! So it has a way of its own to the socket. A stream through engine and axum takes a task's wake-up, a body, a framing
//! and a vectored write for each token: with 2,000 streams in lockstep 12 µs of CPU an event on the machine this was
//! written on, too much for the 100,000 events a second that they make. From here it is one `send` of one buffer: 9 µs,
//! of which the kernel has 8. And it knows when the kernel received a request, before anyone had time to read it.
//!
//! What does not ask for a stream is answered by the usual [`Router`](axum::Router), with the engine's own timing.

use std::{io, sync::Arc, time::Instant};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request as HttpRequest, Response, header},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{mpsc::UnboundedSender, oneshot},
    task::JoinSet,
};
use tower_service::Service;

use super::{
    LONGEST_BODY, Parts,
    answer::{prompt_of, story},
    ask::Ask,
    chunks::Kind,
    protocol::openai,
    refusal::Refusal,
};
use crate::sim::{
    alarm::Alarm,
    rhythm::Rhythm,
    truth::{Entry, Story},
};

mod beats;
mod requests;
mod stream;

use beats::Beats;
use requests::{Request, Requests, note_arrivals};
use stream::{Script, Stream};

/// Serves until it is dropped.
pub(in crate::sim) async fn serve(
    listener: TcpListener,
    parts: Arc<Parts>,
    router: Router,
    rhythm: Rhythm,
) -> io::Result<()> {
    note_arrivals(&listener);
    let (beats, streams) = Beats::new(rhythm, Alarm::new()?);
    let host = Host { parts, router, rhythm, epoch: Instant::now(), streams };
    // Dropped with this future, so that nothing outlives the server.
    let mut tasks = JoinSet::new();
    tasks.spawn(beats.run());
    loop {
        // An error here is one connection's, or a shortage that passes.
        let Ok((socket, _)) = listener.accept().await else {
            tokio::task::yield_now().await;
            continue;
        };
        tasks.spawn(host.clone().converse(socket));
        while tasks.try_join_next().is_some() {}
    }
}

/// Answers the requests of a connection.
#[derive(Clone)]
struct Host {
    parts: Arc<Parts>,
    router: Router,
    rhythm: Rhythm,
    /// Where lockstep counts from.
    epoch: Instant,
    streams: UnboundedSender<Stream>,
}

impl Host {
    /// One request after the other, until the client leaves or something breaks: then it is gone.
    async fn converse(self, socket: TcpStream) {
        // Refusals are for a broken socket, as its first read will tell.
        let _ = socket.set_nodelay(true);
        let socket = Arc::new(socket);
        let mut requests = Requests::of(Arc::clone(&socket));
        while let Ok(Some(request)) = requests.next().await {
            let answered = match kind(&request) {
                Some(kind) => self.stream(&socket, kind, request).await,
                None => self.whole(&socket, request).await,
            };
            if answered.is_err() {
                return;
            }
        }
    }

    /// Hands the connection to the beats and waits until they have done with it.
    async fn stream(&self, socket: &Arc<TcpStream>, kind: Kind, request: Request) -> io::Result<()> {
        let ask = match openai::read(kind, &request.call(), &self.parts.spec) {
            Ok(ask) if ask.stream => ask,
            Ok(_) => return self.whole(socket, request).await,
            Err(refusal) => return refuse(socket, refusal).await,
        };
        let prompt = match prompt_of(&self.parts, &ask).await {
            Ok(prompt) => prompt,
            Err(refusal) => return refuse(socket, refusal).await,
        };
        let story = self.story(&request, &ask, &prompt);
        let first = self.rhythm.first(self.epoch, request.read);
        let (ended, end) = oneshot::channel();
        let script = Script::new(&self.parts, kind, &ask, story);
        let stream = script.for_client(Arc::clone(socket), first, ended);
        send_all(socket, stream::HEAD).await?;
        let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        self.streams.send(stream).map_err(|_| gone(()))?;
        end.await.map_err(|_| gone(()))
    }

    fn story(&self, request: &Request, ask: &Ask, prompt: &[u32]) -> Entry {
        let truth = &self.parts.truth;
        let story = Story {
            ordinal: self.parts.next_ordinal(),
            stream: true,
            arrived_ns: request.arrived.map(|arrived| truth.stamp(arrived)),
            read_ns: truth.stamp(request.read),
            max_tokens: ask.max_tokens,
            ..story(&self.parts, &request.call(), &ask.model, [prompt])
        };
        Entry::new(truth, story)
    }

    /// An answer by the router.
    async fn whole(&self, socket: &TcpStream, request: Request) -> io::Result<()> {
        let mut call = HttpRequest::builder().method(request.method.as_str()).uri(&request.path);
        if let Some(headers) = call.headers_mut() {
            *headers = request.headers;
        }
        let call = call.body(Body::from(request.body)).map_err(io::Error::other)?;
        let Ok(response) = self.router.clone().call(call).await;
        send_response(socket, response).await
    }
}

/// What the request may want as a stream of fixed timing.
fn kind(request: &Request) -> Option<Kind> {
    match (request.method.as_str(), request.path.as_str()) {
        ("POST", "/v1/completions") => Some(Kind::Completions),
        ("POST", "/v1/chat/completions") => Some(Kind::Chat),
        _ => None,
    }
}

async fn refuse(socket: &TcpStream, refusal: Refusal) -> io::Result<()> {
    use axum::response::IntoResponse;
    send_response(socket, refusal.into_response()).await
}

async fn send_response(socket: &TcpStream, response: Response<Body>) -> io::Result<()> {
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, LONGEST_BODY).await.map_err(io::Error::other)?;
    let mut out = format!("HTTP/1.1 {}\r\n", parts.status).into_bytes();
    for (name, value) in parts.headers.iter().filter(|(name, _)| *name != header::CONTENT_LENGTH) {
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
    out.extend_from_slice(&body);
    send_all(socket, &out).await
}

async fn send_all(socket: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match socket.try_write(bytes) {
            Ok(sent) => bytes = &bytes[sent..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => socket.writable().await?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
