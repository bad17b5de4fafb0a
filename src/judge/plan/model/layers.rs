//! Which layers keep every token, and which only the last ones.

use serde_json::Value;

use super::config::{Config, ModelError, excerpt};

/// A model's layers by what they keep. Layers with a state of fixed size (linear attention) are in neither count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layers {
    /// Keep every token.
    pub full: u64,
    /// Keep the last `window` tokens.
    pub windowed: u64,
    /// How many that is; 0 where no layer has a window.
    pub window: u64,
}

/// More layers than any model has.
const MOST_LAYERS: u64 = 100_000;

/// Fields of models that mix attention with state-space layers in ways that are not read here.
const STATE_SPACE: [&str; 4] =
    ["attn_layer_period", "hybrid_override_pattern", "layers_block_type", "mamba_d_state"];

impl Layers {
    pub fn read(config: &Config) -> Result<Self, ModelError> {
        let count = config.needed(&["num_hidden_layers", "n_layer", "n_layers", "num_layers"])?;
        if count > MOST_LAYERS {
            return Err(config.wrong("num_hidden_layers", &format!("is {count}"), "correct it"));
        }
        if let Some(types) = config.get("layer_types") {
            return by_type(config, types);
        }
        if let Some(field) = STATE_SPACE.iter().find(|field| config.get(field).is_some()) {
            return Err(config.wrong(
                field,
                "says that some layers are no attention, which is not counted here",
                "give --kv-tokens, from the server's start-up log",
            ));
        }
        by_pattern(config, count)
    }

    fn all_full(count: u64) -> Self {
        Self { full: count, windowed: 0, window: 0 }
    }
}

/// The layers by name, as newer files list them.
fn by_type(config: &Config, types: &Value) -> Result<Layers, ModelError> {
    let cure = "correct it, or give --kv-tokens instead";
    let Some(types) = types.as_array() else {
        return Err(config.wrong("layer_types", "is no list", cure));
    };
    let mut layers = Layers { full: 0, windowed: 0, window: 0 };
    for name in types {
        match name.as_str() {
            Some("full_attention" | "attention") => layers.full += 1,
            Some("sliding_attention") => {
                layers.windowed += 1;
                layers.window = config.needed(&["sliding_window"])?;
            }
            Some("chunked_attention") => {
                layers.windowed += 1;
                layers.window = config.needed(&["attention_chunk_size"])?;
            }
            Some("linear_attention" | "mamba" | "conv") => {}
            _ => {
                let why = format!("has {}, which is not known here", excerpt(name));
                return Err(config.wrong("layer_types", &why, cure));
            }
        }
    }
    if layers.full + layers.windowed == 0 {
        return Err(config.wrong("layer_types", "has no attention", cure));
    }
    Ok(layers)
}

/// The layers by the family's rule.
fn by_pattern(config: &Config, count: u64) -> Result<Layers, ModelError> {
    if config.flag("use_sliding_window") == Some(false) {
        return Ok(Layers::all_full(count));
    }
    let Some(window) = config.count(&["sliding_window", "attention_chunk_size"])? else {
        return Ok(Layers::all_full(count));
    };
    let every = config.count(&["sliding_window_pattern", "_sliding_window_pattern"])?;
    let full = match (every, config.model_type()) {
        (Some(every), _) => count / every,
        (None, "gemma3" | "gemma3_text") => count / 6,
        (None, "gemma2" | "gpt_oss") => count / 2,
        (None, "cohere2" | "llama4" | "llama4_text") => count / 4,
        // Here the first layers keep everything.
        (None, _) if config.flag("use_sliding_window") == Some(true) => {
            config.count_or_zero("max_window_layers")?.min(count)
        }
        (None, _) => 0,
    };
    Ok(Layers { full, windowed: count - full, window })
}
