//! Where the time of a request goes.

use std::time::Duration;

use crate::model::record::{Record, RequestPhases};

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

/// How long each phase of a request lasted.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct PhaseTimes(pub [Duration; PHASES.len()]);

impl PhaseTimes {
    /// Divides the time of a request from due to done.
    pub(super) fn from_record(record: &Record) -> Self {
        let phases = RequestPhases::from_record(record);
        let RequestPhases { cap, lag, connect, write, wait, queue, prefill, decode, tail, .. } = phases;
        Self([cap, lag, connect, write, wait, queue, prefill, decode, tail])
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
    fn the_phases_have_the_order_of_their_names() {
        let record = sample_run::records().remove(0);
        let times = PhaseTimes::from_record(&record);
        assert_eq!(times, ms([0, 2, 0, 0, 100, 0, 0, 100, 1]));
        assert_eq!(times.total(), record.times.done().unwrap() - record.times.due());
    }

    #[test]
    fn the_mean_is_of_every_phase() {
        let two = [ms([0, 2, 0, 0, 100, 0, 0, 100, 1]), ms([0, 4, 0, 0, 300, 0, 0, 0, 1])];
        assert_eq!(PhaseTimes::mean(two.iter()), Some(ms([0, 3, 0, 0, 200, 0, 0, 50, 1])));
        assert_eq!(PhaseTimes::mean([].iter()), None);
    }
}
