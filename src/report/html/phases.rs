//! Where the time of a request goes.

use std::time::Duration;

use crate::model::record::{Milestone, Record, ServerTimes};

/// The phases of a request, in order. Where the answer has the server's own times, its queue and prefill are apart from
/// the wait for output.
pub(super) const PHASES: [&str; 9] = [
    "wait for the cap",
    "client lag",
    "name, TCP, TLS",
    "request write",
    "wait for output",
    "server queue",
    "prefill",
    "decode",
    "tail",
];

/// The wait for output.
const WAIT: usize = 4;

/// From the first output to the last.
const DECODE: usize = WAIT + 3;

/// How long each phase of a request lasted. A phase that did not happen, such as connecting on an open connection, has
/// no length.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct PhaseTimes(pub [Duration; PHASES.len()]);

impl PhaseTimes {
    /// Divides the time of a request from due to done. Of a failed request, the phase in which it ended is the last. An
    /// answer in one piece has no decode phase.
    pub(super) fn from_record(record: &Record) -> Self {
        let times = &record.times;
        let connected = [Milestone::Resolved, Milestone::Connected, Milestone::Secured];
        let connected = connected.into_iter().filter_map(|milestone| times.get(milestone)).max();
        let last = times.first_token().and(times.last_token());
        let first = times.first_token().or(times.last_token());
        let written = times.get(Milestone::Written);
        let ends = [times.released(), times.sent(), connected, written, first, None, None, last];
        let mut lengths = [Duration::ZERO; PHASES.len()];
        let mut from = times.due();
        for (length, end) in lengths.iter_mut().zip(ends) {
            let Some(end) = end else { continue };
            *length = end.saturating_sub(from);
            from = from.max(end);
        }
        let reached = match ends.iter().rposition(Option::is_some) {
            None => 0,
            Some(WAIT) => DECODE,
            Some(at) => at + 1,
        };
        let is_answered = first.is_some() || times.get(Milestone::Headers).is_some();
        let open = match first {
            Some(_) if record.is_success() => PHASES.len() - 1,
            _ if is_answered => reached.max(WAIT),
            _ => reached,
        };
        if let Some(done) = times.done() {
            lengths[open.min(PHASES.len() - 1)] += done.saturating_sub(from);
        }
        Self(lengths).with_server_times(&record.server_times)
    }

    /// Takes the server's queue and prefill out of the wait for output, unless they are longer than that.
    fn with_server_times(mut self, server: &ServerTimes) -> Self {
        let Some(prefill) = server.prefill.get() else { return self };
        let queue = server.queue.get().unwrap_or_default();
        if let Some(rest) = self.0[WAIT].checked_sub(queue + prefill) {
            self.0[WAIT..DECODE].copy_from_slice(&[rest, queue, prefill]);
        }
        self
    }

    /// The time from due to done.
    pub(super) fn total(&self) -> Duration {
        self.0.iter().sum()
    }

    /// The mean of several requests; `None` without requests.
    pub(super) fn mean<'a>(all: impl ExactSizeIterator<Item = &'a Self>) -> Option<Self> {
        let count = all.len();
        let mut sums = [Duration::ZERO; PHASES.len()];
        for times in all {
            sums.iter_mut().zip(times.0).for_each(|(sum, length)| *sum += length);
        }
        (count > 0).then(|| Self(sums.map(|sum| sum.div_f64(count as f64))))
    }
}

/// Milliseconds, or seconds for longer times.
#[derive(Clone, Copy)]
pub(super) struct TimeScale {
    /// The name of the unit.
    pub name: &'static str,
    per_second: f64,
}

impl TimeScale {
    /// The unit for these times in seconds.
    pub(super) fn for_longest(seconds: impl Iterator<Item = f64>) -> Self {
        match seconds.fold(0.0, f64::max) {
            longest if longest < 2.0 => Self { name: "ms", per_second: 1e3 },
            _ => Self { name: "s", per_second: 1.0 },
        }
    }

    /// A time in this unit.
    pub(super) fn of(self, time: Duration) -> f64 {
        time.as_secs_f64() * self.per_second
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::sample_run;

    fn ms(times: [u64; PHASES.len()]) -> PhaseTimes {
        PhaseTimes(times.map(Duration::from_millis))
    }

    #[test]
    fn the_phases_of_a_request_add_up() {
        let [good, bad] = <[Record; 2]>::try_from(sample_run::records()).unwrap();
        let times = PhaseTimes::from_record(&good);
        assert_eq!(times, ms([0, 2, 0, 0, 100, 0, 0, 100, 1]));
        assert_eq!(times.total(), good.times.done().unwrap() - good.times.due());
        assert_eq!(
            PhaseTimes::from_record(&bad),
            ms([0, 1, 9, 0, 0, 0, 0, 0, 0]),
            "it never had a connection"
        );
        let mut opened = good;
        opened.times.set(Milestone::Released, Duration::from_millis(11));
        opened.times.set(Milestone::Connected, Duration::from_millis(15));
        opened.times.set(Milestone::Written, Duration::from_millis(16));
        assert_eq!(PhaseTimes::from_record(&opened), ms([1, 1, 3, 1, 96, 0, 0, 100, 1]));
    }

    #[test]
    fn the_servers_queue_and_prefill_are_taken_out_of_the_wait() {
        let mut record = sample_run::records().remove(0);
        let report = |queue, prefill| {
            let server = |time: u64| Some(Duration::from_millis(time));
            ServerTimes::new(server(queue), server(prefill), None)
        };
        record.server_times = report(60, 30);
        assert_eq!(PhaseTimes::from_record(&record), ms([0, 2, 0, 0, 10, 60, 30, 100, 1]));
        record.server_times = report(80, 30);
        assert_eq!(PhaseTimes::from_record(&record), ms([0, 2, 0, 0, 100, 0, 0, 100, 1]), "too long");
    }

    #[test]
    fn the_mean_is_of_every_phase() {
        let two = [ms([0, 2, 0, 0, 100, 0, 0, 100, 1]), ms([0, 4, 0, 0, 300, 0, 0, 0, 1])];
        assert_eq!(PhaseTimes::mean(two.iter()), Some(ms([0, 3, 0, 0, 200, 0, 0, 50, 1])));
        assert_eq!(PhaseTimes::mean([].iter()), None);
    }
}
