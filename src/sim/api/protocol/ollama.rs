//! ollama's `/api/generate` and `/api/chat`: a line of JSON for each token, and times in nanoseconds. Streaming is
//! the default.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::super::message::{ChatMessage, chat_turns};
use crate::sim::api::{
    api_error::{ApiError, ErrorFormat},
    generate_request::{
        Endpoint, GenerateRequest, PromptInput, RawRequest, check_temperature, read_undeclared, required,
        served_model,
    },
    response_writer::{
        FullResponse, GenerationIdentity, GenerationProgress, OutputChunk, ResponseWriter, json as bytes,
    },
};
use crate::sim::output_plan::SimFinishReason;
use crate::sim::spec::SimSpec;

pub(in crate::sim::api) static GENERATE: Endpoint = Endpoint {
    paths: &["/api/generate"],
    dialect: ErrorFormat::Ollama,
    read: |call, spec| read(OllamaApi::Generate, call, spec),
    shape: |who, _, spec| Box::new(OllamaWriter::new(OllamaApi::Generate, who, spec)),
    otherwise: None,
    reasons: true,
};

pub(in crate::sim::api) static CHAT: Endpoint = Endpoint {
    paths: &["/api/chat"],
    dialect: ErrorFormat::Ollama,
    read: |call, spec| read(OllamaApi::Chat, call, spec),
    shape: |who, _, spec| Box::new(OllamaWriter::new(OllamaApi::Chat, who, spec)),
    otherwise: None,
    reasons: true,
};

#[derive(Clone, Copy, PartialEq, Eq)]
enum OllamaApi {
    Generate,
    Chat,
}

#[derive(Deserialize)]
struct OllamaBody {
    model: Option<String>,
    prompt: Option<String>,
    system: Option<String>,
    images: Option<Vec<String>>,
    messages: Option<Vec<ChatMessage>>,
    /// Whether the prompt is used without a template.
    raw: Option<bool>,
    stream: Option<bool>,
    options: Option<OllamaOptions>,
}

#[derive(Default, Deserialize)]
struct OllamaOptions {
    num_predict: Option<i64>,
    temperature: Option<f64>,
}

fn read(kind: OllamaApi, call: &RawRequest, spec: &SimSpec) -> Result<GenerateRequest, ApiError> {
    let mut body: OllamaBody = read_undeclared(call)?;
    let options = body.options.take().unwrap_or_default();
    check_temperature(options.temperature)?;
    let stream = body.stream.unwrap_or(true);
    let name = required(body.model.take(), "model")?;
    // A name without a tag means the latest version.
    let model = served_model(Some(name.strip_suffix(":latest").unwrap_or(&name).to_owned()), spec)?;
    let (endpoint, prompt) = match kind {
        OllamaApi::Generate => (&GENERATE, body.one_prompt()?),
        OllamaApi::Chat => {
            (&CHAT, PromptInput::Conversation(chat_turns(required(body.messages, "messages")?)?))
        }
    };
    if prompt.is_empty() {
        return Err(ApiError::bad_parameter("prompt", "the prompt is empty".to_owned()));
    }
    Ok(GenerateRequest {
        // A negative number asks for as many tokens as the context holds.
        max_tokens: options
            .num_predict
            .and_then(|tokens| usize::try_from(tokens).ok())
            .filter(|tokens| *tokens > 0),
        stream,
        ..GenerateRequest::new(endpoint, model, prompt)
    })
}

impl OllamaBody {
    /// Returns the prompt of `/api/generate`: in the model's template, unless it is `raw`.
    fn one_prompt(self) -> Result<PromptInput, ApiError> {
        let prompt = required(self.prompt, "prompt")?;
        if prompt.is_empty() || self.raw == Some(true) {
            return Ok(PromptInput::Text(prompt));
        }
        let system = self.system.map(|text| ChatMessage::from_text("system", text));
        let user = ChatMessage::from_text("user", prompt).with_images(self.images);
        Ok(PromptInput::Conversation(chat_turns(system.into_iter().chain([user]))?))
    }
}

struct OllamaWriter {
    kind: OllamaApi,
    tells: bool,
    model: String,
}

impl OllamaWriter {
    fn new(kind: OllamaApi, who: &GenerationIdentity, spec: &SimSpec) -> Self {
        Self { kind, tells: spec.output.usage, model: who.model.to_owned() }
    }

    fn line(&self, thought: &str, said: &str) -> Value {
        let mut line =
            json!({ "model": self.model, "created_at": jiff::Timestamp::now().to_string(), "done": false });
        match self.kind {
            OllamaApi::Generate => line["response"] = said.into(),
            OllamaApi::Chat => line["message"] = json!({ "role": "assistant", "content": said }),
        }
        if !thought.is_empty() {
            match self.kind {
                OllamaApi::Generate => line["thinking"] = thought.into(),
                OllamaApi::Chat => line["message"]["thinking"] = thought.into(),
            }
        }
        line
    }

    /// Turns a line into the last one: adds the finish reason, durations and counts.
    fn end(&self, line: &mut Value, finish: SimFinishReason, so_far: &GenerationProgress) {
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        line["done"] = true.into();
        line["done_reason"] = finish.name().into();
        line["total_duration"] = nanos(so_far.prompt_time + so_far.output_time).into();
        line["load_duration"] = 0.into();
        line["prompt_eval_duration"] = nanos(so_far.prompt_time).into();
        line["eval_duration"] = nanos(so_far.output_time).into();
        if self.tells {
            line["prompt_eval_count"] = so_far.prompt.into();
            line["eval_count"] = so_far.output.into();
        }
    }
}

fn put(out: &mut Vec<u8>, line: &Value) {
    out.extend_from_slice(&bytes(line));
    out.push(b'\n');
}

impl ResponseWriter for OllamaWriter {
    fn media_type(&self) -> &'static str {
        "application/x-ndjson"
    }

    fn write_output(&mut self, out: &mut Vec<u8>, fragment: &OutputChunk, _so_far: &GenerationProgress) {
        let (thought, said) = if fragment.is_reasoning { (fragment.text, "") } else { ("", fragment.text) };
        put(out, &self.line(thought, said));
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
        let mut line = self.line("", "");
        self.end(&mut line, finish, so_far);
        put(out, &line);
    }

    fn error(&mut self, out: &mut Vec<u8>, refusal: &ApiError) {
        out.extend_from_slice(refusal.json().as_bytes());
        out.push(b'\n');
    }

    fn malformed(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"model\":\"\n");
    }

    fn full_body(&mut self, whole: &FullResponse, so_far: &GenerationProgress) -> Vec<u8> {
        let mut line = self.line(whole.reasoning, whole.said.text);
        if let Some(finish) = whole.finish {
            self.end(&mut line, finish, so_far);
        }
        bytes(&line)
    }
}
