//! The distribution of what concurrent requests keep in the pool: by Little's law, and by random draws.
//!
//! Consider an instant of a load that has run for a while. A request in flight is drawn with a probability proportional
//! to its duration, at a stage that is uniform over that duration. For independent (Poisson) arrivals at a rate λ with
//! a mean duration W, λ·W requests are in flight on average (Little 1961), and their number has a Poisson distribution
//! for any distribution of the duration (the M/G/∞ queue).

use std::time::Duration;

use rand::distr::weighted::WeightedIndex;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng};
use rand_distr::{Distribution as _, Poisson, StandardNormal};
use serde::Serialize;
use statrs::distribution::{ContinuousCDF as _, DiscreteCDF as _, Normal, Poisson as PoissonLaw};

use super::mix::{RequestLengths, RequestMix};
use super::pool::KvPool;
use crate::seconds;
use crate::stats::Percent;

/// The number of instants that are drawn.
const INSTANTS: usize = 2000;

/// Above this number of requests, their sum is drawn as a whole: it is normal by the central limit theorem.
const MOST_DRAWN: f64 = 5000.0;

/// Above this mean, the Poisson distribution equals the normal distribution to seven digits.
const MOST_COUNTED: f64 = 1e6;

/// The speed at which a server answers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct ServiceTime {
    /// The time from the start of the prompt's computation to the first token.
    #[serde(rename = "ttft_s", with = "seconds")]
    pub ttft: Duration,
    /// The time from one token to the next.
    #[serde(rename = "tpot_s", with = "seconds")]
    pub tpot: Duration,
}

impl ServiceTime {
    /// The seconds that a request takes: TTFT + (output − 1) · TPOT.
    pub(crate) fn request_time(self, shape: &RequestLengths) -> f64 {
        let gaps = shape.output.saturating_sub(1);
        self.ttft.as_secs_f64() + f64::from(gaps) * self.tpot.as_secs_f64()
    }
}

/// A quantity that changes with time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct TimeVaryingQuantity {
    /// The mean over time.
    pub mean: f64,
    /// The requested percentile.
    pub percentile: f64,
}

/// The demand of Poisson arrivals.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct LoadDemand {
    /// The arrivals per second.
    pub requests_per_s: f64,
    /// The mean time of a request, in seconds.
    pub time_s: f64,
    /// Requests in flight, including those that wait.
    pub in_flight: TimeVaryingQuantity,
    /// The share of the pool that the computed requests keep, from 0 to 1.
    pub pool_share: TimeVaryingQuantity,
    /// The requested percentile, in percent.
    pub percent: Percent,
}

/// Requests at all stages of their lives.
pub(crate) struct LifecycleModel<'a> {
    mix: &'a RequestMix,
    pool: &'a KvPool,
    pace: Option<ServiceTime>,
    /// The relative duration of each request.
    weights: Vec<f64>,
    /// Draws a request by its weight.
    law: WeightedIndex<f64>,
}

impl<'a> LifecycleModel<'a> {
    /// Makes the model of a mix in a pool. Without a speed, tokens are evenly spaced and the prompt takes no time.
    pub(crate) fn new(mix: &'a RequestMix, pool: &'a KvPool, pace: Option<ServiceTime>) -> Self {
        let time = |shape: &RequestLengths| match pace {
            Some(pace) => pace.request_time(shape),
            None => f64::from(shape.output),
        };
        let mut weights: Vec<f64> = mix.lengths().iter().map(time).collect();
        if weights.iter().all(|weight| *weight <= 0.0) {
            // If no request takes time (outputs of one token), all have equal weight.
            weights.fill(1.0);
        }
        let law = WeightedIndex::new(&weights).expect("a mix has a request, and some take time");
        Self { mix, pool, pace, weights, law }
    }

    /// The share of its time that a request waits for its first token; 1 if it takes no other time.
    fn waiting_share(&self, shape: &RequestLengths) -> f64 {
        let share = self.pace.map_or(0.0, |pace| pace.ttft.as_secs_f64() / pace.request_time(shape));
        if share < 1.0 { share } else { 1.0 }
    }

    /// Draws what one request in flight keeps, in the pool's unit.
    fn draw_request_cost(&self, rng: &mut StdRng) -> f64 {
        let shape = self.mix.lengths()[self.law.sample(rng)];
        let stage: f64 = rng.random();
        let waited = self.waiting_share(&shape);
        let written = if waited < 1.0 { (stage - waited).max(0.0) / (1.0 - waited) } else { 0.0 };
        self.pool.request_cost(f64::from(shape.prompt) + written * f64::from(shape.output))
    }

    /// The mean that a request in flight keeps: over its stages, and over the requests weighted by their duration.
    fn mean_request_cost(&self) -> f64 {
        let held = |shape: &RequestLengths| {
            let (prompt, waited) = (f64::from(shape.prompt), self.waiting_share(shape));
            let growing = self.pool.mean_cost_while_growing(prompt, prompt + f64::from(shape.output));
            waited * self.pool.request_cost(prompt) + (1.0 - waited) * growing
        };
        let weighted =
            self.mix.lengths().iter().zip(&self.weights).map(|(shape, weight)| weight * held(shape));
        weighted.sum::<f64>() / self.weights.iter().sum::<f64>()
    }

    /// The standard deviation of a request's cost around `mean`.
    fn deviation(&self, mean: f64, rng: &mut StdRng) -> f64 {
        let square = (0..INSTANTS).map(|_| (self.draw_request_cost(rng) - mean).powi(2)).sum::<f64>();
        (square / INSTANTS as f64).sqrt()
    }

    /// Returns the largest number of concurrent requests whose demand fits the pool at least this percentage of the
    /// time.
    pub(crate) fn max_requests(&self, percent: Percent, seed: u64) -> u64 {
        let mut rng = StdRng::seed_from_u64(seed);
        let capacity = self.pool.capacity as f64;
        let mean = self.mean_request_cost();
        if capacity / mean > MOST_DRAWN {
            // n · mean + z · deviation · √n = capacity.
            let above = standard_quantile(percent) * self.deviation(mean, &mut rng);
            let root = ((above * above + 4.0 * mean * capacity).sqrt() - above) / (2.0 * mean);
            return (root * root) as u64;
        }
        let mut fitting: Vec<f64> = (0..INSTANTS).map(|_| self.fill_pool(capacity, &mut rng)).collect();
        percentile(&mut fitting, 100.0 - percent) as u64
    }

    /// Draws requests one after the other, and returns how many fit.
    fn fill_pool(&self, capacity: f64, rng: &mut StdRng) -> f64 {
        let (mut free, mut count) = (capacity, 0.0);
        loop {
            free -= self.draw_request_cost(rng);
            if free < 0.0 {
                return count;
            }
            count += 1.0;
        }
    }

    /// The mean time of a request, in seconds; zero without a speed.
    fn mean_request_time(&self) -> f64 {
        self.mix.mean(|shape| self.pace.map_or(0.0, |pace| pace.request_time(shape)))
    }

    /// Returns the demand of Poisson arrivals at this rate (per second) on a server that computes at most
    /// `most_running` requests at once.
    pub(crate) fn poisson_demand(
        &self,
        rate: f64,
        most_running: u64,
        percent: Percent,
        seed: u64,
    ) -> LoadDemand {
        let mut rng = StdRng::seed_from_u64(seed);
        let time_s = self.mean_request_time();
        let mean = self.mean_request_cost();
        let deviation = self.deviation(mean, &mut rng);
        let mut share = |n: f64| {
            let held = match n.min(most_running as f64) {
                n if n > MOST_DRAWN => {
                    let normal: f64 = StandardNormal.sample(&mut rng);
                    n * mean + n.sqrt() * deviation * normal
                }
                n => (0..n as u64).map(|_| self.draw_request_cost(&mut rng)).sum(),
            };
            held / self.pool.capacity as f64
        };
        let mut shares: Vec<f64> = poisson_counts(rate * time_s, seed).into_iter().map(&mut share).collect();
        let mean_share = shares.iter().sum::<f64>() / shares.len() as f64;
        let pool_share =
            TimeVaryingQuantity { mean: mean_share, percentile: percentile(&mut shares, percent) };
        let in_flight = in_flight(rate * time_s, percent);
        LoadDemand { requests_per_s: rate, time_s, in_flight, pool_share, percent }
    }
}

/// Returns the number of requests in flight, including those that wait, for this mean.
pub(crate) fn in_flight(mean: f64, percent: Percent) -> TimeVaryingQuantity {
    let percentile = match PoissonLaw::new(mean) {
        Ok(law) if mean <= MOST_COUNTED => law.inverse_cdf(percent / 100.0) as f64,
        // The mean is zero, or too large to count.
        _ => (mean + standard_quantile(percent) * mean.sqrt()).ceil(),
    };
    TimeVaryingQuantity { mean, percentile }
}

/// The quantile of the standard normal distribution.
fn standard_quantile(percent: Percent) -> f64 {
    Normal::standard().inverse_cdf(percent / 100.0)
}

/// Draws the number of requests at many instants.
fn poisson_counts(mean: f64, seed: u64) -> Vec<f64> {
    let mut rng = StdRng::seed_from_u64(seed);
    match Poisson::new(mean) {
        Ok(law) => law.sample_iter(&mut rng).take(INSTANTS).collect(),
        // The mean is zero, or too large to count.
        Err(_) => vec![mean; INSTANTS],
    }
}

/// Linear interpolation between closest ranks, as in all reports.
fn percentile(values: &mut [f64], percent: Percent) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let rank = percent / 100.0 * (values.len() - 1) as f64;
    let (low, high) = (values[rank.floor() as usize], values[rank.ceil() as usize]);
    low + (high - low) * rank.fract()
}
