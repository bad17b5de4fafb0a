//! Converts errors below HTTP to failure classes and messages.

use std::error::Error;
use std::io;

use rustix::io::Errno;

use crate::client::tls;
use crate::model::record::{Failure, FailureClass};

/// The failure of a TCP connection that could not be opened.
pub(super) fn connect_failure(place: &str, error: &io::Error) -> Failure {
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

/// The failure of a name that has no address.
pub(super) fn resolve_failure(host: &str, cause: &str) -> Failure {
    // The message of glibc or musl follows the standard library's.
    let cause = cause.strip_prefix("failed to lookup address information: ").unwrap_or(cause);
    Failure::new(FailureClass::Connect, format!("no address for the host name `{host}`: {cause}"))
}

/// The failure of a TLS handshake.
pub(super) fn tls_failure(error: &io::Error) -> Failure {
    let words = match (tls_error(error), error.kind()) {
        (Some(error), _) => tls::in_words(error),
        (None, io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) => {
            "the server closed the connection in the TLS handshake; does it speak TLS on this port?"
                .to_owned()
        }
        _ => error_chain(error),
    };
    Failure::new(FailureClass::Tls, words)
}

/// The failure of an open connection that broke. With TLS 1.3, a server that rejects the client's certificate reports
/// it only after the handshake.
pub(super) fn io_failure(error: &io::Error) -> Failure {
    match tls_error(error) {
        Some(alert @ rustls::Error::AlertReceived(_)) => {
            Failure::new(FailureClass::Tls, tls::in_words(alert))
        }
        Some(other) => Failure::new(FailureClass::BrokenStream, tls::in_words(other)),
        None => Failure::new(FailureClass::BrokenStream, error_chain(error)),
    }
}

/// The TLS error among the causes, if there is one.
fn tls_error<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e rustls::Error> {
    std::iter::successors(Some(error), |link| cause(*link)).find_map(|link| link.downcast_ref())
}

/// The next cause. `source` of an I/O error skips the error that the I/O error wraps, so that error is read with
/// `get_ref`.
fn cause<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e (dyn Error + 'static)> {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(held) => Some(held),
        None => error.source(),
    }
}

/// The causes of a reqwest error, outermost first.
pub(super) fn causes(error: reqwest::Error) -> String {
    // The caller reports the URL, and the URL may hold a password.
    let error = error.without_url();
    // The outermost error only states that a request failed.
    let Some(first) = error.source() else { return error.to_string() };
    let words = tls_error(first).map_or_else(|| error_chain(first), tls::in_words);
    // hyper uses this text for bytes that are not HTTP/1.x; the likeliest reasons are added.
    match words.contains("invalid HTTP version parsed") {
        true => format!("{words} (the server speaks only HTTP/2 here, or TLS, or it is not an HTTP server)"),
        false => words,
    }
}

/// An error and its causes, outermost first.
fn error_chain(error: &(dyn Error + 'static)) -> String {
    let mut words: Vec<String> = Vec::new();
    for cause in std::iter::successors(Some(error), |&link| link.source()).map(ToString::to_string) {
        // Some errors repeat their cause at the end of their own text.
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
            let failure = connect_failure("10.0.0.1:80", &errno.into());
            assert_eq!(failure.class, class, "{failure}");
            assert!(failure.detail.starts_with("10.0.0.1:80: "), "{failure}");
        }
    }
}
