//! Receive timestamps from `recvmsg`.

use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, TimestampingFlag, Timestamps, cmsg_space, recvmsg, setsockopt, sockopt,
};
use nix::sys::time::TimeSpec;
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketFlags, SocketType};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};

use super::ReadTime;

/// Keeps the kernel's timestamps enabled until it is dropped.
///
/// The kernel stamps segments while any socket asks for timestamps, and takes a moment to begin. With one socket that
/// always asks, the first segments of the first connection have timestamps too.
#[derive(Debug)]
pub(crate) struct RxTimestampGuard {
    _asks: OwnedFd,
}

impl RxTimestampGuard {
    /// Enables timestamps; `None` if the kernel refuses.
    pub(crate) fn start() -> Option<Self> {
        let any = |family| net::socket_with(family, SocketType::DGRAM, SocketFlags::CLOEXEC, None);
        let socket = any(AddressFamily::INET).or_else(|_| any(AddressFamily::INET6)).ok()?;
        enable_timestamps(&socket).ok()?;
        Some(Self { _asks: socket })
    }
}

fn new_socket(address: SocketAddr) -> io::Result<TcpStream> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    Ok(net::socket_with(family, SocketType::STREAM, flags, None)?.into())
}

fn enable_timestamps(socket: &impl AsFd) -> nix::Result<()> {
    let software =
        TimestampingFlag::SOF_TIMESTAMPING_RX_SOFTWARE | TimestampingFlag::SOF_TIMESTAMPING_SOFTWARE;
    setsockopt(socket, sockopt::Timestamping, &software)
}

/// A TCP connection whose reads have timestamps.
#[derive(Debug)]
pub(crate) struct TimestampedStream {
    socket: AsyncFd<TcpStream>,
    last: ReadTime,
}

/// The buffer for the timestamps of a read, aligned like the kernel's headers in it.
#[repr(align(8))]
struct CmsgBuffer([u8; cmsg_space::<Timestamps>()]);

impl TimestampedStream {
    /// Connects with Nagle's algorithm disabled.
    ///
    /// On loopback, this completes at once, without a turn of the event loop: among a thousand connections that open
    /// together, the first can send its request before the last has begun.
    #[expect(deprecated, reason = "the replacement is unsafe; a TcpStream stays open while it is registered")]
    pub(crate) async fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = new_socket(address)?;
        stream.set_nodelay(true)?;
        // If the kernel refuses, the stream reads without timestamps; `RxTimestampGuard::start` has reported the
        // refusal.
        let _ = enable_timestamps(&stream);
        let begun = net::connect(&stream, &address);
        let socket = AsyncFd::with_interest(stream, Interest::READABLE | Interest::WRITABLE)?;
        match begun {
            // The connection began while the call held the socket, and completed when the call released it.
            Err(Errno::INPROGRESS) if socket.get_ref().peer_addr().is_ok() => {}
            Err(Errno::INPROGRESS) => {
                let _readiness = socket.writable().await?;
                socket.get_ref().take_error()?.map_or(Ok(()), Err)?;
            }
            done => done?,
        }
        Ok(Self { socket, last: ReadTime::at_now(None) })
    }

    /// When the bytes of the last read arrived.
    pub(crate) fn last_read_time(&self) -> ReadTime {
        self.last
    }

    /// Whether the socket has nothing unread: no bytes, no end of the stream, no error.
    pub(crate) fn is_idle(&self) -> bool {
        would_block(&self.socket.get_ref().peek(&mut [0]))
    }
}

impl AsyncRead for TimestampedStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            let mut readiness = ready!(this.socket.poll_read_ready(cx))?;
            let room = buffer.initialize_unfilled();
            let size = room.len();
            match receive(this.socket.get_ref(), room) {
                Ok((count, stamp)) => {
                    this.last = ReadTime::at_now(stamp);
                    // A short read has emptied the socket, and new bytes set the readiness again. Without this, a
                    // second read that finds nothing would follow every read.
                    if 0 < count && count < size {
                        readiness.clear_ready();
                    }
                    buffer.advance(count);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => readiness.clear_ready(),
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

/// Reads the available bytes, and the timestamp of the last segment taken.
fn receive(socket: &TcpStream, room: &mut [u8]) -> io::Result<(usize, Option<Duration>)> {
    let mut parts = [IoSliceMut::new(room)];
    let mut control = CmsgBuffer([0; _]);
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut control.0), MsgFlags::empty())?;
    let stamp = message.cmsgs()?.find_map(|part| match part {
        ControlMessageOwned::ScmTimestampsns(stamps) => since_epoch(stamps.system),
        _ => None,
    });
    Ok((message.bytes, stamp))
}

/// The time since the Unix epoch; `None` for zero, which means no timestamp.
fn since_epoch(stamp: TimeSpec) -> Option<Duration> {
    let seconds = u64::try_from(stamp.tv_sec()).ok().filter(|&seconds| seconds > 0)?;
    Some(Duration::new(seconds, u32::try_from(stamp.tv_nsec()).ok()?))
}

impl TimestampedStream {
    /// Writes at once if the socket has space, as it has for nearly every request, without a turn of the event loop.
    fn poll_io(
        &self,
        cx: &mut Context<'_>,
        mut write: impl FnMut(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        let mut result = write(self.socket.get_ref());
        while would_block(&result) {
            let mut readiness = ready!(self.socket.poll_write_ready(cx))?;
            result = write(self.socket.get_ref());
            if would_block(&result) {
                readiness.clear_ready();
            }
        }
        Poll::Ready(result)
    }
}

fn would_block<T>(result: &io::Result<T>) -> bool {
    matches!(result, Err(error) if error.kind() == ErrorKind::WouldBlock)
}

impl AsyncWrite for TimestampedStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_io(cx, |mut socket| socket.write(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_io(cx, |mut socket| socket.write_vectored(parts))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.socket.get_ref().shutdown(Shutdown::Write))
    }
}
