//! One answer of fixed timing.

use std::{
    io::{self, Write},
    sync::Arc,
    time::Instant,
};

use tokio::{net::TcpStream, sync::oneshot};

use super::super::{
    Parts,
    ask::{Ask, UsageReports},
    chunks::{Chunks, Field, Kind, Piece, Usage},
    info::unix_seconds,
    protocol::openai::DEFAULT_COMPLETION,
    shape::Identity,
};
use crate::sim::{plan::Finish, rhythm::Rhythm, truth::Entry};

/// What goes out before the first token.
pub(super) const HEAD: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n";

/// What ends a chunked body.
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Digits of a chunk's length: a chunk of a write is shorter than 64 KiB times 256.
const LENGTH_DIGITS: usize = 6;

/// An answer before it has a socket.
pub(super) struct Script {
    parts: Arc<Parts>,
    chunks: Chunks,
    usage: UsageReports,
    kind: Kind,
    tokens: usize,
    story: Entry,
}

/// An answer under way. Dropping it writes its story to the truth log.
pub(super) struct Stream {
    script: Script,
    socket: Arc<TcpStream>,
    /// When the next write is due.
    due: Instant,
    /// What the socket did not take.
    unsent: Vec<u8>,
    /// Told when everything has been written.
    ended: Option<oneshot::Sender<()>>,
}

/// How it goes on with a stream after a write.
pub(super) enum Next {
    /// There is more to write at this instant.
    Due(Instant),
    /// The client is slow: first the socket has to take what there is.
    Blocked,
    /// Everything is written, or the client is gone.
    Over,
}

impl Script {
    pub(super) fn new(parts: &Arc<Parts>, kind: Kind, ask: &Ask, story: Entry) -> Self {
        let who = Identity { id: &story.id, created: unix_seconds(), model: &ask.model };
        let chunks = Chunks::new(kind, &who, parts.spec.output.line_ending);
        let usage = if parts.spec.output.usage { ask.usage } else { UsageReports::Never };
        let room = parts.spec.max_model_len - story.prompt_tokens;
        let tokens = ask.max_tokens.unwrap_or(DEFAULT_COMPLETION).min(room);
        Self { parts: Arc::clone(parts), chunks, usage, kind, tokens, story }
    }

    /// The answer on its way to a client.
    pub(super) fn for_client(
        self,
        socket: Arc<TcpStream>,
        first: Instant,
        ended: oneshot::Sender<()>,
    ) -> Stream {
        Stream { script: self, socket, due: first, unsent: Vec::new(), ended: Some(ended) }
    }

    fn is_over(&self) -> bool {
        self.story.output_tokens == self.tokens
    }

    /// Composes the next events as one chunk of the body.
    fn compose(&mut self, events: usize, out: &mut Vec<u8>) {
        out.clear();
        out.resize(LENGTH_DIGITS + 2, b'\n');
        if self.story.output_tokens == 0 && self.kind == Kind::Chat {
            self.chunks.role(out, self.running_usage());
        }
        for _ in 0..events.min(self.tokens - self.story.output_tokens) {
            self.compose_token(out);
        }
        if self.is_over() {
            if self.usage != UsageReports::Never {
                self.chunks.usage(out, self.count());
            }
            self.chunks.done(out);
        }
        let length = out.len() - (LENGTH_DIGITS + 2);
        // Writing to memory cannot fail, and the digits are as many as there is room for.
        let _ = write!(&mut out[..LENGTH_DIGITS + 2], "{length:0LENGTH_DIGITS$x}\r\n");
        out.extend_from_slice(b"\r\n");
        if self.is_over() {
            out.extend_from_slice(LAST_CHUNK);
        }
    }

    fn compose_token(&mut self, out: &mut Vec<u8>) {
        let vocabulary = &self.parts.vocabulary;
        let word =
            (self.story.ordinal as usize).wrapping_add(self.story.output_tokens) % vocabulary.word_count();
        self.story.output_tokens += 1;
        let finish = self.is_over().then_some(Finish::Length);
        let signed = finish.is_some() && self.usage == UsageReports::Never;
        let (text, usage) = (vocabulary.word_text(word), self.running_usage());
        self.chunks.piece(out, &Piece { field: Field::Text, text, finish, usage, signed });
    }

    fn count(&self) -> Usage {
        Usage { prompt: self.story.prompt_tokens, completion: self.story.output_tokens, cached: None }
    }

    fn running_usage(&self) -> Option<Usage> {
        (self.usage == UsageReports::WithEveryEvent).then(|| self.count())
    }

    /// Notes that the events since `before` are being written.
    fn note(&mut self, before: usize, due: Instant) {
        let truth = &self.parts.truth;
        let (now, step) = (truth.stamp(Instant::now()), truth.stamp(due));
        self.story.first_token_ns.get_or_insert(now);
        let events = self.story.output_tokens - before;
        self.story.tokens_ns.extend(std::iter::repeat_n(now, events));
        self.story.step_ns.extend(std::iter::repeat_n(step, events));
        self.story.finish_reason = self.is_over().then_some(Finish::Length);
        self.story.cancelled = !self.is_over();
    }
}

impl Stream {
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// Completes when the client takes more.
    pub(super) async fn writable(&self) -> io::Result<()> {
        self.socket.writable().await
    }

    /// Writes what is due, and what a slow client left. `buffer` is only lent.
    pub(super) fn write(&mut self, rhythm: &Rhythm, buffer: &mut Vec<u8>) -> Next {
        if !self.unsent.is_empty() {
            buffer.clear();
            buffer.append(&mut self.unsent);
        } else {
            let before = self.script.story.output_tokens;
            self.script.compose(rhythm.events_per_write, buffer);
            self.script.note(before, self.due);
            self.due += rhythm.gap;
        }
        let sent = match self.socket.try_write(buffer) {
            Ok(sent) => sent,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(_) => return Next::Over,
        };
        if sent < buffer.len() {
            self.unsent.extend_from_slice(&buffer[sent..]);
            return Next::Blocked;
        }
        if !self.script.is_over() {
            return Next::Due(self.due);
        }
        self.end();
        Next::Over
    }

    fn end(&mut self) {
        if let Some(ended) = self.ended.take() {
            // A client that has left meanwhile is nobody's concern any more.
            let _ = ended.send(());
        }
    }
}
