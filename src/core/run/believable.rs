//! What of a run may be judged where a check objects to some of its metrics.

use super::{Metrics, Run};
use crate::core::metrics::Latency;
use crate::core::validity::{Outcome, Scope};

impl Run {
    /// Takes out the metrics that a check objects to, and says which they are and why; `None` if there are none. A check
    /// that objects to the whole run takes nothing out: such a run is not to be judged at all.
    pub fn leave_out_invalid_metrics(&mut self) -> Option<String> {
        let partial: Vec<_> =
            self.validity.with(Outcome::Invalid).filter(|check| !check.scope.is_run()).collect();
        let why = partial.first()?.reason();
        let scopes: Vec<Scope> = partial.iter().map(|check| check.scope).collect();
        for latency in Latency::ALL {
            if scopes.iter().any(|scope| scope.covers(latency)) {
                self.histograms.remove(&latency);
                self.sums_mut().for_each(|metrics| drop(metrics.latencies.remove(&latency)));
            }
        }
        let slo = self.spec.slo.clone();
        if scopes.iter().any(|scope| scope.covers_goodput(&slo)) {
            self.sums_mut().for_each(|metrics| metrics.good = None);
        }
        let metrics = self.validity.invalid_metrics().unwrap_or_default();
        Some(format!("{metrics} are INVALID: {why}"))
    }

    /// The metrics of the whole run, and those of its steady-state window.
    fn sums_mut(&mut self) -> impl Iterator<Item = &mut Metrics> {
        let steady = self.steady.as_mut().ok().map(|steady| &mut steady.metrics);
        std::iter::once(&mut self.metrics).chain(steady)
    }
}

#[cfg(test)]
mod tests {
    use crate::core::figure::Figure;
    use crate::core::run::sample;
    use crate::core::validity::{Check, CheckName, Figure as Quantity, Outcome, Scope};

    #[test]
    fn metrics_that_a_check_objects_to_are_left_out_and_the_others_stay() {
        let mut run = sample::run(false);
        run.validity.checks.retain(|check| check.outcome != Outcome::Invalid);
        assert_eq!(run.leave_out_invalid_metrics(), None);
        let figures = ["ttft.mean", "tpot.p99", "e2el.mean", "output_throughput", "failure_rate"];
        let figures = figures.map(|name| name.parse::<Figure>().unwrap());
        run.validity.checks.push(Check {
            name: CheckName::Bursts,
            outcome: Outcome::Invalid,
            scope: Scope::Stream,
            figure: Some(Quantity::Share(1.0)),
            bound: None,
            advice: String::new(),
        });
        let objected = figures.map(|figure| figure.objection(&run).is_some());
        assert_eq!(objected, [true, true, false, false, false]);
        let why = run.leave_out_invalid_metrics().unwrap();
        assert!(why.starts_with("TTFT, TPOT and ITL are INVALID: answers that begin"), "{why}");
        let left = figures.map(|figure| figure.value(&run).is_some());
        assert_eq!(left, [false, false, true, true, true]);
    }
}
