//! The metric names of vLLM's signals in one version: a column of the table of names.

use std::collections::BTreeMap;

use super::{EngineFamily, SIGNAL_NAMES, SignalName};
use crate::model::server::ServerSignal;

/// A generation of vLLM's metric names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VersionNames {
    /// The V0 engine, about v0.4.3 to v0.7: swapping, rates and efficiencies as gauges.
    Vllm06,
    /// The V1 engine from v0.11 on.
    Vllm1,
}

type VersionNumbers = [u32; 3];

impl VersionNames {
    /// Returns the names of a server that reports this version: V1's from v0.11 on, which dropped the old names.
    /// Returns `None` for an invalid version, or one in between, whose names depend on its engine.
    pub(crate) fn for_version(version: &str) -> Option<Self> {
        let mut numbers = version.trim_start_matches('v').split('.').map(str::parse::<u32>);
        match (numbers.next()?.ok()?, numbers.next()?.ok()?) {
            (0, ..=7) => Some(Self::Vllm06),
            (0, 8..=10) => None,
            _ => Some(Self::Vllm1),
        }
    }

    /// Returns the spelling in flags: `vllm-0.6`.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Vllm06 => "vllm-0.6",
            Self::Vllm1 => "vllm-1",
        }
    }

    /// Returns the name of each signal on the page, for the signals that this version has.
    pub(crate) fn names(self) -> BTreeMap<ServerSignal, &'static str> {
        let version = match self {
            Self::Vllm06 => [0, 6, 6],
            Self::Vllm1 => [u32::MAX; 3],
        };
        let current = |names: &[SignalName]| {
            names.iter().find(|name| is_current(name, version)).map(|name| name.sample)
        };
        SIGNAL_NAMES.iter().filter_map(|(signal, names)| Some((*signal, current(names)?))).collect()
    }
}

/// Whether this vLLM version uses the name.
fn is_current(name: &SignalName, version: VersionNumbers) -> bool {
    name.engine == Some(EngineFamily::Vllm)
        && numbers(name.since) <= version
        && name.until.is_none_or(|until| version < numbers(until))
}

/// Parses `0.4.3`; missing numbers are 0.
fn numbers(version: &str) -> VersionNumbers {
    let mut numbers = version.split('.').map(|number| number.parse().unwrap_or_default());
    std::array::from_fn(|_| numbers.next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_has_its_own_names_only() {
        let [old, new] = [VersionNames::Vllm06, VersionNames::Vllm1].map(VersionNames::names);
        let both = |signal| (old.get(&signal).copied(), new.get(&signal).copied());
        assert_eq!(
            both(ServerSignal::KvUsage),
            (Some("vllm:gpu_cache_usage_perc"), Some("vllm:kv_cache_usage_perc"))
        );
        assert_eq!(
            both(ServerSignal::Itl),
            (Some("vllm:time_per_output_token_seconds"), Some("vllm:inter_token_latency_seconds"))
        );
        assert_eq!(both(ServerSignal::Swapped), (Some("vllm:num_requests_swapped"), None));
        assert_eq!(both(ServerSignal::PrefixHits), (None, Some("vllm:prefix_cache_hits_total")));
        assert_eq!(
            both(ServerSignal::SpecAcceptanceRate),
            (Some("vllm:spec_decode_draft_acceptance_rate"), None)
        );
        assert_eq!(both(ServerSignal::Tpot), (None, Some("vllm:request_time_per_output_token_seconds")));
    }

    #[test]
    fn a_version_finds_its_names() {
        let found = ["0.6.6.post1", "v0.7.3", "0.11.0", "1.0.0", "0.20.1rc2", "0.9.2", "servegauge-sim", ""];
        let expected = [
            Some(VersionNames::Vllm06),
            Some(VersionNames::Vllm06),
            Some(VersionNames::Vllm1),
            Some(VersionNames::Vllm1),
            Some(VersionNames::Vllm1),
            None,
            None,
            None,
        ];
        assert_eq!(found.map(VersionNames::for_version), expected);
    }

    #[test]
    fn versions_are_compared_number_by_number() {
        assert!(
            numbers("0.10.2") > numbers("0.9.2") && numbers("0.15") == [0, 15, 0] && numbers("") == [0; 3]
        );
    }
}
