//! What can be changed on a vLLM server, and in which versions that exists: one table.

use std::fmt;

use serde::Serialize;

use super::version::Version;
use Lever::{
    ChunkedPrefill, EnforceEager, GpuMemoryUtilization, KvCacheDtype, MaxModelLen, MaxNumBatchedTokens,
    MaxNumSeqs, NcclDebug, NcclP2pDisable, PrefixCaching, Quantization, SchedulerDelayFactor, SwapSpace,
    TensorParallelSize, UseV1,
};

/// Something to change on a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each has its name and what is to be known of it in the table")]
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
pub struct LeverFacts {
    /// The lever.
    pub lever: Lever,
    /// As it is written on the command line or in the environment.
    pub name: &'static str,
    /// What vLLM calls it in its log and in `vllm:cache_config_info`; `None` where it tells nothing of it.
    pub setting: Option<&'static str>,
    /// How the setting begins where there is nothing left to change; none where that depends.
    pub done: Option<&'static str>,
    /// Whether the V1 engine has it so without being told.
    pub in_v1: bool,
    /// In which versions it exists.
    pub range: Range,
    /// What else is to be known; may be empty.
    pub note: &'static str,
    /// Where that is from.
    pub source: &'static str,
}

/// In which versions of vLLM something exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Range {
    /// `None`: it is not vLLM's, and does not depend on its version.
    pub since: Option<Since>,
    /// The first version without it; `None` if the newest one that was looked at has it.
    pub removed_in: Option<Version>,
}

/// From when on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Since {
    /// The release before has it not.
    In(Version),
    /// The oldest release that was looked at has it.
    AtLatest(Version),
}

/// Whether a version has something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Availability {
    /// It has it.
    Here,
    /// A newer one has it.
    NotYet,
    /// Only older ones have it.
    Gone,
}

/// The newest release that was looked at.
pub const NEWEST: Version = Version::new(0, 32, 0);

/// The first release whose default is the V1 engine.
pub const V1_BY_DEFAULT: Version = Version::new(0, 8, 0);

/// The first release that has no V0 engine to choose.
pub const V1_ONLY: Version = Version::new(0, 11, 1);

const FIRST: Since = Since::AtLatest(Version::new(0, 1, 7));

const fn since(minor: u16, patch: u16) -> Range {
    Range { since: Some(Since::In(Version::new(0, minor, patch))), removed_in: None }
}

const fn from_the_first() -> Range {
    Range { since: Some(FIRST), removed_in: None }
}

const fn until(range: Range, minor: u16, patch: u16) -> Range {
    Range { removed_in: Some(Version::new(0, minor, patch)), ..range }
}

const NOT_VLLMS: Range = Range { since: None, removed_in: None };

const ARGS_FROM_FIRST: &str = "vllm/engine/arg_utils.py in the releases v0.1.7 and v0.32.0";
const ARGS_0_4: &str =
    "vllm/engine/arg_utils.py in the releases v0.3.3, v0.4.0 and v0.32.0; default: vLLM's V1 guide";
const NCCL: &str = "NVIDIA's NCCL documentation, Environment Variables";

const fn lever(lever: Lever, name: &'static str, setting: Option<&'static str>, range: Range) -> LeverFacts {
    LeverFacts { lever, name, setting, done: None, in_v1: false, range, note: "", source: ARGS_FROM_FIRST }
}

const fn done(facts: LeverFacts, done: &'static str) -> LeverFacts {
    LeverFacts { done: Some(done), ..facts }
}

const fn in_v1(facts: LeverFacts) -> LeverFacts {
    LeverFacts { in_v1: true, ..done(facts, "True") }
}

const fn noted(facts: LeverFacts, note: &'static str, source: &'static str) -> LeverFacts {
    LeverFacts { note, source, ..facts }
}

/// All levers, in the order of [`Lever`].
pub const LEVERS: [LeverFacts; 15] = [
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
        "the V1 engine never had it: --max-num-batched-tokens says how much prefill a step takes",
        "vllm/engine/arg_utils.py in the releases v0.3.3, v0.4.0, v0.6.4 and v0.11.0; vLLM PR 25334",
    ),
    noted(
        lever(SwapSpace, "--swap-space", Some("swap_space"), until(from_the_first(), 18, 0)),
        "without effect in the V1 engine (the default from v0.8.0), which computes again instead of swapping",
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
            until(Range { since: Some(Since::AtLatest(Version::new(0, 6, 4))), removed_in: None }, 11, 1),
        ),
        "1 by default from v0.8.0; from v0.11.1 on there is only the V1 engine",
        "vllm/envs.py in the releases v0.6.4, v0.11.0 and v0.11.1; vLLM RFC 18571, PR 28204",
    ),
    noted(
        done(lever(Quantization, "--quantization awq", Some("quantization"), since(2, 0)), ""),
        "needs weights that were quantised with AWQ; found by itself from the model's config since v0.3.0 at the latest",
        "vllm/engine/arg_utils.py in the releases v0.1.7, v0.2.0, v0.3.0 and v0.32.0",
    ),
    lever(TensorParallelSize, "--tensor-parallel-size", Some("tensor_parallel_size"), from_the_first()),
    noted(lever(NcclDebug, "NCCL_DEBUG=INFO", None, NOT_VLLMS), "tells which transport NCCL chose", NCCL),
    noted(
        lever(NcclP2pDisable, "NCCL_P2P_DISABLE", None, NOT_VLLMS),
        "1 forbids direct copies between GPUs: leave it unset where they work",
        NCCL,
    ),
];

impl Lever {
    /// Its row of the table.
    pub fn facts(self) -> &'static LeverFacts {
        &LEVERS[self as usize]
    }
}

impl Range {
    /// Whether a version lies in it.
    pub fn at(self, version: Version) -> Availability {
        match (self.since, self.removed_in) {
            (_, Some(removed)) if version >= removed => Availability::Gone,
            (Some(Since::In(since)), _) if version < since => Availability::NotYet,
            _ => Availability::Here,
        }
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.since {
            None => return f.write_str("with any version"),
            Some(Since::In(version)) => write!(f, "since {version}")?,
            Some(Since::AtLatest(version)) => write!(f, "since {version} or before")?,
        }
        match self.removed_in {
            Some(version) => write!(f, ", removed in {version}"),
            None => write!(f, ", still in {NEWEST}"),
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
            assert_eq!(facts.lever.facts(), facts);
            assert!(!facts.source.is_empty(), "{}", facts.name);
        }
    }

    #[test]
    fn a_flag_is_there_from_its_first_release_until_it_is_removed() {
        let at = |lever: Lever, version: &str| lever.facts().range.at(version.parse().unwrap());
        assert_eq!(at(SwapSpace, "0.17.1"), Availability::Here);
        assert_eq!(at(SwapSpace, "0.18.0"), Availability::Gone);
        assert_eq!(at(SchedulerDelayFactor, "0.3.3"), Availability::NotYet);
        assert_eq!(at(SchedulerDelayFactor, "0.11.0"), Availability::Gone);
        assert_eq!(at(UseV1, "0.11.0"), Availability::Here);
        assert_eq!(at(UseV1, "0.11.1"), Availability::Gone);
        assert_eq!(at(KvCacheDtype, "0.3.0"), Availability::NotYet);
        assert_eq!(at(NcclDebug, "0.0.1"), Availability::Here);
        assert_eq!(at(MaxNumSeqs, "0.1.0"), Availability::Here, "nobody looked, so nobody denies it");
    }

    #[test]
    fn a_range_is_told_with_what_is_sure() {
        let told = |lever: Lever| lever.facts().range.to_string();
        assert_eq!(told(ChunkedPrefill), "since v0.4.0, still in v0.32.0");
        assert_eq!(told(SwapSpace), "since v0.1.7 or before, removed in v0.18.0");
        assert_eq!(told(NcclDebug), "with any version");
    }
}
