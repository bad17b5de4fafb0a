//! The matrices of a model, with the number of parameters of each, from its shape. Norms and biases are left out: they
//! are a ten-thousandth of the parameters.

use super::attention::{self, Attention, SparseIndex, TokenCacheLayout};
use super::config::{ModelConfig, ModelError};
use super::layer::Mixer;
use super::matrix::{CURE, Matrices, Matrix, Sharing, hidden, needed};
use super::{LayerCache, experts, recurrent};

/// Families whose files do not state their shape in the fields that are read here.
const UNSUPPORTED_FAMILIES: [&str; 14] = [
    "arctic",
    "dbrx",
    "falcon",
    "gpt2",
    "gpt_bigcode",
    "gpt_neox",
    "gptj",
    "mpt",
    "openelm",
    "opt",
    "phi3small",
    "plamo2",
    "recurrent_gemma",
    "zamba2",
];

/// All matrices of the language model.
///
/// # Errors
///
/// For a family whose file does not determine the shape.
pub(super) fn matrices(config: &ModelConfig, layers: &[LayerCache]) -> Result<Vec<Matrix>, ModelError> {
    let family = config.model_type();
    if UNSUPPORTED_FAMILIES.contains(&family) {
        let why = format!("is {family}, whose weights servegauge does not compute");
        return Err(config.wrong("model_type", &why, CURE));
    }
    let mut all = Matrices::default();
    let hidden = hidden(config)?;
    add_embeddings(config, hidden, &mut all)?;
    for (place, cache) in layers.iter().enumerate() {
        let at = format!("layers.{place}");
        if let Some(attention) = &cache.attention {
            add_attention(config, cache, attention, &at, &mut all)?;
        }
        if cache.state.is_some() {
            recurrent::matrices(config, hidden, &at, &mut all)?;
        }
        experts::matrices(config, hidden, &cache.layer, place, &mut all)?;
    }
    Ok(all.0)
}

/// The size of the vocabulary, if the file or the family determines it.
pub(super) fn vocabulary(config: &ModelConfig) -> Result<Option<u64>, ModelError> {
    config.optional(&["vocab_size", "padded_vocab_size"])
}

/// Families that use one table for input and output unless their file states otherwise.
const TIED_FAMILIES: [&str; 7] = ["bloom", "gemma", "cohere", "starcoder2", "lfm2", "mamba", "falcon_mamba"];

fn add_embeddings(config: &ModelConfig, hidden: u64, all: &mut Matrices) -> Result<(), ModelError> {
    let vocabulary = vocabulary(config)?.ok_or_else(|| config.wrong("vocab_size", "is missing", CURE))?;
    all.add("embed_tokens", (vocabulary, hidden), Sharing::Divided);
    let tied = config.flag("tie_word_embeddings").or_else(|| config.flag("tie_embedding"));
    let family = config.model_type();
    let usual = || TIED_FAMILIES.iter().any(|name| family.starts_with(name)) && family != "mamba2";
    if !tied.unwrap_or_else(usual) {
        all.add("lm_head", (vocabulary, hidden), Sharing::Divided);
    }
    add_per_layer_inputs(config, hidden, all)
}

/// Gemma 3n and Gemma 4: adds a table with inputs to each layer, and its projections.
fn add_per_layer_inputs(config: &ModelConfig, hidden: u64, all: &mut Matrices) -> Result<(), ModelError> {
    let count = config.count_or_zero("num_hidden_layers")?;
    let inputs = count * config.count_or_zero("hidden_size_per_layer_input")?;
    let vocabulary = config.optional(&["vocab_size_per_layer_input"])?.unwrap_or_default();
    all.add("embed_tokens_per_layer", (vocabulary, inputs), Sharing::Whole);
    // One projection serves all layers at once, and each layer has one in each direction.
    all.add("per_layer_projections", (hidden, 3 * inputs), Sharing::Whole);
    let streams = config.optional(&["altup_num_inputs"])?.unwrap_or(1) - 1;
    all.add("altup_projections", (hidden, 2 * streams * hidden), Sharing::Whole);
    let rank = config.count_or_zero("laurel_rank")?;
    all.add("laurel", (hidden, 2 * rank * count), Sharing::Whole);
    Ok(())
}

/// Adds the queries, keys, values and output of a layer, and the index of sparse attention.
fn add_attention(
    config: &ModelConfig,
    cache: &LayerCache,
    attention: &Attention,
    at: &str,
    all: &mut Matrices,
) -> Result<(), ModelError> {
    let hidden = hidden(config)?;
    let Attention { heads, kept, .. } = *attention;
    let name = |matrix: &str| format!("{at}.self_attn.{matrix}");
    match kept {
        TokenCacheLayout::Heads { kv_heads, key, value } if config.model_type() != "minicpm3" => {
            let gated = config.flag("attn_output_gate").unwrap_or_else(|| recurrent::is_gated(config));
            let queries = if gated { 2 } else { 1 };
            all.add(name("q_proj"), (hidden, queries * heads * key), Sharing::Divided);
            all.add(name("o_proj"), (hidden, heads * value), Sharing::Divided);
            let shares = cache.layer.shares && config.model_type() != "gemma3n_text";
            if !shares {
                all.add(name("k_proj"), (hidden, kv_heads * key), Sharing::Heads(kv_heads));
            }
            let same = config.flag("attention_k_eq_v") == Some(true) && cache.layer.mixer == Mixer::Full;
            if !shares && !same {
                all.add(name("v_proj"), (hidden, kv_heads * value), Sharing::Heads(kv_heads));
            }
        }
        _ => add_latent_attention(config, heads, &name, all)?,
    }
    add_sparse_index(config, attention.index, &name, all)
}

/// Adds latent attention: the projections down to the latents, up to the heads, and out.
fn add_latent_attention(
    config: &ModelConfig,
    heads: u64,
    name: &impl Fn(&str) -> String,
    all: &mut Matrices,
) -> Result<(), ModelError> {
    let hidden = hidden(config)?;
    let size = |name| needed(config, &[name]);
    let (rank, rope, plain) = (size("kv_lora_rank")?, size("qk_rope_head_dim")?, size("qk_nope_head_dim")?);
    let value = match config.optional(&["v_head_dim"])? {
        Some(value) => value,
        None => attention::head_size(config, heads)?,
    };
    match config.optional(&["q_lora_rank"])? {
        Some(low) => {
            all.add(name("q_a_proj"), (hidden, low), Sharing::Whole);
            all.add(name("q_b_proj"), (low, heads * (plain + rope)), Sharing::Divided);
        }
        None => all.add(name("q_proj"), (hidden, heads * (plain + rope)), Sharing::Divided),
    }
    all.add(name("kv_a_proj_with_mqa"), (hidden, rank + rope), Sharing::Whole);
    all.add(name("kv_b_proj"), (rank, heads * (plain + value)), Sharing::Divided);
    all.add(name("o_proj"), (hidden, heads * value), Sharing::Divided);
    Ok(())
}

fn add_sparse_index(
    config: &ModelConfig,
    index: SparseIndex,
    name: &impl Fn(&str) -> String,
    all: &mut Matrices,
) -> Result<(), ModelError> {
    let hidden = hidden(config)?;
    match index {
        SparseIndex::Absent => {}
        SparseIndex::Scaled(size) => {
            let heads = needed(config, &["index_n_heads"])?;
            let low = config.optional(&["q_lora_rank"])?.unwrap_or(hidden);
            all.add(name("indexer.wq_b"), (low, heads * size), Sharing::Whole);
            all.add(name("indexer.wk"), (hidden, size), Sharing::Whole);
            all.add(name("indexer.weights_proj"), (hidden, heads), Sharing::Whole);
        }
        SparseIndex::Plain(size) => {
            let heads = config.within("sparse_attention_config", "sparse_num_index_heads");
            let heads = heads.and_then(serde_json::Value::as_u64).unwrap_or(1);
            all.add(name("index_q_proj"), (hidden, heads * size), Sharing::Whole);
            all.add(name("index_k_proj"), (hidden, size), Sharing::Whole);
        }
    }
    Ok(())
}
