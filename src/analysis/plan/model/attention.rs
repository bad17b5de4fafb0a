//! What an attention layer keeps per token.

use serde_json::Value;

use super::config::{CURE, ModelConfig, ModelError, is_none, value_excerpt};
use super::layer::{Layer, Mixer};

/// The attention of one layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Attention {
    /// The number of query heads.
    pub heads: u64,
    pub kept: TokenCacheLayout,
    pub index: SparseIndex,
}

/// What a layer keeps per token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum TokenCacheLayout {
    /// A key and a value for each KV head.
    Heads { kv_heads: u64, key: u64, value: u64 },
    /// One latent vector for all heads and one rotary key, both complete on every GPU.
    Latent { rank: u64, rope: u64 },
}

/// What sparse attention keeps in addition, to select tokens; complete on every GPU.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum SparseIndex {
    /// No index.
    Absent,
    /// A key of 8-bit values with a scale of 4 bytes per 128 values (DeepSeek V3.2, GLM 5).
    Scaled(u64),
    /// A key in the cache's own type (MiniMax M3).
    Plain(u64),
}

/// The type of keys and values in the cache.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum KvType {
    /// 16 bits.
    Half,
    /// 8 bits.
    Byte,
    /// 8 bits: latents with scales, and a rotary key of 16 bits (vLLM's `fp8_ds_mla`).
    ScaledLatents,
    /// 4 bits, with a scale of 8 bits per 16 values.
    Nvfp4,
}

impl KvType {
    fn bytes_per_number(self) -> f64 {
        match self {
            Self::Half => 2.0,
            Self::Byte | Self::ScaledLatents => 1.0,
            Self::Nvfp4 => 4.5 / 8.0,
        }
    }
}

impl Attention {
    /// The bytes of a token on each of `tp` GPUs. A KV head is never split, so with more GPUs than KV heads several
    /// GPUs hold the same head.
    pub(super) fn bytes(&self, kv: KvType, tp: u64) -> f64 {
        let kept = match (self.kept, kv) {
            (TokenCacheLayout::Heads { kv_heads, key, value }, _) => {
                (kv_heads.div_ceil(tp) * (key + value)) as f64 * kv.bytes_per_number()
            }
            (TokenCacheLayout::Latent { rank, rope }, KvType::ScaledLatents) => {
                (rank + 4 * rank.div_ceil(128) + 2 * rope) as f64
            }
            (TokenCacheLayout::Latent { rank, rope }, _) => (rank + rope) as f64 * kv.bytes_per_number(),
        };
        kept + match self.index {
            SparseIndex::Absent => 0.0,
            SparseIndex::Scaled(size) => (size + 4 * size.div_ceil(128)) as f64,
            SparseIndex::Plain(size) => size as f64 * kv.bytes_per_number(),
        }
    }

    /// Whether `tp` GPUs can share the layer.
    pub(super) fn divides(&self, tp: u64) -> bool {
        let whole = match self.kept {
            TokenCacheLayout::Heads { kv_heads, .. } => {
                kv_heads.is_multiple_of(tp) || tp.is_multiple_of(kv_heads)
            }
            TokenCacheLayout::Latent { .. } => true,
        };
        whole && self.heads.is_multiple_of(tp)
    }

    pub(super) fn is_latent(&self) -> bool {
        matches!(self.kept, TokenCacheLayout::Latent { .. })
    }
}

/// Reads the attention of the layer at `place`; `None` if the layer has none.
///
/// # Errors
///
/// For a field that is missing or not understood.
pub(super) fn read(
    config: &ModelConfig,
    layer: &Layer,
    place: usize,
) -> Result<Option<Attention>, ModelError> {
    let windowed = match layer.mixer {
        Mixer::Recurrent | Mixer::Absent => return Ok(None),
        Mixer::Windowed(_) => true,
        Mixer::Full | Mixer::Parallel | Mixer::Cross => false,
    };
    let latent = config.flag("use_mla") != Some(false) && config.model_type() != "minicpm3";
    if latent && let Some(rank) = config.optional(&["kv_lora_rank"])? {
        let rope = config.required_count(&["qk_rope_head_dim"])?;
        let attention = Attention {
            heads: heads(config)?,
            kept: TokenCacheLayout::Latent { rank, rope },
            index: SparseIndex::Absent,
        };
        return Ok(Some(Attention { index: sparse_index(config, place)?, ..attention }));
    }
    let attention = if config.model_type() == "minicpm3" {
        // vLLM expands the latents of this family to all heads in its cache, with keys and values of equal size.
        let size =
            config.required_count(&["qk_nope_head_dim"])? + config.required_count(&["qk_rope_head_dim"])?;
        let heads = heads(config)?;
        Attention {
            heads,
            kept: TokenCacheLayout::Heads { kv_heads: heads, key: size, value: size },
            index: SparseIndex::Absent,
        }
    } else if windowed {
        windowed_attention(config, layer)?
    } else {
        full_attention(config, layer)?
    };
    Ok(Some(Attention { index: sparse_index(config, place)?, ..attention }))
}

/// The number of query heads of the model's usual layers.
pub(super) fn heads(config: &ModelConfig) -> Result<u64, ModelError> {
    match config.count(&["num_attention_heads", "n_head", "num_heads", "n_heads"])? {
        Some(heads) => Ok(heads),
        None => Err(config.missing("num_attention_heads")),
    }
}

/// The size of a head.
pub(super) fn head_size(config: &ModelConfig, heads: u64) -> Result<u64, ModelError> {
    let names: &[&str] = match config.model_type() {
        // The shared attention is twice as wide as the model; vLLM does not use `kv_channels` for it.
        "zamba2" => &["attention_head_dim"],
        _ => &["head_dim", "attention_head_dim", "kv_channels", "hidden_size_per_head"],
    };
    if let Some(size) = config.optional(names)? {
        return Ok(size);
    }
    let hidden = config.required_count(&["hidden_size", "n_embd", "n_embed", "d_model"])?;
    if config.model_type() == "zamba2" {
        return Ok(2 * hidden / heads);
    }
    if !hidden.is_multiple_of(heads) {
        return Err(config.wrong(
            "head_dim",
            "is missing and the heads do not divide `hidden_size`",
            "add it",
        ));
    }
    Ok(hidden / heads)
}

fn default_attention(config: &ModelConfig, layer: &Layer) -> Result<Attention, ModelError> {
    let heads = heads(config)?;
    let key = head_size(config, heads)?;
    let kv_heads = match layer.kv_heads {
        Some(kv_heads) => kv_heads,
        None => kv_heads(config, heads)?,
    };
    let value = config.optional(&["v_head_dim"])?.unwrap_or(key);
    Ok(Attention {
        heads,
        kept: TokenCacheLayout::Heads { kv_heads, key, value },
        index: SparseIndex::Absent,
    })
}

/// The number of KV heads, under each field name that public models use.
fn kv_heads(config: &ModelConfig, heads: u64) -> Result<u64, ModelError> {
    let multi_query = config.flag("multi_query").or_else(|| config.flag("multi_query_attention"));
    if config.model_type() == "falcon" && config.flag("new_decoder_architecture") != Some(true) {
        // Falcon 7B: `num_kv_heads` is not used.
        return Ok(if multi_query == Some(true) { 1 } else { heads });
    }
    let names =
        ["num_key_value_heads", "num_kv_heads", "n_head_kv", "num_attention_groups", "multi_query_group_num"];
    if let Some(kv_heads) = config.optional(&names)? {
        return Ok(kv_heads);
    }
    if let Some(value) = config.within("attn_config", "kv_n_heads").filter(|value| !is_none(value)) {
        return config.counted("attn_config", value);
    }
    match multi_query {
        Some(true) => Ok(1),
        _ => Ok(heads),
    }
}

/// Reads a full layer. Full layers of Gemma 4 have their own head sizes.
fn full_attention(config: &ModelConfig, layer: &Layer) -> Result<Attention, ModelError> {
    let mut attention = default_attention(config, layer)?;
    let TokenCacheLayout::Heads { kv_heads, key, value } = &mut attention.kept else { return Ok(attention) };
    if let Some(own) = config.optional(&["num_global_key_value_heads"])? {
        *kv_heads = own;
    }
    if let Some(own) = config.optional(&["global_head_dim"])? {
        (*key, *value) = (own, own);
    }
    Ok(attention)
}

/// Reads a windowed layer. Windowed layers of MiMo V2 and Step 3.5 have their own head sizes.
fn windowed_attention(config: &ModelConfig, layer: &Layer) -> Result<Attention, ModelError> {
    let mut attention = default_attention(config, layer)?;
    let other = |name: &str| {
        let value = config.within("attention_other_setting", name);
        value.map(|value| config.counted("attention_other_setting", value)).transpose()
    };
    let TokenCacheLayout::Heads { kv_heads, key, value } = &mut attention.kept else { return Ok(attention) };
    if let Some(own) = config.optional(&["swa_num_key_value_heads"])?.or(other("num_attention_groups")?) {
        *kv_heads = own;
    }
    if let Some(own) = config.optional(&["swa_head_dim"])?.or(other("head_dim")?) {
        (*key, *value) = (own, own);
    }
    if let Some(own) = config.optional(&["swa_v_head_dim"])? {
        *value = own;
    }
    if let Some(own) = config
        .optional(&["swa_num_attention_heads", "num_sliding_attention_heads"])?
        .or(other("num_attention_heads")?)
    {
        attention.heads = own;
    }
    Ok(attention)
}

/// Reads the index of sparse attention, in the layers that have one.
fn sparse_index(config: &ModelConfig, place: usize) -> Result<SparseIndex, ModelError> {
    if let Some(size) = config.optional(&["index_head_dim"])? {
        return Ok(if has_indexer(config, place)? { SparseIndex::Scaled(size) } else { SparseIndex::Absent });
    }
    let Some(sparse) = config.first_active("sparse_attention_config") else { return Ok(SparseIndex::Absent) };
    let flag = |name: &str| sparse.get(name).and_then(|list| list.get(place)).and_then(Value::as_u64);
    if sparse.get("use_sparse_attention").and_then(Value::as_bool) == Some(false) {
        return Ok(SparseIndex::Absent);
    }
    let size = sparse.get("sparse_index_dim").and_then(Value::as_u64);
    match (size, flag("sparse_attention_freq"), flag("sparse_disable_index_value")) {
        (Some(_), Some(0), _) => Ok(SparseIndex::Absent),
        (Some(size), Some(1), Some(1)) => Ok(SparseIndex::Plain(size)),
        _ => Err(config.wrong(
            "sparse_attention_config",
            &format!("has an unsupported value for layer {place}"),
            CURE,
        )),
    }
}

/// GLM 5.2: some layers reuse the selection of an earlier layer.
fn has_indexer(config: &ModelConfig, place: usize) -> Result<bool, ModelError> {
    if let Some(list) = config.first_active("indexer_types") {
        return match list.get(place).and_then(Value::as_str) {
            Some("full") => Ok(true),
            Some("shared") => Ok(false),
            _ => {
                let value = list.get(place).unwrap_or(&Value::Null);
                let why = format!("has {value} for layer {place}, which servegauge does not support");
                Err(config.wrong("indexer_types", &why, CURE))
            }
        };
    }
    if let Some(pattern) = config.first_active("index_topk_pattern") {
        let why = format!("is {}, which servegauge does not support", value_excerpt(pattern));
        return Err(config.wrong("index_topk_pattern", &why, CURE));
    }
    let Some(every) = config.optional(&["index_topk_freq"])? else { return Ok(true) };
    let first = config.count_or_zero("index_skip_topk_offset")? as usize;
    Ok((place + 1).saturating_sub(first).is_multiple_of(every as usize))
}
