//! The Wilcoxon signed-rank test: whether differences within pairs tend to one side, for any distribution.

use statrs::distribution::{ContinuousCDF as _, Normal};

/// The largest number of pairs with an exact p-value; more pairs use the normal distribution.
const EXACT_UP_TO: usize = 100;

/// The two-sided p-value of the signed ranks, exact under ties too: it counts every assignment of signs to the ranks. A
/// difference of zero has no sign and is dropped, as Wilcoxon did (*Individual comparisons by ranking methods*, 1945).
/// 1 where no difference is left.
pub(crate) fn wilcoxon(differences: &[f64]) -> f64 {
    let signed: Vec<f64> = differences.iter().copied().filter(|difference| *difference != 0.0).collect();
    let ranks = doubled_midranks(&signed);
    let positive = signed.iter().zip(&ranks).filter(|(difference, _)| **difference > 0.0);
    // Both sums are doubled once more, so that half of all ranks is an integer.
    let sum = 2 * positive.map(|(_, rank)| rank).sum::<usize>();
    let expected: usize = ranks.iter().sum();
    let off = sum.abs_diff(expected);
    match ranks.len() {
        0 => 1.0,
        1..=EXACT_UP_TO => exact_p_value(&ranks, expected, off),
        _ => normal_p_value(&ranks, off as f64),
    }
}

/// The least p-value that this number of pairs can have: all differences have the same sign.
pub(crate) fn min_signed_p_value(pairs: usize) -> f64 {
    0.5_f64.powf(pairs as f64 - 1.0).min(1.0)
}

/// The rank of each absolute value; equal values share the mean of their ranks. Ranks are doubled, so that they are
/// integers.
fn doubled_midranks(values: &[f64]) -> Vec<usize> {
    let rank = |value: &f64| {
        let below = values.iter().filter(|other| other.abs() < value.abs()).count();
        let equal = values.iter().filter(|other| other.abs() == value.abs()).count();
        2 * below + equal + 1
    };
    values.iter().map(rank).collect()
}

/// The share of the sign assignments whose positive rank sum is at least `off` from the expectation.
fn exact_p_value(ranks: &[usize], expected: usize, off: usize) -> f64 {
    let most: usize = ranks.iter().sum();
    let mut ways = vec![0.0_f64; most + 1];
    ways[0] = 1.0;
    for &rank in ranks {
        for sum in (rank..=most).rev() {
            ways[sum] += ways[sum - rank];
        }
    }
    let extreme = ways.iter().enumerate().filter(|(sum, _)| (2 * sum).abs_diff(expected) >= off);
    extreme.map(|(_, count)| count).sum::<f64>() / ways.iter().sum::<f64>()
}

fn normal_p_value(ranks: &[usize], off: f64) -> f64 {
    let error = ranks.iter().map(|&rank| (rank * rank) as f64).sum::<f64>().sqrt();
    2.0 * Normal::standard().sf(off / error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_pairs_have_the_tables_p() {
        // All of one sign: 2 of 2^6 ways.
        assert!((wilcoxon(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]) - 2.0 / 64.0).abs() < 1e-12);
        assert!((min_signed_p_value(6) - 2.0 / 64.0).abs() < 1e-12);
        // W = 3 with 8 pairs: 5 ways on each side have at most that (0, 1, 2, 3, 1 + 2) of 2^8.
        let p = wilcoxon(&[1.0, 2.0, -3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
        assert!((p - 10.0 / 256.0).abs() < 1e-12, "{p}");
    }

    #[test]
    fn the_sign_of_all_changes_nothing() {
        let differences = [0.3, -1.2, 2.5, 0.7, -0.1];
        assert_eq!(wilcoxon(&differences), wilcoxon(&differences.map(|difference| -difference)));
    }

    #[test]
    fn equal_pairs_and_no_pairs_show_nothing() {
        assert_eq!(wilcoxon(&[0.0, 0.0]), 1.0);
        assert_eq!(wilcoxon(&[]), 1.0);
        assert_eq!(wilcoxon(&[1.0, -1.0]), 1.0);
        assert_eq!((min_signed_p_value(0), min_signed_p_value(1)), (1.0, 1.0));
        // Zeros are left out: 2 of 2^2 ways.
        assert_eq!(wilcoxon(&[0.0, 1.0, 1.0]), 0.5);
    }

    #[test]
    fn many_pairs_agree_with_the_exact_law() {
        let differences: Vec<f64> =
            (1..=80).map(|i| f64::from(i) * if i % 3 == 0 { -1.0 } else { 1.0 }).collect();
        let ranks = doubled_midranks(&differences);
        let sum: usize = (1..=80).filter(|i| i % 3 != 0).map(|i| 4 * i).sum();
        let off = sum.abs_diff(ranks.iter().sum());
        let exact = wilcoxon(&differences);
        assert!((exact / normal_p_value(&ranks, off as f64) - 1.0).abs() < 0.1, "{exact}");
    }
}
