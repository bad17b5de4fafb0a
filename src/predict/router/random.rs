use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::{FleetView, Router};
use crate::predict::workload::SimulatedRequest;

/// A replica at random.
pub(super) struct Random {
    rng: StdRng,
}

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self { rng: StdRng::seed_from_u64(seed) }
    }
}

impl Router for Random {
    fn route(&mut self, _: &SimulatedRequest, fleet: &FleetView<'_>) -> usize {
        self.rng.random_range(0..fleet.in_flight.len())
    }
}
