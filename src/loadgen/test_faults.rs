//! Injects faults into a worker for tests. The prefix of the request ids selects the fault and the request.

use std::io;

use crate::model::request_id::RequestId;

/// Returns a system error before request N if the prefix is `error:N/`.
pub(super) fn fail_at(id: Option<&RequestId>) -> io::Result<()> {
    if is_planted("error:", id) { Err(io::Error::other("no timer left")) } else { Ok(()) }
}

/// Panics in request N if the prefix is `panic:N/`.
pub(super) fn panic_at(id: Option<&RequestId>) {
    assert!(!is_planted("panic:", id), "a bug in one request");
}

fn is_planted(fault: &str, id: Option<&RequestId>) -> bool {
    let id = id.map(RequestId::to_string).unwrap_or_default();
    id.strip_prefix(fault).and_then(|id| id.split_once('/')).is_some_and(|(at, request)| at == request)
}
