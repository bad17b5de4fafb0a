use serde_json::{Value, json};

use super::*;

mod caches;
mod families;
mod pools;
mod refused;
mod sizes;

pub(super) const LLAMA_8B: &str = include_str!("../../../../tests/fixtures/models/llama-3-8b.json");
pub(super) const LLAMA_70B: &str = include_str!("../../../../tests/fixtures/models/llama-3-70b.json");
pub(super) const QWEN_7B: &str = include_str!("../../../../tests/fixtures/models/qwen2.5-7b.json");
pub(super) const DEEPSEEK: &str = include_str!("../../../../tests/fixtures/models/deepseek-v3.json");
pub(super) const GEMMA_4B: &str = include_str!("../../../../tests/fixtures/models/gemma-3-4b.json");
pub(super) const GEMMA_27B: &str = include_str!("../../../../tests/fixtures/models/gemma-3-27b.json");

fn read(text: &str) -> Result<ModelArchitecture, ModelError> {
    ModelArchitecture::from_json(Path::new("config.json"), text, None)
}

fn model(text: &str) -> ModelArchitecture {
    read(text).unwrap()
}

fn of(config: &Value) -> ModelArchitecture {
    model(&config.to_string())
}

fn error(text: &str) -> String {
    match read(text) {
        Ok(_) => panic!("not refused: {text}"),
        Err(error) => error.to_string(),
    }
}

/// Returns a model's file with some fields changed.
fn changed(text: &str, fields: &Value) -> String {
    let mut config: Value = serde_json::from_str(text).unwrap();
    for (name, value) in fields.as_object().unwrap() {
        config[name] = value.clone();
    }
    config.to_string()
}

/// Makes a list for `count` layers: `name` for each n-th layer, `other` for the rest.
fn every(count: usize, interval: usize, name: &str, other: &str) -> Value {
    (0..count).map(|place| if (place + 1) % interval == 0 { name } else { other }).collect()
}

/// What a model keeps with its own type on one GPU: per token in full layers and in windowed layers, the window, and
/// per sequence.
fn kept(model: &ModelArchitecture) -> (f64, f64, u64, f64) {
    let kv = model.kv_type(None, false).unwrap();
    let KvCost { full, windowed, window, state } = model.kv_cost(kv, 1).unwrap();
    (full, windowed, window, state)
}
