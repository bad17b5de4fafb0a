//! What a version of vLLM calls its signals, and the expressions that are made of them.

use std::collections::BTreeMap;

use crate::core::server::Signal;

/// The names of a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// The version, as it is called in flags: `vllm-0.6`.
    pub label: &'static str,
    /// Each signal's name as it is scraped, of those that the version has.
    pub of: BTreeMap<Signal, &'static str>,
}

impl Names {
    /// A signal's name; `None` where the version lacks it.
    pub fn of(&self, signal: Signal) -> Option<&'static str> {
        self.of.get(&signal).copied()
    }

    /// Whether requests find the beginnings of their prompts, 0 to 1, over `window`. V0 says -1 while it does not know.
    pub fn prefix_hits(&self, window: &str) -> Option<String> {
        let gauge = self.of(Signal::PrefixHitRate).map(|rate| format!("max by (instance) ({rate} >= 0)"));
        gauge.or_else(|| self.ratio(Signal::PrefixHits, Signal::PrefixQueries, window))
    }

    /// Which share of the drafted tokens is accepted, 0 to 1, over `window`.
    pub fn draft_acceptance(&self, window: &str) -> Option<String> {
        let gauge = self.of(Signal::SpecAcceptanceRate).map(|rate| format!("max by (instance) ({rate})"));
        gauge.or_else(|| self.ratio(Signal::SpecAcceptedTokens, Signal::SpecDraftTokens, window))
    }

    /// How well speculation pays, and what that is: the engine's own efficiency, later the tokens a step brings.
    pub fn draft_yield(&self, window: &str) -> Option<(String, &'static str)> {
        let efficiency = self.of(Signal::SpecEfficiency);
        let gauge = efficiency.map(|efficiency| (format!("max by (instance) ({efficiency})"), "efficiency"));
        gauge.or_else(|| {
            let ratio = self.ratio(Signal::SpecAcceptedTokens, Signal::SpecDrafts, window)?;
            Some((format!("1 + {ratio}"), "tokens a step"))
        })
    }

    fn ratio(&self, part: Signal, whole: Signal, window: &str) -> Option<String> {
        let rate = |signal| Some(format!("sum by (instance) (rate({}[{window}]))", self.of(signal)?));
        Some(format!("{} / {}", rate(part)?, rate(whole)?))
    }
}
