//! Quantiles and summaries: one pinned definition for every number that is printed.
//!
//! Percentiles interpolate linearly between closest ranks (numpy's default, so vLLM's); the standard deviation is the
//! population's (numpy's default too).

use std::time::Duration;

use base64::Engine as _;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2Serializer};
use serde::{Deserialize, Serialize};

use super::units::seconds;

/// A percentile: `p` in 0 ..= 100.
pub type Percent = f64;

/// The percentile `p` of ascending values by linear interpolation between closest ranks; `None` without values.
///
/// Definition: rank = p/100 · (n − 1), numpy's `linear` (Hyndman and Fan 1996, type 7).
pub fn percentile(sorted: &[Duration], p: Percent) -> Option<Duration> {
    let last = sorted.len().checked_sub(1)?;
    let rank = p.clamp(0.0, 100.0) / 100.0 * last as f64;
    let below = rank.floor() as usize;
    let low = sorted[below];
    let high = sorted[(below + 1).min(last)];
    Some(low + (high - low).mul_f64(rank - below as f64))
}

/// The summary of a sample of durations.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Distribution {
    /// How many values.
    pub n: u64,
    /// Arithmetic mean.
    #[serde(rename = "mean_s", with = "seconds")]
    pub mean: Duration,
    /// Population standard deviation.
    #[serde(rename = "std_s", with = "seconds")]
    pub std: Duration,
    /// The 50th percentile.
    #[serde(rename = "median_s", with = "seconds")]
    pub median: Duration,
    /// The percentiles that were asked for, in the order asked.
    pub percentiles: Vec<Percentile>,
}

/// One percentile of a [`Distribution`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Percentile {
    /// Which one, 0 ..= 100.
    pub p: Percent,
    /// Its value.
    #[serde(rename = "value_s", with = "seconds")]
    pub value: Duration,
}

impl Distribution {
    /// Summarises values in any order; `None` without values.
    pub fn of(mut values: Vec<Duration>, percents: &[Percent]) -> Option<Self> {
        values.sort_unstable();
        let moments = Moments::of(&values);
        Some(Self {
            n: moments.n,
            mean: moments.mean()?,
            std: moments.std()?,
            median: percentile(&values, 50.0)?,
            percentiles: percents
                .iter()
                .filter_map(|&p| Some(Percentile { p, value: percentile(&values, p)? }))
                .collect(),
        })
    }
}

/// Count, sum and sum of squares: what mean and deviation need.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Moments {
    n: u64,
    sum: f64,
    squares: f64,
}

impl Moments {
    fn of(values: &[Duration]) -> Self {
        let mut moments = Self::default();
        values.iter().for_each(|value| moments.add(*value));
        moments
    }

    fn add(&mut self, value: Duration) {
        let value = value.as_secs_f64();
        self.n += 1;
        self.sum += value;
        self.squares += value * value;
    }

    fn merge(&mut self, other: &Self) {
        self.n += other.n;
        self.sum += other.sum;
        self.squares += other.squares;
    }

    fn mean(&self) -> Option<Duration> {
        (self.n > 0).then(|| Duration::from_secs_f64(self.sum / self.n as f64))
    }

    fn std(&self) -> Option<Duration> {
        let mean = self.mean()?.as_secs_f64();
        Some(Duration::from_secs_f64((self.squares / self.n as f64 - mean * mean).max(0.0).sqrt()))
    }
}

/// A sample of durations too large to keep: exact moments and a histogram, in constant memory.
///
/// The histogram (HDR, nanoseconds, 3 significant digits from 1 µs up) gives percentiles within 0.1 %.
#[derive(Debug, Clone)]
pub struct Tally {
    moments: Moments,
    histogram: Histogram<u64>,
}

impl Default for Tally {
    fn default() -> Self {
        let lowest = Duration::from_micros(1).as_nanos() as u64;
        let highest = Duration::from_secs(3600).as_nanos() as u64;
        let mut histogram = Histogram::new_with_bounds(lowest, highest, 3)
            .expect("constant bounds that HdrHistogram accepts");
        histogram.auto(true);
        Self { moments: Moments::default(), histogram }
    }
}

impl FromIterator<Duration> for Tally {
    fn from_iter<I: IntoIterator<Item = Duration>>(values: I) -> Self {
        let mut tally = Self::default();
        values.into_iter().for_each(|value| tally.record(value));
        tally
    }
}

impl Tally {
    /// Adds one value.
    pub fn record(&mut self, value: Duration) {
        self.moments.add(value);
        self.histogram.saturating_record(u64::try_from(value.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Adds all values of another.
    pub fn merge(&mut self, other: &Self) {
        self.moments.merge(&other.moments);
        self.histogram.add(&other.histogram).expect("tallies share their bounds and resize");
    }

    /// How many values.
    pub fn len(&self) -> u64 {
        self.moments.n
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The percentile `p`, within the histogram's 0.1 %; `None` without values.
    pub fn percentile(&self, p: Percent) -> Option<Duration> {
        (!self.is_empty()).then(|| Duration::from_nanos(self.histogram.value_at_percentile(p)))
    }

    /// The summary; `None` without values.
    pub fn distribution(&self, percents: &[Percent]) -> Option<Distribution> {
        Some(Distribution {
            n: self.len(),
            mean: self.moments.mean()?,
            std: self.moments.std()?,
            median: self.percentile(50.0)?,
            percentiles: percents
                .iter()
                .filter_map(|&p| Some(Percentile { p, value: self.percentile(p)? }))
                .collect(),
        })
    }

    /// The histogram in HdrHistogram's V2 format, base64, values in nanoseconds.
    pub fn encode(&self) -> String {
        let mut bytes = Vec::new();
        V2Serializer::new()
            .serialize(&self.histogram, &mut bytes)
            .expect("a histogram serializes into memory");
        base64::engine::general_purpose::STANDARD.encode(bytes)
    }
}

/// Reads what [`Tally::encode`] writes; `None` for anything else.
pub fn decode_histogram(text: &str) -> Option<Histogram<u64>> {
    let bytes = base64::engine::general_purpose::STANDARD.decode(text).ok()?;
    Deserializer::new().deserialize(&mut bytes.as_slice()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(values: &[u64]) -> Vec<Duration> {
        values.iter().copied().map(Duration::from_millis).collect()
    }

    #[test]
    fn percentiles_are_numpys() {
        // numpy.percentile([10, 20, 30, 40], [0, 25, 50, 90, 99, 100])
        let sorted = ms(&[10, 20, 30, 40]);
        let expected = [(0.0, 10.0), (25.0, 17.5), (50.0, 25.0), (90.0, 37.0), (99.0, 39.7), (100.0, 40.0)];
        for (p, value) in expected {
            let got = percentile(&sorted, p).unwrap().as_secs_f64() * 1e3;
            assert!((got - value).abs() < 1e-6, "p{p}: {got} is not {value}");
        }
    }

    #[test]
    fn nothing_has_no_percentile_and_no_summary() {
        assert_eq!(percentile(&[], 50.0), None);
        assert_eq!(Distribution::of(Vec::new(), &[99.0]), None);
        assert_eq!(Tally::default().distribution(&[99.0]), None);
    }

    #[test]
    fn the_deviation_is_the_populations() {
        let summary = Distribution::of(ms(&[2, 4, 4, 4, 5, 5, 7, 9]), &[]).unwrap();
        assert_eq!(summary.mean, Duration::from_millis(5));
        assert!((summary.std.as_secs_f64() - 0.002).abs() < 1e-12);
    }

    #[test]
    fn a_tally_agrees_with_the_exact_summary() {
        let values: Vec<_> = (1..=10_000).map(|i| Duration::from_micros(i * 7)).collect();
        let exact = Distribution::of(values.clone(), &[99.0]).unwrap();
        let tally = values.iter().copied().collect::<Tally>().distribution(&[99.0]).unwrap();
        assert_eq!((tally.n, tally.mean, tally.std), (exact.n, exact.mean, exact.std));
        let (got, want) =
            (tally.percentiles[0].value.as_secs_f64(), exact.percentiles[0].value.as_secs_f64());
        assert!((got / want - 1.0).abs() < 0.002, "{got} {want}");
    }

    #[test]
    fn tallies_merge_to_the_tally_of_all() {
        let (left, right) = (ms(&[1, 2, 3]), ms(&[4, 5_000, 6]));
        let mut merged: Tally = left.iter().copied().collect();
        merged.merge(&right.iter().copied().collect());
        let all: Tally = left.into_iter().chain(right).collect();
        assert_eq!(merged.distribution(&[50.0, 99.0]), all.distribution(&[50.0, 99.0]));
    }

    #[test]
    fn a_histogram_survives_its_encoding() {
        let tally: Tally = ms(&[1, 20, 300]).into_iter().collect();
        assert_eq!(decode_histogram(&tally.encode()).unwrap(), tally.histogram);
        assert!(decode_histogram("not base64!").is_none());
    }
}
