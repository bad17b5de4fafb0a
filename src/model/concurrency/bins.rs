//! Requests in flight of a run with more requests than fit in memory.

use std::ops::Range;
use std::time::Duration;

use super::{ConcurrencyCurve, FlightStart, nanos};
use crate::model::record::Record;

/// The largest number of bins: eight bytes each.
const MAX_BINS: usize = 1 << 20;

/// The width of the narrowest bins in nanoseconds: about 2 ms. A second is a whole number of bins of up to a second, so
/// that windows of whole seconds are whole bins.
const NARROWEST: u64 = 1_000_000_000 / 512;

/// The largest number of starts and ends that are sorted to find a peak, in eight bytes each.
const MAX_EDGES: u64 = 1 << 22;

/// The starts and ends of spans, counted in bins of time. The bins double their width as the run gets longer, so that
/// memory does not grow with it. The order in which spans are added does not matter.
#[derive(Debug, Clone)]
pub(crate) struct ConcurrencyBins {
    /// The width of a bin in nanoseconds.
    width: u64,
    bins: Vec<BinCounts>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct BinCounts {
    starts: u32,
    ends: u32,
}

impl Default for ConcurrencyBins {
    fn default() -> Self {
        Self { width: NARROWEST, bins: Vec::new() }
    }
}

impl ConcurrencyBins {
    /// Adds a span (start, end). One that ends before it starts does not count.
    pub(crate) fn add(&mut self, (start, end): (Duration, Duration)) {
        let (start, end) = (nanos(start), nanos(end));
        if start <= end {
            // The later time first: it decides the width.
            self.bin(end).ends += 1;
            self.bin(start).starts += 1;
        }
    }

    fn bin(&mut self, at: u64) -> &mut BinCounts {
        while at / self.width >= MAX_BINS as u64 {
            self.double();
        }
        let index = (at / self.width) as usize;
        if index >= self.bins.len() {
            self.bins.resize(index + 1, BinCounts::default());
        }
        &mut self.bins[index]
    }

    fn double(&mut self) {
        self.width *= 2;
        let pairs = self.bins.chunks(2).map(|pair| {
            let sum = |of: fn(&BinCounts) -> u32| pair.iter().map(of).sum();
            BinCounts { starts: sum(|bin| bin.starts), ends: sum(|bin| bin.ends) }
        });
        self.bins = pairs.collect();
    }

    /// The number of spans at the end of each bin.
    fn levels(&self) -> impl Iterator<Item = u32> + Clone {
        self.bins.iter().scan(0_u32, |level, bin| {
            *level = (*level + bin.starts).saturating_sub(bin.ends);
            Some(*level)
        })
    }

    /// The curve of the numbers at the ends of the bins.
    pub(crate) fn curve(&self) -> ConcurrencyCurve {
        ConcurrencyCurve { edges: Vec::new(), bins: (self.width, self.levels().collect()) }
    }
}

/// The largest number of requests in flight at any instant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Peak {
    /// The number of requests.
    pub level: u32,
    /// Whether there were never more; otherwise there may have been a few more within a few milliseconds.
    pub is_exact: bool,
}

/// Finds the peak by a second look at the spans. Only the bins in which the number may exceed that at the end of every
/// bin are looked at closely, and of these only those with the largest possible numbers if all are too many.
pub(crate) struct PeakSearch {
    width: u64,
    /// The bins to look at with the numbers before them, ascending by bin.
    chosen: Vec<(u64, u32)>,
    /// The largest number at the end of a bin.
    known: u32,
    /// The largest number that is possible in the other bins.
    possible: u32,
    /// Starts and ends in these bins, as in a [`ConcurrencyCurve`].
    edges: Vec<u64>,
}

impl PeakSearch {
    /// Prepares the second look: at the whole run, or at the interval `within`. There are never more than `most` spans at
    /// once.
    pub(crate) fn new(bins: &ConcurrencyBins, within: Option<Range<Duration>>, most: Option<u32>) -> Self {
        Self::with_limit(bins, within, most, MAX_EDGES)
    }

    fn with_limit(
        bins: &ConcurrencyBins,
        within: Option<Range<Duration>>,
        most: Option<u32>,
        max_edges: u64,
    ) -> Self {
        let bin_of = |at: Duration| nanos(at) / bins.width;
        let within = within.map_or(0..u64::MAX, |span| bin_of(span.start)..bin_of(span.end));
        let before = std::iter::once(0).chain(bins.levels());
        let all =
            || bins.bins.iter().zip(before.clone()).zip(0_u64..).filter(|(_, bin)| within.contains(bin));
        let known = all().map(|((bin, before), _)| (before + bin.starts).saturating_sub(bin.ends)).max();
        let known = known.unwrap_or_default();
        let most = most.unwrap_or(u32::MAX);
        let mut open: Vec<_> = all()
            .map(|((bin, before), at)| ((before + bin.starts).min(most), at, before, bin.starts + bin.ends))
            .filter(|(possible, ..)| *possible > known)
            .collect();
        open.sort_unstable_by(|a, b| b.cmp(a));
        let mut left = max_edges;
        let fits = |(_, _, _, edges): &&(u32, u64, u32, u32)| {
            let taken = left.checked_sub(u64::from(*edges));
            left = taken.unwrap_or_default();
            taken.is_some()
        };
        let count = open.iter().take_while(fits).count();
        let possible = open.get(count).map_or(0, |(possible, ..)| *possible);
        let mut chosen: Vec<_> = open[..count].iter().map(|(_, at, before, _)| (*at, *before)).collect();
        chosen.sort_unstable();
        Self { width: bins.width, chosen, known, possible, edges: Vec::new() }
    }

    /// Looks at a request.
    pub(crate) fn add_request(&mut self, record: &Record) {
        FlightStart::Sent.span(record).into_iter().for_each(|span| self.add(span));
    }

    /// Looks at a span that the bins have counted. The order does not matter.
    pub(crate) fn add(&mut self, (start, end): (Duration, Duration)) {
        let (start, end) = (nanos(start), nanos(end));
        if start > end {
            return;
        }
        for (at, edge) in [(start, 2 * start + 1), (end, 2 * end)] {
            if self.chosen.binary_search_by_key(&(at / self.width), |(bin, _)| *bin).is_ok() {
                self.edges.push(edge);
            }
        }
    }

    /// The peak.
    pub(crate) fn finish(mut self) -> Peak {
        self.edges.sort_unstable();
        let mut edges = self.edges.iter().copied().peekable();
        let mut peak = self.known;
        for (bin, before) in self.chosen {
            let mut level = i64::from(before);
            while let Some(edge) = edges.next_if(|edge| edge / 2 / self.width <= bin) {
                // The number before an interval lasts until the first edge in it.
                if edge / 2 > bin.saturating_mul(self.width) {
                    peak = peak.max(u32::try_from(level).unwrap_or_default());
                }
                level += if edge % 2 == 1 { 1 } else { -1 };
                peak = peak.max(u32::try_from(level).unwrap_or_default());
            }
        }
        Peak { level: peak, is_exact: self.possible <= peak }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bins(spans: &[(Duration, Duration)]) -> ConcurrencyBins {
        let mut bins = ConcurrencyBins::default();
        spans.iter().for_each(|span| bins.add(*span));
        bins
    }

    fn peak(spans: &[(Duration, Duration)], within: Option<Range<Duration>>, max_edges: u64) -> Peak {
        let mut search = PeakSearch::with_limit(&bins(spans), within, None, max_edges);
        spans.iter().for_each(|span| search.add(*span));
        search.finish()
    }

    fn spans() -> impl Strategy<Value = Vec<(Duration, Duration)>> {
        let span = (0_u64..3_000_000, 0_u64..40_000);
        let micros = Duration::from_micros;
        prop::collection::vec(span.prop_map(move |(at, long)| (micros(at), micros(at + long))), 1..300)
    }

    proptest! {
        #[test]
        fn the_peak_is_exact_after_two_looks(spans in spans()) {
            let exact = ConcurrencyCurve::from_spans(spans.iter().copied());
            prop_assert_eq!(peak(&spans, None, MAX_EDGES), Peak { level: exact.peak(), is_exact: true });
            let second = Duration::from_secs(1);
            let level = exact.levels_within(second, second, 1)[0].max;
            let found = peak(&spans, Some(second..2 * second), MAX_EDGES);
            prop_assert_eq!(found, Peak { level, is_exact: true });
        }

        #[test]
        fn a_peak_among_too_many_edges_is_never_too_high(spans in spans(), max_edges in 0_u64..50) {
            let exact = ConcurrencyCurve::from_spans(spans.iter().copied()).peak();
            let found = peak(&spans, None, max_edges);
            prop_assert!(found.level <= exact && (!found.is_exact || found.level == exact));
            prop_assert!(found.level >= bins(&spans).curve().peak());
        }

        #[test]
        fn the_mean_of_each_second_is_that_of_the_exact_curve(spans in spans()) {
            let second = Duration::from_secs(1);
            let exact = ConcurrencyCurve::from_spans(spans.iter().copied()).levels_within(Duration::ZERO, second, 4);
            let binned = bins(&spans).curve().levels_within(Duration::ZERO, second, 4);
            for (exact, binned) in exact.iter().zip(&binned) {
                prop_assert!(binned.max <= exact.max);
                prop_assert!((binned.mean - exact.mean).abs() <= 0.01 * spans.len() as f64, "{exact:?} {binned:?}");
            }
        }
    }

    #[test]
    fn a_span_that_ends_in_the_first_bin_of_an_interval_counts_in_it() {
        let (ms, second) = (Duration::from_millis, Duration::from_secs(1));
        let within = |end| peak(&[(ms(900), end)], Some(second..2 * second), MAX_EDGES).level;
        assert_eq!((within(second + Duration::from_nanos(1)), within(second)), (1, 0));
    }

    #[test]
    fn a_cap_that_is_reached_needs_no_second_look() {
        let ms = Duration::from_millis;
        let spans: Vec<_> = (0..1000).map(|i| (ms(10 * (i / 4)), ms(10 * (i / 4) + 10))).collect();
        let search = PeakSearch::new(&bins(&spans), None, Some(4));
        assert!(search.chosen.is_empty());
        assert_eq!(search.finish(), Peak { level: 4, is_exact: true });
    }

    #[test]
    fn a_run_of_any_length_has_a_limited_number_of_bins() {
        let day = Duration::from_secs(86_400);
        let long = bins(&[(Duration::ZERO, day), (day, 2 * day)]);
        assert!(long.bins.len() <= MAX_BINS, "{}", long.bins.len());
        assert_eq!(bins(&[(day, 2 * day), (Duration::ZERO, day)]).bins, long.bins);
        let endless = bins(&[(Duration::ZERO, Duration::MAX)]);
        assert!(endless.bins.len() <= MAX_BINS);
    }
}
