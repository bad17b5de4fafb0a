//! The number of requests in flight: a step function of time.
//!
//! A request is in flight from sent to done; at the same instant, an end precedes a start. The curve is exact where it
//! is made of the Records themselves, and that of the ends of short bins where a run has too many ([`ConcurrencyBins`]).

use std::collections::BTreeMap;
use std::time::Duration;

use super::record::Record;
pub(crate) use active_sessions::ActiveSessions;
pub(crate) use bins::{ConcurrencyBins, Peak, PeakSearch};

mod active_sessions;
mod bins;

/// When a request starts to count as in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FlightStart {
    /// From due: includes the wait for the cap and the time in the server.
    Due,
    /// From sent: includes the time in the server only.
    Sent,
}

impl FlightStart {
    /// When the request starts to count.
    pub(crate) fn start(self, record: &Record) -> Option<Duration> {
        match self {
            Self::Due => Some(record.times.due()),
            Self::Sent => record.times.sent(),
        }
    }

    /// The time from this start to the last output event.
    pub(crate) fn e2e(self, record: &Record) -> Option<Duration> {
        match self {
            Self::Due => record.e2e_from_due(),
            Self::Sent => record.e2e(),
        }
    }

    /// The time in which the request counts as in flight.
    pub(crate) fn span(self, record: &Record) -> Option<(Duration, Duration)> {
        Some((self.start(record)?, record.times.done()?))
    }
}

/// The number of requests in flight over time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ConcurrencyCurve {
    /// Starts and ends in the order of time, in eight bytes each, as a run may have millions: twice the nanosecond, and
    /// 1 more for a start, so that an end precedes a start at the same instant.
    edges: Vec<u64>,
    /// The numbers at the ends of bins of this many nanoseconds, in place of the edges.
    bins: (u64, Vec<u32>),
}

impl ConcurrencyCurve {
    /// Computes the curve of the requests in flight from Records in any order.
    pub(crate) fn from_records(records: &[Record]) -> Self {
        Self::since(FlightStart::Sent, records)
    }

    /// Computes the curve of the requests in flight since this start.
    pub(crate) fn since(start: FlightStart, records: &[Record]) -> Self {
        Self::from_spans(records.iter().filter_map(|record| start.span(record)))
    }

    /// Computes the curve of active sessions: each from the sending of its first request to the end of its last one.
    pub(crate) fn from_sessions<'a>(records: impl Iterator<Item = &'a Record>) -> Self {
        let mut spans = BTreeMap::<u32, (Duration, Duration)>::new();
        for record in records {
            let session = record.facets.as_deref().and_then(|facets| facets.session);
            let (Some(session), Some(sent), Some(done)) = (session, record.times.sent(), record.times.done())
            else {
                continue;
            };
            let span = spans.entry(session).or_insert((sent, done));
            *span = (span.0.min(sent), span.1.max(done));
        }
        Self::from_spans(spans.into_values())
    }

    /// Computes the curve from time spans (start, end) in any order.
    fn from_spans(spans: impl Iterator<Item = (Duration, Duration)>) -> Self {
        let mut edges = Vec::with_capacity(2 * spans.size_hint().1.unwrap_or_default());
        edges.extend(spans.flat_map(|(start, end)| [2 * nanos(start) + 1, 2 * nanos(end)]));
        edges.sort_unstable();
        Self { edges, bins: (0, Vec::new()) }
    }

    /// The maximum at any instant.
    pub(crate) fn peak(&self) -> u32 {
        self.steps().map(|(_, level)| level).max().unwrap_or(0)
    }

    /// Each instant at which the number changes, with the number from then on.
    pub(crate) fn steps(&self) -> impl Iterator<Item = (Duration, u32)> {
        let exact = self.edges.iter().scan(0_i64, |level, edge| {
            *level += if edge % 2 == 1 { 1 } else { -1 };
            // A request whose `done` precedes its `sent` would make the level negative: it counts as never in flight.
            Some((Duration::from_nanos(edge / 2), u32::try_from(*level).unwrap_or(0)))
        });
        let (width, levels) = &self.bins;
        let binned = levels.iter().zip(0_u64..);
        exact
            .chain(binned.map(move |(level, bin)| (Duration::from_nanos(bin.saturating_mul(*width)), *level)))
    }

    /// The maximum and the time-weighted mean in each of `count` consecutive intervals of length `stretch` from `start`
    /// on.
    pub(crate) fn levels_within(
        &self,
        start: Duration,
        stretch: Duration,
        count: usize,
    ) -> Vec<ConcurrencyLevel> {
        let mut steps = self.steps().peekable();
        let mut level = 0;
        while let Some((_, next)) = steps.next_if(|(at, _)| *at <= start) {
            level = next;
        }
        let mut levels = Vec::with_capacity(count);
        let mut from = start;
        for i in 1..=count {
            let end = start + stretch * i as u32;
            let (mut max, mut area, begin) = (level, 0.0, from);
            while let Some((at, next)) = steps.next_if(|(at, _)| *at < end) {
                area += f64::from(level) * (at - from).as_secs_f64();
                (from, level) = (at, next);
                max = max.max(level);
            }
            area += f64::from(level) * (end - from).as_secs_f64();
            from = end;
            let length = (end - begin).as_secs_f64();
            levels.push(ConcurrencyLevel {
                max,
                mean: if length > 0.0 { area / length } else { f64::from(level) },
            });
        }
        levels
    }
}

/// Nanoseconds, at most half of what fits: 146 years.
fn nanos(at: Duration) -> u64 {
    u64::try_from(at.as_nanos()).unwrap_or(u64::MAX).min(u64::MAX / 2 - 1)
}

/// Requests in flight during an interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ConcurrencyLevel {
    /// The maximum at any instant.
    pub max: u32,
    /// The time-weighted mean.
    pub mean: f64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::record::Milestone;
    use crate::testing::queue::record;

    fn ms(value: u64) -> Duration {
        Duration::from_millis(value)
    }

    fn flights(spans: &[(u64, u64)]) -> ConcurrencyCurve {
        let records: Vec<_> = spans
            .iter()
            .map(|&(sent, done)| {
                let mut record = record(0, ms(sent), ms(sent), ms(done));
                record.times.set(Milestone::Sent, ms(sent));
                record
            })
            .collect();
        ConcurrencyCurve::from_records(&records)
    }

    #[test]
    fn back_to_back_requests_are_one_in_flight() {
        assert_eq!(flights(&[(0, 100), (100, 200)]).peak(), 1);
        assert_eq!(flights(&[(0, 100), (100, 200), (150, 300)]).peak(), 2);
        assert_eq!(flights(&[]).peak(), 0);
    }

    #[test]
    fn the_mean_is_weighted_by_time_and_the_maximum_is_exact() {
        let levels = flights(&[(500, 2500), (750, 1000), (1100, 1101)]).levels_within(ms(0), ms(1000), 4);
        let [a, b, c, d] = levels[..] else { panic!("{levels:?}") };
        assert_eq!(a, ConcurrencyLevel { max: 2, mean: 0.75 });
        assert_eq!((b.max, (b.mean * 1e3).round()), (2, 1001.0));
        assert_eq!(c, ConcurrencyLevel { max: 1, mean: 0.5 });
        assert_eq!(d, ConcurrencyLevel { max: 0, mean: 0.0 });
    }

    #[test]
    fn a_stretch_knows_what_was_in_flight_before_it() {
        let levels = flights(&[(0, 5000)]).levels_within(ms(2000), ms(500), 1);
        assert_eq!(levels, [ConcurrencyLevel { max: 1, mean: 1.0 }]);
    }

    #[test]
    fn a_request_without_an_end_or_with_its_times_reversed_is_no_trouble() {
        let mut odd = record(0, ms(10), ms(20), ms(30));
        odd.times.set(Milestone::Done, ms(0));
        let mut endless = record(1, ms(10), ms(20), ms(30));
        endless.times.set(Milestone::Done, None);
        assert_eq!(ConcurrencyCurve::from_records(&[odd, endless]).peak(), 0);
    }
}
