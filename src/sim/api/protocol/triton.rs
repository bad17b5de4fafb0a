//! Triton's generate extension, as in front of TensorRT-LLM: `/v2/models/{model}/generate_stream` and `/generate`. It counts no tokens,
//! gives no reason for the end, and a stream ends where its body does.

use serde::Deserialize;
use serde_json::{Value, json};

use super::super::{
    ask::{Ask, Call, Prompt, check_temperature, output_limit, read_object, required},
    endpoint::Endpoint,
    refusal::{Dialect, Refusal},
    shape::{Fragment, Identity, Progress, Shape, Sse, Whole, json as bytes},
};
use crate::sim::{plan::Finish, spec::Spec};

pub(in crate::sim::api) static GENERATE: Endpoint = Endpoint {
    paths: &["/v2/models/{model}/generate_stream", "/v2/models/{model}/generate"],
    dialect: Dialect::Triton,
    read,
    shape: |who, _, spec| Box::new(Triton::new(who, spec)),
    otherwise: Some(16),
    reasons: false,
};

/// The models of TensorRT-LLM's usual repository: they stand before the one that is served.
const FRONTS: [&str; 2] = ["ensemble", "tensorrt_llm_bls"];

#[derive(Deserialize)]
struct Body {
    text_input: Option<String>,
    max_tokens: Option<i64>,
    min_length: Option<i64>,
    temperature: Option<f64>,
}

fn read(call: &Call, spec: &Spec) -> Result<Ask, Refusal> {
    let model = call.path.split('/').nth(3).unwrap_or_default();
    if !FRONTS.contains(&model) && !spec.serves(model) {
        let message = format!("Request for unknown model: '{model}' is not found");
        return Err(Refusal::bad("", message));
    }
    let body: Body = read_object(call)?;
    let prompt = required(body.text_input, "text_input")?;
    if prompt.is_empty() {
        return Err(Refusal::bad("text_input", "text_input is empty".to_owned()));
    }
    check_temperature(body.temperature)?;
    Ok(Ask {
        max_tokens: output_limit("max_tokens", body.max_tokens, spec)?,
        min_tokens: usize::try_from(body.min_length.unwrap_or(0)).unwrap_or(0),
        stream: call.path.ends_with("_stream"),
        ..Ask::new(&GENERATE, model.to_owned(), Prompt::Text(prompt))
    })
}

struct Triton {
    sse: Sse,
    model: String,
}

impl Triton {
    fn new(who: &Identity, spec: &Spec) -> Self {
        Self { sse: Sse(spec.output.line_ending), model: who.model.to_owned() }
    }

    fn output(&self, text: &str) -> Value {
        json!({
            "context_logits": 0.0, "cum_log_probs": 0.0, "generation_logits": 0.0, "model_name": self.model,
            "model_version": "1", "output_log_probs": [0.0], "sequence_end": false, "sequence_id": 0,
            "sequence_start": false, "text_output": text,
        })
    }
}

impl Shape for Triton {
    fn fragment(&mut self, out: &mut Vec<u8>, fragment: &Fragment, _so_far: &Progress) {
        self.sse.event(out, &self.output(fragment.text));
    }

    fn close(&mut self, out: &mut Vec<u8>, last: &Fragment, _finish: Finish, _so_far: &Progress) {
        self.sse.event(out, &self.output(last.text));
    }

    fn error(&mut self, out: &mut Vec<u8>, refusal: &Refusal) {
        self.sse.error(out, refusal);
    }

    fn malformed(&mut self, out: &mut Vec<u8>) {
        self.sse.malformed(out);
    }

    fn whole(&mut self, whole: &Whole, _so_far: &Progress) -> Vec<u8> {
        bytes(&self.output(whole.said.text))
    }
}
