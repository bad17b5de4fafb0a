//! How many tokens a block hash stands for.

use super::row::Row;

/// vLLM's default.
const USUAL: u32 = 16;

/// The number that makes every row's hashes cover its prompt and no more: [`USUAL`] if that does, else the only power of
/// two that does, else [`USUAL`].
pub(super) fn tokens_that_fit(rows: &[Row]) -> u32 {
    let (mut least, mut most) = (1, u32::MAX);
    for row in rows.iter().filter(|row| !row.hashes.is_empty()) {
        let hashes = u32::try_from(row.hashes.len()).unwrap_or(u32::MAX);
        least = least.max(row.input.div_ceil(hashes));
        if hashes > 1 {
            most = most.min((row.input - 1) / (hashes - 1));
        }
    }
    let fits = |tokens: &u32| (least..=most).contains(tokens);
    if fits(&USUAL) || most == u32::MAX {
        return USUAL;
    }
    let mut powers = (0..u32::BITS).map(|power| 1 << power).filter(fits);
    match (powers.next(), powers.next()) {
        (Some(only), None) => only,
        _ => USUAL,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::SignedDuration;

    use super::*;

    fn rows(lengths: &[(u32, u64)]) -> Vec<Row> {
        let row = |&(input, hashes): &(u32, u64)| Row {
            at: SignedDuration::ZERO,
            line: 1,
            input,
            output: 1,
            hashes: (0..hashes).collect(),
            session: None,
            text: None,
            duration: Duration::ZERO,
        };
        lengths.iter().map(row).collect()
    }

    #[test]
    fn a_mooncake_trace_has_blocks_of_512() {
        assert_eq!(tokens_that_fit(&rows(&[(6758, 14), (7322, 15), (2290, 5)])), 512);
    }

    #[test]
    fn where_nothing_else_is_clear_it_is_vllms_default() {
        for unclear in [&[][..], &[(100, 0)], &[(40, 3)], &[(100, 1)], &[(100, 2), (3, 3)]] {
            assert_eq!(tokens_that_fit(&rows(unclear)), 16, "{unclear:?}");
        }
    }
}
