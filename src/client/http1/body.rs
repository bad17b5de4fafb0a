//! Finds the end of a response's body.

use super::MalformedResponse;

/// How a response marks the end of its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyFraming {
    /// By its length, in bytes.
    Length(u64),
    /// By the chunked coding (RFC 9112, section 7.1).
    Chunked,
    /// By the end of the connection.
    UntilClose,
}

/// The largest size of all trailers, in bytes.
const TRAILERS: usize = 16 << 10;

/// A body that is being read.
#[derive(Debug)]
pub(super) struct BodyDecoder(BodyState);

/// The next expected part. Lines may end in a bare line feed.
#[derive(Debug)]
enum BodyState {
    /// The remaining bytes of a body of known length.
    Rest(u64),
    /// Any bytes, until the server closes the connection.
    Anything,
    /// A chunk's size; `None` before its first digit.
    Size(Option<u64>),
    /// The rest of the line that holds a chunk's size.
    Extension(u64),
    /// The remaining bytes of a chunk.
    Chunk(u64),
    /// The end of the line after a chunk.
    ChunkEnd,
    /// A trailer line. `blank` states whether the line is empty so far; `seen` counts the trailer bytes before it.
    Trailer { blank: bool, seen: usize },
    /// The body is complete.
    Over,
}

impl BodyDecoder {
    /// Creates the state for a body that ends as `framing` states.
    pub(super) fn new(framing: BodyFraming) -> Self {
        Self(match framing {
            BodyFraming::Length(0) => BodyState::Over,
            BodyFraming::Length(length) => BodyState::Rest(length),
            BodyFraming::Chunked => BodyState::Size(None),
            BodyFraming::UntilClose => BodyState::Anything,
        })
    }

    /// Whether the whole body has arrived.
    pub(super) fn is_complete(&self) -> bool {
        matches!(self.0, BodyState::Over)
    }

    /// Reports the data in the next bytes, and returns the bytes after the end of the body.
    pub(super) fn push<'b>(
        &mut self,
        mut bytes: &'b [u8],
        on_data: &mut impl FnMut(&[u8]),
    ) -> Result<&'b [u8], MalformedResponse> {
        while let Some(&first) = bytes.first() {
            let taken = match &self.0 {
                BodyState::Over => break,
                BodyState::Rest(left) | BodyState::Chunk(left) => {
                    usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len())
                }
                BodyState::Anything => bytes.len(),
                _ => 0,
            };
            if taken == 0 {
                self.step(first)?;
                bytes = &bytes[1..];
            } else {
                on_data(&bytes[..taken]);
                self.consume(taken as u64);
                bytes = &bytes[taken..];
            }
        }
        Ok(bytes)
    }

    /// Records that the server closed the connection. Fails unless the body may end there.
    pub(super) fn close(&mut self) -> Result<(), MalformedResponse> {
        match self.0 {
            BodyState::Over => Ok(()),
            BodyState::Anything => {
                self.0 = BodyState::Over;
                Ok(())
            }
            _ => Err(MalformedResponse::HalfBody),
        }
    }

    /// Records that `taken` bytes of data were read.
    fn consume(&mut self, taken: u64) {
        match &mut self.0 {
            BodyState::Rest(left) if *left == taken => self.0 = BodyState::Over,
            BodyState::Chunk(left) if *left == taken => self.0 = BodyState::ChunkEnd,
            BodyState::Rest(left) | BodyState::Chunk(left) => *left -= taken,
            _ => {}
        }
    }

    /// Handles one byte of the coding between the data.
    fn step(&mut self, byte: u8) -> Result<(), MalformedResponse> {
        self.0 = match (&self.0, byte) {
            (BodyState::Size(Some(size)) | BodyState::Extension(size), b'\n') => begin_chunk(*size),
            (BodyState::Size(Some(size)), b'\r' | b';' | b' ' | b'\t') => BodyState::Extension(*size),
            (BodyState::Size(size), digit) => BodyState::Size(Some(append_digit(size.unwrap_or(0), digit)?)),
            (BodyState::Extension(size), _) => BodyState::Extension(*size),
            (BodyState::ChunkEnd, b'\r') => BodyState::ChunkEnd,
            (BodyState::ChunkEnd, b'\n') => BodyState::Size(None),
            (BodyState::ChunkEnd, _) => {
                return Err(MalformedResponse::Chunk("a chunk is longer than its size"));
            }
            (BodyState::Trailer { blank: true, .. }, b'\n') => BodyState::Over,
            (BodyState::Trailer { seen, .. }, _) if *seen > TRAILERS => {
                return Err(MalformedResponse::Chunk("its trailers do not end"));
            }
            (BodyState::Trailer { blank, seen }, byte) => {
                BodyState::Trailer { blank: byte == b'\n' || (*blank && byte == b'\r'), seen: seen + 1 }
            }
            (BodyState::Rest(_) | BodyState::Chunk(_) | BodyState::Anything | BodyState::Over, _) => {
                unreachable!("data is not taken byte by byte")
            }
        };
        Ok(())
    }
}

fn begin_chunk(size: u64) -> BodyState {
    if size == 0 { BodyState::Trailer { blank: true, seen: 0 } } else { BodyState::Chunk(size) }
}

fn append_digit(size: u64, digit: u8) -> Result<u64, MalformedResponse> {
    let value = char::from(digit)
        .to_digit(16)
        .ok_or(MalformedResponse::Chunk("a size is not a hexadecimal number"))?;
    match size.checked_mul(16) {
        Some(shifted) => Ok(shifted | u64::from(value)),
        None => Err(MalformedResponse::Chunk("a size is too large")),
    }
}
