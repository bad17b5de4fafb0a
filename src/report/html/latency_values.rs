//! The values of a latency at any percentile, of one run or of several together.

use std::time::Duration;

use crate::model::metrics::Latency;
use crate::model::run::Run;
use crate::stats::{
    Distribution, DurationHistogram, DurationInterval, Percent, Percentile, enclosing_shares, min_sample_size,
};

/// The values of a latency: the percentiles that the run lists, and a histogram for all others.
pub(super) struct LatencyValues {
    /// The number of values.
    pub n: u64,
    listed: Vec<Percentile>,
    histogram: DurationHistogram,
}

impl LatencyValues {
    /// Reads the values of a latency; `None` if the run has none.
    pub(super) fn from_run(run: &Run, latency: Latency) -> Option<Self> {
        let found = run.metrics.latencies.get(&latency)?;
        let histogram = run.histograms.get(&latency).and_then(|text| DurationHistogram::decode(text))?;
        (!histogram.is_empty()).then(|| Self::new(found, histogram))
    }

    /// The values of a distribution whose histogram is known.
    pub(super) fn new(found: &Distribution, histogram: DurationHistogram) -> Self {
        Self { n: found.n, listed: found.percentiles.clone(), histogram }
    }

    /// The values of several runs together; `None` if none of them has any.
    pub(super) fn from_runs<'a>(runs: impl Iterator<Item = &'a Run>, latency: Latency) -> Option<Self> {
        runs.filter_map(|run| Self::from_run(run, latency)).reduce(|mut all, other| {
            all.n += other.n;
            all.listed.clear();
            all.histogram.merge(&other.histogram);
            all
        })
    }

    /// The percentile in milliseconds: the run's own where it lists it, else within 0.1 %.
    pub(super) fn percentile(&self, p: Percent) -> f64 {
        let listed = self.listed.iter().find(|listed| listed.p == p);
        let value = listed.map(|listed| listed.value).or_else(|| self.histogram.percentile(p));
        milliseconds(value.unwrap_or_default())
    }

    /// The 95 % interval of a percentile in milliseconds; `None` where there are too few values.
    pub(super) fn interval(&self, p: Percent) -> Option<(f64, f64)> {
        if let Some(listed) = self.listed.iter().find(|listed| listed.p == p) {
            return listed
                .interval
                .map(|DurationInterval { low, high }| (milliseconds(low), milliseconds(high)));
        }
        let n = self.effective_n(p)?;
        let (low, high) =
            enclosing_shares(n, p).filter(|_| min_sample_size(p).is_some_and(|least| n >= least))?;
        let end = |share| self.histogram.quantile(share).map(milliseconds);
        Some((end(low)?, end(high)?))
    }

    /// The number of independent values for a percentile, between those of the listed percentiles beside it.
    fn effective_n(&self, p: Percent) -> Option<u64> {
        let mut listed: Vec<(Percent, u64)> =
            self.listed.iter().map(|listed| (listed.p, listed.effective_n)).collect();
        listed.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        let after = listed.iter().position(|(at, _)| *at >= p);
        match after {
            None => listed.last().map(|(_, n)| *n),
            Some(0) => listed.first().map(|(_, n)| *n),
            Some(at) => {
                let ((from, few), (to, many)) = (listed[at - 1], listed[at]);
                let share = (p - from) / (to - from);
                Some((few as f64 + share * (many as f64 - few as f64)) as u64)
            }
        }
    }

    /// The highest percentile that the sample is large enough for; `None` if it is too small for the median.
    pub(super) fn highest_supported(&self) -> Option<Percent> {
        let is_supported = |p: &Percent| {
            let needs = min_sample_size(*p);
            self.effective_n(*p).zip(needs).is_some_and(|(n, needs)| n >= needs)
        };
        let steps = (500..1000).map(|step| f64::from(step) / 10.0).chain([99.95, 99.99, 99.999]);
        steps.take_while(is_supported).last()
    }

    /// The line: more points in the tail than elsewhere.
    pub(super) fn curve(&self) -> Vec<Option<(f64, f64)>> {
        curve_percents(self.n).map(|p| Some((self.percentile(p), p))).collect()
    }
}

/// The percentiles that a line of `n` values goes through, ascending.
pub(super) fn curve_percents(n: u64) -> impl Iterator<Item = Percent> {
    let tail = [99.25, 99.5, 99.75, 99.9, 99.95, 99.99];
    let count = (n - 1).clamp(1, 99);
    let body = (0..=count).map(move |i| 99.0 * i as f64 / count as f64);
    let tail = tail.into_iter().filter(move |_| n > 100);
    body.chain(tail).chain([100.0])
}

/// A time in milliseconds.
pub(super) fn milliseconds(value: Duration) -> f64 {
    value.as_secs_f64() * 1e3
}
