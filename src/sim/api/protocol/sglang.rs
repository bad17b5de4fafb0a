//! SGLang's own `/generate`. Each event of its streams repeats the complete text.

use serde::Deserialize;
use serde_json::{Value, json};

use super::tgi;
use crate::sim::api::{
    api_error::{ApiError, ErrorFormat},
    generate_request::{
        Endpoint, GenerateRequest, PromptInput, RawRequest, check_temperature, output_limit, read_object,
        served_model,
    },
    response_writer::{
        FullResponse, GenerationIdentity, GenerationProgress, OutputChunk, ResponseWriter, SseWriter,
        json as bytes,
    },
};
use crate::sim::output_plan::SimFinishReason;
use crate::sim::spec::SimSpec;

pub(in crate::sim::api) static GENERATE: Endpoint = Endpoint {
    paths: &["/generate"],
    dialect: ErrorFormat::Sglang,
    read,
    shape: |who, _, spec| Box::new(SglangWriter::new(who, spec)),
    otherwise: Some(128),
    reasons: false,
};

#[derive(Deserialize)]
struct SglangBody {
    text: Option<SglangText>,
    input_ids: Option<SglangIds>,
    sampling_params: Option<SglangSampling>,
    stream: Option<bool>,
    lora_path: Option<String>,
    /// Only TGI's requests have this field; TGI uses this path too.
    inputs: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum SglangText {
    One(String),
    Many(Vec<String>),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum SglangIds {
    One(Vec<u32>),
    Many(Vec<Vec<u32>>),
}

#[derive(Default, Deserialize)]
struct SglangSampling {
    max_new_tokens: Option<i64>,
    min_new_tokens: Option<i64>,
    ignore_eos: Option<bool>,
    temperature: Option<f64>,
}

fn read(call: &RawRequest, spec: &SimSpec) -> Result<GenerateRequest, ApiError> {
    let body: SglangBody = read_object(call)?;
    if body.inputs.is_some() {
        return tgi::read(call, spec);
    }
    let one_only = |count: usize| {
        ApiError::bad_parameter("text", format!("the simulator takes one prompt per request, got {count}"))
    };
    let prompt = match (body.text, body.input_ids) {
        (Some(SglangText::One(text)), None) => PromptInput::Text(text),
        (None, Some(SglangIds::One(ids))) => PromptInput::Tokens(ids),
        (Some(SglangText::Many(texts)), None) => return Err(one_only(texts.len())),
        (None, Some(SglangIds::Many(lists))) => return Err(one_only(lists.len())),
        (None, None) | (Some(_), Some(_)) => {
            let message = "Either text, input_ids or input_embeds should be provided.";
            return Err(ApiError::bad_parameter("text", message.to_owned()));
        }
    };
    if prompt.is_empty() {
        return Err(ApiError::bad_parameter("text", "the prompt is empty".to_owned()));
    }
    let sampling = body.sampling_params.unwrap_or_default();
    check_temperature(sampling.temperature)?;
    Ok(GenerateRequest {
        max_tokens: output_limit("max_new_tokens", sampling.max_new_tokens, spec)?,
        min_tokens: usize::try_from(sampling.min_new_tokens.unwrap_or(0)).unwrap_or(0),
        ignore_eos: sampling.ignore_eos.unwrap_or(false),
        stream: body.stream.unwrap_or(false),
        ..GenerateRequest::new(&GENERATE, served_model(body.lora_path, spec)?, prompt)
    })
}

struct SglangWriter {
    sse: SseWriter,
    tells: bool,
    id: String,
    text: String,
    ids: Vec<u32>,
}

impl SglangWriter {
    fn new(who: &GenerationIdentity, spec: &SimSpec) -> Self {
        Self {
            sse: SseWriter(spec.output.line_ending),
            tells: spec.output.usage,
            id: who.id.to_owned(),
            text: String::new(),
            ids: Vec::new(),
        }
    }

    fn append_output(&mut self, fragment: &OutputChunk) {
        self.text.push_str(fragment.text);
        self.ids.extend(fragment.ids());
    }

    /// Returns the complete output so far, which every event and the complete answer hold.
    fn output_so_far(&self, finish: Option<SimFinishReason>, so_far: &GenerationProgress) -> Value {
        let reason = finish.map(|finish| match finish {
            SimFinishReason::Stop => json!({ "type": "stop", "matched": null }),
            SimFinishReason::Length => json!({ "type": "length", "length": so_far.output }),
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

impl ResponseWriter for SglangWriter {
    fn write_output(&mut self, out: &mut Vec<u8>, fragment: &OutputChunk, so_far: &GenerationProgress) {
        self.append_output(fragment);
        self.sse.event(out, &self.output_so_far(None, so_far));
    }

    fn close(
        &mut self,
        out: &mut Vec<u8>,
        last: &OutputChunk,
        finish: SimFinishReason,
        so_far: &GenerationProgress,
    ) {
        self.append_output(last);
        self.sse.event(out, &self.output_so_far(Some(finish), so_far));
        self.sse.done(out);
    }

    fn error(&mut self, out: &mut Vec<u8>, refusal: &ApiError) {
        self.sse.error(out, refusal);
        self.sse.done(out);
    }

    fn malformed(&mut self, out: &mut Vec<u8>) {
        self.sse.malformed(out);
    }

    fn full_body(&mut self, whole: &FullResponse, so_far: &GenerationProgress) -> Vec<u8> {
        self.append_output(&whole.said);
        bytes(&self.output_so_far(whole.finish, so_far))
    }
}
