//! Where a response's body ends.

use super::Malformed;

/// How the end of a body is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// After so many bytes.
    Length(u64),
    /// By the chunked coding (RFC 9112, section 7.1).
    Chunked,
    /// By closing the connection.
    UntilClose,
}

/// The most bytes of trailers.
const TRAILERS: usize = 16 << 10;

/// A body being read.
#[derive(Debug)]
pub struct Body(State);

/// What is expected next. Lines may end in a bare line feed.
#[derive(Debug)]
enum State {
    /// So much of a body of known length.
    Rest(u64),
    /// Whatever comes.
    Anything,
    /// A chunk's size; `None` before its first digit.
    Size(Option<u64>),
    /// The rest of a size's line.
    Extension(u64),
    /// So much of a chunk.
    Chunk(u64),
    /// The end of the line after a chunk.
    ChunkEnd,
    /// A trailer's line, blank so far or not, with so many bytes of trailers before.
    Trailer { blank: bool, seen: usize },
    /// Nothing.
    Over,
}

impl Body {
    /// A body that ends as its head says.
    pub fn new(framing: Framing) -> Self {
        Self(match framing {
            Framing::Length(0) => State::Over,
            Framing::Length(length) => State::Rest(length),
            Framing::Chunked => State::Size(None),
            Framing::UntilClose => State::Anything,
        })
    }

    /// Whether the whole body is there.
    pub fn is_over(&self) -> bool {
        matches!(self.0, State::Over)
    }

    /// Hands out the data in the next bytes, and returns what is left after the end of the body.
    pub fn push<'b>(
        &mut self,
        mut bytes: &'b [u8],
        on_data: &mut impl FnMut(&[u8]),
    ) -> Result<&'b [u8], Malformed> {
        while let Some(&first) = bytes.first() {
            let taken = match &self.0 {
                State::Over => break,
                State::Rest(left) | State::Chunk(left) => {
                    usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len())
                }
                State::Anything => bytes.len(),
                _ => 0,
            };
            if taken == 0 {
                self.step(first)?;
                bytes = &bytes[1..];
            } else {
                on_data(&bytes[..taken]);
                self.took(taken as u64);
                bytes = &bytes[taken..];
            }
        }
        Ok(bytes)
    }

    /// The connection was closed: whether that is a proper end.
    pub fn close(&mut self) -> Result<(), Malformed> {
        match self.0 {
            State::Over => Ok(()),
            State::Anything => {
                self.0 = State::Over;
                Ok(())
            }
            _ => Err(Malformed::HalfBody),
        }
    }

    /// So many bytes of data are behind us.
    fn took(&mut self, taken: u64) {
        match &mut self.0 {
            State::Rest(left) if *left == taken => self.0 = State::Over,
            State::Chunk(left) if *left == taken => self.0 = State::ChunkEnd,
            State::Rest(left) | State::Chunk(left) => *left -= taken,
            _ => {}
        }
    }

    /// One byte between the data.
    fn step(&mut self, byte: u8) -> Result<(), Malformed> {
        self.0 = match (&self.0, byte) {
            (State::Size(Some(size)) | State::Extension(size), b'\n') => begin_chunk(*size),
            (State::Size(Some(size)), b'\r' | b';' | b' ' | b'\t') => State::Extension(*size),
            (State::Size(size), digit) => State::Size(Some(append_digit(size.unwrap_or(0), digit)?)),
            (State::Extension(size), _) => State::Extension(*size),
            (State::ChunkEnd, b'\r') => State::ChunkEnd,
            (State::ChunkEnd, b'\n') => State::Size(None),
            (State::ChunkEnd, _) => return Err(Malformed::Chunk("a chunk is longer than its size")),
            (State::Trailer { blank: true, .. }, b'\n') => State::Over,
            (State::Trailer { seen, .. }, _) if *seen > TRAILERS => {
                return Err(Malformed::Chunk("its trailers do not end"));
            }
            (State::Trailer { blank, seen }, byte) => {
                State::Trailer { blank: byte == b'\n' || (*blank && byte == b'\r'), seen: seen + 1 }
            }
            (State::Rest(_) | State::Chunk(_) | State::Anything | State::Over, _) => {
                unreachable!("data is not taken byte by byte")
            }
        };
        Ok(())
    }
}

fn begin_chunk(size: u64) -> State {
    if size == 0 { State::Trailer { blank: true, seen: 0 } } else { State::Chunk(size) }
}

fn append_digit(size: u64, digit: u8) -> Result<u64, Malformed> {
    let value =
        char::from(digit).to_digit(16).ok_or(Malformed::Chunk("a size is not a hexadecimal number"))?;
    match size.checked_mul(16) {
        Some(shifted) => Ok(shifted | u64::from(value)),
        None => Err(Malformed::Chunk("a size is beyond all bounds")),
    }
}
