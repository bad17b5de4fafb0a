//! How many requests fit into a server: the KV pool divided by what a request keeps in it, minus headroom.
//!
//! The rule is *concurrency ≤ KV pool tokens ÷ mean tokens per request*, with every request at its full length. A load
//! whose requests are all at the same stage begins to preempt there. If requests are at all stages, more of them fit if
//! they are alike, and fewer if they are not: a long request occupies the pool for longer, so at any instant the share
//! of long requests exceeds their share of the mix. Random draws determine how many fit in that case ([`demand`]).

use serde::Serialize;

use crate::model::units::Rate;
use crate::stats::Percent;
use demand::{LifecycleModel, LoadDemand, ServiceTime};
use mix::{MixSummary, RequestMix};
use pool::KvPool;
use speed::{ConcurrencyReach, ServerSpeed};

pub(crate) mod check;
pub(crate) mod demand;
pub(crate) mod gpus;
pub(crate) mod memory;
pub(crate) mod mix;
pub(crate) mod model;
pub(crate) mod pool;
pub(crate) mod reconcile;
pub(crate) mod speed;
#[cfg(test)]
mod tests;
pub(crate) mod vllm_version;

/// The largest accepted number of replicas: a load that needs more is a typing error.
const MAX_REPLICAS: f64 = 1e6;

/// The input of a plan.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PlanInput {
    /// The server's KV cache pool.
    pub pool: KvPool,
    /// The requests that the server receives.
    pub mix: RequestMix,
    /// The share of the limit to leave free, from 0 to below 1.
    pub headroom: f64,
    /// The server's speed; without it the plan has no rates.
    pub speed: Option<ServerSpeed>,
    /// The load that the servers must serve.
    pub wanted: Option<Rate>,
    /// The percentage of the time for which the demand must fit, above 0 and below 100.
    pub percent: Percent,
    /// The seed of the draws.
    pub seed: u64,
}

/// Why a plan cannot be made. Each message says what to do.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(crate) enum PlanError {
    /// Not even one request fits.
    #[error(
        "a request needs {request:.0} {unit} on average and the KV pool has {capacity}, so none fits; plan with shorter \
         requests or a larger pool"
    )]
    TooSmall {
        /// The mean that one request keeps, in `unit`.
        request: f64,
        /// The capacity of the pool, in `unit`.
        capacity: u64,
        /// The unit of both values.
        unit: pool::PoolUnit,
    },
    /// The requests have no tokens.
    #[error(
        "{origin}: there are no requests with tokens to plan for; give `plan.prompt_tokens` and `plan.output_tokens`"
    )]
    NoRequests {
        /// The source of the requests.
        origin: String,
    },
    /// The output takes no time.
    #[error("rates need the duration of a request: give a `plan.tpot` or a `plan.ttft` above 0")]
    NoTime,
    /// A rate is given without a speed.
    #[error("`plan.wanted` needs the duration of a request: give `plan.tpot`, such as 30ms")]
    NoPace,
    /// No number of replicas serves this load, in requests per second.
    #[error("the wanted rate needs {0:.0} replicas: is it requests per second?")]
    TooMuch(f64),
}

/// What fits, the suggested setting, and what it serves.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct CapacityPlan {
    /// The server's KV cache pool.
    pub pool: KvPool,
    /// The requests that the server receives.
    pub requests: MixSummary,
    /// The number of concurrent requests that fit, each at its full length.
    pub limit: u64,
    /// The share of the limit that the suggestion leaves free.
    pub headroom: f64,
    /// The limit minus the headroom.
    pub with_headroom: u64,
    /// The suggested `--max-num-seqs`: the limit minus the headroom, and at most what fits at all stages.
    pub suggestion: u64,
    /// What fits where requests are at all stages.
    pub at_all_stages: LifecycleCapacity,
    /// What the suggestion serves; `None` without a speed.
    pub service: Option<ServiceCapacity>,
    /// The number of servers that the wanted load needs; `None` without a wanted load.
    pub fleet: Option<ReplicaPlan>,
}

/// What fits where requests are at all stages of their lives, as in a load that has run for a while.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct LifecycleCapacity {
    /// The largest number of concurrent requests whose demand fits at least `percent` of the time.
    pub limit: u64,
    /// The percentage of the time.
    pub percent: Percent,
    /// The seed of the draws.
    pub seed: u64,
}

/// What the suggested concurrency serves.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct ServiceCapacity {
    /// The server's speed at this concurrency.
    pub pace: ServiceTime,
    /// The source of the speed.
    pub speed: ServerSpeed,
    /// Whether this concurrency is in the measured range; `None` if the speed was not measured.
    pub reach: Option<ConcurrencyReach>,
    /// The demand of Poisson arrivals at the suggestion's rate (Little's law).
    pub demand: LoadDemand,
}

/// The number of servers that a load needs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct ReplicaPlan {
    /// Requests per second for all servers together.
    pub wanted_per_s: f64,
    /// The number of servers: the greater of `by_mean` and `by_percentile`.
    pub replicas: u64,
    /// The number of servers at which none serves more than the suggestion's rate.
    pub by_mean: u64,
    /// The number of servers at which the percentile of the requests in flight stays within each server's limit.
    pub by_percentile: u64,
    /// The demand on each server.
    pub each: LoadDemand,
}

/// Makes the plan. Equal inputs give equal plans.
///
/// # Errors
///
/// When nothing fits, or a rate is given without a speed; see [`PlanError`].
pub(crate) fn plan(question: &PlanInput) -> Result<CapacityPlan, PlanError> {
    let PlanInput { pool, mix, headroom, percent, seed, .. } = question;
    let request = mix.mean(|shape| pool.request_cost(f64::from(shape.prompt) + f64::from(shape.output)));
    let fits = pool.capacity as f64 / request;
    if fits < 1.0 {
        return Err(PlanError::TooSmall { request, capacity: pool.capacity, unit: pool.unit });
    }
    // The quotient is not rounded yet: the headroom is a share of the pool, not of whole requests.
    let with_headroom = (fits * (1.0 - headroom)) as u64;
    let pace = question.speed.map(|speed| speed.at_concurrency(with_headroom as f64));
    let most = LifecycleModel::new(mix, pool, pace).max_requests(*percent, *seed);
    let at_all_stages = LifecycleCapacity { limit: most, percent: *percent, seed: *seed };
    let suggestion = with_headroom.min(at_all_stages.limit).max(1);
    let service = question.speed.map(|speed| service_capacity(suggestion, speed, question)).transpose()?;
    let fleet = match (question.wanted, &service) {
        (None, _) => None,
        (Some(_), None) => return Err(PlanError::NoPace),
        (Some(wanted), Some(service)) => {
            Some(replica_plan(wanted.get(), (fits, suggestion), service, question)?)
        }
    };
    Ok(CapacityPlan {
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

fn service_capacity(
    suggestion: u64,
    speed: ServerSpeed,
    question: &PlanInput,
) -> Result<ServiceCapacity, PlanError> {
    let PlanInput { mix, pool, percent, seed, .. } = question;
    let pace = speed.at_concurrency(suggestion as f64);
    let time = mix.mean(|shape| pace.request_time(shape));
    if time <= 0.0 {
        return Err(PlanError::NoTime);
    }
    let stages = LifecycleModel::new(mix, pool, Some(pace));
    let demand = stages.poisson_demand(suggestion as f64 / time, suggestion, *percent, *seed);
    Ok(ServiceCapacity { pace, speed, reach: speed.reach(suggestion as f64), demand })
}

/// `fits` is the number of requests that fit at their full length, `suggestion` the number that each server computes at
/// once.
fn replica_plan(
    wanted: f64,
    (fits, suggestion): (f64, u64),
    service: &ServiceCapacity,
    question: &PlanInput,
) -> Result<ReplicaPlan, PlanError> {
    let PlanInput { mix, pool, percent, seed, .. } = question;
    let needed = (wanted / service.demand.requests_per_s).ceil();
    if needed > MAX_REPLICAS {
        return Err(PlanError::TooMuch(needed));
    }
    let by_mean = needed.max(1.0) as u64;
    let time = service.demand.time_s;
    let fits_each = |replicas: u64| {
        let mean = wanted * time / replicas as f64;
        demand::in_flight(mean, *percent).percentile <= fits
    };
    let by_percentile = least_number(fits_each);
    let replicas = by_mean.max(by_percentile);
    let rate = wanted / replicas as f64;
    let in_flight = service
        .speed
        .steady_concurrency(rate, suggestion as f64, |pace| mix.mean(|shape| pace.request_time(shape)));
    let stages = LifecycleModel::new(mix, pool, Some(service.speed.at_concurrency(in_flight)));
    let each = stages.poisson_demand(rate, suggestion, *percent, *seed);
    Ok(ReplicaPlan { wanted_per_s: wanted, replicas, by_mean, by_percentile, each })
}

/// The smallest number, from 1, from which `is_so` holds.
fn least_number(is_so: impl Fn(u64) -> bool) -> u64 {
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
