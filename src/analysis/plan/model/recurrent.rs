//! The matrices of recurrent layers, which keep a state.

use super::config::{ModelConfig, ModelError};
use super::matrix::{Matrices, Sharing, needed};
use super::{attention, state};

/// Whether a family's queries have a gate of equal size that the file does not state.
pub(super) fn is_gated(config: &ModelConfig) -> bool {
    let family = config.model_type();
    family == "qwen3_next" || family.starts_with("qwen3_5")
}

/// Adds the matrices of a recurrent layer.
///
/// # Errors
///
/// For a field that is missing.
pub(super) fn matrices(
    config: &ModelConfig,
    hidden: u64,
    at: &str,
    all: &mut Matrices,
) -> Result<(), ModelError> {
    let mut add = |name: &str, sides: (u64, u64)| {
        all.add(format!("{at}.linear_attn.{name}"), sides, Sharing::Divided);
    };
    let family = config.model_type();
    if let Some(delta) = state::DeltaAttention::read(config)? {
        let inner = delta.inner();
        add("q_proj", (hidden, 3 * inner));
        add("conv1d", (3 * inner, delta.kernel));
        // The decay and the output gate each pass through the size of one head.
        add("f_proj", (delta.size, 2 * (hidden + inner)));
        add("b_proj", (hidden, delta.heads));
        add("o_proj", (hidden, inner));
        return Ok(());
    }
    if config.first_active("linear_num_value_heads").is_some() {
        let count = |name| needed(config, &[name]);
        let heads = count("linear_num_value_heads")?;
        let keys = count("linear_num_key_heads")? * count("linear_key_head_dim")?;
        let values = heads * count("linear_value_head_dim")?;
        add("in_proj_qkvz", (hidden, 2 * keys + 2 * values));
        add("in_proj_ba", (hidden, 2 * heads));
        add("conv1d", (2 * keys + values, count("linear_conv_kernel_dim")?));
        add("out_proj", (values, hidden));
        return Ok(());
    }
    if config.first_active("conv_L_cache").is_some() {
        add("in_proj", (hidden, 3 * hidden));
        add("conv", (hidden, needed(config, &["conv_L_cache"])?));
        add("out_proj", (hidden, hidden));
        return Ok(());
    }
    if config.first_active("attn_type_list").is_some() || family.starts_with("minimax") {
        let heads = needed(config, &["num_attention_heads"])?;
        let inner = heads * attention::head_size(config, heads)?;
        add("in_proj", (hidden, 3 * inner));
        add("output_gate", (hidden, inner));
        add("out_proj", (hidden, inner));
        return Ok(());
    }
    let inner = state::inner(config)?;
    let state = needed(config, &state::STATE)?;
    let kernel = needed(config, &state::KERNEL)?;
    match state::heads(config)? {
        Some(heads) => {
            let groups = state::groups(config)? * state;
            add("in_proj", (hidden, 2 * inner + 2 * groups + heads));
            add("conv1d", (inner + 2 * groups, kernel));
        }
        None => {
            let rank = config.optional(&["mamba_dt_rank", "time_step_rank"]).ok().flatten();
            let rank = rank.unwrap_or_else(|| hidden.div_ceil(16));
            add("in_proj", (hidden, 2 * inner));
            // The time step in both directions, the selection, and the decay.
            add("x_proj", (inner, 2 * rank + 3 * state));
            add("conv1d", (inner, kernel));
        }
    }
    add("out_proj", (inner, hidden));
    Ok(())
}
