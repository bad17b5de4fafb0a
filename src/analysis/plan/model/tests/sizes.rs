//! Tests the numbers of parameters and the sizes of weights.

use super::*;

fn bytes_per_token(text: &str, kv: KvType) -> f64 {
    model(text).kv_cost(kv, 1).unwrap().per_token()
}

#[test]
fn bytes_per_token_are_the_published_ones() {
    let cases = [
        // 128 KiB with 8 KV heads (all 32 heads would be 512 KiB): Llama 3's config, as in vLLM's and NVIDIA's examples.
        (LLAMA_8B, 128 * 1024),
        // 320 KiB: "Insights into DeepSeek-V3" (arXiv 2505.09343, table 1) states 327.680 KB for Qwen2.5-72B, which has
        // the same number of layers, KV heads and head size.
        (LLAMA_70B, 327_680),
        // 56 KiB: 28 layers of 4 KV heads (Qwen2.5 technical report, arXiv 2412.15115, table 1).
        (QWEN_7B, 57_344),
        // 70.272 KB: arXiv 2505.09343, table 1.
        (DEEPSEEK, 70_272),
        // 62 layers of 16 KV heads of 128 (Gemma 3 report, arXiv 2503.19786, and the published config).
        (GEMMA_27B, 507_904),
    ];
    for (text, bytes) in cases {
        assert_eq!(bytes_per_token(text, KvType::Half), f64::from(bytes));
        assert_eq!(bytes_per_token(text, KvType::Byte), f64::from(bytes) / 2.0, "FP8 halves it");
    }
}

#[test]
fn gemma_3_of_4b_at_32k_is_what_its_report_says() {
    // arXiv 2503.19786, table 3: 8.0 GB of weights become 12.7 GB with the keys and values of 32,768 tokens.
    let gigabytes = bytes_per_token(GEMMA_4B, KvType::Half) * 32_768.0 / 1e9;
    assert!((4.5..4.8).contains(&gigabytes), "{gigabytes}");
}

#[test]
fn local_layers_keep_only_their_window() {
    let cost = model(GEMMA_27B).kv_cost(KvType::Half, 1).unwrap();
    let layer = 2.0 * 16.0 * 128.0 * 2.0;
    // Five local layers for each global one: 10 global ones in 62.
    assert_eq!((cost.full, cost.windowed, cost.window), (10.0 * layer, 52.0 * layer, 1024));
    assert_eq!(cost.request_cost(32_768.0), (10.0 * 32_768.0 + 52.0 * 1024.0) * layer);
}

/// Published parameter counts and file sizes, in billions, from model cards and the indices of the files.
#[test]
fn parameters_and_bytes_are_the_published_ones() {
    let fixture = |text: &'static str| text;
    let cases = [
        (LLAMA_8B, 8.03, Some(16.06)),
        (LLAMA_70B, 70.55, Some(141.1)),
        (QWEN_7B, 7.62, Some(15.23)),
        // 671 billion in FP8, except the two tables of 129,280 × 7168, which are in 16 bits.
        (DEEPSEEK, 671.0, Some(673.0)),
        // The report's table 1: 1,416 million for embeddings and 25,600 million for the rest; 27.43 billion with the
        // vision part.
        (GEMMA_27B, 27.016, Some(54.86)),
        (fixture(include_str!("../../../../../tests/fixtures/models/qwen2.5-14b.json")), 14.77, Some(29.54)),
        (fixture(include_str!("../../../../../tests/fixtures/models/llama-2-7b.json")), 6.738, Some(13.48)),
        (fixture(include_str!("../../../../../tests/fixtures/models/mixtral-8x7b.json")), 46.70, Some(93.4)),
        (
            fixture(include_str!("../../../../../tests/fixtures/models/mistral-nemo-12b.json")),
            12.25,
            Some(24.5),
        ),
        (fixture(include_str!("../../../../../tests/fixtures/models/gpt-oss-120b.json")), 116.8, Some(65.25)),
        // B27: 3.403 billion, one table at both ends.
        (
            fixture(include_str!("../../../../../tests/fixtures/models/granite-4-micro.json")),
            3.403,
            Some(6.81),
        ),
    ];
    for (text, parameters, gigabytes) in cases {
        let model = model(text);
        let ratio = model.parameters().unwrap() as f64 / 1e9 / parameters;
        assert!((0.99..1.01).contains(&ratio), "{parameters}: {ratio}");
        if let Some(gigabytes) = gigabytes {
            let ratio = model.weight_bytes().unwrap() as f64 / 1e9 / gigabytes;
            assert!((0.99..1.01).contains(&ratio), "{gigabytes} GB: {ratio}");
        }
    }
}

/// Sparse and hybrid models with their public configs, compared with the counts of their cards, in billions.
#[test]
fn experts_states_and_gates_are_counted() {
    let qwen_3 = json!({ "model_type": "qwen3_moe", "hidden_size": 2048, "num_hidden_layers": 48, "num_attention_heads": 32,
        "num_key_value_heads": 4, "head_dim": 128, "intermediate_size": 6144, "num_experts": 128, "num_experts_per_tok": 8,
        "moe_intermediate_size": 768, "mlp_only_layers": [], "decoder_sparse_step": 1, "vocab_size": 151_936 });
    let maverick = json!({ "model_type": "llama4", "text_config": { "model_type": "llama4_text", "hidden_size": 5120,
        "num_hidden_layers": 48, "num_attention_heads": 40, "num_key_value_heads": 8, "head_dim": 128,
        "attention_chunk_size": 8192, "intermediate_size": 8192, "intermediate_size_mlp": 16_384, "num_local_experts": 128,
        "num_experts_per_tok": 1, "interleave_moe_layer_step": 2, "vocab_size": 202_048 } });
    // Feed-forward layers without a gate (relu2): with three matrices the count would be 42 billion.
    let nemotron = json!({ "model_type": "nemotron_h", "num_hidden_layers": 52, "hidden_size": 2688,
        "hybrid_override_pattern": "MEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEMEM*EMEMEMEME", "num_attention_heads": 32,
        "num_key_value_heads": 2, "head_dim": 128, "mamba_num_heads": 64, "mamba_head_dim": 64, "ssm_state_size": 128,
        "n_groups": 8, "conv_kernel": 4, "n_routed_experts": 128, "n_shared_experts": 1, "moe_intermediate_size": 1856,
        "moe_shared_expert_intermediate_size": 3712, "mlp_hidden_act": "relu2", "vocab_size": 131_072 });
    let minitron = json!({ "model_type": "nemotron", "hidden_size": 3072, "intermediate_size": 9216, "num_hidden_layers": 32,
        "num_attention_heads": 24, "num_key_value_heads": 8, "head_dim": 128, "hidden_act": "relu2", "vocab_size": 256_000,
        "tie_word_embeddings": false });
    let starcoder = json!({ "model_type": "starcoder2", "hidden_size": 3072, "intermediate_size": 12_288, "num_hidden_layers": 30,
        "num_attention_heads": 24, "num_key_value_heads": 2, "hidden_act": "gelu_pytorch_tanh", "sliding_window": 4096,
        "vocab_size": 49_152 });
    let gemma_4: Value =
        serde_json::from_str(include_str!("../../../../../tests/fixtures/models/gemma-4-26b-a4b.json"))
            .unwrap();
    let qwen_35: Value =
        serde_json::from_str(include_str!("../../../../../tests/fixtures/models/qwen3.5-9b.json")).unwrap();
    let glm = json!({ "model_type": "glm_moe_dsa", "num_hidden_layers": 78, "num_attention_heads": 64, "hidden_size": 6144,
        "kv_lora_rank": 512, "q_lora_rank": 2048, "qk_nope_head_dim": 192, "qk_rope_head_dim": 64, "v_head_dim": 256,
        "index_head_dim": 128, "index_n_heads": 32, "first_k_dense_replace": 3, "intermediate_size": 12_288,
        "moe_intermediate_size": 2048, "n_routed_experts": 256, "n_shared_experts": 1, "vocab_size": 154_880 });
    let cases = [
        ("Qwen3-30B-A3B", qwen_3, 30.53),
        ("Llama-4-Maverick without vision", maverick, 400.0),
        ("Nemotron-3-Nano", nemotron, 31.58),
        ("Minitron-4B", minitron, 4.19),
        ("StarCoder2-3B", starcoder, 3.03),
        ("Gemma-4-26B-A4B without vision", gemma_4, 25.2),
        ("Qwen3.5-9B without vision", qwen_35, 8.95),
        ("GLM-5", glm, 744.0),
    ];
    for (name, config, parameters) in cases {
        let ratio = of(&config).parameters().unwrap() as f64 / 1e9 / parameters;
        assert!((0.99..1.01).contains(&ratio), "{name}: {ratio}");
    }
}

/// Schemes as in public checkpoints of 8 billion parameters: 6.98 billion are in linear layers, and 1.05 billion in the
/// tables.
#[test]
fn quantized_weights_weigh_less() {
    let linear = 6.979_321_856;
    let tables = 2.101_346_304;
    let group = |bits: u32, kind: &str, size: Value| json!({ "targets": ["Linear"], "weights": { "num_bits": bits, "type": kind, "group_size": size, "symmetric": true } });
    let compressed = |group: Value, ignore: Value| json!({ "quant_method": "compressed-tensors", "config_groups": { "group_0": group }, "ignore": ignore });
    let queries = 32.0 * 4096.0 * 4096.0 / 1e9;
    let bf16_queries = |bits: f64| (linear - queries) * bits / 8.0 + queries * 2.0;
    let q_proj: Vec<String> = (0..32).map(|place| format!("model.layers.{place}.self_attn.q_proj")).collect();
    let mixed: serde_json::Map<String, Value> = (0..32)
        .map(|place| {
            (
                format!("model.language_model.layers.{place}.mlp.up_proj"),
                json!({ "quant_algo": "NVFP4", "group_size": 16 }),
            )
        })
        .collect();
    let mlp = 32.0 * 3.0 * 4096.0 * 14_336.0 / 1e9;
    let cases = [
        (json!({ "quant_method": "awq", "bits": 4, "group_size": 128 }), linear * (4.0 + 20.0 / 128.0) / 8.0),
        (json!({ "quant_method": "gptq", "bits": 8, "group_size": -1 }), linear),
        (
            json!({ "quant_method": "fp8", "weight_block_size": [128, 128] }),
            linear * (8.0 + 32.0 / 16_384.0) / 8.0,
        ),
        (compressed(group(8, "float", json!(null)), json!(["lm_head"])), linear),
        (compressed(group(4, "int", json!(32)), json!(["lm_head"])), linear * 4.5 / 8.0),
        (compressed(group(4, "float", json!(16)), json!(["lm_head"])), linear * 4.5 / 8.0),
        (
            compressed(group(4, "float", json!(16)), json!(["lm_head", "re:.*self_attn.q_proj.*"])),
            bf16_queries(4.5),
        ),
        (compressed(group(4, "float", json!(16)), json!(q_proj)), bf16_queries(4.5)),
        (
            json!({ "quant_method": "modelopt", "quant_algo": "NVFP4", "exclude_modules": ["lm_head", "*.q_proj"] }),
            bf16_queries(4.5),
        ),
        (
            json!({ "quant_method": "modelopt", "quant_algo": "MIXED_PRECISION", "quantized_layers": mixed }),
            (linear - mlp) * 2.0 + mlp * 4.5 / 8.0,
        ),
        (json!({ "quant_method": "bitsandbytes", "load_in_4bit": true }), linear * 4.5 / 8.0),
        // In the MX format only the experts have 4-bit floats, and this model has no experts.
        (json!({ "quant_method": "mxfp4" }), linear * 2.0),
    ];
    for (scheme, gigabytes) in cases {
        let text = changed(LLAMA_8B, &json!({ "quantization_config": scheme }));
        let bytes = model(&text).weight_bytes().unwrap() as f64 / 1e9;
        assert!(
            (bytes / (gigabytes + tables) - 1.0).abs() < 1e-4,
            "{bytes} against {}: {text}",
            gigabytes + tables
        );
    }
    let same = ModelArchitecture::from_json(
        Path::new("config.json"),
        LLAMA_8B,
        Some(&json!({ "quantization": { "quant_algo": "FP8" } }).to_string()),
    );
    assert!((same.unwrap().weight_bytes().unwrap() as f64 / 1e9 / (linear + tables) - 1.0).abs() < 1e-4);
}

#[test]
fn an_index_tells_the_exact_size() {
    let read = |text: &str| weights::indexed_bytes(Path::new("index.json"), text);
    assert_eq!(read(r#"{"metadata": {"total_size": 16060522496}}"#), Ok(16_060_522_496));
    assert_eq!(read(r#"{"metadata": {"total_size": 16060522496.0}}"#), Ok(16_060_522_496));
    assert_eq!(read(r#"{"metadata": {"total_size": "16060522496"}}"#), Ok(16_060_522_496));
    for text in [
        "",
        "{}",
        r#"{"metadata": {}}"#,
        r#"{"metadata": {"total_size": -1}}"#,
        r#"{"metadata": {"total_size": []}}"#,
    ] {
        let error = read(text).unwrap_err().to_string();
        assert!(error.starts_with("index.json: `metadata") && error.contains("`plan.weights`"), "{error}");
    }
}
