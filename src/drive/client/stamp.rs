//! A TCP stream that knows when its bytes were there, not only when we came to read them.
//!
//! On Linux every arriving segment gets the wall clock's time in the kernel (`SO_TIMESTAMPING`, software receive), and
//! `recvmsg` tells it along with the bytes: 20–30 µs after the sender's write on loopback, however late the reader is.
//!
//! One read tells one stamp, that of the **last** segment it took. It holds for all bytes of the read only if they arrived
//! together, as one write of the server. A reader that comes after the *next* event has arrived loses the first one's
//! stamp for good: measured on Linux 6.18, the kernel merges segments that wait in the socket into one buffer and keeps
//! the latest stamp (`tcp_try_coalesce`), so that reading by small pieces, peeking, or another way of asking does not
//! bring the earlier ones back. (Three events written 20 ms apart and read in three reads 60 ms later were all stamped
//! 40 ms after the first.) Stamps therefore correct a delay of the reader up to the gap between events, and beyond it they
//! give its last event exactly and the ones before too late. Such reads are counted: see
//! [`Meters::shared`](super::stopwatch::Meters::shared).
//!
//! Elsewhere, or where the kernel refuses, the time is taken right after the read.

use std::time::{Duration, Instant};

#[cfg(target_os = "linux")]
mod linux;
#[cfg(any(test, not(target_os = "linux")))]
mod other;

#[cfg(target_os = "linux")]
pub use linux::{StampedStream, Stamping};
#[cfg(not(target_os = "linux"))]
pub use other::{StampedStream, Stamping};

/// When the bytes of a read were there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// When the kernel had the last of them, by the wall clock since the Unix epoch; `None` where it does not tell.
    pub stamp: Option<Duration>,
    /// When the read returned.
    pub read: Instant,
}

impl Reading {
    /// A read that returns now.
    fn now(stamp: Option<Duration>) -> Self {
        Self { stamp, read: Instant::now() }
    }
}

#[cfg(test)]
mod tests;
