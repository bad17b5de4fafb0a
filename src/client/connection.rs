//! An open connection, with or without TLS.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::client::TlsStream;

use crate::client::rx_timestamp::{ReadTime, TimestampedStream};

/// A connection that carries requests one after another.
#[derive(Debug)]
pub(super) enum HttpConnection {
    /// A connection without TLS (http).
    Plain(TimestampedStream),
    /// A connection with TLS (https).
    Secured(Box<TlsStream<TimestampedStream>>),
}

trait DuplexStream: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> DuplexStream for T {}

impl HttpConnection {
    /// When the bytes of the last socket read arrived.
    pub(super) fn last_read_time(&self) -> ReadTime {
        self.socket().last_read_time()
    }

    /// Whether the server has neither closed the connection nor sent unrequested data.
    pub(super) fn is_idle(&mut self) -> bool {
        if self.socket().is_idle() {
            return true;
        }
        // TLS may have sent tickets for later handshakes, which this read skips. Anything left after that is a message.
        let mut byte = [0];
        let mut context = Context::from_waker(Waker::noop());
        matches!(self, Self::Secured(_)) && self.poll_read(&mut context, &mut byte).is_pending()
    }

    /// Reads the available bytes; 0 means the end of the stream.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(room);
        ready!(self.duplex().poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }

    /// Writes a message from the offset `written`, and advances `written` by the bytes it wrote.
    pub(super) fn poll_write(
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

    fn socket(&self) -> &TimestampedStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Secured(stream) => stream.get_ref().0,
        }
    }

    fn duplex(&mut self) -> Pin<&mut dyn DuplexStream> {
        match self {
            Self::Plain(socket) => Pin::new(socket),
            Self::Secured(stream) => Pin::new(stream.as_mut()),
        }
    }
}
