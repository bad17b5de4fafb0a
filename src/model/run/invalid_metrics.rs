//! Which metrics of a run are usable where a check objects to some of them.

use super::{Metrics, Run};
use crate::model::metrics::{Latency, OUTPUT_THROUGHPUTS, TokenTotal};
use crate::model::validity::{CheckOutcome, CheckScope};

impl Run {
    /// Removes the metrics that a check objects to, and returns their names and the reasons; `None` if there are none.
    /// A check that objects to the whole run removes nothing: such a run must not be judged at all.
    pub(crate) fn remove_invalid_metrics(&mut self) -> Option<String> {
        let partial: Vec<_> =
            self.validity.checks_with(CheckOutcome::Invalid).filter(|check| !check.scope.is_run()).collect();
        let why = partial.first()?.reason();
        let scopes: Vec<CheckScope> = partial.iter().map(|check| check.scope).collect();
        for latency in Latency::ALL {
            if scopes.iter().any(|scope| scope.covers(latency)) {
                self.histograms.remove(&latency);
                self.metrics_mut().for_each(|metrics| drop(metrics.latencies.remove(&latency)));
            }
        }
        let slo = self.spec.slo.clone();
        if scopes.iter().any(|scope| scope.covers_goodput(&slo)) {
            self.metrics_mut().for_each(|metrics| metrics.good = None);
        }
        if scopes.iter().any(|scope| scope.covers_output_throughput()) {
            self.metrics_mut().for_each(|metrics| {
                metrics.output_tokens = TokenTotal::default();
                OUTPUT_THROUGHPUTS.iter().for_each(|key| _ = metrics.rate_intervals.remove(*key));
            });
        }
        let metrics = self.validity.invalid_metrics().unwrap_or_default();
        Some(format!("{metrics} are INVALID: {why}"))
    }

    /// The metrics of the whole run, and those of its steady-state window.
    fn metrics_mut(&mut self) -> impl Iterator<Item = &mut Metrics> {
        let steady = self.steady.as_mut().ok().map(|steady| &mut steady.metrics);
        std::iter::once(&mut self.metrics).chain(steady)
    }
}

#[cfg(test)]
mod tests {
    use crate::model::metric_id::MetricId;
    use crate::model::validity::{Check, CheckName, CheckOutcome, CheckScope, Quantity};
    use crate::testing::sample_run;

    #[test]
    fn metrics_that_a_check_objects_to_are_left_out_and_the_others_stay() {
        let mut run = sample_run::run(false);
        run.validity.checks.retain(|check| check.outcome != CheckOutcome::Invalid);
        assert_eq!(run.remove_invalid_metrics(), None);
        let figures = ["ttft.mean", "tpot.p99", "e2el.mean", "output_throughput", "failure_rate"];
        let figures = figures.map(|name| name.parse::<MetricId>().unwrap());
        run.validity.checks.push(Check {
            name: CheckName::Bursts,
            outcome: CheckOutcome::Invalid,
            scope: CheckScope::Stream,
            figure: Some(Quantity::Share(1.0)),
            bound: None,
            advice: String::new(),
        });
        let objected = figures.map(|figure| figure.invalid_reason(&run).is_some());
        assert_eq!(objected, [true, true, false, false, false]);
        let why = run.remove_invalid_metrics().unwrap();
        assert!(why.starts_with("TTFT, TPOT and ITL are INVALID: answers that begin"), "{why}");
        let left = figures.map(|figure| figure.value(&run).is_some());
        assert_eq!(left, [false, false, true, true, true]);
    }

    #[test]
    fn a_wrong_count_of_tokens_spoils_the_metrics_of_tokens_alone() {
        let mut run = sample_run::run(false);
        run.validity.checks.retain(|check| check.outcome != CheckOutcome::Invalid);
        let figures = ["ttft.mean", "tpot.p99", "e2el.mean", "output_throughput", "request_throughput"];
        let figures = figures.map(|name| name.parse::<MetricId>().unwrap());
        assert!(figures.iter().all(|figure| figure.value(&run).is_some()));
        run.validity.checks.push(Check {
            name: CheckName::Usage,
            outcome: CheckOutcome::Invalid,
            scope: CheckScope::Tokens,
            figure: Some(Quantity::Count(20)),
            bound: Some(Quantity::Count(0)),
            advice: String::new(),
        });
        let expected = [true, false, true, false, true];
        assert_eq!(figures.map(|figure| figure.invalid_reason(&run).is_none()), expected);
        let why = run.remove_invalid_metrics().unwrap();
        assert!(
            why.starts_with("TPOT and output tok/s are INVALID: answers whose usage contradicts"),
            "{why}"
        );
        assert_eq!(figures.map(|figure| figure.value(&run).is_some()), expected);
    }
}
