use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::{FleetView, Router};
use crate::predict::workload::SimulatedRequest;

/// The replica with fewer requests in flight, of two different ones at random.
pub(super) struct PowerOfTwo {
    rng: StdRng,
}

impl PowerOfTwo {
    pub(super) fn new(seed: u64) -> Self {
        Self { rng: StdRng::seed_from_u64(seed) }
    }
}

impl Router for PowerOfTwo {
    fn route(&mut self, _: &SimulatedRequest, fleet: &FleetView<'_>) -> usize {
        let count = fleet.in_flight.len();
        let first = self.rng.random_range(0..count);
        if count == 1 {
            return first;
        }
        let second = (first + self.rng.random_range(1..count)) % count;
        if fleet.in_flight[second] < fleet.in_flight[first] { second } else { first }
    }
}
