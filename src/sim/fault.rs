//! Fault injection: requests that fail on purpose.

use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::sim::named_enum::named;

named! {
    /// A fault of a request.
    FaultKind {
        /// The answer is status 500, before anything is generated.
        Error500 = "error500",
        /// The answer is status 429, before anything is generated.
        Error429 = "error429",
        /// The server accepts the request and never answers, not even with a status line.
        StallHeaders = "stall-headers",
        /// The connection breaks in mid-stream, without the closing chunk.
        Disconnect = "disconnect",
        /// The stream stalls in the middle until the client leaves.
        Stall = "stall",
        /// The answer is HTTP 200, then an error event inside the stream, then `[DONE]`.
        ErrorEvent = "error-event",
        /// One event in the middle is not valid JSON; the stream then continues.
        Malformed = "malformed",
        /// The stream ends cleanly in the middle, with neither a finish reason nor `[DONE]`.
        NoTerminal = "no-terminal",
        /// The answer is HTTP 200 and a finish reason, but no token.
        Empty = "empty",
    }
}

/// How many requests fail, and with which faults.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct FaultInjection {
    /// The share of requests that fail, 0 to 1.
    pub rate: f64,
    /// The faults, each equally likely. An empty list means no faults.
    pub kinds: Vec<FaultKind>,
}

impl FaultInjection {
    /// Returns the fault of the `ordinal`-th request under `seed`, if any. The result is deterministic.
    pub fn fault_for(&self, seed: u64, ordinal: u64) -> Option<FaultKind> {
        if self.kinds.is_empty() || self.rate <= 0.0 {
            return None;
        }
        // One generator for each ordinal, so that a fault does not depend on the requests before.
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
        let faults = FaultInjection { rate: 0.3, kinds: FaultKind::ALL.to_vec() };
        let drawn: Vec<_> = (0..1000).map(|n| faults.fault_for(7, n)).collect();
        assert_eq!(drawn, (0..1000).map(|n| faults.fault_for(7, n)).collect::<Vec<_>>());
        assert_ne!(drawn, (0..1000).map(|n| faults.fault_for(8, n)).collect::<Vec<_>>());
        let struck = drawn.iter().flatten().count();
        assert!((230..370).contains(&struck), "{struck} of 1000 at a rate of 0.3");
        assert!(FaultKind::ALL.iter().all(|kind| drawn.contains(&Some(*kind))));
    }

    #[test]
    fn a_rate_of_one_spares_nobody_and_no_kinds_spare_everybody() {
        let all = FaultInjection { rate: 1.0, kinds: vec![FaultKind::Stall] };
        assert!((0..100).all(|n| all.fault_for(1, n) == Some(FaultKind::Stall)));
        let none = FaultInjection { rate: 1.0, kinds: vec![] };
        assert!((0..100).all(|n| none.fault_for(1, n).is_none()));
    }
}
