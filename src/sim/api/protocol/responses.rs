//! `/v1/responses`: OpenAI's newer API, as vLLM serves it.

use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

use super::super::message::{ChatMessage, chat_turns};
use crate::sim::api::{
    api_error::{ApiError, ErrorFormat},
    generate_request::{
        Endpoint, GenerateRequest, PromptInput, RawRequest, UsageReporting, check_temperature, output_limit,
        read_object, required, served_model,
    },
    response_writer::{
        FullResponse, GenerationIdentity, GenerationProgress, OutputChunk, ResponseWriter, SseWriter,
        json as bytes,
    },
};
use crate::sim::output_plan::SimFinishReason;
use crate::sim::spec::SimSpec;

pub(in crate::sim::api) static RESPONSES: Endpoint = Endpoint {
    paths: &["/v1/responses"],
    dialect: ErrorFormat::OpenAi,
    read,
    shape: |who, ask, spec| Box::new(ResponsesWriter::new(who, ask, spec)),
    otherwise: None,
    reasons: true,
};

#[derive(Deserialize)]
struct ResponsesBody {
    model: Option<String>,
    input: Option<ResponsesInput>,
    instructions: Option<String>,
    tools: Option<Vec<Box<RawValue>>>,
    max_output_tokens: Option<i64>,
    min_tokens: Option<i64>,
    temperature: Option<f64>,
    ignore_eos: Option<bool>,
    stream: Option<bool>,
    cache_salt: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum ResponsesInput {
    Text(String),
    Items(Vec<ChatMessage>),
}

fn read(call: &RawRequest, spec: &SimSpec) -> Result<GenerateRequest, ApiError> {
    let body: ResponsesBody = read_object(call)?;
    check_temperature(body.temperature)?;
    let max_tokens = output_limit("max_output_tokens", body.max_output_tokens, spec)?;
    let model = served_model(body.model, spec)?;
    let items = match required(body.input, "input")? {
        ResponsesInput::Text(text) => vec![ChatMessage::from_text("user", text)],
        ResponsesInput::Items(items) => items,
    };
    if items.is_empty() {
        return Err(ApiError::bad_parameter(
            "input",
            "input must not be empty. (parameter=input)".to_owned(),
        ));
    }
    let system = body.instructions.map(|text| ChatMessage::from_text("system", text));
    let tools = body.tools.unwrap_or_default();
    let tools = tools.iter().map(|tool| ChatMessage::from_text("tools", tool.get().to_owned()));
    let prompt = PromptInput::Conversation(chat_turns(system.into_iter().chain(tools).chain(items))?);
    Ok(GenerateRequest {
        max_tokens,
        min_tokens: usize::try_from(body.min_tokens.unwrap_or(0)).unwrap_or(0),
        ignore_eos: body.ignore_eos.unwrap_or(false),
        stream: body.stream.unwrap_or(false),
        cache_salt: body.cache_salt,
        ..GenerateRequest::new(&RESPONSES, model, prompt)
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum OutputItemKind {
    Reasoning,
    Message,
}

/// An item that is being written.
struct OutputItem {
    kind: OutputItemKind,
    text: String,
}

struct ResponsesWriter {
    sse: SseWriter,
    tells: bool,
    id: String,
    created: u64,
    model: String,
    max_tokens: Option<usize>,
    /// The number of events so far.
    sequence: u64,
    open: Option<OutputItem>,
    /// The finished items.
    output: Vec<Value>,
}

impl ResponsesWriter {
    fn new(who: &GenerationIdentity, ask: &GenerateRequest, spec: &SimSpec) -> Self {
        Self {
            sse: SseWriter(spec.output.line_ending),
            tells: spec.output.usage && ask.usage != UsageReporting::Never,
            id: format!("resp_{}", who.id),
            created: who.created,
            model: who.model.to_owned(),
            max_tokens: ask.max_tokens,
            sequence: 0,
            open: None,
            output: Vec::new(),
        }
    }

    /// Writes an event. Its name is also its type, and every event has a sequence number.
    fn event(&mut self, out: &mut Vec<u8>, name: &str, mut data: Value) {
        data["type"] = name.into();
        data["sequence_number"] = self.sequence.into();
        self.sequence += 1;
        self.sse.named(out, name, &data);
    }

    /// Writes an event about the open item's only part.
    fn item_event(&mut self, out: &mut Vec<u8>, name: &str, mut data: Value) {
        data["item_id"] = self.item_id().into();
        data["output_index"] = self.output.len().into();
        data["content_index"] = 0.into();
        self.event(out, name, data);
    }

    fn item_id(&self) -> String {
        format!("msg_{}_{}", self.id, self.output.len())
    }

    /// Opens an item of this type.
    fn open_item(&mut self, out: &mut Vec<u8>, kind: OutputItemKind) {
        if self.open.as_ref().is_some_and(|item| item.kind == kind) {
            return;
        }
        self.finish_item(out);
        let item = self.item(kind, None);
        let index = self.output.len();
        self.event(out, "response.output_item.added", json!({ "output_index": index, "item": item }));
        self.item_event(out, "response.content_part.added", json!({ "part": part(kind, "") }));
        self.open = Some(OutputItem { kind, text: String::new() });
    }

    fn finish_item(&mut self, out: &mut Vec<u8>) {
        let Some(OutputItem { kind, text }) = self.open.take() else { return };
        let done = match kind {
            OutputItemKind::Reasoning => "response.reasoning_text.done",
            OutputItemKind::Message => "response.output_text.done",
        };
        self.item_event(out, done, json!({ "text": text }));
        self.item_event(out, "response.content_part.done", json!({ "part": part(kind, &text) }));
        let (item, index) = (self.item(kind, Some(&text)), self.output.len());
        self.event(out, "response.output_item.done", json!({ "output_index": index, "item": item }));
        self.output.push(item);
    }

    /// Returns an item of the output; without text, an item that has just begun.
    fn item(&self, kind: OutputItemKind, text: Option<&str>) -> Value {
        let content: Vec<_> = text.map(|text| part(kind, text)).into_iter().collect();
        let status = if text.is_some() { "completed" } else { "in_progress" };
        let id = self.item_id();
        match kind {
            OutputItemKind::Reasoning => json!({
                "id": id, "type": "reasoning", "summary": [], "content": content, "encrypted_content": null, "status": status,
            }),
            OutputItemKind::Message => json!({
                "id": id, "type": "message", "role": "assistant", "content": content, "status": status,
            }),
        }
    }

    /// Returns the current response; `reason` states why it is incomplete.
    fn response(&self, status: &str, reason: Option<&str>, so_far: Option<&GenerationProgress>) -> Value {
        let usage = so_far.filter(|_| self.tells).map(|so_far| {
            json!({
                "input_tokens": so_far.prompt, "input_tokens_details": { "cached_tokens": so_far.cached },
                "output_tokens": so_far.output, "output_tokens_details": { "reasoning_tokens": so_far.reasoned },
                "total_tokens": so_far.prompt + so_far.output,
            })
        });
        json!({
            "id": self.id, "object": "response", "created_at": self.created, "model": self.model, "status": status,
            "output": self.output, "usage": usage, "max_output_tokens": self.max_tokens, "error": null,
            "incomplete_details": reason.map(|reason| json!({ "reason": reason })), "instructions": null,
            "metadata": null, "parallel_tool_calls": true, "previous_response_id": null, "temperature": 1.0,
            "tool_choice": "auto", "tools": [], "top_p": 1.0, "background": false, "truncation": "disabled",
        })
    }
}

fn part(kind: OutputItemKind, text: &str) -> Value {
    match kind {
        OutputItemKind::Reasoning => json!({ "type": "reasoning_text", "text": text }),
        OutputItemKind::Message => {
            json!({ "type": "output_text", "text": text, "annotations": [], "logprobs": null })
        }
    }
}

/// Returns the status of a response that ended for this reason, and why it is incomplete.
fn status(finish: SimFinishReason) -> (&'static str, Option<&'static str>) {
    match finish {
        SimFinishReason::Stop => ("completed", None),
        SimFinishReason::Length => ("incomplete", Some("max_output_tokens")),
    }
}

impl ResponseWriter for ResponsesWriter {
    fn write_greeting(&mut self, out: &mut Vec<u8>) {
        let response = self.response("in_progress", None, None);
        self.event(out, "response.created", json!({ "response": response }));
        self.event(out, "response.in_progress", json!({ "response": response }));
    }

    fn write_output(&mut self, out: &mut Vec<u8>, fragment: &OutputChunk, _so_far: &GenerationProgress) {
        let (kind, name) = match fragment.is_reasoning {
            true => (OutputItemKind::Reasoning, "response.reasoning_text.delta"),
            false => (OutputItemKind::Message, "response.output_text.delta"),
        };
        self.open_item(out, kind);
        if let Some(item) = &mut self.open {
            item.text.push_str(fragment.text);
        }
        self.item_event(out, name, json!({ "delta": fragment.text }));
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
        self.finish_item(out);
        let (status, reason) = status(finish);
        let response = self.response(status, reason, Some(so_far));
        // vLLM uses this event name even if the response states that it is incomplete.
        self.event(out, "response.completed", json!({ "response": response }));
    }

    fn error(&mut self, out: &mut Vec<u8>, refusal: &ApiError) {
        let mut response = self.response("failed", None, None);
        response["error"] = json!({ "code": "server_error", "message": refusal.message });
        self.event(out, "response.failed", json!({ "response": response }));
    }

    fn malformed(&mut self, out: &mut Vec<u8>) {
        self.sse.malformed(out);
    }

    fn full_body(&mut self, whole: &FullResponse, so_far: &GenerationProgress) -> Vec<u8> {
        if !whole.reasoning.is_empty() {
            let item = self.item(OutputItemKind::Reasoning, Some(whole.reasoning));
            self.output.push(item);
        }
        if !whole.said.text.is_empty() {
            let item = self.item(OutputItemKind::Message, Some(whole.said.text));
            self.output.push(item);
        }
        let (status, reason) = whole.finish.map_or(("in_progress", None), status);
        bytes(&self.response(status, reason, Some(so_far)))
    }
}
