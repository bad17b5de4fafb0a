//! Bytes of an event stream to its events.
//!
//! Follows the parsing rules of the WHATWG HTML standard (section "Server-sent events"), and gives the same events
//! for every way in which the network cuts the bytes. It knows nothing of HTTP, JSON or time.

use std::mem;

use memchr::{memchr, memchr2};
use thiserror::Error;

/// The byte order mark that may open a stream.
const BOM: &[u8] = b"\xEF\xBB\xBF";

/// One event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event<'a> {
    /// What its `event:` line says; empty without one.
    pub name: &'a [u8],
    /// Its `data:` lines, joined by line feeds.
    pub data: &'a [u8],
}

/// An event that goes on beyond [`Decoder::LIMIT`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("an event is longer than {} MiB", Decoder::LIMIT >> 20)]
pub struct EventTooLong;

/// Cuts a byte stream into events as its pieces arrive.
///
/// An event that lies whole in one piece, with one data line, is handed out in place: nothing is copied.
#[derive(Debug, Default)]
pub struct Decoder {
    /// The unfinished line that earlier pieces left.
    partial: Vec<u8>,
    /// Data of the unfinished event, once it had to be copied.
    data: Option<Vec<u8>>,
    /// Name of the unfinished event.
    name: Vec<u8>,
    /// The last piece ended in a carriage return: a line feed that follows belongs to it.
    after_cr: bool,
    /// The first line, which may carry a byte order mark, is behind us.
    begun: bool,
}

impl Decoder {
    /// The longest event, in bytes: a server that never ends one must not eat our memory.
    pub const LIMIT: usize = 16 << 20;

    /// Takes the next piece of the stream and hands out the events that it completes.
    ///
    /// Fails on an event longer than [`Decoder::LIMIT`]; the stream cannot be followed from there.
    pub fn push(&mut self, bytes: &[u8], on_event: &mut impl FnMut(Event<'_>)) -> Result<(), EventTooLong> {
        let mut rest = self.skip_line_feed(bytes);
        let mut here = None;
        while let Some(end) = memchr2(b'\n', b'\r', rest) {
            let line = &rest[..end];
            self.after_cr = rest[end] == b'\r';
            rest = self.skip_line_feed(&rest[end + 1..]);
            if self.partial.is_empty() {
                self.take_line(line, &mut here, on_event)?;
            } else {
                self.take_joined_line(line, on_event)?;
            }
        }
        self.keep(here);
        self.check(self.partial.len() + rest.len())?;
        self.partial.extend_from_slice(rest);
        Ok(())
    }

    /// Ends the stream and hands out the event it was in the middle of, if that had any data.
    ///
    /// The standard drops an event without its final blank line. Some servers close right after the last event's data
    /// line, and that event holds the finish reason or `[DONE]`: dropping it would turn a whole answer into a broken one.
    pub fn finish(&mut self, on_event: &mut impl FnMut(Event<'_>)) -> Result<(), EventTooLong> {
        self.take_joined_line(b"", on_event)?;
        self.dispatch(None, on_event);
        Ok(())
    }

    /// Drops the line feed of a CR LF pair whose CR has already ended the line.
    fn skip_line_feed<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        if !self.after_cr || bytes.is_empty() {
            return bytes;
        }
        self.after_cr = false;
        bytes.strip_prefix(b"\n").unwrap_or(bytes)
    }

    /// Takes the end of a line whose beginning came in earlier pieces.
    fn take_joined_line(
        &mut self,
        end: &[u8],
        on_event: &mut impl FnMut(Event<'_>),
    ) -> Result<(), EventTooLong> {
        let mut line = mem::take(&mut self.partial);
        line.extend_from_slice(end);
        let mut here = None;
        if !line.is_empty() {
            self.take_line(&line, &mut here, on_event)?;
        }
        self.keep(here);
        line.clear();
        self.partial = line;
        Ok(())
    }

    /// Takes a whole line. `here` is the event's only data line so far, while it needs no copy.
    fn take_line<'b>(
        &mut self,
        mut line: &'b [u8],
        here: &mut Option<&'b [u8]>,
        on_event: &mut impl FnMut(Event<'_>),
    ) -> Result<(), EventTooLong> {
        self.check(line.len() + here.map_or(0, <[u8]>::len))?;
        if !mem::replace(&mut self.begun, true) {
            line = line.strip_prefix(BOM).unwrap_or(line);
        }
        if line.is_empty() {
            self.dispatch(here.take(), on_event);
            return Ok(());
        }
        let (field, value) = split_field(line);
        if field == b"error" {
            self.name.clear();
            self.name.extend_from_slice(field);
        }
        match (field, value) {
            // llama.cpp once told errors in a field of that name, which the standard does not know.
            (b"data" | b"error", value) if here.is_none() && self.data.is_none() => *here = Some(value),
            (b"data" | b"error", value) => {
                self.keep(here.take());
                self.keep(Some(value));
            }
            (b"event", value) => {
                self.name.clear();
                self.name.extend_from_slice(value);
            }
            // Comments have an empty field name; `id` and `retry` serve reconnection, which we never do.
            _ => {}
        }
        Ok(())
    }

    /// Copies a data line out of the piece it arrived in.
    fn keep(&mut self, value: Option<&[u8]>) {
        let Some(value) = value else { return };
        match &mut self.data {
            Some(data) => {
                data.push(b'\n');
                data.extend_from_slice(value);
            }
            None => self.data = Some(value.to_vec()),
        }
    }

    /// Hands out the event that a blank line ended; one without data is none, by the standard.
    fn dispatch(&mut self, here: Option<&[u8]>, on_event: &mut impl FnMut(Event<'_>)) {
        let kept = self.data.take();
        if let Some(data) = here.or(kept.as_deref()) {
            on_event(Event { name: &self.name, data });
        }
        self.name.clear();
    }

    fn check(&self, more: usize) -> Result<(), EventTooLong> {
        let length = self.data.as_ref().map_or(0, Vec::len) + more;
        if length > Self::LIMIT { Err(EventTooLong) } else { Ok(()) }
    }
}

/// A line's field name and value; one space after the colon belongs to neither.
fn split_field(line: &[u8]) -> (&[u8], &[u8]) {
    match memchr(b':', line) {
        Some(colon) => {
            let value = &line[colon + 1..];
            (&line[..colon], value.strip_prefix(b" ").unwrap_or(value))
        }
        None => (line, b""),
    }
}

#[cfg(test)]
mod tests;
