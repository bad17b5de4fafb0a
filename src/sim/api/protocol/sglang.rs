//! SGLang's own `/generate`. Its streams repeat the whole text in every event.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    super::{
        ask::{Ask, Call, Prompt, check_temperature, output_limit, read_object, served_model},
        endpoint::Endpoint,
        refusal::{Dialect, Refusal},
        shape::{Fragment, Identity, Progress, Shape, Sse, Whole, json as bytes},
    },
    tgi,
};
use crate::sim::{plan::Finish, spec::Spec};

pub(in crate::sim::api) static GENERATE: Endpoint = Endpoint {
    paths: &["/generate"],
    dialect: Dialect::Sglang,
    read,
    shape: |who, _, spec| Box::new(Sglang::new(who, spec)),
    otherwise: Some(128),
    reasons: false,
};

#[derive(Deserialize)]
struct Body {
    text: Option<Text>,
    input_ids: Option<Ids>,
    sampling_params: Option<Sampling>,
    stream: Option<bool>,
    lora_path: Option<String>,
    /// Only TGI's requests have it, and TGI answers at this path too.
    inputs: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Text {
    One(String),
    Many(Vec<String>),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Ids {
    One(Vec<u32>),
    Many(Vec<Vec<u32>>),
}

#[derive(Default, Deserialize)]
struct Sampling {
    max_new_tokens: Option<i64>,
    min_new_tokens: Option<i64>,
    ignore_eos: Option<bool>,
    temperature: Option<f64>,
}

fn read(call: &Call, spec: &Spec) -> Result<Ask, Refusal> {
    let body: Body = read_object(call)?;
    if body.inputs.is_some() {
        return tgi::read(call, spec);
    }
    let one_only = |count: usize| {
        Refusal::bad("text", format!("the simulator takes one prompt per request, got {count}"))
    };
    let prompt = match (body.text, body.input_ids) {
        (Some(Text::One(text)), None) => Prompt::Text(text),
        (None, Some(Ids::One(ids))) => Prompt::Tokens(ids),
        (Some(Text::Many(texts)), None) => return Err(one_only(texts.len())),
        (None, Some(Ids::Many(lists))) => return Err(one_only(lists.len())),
        (None, None) | (Some(_), Some(_)) => {
            let message = "Either text, input_ids or input_embeds should be provided.";
            return Err(Refusal::bad("text", message.to_owned()));
        }
    };
    if prompt.is_empty() {
        return Err(Refusal::bad("text", "the prompt is empty".to_owned()));
    }
    let sampling = body.sampling_params.unwrap_or_default();
    check_temperature(sampling.temperature)?;
    Ok(Ask {
        max_tokens: output_limit("max_new_tokens", sampling.max_new_tokens, spec)?,
        min_tokens: usize::try_from(sampling.min_new_tokens.unwrap_or(0)).unwrap_or(0),
        ignore_eos: sampling.ignore_eos.unwrap_or(false),
        stream: body.stream.unwrap_or(false),
        ..Ask::new(&GENERATE, served_model(body.lora_path, spec)?, prompt)
    })
}

struct Sglang {
    sse: Sse,
    tells: bool,
    id: String,
    text: String,
    ids: Vec<u32>,
}

impl Sglang {
    fn new(who: &Identity, spec: &Spec) -> Self {
        Self {
            sse: Sse(spec.output.line_ending),
            tells: spec.output.usage,
            id: who.id.to_owned(),
            text: String::new(),
            ids: Vec::new(),
        }
    }

    fn take(&mut self, fragment: &Fragment) {
        self.text.push_str(fragment.text);
        self.ids.extend(fragment.ids());
    }

    /// All there is so far, which is what every event and the whole answer say.
    fn so_far(&self, finish: Option<Finish>, so_far: &Progress) -> Value {
        let reason = finish.map(|finish| match finish {
            Finish::Stop => json!({ "type": "stop", "matched": null }),
            Finish::Length => json!({ "type": "length", "length": so_far.output }),
        });
        let mut about = json!({ "id": self.id, "finish_reason": reason, "weight_version": "default" });
        if self.tells {
            about["prompt_tokens"] = so_far.prompt.into();
            about["completion_tokens"] = so_far.output.into();
            about["cached_tokens"] = so_far.cached.into();
        }
        if finish.is_some() {
            about["e2e_latency"] = (so_far.prompt_time + so_far.output_time).as_secs_f64().into();
        }
        json!({ "text": self.text, "output_ids": self.ids, "meta_info": about })
    }
}

impl Shape for Sglang {
    fn fragment(&mut self, out: &mut Vec<u8>, fragment: &Fragment, so_far: &Progress) {
        self.take(fragment);
        self.sse.event(out, &self.so_far(None, so_far));
    }

    fn close(&mut self, out: &mut Vec<u8>, last: &Fragment, finish: Finish, so_far: &Progress) {
        self.take(last);
        self.sse.event(out, &self.so_far(Some(finish), so_far));
        self.sse.done(out);
    }

    fn error(&mut self, out: &mut Vec<u8>, refusal: &Refusal) {
        self.sse.error(out, refusal);
        self.sse.done(out);
    }

    fn malformed(&mut self, out: &mut Vec<u8>) {
        self.sse.malformed(out);
    }

    fn whole(&mut self, whole: &Whole, so_far: &Progress) -> Vec<u8> {
        self.take(&whole.said);
        bytes(&self.so_far(whole.finish, so_far))
    }
}
