//! The times of a request's milestones, as offsets from t0.

use std::fmt;
use std::time::Duration;

use super::optional_duration::OptionalDuration;

/// The milestones of a request after it is due, in their usual order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Milestone {
    /// The concurrency cap released the request; absent without a cap.
    Released,
    /// The client started the request: just before it wrote the first byte, or before it opened a connection where none
    /// was idle. The user waits for the connection too, so it counts into TTFT and E2E (as with vLLM's clients);
    /// connections opened before t0 avoid it.
    Sent,
    /// The name of the server (or the proxy) was resolved, for a new connection to a name.
    Resolved,
    /// The TCP connection was established, if the request opened one.
    Connected,
    /// The TLS handshake was complete (including a proxy's tunnel before it), for a new connection over https.
    Secured,
    /// The kernel had accepted all bytes of the request.
    Written,
    /// The response head arrived.
    Headers,
    /// The first byte of the body arrived.
    FirstChunk,
    /// The first event that carried output arrived; absent for an answer in one piece.
    FirstToken,
    /// The last event that carried output arrived, or an answer in one piece ended.
    LastToken,
    /// The request was over.
    Done,
}

impl Milestone {
    /// All milestones, in the order of the record log.
    pub const ALL: [Self; 11] = [
        Self::Released,
        Self::Sent,
        Self::Resolved,
        Self::Connected,
        Self::Secured,
        Self::Written,
        Self::Headers,
        Self::FirstChunk,
        Self::FirstToken,
        Self::LastToken,
        Self::Done,
    ];
}

/// When a request was due and when its milestones happened, as offsets from t0.
///
/// Each time takes six bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Timestamps {
    due: OptionalDuration,
    /// Offsets by milestone; [`OptionalDuration::NONE`] marks a milestone that did not happen.
    at: [OptionalDuration; Milestone::ALL.len()],
}

impl Timestamps {
    /// The times of a request that is due at an offset, before any milestone.
    pub fn new(due: Duration) -> Self {
        Self { due: due.into(), at: [OptionalDuration::NONE; Milestone::ALL.len()] }
    }

    /// Returns the times with a milestone set to an offset.
    #[must_use]
    pub fn with_time(mut self, milestone: Milestone, at: Duration) -> Self {
        self.set(milestone, at);
        self
    }

    /// Sets the time of a milestone.
    pub fn set(&mut self, milestone: Milestone, at: impl Into<Option<Duration>>) {
        self.at[milestone as usize] = at.into().into();
    }

    /// The time of a milestone; `None` if it did not happen.
    pub(crate) fn get(&self, milestone: Milestone) -> Option<Duration> {
        self.at[milestone as usize].get()
    }

    /// Changes the time of a milestone, if it happened.
    pub(crate) fn map_time(&mut self, milestone: Milestone, change: impl FnOnce(Duration) -> Duration) {
        self.set(milestone, self.get(milestone).map(change));
    }

    /// Sets when the request is due.
    pub fn set_due(&mut self, at: Duration) {
        self.due = at.into();
    }

    /// The same request, with every time shifted by `by`.
    #[must_use]
    pub fn shifted(mut self, by: Duration) -> Self {
        self.due = (self.due() + by).into();
        Milestone::ALL.into_iter().for_each(|milestone| self.map_time(milestone, |at| at + by));
        self
    }

    /// When the request is due by the schedule.
    pub fn due(&self) -> Duration {
        self.due.get().unwrap_or_default()
    }

    /// When the cap released the request; see [`Milestone::Released`].
    pub fn released(&self) -> Option<Duration> {
        self.get(Milestone::Released)
    }

    /// When the client started the request; see [`Milestone::Sent`].
    pub fn sent(&self) -> Option<Duration> {
        self.get(Milestone::Sent)
    }

    /// When the request's new connection was ready; `None` on an open connection.
    pub(crate) fn connected(&self) -> Option<Duration> {
        let steps = [Milestone::Resolved, Milestone::Connected, Milestone::Secured];
        steps.into_iter().filter_map(|step| self.get(step)).max()
    }

    /// When the first event with output arrived; see [`Milestone::FirstToken`].
    pub fn first_token(&self) -> Option<Duration> {
        self.get(Milestone::FirstToken)
    }

    /// When the last event with output arrived; see [`Milestone::LastToken`].
    pub fn last_token(&self) -> Option<Duration> {
        self.get(Milestone::LastToken)
    }

    /// When the request was over; see [`Milestone::Done`].
    pub fn done(&self) -> Option<Duration> {
        self.get(Milestone::Done)
    }
}

impl fmt::Debug for Timestamps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut times = f.debug_struct("Times");
        times.field("due", &self.due());
        for milestone in Milestone::ALL {
            if let Some(at) = self.get(milestone) {
                times.field(&format!("{milestone:?}"), &at);
            }
        }
        times.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_costs_six_bytes_a_time() {
        assert_eq!(size_of::<Timestamps>(), 12 * 6);
    }

    #[test]
    fn what_did_not_happen_stays_so_when_all_is_later() {
        let by = Duration::from_secs(3);
        let later =
            Timestamps::new(Duration::ZERO).with_time(Milestone::Done, Duration::from_secs(1)).shifted(by);
        assert_eq!((later.due(), later.sent(), later.done()), (by, None, Some(Duration::from_secs(4))));
    }
}
