//! The table of levers: what can be changed on a vLLM server, and which versions have it.

use std::fmt;

use serde::Serialize;

use crate::analysis::diagnose::vllm_release::VllmRelease;
use Lever::{
    ChunkedPrefill, EnforceEager, GpuMemoryUtilization, KvCacheDtype, MaxModelLen, MaxNumBatchedTokens,
    MaxNumSeqs, NcclDebug, NcclP2pDisable, PrefixCaching, Quantization, SchedulerDelayFactor, SwapSpace,
    TensorParallelSize, UseV1,
};

/// A flag or variable that changes a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lever {
    ChunkedPrefill,
    MaxModelLen,
    MaxNumSeqs,
    MaxNumBatchedTokens,
    KvCacheDtype,
    GpuMemoryUtilization,
    PrefixCaching,
    SchedulerDelayFactor,
    SwapSpace,
    EnforceEager,
    UseV1,
    Quantization,
    TensorParallelSize,
    NcclDebug,
    NcclP2pDisable,
}

/// A row of the table.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LeverInfo {
    /// The lever.
    pub lever: Lever,
    /// The lever as it is written on the command line or in the environment.
    pub name: &'static str,
    /// The setting's name in vLLM's log and in `vllm:cache_config_info`; `None` where vLLM does not report it.
    pub setting: Option<&'static str>,
    /// The start of the setting's value if there is nothing left to change; `None` if that depends on the case.
    pub done: Option<&'static str>,
    /// Whether this is the default of the V1 engine.
    pub in_v1: bool,
    /// The versions of vLLM that have the lever.
    pub range: VersionRange,
    /// A further remark; may be empty.
    pub note: &'static str,
    /// The source of this information.
    pub source: &'static str,
}

/// The versions of vLLM that have a feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct VersionRange {
    /// The first version; `None` if the feature is not vLLM's and does not depend on its version.
    pub since: Option<FirstVersion>,
    /// The first version without the feature; `None` if the newest version checked has it.
    pub removed_in: Option<VllmRelease>,
}

/// The first version that has a feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FirstVersion {
    /// This release: the release before it lacks the feature.
    In(VllmRelease),
    /// This release or an earlier one: it is the oldest release checked.
    AtLatest(VllmRelease),
}

/// Whether a version has a feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Availability {
    /// The version has the feature.
    Here,
    /// Only newer versions have the feature.
    NotYet,
    /// Only older versions have the feature.
    Gone,
}

/// The newest release checked.
pub(super) const NEWEST_CHECKED: VllmRelease = VllmRelease::new(0, 32, 0);

/// The first release whose default is the V1 engine.
pub(super) const V1_BY_DEFAULT: VllmRelease = VllmRelease::new(0, 8, 0);

/// The first release that has no V0 engine to choose.
pub(super) const V1_ONLY: VllmRelease = VllmRelease::new(0, 11, 1);

const FIRST: FirstVersion = FirstVersion::AtLatest(VllmRelease::new(0, 1, 7));

const fn since(minor: u16, patch: u16) -> VersionRange {
    VersionRange { since: Some(FirstVersion::In(VllmRelease::new(0, minor, patch))), removed_in: None }
}

const fn from_the_first() -> VersionRange {
    VersionRange { since: Some(FIRST), removed_in: None }
}

const fn until(range: VersionRange, minor: u16, patch: u16) -> VersionRange {
    VersionRange { removed_in: Some(VllmRelease::new(0, minor, patch)), ..range }
}

const NOT_VLLMS: VersionRange = VersionRange { since: None, removed_in: None };

const ARGS_FROM_FIRST: &str = "vllm/engine/arg_utils.py in the releases v0.1.7 and v0.32.0";
const ARGS_0_4: &str =
    "vllm/engine/arg_utils.py in the releases v0.3.3, v0.4.0 and v0.32.0; default: vLLM's V1 guide";
const NCCL: &str = "NVIDIA's NCCL documentation, Environment Variables";

const fn lever(
    lever: Lever,
    name: &'static str,
    setting: Option<&'static str>,
    range: VersionRange,
) -> LeverInfo {
    LeverInfo { lever, name, setting, done: None, in_v1: false, range, note: "", source: ARGS_FROM_FIRST }
}

const fn done(facts: LeverInfo, done: &'static str) -> LeverInfo {
    LeverInfo { done: Some(done), ..facts }
}

const fn in_v1(facts: LeverInfo) -> LeverInfo {
    LeverInfo { in_v1: true, ..done(facts, "True") }
}

const fn noted(facts: LeverInfo, note: &'static str, source: &'static str) -> LeverInfo {
    LeverInfo { note, source, ..facts }
}

/// All levers, in the order of [`Lever`].
pub(crate) const LEVERS: [LeverInfo; 15] = [
    noted(
        in_v1(lever(ChunkedPrefill, "--enable-chunked-prefill", Some("enable_chunked_prefill"), since(4, 0))),
        "on by default in the V1 engine, which is the default from v0.8.0",
        ARGS_0_4,
    ),
    noted(
        lever(MaxModelLen, "--max-model-len", Some("max_model_len"), since(2, 0)),
        "",
        "vllm/engine/arg_utils.py in the releases v0.1.7, v0.2.0 and v0.32.0",
    ),
    lever(MaxNumSeqs, "--max-num-seqs", Some("max_num_seqs"), from_the_first()),
    lever(MaxNumBatchedTokens, "--max-num-batched-tokens", Some("max_num_batched_tokens"), from_the_first()),
    noted(
        done(lever(KvCacheDtype, "--kv-cache-dtype fp8", Some("kv_cache_dtype"), since(4, 1)), "fp8"),
        "v0.3.0 to v0.4.0 have fp8_e5m2 instead",
        "vllm/engine/arg_utils.py in the releases v0.2.6, v0.3.0, v0.4.0, v0.4.1 and v0.32.0",
    ),
    lever(GpuMemoryUtilization, "--gpu-memory-utilization", Some("gpu_memory_utilization"), from_the_first()),
    noted(
        in_v1(lever(PrefixCaching, "--enable-prefix-caching", Some("enable_prefix_caching"), since(4, 0))),
        "on by default in the V1 engine, which is the default from v0.8.0",
        ARGS_0_4,
    ),
    noted(
        lever(
            SchedulerDelayFactor,
            "--scheduler-delay-factor",
            Some("scheduler_delay_factor"),
            until(since(4, 0), 11, 0),
        ),
        "the V1 engine never had it; --max-num-batched-tokens limits the prefill of a step",
        "vllm/engine/arg_utils.py in the releases v0.3.3, v0.4.0, v0.6.4 and v0.11.0; vLLM PR 25334",
    ),
    noted(
        lever(SwapSpace, "--swap-space", Some("swap_space"), until(from_the_first(), 18, 0)),
        "no effect in the V1 engine (the default from v0.8.0), which recomputes instead of swapping",
        "vllm/engine/arg_utils.py in the releases v0.1.7 and v0.11.1; vLLM issue 27984, PRs 36216 and 48549",
    ),
    noted(
        done(lever(EnforceEager, "--enforce-eager", Some("enforce_eager"), since(2, 6)), "False"),
        "",
        "vllm/engine/arg_utils.py in the releases v0.2.5, v0.2.6 and v0.32.0",
    ),
    noted(
        lever(
            UseV1,
            "VLLM_USE_V1",
            None,
            until(
                VersionRange {
                    since: Some(FirstVersion::AtLatest(VllmRelease::new(0, 6, 4))),
                    removed_in: None,
                },
                11,
                1,
            ),
        ),
        "1 by default from v0.8.0; from v0.11.1 on there is only the V1 engine",
        "vllm/envs.py in the releases v0.6.4, v0.11.0 and v0.11.1; vLLM RFC 18571, PR 28204",
    ),
    noted(
        done(lever(Quantization, "--quantization awq", Some("quantization"), since(2, 0)), ""),
        "needs weights that were quantized with AWQ; detected from the model's config since v0.3.0 at the latest",
        "vllm/engine/arg_utils.py in the releases v0.1.7, v0.2.0, v0.3.0 and v0.32.0",
    ),
    lever(TensorParallelSize, "--tensor-parallel-size", Some("tensor_parallel_size"), from_the_first()),
    noted(lever(NcclDebug, "NCCL_DEBUG=INFO", None, NOT_VLLMS), "logs which transport NCCL chose", NCCL),
    noted(
        lever(NcclP2pDisable, "NCCL_P2P_DISABLE", None, NOT_VLLMS),
        "1 forbids direct copies between GPUs: leave it unset where they work",
        NCCL,
    ),
];

impl Lever {
    /// The lever's row of the table.
    pub fn info(self) -> &'static LeverInfo {
        &LEVERS[self as usize]
    }
}

impl VersionRange {
    /// Whether `version` is in the range.
    pub fn availability(self, version: VllmRelease) -> Availability {
        match (self.since, self.removed_in) {
            (_, Some(removed)) if version >= removed => Availability::Gone,
            (Some(FirstVersion::In(since)), _) if version < since => Availability::NotYet,
            _ => Availability::Here,
        }
    }
}

impl fmt::Display for VersionRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.since {
            None => return f.write_str("with any version"),
            Some(FirstVersion::In(version)) => write!(f, "since {version}")?,
            Some(FirstVersion::AtLatest(version)) => write!(f, "since {version} or before")?,
        }
        match self.removed_in {
            Some(version) => write!(f, ", removed in {version}"),
            None => write!(f, ", still in {NEWEST_CHECKED}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_levers_and_each_has_a_source() {
        for (at, facts) in LEVERS.iter().enumerate() {
            assert_eq!(facts.lever as usize, at, "{}", facts.name);
            assert_eq!(facts.lever.info(), facts);
            assert!(!facts.source.is_empty(), "{}", facts.name);
        }
    }

    #[test]
    fn a_flag_is_there_from_its_first_release_until_it_is_removed() {
        let at = |lever: Lever, version: &str| lever.info().range.availability(version.parse().unwrap());
        assert_eq!(at(SwapSpace, "0.17.1"), Availability::Here);
        assert_eq!(at(SwapSpace, "0.18.0"), Availability::Gone);
        assert_eq!(at(SchedulerDelayFactor, "0.3.3"), Availability::NotYet);
        assert_eq!(at(SchedulerDelayFactor, "0.11.0"), Availability::Gone);
        assert_eq!(at(UseV1, "0.11.0"), Availability::Here);
        assert_eq!(at(UseV1, "0.11.1"), Availability::Gone);
        assert_eq!(at(KvCacheDtype, "0.3.0"), Availability::NotYet);
        assert_eq!(at(NcclDebug, "0.0.1"), Availability::Here);
        assert_eq!(
            at(MaxNumSeqs, "0.1.0"),
            Availability::Here,
            "releases before the oldest checked one are not ruled out"
        );
    }

    #[test]
    fn a_range_states_only_what_was_checked() {
        let range = |lever: Lever| lever.info().range.to_string();
        assert_eq!(range(ChunkedPrefill), "since v0.4.0, still in v0.32.0");
        assert_eq!(range(SwapSpace), "since v0.1.7 or before, removed in v0.18.0");
        assert_eq!(range(NcclDebug), "with any version");
    }
}
