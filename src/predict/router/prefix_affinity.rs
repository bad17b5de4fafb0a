//! Sends a prompt to the replica that was sent the longest part of it before, unless the load is uneven.

use std::collections::{BTreeMap, HashMap};

use super::{FleetView, Router, least_loaded};
use crate::predict::workload::SimulatedRequest;

/// The rules of SGLang's `cache_aware` policy, with its default thresholds. The router has only its own record of what
/// it sent where: it does not see what a replica has evicted, so the record has the size of a replica's KV pool.
pub(super) struct PrefixAffinity {
    /// The most blocks that are recorded for a replica.
    most_blocks: usize,
    replicas: Vec<SentBlocks>,
    last: Option<usize>,
}

/// The share of the prompt that a replica must have been sent before, to be chosen for it.
const LEAST_MATCH: f64 = 0.3;
/// The load is uneven above this difference between the most and the least requests in flight...
const MOST_DIFFERENCE: u32 = 64;
/// ...and above this ratio.
const MOST_RATIO: f64 = 1.5;

impl PrefixAffinity {
    pub(super) fn new(most_blocks: usize) -> Self {
        Self { most_blocks, replicas: Vec::new(), last: None }
    }

    fn place(&self, contents: &[u64], in_flight: &[u32]) -> usize {
        let count = in_flight.len();
        let last = self.last.unwrap_or(count - 1);
        let by_load = || least_loaded(count, last, |place| in_flight[place]);
        if contents.is_empty() || is_uneven(in_flight) {
            return by_load();
        }
        let matched = |place: usize| self.replicas[place].matched(contents);
        let best = least_loaded(count, last, |place| std::cmp::Reverse(matched(place)));
        if matched(best) as f64 > LEAST_MATCH * contents.len() as f64 {
            return best;
        }
        least_loaded(count, last, |place| self.replicas[place].len())
    }
}

fn is_uneven(in_flight: &[u32]) -> bool {
    let loads = || in_flight.iter().copied();
    let (most, least) = (loads().max().unwrap_or_default(), loads().min().unwrap_or_default());
    most - least > MOST_DIFFERENCE && f64::from(most) > MOST_RATIO * f64::from(least)
}

impl Router for PrefixAffinity {
    fn route(&mut self, request: &SimulatedRequest, fleet: &FleetView<'_>) -> usize {
        self.replicas.resize_with(fleet.in_flight.len().max(self.replicas.len()), SentBlocks::default);
        let place = self.place(&request.contents, fleet.in_flight);
        self.replicas[place].add(&request.contents, self.most_blocks);
        self.last = Some(place);
        place
    }
}

/// The blocks that were sent to a replica, the least recently sent first.
#[derive(Default)]
struct SentBlocks {
    /// When each block was last sent, as a sequence number.
    sent_at: HashMap<u64, u64>,
    by_age: BTreeMap<u64, u64>,
    next: u64,
}

impl SentBlocks {
    fn len(&self) -> usize {
        self.sent_at.len()
    }

    /// The number of leading blocks that were sent before.
    fn matched(&self, contents: &[u64]) -> usize {
        contents.iter().take_while(|content| self.sent_at.contains_key(content)).count()
    }

    /// Records blocks, the last first, so that a prefix outlives its continuation.
    fn add(&mut self, contents: &[u64], most: usize) {
        for &content in contents.iter().rev() {
            if let Some(before) = self.sent_at.insert(content, self.next) {
                self.by_age.remove(&before);
            }
            self.by_age.insert(self.next, content);
            self.next += 1;
        }
        while self.len() > most {
            let Some((_, oldest)) = self.by_age.pop_first() else { break };
            self.sent_at.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::predict::router::tests::{idle, request};
    use crate::predict::ticks::Ticks;

    fn send(router: &mut PrefixAffinity, contents: &[u64], in_flight: &[u32]) -> usize {
        let signals = idle(in_flight.len());
        router.route(&request(None, contents), &FleetView { now: Ticks::ZERO, in_flight, signals: &signals })
    }

    #[test]
    fn a_prompt_follows_its_prefix_and_a_new_one_goes_where_little_was_sent() {
        let mut router = PrefixAffinity::new(1000);
        let replicas = [0, 0];
        let first = send(&mut router, &[1, 2, 3, 4], &replicas);
        let other = send(&mut router, &[9, 10, 11, 12], &replicas);
        assert_ne!(first, other);
        assert_eq!(send(&mut router, &[1, 2, 3, 5], &replicas), first);
        assert_eq!(send(&mut router, &[9, 10, 13, 14], &replicas), other);
    }

    #[test]
    fn uneven_load_is_more_important_than_the_prefix() {
        let mut router = PrefixAffinity::new(1000);
        let first = send(&mut router, &[1, 2, 3], &[0, 0]);
        let mut loads = [10, 10];
        loads[first] = 100;
        assert_ne!(send(&mut router, &[1, 2, 3], &loads), first);
    }

    #[test]
    fn what_a_replica_can_no_longer_have_is_forgotten() {
        let mut sent = SentBlocks::default();
        sent.add(&[1, 2, 3], 4);
        sent.add(&[7, 8], 4);
        assert_eq!((sent.len(), sent.matched(&[1, 2, 3]), sent.matched(&[7, 8])), (4, 2, 2));
    }
}
