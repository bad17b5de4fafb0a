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
use rand_distr::{Distribution as _, Poisson, StandardNormal};
use serde::Serialize;
use statrs::distribution::{ContinuousCDF as _, DiscreteCDF as _, Normal, Poisson as PoissonLaw};

use super::mix::{Mix, Shape};
use super::pool::Pool;
use crate::core::stats::Percent;
use crate::core::units::seconds;

/// Instants that are looked at.
const INSTANTS: usize = 2000;

/// Of more requests than this, the sum is drawn as a whole: it is normal, by the central limit theorem.
const MOST_DRAWN: f64 = 5000.0;

/// Beyond this mean, Poisson's law is the normal one to seven digits.
const MOST_COUNTED: f64 = 1e6;

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
    /// Requests in flight, those that wait among them.
    pub in_flight: Fluctuation,
    /// The share of the pool that is kept by those that are computed, 1 being all of it.
    pub pool_share: Fluctuation,
    /// Which percentile.
    pub percent: Percent,
}

/// Requests at all stages of their lives.
pub struct Stages<'a> {
    mix: &'a Mix,
    pool: &'a Pool,
    pace: Option<Pace>,
    /// How long each takes, in relation to the others.
    weights: Vec<f64>,
    /// Draws one by its weight.
    law: WeightedIndex<f64>,
}

impl<'a> Stages<'a> {
    /// Of a mix in a pool. Without a pace, tokens come evenly and the prompt takes no time.
    pub fn new(mix: &'a Mix, pool: &'a Pool, pace: Option<Pace>) -> Self {
        let time = |shape: &Shape| match pace {
            Some(pace) => pace.time(shape),
            None => f64::from(shape.output),
        };
        let mut weights: Vec<f64> = mix.shapes().iter().map(time).collect();
        if weights.iter().all(|weight| *weight <= 0.0) {
            // Where nothing takes time (outputs of one token), all are alike.
            weights.fill(1.0);
        }
        let law = WeightedIndex::new(&weights).expect("a mix has a request, and some take time");
        Self { mix, pool, pace, weights, law }
    }

    /// The share of its time that a request waits for its first token; all of it if it takes no time else.
    fn waiting(&self, shape: &Shape) -> f64 {
        let share = self.pace.map_or(0.0, |pace| pace.ttft.as_secs_f64() / pace.time(shape));
        if share < 1.0 { share } else { 1.0 }
    }

    /// What one request in flight keeps, in the pool's unit.
    fn draw(&self, rng: &mut StdRng) -> f64 {
        let shape = self.mix.shapes()[self.law.sample(rng)];
        let stage: f64 = rng.random();
        let waited = self.waiting(&shape);
        let written = if waited < 1.0 { (stage - waited).max(0.0) / (1.0 - waited) } else { 0.0 };
        self.pool.held(f64::from(shape.prompt) + written * f64::from(shape.output))
    }

    /// What a request in flight keeps on average: over its stages, and over the requests by their time.
    fn mean(&self) -> f64 {
        let held = |shape: &Shape| {
            let (prompt, waited) = (f64::from(shape.prompt), self.waiting(shape));
            let growing = self.pool.held_while_growing(prompt, prompt + f64::from(shape.output));
            waited * self.pool.held(prompt) + (1.0 - waited) * growing
        };
        let weighted =
            self.mix.shapes().iter().zip(&self.weights).map(|(shape, weight)| weight * held(shape));
        weighted.sum::<f64>() / self.weights.iter().sum::<f64>()
    }

    /// Its standard deviation around a mean.
    fn deviation(&self, mean: f64, rng: &mut StdRng) -> f64 {
        let square = (0..INSTANTS).map(|_| (self.draw(rng) - mean).powi(2)).sum::<f64>();
        (square / INSTANTS as f64).sqrt()
    }

    /// The most requests at once whose demand fits the pool at least this percentage of the time.
    pub fn most(&self, percent: Percent, seed: u64) -> u64 {
        let mut rng = StdRng::seed_from_u64(seed);
        let capacity = self.pool.capacity as f64;
        let mean = self.mean();
        if capacity / mean > MOST_DRAWN {
            // n · mean + z · deviation · √n = capacity.
            let above = standard_quantile(percent) * self.deviation(mean, &mut rng);
            let root = ((above * above + 4.0 * mean * capacity).sqrt() - above) / (2.0 * mean);
            return (root * root) as u64;
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

    /// The mean time of a request, in seconds; zero without a pace.
    fn time(&self) -> f64 {
        self.mix.mean(|shape| self.pace.map_or(0.0, |pace| pace.time(shape)))
    }

    /// What Poisson arrivals at this rate (per second) need of a server that computes at most so many at once.
    pub fn demand(&self, rate: f64, most_running: u64, percent: Percent, seed: u64) -> Demand {
        let mut rng = StdRng::seed_from_u64(seed);
        let time_s = self.time();
        let mean = self.mean();
        let deviation = self.deviation(mean, &mut rng);
        let mut share = |n: f64| {
            let held = match n.min(most_running as f64) {
                n if n > MOST_DRAWN => {
                    let normal: f64 = StandardNormal.sample(&mut rng);
                    n * mean + n.sqrt() * deviation * normal
                }
                n => (0..n as u64).map(|_| self.draw(&mut rng)).sum(),
            };
            held / self.pool.capacity as f64
        };
        let mut shares: Vec<f64> = counts(rate * time_s, seed).into_iter().map(&mut share).collect();
        let mean_share = shares.iter().sum::<f64>() / shares.len() as f64;
        let pool_share = Fluctuation { mean: mean_share, percentile: percentile(&mut shares, percent) };
        let in_flight = in_flight(rate * time_s, percent);
        Demand { requests_per_s: rate, time_s, in_flight, pool_share, percent }
    }
}

/// Requests in flight where `mean` are on average, those that wait among them.
pub fn in_flight(mean: f64, percent: Percent) -> Fluctuation {
    let percentile = match PoissonLaw::new(mean) {
        Ok(law) if mean <= MOST_COUNTED => law.inverse_cdf(percent / 100.0) as f64,
        // A mean of nothing, or one beyond all counting.
        _ => (mean + standard_quantile(percent) * mean.sqrt()).ceil(),
    };
    Fluctuation { mean, percentile }
}

/// Of the normal law with mean 0 and deviation 1.
fn standard_quantile(percent: Percent) -> f64 {
    Normal::standard().inverse_cdf(percent / 100.0)
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
