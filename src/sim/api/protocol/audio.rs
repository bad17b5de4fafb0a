//! `/v1/audio/transcriptions` and `/v1/audio/translations`: a form with an audio file, answered as vLLM does.

use std::{convert::Infallible, time::Duration};

use axum::{body::Bytes, http::header};
use futures_util::{FutureExt, stream};
use multer::Multipart;
use serde_json::{Value, json};

use super::super::media::audio_file;
use crate::sim::api::{
    api_error::{ApiError, ErrorFormat},
    generate_request::{
        Endpoint, GenerateRequest, PromptInput, RawRequest, UsageReporting, check_temperature, output_limit,
        served_model,
    },
    response_writer::{
        FullResponse, GenerationIdentity, GenerationProgress, OutputChunk, ResponseWriter, SseWriter,
        json as bytes,
    },
};
use crate::sim::output_plan::SimFinishReason;
use crate::sim::{spec::SimSpec, tokens::PromptSegment};

pub(in crate::sim::api) static TRANSCRIPTIONS: Endpoint = Endpoint {
    paths: &["/v1/audio/transcriptions"],
    dialect: ErrorFormat::OpenAi,
    read: |call, spec| read(&TRANSCRIPTIONS, call, spec),
    shape: |who, ask, spec| Box::new(TranscriptWriter::new(true, who, ask, spec)),
    otherwise: Some(LONGEST_TRANSCRIPT),
    reasons: false,
};

pub(in crate::sim::api) static TRANSLATIONS: Endpoint = Endpoint {
    paths: &["/v1/audio/translations"],
    dialect: ErrorFormat::OpenAi,
    read: |call, spec| read(&TRANSLATIONS, call, spec),
    shape: |who, ask, spec| Box::new(TranscriptWriter::new(false, who, ask, spec)),
    otherwise: Some(LONGEST_TRANSCRIPT),
    reasons: false,
};

/// The most output tokens that Whisper has room for.
const LONGEST_TRANSCRIPT: usize = 448;

/// A form's fields besides the file.
#[derive(Default)]
struct MultipartForm {
    file: Option<Bytes>,
    fields: Vec<(String, String)>,
}

impl MultipartForm {
    fn parse(call: &RawRequest) -> Result<Self, ApiError> {
        let boundary = call.header(header::CONTENT_TYPE.as_str()).unwrap_or("");
        let boundary =
            multer::parse_boundary(boundary).map_err(|_| ApiError::invalid_form("a form is expected"))?;
        let body = Bytes::copy_from_slice(call.body);
        let parts = Multipart::new(stream::iter([Ok::<_, Infallible>(body)]), boundary);
        let read = Self::read(parts).now_or_never();
        let form = read.expect("nothing has to be waited for, as the whole body is here");
        form.map_err(|error| ApiError::invalid_form(&error.to_string()))
    }

    async fn read(mut parts: Multipart<'_>) -> multer::Result<Self> {
        let mut form = Self::default();
        while let Some(part) = parts.next_field().await? {
            match part.name().map(str::to_owned) {
                Some(name) if name == "file" => form.file = Some(part.bytes().await?),
                Some(name) => form.fields.push((name, part.text().await?)),
                None => {}
            }
        }
        Ok(form)
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    /// Whether the field is true. Python clients write it in several ways.
    fn flag(&self, name: &str) -> bool {
        self.text(name).is_some_and(|value| matches!(value.to_ascii_lowercase().as_str(), "true" | "1"))
    }

    fn number(&self, name: &str) -> Result<Option<f64>, ApiError> {
        let Some(text) = self.text(name).filter(|text| !text.is_empty() && *text != "None") else {
            return Ok(None);
        };
        let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
        number.map(Some).ok_or_else(|| {
            let message = "Input should be a valid number, unable to parse string as a number";
            ApiError::invalid_shape(
                "float_parsing",
                &format!("body.{name}"),
                message,
                &text.replace('\'', "`"),
            )
        })
    }
}

fn read(endpoint: &'static Endpoint, call: &RawRequest, spec: &SimSpec) -> Result<GenerateRequest, ApiError> {
    let form = MultipartForm::parse(call)?;
    let Some(file) = &form.file else {
        return Err(ApiError::invalid_shape("missing", "body.file", "Field required", "None"));
    };
    check_temperature(form.number("temperature")?)?;
    let asked = form.number("max_completion_tokens")?.map(|tokens| tokens as i64);
    let max_tokens = output_limit("max_completion_tokens", asked, spec)?;
    let model = served_model(form.text("model").map(str::to_owned), spec)?;
    let (media, length) = audio_file(file);
    let mut prompt = vec![PromptSegment::Media(media)];
    if let Some(text) = form.text("prompt").filter(|text| !text.is_empty()) {
        prompt.push(PromptSegment::Text(text.to_owned()));
    }
    let usage = match (form.flag("stream_include_usage"), form.flag("stream_continuous_usage_stats")) {
        (false, _) => UsageReporting::Never,
        (true, false) => UsageReporting::AtTheEnd,
        (true, true) => UsageReporting::WithEveryEvent,
    };
    Ok(GenerateRequest {
        max_tokens,
        ignore_eos: form.flag("ignore_eos"),
        stream: form.flag("stream"),
        usage,
        heard: length,
        ..GenerateRequest::new(endpoint, model, PromptInput::Segments(prompt))
    })
}

struct TranscriptWriter {
    sse: SseWriter,
    object: &'static str,
    transcribes: bool,
    reports: UsageReporting,
    tells: bool,
    heard: Duration,
    id: String,
    created: u64,
    model: String,
}

impl TranscriptWriter {
    fn new(transcribes: bool, who: &GenerationIdentity, ask: &GenerateRequest, spec: &SimSpec) -> Self {
        let object = if transcribes { "transcription.chunk" } else { "translation.chunk" };
        Self {
            sse: SseWriter(spec.output.line_ending),
            object,
            transcribes,
            reports: if spec.output.usage { ask.usage } else { UsageReporting::Never },
            tells: spec.output.usage,
            heard: ask.heard,
            id: format!("{}-{}", if transcribes { "transcribe" } else { "translate" }, who.id),
            created: who.created,
            model: who.model.to_owned(),
        }
    }

    /// A chunk of these choices, with the token counts if they are due.
    fn chunk(&self, choices: Value, counts: Option<&GenerationProgress>) -> Value {
        let mut chunk = json!({
            "id": self.id, "object": self.object, "created": self.created, "model": self.model, "choices": choices,
        });
        if let Some(so_far) = counts {
            chunk["usage"] = json!({
                "prompt_tokens": so_far.prompt, "total_tokens": so_far.prompt + so_far.output,
                "completion_tokens": so_far.output,
            });
        }
        chunk
    }

    fn text(&self, text: &str, finish: Option<SimFinishReason>, so_far: &GenerationProgress) -> Value {
        let mut choice = json!({ "delta": { "content": text } });
        // Before the end, vLLM omits the finish reason.
        if let Some(finish) = finish {
            choice["finish_reason"] = finish.name().into();
            choice["stop_reason"] = Value::Null;
        }
        self.chunk(json!([choice]), (self.reports == UsageReporting::WithEveryEvent).then_some(so_far))
    }
}

impl ResponseWriter for TranscriptWriter {
    fn write_output(&mut self, out: &mut Vec<u8>, fragment: &OutputChunk, so_far: &GenerationProgress) {
        self.sse.event(out, &self.text(fragment.text, None, so_far));
    }

    fn close(
        &mut self,
        out: &mut Vec<u8>,
        last: &OutputChunk,
        finish: SimFinishReason,
        so_far: &GenerationProgress,
    ) {
        self.sse.event(out, &self.text(last.text, Some(finish), so_far));
        if self.reports != UsageReporting::Never {
            self.sse.event(out, &self.chunk(json!([]), Some(so_far)));
        }
        self.sse.done(out);
    }

    fn error(&mut self, out: &mut Vec<u8>, refusal: &ApiError) {
        self.sse.error(out, refusal);
        self.sse.done(out);
    }

    fn malformed(&mut self, out: &mut Vec<u8>) {
        self.sse.malformed(out);
    }

    fn full_body(&mut self, whole: &FullResponse, _so_far: &GenerationProgress) -> Vec<u8> {
        // Only transcriptions report usage, and in seconds.
        let seconds = self.heard.as_secs_f64().ceil();
        let mut answer = json!({ "text": whole.said.text });
        if self.tells && self.transcribes {
            answer["usage"] = json!({ "type": "duration", "seconds": seconds as u64 });
        }
        bytes(&answer)
    }
}
