//! llama.cpp's own `/completion`. Its last event has the counts and the times, and no `[DONE]` follows.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::super::{
    ask::{Ask, Call, Prompt, check_temperature, read_undeclared, required, served_model},
    endpoint::Endpoint,
    refusal::{Dialect, Refusal},
    shape::{Fragment, Identity, Progress, Shape, Sse, Whole, json as bytes},
};
use crate::sim::{plan::Finish, spec::Spec};

pub(in crate::sim::api) static COMPLETION: Endpoint = Endpoint {
    paths: &["/completion", "/completions"],
    dialect: Dialect::LlamaCpp,
    read,
    shape: |who, _, spec| Box::new(LlamaCpp::new(who, spec)),
    otherwise: None,
    reasons: false,
};

#[derive(Deserialize)]
struct Body {
    prompt: Option<PromptField>,
    n_predict: Option<i64>,
    temperature: Option<f64>,
    ignore_eos: Option<bool>,
    stream: Option<bool>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum PromptField {
    Text(String),
    Tokens(Vec<u32>),
}

fn read(call: &Call, spec: &Spec) -> Result<Ask, Refusal> {
    let body: Body = read_undeclared(call)?;
    let prompt = match required(body.prompt, "prompt")? {
        PromptField::Text(text) => Prompt::Text(text),
        PromptField::Tokens(tokens) => Prompt::Tokens(tokens),
    };
    if prompt.is_empty() {
        return Err(Refusal::bad("prompt", "the prompt is empty".to_owned()));
    }
    check_temperature(body.temperature)?;
    Ok(Ask {
        // A number below zero asks for as many as there is room for.
        max_tokens: body
            .n_predict
            .and_then(|tokens| usize::try_from(tokens).ok())
            .map(|tokens| tokens.max(1)),
        ignore_eos: body.ignore_eos.unwrap_or(false),
        stream: body.stream.unwrap_or(false),
        ..Ask::new(&COMPLETION, served_model(None, spec)?, prompt)
    })
}

struct LlamaCpp {
    sse: Sse,
    tells: bool,
    model: String,
}

impl LlamaCpp {
    fn new(who: &Identity, spec: &Spec) -> Self {
        Self { sse: Sse(spec.output.line_ending), tells: spec.output.usage, model: who.model.to_owned() }
    }

    /// The counts that every event has.
    fn count(&self, event: &mut Value, so_far: &Progress) {
        if self.tells {
            event["tokens_predicted"] = so_far.output.into();
            event["tokens_evaluated"] = so_far.prompt.into();
        }
    }

    /// The object that ends a stream, or is the whole answer.
    fn end(&self, content: &str, ids: &[u32], finish: Option<Finish>, so_far: &Progress) -> Value {
        let stop_type = finish.map_or("none", |finish| match finish {
            Finish::Stop => "eos",
            Finish::Length => "limit",
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

fn timings(so_far: &Progress) -> Value {
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

impl Shape for LlamaCpp {
    fn media_type(&self) -> &'static str {
        "text/event-stream"
    }

    fn fragment(&mut self, out: &mut Vec<u8>, fragment: &Fragment, so_far: &Progress) {
        let mut event = json!({
            "index": 0, "content": fragment.text, "tokens": fragment.ids(), "stop": false, "id_slot": -1,
        });
        self.count(&mut event, so_far);
        self.sse.event(out, &event);
    }

    fn close(&mut self, out: &mut Vec<u8>, last: &Fragment, finish: Finish, so_far: &Progress) {
        if !last.text.is_empty() {
            self.fragment(out, last, so_far);
        }
        self.sse.event(out, &self.end("", &[], Some(finish), so_far));
    }

    fn error(&mut self, out: &mut Vec<u8>, refusal: &Refusal) {
        self.sse.error(out, refusal);
    }

    fn malformed(&mut self, out: &mut Vec<u8>) {
        self.sse.malformed(out);
    }

    fn whole(&mut self, whole: &Whole, so_far: &Progress) -> Vec<u8> {
        bytes(&self.end(whole.said.text, &whole.said.ids(), whole.finish, so_far))
    }
}
