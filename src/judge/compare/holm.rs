//! Holm's adjustment of p-values (*A simple sequentially rejective multiple test procedure*, 1979): the chance that even one
//! of a family of true hypotheses is rejected stays below the level, however they depend on each other.

/// The adjusted p-values, in the order given; what has none is no part of the family.
pub fn adjusted(p: &[Option<f64>]) -> Vec<Option<f64>> {
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

/// The level at which each p-value is judged: a hypothesis is rejected exactly when its p-value is at most its level, so an
/// interval at this level agrees with the verdict. The k-th smallest of m is judged at `alpha` / (m − k + 1) as long as all
/// smaller ones are rejected; the first that is not, and all after it, at that one's level.
pub fn levels(p: &[Option<f64>], alpha: f64) -> Vec<Option<f64>> {
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
        for (got, want) in adjusted(&p).into_iter().zip(expected) {
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
            for ((p, level), adjusted) in p.iter().zip(levels(&p, 0.05)).zip(adjusted(&p)) {
                assert_eq!(*p <= level, adjusted <= Some(0.05), "{table:?} {p:?} {level:?} {adjusted:?}");
            }
        }
        assert_eq!(levels(&[Some(0.5), None, Some(0.01)], 0.05), [Some(0.05), None, Some(0.025)]);
    }

    #[test]
    fn no_p_is_above_1_and_no_family_is_none() {
        assert_eq!(adjusted(&[Some(0.9), Some(0.8)]), [Some(1.0), Some(1.0)]);
        assert_eq!(adjusted(&[]), []);
    }
}
