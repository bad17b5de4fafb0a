//! Requests that go wrong on purpose.

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::named::named;

named! {
    /// What can go wrong with a request.
    FaultKind {
        /// Answered 500 before anything is generated.
        Error500 = "error500",
        /// Answered 429 before anything is generated.
        Error429 = "error429",
        /// Accepted, and no answer ever comes, not even a status line.
        StallHeaders = "stall-headers",
        /// The connection breaks in mid-stream, without the closing chunk.
        Disconnect = "disconnect",
        /// The stream goes silent in the middle until the client leaves.
        Stall = "stall",
        /// HTTP 200, then an error event inside the stream, then `[DONE]`.
        ErrorEvent = "error-event",
        /// One event in the middle is not JSON; the stream then goes on.
        Malformed = "malformed",
        /// The stream ends cleanly in the middle, with neither a finish reason nor `[DONE]`.
        NoTerminal = "no-terminal",
        /// HTTP 200 and a finish reason, but not a single token.
        Empty = "empty",
    }
}

/// How many requests go wrong and in which ways.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Faults {
    /// The share of requests that go wrong, 0 to 1.
    pub rate: f64,
    /// The ways, each as likely as the others; none means no faults.
    pub kinds: Vec<FaultKind>,
}

impl Faults {
    /// The fate of the `ordinal`-th request under `seed`: the same every time.
    pub fn fate(&self, seed: u64, ordinal: u64) -> Option<FaultKind> {
        if self.kinds.is_empty() || self.rate <= 0.0 {
            return None;
        }
        // A generator per ordinal, so that a fate does not depend on which requests came before.
        let mut dice = StdRng::seed_from_u64(seed ^ ordinal.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let struck = dice.random::<f64>() < self.rate;
        struck.then(|| self.kinds[dice.random_range(0..self.kinds.len())])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fate_of_a_request_depends_on_seed_and_ordinal_only() {
        let faults = Faults { rate: 0.3, kinds: FaultKind::ALL.to_vec() };
        let fates: Vec<_> = (0..1000).map(|n| faults.fate(7, n)).collect();
        assert_eq!(fates, (0..1000).map(|n| faults.fate(7, n)).collect::<Vec<_>>());
        assert_ne!(fates, (0..1000).map(|n| faults.fate(8, n)).collect::<Vec<_>>());
        let struck = fates.iter().flatten().count();
        assert!((230..370).contains(&struck), "{struck} of 1000 at a rate of 0.3");
        assert!(FaultKind::ALL.iter().all(|kind| fates.contains(&Some(*kind))));
    }

    #[test]
    fn a_rate_of_one_spares_nobody_and_no_kinds_spare_everybody() {
        let all = Faults { rate: 1.0, kinds: vec![FaultKind::Stall] };
        assert!((0..100).all(|n| all.fate(1, n) == Some(FaultKind::Stall)));
        let none = Faults { rate: 1.0, kinds: vec![] };
        assert!((0..100).all(|n| none.fate(1, n).is_none()));
    }
}
