//! How many requests were in flight, exactly: a step function of time.
//!
//! A request is in flight from sent to done; an end goes before a start at the same instant.

use std::collections::BTreeMap;
use std::time::Duration;

use super::record::Record;

/// The number of requests in flight as it changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InFlight {
    /// From this instant on, this many; ascending.
    steps: Vec<(Duration, u32)>,
}

impl InFlight {
    /// From the Records, in any order.
    pub fn of(records: &[Record]) -> Self {
        Self::spans(records.iter().filter_map(|record| Some((record.times.sent?, record.times.done?))))
    }

    /// The sessions that were active: each from its first request's sending to its last one's end.
    pub fn sessions<'a>(records: impl Iterator<Item = &'a Record>) -> Self {
        let mut spans = BTreeMap::<u32, (Duration, Duration)>::new();
        for record in records {
            let session = record.facets.as_deref().and_then(|facets| facets.session);
            let (Some(session), Some(sent), Some(done)) = (session, record.times.sent, record.times.done)
            else {
                continue;
            };
            let span = spans.entry(session).or_insert((sent, done));
            *span = (span.0.min(sent), span.1.max(done));
        }
        Self::spans(spans.into_values())
    }

    /// From the beginning and the end of each of whatever is counted, in any order.
    pub(in crate::core) fn spans(spans: impl Iterator<Item = (Duration, Duration)>) -> Self {
        let mut edges: Vec<(Duration, i8)> = spans.flat_map(|(start, end)| [(start, 1), (end, -1)]).collect();
        edges.sort_unstable();
        let steps = edges.into_iter().scan(0_i64, |level, (at, edge)| {
            *level += i64::from(edge);
            // A request whose `done` is before its `sent` would go below zero: it counts as never in flight.
            Some((at, u32::try_from(*level).unwrap_or(0)))
        });
        Self { steps: steps.collect() }
    }

    /// The most at any instant.
    pub fn peak(&self) -> u32 {
        self.steps.iter().map(|(_, level)| *level).max().unwrap_or(0)
    }

    /// Each instant at which the number changes, with the number from then on.
    pub fn steps(&self) -> impl Iterator<Item = (Duration, u32)> {
        self.steps.iter().copied()
    }

    /// Maximum and time-weighted mean within each of `count` equal stretches from `start` on.
    pub fn within(&self, start: Duration, stretch: Duration, count: usize) -> Vec<Level> {
        let first = self.steps.partition_point(|(at, _)| *at <= start);
        let mut level = first.checked_sub(1).map_or(0, |before| self.steps[before].1);
        let mut steps = self.steps[first..].iter().peekable();
        let mut levels = Vec::with_capacity(count);
        let mut from = start;
        for i in 1..=count {
            let end = start + stretch * i as u32;
            let (mut max, mut area, begin) = (level, 0.0, from);
            while let Some((at, next)) = steps.next_if(|(at, _)| *at < end) {
                area += f64::from(level) * (*at - from).as_secs_f64();
                (from, level) = (*at, *next);
                max = max.max(level);
            }
            area += f64::from(level) * (end - from).as_secs_f64();
            from = end;
            let length = (end - begin).as_secs_f64();
            levels.push(Level { max, mean: if length > 0.0 { area / length } else { f64::from(level) } });
        }
        levels
    }
}

/// Requests in flight during a stretch of time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Level {
    /// The most at any instant.
    pub max: u32,
    /// Weighted by time.
    pub mean: f64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::simulated::record;

    fn ms(value: u64) -> Duration {
        Duration::from_millis(value)
    }

    fn flights(spans: &[(u64, u64)]) -> InFlight {
        let records: Vec<_> = spans
            .iter()
            .map(|&(sent, done)| {
                let mut record = record(0, ms(sent), ms(sent), ms(done));
                record.times.sent = Some(ms(sent));
                record
            })
            .collect();
        InFlight::of(&records)
    }

    #[test]
    fn back_to_back_requests_are_one_in_flight() {
        assert_eq!(flights(&[(0, 100), (100, 200)]).peak(), 1);
        assert_eq!(flights(&[(0, 100), (100, 200), (150, 300)]).peak(), 2);
        assert_eq!(flights(&[]).peak(), 0);
    }

    #[test]
    fn the_mean_is_weighted_by_time_and_the_maximum_is_exact() {
        let levels = flights(&[(500, 2500), (750, 1000), (1100, 1101)]).within(ms(0), ms(1000), 4);
        let [a, b, c, d] = levels[..] else { panic!("{levels:?}") };
        assert_eq!(a, Level { max: 2, mean: 0.75 });
        assert_eq!((b.max, (b.mean * 1e3).round()), (2, 1001.0));
        assert_eq!(c, Level { max: 1, mean: 0.5 });
        assert_eq!(d, Level { max: 0, mean: 0.0 });
    }

    #[test]
    fn a_stretch_knows_what_was_in_flight_before_it() {
        let levels = flights(&[(0, 5000)]).within(ms(2000), ms(500), 1);
        assert_eq!(levels, [Level { max: 1, mean: 1.0 }]);
    }

    #[test]
    fn a_request_without_an_end_or_with_its_times_reversed_is_no_trouble() {
        let mut odd = record(0, ms(10), ms(20), ms(30));
        odd.times.done = Some(ms(0));
        let mut endless = record(1, ms(10), ms(20), ms(30));
        endless.times.done = None;
        assert_eq!(InFlight::of(&[odd, endless]).peak(), 0);
    }
}
