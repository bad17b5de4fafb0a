//! The state of a load that is being measured, from its events: what the live panel and the progress lines show.

use std::collections::VecDeque;
use std::time::Duration;

use crate::model::record::Record;
use crate::model::validity::Check;
use crate::report::format::milliseconds;
use crate::stats::DurationSketch;

/// The time that live percentiles cover, in seconds.
pub(crate) const RECENT_SECONDS: u64 = 10;

/// The most rates that are kept, one a second.
const MAX_RATES: usize = 120;

/// The work of a load, as far as it is known beforehand.
#[derive(Debug, Clone, Default)]
pub(crate) struct LiveGoal {
    /// The run among several, or the step of a ladder: `step 2 of 6, concurrency 8`.
    pub part: Option<String>,
    /// The number of requests to send; `None` if the duration decides.
    pub requests: Option<u64>,
    /// The time after which no more requests are sent.
    pub duration: Option<Duration>,
}

/// The progress of a load over all workers.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct LiveProgress {
    /// The time since t0.
    pub elapsed: Duration,
    /// The number of requests sent.
    pub sent: usize,
    /// The number of requests that are sent and have not ended.
    pub in_flight: usize,
    /// The number of gaps between output events.
    pub gaps: u64,
}

/// The server's own levels in its last sample; `None` for a level that it does not report.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LiveServer {
    /// Requests that are processed.
    pub running: Option<f64>,
    /// Requests that wait.
    pub waiting: Option<f64>,
    /// The share of the KV cache in use.
    pub kv_usage: Option<f64>,
}

/// Requests and output tokens per second.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct LiveRates {
    pub requests: f64,
    pub tokens: f64,
}

/// A load that is being measured. Ended requests and progress reports update it, never a token.
#[derive(Default)]
pub(crate) struct LiveRun {
    pub(super) goal: LiveGoal,
    pub(super) is_draining: bool,
    pub(super) progress: LiveProgress,
    pub(super) ended: usize,
    pub(super) failed: usize,
    pub(super) rates: VecDeque<LiveRates>,
    pub(super) server: Option<LiveServer>,
    pub(super) checks: Vec<Check>,
    recent: VecDeque<SecondLatencies>,
    /// The time, the ended requests and the gaps at the last rate.
    last: (Duration, usize, u64),
}

/// The latencies of the requests that ended in one second.
#[derive(Default)]
struct SecondLatencies {
    second: u64,
    ttft: DurationSketch,
    itl: DurationSketch,
}

/// The latencies of the requests that ended lately.
pub(super) struct RecentLatencies {
    pub ttft: DurationSketch,
    /// The mean gap between the output events of each request.
    pub itl: DurationSketch,
}

impl LiveRun {
    /// A load that begins.
    pub(crate) fn new(goal: LiveGoal) -> Self {
        Self { goal, ..Self::default() }
    }

    /// Adds a request that ended.
    pub(crate) fn add_record(&mut self, record: &Record) {
        let span = record.times.first_token().zip(record.times.last_token());
        let gaps = record.events.count.checked_sub(1).filter(|gaps| *gaps > 0);
        let itl = span.zip(gaps).map(|((first, last), gaps)| last.saturating_sub(first) / gaps);
        self.add_ended(record.ttft(), itl, record.is_failure());
    }

    pub(super) fn add_ended(&mut self, ttft: Option<Duration>, itl: Option<Duration>, failed: bool) {
        self.ended += 1;
        self.failed += usize::from(failed);
        let second = self.progress.elapsed.as_secs();
        if self.recent.back().is_none_or(|latest| latest.second != second) {
            self.recent.push_back(SecondLatencies { second, ..SecondLatencies::default() });
            self.forget_old();
        }
        let Some(latest) = self.recent.back_mut() else { return };
        ttft.into_iter().for_each(|ttft| latest.ttft.record(ttft));
        itl.into_iter().for_each(|itl| latest.itl.record(itl));
    }

    /// Takes the progress. Rates cover the time since the last rate, which is a second or more.
    pub(crate) fn update(&mut self, progress: LiveProgress) {
        let (before, ended, gaps) = self.last;
        let seconds = progress.elapsed.saturating_sub(before).as_secs_f64();
        if seconds >= 1.0 {
            let rate = |count: u64| count as f64 / seconds;
            self.rates.push_back(LiveRates {
                requests: rate((self.ended - ended) as u64),
                tokens: rate(progress.gaps.saturating_sub(gaps)),
            });
            if self.rates.len() > MAX_RATES {
                self.rates.pop_front();
            }
            self.last = (progress.elapsed, self.ended, progress.gaps);
        }
        self.progress = progress;
        self.forget_old();
    }

    /// Takes a sample of the server's levels.
    pub(crate) fn set_server(&mut self, server: LiveServer) {
        self.server = Some(server);
    }

    /// Takes the checks of the load until now.
    pub(crate) fn set_checks(&mut self, checks: &[Check]) {
        self.checks = checks.to_vec();
    }

    /// Notes that all requests are sent.
    pub(crate) fn drain(&mut self) {
        self.is_draining = true;
    }

    /// The number of requests that ended.
    pub(crate) fn ended_count(&self) -> u64 {
        self.ended as u64
    }

    fn forget_old(&mut self) {
        let now = self.progress.elapsed.as_secs();
        while self.recent.front().is_some_and(|oldest| oldest.second + RECENT_SECONDS <= now) {
            self.recent.pop_front();
        }
    }

    pub(super) fn recent(&self) -> RecentLatencies {
        let mut all = RecentLatencies { ttft: DurationSketch::default(), itl: DurationSketch::default() };
        for second in &self.recent {
            all.ttft.merge(&second.ttft);
            all.itl.merge(&second.itl);
        }
        all
    }

    /// Formats a plain progress line.
    pub(crate) fn progress_note(&self) -> String {
        let failed = if self.failed == 0 { String::new() } else { format!("failed {}, ", self.failed) };
        let LiveProgress { sent, in_flight, .. } = self.progress;
        let rates = self.rates.back().copied().unwrap_or_default();
        let recent = self.recent();
        format!(
            "{failed}in flight {in_flight}, {:.1} req/s, TTFT p50 {} p99 {}, {:.0} tok/s, sent {sent}",
            rates.requests,
            milliseconds(recent.ttft.percentile(50.0)),
            milliseconds(recent.ttft.percentile(99.0)),
            rates.tokens,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64, gaps: u64) -> LiveProgress {
        LiveProgress { elapsed: Duration::from_secs(seconds), sent: 9, in_flight: 5, gaps }
    }

    fn ms(value: u64) -> Option<Duration> {
        Some(Duration::from_millis(value))
    }

    #[test]
    fn live_figures_add_up() {
        let mut live = LiveRun::default();
        for value in [10, 20, 30] {
            live.add_ended(ms(value), ms(5), false);
        }
        live.add_ended(None, None, true);
        live.update(at(2, 100));
        let note = live.progress_note();
        for part in ["sent 9", "failed 1", "in flight 5", "2.0 req/s", "50 tok/s", "p50 20 ms"] {
            assert!(note.contains(part), "{part} is not in {note}");
        }
        assert_eq!(live.ended_count(), 4);
    }

    #[test]
    fn before_the_first_answer_there_are_no_figures() {
        assert!(LiveRun::default().progress_note().contains("TTFT p50 n/a p99 n/a"));
    }

    #[test]
    fn live_percentiles_are_those_of_the_last_ten_seconds() {
        let mut live = LiveRun::default();
        live.add_ended(ms(900), ms(90), false);
        for second in 1..=12 {
            live.update(at(second, second));
            live.add_ended(ms(10), ms(5), false);
        }
        let recent = live.recent();
        assert_eq!((recent.ttft.len(), recent.itl.len()), (10, 10));
        assert!(recent.ttft.percentile(99.0) < ms(11), "the slow answer is too old");
        live.update(at(40, 12));
        assert!(live.recent().ttft.is_empty(), "nothing ended lately");
    }
}
