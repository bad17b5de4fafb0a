//! The knee of the throughput-latency curve: the load above which more load costs more latency than it is worth.

use super::isotonic::{self, IsotonicPoint};
use super::trial::Trial;

/// The smallest number of loads that form a curve.
const MIN_LOADS: usize = 4;

/// A curve whose distance from the straight line between its ends never exceeds this value has no knee.
const MIN_CURVATURE: f64 = 0.15;

/// The knee of the trials' latency: P95 TTFT, or E2E where an answer arrives in one piece. `None` without a knee.
pub(super) fn find_knee(trials: &[Trial]) -> Option<f64> {
    let streams = trials.iter().any(|trial| trial.service.ttft_p95_ms.is_some());
    let latency = |trial: &Trial| if streams { trial.service.ttft_p95_ms } else { trial.service.e2e_p95_ms };
    knee_of_curve(
        trials
            .iter()
            .filter_map(|trial| Some((trial.load, latency(trial)?, trial.service.requests)))
            .collect(),
    )
}

/// Returns the load at the knee of a curve of loads, latencies and numbers of requests, by the rule of Kneedle
/// (Satopää, Albrecht, Irwin and Raghavan 2011): with both axes scaled to 0 … 1, the point of a convex rising curve that
/// is furthest below the diagonal.
///
/// The latency is made monotone first, so that a single unlucky run does not become a knee. `None` for a curve without a
/// knee.
pub(crate) fn knee_of_curve(curve: Vec<(f64, f64, usize)>) -> Option<f64> {
    let point = |(at, height, requests): (f64, f64, usize)| IsotonicPoint {
        at,
        height,
        weight: requests.max(1) as f64,
    };
    let mut points: Vec<IsotonicPoint> = curve.into_iter().map(point).collect();
    points.sort_by(|a, b| a.at.total_cmp(&b.at));
    let heights = isotonic::isotonic_fit(&points);
    let (first, last) = (points.first()?, points.last()?);
    let (width, low, rise) = (last.at - first.at, heights[0], heights.last()? - heights[0]);
    if points.len() < MIN_LOADS || width <= 0.0 || rise <= 0.0 {
        return None;
    }
    let below = |(point, height): (&IsotonicPoint, &f64)| {
        ((point.at - first.at) / width - (height - low) / rise, point.at)
    };
    let furthest = points.iter().zip(&heights).map(below).max_by(|a, b| a.0.total_cmp(&b.0))?;
    (furthest.0 > MIN_CURVATURE).then_some(furthest.1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::searches::trial;

    fn curve(points: &[(f64, f64)]) -> Vec<Trial> {
        let with_latency = |&(load, ms): &(f64, f64)| {
            let mut trial = trial(load, Vec::new());
            trial.service.ttft_p95_ms = Some(ms);
            trial
        };
        points.iter().map(with_latency).collect()
    }

    #[test]
    fn the_knee_is_before_the_wall() {
        let hockey =
            curve(&[(1.0, 50.0), (2.0, 50.0), (4.0, 55.0), (8.0, 70.0), (9.0, 400.0), (10.0, 2000.0)]);
        assert_eq!(find_knee(&hockey), Some(8.0));
        let queue: Vec<(f64, f64)> =
            (1..100).map(|i| (f64::from(i), 1.0 / (1.0 - f64::from(i) / 100.0))).collect();
        // For 1/(1 − ρ) up to 0.99, Kneedle's knee is at 1 − 1/10.
        assert!((find_knee(&curve(&queue)).unwrap() - 90.0).abs() < 1.5, "{:?}", find_knee(&curve(&queue)));
    }

    #[test]
    fn a_straight_line_and_three_points_have_none() {
        assert_eq!(find_knee(&curve(&[(1.0, 10.0), (2.0, 20.0), (3.0, 30.0), (4.0, 40.0)])), None);
        assert_eq!(find_knee(&curve(&[(1.0, 10.0), (2.0, 10.0), (3.0, 90.0)])), None);
        assert_eq!(find_knee(&[]), None);
    }
}
