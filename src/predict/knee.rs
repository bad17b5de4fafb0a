//! The knee: the highest load that the servers keep up with.
//!
//! Without service levels it is the rate at which they answer when requests always wait. With service levels it is the
//! highest multiple of the load that meets them, by bisection for each member: its arrivals are those of the load in
//! every step, so that the result is the member's own.

use std::num::NonZeroUsize;

use super::load_rates::OfferedAndSustained;
use super::offered_load::Pace;
use super::what_if::{Member, PredictionError, WhatIf};
use crate::model::prediction::{Extrapolation, PredictedKnee, PredictedValue};

/// The steps of a bisection: they divide the range by 256.
const STEPS: usize = 8;

/// The most members whose knee under service levels is searched: each takes several simulations.
const MOST_MEMBERS: usize = 20;

/// The most users of a closed loop, as a multiple of the sequences that fit the batches of all replicas.
const MOST_USERS_A_SEQUENCE: usize = 4;

/// Finds the knee. `rates` are those of an open loop.
///
/// # Errors
/// A request is too large for the servers, or virtual time runs out.
pub(super) fn find(
    question: &WhatIf<'_>,
    rates: Option<&OfferedAndSustained>,
) -> Result<Option<PredictedKnee>, PredictionError> {
    if question.levels.is_empty() {
        let sustained = rates.and_then(|rates| Some((rates.sustained()?, rates.extrapolations.clone())));
        return Ok(sustained.map(|(load, extrapolations)| PredictedKnee {
            limit: "capacity".to_owned(),
            load,
            unit: "req/s".to_owned(),
            extrapolations,
        }));
    }
    let fewer = question.members.min(NonZeroUsize::new(MOST_MEMBERS).unwrap_or(NonZeroUsize::MIN));
    let question = WhatIf { members: fewer, ..question.clone() };
    let rules: Vec<String> = question.levels.iter().map(ToString::to_string).collect();
    let limit = rules.join(" and ");
    let knee = |(load, extrapolations), unit: &str| PredictedKnee {
        limit,
        load,
        unit: unit.to_owned(),
        extrapolations,
    };
    Ok(match (rates, &question.load.recorded.pace) {
        (Some(rates), _) if rates.central.offered.is_finite() => {
            of_rate(&question, rates)?.map(|found| knee(found, "req/s"))
        }
        (None, _) | (_, Pace::Closed(_)) => of_users(&question)?.map(|found| knee(found, "in flight")),
        (Some(_), Pace::Open(_)) => None,
    })
}

/// The load of the knee, and what its steps extrapolate.
type FoundKnee = (PredictedValue, Vec<Extrapolation>);

fn of_rate(question: &WhatIf<'_>, rates: &OfferedAndSustained) -> Result<Option<FoundKnee>, PredictionError> {
    // A little more than the capacity, which a level on throughput may need.
    let most = 1.1 * rates.central.sustained / rates.central.offered;
    let factor = |member: Member<'_>| {
        highest(most, |factor| Ok(question.meets_levels(&question.simulate(member, factor)?)))
    };
    let central = factor(question.central())?;
    let members = question.each_member(|member| Ok(factor(member)? * rates.central.offered))?;
    let load = PredictedValue::from_members(central * rates.central.offered, &members);
    let beyond = if central > 0.0 {
        question.step_extrapolations(&question.simulate(question.central(), central)?)
    } else {
        Vec::new()
    };
    Ok(load.map(|load| (load, beyond)))
}

fn of_users(question: &WhatIf<'_>) -> Result<Option<FoundKnee>, PredictionError> {
    let sequences = question.servers.central.limits.max_num_seqs.saturating_mul(question.fleet.replicas);
    let most =
        sequences.saturating_mul(MOST_USERS_A_SEQUENCE).min(question.load.recorded.session_count()).max(1);
    let with_users = |users: f64| {
        let users = NonZeroUsize::new(users.round() as usize).unwrap_or(NonZeroUsize::MIN);
        question.load.with_users(users)
    };
    let knee = |member: Member<'_>| {
        let users = highest(most as f64, |users| {
            Ok(question.meets_levels(&question.simulate_load(member, &with_users(users))?))
        })?;
        Ok(users.floor())
    };
    let central = knee(question.central())?;
    let load = PredictedValue::from_members(central, &question.each_member(knee)?);
    let beyond = if central > 0.0 {
        question.step_extrapolations(&question.simulate_load(question.central(), &with_users(central))?)
    } else {
        Vec::new()
    };
    Ok(load.map(|load| (load, beyond)))
}

/// The highest load up to `most` that is good, if all below a good one are; zero if none is.
fn highest(
    most: f64,
    mut is_good: impl FnMut(f64) -> Result<bool, PredictionError>,
) -> Result<f64, PredictionError> {
    if is_good(most)? {
        return Ok(most);
    }
    let (mut good, mut bad) = (0.0, most);
    for _ in 0..STEPS {
        let middle = (good + bad) / 2.0;
        if is_good(middle)? {
            good = middle;
        } else {
            bad = middle;
        }
    }
    Ok(good)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bisection_finds_the_limit_from_below() {
        let limit = |limit: f64| highest(10.0, |load| Ok(load <= limit)).unwrap();
        assert!((limit(7.3) - 7.3).abs() < 0.05 && limit(7.3) <= 7.3);
        assert_eq!((limit(100.0), limit(-1.0)), (10.0, 0.0));
    }
}
