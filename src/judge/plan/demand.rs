//! What concurrent requests keep of the pool, as a distribution: by Little's law, and by drawing.
//!
//! At an instant of a load that has run for a while, a request in flight is one drawn with a probability in proportion
//! to how long it takes, at a stage that is uniform over that time; of independent (Poisson) arrivals at a rate λ that
//! take W on average, λ·W are in flight on average (Little 1961), and their number is Poisson-distributed whatever the
//! law of W (the queue M/G/∞).

use std::time::Duration;

use rand::distr::weighted::WeightedIndex;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng};
use rand_distr::{Distribution as _, Poisson};
use serde::Serialize;

use super::mix::{Mix, Shape};
use super::pool::Pool;
use crate::core::stats::Percent;
use crate::core::units::seconds;

/// Instants that are looked at.
const INSTANTS: usize = 2000;

/// Of more requests than this, the sum is taken for the mean: it differs by less than a percent.
const MOST_DRAWN: f64 = 5000.0;

/// How fast a server answers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Pace {
    /// From the start of the prompt's computation to the first token.
    #[serde(rename = "ttft_s", with = "seconds")]
    pub ttft: Duration,
    /// From one token to the next.
    #[serde(rename = "tpot_s", with = "seconds")]
    pub tpot: Duration,
}

impl Pace {
    /// How many seconds a request takes: TTFT + (output − 1) · TPOT.
    pub fn time(self, shape: &Shape) -> f64 {
        let gaps = shape.output.saturating_sub(1);
        self.ttft.as_secs_f64() + f64::from(gaps) * self.tpot.as_secs_f64()
    }
}

/// A quantity that changes with time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Fluctuation {
    /// Its mean.
    pub mean: f64,
    /// The percentile that was asked for.
    pub percentile: f64,
}

/// What Poisson arrivals need.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Demand {
    /// Arrivals per second.
    pub requests_per_s: f64,
    /// The mean time of a request, in seconds.
    pub time_s: f64,
    /// Requests in flight.
    pub in_flight: Fluctuation,
    /// The share of the pool that they keep, 1 being all of it.
    pub pool_share: Fluctuation,
    /// Which percentile.
    pub percent: Percent,
}

/// Requests at all stages of their lives.
pub struct Stages<'a> {
    mix: &'a Mix,
    pool: &'a Pool,
    pace: Option<Pace>,
    /// By how long they take.
    law: WeightedIndex<f64>,
}

impl<'a> Stages<'a> {
    /// Of a mix in a pool. Without a pace, tokens come evenly and the prompt takes no time.
    pub fn new(mix: &'a Mix, pool: &'a Pool, pace: Option<Pace>) -> Self {
        let time = |shape: &Shape| match pace {
            Some(pace) => pace.time(shape),
            None => f64::from(shape.output),
        };
        let even = || WeightedIndex::new(vec![1.0; mix.shapes().len()]).expect("a mix has a request");
        // Where nothing takes time (outputs of one token), all are alike.
        let law = WeightedIndex::new(mix.shapes().iter().map(time)).unwrap_or_else(|_| even());
        Self { mix, pool, pace, law }
    }

    /// What one request in flight keeps, in the pool's unit.
    fn draw(&self, rng: &mut StdRng) -> f64 {
        let shape = self.mix.shapes()[self.law.sample(rng)];
        let stage: f64 = rng.random();
        let waited = self.pace.map_or(0.0, |pace| pace.ttft.as_secs_f64() / pace.time(&shape));
        // A request that takes no time at all is seen at its end.
        let written = if waited < 1.0 { (stage - waited).max(0.0) / (1.0 - waited) } else { 0.0 };
        self.pool.held(f64::from(shape.prompt) + written * f64::from(shape.output))
    }

    /// What a request in flight keeps on average.
    fn mean(&self, rng: &mut StdRng) -> f64 {
        (0..INSTANTS).map(|_| self.draw(rng)).sum::<f64>() / INSTANTS as f64
    }

    /// The most requests at once whose demand fits the pool at least this percentage of the time.
    pub fn most(&self, percent: Percent, seed: u64) -> u64 {
        let mut rng = StdRng::seed_from_u64(seed);
        let capacity = self.pool.capacity as f64;
        let on_average = capacity / self.mean(&mut rng);
        if on_average > MOST_DRAWN {
            return on_average as u64;
        }
        let mut fitting: Vec<f64> = (0..INSTANTS).map(|_| self.fill(capacity, &mut rng)).collect();
        percentile(&mut fitting, 100.0 - percent) as u64
    }

    /// How many fit, one drawn after the other.
    fn fill(&self, capacity: f64, rng: &mut StdRng) -> f64 {
        let (mut free, mut count) = (capacity, 0.0);
        loop {
            free -= self.draw(rng);
            if free < 0.0 {
                return count;
            }
            count += 1.0;
        }
    }

    /// What Poisson arrivals at this rate (per second) need.
    pub fn demand(&self, rate: f64, percent: Percent, seed: u64) -> Demand {
        let mut rng = StdRng::seed_from_u64(seed);
        let time = self.mix.mean(|shape| self.pace.map_or(0.0, |pace| pace.time(shape)));
        let mean = rate * time;
        let each = self.mean(&mut rng);
        let share = |n: f64, rng: &mut StdRng| {
            let held = if n > MOST_DRAWN { n * each } else { (0..n as u64).map(|_| self.draw(rng)).sum() };
            held / self.pool.capacity as f64
        };
        let mut shares: Vec<f64> = counts(mean, seed).into_iter().map(|n| share(n, &mut rng)).collect();
        let in_flight = in_flight(mean, percent, seed);
        let mean_share = mean * each / self.pool.capacity as f64;
        let pool_share = Fluctuation { mean: mean_share, percentile: percentile(&mut shares, percent) };
        Demand { requests_per_s: rate, time_s: time, in_flight, pool_share, percent }
    }
}

/// Requests in flight where `mean` are on average.
pub fn in_flight(mean: f64, percent: Percent, seed: u64) -> Fluctuation {
    Fluctuation { mean, percentile: percentile(&mut counts(mean, seed), percent).ceil() }
}

/// Their number at many instants.
fn counts(mean: f64, seed: u64) -> Vec<f64> {
    let mut rng = StdRng::seed_from_u64(seed);
    match Poisson::new(mean) {
        Ok(law) => law.sample_iter(&mut rng).take(INSTANTS).collect(),
        // A mean of nothing, or one beyond all counting.
        Err(_) => vec![mean; INSTANTS],
    }
}

/// Linear interpolation between closest ranks, as everywhere.
fn percentile(values: &mut [f64], percent: Percent) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let rank = percent / 100.0 * (values.len() - 1) as f64;
    let (low, high) = (values[rank.floor() as usize], values[rank.ceil() as usize]);
    low + (high - low) * rank.fract()
}
