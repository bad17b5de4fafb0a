//! Fixed timing: the times at which a stream's tokens go out, independent of the server's load.

use std::time::{Duration, Instant};

/// When the tokens of every stream go out, and how many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FixedTiming {
    /// The time from the reading of a request to its first token.
    pub ttft: Duration,
    /// The time between two writes of a stream. Zero: as fast as the client reads.
    pub gap: Duration,
    /// Whether all streams write at the same times, as in an engine step: the first token then waits for the next
    /// multiple of the gap. Otherwise each stream has its own clock.
    pub lockstep: bool,
    /// The number of one-token events in one write, as behind a proxy that batches; at least 1.
    pub events_per_write: usize,
}

impl FixedTiming {
    /// Returns the time of the first write for a request that was read at `read`; `epoch` is the origin of lockstep.
    pub(super) fn first_write(&self, epoch: Instant, read: Instant) -> Instant {
        let at = read + self.ttft;
        let gap = self.gap.as_nanos();
        if !self.lockstep || gap == 0 {
            return at;
        }
        let into_the_gap = at.saturating_duration_since(epoch).as_nanos() % gap;
        let wait = if into_the_gap == 0 { 0 } else { gap - into_the_gap };
        at + Duration::from_nanos(u64::try_from(wait).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn timing(lockstep: bool) -> FixedTiming {
        FixedTiming { ttft: 100 * MS, gap: 20 * MS, lockstep, events_per_write: 1 }
    }

    #[test]
    fn a_stream_has_its_own_clock() {
        let epoch = Instant::now();
        assert_eq!(timing(false).first_write(epoch, epoch + 7 * MS), epoch + 107 * MS);
    }

    #[test]
    fn in_lockstep_every_stream_waits_for_the_common_beat() {
        let epoch = Instant::now();
        let first = |read: Duration| timing(true).first_write(epoch, epoch + read) - epoch;
        assert_eq!([0, 1, 7, 20, 21].map(|ms| first(ms * MS)), [100, 120, 120, 120, 140].map(|ms| ms * MS));
    }

    #[test]
    fn without_a_gap_there_is_no_beat_to_wait_for() {
        let epoch = Instant::now();
        let timing = FixedTiming { gap: Duration::ZERO, ..timing(true) };
        assert_eq!(timing.first_write(epoch, epoch + MS), epoch + 101 * MS);
    }
}
