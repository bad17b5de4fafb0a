//! Repeats requests if a dataset has too few.

use rand::RngExt as _;

use super::PrepareContext;
use crate::dataset::requests::RequestSink;
use crate::dataset::rng_stream::RngStream;
use crate::model::rng::{PythonRandom, RunRng};
use crate::model::spool::SpoolError;

/// Appends randomly chosen requests until there are enough. Returns the number of appended requests.
///
/// Without oversampling, the number of measured requests stays as it is, and only the warm-up's share is filled up.
/// With the Python-compatible RNG, the measured requests are those of vLLM's `maybe_oversample_requests`, which seeds
/// the generator again.
pub(super) fn repeat(
    requests: &mut RequestSink,
    job: &PrepareContext<'_>,
    dice: &mut RunRng,
) -> Result<usize, SpoolError> {
    let distinct = requests.len();
    let enough = job.required_count(distinct);
    let measured = enough - job.spare_count();
    match dice.python_mut() {
        None => {
            let mut rng = RngStream::Repeat.rng(job.seed);
            fill(requests, distinct, enough, || rng.random_range(0..distinct))?;
        }
        Some(globals) => {
            if distinct < measured {
                globals.random = PythonRandom::new(job.seed);
                fill(requests, distinct, measured, || globals.random.below(distinct))?;
            }
            let mut unmeasured = globals.random.clone();
            fill(requests, distinct, enough, || unmeasured.below(distinct))?;
        }
    }
    Ok(requests.len() - distinct)
}

/// Appends copies of the first `distinct` requests, which `choose` selects. Does nothing if there are none.
fn fill(
    requests: &mut RequestSink,
    distinct: usize,
    enough: usize,
    mut choose: impl FnMut() -> usize,
) -> Result<(), SpoolError> {
    while distinct > 0 && requests.len() < enough {
        requests.push_copy(choose())?;
    }
    Ok(())
}
