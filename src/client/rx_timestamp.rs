//! A TCP stream that knows when its bytes arrived, and not only when the client read them.
//!
//! On Linux, the kernel stamps every arriving segment with the wall-clock time (`SO_TIMESTAMPING`, software receive),
//! and `recvmsg` returns that timestamp along with the bytes: 20–30 µs after the sender's write on loopback, however
//! late the reader is.
//!
//! One read returns one timestamp, that of the **last** segment it took. The timestamp holds for all bytes of the read
//! only if they arrived together, as one write of the server. A reader that comes after the *next* event has arrived
//! loses the first event's timestamp for good: measured on Linux 6.18, the kernel merges segments that wait in the
//! socket into one buffer and keeps the latest timestamp (`tcp_try_coalesce`). Reading in small pieces, peeking, or
//! another way of asking therefore does not bring the earlier ones back. (Three events written 20 ms apart and read in
//! three reads 60 ms later were all stamped 40 ms after the first.) Timestamps therefore correct a delay of the reader
//! up to the gap between events. Beyond that, the last event's time is exact, and those of the earlier events are too
//! late. Such reads are counted: see [`StreamStats::shared`](crate::client::request_timer::StreamStats::shared).
//!
//! On a real network, the timestamp is the kernel's, not the wire's. The driver hands segments over after interrupt
//! moderation (10 to 100 µs with usual settings, more with adaptive ones), so every time is late by about that much.
//! GRO also merges the segments of a connection that one poll of the card finds: they have one timestamp, as if they
//! had waited together. Timestamps of the card itself (`SOF_TIMESTAMPING_RX_HARDWARE`) would be the wire's, but they
//! use the card's own clock, which somebody must keep synchronized with the system's; the client does not use them.
//!
//! Over TLS, the bytes of a record have the timestamp of the read that completed it. One read takes up to 4 KiB of
//! ciphertext and may end inside the next record. If that record arrived later, the first record's events get its
//! timestamp, too late by up to one gap. This requires 4 KiB waiting in the socket, so the other events of such a read
//! are counted as merged. The event before the cut is not counted, because rustls does not report whether it holds a
//! part of a record.
//!
//! On other systems, or if the kernel refuses timestamps, the client takes the time right after the read.

use std::time::{Duration, Instant};

#[cfg(target_os = "linux")]
mod linux;
#[cfg(any(test, not(target_os = "linux")))]
mod other;

#[cfg(target_os = "linux")]
pub(crate) use linux::{RxTimestampGuard, TimestampedStream};
#[cfg(not(target_os = "linux"))]
pub use other::{RxTimestampGuard, TimestampedStream};

/// When the bytes of a read arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReadTime {
    /// When the last of the bytes reached the kernel, by the wall clock since the Unix epoch; `None` if the kernel does
    /// not report it.
    pub stamp: Option<Duration>,
    /// When the read returned.
    pub read: Instant,
}

impl ReadTime {
    /// The time of a read that returns now.
    fn at_now(stamp: Option<Duration>) -> Self {
        Self { stamp, read: Instant::now() }
    }
}

#[cfg(test)]
mod tests;
