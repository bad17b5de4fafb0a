//! Triton's generate extension, as in front of TensorRT-LLM: `/v2/models/{model}/generate_stream` and `/generate`. It
//! reports no token counts and no finish reason, and a stream ends with its body.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::sim::api::{
    api_error::{ApiError, ErrorFormat},
    generate_request::{
        Endpoint, GenerateRequest, PromptInput, RawRequest, check_temperature, output_limit, read_object,
        required,
    },
    response_writer::{
        FullResponse, GenerationIdentity, GenerationProgress, OutputChunk, ResponseWriter, SseWriter,
        json as bytes,
    },
};
use crate::sim::output_plan::SimFinishReason;
use crate::sim::spec::SimSpec;

pub(in crate::sim::api) static GENERATE: Endpoint = Endpoint {
    paths: &["/v2/models/{model}/generate_stream", "/v2/models/{model}/generate"],
    dialect: ErrorFormat::Triton,
    read,
    shape: |who, _, spec| Box::new(TritonWriter::new(who, spec)),
    otherwise: Some(16),
    reasons: false,
};

/// Models in TensorRT-LLM's usual repository that wrap the served model.
const ENSEMBLE_MODELS: [&str; 2] = ["ensemble", "tensorrt_llm_bls"];

#[derive(Deserialize)]
struct TritonBody {
    text_input: Option<String>,
    max_tokens: Option<i64>,
    min_length: Option<i64>,
    temperature: Option<f64>,
}

fn read(call: &RawRequest, spec: &SimSpec) -> Result<GenerateRequest, ApiError> {
    let model = call.path.split('/').nth(3).unwrap_or_default();
    if !ENSEMBLE_MODELS.contains(&model) && !spec.serves(model) {
        let message = format!("Request for unknown model: '{model}' is not found");
        return Err(ApiError::bad_parameter("", message));
    }
    let body: TritonBody = read_object(call)?;
    let prompt = required(body.text_input, "text_input")?;
    if prompt.is_empty() {
        return Err(ApiError::bad_parameter("text_input", "text_input is empty".to_owned()));
    }
    check_temperature(body.temperature)?;
    Ok(GenerateRequest {
        max_tokens: output_limit("max_tokens", body.max_tokens, spec)?,
        min_tokens: usize::try_from(body.min_length.unwrap_or(0)).unwrap_or(0),
        stream: call.path.ends_with("_stream"),
        ..GenerateRequest::new(&GENERATE, model.to_owned(), PromptInput::Text(prompt))
    })
}

struct TritonWriter {
    sse: SseWriter,
    model: String,
}

impl TritonWriter {
    fn new(who: &GenerationIdentity, spec: &SimSpec) -> Self {
        Self { sse: SseWriter(spec.output.line_ending), model: who.model.to_owned() }
    }

    fn output(&self, text: &str) -> Value {
        json!({
            "context_logits": 0.0, "cum_log_probs": 0.0, "generation_logits": 0.0, "model_name": self.model,
            "model_version": "1", "output_log_probs": [0.0], "sequence_end": false, "sequence_id": 0,
            "sequence_start": false, "text_output": text,
        })
    }
}

impl ResponseWriter for TritonWriter {
    fn write_output(&mut self, out: &mut Vec<u8>, fragment: &OutputChunk, _so_far: &GenerationProgress) {
        self.sse.event(out, &self.output(fragment.text));
    }

    fn close(
        &mut self,
        out: &mut Vec<u8>,
        last: &OutputChunk,
        _finish: SimFinishReason,
        _so_far: &GenerationProgress,
    ) {
        self.sse.event(out, &self.output(last.text));
    }

    fn error(&mut self, out: &mut Vec<u8>, refusal: &ApiError) {
        self.sse.error(out, refusal);
    }

    fn malformed(&mut self, out: &mut Vec<u8>) {
        self.sse.malformed(out);
    }

    fn full_body(&mut self, whole: &FullResponse, _so_far: &GenerationProgress) -> Vec<u8> {
        bytes(&self.output(whole.said.text))
    }
}
