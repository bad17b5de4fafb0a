//! `/generate_stream` of Hugging Face's TGI, and its `/generate`, which shares the path with SGLang's.

use serde::Deserialize;
use serde_json::{Value, json};

use super::super::{
    ask::{Ask, Call, Prompt, check_temperature, output_limit, read_object, required, served_model},
    endpoint::Endpoint,
    refusal::{Dialect, Refusal},
    shape::{Fragment, Progress, Shape, Sse, Whole, json as bytes},
};
use crate::sim::{plan::Finish, spec::Spec};

pub(in crate::sim::api) static GENERATE_STREAM: Endpoint = Endpoint {
    paths: &["/generate_stream"],
    dialect: Dialect::Tgi,
    read,
    shape: |_, _, spec| {
        let (sse, tells) = (Sse(spec.output.line_ending), spec.output.usage);
        Box::new(Tgi { sse, tells, text: String::new(), index: 0 })
    },
    otherwise: Some(100),
    reasons: false,
};

#[derive(Deserialize)]
struct Body {
    inputs: Option<String>,
    parameters: Option<Parameters>,
}

#[derive(Default, Deserialize)]
struct Parameters {
    max_new_tokens: Option<i64>,
    temperature: Option<f64>,
    adapter_id: Option<String>,
    /// An extension that vLLM's clients used to send.
    ignore_eos_token: Option<bool>,
}

/// Reads a request; the path says whether it wants a stream.
pub(super) fn read(call: &Call, spec: &Spec) -> Result<Ask, Refusal> {
    let body: Body = read_object(call)?;
    let prompt = required(body.inputs, "inputs")?;
    if prompt.is_empty() {
        return Err(Refusal::bad("inputs", "`inputs` cannot be empty".to_owned()));
    }
    let parameters = body.parameters.unwrap_or_default();
    check_temperature(parameters.temperature)?;
    Ok(Ask {
        max_tokens: output_limit("max_new_tokens", parameters.max_new_tokens, spec)?,
        ignore_eos: parameters.ignore_eos_token.unwrap_or(false),
        stream: call.path.ends_with("_stream"),
        ..Ask::new(&GENERATE_STREAM, served_model(parameters.adapter_id, spec)?, Prompt::Text(prompt))
    })
}

struct Tgi {
    sse: Sse,
    tells: bool,
    text: String,
    /// Events so far.
    index: usize,
}

impl Tgi {
    /// An event; TGI puts no space after `data:`.
    fn event(&self, out: &mut Vec<u8>, event: &Value) {
        self.sse.raw(out, "data:", &bytes(event));
    }

    /// The event of a token; the last also has the whole text and what is to be said of it.
    fn token(&mut self, last: &Fragment, end: Option<(Finish, &Progress)>) -> Value {
        self.text.push_str(last.text);
        self.index += 1;
        let ended = matches!(end, Some((Finish::Stop, _)));
        let text = if ended { "</s>" } else { last.text };
        let id = last.ids().last().copied().unwrap_or(2);
        json!({
            "index": self.index,
            "token": { "id": id, "text": text, "logprob": -0.5, "special": ended },
            "generated_text": end.map(|_| &self.text),
            "details": end.and_then(|(finish, so_far)| self.details(finish, so_far)),
        })
    }

    fn details(&self, finish: Finish, so_far: &Progress) -> Option<Value> {
        self.tells.then(|| {
            json!({
                "finish_reason": reason(finish), "generated_tokens": so_far.output, "seed": null,
                "input_length": so_far.prompt,
            })
        })
    }
}

fn reason(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop => "eos_token",
        Finish::Length => "length",
    }
}

impl Shape for Tgi {
    fn media_type(&self) -> &'static str {
        "text/event-stream"
    }

    fn fragment(&mut self, out: &mut Vec<u8>, fragment: &Fragment, _so_far: &Progress) {
        let event = self.token(fragment, None);
        self.event(out, &event);
    }

    fn close(&mut self, out: &mut Vec<u8>, last: &Fragment, finish: Finish, so_far: &Progress) {
        // The end of the sequence is a token of its own.
        if finish == Finish::Stop && !last.text.is_empty() {
            self.fragment(out, last, so_far);
            let nothing = Fragment { text: "", range: last.range.end..last.range.end, ..*last };
            return self.close(out, &nothing, finish, so_far);
        }
        let event = self.token(last, Some((finish, so_far)));
        self.event(out, &event);
    }

    fn error(&mut self, out: &mut Vec<u8>, refusal: &Refusal) {
        self.sse.raw(out, "data:", refusal.json().as_bytes());
    }

    fn malformed(&mut self, out: &mut Vec<u8>) {
        self.sse.malformed(out);
    }

    fn whole(&mut self, whole: &Whole, so_far: &Progress) -> Vec<u8> {
        let details = whole.finish.and_then(|finish| self.details(finish, so_far));
        bytes(&json!({ "generated_text": whole.said.text, "details": details }))
    }
}
