//! The policies of routers, by name.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::kv_load::KvLoad;
use super::power_of_two::PowerOfTwo;
use super::prefix_affinity::PrefixAffinity;
use super::random::Random;
use super::session::SessionAffinity;
use super::{LeastRequests, RoundRobin, Router};
use crate::predict::ticks::Ticks;

/// A policy, in the order of the help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RouterPolicy {
    /// The replicas in turn.
    #[default]
    RoundRobin,
    /// A replica at random, as a Kubernetes Service chooses for each connection.
    Random,
    /// The replica with the fewest requests in flight.
    LeastRequests,
    /// The less loaded of two replicas at random, as Envoy chooses.
    PowerOfTwo,
    /// The replica that was sent the longest part of the prompt before, unless the load is uneven, as SGLang's router
    /// chooses.
    PrefixAffinity,
    /// The same replica for all turns of a session.
    Session,
    /// The replica that reports the lowest KV use and the shortest queue, as llm-d's scheduler scores.
    KvLoad,
}

/// What a router knows before the first request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RouterSettings {
    /// The size of a replica's KV pool in blocks, which bounds what it can have cached.
    pub blocks: usize,
    /// How often the replicas' loads are read.
    pub refresh_period: Ticks,
    /// The seed of random choices.
    pub seed: u64,
}

impl RouterPolicy {
    /// All policies.
    pub(crate) const ALL: [Self; 7] = [
        Self::RoundRobin,
        Self::Random,
        Self::LeastRequests,
        Self::PowerOfTwo,
        Self::PrefixAffinity,
        Self::Session,
        Self::KvLoad,
    ];

    /// The name on the command line and in reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::RoundRobin => "round-robin",
            Self::Random => "random",
            Self::LeastRequests => "least-requests",
            Self::PowerOfTwo => "power-of-two",
            Self::PrefixAffinity => "prefix-affinity",
            Self::Session => "session",
            Self::KvLoad => "kv-load",
        }
    }

    /// Whether the policy needs to know what prompts have in common.
    pub(crate) fn needs_contents(self) -> bool {
        self == Self::PrefixAffinity
    }

    /// Whether the policy uses what replicas report of themselves.
    pub(crate) fn uses_reports(self) -> bool {
        self == Self::KvLoad
    }

    /// Whether the policy chooses by chance.
    pub(crate) fn is_random(self) -> bool {
        matches!(self, Self::Random | Self::PowerOfTwo)
    }

    /// Makes a router.
    pub(crate) fn router(self, settings: RouterSettings) -> Box<dyn Router> {
        let RouterSettings { blocks, refresh_period, seed } = settings;
        match self {
            Self::RoundRobin => Box::new(RoundRobin::default()),
            Self::Random => Box::new(Random::new(seed)),
            Self::LeastRequests => Box::new(LeastRequests::default()),
            Self::PowerOfTwo => Box::new(PowerOfTwo::new(seed)),
            Self::PrefixAffinity => Box::new(PrefixAffinity::new(blocks)),
            Self::Session => Box::new(SessionAffinity::default()),
            Self::KvLoad => Box::new(KvLoad::new(refresh_period)),
        }
    }
}

impl fmt::Display for RouterPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for RouterPolicy {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let names = || Self::ALL.map(Self::name).join(", ");
        let found = Self::ALL.into_iter().find(|policy| policy.name() == name);
        found.ok_or_else(|| format!("`{name}` is no router; they are {}", names()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::predict::router::FleetView;
    use crate::predict::router::tests::{idle, request};

    fn settings() -> RouterSettings {
        RouterSettings { blocks: 1000, refresh_period: Ticks::from_seconds(0.05), seed: 7 }
    }

    fn choices(policy: RouterPolicy, in_flight: &[u32], count: usize) -> Vec<usize> {
        let mut router = policy.router(settings());
        let signals = idle(in_flight.len());
        let view = FleetView { now: Ticks::ZERO, in_flight, signals: &signals };
        (0..count).map(|_| router.route(&request(None, &[]), &view)).collect()
    }

    #[test]
    fn every_policy_is_found_by_its_name_and_keeps_to_the_replicas() {
        for policy in RouterPolicy::ALL {
            assert_eq!(policy.name().parse(), Ok(policy));
            assert_eq!(serde_json::to_value(policy).unwrap(), policy.name());
            for replicas in [1, 3] {
                let chosen = choices(policy, &vec![2; replicas], 20);
                assert!(chosen.iter().all(|&place| place < replicas), "{policy}: {chosen:?}");
            }
        }
        assert!("fastest".parse::<RouterPolicy>().unwrap_err().contains("round-robin, random"));
    }

    #[test]
    fn two_choices_never_take_the_most_loaded_of_all() {
        let chosen = choices(RouterPolicy::PowerOfTwo, &[5, 1, 2], 50);
        assert!(!chosen.contains(&0) && chosen.contains(&1) && chosen.contains(&2), "{chosen:?}");
    }

    #[test]
    fn equal_seeds_choose_equally() {
        for policy in [RouterPolicy::Random, RouterPolicy::PowerOfTwo] {
            assert_eq!(choices(policy, &[0; 5], 30), choices(policy, &[0; 5], 30));
        }
    }

    #[test]
    fn only_policies_that_use_reports_read_them() {
        for policy in RouterPolicy::ALL {
            assert_eq!(
                policy.router(settings()).refresh_period().is_some(),
                policy.uses_reports(),
                "{policy}"
            );
        }
    }
}
