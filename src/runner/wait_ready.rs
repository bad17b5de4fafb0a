//! Waits for a server that is still starting.

use std::time::{Duration, Instant};

use tracing::info;

use super::error::Error;
use super::stop::StopHandle;

/// The time between two attempts.
const EVERY: Duration = Duration::from_secs(1);

/// Parts of the messages of failures that waiting cannot resolve: another protocol, or a certificate that is not
/// accepted.
pub(crate) const PERMANENT: [&str; 9] = [
    "only HTTP/2",
    "does not speak TLS",
    "speaks TLS here",
    "that is not trusted here",
    "self-signed",
    "has expired",
    "is not valid for `",
    "client certificate",
    "version 1, which",
];

/// Why a first request was not answered.
pub(super) enum NotReady {
    /// The server may still be starting.
    Yet(String),
    /// Waiting does not help.
    Never(Error),
}

/// Whether this message is of a failure that waiting cannot resolve.
pub(super) fn is_permanent(message: &str) -> bool {
    PERMANENT.iter().any(|part| message.contains(part))
}

/// Calls `attempt` each second until it succeeds or the time is up. If the time is zero, `attempt` is not called.
pub(super) fn retry_until(
    timeout: Duration,
    stop: &StopHandle,
    mut attempt: impl FnMut() -> Result<(), NotReady>,
) -> Result<(), Error> {
    let start = Instant::now();
    while !timeout.is_zero()
        && let Err(not_ready) = attempt()
    {
        let cause = match not_ready {
            NotReady::Yet(cause) => cause,
            NotReady::Never(error) => return Err(error),
        };
        if stop.is_requested() {
            return Err(Error::Interrupted);
        }
        info!(why = %cause, waited = ?start.elapsed(), "the server is not ready; the next attempt follows in {EVERY:?}");
        if start.elapsed() >= timeout {
            return Err(Error::NotReady { waited: timeout, cause });
        }
        std::thread::sleep(EVERY);
    }
    Ok(())
}
