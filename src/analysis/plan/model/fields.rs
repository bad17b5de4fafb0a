//! Refuses, by name, fields that may change what a model keeps and that are not understood.
//!
//! A field is suspect if its name concerns attention, windows, states or the cache, or if it has a value for each
//! layer, whatever its name. This module lists the suspect fields that the planner reads, and those that are known not
//! to change what is kept. Any other suspect field is refused.

use serde_json::Value;

use super::config::{CURE, ModelConfig, ModelError, is_none, value_excerpt};
use super::{layers, per_layer};

/// Parts of names that concern what is kept of a sequence.
const SUSPECT_PARTS: &[&str] = &[
    "key_value",
    "attention",
    "attn",
    "block_config",
    "block_type",
    "cache",
    "chunk",
    "cla_",
    "compress",
    "conv",
    "cross_",
    "delta",
    "dsa",
    "encoder",
    "full_layer",
    "global_layer",
    "gqa",
    "head",
    "hybrid",
    "index_",
    "indexer",
    "kda",
    "kv",
    "layer_group",
    "layer_type",
    "layers_type",
    "linear_",
    "local_layer",
    "lru",
    "mamba",
    "pattern",
    "quer",
    "recurrent",
    "retention",
    "rwkv",
    "sliding",
    "sparse",
    "ssm",
    "state_size",
    "swa_",
    "window",
    "yoco",
];

/// Suspect fields that the planner reads, besides those that state the kind of each layer.
const KNOWN_FIELDS: &[&str] = &[
    "attention_head_dim",
    "attention_other_setting",
    "attention_window_size",
    "attn_config",
    "attn_layer_offset",
    "cla_share_factor",
    "conv_L_cache",
    "conv_dim",
    "conv_kernel",
    "cross_attention_layers",
    "global_head_dim",
    "head_dim",
    "index_head_dim",
    "index_skip_topk_offset",
    "index_topk_freq",
    "index_topk_pattern",
    "indexer_types",
    "kv_channels",
    "kv_lora_rank",
    "linear_conv_kernel_dim",
    "linear_head_dim",
    "linear_key_head_dim",
    "linear_num_heads",
    "linear_num_key_heads",
    "linear_num_value_heads",
    "linear_value_head_dim",
    "local_attention_window",
    "mamba_d_conv",
    "mamba_d_head",
    "mamba_d_ssm",
    "mamba_d_state",
    "mamba_expand",
    "mamba_head_dim",
    "mamba_headdim",
    "mamba_n_groups",
    "mamba_n_heads",
    "mamba_ngroups",
    "mamba_num_heads",
    "mamba_ssm_cache_dtype",
    "mamba_ssm_dtype",
    "max_window_layers",
    "multi_query",
    "multi_query_attention",
    "multi_query_group_num",
    "n_head",
    "n_head_kv",
    "n_heads",
    "n_mamba_heads",
    "num_attention_groups",
    "num_attention_heads",
    "num_global_key_value_heads",
    "num_heads",
    "num_key_value_heads",
    "num_key_value_heads_per_layer",
    "num_kv_heads",
    "num_kv_shared_layers",
    "num_sliding_attention_heads",
    "qk_nope_head_dim",
    "qk_rope_head_dim",
    "short_conv_kernel_size",
    "sliding_window",
    "sliding_window_size",
    "sparse_attention_config",
    "ssm_state_size",
    "state_size",
    "swa_head_dim",
    "swa_num_attention_heads",
    "swa_num_key_value_heads",
    "swa_v_head_dim",
    "use_cla",
    "use_sliding_window",
    "v_head_dim",
];

/// Suspect fields that do not change what is kept: biases, scales, kernels, and fields that affect only the weights.
const HARMLESS_FIELDS: &[&str] = &[
    "_attn_implementation",
    "_attn_implementation_internal",
    "activation_sparsity_pattern",
    "add_full_attention_sink_bias",
    "add_qkv_bias",
    "add_swa_attention_sink_bias",
    "apply_query_key_layer_scaling",
    "attention_bias",
    "attention_dropout",
    "attention_dropout_prob",
    "attention_hidden_size",
    "attention_in_multiplier",
    "attention_k_eq_v",
    "attention_key_multiplier",
    "attention_layer_norm",
    "attention_layer_norm_with_affine",
    "attention_method",
    "attention_multiplier",
    "attention_out_bias",
    "attention_out_multiplier",
    "attention_output_gate",
    "attention_probs_dropout_prob",
    "attention_projection_layout",
    "attention_softmax_in_fp32",
    "attention_value_scale",
    "attn_dropout",
    "attn_dropout_prob",
    "attn_factor",
    "attn_implementation",
    "attn_logit_softcapping",
    "attn_output_gate",
    "attn_output_multiplier",
    "attn_pdrop",
    "attn_scale",
    "attn_temperature_len",
    "attn_temperature_tuning",
    "cache_implementation",
    "chunk_input",
    "chunk_size",
    "clip_qkv",
    "compression_ratio",
    "conv_bias",
    "conv_dim_out",
    "conv_l_cache",
    "conv_use_xavier_init",
    "decoder_sparse_step",
    "flash_attn",
    "full_attn_alpha_factor",
    "full_attn_beta_factor",
    "hidden_mamba_act",
    "hybrid_layer_ids",
    "index_n_heads",
    "index_share_for_mtp_iteration",
    "index_topk",
    "indexer_rope_interleave",
    "kda_lower_bound",
    "kda_safe_gate",
    "linear_a_log_max",
    "linear_allow_neg_eigval",
    "linear_attn_alpha_factor",
    "linear_attn_beta_factor",
    "linear_dt_init_floor",
    "linear_dt_max",
    "linear_dt_min",
    "mamba_chunk_size",
    "mamba_conv_bias",
    "mamba_dt_rank",
    "mamba_hidden_act",
    "mamba_norm_before_gate",
    "mamba_proj_bias",
    "mamba_rms_norm",
    "mamba_use_mlp",
    "max_attn_value",
    "mla_scale_kv_lora",
    "mlp_layer_types",
    "mtp_hybrid_override_pattern",
    "mtp_layers_block_type",
    "num_ln_in_parallel_attn",
    "parallel_attn",
    "parallel_attn_mlp_res",
    "qk_head_dim",
    "qkv_bias",
    "query_num",
    "query_pre_attn_scalar",
    "scale_attention_softmax_in_fp32",
    "scale_attn_weights",
    "ssm_in_multiplier",
    "ssm_multipliers",
    "ssm_out_multiplier",
    "swa_rope_theta",
    "use_attention_bias",
    "use_attention_gate",
    "use_bidirectional_attention",
    "use_cache",
    "use_conv_bias",
    "use_flash_attention",
    "use_flash_attn",
    "use_gqa_gate",
    "use_head_wise_attn_gate",
    "use_logn_attn",
    "use_mamba_kernels",
    "use_qkv_bias",
    "use_shared_attention_adapter",
];

/// Fields that are read, or known not to change what is kept, in one family only. vLLM keeps every token in PLaMo 2's
/// attention layers, even in those with a window, and Zamba 2's code sets its query groups itself.
const OF_FAMILIES: [(&str, &str); 6] = [
    ("plamo2", "full_attention_idx"),
    ("plamo2", "hidden_size_per_head"),
    ("plamo2", "mamba_enabled"),
    ("plamo2", "mamba_step"),
    ("zamba2", "num_query_groups"),
    ("zamba2", "use_shared_attention_lora"),
];

/// Fields that number each n-th layer with full attention: 1 gives it to every layer (Phi-4-mini, Grok 2, Phi-3-small,
/// Ring-linear), which is what the planner takes without them.
const FULL_EVERY_N: [&str; 5] = [
    "dense_attention_every_n_layers",
    "full_attn_mod",
    "global_attn_every_n",
    "gqa_interval",
    "layer_group_size",
];

/// Prefixes of harmless names, and of names that belong to other parts than the language model.
const HARMLESS_BEGINNINGS: [&str; 8] =
    ["layernorm_", "lm_head", "vision", "visual", "audio", "image", "video", "mm_"];

/// Refuses fields that are not understood.
///
/// # Errors
///
/// Names the first such field.
pub(super) fn check(config: &ModelConfig) -> Result<(), ModelError> {
    let windowed = config.within("attn_config", "sliding_window_size").filter(|value| !is_none(value));
    if let Some(window) = windowed {
        return Err(refused(config, "attn_config.sliding_window_size", &value_excerpt(window)));
    }
    // Fields whose content a list of layers repeats.
    let listed = |name: &str| name == "layer_group_size" && config.first_active("layer_types").is_some();
    let of_family = |name: &str| OF_FAMILIES.contains(&(config.model_type(), name));
    let everywhere =
        |name: &str| FULL_EVERY_N.contains(&name) && config.get(name).and_then(Value::as_u64) == Some(1);
    let is_clear = |name: &str| listed(name) || of_family(name) || everywhere(name);
    if let Some(name) = config.active_fields().find(|name| is_suspect(name) && !is_clear(name)) {
        return Err(refused(config, name, &config.get(name).map(value_excerpt).unwrap_or_default()));
    }
    let count = layers::count(config)?;
    let unread = config.active_fields().filter(|name| !is_known(name) && !of_family(name));
    for name in unread {
        let Some(value) = config.get(name) else { continue };
        if let Some(at) = per_layer::find(name, value, count, count + predicting_layers(config)) {
            return Err(config.wrong(
                &at,
                "seems to describe each layer; it may change the size of the KV cache, and servegauge does not support it",
                CURE,
            ));
        }
    }
    Ok(())
}

/// The number of layers for speculative decoding, which some lists include.
fn predicting_layers(config: &ModelConfig) -> usize {
    let names = ["num_nextn_predict_layers", "mtp_num_hidden_layers", "num_mtp_layers"];
    config.optional(&names).ok().flatten().unwrap_or_default() as usize
}

fn is_known(name: &str) -> bool {
    KNOWN_FIELDS.contains(&name)
        || HARMLESS_FIELDS.contains(&name)
        || HARMLESS_BEGINNINGS.iter().any(|beginning| name.starts_with(beginning))
        || layers::sources().any(|source| source == name)
}

fn is_suspect(name: &str) -> bool {
    !is_known(name) && SUSPECT_PARTS.iter().any(|part| name.contains(part))
}

fn refused(config: &ModelConfig, name: &str, value: &str) -> ModelError {
    config.wrong(
        name,
        &format!("is {value}, which may change the size of the KV cache, and servegauge does not support it"),
        CURE,
    )
}
