//! How a body splits into meaningful pieces: events, lines, or one document.

use memchr::memchr;
use thiserror::Error;

use super::sse::{self, SseEvent};
use crate::client::number_array_filter::NumberArrayFilter;

/// The kinds of pieces that a body consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamFraming {
    /// Server-sent events.
    Events,
    /// Lines of JSON.
    Lines,
    /// The whole body is one JSON document.
    Document,
}

/// A piece that exceeds the length limit: a server that never ends a piece must not exhaust our memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{what} is longer than {} MiB", limit >> 20)]
pub(crate) struct FrameTooLong {
    what: &'static str,
    limit: usize,
}

/// The length limit of an answer that is one document, which has the output of all events. Arrays of numbers, as in
/// embeddings, are not kept and do not count.
const DOCUMENT_LIMIT: usize = 16 << 20;

impl FrameTooLong {
    fn event() -> Self {
        Self { what: "an event", limit: sse::SseDecoder::LIMIT }
    }
}

/// Cuts a body into its pieces as it arrives. The result does not depend on how the network splits the body. A line or
/// a document is reported as an event without a name.
#[derive(Debug)]
pub(crate) enum FrameDecoder {
    /// Server-sent events.
    Events(sse::SseDecoder),
    /// The unfinished line.
    Lines(Vec<u8>),
    /// The document received so far.
    Document(NumberArrayFilter),
}

impl FrameDecoder {
    /// Creates a decoder at the beginning of a body.
    pub(crate) fn new(framing: StreamFraming) -> Self {
        match framing {
            StreamFraming::Events => Self::Events(sse::SseDecoder::default()),
            StreamFraming::Lines => Self::Lines(Vec::new()),
            StreamFraming::Document => Self::Document(NumberArrayFilter::default()),
        }
    }

    /// Takes the next bytes of the body and reports the pieces that they complete.
    ///
    /// # Errors
    /// [`FrameTooLong`]: the rest of the body cannot be decoded.
    pub(crate) fn push(
        &mut self,
        bytes: &[u8],
        on_event: &mut impl FnMut(SseEvent<'_>),
    ) -> Result<(), FrameTooLong> {
        match self {
            Self::Events(decoder) => decoder.push(bytes, on_event).map_err(|_| FrameTooLong::event()),
            Self::Lines(partial) => push_lines(partial, bytes, on_event),
            Self::Document(filter) => {
                filter.push(bytes);
                within_limit(filter.kept().len(), "a document", DOCUMENT_LIMIT)
            }
        }
    }

    /// Ends the body and reports the last, unfinished piece.
    ///
    /// # Errors
    /// The same errors as [`FrameDecoder::push`].
    pub(crate) fn finish(&mut self, on_event: &mut impl FnMut(SseEvent<'_>)) -> Result<(), FrameTooLong> {
        match self {
            Self::Events(decoder) => return decoder.finish(on_event).map_err(|_| FrameTooLong::event()),
            Self::Lines(partial) => on_event(unnamed_event(partial)),
            Self::Document(filter) => on_event(unnamed_event(filter.kept())),
        }
        Ok(())
    }
}

fn unnamed_event(data: &[u8]) -> SseEvent<'_> {
    SseEvent { name: b"", data }
}

fn within_limit(length: usize, what: &'static str, limit: usize) -> Result<(), FrameTooLong> {
    if length > limit { Err(FrameTooLong { what, limit }) } else { Ok(()) }
}

/// Reports a line without a copy if it lies whole in the arrived bytes.
fn push_lines(
    partial: &mut Vec<u8>,
    bytes: &[u8],
    on_event: &mut impl FnMut(SseEvent<'_>),
) -> Result<(), FrameTooLong> {
    let mut rest = bytes;
    while let Some(end) = memchr(b'\n', rest) {
        let line = &rest[..end];
        rest = &rest[end + 1..];
        within_limit(partial.len() + line.len(), "a line", sse::SseDecoder::LIMIT)?;
        if partial.is_empty() {
            on_event(unnamed_event(line));
        } else {
            partial.extend_from_slice(line);
            on_event(unnamed_event(partial));
            partial.clear();
        }
    }
    within_limit(partial.len() + rest.len(), "a line", sse::SseDecoder::LIMIT)?;
    partial.extend_from_slice(rest);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(framing: StreamFraming, body: &[&[u8]]) -> Vec<String> {
        let mut found = Vec::new();
        let mut note = |event: SseEvent<'_>| found.push(String::from_utf8_lossy(event.data).into_owned());
        let mut decoder = FrameDecoder::new(framing);
        body.iter().for_each(|bytes| decoder.push(bytes, &mut note).unwrap());
        decoder.finish(&mut note).unwrap();
        found
    }

    #[test]
    fn lines_are_the_same_however_they_arrive() {
        let body = b"{\"a\":1}\n\n{\"b\":2}\r\n{\"c\":3}";
        let whole = pieces(StreamFraming::Lines, &[body]);
        assert_eq!(whole, ["{\"a\":1}", "", "{\"b\":2}\r", "{\"c\":3}"]);
        for place in 0..=body.len() {
            assert_eq!(
                pieces(StreamFraming::Lines, &[&body[..place], &body[place..]]),
                whole,
                "cut at {place}"
            );
        }
        assert_eq!(pieces(StreamFraming::Lines, &body.chunks(1).collect::<Vec<_>>()), whole);
    }

    #[test]
    fn a_document_is_one_piece() {
        assert_eq!(pieces(StreamFraming::Document, &[b"{\"a\":\n", b"\n\"b\"}"]), ["{\"a\":\n\n\"b\"}"]);
    }

    #[test]
    fn what_never_ends_is_given_up() {
        let megabyte = vec![b'x'; 1 << 20];
        for (framing, what) in [
            (StreamFraming::Lines, "a line is longer than 4 MiB"),
            (StreamFraming::Document, "a document is longer than 16 MiB"),
        ] {
            let mut decoder = FrameDecoder::new(framing);
            let ended = (0..20).try_for_each(|_| decoder.push(&megabyte, &mut |_| {}));
            assert_eq!(ended.unwrap_err().to_string(), what);
        }
    }
}
