//! Tests the division of a GPU's memory, and the KV pool.

use super::*;
use crate::analysis::plan::gpus::Gpu;
use crate::analysis::plan::memory::{self, GpuSetup, MemoryError, WeightsSource};
use crate::analysis::plan::vllm_version::VllmVersion;

fn memory(gpu: Gpu) -> GpuSetup {
    GpuSetup {
        gpu,
        tp: 1,
        utilization: None,
        weights: WeightsSource::Estimated,
        reserved: Some(0),
        max_num_seqs: None,
        max_num_batched_tokens: None,
        enforce_eager: false,
        version: "0.10.2".parse().unwrap(),
        kv_type: None,
    }
}

#[test]
fn llama_3_8b_has_four_times_the_operators_guides_pool() {
    let memory = memory(Gpu::from_memory(80_000_000_000));
    let pool = memory::gpu_pool(&model(LLAMA_8B), &memory, "config.json").unwrap();
    // The operators' guide: 56 GB at 0.5 MB per token hold 110 thousand tokens.
    assert!((55.9e9..56.1e9).contains(&(pool.capacity as f64)), "{}", pool.capacity);
    assert!((425_000..428_000).contains(&pool.tokens().unwrap()), "{:?}", pool.tokens());
}

#[test]
fn weights_that_do_not_fit_are_said_with_the_cure() {
    let error = memory::gpu_pool(&model(LLAMA_70B), &memory(Gpu::from_memory(80_000_000_000)), "config.json")
        .unwrap_err();
    assert!(matches!(error, MemoryError::NoRoom { weights: 141, taken: 72, .. }), "{error}");
    assert!(error.to_string().contains("raise `plan.tp`"), "{error}");
}

/// B01 as reported: 52 GB hold 584 requests of 1,200 tokens, not 2,115.
#[test]
fn states_bound_the_concurrency() {
    let config = json!({ "model_type": "qwen3_5_moe_text", "hidden_size": 2048, "num_hidden_layers": 40, "num_attention_heads": 16,
        "num_key_value_heads": 2, "head_dim": 256, "linear_num_key_heads": 16, "linear_num_value_heads": 32,
        "linear_key_head_dim": 128, "linear_value_head_dim": 128, "linear_conv_kernel_dim": 4, "full_attention_interval": 4 });
    let memory = GpuSetup {
        weights: WeightsSource::Given(20_000_000_000),
        ..memory(Gpu::from_memory(80_000_000_000))
    };
    let pool = memory::gpu_pool(&of(&config), &memory, "config.json").unwrap();
    assert_eq!((pool.capacity as f64 / pool.request_cost(1200.0)) as u64, 584);
}

#[test]
fn versions_have_their_own_defaults() {
    let version = |text: &str| text.parse::<VllmVersion>().unwrap();
    let shares = ["0.6.4", "v0.19.1rc1.dev329", "0.20.0", "0.31"].map(|text| version(text).utilization());
    assert_eq!(shares, [0.90, 0.90, 0.92, 0.92]);
    assert!(!version("0.20.2").includes_cuda_graphs() && version("0.21").includes_cuda_graphs());
    let seqs = |card: &str| version("0.11.0").max_num_seqs(Gpu::from_name(card).unwrap().is_large_memory());
    assert_eq!((seqs("H100"), seqs("NVIDIA H200"), seqs("A100"), seqs("l40s")), (1024, 1024, 256, 256));
    let of_gib = |gib: f64| {
        version("0.11.0").max_num_seqs(Gpu::from_memory((gib * f64::from(1 << 30)) as u64).is_large_memory())
    };
    // The memory of an A100, and a value that no known card has.
    assert_eq!((of_gib(79.25), of_gib(79.22)), (256, 1024));
    assert!("latest".parse::<VllmVersion>().is_err());
    assert!(Gpu::from_name("H1000").unwrap_err().contains("H100"));
}

/// A start whose log somebody published.
struct Published {
    config: &'static str,
    card: &'static str,
    tp: u64,
    version: &'static str,
    seqs: Option<u64>,
    tokens: Option<u64>,
    /// The memory of each GPU's pool, in GiB.
    pool: f64,
}

macro_rules! published {
    ($config:literal, $card:literal, $tp:literal, $version:literal, $seqs:expr, $tokens:expr, $pool:literal) => {
        Published {
            config: include_str!(concat!("../../../../../tests/fixtures/models/", $config, ".json")),
            card: $card,
            tp: $tp,
            version: $version,
            seqs: $seqs,
            tokens: $tokens,
            pool: $pool,
        }
    };
}

/// The pools of published start-up logs of vLLM's V1 engine, with the flags that they state; docs/capacity.md lists the
/// logs.
const PUBLISHED: [Published; 9] = [
    published!("llama-3-8b", "A100", 1, "0.31.0", None, None, 56.21),
    published!("qwen3-vl-30b-a3b", "H100 NVL", 1, "0.13.0", None, Some(8192), 19.4),
    published!("qwen3.5-9b", "L40S", 1, "0.19.0", None, Some(8192), 20.27),
    published!("qwen2.5-14b", "MI300X", 2, "0.9.2", None, Some(8192), 151.25),
    published!("gemma-4-26b-a4b", "A100", 1, "0.19.0", None, None, 21.5),
    published!("qwen2.5-vl-7b", "L4", 2, "0.10.0", None, None, 10.04),
    published!("llama-2-7b", "H100", 1, "0.15.1", Some(128), Some(2048), 58.30),
    published!("mixtral-8x7b", "H100", 2, "0.15.1", Some(128), Some(2048), 26.87),
    published!("gemma-3-27b", "MI300X", 1, "0.11.0", None, Some(8192), 109.86),
];

#[test]
fn published_pools_are_met() {
    for case in PUBLISHED {
        let memory = GpuSetup {
            tp: case.tp,
            reserved: None,
            max_num_seqs: case.seqs,
            max_num_batched_tokens: case.tokens,
            version: case.version.parse().unwrap(),
            ..memory(Gpu::from_name(case.card).unwrap())
        };
        let pool = memory::gpu_pool(&model(case.config), &memory, "config.json").unwrap();
        let gib = pool.capacity as f64 / f64::from(1 << 30);
        let off = gib / case.pool - 1.0;
        assert!(off.abs() < 0.05, "{}: {gib:.2} against {}: {:#?}", case.card, case.pool, pool.memory);
    }
}
