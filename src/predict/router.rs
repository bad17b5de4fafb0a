//! Which replica of a fleet gets a request.

use super::{ticks::Ticks, workload::SimulatedRequest};
use crate::sim::scheduler::SchedulerLoad;

mod kv_load;
mod policy;
mod power_of_two;
mod prefix_affinity;
mod random;
mod session;

pub(crate) use policy::{RouterPolicy, RouterSettings};

/// What a router can see of its fleet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FleetView<'a> {
    pub now: Ticks,
    /// The number of requests that the router has sent to each replica and that are not answered.
    pub in_flight: &'a [u32],
    /// Each replica's load when it was last read; idle if it was never read.
    pub signals: &'a [SchedulerLoad],
}

/// A routing policy.
pub(crate) trait Router {
    /// Chooses a replica, by its place in the view.
    fn route(&mut self, request: &SimulatedRequest, fleet: &FleetView<'_>) -> usize;

    /// The period in which the replicas' loads are read; `None` if the policy needs none.
    fn refresh_period(&self) -> Option<Ticks> {
        None
    }
}

/// One replica after the other.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RoundRobin {
    next: usize,
}

impl Router for RoundRobin {
    fn route(&mut self, _request: &SimulatedRequest, fleet: &FleetView<'_>) -> usize {
        let chosen = self.next % fleet.in_flight.len();
        self.next = chosen + 1;
        chosen
    }
}

/// The replica with the fewest requests in flight; of several, the one after the last choice.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LeastRequests {
    next: usize,
}

impl Router for LeastRequests {
    fn route(&mut self, _request: &SimulatedRequest, fleet: &FleetView<'_>) -> usize {
        let count = fleet.in_flight.len();
        let in_turn = (0..count).map(|step| (self.next + step) % count);
        let chosen = in_turn.min_by_key(|replica| fleet.in_flight[*replica]).unwrap_or_default();
        self.next = chosen + 1;
        chosen
    }
}

/// The replica with the least load, the first one after `last` among equals.
fn least_loaded<L: PartialOrd>(count: usize, last: usize, load: impl Fn(usize) -> L) -> usize {
    let mut places = (1..=count).map(|step| (last + step) % count);
    let first = places.next().unwrap_or_default();
    places.fold(first, |best, place| if load(place) < load(best) { place } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A request of this session, with these blocks.
    pub(super) fn request(session: Option<u32>, contents: &[u64]) -> SimulatedRequest {
        let contents = contents.iter().copied().collect();
        SimulatedRequest { index: 0, due: Ticks::ZERO, prompt: 1, output: 1, session, contents }
    }

    /// The loads of idle replicas.
    pub(super) fn idle(replicas: usize) -> Vec<SchedulerLoad> {
        vec![SchedulerLoad::default(); replicas]
    }

    fn choices(router: &mut dyn Router, loads: &[[u32; 3]]) -> Vec<usize> {
        let request = request(None, &[]);
        let route = |in_flight: &[u32; 3]| {
            router.route(&request, &FleetView { now: Ticks::ZERO, in_flight, signals: &[] })
        };
        loads.iter().map(route).collect()
    }

    #[test]
    fn round_robin_takes_turns_whatever_the_load() {
        assert_eq!(
            choices(&mut RoundRobin::default(), &[[9, 0, 0], [9, 1, 0], [0, 0, 0], [0, 0, 0]]),
            [0, 1, 2, 0]
        );
    }

    #[test]
    fn least_requests_takes_the_least_loaded_and_turns_among_equals() {
        assert_eq!(
            choices(&mut LeastRequests::default(), &[[0, 0, 0], [1, 0, 0], [1, 1, 0], [2, 1, 2]]),
            [0, 1, 2, 1]
        );
    }
}
