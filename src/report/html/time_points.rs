//! The points of charts over time: a run's buckets, or several of them together, so that a page stays small.

use super::table::short_number;
use crate::model::run::Run;

/// The most points of a chart over time.
const MAX_POINTS: usize = 180;

/// Points of equal width over a run.
pub(super) struct TimePoints {
    /// The unit of the time axis.
    pub unit: TimeUnit,
    /// The end of the run in seconds.
    pub end: f64,
    /// The number of the run's buckets in a point.
    pub per_point: usize,
    /// The width of a point in seconds.
    width: f64,
    count: usize,
}

/// A unit of time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct TimeUnit {
    /// The name.
    pub name: &'static str,
    /// Its length in seconds.
    pub seconds: f64,
}

impl TimeUnit {
    /// The unit for a span of this length.
    pub(super) fn for_length(seconds: f64) -> Self {
        match seconds {
            ..900.0 => Self { name: "s", seconds: 1.0 },
            ..36_000.0 => Self { name: "min", seconds: 60.0 },
            _ => Self { name: "h", seconds: 3600.0 },
        }
    }
}

impl TimePoints {
    /// Computes the points of a run with a time series.
    pub(super) fn from_run(run: &Run) -> Self {
        let buckets = run.series.arrivals.len();
        let per_point = buckets.div_ceil(MAX_POINTS).max(1);
        let width = run.series.bucket.as_secs_f64() * per_point as f64;
        let count = buckets.div_ceil(per_point);
        let least = width * (count - 1) as f64;
        let end = run.metrics.duration.as_secs_f64().clamp(least.max(0.001), width * count as f64);
        Self { unit: TimeUnit::for_length(end), end, per_point, width, count }
    }

    /// The number of points.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// What a point is.
    pub(super) fn note(&self) -> String {
        format!("Each point covers {} s.", short_number(self.width))
    }

    /// The start of a point in the axis's unit.
    pub(super) fn start_text(&self, at: usize) -> String {
        short_number(at as f64 * self.width / self.unit.seconds)
    }

    /// The middle of a point, in the axis's unit; the last may be shorter.
    pub(super) fn middle(&self, at: usize) -> f64 {
        let start = at as f64 * self.width;
        f64::midpoint(start, (start + self.width).min(self.end)) / self.unit.seconds
    }

    /// The sum of each point.
    pub(super) fn sums<T: Copy + Into<f64>>(&self, values: &[T]) -> Vec<f64> {
        let points = values.chunks(self.per_point);
        points.map(|point| point.iter().map(|value| (*value).into()).sum()).collect()
    }

    /// The mean of each point.
    pub(super) fn means(&self, values: &[f64]) -> Vec<Option<f64>> {
        let points = values.chunks(self.per_point);
        points.map(|point| Some(point.iter().sum::<f64>() / point.len() as f64)).collect()
    }

    /// The largest value of each point.
    pub(super) fn highest(&self, values: &[u32]) -> Vec<Option<f64>> {
        let values: Vec<Option<f64>> = values.iter().map(|value| Some(f64::from(*value))).collect();
        self.highest_of(&values)
    }

    /// The largest value of each point; `None` where it has no value.
    pub(super) fn highest_of(&self, values: &[Option<f64>]) -> Vec<Option<f64>> {
        let points = values.chunks(self.per_point);
        points.map(|point| point.iter().flatten().copied().reduce(f64::max)).collect()
    }

    /// The largest of the values that were sampled in each point.
    pub(super) fn sampled(&self, at_s: &[f64], values: &[Option<f64>]) -> Vec<Option<f64>> {
        let mut points = vec![None; self.count];
        for (at, value) in at_s.iter().zip(values) {
            // A sample shortly after the end is of the drained server.
            if let Some(value) = value.filter(|_| *at >= 0.0 && *at <= self.end) {
                let point = &mut points[((at / self.width) as usize).min(self.count - 1)];
                *point = Some(point.map_or(value, |seen: f64| seen.max(value)));
            }
        }
        points
    }

    /// The sum of the values that were sampled in each point; `None` where none was.
    pub(super) fn sampled_sums(&self, at_s: &[f64], values: &[Option<f64>]) -> Vec<Option<f64>> {
        let mut points = vec![None; self.count];
        for (at, value) in at_s.iter().zip(values).filter(|(at, _)| **at >= 0.0) {
            if let Some(value) = value {
                // The increase until a sample shortly after the end is of the run.
                let point: &mut Option<f64> = &mut points[((at / self.width) as usize).min(self.count - 1)];
                *point = Some(point.unwrap_or_default() + value);
            }
        }
        points
    }

    /// The rate of each point per second. The last point has none if it is cut to less than half.
    pub(super) fn rates(&self, counts: &[f64]) -> Vec<Option<f64>> {
        let of = |(at, count): (usize, &f64)| {
            let length = (self.end - at as f64 * self.width).min(self.width);
            (length >= self.width / 2.0 || self.count == 1).then(|| count / length)
        };
        counts.iter().enumerate().map(of).collect()
    }

    /// A line through the middles. One point without a value does not interrupt it: where samples are as far apart as
    /// points, two of them may fall into one point and none into the next.
    pub(super) fn line(&self, values: &[Option<f64>]) -> Vec<Option<(f64, f64)>> {
        let has = |at: Option<usize>| at.and_then(|at| *values.get(at)?).is_some();
        let is_kept = |at: usize| has(Some(at)) || !(has(at.checked_sub(1)) && has(Some(at + 1)));
        let point = |at: usize| values[at].map(|value| (self.middle(at), value));
        (0..values.len()).filter(|at| is_kept(*at)).map(point).collect()
    }

    /// A line of steps: each value holds for the whole point.
    pub(super) fn steps(&self, values: &[Option<f64>]) -> Vec<Option<(f64, f64)>> {
        let ends = |at: usize| {
            let start = at as f64 * self.width;
            [start, (start + self.width).min(self.end)].map(|second| second / self.unit.seconds)
        };
        let step = |(at, value): (usize, &Option<f64>)| ends(at).map(|end| value.map(|value| (end, value)));
        values.iter().enumerate().flat_map(step).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::testing::sample_run;

    fn points(buckets: usize, seconds: f64) -> TimePoints {
        let mut run = sample_run::run(false);
        run.series.bucket = Duration::from_secs(1);
        run.series.arrivals = vec![1; buckets];
        run.metrics.duration = Duration::from_secs_f64(seconds);
        TimePoints::from_run(&run)
    }

    #[test]
    fn a_long_run_has_few_points_and_loses_no_request() {
        let points = points(3_600, 3_599.5);
        assert_eq!((points.len(), points.per_point, points.unit.name), (180, 20, "min"));
        let sums = points.sums(&vec![1_u32; 3_600]);
        assert_eq!((sums.len(), sums.iter().sum::<f64>()), (180, 3_600.0));
        assert_eq!(points.note(), "Each point covers 20 s.");
    }

    #[test]
    fn the_last_point_of_a_run_has_a_rate_only_if_it_is_long_enough() {
        let rates = |seconds| points(3, seconds).rates(&[10.0, 10.0, 6.0]);
        assert_eq!(rates(2.6), [Some(10.0), Some(10.0), Some(6.0 / 0.6000000000000001)]);
        assert_eq!(rates(2.1)[2], None);
    }

    #[test]
    fn samples_of_the_server_are_in_their_point() {
        let points = points(3, 2.5);
        let sampled =
            points.sampled(&[-0.1, 0.5, 1.2, 1.4, 9.0], &[Some(9.0), None, Some(2.0), Some(3.0), Some(8.0)]);
        assert_eq!(sampled, [None, Some(3.0), None]);
        let sums = points.sampled_sums(&[-0.1, 1.2, 1.4, 9.0], &[Some(9.0), Some(2.0), Some(3.0), Some(8.0)]);
        assert_eq!(sums, [None, Some(5.0), Some(8.0)]);
        let line = points.line(&[Some(1.0), None, Some(3.0)]);
        assert_eq!(line, [Some((0.5, 1.0)), Some((2.25, 3.0))], "one point without a sample is no gap");
        assert_eq!(points.line(&[Some(1.0), None, None]).len(), 3);
    }
}
