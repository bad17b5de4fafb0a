//! Requests per second that come, and that the servers sustain.

use super::capacity::Capacity;
use super::offered_load::{OfferedLoad, Pace};
use super::what_if::{Member, PredictionError, WhatIf};
use crate::model::prediction::{Extrapolation, PredictedValue};

/// Requests per second of an open loop; infinite if all come at once.
pub(super) fn requests_per_second(load: &OfferedLoad) -> f64 {
    let sessions = load.session_count().max(1) as f64;
    load.rate().map_or(f64::INFINITY, |rate| rate * load.requests.len() as f64 / sessions)
}

/// Requests per second that come, and that the servers sustain.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct LoadRates {
    /// The requests that come.
    pub offered: f64,
    /// The requests that are answered when there are always more.
    pub sustained: f64,
}

/// The rates of the central model and of each member.
pub(super) struct OfferedAndSustained {
    /// Those of the central model.
    pub central: LoadRates,
    /// Those of each member, in order.
    pub members: Vec<LoadRates>,
    /// Where the saturated servers of the central model are beyond what the calibration saw.
    pub extrapolations: Vec<Extrapolation>,
}

impl OfferedAndSustained {
    /// Measures the rates of a question; `None` in a closed loop, which offers as much as the servers take.
    ///
    /// # Errors
    /// A request is too large for the servers, or virtual time runs out.
    pub(super) fn measure(question: &WhatIf<'_>) -> Result<Option<Self>, PredictionError> {
        let draw = |member: Member<'_>| question.load.draw(member.seed, 1.0);
        if matches!(draw(question.central())?.pace, Pace::Closed(_)) {
            return Ok(None);
        }
        let replicas = question.fleet.replicas as f64;
        let seen = &question.servers.seen.steps;
        let rates = |member: Member<'_>| -> Result<_, PredictionError> {
            let load = draw(member)?;
            let capacity = Capacity::measure(member.server, None, &load, seen, member.seed)?;
            let rates =
                LoadRates { offered: requests_per_second(&load), sustained: replicas * capacity.rate };
            Ok((rates, capacity.beyond))
        };
        let (central, beyond) = rates(question.central())?;
        let members = question.each_member(|member| Ok(rates(member)?.0))?;
        Ok(Some(Self { central, members, extrapolations: beyond.of_steps(seen) }))
    }

    /// The offered load as a share of the sustained one; `None` if all requests come at once.
    pub(super) fn utilization(&self) -> Option<PredictedValue> {
        let share = |rates: &LoadRates| rates.offered / rates.sustained;
        let members: Vec<f64> = self.members.iter().map(share).collect();
        PredictedValue::from_members(share(&self.central), &members).filter(|value| value.point.is_finite())
    }

    /// The sustained rate.
    pub(super) fn sustained(&self) -> Option<PredictedValue> {
        let members: Vec<f64> = self.members.iter().map(|rates| rates.sustained).collect();
        PredictedValue::from_members(self.central.sustained, &members)
    }
}
