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
    fn no_p_is_above_1_and_no_family_is_none() {
        assert_eq!(adjusted(&[Some(0.9), Some(0.8)]), [Some(1.0), Some(1.0)]);
        assert_eq!(adjusted(&[]), []);
    }
}
