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
//! On a real network the stamp is the kernel's, not the wire's. The driver hands segments over after interrupt moderation
//! (10 to 100 µs with usual settings, more with adaptive ones), so every time is late by about that, and GRO merges the
//! segments of a connection that one poll of the card finds: they have one stamp, as if they had waited together. Stamps of
//! the card itself (`SOF_TIMESTAMPING_RX_HARDWARE`) would be the wire's, but they count on the card's own clock, which
//! somebody must keep at the system's; they are not used.
//!
//! Over TLS the bytes of a record have the stamp of the read that completed it. One read takes up to 4 KiB of ciphertext and
//! may end inside the next record: if that one arrived later, the first one's events get its stamp, too late by up to one
//! gap. This takes 4 KiB that wait in the socket, so the other events of such a read are counted as merged; the one before
//! the cut is not, because rustls does not say whether it holds a part of a record.
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
