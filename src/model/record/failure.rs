//! The failure of a request: its class, by which reports count it, and its detail.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::secrets;

/// Why a request was not answered.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Failure {
    /// The failure class, by which failures are counted.
    pub class: FailureClass,
    /// The error with its causes, or the first 300 bytes of the body.
    pub detail: String,
}

impl Failure {
    /// The number of bytes of a body that are kept.
    pub(crate) const BODY_LIMIT: usize = 300;

    /// Creates a failure and removes known secrets from the detail: the text often comes from the server.
    pub(crate) fn new(class: FailureClass, detail: impl Into<String>) -> Self {
        Self { class, detail: secrets::scrub_quoted(&detail.into()).into_owned() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.detail.is_empty() { self.class.fmt(f) } else { write!(f, "{}: {}", self.class, self.detail) }
    }
}

/// The classes of failure: a closed set, so that reports are comparable. In JSON a class is its [key](Self::key).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
#[non_exhaustive]
pub enum FailureClass {
    /// The connection failed for a reason other than those below: unreachable, name not found, refused by the proxy.
    Connect,
    /// The connection was refused: nothing listens on the port, or its accept queue is full.
    Refused,
    /// The client's process or machine has no file descriptor left for another connection.
    Descriptors,
    /// The client's machine has no local port left for another connection to the server.
    Ports,
    /// The TLS handshake failed.
    Tls,
    /// The request timed out in this phase.
    Timeout(TimeoutPhase),
    /// An HTTP status other than 2xx.
    Status(u16),
    /// The stream broke off, could not be parsed, or ended with neither `finish_reason` nor `[DONE]`.
    BrokenStream,
    /// The server sent an error inside the stream, or an error as the finish reason.
    ErrorEvent,
    /// The server aborted the request, according to its finish reason: abort, cancelled.
    Aborted,
    /// The server timed out, according to its finish reason.
    ServerTimeout,
    /// The server ran out of resources, according to its finish reason.
    ServerOverloaded,
    /// The answer has a finish reason that is not known to be a success.
    UnknownFinishReason,
    /// The answer went far beyond the requested number of tokens; the client stopped reading it.
    OverLimit,
    /// The stream ended properly without a token.
    EmptyStream,
    /// The client cancelled the request because of an interrupt.
    Cancelled,
    /// The request's user left as scheduled, which is not a failure of the client or the server.
    Abandoned,
}

/// The phase of a request that a timeout ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TimeoutPhase {
    /// Connecting: name resolution, TCP, TLS.
    Connect,
    /// Waiting for the response head (sending included).
    Headers,
    /// Waiting for the first token.
    FirstToken,
    /// Reading the rest of the stream.
    Stream,
}

impl FailureClass {
    /// All classes except the HTTP statuses.
    pub(crate) const NAMED_CLASSES: [Self; 19] = [
        Self::Connect,
        Self::Refused,
        Self::Descriptors,
        Self::Ports,
        Self::Tls,
        Self::Timeout(TimeoutPhase::Connect),
        Self::Timeout(TimeoutPhase::Headers),
        Self::Timeout(TimeoutPhase::FirstToken),
        Self::Timeout(TimeoutPhase::Stream),
        Self::BrokenStream,
        Self::ErrorEvent,
        Self::Aborted,
        Self::ServerTimeout,
        Self::ServerOverloaded,
        Self::UnknownFinishReason,
        Self::OverLimit,
        Self::EmptyStream,
        Self::Cancelled,
        Self::Abandoned,
    ];

    /// The key in JSON: `connect`, `timeout_headers`, `status_500`, …
    pub fn key(self) -> String {
        match self {
            Self::Connect => "connect".into(),
            Self::Refused => "connect_refused".into(),
            Self::Descriptors => "descriptors".into(),
            Self::Ports => "ports".into(),
            Self::Tls => "tls".into(),
            Self::Timeout(TimeoutPhase::Connect) => "timeout_connect".into(),
            Self::Timeout(TimeoutPhase::Headers) => "timeout_headers".into(),
            Self::Timeout(TimeoutPhase::FirstToken) => "timeout_first_token".into(),
            Self::Timeout(TimeoutPhase::Stream) => "timeout_stream".into(),
            Self::Status(code) => format!("status_{code}"),
            Self::BrokenStream => "broken_stream".into(),
            Self::ErrorEvent => "error_event".into(),
            Self::Aborted => "aborted".into(),
            Self::ServerTimeout => "server_timeout".into(),
            Self::ServerOverloaded => "server_overloaded".into(),
            Self::UnknownFinishReason => "unknown_finish_reason".into(),
            Self::OverLimit => "over_limit".into(),
            Self::EmptyStream => "empty_stream".into(),
            Self::Cancelled => "cancelled".into(),
            Self::Abandoned => "abandoned".into(),
        }
    }
}

impl From<FailureClass> for String {
    fn from(class: FailureClass) -> Self {
        class.key()
    }
}

impl TryFrom<String> for FailureClass {
    type Error = String;

    fn try_from(key: String) -> Result<Self, String> {
        let status = key.strip_prefix("status_").and_then(|code| code.parse().ok()).map(Self::Status);
        let known = || Self::NAMED_CLASSES.into_iter().find(|class| class.key() == key);
        status.or_else(known).ok_or_else(|| format!("`{key}` is not a class of failures"))
    }
}

impl fmt::Display for FailureClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect => f.write_str("no connection"),
            Self::Refused => f.write_str("connection refused"),
            Self::Descriptors => f.write_str("no descriptor left"),
            Self::Ports => f.write_str("no local port left"),
            Self::Tls => f.write_str("TLS handshake failed"),
            Self::Timeout(TimeoutPhase::Connect) => f.write_str("timeout while connecting"),
            Self::Timeout(TimeoutPhase::Headers) => f.write_str("timeout waiting for the response head"),
            Self::Timeout(TimeoutPhase::FirstToken) => f.write_str("timeout waiting for the first token"),
            Self::Timeout(TimeoutPhase::Stream) => f.write_str("timeout within the stream"),
            Self::Status(code) => write!(f, "HTTP {code}"),
            Self::BrokenStream => f.write_str("broken stream"),
            Self::ErrorEvent => f.write_str("error event in the stream"),
            Self::Aborted => f.write_str("aborted by the server"),
            Self::ServerTimeout => f.write_str("timeout in the server"),
            Self::ServerOverloaded => f.write_str("server out of resources"),
            Self::UnknownFinishReason => f.write_str("unknown finish reason"),
            Self::OverLimit => f.write_str("answer beyond its limit"),
            Self::EmptyStream => f.write_str("stream without a token"),
            Self::Cancelled => f.write_str("cancelled"),
            Self::Abandoned => f.write_str("abandoned"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_of_failures_is_its_key_in_json() {
        let timeouts = [TimeoutPhase::Headers, TimeoutPhase::FirstToken, TimeoutPhase::Stream]
            .map(FailureClass::Timeout);
        let others = [
            FailureClass::Connect,
            FailureClass::Tls,
            FailureClass::Status(503),
            FailureClass::BrokenStream,
            FailureClass::ErrorEvent,
            FailureClass::EmptyStream,
            FailureClass::Cancelled,
        ];
        for class in timeouts.into_iter().chain(others) {
            let json = serde_json::to_value(class).unwrap();
            assert_eq!(json, class.key());
            assert_eq!(serde_json::from_value::<FailureClass>(json).unwrap(), class);
        }
        for key in ["status_", "status_x", "timeout", ""] {
            assert!(FailureClass::try_from(key.to_owned()).is_err(), "{key}");
        }
    }

    #[test]
    fn every_class_of_failure_is_read_back_from_its_key() {
        for class in FailureClass::NAMED_CLASSES.into_iter().chain([FailureClass::Status(503)]) {
            let text = serde_json::to_string(&class).unwrap();
            assert_eq!(text, format!("\"{}\"", class.key()));
            assert_eq!(serde_json::from_str::<FailureClass>(&text).unwrap(), class);
        }
        assert!(serde_json::from_str::<FailureClass>("\"bad_luck\"").is_err());
    }
}
