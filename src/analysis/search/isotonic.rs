//! Isotonic regression: the function closest to the points among all functions that never fall.

/// A weighted point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct IsotonicPoint {
    pub at: f64,
    pub height: f64,
    /// The inverse of the height's variance.
    pub weight: f64,
}

/// Returns the heights of the fit at each point, for points in ascending order of `at`. Uses the
/// pool-adjacent-violators algorithm (Ayer, Brunk, Ewing, Reid and Silverman 1955). Points with equal `at` get one
/// height.
pub(super) fn isotonic_fit(points: &[IsotonicPoint]) -> Vec<f64> {
    struct IsotonicPool {
        place: f64,
        sum: f64,
        weight: f64,
        count: usize,
    }
    let mut pools: Vec<IsotonicPool> = Vec::with_capacity(points.len());
    for &IsotonicPoint { at, height, weight } in points {
        let mut pool = IsotonicPool { place: at, sum: height * weight, weight, count: 1 };
        while let Some(before) = pools.pop_if(|before| {
            before.place == pool.place || before.sum / before.weight >= pool.sum / pool.weight
        }) {
            pool.sum += before.sum;
            pool.weight += before.weight;
            pool.count += before.count;
        }
        pools.push(pool);
    }
    pools.iter().flat_map(|pool| std::iter::repeat_n(pool.sum / pool.weight, pool.count)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn points(heights: &[(f64, f64)]) -> Vec<IsotonicPoint> {
        heights.iter().map(|&(at, height)| IsotonicPoint { at, height, weight: 1.0 }).collect()
    }

    #[test]
    fn what_rises_is_left_alone_and_what_falls_is_pooled() {
        assert_eq!(isotonic_fit(&points(&[(1.0, 0.0), (2.0, 1.0), (3.0, 4.0)])), [0.0, 1.0, 4.0]);
        assert_eq!(isotonic_fit(&points(&[(1.0, 0.0), (2.0, 3.0), (3.0, 1.0)])), [0.0, 2.0, 2.0]);
        assert_eq!(isotonic_fit(&points(&[(1.0, 0.0), (1.0, 4.0), (3.0, 3.0)])), [2.0, 2.0, 3.0]);
        assert!(isotonic_fit(&[]).is_empty());
    }

    #[test]
    fn what_weighs_more_gives_way_less() {
        let heavy = [
            IsotonicPoint { at: 1.0, height: 1.0, weight: 3.0 },
            IsotonicPoint { at: 2.0, height: -1.0, weight: 1.0 },
        ];
        assert_eq!(isotonic_fit(&heavy), [0.5, 0.5]);
    }

    proptest! {
        #[test]
        fn the_fit_never_falls_and_keeps_the_mean(heights in prop::collection::vec(-5.0..5.0_f64, 1..40)) {
            let points: Vec<IsotonicPoint> =
                heights.iter().zip(1..).map(|(&height, at)| IsotonicPoint { at: f64::from(at), height, weight: 1.0 }).collect();
            let fit = isotonic_fit(&points);
            prop_assert!(fit.windows(2).all(|pair| pair[0] <= pair[1]));
            let sums = [heights.iter().sum::<f64>(), fit.iter().sum::<f64>()];
            prop_assert!((sums[0] - sums[1]).abs() < 1e-9);
        }
    }
}
