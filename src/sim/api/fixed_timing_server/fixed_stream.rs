//! One fixed-timing stream.

use std::{
    io::{self, Write},
    sync::Arc,
    time::Instant,
};

use tokio::{net::TcpStream, sync::oneshot};

use super::super::{
    ApiState,
    chunks::{ChunkOutput, ChunkWriter, CompletionApi, OutputField, TokenFields, UsageCounts},
    protocol::openai::DEFAULT_COMPLETION,
};
use crate::sim::api::{
    generate_request::{GenerateRequest, UsageReporting},
    response_writer::GenerationIdentity,
    server_info::unix_seconds,
};
use crate::sim::{fixed_timing::FixedTiming, output_plan::SimFinishReason, truth_log::OpenTrace};

/// The response head, which precedes the first token.
pub(super) const HEAD: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n";

/// The end of a chunked body.
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Hexadecimal digits of a chunk's length: the chunk of a write is shorter than 64 KiB times 256.
const LENGTH_DIGITS: usize = 6;

/// A stream before it has a socket.
pub(super) struct PreparedStream {
    parts: Arc<ApiState>,
    chunks: ChunkWriter,
    usage: UsageReporting,
    kind: CompletionApi,
    tokens: usize,
    trace: OpenTrace,
}

/// A running stream. Dropping it writes its trace to the truth log.
pub(super) struct FixedStream {
    script: PreparedStream,
    socket: Arc<TcpStream>,
    /// When the next write is due.
    due: Instant,
    /// Bytes that the socket did not accept.
    unsent: Vec<u8>,
    /// Signals that everything has been written.
    ended: Option<oneshot::Sender<()>>,
}

/// The state of a stream after a write.
pub(super) enum StreamStep {
    /// The next write is due at this time.
    Due(Instant),
    /// The client is slow: the socket must accept the pending bytes first.
    Blocked,
    /// Everything is written, or the client is gone.
    Over,
}

impl PreparedStream {
    pub(super) fn new(
        parts: &Arc<ApiState>,
        kind: CompletionApi,
        ask: &GenerateRequest,
        story: OpenTrace,
    ) -> Self {
        let who = GenerationIdentity { id: &story.id, created: unix_seconds(), model: &ask.model };
        let chunks = ChunkWriter::new(kind, &who, parts.spec.output.line_ending);
        let usage = if parts.spec.output.usage { ask.usage } else { UsageReporting::Never };
        let room = parts.spec.max_model_len - story.prompt_tokens;
        let tokens = ask.max_tokens.unwrap_or(DEFAULT_COMPLETION).min(room);
        Self { parts: Arc::clone(parts), chunks, usage, kind, tokens, trace: story }
    }

    /// Creates the stream for a client's socket.
    pub(super) fn for_client(
        self,
        socket: Arc<TcpStream>,
        first: Instant,
        ended: oneshot::Sender<()>,
    ) -> FixedStream {
        FixedStream { script: self, socket, due: first, unsent: Vec::new(), ended: Some(ended) }
    }

    fn is_over(&self) -> bool {
        self.trace.output_tokens == self.tokens
    }

    /// Writes the next events as one chunk of the body.
    fn compose(&mut self, events: usize, out: &mut Vec<u8>) {
        out.clear();
        out.resize(LENGTH_DIGITS + 2, b'\n');
        if self.trace.output_tokens == 0 && self.kind == CompletionApi::Chat {
            self.chunks.write_role(out, self.running_usage(), "null");
        }
        for _ in 0..events.min(self.tokens - self.trace.output_tokens) {
            self.compose_token(out);
        }
        if self.is_over() {
            if self.usage != UsageReporting::Never {
                self.chunks.usage(out, self.count(), None);
            }
            self.chunks.done(out);
        }
        let length = out.len() - (LENGTH_DIGITS + 2);
        // Writing to memory cannot fail, and the number of digits matches the reserved space.
        let _ = write!(&mut out[..LENGTH_DIGITS + 2], "{length:0LENGTH_DIGITS$x}\r\n");
        out.extend_from_slice(b"\r\n");
        if self.is_over() {
            out.extend_from_slice(LAST_CHUNK);
        }
    }

    fn compose_token(&mut self, out: &mut Vec<u8>) {
        let vocabulary = &self.parts.vocabulary;
        let word =
            (self.trace.ordinal as usize).wrapping_add(self.trace.output_tokens) % vocabulary.word_count();
        self.trace.output_tokens += 1;
        let finish = self.is_over().then_some(SimFinishReason::Length);
        let signed = finish.is_some() && self.usage == UsageReporting::Never;
        let (text, usage) = (vocabulary.word_text(word), self.running_usage());
        let tokens = &TokenFields::NULL;
        let chunk = ChunkOutput { field: OutputField::Text, text, finish, usage, signed, tokens };
        self.chunks.write_output(out, &chunk);
    }

    fn count(&self) -> UsageCounts {
        UsageCounts { prompt: self.trace.prompt_tokens, completion: self.trace.output_tokens, cached: None }
    }

    fn running_usage(&self) -> Option<UsageCounts> {
        (self.usage == UsageReporting::WithEveryEvent).then(|| self.count())
    }

    /// Records that the events since `before` are being written.
    fn record_written(&mut self, before: usize, due: Instant) {
        let truth = &self.parts.truth;
        let (now, step) = (truth.offset_ns(Instant::now()), truth.offset_ns(due));
        self.trace.first_token_ns.get_or_insert(now);
        let events = self.trace.output_tokens - before;
        self.trace.tokens_ns.extend(std::iter::repeat_n(now, events));
        self.trace.step_ns.extend(std::iter::repeat_n(step, events));
        self.trace.finish_reason = self.is_over().then_some(SimFinishReason::Length);
        self.trace.cancelled = !self.is_over();
    }
}

impl FixedStream {
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// Completes when the socket is writable.
    pub(super) async fn writable(&self) -> io::Result<()> {
        self.socket.writable().await
    }

    /// Writes what is due, and what the socket did not accept before. `buffer` is scratch space.
    pub(super) fn write(&mut self, timing: &FixedTiming, buffer: &mut Vec<u8>) -> StreamStep {
        if !self.unsent.is_empty() {
            buffer.clear();
            buffer.append(&mut self.unsent);
        } else {
            let before = self.script.trace.output_tokens;
            self.script.compose(timing.events_per_write, buffer);
            self.script.record_written(before, self.due);
            self.due += timing.gap;
        }
        let sent = match self.socket.try_write(buffer) {
            Ok(sent) => sent,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(_) => return StreamStep::Over,
        };
        if sent < buffer.len() {
            self.unsent.extend_from_slice(&buffer[sent..]);
            return StreamStep::Blocked;
        }
        if !self.script.is_over() {
            return StreamStep::Due(self.due);
        }
        self.end();
        StreamStep::Over
    }

    fn end(&mut self) {
        if let Some(ended) = self.ended.take() {
            // An error means that the client has left, which no longer matters.
            let _ = ended.send(());
        }
    }
}
