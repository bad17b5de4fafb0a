use super::{FleetView, LeastRequests, Router};
use crate::predict::workload::SimulatedRequest;

/// The same replica for all turns of a session, by a hash of the session. Requests without a session go to the replica
/// with the fewest requests in flight.
#[derive(Default)]
pub(super) struct SessionAffinity {
    others: LeastRequests,
}

impl Router for SessionAffinity {
    fn route(&mut self, request: &SimulatedRequest, fleet: &FleetView<'_>) -> usize {
        match request.session {
            Some(session) => highest_random_weight(u64::from(session), fleet.in_flight.len()),
            None => self.others.route(request, fleet),
        }
    }
}

/// The replica with the largest hash of session and replica: where a replica is added or removed, only the sessions of
/// that replica move (Thaler and Ravishankar 1998).
fn highest_random_weight(session: u64, replicas: usize) -> usize {
    (0..replicas).max_by_key(|&place| mixed(session ^ mixed(place as u64))).unwrap_or_default()
}

/// The finalizer of SplitMix64.
fn mixed(value: u64) -> u64 {
    let value = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::predict::router::tests::{idle, request};
    use crate::predict::ticks::Ticks;

    #[test]
    fn a_session_stays_and_few_move_when_a_replica_is_added() {
        let signals = idle(4);
        let view = FleetView { now: Ticks::ZERO, in_flight: &[0; 4], signals: &signals };
        let mut router = SessionAffinity::default();
        let mut place = |session| router.route(&request(Some(session), &[]), &view);
        assert_eq!(place(5), place(5));
        let moved = (0..1000).filter(|&session| {
            let (before, after) = (highest_random_weight(session, 4), highest_random_weight(session, 5));
            assert!(before == after || after == 4, "a session moves only to the new replica");
            before != after
        });
        assert!((150..250).contains(&moved.count()), "a fifth moves");
    }
}
