//! How many requests fit into a server: the KV pool over what a request keeps in it, with headroom.
//!
//! The rule is *concurrency ≤ KV pool tokens ÷ mean tokens per request*, every request taken at its full length. That
//! is where a load whose requests are all at the same stage begins to preempt. Where requests are at all stages, more
//! fit if they are alike, and fewer if they are not: a long request is in the way for longer, so that at any instant long
//! ones are more than their share. How many fit then is found by drawing them ([`demand`]).

use serde::Serialize;

use crate::core::stats::Percent;
use crate::core::units::Rate;
use demand::{Demand, Pace, Stages};
use mix::{Mix, MixSummary};
use pool::Pool;
use speed::{Reach, Speed};

pub mod check;
pub mod demand;
pub mod memory;
pub mod mix;
pub mod model;
pub mod pool;
pub mod speed;
#[cfg(test)]
mod tests;

/// The share of the limit that is left free, unless another is asked for.
pub const HEADROOM: f64 = 0.3;

/// More replicas than anybody has: a load that needs more was mistyped.
const MOST_REPLICAS: f64 = 1e6;

/// What a plan is made from.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// What holds the keys and values.
    pub pool: Pool,
    /// What is asked of the server.
    pub mix: Mix,
    /// The share of the limit to leave free, from 0 to below 1.
    pub headroom: f64,
    /// How fast the server answers; without it there are no rates.
    pub speed: Option<Speed>,
    /// The load that is to be served.
    pub wanted: Option<Rate>,
    /// In what percentage of the time the demand is to fit, above 0 and below 100.
    pub percent: Percent,
    /// Seeds the draws.
    pub seed: u64,
}

/// Why there is no plan. Each says what to do.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PlanError {
    /// Not one request fits.
    #[error(
        "a request keeps {request:.0} {unit} on average and the KV pool has {capacity}: not one fits; plan with shorter \
         requests or a larger pool"
    )]
    TooSmall {
        /// What one keeps.
        request: f64,
        /// What there is.
        capacity: u64,
        /// Of what.
        unit: pool::Unit,
    },
    /// Requests of nothing.
    #[error(
        "{origin}: there are no requests with tokens to plan for; give --prompt-tokens and --output-tokens"
    )]
    NoRequests {
        /// Where they were to come from.
        origin: String,
    },
    /// Output takes no time.
    #[error("rates need the time of a request: give a --tpot or a --ttft above 0")]
    NoTime,
    /// A rate without a pace.
    #[error("--wanted-rate needs to know how long a request takes: give --tpot, such as --tpot 30ms")]
    NoPace,
    /// A load that no number of replicas serves.
    #[error("the wanted rate needs {0:.0} replicas: is it requests per second?")]
    TooMuch(f64),
}

/// What fits, what to set, and what that serves.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// What holds the keys and values.
    pub pool: Pool,
    /// What is asked of the server.
    pub requests: MixSummary,
    /// Concurrent requests that fit, each at its full length.
    pub limit: u64,
    /// The share of the limit that the suggestion leaves free.
    pub headroom: f64,
    /// The limit less the headroom.
    pub with_headroom: u64,
    /// For `--max-num-seqs`: the limit less the headroom, and never more than fits at all stages.
    pub suggestion: u64,
    /// What fits where requests are at all stages.
    pub at_all_stages: AtAllStages,
    /// What the suggestion serves; `None` without a pace.
    pub service: Option<Service>,
    /// How many servers the wanted load needs; `None` without one.
    pub fleet: Option<Fleet>,
}

/// What fits where requests are at all stages of their lives, as in a load that has run for a while.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct AtAllStages {
    /// The most concurrent requests whose demand fits at least `percent` of the time.
    pub limit: u64,
    /// The percentage.
    pub percent: Percent,
    /// What seeded the draws.
    pub seed: u64,
}

/// What the suggested concurrency serves.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Service {
    /// How fast the server answers with so many in flight.
    pub pace: Pace,
    /// From where that is known.
    pub speed: Speed,
    /// Whether it was measured with so many in flight; `None` if it was not measured.
    pub reach: Option<Reach>,
    /// What Poisson arrivals at the rate of the suggestion (Little's law) need.
    pub demand: Demand,
}

/// How many servers a load needs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Fleet {
    /// Requests per second for all of them.
    pub wanted_per_s: f64,
    /// How many: the greater of the two that follow.
    pub replicas: u64,
    /// So that none serves more than the rate of the suggestion.
    pub by_mean: u64,
    /// So that the percentile of the requests in flight stays within the limit of each.
    pub by_percentile: u64,
    /// What each of them sees.
    pub each: Demand,
}

/// Makes the plan. The same question gives the same plan.
///
/// # Errors
/// When nothing fits, or a rate is asked for without a pace; see [`PlanError`].
pub fn plan(question: &Question) -> Result<Plan, PlanError> {
    let Question { pool, mix, headroom, percent, seed, .. } = question;
    let request = mix.mean(|shape| pool.held(f64::from(shape.prompt) + f64::from(shape.output)));
    let fits = pool.capacity as f64 / request;
    if fits < 1.0 {
        return Err(PlanError::TooSmall { request, capacity: pool.capacity, unit: pool.unit });
    }
    // From the quotient before it is rounded: the headroom is a share of the pool, not of whole requests.
    let with_headroom = (fits * (1.0 - headroom)) as u64;
    let pace = question.speed.map(|speed| speed.at(with_headroom as f64));
    let most = Stages::new(mix, pool, pace).most(*percent, *seed);
    let at_all_stages = AtAllStages { limit: most, percent: *percent, seed: *seed };
    let suggestion = with_headroom.min(at_all_stages.limit).max(1);
    let service = question.speed.map(|speed| service(suggestion, speed, question)).transpose()?;
    let fleet = match (question.wanted, &service) {
        (None, _) => None,
        (Some(_), None) => return Err(PlanError::NoPace),
        (Some(wanted), Some(service)) => Some(fleet(wanted.get(), (fits, suggestion), service, question)?),
    };
    Ok(Plan {
        pool: pool.clone(),
        requests: mix.summary(),
        limit: fits as u64,
        headroom: *headroom,
        with_headroom,
        suggestion,
        at_all_stages,
        service,
        fleet,
    })
}

fn service(suggestion: u64, speed: Speed, question: &Question) -> Result<Service, PlanError> {
    let Question { mix, pool, percent, seed, .. } = question;
    let pace = speed.at(suggestion as f64);
    let time = mix.mean(|shape| pace.time(shape));
    if time <= 0.0 {
        return Err(PlanError::NoTime);
    }
    let stages = Stages::new(mix, pool, Some(pace));
    let demand = stages.demand(suggestion as f64 / time, suggestion, *percent, *seed);
    Ok(Service { pace, speed, reach: speed.reach(suggestion as f64), demand })
}

/// `fits` is how many fit at their full length, `suggestion` how many each server computes at once.
fn fleet(
    wanted: f64,
    (fits, suggestion): (f64, u64),
    service: &Service,
    question: &Question,
) -> Result<Fleet, PlanError> {
    let Question { mix, pool, percent, seed, .. } = question;
    let needed = (wanted / service.demand.requests_per_s).ceil();
    if needed > MOST_REPLICAS {
        return Err(PlanError::TooMuch(needed));
    }
    let by_mean = needed.max(1.0) as u64;
    let time = service.demand.time_s;
    let fits_each = |replicas: u64| {
        let mean = wanted * time / replicas as f64;
        demand::in_flight(mean, *percent).percentile <= fits
    };
    let by_percentile = least(fits_each);
    let replicas = by_mean.max(by_percentile);
    let rate = wanted / replicas as f64;
    let in_flight = service.speed.settled(rate, suggestion as f64, |pace| mix.mean(|shape| pace.time(shape)));
    let stages = Stages::new(mix, pool, Some(service.speed.at(in_flight)));
    let each = stages.demand(rate, suggestion, *percent, *seed);
    Ok(Fleet { wanted_per_s: wanted, replicas, by_mean, by_percentile, each })
}

/// The least number from 1 up from which on something is so.
fn least(is_so: impl Fn(u64) -> bool) -> u64 {
    let mut enough = 1;
    while !is_so(enough) {
        enough *= 2;
    }
    let mut too_few = enough / 2;
    while enough - too_few > 1 {
        let middle = too_few.midpoint(enough);
        if is_so(middle) { enough = middle } else { too_few = middle }
    }
    enough
}
