//! How a body falls into the pieces that mean something: events, lines, or one document.

use memchr::memchr;
use thiserror::Error;

use super::sieve::Sieve;
use super::sse::{self, Event};

/// The kinds of pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// Server-sent events.
    Events,
    /// Lines of JSON.
    Lines,
    /// All of it is one JSON document.
    Document,
}

/// A piece that goes on and on: a server that never ends one must not eat our memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{0} is longer than {limit} MiB", limit = sse::Decoder::LIMIT >> 20)]
pub struct TooLong(&'static str);

/// Cuts a body into its pieces as it arrives, the same for every way in which the network cuts it. What is no event is
/// handed out as one without a name.
#[derive(Debug)]
pub enum Cutter {
    /// Server-sent events.
    Events(sse::Decoder),
    /// The unfinished line.
    Lines(Vec<u8>),
    /// The document so far.
    Document(Sieve),
}

impl Cutter {
    /// At the beginning of a body.
    pub fn new(framing: Framing) -> Self {
        match framing {
            Framing::Events => Self::Events(sse::Decoder::default()),
            Framing::Lines => Self::Lines(Vec::new()),
            Framing::Document => Self::Document(Sieve::default()),
        }
    }

    /// Takes some of the body and hands out the pieces that it completes.
    ///
    /// # Errors
    /// [`TooLong`]: the body cannot be followed from there.
    pub fn push(&mut self, bytes: &[u8], on_event: &mut impl FnMut(Event<'_>)) -> Result<(), TooLong> {
        match self {
            Self::Events(decoder) => decoder.push(bytes, on_event).map_err(|_| TooLong("an event")),
            Self::Lines(partial) => push_lines(partial, bytes, on_event),
            Self::Document(sieve) => {
                sieve.push(bytes);
                within_limit(sieve.kept().len(), "a document")
            }
        }
    }

    /// Ends the body and hands out the piece it was in the middle of.
    ///
    /// # Errors
    /// As [`Cutter::push`].
    pub fn finish(&mut self, on_event: &mut impl FnMut(Event<'_>)) -> Result<(), TooLong> {
        match self {
            Self::Events(decoder) => return decoder.finish(on_event).map_err(|_| TooLong("an event")),
            Self::Lines(partial) => on_event(nameless(partial)),
            Self::Document(sieve) => on_event(nameless(sieve.kept())),
        }
        Ok(())
    }
}

fn nameless(data: &[u8]) -> Event<'_> {
    Event { name: b"", data }
}

fn within_limit(length: usize, what: &'static str) -> Result<(), TooLong> {
    if length > sse::Decoder::LIMIT { Err(TooLong(what)) } else { Ok(()) }
}

/// A line that lies whole in what arrived is handed out in place.
fn push_lines(
    partial: &mut Vec<u8>,
    bytes: &[u8],
    on_event: &mut impl FnMut(Event<'_>),
) -> Result<(), TooLong> {
    let mut rest = bytes;
    while let Some(end) = memchr(b'\n', rest) {
        let line = &rest[..end];
        rest = &rest[end + 1..];
        within_limit(partial.len() + line.len(), "a line")?;
        if partial.is_empty() {
            on_event(nameless(line));
        } else {
            partial.extend_from_slice(line);
            on_event(nameless(partial));
            partial.clear();
        }
    }
    within_limit(partial.len() + rest.len(), "a line")?;
    partial.extend_from_slice(rest);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(framing: Framing, body: &[&[u8]]) -> Vec<String> {
        let mut found = Vec::new();
        let mut note = |event: Event<'_>| found.push(String::from_utf8_lossy(event.data).into_owned());
        let mut cutter = Cutter::new(framing);
        body.iter().for_each(|bytes| cutter.push(bytes, &mut note).unwrap());
        cutter.finish(&mut note).unwrap();
        found
    }

    #[test]
    fn lines_are_the_same_however_they_arrive() {
        let body = b"{\"a\":1}\n\n{\"b\":2}\r\n{\"c\":3}";
        let whole = pieces(Framing::Lines, &[body]);
        assert_eq!(whole, ["{\"a\":1}", "", "{\"b\":2}\r", "{\"c\":3}"]);
        for place in 0..=body.len() {
            assert_eq!(pieces(Framing::Lines, &[&body[..place], &body[place..]]), whole, "cut at {place}");
        }
        assert_eq!(pieces(Framing::Lines, &body.chunks(1).collect::<Vec<_>>()), whole);
    }

    #[test]
    fn a_document_is_one_piece() {
        assert_eq!(pieces(Framing::Document, &[b"{\"a\":\n", b"\n\"b\"}"]), ["{\"a\":\n\n\"b\"}"]);
    }

    #[test]
    fn what_never_ends_is_given_up() {
        let megabyte = vec![b'x'; 1 << 20];
        for (framing, what) in [(Framing::Lines, "a line"), (Framing::Document, "a document")] {
            let mut cutter = Cutter::new(framing);
            let ended = (0..20).try_for_each(|_| cutter.push(&megabyte, &mut |_| {}));
            assert_eq!(ended.unwrap_err().to_string(), format!("{what} is longer than 16 MiB"));
        }
    }
}
