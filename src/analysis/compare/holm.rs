//! Holm's adjustment of p-values (*A simple sequentially rejective multiple test procedure*, 1979). It keeps the
//! probability of rejecting even one true hypothesis of a family below the level, whatever the dependence among the
//! hypotheses.

/// Returns the adjusted p-values, in the order given. An entry without a p-value does not belong to the family.
pub(crate) fn adjusted_p_values(p: &[Option<f64>]) -> Vec<Option<f64>> {
    let mut order: Vec<(usize, f64)> = p.iter().enumerate().filter_map(|(i, p)| Some((i, (*p)?))).collect();
    order.sort_unstable_by(|a, b| a.1.total_cmp(&b.1));
    let mut adjusted = vec![None; p.len()];
    let mut least = 0.0_f64;
    for (rank, (i, p)) in order.iter().enumerate() {
        least = least.max(p * (order.len() - rank) as f64).min(1.0);
        adjusted[*i] = Some(least);
    }
    adjusted
}

/// Returns the level at which each p-value is tested. A hypothesis is rejected exactly when its p-value is at most its
/// level, so an interval at this level agrees with the verdict. The k-th smallest of m p-values is tested at `alpha` /
/// (m − k + 1) while all smaller ones are rejected. The first that is not rejected, and all after it, are tested at the
/// level of the first.
pub(crate) fn rejection_levels(p: &[Option<f64>], alpha: f64) -> Vec<Option<f64>> {
    let mut order: Vec<(usize, f64)> = p.iter().enumerate().filter_map(|(i, p)| Some((i, (*p)?))).collect();
    order.sort_unstable_by(|a, b| a.1.total_cmp(&b.1));
    let mut levels = vec![None; p.len()];
    let mut judged_at = None;
    for (rank, &(i, p)) in order.iter().enumerate() {
        let level = judged_at.unwrap_or(alpha / (order.len() - rank) as f64);
        levels[i] = Some(level);
        if p > level {
            judged_at = Some(level);
        }
    }
    levels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p_values_are_multiplied_by_what_is_left_of_the_family() {
        let p = [Some(0.01), None, Some(0.04), Some(0.03), Some(0.005)];
        let expected = [Some(0.03), None, Some(0.06), Some(0.06), Some(0.02)];
        for (got, want) in adjusted_p_values(&p).into_iter().zip(expected) {
            assert!(
                got.zip(want).map_or(got == want, |(got, want)| (got - want).abs() < 1e-12),
                "{got:?} {want:?}"
            );
        }
    }

    #[test]
    fn a_p_value_is_at_most_its_level_exactly_when_its_adjusted_one_is_at_most_alpha() {
        let tables: [&[f64]; 4] =
            [&[0.01, 0.04, 0.03, 0.005], &[0.001, 0.02, 0.03, 0.012], &[0.9, 0.8], &[0.0, 0.0, 1.0]];
        for table in tables {
            let p: Vec<Option<f64>> = table.iter().copied().map(Some).collect();
            for ((p, level), adjusted) in p.iter().zip(rejection_levels(&p, 0.05)).zip(adjusted_p_values(&p))
            {
                assert_eq!(*p <= level, adjusted <= Some(0.05), "{table:?} {p:?} {level:?} {adjusted:?}");
            }
        }
        assert_eq!(rejection_levels(&[Some(0.5), None, Some(0.01)], 0.05), [Some(0.05), None, Some(0.025)]);
    }

    #[test]
    fn no_p_is_above_1_and_no_family_is_none() {
        assert_eq!(adjusted_p_values(&[Some(0.9), Some(0.8)]), [Some(1.0), Some(1.0)]);
        assert_eq!(adjusted_p_values(&[]), []);
    }
}
