//! Parses the bytes of an event stream into its events.
//!
//! The parser follows the rules of the WHATWG HTML standard (section "Server-sent events"). Its events do not depend on
//! how the network splits the bytes. It knows nothing about HTTP, JSON or time.

use std::mem;

use memchr::{memchr, memchr2};
use thiserror::Error;

/// The byte order mark that may begin a stream.
const BOM: &[u8] = b"\xEF\xBB\xBF";

/// One event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SseEvent<'a> {
    /// The value of the event's `event:` line; empty if it has none.
    pub name: &'a [u8],
    /// The event's `data:` lines, joined by line feeds.
    pub data: &'a [u8],
}

/// The name of an event for a line outside the standard: neither a field nor a comment, such as an error that a server
/// or a proxy writes without `data:`. No `event:` line can contain this name.
pub(crate) const STRAY_LINE: &[u8] = b"\nstray";

/// An event that is longer than [`SseDecoder::LIMIT`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("an event is longer than {} MiB", SseDecoder::LIMIT >> 20)]
pub(crate) struct SseEventTooLong;

/// Splits a byte stream into events as its pieces arrive.
///
/// An event that lies whole in one piece and has one data line is reported without a copy.
#[derive(Debug, Default)]
pub(crate) struct SseDecoder {
    /// The unfinished line from earlier pieces.
    partial: Vec<u8>,
    /// The data of the unfinished event, if it had to be copied.
    data: Option<Vec<u8>>,
    /// The name of the unfinished event.
    name: Vec<u8>,
    /// Whether the last piece ended in a carriage return: a line feed that follows belongs to it.
    after_cr: bool,
    /// Whether the first line, which may carry a byte order mark, was already read.
    begun: bool,
}

impl SseDecoder {
    /// The length limit of an event, in bytes: servers that never end an event must not exhaust our memory with
    /// hundreds of streams. The longest events of use are a whole image or a minute of sound in Base64, up to 4 MB.
    pub(crate) const LIMIT: usize = 4 << 20;

    /// Takes the next piece of the stream and reports the events that it completes.
    ///
    /// Fails on an event longer than [`SseDecoder::LIMIT`]; the rest of the stream cannot be decoded.
    pub(crate) fn push(
        &mut self,
        bytes: &[u8],
        on_event: &mut impl FnMut(SseEvent<'_>),
    ) -> Result<(), SseEventTooLong> {
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
        self.keep_data_line(here);
        self.check(self.partial.len() + rest.len())?;
        self.partial.extend_from_slice(rest);
        Ok(())
    }

    /// Ends the stream and reports the unfinished event if it has any data.
    ///
    /// The standard drops an event without its final blank line. Some servers close right after the last event's data
    /// line, and that event holds the finish reason or `[DONE]`: dropping it would turn a complete answer into a broken
    /// one.
    pub(crate) fn finish(&mut self, on_event: &mut impl FnMut(SseEvent<'_>)) -> Result<(), SseEventTooLong> {
        self.take_joined_line(b"", on_event)?;
        self.dispatch(None, on_event);
        Ok(())
    }

    /// Skips the line feed of a CR LF pair whose CR has already ended the line.
    fn skip_line_feed<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        if !self.after_cr || bytes.is_empty() {
            return bytes;
        }
        self.after_cr = false;
        bytes.strip_prefix(b"\n").unwrap_or(bytes)
    }

    /// Takes the end of a line that began in earlier pieces.
    fn take_joined_line(
        &mut self,
        end: &[u8],
        on_event: &mut impl FnMut(SseEvent<'_>),
    ) -> Result<(), SseEventTooLong> {
        let mut line = mem::take(&mut self.partial);
        line.extend_from_slice(end);
        let mut here = None;
        if !line.is_empty() {
            self.take_line(&line, &mut here, on_event)?;
        }
        self.keep_data_line(here);
        line.clear();
        self.partial = line;
        Ok(())
    }

    /// Takes a whole line. `here` is the event's only data line so far, as long as it needs no copy.
    fn take_line<'b>(
        &mut self,
        mut line: &'b [u8],
        here: &mut Option<&'b [u8]>,
        on_event: &mut impl FnMut(SseEvent<'_>),
    ) -> Result<(), SseEventTooLong> {
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
            // llama.cpp used to report errors in a field of that name, which the standard does not know.
            (b"data" | b"error", value) if here.is_none() && self.data.is_none() => *here = Some(value),
            (b"data" | b"error", value) => {
                self.keep_data_line(here.take());
                self.keep_data_line(Some(value));
            }
            (b"event", value) => {
                self.name.clear();
                self.name.extend_from_slice(value);
            }
            // Comments have an empty field name. `id` and `retry` serve reconnection, which the client never does.
            (b"" | b"id" | b"retry", _) => {}
            _ => on_event(SseEvent { name: STRAY_LINE, data: line }),
        }
        Ok(())
    }

    /// Copies a data line out of the piece that it arrived in.
    fn keep_data_line(&mut self, value: Option<&[u8]>) {
        let Some(value) = value else { return };
        match &mut self.data {
            Some(data) => {
                data.push(b'\n');
                data.extend_from_slice(value);
            }
            None => self.data = Some(value.to_vec()),
        }
    }

    /// Reports the event that a blank line ended. The standard ignores an event without data.
    fn dispatch(&mut self, here: Option<&[u8]>, on_event: &mut impl FnMut(SseEvent<'_>)) {
        let kept = self.data.take();
        if let Some(data) = here.or(kept.as_deref()) {
            on_event(SseEvent { name: &self.name, data });
        }
        self.name.clear();
    }

    fn check(&self, more: usize) -> Result<(), SseEventTooLong> {
        let length = self.data.as_ref().map_or(0, Vec::len) + more;
        if length > Self::LIMIT { Err(SseEventTooLong) } else { Ok(()) }
    }
}

/// The name and the value of a line's field; one space after the colon belongs to neither.
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
