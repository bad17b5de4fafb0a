//! The default rules of a gate.

use super::{GateRule, RuleSeverity};
use crate::model::rule::MetricRule;
use crate::model::run::Run;

/// The default rules. A mean may be worse than the baseline by up to 5 %, or by an amount that is too small to matter;
/// it violates its rule only beyond both. Rules on tails only warn, because a run of usual length seldom decides them.
const DEFAULT_RULES: [(&str, RuleSeverity); 7] = [
    ("ttft.mean <= baseline * 1.05 or <= baseline + 5ms", RuleSeverity::Fail),
    ("tpot.mean <= baseline * 1.05 or <= baseline + 0.5ms", RuleSeverity::Fail),
    ("e2el.mean <= baseline * 1.05 or <= baseline + 50ms", RuleSeverity::Fail),
    ("output_throughput >= baseline * 0.95", RuleSeverity::Fail),
    ("failure_rate <= baseline + 1%", RuleSeverity::Fail),
    ("goodput_ratio >= baseline - 1%", RuleSeverity::Fail),
    ("ttft.p95 <= baseline * 1.1 or <= baseline + 10ms", RuleSeverity::Warn),
];

/// The default rules for metrics that the baseline has. A rule on throughput applies only where the server decides the
/// throughput: under an open-loop load it equals the rate that was sent.
pub(crate) fn default_rules(baseline: &[Run]) -> Vec<GateRule> {
    let asked = |rule: &MetricRule| {
        let has = |run: &Run| rule.figure.value(run).is_some();
        let decided_by_server =
            |run: &Run| run.spec.load.is_closed_loop() || !run.spec.load.request_rate.is_finite();
        let is_rate = rule.figure.to_string() == "output_throughput";
        baseline.iter().any(|run| has(run) && (!is_rate || decided_by_server(run)))
    };
    named_default_rules().into_iter().filter(|rule| asked(&rule.rule)).collect()
}

/// All default rules.
pub(super) fn named_default_rules() -> Vec<GateRule> {
    let rules = DEFAULT_RULES.into_iter().map(|(text, severity)| GateRule {
        rule: text.parse().expect("the default rules are rules"),
        severity,
    });
    rules.collect()
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use super::*;
    use crate::model::units::Rate;
    use crate::testing::sample_run;

    #[test]
    fn the_defaults_ask_about_what_the_baseline_has() {
        let figures = |run: Run| {
            let rules = default_rules(&[run]);
            rules.iter().map(|rule| rule.rule.figure.to_string()).collect::<Vec<_>>()
        };
        let open = figures(sample_run::run(false));
        assert!(open.contains(&"ttft.mean".to_owned()) && !open.contains(&"goodput_ratio".to_owned()));
        assert!(!open.contains(&"output_throughput".to_owned()), "the client decides it");
        let mut closed = sample_run::run(false);
        closed.spec.load.request_rate = Rate::INFINITE;
        closed.spec.load.max_concurrency = NonZeroUsize::new(8);
        assert!(figures(closed).contains(&"output_throughput".to_owned()));
    }
}
