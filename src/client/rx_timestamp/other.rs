//! TCP streams on systems whose kernel has no receive timestamps.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::ReadTime;

/// An empty stand-in for the Linux guard: there are no timestamps to enable.
#[derive(Debug)]
pub(super) struct RxTimestampGuard;

impl RxTimestampGuard {
    /// Always returns `None`.
    pub(super) fn start() -> Option<Self> {
        None
    }
}

/// A TCP connection that records when its reads return.
#[derive(Debug)]
pub(super) struct TimestampedStream {
    socket: TcpStream,
    last: ReadTime,
}

impl TimestampedStream {
    /// Connects with Nagle's algorithm disabled.
    pub(super) async fn connect(address: SocketAddr) -> io::Result<Self> {
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        Ok(Self { socket, last: ReadTime::at_now(None) })
    }

    /// When the bytes of the last read arrived.
    pub(super) fn last_read_time(&self) -> ReadTime {
        self.last
    }

    /// Whether the socket has nothing unread, as far as the event loop knows.
    pub(super) fn is_idle(&self) -> bool {
        let mut byte = [0];
        let mut context = Context::from_waker(Waker::noop());
        self.socket.poll_peek(&mut context, &mut ReadBuf::new(&mut byte)).is_pending()
    }
}

impl AsyncRead for TimestampedStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(Pin::new(&mut this.socket).poll_read(cx, buffer))?;
        this.last = ReadTime::at_now(None);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for TimestampedStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(cx)
    }
}
