//! What a model keeps of a token and what it weighs, by its `config.json`.
//!
//! Keys and values take 2 × layers × KV heads × head size × bytes a token. With grouped queries (GQA) there are fewer
//! KV heads than heads; with latent attention (MLA) a layer keeps one latent vector and one rotary key instead of keys and
//! values; with sliding windows some layers keep only the last tokens.

use std::path::Path;

use config::Config;
pub use config::ModelError;
use layers::Layers;

use super::pool::KvCost;

mod config;
mod layers;
mod weights;

/// How a layer keeps what attention needs of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attention {
    /// A key and a value for each KV head.
    Heads { kv_heads: u64, head_size: u64 },
    /// One vector for all heads, kept whole on every GPU.
    Latent { width: u64 },
}

/// A model, as far as memory goes.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    config: Config,
    attention: Attention,
    layers: Layers,
    heads: u64,
}

/// The widest a number in a config may be; far more than any model has of anything.
const MOST: u64 = 1 << 40;

impl Model {
    /// Reads a `config.json`; `path` is named in errors.
    ///
    /// # Errors
    /// For what is no JSON, and for fields that are missing or make no sense: [`ModelError`] names the field.
    pub fn from_json(path: &Path, text: &str) -> Result<Self, ModelError> {
        let config = Config::read(path, text)?;
        let heads = match config.count(&["num_attention_heads", "n_head", "num_heads"])? {
            Some(heads) => heads,
            None if is_gemma_3(&config) => 8,
            None => return Err(config.missing("num_attention_heads")),
        };
        let attention = match config.count(&["kv_lora_rank"])? {
            Some(rank) => Attention::Latent { width: rank + config.needed(&["qk_rope_head_dim"])? },
            None => grouped(&config, heads)?,
        };
        Ok(Self { attention, layers: Layers::read(&config)?, heads, config })
    }

    /// Bytes of a token's keys and values over all layers and all GPUs, within every window, at so many bytes a number.
    pub fn bytes_per_token(&self, number: f64) -> u64 {
        (self.numbers(1) as f64 * (self.layers.full + self.layers.windowed) as f64 * number) as u64
    }

    /// Bytes of a token's keys and values on each of `tp` GPUs, at so many bytes a number.
    ///
    /// # Errors
    /// When the heads cannot be divided among so many.
    pub fn cost(&self, number: f64, tp: u64) -> Result<KvCost, ModelError> {
        let whole = match self.attention {
            Attention::Heads { kv_heads, .. } => kv_heads.is_multiple_of(tp) || tp.is_multiple_of(kv_heads),
            Attention::Latent { .. } => true,
        };
        if !whole || !self.heads.is_multiple_of(tp) {
            let why = format!("is {}, which --tp {tp} does not divide", self.heads);
            return Err(self.config.wrong("num_attention_heads", &why, "give a --tp that divides the heads"));
        }
        let layer = self.numbers(tp) as f64 * number;
        let Layers { full, windowed, window } = self.layers;
        Ok(KvCost { full: full as f64 * layer, windowed: windowed as f64 * layer, window })
    }

    /// Numbers a layer keeps of a token on each of `tp` GPUs. A KV head is never split, so it is on several where there
    /// are more GPUs than KV heads.
    fn numbers(&self, tp: u64) -> u64 {
        match self.attention {
            Attention::Heads { kv_heads, head_size } => 2 * kv_heads.div_ceil(tp) * head_size,
            Attention::Latent { width } => width,
        }
    }

    /// Bytes of a number of keys and values where `--kv-cache-dtype` is `auto`: the model's own.
    ///
    /// # Errors
    /// For a type that is not known.
    pub fn number_bytes(&self) -> Result<f64, ModelError> {
        weights::number_bytes(&self.config)
    }

    /// How many parameters the language model has, worked out from its shape.
    ///
    /// # Errors
    /// For a family whose shape does not say it: [`ModelError`] says to give the weights.
    pub fn parameters(&self) -> Result<u64, ModelError> {
        weights::parameters(&self.config, self.heads, self.attention).map(|all| all.total())
    }

    /// Bytes of its weights, quantised as its config says.
    ///
    /// # Errors
    /// As [`Model::parameters`], and for a quantisation that is not known.
    pub fn weight_bytes(&self) -> Result<u64, ModelError> {
        weights::bytes(&self.config, weights::parameters(&self.config, self.heads, self.attention)?)
    }

    /// What the figures leave out.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.config.has_vision() {
            notes.push(
                "the weights are those of the language model: add the vision part with --reserved-memory"
                    .into(),
            );
        }
        if self.layers.windowed > 0 {
            let Layers { full, windowed, window } = self.layers;
            notes.push(format!(
                "{windowed} of {} layers keep the last {window} tokens only; a vLLM without the hybrid KV cache manager keeps all",
                full + windowed
            ));
        }
        notes
    }
}

fn is_gemma_3(config: &Config) -> bool {
    config.model_type() == "gemma3_text" || config.model_type() == "gemma3"
}

fn grouped(config: &Config, heads: u64) -> Result<Attention, ModelError> {
    let gemma = is_gemma_3(config);
    let kv_heads = match config.count(&["num_key_value_heads", "multi_query_group_num"])? {
        Some(kv_heads) => kv_heads,
        // Files of Gemma 3 leave out what is the family's default.
        None if gemma => 4,
        None => heads,
    };
    let head_size = match config.count(&["head_dim", "kv_channels"])? {
        Some(size) => size,
        None if gemma => 256,
        None => {
            let hidden = config.needed(&["hidden_size", "n_embd", "d_model"])?;
            if !hidden.is_multiple_of(heads) {
                return Err(config.wrong(
                    "head_dim",
                    "is missing and the heads do not divide `hidden_size`",
                    "add it",
                ));
            }
            hidden / heads
        }
    };
    Ok(Attention::Heads { kv_heads, head_size })
}

#[cfg(test)]
mod tests;
