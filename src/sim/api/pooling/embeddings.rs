//! `/v1/embeddings` and `/pooling` as in vLLM, and `/embeddings` as in infinity.

use std::hash::{DefaultHasher, Hash, Hasher};

use base64::Engine as _;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    super::{
        ApiState,
        message::{ChatMessage, chat_turns},
    },
    PoolingEndpoint, PoolingInput, PoolingRequest, PoolingResult, PoolingTask, truncate_limit,
};
use crate::sim::api::{
    api_error::ApiError,
    generate_request::{RawRequest, read_object, required, served_model},
};
use crate::sim::tokens::{PromptSegment, SpecialMarkers};

pub(super) static EMBEDDINGS: PoolingEndpoint = PoolingEndpoint {
    paths: &["/v1/embeddings"],
    read,
    write: |inquiry, pooled| write(inquiry, pooled, &VLLM_EMBEDDINGS),
};

pub(super) static INFINITY: PoolingEndpoint = PoolingEndpoint {
    paths: &["/embeddings"],
    read,
    write: |inquiry, pooled| write(inquiry, pooled, &INFINITY_EMBEDDINGS),
};

pub(super) static POOLING: PoolingEndpoint = PoolingEndpoint {
    paths: &["/pooling"],
    read,
    write: |inquiry, pooled| write(inquiry, pooled, &VLLM_POOLING),
};

/// The differences between the endpoints' answers.
struct EmbeddingStyle {
    id: &'static str,
    object: &'static str,
    field: &'static str,
}

const VLLM_EMBEDDINGS: EmbeddingStyle =
    EmbeddingStyle { id: "embd-", object: "embedding", field: "embedding" };
const INFINITY_EMBEDDINGS: EmbeddingStyle =
    EmbeddingStyle { id: "infinity-", object: "embedding", field: "embedding" };
const VLLM_POOLING: EmbeddingStyle = EmbeddingStyle { id: "pool-", object: "pooling", field: "data" };

#[derive(Deserialize)]
struct EmbeddingsBody {
    model: Option<String>,
    input: Option<EmbeddingsInput>,
    messages: Option<Vec<ChatMessage>>,
    dimensions: Option<i64>,
    encoding_format: Option<String>,
    truncate_prompt_tokens: Option<i64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum EmbeddingsInput {
    Text(String),
    Tokens(Vec<u32>),
    Texts(Vec<String>),
    TokenLists(Vec<Vec<u32>>),
}

fn read(call: &RawRequest, parts: &ApiState) -> Result<PoolingRequest, ApiError> {
    let body: EmbeddingsBody = read_object(call)?;
    let model = served_model(body.model, &parts.spec)?;
    let base64 = match body.encoding_format.as_deref() {
        None | Some("float") => false,
        Some("base64") => true,
        Some(other) => {
            let message = format!("the simulator encodes embeddings as float or base64, not as {other}.");
            return Err(ApiError::invalid_value("encoding_format", other, &message));
        }
    };
    let text = |text| PoolingInput::Segments(vec![PromptSegment::Text(text)], SpecialMarkers::Add);
    let prompts = match (body.input, body.messages) {
        (_, Some(messages)) => {
            vec![PoolingInput::Segments(
                parts.vocabulary.chat_prompt(&chat_turns(messages)?),
                SpecialMarkers::Leave,
            )]
        }
        (input, None) => match required(input, "input")? {
            EmbeddingsInput::Text(one) => vec![text(one)],
            EmbeddingsInput::Tokens(tokens) => vec![PoolingInput::Tokens(tokens)],
            EmbeddingsInput::Texts(many) => many.into_iter().map(text).collect(),
            EmbeddingsInput::TokenLists(lists) => lists.into_iter().map(PoolingInput::Tokens).collect(),
        },
    };
    let wish = PoolingTask::Embeddings {
        size: embedding_size(body.dimensions, parts.spec.output.embedding_size)?,
        base64,
    };
    Ok(PoolingRequest {
        model,
        prompts,
        truncate: truncate_limit(body.truncate_prompt_tokens, &parts.spec)?,
        wish,
    })
}

/// Returns the number of dimensions that the request asks for, out of `all`.
fn embedding_size(dimensions: Option<i64>, all: usize) -> Result<usize, ApiError> {
    let Some(asked) = dimensions else { return Ok(all) };
    usize::try_from(asked).ok().filter(|size| (1..=all).contains(size)).ok_or_else(|| {
        let message = format!("dimensions must be between 1 and the embedding's size {all}, got {asked}.");
        ApiError::invalid_value("dimensions", asked, &message)
    })
}

fn write(inquiry: &PoolingRequest, pooled: &PoolingResult, words: &EmbeddingStyle) -> Value {
    let PoolingTask::Embeddings { size, base64 } = inquiry.wish else { return Value::Null };
    let data = pooled.prompts.iter().enumerate().map(|(index, prompt)| {
        let embedding = embedding(prompt, size, pooled.seed);
        let embedding = if base64 { encoded(&embedding).into() } else { json!(embedding) };
        json!({ "index": index, "object": words.object, (words.field): embedding })
    });
    let mut answer = json!({
        "id": format!("{}{}", words.id, pooled.id), "object": "list", "created": pooled.created, "model": inquiry.model,
        "data": data.collect::<Vec<_>>(),
    });
    if pooled.tells {
        let tokens = pooled.prompt_tokens();
        answer["usage"] = json!({
            "prompt_tokens": tokens, "total_tokens": tokens, "completion_tokens": 0, "prompt_tokens_details": null,
        });
    }
    answer
}

/// An embedding that depends only on the prompt. As in a real answer, each number has all digits of an `f32`
/// converted to `f64`.
fn embedding(prompt: &[u32], size: usize, seed: u64) -> Vec<f64> {
    let mut hasher = DefaultHasher::new();
    (seed, prompt).hash(&mut hasher);
    let mut dice = StdRng::seed_from_u64(hasher.finish());
    let numbers: Vec<f64> = (0..size).map(|_| dice.random_range(-1.0..1.0)).collect();
    let length = numbers.iter().map(|number| number * number).sum::<f64>().sqrt();
    numbers.iter().map(|number| f64::from((number / length.max(f64::MIN_POSITIVE)) as f32)).collect()
}

/// Encodes the numbers as little-endian `f32` in base64.
fn encoded(embedding: &[f64]) -> String {
    let bytes: Vec<u8> = embedding.iter().flat_map(|number| (*number as f32).to_le_bytes()).collect();
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
