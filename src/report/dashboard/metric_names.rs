//! The metric names of a version of vLLM, and the PromQL expressions built from them.

use std::collections::BTreeMap;

use crate::model::server::ServerSignal;

/// The series that the board's variables choose.
const SELECTOR: &str = r#"{instance=~"$instance",model_name=~"$model"}"#;

/// The name of TPOT before v0.11, which had no TPOT of requests: a histogram of the gaps between tokens. v0.15 dropped it.
const FORMER_TPOT: &str = "vllm:time_per_output_token_seconds";

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

    /// Returns the series of a signal that the board's variables choose.
    pub(crate) fn chosen_series(&self, signal: ServerSignal) -> Option<String> {
        self.metric_name(signal).map(|metric| format!("{metric}{SELECTOR}"))
    }

    /// Returns the buckets of a histogram that the board's variables choose.
    pub(crate) fn chosen_buckets(metric: &str) -> String {
        format!("{metric}_bucket{SELECTOR}")
    }

    /// Returns the names of TPOT's histogram, best first: a server has its version's.
    pub(crate) fn tpot_names(&self) -> Vec<&'static str> {
        self.metric_name(ServerSignal::Tpot).into_iter().chain([FORMER_TPOT]).collect()
    }

    /// Returns the name of ITL's histogram, unless it is that of TPOT.
    pub(crate) fn itl_name(&self) -> Option<&'static str> {
        self.metric_name(ServerSignal::Itl).filter(|name| *name != FORMER_TPOT)
    }

    /// Returns an expression for the prefix cache hit rate over `window`, 0 to 1. V0 reports -1 while the rate is
    /// unknown.
    pub(crate) fn prefix_hits(&self, window: &str) -> Option<String> {
        let gauge = self
            .chosen_series(ServerSignal::PrefixHitRate)
            .map(|rate| format!("max by (instance) ({rate} >= 0)"));
        gauge.or_else(|| self.ratio(ServerSignal::PrefixHits, ServerSignal::PrefixQueries, window))
    }

    /// Returns an expression for the accepted share of drafted tokens over `window`, 0 to 1.
    pub(crate) fn draft_acceptance(&self, window: &str) -> Option<String> {
        let gauge = self
            .chosen_series(ServerSignal::SpecAcceptanceRate)
            .map(|rate| format!("max by (instance) ({rate})"));
        gauge.or_else(|| self.ratio(ServerSignal::SpecAcceptedTokens, ServerSignal::SpecDraftTokens, window))
    }

    /// Returns an expression for the benefit of speculative decoding, and its title: the engine's own efficiency in
    /// old versions, tokens per step in later ones.
    pub(crate) fn draft_yield(&self, window: &str) -> Option<(String, &'static str)> {
        let efficiency = self.chosen_series(ServerSignal::SpecEfficiency);
        let gauge = efficiency.map(|efficiency| (format!("max by (instance) ({efficiency})"), "efficiency"));
        gauge.or_else(|| {
            let ratio = self.ratio(ServerSignal::SpecAcceptedTokens, ServerSignal::SpecDrafts, window)?;
            Some((format!("1 + {ratio}"), "tokens a step"))
        })
    }

    fn ratio(&self, part: ServerSignal, whole: ServerSignal, window: &str) -> Option<String> {
        let rate =
            |signal| Some(format!("sum by (instance) (rate({}[{window}]))", self.chosen_series(signal)?));
        Some(format!("{} / {}", rate(part)?, rate(whole)?))
    }
}
