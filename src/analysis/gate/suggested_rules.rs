//! Rules that a baseline can decide: the default rules, with margins that exceed the differences between its runs.

use super::{GateRule, RuleSeverity, valid_defaults};
use crate::model::rule::{BoundSide, RuleLimit};
use crate::model::run::Run;
use crate::stats::{RepeatStats, student_quantile};

/// A margin is at least this multiple of the noise: the interval of a candidate that equals the baseline is as wide as
/// the noise, and the whole interval must lie within the margin.
const NOISE_FACTOR: f64 = 2.0;

/// A rule that would need a wider margin keeps its usual one and only warns: it would pass a server that is much worse.
const WIDEST_MARGIN: f64 = 0.25;

/// A rule for a baseline, and where its margin comes from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SuggestedRule {
    /// The rule.
    pub rule: GateRule,
    /// How much another run of the same server may differ from the baseline's mean, as a share of it, with 95 %
    /// confidence; `None` for a rule whose margin is no share, or with fewer than two runs.
    pub noise: Option<f64>,
    /// Whether the rule only warns because the runs differ too much for it.
    pub is_too_noisy: bool,
}

/// Suggests rules for this baseline.
pub(crate) fn suggest_rules(baseline: &[Run]) -> Vec<SuggestedRule> {
    valid_defaults(baseline).into_iter().map(|rule| suggest(rule, baseline)).collect()
}

fn suggest(mut rule: GateRule, baseline: &[Run]) -> SuggestedRule {
    let values: Vec<f64> = baseline.iter().filter_map(|run| rule.rule.figure.value(run)).collect();
    let share = rule.rule.bounds.iter_mut().find_map(|bound| match &mut bound.limit {
        RuleLimit::Baseline { factor, .. } if *factor != 1.0 => Some((bound.side, factor)),
        _ => None,
    });
    let noise = share.as_ref().and_then(|_| relative_noise(&values));
    let mut is_too_noisy = false;
    if let (Some((side, factor)), Some(noise)) = (share, noise) {
        let usual = (*factor - 1.0).abs();
        let margin = usual.max((NOISE_FACTOR * noise * 100.0).ceil() / 100.0);
        is_too_noisy = margin > WIDEST_MARGIN;
        if margin > usual && !is_too_noisy {
            let percents = (margin * 100.0).round();
            *factor = if side == BoundSide::Above { 100.0 - percents } else { 100.0 + percents } / 100.0;
        }
    }
    if is_too_noisy {
        rule.severity = RuleSeverity::Warn;
    }
    SuggestedRule { rule, noise, is_too_noisy }
}

/// Half the width of a 95 % prediction interval for one more value, as a share of the mean.
fn relative_noise(values: &[f64]) -> Option<f64> {
    let stats = RepeatStats::from_values(values).filter(|stats| stats.mean > 0.0)?;
    let quantile = student_quantile(0.975, stats.n - 1.0);
    Some(quantile * (stats.variance * (1.0 + 1.0 / stats.n)).sqrt() / stats.mean)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::metrics::Latency;
    use crate::testing::sample_run;

    /// Runs whose mean TTFTs are these multiples of 100 ms.
    fn baseline(means: &[f64]) -> Vec<Run> {
        let run = |mean: &f64| {
            let mut run = sample_run::run(false);
            let ttft = run.metrics.latencies.get_mut(&Latency::Ttft).unwrap();
            ttft.mean = Duration::from_secs_f64(0.1 * mean);
            run
        };
        means.iter().map(run).collect()
    }

    fn ttft(means: &[f64]) -> SuggestedRule {
        let suggested = suggest_rules(&baseline(means));
        suggested.into_iter().find(|one| one.rule.rule.figure.to_string() == "ttft.mean").unwrap()
    }

    #[test]
    fn a_quiet_baseline_gets_the_usual_margins() {
        let quiet = ttft(&[1.0, 1.001, 0.999, 1.0, 1.0]);
        assert_eq!(quiet.rule.rule.to_string(), "ttft.mean <= baseline * 1.05 or <= baseline + 5ms");
        assert_eq!((quiet.rule.severity, quiet.is_too_noisy), (RuleSeverity::Fail, false));
        assert!(quiet.noise.is_some_and(|noise| noise < 0.01));
        assert_eq!(ttft(&[1.0]).noise, None, "one run shows no noise");
    }

    #[test]
    fn a_noisy_baseline_gets_margins_of_twice_its_noise() {
        let noisy = ttft(&[1.0, 1.03, 0.97, 1.02, 0.98]);
        let expected = (2.0 * noisy.noise.unwrap() * 100.0).ceil() / 100.0;
        assert!((0.06..0.25).contains(&expected), "{expected}");
        let text = noisy.rule.rule.to_string();
        assert_eq!(text, format!("ttft.mean <= baseline * {} or <= baseline + 5ms", 1.0 + expected));
        assert!(text.parse::<crate::model::rule::MetricRule>().is_ok());
    }

    #[test]
    fn a_baseline_that_decides_nothing_only_warns() {
        let wild = ttft(&[1.0, 2.0, 0.5]);
        assert_eq!((wild.rule.severity, wild.is_too_noisy), (RuleSeverity::Warn, true));
        assert_eq!(wild.rule.rule.to_string(), "ttft.mean <= baseline * 1.05 or <= baseline + 5ms");
    }
}
