//! ollama's `/api/generate` and `/api/chat`: a line of JSON for each token, and times in nanoseconds. It streams unless told not to.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::super::{
    ask::{Ask, Call, Prompt, check_temperature, read_undeclared, required, served_model},
    endpoint::Endpoint,
    message::{Message, turns},
    refusal::{Dialect, Refusal},
    shape::{Fragment, Identity, Progress, Shape, Whole, json as bytes},
};
use crate::sim::{plan::Finish, spec::Spec};

pub(in crate::sim::api) static GENERATE: Endpoint = Endpoint {
    paths: &["/api/generate"],
    dialect: Dialect::Ollama,
    read: |call, spec| read(Kind::Generate, call, spec),
    shape: |who, _, spec| Box::new(Ollama::new(Kind::Generate, who, spec)),
    otherwise: None,
    reasons: true,
};

pub(in crate::sim::api) static CHAT: Endpoint = Endpoint {
    paths: &["/api/chat"],
    dialect: Dialect::Ollama,
    read: |call, spec| read(Kind::Chat, call, spec),
    shape: |who, _, spec| Box::new(Ollama::new(Kind::Chat, who, spec)),
    otherwise: None,
    reasons: true,
};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Generate,
    Chat,
}

#[derive(Deserialize)]
struct Body {
    model: Option<String>,
    prompt: Option<String>,
    system: Option<String>,
    images: Option<Vec<String>>,
    messages: Option<Vec<Message>>,
    /// Whether the prompt is to be taken as it is, without a template.
    raw: Option<bool>,
    stream: Option<bool>,
    options: Option<Options>,
}

#[derive(Default, Deserialize)]
struct Options {
    num_predict: Option<i64>,
    temperature: Option<f64>,
}

fn read(kind: Kind, call: &Call, spec: &Spec) -> Result<Ask, Refusal> {
    let mut body: Body = read_undeclared(call)?;
    let options = body.options.take().unwrap_or_default();
    check_temperature(options.temperature)?;
    let stream = body.stream.unwrap_or(true);
    let name = required(body.model.take(), "model")?;
    // A name without a tag means the latest.
    let model = served_model(Some(name.strip_suffix(":latest").unwrap_or(&name).to_owned()), spec)?;
    let (endpoint, prompt) = match kind {
        Kind::Generate => (&GENERATE, body.one_prompt()?),
        Kind::Chat => (&CHAT, Prompt::Conversation(turns(required(body.messages, "messages")?)?)),
    };
    if prompt.is_empty() {
        return Err(Refusal::bad("prompt", "the prompt is empty".to_owned()));
    }
    Ok(Ask {
        // A number below zero asks for as many as there is room for.
        max_tokens: options
            .num_predict
            .and_then(|tokens| usize::try_from(tokens).ok())
            .filter(|tokens| *tokens > 0),
        stream,
        ..Ask::new(endpoint, model, prompt)
    })
}

impl Body {
    /// What `/api/generate` is to continue: in the model's template, unless it is `raw`.
    fn one_prompt(self) -> Result<Prompt, Refusal> {
        let prompt = required(self.prompt, "prompt")?;
        if prompt.is_empty() || self.raw == Some(true) {
            return Ok(Prompt::Text(prompt));
        }
        let system = self.system.map(|text| Message::of_text("system", text));
        let user = Message::of_text("user", prompt).with_images(self.images);
        Ok(Prompt::Conversation(turns(system.into_iter().chain([user]))?))
    }
}

struct Ollama {
    kind: Kind,
    tells: bool,
    model: String,
}

impl Ollama {
    fn new(kind: Kind, who: &Identity, spec: &Spec) -> Self {
        Self { kind, tells: spec.output.usage, model: who.model.to_owned() }
    }

    /// A line with this output.
    fn line(&self, thought: &str, said: &str) -> Value {
        let mut line =
            json!({ "model": self.model, "created_at": jiff::Timestamp::now().to_string(), "done": false });
        match self.kind {
            Kind::Generate => line["response"] = said.into(),
            Kind::Chat => line["message"] = json!({ "role": "assistant", "content": said }),
        }
        if !thought.is_empty() {
            match self.kind {
                Kind::Generate => line["thinking"] = thought.into(),
                Kind::Chat => line["message"]["thinking"] = thought.into(),
            }
        }
        line
    }

    /// Makes a line the last: why, how long and how many.
    fn end(&self, line: &mut Value, finish: Finish, so_far: &Progress) {
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

impl Shape for Ollama {
    fn media_type(&self) -> &'static str {
        "application/x-ndjson"
    }

    fn fragment(&mut self, out: &mut Vec<u8>, fragment: &Fragment, _so_far: &Progress) {
        let (thought, said) = if fragment.thought { (fragment.text, "") } else { ("", fragment.text) };
        put(out, &self.line(thought, said));
    }

    fn close(&mut self, out: &mut Vec<u8>, last: &Fragment, finish: Finish, so_far: &Progress) {
        if !last.text.is_empty() {
            self.fragment(out, last, so_far);
        }
        let mut line = self.line("", "");
        self.end(&mut line, finish, so_far);
        put(out, &line);
    }

    fn error(&mut self, out: &mut Vec<u8>, refusal: &Refusal) {
        out.extend_from_slice(refusal.json().as_bytes());
        out.push(b'\n');
    }

    fn malformed(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"model\":\"\n");
    }

    fn whole(&mut self, whole: &Whole, so_far: &Progress) -> Vec<u8> {
        let mut line = self.line(whole.reasoning, whole.said.text);
        if let Some(finish) = whole.finish {
            self.end(&mut line, finish, so_far);
        }
        bytes(&line)
    }
}
