//! llama.cpp's own `/completion`. Its last event holds the counts and the timings; no `[DONE]` follows.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::sim::api::{
    api_error::{ApiError, ErrorFormat},
    generate_request::{
        Endpoint, GenerateRequest, PromptInput, RawRequest, check_temperature, read_undeclared, required,
        served_model,
    },
    response_writer::{
        FullResponse, GenerationIdentity, GenerationProgress, OutputChunk, ResponseWriter, SseWriter,
        json as bytes,
    },
};
use crate::sim::output_plan::SimFinishReason;
use crate::sim::spec::SimSpec;

pub(in crate::sim::api) static COMPLETION: Endpoint = Endpoint {
    paths: &["/completion", "/completions"],
    dialect: ErrorFormat::LlamaCpp,
    read,
    shape: |who, _, spec| Box::new(LlamaCppWriter::new(who, spec)),
    otherwise: None,
    reasons: false,
};

#[derive(Deserialize)]
struct LlamaCppBody {
    prompt: Option<LlamaCppPrompt>,
    n_predict: Option<i64>,
    temperature: Option<f64>,
    ignore_eos: Option<bool>,
    stream: Option<bool>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum LlamaCppPrompt {
    Text(String),
    Tokens(Vec<u32>),
}

fn read(call: &RawRequest, spec: &SimSpec) -> Result<GenerateRequest, ApiError> {
    let body: LlamaCppBody = read_undeclared(call)?;
    let prompt = match required(body.prompt, "prompt")? {
        LlamaCppPrompt::Text(text) => PromptInput::Text(text),
        LlamaCppPrompt::Tokens(tokens) => PromptInput::Tokens(tokens),
    };
    if prompt.is_empty() {
        return Err(ApiError::bad_parameter("prompt", "the prompt is empty".to_owned()));
    }
    check_temperature(body.temperature)?;
    Ok(GenerateRequest {
        // A negative number asks for as many tokens as the context holds.
        max_tokens: body
            .n_predict
            .and_then(|tokens| usize::try_from(tokens).ok())
            .map(|tokens| tokens.max(1)),
        ignore_eos: body.ignore_eos.unwrap_or(false),
        stream: body.stream.unwrap_or(false),
        ..GenerateRequest::new(&COMPLETION, served_model(None, spec)?, prompt)
    })
}

struct LlamaCppWriter {
    sse: SseWriter,
    tells: bool,
    model: String,
}

impl LlamaCppWriter {
    fn new(who: &GenerationIdentity, spec: &SimSpec) -> Self {
        Self {
            sse: SseWriter(spec.output.line_ending),
            tells: spec.output.usage,
            model: who.model.to_owned(),
        }
    }

    /// Adds the counts that every event has.
    fn count(&self, event: &mut Value, so_far: &GenerationProgress) {
        if self.tells {
            event["tokens_predicted"] = so_far.output.into();
            event["tokens_evaluated"] = so_far.prompt.into();
        }
    }

    /// Returns the object that ends a stream, or is the complete answer.
    fn end(
        &self,
        content: &str,
        ids: &[u32],
        finish: Option<SimFinishReason>,
        so_far: &GenerationProgress,
    ) -> Value {
        let stop_type = finish.map_or("none", |finish| match finish {
            SimFinishReason::Stop => "eos",
            SimFinishReason::Length => "limit",
        });
        let mut end = json!({
            "index": 0, "content": content, "tokens": ids, "id_slot": 0, "stop": finish.is_some(), "model": self.model,
            "has_new_line": false, "truncated": false, "stop_type": stop_type, "stopping_word": "",
            "timings": timings(so_far),
        });
        self.count(&mut end, so_far);
        if self.tells {
            end["tokens_cached"] = (so_far.prompt + so_far.output).into();
        }
        end
    }
}

fn timings(so_far: &GenerationProgress) -> Value {
    let computed = so_far.prompt - so_far.cached;
    let millis = |time: Duration| time.as_secs_f64() * 1e3;
    let rate = |tokens: usize, time: Duration| tokens as f64 / time.as_secs_f64().max(1e-9);
    json!({
        "cache_n": so_far.cached, "prompt_n": computed, "prompt_ms": millis(so_far.prompt_time),
        "prompt_per_token_ms": millis(so_far.prompt_time) / computed.max(1) as f64,
        "prompt_per_second": rate(computed, so_far.prompt_time), "predicted_n": so_far.output,
        "predicted_ms": millis(so_far.output_time),
        "predicted_per_token_ms": millis(so_far.output_time) / so_far.output.max(1) as f64,
        "predicted_per_second": rate(so_far.output, so_far.output_time),
    })
}

impl ResponseWriter for LlamaCppWriter {
    fn media_type(&self) -> &'static str {
        "text/event-stream"
    }

    fn write_output(&mut self, out: &mut Vec<u8>, fragment: &OutputChunk, so_far: &GenerationProgress) {
        let mut event = json!({
            "index": 0, "content": fragment.text, "tokens": fragment.ids(), "stop": false, "id_slot": -1,
        });
        self.count(&mut event, so_far);
        self.sse.event(out, &event);
    }

    fn close(
        &mut self,
        out: &mut Vec<u8>,
        last: &OutputChunk,
        finish: SimFinishReason,
        so_far: &GenerationProgress,
    ) {
        if !last.text.is_empty() {
            self.write_output(out, last, so_far);
        }
        self.sse.event(out, &self.end("", &[], Some(finish), so_far));
    }

    fn error(&mut self, out: &mut Vec<u8>, refusal: &ApiError) {
        self.sse.error(out, refusal);
    }

    fn malformed(&mut self, out: &mut Vec<u8>) {
        self.sse.malformed(out);
    }

    fn full_body(&mut self, whole: &FullResponse, so_far: &GenerationProgress) -> Vec<u8> {
        bytes(&self.end(whole.said.text, &whole.said.ids(), whole.finish, so_far))
    }
}
