//! The server's own times for one request.

use std::time::Duration;

use super::optional_duration::OptionalDuration;

/// The durations that the server's answer reports for its request, by the server's clock. A server that reports some of
/// them leaves the others absent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ServerTimes {
    /// From the arrival in the engine's queue to the first step that computed the request.
    pub queue: OptionalDuration,
    /// From that step to the first token.
    pub prefill: OptionalDuration,
    /// From the first token to the last.
    pub decode: OptionalDuration,
}

impl ServerTimes {
    /// Creates the times from absent or present durations.
    pub(crate) fn new(queue: Option<Duration>, prefill: Option<Duration>, decode: Option<Duration>) -> Self {
        Self { queue: queue.into(), prefill: prefill.into(), decode: decode.into() }
    }

    /// As a Record stores them: no time takes no memory.
    pub(crate) fn boxed(self) -> Option<Box<Self>> {
        (!self.is_none()).then(|| Box::new(self))
    }

    /// Returns whether the server reported no time.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// These times, with absent ones taken from others.
    pub(crate) fn merged_with(self, other: Self) -> Self {
        let or = |first: OptionalDuration, second| if first.is_none() { second } else { first };
        Self {
            queue: or(self.queue, other.queue),
            prefill: or(self.prefill, other.prefill),
            decode: or(self.decode, other.decode),
        }
    }
}
