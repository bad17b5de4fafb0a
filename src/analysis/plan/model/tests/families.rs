//! Tests families whose files have fields of their own that do not change what is kept.

use super::*;

/// What a token keeps with 16 bits: layers × 2 × KV heads × head size × 2 bytes.
fn full(layers: u32, kv_heads: u32, head: u32) -> f64 {
    f64::from(layers * 2 * kv_heads * head * 2)
}

/// Public configs, with the fields that once made the plan refuse them: microsoft/Phi-4-mini-instruct, Qwen/Qwen-7B,
/// Tele-AI/TeleChat2-7B, xai-org/grok-2 (its fields as in SGLang's tests), hpcai-tech/grok-1, openbmb/MiniCPM-o-2_6,
/// bigscience/bloom and bloom-7b1, tencent/Hunyuan-A13B-Instruct. The parameters, in billions, are those of the cards.
#[test]
fn fields_that_scale_or_speed_up_attention_are_not_refused() {
    let phi = json!({ "model_type": "phi3", "architectures": ["Phi3ForCausalLM"], "num_hidden_layers": 32,
        "hidden_size": 3072, "num_attention_heads": 24, "num_key_value_heads": 8, "intermediate_size": 8192,
        "full_attn_mod": 1, "interpolate_factor": 1, "max_position_embeddings": 131_072, "sliding_window": 262_144,
        "rope_scaling": { "long_factor": vec![1.0; 48], "short_factor": vec![1.0; 48], "type": "longrope" },
        "tie_word_embeddings": true, "vocab_size": 200_064 });
    let qwen = json!({ "model_type": "qwen", "architectures": ["QWenLMHeadModel"], "num_hidden_layers": 32,
        "hidden_size": 4096, "num_attention_heads": 32, "intermediate_size": 22_016, "kv_channels": 128,
        "attn_dropout_prob": 0.0, "scale_attn_weights": true, "use_flash_attn": "auto", "use_logn_attn": true,
        "use_dynamic_ntk": true, "use_cache_quantization": false, "use_cache_kernel": false, "no_bias": true,
        "seq_length": 8192, "tie_word_embeddings": false, "vocab_size": 151_936 });
    let telechat = json!({ "model_type": "telechat", "n_layer": 30, "n_head": 32, "num_key_value_heads": 32,
        "hidden_size": 4096, "ffn_hidden_size": 12_288, "flash_attn": true, "attention_softmax_in_fp32": true,
        "training_seqlen": 8192, "logn": false, "embed_layernorm": false, "skip_bias_add_qkv": false,
        "tie_word_embeddings": false, "vocab_size": 131_072 });
    let grok_2 = json!({ "model_type": "git", "architectures": ["Grok1ForCausalLM"], "num_hidden_layers": 64,
        "hidden_size": 8192, "num_attention_heads": 64, "num_key_value_heads": 8, "head_dim": 128,
        "intermediate_size": 32_768, "moe_intermediate_size": 16_384, "num_local_experts": 8, "num_experts_per_tok": 2,
        "residual_moe": true, "attn_logit_softcapping": 30.0, "attn_temperature_len": 1024, "attn_factor": 1.0,
        "sliding_window_size": -1, "global_attn_every_n": 1, "vocab_size": 131_072 });
    let grok_1 = json!({ "model_type": "grok-1", "num_hidden_layers": 64, "hidden_size": 6144, "num_attention_heads": 48,
        "num_key_value_heads": 8, "attn_output_multiplier": 0.088, "max_attn_value": 30.0, "intermediate_size": 32_768,
        "num_experts": 8, "num_experts_per_tok": 2, "tie_word_embeddings": true, "vocab_size": 131_072 });
    let minicpm_o = json!({ "model_type": "minicpmo", "num_hidden_layers": 28, "hidden_size": 3584,
        "num_attention_heads": 28, "num_key_value_heads": 4, "intermediate_size": 18_944, "chunk_input": true,
        "stream_input": true, "query_num": 64, "audio_chunk_length": 1.0, "max_window_layers": 28,
        "sliding_window": 131_072, "use_sliding_window": false, "vision_batch_size": 16, "vocab_size": 151_700 });
    let bloom = |layers: u32, hidden: u32, heads: u32| {
        json!({ "model_type": "bloom", "n_layer": layers, "n_embed": hidden, "num_attention_heads": heads,
            "attention_softmax_in_fp32": true, "masked_softmax_fusion": true, "vocab_size": 250_880 })
    };
    let hunyuan = json!({ "model_type": "hunyuan_v1_moe", "num_hidden_layers": 32, "hidden_size": 4096,
        "num_attention_heads": 32, "num_key_value_heads": 8, "attention_head_dim": 128, "cla_share_factor": 2,
        "use_cla": false, "intermediate_size": 3072, "moe_intermediate_size": vec![3072; 32], "moe_topk": vec![8; 32],
        "num_experts": 64, "num_shared_expert": vec![1; 32], "tie_word_embeddings": true, "vocab_size": 128_167 });
    let cases = [
        ("Phi-4-mini", phi, full(32, 8, 128), Some(3.836)),
        ("Qwen-7B", qwen, full(32, 32, 128), Some(7.721)),
        ("TeleChat2", telechat, full(30, 32, 128), None),
        ("Grok 2", grok_2, full(64, 8, 128), Some(269.5)),
        ("Grok 1", grok_1, full(64, 8, 128), Some(314.0)),
        ("MiniCPM-o", minicpm_o, full(28, 4, 128), None),
        ("Bloom", bloom(70, 14_336, 112), full(70, 112, 128), Some(176.2)),
        ("Bloom 7B", bloom(30, 4096, 32), full(30, 32, 128), Some(7.07)),
        ("Hunyuan A13B", hunyuan, full(32, 8, 128), Some(80.4)),
    ];
    for (name, config, bytes, billions) in cases {
        let model = of(&config);
        assert_eq!(kept(&model), (bytes, 0.0, 0, 0.0), "{name}");
        if let Some(billions) = billions {
            let ratio = model.parameters().unwrap() as f64 / 1e9 / billions;
            assert!((0.99..1.01).contains(&ratio), "{name}: {ratio}");
        }
    }
}

/// Where each n-th layer is full, 1 means all layers, and another number is not understood.
#[test]
fn every_first_layer_full_is_every_layer_full() {
    let names = ["full_attn_mod", "global_attn_every_n", "dense_attention_every_n_layers", "gqa_interval"];
    for name in names {
        assert_eq!(kept(&model(&changed(LLAMA_8B, &json!({ name: 1 })))).0, 131_072.0, "{name}");
        let error = error(&changed(LLAMA_8B, &json!({ name: 2 })));
        assert!(error.starts_with(&format!("config.json: `{name}` is 2")), "{error}");
    }
}

/// Lists under names that are not known here: shapes of public fields (`layer_switch` lists, DeepSeek V4's ratios with
/// the predicting layer, Ring's and Zamba's layer numbers, Nemotron H's letters) under other names.
#[test]
fn a_value_for_each_layer_under_an_unknown_name_is_refused() {
    let letters = "MMMM*".repeat(7)[..32].to_owned();
    let by_number: serde_json::Map<String, Value> =
        (0..32).map(|place| (place.to_string(), json!({ "span": 128 }))).collect();
    let cases = [
        (json!({ "span_of_layer": vec![128; 32] }), "span_of_layer"),
        (json!({ "mixer_kinds": every(32, 4, "softmax", "lightning") }), "mixer_kinds"),
        (json!({ "is_dense_mixer": vec![true; 32] }), "is_dense_mixer"),
        (json!({ "ratios": vec![4; 33], "num_nextn_predict_layers": 1 }), "ratios"),
        (json!({ "mixers": letters }), "mixers"),
        (json!({ "per_depth": by_number }), "per_depth"),
        (json!({ "mixer_config": { "kinds": every(32, 2, "a", "b") } }), "mixer_config.kinds"),
        (json!({ "softmax_layers": [3, 7, 11] }), "softmax_layers"),
        (json!({ "gqa_layers": [3, 7, 11] }), "gqa_layers"),
    ];
    for (fields, field) in cases {
        let error = error(&changed(LLAMA_8B, &fields));
        let named = format!("config.json: `{field}` ");
        assert!(error.starts_with(&named) && error.contains("`plan.kv_tokens`"), "{fields}\n{error}");
    }
}

/// SmolLM3, Step 3.5, Gemma 3n, Phi-3 and every multimodal config have lists of this kind.
#[test]
fn lists_that_are_not_about_attention_are_not_refused() {
    let fields = json!({ "no_rope_layers": vec![1; 32], "rope_theta": vec![1e4; 32], "swiglu_limits": vec![0.0; 32],
        "partial_rotary_factors": vec![0.5; 32], "moe_layer_freq": vec![0; 32], "mlp_only_layers": [1, 2],
        "rope_scaling": { "long_factor": vec![1.0; 32] }, "eos_token_id": (0..32).collect::<Vec<u32>>(),
        "image_grid_pinpoints": vec![[1, 2]; 32], "quantization_config": { "ignore": vec!["a"; 32] },
        "loss_weights": vec![0.1; 31], "sample_sizes": [1, 2, 3] });
    assert_eq!(kept(&model(&changed(LLAMA_8B, &fields))).0, 131_072.0);
}

/// Types of keys and values in `compressed-tensors`: vLLM reads only floats of 8 bits; an integer of 4 bits has scales
/// of another size than NVFP4.
#[test]
fn the_type_of_keys_and_values_is_taken_by_type_and_bits() {
    let kv = |scheme: Value| {
        let fields = json!({ "quantization_config": { "quant_method": "compressed-tensors", "kv_cache_scheme": scheme } });
        model(&changed(LLAMA_8B, &fields)).kv_type(None, false).map_err(|error| error.to_string())
    };
    for (scheme, expected) in [
        (json!({ "num_bits": 8, "type": "float" }), KvType::Byte),
        (json!({ "num_bits": 8, "type": "int" }), KvType::Byte),
        (json!({ "num_bits": 8 }), KvType::Byte),
        (json!({ "num_bits": 4, "type": "float", "group_size": 16 }), KvType::Nvfp4),
        (json!({ "num_bits": 4, "type": "float", "group_size": null }), KvType::Nvfp4),
        (json!({ "num_bits": 16, "type": "float" }), KvType::Half),
        (json!(null), KvType::Half),
    ] {
        assert_eq!(kv(scheme.clone()), Ok(expected), "{scheme}");
    }
    for scheme in [
        json!({ "num_bits": 4, "type": "int" }),
        json!({ "num_bits": 4 }),
        json!({ "num_bits": 4, "type": "float", "group_size": 32 }),
        json!({ "num_bits": 8, "type": "posit" }),
        json!({ "num_bits": 2, "type": "int" }),
        json!("fp8"),
    ] {
        let error = kv(scheme.clone()).unwrap_err();
        let named = "`quantization_config.kv_cache_scheme` is";
        assert!(error.contains(named) && error.contains("`plan.kv_type`"), "{scheme}: {error}");
    }
}
