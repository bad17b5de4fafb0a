//! What vLLM's signals are called in one version: a column of the table of names.

use std::collections::BTreeMap;

use super::{Engine, NAMES, Name};
use crate::core::server::Signal;

/// The names of a version of vLLM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameSet {
    /// The V0 engine, about v0.4.3 to v0.7: swapping, rates and efficiencies as gauges.
    Vllm06,
    /// The V1 engine from v0.11 on.
    Vllm1,
}

type Version = [u32; 3];

impl NameSet {
    /// The names of a server that says this is its version: V1's from v0.11 on, where the old names went.
    /// `None` for a version that is none, or one in between, whose names depend on its engine.
    pub fn of_version(version: &str) -> Option<Self> {
        let mut numbers = version.trim_start_matches('v').split('.').map(str::parse::<u32>);
        match (numbers.next()?.ok()?, numbers.next()?.ok()?) {
            (0, ..=7) => Some(Self::Vllm06),
            (0, 8..=10) => None,
            _ => Some(Self::Vllm1),
        }
    }

    /// As it is called in flags: `vllm-0.6`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Vllm06 => "vllm-0.6",
            Self::Vllm1 => "vllm-1",
        }
    }

    /// Each signal's name as it is scraped, of those that the version has.
    pub fn names(self) -> BTreeMap<Signal, &'static str> {
        let version = match self {
            Self::Vllm06 => [0, 6, 6],
            Self::Vllm1 => [u32::MAX; 3],
        };
        let current =
            |names: &[Name]| names.iter().find(|name| is_current(name, version)).map(|name| name.sample);
        NAMES.iter().filter_map(|(signal, names)| Some((*signal, current(names)?))).collect()
    }
}

/// Whether it is a name of vLLM's in this version.
fn is_current(name: &Name, version: Version) -> bool {
    name.engine == Some(Engine::Vllm)
        && numbers(name.since) <= version
        && name.until.is_none_or(|until| version < numbers(until))
}

/// `0.4.3`; missing numbers are 0.
fn numbers(version: &str) -> Version {
    let mut numbers = version.split('.').map(|number| number.parse().unwrap_or_default());
    std::array::from_fn(|_| numbers.next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_has_its_own_names_only() {
        let [old, new] = [NameSet::Vllm06, NameSet::Vllm1].map(NameSet::names);
        let both = |signal| (old.get(&signal).copied(), new.get(&signal).copied());
        assert_eq!(
            both(Signal::KvUsage),
            (Some("vllm:gpu_cache_usage_perc"), Some("vllm:kv_cache_usage_perc"))
        );
        assert_eq!(
            both(Signal::Itl),
            (Some("vllm:time_per_output_token_seconds"), Some("vllm:inter_token_latency_seconds"))
        );
        assert_eq!(both(Signal::Swapped), (Some("vllm:num_requests_swapped"), None));
        assert_eq!(both(Signal::PrefixHits), (None, Some("vllm:prefix_cache_hits_total")));
        assert_eq!(both(Signal::SpecAcceptanceRate), (Some("vllm:spec_decode_draft_acceptance_rate"), None));
        assert_eq!(both(Signal::Tpot), (None, Some("vllm:request_time_per_output_token_seconds")));
    }

    #[test]
    fn a_version_finds_its_names() {
        let found = ["0.6.6.post1", "v0.7.3", "0.11.0", "1.0.0", "0.20.1rc2", "0.9.2", "servebench-sim", ""];
        let expected = [
            Some(NameSet::Vllm06),
            Some(NameSet::Vllm06),
            Some(NameSet::Vllm1),
            Some(NameSet::Vllm1),
            Some(NameSet::Vllm1),
            None,
            None,
            None,
        ];
        assert_eq!(found.map(NameSet::of_version), expected);
    }

    #[test]
    fn versions_are_compared_number_by_number() {
        assert!(
            numbers("0.10.2") > numbers("0.9.2") && numbers("0.15") == [0, 15, 0] && numbers("") == [0; 3]
        );
    }
}
