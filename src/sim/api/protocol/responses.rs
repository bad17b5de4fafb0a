//! `/v1/responses`: OpenAI's newer API, as vLLM serves it.

use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

use super::super::{
    ask::{
        Ask, Call, Prompt, UsageReports, check_temperature, output_limit, read_object, required, served_model,
    },
    endpoint::Endpoint,
    message::{Message, turns},
    refusal::{Dialect, Refusal},
    shape::{Fragment, Identity, Progress, Shape, Sse, Whole, json as bytes},
};
use crate::sim::{plan::Finish, spec::Spec};

pub(in crate::sim::api) static RESPONSES: Endpoint = Endpoint {
    paths: &["/v1/responses"],
    dialect: Dialect::OpenAi,
    read,
    shape: |who, ask, spec| Box::new(Responses::new(who, ask, spec)),
    otherwise: None,
    reasons: true,
};

#[derive(Deserialize)]
struct Body {
    model: Option<String>,
    input: Option<Input>,
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
enum Input {
    Text(String),
    Items(Vec<Message>),
}

fn read(call: &Call, spec: &Spec) -> Result<Ask, Refusal> {
    let body: Body = read_object(call)?;
    check_temperature(body.temperature)?;
    let max_tokens = output_limit("max_output_tokens", body.max_output_tokens, spec)?;
    let model = served_model(body.model, spec)?;
    let items = match required(body.input, "input")? {
        Input::Text(text) => vec![Message::of_text("user", text)],
        Input::Items(items) => items,
    };
    if items.is_empty() {
        return Err(Refusal::bad("input", "input must not be empty. (parameter=input)".to_owned()));
    }
    let system = body.instructions.map(|text| Message::of_text("system", text));
    let tools = body.tools.unwrap_or_default();
    let tools = tools.iter().map(|tool| Message::of_text("tools", tool.get().to_owned()));
    let prompt = Prompt::Conversation(turns(system.into_iter().chain(tools).chain(items))?);
    Ok(Ask {
        max_tokens,
        min_tokens: usize::try_from(body.min_tokens.unwrap_or(0)).unwrap_or(0),
        ignore_eos: body.ignore_eos.unwrap_or(false),
        stream: body.stream.unwrap_or(false),
        cache_salt: body.cache_salt,
        ..Ask::new(&RESPONSES, model, prompt)
    })
}

/// What an item of the output is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Reasoning,
    Message,
}

/// An item that is being written.
struct Item {
    kind: Kind,
    text: String,
}

struct Responses {
    sse: Sse,
    tells: bool,
    id: String,
    created: u64,
    model: String,
    max_tokens: Option<usize>,
    /// Events so far.
    sequence: u64,
    open: Option<Item>,
    /// Items that are finished.
    output: Vec<Value>,
}

impl Responses {
    fn new(who: &Identity, ask: &Ask, spec: &Spec) -> Self {
        Self {
            sse: Sse(spec.output.line_ending),
            tells: spec.output.usage && ask.usage != UsageReports::Never,
            id: format!("resp_{}", who.id),
            created: who.created,
            model: who.model.to_owned(),
            max_tokens: ask.max_tokens,
            sequence: 0,
            open: None,
            output: Vec::new(),
        }
    }

    /// An event; the name is also its type, and every event has its number.
    fn event(&mut self, out: &mut Vec<u8>, name: &str, mut data: Value) {
        data["type"] = name.into();
        data["sequence_number"] = self.sequence.into();
        self.sequence += 1;
        self.sse.named(out, name, &data);
    }

    /// An event that concerns the open item's only part.
    fn item_event(&mut self, out: &mut Vec<u8>, name: &str, mut data: Value) {
        data["item_id"] = self.item_id().into();
        data["output_index"] = self.output.len().into();
        data["content_index"] = 0.into();
        self.event(out, name, data);
    }

    fn item_id(&self) -> String {
        format!("msg_{}_{}", self.id, self.output.len())
    }

    /// Makes an item of this kind the open one.
    fn turn_to(&mut self, out: &mut Vec<u8>, kind: Kind) {
        if self.open.as_ref().is_some_and(|item| item.kind == kind) {
            return;
        }
        self.finish_item(out);
        let item = self.item(kind, None);
        let index = self.output.len();
        self.event(out, "response.output_item.added", json!({ "output_index": index, "item": item }));
        self.item_event(out, "response.content_part.added", json!({ "part": part(kind, "") }));
        self.open = Some(Item { kind, text: String::new() });
    }

    fn finish_item(&mut self, out: &mut Vec<u8>) {
        let Some(Item { kind, text }) = self.open.take() else { return };
        let done = match kind {
            Kind::Reasoning => "response.reasoning_text.done",
            Kind::Message => "response.output_text.done",
        };
        self.item_event(out, done, json!({ "text": text }));
        self.item_event(out, "response.content_part.done", json!({ "part": part(kind, &text) }));
        let (item, index) = (self.item(kind, Some(&text)), self.output.len());
        self.event(out, "response.output_item.done", json!({ "output_index": index, "item": item }));
        self.output.push(item);
    }

    /// An item of the output; without text it is one that begins.
    fn item(&self, kind: Kind, text: Option<&str>) -> Value {
        let content: Vec<_> = text.map(|text| part(kind, text)).into_iter().collect();
        let status = if text.is_some() { "completed" } else { "in_progress" };
        let id = self.item_id();
        match kind {
            Kind::Reasoning => json!({
                "id": id, "type": "reasoning", "summary": [], "content": content, "encrypted_content": null, "status": status,
            }),
            Kind::Message => json!({
                "id": id, "type": "message", "role": "assistant", "content": content, "status": status,
            }),
        }
    }

    /// The response as it stands; `reason` says why it is not complete.
    fn response(&self, status: &str, reason: Option<&str>, so_far: Option<&Progress>) -> Value {
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

fn part(kind: Kind, text: &str) -> Value {
    match kind {
        Kind::Reasoning => json!({ "type": "reasoning_text", "text": text }),
        Kind::Message => json!({ "type": "output_text", "text": text, "annotations": [], "logprobs": null }),
    }
}

/// How a response is called that ended for this reason, and why it is not complete.
fn status(finish: Finish) -> (&'static str, Option<&'static str>) {
    match finish {
        Finish::Stop => ("completed", None),
        Finish::Length => ("incomplete", Some("max_output_tokens")),
    }
}

impl Shape for Responses {
    fn greet(&mut self, out: &mut Vec<u8>) {
        let response = self.response("in_progress", None, None);
        self.event(out, "response.created", json!({ "response": response }));
        self.event(out, "response.in_progress", json!({ "response": response }));
    }

    fn fragment(&mut self, out: &mut Vec<u8>, fragment: &Fragment, _so_far: &Progress) {
        let (kind, name) = match fragment.thought {
            true => (Kind::Reasoning, "response.reasoning_text.delta"),
            false => (Kind::Message, "response.output_text.delta"),
        };
        self.turn_to(out, kind);
        if let Some(item) = &mut self.open {
            item.text.push_str(fragment.text);
        }
        self.item_event(out, name, json!({ "delta": fragment.text }));
    }

    fn close(&mut self, out: &mut Vec<u8>, last: &Fragment, finish: Finish, so_far: &Progress) {
        if !last.text.is_empty() {
            self.fragment(out, last, so_far);
        }
        self.finish_item(out);
        let (status, reason) = status(finish);
        let response = self.response(status, reason, Some(so_far));
        // vLLM calls the event so also where the response says that it is incomplete.
        self.event(out, "response.completed", json!({ "response": response }));
    }

    fn error(&mut self, out: &mut Vec<u8>, refusal: &Refusal) {
        let mut response = self.response("failed", None, None);
        response["error"] = json!({ "code": "server_error", "message": refusal.message });
        self.event(out, "response.failed", json!({ "response": response }));
    }

    fn malformed(&mut self, out: &mut Vec<u8>) {
        self.sse.malformed(out);
    }

    fn whole(&mut self, whole: &Whole, so_far: &Progress) -> Vec<u8> {
        if !whole.reasoning.is_empty() {
            let item = self.item(Kind::Reasoning, Some(whole.reasoning));
            self.output.push(item);
        }
        if !whole.said.text.is_empty() {
            let item = self.item(Kind::Message, Some(whole.said.text));
            self.output.push(item);
        }
        let (status, reason) = whole.finish.map_or(("in_progress", None), status);
        bytes(&self.response(status, reason, Some(so_far)))
    }
}
