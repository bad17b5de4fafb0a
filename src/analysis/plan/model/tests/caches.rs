//! Tests what each layer keeps.

use super::*;

fn qwen_35(more: &Value) -> Value {
    let own = json!({ "model_type": "qwen3_5_moe_text", "hidden_size": 2048, "num_hidden_layers": 40, "num_attention_heads": 16,
        "num_key_value_heads": 2, "head_dim": 256, "linear_num_key_heads": 16, "linear_num_value_heads": 32,
        "linear_key_head_dim": 128, "linear_value_head_dim": 128, "linear_conv_kernel_dim": 4, "vocab_size": 248_320 });
    let text: Value = serde_json::from_str(&changed(&own.to_string(), more)).unwrap();
    json!({ "model_type": "qwen3_5_moe", "vision_config": {}, "text_config": text })
}

fn mimo(window: &Value) -> Value {
    // 9 of 48 layers are full.
    let pattern: Vec<u8> = (0..48).map(|place| u8::from(place != 0 && (place + 1) % 6 != 0)).collect();
    json!({ "model_type": "mimo_v2_flash", "num_hidden_layers": 48, "hybrid_layer_pattern": pattern, "hidden_size": 4096,
        "num_attention_heads": 64, "num_key_value_heads": 4, "head_dim": 192, "v_head_dim": 128, "swa_num_attention_heads": 64,
        "swa_num_key_value_heads": 8, "swa_head_dim": 192, "swa_v_head_dim": 128, "sliding_window": window,
        "sliding_window_size": 128, "attention_chunk_size": 128, "add_swa_attention_sink_bias": true })
}

fn gemma_4(shared: u64) -> Value {
    json!({ "model_type": "gemma4", "text_config": { "model_type": "gemma4_text", "hidden_size": 3840, "num_hidden_layers": 48,
        "num_attention_heads": 16, "num_key_value_heads": 8, "num_global_key_value_heads": 1, "head_dim": 256,
        "global_head_dim": 512, "attention_k_eq_v": true, "num_kv_shared_layers": shared, "sliding_window": 1024,
        "layer_types": every(48, 6, "full_attention", "sliding_attention") } })
}

/// B01, B03, B10, B11, B12, B26, B27 and B28 of the fault table, with their public configs.
#[test]
fn public_reports_have_their_right_values() {
    let states = 64_389_120.0;
    let kimi_full: Vec<u64> = (1..=93).filter(|place| place % 4 == 0 || *place == 93).collect();
    let kimi_rest: Vec<u64> = (1..=93).filter(|place| place % 4 != 0 && *place != 93).collect();
    let kimi = json!({ "model_type": "kimi_k3", "text_config": { "model_type": "kimi_linear", "num_hidden_layers": 93,
        "num_attention_heads": 96, "num_key_value_heads": 96, "hidden_size": 7168, "kv_lora_rank": 512, "qk_rope_head_dim": 64,
        "linear_attn_config": { "full_attn_layers": kimi_full, "kda_layers": kimi_rest, "num_heads": 96, "head_dim": 128,
            "short_conv_kernel_size": 4 } } });
    let minimax_flags: Vec<u8> = (0..80).map(|place| u8::from((place + 1) % 8 == 0)).collect();
    let minimax = json!({ "model_type": "minimax_m1", "num_hidden_layers": 80, "attn_type_list": minimax_flags,
        "hidden_size": 6144, "num_attention_heads": 64, "num_key_value_heads": 8, "head_dim": 128,
        "layernorm_full_attention_alpha": 3.55 });
    let gemma_3n = json!({ "model_type": "gemma3n", "text_config": { "model_type": "gemma3n_text", "hidden_size": 2048,
        "num_hidden_layers": 35, "num_attention_heads": 8, "num_key_value_heads": 2, "head_dim": 256,
        "num_kv_shared_layers": 15, "sliding_window": 512, "activation_sparsity_pattern": [0.95, 0.0],
        "layer_types": every(35, 5, "full_attention", "sliding_attention") } });
    let block =
        |group: Value, no_op: bool| json!({ "attention": { "n_heads_in_group": group, "no_op": no_op } });
    let blocks = json!([
        block(json!(8), false),
        block(json!(null), true),
        block(json!(8), false),
        block(json!(null), true)
    ]);
    let nas = json!({ "model_type": "nemotron-nas", "num_hidden_layers": 4, "hidden_size": 8192, "num_attention_heads": 64,
        "num_key_value_heads": null, "block_configs": blocks });
    let granite = json!({ "model_type": "granitemoehybrid", "num_hidden_layers": 40, "layer_types": vec!["attention"; 40],
        "hidden_size": 2560, "num_attention_heads": 40, "num_key_value_heads": 8, "num_local_experts": 0,
        "mamba_d_state": 256 });
    let nemotron = json!({ "model_type": "nemotron_h", "num_hidden_layers": 52,
        "hybrid_override_pattern": "MEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEMEM*EMEMEMEME", "hidden_size": 2688,
        "num_attention_heads": 32, "num_key_value_heads": 2, "head_dim": 128, "mamba_num_heads": 64, "mamba_head_dim": 64,
        "ssm_state_size": 128, "n_groups": 8, "conv_kernel": 4, "n_routed_experts": 128 });
    let mamba = 23.0 * (4096.0 * 128.0 * 2.0 + (4096.0 + 2.0 * 8.0 * 128.0) * 3.0 * 2.0);
    let delta = 69.0 * (96.0 * 128.0 * 128.0 * 4.0 + 3.0 * 96.0 * 128.0 * 3.0 * 2.0);
    let cases = [
        ("B01", qwen_35(&json!({ "full_attention_interval": 4 })), (20_480.0, 0.0, 0, states)),
        ("B03", mimo(&json!(128)), (23_040.0, 199_680.0, 128, 0.0)),
        ("B10 Kimi", kimi, (27_648.0, 0.0, 0, delta)),
        ("B10 MiniMax", minimax, (40_960.0, 0.0, 0, 70.0 * 64.0 * 128.0 * 128.0 * 2.0)),
        ("B11", gemma_4(0), (16_384.0, 327_680.0, 1024, 0.0)),
        ("B12", gemma_3n, (8_192.0, 32_768.0, 512, 0.0)),
        ("B26", nas, (8_192.0, 0.0, 0, 0.0)),
        ("B27", granite, (81_920.0, 0.0, 0, 0.0)),
        ("B28", nemotron, (6_144.0, 0.0, 0, mamba)),
    ];
    for (name, config, expected) in cases {
        assert_eq!(kept(&of(&config)), expected, "{name}");
    }
}

/// Relatives of K1 and K2, from public configs on Hugging Face where no other source is named.
#[test]
fn layers_with_states_are_read_wherever_models_say_them() {
    let qwen_listed = qwen_35(&json!({ "layer_types": every(40, 4, "full_attention", "linear_attention") }));
    let qwen_half = qwen_35(&json!({ "full_attention_interval": 4, "mamba_ssm_dtype": "bfloat16" }));
    let qwen_next = json!({ "model_type": "qwen3_next", "num_hidden_layers": 48, "full_attention_interval": 4,
        "hidden_size": 2048, "num_attention_heads": 16, "num_key_value_heads": 2, "head_dim": 256, "linear_num_key_heads": 16,
        "linear_num_value_heads": 32, "linear_key_head_dim": 128, "linear_value_head_dim": 128, "linear_conv_kernel_dim": 4 });
    // ibm-granite/granite-4.0-h-small.
    let types: Vec<&str> =
        (0..40).map(|place| if [5, 15, 25, 35].contains(&place) { "attention" } else { "mamba" }).collect();
    let granite = json!({ "model_type": "granitemoehybrid", "num_hidden_layers": 40, "layer_types": types,
        "hidden_size": 4096, "num_attention_heads": 32, "num_key_value_heads": 8, "mamba_n_heads": 128, "mamba_d_head": 64,
        "mamba_d_state": 128, "mamba_n_groups": 1, "mamba_d_conv": 4, "mamba_expand": 2, "mamba_chunk_size": 256 });
    // LiquidAI/LFM2-350M.
    let lfm2 = json!({ "model_type": "lfm2", "hidden_size": 1024, "num_hidden_layers": 16, "num_attention_heads": 16,
        "num_key_value_heads": 8, "conv_L_cache": 3, "conv_bias": false, "full_attn_idxs": [2, 5, 8, 10, 12, 14] });
    // ai21labs/AI21-Jamba-Mini-1.6.
    let jamba = json!({ "model_type": "jamba", "num_hidden_layers": 32, "hidden_size": 4096, "num_attention_heads": 32,
        "num_key_value_heads": 8, "attn_layer_period": 8, "attn_layer_offset": 4, "mamba_d_state": 16, "mamba_d_conv": 4,
        "mamba_expand": 2, "mamba_dt_rank": 256, "mamba_conv_bias": true, "use_mamba_kernels": true });
    // ibm-ai-platform/Bamba-9B.
    let bamba = json!({ "model_type": "bamba", "num_hidden_layers": 32, "attn_layer_indices": [9, 18, 27], "hidden_size": 4096,
        "num_attention_heads": 32, "num_key_value_heads": 8, "mamba_n_heads": 128, "mamba_d_head": "auto", "mamba_d_state": 128,
        "mamba_n_groups": 1, "mamba_d_conv": 4, "mamba_expand": 2 });
    // tiiuae/Falcon-H1-7B-Instruct: attention and Mamba 2 side by side.
    let falcon_h1 = json!({ "model_type": "falcon_h1", "num_hidden_layers": 44, "num_attention_heads": 12,
        "num_key_value_heads": 2, "head_dim": 128, "hidden_size": 3072, "attn_layer_indices": null, "mamba_d_conv": 4,
        "mamba_d_head": 128, "mamba_d_ssm": 3072, "mamba_d_state": 256, "mamba_expand": 2, "mamba_n_groups": 1,
        "mamba_n_heads": 24, "ssm_multipliers": [0.3], "attention_in_multiplier": 1.1 });
    // nvidia/NVIDIA-Nemotron-3-Ultra-550B-A55B, shortened: the list replaces the count and the pattern.
    let ultra = json!({ "model_type": "nemotron_h", "layers_block_type": ["mamba", "moe", "attention", "mlp"],
        "hidden_size": 8192, "num_attention_heads": 64, "num_key_value_heads": 2, "head_dim": 128, "mamba_num_heads": 256,
        "mamba_head_dim": 64, "ssm_state_size": 128, "n_groups": 8, "conv_kernel": 4, "mamba_ssm_cache_dtype": "float32" });
    // moonshotai/Kimi-Linear-48B-A3B as `transformers` 5 writes it, shortened.
    let kimi = json!({ "model_type": "kimi_linear", "num_hidden_layers": 2, "hidden_size": 2304, "num_attention_heads": 32,
        "kv_lora_rank": 512, "qk_rope_head_dim": 64, "layer_types": ["linear_attention", "full_attention"],
        "linear_num_heads": 32, "linear_head_dim": 128, "linear_conv_kernel_dim": 4, "layer_group_size": 2 });
    // state-spaces/mamba-2.8b-hf: states only.
    let mamba = json!({ "model_type": "mamba", "num_hidden_layers": 64, "hidden_size": 2560, "intermediate_size": 5120,
        "state_size": 16, "conv_kernel": 4, "time_step_rank": 160, "use_conv_bias": true });
    let granite_states = 77_322_240.0;
    let gdn_half = |layers: f64| layers * (32.0 * 128.0 * 128.0 * 2.0 + 8192.0 * 3.0 * 2.0);
    let cases = [
        ("Qwen3.5 listed", qwen_listed, (20_480.0, 0.0, 0, 64_389_120.0)),
        ("Qwen3.5, states of 16 bits", qwen_half, (20_480.0, 0.0, 0, gdn_half(30.0))),
        ("Qwen3-Next", qwen_next, (24_576.0, 0.0, 0, gdn_half(36.0))),
        ("Granite 4 H small", granite, (16_384.0, 0.0, 0, granite_states)),
        ("LFM2", lfm2, (12_288.0, 0.0, 0, 10.0 * 1024.0 * 2.0 * 2.0)),
        ("Jamba", jamba, (16_384.0, 0.0, 0, 28.0 * (8192.0 * 16.0 * 2.0 + 8192.0 * 3.0 * 2.0))),
        ("Bamba", bamba, (12_288.0, 0.0, 0, 29.0 * (8192.0 * 128.0 * 2.0 + 8448.0 * 3.0 * 2.0))),
        ("Falcon H1", falcon_h1, (45_056.0, 0.0, 0, 44.0 * (3072.0 * 256.0 * 2.0 + 3584.0 * 3.0 * 2.0))),
        ("Nemotron 3 Ultra", ultra, (1024.0, 0.0, 0, 16_384.0 * 128.0 * 4.0 + 18_432.0 * 3.0 * 2.0)),
        ("Kimi Linear", kimi, (1152.0, 0.0, 0, 32.0 * 128.0 * (128.0 * 4.0 + 3.0 * 3.0 * 2.0))),
        ("Mamba", mamba, (0.0, 0.0, 0, 64.0 * (5120.0 * 16.0 * 2.0 + 5120.0 * 3.0 * 2.0))),
    ];
    for (name, config, expected) in cases {
        assert_eq!(kept(&of(&config)), expected, "{name}");
    }
}

/// Two families whose fields have a special meaning, according to vLLM's `plamo2.py` and `zamba2.py`, and to the
/// defaults and fields of their public configs (pfnet/plamo-2-8b, Zyphra/Zamba2-7B).
#[test]
fn plamo_2_and_zamba_2_are_read_by_their_code() {
    let plamo = json!({ "model_type": "plamo2", "num_hidden_layers": 32, "hidden_size": 4096, "num_attention_heads": 32,
        "num_key_value_heads": 4, "hidden_size_per_head": 128, "attention_window_size": 2048, "full_attention_idx": [1],
        "max_position_embeddings": 10_485_760, "mamba_d_state": 64, "mamba_d_conv": 4, "mamba_num_heads": 64,
        "mamba_step": 2, "mamba_chunk_size": 256, "mamba_enabled": true });
    let hybrid = [6, 11, 17, 23, 29, 35, 41, 47, 53, 59, 65, 71, 77];
    let types: Vec<&str> =
        (0..81).map(|place| if hybrid.contains(&place) { "hybrid" } else { "mamba" }).collect();
    let zamba = json!({ "model_type": "zamba2", "num_hidden_layers": 81, "hidden_size": 3584, "num_attention_heads": 32,
        "num_key_value_heads": 32, "attention_head_dim": 224, "attention_hidden_size": 7168, "kv_channels": 112,
        "num_query_groups": 32, "layers_block_type": types, "hybrid_layer_ids": hybrid, "mamba_d_conv": 4,
        "mamba_d_state": 64, "mamba_expand": 2, "mamba_headdim": 64, "mamba_ngroups": 2, "n_mamba_heads": 112,
        "use_shared_attention_lora": false, "use_conv_bias": true, "chunk_size": 256 });
    let mut unstated = zamba.clone();
    unstated.as_object_mut().unwrap().remove("attention_head_dim");
    let zamba_states = 81.0 * (7168.0 * 64.0 * 2.0 + (7168.0 + 256.0) * 3.0 * 2.0);
    for (name, config, expected) in [
        ("PLaMo 2", plamo, (32_768.0, 0.0, 0, 16.0 * (8192.0 * 64.0 * 2.0 + 8192.0 * 3.0 * 2.0))),
        ("Zamba 2", zamba, (372_736.0, 0.0, 0, zamba_states)),
        ("Zamba 2, by its code's default", unstated, (372_736.0, 0.0, 0, zamba_states)),
    ] {
        assert_eq!(kept(&of(&config)), expected, "{name}");
    }
}

/// Relatives of K1 without states, from public configs.
#[test]
fn full_windowed_and_shared_layers_are_read_wherever_models_say_them() {
    // arcee-ai/Trinity-Mini, without its list of layers.
    let afmoe = json!({ "model_type": "afmoe", "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 4,
        "head_dim": 128, "hidden_size": 2048, "sliding_window": 2048, "global_attn_every_n_layers": 4 });
    // LGAI-EXAONE/EXAONE-4.0-32B without its list of layers.
    let exaone = json!({ "model_type": "exaone4", "num_hidden_layers": 64, "hidden_size": 5120, "num_attention_heads": 40,
        "num_key_value_heads": 8, "head_dim": 128, "sliding_window": 4096, "sliding_window_pattern": "LLLG" });
    // tencent/Tencent-Hunyuan-Large: each second layer uses the keys and values of the layer before it.
    let hunyuan = json!({ "model_type": "hunyuan", "num_hidden_layers": 64, "hidden_size": 6400, "num_attention_heads": 80,
        "num_key_value_heads": 8, "use_cla": true, "cla_share_factor": 2 });
    // stepfun-ai/Step-3.5-Flash, shortened: a nested object has the heads of windowed layers.
    let step = json!({ "model_type": "step3p5", "num_hidden_layers": 2, "hidden_size": 4096, "num_attention_heads": 64,
        "num_attention_groups": 8, "head_dim": 128, "sliding_window": 512, "use_head_wise_attn_gate": true,
        "layer_types": ["full_attention", "sliding_attention", "full_attention"],
        "attention_other_setting": { "num_attention_heads": 96, "num_attention_groups": 4, "head_dim": 128 } });
    // meta-llama/Llama-3.2-11B-Vision.
    let mllama = json!({ "model_type": "mllama", "text_config": { "model_type": "mllama_text_model", "num_hidden_layers": 40,
        "hidden_size": 4096, "num_attention_heads": 32, "num_key_value_heads": 8,
        "cross_attention_layers": [3, 8, 13, 18, 23, 28, 33, 38] } });
    // meituan-longcat/LongCat-Flash-Chat: each layer has two attentions.
    let longcat = json!({ "model_type": "longcat_flash", "num_layers": 28, "hidden_size": 6144, "num_attention_heads": 64,
        "kv_lora_rank": 512, "qk_rope_head_dim": 64, "attention_method": "MLA", "mla_scale_kv_lora": true });
    let cases = [
        ("AFMoE", afmoe, (16_384.0, 49_152.0, 2048, 0.0)),
        ("MiMo by its other window", mimo(&json!(null)), (23_040.0, 199_680.0, 128, 0.0)),
        ("MiMo, -1", mimo(&json!(-1)), (23_040.0, 199_680.0, 128, 0.0)),
        ("Gemma 4, 18 shared", gemma_4(18), (10_240.0, 204_800.0, 1024, 0.0)),
        ("EXAONE 4", exaone, (65_536.0, 196_608.0, 4096, 0.0)),
        ("Hunyuan", hunyuan, (32.0 * 2.0 * 8.0 * 80.0 * 2.0, 0.0, 0, 0.0)),
        ("Step", step, (4096.0, 2048.0, 512, 0.0)),
        ("Llama 3.2 Vision", mllama, (131_072.0, 0.0, 0, 0.0)),
        ("LongCat", longcat, (56.0 * 1152.0, 0.0, 0, 0.0)),
    ];
    for (name, config, expected) in cases {
        assert_eq!(kept(&of(&config)), expected, "{name}");
    }
}

#[test]
fn windows_are_read_as_each_family_means_them() {
    let layer = 4096.0;
    let windows = |fields| {
        let (full, windowed, ..) = kept(&model(&changed(LLAMA_8B, &fields)));
        (full / layer, windowed / layer)
    };
    let cases = [
        (json!({ "model_type": "mistral", "sliding_window": 4096 }), (0.0, 32.0)),
        (json!({ "model_type": "mistral", "sliding_window": null }), (32.0, 0.0)),
        (json!({ "model_type": "mistral", "sliding_window": 0 }), (32.0, 0.0)),
        (json!({ "model_type": "mistral", "sliding_window": -1 }), (32.0, 0.0)),
        // A window as wide as the longest sequence (Phi-3, Phi-3.5-MoE).
        (
            json!({ "model_type": "phimoe", "sliding_window": 131_072, "max_position_embeddings": 131_072 }),
            (32.0, 0.0),
        ),
        (json!({ "model_type": "gemma2", "sliding_window": 4096 }), (16.0, 16.0)),
        (json!({ "model_type": "cohere2", "sliding_window": 4096 }), (8.0, 24.0)),
        (
            json!({ "model_type": "cohere2", "sliding_window": 4096, "sliding_window_pattern": 4 }),
            (8.0, 24.0),
        ),
        (json!({ "model_type": "llama4_text", "attention_chunk_size": 8192 }), (8.0, 24.0)),
        (json!({ "sliding_window": 4096, "use_sliding_window": false }), (32.0, 0.0)),
        (json!({ "model_type": "qwen2", "sliding_window": 4096 }), (32.0, 0.0)),
        (json!({ "sliding_window": 4096, "use_sliding_window": true, "max_window_layers": 28 }), (28.0, 4.0)),
        (
            json!({ "sliding_window": 128, "layer_types": every(32, 2, "full_attention", "sliding_attention") }),
            (16.0, 16.0),
        ),
    ];
    for (fields, expected) in cases {
        let words = fields.to_string();
        assert_eq!(windows(fields), expected, "{words}");
    }
}

/// K3: the configs of tiiuae/falcon-40b, falcon-7b, bigcode/gpt_bigcode-santacoder, THUDM/chatglm3-6b, databricks/dbrx-base,
/// Deci/DeciLM-7B and mosaicml/mpt-7b.
#[test]
fn kv_heads_are_read_under_each_name() {
    let falcon = |fields| {
        changed(&json!({ "model_type": "falcon", "num_hidden_layers": 60, "hidden_size": 8192, "num_attention_heads": 128 }).to_string(), &fields)
    };
    let small = json!({ "new_decoder_architecture": false, "multi_query": true, "num_hidden_layers": 32, "hidden_size": 4544,
        "num_attention_heads": 71, "num_kv_heads": 71 });
    let bigcode = json!({ "model_type": "gpt_bigcode", "n_layer": 24, "n_embd": 2048, "n_head": 16, "multi_query": true });
    let chatglm = json!({ "model_type": "chatglm", "num_layers": 28, "hidden_size": 4096, "num_attention_heads": 32,
        "kv_channels": 128, "multi_query_attention": true, "multi_query_group_num": 2, "add_qkv_bias": true });
    let dbrx = json!({ "model_type": "dbrx", "n_layers": 40, "n_heads": 48, "d_model": 6144, "attn_config": { "kv_n_heads": 8 } });
    let heads: Vec<u64> = (0..32).map(|place| if place < 2 { 4 } else { 1 }).collect();
    let deci = json!({ "model_type": "deci", "num_hidden_layers": 32, "hidden_size": 4096, "num_attention_heads": 32,
        "num_key_value_heads_per_layer": heads });
    let mpt = json!({ "model_type": "mpt", "n_layers": 32, "n_heads": 32, "d_model": 4096, "attn_config": { "alibi": true } });
    let cases = [
        (falcon(json!({ "new_decoder_architecture": true, "num_kv_heads": 8 })), 122_880.0),
        (falcon(small), 8_192.0),
        (bigcode.to_string(), 24.0 * 2.0 * 128.0 * 2.0),
        (chatglm.to_string(), 28.0 * 2.0 * 2.0 * 128.0 * 2.0),
        (dbrx.to_string(), 40.0 * 2.0 * 8.0 * 128.0 * 2.0),
        (deci.to_string(), (2.0 * 4.0 + 30.0) * 2.0 * 128.0 * 2.0),
        (mpt.to_string(), 32.0 * 2.0 * 32.0 * 128.0 * 2.0),
    ];
    for (text, full) in cases {
        assert_eq!(kept(&model(&text)).0, full, "{text}");
    }
}

/// K4: the layout of a cached token. The values for GLM are from published starts (kv-pools.md).
#[test]
fn layouts_of_a_cached_token() {
    let v32 = changed(
        DEEPSEEK,
        &json!({ "model_type": "deepseek_v32", "index_head_dim": 128, "index_n_heads": 64, "index_topk": 2048 }),
    );
    let glm = |more| {
        let config = json!({ "model_type": "glm_moe_dsa", "num_hidden_layers": 78, "num_attention_heads": 64, "hidden_size": 6144,
            "kv_lora_rank": 512, "qk_rope_head_dim": 64, "index_head_dim": 128, "index_topk": 2048 });
        changed(&config.to_string(), &more)
    };
    let shared = glm(json!({ "index_topk_freq": 4, "index_skip_topk_offset": 3 }));
    let types: Vec<&str> =
        (0..78).map(|place| if place < 2 || place % 4 == 2 { "full" } else { "shared" }).collect();
    let listed = glm(json!({ "indexer_types": types }));
    let scheme = |scheme: Value| changed(LLAMA_8B, &json!({ "quantization_config": scheme }));
    let eight = scheme(
        json!({ "quant_method": "compressed-tensors", "kv_cache_scheme": { "num_bits": 8, "type": "float" } }),
    );
    let modelopt =
        scheme(json!({ "quant_method": "modelopt", "quant_algo": "FP8", "kv_cache_quant_algo": "FP8" }));
    let plain = scheme(json!({ "quant_method": "compressed-tensors", "kv_cache_scheme": null }));
    let sparse: Vec<u8> = (0..60).map(|place| u8::from(place >= 3)).collect();
    let m3 = json!({ "model_type": "minimax_m3", "num_hidden_layers": 60, "num_attention_heads": 64, "num_key_value_heads": 4,
        "head_dim": 128, "hidden_size": 6144, "sparse_attention_config": { "use_sparse_attention": true,
            "sparse_attention_freq": sparse.clone(), "sparse_disable_index_value": sparse, "sparse_index_dim": 128 } });
    let cpm = json!({ "model_type": "minicpm3", "num_hidden_layers": 62, "num_attention_heads": 40, "hidden_size": 2560,
        "kv_lora_rank": 256, "qk_nope_head_dim": 64, "qk_rope_head_dim": 32 });
    let none =
        changed(LLAMA_8B, &json!({ "kv_lora_rank": 0, "index_head_dim": 0, "num_kv_shared_layers": 0 }));
    let (fp8, bf16) = (Some(KvType::Byte), Some(KvType::Half));
    let cases = [
        ("V3", DEEPSEEK, None, false, 70_272.0),
        ("V3 at 8 bits", DEEPSEEK, fp8, false, 35_136.0),
        ("V3.2: vLLM's auto is its layout of 8 bits", &v32, None, false, 48_068.0),
        ("V3.2 at 8 bits", &v32, fp8, false, 48_068.0),
        ("V3.2 at 16 bits", &v32, bf16, false, 78_324.0),
        ("GLM 5", &glm(json!({})), None, false, 100_152.0),
        ("GLM 5.2 on Blackwell: 21 layers have an indexer", &shared, fp8, true, 47_700.0),
        ("GLM 5.2 listed", &listed, fp8, true, 47_700.0),
        ("GLM 5.2 on Hopper", &listed, fp8, false, 78.0 * 656.0 + 21.0 * 132.0),
        ("kv_cache_scheme of 8 bits", &eight, None, false, 65_536.0),
        ("kv_cache_scheme of 8 bits, 16 asked", &eight, bf16, false, 131_072.0),
        ("kv_cache_quant_algo", &modelopt, None, false, 65_536.0),
        ("kv_cache_scheme null", &plain, None, false, 131_072.0),
        ("MiniMax M3: 57 layers have an index", &m3.to_string(), None, false, 60.0 * 2048.0 + 57.0 * 256.0),
        ("MiniCPM3 is cached by heads", &cpm.to_string(), None, false, 62.0 * 2.0 * 40.0 * 96.0 * 2.0),
        ("0 means none", &none, None, false, 131_072.0),
    ];
    for (name, text, asked, flat, bytes) in cases {
        let model = model(text);
        let kv = model.kv_type(asked, flat).unwrap();
        assert_eq!(model.kv_cost(kv, 1).unwrap().full, bytes, "{name}");
    }
}

#[test]
fn the_quantization_beside_the_config_sets_the_cache_too() {
    let quantization =
        json!({ "quantization": { "quant_algo": "FP8", "kv_cache_quant_algo": "FP8" } }).to_string();
    let model =
        ModelArchitecture::from_json(Path::new("config.json"), LLAMA_8B, Some(&quantization)).unwrap();
    assert_eq!(kept(&model).0, 65_536.0);
}

/// B37: params.json of Mistral-Nemo-Instruct-2407.
#[test]
fn mistrals_own_format_is_read() {
    let nemo = json!({ "dim": 5120, "n_layers": 40, "head_dim": 128, "hidden_dim": 14_336, "n_heads": 32, "n_kv_heads": 8,
        "norm_eps": 1e-5, "vocab_size": 131_072, "rope_theta": 1_000_000.0 });
    let nemo = of(&nemo);
    assert_eq!(kept(&nemo), (163_840.0, 0.0, 0, 0.0));
    // 12.2 billion, according to its model card.
    let ratio = nemo.parameters().unwrap() as f64 / 12.247e9;
    assert!((0.998..1.002).contains(&ratio), "{ratio}");
    let mixtral = json!({ "dim": 4096, "n_layers": 32, "head_dim": 128, "hidden_dim": 14_336, "n_heads": 32, "n_kv_heads": 8,
        "vocab_size": 32_000, "moe": { "num_experts_per_tok": 2, "num_experts": 8 } });
    let ratio = of(&mixtral).parameters().unwrap() as f64 / 46.70e9;
    assert!((0.998..1.002).contains(&ratio), "{ratio}");
}

#[test]
fn tensor_parallelism_divides_heads_but_never_a_head_or_a_latent() {
    let per_gpu = |text, tp| model(text).kv_cost(KvType::Half, tp).unwrap().full;
    assert_eq!(per_gpu(LLAMA_8B, 4), 32_768.0);
    assert_eq!(per_gpu(LLAMA_8B, 16), 16_384.0, "one KV head at least");
    assert_eq!(per_gpu(DEEPSEEK, 8), 70_272.0, "each GPU has the whole latent");
    // Qwen3-235B, 4 KV heads: 48,128 bytes at TP 8 as at TP 4 (published starts).
    let qwen = json!({ "model_type": "qwen3_moe", "num_hidden_layers": 94, "num_attention_heads": 64, "num_key_value_heads": 4,
        "head_dim": 128, "hidden_size": 4096 })
    .to_string();
    assert_eq!((per_gpu(&qwen, 4), per_gpu(&qwen, 8)), (48_128.0, 48_128.0));
    let error = model(QWEN_7B).kv_cost(KvType::Half, 3).unwrap_err().to_string();
    assert!(error.starts_with("config.json: `num_attention_heads` is 28, which `plan.tp` 3"), "{error}");
    // The GPUs divide the states too, but never a group of the state space.
    let state = |config: &Value, tp| of(config).kv_cost(KvType::Half, tp).unwrap().state;
    let qwen = qwen_35(&json!({ "full_attention_interval": 4 }));
    assert_eq!(state(&qwen, 2), state(&qwen, 1) / 2.0);
}

#[test]
fn groups_are_filled_up_as_vllm_does() {
    let charged = |text: &str| model(text).printed_bytes_per_token(KvType::Half, 1);
    // Published starts: Gemma-3-27b at 573,474 bytes a token (70 layers for 62), gpt-oss-120b at 73,728.
    let gpt_oss = json!({ "model_type": "gpt_oss", "num_hidden_layers": 36, "num_attention_heads": 64, "num_key_value_heads": 8,
        "head_dim": 64, "hidden_size": 2880, "sliding_window": 128,
        "layer_types": every(36, 2, "full_attention", "sliding_attention") });
    assert_eq!(charged(GEMMA_27B), Some(573_440.0));
    assert_eq!(charged(&gpt_oss.to_string()), Some(73_728.0));
    assert_eq!(charged(LLAMA_8B), Some(131_072.0));
    assert_eq!(charged(&qwen_35(&json!({ "full_attention_interval": 4 })).to_string()), None);
}
