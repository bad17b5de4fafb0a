//! More requests out of too few.

use rand::RngExt as _;

use super::stream::Stream;
use super::{Job, Request};
use crate::core::rng::{Dice, Random};

/// Draws from the requests until there are enough, and says how many were added.
///
/// Without oversampling the measured ones stay as few as they are, and only a warm-up's share is filled up. With Python's
/// dice the measured ones are those of vLLM's `maybe_oversample_requests`, which seeds anew.
pub(super) fn repeat(requests: &mut Vec<Request>, job: &Job<'_>, dice: &mut Dice) -> usize {
    let distinct = requests.len();
    let enough = job.enough(distinct);
    let measured = enough - job.spare();
    match dice.python() {
        None => {
            let mut rng = Stream::Repeat.rng(job.seed);
            fill(requests, distinct, enough, || rng.random_range(0..distinct));
        }
        Some(globals) => {
            if distinct < measured {
                globals.random = Random::new(job.seed);
                fill(requests, distinct, measured, || globals.random.below(distinct));
            }
            let mut unmeasured = globals.random.clone();
            fill(requests, distinct, enough, || unmeasured.below(distinct));
        }
    }
    requests.len() - distinct
}

/// Adds what `choose` picks of the first `distinct` ones, if there are any.
fn fill(requests: &mut Vec<Request>, distinct: usize, enough: usize, mut choose: impl FnMut() -> usize) {
    while distinct > 0 && requests.len() < enough {
        requests.push(requests[choose()].clone());
    }
}
