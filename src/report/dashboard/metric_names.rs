//! The metric names of a version of vLLM, and the PromQL expressions built from them.

use std::collections::BTreeMap;

use crate::model::server::ServerSignal;

/// The metric names of one version of vLLM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MetricNames {
    /// The version as flags spell it, such as `vllm-0.6`.
    pub label: &'static str,
    /// The name of each signal on the server's page, for the signals that this version has.
    pub of: BTreeMap<ServerSignal, &'static str>,
}

impl MetricNames {
    /// Returns a signal's metric name, or `None` if this version lacks it.
    pub(crate) fn metric_name(&self, signal: ServerSignal) -> Option<&'static str> {
        self.of.get(&signal).copied()
    }

    /// Returns an expression for the prefix cache hit rate over `window`, 0 to 1. V0 reports -1 while the rate is
    /// unknown.
    pub(crate) fn prefix_hits(&self, window: &str) -> Option<String> {
        let gauge = self
            .metric_name(ServerSignal::PrefixHitRate)
            .map(|rate| format!("max by (instance) ({rate} >= 0)"));
        gauge.or_else(|| self.ratio(ServerSignal::PrefixHits, ServerSignal::PrefixQueries, window))
    }

    /// Returns an expression for the accepted share of drafted tokens over `window`, 0 to 1.
    pub(crate) fn draft_acceptance(&self, window: &str) -> Option<String> {
        let gauge = self
            .metric_name(ServerSignal::SpecAcceptanceRate)
            .map(|rate| format!("max by (instance) ({rate})"));
        gauge.or_else(|| self.ratio(ServerSignal::SpecAcceptedTokens, ServerSignal::SpecDraftTokens, window))
    }

    /// Returns an expression for the benefit of speculative decoding, and its title: the engine's own efficiency in
    /// old versions, tokens per step in later ones.
    pub(crate) fn draft_yield(&self, window: &str) -> Option<(String, &'static str)> {
        let efficiency = self.metric_name(ServerSignal::SpecEfficiency);
        let gauge = efficiency.map(|efficiency| (format!("max by (instance) ({efficiency})"), "efficiency"));
        gauge.or_else(|| {
            let ratio = self.ratio(ServerSignal::SpecAcceptedTokens, ServerSignal::SpecDrafts, window)?;
            Some((format!("1 + {ratio}"), "tokens a step"))
        })
    }

    fn ratio(&self, part: ServerSignal, whole: ServerSignal, window: &str) -> Option<String> {
        let rate =
            |signal| Some(format!("sum by (instance) (rate({}[{window}]))", self.metric_name(signal)?));
        Some(format!("{} / {}", rate(part)?, rate(whole)?))
    }
}
