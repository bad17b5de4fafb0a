//! The least number of replicas that meets service levels.

use super::what_if::{Member, PredictionError, WhatIf};
use crate::model::prediction::FleetSize;

/// The most replicas that are tried.
const MOST: usize = 1024;

/// The shares of the members, in percent, whose number of replicas is reported.
const SHARES: [usize; 3] = [5, 50, 95];

/// Finds the least number of replicas that meets the service levels of the question in 5, 50 and 95 % of the members.
///
/// # Errors
/// A request is too large for the servers, or virtual time runs out.
pub(crate) fn least_replicas(question: &WhatIf<'_>) -> Result<FleetSize, PredictionError> {
    let least = |member: Member<'_>| {
        least_good(MOST, |replicas| {
            let mut larger = question.clone();
            larger.fleet.replicas = replicas;
            Ok(larger.meets_levels(&larger.simulate(member, 1.0)?))
        })
    };
    let mut counts: Vec<usize> =
        question.each_member(least)?.into_iter().map(|count| count.unwrap_or(usize::MAX)).collect();
    counts.sort_unstable();
    let at = |percent: usize| {
        let rank = (counts.len() * percent).div_ceil(100).clamp(1, counts.len());
        Some(counts[rank - 1]).filter(|count| *count <= MOST)
    };
    let extrapolations = match at(50) {
        Some(replicas) => {
            let mut typical = question.clone();
            typical.fleet.replicas = replicas;
            typical.step_extrapolations(&typical.simulate(typical.central(), 1.0)?)
        }
        None => Vec::new(),
    };
    Ok(FleetSize {
        slo: question.levels.iter().map(ToString::to_string).collect(),
        replicas: SHARES.map(at),
        most: MOST,
        extrapolations,
    })
}

/// The least number up to `most` that is good, if all above a good one are: doubled until one is good, then bisected.
fn least_good(
    most: usize,
    mut is_good: impl FnMut(usize) -> Result<bool, PredictionError>,
) -> Result<Option<usize>, PredictionError> {
    let (mut bad, mut good) = (0, 1);
    while !is_good(good)? {
        if good >= most {
            return Ok(None);
        }
        (bad, good) = (good, (2 * good).min(most));
    }
    while good - bad > 1 {
        let middle = bad.midpoint(good);
        if is_good(middle)? {
            good = middle;
        } else {
            bad = middle;
        }
    }
    Ok(Some(good))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_good_number_is_found_in_few_steps() {
        let mut tried = 0;
        let found = least_good(1024, |replicas| {
            tried += 1;
            Ok(replicas >= 100)
        });
        assert_eq!((found.unwrap(), tried), (Some(100), 14));
        assert_eq!(least_good(1024, |_| Ok(false)).unwrap(), None);
        assert_eq!(least_good(1024, |_| Ok(true)).unwrap(), Some(1));
    }
}
