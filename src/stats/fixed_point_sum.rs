//! Sums that are the same in every order.

/// 2^64 as a float.
const ONE: f64 = 18_446_744_073_709_551_616.0;

/// A sum of non-negative numbers in fixed point, with 64 bits on either side: unlike a sum of floats it does not depend
/// on the order of its terms, so that the sums of several clients' requests are those of one client's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct FixedPointSum(u128);

impl FixedPointSum {
    /// Adds a number.
    pub(crate) fn add(&mut self, value: f64) {
        self.0 = self.0.saturating_add((value * ONE) as u128);
    }

    /// Adds another sum.
    pub(crate) fn merge(&mut self, other: Self) {
        self.0 = self.0.saturating_add(other.0);
    }

    /// The sum.
    pub(crate) fn value(self) -> f64 {
        self.0 as f64 / ONE
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_sum_does_not_depend_on_its_order(mut values in prop::collection::vec(0.0..1e6_f64, 0..100), cut in 0_usize..100) {
            let sum = |values: &[f64]| {
                let mut sum = FixedPointSum::default();
                values.iter().for_each(|value| sum.add(*value));
                sum
            };
            let all = sum(&values);
            let floats: f64 = values.iter().sum();
            prop_assert!((all.value() - floats).abs() <= floats * 1e-13);
            values.reverse();
            let (left, right) = values.split_at(cut.min(values.len()));
            let mut parts = sum(right);
            parts.merge(sum(left));
            prop_assert_eq!(parts, all);
        }
    }
}
