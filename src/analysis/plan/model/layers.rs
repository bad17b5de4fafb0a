//! Reads the kind of each layer, from the fields that public models use.

use serde_json::Value;

use super::blocks;
use super::config::{CURE, ModelConfig, ModelError, value_excerpt};
use super::layer::{FeedForward, Layer, Mixer};

/// A limit above the number of layers of any model.
const MOST_LAYERS: u64 = 100_000;

/// A function that reads the layers that a field describes.
type LayerReader = fn(&ModelConfig, &str, &Value, usize) -> Result<Vec<Layer>, ModelError>;

/// The fields that state the kind of each layer. The first one that a file has decides.
const LAYER_FIELDS: [(&str, LayerReader); 15] = [
    ("block_configs", blocks::read),
    ("layer_types", by_name),
    ("layers_block_type", by_name),
    ("hybrid_override_pattern", by_letter),
    ("hybrid_layer_pattern", by_flag_windowed),
    ("attn_type_list", by_flag_full),
    ("linear_attn_config", by_position_lists),
    ("attn_layer_indices", by_positions),
    ("full_attn_idxs", by_positions),
    ("attn_layer_period", by_period),
    ("full_attention_interval", by_interval_recurrent),
    ("global_attn_every_n_layers", by_interval_windowed),
    ("sliding_window_pattern", by_window_pattern),
    ("_sliding_window_pattern", by_window_pattern),
    ("attention_chunk_size", by_chunks),
];

/// The names of those fields.
pub(super) fn sources() -> impl Iterator<Item = &'static str> {
    LAYER_FIELDS.iter().map(|(name, _)| *name)
}

/// Reads all layers of a model.
///
/// # Errors
///
/// Returned for a field that is not understood.
pub(super) fn read(config: &ModelConfig) -> Result<Vec<Layer>, ModelError> {
    let count = count(config)?;
    let source =
        LAYER_FIELDS.iter().find_map(|(name, reader)| Some((*name, reader, config.first_active(name)?)));
    let mut layers = match source {
        Some((name, reader, value)) => reader(config, name, value, count)?,
        None => by_family(config, count)?,
    };
    shared(config, &mut layers)?;
    if config.model_type() == "longcat_flash" {
        // Each layer of this family has two attentions.
        layers = layers.repeat(2);
    }
    Ok(layers)
}

/// The number of layers.
///
/// # Errors
///
/// If the file does not state it.
pub(super) fn count(config: &ModelConfig) -> Result<usize, ModelError> {
    let names = ["num_hidden_layers", "n_layer", "n_layers", "num_layers", "num_transformer_layers"];
    let listed = |name: &str| config.first_active(name)?.as_array().map(|list| list.len() as u64);
    let count = match config.count(&names)? {
        Some(count) => count,
        // Newer files of Nemotron H only list the layers.
        None => listed("layers_block_type").ok_or_else(|| config.missing("num_hidden_layers"))?,
    };
    if count > MOST_LAYERS {
        return Err(config.wrong("num_hidden_layers", &format!("is {count}"), "correct it"));
    }
    Ok(count as usize)
}

/// Marks the layers that use the keys and values of other layers, and the layers that attend to something else.
fn shared(config: &ModelConfig, layers: &mut [Layer]) -> Result<(), ModelError> {
    let count = layers.len();
    let last = config.count_or_zero("num_kv_shared_layers")? as usize;
    if last >= count && last > 0 {
        return Err(config.wrong("num_kv_shared_layers", &format!("is {last} of {count} layers"), CURE));
    }
    layers[count - last..].iter_mut().for_each(|layer| layer.shares = true);
    if let Some(value) = config.first_active("num_key_value_heads_per_layer") {
        for (layer, heads) in
            layers.iter_mut().zip(config.per_layer("num_key_value_heads_per_layer", value, count)?)
        {
            layer.kv_heads = Some(config.counted("num_key_value_heads_per_layer", &heads)?);
        }
    }
    let factor = config.optional(&["cla_share_factor"])?.filter(|factor| *factor > 1);
    match (factor, config.flag("use_cla")) {
        (Some(factor), Some(true)) => {
            let own = |place: usize| (place as u64).is_multiple_of(factor);
            layers.iter_mut().enumerate().for_each(|(place, layer)| layer.shares = !own(place));
        }
        (Some(factor), None) => {
            let why = format!("is {factor}, and no `use_cla` says whether it is used");
            return Err(config.wrong("cla_share_factor", &why, CURE));
        }
        _ => {}
    }
    if let Some(value) = config.first_active("cross_attention_layers") {
        for place in positions(config, "cross_attention_layers", value, 0, count)? {
            layers[place].mixer = Mixer::Cross;
        }
    }
    Ok(())
}

/// The number of tokens that a windowed layer keeps.
fn window(config: &ModelConfig) -> Result<u64, ModelError> {
    let names = ["sliding_window", "sliding_window_size", "attention_window_size", "local_attention_window"];
    config.optional(&names)?.ok_or_else(|| config.missing("sliding_window"))
}

fn by_name(config: &ModelConfig, field: &str, value: &Value, count: usize) -> Result<Vec<Layer>, ModelError> {
    let layer = |name: &Value| {
        Ok(match name.as_str() {
            // Where a list also names feed-forward layers, its other layers have no feed-forward part.
            Some("mlp") => Layer::only(Mixer::Absent, FeedForward::Dense),
            Some("moe") => Layer::only(Mixer::Absent, FeedForward::Experts),
            Some(
                "full_attention" | "attention" | "global_attention" | "global" | "deepseek_sparse_attention",
            ) => Layer::new(Mixer::Full),
            // Latent attention with an index; the index size of other attentions is not known.
            Some("indexed_attention")
                if config.first_active("kv_lora_rank").is_some()
                    && config.first_active("index_head_dim").is_some() =>
            {
                Layer::new(Mixer::Full)
            }
            Some("sliding_attention" | "local_attention" | "local" | "sliding") => {
                Layer::new(Mixer::Windowed(window(config)?))
            }
            Some("chunked_attention") => {
                Layer::new(Mixer::Windowed(config.required_count(&["attention_chunk_size"])?))
            }
            Some("linear_attention" | "mamba" | "mamba2" | "conv") => Layer::new(Mixer::Recurrent),
            Some("hybrid") => Layer::new(Mixer::Parallel),
            _ => {
                let why = format!("has {}, which servegauge does not support", value_excerpt(name));
                return Err(config.wrong(field, &why, CURE));
            }
        })
    };
    let names = config.per_layer(field, value, count)?;
    let mut layers = names.iter().map(layer).collect::<Result<Vec<_>, _>>()?;
    if layers.iter().any(|layer| layer.mixer == Mixer::Absent) {
        for layer in layers.iter_mut().filter(|layer| layer.mixer != Mixer::Absent) {
            layer.feed_forward = FeedForward::Absent;
        }
    }
    Ok(layers)
}

/// Nemotron H: a letter for each layer, which is a mixer or a feed-forward layer.
fn by_letter(
    config: &ModelConfig,
    field: &str,
    value: &Value,
    count: usize,
) -> Result<Vec<Layer>, ModelError> {
    let letters = value.as_str().unwrap_or_default();
    if letters.chars().count() != count {
        let why = format!("has {} letters for {count} layers", letters.chars().count());
        return Err(config.wrong(field, &why, CURE));
    }
    let layer = |letter| {
        Ok(match letter {
            'M' => Layer::only(Mixer::Recurrent, FeedForward::Absent),
            '*' => Layer::only(Mixer::Full, FeedForward::Absent),
            '-' => Layer::only(Mixer::Absent, FeedForward::Dense),
            'E' => Layer::only(Mixer::Absent, FeedForward::Experts),
            other => {
                return Err(config.wrong(
                    field,
                    &format!("has {other:?}, which servegauge does not support"),
                    CURE,
                ));
            }
        })
    };
    letters.chars().map(layer).collect()
}

/// A list of 0 and 1; `mixers` are the mixers for 0 and for 1.
fn by_flag(
    config: &ModelConfig,
    field: &str,
    value: &Value,
    count: usize,
    mixers: [Mixer; 2],
) -> Result<Vec<Layer>, ModelError> {
    let layer = |flag: &Value| match flag.as_u64() {
        Some(flag @ (0 | 1)) => Ok(Layer::new(mixers[flag as usize])),
        _ => Err(config.wrong(
            field,
            &format!("has {}, which servegauge does not support", value_excerpt(flag)),
            CURE,
        )),
    };
    config.per_layer(field, value, count)?.iter().map(layer).collect()
}

/// MiMo V2: 1 means a windowed layer.
fn by_flag_windowed(
    config: &ModelConfig,
    field: &str,
    value: &Value,
    count: usize,
) -> Result<Vec<Layer>, ModelError> {
    by_flag(config, field, value, count, [Mixer::Full, Mixer::Windowed(window(config)?)])
}

/// MiniMax: 1 means softmax attention, 0 means lightning attention.
fn by_flag_full(
    config: &ModelConfig,
    field: &str,
    value: &Value,
    count: usize,
) -> Result<Vec<Layer>, ModelError> {
    by_flag(config, field, value, count, [Mixer::Recurrent, Mixer::Full])
}

/// Indices of layers, which the file counts from `first`.
fn positions(
    config: &ModelConfig,
    field: &str,
    value: &Value,
    first: usize,
    count: usize,
) -> Result<Vec<usize>, ModelError> {
    let wrong =
        |what: &Value| config.wrong(field, &format!("has {} of {count} layers", value_excerpt(what)), CURE);
    let place = |entry: &Value| {
        let place = entry.as_u64().and_then(|place| (place as usize).checked_sub(first));
        place.filter(|place| *place < count).ok_or_else(|| wrong(entry))
    };
    value.as_array().ok_or_else(|| wrong(value))?.iter().map(place).collect()
}

/// Kimi: the numbers of the layers with full attention and of those with delta attention, counted from 1.
fn by_position_lists(
    config: &ModelConfig,
    field: &str,
    value: &Value,
    count: usize,
) -> Result<Vec<Layer>, ModelError> {
    let mut layers = vec![None; count];
    for (list, mixer) in [("full_attn_layers", Mixer::Full), ("kda_layers", Mixer::Recurrent)] {
        let listed = value.get(list).ok_or_else(|| config.wrong(field, &format!("has no `{list}`"), CURE))?;
        for place in positions(config, field, listed, 1, count)? {
            layers[place] = Some(Layer::new(mixer));
        }
    }
    let all: Option<Vec<Layer>> = layers.into_iter().collect();
    all.ok_or_else(|| config.wrong(field, &format!("does not list all {count} layers"), CURE))
}

/// Bamba and LFM2: the numbers of the attention layers, counted from 0.
fn by_positions(
    config: &ModelConfig,
    field: &str,
    value: &Value,
    count: usize,
) -> Result<Vec<Layer>, ModelError> {
    let mut layers = vec![Layer::new(Mixer::Recurrent); count];
    for place in positions(config, field, value, 0, count)? {
        layers[place].mixer = Mixer::Full;
    }
    Ok(layers)
}

/// Jamba: one layer of each period has attention.
fn by_period(
    config: &ModelConfig,
    field: &str,
    value: &Value,
    count: usize,
) -> Result<Vec<Layer>, ModelError> {
    let period = config.counted(field, value)? as usize;
    let offset = config.count_or_zero("attn_layer_offset")? as usize;
    Ok(every(count, |place| place % period == offset % period, Mixer::Recurrent))
}

fn by_interval_recurrent(
    config: &ModelConfig,
    field: &str,
    value: &Value,
    count: usize,
) -> Result<Vec<Layer>, ModelError> {
    let interval = config.counted(field, value)? as usize;
    Ok(every(count, |place| (place + 1).is_multiple_of(interval), Mixer::Recurrent))
}

fn by_interval_windowed(
    config: &ModelConfig,
    field: &str,
    value: &Value,
    count: usize,
) -> Result<Vec<Layer>, ModelError> {
    let interval = config.counted(field, value)? as usize;
    Ok(every(count, |place| (place + 1).is_multiple_of(interval), Mixer::Windowed(window(config)?)))
}

/// Makes `count` layers: full attention where `is_full` holds, and `other` elsewhere.
fn every(count: usize, is_full: impl Fn(usize) -> bool, other: Mixer) -> Vec<Layer> {
    (0..count).map(|place| Layer::new(if is_full(place) { Mixer::Full } else { other })).collect()
}

/// Either each n-th layer is full, or a repeated pattern of letters: `L` for local, `G` for global (EXAONE 4).
fn by_window_pattern(
    config: &ModelConfig,
    field: &str,
    value: &Value,
    count: usize,
) -> Result<Vec<Layer>, ModelError> {
    if config.optional(&["sliding_window"])?.is_none() {
        return Ok(every(count, |_| true, Mixer::Full));
    }
    let Some(letters) = value.as_str() else { return by_interval_windowed(config, field, value, count) };
    let letters: Vec<char> = letters.chars().collect();
    if let Some(other) = letters.iter().find(|letter| !matches!(letter, 'L' | 'G')) {
        return Err(config.wrong(field, &format!("has {other:?}, which servegauge does not support"), CURE));
    }
    Ok(every(count, |place| letters[place % letters.len()] == 'G', Mixer::Windowed(window(config)?)))
}

/// Llama 4: layers without rotary embedding have full attention, the others attend within their chunk.
fn by_chunks(
    config: &ModelConfig,
    field: &str,
    value: &Value,
    count: usize,
) -> Result<Vec<Layer>, ModelError> {
    let chunk = Mixer::Windowed(config.counted(field, value)?);
    if !config.model_type().starts_with("llama4") {
        return by_family(config, count);
    }
    match config.first_active("no_rope_layers") {
        Some(list) => by_flag(config, "no_rope_layers", list, count, [Mixer::Full, chunk]),
        None => Ok(every(count, |place| (place + 1).is_multiple_of(4), chunk)),
    }
}

/// PLaMo 2: of each `mamba_step` layers the middle one has attention; if there are fewer layers, the last one has.
fn plamo2(config: &ModelConfig, count: usize) -> Result<Vec<Layer>, ModelError> {
    if config.flag("mamba_enabled") == Some(false) {
        return Ok(vec![Layer::new(Mixer::Full); count]);
    }
    let step = config.required_count(&["mamba_step"])? as usize;
    let middle = step / 2;
    let is_full = |place: usize| if count <= middle { place + 1 == count } else { place % step == middle };
    Ok(every(count, is_full, Mixer::Recurrent))
}

/// Families whose layers all have the window that the file states.
const WINDOWED_EVERYWHERE: [&str; 6] = ["mistral", "mixtral", "ministral", "phi3", "phi3_v", "starcoder2"];

/// Reads the layers of families without such a field, according to their code in `transformers`.
fn by_family(config: &ModelConfig, count: usize) -> Result<Vec<Layer>, ModelError> {
    let family = config.model_type();
    match family {
        "mamba" | "mamba2" | "falcon_mamba" => return Ok(vec![Layer::new(Mixer::Recurrent); count]),
        "falcon_h1" => return Ok(vec![Layer::new(Mixer::Parallel); count]),
        "plamo2" => return plamo2(config, count),
        "qwen3_next" | "qwen3_5_text" | "qwen3_5_moe_text" => {
            return Ok(every(count, |place| (place + 1).is_multiple_of(4), Mixer::Recurrent));
        }
        _ => {}
    }
    let all = |mixer| vec![Layer::new(mixer); count];
    let switch = config.flag("use_sliding_window");
    let off = switch == Some(false) || switch.is_none() && family.starts_with("qwen");
    let window = config.optional(&["sliding_window", "sliding_window_size", "attention_window_size"])?;
    let longest = config.optional(&["max_position_embeddings"])?.unwrap_or(u64::MAX);
    // A window as wide as the longest sequence has no effect.
    let Some(window) = window.filter(|window| !off && *window < longest) else { return Ok(all(Mixer::Full)) };
    let windowed = Mixer::Windowed(window);
    let interval = match family {
        "gemma3" | "gemma3_text" => 6,
        "gemma2" | "gpt_oss" => 2,
        "cohere2" => 4,
        _ if WINDOWED_EVERYWHERE.contains(&family) => return Ok(all(windowed)),
        // The first layers keep every token.
        _ if switch == Some(true) => {
            let full = config.count_or_zero("max_window_layers")? as usize;
            return Ok(every(count, |place| place < full, windowed));
        }
        _ => {
            let why = format!("is {window}, and no field says which layers have it");
            return Err(config.wrong("sliding_window", &why, CURE));
        }
    };
    Ok(every(count, |place| (place + 1).is_multiple_of(interval), windowed))
}
