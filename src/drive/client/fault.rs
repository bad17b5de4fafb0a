//! What went wrong below HTTP, in our classes and words.

use std::error::Error;
use std::io;

use rustix::io::Errno;

use crate::core::record::{Failure, FailureClass};

/// A TCP connection to a place that did not come about.
pub(super) fn no_connection(place: &str, error: &io::Error) -> Failure {
    let (class, advice) = match Errno::from_io_error(error) {
        Some(Errno::CONNREFUSED) => (FailureClass::Refused, ""),
        Some(Errno::MFILE) => (FailureClass::Descriptors, "; raise the limit with `ulimit -n`"),
        Some(Errno::NFILE) => (FailureClass::Descriptors, "; the system's limit is fs.file-max"),
        Some(Errno::ADDRNOTAVAIL) => (
            FailureClass::Ports,
            "; keep connections alive, or widen net.ipv4.ip_local_port_range: closed ones hold their port for a minute",
        ),
        _ => (FailureClass::Connect, ""),
    };
    Failure::new(class, format!("{place}: {error}{advice}"))
}

/// A TLS handshake that failed.
pub(super) fn no_handshake(error: &io::Error) -> Failure {
    Failure::new(FailureClass::Tls, chain(error))
}

/// An open connection that broke.
pub(super) fn broken(error: &io::Error) -> Failure {
    Failure::new(FailureClass::BrokenStream, chain(error))
}

/// The causes of reqwest's errors, outermost first.
pub(super) fn causes(error: reqwest::Error) -> String {
    // The URL is known to who reads this, and may hold a password.
    let error = error.without_url();
    // The first line only says that a request failed.
    match error.source() {
        Some(cause) => chain(cause),
        None => error.to_string(),
    }
}

/// An error and its causes, outermost first.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut words: Vec<String> = Vec::new();
    for cause in std::iter::successors(Some(error), |&link| link.source()).map(ToString::to_string) {
        // Some errors repeat their cause at the end of their own line.
        if !words.last().is_some_and(|last| last.ends_with(&cause)) {
            words.push(cause);
        }
    }
    words.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_connection_is_classed_by_who_must_act() {
        let cases = [
            (Errno::CONNREFUSED, FailureClass::Refused),
            (Errno::MFILE, FailureClass::Descriptors),
            (Errno::NFILE, FailureClass::Descriptors),
            (Errno::ADDRNOTAVAIL, FailureClass::Ports),
            (Errno::HOSTUNREACH, FailureClass::Connect),
            (Errno::CONNRESET, FailureClass::Connect),
        ];
        for (errno, class) in cases {
            let failure = no_connection("10.0.0.1:80", &errno.into());
            assert_eq!(failure.class, class, "{failure}");
            assert!(failure.detail.starts_with("10.0.0.1:80: "), "{failure}");
        }
    }
}
