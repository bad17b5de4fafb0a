//! A number of replicas that follows the load.

use std::collections::VecDeque;

use super::router::{FleetView, Router};
use super::ticks::Ticks;
use super::workload::SimulatedRequest;

/// How the number of replicas follows the load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AutoscaleRule {
    /// The least replicas, with which the simulation begins.
    pub min: usize,
    /// The most replicas.
    pub max: usize,
    /// The time from the decision to the first request of a new replica.
    pub delay: Ticks,
    /// The requests in flight on a replica that the rule aims at.
    pub target: usize,
}

/// How long fewer replicas must have sufficed before one is removed: the default of Kubernetes' horizontal autoscaler.
const SETTLING_SECONDS: f64 = 300.0;

/// The time between two decisions: Kubernetes' horizontal autoscaler reads its metrics as often.
const PERIOD_SECONDS: f64 = 15.0;

/// A router in front of a number of replicas that follows the load. It sees the first replicas only; those beyond it
/// answer what they have. Decisions are made when requests come.
pub(crate) struct Autoscaled {
    rule: AutoscaleRule,
    router: Box<dyn Router>,
    /// Replicas that serve.
    serving: usize,
    /// When each further replica serves.
    starting: VecDeque<Ticks>,
    /// When fewer replicas began to suffice.
    idle_since: Option<Ticks>,
    next_decision: Ticks,
}

impl Autoscaled {
    /// Creates the autoscaler in front of a router.
    pub(crate) fn new(rule: AutoscaleRule, router: Box<dyn Router>) -> Self {
        Self {
            rule,
            router,
            serving: rule.min,
            starting: VecDeque::new(),
            idle_since: None,
            next_decision: Ticks::ZERO,
        }
    }

    fn decide(&mut self, now: Ticks, in_flight: u64) {
        let wanted = in_flight.div_ceil(self.rule.target.max(1) as u64) as usize;
        let wanted = wanted.clamp(self.rule.min, self.rule.max);
        let planned = self.serving + self.starting.len();
        for _ in planned..wanted {
            self.starting.push_back(now + self.rule.delay);
        }
        if wanted >= planned {
            self.idle_since = None;
            return;
        }
        let since = *self.idle_since.get_or_insert(now);
        if (now - since).as_seconds() >= SETTLING_SECONDS {
            // A replica that still starts is not removed: it costs nothing to the requests.
            self.serving = wanted.max(self.rule.min).min(self.serving);
            self.idle_since = None;
        }
    }
}

impl Router for Autoscaled {
    fn route(&mut self, request: &SimulatedRequest, fleet: &FleetView<'_>) -> usize {
        while self.starting.front().is_some_and(|at| *at <= fleet.now) {
            self.starting.pop_front();
            self.serving += 1;
        }
        if fleet.now >= self.next_decision {
            self.next_decision = fleet.now + Ticks::from_seconds(PERIOD_SECONDS);
            let in_flight = fleet.in_flight.iter().map(|count| u64::from(*count)).sum::<u64>() + 1;
            self.decide(fleet.now, in_flight);
        }
        let serving = self.serving.min(fleet.in_flight.len());
        let view = FleetView {
            now: fleet.now,
            in_flight: &fleet.in_flight[..serving],
            signals: &fleet.signals[..serving],
        };
        self.router.route(request, &view)
    }

    fn refresh_period(&self) -> Option<Ticks> {
        self.router.refresh_period()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::predict::router::RoundRobin;
    use crate::sim::scheduler::{BlockContents, SchedulerLoad};

    const RULE: AutoscaleRule =
        AutoscaleRule { min: 1, max: 4, delay: Ticks(180 * 512_000_000_000), target: 10 };

    fn place(scaled: &mut Autoscaled, seconds: f64, in_flight: [u32; 4]) -> usize {
        let (now, signals) = (Ticks::from_seconds(seconds), [SchedulerLoad::default(); 4]);
        let contents = BlockContents::NONE;
        let request = SimulatedRequest { index: 0, due: now, prompt: 1, output: 1, session: None, contents };
        scaled.route(&request, &FleetView { now, in_flight: &in_flight, signals: &signals })
    }

    #[test]
    fn replicas_come_after_the_delay_and_go_when_they_have_long_been_idle() {
        let mut scaled = Autoscaled::new(RULE, Box::new(RoundRobin::default()));
        assert_eq!(place(&mut scaled, 0.0, [35, 0, 0, 0]), 0);
        assert_eq!((scaled.serving, scaled.starting.len()), (1, 3));
        place(&mut scaled, 179.0, [35, 0, 0, 0]);
        assert_eq!(scaled.serving, 1, "they still start");
        place(&mut scaled, 181.0, [35, 0, 0, 0]);
        assert_eq!(scaled.serving, 4);
        for seconds in [200.0, 300.0, 400.0] {
            place(&mut scaled, seconds, [2, 0, 0, 0]);
        }
        assert_eq!(scaled.serving, 4, "fewer have not sufficed for long enough");
        place(&mut scaled, 520.0, [2, 0, 0, 0]);
        assert_eq!(scaled.serving, 1);
        assert_eq!(place(&mut scaled, 530.0, [9, 9, 9, 9]), 0, "the others answer what they have");
    }
}
