//! Tests that an unsupported field is refused by name.

use super::*;

#[test]
fn bad_configs_name_file_field_and_cure() {
    let cases = [
        ("{".to_owned(), "config.json is not a model's config"),
        ("[]".to_owned(), "config.json is not a model's config: it is not a JSON object"),
        (
            changed(LLAMA_8B, &json!({ "num_hidden_layers": null })),
            "config.json: `num_hidden_layers` is missing; add it",
        ),
        (
            changed(LLAMA_8B, &json!({ "num_key_value_heads": "eight" })),
            "config.json: `num_key_value_heads` is \"eight\"",
        ),
        (changed(LLAMA_8B, &json!({ "num_attention_heads": 0 })), "config.json: `num_attention_heads` is 0"),
        (changed(LLAMA_8B, &json!({ "num_hidden_layers": -3 })), "config.json: `num_hidden_layers` is -3"),
        (changed(LLAMA_8B, &json!({ "num_hidden_layers": 1e30 })), "config.json: `num_hidden_layers` is 1e"),
        (
            changed(LLAMA_8B, &json!({ "hidden_size": 4095 })),
            "config.json: `head_dim` is missing and the heads",
        ),
        (
            changed(DEEPSEEK, &json!({ "qk_rope_head_dim": null })),
            "config.json: `qk_rope_head_dim` is missing",
        ),
    ];
    for (text, expected) in cases {
        let error = error(&text);
        assert!(error.starts_with(expected) && error.contains("; "), "{expected}\n{error}");
        assert_eq!(error.lines().count(), 1);
    }
}

/// Fields of public models that change what is kept and that are not supported (DeepSeek V4, RecurrentGemma,
/// Phi-3-small, GPT-Neo, PLaMo 2, Ring-linear, MiniCPM4, Baichuan M1, Whisper), and lists of a wrong length.
#[test]
fn fields_that_may_change_what_is_kept_are_refused_by_name() {
    let cases = [
        (json!({ "model_type": "deepseek_v4", "compress_ratios": [0, 4, 128] }), "compress_ratios"),
        (json!({ "block_types": ["recurrent", "recurrent", "attention"], "lru_width": 2560 }), "block_types"),
        (json!({ "blocksparse_block_size": 64 }), "blocksparse_block_size"),
        (json!({ "dense_attention_every_n_layers": 2 }), "dense_attention_every_n_layers"),
        (json!({ "attention_layers": ["global", "local"] }), "attention_layers"),
        (json!({ "mamba_step": 2 }), "mamba_step"),
        (json!({ "layer_group_size": 8 }), "layer_group_size"),
        (json!({ "sparse_config": { "kernel_size": 32 } }), "sparse_config"),
        (json!({ "sliding_window_layers": [1, 3], "conv_window": 2 }), "conv_window"),
        (json!({ "is_encoder_decoder": true }), "is_encoder_decoder"),
        (json!({ "num_key_value_groups": 4 }), "num_key_value_groups"),
        (json!({ "n_query_groups": 8 }), "n_query_groups"),
        (json!({ "sliding_window": 4096 }), "sliding_window"),
        (json!({ "model_type": "deepseek_v4", "sliding_window": 128 }), "sliding_window"),
        (json!({ "layer_types": ["magic"] }), "layer_types"),
        (
            json!({ "layer_types": every(32, 4, "full_attention", "heavily_compressed_attention") }),
            "layer_types",
        ),
        (json!({ "layer_types": every(32, 4, "full_attention", "linear_attention") }), "layer_types"),
        (json!({ "layer_types": vec!["full_attention"; 31] }), "layer_types"),
        (json!({ "layer_types": vec!["indexed_attention"; 32] }), "layer_types"),
        (json!({ "kv_source_layers": [0, 1] }), "kv_source_layers"),
        (json!({ "index_head_dim": 128, "index_block_size": 128 }), "index_block_size"),
        (json!({ "hybrid_override_pattern": "M*X" }), "hybrid_override_pattern"),
        (json!({ "hybrid_override_pattern": "?".repeat(32) }), "hybrid_override_pattern"),
        (json!({ "sliding_window": 128, "sliding_window_pattern": "LLSG" }), "sliding_window_pattern"),
        (
            json!({ "linear_attn_config": { "full_attn_layers": [1, 2], "kda_layers": [3] } }),
            "linear_attn_config",
        ),
        (json!({ "attn_type_list": vec![2; 32] }), "attn_type_list"),
        (json!({ "num_kv_heads": [8, 4] , "num_key_value_heads": null }), "num_kv_heads"),
        (json!({ "sliding_window": [4096, null], "model_type": "mistral" }), "sliding_window"),
        (json!({ "index_head_dim": 128, "index_topk_pattern": "FSSS" }), "index_topk_pattern"),
        (json!({ "sparse_attention_config": { "sparse_block_size": 64 } }), "sparse_attention_config"),
        (json!({ "attn_config": { "sliding_window_size": 4096 } }), "attn_config.sliding_window_size"),
        (json!({ "cla_share_factor": 2 }), "cla_share_factor"),
        (
            json!({ "block_configs": [{ "attention": { "n_heads_in_group": 4, "sparsify": [1] } }], "num_hidden_layers": 1 }),
            "block_configs",
        ),
    ];
    for (fields, field) in cases {
        let error = error(&changed(LLAMA_8B, &fields));
        let named = format!("config.json: `{field}` ");
        assert!(error.starts_with(&named) && error.contains("`plan.kv_tokens`"), "{fields}\n{error}");
    }
    let unknown = changed(
        LLAMA_8B,
        &json!({ "quantization_config": { "quant_method": "x", "kv_cache_scheme": { "num_bits": 3 } } }),
    );
    let error = model(&unknown).kv_type(None, false).unwrap_err().to_string();
    assert!(error.contains("`quantization_config.kv_cache_scheme` is"), "{error}");
}

#[test]
fn fields_that_say_nothing_are_not_refused() {
    let fields = json!({ "mamba_d_state": 16, "compress_ratios": null, "layer_group_size": 0, "sparse_config": {}, "block_types": [],
        "is_encoder_decoder": false, "cross_attention_hidden_size": null, "chunk_size_feed_forward": 0, "sliding_window": false,
        "attention_bias": true, "attention_dropout": 0.1, "attn_implementation": "flash_attention_2", "use_cache": true,
        "query_pre_attn_scalar": 256, "use_sliding_window": false, "image_token_index": 7, "ignore_index": -100 });
    assert_eq!(kept(&model(&changed(LLAMA_8B, &fields))), (131_072.0, 0.0, 0, 0.0));
}

#[test]
fn weights_that_cannot_be_worked_out_are_asked_for() {
    let cases = [
        (json!({ "model_type": "opt" }), "`model_type` is opt"),
        (json!({ "intermediate_size": null }), "is missing"),
        (json!({ "quantization_config": { "quant_method": "new" } }), "`quantization_config` is {"),
        (json!({ "torch_dtype": "posit" }), "`torch_dtype` is posit"),
    ];
    for (fields, expected) in cases {
        let error = model(&changed(LLAMA_8B, &fields)).weight_bytes().unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains("`plan.weights`"), "{error}");
    }
}
