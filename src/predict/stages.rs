//! How much of each kind of server of a split fleet a load uses.

use super::capacity::Capacity;
use super::load_rates::{LoadRates, OfferedAndSustained, requests_per_second};
use super::metric_values::MetricValues;
use super::offered_load::{OfferedLoad, Pace};
use super::simulation::Simulation;
use super::split::FleetSplit;
use super::what_if::{Member, PredictionError, SplitSetup, WhatIf};
use crate::model::prediction::{Extrapolation, PredictedValue, UsedStage};

/// Requests per second that come, and that each stage of a split fleet sustains.
#[derive(Debug, Clone, Copy, PartialEq)]
struct StageRates {
    /// Not finite if all come at once; `None` in a closed loop, which offers as much as the servers take.
    offered: Option<f64>,
    prefill: f64,
    decode: f64,
    transfer: f64,
}

/// What the stages of a split fleet sustain.
pub(super) struct SplitRates {
    setup: SplitSetup,
    servers: [usize; 2],
    /// The rates of the central model.
    central: StageRates,
    /// Those of each member, in order.
    members: Vec<StageRates>,
    /// Where the saturated servers of the central model are beyond what the calibration saw.
    extrapolations: Vec<Extrapolation>,
}

/// The names of the stages, in the order of [`StageRates::sustained`].
const STAGES: [&str; 3] = ["prefill servers", "decode servers", "KV transfer"];

impl StageRates {
    fn sustained(&self) -> [f64; STAGES.len()] {
        [self.prefill, self.decode, self.transfer]
    }

    fn least(&self) -> f64 {
        self.sustained().into_iter().fold(f64::INFINITY, f64::min)
    }
}

impl SplitRates {
    /// Measures the rates of a question; `None` if its servers answer whole requests.
    ///
    /// # Errors
    /// A request is too large for the servers, or virtual time runs out.
    pub(super) fn measure(question: &WhatIf<'_>) -> Result<Option<Self>, PredictionError> {
        let Some(setup) = question.fleet.split else { return Ok(None) };
        let servers = [setup.prefill, question.fleet.replicas - setup.prefill];
        let rates = |member: Member<'_>| -> Result<_, PredictionError> {
            let load = question.load.draw(member.seed, 1.0)?;
            let decode_only = question.split(SplitSetup { prefill: 0, ..setup }, member);
            let prefill = sustained_by_one(question, member, &load, None)?;
            let decode = sustained_by_one(question, member, &load, Some(decode_only))?;
            let rates = StageRates {
                offered: matches!(load.pace, Pace::Open(_)).then(|| requests_per_second(&load)),
                prefill: servers[0] as f64 * prefill.rate,
                decode: servers[1] as f64 * decode.rate,
                transfer: servers[0].min(servers[1]) as f64 / mean_transfer(setup, &load),
            };
            Ok((rates, [prefill.beyond, decode.beyond]))
        };
        let (central, beyond) = rates(question.central())?;
        let members = question.each_member(|member| Ok(rates(member)?.0))?;
        let seen = &question.servers.seen.steps;
        let extrapolations = beyond.iter().flat_map(|beyond| beyond.of_steps(seen)).collect();
        Ok(Some(Self { setup, servers, central, members, extrapolations }))
    }

    /// The rates of the whole fleet, which sustains what its weakest stage does; `None` in a closed loop.
    pub(super) fn of_fleet(&self) -> Option<OfferedAndSustained> {
        let rates =
            |rates: &StageRates| Some(LoadRates { offered: rates.offered?, sustained: rates.least() });
        let members = self.members.iter().map(rates).collect::<Option<_>>()?;
        Some(OfferedAndSustained {
            central: rates(&self.central)?,
            members,
            extrapolations: self.extrapolations.clone(),
        })
    }

    /// The use of each stage: what comes, or is answered in a closed loop, as a share of what the stage sustains.
    pub(super) fn used(
        &self,
        central: &Simulation,
        values: &MetricValues,
        members: &[MetricValues],
    ) -> Vec<UsedStage> {
        let busy = self.busy(central);
        let stage = |at: usize| {
            let share = |rates: &StageRates, values: &MetricValues| {
                let answered = || values.get("request_throughput").copied();
                let coming = rates.offered.filter(|rate| rate.is_finite()).or_else(answered)?;
                Some(coming / rates.sustained()[at])
            };
            let all = self.members.iter().zip(members);
            let all: Vec<f64> = all.filter_map(|(rates, values)| share(rates, values)).collect();
            Some(UsedStage {
                name: STAGES[at].to_owned(),
                servers: self.servers.get(at).copied(),
                utilization: PredictedValue::from_members(share(&self.central, values)?, &all)?,
                busy: busy.get(at).copied(),
            })
        };
        (0..STAGES.len()).filter_map(stage).collect()
    }

    /// The share of the time in which the prefill servers and the decode servers are in a step.
    fn busy(&self, central: &Simulation) -> [f64; 2] {
        let (prefill, decode) = central.totals.replicas.split_at(self.setup.prefill);
        let end = central.totals.end.as_seconds();
        [prefill, decode].map(|servers| {
            let busy: f64 = servers.iter().map(|server| server.busy.as_seconds()).sum();
            if end > 0.0 { busy / (end * servers.len() as f64) } else { 0.0 }
        })
    }
}

/// What one decode server sustains, if `split` has no prefill servers, or one prefill server without `split`.
fn sustained_by_one(
    question: &WhatIf<'_>,
    member: Member<'_>,
    load: &OfferedLoad,
    split: Option<FleetSplit>,
) -> Result<Capacity, PredictionError> {
    let mut load = load.clone();
    if split.is_none() {
        load.requests.iter_mut().for_each(|request| request.output = 1);
    }
    Ok(Capacity::measure(member.server, split, &load, &question.servers.seen.steps, member.seed)?)
}

/// The mean seconds of a prompt's transfer, if decode servers know none of it.
fn mean_transfer(setup: SplitSetup, load: &OfferedLoad) -> f64 {
    let seconds = |prompt: u32| setup.link.transfer(prompt).as_seconds();
    let total: f64 = load.requests.iter().map(|request| seconds(request.prompt)).sum();
    total / load.requests.len().max(1) as f64
}
