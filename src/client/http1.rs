//! HTTP/1.1 responses: takes bytes and returns heads and pieces of bodies. It does not copy a part that lies whole in
//! one read.
//!
//! This module parses with httparse, because hyper's reading costs more than the rest of the client together: one frame
//! per chunk took 0.46 µs where the bytes themselves took 0.09 µs (64 chunks a read, Linux 6.18, same run), and each
//! connection holds a buffer. Here all connections of a thread read into one buffer.

mod body;
mod head;
mod wrong_protocol;

use thiserror::Error;

use body::BodyDecoder;
pub(crate) use head::ResponseHead;

/// Why bytes are not a valid response.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum MalformedResponse {
    /// The head does not parse.
    #[error("not an HTTP/1.1 response ({0})")]
    Head(String),
    /// The head exceeds the length limit.
    #[error("the response head is longer than {} KiB", head::MAX_HEAD_BYTES >> 10)]
    HeadTooLong,
    /// The chunked coding is malformed.
    #[error("the chunked body is broken ({0})")]
    Chunk(&'static str),
    /// The server closed the connection before it sent anything.
    #[error("the server closed the connection without an answer")]
    NoAnswer,
    /// The server closed the connection within the head.
    #[error("the server closed the connection within the response head")]
    HalfHead,
    /// The server closed the connection within the body.
    #[error("the server closed the connection before the end of the body")]
    HalfBody,
}

/// A part of a response.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ResponsePart<'b> {
    /// The head, reported once.
    Head(ResponseHead),
    /// A piece of the body, never empty.
    Data(&'b [u8]),
}

/// Cuts the bytes of one response into its parts. The result does not depend on how the network splits the bytes.
#[derive(Debug, Default)]
pub(crate) struct ResponseDecoder {
    /// The bytes of an unfinished head that arrives in pieces.
    partial: Vec<u8>,
    body: Option<BodyDecoder>,
    keeps_alive: bool,
    /// Whether bytes arrived after the end of the response.
    surplus: bool,
}

impl ResponseDecoder {
    /// Takes the next bytes and reports the parts that they complete.
    pub(crate) fn push(
        &mut self,
        bytes: &[u8],
        on_part: &mut impl FnMut(ResponsePart<'_>),
    ) -> Result<(), MalformedResponse> {
        let rest = match self.body {
            Some(_) => bytes,
            None => match self.take_head(bytes, on_part)? {
                Some(rest) => rest,
                None => return Ok(()),
            },
        };
        let body = self.body.as_mut().expect("the head was taken");
        let left = body.push(rest, &mut |data| on_part(ResponsePart::Data(data)))?;
        self.surplus |= !left.is_empty();
        Ok(())
    }

    /// Records that the server closed the connection. Fails unless the response may end there.
    pub(crate) fn close(&mut self) -> Result<(), MalformedResponse> {
        self.keeps_alive = false;
        match &mut self.body {
            None if self.partial.is_empty() => Err(MalformedResponse::NoAnswer),
            None => Err(MalformedResponse::HalfHead),
            Some(body) => body.close(),
        }
    }

    /// Whether the whole response has arrived.
    pub(crate) fn is_complete(&self) -> bool {
        self.body.as_ref().is_some_and(BodyDecoder::is_complete)
    }

    /// Whether the connection can carry another request.
    pub(crate) fn keeps_alive(&self) -> bool {
        self.is_complete() && self.keeps_alive && !self.surplus
    }

    /// Reports the head if it is complete, and returns the bytes after it.
    fn take_head<'b>(
        &mut self,
        mut bytes: &'b [u8],
        on_part: &mut impl FnMut(ResponsePart<'_>),
    ) -> Result<Option<&'b [u8]>, MalformedResponse> {
        loop {
            let held = self.partial.len();
            let parsed = if held == 0 {
                head::parse(bytes)?
            } else {
                self.partial.extend_from_slice(bytes);
                head::parse(&self.partial)?
            };
            let Some((head, length)) = parsed else {
                if held == 0 {
                    self.partial.extend_from_slice(bytes);
                }
                return Ok(None);
            };
            self.partial.clear();
            bytes = &bytes[length - held..];
            // 100 and 103 are interim responses; the final response follows them.
            if !head.is_interim() {
                self.keeps_alive = head.keeps_alive;
                self.body = Some(BodyDecoder::new(head.framing));
                on_part(ResponsePart::Head(head));
                return Ok(Some(bytes));
            }
        }
    }
}

#[cfg(test)]
mod tests;
