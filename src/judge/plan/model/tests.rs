use super::*;
use crate::judge::plan::memory::{self, Memory, MemoryError};

const LLAMA_8B: &str = include_str!("../../../../tests/fixtures/models/llama-3-8b.json");
const LLAMA_70B: &str = include_str!("../../../../tests/fixtures/models/llama-3-70b.json");
const QWEN_7B: &str = include_str!("../../../../tests/fixtures/models/qwen2.5-7b.json");
const DEEPSEEK: &str = include_str!("../../../../tests/fixtures/models/deepseek-v3.json");
const GEMMA_4B: &str = include_str!("../../../../tests/fixtures/models/gemma-3-4b.json");
const GEMMA_27B: &str = include_str!("../../../../tests/fixtures/models/gemma-3-27b.json");

fn model(text: &str) -> Model {
    Model::from_json(Path::new("config.json"), text).unwrap()
}

fn error(text: &str) -> String {
    Model::from_json(Path::new("config.json"), text).unwrap_err().to_string()
}

/// A model's file with some fields changed or, with `null`, taken away.
fn changed(text: &str, fields: serde_json::Value) -> String {
    let mut config: serde_json::Value = serde_json::from_str(text).unwrap();
    for (name, value) in fields.as_object().unwrap() {
        config[name] = value.clone();
    }
    config.to_string()
}

#[test]
fn bytes_per_token_are_the_published_ones() {
    let cases = [
        // 128 KiB with 8 KV heads (all 32 heads would be 512 KiB): Llama 3's config, as in vLLM's and NVIDIA's examples.
        (LLAMA_8B, 128 * 1024),
        // 320 KiB: "Insights into DeepSeek-V3" (arXiv 2505.09343, table 1) has 327.680 KB for Qwen2.5-72B, whose layers, KV
        // heads and head size are the same.
        (LLAMA_70B, 327_680),
        // 56 KiB: 28 layers of 4 KV heads (Qwen2.5 technical report, arXiv 2412.15115, table 1).
        (QWEN_7B, 57_344),
        // 70.272 KB: arXiv 2505.09343, table 1.
        (DEEPSEEK, 70_272),
        // 62 layers of 16 KV heads of 128 (Gemma 3 report, arXiv 2503.19786, and the published config).
        (GEMMA_27B, 507_904),
    ];
    for (text, bytes) in cases {
        assert_eq!(model(text).bytes_per_token(2.0), bytes);
        assert_eq!(model(text).bytes_per_token(1.0), bytes / 2, "FP8 halves it");
    }
}

#[test]
fn gemma_3_of_4b_at_32k_is_what_its_report_says() {
    // arXiv 2503.19786, table 3: 8.0 GB of weights become 12.7 GB with the keys and values of 32,768 tokens.
    let gigabytes = model(GEMMA_4B).bytes_per_token(2.0) as f64 * 32_768.0 / 1e9;
    assert!((4.5..4.8).contains(&gigabytes), "{gigabytes}");
}

#[test]
fn parameters_are_the_published_ones() {
    let cases = [
        (LLAMA_8B, 8.03e9),
        (LLAMA_70B, 70.55e9),
        (QWEN_7B, 7.62e9),
        (DEEPSEEK, 671.0e9),
        // The report's table 1: 1,416 million of embeddings and 25,600 million of the rest.
        (GEMMA_27B, 27.016e9),
    ];
    for (text, published) in cases {
        let ratio = model(text).parameters().unwrap() as f64 / published;
        assert!((0.998..1.002).contains(&ratio), "{published}: {ratio}");
    }
}

#[test]
fn local_layers_keep_only_their_window() {
    let cost = model(GEMMA_27B).cost(2.0, 1).unwrap();
    let layer = 2.0 * 16.0 * 128.0 * 2.0;
    // Five local layers for each global one: 10 global ones in 62.
    assert_eq!((cost.full, cost.windowed, cost.window), (10.0 * layer, 52.0 * layer, 1024));
    assert_eq!(cost.held(32_768.0), (10.0 * 32_768.0 + 52.0 * 1024.0) * layer);
}

#[test]
fn windows_are_read_as_each_family_means_them() {
    let windows = |fields| {
        let layers = model(&changed(LLAMA_8B, fields)).layers;
        (layers.full, layers.windowed)
    };
    use serde_json::json;
    assert_eq!(windows(json!({ "model_type": "mistral", "sliding_window": 4096 })), (0, 32));
    assert_eq!(windows(json!({ "model_type": "mistral", "sliding_window": null })), (32, 0));
    assert_eq!(windows(json!({ "model_type": "gemma2", "sliding_window": 4096 })), (16, 16));
    assert_eq!(windows(json!({ "sliding_window": 4096, "use_sliding_window": false })), (32, 0));
    let some = json!({ "sliding_window": 4096, "use_sliding_window": true, "max_window_layers": 28 });
    assert_eq!(windows(some), (28, 4));
    let listed = json!({ "sliding_window": 128, "layer_types": ["sliding_attention", "full_attention", "linear_attention"] });
    assert_eq!(windows(listed), (1, 1));
}

#[test]
fn tensor_parallelism_divides_heads_but_never_a_head_or_a_latent() {
    let per_gpu = |text, tp| model(text).cost(2.0, tp).unwrap().full;
    assert_eq!(per_gpu(LLAMA_8B, 4), 32_768.0);
    assert_eq!(per_gpu(LLAMA_8B, 16), 16_384.0, "one KV head at least");
    assert_eq!(per_gpu(DEEPSEEK, 8), 70_272.0, "each GPU has the whole latent");
    let error = model(QWEN_7B).cost(2.0, 3).unwrap_err().to_string();
    assert!(error.starts_with("config.json: `num_attention_heads` is 28, which --tp 3"), "{error}");
}

#[test]
fn llama_3_8b_has_four_times_the_chapters_pool() {
    let memory = Memory { gpu: 80_000_000_000, tp: 1, utilization: 0.9, weights: None, reserved: 0 };
    let pool = memory::pool(&model(LLAMA_8B), memory, None, "config.json").unwrap();
    // The chapter: 56 GB at 0.5 MB a token are 110 thousand tokens.
    assert!((55.9e9..56.1e9).contains(&(pool.capacity as f64)), "{}", pool.capacity);
    assert!((425_000..428_000).contains(&pool.tokens()), "{}", pool.tokens());
}

#[test]
fn weights_that_do_not_fit_are_said_with_the_cure() {
    let memory = Memory { gpu: 80_000_000_000, tp: 1, utilization: 0.9, weights: None, reserved: 0 };
    let error = memory::pool(&model(LLAMA_70B), memory, None, "config.json").unwrap_err();
    assert!(matches!(error, MemoryError::NoRoom { weights: 141, taken: 72, .. }), "{error}");
    assert!(error.to_string().contains("raise --tp"), "{error}");
}

#[test]
fn quantised_weights_weigh_less() {
    use serde_json::json;
    let bytes = |fields| model(&changed(LLAMA_8B, fields)).weight_bytes().unwrap() as f64 / 1e9;
    let whole = bytes(json!({}));
    let awq =
        bytes(json!({ "quantization_config": { "quant_method": "awq", "bits": 4, "group_size": 128 } }));
    assert!((16.0..16.1).contains(&whole) && (5.6..5.8).contains(&awq), "{whole} {awq}");
    // 671 billion in FP8, of which the two tables of 129,280 × 7168 are in 16 bits.
    let deepseek = model(DEEPSEEK).weight_bytes().unwrap() as f64 / 1e9;
    assert!((672.5..673.5).contains(&deepseek), "{deepseek}");
}

#[test]
fn bad_configs_name_file_field_and_cure() {
    use serde_json::json;
    let cases = [
        ("{".to_owned(), "config.json is not a model's config"),
        ("[]".to_owned(), "config.json is not a model's config: it is no JSON object"),
        (
            changed(LLAMA_8B, json!({ "num_hidden_layers": null })),
            "config.json: `num_hidden_layers` is missing; add it",
        ),
        (
            changed(LLAMA_8B, json!({ "num_key_value_heads": "eight" })),
            "config.json: `num_key_value_heads` is \"eight\"",
        ),
        (changed(LLAMA_8B, json!({ "num_attention_heads": 0 })), "config.json: `num_attention_heads` is 0"),
        (changed(LLAMA_8B, json!({ "num_hidden_layers": -3 })), "config.json: `num_hidden_layers` is -3"),
        (changed(LLAMA_8B, json!({ "num_hidden_layers": 1e30 })), "config.json: `num_hidden_layers` is 1e"),
        (
            changed(LLAMA_8B, json!({ "hidden_size": 4095 })),
            "config.json: `head_dim` is missing and the heads",
        ),
        (changed(LLAMA_8B, json!({ "layer_types": ["magic"] })), "config.json: `layer_types` has \"magic\""),
        (changed(LLAMA_8B, json!({ "mamba_d_state": 16 })), "config.json: `mamba_d_state` says"),
        (
            changed(DEEPSEEK, json!({ "qk_rope_head_dim": null })),
            "config.json: `qk_rope_head_dim` is missing",
        ),
    ];
    for (text, expected) in cases {
        let error = error(&text);
        assert!(error.starts_with(expected) && error.contains("; "), "{expected}\n{error}");
        assert_eq!(error.lines().count(), 1);
    }
}

#[test]
fn weights_that_cannot_be_worked_out_are_asked_for() {
    use serde_json::json;
    let cases = [
        (json!({ "model_type": "opt" }), "`model_type` is opt"),
        (json!({ "intermediate_size": null }), "`intermediate_size` is missing"),
        (json!({ "quantization_config": { "quant_method": "new" } }), "`quantization_config` is {"),
        (json!({ "torch_dtype": "posit" }), "`torch_dtype` is posit"),
    ];
    for (fields, expected) in cases {
        let error = model(&changed(LLAMA_8B, fields)).weight_bytes().unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains("--weights-bytes"), "{error}");
    }
}
