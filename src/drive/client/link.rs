//! An open connection, secured or not.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::client::TlsStream;

use super::stamp::{Reading, StampedStream};

/// A connection that requests are sent on, one after another.
#[derive(Debug)]
pub enum Link {
    /// http.
    Plain(StampedStream),
    /// https.
    Secured(Box<TlsStream<StampedStream>>),
}

trait Duplex: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Duplex for T {}

impl Link {
    /// When the bytes of the last read of the socket were there.
    pub fn reading(&self) -> Reading {
        self.socket().reading()
    }

    /// Whether the server has neither closed the connection nor sent anything that nobody asked for.
    pub fn is_quiet(&mut self) -> bool {
        if self.socket().is_quiet() {
            return true;
        }
        // TLS may have sent tickets for later handshakes, which are read over; what is left then is a message.
        let mut byte = [0];
        let mut context = Context::from_waker(Waker::noop());
        matches!(self, Self::Secured(_)) && self.poll_read(&mut context, &mut byte).is_pending()
    }

    /// Reads what is there; 0 is the end.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(room);
        ready!(self.duplex().poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }

    /// Writes a message, starting at `written`, which tells how far it came.
    pub fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        [head, body]: [&[u8]; 2],
        written: &mut usize,
    ) -> Poll<io::Result<()>> {
        while *written < head.len() + body.len() {
            let head_left = &head[(*written).min(head.len())..];
            let body_left = &body[written.saturating_sub(head.len())..];
            let parts = [IoSlice::new(head_left), IoSlice::new(body_left)];
            match ready!(self.duplex().poll_write_vectored(cx, &parts))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => *written += count,
            }
        }
        self.duplex().poll_flush(cx)
    }

    fn socket(&self) -> &StampedStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Secured(stream) => stream.get_ref().0,
        }
    }

    fn duplex(&mut self) -> Pin<&mut dyn Duplex> {
        match self {
            Self::Plain(socket) => Pin::new(socket),
            Self::Secured(stream) => Pin::new(stream.as_mut()),
        }
    }
}
