//! The Mann–Whitney test: whether one sample tends to be above another, for any distributions.

use statrs::distribution::{ContinuousCDF as _, Normal};

/// The largest total sample size with an exact p-value; larger samples use the normal distribution.
const EXACT_UP_TO: usize = 100;

/// The two-sided p-value of the rank sum, exact under ties too: it counts every way of distributing the ranks over the
/// two samples (the permutation distribution of the midranks). 1 where a sample is empty.
pub(crate) fn mann_whitney(a: &[f64], b: &[f64]) -> f64 {
    let ranks = doubled_midranks(a, b);
    let (n, all) = (a.len(), ranks.len());
    let sum: usize = ranks[..n].iter().sum();
    // The expected sum of the doubled ranks: twice the expected rank sum n · (all + 1) / 2.
    let expected = n * (all + 1);
    let off = sum.abs_diff(expected);
    if n == 0 || n == all {
        return 1.0;
    }
    if all > EXACT_UP_TO {
        normal_p_value(&ranks, n, off as f64)
    } else {
        exact_p_value(&ranks, n, expected, off)
    }
}

/// The least p-value that samples of these sizes can have: all values of one lie above all of the other.
pub(crate) fn min_p_value(a: usize, b: usize) -> f64 {
    let ways = (1..=a).map(|i| (b + i) as f64 / i as f64).product::<f64>();
    (2.0 / ways).min(1.0)
}

/// The rank of each value among all, the first sample's first; equal values share the mean of their ranks. Ranks are
/// doubled, so that they are integers.
fn doubled_midranks(a: &[f64], b: &[f64]) -> Vec<usize> {
    let all: Vec<f64> = a.iter().chain(b).copied().collect();
    let rank = |value: &f64| {
        let below = all.iter().filter(|other| other.total_cmp(value).is_lt()).count();
        let equal = all.iter().filter(|other| other.total_cmp(value).is_eq()).count();
        2 * below + equal + 1
    };
    all.iter().map(rank).collect()
}

/// The share of the choices of `n` ranks whose sum is at least `off` from the expectation.
fn exact_p_value(ranks: &[usize], n: usize, expected: usize, off: usize) -> f64 {
    let most: usize = ranks.iter().sum();
    // `ways[k][s]`: choices of k ranks with sum s.
    let mut ways = vec![vec![0.0_f64; most + 1]; n + 1];
    ways[0][0] = 1.0;
    for &rank in ranks {
        for k in (1..=n).rev() {
            let (fewer, these) = ways.split_at_mut(k);
            for (sum, count) in these[0].iter_mut().enumerate().skip(rank) {
                *count += fewer[k - 1][sum - rank];
            }
        }
    }
    let total: f64 = ways[n].iter().sum();
    let extreme = ways[n].iter().enumerate().filter(|(sum, _)| sum.abs_diff(expected) >= off);
    extreme.map(|(_, count)| count).sum::<f64>() / total
}

fn normal_p_value(ranks: &[usize], n: usize, off: f64) -> f64 {
    let all = ranks.len() as f64;
    let n = n as f64;
    let mean = all + 1.0;
    let variance = ranks.iter().map(|&rank| (rank as f64 - mean).powi(2)).sum::<f64>() / (all - 1.0);
    let error = (variance * n * (all - n) / all).sqrt();
    if error > 0.0 { 2.0 * Normal::standard().sf(off / error) } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_samples_have_the_tables_p() {
        // Complete separation: 2 of C(6, 3) = 20 ways.
        assert!((mann_whitney(&[1.0, 2.0, 3.0], &[4.0, 5.0, 6.0]) - 0.1).abs() < 1e-12);
        assert!((min_p_value(3, 3) - 0.1).abs() < 1e-12);
        // U = 2 with 5 and 5: 8 of 252 ways.
        let p = mann_whitney(&[1.0, 2.0, 3.0, 4.0, 7.0], &[5.0, 6.0, 8.0, 9.0, 10.0]);
        assert!((p - 8.0 / 252.0).abs() < 1e-12, "{p}");
    }

    #[test]
    fn ties_are_counted_exactly() {
        assert_eq!(mann_whitney(&[1.0, 1.0], &[1.0, 1.0]), 1.0);
        // The rank of 2 goes to one of four places.
        assert_eq!(mann_whitney(&[1.0, 1.0], &[1.0, 2.0]), 1.0);
        assert_eq!(mann_whitney(&[], &[1.0]), 1.0);
    }

    #[test]
    fn large_samples_agree_with_the_exact_law() {
        let (a, b): (Vec<f64>, Vec<f64>) = (0..50).map(|i| (f64::from(i), f64::from(i) + 5.4)).unzip();
        let ranks = doubled_midranks(&a, &b);
        let exact = mann_whitney(&a, &b);
        let off = ranks[..50].iter().sum::<usize>().abs_diff(50 * 101) as f64;
        assert!((exact / normal_p_value(&ranks, 50, off) - 1.0).abs() < 0.05, "{exact}");
    }
}
