//! The fixed-timing server: it sends a stream's tokens at times that depend only on the request's arrival, without
//! queue, batch or cache. It is for measuring clients, which requires a server that costs less than they do.
//!
//! For that reason it writes to the socket directly. A stream through engine and axum takes a task's wake-up, a body,
//! a framing and a vectored write for each token: with 2,000 streams in lockstep, 12 µs of CPU per event on the
//! development machine, too much for the 100,000 events per second that they produce. Here, an event is one `send` of
//! one buffer: 9 µs, 8 µs of them in the kernel. The server also knows when the kernel received a request, before it
//! could read the request.
//!
//! The usual [`Router`](axum::Router) answers requests without streaming, with the engine's own timing.

mod due_queue;
mod fixed_stream;
mod request_reader;

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

use super::{ApiState, LONGEST_BODY, chunks::CompletionApi, protocol::openai};
use crate::sim::api::{
    api_error::ApiError,
    generate_request::GenerateRequest,
    generation::{new_trace, resolve_prompt},
};
use crate::sim::{
    fixed_timing::FixedTiming,
    precise_timer::PreciseTimer,
    truth_log::{OpenTrace, RequestTrace},
};

use crate::sim::api::fixed_timing_server::due_queue::DueQueue;
use crate::sim::api::fixed_timing_server::fixed_stream::{FixedStream, PreparedStream};
use crate::sim::api::fixed_timing_server::request_reader::{IncomingRequest, RequestReader, note_arrivals};

/// Serves until the future is dropped.
pub(in crate::sim) async fn serve(
    listener: TcpListener,
    parts: Arc<ApiState>,
    router: Router,
    timing: FixedTiming,
) -> io::Result<()> {
    note_arrivals(&listener);
    let (beats, streams) = DueQueue::new(timing, PreciseTimer::new()?);
    let host = ConnectionHandler { parts, router, timing, epoch: Instant::now(), streams };
    // Dropped with this future, so that no task outlives the server.
    let mut tasks = JoinSet::new();
    tasks.spawn(beats.run());
    loop {
        // An error here concerns one connection, or is a temporary shortage.
        let Ok((socket, _)) = listener.accept().await else {
            tokio::task::yield_now().await;
            continue;
        };
        tasks.spawn(host.clone().serve_connection(socket));
        while tasks.try_join_next().is_some() {}
    }
}

#[derive(Clone)]
struct ConnectionHandler {
    parts: Arc<ApiState>,
    router: Router,
    timing: FixedTiming,
    /// The origin of lockstep's times.
    epoch: Instant,
    streams: UnboundedSender<FixedStream>,
}

impl ConnectionHandler {
    /// Serves one request after another, until the client leaves or an error occurs; both end the connection.
    async fn serve_connection(self, socket: TcpStream) {
        // If the socket refuses the option, it is broken, and the first read reports that.
        let _ = socket.set_nodelay(true);
        let socket = Arc::new(socket);
        let mut requests = RequestReader::new(Arc::clone(&socket));
        while let Ok(Some(request)) = requests.next().await {
            let answered = match completion_api(&request) {
                Some(kind) => self.stream(&socket, kind, request).await,
                None => self.respond_in_full(&socket, request).await,
            };
            if answered.is_err() {
                return;
            }
        }
    }

    /// Hands the stream to the due queue and waits until it is complete.
    async fn stream(
        &self,
        socket: &Arc<TcpStream>,
        kind: CompletionApi,
        request: IncomingRequest,
    ) -> io::Result<()> {
        let ask = match openai::read(kind, &request.raw_request(), &self.parts.spec) {
            Ok(ask) if ask.stream => ask,
            Ok(_) => return self.respond_in_full(socket, request).await,
            Err(refusal) => return send_error(socket, refusal).await,
        };
        let prompt = match resolve_prompt(&self.parts, &ask).await {
            Ok(prompt) => prompt,
            Err(refusal) => return send_error(socket, refusal).await,
        };
        let story = self.open_trace(&request, &ask, &prompt);
        let first = self.timing.first_write(self.epoch, request.read);
        let (ended, end) = oneshot::channel();
        let script = PreparedStream::new(&self.parts, kind, &ask, story);
        let stream = script.for_client(Arc::clone(socket), first, ended);
        send_all(socket, fixed_stream::HEAD).await?;
        let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        self.streams.send(stream).map_err(|_| gone(()))?;
        end.await.map_err(|_| gone(()))
    }

    fn open_trace(&self, request: &IncomingRequest, ask: &GenerateRequest, prompt: &[u32]) -> OpenTrace {
        let truth = &self.parts.truth;
        let story = RequestTrace {
            ordinal: self.parts.next_ordinal(),
            stream: true,
            arrived_ns: request.arrived.map(|arrived| truth.offset_ns(arrived)),
            read_ns: truth.offset_ns(request.read),
            max_tokens: ask.max_tokens,
            ..new_trace(&self.parts, &request.raw_request(), &ask.model, [prompt])
        };
        OpenTrace::new(truth, story)
    }

    /// Answers with the router.
    async fn respond_in_full(&self, socket: &TcpStream, request: IncomingRequest) -> io::Result<()> {
        let mut call = HttpRequest::builder().method(request.method.as_str()).uri(&request.path);
        if let Some(headers) = call.headers_mut() {
            *headers = request.headers;
        }
        let call = call.body(Body::from(request.body)).map_err(io::Error::other)?;
        let Ok(response) = self.router.clone().call(call).await;
        send_response(socket, response).await
    }
}

/// The API of a request that may get a fixed-timing stream.
fn completion_api(request: &IncomingRequest) -> Option<CompletionApi> {
    match (request.method.as_str(), request.path.as_str()) {
        ("POST", "/v1/completions") => Some(CompletionApi::Completions),
        ("POST", "/v1/chat/completions") => Some(CompletionApi::Chat),
        _ => None,
    }
}

async fn send_error(socket: &TcpStream, refusal: ApiError) -> io::Result<()> {
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
