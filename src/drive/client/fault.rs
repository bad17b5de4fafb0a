//! What went wrong below HTTP, from reqwest's errors to our classes and words.

use std::error::Error;
use std::io;

use crate::core::record::{Failure, FailureClass};

/// A request that got no response head.
pub(super) fn without_answer(error: reqwest::Error) -> Failure {
    let https = error.url().is_some_and(|url| url.scheme() == "https");
    let handshake = https && error.is_connect() && links(&error).any(hung_up);
    let class = if handshake || links(&error).any(|link| link.is::<rustls::Error>()) {
        FailureClass::Tls
    } else if error.is_connect() {
        FailureClass::Connect
    } else {
        FailureClass::BrokenStream
    };
    Failure::new(class, causes(error))
}

/// A body that broke off.
pub(super) fn within_body(error: reqwest::Error) -> Failure {
    Failure::new(FailureClass::BrokenStream, causes(error))
}

/// The causes of an error, outermost first.
pub(super) fn causes(error: reqwest::Error) -> String {
    // The URL is known to who reads this, and may hold a password.
    let error = error.without_url();
    let mut words: Vec<String> = Vec::new();
    // The first line only says that a request failed.
    for cause in links(&error).skip(1).map(ToString::to_string) {
        // Some errors repeat their cause at the end of their own line.
        if !words.last().is_some_and(|last| last.ends_with(&cause)) {
            words.push(cause);
        }
    }
    if words.is_empty() { error.to_string() } else { words.join(": ") }
}

/// An error and all that caused it.
fn links<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&link| {
        // An I/O error's `source` leaves out the error that it wraps, where rustls' own are found.
        match link.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(wrapped) => Some(wrapped),
            None => link.source(),
        }
    })
}

/// Whether the other side closed an open connection: while one to https is being made, that is in the handshake.
fn hung_up(link: &(dyn Error + 'static)) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    let kind = link.downcast_ref::<io::Error>().map(io::Error::kind);
    matches!(kind, Some(BrokenPipe | ConnectionReset | UnexpectedEof))
}
