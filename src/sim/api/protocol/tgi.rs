//! `/generate_stream` of Hugging Face's TGI, and its `/generate`, which shares the path with SGLang's.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::sim::api::{
    api_error::{ApiError, ErrorFormat},
    generate_request::{
        Endpoint, GenerateRequest, PromptInput, RawRequest, check_temperature, output_limit, read_object,
        required, served_model,
    },
    response_writer::{
        FullResponse, GenerationProgress, OutputChunk, ResponseWriter, SseWriter, json as bytes,
    },
};
use crate::sim::output_plan::SimFinishReason;
use crate::sim::spec::SimSpec;

pub(in crate::sim::api) static GENERATE_STREAM: Endpoint = Endpoint {
    paths: &["/generate_stream"],
    dialect: ErrorFormat::Tgi,
    read,
    shape: |_, _, spec| {
        let (sse, tells) = (SseWriter(spec.output.line_ending), spec.output.usage);
        Box::new(TgiWriter { sse, tells, text: String::new(), index: 0 })
    },
    otherwise: Some(100),
    reasons: false,
};

#[derive(Deserialize)]
struct TgiBody {
    inputs: Option<String>,
    parameters: Option<TgiParameters>,
}

#[derive(Default, Deserialize)]
struct TgiParameters {
    max_new_tokens: Option<i64>,
    temperature: Option<f64>,
    adapter_id: Option<String>,
    /// An extension that vLLM's clients used to send.
    ignore_eos_token: Option<bool>,
}

/// Parses a request; the path decides whether the answer is a stream.
pub(super) fn read(call: &RawRequest, spec: &SimSpec) -> Result<GenerateRequest, ApiError> {
    let body: TgiBody = read_object(call)?;
    let prompt = required(body.inputs, "inputs")?;
    if prompt.is_empty() {
        return Err(ApiError::bad_parameter("inputs", "`inputs` cannot be empty".to_owned()));
    }
    let parameters = body.parameters.unwrap_or_default();
    check_temperature(parameters.temperature)?;
    Ok(GenerateRequest {
        max_tokens: output_limit("max_new_tokens", parameters.max_new_tokens, spec)?,
        ignore_eos: parameters.ignore_eos_token.unwrap_or(false),
        stream: call.path.ends_with("_stream"),
        ..GenerateRequest::new(
            &GENERATE_STREAM,
            served_model(parameters.adapter_id, spec)?,
            PromptInput::Text(prompt),
        )
    })
}

struct TgiWriter {
    sse: SseWriter,
    tells: bool,
    text: String,
    /// The number of events so far.
    index: usize,
}

impl TgiWriter {
    /// Writes an event; TGI puts no space after `data:`.
    fn event(&self, out: &mut Vec<u8>, event: &Value) {
        self.sse.raw(out, "data:", &bytes(event));
    }

    /// Returns the event of a token. The last event also has the complete text and the details.
    fn token(&mut self, last: &OutputChunk, end: Option<(SimFinishReason, &GenerationProgress)>) -> Value {
        self.text.push_str(last.text);
        self.index += 1;
        let ended = matches!(end, Some((SimFinishReason::Stop, _)));
        let text = if ended { "</s>" } else { last.text };
        let id = last.ids().last().copied().unwrap_or(2);
        json!({
            "index": self.index,
            "token": { "id": id, "text": text, "logprob": -0.5, "special": ended },
            "generated_text": end.map(|_| &self.text),
            "details": end.and_then(|(finish, so_far)| self.details(finish, so_far)),
        })
    }

    fn details(&self, finish: SimFinishReason, so_far: &GenerationProgress) -> Option<Value> {
        self.tells.then(|| {
            json!({
                "finish_reason": reason(finish), "generated_tokens": so_far.output, "seed": null,
                "input_length": so_far.prompt,
            })
        })
    }
}

fn reason(finish: SimFinishReason) -> &'static str {
    match finish {
        SimFinishReason::Stop => "eos_token",
        SimFinishReason::Length => "length",
    }
}

impl ResponseWriter for TgiWriter {
    fn media_type(&self) -> &'static str {
        "text/event-stream"
    }

    fn write_output(&mut self, out: &mut Vec<u8>, fragment: &OutputChunk, _so_far: &GenerationProgress) {
        let event = self.token(fragment, None);
        self.event(out, &event);
    }

    fn close(
        &mut self,
        out: &mut Vec<u8>,
        last: &OutputChunk,
        finish: SimFinishReason,
        so_far: &GenerationProgress,
    ) {
        // The end of the sequence is a separate token.
        if finish == SimFinishReason::Stop && !last.text.is_empty() {
            self.write_output(out, last, so_far);
            let nothing = OutputChunk { text: "", range: last.range.end..last.range.end, ..*last };
            return self.close(out, &nothing, finish, so_far);
        }
        let event = self.token(last, Some((finish, so_far)));
        self.event(out, &event);
    }

    fn error(&mut self, out: &mut Vec<u8>, refusal: &ApiError) {
        self.sse.raw(out, "data:", refusal.json().as_bytes());
    }

    fn malformed(&mut self, out: &mut Vec<u8>) {
        self.sse.malformed(out);
    }

    fn full_body(&mut self, whole: &FullResponse, so_far: &GenerationProgress) -> Vec<u8> {
        let details = whole.finish.and_then(|finish| self.details(finish, so_far));
        bytes(&json!({ "generated_text": whole.said.text, "details": details }))
    }
}
