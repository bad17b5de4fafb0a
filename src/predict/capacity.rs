//! The load that a server sustains: the rate at which it answers when it never runs dry.

use super::beyond_seen::BeyondSeen;
use super::fleet::SimulationError;
use super::observer::{SimulatedAnswer, SimulationObserver, StepSpan};
use super::offered_load::OfferedLoad;
use super::replica::ServerConfig;
use super::seen_steps::SeenSteps;
use super::simulation::observe;
use super::split::FleetSplit;
use super::ticks::Ticks;

/// Batches of the largest size that a saturating load fills.
const BATCHES: usize = 6;

/// The least and the most requests of a saturating load.
const REQUESTS: std::ops::RangeInclusive<usize> = 400..=20_000;

/// What one server sustains.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Capacity {
    /// Answers per second.
    pub rate: f64,
    /// The work of its steps beyond what the calibration saw, while requests wait.
    pub beyond: BeyondSeen,
}

impl Capacity {
    /// Measures a server that always has requests waiting: one that answers whole requests, or does its part of a split
    /// fleet.
    ///
    /// All sessions come at once. The rate is the slope of the number of answers over time, without the first fifth, when
    /// the batches fill, and the last fifth, when they run dry.
    ///
    /// # Errors
    /// A request is too large for the server, or virtual time runs out.
    pub(crate) fn measure(
        server: &ServerConfig,
        split: Option<FleetSplit>,
        load: &OfferedLoad,
        seen: &SeenSteps,
        seed: u64,
    ) -> Result<Self, SimulationError> {
        let enough = server.limits.max_num_seqs.saturating_mul(BATCHES);
        let busy = load.saturating(enough.clamp(*REQUESTS.start(), *REQUESTS.end()));
        let ends = Vec::with_capacity(busy.requests.len());
        let mut observer = CapacityObserver { seen, ends, beyond: BeyondSeen::default() };
        observe(server, split, seed, &busy, &mut observer)?;
        let CapacityObserver { mut ends, beyond, .. } = observer;
        ends.sort_unstable();
        Ok(Self { rate: slope(&ends), beyond })
    }
}

struct CapacityObserver<'a> {
    seen: &'a SeenSteps,
    /// The end of each answer.
    ends: Vec<Ticks>,
    beyond: BeyondSeen,
}

impl SimulationObserver for CapacityObserver<'_> {
    fn on_answer(&mut self, answer: &SimulatedAnswer) {
        self.ends.push(answer.last_token);
    }

    fn on_steps(&mut self, span: &StepSpan<'_>) {
        if span.load.waiting > 0 {
            self.beyond.add_steps(self.seen, span);
        }
    }
}

/// The slope of the number of ends over time in their middle part, by least squares; infinite if all are at once.
fn slope(ends: &[Ticks]) -> f64 {
    let cut = ends.len() / 5;
    let points: Vec<(f64, f64)> =
        ends.iter().map(|end| end.as_seconds()).zip(0..).map(|(at, count)| (at, f64::from(count))).collect();
    let middle = &points[cut..ends.len() - cut];
    let n = middle.len() as f64;
    let mean = |part: fn(&(f64, f64)) -> f64| middle.iter().map(part).sum::<f64>() / n;
    let (time, count) = (mean(|point| point.0), mean(|point| point.1));
    let spread: f64 = middle.iter().map(|point| (point.0 - time).powi(2)).sum();
    let joint: f64 = middle.iter().map(|point| (point.0 - time) * (point.1 - count)).sum();
    let is_spread = ends[cut] < ends[ends.len() - cut - 1];
    if is_spread { joint / spread } else { f64::INFINITY }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slope_is_the_rate_whatever_the_ends_do() {
        let mut ends: Vec<Ticks> =
            (0..1000).map(|at| Ticks::from_seconds(10.0 + 0.05 * f64::from(at))).collect();
        assert!((slope(&ends) - 20.0).abs() < 1e-3, "{}", slope(&ends));
        ends[999] = Ticks::from_seconds(1e4);
        assert!((slope(&ends) - 20.0).abs() < 1e-3);
        assert_eq!(slope(&[Ticks(5); 10]), f64::INFINITY);
    }
}
