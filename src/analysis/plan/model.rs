//! What a model keeps per sequence and the size of its weights, from its `config.json`.
//!
//! Each layer is read separately: attention over all tokens or over the last ones, with the heads and the head sizes of
//! that layer; latent attention (MLA), which keeps one latent vector and one rotary key; an index of sparse attention;
//! a state of fixed size; nothing, or the keys and values of another layer. A field that may change this and that is
//! not understood is refused by name.

use std::path::Path;

use attention::Attention;
pub(crate) use attention::KvType;
pub(crate) use config::ModelError;
use config::{CURE, ModelConfig};
use layer::{Layer, Mixer};
use state::RecurrentState;

use super::pool::KvCost;

mod attention;
mod blocks;
mod config;
mod defaults;
mod experts;
mod fields;
mod layer;
mod layers;
mod matrix;
mod mistral;
mod parameters;
mod per_layer;
mod quantization;
mod recurrent;
mod state;
mod vision;
pub(crate) mod weights;

/// A layer, and what it keeps.
#[derive(Debug, Clone, Copy, PartialEq)]
struct LayerCache {
    layer: Layer,
    attention: Option<Attention>,
    state: Option<RecurrentState>,
}

/// The properties of a model that determine its memory.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ModelArchitecture {
    config: ModelConfig,
    layers: Vec<LayerCache>,
    window: Option<u64>,
}

/// The largest accepted number in a config, far above any value of a real model.
const MAX_FIELD_VALUE: u64 = 1 << 40;

impl ModelArchitecture {
    /// Parses a `config.json`, or a `params.json` of Mistral's format; errors name `path`. `quantization` is the text
    /// of the `hf_quant_config.json` beside the config, if there is one.
    ///
    /// # Errors
    ///
    /// For invalid JSON, for fields that are missing or inconsistent, and for fields that may change what is kept and
    /// are not understood: [`ModelError`] names the field.
    pub(crate) fn from_json(path: &Path, text: &str, quantization: Option<&str>) -> Result<Self, ModelError> {
        let mut config = ModelConfig::read(path, text)?;
        if let Some(quantization) = quantization {
            config = config.with_quantization(quantization)?;
        }
        fields::check(&config)?;
        let read = layers::read(&config)?;
        let mut layers = Vec::with_capacity(read.len());
        let mut state = None;
        for (place, layer) in read.into_iter().enumerate() {
            let attention = attention::read(&config, &layer, place)?;
            let recurs = matches!(layer.mixer, Mixer::Recurrent | Mixer::Parallel);
            if recurs && state.is_none() {
                state = Some(state::read(&config)?);
            }
            layers.push(LayerCache { layer, attention, state: state.filter(|_| recurs) });
        }
        let window = sliding_window(&config, &layers)?;
        Ok(Self { config, layers, window })
    }

    /// The type that the config states for computing, such as `bfloat16`.
    pub(crate) fn dtype(&self) -> Option<&str> {
        let name = self.config.word("torch_dtype").or_else(|| self.config.word("dtype"))?;
        Some(name.trim_start_matches("torch.")).filter(|name| *name != "auto")
    }

    /// The tokens of the longest request that the config allows.
    pub(crate) fn max_model_len(&self) -> Option<u64> {
        self.config.optional(&["max_position_embeddings"]).ok().flatten()
    }

    /// Returns what the keys, values and states of a sequence take on each of `tp` GPUs.
    ///
    /// # Errors
    ///
    /// When the heads cannot be divided among `tp` GPUs.
    pub(crate) fn kv_cost(&self, kv: KvType, tp: u64) -> Result<KvCost, ModelError> {
        let mut cost = KvCost { window: self.window.unwrap_or_default(), ..KvCost::default() };
        for cache in &self.layers {
            if let Some(attention) = &cache.attention {
                self.check_divisible(attention, tp)?;
                let bytes = attention.bytes(kv, tp);
                match cache.layer.mixer {
                    _ if cache.layer.shares => {}
                    Mixer::Windowed(_) => cost.windowed += bytes,
                    Mixer::Full | Mixer::Parallel => cost.full += bytes,
                    Mixer::Recurrent | Mixer::Cross | Mixer::Absent => {}
                }
            }
            cost.state += cache.state.map_or(0, |state| state.bytes(tp)) as f64;
        }
        Ok(cost)
    }

    fn check_divisible(&self, attention: &Attention, tp: u64) -> Result<(), ModelError> {
        if attention.divides(tp) {
            return Ok(());
        }
        let why = format!("is {}, which `plan.tp` {tp} does not divide", attention.heads);
        Err(self.config.wrong("num_attention_heads", &why, "give a `plan.tp` that divides the heads"))
    }

    /// Returns the type of keys and values: the requested one, or the model's own if `asked` is `None`. GPUs that read
    /// 8-bit latents without scales (Blackwell) keep them `flat`; others keep a scale per 128 values.
    ///
    /// # Errors
    ///
    /// For a type that is not known.
    pub(crate) fn kv_type(&self, asked: Option<KvType>, flat: bool) -> Result<KvType, ModelError> {
        let of_bytes = if self.has_scaled_latents() && !flat { KvType::ScaledLatents } else { KvType::Byte };
        match asked {
            Some(KvType::Byte) => Ok(of_bytes),
            Some(other) => Ok(other),
            None => Ok(match quantization::kv_type(&self.config)? {
                Some(KvType::Byte) => of_bytes,
                Some(other) => other,
                None if self.config.model_type() == "deepseek_v32" => of_bytes,
                None => KvType::Half,
            }),
        }
    }

    /// Whether the model has latents with sparse attention, which have a special layout at 8 bits.
    fn has_scaled_latents(&self) -> bool {
        self.layers.iter().filter_map(|cache| cache.attention).any(|attention| {
            attention.is_latent() && matches!(attention.index, attention::SparseIndex::Scaled(_))
        })
    }

    /// Returns the bytes per token that vLLM assumes when it prints the size of its pool. vLLM puts full and windowed
    /// layers into groups of equal size, and pads the last group. `None` for models without such groups, or if the
    /// layers differ in size.
    pub(crate) fn printed_bytes_per_token(&self, kv: KvType, tp: u64) -> Option<f64> {
        if self.layers.iter().any(|cache| cache.state.is_some()) {
            return None;
        }
        let own = self.layers.iter().filter(|cache| !cache.layer.shares);
        let sized = own.filter_map(|cache| Some((cache.layer.mixer, cache.attention?.bytes(kv, tp))));
        let sized: Vec<(Mixer, f64)> = sized.filter(|(mixer, _)| *mixer != Mixer::Cross).collect();
        let bytes = sized.first()?.1;
        if sized.iter().any(|(_, other)| (other - bytes).abs() > f64::EPSILON) {
            return None;
        }
        let full = sized.iter().filter(|(mixer, _)| *mixer == Mixer::Full).count();
        let windowed = sized.len() - full;
        let (least, most) = (full.min(windowed), full.max(windowed));
        if least == 0 {
            return Some(most as f64 * bytes);
        }
        // As in vLLM's kv_cache_utils.py: the group size is the smaller number of layers, or the larger one if the two
        // are close.
        let size = if (most as f64) < 1.25 * least as f64 { most } else { least };
        let charged = (full.div_ceil(size) + windowed.div_ceil(size)) * size;
        Some(charged as f64 * bytes)
    }

    /// Returns remarks on what the results leave out.
    pub(crate) fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        let count = |is: fn(&LayerCache) -> bool| self.layers.iter().filter(|cache| is(cache)).count();
        if let Some(window) = self.window {
            let windowed = count(|cache| matches!(cache.layer.mixer, Mixer::Windowed(_)));
            notes.push(format!(
                "{windowed} of {} layers keep the last {window} tokens only; a vLLM without the hybrid KV cache manager keeps all",
                self.layers.len()
            ));
        }
        let states = count(|cache| cache.state.is_some());
        if states > 0 {
            notes.push(format!(
                "{states} of {} layers keep a state of fixed size for each sequence; with prefix caching vLLM keeps more of them",
                self.layers.len()
            ));
        }
        if count(|cache| cache.layer.mixer == Mixer::Cross) > 0 {
            notes.push("the cross-attention cache of images is not counted".into());
        }
        notes
    }
}

/// The window of a model's windowed layers.
fn sliding_window(config: &ModelConfig, layers: &[LayerCache]) -> Result<Option<u64>, ModelError> {
    let mut windows = layers.iter().filter_map(|cache| match cache.layer.mixer {
        Mixer::Windowed(window) => Some(window),
        _ => None,
    });
    let first = windows.next();
    match windows.find(|window| Some(*window) != first) {
        None => Ok(first),
        Some(other) => {
            let why = format!("is {} in one layer and {other} in another", first.unwrap_or_default());
            Err(config.wrong("sliding_window", &why, CURE))
        }
    }
}

#[cfg(test)]
mod tests;
