//! Determines the number of tokens that a block hash represents.

use super::rows::TraceRows;

/// vLLM's default block size, in tokens.
const DEFAULT_BLOCK_TOKENS: u32 = 16;

/// Finds the block size with which the hashes of every row cover exactly its prompt. The result is
/// [`DEFAULT_BLOCK_TOKENS`] if that size fits, else the only power of two that fits, else [`DEFAULT_BLOCK_TOKENS`].
pub(super) fn fitting_block_size(rows: &TraceRows) -> u32 {
    let (mut least, mut most) = (1, u32::MAX);
    for row in rows.iter().filter(|row| !row.hashes.is_empty()) {
        let hashes = u32::try_from(row.hashes.len()).unwrap_or(u32::MAX);
        least = least.max(row.input.div_ceil(hashes));
        if hashes > 1 {
            most = most.min((row.input - 1) / (hashes - 1));
        }
    }
    let fits = |tokens: &u32| (least..=most).contains(tokens);
    if fits(&DEFAULT_BLOCK_TOKENS) || most == u32::MAX {
        return DEFAULT_BLOCK_TOKENS;
    }
    let mut powers = (0..u32::BITS).map(|power| 1 << power).filter(fits);
    match (powers.next(), powers.next()) {
        (Some(only), None) => only,
        _ => DEFAULT_BLOCK_TOKENS,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::SignedDuration;

    use super::*;
    use crate::dataset::trace::row::TraceRow;

    fn rows(lengths: &[(u32, u64)]) -> TraceRows {
        let row = |&(input, hashes): &(u32, u64)| TraceRow {
            at: SignedDuration::ZERO,
            line: 1,
            input,
            output: 1,
            hashes: (0..hashes).collect(),
            session: None,
            text: None,
            duration: Duration::ZERO,
        };
        lengths.iter().map(row).collect::<Vec<_>>().into()
    }

    #[test]
    fn a_mooncake_trace_has_blocks_of_512() {
        assert_eq!(fitting_block_size(&rows(&[(6758, 14), (7322, 15), (2290, 5)])), 512);
    }

    #[test]
    fn where_nothing_else_is_clear_it_is_vllms_default() {
        for unclear in [&[][..], &[(100, 0)], &[(40, 3)], &[(100, 1)], &[(100, 2), (3, 3)]] {
            assert_eq!(fitting_block_size(&rows(unclear)), 16, "{unclear:?}");
        }
    }
}
