//! Faults that a test plants in a worker: the prefix of the request ids says which, and before which request.

use std::io;

/// An error of the system before this request, where the prefix is `error:{request}/`.
pub fn fail_at(id: &str) -> io::Result<()> {
    if is_planted("error:", id) { Err(io::Error::other("no timer left")) } else { Ok(()) }
}

/// A panic in this request, where the prefix is `panic:{request}/`.
pub fn panic_at(id: &str) {
    assert!(!is_planted("panic:", id), "a bug in one request");
}

fn is_planted(fault: &str, id: &str) -> bool {
    id.strip_prefix(fault).and_then(|id| id.split_once('/')).is_some_and(|(at, request)| at == request)
}
